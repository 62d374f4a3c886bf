//! The runtime `codex-app-server`: one `codex app-server` for each turn, which asks before it acts.
//!
//! Every command and every patch is a question to the [`Gatekeeper`](crate::policy::Gatekeeper), also those of scripts
//! that the model writes (code mode). An answer that does not come, or a question that is not understood, is a no. What
//! is allowed runs in Codex's sandbox; `wall` says what that takes. Everything `codex-exec` switches off is off here as
//! well, by the same settings.
//!
//! What no question is asked about is told afterwards, and ends the turn: a command that goes ahead by itself, input to
//! one that runs, a tool of a server, another agent. One setting of the person's cannot be switched off: rules of their
//! own (`$CODEX_HOME/rules`) by which Codex executes commands without a question. Where there are any, this runtime does
//! not run.

mod failure;
mod probe;
pub mod questions;
mod server;
mod session;
pub mod stream;
mod turn;
mod wall;

use std::path::{Path, PathBuf};

use super::{BoxFuture, Capabilities, Environment, Failure, Outcome, Runtime, SandboxProfile, Turn};

/// Codex CLI, one server for each turn.
#[derive(Clone, Debug)]
pub struct CodexAppServer {
    own_program: PathBuf,
}

impl CodexAppServer {
    /// The name in the table.
    pub const NAME: &'static str = "codex-app-server";

    /// `own_program` is this project's binary: Codex is started through its hidden command
    /// [`CONTAIN_COMMAND`](crate::process::CONTAIN_COMMAND), so that it dies with us.
    pub fn new(own_program: PathBuf) -> Self {
        Self { own_program }
    }
}

impl Runtime for CodexAppServer {
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
