//! What only a person may do: they are there, at a terminal, and this is not the inside of a run.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use rustix::termios::{QueueSelector, isatty, tcflush};

use crate::ancestry;
use crate::error::{Context as _, Error, Result};
use crate::ids::RunId;
use crate::process;

/// The longest line that is read as an answer, in bytes.
const ANSWER_BYTES: u64 = 256;

/// Refuses inside a run: it may not decide about itself, nor about another one.
pub fn outside_a_run() -> Result<()> {
    match ancestry::inside_a_run(&process::clean_environment()) {
        None => Ok(()),
        Some(why) => Err(Error::refused(format!("only a person decides that: {why}"))
            .hint("open a terminal of your own and type it there")),
    }
}

/// Asks the question (whole lines) on the terminal, for a word that was not known before, and returns if it was typed. What stands on standard input
/// is no answer: `yes |` answers nothing.
pub fn confirm(question: &str) -> Result<()> {
    let mut terminal = terminal()?;
    let word = word();
    // What was typed before the question is no answer to it.
    tcflush(&terminal, QueueSelector::IFlush).ok();
    write!(terminal, "{question}type `{word}` to do so, anything else to leave it: ")
        .context(|| "cannot ask on the terminal")?;
    let mut answer = String::new();
    BufReader::new(terminal.take(ANSWER_BYTES)).read_line(&mut answer).context(|| "cannot read the answer")?;
    if answer.trim() == word { Ok(()) } else { Err(Error::refused("nothing was changed: the word was not typed")) }
}

/// The terminal that this process belongs to, whatever its streams are.
fn terminal() -> Result<File> {
    let nobody = || Error::refused("this needs a person at a terminal").hint("type it in a terminal, without a pipe");
    let terminal =
        OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|error| nobody().because(error))?;
    if isatty(&terminal) { Ok(terminal) } else { Err(nobody()) }
}

/// A word that nobody knew before, easy to read and to type: syllables made of the random end of an id.
fn word() -> String {
    const SYLLABLES: [&str; 16] =
        ["ba", "de", "fi", "go", "hu", "ja", "ke", "li", "mo", "nu", "pa", "re", "si", "to", "vu", "za"];
    let digits = RunId::new().short();
    digits
        .chars()
        .take(3)
        .filter_map(|digit| SYLLABLES.get(usize::try_from(digit.to_digit(16)?).ok()?))
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_another_one_each_time() {
        let words: std::collections::BTreeSet<String> = (0..200).map(|_| word()).collect();
        assert!(words.len() > 100, "{words:?}");
        assert!(words.iter().all(|word| word.len() == 6 && word.bytes().all(|byte| byte.is_ascii_lowercase())));
    }
}
