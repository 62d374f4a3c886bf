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
    /// The patterns that a comparison of bytes decides: the commonest ones, and to compile them costs most of all.
    simple: Vec<Rule<Simple>>,
    /// The others.
    set: GlobSet,
    /// One for each glob of the set.
    rules: Vec<Rule<()>>,
    /// Whether what no pattern matches is in.
    otherwise: bool,
}

/// What one pattern of a list says.
struct Rule<T> {
    /// Where it stands in the list.
    position: usize,
    takes_in: bool,
    what: T,
}

/// A pattern that says what it means without an expression.
enum Simple {
    /// `**`
    Everything,
    /// `docs/**`: what begins with `docs/`.
    Beginning(Vec<u8>),
    /// `docs`: itself, and what lies below it.
    Itself(Vec<u8>),
    /// `**/*.md`: what ends in `.md`, which holds no slash.
    Ending(Vec<u8>),
}

impl Simple {
    fn of(body: &str, subject: Subject) -> Option<Self> {
        if subject != Subject::Path {
            return None;
        }
        if body == "**" {
            return Some(Self::Everything);
        }
        if let Some(ending) = body.strip_prefix("**/*") {
            let is_plain = !ending.is_empty() && !ending.contains(SPECIAL) && !ending.contains(['/', ',', '}']);
            return is_plain.then(|| Self::Ending(ending.as_bytes().to_vec()));
        }
        if let Some(directory) = body.strip_suffix("/**").or_else(|| body.strip_suffix('/')) {
            let is_plain = !directory.is_empty() && !directory.contains(SPECIAL) && !directory.contains([',', '}']);
            return is_plain.then(|| Self::Beginning(format!("{directory}/").into_bytes()));
        }
        (!body.contains(SPECIAL) && !body.contains([',', '}'])).then(|| Self::Itself(body.as_bytes().to_vec()))
    }

    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Everything => true,
            Self::Beginning(beginning) => path.starts_with(beginning),
            Self::Itself(name) => {
                path.strip_prefix(name.as_slice()).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
            }
            Self::Ending(ending) => path.ends_with(ending),
        }
    }
}

impl Patterns {
    /// Compiles a list.
    pub(super) fn compile(patterns: &[String], subject: Subject) -> Result<Self> {
        let mut set = GlobSetBuilder::new();
        let (mut simple, mut rules) = (Vec::new(), Vec::new());
        for (position, pattern) in patterns.iter().enumerate() {
            let (takes_in, body) = signed(pattern);
            if let Some(what) = Simple::of(body, subject) {
                simple.push(Rule { position, takes_in, what });
                continue;
            }
            for glob in globs(body, subject) {
                set.add(glob.map_err(|error| unusable(pattern, &error))?);
                rules.push(Rule { position, takes_in, what: () });
            }
        }
        let set = if rules.is_empty() {
            GlobSet::empty()
        } else {
            set.build().map_err(|error| {
                Error::failed("cannot compile the patterns").because(error).hint("use fewer or simpler patterns")
            })?
        };
        Ok(Self { simple, set, rules, otherwise: patterns.iter().all(|pattern| pattern.starts_with('!')) })
    }

    /// Whether the list takes this in.
    pub(super) fn take_in(&self, subject: &[u8]) -> bool {
        let by_bytes = self.simple.iter().rfind(|rule| rule.what.matches(subject));
        let by_bytes = by_bytes.map(|rule| (rule.position, rule.takes_in));
        let mut last = by_bytes;
        // Only a later pattern can say otherwise.
        if self.rules.last().map(|rule| rule.position) > by_bytes.map(|(position, _)| position) {
            let mut hits = Vec::new();
            self.set.matches_candidate_into(&Candidate::from_bytes(subject), &mut hits);
            let by_glob = hits.iter().max().and_then(|last| self.rules.get(*last));
            last = last.max(by_glob.map(|rule| (rule.position, rule.takes_in)));
        }
        last.map_or(self.otherwise, |(_, takes_in)| takes_in)
    }
}

/// What a list takes in of everything that may lie below a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Below {
    /// Nothing, whatever it is called.
    Nothing,
    /// Everything, whatever it is called.
    Everything,
    /// That depends on the path.
    Some,
}

