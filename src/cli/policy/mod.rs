//! `policy`: what the allow-list says of a command line, and what holds for each role.

mod check;
mod effective;
mod show;

use std::process::ExitCode;

use super::ui::Ui;
use crate::error::Result;

/// Ask the allow-list, or show it
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Check(check::Args),
    Show(show::Args),
}

/// Asks or shows.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Check(args) => check::execute(ui, args),
        Command::Show(args) => show::execute(ui, args),
    }
}
