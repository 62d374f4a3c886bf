//! What a run's commands can and cannot do, on the real Codex CLI with a scripted model that tries.
//!
//! The world around a run is a whole person's: a home with keys, an environment with tokens, a login of Codex, a remote
//! with a password in its address. Nothing of it may come back to the server, and toolchains go on working.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what a test relies on and does not get ends the test")]

mod bounds;
mod doors;
mod hidden;
mod preflight;
mod protected;
#[path = "../support/mod.rs"]
mod support;
mod toolchains;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orchestrator::git::workspace::{self, Workspace};
use orchestrator::git::{Repository, readable};
use orchestrator::policy::gatekeeper::Verdict;
use orchestrator::policy::{Action, Decision, Gatekeeper, Limits, SandboxMode};
use orchestrator::rehearsal::{Handle, Reply, Sequence, Server};
use orchestrator::runtime::codex_exec::CodexExec;
use orchestrator::runtime::{
    Activity, Capabilities, Environment, Failure, Outcome, Runtime as _, SandboxProfile, Turn,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;

/// What stands in every secret that is planted.
pub(crate) const CANARY: &str = "canary-3f1d0a77";

/// A repository with a run's workspace, and everything a person has around it.
pub(crate) struct World {
    root: TempDir,
    pub(crate) environment: Environment,
    pub(crate) limits: Limits,
    pub(crate) mode: SandboxMode,
    pub(crate) workspace: Workspace,
    pub(crate) readable: Vec<PathBuf>,
}

impl World {
    /// `None` without a Codex.
    pub(crate) fn new() -> Option<Self> {
        Self::with(&[("a.txt", "one\n"), ("triggers.yaml", "version: 1\n"), ("AGENTS.md", "be good\n")])
    }

    /// With these files in the commit.
    pub(crate) fn with(files: &[(&str, &str)]) -> Option<Self> {
        let codex = support::codex()?;
        let root = tempfile::Builder::new().prefix("sandbox-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let base = root.path().canonicalize().unwrap();
        for name in ["home", "codex", "repo", "run"] {
            fs::create_dir(base.join(name)).unwrap();
        }
        let mut environment: Environment = [("PATH", std::env::var_os("PATH").unwrap())]
            .into_iter()
            .map(|(name, value)| (OsString::from(name), value))
            .collect();
        let machine = std::env::var_os("HOME").map(PathBuf::from).unwrap();
        for (name, value) in [
            ("HOME", base.join("home")),
            ("CODEX_HOME", base.join("codex")),
            ("GIT_ORCHESTRATOR_CODEX", codex.canonicalize().unwrap()),
            ("CARGO_HOME", std::env::var_os("CARGO_HOME").map_or(machine.join(".cargo"), PathBuf::from)),
            ("RUSTUP_HOME", std::env::var_os("RUSTUP_HOME").map_or(machine.join(".rustup"), PathBuf::from)),
            ("LOCAL_KEY", "the-key-of-the-model".into()),
            ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
        ] {
            environment.insert(name.into(), value.into());
        }
        let repo = base.join("repo");
        git(&repo, &environment, &["init", "--quiet", "--initial-branch=main"]);
        for (name, value) in [("user.name", "Ada"), ("user.email", "ada@example.invalid")] {
            git(&repo, &environment, &["config", name, value]);
        }
        for (path, content) in files {
            write(&repo.join(path), content);
        }
        git(&repo, &environment, &["add", "."]);
        git(&repo, &environment, &["commit", "--quiet", "-m", "the first"]);
        let mut world = Self {
            workspace: Workspace { path: PathBuf::new(), temporary: PathBuf::new() },
            readable: Vec::new(),
            limits: Limits { wall: Duration::from_secs(120), idle: Duration::from_secs(60), ..Limits::default() },
            mode: SandboxMode::WorkspaceWrite,
            environment,
            root,
        };
        world.prepare();
        Some(world)
    }

    /// Makes the workspace of the newest commit, as a worker does.
    pub(crate) fn prepare(&mut self) {
        let repository = Repository::discover(&self.path("repo"), false).unwrap();
        let head = self.git(&["rev-parse", "HEAD"]).trim().parse().unwrap();
        self.workspace = workspace::prepare(&repository, "tester", &head, &self.environment).unwrap();
        self.readable = readable::readable(&repository, &self.workspace, &self.environment).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn inside(&self, name: &str) -> PathBuf {
        self.workspace.path.join(name)
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(&self.path("repo"), &self.environment, arguments)
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.insert(name.into(), value.into());
    }

    /// Writes a secret into a file.
    pub(crate) fn plant(&self, name: &str) {
        write(&self.path(name), &format!("token = \"{CANARY}\"\n"));
    }

    fn profile(&self) -> SandboxProfile {
        let toolchains = ["CARGO_HOME", "RUSTUP_HOME"].into_iter().filter_map(|name| {
            let value = self.environment.get(std::ffi::OsStr::new(name))?;
            Some((name.to_owned(), value.to_str()?.to_owned()))
        });
        let repository = Repository::discover(&self.path("repo"), false).unwrap();
        let neutral = workspace::neutral_configuration(&repository).unwrap();
        SandboxProfile {
            mode: self.mode,
            network: false,
            temporary: self.workspace.temporary.clone(),
            readable: self.readable.clone(),
            command_environment: toolchains.chain(neutral).collect::<BTreeMap<_, _>>(),
        }
    }

    pub(crate) async fn probe(&self) -> Result<Capabilities, Failure> {
        let runtime = CodexExec::new(PathBuf::from(support::PROGRAM));
        let server = serve(&[]);
        self.ask(server.url());
        runtime.probe(&self.environment, &self.profile(), &self.workspace.path).await
    }

    /// Has these lines executed, each in a sandbox of its own, and returns what the model was told of each.
    pub(crate) async fn execute(&self, lines: &[&str]) -> Vec<String> {
        let (server, result) = self.turn(lines).await;
        result.unwrap();
        told(&server, lines.len())
    }

    pub(crate) async fn turn(&self, lines: &[&str]) -> (Handle, Result<Outcome, Failure>) {
        let server = serve(lines);
        self.ask(server.url());
        let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
            "additionalProperties": false});
        let runtime = CodexExec::new(PathBuf::from(support::PROGRAM));
        let turn = Turn {
            workspace: &self.workspace.path,
            run_directory: &self.path("run"),
            prompt: "go",
            schema: &schema,
            sandbox: &self.profile(),
            resume: None,
            limits: &self.limits,
            gatekeeper: &Anything,
            sink: &mut |_: Activity| {},
            cancel: watch::channel(false).1,
            environment: &self.environment,
        };
        let result = runtime.turn(turn).await;
        (server, result)
    }

    fn ask(&self, url: &str) {
        self.set_configuration(url, "");
    }

    /// Codex's config.toml, with more lines at its beginning.
    pub(crate) fn set_configuration(&self, url: &str, more: &str) {
        let kept = self.path("codex/more.toml");
        if !more.is_empty() {
            write(&kept, more);
        }
        let more = fs::read_to_string(kept).unwrap_or_default();
        let provider = format!(
            "{more}\nmodel = \"scripted\"\nmodel_provider = \"local\"\n[model_providers.local]\nname = \"local\"\n\
             base_url = \"{url}\"\nwire_api = \"responses\"\nenv_key = \"LOCAL_KEY\"\nrequest_max_retries = 0\n\
             stream_max_retries = 0\n"
        );
        write(&self.path("codex/config.toml"), &provider);
    }
}

/// What the sandbox does is the matter here, not what is let through to it.
struct Anything;

impl Gatekeeper for Anything {
    fn decide(&self, _: &Action) -> Decision {
        Decision { verdict: Verdict::Allow, rule: "test".to_owned(), reason: String::new() }
    }
}

fn serve(lines: &[&str]) -> Handle {
    let replies = lines.iter().map(|line| Reply::command(*line)).chain([Reply::message("{\"ok\":true}")]);
    Server::in_background(Sequence::new(replies)).unwrap()
}

/// What the model was told of each command.
pub(crate) fn told(server: &Handle, count: usize) -> Vec<String> {
    let requests = server.requests();
    let last = requests.iter().rev().find(|request| request.path.ends_with("/responses")).unwrap();
    let items = last.body["input"].as_array().unwrap();
    let outputs = items.iter().filter(|item| item["type"] == "function_call_output");
    let told: Vec<String> = outputs.map(|item| item["output"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told.len(), count, "{told:#?}");
    told
}

pub(crate) fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    orchestrator::files::write(path, content.as_bytes()).unwrap();
}

fn git(directory: &Path, environment: &Environment, arguments: &[&str]) -> String {
    duct::cmd("git", arguments).dir(directory).full_env(environment).stdin_null().read().unwrap()
}
