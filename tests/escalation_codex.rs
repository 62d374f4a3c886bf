//! From a line that is not listed to a person's answer and back, with the real Codex on both of its runtimes: nothing is
//! planted, neither the question nor the thread.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::path::Path;

use orchestrator::rehearsal::{Handle, Item, Model, Reply, Request, Server};
use serde_json::{Value, json};
use support::person::{agreed, can_play_a_person};
use support::{Scene, codex, wait_for};

const RUNTIMES: [&str; 2] = ["codex-app-server", "codex-exec"];

const TABLE: &str = "\
version: 1
runtime: RUNTIME
triggers:
  - name: test
    on: post-commit
    role: tester
    debounce: 0s
policy:
  roles:
    tester:
      sandbox: workspace-write
      commands: [ls, cat, make test]
      limits: { wall: 2m, idle: 60s, attempts: 1 }
";

/// What the person is asked about: words that a shell would split, and an attempt to leave.
const LINE: &str = "make prepare 'NAME=a  b' OUT=../../../../planted";

/// Asks for the line, ends without it, and goes on when it is answered: a second time, and then the tests.
struct Persistent;

impl Model for Persistent {
    fn reply(&mut self, request: &Request) -> Reply {
        let items = request.items();
        let told = |words: &str| items.iter().rposition(|item| item.to_string().contains(words));
        let calls = |items: &[Value]| items.iter().filter(|item| item["type"] == "function_call").count();
        let answered = told("a person has answered");
        let done = calls(items.get(answered.unwrap_or(0)..).unwrap_or_default());
        let is_allowed = told("allowed, exactly as it stands here and once").is_some();
        let answer = |verdict: &str, ran: Value| {
            let answer = json!({ "summary": "Prepared by a person's leave.", "verdict": verdict, "ran": ran,
                "failures": [], "gaps": [], "proposed_tests_patch": null });
            Reply::message(answer.to_string())
        };
        match (answered, is_allowed, done) {
            (None, _, 0) => Reply::items(vec![Item::message("It has to be prepared first."), Item::command(LINE)]),
            (Some(_), _, 0) | (Some(_), true, 1) => Reply::command(LINE),
            (Some(_), true, 2) => Reply::command("make test"),
            (Some(_), true, _) => {
                answer("pass", json!([{ "command": "make test", "exit_code": 0, "showed": "one passed" }]))
            }
            _ => answer("inconclusive", json!([])),
        }
    }
}

/// A repository whose tests pass once it is prepared, and a run that waits for leave to do so.
fn waiting(codex: &Path, runtime: &str) -> (Scene, Handle, Value) {
    let server = Server::in_background(Persistent).unwrap();
    let scene = Scene::installed(&TABLE.replace("RUNTIME", runtime)).with_codex(codex, server.url());
    scene.trust();
    scene.write(
        "Makefile",
        "prepare:\n\t@printf '%s\\n' \"$(NAME)\" >> prepared\n\t@touch $(OUT) 2> /dev/null; echo prepared now\n\
         test:\n\t@cat prepared && echo one passed\n",
    );
    scene.write(".gitignore", "prepared\n");
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "one"]);
    assert_eq!(scene.wait(), 3, "{runtime}: {}", scene.ok(&["status"]));
    let run = scene.newest();
    assert_eq!(run["state"], "waiting", "{runtime}: {run}");
    let review: Value = serde_json::from_str(&scene.ok(&["review", "--json"])).unwrap();
    let questions = review["questions"].as_array().unwrap();
    assert_eq!(questions.len(), 1, "{runtime}: {review}");
    let question = questions[0].clone();
    assert_eq!(question["action"]["line"], LINE, "{runtime}");
    assert_eq!(question["argv"], json!(["make", "prepare", "NAME=a  b", "OUT=../../../../planted"]), "{runtime}");
    assert_eq!(question["said"], "It has to be prepared first.", "{runtime}");
    assert!(!checkout(&scene).join("prepared").exists(), "{runtime}: it ran before anybody was asked");
    (scene, server, question)
}

fn checkout(scene: &Scene) -> std::path::PathBuf {
    scene.top.join(".git/orchestrator/worktrees/tester")
}

