//! Keys, types, patterns and expressions that are wrong by themselves.

use insta::assert_snapshot;

use crate::{refused, refused_row, refused_tail};

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
    help: the keys of the table are `version`, `runtime`, `triggers`, `policy`, `artifacts` and `hook`
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
    help: the keys of the table are `version`, `runtime`, `triggers`, `policy`, `artifacts` and `hook`
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
fn slips_of_people_who_write_no_yaml_every_day() {
    let when = |line: &str| {
        refused_row(&format!("  - name: a\n    on: post-commit\n    role: tester\n    when:\n      {line}\n"))
    };
    assert_snapshot!(when("paths: src/**, docs/**"), @r###"
    error: `src/**, docs/**` is not a pattern for `paths`
     --> triggers.yaml:7:14
      |
    7 |       paths: src/**, docs/**
      |              ^^^^^^^^^^^^^^^ one pattern with a comma in it
      |
    help: write a list: ["src/**", "docs/**"]
    "###);
    assert_snapshot!(when("paths: “src/**”"), @r###"
    error: `“src/**”` is not a pattern for `paths`
     --> triggers.yaml:7:14
      |
    7 |       paths: “src/**”
      |              ^^^^^^^^ typographic quotes are part of the pattern
      |
    help: use straight quotes: "src/**"
    "###);
    assert_snapshot!(when("paths: *"), @r###"
    error: `*` is a YAML alias, not text
     --> triggers.yaml:7:14
      |
    7 |       paths: *
      |              ^ begins with `*`
      |
    help: put the pattern in quotes: "*"
    "###);
    assert_snapshot!(when("paths: - src"), @r###"
    error: a list cannot begin here
     --> triggers.yaml:7:14
      |
    7 |       paths: - src
      |              ^ behind a colon
      |
    help: begin it on the next line, one `- ` for each entry, or write `["a", "b"]`
    "###);
    assert_snapshot!(when("paths: \"a\" \"b\""), @r###"
    error: something stands behind the closing quote
     --> triggers.yaml:7:18
      |
    7 |       paths: "a" "b"
      |                  ^ not part of the text
      |
    help: remove it; inside single quotes write `''` for `'`; put several texts in brackets: ["a", "b"]
    "###);
    assert_snapshot!(when("message: \"\\d+\""), @r###"
    error: a `\` that YAML does not know
     --> triggers.yaml:7:16
      |
    7 |       message: "\d+"
      |                ^ in this text
      |
    help: put it in single quotes, where `\` means itself: '\d+'
    "###);
    assert_snapshot!(when("message: ^(feat|task): .*"), @r###"
    error: this `:` cannot stand here
     --> triggers.yaml:7:28
      |
    7 |       message: ^(feat|task): .*
      |                            ^ a key where none is expected
      |
    help: keys of one mapping begin in the same column, each with `: ` behind it; quote a value that holds `: `
    "###);
    assert_snapshot!(when("message: [wip]"), @r###"
    error: `message` has to be one expression
     --> triggers.yaml:7:16
      |
    7 |       message: [wip]
      |                ^ this is a list
      |
    help: join the alternatives with `|`: "^(feat|task)"
    "###);
    assert_snapshot!(refused_row("  - name: a\n    on:post-commit\n    role: tester\n"), @r###"
    error: this line has no `: `
     --> triggers.yaml:4:5
      |
    4 |     on:post-commit
      |     ^ neither a key nor a value
      |
    help: write `key: value`, with a space behind the colon
    "###);
    assert_snapshot!(refused_row("  - name: a\n  on: post-commit\n"), @r###"
    error: this line does not belong to the row above it
     --> triggers.yaml:4:3
      |
    4 |   on: post-commit
      |   ^ begins in another column
      |
    help: indent it as deep as the first key of the row, which stands behind the `- `
    "###);
    assert_snapshot!(refused_row("  - name: a\n    on: post-commit\n    role: tester\n    when:\n    paths: [src]\n"), @r###"
    error: `when` has to be a mapping
     --> triggers.yaml:6:9
      |
    6 |     when:
      |         ^ no value
      |
    help: the keys of `when` are `paths`, `branches`, `refs`, `message` and `author`

    error: a row has no key `paths`
     --> triggers.yaml:7:5
      |
    7 |     paths: [src]
      |     ^^^^^ unknown key
      |
    help: it belongs below `when`, indented or in braces: `when: { paths: … }`
    "###);
    assert_snapshot!(refused_row(&"  - { name: a, on: post-commit, role: tester }\n".repeat(201)), @r###"
    error: 201 rows are more than the 200 a table may have
       --> triggers.yaml:203:5
        |
    203 |   - { name: a, on: post-commit, role: tester }
        |     ^ one too many
        |
    help: one row can listen to several hooks and name several patterns
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
fn a_quiet_time_that_would_do_nothing_or_too_much() {
    for (row, said) in [
        ("on: {run: a, state: failed}, role: tester, debounce: 1s", "has a `debounce`, but no hook starts it"),
        ("on: pre-push, gate: review, requires: tester, debounce: 1s", "a gate has no `debounce`"),
        ("on: post-commit, role: tester, debounce: 0", "did you mean `0s`?"),
        ("on: post-commit, role: tester, debounce: 1h", "too long to wait for quiet"),
        ("on: post-commit, role: tester, debounce: [1s]", "`debounce` has to be text"),
    ] {
        let row = format!("  - {{ name: a, on: post-commit, role: tester }}\n  - {{ name: b, {row} }}\n");
        let excerpt = refused_row(&row);
        assert!(excerpt.contains(said), "{excerpt}");
    }
}

#[test]
fn the_hook_section_is_checked_like_any_other() {
    for (tail, said) in [
        ("hook: { quite: true }\n", "did you mean `quiet`?"),
        ("hook: { quiet: yes }\n", "did you mean `true`?"),
        ("hook: true\n", "`hook` has to be a mapping"),
        ("quiet: true\n", "it belongs below `hook`"),
    ] {
        let excerpt = refused_tail(tail);
        assert!(excerpt.contains(said), "{excerpt}");
    }
}
