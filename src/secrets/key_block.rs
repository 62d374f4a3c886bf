//! Private keys between `-----BEGIN … PRIVATE KEY-----` and its end: whole, cut off at either side, in a diff, in a
//! comment, or on one line with `\n` for its breaks.

use super::{Found, ceil, lead};

const KIND: &str = "private key";
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// The longest title between the dashes, in bytes.
const TITLE_MAX: usize = 48;

/// A line of this many digits is key material by itself; a shorter one only between others.
const LINE_LEAST: usize = 16;

/// The longest header line within a key, in bytes (`DEK-Info: …`).
const HEADER_MAX: usize = 200;

/// Adds every private key.
pub(super) fn find(text: &str, out: &mut Vec<Found>) {
    // Where the last block ended: nothing is looked at twice.
    let mut done = 0;
    for (at, _) in text.match_indices("PRIVATE KEY") {
        if at < done {
            continue;
        }
        let Some((start, end, is_begin)) = line_of_dashes(text, at, done) else { continue };
        let range = if is_begin {
            let (end, is_key) = body_after(text, end);
            is_key.then_some(start..end)
        } else {
            body_before(text, start, done).map(|start| start..end)
        };
        if let Some(range) = range {
            done = range.end;
            out.push(Found { range, kind: KIND });
        } else {
            done = end;
        }
    }
}

/// The line of dashes around `PRIVATE KEY` at `at`: where it begins and ends, and whether it is the first of a key.
fn line_of_dashes(text: &str, at: usize, done: usize) -> Option<(usize, usize, bool)> {
    let earliest = ceil(text, at.saturating_sub(TITLE_MAX).max(done));
    let before = text.get(earliest..at)?;
    let (start, is_begin, title) = match (before.rfind(BEGIN), before.rfind(END)) {
        (Some(begin), end) if end.is_none_or(|end| end < begin) => (begin, true, before.get(begin + BEGIN.len()..)?),
        (_, Some(end)) => (end, false, before.get(end + END.len()..)?),
        (None | Some(_), None) => return None,
    };
    if !title.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ') {
        return None;
    }
    let after = text.get(at + "PRIVATE KEY".len()..)?;
    let dashes = after.strip_prefix(" BLOCK").unwrap_or(after).strip_prefix(DASHES)?;
    Some((earliest + start, text.len() - dashes.len(), is_begin))
}

/// One line from `rest`, without what ends it, and how long it is with that: a newline, or one written as `\n`.
fn first_line(rest: &str) -> (&str, usize) {
    let bytes = rest.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'\n' {
            return (rest.get(..at).unwrap_or_default(), at + 1);
        }
        if *byte == b'\\' && matches!(bytes.get(at + 1), Some(b'n' | b'r')) {
            return (rest.get(..at).unwrap_or_default(), at + 2);
        }
        at += 1;
    }
    (rest, rest.len())
}

/// The digits of a line without what a diff, a comment or a string literal puts around them.
pub(super) fn material(line: &str) -> &str {
    let line = line.trim();
    let line = line.get(lead(line).len()..).unwrap_or_default();
    line.trim_matches(['"', '\'', '`', ',', ';', '+', '\\', ' ', '.', '(', ')', '&', 'r']).trim()
}

pub(super) fn is_material(line: &str) -> bool {
    !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
}

fn is_header(line: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    line.len() <= HEADER_MAX && line.split_once(": ").is_some_and(|(name, _)| is_name(name))
}

/// Where the key ends whose first line ended at `begin`, and whether there is anything of a key.
fn body_after(text: &str, begin: usize) -> (usize, bool) {
    let mut at = begin;
    let (mut end, mut digits) = (begin, 0);
    // What follows the dashes on their own line: nothing but a quote or the like.
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let (line, length) = first_line(rest);
        if let Some(dashes) = line.find(END) {
            let last = line.get(dashes + END.len()..).and_then(|title| title.find(DASHES));
            if let Some(last) = last.filter(|_| is_quiet(line.get(..dashes).unwrap_or_default(), digits)) {
                return (at + dashes + END.len() + last + DASHES.len(), true);
            }
            break;
        }
        let inner = material(line);
        if is_material(inner) {
            digits += inner.len();
            end = at + line.len();
        } else if !(inner.is_empty() || is_header(inner)) {
            // Digits may end in the middle of a line: what was cut off there goes too.
            let run = line.len() - line.trim_start_matches(is_digit).len();
            if run >= LINE_LEAST {
                digits += run;
                end = at + run;
            }
            break;
        } else if at == begin && !inner.is_empty() {
            break;
        }
        at += length;
    }
    // A word or two behind a line of dashes is no key, unless the text ends with it.
    (end, digits >= LINE_LEAST || digits > 0 && end == text.trim_end().len())
}

/// Whether what stands before the last line of dashes, on its own line, belongs to a key.
fn is_quiet(before: &str, digits: usize) -> bool {
    let inner = material(before);
    is_material(inner) || inner.is_empty() && digits > 0
}

/// Where the key begins whose last line begins at `end`, if there is anything of one: not before `earliest`.
fn body_before(text: &str, end: usize, earliest: usize) -> Option<usize> {
    let before = text.get(earliest..end)?;
    let (mut at, mut start) = (before.len(), None);
    while at > 0 {
        let head = before.get(..at)?;
        // The newline that ends the line before.
        let (line_end, line_start) = last_line(head);
        let inner = material(head.get(line_start..line_end)?);
        if is_material(inner) && inner.len() >= LINE_LEAST {
            let shift = head.get(line_start..)?.find(inner)?;
            start = Some(line_start + shift);
        } else if !(inner.is_empty() || start.is_none() && is_material(inner)) {
            // Half a line, where something else was cut.
            let run = head.get(..line_end)?;
            let digits = run.len() - run.trim_end_matches(is_digit).len();
            if digits >= LINE_LEAST {
                start = Some(line_end - digits);
            }
            break;
        }
        at = line_start;
    }
    start.map(|start| start + earliest)
}

fn is_digit(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

/// The last line of `head`: where it ends without its newline, and where it begins.
fn last_line(head: &str) -> (usize, usize) {
    let body = head.strip_suffix('\n').or_else(|| head.strip_suffix("\\n")).unwrap_or(head);
    let newline = body.rfind('\n').map(|at| at + 1);
    let escaped = body.rfind("\\n").map(|at| at + 2);
    (body.len(), newline.max(escaped).unwrap_or(0))
}
