//! Setting a repository up and taking everything back, and what the installed hooks do under the real git and `dash`.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking, and says what it left out")]

#[path = "../repo/mod.rs"]
mod repo;

mod elsewhere;
mod global;
mod hooks;
mod managers;
mod repository;
mod screens;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use orchestrator::error::Result;
use orchestrator::event::Hook;
use orchestrator::git::Repository;
use orchestrator::install::survey::{self, State, Survey};
use orchestrator::install::{self, Report, Request};
use orchestrator::runtime::Environment;

use crate::repo::{Fixture, write_program};

const TABLE: &[u8] = b"version: 1\n";

fn request(program: &Path) -> Request<'_> {
    Request { program, starter: TABLE, config_hooks: false }
}

fn install_with(repository: &Repository, program: &Path) -> Result<Report> {
    install::install(repository, &request(program), &repo::environment())
}

fn install_in(repository: &Repository, program: &Path, environment: &Environment) -> Result<Report> {
    install::install(repository, &request(program), environment)
}

fn uninstall(repository: &Repository, purge: bool) -> Report {
    uninstall_in(repository, purge, &repo::environment())
}

fn uninstall_in(repository: &Repository, purge: bool, environment: &Environment) -> Report {
    install::uninstall(repository, Path::new("/program"), purge, environment).unwrap()
}

fn survey_of(f: &Fixture, program: &Path, environment: &Environment) -> Survey {
    survey::survey(&f.open(), program, environment).unwrap()
}

/// What it comes to for one hook.
fn state(f: &Fixture, program: &Path, hook: Hook, environment: &Environment) -> State {
    survey_of(f, program, environment).hooks.iter().find(|survey| survey.hook == hook).unwrap().state()
}

/// A program in the place of ours: writes its arguments and its input down, and exits with what the file `code` says.
fn recorder(directory: &Path, name: impl AsRef<Path>) -> PathBuf {
    let program = directory.join(name);
    let log = directory.display();
    write_program(
        &program,
        &format!(
            "#!/bin/sh\nfor a; do printf '<%s>' \"$a\"; done >>'{log}/calls'\necho >>'{log}/calls'\n\
             cat >>'{log}/input'\nls /proc/$$/fd >'{log}/descriptors' 2>/dev/null\nexit \"$(cat '{log}/code' 2>/dev/null || echo 0)\"\n"
        ),
    );
    program
}

/// What the recorder or a chained hook wrote down.
fn said(directory: &Path, name: &str) -> String {
    fs::read(directory.join(name)).map(|bytes| String::from_utf8(bytes).unwrap()).unwrap_or_default()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs git with one more variable in its environment.
fn git_with(directory: &Path, variable: (&str, &str), arguments: &[&str]) -> Output {
    let mut environment = repo::environment();
    environment.insert(variable.0.into(), variable.1.into());
    duct::cmd("git", arguments)
        .dir(directory)
        .full_env(environment)
        .stdin_null()
        .stdout_capture()
        .stderr_capture()
        .unchecked()
        .run()
        .unwrap()
}

/// Runs git in this environment; it has to succeed.
fn git_in(directory: &Path, environment: &Environment, arguments: &[&str]) -> String {
    let git = orchestrator::process::find_program("git", environment).unwrap();
    let output = duct::cmd(git, arguments)
        .dir(directory)
        .full_env(environment)
        .stdin_null()
        .stdout_capture()
        .stderr_capture()
        .unchecked()
        .run()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A git that runs hooks from configuration: the one that `GIT_ORCHESTRATOR_TEST_GIT` names, or the one on PATH if it is
/// new enough.
fn new_git() -> Option<PathBuf> {
    let named = std::env::var_os("GIT_ORCHESTRATOR_TEST_GIT").map(PathBuf::from);
    let found = named.into_iter().chain(orchestrator::process::find_program("git", &repo::environment()));
    let found = found.filter(|git| {
        let mut environment = Environment::new();
        environment.insert("PATH".into(), git.parent().unwrap().into());
        orchestrator::git::Program::find(&environment).unwrap().is_at_least(2, 54)
    });
    let git = { found }.next();
    if git.is_none() {
        eprintln!("SKIPPED: git 2.54 or later is needed; GIT_ORCHESTRATOR_TEST_GIT=/path/to/git names one");
    }
    git
}

/// Whether the git on PATH leaves hooks from configuration alone, as the tests of the other way need.
fn is_old_git() -> bool {
    let is_old = !orchestrator::git::Program::find(&repo::environment()).unwrap().is_at_least(2, 54);
    if !is_old {
        eprintln!("SKIPPED: the git on PATH runs hooks from configuration, and never refuses");
    }
    is_old
}
