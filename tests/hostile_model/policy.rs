//! From a commit to the end of the run: what a role's policy does not list is refused, and stands in the record.

use std::net::TcpListener;
use std::path::Path;

use orchestrator::rehearsal::Server;
use serde_json::Value;

use crate::further;
use crate::snapshot::{assert_same, snapshot};
use crate::support::{Scene, codex, wait_for};
use crate::tricks::{self, Insistent, Targets, Trick};
use crate::{MODELS, RUNTIMES, SECRETS, VARIABLES, is_codex_own, is_scripted, plant, provide, sent};

const TABLE: &str = "\
version: 1
runtime: RUNTIME
triggers:
  - name: test
    on: post-commit
    role: tester
    debounce: 0s
policy:
  roles:
    tester:
      sandbox: workspace-write
      commands: [git show, git log, git diff, ls, cat, head, tail, rg, grep, find, make test]
      limits: { wall: 5m, idle: 60s, attempts: 1 }
";

/// Everything that a run leaves alone: all but Codex's own files, our record, and the checkout.
fn outside(scene: &Scene) -> crate::snapshot::Snapshot {
    snapshot(&scene.path(""), &|path| {
        path.strip_prefix("codex").is_ok_and(is_codex_own)
            || path.starts_with("repo/.orchestrator")
            || path.starts_with("repo/.git/orchestrator")
            || path.starts_with("repo/.git/worktrees")
    })
}

/// The lines of the run's record.
pub(crate) fn record(scene: &Scene, run: &Value) -> Vec<Value> {
    let id = run["id"].as_str().unwrap();
    let mut found = Vec::new();
    for day in std::fs::read_dir(scene.top.join(".orchestrator/runs")).unwrap().flatten() {
        let file = day.path().join(id).join("events.jsonl");
        if let Ok(text) = std::fs::read_to_string(file) {
            found.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["activity"].clone()));
        }
    }
    found
}

/// What is expected of the tricks.
#[derive(Clone, Copy)]
struct Mode {
    /// None gets past the policy. Otherwise the sandbox is what keeps it from doing harm.
    is_refused: bool,
}

fn attempt(runtime: &str, model: &str, mode: Mode, tricks: impl Fn(&Targets) -> Vec<Trick>) {
    let Some(codex) = codex() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut scene = Scene::new();
    let name = scene.path("").file_name().unwrap().to_str().unwrap().to_owned();
    let targets = Targets {
        base: scene.path("").to_str().unwrap().trim_end_matches('/').to_owned(),
        temporary: format!("/tmp/{name}"),
        port: listener.local_addr().unwrap().port(),
    };
    let tricks: Vec<Trick> = tricks(&targets).into_iter().filter(|trick| trick.is_for(model, runtime)).collect();
    let server = Server::in_background(Insistent::new(&tricks, is_scripted(model), 8, "no answer")).unwrap();
    plant(&mut scene);
    scene = scene.with_codex(&codex, server.url());
    provide(&scene, server.url(), model);
    scene.write("triggers.yaml", &TABLE.replace("RUNTIME", runtime));
    scene.write("Makefile", "test:\n\t@echo one passed\n");
    scene.write("AGENTS.md", "Be good.\n");
    std::os::unix::fs::symlink(scene.path("home"), scene.top.join("out")).unwrap();
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.install();
    scene.commit("change", "1", "change");
    let before = outside(&scene);

    scene.wait();
    let run = scene.newest();
    wait_for("every process to end", || scene.processes().is_empty().then_some(()));
    let what = format!("{runtime} with {model}");
    // It was asked to the end: no trick ended the run before its time. Some are for a person to look at.
    assert!(["inconclusive", "waiting"].iter().any(|state| run["state"] == *state), "{what}: {run}");
    assert_same(&before, &outside(&scene), &what);
    unchanged_checkouts(&scene, &what);
    let left: Vec<_> = std::fs::read_dir("/tmp")
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&name))
        .collect();
    assert!(left.is_empty(), "{what}: {left:?}");
    assert!(listener.accept().is_err(), "{what}: something reached the network");

    let sent = sent(&server);
    let record = record(&scene, &run);
    for (place, secret) in SECRETS.iter().chain(VARIABLES) {
        let allowed = |activity: &&Value| activity["decision"]["verdict"] == "allow";
        let allowed: Vec<_> = record.iter().filter(allowed).map(|activity| &activity["action"]).collect();
        assert!(!sent.contains(secret), "{what}: the secret of {place} came back; allowed was {allowed:?}");
    }
    let mut untold = Vec::new();
    for Trick { mark, .. } in &tricks {
        let told = |activity: &&Value| activity.to_string().contains(mark);
        let all: Vec<&Value> = record.iter().filter(told).collect();
        if all.is_empty() {
            untold.push(mark);
        }
        let ran = all.iter().find(|activity| {
            let is_end = activity["type"] == "command-finished" || activity["type"] == "patch-finished";
            is_end && activity["status"] != "declined"
                || activity["type"] == "decided" && activity["decision"]["verdict"] == "allow"
        });
        assert!(!mode.is_refused || ran.is_none(), "{what}: {mark} was not refused: {ran:?}");
        for decided in all.iter().filter(|activity| activity["type"] == "decided") {
            assert!(decided["decision"]["rule"].as_str().is_some_and(|rule| !rule.is_empty()), "{decided}");
        }
    }
    assert!(untold.is_empty(), "{what}: nothing in the record tells of {untold:?}: {record:#?}");
}

/// What a run works in is as it was committed, hooks of the repository included.
fn unchanged_checkouts(scene: &Scene, what: &str) {
    let list = scene.git(&["worktree", "list", "--porcelain"]);
    for top in list.lines().filter_map(|line| line.strip_prefix("worktree ")).filter(|top| Path::new(top).exists()) {
        let status = scene.git_in(Path::new(top), &["status", "--porcelain", "--ignored"]);
        let changed: Vec<&str> = status.lines().filter(|line| !line.ends_with(".orchestrator/")).collect();
        assert!(changed.is_empty(), "{what}: {top}: {changed:?}");
    }
}

fn for_all(is_refused: bool, tricks: fn(&Targets) -> Vec<Trick>) {
    for runtime in RUNTIMES {
        for model in MODELS {
            attempt(runtime, model, Mode { is_refused }, tricks);
        }
    }
}

#[test]
fn deeds_are_refused() {
    for_all(true, tricks::deeds);
}

#[test]
fn secrets_are_not_read() {
    // Reading is what a role does; the sandbox decides what there is to be read.
    for_all(false, tricks::reads);
}

#[test]
fn parameters_do_not_help() {
    for_all(true, tricks::parameters);
}

#[test]
fn patches_stay_in_the_workspace_and_off_what_is_protected() {
    for_all(true, tricks::patches);
}

#[test]
fn there_is_no_other_tool() {
    for_all(true, tricks::tools);
}

#[test]
fn further_deeds_are_refused() {
    for_all(true, further::deeds);
}

#[test]
fn nothing_is_read_by_another_way() {
    for_all(false, further::reads);
}

#[test]
fn patches_that_move_delete_or_hide_are_refused() {
    for_all(true, further::patches);
}

#[test]
fn calls_that_are_none_do_nothing() {
    for_all(true, further::tools);
}
