//! The hook's hot path: what git did → the rows it matches → one durable file → a worker.
//!
//! Nothing here waits for a lock, opens the database, starts git or reads the working tree beyond the table and what does
//! not look as it was accepted; only a push that a gate stands before asks the ledger. Rows are those of the accepted
//! table, and where that is not what lies here, what they start is held. Whatever goes wrong, an observing hook says so in one line and git goes on.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use crate::ceiling;
use crate::clock::Timestamp;
use crate::error::{Context as _, Error, Result};
use crate::event::{Detail, Event, Hook};
use crate::files;
use crate::gate;
use crate::git::Repository;
use crate::observe::{self, Parts, Report};
use crate::policy::admission::Admission;
use crate::process;
use crate::store::layout::Layout;
use crate::store::spool;
use crate::triggers::matching::Paths;
use crate::triggers::plan::{Plan, PlannedRow, Starts};
use crate::triggers::{Coalesce, Source, Table, Vocabulary, load};
use crate::trust;
use crate::trust::hook::Basis;
pub use crate::trust::vocabulary;
use crate::worker::{deeds, lock, own};

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
    /// Why nothing begins of what is held for want of trust.
    pub objection: Option<String>,
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

/// Whether a hook is to do nothing at all, because a person said so.
pub fn is_silenced() -> bool {
    is_set("GIT_ORCHESTRATOR_SKIP")
}

/// Whether the environment says that this is the inside of a run: a hook starts nothing there, and says nothing.
pub fn is_inside_a_run() -> bool {
    is_set(process::RUN_MARKER)
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Dispatches one call of a hook.
pub fn dispatch(hook: Hook, arguments: &[OsString], stdin: &mut dyn io::Read, own_program: &Path) -> Result<Outcome> {
    let here = env::current_dir().context(|| "cannot tell the current directory")?;
    let repository = Repository::discover(&here, true)?;
    let layout = Layout::new(&repository.home());
    let basis = trust::hook::basis(&repository);
    // A push may meet a gate of a committed table, whatever the worktree holds.
    if matches!(basis, Basis::None) && hook != Hook::PrePush {
        return Ok(Outcome::Nothing);
    }
    let may_listen = basis.listening().is_none_or(|bytes| load::may_name(bytes, hook.as_str()));
    if ECHOES.contains(&hook.as_str()) && !may_listen {
        return Ok(Outcome::Nothing);
    }
    // Before the table is read: a step of a rebase is no event, and there may be a hundred of them.
    let report = observe::observe(hook, arguments, stdin, &repository, Timestamp::now())?;
    if matches!(report, Report::Nothing) {
        return Ok(Outcome::Nothing);
    }
    let vocabulary = vocabulary();
    let Tables { accepted, mut beside, objection } =
        Tables::of(basis, hook, || trust::hook::accepted_table(&repository), &vocabulary)?;
    let refusal = match &report {
        Report::Push(push) if hook == Hook::PrePush => {
            beside.extend(accepted.clone());
            gate::ask(&beside, push, &repository, &layout, &vocabulary, || own::inside(&repository, &layout))?
        }
        Report::Push(_) | Report::Event(_) | Report::Nothing => None,
    };
    if let Report::Push(push) = &report
        && hook == Hook::PrePush
        && refusal.is_none()
        && layout.exists()
        && (is_inside_a_run() || own::is_our_own(&repository, &layout))
    {
        remembered(deeds::remember_push(&layout, push.refs()));
    }
    let is_waited_for = match &accepted {
        _ if is_inside_a_run() => false,
        Some(table) => table.starts_on(hook),
        None => objection.is_some() && may_listen,
    };
    let parts = match report {
        Report::Event(event) => Parts { events: vec![*event], left_out: 0 },
        // A search of the history for each ref: not where nobody listens.
        Report::Push(push) if is_waited_for => push.events(&repository)?,
        Report::Push(_) | Report::Nothing => Parts::default(),
    };
    let said = match accepted {
        Some(table) => start(parts, &table, objection, repository, &layout, own_program)?,
        None => match objection.filter(|_| is_waited_for) {
            Some(objection) => hold(parts, objection, &repository, &layout)?,
            None => None,
        },
    };
    Ok(match (refusal, said) {
        (Some(lines), _) => Outcome::Refused(lines),
        (None, Some(notice)) => Outcome::Queued(notice),
        (None, None) => Outcome::Nothing,
    })
}

/// The tables that a hook asks.
struct Tables {
    /// The one that says what starts.
    accepted: Option<Table>,
    /// Others whose gates are asked.
    beside: Vec<Table>,
    /// Why nothing may begin.
    objection: Option<String>,
}

impl Tables {
    fn of(
        basis: Basis,
        hook: Hook,
        accepted_table: impl FnOnce() -> Option<Vec<u8>>,
        vocabulary: &Vocabulary<'_>,
    ) -> Result<Self> {
        let load = |bytes: &[u8]| load::table(bytes, TABLE, vocabulary);
        // What lies here says nothing about what starts, and a gate of it can only say no.
        let gates = |here: Option<Vec<u8>>| match here.filter(|_| hook == Hook::PrePush) {
            None => Ok(Vec::new()),
            Some(bytes) => match load(&bytes) {
                Ok(table) => Ok(vec![table]),
                Err(error) if load::may_name(&bytes, "gate") => {
                    Err(Error::refused(format!("the {TABLE} here may hold a gate and does not load")).because(error))
                }
                Err(_) => Ok(Vec::new()),
            },
        };
        Ok(match basis {
            Basis::None => Self { accepted: None, beside: gates(accepted_table())?, objection: None },
            Basis::Trusted(table) => Self { accepted: Some(load(&table)?), beside: Vec::new(), objection: None },
            Basis::Changed { table, objection, here } => {
                Self { accepted: Some(load(&table)?), beside: gates(here)?, objection: Some(objection) }
            }
            Basis::Unknown { objection, here } => {
                Self { accepted: None, beside: gates(here)?, objection: Some(objection) }
            }
        })
    }
}

/// Looks the rows up and makes what they start durable; held, where there is an objection.
fn start(
    parts: Parts,
    table: &Table,
    objection: Option<String>,
    repository: Repository,
    layout: &Layout,
    own_program: &Path,
) -> Result<Option<Notice>> {
    let mut plans = Vec::new();
    for event in parts.events {
        let change = event.change.clone();
        let mut paths = Paths::walked(|visitor| match &change {
            Some(change) => repository.visit_changed_paths(change, visitor),
            None => Ok(()),
        });
        plans.extend(Plan::of(table, event, &vocabulary(), &mut paths)?);
    }
    if let Some(objection) = &objection {
        for plan in &mut plans {
            plan.hold(&trust::reason(objection));
        }
    }
    plans.retain({
        let is_a_run_s = is_a_run_s(!plans.is_empty(), &repository, layout);
        move |plan| !is_a_run_s(&plan.event)
    });
    // Nothing of git is read from here on: what its packs take of the memory goes before the rest of the program comes.
    drop(repository);
    if !plans.is_empty() {
        ceiling::apply(&mut plans, &vocabulary(), false);
        // Also after `git clean -fdx`, which takes the directory away: the shim that called us is still there.
        layout.create()?;
        for plan in &plans {
            spool::write(layout, plan)?;
        }
        // From here on nothing is lost: if the worker cannot be started, the next hook or command does it.
        lock::ensure_running(layout, own_program)?;
    }
    let commits: Vec<Queued> =
        plans.iter().map(|plan| queued(plan, table)).filter(|queued| *queued != Queued::default()).collect();
    let is_silent = commits.is_empty() && parts.left_out == 0;
    Ok((!is_silent).then_some(Notice {
        commits,
        left_out: parts.left_out,
        // What a person has to do something about is no notice that a table may keep from them.
        is_quiet: table.hook.quiet && objection.is_none(),
        objection,
    }))
}

/// Whether an event is a run's own doing, which starts nothing. `is_asked`: there is something that would start.
fn is_a_run_s<'a>(is_asked: bool, repository: &Repository, layout: &'a Layout) -> impl Fn(&Event) -> bool + 'a {
    let is_ours = is_asked && own::is_our_own(repository, layout);
    move |event| {
        if is_ours {
            remembered(deeds::remember(layout, event));
        }
        is_ours || deeds::is_one(layout, event)
    }
}

