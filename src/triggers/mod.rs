//! The table: which events, under which conditions, start which role.
//!
//! [`load`] turns the bytes of `triggers.yaml` into a [`Table`] or into an error that points into the file; [`matching`]
//! decides which rows an event matches and says why. Both are pure: the caller reads the file and supplies the changed
//! paths. Nothing here knows the queue, a runtime or the disk.

mod glob;
pub mod load;
pub mod matching;
mod paths;
pub mod plan;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::Hook;
use crate::ids::Digest;
use crate::policy::{LimitOverrides, Policy};
use crate::run::State;

/// A checked table. Every name in it is known, every glob and expression compiles, rows do not form a cycle.
#[derive(Clone, Debug)]
pub struct Table {
    /// The ref whose commit the table is to be read from (`policy.from`), in the place of the worktree.
    pub from: Option<String>,
    /// The runtime of rows that name none.
    pub runtime: String,
    /// The rows, in the order of the file.
    pub triggers: Vec<Trigger>,
    /// The `policy` section.
    pub policy: Policy,
    /// The `artifacts` section.
    pub artifacts: ArtifactRules,
    /// The `hook` section.
    pub hook: HookRules,
    /// Of the file's bytes.
    pub digest: Digest,
}

impl Table {
    /// Whether any row starts a role on this hook, conditions aside.
    pub fn starts_on(&self, hook: Hook) -> bool {
        let starts = |row: &Trigger| matches!(row.action, RowAction::Role(_)) && row.on.contains(&Source::Hook(hook));
        self.triggers.iter().any(starts)
    }

    /// Roles that rows start and `policy.roles` does not list: their runs are held.
    pub fn roles_not_listed(&self) -> Vec<&str> {
        let mut missing: Vec<&str> = Vec::new();
        for row in &self.triggers {
            if let (RowAction::Role(role), Some(roles)) = (&row.action, &self.policy.roles)
                && !roles.contains_key(role)
                && !missing.contains(&role.as_str())
            {
                missing.push(role);
            }
        }
        missing
    }
}

/// One row.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Its name, unique in the table.
    pub name: String,
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// What it listens to.
    pub on: Vec<Source>,
    /// Under which conditions; all must hold.
    pub when: When,
    /// What it does.
    pub action: RowAction,
    /// Which events become one job.
    pub coalesce: Coalesce,
    /// How long it has to be quiet before a run that an event started is begun.
    pub debounce: Duration,
    /// The runtime, where it is not the table's.
    pub runtime: Option<String>,
    /// Limits laid over the role's.
    pub limits: LimitOverrides,
}

/// What a row listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Something git did.
    Hook(Hook),
    /// A run of another row reached a state.
    Run {
        /// The other row.
        trigger: String,
        /// A terminal state.
        state: State,
    },
}

/// What a row does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowAction {
    /// Starts a role.
    Role(String),
    /// Blocks the push until the named roles' artifacts exist for this tree and a person approved them.
    Gate {
        /// The roles whose artifacts are needed.
        requires: Vec<String>,
    },
}

/// The conditions of a row. An absent condition (an empty list) holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct When {
    /// Globs for changed paths, in git's sense; a leading `!` takes out again what matched before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Globs for the branch, without `refs/heads/`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<String>,
    /// Globs for the full names of the refs that moved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<String>,
    /// A regular expression for the commit message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Globs for `Name <email>` of the commit's author.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub author: Vec<String>,
}

/// Which events become one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coalesce {
    /// All that wait for the same row and branch are one job, for the newest commit.
    #[default]
    Branch,
    /// One job for each commit, however many events name it.
    Commit,
    /// One job for each event.
    None,
}

impl Coalesce {
    /// The quiet time of a row that says nothing about it. A second is longer than what lies between two commits of a
    /// script, a series of patches or an amend that follows at once, and shorter than what a person notices.
    pub fn debounce(self) -> Duration {
        match self {
            Self::Branch => Duration::from_secs(1),
            Self::Commit | Self::None => Duration::ZERO,
        }
    }
}

/// The `hook` section: how the hooks behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookRules {
    /// Whether a hook keeps to itself what it queued, where standard error is no terminal.
    pub quiet: bool,
}

/// The `artifacts` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRules {
    /// Whether git sees `.orchestrator/artifacts`.
    pub track: bool,
    /// How long finished runs and untracked artifacts are kept, in seconds.
    pub keep_seconds: u64,
}

impl Default for ArtifactRules {
    fn default() -> Self {
        Self { track: false, keep_seconds: 30 * 24 * 3600 }
    }
}

/// The names that a table may use. Given by the caller, so that the table knows no role and no runtime by itself.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary<'a> {
    /// Role names.
    pub roles: &'a [&'a str],
    /// Runtime names; the first is the default.
    pub runtimes: &'a [&'a str],
    /// A role's own contract: what it gets where `policy.roles.ROLE` leaves something out.
    pub contract: fn(&str) -> crate::policy::RolePolicy,
}

/// The commented table that a new repository gets, and that this one uses on itself.
pub const STARTER: &str = include_str!("../../triggers.yaml");

/// The JSON Schema (draft 2020-12) of the table, for editors. It says what one file can say by itself; names that have to
/// exist, globs and expressions are checked by [`load`] alone.
pub const SCHEMA_JSON: &str = include_str!("schema.json");
