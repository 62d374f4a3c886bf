//! Which commands of a run executed tests, and whether they say so.
//!
//! A list of known runners, for each the options with which it executes tests all the same: a command with any other
//! option (a dry run, a listing, another directory) is none that tests. Where a runner's output tells how many tests
//! were executed, that is asked too: exit code 0 of a suite without tests proves nothing.

use super::evidence::Executed;

/// A program that executes tests.
struct Runner {
    /// The words it begins with.
    words: &'static [&'static str],
    /// Options without a value with which it tests.
    flags: &'static [&'static str],
    /// Options with a value with which it tests.
    valued: &'static [&'static str],
    /// What may stand beside options.
    operands: Operands,
    /// Options after `--`, without and with a value.
    after: (&'static [&'static str], &'static [&'static str]),
    /// What its output tells.
    executed: Output,
}

/// How the number of executed tests is found in an output.
#[derive(Clone, Copy)]
enum Output {
    /// It is always printed.
    Tells(fn(&str) -> u64),
    /// `None` if this output cannot tell.
    MayTell(fn(&str) -> Option<u64>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operands {
    /// Nothing: they would be other things to do.
    None,
    /// Names of tests, and paths below the top.
    Inside,
    /// Packages, named by paths below the top: `./...`.
    Dotted,
}

const NOTHING: (&[&str], &[&str]) = (&[], &[]);

const CARGO_FLAGS: &[&str] = &[
    "-q",
    "--quiet",
    "-v",
    "-vv",
    "--verbose",
    "--workspace",
    "--all",
    "--all-targets",
    "--lib",
    "--bins",
    "--tests",
    "--examples",
    "--doc",
    "--all-features",
    "--no-default-features",
    "--no-fail-fast",
    "--release",
    "-r",
    "--locked",
    "--offline",
    "--frozen",
    "--no-capture",
    "--nocapture",
];
const CARGO_VALUED: &[&str] =
    &["-p", "--package", "--exclude", "--bin", "--test", "--example", "-F", "--features", "-j", "--jobs", "--profile"];
const PYTEST_FLAGS: &[&str] = &[
    "-q",
    "--quiet",
    "-v",
    "-vv",
    "--verbose",
    "-x",
    "--exitfirst",
    "-s",
    "-l",
    "-ra",
    "-rA",
    "-rs",
    "--no-header",
    "--capture=no",
];
const PYTEST_VALUED: &[&str] = &["-k", "-m", "-n", "--tb", "--maxfail", "--durations"];
const SCRIPT_FLAGS: &[&str] = &["-s", "--silent", "--run", "--ci", "--runInBand", "--verbose", "--coverage"];

/// Cargo and nextest.
const fn cargo(words: &'static [&'static str], executed: fn(&str) -> u64) -> Runner {
    Runner {
        words,
        flags: CARGO_FLAGS,
        valued: CARGO_VALUED,
        operands: Operands::Inside,
        after: (
            &[
                "--nocapture",
                "--no-capture",
                "--show-output",
                "--exact",
                "--ignored",
                "--include-ignored",
                "-q",
                "--quiet",
            ],
            &["--test-threads", "--skip"],
        ),
        executed: Output::Tells(executed),
    }
}

const fn pytest(words: &'static [&'static str]) -> Runner {
    Runner {
        words,
        flags: PYTEST_FLAGS,
        valued: PYTEST_VALUED,
        operands: Operands::Inside,
        after: NOTHING,
        executed: Output::Tells(by_pytest),
    }
}

const fn unittest(words: &'static [&'static str]) -> Runner {
    Runner {
        words,
        flags: &["-v", "--verbose", "-q", "--quiet", "-f", "--failfast", "-b", "--buffer"],
        valued: &["-k", "-s", "-p", "-t"],
        operands: Operands::Inside,
        after: NOTHING,
        executed: Output::Tells(by_unittest),
    }
}

/// A script of a `package.json`, which may be anything.
const fn script(words: &'static [&'static str]) -> Runner {
    Runner {
        words,
        flags: SCRIPT_FLAGS,
        valued: &[],
        operands: Operands::Inside,
        after: (SCRIPT_FLAGS, &[]),
        executed: Output::MayTell(by_script),
    }
}

