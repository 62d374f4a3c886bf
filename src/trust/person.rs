//! Whether it is a person who types: at a terminal, and not inside a run.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};

use rustix::termios::QueueSelector;

use crate::ancestry;
use crate::error::{Context as _, Error, Result};
use crate::process;

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1024;

/// A terminal that a person sits at.
pub struct Terminal {
    terminal: File,
}

impl Terminal {
    /// The terminal of this process. `what` is what only a person may do, as in `acceptance`.
    ///
    /// # Errors
    /// [`Refused`](crate::error::Kind::Refused) inside a run, and where one of the three streams is no terminal or there is
    /// none to open: a pipe (`yes |`) answers nothing, and what is decided about has to stand where the person looks.
    pub fn open(what: &str) -> Result<Self> {
        outside_of_runs(what)?;
        let refused = || {
            Error::refused(format!("{what} needs a person at a terminal"))
                .hint("type it in a terminal of your own, without a pipe or a redirection")
        };
        if !is_at_terminal() {
            return Err(refused());
        }
        let terminal =
            OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|error| refused().because(error))?;
        Ok(Self { terminal })
    }

    /// Asks, and reads one line that is typed after the question was shown. Without blanks around it.
    pub fn ask(&mut self, question: &str) -> Result<String> {
        let failed = || "cannot read the answer";
        // What was typed, or sent, before the question answers another one.
        rustix::termios::tcflush(&self.terminal, QueueSelector::IFlush).ok();
        write!(self.terminal, "{question}").and_then(|()| self.terminal.flush()).context(failed)?;
        let mut answer = Vec::new();
        let reader = self.terminal.try_clone().context(failed)?.take(ANSWER_BYTES_MAX);
        BufReader::new(reader).read_until(b'\n', &mut answer).context(failed)?;
        Ok(String::from_utf8_lossy(&answer).trim().to_owned())
    }
}

/// Whether the three standard streams are terminals: what asks only where somebody may be there looks at this first.
pub fn is_at_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && io::stderr().is_terminal()
}

/// Refuses what a run may not do, neither about itself nor about another one: by the mark in its environment, and by
/// what this process descends from.
pub fn outside_of_runs(what: &str) -> Result<()> {
    match ancestry::inside_a_run(&process::clean_environment()) {
        None => Ok(()),
        Some(why) => Err(Error::refused(format!("{what} is a person's: {why}"))
            .hint("open a terminal of your own and type it there")),
    }
}
