//! What keeps an allowed action inside: that the permission profile is in force, and the paths of patches.
//!
//! `untrusted` alone is no wall. Measured with 0.163 and 0.169, where a plain sandbox mode is set:
//!
//! - a command that was allowed and then fails on the sandbox is executed again, without any, and nobody is asked;
//! - a model that passes `sandbox_permissions: "require_escalated"` gets the question of a plain command, word for word,
//!   and what is allowed runs without a sandbox;
//! - a patch that was allowed is applied without a sandbox, wherever it points.
//!
//! The first two end where the profile denies the root directory and lists what may be read instead, as
//! `codex_exec::profile` does: then the second try and the escalated one run in the very same sandbox. For patches
//! there is no such setting: their paths are the only wall, and are checked here down to the last link.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::policy::{SandboxMode, protected};
use crate::runtime::{Class, Failure, SandboxProfile};
use crate::text;

/// The approval policy under which Codex asks.
pub(super) const ASKS: &str = "untrusted";

/// What the sandbox of a command protects in a workspace, and a patch would not: git's own files, and what Codex and
/// its like read as settings.
const PROTECTED: &[&str] = &[".git", ".codex", ".agents", ".aws"];

/// Features without which something would happen that is not asked for. Unknown names are ignored by every version.
const FEATURES: &[&str] = &[
    // Without a terminal a command has no standard input, so that there is nothing to write into.
    "unified_exec_tty=false",
    "write_stdin_approval=true",
    "exec_permission_approvals=false",
    "request_permissions_tool=false",
    "network_proxy=false",
];

/// The settings that only this runtime needs, as `key=value` for `-c`.
pub(super) fn settings() -> Vec<String> {
    let mut out: Vec<String> = FEATURES.iter().map(|feature| format!("features.{feature}")).collect();
    out.push("approvals_reviewer=\"user\"".to_owned());
    out
}

/// Whether the thread that Codex began is one that asks us, inside our profile. What it says is what it does: its
/// answer tells the settings in force, not those that were wished for.
pub(super) fn check(thread: &Value, sandbox: &SandboxProfile, profile: &str) -> Result<(), Failure> {
    let word = |pointer: &str| thread.pointer(pointer).and_then(Value::as_str).unwrap_or("nothing");
    let mode = match sandbox.mode {
        SandboxMode::ReadOnly => "readOnly",
        SandboxMode::WorkspaceWrite => "workspaceWrite",
    };
    for (pointer, wanted) in [
        ("/approvalPolicy", ASKS),
        ("/approvalsReviewer", "user"),
        ("/activePermissionProfile/id", profile),
        ("/sandbox/type", mode),
    ] {
        let found = word(pointer);
        if found != wanted {
            let found = text::clipped(&text::one_line(found), 80).into_owned();
            let name = pointer.trim_start_matches('/');
            let message = format!("the wall is not in force: Codex says {name} is {found}, not {wanted}");
            return Err(Failure::new(Class::Sandbox, message).fix("set `runtime: codex-exec`"));
        }
    }
    if !sandbox.network && thread.pointer("/sandbox/networkAccess").and_then(Value::as_bool) != Some(false) {
        let message = "the wall is not in force: Codex lets commands reach the network";
        return Err(Failure::new(Class::Sandbox, message).fix("set `runtime: codex-exec`"));
    }
    Ok(())
}

