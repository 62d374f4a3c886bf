//! The person's own ceiling: it narrows what a repository asks for, and `policy show` says where each line comes from.

use std::fs;

use serde_json::Value;

use crate::support::{Scene, TESTER_ON_COMMIT, text};

fn set_ceiling(scene: &Scene, content: &str) {
    let directory = scene.path("home/.config/git-orchestrator");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("policy.yaml"), content).unwrap();
}

fn shown(scene: &Scene) -> Value {
    serde_json::from_str(&scene.ok(&["policy", "show", "--json"])).unwrap()
}

#[test]
fn each_line_of_the_policy_has_its_source() {
    let scene = Scene::installed(TESTER_ON_COMMIT);
    let tester =
        |view: &Value| view["roles"].as_array().unwrap().iter().find(|r| r["role"] == "tester").unwrap().clone();
    let view = shown(&scene);
    assert_eq!(view["ceiling"], Value::Null);
    let role = tester(&view);
    assert_eq!(role["sandbox"]["value"], "workspace-write");
    assert_eq!(role["sandbox"]["from"], "triggers.yaml:10");
    assert_eq!(role["network"]["from"], "the role's own default");
    assert_eq!(role["commands"][0]["value"], "git show");
    assert_eq!(role["commands"][0]["from"], "triggers.yaml:11");
    assert_eq!(role["limits"]["attempts"]["from"], "triggers.yaml:12");
    let planner = view["roles"].as_array().unwrap().iter().find(|r| r["role"] == "planner").unwrap();
    assert!(planner["held"].as_str().unwrap().contains("does not list"));

    set_ceiling(
        &scene,
        "version: 1\nautonomy: propose\nsandbox: read-only\ncommands:\n  - git\n  - cat\n  - make test\n\
         limits: { wall: 30s, tokens: 9M }\nroles:\n  tester:\n    commands: [git show --stat, make test]\nbudget: { runs_per_day: 3 }\n",
    );
    let view = shown(&scene);
    let ceiling = scene.path("home/.config/git-orchestrator/policy.yaml").display().to_string();
    assert_eq!(view["ceiling"], ceiling.as_str());
    assert_eq!(view["autonomy"]["from"], "the default");
    assert_eq!(view["budget"]["runs_per_day"]["value"], 3);
    assert_eq!(view["budget"]["runs_per_day"]["from"], format!("{ceiling}:12"));
    let role = tester(&view);
    assert_eq!(role["sandbox"]["value"], "read-only");
    assert_eq!(role["sandbox"]["from"], format!("{ceiling}:3"));
    assert_eq!(role["limits"]["wall"]["from"], format!("{ceiling}:8"));
    assert_eq!(role["limits"]["tokens"]["from"], "the role's own default", "a ceiling above it changes nothing");
    let commands = role["commands"].as_array().unwrap();
    let pairs: Vec<_> = commands.iter().map(|c| (c["value"].as_str().unwrap(), c["from"].as_str().unwrap())).collect();
    assert_eq!(pairs, [("git show --stat", format!("{ceiling}:11").as_str()), ("make test", "triggers.yaml:11")]);
    assert_eq!(role["refused"].as_array().unwrap().len(), 3, "{role}");
    // The screen says the same, and `check` asks the same list.
    let screen = scene.ok(&["policy", "show", "tester"]);
    assert!(screen.contains("read-only") && screen.contains("policy.yaml:3"), "{screen}");
    assert_eq!(scene.run(&["policy", "check", "--", "ls"]).status.code(), Some(3));
    assert_eq!(scene.run(&["policy", "check", "--", "git show --stat"]).status.code(), Some(0));
}

#[test]
fn a_run_gets_no_more_than_the_ceiling() {
    let scene = Scene::installed(TESTER_ON_COMMIT);
    set_ceiling(&scene, "version: 1\nroles: { planner: {} }\n");
    scene.commit("a", "1", "add a");
    let held = scene.newest();
    assert_eq!(held["state"], "held", "{held}");
    assert!(held["reason"].as_str().unwrap().contains("your own ceiling does not list `tester`"), "{held}");
    // What a person asks for by name is held too: the list is theirs.
    let output = scene.run(&["run", "tester"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));

    let scene = Scene::installed(TESTER_ON_COMMIT);
    set_ceiling(&scene, "version: 1\nautonomy: observe\n");
    scene.commit("a", "1", "add a");
    let held = scene.newest();
    assert_eq!(held["state"], "held", "{held}");
    assert!(held["reason"].as_str().unwrap().contains("observe"), "{held}");
}

#[test]
fn a_broken_ceiling_holds_runs_and_breaks_no_git() {
    let scene = Scene::installed(TESTER_ON_COMMIT);
    for (number, content) in [
        "sandbox: read-only\n",
        "version: 1\nsandbx: read-only\n",
        "version: 2\n",
        "version: 1\nnetwork: maybe\n",
        "version: 1\nroles: { nobody: {} }\n",
        "",
        "\0",
        "version: 1\nversion: 1\n",
    ]
    .into_iter()
    .enumerate()
    {
        set_ceiling(&scene, content);
        scene.commit("a", &number.to_string(), &format!("change {number}"));
        let run = scene.newest();
        assert_eq!(run["state"], "held", "{content:?}: {run}");
        assert!(run["reason"].as_str().unwrap().contains("your own ceiling"), "{content:?}: {run}");
        let output = scene.run(&["policy", "show"]);
        assert_ne!(output.status.code(), Some(0), "{content:?}");
        assert!(text(&output.stderr).contains("policy.yaml"), "{content:?}: {}", text(&output.stderr));
    }
    // A file that is none, too.
    let path = scene.path("home/.config/git-orchestrator/policy.yaml");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    scene.commit("a", "x", "change x");
    assert_eq!(scene.newest()["state"], "held");
}

#[test]
fn what_a_run_gets_is_what_the_ceiling_leaves_of_the_table() {
    let scene = Scene::installed(&TESTER_ON_COMMIT.replace("version: 1\n", "version: 1\nruntime: built-in\n"));
    scene.ok(&["pause"]);
    scene.commit("a", "1", "add a");
    assert_eq!(scene.newest()["state"], "queued");
    // Set after the event: what holds is what the person says when the run begins.
    set_ceiling(
        &scene,
        "version: 1\nsandbox: read-only\ncommands: [cat, make]\nlimits: { wall: 30s }\nbudget: { runs_per_day: 7 }\n",
    );
    scene.ok(&["resume"]);
    scene.wait();
    let ledger = rusqlite::Connection::open(scene.top.join(".orchestrator/state/ledger.db")).unwrap();
    let job: String = ledger.query_row("SELECT job FROM runs", [], |row| row.get(0)).unwrap();
    let job: Value = serde_json::from_str(&job).unwrap();
    let policy = &job["row"]["policy"];
    assert_eq!(policy["sandbox"], "read-only", "{job}");
    assert_eq!(policy["commands"], serde_json::json!(["cat"]), "`make` names no target: {job}");
    assert_eq!(policy["limits"]["wall"], 30_000, "{job}");
    assert_eq!(job["budget"]["runs_per_day"], 7, "{job}");
    // What nobody can read is no permission, whoever asks again.
    set_ceiling(&scene, "version: 1\nsandbx: read-only\n");
    let id = scene.newest()["id"].as_str().unwrap().to_owned();
    scene.run(&["retry", &id]);
    scene.wait();
    let run = scene.newest();
    assert_eq!(run["state"], "held", "{run}");
    assert!(run["reason"].as_str().unwrap().contains("your own ceiling"), "{run}");
}
