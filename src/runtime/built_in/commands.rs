//! Executes one allowed command: words to a program, never a shell; in a process group of its own that is killed when
//! the command ends, when the turn does, and when nobody waits for it any more.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use super::super::activity::{Status, kept};
use super::super::{Activity, Class, Environment, Failure, Turn};
use super::Bounds;
use crate::process;

/// Half of what a model is shown of a command's output, in bytes: the beginning and the end count most.
const SHOWN_HALF: usize = 20 << 10;

/// How long the pipe of a command that ended is read on. Only a process that left the group can still hold it.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// The variables that a command inherits. No home directory: what lies there is not its business.
const CORE_VARIABLES: &[&str] = &["LANG", "LC_ALL", "LC_CTYPE", "PATH", "TZ"];

/// Executes the line and returns what the model is told, in the form that Codex gives it.
pub(super) async fn run(id: &str, line: &str, turn: &mut Turn<'_>, bounds: &mut Bounds) -> Result<String, Failure> {
    let words = shlex::split(line).unwrap_or_default();
    let Some((name, arguments)) = words.split_first() else {
        return Ok("exec_command failed: the line is empty".to_owned());
    };
    let environment = environment(turn);
    let program = if name.contains('/') {
        Some(turn.workspace.join(name)).filter(|file| process::is_executable(file))
    } else {
        process::find_program(name, &environment)
    };
    (turn.sink)(Activity::CommandStarted { id: id.to_owned(), command: line.to_owned() });
    let begun = Instant::now();
    let mut captured = Captured::default();
    let ended = if let Some(program) = program {
        execute(&program, arguments, turn.workspace, &environment, bounds, &mut captured).await
    } else {
        captured.add(format!("{}: command not found\n", crate::text::one_line(name)).as_bytes());
        Ok(127)
    };
    let code = ended.as_ref().ok().copied();
    (turn.sink)(Activity::CommandFinished {
        id: id.to_owned(),
        command: line.to_owned(),
        exit_code: code,
        status: if code == Some(0) { Status::Completed } else { Status::Failed },
        output: kept(&captured.text()),
        output_bytes: captured.total,
        ran: None,
    });
    let code = ended?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(format!("Wall time: {seconds:.4} seconds\nProcess exited with code {code}\nOutput:\n{}", captured.text()))
}

fn environment(turn: &Turn<'_>) -> Environment {
    let core = CORE_VARIABLES.iter().map(OsStr::new);
    let mut environment: Environment =
        core.filter_map(|name| Some((name.to_owned(), turn.environment.get(name)?.clone()))).collect();
    environment.insert("TMPDIR".into(), turn.sandbox.temporary.clone().into());
    environment.extend(turn.sandbox.command_environment.iter().map(|(name, value)| (name.into(), value.into())));
    let marker = turn.environment.get(OsStr::new(process::RUN_MARKER));
    environment.insert(process::RUN_MARKER.into(), marker.cloned().unwrap_or_else(|| OsString::from("1")));
    environment
}

/// Kills the group however the waiting ends.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        process::signal_group(self.0, Signal::KILL);
    }
}

/// The exit code; for a program that a signal ended, 128 and its number, as a shell has it.
async fn execute(
    program: &Path,
    arguments: &[String],
    workspace: &Path,
    environment: &Environment,
    bounds: &mut Bounds,
    captured: &mut Captured,
) -> Result<i32, Failure> {
    let cannot = |what: &str, error: &io::Error| Failure::new(Class::Internal, format!("{what}: {error}"));
    let (reader, writer) = io::pipe().map_err(|error| cannot("cannot open a pipe", &error))?;
    let second = writer.try_clone().map_err(|error| cannot("cannot open a pipe", &error))?;
    let mut output = pipe::Receiver::from_owned_fd(reader.into()).map_err(|error| cannot("cannot read", &error))?;
    #[expect(clippy::disallowed_methods, reason = "this runtime starts its commands itself")]
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .current_dir(workspace)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(second)
        .process_group(0);
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    let spawned = command.spawn();
    // The command holds the pipe's writing end: with it the output would never end.
    drop(command);
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            captured.add(format!("cannot execute {}: {error}\n", program.display()).as_bytes());
            return Ok(126);
        }
    };
    let group = child.id().map(Group);
    let mut buffer = vec![0; 64 << 10];
    let mut open = true;
    let ended = loop {
        tokio::select! {
            read = output.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => open = false,
                Ok(n) => {
                    captured.add(&buffer[..n]);
                    if let Err(failure) = bounds.count(u64::try_from(n).unwrap_or(u64::MAX)) {
                        break Err(failure);
                    }
                }
            },
            status = child.wait() => break status.map_err(|error| cannot("cannot wait for the command", &error)),
            stop = bounds.stopped() => break Err(stop),
        }
    };
    drop(group);
    let status = match ended {
        Ok(status) => status,
        Err(failure) => {
            child.wait().await.map_err(|error| cannot("cannot wait for the command", &error))?;
            return Err(failure);
        }
    };
    let drained = tokio::time::timeout(DRAIN_LIMIT, async {
        while let Ok(n @ 1..) = output.read(&mut buffer).await {
            captured.add(&buffer[..n]);
            bounds.count(u64::try_from(n).unwrap_or(u64::MAX))?;
        }
        Ok(())
    });
    // Nothing more within the limit: somebody outside the group holds the pipe, and what it writes is not awaited.
    drained.await.unwrap_or(Ok(()))?;
    Ok(exit_code(status))
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| signal.saturating_add(128))).unwrap_or(1)
}

/// The beginning and the end of an output, and how long it was.
#[derive(Default)]
struct Captured {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
}

impl Captured {
    fn add(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let (head, rest) = bytes.split_at(bytes.len().min(SHOWN_HALF.saturating_sub(self.head.len())));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let surplus = self.tail.len().saturating_sub(SHOWN_HALF);
        self.tail.drain(..surplus);
    }

    /// All of it where it is short, else both ends with a line between them that says what is missing.
    fn text(&self) -> String {
        let tail: Vec<u8> = self.tail.iter().copied().collect();
        let kept = u64::try_from(self.head.len().saturating_add(tail.len())).unwrap_or(u64::MAX);
        let left_out = self.total.saturating_sub(kept);
        let (head, tail) = (&self.head, &tail);
        if left_out == 0 {
            return String::from_utf8_lossy(&[head.as_slice(), tail].concat()).into_owned();
        }
        let (head, tail) = (String::from_utf8_lossy(head), String::from_utf8_lossy(tail));
        format!("{head}\n({left_out} bytes left out)\n{tail}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_output_keeps_both_ends() {
        let mut captured = Captured::default();
        captured.add(b"begin ");
        assert_eq!(captured.text(), "begin ");
        for _ in 0..10 {
            captured.add(&[b'x'; 10_000]);
        }
        captured.add(b" end");
        let text = captured.text();
        assert!(text.starts_with("begin x") && text.ends_with("x end"));
        assert!(text.contains("\n(59050 bytes left out)\n"), "{}", text.len());
        assert_eq!(captured.total, 100_010);
    }
}
