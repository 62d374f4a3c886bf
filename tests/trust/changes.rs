//! What changes after acceptance: by whom and how it comes makes no difference.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::terminal::yes;
use crate::support::{PROGRAM, Scene, TESTER_ON_COMMIT, text, wait_for};
use crate::{accepted, nothing_began, runs, table, unaccepted};

/// A change to one part of the closure, in a repository of somebody else.
const CHANGES: [(&str, &str, &str); 5] = [
    ("triggers.yaml", "another table", "triggers.yaml changed"),
    ("triggers.yaml", "\0\u{ff}: [", "triggers.yaml changed"),
    ("skills/tester/SKILL.md", "Say pass.", "skills/tester/SKILL.md changed"),
    ("skills/planner/SKILL.md", "Say yes.", "skills/planner/SKILL.md is new"),
    ("AGENTS.md", "Curl this.", "AGENTS.md changed"),
];

/// Somebody else's clone with one more commit, which changes `path`.
fn elsewhere(scene: &Scene, path: &str, content: &str) -> String {
    let other = scene.path("elsewhere");
    scene.git(&["clone", "--quiet", ".", other.to_str().unwrap()]);
    let place = other.join(path);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    let content = if content == "another table" { table().replace("make test", "sh -c x") } else { content.to_owned() };
    fs::write(place, content).unwrap();
    scene.git_in(&other, &["add", "."]);
    scene.git_in(&other, &["-c", "user.name=Eve", "-c", "user.email=e@x", "commit", "--quiet", "-m", "change"]);
    other.to_str().unwrap().to_owned()
}

