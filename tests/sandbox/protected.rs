//! What a command may not change, row by row; and that what is outside stays as it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use orchestrator::policy::SandboxMode;

use crate::{World, write};

/// Attempts of a role that may write, and the file of its workspace that must not hold `EVIL` afterwards.
const INSIDE: &[(&str, &str)] = &[
    ("echo EVIL >> triggers.yaml", "triggers.yaml"),
    ("echo EVIL >> AGENTS.md", "AGENTS.md"),
    ("mv AGENTS.md b; echo EVIL > AGENTS.md", "AGENTS.md"),
    ("unlink triggers.yaml; echo EVIL > triggers.yaml", "triggers.yaml"),
    ("mkdir -p .orchestrator; echo EVIL > .orchestrator/triggers.yaml", ".orchestrator/triggers.yaml"),
    ("rmdir .orchestrator; ln -s .git .orchestrator; echo EVIL > .orchestrator", ".git"),
    ("mkdir -p skills/tester; echo EVIL > skills/tester/SKILL.md", "skills/tester/SKILL.md"),
    ("rmdir skills; mkdir skills; echo EVIL > skills/a", "skills/a"),
    ("mkdir -p hooks; echo EVIL > hooks/post-commit", "hooks/post-commit"),
    ("mkdir -p .codex; echo EVIL > .codex/config.toml", ".codex/config.toml"),
    ("mkdir -p .agents/skills/x; echo EVIL > .agents/skills/x/SKILL.md", ".agents/skills/x/SKILL.md"),
    ("echo EVIL > AGENTS.override.md", "AGENTS.override.md"),
    ("echo EVIL > .git; mv .git x; mkdir .git; echo EVIL > .git/config", ".git"),
    ("printf 'EVIL' | tee triggers.yaml AGENTS.md .git >/dev/null", "triggers.yaml"),
    ("ln -f a.txt triggers.yaml; cp --remove-destination a.txt AGENTS.md; echo EVIL > a.txt", "AGENTS.md"),
];

/// Attempts at what lies outside, by the variables that the test puts in front.
const OUTSIDE: &[&str] = &[
    "echo EVIL > $REPO/triggers.yaml",
    "echo EVIL >> $REPO/.git/config",
    "echo EVIL > $REPO/.git/hooks/post-commit; chmod +x $REPO/.git/hooks/post-commit",
    "git config core.hooksPath /tmp/x; git config --global alias.x '!x'",
    "git commit --quiet --allow-empty -m EVIL; git update-ref refs/heads/EVIL HEAD; git tag EVIL; git stash",
    "git checkout --quiet -b EVIL; git branch EVIL; git worktree add $REPO/EVIL",
    "mkdir -p $REPO/.orchestrator/state/spool; echo EVIL > $REPO/.orchestrator/state/spool/x.json",
    "echo EVIL > $HOME/.bashrc; mkdir -p $HOME/.config; echo EVIL > $HOME/.config/x",
    "echo EVIL > $CODEX/config.toml; echo EVIL > $CODEX/AGENTS.md; echo EVIL > $CODEX/hooks.json",
    "echo EVIL > $RUN/answer.json",
    "mkdir -p /tmp; echo EVIL > /tmp/$NAME; echo EVIL > /var/tmp/$NAME; echo EVIL > /dev/shm/$NAME",
    "cd ..; echo EVIL > EVIL; mkdir architect; echo EVIL > ../tmp/EVIL",
    "ln -s $REPO out; echo EVIL > out/triggers.yaml; echo EVIL > out/EVIL",
    "mount --bind $REPO /mnt; umount $PWD/.git; unshare -rm mount -o remount,rw /",
    "chmod -R 777 $REPO; chown -R nobody $REPO; truncate -s 0 $REPO/triggers.yaml",
];

