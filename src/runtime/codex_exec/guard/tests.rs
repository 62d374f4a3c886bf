//! What the guard lets through, what it objects to, and how it is asked.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::policy::{Gatekeeper, Limits, SandboxMode};
use crate::runtime::SandboxProfile;
use crate::runtime::activity::{FileChange, Status};

/// Allows what names `yes`, asks a person about what names `perhaps`.
struct Words;

impl Gatekeeper for Words {
    fn decide(&self, action: &Action) -> Decision {
        let text = serde_json::to_string(action).unwrap();
        let verdict = match () {
            () if text.contains("yes") => Verdict::Allow,
            () if text.contains("perhaps") => Verdict::Escalate,
            () => Verdict::Deny,
        };
        Decision { verdict, rule: "words".into(), reason: "it says so".into() }
    }
}

struct World {
    root: tempfile::TempDir,
    guard: Guard,
}

/// A turn whose run lies in this directory.
macro_rules! turn {
    ($root:expr, $sink:expr) => {
        Turn {
            workspace: Path::new("/w"),
            // A path that is too long for the name of a socket.
            run_directory: &$root.join("long".repeat(40)),
            prompt: "",
            schema: &Value::Null,
            sandbox: &SandboxProfile {
                mode: SandboxMode::WorkspaceWrite,
                network: false,
                temporary: $root.into(),
                readable: Vec::new(),
                command_environment: std::collections::BTreeMap::new(),
            },
            resume: None,
            limits: &Limits::default(),
            gatekeeper: &Words,
            sink: $sink,
            cancel: watch::channel(false).1,
            environment: &Environment::new(),
        }
    };
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("long".repeat(40))).unwrap();
        let version = Version::parse("0.169.0").unwrap();
        let turn = turn!(root.path(), &mut |_| {});
        let guard = Guard::new(Path::new("/own"), &turn, version, &Config::default(), &Environment::new()).unwrap();
        Self { root, guard }
    }

    /// Asks as the hook does, from another thread, and answers. Returns what the hook ends with and what was recorded.
    async fn ask(&mut self, told: impl Into<Vec<u8>>) -> (Result<(), String>, Vec<Activity>) {
        let (directory, told) = (self.guard.socket.directory().to_owned(), told.into());
        let hook = tokio::task::spawn_blocking(move || ask(&directory, told.as_slice()));
        let asked = tokio::time::timeout(Duration::from_secs(60), self.guard.next()).await.unwrap();
        let mut seen = Vec::new();
        self.guard.answer(asked, &mut turn!(self.root.path(), &mut |activity| seen.push(activity)));
        (hook.await.unwrap(), seen)
    }

    async fn begun() -> Self {
        let mut world = Self::new();
        let (answer, seen) = world.ask(r#"{"hook_event_name":"UserPromptSubmit"}"#).await;
        assert_eq!((answer, seen), (Ok(()), Vec::new()));
        world
    }

    fn objects(&mut self, activity: &Activity) -> Option<String> {
        let failure = self.guard.objection(activity)?;
        assert_eq!(failure.class, Class::Sandbox);
        Some(failure.message)
    }
}

fn call(tool: &str, command: &str) -> String {
    json!({ "hook_event_name": "PreToolUse", "tool_name": tool, "tool_input": { "command": command }, "cwd": "/w" })
        .to_string()
}

fn started(command: &str) -> Activity {
    Activity::CommandStarted { id: "1".into(), command: command.into() }
}

fn patched(path: &str) -> Activity {
    let changes = vec![FileChange { path: path.into(), kind: "add".into() }];
    Activity::PatchStarted { id: "1".into(), changes }
}

