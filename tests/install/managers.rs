//! Beside every hook manager, the real one: theirs first and ours first, a commit and a push that show that both ran, and
//! nothing of ours left afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use orchestrator::event::Hook;
use orchestrator::install::managers::Manager;
use orchestrator::install::survey::{HookSurvey, State, Way};
use orchestrator::runtime::Environment;

use crate::repo::{self, Fixture, snapshot, write, write_program};
use crate::{git_in, install_in, new_git, recorder, said, survey_of, uninstall_in};

/// One manager, as it is set up in a repository whose hooks write `theirs` down beside it.
struct Tool {
    manager: Manager,
    /// Its program below the directory of the managers.
    program: &'static str,
    arguments: &'static [&'static str],
    /// Its configuration: path and content.
    files: &'static [(&'static str, &'static str)],
}

const PRE_COMMIT: &str = "repos:\n- repo: local\n  hooks:\n  - id: a\n    name: a\n    entry: sh -c 'echo theirs >>../theirs'\n    \
                          language: system\n    always_run: true\n    pass_filenames: false\n    stages: [post-commit, pre-push]\n";

const TOOLS: [Tool; 6] = [
    Tool {
        manager: Manager::Husky,
        program: "node_modules/.bin/husky",
        arguments: &[],
        files: &[
            (".husky/post-commit", "echo theirs >>../theirs\n"),
            (".husky/pre-push", "cat >>../their-input\necho theirs >>../theirs\n"),
        ],
    },
    Tool {
        manager: Manager::Lefthook,
        program: "node_modules/.bin/lefthook",
        arguments: &["install"],
        files: &[(
            "lefthook.yml",
            "post-commit:\n  commands:\n    a:\n      run: echo theirs >>../theirs\npre-push:\n  commands:\n    a:\n      run: echo theirs >>../theirs\n",
        )],
    },
    Tool {
        manager: Manager::SimpleGitHooks,
        program: "node_modules/.bin/simple-git-hooks",
        arguments: &[],
        files: &[(
            "package.json",
            "{\"name\":\"x\",\"simple-git-hooks\":{\"post-commit\":\"echo theirs >>../theirs\",\"pre-push\":\"cat >>../their-input; echo theirs >>../theirs\"}}\n",
        )],
    },
    Tool {
        manager: Manager::PreCommit,
        program: "python/bin/pre-commit",
        arguments: &["install", "-t", "post-commit", "-t", "pre-push"],
        files: &[(".pre-commit-config.yaml", PRE_COMMIT)],
    },
    Tool {
        manager: Manager::Prek,
        program: "python/bin/prek",
        arguments: &["install", "-t", "post-commit", "-t", "pre-push"],
        files: &[(".pre-commit-config.yaml", PRE_COMMIT)],
    },
    Tool {
        manager: Manager::Hk,
        program: "hk/bin/hk",
        arguments: &["install"],
        files: &[(
            "hk.pkl",
            "hooks = new Mapping {\n  [\"post-commit\"] = new Dynamic { steps = new Mapping { [\"a\"] = new Dynamic { check = \"echo theirs >>../theirs\" } } }\n  \
             [\"pre-push\"] = new Dynamic { steps = new Mapping { [\"a\"] = new Dynamic { check = \"echo theirs >>../theirs\" } } }\n}\n",
        )],
    },
];

/// Where the managers are installed.
fn directory() -> PathBuf {
    std::env::var_os("GIT_ORCHESTRATOR_TEST_MANAGERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/managers"), PathBuf::from)
}

impl Tool {
    /// The program; says how to get it where it is missing. hk is built from its crate, which takes a quarter of an
    /// hour: it alone may be missing where everything is to be tested.
    fn find(&self) -> Option<PathBuf> {
        let program = directory().join(self.program);
        if program.exists() {
            return Some(program);
        }
        let how = if self.manager == Manager::Hk {
            "cargo install hk --version 2.11.0 --root .ci/managers/hk"
        } else {
            "`.ci/run` installs it into .ci/managers"
        };
        let must = self.manager != Manager::Hk && std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!must, "{} is missing: {how}", self.manager);
        eprintln!("SKIPPED: {} is missing: {how}", self.manager);
        None
    }

    /// A repository with one commit and this manager's configuration, and a remote.
    fn scene(&self, environment: &Environment) -> Fixture {
        let f = Fixture::new();
        for (path, content) in self.files {
            f.write(path, content);
        }
        git_in(&f.work, environment, &["add", "--all"]);
        git_in(&f.work, environment, &["commit", "--quiet", "-m", "start"]);
        git_in(f.directory.path(), environment, &["init", "--quiet", "--bare", "-b", "main", "remote.git"]);
        // hk takes a push to a path with `..` for a broken ref.
        let remote = f.directory.path().canonicalize().unwrap().join("remote.git");
        git_in(&f.work, environment, &["remote", "add", "origin", remote.to_str().unwrap()]);
        f
    }

    fn install(&self, f: &Fixture, program: &Path, environment: &Environment) {
        let output = duct::cmd(program, self.arguments)
            .dir(&f.work)
            .full_env(environment)
            .stdin_null()
            .stdout_capture()
            .stderr_to_stdout()
            .unchecked()
            .run()
            .unwrap();
        assert!(output.status.success(), "{}: {}", self.manager, String::from_utf8_lossy(&output.stdout));
    }
}

