//! Which rows an event matches; that the short way and the full report say the same.

use std::cell::Cell;
use std::fmt::Write as _;

use orchestrator::clock::Timestamp;
use orchestrator::error::Error;
use orchestrator::event::{Actor, Change, Detail, Event, Hook, RefChange};
use orchestrator::ids::Oid;
use orchestrator::triggers::Table;
use orchestrator::triggers::matching::{self, Outcome, Paths, Verdict};
use proptest::prelude::*;

use crate::{SAMPLE, load};

/// A commit on `main` by Ada.
pub(crate) fn event(hook: Hook) -> Event {
    let head: Oid = "a".repeat(40).parse().expect("an object id");
    let change = Change { base: None, head: head.clone() };
    let refs = vec![RefChange { name: "refs/heads/main".to_owned(), old: None, new: Some(head) }];
    let detail = Detail::Commit;
    Event {
        schema: 1,
        key: Event::key_of(hook, &detail, &refs, Some(&change), b""),
        hook,
        detail,
        refs,
        branch: Some("main".to_owned()),
        tree: None,
        change: Some(change),
        message: "feat: add\n\nBody\ntask: 7\n".to_owned(),
        author: Actor { name: "Ada".to_owned(), email: "ada@example.org".to_owned() },
        worktree: "/tree".into(),
        at: Timestamp::from_millis(0),
    }
}

pub(crate) fn paths(names: &[&str]) -> Paths<'static> {
    Paths::known(names.iter().map(|name| name.as_bytes().to_vec()).collect())
}

/// The names of rows that start now and of rows that follow.
fn matched(table: &Table, event: &Event, changed: &[&str]) -> (Vec<String>, Vec<String>) {
    let found = matching::rows(table, event, &mut paths(changed)).expect("known paths");
    (
        found.now.iter().map(|row| row.name.clone()).collect(),
        found.after.iter().map(|follower| follower.row.name.clone()).collect(),
    )
}

/// A table of one row with this `when`.
fn when(conditions: &str) -> Table {
    load(&format!("version: 1\ntriggers:\n- {{name: a, on: post-commit, role: tester, when: {{{conditions}}}}}\n"))
}

fn holds(conditions: &str, event: &Event, changed: &[&str]) -> bool {
    !matched(&when(conditions), event, changed).0.is_empty()
}

#[test]
fn the_sample_matches_what_it_says() {
    let table = load(SAMPLE);
    let commit = event(Hook::PostCommit);
    let names = |now: &[&str], after: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        (owned(now), owned(after))
    };
    assert_eq!(matched(&table, &commit, &["docs/tasks/1.md"]), names(&["plan"], &["design-check"]));
    assert_eq!(matched(&table, &commit, &["src/a.rs", "README.md"]), names(&["test"], &[]));
    assert_eq!(matched(&table, &commit, &["src/README.md"]), names(&[], &[]));
    assert_eq!(matched(&table, &commit, &[]), names(&[], &[]));
    let push = event(Hook::PrePush);
    assert_eq!(matched(&table, &push, &["src/a.rs"]), names(&[], &[]), "a gate starts nothing");
    let gates = matching::gates(&table, &push, &mut paths(&[])).unwrap();
    assert_eq!((gates[0].name.as_str(), gates[0].requires.len()), ("before-main", 2));
    let other = Event { refs: vec![RefChange { name: "refs/heads/x".into(), old: None, new: None }], ..push };
    assert!(matching::gates(&table, &other, &mut paths(&[])).unwrap().is_empty());
    assert!(matching::gates(&table, &commit, &mut paths(&[])).unwrap().is_empty());
}

#[test]
fn every_condition_has_its_meaning() {
    let commit = event(Hook::PostCommit);
    for (conditions, expected) in [
        ("branches: main", true),
        ("branches: 'release/*'", false),
        ("branches: ['**', '!main']", false),
        ("refs: refs/heads/main", true),
        ("refs: 'refs/tags/**'", false),
        ("author: '*@example.org>'", true),
        ("author: 'Bob *'", false),
        ("message: '^task'", true),
        ("message: '^add'", false),
        ("message: 'FEAT'", false),
        ("paths: src", true),
        ("paths: ['!src/**']", true),
        ("paths: ['!**']", false),
        ("paths: src, branches: x", false),
    ] {
        assert_eq!(holds(conditions, &commit, &["src/a.rs", "b"]), expected, "{conditions}");
    }
}

