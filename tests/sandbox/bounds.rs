//! How much a run may use, and that nothing of it is left.

use std::fs;
use std::time::Duration;

use orchestrator::process::bounds::holders;
use orchestrator::runtime::Class;

use crate::World;

/// The living processes with the world's root in their environment: Codex's home lies there, and every `TMPDIR`.
fn left(world: &World) -> Vec<String> {
    let root = world.root.path().canonicalize().unwrap().display().to_string();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let has_it = |path: std::path::PathBuf| {
        let text = fs::read(path.join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .contains(&root)
            .then(|| fs::read_to_string(path.join("comm")).unwrap_or_default())
    };
    entries.filter_map(|entry| has_it(entry.path())).collect()
}

#[tokio::test]
async fn a_file_that_is_too_large_is_cut_off() {
    let Some(mut world) = World::new() else { return };
    world.limits.file_bytes = 64 << 20;
    let outputs = world
        .execute(&[
            "head -c 200M /dev/zero > large; echo ended $?",
            "head -c 1M /dev/zero > small; ulimit -c; echo ended $?",
        ])
        .await;
    assert!(!outputs[0].contains("ended 0"), "{outputs:#?}");
    assert!(fs::metadata(world.inside("large")).unwrap().len() <= 64 << 20);
    assert_eq!(fs::metadata(world.inside("small")).unwrap().len(), 1 << 20);
    assert!(outputs[1].contains("\n0\nended 0"), "no core dumps: {outputs:#?}");
}

#[tokio::test]
async fn a_fork_bomb_ends_with_its_run() {
    let Some(mut world) = World::new() else { return };
    world.limits.wall = Duration::from_secs(8);
    world.limits.processes = 256;
    // A bomb where something holds it; a double fork that leaves its session and parent everywhere.
    let bomb = "bomb() { bomb | bomb & }; bomb; sleep 1000";
    let hidden = "(setsid sh -c 'trap \"\" TERM INT HUP; sleep 1000 & sleep 1000' &); sleep 1000";
    let line = if holders().processes { bomb } else { hidden };
    let (_, result) = world.turn(&[line]).await;
    let failure = result.unwrap_err();
    assert!(matches!(failure.class, Class::Timeout | Class::Crashed | Class::Stalled), "{failure}");
    assert_eq!(left(&world), Vec::<String>::new());
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
async fn a_memory_hog_is_killed() {
    let Some(mut world) = World::new() else { return };
    if !holders().memory {
        eprintln!("SKIPPED: no control group holds memory here");
        return;
    }
    world.limits.memory_bytes = 700 << 20;
    let outputs = world.execute(&["head -c 2G /dev/zero | tail | wc -c; echo ended", "echo goes on"]).await;
    assert!(!outputs[0].contains("2147483648"), "{outputs:#?}");
    assert!(outputs[1].contains("goes on"), "{outputs:#?}");
}
