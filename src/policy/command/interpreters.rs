//! Programs that run what they are given: whether that is a text nobody judged.

use super::line::Word;
use super::schema::Objection;
use super::{Frame, deny};

/// Programs that run what they read, and take a file of it as a word.
pub(super) const INTERPRETERS: &[&str] = &[
    "sh",
    "bash",
    "zsh",
    "dash",
    "ksh",
    "fish",
    "python",
    "python2",
    "python3",
    "node",
    "deno",
    "bun",
    "perl",
    "ruby",
    "php",
    "lua",
    "osascript",
    "tclsh",
    "Rscript",
    "ghci",
    "irb",
    "pypy",
    "ash",
    "mksh",
    "busybox",
    "csh",
    "tcsh",
    "pwsh",
    "nodejs",
    "ts-node",
    "tsx",
];

/// Programs that run what they read from their input, whatever else they are given.
const CONSOLES: &[&str] =
    &["psql", "mysql", "sqlite", "ed", "ex", "vi", "vim", "bc", "gdb", "lldb", "ssh", "at", "batch", "parallel"];

/// `/usr/bin/python3.12` is `python`.
pub(super) fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or_default().trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')
}

/// Objects where an interpreter runs what it reads, or the text of a word. `known`: an entry spells these words out, or
/// a schema judges them.
pub(super) fn interpreter(words: &[Word], frame: Frame<'_>, known: bool) -> Result<(), Objection> {
    let name = words.first().map_or("", |word| base_name(&word.text));
    let unjudged = || Err(deny("interpreter", &format!("what `{name}` is given to run is not judged")));
    if frame.piped && CONSOLES.contains(&name) {
        return unjudged();
    }
    if !INTERPRETERS.contains(&name) {
        return Ok(());
    }
    let arguments = words.get(1..).unwrap_or_default();
    if arguments.iter().any(|word| matches!(word.text.as_str(), "-" | "/dev/stdin" | "/dev/fd/0" | "/proc/self/fd/0")) {
        return unjudged();
    }
    // What stands behind the program's file, or behind `-m` and the name of a module, is for that program.
    let own = arguments.iter().map(Word::fixed).take_while(|text| text.starts_with('-') && *text != "-m");
    let own: Vec<&str> = own.collect();
    let tells = |text: &&str| matches!(*text, "--version" | "-V" | "-v" | "--help" | "-h");
    if own.len() == arguments.len()
        && !own.iter().any(tells)
        && !(known && own.first().is_some_and(|text| text.starts_with("--test")))
    {
        return unjudged();
    }
    let given = |text: &&str| {
        text.starts_with("--eval")
            || text.starts_with("--print")
            || (!text.starts_with("--") && text.contains(['c', 'e', 'E', 'r', 'p', 's', 'i']))
    };
    if !known && own.iter().any(given) { unjudged() } else { Ok(()) }
}
