//! Values that this process knows to be secret, and the forms in which they may come back.
//!
//! What is known is one set for the whole process, which only grows: a record, a log and a prompt must not differ in
//! what they hide.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};

use super::Found;

const KIND: &str = "known secret";

/// The shortest value that is looked for, in bytes: a shorter one stands everywhere by chance.
const LEAST: usize = 8;

/// A line of a longer value (a key in PEM) that is looked for by itself, in bytes.
const LINE_LEAST: usize = 16;

/// The longest value, in bytes: a key has a few thousand.
const MOST: usize = 64 * 1024;

static KNOWN: RwLock<Option<Arc<Known>>> = RwLock::new(None);

/// What is known, ready to be looked for.
#[derive(Debug)]
pub(super) struct Known {
    values: BTreeSet<String>,
    automaton: Option<AhoCorasick>,
}

impl Known {
    fn new(values: BTreeSet<String>) -> Self {
        let forms: BTreeSet<String> = values.iter().flat_map(|value| forms(value)).collect();
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&forms).ok();
        Self { values, automaton }
    }

    /// Adds every place where a known value stands, in any form.
    pub(super) fn find(&self, text: &str, out: &mut Vec<Found>) {
        let found = self.automaton.iter().flat_map(|automaton| automaton.find_iter(text));
        out.extend(found.map(|found| Found { range: found.range(), kind: KIND }));
    }
}

/// What is known now; nothing if nothing is.
pub(super) fn current() -> Option<Arc<Known>> {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// From here on these values are secret, in whatever form they come back. Short ones are left out.
pub fn learn(values: impl IntoIterator<Item = String>) {
    let new: BTreeSet<String> = values.into_iter().flat_map(|value| looked_for(&value)).collect();
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let old = known.as_ref().map(|known| known.values.clone()).unwrap_or_default();
    if !new.is_subset(&old) {
        *known = Some(Arc::new(Known::new(old.union(&new).cloned().collect())));
    }
}

/// The value, and the lines of one that has several.
fn looked_for(value: &str) -> Vec<String> {
    let whole = value.trim();
    let mut out = Vec::new();
    // Four characters of which all are the same say nothing, however many there are.
    let varied = |text: &str| text.chars().collect::<BTreeSet<_>>().len() >= 3;
    if (LEAST..=MOST).contains(&whole.len()) && varied(whole) {
        out.push(whole.to_owned());
    }
    if whole.contains('\n') && whole.len() <= MOST {
        let lines = whole.lines().map(str::trim).filter(|line| line.len() >= LINE_LEAST && !line.starts_with("-----"));
        out.extend(lines.filter(|line| varied(line)).map(str::to_owned));
    }
    out
}

/// A value as it is, and as URLs, JSON, base64 (at each of the three places it can begin) and hex hold it.
fn forms(value: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::from([value.to_owned()]);
    if let Ok(json) = serde_json::to_string(value) {
        let json = json.trim_matches('"').to_owned();
        out.insert(json.replace('/', "\\/"));
        // JSON within JSON.
        out.insert(json.replace('\\', "\\\\").replace('"', "\\\""));
        out.insert(json);
    }
    let (mut upper, mut lower, mut hex) = (String::new(), String::new(), String::new());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            upper.push(char::from(byte));
            lower.push(char::from(byte));
        } else {
            write!(upper, "%{byte:02X}").ok();
            write!(lower, "%{byte:02x}").ok();
        }
        write!(hex, "{byte:02x}").ok();
    }
    out.insert(upper.replace("%20", "+"));
    out.extend([upper, lower, hex.to_ascii_uppercase(), hex]);
    for begin in 0..3 {
        let coded = base64(value.as_bytes(), begin);
        out.insert(coded.replace('+', "-").replace('/', "_"));
        out.insert(coded);
    }
    out.retain(|form| form.len() >= LEAST);
    out
}

/// The digits of base64 that `bytes` alone decide, where `begin` other bytes stand before them.
fn base64(bytes: &[u8], begin: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bit = |at: usize| -> usize {
        let byte = at.checked_sub(begin * 8).and_then(|at| bytes.get(at / 8)).copied().unwrap_or(0);
        usize::from(byte >> (7 - at % 8) & 1)
    };
    let (first, end) = ((begin * 8).div_ceil(6), (begin + bytes.len()) * 8 / 6);
    (first..end)
        .filter_map(|digit| DIGITS.get((0..6).fold(0, |sum, at| sum * 2 + bit(digit * 6 + at))))
        .map(|digit| char::from(*digit))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_value_is_found() {
        let known = Known::new(BTreeSet::from(["pa ss/\"word\"+1".to_owned()]));
        for form in [
            "pa ss/\"word\"+1",
            r#"pa ss/\"word\"+1"#,
            r#"pa ss\/\"word\"+1"#,
            "pa%20ss%2F%22word%22%2B1",
            "pa+ss%2F%22word%22%2B1",
            "pa%20ss%2f%22word%22%2b1",
            "cGEgc3MvIndvcmQiKzE=",
            "706120737",
        ] {
            let mut found = Vec::new();
            known.find(&format!("before {form} after"), &mut found);
            // The hexadecimal case is a beginning only.
            assert_eq!(found.len(), usize::from(form != "706120737"), "{form}");
        }
        // `ada:` and `x` before it, as a login over HTTP has it.
        for coded in ["YWRhOnBhIHNzLyJ3b3JkIisx", "eHBhIHNzLyJ3b3JkIisx"] {
            let mut found = Vec::new();
            known.find(coded, &mut found);
            assert_eq!(found.len(), 1, "{coded}");
        }
    }

    #[test]
    fn what_is_short_or_says_nothing_is_not_looked_for() {
        assert!(
            looked_for("short").is_empty() && looked_for("********").is_empty() && looked_for("abababab").is_empty()
        );
        assert_eq!(looked_for(" 12345678\n"), ["12345678"]);
        assert_eq!(looked_for("-----BEGIN X-----\nabcdefghijklmnopqrst\nuv").len(), 2);
    }
}
