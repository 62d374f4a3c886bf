//! Lines of ours in a text of somebody else's, between two marks: in a hook that has to keep its name and its place, and
//! in a git configuration file.
//!
//! Both are read with `#` as the beginning of a comment. The first mark carries the digest of what stands between them,
//! so that a block that somebody edited is told from one that is merely old. Taking a block out gives back every byte of
//! the rest.

use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::shim::quoted;
use crate::event::Hook;
use crate::ids::Digest;

const BEGIN: &[u8] = b"# >>> git-orchestrator >>> ";
const END: &[u8] = b"# <<< git-orchestrator <<<\n";

/// The hooks that read from standard input what git did.
pub(super) fn reads_input(hook: Hook) -> bool {
    matches!(hook.as_str(), "pre-push" | "post-rewrite" | "post-receive")
}

/// A block that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it stands, both marks included.
    range: Range<usize>,
    /// What stands between the marks.
    pub body: Vec<u8>,
    /// Whether that is as it was written.
    pub is_intact: bool,
}

/// Behind the digest: the line break before the block is ours too, since the text did not end with one.
const JOINED: &[u8] = b" joined";

/// A block around these lines.
fn marked(body: &[u8], joined: bool) -> Vec<u8> {
    let (before, behind): (&[u8], &[u8]) = if joined { (b"\n", JOINED) } else { (b"", b"") };
    [before, BEGIN, Digest::of(body).as_str().as_bytes(), behind, b"\n", body, END].concat()
}

/// The first block in this text.
pub fn find(text: &[u8]) -> Option<Block> {
    let mut at = 0;
    let mut open: Option<(usize, usize, &[u8])> = None;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let begin = at;
        at += line.len();
        match open {
            None => {
                if let Some(rest) = line.strip_prefix(BEGIN) {
                    let digest = rest.trim_ascii_end();
                    let joined = digest.strip_suffix(JOINED);
                    let outer = if joined.is_some() { begin.saturating_sub(1) } else { begin };
                    open = Some((outer, at, joined.unwrap_or(digest)));
                }
            }
            Some((outer, inner, digest)) if line.trim_ascii_end() == END.trim_ascii_end() => {
                let body = text.get(inner..begin).unwrap_or_default().to_vec();
                let is_intact = digest == Digest::of(&body).as_str().as_bytes();
                return Some(Block { range: outer..at, body, is_intact });
            }
            Some(_) => {}
        }
    }
    None
}

/// The text without its block.
pub fn without(text: &[u8], block: &Block) -> Vec<u8> {
    let before = text.get(..block.range.start).unwrap_or_default();
    [before, text.get(block.range.end..).unwrap_or_default()].concat()
}

/// The script with these lines as its first ones, below its shebang.
pub fn in_script(script: &[u8], lines: &[u8]) -> Vec<u8> {
    let first = script.iter().position(|byte| *byte == b'\n').map_or(script.len(), |at| at + 1);
    let (shebang, rest) = script.split_at(if script.starts_with(b"#!") { first } else { 0 });
    [shebang, &marked(lines, false), rest].concat()
}

/// The configuration with these lines at its end.
pub fn in_configuration(text: &[u8], lines: &[u8]) -> Vec<u8> {
    let joined = !text.is_empty() && !text.ends_with(b"\n");
    [text, &marked(lines, joined)].concat()
}

/// The lines by which an sh script calls the program; what git says on standard input stays there for the rest of it.
pub fn lines(program: &Path, hook: Hook) -> Vec<u8> {
    let program = quoted(program.as_os_str().as_bytes());
    let call = |out: &mut Vec<u8>, indent: &str| {
        out.extend_from_slice(indent.as_bytes());
        out.extend_from_slice(&program);
        out.extend_from_slice(format!(" hook {hook} \"$@\"").as_bytes());
    };
    let mut out =
        b"# Added by `git orchestrator install`; `git orchestrator uninstall` takes it out.\nif ! [ -x ".to_vec();
    out.extend_from_slice(&program);
    out.extend_from_slice(
        format!(
            " ]; then\n    echo 'git-orchestrator: the program is gone, {hook} was not seen; install it again' >&2\n"
        )
        .as_bytes(),
    );
    if reads_input(hook) {
        out.extend_from_slice(
            b"elif git_orchestrator_input=$(mktemp \"${TMPDIR:-/tmp}/git-orchestrator.XXXXXX\"); then\n    \
              cat >\"$git_orchestrator_input\" || { rm -f \"$git_orchestrator_input\"; exit 1; }\n    \
              exec <\"$git_orchestrator_input\" 9<\"$git_orchestrator_input\"\n    \
              rm -f \"$git_orchestrator_input\"\n",
        );
        call(&mut out, "    ");
        // Only a gate may say no, and a program that was killed has not said it.
        let end: &[u8] = if hook == Hook::PrePush {
            b" <&9 || {\n        git_orchestrator_status=$?\n        [ \"$git_orchestrator_status\" -ge 126 ] || exit \"$git_orchestrator_status\"\n    }\n"
        } else {
            b" <&9 || :\n"
        };
        out.extend_from_slice(end);
        out.extend_from_slice(b"    exec 9<&-\n");
    } else {
        out.extend_from_slice(b"else\n");
        call(&mut out, "    ");
        out.extend_from_slice(b" || :\n");
    }
    out.extend_from_slice(b"fi\n");
    out
}

/// The same in one line, for a person to put below the first line of a hook. That hook may be tracked: where the program
/// is not, for everybody else, it says nothing and stops nothing.
pub fn line_by_hand(program: &Path, hook: Hook) -> Vec<u8> {
    let mut out = Vec::new();
    if reads_input(hook) {
        // The rest of the hook reads what git says too.
        out.extend_from_slice(b"t=$(mktemp) && cat >\"$t\" && exec <\"$t\" 9<\"$t\" && rm \"$t\"; ");
    }
    let program = quoted(program.as_os_str().as_bytes());
    out.extend_from_slice(&[b"[ ! -x ", program.as_slice(), b" ] || ", &program].concat());
    out.extend_from_slice(format!(" hook {hook} \"$@\"").as_bytes());
    let input: &[u8] = if reads_input(hook) { b" <&9" } else { b"" };
    out.extend_from_slice(input);
    out.extend_from_slice(if hook == Hook::PrePush { b" || exit" } else { b" || :" });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn taking_a_block_out_gives_every_byte_back(script in proptest::collection::vec(any::<u8>(), 0..200), shebang: bool) {
            let mut text = if shebang { b"#!/bin/sh\n".to_vec() } else { Vec::new() };
            text.extend_from_slice(&script);
            let with = in_script(&text, b"one\ntwo\n");
            let block = find(&with).unwrap();
            prop_assert!(block.is_intact && block.body == b"one\ntwo\n");
            prop_assert_eq!(without(&with, &block), text.clone());
            let with = in_configuration(&text, b"x\n");
            prop_assert_eq!(without(&with, &find(&with).unwrap()), text);
        }
    }

    #[test]
    fn an_edited_block_is_seen_and_an_open_one_is_none() {
        let with = in_script(b"#!/bin/sh\nexit 0\n", b"one\n");
        let edited = String::from_utf8(with.clone()).unwrap().replace("one", "two");
        assert!(!find(edited.as_bytes()).unwrap().is_intact);
        assert_eq!(find(&with[..with.len() - END.len()]), None);
    }
}
