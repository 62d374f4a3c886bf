//! What `install` accepts by itself: what it wrote, and nothing that was there before.

use std::path::{Path, PathBuf};

use super::survey::{self, HookSurvey, Place, Standing, State, Survey};
use super::{STARTER_TABLE, TABLE};
use crate::error::Result;
use crate::git::Repository;
use crate::ids::Digest;
use crate::process::Environment;
use crate::triggers::load;
use crate::trust::difference::FileDifference;
use crate::trust::{self, Accepted, Closure, Kind, Store, difference, person, vocabulary};

/// What became of it.
#[derive(Debug)]
pub enum Outcome {
    /// Everything is accepted.
    Accepted,
    /// This is for a person to look at.
    Open(Vec<FileDifference>),
}

/// The hook files that git runs and that call us.
fn shims(survey: &Survey) -> Vec<PathBuf> {
    let calls = |hook: &&HookSurvey| match &hook.standing {
        Standing::Shim(_) | Standing::EditedShim => true,
        Standing::Foreign(foreign) => {
            foreign.block.is_some() || foreign.calls_us || hook.moved.iter().any(|moved| moved.is_called)
        }
        Standing::Missing | Standing::NoFile => false,
    };
    survey.hooks.iter().filter(calls).map(|hook| hook.path.clone()).collect()
}

/// The closure as it stands: read from the ref that the accepted table names, or else that the table here does.
pub fn closure(
    repository: &Repository,
    accepted: Option<&Accepted>,
    program: &Path,
    environment: &Environment,
) -> Result<Closure> {
    let shims = shims(&survey::survey(repository, program, environment)?);
    let tools = trust::tools(environment);
    let read = |from: Option<&str>| Closure::read(repository, from, &shims, &tools, accepted);
    let from = accepted.and_then(|accepted| accepted.from.as_deref());
    let found = read(from);
    // The table says where it is to be read. One that does not load says nothing, and is not accepted either.
    let said = found.table().and_then(|bytes| load::table(bytes, TABLE, &vocabulary()).ok()).map(|table| table.from);
    match said {
        Some(said) if said.as_deref() != from => Ok(read(said.as_deref())),
        _ => Ok(found),
    }
}

/// Accepts what is ours, if all that is new is ours: hook files that are as we write them; where nothing was accepted
/// before, the starter table too, and the programs that runs start, which the person installed. With `whole`, the caller
/// wrote everything that is here. Inside a run nothing is accepted.
pub fn own(
    repository: &Repository,
    store: &Store,
    program: &Path,
    environment: &Environment,
    whole: bool,
) -> Result<Outcome> {
    person::outside_of_runs("acceptance")?;
    let accepted = store.accepted()?;
    let closure = closure(repository, accepted.as_ref(), program, environment)?;
    let differences = difference::between(accepted.as_ref().map(|accepted| (store, accepted)), &closure);
    if differences.is_empty() {
        return Ok(Outcome::Accepted);
    }
    let survey = survey::survey(repository, program, environment)?;
    // Nobody has seen the programs of a repository that is new here; later another one is a change like any other.
    let is_first = accepted.is_none();
    let open: Vec<_> = differences
        .into_iter()
        .filter(|found| !whole && found.holds && !is_ours(found, &closure, &survey, repository, is_first))
        .collect();
    let table = closure.checked_table(&vocabulary()).ok().flatten();
    if open.is_empty() && closure.problem().is_none() && table.is_some_and(|table| table.from == closure.from) {
        store.accept(repository, &closure)?;
        return Ok(Outcome::Accepted);
    }
    Ok(Outcome::Open(open))
}

fn is_ours(
    found: &FileDifference,
    closure: &Closure,
    survey: &Survey,
    repository: &Repository,
    is_first: bool,
) -> bool {
    match found.kind {
        Kind::Table if !is_first => false,
        Kind::Table => closure.table().is_some_and(|bytes| Digest::of(bytes) == Digest::of(STARTER_TABLE)),
        // A directory that a commit can write to is not ours, whatever stands in it.
        Kind::Shim => {
            let is_current = |hook: &HookSurvey| hook.path == found.path && matches!(hook.state(), State::Current(_));
            survey.source.place != Place::Tracked && survey.hooks.iter().any(is_current)
        }
        Kind::Tool => is_first && !repository.worktree().is_some_and(|top| found.path.starts_with(top)),
        Kind::Instructions | Kind::Skill => false,
    }
}
