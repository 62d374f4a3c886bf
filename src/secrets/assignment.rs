//! Values that are given to a name which says what they are: `password = "…"`, `API_KEY: …`, `<secret>…</secret>`.
//!
//! The name alone is not enough, since most code that speaks of a token holds none: the value has to look like one, too.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::{Found, bits, entropy, floor};

pub(super) const KIND: &str = "password or token";

/// Words of which a name holds one.
const WORDS: &[&str] =
    &["password", "passwd", "passphrase", "pwd", "secret", "token", "key", "credential", "bearer", "passcode", "pass_"];

/// What stands before `key` in the name of a secret one.
const KEYS: &[&str] = &[
    "access",
    "account",
    "admin",
    "api",
    "app",
    "auth",
    "client",
    "consumer",
    "decryption",
    "deploy",
    "encryption",
    "hmac",
    "jwt",
    "license",
    "master",
    "private",
    "secret",
    "service",
    "session",
    "shared",
    "signing",
    "storage",
    "subscription",
    "write",
];

/// Ends of names whose value is no secret.
const HARMLESS: &[&str] = &[
    "count", "endpoint", "env", "expires", "expiry", "field", "file", "header", "id", "key.pub", "length", "limit",
    "max", "name", "param", "path", "policy", "prefix", "regex", "size", "ttl", "type", "uri", "url", "version",
];

/// The longest name and the longest value, in bytes.
const NAME_MAX: usize = 80;
const VALUE_MAX: usize = 512;
const VALUE_MIN: usize = 8;

static NAMES: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::builder().ascii_case_insensitive(true).build(WORDS).ok());

/// Adds every value that is given to such a name.
pub(super) fn find(text: &str, out: &mut Vec<Found>) {
    let Some(words) = NAMES.as_ref() else { return };
    let bytes = text.as_bytes();
    let mut done = 0;
    for word in words.find_iter(text) {
        if word.start() < done {
            continue;
        }
        let start = word.start() - back(bytes, word.start(), done);
        let end = word.end() + run(bytes, word.end(), NAME_MAX, is_name);
        done = end;
        let Some(name) = text.get(start..end).filter(|name| names_secret(name)) else { continue };
        let Some((from, to, form)) = value(text, end) else { continue };
        if text.get(from..to).is_some_and(|value| is_likely(name, value, form)) {
            out.push(Found { range: from..to, kind: KIND });
            done = to;
        }
    }
}

/// Whether `value`, which stands by itself under `name`, is a secret.
pub(super) fn is_secret(name: &str, value: &str) -> bool {
    name.len() <= NAME_MAX && names_secret(name) && is_likely(name, value, Form::Quoted)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// How many bytes of `bytes` from `at` on are so, at most `max`.
fn run(bytes: &[u8], at: usize, max: usize, is_so: fn(u8) -> bool) -> usize {
    bytes.get(at..).unwrap_or_default().iter().take(max).take_while(|byte| is_so(**byte)).count()
}

/// How many bytes before `at`, not before `earliest`, belong to a name.
fn back(bytes: &[u8], at: usize, earliest: usize) -> usize {
    let before = bytes.get(earliest..at).unwrap_or_default();
    before.iter().rev().take(NAME_MAX).take_while(|byte| is_name(**byte)).count()
}

fn names_secret(name: &str) -> bool {
    let name = name.trim_matches(['.', '-', '_']);
    let flat: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    if HARMLESS.iter().any(|end| flat.ends_with(end)) || flat.contains("public") || flat.contains("tokenizer") {
        return false;
    }
    let is_key = || {
        flat.match_indices("key")
            .any(|(at, _)| flat.get(..at).is_some_and(|head| KEYS.iter().any(|word| head.ends_with(word))))
    };
    let says_so = ["password", "passwd", "passphrase", "passcode", "secret", "token", "credential", "bearer"];
    flat.ends_with("pwd") || flat.ends_with("pass") || says_so.iter().any(|word| flat.contains(word)) || is_key()
}

/// How a value stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// In quotes.
    Quoted,
    /// As it is: in a configuration, on a command line.
    Plain,
    /// As it is, in what looks like a program: a name, most of the time.
    Code,
}

