//! `trust`: a person accepts what can change what runs here.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::ui::{BOLD, DIM, GREEN, RED, Ui, YELLOW};
use super::world::{self, World};
use crate::artifact;
use crate::error::{Error, Kind as Who, Result};
use crate::git::{Repository, shown};
use crate::install::accept;
use crate::process;
use crate::store::layout::Layout;
use crate::store::spool;
use crate::text;
use crate::trust::compare::Change;
use crate::trust::difference::{self, FileDifference};
use crate::trust::held::{self, Released};
use crate::trust::person::{self, Terminal};
use crate::trust::{Accepted, Closure, Kind, Store, vocabulary};

/// Show what can change what runs here, and accept it
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show what is not accepted, and ask nothing; exit code 4 if there is any
    #[arg(long, conflicts_with = "revoke")]
    diff: bool,
    /// Forget what was accepted: nothing starts here any more
    #[arg(long)]
    revoke: bool,
    /// Print JSON, with --diff
    #[arg(long, requires = "diff")]
    json: bool,
}

/// What is at hand: read once, so that what is shown is what is accepted.
pub(super) struct Hand {
    pub(super) repository: Repository,
    store: Store,
    accepted: Option<Accepted>,
    /// Why what was accepted cannot be used.
    damage: Option<Error>,
    closure: Closure,
    differences: Vec<FileDifference>,
}

impl Hand {
    /// Reads it.
    pub(super) fn read(repository: Repository) -> Result<Self> {
        let environment = process::clean_environment();
        let program = world::own_program()?;
        let store = Store::of(&repository)?;
        let (accepted, damage) = match store.accepted() {
            Ok(accepted) => (accepted, None),
            Err(error) => (None, Some(error)),
        };
        let closure = accept::closure(&repository, accepted.as_ref(), &program, &environment)?;
        let before = accepted.as_ref().map(|accepted| (&store, accepted));
        let differences = difference::between(before, &closure);
        Ok(Self { repository, store, accepted, damage, closure, differences })
    }

    /// Whether anything is held for want of acceptance.
    fn is_open(&self) -> bool {
        self.accepted.is_none() || self.differences.iter().any(|found| found.holds)
    }

    fn word(&self) -> &'static str {
        match (&self.accepted, self.is_open()) {
            (None, _) => "unknown",
            (Some(_), true) => "changed",
            (Some(_), false) => "trusted",
        }
    }

    /// Shows what is to be accepted and asks for it on the terminal. Accepts exactly what was shown.
    pub(super) fn ask(&self, ui: &mut Ui) -> Result<()> {
        if let Some(problem) = self.closure.problem() {
            self.show(ui)?;
            return Err(problem);
        }
        let mut terminal = Terminal::open("acceptance")?;
        self.show(ui)?;
        if self.closure.checked_table(&vocabulary())?.is_none() {
            return Err(no_table(&self.repository));
        }
        let digest = self.closure.digest();
        ui.line("")?;
        for found in &self.differences {
            ui.line(summary(found))?;
        }
        if self.accepted.is_some() && self.differences.iter().all(|found| found.kind == Kind::Tool) {
            ui.line("only the program changed: what the repository says is as you accepted it")?;
        }
        let question = format!("accept exactly this? type {} and enter: ", digest.short());
        if terminal.ask(&question)? != digest.short() {
            return Err(Error::refused("not accepted: nothing was changed"));
        }
        self.store.accept(&self.repository, &self.closure)?;
        Ok(())
    }

    fn show(&self, ui: &mut Ui) -> Result<()> {
        if let Some(damage) = &self.damage {
            ui.note(format!(
                "{YELLOW}note{YELLOW:#}: what was accepted cannot be used: {}",
                text::shown(&damage.chain())
            ));
        }
        for found in &self.differences {
            ui.line("")?;
            for line in found.text.lines() {
                // Escaped where it was made.
                match line.as_bytes().first() {
                    Some(b'+') => ui.line(format!("{GREEN}{line}{GREEN:#}"))?,
                    Some(b'-') => ui.line(format!("{RED}{line}{RED:#}"))?,
                    Some(b'@') => ui.line(format!("{DIM}{line}{DIM:#}"))?,
                    Some(b' ' | b'\\') | None => ui.line(line)?,
                    Some(_) => ui.line(format!("{BOLD}{line}{BOLD:#}"))?,
                }
            }
        }
        Ok(())
    }
}

/// Shows, asks, accepts.
pub fn execute(ui: &mut Ui, args: &Args) -> Result<ExitCode> {
    let repository = world::repository_here()?;
    if args.revoke {
        person::outside_of_runs("acceptance")?;
        return revoke(ui, &repository);
    }
    if args.diff {
        return diff(ui, args.json, &Hand::read(repository)?);
    }
    person::outside_of_runs("acceptance")?;
    let hand = Hand::read(repository)?;
    if hand.closure.table().is_none() && hand.closure.problems.is_empty() {
        return Err(no_table(&hand.repository));
    }
    // What holds nothing is written down all the same: hook files that are gone.
    if hand.is_open() || !hand.differences.is_empty() {
        hand.ask(ui)?;
        ui.line(format!("{GREEN}accepted{GREEN:#} · runs are made of this, whatever is written here from now on"))?;
    } else {
        // A person's word as well: what waited goes on.
        Terminal::open("acceptance")?;
        ui.line("everything here is as it was accepted")?;
    }
    go_on(ui, &hand)?;
    Ok(ExitCode::SUCCESS)
}

