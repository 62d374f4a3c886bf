//! The runtime `codex-exec` on the real Codex CLI, against a scripted model on loopback.
//!
//! Every test looks for processes that are left. Codex is looked for in `GIT_ORCHESTRATOR_TEST_CODEX` and then where
//! `.ci/run` installs it.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orchestrator::policy::gatekeeper::Verdict;
use orchestrator::policy::{Action, Decision, Gatekeeper, Limits, SandboxMode};
use orchestrator::rehearsal::{Handle, Item, Reply, Sequence, Server};
use orchestrator::runtime::REHEARSAL_VARIABLE;
use orchestrator::runtime::codex_exec::CodexExec;
use orchestrator::runtime::{
    Activity, Capabilities, Class, Environment, Failure, Outcome, Runtime as _, SandboxProfile, Turn, Usage,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

/// The real Codex, or `None` after saying loudly how to get it. In CI there is no "or".
fn codex() -> Option<PathBuf> {
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
struct World {
    root: TempDir,
    environment: Environment,
    sandbox: SandboxProfile,
    limits: Limits,
    schema: Value,
}

impl World {
    /// A world with the real Codex, whose provider is at `url`.
    fn new(url: &str) -> Option<Self> {
        let codex = codex()?;
        let world = Self::bare();
        world.configure(&format!(
            "model = \"scripted\"\nmodel_provider = \"local\"\n[model_providers.local]\nname = \"local\"\n\
             base_url = \"{url}\"\nwire_api = \"responses\"\nrequest_max_retries = 0\nstream_max_retries = 1\n\
             stream_idle_timeout_ms = 60000\n"
        ));
        Some(world.with("GIT_ORCHESTRATOR_CODEX", codex))
    }

    fn bare() -> Self {
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
            environment: environment.collect(),
            sandbox,
            limits: Limits { wall: Duration::from_secs(120), idle: Duration::from_secs(60), ..Limits::default() },
            schema: json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
                "additionalProperties": false}),
            root,
        };
        let home = world.path("home");
        world.with("CODEX_HOME", home).with("A_SECRET_TOKEN", "hunter2")
    }

    fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        orchestrator::files::write(&path, text.as_bytes()).unwrap();
        path
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn configure(&self, text: &str) {
        self.write("home/config.toml", text);
    }

    async fn probe(&self) -> Result<Capabilities, Failure> {
        let (runtime, workspace) = (runtime(), self.path("workspace"));
        runtime.probe(&self.environment, &self.sandbox, &workspace).await
    }

    async fn turn(&self) -> Result<Outcome, Failure> {
        self.run("go", None, &mut |_| {}, watch::channel(false).1).await
    }

    async fn run(
        &self,
        prompt: &str,
        resume: Option<(&str, Usage)>,
        sink: &mut dyn FnMut(Activity),
        cancel: watch::Receiver<bool>,
    ) -> Result<Outcome, Failure> {
        let workspace = self.path("workspace");
        self.run_in(&workspace, prompt, resume, sink, cancel).await
    }

    async fn run_in(
        &self,
        workspace: &Path,
        prompt: &str,
        resume: Option<(&str, Usage)>,
        sink: &mut dyn FnMut(Activity),
        cancel: watch::Receiver<bool>,
    ) -> Result<Outcome, Failure> {
        let runtime = runtime();
        let result = runtime
            .turn(Turn {
                workspace,
                run_directory: &self.path("run"),
                prompt,
                schema: &self.schema,
                sandbox: &self.sandbox,
                resume,
                limits: &self.limits,
                gatekeeper: &Anything,
                sink,
                cancel,
                environment: &self.environment,
            })
            .await;
        assert_eq!(processes_of(self.root.path()), Vec::<String>::new(), "left by a turn that ended in {result:?}");
        result
    }
}

fn runtime() -> CodexExec {
    CodexExec::new(PathBuf::from(env!("CARGO_BIN_EXE_git-orchestrator")))
}

