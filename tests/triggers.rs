//! Tables as people write them: the good ones load, the wrong ones say where and what to do.

use insta::assert_snapshot;
use orchestrator::diagnostic::Colour;
use orchestrator::error::Kind;
use orchestrator::triggers::{RowAction, SCHEMA_JSON, STARTER, Table, Vocabulary, load};

const VOCABULARY: Vocabulary<'_> = Vocabulary {
    roles: orchestrator::role::NAMES,
    runtimes: &["codex-exec", "rehearsal"],
    contract: orchestrator::role::contract,
};

/// A table that is right but for what a test appends.
const HEAD: &str = "version: 1\ntriggers:\n";

fn load(text: &str) -> Table {
    load::table(text.as_bytes(), "triggers.yaml", &VOCABULARY).unwrap_or_else(|error| {
        panic!("{}", error.rendered_excerpt().unwrap_or("no excerpt"));
    })
}

/// What a person sees.
fn refused(bytes: impl AsRef<[u8]>) -> String {
    let error = load::table(bytes.as_ref(), "triggers.yaml", &VOCABULARY).expect_err("the table is wrong");
    assert_eq!(error.kind(), Kind::Usage);
    assert!(!error.hints().is_empty());
    assert!(error.to_string().starts_with("triggers.yaml:"), "{error}");
    let excerpt = error.rendered_excerpt().expect("an excerpt").to_owned();
    assert!(excerpt.chars().all(|c| c == '\n' || !c.is_control()), "{excerpt:?}");
    assert!(excerpt.contains(" --> triggers.yaml:"), "{excerpt}");
    assert!(excerpt.contains("help: "), "says what to do: {excerpt}");
    excerpt
}

/// A wrong row behind [`HEAD`].
fn refused_row(row: &str) -> String {
    refused(format!("{HEAD}{row}"))
}

/// Wrong lines behind a right table.
fn refused_tail(tail: &str) -> String {
    refused(format!("version: 1\ntriggers: []\n{tail}"))
}

