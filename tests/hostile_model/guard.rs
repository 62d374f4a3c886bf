//! What puts each call to the policy: it is in force or the run ends, nobody else's hooks run beside it, and no command
//! can ask in its place.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use orchestrator::rehearsal::{Reply, Sequence, Server};
use orchestrator::runtime::codex_exec::Program;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::policy::record;
use crate::support::{PROGRAM, Scene, codex, wait_for};

const TABLE: &str = "\
version: 1
runtime: codex-exec
triggers:
  - name: test
    on: post-commit
    role: tester
    debounce: 0s
policy:
  roles:
    tester:
      sandbox: workspace-write
      network: true
      commands: [ls, make ask]
      limits: { wall: 2m, idle: 60s, attempts: 1 }
";

/// The real program, without npm's script in front of it.
fn native(codex: &Path) -> PathBuf {
    let environment = [("GIT_ORCHESTRATOR_CODEX".into(), codex.into())].into();
    Program::find(&environment).unwrap().path
}

/// A repository with this Makefile, installed, whose tester asks the model at this address.
fn scene(codex: &Path, server_url: &str, makefile: &str) -> Scene {
    let scene = Scene::new().with_codex(codex, server_url);
    scene.write("triggers.yaml", TABLE);
    scene.write("Makefile", makefile);
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.install();
    scene
}

fn run(scene: &Scene) -> Value {
    scene.commit("change", "1", "change");
    scene.wait();
    wait_for("every process to end", || scene.processes().is_empty().then_some(()));
    scene.newest()
}

/// A Codex that does not get the settings that begin so: as one that does not know what they are for.
fn deaf(scene: &mut Scene, codex: &Path, setting: &str) {
    let path = scene.path("bin/deaf");
    Scene::script(
        &path,
        &format!(
            "#!/bin/sh\nfor a; do shift; case $a in {setting}*) a=unknown.setting=1;; esac; set -- \"$@\" \"$a\"; done\n\
             exec '{}' \"$@\"\n",
            native(codex).display()
        ),
    );
    scene.set("GIT_ORCHESTRATOR_CODEX", path);
    scene.trust();
}

#[test]
fn a_codex_that_does_not_run_the_hooks_runs_nothing_else() {
    let Some(codex) = codex() else { return };
    for (setting, words) in [
        ("hooks.", "the hook that holds commands to the policy is not in force in Codex"),
        ("hooks.state", "the hook that holds commands to the policy is not in force in Codex"),
        ("hooks.UserPromptSubmit", "the hook that holds commands to the policy is not in force in Codex"),
        ("hooks.PreToolUse", "began `ls` without leave: the hook that holds it to the policy did not run"),
    ] {
        let server = Server::in_background(Sequence::new([Reply::command("ls"), Reply::message("no")])).unwrap();
        let mut scene = scene(&codex, server.url(), "");
        deaf(&mut scene, &codex, setting);
        let run = run(&scene);
        assert_eq!(run["state"], "failed", "{setting}: {run}");
        let reason = run["reason"].as_str().unwrap();
        assert!(reason.contains(words) && reason.ends_with("npm install -g @openai/codex"), "{setting}: {reason}");
    }
}

/// What Codex takes for the proof that a person looked at a hook.
fn trusted(event: &str, command: &str) -> String {
    let hook = json!({ "async": false, "command": command, "timeout": 600, "type": "command" });
    let identity = json!({ "event_name": event, "hooks": [hook] });
    let digest = Sha256::digest(identity.to_string().as_bytes());
    digest.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn hooks_that_the_person_trusts_do_not_run_in_a_run() {
    let Some(codex) = codex() else { return };
    let replies = [Reply::command("ls"), Reply::message("no")];
    let server = Server::in_background(Sequence::new(replies)).unwrap();
    let scene = scene(&codex, server.url(), "");
    let home = scene.path("codex");
    let note = |name: &str| format!("echo {name} >> '{}'", scene.path("noted").display());
    let group = |command: &str| json!([{ "hooks": [{ "type": "command", "command": command }] }]);
    let hooks = json!({ "hooks": { "PreToolUse": group(&note("pre")), "Stop": group(&note("stop")) } });
    fs::write(home.join("hooks.json"), hooks.to_string()).unwrap();
    let config = fs::read_to_string(home.join("config.toml")).unwrap();
    let mut config = format!(
        "{config}\n[[hooks.SessionStart]]\n[[hooks.SessionStart.hooks]]\ntype = \"command\"\ncommand = {:?}\n",
        note("start")
    );
    for (file, event, name) in [
        ("hooks.json", "pre_tool_use", "pre"),
        ("hooks.json", "stop", "stop"),
        ("config.toml", "session_start", "start"),
    ] {
        let key = format!("{}:{event}:0:0", home.join(file).display());
        writeln!(config, "[hooks.state.{key:?}]\ntrusted_hash = {:?}", trusted(event, &note(name))).unwrap();
    }
    fs::write(home.join("config.toml"), config).unwrap();

    let run = run(&scene);
    assert_eq!(run["state"], "inconclusive", "{run}");
    assert!(!scene.path("noted").exists(), "{:?}", fs::read_to_string(scene.path("noted")));

    // The person's own use of Codex has them.
    let own = ["exec", "--skip-git-repo-check", "-c", "features.unbounded_connection_retries=false", "go"];
    let output = scene.command(native(&codex)).args(own).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let noted = fs::read_to_string(scene.path("noted")).unwrap();
    assert!(["start", "stop"].iter().all(|name| noted.contains(name)), "{noted}");
}

#[test]
fn a_command_cannot_ask_in_the_hooks_place() {
    let Some(codex) = codex() else { return };
    let replies = [Reply::command("make ask"), Reply::message("no")];
    let server = Server::in_background(Sequence::new(replies)).unwrap();
    // With the network, so that the command gets a socket at all.
    let told = json!({ "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": { "command": "ls forged" },
        "cwd": "/" });
    let makefile = format!(
        "ask:\n\t@for d in ../../../../.orchestrator/runs/*/*/ask-*; do echo '{told}' | '{PROGRAM}' ask \"$$d\"; echo \
         \"answered with $$?\"; done\n"
    );
    let scene = scene(&codex, server.url(), &makefile);
    let run = run(&scene);
    let record = record(&scene, &run);
    let finished = record.iter().find(|activity| activity["type"] == "command-finished").unwrap();
    let output = finished["output"].as_str().unwrap();
    // Whether the sandbox hides the socket or we do not answer: nobody says yes.
    assert!(output.contains("answered with") && !output.contains("answered with 0"), "{output}");
    let decided = record.iter().filter(|activity| activity["type"] == "decided");
    assert_eq!(decided.count(), 1, "{record:?}");
}
