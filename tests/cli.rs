//! What people see: every command's words and exit codes, in a pipe. Nothing here needs Codex.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fmt::Write as _;
use std::process::Output;

use serde_json::Value;
use support::{Scene, TESTER_ON_COMMIT, text};

/// Everything a command said, with what differs from run to run made equal.
fn seen(scene: &Scene, output: &Output) -> String {
    let mut page = format!("exit {}\n", output.status.code().unwrap());
    for (name, stream) in [("out", &output.stdout), ("err", &output.stderr)] {
        for line in text(stream).lines() {
            writeln!(page, "{name}| {line}").unwrap();
        }
    }
    let page = page.replace(&scene.path("").display().to_string(), "[scene]/");
    let steady: [(&str, &str); 9] = [
        (r"worker (idle|working( \(pid \d+\))?) · ", "worker [at work or not] · "),
        (r"runs/\d{4}-\d{2}-\d{2}/", "runs/[date]/"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "[run id]"),
        (r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{3}Z)?", "[time]"),
        (r"\b[0-9a-f]{40}\b", "[commit id]"),
        (r"\b[0-9a-f]{12}\b", "[commit 12]"),
        (r"\b[0-9a-f]{8}\b", "[run]"),
        (r"\b[0-9a-f]{7}\b", "[commit]"),
        (r"\d+\.\ds\b|\b\d+s\b", "[s]"),
    ];
    steady
        .into_iter()
        .fold(page, |page, (pattern, name)| regex::Regex::new(pattern).unwrap().replace_all(&page, name).into_owned())
}

/// A repository in which one run has failed, since there is no Codex.
fn failed() -> Scene {
    let scene = Scene::installed(TESTER_ON_COMMIT);
    scene.commit("a", "1", "add a");
    assert_eq!(scene.wait(), 1);
    scene
}

macro_rules! assert_seen {
    ($scene:expr, $($argument:expr),+) => {
        let arguments = [$($argument),+];
        let output = $scene.run(&arguments);
        insta::with_settings!({ description => arguments.join(" "), omit_expression => true }, {
            insta::assert_snapshot!(seen(&$scene, &output));
        });
    };
}

#[test]
fn help_names_every_command() {
    let scene = Scene::new();
    assert_seen!(scene, "--help");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let scene = Scene::new();
    assert_seen!(scene, "stauts");
    assert_eq!(scene.run(&["status", "--limit", "many"]).status.code(), Some(2));
    assert_eq!(scene.run(&[]).status.code(), Some(2));
}

#[test]
fn outside_a_repository_and_before_install_the_next_step_is_named() {
    let scene = Scene::new();
    assert_seen!(scene, "status");
    let outside = scene.command(support::PROGRAM).current_dir("/").arg("status").output().unwrap();
    insta::assert_snapshot!(seen(&scene, &outside));
}

#[test]
fn an_empty_queue() {
    let scene = Scene::installed(TESTER_ON_COMMIT);
    assert_seen!(scene, "status");
    assert_seen!(scene, "wait");
    assert_seen!(scene, "show");
    assert_seen!(scene, "log");
}

#[test]
fn a_failed_run_says_why_and_what_to_type() {
    let scene = failed();
    assert_seen!(scene, "status");
    assert_seen!(scene, "show");
    assert_seen!(scene, "log");
    let inbox = scene.read(".orchestrator/INBOX.md");
    assert!(inbox.contains("npm install -g @openai/codex"), "{inbox}");
}

