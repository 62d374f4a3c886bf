//! The gate before a push: real git, a real push, a person at a real terminal.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::fs;
use std::process::Output;

use orchestrator::rehearsal::{Scripted, Server};
use support::person::{Terminal, agreed, can_play_a_person};
use support::{PROGRAM, Scene, codex, text};

const TABLE: &str = "\
version: 1
triggers:
  - name: test
    on: post-commit
    role: tester
    debounce: 0s
  - name: before-main
    on: pre-push
    when: { refs: [\"refs/heads/main\"] }
    gate: review
    requires: [tester]
";

fn push(scene: &Scene, refs: &[&str]) -> Output {
    scene.command("git").args(["push", "origin"]).args(refs).output().unwrap()
}

/// A repository with a remote beside it, and the table committed.
fn scene(table: &str) -> Scene {
    let scene = Scene::installed(table);
    scene.git_in(&scene.path("home"), &["init", "--quiet", "--bare", "../remote.git"]);
    scene.git(&["remote", "add", "origin", "../remote.git"]);
    scene.write("Makefile", "test:\n\t@echo one passed\n");
    scene.git(&["add", "."]);
    scene
}

/// Approves HEAD as a person does.
fn approve(scene: &Scene) {
    let (code, said) = agreed(scene, &["approve"]);
    assert!(code == 0 && said.contains("approved the tree of"), "{said}");
}

#[test]
fn a_push_waits_for_the_roles_and_for_a_person() {
    if !can_play_a_person() {
        return;
    }
    let Some(codex) = codex() else { return };
    let server = Server::in_background(Scripted::new()).unwrap();
    let scene = scene(TABLE).with_codex(&codex, server.url());
    scene.trust();
    scene.ok(&["pause"]);
    scene.git(&["commit", "--quiet", "-m", "one"]);

    let refused = push(&scene, &["main"]);
    let said = text(&refused.stderr);
    assert!(!refused.status.success());
    assert!(said.contains("gate `before-main` holds") && said.contains("tester is queued"), "{said}");
    assert!(said.contains("git orchestrator approve"), "{said}");
    assert!(said.lines().filter(|line| !line.starts_with("error:")).count() <= 10, "{said}");
    assert!(push(&scene, &["main:refs/heads/topic"]).status.success(), "another branch has no gate");

    scene.ok(&["resume"]);
    assert_eq!(scene.wait(), 0, "{}", scene.ok(&["status"]));
    assert!(!push(&scene, &["main"]).status.success(), "nobody has approved it");
    // A pipe is no person.
    let piped = scene.command("sh").args(["-c", &format!("yes | '{PROGRAM}' approve")]).output().unwrap();
    assert_eq!(piped.status.code(), Some(3), "{}", text(&piped.stderr));
    assert!(!push(&scene, &["main"]).status.success());

    // Nor is a script at a terminal: it would have to read the question.
    for line in [format!("yes | '{PROGRAM}' approve"), format!("'{PROGRAM}' approve >/dev/null")] {
        let mut terminal = Terminal::shell(&scene, &line);
        assert_eq!(terminal.word(), None, "{line}: nobody is asked");
        let (code, said) = terminal.end();
        assert!(code == 3 && said.contains("needs a person at a terminal"), "{said}");
    }
    let mut terminal = Terminal::open(&scene, &["approve"]);
    assert!(terminal.word().is_some());
    let (code, said) = terminal.types("yes");
    assert!(code == 3 && said.contains("nothing was changed"), "{said}");
    assert!(!push(&scene, &["main"]).status.success());
    approve(&scene);
    // Open or not: a run passes none, by its own environment and by what stands above it.
    for line in [
        "GIT_ORCHESTRATOR_RUN=1 git push origin main",
        "GIT_ORCHESTRATOR_RUN=1 sh -c 'env -u GIT_ORCHESTRATOR_RUN git push origin main; exit $?'; exit $?",
    ] {
        let refused = scene.command("sh").args(["-c", line]).output().unwrap();
        let said = text(&refused.stderr);
        assert!(!refused.status.success() && said.contains("a person pushes past a gate"), "{line}: {said}");
    }
    let passed = push(&scene, &["main"]);
    assert!(passed.status.success(), "{}", text(&passed.stderr));

    // The same tree under another message keeps the verdict; a changed byte drops it.
    scene.git(&["commit", "--quiet", "--amend", "-m", "another message"]);
    assert!(push(&scene, &["--force", "main"]).status.success());
    scene.commit("a", "changed", "two");
    assert_eq!(scene.wait(), 0);
    assert!(!push(&scene, &["main"]).status.success());
    // Pushed together with a branch that has no gate, main is held back all the same.
    scene.git(&["branch", "aside", "HEAD~1"]);
    assert!(!push(&scene, &["aside", "main"]).status.success());

    scene.ok(&["reject", "--why", "not on a Friday"]);
    let said = text(&push(&scene, &["main"]).stderr);
    assert!(said.contains("Ada rejected it: not on a Friday"), "{said}");
    // What has no gate may be deleted; a gated branch may not, and there is no tree to approve.
    assert!(push(&scene, &["--delete", "topic"]).status.success());
    let deletion = push(&scene, &["--delete", "main"]);
    assert!(!deletion.status.success());
    assert!(text(&deletion.stderr).contains("neither deleted nor set to anything else"), "{}", text(&deletion.stderr));
}

#[test]
fn each_ref_of_a_push_is_judged_by_its_own_branch_and_change() {
    for condition in ["branches: [main]", "refs: [\"refs/heads/main\"], paths: [\"src/**\"]"] {
        let table = TABLE.replace("refs: [\"refs/heads/main\"]", condition);
        let scene = scene(&table);
        scene.git(&["commit", "--quiet", "-m", "one"]);
        scene.wait();
        scene.git(&["push", "--quiet", "--no-verify", "origin", "main", "main:refs/heads/aaa"]);
        scene.git(&["branch", "aaa"]);
        scene.commit("src/x", "1", "touches src");
        scene.wait();
        // The first ref alone passes; together with the gated one nothing does, in whichever order.
        let both = push(&scene, &["aaa", "main"]);
        assert!(!both.status.success(), "{condition}");
        assert!(text(&both.stderr).contains("from refs/heads/main"), "{condition}: {}", text(&both.stderr));
        assert!(push(&scene, &["aaa"]).status.success(), "{condition}");
    }
}

#[test]
fn a_fail_a_rehearsal_and_an_approval_from_before_open_nothing() {
    if !can_play_a_person() {
        return;
    }
    let Some(codex) = codex() else { return };
    let server = Server::in_background(Scripted::new()).unwrap();
    let mut scene = scene(TABLE).with_codex(&codex, server.url());
    scene.trust();
    scene.write("Makefile", "test:\n\t@echo one failed; exit 1\n");
    scene.git(&["add", "."]);
    scene.ok(&["pause"]);
    scene.git(&["commit", "--quiet", "-m", "one"]);
    approve(&scene);
    scene.ok(&["resume"]);
    assert_eq!(scene.wait(), 0);
    let said = text(&push(&scene, &["main"]).stderr);
    assert!(said.contains("tester found something against it"), "{said}");

    // A worker has the environment of whoever started it.
    let is_over = || scene.processes().is_empty().then_some(());
    support::wait_for("the worker to end", is_over);
    scene.set("GIT_ORCHESTRATOR_REHEARSAL", server.url());
    scene.commit("Makefile", "test:\n\t@echo one passed\n", "two");
    assert_eq!(scene.wait(), 0);
    approve(&scene);
    let said = text(&push(&scene, &["main"]).stderr);
    assert!(said.contains("tester's result is a rehearsal"), "{said}");
    support::wait_for("the worker to end", || scene.processes().is_empty().then_some(()));
    scene.unset("GIT_ORCHESTRATOR_REHEARSAL");

    scene.ok(&["pause"]);
    scene.commit("a", "3", "three");
    approve(&scene);
    scene.ok(&["resume"]);
    assert_eq!(scene.wait(), 0);
    let said = text(&push(&scene, &["main"]).stderr);
    assert!(said.contains("it was approved before the last of these results was there"), "{said}");
    approve(&scene);
    assert!(push(&scene, &["main"]).status.success());
}

#[test]
fn a_gate_that_cannot_be_asked_is_closed_and_anything_else_is_not() {
    let scene = scene(TABLE);
    scene.git(&["commit", "--quiet", "-m", "one"]);
    scene.wait();
    scene.write("triggers.yaml", &TABLE.replace("role: tester", "role: testr"));
    let refused = push(&scene, &["main"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("a gate that cannot be asked is closed"), "{}", text(&refused.stderr));
}

#[test]
fn a_broken_table_without_a_gate_never_stops_git() {
    let scene = scene("version: 1\ntriggers: []\n");
    scene.git(&["commit", "--quiet", "-m", "one"]);
    scene.write("triggers.yaml", "version: 1\ntriggers: [pre-push]\n");
    assert!(push(&scene, &["main"]).status.success());
}

#[test]
fn a_gate_is_not_taken_away_by_an_edit_or_by_standing_elsewhere() {
    let scene = scene(TABLE);
    scene.git(&["commit", "--quiet", "--allow-empty", "-m", "zero"]);
    scene.git(&["push", "--quiet", "--no-verify", "origin", "main"]);
    scene.git(&["checkout", "--quiet", "--orphan", "old"]);
    scene.git(&["rm", "--quiet", "-r", "--cached", "."]);
    scene.write("a", "1");
    scene.git(&["add", "a"]);
    scene.git(&["commit", "--quiet", "-m", "without a table"]);
    scene.git(&["checkout", "--quiet", "--force", "main"]);
    scene.commit("b", "2", "two");
    scene.wait();
    let is_held = |scene: &Scene, refs: &[&str], how: &str| {
        let pushed = push(scene, refs);
        assert!(!pushed.status.success(), "{how}");
        assert!(text(&pushed.stderr).contains("gate `before-main` holds"), "{how}: {}", text(&pushed.stderr));
    };
    is_held(&scene, &["main"], "as it is");
    // In the working tree, committed, deleted and committed, and from a branch that never had it.
    scene.write("triggers.yaml", "version: 1\ntriggers: []\n");
    is_held(&scene, &["main"], "edited");
    scene.git(&["commit", "--quiet", "-am", "no gate any more"]);
    is_held(&scene, &["main"], "committed");
    scene.git(&["rm", "--quiet", "triggers.yaml"]);
    scene.git(&["commit", "--quiet", "-m", "no table any more"]);
    is_held(&scene, &["main"], "removed");
    scene.git(&["checkout", "--quiet", "--force", "old"]);
    is_held(&scene, &["--force", "old:main"], "from elsewhere");
}

#[test]
fn a_result_about_the_last_commit_opens_no_push_of_two() {
    if !can_play_a_person() {
        return;
    }
    let Some(codex) = codex() else { return };
    let server = Server::in_background(Scripted::new()).unwrap();
    let table = TABLE.replace("role: tester", "role: architect").replace("[tester]", "[architect]");
    let scene = scene(&table).with_codex(&codex, server.url());
    scene.trust();
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.git(&["push", "--quiet", "--no-verify", "origin", "main"]);
    scene.wait();
    scene.commit("one", "1", "one");
    scene.wait();
    scene.commit("two", "2", "two");
    assert_eq!(scene.wait(), 0, "{}", scene.ok(&["status"]));
    approve(&scene);
    let said = text(&push(&scene, &["main"]).stderr);
    assert!(said.contains("architect looked at what changed since") && said.contains("--since"), "{said}");
    scene.ok(&["run", "architect", "--since", "origin/main", "--wait"]);
    approve(&scene);
    let passed = push(&scene, &["main"]);
    assert!(passed.status.success(), "{}", text(&passed.stderr));
}

#[test]
fn a_damaged_ledger_closes_the_gate_with_a_clear_line() {
    let scene = scene(TABLE);
    scene.git(&["commit", "--quiet", "-m", "one"]);
    scene.wait();
    // A worker that is about to end still has the ledger open, and with it the good pages.
    support::wait_for("the worker to end", || scene.processes().is_empty().then_some(()));
    scene.write(".orchestrator/state/ledger.db", &"not a database ".repeat(500));
    // Nor by taking the table away: the gate is that of the accepted and of the committed one.
    for table in [Some(TABLE), Some("version: 1\ntriggers: []\n"), None] {
        match table {
            Some(table) => scene.write("triggers.yaml", table),
            None => fs::remove_file(scene.top.join("triggers.yaml")).unwrap(),
        }
        let refused = push(&scene, &["main"]);
        assert!(!refused.status.success(), "{table:?}");
        let said = text(&refused.stderr);
        assert!(said.contains("ledger") && said.contains("closed"), "{table:?}: {said}");
    }
}

#[test]
fn a_variable_that_was_left_in_the_environment_opens_no_gate() {
    let scene = scene(TABLE);
    scene.ok(&["pause"]);
    scene.git(&["commit", "--quiet", "-m", "one"]);
    let marked = |refs: &str| {
        let mut git = scene.command("git");
        git.args(["push", "--quiet", "origin", refs]).env("GIT_ORCHESTRATOR_RUN", "1").output().unwrap()
    };
    let refused = marked("main");
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("gate `before-main` holds"), "{said}");
    assert!(said.contains("inside of a run (GIT_ORCHESTRATOR_RUN is set): a person pushes past a gate"), "{said}");
    // What no gate stands before is nobody's business, and starts nothing.
    let passed = marked("main:refs/heads/topic");
    assert!(passed.status.success() && text(&passed.stderr).is_empty(), "{}", text(&passed.stderr));
}
