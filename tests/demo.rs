//! The demo, as a person on a fresh machine runs it.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use support::{Scene, codex, text, wait_for};

/// Runs the demo in a directory of the scene and returns what it printed, once it has ended well.
fn demo(scene: &Scene, more: &[&str]) -> String {
    let directory = scene.path("demo");
    let mut arguments = vec!["demo", "--dir", directory.to_str().unwrap()];
    arguments.extend(more);
    let output = scene.run(&arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    for role in ["planner", "architect", "tester"] {
        assert!(out.contains(&format!("\n{role} succeeded\n")), "{role}:\n{out}");
    }
    // Every artifact and every screen says what it is.
    let artifacts = directory.join("repo/.orchestrator/artifacts");
    let mut pages = 0;
    for commit in std::fs::read_dir(artifacts).unwrap() {
        for file in std::fs::read_dir(commit.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let content = std::fs::read_to_string(&path).unwrap();
            assert!(content.to_lowercase().contains("rehearsal"), "{}", path.display());
            pages += 1;
        }
    }
    assert_eq!(pages, 6, "three artifacts, as Markdown and as JSON");
    let status = text(
        &scene.command(support::PROGRAM).current_dir(directory.join("repo")).arg("status").output().unwrap().stdout,
    );
    assert_eq!(status.matches("[rehearsal]").count(), 3, "{status}");
    wait_for("every process to end", || scene.processes().is_empty().then_some(()));
    out
}

#[test]
fn with_the_real_codex() {
    let Some(codex) = codex() else { return };
    let mut scene = Scene::new();
    scene.set("GIT_ORCHESTRATOR_CODEX", codex.canonicalize().unwrap());
    let out = demo(&scene, &[]);
    assert!(out.contains("runtime: the real Codex CLI"), "{out}");
    assert!(out.contains("3 artifacts from the real Codex CLI"), "{out}");
    assert!(out.contains("cargo test"), "the tester ran the real tests:\n{out}");
    // A second demo takes the place of the first.
    demo(&scene, &[]);
}

#[test]
fn where_codex_is_not_installed_it_says_so_and_works_all_the_same() {
    let scene = Scene::new();
    let out = demo(&scene, &[]);
    assert!(out.contains("built-in, in place of the Codex CLI: there is no `codex` on PATH"), "{out}");
    assert!(out.contains("npm install -g @openai/codex"), "{out}");
    assert!(!out.contains("from the real Codex CLI"), "{out}");
}

#[test]
fn a_directory_that_is_no_demo_is_left_alone() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("demo")).unwrap();
    let output = scene.run(&["demo", "--dir", scene.path("demo").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("is no former demo"));
    assert_eq!(std::fs::read_dir(scene.path("demo")).unwrap().count(), 0);
}
