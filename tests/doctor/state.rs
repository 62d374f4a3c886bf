//! `.orchestrator`: whose it is, what lies in it, and the disk below it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::Value;

use crate::support::PROGRAM;
use crate::{Fault, Seen, fix, hook, look, mended, mode, sound, told};

#[test]
fn the_state_directory_is_mended() {
    let scene = sound();
    let state = scene.top.join(".orchestrator/state");
    mode(&state, 0o777);
    mended(&scene, "state-open");
    assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o7777, 0o775);
    mode(&state, 0o055);
    mended(&scene, "state-permissions");
    fs::remove_dir_all(state.join("spool")).unwrap();
    mended(&scene, "state-missing");
    fs::remove_dir_all(scene.top.join(".orchestrator")).unwrap();
    mended(&scene, "state-missing");

    scene.write(".orchestrator/state/spool/0.json", "{ not an event");
    let seen = look(&scene);
    assert_eq!(seen.left(), ["spool-unreadable"], "{seen:?}");
    let seen = fix(&scene);
    assert_eq!((seen.fixed(), seen.left()), (vec!["spool-unreadable"], vec!["spool-set-aside"]), "{seen:?}");
    told(&scene, "spool-set-aside", "warning");
}

#[test]
fn a_state_directory_that_is_not_ours() {
    let faults: [(&str, Fault); 9] = [
        ("state-link", |scene| {
            fs::rename(scene.top.join(".orchestrator/state"), scene.path("state")).unwrap();
            symlink(scene.path("state"), scene.top.join(".orchestrator/state")).unwrap();
        }),
        ("state-not-directory", |scene| {
            fs::remove_dir_all(scene.top.join(".orchestrator/state/spool")).unwrap();
            scene.write(".orchestrator/state/spool", "in the way");
        }),
        ("state-not-directory", |scene| {
            fs::remove_dir_all(scene.top.join(".orchestrator")).unwrap();
            scene.write(".orchestrator", "in the way");
        }),
        ("state-tracked", |scene| {
            scene.git(&["add", "--force", ".orchestrator/state/install.json"]);
            scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", "state"]);
        }),
        ("ledger-unreadable", |scene| {
            scene.write(".orchestrator/state/ledger.db", &"no database ".repeat(1000));
        }),
        ("ledger-unreadable", |scene| fs::create_dir(scene.top.join(".orchestrator/state/ledger.db")).unwrap()),
        ("ledger-unreadable", |scene| fifo(&scene.top.join(".orchestrator/state/ledger.db"))),
        ("ledger-unreadable", |scene| {
            // Pages in the middle of a real one.
            scene.ok(&["status"]);
            let path = scene.top.join(".orchestrator/state/ledger.db");
            let mut bytes = fs::read(&path).unwrap();
            assert!(bytes.len() > 12 * 1024);
            bytes[4096..12288].fill(0x5a);
            fs::write(path, bytes).unwrap();
        }),
        ("ledger-newer", |scene| {
            scene.ok(&["status"]);
            let ledger = rusqlite::Connection::open(scene.top.join(".orchestrator/state/ledger.db")).unwrap();
            ledger.pragma_update(None, "user_version", 99).unwrap();
        }),
    ];
    for (code, fault) in faults {
        let scene = sound();
        fault(&scene);
        let seen = look(&scene);
        assert!(seen.left().contains(&code) && seen.code == 1, "{code} {seen:?}");
        let finding = seen.finding(code);
        assert_eq!(
            (finding["level"].as_str(), &finding["fixable"]),
            (Some("problem"), &Value::Bool(false)),
            "{seen:?}"
        );
        assert!(finding["fix"].is_string(), "{seen:?}");
        assert!(fix(&scene).left().contains(&code), "{code}");
    }
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
}

#[test]
fn nothing_makes_it_wait_or_panic() {
    let scene = sound();
    let state = scene.top.join(".orchestrator/state");
    for name in ["worker.log", "ledger.db", "ledger.db-wal", "spool/1.json", "spool/2.damaged"] {
        fs::remove_file(state.join(name)).ok();
        fifo(&state.join(name));
    }
    fs::remove_file(state.join("worker.lock")).ok();
    fs::create_dir(state.join("worker.lock")).unwrap();
    fs::remove_file(state.join("install.json")).unwrap();
    fs::create_dir(state.join("install.json")).unwrap();
    fs::remove_file(hook(&scene, "pre-push")).unwrap();
    fs::create_dir(hook(&scene, "pre-push")).unwrap();
    fs::write(scene.top.join(".git/logs/HEAD"), "garbage").ok();
    fs::remove_file(scene.top.join("triggers.yaml")).unwrap();
    fifo(&scene.top.join("triggers.yaml"));
    for arguments in [["doctor", "--json"].as_slice(), &["doctor", "--fix", "--json"]] {
        let seen = Seen::of(&scene.run(arguments));
        assert_eq!(seen.code, 1);
        for code in ["table-unreadable", "ledger-unreadable", "worker-lock", "spool-unreadable", "spool-set-aside"] {
            assert!(seen.findings.iter().any(|finding| finding["code"] == code), "{code} {seen:?}");
        }
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn a_disk_that_is_read_only_or_full() {
    let scene = sound();
    let run = |mount: &str| {
        let line = format!("{mount} && exec \"$0\" doctor --json");
        let arguments = ["--user", "--map-root-user", "--mount", "sh", "-c", &line, PROGRAM];
        let output = scene.command("unshare").args(arguments).output();
        output.ok().filter(|output| !output.stdout.is_empty())
    };
    let Some(read_only) = run("mount --bind .orchestrator .orchestrator && mount -o remount,bind,ro .orchestrator")
    else {
        eprintln!("SKIPPED: `unshare --user --mount` is not possible here (util-linux, user namespaces)");
        return;
    };
    let seen = Seen::of(&read_only);
    assert!(seen.left().contains(&"state-read-only") && seen.code == 1, "{seen:?}");
    let fill = "mount -t tmpfs -o size=8m small .orchestrator && mkdir -p .orchestrator/state/spool";
    let seen = Seen::of(&run(fill).unwrap());
    assert_eq!(seen.finding("state-space")["level"], "warning", "{seen:?}");
    let seen = Seen::of(&run(&format!("{fill} && head -c 7m /dev/zero >.orchestrator/filler")).unwrap());
    assert_eq!(seen.finding("state-space")["level"], "problem", "{seen:?}");
}
