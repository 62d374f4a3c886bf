//! What the record of a run proves: which changed files were read, which commands were executed, which tests ran.
//!
//! Nothing here believes the answer. A file counts as read if the prompt held its whole change, or if commands showed
//! the model what the prompt left out; a command counts only with the exit code that the runtime reported.

use std::collections::{BTreeMap, BTreeSet};

use super::{CommandEvidence, Evidence};
use crate::clock::Timestamp;
use crate::context::{Context, IncludedFile, Inclusion};
use crate::git::diff::Status as FileStatus;
use crate::ids::Oid;
use crate::runtime::activity::{Activity, Recorded, Status};

/// The longest output that a model sees whole, in bytes: runtimes show about ten thousand tokens of one command, the
/// beginning and the end of what is longer.
const SEEN_WHOLE: u64 = 40_000;

/// How many names or commands one list of the evidence holds; what is more is counted in its last entry.
pub(super) const LISTED: usize = 500;

/// A finished command of the record.
pub(super) struct Executed {
    pub line: String,
    pub words: Vec<String>,
    pub exit_code: Option<i32>,
    pub millis: u64,
    output: String,
    output_bytes: u64,
}

/// The commands that the thread which answered has seen the end of, in the order in which they ended: a runtime may
/// tell of one only when the turn is over.
pub(super) fn executed(activities: &[Recorded]) -> Vec<Executed> {
    let attempts = attempts_of_last_thread(activities);
    let mut started = BTreeMap::new();
    let mut out: Vec<(Timestamp, Executed)> = Vec::new();
    for recorded in activities.iter().filter(|recorded| attempts.contains(&recorded.attempt)) {
        if let Activity::CommandStarted { id, .. } = &recorded.activity {
            started.insert((recorded.attempt, id.as_str()), recorded.at);
        }
        if let Activity::CommandFinished { id, command, exit_code, status, output, output_bytes, ran } =
            &recorded.activity
        {
            if matches!(status, Status::Declined | Status::InProgress) {
                continue;
            }
            let seen = started.remove(&(recorded.attempt, id.as_str())).unwrap_or(recorded.at);
            let (began, ended) = ran.map_or((seen, recorded.at), |ran| (ran.began, ran.ended));
            let executed = Executed {
                line: command.clone(),
                words: plain_words(command),
                exit_code: *exit_code,
                millis: u64::try_from(ended.since(began).as_millis()).unwrap_or(u64::MAX),
                output: output.clone(),
                output_bytes: *output_bytes,
            };
            out.push((ended, executed));
        }
    }
    // Stable: what ended in the same millisecond stays as it was recorded.
    out.sort_by_key(|(ended, _)| *ended);
    out.into_iter().map(|(_, executed)| executed).collect()
}

/// The last attempt, and earlier ones that it continued: what another thread saw, this one did not.
fn attempts_of_last_thread(activities: &[Recorded]) -> BTreeSet<u32> {
    let threads: Vec<(u32, &str)> = activities
        .iter()
        .filter_map(|recorded| {
            let Activity::ThreadStarted { thread } = &recorded.activity else { return None };
            Some((recorded.attempt, thread.as_str()))
        })
        .collect();
    let last = activities.iter().map(|recorded| recorded.attempt).max();
    let thread = threads.iter().rev().find(|(attempt, _)| Some(*attempt) == last).map(|(_, thread)| *thread);
    let same = threads.iter().filter(|(_, other)| Some(*other) == thread).map(|(attempt, _)| *attempt);
    same.chain(last).collect()
}

/// The words of a line that a shell would take as they stand; none if it would do more with them.
fn plain_words(line: &str) -> Vec<String> {
    const OPERATORS: &[char] = &['|', ';', '&', '<', '>', '$', '`', '(', ')', '\n'];
    // `sed -n '3,$p'` is the one common line with an operator inside quotes.
    let judged = line.replace(",$p", ",0p");
    if judged.contains(OPERATORS) {
        return Vec::new();
    }
    shlex::split(line).unwrap_or_default()
}

