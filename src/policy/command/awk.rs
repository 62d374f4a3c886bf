//! `awk` programs that compute and print, and do nothing else.

use std::borrow::Cow;

use super::line::Word;
use super::schema::Objection;
use super::scripts::{certain, file, refused, unlisted};

/// What an awk program that only prints never holds, whatever it stands in: strings and patterns too, so that it does
/// not matter where those end.
const AWK_REFUSED: &[&str] = &[
    "system", "getline", "close", "fflush", "func", "@", "ENVIRON", "PROCINFO", "ARGV", "SYMTAB", "FUNCTAB", "\\\n",
    "`",
];

/// The words behind `awk`.
pub(super) fn awk(words: &[&Word]) -> Result<(), Objection> {
    let mut rest = words.iter();
    let program = loop {
        let Some(word) = rest.next() else { return Err(refused("awk-program", "awk has no program")) };
        let text = certain(word)?;
        if text == "-F" {
            certain(rest.next().ok_or_else(|| unlisted("awk-option", word))?)?;
        } else if text == "-v" {
            let value = rest.next().ok_or_else(|| unlisted("awk-option", word))?;
            if !is_assignment(value) {
                return Err(unlisted("awk-option", word));
            }
        } else if let Some(separator) = text.strip_prefix("-F") {
            if separator.starts_with('-') {
                return Err(unlisted("awk-option", word));
            }
        } else if text == "--" {
            break certain(rest.next().ok_or_else(|| unlisted("awk-option", word))?)?;
        } else if text.starts_with("-f") || text.starts_with("--fi") {
            return Err(refused("awk-program", "a program in a file is not judged"));
        } else if text.starts_with('-') {
            return Err(unlisted("option-not-listed", word));
        } else {
            break text;
        }
    };
    for word in rest {
        file(word)?;
        // gawk opens a connection for a file below /inet.
        if word.text.starts_with("/inet") || (word.text.contains('=') && !is_assignment(word)) {
            return Err(unlisted("awk-option", word));
        }
    }
    if awk_only_prints(program) {
        Ok(())
    } else {
        Err(refused("awk-program", "an awk program may compute and print, and nothing else"))
    }
}

/// `name=value`: what a variable holds is only ever text to a program that prints.
fn is_assignment(word: &Word) -> bool {
    let plain = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word.open.is_none() && !word.home && word.text.split_once('=').is_some_and(|(name, _)| plain(name))
}

fn awk_only_prints(program: &str) -> bool {
    if !program.is_ascii() || AWK_REFUSED.iter().any(|word| program.contains(word)) {
        return false;
    }
    // Before the first brace there are only patterns: nothing in them writes or runs anything but `getline`.
    let program = without_texts(program);
    let actions = program.find('{').and_then(|at| program.get(at..)).unwrap_or_default();
    // `||` is an operator; one bar starts a program.
    let actions = actions.replace("||", "");
    !actions.contains('|') && !without_conditions(&actions).contains('>')
}

/// The program with its texts empty, where it is certain what is one: without a slash there is no pattern and without
/// `#` no comment in which a quote would be something else. Otherwise the program as it is.
fn without_texts(program: &str) -> Cow<'_, str> {
    if program.contains(['/', '#']) {
        return Cow::Borrowed(program);
    }
    let mut out = String::with_capacity(program.len());
    let mut letters = program.chars();
    while let Some(letter) = letters.next() {
        out.push(letter);
        if letter != '"' {
            continue;
        }
        loop {
            match letters.next() {
                Some('"') => break out.push('"'),
                Some('\\') if letters.next().is_some() => {}
                // It does not end, or not on its line: no awk agrees with another about that.
                None | Some('\\' | '\n') => return Cow::Borrowed(program),
                Some(_) => {}
            }
        }
    }
    Cow::Owned(out)
}

/// The program without the conditions of its `if`, `while` and `for`, as far as they are plain: where nothing is printed
/// `>` compares, and without quotes and slashes in it a condition lies wholly within a text or a pattern, or wholly outside.
fn without_conditions(program: &str) -> String {
    let mut out = String::new();
    let mut rest = program;
    // Word by word, each with what separates it from the next.
    while let Some(letter) = rest.chars().next() {
        let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = if in_word(letter) { rest.find(|c| !in_word(c)).unwrap_or(rest.len()) } else { letter.len_utf8() };
        let (word, behind) = rest.split_at(end);
        let begins = out.chars().next_back().is_none_or(|c| matches!(c, ' ' | '{' | '}' | ';' | '\n' | ')'));
        out.push_str(word);
        rest = match (begins && ["if", "while", "for"].contains(&word)).then(|| plain_condition(behind)).flatten() {
            Some(length) => behind.get(length..).unwrap_or_default(),
            None => behind,
        };
    }
    out
}

/// The longest condition that is looked at: what is longer was not typed.
const CONDITION_BYTES_MAX: usize = 200;

/// How long the condition in parentheses is that `text` begins with.
fn plain_condition(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, letter) in text.char_indices().take(CONDITION_BYTES_MAX) {
        match letter {
            '(' => depth += 1,
            ')' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return text.get(..=at).filter(|condition| !condition.contains("print")).map(str::len);
                }
            }
            ' ' if depth == 0 => {}
            _ if depth == 0 => return None,
            c if c.is_ascii_alphanumeric() || " _$.<>=!&+-*%,[];".contains(c) => {}
            _ => return None,
        }
    }
    None
}
