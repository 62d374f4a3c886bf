//! `cancel`, `retry`, `pause`, `resume`: a person's word about the queue.

use std::process::ExitCode;

use serde_json::json;

use super::Ui;
use super::world::World;
use crate::artifact;
use crate::error::{Error, Result};
use crate::run::{Happening, State};
use crate::store::{Store as _, Transition};
use crate::trust::person;
use crate::worker::lock;

/// What only a person says: a run neither lets another one go on nor stops it.
const WORD: &str = "a word about the queue";

/// Cancel a run, waiting or under way
#[derive(Debug, clap::Args)]
pub struct CancelArgs {
    /// The run: the first or last digits of its id
    run: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Cancels.
pub fn cancel(ui: &mut Ui, args: &CancelArgs) -> Result<ExitCode> {
    person::outside_of_runs(WORD)?;
    let mut world = World::here()?;
    let run = world.run(&args.run)?;
    if run.state.is_terminal() {
        return Err(Error::refused(format!("run {} has ended already: it is {}", run.id.short(), run.state)));
    }
    // The request first: if the worker takes the run this very moment, it finds it.
    world.ledger.request_cancel(run.id, "a person")?;
    let transition = Transition::of(Happening::Cancelled, "cancelled by a person");
    let state = match world.ledger.decide(run.id, transition) {
        Ok(state) => state,
        Err(crate::store::StoreError::Impossible { state, .. }) if state.is_active() => state,
        Err(error) => return Err(error.into()),
    };
    artifact::refresh_inbox(&world.layout, &world.ledger)?;
    // If the worker that had it is dead, a new one sees to it.
    world.worker()?;
    if state.is_active() && lock::living_worker(&world.layout)?.is_none() {
        lock::ensure_running(&world.layout, &super::world::own_program()?)?;
    }
    if args.json {
        ui.json(&json!({ "schema": 1, "run": run.id.to_string(), "state": state.as_str(), "cancel_requested": true }))?;
    } else if state == State::Cancelled {
        ui.line(format!("run {} is cancelled", run.id.short()))?;
    } else {
        ui.line(format!("run {} is being stopped · git orchestrator wait {}", run.id.short(), run.id.short()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Run an ended run's job once more, or release a held one
#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    /// The run: the first or last digits of its id
    run: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Retries or releases.
pub fn retry(ui: &mut Ui, args: &RetryArgs) -> Result<ExitCode> {
    person::outside_of_runs(WORD)?;
    let mut world = World::here()?;
    let run = world.run(&args.run)?;
    let (id, what) = if run.state == State::Held {
        world.ledger.decide(run.id, Transition::of(Happening::Released, "released by a person"))?;
        (run.id, "released")
    } else if run.state.is_terminal() {
        (world.ledger.enqueue_again(run.id)?, "queued again")
    } else {
        let answer = (run.state == State::Waiting).then(|| format!("`git orchestrator review {}`", run.id.short()));
        return Err(Error::refused(format!("run {} is {}: it has not ended", run.id.short(), run.state)).hint(
            answer.unwrap_or_else(|| format!("`git orchestrator wait {0}`, or `cancel {0}` first", run.id.short())),
        ));
    };
    artifact::refresh_inbox(&world.layout, &world.ledger)?;
    world.worker()?;
    if args.json {
        ui.json(&json!({ "schema": 1, "run": id.to_string(), "retry_of": run.id.to_string(), "done": what }))?;
    } else {
        let short = id.short();
        ui.line(format!("{} is {what} as run {short} · git orchestrator wait {short}", run.job.row.role))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Let nothing more begin; what is under way goes on
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// Why, for whoever wonders
    #[arg(long, default_value = "")]
    why: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Pauses.
pub fn pause(ui: &mut Ui, args: &PauseArgs) -> Result<ExitCode> {
    person::outside_of_runs(WORD)?;
    let mut world = World::here()?;
    world.ledger.set_paused(Some(&args.why))?;
    if args.json {
        ui.json(&json!({ "schema": 1, "paused": true, "why": args.why }))?;
    } else {
        ui.line("paused: events are recorded, nothing begins · git orchestrator resume")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Go on after `pause`
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Resumes.
pub fn resume(ui: &mut Ui, args: &ResumeArgs) -> Result<ExitCode> {
    person::outside_of_runs(WORD)?;
    let mut world = World::here()?;
    world.ledger.set_paused(None)?;
    let queued = world.ledger.counts()?.get(&State::Queued).copied().unwrap_or(0);
    world.worker()?;
    if args.json {
        ui.json(&json!({ "schema": 1, "paused": false, "queued": queued }))?;
    } else {
        ui.line(format!("resumed: {queued} queued"))?;
    }
    Ok(ExitCode::SUCCESS)
}
