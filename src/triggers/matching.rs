//! Which rows an event matches, and why.
//!
//! One evaluation, two readers: [`rows`] stops at the first condition that fails and is what a hook can afford,
//! [`report`] asks every condition and is what `explain` shows; a test holds them together. Cheap conditions come first,
//! changed paths last, and of them once for all rows, if at all. Nothing here starts anything.
//!
//! A condition about the commit (`paths`, `message`, `author`) fails for an event that names none. On a detached HEAD
//! there is no branch: of a `branches` list only the pattern `**` takes that in, and a list that only takes out holds.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;

use super::glob::{Patterns, Subject};
use super::load::values;
pub use super::paths::Paths;
use super::{RowAction, Source, Table, Trigger, When};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::run::State;
use crate::text;

/// One condition of a row that has it.
#[derive(Clone, Copy)]
enum Condition<'t> {
    Branches(&'t [String]),
    Refs(&'t [String]),
    Author(&'t [String]),
    Message(&'t str),
    Paths(&'t [String]),
}

/// The conditions a row has, cheapest first.
fn conditions(when: &When) -> impl Iterator<Item = Condition<'_>> {
    let some = |list: &'_ [String]| !list.is_empty();
    [
        some(&when.branches).then_some(Condition::Branches(&when.branches)),
        some(&when.refs).then_some(Condition::Refs(&when.refs)),
        some(&when.author).then_some(Condition::Author(&when.author)),
        when.message.as_deref().map(Condition::Message),
        some(&when.paths).then_some(Condition::Paths(&when.paths)),
    ]
    .into_iter()
    .flatten()
}

impl Condition<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Branches(_) => "branches",
            Self::Refs(_) => "refs",
            Self::Author(_) => "author",
            Self::Message(_) => "message",
            Self::Paths(_) => "paths",
        }
    }

    fn holds(self, event: &Event, paths: &mut Paths<'_>) -> Result<bool> {
        match self {
            Self::Branches(list) => match &event.branch {
                Some(branch) => Ok(Patterns::compile(list, Subject::Branch)?.take_in(branch.as_bytes())),
                None => Ok(list.iter().any(|pattern| pattern == "**") || list.iter().all(|p| p.starts_with('!'))),
            },
            Self::Refs(list) => {
                let patterns = Patterns::compile(list, Subject::Ref)?;
                Ok(event.refs.iter().any(|change| patterns.take_in(change.name.as_bytes())))
            }
            Self::Author(_) | Self::Message(_) | Self::Paths(_) if event.change.is_none() => Ok(false),
            Self::Author(list) => Ok(Patterns::compile(list, Subject::Person)?.take_in(event.author.line().as_bytes())),
            Self::Message(expression) => {
                let expression = values::expression(expression)
                    .map_err(|error| Error::failed("cannot use the expression for `message`").because(error))?;
                Ok(expression.is_match(&event.message))
            }
            Self::Paths(list) => Ok(paths.decide(&[list])? == [true]),
        }
    }

    fn expected(self) -> Vec<String> {
        match self {
            Self::Branches(list) | Self::Refs(list) | Self::Author(list) | Self::Paths(list) => {
                list.iter().map(|pattern| text::one_line(pattern)).collect()
            }
            Self::Message(expression) => vec![text::one_line(expression)],
        }
    }

    /// What the event has, for a person.
    fn actual(self, event: &Event, paths: &mut Paths<'_>) -> Result<String> {
        if event.change.is_none() && !matches!(self, Self::Branches(_) | Self::Refs(_)) {
            return Ok("no commit".to_owned());
        }
        Ok(match self {
            Self::Branches(_) => event.branch.as_deref().map_or_else(|| "detached HEAD".to_owned(), text::one_line),
            Self::Refs(_) if event.refs.is_empty() => "no ref moved".to_owned(),
            Self::Refs(_) => some_of(event.refs.len(), event.refs.iter().map(|change| text::one_line(&change.name))),
            Self::Author(_) => text::one_line(&event.author.line()),
            Self::Message(_) => text::one_line(&text::clipped(event.subject(), 100)),
            Self::Paths(list) => {
                let patterns = Patterns::compile(list, Subject::Path)?;
                let paths = paths.all()?;
                let (taken, left): (Vec<&[u8]>, Vec<&[u8]>) =
                    paths.iter().map(Vec::as_slice).partition(|path| patterns.take_in(path));
                let shown = if taken.is_empty() { &left } else { &taken };
                let names = some_of(shown.len(), shown.iter().map(|path| text::bytes_line(path)));
                match (taken.len(), left.len()) {
                    (0, 0) => "no path changed".to_owned(),
                    (0, _) => names,
                    (taken, left) => format!("{names} ({taken} of {} changed)", taken + left),
                }
            }
        })
    }
}

