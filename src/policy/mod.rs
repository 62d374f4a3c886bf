//! The allow-list: what may start, what a run may execute, within which limits.
//!
//! Values only: the table's loader fills them in, the dispatcher and the worker ask them. What is not listed does not
//! run. This module knows no runtime: a runtime hands each action to a [`Gatekeeper`] and does what it is told. It does no
//! I/O, but for a look at a [`Checkout`].

pub mod admission;
pub mod ceiling;
mod checkout;
pub mod command;
pub mod gatekeeper;
pub mod protected;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::checkout::Checkout;
pub use self::command::Commands;
pub use self::gatekeeper::{Action, Decision, Gatekeeper};

/// How much agents may do without a person, from least to most. Each level allows what the ones before it allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Autonomy {
    /// Events are recorded; every job is held until a person releases it.
    Observe,
    /// Runs read: whatever a role asks for, its sandbox is read-only.
    Suggest,
    /// Roles may also write inside their throw-away workspace (to build and to test); what leaves it is an artifact.
    #[default]
    Draft,
    /// Roles that change code keep their changes in an isolated worktree.
    IsolatedWrite,
    /// Changes may be proposed as a branch, for a person to merge.
    Propose,
}

impl Autonomy {
    /// All levels, lowest first.
    pub const ALL: [Self; 5] = [Self::Observe, Self::Suggest, Self::Draft, Self::IsolatedWrite, Self::Propose];

    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Suggest => "suggest",
            Self::Draft => "draft",
            Self::IsolatedWrite => "isolated-write",
            Self::Propose => "propose",
        }
    }
}

/// What a run may write. There is no mode without a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// Nothing.
    ReadOnly,
    /// Its own workspace and its own temporary directory.
    WorkspaceWrite,
}

impl SandboxMode {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::WorkspaceWrite => "workspace-write",
        }
    }
}

/// How long and how much. Every limit has a value: there is no unlimited run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// From the start of an attempt to its end.
    #[serde(with = "millis")]
    pub wall: Duration,
    /// Without any sign of life from the runtime while no command is running.
    #[serde(with = "millis")]
    pub idle: Duration,
    /// What the runtime may write to its standard output, in bytes.
    pub output_bytes: u64,
    /// Input and output tokens of one run: once reached, no further turn or attempt is started.
    pub tokens: u64,
    /// How often a run is tried before it counts as failed.
    pub attempts: u32,
    /// What the runtime and its commands may hold in memory together, in bytes.
    #[serde(default = "default_memory")]
    pub memory_bytes: u64,
    /// How many processes and threads they may be together.
    #[serde(default = "default_processes")]
    pub processes: u64,
    /// The largest file that one of them may write, in bytes.
    #[serde(default = "default_file_size")]
    pub file_bytes: u64,
}

/// Room for a parallel build with a linker that loads everything, and less than an ordinary machine has.
fn default_memory() -> u64 {
    8 << 30
}

/// Codex has some thirty threads, a parallel test run some hundreds; a fork bomb has thousands within a second.
fn default_processes() -> u64 {
    1_024
}

/// Build tools write libraries and debug information of some hundred MiB.
fn default_file_size() -> u64 {
    1 << 30
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(20 * 60),
            idle: Duration::from_secs(5 * 60),
            output_bytes: 4 << 20,
            tokens: 500_000,
            attempts: 3,
            memory_bytes: default_memory(),
            processes: default_processes(),
            file_bytes: default_file_size(),
        }
    }
}

/// Some limits of a row, laid over those of its role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitOverrides {
    /// See [`Limits::wall`].
    pub wall: Option<Duration>,
    /// See [`Limits::idle`].
    pub idle: Option<Duration>,
    /// See [`Limits::output_bytes`].
    pub output_bytes: Option<u64>,
    /// See [`Limits::tokens`].
    pub tokens: Option<u64>,
    /// See [`Limits::attempts`].
    pub attempts: Option<u32>,
    /// See [`Limits::memory_bytes`].
    pub memory_bytes: Option<u64>,
    /// See [`Limits::processes`].
    pub processes: Option<u64>,
    /// See [`Limits::file_bytes`].
    pub file_bytes: Option<u64>,
}

impl LimitOverrides {
    /// These limits where they are set, `base` where they are not.
    pub fn over(&self, base: &Limits) -> Limits {
        Limits {
            wall: self.wall.unwrap_or(base.wall),
            idle: self.idle.unwrap_or(base.idle),
            output_bytes: self.output_bytes.unwrap_or(base.output_bytes),
            tokens: self.tokens.unwrap_or(base.tokens),
            attempts: self.attempts.unwrap_or(base.attempts),
            memory_bytes: self.memory_bytes.unwrap_or(base.memory_bytes),
            processes: self.processes.unwrap_or(base.processes),
            file_bytes: self.file_bytes.unwrap_or(base.file_bytes),
        }
    }
}

/// What one role may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolePolicy {
    /// What it may write.
    pub sandbox: SandboxMode,
    /// Whether its commands reach the network.
    pub network: bool,
    /// The command prefixes it may execute: `git show` allows `git show HEAD` and not `git push`.
    pub commands: Vec<String>,
    /// Its limits.
    pub limits: Limits,
}

/// How much may be spent in one day (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Runs that may start; `None`: not counted.
    pub runs_per_day: Option<u64>,
    /// Input and output tokens; `None`: not counted.
    pub tokens_per_day: Option<u64>,
}

/// The `policy` section of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How much agents may do without a person.
    pub autonomy: Autonomy,
    /// The roles that may run. `None` where the table has no `policy.roles`: then the built-in roles run with their
    /// own contracts' defaults; as soon as one role is listed, only listed ones do.
    pub roles: Option<BTreeMap<String, RolePolicy>>,
    /// What may be spent in a day.
    pub budget: Budget,
}

/// Durations as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}
