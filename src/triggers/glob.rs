//! Lists of patterns as git reads them: what they take in, what a leading `!` takes out again.
//!
//! Owns the meaning of one list; knows neither rows nor events. The meaning is that of git's `:(glob)` pathspecs: a
//! pattern is anchored at the top of the repository, `*` and `?` stop at `/`, `**` does not, upper and lower case differ,
//! a directory (`docs` or `docs/`) means everything below it. Beyond git, `{a,b}` means one or the other. Patterns and
//! what they are compared with are bytes of a repository: nothing here can panic on them.

use globset::{Candidate, Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{Error, Result};
use crate::text;

/// The longest pattern a table may hold, in bytes.
const MAX_PATTERN_BYTES: usize = 1024;

/// The characters that stand for something else, or may.
const SPECIAL: [char; 5] = ['*', '?', '[', '{', '\\'];

/// Alternatives nested this deep compile in any case: the regular expressions they become nest at most twice as deep,
/// and 250 is the limit of those.
const NESTING_HARMLESS: usize = 16;

/// What a list of patterns is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Paths below the top of the repository.
    Path,
    /// Names of branches, without `refs/heads/`.
    Branch,
    /// Full names of refs.
    Ref,
    /// `Name <email>`: here `*` matches `/` as well, since a name is no path.
    Person,
}

/// A compiled list. The last pattern that matches decides; a list that only takes out means everything but that.
pub(super) struct Patterns {
    set: GlobSet,
    /// For each glob of the set: whether it takes in.
    takes_in: Vec<bool>,
    /// Whether what no pattern matches is in.
    otherwise: bool,
}

impl Patterns {
    /// Compiles a list.
    pub(super) fn compile(patterns: &[String], subject: Subject) -> Result<Self> {
        let mut set = GlobSetBuilder::new();
        let mut takes_in = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let (positive, body) = signed(pattern);
            for glob in globs(body, subject) {
                let glob = glob.map_err(|error| unusable(pattern, &error))?;
                set.add(glob);
                takes_in.push(positive);
            }
        }
        let set = set.build().map_err(|error| {
            Error::failed("cannot compile the patterns").because(error).hint("use fewer or simpler patterns")
        })?;
        Ok(Self { set, otherwise: patterns.iter().all(|pattern| pattern.starts_with('!')), takes_in })
    }

    /// Whether the list takes this in.
    pub(super) fn take_in(&self, subject: &[u8]) -> bool {
        let mut hits = Vec::new();
        self.set.matches_candidate_into(&Candidate::from_bytes(subject), &mut hits);
        hits.iter().max().and_then(|last| self.takes_in.get(*last).copied()).unwrap_or(self.otherwise)
    }
}

/// Whether a list may take one of these in, as far as the characters tell that its patterns begin with. Compiling a list
/// takes some 20 µs and more, and most rows of a table look at a directory that the commit at hand does not touch.
pub(super) fn may_take_in(patterns: &[String], subjects: &[Vec<u8>]) -> bool {
    let mut beginnings = patterns.iter().map(|pattern| signed(pattern)).filter(|(positive, _)| *positive).peekable();
    // A list that only takes out means everything but that.
    beginnings.peek().is_none()
        || beginnings.any(|(_, body)| {
            let literal = body.split(SPECIAL).next().unwrap_or_default();
            subjects.iter().any(|subject| subject.starts_with(literal.as_bytes()))
        })
}

fn unusable(pattern: &str, error: &globset::Error) -> Error {
    Error::failed(format!("cannot use the pattern `{}`: {}", text::one_line(pattern), error.kind()))
}

/// The pattern without its `!`, and whether it had none.
pub(super) fn signed(pattern: &str) -> (bool, &str) {
    pattern.strip_prefix('!').map_or((true, pattern), |body| (false, body))
}