const fn make(words: &'static [&'static str]) -> Runner {
    Runner {
        words,
        flags: &["-s", "--silent", "-k", "--keep-going", "-j", "--no-print-directory", "V=1"],
        valued: &["-j", "--jobs"],
        operands: Operands::None,
        after: NOTHING,
        executed: Output::MayTell(by_make),
    }
}

const RUNNERS: &[Runner] = &[
    cargo(&["cargo", "test"], by_libtest),
    cargo(&["cargo", "nextest", "run"], by_nextest),
    script(&["npm", "test"]),
    script(&["pnpm", "test"]),
    script(&["yarn", "test"]),
    pytest(&["pytest"]),
    pytest(&["python", "-m", "pytest"]),
    pytest(&["python3", "-m", "pytest"]),
    unittest(&["python", "-m", "unittest"]),
    unittest(&["python3", "-m", "unittest"]),
    Runner {
        words: &["go", "test"],
        flags: &["-v", "-race", "-short", "-failfast", "-cover", "-count=1"],
        valued: &["-run", "-timeout", "-p", "-parallel", "-tags", "-cpu"],
        operands: Operands::Dotted,
        after: NOTHING,
        executed: Output::Tells(by_go),
    },
    Runner {
        words: &["dotnet", "test"],
        flags: &["--no-restore", "--no-build", "--nologo"],
        valued: &["-c", "--configuration", "-f", "--framework", "--filter", "-v", "--verbosity"],
        operands: Operands::Inside,
        after: NOTHING,
        executed: Output::MayTell(by_dotnet),
    },
    Runner {
        words: &["mvn", "test"],
        flags: &["-B", "--batch-mode", "-e", "-o", "--offline", "-ntp", "--no-transfer-progress", "-am"],
        valued: &["-Dtest", "-pl", "--projects", "-T"],
        operands: Operands::None,
        after: NOTHING,
        executed: Output::Tells(by_maven),
    },
    make(&["make", "test"]),
    make(&["make", "check"]),
];

/// The runner that this command calls, if the run was allowed it, and the words after its name.
fn runner<'c>(command: &'c Executed, allowed: &[String]) -> Option<(&'static Runner, &'c [String])> {
    let begins = |prefix: &[&str]| {
        command.words.iter().zip(prefix).filter(|(word, other)| word == other).count() == prefix.len()
    };
    let listed = allowed
        .iter()
        .filter_map(|prefix| shlex::split(prefix))
        .any(|prefix| !prefix.is_empty() && command.words.starts_with(&prefix));
    let runner = RUNNERS.iter().filter(|_| listed).find(|runner| begins(runner.words))?;
    Some((runner, command.words.get(runner.words.len()..)?))
}

/// Whether this command calls a test runner, whatever it is told to do.
pub(super) fn calls_runner(command: &Executed, allowed: &[String]) -> bool {
    runner(command, allowed).is_some()
}

/// Whether this command executes tests.
pub(super) fn is_test(command: &Executed, allowed: &[String]) -> bool {
    let Some((runner, arguments)) = runner(command, allowed) else { return false };
    let end = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    let (before, after) = arguments.split_at(end);
    let (flags, valued) = runner.after;
    known(before, runner.flags, runner.valued, runner.operands)
        && known(after.get(1..).unwrap_or_default(), flags, valued, runner.operands)
}

/// Whether all of these words are known.
fn known(words: &[String], flags: &[&str], valued: &[&str], operands: Operands) -> bool {
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        let attached = valued.iter().filter_map(|option| word.strip_prefix(option)).any(|rest| {
            let number = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
            number || rest.strip_prefix('=').is_some_and(is_inside)
        });
        if attached {
            continue;
        }
        if valued.contains(&word) && words.peek().is_some_and(|value| !value.starts_with('-') && is_inside(value)) {
            words.next();
            continue;
        }
        let is_operand = !word.starts_with('-')
            && is_inside(word)
            && match operands {
                Operands::None => false,
                Operands::Inside => true,
                Operands::Dotted => word == "." || word.starts_with("./"),
            };
        if !flags.contains(&word) && !is_operand {
            return false;
        }
    }
    true
}

/// Whether a word, if it is a path, stays below the directory the command is executed in.
fn is_inside(word: &str) -> bool {
    !word.starts_with(['/', '~']) && word.split('/').all(|part| part != "..")
}

