//! `show RUN|COMMIT`: one run with its artifact, or all results of a commit.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::json::RunView;
use super::progress::Tail;
use super::review;
use super::ui::{BOLD, DIM, Ui, state_style};
use super::world::{Named, World};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::run::State;
use crate::runtime::refusals::{Refusal, described, refusals};
use crate::store::question::Standing;
use crate::store::{Run, Store as _};
use crate::text;

/// The largest artifact that is shown, in bytes.
const ARTIFACT_BYTES_MAX: u64 = 8 << 20;

/// How many refused actions a page lists.
const REFUSALS_SHOWN: usize = 20;

/// Show a run with its artifact, or everything about a commit
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run (first or last digits of its id) or a commit; without it, the newest run
    what: Option<String>,
    /// Print the prompt the run was given
    #[arg(long, conflicts_with = "json")]
    prompt: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows it.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let world = World::here()?;
    let named = match &args.what {
        Some(typed) => world.named(typed)?,
        None => Named::Run(Box::new(world.newest()?)),
    };
    let runs = match named {
        Named::Run(run) => vec![*run],
        Named::Commit(commit, runs) if runs.is_empty() => {
            return Err(Error::not_found(format!("nothing has run for commit {}", commit.short()))
                .hint("`git orchestrator run ROLE --commit REV` starts a role by hand"));
        }
        Named::Commit(_, runs) => runs,
    };
    if args.prompt {
        return prompt(ui, &world, &runs);
    }
    if args.json {
        let views = runs.iter().map(|run| view(&world, run)).collect::<Result<Vec<_>>>()?;
        ui.json(&json!({ "schema": 1, "runs": views }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (i, run) in runs.iter().enumerate() {
        if i > 0 {
            ui.line("")?;
        }
        page(ui, &world, run)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn prompt(ui: &mut Ui, world: &World, runs: &[Run]) -> Result<ExitCode> {
    for run in runs {
        let path = world.run_directory(run).join("prompt.md");
        let bytes = world.layout.read(&path, ARTIFACT_BYTES_MAX)?.ok_or_else(|| {
            Error::not_found(format!("run {} has no prompt yet", run.id.short()))
                .hint(format!("`git orchestrator log {}` tells how far it came", run.id.short()))
        })?;
        ui.raw(&text::shown(&String::from_utf8_lossy(&bytes)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn artifact(world: &World, run: &Run, extension: &str) -> Result<Option<String>> {
    if run.artifact(extension).is_none() {
        return Ok(None);
    }
    // The run's own copy: under `artifacts/` a later run of the same role and commit may have taken its place.
    let kept = world.run_directory(run).join(format!("artifact.{extension}"));
    let bytes = world.layout.read(&kept, ARTIFACT_BYTES_MAX)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// What the gatekeeper refused the run, in all its attempts, by its record.
fn refused(world: &World, run: &Run) -> Vec<Value> {
    let record = Tail::new(world.run_directory(run).join("events.jsonl")).read();
    let found = refusals(&record).into_iter();
    found
        .map(|Refusal { action, decision, times, said }| {
            json!({ "action": action, "verdict": decision.verdict, "rule": decision.rule, "reason": decision.reason,
                    "times": times, "said": said })
        })
        .collect()
}

fn view(world: &World, run: &Run) -> Result<Value> {
    let (questions, now) = (world.ledger.questions(run.id)?, Timestamp::now());
    let artifact = artifact(world, run, "json")?.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    Ok(json!({
        "run": RunView::of(run, world.layout.home(), &world.run_directory(run)),
        "history": world.ledger.history(Some(run.id), 1000)?,
        "steps": world.ledger.steps(run.id)?,
        "questions": questions.iter().map(|question| review::View::of(run, question, now)).collect::<Vec<_>>(),
        "refused": refused(world, run),
        "artifact": artifact,
    }))
}

fn page(ui: &mut Ui, world: &World, run: &Run) -> Result<()> {
    let style = state_style(run.state);
    let job = &run.job;
    let branch = job.branch.as_deref().map_or_else(String::new, |branch| format!(" on {}", text::one_line(branch)));
    let mark = if run.rehearsal { " · rehearsal" } else { "" };
    ui.line(format!(
        "{BOLD}{}{BOLD:#} {} · {style}{}{style:#} · {}{branch}{mark}",
        job.row.role,
        run.id.short(),
        run.state,
        job.change.head.short()
    ))?;
    if !run.reason.is_empty() {
        ui.prose(&format!("  {}", text::one_line(&run.reason)))?;
    }
    if run.state == State::Held {
        ui.line(format!(
            "  release it: git orchestrator retry {0} · drop it: git orchestrator cancel {0}",
            run.id.short()
        ))?;
    }
    let mut facts = vec![format!("row {}", job.row.trigger), job.row.runtime.clone()];
    if run.attempt > 0 {
        facts.push(format!("attempt {} of {}", run.tries(), job.policy().limits.attempts));
    }
    if let (Some(started), Some(finished)) = (run.started_at, run.finished_at) {
        facts.push(text::duration(finished.since(started)));
    }
    if run.usage.total() > 0 {
        let (input, output) = (text::count(run.usage.input_tokens), text::count(run.usage.output_tokens));
        facts.push(format!("{input} tokens in, {output} out"));
    }
    ui.line(format!("  {DIM}{}{DIM:#}", facts.join(" · ")))?;
    let directory = world.run_directory(run);
    let directory = directory.strip_prefix(world.layout.home()).unwrap_or(&directory);
    if run.attempt > 0 {
        ui.line(format!("  {DIM}record: {}{DIM:#}", directory.display()))?;
    }
    for step in world.ledger.steps(run.id)? {
        ui.line(format!("  {DIM}{:<10}{DIM:#} {}", step.name, text::one_line(&step.note)))?;
    }
    decisions(ui, world, run)?;
    match artifact(world, run, "md")? {
        Some(page) => {
            ui.line("")?;
            ui.markdown(text::shown(&page).lines(), "")?;
        }
        None if !run.artifacts.is_empty() => {
            ui.line(format!("  the artifact is gone: {}", text::one_line(&run.artifacts.join(", "))))?;
        }
        None => {}
    }
    Ok(())
}

/// What the policy refused, and what persons said about it.
fn decisions(ui: &mut Ui, world: &World, run: &Run) -> Result<()> {
    let record = Tail::new(world.run_directory(run).join("events.jsonl")).read();
    let found = refusals(&record);
    for (at, refusal) in found.iter().take(REFUSALS_SHOWN).enumerate() {
        let name = if at == 0 { "refused" } else { "" };
        let what = text::one_line(&described(&refusal.action));
        let rule = text::one_line(&refusal.decision.rule);
        let line = format!("{} × {what}", refusal.times);
        // The rule stands at the end whatever the width.
        let room = ui.width().map_or(usize::MAX, |width| width.saturating_sub(16 + rule.chars().count()).max(20));
        ui.line(format!("  {DIM}{name:<10}{DIM:#} {} ({rule})", text::clipped(&line, room)))?;
    }
    if let more @ 1.. = found.len().saturating_sub(REFUSALS_SHOWN) {
        ui.line(format!("  {:<10} and {more} more · git orchestrator log {}", "", run.id.short()))?;
    }
    let now = Timestamp::now();
    for question in world.ledger.questions(run.id)? {
        let standing = question.standing(run.state, now);
        let next = if standing == Standing::Open {
            format!(" · git orchestrator review {}", question.id())
        } else {
            String::new()
        };
        let what = text::one_line(&described(&question.action));
        let room = ui.width().map_or(usize::MAX, |width| width.saturating_sub(30 + next.chars().count()).max(20));
        let what = text::clipped(&what, room);
        ui.line(format!("  {DIM}{:<10}{DIM:#} {} {what}: {}{next}", "asked", question.id(), review::word(standing)))?;
    }
    Ok(())
}
