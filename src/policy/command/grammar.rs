//! The second opinion: bash's own grammar has to find the same commands and the same words.
//!
//! The grammar is `tree-sitter-bash`, which is what other tools judge lines by too. It only ever sees lines that
//! [`super::line`] took for plain, and it stops at the first error, so that its error recovery, which is lenient and slow,
//! is never asked for. A construct that one of the two does not know is a disagreement, and a disagreement is a refusal.

use std::cell::RefCell;
use std::ops::{ControlFlow, Range};

use tree_sitter::{Node, ParseOptions, ParseState, Parser, Tree};

use super::line::{Simple, Undecidable};

/// The named nodes of which a plain line is made.
const NODES: &[&str] = &[
    "program",
    "list",
    "pipeline",
    "redirected_statement",
    "command",
    "command_name",
    "word",
    "number",
    "string",
    "string_content",
    "raw_string",
    "concatenation",
    "file_redirect",
    "file_descriptor",
    "comment",
];

/// Whether the grammar reads `line` as exactly these commands.
pub fn confirm(line: &str, commands: &[Simple]) -> Result<(), Undecidable> {
    thread_local! {
        static PARSER: RefCell<Option<Parser>> = RefCell::new(parser());
    }
    let tree = PARSER.with_borrow_mut(|parser| parse(parser.as_mut()?, line)).ok_or(Undecidable::Syntax)?;
    if tree.root_node().has_error() {
        return Err(Undecidable::Syntax);
    }
    let mut found = Vec::new();
    collect(tree.root_node(), &mut found)?;
    let agreed =
        found.len() == commands.len() && found.iter().zip(commands).all(|(found, command)| found.is_of(command));
    if agreed { Ok(()) } else { Err(Undecidable::Syntax) }
}

/// Parses up to the first error: what comes after that is guessing, and takes more than linear time.
fn parse(parser: &mut Parser, line: &str) -> Option<Tree> {
    let mut stop_at_error =
        |state: &ParseState| if state.has_error() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let options = ParseOptions::new().progress_callback(&mut stop_at_error);
    // The grammar's scanner looks up characters in a table of 256, and reads beyond it for `{` and a later one, which ends
    // the process. To a shell these are letters of a word: each of their bytes is one.
    let letters: Vec<u8> = line.bytes().map(|byte| if byte.is_ascii() { byte } else { b'x' }).collect();
    let mut text = |at: usize, _| letters.get(at..).unwrap_or_default();
    let tree = parser.parse_with_options(&mut text, None, Some(options));
    if tree.is_none() {
        // Otherwise the next line would be taken for the rest of this one.
        parser.reset();
    }
    tree
}

fn parser() -> Option<Parser> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_bash::LANGUAGE.into()).ok()?;
    Some(parser)
}

/// What the grammar calls a command.
enum Found {
    /// Its words.
    Words(Vec<Range<usize>>),
    /// `[ … ]`, whose inside is an expression to the grammar and words to the shell.
    Test(Range<usize>),
}

impl Found {
    fn is_of(&self, command: &Simple) -> bool {
        match self {
            Self::Words(spans) => spans.iter().eq(command.words.iter().map(|word| &word.span)),
            Self::Test(span) => {
                let ends = command.words.first().zip(command.words.last());
                ends.is_some_and(|(first, last)| {
                    first.is("[") && last.is("]") && first.span.start == span.start && last.span.end == span.end
                })
            }
        }
    }
}

/// Walks the tree without recursion: its depth is in the hands of whoever wrote the line.
fn collect(root: Node<'_>, found: &mut Vec<Found>) -> Result<(), Undecidable> {
    let mut open = vec![root];
    while let Some(node) = open.pop() {
        if node.kind() == "test_command" {
            found.push(Found::Test(node.byte_range()));
            continue;
        }
        if node.is_named() && !NODES.contains(&node.kind()) {
            return Err(Undecidable::Syntax);
        }
        if node.kind() == "command" {
            found.push(Found::Words(words(node)?));
        }
        // In order: a stack gives back the last first.
        let mut cursor = node.walk();
        let children: Vec<_> = node.children(&mut cursor).collect();
        open.extend(children.into_iter().rev());
    }
    Ok(())
}

fn words(command: Node<'_>) -> Result<Vec<Range<usize>>, Undecidable> {
    let mut spans = Vec::new();
    let mut cursor = command.walk();
    for child in command.children(&mut cursor) {
        match child.kind() {
            "command_name" | "word" | "number" | "string" | "raw_string" | "concatenation" => {
                spans.push(child.byte_range());
            }
            // Redirections stand beside the words.
            "file_redirect" => {}
            _ => return Err(Undecidable::Syntax),
        }
    }
    Ok(spans)
}