#[test]
fn an_unknown_key() {
    assert_snapshot!(refused_row("  - name: test\n    on: post-commit\n    rol: tester\n"), @r###"
    error: a row has no key `rol`
     --> triggers.yaml:5:5
      |
    5 |     rol: tester
      |     ^^^ unknown key
      |
    help: did you mean `role`?
    "###);
    assert_snapshot!(refused_row("  - { name: test, on: post-commit, role: tester, retries: 3 }\n"), @r###"
    error: a row has no key `retries`
     --> triggers.yaml:3:50
      |
    3 |   - { name: test, on: post-commit, role: tester, retries: 3 }
      |                                                  ^^^^^^^ unknown key
      |
    help: did you mean `requires`?
    "###);
    assert_snapshot!(refused_tail("policies: {}\n"), @r###"
    error: the table has no key `policies`
     --> triggers.yaml:3:1
      |
    3 | policies: {}
      | ^^^^^^^^ unknown key
      |
    help: the keys of the table are `version`, `runtime`, `triggers`, `policy` and `artifacts`
    "###);
}

#[test]
fn a_duplicate_key() {
    assert_snapshot!(refused_tail("policy:\n  roles:\n    tester: {}\n    planner: {}\n    tester: { network: true }\n"), @r###"
    error: `tester` stands twice
     --> triggers.yaml:7:5
      |
    5 |     tester: {}
      |     ------ first here
    6 |     planner: {}
    7 |     tester: { network: true }
      |     ^^^^^^ again here
      |
    help: keep one of the two
    "###);
    assert_snapshot!(refused_row("  - name: test\n    on: post-commit\n    role: tester\n    on: post-merge\n"), @r###"
    error: `on` stands twice
     --> triggers.yaml:6:5
      |
    4 |     on: post-commit
      |     -- first here
    5 |     role: tester
    6 |     on: post-merge
      |     ^^ again here
      |
    help: keep one of the two
    "###);
}

#[test]
fn a_wrong_type() {
    assert_snapshot!(refused_row("  - name: test\n    on: post-commit\n    role: [tester]\n"), @r###"
    error: `role` has to be text
     --> triggers.yaml:5:11
      |
    5 |     role: [tester]
      |           ^ this is a list
      |
    help: write one word or one quoted text
    "###);
    assert_snapshot!(refused_row("  - name: 7\n    on: post-commit\n    role: tester\n"), @r###"
    error: `name` has to be text
     --> triggers.yaml:3:11
      |
    3 |   - name: 7
      |           ^ this is a number
      |
    help: put it in quotes: "7"
    "###);
    assert_snapshot!(refused_row("  - name: test\n    on: post-commit\n    role:\n"), @r###"
    error: `role` has to be text
     --> triggers.yaml:5:9
      |
    5 |     role:
      |         ^ no value
      |
    help: write a value behind the colon, or remove the key
    "###);
    assert_snapshot!(refused_tail("policy: { roles: { tester: { network: no } } }\n"), @r###"
    error: `network` has to be true or false
     --> triggers.yaml:3:39
      |
    3 | policy: { roles: { tester: { network: no } } }
      |                                       ^^ this is text
      |
    help: did you mean `false`?
    "###);
    assert_snapshot!(refused_tail("policy:\n  roles:\n    tester:\n"), @r###"
    error: `roles.tester` has to be a mapping
     --> triggers.yaml:5:11
      |
    5 |     tester:
      |           ^ no value
      |
    help: for the role's own defaults write `tester: {}`
    "###);
    assert_snapshot!(refused("version: 1\ntriggers:\n  name: test\n"), @r###"
    error: `triggers` has to be a list of rows
     --> triggers.yaml:3:3
      |
    3 |   name: test
      |   ^ not a list
      |
    help: a row is `- name: …`, with `on`, `role` and what else it needs below
    "###);
    assert_snapshot!(refused("- version\n- triggers\n"), @r###"
    error: the table has to be a mapping
     --> triggers.yaml:1:1
      |
    1 | - version
      | ^ this is a list
      |
    help: the keys of the table are `version`, `runtime`, `triggers`, `policy` and `artifacts`
    "###);
    assert_snapshot!(refused_tail("policy: { roles: { tester: { commands: git log } } }\n"), @r###"
    error: `commands` has to be a list
     --> triggers.yaml:3:40
      |
    3 | policy: { roles: { tester: { commands: git log } } }
      |                                        ^^^^^^^ this is text
      |
    help: write the first words of each command: `commands: ["git diff", "cargo test"]`
    "###);
    assert_snapshot!(refused_tail("policy: { roles: { tester: { limits: { attempts: many } } } }\n"), @r###"
    error: `attempts` has to be a whole number
     --> triggers.yaml:3:50
      |
    3 | policy: { roles: { tester: { limits: { attempts: many } } } }
      |                                                  ^^^^ this is text
      |
    help: write a number from 1 to 10
    "###);
}

#[test]
fn a_bad_glob() {
    assert_snapshot!(refused_row("  - name: test\n    on: post-commit\n    when: { paths: [\"src/**\", \"src/[a-\"] }\n    role: tester\n"), @r###"
    error: `src/[a-` is not a pattern for `paths`
     --> triggers.yaml:5:31
      |
    5 |     when: { paths: ["src/**", "src/[a-"] }
      |                               ^^^^^^^^^ unclosed character class; missing ']'
      |
    help: close the class with `]`, or write `src/\[a-` for the character itself
    "###);
    assert_snapshot!(refused_row("  - { name: test, on: post-commit, role: tester, when: { paths: \"!/docs/**\" } }\n"), @r###"
    error: `!/docs/**` is not a pattern for `paths`
     --> triggers.yaml:3:65
      |
    3 |   - { name: test, on: post-commit, role: tester, when: { paths: "!/docs/**" } }
      |                                                                 ^^^^^^^^^^^ matches no path git reports
      |
    help: paths begin at the top of the repository: write `!docs/**`
    "###);
    assert_snapshot!(refused_row("  - { name: test, on: post-commit, role: tester, when: { branches: refs/heads/main, refs: [main] } }\n"), @r###"
    error: `refs/heads/main` is not a pattern for `branches`
     --> triggers.yaml:3:68
      |
    3 |   - { name: test, on: post-commit, role: tester, when: { branches: refs/heads/main, refs: [main] } }
      |                                                                    ^^^^^^^^^^^^^^^ a full ref name
      |
    help: `branches` takes names without `refs/heads/`: write `main`, or use `refs`

    error: `main` is not a pattern for `refs`
     --> triggers.yaml:3:92
      |
    3 |   - { name: test, on: post-commit, role: tester, when: { branches: refs/heads/main, refs: [main] } }
      |                                                                                            ^^^^ not a full ref name
      |
    help: `refs` takes full names: write `refs/heads/main`
    "###);
    assert_snapshot!(refused_row("  - { name: test, on: post-commit, role: tester, when: { paths: [] } }\n"), @r###"
    error: `paths` is an empty list
     --> triggers.yaml:3:65
      |
    3 |   - { name: test, on: post-commit, role: tester, when: { paths: [] } }
      |                                                                 ^ nothing in it
      |
    help: write at least one entry, or remove the key
    "###);
}

#[test]
fn a_glob_that_yaml_reads_otherwise() {
    assert_snapshot!(refused_row("  - { name: test, on: post-commit, role: tester, when: { paths: [src/**, !**/*.md] } }\n"), @r###"
    error: `!**/*.md` is a YAML tag, not text
     --> triggers.yaml:3:74
      |
    3 |   - { name: test, on: post-commit, role: tester, when: { paths: [src/**, !**/*.md] } }
      |                                                                          ^^^^^^^^ begins with `!`
      |
    help: put it in quotes: "!**/*.md"
    "###);
    assert_snapshot!(refused_row("  - name: test\n    when:\n      paths:\n        - **/*.rs\n"), @r###"
    error: `**/*.rs` is a YAML alias, not text
     --> triggers.yaml:6:11
      |
    6 |         - **/*.rs
      |           ^^^^^^^ begins with `*`
      |
    help: put the pattern in quotes: "**/*.rs"
    "###);
}

#[test]
fn a_bad_expression() {
    assert_snapshot!(refused_row("  - { name: test, on: post-commit, role: tester, when: { message: \"^(feat|task\" } }\n"), @r###"
    error: `^(feat|task` is not a regular expression
     --> triggers.yaml:3:67
      |
    3 |   - { name: test, on: post-commit, role: tester, when: { message: "^(feat|task" } }
      |                                                                   ^^^^^^^^^^^^^ unclosed group
      |
    help: put `\` before a character that stands for itself, in single quotes: '\(wip\)'
    "###);
    assert_snapshot!(refused_row("  - { name: test, on: post-commit, role: tester, when: { message: '\\w{999}{999}' } }\n"), @r###"
    error: `\w{999}{999}` is too large an expression
     --> triggers.yaml:3:67
      |
    3 |   - { name: test, on: post-commit, role: tester, when: { message: '\w{999}{999}' } }
      |                                                                   ^^^^^^^^^^^^^^ over 1 MiB once compiled
      |
    help: use smaller repetitions
    "###);
}

#[test]
fn an_unknown_role_runtime_hook_state_or_row() {
    assert_snapshot!(refused_row("  - name: test\n    on: post-commit\n    role: testr\n"), @r###"
    error: there is no role `testr`
     --> triggers.yaml:5:11
      |
    5 |     role: testr
      |           ^^^^^ no role of this name
      |
    help: did you mean `tester`?
    "###);
    assert_snapshot!(refused_row("  - { name: test, on: pre-commit, role: reviewer, runtime: codex }\n"), @r###"
    error: there is no hook `pre-commit`
     --> triggers.yaml:3:23
      |
    3 |   - { name: test, on: pre-commit, role: reviewer, runtime: codex }
      |                       ^^^^^^^^^^ no hook of this name
      |
    help: did you mean `post-commit`?

    error: there is no role `reviewer`
     --> triggers.yaml:3:41
      |
    3 |   - { name: test, on: pre-commit, role: reviewer, runtime: codex }
      |                                         ^^^^^^^^ no role of this name
      |
    help: choose `planner`, `architect` or `tester`

    error: there is no runtime `codex`
     --> triggers.yaml:3:60
      |
    3 |   - { name: test, on: pre-commit, role: reviewer, runtime: codex }
      |                                                            ^^^^^ no runtime of this name
      |
    help: did you mean `codex-exec`?
    "###);
    assert_snapshot!(refused_row("  - { name: plan, on: post-commit, role: planner }\n  - { name: check, on: { run: plna, state: done }, role: architect }\n"), @r###"
    error: there is no row `plna`
     --> triggers.yaml:4:31
      |
    4 |   - { name: check, on: { run: plna, state: done }, role: architect }
      |                               ^^^^ no row of this name
      |
    help: did you mean `plan`?

    error: there is no state `done`
     --> triggers.yaml:4:44
      |
    4 |   - { name: check, on: { run: plna, state: done }, role: architect }
      |                                            ^^^^ no state of this name
      |
    help: choose `succeeded`, `inconclusive`, `failed`, `cancelled` or `superseded`
    "###);
    assert_snapshot!(refused_row("  - { name: plan, on: post-commit, role: planner }\n  - { name: check, on: { run: plna, state: failed }, role: architect }\n"), @r###"
    error: there is no row `plna`
     --> triggers.yaml:4:31
      |
    4 |   - { name: check, on: { run: plna, state: failed }, role: architect }
      |                               ^^^^ no row of this name
      |
    help: did you mean `plan`?
    "###);
    assert_snapshot!(refused_row("  - { name: plan, on: post-commit, role: planner }\n  - { name: check, on: plan, role: architect }\n"), @r###"
    error: there is no hook `plan`
     --> triggers.yaml:4:24
      |
    4 |   - { name: check, on: plan, role: architect }
      |                        ^^^^ no hook of this name
      |
    help: to follow that row write `on: { run: plan, state: succeeded }`
    "###);
    assert_snapshot!(refused_row("  - { name: plan, on: post-commit, role: planner }\n  - { name: check, on: { run: plan, state: running }, role: architect }\n"), @r###"
    error: a run does not end in `running`
     --> triggers.yaml:4:44
      |
    4 |   - { name: check, on: { run: plan, state: running }, role: architect }
      |                                            ^^^^^^^ not an end
      |
    help: a run ends in `succeeded`, `inconclusive`, `failed`, `cancelled` or `superseded`
    "###);
    assert_snapshot!(refused_tail("policy: { autonomy: full, roles: { developer: {} } }\n"), @r###"
    error: there is no level of autonomy `full`
     --> triggers.yaml:3:21
      |
    3 | policy: { autonomy: full, roles: { developer: {} } }
      |                     ^^^^ no level of autonomy of this name
      |
    help: choose `observe`, `suggest`, `draft`, `isolated-write` or `propose`

    error: there is no role `developer`
     --> triggers.yaml:3:36
      |
    3 | policy: { autonomy: full, roles: { developer: {} } }
      |                                    ^^^^^^^^^ no role of this name
      |
    help: choose `planner`, `architect` or `tester`
    "###);
}

#[test]
fn two_rows_of_one_name() {
    assert_snapshot!(refused_row("  - name: test\n    on: post-commit\n    role: tester\n  - name: plan\n    on: post-commit\n    role: planner\n  - name: test\n    on: post-merge\n    role: tester\n"), @r###"
    error: two rows are named `test`
     --> triggers.yaml:9:11
      |
    3 |   - name: test
      |           ---- the first one
    ...
    9 |   - name: test
      |           ^^^^ the second one
      |
    help: give one of them another name
    "###);
    assert_snapshot!(refused_row("  - { name: Design Check, on: post-commit, role: architect }\n"), @r###"
    error: `Design Check` cannot be the name of a row
     --> triggers.yaml:3:13
      |
    3 |   - { name: Design Check, on: post-commit, role: architect }
      |             ^^^^^^^^^^^^ holds other characters than a-z, 0-9 and `-`
      |
    help: did you mean `design-check`?
    "###);
}

#[test]
fn rows_in_a_circle() {
    assert_snapshot!(refused_row("  - name: plan\n    on: { run: test, state: failed }\n    role: planner\n  - name: check\n    on: { run: plan, state: succeeded }\n    role: architect\n  - name: test\n    on: [post-commit, { run: check, state: succeeded }]\n    role: tester\n"), @r###"
    error: rows start each other in a circle: `plan` → `check` → `test` → `plan`
      --> triggers.yaml:4:16
       |
     4 |     on: { run: test, state: failed }
       |                ^^^^ this closes the circle
    ...
     7 |     on: { run: plan, state: succeeded }
       |                ---- which follows
    ...
    10 |     on: [post-commit, { run: check, state: succeeded }]
       |                              ----- which follows
       |
    help: start one of them by a hook instead, such as `on: post-commit`
    "###);
    assert_snapshot!(refused_row("  - name: plan\n    on: { run: plan, state: failed }\n    role: planner\n"), @r###"
    error: row `plan` follows itself
     --> triggers.yaml:4:16
      |
    4 |     on: { run: plan, state: failed }
      |                ^^^^ this closes the circle
      |
    help: start one of them by a hook instead, such as `on: post-commit`
    "###);
}

#[test]
fn a_row_that_does_nothing_or_too_much() {
    assert_snapshot!(refused_row("  - name: test\n    on: post-commit\n"), @r###"
    error: row `test` does nothing
     --> triggers.yaml:3:5
      |
    3 |   - name: test
      |     ^^^^ neither `role` nor `gate`
      |
    help: say which role it starts: `planner`, `architect` or `tester`
    "###);
    assert_snapshot!(refused_row("  - name: test\n    on: pre-push\n    role: tester\n    gate: review\n"), @r###"
    error: row `test` has both `role` and `gate`
     --> triggers.yaml:6:5
      |
    5 |     role: tester
      |     ---- a role runs
    6 |     gate: review
      |     ^^^^ a gate blocks
      |
    help: make two rows of it: one that starts the role, one that is the gate
    "###);
    assert_snapshot!(refused_row("  - name: main\n    on: [pre-push, post-commit]\n    gate: review\n    runtime: codex-exec\n"), @r###"
    error: a gate listens to `pre-push` only
     --> triggers.yaml:4:9
      |
    4 |     on: [pre-push, post-commit]
      |         ^ nothing to block here
      |
    help: write `on: pre-push`: it is the hook that can say no

    error: row `main` has no `requires`
     --> triggers.yaml:5:5
      |
    5 |     gate: review
      |     ^^^^ a gate for nothing
      |
    help: name the roles whose artifacts it needs, such as `requires: [tester]`

    error: a gate has no `runtime`
     --> triggers.yaml:6:5
      |
    6 |     runtime: codex-exec
      |     ^^^^^^^ a gate starts no run
      |
    help: remove the key
    "###);
    assert_snapshot!(refused_row("  - name: main\n    on: pre-push\n    gate: approval\n    requires: []\n"), @r###"
    error: there is no gate `approval`
     --> triggers.yaml:5:11
      |
    5 |     gate: approval
      |           ^^^^^^^^ no gate of this name
      |
    help: choose `review`

    error: `requires` is an empty list
     --> triggers.yaml:6:15
      |
    6 |     requires: []
      |               ^ nothing in it
      |
    help: write at least one entry, or remove the key
    "###);
    assert_snapshot!(refused_row("  - name: test\n    on: post-commit\n    role: tester\n    requires: planner\n"), @r###"
    error: `requires` belongs to a gate
     --> triggers.yaml:6:5
      |
    6 |     requires: planner
      |     ^^^^^^^^ this row starts a role
      |
    help: to run after another row write `on: { run: ROW, state: succeeded }`
    "###);
    assert_snapshot!(refused_row("  - role: tester\n"), @r###"
    error: this row has no `name`
     --> triggers.yaml:3:5
      |
    3 |   - role: tester
      |     ^^^^ `name` is missing
      |
    help: give it a name, such as `name: test`

    error: this row has no `on`
     --> triggers.yaml:3:5
      |
    3 |   - role: tester
      |     ^^^^ `on` is missing
      |
    help: say what starts it, such as `on: post-commit`
    "###);
    assert_snapshot!(refused_row("  - { name: main, on: pre-push, gate: review, requires: tester }\n  - { name: next, on: { run: main, state: succeeded }, role: tester }\n"), @r###"
    error: `main` is a gate: it never runs
     --> triggers.yaml:4:30
      |
    4 |   - { name: next, on: { run: main, state: succeeded }, role: tester }
      |                              ^^^^ no run to follow
      |
    help: follow a row that starts a role
    "###);
}

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
        bomb.push_str(&format!("{name}: &{name} [*{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}]\n"));
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
        block.push_str(&format!("{}-\n", " ".repeat(depth)));
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
    help: check that keys of one mapping begin in the same column; quote a value that holds `: `
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
    help: the keys of the table are `version`, `runtime`, `triggers`, `policy` and `artifacts`
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
    let text = "version: 1\nruntime: codex\ntriggers:\n  - name: plan\n    on: post-comit\n    role: planer\n";
    let error = load::table(text.as_bytes(), "triggers.yaml", &VOCABULARY).expect_err("three mistakes");
    assert_eq!(error.to_string(), "triggers.yaml:2:10: there is no runtime `codex` (and 2 more)");
    assert_snapshot!(refused(text), @r###"
    error: there is no runtime `codex`
     --> triggers.yaml:2:10
      |
    2 | runtime: codex
      |          ^^^^^ no runtime of this name
      |
    help: did you mean `codex-exec`?

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

/// DESIGN's own example.
const SAMPLE: &str = r#"version: 1
runtime: codex-exec                    # default for all roles
triggers:
  - name: plan
    on: post-commit
    when: { paths: ["docs/tasks/**"], branches: ["**"], message: "^(feat|task)" }
    role: planner
  - name: design-check
    on: { run: plan, state: succeeded }          # a role can follow a role: handoff of the artifact, never of a transcript
    role: architect
  - name: test
    on: [post-commit, post-merge, post-rewrite, post-applypatch]
    when: { paths: ["src/**", "tests/**", "!**/*.md"] }
    role: tester
    coalesce: branch                   # a rebase, an amend or five quick commits are one job, for the newest commit
  - name: before-main
    on: pre-push
    when: { refs: ["refs/heads/main"] }
    gate: review                       # blocks: needs the named artifacts and a person's approval of this exact tree
    requires: [tester, architect]
policy:
  autonomy: draft                      # observe | suggest | draft | isolated-write | propose
  roles:
    tester:
      sandbox: workspace-write
      network: false
      commands: ["git diff", "git log", "git show", "git status", "rg", "ls", "cat", "head", "tail", "wc", "cargo test"]
      limits: { wall: 20m, idle: 5m, output: 4MiB, tokens: 500k }
  budget: { runs_per_day: 50, tokens_per_day: 5M }
artifacts: { track: false, keep: 30d }
"#;

#[test]
fn the_sample_of_the_design_loads() {
    let table = load(SAMPLE);
    assert_eq!(table.runtime, "codex-exec");
    assert_eq!(table.triggers.iter().map(|row| (row.name.as_str(), row.line)).collect::<Vec<_>>(), [
        ("plan", 4),
        ("design-check", 8),
        ("test", 11),
        ("before-main", 16)
    ]);
    let tester = &table.policy.roles.as_ref().unwrap()["tester"];
    assert_eq!((tester.limits.wall.as_secs(), tester.limits.output_bytes, tester.limits.attempts), (1200, 4 << 20, 3));
    assert_eq!(table.policy.budget.tokens_per_day, Some(5_000_000));
    assert_eq!((table.artifacts.track, table.artifacts.keep_seconds), (false, 30 * 24 * 3600));
    assert_eq!(table.triggers[3].action, RowAction::Gate { requires: vec!["tester".into(), "architect".into()] });
}

#[test]
fn what_is_left_out_comes_from_the_contract_and_one_string_is_a_list_of_one() {
    let table = load(
        "version: 1\ntriggers:\n- {name: a, on: post-commit, role: tester, when: {paths: src}, limits: {wall: 90s, attempts: 1}}\n\
         - {name: b, on: pre-push, gate: review, requires: tester}\n\
         policy: {roles: {tester: {network: true}, planner: {}}}\n",
    );
    let contract = orchestrator::role::contract("tester");
    let tester = &table.policy.roles.as_ref().unwrap()["tester"];
    assert_eq!((&tester.commands, tester.network, contract.network), (&contract.commands, true, false));
    assert_eq!(table.policy.roles.as_ref().unwrap()["planner"], orchestrator::role::contract("planner"));
    assert_eq!(table.triggers[0].when.paths, ["src"]);
    assert_eq!(table.triggers[0].limits.wall.unwrap().as_secs(), 90);
    assert_eq!(load("version: 1\r\ntriggers: []\r\n").runtime, "codex-exec");
}

#[test]
fn the_starter_says_what_the_contracts_say() {
    let table = load(STARTER);
    assert_eq!(table.triggers.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["plan", "design-check", "test"]);
    for (role, policy) in table.policy.roles.as_ref().unwrap() {
        assert_eq!(*policy, orchestrator::role::contract(role), "{role}");
    }
    let gate = STARTER.replace("  # - name: before-main", "  - name: before-main").replace("  #   ", "    ");
    assert_eq!(load(&gate).triggers.len(), 4, "the row that is commented out is right too");
}

/// Whether the published schema takes the file.
fn fits_schema(text: &str) -> bool {
    let options = serde_yaml::options! { strict_booleans: true };
    let value: serde_json::Value = serde_yaml::from_str_with_options(text, options).expect("YAML");
    let schema = serde_json::from_str(SCHEMA_JSON).expect("JSON");
    jsonschema::draft202012::new(&schema).expect("a schema").is_valid(&value)
}

#[test]
fn the_schema_and_the_loader_agree() {
    assert!(jsonschema::meta::is_valid(&serde_json::from_str(SCHEMA_JSON).expect("JSON")));
    let row = |rest: &str| format!("version: 1\ntriggers:\n- {{name: a, {rest}}}\n");
    let role = |rest: &str| format!("version: 1\ntriggers: []\npolicy: {{roles: {{tester: {{{rest}}}}}}}\n");
    let right = [
        SAMPLE.to_owned(),
        STARTER.to_owned(),
        row("on: post-commit, role: tester"),
        row("on: [post-commit, {run: b, state: failed}], role: tester}\n- {name: b, on: post-merge, role: planner"),
        row("on: pre-push, gate: review, requires: tester"),
        row("on: [pre-push], gate: review, requires: [tester, planner]"),
        row("on: pre-push, role: tester, when: {refs: ['!refs/tags/**', '**'], author: '*@a>', branches: main}"),
        role("limits: {wall: 1h30m, idle: 90s, output: 512KiB, tokens: 5, attempts: 10}"),
        role("commands: []"),
        "version: 1\ntriggers: []\nartifacts: {track: true}\n".to_owned(),
    ];
    for text in &right {
        load(text);
        assert!(fits_schema(text), "{text}");
    }
    let wrong = [
        "version: 2\ntriggers: []\n".to_owned(),
        "version: 1\n".to_owned(),
        "version: 1\ntriggers: []\nextra: 1\n".to_owned(),
        row("on: post-commit"),
        row("role: tester"),
        row("on: post-commit, role: tester, gate: review, requires: tester"),
        row("on: post-commit, role: tester, requires: tester"),
        row("on: pre-push, gate: review"),
        row("on: pre-push, gate: review, requires: []"),
        row("on: post-commit, gate: review, requires: tester"),
        row("on: pre-push, gate: review, requires: tester, runtime: codex-exec"),
        row("on: pre-commit, role: tester"),
        row("on: {run: b, state: running}, role: tester"),
        row("on: {run: b}, role: tester"),
        row("on: [], role: tester"),
        row("on: [post-commit, post-commit], role: tester"),
        row("on: post-commit, role: reviewer"),
        row("on: post-commit, role: tester, coalesce: all"),
        row("on: post-commit, role: tester, when: {paths: []}"),
        row("on: post-commit, role: tester, when: {paths: '/src'}"),
        row("on: post-commit, role: tester, when: {branches: refs/heads/a}"),
        row("on: post-commit, role: tester, when: {refs: main}"),
        row("on: post-commit, role: tester, when: {message: [a]}"),
        row("on: post-commit, role: tester, limits: {wall: 20}"),
        row("on: post-commit, role: tester, limits: {wall: 0s}"),
        row("on: post-commit, role: tester, limits: {wall: 5m1h}"),
        row("on: post-commit, role: tester, limits: {output: 4MB}"),
        row("on: post-commit, role: tester, limits: {tokens: 5K}"),
        row("on: post-commit, role: tester, limits: {tokens: 0}"),
        row("on: post-commit, role: tester, limits: {attempts: 11}"),
        role("commands: ['ls | wc']"),
        role("commands: ['']"),
        role("network: no"),
        role("sandbox: none"),
        "version: 1\ntriggers: []\npolicy: {roles: {developer: {}}}\n".to_owned(),
        "version: 1\ntriggers: []\npolicy: {autonomy: all}\n".to_owned(),
    ];
    for text in &wrong {
        assert!(load::table(text.as_bytes(), "t", &VOCABULARY).is_err(), "{text}");
        assert!(!fits_schema(text), "{text}");
    }
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
