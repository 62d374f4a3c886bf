//! What holds for every line, whatever it says.

use std::time::Duration;

use orchestrator::policy::command::line::{self, COMMANDS_MAX, LINE_BYTES_MAX, Word};
use orchestrator::policy::command::{Commands, grammar};
use orchestrator::policy::gatekeeper::Verdict;
use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};

const LISTED: &[&str] = &[
    "git log",
    "git diff",
    "git branch",
    "rg",
    "grep",
    "find",
    "ls",
    "cat",
    "sort",
    "uniq",
    "sed",
    "awk",
    "jq",
    "tree",
    "test",
    "[",
    "printf",
    "echo",
    "cargo test",
    "make test",
    "pytest",
    "xargs",
    "bash",
];

/// Pieces of which lines are made that come near to something.
const PIECES: &[&str] = &[
    "git log",
    "git diff",
    "git branch",
    "rg",
    "grep",
    "find .",
    "ls",
    "cat",
    "sort",
    "uniq",
    "sed",
    "awk",
    "jq",
    "tree",
    "test",
    "[",
    "]",
    "printf",
    "echo",
    "cargo test",
    "make test",
    "pytest",
    "xargs",
    "bash -c",
    "env",
    "timeout 5",
    "cd src",
    "set -e",
    "time",
    " ",
    " ",
    " ",
    " ",
    "\n",
    "\t",
    "'",
    "\"",
    "\\",
    "\\\n",
    "$",
    "`",
    "$(",
    ")",
    "{",
    "}",
    ",",
    "..",
    "~",
    "=",
    "|",
    "||",
    "&&",
    "&",
    ";",
    ">",
    "<",
    ">/dev/null",
    "2>&1",
    "&>",
    "*",
    "?",
    "#",
    "--",
    "-n",
    "-o",
    "-i",
    "-e",
    "--output",
    "--pre=x",
    "-exec",
    "-delete",
    "s/a/b/w x",
    "s/[/]/x/",
    "1,5p",
    "{print $1}",
    "{print > 1}",
    "if (a > b)",
    "%s",
    "%d",
    "a",
    "x=1",
    "HEAD@{1}",
    "é",
    "\u{b9e9a}",
    "\u{10fffd}",
    "\u{a0}",
    "\u{202e}",
    "\0",
    "\r",
    "/dev/null",
    "-",
    "@x",
    ".env",
    "'a b'",
    "\"a b\"",
    "-I{}",
    "{}",
];

fn near_line() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..12).prop_map(|pieces| pieces.concat())
}

/// Whole commands, most of which are allowed by themselves.
const COMMANDS: &[&str] = &[
    "ls -la",
    "ls src/*.rs",
    "cat 'a b' \"c d\"",
    "rg -n \"it's\" src",
    "git log --oneline -5 HEAD@{1}",
    "git branch",
    "find . -name '*.rs'",
    "sed -n '1,5p;/[/]/p' a",
    "awk '{if ($1 > 5) print}' a",
    "jq -r '.a | keys[]' j",
    "test -f a",
    "[ -d src ]",
    "printf '%s\\n' a",
    "echo é ~x~ a=b c,d {} e#f \\* \"$\"",
    "cargo test -- --nocapture",
    "make test",
    "xargs -n1 echo",
    "bash -c 'ls | cat'",
    "timeout 5 ls",
    "cd src",
    "sort -u a",
    "uniq -c",
    "tree -L 2",
    "echo '' \"\" -",
    "grep -e '$' a* [b]?",
    "ls 2>&1 >/dev/null",
    "rm a",
    "git push",
    "sort -o a b",
    "uniq a b",
    "ls > a",
    "find . -delete",
    "echo $x",
    "(ls)",
    "x=1 ls",
    "ls &",
    "git branch x",
    "sed -i p a",
    "env -S ls",
    "cat *",
    "ls ~",
    "eval ls",
    "bash",
];

