//! What the stream of the real Codex leaves out, found in its record of the thread.
//!
//! Every turn runs against a scripted server on loopback and in Codex's own sandbox.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orchestrator::clock::Timestamp;
use orchestrator::policy::gatekeeper::Verdict;
use orchestrator::policy::{Action, Decision, Gatekeeper, Limits, SandboxMode};
use orchestrator::rehearsal::{Handle, Item, Model, Reply, Request, Sequence, Server};
use orchestrator::runtime::activity::Status;
use orchestrator::runtime::codex_exec::CodexExec;
use orchestrator::runtime::{
    Activity, Class, Environment, Failure, Outcome, Runtime as _, SandboxProfile, Turn, Usage,
};
use serde_json::{Value, json};
use support::codex;
use tempfile::TempDir;
use tokio::sync::watch;

/// A workspace, a home for Codex and a directory for the run, and the server where the model would be.
struct World {
    root: TempDir,
    environment: Environment,
    sandbox: SandboxProfile,
    limits: Limits,
    /// Ends with the world.
    _server: Handle,
}

impl World {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Option<Self> {
        Self::with_model("scripted", replies)
    }

    fn with_model(model: &str, replies: impl IntoIterator<Item = Reply>) -> Option<Self> {
        let codex = codex()?;
        let server = Server::in_background(Polls(Sequence::new(replies))).unwrap();
        let root = tempfile::Builder::new().prefix("rollout-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for name in ["home", "workspace", "run", "tmp"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        let config = format!(
            "model = \"{model}\"\nmodel_provider = \"local\"\n[model_providers.local]\nname = \"local\"\n\
             base_url = \"{}\"\nwire_api = \"responses\"\nrequest_max_retries = 0\nstream_max_retries = 0\n",
            server.url()
        );
        orchestrator::files::write(&root.path().join("home/config.toml"), config.as_bytes()).unwrap();
        let mut environment: Environment =
            ["PATH", "HOME"].iter().filter_map(|n| Some((OsString::from(n), std::env::var_os(n)?))).collect();
        environment.insert("CODEX_HOME".into(), root.path().join("home").into());
        environment.insert("GIT_ORCHESTRATOR_CODEX".into(), codex.into());
        let sandbox = SandboxProfile {
            mode: SandboxMode::WorkspaceWrite,
            network: false,
            temporary: root.path().join("tmp"),
            readable: Vec::new(),
            command_environment: BTreeMap::new(),
        };
        let limits = Limits { wall: Duration::from_secs(120), idle: Duration::from_secs(60), ..Limits::default() };
        Some(Self { root, environment, sandbox, limits, _server: server })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// One turn, and what was said of it.
    async fn turn(&self) -> (Result<Outcome, Failure>, Vec<Activity>) {
        let mut seen = Vec::new();
        let result = self.turn_with(None, &mut |activity| seen.push(activity), watch::channel(false).1).await;
        (result, seen)
    }

    async fn turn_with(
        &self,
        resume: Option<(&str, Usage)>,
        sink: &mut dyn FnMut(Activity),
        cancel: watch::Receiver<bool>,
    ) -> Result<Outcome, Failure> {
        let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
            "additionalProperties": false});
        let runtime = CodexExec::new(PathBuf::from(env!("CARGO_BIN_EXE_git-orchestrator")));
        runtime
            .turn(Turn {
                workspace: &self.path("workspace"),
                run_directory: &self.path("run"),
                prompt: "go",
                schema: &schema,
                sandbox: &self.sandbox,
                resume,
                limits: &self.limits,
                gatekeeper: &Anything,
                sink,
                cancel,
                environment: &self.environment,
            })
            .await
    }
}

/// Plays a sequence; a poll asks for the session that the last command runs in.
struct Polls(Sequence);

