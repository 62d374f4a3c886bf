//! One turn: start the server, talk to it until the turn is over, and end it with everything it started.
//!
//! What can end a turn early is what can end one of `codex-exec`, and a server that does not ask. However it ends, the
//! turn is interrupted first, so that Codex records it as such and the thread can be continued; then its input is
//! closed, which ends it and its commands; and SIGKILL for the whole family comes last.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::BufReader;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep_until, timeout};

use super::probe::can_ask;
use super::session::{Said, Session};
use super::stream::End;
use super::{failure, server};
use crate::files;
use crate::runtime::codex_exec::classify::{died, telling_line, turn_failed};
use crate::runtime::codex_exec::command_line::{Call, check_thread, rehearsal};
use crate::runtime::codex_exec::config::{self, Config};
use crate::runtime::codex_exec::profile::Confinement;
use crate::runtime::codex_exec::program::Program;
use crate::runtime::codex_exec::rollout::{self, Found};
use crate::runtime::codex_exec::surroundings;
use crate::runtime::codex_exec::turn::{GRACE, LINE_BYTES, bounds_of, cancelled, internal, keep_errors, read_line};
use crate::runtime::{Activity, Class, Failure, Outcome, REHEARSAL, Turn, Usage};
use crate::text;

/// How long after an announcement its question may take: a thousand times what it takes.
const ASK_LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn run(own_program: &Path, mut turn: Turn<'_>) -> Result<Outcome, Failure> {
    let program = Program::find(turn.environment)?;
    let environment = program.environment(turn.environment);
    let version = program.version(&surroundings::allowed(&environment, None), turn.run_directory).await?;
    let config = Config::read(&environment)?;
    let mut environment = surroundings::allowed(&environment, Some(&config));
    let confinement = Confinement::of(version, &program, turn.workspace, turn.sandbox, &environment)?;
    let profile = can_ask(version, &confinement, &environment)?;
    let _placeholders = confinement.hold_places();
    let rehearsal = rehearsal(turn.environment)?;
    if rehearsal.is_some() {
        // A proxy of the person's would be asked for our loopback address otherwise.
        environment.extend(["NO_PROXY", "no_proxy"].map(|name| (name.into(), "127.0.0.1,localhost,::1".into())));
    }
    // For people: the server gets it with the turn.
    files::write(&turn.run_directory.join("schema.json"), turn.schema.to_string().as_bytes()).map_err(internal)?;
    // A skill is called by `$name`.
    let skills =
        if turn.prompt.contains('$') { config::skills(turn.workspace, &environment)? } else { BTreeSet::new() };
    let resume = turn.resume.map(|(thread, _)| thread);
    resume.map_or(Ok(()), check_thread)?;
    let call = Call {
        version,
        workspace: turn.workspace,
        schema: None,
        sandbox: turn.sandbox,
        mcp_servers: config.mcp_servers(),
        skills,
        resume,
        rehearsal,
        confinement: &confinement,
        guard: &server::no_hooks(),
    };
    let start = rollout::Start::of(&environment, resume);
    let mut log = files::append(&turn.run_directory.join("stderr.log")).map_err(internal)?;
    let bounds = bounds_of(turn.limits, &environment);
    let mut server = server::Server::start(Some((own_program, &bounds)), &program, &call, &environment)?;
    let (stdin, stdout, stderr) = (server.stdin.take(), server.stdout.take(), server.stderr.take());
    let Some(mut stdout) = stdout else {
        return Err(Failure::new(Class::Internal, "Codex has no output to read"));
    };
    let (out, messages) = unbounded_channel();
    let before = turn.resume.map_or_else(Usage::default, |(_, usage)| usage);
    let mut complaints = String::new();
    let mut session = Session::begin(&mut turn, out, profile, rehearsal.is_some())?;
    let (ending, status) = {
        let feed = server::feed(stdin, messages);
        let errors = keep_errors(stderr, &mut log, &mut complaints);
        let mut events = Box::pin(follow(&mut stdout, &mut session));
        let (mut is_fed, mut heard, mut gone) = (false, false, false);
        // Set when the server is gone: what it said before is still to be read.
        let farewell = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(feed, errors, farewell);
        let ending = loop {
            tokio::select! {
                () = &mut feed, if !is_fed => is_fed = true,
                () = &mut errors, if !heard => heard = true,
                ending = &mut events => break ending,
                _ = server.child.wait(), if !gone => {
                    gone = true;
                    farewell.as_mut().reset(Instant::now() + GRACE);
                }
                // Something it started holds its output open; `end` finds it.
                () = &mut farewell, if gone => break Ending::Closed,
            }
        };
        drop(events);
        session.close();
        // What it still writes is read to the last, so that no full pipe holds it up.
        let mut rest = tokio::io::sink();
        let rest = tokio::io::copy(&mut stdout, &mut rest);
        let end = server.end(!matches!(ending, Ending::Stopped(_)));
        tokio::pin!(rest, end);
        let mut is_read = false;
        let status = loop {
            tokio::select! {
                biased;
                status = &mut end => break status,
                () = &mut feed, if !is_fed => is_fed = true,
                () = &mut errors, if !heard => heard = true,
                _ = &mut rest, if !is_read => is_read = true,
            }
        };
        if !heard {
            // What it wrote last says why it ended; a child of its own may hold the pipe open.
            timeout(GRACE, &mut errors).await.ok();
        }
        (ending, status)
    };
    let counted = session.usage();
    let said = std::mem::take(&mut session.said);
    drop(session);
    let Found { activities, thread_usage, .. } = rollout::read(&start, said.thread.as_deref(), &said.commands);
    let thread_usage = counted.or(thread_usage).unwrap_or(before);
    let last = match &said.end {
        Some(End::Completed) => Some(Activity::TurnFinished { usage: thread_usage }),
        Some(End::Failed { message, .. }) => Some(Activity::TurnFailed { message: message.clone() }),
        Some(End::Interrupted) | None => None,
    };
    for activity in activities.into_iter().chain(last) {
        (turn.sink)(activity);
    }
    let usage = thread_usage.since(before);
    let thread = said.thread.clone();
    match conclude(&turn, &said, ending, status, &complaints, &config) {
        None => {
            let model = if rehearsal.is_some() { Some(REHEARSAL.to_owned()) } else { said.model };
            let answer = said.answer.unwrap_or_default();
            Ok(Outcome { thread, answer, usage, thread_usage, model })
        }
        Some(failure) => Err(Failure { thread, usage, ..failure }),
    }
}

