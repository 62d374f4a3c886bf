//! One job for each thing that happened, with real git, the installed hooks and a living worker.

#![expect(clippy::unwrap_used, reason = "what a test relies on and does not get ends the test")]

mod support;

use std::fs;

use orchestrator::rehearsal::{Model, Reply, Request, Scripted, Server};
use serde_json::Value;
use support::{PROGRAM, Scene, TESTER_ON_COMMIT, codex, text, wait_for};

/// The tester on every event, with this quiet time. Nothing begins before it is over.
fn table(debounce: &str) -> String {
    TESTER_ON_COMMIT.replace("debounce: 0s", &format!("debounce: {debounce}"))
}

/// So long that nothing begins while a test looks.
const LONG: &str = "10m";

/// A repository with one commit, before the hooks were there.
fn scene(table: &str) -> Scene {
    let scene = Scene::new();
    scene.write("triggers.yaml", table);
    scene.write("a", "0\n");
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.install();
    scene
}

fn runs(scene: &Scene) -> Vec<Value> {
    scene.status()["runs"].as_array().unwrap().clone()
}

fn head(scene: &Scene) -> String {
    scene.git(&["rev-parse", "HEAD"]).trim().to_owned()
}

/// The only run, which waits and is for the commit that HEAD is at.
#[track_caller]
fn one_run_for_head(scene: &Scene, what: &str) -> Value {
    let runs = runs(scene);
    assert_eq!(runs.len(), 1, "{what}: {runs:#?}");
    assert_eq!((&runs[0]["state"], &runs[0]["commit"]), (&Value::from("queued"), &Value::from(head(scene))), "{what}");
    runs[0].clone()
}

/// Commits `count` files on a branch `topic` that begins at `main`, past the hooks.
fn topic(scene: &Scene, count: usize) {
    scene.git(&["switch", "--quiet", "-c", "topic"]);
    for n in 0..count {
        scene.write(&format!("topic/{n}"), "x\n");
        scene.git(&["add", "."]);
        scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", &format!("topic {n}")]);
    }
}

#[test]
fn quick_commits_and_an_amend_are_one_run_and_the_worker_waits_for_quiet() {
    let scene = scene(&table(LONG));
    for n in 1..=5 {
        scene.commit("a", &format!("{n}\n"), "quick");
    }
    one_run_for_head(&scene, "five quick commits");
    scene.git(&["commit", "--quiet", "--amend", "-m", "better"]);
    let run = one_run_for_head(&scene, "and an amend");
    assert_eq!(run["attempt"], 0, "nothing has begun");
    assert_eq!(scene.status()["worker"]["running"], true, "it waits for quiet");
    let shown = scene.ok(&["status"]);
    assert!(shown.contains("queued") && shown.contains("took up"), "{shown}");
}

#[test]
fn a_rebase_of_a_hundred_is_one_run_with_either_backend() {
    for backend in ["--merge", "--apply"] {
        let scene = scene(&table(LONG));
        topic(&scene, 100);
        scene.git(&["switch", "--quiet", "main"]);
        scene.write("b", "b\n");
        scene.git(&["add", "."]);
        scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", "main goes on"]);
        scene.git(&["switch", "--quiet", "topic"]);
        scene.git(&["rebase", "--quiet", backend, "main"]);
        one_run_for_head(&scene, backend);
    }
}

#[test]
fn a_series_of_patches_and_a_pull_are_one_run_each() {
    let scene = scene(&table(LONG));
    topic(&scene, 20);
    scene.git(&["format-patch", "--quiet", "-o", "../patches", "main..topic"]);
    scene.git(&["switch", "--quiet", "main"]);
    let mut patches: Vec<_> = fs::read_dir(scene.path("patches")).unwrap().map(|entry| entry.unwrap().path()).collect();
    patches.sort();
    let mut am = scene.command("git");
    assert!(am.args(["am", "--quiet"]).args(&patches).output().unwrap().status.success());
    one_run_for_head(&scene, "am of 20");

    let scene = self::scene(&table(LONG));
    scene.git(&["clone", "--quiet", "--bare", ".", "../remote.git"]);
    scene.git(&["remote", "add", "origin", "../remote.git"]);
    topic(&scene, 50);
    scene.git(&["-c", "core.hooksPath=/dev/null", "push", "--quiet", "origin", "topic:main"]);
    scene.git(&["switch", "--quiet", "main"]);
    scene.git(&["pull", "--quiet", "--ff-only", "origin", "main"]);
    one_run_for_head(&scene, "a pull of 50");
}

