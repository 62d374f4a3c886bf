//! Which paths a change has, where they are no plain ones: a row starts if its pattern takes one in.

use std::fmt::Write as _;

use crate::table::{Ground, Place};

#[test]
fn every_kind_of_changed_path_starts_its_row() {
    let cases = [
        ("renamed", "git mv root 'new name'; git commit -q -m x", &["root", "new name"][..]),
        ("a file becomes a link", "ln -sf m root; git add root; git commit -q -m x", &["root"]),
        (
            "a file becomes a directory",
            "git rm -q root; mkdir root; echo 1 >root/x; git add root; git commit -q -m x",
            &["root", "root/x"],
        ),
        ("executable", "chmod +x root; git add root; git commit -q -m x", &["root"]),
        ("deleted", "git rm -q root; git commit -q -m x", &["root"]),
        (
            "a link to a commit",
            "git update-index --add --cacheinfo 160000,$(git rev-parse topic),sub; git commit -q -m x",
            &["sub"],
        ),
        ("not UTF-8", "c \"$(printf 'caf\\351')\"", &["caf?"]),
        ("a newline", "c \"$(printf 'two\\nlines')\"", &["two*lines"]),
        ("quotes", "c \"it's \\\"quoted\\\"\"", &["it's \\\"quoted\\\""]),
        ("a tab and a backslash", "c \"$(printf 'tab\\there\\\\\\\\')\"", &["tab*here*"]),
        ("a leading dash", "c -x", &["-x"]),
        ("an empty commit", "git commit -q --allow-empty -m x", &[]),
    ];
    let all: Vec<&str> = cases.iter().flat_map(|(_, _, patterns)| patterns.iter().copied()).collect();
    let mut table = "version: 1\ntriggers:\n".to_owned();
    for (at, pattern) in all.iter().enumerate() {
        if all[..at].contains(pattern) {
            continue;
        }
        let text = serde_json::to_string(&pattern.replace("\\\"", "\"")).unwrap();
        writeln!(table, "  - {{ name: row-{at}, on: post-commit, when: {{ paths: [{text}] }}, role: tester }}")
            .unwrap();
    }
    for (name, when, patterns) in cases {
        let ground = Ground::new(Place::Main, &table);
        ground.script(when, false);
        let mut expected: Vec<String> = patterns
            .iter()
            .map(|pattern| format!("row-{}", all.iter().position(|other| other == pattern).unwrap()))
            .collect();
        expected.sort();
        let started: Vec<String> = ground.jobs(&ground.top).into_iter().map(|(row, _, _)| row).collect();
        assert_eq!(started, expected, "{name}");
    }
}
