//! The checkouts that runs work in: what they hold, what survives in them, and that nobody else notices.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod repo;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use orchestrator::git::Repository;
use orchestrator::git::workspace::{self, Workspace};

use crate::repo::{Fixture, git, snapshot, try_git, write, write_program};

fn prepare(f: &Fixture, role: &str, commit: &str) -> Workspace {
    workspace::prepare(&f.open(), role, &commit.parse().unwrap(), &repo::environment()).unwrap()
}

/// The files of a commit, as git has them, against what lies in the workspace but for ignored files.
fn assert_holds(made: &Workspace, f: &Fixture, commit: &str) {
    let status = git(&made.path, ["status", "--porcelain", "--ignored=no", "--untracked-files=all"]);
    assert_eq!(status, "");
    assert_eq!(git(&made.path, ["rev-parse", "HEAD"]), commit);
    assert!(!try_git(&made.path, ["symbolic-ref", "-q", "HEAD"]).status.success());
    for path in f.git(["ls-tree", "-r", "--name-only", "-z", commit]).split('\0').filter(|path| !path.is_empty()) {
        assert!(made.path.join(path).symlink_metadata().is_ok(), "{path}");
    }
    assert!(made.temporary.read_dir().unwrap().next().is_none());
}

#[test]
fn a_workspace_holds_the_commit_and_the_user_keeps_everything() {
    Fixture::of_every_format().iter().for_each(check_a_workspace_holds_the_commit_and_the_user_keeps_everything);
}

fn check_a_workspace_holds_the_commit_and_the_user_keeps_everything(f: &Fixture) {
    f.write(".gitignore", "target/\n");
    let one = f.commit("src/a", "one");
    f.commit("src/removed", "x");
    f.git(["rm", "--quiet", "src/removed"]);
    let two = f.commit("src/a", "two");
    // A state in which a user is: something stashed, something staged, something not, a branch half merged.
    f.write("src/a", "stashed");
    f.git(["stash", "--quiet"]);
    f.write("staged", "x");
    f.git(["add", "staged"]);
    f.write("src/a", "edited");
    f.write("untracked", "x");
    f.git(["worktree", "add", "--quiet", "-b", "planner", "../planner"]);
    let before = snapshot(&f.work);

    let made = prepare(f, "planner", &two);
    assert_holds(&made, f, &two);
    assert_eq!(fs::read_to_string(made.path.join("src/a")).unwrap(), "two");
    write(&made.path.join("target/build"), "warm");
    write(&made.path.join("left"), "behind");
    write(&made.path.join("src/a"), "changed");
    write(&made.temporary.join("left"), "behind");
    let other = prepare(f, "tester", &two);
    assert_ne!(other.path, made.path);
    let made = prepare(f, "planner", &one);
    assert_holds(&made, f, &one);
    assert_eq!(fs::read_to_string(made.path.join("src/a")).unwrap(), "one");
    assert!(made.path.join("target/build").exists(), "what is ignored stays, so that builds stay warm");

    // While workspaces exist, nothing outside of them is different.
    let mut meanwhile = snapshot(&f.work);
    meanwhile.retain(|path, _| {
        let ours = [".git/orchestrator", ".git/worktrees/planner1", ".git/worktrees/tester"];
        !ours.iter().any(|prefix| path.starts_with(prefix))
    });
    assert_eq!(meanwhile, before);
    workspace::remove_all(&f.open(), &repo::environment()).unwrap();
    assert_eq!(snapshot(&f.work), before);
    assert_eq!(f.git(["worktree", "list"]).lines().count(), 2);
    f.git(["worktree", "remove", "--force", "../planner"]);

    // With no other worktree, not even the directory stays.
    let before = snapshot(&f.work);
    prepare(f, "planner", &one);
    workspace::remove_all(&f.open(), &repo::environment()).unwrap();
    workspace::remove_all(&f.open(), &repo::environment()).unwrap();
    assert_eq!(snapshot(&f.work), before);
}

