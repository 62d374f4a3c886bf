//! Commits that no hook reported: made with the hooks switched off or away, or by a program that calls none.
//!
//! The reflog says how each branch came to its tip. Where that is something git calls a hook after, a row of the table
//! that held then matches it, and neither the ledger nor the spool has an event that speaks of the commit, nobody told
//! us. Everything else that moves branches (fetch, reset, checkout, the steps of a rebase) is none of our business.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::{Finding, Here, Level, Section};
use crate::clock::Timestamp;
use crate::dispatch::{TABLE, TABLE_BYTES_MAX, vocabulary};
use crate::error::Result;
use crate::event::{Detail, Event, Hook, RefChange};
use crate::files;
use crate::git::reflog::Entry;
use crate::observe;
use crate::store::spool::Waiting;
use crate::text;
use crate::triggers::matching::Paths;
use crate::triggers::plan::{Plan, Starts};
use crate::triggers::{Table, load};

const SECTION: Section = Section::Missed;

/// How many lines of all branches' reflogs are read, the newest first.
const ENTRIES_MAX: usize = 500;

/// How many events of the ledger are read, the newest first.
const EVENTS_MAX: usize = 2_000;

/// How many branches are looked at and named.
const BRANCHES_MAX: usize = 20;

/// A commit this young may be on its way: its hook may be running now.
const YOUNG: Duration = Duration::from_secs(2);

pub(super) fn look(here: &Here<'_>, waiting: &Waiting) -> Vec<Finding> {
    match missed(here, waiting) {
        Ok(findings) if findings.is_empty() => {
            vec![Finding::new(
                SECTION,
                Level::Ok,
                "nothing-missed",
                "no commit is known that a hook should have reported",
            )]
        }
        Ok(findings) => findings,
        Err(error) => vec![
            Finding::of_error(SECTION, Level::Note, "reflog-unreadable", &error)
                .or_action("look at what git says: git reflog"),
        ],
    }
}

fn missed(here: &Here<'_>, waiting: &Waiting) -> Result<Vec<Finding>> {
    let Some(installed_at) = changed_at(&here.layout.state().join("install.json")) else {
        let message = "it is not known since when the hooks are here";
        return Ok(vec![Finding::new(SECTION, Level::Ok, "nothing-missed", message)]);
    };
    let mut moves = here.repository.branch_moves(ENTRIES_MAX, here.place.environment)?;
    // Whole seconds: what happened in the second of the installation was most likely before it.
    moves.retain(|entry| entry.at > installed_at && here.now.since(entry.at.plus(YOUNG)) > Duration::ZERO);
    let mut events: Vec<Event> = waiting.plans.iter().map(|plan| plan.event.clone()).collect();
    if let Some(ledger) = &here.ledger {
        events.extend(ledger.newest_events(EVENTS_MAX)?);
    } else if here.layout.ledger().exists() || waiting.more > 0 {
        let message = "not looked at: without the ledger nobody knows what was reported";
        return Ok(vec![Finding::new(SECTION, Level::Ok, "nothing-missed", message)]);
    }
    let mut findings: Vec<Finding> = Vec::new();
    for entry in moves.into_iter().take(BRANCHES_MAX) {
        let Some(hook) = entry.hook() else { continue };
        if events.iter().any(|event| speaks_of(event, &entry, here)) {
            continue;
        }
        let Some(rows) = rows(here, &entry, hook)? else { continue };
        let Some(row) = rows.first() else { continue };
        let age = text::duration(here.now.since(entry.at));
        let (commit, branch) = (entry.new.short(), &entry.branch);
        let names = rows.iter().map(|row| format!("`{row}`")).collect::<Vec<_>>().join(", ");
        let message = format!("{commit} came to {branch} {age} ago and no hook reported it; it matches {names}");
        let row = text::shell_word(row);
        findings.push(
            Finding::new(SECTION, Level::Note, "commit-missed", message)
                .command(format!("git orchestrator run {row} --commit {commit}")),
        );
    }
    Ok(findings)
}

/// Whether the event names the commit, or reports a change that it is part of.
fn speaks_of(event: &Event, entry: &Entry, here: &Here<'_>) -> bool {
    let commit = &entry.new;
    if event.commit() == Some(commit) || event.refs.iter().any(|moved| moved.new.as_ref() == Some(commit)) {
        return true;
    }
    if let Detail::Rewrite { rewritten, .. } = &event.detail
        && rewritten.iter().any(|pair| pair.new == *commit)
    {
        return true;
    }
    // What was reported before the commit came cannot hold it.
    let Some(change) = event.change.as_ref().filter(|_| event.at >= entry.at) else { return false };
    let holds = |head| here.repository.is_ancestor(commit, head) == Some(true);
    holds(&change.head) && !change.base.as_ref().is_some_and(holds)
}

/// The rows that the commit would have started; `None` where it is not known what the table said then.
fn rows(here: &Here<'_>, entry: &Entry, hook: Hook) -> Result<Option<Vec<String>>> {
    let Some(table) = table_then(here, entry)? else { return Ok(None) };
    let manual = observe::manual(here.repository, &entry.new, None, "doctor", entry.at)?;
    let moved = RefChange { name: format!("refs/heads/{}", entry.branch), old: None, new: Some(entry.new.clone()) };
    let event = Event { hook, refs: vec![moved], branch: Some(entry.branch.clone()), ..manual };
    let change = event.change.clone();
    let mut paths = Paths::walked(|visitor| match &change {
        Some(change) => here.repository.visit_changed_paths(change, visitor),
        None => Ok(()),
    });
    let plan = Plan::of(&table, event, &vocabulary(), &mut paths)?;
    let rows = plan.map(|plan| plan.rows).unwrap_or_default();
    Ok(Some(rows.into_iter().filter(|row| row.starts == Starts::Now).map(|row| row.trigger).collect()))
}

/// The table that held when the commit came: the file as it lies there, if nobody wrote to it since, or else the one in
/// the commit. Without either nobody can say what would have matched.
fn table_then(here: &Here<'_>, entry: &Entry) -> Result<Option<Table>> {
    let read = |bytes: &[u8]| load::table(bytes, TABLE, &vocabulary()).ok();
    let places = [here.repository.worktree().map(Path::to_owned), Some(here.layout.home().to_owned())];
    let file = places.into_iter().flatten().map(|place| place.join(TABLE)).find(|file| file.exists());
    if let Some(file) = file
        && changed_at(&file).is_some_and(|at| at <= entry.at.plus(Duration::from_secs(1)))
        && let Some(bytes) = files::read(&file, TABLE_BYTES_MAX)?
    {
        return Ok(read(&bytes));
    }
    let committed = here.repository.blob_at(&entry.new, TABLE.as_bytes(), TABLE_BYTES_MAX)?;
    Ok(committed.and_then(|bytes| read(&bytes)))
}

/// When the file was last written.
fn changed_at(path: &Path) -> Option<Timestamp> {
    let since = path.symlink_metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(u64::try_from(since.as_millis()).ok()?))
}
