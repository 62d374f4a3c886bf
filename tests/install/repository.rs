//! What is put into a repository and taken out again.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use orchestrator::error::Kind;
use orchestrator::event::Hook;
use orchestrator::git::Repository;
use orchestrator::ids::Digest;
use orchestrator::install::change;
use orchestrator::install::survey::{State, Way};
use orchestrator::install::{self, Done, Plan, shim};

use crate::repo::{self, Fixture, git, snapshot, write, write_program};
use crate::{install_with, recorder, request, said, state, uninstall};

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
fn the_first_version_of_the_shim_is_replaced() {
    let f = Fixture::new();
    let (old, new) = (recorder(f.directory.path(), "it's"), recorder(f.directory.path(), "new"));
    let body = include_str!("shim-1.sh").split_once("@DIGEST@\n").unwrap();
    let quoted = old.to_str().unwrap().replace('\'', "'\\''");
    let rest = body.1.replace("@PROGRAM@", &format!("'{quoted}'"));
    let first = format!("{}{}\n{rest}", body.0, Digest::of(rest.as_bytes()));
    for hook in ["post-commit", "pre-push"] {
        write_program(&f.path(".git/hooks").join(hook), &first);
    }
    write_program(&f.path(".git/hooks/post-commit.before-orchestrator"), "#!/bin/sh\necho theirs >>../theirs\n");
    assert_eq!(state(&f, &old, Hook::PrePush, &repo::environment()), State::Older(Way::Shim));
    install_with(&f.open(), &new).unwrap();
    f.commit("a", "1");
    assert_eq!(
        (said(f.directory.path(), "calls"), said(f.directory.path(), "theirs")),
        ("<hook><post-commit>\n".into(), "theirs\n".into())
    );
    assert_eq!(state(&f, &old, Hook::PrePush, &repo::environment()), State::OtherProgram(Some(new)));
    uninstall(&f.open(), false);
    assert!(fs::read_to_string(f.path(".git/hooks/post-commit")).unwrap().contains("theirs"));
    assert!(!f.path(".git/hooks/pre-push").exists());
}

/// Repositories in which both ways of putting ours in front, a link and a directory to make are needed.
fn mixed() -> Fixture {
    let f = Fixture::new();
    f.commit("a", "1");
    write_program(&f.path(".git/hooks/post-commit"), "#!/bin/sh\n");
    write_program(&f.path(".git/hooks/post-merge"), "#!/bin/sh\nbasename \"$0\"\n");
    write_program(&f.path(".git/hooks/pre-push"), "#!/usr/bin/env python3\nimport sys\nsys.argv[0]\n");
    f
}

#[test]
fn what_was_half_written_when_it_was_killed_goes() {
    let f = Fixture::new();
    let before = snapshot(&f.work);
    let program = recorder(f.directory.path(), "program");
    install_with(&f.open(), &program).unwrap();
    // As a process that is killed leaves them: of any length, and a directory before its link.
    for path in [".git/hooks/.git-orchestrator.new-a1b2c3", ".git-orchestrator.new-a1b2c3", ".orchestrator/.new-a1b2c3"]
    {
        write(&f.path(path), "#!/bin/s");
    }
    fs::create_dir(f.path(".git/hooks/before-orchestrator")).unwrap();
    uninstall(&f.open(), false);
    assert_eq!(snapshot(&f.work), before);
}

#[test]
fn two_at_once_are_one_after_the_other() {
    let f = Fixture::new();
    write_program(&f.path(".git/hooks/post-commit"), "#!/bin/sh\nexit 0\n");
    let before = snapshot(&f.work);
    let program = recorder(f.directory.path(), "program");
    for _ in 0..5 {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| install_with(&f.open(), &program).unwrap());
            }
            scope.spawn(|| uninstall(&f.open(), false));
        });
        uninstall(&f.open(), false);
        assert_eq!(snapshot(&f.work), before);
    }
}

#[test]
fn a_crash_between_any_two_steps_is_recovered_from() {
    let plan_of = |f: &Fixture, program: &Path| {
        install::plan_install(&f.open(), &request(program), &repo::environment()).unwrap().changes
    };
    let count = plan_of(&mixed(), Path::new("/program")).len();
    assert!(count > 8);
    for done in 0..=count {
        for again in [true, false] {
            let f = mixed();
            let before = snapshot(&f.work);
            let program = recorder(f.directory.path(), "program");
            change::apply(&plan_of(&f, &program)[..done]).unwrap();
            if again {
                install_with(&f.open(), &program).unwrap();
                let states: Vec<State> =
                    Hook::INSTALLED.iter().map(|hook| state(&f, &program, *hook, &repo::environment())).collect();
                assert!(states.iter().all(|state| matches!(state, State::Current(_))), "{done}: {states:?}");
                assert!(!install_with(&f.open(), &program).unwrap().changed(), "{done}");
            }
            let plan = install::plan_uninstall(&f.open(), &program, &repo::environment()).unwrap().changes;
            let part = done.min(plan.len());
            change::apply(&plan[..part]).unwrap();
            uninstall(&f.open(), false);
            assert_eq!(snapshot(&f.work), before, "{done} {again}");
        }
    }
}

#[test]
fn a_rehearsal_shows_everything_and_changes_nothing() {
    let f = mixed();
    let program = recorder(f.directory.path(), "program");
    let before = snapshot(&f.work);
    let shown = |plan: &Plan| plan.changes.iter().map(|change| change.diff(&f.work)).collect::<String>();
    let plan = install::plan_install(&f.open(), &request(&program), &repo::environment()).unwrap();
    let diff = shown(&plan);
    assert_eq!(snapshot(&f.work), before);
    for line in [
        "new directory .orchestrator\n",
        "+++ b/triggers.yaml\n",
        "+version: 1\n",
        "rename from .git/hooks/post-commit\nrename to .git/hooks/post-commit.before-orchestrator\n",
        "--- /dev/null\n+++ b/.git/hooks/post-commit\n",
        "--- a/.git/hooks/post-merge\n+++ b/.git/hooks/post-merge\n",
        "+# >>> git-orchestrator >>> ",
        "new link .git/hooks/before-orchestrator/pre-push -> ../pre-push.before-orchestrator\n",
    ] {
        assert!(diff.contains(line), "{line}\n{diff}");
    }
    // What was shown is what is done.
    assert_eq!(install_with(&f.open(), &program).unwrap(), plan.report);
    let again = install::plan_install(&f.open(), &request(&program), &repo::environment()).unwrap();
    assert_eq!(shown(&again), "");
    let installed = snapshot(&f.work);
    let plan = install::plan_uninstall(&f.open(), &program, &repo::environment()).unwrap();
    assert!(
        shown(&plan).contains("rename to .git/hooks/post-commit\n")
            && shown(&plan).contains("--- a/triggers.yaml\n+++ /dev/null\n")
    );
    assert_eq!(snapshot(&f.work), installed);
}

#[test]
fn whatever_cannot_be_done_whole_is_not_begun() {
    let cases: [(&str, Prepare, &str); 8] = [
        (
            "two hooks of others",
            |f| {
                write_program(&f.path(".git/hooks/pre-push"), "#!/bin/sh\n");
                write_program(&f.path(".git/hooks/pre-push.before-orchestrator"), "#!/bin/sh\n# other\n");
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
            "a person's own directory",
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
