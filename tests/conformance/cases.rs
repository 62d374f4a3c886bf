//! What every runtime of the Codex CLI has to do alike.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::time::Duration;

use orchestrator::policy::SandboxMode;
use orchestrator::rehearsal::Reply;
use orchestrator::runtime::{Activity, Class, REHEARSAL_VARIABLE, Usage};
use serde_json::json;
use tokio::sync::watch;

use crate::world::{ANSWER, Kind, USED, World, bodies, codex_processes, executes, says, serve};

pub(crate) async fn a_probe_finds_everything_in_place(kind: Kind) {
    let Some(world) = World::new(kind, "http://127.0.0.1:9/v1") else { return };
    let found = world.probe().await.unwrap();
    assert!(found.version.starts_with("0."), "{found:?}");
    assert!(found.resumes);
    assert!(found.asks);
}

pub(crate) async fn a_turn_ends_in_an_answer(kind: Kind) {
    let server = serve([says(ANSWER)]);
    let Some(world) = World::new(kind, server.url()) else { return };
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

pub(crate) async fn commands_run_in_the_sandbox_with_an_environment_of_their_own(kind: Kind) {
    let command = "env; touch inside \"$TMPDIR/inside\"; touch ../outside; touch /tmp/conformance-outside; printf '%s' \
                   \"$FOR_COMMANDS\" > value";
    let server = serve([executes(command), says(ANSWER)]);
    let Some(world) = World::new(kind, server.url()) else { return };
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
        "cannot touch '/tmp/conformance-outside'",
    ] {
        assert!(output.contains(part), "{part} is not in {output}");
    }
    for part in ["hunter2", "FROM_THE_PERSON", "CODEX_HOME"] {
        assert!(!output.contains(part), "{part} is in {output}");
    }
    assert!(world.path("workspace/inside").exists() && world.path("tmp/inside").exists());
    assert!(!world.path("outside").exists() && !Path::new("/tmp/conformance-outside").exists());
    assert_eq!(fs::read_to_string(world.path("workspace/value")).unwrap(), "a \"b\"\n\\c");
}

pub(crate) async fn a_read_only_turn_writes_nothing(kind: Kind) {
    let server = serve([executes("touch inside \"$TMPDIR/inside\""), says(ANSWER)]);
    let Some(mut world) = World::new(kind, server.url()) else { return };
    world.sandbox.mode = SandboxMode::ReadOnly;
    let mut seen = Vec::new();
    world.run("go", None, &mut |a| seen.push(a), watch::channel(false).1).await.unwrap();
    // Not by its event: Codex 0.169 leaves none of a command that fails at once on its sandbox.
    let told = bodies(&server)[1]["input"].to_string();
    assert_eq!(told.matches("cannot touch").count(), 2, "{told}");
    assert!(!world.path("workspace/inside").exists() && !world.path("tmp/inside").exists());
}

