//! Codex is missing, not usable, or dies; or its worker does.

use std::path::PathBuf;

use orchestrator::rehearsal::{Reply, Server};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::{Scene, codex, wait_for};
use crate::{First, LIMITS, Trial, asked, ends, serve, table};

const VARIABLE: &str = "GIT_ORCHESTRATOR_CODEX";

/// A trial and the path of the real Codex.
fn trial(table: &str) -> Option<(Trial, PathBuf)> {
    Some((Trial::new(table)?, codex()?.canonicalize().unwrap()))
}

#[test]
fn it_is_missing_too_old_or_something_else() {
    let Some((mut trial, real)) = trial(&table(LIMITS)) else { return };
    trial.scene.unset(VARIABLE);
    ends(&trial.run(), "failed", "there is no `codex` on PATH · npm install -g @openai/codex");

    let bin = trial.scene.path("bin/codex");
    Scene::script(&bin, "#!/bin/sh\necho codex-cli 0.100.0\n");
    trial.scene.trust();
    let sentence = "Codex 0.100.0 is too old: 0.130.0 is the oldest that works · npm install -g @openai/codex";
    ends(&trial.run(), "failed", sentence);

    Scene::script(&bin, "#!/bin/sh\necho hello\n");
    trial.scene.trust();
    let sentence = "`*/bin/codex --version` does not answer like Codex: `hello` · npm install -g @openai/codex";
    ends(&trial.run(), "failed", sentence);

    trial.scene.set(VARIABLE, "/nowhere/codex");
    let sentence = "GIT_ORCHESTRATOR_CODEX names `/nowhere/codex`, which is not the absolute path of a program · unset \
                    GIT_ORCHESTRATOR_CODEX";
    ends(&trial.run(), "failed", sentence);

    // Installed as npm does it: a link on PATH.
    trial.scene.unset(VARIABLE);
    std::fs::remove_file(&bin).unwrap();
    std::os::unix::fs::symlink(real, &bin).unwrap();
    trial.scene.trust();
    trial.next_runs();
}

#[test]
fn nobody_is_logged_in() {
    let Some((mut trial, _)) = trial(&table(LIMITS)) else { return };
    let config = trial.scene.path("codex/config.toml");
    std::fs::remove_file(&config).unwrap();
    ends(&trial.run(), "failed", "nobody is logged in to Codex · codex login");

    let server = serve([Reply::message("never said")]);
    trial.asks(&server);
    trial.scene.unset("SCRIPT_KEY");
    let sentence = "the model provider wants its key in SCRIPT_KEY, which is not set · export SCRIPT_KEY=…";
    ends(&trial.run(), "failed", sentence);

    trial.scene.set("SCRIPT_KEY", "not-a-secret");
    orchestrator::files::write(&config, b"model = = 1").unwrap();
    ends(&trial.run(), "failed", "Codex's configuration cannot be read: *config.toml is no TOML: * · codex doctor");

    let home = trial.scene.path("codex");
    trial.scene.set("CODEX_HOME", trial.scene.path("gone"));
    ends(&trial.run(), "failed", "CODEX_HOME names `*/gone`, which does not exist · mkdir -p */gone");
    assert_eq!(asked(&server), 0);
    trial.scene.set("CODEX_HOME", home);
    trial.next_runs();
}

#[test]
fn its_sandbox_does_not_work() {
    let Some((mut trial, real)) = trial(&table(LIMITS)) else { return };
    let walled = trial.scene.path("bin/walled");
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = sandbox ]; then echo 'bwrap: No permissions to create new namespace' >&2; exit 1; fi\n\
         exec '{}' \"$@\"\n",
        real.display()
    );
    Scene::script(&walled, &script);
    trial.scene.set(VARIABLE, &walled);
    trial.scene.trust();
    let sentence = "Codex's sandbox does not work here*: bwrap: No permissions to create new namespace · *";
    ends(&trial.run(), "failed", sentence);
    trial.scene.set(VARIABLE, real);
    trial.scene.trust();
    trial.next_runs();
}