#[test]
fn while_a_series_of_picks_is_stopped_its_runs_wait_and_say_so() {
    let scene = scene(&table("0s"));
    topic(&scene, 1);
    for (file, content) in [("a", "theirs\n"), ("late", "x\n")] {
        scene.write(file, content);
        scene.git(&["add", "."]);
        scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", file]);
    }
    scene.git(&["switch", "--quiet", "main"]);
    scene.write("a", "ours\n");
    scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-am", "ours"]);
    let stopped = scene.command("git").args(["cherry-pick", "main..topic"]).output().unwrap();
    assert!(!stopped.status.success(), "the second of three conflicts");

    let reason = format!("waits for the end of the cherry-pick in {}", scene.top.display());
    wait_for("the run to say what it waits for", || {
        let runs = runs(&scene);
        (runs.len() == 1 && runs[0]["state"] == "queued" && runs[0]["reason"] == *reason).then_some(())
    });
    let waited = scene.run(&["wait", "--timeout", "1s"]);
    assert_eq!(waited.status.code(), Some(124));
    assert!(text(&waited.stderr).contains(&reason), "{}", text(&waited.stderr));
    let shown = scene.ok(&["status"]);
    assert!(shown.contains(&reason), "{shown}");
    let told = scene.ok(&["log"]);
    assert!(told.matches(&reason).count() <= 1, "once:\n{told}");

    // What a person asks for does not wait, nor what happened in another worktree.
    let by_hand = scene.run(&["run", "tester", "--wait"]);
    assert_eq!(by_hand.status.code(), Some(1), "without a Codex it fails, but it runs: {}", text(&by_hand.stderr));
    let beside = scene.path("beside");
    scene.git(&["worktree", "add", "--quiet", "-b", "beside", beside.to_str().unwrap(), "topic"]);
    scene.git_in(&beside, &["commit", "--quiet", "--allow-empty", "-m", "beside"]);
    wait_for("the other worktree's run to end", || {
        runs(&scene).iter().any(|run| run["branch"] == "beside" && run["state"] == "failed").then_some(())
    });
    assert_eq!(runs(&scene).iter().filter(|run| run["state"] == "queued").count(), 1);

    scene.write("a", "both\n");
    scene.git(&["add", "a"]);
    scene.git(&["-c", "core.editor=true", "cherry-pick", "--continue"]);
    wait_for("the run to end", || runs(&scene).iter().all(|run| run["state"] == "failed").then_some(()));
    let picked = runs(&scene);
    let of_main: Vec<_> = picked.iter().filter(|run| run["branch"] == "main" && run["trigger"] == "test").collect();
    assert_eq!(of_main.len(), 1, "three picks and a conflict are one run: {picked:#?}");
    assert_eq!(of_main[0]["commit"], *head(&scene));
}

#[test]
fn a_worktree_that_is_gone_does_not_wait() {
    let scene = scene(&table("0s"));
    scene.ok(&["pause"]);
    let beside = scene.path("beside");
    scene.git(&["worktree", "add", "--quiet", "-b", "beside", beside.to_str().unwrap()]);
    scene.git_in(&beside, &["commit", "--quiet", "--allow-empty", "-m", "beside"]);
    scene.git_in(&beside, &["bisect", "start"]);
    scene.ok(&["resume"]);
    wait_for("it to wait", || {
        runs(&scene)[0]["reason"].as_str().unwrap().starts_with("waits for the end of the bisect").then_some(())
    });
    scene.git(&["worktree", "remove", "--force", beside.to_str().unwrap()]);
    wait_for("the run to end", || (runs(&scene)[0]["state"] == "failed").then_some(()));
}

/// Says nothing to the first so many questions, and plays the good model from then on.
struct SilentFor(usize);

impl Model for SilentFor {
    fn reply(&mut self, request: &Request) -> Reply {
        if self.0 == 0 {
            return Scripted::new().reply(request);
        }
        self.0 -= 1;
        Reply::Silence
    }
}

