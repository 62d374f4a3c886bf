//! Looking up what an answer quotes: whether that text stands at that place in that commit.
//!
//! Models copy text well and count lines badly. A quote that stands somewhere else in the same file gets the right line
//! number, if it is clear which place is meant; a quote that stands nowhere is an invention, and what rests on it goes.

use std::borrow::Cow;

use crate::context::fence::cleaned;
use crate::git::Repository;
use crate::ids::Oid;
use crate::secrets::redacted;

/// The largest file in which a quote is looked up.
const FILE_BYTES: u64 = 8 << 20;

/// How far from the stated line a quote that occurs more than once may stand, in lines: about a screen.
const DRIFT: usize = 60;

/// The shortest part of a line that is taken for a quote, in characters; anything shorter is found by chance.
const PART: usize = 8;

/// Where a quote stands: its first and last line, from 1.
pub(super) type Place = (u32, u32);

/// Finds `quote` in `path` at this commit, as near to `line` as it occurs. `None` if it is not there, or says nothing.
pub(super) fn find(repository: &Repository, commit: &Oid, path: &str, line: u32, quote: &str) -> Option<Place> {
    let bytes = repository.blob_at(commit, path.as_bytes(), FILE_BYTES).ok()??;
    let text = String::from_utf8_lossy(&bytes);
    // The prompt showed the file without its secrets; what a command printed was the file itself.
    find_in(&text, line, quote).or_else(|| match redacted(&text) {
        Cow::Owned(clean) => find_in(&clean, line, quote),
        Cow::Borrowed(_) => None,
    })
}

fn find_in(text: &str, line: u32, quote: &str) -> Option<Place> {
    let file: Vec<String> = text.lines().map(normal).collect();
    let mut wanted: Vec<String> = quote.lines().map(normal).collect();
    while wanted.last().is_some_and(String::is_empty) {
        wanted.pop();
    }
    let blank = wanted.iter().take_while(|line| line.is_empty()).count();
    wanted.drain(..blank);
    place(&file, line, &wanted).or_else(|| place(&file, line, &without_markers(&wanted)?))
}

/// A line as prompts show it, without indentation and what ends it.
fn normal(line: &str) -> String {
    cleaned(line).trim().to_owned()
}

/// The quote without the markers of an added or an unchanged line, if it was copied from a diff.
fn without_markers(wanted: &[String]) -> Option<Vec<String>> {
    let added = wanted.iter().any(|line| line.starts_with('+'));
    added.then(|| wanted.iter().map(|line| line.strip_prefix('+').unwrap_or(line).trim().to_owned()).collect())
}

fn place(file: &[String], line: u32, wanted: &[String]) -> Option<Place> {
    // A brace or a lone word of punctuation stands everywhere.
    let says_something = wanted.iter().flat_map(|line| line.chars()).filter(|c| c.is_alphanumeric()).count() >= 2;
    if !says_something || wanted.len() > file.len() {
        return None;
    }
    let stated = (line as usize).saturating_sub(1);
    let found: Vec<usize> =
        file.windows(wanted.len()).enumerate().filter(|(_, window)| stands(window, wanted)).map(|(at, _)| at).collect();
    let nearest = *found.iter().min_by_key(|at| at.abs_diff(stated))?;
    if found.len() > 1 && nearest.abs_diff(stated) > DRIFT {
        return None;
    }
    let first = u32::try_from(nearest + 1).ok()?;
    let last = u32::try_from(nearest + wanted.len()).ok()?;
    Some((first, last))
}

/// Whether the quote is these lines; the first may lack its beginning and the last its end.
fn stands(window: &[String], wanted: &[String]) -> bool {
    match (window, wanted) {
        ([line], [wanted]) => line == wanted || (is_part(wanted) && line.contains(wanted.as_str())),
        ([first, middle @ .., last], [wanted_first, wanted_middle @ .., wanted_last]) => {
            (first == wanted_first || (is_part(wanted_first) && first.ends_with(wanted_first.as_str())))
                && middle == wanted_middle
                && (last == wanted_last || (is_part(wanted_last) && last.starts_with(wanted_last.as_str())))
        }
        _ => false,
    }
}

fn is_part(text: &str) -> bool {
    text.chars().count() >= PART
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FILE: &str = "fn one() {\n    start();\n}\n\nfn two() {\n    start();\n    let x = compute(1, 2);\r\n}\n";

    #[test]
    fn a_quote_is_found_where_it_stands() {
        assert_eq!(find_in(FILE, 7, "    let x = compute(1, 2);"), Some((7, 7)));
        assert_eq!(find_in(FILE, 7, "let x = compute(1, 2);\n"), Some((7, 7)), "without its indentation");
        assert_eq!(find_in(FILE, 7, "compute(1, 2)"), Some((7, 7)), "a part of a line");
        assert_eq!(find_in(FILE, 5, "fn two() {\n    start();\n    let x = compute(1, 2);"), Some((5, 7)));
        assert_eq!(find_in(FILE, 5, "+fn two() {\n+    start();"), Some((5, 6)), "copied from a diff");
    }

    #[test]
    fn a_wrong_line_is_mended_if_the_place_is_clear() {
        assert_eq!(find_in(FILE, 900, "fn two() {"), Some((5, 5)), "it occurs once");
        assert_eq!(find_in(FILE, 1, "start();"), Some((2, 2)));
        assert_eq!(find_in(FILE, 6, "start();"), Some((6, 6)));
        assert_eq!(find_in(FILE, 900, "start();"), None, "it occurs twice, and far away");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for quote in ["fn three() {", "", "\n\n", "}", "x", "fn one() {\n    end();", "fn two() { start();"] {
            assert_eq!(find_in(FILE, 1, quote), None, "{quote:?}");
        }
    }

    #[test]
    fn hidden_characters_are_compared_as_they_are_shown() {
        let text = "let a = \u{202e}b;\n";
        assert_eq!(find_in(text, 1, "let a = \\u{202e}b;"), Some((1, 1)));
        assert_eq!(find_in(text, 1, "let a = \u{202e}b;"), Some((1, 1)));
        assert_eq!(find_in(text, 1, "let a = b;"), None);
    }

    proptest! {
        #[test]
        fn every_line_with_words_is_found_at_its_place(
            lines in prop::collection::vec("[a-z]{2,12} [a-z(){}]{0,12}", 1..30), at in any::<prop::sample::Index>(),
        ) {
            let at = at.index(lines.len());
            let (first, last) = find_in(&lines.join("\n"), u32::try_from(at + 1).unwrap(), &lines[at]).unwrap();
            prop_assert_eq!((first as usize, last as usize), (at + 1, at + 1));
        }

        #[test]
        fn nothing_panics(text in any::<String>(), line in any::<u32>(), quote in any::<String>()) {
            find_in(&text, line, &quote);
        }
    }
}
