//! The runtime `codex-exec`: one `codex exec --json` for each turn.
//!
//! Codex runs its own agent loop and its own sandbox; we choose what it may do, hand it the prompt on standard input,
//! read its JSON lines and answer for its processes. It does not ask before it acts (its approvals are off), so hooks
//! that are given to it for the turn do (`guard`): what confines a turn is the sandbox, and the gatekeeper stands before
//! it. Nothing outside this module knows how Codex is called or what it writes.
//!
//! The stream is not a full account: Codex 0.169 writes no event of a command that fails at once and whose output reads
//! like a refusal of the sandbox ("Permission denied", "Read-only file system"), of a patch outside the workspace, or
//! of a call it rejects. What it leaves out is added from Codex's own record of the thread when the turn is over.

pub(super) mod classify;
pub(super) mod command_line;
pub(super) mod config;
mod guard;
mod places;
mod preflight;
pub(super) mod probe;
pub(in crate::runtime) mod profile;
pub(super) mod program;
pub(super) mod rollout;
pub(super) mod secrets;
pub(crate) mod stream;
pub(in crate::runtime) mod surroundings;
pub(super) mod turn;

use std::path::{Path, PathBuf};

pub use self::classify::{died, turn_failed};
pub use self::guard::{ASK_COMMAND, ask};
pub use self::program::{PROGRAM_VARIABLE, Program, Version};
pub use self::stream::parse;
use super::{BoxFuture, Capabilities, Environment, Failure, Outcome, Runtime, SandboxProfile, Turn};

/// How a person logs in with Codex's own login.
pub(super) const LOGIN: &str = "codex login";

/// How Codex is installed or brought up to date.
pub(super) const INSTALL: &str = "npm install -g @openai/codex";

/// Codex CLI, one process for each turn.
#[derive(Clone, Debug)]
pub struct CodexExec {
    own_program: PathBuf,
}

impl CodexExec {
    /// The name in the table.
    pub const NAME: &'static str = "codex-exec";

    /// `own_program` is this project's binary: Codex is started through its hidden command
    /// [`CONTAIN_COMMAND`](crate::process::CONTAIN_COMMAND), so that it dies with us.
    pub fn new(own_program: PathBuf) -> Self {
        Self { own_program }
    }
}

impl Runtime for CodexExec {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn probe<'a>(
        &'a self,
        environment: &'a Environment,
        sandbox: &'a SandboxProfile,
        directory: &'a Path,
    ) -> BoxFuture<'a, Result<Capabilities, Failure>> {
        Box::pin(probe::probe(environment, sandbox, directory))
    }

    fn turn<'a>(&'a self, turn: Turn<'a>) -> BoxFuture<'a, Result<Outcome, Failure>> {
        Box::pin(turn::run(&self.own_program, turn))
    }
}