/// The value that is given to the name that ends at `at`: where it begins and ends, and how it stands there.
fn value(text: &str, at: usize) -> Option<(usize, usize, Form)> {
    let bytes = text.as_bytes();
    let blanks = |at: usize| at + run(bytes, at, 16, |byte| matches!(byte, b' ' | b'\t'));
    let mut at = at;
    // The name itself may be quoted, or an index.
    at += run(bytes, at, 4, |byte| matches!(byte, b'\\' | b'"' | b'\'' | b'`' | b']' | b')'));
    at = blanks(at);
    let operator = run(bytes, at, 3, |byte| matches!(byte, b'=' | b':' | b'>'));
    let is_comma = bytes.get(at) == Some(&b',');
    if operator == 0 && !is_comma {
        return None;
    }
    let is_tag = operator == 1 && bytes.get(at) == Some(&b'>');
    at += operator.max(usize::from(is_comma));
    let is_apart = blanks(at) > at;
    at = blanks(at);
    // A type between the name and its value: `let password: &str = "…"`.
    if bytes.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\'' | b'`' | b'\\')) {
        let kind = run(bytes, at, 40, |byte| byte.is_ascii_alphanumeric() || b"_&<>[]:' ?*".contains(&byte));
        if bytes.get(at + kind) == Some(&b'=') {
            let after = blanks(at + kind + 1);
            if matches!(bytes.get(after), Some(b'"' | b'\'' | b'`')) {
                at = after;
            }
        }
    }
    // Marks of a string literal: `b"`, `r#"`, `@"`.
    let marks = run(bytes, at, 3, |byte| b"bBrRfFuU@#".contains(&byte));
    let escapes = run(bytes, at + marks, 3, |byte| byte == b'\\');
    let quote = bytes.get(at + marks + escapes).copied().filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
    if let Some(quote) = quote {
        let from = at + marks + escapes + 1;
        let rest = bytes.get(from..)?;
        let length = rest.iter().take(VALUE_MAX + 1).position(|byte| *byte == quote || *byte == b'\n')?;
        // The backslashes belong to the quote.
        let inner = rest.get(..length)?;
        let length = length - inner.iter().rev().take_while(|byte| **byte == b'\\').count();
        return text.get(from..from + length).map(|_| (from, from + length, Form::Quoted));
    }
    if is_comma {
        return None;
    }
    let length =
        run(bytes, at, VALUE_MAX, |byte| !byte.is_ascii_whitespace() && !b"\"'`,;&<>(){}[]|\\".contains(&byte));
    let to = floor(text, at + length);
    // What is called or indexed is code.
    let next = bytes.get(to).copied().unwrap_or(b'\n');
    let is_call = matches!(next, b'(' | b'[' | b'{') || next == b'<' && !is_tag;
    let form = if is_apart && matches!(next, b',' | b';' | b')') { Form::Code } else { Form::Plain };
    (text.is_char_boundary(at) && !is_call).then_some((at, to, form))
}

fn is_likely(name: &str, value: &str, form: Form) -> bool {
    let value = value.trim_end_matches('.');
    if !(VALUE_MIN..=VALUE_MAX).contains(&value.len()) || value.contains(char::is_whitespace) || value == name {
        return false;
    }
    let has = |is_so: fn(u8) -> bool| value.bytes().any(is_so);
    let (letter, digit) = (has(|byte| byte.is_ascii_alphabetic()), has(|byte| byte.is_ascii_digit()));
    let symbol = has(|byte| b"!@#%^*?~+=/".contains(&byte));
    if !letter || !(digit || symbol && form == Form::Quoted) {
        return false;
    }
    // A place, a variable, a template, or code.
    let begins =
        ["/", "./", "~/", "../", "$", "{{", "<", "%", "http:", "https:", "file:", "env:", "sha256:", "[redacted"];
    let holds = ["::", "->", "()", "${", "{{", "://", "..."];
    if begins.iter().any(|begin| value.starts_with(begin)) || holds.iter().any(|part| value.contains(part)) {
        return false;
    }
    let least = if value.len() >= 16 { 3.0 } else { 2.5 };
    bits(value) >= least
        && !is_words(value)
        && match form {
            Form::Quoted => true,
            Form::Plain => is_mixed(value) && !names_itself(value),
            Form::Code => entropy::changes(value) >= 0.45 && !value.contains(['_', '.']),
        }
}

/// Words joined by marks, perhaps with a number: the name of something.
fn is_words(value: &str) -> bool {
    let parts: Vec<&str> =
        value.split(['-', '_', '.', '/', ':', '=', '+', '@', '#', '?', '%', '*', '^', '~', '!']).collect();
    let is_word = |part: &&str| {
        let letters = part.trim_end_matches(|c: char| c.is_ascii_digit());
        part.len() - letters.len() <= 2 && letters.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    let is_camel = |part: &&str| entropy::changes(part) < 0.25;
    parts.len() > 1 && parts.iter().all(is_word) && parts.iter().all(is_camel)
}

/// A name that speaks of a secret is not one: `other.token2`.
fn names_itself(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    ["token", "password", "secret", "_key", "key_"].iter().any(|word| value.contains(word))
}

/// Letters and digits in no order, as no name has them.
fn is_mixed(value: &str) -> bool {
    entropy::changes(value) >= 0.2 || bits(value) >= 3.8 && value.bytes().filter(u8::is_ascii_digit).count() >= 3
}
