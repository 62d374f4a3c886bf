//! The worker and the runs.

use std::fs::File;

use crate::support::{TESTER_ON_COMMIT, text, wait_for};
use crate::{CODEX, codex, fix, look, sound, told};

#[test]
fn a_worker_that_is_not_there() {
    let scene = sound();
    // As long as somebody has the lock, the hook starts no worker.
    let lock = File::create(scene.top.join(".orchestrator/state/worker.lock")).unwrap();
    lock.lock().unwrap();
    scene.commit("a", "1", "add a");
    drop(lock);
    let seen = look(&scene);
    assert_eq!(seen.left(), ["worker-missing"], "{seen:?}");
    let seen = fix(&scene);
    assert_eq!((seen.fixed(), seen.left().len()), (vec!["worker-missing"], 0), "{seen:?}");
    wait_for("the run to begin", || (scene.newest()["state"] == "running").then_some(()));

    let pid = scene.status()["worker"]["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    wait_for("the worker to stop", || look(&scene).left().contains(&"worker-stopped").then_some(()));
    told(&scene, "worker-stopped", "warning");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_for("the worker to be gone", || look(&scene).left().contains(&"worker-died").then_some(()));
    let seen = fix(&scene);
    assert!(seen.fixed().contains(&"worker-died"), "{seen:?}");
    // One attempt was all it had.
    wait_for("the run to be given up", || (scene.newest()["state"] == "failed").then_some(()));
    wait_for("the worker to end", || scene.status()["worker"]["pid"].is_null().then_some(()));
    told(&scene, "run-failed", "warning");
}

#[test]
fn a_run_that_is_due_and_has_no_worker() {
    let scene = sound();
    let lock = File::create(scene.top.join(".orchestrator/state/worker.lock")).unwrap();
    lock.lock().unwrap();
    scene.commit("a", "1", "add a");
    // This command takes the event in.
    assert_eq!(scene.newest()["state"], "queued");
    let ledger = rusqlite::Connection::open(scene.top.join(".orchestrator/state/ledger.db")).unwrap();
    ledger.execute("UPDATE runs SET not_before = 1", []).unwrap();
    let reason = "waits for the end of the rebase in /x";
    ledger.execute("UPDATE runs SET reason = ?1", [reason]).unwrap();
    drop(lock);
    let seen = look(&scene);
    assert!(seen.left().is_empty(), "for a rebase no worker waits for ever: {seen:?}");
    ledger.execute("UPDATE runs SET reason = ''", []).unwrap();
    assert_eq!(look(&scene).left(), ["worker-missing"]);
}

#[test]
fn the_queue() {
    let mut scene = sound();
    scene.ok(&["pause"]);
    told(&scene, "queue-paused", "warning");
    scene.commit("a", "1", "add a");
    assert_eq!(scene.newest()["state"], "queued");
    let ledger = rusqlite::Connection::open(scene.top.join(".orchestrator/state/ledger.db")).unwrap();
    ledger.execute("UPDATE runs SET created_at = 1", []).unwrap();
    assert_eq!(look(&scene).left(), ["queue-paused", "run-queued-long"]);
    scene.ok(&["cancel", scene.newest()["id"].as_str().unwrap()]);

    scene.write("triggers.yaml", &TESTER_ON_COMMIT.replace("tester:\n      sandbox", "planner:\n      sandbox"));
    scene.trust();
    scene.commit("a", "2", "change a");
    assert_eq!(scene.newest()["state"], "held");
    let seen = look(&scene);
    assert_eq!(seen.left(), ["role-not-listed", "queue-paused", "run-held"], "{seen:?}");
    let id = scene.newest()["id"].as_str().unwrap().to_owned();
    let fix = seen.finding("run-held")["fix"].as_str().unwrap().to_owned();
    assert!(fix.starts_with("git orchestrator retry ") && id.ends_with(fix.rsplit(' ').next().unwrap()), "{fix} {id}");
    scene.ok(&["cancel", &id]);

    // A turn that breaks off is tried again, later.
    codex(&mut scene, &CODEX.replace("exec sleep 1000", "exit 1"));
    scene.write("triggers.yaml", &TESTER_ON_COMMIT.replace("attempts: 1", "attempts: 2"));
    scene.trust();
    scene.ok(&["resume"]);
    scene.commit("a", "3", "change a again");
    wait_for("the next attempt to wait", || look(&scene).left().contains(&"run-backs-off").then_some(()));
}

#[test]
fn rows_of_the_ledger_that_do_not_read() {
    let scene = sound();
    scene.ok(&["pause"]);
    scene.commit("a", "1", "add a");
    assert_eq!(scene.newest()["state"], "queued");
    let ledger = rusqlite::Connection::open(scene.top.join(".orchestrator/state/ledger.db")).unwrap();
    ledger.execute("UPDATE runs SET job = 'no job'", []).unwrap();
    let seen = look(&scene);
    assert!(seen.left().contains(&"jobs-unreadable") && seen.code == 1, "{seen:?}");
}

#[test]
fn what_the_worker_wrote_last() {
    let scene = sound();
    scene.write(
        ".orchestrator/state/worker.log",
        "2026-01-01T00:00:00.000000Z ERROR the worker ends error=\u{1b}[31mdisk\n",
    );
    told(&scene, "worker-error", "warning");
    let output = scene.run(&["doctor"]);
    assert!(text(&output.stdout).contains(r"error=\u{1b}[31mdisk"), "{}", text(&output.stdout));
}
