//! `run ROLE|TRIGGER [--commit REV] [--wait]`: start a role by hand.

use std::process::ExitCode;

use serde_json::json;

use super::json::RunView;
use super::ui::Ui;
use super::wait;
use super::world::World;
use crate::ceiling;
use crate::clock::Timestamp;
use crate::dispatch::{TABLE, vocabulary};
use crate::error::{Error, Result};
use crate::ids::RunId;
use crate::observe;
use crate::process;
use crate::store::Store as _;
use crate::triggers::load;
use crate::triggers::plan::Plan;
use crate::trust;

/// Start a role, or a row of the table, for a commit
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A role (planner, architect, tester) or the name of a row
    name: String,
    /// The commit
    #[arg(long, default_value = "HEAD", value_name = "REV")]
    commit: String,
    /// About everything that changed since this commit; by default since the first parent
    #[arg(long, value_name = "REV")]
    since: Option<String>,
    /// Wait for it and show how it goes
    #[arg(long)]
    wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Starts it.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    trust::person::outside_of_runs("starting a run")?;
    let mut world = World::here()?;
    let standing = trust::standing(&world.repository, None, &process::clean_environment());
    if let Some(refusal) = standing.refusal() {
        return Err(refusal);
    }
    let commit = world.repository.resolve(&args.commit)?;
    let bytes = trust::hook::accepted_table(&world.repository)
        .ok_or_else(|| Error::untrusted("the accepted table is gone").hint(format!("`{}`", trust::COMMAND)))?;
    let vocabulary = vocabulary();
    let table = load::table(&bytes, TABLE, &vocabulary)?;
    let since = args.since.as_deref().map(|since| world.repository.resolve(since)).transpose()?;
    let request = RunId::new().to_string();
    let event = observe::manual(&world.repository, &commit, since.as_ref(), &request, Timestamp::now())?;
    let mut plan = Plan::for_person(&table, event, &args.name, &vocabulary)?;
    ceiling::apply(std::slice::from_mut(&mut plan), &vocabulary, true);
    let queued = world.ledger.take_in(&plan)?;
    let id = *queued.first().ok_or_else(|| Error::failed("nothing was queued"))?;
    world.worker()?;
    let run = world.reload(id)?;
    if run.state == crate::run::State::Held {
        return Err(Error::refused(format!("run {} is held: {}", id.short(), run.reason))
            .hint(format!("change {TABLE}, or release it with `git orchestrator retry {}`", id.short())));
    }
    if !args.wait {
        if args.json {
            ui.json(&json!({ "schema": 1, "run": id.to_string() }))?;
        } else {
            let (role, short) = (&run.job.row.role, id.short());
            ui.line(format!("{role} queued for {} as run {short} · git orchestrator wait {short}", commit.short()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let runs = wait::until_done(ui, &mut world, Some(id), None, !args.json)?;
    if args.json {
        let home = world.layout.home().to_owned();
        let views: Vec<_> = runs.iter().map(|run| RunView::of(run, &home, &world.run_directory(run))).collect();
        ui.json(&json!({ "schema": 1, "runs": views }))?;
    }
    Ok(wait::exit_code(&runs))
}
