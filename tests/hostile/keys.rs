//! The keys of the model's provider reach the runtime and nobody else.

use orchestrator::rehearsal::{Item, Model, Reply, Request, Server};
use serde_json::json;

use crate::canaries::{files, holds};
use crate::support::{Scene, codex, wait_for};

/// Looks into every environment it can reach, then answers.
struct Prying {
    asked: usize,
}

impl Model for Prying {
    fn reply(&mut self, _: &Request) -> Reply {
        self.asked += 1;
        match self.asked {
            1 => Reply::items(vec![
                Item::command("env"),
                Item::command("cat /proc/self/environ"),
                Item::command("sh -c 'cat /proc/[0-9]*/environ'"),
                Item::command("make test"),
            ]),
            _ => Reply::message(
                json!({ "verdict": "pass", "summary": "s", "ran": [], "failures": [], "gaps": [], "proposed_tests_patch": null }).to_string(),
            ),
        }
    }
}

#[test]
fn the_key_of_the_provider_reaches_the_runtime_alone() {
    let Some(codex) = codex() else { return };
    let server = Server::in_background(Prying { asked: 0 }).unwrap();
    let mut scene = Scene::new().with_codex(&codex, server.url());
    let keys = [
        ("SCRIPT_KEY", "key-of-the-provider"),
        ("OPENAI_API_KEY", "key-of-one-service"),
        ("CODEX_API_KEY", "key-of-one-program"),
    ];
    for (name, value) in keys {
        scene.set(name, value);
    }
    scene.write(
        "triggers.yaml",
        "version: 1\ntriggers:\n  - { name: test, on: post-commit, role: tester, debounce: 0s }\npolicy:\n  roles:\n    tester:\n      \
         sandbox: workspace-write\n      commands: [env, cat, make test]\n      limits: { attempts: 1 }\n",
    );
    scene.write("Makefile", "test:\n\t@env; echo one passed\n");
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.install();
    scene.commit("a", "1", "change");
    scene.wait();
    wait_for("every process to end", || scene.processes().is_empty().then_some(()));

    let requests = server.requests();
    let asked: Vec<_> = requests.iter().filter(|request| request.path.ends_with("/responses")).collect();
    assert!(asked.len() >= 2, "the commands were answered");
    // The key is what the runtime logs in with; the server masks it.
    assert!(asked.iter().all(|request| request.headers.iter().any(|(name, _)| name == "authorization")));
    let mut looked_at = Vec::new();
    files(&scene.top.join(".orchestrator"), &mut looked_at);
    looked_at
        .extend(requests.iter().map(|request| (request.path.clone().into(), request.body.to_string().into_bytes())));
    for name in ["log", "show", "status"] {
        let output = scene.run(&[name]);
        looked_at.push((name.into(), [output.stdout, output.stderr].concat()));
    }
    for (name, value) in keys {
        for (place, bytes) in &looked_at {
            assert!(!holds(bytes, value), "{name} in {}", place.display());
        }
    }
    // They were tried: that is in the record.
    let record = looked_at.iter().find(|(path, _)| path.ends_with("events.jsonl")).unwrap();
    assert!(holds(&record.1, "make test"));
}
