//! The one line in which a hook says what it queued.
//!
//! It stands among git's own output, so it is one line of the terminal at most, and without colour wherever something
//! but a terminal reads it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};

use super::ui::{DIM, WIDTH_DEFAULT, YELLOW};
use crate::dispatch::{Notice, Queued};
use crate::text;

/// How the line begins.
const NAME: &str = "git-orchestrator: ";

/// How it ends: what to type.
const NEXT: &str = " · git orchestrator status";

/// And where nothing begins for want of trust.
const NEXT_TRUST: &str = " · git orchestrator trust";

/// Whether a person wants no word of a hook.
pub fn is_quiet() -> bool {
    std::env::var_os("GIT_ORCHESTRATOR_QUIET").is_some_and(|value| !value.is_empty() && value != "0")
}

/// Says it on standard error, if anybody wants to hear it. That nobody can is no reason to fail.
pub fn say(notice: &Notice) {
    let stderr = io::stderr();
    let is_terminal = stderr.is_terminal();
    if is_quiet() || notice.is_quiet && !is_terminal {
        return;
    }
    let columns = rustix::termios::tcgetwinsize(&stderr).ok().map(|size| usize::from(size.ws_col));
    let width = columns.filter(|columns| *columns > 0).unwrap_or(WIDTH_DEFAULT);
    let choice = if is_terminal { AutoStream::choice(&stderr) } else { ColorChoice::Never };
    writeln!(AutoStream::new(stderr, choice), "{}", line(notice, width)).ok();
}

/// The line, with styles: every role if they fit into `width` columns, else a few and how many more there are.
fn line(notice: &Notice, width: usize) -> String {
    let commits = notice.commits.as_slice();
    let longest = commits.iter().map(|queued| queued.admitted.len().max(queued.held.len())).max().unwrap_or_default();
    // From all of everything to one role of one commit.
    let longest = longest.max(1);
    let sizes = (1..=longest).rev().map(|roles| (commits.len(), roles));
    let sizes = sizes.chain((1..commits.len()).rev().map(|commits| (commits, 1)));
    let next = if notice.objection.is_some() { NEXT_TRUST } else { NEXT };
    let why = notice.objection.as_ref().map_or_else(String::new, |why| format!(": {}", text::one_line(why)));
    for (shown, roles) in sizes {
        // Why, if there is room for it; what to type says it too.
        for why in [why.as_str(), ""] {
            let said = said(notice, shown, roles);
            if columns(&said) + columns(why) + columns(NAME) + columns(next) <= width {
                return format!("{NAME}{said}{why}{DIM}{next}{DIM:#}");
            }
        }
    }
    // A very narrow terminal: what was queued says more than what to type.
    let plain = format!("{NAME}{}", anstream::adapter::strip_str(&said(notice, 1, 1)));
    text::clipped(&plain, width).into_owned()
}

fn said(notice: &Notice, shown: usize, roles: usize) -> String {
    let mut said = String::new();
    for Queued { commit, admitted, held } in notice.commits.iter().take(shown) {
        for (names, word) in [(admitted, "queued".to_owned()), (held, format!("{YELLOW}held{YELLOW:#}"))] {
            if !names.is_empty() {
                let gap = if said.is_empty() { "" } else { "; " };
                write!(said, "{gap}{} {word} for {commit}", some_of(names, roles)).ok();
            }
        }
    }
    if let Some(more) = notice.commits.len().checked_sub(shown).filter(|more| *more > 0) {
        write!(said, "; and for {more} more").ok();
    }
    if notice.left_out > 0 {
        let gap = if said.is_empty() { "" } else { "; " };
        write!(said, "{gap}{} refs left out", notice.left_out).ok();
    }
    said
}

fn some_of(names: &[String], shown: usize) -> String {
    let mut out = names.iter().take(shown).map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(shown).filter(|more| *more > 0) {
        write!(out, " and {more} more").ok();
    }
    out
}

/// How many columns the text takes on a screen. Roles and commits are ASCII.
fn columns(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(commit: &str, admitted: usize, held: usize) -> Queued {
        let roles = |count| ["tester", "planner", "architect"].iter().cycle().take(count).map(|s| (*s).to_owned());
        Queued { commit: commit.to_owned(), admitted: roles(admitted).collect(), held: roles(held).collect() }
    }

    fn plain(commits: &[Queued], width: usize) -> String {
        let notice = Notice { commits: commits.to_vec(), left_out: 0, is_quiet: false, objection: None };
        anstream::adapter::strip_str(&line(&notice, width)).to_string()
    }

    #[test]
    fn all_is_said_where_it_fits_and_the_rest_is_counted() {
        let one = [queued("1234567", 1, 0)];
        assert_eq!(plain(&one, 80), "git-orchestrator: tester queued for 1234567 · git orchestrator status");
        let five = [queued("1234567", 5, 0)];
        assert_eq!(
            plain(&five, 100),
            "git-orchestrator: tester, planner, architect and 2 more queued for 1234567 · git orchestrator status"
        );
        assert_eq!(
            plain(&five, 80),
            "git-orchestrator: tester and 4 more queued for 1234567 · git orchestrator status"
        );
        let both = [queued("1234567", 1, 1)];
        assert_eq!(
            plain(&both, 120),
            "git-orchestrator: tester queued for 1234567; tester held for 1234567 · git orchestrator status"
        );
        let many: Vec<_> = (0..9).map(|n| queued(&format!("000000{n}"), 1, 0)).collect();
        assert_eq!(
            plain(&many, 90),
            "git-orchestrator: tester queued for 0000000; and for 8 more · git orchestrator status"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 1..200 {
            for (commits, admitted, held) in [(1, 1, 0), (1, 0, 3), (1, 6, 6), (7, 2, 1)] {
                let commits: Vec<_> = (0..commits).map(|n| queued(&format!("{n:07}"), admitted, held)).collect();
                let line = plain(&commits, width);
                assert!(line.chars().count() <= width, "{width}: {line}");
                assert!(!line.is_empty());
            }
        }
    }
}
