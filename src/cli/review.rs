//! `review [ID|RUN]`: what waits for a person, with everything that is needed to decide.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::status::age;
use super::ui::{BOLD, DIM, Ui, YELLOW};
use super::world::World;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::policy::{Action, SandboxMode};
use crate::run::State;
use crate::runtime::refusals::described;
use crate::store::question::{Answer, Question, Standing};
use crate::store::{Filter, Run, Store as _};
use crate::text;

/// Show what runs ask to be allowed, with what to type
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A question (`RUN.NUMBER`) or a run; without it, everything that waits
    #[arg(value_name = "ID|RUN")]
    what: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows it.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let world = World::here()?;
    let now = Timestamp::now();
    let found = match &args.what {
        Some(typed) => named(&world, typed)?,
        None => open(&world, now)?,
    };
    if args.json {
        let views: Vec<_> = found.iter().map(|(run, question)| View::of(run, question, now)).collect();
        ui.json(&json!({ "schema": 1, "questions": views }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        ui.line("nothing waits for an answer")?;
    }
    for (at, (run, question)) in found.iter().enumerate() {
        if at > 0 {
            ui.line("")?;
        }
        page(ui, run, question, now)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Every question that waits for an answer, the oldest run's first.
pub fn open(world: &World, now: Timestamp) -> Result<Vec<(Run, Question)>> {
    let waiting = world.ledger.runs(&Filter { states: vec![State::Waiting], ..Filter::default() })?;
    let mut found = Vec::new();
    for run in waiting.into_iter().rev() {
        let questions = world.ledger.questions(run.id)?;
        found.extend(questions.into_iter().filter(|q| q.is_open(&run, now)).map(|q| (run.clone(), q)));
    }
    Ok(found)
}

/// The question, or all questions of the run, that a person names.
fn named(world: &World, typed: &str) -> Result<Vec<(Run, Question)>> {
    if let Some(found) = question(world, typed)? {
        return Ok(vec![found]);
    }
    let run = world.run(typed)?;
    let questions = world.ledger.questions(run.id)?;
    if questions.is_empty() {
        return Err(Error::not_found(format!("run {} asks nothing: it is {}", run.id.short(), run.state))
            .hint(format!("`git orchestrator show {}` tells about it", run.id.short())));
    }
    Ok(questions.into_iter().map(|question| (run.clone(), question)).collect())
}

/// The question that is named as `RUN.NUMBER`; `None` where the text has another form, or there is no such run.
pub fn question(world: &World, typed: &str) -> Result<Option<(Run, Question)>> {
    let Some((digits, number)) = typed.rsplit_once('.') else { return Ok(None) };
    let (Ok(number), Ok(run)) = (number.parse::<u32>(), world.run(digits)) else { return Ok(None) };
    let found = world.ledger.questions(run.id)?.into_iter().find(|question| question.number == number);
    match found {
        Some(question) => Ok(Some((run, question))),
        None => Err(Error::not_found(format!("run {} has no question {number}", run.id.short()))
            .hint(format!("`git orchestrator review {}` lists them", run.id.short()))),
    }
}

/// One question, as a person reads it before they answer.
pub fn page(ui: &mut Ui, run: &Run, question: &Question, now: Timestamp) -> Result<()> {
    let id = question.id();
    let standing = question.standing(run.state, now);
    let word = if standing == Standing::Open { "asks to be allowed" } else { word(standing) };
    ui.line(format!("{BOLD}{id}{BOLD:#} {} {YELLOW}{word}{YELLOW:#}", run.job.row.role))?;
    // The whole of it, neither cut nor broken between words: what is not read is not allowed.
    ui.line(format!("  {}", text::one_line(&described(&question.action))))?;
    if let Some(words) = words(&question.action).filter(|words| words.len() > 1) {
        let words: Vec<_> = words.iter().map(|word| format!("[{}]", text::one_line(word))).collect();
        fact(ui, "words", &words.join(" "))?;
    }
    if let Action::Command { directory, .. } = &question.action {
        let directory = directory.as_ref().map(|directory| text::one_line(&directory.to_string_lossy()));
        fact(ui, "in", &directory.unwrap_or_else(|| "the top of its checkout".to_owned()))?;
    }
    let job = &run.job;
    let branch = job.branch.as_deref().map_or_else(String::new, |branch| format!(" on {}", text::one_line(branch)));
    fact(ui, "commit", &format!("{}{branch}", job.change.head.short()))?;
    fact(ui, "run", &format!("{}, row {}", run.id.short(), text::one_line(&job.row.trigger)))?;
    fact(ui, "rule", &format!("{}: {}", text::one_line(&question.rule), text::one_line(&question.why)))?;
    fact(ui, "sandbox", &confines(run))?;
    let said = text::one_line(&question.said);
    fact(ui, "it says", if said.is_empty() { "nothing about it" } else { &said })?;
    let times = if question.times == 1 { "once".to_owned() } else { format!("{} times", question.times) };
    let ago = age(now.since(question.asked_at));
    let left = age(question.expires_at.since(now));
    let left = if standing == Standing::Open { format!("; expires in {left}") } else { String::new() };
    fact(ui, "asked", &format!("{times}, {ago} ago{left}"))?;
    if let Some(answer) = &question.answer {
        let why = if answer.why.is_empty() { String::new() } else { format!(": {}", answer.why) };
        let said = format!("{}{why}, {} ago", answer.who, age(now.since(answer.at)));
        fact(ui, "answer", &format!("{} by {}", self::word(standing), text::one_line(&said)))?;
    }
    if standing == Standing::Open {
        ui.line(format!("  {DIM}allow it, once:{DIM:#} git orchestrator approve {id}"))?;
        ui.line(format!("  {DIM}refuse it:{DIM:#}      git orchestrator reject {id} --reason \"…\""))?;
    }
    Ok(())
}

fn fact(ui: &mut Ui, name: &str, value: &str) -> Result<()> {
    let width = ui.width().map_or(usize::MAX, |width| width.saturating_sub(11).max(20));
    let lines = if width == usize::MAX { vec![value.to_owned()] } else { text::wrapped(value, width) };
    for (at, line) in lines.iter().enumerate() {
        let name = if at == 0 { name } else { "" };
        ui.line(format!("  {DIM}{name:<8}{DIM:#} {}", line.trim_start()))?;
    }
    Ok(())
}

/// What holds whatever a person allows.
fn confines(run: &Run) -> String {
    let policy = run.job.policy();
    let writes = match policy.sandbox {
        SandboxMode::ReadOnly => "writes nothing",
        SandboxMode::WorkspaceWrite => "writes in its checkout only",
    };
    format!("{writes}, {}", if policy.network { "has the network" } else { "no network" })
}

/// How a question stands, in a word.
pub fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Open => "open",
        Standing::Expired => "expired",
        Standing::Closed => "closed",
        Standing::Allowed => "allowed",
        Standing::Used => "allowed and done",
        Standing::Rejected => "refused",
    }
}

/// The words of a line that a shell would take as they stand: `None` where it would do anything else with them.
fn words(action: &Action) -> Option<Vec<String>> {
    let Action::Command { line, .. } = action else { return None };
    let is_plain = |c: char| c.is_alphanumeric() || " '\"-_./:,@%+=".contains(c);
    let words = line.chars().all(is_plain).then(|| shlex::split(line)).flatten()?;
    // In front of a command it assigns, and zsh replaces a word that begins with it by a program's path.
    let is_name = words.first().is_some_and(|name| !name.contains('='));
    (is_name && !words.iter().any(|word| word.starts_with('='))).then_some(words)
}

/// A question, in JSON.
#[derive(Serialize)]
pub struct View<'a> {
    id: String,
    kind: &'static str,
    run: String,
    role: &'a str,
    commit: String,
    branch: Option<&'a str>,
    standing: Standing,
    action: &'a Action,
    /// The words, where a shell would take them as they stand.
    argv: Option<Vec<String>>,
    rule: &'a str,
    why: &'a str,
    said: &'a str,
    times: u32,
    sandbox: SandboxMode,
    network: bool,
    asked_at: Timestamp,
    expires_at: Timestamp,
    answer: Option<&'a Answer>,
    used_at: Option<Timestamp>,
}

