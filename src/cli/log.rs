//! `log [RUN] [--follow]`: what happened, to one run or to all.

use std::process::ExitCode;

use serde_json::json;

use super::progress::{self, LiveLine, Tail, activity_line, verbose_line};
use super::ui::{DIM, Ui, state_style};
use super::world::World;
use crate::error::Result;
use crate::runtime::activity::Recorded;
use crate::store::{HistoryLine, Run, Store as _, spool};
use crate::text;

/// Show what happened, to all runs or inside one
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: the first or last digits of its id
    run: Option<String>,
    /// Go on printing as things happen; ends with the run
    #[arg(long, short)]
    follow: bool,
    /// Tell also what the policy allowed, with the rule that did
    #[arg(long, short)]
    verbose: bool,
    /// How many lines of the past to print
    #[arg(long, default_value_t = 200, value_name = "N")]
    limit: usize,
    /// Print one JSON object for each line
    #[arg(long)]
    json: bool,
}

/// Shows it.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let mut world = World::here()?;
    match &args.run {
        Some(typed) => {
            let run = world.run(typed)?;
            one(ui, &mut world, run, args)
        }
        None => all(ui, &mut world, args),
    }
}

fn all(ui: &mut Ui, world: &mut World, args: &Args) -> Result<ExitCode> {
    let mut seen = 0;
    loop {
        for line in world.ledger.history(None, args.limit)?.iter().filter(|line| line.seq > seen) {
            history(ui, world, line, args.json)?;
        }
        seen = world.ledger.history(None, 1)?.last().map_or(0, |line| line.seq);
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        progress::pause();
        spool::drain(&world.layout, &mut world.ledger)?;
        world.worker()?;
    }
}

fn history(ui: &mut Ui, world: &World, line: &HistoryLine, as_json: bool) -> Result<()> {
    if as_json {
        ui.json(&json!({ "schema": 1, "kind": "transition", "line": line }))?;
        return Ok(());
    }
    let run = world.reload(line.run)?;
    let style = state_style(line.state);
    let reason = text::one_line(&line.reason);
    let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
    ui.line(format!(
        "{DIM}{}{DIM:#}  {}  {:<9} {}  {style}{}{style:#}{reason}",
        clock(line.at),
        line.run.short(),
        run.job.row.role,
        run.job.change.head.short(),
        line.state,
    ))?;
    Ok(())
}

fn clock(at: crate::clock::Timestamp) -> String {
    at.to_string().replace('T', " ")[..19].to_owned()
}

/// The transitions of one run and what its runtime reported, in the order of time.
fn one(ui: &mut Ui, world: &mut World, mut run: Run, args: &Args) -> Result<ExitCode> {
    let mut tail = Tail::new(world.run_directory(&run).join("events.jsonl"));
    let mut seen = 0;
    let mut live = (args.follow && !args.json && ui.err_is_terminal).then(LiveLine::default);
    loop {
        // The state first: what happened before the run ended is then in what is read next.
        run = world.reload(run.id)?;
        let transitions = world.ledger.history(Some(run.id), args.limit)?;
        let shown = seen;
        let mut transitions = transitions.iter().filter(|line| line.seq > shown).peekable();
        let recorded = tail.read();
        if let Some(live) = &mut live {
            live.clear(ui);
            live.learn(&recorded);
        }
        for recorded in recorded {
            while let Some(line) = transitions.next_if(|line| line.at <= recorded.at) {
                history(ui, world, line, args.json)?;
                seen = line.seq;
            }
            activity(ui, &recorded, args)?;
        }
        for line in transitions {
            history(ui, world, line, args.json)?;
            seen = line.seq;
        }
        if !args.follow || run.state.is_terminal() {
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(live) = &mut live {
            live.show(ui, &run);
        }
        progress::pause();
        spool::drain(&world.layout, &mut world.ledger)?;
        world.worker()?;
    }
}

fn activity(ui: &mut Ui, recorded: &Recorded, args: &Args) -> Result<()> {
    let line = if args.verbose { verbose_line(&recorded.activity) } else { activity_line(&recorded.activity) };
    if args.json {
        ui.json(&json!({ "schema": 1, "kind": "activity", "line": recorded }))?;
    } else if let Some(line) = line {
        let line = match ui.width() {
            // The time and the gap before the line.
            Some(width) => text::clipped(&line, width.saturating_sub(24)).into_owned(),
            None => line,
        };
        ui.line(format!("{DIM}{}{DIM:#}    {line}", clock(recorded.at)))?;
    }
    Ok(())
}
