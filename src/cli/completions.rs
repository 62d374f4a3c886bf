//! `completions SHELL`.

use std::process::ExitCode;

use clap::CommandFactory as _;

use super::Ui;
use crate::error::Result;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints the script.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "git-orchestrator", &mut script);
    ui.raw(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