/// A repository with the real Codex, asking this model.
fn with_codex(table: &str, model: impl Model + 'static) -> Option<(Scene, orchestrator::rehearsal::Handle)> {
    let codex = codex()?;
    let server = Server::in_background(model).unwrap();
    let scene = Scene::new().with_codex(&codex, server.url());
    scene.write("triggers.yaml", table);
    scene.write("Makefile", "test:\n\t@echo one passed\n");
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.install();
    Some((scene, server))
}

#[test]
fn a_run_under_way_for_a_replaced_commit_is_ended_and_one_that_is_still_in_the_branch_goes_on() {
    let Some((scene, server)) = with_codex(&table("0s"), SilentFor(1)) else { return };
    scene.commit("src/a", "1\n", "one");
    wait_for("the model to be asked", || (!server.requests().is_empty()).then_some(()));
    let first = runs(&scene)[0].clone();
    // Another commit on top replaces nothing.
    scene.commit("src/a", "2\n", "two");
    wait_for("the second run to be queued", || (runs(&scene).len() == 2).then_some(()));
    let status = runs(&scene);
    assert_eq!((&status[0]["state"], &status[1]["state"]), (&Value::from("queued"), &Value::from("running")));

    // The commit under way is thrown away.
    scene.git(&["reset", "--quiet", "--hard", "HEAD~2"]);
    scene.commit("src/a", "3\n", "instead");
    assert_eq!(scene.run(&["wait", first["id"].as_str().unwrap(), "--timeout", "60s"]).status.code(), Some(1));
    scene.run(&["wait", "--timeout", "120s"]);
    let status = runs(&scene);
    assert_eq!(status.len(), 2, "{status:#?}");
    let (new, old) = (&status[0], &status[1]);
    let short = |value: &Value| value.as_str().unwrap()[..7].to_owned();
    let id = new["id"].as_str().unwrap();
    let expected = format!(
        "{} replaced {}: run {} takes its place",
        short(&new["commit"]),
        short(&old["commit"]),
        &id[id.len() - 8..]
    );
    assert_eq!((&old["state"], &old["reason"]), (&Value::from("superseded"), &Value::from(expected)));
    assert_eq!(old["artifacts"], Value::Array(Vec::new()), "nothing of it is published");
    assert_eq!((&new["state"], &new["commit"]), (&Value::from("succeeded"), &Value::from(head(&scene))), "{new}");
    wait_for("every process to end", || scene.processes().is_empty().then_some(()));
}

#[test]
fn an_amend_ends_the_run_of_a_row_that_has_one_for_each_commit() {
    let table = table("0s").replace("role: tester\n    debounce", "role: tester\n    coalesce: commit\n    debounce");
    let Some((scene, server)) = with_codex(&table, SilentFor(1)) else { return };
    scene.commit("src/a", "1\n", "one");
    wait_for("the model to be asked", || (!server.requests().is_empty()).then_some(()));
    scene.git(&["commit", "--quiet", "--amend", "-m", "one, better"]);
    scene.run(&["wait", "--timeout", "120s"]);
    let states: Vec<_> = runs(&scene).iter().map(|run| run["state"].as_str().unwrap().to_owned()).collect();
    assert_eq!(states, ["succeeded", "superseded"]);
}

#[test]
fn a_push_that_did_not_arrive_and_whose_run_failed_is_asked_again() {
    let scene =
        scene(&TESTER_ON_COMMIT.replace("[post-commit, post-merge, post-rewrite, post-applypatch]", "pre-push"));
    scene.git(&["init", "--quiet", "--bare", "../remote.git"]);
    scene.git(&["remote", "add", "origin", "../remote.git"]);
    let refuses = scene.path("remote.git").join("hooks/pre-receive");
    fs::create_dir_all(refuses.parent().unwrap()).unwrap();
    Scene::script(&refuses, "#!/bin/sh\nexit 1\n");
    for count in 1..=2 {
        let pushed = scene.command("git").args(["push", "--quiet", "origin", "main"]).output().unwrap();
        assert!(!pushed.status.success() && text(&pushed.stderr).contains("tester queued"), "{}", text(&pushed.stderr));
        wait_for("a run for each push, without a Codex", || {
            let runs = runs(&scene);
            (runs.len() == count && runs.iter().all(|run| run["state"] == "failed")).then_some(())
        });
    }
}

