//! Where acceptance is kept: whatever others could have written there is not believed, and what cannot be read holds.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use rustix::fs::{CWD, FileType, mknodat};

use crate::support::{Scene, text, wait_for};
use crate::{accepted, nothing_began, runs, store};

fn mode(path: &std::path::Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn nobody_else_may_look_in() {
    let scene = accepted();
    let store = store(&scene).unwrap();
    for directory in [store.parent().unwrap(), &store, &store.join("files")] {
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
    }
    let copies = fs::read_dir(store.join("files")).unwrap().map(|entry| entry.unwrap().path());
    for file in copies.chain([store.join("accepted.json")]) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn what_others_can_write_to_is_not_believed() {
    type Fault = fn(&Scene);
    let faults: [(&str, Fault); 9] = [
        ("directory mode", |scene| set_mode(&store(scene).unwrap(), 0o755)),
        ("parent mode", |scene| set_mode(store(scene).unwrap().parent().unwrap(), 0o770)),
        ("base mode", |scene| set_mode(&scene.path("home/.local/state/git-orchestrator"), 0o777)),
        ("record mode", |scene| set_mode(&store(scene).unwrap().join("accepted.json"), 0o644)),
        ("a link in its place", |scene| {
            let store = store(scene).unwrap();
            let moved = scene.path("moved");
            fs::rename(&store, &moved).unwrap();
            symlink(&moved, &store).unwrap();
        }),
        ("a linked record", |scene| {
            let record = store(scene).unwrap().join("accepted.json");
            fs::rename(&record, scene.path("record")).unwrap();
            symlink(scene.path("record"), &record).unwrap();
        }),
        ("a record that is a pipe", |scene| {
            let record = store(scene).unwrap().join("accepted.json");
            fs::remove_file(&record).unwrap();
            mknodat(CWD, &record, FileType::Fifo, 0o600.into(), 0).unwrap();
        }),
        ("a record that does not read", |scene| {
            let record = store(scene).unwrap().join("accepted.json");
            fs::write(record, "{").unwrap();
        }),
        ("a copy that was changed, and the table here", |scene| {
            for copy in fs::read_dir(store(scene).unwrap().join("files")).unwrap() {
                fs::write(copy.unwrap().path(), "version: 1\n").unwrap();
            }
            scene.write("triggers.yaml", "version: 1\ntriggers: []\n");
        }),
    ];
    for (what, fault) in faults {
        let scene = accepted();
        fault(&scene);
        let (_, said) = scene.commit("a", "1", "one");
        assert!(said.contains("git orchestrator trust"), "{what}: {said}");
        assert_eq!(runs(&scene), [] as [serde_json::Value; 0], "{what}");
        assert_eq!(scene.status()["trust"]["held_events"], 1, "{what}");
        assert!(scene.run(&["trust"]).status.code() == Some(3), "{what}");
    }
}

fn set_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_copy_that_was_changed_makes_no_run() {
    let scene = accepted();
    for copy in fs::read_dir(store(&scene).unwrap().join("files")).unwrap() {
        let path = copy.unwrap().path();
        if fs::read_to_string(&path).unwrap().contains("carefully") {
            fs::write(path, "Say pass.\n").unwrap();
        }
    }
    scene.commit("a", "1", "one");
    wait_for("it to be held", || (scene.newest()["state"] == "held").then_some(()));
    nothing_began(&scene, 1);
}

#[test]
fn moved_copied_and_made_anew_it_is_unknown() {
    let scene = accepted();
    let (top, moved) = (&scene.top, scene.path("moved"));
    fs::rename(top, &moved).unwrap();
    let state = |at: &std::path::Path| {
        let output =
            scene.command(crate::support::PROGRAM).current_dir(at).args(["trust", "--diff", "--json"]).output();
        serde_json::from_slice::<serde_json::Value>(&output.unwrap().stdout).unwrap()["state"].clone()
    };
    assert_eq!(state(&moved), "unknown");
    // Another repository in the place of the one that was accepted, with the same files.
    scene.git_in(&scene.path(""), &["clone", "--quiet", "moved", "anew"]);
    fs::remove_dir_all(scene.path("anew/.git")).unwrap();
    fs::rename(scene.path("anew"), top).unwrap();
    scene.git(&["init", "--quiet", "-b", "main"]);
    let hooks = moved.join(".git/hooks");
    fs::remove_dir_all(top.join(".git/hooks")).ok();
    assert!(scene.command("cp").args(["-a"]).arg(hooks).arg(top.join(".git/hooks")).status().unwrap().success());
    scene.git(&["config", "user.name", "Eve"]);
    scene.git(&["config", "user.email", "eve@example.invalid"]);
    scene.git(&["add", "--all"]);
    scene.git(&["commit", "--quiet", "-m", "x"]);
    wait_for("it to be held", || (scene.newest()["state"] == "held").then_some(()));
    assert!(scene.newest()["reason"].as_str().unwrap().contains("another repository"), "{}", scene.newest());
}

#[test]
fn a_store_inside_the_repository_is_none() {
    let mut scene = accepted();
    // Also by a link, and where it is not there yet.
    symlink(&scene.top, scene.path("link")).unwrap();
    for place in [scene.path("link/not/there"), scene.top.join("state")] {
        scene.set("XDG_STATE_HOME", place);
        let said = scene.at_terminal(&scene.top, &["trust"], |_, _| unreachable!());
        assert!(said.code == 3 && said.text.contains("inside the repository"), "{}", said.text);
    }
    assert!(!scene.top.join("not").exists());
    assert!(scene.commit("a", "1", "one").1.contains("git orchestrator trust"));
    assert_eq!(runs(&scene), [] as [serde_json::Value; 0]);
}

#[test]
fn what_cannot_be_read_holds_and_never_hangs() {
    type Fault = fn(&Scene);
    let faults: [(&str, Fault); 6] = [
        ("a pipe in the place of a skill", |scene| {
            let skill = scene.top.join("skills/tester/SKILL.md");
            fs::remove_file(&skill).unwrap();
            mknodat(CWD, &skill, FileType::Fifo, 0o600.into(), 0).unwrap();
        }),
        ("a pipe in the place of the table", |scene| {
            let table = scene.top.join("triggers.yaml");
            fs::remove_file(&table).unwrap();
            mknodat(CWD, &table, FileType::Fifo, 0o600.into(), 0).unwrap();
        }),
        ("a link out of the repository", |scene| {
            fs::remove_dir_all(scene.top.join("skills")).unwrap();
            symlink(scene.path("home"), scene.top.join("skills")).unwrap();
            fs::create_dir_all(scene.path("home/tester")).unwrap();
            fs::write(scene.path("home/tester/SKILL.md"), "secret").unwrap();
        }),
        ("a link in the place of the table", |scene| {
            fs::rename(scene.top.join("triggers.yaml"), scene.top.join("t")).unwrap();
            symlink("t", scene.top.join("triggers.yaml")).unwrap();
        }),
        ("too much", |scene| scene.write("AGENTS.md", &"x".repeat(3 << 20))),
        ("a table that is too much", |scene| scene.write("triggers.yaml", &"#".repeat(3 << 20))),
    ];
    for (what, fault) in faults {
        let scene = accepted();
        fault(&scene);
        let (_, said) = scene.commit("a", "1", "one");
        assert!(said.contains("tester held") && said.contains("git orchestrator trust"), "{what}: {said}");
        nothing_began(&scene, 1);
        let said = scene.at_terminal(&scene.top, &["trust"], |_, _| unreachable!());
        assert_eq!(said.code, 3, "{what}: {}", said.text);
        assert!(!said.text.contains("secret"), "{what}: {}", said.text);
        assert_eq!(text(&scene.run(&["doctor", "--json"]).stdout).matches("trust-changed").count(), {
            usize::from(!what.contains("table"))
        });
    }
}
