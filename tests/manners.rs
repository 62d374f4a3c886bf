//! How the hooks behave towards who called git: what they say, where, and that they hold nobody up.

#![expect(clippy::unwrap_used, reason = "what a test relies on and does not get ends the test")]

mod support;

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use support::{DEADLINE, Scene, TESTER_ON_COMMIT, text, wait_for};

/// A repository whose queue is paused: what the hook says is all that happens.
fn scene(table: &str) -> Scene {
    let scene = Scene::new();
    scene.write("triggers.yaml", table);
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.install();
    scene.ok(&["pause"]);
    scene
}

fn commit(scene: &Scene) -> Command {
    let mut command = scene.command("git");
    command.args(["commit", "--quiet", "--allow-empty", "-m", "x"]);
    command
}

/// What a commit says on standard output and standard error.
fn said(mut command: Command) -> (String, String) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

fn short(scene: &Scene) -> String {
    scene.git(&["rev-parse", "--short=7", "HEAD"]).trim().to_owned()
}

/// The command on a terminal of this many columns; what the terminal was sent. `None` where there is no `script`.
fn on_a_terminal(scene: &Scene, columns: u32, variables: &[(&str, &str)], shell: &str) -> Option<String> {
    let mut command = scene.command("script");
    command.args(["--quiet", "--return", "--command", &format!("stty cols {columns} rows 24; {shell}"), "/dev/null"]);
    command.env_remove("NO_COLOR").env("TERM", "xterm-256color").envs(variables.iter().copied());
    match command.output() {
        Ok(output) => Some(text(&output.stdout).replace('\r', "")),
        Err(error) => {
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "no `script`: {error}");
            #[expect(clippy::print_stderr, reason = "a test that was skipped says so")]
            {
                eprintln!("SKIPPED: no `script` (util-linux): {error}");
            }
            None
        }
    }
}

const COMMIT: &str = "git commit --quiet --allow-empty -m x";

#[test]
fn an_amend_says_once_what_it_queued() {
    let amend = |scene: &Scene| {
        let mut command = scene.command("git");
        command.args(["commit", "--quiet", "--amend", "--allow-empty", "-m", "again"]);
        said(command).1
    };
    for (table, lines) in [
        (TESTER_ON_COMMIT.to_owned(), 1),
        (TESTER_ON_COMMIT.replace("post-commit, ", ""), 1),
        (TESTER_ON_COMMIT.replace("debounce: 0s", "coalesce: none"), 2),
    ] {
        let scene = scene(&table);
        let said = amend(&scene);
        let line = format!("git-orchestrator: tester queued for {} · git orchestrator status\n", short(&scene));
        assert_eq!(said, line.repeat(lines), "{table}");
        assert_eq!(scene.status()["runs"].as_array().unwrap().len(), lines, "{table}");
    }
}

#[test]
fn one_line_on_standard_error_for_what_was_queued_and_none_for_nothing() {
    let scene = scene(&TESTER_ON_COMMIT.replace("    role:", "    when: { message: \"^go\" }\n    role:"));
    assert_eq!(said(commit(&scene)), (String::new(), String::new()), "nothing matched");
    let mut first = scene.command("git");
    first.args(["commit", "--quiet", "--allow-empty", "-m", "go"]);
    let line =
        |scene: &Scene| format!("git-orchestrator: tester queued for {} · git orchestrator status\n", short(scene));
    let (out, err) = said(first);
    assert_eq!((out.as_str(), err), ("", line(&scene)));
    // Git passes a hook's standard output on as standard error: it stays empty by itself, too.
    let output = scene.command(support::PROGRAM).args(["hook", "post-commit"]).output().unwrap();
    assert_eq!((text(&output.stdout).as_str(), text(&output.stderr)), ("", line(&scene)));
}

#[test]
fn what_waits_for_a_person_is_said() {
    let scene = scene(&TESTER_ON_COMMIT.replace("    tester:", "    planner:").replace("workspace-write", "read-only"));
    let (_, err) = said(commit(&scene));
    assert_eq!(err, format!("git-orchestrator: tester held for {} · git orchestrator status\n", short(&scene)));
}

#[test]
fn a_person_or_the_table_can_ask_for_silence_and_a_gate_and_a_failure_are_said_all_the_same() {
    let scene = scene(TESTER_ON_COMMIT);
    let with = |name: &str, value: &str| {
        let mut command = commit(&scene);
        command.env(name, value);
        said(command).1
    };
    assert_eq!(with("GIT_ORCHESTRATOR_QUIET", "1"), "");
    assert_ne!(with("GIT_ORCHESTRATOR_QUIET", "0"), "");
    assert_eq!(scene.status()["runs"].as_array().unwrap().len(), 1);
    let before = scene.newest()["commit"].clone();
    assert_eq!(with("GIT_ORCHESTRATOR_SKIP", "1"), "");
    assert_eq!(scene.newest()["commit"], before, "and nothing was queued");

    let gate = "  - name: main\n    on: pre-push\n    gate: review\n    requires: [tester]\npolicy:";
    scene.write("triggers.yaml", &(TESTER_ON_COMMIT.replace("policy:", gate) + "hook: { quiet: true }\n"));
    scene.trust();
    assert_eq!(said(commit(&scene)), (String::new(), String::new()), "no terminal: not a word");
    assert_ne!(scene.newest()["commit"], before, "but it was queued");
    if let Some(shown) = on_a_terminal(&scene, 100, &[("NO_COLOR", "1")], COMMIT) {
        assert!(shown.contains("tester queued for"), "a person looks: {shown:?}");
    }
    scene.git(&["init", "--quiet", "--bare", "../remote.git"]);
    let push = |more: &[&str]| {
        let mut command = scene.command("git");
        command.args(["push", "--quiet", "../remote.git", "main"]).args(more);
        command.env("GIT_ORCHESTRATOR_QUIET", "1").output().unwrap()
    };
    let refused = push(&[]);
    assert!(!refused.status.success() && text(&refused.stderr).contains("holds"), "{}", text(&refused.stderr));
    assert!(push(&["--no-verify"]).status.success(), "git does not call the hook");
    // Git calls post-commit whatever it is told about verifying.
    let mut command = commit(&scene);
    command.arg("--no-verify");
    said(command);
    assert_eq!(scene.newest()["commit"], *scene.git(&["rev-parse", "HEAD"]).trim());

    // That nothing begins until somebody does something about it is no notice.
    scene.write("triggers.yaml", "version: 1\nhook: { quiet: true }\ntriggers: 7\n");
    assert!(said(commit(&scene)).1.contains("git orchestrator trust"));
}