/// The environment of git and of the managers, with a home of its own.
fn environment(f: &Path, git: Option<&Path>) -> Environment {
    let mut environment = repo::environment();
    if let Some(git) = git {
        let path = environment[std::ffi::OsStr::new("PATH")].clone();
        let path = std::env::join_paths(
            std::iter::once(git.parent().unwrap().to_path_buf()).chain(std::env::split_paths(&path)),
        );
        environment.insert("PATH".into(), path.unwrap());
    }
    fs::create_dir_all(f).unwrap();
    environment.insert("HOME".into(), f.into());
    for name in ["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "PRE_COMMIT_HOME", "PREK_HOME", "CI", "HUSKY"] {
        environment.remove(std::ffi::OsStr::new(name));
    }
    environment
}

/// What decides which hooks run.
fn hooks_of(f: &Fixture) -> BTreeMap<PathBuf, String> {
    let mut all = snapshot(&f.work);
    all.retain(|path, _| path.starts_with(".git/hooks") || path.starts_with(".husky"));
    // The remote lies in a directory of its own.
    let top = f.directory.path().canonicalize().unwrap();
    let configuration = fs::read_to_string(f.path(".git/config")).unwrap().replace(top.to_str().unwrap(), "");
    all.insert(".git/config".into(), configuration);
    all
}

/// Fails with what differs.
fn assert_same(one: &BTreeMap<PathBuf, String>, other: &BTreeMap<PathBuf, String>, name: &str) {
    let differs = |one: &BTreeMap<PathBuf, String>, other: &BTreeMap<PathBuf, String>| {
        one.iter()
            .filter(|(path, what)| other.get(*path) != Some(*what))
            .map(|(path, what)| format!("{} {what}", path.display()))
            .collect::<Vec<_>>()
    };
    assert!(one == other, "{name}: {:#?} instead of {:#?}", differs(one, other), differs(other, one));
}

/// A commit and a push: both have to say that they ran, once for each.
fn both_run(f: &Fixture, name: &str, environment: &Environment) {
    let top = f.directory.path();
    for file in ["calls", "theirs", "input", "their-input"] {
        fs::remove_file(top.join(file)).ok();
    }
    git_in(&f.work, environment, &["commit", "--quiet", "--allow-empty", "-m", name]);
    assert_eq!(said(top, "theirs"), "theirs\n", "{name}: theirs on a commit");
    assert_eq!(said(top, "calls"), "<hook><post-commit>\n", "{name}: ours on a commit");
    git_in(&f.work, environment, &["push", "--quiet", "origin", "main"]);
    assert_eq!(said(top, "theirs"), "theirs\ntheirs\n", "{name}: theirs on a push");
    let calls = said(top, "calls");
    assert!(calls.lines().count() == 2 && calls.contains("<hook><pre-push><origin>"), "{name}: {calls}");
    let input = said(top, "input");
    assert_eq!(input.split(' ').next(), Some("refs/heads/main"), "{name}: what git says to a push: {input:?}");
    let theirs = said(top, "their-input");
    assert!(theirs.is_empty() || theirs == input, "{name}: {theirs:?}");
}

fn with_every_tool(git: Option<&Path>, check: impl Fn(&Tool, &Path, &Environment, &str)) {
    for tool in &TOOLS {
        let Some(program) = tool.find() else { continue };
        let home = tempfile::tempdir().unwrap();
        let environment = environment(home.path(), git);
        let version = if git.is_some() { "a git with configured hooks" } else { "the git on PATH" };
        check(tool, &program, &environment, &format!("{} under {version}", tool.manager));
    }
}

