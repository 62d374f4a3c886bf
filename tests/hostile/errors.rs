//! Planted secrets where things go wrong: in a provider's words, on Codex's standard error, in a line that a person is
//! asked about. None of them is found in a record, a ledger, a log, the inbox or on a screen.

use std::path::PathBuf;

use orchestrator::rehearsal::{Item, Model, Reply, Request, Server};
use orchestrator::runtime::codex_exec::Program;
use serde_json::json;

use crate::canaries::{canaries, files, holds};
use crate::support::{Scene, codex, wait_for};

const TABLE: &str = "\
version: 1
runtime: RUNTIME
triggers:
  - { name: test, on: post-commit, role: tester, debounce: 0s }
policy:
  roles:
    tester: { sandbox: workspace-write, commands: [make test], limits: { attempts: 1, wall: 2m } }
";

/// Fails, is refused by the provider, and then asks for what is not listed, with every secret it knows.
struct Leaky {
    all: String,
    first: String,
    asked: usize,
}

impl Model for Leaky {
    fn reply(&mut self, request: &Request) -> Reply {
        let all = &self.all;
        self.asked += 1;
        match self.asked {
            1 => Reply::Failed { code: "server_error".to_owned(), message: format!("It broke: {all}") },
            2 => Reply::error(400, "bad_request", &format!("Not with {all}")),
            3 => Reply::items(vec![Item::message(format!("I need {all}")), Item::command("make prepare")]),
            // The app server drops what comes in while the reason of a refusal is told.
            _ if !request.body().to_string().contains(&format!("make prepare {}", self.first)) => Reply::items(vec![
                Item::command(format!("make prepare {}", self.first)),
                Item::Call { name: format!("tool_{}", self.first), arguments: json!({ "x": all }) },
                Item::command(format!("cat <<'E'\n{all}\nE")),
            ]),
            _ => Reply::message(
                json!({ "verdict": "inconclusive", "summary": format!("Not without {all}"), "ran": [],
                    "failures": [], "gaps": [], "proposed_tests_patch": null })
                .to_string(),
            ),
        }
    }
}

#[test]
fn what_goes_wrong_tells_no_secret() {
    let Some(codex) = codex() else { return };
    let canaries = canaries();
    let all: String = canaries.iter().flat_map(|canary| [canary.text.as_str(), "\n"]).collect();
    let first = canaries.iter().find(|canary| canary.text.starts_with("ghp_")).map_or("x", |canary| &canary.text);
    assert_ne!(first, "x");
    for runtime in ["codex-app-server", "codex-exec"] {
        let model = Leaky { all: all.clone(), first: first.to_owned(), asked: 0 };
        let server = Server::in_background(model).unwrap();
        let mut scene = Scene::new().with_codex(&codex, server.url());
        let real = Program::find(&[("GIT_ORCHESTRATOR_CODEX".into(), codex.clone().into())].into()).unwrap().path;
        let (noise, wrapper) = (scene.path("noise"), scene.path("bin/loud"));
        std::fs::write(&noise, format!("ERROR {all}")).unwrap();
        let script = format!(
            "#!/bin/sh\ncase $1 in exec|app-server) cat '{}' >&2;; esac\nexec '{}' \"$@\"\n",
            noise.display(),
            real.display()
        );
        Scene::script(&wrapper, &script);
        scene.set("GIT_ORCHESTRATOR_CODEX", wrapper);
        scene.write("triggers.yaml", &TABLE.replace("RUNTIME", runtime));
        scene.git(&["add", "."]);
        scene.git(&["commit", "--quiet", "-m", "start"]);
        scene.install();
        let mut states = Vec::new();
        for round in 0..3 {
            scene.commit("file", &round.to_string(), "another");
            scene.wait();
            states.push(scene.newest()["state"].as_str().unwrap().to_owned());
        }
        assert_eq!(states, ["failed", "failed", "waiting"], "{runtime}: {}", scene.ok(&["log"]));
        wait_for("every process to end", || scene.processes().is_empty().then_some(()));

        // What would tell a secret, nobody is asked about.
        let review: serde_json::Value = serde_json::from_str(&scene.ok(&["review", "--json"])).unwrap();
        let asked: Vec<_> = review["questions"].as_array().unwrap().iter().map(|q| &q["action"]["line"]).collect();
        assert_eq!(asked, ["make prepare"], "{runtime}");
        let record = scene.read(&format!("{}/events.jsonl", scene.newest()["directory"].as_str().unwrap()));
        assert!(record.contains("\"holds-a-secret\""), "{runtime}: {record}");

        let mut looked_at = Vec::new();
        files(&scene.top.join(".orchestrator"), &mut looked_at);
        let stderr = looked_at.iter().find(|(path, _)| path.ends_with("stderr.log"));
        assert!(stderr.is_some_and(|(_, bytes)| holds(bytes, "ERROR ")), "{runtime}: nothing came of the noise");
        let mut screens: Vec<Vec<String>> = ["status", "log", "review", "doctor", "show"]
            .iter()
            .flat_map(|name| [vec![(*name).to_owned()], vec![(*name).to_owned(), "--json".to_owned()]])
            .collect();
        for run in scene.status()["runs"].as_array().unwrap() {
            let id = run["id"].as_str().unwrap();
            for more in
                [["show", id, "--json"], ["log", id, "--json"], ["log", id, "--verbose"], ["review", id, "--json"]]
            {
                screens.push(more.map(str::to_owned).to_vec());
            }
        }
        for screen in screens {
            let words: Vec<&str> = screen.iter().map(String::as_str).collect();
            let output = scene.run(&words);
            looked_at.push((PathBuf::from(screen.join(" ")), [output.stdout, output.stderr].concat()));
        }
        let mut found = Vec::new();
        for canary in &canaries {
            let as_json = serde_json::to_string(&canary.secret).unwrap();
            for (place, bytes) in &looked_at {
                if holds(bytes, &canary.secret) || holds(bytes, as_json.trim_matches('"')) {
                    found.push(format!("{}: `{}` in {}", canary.kind, canary.secret, place.display()));
                }
            }
        }
        assert!(found.is_empty(), "{runtime}: {} places: {:#?}", found.len(), &found[..found.len().min(40)]);
    }
}
