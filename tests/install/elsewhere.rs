//! Where git takes its hooks from another directory, or from its configuration.

use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use orchestrator::error::Kind;
use orchestrator::event::Hook;
use orchestrator::git::Repository;
use orchestrator::install::survey::{Place, State, Way};
use orchestrator::install::{self, Done, Request};
use orchestrator::runtime::Environment;

use crate::repo::{self, Fixture, git, snapshot, write, write_program};
use crate::{
    git_in, install_in, install_with, is_old_git, new_git, recorder, request, said, state, survey_of, uninstall,
    uninstall_in,
};

/// The environment with the git that runs hooks from configuration in front, if there is one.
fn new_environment() -> Option<Environment> {
    let git = new_git()?;
    let mut environment = repo::environment();
    let path = environment[std::ffi::OsStr::new("PATH")].clone();
    let path = std::env::join_paths(std::iter::once(git.parent()?.to_path_buf()).chain(std::env::split_paths(&path)));
    environment.insert("PATH".into(), path.unwrap());
    Some(environment)
}

/// What a repository's hooks directory is made to be.
type Prepare = fn(&Fixture);

const ELSEWHERE: [(&str, Prepare, Place); 7] = [
    (
        "tracked",
        |f| {
            f.commit(".githooks/pre-commit", "#!/bin/sh\n");
            f.git(["config", "core.hooksPath", ".githooks"]);
        },
        Place::Tracked,
    ),
    (
        "untracked",
        |f| {
            f.write(".githooks/pre-commit", "#!/bin/sh\n");
            f.git(["config", "core.hooksPath", ".githooks"]);
        },
        Place::Untracked,
    ),
    (
        "outside",
        |f| {
            fs::create_dir(f.directory.path().join("shared hooks")).unwrap();
            f.git(["config", "core.hooksPath", "../shared hooks"]);
        },
        Place::Outside,
    ),
    (
        "missing",
        |f| {
            f.git(["config", "core.hooksPath", ".husky/_"]);
        },
        Place::Missing,
    ),
    (
        "no directory",
        |f| {
            f.git(["config", "core.hooksPath", "/dev/null"]);
        },
        Place::NotADirectory,
    ),
    (
        "a link to a tracked one",
        |f| {
            f.commit("hooks/pre-commit", "#!/bin/sh\n");
            fs::remove_dir_all(f.path(".git/hooks")).unwrap();
            symlink("../hooks", f.path(".git/hooks")).unwrap();
        },
        Place::Tracked,
    ),
    (
        "a configuration without an end of line",
        |f| {
            f.commit(".githooks/pre-commit", "#!/bin/sh\n");
            let mut text = fs::read(f.path(".git/config")).unwrap();
            text.extend_from_slice(b"[core]\n\thooksPath = .githooks");
            write(&f.path(".git/config"), text);
        },
        Place::Tracked,
    ),
];

#[test]
fn a_directory_of_others_is_refused_with_the_lines_to_add() {
    if !is_old_git() {
        return;
    }
    for (name, prepare, place) in ELSEWHERE {
        let f = Fixture::new();
        f.commit("a", "1");
        prepare(&f);
        let program = f.directory.path().join("it's");
        assert_eq!(survey_of(&f, &program, &repo::environment()).source.place, place, "{name}");
        let before = snapshot(&f.work);
        let error = install_with(&f.open(), &program).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{name}");
        let hints = error.hints().join("\n");
        for hook in Hook::INSTALLED {
            assert!(
                hints.contains(&format!("/{hook}: ")) && hints.contains(&format!("hook {hook} \"$@\"")),
                "{name}: {hints}"
            );
        }
        assert_eq!(snapshot(&f.work), before, "{name}");
    }
}

/// A tracked hook is run by people who do not have the program.
#[test]
fn a_line_added_by_hand_stops_nobody_who_lacks_the_program() {
    for hook in Hook::INSTALLED {
        let line = install::block::line_by_hand(Path::new("/nowhere/it's"), hook);
        let line = String::from_utf8(line).unwrap();
        let output = duct::cmd("/bin/sh", ["-euc", &line, hook.as_str()])
            .stdin_null()
            .stdout_capture()
            .stderr_capture()
            .unchecked()
            .run()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{hook}: {output:?}");
    }
}

