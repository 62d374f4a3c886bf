//! Setting a repository up and taking everything back, and what the installed hooks do under the real git and `dash`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod repo;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use orchestrator::error::{Kind, Result};
use orchestrator::event::Hook;
use orchestrator::git::Repository;
use orchestrator::install::{self, Done, Report, shim};

use crate::repo::{Fixture, git, snapshot, try_git, write, write_program};

const TABLE: &[u8] = b"version: 1\n";

fn install_with(repository: &Repository, program: &Path) -> Result<Report> {
    install::install(repository, program, TABLE, &repo::environment())
}

fn uninstall(repository: &Repository, purge: bool) -> Report {
    install::uninstall(repository, purge, &repo::environment()).unwrap()
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

/// What a repository is made to look like before.
type Prepare = fn(&Fixture);

#[test]
fn what_was_there_before_is_there_afterwards_byte_for_byte() {
    let starts: [(&str, Prepare); 6] = [
        ("nothing", |_| {}),
        ("no hooks directory", |f| fs::remove_dir_all(f.path(".git/hooks")).unwrap()),
        ("hooks of others", |f| {
            write_program(&f.path(".git/hooks/pre-push"), "#!/bin/sh\n");
            write(&f.path(".git/hooks/post-commit"), b"not executable \xff".as_slice());
            write_program(&f.path(".git/hooks/commit-msg"), "#!/bin/sh\n");
        }),
        ("linked hooks", |f| {
            write_program(&f.path("tools/hook"), "#!/bin/sh\n");
            symlink("../../tools/hook", f.path(".git/hooks/post-commit")).unwrap();
            symlink("nowhere", f.path(".git/hooks/post-merge")).unwrap();
        }),
        ("a table", |f| f.write("triggers.yaml", "mine")),
        ("strange modes", |f| {
            write_program(&f.path(".git/hooks/post-merge"), "#!/bin/sh\n");
            fs::set_permissions(f.path(".git/hooks/post-merge"), fs::Permissions::from_mode(0o510)).unwrap();
        }),
    ];
    for (name, prepare) in starts {
        let f = Fixture::new();
        f.commit("a", "1");
        prepare(&f);
        let repository = f.open();
        let before = snapshot(&f.work);
        let program = recorder(f.directory.path(), "program");
        let report = install_with(&repository, &program).unwrap();
        assert!(report.changed(), "{name}");
        let installed = snapshot(&f.work);
        for hook in Hook::INSTALLED {
            let path = f.path(".git/hooks").join(hook.as_str());
            assert!(matches!(shim::kind(&fs::read(&path).unwrap()), shim::Kind::Ours { .. }));
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        }

        // Again: nothing changes.
        let again = install_with(&repository, &program).unwrap();
        assert!(!again.changed(), "{name}: {again:?}");
        assert_eq!(snapshot(&f.work), installed, "{name}");

        uninstall(&repository, false);
        assert_eq!(snapshot(&f.work), before, "{name}");
        assert!(uninstall(&repository, false).actions.is_empty(), "{name}");
    }
}

#[test]
fn an_older_shim_and_a_moved_program_are_brought_up_to_date() {
    let f = Fixture::new();
    let repository = f.open();
    let (old, new) = (recorder(f.directory.path(), "old"), recorder(f.directory.path(), "new"));
    install_with(&repository, &old).unwrap();
    let report = install_with(&repository, &new).unwrap();
    assert_eq!(report.actions.iter().filter(|action| action.done == Done::Updated).count(), Hook::INSTALLED.len());
    f.commit("a", "1");
    assert_eq!(said(f.directory.path(), "calls"), "<hook><post-commit>\n");
    assert!(fs::read_to_string(f.path(".git/hooks/post-commit")).unwrap().contains("/new'"));
}

#[test]
fn whatever_cannot_be_done_whole_is_not_begun() {
    let cases: [(&str, Prepare, &str); 8] = [
        (
            "two hooks of others",
            |f| {
                write_program(&f.path(".git/hooks/pre-push"), "#!/bin/sh\n");
                write_program(&f.path(".git/hooks/pre-push.before-orchestrator"), "#!/bin/sh\n");
            },
            "belongs to somebody else",
        ),
        ("a directory as a hook", |f| fs::create_dir_all(f.path(".git/hooks/pre-push")).unwrap(), "is a directory"),
        (
            "hooks elsewhere",
            |f| {
                f.git(["config", "core.hooksPath", ".husky/_"]);
            },
            "core.hooksPath is set",
        ),
        (
            "no hooks",
            |f| {
                f.git(["config", "core.hooksPath", "/dev/null"]);
            },
            "core.hooksPath is set",
        ),
        (
            "a linked hooks directory",
            |f| {
                fs::rename(f.path(".git/hooks"), f.path("hooks")).unwrap();
                symlink("../hooks", f.path(".git/hooks")).unwrap();
            },
            "not a directory of this repository",
        ),
        ("a link as our directory", |f| symlink(".git", f.path(".orchestrator")).unwrap(), "is not a directory"),
        ("a file as our directory", |f| f.write(".orchestrator", "x"), "is not a directory"),
        (
            "a linked state directory",
            |f| {
                fs::create_dir(f.path(".orchestrator")).unwrap();
                symlink("../.git", f.path(".orchestrator/state")).unwrap();
            },
            "is not a directory",
        ),
    ];
    for (name, prepare, sentence) in cases {
        let f = Fixture::new();
        f.commit("a", "1");
        prepare(&f);
        let repository = f.open();
        let before = snapshot(&f.work);
        let error = install_with(&repository, &f.path("program")).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{name}");
        assert!(error.to_string().contains(sentence), "{name}: {error}");
        assert!(!error.hints().is_empty(), "{name}");
        assert_eq!(snapshot(&f.work), before, "{name}");
    }
}

#[test]
fn a_failure_half_way_is_undone() {
    let f = Fixture::new();
    f.commit("a", "1");
    write_program(&f.path(".git/hooks/post-commit"), "#!/bin/sh\n");
    // Nothing can be created beside the table: after the hooks were looked at, before the first is touched.
    fs::create_dir_all(f.path(".orchestrator/state/install.json")).unwrap();
    let repository = f.open();
    let before = snapshot(&f.work);
    install_with(&repository, &f.path("program")).unwrap_err();
    assert_eq!(snapshot(&f.work), before);
}

#[test]
fn the_lines_to_add_by_hand_are_given_where_hooks_lie_elsewhere() {
    let f = Fixture::new();
    f.git(["config", "core.hooksPath", "my hooks"]);
    let program = f.directory.path().join("it's");
    let error = install_with(&f.open(), &program).unwrap_err();
    let hints = error.hints().join("\n");
    for hook in Hook::INSTALLED {
        assert!(hints.contains(&format!("{}/{hook}: ", f.path("my hooks").display())), "{hints}");
        assert!(hints.contains(&format!("hook {hook} \"$@\"")), "{hints}");
    }
    // The directory git uses anyway is no other one.
    f.git(["config", "core.hooksPath", f.path(".git/hooks").to_str().unwrap()]);
    install_with(&f.open(), &program).unwrap();
}

#[test]
fn a_linked_worktree_and_a_bare_repository_share_their_hooks() {
    let f = Fixture::new();
    f.commit("a", "1");
    f.git(["worktree", "add", "--quiet", "-b", "other", "../linked"]);
    let linked = f.directory.path().join("linked");
    let program = recorder(f.directory.path(), "program");
    let repository = Repository::discover(&linked, false).unwrap();
    install_with(&repository, &program).unwrap();
    assert!(f.path(".git/hooks/post-commit").is_file());
    assert!(f.path(".orchestrator/state").is_dir() && f.path("triggers.yaml").is_file());
    assert!(!linked.join(".orchestrator").exists() && !linked.join("triggers.yaml").exists());
    write(&linked.join("b"), "b");
    git(&linked, ["add", "b"]);
    git(&linked, ["commit", "--quiet", "-m", "b"]);
    assert_eq!(said(f.directory.path(), "calls"), "<hook><post-commit>\n");
    uninstall(&repository, false);
    assert!(!f.path(".git/hooks/post-commit").exists() && !f.path(".orchestrator").exists());

    git(f.directory.path(), ["init", "--quiet", "--bare", "bare.git"]);
    let bare = f.directory.path().join("bare.git");
    let before = snapshot(&bare);
    let repository = Repository::discover(&bare, false).unwrap();
    install_with(&repository, &program).unwrap();
    assert!(bare.join(".orchestrator").is_dir() && bare.join("hooks/post-commit").is_file());
    uninstall(&repository, false);
    assert_eq!(snapshot(&bare), before);
}

#[test]
fn what_somebody_changed_is_kept_and_reported() {
    let f = Fixture::new();
    write_program(&f.path(".git/hooks/post-merge"), "#!/bin/sh\n# old\n");
    let repository = f.open();
    let program = recorder(f.directory.path(), "program");
    install_with(&repository, &program).unwrap();
    let edited = f.path(".git/hooks/post-commit");
    let mut bytes = fs::read(&edited).unwrap();
    bytes.extend_from_slice(b"echo mine\n");
    write(&edited, &bytes);
    // Somebody put a hook of theirs in the place of our shim.
    write_program(&f.path(".git/hooks/post-merge"), "#!/bin/sh\n# newer\n");
    f.write("triggers.yaml", "mine now");
    f.write(".orchestrator/artifacts/0123/tester.md", "worth keeping");

    assert_eq!(install_with(&repository, &program).unwrap_err().kind(), Kind::Refused);
    let report = uninstall(&repository, false);
    let kept: Vec<&Path> = report
        .actions
        .iter()
        .filter(|action| action.done == Done::Kept)
        .inspect(|action| assert!(action.note.is_some()))
        .map(|action| action.path.as_path())
        .collect();
    let expected = [edited.clone(), f.path(".git/hooks/post-merge"), f.path("triggers.yaml"), f.path(".orchestrator")];
    assert_eq!(kept, expected);
    assert!(fs::read(&edited).unwrap() == bytes && said(&f.work, "triggers.yaml") == "mine now");
    assert!(f.path(".git/hooks/post-merge.before-orchestrator").exists());
    assert!(!f.path(".git/hooks/pre-push").exists());

    uninstall(&repository, true);
    assert!(!f.path(".orchestrator").exists());
}

/// A repository with a remote, an installed recorder, and hooks of others for every installed hook that write down
/// their arguments and input and exit with what `chained-code` says.
fn chained() -> (Fixture, PathBuf) {
    let f = Fixture::new();
    let top = f.directory.path().to_path_buf();
    git(&top, ["init", "--quiet", "--bare", "-b", "main", "remote.git"]);
    f.git(["remote", "add", "origin", "../remote.git"]);
    let log = top.display();
    for hook in Hook::INSTALLED {
        write_program(
            &f.path(".git/hooks").join(hook.as_str()),
            &format!(
                "#!/bin/sh\nprintf '{hook}' >>'{log}/chained'\nfor a; do printf '<%s>' \"$a\"; done >>'{log}/chained'\n\
                 echo >>'{log}/chained'\ncat >>'{log}/chained-input'\nexit \"$(cat '{log}/chained-code' 2>/dev/null || echo 0)\"\n"
            ),
        );
    }
    install_with(&f.open(), &recorder(&top, "program")).unwrap();
    (f, top)
}

#[test]
fn hooks_that_were_there_run_first_with_arguments_and_input() {
    let (f, top) = chained();
    f.commit("a", "1");
    f.git(["commit", "--quiet", "--amend", "-m", "again"]);
    f.git(["push", "--quiet", "origin", "main"]);
    let calls = "post-commit\npost-commit\npost-rewrite<amend>\npre-push<origin><../remote.git>\n";
    assert_eq!(said(&top, "chained"), calls);
    let own = "<hook><post-commit>\n<hook><post-commit>\n<hook><post-rewrite><amend>\n<hook><pre-push><origin><../remote.git>\n";
    assert_eq!(said(&top, "calls"), own);
    assert_eq!(said(&top, "input").lines().count(), 2);
    assert_eq!(said(&top, "input"), said(&top, "chained-input"));
}

#[test]
fn a_refusal_of_either_stops_a_push_and_nothing_else() {
    let (f, top) = chained();
    write(&top.join("chained-code"), "7");
    f.commit("a", "1");
    assert_eq!(said(&top, "calls"), "<hook><post-commit>\n");
    let push = || try_git(&f.work, ["push", "--quiet", "origin", "main"]);
    assert!(!push().status.success());
    // Ours was not asked any more.
    assert_eq!(said(&top, "calls"), "<hook><post-commit>\n");
    fs::remove_file(top.join("chained-code")).unwrap();
    write(&top.join("code"), "3");
    assert!(!push().status.success());
    assert!(git(&top, ["--git-dir=remote.git", "branch", "--list"]).is_empty());
    // Ours is left out, theirs is not.
    assert!(git_with(&f.work, ("GIT_ORCHESTRATOR_SKIP", "1"), &["push", "--quiet", "origin", "main"]).status.success());
    assert_eq!(said(&top, "chained").lines().filter(|line| line.starts_with("pre-push")).count(), 3);
    assert_eq!(said(&top, "calls").lines().filter(|line| line.contains("pre-push")).count(), 1);
    write(&top.join("chained-code"), "7");
    f.commit("b", "1");
    assert!(
        !git_with(&f.work, ("GIT_ORCHESTRATOR_SKIP", "1"), &["push", "--quiet", "origin", "main"]).status.success()
    );
}

#[test]
fn a_program_that_is_gone_or_broken_never_stops_git() {
    let f = Fixture::new();
    let top = f.directory.path().to_path_buf();
    git(&top, ["init", "--quiet", "--bare", "remote.git"]);
    let program = recorder(&top, "program");
    install_with(&f.open(), &program).unwrap();
    fs::remove_file(&program).unwrap();
    f.write("a", "1");
    f.git(["add", "a"]);
    let output = try_git(&f.work, ["commit", "--quiet", "-m", "a"]);
    assert!(output.status.success());
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert!(stderr(&output).starts_with("git-orchestrator: "));
    assert!(try_git(&f.work, ["push", "--quiet", "../remote.git", "main"]).status.success());

    // It is found on PATH then.
    recorder(&top.join("bin"), "git-orchestrator");
    let path = std::env::join_paths(
        std::iter::once(top.join("bin")).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let output =
        git_with(&f.work, ("PATH", path.unwrap().to_str().unwrap()), &["commit", "--quiet", "--amend", "-m", "b"]);
    assert!(output.status.success() && stderr(&output).is_empty(), "{}", stderr(&output));
    assert!(said(&top.join("bin"), "calls").starts_with("<hook><post-commit>\n"));

    // Killed, or of another machine.
    for body in ["#!/bin/sh\nkill -9 $$\n", "\u{7f}ELF nothing"] {
        write_program(&program, body);
        f.git(["commit", "--quiet", "--amend", "-m", body]);
        assert!(try_git(&f.work, ["push", "--quiet", "--force", "../remote.git", "main"]).status.success(), "{body:?}");
    }
}

#[test]
fn no_crash_of_ours_stops_a_merge_or_fails_a_checkout_and_a_refusal_of_theirs_stops_the_merge() {
    let (f, top) = chained();
    f.commit("a", "1");
    f.git(["switch", "--quiet", "-c", "topic"]);
    f.commit("b", "1");
    f.git(["switch", "--quiet", "main"]);
    f.commit("c", "1");
    let merge = || try_git(&f.work, ["merge", "--quiet", "--no-edit", "topic"]).status.success();
    let switch = || try_git(&f.work, ["switch", "--quiet", "--detach", "topic"]).status.success();
    let back = || git_with(&f.work, ("GIT_ORCHESTRATOR_SKIP", "1"), &["switch", "--quiet", "main"]);
    for body in ["#!/bin/sh\nexit 3\n", "#!/bin/sh\nkill -9 $$\n", "\u{7f}ELF nothing"] {
        write_program(&top.join("program"), body);
        assert!(merge(), "{body:?}");
        assert!(switch(), "{body:?}");
        back();
        f.git(["reset", "--quiet", "--hard", "HEAD~1"]);
    }
    // What was there is heard as it was: its refusal stops the merge, and its exit code is that of the checkout.
    recorder(&top, "program");
    write(&top.join("chained-code"), "7");
    assert!(!merge());
    assert_eq!(said(&top, "calls").lines().filter(|line| line.contains("pre-merge-commit")).count(), 0);
    f.git(["merge", "--abort"]);
    assert!(!switch());
    assert_eq!(f.git(["rev-parse", "HEAD"]), f.git(["rev-parse", "topic"]));
}

#[test]
fn any_path_will_do() {
    for (directory, name) in
        [("with space", "it's a program"), ("quo'te \"$(touch PWNED)`", "new\nline"), ("ünï", "-x")]
    {
        let f = Fixture::named(directory);
        let program = recorder(&f.directory.path().join("bin"), name);
        let repository = f.open();
        install_with(&repository, &program).unwrap();
        f.commit("a", "1");
        assert_eq!(said(&f.directory.path().join("bin"), "calls"), "<hook><post-commit>\n", "{name:?}");
        assert!(!f.path("PWNED").exists());
        uninstall(&repository, false);
        f.commit("b", "1");
        assert_eq!(said(&f.directory.path().join("bin"), "calls").lines().count(), 1);
    }
    let f = Fixture::new();
    let program = recorder(f.directory.path(), OsString::from_vec(b"caf\xe9".to_vec()));
    install_with(&f.open(), &program).unwrap();
    f.commit("a", "1");
    assert_eq!(said(f.directory.path(), "calls"), "<hook><post-commit>\n");
    assert!(install_with(&f.open(), Path::new("relative")).is_err());
}

#[test]
fn the_shim_is_plain_posix_and_hands_input_on_byte_for_byte() {
    let top = tempfile::tempdir().unwrap();
    let program = recorder(top.path(), "program");
    let hook = top.path().join("pre-push");
    let bytes: Vec<u8> = (0..=255).chain(*b"\n\n").cycle().take(300_000).collect();
    for shell in ["dash", "bash", "sh"] {
        if !Path::new("/bin").join(shell).exists() {
            continue;
        }
        for with_chain in [false, true] {
            let chain = top.path().join("pre-push.before-orchestrator");
            if with_chain {
                // Reads nothing of what it is offered.
                write_program(&chain, "#!/bin/sh\nexit 0\n");
            }
            write_program(
                &hook,
                &String::from_utf8(shim::render(&program, Hook::PrePush, shim::Reach::Repository)).unwrap(),
            );
            // With descriptors of the caller open, as an editor or a test runner leaves them.
            duct::cmd!("sh", "-c", "exec \"$@\" 3>/dev/null 9>/dev/null", "sh", shell, &hook, "a b", "", "*")
                .full_env(repo::environment())
                .stdin_bytes(bytes.clone())
                .stdout_capture()
                .run()
                .unwrap();
            assert_eq!(fs::read(top.path().join("input")).unwrap(), bytes, "{shell} {with_chain}");
            assert_eq!(said(top.path(), "calls"), "<hook><pre-push><a b><><*>\n");
            // From 10 on they are the shell's own.
            let open = said(top.path(), "descriptors");
            assert!(open.lines().all(|number| ["0", "1", "2"].contains(&number) || number.len() > 1), "{open}");
            for name in ["input", "calls", "pre-push.before-orchestrator"] {
                fs::remove_file(top.path().join(name)).ok();
            }
        }
    }
}
