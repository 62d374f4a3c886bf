//! The peak memory of one process.
//!
//! Until it executes, a child counts with the memory of who started it, and the kernel keeps the higher figure. So a
//! process that has done nothing yet starts what is measured: this program again, with a command of its own.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts processes")]

use std::env;
use std::process::{Command, Stdio};

use wait4::Wait4 as _;

use crate::Outcome;

/// The first argument by which this program knows its other task.
pub(crate) const COMMAND: &str = "peak-of";

/// The peak resident memory, in bytes, of `command` (its program and arguments) in its directory and environment.
pub(crate) fn of(command: &Command) -> Outcome<u64> {
    let mut through = Command::new(env::current_exe()?);
    through.arg(COMMAND).arg(command.get_program()).args(command.get_args()).env_clear();
    if let Some(directory) = command.get_current_dir() {
        through.current_dir(directory);
    }
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            through.env(name, value);
        }
    }
    let output = through.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| format!("no figure for the memory: {text}").into())
}

/// The other task.
pub(crate) fn answer(argv: &[String]) -> Outcome<()> {
    let (program, arguments) = argv.split_first().ok_or("nothing to measure")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let used = child.wait4()?;
    if !used.status.success() {
        return Err(format!("it ended with {}", used.status).into());
    }
    println!("{}", used.rusage.maxrss);
    Ok(())
}
