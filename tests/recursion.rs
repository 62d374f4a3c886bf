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
