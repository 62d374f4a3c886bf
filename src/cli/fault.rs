//! What a fault of our own (a panic) looks like from outside.
//!
//! The release build aborts on a panic, which takes half a megabyte of tables for unwinding out of every hook's memory.
//! An abort would leave a core file where a person works, and a push would pass a gate that nobody asked; so the program
//! ends here instead, before it comes to that, as it ends when it fails in any other way. What it had started dies with
//! it (`process::contained`), and what it was doing is taken up again from the ledger.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::panic::{self, PanicHookInfo};
use std::process;

use crate::error::Kind;
use crate::event::Hook;
use crate::{dispatch, text};

/// From here on a panic says one line on standard error and ends the program. `arguments` are those of the program.
#[expect(clippy::exit, reason = "nothing can be returned from a panic")]
pub(super) fn end_on_panic(arguments: &[OsString]) {
    let code = exit_code(arguments);
    panic::set_hook(Box::new(move |fault| {
        writeln!(io::stderr(), "{}", line(fault)).ok();
        process::exit(i32::from(code));
    }));
}

/// A gate that cannot be asked is closed; every other hook lets git go on.
fn exit_code(arguments: &[OsString]) -> u8 {
    match arguments {
        [_, command, rest @ ..] if command == "hook" => {
            let gate = rest.iter().any(|name| dispatch::hook_named(name) == Some(Hook::PrePush));
            if gate { Kind::Refused.exit_code() } else { 0 }
        }
        _ => Kind::Failed.exit_code(),
    }
}

fn line(fault: &PanicHookInfo<'_>) -> String {
    let payload = fault.payload();
    let said = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let at = fault.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
    format!(
        "git-orchestrator: a fault of its own{at}: {} · please report it",
        text::one_line(said.unwrap_or("no message"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Vec<OsString> {
        words.iter().map(Into::into).collect()
    }

    #[test]
    fn only_a_gate_stops_git() {
        for (words, code) in [
            (&["git-orchestrator", "hook", "post-commit"][..], 0),
            (&["git-orchestrator", "hook", "pre-push", "origin", "url"], 3),
            (&["git-orchestrator", "hook"], 0),
            (&["git-orchestrator", "worker"], 1),
            (&["git-orchestrator"], 1),
            (&[], 1),
        ] {
            assert_eq!(exit_code(&arguments(words)), code, "{words:?}");
        }
    }

    /// Run by the next test in a process of its own: the hook is the whole process's.
    #[test]
    #[ignore = "ends the process that runs it"]
    fn panics_in_a_gate() {
        end_on_panic(&arguments(&["git-orchestrator", "hook", "pre-push"]));
        panic!("two\nlines\x1b[31m");
    }

    #[test]
    fn a_panic_is_one_line_and_the_exit_code_of_a_closed_gate() {
        let name = "cli::fault::tests::panics_in_a_gate";
        #[expect(clippy::disallowed_methods, reason = "a test of its own process")]
        let output = process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--ignored", "--nocapture"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3));
        let said = String::from_utf8(output.stderr).unwrap();
        let mut ours = said.lines().filter(|line| line.starts_with("git-orchestrator:"));
        let line = ours.next().unwrap();
        assert!(line.contains("fault.rs") && line.contains(r"two\nlines\u{1b}[31m"), "{line}");
        assert_eq!(ours.next(), None);
    }
}
