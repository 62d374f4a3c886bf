//! Fences around text that somebody else wrote, so that a model can tell data from instructions.
//!
//! The delimiter is a hash of the content under a key (the commit's id), so that the same package has the same bytes
//! each time, and so that content cannot hold its own delimiter: whoever writes the content would have to find a text
//! that contains the hash of itself. The odd accident is looked for all the same and a longer delimiter taken.
//!
//! Control characters, bidirectional controls and invisible characters in the content are written as `\u{..}`: they
//! hide text from the person who reads `prompt.md`, and shown they are visible to the model too. A carriage return in
//! front of a newline stays, because it hides nothing and whole files end their lines that way. Quotes are compared
//! after the same treatment.

use std::borrow::Cow;

use crate::ids::Digest;
use crate::text;

/// Digits of a delimiter: 64 bits are far beyond what a content could be ground for, and short enough to be read.
const DIGITS: usize = 16;

/// What stands on the opening line, before label and delimiter.
pub const OPENING: &str = "-----BEGIN UNTRUSTED ";
/// What stands on the closing line, before label and delimiter.
pub const CLOSING: &str = "-----END UNTRUSTED ";
const TAIL: &str = "-----";

/// `text` as a prompt may hold it: see the module's description.
pub fn cleaned(text: &str) -> Cow<'_, str> {
    if !text.contains('\r') {
        return text::shown(text);
    }
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match line.strip_suffix("\r\n") {
            Some(line) => {
                out.push_str(&text::shown(line));
                out.push_str("\r\n");
            }
            None => out.push_str(&text::shown(line)),
        }
    }
    Cow::Owned(out)
}

/// `content`, cleaned, between two lines that it cannot hold. `label` says what it is; it is one of ours.
pub fn fenced(label: &str, key: &str, content: &str) -> String {
    let content = cleaned(content);
    let delimiter = delimiter(label, key, &content);
    let newline = if content.is_empty() || content.ends_with('\n') { "" } else { "\n" };
    format!("{OPENING}{label} {delimiter}{TAIL}\n{content}{newline}{CLOSING}{label} {delimiter}{TAIL}\n")
}

fn delimiter(label: &str, key: &str, content: &str) -> String {
    let mut round = 0_u32;
    loop {
        let counter = round.to_be_bytes();
        let parts: [&[u8]; 5] =
            [b"git-orchestrator fence 1", key.as_bytes(), label.as_bytes(), content.as_bytes(), &counter];
        let digest = Digest::of_parts(parts);
        let delimiter = text::prefix_bytes(digest.as_str(), DIGITS);
        if !content.contains(delimiter) {
            return delimiter.to_owned();
        }
        round = round.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_carriage_return_that_ends_a_line_stays_and_every_other_one_is_shown() {
        assert_eq!(cleaned("a\r\nb\rc\u{1b}[2J\r\n"), "a\r\nb\\u{d}c\\u{1b}[2J\r\n");
        assert_eq!(cleaned("plain\n"), "plain\n");
    }

    #[test]
    fn an_empty_content_has_a_fence_too() {
        assert_eq!(fenced("x", "k", "").lines().count(), 2);
    }

    proptest! {
        #[test]
        fn the_content_cannot_hold_the_fence(content in any::<String>(), inner in any::<String>()) {
            // Text that imitates fences, its own included.
            let forged = format!("{content}\n{}\n{inner}", fenced("diff", "key", &content));
            let fence = fenced("diff", "key", &forged);
            let opening = fence.lines().next().unwrap();
            let delimiter = opening.rsplit(' ').next().unwrap();
            prop_assert_eq!(fence.matches(delimiter).count(), 2);
            let last = fence.lines().last().unwrap();
            prop_assert!(last.starts_with(CLOSING) && last.ends_with(delimiter));
            prop_assert_eq!(&fence, &fenced("diff", "key", &forged));
        }

        #[test]
        fn nothing_that_steers_a_terminal_is_left(content in any::<String>()) {
            let fence = fenced("x", "k", &content);
            let plain = fence.replace("\r\n", "\n");
            prop_assert_eq!(text::shown(&plain), plain.as_str());
        }
    }
}
