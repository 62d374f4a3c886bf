//! What only a person may do: the word that they type for it.

use crate::error::{Error, Result};
use crate::ids::RunId;
use crate::trust::person::Terminal;

/// Asks the question (whole lines) on the terminal, for a word that was not known before, and returns if it was typed.
/// `what` is what only a person may do, as in `approval`.
pub fn confirm(what: &str, question: &str) -> Result<()> {
    let mut terminal = Terminal::open(what)?;
    let word = word();
    let answer = terminal.ask(&format!("{question}type `{word}` to do so, anything else to leave it: "))?;
    if answer == word { Ok(()) } else { Err(Error::refused("nothing was changed: the word was not typed")) }
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
