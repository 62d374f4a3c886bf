//! What a person sees of `install` and `uninstall`, by the built program.

use std::fs;
use std::path::Path;

use assert_cmd::cargo::cargo_bin;
use insta::assert_snapshot;
use orchestrator::git::Program;
use orchestrator::runtime::Environment;

use crate::repo::{self, Fixture, git, write, write_program};
use crate::{is_old_git, new_git};

/// The program's exit code and both streams, with the places that differ from one run to the next replaced.
fn screen(f: &Fixture, environment: &Environment, arguments: &[&str]) -> String {
    let program = cargo_bin("git-orchestrator");
    let output = duct::cmd(&program, arguments)
        .dir(&f.work)
        .full_env(environment)
        .stdin_null()
        .stdout_capture()
        .stderr_capture()
        .unchecked()
        .run()
        .unwrap();
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .replace(program.to_str().unwrap(), "/bin/git-orchestrator")
            .replace(&Program::find(environment).unwrap().version, "VERSION")
            .replace(f.directory.path().canonicalize().unwrap().to_str().unwrap(), "/top")
    };
    let code = output.status.code().unwrap();
    format!("{}--- stderr\n{}--- exit code {code}\n", text(&output.stdout), text(&output.stderr))
}

fn environment(f: &Fixture) -> Environment {
    let mut environment = repo::environment();
    environment.insert("NO_COLOR".into(), "1".into());
    environment.insert("HOME".into(), f.directory.path().join("home").into());
    environment
}

#[test]
fn in_a_repository_with_hooks_of_others() {
    let f = Fixture::new();
    f.write("triggers.yaml", "version: 1\n");
    write_program(&f.path(".git/hooks/post-commit"), "#!/bin/sh\n");
    write_program(&f.path(".git/hooks/post-merge"), "#!/bin/sh\nbasename \"$0\"\n");
    let environment = environment(&f);
    assert_snapshot!("install", screen(&f, &environment, &["install"]));
    assert_snapshot!("install_again", screen(&f, &environment, &["install"]));
    write(&f.path(".git/hooks/post-commit"), "#!/bin/sh\n# another\n");
    assert_snapshot!("install_no_name_left", screen(&f, &environment, &["install"]));
    assert_snapshot!("uninstall", screen(&f, &environment, &["uninstall"]));
    fs::remove_file(f.path(".git/hooks/post-commit.before-orchestrator")).unwrap();
    assert_snapshot!("uninstall_again", screen(&f, &environment, &["uninstall"]));
}

#[test]
fn where_git_looks_elsewhere() {
    let f = Fixture::new();
    f.commit(".githooks/pre-commit", "#!/bin/sh\n");
    f.write("triggers.yaml", "version: 1\n");
    f.git(["config", "core.hooksPath", ".githooks"]);
    let mut environment = environment(&f);
    if is_old_git() {
        assert_snapshot!("refused", screen(&f, &environment, &["install"]));
        assert_snapshot!("refused_config_hooks", screen(&f, &environment, &["install", "--config-hooks"]));
    }
    let Some(git) = new_git() else { return };
    let path = environment[std::ffi::OsStr::new("PATH")].clone();
    let path = std::env::join_paths(std::iter::once(git.parent().unwrap().into()).chain(std::env::split_paths(&path)));
    environment.insert("PATH".into(), path.unwrap());
    assert_snapshot!("configured_rehearsed", screen(&f, &environment, &["install", "--dry-run"]));
    assert!(!f.path(".orchestrator").exists());
    assert_snapshot!("configured", screen(&f, &environment, &["install"]));
    assert_snapshot!("configured_out_rehearsed", screen(&f, &environment, &["uninstall", "--dry-run"]));
    assert_snapshot!("configured_out", screen(&f, &environment, &["uninstall"]));
}

#[test]
fn a_clone_says_what_to_type_and_starts_nothing() {
    let f = Fixture::new();
    let mut environment = environment(&f);
    environment.remove(std::ffi::OsStr::new("GIT_CONFIG_GLOBAL"));
    write(&f.directory.path().join("home/.gitconfig"), "[user]\n\tname = Ada\n");
    assert_snapshot!("global", screen(&f, &environment, &["install", "--global"]));
    f.write("triggers.yaml", "version: 1\ntriggers:\n  - { name: test, on: post-commit, role: tester }\n");
    f.git(["add", "."]);
    f.git(["commit", "--quiet", "-m", "a"]);
    let clone = f.directory.path().join("clone");
    let run = |directory: &Path, arguments: &[&str]| {
        let command = duct::cmd("git", arguments).dir(directory).full_env(&environment).stdin_null();
        command.stdout_null().stderr_capture().unchecked().run().unwrap()
    };
    assert!(run(f.directory.path(), &["clone", "--quiet", "work", "clone"]).status.success());
    let said = run(&clone, &["commit", "--quiet", "--allow-empty", "-m", "b"]);
    assert_eq!(
        String::from_utf8_lossy(&said.stderr),
        "git-orchestrator: there is a triggers.yaml here, and nothing starts by it · git orchestrator install\n"
    );
    assert!(!clone.join(".orchestrator").exists());
    git(&clone, ["rm", "--quiet", "triggers.yaml"]);
    assert!(run(&clone, &["commit", "--quiet", "-m", "c"]).stderr.is_empty());
    assert_snapshot!("global_out", screen(&f, &environment, &["uninstall", "--global"]));
}