/// Allows whatever is asked: what is tested here is all the rest.
struct Anything;

impl Gatekeeper for Anything {
    fn decide(&self, _action: &Action) -> Decision {
        Decision { verdict: Verdict::Allow, rule: "test".into(), reason: "anything goes".into() }
    }
}

/// The living processes that have `root` in their environment or arguments: Codex (its home lies there), its commands
/// (their `TMPDIR` does) and what they started.
fn processes_of(root: &Path) -> Vec<String> {
    let needle = root.to_str().unwrap();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let numeric = entry.file_name().to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        let own = entry.file_name().to_str() == Some(&std::process::id().to_string());
        let driver = fs::read_to_string(entry.path().join("comm")).is_ok_and(|name| name.starts_with("codex_exec"));
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

/// Waits for a condition, at most a minute.
#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "waited for a minute: {what}");
        std::thread::yield_now();
    }
}

/// A server that plays these replies, the last one for ever.
fn serve(replies: impl IntoIterator<Item = Reply>) -> Handle {
    Server::in_background(Sequence::new(replies)).unwrap()
}

/// What the model was asked so far.
fn bodies(server: &Handle) -> Vec<Value> {
    let asked = server.requests().into_iter().filter(|request| request.path.ends_with("/responses"));
    asked.map(|request| request.body).collect()
}

/// The model says `text`, for a number of tokens that can be told from an estimate.
fn says(text: &str) -> Reply {
    counted(Item::message(text))
}

/// The model wants `command` executed.
fn executes(command: &str) -> Reply {
    counted(Item::command(command))
}

const USED: Usage = Usage { input_tokens: 100, cached_input_tokens: 20, output_tokens: 10 };

fn counted(item: Item) -> Reply {
    Reply::Items { items: vec![item], usage: Some(USED) }
}

const ANSWER: &str = r#"{"ok":true}"#;

#[tokio::test]
async fn a_probe_finds_everything_in_place() {
    let Some(world) = World::new("http://127.0.0.1:9/v1") else { return };
    let found = world.probe().await.unwrap();
    assert!(found.version.starts_with("0."), "{found:?}");
    assert!(found.resumes && found.asks);
}

#[tokio::test]
async fn a_probe_says_what_is_missing() {
    let world = World::bare().with("PATH", "/nowhere");
    let failure = world.probe().await.unwrap_err();
    assert_eq!((failure.class, failure.message.as_str()), (Class::Missing, "there is no `codex` on PATH"));
    assert_eq!(failure.fix.as_deref(), Some("npm install -g @openai/codex"));

    let failure = World::bare().with("GIT_ORCHESTRATOR_CODEX", "codex").probe().await.unwrap_err();
    assert_eq!(failure.class, Class::Missing);

    let world = World::bare();
    let old = world.script("old", "#!/bin/sh\necho codex-cli 0.129.3\n");
    let failure = world.with("GIT_ORCHESTRATOR_CODEX", old).probe().await.unwrap_err();
    assert_eq!(failure.class, Class::Missing);
    assert_eq!(failure.message, "Codex 0.129.3 is too old: 0.130.0 is the oldest that works");

    let world = World::bare();
    let other = world.script("other", "#!/bin/sh\necho hello\n");
    assert_eq!(world.with("GIT_ORCHESTRATOR_CODEX", other).probe().await.unwrap_err().class, Class::Missing);

    let world = World::bare();
    let walled = "#!/bin/sh\ncase $1 in --version) echo codex-cli 0.169.0;; sandbox) echo 'bwrap: No permissions' >&2; \
                  exit 1;; esac\n";
    let walled = world.script("walled", walled);
    let failure = world.with("GIT_ORCHESTRATOR_CODEX", walled).probe().await.unwrap_err();
    assert_eq!(failure.class, Class::Sandbox);
    assert!(failure.message.ends_with("bwrap: No permissions"), "{}", failure.message);
    assert!(failure.fix.is_some());
}

