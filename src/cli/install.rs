//! `install` and `uninstall`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::ui::{BOLD, DIM, GREEN, Ui, YELLOW};
use super::{progress, trust, world};
use crate::error::{Error, Result};
use crate::git::{Repository, shown};
use crate::install::accept::Outcome;
use crate::install::{self, Action, Done, Plan, Report, Request, global};
use crate::process::Environment;
use crate::store::layout::{DIRECTORY, Layout};
use crate::trust::{Store, person};
use crate::worker::lock;
use crate::{process, text};

/// Set up this repository: hooks, triggers.yaml, .orchestrator
#[derive(Debug, clap::Args)]
pub struct InstallArgs {
    /// Show every change as a diff, and make none
    #[arg(long)]
    dry_run: bool,
    /// Use git's hooks from configuration (git 2.54 and later) instead of hook files
    #[arg(long)]
    config_hooks: bool,
    /// Put hooks into the template for new repositories and clones; they start nothing until you install there
    #[arg(long, conflicts_with = "config_hooks")]
    global: bool,
}

/// Take the hooks out again and give back what was there
#[derive(Debug, clap::Args)]
pub struct UninstallArgs {
    /// Remove artifacts, records and the ledger too
    #[arg(long)]
    purge: bool,
    /// Show every change as a diff, and make none
    #[arg(long)]
    dry_run: bool,
    /// Take the hooks out of the template for new repositories
    #[arg(long, conflicts_with = "purge")]
    global: bool,
}

