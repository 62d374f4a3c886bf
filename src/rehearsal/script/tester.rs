//! The tester's part: finds the build tool, runs the tests, and reports what came out of them.
//!
//! A verdict rests on the exit code and the output of a command that ran. Where a test fails, the line at fault is
//! fetched by a command of its own, so that what is quoted was read.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

use super::architect::{is_document, is_test};
use super::facts::{Facts, pattern};
use super::history::{Execution, History, Outcome};
use super::{MARK, Step, word};

/// How many failures are looked up.
const FAILURES: usize = 3;

/// How many gaps are reported.
const GAPS: usize = 3;

/// The test command for a file at the top of the repository; the first file that is there decides.
const TOOLS: &[(&str, &str)] = &[
    ("Cargo.toml", "cargo test"),
    ("go.mod", "go test ./..."),
    ("pnpm-lock.yaml", "pnpm test"),
    ("yarn.lock", "yarn test"),
    ("package.json", "npm test"),
    ("pytest.ini", "pytest"),
    ("pyproject.toml", "pytest"),
    ("setup.py", "pytest"),
    ("tox.ini", "pytest"),
    ("Makefile", "make test"),
    ("makefile", "make test"),
    ("GNUmakefile", "make test"),
];

/// Words by which a test command says that it could not begin: nothing about the change follows from them.
const NOT_BEGUN: &[&str] = &[
    "No rule to make target",
    "Missing script: \"test\"",
    "no test specified",
    "failed to download",
    "Could not resolve host",
    "could not find `Cargo.toml`",
    "ModuleNotFoundError: No module named 'pytest'",
];

/// What the tester does next.
pub(super) fn next(facts: &Facts, history: &History) -> Step {
    let Some(listing) = history.of("ls") else {
        return Step::run("ls", "Looking for the build tool.");
    };
    let Some(command) = listing.success().and_then(test_command) else {
        let why = match listing.success() {
            Some(_) => "it found no build tool it knows at the top of the repository".to_owned(),
            None => format!("it could not list the files: {}", first_line(&listing.output)),
        };
        return Step::Answer(answer(facts, "inconclusive", &why, &[], &[]));
    };
    let Some(tests) = history.of(command) else {
        return Step::run(command, format!("Running the tests: {command}."));
    };
    let code = match tests.outcome {
        Outcome::Exited { code } => code,
        Outcome::Refused => {
            let why = format!("`{command}` was not executed: {}", first_line(&tests.output));
            return Step::Answer(answer(facts, "inconclusive", &why, &[], &[]));
        }
        Outcome::Running { .. } => {
            let ran = ran(tests, "It had not ended when the rehearsal gave up.");
            return Step::Answer(answer(facts, "inconclusive", &format!("`{command}` did not end"), &[ran], &[]));
        }
    };
    let places = if code == 0 { Vec::new() } else { places(&tests.output) };
    for place in &places {
        let read = place.command();
        if history.of(&read).is_none() {
            return Step::run(read, format!("Reading line {} of {}.", place.line, place.path));
        }
    }
    Step::Answer(report(facts, history, tests, code, &places))
}

fn test_command(listing: &str) -> Option<&'static str> {
    let names: Vec<&str> = listing.split_whitespace().collect();
    TOOLS.iter().find(|(file, _)| names.contains(file)).map(|(_, command)| *command)
}

fn report(facts: &Facts, history: &History, tests: &Execution, code: i32, places: &[Place]) -> Value {
    let command = &tests.command;
    let counts = Counts::of(&tests.output);
    let shown = counts.map_or_else(
        || format!("It ended with exit code {code}."),
        |counts| format!("{} passed and {} failed; exit code {code}.", counts.passed, counts.failed),
    );
    let not_begun = NOT_BEGUN.iter().find(|words| code != 0 && tests.output.contains(**words));
    let (verdict, why) = match (code, counts) {
        (0, Some(Counts { passed: 0, failed: 0 })) => {
            ("inconclusive", format!("`{command}` ended with exit code 0 but executed no test"))
        }
        (0, _) => ("pass", format!("`{command}` ended with exit code 0")),
        (126 | 127, _) => ("inconclusive", format!("`{command}` could not be executed (exit code {code})")),
        _ => match not_begun {
            Some(words) => ("inconclusive", format!("`{command}` could not begin: {words}")),
            None => ("fail", format!("`{command}` ended with exit code {code}")),
        },
    };
    let why = counts
        .filter(|_| verdict != "inconclusive")
        .map_or(why.clone(), |counts| format!("{why}: {} passed, {} failed", counts.passed, counts.failed));
    let failures: Vec<Value> =
        if verdict == "fail" { places.iter().filter_map(|place| place.failure(history)).collect() } else { Vec::new() };
    answer(facts, verdict, &why, &[ran(tests, &shown)], &failures)
}

