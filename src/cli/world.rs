//! What most commands need: the repository, its ledger brought up to date, and a worker if there is work.

use std::env;
use std::path::{Path, PathBuf};

use crate::dispatch;
use crate::error::{Context as _, Error, Result};
use crate::git::Repository;
use crate::ids::{Oid, RunId};
use crate::store::layout::{DIRECTORY, Layout};
use crate::store::ledger::Ledger;
use crate::store::{Filter, Run, Store as _, spool};
use crate::{process, worker};

/// The repository at hand.
pub struct World {
    /// The repository.
    pub repository: Repository,
    /// Its paths.
    pub layout: Layout,
    /// Its ledger, with everything taken in that hooks wrote.
    pub ledger: Ledger,
}

/// What a person names: a run or a commit.
pub enum Named {
    /// One run.
    Run(Box<Run>),
    /// The runs of one commit, newest first.
    Commit(Oid, Vec<Run>),
}

impl World {
    /// The repository around the current directory, where `install` has been.
    pub fn here() -> Result<Self> {
        let repository = repository_here()?;
        let layout = Layout::new(&repository.home());
        if !layout.exists() {
            return Err(Error::not_found(format!("git-orchestrator is not installed in {}", layout.home().display()))
                .hint("run `git orchestrator install`"));
        }
        layout.create()?;
        layout.refuse_tracked(&Repository::discover(layout.home(), false)?.names_at_head(DIRECTORY))?;
        // Before anything is taken in: the ledger keeps no secret.
        let environment = process::clean_environment();
        if spool::is_empty(&layout)? {
            worker::secrets::learn(&environment);
        } else {
            worker::secrets::learn_all(&repository, &environment)?;
        }
        let mut ledger = Ledger::open(&layout.ledger())?;
        spool::drain(&layout, &mut ledger)?;
        ledger.expire_questions(crate::clock::Timestamp::now())?;
        Ok(Self { repository, layout, ledger })
    }

    /// The living worker's pid. If none lives though there is work, one is started: see `worker::lock`.
    pub fn worker(&self) -> Result<Option<u32>> {
        let living = worker::lock::living_worker(&self.layout)?;
        if living.is_none() && worker::has_work(&self.layout)? {
            worker::lock::ensure_running(&self.layout, &own_program()?)?;
            return worker::lock::living_worker(&self.layout);
        }
        Ok(living)
    }

    /// The run a person names: by id, by its first or last digits.
    pub fn run(&self, typed: &str) -> Result<Run> {
        match self.ledger.find(typed, 2)?.as_slice() {
            [] => Err(Error::not_found(format!("there is no run `{}`", crate::text::one_line(typed)))
                .hint("`git orchestrator status` lists them")),
            [id] => Ok(self.ledger.run(*id)?),
            [..] => Err(Error::usage(format!("`{}` names more than one run", crate::text::one_line(typed)))
                .hint("type more digits; `git orchestrator status --json` has the whole ids")),
        }
    }

    /// The run, or the commit, that a person names. Runs come first: their ids are what `status` shows.
    pub fn named(&self, typed: &str) -> Result<Named> {
        match self.run(typed) {
            Ok(run) => Ok(Named::Run(Box::new(run))),
            Err(no_run) => {
                let Ok(commit) = self.repository.resolve(typed) else { return Err(no_run) };
                let runs = self.ledger.runs(&Filter { commit: Some(commit.clone()), ..Filter::default() })?;
                Ok(Named::Commit(commit, runs))
            }
        }
    }

    /// The newest run.
    pub fn newest(&self) -> Result<Run> {
        let runs = self.ledger.runs(&Filter { limit: Some(1), ..Filter::default() })?;
        runs.into_iter().next().ok_or_else(|| {
            Error::not_found("nothing has run yet").hint("commit something that a row of triggers.yaml matches")
        })
    }

    /// The directory of a run.
    pub fn run_directory(&self, run: &Run) -> PathBuf {
        self.layout.run(run.id, run.created_at)
    }

    /// The run as it stands now.
    pub fn reload(&self, id: RunId) -> Result<Run> {
        Ok(self.ledger.run(id)?)
    }
}

/// The repository around the current directory.
pub fn repository_here() -> Result<Repository> {
    let here = env::current_dir().context(|| "cannot tell the current directory")?;
    Repository::discover(&here, true)
}

/// This program's own file, links resolved: what shims call and what workers are started from.
pub fn own_program() -> Result<PathBuf> {
    let program = env::current_exe().context(|| "cannot tell where this program lies")?;
    Ok(program.canonicalize().unwrap_or(program))
}

/// The table that holds here, as bytes.
pub fn table_bytes(repository: &Repository) -> Result<Vec<u8>> {
    dispatch::table_bytes(repository)?.ok_or_else(|| {
        let place = repository.worktree().map_or_else(|| repository.home(), Path::to_owned);
        Error::not_found(format!("there is no {} in {}", dispatch::TABLE, place.display()))
            .hint("`git orchestrator install` writes one to begin with")
    })
}