/// A few of `all` names and how many more there are.
fn some_of(all: usize, names: impl Iterator<Item = String>) -> String {
    /// As many as fit beside the condition on a screen.
    const SHOWN: usize = 3;
    let mut out = names.take(SHOWN).collect::<Vec<_>>().join(", ");
    if let Some(more) = all.checked_sub(SHOWN).filter(|more| *more > 0) {
        write!(out, " and {more} more").ok();
    }
    out
}

/// Of these rows with their conditions, those whose conditions hold: each is asked until one does not, and what is left
/// to be asked of the changed paths is asked of all at once.
fn holding<'w, T>(
    rows: impl IntoIterator<Item = (T, &'w When)>,
    event: &Event,
    paths: &mut Paths<'_>,
) -> Result<Vec<T>> {
    let mut left = Vec::new();
    for (row, when) in rows {
        let mut cheap = conditions(when).filter(|condition| !matches!(condition, Condition::Paths(_)));
        // Where there is no commit, there are no paths.
        let mut holds = when.paths.is_empty() || event.change.is_some();
        while holds && let Some(condition) = cheap.next() {
            holds = condition.holds(event, paths)?;
        }
        if holds {
            left.push((row, when.paths.as_slice()));
        }
    }
    let lists: Vec<&[String]> = left.iter().map(|(_, list)| *list).filter(|list| !list.is_empty()).collect();
    let mut answers = paths.decide(&lists)?.into_iter();
    left.retain(|(_, list)| list.is_empty() || answers.next() == Some(true));
    Ok(left.into_iter().map(|(row, _)| row).collect())
}

/// Whether what a row asks of a commit (paths, message, author) holds for the commit of this event, wherever it lies.
///
/// # Errors
/// That of computing the changed paths.
pub fn concerns(when: &When, event: &Event, paths: &mut Paths<'_>) -> Result<bool> {
    let when = When { branches: Vec::new(), refs: Vec::new(), ..when.clone() };
    Ok(!holding([((), &when)], event, paths)?.is_empty())
}

/// Whether the row listens to the event's hook and can do something with it: a role works on a commit.
fn listens(row: &Trigger, event: &Event) -> bool {
    row.on.contains(&Source::Hook(event.hook)) && has_commit(row, event)
}

fn has_commit(row: &Trigger, event: &Event) -> bool {
    event.change.is_some() || matches!(row.action, RowAction::Gate { .. })
}

/// A row that starts when a run of another row ends.
#[derive(Clone, Debug)]
pub struct Follower<'t> {
    /// The row.
    pub row: &'t Trigger,
    /// The rows of this event it waits for, and the states in which they have to end; any of them does.
    pub after: Vec<(String, State)>,
}

/// The rows an event matches.
#[derive(Clone, Debug, Default)]
pub struct Matched<'t> {
    /// Rows that start a role now.
    pub now: Vec<&'t Trigger>,
    /// Rows that start a role after one of `now`, or after one another.
    pub after: Vec<Follower<'t>>,
}