impl Below {
    /// What these patterns for paths say of `directory`, which is empty or ends in `/`: the last pattern that matches
    /// everything there decides, unless a later one may match something.
    pub(super) fn of(patterns: &[String], directory: &[u8]) -> Self {
        let mut may_take_out = false;
        for pattern in patterns.iter().rev() {
            let (positive, body) = signed(pattern);
            match (reach(body, directory), positive) {
                (Self::Nothing, _) => {}
                (Self::Some, true) => return Self::Some,
                (Self::Some, false) => may_take_out = true,
                (Self::Everything, true) if may_take_out => return Self::Some,
                (Self::Everything, true) => return Self::Everything,
                (Self::Everything, false) => return Self::Nothing,
            }
        }
        match patterns.iter().all(|pattern| pattern.starts_with('!')) {
            true if may_take_out => Self::Some,
            true => Self::Everything,
            false => Self::Nothing,
        }
    }
}

/// What a pattern matches of everything that may lie below `directory`.
fn reach(body: &str, directory: &[u8]) -> Below {
    let all_below = match body.strip_suffix("**") {
        Some("") => return Below::Everything,
        Some(above) => above.strip_suffix('/'),
        None => Some(body.strip_suffix('/').unwrap_or(body)),
    };
    if let Some(above) = all_below.filter(|above| !above.is_empty() && !above.contains(SPECIAL))
        && directory.strip_prefix(above.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
    {
        return Below::Everything;
    }
    let literal = beginning(body);
    if literal.starts_with(directory) || directory.starts_with(literal) { Below::Some } else { Below::Nothing }
}

/// The characters that everything a pattern matches begins with.
fn beginning(body: &str) -> &[u8] {
    body.split(SPECIAL).next().unwrap_or_default().as_bytes()
}

/// Whether a list may take this in, as far as the characters tell that its patterns begin with. Compiling a list takes
/// some 20 µs and more, and most rows of a table look at a directory that the commit at hand does not touch.
pub(super) fn may_take_in(patterns: &[String], path: &[u8]) -> bool {
    let mut positive = patterns.iter().map(|pattern| signed(pattern)).filter(|(positive, _)| *positive).peekable();
    // A list that only takes out means everything but that.
    positive.peek().is_none() || positive.any(|(_, body)| path.starts_with(beginning(body)))
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
pub(super) mod tests {
    use super::*;

    /// The meaning of a list without any of the shortcuts: every pattern a glob, every glob asked.
    pub(in crate::triggers) fn plainly_compiled(
        patterns: &[String],
        subject: Subject,
    ) -> impl Fn(&[u8]) -> bool + use<> {
        let mut set = GlobSetBuilder::new();
        let mut takes_in = Vec::new();
        for pattern in patterns {
            let (positive, body) = signed(pattern);
            for glob in globs(body, subject) {
                set.add(glob.unwrap());
                takes_in.push(positive);
            }
        }
        let set = set.build().unwrap();
        let otherwise = patterns.iter().all(|pattern| pattern.starts_with('!'));
        move |path| {
            let hits = set.matches_candidate(&Candidate::from_bytes(path));
            hits.iter().max().map_or(otherwise, |last| takes_in[*last])
        }
    }

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
            if sound && !may_take_in(&patterns, path.as_bytes()) {
                assert!(!Patterns::compile(&patterns, Subject::Path).unwrap().take_in(path.as_bytes()));
            }
        }

        #[test]
        fn patterns_that_are_compared_as_bytes_mean_what_their_globs_mean(
            patterns in proptest::collection::vec(
                "!?(\\*\\*/\\*|\\*\\*|)([ab.,}\\]/]{0,3})(/\\*\\*|/|)", 1..4,
            ),
            path in "[ab.,}\\]\n/]{1,6}",
            bytes: Vec<u8>,
        ) {
            if patterns.iter().all(|pattern| check(pattern, Subject::Path).is_ok()) {
                let (plain, compiled) =
                    (plainly_compiled(&patterns, Subject::Path), Patterns::compile(&patterns, Subject::Path).unwrap());
                for path in [path.as_bytes(), &bytes] {
                    proptest::prop_assert_eq!(compiled.take_in(path), plain(path), "{:?}", patterns);
                }
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
