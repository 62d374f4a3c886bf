//! What the installed hooks do: in order, with arguments, input and exit code.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use orchestrator::event::Hook;
use orchestrator::install::shim;

use crate::repo::{self, Fixture, git, try_git, write, write_program};
use crate::{git_with, install_with, recorder, said, stderr, uninstall};

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
fn hooks_that_use_their_path_go_on_finding_what_they_look_for() {
    let f = Fixture::new();
    let hooks = f.path(".git/hooks");
    fs::create_dir_all(hooks.join("post-commit.d")).unwrap();
    write_program(&hooks.join("post-commit.d/part"), "#!/bin/sh\necho part >>../said\n");
    write_program(&hooks.join("post-commit"), "#!/bin/sh\nfor part in \"$0\".d/*; do \"$part\" \"$@\"; done\n");
    write_program(
        &hooks.join("post-checkout"),
        "#!/bin/sh\ncase $0 in\n*/post-checkout) echo name >>../said ;;\nesac\n",
    );
    write(&hooks.join("helper.py"), "open('../said', 'a').write('helper\\n')\n");
    write_program(
        &hooks.join("post-rewrite"),
        "#!/usr/bin/env python3\nimport os, sys\n\
         exec(open(os.path.join(os.path.dirname(sys.argv[0]), 'helper.py')).read())\n",
    );
    let ours = recorder(f.directory.path(), "program");
    install_with(&f.open(), &ours).unwrap();
    f.commit("a", "1");
    f.git(["checkout", "--quiet", "-b", "other"]);
    f.git(["commit", "--quiet", "--amend", "-m", "again"]);
    assert_eq!(said(f.directory.path(), "said"), "part\nname\npart\nhelper\n");
    let called = said(f.directory.path(), "calls");
    assert_eq!(called.lines().count(), 4, "{called}");
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

/// For hooks that `install` may set up in a version to come, the script has to be right by their names already.
#[test]
fn what_each_hook_may_stop_and_which_of_them_read_input() {
    let cases = [
        // name, whether a refusal of the one before ends it, whether its exit code is ours, whether it has input
        ("post-commit", false, false, false),
        ("post-checkout", false, false, false),
        ("post-receive", false, false, true),
        ("post-rewrite", false, false, true),
        ("pre-merge-commit", true, false, false),
        ("pre-push", true, true, true),
    ];
    let top = tempfile::tempdir().unwrap();
    let program = recorder(top.path(), "program");
    let log = top.path().display();
    for (name, stops, decides, reads) in cases {
        let hook = top.path().join(name);
        let shim = String::from_utf8(shim::render(&program, Hook::PostMerge, shim::Reach::Repository)).unwrap();
        write_program(&hook, &shim.replace("\nname=post-merge\n", &format!("\nname={name}\n")));
        let before = top.path().join(format!("{name}.before-orchestrator"));
        for (their_code, our_code) in [(0, 0), (7, 0), (0, 3), (0, 137)] {
            write_program(&before, &format!("#!/bin/sh\ncat >>'{log}/their-input'\nexit {their_code}\n"));
            write(&top.path().join("code"), our_code.to_string());
            for file in ["calls", "input", "their-input"] {
                fs::remove_file(top.path().join(file)).ok();
            }
            let run =
                duct::cmd!(&hook, "a").full_env(repo::environment()).stdin_bytes("said\n").stderr_null().unchecked();
            let code = run.run().unwrap().status.code().unwrap();
            let case = format!("{name} {their_code} {our_code}");
            let called = !(stops && their_code != 0);
            assert_eq!(
                said(top.path(), "calls"),
                if called { format!("<hook><{name}><a>\n") } else { String::new() },
                "{case}"
            );
            if decides {
                assert_eq!(
                    code,
                    if their_code != 0 {
                        their_code
                    } else if our_code == 3 {
                        3
                    } else {
                        0
                    },
                    "{case}"
                );
            } else if ["pre-merge-commit", "post-checkout"].contains(&name) {
                // Git looks at how these end: only the one before may have a say.
                assert_eq!(code, their_code, "{case}");
            }
            assert_eq!(said(top.path(), "their-input"), "said\n", "{case}");
            if reads && called {
                assert_eq!(said(top.path(), "input"), "said\n", "{case}");
            }
        }
    }
}

#[test]
fn a_shim_that_was_moved_aside_runs_the_one_before_once() {
    let top = tempfile::tempdir().unwrap();
    let program = recorder(top.path(), "program");
    let log = top.path().display();
    let path = |name: &str| top.path().join(name);
    write_program(
        &path("post-commit.legacy"),
        &String::from_utf8(shim::render(&program, Hook::PostCommit, shim::Reach::Repository)).unwrap(),
    );
    let person = format!("#!/bin/sh\necho before >>'{log}/before'\n");
    write_program(&path("post-commit.before-orchestrator"), &person);
    let run = || duct::cmd!(path("post-commit.legacy")).full_env(repo::environment()).stdin_null().run().unwrap();
    write_program(&path("post-commit"), "#!/bin/sh\n# another\n");
    run();
    assert_eq!(
        (said(top.path(), "before"), said(top.path(), "calls")),
        ("before\n".into(), "<hook><post-commit>\n".into())
    );
    // It is what took our place, and is running already.
    write_program(&path("post-commit"), &person);
    run();
    assert_eq!(said(top.path(), "before"), "before\n");
    assert_eq!(said(top.path(), "calls").lines().count(), 2);
}

#[test]
fn a_submodule_has_hooks_of_its_own() {
    let f = Fixture::new();
    let inner = Fixture::new();
    inner.commit("a", "1");
    f.git(["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.work.to_str().unwrap(), "sub"]);
    f.git(["commit", "--quiet", "-m", "sub"]);
    let program = recorder(f.directory.path(), "program");
    let repository = orchestrator::git::Repository::discover(&f.path("sub"), false).unwrap();
    install_with(&repository, &program).unwrap();
    git(&f.path("sub"), ["commit", "--quiet", "--allow-empty", "-m", "b"]);
    assert_eq!(said(f.directory.path(), "calls"), "<hook><post-commit>\n");
    assert!(f.path(".git/modules/sub/hooks/post-commit").exists() && !f.path(".git/hooks/post-commit").exists());
    uninstall(&repository, false);
    assert!(!f.path(".git/modules/sub/hooks/post-commit").exists());
}
