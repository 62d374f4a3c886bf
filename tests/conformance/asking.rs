//! The runtime that asks: what it asks about, what a no means, and what ends a turn because it was not asked about.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use orchestrator::policy::gatekeeper::Verdict;
use orchestrator::policy::{Action, SandboxMode};
use orchestrator::rehearsal::{Item, Reply};
use orchestrator::runtime::activity::Status;
use orchestrator::runtime::codex_exec::Program;
use orchestrator::runtime::{Activity, Class, Failure, Outcome};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::world::{ANSWER, Kind, World, bodies, counted, executes, says, serve};

/// A call of the shell tool with these arguments.
fn calls(arguments: Value) -> Reply {
    counted(Item::Call { name: "exec_command".to_owned(), arguments })
}

/// A script of the model's own: what code mode executes.
fn script(input: &str) -> Reply {
    counted(Item::Other(json!({"type": "custom_tool_call", "id": "ct_1", "call_id": "call_script", "name": "exec",
        "input": input})))
}

fn patches(body: &str) -> Reply {
    executes(&format!("apply_patch <<'EOF'\n*** Begin Patch\n{body}*** End Patch\nEOF\n"))
}

/// What a turn left: its end, and what happened in it.
struct Left {
    end: Result<Outcome, Failure>,
    seen: Vec<Activity>,
}

impl Left {
    async fn by(world: &World) -> Self {
        let mut seen = Vec::new();
        let end = world.run("go", None, &mut |activity| seen.push(activity), watch::channel(false).1).await;
        Self { end, seen }
    }

    fn decided(&self) -> Vec<(Action, Verdict, &str)> {
        let decided = self.seen.iter().filter_map(|activity| {
            let Activity::Decided { action, decision } = activity else { return None };
            Some((action.clone(), decision.verdict, decision.rule.as_str()))
        });
        decided.collect()
    }

    fn commands(&self) -> Vec<(&str, Status)> {
        let ended = self.seen.iter().filter_map(|activity| {
            let Activity::CommandFinished { command, status, .. } = activity else { return None };
            Some((command.as_str(), *status))
        });
        ended.collect()
    }
}

fn world(url: &str) -> Option<World> {
    World::new(Kind::AppServer, url)
}

fn asked(world: &World) -> Vec<Action> {
    world.gatekeeper.asked.borrow().clone()
}

fn command(line: &str, directory: PathBuf) -> Action {
    Action::Command { line: line.to_owned(), directory: Some(directory) }
}

#[tokio::test]
async fn every_command_asks_however_harmless() {
    let lines = ["ls", "cat README.md", "git status", "rg -n x .", "true", "pwd", "echo 'a \"b\"' $HOME `id`\nls"];
    let server = serve(lines.map(executes).into_iter().chain([says(ANSWER)]));
    let Some(world) = world(server.url()) else { return };
    let left = Left::by(&world).await;
    left.end.as_ref().unwrap();
    let workspace = world.path("workspace");
    assert_eq!(asked(&world), lines.map(|line| command(line, workspace.clone())));
    assert_eq!(left.decided().len(), lines.len());
    assert_eq!(left.commands().iter().map(|(line, _)| *line).collect::<Vec<_>>(), lines);
}

#[tokio::test]
async fn the_question_names_the_directory_the_command_runs_in() {
    let server = serve([
        calls(json!({"cmd": "pwd", "workdir": "sub"})),
        calls(json!({"cmd": "pwd", "workdir": "/tmp"})),
        says(ANSWER),
    ]);
    let Some(world) = world(server.url()) else { return };
    fs::create_dir(world.path("workspace/sub")).unwrap();
    Left::by(&world).await.end.unwrap();
    assert_eq!(asked(&world), [command("pwd", world.path("workspace/sub")), command("pwd", "/tmp".into())]);
}

#[tokio::test]
async fn a_refused_command_does_not_run_and_the_model_reads_why() {
    let server = serve([executes("touch forbidden"), executes("touch allowed"), says(ANSWER)]);
    let Some(mut world) = world(server.url()) else { return };
    world.gatekeeper.refused_word = "forbidden";
    let left = Left::by(&world).await;
    left.end.as_ref().unwrap();
    assert!(!world.path("workspace/forbidden").exists() && world.path("workspace/allowed").exists());
    assert_eq!(left.commands(), [("touch forbidden", Status::Declined), ("touch allowed", Status::Completed)]);
    let verdicts: Vec<_> = left.decided().into_iter().map(|(_, verdict, rule)| (verdict, rule.to_owned())).collect();
    let rule = "test-rule".to_owned();
    assert_eq!(verdicts, [(Verdict::Deny, rule.clone()), (Verdict::Allow, rule)]);
    let told = bodies(&server)[1]["input"].to_string();
    assert!(told.contains("`touch forbidden` was refused (test-rule): because the test says so."), "{told}");
}

