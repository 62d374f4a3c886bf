//! The question every runtime asks before a run acts, and the decision it gets.
//!
//! Runtimes differ in how they ask (a hook call, an approval request, an own tool loop); the decision function is one.
//! No answer means no.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Checkout, Commands, RolePolicy, protected};

/// Something a run is about to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Action {
    /// A shell command line.
    Command {
        /// The line, as the runtime would hand it to a shell.
        line: String,
        /// Where the shell would start, absolute; `None` where the runtime does not say, which means the workspace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        directory: Option<PathBuf>,
    },
    /// Input to a process that is already running: what it would do with it, nobody can judge.
    Input {
        /// What would be written.
        text: String,
    },
    /// A change of files.
    Patch {
        /// The paths that it adds, changes, deletes or moves to.
        paths: Vec<String>,
    },
    /// Any other tool.
    Tool {
        /// Its name.
        name: String,
    },
}

/// The answer, with the rule it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Allow, deny or escalate.
    pub verdict: Verdict,
    /// The entry of the allow-list that matched, or the name of the rule that forbids it.
    pub rule: String,
    /// A sentence for the record.
    pub reason: String,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It runs, inside the sandbox.
    Allow,
    /// It does not.
    Deny,
    /// It does not, unless a person says so: visible and static, only not listed.
    Escalate,
}

/// Decides about actions. The rules do no I/O, but for a look at [`Checkout`]; what persons allowed beyond them is looked up outside this module, around
/// them.
pub trait Gatekeeper {
    /// What may happen with this action.
    fn decide(&self, action: &Action) -> Decision;
}

/// Tools of a runtime that change nothing and tell nobody anything: the model's own list of steps.
const HARMLESS_TOOLS: &[&str] = &["update_plan"];

/// The allow-list of a role: the command prefixes it may run, where, and whether it may write.
#[derive(Clone, Debug)]
pub struct AllowList {
    commands: Commands,
    root: Option<String>,
    writes: bool,
}

impl AllowList {
    /// The allow-list of this role, wherever it works.
    pub fn of(policy: &RolePolicy) -> Self {
        Self {
            commands: Commands::new(&policy.commands),
            root: None,
            writes: policy.sandbox == super::SandboxMode::WorkspaceWrite,
        }
    }

    /// The same for a workspace at this absolute path: what leads out of it is not allowed. A path that is no text is
    /// none that anything could be compared with, so that nothing but relative paths is.
    #[must_use]
    pub fn within(mut self, workspace: &Path) -> Self {
        let root = workspace.to_string_lossy().into_owned();
        self.commands = self.commands.within(&root);
        self.root = Some(root);
        self
    }

    /// The same where the disk shows which repository git would work in: in none but the checkout's own.
    #[must_use]
    pub fn looking_at(mut self, checkout: Checkout) -> Self {
        self.commands = self.commands.looking_at(checkout);
        self
    }

    fn patch(&self, paths: &[String]) -> Decision {
        if !self.writes {
            return decision(Verdict::Deny, "read-only", "the role's sandbox is read-only");
        }
        if paths.is_empty() {
            return decision(Verdict::Deny, "no-path", "the patch does not say what it changes");
        }
        match paths.iter().find_map(|path| protected::objection(path, self.root.as_deref())) {
            Some(objection) => decision(Verdict::Deny, objection.rule, &objection.reason),
            None => decision(Verdict::Allow, "workspace-write", "the role may write in its workspace"),
        }
    }
}

fn decision(verdict: Verdict, rule: &str, reason: &str) -> Decision {
    Decision { verdict, rule: rule.to_owned(), reason: crate::text::one_line(reason) }
}