#[test]
fn nothing_a_repository_configures_is_executed() {
    let f = Fixture::new();
    let canaries = f.directory.path().join("canaries");
    fs::create_dir(&canaries).unwrap();
    let canary = |name: &str| format!("touch '{}/{name}'; cat", canaries.display());
    f.write(".gitattributes", "* filter=planted diff=planted merge=planted\nprocessed filter=lasting\n*.ident ident\n");
    f.write("processed", "one\n");
    f.commit("a", "one\n");
    let two = f.commit("a", "two\n");
    for hook in ["post-checkout", "reference-transaction", "post-index-change", "post-commit", "pre-auto-gc"] {
        write_program(&f.path(".git/hooks").join(hook), &format!("#!/bin/sh\n{}\n", canary(hook)));
        write_program(&f.path("own-hooks").join(hook), &format!("#!/bin/sh\n{}\n", canary(hook)));
    }
    let included = f.directory.path().join("included");
    for (key, value) in [
        ("core.hooksPath", "own-hooks"),
        ("core.fsmonitor", &canary("fsmonitor")),
        ("core.pager", &canary("pager")),
        ("pager.log", &canary("pager-log")),
        ("core.editor", &canary("editor")),
        ("core.sshCommand", &canary("ssh")),
        ("core.askPass", &canary("askpass")),
        ("core.alternateRefsCommand", &canary("alternates")),
        ("credential.helper", &format!("!{}", canary("credential"))),
        ("diff.external", &canary("external")),
        ("diff.planted.command", &canary("command")),
        ("diff.planted.textconv", &canary("textconv")),
        ("merge.planted.driver", &canary("driver")),
        ("filter.planted.clean", &canary("clean")),
        ("filter.planted.smudge", &canary("smudge")),
        ("filter.planted.required", "true"),
        ("filter.lasting.process", &canary("process")),
        ("filter.lasting.required", "true"),
        ("gpg.program", &canary("gpg")),
        ("log.showSignature", "true"),
        ("format.pretty", "%G?"),
        ("pretty.planted", "%h %GS"),
        ("gc.auto", "1"),
        ("submodule.recurse", "true"),
        ("hook.planted.event", "post-checkout"),
        ("hook.planted.command", &canary("configured-hook")),
        ("includeIf.gitdir:**/worktrees/**.path", included.to_str().unwrap()),
    ] {
        f.git(["config", key, value]);
    }
    // In force in a workspace alone.
    write(
        &included,
        format!("[filter \"planted\"]\nsmudge = \"{}\"\n[filter \"only.here\"]\nsmudge = x\n", canary("included")),
    );
    fs::remove_dir_all(&canaries).unwrap();
    fs::create_dir(&canaries).unwrap();

    let repository = f.open();
    let made = prepare(&f, "tester", &two);
    assert_eq!(fs::read_to_string(made.path.join("a")).unwrap(), "two\n");
    write(&made.path.join("a"), "changed\n");
    write(&made.path.join("processed"), "changed\n");
    let made = prepare(&f, "tester", &two);

    // And what a run itself does with git, under the same configuration.
    let mut environment = repo::environment();
    environment.extend(
        workspace::neutral_configuration(&repository)
            .unwrap()
            .into_iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    let run = |arguments: &[&str]| {
        duct::cmd("git", arguments)
            .dir(&made.path)
            .full_env(environment.clone())
            .stdin_null()
            .stderr_capture()
            .read()
            .unwrap_or_else(|error| panic!("git {arguments:?}: {error}"))
    };
    write(&made.path.join("a"), "changed\n");
    let diff = run(&["diff"]);
    assert!(diff.contains("-two") && diff.contains("+changed"), "{diff}");
    let diff = run(&["show", "--ext-diff", "HEAD", "--", "a"]);
    assert!(diff.contains("-one") && diff.contains("+two"), "{diff}");
    assert_eq!(run(&["status", "--porcelain"]), " M a");
    run(&["log", "-p", "--textconv"]);
    run(&["stash", "list"]);
    run(&["blame", "a"]);
    run(&["log", "--format=planted"]);
    workspace::remove_all(&repository, &repo::environment()).unwrap();
    let planted: Vec<_> = fs::read_dir(&canaries).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(planted.is_empty(), "{planted:?}");
}

/// A role that reads has a sandbox in which the index cannot be written, and another command may be reading it.
#[test]
fn git_that_only_reads_leaves_the_index_as_it_is() {
    let f = Fixture::new();
    let one = f.commit("a", "one\n");
    let made = prepare(&f, "tester", &one);
    let mut environment = repo::environment();
    environment.extend(
        workspace::neutral_configuration(&f.open())
            .unwrap()
            .into_iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    // What the index knows of the file is no longer true, and what it says of its text still is.
    let file = fs::File::options().write(true).open(made.path.join("a")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
    let index = PathBuf::from(git(&made.path, ["rev-parse", "--path-format=absolute", "--git-path", "index"]));
    let before = fs::read(&index).unwrap();
    for arguments in [&["diff"][..], &["diff", "--stat"], &["diff", "HEAD"], &["status"], &["log", "-p"]] {
        let command = duct::cmd("git", arguments).dir(&made.path).full_env(environment.clone());
        command.stdin_null().stdout_null().run().unwrap();
        assert!(fs::read(&index).unwrap() == before, "git {arguments:?} wrote the index");
    }
}

#[test]
fn what_a_former_run_left_is_gone() {
    let f = Fixture::new();
    f.write(".gitignore", "target/\n");
    f.write("src/deep/b", "b");
    symlink("a", f.path("link")).unwrap();
    let one = f.commit("a", "a");
    let made = prepare(&f, "tester", &one);
    let path = &made.path;
    let outside = f.directory.path().join("outside");
    write(&outside.join("kept"), "kept");

    for empty in [".codex", ".agents", ".aws", "src/.git", "src/deep/.git", "new/.git"] {
        fs::create_dir_all(path.join(empty)).unwrap();
    }
    // Nested repositories: in a new directory, in a tracked one, and a bare one.
    git(path, ["init", "--quiet", "nested"]);
    git(path, ["init", "--quiet", "src"]);
    git(path, ["init", "--quiet", "--bare", "bare"]);
    // Hidden by rules of their own, one below the other.
    write(&path.join("hidden/.gitignore"), "*\n");
    write(&path.join("hidden/below/.gitignore"), "*\n");
    write(&path.join("hidden/below/file"), "x");
    write(&path.join("src/.gitignore"), "secret\n.gitignore\n");
    write(&path.join("src/secret"), "x");
    write(&path.join("target/kept"), "x");
    // Without permissions.
    fs::create_dir(path.join("locked")).unwrap();
    write(&path.join("locked/x"), "x");
    fs::set_permissions(path.join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
    // A tracked directory that leads elsewhere now.
    fs::remove_dir_all(path.join("src/deep")).unwrap();
    symlink(&outside, path.join("src/deep")).unwrap();
    symlink(&outside, path.join("away")).unwrap();
    write(&path.join("-x"), "x");
    write(&path.join(":(glob)**"), "x");
    duct::cmd!("mkfifo", path.join("fifo"), path.join("src/fifo")).run().unwrap();

    let made = prepare(&f, "tester", &one);
    assert_holds(&made, &f, &one);
    let left: Vec<String> = snapshot(&made.path).into_keys().map(|path| path.display().to_string()).collect();
    let expected = [".git", ".gitignore", "a", "link", "src", "src/deep", "src/deep/b", "target", "target/kept"];
    assert_eq!(left, expected);
    assert_eq!(snapshot(&outside).len(), 1);
}

#[test]
fn the_place_of_a_submodule_is_empty_whatever_a_former_run_put_there() {
    let f = Fixture::new();
    let first = f.commit("a", "a");
    for place in ["module", "deep/module"] {
        f.git(["update-index", "--add", "--cacheinfo", &format!("160000,{first},{place}")]);
    }
    f.git(["commit", "--quiet", "-m", "modules"]);
    let head = f.git(["rev-parse", "HEAD"]).trim().to_owned();
    let made = prepare(&f, "tester", &head);
    let places = workspace::submodules(&f.open(), &made, &repo::environment()).unwrap();
    assert_eq!(places, [Path::new("deep/module"), Path::new("module")]);
    for place in ["module", "deep/module"] {
        git(&made.path, ["init", "--quiet", place]);
        write(&made.path.join(place).join("file"), "x");
    }
    let made = prepare(&f, "tester", &head);
    for place in ["module", "deep/module"] {
        assert_eq!(fs::read_dir(made.path.join(place)).unwrap().count(), 0, "{place}");
    }
    // A file or a link in such a place is git's to remove.
    fs::remove_dir(made.path.join("module")).unwrap();
    symlink("/etc", made.path.join("module")).unwrap();
    let made = prepare(&f, "tester", &head);
    assert!(made.path.join("module").symlink_metadata().unwrap().is_dir());
}

/// What is done to the workspace at this path.
type Damage<'a> = Box<dyn Fn(&Path) + 'a>;

#[test]
fn a_workspace_that_does_not_add_up_is_made_anew() {
    Fixture::of_every_format().iter().for_each(check_a_workspace_that_does_not_add_up_is_made_anew);
}

fn check_a_workspace_that_does_not_add_up_is_made_anew(f: &Fixture) {
    let one = f.commit("a", "1");
    let two = f.commit("a", "2");
    let registration = f.path(".git/worktrees/tester");
    let damages: Vec<(&str, Damage<'_>)> = vec![
        ("gone", Box::new(|path| fs::remove_dir_all(path).unwrap())),
        (
            "a link instead",
            Box::new(|path| {
                fs::remove_dir_all(path).unwrap();
                symlink(&f.work, path).unwrap();
            }),
        ),
        (
            "a file instead",
            Box::new(|path| {
                fs::remove_dir_all(path).unwrap();
                write(path, "x");
            }),
        ),
        ("not registered", Box::new(|_| fs::remove_dir_all(&registration).unwrap())),
        ("killed while indexing", Box::new(|_| write(&registration.join("index.lock"), "half"))),
        ("killed while moving", Box::new(|_| write(&registration.join("HEAD.lock"), "half"))),
        ("locked", Box::new(|_| write(&registration.join("locked"), "reason"))),
        ("damaged index", Box::new(|_| write(&registration.join("index"), "nonsense"))),
        ("no head", Box::new(|_| write(&registration.join("HEAD"), ""))),
        ("on a branch", Box::new(|_| write(&registration.join("HEAD"), "ref: refs/heads/main\n"))),
        (
            "leads elsewhere",
            Box::new(|path| write(&path.join(".git"), format!("gitdir: {}\n", f.path(".git").display()))),
        ),
        (
            "a repository of its own",
            Box::new(|path| {
                fs::remove_file(path.join(".git")).unwrap();
                git(path, ["init", "--quiet"]);
            }),
        ),
        ("no link", Box::new(|path| fs::remove_file(path.join(".git")).unwrap())),
        ("in the middle of a merge", Box::new(|_| write(&registration.join("MERGE_HEAD"), format!("{two}\n")))),
    ];
    for (name, damage) in damages {
        let made = prepare(f, "tester", &two);
        damage(&made.path);
        let before = (f.git(["rev-parse", "main"]), f.git(["status", "--porcelain"]));
        let made = prepare(f, "tester", &one);
        assert_holds(&made, f, &one);
        assert_eq!((f.git(["rev-parse", "main"]), f.git(["status", "--porcelain"])), before, "{name}");
        assert_eq!(f.git(["worktree", "list"]).lines().count(), 2, "{name}");
        assert!(!registration.join("MERGE_HEAD").exists(), "{name}");
    }
}

#[test]
fn bare_repositories_and_linked_worktrees_have_workspaces_too() {
    let f = Fixture::new();
    let one = f.commit("a", "1");
    git(f.directory.path(), ["clone", "--quiet", "--bare", "work", "bare.git"]);
    let bare = f.directory.path().join("bare.git");
    f.git(["worktree", "add", "--quiet", "../linked"]);
    let linked = f.directory.path().join("linked");
    for directory in [&bare, &linked] {
        let before = snapshot(directory);
        let repository = Repository::discover(directory, false).unwrap();
        let made = workspace::prepare(&repository, "tester", &one.parse().unwrap(), &repo::environment()).unwrap();
        assert_eq!(fs::read_to_string(made.path.join("a")).unwrap(), "1");
        workspace::remove_all(&repository, &repo::environment()).unwrap();
        assert_eq!(snapshot(directory), before);
    }
}

#[test]
fn names_and_commits_that_make_no_workspace_are_refused() {
    let f = Fixture::new();
    let one = f.commit("a", "1");
    let repository = f.open();
    let before = snapshot(&f.work);
    for role in ["", "..", "a/b", "-x", "A", ".git", "a\0"] {
        assert!(workspace::prepare(&repository, role, &one.parse().unwrap(), &repo::environment()).is_err(), "{role}");
    }
    let missing = "1".repeat(40).parse().unwrap();
    assert!(workspace::prepare(&repository, "tester", &missing, &repo::environment()).is_err());
    assert!(workspace::prepare(&repository, "tester", &one.parse().unwrap(), &[].into()).is_err());
    let made = snapshot(&f.work).into_iter().filter(|(path, _)| !before.contains_key(path));
    assert!(made.into_iter().all(|(path, what)| what == "dir" && path.starts_with(".git/orchestrator")));
}

#[test]
fn what_a_run_changes_in_its_checkout_is_told() {
    let f = Fixture::new();
    f.write(".gitignore", "target/\n");
    f.write("src/b", "b");
    f.write("tests/fails", "x");
    let head = f.commit("src/a", "one");
    let commit = head.parse().unwrap();
    let (repository, environment) = (f.open(), repo::environment());
    let made = prepare(&f, "tester", &head);
    let index = f.path(".git/worktrees/tester/index");
    let before = fs::read(&index).unwrap();
    let changes = || workspace::changes(&repository, &made, &commit, &environment).unwrap();

    // A build, and a file that was written again as it was.
    write(&made.path.join("target/build"), "x");
    write(&made.path.join("src/b"), "b");
    assert_eq!(changes(), workspace::Changes::default());
    assert_eq!(fs::read(&index).unwrap(), before, "looking writes nothing");

    write(&made.path.join("src/a"), "two");
    fs::remove_file(made.path.join("tests/fails")).unwrap();
    write(&made.path.join("new\n\u{1b}file"), "x");
    write(&made.path.join("left/one"), "x");
    write(&made.path.join("left/two"), "x");
    let found = changes();
    assert_eq!(found.tracked, ["src/a", "tests/fails"]);
    assert_eq!(found.new, ["left/", "new\\n\\u{1b}file"]);
    assert_eq!(fs::read(&index).unwrap(), before);
    assert_eq!(f.git(["status", "--porcelain"]), "", "nothing of it is in the user's tree");

    for i in 0..workspace::CHANGES_LISTED {
        write(&made.path.join(format!("file{i:03}")), "x");
    }
    assert_eq!(changes().new.last().unwrap(), "… and 2 more");

    // Whatever answers for ours now is not asked.
    fs::remove_file(made.path.join(".git")).unwrap();
    git(&made.path, ["init", "--quiet"]);
    assert_eq!(changes().tracked, [".git"]);
}

#[test]
fn a_checkout_of_another_commit_is_told() {
    let f = Fixture::new();
    let one = f.commit("a", "one");
    let two = f.commit("a", "two");
    let made = prepare(&f, "tester", &one);
    git(&made.path, ["checkout", "--quiet", &two]);
    let found = workspace::changes(&f.open(), &made, &one.parse().unwrap(), &repo::environment()).unwrap();
    assert_eq!(found.tracked, ["HEAD"]);
}