#[tokio::test]
async fn what_a_person_is_asked_about_is_refused_for_now() {
    let server = serve([executes("touch forbidden"), says(ANSWER)]);
    let Some(mut world) = world(server.url()) else { return };
    world.gatekeeper.refused_word = "forbidden";
    world.gatekeeper.escalates = true;
    Left::by(&world).await.end.unwrap();
    assert!(!world.path("workspace/forbidden").exists());
    assert!(bodies(&server)[1]["input"].to_string().contains("refused for now: a person is asked"));
}

#[tokio::test]
async fn an_allowed_command_stays_in_the_sandbox_when_it_fails_on_it() {
    // A plain sandbox mode would execute it again, without a sandbox and without a question.
    for mode in [SandboxMode::WorkspaceWrite, SandboxMode::ReadOnly] {
        let server =
            serve([executes("grep Seccomp: /proc/self/status; touch ../escaped; touch AGENTS.md"), says(ANSWER)]);
        let Some(mut world) = world(server.url()) else { return };
        world.sandbox.mode = mode;
        let left = Left::by(&world).await;
        left.end.as_ref().unwrap();
        assert!(!world.path("escaped").exists() && !world.path("workspace/AGENTS.md").exists());
        let told = bodies(&server)[1]["input"].to_string();
        assert!(told.contains("Seccomp:\\t2") && told.contains("Read-only file system"), "{told}");
        // Codex tells of its beginning only: the rest is in its own record.
        assert_eq!(left.commands().len(), 1, "{:?}", left.seen);
        assert_eq!(left.commands()[0].1, Status::Failed);
    }
}

#[tokio::test]
async fn asking_to_leave_the_sandbox_does_not_help() {
    let escalated = |more: Value| {
        let mut arguments = json!({"cmd": "touch ../escaped; touch /tmp/conformance-escaped",
            "sandbox_permissions": "require_escalated"});
        for (key, value) in more.as_object().unwrap() {
            arguments[key] = value.clone();
        }
        calls(arguments)
    };
    let server = serve([
        escalated(json!({})),
        escalated(json!({"justification": "it needs to"})),
        escalated(json!({"prefix_rule": ["touch"]})),
        says(ANSWER),
    ]);
    let Some(world) = world(server.url()) else { return };
    let left = Left::by(&world).await;
    left.end.as_ref().unwrap();
    assert!(!world.path("escaped").exists());
    assert!(!PathBuf::from("/tmp/conformance-escaped").exists());
    let rules: Vec<_> = left.decided().into_iter().map(|(_, verdict, rule)| (verdict, rule.to_owned())).collect();
    assert_eq!(rules.len(), 3);
    // Without a reason it looks like any other question.
    assert_eq!(rules[1], (Verdict::Deny, "outside-the-sandbox".to_owned()));
}

#[tokio::test]
async fn nothing_can_be_written_into_a_command_that_runs() {
    let terminal = json!({"cmd": "sh", "tty": true, "yield_time_ms": 300});
    let waiting = json!({"cmd": "sleep 2; sh", "yield_time_ms": 300});
    let write = |text: &str| {
        let id = json!({"session_id": 1, "chars": text, "yield_time_ms": 300});
        counted(Item::Call { name: "write_stdin".to_owned(), arguments: id })
    };
    let server = serve([calls(terminal), calls(waiting), write("touch written\n"), says(ANSWER)]);
    let Some(world) = world(server.url()) else { return };
    Left::by(&world).await.end.unwrap();
    assert!(!world.path("workspace/written").exists());
    let told = bodies(&server).last().unwrap()["input"].to_string();
    assert!(told.contains("TTY execution is disabled"), "{told}");
    assert_eq!(asked(&world).len(), 1, "{:?}", asked(&world));
}

