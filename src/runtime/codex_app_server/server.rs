//! The process: started so that it dies with us, spoken to line by line, and ended with everything it started.

use std::ffi::OsString;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::wall;
use crate::process::bounds::{self, Bounds};
use crate::process::{self, Family};
use crate::runtime::codex_exec::command_line::Call;
use crate::runtime::codex_exec::program::Program;
use crate::runtime::codex_exec::turn::{FAREWELL, GRACE, LAST_DEADLINE};
use crate::runtime::{Class, Environment, Failure};

/// What `codex-exec` puts in force is switched off: here the server itself asks.
pub(super) fn no_hooks() -> [String; 1] {
    ["features.hooks=false".to_owned()]
}

/// A running `codex app-server`.
pub(super) struct Server {
    /// The process.
    pub(super) child: Child,
    /// Its standard input, until somebody takes it.
    pub(super) stdin: Option<ChildStdin>,
    /// Its standard output.
    pub(super) stdout: Option<BufReader<ChildStdout>>,
    /// Its standard error.
    pub(super) stderr: Option<ChildStderr>,
    family: Option<Family>,
    leader: Option<u32>,
}

impl Server {
    /// Starts it for this call: with our own program and limits, so that it dies with us and all it starts is found. Without
    /// them it is only asked about itself and starts nothing; the descendants of whoever asks are then left alone.
    pub(super) fn start(
        within: Option<(&Path, &Bounds)>,
        program: &Program,
        call: &Call<'_>,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let mut argv = vec![program.path.clone().into_os_string()];
        argv.extend(arguments(call)?);
        let (argv, group) = match within {
            Some((own_program, bounds)) => bounds::confined(own_program, &argv, bounds),
            None => (argv, None),
        };
        let Some((first, rest)) = argv.split_first() else {
            return Err(Failure::new(Class::Internal, "there is nothing to start"));
        };
        let mut command = Command::new(first);
        command
            .args(rest)
            .current_dir(call.workspace)
            .env_clear()
            .envs(environment)
            // What it logs is read by people and by us.
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let started = match within {
            Some(_) => Family::start(&mut command, group),
            None => command.process_group(0).spawn().map(|child| (child, None)),
        };
        let (mut child, family) =
            started.map_err(|error| Failure::new(Class::Internal, format!("Codex cannot be started: {error}")))?;
        let leader = child.id();
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Self { child, stdin, stdout: stdout.map(BufReader::new), stderr, family, leader })
    }

    /// Ends it, and everything it started. Fails if something is left. Its input is closed by then, so that it ends by
    /// itself; one that does not is asked once more.
    pub(super) async fn end(mut self, is_patient: bool) -> Result<Option<ExitStatus>, Failure> {
        drop(self.stdin.take());
        let patience = if is_patient { FAREWELL } else { GRACE };
        let mut status = wait(&mut self.child, patience).await;
        for (signal, patience) in [(Signal::TERM, GRACE), (Signal::KILL, LAST_DEADLINE)] {
            if status.is_none()
                && let Some(leader) = self.leader
            {
                process::signal_group(leader, signal);
                status = wait(&mut self.child, patience).await;
            }
        }
        match self.family.map_or(0, |family| family.end(LAST_DEADLINE)) {
            0 => Ok(status),
            left => Err(Failure::new(Class::Internal, format!("{left} processes of Codex cannot be killed"))),
        }
    }
}

async fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    timeout(patience, child.wait()).await.ok().and_then(Result::ok)
}

fn arguments(call: &Call<'_>) -> Result<Vec<OsString>, Failure> {
    let shared = call.settings()?;
    // What `exec` pins is `never`; here each thread is begun with the policy that asks.
    let shared = shared.into_iter().filter(|setting| !setting.starts_with("approval_policy="));
    let mut out: Vec<OsString> = vec!["app-server".into()];
    for setting in shared.chain(wall::settings()) {
        out.extend(["-c".into(), setting.into()]);
    }
    Ok(out)
}

/// Writes each message on a line of its own, and closes the input when nobody can send one any more. A server that is
/// gone says why itself.
pub(super) async fn feed(stdin: Option<ChildStdin>, mut messages: UnboundedReceiver<Value>) {
    let Some(mut stdin) = stdin else { return };
    while let Some(message) = messages.recv().await {
        let mut line = message.to_string();
        line.push('\n');
        if stdin.write_all(line.as_bytes()).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
    stdin.shutdown().await.ok();
}
