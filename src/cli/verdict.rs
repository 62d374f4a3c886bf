//! `approve` and `reject`: a person's word about a tree, for the gate before a push.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use super::ui::Ui;
use super::world::World;
use crate::clock::Timestamp;
use crate::error::{Context as _, Error, Result};
use crate::process;
use crate::store::{Filter, Store as _, Verdict};
use crate::text;

/// Approve a commit's tree, so that a gate lets it through
#[derive(Debug, clap::Args)]
pub struct ApproveArgs {
    /// The commit
    #[arg(default_value = "HEAD", value_name = "REV")]
    commit: String,
    /// Why, for the record
    #[arg(long, default_value = "")]
    why: String,
}

/// Reject a commit's tree, so that a gate holds it back
#[derive(Debug, clap::Args)]
pub struct RejectArgs {
    /// The commit
    #[arg(default_value = "HEAD", value_name = "REV")]
    commit: String,
    /// Why, for whoever is held back
    #[arg(long, required = true)]
    why: String,
}

/// Approves.
pub fn approve(ui: &mut Ui, args: &ApproveArgs) -> Result<ExitCode> {
    decide(ui, &args.commit, &args.why, true)
}

/// Rejects.
pub fn reject(ui: &mut Ui, args: &RejectArgs) -> Result<ExitCode> {
    decide(ui, &args.commit, &args.why, false)
}

fn decide(ui: &mut Ui, revision: &str, why: &str, approved: bool) -> Result<ExitCode> {
    if std::env::var_os(process::RUN_MARKER).is_some() {
        return Err(Error::refused("a run cannot decide about itself"));
    }
    let mut world = World::here()?;
    let id = world.repository.resolve(revision)?;
    let commit = world.repository.commit(&id)?;
    let subject = commit.message.lines().next().unwrap_or_default();
    ui.note(format!("{} {}", id.short(), text::one_line(subject)));
    for run in world.ledger.runs(&Filter { commit: Some(id.clone()), ..Filter::default() })? {
        super::progress::result(ui, &run)?;
    }
    if approved {
        // A verdict is a person's. A pipe (`yes |`) or an agent without a terminal cannot give one.
        if !io::stdin().is_terminal() {
            return Err(Error::refused("an approval needs a person at a terminal"));
        }
        write!(io::stderr(), "approve this tree? [y/N] ").ok();
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).context(|| "cannot read the answer")?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err(Error::refused("not approved"));
        }
    }
    let who = world.repository.committer_name().unwrap_or_else(|| "a person".to_owned());
    let verdict =
        Verdict { tree: commit.tree, commit: id.clone(), approved, who, why: why.to_owned(), at: Timestamp::now() };
    world.ledger.record_verdict(&verdict)?;
    let done = if approved { "approved" } else { "rejected" };
    ui.line(format!("{done} the tree of {}", id.short()))?;
    Ok(ExitCode::SUCCESS)
}