#[tokio::test]
async fn a_patch_is_asked_about_with_all_its_paths_and_stays_in_the_workspace() {
    let server = serve([
        patches("*** Add File: new.txt\n+x\n*** Update File: old.txt\n*** Move to: moved.txt\n@@\n-old\n+new\n"),
        patches("*** Add File: ../escaped\n+x\n"),
        patches("*** Add File: .git/hooks/pre-commit\n+x\n"),
        patches("*** Add File: link/escaped\n+x\n"),
        patches("*** Update File: moved.txt\n*** Move to: ../escaped\n@@\n-new\n+newer\n"),
        says(ANSWER),
    ]);
    let Some(world) = world(server.url()) else { return };
    world.write("workspace/old.txt", "old\n");
    fs::create_dir_all(world.path("workspace/.git/hooks")).unwrap();
    symlink(world.root.path(), world.path("workspace/link")).unwrap();
    let left = Left::by(&world).await;
    left.end.as_ref().unwrap();
    assert_eq!(fs::read_to_string(world.path("workspace/moved.txt")).unwrap(), "new\n");
    assert!(world.path("workspace/new.txt").exists());
    assert!(!world.path("escaped").exists() && !world.path("workspace/.git/hooks/pre-commit").exists());
    let rules: Vec<_> = left.decided().into_iter().map(|(_, _, rule)| rule.to_owned()).collect();
    let outside = "outside-the-workspace";
    assert_eq!(rules, ["test-rule", outside, "protected-path", outside, outside]);
    let Action::Patch { paths } = &asked(&world)[0] else { panic!("the patch was not asked about") };
    let workspace = world.path("workspace");
    let mut paths = paths.clone();
    paths.sort_unstable();
    assert_eq!(paths, ["moved.txt", "new.txt", "old.txt"].map(|name| workspace.join(name).display().to_string()));
}

#[tokio::test]
async fn a_read_only_role_patches_nothing() {
    let server = serve([patches("*** Add File: new.txt\n+x\n"), says(ANSWER)]);
    let Some(mut world) = world(server.url()) else { return };
    world.sandbox.mode = SandboxMode::ReadOnly;
    let left = Left::by(&world).await;
    left.end.as_ref().unwrap();
    assert!(!world.path("workspace/new.txt").exists());
    assert_eq!(left.decided()[0].2, "read-only");
}

#[tokio::test]
async fn scripts_of_the_model_are_asked_about_like_everything_else() {
    let input = "text(Object.keys(tools).join()); \
                 text(JSON.stringify(await tools.exec_command({cmd: 'touch allowed'}))); \
                 try { await tools.exec_command({cmd: 'touch forbidden'}) } catch (e) { text('refused') } \
                 try { await tools.exec_command({cmd: 'touch ../escaped', sandbox_permissions: 'require_escalated'}) } \
                 catch (e) { text('' + e) }";
    let server = serve([script(input), says(ANSWER)]);
    let Some(mut world) = world(server.url()) else { return };
    let own = fs::read_to_string(world.path("home/config.toml")).unwrap();
    world.configure(&format!("{own}\n[features]\ncode_mode = true\ncode_mode_only = true\n"));
    world.gatekeeper.refused_word = "forbidden";
    let left = Left::by(&world).await;
    left.end.as_ref().unwrap();
    assert!(world.path("workspace/allowed").exists() && !world.path("workspace/forbidden").exists());
    assert!(!world.path("escaped").exists());
    let verdicts: Vec<_> = left.decided().into_iter().map(|(_, verdict, _)| verdict).collect();
    assert_eq!(verdicts, [Verdict::Allow, Verdict::Deny, Verdict::Allow], "{:?}", left.seen);
}

#[tokio::test]
async fn a_script_that_uses_what_nobody_is_asked_about_ends_the_turn() {
    let server = serve([script("text(JSON.stringify(await tools.list_mcp_resources({})))"), says(ANSWER)]);
    let Some(world) = world(server.url()) else { return };
    let own = fs::read_to_string(world.path("home/config.toml")).unwrap();
    world.configure(&format!("{own}\n[features]\ncode_mode = true\ncode_mode_only = true\n"));
    let left = Left::by(&world).await;
    let failure = left.end.as_ref().unwrap_err();
    assert_eq!(failure.class, Class::Sandbox, "{failure}");
    assert!(failure.message.contains("went ahead without asking"), "{failure}");
    let tool = Action::Tool { name: "mcp/codex/list_mcp_resources".into() };
    assert_eq!(left.decided()[0], (tool, Verdict::Deny, "test-rule"));
}

