//! `status`: the worker, the queue, the newest runs.

use std::process::ExitCode;
use std::time::Duration;

use super::json::{self, RunView};
use super::review;
use super::ui::{BOLD, DIM, Ui, YELLOW, cell, state_style};
use super::world::World;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::run::State;
use crate::runtime::refusals::described;
use crate::store::question::Question;
use crate::store::{Filter, Run, Store as _, spool};
use crate::text;
use crate::trust::held::is_held_for_trust;
use crate::{process, trust};

/// Show the worker, the queue and the newest runs
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many runs to list
    #[arg(long, default_value_t = 10, value_name = "N")]
    limit: usize,
    /// Print JSON of a fixed shape
    #[arg(long)]
    json: bool,
}

/// Shows it.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let world = World::here()?;
    let pid = world.worker()?;
    let counts = world.ledger.counts()?;
    let paused = world.ledger.paused()?;
    let runs = world.ledger.runs(&Filter { limit: Some(args.limit), ..Filter::default() })?;
    let standing = trust::standing(&world.repository, None, &process::clean_environment());
    if args.json {
        let home = world.layout.home();
        let status = json::Status {
            schema: json::SCHEMA,
            worker: json::Worker { running: pid.is_some(), pid: pid.filter(|pid| *pid != 0) },
            paused,
            trust: json::Trust {
                state: standing.as_str(),
                reason: standing.objection(),
                held_events: spool::held_count(&world.layout),
            },
            set_aside: spool::set_aside_count(&world.layout),
            counts: counts.iter().map(|(state, n)| (state.as_str(), *n)).collect(),
            runs: runs.iter().map(|run| RunView::of(run, home, &world.run_directory(run))).collect(),
            gates: review::open(&world, Timestamp::now())?.iter().map(|(run, question)| gate(run, question)).collect(),
        };
        ui.json(&status)?;
        return Ok(ExitCode::SUCCESS);
    }
    let worker = match pid {
        Some(0) => "working".to_owned(),
        Some(pid) => format!("working (pid {pid})"),
        None => "idle".to_owned(),
    };
    let counted: Vec<_> =
        State::ALL.into_iter().filter_map(|state| counts.get(&state).map(|n| format!("{n} {state}"))).collect();
    let total = if counted.is_empty() { "no runs yet".to_owned() } else { counted.join(" · ") };
    ui.line(format!("{BOLD}worker{BOLD:#} {worker} · {total}"))?;
    if let Some(reason) = &paused {
        let reason = if reason.is_empty() { String::new() } else { format!(": {}", text::one_line(reason)) };
        ui.line(format!("{YELLOW}paused{YELLOW:#}{reason} · git orchestrator resume"))?;
    }
    if let Some(objection) = standing.objection() {
        let waiting = match spool::held_count(&world.layout) {
            0 => String::new(),
            1 => " · 1 event waits".to_owned(),
            n => format!(" · {n} events wait"),
        };
        let objection = text::one_line(&objection);
        ui.line(format!("{YELLOW}not trusted{YELLOW:#}: {objection}{waiting} · {}", trust::COMMAND))?;
    }
    let lost = spool::set_aside_count(&world.layout);
    if lost > 0 {
        let place = world.layout.spool();
        let place = place.strip_prefix(world.layout.home()).unwrap_or(&place).display();
        ui.line(format!("{YELLOW}{lost} events{YELLOW:#} could not be read and were set aside: {place}/*.damaged"))?;
    }
    let is_trusted = standing.objection().is_none();
    if counts.is_empty() && !is_trusted {
        ui.line(format!("{DIM}next: {}{DIM:#}", trust::COMMAND))?;
        return Ok(ExitCode::SUCCESS);
    }
    if counts.is_empty() {
        ui.line("nothing has run: commit something that a row of triggers.yaml matches")?;
        ui.line(format!("{DIM}next: git orchestrator explain post-commit{DIM:#}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    if !runs.is_empty() {
        table(ui, &runs)?;
    }
    if let Some(next) = next_step(&runs, paused.is_some()) {
        ui.line(format!("{DIM}next: {next}{DIM:#}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn gate(run: &Run, question: &Question) -> json::Gate {
    json::Gate {
        id: question.id(),
        kind: review::KIND.to_owned(),
        run: run.id.to_string(),
        question: format!("may {} do this once: {}", run.job.row.role, described(&question.action)),
    }
}

/// The runs as aligned columns, the last of which gives way to the terminal's width.
fn table(ui: &mut Ui, runs: &[Run]) -> Result<()> {
    let now = Timestamp::now();
    let role_width = runs.iter().map(|run| run.job.row.role.len()).max().unwrap_or(4).max(4);
    let state_width = runs.iter().map(|run| run.state.as_str().len()).max().unwrap_or(5).max(5);
    ui.line(format!(
        "{DIM}{:<8}  {:<role_width$}  {:<7}  {:<state_width$}  {:<7}  RESULT{DIM:#}",
        "RUN", "ROLE", "COMMIT", "STATE", "AGE"
    ))?;
    let used = 8 + 2 + role_width + 2 + 7 + 2 + state_width + 2 + 7 + 2;
    for run in runs {
        let what = text::one_line(&summary(run));
        let what = match ui.width() {
            Some(width) => text::clipped(&what, width.saturating_sub(used).max(12)).into_owned(),
            None => what,
        };
        ui.line(format!(
            "{:<8}  {:<role_width$}  {:<7}  {}  {:<7}  {what}",
            run.id.short(),
            run.job.row.role,
            run.job.change.head.short(),
            cell(run.state.as_str(), state_width, state_style(run.state)),
            age(now.since(run.created_at)),
        ))?;
    }
    Ok(())
}

/// What `status` says of a run in one line.
pub fn summary(run: &Run) -> String {
    let mark = if run.rehearsal { "[rehearsal] " } else { "" };
    let attempt = if run.attempt > 1 && !run.state.is_terminal() {
        format!("attempt {} · ", run.attempt)
    } else {
        String::new()
    };
    let begins_in = run.not_before.map_or(Duration::ZERO, |at| at.since(Timestamp::now()));
    let reason = if run.reason.is_empty() && run.state == State::Queued && begins_in > Duration::from_secs(1) {
        format!("begins after {} of quiet", text::duration(begins_in))
    } else if run.reason.is_empty() && run.state.is_active() {
        let begun = run.started_at.map_or(Duration::ZERO, |at| Timestamp::now().since(at));
        format!("since {}", text::duration(begun))
    } else {
        // The state stands beside it already.
        run.reason.strip_prefix("inconclusive: ").unwrap_or(&run.reason).to_owned()
    };
    format!("{mark}{attempt}{reason}")
}

/// How long ago, or how long still, in the largest unit.
pub fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..86_400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// The command that makes most sense now.
fn next_step(runs: &[Run], is_paused: bool) -> Option<String> {
    if runs.iter().any(|run| run.state.is_active() || run.state == State::Queued && !is_paused) {
        return Some("git orchestrator wait".to_owned());
    }
    if is_paused && runs.iter().any(|run| run.state == State::Queued) {
        return Some("git orchestrator resume".to_owned());
    }
    if runs.iter().any(|run| run.state == State::Waiting) {
        return Some("git orchestrator review".to_owned());
    }
    let newest = runs.first()?;
    if is_held_for_trust(newest) {
        return Some(trust::COMMAND.to_owned());
    }
    let verb = if matches!(newest.state, State::Failed | State::Held) { "retry" } else { "show" };
    Some(format!("git orchestrator {verb} {}", newest.id.short()))
}