impl Model for Polls {
    fn reply(&mut self, request: &Request) -> Reply {
        let mut reply = self.0.reply(request);
        if let Reply::Items { items, .. } = &mut reply {
            for item in items {
                if let Item::Call { name, arguments } = item
                    && name == "write_stdin"
                {
                    let said = request.items().iter().rev().filter_map(|item| item["output"].as_str());
                    let session = said.filter_map(|said| said.split_once("session ID ")?.1.split_whitespace().next());
                    arguments["session_id"] = session.map(|n| n.parse::<u64>().unwrap()).next().into();
                }
            }
        }
        reply
    }
}

/// Allows whatever is asked: what is tested here is all the rest.
struct Anything;

impl Gatekeeper for Anything {
    fn decide(&self, _action: &Action) -> Decision {
        Decision { verdict: Verdict::Allow, rule: "test".into(), reason: "anything goes".into() }
    }
}

const ANSWER: &str = r#"{"ok":true}"#;

const EACH: Usage = Usage { input_tokens: 100, cached_input_tokens: 20, output_tokens: 10 };

/// These items, for a known price.
fn says(items: Vec<Item>) -> Reply {
    Reply::Items { items, usage: Some(EACH) }
}

fn answers() -> Reply {
    says(vec![Item::message(ANSWER)])
}

fn call(name: &str, arguments: Value) -> Item {
    Item::Call { name: name.to_owned(), arguments }
}

fn times(n: u64) -> Usage {
    Usage {
        input_tokens: EACH.input_tokens * n,
        cached_input_tokens: EACH.cached_input_tokens * n,
        output_tokens: EACH.output_tokens * n,
    }
}

/// The finished commands, sorted: line, exit code and status. Checks that each has one beginning and one end.
fn commands(seen: &[Activity]) -> Vec<(&str, Option<i32>, Status)> {
    let mut open = BTreeMap::new();
    let mut finished = Vec::new();
    for activity in seen {
        if let Activity::CommandStarted { id, command } = activity {
            assert_eq!(open.insert(id, command), None, "{seen:?}");
        } else if let Activity::CommandFinished { id, command, exit_code, status, .. } = activity {
            assert_eq!(open.remove(id), Some(command), "{seen:?}");
            finished.push((command.as_str(), *exit_code, *status));
        }
    }
    assert!(open.is_empty(), "{seen:?}");
    finished.sort_unstable_by_key(|(line, code, _)| (*line, *code));
    finished
}

/// The warnings, but for those of Codex about the model that it does not know.
fn warnings(seen: &[Activity]) -> Vec<&str> {
    let mut found = Vec::new();
    for activity in seen {
        if let Activity::Warning { message } = activity
            && !message.starts_with("Model metadata")
        {
            found.push(message.as_str());
        }
    }
    found
}

#[tokio::test]
async fn commands_that_fail_like_a_refusal_are_told_with_their_exit_code() {
    let denied = "echo Permission denied; exit 1";
    let outside = "touch /usr/written-by-a-test";
    let Some(world) = World::new([says(vec![Item::command(denied)]), says(vec![Item::command(outside)]), answers()])
    else {
        return;
    };
    let (result, seen) = world.turn().await;
    assert_eq!(result.unwrap().usage, times(3));
    assert_eq!(commands(&seen), [(denied, Some(1), Status::Failed), (outside, Some(1), Status::Failed)]);
    let mut outputs: Vec<&str> = seen
        .iter()
        .filter_map(|activity| {
            let Activity::CommandFinished { output, ran, .. } = activity else { return None };
            // Where the machine is slow enough, the stream tells the command by itself, and when is when it was told.
            if let Some(ran) = ran {
                assert!(ran.began <= ran.ended && ran.ended <= Timestamp::now());
            }
            Some(output.as_str())
        })
        .collect();
    // What the stream tells comes before what is added to it.
    outputs.sort_unstable();
    assert_eq!(outputs[0], "Permission denied\n");
    assert!(outputs[1].contains("Read-only file system"), "{outputs:?}");
    assert!(matches!(seen.last(), Some(Activity::TurnFinished { .. })), "the turn's end is told last");
    assert_eq!(warnings(&seen), Vec::<&str>::new());
    assert!(!Path::new("/usr/written-by-a-test").exists());
}

