//! An agent in the real Codex's sandbox, which does what it can to be trusted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use orchestrator::rehearsal::{Reply, Sequence, Server};

use crate::support::{PROGRAM, Scene, TESTER_ON_COMMIT, codex, wait_for};

/// Every file below, with its bytes.
fn below(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn it_can_neither_accept_nor_change_what_was_accepted() {
    let Some(codex) = codex() else { return };
    let scene = Scene::new();
    let state = scene.path("home/.local/state");
    let line = format!(
        "store=$(echo {state}/git-orchestrator/trust/*); top={top}; \
         echo more >>$store/accepted.json; echo more | tee -a $store/files/*; chmod 777 $store; rm -r $store/files; \
         echo AGENTS >>$top/AGENTS.md; echo x >>$top/triggers.yaml; echo : >>$top/.git/hooks/post-commit; \
         git -C $top config core.hooksPath /dev/null; echo x >$top/.orchestrator/state/spool/x.json; \
         env -u GIT_ORCHESTRATOR_RUN HOME={home} '{PROGRAM}' trust --revoke; \
         env -u GIT_ORCHESTRATOR_RUN HOME={home} script -qec \"'{PROGRAM}' trust\" /dev/null </dev/null; \
         echo attempted >reached",
        state = state.display(),
        top = scene.top.display(),
        home = scene.path("home").display(),
    );
    let server = Server::in_background(Sequence::new([Reply::command(line), Reply::message("done")])).unwrap();
    let scene = scene.with_codex(&codex, server.url());
    scene.write("triggers.yaml", TESTER_ON_COMMIT);
    scene.write("AGENTS.md", "Run make.\n");
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    scene.install();
    let guarded = || {
        let mut found = below(&state);
        found.extend(below(&scene.top.join(".git/hooks")));
        for path in ["AGENTS.md", "triggers.yaml", ".git/config"] {
            found.insert(path.into(), fs::read(scene.top.join(path)).unwrap());
        }
        found
    };
    let before = guarded();
    scene.commit("a", "1", "one");
    scene.wait();
    let reached = scene.top.join(".git/orchestrator/worktrees/tester/reached");
    let log = scene.ok(&["log", scene.newest()["id"].as_str().unwrap()]);
    // In the sandbox, or refused before it got there.
    assert!(reached.exists() || log.contains("(declined"), "the line was tried: {log}");
    wait_for("every process to end", || scene.processes().is_empty().then_some(()));
    assert!(before == guarded(), "nothing of it was changed");
    assert_eq!(scene.status()["trust"]["state"], "trusted");
    assert_eq!(fs::read_dir(scene.top.join(".orchestrator/state/spool")).unwrap().count(), 0);
}
