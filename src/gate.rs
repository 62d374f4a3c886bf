//! The gate before a push: the named roles' results for exactly this tree, and a person's word about it.
//!
//! The one place where a hook may say no. It asks the ledger and nothing else; if the ledger cannot be asked, the
//! answer is no. A verdict belongs to a tree: another commit of the same tree keeps it, any changed byte drops it.

use crate::ids::Oid;
use crate::run::State;
use crate::store::{Store, StoreError};
use crate::triggers::matching::GateRow;

/// What is about to be pushed, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The ref on the other side, escaped.
    pub reference: String,
    /// The commit.
    pub commit: Oid,
    /// Its tree.
    pub tree: Oid,
}

/// Why a gate is closed, as sentences; empty if it is open.
pub fn objections(store: &dyn Store, gate: &GateRow, subject: &Subject) -> Result<Vec<String>, StoreError> {
    let mut objections = Vec::new();
    let commit = subject.commit.short();
    for role in &gate.requires {
        let objection = match store.result_for_tree(&subject.tree, role)? {
            None => Some(format!("{role} has not looked at it · git orchestrator run {role} --commit {commit}")),
            Some(run) if run.state == State::Succeeded => None,
            Some(run) => {
                let id = run.id.short();
                let next = if run.state.is_terminal() { format!("show {id}") } else { format!("wait {id}") };
                Some(format!("{role} is {} · git orchestrator {next}", run.state))
            }
        };
        objections.extend(objection);
    }
    match store.verdict(&subject.tree)? {
        Some(verdict) if verdict.approved => {}
        Some(verdict) => {
            let why = if verdict.why.is_empty() { String::new() } else { format!(": {}", verdict.why) };
            objections.push(format!("{} rejected it{why}", verdict.who));
        }
        None => objections.push(format!("nobody has approved it · git orchestrator approve {commit}")),
    }
    Ok(objections)
}