/// The file of rules by which Codex would execute commands without asking, if there is one. Its app server has no
/// switch for them.
pub(super) fn own_rules(home: Option<&Path>) -> Option<PathBuf> {
    let places = [home.map(|home| home.join("rules")), Some(PathBuf::from("/etc/codex/rules"))];
    for place in places.into_iter().flatten() {
        match std::fs::read_dir(&place) {
            Ok(entries) => {
                let mut rules = entries.flatten().map(|entry| entry.path());
                if let Some(file) = rules.find(|file| file.extension().is_some_and(|extension| extension == "rules")) {
                    return Some(file);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // What cannot be looked into may hold some.
            Err(_) => return Some(place),
        }
    }
    None
}

/// Why a patch of these paths may not be applied whatever the policy says, if it may not.
///
/// A command could swap a directory for a link after this was decided, so no patch is applied while one is running.
pub(super) fn objection(
    paths: &[String],
    workspace: &Path,
    mode: SandboxMode,
    is_command_running: bool,
) -> Option<(&'static str, String)> {
    if mode == SandboxMode::ReadOnly {
        return Some(("read-only", "the sandbox is read-only".to_owned()));
    }
    if paths.is_empty() {
        return Some(("unreadable", "the patch does not say which files it changes".to_owned()));
    }
    if is_command_running {
        return Some(("command-running", "a command is still running: change files when it has ended".to_owned()));
    }
    let Ok(root) = workspace.canonicalize() else {
        return Some(("outside-the-workspace", "the workspace cannot be found".to_owned()));
    };
    paths.iter().find_map(|name| {
        let shown = text::one_line(name);
        let Some(real) = real(&workspace.join(name)) else {
            return Some(("outside-the-workspace", format!("where `{shown}` lies cannot be told")));
        };
        let inside = real.strip_prefix(&root).unwrap_or(Path::new(""));
        if inside.as_os_str().is_empty() {
            return Some(("outside-the-workspace", format!("`{shown}` lies outside the workspace")));
        }
        let is_protected = inside.components().any(|part| {
            let part = part.as_os_str();
            PROTECTED.iter().any(|name| part.eq_ignore_ascii_case(name))
        });
        let is_ours = real
            .to_str()
            .zip(root.to_str())
            .is_none_or(|(real, root)| protected::objection(real, Some(root)).is_some());
        (is_protected || is_ours).then(|| ("protected-path", format!("`{shown}` is protected")))
    })
}

/// Where a file would really lie that is written under this path: what is there of the path, with links followed, and
/// the rest as it is. Nothing that goes up again, and nothing behind a link that leads nowhere.
fn real(path: &Path) -> Option<PathBuf> {
    if path.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    let mut rest = Vec::new();
    let mut there = path;
    loop {
        match there.symlink_metadata() {
            Ok(_) => break,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                rest.push(there.file_name()?);
                there = there.parent()?;
            }
            Err(_) => return None,
        }
    }
    let mut real = there.canonicalize().ok()?;
    real.extend(rest.into_iter().rev());
    Some(real)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;

    fn sandbox(mode: SandboxMode) -> SandboxProfile {
        SandboxProfile {
            mode,
            network: false,
            temporary: "/t \"x\"".into(),
            readable: Vec::new(),
            command_environment: BTreeMap::new(),
        }
    }

    #[test]
    fn a_thread_that_is_not_what_was_asked_for_is_refused() {
        let right = json!({"approvalPolicy": "untrusted", "approvalsReviewer": "user",
            "activePermissionProfile": {"id": "p"}, "sandbox": {"type": "workspaceWrite", "networkAccess": false}});
        let sandbox = sandbox(SandboxMode::WorkspaceWrite);
        check(&right, &sandbox, "p").unwrap();
        for (key, value) in [
            ("approvalPolicy", json!("on-request")),
            ("approvalPolicy", json!({"granular": {}})),
            ("approvalsReviewer", json!("auto_review")),
            ("activePermissionProfile", json!(null)),
            ("activePermissionProfile", json!({"id": ":danger-full-access"})),
            ("sandbox", json!({"type": "dangerFullAccess"})),
            ("sandbox", json!({"type": "workspaceWrite", "networkAccess": true})),
            ("sandbox", json!({"type": "workspaceWrite"})),
        ] {
            let mut wrong = right.clone();
            wrong[key] = value;
            assert_eq!(check(&wrong, &sandbox, "p").unwrap_err().class, Class::Sandbox, "{wrong}");
        }
        assert!(check(&json!(null), &sandbox, "p").is_err());
    }

    #[test]
    fn a_patch_stays_in_the_workspace_by_its_real_paths() {
        let root = tempfile::tempdir().unwrap();
        let (workspace, outside) = (root.path().join("w"), root.path().join("outside"));
        for directory in [workspace.join("src"), workspace.join(".git"), outside.clone()] {
            std::fs::create_dir_all(directory).unwrap();
        }
        crate::files::write(&workspace.join("src/old.rs"), b"x").unwrap();
        symlink(&outside, workspace.join("link")).unwrap();
        symlink("src", workspace.join("inner")).unwrap();
        symlink("nowhere/at/all", workspace.join("dangling")).unwrap();
        symlink(".git", workspace.join("alias")).unwrap();
        let write = SandboxMode::WorkspaceWrite;
        let rule = |name: &str| {
            let name = name.replace("$W", workspace.to_str().unwrap()).replace("$R", root.path().to_str().unwrap());
            objection(&[name], &workspace, write, false).map(|(rule, _)| rule)
        };
        for name in ["$W/src/old.rs", "$W/new", "new", "src/a/b/c", "$W/inner/x", ".gitignore", "src/.github/x"] {
            assert_eq!(rule(name), None, "{name}");
        }
        for name in ["$R/x", "/etc/passwd", "../x", "src/../../x", "$W/../outside/x", "link/x", "link", "dangling", ""]
        {
            assert_eq!(rule(name), Some("outside-the-workspace"), "{name}");
        }
        for name in [".git/config", ".GIT/hooks/x", "src/.git/x", "alias/config", ".codex/config.toml", ".agents/x"] {
            assert_eq!(rule(name), Some("protected-path"), "{name}");
        }
        let inside = ["src/old.rs".to_owned()];
        let rule = |paths: &[String], mode, running| objection(paths, &workspace, mode, running).map(|(rule, _)| rule);
        assert_eq!(rule(&inside, SandboxMode::ReadOnly, false), Some("read-only"));
        assert_eq!(rule(&inside, write, true), Some("command-running"));
        assert_eq!(rule(&[], write, false), Some("unreadable"));
    }

    #[test]
    fn rules_of_codex_are_seen() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(own_rules(Some(home.path())), None);
        std::fs::create_dir(home.path().join("rules")).unwrap();
        assert_eq!(own_rules(Some(home.path())), None);
        let file = home.path().join("rules/default.rules");
        crate::files::write(&file, b"").unwrap();
        assert_eq!(own_rules(Some(home.path())), Some(file));
    }
}