#[tokio::test]
async fn a_probe_knows_who_is_logged_in() {
    let Some(world) = World::new("http://127.0.0.1:9/v1") else { return };
    world.configure("");
    let failure = world.probe().await.unwrap_err();
    assert_eq!((failure.class, failure.fix.as_deref()), (Class::Auth, Some("codex login")));
    let world = world.with("CODEX_API_KEY", "sk-test");
    world.probe().await.unwrap();

    let provider = "model_provider = \"p\"\n[model_providers.p]\nname = \"p\"\nbase_url = \"http://127.0.0.1:9\"\n";
    world.configure(&format!("{provider}env_key = \"P_KEY\"\n"));
    let failure = world.probe().await.unwrap_err();
    assert_eq!((failure.class, failure.fix.as_deref()), (Class::Auth, Some("export P_KEY=…")));
    world.configure("model = = 1");
    assert_eq!(world.probe().await.unwrap_err().class, Class::Protocol);
    world.configure("");
    world.with("P_KEY", "x").with("CODEX_HOME", "/nowhere").probe().await.unwrap_err();
}

#[tokio::test]
async fn npms_script_is_skipped() {
    if codex().is_none() {
        return;
    }
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/codex/node_modules/.bin");
    if !package.join("codex").exists() {
        return;
    }
    // No node on this PATH: only the program behind the script can answer.
    assert!(!package.join("node").exists());
    World::bare().with("CODEX_API_KEY", "x").with("PATH", package).probe().await.unwrap();
}

#[tokio::test]
async fn a_turn_ends_in_an_answer() {
    let server = serve([says(ANSWER)]);
    let Some(world) = World::new(server.url()) else { return };
    let mut seen = Vec::new();
    let outcome = world.run("the prompt", None, &mut |a| seen.push(a), watch::channel(false).1).await.unwrap();
    assert_eq!(outcome.answer, ANSWER);
    assert_eq!((outcome.usage, outcome.thread_usage), (USED, USED));
    assert_eq!(outcome.model.as_deref(), Some("scripted"));
    let thread = outcome.thread.unwrap();
    assert_eq!(seen.first(), Some(&Activity::ThreadStarted { thread }));
    assert_eq!(seen.last(), Some(&Activity::TurnFinished { usage: USED }));
    assert!(seen.contains(&Activity::Message { text: ANSWER.into() }));

    let request = bodies(&server).remove(0);
    assert_eq!(request["text"]["format"]["schema"], world.schema);
    let names: Vec<&str> = request["tools"].as_array().unwrap().iter().filter_map(|t| t["name"].as_str()).collect();
    assert_eq!(names, ["exec_command", "write_stdin"]);
    assert!(request["input"].to_string().contains("the prompt"));
    assert!(world.path("run/schema.json").exists() && world.path("run/stderr.log").exists());
}

#[tokio::test]
async fn commands_run_in_the_sandbox_with_an_environment_of_their_own() {
    let command = "env; touch inside \"$TMPDIR/inside\"; touch ../outside; touch /tmp/codex-exec-outside; printf '%s' \
                   \"$FOR_COMMANDS\" > value";
    let server = serve([executes(command), says(ANSWER)]);
    let Some(world) = World::new(server.url()) else { return };
    let own = fs::read_to_string(world.path("home/config.toml")).unwrap();
    world.configure(&format!(
        "sandbox_mode = \"danger-full-access\"\napproval_policy = \"on-request\"\n{own}\n[sandbox_workspace_write]\n\
         writable_roots = [\"{}\"]\nnetwork_access = true\n[shell_environment_policy]\ninherit = \"all\"\n\
         set = {{ FROM_THE_PERSON = \"1\" }}\n",
        world.root.path().display()
    ));
    let mut seen = Vec::new();
    world.run("go", None, &mut |a| seen.push(a), watch::channel(false).1).await.unwrap();
    let (line, output) = seen
        .iter()
        .find_map(|activity| {
            let Activity::CommandFinished { command, output, .. } = activity else { return None };
            Some((command.as_str(), output.as_str()))
        })
        .unwrap();
    assert_eq!(line, command);
    let tmp = format!("TMPDIR={}\n", world.path("tmp").display());
    for part in [
        tmp.as_str(),
        "GIT_ORCHESTRATOR_RUN=1\n",
        "CODEX_SANDBOX_NETWORK_DISABLED=1\n",
        "cannot touch '/tmp/codex-exec-outside'",
    ] {
        assert!(output.contains(part), "{part} is not in {output}");
    }
    for part in ["hunter2", "FROM_THE_PERSON", "CODEX_HOME"] {
        assert!(!output.contains(part), "{part} is in {output}");
    }
    assert!(world.path("workspace/inside").exists() && world.path("tmp/inside").exists());
    assert!(!world.path("outside").exists() && !Path::new("/tmp/codex-exec-outside").exists());
    assert_eq!(fs::read_to_string(world.path("workspace/value")).unwrap(), "a \"b\"\n\\c");
}

