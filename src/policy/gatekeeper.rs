//! The question every runtime asks before a run acts, and the decision it gets.
//!
//! Runtimes differ in how they ask (a hook call, an approval request, an own tool loop); the decision function is one.
//! No answer means no.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::RolePolicy;

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

/// Decides about actions. Implementations do no I/O.
pub trait Gatekeeper {
    /// What may happen with this action.
    fn decide(&self, action: &Action) -> Decision;
}

/// What makes a line more than plain words: an operator, an expansion, a redirection, a comment, an assignment.
const SYNTAX: &[char] =
    &['$', '`', '\\', ';', '&', '|', '<', '>', '(', ')', '{', '}', '*', '?', '[', ']', '!', '~', '#', '=', '^'];

/// The allow-list of a role's command prefixes.
///
/// A line is allowed only if it is plain words (no expansion, redirection, operator or assignment) and begins with the
/// words of a listed prefix.
#[derive(Clone, Debug)]
pub struct AllowList {
    prefixes: Vec<Vec<String>>,
    writes: bool,
}

impl AllowList {
    /// The allow-list of this role.
    pub fn of(policy: &RolePolicy) -> Self {
        Self {
            prefixes: policy
                .commands
                .iter()
                .filter_map(|prefix| shlex::split(prefix))
                .filter(|p| !p.is_empty())
                .collect(),
            writes: policy.sandbox == super::SandboxMode::WorkspaceWrite,
        }
    }

    fn command(&self, line: &str) -> Decision {
        let deny = |rule: &str, reason: &str| Decision {
            verdict: Verdict::Deny,
            rule: rule.to_owned(),
            reason: reason.to_owned(),
        };
        if line.chars().any(char::is_control) {
            return deny("control-character", "the line holds a control character");
        }
        if line.contains(SYNTAX) {
            return deny("not-static", "only plain words can be judged: no operator, expansion or redirection");
        }
        let Some(words) = shlex::split(line).filter(|words| !words.is_empty()) else {
            return deny("not-static", "the line cannot be split into words");
        };
        match self.prefixes.iter().find(|prefix| words.starts_with(prefix)) {
            Some(prefix) => Decision {
                verdict: Verdict::Allow,
                rule: prefix.join(" "),
                reason: "listed under `commands`".to_owned(),
            },
            None => Decision {
                verdict: Verdict::Escalate,
                rule: "not-listed".to_owned(),
                reason: format!("no entry of `commands` begins `{}`", crate::text::one_line(&words[0])),
            },
        }
    }
}

impl Gatekeeper for AllowList {
    fn decide(&self, action: &Action) -> Decision {
        match action {
            Action::Command { line, .. } => self.command(line),
            Action::Input { .. } => Decision {
                verdict: Verdict::Deny,
                rule: "input-to-running-process".to_owned(),
                reason: "input to a running process cannot be judged; start a command of its own".to_owned(),
            },
            Action::Patch { .. } if self.writes => Decision {
                verdict: Verdict::Allow,
                rule: "workspace-write".to_owned(),
                reason: "the role may write in its workspace".to_owned(),
            },
            Action::Patch { .. } => Decision {
                verdict: Verdict::Deny,
                rule: "read-only".to_owned(),
                reason: "the role's sandbox is read-only".to_owned(),
            },
            Action::Tool { name } => Decision {
                verdict: Verdict::Deny,
                rule: "tool-not-listed".to_owned(),
                reason: format!("the tool `{}` is not listed", crate::text::one_line(name)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Limits, SandboxMode};

    fn verdict(line: &str) -> Verdict {
        let policy = RolePolicy {
            sandbox: SandboxMode::ReadOnly,
            network: false,
            commands: vec!["git show".into(), "ls".into()],
            limits: Limits::default(),
        };
        AllowList::of(&policy).decide(&Action::Command { line: line.into(), directory: None }).verdict
    }

    #[test]
    fn only_plain_listed_words_pass() {
        for line in ["ls", "ls -la src", "git show HEAD", "git show 'a b'"] {
            assert_eq!(verdict(line), Verdict::Allow, "{line}");
        }
        for line in ["lsof", "git push", "git", "cat x"] {
            assert_eq!(verdict(line), Verdict::Escalate, "{line}");
        }
        for line in ["ls; rm x", "ls $(id)", "ls > x", "A=1 ls", "ls `id`", "ls\nrm x", "", "'", "ls & rm x", "ls | sh"]
        {
            assert_eq!(verdict(line), Verdict::Deny, "{line}");
        }
    }
}
