//! Keeping secrets out of everything that is written or sent: whatever looks like a key, or is one that this process
//! knows, is replaced by `[redacted: KIND]` and counted.
//!
//! Four looks at a text, each linear in its length: values that are known to be secret ([`learn`]), shapes that issuers
//! document (`kinds.toml`), values given to a name that says what they are (`password = "…"`), and long words that are
//! too random to be anything else. A hook's hot path calls nothing of this: no pattern is compiled there.
//!
//! What is replaced keeps its line breaks and the marks of a diff, so that lines can be counted as before. A marker is
//! never looked into again: replacing twice is the same as once.

mod assignment;
mod entropy;
mod key_block;
mod kinds;
mod known;
mod sources;
mod stream;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

pub use self::known::learn;
pub use self::sources::{in_environment, in_url};
pub use self::stream::{Stream, Writer};
use crate::text;

/// How often each kind was cut.
pub type Counts = BTreeMap<String, u32>;

/// How a marker begins; the kind and `]` follow.
const MARK: &str = "[redacted: ";

/// The longest name of a kind, in bytes.
const NAME_MAX: usize = 40;

/// How often a text is looked through. What one look cuts can bare another secret (a word that now ends there); two
/// looks are usual, more need a text made for it.
const LOOKS: usize = 8;

/// One secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    range: Range<usize>,
    kind: &'static str,
}

/// `text` without secrets.
pub fn redacted(text: &str) -> Cow<'_, str> {
    redact(text, &mut Counts::new())
}

/// [`redacted`], counting what is cut.
pub fn redact<'a>(text: &'a str, counts: &mut Counts) -> Cow<'a, str> {
    let known = known::current();
    let mut out = Cow::Borrowed(text);
    for _ in 0..LOOKS {
        let found = look(&out, known.as_deref());
        if found.is_empty() {
            break;
        }
        out = Cow::Owned(replaced(&out, &found, counts));
    }
    out
}

/// [`redact`], in every string of `value`, the names of objects included. A string that stands under a name which says
/// that it is a secret is one, if it looks the part.
pub fn redact_value(value: &mut Value, counts: &mut Counts) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(clean) = redact(text, counts) {
                *text = clean;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact_value(item, counts)),
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                if let Value::String(text) = value
                    && assignment::is_secret(name, text)
                    && !text.contains(MARK)
                {
                    *counts.entry(assignment::KIND.to_owned()).or_default() += 1;
                    *text = format!("{MARK}{}]", assignment::KIND);
                }
                redact_value(value, counts);
            }
            let hidden: Vec<(String, String)> = map
                .keys()
                .filter_map(|name| match redact(name, counts) {
                    Cow::Borrowed(_) => None,
                    Cow::Owned(clean) => Some((name.clone(), clean)),
                })
                .collect();
            for (name, clean) in hidden {
                if let Some(value) = map.remove(&name) {
                    map.insert(clean, value);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// [`redact_value`], of anything that can be written as JSON.
pub fn redacted_value(value: &impl serde::Serialize, counts: &mut Counts) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(value)?;
    redact_value(&mut value, counts);
    Ok(value)
}

/// Adds what `more` counted.
pub fn add(counts: &mut Counts, more: &Counts) {
    for (kind, count) in more {
        let sum = counts.entry(kind.clone()).or_default();
        *sum = sum.saturating_add(*count);
    }
}

/// Everything that is secret in `text`, in order, without overlap; markers are left out.
fn look(text: &str, known: Option<&known::Known>) -> Vec<Found> {
    let mut found = Vec::new();
    let mut from = 0;
    for marker in markers(text) {
        look_between(text, from..marker.start, known, &mut found);
        from = marker.end;
    }
    look_between(text, from..text.len(), known, &mut found);
    found
}

fn look_between(whole: &str, part: Range<usize>, known: Option<&known::Known>, out: &mut Vec<Found>) {
    let Some(text) = whole.get(part.clone()).filter(|text| !text.is_empty()) else { return };
    let mut found = Vec::new();
    if let Some(known) = known {
        known.find(text, &mut found);
    }
    key_block::find(text, &mut found);
    let text = plain(text);
    kinds::find(&text, &mut found);
    assignment::find(&text, &mut found);
    entropy::find(&text, &mut found);
    // Of what overlaps, the one that begins first names the kind, and all of it goes.
    found.sort_by_key(|found: &Found| (found.range.start, usize::MAX - found.range.end));
    let first = out.len();
    for next in found {
        let (mut start, end) = (next.range.start + part.start, next.range.end + part.start);
        // What a diff puts before a line is none of it.
        let begins_line = start == 0 || whole.as_bytes().get(start - 1) == Some(&b'\n');
        let rest = whole.get(start..).unwrap_or_default();
        if begins_line && rest.starts_with(['+', '-']) && !rest.starts_with("--") {
            start += 1;
        }
        match out.get_mut(first..).and_then(|new| new.last_mut()) {
            Some(last) if start < last.range.end => last.range.end = last.range.end.max(end),
            _ => out.push(Found { range: start..end, kind: next.kind }),
        }
    }
}

/// `text`, byte for byte, with line breaks and tabs that are written as `\n` and `\t` made so, and with the marks of a diff
/// blank: a word would begin with them otherwise, and lines that belong together would not.
fn plain(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let is_marked =
        |at: usize| matches!(bytes.get(at), Some(b'+' | b'-')) && bytes.get(at + 1).is_none_or(|next| *next != b'-');
    let begins = |at: usize| at == 0 || bytes.get(at - 1) == Some(&b'\n');
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    while at < bytes.len() {
        let new: &[u8] = match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'\\'), Some(b'n')) => b" \n",
            (Some(b'\\'), Some(b'r' | b't')) => b"  ",
            (Some(b'+' | b'-'), _) if begins(at) && is_marked(at) => b" ",
            _ => {
                at += 1;
                continue;
            }
        };
        let out = out.get_or_insert_with(|| bytes.to_vec());
        for (offset, byte) in new.iter().enumerate() {
            if let Some(place) = out.get_mut(at + offset) {
                *place = *byte;
            }
        }
        at += new.len();
    }
    // Only letters of ASCII took the place of such.
    out.and_then(|out| String::from_utf8(out).ok()).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Where markers stand.
