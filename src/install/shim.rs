//! The hook that git calls: one script for all of them, which knows its own name.
//!
//! A shim says in its first lines that it is ours and which version, and carries the digest of the rest, so that one
//! that was edited is told from one that is merely old, without any record beside it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::ids::Digest;

/// The script, with places for the program and the digest.
const TEMPLATE: &str = include_str!("../../hooks/shim.sh");

/// What stands in front of the version, by which a shim is recognised.
const MARK: &[u8] = b"#!/bin/sh\n# git-orchestrator shim ";

/// What stands in front of the digest of everything after its line.
const DIGEST: &[u8] = b"# sha256 ";

/// What a file in the place of a hook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours, as it was written, whatever version.
    Ours,
    /// Ours, and somebody changed it.
    Edited,
    /// Somebody else's.
    Foreign,
}

/// The shim that calls this program.
pub fn render(program: &Path) -> Vec<u8> {
    let mut out = Vec::with_capacity(TEMPLATE.len() + 256);
    // By lines, so that nothing in the path is taken for a place to fill in.
    for line in TEMPLATE.split_inclusive('\n') {
        if line == "program=@PROGRAM@\n" {
            out.extend_from_slice(b"program=");
            out.extend_from_slice(&quoted(program.as_os_str().as_bytes()));
            out.push(b'\n');
        } else {
            out.extend_from_slice(line.as_bytes());
        }
    }
    let Some((head, body)) = split(&out) else { return out };
    let digest = Digest::of(body);
    [head, DIGEST, digest.as_str().as_bytes(), b"\n", body].concat()
}

/// What these bytes are.
pub fn kind(bytes: &[u8]) -> Kind {
    if !bytes.starts_with(MARK) {
        return Kind::Foreign;
    }
    let Some((head, body)) = split(bytes) else { return Kind::Edited };
    let version = head.strip_prefix(MARK).and_then(|rest| rest.strip_suffix(b"\n")).unwrap_or_default();
    let recorded = &bytes[head.len() + DIGEST.len()..bytes.len() - body.len()];
    let intact = recorded.strip_suffix(b"\n") == Some(Digest::of(body).as_str().as_bytes());
    if intact && !version.is_empty() && version.iter().all(u8::is_ascii_digit) { Kind::Ours } else { Kind::Edited }
}

/// What stands before the line of the digest, and after it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let head = lines.next()?.len() + lines.next()?.len();
    let line = lines.next().filter(|line| line.starts_with(DIGEST) && line.ends_with(b"\n"))?;
    Some((bytes.get(..head)?, bytes.get(head + line.len()..)?))
}

/// A word for the shell that stands for exactly these bytes.
fn quoted(bytes: &[u8]) -> Vec<u8> {
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
        for program in ["/usr/bin/git-orchestrator", "/a b/it's\nhere/@DIGEST@", "/@PROGRAM@"] {
            let shim = render(Path::new(program));
            assert_eq!(kind(&shim), Kind::Ours);
            let mut edited = shim.clone();
            edited.extend_from_slice(b"echo more\n");
            assert_eq!(kind(&edited), Kind::Edited);
            assert_eq!(kind(&shim[..60]), Kind::Edited);
        }
        assert_ne!(render(Path::new("/a")), render(Path::new("/b")));
        for foreign in ["", "#!/bin/sh\n", "#!/bin/sh\n# lint\n# sha256 x\n"] {
            assert_eq!(kind(foreign.as_bytes()), Kind::Foreign);
        }
    }
}
