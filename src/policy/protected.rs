//! Paths that no patch of a run changes, whatever its role may write: what says what runs, and what says what an agent is
//! told.
//!
//! Paths are compared as text, without a look at the disk: whoever applies the patch follows no link.

use super::command::paths;

/// Names that are protected wherever they stand, in lower case: some file systems do not tell `.GIT` from `.git`.
pub const ANYWHERE: &[&str] = &[
    // Git's own, and ours.
    ".git",
    ".orchestrator",
    // What agents are told, and what configures them.
    "agents.md",
    "agents.override.md",
    "claude.md",
    "claude.local.md",
    "gemini.md",
    ".cursorrules",
    "copilot-instructions.md",
    "skill.md",
    ".codex",
    ".agents",
    ".claude",
    ".gemini",
    ".cursor",
    // Hooks that git or a hook manager runs.
    ".githooks",
    ".husky",
    ".lefthook",
    ".lefthook-local",
];

/// Names that are protected at the top of the workspace.
pub const AT_TOP: &[&str] = &[
    "triggers.yaml",
    "skills",
    "hooks",
    "lefthook.yml",
    "lefthook.yaml",
    "lefthook.toml",
    "lefthook.json",
    ".lefthook.yml",
    ".pre-commit-config.yaml",
    "prek.toml",
];

/// Held read-only by the sandbox at the top of a checkout, whether they are there or not: what a run could create is as
/// good as what it could change.
pub const ALWAYS: &[&str] =
    &[".git", ".orchestrator", "AGENTS.md", "AGENTS.override.md", "hooks", "skills", "triggers.yaml"];

/// Held read-only by the sandbox at the top of a checkout where they are there.
pub const WHERE_THERE: &[&str] = &[".agents", ".claude", ".codex", ".githooks", ".husky", "CLAUDE.md", "lefthook.yml"];

/// Why a path may not be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// `outside`, `protected` or `odd-character`.
    pub rule: &'static str,
    /// A sentence.
    pub reason: String,
}

/// The objection to a change of this path in a workspace at `root`; without a root only relative paths lie inside.
pub fn objection(path: &str, root: Option<&str>) -> Option<Objection> {
    let object = |rule, reason: String| Some(Objection { rule, reason });
    // Some file systems leave characters out of a name that nobody sees.
    if path.chars().any(|c| super::command::line::is_odd(c) || c == '\n' || c == '\t') {
        return object("odd-character", format!("`{path}` holds a control or invisible character"));
    }
    let outside = || object("outside", format!("`{path}` does not lie in the workspace"));
    if root.is_none() && path.starts_with('/') {
        return outside();
    }
    let root = root.unwrap_or("/");
    let Some(target) = paths::resolved(root, path) else { return outside() };
    let Some(inside) = paths::behind(root, &target).filter(|inside| !inside.is_empty()) else { return outside() };
    let protected = inside.split('/').enumerate().find(|(at, part)| {
        // Windows, and file systems made for it, take no notice of these at the end.
        // What follows a colon is a stream of the same file there: `.git::$INDEX_ALLOCATION` is `.git`.
        let name = part.split_once(':').map_or(*part, |(name, _)| name);
        let name = name.trim_end_matches(['.', ' ']).to_lowercase();
        let short = name.starts_with("git~");
        short || ANYWHERE.contains(&name.as_str()) || (*at == 0 && AT_TOP.contains(&name.as_str()))
    });
    let (_, part) = protected?;
    object(
        "protected",
        format!("`{path}`: `{part}` says what runs or what agents are told, and is a person's to change"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_what_runs_is_a_persons() {
        for path in [
            ".git/config",
            ".git",
            "sub/.git/hooks/post-commit",
            "a/../.git/config",
            "/w/.git/config",
            ".GIT/config",
            ".git./config",
            "git~1/config",
            ".git::$INDEX_ALLOCATION/config",
            "AGENTS.md:stream",
            ".orchestrator/state/ledger.db",
            "triggers.yaml",
            "./triggers.yaml",
            "a/../Triggers.YAML",
            "AGENTS.md",
            "docs/AGENTS.md",
            "sub/agents.override.md",
            "skills/tester/SKILL.md",
            ".agents/skills/x/SKILL.md",
            ".codex/config.toml",
            "hooks/shim.sh",
            ".husky/pre-commit",
        ] {
            assert_eq!(objection(path, Some("/w")).map(|o| o.rule), Some("protected"), "{path}");
        }
        for path in ["src/hooks/use.ts", "docs/skills/a.md", ".github/x.yml", ".gitignore", "/w/a", "a/b/../c"] {
            assert_eq!(objection(path, Some("/w")), None, "{path}");
        }
        for path in ["..", "../a", "a/../../w2", "/", "/w", "/w2/a", "/w/../a", "", ".", "a/.."] {
            assert_eq!(objection(path, Some("/w")).map(|o| o.rule), Some("outside"), "{path}");
        }
        for path in [".g\u{200c}it/config", "a\nb", "a\0"] {
            assert_eq!(objection(path, Some("/w")).map(|o| o.rule), Some("odd-character"), "{path:?}");
        }
        assert_eq!(objection("/a", None).map(|o| o.rule), Some("outside"));
        assert_eq!(objection("a", None), None);
    }
}
