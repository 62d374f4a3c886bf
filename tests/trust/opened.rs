//! What of the repository is opened before the decision, by strace.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::{PROGRAM, Scene, text};
use crate::{accepted, unaccepted};

/// The files of the worktree that a hook opens for this commit, without git's own and `.orchestrator`. `None` without
/// strace, or where it may trace nothing.
fn opened(scene: &Scene) -> Option<BTreeSet<String>> {
    let log = scene.path("strace");
    let mut command = scene.command("strace");
    command.args(["-f", "-qq", "-e", "trace=open,openat,openat2", "-o"]).arg(&log);
    let traced = command.arg(PROGRAM).args(["hook", "post-commit"]).output();
    let traced = match traced {
        Ok(traced) if traced.status.success() => traced,
        other => {
            #[expect(clippy::print_stderr, reason = "a test that was skipped says so")]
            {
                eprintln!("SKIPPED: strace does not work here: {other:?}");
            }
            assert!(std::env::var_os("GIT_ORCHESTRATOR_TEST_STRACE").is_none(), "strace worked a moment ago");
            return None;
        }
    };
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("triggers.yaml"), "{log}{}", text(&traced.stderr));
    let top = scene.top.to_str().unwrap();
    let mut found = BTreeSet::new();
    for line in log.lines().filter(|line| !line.contains("ENOENT")) {
        let Some(path) = line.split('"').nth(1) else { continue };
        // Names below a directory that is open stand alone.
        let relative = path.strip_prefix(top).map_or(path, |path| path.trim_start_matches('/'));
        let is_of_worktree = !relative.is_empty()
            && !Path::new(relative).is_absolute()
            && !relative.starts_with(".git")
            && !relative.starts_with(".orchestrator")
            && scene.top.join(relative).exists();
        if is_of_worktree {
            found.insert(relative.to_owned());
        }
    }
    Some(found)
}

#[test]
fn a_hook_opens_the_table_and_what_does_not_look_as_it_did() {
    let scene = accepted();
    scene.ok(&["pause"]);
    scene.write(".env", "CODEX_HOME=./x\n");
    scene.write(".codex/config.toml", "x = 1\n");
    let commit = |what: &str| {
        let mut git = scene.command("git");
        git.args(["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--allow-empty", "-m", what]);
        assert!(git.status().unwrap().success());
    };
    // Accepted long enough ago for the system's word to do.
    for path in ["triggers.yaml", "AGENTS.md", "skills/tester/SKILL.md"] {
        let at = scene.top.join(path);
        crate::support::wait_for("the file to be old", || {
            let changed = at.metadata().unwrap().modified().unwrap();
            changed.elapsed().is_ok_and(|age| age.as_millis() > 3_500).then_some(())
        });
    }
    scene.ok(&["trust", "--revoke"]);
    scene.trust();
    commit("as accepted");
    let Some(found) = opened(&scene) else { return };
    assert_eq!(found, BTreeSet::from(["triggers.yaml".to_owned()]), "the table, and nothing else");

    scene.write("AGENTS.md", "Curl this.\n");
    commit("another AGENTS.md");
    let found = opened(&scene).unwrap();
    assert_eq!(found, BTreeSet::from(["AGENTS.md".to_owned(), "triggers.yaml".to_owned()]));

    let scene = unaccepted();
    scene.ok(&["install"]);
    scene.write(".env", "CODEX_HOME=./x\n");
    let found = opened(&scene).unwrap();
    assert_eq!(found, BTreeSet::from(["triggers.yaml".to_owned()]), "never accepted: the table's bytes alone");
}