fn theirs_first(git: Option<&Path>) {
    with_every_tool(git, |tool, program, environment, name| {
        let f = tool.scene(environment);
        tool.install(&f, program, environment);
        let before = snapshot(&f.work);
        let ours = recorder(f.directory.path(), "git-orchestrator");
        install_in(&f.open(), &ours, environment).unwrap();
        assert!(!install_in(&f.open(), &ours, environment).unwrap().changed(), "{name}: twice is once");
        uninstall_in(&f.open(), false, environment);
        assert_same(&snapshot(&f.work), &before, name);

        install_in(&f.open(), &ours, environment).unwrap();
        let survey = survey_of(&f, &ours, environment);
        assert!(
            survey.managers.iter().any(|found| found.manager == tool.manager && found.installed)
                || tool.manager == Manager::Husky && git.is_some(),
            "{name}: {:?}",
            survey.managers
        );
        let hooks = hooks_of(&f);
        both_run(&f, name, environment);
        assert_same(&hooks_of(&f), &hooks, name);
        uninstall_in(&f.open(), false, environment);
        let mut after = snapshot(&f.work);
        // But for what the commits and the push made.
        after.retain(|path, _| before.contains_key(path));
        let changed: Vec<_> =
            after.iter().filter(|(path, what)| before[*path] != **what).map(|(path, _)| path).collect();
        assert!(
            changed.iter().all(|path| !path.starts_with(".git/hooks") && **path != Path::new(".git/config")),
            "{changed:?}"
        );
        assert_eq!(after.len(), before.len(), "{name}");
    });
}

fn ours_first(git: Option<&Path>) {
    with_every_tool(git, |tool, program, environment, name| {
        // What the manager alone makes of a repository with a hook of a person.
        let person =
            |f: &Fixture| write_program(&f.path(".git/hooks/post-merge"), "#!/bin/sh\necho person >>../person\n");
        let alone = tool.scene(environment);
        person(&alone);
        tool.install(&alone, program, environment);
        let mut expected = hooks_of(&alone);

        let f = tool.scene(environment);
        person(&f);
        let ours = recorder(f.directory.path(), "git-orchestrator");
        install_in(&f.open(), &ours, environment).unwrap();
        // hk leaves a hook that is there alone, and says so, unless it is forced; then it keeps no copy.
        let refuses = tool.manager == Manager::Hk && git.is_none();
        if refuses {
            for hook in ["post-commit", "pre-push"] {
                fs::remove_file(f.path(".git/hooks").join(hook)).unwrap();
            }
        }
        tool.install(&f, program, environment);
        let mut before = survey_of(&f, &ours, environment);
        before.hooks.retain(|hook| matches!(hook.hook, Hook::PostCommit | Hook::PrePush));
        let states: Vec<State> = before.hooks.iter().map(HookSurvey::state).collect();
        let running =
            matches!(tool.manager, Manager::PreCommit | Manager::Prek) || tool.manager == Manager::Hk && git.is_some();
        for state in &states {
            assert_eq!(matches!(state, State::Current(_)), running, "{name}: {states:?}");
        }
        if running {
            // Ours goes on being called, by them or by git, without anybody doing anything.
            both_run(&f, name, environment);
        }
        install_in(&f.open(), &ours, environment).unwrap();
        let after = survey_of(&f, &ours, environment);
        assert!(
            after
                .hooks
                .iter()
                .all(|hook| matches!(hook.state(), State::Current(Way::Shim | Way::Block | Way::Configured))),
            "{name}"
        );
        assert!(!install_in(&f.open(), &ours, environment).unwrap().changed(), "{name}: twice is once");
        both_run(&f, name, environment);
        uninstall_in(&f.open(), false, environment);
        // As if ours had never been there; but that simple-git-hooks deletes every hook that its file does not name, and
        // ours kept the person's.
        let kept = hooks_of(&f).remove(Path::new(".git/hooks/post-merge"));
        assert!(kept.is_some(), "{name}");
        if tool.manager == Manager::SimpleGitHooks {
            expected.extend(kept.map(|kept| (".git/hooks/post-merge".into(), kept)));
        }
        assert_same(&hooks_of(&f), &expected, name);
    });
}

#[test]
fn theirs_first_then_ours() {
    theirs_first(None);
}

#[test]
fn ours_first_then_theirs() {
    ours_first(None);
}

#[test]
fn theirs_first_then_ours_where_git_has_configured_hooks() {
    if let Some(git) = new_git() {
        theirs_first(Some(&git));
    }
}

#[test]
fn ours_first_then_theirs_where_git_has_configured_hooks() {
    if let Some(git) = new_git() {
        ours_first(Some(&git));
    }
}

