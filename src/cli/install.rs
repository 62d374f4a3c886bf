//! `install` and `uninstall`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::ui::{BOLD, DIM, GREEN, Ui};
use super::{progress, world};
use crate::error::{Error, Result};
use crate::install::{self, Action, Done, Report};
use crate::store::layout::Layout;
use crate::worker::lock;
use crate::{process, text};

/// Set up this repository: hooks, triggers.yaml, .orchestrator
#[derive(Debug, clap::Args)]
pub struct InstallArgs {}

/// Take the hooks out again and give back what was there
#[derive(Debug, clap::Args)]
pub struct UninstallArgs {
    /// Remove artifacts, records and the ledger too
    #[arg(long)]
    purge: bool,
}

/// Installs.
pub fn install(ui: &mut Ui, _args: &InstallArgs) -> Result<ExitCode> {
    let mut repository = world::repository_here()?;
    let settled = repository.settle_home()?;
    let installed = world::own_program().and_then(|own_program| {
        install::install(&repository, &own_program, install::STARTER_TABLE, &process::clean_environment())
    });
    if settled && installed.is_err() {
        repository.unsettle_home()?;
    }
    let report = installed?;
    print(ui, &report, &repository.home())?;
    if repository.is_home_untold() {
        ui.line(format!(
            "{DIM}git does not record the main worktree of {}: triggers.yaml and .orchestrator lie in that directory{DIM:#}",
            text::one_line(&repository.home().to_string_lossy())
        ))?;
    }
    ui.line(format!("{GREEN}installed{GREEN:#} · triggers.yaml says what starts an agent and what it may do"))?;
    ui.line(format!("{DIM}next: commit something, then `git orchestrator status`{DIM:#}"))?;
    Ok(ExitCode::SUCCESS)
}

/// How long `uninstall` waits for a worker that has nothing left to do.
const WORKER_GRACE: Duration = Duration::from_secs(3);

/// Uninstalls.
pub fn uninstall(ui: &mut Ui, args: &UninstallArgs) -> Result<ExitCode> {
    let repository = world::repository_here()?;
    let layout = Layout::new(&repository.home());
    wait_for_worker(&layout)?;
    let report = install::uninstall(&repository, args.purge, &process::clean_environment())?;
    print(ui, &report, &repository.home())?;
    Ok(ExitCode::SUCCESS)
}

/// A worker that is about to end is waited for; one that is at work is not torn from under its run.
fn wait_for_worker(layout: &Layout) -> Result<()> {
    let begun = Instant::now();
    while lock::living_worker(layout)?.is_some() {
        if begun.elapsed() > WORKER_GRACE {
            return Err(Error::refused("a worker is at work in this repository")
                .hint("`git orchestrator wait`, or `git orchestrator cancel RUN`, and then once more"));
        }
        progress::pause();
    }
    Ok(())
}

fn print(ui: &mut Ui, report: &Report, home: &Path) -> Result<()> {
    for Action { done, path, note } in &report.actions {
        let style = if *done == Done::Kept { DIM } else { BOLD };
        let path = path.strip_prefix(home).unwrap_or(path).to_string_lossy();
        let note = note.as_deref().map_or_else(String::new, |note| format!("  {DIM}{}{DIM:#}", text::one_line(note)));
        ui.line(format!("  {style}{:<8}{style:#} {}{note}", word(*done), text::one_line(&path)))?;
    }
    Ok(())
}

fn word(done: Done) -> &'static str {
    match done {
        Done::Created => "created",
        Done::Kept => "kept",
        Done::Chained => "chained",
        Done::Updated => "updated",
        Done::Removed => "removed",
        Done::Restored => "restored",
    }
}