#[test]
fn the_lines_to_add_by_hand_are_right_as_they_are() {
    if !is_old_git() {
        return;
    }
    let f = Fixture::new();
    let top = f.directory.path();
    let log = top.display();
    // The hook reads its input too, after ours.
    for hook in Hook::INSTALLED {
        write_program(
            &f.path(".githooks").join(hook.as_str()),
            &format!("#!/bin/sh\nset -eu\ncat >>'{log}/their-input'\necho {hook} >>'{log}/theirs'\n"),
        );
    }
    f.commit("a", "1");
    f.git(["config", "core.hooksPath", ".githooks"]);
    git(top, ["init", "--quiet", "--bare", "-b", "main", "remote.git"]);
    let program = recorder(&top.join("a b"), "it's");
    let error = install_with(&f.open(), &program).unwrap_err();
    assert!(error.to_string().contains("tracked") && error.to_string().contains("/.git/config"), "{error}");
    for hook in Hook::INSTALLED {
        let path = f.path(".githooks").join(hook.as_str());
        let begin = format!("{}: ", path.display());
        let line = error.hints().iter().find_map(|hint| hint.strip_prefix(&begin)).unwrap();
        let script = fs::read_to_string(&path).unwrap();
        write(&path, script.replacen('\n', &format!("\n{line}\n"), 1));
    }
    fs::remove_file(top.join("theirs")).ok();
    f.commit("b", "1");
    f.git(["commit", "--quiet", "--amend", "-m", "again"]);
    f.git(["push", "--quiet", "../remote.git", "main"]);
    let calls = "<hook><post-commit>\n<hook><post-commit>\n<hook><post-rewrite><amend>\n<hook><pre-push><../remote.git><../remote.git>\n";
    assert_eq!(said(&top.join("a b"), "calls"), calls);
    assert_eq!(said(&top.join("a b"), "input").lines().count(), 2);
    assert_eq!(said(&top.join("a b"), "input"), said(top, "their-input"));
    assert_eq!(said(top, "theirs"), "post-commit\npost-commit\npost-rewrite\npre-push\n");
    // A gate that says no holds the push back; no other hook can.
    write(&top.join("a b/code"), "3");
    f.commit("c", "1");
    assert!(!repo::try_git(&f.work, ["push", "--quiet", "../remote.git", "main"]).status.success());

    // With the lines in, the rest is set up, and they are seen.
    let report = install_with(&f.open(), &program).unwrap();
    assert!(
        report
            .actions
            .iter()
            .filter(|action| action.path.starts_with(f.path(".githooks")))
            .all(|a| a.done == Done::Kept)
    );
    assert_eq!(state(&f, &program, Hook::PostMerge, &repo::environment()), State::Current(Way::ByHand));
    let report = install::uninstall(&f.open(), &program, false, &repo::environment()).unwrap();
    let left = report.actions.iter().filter(|a| a.note.as_deref().is_some_and(|note| note.contains("by hand"))).count();
    assert_eq!(left, Hook::INSTALLED.len());
}

