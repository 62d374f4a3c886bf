//! The scripted model and the runtimes that it drives: the built-in one, and the real Codex CLI where it is installed.

#![expect(clippy::unwrap_used, reason = "what a test relies on and does not get ends the test")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use orchestrator::policy::gatekeeper::{AllowList, Decision, Gatekeeper, Verdict};
use orchestrator::policy::{Action, Limits, SandboxMode};
use orchestrator::process;
use orchestrator::rehearsal::{Item, Reply, Scripted, Sequence, Server};
use orchestrator::role::Role;
use orchestrator::runtime::REHEARSAL_VARIABLE;
use orchestrator::runtime::activity::Status;
use orchestrator::runtime::built_in::BuiltIn;
use orchestrator::runtime::{Activity, Class, Environment, Failure, Outcome, Runtime, SandboxProfile, Turn};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What every summary of the scripted model begins with.
const MARK: &str = "Rehearsal by a scripted model";

/// A repository with a task, code and a test; the last commit breaks the test if it is to.
struct Project {
    directory: TempDir,
}

impl Project {
    fn new(broken: bool) -> Self {
        // Below the target directory: Codex's sandbox treats the system's temporary directory differently.
        let directory = tempfile::Builder::new().prefix("project-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let project = Self { directory };
        project.git(&["init", "-q", "-b", "main"]);
        project.write("Cargo.toml", "[package]\nname = \"half\"\nedition = \"2021\"\n\n[workspace]\n");
        project.write(".gitignore", "/target\n/Cargo.lock\n");
        project.write("src/lib.rs", &source("n / 2"));
        project.commit("start");
        project.write("docs/tasks/half.md", "# Halve numbers\n\n- [ ] Mend `src/lib.rs`\n- [ ] Test it\n");
        project.write("src/lib.rs", &source(if broken { "n / 2 + 1" } else { "n >> 1" }));
        project.commit("feat: halve faster");
        project
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    #[expect(clippy::disallowed_methods, reason = "a fixture needs no durability")]
    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        for side in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{side}_NAME"), "A").env(format!("GIT_{side}_EMAIL"), "a@example.org");
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let output = command.args(arguments).current_dir(self.path()).assert().success().get_output().clone();
        String::from_utf8(output.stdout).unwrap()
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
    }

    /// A prompt with what a context package tells.
    fn prompt(&self, role: &str) -> String {
        let commit = self.git(&["rev-parse", "HEAD"]);
        let diff = self.git(&["show", "--format=", "--no-color", "HEAD"]);
        format!(
            "# Role: {role}\n\ncommit: {commit}\n## Changed files\n\n- M src/lib.rs (+1 -1)\n\
             - A docs/tasks/half.md (+4 -0)\n\n## Diff\n\n-----BEGIN UNTRUSTED diff 0123-----\n{diff}\
             -----END UNTRUSTED diff 0123-----\n"
        )
    }
}

fn source(body: &str) -> String {
    format!(
        "pub fn half(n: u32) -> u32 {{\n    {body}\n}}\n\n#[cfg(test)]\nmod tests {{\n    #[test]\n    fn halves() {{\n        \
         assert_eq!(super::half(4), 2);\n    }}\n}}\n"
    )
}

/// The role's answer fits its schema, says that it is a rehearsal, and says what these projects give cause for.
fn check(role: &str, answer: &str, broken: bool) {
    let answer: Value = serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    let schema = Role::find(role).unwrap().schema_value();
    assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&answer), "{answer}");
    assert!(answer["summary"].as_str().unwrap().starts_with(MARK), "{answer}");
    match role {
        "planner" => assert_eq!(answer["steps"][0]["title"], "Mend src/lib.rs", "{answer}"),
        "architect" => assert_eq!(answer["verdict"], "approve", "{answer}"),
        _ => {
            assert_eq!(answer["verdict"], if broken { "fail" } else { "pass" }, "{answer}");
            assert_eq!(answer["ran"][0]["command"], "cargo test");
            assert_eq!(answer["ran"][0]["exit_code"], if broken { 101 } else { 0 });
            if broken {
                let failure = &answer["failures"][0];
                assert_eq!(failure["test"], "tests::halves", "{answer}");
                assert_eq!(failure["line"], 9);
                assert_eq!(failure["quote"], "        assert_eq!(super::half(4), 2);");
            }
        }
    }
}

