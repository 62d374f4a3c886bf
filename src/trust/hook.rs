//! What a hook goes by: the accepted table, whatever lies in the worktree.

use super::compare::{differences, has_table, sentence};
use super::record::Kind;
use super::rules::Rules;
use super::{Standing, accepted};
use crate::git::Repository;

/// What a hook goes by.
#[derive(Debug)]
pub enum Basis {
    /// There is no table: nothing starts.
    None,
    /// The table here is the accepted one, and so is everything that a hook can tell.
    Trusted(Vec<u8>),
    /// Something was accepted, and what is here differs.
    Changed {
        /// The accepted table.
        table: Vec<u8>,
        /// What differs, as a sentence.
        objection: String,
        /// The table that lies here, where it is another one and can be read. It starts nothing; a gate in it closes.
        here: Option<Vec<u8>>,
    },
    /// Nothing is accepted that could be used.
    Unknown {
        /// Why, as a sentence.
        objection: String,
        /// The table that lies here, where it can be read. It starts nothing; a gate in it closes.
        here: Option<Vec<u8>>,
    },
}

impl Basis {
    /// The bytes by which a row may listen to a hook; `None` where nobody can say.
    pub fn listening(&self) -> Option<&[u8]> {
        match self {
            Self::None => Some(&[]),
            Self::Trusted(table) | Self::Changed { table, .. } => Some(table),
            // What was accepted may have listened to anything.
            Self::Unknown { objection, .. } if objection != super::NEVER => None,
            Self::Unknown { here, .. } => here.as_deref(),
        }
    }
}

/// What a hook of this repository goes by. Reads the record of what was accepted and the table, looks at the other files,
/// and opens those that do not look as they did. Parses nothing of the repository; never waits, starts no program.
pub fn basis(repository: &Repository) -> Basis {
    let found = accepted(repository);
    let from = found.as_ref().ok().and_then(|(_, accepted)| accepted.from.clone());
    let rules = Rules::of(repository, None, from.as_deref());
    let here = rules.table();
    let is_unreadable = here.is_err();
    let here = here.unwrap_or_default();
    if here.is_none() && !is_unreadable {
        return Basis::None;
    }
    let (store, accepted) = match found {
        Ok(found) => found,
        Err(objection) => return Basis::Unknown { objection, here },
    };
    let differences = differences(&accepted, &rules, here.as_deref());
    let is_another = has_table(&differences);
    match (differences.is_empty(), is_another, here) {
        (true, false, Some(table)) => Basis::Trusted(table),
        (false, false, Some(table)) => Basis::Changed { table, objection: sentence(&differences), here: None },
        (_, _, here) => {
            let copy = accepted.of_kind(Kind::Table).next().map(|part| store.bytes(part));
            match copy {
                Some(Ok(table)) => Basis::Changed { table, objection: sentence(&differences), here },
                Some(Err(error)) => Basis::Unknown { objection: error.chain(), here },
                None => Basis::Unknown { objection: "a closure without a table was accepted".to_owned(), here },
            }
        }
    }
}

/// The accepted table's bytes, whatever lies in the worktree.
pub fn accepted_table(repository: &Repository) -> Option<Vec<u8>> {
    let (store, accepted) = accepted(repository).ok()?;
    store.bytes(accepted.of_kind(Kind::Table).next()?).ok()
}

/// What a run is made of: the accepted copies. Made only while what is here is what was accepted.
#[derive(Clone, Debug)]
pub struct Copies {
    /// The table.
    pub table: Vec<u8>,
    /// What the project tells agents.
    pub instructions: Option<Vec<u8>>,
    /// The instructions of roles, where the repository puts its own in the place of ours.
    skills: Vec<(String, Vec<u8>)>,
}

impl Copies {
    /// Reads them.
    ///
    /// # Errors
    /// Why nothing may begin, as a sentence.
    pub fn read(repository: &Repository, standing: &Standing) -> Result<Self, String> {
        if let Some(objection) = standing.objection() {
            return Err(objection);
        }
        let (store, accepted) = accepted(repository)?;
        // Between the look and this somebody accepted something else: the next look says what holds.
        if !matches!(standing, Standing::Trusted(seen) if seen.digest() == accepted.digest()) {
            return Err("what is accepted was changed in this moment".to_owned());
        }
        let bytes = |kind: Kind| accepted.of_kind(kind).map(|part| (part, store.bytes(part)));
        let mut table = None;
        for (_, found) in bytes(Kind::Table) {
            table = Some(found.map_err(|error| error.chain())?);
        }
        let mut instructions = None;
        for (_, found) in bytes(Kind::Instructions) {
            instructions = Some(found.map_err(|error| error.chain())?);
        }
        let mut skills = Vec::new();
        for (part, found) in bytes(Kind::Skill) {
            let role = part.path.parent().and_then(|parent| parent.file_name()).and_then(|name| name.to_str());
            if let Some(role) = role {
                skills.push((role.to_owned(), found.map_err(|error| error.chain())?));
            }
        }
        let table = table.ok_or_else(|| super::NEVER.to_owned())?;
        Ok(Self { table, instructions, skills })
    }

    /// The instructions of this role, where they are not ours.
    pub fn skill(&self, role: &str) -> Option<&[u8]> {
        self.skills.iter().find(|(name, _)| name == role).map(|(_, bytes)| bytes.as_slice())
    }
}
