//! Trust: nothing starts by rules that no person has accepted.
//!
//! What can change what runs is one closure ([`closure`]): the table, the instruction files that reach a prompt, the
//! skills that the repository puts in the place of ours, the hook files that call us, the programs that runs start. A
//! person accepts it as a whole; what they accepted lies outside the repository ([`store`]), with a copy of each file.
//! Runs are made of those copies. Where what is here differs from them ([`compare`]), events are recorded and nothing
//! begins.
//!
//! A hook parses the accepted table and no other. What the repository holds is only hashed before that.

pub mod closure;
pub mod compare;
pub mod difference;
pub mod held;
pub mod hook;
pub mod person;
pub mod record;
pub mod rules;
pub mod store;
mod version;

use std::path::{Path, PathBuf};

pub use self::closure::Closure;
pub use self::compare::{Difference, differences};
pub use self::record::{Accepted, Kind};
pub use self::rules::Rules;
pub use self::store::Store;
use crate::error::{Error, Result};
use crate::git::Repository;
use crate::process::Environment;
use crate::role;
use crate::runtime::registry;
use crate::text;
use crate::triggers::Vocabulary;

/// How the reason of what is held for trust alone begins.
pub const HELD: &str = "not trusted: ";

/// What a person types.
pub const COMMAND: &str = "git orchestrator trust";

/// Why nothing was ever accepted here, where nothing else is the matter.
const NEVER: &str = "nobody has accepted the rules of this repository";

/// How things stand.
#[derive(Debug)]
pub enum Standing {
    /// What is here is what a person accepted.
    Trusted(Accepted),
    /// Something was accepted, and what is here differs.
    Changed {
        /// What was accepted.
        accepted: Accepted,
        /// What differs; never empty.
        differences: Vec<Difference>,
    },
    /// Nothing is accepted that could be used; why, as a sentence.
    Unknown(String),
}

impl Standing {
    /// The word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Trusted(_) => "trusted",
            Self::Changed { .. } => "changed",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Why nothing may begin, as a sentence; `None` where it may.
    pub fn objection(&self) -> Option<String> {
        match self {
            Self::Trusted(_) => None,
            Self::Changed { differences, .. } => Some(compare::sentence(differences)),
            Self::Unknown(why) => Some(why.clone()),
        }
    }

    /// The same, as the error that a command ends with.
    pub fn refusal(&self) -> Option<Error> {
        let why = self.objection()?;
        Some(Error::untrusted(format!("not trusted: {why}")).hint(format!("`{COMMAND}` shows it and asks")))
    }
}

/// The reason of what is held because of this objection.
pub fn reason(objection: &str) -> String {
    format!("{HELD}{} · {COMMAND}", text::one_line(objection))
}

/// What was accepted for this repository, with the store that holds it. `Err` says why nothing of it can be used.
pub fn accepted(repository: &Repository) -> Result<(Store, Accepted), String> {
    let found = Store::of(repository).and_then(|store| Ok(store.accepted()?.map(|accepted| (store, accepted))));
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(NEVER.to_owned()),
        Err(error) => Err(error.chain()),
    }
}

/// How things stand for what happened in `worktree` (by default, where the repository was opened), programs included.
pub fn standing(repository: &Repository, worktree: Option<&Path>, environment: &Environment) -> Standing {
    let (_, accepted) = match accepted(repository) {
        Ok(found) => found,
        Err(why) => return Standing::Unknown(why),
    };
    // Another repository in the place of the one that was looked at.
    if accepted.root.as_ref().is_some_and(|root| !repository.has_commit(root)) {
        return Standing::Unknown("another repository is in the place of the one that was accepted".to_owned());
    }
    let rules = Rules::of(repository, worktree, accepted.from.as_deref());
    let mut differences = differences(&accepted, &rules, None);
    differences.extend(compare::tools(&accepted, &tools(environment)));
    if differences.is_empty() { Standing::Trusted(accepted) } else { Standing::Changed { accepted, differences } }
}

/// The words a table may use.
pub fn vocabulary() -> Vocabulary<'static> {
    Vocabulary { roles: role::NAMES, runtimes: registry::NAMES, contract: role::contract }
}

/// The programs that runs start, beside this one: a program that was replaced would not check itself.
pub fn tools(environment: &Environment) -> Vec<PathBuf> {
    registry::programs(environment)
}