/// One turn of the built-in runtime, with everything it needs to be set.
struct Drive<'a> {
    workspace: &'a Path,
    prompt: String,
    role: &'a str,
    limits: Limits,
    gatekeeper: Option<&'a dyn Gatekeeper>,
    url: String,
    cancel: tokio::sync::watch::Receiver<bool>,
}

impl<'a> Drive<'a> {
    fn new(workspace: &'a Path, role: &'a str, url: &str) -> Self {
        // The sender goes at once: nobody cancels.
        let (_, cancel) = tokio::sync::watch::channel(false);
        let limits = Limits { wall: Duration::from_secs(120), idle: Duration::from_secs(60), ..Limits::default() };
        let prompt = format!("role: {role}");
        Self { workspace, prompt, role, limits, gatekeeper: None, url: url.to_owned(), cancel }
    }

    async fn turn(self) -> (Result<Outcome, Failure>, Vec<Activity>) {
        let role = Role::find(self.role).unwrap();
        let allow_list = AllowList::of(&role.contract());
        let temporary = tempfile::tempdir().unwrap();
        let mut environment: Environment = process::clean_environment();
        environment.insert(REHEARSAL_VARIABLE.into(), self.url.into());
        environment.insert("SECRET_OF_THE_CALLER".into(), "x".into());
        let sandbox = SandboxProfile {
            mode: SandboxMode::WorkspaceWrite,
            network: false,
            temporary: temporary.path().to_owned(),
            readable: Vec::new(),
            command_environment: BTreeMap::from([("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned())]),
        };
        let activities = RefCell::new(Vec::new());
        let mut sink = |activity| activities.borrow_mut().push(activity);
        let turn = Turn {
            workspace: self.workspace,
            run_directory: temporary.path(),
            prompt: &self.prompt,
            schema: &role.schema_value(),
            sandbox: &sandbox,
            resume: None,
            limits: &self.limits,
            gatekeeper: self.gatekeeper.unwrap_or(&allow_list),
            sink: &mut sink,
            cancel: self.cancel,
            environment: &environment,
        };
        let done = BuiltIn.turn(turn).await;
        (done, activities.into_inner())
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What the built-in runtime makes of these replies.
fn outcome_of(replies: Vec<Reply>, limits: Limits) -> (Result<Outcome, Failure>, Vec<Activity>) {
    let workspace = tempfile::tempdir().unwrap();
    let server = Server::in_background(Sequence::new(replies)).unwrap();
    block_on(Drive { limits, ..Drive::new(workspace.path(), "tester", server.url()) }.turn())
}

#[test]
fn the_built_in_runtime_plays_every_role() {
    let server = Server::in_background(Scripted::new()).unwrap();
    let projects = [Project::new(true), Project::new(false)];
    for (role, broken) in [("planner", true), ("architect", true), ("tester", true), ("tester", false)] {
        let project = &projects[usize::from(!broken)];
        let drive = Drive { prompt: project.prompt(role), ..Drive::new(project.path(), role, server.url()) };
        let (done, activities) = block_on(drive.turn());
        let outcome = done.unwrap();
        check(role, &outcome.answer, broken);
        assert_eq!(outcome.model.as_deref(), Some("rehearsal"));
        assert!(outcome.usage.input_tokens > 0 && outcome.usage.output_tokens > 0);
        let allowed = activities
            .iter()
            .filter(|a| matches!(a, Activity::Decided { decision, .. } if decision.verdict == Verdict::Allow));
        let finished = activities
            .iter()
            .filter(|a| matches!(a, Activity::CommandFinished { status: Status::Completed | Status::Failed, .. }));
        assert_eq!(allowed.count(), finished.count());
        assert!(matches!(activities.last(), Some(Activity::TurnFinished { .. })));
    }
    let asked = server.requests();
    assert!(asked.iter().filter(|request| request.path == "/v1/responses").count() >= 10);
}

#[test]
fn only_what_the_gatekeeper_allows_is_executed_and_as_words() {
    let workspace = tempfile::tempdir().unwrap();
    let replies = [
        Reply::command("touch refused"),
        Reply::command("ls; touch refused"),
        Reply::items(vec![Item::Call { name: "exec_command".into(), arguments: json!({"cmd": "ls", "workdir": "/"}) }]),
        Reply::items(vec![Item::Call { name: "apply_patch".into(), arguments: json!({}) }]),
        Reply::command("printenv"),
        Reply::command("ls /nowhere-at-all"),
        Reply::message("{}"),
    ];
    let server = Server::in_background(Sequence::new(replies)).unwrap();
    let mut policy = Role::find("tester").unwrap().contract();
    policy.commands.push("printenv".to_owned());
    let list = AllowList::of(&policy);
    let drive = Drive { gatekeeper: Some(&list), ..Drive::new(workspace.path(), "tester", server.url()) };
    let (done, activities) = block_on(drive.turn());
    assert_eq!(done.unwrap().answer, "{}");
    assert_eq!(fs::read_dir(workspace.path()).unwrap().count(), 0);
    let verdicts: Vec<Verdict> = activities
        .iter()
        .filter_map(|a| if let Activity::Decided { decision, .. } = a { Some(decision.verdict) } else { None })
        .collect();
    assert_eq!(verdicts, [Verdict::Escalate, Verdict::Escalate, Verdict::Deny, Verdict::Allow, Verdict::Allow]);
    let finished: Vec<(&str, Option<i32>, &str)> = activities
        .iter()
        .filter_map(|a| {
            let Activity::CommandFinished { command, exit_code, output, .. } = a else { return None };
            Some((command.as_str(), *exit_code, output.as_str()))
        })
        .collect();
    assert_eq!((finished[0].0, finished[1].0, finished[1].1), ("printenv", "ls /nowhere-at-all", Some(2)));
    let variables: Vec<&str> =
        finished[0].2.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(variables.contains(&"GIT_ORCHESTRATOR_RUN") && variables.contains(&"GIT_CONFIG_NOSYSTEM"));
    assert!(!variables.contains(&"HOME") && !variables.contains(&"SECRET_OF_THE_CALLER"), "{variables:?}");
    let told: Vec<String> = server.requests().last().unwrap().body["input"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|item| item["output"].as_str().map(str::to_owned))
        .collect();
    assert!(told[0].contains("refused by the policy (not-listed)"), "{told:?}");
    assert!(told[2].contains("the arguments are `cmd`"), "{told:?}");
    assert!(told[5].contains("Process exited with code 2\nOutput:\n"), "{told:?}");
}

#[test]
fn every_way_a_server_fails_has_its_class() {
    let limits = Limits { wall: Duration::from_secs(60), idle: Duration::from_secs(30), ..Limits::default() };
    let classes = [
        (Reply::error(401, "invalid_api_key", "no"), Class::Auth),
        (Reply::error(429, "rate_limit_exceeded", "slow down"), Class::RateLimited),
        (Reply::error(429, "insufficient_quota", "empty"), Class::Quota),
        (Reply::error(500, "server_error", "oops"), Class::Overloaded),
        (Reply::error(400, "context_length_exceeded", "long"), Class::ContextTooLarge),
        (Reply::error(404, "x", "no"), Class::Protocol),
        (Reply::CutStream { after: vec![Item::message("half")] }, Class::Network),
        (Reply::CutStream { after: vec![] }, Class::Network),
        (Reply::Garbage(b"data: {\n\n".to_vec()), Class::Protocol),
        (Reply::Garbage(b"<html>".to_vec()), Class::Protocol),
        (Reply::Failed { code: "server_is_overloaded".into(), message: "busy".into() }, Class::Overloaded),
        (Reply::Failed { code: "strange".into(), message: "?".into() }, Class::Protocol),
        (Reply::Incomplete { reason: "max_output_tokens".into() }, Class::Protocol),
    ];
    for (reply, class) in classes {
        let (done, activities) = outcome_of(vec![reply.clone()], limits.clone());
        let failure = done.unwrap_err();
        assert_eq!(failure.class, class, "{reply:?}: {failure}");
        assert!(matches!(activities.last(), Some(Activity::TurnFailed { .. })), "{reply:?}");
    }
    let slow = Reply::error(429, "rate_limit_exceeded", "slow down").header("retry-after", "7");
    assert_eq!(outcome_of(vec![slow], limits.clone()).0.unwrap_err().retry_after, Some(Duration::from_secs(7)));

    // Saying nothing is an answer, though not a usable one: who judges answers says so.
    assert_eq!(outcome_of(vec![Reply::Empty], limits.clone()).0.unwrap().answer, "");

    // What was used before a failure is not forgotten.
    let (done, _) = outcome_of(vec![Reply::command("ls"), Reply::error(500, "server_error", "oops")], limits.clone());
    assert!(done.unwrap_err().usage.input_tokens > 0);

    let late = Reply::message("late").delayed(Duration::from_millis(50));
    assert_eq!(outcome_of(vec![late], limits).0.unwrap().answer, "late");
}

#[test]
fn limits_end_a_turn() {
    let short = Duration::from_millis(200);
    let long = Duration::from_secs(60);
    let limits = |wall, idle| Limits { wall, idle, ..Limits::default() };
    for reply in [Reply::Silence, Reply::NoHeaders] {
        let (done, _) = outcome_of(vec![reply.clone()], limits(long, short));
        assert_eq!(done.unwrap_err().class, Class::Stalled, "{reply:?}");
        let (done, _) = outcome_of(vec![reply.clone()], limits(short, long));
        assert_eq!(done.unwrap_err().class, Class::Timeout, "{reply:?}");
    }
    let small = Limits { output_bytes: 1000, ..limits(long, long) };
    let (done, _) = outcome_of(vec![Reply::message("x".repeat(2000))], small);
    assert_eq!(done.unwrap_err().class, Class::Output);
    let (done, _) = outcome_of(vec![Reply::command("ls")], limits(long, long));
    assert_eq!(done.unwrap_err().class, Class::Protocol, "a model that never answers is ended");
}

#[test]
fn nothing_but_the_rehearsal_server_is_talked_to() {
    let workspace = tempfile::tempdir().unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, class) in [
        (format!("http://{unused}/v1"), Class::Network),
        ("https://example.org/v1".to_owned(), Class::Protocol),
        ("http://localhost:80/v1".to_owned(), Class::Protocol),
    ] {
        let (done, _) = block_on(Drive::new(workspace.path(), "tester", &url).turn());
        assert_eq!(done.unwrap_err().class, class, "{url}");
    }
    let sandbox = SandboxProfile {
        mode: SandboxMode::ReadOnly,
        network: false,
        temporary: workspace.path().to_owned(),
        readable: Vec::new(),
        command_environment: BTreeMap::new(),
    };
    let missing = block_on(BuiltIn.probe(&Environment::new(), &sandbox, workspace.path())).unwrap_err();
    assert_eq!((missing.class, missing.fix.as_deref()), (Class::Missing, Some("git orchestrator demo")));
    let server = Server::in_background(Scripted::new()).unwrap();
    let environment = Environment::from([(OsString::from(REHEARSAL_VARIABLE), OsString::from(server.url()))]);
    let capabilities = block_on(BuiltIn.probe(&environment, &sandbox, workspace.path())).unwrap();
    assert!(capabilities.asks && capabilities.sandbox.starts_with("none"));
}

/// Allows everything.
struct Open;

impl Gatekeeper for Open {
    fn decide(&self, _action: &Action) -> Decision {
        Decision { verdict: Verdict::Allow, rule: "open".into(), reason: "a test".into() }
    }
}

#[test]
fn a_cancelled_turn_leaves_no_process() {
    let workspace = tempfile::tempdir().unwrap();
    // A grandchild that ignores the polite signal, and whose parent waits for it.
    let script = "trap '' TERM; sleep 600 & echo $! > started.new; mv started.new started; wait";
    let words = [Reply::command(format!("sh -c \"{script}\""))];
    let server = Server::in_background(Sequence::new(words)).unwrap();
    let (sender, cancel) = tokio::sync::watch::channel(false);
    let drive = Drive { gatekeeper: Some(&Open), cancel, ..Drive::new(workspace.path(), "tester", server.url()) };
    let started = workspace.path().join("started");
    let (done, pid) = block_on(async {
        let watch = async {
            let deadline = Instant::now() + Duration::from_secs(60);
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            while !started.exists() {
                assert!(Instant::now() < deadline, "the command did not start");
                tick.tick().await;
            }
            sender.send(true).unwrap();
            fs::read_to_string(&started).unwrap().trim().parse::<i32>().unwrap()
        };
        let ((done, _), pid) = tokio::join!(drive.turn(), watch);
        (done, pid)
    });
    assert_eq!(done.unwrap_err().class, Class::Cancelled);
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while is_running(pid) {
        assert!(Instant::now() < deadline, "the grandchild lives on");
        std::thread::yield_now();
    }
}

/// Whether the process is there and more than a corpse that nobody has collected.
fn is_running(pid: rustix::process::Pid) -> bool {
    if rustix::process::test_kill_process(pid).is_err() {
        return false;
    }
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    !stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('Z'))
}

#[test]
fn the_server_answers_what_it_does_not_know_and_masks_credentials() {
    let server = Server::in_background(Scripted::new()).unwrap();
    let get = |request: String| {
        use std::io::{Read as _, Write as _};
        let address = server.url().strip_prefix("http://").unwrap().strip_suffix("/v1").unwrap().to_owned();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let post = |headers: &str, body: &str| {
        let length = body.len();
        get(format!(
            "POST /v1/responses HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        ))
    };
    assert!(get("GET /v1/nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into()).starts_with("HTTP/1.1 404"));
    assert!(get("GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into()).contains("\"rehearsal\""));
    assert!(post("", "[1").starts_with("HTTP/1.1 400"));
    assert!(post("content-encoding: zstd\r\n", "{}").starts_with("HTTP/1.1 415"));
    let whole = post("authorization: Bearer hush\r\n", r#"{"input": "hello"}"#);
    let (_, body) = whole.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["object"], &body["status"]), (&json!("response"), &json!("completed")));
    let requests = server.requests();
    assert_eq!(requests.len(), 5);
    assert!(!format!("{requests:?}").contains("hush"));
    assert!(requests[4].headers.contains(&("authorization".to_owned(), "(masked)".to_owned())));
}

/// The Codex CLI to test with, or `None` where it is not installed on a person's machine.
#[expect(clippy::print_stderr, reason = "a test that does nothing must say so")]
fn codex() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/codex/node_modules/@openai");
    let bundled = fs::read_dir(installed).into_iter().flatten().flatten().find_map(|package| {
        let vendor = fs::read_dir(package.path().join("vendor")).ok()?;
        vendor.flatten().map(|target| target.path().join("bin/codex")).find(|file| process::is_executable(file))
    });
    let found = std::env::var_os("GIT_ORCHESTRATOR_TEST_CODEX").map(PathBuf::from).or(bundled);
    assert!(
        found.is_some() || std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "Codex is missing: run `npm ci` in .ci/codex"
    );
    if found.is_none() {
        eprintln!("\nNOT TESTED with the real Codex CLI, which is not installed: run `npm ci` in .ci/codex\n");
    }
    found
}

/// One turn of the real CLI against this server: its exit code and the events on its standard output.
fn codex_turn(codex: &Path, project: &Project, role: &str, url: &str) -> (i32, Vec<Value>) {
    let home = tempfile::Builder::new().prefix("codex-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let schema = home.path().join("schema.json");
    orchestrator::files::write(&schema, Role::find(role).unwrap().schema.as_bytes()).unwrap();
    let provider = format!(
        "model_providers.rehearsal={{name=\"rehearsal\",base_url=\"{url}\",wire_api=\"responses\",env_key=\"LOCAL_KEY\"}}"
    );
    let mut command = Command::new(codex);
    command.args(["exec", "--json", "--ephemeral", "--ignore-user-config", "--ignore-rules"]);
    command.args(["-s", if role == "tester" { "workspace-write" } else { "read-only" }, "-m", "rehearsal"]);
    for setting in [
        "model_provider=\"rehearsal\"",
        &provider,
        "features.goals=false",
        "agents.enabled=false",
        "features.multi_agent=false",
        "features.view_image=false",
        "tools.experimental_request_user_input.enabled=false",
        "web_search=\"disabled\"",
        "skills.bundled.enabled=false",
        "skills.include_instructions=false",
        "features.apps=false",
        "features.plugins=false",
        "features.tool_suggest=false",
        "features.skill_search=false",
        "features.unbounded_connection_retries=false",
        "features.shell_snapshot=false",
        "allow_login_shell=false",
        "analytics.enabled=false",
        "check_for_update_on_startup=false",
        "shell_environment_policy.inherit=\"core\"",
        "shell_environment_policy.set={SHLVL=\"2\"}",
        "sandbox_workspace_write.exclude_slash_tmp=true",
        "project_doc_max_bytes=0",
    ] {
        command.args(["-c", setting]);
    }
    command.arg("--output-schema").arg(&schema).arg("-C").arg(project.path()).arg("-");
    command.env("CODEX_HOME", home.path()).env("LOCAL_KEY", "not-a-secret").timeout(Duration::from_secs(240));
    let output = command.write_stdin(project.prompt(role)).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let events = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), events)
}

#[test]
fn the_real_codex_plays_every_role() {
    let Some(codex) = codex() else { return };
    let server = Server::in_background(Scripted::new()).unwrap();
    let project = Project::new(true);
    let before = project.git(&["status", "--porcelain"]);
    for (role, command) in
        [("planner", "cat docs/tasks/half.md"), ("architect", "cat src/lib.rs"), ("tester", "cargo test")]
    {
        let (code, events) = codex_turn(&codex, &project, role, server.url());
        assert_eq!(code, 0, "{events:?}");
        let answer = events.iter().rev().find(|event| event["item"]["type"] == "agent_message");
        check(role, answer.unwrap()["item"]["text"].as_str().unwrap(), true);
        let ran = events.iter().any(|event| {
            event["type"] == "item.completed"
                && event["item"]["command"].as_str().is_some_and(|line| line.contains(command))
        });
        assert!(ran, "{events:?}");
        let used = events.iter().any(|event| event["usage"]["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0));
        assert!(used, "{events:?}");
    }
    assert_eq!(project.git(&["status", "--porcelain"]), before);
    let requests = server.requests();
    assert!(requests.iter().all(|request| !request.headers.iter().any(|(name, _)| name == "content-encoding")));
    assert!(!format!("{requests:?}").contains("not-a-secret"));
}

/// What Codex 0.169 makes of replies that it does not try again: the words are its own.
#[test]
fn the_real_codex_understands_how_the_server_fails() {
    let Some(codex) = codex() else { return };
    let project = Project::new(true);
    let failed = |code: &str| Reply::Failed { code: code.to_owned(), message: "no".to_owned() };
    for (reply, code, words) in [
        (Reply::Empty, 0, "turn.completed"),
        (Reply::error(400, "invalid_request_error", "not like this"), 1, "not like this"),
        (Reply::error(429, "rate_limit_exceeded", "slow down"), 1, "429"),
        (failed("context_length_exceeded"), 1, "context window"),
        (failed("server_is_overloaded"), 1, "capacity"),
        (Reply::Incomplete { reason: "max_output_tokens".into() }, 1, "max_output_tokens"),
    ] {
        let server = Server::in_background(Sequence::new([reply.clone()])).unwrap();
        let (ended, events) = codex_turn(&codex, &project, "planner", server.url());
        assert_eq!(ended, code, "{reply:?}: {events:?}");
        assert!(events.last().unwrap().to_string().contains(words), "{reply:?}: {events:?}");
        assert_eq!(server.requests().len(), 1, "{reply:?}");
    }
    // A command that came before the stream broke is executed once, and its output is in the next request.
    let cut = Reply::CutStream { after: vec![Item::command("git show --stat HEAD")] };
    let server = Server::in_background(Sequence::new([cut, Reply::message("{}")])).unwrap();
    let (ended, events) = codex_turn(&codex, &project, "planner", server.url());
    assert_eq!(ended, 0, "{events:?}");
    let last = server.requests().pop().unwrap().body["input"].as_array().unwrap().clone();
    assert_eq!(last.iter().filter(|item| item["type"] == "function_call_output").count(), 1, "{last:?}");
}