/// The role rows an event matches, in the order of the file. Most tables match nothing at most commits, so rows of
/// other hooks cost one comparison and nothing is compiled for them.
///
/// # Errors
/// That of computing the changed paths.
pub fn rows<'t>(table: &'t Table, event: &Event, paths: &mut Paths<'_>) -> Result<Matched<'t>> {
    let listening = roles(table).filter(|row| listens(row, event));
    let now = holding(listening.map(|row| (row, &row.when)), event, paths)?;
    let mut admitted = None;
    let after = followers(table, &now, |row| {
        let admitted = match &mut admitted {
            Some(known) => known,
            none => {
                let waiting = roles(table).filter(|row| row.on.iter().any(|on| matches!(on, Source::Run { .. })));
                none.insert(holding(waiting.map(|row| (row.name.as_str(), &row.when)), event, paths)?)
            }
        };
        Ok(admitted.contains(&row.name.as_str()))
    })?;
    Ok(Matched { now, after })
}

fn roles(table: &Table) -> impl Iterator<Item = &Trigger> {
    table.triggers.iter().filter(|row| matches!(row.action, RowAction::Role(_)))
}

/// The rows that follow `now`, directly or through one another, as far as `admits` them. Asked once for each row.
pub(super) fn followers<'t>(
    table: &'t Table,
    now: &[&'t Trigger],
    mut admits: impl FnMut(&Trigger) -> Result<bool>,
) -> Result<Vec<Follower<'t>>> {
    let mut reached: Vec<&str> = now.iter().map(|row| row.name.as_str()).collect();
    let mut admitted: Vec<&str> = Vec::new();
    let mut refused: Vec<&str> = Vec::new();
    loop {
        let before = admitted.len() + refused.len();
        for row in roles(table) {
            let name = row.name.as_str();
            let waits = row
                .on
                .iter()
                .any(|source| matches!(source, Source::Run { trigger, .. } if reached.contains(&trigger.as_str())));
            if !waits || admitted.contains(&name) || refused.contains(&name) {
                continue;
            }
            if admits(row)? {
                admitted.push(name);
                reached.push(name);
            } else {
                refused.push(name);
            }
        }
        if admitted.len() + refused.len() == before {
            break;
        }
    }
    let after = |row: &Trigger| {
        let waits_for = row.on.iter().filter_map(|source| match source {
            Source::Run { trigger, state } if reached.contains(&trigger.as_str()) => Some((trigger.clone(), *state)),
            Source::Run { .. } | Source::Hook(_) => None,
        });
        waits_for.collect()
    };
    Ok(roles(table)
        .filter(|row| admitted.contains(&row.name.as_str()))
        .map(|row| Follower { row, after: after(row) })
        .collect())
}

/// A gate that stands before what is about to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GateRow {
    /// The row's name.
    pub name: String,
    /// The roles whose artifacts it needs.
    pub requires: Vec<String>,
}

/// The gates an event has to pass, in the order of the file.
///
/// # Errors
/// That of computing the changed paths.
pub fn gates(table: &Table, event: &Event, paths: &mut Paths<'_>) -> Result<Vec<GateRow>> {
    let mut asked = Vec::new();
    for row in table.triggers.iter().filter(|row| listens(row, event)) {
        let RowAction::Gate { requires } = &row.action else { continue };
        // Where there is no commit to ask about (a deleted ref), a condition on it does not open the gate.
        let when = if event.commit().is_some() {
            Cow::Borrowed(&row.when)
        } else {
            let asked = row.when.clone();
            Cow::Owned(When { paths: Vec::new(), author: Vec::new(), message: None, ..asked })
        };
        asked.push((GateRow { name: row.name.clone(), requires: requires.clone() }, when));
    }
    holding(asked.iter().map(|(gate, when)| (gate.clone(), when.as_ref())), event, paths)
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It starts now; a gate: it blocks.
    Matches,
    /// It starts when a run of this event's plan ends as it wants.
    Follows,
    /// It does nothing with this event.
    NoMatch,
}

/// How a condition turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// It cannot be known yet: it depends on how a run ends.
    NotEvaluated,
}