#[test]
fn it_ends_without_a_word() {
    let Some((mut trial, real)) = trial(&table(LIMITS)) else { return };
    let odd = trial.scene.path("bin/odd");
    trial.scene.set(VARIABLE, &odd);
    for (body, sentence) in [
        (
            "echo 'Error: it broke' >&2; exit 3",
            "gave up after 1 attempt: Codex ended in the middle of the turn (exit code 3): it broke · git orchestrator \
             retry RUN",
        ),
        (
            "echo \"error: unexpected argument '--json' found\" >&2; exit 2",
            "this version of Codex does not know how it was called: unexpected argument '--json' found · npm install -g \
             @openai/codex",
        ),
        // What it leaves holds its output open.
        (
            "setsid sleep 1000 & echo no json; exit 4",
            "gave up after 1 attempt: Codex ended in the middle of the turn (exit code 4) · git orchestrator retry RUN",
        ),
    ] {
        let script = format!(
            "#!/bin/sh\ncase $1 in --version) echo codex-cli 0.169.0;; sandbox) exec '{}' \"$@\";; *) {body};; esac\n",
            real.display()
        );
        Scene::script(&odd, &script);
        trial.scene.trust();
        ends(&trial.run(), "failed", sentence);
    }
    trial.scene.set(VARIABLE, real);
    trial.scene.trust();
    trial.next_runs();
}

/// Kills Codex, as it carries out a turn.
fn kill_codex(trial: &Trial) {
    let codex = wait_for("Codex to be there", || {
        trial.scene.processes().into_iter().find(|pid| {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            arguments.split(|byte| *byte == 0).nth(1) == Some(b"exec")
        })
    });
    kill_process(Pid::from_raw(codex).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn it_is_killed() {
    let Some((trial, _)) = trial(&table(LIMITS)) else { return };
    let server = serve([Reply::command("make hang")]);
    trial.asks(&server);
    trial.commit();
    wait_for("the command to run", || {
        trial.scene.ok(&["log", trial.scene.newest()["id"].as_str()?]).contains("$ make hang").then_some(())
    });
    kill_codex(&trial);
    let sentence = "gave up after 1 attempt: Codex was ended by signal 9* · git orchestrator retry RUN";
    ends(&trial.ended(), "failed", sentence);
    trial.next_runs();
}

#[test]
fn it_is_killed_and_the_second_attempt_succeeds() {
    let Some((trial, _)) = trial(&table(LIMITS).replace("attempts: 1", "attempts: 2")) else { return };
    let server = Server::in_background(First::new([Reply::Silence])).unwrap();
    trial.asks(&server);
    trial.commit();
    wait_for("the model to be asked", || (asked(&server) > 0).then_some(()));
    kill_codex(&trial);
    let run = trial.ended();
    assert_eq!((&run["state"], &run["attempt"]), (&json!("succeeded"), &json!(2)), "{run}");
    let log = trial.scene.ok(&["log", run["id"].as_str().unwrap()]);
    assert!(log.contains("Codex was ended by signal 9 · attempt 2 of 2 in 10s"), "{log}");
}

/// Sends the worker a signal while the model is silent, and returns once both are gone.
fn end_worker(trial: &Trial, signal: Signal) {
    let silent = serve([Reply::Silence]);
    trial.asks(&silent);
    trial.commit();
    wait_for("the model to be asked", || (asked(&silent) > 0).then_some(()));
    let pid = trial.scene.status()["worker"]["pid"].as_i64().unwrap();
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
    wait_for("the worker and Codex to end", || trial.scene.processes().is_empty().then_some(()));
}

#[test]
fn its_worker_is_told_to_end_and_the_next_one_goes_on() {
    let Some((trial, _)) = trial(&table(LIMITS)) else { return };
    end_worker(&trial, Signal::TERM);
    let server = Server::in_background(First::new([])).unwrap();
    trial.asks(&server);
    let run = trial.ended();
    assert_eq!((&run["state"], &run["attempt"]), (&json!("succeeded"), &json!(2)), "{run}");
    let log = trial.scene.ok(&["log", run["id"].as_str().unwrap()]);
    assert!(log.contains("queued: the worker was told to end; it begins again"), "{log}");
}

#[test]
fn its_worker_is_killed_and_no_attempt_is_left() {
    let Some((trial, _)) = trial(&table(LIMITS)) else { return };
    end_worker(&trial, Signal::KILL);
    let sentence = "the worker died over it, and no attempt is left · git orchestrator retry RUN";
    ends(&trial.ended(), "failed", sentence);
    trial.next_runs();
}
