//! Commits that no hook reported, and everything that is none.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use crate::support::{Scene, TESTER_ON_COMMIT};
use crate::{look, page, sound};

/// A repository that was installed an hour ago, with a table that matches what changes `src`, and a queue that stands
/// still. What git does in it is dated ten minutes back.
fn long_installed() -> Scene {
    let mut scene = sound();
    scene.write(
        "triggers.yaml",
        &TESTER_ON_COMMIT.replace("    role: tester\n", "    when: { paths: [\"src/**\"] }\n    role: tester\n"),
    );
    scene.trust();
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    for path in ["triggers.yaml", ".orchestrator/state/install.json"] {
        File::options().append(true).open(scene.top.join(path)).unwrap().set_modified(hour_ago).unwrap();
    }
    let then = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() - 600;
    scene.set("GIT_COMMITTER_DATE", format!("@{then} +0000"));
    scene.ok(&["pause"]);
    scene
}

#[test]
fn a_commit_that_no_hook_reported() {
    let scene = long_installed();
    let (first, _) = scene.commit("src/a", "1", "add a");
    assert_eq!(look(&scene).left(), ["queue-paused"]);
    // A commit that matches nothing is nothing missed.
    scene.write("docs/a", "1");
    scene.git(&["add", "docs"]);
    scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", "explain a"]);
    assert_eq!(look(&scene).left(), ["queue-paused"]);
    scene.write("src/a", "2");
    scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-a", "-m", "change a"]);
    let seen = look(&scene);
    assert_eq!((seen.left(), seen.code), (vec!["queue-paused", "commit-missed"], 0), "{seen:?}");
    insta::assert_snapshot!(page(&scene, &scene.run(&["doctor"])));
    // What it says to type is what clears it.
    let fix = seen.finding("commit-missed")["fix"].as_str().unwrap().to_owned();
    let words: Vec<&str> = fix.split(' ').skip(2).collect();
    scene.ok(&words);
    assert_eq!(look(&scene).left(), ["queue-paused"]);

    // Going back is no commit; another one beside the hooks is.
    scene.git(&["reset", "--quiet", "--hard", &first]);
    assert_eq!(look(&scene).left(), ["queue-paused"]);
    scene.commit("src/a", "3", "change a otherwise");
    scene.write("src/a", "4");
    scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--amend", "-a", "-m", "change a, better"]);
    assert_eq!(look(&scene).left(), ["queue-paused", "commit-missed"]);
    // A merge that was reported reports what it brought.
    scene.git(&["checkout", "--quiet", "-b", "side"]);
    scene.write("src/b", "1");
    scene.git(&["add", "src"]);
    scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "-m", "add b"]);
    scene.git(&["checkout", "--quiet", "-B", "main", &first]);
    scene.git(&["merge", "--quiet", "--no-ff", "-m", "merge side", "side"]);
    assert_eq!(look(&scene).left(), ["queue-paused"]);
}

#[test]
fn no_false_alarm_about_what_git_does() {
    let scene = long_installed();
    let clean = |what: &str| {
        let seen = look(&scene);
        assert_eq!(seen.left(), ["queue-paused"], "after {what}: {seen:?}");
    };
    scene.commit("src/a", "1", "add a");
    clean("a commit");
    scene.write("src/a", "2");
    scene.git(&["commit", "--quiet", "--amend", "-a", "-m", "add a, amended"]);
    clean("an amend");
    scene.git(&["checkout", "--quiet", "-b", "topic"]);
    for n in 0..3 {
        scene.commit("src/b", &n.to_string(), "change b");
    }
    scene.commit("src/e", "1", "add e");
    clean("commits on a branch");
    scene.git(&["checkout", "--quiet", "main"]);
    scene.commit("src/c", "1", "add c");
    scene.git(&["checkout", "--quiet", "topic"]);
    scene.git(&["rebase", "--quiet", "main"]);
    clean("a rebase");
    scene.git(&["rebase", "--quiet", "--apply", "--force-rebase", "main"]);
    clean("the other rebase");
    scene.git(&["checkout", "--quiet", "main"]);
    scene.git(&["merge", "--quiet", "--ff-only", "topic"]);
    clean("a fast-forward");
    scene.git(&["reset", "--quiet", "--hard", "HEAD~3"]);
    clean("a reset");
    scene.git(&["cherry-pick", "topic"]);
    clean("a cherry-pick");
    scene.git(&["revert", "--no-edit", "HEAD"]);
    clean("a revert");
    scene.git(&["format-patch", "--quiet", "-1", "topic", "-o", scene.path("patches").to_str().unwrap()]);
    scene.git(&["checkout", "--quiet", "-b", "patched", "topic~1"]);
    let patch = fs::read_dir(scene.path("patches")).unwrap().next().unwrap().unwrap().path();
    scene.git(&["am", "--quiet", patch.to_str().unwrap()]);
    clean("am");
    scene.git(&["branch", "--quiet", "-m", "patched", "renamed"]);
    scene.git(&["branch", "--quiet", "copy", "main~1"]);
    clean("branches made and renamed");
    // Somebody else's commits come by fetch, straight into a branch, and by pull.
    let other = scene.path("other");
    scene.git(&["clone", "--quiet", ".", other.to_str().unwrap()]);
    scene.git_in(&other, &["config", "user.name", "Bob"]);
    scene.git_in(&other, &["config", "user.email", "bob@example.invalid"]);
    scene.git_in(&other, &["checkout", "--quiet", "main"]);
    fs::write(other.join("src/d"), "1").unwrap();
    scene.git_in(&other, &["add", "."]);
    scene.git_in(&other, &["commit", "--quiet", "-m", "add d"]);
    let url = other.to_str().unwrap();
    scene.git(&["checkout", "--quiet", "main"]);
    scene.git(&["fetch", "--quiet", url, "main:fetched"]);
    clean("a fetch");
    scene.git(&["pull", "--quiet", "--no-rebase", url, "main"]);
    clean("a pull");
    scene.git(&["worktree", "add", "--quiet", "-b", "linked", scene.path("linked").to_str().unwrap()]);
    clean("a worktree");
}