fn line_of_commands() -> impl Strategy<Value = String> {
    let operators = vec![";", " ; ", "&&", " && ", "||", " || ", "|", " | ", "\n", "\n\n", " # x\n", " && \\\n"];
    let more = prop::collection::vec((prop::sample::select(operators), prop::sample::select(COMMANDS)), 0..3);
    (prop::sample::select(COMMANDS), more).prop_map(|(first, more)| {
        let rest = more.into_iter().map(|(operator, command)| format!("{operator}{command}"));
        format!("{first}{}", rest.collect::<String>())
    })
}

fn any_line() -> impl Strategy<Value = String> {
    prop_oneof![near_line(), line_of_commands()]
}

fn allowed(line: &str) -> bool {
    Commands::new(LISTED).judge(line).verdict == Verdict::Allow
}

/// The words without where they stand.
fn said(words: &[Word]) -> Vec<(&str, Option<usize>, bool)> {
    words.iter().map(|word| (word.text.as_str(), word.open, word.home)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, max_global_rejects: 200_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(line in any::<String>(), entries in prop::collection::vec(any::<String>(), 0..4)) {
        Commands::new(entries).judge(&line);
    }

    #[test]
    fn nothing_that_looks_like_a_line_makes_it_panic(line in near_line(), entry in near_line()) {
        Commands::new([entry.as_str()]).judge(&line);
        Commands::new(LISTED).judge(&line);
    }

    #[test]
    fn what_is_added_by_an_operator_does_not_make_a_refused_line_allowed(
        refused in any_line(),
        other in any_line(),
        operator in prop::sample::select(vec![";", "&&", "||", "|", "\n", "&", " ; ", " && ", " || ", " | ", " |& "]),
    ) {
        // A quote, a comment or a line break that is open would take the operator for text: that is no operator then.
        prop_assume!(!allowed(&refused) && line::split(&refused).is_ok());
        prop_assume!(!ends_open(&refused) && !ends_open(&other));
        for line in [format!("{refused}{operator}{other}"), format!("{other}{operator}{refused}")] {
            prop_assert!(!allowed(&line), "{line:?}");
        }
    }

    #[test]
    fn an_undecidable_line_stays_so_behind_a_whole_one(refused in any_line(), operator in prop::sample::select(vec![";", "&&", "||", "|", "\n"])) {
        prop_assume!(!allowed(&refused) && !refused.trim().is_empty() && !only_comment(&refused));
        let line = format!("ls -la {operator} {refused}");
        prop_assert!(!allowed(&line), "{line:?}");
    }

    #[test]
    fn an_allowed_line_round_trips(line in any_line()) {
        prop_assume!(allowed(&line));
        let commands = line::split(&line).expect("it was allowed");
        for command in &commands {
            let quoted = line::quote(&command.words);
            let again = line::split(&quoted).expect("what is quoted reads");
            prop_assert_eq!(again.len(), 1, "{:?}", &quoted);
            prop_assert_eq!(said(&again[0].words), said(&command.words), "{:?}", &quoted);
            prop_assert!(grammar::confirm(&quoted, &again).is_ok(), "{:?}", &quoted);
        }
    }

    #[test]
    fn any_words_round_trip(texts in prop::collection::vec("[^\\p{C}\\p{Z}]{0,8}|[a-z'\" $`\\\\{},.;|&<>()~=#!*?]{0,12}", 1..5)) {
        let words: Vec<Word> = texts.iter().map(|text| Word { text: text.clone(), open: None, home: false, span: 0..0 }).collect();
        let quoted = line::quote(&words);
        match line::split(&quoted) {
            Ok(again) => {
                prop_assert_eq!(again.len(), 1);
                prop_assert_eq!(said(&again[0].words), said(&words), "{:?}", quoted);
            }
            // Only what no line may hold: a character, or a first word that is not a name.
            Err(why) => prop_assert!(matches!(why.rule(), "odd-character" | "control-flow" | "assignment"), "{} {:?}", why.rule(), quoted),
        }
    }

    #[test]
    fn nothing_is_allowed_where_nothing_is_listed(line in any_line()) {
        let decided = Commands::new(Vec::<String>::new()).judge(&line);
        if decided.verdict == Verdict::Allow {
            // These change nothing but where and whether the next one runs.
            let commands = line::split(&line).expect("it was allowed");
            let names = commands.iter().map(|command| command.words[0].text.as_str());
            for name in names {
                prop_assert!(["cd", "true", "false", ":", "set", "exit", "time", "env", "timeout", "bash"].contains(&name), "{line:?}");
            }
        }
    }
}

/// Whether what follows would still belong to a comment or to an escaped line break.
fn ends_open(line: &str) -> bool {
    line.contains('#') || line.ends_with('\\')
}

fn only_comment(line: &str) -> bool {
    line.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// Lines of everything that nests or repeats, each with what begins it, what is repeated, and how often that fits.
fn repetitions() -> Vec<(&'static str, &'static str, usize)> {
    let units = [
        "a",
        " a",
        "'",
        "\"",
        "''",
        "\"\" ",
        "\\",
        "\\\\",
        "\\\n",
        "$",
        "$(",
        "${",
        "$((",
        "`",
        "(",
        ")",
        "{",
        "}",
        "{a",
        "{a,",
        "{}",
        "[",
        "]",
        "[[ ",
        "((",
        "~",
        "~/",
        "=",
        " =",
        "==",
        " ==",
        "a=",
        "*",
        " *",
        "?",
        "#",
        " #",
        "\n",
        "\n#",
        ";",
        "&",
        "&&",
        "ls&&",
        "ls;",
        "ls\n",
        "ls|",
        "|",
        "||",
        "<",
        "<<",
        "<<a\n",
        ">",
        " 2>&1",
        " >/dev/null",
        " &>/dev/null",
        "&>",
        "!",
        "! ",
        "-",
        " -",
        " --",
        " -a",
        " -e a",
        " --output",
        "\t",
        " ",
        ",",
        ".",
        "..",
        "/",
        "//",
        "é",
        "漢",
        "\u{1f600}",
        "if ",
        "do ",
        "case a in ",
        "a() ",
        "bash -c '",
        "time ",
        "env ",
        "xargs ",
        "timeout 1 ",
        "nice ",
        "s/a/b/;",
        "p;",
        "{p;",
        "[^/]",
        "if (",
        "if (a>b)",
        "for(",
        "print>",
        "%s",
        ".a|",
        ".env",
        "@{1}",
        "a{1}..",
        "-- ",
        "-o -f a ",
        " -a -f b",
    ];
    let heads = [
        "",
        "ls ",
        "ls '",
        "ls \"",
        "sed '",
        "sed 's/",
        "awk '",
        "awk '{",
        "jq '",
        "test ",
        "printf '",
        "find . ",
        "git log ",
        "rg ",
        "bash -c '",
        "cargo test -- ",
        "xargs ",
    ];
    let fits = |head: &str, unit: &str| (LINE_BYTES_MAX - head.len() - 1) / unit.len();
    heads.into_iter().flat_map(|head| units.map(|unit| (head, unit, fits(head, unit)))).collect()
}

fn repetition(head: &str, unit: &str, count: usize) -> String {
    let end = if head.contains('\'') { "'" } else { &head[head.rfind('"').unwrap_or(head.len())..] };
    format!("{head}{}{end}", unit.repeat(count))
}

/// How long this thread computed for something: the time that others had the machine does not count.
fn computed(work: impl FnOnce()) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("it counts from zero");
    let begin = now();
    work();
    now().saturating_sub(begin)
}

/// How often what looks too slow is measured again: the fastest time is the one that nothing disturbed.
const MEASUREMENTS_MAX: usize = 100;

/// What takes no longer than this tells nothing.
const FLOOR: Duration = Duration::from_micros(300);

/// Whether a whole takes more than three times as long as its eighths together.
fn is_out_of_proportion(whole: impl Fn(), eighth: impl Fn()) -> Option<(Duration, Duration)> {
    let (mut slow, mut fast) = (Duration::MAX, Duration::MAX);
    for _ in 0..MEASUREMENTS_MAX {
        slow = slow.min(computed(&whole));
        fast = fast.min(computed(&eighth));
        if slow <= fast * 24 || slow < FLOOR {
            return None;
        }
    }
    Some((slow, fast))
}

#[test]
fn the_longest_lines_take_no_longer_than_their_length() {
    // Where work grows with the square of the length, the whole line takes 64 times as long as an eighth of it.
    let commands = Commands::new(LISTED);
    for (head, unit, count) in repetitions() {
        let line = repetition(head, unit, count);
        assert!(line.len() <= LINE_BYTES_MAX);
        // One of two neighbours can be cut short by a quote that does not end.
        let short = [0, 1].map(|more| repetition(head, unit, count / 8 + more));
        let judge = |line: &str| drop(commands.judge(line));
        let slow = is_out_of_proportion(|| judge(&line), || short.iter().for_each(|line| judge(line)));
        assert!(slow.is_none(), "the whole and two eighths: {slow:?}: {head:?} and {unit:?}");
    }
}

#[test]
fn what_grows_with_the_square_is_found() {
    let look = |size: usize| {
        let pairs = (0..size).flat_map(|a| (0..size).map(move |b| a ^ b));
        std::hint::black_box(pairs.fold(0, usize::wrapping_add));
    };
    assert!(is_out_of_proportion(|| look(1000), || look(125)).is_some());
}

#[test]
fn characters_beyond_the_tables_of_c_end_nothing() {
    for letter in ['é', '漢', '\u{1f600}', '\u{b9e9a}', '\u{10fffd}'] {
        for head in ["{", "ls {", "{1..", "ls {1..", "ls a{", "ls 1", "ls [", "ls 2>&", "${", "((", "ls #"] {
            Commands::new(LISTED).judge(&format!("{head}{letter}X"));
        }
        // The last is for private use: nobody can see what it is.
        let is_seen = letter != '\u{10fffd}';
        assert_eq!(allowed(&format!("rg -n '{letter}' src{letter}")), is_seen, "{letter}");
    }
}

#[test]
fn what_is_longer_is_not_looked_at() {
    let rule = |line: &str| Commands::new(LISTED).judge(line).rule;
    let fits = format!("ls {}", "a".repeat(LINE_BYTES_MAX - 3));
    assert_eq!(rule(&fits), "ls");
    assert_eq!(rule(&format!("{fits}a")), "too-long");
    let many = "ls;".repeat(COMMANDS_MAX);
    assert_eq!(rule(&many), "ls");
    assert_eq!(rule(&format!("{many}ls")), "too-many-commands");
    // A line break counts as little as a separator does, and a nested line as much as any.
    assert_eq!(rule(&"ls\n".repeat(COMMANDS_MAX + 1)), "too-many-commands");
    assert_eq!(rule(&format!("bash -c '{many}ls'")), "too-many-commands");
}

#[test]
fn a_huge_list_is_no_slower_than_its_length() {
    let list = |count: usize| {
        let entries = (0..count).map(|number| format!("tool{number} check")).chain(["ls".to_owned()]);
        Commands::new(entries)
    };
    let (whole, eighth) = (list(20_000), list(2500));
    assert_eq!(whole.judge("tool19999 check").verdict, Verdict::Allow);
    assert_eq!(whole.judge("tool19999 check x").verdict, Verdict::Escalate);
    let line = "ls;".repeat(COMMANDS_MAX);
    assert_eq!(whole.judge(&line).verdict, Verdict::Allow);
    let slow = is_out_of_proportion(|| drop(whole.judge(&line)), || drop(eighth.judge(&line)));
    assert!(slow.is_none(), "the whole list and an eighth: {slow:?}");
    let slow = is_out_of_proportion(|| drop(list(20_000)), || drop(list(2500)));
    assert!(slow.is_none(), "reading the whole list and an eighth: {slow:?}");
}