/// Fills in files and commands.
pub(super) fn gather(context: &Context, executed: &[Executed], commit: &Oid) -> Evidence {
    let mut evidence = Evidence::default();
    for file in &context.files {
        let list = if !file.class.is_read() {
            &mut evidence.files_skipped
        } else if file.inclusion == Inclusion::Whole || was_opened(file, executed, commit) {
            &mut evidence.files_read
        } else {
            &mut evidence.files_not_read
        };
        list.push(file.path.clone());
    }
    let unnamed = context.files_changed.saturating_sub(context.files.len());
    if unnamed > 0 {
        evidence.files_not_read.push(format!("{unnamed} more"));
    }
    evidence.commands = executed
        .iter()
        .take(LISTED)
        .map(|command| CommandEvidence {
            command: command.line.clone(),
            exit_code: command.exit_code,
            millis: command.millis,
        })
        .collect();
    evidence
}

/// Whether commands showed all that the prompt left out of this file's change.
fn was_opened(file: &IncludedFile, executed: &[Executed], commit: &Oid) -> bool {
    let mut lines: Vec<(u32, u32)> = Vec::new();
    for command in executed.iter().filter(|command| command.exit_code == Some(0) && command.output_bytes <= SEEN_WHOLE)
    {
        match shows(command, file, commit) {
            Shown::Nothing => {}
            Shown::Whole => return true,
            Shown::Lines(first, last) => lines.push((first, last)),
        }
    }
    lines.sort_unstable();
    !file.left_out.is_empty() && file.left_out.iter().all(|range| is_covered(*range, &lines))
}

/// Whether the ranges, sorted by their beginnings, leave no line of `range` out.
fn is_covered((first, last): (u32, u32), ranges: &[(u32, u32)]) -> bool {
    let mut next = first;
    for (from, to) in ranges {
        if *from <= next && *to >= next {
            next = to.saturating_add(1);
        }
    }
    next > last
}

enum Shown {
    Nothing,
    Whole,
    Lines(u32, u32),
}

/// What of `file` the output of this command showed.
fn shows(command: &Executed, file: &IncludedFile, commit: &Oid) -> Shown {
    let Some((program, arguments)) = command.words.split_first() else { return Shown::Nothing };
    let program = program.rsplit('/').next().unwrap_or(program);
    if program == "git" {
        return if git_shows(arguments, &command.output, file, commit) { Shown::Whole } else { Shown::Nothing };
    }
    let named = arguments.iter().any(|word| word.strip_prefix("./").unwrap_or(word) == file.path);
    if !named || file.status == FileStatus::Deleted || command.output_bytes == 0 {
        return Shown::Nothing;
    }
    match program {
        "cat" | "nl" => Shown::Whole,
        "head" => head_lines(arguments).map_or(Shown::Nothing, |last| Shown::Lines(1, last)),
        "tail" => tail_start(arguments).map_or(Shown::Nothing, |first| Shown::Lines(first, u32::MAX)),
        "sed" => sed_lines(arguments).map_or(Shown::Nothing, |(first, last)| Shown::Lines(first, last)),
        _ => Shown::Nothing,
    }
}

/// Options of `git show` and `git diff` with which every line of content has a marker before it, so that no content can
/// pose as a header.
const PLAIN_PATCH: &[&str] = &["-p", "-u", "--patch", "--stat", "--no-color", "--no-ext-diff", "--no-textconv", "-M"];

/// `git show REV:PATH`, or a patch that holds the file.
fn git_shows(arguments: &[String], output: &str, file: &IncludedFile, commit: &Oid) -> bool {
    let Some((subcommand, rest)) = arguments.split_first() else { return false };
    let names_head = |revision: &str| {
        revision == "HEAD" || revision == "@" || (revision.len() >= 7 && commit.as_str().starts_with(revision))
    };
    if subcommand == "show" {
        let blob = rest.iter().filter_map(|word| word.split_once(':'));
        let deleted = file.status == FileStatus::Deleted;
        if blob.clone().any(|(revision, path)| path == file.path && (deleted || names_head(revision))) {
            return true;
        }
        if blob.count() > 0 {
            return false;
        }
    }
    let is_plain = |word: &&String| word.starts_with('-') && word.as_str() != "--";
    if !rest.iter().filter(is_plain).all(|word| PLAIN_PATCH.contains(&word.as_str()) || word.starts_with("-U")) {
        return false;
    }
    let mut revisions = rest.iter().take_while(|word| word.as_str() != "--").filter(|word| !word.starts_with('-'));
    let about_the_commit = match subcommand.as_str() {
        "show" => revisions.clone().next().is_none() || revisions.any(|word| names_head(word)),
        "diff" => revisions.any(|word| word.rsplit("..").next().is_some_and(names_head)),
        _ => false,
    };
    let header = format!(" b/{}", file.path);
    about_the_commit && output.lines().any(|line| line.starts_with("diff --git a/") && line.ends_with(&header))
}