#[test]
fn on_a_detached_head_only_everything_and_not_this_one_hold() {
    let detached = Event { branch: None, ..event(Hook::PostCommit) };
    for (conditions, expected) in [
        ("branches: '**'", true),
        ("branches: ['**', '!main']", true),
        ("branches: '!main'", true),
        ("branches: '*'", false),
    ] {
        assert_eq!(holds(conditions, &detached, &["a"]), expected, "{conditions}");
    }
}

#[test]
fn without_a_commit_no_role_starts_and_nothing_about_it_holds() {
    let nothing = Event { change: None, message: String::new(), author: Actor::default(), ..event(Hook::PostCommit) };
    assert!(!holds("branches: main", &nothing, &["src/a"]));
    let report =
        matching::report(&when("branches: main, message: '', author: '**', paths: '**'"), &nothing, &mut paths(&["a"]));
    let report = report.unwrap();
    let verdicts: Vec<_> = report[0].conditions.iter().map(|c| (c.name, c.verdict == Verdict::Holds)).collect();
    assert_eq!(
        verdicts,
        [("on", true), ("commit", false), ("branches", true), ("author", false), ("message", false), ("paths", false)]
    );
}

#[test]
fn paths_are_walked_once_and_only_if_asked_for() {
    let table = load(
        "version: 1\ntriggers:\n\
         - {name: a, on: post-merge, role: tester, when: {paths: '**'}}\n\
         - {name: b, on: post-commit, role: tester, when: {paths: '**', branches: other}}\n\
         - {name: c, on: post-rewrite, role: tester, when: {paths: '**'}}\n\
         - {name: d, on: post-rewrite, role: tester, when: {paths: src}}\n",
    );
    let asked = Cell::new(0);
    let mut paths = Paths::walked(|visitor| {
        asked.set(asked.get() + 1);
        let goes_on = visitor.wants(b"src/") && visitor.visit(b"src/a").is_continue();
        assert!(!goes_on, "both rows are decided");
        Ok(())
    });
    matching::rows(&table, &event(Hook::PostCommit), &mut paths).unwrap();
    assert_eq!(asked.get(), 0);
    assert_eq!(matching::rows(&table, &event(Hook::PostRewrite), &mut paths).unwrap().now.len(), 2);
    assert_eq!(asked.get(), 1);
    let mut failing = Paths::walked(|_| Err(Error::failed("no such tree")));
    assert!(matching::rows(&table, &event(Hook::PostRewrite), &mut failing).is_err());
}

#[test]
fn the_report_names_what_was_asked_and_what_there_was() {
    let table = load(SAMPLE);
    let changed = ["docs/tasks/a.md", "docs/tasks/b.md", "docs/tasks/c.md", "docs/tasks/d.md", "x\u{1b}[2J"];
    let report = matching::report(&table, &event(Hook::PostCommit), &mut paths(&changed)).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap(), @r###"
    [
      {
        "name": "plan",
        "line": 4,
        "role": "planner",
        "requires": [],
        "debounce": 1,
        "outcome": "matches",
        "conditions": [
          {
            "name": "on",
            "verdict": "holds",
            "expected": [
              "post-commit"
            ],
            "actual": "post-commit"
          },
          {
            "name": "branches",
            "verdict": "holds",
            "expected": [
              "**"
            ],
            "actual": "main"
          },
          {
            "name": "message",
            "verdict": "holds",
            "expected": [
              "^(feat|task)"
            ],
            "actual": "feat: add"
          },
          {
            "name": "paths",
            "verdict": "holds",
            "expected": [
              "docs/tasks/**"
            ],
            "actual": "docs/tasks/a.md, docs/tasks/b.md, docs/tasks/c.md and 1 more (4 of 5 changed)"
          }
        ]
      },
      {
        "name": "design-check",
        "line": 8,
        "role": "architect",
        "requires": [],
        "debounce": 0,
        "outcome": "follows",
        "conditions": [
          {
            "name": "on",
            "verdict": "not-evaluated",
            "expected": [
              "`plan` succeeded"
            ],
            "actual": "post-commit"
          }
        ]
      },
      {
        "name": "test",
        "line": 11,
        "role": "tester",
        "requires": [],
        "debounce": 1,
        "outcome": "no-match",
        "conditions": [
          {
            "name": "on",
            "verdict": "holds",
            "expected": [
              "post-commit",
              "post-merge",
              "post-rewrite",
              "post-applypatch"
            ],
            "actual": "post-commit"
          },
          {
            "name": "paths",
            "verdict": "fails",
            "expected": [
              "src/**",
              "tests/**",
              "!**/*.md"
            ],
            "actual": "docs/tasks/a.md, docs/tasks/b.md, docs/tasks/c.md and 2 more"
          }
        ]
      },
      {
        "name": "before-main",
        "line": 16,
        "role": null,
        "requires": [
          "tester",
          "architect"
        ],
        "debounce": 0,
        "outcome": "no-match",
        "conditions": [
          {
            "name": "on",
            "verdict": "fails",
            "expected": [
              "pre-push"
            ],
            "actual": "post-commit"
          },
          {
            "name": "refs",
            "verdict": "holds",
            "expected": [
              "refs/heads/main"
            ],
            "actual": "refs/heads/main"
          }
        ]
      }
    ]
    "###);
}

