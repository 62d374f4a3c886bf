//! The shapes that issuers of keys document, as data: `kinds.toml`.
//!
//! One pass finds the words that every match of a shape holds; the pattern of a shape is compiled when one of its words
//! occurs for the first time, and runs over the surroundings of its words only, each byte once.

use std::ops::Range;
use std::sync::{LazyLock, OnceLock};

use aho_corasick::AhoCorasick;
use regex::Regex;
use serde::Deserialize;

use super::{Found, bits, ceil, floor};

/// How far before its word a match may begin, in bytes.
const BEFORE: usize = 64;

/// One shape.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kind {
    pub(super) name: String,
    pub(super) marks: Vec<String>,
    pub(super) pattern: String,
    /// The least entropy of what is cut.
    #[serde(default)]
    bits: f64,
    /// The least length of what is cut, in bytes.
    #[serde(default)]
    length: usize,
    /// What is cut holds a digit.
    #[serde(default)]
    digit: bool,
    /// How far behind its word a match may end, in bytes; what goes on beyond that is cut with it.
    #[serde(default = "after")]
    after: usize,
    #[serde(skip)]
    compiled: OnceLock<Option<Regex>>,
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "the cases are for the tests"))]
    pub(super) finds: Vec<Vec<String>>,
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "the cases are for the tests"))]
    pub(super) leaves: Vec<String>,
}

fn after() -> usize {
    512
}

impl Kind {
    pub(super) fn regex(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| Regex::new(&self.pattern).ok()).as_ref()
    }

    fn is_likely(&self, secret: &str) -> bool {
        secret.len() >= self.length
            && (!self.digit || secret.bytes().any(|byte| byte.is_ascii_digit()))
            && (self.bits <= 0.0 || bits(secret) >= self.bits)
    }
}

/// All shapes, with their words in one automaton.
pub(super) struct Kinds {
    pub(super) all: Vec<Kind>,
    words: Option<AhoCorasick>,
    /// For each word, the shape it belongs to.
    owners: Vec<usize>,
}

/// The file, as it was built in.
pub(super) fn read() -> Result<Vec<Kind>, toml::de::Error> {
    #[derive(Deserialize)]
    struct File {
        kind: Vec<Kind>,
    }
    toml::from_str::<File>(include_str!("kinds.toml")).map(|file| file.kind)
}

/// A test reads the file and compiles every pattern, so that nothing of this fails in a program that was built.
pub(super) static KINDS: LazyLock<Kinds> = LazyLock::new(|| {
    let all = read().unwrap_or_default();
    let words = || all.iter().flat_map(|kind| &kind.marks);
    let automaton = AhoCorasick::builder().ascii_case_insensitive(true).build(words()).ok();
    let owners = all.iter().enumerate().flat_map(|(at, kind)| kind.marks.iter().map(move |_| at)).collect();
    Kinds { words: automaton, owners, all }
});

/// Adds what has one of the shapes.
pub(super) fn find(text: &str, out: &mut Vec<Found>) {
    let kinds: &'static Kinds = &KINDS;
    let Some(words) = &kinds.words else { return };
    let mut regions: Vec<Vec<Range<usize>>> = vec![Vec::new(); kinds.all.len()];
    for word in words.find_overlapping_iter(text) {
        let owner = kinds.owners.get(word.pattern().as_usize()).copied();
        let Some((kind, regions)) = owner.and_then(|at| Some((kinds.all.get(at)?, regions.get_mut(at)?))) else {
            continue;
        };
        let start = floor(text, word.start().saturating_sub(BEFORE));
        let end = floor(text, word.end().saturating_add(kind.after).min(text.len()));
        match regions.last_mut() {
            // Words are found in the order of their ends; a longer one may begin earlier.
            Some(last) if start <= last.end => *last = last.start.min(start)..last.end.max(end),
            _ => regions.push(start..end),
        }
    }
    for (kind, regions) in kinds.all.iter().zip(regions) {
        for region in regions {
            find_in(text, region, kind, out);
        }
    }
}

fn find_in(text: &str, region: Range<usize>, kind: &'static Kind, out: &mut Vec<Found>) {
    let (Some(regex), Some(until)) = (kind.regex(), text.get(..region.end)) else { return };
    let mut at = region.start;
    while let Some(groups) = regex.captures_at(until, at) {
        let Some(whole) = groups.get(0) else { return };
        let secret = groups.name("secret").or_else(|| groups.name("login")).unwrap_or(whole);
        if kind.is_likely(secret.as_str()) {
            out.push(Found { range: secret.start()..rest_of_word(text, secret.end(), region.end), kind: &kind.name });
        }
        // A pattern that matches nothing would never end.
        at = if whole.end() > at { whole.end() } else { ceil(text, at + 1) };
        if at >= region.end {
            return;
        }
    }
}

/// Where what ends at `end` ends in truth, if that is only because the region does.
fn rest_of_word(text: &str, end: usize, region_end: usize) -> usize {
    if end < region_end {
        return end;
    }
    let rest = text.as_bytes().get(end..).unwrap_or_default();
    end + rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=_-.~%".contains(byte)).count()
}
