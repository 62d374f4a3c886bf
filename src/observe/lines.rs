//! The lines that git gives a hook on its standard input, and URLs that may hold a password.

use crate::error::{Error, Result};
use crate::event::{RefChange, Rewritten};
use crate::ids::Oid;
use crate::text;

/// The lines of a hook's input with their numbers, from 1.
pub(super) fn lines(input: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = input.split(|byte| *byte == b'\n');
    lines.enumerate().filter(|(_, line)| !line.is_empty()).map(|(index, line)| (index + 1, line))
}

pub(super) fn parse_oid(field: &[u8]) -> Result<Option<Oid>> {
    Oid::parse(&String::from_utf8_lossy(field))
}

/// `old SP new [SP extra]`.
pub(super) fn parse_rewritten(number: usize, line: &[u8]) -> Result<Rewritten> {
    let wrong = || Error::failed(format!("line {number} of git's list of rewritten commits reads `{}`", clipped(line)));
    let mut fields = line.split(|byte| *byte == b' ');
    let mut next = || fields.next().ok_or_else(wrong).and_then(parse_oid)?.ok_or_else(wrong);
    Ok(Rewritten { old: next()?, new: next()? })
}

/// `local-ref SP local-id SP remote-ref SP remote-id`. The first may hold spaces: it is what was typed, such as
/// `HEAD^{/fix it}`.
pub(super) fn parse_pushed(number: usize, line: &[u8]) -> Result<RefChange> {
    let wrong = || Error::failed(format!("line {number} of git's list of pushed refs reads `{}`", clipped(line)));
    let mut fields = line.rsplitn(4, |byte| *byte == b' ');
    let mut next = || fields.next().ok_or_else(wrong);
    let (old, name, new, _typed) = (next()?, next()?, next()?, next()?);
    if name.is_empty() {
        return Err(wrong());
    }
    Ok(RefChange { name: text::bytes_line(name), old: parse_oid(old)?, new: parse_oid(new)? })
}

/// `old SP new SP ref`, of a push that arrived.
pub(super) fn parse_received(number: usize, line: &[u8]) -> Result<RefChange> {
    let wrong = || Error::failed(format!("line {number} of git's list of received refs reads `{}`", clipped(line)));
    let mut fields = line.splitn(3, |byte| *byte == b' ');
    let mut next = || fields.next().ok_or_else(wrong);
    let (old, new, name) = (next()?, next()?, next()?);
    if name.is_empty() {
        return Err(wrong());
    }
    Ok(RefChange { name: text::bytes_line(name), old: parse_oid(old)?, new: parse_oid(new)? })
}

fn clipped(line: &[u8]) -> String {
    text::clipped(&text::bytes_line(line), 200).into_owned()
}

/// A URL without what it takes to log in: no password anywhere, no user either but for SSH, where it is the same for
/// everybody, and no query.
pub(super) fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let Some((user, host)) = authority.rsplit_once('@') else { return format!("{scheme}://{authority}{path}") };
    let user = user.split(':').next().unwrap_or_default();
    if scheme.ends_with("ssh") && !user.is_empty() {
        return format!("{scheme}://{user}@{host}{path}");
    }
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_what_it_takes_to_log_in() {
        for (url, clean) in [
            ("https://ada:secret@example.org/a.git", "https://example.org/a.git"),
            ("https://token@example.org/a.git?private_token=x", "https://example.org/a.git"),
            ("https://a@b:secret@example.org", "https://example.org"),
            ("ssh://git:pw@example.org:22/a@b.git", "ssh://git@example.org:22/a@b.git"),
            ("helper::https://u:p@h/x", "helper::https://h/x"),
            ("git@example.org:a.git", "git@example.org:a.git"),
            ("../b.git", "../b.git"),
            ("origin", "origin"),
        ] {
            assert_eq!(without_credentials(url), clean);
        }
    }

    #[test]
    fn input_of_git_parses_and_other_input_is_refused() {
        let (one, two, zero) = ("1".repeat(40), "2".repeat(40), "0".repeat(40));
        let pushed = parse_pushed(1, format!("HEAD^{{/a b}} {one} refs/heads/x {zero}").as_bytes()).unwrap();
        assert_eq!((pushed.name.as_str(), pushed.old), ("refs/heads/x", None));
        let deleted = parse_pushed(1, format!("(delete) {zero} refs/heads/x {one}").as_bytes()).unwrap();
        assert!(deleted.new.is_none() && deleted.old.is_some());
        let received = parse_received(1, format!("{zero} {one} refs/heads/a b").as_bytes()).unwrap();
        assert_eq!((received.name.as_str(), received.old, received.new.is_some()), ("refs/heads/a b", None, true));
        assert!(parse_rewritten(1, format!("{one} {two}").as_bytes()).is_ok());
        assert!(parse_rewritten(1, format!("{one} {two} extra words").as_bytes()).is_ok());
        for bad in ["", "x", &one, &format!("{one} {zero}"), &format!("{one}  {two}")] {
            assert!(parse_rewritten(1, bad.as_bytes()).is_err(), "{bad}");
            assert!(parse_pushed(1, bad.as_bytes()).is_err(), "{bad}");
            assert!(parse_received(1, bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_input_makes_the_parsers_panic(line: Vec<u8>, url: String) {
            parse_rewritten(1, &line).ok();
            parse_pushed(1, &line).ok();
            parse_received(1, &line).ok();
            without_credentials(&url);
        }
    }
}
