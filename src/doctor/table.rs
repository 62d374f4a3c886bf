//! triggers.yaml, as the hooks read it.

use super::{Finding, Level, Section, count};
use crate::dispatch::{TABLE, table_bytes, vocabulary};
use crate::git::Repository;
use crate::policy::Autonomy;
use crate::triggers::{Table, load};

const SECTION: Section = Section::Table;

pub(super) fn look(repository: &Repository) -> (Vec<Finding>, Option<Table>) {
    let bytes = match table_bytes(repository) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let message = format!("there is no {TABLE}: the hooks find nothing to do");
            let finding = Finding::new(SECTION, Level::Warning, "table-missing", message);
            return (vec![finding.command("git orchestrator install")], None);
        }
        Err(error) => {
            let finding = Finding::of_error(SECTION, Level::Problem, "table-unreadable", &error);
            return (vec![finding.or_action(format!("make {TABLE} a file that you can read"))], None);
        }
    };
    let table = match load::table(&bytes, TABLE, &vocabulary()) {
        Ok(table) => table,
        Err(error) => {
            let finding = Finding::new(SECTION, Level::Problem, "table-broken", error.chain());
            return (vec![finding.command("git orchestrator validate")], None);
        }
    };
    let mut findings = Vec::new();
    if table.triggers.is_empty() {
        let finding =
            Finding::new(SECTION, Level::Note, "table-empty", format!("{TABLE} holds no row: nothing starts"));
        findings
            .push(finding.action(format!(
                "write a row; the commented example is what `install` puts where there is no {TABLE}"
            )));
    }
    if table.policy.autonomy == Autonomy::Observe {
        let message = "`policy.autonomy` is `observe`: every run is held until a person releases it";
        findings.push(
            Finding::new(SECTION, Level::Note, "autonomy-observe", message)
                .action(format!("set `autonomy: suggest` or `draft` in {TABLE} to let runs begin by themselves")),
        );
    }
    for role in table.roles_not_listed() {
        let message = format!("`policy.roles` does not list `{role}`: its runs are held until a person releases them");
        findings.push(
            Finding::new(SECTION, Level::Note, "role-not-listed", message)
                .action(format!("add `{role}: {{}}` to `policy.roles` in {TABLE}")),
        );
    }
    if findings.is_empty() {
        let message = format!("{TABLE}: {}", count(table.triggers.len(), "row"));
        findings.push(Finding::new(SECTION, Level::Ok, "table-valid", message));
    }
    (findings, Some(table))
}