impl<'a> View<'a> {
    /// The view of a question of this run.
    pub fn of(run: &'a Run, question: &'a Question, now: Timestamp) -> Self {
        let job = &run.job;
        Self {
            id: question.id(),
            kind: KIND,
            run: run.id.to_string(),
            role: &job.row.role,
            commit: job.change.head.to_string(),
            branch: job.branch.as_deref(),
            standing: question.standing(run.state, now),
            action: &question.action,
            argv: words(&question.action),
            rule: &question.rule,
            why: &question.why,
            said: &question.said,
            times: question.times,
            sandbox: job.policy().sandbox,
            network: job.policy().network,
            asked_at: question.asked_at,
            expires_at: question.expires_at,
            answer: question.answer.as_ref(),
            used_at: question.used_at,
        }
    }
}

/// The kind of gate that a question is, in `status --json`.
pub const KIND: &str = "escalation";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_only_where_a_shell_would_see_the_same() {
        let of = |line: &str| words(&Action::Command { line: line.into(), directory: None });
        assert_eq!(of("npm run 'a b'").unwrap(), ["npm", "run", "a b"]);
        assert_eq!(of("make 'A=b  c' --d=e").unwrap(), ["make", "A=b  c", "--d=e"]);
        for line in
            ["npm ci | sh", "npm $x", "npm *", "A=1 npm", "npm =ls", "npm ~", "npm \\x", "npm 'a", "a{b,c}", "npm\tci"]
        {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