/// Whether the output says that no test was executed, or does not say of one although this runner would.
pub(super) fn shows_no_test(command: &Executed, allowed: &[String]) -> bool {
    let Some((runner, _)) = runner(command, allowed) else { return false };
    let output = without_colours(&command.output);
    match runner.executed {
        Output::Tells(count) => count(&output) == 0,
        Output::MayTell(count) => count(&output) == Some(0),
    }
}

/// Whether the output says that a test failed, whatever the exit code says: a build file may be told to go on after
/// errors. By the closing lines of common runners, which stand for a number of failures above zero.
pub(super) fn shows_failure(command: &Executed) -> bool {
    let output = without_colours(&command.output);
    output.lines().any(|line| {
        let line = line.trim();
        let counted = ["failed", "failures", "failure", "failing"].iter().filter_map(|label| before(line, label));
        counted.chain(after(line, "failures=")).chain(after(line, "# fail ")).any(|count| count > 0)
            || line.starts_with("test result: FAILED")
            || line.starts_with("FAILED (")
            || line.starts_with("--- FAIL: ")
    })
}

/// Without the sequences that colour text: a script may be told to print them.
fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).map_or(part.len(), |at| at + 1);
        out.push_str(part.get(end..).unwrap_or_default());
    }
    out
}

/// The number that stands before this word, punctuation aside.
fn before(line: &str, label: &str) -> Option<u64> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| word.trim_end_matches([',', ';', ':', ')']) == label)?;
    words.get(at.checked_sub(1)?)?.trim_start_matches('(').parse().ok()
}

/// The number that stands after this label.
fn after(line: &str, label: &str) -> Option<u64> {
    let (_, rest) = line.split_once(label)?;
    rest.split_whitespace().next()?.trim_end_matches([',', ';']).parse().ok()
}

fn sum(lines: &str, of_line: impl Fn(&str) -> Option<u64>) -> u64 {
    lines.lines().filter_map(of_line).fold(0, u64::saturating_add)
}

fn passed_and_failed(line: &str) -> Option<u64> {
    let (passed, failed) = (before(line, "passed"), before(line, "failed"));
    passed.or(failed).map(|_| passed.unwrap_or(0).saturating_add(failed.unwrap_or(0)))
}

/// `test result: ok. 3 passed; 0 failed; …`, or `test name ... ok` where the record ends before that.
fn by_libtest(output: &str) -> u64 {
    let result = |line: &str| passed_and_failed(line.split_once("test result: ")?.1);
    let single = |line: &str| (line.starts_with("test ") && line.ends_with(" ... ok")).then_some(1);
    sum(output, result).max(sum(output, single))
}

/// `Summary [   0.005s] 3 tests run: 3 passed, 0 skipped`
fn by_nextest(output: &str) -> u64 {
    let summary =
        |line: &str| passed_and_failed(line.split_once(" run: ").filter(|(head, _)| head.contains("Summary ["))?.1);
    sum(output, summary)
}

/// `===== 1 failed, 2 passed in 0.12s =====`
fn by_pytest(output: &str) -> u64 {
    let summary = |line: &str| if line.contains(" in ") { passed_and_failed(line) } else { None };
    let single = |line: &str| line.contains(" PASSED ").then_some(1);
    sum(output, summary).max(sum(output, single))
}

/// `Ran 3 tests in 0.001s`
fn by_unittest(output: &str) -> u64 {
    sum(output, |line| after(line, "Ran ").filter(|_| line.starts_with("Ran ")))
}

/// `ok`, two blanks, a tab, the package.
fn by_go(output: &str) -> u64 {
    let package = |line: &str| {
        let ok = line.starts_with("ok \t") || line.starts_with("ok  \t");
        (ok && !line.contains("[no tests to run]") && !line.contains("[no test files]")).then_some(1)
    };
    sum(output, package)
}

/// `[INFO] Tests run: 3, Failures: 0, Errors: 0, Skipped: 1`
fn by_maven(output: &str) -> u64 {
    let line = |line: &str| Some(after(line, "Tests run: ")?.saturating_sub(after(line, "Skipped: ").unwrap_or(0)));
    sum(output, line)
}

/// `Passed!  - Failed:     0, Passed:     3, …`, in English; in other languages the output cannot tell.
fn by_dotnet(output: &str) -> Option<u64> {
    if output.contains("No test is available") || output.contains("No test matches") {
        return Some(0);
    }
    let counts: Vec<u64> = output.lines().filter_map(|line| after(line, "Passed:")).collect();
    (!counts.is_empty()).then(|| counts.iter().copied().fold(0, u64::saturating_add))
}

