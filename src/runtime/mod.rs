//! What executes a role, behind one trait.
//!
//! A runtime gets a prompt, a schema, a workspace and a sandbox profile, and returns an answer or a classified failure.
//! It never sees the policy (only a gatekeeper to ask), the ledger or the table. Everything a provider calls its own
//! stays in its module; what leaves is [`Activity`], [`Outcome`] and [`Failure`]. A new runtime is one module and one
//! line in [`registry`].

pub mod activity;
pub mod built_in;
pub mod failure;
pub mod codex_exec;
pub mod codex_app_server;
pub mod refusals;
pub mod registry;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::activity::Activity;
pub use self::failure::{Class, Failure};
use crate::policy::{Gatekeeper, Limits, SandboxMode};
pub use crate::process::Environment;

/// Points every runtime at the rehearsal server: `http://127.0.0.1:PORT/v1`.
pub const REHEARSAL_VARIABLE: &str = "GIT_ORCHESTRATOR_REHEARSAL";

/// The name under which the rehearsal's provider and its model appear.
pub const REHEARSAL: &str = "rehearsal";

/// Tokens, as the provider counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Usage {
    /// What was sent, cached tokens included.
    pub input_tokens: u64,
    /// The part of it that came from a cache.
    pub cached_input_tokens: u64,
    /// What was written, reasoning included.
    pub output_tokens: u64,
}

impl Usage {
    /// Both added up.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            cached_input_tokens: self.cached_input_tokens.saturating_add(other.cached_input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
        }
    }

    /// What came since `earlier`, of a counter that only grows. A counter that went back started anew.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        if self.input_tokens < earlier.input_tokens || self.output_tokens < earlier.output_tokens {
            return self;
        }
        Self {
            input_tokens: self.input_tokens - earlier.input_tokens,
            cached_input_tokens: self.cached_input_tokens.saturating_sub(earlier.cached_input_tokens),
            output_tokens: self.output_tokens - earlier.output_tokens,
        }
    }

    /// Input and output.
    pub fn total(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

/// What a runtime can do here, found out by [`Runtime::probe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Its version, as it says itself.
    pub version: String,
    /// Whether a thread can be continued by its id.
    pub resumes: bool,
    /// Whether it asks the gatekeeper before each action.
    pub asks: bool,
    /// What confines its commands, in a few words.
    pub sandbox: String,
    /// Whether what a command has no use for is hidden from it: the person's keys, the runtime's own login.
    pub hides: bool,
}

/// What confines one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxProfile {
    /// What may be written.
    pub mode: SandboxMode,
    /// Whether commands reach the network.
    pub network: bool,
    /// The run's own temporary directory: writable where the workspace is, and `TMPDIR` of its commands.
    pub temporary: PathBuf,
    /// What commands read outside the workspace beside the system and toolchains: the repository's history. Only a
    /// runtime that can hide files has a use for it.
    pub readable: Vec<PathBuf>,
    /// Environment variables for the commands, beside the core ones.
    pub command_environment: BTreeMap<String, String>,
}

/// One question to a model that may use tools before it answers.
pub struct Turn<'a> {
    /// The checkout the commands run in.
    pub workspace: &'a Path,
    /// A directory of the run for files of the runtime (`schema.json`, `stderr.log`); outside the workspace.
    pub run_directory: &'a Path,
    /// The whole prompt.
    pub prompt: &'a str,
    /// The strict JSON schema of the answer.
    pub schema: &'a Value,
    /// What confines the commands.
    pub sandbox: &'a SandboxProfile,
    /// The thread to continue, with the tokens it had used when it was left.
    pub resume: Option<(&'a str, Usage)>,
    /// How long and how much.
    pub limits: &'a Limits,
    /// Asked before each action, by runtimes that can ask.
    pub gatekeeper: &'a dyn Gatekeeper,
    /// Gets everything that happens, as it happens.
    pub sink: &'a mut dyn FnMut(Activity),
    /// Becomes `true` when the run is to stop.
    pub cancel: tokio::sync::watch::Receiver<bool>,
    /// What the runtime's own process is started with.
    pub environment: &'a Environment,
}

/// What a finished turn left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The thread, where it can be continued.
    pub thread: Option<String>,
    /// The model's last message: meant to fit the schema, not checked yet; empty if it said nothing.
    pub answer: String,
    /// The tokens of this turn.
    pub usage: Usage,
    /// The counter of the whole thread, where the provider counts by thread.
    pub thread_usage: Usage,
    /// The model, where it is known.
    pub model: Option<String>,
}

/// A boxed future, so that the trait can be an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What executes a role.
pub trait Runtime {
    /// The name in the table.
    fn name(&self) -> &'static str;

    /// Finds out, without a model, whether a turn can be run here in this sandbox, and what the runtime can do.
    fn probe<'a>(
        &'a self,
        environment: &'a Environment,
        sandbox: &'a SandboxProfile,
        directory: &'a Path,
    ) -> BoxFuture<'a, Result<Capabilities, Failure>>;

    /// Runs one turn to its end. Returns only when no process of it is left.
    fn turn<'a>(&'a self, turn: Turn<'a>) -> BoxFuture<'a, Result<Outcome, Failure>>;
}