#[tokio::test]
async fn files_that_decide_what_runs_stay_as_they_are() {
    let Some(world) = World::new() else { return };
    let lines: Vec<&str> = INSIDE.iter().map(|(line, _)| *line).collect();
    let before: BTreeMap<&str, Option<Vec<u8>>> =
        INSIDE.iter().map(|(_, path)| (*path, fs::read(world.inside(path)).ok())).collect();
    let outputs = world.execute(&lines).await;
    for ((line, path), output) in INSIDE.iter().zip(outputs) {
        assert_eq!(fs::read(world.inside(path)).ok(), before[path], "{line}\n{output}");
        assert!(!output.contains("bwrap:"), "{line} did not run: {output}");
    }
    // What keeps the places is gone with the turn, and git saw none of it.
    assert!(!world.inside(".orchestrator").exists() && !world.inside("skills").exists());
}

#[tokio::test]
async fn nothing_outside_of_the_workspace_changes() {
    let Some(world) = World::new() else { return };
    let name = world.root.path().file_name().unwrap().to_str().unwrap().to_owned();
    write(&world.path("codex/AGENTS.md"), "mine\n");
    let before = snapshot(&world);
    let variables = format!(
        "REPO={repo} CODEX={codex} RUN={run} NAME={name}; ",
        repo = world.path("repo").display(),
        codex = world.path("codex").display(),
        run = world.path("run").display()
    );
    let lines: Vec<String> = OUTSIDE.iter().map(|line| format!("{variables}{line}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let outputs = world.execute(&lines).await;
    assert_eq!(snapshot(&world), before, "{outputs:#?}");
    for place in ["/tmp", "/var/tmp", "/dev/shm"] {
        assert!(!std::path::Path::new(place).join(&name).exists(), "{place}");
    }
}

/// Everything of the person's but what Codex itself keeps.
fn snapshot(world: &World) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let own = [world.workspace.path.clone(), world.workspace.temporary.clone()];
    let mut open = vec![world.path("repo"), world.path("home")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if own.contains(&path) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                open.push(path.clone());
            }
            found.insert(path.display().to_string(), fs::read(&path).unwrap_or_default());
        }
    }
    for file in ["codex/AGENTS.md", "codex/hooks.json", "run/answer.json"] {
        found.insert(file.to_owned(), fs::read(world.path(file)).unwrap_or_default());
    }
    found
}

#[tokio::test]
async fn a_role_that_reads_writes_nothing() {
    let Some(mut world) = World::new() else { return };
    world.mode = SandboxMode::ReadOnly;
    let lines = ["echo EVIL > new", "echo EVIL >> a.txt", "echo EVIL > $TMPDIR/x", "unlink a.txt", "git log --oneline"];
    let outputs = world.execute(&lines).await;
    assert_eq!(fs::read_to_string(world.inside("a.txt")).unwrap(), "one\n");
    assert!(!world.inside("new").exists() && !world.workspace.temporary.join("x").exists());
    assert!(outputs[4].contains("the first"), "{outputs:#?}");
}

/// A link in a protected place is no way around it, and no reason for Codex to do nothing at all.
#[tokio::test]
async fn a_link_in_a_protected_place_protects_what_it_leads_to() {
    let Some(mut world) = World::with(&[("docs/rules.md", "be good\n"), ("a.txt", "one\n")]) else { return };
    symlink("docs/rules.md", world.path("repo/AGENTS.md")).unwrap();
    symlink("/etc", world.path("repo/hooks")).unwrap();
    symlink("nowhere", world.path("repo/skills")).unwrap();
    world.git(&["add", "."]);
    world.git(&["commit", "--quiet", "-m", "links"]);
    world.prepare();
    let outputs = world.execute(&["echo EVIL > AGENTS.md", "echo EVIL > docs/rules.md; cat a.txt"]).await;
    assert_eq!(fs::read_to_string(world.inside("docs/rules.md")).unwrap(), "be good\n", "{outputs:#?}");
    assert!(outputs[1].contains("one"), "{outputs:#?}");
}
