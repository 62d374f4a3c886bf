//! A run reaches one of its limits.

use orchestrator::rehearsal::{Item, Reply};
use serde_json::json;

use crate::{LIMITS, Trial, asked, counted, ends, serve, table};

#[test]
fn silence() {
    let Some(trial) = Trial::new(&table("wall: 60s, idle: 2s")) else { return };
    let sentence = "gave up after 1 attempt: the model gave no sign of life for 2.0s · git orchestrator retry RUN";
    for reply in [Reply::Silence, Reply::NoHeaders] {
        let server = serve([reply]);
        trial.asks(&server);
        ends(&trial.run(), "failed", sentence);
        assert_eq!(asked(&server), 1);
    }
    trial.next_runs();
}

#[test]
fn a_command_without_an_end() {
    let Some(trial) = Trial::new(&table("wall: 4s, idle: 2s")) else { return };
    // The idle limit is not for commands.
    let server = serve([Reply::command("make hang"), Reply::message("never said")]);
    trial.asks(&server);
    ends(&trial.run(), "failed", "the attempt took longer than 4.0s · raise `limits.wall` of tester in triggers.yaml");
    assert_eq!(asked(&server), 1);
}

#[test]
fn the_second_turn_has_what_the_first_left_of_the_time() {
    let Some(trial) = Trial::new(&table("wall: 12s, idle: 30s")) else { return };
    let server = serve([Reply::command("sleep 3"), Reply::message("no"), Reply::Silence]);
    trial.asks(&server);
    let run = trial.run();
    ends(&run, "failed", "the attempt took longer than 12s · raise `limits.wall` of tester in triggers.yaml");
    assert_eq!(asked(&server), 3);
    let log = trial.scene.ok(&["log", run["id"].as_str().unwrap()]);
    assert!(log.contains("failed: the attempt took longer than 12s"), "{log}");
}

#[test]
fn a_flood_of_output() {
    let Some(trial) = Trial::new(&table(&format!("{LIMITS}, output: 32KiB"))) else { return };
    let server = serve([Reply::message("x".repeat(1 << 20))]);
    trial.asks(&server);
    let sentence =
        "Codex wrote more than the 32.0 KiB of output it may · raise `limits.output` of tester in triggers.yaml";
    ends(&trial.run(), "failed", sentence);
    trial.next_runs();
}

#[test]
fn no_turn_begins_without_tokens() {
    let Some(trial) = Trial::new(&table(&format!("{LIMITS}, tokens: 110"))) else { return };
    let server = serve([counted(Item::message("no"))]);
    trial.asks(&server);
    let run = trial.run();
    let sentence = "no usable answer and the run's tokens are used up (`limits.tokens`): * · git orchestrator log RUN";
    ends(&run, "inconclusive", sentence);
    assert_eq!((asked(&server), &run["usage"]["output_tokens"]), (1, &json!(10)));
    // With one token more to spend, it is asked again, and that is all.
    let table = table(&format!("{LIMITS}, tokens: 111"));
    trial.scene.write("triggers.yaml", &table);
    trial.scene.trust();
    trial.scene.commit("triggers.yaml", &table, "more tokens");
    trial.count_commit();
    let run = trial.ended();
    ends(&run, "inconclusive", "no usable answer, though it was asked twice: *");
    assert_eq!((asked(&server), &run["usage"]["output_tokens"]), (3, &json!(20)));
}
