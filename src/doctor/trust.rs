//! Whether what is here was accepted, and whether acceptance can be kept.

use super::{Finding, Level, Place, Section, count};
use crate::git::Repository;
use crate::store::layout::Layout;
use crate::store::spool;
use crate::trust::{self, COMMAND, Kind, Standing, Store};

const SECTION: Section = Section::Trust;

/// `has_faulty_hooks`: something was said about the hooks, whose mending accepts them too.
pub(super) fn look(
    place: &Place<'_>,
    repository: &Repository,
    layout: &Layout,
    has_faulty_hooks: bool,
) -> Vec<Finding> {
    if let Err(error) = Store::of(repository).and_then(|store| store.accepted()) {
        let finding = Finding::of_error(SECTION, Level::Problem, "trust-unreadable", &error);
        return vec![finding.or_action(format!("`{COMMAND} --revoke`, then `{COMMAND}`"))];
    }
    let waiting = match spool::held_count(layout) {
        0 => String::new(),
        n => format!("; {} since then", if n == 1 { "1 event waits".to_owned() } else { format!("{n} events wait") }),
    };
    let finding = match trust::standing(repository, None, place.environment) {
        Standing::Trusted(accepted) => {
            let message = format!("{} as accepted on {}", count(accepted.parts.len(), "file"), accepted.at.date());
            return vec![Finding::new(SECTION, Level::Ok, "trusted", message)];
        }
        Standing::Changed { differences, .. }
            if has_faulty_hooks && differences.iter().all(|found| found.kind == Kind::Shim) =>
        {
            return Vec::new();
        }
        standing @ Standing::Changed { .. } => {
            let objection = standing.objection().unwrap_or_default();
            Finding::new(SECTION, Level::Problem, "trust-changed", format!("nothing starts: {objection}{waiting}"))
        }
        Standing::Unknown(why) => {
            Finding::new(SECTION, Level::Problem, "trust-unknown", format!("nothing starts: {why}{waiting}"))
        }
    };
    vec![finding.command(COMMAND)]
}