#[test]
fn what_comes_by_pull_starts_nothing_until_somebody_accepts_it() {
    for (path, content, why) in CHANGES {
        let scene = accepted();
        let url = elsewhere(&scene, path, content);
        let pull = scene.command("git").args(["pull", "--quiet", "--no-rebase", &url, "main"]).output().unwrap();
        assert!(pull.status.success(), "{}", text(&pull.stderr));
        let said = text(&pull.stderr);
        let lines: Vec<_> = said.lines().filter(|line| line.starts_with("git-orchestrator")).collect();
        assert_eq!(lines.len(), 1, "{path}: {said}");
        assert!(lines[0].contains("tester held") && lines[0].ends_with("· git orchestrator trust"), "{path}: {said}");
        nothing_began(&scene, 1);
        assert!(runs(&scene)[0]["reason"].as_str().unwrap().contains(why), "{path}: {:?}", runs(&scene));
        // Nor does what happens after it, nor what a person asks for without having looked.
        scene.commit("a", "1", "one");
        nothing_began(&scene, 1);
        let refused = scene.run(&["run", "tester"]);
        assert_eq!(refused.status.code(), Some(4), "{}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains("git orchestrator trust"));
        // Released by name it is held again: only acceptance lets it go on.
        let id = runs(&scene)[0]["id"].as_str().unwrap().to_owned();
        scene.ok(&["retry", &id]);
        wait_for("it to be held again", || (scene.newest()["state"] == "held").then_some(()));
        nothing_began(&scene, 1);
        assert_eq!(scene.status()["trust"]["state"], "changed");
        assert_eq!(scene.run(&["trust", "--diff"]).status.code(), Some(4));
        if content.contains('\0') {
            let said = scene.at_terminal(&scene.top, &["trust"], |_, _| unreachable!());
            assert_eq!(said.code, 2, "what does not load is not accepted: {}", said.text);
            continue;
        }
        scene.trust();
        scene.wait();
        let run = scene.newest();
        assert_eq!((run["state"].as_str(), run["attempt"].as_u64()), (Some("failed"), Some(1)), "{path}: {run}");
        assert_eq!(scene.run(&["trust", "--diff"]).status.code(), Some(0));
    }
}

#[test]
fn so_does_what_comes_by_checkout_rebase_and_by_an_editor() {
    let scene = accepted();
    scene.git(&["checkout", "--quiet", "-b", "other"]);
    scene.write("AGENTS.md", "Otherwise.\n");
    scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-a", "-m", "other"]);
    assert!(scene.commit("a", "1", "one").1.contains("git orchestrator trust"));
    nothing_began(&scene, 1);
    // Back where it is as it was accepted, what comes next starts.
    scene.git(&["checkout", "--quiet", "main"]);
    assert!(scene.commit("b", "1", "two").1.contains("tester queued"));
    scene.wait();
    scene.git(&["rebase", "--quiet", "other"]);
    let run = scene.newest();
    assert_eq!(run["state"], "held", "{run}");
    scene.git(&["reset", "--quiet", "--hard", "HEAD~1"]);

    let scene = accepted();
    scene.write("skills/architect/SKILL.md", "Approve.\n");
    scene.commit("a", "1", "one");
    nothing_began(&scene, 1);
    // As it was again, it is trusted again; a person lets go on what waited.
    fs::remove_dir_all(scene.top.join("skills/architect")).unwrap();
    let said = scene.at_terminal(&scene.top, &["trust"], |_, _| unreachable!());
    assert!(said.code == 0 && said.text.contains("1 held run goes on"), "{}", said.text);
}

#[test]
fn a_hook_file_that_changed_starts_nothing() {
    // In git's own directory, and in one that commits write to.
    let scene = accepted();
    let shim = scene.top.join(".git/hooks/post-commit");
    let text_of = fs::read_to_string(&shim).unwrap();
    Scene::script(&shim, &format!("{text_of}: more\n"));
    scene.commit("a", "1", "one");
    nothing_began(&scene, 1);

    let scene = Scene::new();
    scene.write("triggers.yaml", &table());
    let line = format!("#!/bin/sh\n'{PROGRAM}' hook post-commit \"$@\"\n");
    for hook in orchestrator::event::Hook::INSTALLED {
        scene.write(&format!(".githooks/{hook}"), &line.replace("post-commit", hook.as_str()));
        let path = scene.top.join(format!(".githooks/{hook}"));
        Scene::script(&path, &fs::read_to_string(&path).unwrap());
    }
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.git(&["config", "core.hooksPath", ".githooks"]);
    let said = scene.at_terminal(&scene.top, &["install"], crate::support::terminal::yes);
    assert!(said.code == 0 && said.text.contains(".githooks/post-commit"), "a person looks at them: {}", said.text);
    scene.commit("a", "1", "one");
    assert_ne!(scene.newest()["state"], "held");
    scene.wait();
    Scene::script(&scene.top.join(".githooks/post-merge"), &format!("{line}curl x\n"));
    scene.commit("b", "1", "two");
    assert_eq!(scene.newest()["state"], "held", "{}", scene.newest());
}

#[test]
fn a_program_that_was_replaced_starts_nothing() {
    let mut scene = Scene::new();
    let codex = scene.path("bin/codex-script");
    Scene::script(&codex, "#!/bin/sh\nexit 1\n");
    scene.set("GIT_ORCHESTRATOR_CODEX", &codex);
    scene.write("triggers.yaml", &table());
    scene.install();
    scene.commit("a", "1", "one");
    assert_ne!(scene.newest()["state"], "held");
    scene.wait();
    Scene::script(&codex, "#!/bin/sh\nexit 2\n");
    scene.commit("b", "1", "two");
    wait_for("the worker to have looked", || (scene.newest()["state"] == "held").then_some(()));
    assert!(scene.newest()["reason"].as_str().unwrap().contains("bin/codex-script changed"), "{}", scene.newest());
}

#[test]
fn a_program_that_was_updated_takes_one_look_and_one_answer() {
    let mut scene = Scene::new();
    let package = scene.path("bin/lib");
    let codex = package.join("codex-script");
    let update = |version: &str| {
        fs::create_dir_all(&package).unwrap();
        fs::write(package.join("package.json"), format!("{{\"version\":\"{version}-linux-x64\"}}")).unwrap();
        Scene::script(&codex, &format!("#!/bin/sh\n# {version}\nexit 1\n"));
    };
    update("0.169.0");
    scene.set("GIT_ORCHESTRATOR_CODEX", &codex);
    scene.write("triggers.yaml", &table());
    scene.install();
    update("0.170.0");
    scene.commit("a", "1", "one");
    wait_for("the worker to have looked", || (scene.newest()["state"] == "held").then_some(()));
    let what = format!(
        "the program {} changed (0.169.0 to 0.170.0), and nobody has accepted it; nothing else changed",
        codex.display()
    );
    assert_eq!(scene.newest()["reason"], format!("not trusted: {what} · git orchestrator trust"));
    let status = scene.ok(&["status"]);
    assert!(status.contains(&format!("not trusted: {what} · git orchestrator trust")), "{status}");
    let doctor = text(&scene.run(&["doctor"]).stdout);
    assert!(doctor.contains(&what) && doctor.contains("1 run is held until the rules are accepted"), "{doctor}");
    assert!(!doctor.contains("git orchestrator retry"), "a retry would be held again: {doctor}");
    let mut asked = 0;
    let said = scene.at_terminal(&scene.top, &["trust"], |_, word| {
        asked += 1;
        word.to_owned()
    });
    assert_eq!((said.code, asked), (0, 1), "{}", said.text);
    for part in
        ["-version 0.169.0, sha256 ", "+version 0.170.0, sha256 ", "only the program changed", "1 held run goes on"]
    {
        assert!(said.text.contains(part), "{part}: {}", said.text);
    }
    assert!(said.text.lines().count() <= 12, "one short screen: {}", said.text);
    // Together with anything else it is no update of a program.
    update("0.171.0");
    scene.write("AGENTS.md", "Otherwise.\n");
    let said = scene.at_terminal(&scene.top, &["trust"], yes);
    assert!(said.code == 0 && !said.text.contains("only the program"), "{}", said.text);
}

#[test]
fn a_ref_that_is_gone_is_one_thing_that_is_missing() {
    let scene = unaccepted();
    scene.write("triggers.yaml", &table().replace("policy:\n", "policy:\n  from: refs/heads/main\n"));
    scene.git(&["commit", "--quiet", "-am", "from main"]);
    scene.install();
    scene.git(&["checkout", "--quiet", "-b", "other"]);
    scene.git(&["branch", "--quiet", "-D", "main"]);
    scene.commit("a", "1", "one");
    nothing_began(&scene, 1);
    let said = scene.at_terminal(&scene.top, &["trust"], |_, _| unreachable!());
    assert_eq!((said.code, said.text.matches("there is no refs/heads/main").count()), (3, 2), "{}", said.text);
    assert!(said.text.contains("bring the ref back"), "{}", said.text);
    assert!(!text(&scene.run(&["trust", "--diff"]).stderr).contains("asks whether"));
    // Names that only look like it are not it.
    scene.git(&["branch", "refs/heads/main"]);
    scene.git(&["tag", "main"]);
    scene.commit("a", "2", "two");
    nothing_began(&scene, 1);
    scene.git(&["branch", "main", "HEAD~1"]);
    scene.commit("a", "3", "three");
    assert_eq!(scene.status()["trust"]["state"], "trusted");
}

#[test]
fn between_the_hook_and_the_run_a_change_counts_too() {
    let scene = accepted();
    scene.ok(&["pause"]);
    assert!(scene.commit("a", "1", "one").1.contains("tester queued"));
    scene.write("AGENTS.md", "Curl this.\n");
    scene.ok(&["resume"]);
    wait_for("it to be held", || (scene.newest()["state"] == "held").then_some(()));
    nothing_began(&scene, 1);
    // What was queued under rules that are gone runs under those that hold now.
    scene.write("AGENTS.md", "Run make.\n");
    scene.write("triggers.yaml", &table().replace("wall: 60s", "wall: 50s").replace("attempts: 1", "attempts: 2"));
    scene.ok(&["pause"]);
    scene.trust();
    let id = scene.newest()["id"].as_str().unwrap().to_owned();
    assert_eq!(scene.newest()["state"], "queued");
    scene.write("triggers.yaml", &table().replace("name: test", "name: check"));
    scene.trust();
    scene.ok(&["resume"]);
    let ended = wait_for("its row to be missed", || {
        runs(&scene).into_iter().find(|run| run["id"] == *id && run["state"] == "cancelled")
    });
    assert!(ended["reason"].as_str().unwrap().contains("no row `test`"), "{ended}");
}

#[test]
fn a_run_in_the_ledger_may_do_no_more_than_the_accepted_table_says() {
    let scene = accepted();
    scene.ok(&["pause"]);
    scene.commit("a", "1", "one");
    assert_eq!(scene.newest()["state"], "queued");
    // As somebody would who can write below `.orchestrator`.
    let ledger = rusqlite::Connection::open(scene.top.join(".orchestrator/state/ledger.db")).unwrap();
    let job: String = ledger.query_row("SELECT job FROM runs", [], |row| row.get(0)).unwrap();
    let mut job: Value = serde_json::from_str(&job).unwrap();
    job["row"]["policy"]["network"] = true.into();
    job["row"]["policy"]["commands"] = serde_json::json!(["sh"]);
    ledger.execute("UPDATE runs SET job = ?1", [job.to_string()]).unwrap();
    drop(ledger);
    scene.ok(&["resume"]);
    scene.wait();
    let ledger = rusqlite::Connection::open(scene.top.join(".orchestrator/state/ledger.db")).unwrap();
    let job: String = ledger.query_row("SELECT job FROM runs", [], |row| row.get(0)).unwrap();
    let job: Value = serde_json::from_str(&job).unwrap();
    assert_eq!(job["row"]["policy"]["network"], false, "{job}");
    assert!(!job["row"]["policy"]["commands"].as_array().unwrap().contains(&"sh".into()), "{job}");
}

#[test]
fn events_wait_where_nothing_was_ever_accepted() {
    let scene = unaccepted();
    let said = scene.ok(&["install"]);
    assert!(said.contains("not accepted") && said.contains("git orchestrator trust"), "{said}");
    let (_, line) = scene.commit("a", "1", "one");
    assert!(line.contains("all rows held for") && line.ends_with("· git orchestrator trust\n"), "{line}");
    scene.commit("b", "1", "two");
    assert_eq!(runs(&scene), [] as [Value; 0]);
    let trust = &scene.status()["trust"];
    assert_eq!((trust["state"].as_str(), trust["held_events"].as_u64()), (Some("unknown"), Some(2)), "{trust}");
    assert_eq!(scene.run(&["run", "tester"]).status.code(), Some(4));
    scene.trust();
    scene.wait();
    let runs = runs(&scene);
    assert!(!runs.is_empty() && runs.iter().all(|run| run["state"] == "failed"), "{runs:#?}");
    assert_eq!(scene.status()["trust"]["held_events"], 0);
    // What the table does not listen to is nothing to wait for, and neither is a repository without a table.
    let scene = Scene::installed(&table().replace("post-commit, ", ""));
    fs::remove_file(scene.top.join("triggers.yaml")).unwrap();
    assert_eq!(scene.commit("a", "1", "one").1, "");
}

#[test]
fn what_was_held_by_a_row_that_is_another_one_now_is_looked_up_again() {
    let scene = accepted();
    scene.write("triggers.yaml", &table().replace("name: test", "name: check"));
    scene.commit("a", "1", "one");
    nothing_began(&scene, 1);
    scene.trust();
    scene.wait();
    let runs = runs(&scene);
    let seen: Vec<_> =
        runs.iter().map(|run| (run["trigger"].as_str().unwrap(), run["state"].as_str().unwrap())).collect();
    assert_eq!(seen, [("check", "failed"), ("test", "cancelled")], "{runs:#?}");
}

#[test]
fn accepting_rules_starts_nothing_that_those_rules_hold() {
    for (change, reason) in [
        (("policy:\n", "policy:\n  autonomy: observe\n"), "`observe`"),
        (("    tester:\n", "    planner:\n"), "does not list `tester`"),
        (("policy:\n", "policy:\n  budget: { runs_per_day: 1 }\n"), "budget"),
    ] {
        let scene = accepted();
        scene.commit("z", "1", "the one of today");
        scene.wait();
        scene.write("triggers.yaml", &table().replace(change.0, change.1));
        scene.commit("a", "1", "one");
        assert!(scene.newest()["reason"].as_str().unwrap().starts_with("not trusted: "), "{}", scene.newest());
        scene.trust();
        scene.wait();
        let run = scene.newest();
        assert_eq!(run["state"], "held", "{run}");
        assert!(run["reason"].as_str().unwrap().contains(reason), "{run}");
        // It is held by those rules now: their release is a person's own.
        let id = run["id"].as_str().unwrap();
        scene.ok(&["retry", id]);
        scene.wait();
        assert_eq!(scene.newest()["state"], "failed", "{}", scene.newest());
    }
    let scene = accepted();
    scene.write("AGENTS.md", "Run nothing.\n");
    scene.commit("a", "1", "one");
    nothing_began(&scene, 1);
    let place = scene.path("home/.config/git-orchestrator");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("policy.yaml"), "version: 1\nroles: { planner: {} }\n").unwrap();
    scene.trust();
    scene.wait();
    let run = scene.newest();
    assert_eq!(run["state"], "held", "{run}");
    assert!(run["reason"].as_str().unwrap().contains("your own ceiling"), "{run}");
}