#[test]
fn the_line_fits_the_terminal_and_has_colour_only_there() {
    let mut table = TESTER_ON_COMMIT.to_owned();
    for n in 0..5 {
        let row = format!("triggers:\n  - {{ name: t{n}, on: post-commit, role: tester }}\n");
        table = table.replacen("triggers:\n", &row, 1);
    }
    let scene = scene(&table);
    let held = |scene: &Scene| format!("for {}", short(scene));
    let Some(wide) = on_a_terminal(&scene, 120, &[("NO_COLOR", "1")], COMMIT) else { return };
    let all = "git-orchestrator: tester, tester, tester, tester, tester, tester queued";
    assert!(wide.contains(&format!("{all} {}", held(&scene))), "{wide:?}");
    assert!(!wide.contains('\x1b'), "{wide:?}");
    for columns in [80, 60, 30] {
        let shown = on_a_terminal(&scene, columns, &[("NO_COLOR", "1")], COMMIT).unwrap();
        let line = shown.lines().find(|line| line.starts_with("git-orchestrator")).unwrap();
        assert!(line.chars().count() <= columns as usize, "{columns}: {line:?}");
        assert!(columns < 60 || line.contains(" more "), "{columns}: {line:?}");
    }
    let coloured = on_a_terminal(&scene, 80, &[], COMMIT).unwrap();
    assert!(coloured.contains("\x1b[2m · git orchestrator status\x1b[0m"), "{coloured:?}");
    for variables in [&[("TERM", "dumb")][..], &[("NO_COLOR", "1")]] {
        let plain = on_a_terminal(&scene, 80, variables, COMMIT).unwrap();
        assert!(plain.contains("queued") && !plain.contains('\x1b'), "{variables:?}: {plain:?}");
    }
    // In a pipe: eighty columns, and no colour even if somebody forces it.
    let mut command = commit(&scene);
    command.env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1");
    let (_, err) = said(command);
    assert!(!err.contains('\x1b') && err.contains(" more ") && err.trim_end().chars().count() <= 80, "{err:?}");
}

/// Runs the shell command with pipes on all three descriptors, the first one closed, and reads both others to their
/// end, which only comes when nobody holds them any more.
#[track_caller]
fn ends_for_its_reader(scene: &Scene, shell: &str) {
    let begun = Instant::now();
    let mut child = scene
        .command("sh")
        .args(["-c", shell])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (done, ended) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let (mut read, mut error) = (Vec::new(), Vec::new());
        out.read_to_end(&mut read).unwrap();
        err.read_to_end(&mut error).unwrap();
        done.send((read, error)).unwrap();
    });
    let (read, error) = ended.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("`{shell}` never ends for its reader"));
    reader.join().unwrap();
    assert!(child.wait().unwrap().success(), "{shell}: {}{}", text(&read), text(&error));
    let alive = scene.status()["worker"]["running"] == true;
    assert!(alive, "`{shell}` ended after {:?}, with no worker: that says nothing", begun.elapsed());
}

#[test]
fn a_worker_keeps_no_call_of_git_waiting() {
    let mut scene = scene(&TESTER_ON_COMMIT.replace("post-applypatch]", "post-applypatch, pre-push]"));
    // A Codex that never answers: the worker is in the middle of a run.
    Scene::script(&scene.path("bin").join("silent"), "#!/bin/sh\nexec sleep 1000\n");
    scene.set("GIT_ORCHESTRATOR_CODEX", scene.path("bin").join("silent"));
    scene.trust();
    scene.git(&["init", "--quiet", "--bare", "../remote.git"]);
    scene.ok(&["resume"]);
    scene.git(&["commit", "--quiet", "--allow-empty", "-m", "first"]);
    wait_for("the worker to be at work", || (scene.newest()["state"] == "preparing").then_some(()));
    let worker = scene.status()["worker"]["pid"].clone();
    let quick = "commit --quiet --allow-empty -m";
    for shell in [
        format!("git {quick} one | cat"),
        format!("git {quick} two 2>&1 | cat"),
        format!("exec git {quick} closed <&-"),
        "git push --quiet ../remote.git main 2>&1 | cat".to_owned(),
        format!("git switch --quiet -c topic && git {quick} topic && git switch --quiet main && git {quick} main"),
        "git merge --quiet --no-edit topic".to_owned(),
        "git rebase --quiet --force-rebase HEAD~1".to_owned(),
        "git commit --quiet --amend --allow-empty -m again".to_owned(),
        // As a client without a terminal or a session of its own calls it.
        format!("exec setsid git {quick} gui <&-"),
    ] {
        ends_for_its_reader(&scene, &shell);
    }
    assert_eq!(scene.status()["worker"]["pid"], worker, "the same worker all the time");
}