/// A table of rows made of these parts, without cycles: a row follows earlier ones only.
fn tables() -> impl Strategy<Value = String> {
    let on = prop::sample::select(vec![
        "post-commit",
        "post-merge",
        "[post-commit, post-merge]",
        "FOLLOW",
        "[post-commit, FOLLOW]",
    ]);
    let pattern = || prop::sample::select(vec!["**", "src/**", "!**/*.md", "docs", "*", "!src/a", "{src,docs}/**"]);
    let list =
        move || prop::collection::vec(pattern(), 1..4).prop_map(|list| serde_json::to_string(&list).expect("JSON"));
    let row = (
        on,
        prop::option::of(list()),
        prop::option::of(list()),
        prop::option::of(prop::sample::select(vec!["^feat", "^task", "nothing", ""])),
        prop::option::of(prop::sample::select(vec!["Ada *", "!Ada *"])),
        any::<prop::sample::Index>(),
    );
    prop::collection::vec(row, 1..8).prop_map(|rows| {
        let mut text = String::from("version: 1\ntriggers:\n");
        for (at, (on, paths, branches, message, author, follows)) in rows.into_iter().enumerate() {
            let follow = if at == 0 {
                "post-merge".to_owned()
            } else {
                format!("{{run: r{}, state: failed}}", follows.index(at))
            };
            let when: Vec<String> = [
                paths.map(|list| format!("paths: {list}")),
                branches.map(|list| format!("branches: {list}")),
                message.map(|text| format!("message: {text:?}")),
                author.map(|text| format!("author: {text:?}")),
            ]
            .into_iter()
            .flatten()
            .collect();
            let on = on.replace("FOLLOW", &follow).replace("[post-commit, post-merge, post-merge]", "post-merge");
            let when = when.join(", ");
            writeln!(text, "- {{name: r{at}, on: {on}, role: tester, when: {{{when}}}}}").expect("memory");
        }
        text
    })
}

proptest! {
    #[test]
    fn the_report_agrees_with_what_starts(
        text in tables(),
        branch in prop::option::of(prop::sample::select(vec!["main", "src/a", "docs"])),
        hook in prop::sample::select(vec![Hook::PostCommit, Hook::PostMerge, Hook::PrePush]),
        changed in prop::collection::vec(prop::sample::select(vec!["src/a", "src/b.md", "README.md", "docs/x", "a"]), 0..4),
        commit: bool,
    ) {
        let table = load(&text);
        let mut event = Event { branch: branch.map(str::to_owned), ..event(hook) };
        if !commit {
            event.change = None;
        }
        let (now, after) = matched(&table, &event, &changed);
        let report = matching::report(&table, &event, &mut paths(&changed)).unwrap();
        let with = |outcome| report.iter().filter(|row| row.outcome == outcome).map(|row| row.name.clone()).collect::<Vec<_>>();
        prop_assert_eq!(with(Outcome::Matches), now.clone());
        // A row that starts now and follows as well is shown as starting now.
        prop_assert_eq!(with(Outcome::Follows), after.into_iter().filter(|name| !now.contains(name)).collect::<Vec<_>>());
    }
}