fn ran(tests: &Execution, showed: &str) -> Value {
    json!({ "command": tests.command, "exit_code": tests.exit_code(), "showed": showed })
}

fn answer(facts: &Facts, verdict: &str, why: &str, ran: &[Value], failures: &[Value]) -> Value {
    json!({
        "verdict": verdict,
        "summary": format!("{MARK}: {why}. It judged {} by nothing else.", facts.commit_name()),
        "ran": ran,
        "failures": failures,
        "gaps": gaps(facts),
        "proposed_tests_patch": null,
    })
}

fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason was given");
    crate::text::clipped(line.trim(), 200).into_owned()
}

/// How many tests ran, by the summary lines of cargo, pytest and TAP reporters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    /// The sum over all summaries, or `None` if there is none.
    fn of(output: &str) -> Option<Self> {
        static CARGO: LazyLock<Regex> =
            LazyLock::new(|| pattern(r"(?m)^test result: \w+\. (\d+) passed; (\d+) failed;"));
        static PYTEST: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?m)^=+ (?:(\d+) failed, )?(\d+) passed[^=]*=+$"));
        static TAP: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?m)^# (pass|fail)\s+(\d+)$"));
        let number = |text: Option<regex::Match<'_>>| text.and_then(|n| n.as_str().parse::<u64>().ok()).unwrap_or(0);
        let mut counts: Option<Self> = None;
        let mut add = |passed: u64, failed: u64| {
            let sum = counts.get_or_insert(Self { passed: 0, failed: 0 });
            sum.passed = sum.passed.saturating_add(passed);
            sum.failed = sum.failed.saturating_add(failed);
        };
        CARGO.captures_iter(output).for_each(|found| add(number(found.get(1)), number(found.get(2))));
        PYTEST.captures_iter(output).for_each(|found| add(number(found.get(2)), number(found.get(1))));
        for found in TAP.captures_iter(output) {
            let n = number(found.get(2));
            if &found[1] == "pass" { add(n, 0) } else { add(0, n) }
        }
        counts
    }
}

/// A place that the output of a failed test run points at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    test: String,
    path: String,
    line: u32,
    why: String,
}

impl Place {
    /// Prints the file up to the line, so that the last line printed is the one meant, whatever a shell may have
    /// printed before it.
    fn command(&self) -> String {
        format!("head -n {} {}", self.line, self.path)
    }

    fn failure(&self, history: &History) -> Option<Value> {
        let printed = history.of(&self.command())?.success()?;
        let quote = printed.lines().next_back().filter(|line| !line.trim().is_empty())?;
        Some(json!({ "test": self.test, "file": self.path, "line": self.line, "quote": quote, "why": self.why }))
    }
}

/// The places in the output, by Rust's panics and, where there are none, by anything of the form `path.ext:12`.
fn places(output: &str) -> Vec<Place> {
    static PANIC: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(?m)^thread '([^'\n]+)'[^\n]* panicked at ([^:\n]+):(\d+):\d+:?$"));
    static ANY: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"(?m)(?:^|[\s(])((?:[\w.+-]+/)*[\w+-][\w.+-]*\.[A-Za-z]\w*):(\d+)"));
    let mut places: Vec<Place> = Vec::new();
    let mut add = |test: &str, path: &str, line: &str, why: String| {
        let (Some(path), Ok(line)) = (word(path), line.parse::<u32>()) else { return };
        let known = places.iter().any(|place| place.path == path && place.line == line);
        if line > 0 && !known && places.len() < FAILURES {
            places.push(Place { test: test.to_owned(), path: path.to_owned(), line, why });
        }
    };
    for found in PANIC.captures_iter(output) {
        let end = found.get(0).map_or(0, |whole| whole.end());
        add(&found[1], &found[2], &found[3], message(&output[end..]));
    }
    if !PANIC.is_match(output) {
        for found in ANY.captures_iter(output) {
            let start = found.get(1).map_or(0, |path| output[..path.start()].rfind('\n').map_or(0, |at| at + 1));
            add("the test run", &found[1], &found[2], first_line(&output[start..]));
        }
    }
    places
}