#[test]
fn the_json_of_status_has_the_fixed_shape() {
    let scene = failed();
    let status = scene.status();
    let keys = |value: &Value| {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    for key in ["schema", "worker", "counts", "runs", "gates"] {
        assert!(keys(&status).contains(&key.to_owned()), "{key}");
    }
    assert_eq!(keys(&status["worker"]), ["pid", "running"]);
    assert_eq!(status["schema"], 1);
    assert_eq!(status["counts"]["failed"], 1);
    let run = &status["runs"][0];
    for key in [
        "id",
        "trigger",
        "role",
        "state",
        "reason",
        "commit",
        "branch",
        "runtime",
        "attempt",
        "created_at",
        "started_at",
        "finished_at",
        "artifacts",
        "usage",
    ] {
        assert!(keys(run).contains(&key.to_owned()), "{key}");
    }
    assert_eq!(keys(&run["usage"]), ["cached_input_tokens", "input_tokens", "output_tokens"]);
    assert_eq!((&run["trigger"], &run["branch"]), (&Value::from("test"), &Value::from("main")));
}

#[test]
fn what_does_not_exist_is_exit_code_5() {
    let scene = failed();
    assert_seen!(scene, "show", "deadbeef");
    assert_seen!(scene, "explain", "post-comit");
    assert_seen!(scene, "schema", "plannr");
    assert_seen!(scene, "run", "testr");
}

#[test]
fn waiting_for_a_paused_queue_is_refused_and_a_timeout_is_124() {
    let scene = Scene::installed(TESTER_ON_COMMIT);
    assert_seen!(scene, "pause", "--why", "on a train");
    scene.commit("a", "1", "add a");
    assert_seen!(scene, "status");
    assert_seen!(scene, "wait");
    assert_eq!(scene.run(&["wait", "--timeout", "1ms"]).status.code(), Some(3));
    assert_seen!(scene, "resume");
    assert_eq!(scene.wait(), 1);
}

#[test]
fn a_role_that_is_not_listed_is_held_and_can_be_released() {
    let table = TESTER_ON_COMMIT
        .replace("    tester:\n      sandbox: workspace-write", "    planner:\n      sandbox: read-only");
    let scene = Scene::installed(&table);
    let (_, said) = scene.commit("a", "1", "add a");
    assert!(said.contains("tester held for"), "{said}");
    assert_seen!(scene, "status");
    assert_seen!(scene, "validate");
    assert_eq!(scene.wait(), 3, "nothing moves: the policy says no");
    let run = scene.newest()["id"].as_str().unwrap().to_owned();
    assert_seen!(scene, "run", "tester");
    scene.ok(&["retry", &run]);
    assert_eq!(scene.wait(), 1);
    assert_eq!(scene.newest()["state"], "held", "the one asked for by name is still held");
}

#[test]
fn cancel_and_retry() {
    let scene = Scene::installed(TESTER_ON_COMMIT);
    scene.ok(&["pause"]);
    scene.commit("a", "1", "add a");
    let run = scene.newest()["id"].as_str().unwrap().to_owned();
    assert_seen!(scene, "cancel", &run);
    assert_seen!(scene, "cancel", &run);
    assert_seen!(scene, "retry", &run);
    let newest = scene.newest();
    assert_eq!((&newest["state"], &newest["retry_of"]), (&Value::from("queued"), &Value::from(run)));
    assert_seen!(scene, "retry", newest["id"].as_str().unwrap());
}

#[test]
fn explain_shows_each_condition() {
    let table = TESTER_ON_COMMIT.replace(
        "    role: tester\n",
        "    when: { paths: [\"src/**\"], branches: [\"release/*\"], message: \"^fix\", author: [\"*@example.invalid*\"] }\n    role: tester\n",
    );
    let scene = Scene::installed(&table);
    let (_, said) = scene.commit("src/a", "1", "feat: add a");
    assert_eq!(said, "", "nothing matches, nothing is said");
    assert_seen!(scene, "explain", "post-commit");
    assert_seen!(scene, "explain", "pre-push");
}

#[test]
fn a_broken_table_costs_git_one_line() {
    let scene = Scene::installed(TESTER_ON_COMMIT);
    scene.write("triggers.yaml", &TESTER_ON_COMMIT.replace("role: tester", "role: testr"));
    let (_, said) = scene.commit("a", "1", "add a");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("tester held") && said.contains("git orchestrator trust"), "{said}");
    assert_seen!(scene, "validate");
    // Nothing is lost of what the accepted table asks for, and nobody can accept what does not load.
    assert_eq!(scene.newest()["state"], "held");
    let said = scene.at_terminal(&scene.top, &["trust"], |_, _| unreachable!());
    assert!(said.code == 2 && said.text.contains("triggers.yaml:5:11"), "{}", said.text);
}