/// `head`, `head -n 20`, `head -n20`, `head -20`.
fn head_lines(arguments: &[String]) -> Option<u32> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "-n" {
            return words.next()?.parse().ok();
        }
        if let Some(count) = word.strip_prefix("-n").or_else(|| word.strip_prefix('-')) {
            return count.parse().ok();
        }
    }
    Some(10)
}

/// `tail -n +20`: from line 20 to the end.
fn tail_start(arguments: &[String]) -> Option<u32> {
    let mut words = arguments.iter();
    words.by_ref().find(|word| word.as_str() == "-n")?;
    words.next()?.strip_prefix('+')?.parse().ok()
}

/// `sed -n 10,20p`.
fn sed_lines(arguments: &[String]) -> Option<(u32, u32)> {
    let mut words = arguments.iter();
    words.by_ref().find(|word| word.as_str() == "-n")?;
    let (first, last) = words.next()?.strip_suffix('p')?.split_once(',')?;
    Some((first.parse().ok()?, if last == "$" { u32::MAX } else { last.parse().ok()? }))
}

/// Programs that look or build and never test, and their subcommands; no subcommand stands for all.
const NO_TESTS: &[(&str, &[&str])] = &[
    ("awk", &[]),
    ("cat", &[]),
    ("cd", &[]),
    ("diff", &[]),
    ("echo", &[]),
    ("env", &[]),
    ("file", &[]),
    ("find", &[]),
    ("git", &[]),
    ("grep", &[]),
    ("head", &[]),
    ("ls", &[]),
    ("nl", &[]),
    ("pip", &[]),
    ("printf", &[]),
    ("pwd", &[]),
    ("rg", &[]),
    ("sed", &[]),
    ("stat", &[]),
    ("tail", &[]),
    ("tree", &[]),
    ("true", &[]),
    ("wc", &[]),
    ("which", &[]),
    ("cargo", &["add", "build", "check", "clippy", "doc", "fetch", "fmt", "install", "metadata", "tree", "update"]),
    ("go", &["build", "env", "fmt", "get", "list", "mod", "vet"]),
    ("npm", &["add", "ci", "i", "install", "ls"]),
    ("pnpm", &["add", "i", "install", "ls"]),
    ("yarn", &["add", "install", "list"]),
];

/// Options with which a test program executes no test.
const NO_RUN: &[&str] =
    &["--help", "-h", "--version", "-V", "--no-run", "--list", "--collect-only", "--co", "--dry-run"];

/// Whether this command executes tests: the run was allowed it, and it is none that only looks or builds.
pub(super) fn is_test(command: &Executed, allowed: &[String]) -> bool {
    let Some((program, arguments)) = command.words.split_first() else { return false };
    let listed = allowed
        .iter()
        .filter_map(|prefix| shlex::split(prefix))
        .any(|prefix| !prefix.is_empty() && command.words.starts_with(&prefix));
    let looks = NO_TESTS.iter().any(|(name, subcommands)| {
        name == program
            && (subcommands.is_empty() || arguments.first().is_some_and(|first| subcommands.contains(&first.as_str())))
    });
    listed && !looks && !arguments.iter().any(|word| NO_RUN.contains(&word.as_str()))
}

