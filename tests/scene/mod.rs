//! One change in a repository, and everything a worker would bring along to have it looked at.

use std::time::Duration;

use orchestrator::artifact::{self, Envelope, Judgement, Submission};
use orchestrator::clock::Timestamp;
use orchestrator::context::{self, Context, Handoff, Inputs, Package};
use orchestrator::event::{Actor, Change, Detail, Event, Hook};
use orchestrator::git::Repository;
use orchestrator::git::workspace::Changes;
use orchestrator::ids::{Digest, Oid, RunId};
use orchestrator::policy::Budget;
use orchestrator::policy::admission::Admission;
use orchestrator::role::{self, Role};
use orchestrator::runtime::Usage;
use orchestrator::runtime::activity::{Activity, Recorded, Status};
use orchestrator::store::Job;
use orchestrator::store::layout::Layout;
use orchestrator::triggers::plan::{PlannedRow, Starts};
use orchestrator::triggers::{ArtifactRules, Coalesce, When};
use serde_json::Value;

use crate::repo::Fixture;

/// A repository with one change, and what a worker knows of it.
pub(crate) struct Scene {
    pub(crate) fixture: Fixture,
    pub(crate) change: Change,
}

impl Scene {
    /// One commit with `before`, one with `after` and this message on top of it.
    pub(crate) fn new(before: &[(&str, &str)], after: &[(&str, &str)], message: &str) -> Self {
        let fixture = Fixture::new();
        let commit = |files: &[(&str, &str)], message: &str| -> Oid {
            for (path, content) in files {
                fixture.write(path, content);
            }
            fixture.git(["add", "--all"]);
            fixture.git(["commit", "--quiet", "--allow-empty", "-m", message]);
            fixture.git(["rev-parse", "HEAD"]).parse().unwrap()
        };
        let base = commit(before, "begin");
        let head = commit(after, message);
        Self { fixture, change: Change { base: Some(base), head } }
    }

    /// A parser with a new function, its test, a lock file and a task.
    pub(crate) fn parser() -> Self {
        Self::new(
            &[
                ("src/parse.rs", "pub fn parse(text: &str) -> u32 {\n    text.len() as u32\n}\n"),
                ("Cargo.lock", "v1\n"),
            ],
            &[
                (
                    "src/parse.rs",
                    "pub fn parse(text: &str) -> u32 {\n    text.trim().parse().unwrap()\n}\n\npub fn twice(text: &str) -> \
                     u32 {\n    parse(text) * 2\n}\n",
                ),
                ("tests/parse.rs", "#[test]\nfn a_number_is_read() {\n    assert_eq!(parser::parse(\" 7\"), 7);\n}\n"),
                ("docs/tasks/1-parse.md", "# Read numbers\n\nBlank around them is allowed.\n"),
                ("AGENTS.md", "Run `cargo test` before you answer.\n"),
                ("Cargo.lock", "v2\n"),
            ],
            "feat: read numbers\n\nInstead of their length.\n",
        )
    }

    pub(crate) fn repository(&self) -> Repository {
        self.fixture.open()
    }

    pub(crate) fn job(&self, role: &str) -> Job {
        Job {
            row: PlannedRow {
                trigger: format!("{role}-row"),
                role: role.to_owned(),
                runtime: "codex-exec".to_owned(),
                coalesce: Coalesce::Branch,
                debounce: Duration::ZERO,
                when: When::default(),
                policy: role::contract(role),
                starts: Starts::Now,
                admission: Admission::Admitted,
            },
            followers: Vec::new(),
            event: Digest::of(b"event"),
            change: self.change.clone(),
            took_up: Vec::new(),
            tree: None,
            branch: Some("main".to_owned()),
            worktree: self.fixture.work.clone(),
            budget: Budget::default(),
            artifacts: ArtifactRules::default(),
            table: Digest::of(b"table"),
            caused_by: None,
            retry_of: None,
        }
    }

    pub(crate) fn package(&self, role: &str, handoffs: &[Handoff]) -> Package {
        let event = Event {
            schema: 1,
            key: Digest::of(b"event"),
            hook: Hook::PostCommit,
            detail: Detail::Commit,
            refs: Vec::new(),
            branch: Some("main".to_owned()),
            change: Some(self.change.clone()),
            tree: None,
            message: String::new(),
            author: Actor::default(),
            worktree: self.fixture.work.clone(),
            at: Timestamp::now(),
        };
        let (job, repository) = (self.job(role), self.repository());
        let role = Role::find(role).unwrap();
        let guidance = repository.blob_at(&self.change.head, b"AGENTS.md", 1 << 20).unwrap();
        let guidance = guidance.as_deref();
        let skill = None;
        context::package(Inputs { role, job: &job, event: &event, repository: &repository, handoffs, skill, guidance })
            .unwrap()
    }

