//! Tables as people write them: the good ones load, the wrong ones say where and what to do.

use insta::assert_snapshot;
use orchestrator::diagnostic::Colour;
use orchestrator::error::Kind;
use orchestrator::triggers::{STARTER, Table, Vocabulary, load};

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