#[test]
fn a_push_of_what_was_handled_makes_no_run_whatever_lies_between() {
    let table = table("0s")
        .replace("post-applypatch]", "post-applypatch, pre-push]")
        .replace("    role: tester\n", "    when: { paths: [\"src/**\"] }\n    role: tester\n");
    let Some((scene, server)) = with_codex(&table, Scripted::new()) else { return };
    scene.git(&["init", "--quiet", "--bare", "../remote.git"]);
    scene.git(&["remote", "add", "origin", "../remote.git"]);
    for (path, content) in [("src/a", "1\n"), ("docs/d", "1\n"), ("src/a", "2\n"), ("docs/d", "2\n")] {
        scene.commit(path, content, path);
        scene.run(&["wait", "--timeout", "120s"]);
    }
    assert_eq!(runs(&scene).iter().filter(|run| run["state"] == "succeeded").count(), 2);
    let asked = server.requests().len();
    scene.git(&["push", "--quiet", "origin", "main"]);
    wait_for("the push's run to end", || {
        let newest = scene.newest();
        (runs(&scene).len() == 3 && newest["state"] == "superseded").then_some(())
    });
    let reason = scene.newest()["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("every commit of it was handled already: runs "), "{reason}");
    assert_eq!(server.requests().len(), asked, "the model was not asked");
    // A commit that nobody has looked at makes the next push a job.
    scene.write("src/b", "b\n");
    scene.git(&["add", "."]);
    scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", "past the hooks"]);
    scene.git(&["push", "--quiet", "origin", "main"]);
    assert_eq!(scene.wait(), 0, "{:#?}", runs(&scene));
    assert_eq!((runs(&scene).len(), &scene.newest()["commit"]), (4, &Value::from(head(&scene))));
}

/// How many bytes the hook of the last commit reads and writes, files and standard streams together.
#[cfg(target_os = "linux")]
fn hook_traffic(scene: &Scene) -> (u64, u64) {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    // While a worker lives, a hook also reads who its ancestors are.
    wait_for("the worker to end", || scene.processes().is_empty().then_some(()));
    let mut child = scene.command(PROGRAM).args(["hook", "post-commit"]).spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    // What a process did can be read until somebody asks how it ended.
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let counted = fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap();
    assert!(child.wait().unwrap().success());
    let number = |name: &str| {
        let line = counted.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    (number("rchar:"), number("wchar:"))
}

#[test]
fn a_thousand_commits_while_nothing_runs_are_one_run_for_each_row() {
    // What is counted for each commit shows with fewer of them too, in a quarter of the time.
    let commits: u64 = if std::env::var_os("CI").is_some_and(|ci| ci == "true") { 1_000 } else { 250 };
    let second = "  - name: plan\n    on: [post-commit, post-rewrite]\n    role: tester\npolicy:";
    let scene = scene(&table("0s").replace("policy:", second));
    scene.ok(&["pause"]);
    scene.git(&["commit", "--quiet", "--allow-empty", "-m", "commit"]);
    #[cfg(target_os = "linux")]
    let before = hook_traffic(&scene);
    for _ in 1..commits {
        scene.git(&["commit", "--quiet", "--allow-empty", "-m", "commit"]);
    }
    // The work of the last hook is that of the first: it depends neither on the history nor on what waits.
    #[cfg(target_os = "linux")]
    {
        let after = hook_traffic(&scene);
        assert!(after.0.abs_diff(before.0) <= 256 && after.1.abs_diff(before.1) <= 256, "{before:?} {after:?}");
    }
    let status = scene.status();
    assert_eq!(status["counts"], serde_json::json!({ "queued": 2 }));
    for run in status["runs"].as_array().unwrap() {
        assert_eq!(run["commit"], *head(&scene));
    }
    wait_for("the workers to end", || scene.processes().is_empty().then_some(()));
    let state = scene.top.join(".orchestrator/state");
    assert_eq!(fs::read_dir(state.join("spool")).unwrap().count(), 0, "all was taken in");
    let size = |name: &str| state.join(name).metadata().map_or(0, |meta| meta.len());
    let ledger = size("ledger.db") + size("ledger.db-wal");
    // Measured: 1.7 KiB for each commit (the event, two lines of history, three links, their indexes), and what an empty
    // ledger and its log take.
    assert!(ledger < commits * 3 * 1024 + (512 << 10), "{ledger} bytes");
}
