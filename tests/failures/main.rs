//! What goes wrong, from end to end: the built binary, real git, the real Codex CLI, and a server that misbehaves.
//!
//! Each failure ends in the right state with a sentence that names who failed and what to type, leaves no process and
//! not a byte in the person's tree, and the next commit's job succeeds.

#![expect(clippy::unwrap_used, reason = "what a test relies on and does not get ends the test")]

mod codex;
mod disk;
mod limits;
mod person;
mod provider;
#[path = "../support/mod.rs"]
mod support;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;

use orchestrator::rehearsal::{Handle, Item, Model, Reply, Request, Scripted, Sequence, Server};
use serde_json::{Value, json};

use support::{Scene, codex, wait_for};

/// The tester on every commit, with one attempt and these other limits.
pub(crate) fn table(limits: &str) -> String {
    format!(
        "version: 1\nruntime: codex-exec\ntriggers:\n  - name: test\n    on: post-commit\n    role: tester\n    debounce: 0s\npolicy:\n  roles:\n    tester:\n      \
         commands: [ls, make test, make hang, sleep 3]\n      limits: {{ attempts: 1, {limits} }}\n"
    )
}

/// The usual limits.
pub(crate) const LIMITS: &str = "wall: 60s, idle: 30s";

/// What `make hang` does: no command of an agent may do so by itself. One of these leaves its session, one goes on in
/// the background.
const HANGS: &str = "@setsid sleep 1000 & nohup sleep 1000 & sleep 1000";

/// Plays some replies and is the good scripted model from then on.
pub(crate) struct First(Vec<Reply>);

impl First {
    pub(crate) fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self(replies.into_iter().collect())
    }
}

impl Model for First {
    fn reply(&mut self, request: &Request) -> Reply {
        if self.0.is_empty() { Scripted::new().reply(request) } else { self.0.remove(0) }
    }
}

/// A server that plays these replies, the last one for ever.
pub(crate) fn serve(replies: impl IntoIterator<Item = Reply>) -> Handle {
    Server::in_background(Sequence::new(replies)).unwrap()
}

/// A repository on which the tester runs, with a person's unfinished work in it.
pub(crate) struct Trial {
    pub(crate) scene: Scene,
    good: Handle,
    commits: Cell<u32>,
}

impl Trial {
    /// `None` without a Codex. Codex asks a good model, until [`Trial::asks`].
    pub(crate) fn new(table: &str) -> Option<Self> {
        let codex = codex()?;
        let good = Server::in_background(Scripted::new()).unwrap();
        let scene = Scene::new().with_codex(&codex, good.url());
        scene.write("triggers.yaml", table);
        scene.write("Makefile", &format!("test:\n\t@echo one passed\nhang:\n\t{HANGS}\n"));
        scene.git(&["add", "."]);
        scene.git(&["commit", "--quiet", "-m", "start"]);
        scene.write("Makefile", "test:\n\t@echo not committed\n");
        scene.write("untracked", "u");
        scene.install();
        Some(Self { scene, good, commits: Cell::new(0) })
    }

    /// Points Codex at this server.
    pub(crate) fn asks(&self, server: &Handle) {
        self.scene.provider(server.url());
    }

    /// Commits a change. What the hook said is returned.
    pub(crate) fn commit(&self) -> String {
        let n = self.commits.get() + 1;
        self.commits.set(n);
        self.scene.commit("change", &n.to_string(), &format!("change {n}")).1
    }

    /// Counts a commit that was made past [`Trial::commit`].
    pub(crate) fn count_commit(&self) {
        self.commits.set(self.commits.get() + 1);
    }

    /// Commits, waits, and returns the run, after a look at everything it had to leave alone.
    pub(crate) fn run(&self) -> Value {
        assert!(self.commit().contains("tester queued"));
        self.ended()
    }

    /// Waits, and returns the newest run as [`Trial::run`] does.
    pub(crate) fn ended(&self) -> Value {
        let run = self.scene.newest();
        // By its name: without one, a run that has ended already is none to wait for.
        let waited = self.scene.run(&["wait", run["id"].as_str().unwrap(), "--timeout", "120s"]);
        let run = self.scene.newest();
        assert_eq!(waited.status.code(), Some(i32::from(run["state"] != "succeeded")), "{run}");
        self.untouched();
        run
    }

    /// Nothing lives any more, and the person's side is as the last commit left it.
    pub(crate) fn untouched(&self) {
        let scene = &self.scene;
        wait_for("every process to end", || scene.processes().is_empty().then_some(()));
        assert_eq!(scene.git(&["status", "--porcelain"]), " M Makefile\n?? untracked\n");
        assert_eq!(scene.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main\n");
        assert_eq!(scene.git(&["stash", "list"]), "");
        assert_eq!(scene.git(&["rev-list", "--count", "HEAD"]).trim(), (self.commits.get() + 1).to_string());
        assert_eq!(scene.read("Makefile"), "test:\n\t@echo not committed\n");
        assert_eq!(scene.read("untracked"), "u");
        let names: BTreeSet<_> =
            fs::read_dir(&scene.top).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let expected = [".git", ".orchestrator", "Makefile", "change", "triggers.yaml", "untracked"];
        assert_eq!(names, expected.map(str::to_owned).into());
    }

    /// With a good model again, the next commit's job succeeds.
    pub(crate) fn next_runs(&self) {
        self.scene.provider(self.good.url());
        let run = self.run();
        assert_eq!(run["state"], "succeeded", "{run}");
        let page = self.scene.read(run["artifacts"][0].as_str().unwrap());
        assert!(page.contains("make test"), "{page}");
    }
}

/// Asserts that the run ended without an artifact as `state`, for a reason that reads like `sentence`: `*` stands for
/// words that are not ours, `RUN` for the run's short id.
#[track_caller]
pub(crate) fn ends(run: &Value, state: &str, sentence: &str) {
    let reason = run["reason"].as_str().unwrap();
    assert_eq!(run["state"], state, "{reason}");
    let sentence = sentence.replace("RUN", short(run));
    let mut rest = reason;
    let mut first = true;
    for part in sentence.split('*') {
        let at = rest.find(part).filter(|at| !first || *at == 0);
        let at = at.unwrap_or_else(|| panic!("{reason}\nis not\n{sentence}"));
        rest = &rest[at + part.len()..];
        first = false;
    }
    assert!(rest.is_empty() || sentence.ends_with('*'), "{reason}\nis not\n{sentence}");
    assert_eq!(run["artifacts"], json!([]));
    assert!(!run["finished_at"].is_null());
}

/// The digits of its id that people see.
pub(crate) fn short(run: &Value) -> &str {
    let id = run["id"].as_str().unwrap();
    &id[id.len() - 8..]
}

/// How many times the model was asked.
pub(crate) fn asked(server: &Handle) -> usize {
    server.requests().iter().filter(|request| request.path.ends_with("/responses")).count()
}

/// A reply with one item and a round number of tokens.
pub(crate) fn counted(item: Item) -> Reply {
    let usage = orchestrator::runtime::Usage { input_tokens: 100, cached_input_tokens: 0, output_tokens: 10 };
    Reply::Items { items: vec![item], usage: Some(usage) }
}

/// A tester's answer that holds, if `make test` was executed.
pub(crate) fn answer() -> String {
    json!({
        "verdict": "pass",
        "summary": "The tests pass.",
        "ran": [{ "command": "make test", "exit_code": 0, "showed": "One passed." }],
        "failures": [],
        "gaps": [],
        "proposed_tests_patch": null,
    })
    .to_string()
}