#[tokio::test]
async fn a_read_only_turn_writes_nothing() {
    let server = serve([executes("touch inside \"$TMPDIR/inside\""), says(ANSWER)]);
    let Some(mut world) = World::new(server.url()) else { return };
    world.sandbox.mode = SandboxMode::ReadOnly;
    let mut seen = Vec::new();
    world.run("go", None, &mut |a| seen.push(a), watch::channel(false).1).await.unwrap();
    // Not by its event: Codex 0.169 leaves none of a command that fails at once on its sandbox.
    let told = bodies(&server)[1]["input"].to_string();
    assert_eq!(told.matches("cannot touch").count(), 2, "{told}");
    assert!(!world.path("workspace/inside").exists() && !world.path("tmp/inside").exists());
}

#[tokio::test]
async fn nothing_of_the_person_or_the_repository_acts_beside_the_model() {
    let server = serve([executes("true"), says(ANSWER)]);
    let Some(world) = World::new(server.url()) else { return };
    let canary = world.path("canary");
    let bird = world.script("bird", &format!("#!/bin/sh\necho \"$@\" >> '{}'\n", canary.display()));
    let bird = bird.display();
    let own = fs::read_to_string(world.path("home/config.toml")).unwrap();
    world.configure(&format!(
        "notify = [\"{bird}\", \"notify\"]\n{own}\n[mcp_servers.\"odd. name\"]\ncommand = \"{bird}\"\n\
         [mcp_servers.plain]\ncommand = \"{bird}\"\nrequired = true\n[projects.\"{}\"]\ntrust_level = \"trusted\"\n",
        world.path("workspace").display()
    ));
    let hooks =
        json!({"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": format!("{bird} hook")}]}]}});
    world.write("home/hooks.json", &hooks.to_string());
    world.write("workspace/.codex/hooks.json", &hooks.to_string());
    world.write(
        "workspace/.codex/config.toml",
        &format!("developer_instructions = \"PROJECT-CONFIG\"\n[mcp_servers.project]\ncommand = \"{bird}\"\n"),
    );
    world.write("workspace/.codex/rules/x.rules", "this is no rule");
    world.write("workspace/AGENTS.md", "PROJECT-INSTRUCTIONS");
    world.write("workspace/.agents/skills/evil/SKILL.md", "---\nname: evil\ndescription: d\n---\nPROJECT-SKILL\n");
    world.write("workspace/.codex/skills/evil2/SKILL.md", "---\nname: evil2\ndescription: d\n---\nPROJECT-SKILL\n");
    world.write("home/skills/own/SKILL.md", "---\nname: own\ndescription: d\n---\nPERSONS-SKILL\n");

    world.run("call $evil and $evil2 and $own", None, &mut |_| {}, watch::channel(false).1).await.unwrap();
    assert_eq!(fs::read_to_string(&canary).unwrap_or_default(), "");
    let sent = bodies(&server)[0].to_string();
    for word in ["PROJECT-CONFIG", "PROJECT-INSTRUCTIONS", "PROJECT-SKILL", "PERSONS-SKILL"] {
        assert!(!sent.contains(word), "{word} reached the model");
    }
}