/// Lets go on what waited for acceptance, and says so.
pub(super) fn go_on(ui: &mut Ui, hand: &Hand) -> Result<()> {
    let layout = Layout::new(&hand.repository.home());
    if !layout.exists() {
        ui.line(format!("{DIM}next: git orchestrator install{DIM:#}"))?;
        return Ok(());
    }
    if !layout.ledger().exists() && spool::held_count(&layout) == 0 && spool::is_empty(&layout)? {
        return Ok(());
    }
    let Some(table) = hand.closure.checked_table(&vocabulary())? else { return Ok(()) };
    let mut world = World::here()?;
    let released = held::release(&mut world.ledger, &world.layout, &world.repository, &table, &vocabulary())?;
    artifact::refresh_inbox(&world.layout, &world.ledger)?;
    world.worker()?;
    say(ui, &released)
}

fn say(ui: &mut Ui, released: &Released) -> Result<()> {
    let Released { events, runs, replaced, failed } = released;
    let mut said = Vec::new();
    for (n, one, many) in [
        (*runs, "held run goes on", "held runs go on"),
        (
            *replaced,
            "held run is replaced by what the table says now",
            "held runs are replaced by what the table says now",
        ),
        (*events, "event that waited was looked up", "events that waited were looked up"),
    ] {
        match n {
            0 => {}
            1 => said.push(format!("1 {one}")),
            n => said.push(format!("{n} {many}")),
        }
    }
    for failed in failed {
        ui.note(format!("{YELLOW}note{YELLOW:#}: an event could not be looked up: {}", text::one_line(failed)));
    }
    if said.is_empty() {
        return Ok(());
    }
    ui.line(format!("{} · git orchestrator status", said.join(" · ")))
}

fn diff(ui: &mut Ui, as_json: bool, hand: &Hand) -> Result<ExitCode> {
    let is_open = hand.is_open() && hand.closure.table().is_some() || hand.differences.iter().any(|found| found.holds);
    if as_json {
        ui.json(&json!({
            "schema": super::json::SCHEMA,
            "state": hand.word(),
            "digest": hand.closure.digest(),
            "accepted": hand.accepted.as_ref().map(Accepted::digest),
            "accepted_at": hand.accepted.as_ref().map(|accepted| accepted.at),
            "from": hand.closure.from,
            "held_events": spool::held_count(&Layout::new(&hand.repository.home())),
            "files": hand.differences,
        }))?;
    } else {
        hand.show(ui)?;
        if let Some(problem) = hand.closure.problem() {
            ui.note(format!("{YELLOW}note{YELLOW:#}: {}", text::one_line(&problem.chain())));
        } else if is_open {
            ui.note(format!("{DIM}`git orchestrator trust` asks whether to accept it{DIM:#}"));
        } else {
            ui.note("nothing is to be accepted");
        }
    }
    Ok(ExitCode::from(if is_open { Who::Untrusted.exit_code() } else { 0 }))
}

fn revoke(ui: &mut Ui, repository: &Repository) -> Result<ExitCode> {
    let had = Store::of(repository)?.revoke()?;
    let done = if had {
        "forgotten: nothing starts here until somebody accepts it again"
    } else {
        "nothing was accepted here"
    };
    ui.line(format!("{done} · git orchestrator trust"))?;
    Ok(ExitCode::SUCCESS)
}

fn no_table(repository: &Repository) -> Error {
    let place: PathBuf = repository.worktree().map_or_else(|| repository.home(), PathBuf::from);
    Error::not_found(format!("there is no {} in {}: nothing starts", crate::dispatch::TABLE, shown(&place))).hint(
        "`git orchestrator install` writes one to begin with; `git orchestrator trust --revoke` forgets the old one",
    )
}

/// One line for a file: shown once more below long diffs.
fn summary(found: &FileDifference) -> String {
    let what = match &found.change {
        Change::Added => "new",
        Change::Removed => "gone",
        Change::Content => "changed",
        Change::Mode => "another mode",
        Change::Unreadable(_) => "unreadable",
    };
    let lines = match (found.added, found.removed) {
        (0, 0) => found.versions.as_ref().map_or_else(String::new, |versions| format!("  {versions}")),
        (added, removed) => format!("  {DIM}+{added} -{removed}{DIM:#}"),
    };
    format!("  {YELLOW}{what:<12}{YELLOW:#} {:<12} {}{lines}", found.kind.as_str(), shown(&found.path))
}