/// Lefthook sets its hooks up anew by itself when its file changes: ours is moved aside and not called, which the survey
/// says, and the next `install` repairs, with the hook of a person from before still in its place.
#[test]
fn what_lefthook_moves_aside_is_put_back() {
    let tool = TOOLS.iter().find(|tool| tool.manager == Manager::Lefthook).unwrap();
    let Some(program) = tool.find() else { return };
    let home = tempfile::tempdir().unwrap();
    let environment = environment(home.path(), None);
    let f = tool.scene(&environment);
    write_program(&f.path(".git/hooks/post-commit"), "#!/bin/sh\necho person >>../person\n");
    let ours = recorder(f.directory.path(), "git-orchestrator");
    install_in(&f.open(), &ours, &environment).unwrap();
    tool.install(&f, &program, &environment);
    let shadowed = crate::state(&f, &ours, Hook::PostCommit, &environment);
    assert_eq!(shadowed, State::Shadowed(f.path(".git/hooks/post-commit.old")));
    install_in(&f.open(), &ours, &environment).unwrap();
    both_run(&f, "lefthook", &environment);
    uninstall_in(&f.open(), false, &environment);
    // As lefthook alone would have left it.
    let old = fs::read_to_string(f.path(".git/hooks/post-commit.old")).unwrap();
    assert!(old.contains("echo person"), "{old}");
    assert!(fs::read_to_string(f.path(".git/hooks/post-commit")).unwrap().contains("call_lefthook"));
    assert!(!f.path(".git/hooks/post-commit.before-orchestrator").exists());
}

/// No gem registry is at hand for overcommit itself. Its way is one script for all hooks, to which each hook is a link or
/// a copy, and which looks at its own name: that is what is tested here.
#[test]
fn one_script_for_all_hooks_keeps_its_name() {
    let script = "#!/usr/bin/env bash\n# Entrypoint for Overcommit hook integration\nhook=$(basename \"$0\")\n\
                  [ \"$hook\" = post-commit ] || [ \"$hook\" = pre-push ] || exit 64\necho theirs >>../theirs\n";
    for linked in [true, false] {
        let f = TOOLS[0].scene(&repo::environment());
        let hooks = f.path(".git/hooks");
        write_program(&hooks.join("overcommit-hook"), script);
        for hook in ["post-commit", "pre-push"] {
            if linked {
                std::os::unix::fs::symlink("overcommit-hook", hooks.join(hook)).unwrap();
            } else {
                write_program(&hooks.join(hook), script);
                fs::set_permissions(hooks.join(hook), fs::Permissions::from_mode(0o750)).unwrap();
            }
        }
        let before = snapshot(&f.work);
        let ours = recorder(f.directory.path(), "git-orchestrator");
        let environment = repo::environment();
        install_in(&f.open(), &ours, &environment).unwrap();
        assert!(!install_in(&f.open(), &ours, &environment).unwrap().changed());
        let found = survey_of(&f, &ours, &environment).managers;
        assert_eq!(found.first().map(|found| found.manager), Some(Manager::Overcommit));
        both_run(&f, "overcommit's way", &environment);
        uninstall_in(&f.open(), false, &environment);
        let mut after = snapshot(&f.work);
        after.retain(|path, _| path.starts_with(".git/hooks"));
        assert!(after.iter().all(|(path, what)| before.get(path) == Some(what)), "{after:?}");
    }
    // A program of another language goes by the link.
    let f = TOOLS[0].scene(&repo::environment());
    write_program(
        &f.path(".git/hooks/pre-push"),
        "#!/usr/bin/env python3\nimport os, sys\nopen('../their-input', 'w').write(sys.stdin.read())\n\
         assert os.path.basename(sys.argv[0]) == 'pre-push', sys.argv[0]\nopen('../theirs', 'a').write('theirs\\n')\n",
    );
    write_program(&f.path(".git/hooks/post-commit"), "#!/bin/sh\necho theirs >>../theirs\n");
    let ours = recorder(f.directory.path(), "git-orchestrator");
    let before = snapshot(&f.path(".git/hooks"));
    install_in(&f.open(), &ours, &repo::environment()).unwrap();
    assert!(f.path(".git/hooks/before-orchestrator/pre-push").is_symlink());
    both_run(&f, "python", &repo::environment());
    uninstall_in(&f.open(), false, &repo::environment());
    assert_eq!(snapshot(&f.path(".git/hooks")), before);
    write(&f.path("end"), "");
}