#[tokio::test]
async fn a_thread_is_continued_and_counted_apart() {
    let server = serve([says("{\"ok\":false}"), says(ANSWER)]);
    let Some(world) = World::new(server.url()) else { return };
    let first = world.turn().await.unwrap();
    let thread = first.thread.clone().unwrap();
    let resume = Some((thread.as_str(), first.thread_usage));
    let second = world.run("again", resume, &mut |_| {}, watch::channel(false).1).await.unwrap();
    assert_eq!((second.thread, second.answer.as_str()), (Some(thread), ANSWER));
    assert_eq!(second.usage, first.usage);
    assert_eq!(second.thread_usage, first.usage.plus(first.usage));
    assert!(bodies(&server)[1]["input"].to_string().contains("{\\\"ok\\\":false}"), "the history is sent");

    for unknown in ["01a20210-0000-7041-80d9-d1ba9c2c4908", "--last", "latest"] {
        let resume = Some((unknown, Usage::default()));
        let failure = world.run("again", resume, &mut |_| {}, watch::channel(false).1).await.unwrap_err();
        assert_eq!(failure.class, Class::Protocol, "{failure}");
    }
}

#[tokio::test]
async fn every_failure_has_its_class() {
    let refused = |status, message: &str| Reply::error(status, "x", message);
    let failed = |code: &str, message: &str| Reply::Failed { code: code.to_owned(), message: message.to_owned() };
    for (reply, class, words) in [
        (refused(401, "bad key"), Class::Auth, "refused the login: 401 Unauthorized: bad key"),
        (refused(403, "not you"), Class::Auth, "not you"),
        (refused(429, "slow down"), Class::RateLimited, "slow down: "),
        (refused(429, "slow down").header("retry-after", "0"), Class::RateLimited, "429"),
        (Reply::error(429, "insufficient_quota", "used up"), Class::Quota, "used up: Quota exceeded"),
        (refused(500, "oops"), Class::Overloaded, "high demand"),
        (refused(503, "oops"), Class::Overloaded, "503"),
        (refused(400, "Invalid schema"), Class::Protocol, "refused the request: Invalid schema"),
        (refused(404, "no such model"), Class::Protocol, "no such model"),
        (failed("context_length_exceeded", "too long"), Class::ContextTooLarge, "does not fit the model"),
        (failed("server_is_overloaded", "busy"), Class::Overloaded, "at capacity"),
        (
            failed("rate_limit_exceeded", "Rate limit reached. Please try again in 11ms."),
            Class::RateLimited,
            "try again in 11ms",
        ),
        (Reply::CutStream { after: Vec::new() }, Class::Network, "stream disconnected"),
        (
            Reply::Incomplete { reason: "content_filter".into() },
            Class::Protocol,
            "broke the answer off: content_filter",
        ),
    ] {
        let shown = format!("{reply:?}");
        let server = serve([reply]);
        let Some(world) = World::new(server.url()) else { return };
        let failure = world.turn().await.unwrap_err();
        assert_eq!(failure.class, class, "{shown}: {failure}");
        assert!(failure.message.contains(words), "{shown}: {failure}");
        assert!(failure.thread.is_some(), "{shown}");
    }
}

