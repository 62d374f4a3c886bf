//! The proof before a run: what it says of a sandbox that holds, and of ones that do not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use orchestrator::runtime::Class;

use crate::{World, support, write};

#[tokio::test]
async fn a_sandbox_that_holds_is_described() {
    let Some(world) = World::new() else { return };
    world.plant("home/.ssh/id_ed25519");
    let found = world.probe().await.unwrap();
    assert!(found.sandbox.contains("workspace-write with a permission profile"), "{found:?}");
    assert!(found.sandbox.contains("memory") && found.sandbox.contains("processes"), "{found:?}");
    // Nothing is left of it in the workspace.
    let left: Vec<_> = fs::read_dir(&world.workspace.path).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "{left:?}");
}

/// Programs that call themselves Codex and confine less than they should.
#[tokio::test]
async fn a_sandbox_that_leaks_is_refused() {
    let Some(codex) = support::codex() else { return };
    let real = codex.canonicalize().unwrap();
    let inner = "shift; while [ \"$1\" != -- ]; do shift; done; shift; ";
    for (body, leak) in [
        // No sandbox at all.
        (format!("{inner} exec \"$@\""), "write outside of its workspace"),
        // Writes are confined, reads are not: the plain mode in place of the profile.
        (
            format!(
                "{inner} exec '{}' sandbox -c 'sandbox_mode=\"workspace-write\"' -c \
                 sandbox_workspace_write.exclude_slash_tmp=true -- \"$@\"",
                real.display()
            ),
            "change triggers.yaml",
        ),
        // One that says it worked and did nothing.
        ("exit 0".to_owned(), "a command in it cannot read and write where it should"),
    ] {
        let Some(mut world) = World::new() else { return };
        world.plant("home/.ssh/id_ed25519");
        let fake = world.path("fake");
        write(&fake, &format!("#!/bin/sh\ncase $1 in --version) echo codex-cli 0.169.0;; sandbox) {body};; esac\n"));
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
        world.set("GIT_ORCHESTRATOR_CODEX", fake);
        let failure = world.probe().await.unwrap_err();
        assert_eq!(failure.class, Class::Sandbox, "{body}: {failure}");
        assert!(failure.message.ends_with(leak), "{body}: {failure}");
        assert!(failure.fix.is_some());
    }
}

/// An older version has no profile: the plain mode is tried out all the same, and named.
#[tokio::test]
async fn an_older_version_is_confined_plainly_and_says_so() {
    let Some(codex) = support::codex() else { return };
    let real = codex.canonicalize().unwrap();
    let Some(mut world) = World::new() else { return };
    let fake = world.path("older");
    let script = format!(
        "#!/bin/sh\ncase $1 in --version) echo codex-cli 0.167.0;; *) exec '{}' \"$@\";; esac\n",
        real.display()
    );
    write(&fake, &script);
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    world.set("GIT_ORCHESTRATOR_CODEX", fake);
    let found = world.probe().await.unwrap();
    assert!(found.sandbox.contains("plain workspace-write: commands can read every file"), "{found:?}");
}
