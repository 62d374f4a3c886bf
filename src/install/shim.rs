//! The hook that git calls: one script, with the hook's name written into it.
//!
//! The name stands in the script, not only in its path: managers move hooks aside (`post-commit.legacy`) and call them
//! there. A shim says in its first lines that it is ours and which version, and carries the digest of the rest, so that
//! one that was edited is told from one that is merely old, without any record beside it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::event::Hook;
use crate::ids::Digest;

/// The script, with places for the program, the hook's name, an option and the digest.
const TEMPLATE: &str = include_str!("../../hooks/shim.sh");

/// What stands in front of the version, by which a shim is recognised.
const MARK: &[u8] = b"#!/bin/sh\n# git-orchestrator shim ";

/// What stands in front of the digest of everything after its line.
const DIGEST: &[u8] = b"# sha256 ";

/// What `hook` is told by the shims of a template: nothing starts where nobody ran `install`, which would have put
/// another shim in this one's place.
pub const FROM_TEMPLATE: &str = "--from-template";

/// For whom a shim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A repository in which somebody ran `install`.
    Repository,
    /// The template for new repositories: it does nothing until somebody runs `install` in one.
    Template,
}

/// What a file in the place of a hook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours, as it was written, whatever version.
    Ours {
        /// The version in its second line.
        version: u32,
        /// The program it calls.
        program: Option<PathBuf>,
        /// Whether it came out of a template.
        reach: Reach,
    },
    /// Ours, and somebody changed it.
    Edited,
    /// Somebody else's.
    Foreign,
}

/// The version of the shim that [`render`] writes.
pub fn version() -> u32 {
    let line = TEMPLATE.as_bytes().strip_prefix(MARK).unwrap_or_default();
    version_of(line).unwrap_or(0)
}

/// The shim that calls this program for this hook.
pub fn render(program: &Path, hook: Hook, reach: Reach) -> Vec<u8> {
    let mut out = Vec::with_capacity(TEMPLATE.len() + 256);
    // By lines, so that nothing in the path is taken for a place to fill in.
    for line in TEMPLATE.split_inclusive('\n') {
        match line {
            "program=@PROGRAM@\n" => {
                out.extend_from_slice(b"program=");
                out.extend_from_slice(&quoted(program.as_os_str().as_bytes()));
                out.push(b'\n');
            }
            "name=@NAME@\n" => out.extend_from_slice(format!("name={hook}\n").as_bytes()),
            "option=@OPTION@\n" => {
                let option = if reach == Reach::Template { FROM_TEMPLATE } else { "" };
                out.extend_from_slice(format!("option={option}\n").as_bytes());
            }
            line => out.extend_from_slice(line.as_bytes()),
        }
    }
    let Some((head, body)) = split(&out) else { return out };
    let digest = Digest::of(body);
    [head, DIGEST, digest.as_str().as_bytes(), b"\n", body].concat()
}

/// What these bytes are.
pub fn kind(bytes: &[u8]) -> Kind {
    let Some(rest) = bytes.strip_prefix(MARK) else { return Kind::Foreign };
    let Some((head, body)) = split(bytes) else { return Kind::Edited };
    let recorded = bytes.get(head.len() + DIGEST.len()..bytes.len() - body.len()).unwrap_or_default();
    let intact = recorded.strip_suffix(b"\n") == Some(Digest::of(body).as_str().as_bytes());
    match version_of(rest) {
        Some(version) if intact => Kind::Ours { version, program: program_of(body), reach: reach_of(body) },
        _ => Kind::Edited,
    }
}

/// The number at the end of the second line.
fn version_of(rest: &[u8]) -> Option<u32> {
    let line = rest.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok().filter(|line| line.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

fn reach_of(body: &[u8]) -> Reach {
    let line = format!("\noption={FROM_TEMPLATE}\n");
    let is_template = body.windows(line.len()).any(|window| window == line.as_bytes());
    if is_template { Reach::Template } else { Reach::Repository }
}

/// The program in the line that begins with `program='`: what [`quoted`] wrote.
fn program_of(body: &[u8]) -> Option<PathBuf> {
    const LINE: &[u8] = b"\nprogram='";
    let begin = body.windows(LINE.len()).position(|window| window == LINE)? + LINE.len();
    let mut rest = body.get(begin..)?;
    let mut out = Vec::new();
    loop {
        let end = rest.iter().position(|byte| *byte == b'\'')?;
        out.extend_from_slice(rest.get(..end)?);
        rest = rest.get(end + 1..)?;
        match rest.strip_prefix(br"\''") {
            Some(more) => {
                out.push(b'\'');
                rest = more;
            }
            None => return Some(OsString::from_vec(out).into()),
        }
    }
}

/// What stands before the line of the digest, and after it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let head = lines.next()?.len() + lines.next()?.len();
    let line = lines.next().filter(|line| line.starts_with(DIGEST) && line.ends_with(b"\n"))?;
    Some((bytes.get(..head)?, bytes.get(head + line.len()..)?))
}

/// A word for the shell that stands for exactly these bytes.
pub(super) fn quoted(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in bytes {
        match byte {
            b'\'' => out.extend_from_slice(br"'\''"),
            byte => out.push(*byte),
        }
    }
    out.push(b'\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_knows_itself_and_a_changed_one() {
        for program in ["/usr/bin/git-orchestrator", "/a b/it's\nhere/@DIGEST@", "/@PROGRAM@", "/'\\''/"] {
            for (hook, reach) in [(Hook::PostCommit, Reach::Repository), (Hook::PrePush, Reach::Template)] {
                let shim = render(Path::new(program), hook, reach);
                assert_eq!(kind(&shim), Kind::Ours { version: version(), program: Some(program.into()), reach });
                let mut edited = shim.clone();
                edited.extend_from_slice(b"echo more\n");
                assert_eq!(kind(&edited), Kind::Edited);
                assert_eq!(kind(&shim[..60]), Kind::Edited);
                assert!(!shim.windows(6).any(|window| window == b"=@NAME"));
            }
        }
        assert!(version() >= 2);
        for foreign in ["", "#!/bin/sh\n", "#!/bin/sh\n# lint\n# sha256 x\n"] {
            assert_eq!(kind(foreign.as_bytes()), Kind::Foreign);
        }
    }
}