#[tokio::test]
async fn a_model_that_says_nothing_gives_an_empty_answer() {
    let server = serve([Reply::Items { items: Vec::new(), usage: Some(USED) }]);
    let Some(world) = World::new(server.url()) else { return };
    let outcome = world.turn().await.unwrap();
    assert_eq!((outcome.answer.as_str(), outcome.usage), ("", USED));
    assert!(outcome.thread.is_some(), "it can be asked again");
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_a_broken_network() {
    let url = serve([Reply::Silence]).url().to_owned();
    let Some(world) = World::new(&url) else { return };
    let failure = world.turn().await.unwrap_err();
    assert_eq!(failure.class, Class::Network, "{failure}");
}

#[tokio::test]
async fn a_silent_provider_is_told_from_a_silent_command() {
    let server = serve([Reply::Silence]);
    let Some(mut world) = World::new(server.url()) else { return };
    world.limits.idle = Duration::from_secs(3);
    let failure = world.turn().await.unwrap_err();
    assert_eq!((failure.class, failure.message.as_str()), (Class::Stalled, "the model gave no sign of life for 3.0s"));

    let server = serve([executes("sleep 6"), says(ANSWER)]);
    let Some(mut world) = World::new(server.url()) else { return };
    world.limits.idle = Duration::from_secs(5);
    world.turn().await.unwrap();
}

#[tokio::test]
async fn the_wall_limit_ends_commands_too() {
    let server = serve([executes("sleep 1000 & setsid sleep 1000 & sleep 1000"), says(ANSWER)]);
    let Some(mut world) = World::new(server.url()) else { return };
    world.limits.wall = Duration::from_secs(4);
    let failure = world.turn().await.unwrap_err();
    assert_eq!((failure.class, failure.message.as_str()), (Class::Timeout, "the turn took longer than 4.0s"));
}

#[tokio::test]
async fn a_cancelled_turn_can_be_continued() {
    let server = serve([executes("sleep 1000"), says(ANSWER)]);
    let Some(world) = World::new(server.url()) else { return };
    let (cancel, cancelled) = watch::channel(false);
    let mut stop = |activity: Activity| {
        if matches!(activity, Activity::CommandStarted { .. }) {
            cancel.send(true).unwrap();
        }
    };
    let failure = world.run("go", None, &mut stop, cancelled).await.unwrap_err();
    assert_eq!(failure.class, Class::Cancelled);
    let thread = failure.thread.unwrap();
    let resume = Some((thread.as_str(), failure.usage));
    let outcome = world.run("go on", resume, &mut |_| {}, watch::channel(false).1).await.unwrap();
    assert_eq!(outcome.answer, ANSWER);
}

#[tokio::test]
async fn too_much_output_ends_the_turn() {
    let server = serve([says(&"x".repeat(100_000))]);
    let Some(mut world) = World::new(server.url()) else { return };
    world.limits.output_bytes = 20_000;
    let failure = world.turn().await.unwrap_err();
    assert_eq!(failure.class, Class::Output);
    assert_eq!(failure.message, "Codex wrote more than the 19.5 KiB of output it may");
}

#[tokio::test]
async fn a_killed_codex_is_a_crash() {
    let server = serve([executes("sleep 1000")]);
    let Some(world) = World::new(server.url()) else { return };
    let root = world.root.path().to_owned();
    let mut kill = |activity: Activity| {
        if matches!(activity, Activity::CommandStarted { .. }) {
            for pid in codex_processes(&root) {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            }
        }
    };
    let failure = world.run("go", None, &mut kill, watch::channel(false).1).await.unwrap_err();
    assert_eq!((failure.class, failure.message.as_str()), (Class::Crashed, "Codex was ended by signal 9"));
}

/// The processes whose own Codex home lies here: Codex itself, not its commands.
fn codex_processes(root: &Path) -> Vec<rustix::process::Pid> {
    let wanted = format!("CODEX_HOME={}", root.join("home").display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_codex = environment.split(|b| *b == 0).any(|v| v == wanted.as_bytes())
            && arguments.split(|b| *b == 0).nth(1) == Some(b"exec");
        if is_codex {
            let pid = entry.file_name().to_str().unwrap().parse().unwrap();
            found.push(rustix::process::Pid::from_raw(pid).unwrap());
        }
    }
    found
}

/// Where the driver below finds its world: set, it runs one turn there and is killed in the middle.
const DRIVEN: &str = "CODEX_EXEC_TEST_DRIVEN";

#[tokio::test]
async fn driver_of_the_kill_test() {
    let Some(url) = std::env::var_os(DRIVEN) else { return };
    let mut world = World::new(url.to_str().unwrap()).unwrap();
    world.root.disable_cleanup(true);
    world.turn().await.unwrap_err();
}

#[test]
fn codex_and_its_commands_die_with_us() {
    if codex().is_none() {
        return;
    }
    let server = serve([executes("setsid sleep 1000 & touch started; sleep 1000")]);
    let driver = duct::cmd(
        std::env::current_exe().unwrap(),
        ["--exact", "driver_of_the_kill_test", "--nocapture", "--test-threads=1"],
    )
    .env(DRIVEN, server.url())
    .stdout_capture()
    .stderr_capture()
    .unchecked()
    .start()
    .unwrap();
    wait_until("the command starts", || bodies(&server).len() == 1);
    let root = driver_root(&driver.pids());
    wait_until("the command runs", || root.join("workspace/started").exists());
    assert!(processes_of(&root).len() >= 4, "{:?}", processes_of(&root));
    // SIGKILL: nothing of ours gets to clean up.
    driver.kill().unwrap();
    wait_until("all are gone", || processes_of(&root).is_empty());
    fs::remove_dir_all(&root).unwrap();
}

/// The world of a driver, from the environment of its child.
fn driver_root(pids: &[u32]) -> PathBuf {
    for pid in pids {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let all = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
        for child in all.chain([children]).collect::<String>().split_whitespace() {
            let environment = fs::read(format!("/proc/{child}/environ")).unwrap_or_default();
            for variable in environment.split(|b| *b == 0) {
                if let Some(home) = variable.strip_prefix(b"CODEX_HOME=") {
                    let home = PathBuf::from(OsString::from_vec(home.to_vec()));
                    return home.parent().unwrap().to_owned();
                }
            }
        }
    }
    panic!("the driver has no Codex")
}

#[tokio::test]
async fn a_rehearsal_asks_the_loopback_server_and_says_so() {
    let server = serve([says(ANSWER)]);
    let Some(world) = World::new("http://127.0.0.1:9/v1") else { return };
    world.configure("");
    let world = world.with(REHEARSAL_VARIABLE, server.url()).with("http_proxy", "http://127.0.0.1:9");
    world.probe().await.unwrap();
    let outcome = world.turn().await.unwrap();
    assert_eq!((outcome.model.as_deref(), outcome.answer.as_str()), (Some("rehearsal"), ANSWER));
    assert_eq!(bodies(&server)[0]["model"], "rehearsal");

    let world = world.with(REHEARSAL_VARIABLE, "https://example.org/v1");
    assert_eq!(world.turn().await.unwrap_err().class, Class::Internal);
}

#[tokio::test]
async fn odd_paths_are_told_exactly_or_refused() {
    let server = serve([executes("pwd > here"), says(ANSWER)]);
    let Some(world) = World::new(server.url()) else { return };
    let workspace = world.path("a \"b\" 'c' = {d}\n$e ünï");
    fs::create_dir(&workspace).unwrap();
    let mut seen = Vec::new();
    world.run_in(&workspace, "go", None, &mut |a| seen.push(a), watch::channel(false).1).await.unwrap();
    assert_eq!(fs::read_to_string(workspace.join("here")).unwrap().trim_end(), workspace.to_str().unwrap(), "{seen:?}");

    let workspace = world.root.path().join(OsString::from_vec(b"caf\xe9".to_vec()));
    fs::create_dir(&workspace).unwrap();
    let failure = world.run_in(&workspace, "go", None, &mut |_| {}, watch::channel(false).1).await.unwrap_err();
    assert_eq!(failure.class, Class::Internal);
    assert!(failure.message.ends_with("caf\\xe9`: it is not UTF-8"), "{failure}");
}
