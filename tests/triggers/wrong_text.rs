//! Values in the table's little languages, and files that are no table, no YAML or no text.

use std::fmt::Write as _;

use insta::assert_snapshot;
use orchestrator::diagnostic::Colour;
use orchestrator::triggers::load;

use crate::{SAMPLE, VOCABULARY, refused, refused_row, refused_tail};

#[test]
fn bad_durations_sizes_and_counts() {
    assert_snapshot!(refused_tail("policy:\n  roles:\n    tester:\n      limits: { wall: 20, idle: 0s, output: 4MB, tokens: 500K, attempts: 11 }\n  budget: { runs_per_day: -1, tokens_per_day: 1.5M }\nartifacts: { keep: 1 month }\n"), @r###"
    error: `20` is not a duration
     --> triggers.yaml:6:23
      |
    6 |       limits: { wall: 20, idle: 0s, output: 4MB, tokens: 500K, attempts: 11 }
      |                       ^^ a unit is missing
      |
    help: did you mean `20s` or `20m`?

    error: `0s` is too short
     --> triggers.yaml:6:33
      |
    6 |       limits: { wall: 20, idle: 0s, output: 4MB, tokens: 500K, attempts: 11 }
      |                                 ^^ less than a second
      |
    help: write `1s` or more

    error: `4MB` is not a size
     --> triggers.yaml:6:45
      |
    6 |       limits: { wall: 20, idle: 0s, output: 4MB, tokens: 500K, attempts: 11 }
      |                                             ^^^ not one of the units B, KiB, MiB, GiB
      |
    help: did you mean `4MiB`?

    error: `500K` is not a count
     --> triggers.yaml:6:58
      |
    6 |       limits: { wall: 20, idle: 0s, output: 4MB, tokens: 500K, attempts: 11 }
      |                                                          ^^^^ neither digits nor `k` or `M`
      |
    help: did you mean `500k`?

    error: `attempts` cannot be 11
     --> triggers.yaml:6:74
      |
    6 |       limits: { wall: 20, idle: 0s, output: 4MB, tokens: 500K, attempts: 11 }
      |                                                                          ^^ out of range
      |
    help: write a number from 1 to 10

    error: `-1` is not a count
     --> triggers.yaml:7:27
      |
    7 |   budget: { runs_per_day: -1, tokens_per_day: 1.5M }
      |                           ^^ neither digits nor `k` or `M`
      |
    help: write a whole number, such as `50`, `500k` or `5M`

    error: `1.5M` is not a count
     --> triggers.yaml:7:47
      |
    7 |   budget: { runs_per_day: -1, tokens_per_day: 1.5M }
      |                                               ^^^^ neither digits nor `k` or `M`
      |
    help: write a whole number, such as `50`, `500k` or `5M`

    error: `1 month` is not a duration
     --> triggers.yaml:8:20
      |
    8 | artifacts: { keep: 1 month }
      |                    ^^^^^^^ not one of the units s, m, h, d
      |
    help: write a number and a unit (s, m, h, d), such as `90s`, `20m`, `1h30m` or `30d`
    "###);
}

#[test]
fn bad_commands() {
    assert_snapshot!(refused_tail("policy:\n  roles:\n    tester:\n      commands: [\"cargo *\", \"git log | head\", \"echo 'a\", \"\", 1]\n"), @r###"
    error: `cargo *` is not a command prefix
     --> triggers.yaml:6:18
      |
    6 |       commands: ["cargo *", "git log | head", "echo 'a", "", 1]
      |                  ^^^^^^^^^ `*` is no wildcard here
      |
    help: an entry is the first words of a command: `cargo test` allows `cargo test --lib`

    error: `git log | head` is not a command prefix
     --> triggers.yaml:6:29
      |
    6 |       commands: ["cargo *", "git log | head", "echo 'a", "", 1]
      |                             ^^^^^^^^^^^^^^^^ `|` belongs to a shell, and there is none
      |
    help: an entry is the first words of a command: `cargo test` allows `cargo test --lib`

    error: `echo 'a` is not a command prefix
     --> triggers.yaml:6:47
      |
    6 |       commands: ["cargo *", "git log | head", "echo 'a", "", 1]
      |                                               ^^^^^^^^^ a quote is not closed
      |
    help: close the quote; entries are split into words as a shell does

    error: `` is not a command prefix
     --> triggers.yaml:6:58
      |
    6 |       commands: ["cargo *", "git log | head", "echo 'a", "", 1]
      |                                                          ^^ empty
      |
    help: write the first words of a command, or remove the entry

    error: an entry of `commands` has to be text
     --> triggers.yaml:6:62
      |
    6 |       commands: ["cargo *", "git log | head", "echo 'a", "", 1]
      |                                                              ^ this is a number
      |
    help: put it in quotes: "1"
    "###);
}

#[test]
fn a_tab() {
    assert_snapshot!(refused("version: 1\ntriggers:\n  - name: test\n\ton: post-commit\n"), @r###"
    error: a tab in the indentation
     --> triggers.yaml:4:1
      |
    4 |     on: post-commit
      | ^^^^ a tab: YAML takes spaces only
      |
    help: indent with two spaces, and set your editor to do so in YAML files
    "###);
    assert_snapshot!(refused("\tversion: 1\n"), @r###"
    error: a tab in the indentation
     --> triggers.yaml:1:1
      |
    1 |     version: 1
      | ^^^^ a tab: YAML takes spaces only
      |
    help: indent with two spaces, and set your editor to do so in YAML files
    "###);
}

#[test]
fn an_anchor_bomb() {
    let mut bomb = String::from("version: 1\na: &a [\"lol\", \"lol\"]\n");
    for (name, last) in ["b", "c", "d", "e", "f", "g", "h", "i"].iter().zip(["a", "b", "c", "d", "e", "f", "g", "h"]) {
        writeln!(bomb, "{name}: &{name} [*{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}]").unwrap();
    }
    assert_snapshot!(refused(bomb), @r###"
    error: anchors and aliases are not used in this file
     --> triggers.yaml:2:4
      |
    2 | a: &a ["lol", "lol"]
      |    ^^ an anchor
      |
    help: write the value out where it is needed
    "###);
}

#[test]
fn a_depth_bomb() {
    assert_snapshot!(refused(format!("version: 1\ntriggers: {}\n", "[".repeat(50_000))), @r###"
    error: nested deeper than 16 levels
     --> triggers.yaml:2:27
      |
    2 | triggers: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[...
      |                           ^ one level too many
      |
    help: the format needs six levels: look for a bracket too many
    "###);
    let mut block = String::from("version: 1\ntriggers:\n");
    for depth in 0..60 {
        writeln!(block, "{}-", " ".repeat(depth)).unwrap();
    }
    assert!(refused(block).contains("nested deeper than 16 levels"));
    assert!(refused(format!("version: 1\ntriggers: [{}]\n", "a,".repeat(60_000))).contains("more than 20000 values"));
}

#[test]
fn not_text() {
    assert_snapshot!(refused(b"version: 1\n# caf\xe9\ntriggers: []\n"), @r###"
    error: the file is not UTF-8
     --> triggers.yaml:2:6
      |
    2 | # caf\xe9
      |      ^^^^ byte 0xe9
      |
    help: save it as UTF-8: this byte looks like Latin-1
    "###);
    assert_snapshot!(refused(b"\xff\xfev\0e\0r\0s\0"), @r###"
    error: the file is not UTF-8
     --> triggers.yaml:1:1
      |
    1 | \xff�v\u{0}e\u{0}r\u{0}s\u{0}
      | ^^^^ byte 0xff
      |
    help: it looks like UTF-16: save it as UTF-8
    "###);
    assert_snapshot!(refused("\u{feff}version: 1\ntriggers: []\n"), @r###"
    error: the file begins with a byte order mark
     --> triggers.yaml:1:1
      |
    1 | \u{feff}version: 1
      | ^^^^^^^^ three invisible bytes
      |
    help: save it as UTF-8 without a byte order mark (BOM)
    "###);
    assert_snapshot!(refused("version: 1\ntriggers: []\n\u{0}"), @r###"
    error: a control character
     --> triggers.yaml:3:1
      |
    3 | \u{0}
      | ^^^^^ not text
      |
    help: remove it
    "###);
}

#[test]
fn nothing_or_too_much() {
    assert_snapshot!(refused(""), @r###"
    error: the file holds no table
     --> triggers.yaml:1:1
      |
    1 |
      | ^ nothing but blanks and comments
      |
    help: `git orchestrator install` writes a starter; the least is `version: 1` and `triggers: []`
    "###);
    assert_snapshot!(refused("# only a comment\n"), @r###"
    error: the file holds no table
     --> triggers.yaml:1:1
      |
    1 | # only a comment
      | ^ nothing but blanks and comments
      |
    help: `git orchestrator install` writes a starter; the least is `version: 1` and `triggers: []`
    "###);
    assert_snapshot!(refused(vec![b'a'; 300 << 10]), @r###"
    error: the file has 300.0 KiB, over the limit of 256.0 KiB
     --> triggers.yaml:1:1
      |
    1 | aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...
      | ^ this file
      |
    help: is it the right file? a table has a few KiB
    "###);
}

#[test]
fn the_version() {
    assert_snapshot!(refused("triggers: []\n"), @r###"
    error: the table has no `version`
     --> triggers.yaml:1:1
      |
    1 | triggers: []
      | ^^^^^^^^ `version` is missing
      |
    help: begin the file with `version: 1`
    "###);
    assert_snapshot!(refused("version: 2\ntrigger: []\nnew: key\n"), @r###"
    error: this is version 2 of the format, this program reads version 1
     --> triggers.yaml:1:10
      |
    1 | version: 2
      |          ^ not a version it knows
      |
    help: update git-orchestrator, or write the table in version 1
    "###);
    assert_snapshot!(refused("version: \"1\"\ntriggers: []\n"), @r###"
    error: `version` has to be a whole number
     --> triggers.yaml:1:10
      |
    1 | version: "1"
      |          ^^^ this is text
      |
    help: write `version: 1`
    "###);
    assert_snapshot!(refused("version: 1\n"), @r###"
    error: the table has no `triggers`
     --> triggers.yaml:1:1
      |
    1 | version: 1
      | ^^^^^^^ `triggers` is missing
      |
    help: add `triggers:` with a list of rows, or `triggers: []`
    "###);
}

#[test]
fn not_yaml() {
    assert_snapshot!(refused_row("  - { name: test, on: post-commit, role: tester\n"), @r###"
    error: this `{` is not closed
     --> triggers.yaml:3:5
      |
    3 |   - { name: test, on: post-commit, role: tester
      |     ^ opened here
      |
    help: close it with `}`
    "###);
    assert_snapshot!(refused_row("  - name: test\n     on: post-commit\n"), @r###"
    error: this `:` cannot stand here
     --> triggers.yaml:4:8
      |
    4 |      on: post-commit
      |        ^ a key where none is expected
      |
    help: keys of one mapping begin in the same column, each with `: ` behind it; quote a value that holds `: `
    "###);
    assert_snapshot!(refused_row("  - name: \"test\n    on: post-commit\n"), @r###"
    error: this `"` is not closed
     --> triggers.yaml:3:11
      |
    3 |   - name: "test
      |           ^ opened here
      |
    help: close it with `"`
    "###);
    assert_snapshot!(refused_row("  - name: @test\n"), @r###"
    error: a value cannot begin with `@`
     --> triggers.yaml:3:11
      |
    3 |   - name: @test
      |           ^ YAML reserves this character
      |
    help: put the value in quotes
    "###);
    assert_snapshot!(refused("version: 1\ntriggers: []\n---\nversion: 1\n"), @r###"
    error: a second YAML document
     --> triggers.yaml:3:1
      |
    3 | ---
      | ^^^ the first one ends above this line
      |
    help: keep one document in the file: remove this line and what follows
    "###);
    assert_snapshot!(refused("version: 1\n? [a, b]\n: c\n"), @r###"
    error: a key has to be a plain word
     --> triggers.yaml:2:3
      |
    2 | ? [a, b]
      |   ^ this is not one
      |
    help: each line is `key: value`
    "###);
    assert_snapshot!(refused("version 1\n"), @r###"
    error: the table has to be a mapping
     --> triggers.yaml:1:1
      |
    1 | version 1
      | ^^^^^^^^^ this is text
      |
    help: the keys of the table are `version`, `runtime`, `triggers`, `policy`, `artifacts` and `hook`
    "###);
}

#[test]
fn hostile_text_is_shown_harmlessly() {
    assert_snapshot!(refused_row("  - { name: test, on: post-commit, role: \"te\u{202e}ster\\e[31m\" }\n"), @r###"
    error: there is no role `te\u{202e}ster\u{1b}[31m`
     --> triggers.yaml:3:42
      |
    3 |   - { name: test, on: post-commit, role: "te\u{202e}ster\e[31m" }
      |                                          ^^^^^^^^^^^^^^^^^^^^^^ no role of this name
      |
    help: choose `planner`, `architect` or `tester`
    "###);
}

#[test]
fn several_mistakes_are_told_at_once() {
    let text = "version: 1\nruntime: codez\ntriggers:\n  - name: plan\n    on: post-comit\n    role: planer\n";
    let error = load::table(text.as_bytes(), "triggers.yaml", &VOCABULARY).expect_err("three mistakes");
    assert_eq!(error.to_string(), "triggers.yaml:2:10: there is no runtime `codez` (and 2 more)");
    assert_snapshot!(refused(text), @r###"
    error: there is no runtime `codez`
     --> triggers.yaml:2:10
      |
    2 | runtime: codez
      |          ^^^^^ no runtime of this name
      |
    help: did you mean `codex`?

    error: there is no hook `post-comit`
     --> triggers.yaml:5:9
      |
    5 |     on: post-comit
      |         ^^^^^^^^^^ no hook of this name
      |
    help: did you mean `post-commit`?

    error: there is no role `planer`
     --> triggers.yaml:6:11
      |
    6 |     role: planer
      |           ^^^^^^ no role of this name
      |
    help: did you mean `planner`?
    "###);
    let problems = load::check(text.as_bytes(), "triggers.yaml", &VOCABULARY).expect_err("three mistakes");
    assert_eq!(problems.count(), 3);
    assert!(problems.render(Colour::Ansi).contains("\u{1b}["));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_a_table_or_an_error_with_a_place(bytes: Vec<u8>) {
        if load::table(&bytes, "triggers.yaml", &VOCABULARY).is_err() {
            refused(bytes);
        }
    }

    /// Pieces of tables in any order come further than bytes do.
    #[test]
    fn any_pieces_of_a_table_are_a_table_or_an_error(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "version: 1\n", "triggers:\n", "  - ", "    ", "name: a\n", "on: ", "post-commit\n", "[", "]", "{", "}", ", ", "role: tester\n",
            "when: ", "paths: ", "\"!**\"", "&a ", "*a", "!x ", "run: ", "state: failed", "policy:\n", "  roles:\n", "limits: ", "wall: 5m",
            "\t", "# c\n", "---\n", "? ", "|\n", ">-\n", "'", "\"", "\r\n", "ü", "\u{202e}", "<<: ", "...\n", "%YAML 1.2\n", ": ", "- ", "~", "\n",
        ]), 0..40),
        cut in 0usize..400,
    ) {
        let text = pieces.concat();
        let mut changed = SAMPLE.to_owned();
        let at = (0..=cut.min(changed.len())).rev().find(|at| changed.is_char_boundary(*at)).unwrap_or(0);
        changed.insert_str(at, &text);
        for text in [text, changed] {
            if load::table(text.as_bytes(), "triggers.yaml", &VOCABULARY).is_err() {
                refused(text);
            }
        }
    }
}
