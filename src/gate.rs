//! The gate before a push: the named roles' results for exactly this tree, and a person's word about it.
//!
//! The one place where a hook may say no. Each ref of a push is asked about by itself. It asks the ledger and nothing
//! else; whatever cannot be asked or looked at is a no. A verdict belongs to a tree: another commit of the same tree
//! keeps it, any changed byte drops it. What a rehearsal wrote opens nothing, and from inside a run nothing does: a person
//! pushes past a gate.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::event::{Event, RefChange};
use crate::git::Repository;
use crate::ids::Oid;
use crate::observe::Push;
use crate::role;
use crate::run::State;
use crate::store::layout::Layout;
use crate::store::ledger::Ledger;
use crate::store::{Run, Store, StoreError, spool};
use crate::text;
use crate::triggers::matching::{self, GateRow, Paths};
use crate::triggers::{RowAction, Table, Vocabulary, load};

/// The most objections that are told of one gate; the rest is a number.
const OBJECTIONS_MAX: usize = 6;

/// Asks every gate about every ref that is pushed. The lines to say, if one is closed.
///
/// The gates are those of `own` (the accepted table, and the worktree's where it is another one), of HEAD's table, and of
/// the table at the tip that the other side has: a gate is not taken away by editing a file or by standing on another
/// branch, but by a push that passes it. Nobody has to accept a gate: all it can do is say no. `inside` says why this is
/// the inside of a run, if it is; it is asked only where a gate stands.
pub fn ask(
    own: &[Table],
    push: &Push,
    repository: &Repository,
    layout: &Layout,
    vocabulary: &Vocabulary<'_>,
    inside: impl Fn() -> Option<String>,
) -> Result<Option<Vec<String>>> {
    let mut tables = Tables { repository, vocabulary, read: BTreeMap::new() };
    let head = repository.head()?.commit;
    let mut told = Vec::new();
    let (mut ledger, mut is_inside) = (None, None);
    for reference in push.refs() {
        let committed = [head.as_ref(), reference.old.as_ref()];
        let mut candidates: Vec<Rc<Table>> = Vec::new();
        for commit in committed.into_iter().flatten().filter(|commit| repository.has_commit(commit)) {
            candidates.extend(tables.at(commit)?);
        }
        let with_gates = own.iter().chain(candidates.iter().map(Rc::as_ref)).filter(|table| has_gate(table));
        let with_gates: Vec<&Table> = with_gates.collect();
        if with_gates.is_empty() {
            continue;
        }
        // By its name alone first: what it brings takes a search of the history, and there may be thousands of refs.
        let named = push.named(reference, repository)?;
        let mut is_gated = false;
        for table in &with_gates {
            is_gated |= !matching::gates(table, &named, &mut Paths::known(Vec::new()))?.is_empty();
        }
        if !is_gated {
            continue;
        }
        let part = push.part(reference, repository)?;
        let mut paths = Paths::walked(|visitor| match &part.change {
            Some(change) => repository.visit_changed_paths(change, visitor),
            None => Ok(()),
        });
        let mut gates = Vec::new();
        for table in with_gates {
            for gate in matching::gates(table, &part, &mut paths)? {
                if !gates.contains(&gate) {
                    gates.push(gate);
                }
            }
        }
        if gates.is_empty() {
            continue;
        }
        if let Some(why) = is_inside.get_or_insert_with(&inside) {
            let objection = [format!("{why}: a person pushes past a gate")];
            for gate in &gates {
                tell(&mut told, gate, reference, &objection);
            }
            continue;
        }
        for gate in gates {
            let mut ask = || {
                let store = match &mut ledger {
                    Some(store) => store,
                    none => none.insert(opened(layout)?),
                };
                objections(store, repository, &gate, &part)
            };
            // It stands there: whatever keeps it from being asked is a no.
            let objections = ask().map_err(|error| {
                Error::refused(format!("gate `{}` cannot be asked", text::one_line(&gate.name))).because(error)
            })?;
            tell(&mut told, &gate, reference, &objections);
        }
    }
    Ok((!told.is_empty()).then_some(told))
}

fn has_gate(table: &Table) -> bool {
    table.triggers.iter().any(|row| matches!(row.action, RowAction::Gate { .. }))
}

/// The tables of commits, each read once.
struct Tables<'a> {
    repository: &'a Repository,
    vocabulary: &'a Vocabulary<'a>,
    read: BTreeMap<Oid, Option<Rc<Table>>>,
}

impl Tables<'_> {
    /// The table of this commit, if it has one. One that does not load and may hold a gate closes it.
    fn at(&mut self, commit: &Oid) -> Result<Option<Rc<Table>>> {
        if let Some(known) = self.read.get(commit) {
            return Ok(known.clone());
        }
        let bytes = self.repository.blob_at(commit, load::FILE_NAME.as_bytes(), load::MAX_BYTES)?;
        let table = match bytes.map(|bytes| (load::table(&bytes, load::FILE_NAME, self.vocabulary), bytes)) {
            Some((Ok(table), _)) => Some(Rc::new(table)),
            Some((Err(error), bytes)) if String::from_utf8_lossy(&bytes).contains("gate") => {
                let sentence = format!("the table of {} may hold a gate and does not load", commit.short());
                return Err(Error::refused(sentence).because(error));
            }
            // No table, or a broken one without a gate.
            None | Some((Err(_), _)) => None,
        };
        self.read.insert(commit.clone(), table.clone());
        Ok(table)
    }
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
fn objections(
    store: &dyn Store,
    repository: &Repository,
    gate: &GateRow,
    part: &Event,
) -> Result<Vec<String>, StoreError> {
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
        // What any row of the role has against it counts; that all was looked at needs one result only.
        let uncovered: Vec<_> = runs.iter().filter_map(|run| uncovered(repository, run, part)).collect();
        if uncovered.len() == runs.len() {
            objections.extend(uncovered.into_iter().next());
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

/// Why a favourable result about a change says too little about this push: it carries commits that the change did not.
fn uncovered(repository: &Repository, run: &Run, part: &Event) -> Option<String> {
    let role = &run.job.row.role;
    if role::judges_tree(role) {
        return None;
    }
    // A change without a base is everything; a push to where nothing is known has no beginning to compare with.
    let (looked_from, pushed_from) = (run.job.change.base.as_ref()?, part.change.as_ref()?.base.as_ref()?);
    if looked_from == pushed_from || repository.is_ancestor(looked_from, pushed_from) == Some(true) {
        return None;
    }
    let (commit, from) = (run.job.change.head.short(), pushed_from.short());
    let next = format!("git orchestrator run {role} --commit {commit} --since {from}");
    Some(format!("{role} looked at what changed since {}, the push brings more · {next}", looked_from.short()))
}
