//! The roles: each is data. A skill (instructions), an answer type with its strict schema, default permissions.
//!
//! A role never writes a file: it answers, and the orchestrator checks and writes. This module knows neither runtimes
//! nor the queue.

pub mod answer;
#[cfg(test)]
pub(crate) mod schema;

use std::time::Duration;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::policy::{Limits, RolePolicy, SandboxMode};

/// A role's contract.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// The name in the table.
    pub name: &'static str,
    /// What its artifact is called on a page.
    pub title: &'static str,
    /// What `status` says it does, in a few words.
    pub does: &'static str,
    /// The whole `SKILL.md`.
    pub skill: &'static str,
    /// The strict JSON schema of its answer.
    pub schema: &'static str,
    /// Its prompt holds the task documents of the change in full.
    pub reads_task_documents: bool,
    sandbox: SandboxMode,
}

/// The roles there are.
pub const ROLES: &[Role] = &[
    Role {
        name: "planner",
        title: "Plan",
        does: "plans the task",
        skill: include_str!("../../skills/planner/SKILL.md"),
        schema: include_str!("../../skills/planner/answer.schema.json"),
        reads_task_documents: true,
        sandbox: SandboxMode::ReadOnly,
    },
    Role {
        name: "architect",
        title: "Design check",
        does: "checks the design",
        skill: include_str!("../../skills/architect/SKILL.md"),
        schema: include_str!("../../skills/architect/answer.schema.json"),
        reads_task_documents: false,
        sandbox: SandboxMode::ReadOnly,
    },
    Role {
        name: "tester",
        title: "Test report",
        does: "tests the change",
        skill: include_str!("../../skills/tester/SKILL.md"),
        schema: include_str!("../../skills/tester/answer.schema.json"),
        reads_task_documents: false,
        sandbox: SandboxMode::WorkspaceWrite,
    },
];

/// Their names, in the order they are shown.
pub const NAMES: &[&str] = &["planner", "architect", "tester"];

/// The schema of artifact files, derived from [`crate::artifact::Artifact`] by a test.
pub const ENVELOPE_SCHEMA: &str = include_str!("../../skills/artifact.schema.json");

/// The published schema of this name: that of a role's answer, or `envelope` for what surrounds one.
pub fn schema(name: &str) -> Option<&'static str> {
    if name == "envelope" {
        return Some(ENVELOPE_SCHEMA);
    }
    ROLES.iter().find(|role| role.name == name).map(|role| role.schema)
}

/// What every role may execute: commands that read. What of their options does so is known to `policy::command`.
const READING_COMMANDS: &[&str] = &[
    "git diff",
    "git log",
    "git show",
    "git status",
    "git blame",
    "git grep",
    "git branch",
    "git tag",
    "git ls-files",
    "git ls-tree",
    "git cat-file",
    "git rev-parse",
    "git rev-list",
    "git merge-base",
    "git describe",
    "git shortlog",
    "git for-each-ref",
    "rg",
    "grep",
    "find",
    "fd",
    "ls",
    "tree",
    "stat",
    "file",
    "cat",
    "head",
    "tail",
    "nl",
    "wc",
    "sed",
    "awk",
    "sort",
    "uniq",
    "cut",
    "tr",
    "comm",
    "diff",
    "jq",
    "echo",
    "printf",
    "test",
    "[",
    "pwd",
    "date",
    "basename",
    "dirname",
    "realpath",
    "column",
    "which",
    "command -v",
];

/// What a tester may execute beside that: the test commands of the common build tools.
const TEST_COMMANDS: &[&str] = &[
    "cargo test",
    "cargo nextest run",
    "npm test",
    "pnpm test",
    "yarn test",
    "pytest",
    "python -m pytest",
    "python3 -m pytest",
    "python3 -m unittest",
    "go test",
    "dotnet test",
    "mvn test",
    "make test",
];

impl Role {
    /// The role of this name.
    pub fn find(name: &str) -> Result<&'static Self> {
        ROLES.iter().find(|role| role.name == name).ok_or_else(|| {
            Error::usage(format!("there is no role `{}`", crate::text::one_line(name)))
                .hint(format!("the roles are {}", NAMES.join(", ")))
        })
    }

    /// What it may do where the table says nothing else.
    pub fn contract(&self) -> RolePolicy {
        let tests = if self.sandbox == SandboxMode::WorkspaceWrite { TEST_COMMANDS } else { &[] };
        RolePolicy {
            sandbox: self.sandbox,
            network: false,
            commands: READING_COMMANDS.iter().chain(tests).map(|&command| command.to_owned()).collect(),
            limits: Limits { wall: Duration::from_secs(20 * 60), ..Limits::default() },
        }
    }

    /// The schema as JSON.
    pub fn schema_value(&self) -> Value {
        serde_json::from_str(self.schema).unwrap_or(Value::Null)
    }
}

/// Whether what the role finds is about the tree as a whole, whatever change led to it; else it is about that change.
pub fn judges_tree(name: &str) -> bool {
    name == "tester"
}

/// The contract of the role of this name; an unknown one may nothing but read.
pub fn contract(name: &str) -> RolePolicy {
    let nothing = |_| RolePolicy {
        sandbox: SandboxMode::ReadOnly,
        network: false,
        commands: Vec::new(),
        limits: Limits::default(),
    };
    Role::find(name).map_or_else(nothing, Role::contract)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_roles() {
        assert_eq!(ROLES.iter().map(|role| role.name).collect::<Vec<_>>(), NAMES);
    }
}
