//! Tables as people write them: the good ones load, the wrong ones say where and what to do.

mod wrong_keys;
mod wrong_names;
mod wrong_text;
mod right;
mod matching;
mod planning;

use orchestrator::error::Kind;
use orchestrator::triggers::{Table, Vocabulary, load};

pub(crate) const VOCABULARY: Vocabulary<'_> = Vocabulary {
    roles: orchestrator::role::NAMES,
    runtimes: &["codex-exec", "codex", "rehearsal"],
    contract: orchestrator::role::contract,
};

/// A table that is right but for what a test appends.
pub(crate) const HEAD: &str = "version: 1\ntriggers:\n";

pub(crate) fn load(text: &str) -> Table {
    load::table(text.as_bytes(), "triggers.yaml", &VOCABULARY).unwrap_or_else(|error| {
        panic!("{}", error.rendered_excerpt().unwrap_or("no excerpt"));
    })
}

/// What a person sees.
pub(crate) fn refused(bytes: impl AsRef<[u8]>) -> String {
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
pub(crate) fn refused_row(row: &str) -> String {
    refused(format!("{HEAD}{row}"))
}

/// Wrong lines behind a right table.
pub(crate) fn refused_tail(tail: &str) -> String {
    refused(format!("version: 1\ntriggers: []\n{tail}"))
}

/// A table with a row of every kind.
pub(crate) const SAMPLE: &str = r#"version: 1
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
