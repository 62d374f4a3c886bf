//! The main job from end to end: the built binary, real git, the real Codex CLI in its sandbox, and a scripted server
//! where the model would be.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use orchestrator::rehearsal::{Reply, Scripted, Sequence, Server};
use serde_json::{Value, json};

use support::{PROGRAM, Scene, TESTER_ON_COMMIT, codex, text, wait_for};

/// A table for the three roles as the starter has it, with the scripted model's commands.
const CHAIN: &str = "\
version: 1
triggers:
  - name: plan
    on: post-commit
    when: { paths: [\"docs/tasks/**\"] }
    role: planner
  - name: design-check
    on: { run: plan, state: succeeded }
    role: architect
  - name: test
    on: post-commit
    when: { paths: [\"**\", \"!docs/**\", \"!triggers.yaml\"] }
    role: tester
";

#[test]
fn a_commit_becomes_checked_artifacts_through_the_real_codex() {
    let Some(codex) = codex() else { return };
    let server = Server::in_background(Scripted::new()).unwrap();
    let scene = Scene::new().with_codex(&codex, server.url());
    // A hook that was there before, and a working tree that is not clean.
    let old_hook = scene.top.join(".git/hooks/post-commit");
    std::fs::create_dir_all(old_hook.parent().unwrap()).unwrap();
    Scene::script(&old_hook, "#!/bin/sh\necho ran >> ../old-hook\n");
    scene.write("triggers.yaml", CHAIN);
    scene.write("Makefile", "test:\n\t@echo one passed\n");
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.write("untracked", "u");
    scene.install();
    let before = scene.git(&["status", "--porcelain"]);
    assert_eq!(before, "?? untracked\n");

    let (task, said) = scene.commit("docs/tasks/one.md", "# One\n\n- first\n- second\n", "feat: task one");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("planner queued for"), "{said}");
    assert_eq!(scene.wait(), 0, "{}", scene.ok(&["status"]));
    let (code, _) = scene.commit("src/a.txt", "needle in the change\n", "feat: a");
    assert_eq!(scene.wait(), 0, "{}", scene.ok(&["status"]));

    let status = scene.status();
    let runs = status["runs"].as_array().unwrap();
    let roles: Vec<_> = runs.iter().map(|run| run["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["tester", "architect", "planner"]);
    for run in runs {
        assert_eq!(run["state"], "succeeded", "{run}");
        assert_eq!(run["runtime"], "codex");
        assert_eq!(run["rehearsal"], false, "a server of one's own is not a rehearsal");
        assert!(run["usage"]["input_tokens"].as_u64().unwrap() > 0);
        let commit = if run["role"] == "tester" { &code } else { &task };
        let role = run["role"].as_str().unwrap();
        for (path, extension) in run["artifacts"].as_array().unwrap().iter().zip(["md", "json"]) {
            assert_eq!(path, &format!(".orchestrator/artifacts/{}/{role}.{extension}", &commit[..12]));
        }
        let artifact: Value = serde_json::from_str(&scene.read(run["artifacts"][1].as_str().unwrap())).unwrap();
        assert_eq!(artifact["envelope"]["commit"], **commit);
        assert_eq!(artifact["envelope"]["model"], "script-1", "the person's own model applies");
        assert_eq!(artifact["conclusion"]["outcome"], "conclusive");
    }
    assert_eq!(runs[1]["caused_by"], runs[2]["id"]);

    // The server was asked with the diff and with a strict schema, and no request named another one.
    let requests = server.requests();
    let bodies: Vec<_> = requests.iter().filter(|request| request.path.ends_with("/responses")).collect();
    assert!(bodies.iter().any(|request| request.body.to_string().contains("+needle in the change")));
    for request in &bodies {
        let format = &request.body["text"]["format"];
        assert_eq!((&format["type"], &format["strict"]), (&Value::from("json_schema"), &Value::from(true)));
        assert_eq!(format["schema"]["additionalProperties"], false);
        assert_eq!(request.body["model"], "script-1", "the person's own model applies");
    }
    // Handed over: the architect saw the plan.
    assert!(bodies.iter().any(|request| {
        let text = request.body.to_string();
        text.contains("role: architect") && text.contains("acceptance")
    }));

    // The user's side is as it was, and the old hook ran each time.
    assert_eq!(scene.git(&["status", "--porcelain"]), before);
    assert_eq!(scene.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main\n");
    assert_eq!(std::fs::read_to_string(scene.path("old-hook")).unwrap().lines().count(), 2 + 1);
    assert_eq!(scene.git(&["stash", "list"]), "");
    wait_for("every process to end", || scene.processes().is_empty().then_some(()));
}

#[test]
fn an_open_question_stops_the_chain_and_an_edited_checkout_is_no_pass() {
    let Some(codex) = codex() else { return };
    let server = Server::in_background(Scripted::new()).unwrap();
    let scene = Scene::new().with_codex(&codex, server.url());
    scene.write("triggers.yaml", CHAIN);
    scene.write("Makefile", "test:\n\t@echo easier > src/a.txt; echo > src/left.txt; echo one passed\n");
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.install();
    let told = |role: &str| {
        let status = scene.status();
        let runs: Vec<Value> = status["runs"].as_array().unwrap().clone();
        assert_eq!(runs[0]["role"], role, "nothing follows it: {status}");
        assert_eq!(runs[0]["state"], "inconclusive", "{status}");
        let artifact = scene.read(runs[0]["artifacts"][1].as_str().unwrap());
        serde_json::from_str::<Value>(&artifact).unwrap()
    };
    let because = |artifact: &Value| artifact["conclusion"]["reasons"].to_string();

    scene.commit("docs/tasks/one.md", "# One\n\n- first\n\nQuestion: round up or down?\n", "feat: task one");
    scene.wait();
    let plan = told("planner");
    assert!(because(&plan).contains("a question is open: round up or down?"), "{plan}");
    assert_eq!(scene.status()["runs"].as_array().unwrap().len(), 1, "no architect looks at it");

    scene.commit("src/a.txt", "hard\n", "feat: a");
    scene.wait();
    let report = told("tester");
    assert_eq!(report["answer"]["verdict"], "pass");
    assert!(
        because(&report).contains("the checkout did not hold the commit any more: `src/a.txt` changed"),
        "{report}"
    );
    assert_eq!(report["evidence"]["new_in_checkout"], serde_json::json!(["src/left.txt"]));
}

#[test]
fn git_returns_through_a_pipe_while_the_worker_still_works() {
    let Some(codex) = codex() else { return };
    let server = Server::in_background(Sequence::new([Reply::Silence])).unwrap();
    let table = TESTER_ON_COMMIT.replace("post-applypatch]", "post-applypatch, pre-push]");
    let scene = Scene::new().with_codex(&codex, server.url());
    scene.write("triggers.yaml", &table);
    scene.install();
    scene.git_in(&scene.path(""), &["init", "--quiet", "--bare", "other.git"]);
    scene.git(&["remote", "add", "origin", "../other.git"]);
    scene.write("a", "1");
    scene.git(&["add", "."]);

    // The reader of the pipe comes to the end only when nobody holds the pipe open any more.
    let through_pipe = |arguments: &[&str]| {
        let mut child =
            scene.command("git").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut out, mut err) = (String::new(), String::new());
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(child.wait().unwrap().success(), "{err}");
        err
    };
    assert!(through_pipe(&["commit", "-m", "one"]).contains("tester queued"));
    let run = wait_for("the model to be asked", || {
        let run = scene.newest();
        (run["state"] == "running" && !server.requests().is_empty()).then_some(run)
    });
    // The commit is handled already: the push itself queues nothing more, but it has to return as well.
    through_pipe(&["push", "--quiet", "origin", "main"]);
    assert_eq!(scene.newest()["state"], "running");
    assert_eq!(scene.status()["worker"]["running"], true);

    scene.ok(&["cancel", run["id"].as_str().unwrap()]);
    assert_eq!(scene.wait(), 1);
    assert_eq!(scene.newest()["state"], "cancelled");
    wait_for("every process to end", || scene.processes().is_empty().then_some(()));
}

#[test]
fn a_push_returns_while_the_worker_of_the_other_side_works() {
    let Some(codex) = codex() else { return };
    let server = Server::in_background(Sequence::new([Reply::Silence])).unwrap();
    let scene = Scene::new().with_codex(&codex, server.url());
    let other = scene.path("other.git");
    scene.git_in(&scene.path(""), &["init", "--quiet", "--bare", "other.git"]);
    // In a bare repository the table lies in the git directory.
    let table = TESTER_ON_COMMIT.replace("[post-commit, post-merge, post-rewrite, post-applypatch]", "post-receive");
    scene.write("../other.git/triggers.yaml", &table);
    let there = |arguments: &[&str]| {
        let output = scene.command(PROGRAM).current_dir(&other).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let said = scene.at_terminal(&other, &["install"], support::terminal::yes);
    assert_eq!(said.code, 0, "{}", said.text);
    let status = || serde_json::from_str::<Value>(&there(&["status", "--json"])).unwrap();
    let (commit, _) = scene.commit("a", "1", "one");

    // Comes to an end only when nobody holds a pipe open any more.
    let mut push = scene.command("git");
    let output = push.args(["push", "../other.git", "main"]).stdin(Stdio::piped()).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("remote: git-orchestrator: tester queued for {}", &commit[..7])), "{said}");
    let run = wait_for("the model to be asked", || {
        let run = status()["runs"][0].clone();
        (run["state"] == "running" && !server.requests().is_empty()).then_some(run)
    });
    assert_eq!((&run["commit"], &run["branch"]), (&Value::from(commit), &Value::from("main")));
    assert_eq!(status()["worker"]["running"], true);

    there(&["cancel", run["id"].as_str().unwrap()]);
    wait_for("every process to end", || scene.processes().is_empty().then_some(()));
    assert_eq!(status()["runs"][0]["state"], "cancelled");
}

#[test]
fn a_worker_that_is_killed_takes_codex_along_and_the_next_command_goes_on() {
    let Some(codex) = codex() else { return };
    let silent = Server::in_background(Sequence::new([Reply::Silence])).unwrap();
    let table = TESTER_ON_COMMIT.replace("attempts: 1", "attempts: 2");
    let scene = Scene::new().with_codex(&codex, silent.url());
    scene.write("triggers.yaml", &table);
    scene.install();
    scene.commit("Makefile", "test:\n\t@echo ok\n", "one");
    wait_for("the model to be asked", || (!silent.requests().is_empty()).then_some(()));
    let pid = scene.status()["worker"]["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_for("Codex to die with its worker", || scene.processes().is_empty().then_some(()));

    let server = Server::in_background(Scripted::new()).unwrap();
    scene.provider(server.url());
    assert_eq!(scene.wait(), 0, "{}", scene.ok(&["log"]));
    let run = scene.newest();
    assert_eq!((&run["state"], &run["attempt"]), (&Value::from("succeeded"), &Value::from(2)));
    assert_eq!(scene.status()["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn a_hundred_events_at_once_are_a_hundred_runs_and_one_worker() {
    let scene =
        Scene::installed(&TESTER_ON_COMMIT.replace("    role: tester\n", "    role: tester\n    coalesce: none\n"));
    scene.commit("a", "1", "one");
    scene.wait();
    // The same hook for a hundred different commits, all at the same time.
    let mut children = Vec::new();
    for n in 0..100 {
        let commit = scene.git(&["commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", &n.to_string()]);
        let directory = scene.path(&format!("w{n}"));
        scene.git(&["worktree", "add", "--quiet", "--detach", directory.to_str().unwrap(), commit.trim()]);
        children.push((directory, commit));
    }
    scene.ok(&["pause"]);
    let children: Vec<_> = children
        .into_iter()
        .map(|(directory, _)| {
            scene
                .command(PROGRAM)
                .current_dir(&directory)
                .args(["hook", "post-commit"])
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert!(text(&output.stderr).contains("tester queued"), "{}", text(&output.stderr));
    }
    assert_eq!(scene.status()["counts"]["queued"], 100);
    scene.ok(&["resume"]);
    scene.wait();
    let status: Value = serde_json::from_str(&scene.ok(&["status", "--json", "--limit", "1000"])).unwrap();
    let runs = status["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 101);
    // One worker, one run at a time, in the order they were queued.
    let started: Vec<_> = runs.iter().rev().map(|run| run["started_at"].as_str().unwrap()).collect();
    assert!(started.is_sorted());
    for pair in runs.iter().rev().collect::<Vec<_>>().windows(2) {
        assert!(pair[0]["finished_at"].as_str().unwrap() <= pair[1]["started_at"].as_str().unwrap());
    }
}

#[test]
fn no_commit_is_left_lying_when_the_worker_is_about_to_end() {
    // No Codex: each run fails within milliseconds, so that workers end all the time while commits come in.
    let scene =
        Scene::installed(&TESTER_ON_COMMIT.replace("    role: tester\n", "    role: tester\n    coalesce: commit\n"));
    for n in 0..40_u64 {
        scene.commit("a", &n.to_string(), &format!("commit {n}"));
        if n % 3 == 0 {
            std::thread::park_timeout(Duration::from_millis(n % 7));
        }
    }
    // Nothing but the hooks may have to start a worker: the ledger is looked at without a command of ours.
    let ledger = scene.top.join(".orchestrator/state/ledger.db");
    wait_for("forty failed runs", || {
        let connection = rusqlite::Connection::open(&ledger).ok()?;
        let n: i64 =
            connection.query_row("SELECT count(*) FROM runs WHERE state = 'failed'", [], |row| row.get(0)).ok()?;
        (n == 40).then_some(())
    });
}

#[test]
fn commits_that_match_nothing_in_between_hide_nothing_from_the_run() {
    let Some(codex) = codex() else { return };
    let server = Server::in_background(Scripted::new()).unwrap();
    let table = TESTER_ON_COMMIT.replace("    role: tester\n", "    when: { paths: [\"src/**\"] }\n    role: tester\n");
    let scene = Scene::new().with_codex(&codex, server.url());
    scene.write("triggers.yaml", &table);
    scene.write("Makefile", "test:\n\t@echo one passed\n");
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.install();
    scene.ok(&["pause"]);
    scene.commit("src/a", "the first needle\n", "one");
    scene.commit("docs/d", "nothing to see\n", "two");
    scene.commit("src/b", "the second needle\n", "three");
    scene.git(&["commit", "--quiet", "--amend", "-m", "three, amended"]);
    scene.ok(&["resume"]);
    assert_eq!(scene.wait(), 0, "{}", scene.ok(&["status"]));
    assert_eq!(scene.status()["runs"].as_array().unwrap().len(), 1);
    let asked = server.requests().iter().map(|request| request.body.to_string()).collect::<String>();
    assert!(asked.contains("+the first needle") && asked.contains("+the second needle"));
}

#[test]
fn state_that_a_commit_brings_along_is_not_taken_for_ours() {
    let scene = Scene::installed(TESTER_ON_COMMIT);
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.wait();
    let precious = scene.path("precious/2001-01-01");
    std::fs::create_dir_all(&precious).unwrap();
    // What a colleague's branch could hold: a link where our records are, and a ledger of their own.
    scene.git(&["checkout", "--quiet", "-b", "evil"]);
    scene.git(&["rm", "--quiet", "-r", "--cached", "--ignore-unmatch", ".orchestrator"]);
    let blob = |content: &str| {
        let file = scene.path("content");
        orchestrator::files::write(&file, content.as_bytes()).unwrap();
        scene.git(&["hash-object", "-w", file.to_str().unwrap()]).trim().to_owned()
    };
    let link = blob(scene.path("precious").to_str().unwrap());
    let spool = blob("{}");
    for entry in
        [format!("120000,{link},.orchestrator/runs"), format!("100644,{spool},.orchestrator/state/spool/x.json")]
    {
        scene.git(&["update-index", "--add", "--cacheinfo", &entry]);
    }
    let tree = scene.git(&["write-tree"]);
    let commit = scene.git(&["commit-tree", tree.trim(), "-p", "main", "-m", "evil"]);
    scene.git(&["reset", "--quiet", "--hard", "main"]);
    scene.git(&["checkout", "--quiet", "main"]);
    std::fs::remove_dir_all(scene.top.join(".orchestrator/runs")).unwrap();
    let merged = scene.command("git").args(["merge", commit.trim()]).output().unwrap();
    assert!(merged.status.success(), "{}", text(&merged.stderr));
    assert!(text(&merged.stderr).contains("is a link, not a directory of ours"), "{}", text(&merged.stderr));
    // With the link out of the way, what else the commit brought is refused by name.
    std::fs::remove_file(scene.top.join(".orchestrator/runs")).unwrap();
    let status = scene.run(&["status"]);
    assert_eq!(status.status.code(), Some(3), "{}", text(&status.stdout));
    assert!(text(&status.stderr).contains("a commit brought .orchestrator/"), "{}", text(&status.stderr));
    assert!(precious.is_dir());
}

#[test]
fn artifacts_are_tracked_where_the_table_says_so() {
    let Some(codex) = codex() else { return };
    let server = Server::in_background(Scripted::new()).unwrap();
    let scene = Scene::new().with_codex(&codex, server.url());
    scene.write("triggers.yaml", &format!("{TESTER_ON_COMMIT}artifacts: {{ track: true }}\n"));
    scene.write("Makefile", "test:\n\t@echo one passed\n");
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.install();
    scene.commit("a", "1", "one");
    assert_eq!(scene.wait(), 0, "{}", scene.ok(&["status"]));
    let seen = scene.git(&["status", "--porcelain", "--untracked-files=all"]);
    let mut seen: Vec<_> = seen.lines().map(|line| line.rsplit('/').next().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, [".gitignore", "tester.json", "tester.md"]);
}

#[test]
fn tests_that_print_permission_denied_end_in_a_conclusive_fail() {
    let Some(codex) = codex() else { return };
    let answer = json!({
        "verdict": "fail",
        "summary": "The suite fails.",
        "ran": [{"command": "make test", "exit_code": 2, "showed": "it was denied"}],
        "failures": [{"file": "Makefile", "line": 2, "quote": "@echo Permission denied; exit 1", "test": "test",
            "why": "it ends with 1"}],
        "gaps": [],
        "proposed_tests_patch": null,
    });
    let replies = [Reply::command("make test"), Reply::message(answer.to_string())];
    let server = Server::in_background(Sequence::new(replies)).unwrap();
    let scene = Scene::new().with_codex(&codex, server.url());
    scene.write("triggers.yaml", TESTER_ON_COMMIT);
    scene.install();
    scene.commit("Makefile", "test:\n\t@echo Permission denied; exit 1\n", "feat: a suite");
    assert_eq!(scene.wait(), 0, "{}", scene.ok(&["status"]));
    let run = scene.newest();
    assert_eq!(run["state"], "succeeded", "{run}");
    let artifact: Value = serde_json::from_str(&scene.read(run["artifacts"][1].as_str().unwrap())).unwrap();
    assert_eq!(artifact["conclusion"]["outcome"], "conclusive", "{artifact}");
    assert_eq!(artifact["answer"]["verdict"], "fail");
    assert_eq!(artifact["answer"]["ran"][0]["exit_code"], 2);
    let evidence = &artifact["evidence"];
    assert_eq!(evidence["claims_unproven"], json!([]), "{evidence}");
    let command = &evidence["commands"][0];
    assert_eq!((&command["command"], &command["exit_code"]), (&json!("make test"), &json!(2)), "{evidence}");
}