#[test]
fn a_git_that_runs_configured_hooks_needs_no_directory() {
    let Some(environment) = new_environment() else { return };
    for (name, prepare, place) in ELSEWHERE {
        let f = Fixture::named("re po's \"x\"");
        f.commit("a", "1");
        prepare(&f);
        let top = f.directory.path();
        git(top, ["init", "--quiet", "--bare", "-b", "main", "remote.git"]);
        let program = recorder(&top.join("b\\in \"q\""), std::ffi::OsString::from_vec(b"it's\ncaf\xe9".to_vec()));
        let log = program.parent().unwrap();
        assert_eq!(survey_of(&f, &program, &environment).source.place, place, "{name}");
        let before = snapshot(&f.work);
        install_in(&f.open(), &program, &environment).unwrap();
        assert!(!install_in(&f.open(), &program, &environment).unwrap().changed(), "{name}");
        for survey in survey_of(&f, &program, &environment).hooks {
            assert_eq!(survey.state(), State::Current(Way::Configured), "{name}");
        }
        let installed = snapshot(&f.work);
        let changed: Vec<_> =
            installed.iter().filter(|(path, what)| before.get(*path) != Some(*what)).map(|(path, _)| path).collect();
        assert!(
            changed.iter().all(|path| path.starts_with(".orchestrator")
                || **path == Path::new("triggers.yaml")
                || **path == Path::new(".git/config")),
            "{name}: {changed:?}"
        );
        git_in(&f.work, &environment, &["commit", "--quiet", "--allow-empty", "-m", "b"]);
        git_in(&f.work, &environment, &["push", "--quiet", "../remote.git", "main"]);
        assert_eq!(
            said(log, "calls"),
            "<hook><post-commit>\n<hook><pre-push><../remote.git><../remote.git>\n",
            "{name}"
        );
        assert_eq!(said(log, "input").lines().count(), 1, "{name}");
        // A linked worktree has them too.
        git_in(&f.work, &environment, &["worktree", "add", "--quiet", "-b", "other", "../linked"]);
        git_in(&top.join("linked"), &environment, &["commit", "--quiet", "--allow-empty", "-m", "c"]);
        assert!(said(log, "calls").ends_with("<hook><post-commit>\n"), "{name}");
        git_in(&f.work, &environment, &["worktree", "remove", "../linked"]);
        // A program that is gone stops nothing.
        fs::rename(&program, log.join("gone")).unwrap();
        git_in(&f.work, &environment, &["push", "--quiet", "../remote.git", "HEAD:refs/heads/x"]);
        fs::rename(log.join("gone"), &program).unwrap();
        // What git says no to is a gate.
        write(&log.join("code"), "3");
        let git = orchestrator::process::find_program("git", &environment).unwrap();
        let push = duct::cmd(git, ["push", "--quiet", "../remote.git", "HEAD:refs/heads/y"])
            .dir(&f.work)
            .full_env(&environment);
        assert!(!push.stderr_null().unchecked().run().unwrap().status.success(), "{name}");

        uninstall_in(&f.open(), false, &environment);
        let after = snapshot(&f.work);
        assert_eq!(after.get(Path::new(".git/config")), before.get(Path::new(".git/config")), "{name}: byte for byte");
        assert!(!f.path(".orchestrator").exists() && !f.path("triggers.yaml").exists(), "{name}");
    }
}

#[test]
fn configured_hooks_can_be_asked_for_and_shims_give_way() {
    let f = Fixture::new();
    f.commit("a", "1");
    let program = recorder(f.directory.path(), "program");
    let asked = Request { config_hooks: true, ..request(&program) };
    if is_old_git() {
        let error = install::install(&f.open(), &asked, &repo::environment()).unwrap_err();
        assert!(error.kind() == Kind::Refused && error.to_string().contains("2.54"), "{error}");
    }
    let Some(environment) = new_environment() else { return };
    write_program(&f.path(".git/hooks/post-commit"), "#!/bin/sh\necho theirs >>../theirs\n");
    let before = snapshot(&f.work);
    install_in(&f.open(), &program, &environment).unwrap();
    assert_eq!(state(&f, &program, Hook::PrePush, &environment), State::Current(Way::Shim));
    install::install(&f.open(), &asked, &environment).unwrap();
    assert_eq!(state(&f, &program, Hook::PrePush, &environment), State::Current(Way::Configured));
    assert!(!f.path(".git/hooks/pre-push").exists());
    // Asked for once, it stays so; and each runs once.
    assert!(!install_in(&f.open(), &program, &environment).unwrap().changed());
    git_in(&f.work, &environment, &["commit", "--quiet", "--allow-empty", "-m", "b"]);
    assert_eq!(
        (said(f.directory.path(), "calls"), said(f.directory.path(), "theirs")),
        ("<hook><post-commit>\n".into(), "theirs\n".into())
    );

    // Switched off, without a command, and of another program: all are seen.
    git_in(&f.work, &environment, &["config", "hook.git-orchestrator-post-commit.enabled", "false"]);
    assert_eq!(state(&f, &program, Hook::PostCommit, &environment), State::Disabled);
    assert_eq!(state(&f, Path::new("/other"), Hook::PrePush, &environment), State::Older(Way::Configured));
    if is_old_git() {
        assert_eq!(state(&f, &program, Hook::PrePush, &repo::environment()), State::Disabled);
    }
    git_in(&f.work, &environment, &["config", "--unset", "hook.git-orchestrator-post-commit.enabled"]);
    uninstall_in(&f.open(), false, &environment);
    let after = snapshot(&f.work);
    for path in [".git/config", ".git/hooks/post-commit"] {
        assert_eq!(after.get(Path::new(path)), before.get(Path::new(path)), "{path}");
    }
}