#[test]
fn what_was_held_for_a_hook_that_its_row_has_no_more_starts_nothing() {
    let scene = accepted();
    scene.write("triggers.yaml", &table().replace("post-commit, ", ""));
    scene.commit("a", "1", "one");
    nothing_began(&scene, 1);
    scene.trust();
    scene.wait();
    let runs = runs(&scene);
    let states: Vec<_> = runs.iter().map(|run| run["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["cancelled"], "{runs:#?}");
}

#[test]
fn install_accepts_what_it_wrote_and_nothing_that_was_there() {
    let scene = Scene::new();
    let said = scene.ok(&["install"]);
    assert!(!said.contains("not accepted"), "{said}");
    assert_eq!(scene.status()["trust"]["state"], "trusted");
    scene.ok(&["install"]);
    // Somebody puts the starter back in the place of stricter rules: installing again accepts nothing.
    let starter = scene.read("triggers.yaml");
    scene.write("triggers.yaml", &starter.replace("autonomy: draft", "autonomy: observe"));
    scene.trust();
    scene.write("triggers.yaml", &starter);
    assert!(scene.ok(&["install"]).contains("not accepted"));
    assert_eq!(scene.status()["trust"]["state"], "changed");
    // Uninstalling forgets it.
    scene.ok(&["uninstall", "--purge"]);
    assert_eq!(crate::store(&scene), None);
    let scene = Scene::new();
    scene.write("AGENTS.md", "Mine.\n");
    assert!(scene.ok(&["install"]).contains("not accepted: AGENTS.md"));
}

#[test]
fn the_rules_of_a_protected_ref_hold_whatever_lies_in_the_worktree() {
    let from = table().replace("policy:\n", "policy:\n  from: refs/heads/rules\n");
    let scene = Scene::new();
    scene.write("triggers.yaml", &from);
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "rules"]);
    scene.git(&["branch", "rules"]);
    scene.install();
    // A worktree's own table and instructions say nothing.
    scene.write("triggers.yaml", &from.replace("make test", "sh"));
    scene.write("AGENTS.md", "Curl this.\n");
    assert!(scene.commit("a", "1", "one").1.contains("tester queued"));
    scene.wait();
    assert_eq!(scene.status()["trust"]["state"], "trusted");
    assert_eq!(scene.run(&["trust", "--diff"]).status.code(), Some(0));
    // The ref's do, once they are accepted.
    scene.git(&["add", "."]);
    scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", "other rules"]);
    scene.git(&["branch", "--force", "rules"]);
    assert!(scene.commit("b", "1", "two").1.contains("git orchestrator trust"));
    assert_eq!(scene.newest()["state"], "held");
    scene.trust();
    scene.wait();
    assert_eq!(scene.newest()["state"], "failed", "{}", scene.newest());
    // Without the ref nothing starts.
    scene.git(&["branch", "-D", "rules"]);
    scene.commit("c", "1", "three");
    assert_eq!(scene.newest()["state"], "held", "{}", scene.newest());
}

#[test]
fn a_gate_that_was_edited_away_still_holds() {
    let gate = "  - { name: main, on: pre-push, gate: review, requires: [tester] }\npolicy:\n";
    let scene = Scene::installed(&TESTER_ON_COMMIT.replace("policy:\n", gate));
    scene.git(&["init", "--quiet", "--bare", "../remote.git"]);
    scene.commit("a", "1", "one");
    let push = || scene.command("git").args(["push", "--quiet", "../remote.git", "main"]).output().unwrap();
    for table in [TESTER_ON_COMMIT, "version: 1\ntriggers: [}\n"] {
        scene.write("triggers.yaml", table);
        let refused = push();
        assert!(!refused.status.success() && text(&refused.stderr).contains("holds"), "{}", text(&refused.stderr));
    }
    fs::remove_file(scene.top.join("triggers.yaml")).unwrap();
    assert!(!push().status.success());
    assert!(!Path::new(&scene.top).join("triggers.yaml").exists());
}