#[tokio::test]
async fn slow_and_polled_commands_end_once() {
    let slow = "sleep 1; echo Permission denied; exit 4";
    let polled = "echo one; sleep 2; echo Permission denied; exit 5";
    let left = "sleep 1000";
    let begin = |line: &str| call("exec_command", json!({"cmd": line, "yield_time_ms": 500}));
    let Some(world) = World::new([
        says(vec![Item::command(slow)]),
        says(vec![begin(polled)]),
        says(vec![call("write_stdin", json!({"chars": "", "yield_time_ms": 10_000}))]),
        says(vec![begin(left)]),
        answers(),
    ]) else {
        return;
    };
    let (result, seen) = world.turn().await;
    result.unwrap();
    // What runs on when the model answers is killed: it has no exit code, and did not succeed.
    assert_eq!(
        commands(&seen),
        [(polled, Some(5), Status::Failed), (left, None, Status::Failed), (slow, Some(4), Status::Failed)]
    );
    assert_eq!(warnings(&seen), Vec::<&str>::new());
}

#[tokio::test]
async fn what_is_refused_is_told() {
    let escalated = json!({"cmd": "touch x", "sandbox_permissions": "require_escalated", "justification": "want"});
    let patch = "apply_patch <<'E'\n*** Begin Patch\n*** Add File: /usr/x\n+x\n*** End Patch\nE\n";
    let inside = "apply_patch <<'E'\n*** Begin Patch\n*** Add File: y\n+x\n*** End Patch\nE\n";
    let Some(world) = World::new([
        says(vec![call("exec_command", escalated)]),
        says(vec![Item::command(patch)]),
        says(vec![Item::command(inside)]),
        says(vec![call("nonsense", json!({})), call("exec_command", json!({"line": "ls"}))]),
        answers(),
    ]) else {
        return;
    };
    let (result, seen) = world.turn().await;
    result.unwrap();
    assert_eq!(commands(&seen), [(patch, None, Status::Declined), ("touch x", None, Status::Declined)]);
    assert_eq!(seen.iter().filter(|a| matches!(a, Activity::PatchFinished { .. })).count(), 1);
    let told = warnings(&seen);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[0], "a call of `nonsense` came to nothing: unsupported call: nonsense");
    assert!(told[1].starts_with("a call of `exec_command {\"line\":\"ls\"}` came to nothing: "), "{told:?}");
}

#[tokio::test]
async fn parallel_calls_are_each_told_once() {
    let lines = [
        "echo a",
        "echo Permission denied; exit 3",
        "sleep 1; echo b; exit 4",
        "echo a",
        "test -e once || { touch once; echo Permission denied; exit 1; }",
        "touch /usr/x",
        "sleep 1; touch /usr/x",
    ];
    let again = "test -e once || { touch once; echo Permission denied; exit 1; }";
    let items = lines.iter().map(|line| Item::command(*line)).collect();
    let Some(world) = World::new([says(items), says(vec![Item::command(again)]), answers()]) else { return };
    let (result, seen) = world.turn().await;
    result.unwrap();
    assert_eq!(
        commands(&seen),
        [
            ("echo Permission denied; exit 3", Some(3), Status::Failed),
            ("echo a", Some(0), Status::Completed),
            ("echo a", Some(0), Status::Completed),
            ("sleep 1; echo b; exit 4", Some(4), Status::Failed),
            ("sleep 1; touch /usr/x", Some(1), Status::Failed),
            (again, Some(0), Status::Completed),
            (again, Some(1), Status::Failed),
            ("touch /usr/x", Some(1), Status::Failed),
        ]
    );
}