impl Gatekeeper for AllowList {
    fn decide(&self, action: &Action) -> Decision {
        match action {
            Action::Command { line, directory } => {
                let directory = directory.as_ref().map(|directory| directory.to_string_lossy());
                self.commands.judge_in(line, directory.as_deref())
            }
            Action::Input { .. } => decision(
                Verdict::Deny,
                "input-to-running-process",
                "input to a running process cannot be judged; start a command of its own",
            ),
            Action::Patch { paths } => self.patch(paths),
            Action::Tool { name } if HARMLESS_TOOLS.contains(&name.as_str()) => {
                decision(Verdict::Allow, name, "it changes nothing outside the conversation")
            }
            Action::Tool { name } => {
                decision(Verdict::Deny, "tool-not-listed", &format!("the tool `{name}` is not listed"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Limits, SandboxMode};

    fn list(sandbox: SandboxMode) -> AllowList {
        let commands = ["git show", "ls", "pytest"].map(str::to_owned).to_vec();
        let policy = RolePolicy { sandbox, network: false, commands, limits: Limits::default() };
        AllowList::of(&policy).within(Path::new("/work/tree"))
    }

    fn verdict(line: &str) -> Verdict {
        decided(line, None).verdict
    }

    fn decided(line: &str, directory: Option<&str>) -> Decision {
        let action = Action::Command { line: line.into(), directory: directory.map(Into::into) };
        list(SandboxMode::ReadOnly).decide(&action)
    }

    #[test]
    fn a_line_is_as_good_as_its_worst_command() {
        for line in ["ls", "ls -la src", "git show HEAD", "git show 'a b' | ls", "bash -lc 'ls && git show'"] {
            assert_eq!(verdict(line), Verdict::Allow, "{line}");
        }
        for line in ["lsof", "git push", "git", "cat x", "ls; rm x"] {
            assert_eq!(verdict(line), Verdict::Escalate, "{line}");
        }
        for line in ["ls $(id)", "ls > x", "A=1 ls", "ls `id`", "", "'", "ls & rm x", "ls | sh", "ls\0"] {
            assert_eq!(verdict(line), Verdict::Deny, "{line}");
        }
    }

    #[test]
    fn a_line_stays_in_the_workspace() {
        for (line, directory) in [
            ("ls /work/tree/src", None),
            ("ls ..", Some("/work/tree/src")),
            ("cd src && ls ..", None),
            ("cd /work/tree/a/b && ls ../../c", None),
            ("cd src && pytest ../tests", None),
            ("pytest /work/tree/tests/test_a.py", None),
            ("pytest tests", Some("/work/tree/sub/")),
            ("ls /usr/include", None),
            ("bash -c 'cd src && ls ..'", None),
        ] {
            assert_eq!(decided(line, directory).verdict, Verdict::Allow, "{line} in {directory:?}");
        }
        for (line, directory) in [
            ("ls ..", None),
            ("ls", Some("/work")),
            ("ls", Some("/work/treetop")),
            ("ls", Some("/work/tree/../other")),
            ("ls", Some("relative")),
            ("cd .. && ls", None),
            ("cd / && ls", None),
            ("cd src && ls ../..", None),
            ("cd src && cd ../.. && ls", None),
            ("ls src/../..", None),
            ("ls src/../../x", None),
            ("ls /home/other", None),
            ("ls --ignore=/home/other", None),
            ("pytest /work/treetop", None),
            ("pytest /work/tree/../x", None),
            ("git -C .. show", None),
            ("git -C/home/x show", None),
            ("bash -c 'cd .. && ls'", None),
            ("cd nosuch || ls ..", None),
        ] {
            assert_ne!(decided(line, directory).verdict, Verdict::Allow, "{line} in {directory:?}");
        }
    }

    #[test]
    fn a_patch_stays_in_the_workspace_and_off_what_is_protected() {
        let patch = |paths: &[&str], sandbox| {
            let paths = paths.iter().map(|&path| path.to_owned()).collect();
            list(sandbox).decide(&Action::Patch { paths }).rule
        };
        let writes = |paths: &[&str]| patch(paths, SandboxMode::WorkspaceWrite);
        assert_eq!(patch(&["src/a.rs"], SandboxMode::ReadOnly), "read-only");
        assert_eq!(writes(&["src/a.rs", "/work/tree/new/b.rs", "./c", ".github/workflows/x.yml"]), "workspace-write");
        assert_eq!(writes(&[]), "no-path");
        assert_eq!(writes(&["a", "../b"]), "outside");
        assert_eq!(writes(&["/work/treetop/a"]), "outside");
    }

    #[test]
    fn what_is_no_command_and_no_patch_is_refused() {
        let rule = |action: Action| {
            let decision = list(SandboxMode::WorkspaceWrite).decide(&action);
            (decision.verdict, decision.rule)
        };
        let denied = |rule: &str| (Verdict::Deny, rule.to_owned());
        assert_eq!(rule(Action::Input { text: "ls".into() }), denied("input-to-running-process"));
        assert_eq!(rule(Action::Tool { name: "mcp__x__y".into() }), denied("tool-not-listed"));
        assert_eq!(rule(Action::Tool { name: "update_plan ".into() }), denied("tool-not-listed"));
        assert_eq!(rule(Action::Tool { name: "update_plan".into() }).0, Verdict::Allow);
    }
}