/// One condition of a row. All texts can be shown as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConditionReport {
    /// `on`, `commit`, or the key under `when`.
    pub name: &'static str,
    /// How it turned out.
    pub verdict: Verdict,
    /// What the row asks for.
    pub expected: Vec<String>,
    /// What the event has.
    pub actual: String,
}

/// One row. All texts can be shown as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowReport {
    /// Its name.
    pub name: String,
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// The role it starts; `None` for a gate.
    pub role: Option<String>,
    /// The roles a gate needs artifacts of.
    pub requires: Vec<String>,
    /// How long it has to be quiet before a run that a hook started is begun, in seconds; 0 for a gate.
    pub debounce: u64,
    /// What becomes of it.
    pub outcome: Outcome,
    /// `on` first, then what the row asks for, cheapest first. Every condition is asked, whatever the others say.
    pub conditions: Vec<ConditionReport>,
}

/// Every row with every condition.
///
/// # Errors
/// That of computing the changed paths.
pub fn report(table: &Table, event: &Event, paths: &mut Paths<'_>) -> Result<Vec<RowReport>> {
    let mut reports = Vec::with_capacity(table.triggers.len());
    for row in &table.triggers {
        reports.push(row_report(row, event, paths)?);
    }
    let when_holds =
        |report: &RowReport| report.conditions.iter().filter(|c| c.name != "on").all(|c| c.verdict == Verdict::Holds);
    let now: Vec<&Trigger> = roles(table)
        .zip(reports.iter().filter(|r| r.role.is_some()))
        .filter(|(_, r)| r.outcome == Outcome::Matches)
        .map(|(row, _)| row)
        .collect();
    let follows: Vec<String> = followers(table, &now, |row| {
        Ok(reports.iter().find(|report| report.name == row.name).is_some_and(when_holds))
    })?
    .into_iter()
    .map(|follower| follower.row.name.clone())
    .collect();
    for report in &mut reports {
        if report.outcome == Outcome::NoMatch && follows.contains(&report.name) {
            report.outcome = Outcome::Follows;
        }
    }
    Ok(reports)
}

/// A row by itself; whether it follows another one is decided by [`report`].
fn row_report(row: &Trigger, event: &Event, paths: &mut Paths<'_>) -> Result<RowReport> {
    let mut conditions = vec![on(row, event)];
    if !has_commit(row, event) {
        conditions.push(ConditionReport {
            name: "commit",
            verdict: Verdict::Fails,
            expected: vec!["a commit to work on".to_owned()],
            actual: "no commit".to_owned(),
        });
    }
    for condition in self::conditions(&row.when) {
        // First: it needs all the paths, which the question then does not walk again.
        let actual = condition.actual(event, paths)?;
        conditions.push(ConditionReport {
            name: condition.name(),
            verdict: if condition.holds(event, paths)? { Verdict::Holds } else { Verdict::Fails },
            expected: condition.expected(),
            actual,
        });
    }
    let matches = conditions.iter().all(|condition| condition.verdict == Verdict::Holds);
    let (role, requires, debounce) = match &row.action {
        RowAction::Role(role) => (Some(role.clone()), Vec::new(), row.debounce.as_secs()),
        RowAction::Gate { requires } => (None, requires.clone(), 0),
    };
    let outcome = if matches { Outcome::Matches } else { Outcome::NoMatch };
    Ok(RowReport { name: row.name.clone(), line: row.line, role, requires, debounce, outcome, conditions })
}

fn on(row: &Trigger, event: &Event) -> ConditionReport {
    let expected = row.on.iter().map(|source| match source {
        Source::Hook(hook) => hook.to_string(),
        Source::Run { trigger, state } => format!("`{trigger}` {state}"),
    });
    let verdict = if row.on.contains(&Source::Hook(event.hook)) {
        Verdict::Holds
    } else if row.on.iter().any(|source| matches!(source, Source::Run { .. })) {
        Verdict::NotEvaluated
    } else {
        Verdict::Fails
    };
    ConditionReport { name: "on", verdict, expected: expected.collect(), actual: event.hook.to_string() }
}