#[tokio::test]
async fn a_turn_that_fails_tells_what_it_cost() {
    let denied = "echo Permission denied; exit 1";
    let Some(world) =
        World::new([answers(), says(vec![Item::command(denied)]), Reply::error(500, "server_error", "oops")])
    else {
        return;
    };
    let first = world.turn().await.0.unwrap();
    let thread = first.thread.unwrap();
    let mut seen = Vec::new();
    let resume = Some((thread.as_str(), first.thread_usage));
    let result = world.turn_with(resume, &mut |activity| seen.push(activity), watch::channel(false).1).await;
    let failure = result.unwrap_err();
    assert_eq!((failure.class, failure.usage), (Class::Overloaded, EACH));
    assert_eq!(commands(&seen), [(denied, Some(1), Status::Failed)]);
    assert!(matches!(seen.last(), Some(Activity::TurnFailed { .. })), "{seen:?}");

    // The next turn of the thread has nothing of the ones before.
    let mut again = Vec::new();
    let resume = Some((thread.as_str(), first.thread_usage.plus(failure.usage)));
    let result = world.turn_with(resume, &mut |activity| again.push(activity), watch::channel(false).1).await;
    assert_eq!(result.unwrap_err().usage, Usage::default());
    assert_eq!(commands(&again), []);
}

#[tokio::test]
async fn a_turn_that_is_stopped_tells_what_it_did() {
    let denied = "echo Permission denied; exit 1";
    let Some(world) =
        World::new([says(vec![Item::command(denied)]), says(vec![Item::command("sleep 1000")]), answers()])
    else {
        return;
    };
    let (cancel, cancelled) = watch::channel(false);
    let mut seen = Vec::new();
    let mut sink = |activity: Activity| {
        if matches!(&activity, Activity::CommandStarted { command, .. } if command == "sleep 1000") {
            cancel.send(true).ok();
        }
        seen.push(activity);
    };
    let failure = world.turn_with(None, &mut sink, cancelled).await.unwrap_err();
    assert_eq!((failure.class, failure.usage), (Class::Cancelled, times(2)));
    assert_eq!(commands(&seen), [(denied, Some(1), Status::Failed), ("sleep 1000", None, Status::Failed)]);
}

#[tokio::test]
async fn scripts_that_hide_commands_are_mentioned() {
    let script = |id: &str, line: &str| {
        let input = format!("const r = await tools.exec_command({{cmd: {line:?}}}); text(r.output);");
        Item::Other(json!({"type": "custom_tool_call", "id": format!("ctc_{id}"), "call_id": id, "name": "exec",
            "input": input, "status": "completed"}))
    };
    // A model whose only tool is a script.
    let Some(world) = World::with_model(
        "gpt-6.1-sol",
        [says(vec![script("a", "echo Permission denied; exit 1")]), says(vec![script("b", "echo fine")]), answers()],
    ) else {
        return;
    };
    let (result, seen) = world.turn().await;
    result.unwrap();
    let told = warnings(&seen);
    if let [_, _] = commands(&seen).as_slice() {
        // The machine is slow enough for the stream to tell of both.
        assert_eq!(told, Vec::<&str>::new());
        return;
    }
    assert_eq!(commands(&seen), [("echo fine", Some(0), Status::Completed)]);
    let message = "scripts of the model's name commands 2 times and Codex told of 1: the record may be incomplete";
    let script = "a script of whose commands nothing was told: const r = await tools.exec_command({cmd: \
                  \"echo Permission denied; exit 1\"}); text(r.output);";
    assert_eq!(told, [message, script]);
}

#[tokio::test]
async fn a_record_that_is_not_there_breaks_nothing() {
    let Some(world) = World::new([says(vec![Item::command("echo fine")]), answers()]) else { return };
    // Codex writes through the link; we do not read through it.
    fs::create_dir(world.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(world.path("elsewhere"), world.path("home/sessions")).unwrap();
    let (result, seen) = world.turn().await;
    assert_eq!(result.unwrap().usage, times(2));
    assert_eq!(commands(&seen), [("echo fine", Some(0), Status::Completed)]);
    assert_eq!(warnings(&seen), Vec::<&str>::new());
    assert!(fs::read_dir(world.path("elsewhere")).unwrap().count() > 0);
}
