//! What an agent may not do by itself, and what a person says to it: the built binary, a real ledger, a real terminal.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use orchestrator::clock::Timestamp;
use orchestrator::policy::Action;
use orchestrator::rehearsal::{Handle, Item, Model, Reply, Request, Scripted, Server};
use orchestrator::run::{Happening, State};
use orchestrator::store::layout::Layout;
use orchestrator::store::ledger::Ledger;
use orchestrator::store::question::Asked;
use orchestrator::store::{Filter, Store as _, Transition};
use serde_json::{Value, json};
use support::person::{Terminal, agreed, can_play_a_person};
use support::{PROGRAM, Scene, codex, text, wait_for};

/// One attempt is enough: going on after an answer is no new one.
const TABLE: &str = "\
version: 1
runtime: built-in
triggers:
  - name: test
    on: post-commit
    role: tester
    debounce: 0s
policy:
  roles:
    tester:
      sandbox: workspace-write
      commands: [git show, ls, cat, make test]
      limits: { wall: 60s, idle: 20s, attempts: 1 }
";

/// A tester that wants to run these lines before its tests, and gives up if it may not; or goes on without them.
struct Wants {
    lines: Vec<&'static str>,
    gives_up: bool,
}

impl Model for Wants {
    fn reply(&mut self, request: &Request) -> Reply {
        let calls: Vec<&Value> = request.items().iter().filter(|item| item["type"] == "function_call").collect();
        if let Some(line) = self.lines.get(calls.len()) {
            let said = Item::message(format!(
                "The tests need `{line}` \u{1b}[31mfirst. {}",
                "It writes what they read. ".repeat(9)
            ));
            return Reply::items(vec![said, Item::command(*line)]);
        }
        let refused = request.items().iter().any(|item| {
            item["type"] == "function_call_output"
                && item["output"].as_str().is_some_and(|output| output.contains("refused by the policy"))
        });
        if refused && self.gives_up {
            let answer = json!({
                "summary": "It could not be prepared.", "verdict": "inconclusive",
                "ran": [], "failures": [], "gaps": [], "proposed_tests_patch": null,
            });
            return Reply::message(answer.to_string());
        }
        Scripted::new().reply(request)
    }
}

/// A repository in which the tests pass once `make prepare` was run.
fn scene(model: Wants) -> (Scene, Handle) {
    let server = Server::in_background(model).unwrap();
    let mut scene = Scene::installed(TABLE);
    scene.set("GIT_ORCHESTRATOR_REHEARSAL", server.url());
    scene.write("Makefile", "prepare:\n\t@echo ready >> prepared\ntest:\n\t@cat prepared && echo one passed\n");
    scene.write(".gitignore", "prepared\n");
    scene.git(&["add", "."]);
    (scene, server)
}