/// The globs that together mean this pattern.
fn globs(body: &str, subject: Subject) -> impl Iterator<Item = Result<Glob, globset::Error>> {
    let build = move |glob: &str| {
        GlobBuilder::new(glob)
            .literal_separator(subject != Subject::Person)
            .backslash_escape(true)
            .empty_alternates(true)
            .build()
    };
    let directory = body.strip_suffix('/');
    let itself = directory.is_none().then(|| build(body));
    let plain = !body.contains(SPECIAL);
    let below = (subject == Subject::Path && (plain || directory.is_some()))
        .then(|| build(&format!("{}/**", directory.unwrap_or(body))));
    itself.into_iter().chain(below)
}

/// What is wrong with a pattern: a few words, and what to do about it.
pub(super) struct Flaw {
    pub(super) label: String,
    pub(super) help: String,
}

/// Whether a pattern can be used; nothing is compiled but what the syntax alone does not decide.
pub(super) fn check(pattern: &str, subject: Subject) -> Result<(), Flaw> {
    let flaw = |label: &str, help: String| Err(Flaw { label: label.to_owned(), help });
    let (positive, body) = signed(pattern);
    let sign = if positive { "" } else { "!" };
    if body.is_empty() {
        return flaw("empty", "write a pattern such as `src/**`, or remove the entry".to_owned());
    }
    if pattern.len() > MAX_PATTERN_BYTES {
        return flaw("too long", format!("a pattern has at most {MAX_PATTERN_BYTES} bytes"));
    }
    if body.chars().any(char::is_control) {
        return flaw("holds a control character", "match it with `?`".to_owned());
    }
    if body.starts_with(['“', '”', '„', '‘', '’', '«']) {
        return flaw("typographic quotes are part of the pattern", "use straight quotes: \"src/**\"".to_owned());
    }
    if subject != Subject::Person && body.contains(", ") && !body.contains('{') {
        let entries: Vec<String> = pattern.split(", ").map(|entry| format!("\"{entry}\"")).collect();
        return flaw("one pattern with a comma in it", format!("write a list: [{}]", entries.join(", ")));
    }
    if subject == Subject::Path {
        if let Some(rest) = body.strip_prefix("./").or_else(|| body.strip_prefix('/')) {
            let help = format!("paths begin at the top of the repository: write `{sign}{rest}`");
            return flaw("matches no path git reports", help);
        }
        if body.split('/').any(|part| part == "..") {
            return flaw("leaves the repository", "write the path from the top of the repository, without `..`".into());
        }
    }
    if subject == Subject::Branch
        && let Some(name) = body.strip_prefix("refs/heads/")
    {
        return flaw(
            "a full ref name",
            format!("`branches` takes names without `refs/heads/`: write `{sign}{name}`, or use `refs`"),
        );
    }
    if subject == Subject::Ref && !body.starts_with("refs/") && !body.starts_with(['*', '?', '[', '{']) {
        return flaw("not a full ref name", format!("`refs` takes full names: write `{sign}refs/heads/{body}`"));
    }
    for glob in globs(body, subject) {
        if let Err(error) = glob {
            return flaw(&error.kind().to_string(), advice(error.kind(), body));
        }
    }
    // Alternatives nest; the other constructs have a size that their length bounds.
    if body.matches('{').count() > NESTING_HARMLESS
        && Patterns::compile(std::slice::from_ref(&pattern.to_owned()), subject).is_err()
    {
        return flaw("too large once its alternatives are written out", "use fewer alternatives".to_owned());
    }
    Ok(())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum may grow; what is not named gets the general advice")]
fn advice(kind: &globset::ErrorKind, body: &str) -> String {
    use globset::ErrorKind as E;
    let escaped = |c: char| body.replace(c, &format!("\\{c}"));
    match kind {
        E::UnclosedClass => {
            format!("close the class with `]`, or write `{}` for the character itself", escaped('['))
        }
        E::UnclosedAlternates => "close the alternatives with `}`, or write `\\{` for the character itself".to_owned(),
        E::UnopenedAlternates => "open the alternatives with `{`, or write `\\}` for the character itself".to_owned(),
        E::InvalidRange(from, to) => format!("write the range the other way round: `{to}-{from}`"),
        E::DanglingEscape => "end the pattern with `\\\\` for a backslash, or remove it".to_owned(),
        _ => "`*` stops at `/`, `**` does not, `?` is one character, `[a-z]` one of a class".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(patterns: &[&str], subject: Subject, what: &str) -> bool {
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        Patterns::compile(&patterns, subject).unwrap().take_in(what.as_bytes())
    }

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        for (patterns, path, expected) in [
            (&["src/**"][..], "src/a/b.rs", true),
            (&["src/**"], "src", false),
            (&["src/**"], "lib/src/a", false),
            (&["*.md"], "README.md", true),
            (&["*.md"], "docs/a.md", false),
            (&["**/*.md"], "README.md", true),
            (&["**/*.md"], "docs/a.md", true),
            (&["a/**/z"], "a/z", true),
            (&["a/**/z"], "a/b/c/z", true),
            (&["docs/"], "docs/a/b", true),
            (&["docs/"], "docs", false),
            (&["docs"], "docs/a/b", true),
            (&["docs"], "docs", true),
            (&["docs"], "docsy/a", false),
            (&["SRC/**"], "src/a", false),
            (&["src/?.rs"], "src/a.rs", true),
            (&["src/?.rs"], "src/a/rs", false),
            (&["src/[ab].rs"], "src/b.rs", true),
            (&["*.{ts,tsx}"], "a.tsx", true),
            (&["\\!a"], "!a", true),
            (&["src/**", "!**/*.md"], "src/a.md", false),
            (&["src/**", "!**/*.md", "src/keep.md"], "src/keep.md", true),
            (&["!docs/**"], "src/a", true),
            (&["!docs/**"], "docs/a", false),
            (&["!docs/**", "src/**"], "lib/a", false),
            (&["**"], "a/b/c", true),
        ] {
            assert_eq!(taken(patterns, Subject::Path, path), expected, "{patterns:?} {path}");
        }
        assert!(taken(&["*@example.org>"], Subject::Person, "A/B <a@example.org>"));
        assert!(!taken(&["feature/*"], Subject::Branch, "feature/a/b"));
        assert!(taken(&["refs/heads/main"], Subject::Ref, "refs/heads/main"));
    }

    #[test]
    fn paths_need_not_be_utf8() {
        let patterns = Patterns::compile(&["src/**".to_owned(), "!**/*.md".to_owned()], Subject::Path).unwrap();
        assert!(patterns.take_in(b"src/caf\xe9.rs"));
        assert!(!patterns.take_in(b"src/caf\xe9.md"));
    }

    #[test]
    fn alternatives_that_are_not_compiled_to_be_checked_compile() {
        let nested = format!("{}a{}", "{*,".repeat(NESTING_HARMLESS), "}".repeat(NESTING_HARMLESS));
        let filled = format!("{nested}{}", "**/".repeat((MAX_PATTERN_BYTES - nested.len()) / 3));
        let classes = format!("{nested}{}", "[!a-z]".repeat((MAX_PATTERN_BYTES - nested.len()) / 6));
        for pattern in [nested.clone(), filled, classes] {
            for subject in [Subject::Path, Subject::Branch, Subject::Ref, Subject::Person] {
                assert!(Patterns::compile(std::slice::from_ref(&pattern), subject).is_ok(), "{pattern}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn what_the_beginnings_rule_out_is_not_taken_in(
            patterns in proptest::collection::vec("!?[ab*?/{},\\\\]{1,6}", 1..4),
            path in "[ab/]{1,5}",
        ) {
            let sound = patterns.iter().all(|pattern| check(pattern, Subject::Path).is_ok());
            if sound && !may_take_in(&patterns, &[path.clone().into_bytes()]) {
                assert!(!Patterns::compile(&patterns, Subject::Path).unwrap().take_in(path.as_bytes()));
            }
        }

        #[test]
        fn what_passes_the_check_compiles(pattern in "[-a-z/*?!{},\\[\\]\\\\]{0,40}", path: Vec<u8>) {
            for subject in [Subject::Path, Subject::Branch, Subject::Ref, Subject::Person] {
                if check(&pattern, subject).is_ok() {
                    Patterns::compile(std::slice::from_ref(&pattern), subject).unwrap().take_in(&path);
                }
            }
        }
    }
}
