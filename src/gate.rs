//! The gate before a push: the named roles' results for exactly this tree, and a person's word about it.
//!
//! The one place where a hook may say no. Each ref of a push is asked about by itself. It asks the ledger and nothing
//! else; whatever cannot be asked or looked at is a no. A verdict belongs to a tree: another commit of the same tree
//! keeps it, any changed byte drops it. What a rehearsal wrote opens nothing.

use crate::error::Result;
use crate::event::{Event, Hook, RefChange};
use crate::git::Repository;
use crate::ids::Oid;
use crate::observe;
use crate::run::State;
use crate::store::layout::Layout;
use crate::store::ledger::Ledger;
use crate::store::{Run, Store, StoreError, spool};
use crate::text;
use crate::triggers::matching::{self, GateRow, Paths};
use crate::triggers::{RowAction, Table};

/// The most objections that are told of one gate; the rest is a number.
const OBJECTIONS_MAX: usize = 6;

/// Asks every gate of the table about every ref that is pushed. The lines to say, if one is closed.
pub fn ask(table: &Table, event: &Event, repository: &Repository, layout: &Layout) -> Result<Option<Vec<String>>> {
    let has_gate = table.triggers.iter().any(|row| matches!(row.action, RowAction::Gate { .. }));
    if event.hook != Hook::PrePush || !has_gate {
        return Ok(None);
    }
    let mut told = Vec::new();
    let mut ledger = None;
    for reference in &event.refs {
        let part = observe::part_of_push(event, reference, repository)?;
        let mut paths = Paths::new(|| match &part.change {
            Some(change) => repository.changed_paths(change),
            None => Ok(Vec::new()),
        });
        for gate in matching::gates(table, &part, &mut paths)? {
            let store = match &mut ledger {
                Some(store) => store,
                none => none.insert(opened(layout)?),
            };
            tell(&mut told, &gate, reference, &objections(store, &gate, &part)?);
        }
    }
    Ok((!told.is_empty()).then_some(told))
}

fn opened(layout: &Layout) -> Result<Ledger> {
    layout.create()?;
    let mut ledger = Ledger::open(&layout.ledger())?;
    spool::drain(layout, &mut ledger)?;
    Ok(ledger)
}

fn tell(told: &mut Vec<String>, gate: &GateRow, reference: &RefChange, objections: &[String]) {
    if objections.is_empty() {
        return;
    }
    let what = reference.new.as_ref().map_or("a deletion", Oid::short);
    let name = text::one_line(&reference.name);
    told.push(format!("git-orchestrator: gate `{}` holds {what} back from {name}", gate.name));
    told.extend(objections.iter().take(OBJECTIONS_MAX).map(|line| format!("  - {}", text::one_line(line))));
    let more = objections.len().saturating_sub(OBJECTIONS_MAX);
    if more > 0 {
        told.push(format!("  - and {more} more"));
    }
}

/// Why a gate is closed for this part of a push, as sentences; empty if it is open.
fn objections(store: &dyn Store, gate: &GateRow, part: &Event) -> Result<Vec<String>, StoreError> {
    let (Some(commit), Some(tree)) = (part.commit(), &part.tree) else {
        let why = "there is no commit to look at: a gated ref is neither deleted nor set to anything else";
        return Ok(vec![format!("{why} · git push --no-verify passes every gate")]);
    };
    let commit = commit.short();
    let mut objections = Vec::new();
    let mut newest = None;
    for role in &gate.requires {
        let runs = store.results_for_tree(tree, role)?;
        if runs.is_empty() {
            let next = format!("git orchestrator run {role} --commit {commit}");
            objections.push(format!("{role} has not looked at it · {next}"));
        }
        for run in runs {
            objections.extend(objection(&run));
            newest = newest.max(run.finished_at);
        }
    }
    match store.verdict(tree)? {
        Some(verdict) if !verdict.approved => {
            let why = if verdict.why.is_empty() { String::new() } else { format!(": {}", verdict.why) };
            objections.push(format!("{} rejected it{why}", verdict.who));
        }
        Some(verdict) if newest.is_none_or(|newest| newest <= verdict.at) => {}
        Some(_) => {
            let next = format!("git orchestrator approve {commit}");
            objections.push(format!("it was approved before the last of these results was there · {next}"));
        }
        None => objections.push(format!("nobody has approved it · git orchestrator approve {commit}")),
    }
    Ok(objections)
}

/// Why this result does not open a gate.
fn objection(run: &Run) -> Option<String> {
    let (role, id) = (&run.job.row.role, run.id.short());
    if run.rehearsal {
        return Some(format!("{role}'s result is a rehearsal · git orchestrator show {id}"));
    }
    if run.state == State::Succeeded && run.favourable == Some(true) {
        return None;
    }
    let next = if run.state.is_terminal() { "show" } else { "wait" };
    let how = if run.state == State::Succeeded {
        "found something against it".to_owned()
    } else {
        format!("is {}", run.state)
    };
    Some(format!("{role} {how} · git orchestrator {next} {id}"))
}
