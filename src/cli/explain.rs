//! `explain HOOK|EVENT`: which rows match, and why the others do not.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::ui::{BOLD, DIM, GREEN, RED, Ui, YELLOW};
use super::world::{World, table_bytes};
use crate::ceiling;
use crate::clock::Timestamp;
use crate::dispatch::{TABLE, vocabulary};
use crate::error::{Error, Result};
use crate::event::{Event, Hook, RefChange};
use crate::observe;
use crate::policy::admission::{Admission, admit};
use crate::role;
use crate::store::Store as _;
use crate::text;
use crate::triggers::matching::{self, Outcome, Paths, RowReport, Verdict};
use crate::triggers::{Table, load};
use crate::trust;

/// Show which rows of triggers.yaml match, and why the others do not
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A hook (`post-commit`, as if it fired for the commit) or a recorded event (the first digits of its key)
    what: String,
    /// The commit, for a hook
    #[arg(long, default_value = "HEAD", value_name = "REV")]
    commit: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Explains.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let world = World::here()?;
    let event = event(&world, args)?;
    let bytes = table_bytes(&world.repository)?;
    let table = load::table(&bytes, TABLE, &vocabulary())?;
    let change = event.change.clone();
    let mut paths = Paths::walked(|visitor| match &change {
        Some(change) => world.repository.visit_changed_paths(change, visitor),
        None => Ok(()),
    });
    let rows = matching::report(&table, &event, &mut paths)?;
    let accepted = trust::hook::accepted_table(&world.repository).is_some_and(|table| table == bytes);
    let ceiling = ceiling::read(&vocabulary());
    if args.json {
        let held: BTreeMap<_, _> =
            rows.iter().filter_map(|row| Some((row.name.as_str(), held(&table, &ceiling, row)?))).collect();
        ui.json(&json!({ "schema": 1, "event": event, "rows": rows, "held": held, "accepted": accepted }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let about = match event.commit() {
        Some(commit) => format!("{} {}", commit.short(), text::one_line(&crate::secrets::redacted(event.subject()))),
        None => "no commit".to_owned(),
    };
    let branch = event.branch.as_deref().map_or_else(String::new, |branch| format!(" on {}", text::one_line(branch)));
    ui.line(format!("{BOLD}{}{BOLD:#}{branch} · {about}", event.hook))?;
    for row in &rows {
        self::row(ui, row)?;
        if let Some(reason) = held(&table, &ceiling, row) {
            ui.line(format!("  {YELLOW}held{YELLOW:#} until a person releases it: {reason}"))?;
        }
    }
    if !accepted {
        ui.line(format!(
            "{YELLOW}not accepted{YELLOW:#}: nothing starts by this {TABLE} until you do · {}",
            trust::COMMAND
        ))?;
    }
    if rows.iter().all(|row| row.outcome == Outcome::NoMatch) {
        ui.line(format!(
            "{YELLOW}nothing starts{YELLOW:#}: change a condition in {TABLE}, or `git orchestrator run ROLE`"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Why the policy, or the person's own ceiling, would hold what this row starts.
fn held(table: &Table, ceiling: &Result<Option<ceiling::Found>>, row: &RowReport) -> Option<String> {
    let role = row.role.as_deref().filter(|_| row.outcome != Outcome::NoMatch)?;
    match (admit(&table.policy, role, &role::contract(role)).0, ceiling) {
        (Admission::Held { reason }, _) => Some(reason),
        (Admission::Admitted, Err(error)) => Some(format!("your own ceiling cannot be used: {error}")),
        (Admission::Admitted, Ok(found)) => found.as_ref()?.ceiling.holds(role),
    }
}

fn row(ui: &mut Ui, row: &RowReport) -> Result<()> {
    let what = match &row.role {
        Some(role) if row.debounce > 0 && row.outcome == Outcome::Matches => {
            format!("starts {role} after {} of quiet", text::duration(Duration::from_secs(row.debounce)))
        }
        Some(role) => format!("starts {role}"),
        None => format!("needs {}", row.requires.join(", ")),
    };
    let (style, word) = match row.outcome {
        Outcome::Matches => (GREEN, "matches"),
        Outcome::Follows => (GREEN, "follows"),
        Outcome::NoMatch => (DIM, "no match"),
    };
    ui.line(format!(
        "\n{style}{word:<8}{style:#} {BOLD}{}{BOLD:#} {DIM}{TABLE}:{}{DIM:#} · {what}",
        row.name, row.line
    ))?;
    for condition in &row.conditions {
        let (style, mark) = match condition.verdict {
            Verdict::Holds => (GREEN, "yes"),
            Verdict::Fails => (RED, "no"),
            Verdict::NotEvaluated => (DIM, "?"),
        };
        ui.line(format!("  {style}{mark:<3}{style:#} {:<8} {}", condition.name, condition.expected.join(", ")))?;
        if condition.verdict != Verdict::Holds && !condition.actual.is_empty() {
            ui.line(format!("               {DIM}is: {}{DIM:#}", condition.actual))?;
        }
    }
    Ok(())
}

/// The event a person names: a hook as if it fired now, or a recorded one.
fn event(world: &World, args: &Args) -> Result<Event> {
    if let Some(hook) = Hook::parse(&args.what) {
        let commit = world.repository.resolve(&args.commit)?;
        let manual = observe::manual(&world.repository, &commit, None, "explain", Timestamp::now())?;
        let name = match (hook, &manual.branch) {
            (Hook::PreMergeCommit, _) => "MERGE_HEAD".to_owned(),
            (Hook::PostCheckout, _) | (_, None) => "HEAD".to_owned(),
            (_, Some(branch)) => format!("refs/heads/{branch}"),
        };
        let refs = vec![RefChange { name, old: None, new: Some(commit) }];
        return Ok(Event { hook, refs, ..manual });
    }
    let known = || Hook::INSTALLED.map(Hook::as_str);
    let found = world.ledger.find_events(&args.what.to_lowercase(), 2)?;
    match <[Event; 1]>::try_from(found) {
        Ok([event]) => Ok(event),
        Err(found) if found.is_empty() => {
            let error = Error::not_found(format!("there is no hook or event `{}`", text::one_line(&args.what)))
                .hint(format!("the hooks are {}", known().join(", ")));
            Err(match text::nearest(&args.what, known()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            })
        }
        Err(_) => Err(Error::usage(format!("`{}` names more than one event", text::one_line(&args.what)))
            .hint("type more digits of its key")),
    }
}
