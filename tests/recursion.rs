//! What a run does to a repository starts no run: each of the three guards with the others out of the way.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what a test relies on and does not get ends the test")]

mod support;

use std::fs;

use support::{Scene, text};

/// A row for everything that a run could do here, and one attempt.
const TABLE: &str = "\
version: 1
triggers:
  - name: test
    on: [post-commit, post-merge, post-rewrite, post-checkout, pre-push]
    role: tester
    coalesce: none
policy:
  roles:
    tester:
      sandbox: workspace-write
      limits: { wall: 60s, idle: 20s, attempts: 1 }
";

/// What a run might do, in a shell: a commit, an amend, a merge, a checkout and a push.
const DEEDS: &str = "git commit -q --allow-empty -m one && git commit -q --amend --allow-empty -m two && \
                     git checkout -q -B side HEAD~1 && git commit -q --allow-empty -m three && git checkout -q - && \
                     git merge -q --no-edit side && git push -q ../server.git HEAD:refs/heads/sent";

fn scene() -> Scene {
    let scene = Scene::new();
    scene.write("triggers.yaml", TABLE);
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.git(&["init", "--quiet", "--bare", scene.path("server.git").to_str().unwrap()]);
    scene.install();
    scene
}

fn runs(scene: &Scene) -> usize {
    scene.status()["runs"].as_array().unwrap().len()
}

/// Nobody alive, nothing in the environment, and an ordinary worktree: the deeds start something.
#[test]
fn without_a_guard_everything_would_start() {
    let scene = scene();
    scene.ok(&["pause"]);
    scene.git(&["worktree", "add", "-q", "-b", "other", scene.path("linked").to_str().unwrap()]);
    let before = runs(&scene);
    let done = scene.command("sh").current_dir(scene.path("linked")).args(["-c", DEEDS]).output().unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(runs(&scene) >= before + 5, "{}", runs(&scene));
}

#[test]
fn the_marker_alone_is_enough() {
    let scene = scene();
    scene.ok(&["pause"]);
    let done = scene.command("sh").args(["-c", DEEDS]).env("GIT_ORCHESTRATOR_RUN", "1").output().unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(runs(&scene), 0);
}

/// No marker, no worker.
#[test]
fn the_place_alone_is_enough() {
    let scene = scene();
    scene.ok(&["pause"]);
    let workspace = scene.top.join(".git/orchestrator/worktrees/tester");
    fs::create_dir_all(workspace.parent().unwrap()).unwrap();
    let skip = ("GIT_ORCHESTRATOR_SKIP", "1");
    let added = scene
        .command("git")
        .args(["worktree", "add", "-q", "-b", "work", workspace.to_str().unwrap()])
        .env(skip.0, skip.1)
        .output()
        .unwrap();
    assert!(added.status.success(), "{}", text(&added.stderr));
    let deeds = DEEDS.replace("../server.git", scene.path("server.git").to_str().unwrap());
    let done = scene.command("sh").current_dir(&workspace).args(["-c", &deeds]).output().unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(runs(&scene), 0);
    assert_eq!(scene.git(&["log", "-1", "--format=%s", "work"]).trim(), "Merge branch 'side' into work");
}

/// A runtime that does this in the run's checkout, as no sandbox of ours would let it, without the marker.
fn with_runtime(scene: &mut Scene, body: &str) {
    let (fake, codex) = (scene.path("bin/fake"), support::codex().unwrap().canonicalize().unwrap());
    let script = format!(
        "#!/bin/sh\ncase $1 in --version) echo codex-cli 0.169.0;; app-server | exec) {body}; exit 3;; *) exec '{}' \"$@\";; esac\n",
        codex.display()
    );
    Scene::script(&fake, &script);
    scene.set("GIT_ORCHESTRATOR_CODEX", fake);
    scene.provider("http://127.0.0.1:9/v1");
    scene.trust();
}