/// Installs.
pub fn install(ui: &mut Ui, args: &InstallArgs) -> Result<ExitCode> {
    let program = world::own_program()?;
    let environment = process::clean_environment();
    if args.global {
        return install_global(ui, args.dry_run, &program, &environment);
    }
    let mut repository = world::repository_here()?;
    let request = Request { program: &program, starter: install::STARTER_TABLE, config_hooks: args.config_hooks };
    if args.dry_run {
        repository.assume_home();
        let plan = install::plan_install(&repository, &request, &environment)?;
        return rehearse(ui, &plan, &repository.home(), "git orchestrator install");
    }
    let settled = repository.settle_home()?;
    let installed = install::install(&repository, &request, &environment);
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
    if accept(ui, repository, &program, &environment)? {
        ui.line(format!("{DIM}next: commit something, then `git orchestrator status`{DIM:#}"))?;
    } else {
        ui.line(format!("{DIM}next: git orchestrator trust, which shows it and asks{DIM:#}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Accepts what was just written, and asks about the rest where a person can answer. Returns whether all is accepted.
fn accept(ui: &mut Ui, repository: Repository, program: &Path, environment: &Environment) -> Result<bool> {
    let outcome =
        Store::of(&repository).and_then(|store| install::accept::own(&repository, &store, program, environment, false));
    let open = match outcome {
        Ok(Outcome::Accepted) => return Ok(true),
        Ok(Outcome::Open(open)) => open,
        Err(error) => {
            ui.error(&error);
            return Ok(false);
        }
    };
    let names: Vec<String> = open.iter().map(|found| shown(&found.path)).collect();
    let names = if names.is_empty() { "triggers.yaml".to_owned() } else { names.join(", ") };
    ui.line(format!(
        "{YELLOW}not accepted{YELLOW:#}: {names} did not come from here; until you accept it, nothing starts"
    ))?;
    if !person::is_at_terminal() {
        return Ok(false);
    }
    let hand = trust::Hand::read(repository)?;
    match hand.ask(ui) {
        Ok(()) => {
            ui.line(format!("{GREEN}accepted{GREEN:#}"))?;
            trust::go_on(ui, &hand)?;
            Ok(true)
        }
        // Installed it is all the same.
        Err(error) => {
            ui.error(&error);
            Ok(false)
        }
    }
}

fn install_global(ui: &mut Ui, dry_run: bool, program: &Path, environment: &Environment) -> Result<ExitCode> {
    if dry_run {
        let plan = global::plan_install(program, environment)?;
        return rehearse(ui, &plan, Path::new(""), "git orchestrator install --global");
    }
    let report = global::install(program, environment)?;
    print(ui, &report, Path::new(""))?;
    ui.line(format!("{GREEN}installed{GREEN:#} · the hooks of new repositories start nothing by themselves"))?;
    ui.line(format!("{DIM}next: `git orchestrator install` in each repository where they may{DIM:#}"))?;
    Ok(ExitCode::SUCCESS)
}

/// How long `uninstall` waits for a worker that has nothing left to do.
const WORKER_GRACE: Duration = Duration::from_secs(3);

/// Uninstalls.
pub fn uninstall(ui: &mut Ui, args: &UninstallArgs) -> Result<ExitCode> {
    let program = world::own_program()?;
    let environment = process::clean_environment();
    if args.global {
        if args.dry_run {
            let plan = global::plan_uninstall(&program, &environment)?;
            return rehearse(ui, &plan, Path::new(""), "git orchestrator uninstall --global");
        }
        let report = global::uninstall(&program, &environment)?;
        print(ui, &report, Path::new(""))?;
        return removed(ui, &report, "repositories that were made since keep their hooks, which start nothing");
    }
    let repository = world::repository_here()?;
    if args.dry_run {
        return rehearse_uninstall(ui, args, &repository, &program, &environment);
    }
    let layout = Layout::new(&repository.home());
    wait_for_worker(&layout)?;
    let report = install::uninstall(&repository, &program, args.purge, &environment)?;
    print(ui, &report, &repository.home())?;
    if let Err(error) = Store::of(&repository).and_then(|store| store.revoke()) {
        ui.note(format!(
            "{YELLOW}note{YELLOW:#}: what was accepted is still written down: {}",
            text::shown(&error.chain())
        ));
    }
    removed(ui, &report, "`git orchestrator install` sets it up again")
}

fn rehearse_uninstall(
    ui: &mut Ui,
    args: &UninstallArgs,
    repository: &Repository,
    program: &Path,
    environment: &Environment,
) -> Result<ExitCode> {
    let plan = install::plan_uninstall(repository, program, environment)?;
    if Layout::new(&repository.home()).exists() {
        ui.note(if args.purge {
            format!("{DIRECTORY} and the checkouts of runs would go too")
        } else {
            format!("{DIRECTORY} would go too, where it holds no artifacts and no runs, and the checkouts of runs")
        });
    }
    rehearse(ui, &plan, &repository.home(), "git orchestrator uninstall")
}

/// Shows a plan as a diff on standard output; what it comes to stands beside it, so that the diff can be piped.
fn rehearse(ui: &mut Ui, plan: &Plan, home: &Path, command: &str) -> Result<ExitCode> {
    for change in &plan.changes {
        let diff = change.diff(home);
        if !diff.is_empty() {
            ui.raw(&diff)?;
        }
    }
    for action in plan.report.actions.iter().filter(|action| action.note.is_some()) {
        ui.note(line(action, home));
    }
    ui.note(format!("{DIM}nothing was changed; `{command}` does it{DIM:#}"));
    Ok(ExitCode::SUCCESS)
}

fn removed(ui: &mut Ui, report: &Report, next: &str) -> Result<ExitCode> {
    if report.actions.is_empty() {
        ui.line("nothing of git-orchestrator is here")?;
    } else {
        ui.line(format!("{DIM}{next}{DIM:#}"))?;
    }
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
    report.actions.iter().try_for_each(|action| ui.line(line(action, home)))
}

fn line(Action { done, path, note }: &Action, home: &Path) -> String {
    let style = if *done == Done::Kept { DIM } else { BOLD };
    let path = path.strip_prefix(home).unwrap_or(path).to_string_lossy();
    let note = note.as_deref().map_or_else(String::new, |note| format!("  {DIM}{}{DIM:#}", text::one_line(note)));
    format!("  {style}{:<10}{style:#} {}{note}", word(*done), text::one_line(&path))
}

fn word(done: Done) -> &'static str {
    match done {
        Done::Created => "created",
        Done::Kept => "kept",
        Done::Chained => "chained",
        Done::Configured => "configured",
        Done::Updated => "updated",
        Done::Removed => "removed",
        Done::Restored => "restored",
    }
}
