//! `approve` and `reject`: a person's word, about what a run asks to be allowed or about a tree, for the gate before a
//! push. Both are refused inside a run; what opens something is asked for on a terminal.

use std::process::ExitCode;

use super::person::confirm;
use super::review;
use super::ui::Ui;
use super::world::World;
use crate::artifact;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::run::State;
use crate::runtime::refusals::described;
use crate::store::question::{Answer, EXPIRES_AFTER, Question};
use crate::store::{Filter, Run, Store as _, Verdict};
use crate::text;
use crate::trust::person;

/// What only a person gives.
const APPROVAL: &str = "approval";

/// Allow what a run asks for, once; or approve a commit's tree for a gate
#[derive(Debug, clap::Args)]
pub struct ApproveArgs {
    /// A question (`RUN.NUMBER`, see `review`), a run that asks one thing, or a commit
    #[arg(default_value = "HEAD", value_name = "ID|REV")]
    what: String,
    /// Why, for the record
    #[arg(long, visible_alias = "reason", default_value = "", value_name = "TEXT")]
    why: String,
}

/// Refuse what a run asks for; or reject a commit's tree, so that a gate holds it back
#[derive(Debug, clap::Args)]
pub struct RejectArgs {
    /// A question (`RUN.NUMBER`, see `review`), a run that asks one thing, or a commit
    #[arg(default_value = "HEAD", value_name = "ID|REV")]
    what: String,
    /// Why: the agent reads it, or whoever is held back. A tree is not rejected without
    #[arg(long, visible_alias = "reason", value_name = "TEXT")]
    why: Option<String>,
}

/// Approves.
pub fn approve(ui: &mut Ui, args: &ApproveArgs) -> Result<ExitCode> {
    person::outside_of_runs(APPROVAL)?;
    let mut world = World::here()?;
    match asked(&world, &args.what)? {
        Some((run, question)) => answer(ui, &mut world, &run, &question, true, &args.why),
        None => decide(ui, &mut world, &args.what, &args.why, true),
    }
}

/// Rejects.
pub fn reject(ui: &mut Ui, args: &RejectArgs) -> Result<ExitCode> {
    person::outside_of_runs("rejection")?;
    let mut world = World::here()?;
    match (asked(&world, &args.what)?, &args.why) {
        (Some((run, question)), why) => {
            answer(ui, &mut world, &run, &question, false, why.as_deref().unwrap_or_default())
        }
        (None, Some(why)) => decide(ui, &mut world, &args.what, why, false),
        (None, None) => Err(Error::usage("a tree is not rejected without a reason").hint("add `--why \"…\"`")),
    }
}

/// The question that a person means: by its own name, or the only one of a run that waits. Runs come before commits, as
/// everywhere; one that asks nothing is not meant.
fn asked(world: &World, typed: &str) -> Result<Option<(Run, Question)>> {
    if let Some(found) = review::question(world, typed)? {
        return Ok(Some(found));
    }
    let Ok(run) = world.run(typed) else { return Ok(None) };
    let now = Timestamp::now();
    let questions = world.ledger.questions(run.id)?;
    let mut open: Vec<Question> = questions.iter().filter(|question| question.is_open(&run, now)).cloned().collect();
    match (open.pop(), questions.into_iter().next_back()) {
        (Some(only), _) if open.is_empty() => Ok(Some((run, only))),
        (Some(_), _) => Err(Error::usage(format!("run {} asks {} things", run.id.short(), open.len() + 1))
            .hint(format!("`git orchestrator review {}` shows each with what to type", run.id.short()))),
        // It asked once: the ledger says why it needs no answer.
        (None, Some(last)) => Ok(Some((run, last))),
        (None, None) => Ok(None),
    }
}

fn who(world: &World) -> String {
    world.repository.committer_name().unwrap_or_else(|| "a person".to_owned())
}

fn answer(
    ui: &mut Ui,
    world: &mut World,
    run: &Run,
    question: &Question,
    allowed: bool,
    why: &str,
) -> Result<ExitCode> {
    let line = text::one_line(&described(&question.action));
    if allowed && question.is_open(run, Timestamp::now()) {
        review::page(ui, run, question, Timestamp::now())?;
        // On the terminal too, whatever reads standard output.
        confirm(APPROVAL, &format!("Allow run {} to do exactly this, once: {line}\n", run.id.short()))?;
    }
    let at = Timestamp::now();
    let why = crate::secrets::redacted(why).into_owned();
    let said = Answer { allowed, who: who(world), why, at, expires_at: at.plus(EXPIRES_AFTER) };
    let state = world.ledger.answer(run.id, question.number, &said)?;
    artifact::refresh_inbox(&world.layout, &world.ledger)?;
    // It goes on now, if a worker is there.
    world.worker()?;
    let (done, short) = (if allowed { "allowed once" } else { "refused" }, run.id.short());
    ui.line(format!("{done} in run {short}: {line}"))?;
    if state == State::Waiting {
        ui.line(format!("it waits for more answers · git orchestrator review {short}"))?;
    } else {
        ui.line(format!("the run goes on · git orchestrator wait {short}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn decide(ui: &mut Ui, world: &mut World, revision: &str, why: &str, approved: bool) -> Result<ExitCode> {
    let id = world.repository.resolve(revision)?;
    let commit = world.repository.commit(&id)?;
    let subject = commit.message.lines().next().unwrap_or_default();
    ui.note(format!("{} {}", id.short(), text::one_line(&crate::secrets::redacted(subject))));
    for run in world.ledger.runs(&Filter { commit: Some(id.clone()), ..Filter::default() })? {
        super::progress::result(ui, &run)?;
    }
    if approved {
        confirm(APPROVAL, &format!("Approve the tree of {}?\n", id.short()))?;
    }
    let verdict = Verdict {
        tree: commit.tree,
        commit: id.clone(),
        approved,
        who: who(world),
        why: why.to_owned(),
        at: Timestamp::now(),
    };
    world.ledger.record_verdict(&verdict)?;
    let done = if approved { "approved" } else { "rejected" };
    ui.line(format!("{done} the tree of {}", id.short()))?;
    Ok(ExitCode::SUCCESS)
}