/// What the model was told of its calls, in the last request.
fn outputs(server: &Handle) -> Vec<String> {
    let asked = server.requests().into_iter().rfind(|request| request.path.ends_with("/responses")).unwrap();
    let items = asked.body["input"].as_array().unwrap().clone();
    items.iter().filter(|item| item["type"] == "function_call_output").map(|item| item["output"].to_string()).collect()
}

fn thread(scene: &Scene, run: &Value) -> Vec<String> {
    let record = scene.read(&format!("{}/events.jsonl", run["directory"].as_str().unwrap()));
    let lines = record.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["activity"].clone());
    lines.filter_map(|activity| activity["thread"].as_str().map(str::to_owned)).collect()
}

#[test]
fn what_a_person_allows_runs_once_in_the_sandbox_and_the_thread_goes_on() {
    if !can_play_a_person() {
        return;
    }
    let Some(codex) = codex() else { return };
    for runtime in RUNTIMES {
        let (scene, server, question) = waiting(&codex, runtime);
        let id = question["id"].as_str().unwrap();
        let (code, said) = agreed(&scene, &["approve", id]);
        assert!(code == 0 && said.contains("allowed once in run"), "{runtime}: {said}");
        assert_eq!(scene.wait(), 0, "{runtime}: {}", scene.ok(&["log", question["run"].as_str().unwrap()]));
        wait_for("every process to end", || scene.processes().is_empty().then_some(()));
        let run = scene.newest();
        assert_eq!(run["state"], "succeeded", "{runtime}: {run}");

        // Once, with exactly these words, and held in by the sandbox all the same: what it wrote outside is gone with it.
        assert_eq!(std::fs::read_to_string(checkout(&scene).join("prepared")).unwrap(), "a  b\n", "{runtime}");
        assert!(!scene.path("planted").exists() && !scene.top.join("planted").exists(), "{runtime}");
        assert!(!scene.top.join(".git/planted").exists(), "{runtime}");
        let told = outputs(&server);
        assert_eq!(told.len(), 4, "{runtime}: the thread holds what was refused before: {told:#?}");
        assert!(told[1].contains("prepared now") && told[3].contains("one passed"), "{runtime}: {told:#?}");
        assert!(!told[0].contains("prepared now") && !told[2].contains("prepared now"), "{runtime}: {told:#?}");
        let threads = thread(&scene, &run);
        assert!(threads.len() == 2 && threads[0] == threads[1], "{runtime}: {threads:?}");
        let log = scene.ok(&["log", run["id"].as_str().unwrap()]);
        for part in ["refused for now: make prepare", &format!("allowed-by-a-person {id}: make prepare")] {
            assert!(log.contains(part), "{runtime}: {part}: {log}");
        }
        assert_eq!(log.matches("refused for now: make prepare").count(), 2, "{runtime}: {log}");
    }
}

#[test]
fn what_a_person_rejects_does_not_run_and_the_model_is_told_why() {
    if !can_play_a_person() {
        return;
    }
    let Some(codex) = codex() else { return };
    for runtime in RUNTIMES {
        let (scene, server, question) = waiting(&codex, runtime);
        scene.ok(&["reject", question["id"].as_str().unwrap(), "--reason", "use the fixture instead"]);
        assert_eq!(scene.wait(), 1, "{runtime}: {}", scene.ok(&["status"]));
        wait_for("every process to end", || scene.processes().is_empty().then_some(()));
        let run = scene.newest();
        assert_eq!(run["state"], "inconclusive", "{runtime}: it was answered, and asks nothing more: {run}");
        assert!(!checkout(&scene).join("prepared").exists(), "{runtime}");
        let requests = server.requests();
        let sent = requests.iter().map(|request| request.body.to_string()).collect::<Vec<_>>();
        assert!(sent.iter().any(|body| body.contains("refused by Ada: use the fixture instead")), "{runtime}");
        // Asked for once more, it is refused with the same words at once.
        let after = sent.last().unwrap().rsplit("a person has answered").next().unwrap();
        assert!(after.contains("rejected-by-a-person") && after.contains("use the fixture instead"), "{after}");
        let threads = thread(&scene, &run);
        assert!(threads.len() == 2 && threads[0] == threads[1], "{runtime}: {threads:?}");
        let shown = scene.ok(&["show", run["id"].as_str().unwrap()]);
        assert!(shown.contains("rejected-by-a-person"), "{runtime}: {shown}");
    }
}