pub(crate) async fn nothing_of_the_person_or_the_repository_acts_beside_the_model(kind: Kind) {
    let server = serve([executes("true"), says(ANSWER)]);
    let Some(world) = World::new(kind, server.url()) else { return };
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

pub(crate) async fn a_thread_is_continued_and_counted_apart(kind: Kind) {
    let server = serve([says("{\"ok\":false}"), says(ANSWER)]);
    let Some(world) = World::new(kind, server.url()) else { return };
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

pub(crate) async fn every_failure_has_its_class(kind: Kind) {
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
        let Some(world) = World::new(kind, server.url()) else { return };
        let failure = world.turn().await.unwrap_err();
        assert_eq!(failure.class, class, "{shown}: {failure}");
        assert!(failure.message.contains(words), "{shown}: {failure}");
        assert!(failure.thread.is_some(), "{shown}");
    }
}

pub(crate) async fn a_model_that_says_nothing_gives_an_empty_answer(kind: Kind) {
    let server = serve([Reply::Items { items: Vec::new(), usage: Some(USED) }]);
    let Some(world) = World::new(kind, server.url()) else { return };
    let outcome = world.turn().await.unwrap();
    assert_eq!((outcome.answer.as_str(), outcome.usage), ("", USED));
    assert!(outcome.thread.is_some(), "it can be asked again");
}

pub(crate) async fn a_provider_that_is_not_there_is_a_broken_network(kind: Kind) {
    let url = serve([Reply::Silence]).url().to_owned();
    let Some(world) = World::new(kind, &url) else { return };
    let failure = world.turn().await.unwrap_err();
    assert_eq!(failure.class, Class::Network, "{failure}");
}

pub(crate) async fn a_silent_provider_is_told_from_a_silent_command(kind: Kind) {
    let server = serve([Reply::Silence]);
    let Some(mut world) = World::new(kind, server.url()) else { return };
    world.limits.idle = Duration::from_secs(3);
    let failure = world.turn().await.unwrap_err();
    assert_eq!((failure.class, failure.message.as_str()), (Class::Stalled, "the model gave no sign of life for 3.0s"));

    let server = serve([executes("sleep 6"), says(ANSWER)]);
    let Some(mut world) = World::new(kind, server.url()) else { return };
    world.limits.idle = Duration::from_secs(5);
    world.turn().await.unwrap();
}

pub(crate) async fn the_wall_limit_ends_commands_too(kind: Kind) {
    let server = serve([executes("sleep 1000 & setsid sleep 1000 & sleep 1000"), says(ANSWER)]);
    let Some(mut world) = World::new(kind, server.url()) else { return };
    world.limits.wall = Duration::from_secs(4);
    let failure = world.turn().await.unwrap_err();
    assert_eq!((failure.class, failure.message.as_str()), (Class::Timeout, "the turn took longer than 4.0s"));
}

pub(crate) async fn a_cancelled_turn_can_be_continued(kind: Kind) {
    let server = serve([executes("sleep 1000"), says(ANSWER)]);
    let Some(world) = World::new(kind, server.url()) else { return };
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

pub(crate) async fn too_much_output_ends_the_turn(kind: Kind) {
    let server = serve([says(&"x".repeat(100_000))]);
    let Some(mut world) = World::new(kind, server.url()) else { return };
    world.limits.output_bytes = 20_000;
    let failure = world.turn().await.unwrap_err();
    assert_eq!(failure.class, Class::Output);
    assert_eq!(failure.message, "Codex wrote more than the 19.5 KiB of output it may");
}

pub(crate) async fn a_killed_codex_is_a_crash(kind: Kind) {
    let server = serve([executes("sleep 1000")]);
    let Some(world) = World::new(kind, server.url()) else { return };
    let root = world.root.path().to_owned();
    let mut kill = |activity: Activity| {
        if matches!(activity, Activity::CommandStarted { .. }) {
            for pid in codex_processes(&root, kind) {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            }
        }
    };
    let failure = world.run("go", None, &mut kill, watch::channel(false).1).await.unwrap_err();
    assert_eq!(failure.class, Class::Crashed);
    assert!(failure.message.starts_with("Codex was ended by signal 9"), "{failure}");
    assert!(!failure.message.contains("\\u{1b}"), "{failure}");
}

pub(crate) async fn a_rehearsal_asks_the_loopback_server_and_says_so(kind: Kind) {
    let server = serve([says(ANSWER)]);
    let Some(world) = World::new(kind, "http://127.0.0.1:9/v1") else { return };
    world.configure("");
    let world = world.with(REHEARSAL_VARIABLE, server.url()).with("http_proxy", "http://127.0.0.1:9");
    world.probe().await.unwrap();
    let outcome = world.turn().await.unwrap();
    assert_eq!((outcome.model.as_deref(), outcome.answer.as_str()), (Some("rehearsal"), ANSWER));
    assert_eq!(bodies(&server)[0]["model"], "rehearsal");

    let world = world.with(REHEARSAL_VARIABLE, "https://example.org/v1");
    assert_eq!(world.turn().await.unwrap_err().class, Class::Internal);
}

pub(crate) async fn odd_paths_are_told_exactly_or_refused(kind: Kind) {
    let server = serve([executes("pwd > here"), says(ANSWER)]);
    let Some(world) = World::new(kind, server.url()) else { return };
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