fn gives_up(lines: &[&'static str]) -> (Scene, Handle) {
    let (scene, server) = scene(Wants { lines: lines.to_vec(), gives_up: true });
    scene.git(&["commit", "--quiet", "-m", "one"]);
    assert_eq!(scene.wait(), 3, "{}", scene.ok(&["status"]));
    assert_eq!(scene.newest()["state"], "waiting", "{}", scene.newest());
    (scene, server)
}

fn questions(scene: &Scene) -> Vec<Value> {
    let review: Value = serde_json::from_str(&scene.ok(&["review", "--json"])).unwrap();
    review["questions"].as_array().unwrap().clone()
}

fn id(question: &Value) -> &str {
    question["id"].as_str().unwrap()
}

#[test]
fn what_a_person_allows_is_done_once_and_the_run_goes_on() {
    if !can_play_a_person() {
        return;
    }
    let (scene, _server) = gives_up(&["make prepare"]);
    let open = questions(&scene);
    let question = &open[0];
    let id = id(question);
    assert_eq!(question["argv"], json!(["make", "prepare"]));
    assert_eq!(question["action"]["line"], "make prepare");
    assert_eq!((&question["role"], &question["standing"]), (&json!("tester"), &json!("open")));
    assert_eq!(question["commit"], scene.git(&["rev-parse", "HEAD"]).trim());
    assert!(question["said"].as_str().unwrap().contains("first."), "{question}");
    let gate = &scene.status()["gates"][0];
    assert_eq!(gate["id"], id);
    assert_eq!((&gate["kind"], &gate["run"]), (&json!("escalation"), &question["run"]));
    assert!(gate["question"].as_str().unwrap().contains("make prepare"), "{gate}");

    // Everything that is needed to decide, harmless and without an escape of its own.
    let page = scene.ok(&["review"]);
    for part in
        [id, "make prepare", "[make] [prepare]", "on main", "writes in its checkout only, no network", "approve"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains('\u{1b}') && page.contains("\\u{1b}[31mfirst"), "{page}");
    // At a terminal of 80 columns no line is longer, but for the action itself and its directory.
    let narrow = Terminal::shell(&scene, &format!("stty cols 80; '{PROGRAM}' review")).end().1;
    assert!(
        narrow.lines().filter(|line| !line.starts_with("  in ")).all(|line| line.trim_end().chars().count() <= 80),
        "{narrow}"
    );
    assert!(scene.read(".orchestrator/INBOX.md").contains("git orchestrator review"));
    assert!(scene.ok(&["status"]).contains("next: git orchestrator review"));

    let (code, said) = agreed(&scene, &["approve", id]);
    assert!(code == 0 && said.contains("allowed once in run"), "{said}");
    assert_eq!(scene.wait(), 0, "{}", scene.ok(&["status"]));
    let run = scene.newest();
    assert_eq!((&run["state"], &run["attempt"]), (&json!("succeeded"), &json!(2)), "{run}");

    let log = scene.ok(&["log", run["id"].as_str().unwrap()]);
    for part in
        ["refused for now: make prepare", &format!("allowed-by-a-person {id}: make prepare"), "waiting", "queued"]
    {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(!log.contains("allowed: make test"), "{log}");
    assert!(scene.ok(&["log", "--verbose", run["id"].as_str().unwrap()]).contains("allowed: make test (make test)"));
    let shown = scene.ok(&["show", run["id"].as_str().unwrap()]);
    for part in ["refused    1 × make prepare", "asked      ", "allowed and done", "begins anew", "A person allowed"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let artifact = scene.read(
        run["artifacts"].as_array().unwrap().iter().find_map(|p| p.as_str().filter(|p| p.ends_with("json"))).unwrap(),
    );
    let artifact: Value = serde_json::from_str(&artifact).unwrap();
    assert_eq!(artifact["evidence"]["allowed_by_a_person"], json!(["make prepare"]));
    assert_eq!((&artifact["evidence"]["unlisted"], &artifact["evidence"]["refused"]), (&json!([]), &json!([])));
    assert!(questions(&scene).is_empty());
    let (code, said) = agreed(&scene, &["approve", id]);
    assert!(code == 3 && said.contains("answered already"), "{said}");
}

#[test]
fn what_a_person_refuses_stays_refused_and_the_agent_is_told_why() {
    if !can_play_a_person() {
        return;
    }
    let (scene, server) = gives_up(&["make prepare"]);
    let open = questions(&scene);
    scene.ok(&["reject", id(&open[0]), "--reason", "use the fixture"]);
    assert_eq!(scene.wait(), 1);
    let run = scene.newest();
    assert_eq!(run["state"], "inconclusive", "asked once, and not again: {run}");
    let prompts: Vec<String> = server.requests().iter().map(|request| request.body.to_string()).collect();
    assert!(prompts.last().unwrap().contains("refused by Ada: use the fixture"), "{:?}", prompts.last());
    let shown = scene.ok(&["show", run["id"].as_str().unwrap()]);
    assert!(shown.contains("rejected-by-a-person") && shown.contains("refused"), "{shown}");
}

#[test]
fn a_run_that_does_without_succeeds_and_tells_what_was_refused() {
    if !can_play_a_person() {
        return;
    }
    let (scene, _server) = scene(Wants { lines: vec!["make prepare", "ls | sh"], gives_up: false });
    scene.write("prepared", "by hand\n");
    scene.git(&["add", "--force", "prepared"]);
    scene.git(&["commit", "--quiet", "-m", "one"]);
    assert_eq!(scene.wait(), 0, "{}", scene.ok(&["status"]));
    assert!(questions(&scene).is_empty());
    assert_eq!(scene.ok(&["review"]), "nothing waits for an answer\n");
    let run = scene.newest();
    let shown: Value = serde_json::from_str(&scene.ok(&["show", "--json"])).unwrap();
    let refused = &shown["runs"][0]["refused"];
    assert_eq!((&refused[0]["verdict"], &refused[1]["verdict"]), (&json!("escalate"), &json!("deny")), "{refused}");
    let page = scene.read(run["artifacts"][0].as_str().unwrap());
    assert!(page.contains("Refused by the policy:** 2 actions"), "{page}");
    assert!(scene.read(".orchestrator/INBOX.md").contains("2 actions refused by the policy"));
}

#[test]
fn only_a_person_at_a_terminal_and_outside_a_run_allows() {
    if !can_play_a_person() {
        return;
    }
    let (scene, _server) = gives_up(&["make prepare"]);
    let open = questions(&scene);
    let id = id(&open[0]);
    // `doctor` says what waits, and what to type.
    let doctor: Value = serde_json::from_slice(&scene.run(&["doctor", "--json"]).stdout).unwrap();
    let waits = doctor["findings"].as_array().unwrap().iter().find(|found| found["code"] == "run-waiting").unwrap();
    let message = waits["message"].as_str().unwrap();
    assert!(message.contains("asks to be allowed `make prepare`; 6 days are left"), "{waits}");
    let run = id.split('.').next().unwrap();
    assert_eq!((&waits["level"], &waits["fix"]), (&json!("warning"), &json!(format!("git orchestrator review {run}"))));
    assert!(text(&scene.run(&["doctor"]).stdout).contains(&format!("git orchestrator review {run}")));
    let refused = |output: std::process::Output, why: &str| {
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(3) && said.contains(why), "{:?} {said}", output.status);
    };
    refused(scene.command("sh").args(["-c", &format!("yes | '{PROGRAM}' approve {id}")]).output().unwrap(), "terminal");
    refused(scene.command("setsid").args([PROGRAM, "approve", id]).output().unwrap(), "terminal");
    for line in [
        format!("yes | '{PROGRAM}' approve {id}"),
        format!("'{PROGRAM}' approve {id} </dev/null"),
        format!("'{PROGRAM}' approve {id} >/dev/null"),
        format!("'{PROGRAM}' approve {id} 2>/dev/null"),
    ] {
        let mut terminal = Terminal::shell(&scene, &line);
        assert_eq!(terminal.word(), None, "{line}: nobody is asked");
        let (code, said) = terminal.end();
        assert!(code == 3 && (said.contains("needs a person") || line.ends_with("2>/dev/null")), "{line}: {said}");
    }
    let mut terminal = Terminal::open(&scene, &["approve", id]);
    assert!(terminal.word().is_some());
    let (code, said) = terminal.types("y");
    assert!(code == 3 && said.contains("nothing was changed"), "{said}");
    // Inside a run: by its environment, and by what stands above it where that was taken out, even at a terminal. There
    // every word is a person's: one that lets something begin, and one that stops it.
    let run = open[0]["run"].as_str().unwrap();
    for command in [
        &["approve", id][..],
        &["reject", id],
        &["retry", run],
        &["cancel", run],
        &["run", "tester"],
        &["pause"],
        &["resume"],
        &["trust", "--revoke"],
    ] {
        refused(scene.command(PROGRAM).args(command).env("GIT_ORCHESTRATOR_RUN", "1").output().unwrap(), "inside");
        let command = command.join(" ");
        let line = format!("env -u GIT_ORCHESTRATOR_RUN '{PROGRAM}' {command}; exit $?");
        let inside = scene.command("sh").args(["-c", &line]).env("GIT_ORCHESTRATOR_RUN", "1").output().unwrap();
        refused(inside, "above it was started with");
    }
    let mut terminal = Terminal::shell(
        &scene,
        &format!("GIT_ORCHESTRATOR_RUN=1 sh -c \"env -u GIT_ORCHESTRATOR_RUN '{PROGRAM}' approve {id}; true\""),
    );
    assert_eq!(terminal.word(), None);
    assert!(terminal.end().1.contains("inside of a run"));
    assert_eq!(questions(&scene)[0]["standing"], "open");
}

#[test]
fn of_two_answers_at_once_one_counts() {
    if !can_play_a_person() {
        return;
    }
    let (scene, _server) = gives_up(&["make prepare"]);
    let open = questions(&scene);
    let arguments = ["approve", id(&open[0])];
    let mut terminals = [Terminal::open(&scene, &arguments), Terminal::open(&scene, &arguments)];
    let words = terminals.each_mut().map(|terminal| terminal.word().unwrap());
    let [one, two] = terminals;
    let (first, second) = std::thread::scope(|threads| {
        let first = threads.spawn(|| one.types(&words[0]));
        let second = threads.spawn(|| two.types(&words[1]));
        (first.join().unwrap(), second.join().unwrap())
    });
    let mut codes = [first.0, second.0];
    codes.sort_unstable();
    assert_eq!(codes, [0, 3], "{} {}", first.1, second.1);
    assert!(first.1.contains("answered already") || second.1.contains("answered already"));
    assert_eq!(scene.wait(), 0);
}

#[test]
fn each_question_is_answered_by_itself_and_a_run_that_is_over_asks_nothing() {
    if !can_play_a_person() {
        return;
    }
    let (scene, _server) = gives_up(&["make prepare", "make clean"]);
    let open = questions(&scene);
    assert_eq!(open.len(), 2);
    let run = open[0]["run"].as_str().unwrap();
    let both = scene.run(&["approve", run]);
    assert_eq!(both.status.code(), Some(2), "{}", text(&both.stderr));
    assert_eq!(scene.run(&["review", &format!("{run}.7")]).status.code(), Some(5));
    assert_eq!(scene.run(&["retry", run]).status.code(), Some(3));
    let said = scene.ok(&["reject", id(&open[1])]);
    assert!(said.contains("waits for more answers"), "{said}");
    assert_eq!(scene.newest()["state"], "waiting");
    // Now it asks one thing: the run's name is enough.
    let mut terminal = Terminal::open(&scene, &["approve", run]);
    let word = terminal.word().unwrap();
    scene.ok(&["cancel", run]);
    let (code, said) = terminal.types(&word);
    assert!(code == 3 && said.contains("its run is cancelled"), "{said}");
    assert_eq!(scene.newest()["state"], "cancelled");
    assert!(questions(&scene).is_empty() && scene.status()["gates"].as_array().unwrap().is_empty());
    assert_eq!(scene.run(&["reject", id(&open[0])]).status.code(), Some(3));
    wait_for("every process to end", || scene.processes().is_empty().then_some(()));
}

/// A run of the real Codex that waits for an answer, over a thread that an earlier run left.
fn waiting_on_a_thread(scene: &Scene) -> String {
    scene.git(&["commit", "--quiet", "-m", "one"]);
    assert_eq!(scene.wait(), 0, "{}", scene.ok(&["status"]));
    let done = scene.newest();
    wait_for("the worker to end", || scene.processes().is_empty().then_some(()));
    scene.ok(&["pause"]);
    scene.ok(&["run", "tester"]);
    let mut ledger = Ledger::open(&scene.top.join(".orchestrator/state/ledger.db")).unwrap();
    let run = ledger.runs(&Filter { states: vec![State::Queued], ..Filter::default() }).unwrap().remove(0);
    let (claim, run) = ledger.claim(run.id, Timestamp::now()).unwrap();
    for happening in [Happening::Prepared, Happening::Answered] {
        ledger.advance(&claim, Transition::of(happening, "")).unwrap();
    }
    // What the turn of an attempt that asks leaves: its checkpoint and the record, here those of the run that is done.
    let (from, to) =
        (scene.top.join(done["directory"].as_str().unwrap()), Layout::new(&scene.top).run(run.id, run.created_at));
    std::fs::create_dir_all(to.join("checkpoints")).unwrap();
    std::fs::copy(from.join("events.jsonl"), to.join("events.jsonl")).unwrap();
    let turn = ledger.steps(done["id"].as_str().unwrap().parse().unwrap()).unwrap();
    let turn = turn.into_iter().find(|step| step.name == "turn").unwrap();
    std::fs::copy(from.join(turn.file.as_ref().unwrap()), to.join(turn.file.as_ref().unwrap())).unwrap();
    ledger.record_step(&claim, &turn).unwrap();
    let action = Action::Command { line: "make prepare".into(), directory: None };
    let asked = Asked { action, rule: "not-listed".into(), why: "w".into(), said: "s".into(), times: 1 };
    ledger.ask(&claim, &[asked], Transition::of(Happening::Questioned, "asks")).unwrap();
    scene.ok(&["resume"]);
    run.id.to_string()
}

#[test]
fn a_run_goes_on_with_its_thread_and_without_it_from_the_beginning() {
    if !can_play_a_person() {
        return;
    }
    let Some(codex) = codex() else { return };
    for has_thread in [true, false] {
        let server = Server::in_background(Scripted::new()).unwrap();
        let scene = Scene::installed(&TABLE.replace("runtime: built-in\n", "")).with_codex(&codex, server.url());
        scene.trust();
        scene.write("Makefile", "test:\n\t@echo one passed\n");
        scene.git(&["add", "."]);
        let run = waiting_on_a_thread(&scene);
        if !has_thread {
            std::fs::remove_dir_all(scene.path("codex").join("sessions")).unwrap();
        }
        let before = server.requests().len();
        let (code, said) = agreed(&scene, &["approve", &run]);
        assert_eq!(code, 0, "{said}");
        assert_eq!(scene.wait(), 0, "{}", scene.ok(&["log", &run]));
        let shown: Value = serde_json::from_str(&scene.ok(&["show", "--json", &run])).unwrap();
        let run = &shown["runs"][0];
        assert_eq!(run["run"]["state"], "succeeded");
        let steps = run["steps"].as_array().unwrap();
        let resumed: Vec<&str> =
            steps.iter().filter(|step| step["name"] == "resume").map(|step| step["note"].as_str().unwrap()).collect();
        let first = server.requests()[before..].iter().find(|r| r.body.is_object()).unwrap().body["input"].to_string();
        assert!(first.contains("allowed, exactly as it stands here and once: `make prepare`"), "{first}");
        if has_thread {
            assert_eq!(resumed, ["goes on with its thread: 1 allowed, 0 refused by a person"]);
            assert!(first.contains("function_call_output"), "the thread holds what was done before: {first}");
        } else {
            assert_eq!(resumed.len(), 2, "{resumed:?}");
            assert!(resumed[1].starts_with("begins anew, since its thread could not be continued"), "{resumed:?}");
            assert!(!first.contains("function_call_output"), "{first}");
        }
    }
}

#[test]
fn a_permission_is_used_up_though_the_worker_is_killed_over_it() {
    if !can_play_a_person() {
        return;
    }
    let (scene, _server) = scene(Wants { lines: vec!["make prepare"], gives_up: true });
    scene.write("triggers.yaml", &TABLE.replace("attempts: 1", "attempts: 2"));
    scene.trust();
    // Goes on for as long as somebody reads what it prints, and dies with the worker.
    scene.write(
        "Makefile",
        "prepare:\n\t@echo ready >> prepared; while echo .; do sleep 0.05; done\ntest:\n\t@cat prepared\n",
    );
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "one"]);
    assert_eq!(scene.wait(), 3);
    let first = questions(&scene).remove(0);
    assert_eq!(agreed(&scene, &["approve", id(&first)]).0, 0);
    let prepared = scene.top.join(".git/orchestrator/worktrees/tester/prepared");
    wait_for("the command to begin", || {
        let run = scene.newest();
        let is_over = !matches!(run["state"].as_str(), Some("queued" | "preparing" | "running"));
        assert!(!is_over || prepared.exists(), "{}", scene.ok(&["log", run["id"].as_str().unwrap()]));
        prepared.exists().then_some(())
    });
    let worker = i32::try_from(scene.status()["worker"]["pid"].as_i64().unwrap()).unwrap();
    let worker = rustix::process::Pid::from_raw(worker).unwrap();
    rustix::process::kill_process(worker, rustix::process::Signal::KILL).unwrap();

    assert_eq!(scene.wait(), 3, "{}", scene.ok(&["status"]));
    let again = questions(&scene).remove(0);
    assert_ne!(id(&again), id(&first), "it is asked about anew");
    let used: Value = serde_json::from_str(&scene.ok(&["review", "--json", id(&first)])).unwrap();
    assert_eq!(used["questions"][0]["standing"], "used");
    assert_eq!(std::fs::read_to_string(prepared).unwrap(), "ready\n", "it ran once");
    assert_eq!(scene.newest()["attempt"], 3);
    scene.ok(&["cancel", again["run"].as_str().unwrap()]);
}