/// Why the messages ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ending {
    /// The turn is over.
    Over,
    /// The server closed its output before.
    Closed,
    /// We stop it, for this reason.
    Stopped(Failure),
}

/// Reads until the turn is over.
async fn follow(stdout: &mut BufReader<impl AsyncRead + Unpin>, session: &mut Session<'_, '_>) -> Ending {
    let mut line = Vec::new();
    let begun = Instant::now();
    let limits = session.turn.limits.clone();
    let mut cancel = session.turn.cancel.clone();
    let wall = begun + limits.wall;
    let mut last_sign = begun;
    // Why the turn is being interrupted, and how long that may take.
    let mut stopping: Option<(Failure, Instant)> = None;
    loop {
        let is_stopping = stopping.is_some();
        let idle = last_sign + limits.idle;
        let patience = stopping.as_ref().map_or(begun, |(_, until)| *until);
        let unasked = session.unasked_since().map(|since| since + ASK_LIMIT);
        let room = LINE_BYTES.saturating_sub(line.len() as u64).saturating_add(1);
        let stop = tokio::select! {
            biased;
            () = cancelled(&mut cancel), if !is_stopping => Failure::new(Class::Cancelled, "the run was cancelled"),
            () = sleep_until(wall), if !is_stopping => {
                let limit = text::duration(limits.wall);
                Failure::new(Class::Timeout, format!("the turn took longer than {limit}"))
            }
            () = sleep_until(idle), if !is_stopping && session.said.open.is_empty() => silent(session, limits.idle),
            () = sleep_until(unasked.unwrap_or(begun)), if !is_stopping && unasked.is_some() => session.never_asked(),
            () = sleep_until(patience), if is_stopping => return stopped(stopping),
            // Cancel-safe: what was read of a line stays in `line`.
            read = read_line(stdout, room, &mut line) => match read {
                Ok(0) if is_stopping => return stopped(stopping),
                Ok(0) => return Ending::Closed,
                Ok(count) => {
                    session.said.bytes = session.said.bytes.saturating_add(count as u64);
                    last_sign = Instant::now();
                    if line.len() as u64 > LINE_BYTES || (session.said.bytes > limits.output_bytes && !is_stopping) {
                        let limit = text::bytes(limits.output_bytes.min(LINE_BYTES));
                        let message = format!("Codex wrote more than the {limit} of output it may");
                        let failure = Failure::new(Class::Output, message);
                        if line.len() as u64 > LINE_BYTES {
                            return Ending::Stopped(failure);
                        }
                        failure
                    } else if line.ends_with(b"\n") {
                        let stop = session.take(&line);
                        line.clear();
                        if session.said.end.is_some() && stop.is_none() {
                            return if is_stopping { stopped(stopping) } else { Ending::Over };
                        }
                        let Some(stop) = stop.filter(|_| !is_stopping) else { continue };
                        stop
                    } else {
                        continue;
                    }
                }
                Err(error) => {
                    return Ending::Stopped(Failure::new(Class::Internal, format!("Codex's output cannot be read: {error}")));
                }
            },
        };
        if !session.stop() {
            return Ending::Stopped(stop);
        }
        stopping = Some((stop, Instant::now() + GRACE));
    }
}

