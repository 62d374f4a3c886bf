//! `wait [RUN] [--timeout D]`: return when there is nothing left to wait for.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;

use super::json::RunView;
use super::progress::{self, Progress};
use super::ui::Ui;
use super::world::World;
use crate::error::{Error, Kind, Result};
use crate::ids::RunId;
use crate::run::State;
use crate::store::{Filter, Run, Store as _, spool};

/// Wait until a run has ended, or until the queue is empty
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: the first or last digits of its id; without it, every run that waits or is under way
    run: Option<String>,
    /// Give up after this long, with exit code 124 (`30s`, `5m`)
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Print JSON when done
    #[arg(long)]
    json: bool,
}

/// Waits.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let mut world = World::here()?;
    let only = match &args.run {
        Some(typed) => Some(world.run(typed)?.id),
        None => None,
    };
    let mut runs = until_done(ui, &mut world, only, args.timeout, !args.json)?;
    if runs.is_empty() && only.is_none() {
        // What ended before we looked: `git commit && git orchestrator wait` must not miss a run that failed at once.
        runs = of_head(&world)?;
        for run in runs.iter().filter(|_| !args.json) {
            progress::result(ui, run)?;
        }
    }
    if args.json {
        let home = world.layout.home().to_owned();
        let views: Vec<_> = runs.iter().map(|run| RunView::of(run, &home, &world.run_directory(run))).collect();
        ui.json(&json!({ "schema": 1, "runs": views }))?;
    } else if runs.is_empty() {
        ui.line("nothing to wait for")?;
    }
    Ok(exit_code(&runs))
}

/// For each row the newest run of the commit that HEAD is at, oldest first.
fn of_head(world: &World) -> Result<Vec<Run>> {
    let Some(commit) = world.repository.head()?.commit else { return Ok(Vec::new()) };
    let mut runs = world.ledger.runs(&Filter { commit: Some(commit), ..Filter::default() })?;
    let mut rows = BTreeSet::new();
    runs.retain(|run| rows.insert(run.job.row.trigger.clone()));
    runs.reverse();
    Ok(runs)
}

/// 0 if every run succeeded, 3 if one waits for a person, 1 if one ended otherwise.
pub fn exit_code(runs: &[Run]) -> ExitCode {
    if runs.iter().any(|run| run.state.is_terminal() && run.state != State::Succeeded) {
        ExitCode::from(Kind::Failed.exit_code())
    } else if runs.iter().any(|run| run.state != State::Succeeded) {
        ExitCode::from(Kind::Refused.exit_code())
    } else {
        ExitCode::SUCCESS
    }
}

/// The states in which a run moves on by itself.
const MOVING: [State; 5] = [State::Queued, State::Preparing, State::Running, State::Validating, State::Publishing];

/// How often in a row no living worker may be found before it counts as hopeless: five seconds.
const LOOKS_WITHOUT_WORKER: u32 = 40;

/// Follows `only`, or all runs that move, until none does. Returns them in the order they were queued. `says_ends`: and
/// prints what each came to.
pub fn until_done(
    ui: &mut Ui,
    world: &mut World,
    only: Option<RunId>,
    timeout: Option<Duration>,
    says_ends: bool,
) -> Result<Vec<Run>> {
    let begun = Instant::now();
    let mut progress = Progress::new(ui, says_ends);
    let (mut seen, mut without_worker) = (Vec::new(), 0);
    let mut watched: Vec<RunId> = only.into_iter().collect();
    let result = loop {
        spool::drain(&world.layout, &mut world.ledger)?;
        if only.is_none() {
            let moving = world.ledger.runs(&Filter { states: MOVING.to_vec(), ..Filter::default() })?;
            for run in moving.iter().rev() {
                if !watched.contains(&run.id) {
                    watched.push(run.id);
                }
            }
        }
        let runs = watched.iter().map(|id| world.reload(*id)).collect::<Result<Vec<_>>>()?;
        progress.show(ui, &runs, |run| world.run_directory(run))?;
        if runs.iter().all(|run| !MOVING.contains(&run.state)) {
            break Ok(runs);
        }
        if runs.iter().all(|run| !run.state.is_active()) && world.ledger.paused()?.is_some() {
            break Err(Error::refused("the queue is paused: nothing begins").hint("run `git orchestrator resume`"));
        }
        if timeout.is_some_and(|timeout| begun.elapsed() >= timeout) {
            let left = runs.iter().filter(|run| MOVING.contains(&run.state)).count();
            let waited = crate::text::duration(begun.elapsed());
            break Err(Error::timed_out(format!("{left} of {} runs had not ended after {waited}", runs.len()))
                .hint("they go on: `git orchestrator status`"));
        }
        // A worker that died is replaced; one that dies over and over is not waited for.
        let now: Vec<_> = runs.iter().map(|run| (run.id, run.state, run.attempt)).collect();
        if now != seen || world.worker()?.is_some() {
            (seen, without_worker) = (now, 0);
        } else {
            without_worker += 1;
        }
        if without_worker > LOOKS_WITHOUT_WORKER {
            let log = world.layout.worker_log();
            break Err(Error::failed("the worker ends as soon as it is started")
                .hint(format!("its log says why: {}", log.display())));
        }
        progress::pause();
    };
    progress.end(ui);
    result
}