/// What node's own runner, jest, vitest and mocha print. Any other script cannot tell.
fn by_script(output: &str) -> Option<u64> {
    const NONE: &[&str] = &["No tests found", "No test files found", "no test specified"];
    if NONE.iter().any(|said| output.contains(said)) {
        return Some(0);
    }
    let counts: Vec<u64> = output
        .lines()
        .filter_map(|line| {
            let line = line.trim().trim_start_matches(['#', 'ℹ']).trim_start();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                // jest: `Tests:       1 failed, 3 passed, 4 total`; vitest: `Tests  3 passed (3)`
                ["Tests:" | "Tests", ..] => Some(passed_and_failed(line).unwrap_or(0)),
                // mocha: `3 passing (5ms)`; node: `# pass 3`
                [number, "passing", ..] | ["pass", number] => number.parse().ok(),
                _ => None,
            }
        })
        .collect();
    (!counts.is_empty()).then(|| counts.iter().copied().fold(0, u64::saturating_add))
}

/// `make: 'test' is up to date.` and `make: Nothing to be done for 'test'.`
fn by_make(output: &str) -> Option<u64> {
    let idle = |line: &str| {
        line.starts_with("make: ") && (line.ends_with(" is up to date.") || line.contains("Nothing to be done for "))
    };
    output.lines().any(idle).then_some(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Role;

    fn allowed() -> Vec<String> {
        let mut commands = Role::find("tester").unwrap().contract().commands;
        commands.extend(["jq".to_owned(), "cargo build".to_owned(), "./ci".to_owned(), "make check".to_owned()]);
        commands
    }

    fn tests(line: &str) -> bool {
        is_test(&Executed::plain(line, 0, ""), &allowed())
    }

    #[test]
    fn every_test_command_of_the_role_is_known() {
        let reads = Role::find("architect").unwrap().contract().commands;
        for command in Role::find("tester").unwrap().contract().commands {
            assert_eq!(tests(&command), !reads.contains(&command), "{command}");
        }
    }

    #[test]
    fn what_an_output_says_of_failures_is_seen_behind_any_exit_code() {
        for output in [
            "FAIL: test_b\n1 failed, 3 passed in 0.1s",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored",
            "Ran 3 tests\n\nFAILED (failures=1)",
            "# pass 2\n# fail 1",
            "  2 passing\n  1 failing",
            "--- FAIL: TestX (0.00s)",
        ] {
            assert!(shows_failure(&Executed::plain("make test", 0, output)), "{output}");
        }
        for output in
            ["test result: ok. 2 passed; 0 failed; 0 ignored", "3 passed in 0.1s", "# fail 0", "ok: one failed before"]
        {
            assert!(!shows_failure(&Executed::plain("make test", 0, output)), "{output}");
        }
    }

    #[test]
    fn only_known_runners_with_known_options_execute_tests() {
        for line in [
            "cargo test -q parse",
            "cargo test -p parser --lib -- --test-threads=1 --skip slow",
            "cargo nextest run --workspace",
            "npm test",
            "npm test -- test/parse.test.js",
            "yarn test --coverage",
            "pytest -q -k 'parse and not slow' tests/test_parse.py::test_it",
            "pytest --maxfail=1 -n4",
            "python3 -m pytest -x tests",
            "python3 -m unittest discover -s tests",
            "go test -v -run TestParse ./...",
            "go test -count=1 .",
            "dotnet test --no-restore",
            "mvn test -B -Dtest=ParseTest",
            "make test -j 4",
            "make check -s",
        ] {
            assert!(tests(line), "{line}");
        }
        for line in [
            "make test -n",
            "make test --dry-run",
            "make test -j -n",
            "make test -i",
            "make test TESTS=",
            "make test -C /tmp/other",
            "npm test --if-present",
            "npm test -- --listTests",
            "npm test -- --passWithNoTests",
            "yarn test --help",
            "mvn test -DskipTests",
            "mvn test -Dmaven.test.skip=true",
            "mvn test -q",
            "go test -c",
            "go test -n ./...",
            "go test -list . ./...",
            "go test -exec true ./...",
            "go test -count=0 ./...",
            "go test strings",
            "cargo test --no-run",
            "cargo test -- --list",
            "cargo test --manifest-path /tmp/x/Cargo.toml",
            "cargo nextest run --no-run",
            "pytest --collect-only",
            "pytest --co",
            "pytest --setup-plan",
            "pytest /tmp/test_ok.py",
            "pytest ../elsewhere",
            "pytest --rootdir=/tmp",
            "python3 -m unittest discover -s /tmp",
            "dotnet test --list-tests",
            "cargo build",
            "cargo test; true",
            "cargo test | tail",
            "A=1 cargo test",
            "jq -n '\"test\"'",
            "./ci",
            "git show HEAD",
            "gradle test",
            "echo cargo test",
        ] {
            assert!(!tests(line), "{line}");
        }
        assert!(!is_test(&Executed::plain("cargo test", 0, ""), &["pytest".to_owned()]), "the run was not allowed it");
    }

    #[test]
    fn what_a_runner_prints_tells_whether_it_tested() {
        let none = |line: &str, output: &str| shows_no_test(&Executed::plain(line, 0, output), &allowed());
        for (line, output) in [
            ("cargo test", "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored\n"),
            ("cargo test", "    Finished `test` profile\n"),
            ("cargo test", "test result: ok. 0 passed; 0 failed; 3 ignored; 0 measured\n"),
            ("cargo nextest run", "     Summary [   0.000s] 0 tests run: 0 passed, 4 skipped\n"),
            ("go test ./...", "?   \tx/y\t[no test files]\nok  \tx/z\t0.01s [no tests to run]\n"),
            ("pytest", "==== no tests ran in 0.01s ====\n"),
            ("pytest", "==== 3 skipped in 0.01s ====\n"),
            ("python3 -m unittest", "\nRan 0 tests in 0.000s\n\nOK\n"),
            ("mvn test", "[INFO] No tests to run.\n[INFO] BUILD SUCCESS\n"),
            ("mvn test", "[INFO] Tests run: 2, Failures: 0, Errors: 0, Skipped: 2\n"),
            ("dotnet test", "Passed!  - Failed:     0, Passed:     0, Skipped:     2, Total:     2\n"),
            ("npm test", "No tests found, exiting with code 0\n"),
            ("npm test", "Tests:       2 skipped, 2 total\n"),
            ("npm test", "ℹ tests 0\nℹ pass 0\n"),
            ("npm test", "\u{1b}[2m  0 passing\u{1b}[0m (1ms)\n"),
            ("make test", "make: 'test' is up to date.\n"),
            ("make check", "make: Nothing to be done for 'check'.\n"),
        ] {
            assert!(none(line, output), "{line}: {output}");
        }
        for (line, output) in [
            ("cargo test", "test result: ok. 0 passed; 0 failed\ntest result: ok. 12 passed; 0 failed; 0 ignored\n"),
            ("cargo test", "running 2 tests\ntest a ... ok\ntest b ... "),
            ("cargo nextest run", "     Summary [   0.005s] 3 tests run: 3 passed, 0 skipped\n"),
            ("go test ./...", "?   \tx/y\t[no test files]\nok  \tx/z\t(cached)\n"),
            ("pytest", "tests/test_a.py ..  [100%]\n\n=== 2 passed, 1 skipped in 0.02s ===\n"),
            ("pytest -q", "..\n2 passed in 0.02s\n"),
            ("python3 -m unittest", "..\nRan 2 tests in 0.000s\n\nOK\n"),
            ("mvn test", "[INFO] Tests run: 3, Failures: 0, Errors: 0, Skipped: 1\n"),
            ("dotnet test", "Passed!  - Failed:     0, Passed:     3, Skipped:     0, Total:     3\n"),
            ("dotnet test", "Bestanden!\n"),
            ("npm test", "# tests 3\n# pass 3\n# fail 0\n"),
            ("npm test", "Tests:       1 failed, 3 passed, 4 total\n"),
            ("npm test", "\u{1b}[1m      Tests \u{1b}[22m \u{1b}[32m3 passed\u{1b}[39m (3)\n"),
            ("npm test", "  4 passing (6ms)\n"),
            ("npm test", "> x@1.0.0 test\n> ./check.sh\n\nall fine\n"),
            ("make test", "all fine\n"),
        ] {
            assert!(!none(line, output), "{line}: {output}");
        }
    }
}
