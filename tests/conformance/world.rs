//! A world with the real Codex in it and a scripted model on loopback, for a runtime to run a turn in.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orchestrator::policy::gatekeeper::Verdict;
use orchestrator::policy::{Action, Decision, Gatekeeper, Limits, SandboxMode};
use orchestrator::rehearsal::{Handle, Item, Reply, Sequence, Server};
use orchestrator::runtime::{
    Activity, Capabilities, Environment, Failure, Outcome, Runtime, SandboxProfile, Turn, Usage, registry,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

/// The real Codex, or `None` after saying loudly how to get it. In CI there is no "or".
pub(crate) fn codex() -> Option<PathBuf> {
    let named = std::env::var_os("GIT_ORCHESTRATOR_TEST_CODEX").map(PathBuf::from);
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/codex/node_modules/.bin/codex");
    let found = named.or_else(|| installed.exists().then_some(installed));
    if found.is_none() {
        let hint = "no Codex to test with: run `npm ci --prefix .ci/codex`, or set GIT_ORCHESTRATOR_TEST_CODEX";
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{hint}");
        eprintln!("SKIPPED: {hint}");
    }
    found
}

/// A workspace, a home for Codex and a directory for the run. All below the target directory: below the temporary one
/// Codex's sandbox does not work.
pub(crate) struct World {
    kind: Kind,
    pub(crate) root: TempDir,
    pub(crate) environment: Environment,
    pub(crate) sandbox: SandboxProfile,
    pub(crate) limits: Limits,
    pub(crate) schema: Value,
    pub(crate) gatekeeper: Keeper,
}

impl World {
    /// A world with the real Codex, whose provider is at `url`.
    pub(crate) fn new(kind: Kind, url: &str) -> Option<Self> {
        let codex = codex()?;
        let world = Self::bare(kind);
        world.configure(&format!(
            "model = \"scripted\"\nmodel_provider = \"local\"\n[model_providers.local]\nname = \"local\"\n\
             base_url = \"{url}\"\nwire_api = \"responses\"\nrequest_max_retries = 0\nstream_max_retries = 1\n\
             stream_idle_timeout_ms = 60000\n"
        ));
        Some(world.with("GIT_ORCHESTRATOR_CODEX", codex))
    }

    pub(crate) fn bare(kind: Kind) -> Self {
        let root = tempfile::Builder::new().prefix("codex-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for name in ["home", "workspace", "run", "tmp"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let sandbox = SandboxProfile {
            mode: SandboxMode::WorkspaceWrite,
            network: false,
            temporary: root.path().join("tmp"),
            readable: Vec::new(),
            command_environment: BTreeMap::from([("FOR_COMMANDS".to_owned(), "a \"b\"\n\\c".to_owned())]),
        };
        let environment = ["PATH", "HOME"].iter().filter_map(|n| Some((OsString::from(n), std::env::var_os(n)?)));
        let world = Self {
            kind,
            environment: environment.collect(),
            sandbox,
            limits: Limits { wall: Duration::from_secs(120), idle: Duration::from_secs(60), ..Limits::default() },
            schema: json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
                "additionalProperties": false}),
            gatekeeper: Keeper::default(),
            root,
        };
        let home = world.path("home");
        world.with("CODEX_HOME", home).with("A_SECRET_TOKEN", "hunter2")
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        orchestrator::files::write(&path, text.as_bytes()).unwrap();
        path
    }

    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub(crate) fn configure(&self, text: &str) {
        self.write("home/config.toml", text);
    }

    pub(crate) async fn probe(&self) -> Result<Capabilities, Failure> {
        let (runtime, workspace) = (self.kind.runtime(), self.path("workspace"));
        runtime.probe(&self.environment, &self.sandbox, &workspace).await
    }

    pub(crate) async fn turn(&self) -> Result<Outcome, Failure> {
        self.run("go", None, &mut |_| {}, watch::channel(false).1).await
    }

    pub(crate) async fn run(
        &self,
        prompt: &str,
        resume: Option<(&str, Usage)>,
        sink: &mut dyn FnMut(Activity),
        cancel: watch::Receiver<bool>,
    ) -> Result<Outcome, Failure> {
        let workspace = self.path("workspace");
        self.run_in(&workspace, prompt, resume, sink, cancel).await
    }

    pub(crate) async fn run_in(
        &self,
        workspace: &Path,
        prompt: &str,
        resume: Option<(&str, Usage)>,
        sink: &mut dyn FnMut(Activity),
        cancel: watch::Receiver<bool>,
    ) -> Result<Outcome, Failure> {
        let runtime = self.kind.runtime();
        let _one_at_a_time = TURNS.lock().await;
        let result = runtime
            .turn(Turn {
                workspace,
                run_directory: &self.path("run"),
                prompt,
                schema: &self.schema,
                sandbox: &self.sandbox,
                resume,
                limits: &self.limits,
                gatekeeper: &self.gatekeeper,
                sink,
                cancel,
                environment: &self.environment,
            })
            .await;
        assert_eq!(processes_of(self.root.path()), Vec::<String>::new(), "left by a turn that ended in {result:?}");
        result
    }
}

