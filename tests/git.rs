//! Reading repositories, and the workspaces runs work in, against the real git.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod repo;

use std::fs;

use orchestrator::event::Change;
use orchestrator::git::Repository;
use orchestrator::git::workspace;
use orchestrator::ids::Oid;

use crate::repo::{Fixture, snapshot};

fn oid(text: &str) -> Oid {
    text.parse().unwrap()
}

fn change(base: Option<&str>, head: &str) -> Change {
    Change { base: base.map(oid), head: oid(head) }
}

fn paths(repository: &Repository, change: &Change) -> Vec<String> {
    let paths = repository.changed_paths(change).unwrap();
    paths.into_iter().map(|path| String::from_utf8_lossy(&path).into_owned()).collect()
}

#[test]
fn changed_paths_are_those_of_git() {
    let f = Fixture::new();
    f.write("a/b/c.txt", "1");
    f.write("a.txt", "1");
    f.write("kept/x", "1");
    f.write("moved", "long enough to be found again\n");
    let one = f.commit("file-then-directory", "1");
    fs::remove_file(f.path("file-then-directory")).unwrap();
    f.write("file-then-directory/inner", "1");
    f.write("a/b/c.txt", "2");
    f.git(["mv", "moved", "elsewhere"]);
    std::os::unix::fs::symlink("a.txt", f.path("link")).unwrap();
    let two = f.commit("ünï", "1");
    let repository = f.open();
    for (base, head) in [(Some(one.as_str()), two.as_str()), (Some(&two), &one)] {
        let listed = f.git(["diff-tree", "-r", "--no-renames", "--name-only", "-z", base.unwrap(), head]);
        let mut listed: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
        listed.sort_unstable();
        assert_eq!(paths(&repository, &change(base, head)), listed);
    }
    assert_eq!(
        paths(&repository, &change(None, &one)),
        ["a.txt", "a/b/c.txt", "file-then-directory", "kept/x", "moved"]
    );
    assert!(paths(&repository, &change(Some(&one), &one)).is_empty());
}

#[test]
fn a_workspace_holds_the_commit_and_the_user_keeps_everything() {
    let f = Fixture::new();
    let one = f.commit("src/a", "one");
    let two = f.commit("src/a", "two");
    let before = snapshot(&f.work);
    let repository = f.open();
    let environment = repo::environment();
    let made = workspace::prepare(&repository, "planner", &oid(&two), &environment).unwrap();
    assert_eq!(fs::read_to_string(made.path.join("src/a")).unwrap(), "two");
    let made = workspace::prepare(&repository, "planner", &oid(&one), &environment).unwrap();
    assert_eq!(fs::read_to_string(made.path.join("src/a")).unwrap(), "one");
    assert!(made.temporary.is_dir());
    workspace::remove_all(&repository, &environment).unwrap();
    assert_eq!(snapshot(&f.work), before);
}