/// Whether the output says that no test was executed. Only what Cargo, Go and pytest print is understood.
pub(super) fn ran_no_test(command: &Executed) -> bool {
    if (command.output.len() as u64) < command.output_bytes {
        return false;
    }
    let mut results = 0;
    let mut tests = 0_u64;
    let mut go_without = 0;
    for line in command.output.lines() {
        // `test result: ok. 3 passed; 0 failed; …`
        if let Some((_, counts)) = line.split_once("test result: ") {
            results += 1;
            let words: Vec<&str> = counts.split_whitespace().collect();
            let number_before = |label: &str| {
                let at = words.iter().position(|word| word.trim_end_matches(';') == label)?;
                words.get(at.checked_sub(1)?)?.parse::<u64>().ok()
            };
            tests += number_before("passed").unwrap_or(1) + number_before("failed").unwrap_or(0);
        } else if line.contains("no tests ran") {
            return true;
        } else if line.ends_with("[no test files]") || line.ends_with("[no tests to run]") {
            go_without += 1;
        } else if line.starts_with("ok \t") || line.starts_with("ok  \t") {
            tests += 1;
        }
    }
    (results > 0 || go_without > 0) && tests == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::class_of;
    use crate::runtime::activity::Ran;

    fn command(line: &str, exit_code: i32, output: &str) -> Executed {
        Executed {
            line: line.into(),
            words: plain_words(line),
            exit_code: Some(exit_code),
            millis: 0,
            output: output.into(),
            output_bytes: output.len() as u64,
        }
    }

    fn file(path: &str, left_out: &[(u32, u32)]) -> IncludedFile {
        IncludedFile {
            path: path.into(),
            class: class_of(path, false),
            status: FileStatus::Modified,
            inclusion: Inclusion::Partial,
            cut: Some("over the budget".into()),
            hunks: Vec::new(),
            left_out: left_out.to_vec(),
        }
    }

    fn opened(lines: &[&str]) -> bool {
        let commit: Oid = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        let commands: Vec<Executed> = lines.iter().map(|line| command(line, 0, "text\n")).collect();
        was_opened(&file("src/a.rs", &[(10, 20), (50, 60)]), &commands, &commit)
    }

    #[test]
    fn a_file_is_read_once_commands_showed_what_the_prompt_left_out() {
        for lines in [
            &["cat src/a.rs"][..],
            &["/bin/cat ./src/a.rs"],
            &["git show HEAD:src/a.rs"],
            &["git show 0123456789ab:src/a.rs"],
            &["sed -n 1,60p src/a.rs"],
            &["sed -n '10,$p' src/a.rs"],
            &["head -n 30 src/a.rs", "sed -n 31,70p src/a.rs"],
            &["head -60 src/a.rs"],
            &["tail -n +10 src/a.rs"],
        ] {
            assert!(opened(lines), "{lines:?}");
        }
        for lines in [
            &["cat src/b.rs"][..],
            &["ls src/a.rs"],
            &["rg x src/a.rs"],
            &["head src/a.rs"],
            &["head -n 30 src/a.rs", "sed -n 32,49p src/a.rs"],
            &["git show HEAD~1:src/a.rs"],
            &["git show 0123:src/a.rs"],
            &["cat src/a.rs > /dev/null"],
            &["cat src/a.rs | head -1"],
            &["echo src/a.rs"],
        ] {
            assert!(!opened(lines), "{lines:?}");
        }
    }

    #[test]
    fn a_failed_or_endless_output_shows_nothing() {
        let commit: Oid = "0".repeat(39).add_one();
        let target = file("a.rs", &[(1, 2)]);
        assert!(!was_opened(&target, &[command("cat a.rs", 1, "no such file")], &commit));
        let mut long = command("cat a.rs", 0, "x");
        long.output_bytes = SEEN_WHOLE + 1;
        assert!(!was_opened(&target, &[long], &commit));
        assert!(!was_opened(&target, &[command("cat a.rs", 0, "")], &commit));
    }

    #[test]
    fn a_patch_shows_the_files_in_its_headers_and_content_cannot_pose_as_one() {
        let commit: Oid = "0".repeat(39).add_one();
        let target = file("src/a.rs", &[(1, 2)]);
        let patch = "commit 1\n\n    diff --git a/src/a.rs b/src/a.rs\n\ndiff --git a/src/b.rs b/src/b.rs\n+x\n";
        assert!(!was_opened(&target, &[command("git show HEAD", 0, patch)], &commit));
        let patch = "diff --git a/src/a.rs b/src/a.rs\n+x\n";
        assert!(was_opened(&target, &[command("git show", 0, patch)], &commit));
        assert!(was_opened(&target, &[command("git diff HEAD~1 HEAD -- src/a.rs", 0, patch)], &commit));
        for line in ["git show --word-diff HEAD", "git show --format=%B HEAD", "git show HEAD~3", "git log -p"] {
            assert!(!was_opened(&target, &[command(line, 0, patch)], &commit), "{line}");
        }
    }

    #[test]
    fn only_listed_commands_that_execute_tests_are_tests() {
        let allowed: Vec<String> =
            ["cargo test", "cargo build", "git show", "make check", "./ci"].map(str::to_owned).to_vec();
        for line in ["cargo test", "cargo test -q parse", "make check", "./ci"] {
            assert!(is_test(&command(line, 0, ""), &allowed), "{line}");
        }
        for line in
            ["cargo build", "cargo test --no-run", "git show HEAD", "npm test", "cargo test; true", "echo ok", "true"]
        {
            assert!(!is_test(&command(line, 0, ""), &allowed), "{line}");
        }
    }

    #[test]
    fn a_suite_without_tests_is_recognised() {
        assert!(ran_no_test(&command(
            "cargo test",
            0,
            "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ig\n"
        )));
        assert!(ran_no_test(&command("go test ./...", 0, "?   \tx/y\t[no test files]\n")));
        assert!(ran_no_test(&command("pytest", 0, "==== no tests ran in 0.01s ====\n")));
        let some = "test result: ok. 0 passed; 0 failed\ntest result: ok. 12 passed; 0 failed; 0 ignored\n";
        assert!(!ran_no_test(&command("cargo test", 0, some)));
        assert!(!ran_no_test(&command("make check", 0, "all fine\n")));
    }

    #[test]
    fn what_another_thread_did_does_not_count() {
        let at = Timestamp::from_millis(5);
        let finished = |attempt, id: &str, line: &str| Recorded {
            at,
            attempt,
            activity: Activity::CommandFinished {
                id: id.into(),
                command: line.into(),
                exit_code: Some(0),
                status: Status::Completed,
                output: String::new(),
                output_bytes: 0,
                ran: None,
            },
        };
        let thread = |attempt, thread: &str| Recorded {
            at,
            attempt,
            activity: Activity::ThreadStarted { thread: thread.into() },
        };
        let record = |second: &str| {
            [thread(1, "a"), finished(1, "1", "one"), thread(2, second), finished(2, "1", "two")].to_vec()
        };
        let lines = |record: &[Recorded]| executed(record).into_iter().map(|c| c.line).collect::<Vec<_>>();
        assert_eq!(lines(&record("b")), ["two"]);
        assert_eq!(lines(&record("a")), ["one", "two"]);
        assert_eq!(lines(&[]), Vec::<String>::new());
    }

    #[test]
    fn commands_are_told_in_the_order_in_which_they_ended() {
        let at = Timestamp::from_millis;
        let finished = |recorded: u64, code: i32, ran: Option<Ran>| Recorded {
            at: at(recorded),
            attempt: 1,
            activity: Activity::CommandFinished {
                id: code.to_string(),
                command: "make test".into(),
                exit_code: Some(code),
                status: Status::Completed,
                output: String::new(),
                output_bytes: 0,
                ran,
            },
        };
        // The failure was told when the turn was over, and came before the run that passed.
        let ran = Ran { began: at(10), ended: at(40) };
        let record = [finished(100, 0, None), finished(100, 1, None), finished(200, 2, Some(ran))];
        let codes: Vec<_> = executed(&record).into_iter().map(|c| (c.exit_code, c.millis)).collect();
        assert_eq!(codes, [(Some(2), 30), (Some(0), 0), (Some(1), 0)]);
    }

    trait AddOne {
        fn add_one(self) -> Oid;
    }

    impl AddOne for String {
        fn add_one(self) -> Oid {
            format!("{self}1").parse().unwrap()
        }
    }
}
