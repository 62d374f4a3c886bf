//! Trust: nothing starts by what no person has accepted, however it got here, and nobody but a person accepts.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::disallowed_methods, reason = "a repository is changed with whatever changes it")]

mod agent;
mod changes;
#[cfg(target_os = "linux")]
mod opened;
mod person;
mod store;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;

use serde_json::Value;
use support::{Scene, TESTER_ON_COMMIT};

/// The table, with a runtime that needs no Codex: what begins ends at once, as failed.
pub(crate) fn table() -> String {
    TESTER_ON_COMMIT.replace("version: 1\n", "version: 1\nruntime: built-in\n")
}

/// A repository with everything in it that can be accepted, committed and accepted.
pub(crate) fn accepted() -> Scene {
    let scene = unaccepted();
    scene.install();
    scene
}

/// The same, before anybody has looked at it.
pub(crate) fn unaccepted() -> Scene {
    let scene = Scene::new();
    scene.write("triggers.yaml", &table());
    scene.write("AGENTS.md", "Run make.\n");
    scene.write("skills/tester/SKILL.md", "---\nname: tester\n---\nTest it, carefully.\n");
    scene.write("Makefile", "test:\n\t@echo one passed\n");
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene
}

pub(crate) fn runs(scene: &Scene) -> Vec<Value> {
    scene.status()["runs"].as_array().unwrap().clone()
}

/// The acceptance of the scene's repository, if there is any.
pub(crate) fn store(scene: &Scene) -> Option<PathBuf> {
    let trust = scene.path("home/.local/state/git-orchestrator/trust");
    std::fs::read_dir(trust).ok()?.next().map(|entry| entry.unwrap().path())
}

/// Nothing has begun, and everything that is there waits for acceptance.
#[track_caller]
pub(crate) fn nothing_began(scene: &Scene, count: usize) {
    let runs = runs(scene);
    assert_eq!(runs.len(), count, "{runs:#?}");
    for run in &runs {
        assert_eq!((run["state"].as_str(), run["attempt"].as_u64()), (Some("held"), Some(0)), "{run}");
        let reason = run["reason"].as_str().unwrap();
        assert!(reason.starts_with("not trusted: ") && reason.ends_with(" · git orchestrator trust"), "{reason}");
    }
    assert!(!scene.top.join(".git/orchestrator/worktrees").exists(), "no workspace was made");
}