#[test]
fn another_tool_may_write_the_configuration_in_between() {
    let Some(environment) = new_environment() else { return };
    let f = Fixture::new();
    f.commit("a", "1");
    let program = recorder(f.directory.path(), "program");
    install::install(&f.open(), &Request { config_hooks: true, ..request(&program) }, &environment).unwrap();
    f.git(["config", "user.nickname", "ada"]);
    f.git(["config", "core.whitespace", "fix"]);
    uninstall_in(&f.open(), false, &environment);
    let text = fs::read_to_string(f.path(".git/config")).unwrap();
    assert!(
        text.contains("nickname = ada") && text.contains("whitespace = fix") && !text.contains("orchestrator"),
        "{text}"
    );

    // A lock that somebody holds is respected, and nothing is half done.
    write(&f.path(".git/config.lock"), "");
    let before = snapshot(&f.work);
    let error =
        install::install(&f.open(), &Request { config_hooks: true, ..request(&program) }, &environment).unwrap_err();
    assert!(error.to_string().contains("another git writes"), "{error}");
    assert_eq!(snapshot(&f.work), before);
}

#[test]
fn a_directory_that_a_tool_wrote_here_takes_ours() {
    if !is_old_git() {
        return;
    }
    let f = Fixture::new();
    f.write(".gitignore", "/.tool/\n");
    f.commit("a", "1");
    write_program(&f.path(".tool/post-commit"), "#!/bin/sh\necho theirs >>../theirs\n");
    f.git(["config", "core.hooksPath", ".tool"]);
    // Ours from before, where git does not look any more.
    let program = recorder(f.directory.path(), "program");
    let before = snapshot(&f.work);
    f.git(["config", "--unset", "core.hooksPath"]);
    install_with(&f.open(), &program).unwrap();
    f.git(["config", "core.hooksPath", ".tool"]);
    assert_eq!(
        state(&f, &program, Hook::PrePush, &repo::environment()),
        State::Bypassed(f.path(".git/hooks/pre-push"))
    );
    install_with(&f.open(), &program).unwrap();
    assert!(!f.path(".git/hooks/pre-push").exists() && f.path(".tool/pre-push").exists());
    f.commit("b", "1");
    assert_eq!(
        (said(f.directory.path(), "calls"), said(f.directory.path(), "theirs")),
        ("<hook><post-commit>\n".into(), "theirs\n".into())
    );
    // Relative, it holds for each worktree by itself: a linked one has no such directory.
    f.git(["worktree", "add", "--quiet", "../linked"]);
    let linked = Repository::discover(&f.directory.path().join("linked"), false).unwrap();
    assert_eq!(install_with(&linked, &program).unwrap_err().kind(), Kind::Refused);
    f.git(["worktree", "remove", "../linked"]);
    uninstall(&f.open(), false);
    let mut after = snapshot(&f.work);
    after.retain(|path, _| path.starts_with(".tool") || path.starts_with(".git/hooks"));
    assert!(after.iter().all(|(path, what)| before.get(path) == Some(what)), "{after:#?}");
}