#[tokio::test]
async fn tools_that_are_not_offered_do_nothing() {
    let call = |name: &str, arguments: Value| Item::Call { name: name.to_owned(), arguments };
    let items = vec![
        call("view_image", json!({"path": "README.md"})),
        call("update_plan", json!({"plan": []})),
        call("spawn_agent", json!({"message": "x"})),
        call("request_permissions", json!({"permissions": {}})),
        call("shell", json!({"command": ["touch", "x"]})),
        Item::Other(json!({"type": "local_shell_call", "id": "ls", "call_id": "cl", "status": "completed",
            "action": {"type": "exec", "command": ["touch", "x"], "env": {}}})),
    ];
    let server = serve([Reply::items(items), says(ANSWER)]);
    let Some(world) = world(server.url()) else { return };
    Left::by(&world).await.end.unwrap();
    assert!(!world.path("workspace/x").exists() && asked(&world).is_empty());
    assert_eq!(bodies(&server)[1]["input"].to_string().matches("unsupported call").count(), 5);
}

#[tokio::test]
async fn rules_that_skip_the_question_keep_the_runtime_from_running() {
    let server = serve([executes("ls"), says(ANSWER)]);
    let Some(world) = world(server.url()) else { return };
    world.write("home/rules/default.rules", "prefix_rule(pattern=[\"ls\"], decision=\"allow\")\n");
    for failure in [world.probe().await.unwrap_err(), world.turn().await.unwrap_err()] {
        assert_eq!(failure.class, Class::Missing, "{failure}");
        assert!(failure.message.contains("default.rules"), "{failure}");
        assert_eq!(failure.fix.as_deref(), Some("set `runtime: codex-exec`"));
    }
    assert_eq!(bodies(&server).len(), 0);
}

#[tokio::test]
async fn a_command_that_runs_without_a_question_ends_the_turn() {
    let server = serve([says("not yet"), executes("ls"), says(ANSWER)]);
    let Some(world) = world(server.url()) else { return };
    // Rules that come between the look at them and the thread.
    let home = world.path("home");
    let real = Program::find(&world.environment).unwrap();
    let codex = format!(
        "#!/bin/sh\nif [ \"$1\" = app-server ]; then mkdir -p \"$CODEX_HOME/rules\"; \
         echo 'prefix_rule(pattern=[\"ls\"], decision=\"allow\")' > \"$CODEX_HOME/rules/late.rules\"; fi\n\
         exec '{}' \"$@\"\n",
        real.path.display()
    );
    let wrapper = world.script("codex-with-late-rules", &codex);
    let world = world.with("GIT_ORCHESTRATOR_CODEX", wrapper);
    world.turn().await.unwrap();
    fs::remove_dir_all(home.join("rules")).unwrap();
    let left = Left::by(&world).await;
    let failure = left.end.as_ref().unwrap_err();
    assert_eq!(failure.class, Class::Sandbox, "{failure}");
    assert!(failure.message.contains("went ahead without asking: `ls`"), "{failure}");
    assert!(failure.thread.is_some());
}

#[tokio::test]
async fn an_older_codex_is_not_taken_for_one_that_asks() {
    let world = World::bare(Kind::AppServer);
    let old = "#!/bin/sh\ncase $1 in --version) echo codex-cli 0.130.0;; sandbox) echo works;; esac\n";
    let old = world.script("old", old);
    let world = world.with("GIT_ORCHESTRATOR_CODEX", old).with("CODEX_API_KEY", "x");
    let failure = world.probe().await.unwrap_err();
    assert_eq!(
        (failure.class, failure.message.as_str()),
        (Class::Missing, "Codex 0.130.0 does not ask before every command")
    );
    assert_eq!(world.turn().await.unwrap_err().class, Class::Missing);
}

#[tokio::test]
async fn the_persons_own_settings_do_not_open_the_wall() {
    let server = serve([says(ANSWER)]);
    let Some(world) = world(server.url()) else { return };
    let own = fs::read_to_string(world.path("home/config.toml")).unwrap();
    world.configure(&format!("approvals_reviewer = \"auto_review\"\nsandbox_mode = \"danger-full-access\"\n{own}"));
    let outcome = Left::by(&world).await.end.unwrap();
    assert_eq!(outcome.answer, ANSWER);
}