fn markers(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices(MARK).filter_map(|(start, _)| {
        let name = text.get(start + MARK.len()..)?;
        let end = name.bytes().take(NAME_MAX + 1).position(|byte| byte == b']')?;
        let is_name = name.bytes().take(end).all(|byte| byte.is_ascii_alphanumeric() || b" .-".contains(&byte));
        (end > 0 && is_name).then_some(start..start + MARK.len() + end + 1)
    })
}

fn replaced(text: &str, found: &[Found], counts: &mut Counts) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for Found { range, kind } in found {
        out.push_str(text.get(from..range.start).unwrap_or_default());
        let secret = text.get(range.clone()).unwrap_or_default();
        for (number, line) in secret.split_inclusive('\n').enumerate() {
            let body = line.trim_end_matches(['\n', '\r']);
            // What a diff, a quote or a comment puts before each line.
            let lead = if number == 0 { "" } else { lead(body) };
            out.push_str(lead);
            if body.len() > lead.len() || number == 0 {
                out.push_str(MARK);
                out.push_str(kind);
                out.push(']');
            }
            out.push_str(line.get(body.len()..).unwrap_or_default());
        }
        *counts.entry((*kind).to_owned()).or_default() += 1;
        from = range.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}

/// What stands before the text of a line: blanks and the marks of a diff, a quote or a comment.
fn lead(line: &str) -> &str {
    let is_dashes = line.starts_with("--");
    let after = if is_dashes { line } else { line.strip_prefix(['+', '-']).unwrap_or(line) };
    let rest = after.trim_start_matches([' ', '\t', '|', '>', '#', '*']);
    line.get(..line.len() - rest.len()).unwrap_or_default()
}

/// The last place between two characters at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    text::prefix_bytes(text, at).len()
}

/// The first place between two characters at or behind `at`.
fn ceil(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// Shannon entropy of `text`, in bits for each byte.
#[expect(clippy::cast_precision_loss, reason = "a count of bytes of one word")]
fn bits(text: &str) -> f64 {
    let mut counts = [0_usize; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = text.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| *count as f64 / total)
        .map(|share| -share * libm::log2(share))
        .sum()
}

#[cfg(test)]
mod tests;