fn stopped(stopping: Option<(Failure, Instant)>) -> Ending {
    stopping.map_or(Ending::Closed, |(failure, _)| Ending::Stopped(failure))
}

fn silent(session: &Session<'_, '_>, idle: Duration) -> Failure {
    let limit = text::duration(idle);
    match &session.said.retrying {
        // Not the model was silent: Codex waited to ask it again, and said why.
        Some(sentence) => {
            let failure = turn_failed(sentence);
            let message = format!("{} (Codex waited longer than {limit} to try again)", failure.message);
            Failure { message, ..failure }
        }
        None => Failure::new(Class::Stalled, format!("the model gave no sign of life for {limit}")),
    }
}

/// The failure of the turn, if it is one.
fn conclude(
    turn: &Turn<'_>,
    said: &Said,
    ending: Ending,
    status: Result<Option<ExitStatus>, Failure>,
    complaints: &str,
    config: &Config,
) -> Option<Failure> {
    let status = match status {
        Ok(status) => status,
        Err(failure) => return Some(failure),
    };
    match (ending, &said.end) {
        (Ending::Stopped(failure), _) => Some(failure),
        (_, Some(End::Completed)) => None,
        (_, Some(End::Failed { message, info })) => {
            let failure = failure::of_turn(message, info);
            // What the sentence names itself is more exact.
            let is_login = failure.fix.as_deref() == Some(crate::runtime::codex_exec::LOGIN);
            let fix = if failure.class == Class::Auth && is_login {
                Some(config.login_fix(turn.environment))
            } else {
                failure.fix.clone()
            };
            Some(Failure { fix, ..failure })
        }
        (_, Some(End::Interrupted)) => Some(Failure::new(Class::Crashed, "Codex interrupted the turn by itself")),
        (Ending::Over | Ending::Closed, None) => {
            let (code, signal) = (status.and_then(|s| s.code()), status.and_then(|s| s.signal()));
            Some(died(code, signal, telling_line(complaints), said.retrying.as_deref()))
        }
    }
}
