//! A person steps in.

use orchestrator::rehearsal::{Handle, Reply, Server};
use serde_json::{Value, json};

use crate::support::{text, wait_for};
use crate::{First, LIMITS, Trial, asked, ends, serve, short, table};

/// Commits, and returns the run once `condition` holds.
fn under_way(trial: &Trial, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    trial.commit();
    wait_for(what, || Some(trial.scene.newest()).filter(&condition))
}

fn id(run: &Value) -> &str {
    run["id"].as_str().unwrap()
}

fn points(trial: &Trial, reply: Reply) -> Handle {
    let server = serve([reply]);
    trial.asks(&server);
    server
}

#[test]
fn cancels_what_waits() {
    let Some(trial) = Trial::new(&table(LIMITS).replace("attempts: 1", "attempts: 2")) else { return };
    trial.scene.ok(&["pause"]);
    let run = under_way(&trial, "the run to be queued", |run| run["state"] == "queued");
    assert_eq!(trial.scene.ok(&["cancel", short(&run)]), format!("run {} is cancelled\n", short(&run)));
    trial.scene.ok(&["resume"]);
    assert_eq!(trial.scene.wait(), 1, "nothing moves, and the run of this commit did not succeed");
    ends(&trial.scene.newest(), "cancelled", "cancelled by a person");

    // Between two attempts.
    let server = points(&trial, Reply::error(503, "unavailable", "busy"));
    let run = under_way(&trial, "the first attempt to fail", |run| run["state"] == "queued" && run["attempt"] == 1);
    trial.scene.ok(&["cancel", id(&run)]);
    ends(&trial.scene.newest(), "cancelled", "cancelled by a person");
    trial.untouched();
    assert_eq!(asked(&server), 1);

    let again = trial.scene.run(&["cancel", id(&run)]);
    assert_eq!(again.status.code(), Some(3));
    assert!(text(&again.stderr).contains("has ended already: it is cancelled"), "{}", text(&again.stderr));
    trial.next_runs();
}

#[test]
fn cancels_what_is_under_way() {
    let Some(trial) = Trial::new(&table(LIMITS)) else { return };
    let commands = |run: &Value| trial.scene.ok(&["log", id(run)]).contains("$ make hang");
    let server = points(&trial, Reply::command("make hang"));
    let run = under_way(&trial, "the command to run", commands);
    trial.scene.ok(&["cancel", id(&run)]);
    ends(&trial.ended(), "cancelled", "cancelled by a person");
    assert_eq!(asked(&server), 1);

    let server = points(&trial, Reply::Silence);
    let run = under_way(&trial, "the model to be asked", |_| asked(&server) > 0);
    trial.scene.ok(&["cancel", short(&run)]);
    ends(&trial.ended(), "cancelled", "cancelled by a person");
    trial.next_runs();
}

#[test]
fn tries_again() {
    let Some(trial) = Trial::new(&table(LIMITS)) else { return };
    let server = Server::in_background(First::new([Reply::error(503, "unavailable", "busy")])).unwrap();
    trial.asks(&server);
    let failed = trial.run();
    assert_eq!(failed["state"], "failed");
    let said = trial.scene.ok(&["retry", short(&failed)]);
    let run = trial.ended();
    assert_eq!(said, format!("tester is queued again as run {0} · git orchestrator wait {0}\n", short(&run)));
    assert_eq!((&run["state"], &run["retry_of"]), (&json!("succeeded"), &failed["id"]));
    assert_ne!(run["id"], failed["id"]);
    assert_eq!(run["commit"], failed["commit"]);
    let runs = trial.scene.status()["runs"].as_array().unwrap().clone();
    assert_eq!((runs.len(), &runs[1]["state"]), (2, &json!("failed")), "the first one stays as it ended");
}

#[test]
fn pauses_and_resumes() {
    let Some(trial) = Trial::new(&table(LIMITS)) else { return };
    let server = Server::in_background(First::new([])).unwrap();
    trial.asks(&server);
    trial.scene.ok(&["pause"]);
    trial.commit();
    let refused = trial.scene.run(&["wait"]);
    assert_eq!(refused.status.code(), Some(3));
    let said = text(&refused.stderr);
    assert!(said.contains("the queue is paused") && said.contains("git orchestrator resume"), "{said}");
    assert_eq!(trial.scene.newest()["state"], "queued");
    trial.untouched();
    assert_eq!(asked(&server), 0);
    trial.scene.ok(&["resume"]);
    assert_eq!(trial.ended()["state"], "succeeded");
}

#[test]
fn lists_roles() {
    let other = table(LIMITS).replace("    tester:\n", "    planner:\n");
    let Some(trial) = Trial::new(&other) else { return };
    assert!(trial.commit().contains("tester held for"));
    let run = trial.scene.newest();
    let why = "`policy.roles` does not list `tester`";
    assert_eq!((&run["state"], &run["reason"]), (&json!("held"), &json!(why)));
    assert_eq!(trial.scene.wait(), 3, "nothing moves: the policy says no");
    trial.untouched();

    let refused = trial.scene.run(&["run", "tester", "--wait"]);
    assert_eq!(refused.status.code(), Some(3));
    let said = text(&refused.stderr);
    let by_hand = trial.scene.newest();
    assert!(said.contains(&format!("run {} is held: {why}", short(&by_hand))), "{said}");
    assert!(said.contains("change triggers.yaml, or release it with `git orchestrator retry"), "{said}");
    assert_eq!(by_hand["state"], "held");

    // A person's word is enough, for this one run.
    let said = trial.scene.ok(&["retry", short(&run)]);
    assert_eq!(said, format!("tester is released as run {0} · git orchestrator wait {0}\n", short(&run)));
    assert_eq!(trial.scene.wait(), 0);
    let runs = trial.scene.status()["runs"].as_array().unwrap().clone();
    let state = |n: usize| runs[n]["state"].as_str().unwrap();
    assert_eq!((runs.len(), state(0), state(1)), (2, "held", "succeeded"), "{runs:?}");
    trial.untouched();
}