/// What a panic says: the lines after its place, up to an empty line or a note.
fn message(rest: &str) -> String {
    let lines = rest.lines().skip(1).take_while(|line| !line.trim().is_empty() && !line.starts_with("note:"));
    let said = lines.map(str::trim).take(4).collect::<Vec<_>>().join("; ");
    if said.is_empty() { "The test panicked without a message.".to_owned() } else { said }
}

/// New functions that no other added line names.
fn gaps(facts: &Facts) -> Vec<Value> {
    static FUNCTION: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"^\s*(?:(?:pub|export|async|static)(?:\([\w ]+\))? )*(?:fn|func|def|function) (\w+)\s*[(<]")
    });
    facts
        .added
        .iter()
        .enumerate()
        .filter(|(_, added)| !is_test(&added.path) && !is_document(&added.path))
        .filter(|(at, _)| !at.checked_sub(1).is_some_and(|before| facts.added[before].text.contains("#[test]")))
        .filter_map(|(at, added)| {
            let name = FUNCTION.captures(&added.text)?[1].to_owned();
            let named = facts.added.iter().enumerate().any(|(other, line)| other != at && line.text.contains(&name));
            (!named).then(|| {
                json!({
                    "file": added.path,
                    "what": format!("`{name}` is new, and no other line that this commit adds names it."),
                    "harm": "A mistake in it goes unnoticed unless a test that was there before reaches it.",
                })
            })
        })
        .take(GAPS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_added_up() {
        let cargo =
            "test result: FAILED. 2 passed; 1 failed; 0 ignored\n\ntest result: ok. 3 passed; 0 failed; 0 ignored";
        assert_eq!(Counts::of(cargo), Some(Counts { passed: 5, failed: 1 }));
        assert_eq!(Counts::of("===== 1 failed, 4 passed in 0.1s ====="), Some(Counts { passed: 4, failed: 1 }));
        assert_eq!(Counts::of("# pass 2\n# fail 0"), Some(Counts { passed: 2, failed: 0 }));
        assert_eq!(Counts::of("ok"), None);
    }

    #[test]
    fn places_are_found_and_hostile_paths_are_not() {
        let panic = "---- t::adds stdout ----\n\nthread 't::adds' (12) panicked at src/lib.rs:9:5:\n\
            assertion failed\n  left: 5\n right: 4\nnote: run with\n";
        let place = Place { test: "t::adds".into(), path: "src/lib.rs".into(), line: 9, why: String::new() };
        assert_eq!(places(panic), [Place { why: "assertion failed; left: 5; right: 4".into(), ..place }]);
        let compiler = "error[E0308]: mismatched types\n --> src/a.rs:3:7\n  |\n --> src/a.rs:3:9\n --> src/b.rs:1:1\n";
        assert_eq!(places("one\n\nx.c:1: bad\n")[0].why, "x.c:1: bad");
        let found: Vec<_> = places(compiler).into_iter().map(|place| place.command()).collect();
        assert_eq!(found, ["head -n 3 src/a.rs", "head -n 1 src/b.rs"]);
        for hostile in ["/etc/x.rs:3", " ../../x.rs:3", " a/../b.rs:1", " $(id).rs:0", " .git/config.x:1", " x.rs:0"] {
            assert_eq!(places(hostile), [], "{hostile}");
        }
    }

    #[test]
    fn the_build_tool_is_the_one_at_the_top() {
        assert_eq!(test_command("noise from a shell\nCargo.toml\nMakefile\nsrc\n"), Some("cargo test"));
        assert_eq!(test_command("Makefile\nREADME.md\n"), Some("make test"));
        assert_eq!(test_command("MyMakefile\nCargo.toml.orig\n"), None);
    }
}
