//! The hook's hot path: what git did → the rows it matches → one durable file → a worker.
//!
//! Nothing here waits for a lock, opens the database, starts git or reads the working tree beyond the table; only a push
//! that a gate stands before asks the ledger. Whatever goes wrong, an observing hook says so in one line and git goes on.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use crate::clock::Timestamp;
use crate::error::{Context as _, Result};
use crate::event::{Detail, Hook};
use crate::files;
use crate::gate;
use crate::git::Repository;
use crate::observe::{self, Parts, Report};
use crate::policy::admission::Admission;
use crate::process;
use crate::role;
use crate::runtime::registry;
use crate::store::layout::Layout;
use crate::store::spool;
use crate::triggers::matching::Paths;
use crate::triggers::plan::{Plan, PlannedRow, Starts};
use crate::triggers::{Coalesce, Source, Table, Vocabulary, load};
use crate::worker::lock;

/// The table's file name, at the top of the worktree.
pub const TABLE: &str = load::FILE_NAME;

/// The largest table that is read, in bytes.
pub const TABLE_BYTES_MAX: u64 = load::MAX_BYTES;

/// Hooks that fire beside others which read the whole table: one that no row names costs next to nothing, and what is
/// wrong with the table is told by those others, once.
const ECHOES: [&str; 2] = ["post-checkout", "pre-merge-commit"];

/// What a hook did.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing to do.
    Nothing,
    /// Something was queued, or waits for a person.
    Queued(Notice),
    /// A gate is closed: the lines to say.
    Refused(Vec<String>),
}

/// What a hook has to say about what it queued. How it is said is the command's business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// For each commit.
    pub commits: Vec<Queued>,
    /// How many refs of a push were not looked at: [`observe::PARTS_MAX`] are.
    pub left_out: usize,
    /// The table wants nothing said where no person looks (`hook.quiet`).
    pub is_quiet: bool,
}

/// What was queued for one commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// The commit, abbreviated.
    pub commit: String,
    /// The roles that will run.
    pub admitted: Vec<String>,
    /// The roles that wait for a person.
    pub held: Vec<String>,
}

/// The bytes of the table that holds for this worktree: its own, or the main worktree's where it has none (a table that
/// is not committed yet, an older commit).
pub fn table_bytes(repository: &Repository) -> Result<Option<Vec<u8>>> {
    if let Some(top) = repository.worktree()
        && let Some(bytes) = files::read(&top.join(TABLE), TABLE_BYTES_MAX)?
    {
        return Ok(Some(bytes));
    }
    files::read(&repository.home().join(TABLE), TABLE_BYTES_MAX)
}

/// The words a table may use.
pub fn vocabulary() -> Vocabulary<'static> {
    Vocabulary { roles: role::NAMES, runtimes: registry::NAMES, contract: role::contract }
}

/// Whether a hook is to do nothing at all: inside a run of ours, or because a person said so.
pub fn is_silenced() -> bool {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    set(process::RUN_MARKER) || set("GIT_ORCHESTRATOR_SKIP")
}

/// Dispatches one call of a hook.
pub fn dispatch(hook: Hook, arguments: &[OsString], stdin: &mut dyn io::Read, own_program: &Path) -> Result<Outcome> {
    let here = env::current_dir().context(|| "cannot tell the current directory")?;
    let repository = Repository::discover(&here, true)?;
    let layout = Layout::new(&repository.home());
    let bytes = table_bytes(&repository)?;
    // A push may meet a gate of a committed table, whatever the worktree holds.
    if bytes.is_none() && hook != Hook::PrePush {
        return Ok(Outcome::Nothing);
    }
    if ECHOES.contains(&hook.as_str()) && bytes.as_ref().is_some_and(|bytes| !load::may_name(bytes, hook.as_str())) {
        return Ok(Outcome::Nothing);
    }
    // Before the table is read: a step of a rebase is no event, and there may be a hundred of them.
    let report = observe::observe(hook, arguments, stdin, &repository, Timestamp::now())?;
    if matches!(report, Report::Nothing) {
        return Ok(Outcome::Nothing);
    }
    let vocabulary = vocabulary();
    let table = bytes.map(|bytes| load::table(&bytes, TABLE, &vocabulary)).transpose()?;
    let refusal = match &report {
        Report::Push(push) if hook == Hook::PrePush => {
            gate::ask(table.as_ref(), push, &repository, &layout, &vocabulary)?
        }
        Report::Push(_) | Report::Event(_) | Report::Nothing => None,
    };
    let Some(table) = table else { return Ok(refusal.map_or(Outcome::Nothing, Outcome::Refused)) };
    let parts = match report {
        Report::Event(event) => Parts { events: vec![*event], left_out: 0 },
        // A search of the history for each ref: not where nobody listens.
        Report::Push(push) if table.starts_on(hook) => push.events(&repository)?,
        Report::Push(_) | Report::Nothing => Parts::default(),
    };
    let mut plans = Vec::new();
    for event in parts.events {
        let change = event.change.clone();
        let mut paths = Paths::walked(|visitor| match &change {
            Some(change) => repository.visit_changed_paths(change, visitor),
            None => Ok(()),
        });
        plans.extend(Plan::of(&table, event, &vocabulary, &mut paths)?);
    }
    if !plans.is_empty() {
        // Also after `git clean -fdx`, which takes the directory away: the shim that called us is still there.
        layout.create()?;
        for plan in &plans {
            spool::write(&layout, plan)?;
        }
        // From here on nothing is lost: if the worker cannot be started, the next hook or command does it.
        lock::ensure_running(&layout, own_program)?;
    }
    let commits: Vec<Queued> =
        plans.iter().map(|plan| queued(plan, &table)).filter(|queued| *queued != Queued::default()).collect();
    let is_silent = commits.is_empty() && parts.left_out == 0;
    let said = (!is_silent).then_some(Notice { commits, left_out: parts.left_out, is_quiet: table.hook.quiet });
    Ok(match (refusal, said) {
        (Some(lines), _) => Outcome::Refused(lines),
        (None, Some(notice)) => Outcome::Queued(notice),
        (None, None) => Outcome::Nothing,
    })
}

/// What this plan starts at once, as far as it was not said yet; the default where all of it was.
fn queued(plan: &Plan, table: &Table) -> Queued {
    let roles = |held: bool| -> Vec<String> {
        let rows = plan.rows.iter().filter(|row| row.starts == Starts::Now && is_held(row) == held);
        rows.filter(|row| !is_said_before(plan, row, table)).map(|row| row.role.clone()).collect()
    };
    let (admitted, held) = (roles(false), roles(true));
    if admitted.is_empty() && held.is_empty() {
        return Queued::default();
    }
    let commit = plan.event.commit().map_or("", |commit| commit.short()).to_owned();
    Queued { commit, admitted, held }
}

/// Whether the hook before this one has said it: an amend is a commit first, of the same change, and both are one run.
fn is_said_before(plan: &Plan, row: &PlannedRow, table: &Table) -> bool {
    let is_amend = matches!(&plan.event.detail, Detail::Rewrite { command, .. } if command == "amend");
    is_amend
        && row.coalesce != Coalesce::None
        && table.triggers.iter().any(|own| own.name == row.trigger && own.on.contains(&Source::Hook(Hook::PostCommit)))
}

fn is_held(row: &PlannedRow) -> bool {
    matches!(row.admission, Admission::Held { .. })
}

/// Whether the word is a hook's name that `install` sets up.
pub fn hook_named(name: &OsStr) -> Option<Hook> {
    name.to_str().and_then(Hook::parse)
}