/// In a run's sandbox nothing can be written here, and the worker looks for itself what the run did.
fn remembered(done: Result<()>) {
    if let Err(error) = done {
        tracing::debug!(error = %error.chain(), "what a run did is not written down");
    }
}

/// Writes down what a hook inside a run reports, so that nothing starts by it where no other guard looks.
pub fn remember(hook: Hook, arguments: &[OsString], stdin: &mut dyn io::Read) -> Result<()> {
    let here = env::current_dir().context(|| "cannot tell the current directory")?;
    let repository = Repository::discover(&here, true)?;
    let layout = Layout::new(&repository.home());
    if !layout.exists() {
        return Ok(());
    }
    match observe::observe(hook, arguments, stdin, &repository, Timestamp::now())? {
        Report::Event(event) => deeds::remember(&layout, &event),
        Report::Push(_) | Report::Nothing => Ok(()),
    }
}

/// Makes events durable where no table is accepted: which rows they match is looked up once one is.
fn hold(parts: Parts, objection: String, repository: &Repository, layout: &Layout) -> Result<Option<Notice>> {
    let mut events = parts.events;
    // What changes nothing (a branch is deleted) starts nothing by any table.
    events.retain(|event| event.change.is_some());
    let is_a_run_s = is_a_run_s(!events.is_empty(), repository, layout);
    events.retain(|event| !is_a_run_s(event));
    if events.is_empty() {
        return Ok(None);
    }
    layout.create()?;
    for event in &events {
        spool::hold(layout, event)?;
    }
    let one = |event: &Event| Queued {
        commit: event.commit().map_or("", |commit| commit.short()).to_owned(),
        admitted: Vec::new(),
        held: vec!["all rows".to_owned()],
    };
    let commits = events.iter().map(one).collect();
    Ok(Some(Notice { commits, left_out: parts.left_out, is_quiet: false, objection: Some(objection) }))
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