#[tokio::test]
async fn the_answer_is_the_gatekeepers() {
    let mut world = World::begun().await;
    let (answer, seen) = world.ask(call("Bash", "yes")).await;
    assert_eq!(answer, Ok(()));
    let [Activity::Decided { action, decision }] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(*action, Action::Command { line: "yes".into(), directory: Some("/w".into()) });
    assert_eq!(decision.verdict, Verdict::Allow);

    let (answer, seen) = world.ask(call("Bash", "no")).await;
    assert_eq!(answer.unwrap_err(), "The policy does not allow this (words): it says so");
    assert!(matches!(seen.as_slice(), [Activity::Decided { decision, .. }] if decision.verdict == Verdict::Deny));

    let (answer, _) = world.ask(call("Bash", "perhaps")).await;
    assert!(
        answer.unwrap_err().starts_with("Refused for now, a person is asked (words): it says so. Go on without it")
    );

    for odd in ["", "{", "[]", "{\"hook_event_name\":\"PreToolUse\",\"tool_name\":\"Bash\"}"] {
        let (answer, seen) = world.ask(odd).await;
        assert!(answer.unwrap_err().contains("unreadable"), "{odd}");
        assert!(matches!(seen.as_slice(), [Activity::Decided { .. }]));
    }
}

#[tokio::test]
async fn too_much_is_not_judged() {
    let mut world = World::begun().await;
    let long = call("Bash", &"yes ".repeat(1 << 21));
    let (answer, seen) = world.ask(long).await;
    assert!(answer.is_err());
    assert!(matches!(seen.as_slice(), [Activity::Decided { decision, .. }] if decision.verdict == Verdict::Deny));
}

#[tokio::test]
async fn who_is_not_answered_does_not_go_on() {
    let world = World::new();
    let directory = world.guard.socket.directory().to_owned();
    let asking = directory.clone();
    let hook = tokio::task::spawn_blocking(move || ask(&asking, call("Bash", "yes").as_bytes()));
    let mut guard = world.guard;
    drop(guard.next().await);
    assert_eq!(hook.await.unwrap().unwrap_err(), "The policy gave no answer.");
    drop(guard);
    assert!(!directory.exists());
}

#[tokio::test]
async fn what_begins_without_leave_ends_the_turn() {
    let mut world = World::begun().await;
    assert!(world.objects(&started("yes")).unwrap().contains("began `yes` without leave"));
    world.ask(call("Bash", "yes")).await.0.unwrap();
    world.ask(call("Bash", "no")).await.0.unwrap_err();
    assert_eq!(world.objects(&started("yes")), None);
    // One leave, one command.
    assert!(world.objects(&started("yes")).is_some());
    assert!(world.objects(&started("no")).is_some());

    let patch = "*** Begin Patch\n*** Update File: yes\n*** Move to: moved\n*** End Patch";
    world.ask(call("apply_patch", patch)).await.0.unwrap();
    assert_eq!(world.objects(&patched("/w/yes")), None);
    assert_eq!(world.objects(&patched("moved")), None);
    assert!(world.objects(&patched("/w/other")).unwrap().contains("a patch"));
    world.ask(call("Bash", "apply_patch <<E\nyes")).await.0.unwrap();
    assert_eq!(world.objects(&patched("/w/other")), None);

    let tool = |tool: &str| Activity::ToolStarted { id: "1".into(), server: "s".into(), tool: tool.into() };
    assert!(world.objects(&tool("yes")).is_some());
    world.ask(call("mcp__s__yes", "")).await.0.unwrap();
    assert_eq!(world.objects(&tool("yes")), None);
    let agent = Activity::SubAgent { id: "1".into(), tool: "spawn_agent".into(), status: Status::InProgress };
    assert!(world.objects(&agent).is_some());
}

#[tokio::test]
async fn nothing_is_believed_before_the_hook_was_seen() {
    let mut world = World::new();
    assert_eq!(world.objects(&Activity::TurnStarted), None);
    assert_eq!(world.objects(&Activity::TurnFailed { message: "x".into() }), None);
    let spoken = Activity::Message { text: "x".into() };
    assert!(world.objects(&spoken).unwrap().contains("is not in force in Codex 0.169.0"));
    // A tool call that was asked about does not show that the prompt was.
    world.ask(call("Bash", "yes")).await.0.unwrap();
    assert!(world.objects(&started("yes")).is_some());
}
