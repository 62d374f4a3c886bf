//! What the text of a hook tells about it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::managers::Manager;
use super::survey::hook_bytes;
use super::{block, shim};
use crate::event::Hook;

/// What a script says that looks at its own name. `. "$(dirname "$0")/h"` is husky's way: the script it reads looks.
const MARKS: [&[u8]; 9] = [
    b"basename",
    b"0##*/",
    b"dirname \"$0\")/h\"",
    b"argv[0]",
    b"argv[1]",
    b"__filename",
    b"__FILE__",
    b"PROGRAM_NAME",
    b"$0:t",
];

/// What a script says that looks for other files beside itself.
const BESIDE: [&[u8]; 6] = [b"dirname", b"0%/*", b"$0:h", b"BASH_SOURCE", b"FindBin", b".parent"];

/// The marks that are about the name alone, whatever else is said of the directory.
const NAME_ALONE: [&[u8]; 4] = [b"basename", b"0##*/", b"PROGRAM_NAME", b"$0:t"];

/// Whether a line of this hook, outside of comments, calls ours.
pub(super) fn calls_us(bytes: &[u8], hook: Hook, own_program: &Path) -> bool {
    let quoted = shim::quoted(own_program.as_os_str().as_bytes());
    let call = format!("{} hook {hook} ", String::from_utf8_lossy(&quoted));
    // Another copy of the program, or the one on PATH.
    let loose = [format!("git-orchestrator' hook {hook} "), format!("git-orchestrator hook {hook} ")];
    let text = String::from_utf8_lossy(bytes);
    let without_block = block::find(bytes).map(|found| block::without(bytes, &found));
    let text = without_block.as_deref().map_or(text, String::from_utf8_lossy);
    text.lines().any(|line| {
        !line.trim_start().starts_with('#') && (line.contains(&call) || loose.iter().any(|loose| line.contains(loose)))
    })
}

/// The person's own script that husky's hook runs.
pub(super) fn husky_script(path: &Path, bytes: &[u8]) -> Option<Vec<u8>> {
    (Manager::of_hook(bytes) == Some(Manager::Husky))
        .then(|| hook_bytes(&path.parent()?.parent()?.join(path.file_name()?)))?
}

/// Whether the first line names a shell of the Bourne family, through `env` or not.
pub(super) fn is_shell_script(bytes: &[u8]) -> bool {
    let Some(line) = bytes.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next()) else {
        return false;
    };
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let mut names = line.split_ascii_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    let first = names.next();
    let name =
        if first == Some("env") { names.find(|name| !name.starts_with('-') && !name.contains('=')) } else { first };
    name.is_some_and(|name| ["sh", "dash", "bash", "ash", "ksh", "mksh", "zsh"].contains(&name))
}

/// Whether a hook seems to look at its own name: a program may (one file for all hooks), a script says so. Wrongly yes
/// costs a link; wrongly no would break it.
pub(super) fn looks_at_its_name(bytes: &[u8]) -> bool {
    !bytes.starts_with(b"#!") || holds_one_of(bytes, &MARKS) || uses_its_path(bytes)
}

/// Whether a link of its name in another directory serves such a hook: not one that only looks for files beside itself,
/// which it would not find there.
pub(super) fn is_served_by_a_link(bytes: &[u8]) -> bool {
    looks_at_its_name(bytes)
        && (!bytes.starts_with(b"#!") || !holds_one_of(bytes, &BESIDE) || holds_one_of(bytes, &NAME_ALONE))
}

fn holds_one_of(bytes: &[u8], marks: &[&[u8]]) -> bool {
    marks.iter().any(|mark| bytes.windows(mark.len()).any(|window| window == *mark))
}

/// Whether a line does more with `$0` than find its directory or print it: `case $0 in`, `"$0".d/*`, `$0 =~`.
fn uses_its_path(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(str::trim_start).any(|line| {
        let is_told = ["#", "echo ", "printf ", "print "].iter().any(|begin| line.starts_with(begin));
        !is_told
            && ["$0", "${0"].iter().any(|name| {
                line.match_indices(name).any(|(at, _)| {
                    let (before, behind) = line.split_at(at);
                    let behind = behind.get(name.len()..).unwrap_or_default();
                    let mut words = before.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() > 1);
                    let is_directory =
                        words.next_back().is_some_and(|word| ["dirname", "realpath", "readlink"].contains(&word));
                    !is_directory && !behind.starts_with(['%', '#', ':'])
                })
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_known_by_the_first_line() {
        for yes in ["#!/bin/sh\n", "#! /usr/bin/env -S bash -e\n", "#!/usr/bin/env sh", "#!/opt/dash -u\n"] {
            assert!(is_shell_script(yes.as_bytes()), "{yes}");
        }
        for no in ["", "echo\n", "#!/usr/bin/env python3\n", "#!/usr/bin/fish\n", "#!\n"] {
            assert!(!is_shell_script(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn who_looks_at_its_name_keeps_it() {
        for yes in ["\u{7f}ELF", "#!/bin/sh\n. \"$(dirname \"$0\")/h\"", "#!/usr/bin/env ruby\nFile.basename($0)\n"] {
            assert!(looks_at_its_name(yes.as_bytes()), "{yes}");
        }
        for yes in [
            "case $0 in *post-commit) ;; esac",
            "for part in \"$0\".d/*; do :; done",
            "exec ${0}.d/run",
            "[ \"$0\" = x ]",
        ] {
            assert!(looks_at_its_name(format!("#!/bin/sh\n{yes}\n").as_bytes()), "{yes}");
        }
        let plain = [
            "echo $0",
            "# $0",
            "cd \"$(dirname \"$0\")\"",
            "d=$(dirname -- $0)",
            "a=$(readlink -f \"$0\")",
            "d=${0%/*}",
        ];
        for no in plain {
            assert!(!looks_at_its_name(format!("#!/bin/sh\n{no}\n").as_bytes()), "{no}");
        }
    }

    #[test]
    fn a_link_is_for_who_looks_at_the_name_and_not_beside_itself() {
        for yes in ["sys.argv[0]", "os.path.basename(sys.argv[0])", "basename dirname", "$0 =~ /push/"] {
            assert!(is_served_by_a_link(format!("#!/x\n{yes}\n").as_bytes()), "{yes}");
        }
        for no in ["os.path.dirname(sys.argv[0])", "Path(sys.argv[0]).parent", "File.dirname(__FILE__)", "1"] {
            assert!(!is_served_by_a_link(format!("#!/x\n{no}\n").as_bytes()), "{no}");
        }
    }
}
