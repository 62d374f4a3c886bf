//! Our own files cannot be written or read.

use std::fs;

use crate::support::text;
use crate::{LIMITS, Trial, ends, table};

#[test]
fn the_run_or_its_artifact_cannot_be_written() {
    let Some(trial) = Trial::new(&table(LIMITS)) else { return };
    for (name, sentence) in [
        ("runs", "cannot create */.orchestrator/runs/*: Not a directory* · git orchestrator retry RUN"),
        (
            "artifacts",
            "*/.orchestrator/artifacts is no directory of ours: * · look at what it is, then remove it: ls *",
        ),
    ] {
        let path = trial.scene.top.join(".orchestrator").join(name);
        fs::remove_dir_all(&path).ok();
        trial.scene.write(&format!(".orchestrator/{name}"), "in the way");
        let run = trial.run();
        ends(&run, "failed", sentence);
        fs::remove_file(&path).unwrap();
        trial.next_runs();
    }
}

#[test]
fn the_event_cannot_be_written() {
    let Some(trial) = Trial::new(&table(LIMITS)) else { return };
    let spool = trial.scene.top.join(".orchestrator/state/spool");
    fs::remove_dir_all(&spool).ok();
    trial.scene.write(".orchestrator/state/spool", "in the way");
    // Git goes on, and one line says what is wrong.
    let said = trial.commit();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("git-orchestrator: cannot create ") && said.contains("spool"), "{said}");
    fs::remove_file(&spool).unwrap();
    trial.next_runs();
}

#[test]
fn the_ledger_is_damaged() {
    let Some(trial) = Trial::new(&table(LIMITS)) else { return };
    trial.next_runs();
    let ledger = trial.scene.top.join(".orchestrator/state/ledger.db");
    let whole = fs::read(&ledger).unwrap();
    trial.scene.write(".orchestrator/state/ledger.db", &"no database ".repeat(1000));
    for side in ["-wal", "-shm"] {
        fs::remove_file(ledger.with_file_name(format!("ledger.db{side}"))).ok();
    }
    // The hook does not need it: the event is kept.
    assert!(trial.commit().contains("tester queued"));
    let output = trial.scene.run(&["wait"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("cannot open ") && said.contains("ledger.db: file is not a database"), "{said}");
    assert!(said.contains("hint: move `.orchestrator/state/ledger.db` and its `-wal` and `-shm` aside"), "{said}");
    trial.untouched();
    orchestrator::files::write(&ledger, &whole).unwrap();
    let run = trial.ended();
    assert_eq!(run["state"], "succeeded", "{run}");
}