    pub(crate) fn judge(&self, role: &str, answer: &Value, record: &[Recorded]) -> Result<Judgement, Vec<String>> {
        self.judge_in(&Changes::default(), role, answer, record)
    }

    /// With a checkout in which this was changed.
    pub(crate) fn judge_in(
        &self,
        checkout: &Changes,
        role: &str,
        answer: &Value,
        record: &[Recorded],
    ) -> Result<Judgement, Vec<String>> {
        let context = self.package(role, &[]).context;
        self.judge_text(checkout, Role::find(role).unwrap(), &answer.to_string(), &context, record)
    }

    pub(crate) fn judge_text(
        &self,
        checkout: &Changes,
        role: &Role,
        answer: &str,
        context: &Context,
        record: &[Recorded],
    ) -> Result<Judgement, Vec<String>> {
        artifact::judge(&Submission {
            role,
            answer,
            context,
            activities: record,
            repository: &self.repository(),
            change: &self.change,
            checkout,
        })
    }

    pub(crate) fn envelope(&self, role: &str, rehearsal: bool) -> Envelope {
        let began = Timestamp::from_millis(1_764_000_000_000);
        Envelope {
            schema: artifact::SCHEMA,
            run: "019ab3c4-0000-7000-8000-0000deadbeef".parse::<RunId>().unwrap(),
            role: role.to_owned(),
            trigger: format!("{role}-row"),
            event: Digest::of(b"event"),
            commit: self.change.head.clone(),
            tree: None,
            branch: Some("main".to_owned()),
            runtime: "codex-exec".to_owned(),
            runtime_version: "0.169.0".to_owned(),
            model: Some("example-model".to_owned()),
            rehearsal,
            policy: Digest::of(b"policy"),
            prompt: Digest::of(b"prompt"),
            skill: Digest::of(b"skill"),
            attempt: 1,
            redacted: std::collections::BTreeMap::new(),
            usage: Usage { input_tokens: 18_200, cached_input_tokens: 4_000, output_tokens: 940 },
            started_at: began,
            finished_at: began.plus(Duration::from_secs(83)),
        }
    }

    /// Publishes and returns the page.
    pub(crate) fn page(&self, role: &str, rehearsal: bool, judgement: &Judgement) -> String {
        let layout = Layout::new(&self.fixture.work);
        let paths = artifact::publish(&layout, &self.envelope(role, rehearsal), judgement).unwrap();
        assert_eq!(paths.len(), 2);
        let json = std::fs::read(self.fixture.path(&paths[1])).unwrap();
        let written: Value = serde_json::from_slice(&json).unwrap();
        let schema: Value = serde_json::from_str(role::schema("envelope").unwrap()).unwrap();
        let errors: Vec<String> =
            jsonschema::validator_for(&schema).unwrap().iter_errors(&written).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new());
        let answer_schema: Value = serde_json::from_str(role::schema(role).unwrap()).unwrap();
        assert!(jsonschema::is_valid(&answer_schema, &written["answer"]));
        std::fs::read_to_string(self.fixture.path(&paths[0])).unwrap()
    }
}

/// The record of these commands: line, exit code, output.
pub(crate) fn record(commands: &[(&str, i32, &str)]) -> Vec<Recorded> {
    let mut out = Vec::new();
    for (i, (line, exit_code, output)) in commands.iter().enumerate() {
        let at = Timestamp::from_millis(1_000 * i as u64);
        let (id, command) = (i.to_string(), (*line).to_owned());
        let started = Activity::CommandStarted { id: id.clone(), command: command.clone() };
        let status = if *exit_code == 0 { Status::Completed } else { Status::Failed };
        let finished = Activity::CommandFinished {
            id,
            command,
            exit_code: Some(*exit_code),
            status,
            output: (*output).to_owned(),
            output_bytes: output.len() as u64,
            ran: None,
        };
        out.push(Recorded { at, attempt: 1, activity: started });
        out.push(Recorded { at: at.plus(Duration::from_millis(1_250)), attempt: 1, activity: finished });
    }
    out
}