/// No marker, an ordinary worktree, and nobody alive: what a run made in its checkout, with no hook that told anybody, is
/// known by its id when it is reported from elsewhere. What a person does with it afterwards is the person's.
#[test]
fn the_recorded_ids_alone_are_enough() {
    if support::codex().is_none() {
        return;
    }
    let mut scene = scene();
    let made = scene.path("made");
    let commit = "git -c core.hooksPath=/dev/null -c user.name=R -c user.email=r@x commit -q --allow-empty";
    let body = format!(
        "cd {} && env -i PATH=/usr/local/bin:/usr/bin:/bin GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 sh -c \
         '{commit} -m made; git rev-parse HEAD >{}'",
        scene.top.join(".git/orchestrator/worktrees/tester").display(),
        made.display()
    );
    with_runtime(&mut scene, &body);
    scene.commit("a", "1", "by the person");
    scene.wait();
    support::wait_for("the worker to end", || scene.processes().is_empty().then_some(()));
    scene.ok(&["pause"]);
    let made = fs::read_to_string(made).unwrap().trim().to_owned();
    let before = runs(&scene);
    let post_commit = || {
        let output = scene.command(scene.top.join(".git/hooks/post-commit")).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    // `reset` calls no hook.
    scene.git(&["reset", "--quiet", "--hard", &made]);
    assert_eq!(post_commit(), "");
    assert_eq!(runs(&scene), before);
    // The same, about a commit of the person's.
    scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--allow-empty", "-m", "by the person"]);
    assert!(post_commit().contains("tester queued"));
    // And what the person does with the run's commit: a merge and a push.
    scene.git(&["reset", "--quiet", "--hard", &format!("{made}~1")]);
    let before = runs(&scene);
    scene.git(&["merge", "--quiet", "--ff-only", &made]);
    assert_eq!(runs(&scene), before + 1, "the merge is the person's");
    scene.git(&["push", "--quiet", scene.path("server.git").to_str().unwrap(), "HEAD:refs/heads/sent"]);
    assert_eq!(runs(&scene), before + 2, "and so is the push");
}

/// Where what was accepted cannot be used any more, events are kept for later: those of a run are not.
#[test]
fn what_a_run_does_is_not_kept_for_later_either() {
    let scene = scene();
    let workspace = scene.top.join(".git/orchestrator/worktrees/tester");
    fs::create_dir_all(workspace.parent().unwrap()).unwrap();
    scene.git(&["-c", "core.hooksPath=/dev/null", "worktree", "add", "-q", "--detach", workspace.to_str().unwrap()]);
    scene.ok(&["trust", "--revoke"]);
    let waiting = || scene.status()["trust"]["held_events"].as_u64();
    scene.git_in(&workspace, &["commit", "-q", "--allow-empty", "-m", "of a run"]);
    assert_eq!(waiting(), Some(0));
    scene.git(&["commit", "-q", "--allow-empty", "-m", "of a person"]);
    assert_eq!(waiting(), Some(1));
}

/// A run that the hook could not know for one: before it begins, the worker knows whose deed it is.
#[test]
fn what_was_queued_before_the_id_was_known_never_begins() {
    let scene = scene();
    scene.ok(&["pause"]);
    let (made, said) = scene.commit("a", "1", "one");
    assert!(said.contains("queued"), "{said}");
    let deeds = scene.top.join(".orchestrator/state/deeds");
    fs::create_dir_all(&deeds).unwrap();
    support::wait_for("it to be written down", || fs::File::create(deeds.join(format!("commit-{made}"))).ok());
    scene.ok(&["resume"]);
    scene.wait();
    let run = scene.newest();
    assert_eq!((run["state"].as_str(), run["attempt"].as_u64()), (Some("cancelled"), Some(0)), "{run}");
    assert!(run["reason"].as_str().unwrap().contains("a run did this"), "{run}");
}

/// A push out of a run that comes back by a process which has neither the marker nor the run above it, as behind a server:
/// the id is what is left. A later push of a person's is none of it.
#[test]
fn a_push_that_comes_back_without_a_trace_is_known_by_its_id() {
    let scene = scene();
    scene.write("triggers.yaml", &TABLE.replace("pre-push", "post-receive"));
    scene.trust();
    scene.ok(&["pause"]);
    let server = scene.path("receive");
    // Everything that git and a run put into the environment is gone.
    let clean = "exec env -i PATH=/usr/local/bin:/usr/bin:/bin GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 HOME=";
    Scene::script(&server, &format!("#!/bin/sh\n{clean}'{}' git-receive-pack \"$@\"\n", scene.path("home").display()));
    let push = |reference: &str, marker: Option<&str>| {
        let mut git = scene.command("git");
        git.args(["push", "--quiet", "--receive-pack"]).arg(&server).arg(&scene.top).arg(format!("HEAD:{reference}"));
        let output = git.envs(marker.map(|marker| ("GIT_ORCHESTRATOR_RUN", marker))).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        runs(&scene)
    };
    // On no branch yet, so that each push brings something.
    scene.git(&["checkout", "--quiet", "--detach"]);
    scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--allow-empty", "-m", "one"]);
    assert_eq!(push("refs/heads/by-a-run", Some("1")), 0);
    scene.git(&["-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--allow-empty", "-m", "two"]);
    assert_eq!(push("refs/heads/by-a-person", None), 1);
}

/// No marker, and in the person's own worktree: started by something that the worker started, in a session of its own,
/// whose parent is gone.
#[test]
fn the_ancestry_alone_is_enough() {
    let Some(codex) = support::codex() else { return };
    let mut scene = scene();
    let (top, done, fake) = (scene.top.clone(), scene.path("done"), scene.path("bin/fake"));
    let deeds = scene.path("deeds.sh");
    let git = "env -i PATH=/usr/local/bin:/usr/bin:/bin GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 git";
    let function = format!("git() {{ {git} \"$@\"; }}");
    Scene::script(
        &deeds,
        &format!("#!/bin/sh\n{function}\ncd {} && {DEEDS}\necho $? > {}\n", top.display(), done.display()),
    );
    let body = format!(
        "(setsid env -i /bin/sh {} >/dev/null 2>&1 &); until [ -s {} ]; do sleep 0.05; done; exit 3",
        deeds.display(),
        done.display()
    );
    let script = format!(
        "#!/bin/sh\ncase $1 in --version) echo codex-cli 0.169.0;; app-server | exec) {body};; *) exec '{}' \"$@\";; esac\n",
        codex.canonicalize().unwrap().display()
    );
    Scene::script(&fake, &script);
    scene.set("GIT_ORCHESTRATOR_CODEX", fake);
    scene.provider("http://127.0.0.1:9/v1");
    scene.trust();
    scene.commit("a", "1", "by the person");
    scene.wait();
    assert_eq!(fs::read_to_string(&done).unwrap(), "0\n");
    assert_eq!(scene.git(&["log", "-1", "--format=%s"]).trim(), "Merge branch 'side'");
    assert_eq!(runs(&scene), 1, "{:#}", scene.status());
    // Once the worker is gone, what the person does starts something again.
    scene.ok(&["pause"]);
    scene.commit("a", "2", "by the person again");
    assert_eq!(runs(&scene), 2);
}
