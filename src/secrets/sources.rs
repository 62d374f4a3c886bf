//! Where values stand that are known to be secret: variables whose name says so, and logins in URLs.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Words of a variable's name, as `_` divides it, that tell a secret.
const WORDS: &[&str] = &[
    "ACCESSKEY",
    "APIKEY",
    "AUTH",
    "AUTHTOKEN",
    "BEARER",
    "COOKIE",
    "CREDENTIAL",
    "CREDENTIALS",
    "CREDS",
    "DSN",
    "JWT",
    "KEY",
    "PASS",
    "PASSPHRASE",
    "PASSWD",
    "PASSWORD",
    "PAT",
    "PGPASSWORD",
    "PRIVATEKEY",
    "PWD",
    "SECRET",
    "SECRETS",
    "TOKEN",
    "TOKENS",
    "WEBHOOK",
];

/// Last words of names whose value only says where a secret is, or which one is meant.
const PLACES: &[&str] = &["DIR", "FILE", "HOME", "ID", "NAME", "PATH", "SOCK", "TYPE"];

/// The values of variables that hold secrets, by their names; and logins in values that are URLs.
pub fn in_environment<'a>(variables: impl IntoIterator<Item = (&'a OsString, &'a OsString)>) -> Vec<String> {
    let mut out = Vec::new();
    for (name, value) in variables {
        let Some(value) = value.to_str() else { continue };
        // One in 64 keys in base64 begins as a path does.
        if names_secret(name) && !(Path::new(value).is_absolute() && Path::new(value).exists()) {
            out.push(value.to_owned());
        }
        out.extend(in_url(value));
    }
    out
}

fn names_secret(name: &OsStr) -> bool {
    let Some(name) = name.to_str().map(str::to_ascii_uppercase) else { return false };
    // What the shell keeps there is the directory.
    if matches!(name.as_str(), "PWD" | "OLDPWD") {
        return false;
    }
    let words: Vec<&str> = name.split(['_', '-', '.']).collect();
    let is_place = words.last().is_some_and(|last| PLACES.contains(last));
    let says_so =
        |word: &&str| WORDS.contains(word) || ["TOKEN", "SECRET", "PASSWORD"].iter().any(|end| word.ends_with(end));
    !is_place && words.iter().any(says_so)
}

/// The password of a URL, as it stands there and decoded; the user's name where there is no password, since it is a token
/// then. `git@host` is none.
pub fn in_url(url: &str) -> Vec<String> {
    let Some((_, rest)) = url.split_once("://") else { return Vec::new() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((login, _)) = authority.rsplit_once('@') else { return Vec::new() };
    let secret = login.split_once(':').map_or(login, |(_, password)| password);
    let secret = if secret.is_empty() { login.trim_end_matches(':') } else { secret };
    let mut out = vec![secret.to_owned()];
    out.extend(decoded(secret).filter(|decoded| decoded != secret));
    // A name alone is a token only if it is long.
    out.retain(|secret| login.contains(':') || secret.len() >= 16);
    out
}

/// Percent signs resolved; `None` where what comes out is no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        let escaped = hex.filter(|_| *first == b'%');
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_is_secret() {
        for name in [
            "OPENAI_API_KEY",
            "GITHUB_TOKEN",
            "DB_PASSWORD",
            "npm_config_authtoken",
            "AWS_SECRET_ACCESS_KEY",
            "PGPASSWORD",
        ] {
            assert!(names_secret(OsStr::new(name)), "{name}");
        }
        for name in [
            "PATH",
            "PWD",
            "KEYBOARD",
            "GIT_AUTHOR_NAME",
            "SSH_AUTH_SOCK",
            "TOKENIZERS_PARALLELISM",
            "AWS_ACCESS_KEY_ID",
        ] {
            assert!(!names_secret(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_url_gives_its_password_or_its_token() {
        assert_eq!(in_url("https://ada:hunter%212@host/x"), ["hunter%212", "hunter!2"]);
        assert_eq!(in_url("https://0123456789abcdef@host/x"), ["0123456789abcdef"]);
        assert_eq!(in_url("https://0123456789abcdef:@host/x"), ["0123456789abcdef"]);
        for plain in ["ssh://git@host/x", "https://host/a@b", "no url", "https://%zz@host"] {
            assert!(in_url(plain).is_empty(), "{plain}");
        }
    }
}
