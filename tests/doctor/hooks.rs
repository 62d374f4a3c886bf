//! Hooks: missing, old, switched off, of others.

use std::fs;
use std::path::Path;

use orchestrator::event::Hook;
use orchestrator::install::shim;

use crate::support::{PROGRAM, Scene};
use crate::{Fault, hook, look, mended, mode, sound, told};

#[test]
fn hooks_that_are_mended() {
    let shim = |scene: &Scene| fs::read_to_string(hook(scene, "post-commit")).unwrap();

    let scene = sound();
    fs::remove_file(hook(&scene, "post-commit")).unwrap();
    fs::remove_file(hook(&scene, "pre-push")).unwrap();
    mended(&scene, "hook-missing");

    mode(&hook(&scene, "post-merge"), 0o644);
    mended(&scene, "hook-not-executable");

    let text = shim(&scene);
    let mark = "# git-orchestrator shim ";
    let (at, end) = (text.find(mark).unwrap() + mark.len(), text.match_indices('\n').nth(1).unwrap().0);
    Scene::script(&hook(&scene, "post-commit"), &format!("{}1{}", &text[..at], &text[end..]));
    mended(&scene, "hook-older");

    let template = shim::render(Path::new(PROGRAM), Hook::PostCommit, shim::Reach::Template);
    fs::write(hook(&scene, "post-commit"), template).unwrap();
    let seen = look(&scene);
    assert_eq!((seen.left(), seen.code), (vec!["hook-from-template"], 0), "{seen:?}");
    scene.install();

    let gone = scene.path("gone");
    fs::copy(PROGRAM, &gone).unwrap();
    assert!(scene.command(&gone).arg("install").output().unwrap().status.success());
    told(&scene, "hook-other-program", "note");
    fs::remove_file(&gone).unwrap();
    mended(&scene, "hook-program-missing");
}

#[test]
fn hooks_that_a_person_mends() {
    let faults: [(&str, &str, Fault); 9] = [
        ("hook-edited", "warning", |scene| {
            let path = hook(scene, "post-commit");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(path, format!("{text}echo more\n")).unwrap();
        }),
        ("hook-foreign", "problem", |scene| Scene::script(&hook(scene, "post-commit"), "#!/bin/sh\nexit 0\n")),
        ("hook-foreign", "problem", |scene| {
            fs::remove_file(hook(scene, "post-commit")).unwrap();
            fs::create_dir(hook(scene, "post-commit")).unwrap();
        }),
        ("manifest-unreadable", "problem", |scene| {
            fs::write(scene.top.join(".orchestrator/state/install.json"), "{\"schema\"").unwrap();
        }),
        ("hook-shadowed", "problem", |scene| {
            let path = hook(scene, "post-commit");
            fs::rename(&path, path.with_extension("old")).unwrap();
            Scene::script(&path, "#!/bin/sh\ncall_lefthook() { :; }\n");
        }),
        ("hook-bypassed", "problem", |scene| {
            fs::create_dir(scene.path("other-hooks")).unwrap();
            scene.git(&["config", "core.hooksPath", scene.path("other-hooks").to_str().unwrap()]);
        }),
        ("hook-bypassed", "problem", |scene| drop(scene.git(&["config", "core.hooksPath", "/dev/null"]))),
        ("hook-broken", "problem", |scene| {
            scene.git(&["config", "hook.git-orchestrator-post-commit.event", "post-commit"]);
        }),
        ("hook-disabled", "problem", |scene| {
            fs::remove_file(hook(scene, "post-commit")).unwrap();
            scene.git(&["config", "hook.git-orchestrator-post-commit.command", "true"]);
            scene.git(&["config", "hook.git-orchestrator-post-commit.event", "post-commit"]);
            scene.git(&["config", "hook.git-orchestrator-post-commit.enabled", "false"]);
        }),
    ];
    for (code, level, fault) in faults {
        let scene = sound();
        fault(&scene);
        told(&scene, code, level);
    }
    // An older git is not the same as a hook that somebody switched off.
    let scene = sound();
    fs::remove_file(hook(&scene, "post-commit")).unwrap();
    scene.git(&["config", "hook.git-orchestrator-post-commit.command", "true"]);
    scene.git(&["config", "hook.git-orchestrator-post-commit.event", "post-commit"]);
    let seen = look(&scene);
    if seen.left() == ["hook-disabled"] {
        let message = seen.finding("hook-disabled")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("that begins with 2.54") && !message.contains("switched off"), "{message}");
    } else {
        // This git knows such hooks.
        assert_eq!(seen.left(), ["hook-older"], "{seen:?}");
    }
    // Installing again would not do for what is no file.
    let scene = sound();
    fs::remove_file(hook(&scene, "post-commit")).unwrap();
    fs::create_dir(hook(&scene, "post-commit")).unwrap();
    let fix = look(&scene).finding("hook-foreign")["fix"].as_str().unwrap().to_owned();
    assert!(fix.starts_with("look at what it is and move it away"), "{fix}");
    let scene = sound();
    for name in ["post-commit", "post-merge"] {
        fs::remove_file(hook(&scene, name)).unwrap();
    }
    fs::remove_dir_all(scene.top.join(".git/hooks")).unwrap();
    scene.git(&["config", "core.hooksPath", "nowhere"]);
    let seen = look(&scene);
    assert_eq!(seen.left(), ["hook-missing", "hooks-path-missing"], "{seen:?}");
    assert!(seen.finding("hooks-path-missing")["message"].as_str().unwrap().contains("`nowhere`"));
}