/// One turn at a time in this process, as in a worker: the end of one takes along what another has orphaned.
static TURNS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A runtime of the Codex CLI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Exec,
    AppServer,
}

impl Kind {
    pub(crate) fn runtime(self) -> Box<dyn Runtime> {
        let own = Path::new(env!("CARGO_BIN_EXE_git-orchestrator"));
        let name = match self {
            Self::Exec => "codex-exec",
            Self::AppServer => "codex-app-server",
        };
        registry::find(name, own).unwrap()
    }

    /// What Codex is called with.
    pub(crate) fn subcommand(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::AppServer => "app-server",
        }
    }
}

/// Says yes to every command and patch but those that hold the word, and no to everything else. Remembers what it was
/// asked.
#[derive(Default)]
pub(crate) struct Keeper {
    pub(crate) refused_word: &'static str,
    pub(crate) escalates: bool,
    pub(crate) asked: RefCell<Vec<Action>>,
}

impl Gatekeeper for Keeper {
    fn decide(&self, action: &Action) -> Decision {
        self.asked.borrow_mut().push(action.clone());
        let is_allowed = match action {
            Action::Command { line, .. } => self.refused_word.is_empty() || !line.contains(self.refused_word),
            Action::Patch { .. } => true,
            Action::Input { .. } | Action::Tool { .. } => false,
        };
        let verdict = match (is_allowed, self.escalates) {
            (true, _) => Verdict::Allow,
            (false, true) => Verdict::Escalate,
            (false, false) => Verdict::Deny,
        };
        Decision { verdict, rule: "test-rule".to_owned(), reason: "because the test says so".to_owned() }
    }
}

/// The living processes that have `root` in their environment or arguments: Codex (its home lies there), its commands
/// (their `TMPDIR` does) and what they started.
pub(crate) fn processes_of(root: &Path) -> Vec<String> {
    let needle = root.to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let numeric = entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        let own = entry.file_name().to_str() == Some(&std::process::id().to_string());
        let driver = fs::read_to_string(entry.path().join("comm")).is_ok_and(|name| name.starts_with("conformance"));
        if !numeric || own || driver {
            continue;
        }
        let read = |name| fs::read(entry.path().join(name)).unwrap_or_default();
        let (environment, arguments) = (read("environ"), read("cmdline"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\0', " ");
        if text(&environment).contains(needle) || text(&arguments).contains(needle) {
            found.push(text(&arguments));
        }
    }
    found
}

/// A server that plays these replies, the last one for ever.
pub(crate) fn serve(replies: impl IntoIterator<Item = Reply>) -> Handle {
    Server::in_background(Sequence::new(replies)).unwrap()
}

/// What the model was asked so far.
pub(crate) fn bodies(server: &Handle) -> Vec<Value> {
    let asked = server.requests().into_iter().filter(|request| request.path.ends_with("/responses"));
    asked.map(|request| request.body).collect()
}

/// The model says `text`, for a number of tokens that can be told from an estimate.
pub(crate) fn says(text: &str) -> Reply {
    counted(Item::message(text))
}

/// The model wants `command` executed.
pub(crate) fn executes(command: &str) -> Reply {
    counted(Item::command(command))
}

pub(crate) const USED: Usage = Usage { input_tokens: 100, cached_input_tokens: 20, output_tokens: 10 };

pub(crate) fn counted(item: Item) -> Reply {
    Reply::Items { items: vec![item], usage: Some(USED) }
}

pub(crate) const ANSWER: &str = r#"{"ok":true}"#;

/// The processes that are Codex itself, not its commands.
pub(crate) fn codex_processes(root: &Path, kind: Kind) -> Vec<rustix::process::Pid> {
    let wanted = format!("CODEX_HOME={}", root.join("home").display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_codex = environment.split(|b| *b == 0).any(|v| v == wanted.as_bytes())
            && arguments.split(|b| *b == 0).nth(1) == Some(kind.subcommand().as_bytes());
        if is_codex {
            let pid = entry.file_name().to_str().unwrap().parse().unwrap();
            found.push(rustix::process::Pid::from_raw(pid).unwrap());
        }
    }
    found
}
