//! Long words that are too random to be anything but a key.
//!
//! Digests, ids and most encoded data are as random; what tells a key apart is its length, its three kinds of characters
//! and that nothing beside it says what it is. How often this is wrong is measured by a test over other people's
//! sources: see `tests/hostile/false_alarms.rs`.

use super::{Found, bits, ceil, floor, key_block};

const KIND: &str = "random text";

/// The shortest and the longest word that is looked at, in bytes. Shorter ones are names, longer ones are data.
const LEAST: usize = 32;
const MOST: usize = 100;

/// The least entropy, in bits for each byte: 40 random letters and digits have 4.8, and a word of that length 4.
const BITS: f64 = 4.3;

/// The least share of neighbours that are of different kinds. Random letters and digits have 0.63; words in camel case
/// have a fifth of that.
const CHANGES: f64 = 0.42;

/// What stands before a word that says itself what it is, or near it.
const NAMES: &[&str] = &[
    "base64,",
    "cert",
    "checksum",
    "digest",
    "etag",
    "fingerprint",
    "hash",
    "integrity",
    "md5",
    "pubkey",
    "public",
    "sha1",
    "sha256",
    "sha384",
    "sha512",
    "signature",
    "sri",
    "h1:",
];

/// How far before it that may stand, in bytes.
const NEAR: usize = 48;

/// The share of neighbours in `text` that are of different kinds: lower case, upper case, digits, anything else.
#[expect(clippy::cast_precision_loss, reason = "the length of a word")]
pub(super) fn changes(text: &str) -> f64 {
    let kind = |byte: &u8| match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let bytes = text.as_bytes();
    let changes = bytes.iter().zip(bytes.iter().skip(1)).filter(|(one, next)| kind(one) != kind(next)).count();
    changes as f64 / (bytes.len().max(2) - 1) as f64
}

/// Adds every such word.
pub(super) fn find(text: &str, out: &mut Vec<Found>) {
    let bytes = text.as_bytes();
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/_-".contains(byte);
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes.get(at..).unwrap_or_default().iter().take_while(|byte| is_part(byte)).count();
        let word = text.get(at..at + length).unwrap_or_default();
        // More slashes than base64 has: a path.
        if word.bytes().filter(|byte| *byte == b'/').count() < 2 {
            look_at(text, at, word, out);
        } else {
            let mut from = at;
            for part in word.split('/') {
                look_at(text, from, part, out);
                from += part.len() + 1;
            }
        }
        at += length + 1;
    }
}

fn look_at(text: &str, at: usize, word: &str, out: &mut Vec<Found>) {
    let end = at + word.len();
    if (LEAST..=MOST).contains(&word.len()) && is_random(word) && !is_named(text, at) && !is_data(text, at, end) {
        let after = text.as_bytes().get(end..).unwrap_or_default();
        let padding = after.iter().take(2).take_while(|byte| **byte == b'=').count();
        out.push(Found { range: at..end + padding, kind: KIND });
    }
}

fn is_random(word: &str) -> bool {
    let count = |is_so: fn(&u8) -> bool| word.bytes().filter(&is_so).count();
    let (lower, upper) = (count(u8::is_ascii_lowercase), count(u8::is_ascii_uppercase));
    let (digits, marks) = (count(u8::is_ascii_digit), count(|byte| b"+/_-".contains(byte)));
    let enough = word.len() / 16;
    lower > enough
        && upper > enough
        && digits >= enough
        && marks <= word.len() / 8
        // A public key of OpenSSH begins with three zero bytes.
        && !word.starts_with("AAAA")
        && changes(word) >= CHANGES
        && 2 * in_words(word) < word.len()
        && bits(word) >= BITS
}

/// How many bytes stand in what can be read as a word: three small letters or more, with the capital before them.
fn in_words(word: &str) -> usize {
    let (mut sum, mut small, mut capital) = (0, 0, 0);
    for byte in word.bytes().chain([b' ']) {
        if byte.is_ascii_lowercase() {
            small += 1;
            continue;
        }
        if small >= 3 {
            sum += small + capital;
        }
        (small, capital) = (0, usize::from(byte.is_ascii_uppercase()));
    }
    sum
}

/// Whether what stands before it says that it is no key.
fn is_named(text: &str, at: usize) -> bool {
    let from = ceil(text, at.saturating_sub(NEAR));
    let near = text.get(from..at).unwrap_or_default();
    let near = near.rsplit('\n').next().unwrap_or_default().to_ascii_lowercase();
    NAMES.iter().any(|name| near.contains(name))
        || text
            .get(at..)
            .is_some_and(|word| ["sha1-", "sha256-", "sha384-", "sha512-"].iter().any(|head| word.starts_with(head)))
}

/// Whether it is one line of many: a certificate, an image.
fn is_data(text: &str, at: usize, end: usize) -> bool {
    let is_line_long = |line: &str| {
        let digits = key_block::material(line.trim().trim_end_matches(['"', '\'', ',', ';']).trim_end_matches("\\n"));
        digits.len() >= LEAST && key_block::is_material(digits)
    };
    // The nearest lines that hold anything; no further than a line of data is long.
    let holds = |line: &&str| line.bytes().any(|byte| byte.is_ascii_alphanumeric());
    let head = text.get(ceil(text, at.saturating_sub(3 * MOST))..at).unwrap_or_default();
    let tail = text.get(end..floor(text, end.saturating_add(4 * MOST).min(text.len()))).unwrap_or_default();
    let before = head.rsplit('\n').skip(1).find(holds);
    let after = tail.split('\n').skip(1).find(holds);
    before.is_some_and(is_line_long) || after.is_some_and(is_line_long)
}
