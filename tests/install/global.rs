//! The template for new repositories.

use std::fs;
use std::path::Path;

use orchestrator::event::Hook;
use orchestrator::git::Repository;
use orchestrator::install::survey::{State, Way};
use orchestrator::install::{global, shim};
use orchestrator::runtime::Environment;

use crate::repo::{self, snapshot, write, write_program};
use crate::{git_in, install_in, recorder, said, uninstall_in};

/// A person with a home, and a configuration in it.
fn person(home: &Path) -> Environment {
    let mut environment = repo::environment();
    for name in ["GIT_CONFIG_GLOBAL", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        environment.remove(std::ffi::OsStr::new(name));
    }
    environment.insert("HOME".into(), home.into());
    environment
}

#[test]
fn a_new_repository_gets_hooks_that_start_nothing_until_somebody_installs() {
    let top = tempfile::tempdir().unwrap();
    let home = top.path().join("home");
    write(&home.join(".gitconfig"), "[user]\n\tnickname = ada");
    let environment = person(&home);
    let before = snapshot(&home);
    let program = recorder(&top.path().join("bin"), "git-orchestrator");
    let log = top.path().join("bin");
    assert!(global::install(&program, &environment).unwrap().changed());
    assert!(!global::install(&program, &environment).unwrap().changed());

    let work = top.path().join("work");
    git_in(top.path(), &environment, &["init", "--quiet", "-b", "main", "work"]);
    assert!(work.join(".git/info/exclude").exists() && work.join(".git/hooks/pre-commit.sample").exists());
    let template = snapshot(&work.join(".git/hooks"));
    git_in(&work, &environment, &["commit", "--quiet", "--allow-empty", "-m", "a"]);
    assert_eq!(said(&log, "calls"), "<hook><--from-template><post-commit>\n");
    let repository = Repository::discover(&work, false).unwrap();
    let state = |repository: &Repository| {
        let survey = orchestrator::install::survey::survey(repository, &program, &environment).unwrap();
        survey.hooks.first().unwrap().state()
    };
    assert_eq!(state(&repository), State::FromTemplate);
    install_in(&repository, &program, &environment).unwrap();
    assert_eq!(state(&repository), State::Current(Way::Shim));
    git_in(&work, &environment, &["commit", "--quiet", "--allow-empty", "-m", "b"]);
    assert!(said(&log, "calls").ends_with("<hook><post-commit>\n"));
    orchestrator::install::uninstall(&repository, &program, false, &environment).unwrap();
    assert_eq!(snapshot(&work.join(".git/hooks")), template, "as it came from the template");

    assert!(global::uninstall(&program, &environment).unwrap().changed());
    let mut after = snapshot(&home);
    // The directories of the data home are not ours alone.
    after.retain(|path, _| !path.starts_with(".local"));
    assert_eq!(after, before);
    assert!(!home.join(".local/share/git-orchestrator").exists());
    assert!(global::uninstall(&program, &environment).unwrap().actions.is_empty());
}

#[test]
fn a_template_of_a_person_is_used_and_given_back() {
    let top = tempfile::tempdir().unwrap();
    let home = top.path().join("home");
    write(&home.join(".gitconfig"), "[init]\n\ttemplateDir = ~/my template\n");
    write_program(&home.join("my template/hooks/post-commit"), "#!/bin/sh\necho theirs >>../theirs\n");
    let environment = person(&home);
    let before = snapshot(&home);
    let program = recorder(&top.path().join("bin"), "git-orchestrator");
    global::install(&program, &environment).unwrap();
    assert_eq!(fs::read_to_string(home.join(".gitconfig")).unwrap(), "[init]\n\ttemplateDir = ~/my template\n");
    git_in(top.path(), &environment, &["init", "--quiet", "-b", "main", "work"]);
    let work = top.path().join("work");
    git_in(&work, &environment, &["commit", "--quiet", "--allow-empty", "-m", "a"]);
    assert_eq!(said(top.path(), "theirs"), "theirs\n");
    assert!(matches!(
        shim::kind(&fs::read(work.join(".git/hooks/pre-push")).unwrap()),
        shim::Kind::Ours { reach: shim::Reach::Template, .. }
    ));
    // Ours in that repository, and out again: the person's hook of the template runs all the while.
    let repository = Repository::discover(&work, false).unwrap();
    install_in(&repository, &program, &environment).unwrap();
    uninstall_in(&repository, false, &environment);
    git_in(&work, &environment, &["commit", "--quiet", "--allow-empty", "-m", "b"]);
    assert_eq!(said(top.path(), "theirs"), "theirs\ntheirs\n");
    global::uninstall(&program, &environment).unwrap();
    assert_eq!(snapshot(&home), before);
}

#[test]
fn a_template_of_somebody_else_is_refused() {
    let top = tempfile::tempdir().unwrap();
    let home = top.path().join("home");
    let program = Path::new("/bin/git-orchestrator");
    for (value, why) in
        [("/nowhere/at/all", "cannot be looked into"), ("~/file", "no directory"), ("~/repository/t", "git repository")]
    {
        fs::create_dir_all(home.join("repository/t")).unwrap();
        write(&home.join("file"), "");
        write(&home.join(".gitconfig"), format!("[init]\n\ttemplateDir = {value}\n"));
        let mut environment = person(&home);
        git_in(&home, &repo::environment(), &["init", "--quiet", "repository"]);
        let before = snapshot(&home);
        let error = global::install(program, &environment).unwrap_err();
        assert!(error.to_string().contains(why) && !error.hints().is_empty(), "{error}");
        assert_eq!(snapshot(&home), before);
        environment.insert("GIT_CONFIG_GLOBAL".into(), "/dev/null".into());
        assert!(global::install(program, &environment).is_err());
    }
    assert_eq!(Hook::parse("--from-template"), None);
}
