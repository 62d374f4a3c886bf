//! What `--fix` does: each kind of deed once, in an order in which later ones find what earlier ones made.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{Deed, Finding, Mend, Place, count};
use crate::error::{Context as _, Result};
use crate::git::{Repository, shown};
use crate::install;
use crate::store::layout::{DIRECTORY, Layout};
use crate::store::ledger::Ledger;
use crate::store::spool;
use crate::trust::Store;
use crate::worker::{self, lock};

pub(super) fn all(place: &Place<'_>, repository: &Repository, findings: &[Finding]) -> Vec<Deed> {
    let layout = Layout::new(&repository.home());
    let mut mends: Vec<&Mend> = Vec::new();
    for mend in findings.iter().filter_map(|finding| finding.mend.as_ref()) {
        if !mends.contains(&mend) {
            mends.push(mend);
        }
    }
    mends.sort_by_key(|mend| match mend {
        // A directory that may not be entered hides the ones below it.
        Mend::Permissions(path, _) => (0, path.components().count()),
        Mend::Directories => (1, 0),
        Mend::Install => (2, 0),
        Mend::Work => (3, 0),
    });
    mends.into_iter().flat_map(|mend| one(mend, place, repository, &layout)).collect()
}

fn one(mend: &Mend, place: &Place<'_>, repository: &Repository, layout: &Layout) -> Vec<Deed> {
    let deed = |what: String, done: Result<()>| vec![Deed { what, error: done.err().map(|error| error.chain()) }];
    match mend {
        Mend::Permissions(path, mode) => {
            let done = fs::set_permissions(path, fs::Permissions::from_mode(*mode))
                .context(|| format!("cannot change the mode of {}", shown(path)));
            deed(format!("gave {} mode {mode:o}", shown(path)), done)
        }
        Mend::Directories => deed(format!("made the directories of {DIRECTORY}"), layout.create()),
        Mend::Install => {
            let report = install::install(repository, &super::install_request(place), place.environment);
            let report = report.and_then(|report| accept(place, repository).map(|()| report));
            match report {
                Ok(report) => report
                    .actions
                    .iter()
                    .filter(|action| action.done != install::Done::Kept)
                    .map(|action| Deed { what: format!("set up {}", shown(&action.path)), error: None })
                    .collect(),
                Err(error) => deed("set up the hooks".to_owned(), Err(error)),
            }
        }
        Mend::Work => match work(place, repository, layout) {
            Ok(deeds) => deeds,
            Err(error) => deed("took in what hooks wrote".to_owned(), Err(error)),
        },
    }
}

/// Hook files that were just written anew are accepted where the ones before were. Nothing else is.
fn accept(place: &Place<'_>, repository: &Repository) -> Result<()> {
    let store = Store::of(repository)?;
    if store.accepted()?.is_some() {
        // What is left open is told by the next look.
        install::accept::own(repository, &store, place.own_program, place.environment, false)?;
    }
    Ok(())
}

fn work(place: &Place<'_>, repository: &Repository, layout: &Layout) -> Result<Vec<Deed>> {
    layout.create()?;
    layout.refuse_tracked(
        &Repository::discover(layout.home(), false).as_ref().unwrap_or(repository).names_at_head(DIRECTORY),
    )?;
    let mut deeds = Vec::new();
    let mut ledger = Ledger::open(&layout.ledger())?;
    let aside = spool::set_aside_count(layout);
    let taken_in = spool::drain(layout, &mut ledger)?;
    if taken_in > 0 {
        deeds.push(Deed { what: format!("took in {}", count(taken_in, "event")), error: None });
    }
    let aside = spool::set_aside_count(layout).saturating_sub(aside);
    if aside > 0 {
        deeds.push(Deed { what: format!("set {} aside", count(aside, "event")), error: None });
    }
    if worker::has_work(layout)? && lock::ensure_running(layout, place.own_program)? {
        deeds.push(Deed { what: "started a worker".to_owned(), error: None });
    }
    Ok(deeds)
}