#[test]
fn a_linked_worktree_uses_the_one_orchestrator() {
    let scene = Scene::installed(TESTER_ON_COMMIT);
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    let other = scene.path("other");
    scene.git(&["worktree", "add", "--quiet", "-b", "topic", other.to_str().unwrap()]);
    orchestrator::files::write(&other.join("b"), b"2").unwrap();
    scene.git_in(&other, &["add", "b"]);
    scene.git_in(&other, &["commit", "--quiet", "-m", "add b"]);
    scene.wait();
    let run = scene.newest();
    assert_eq!(
        (&run["branch"], run["commit"].as_str().unwrap()),
        (&Value::from("topic"), scene.git(&["rev-parse", "topic"]).trim())
    );
    assert!(!other.join(".orchestrator").exists());
    let status = scene.command(support::PROGRAM).current_dir(&other).args(["status", "--json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["runs"][0]["id"], run["id"]);
}

#[test]
fn a_hook_inside_a_run_does_nothing_and_silence_can_be_asked_for() {
    let mut scene = Scene::installed(TESTER_ON_COMMIT);
    for name in ["GIT_ORCHESTRATOR_RUN", "GIT_ORCHESTRATOR_SKIP"] {
        scene.set(name, "1");
        assert_eq!(scene.commit("a", name, name).1, "");
        scene.unset(name);
    }
    assert_eq!(scene.status()["runs"].as_array().unwrap().len(), 0);
    scene.set("GIT_ORCHESTRATOR_QUIET", "1");
    assert_eq!(scene.commit("a", "1", "quiet").1, "");
    scene.wait();
    assert_eq!(scene.status()["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn hostile_names_reach_no_screen_as_they_are() {
    let scene = Scene::installed(TESTER_ON_COMMIT);
    let evil = "a\u{1b}]0;owned\u{7}\u{202e}b";
    scene.git(&["checkout", "--quiet", "-b", "evil\u{202e}\u{200b}$(touch${IFS}PWNED)"]);
    scene.git(&["config", "user.name", &format!("Eve{evil}")]);
    scene.commit(&format!("{evil} -rf"), "1", &format!("feat: {evil}\n\n\u{1b}[2J"));
    scene.wait();
    let run = scene.newest()["id"].as_str().unwrap().to_owned();
    for arguments in [
        vec!["status"],
        vec!["show"],
        vec!["show", "--prompt"],
        vec!["log"],
        vec!["log", &run],
        vec!["explain", "post-commit"],
        vec!["status", "--json"],
    ] {
        let output = scene.run(&arguments);
        let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
        let control =
            all.chars().find(|c| (c.is_control() && *c != '\n' && *c != '\t') || "\u{202e}\u{200b}".contains(*c));
        // JSON escapes control characters itself; what reorders text is data to a program.
        assert!(
            control.is_none() || arguments.contains(&"--json") && !control.unwrap().is_control(),
            "{arguments:?}: {all:?}"
        );
    }
    assert!(!scene.top.join("PWNED").exists());
    let inbox = scene.read(".orchestrator/INBOX.md");
    assert!(inbox.chars().all(|c| !c.is_control() || c == '\n'), "{inbox:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let scene = failed();
    let output = scene
        .command("sh")
        .args([
            "-c",
            &format!("'{}' log --limit 1000 | true; '{}' --help | head -1", support::PROGRAM, support::PROGRAM),
        ])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
}
