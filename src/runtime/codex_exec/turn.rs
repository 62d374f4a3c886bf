//! One turn: start Codex, feed it, read it, and end it with everything it started.
//!
//! Four things can end a turn early: the wall limit, the idle limit, the output limit and a cancellation. The idle clock
//! runs only while no command, patch or tool call is open: a test suite may be silent for an hour, a model may not. (A
//! command that the model leaves running in the background keeps it stopped; the wall limit still holds.) However a
//! turn ends, SIGINT comes first, because only then Codex records the turn as interrupted and the thread can be
//! continued, and SIGKILL for the whole family last.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::classify::{died, telling_line, turn_failed};
use super::command_line::{Call, rehearsal};
use super::config::{self, Config};
use super::guard::{self, Guard};
use super::profile::Confinement;
use super::program::Program;
use super::rollout::{self, Found, Streamed};
use super::stream;
use super::surroundings;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::files;
use crate::policy::Limits;
use crate::process::Family;
use crate::process::bounds::{self, Bounds};
use crate::runtime::REHEARSAL;
use crate::runtime::{Activity, Class, Environment, Failure, Outcome, Turn, Usage};
use crate::secrets;
use crate::text;

/// How long Codex has to end after SIGINT (it takes a tenth of a second), and again after SIGTERM.
pub(in crate::runtime) const GRACE: Duration = Duration::from_secs(2);

/// How long Codex has to end by itself once it closed its output: it still writes its record of the thread.
pub(in crate::runtime) const FAREWELL: Duration = Duration::from_secs(10);

/// How long killed processes have to disappear.
pub(in crate::runtime) const LAST_DEADLINE: Duration = Duration::from_secs(5);

/// The longest line that is read; Codex cuts the output of commands well below.
pub(in crate::runtime) const LINE_BYTES: u64 = 8 << 20;

/// How much of Codex's standard error is kept in the run's directory, in bytes.
const STDERR_BYTES: usize = 1 << 20;

/// How much Codex's own files may grow in one turn, in bytes.
const OWN_FILES_GROW: u64 = 16 << 20;

pub(super) async fn run(own_program: &Path, mut turn: Turn<'_>) -> Result<Outcome, Failure> {
    let program = Program::find(turn.environment)?;
    let environment = program.environment(turn.environment);
    let version = program.version(&surroundings::allowed(&environment, None), turn.run_directory).await?;
    version.check_guarded()?;
    let config = Config::read(&environment)?;
    let mut environment = surroundings::allowed(&environment, Some(&config));
    // The shell that runs hooks is not to do anything else first.
    environment.retain(|name, _| !guard::misleads_shell(name));
    let rehearsal = rehearsal(turn.environment)?;
    if rehearsal.is_some() {
        // A proxy of the person's would be asked for our loopback address otherwise.
        environment.extend(["NO_PROXY", "no_proxy"].map(|name| (name.into(), "127.0.0.1,localhost,::1".into())));
    }
    let schema = turn.run_directory.join("schema.json");
    files::write(&schema, turn.schema.to_string().as_bytes()).map_err(internal)?;
    // A skill is called by `$name`.
    let skills =
        if turn.prompt.contains('$') { config::skills(turn.workspace, &environment)? } else { BTreeSet::new() };
    let mut guard = Guard::new(own_program, &turn, version, &config, &environment)?;
    if let Some(remark) = guard.remark() {
        (turn.sink)(remark);
    }
    let confinement = Confinement::of(version, &program, turn.workspace, turn.sandbox, &environment)?;
    let _placeholders = confinement.hold_places();
    let call = Call {
        version,
        workspace: turn.workspace,
        schema: Some(&schema),
        sandbox: turn.sandbox,
        confinement: &confinement,
        mcp_servers: config.mcp_servers(),
        skills,
        resume: turn.resume.map(|(thread, _)| thread),
        rehearsal,
        guard: guard.settings(),
    };
    let start = rollout::Start::of(&environment, call.resume);
    let mut argv = vec![program.path.clone().into_os_string()];
    argv.extend(call.arguments()?);
    let bounds = bounds_of(turn.limits, &environment);
    let (argv, group) = bounds::confined(own_program, &argv, &bounds);
    let Some((first, rest)) = argv.split_first() else {
        return Err(Failure::new(Class::Internal, "there is nothing to start"));
    };
    let mut log = files::append(&turn.run_directory.join("stderr.log")).map_err(internal)?;
    let started = Command::new(first)
        .args(rest)
        .current_dir(turn.workspace)
        .env_clear()
        .envs(&environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child =
        started.map_err(|error| Failure::new(Class::Internal, format!("Codex cannot be started: {error}")))?;
    let family = child.id().map(|leader| Family::within(leader, group));
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let prompt = turn.prompt;
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // Codex that ends before it read everything says why itself.
            stdin.write_all(prompt.as_bytes()).await.ok();
            stdin.shutdown().await.ok();
        }
    };
    let mut said = Said::default();
    let mut complaints = String::new();
    let ending = {
        let errors = keep_errors(stderr, &mut log, &mut complaints);
        let events = follow(stdout, &mut turn, &mut guard, &mut said);
        let (mut written, mut heard, mut gone) = (false, false, false);
        // Set when Codex is gone: what it said before is still to be read.
        let farewell = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(feed, errors, events, farewell);
        loop {
            tokio::select! {
                () = &mut feed, if !written => written = true,
                () = &mut errors, if !heard => heard = true,
                ending = &mut events => {
                    // What Codex wrote last says why it ended; a child of its own may hold the pipe open.
                    if !heard && ending == Ending::Closed {
                        timeout(GRACE, &mut errors).await.ok();
                    }
                    break ending;
                }
                _ = child.wait(), if !gone => {
                    gone = true;
                    farewell.as_mut().reset(Instant::now() + GRACE);
                }
                // Something it started holds its output open; `end` finds it.
                () = &mut farewell, if gone => break Ending::Closed,
            }
        }
    };
    let status = end(&mut child, family, &ending).await;
    let found = rollout::read(&start, said.thread.as_deref(), &said.commands);
    let Found { activities, inputs, thread_usage, profile } = found;
    activities.into_iter().for_each(&mut *turn.sink);
    let ending = match guard.inputs(inputs, &mut turn) {
        Some(failure) if ending == Ending::Closed => Ending::Stopped(failure),
        Some(_) | None => ending,
    };
    if let Some(last) = said.last.take() {
        (turn.sink)(last);
    }
    said.counted = thread_usage;
    let ending = match confinement.profile().zip(profile) {
        Some((expected, found)) if expected != found => {
            // Whatever it answered, its commands were not confined as was proved.
            let message =
                format!("Codex used the permission profile `{}` in place of {expected}", text::one_line(&found));
            Ending::Stopped(Failure::new(Class::Sandbox, message).fix("codex doctor"))
        }
        Some(_) | None => ending,
    };
    conclude(&turn, said, ending, status, &complaints, &config, rehearsal.is_some())
}

/// What the processes of a turn may use together.
pub(in crate::runtime) fn bounds_of(limits: &Limits, environment: &Environment) -> Bounds {
    Bounds {
        memory_bytes: limits.memory_bytes,
        processes: limits.processes,
        file_bytes: file_bytes(limits.file_bytes, environment),
    }
}

/// The largest file that Codex and its commands may write. Codex keeps databases in its own directory that grow over
/// months; the kernel would kill it in the middle of a turn over one that is larger already.
fn file_bytes(limit: u64, environment: &Environment) -> u64 {
    let entries = config::home(environment).and_then(|home| std::fs::read_dir(home).ok());
    let sizes = entries.into_iter().flatten().flatten().filter_map(|entry| Some(entry.metadata().ok()?.len()));
    sizes.max().map_or(limit, |largest| limit.max(largest.saturating_add(OWN_FILES_GROW)))
}

/// Why the lines ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ending {
    /// Codex closed its output.
    Closed,
    /// We stop it, for this reason.
    Stopped(Failure),
}

/// What the lines said so far.
#[derive(Debug, Default)]
struct Said {
    thread: Option<String>,
    answer: Option<String>,
    finished: Option<Usage>,
    /// The thread's counter in Codex's own record.
    counted: Option<Usage>,
    failed: Option<String>,
    /// The last words about the connection, if nothing came after them.
    retrying: Option<String>,
    open: BTreeSet<String>,
    commands: Vec<Streamed>,
    /// The word that ends the turn: held back until what the lines left out is told.
    last: Option<Activity>,
    bytes: u64,
}

async fn follow(
    stdout: Option<impl AsyncRead + Unpin>,
    turn: &mut Turn<'_>,
    guard: &mut Guard,
    said: &mut Said,
) -> Ending {
    let Some(stdout) = stdout else {
        return Ending::Stopped(Failure::new(Class::Internal, "Codex has no output to read"));
    };
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    let begun = Instant::now();
    let wall = begun + turn.limits.wall;
    let mut last_sign = begun;
    loop {
        let idle = last_sign + turn.limits.idle;
        let room = LINE_BYTES.saturating_sub(line.len() as u64).saturating_add(1);
        tokio::select! {
            biased;
            () = cancelled(&mut turn.cancel) => {
                return Ending::Stopped(Failure::new(Class::Cancelled, "the run was cancelled"));
            }
            () = sleep_until(wall) => {
                let limit = text::duration(turn.limits.wall);
                return Ending::Stopped(Failure::new(Class::Timeout, format!("the turn took longer than {limit}")));
            }
            () = sleep_until(idle), if said.open.is_empty() => {
                let limit = text::duration(turn.limits.idle);
                return Ending::Stopped(match &said.retrying {
                    // Not the model was silent: Codex waited to ask it again, and said why.
                    Some(sentence) => {
                        let failure = turn_failed(sentence);
                        let message = format!("{} (Codex waited longer than {limit} to try again)", failure.message);
                        Failure { message, ..failure }
                    }
                    None => Failure::new(Class::Stalled, format!("the model gave no sign of life for {limit}")),
                });
            }
            // Before the lines: Codex tells of nothing that it did not ask about first.
            asked = guard.next() => {
                said.bytes = said.bytes.saturating_add(guard.answer(asked, turn));
                last_sign = Instant::now();
                if said.bytes > turn.limits.output_bytes {
                    return Ending::Stopped(too_much(turn));
                }
            }
            // Cancel-safe: what was read of a line stays in `line`.
            read = read_line(&mut reader, room, &mut line) => match read {
                Ok(0) => {
                    return take(&line, turn, guard, said).map_or(Ending::Closed, Ending::Stopped);
                }
                Ok(count) => {
                    said.bytes = said.bytes.saturating_add(count as u64);
                    last_sign = Instant::now();
                    if said.bytes > turn.limits.output_bytes || line.len() as u64 > LINE_BYTES {
                        return Ending::Stopped(too_much(turn));
                    }
                    if line.ends_with(b"\n") {
                        let stop = take(&line, turn, guard, said);
                        line.clear();
                        if let Some(failure) = stop {
                            return Ending::Stopped(failure);
                        }
                    }
                }
                Err(error) => {
                    let message = format!("Codex's output cannot be read: {error}");
                    return Ending::Stopped(Failure::new(Class::Internal, message));
                }
            },
        }
    }
}

fn too_much(turn: &Turn<'_>) -> Failure {
    let limit = text::bytes(turn.limits.output_bytes.min(LINE_BYTES));
    Failure::new(Class::Output, format!("Codex wrote more than the {limit} of output it may"))
}

/// Appends up to the end of the line, at most `room` bytes of it, as far as they are there. Returns 0 at the end.
pub(in crate::runtime) async fn read_line(
    reader: &mut BufReader<impl AsyncRead + Unpin>,
    room: u64,
    line: &mut Vec<u8>,
) -> std::io::Result<usize> {
    let available = reader.fill_buf().await?;
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let available = available.get(..room).unwrap_or(available);
    let count = available.iter().position(|byte| *byte == b'\n').map_or(available.len(), |at| at + 1);
    line.extend_from_slice(available.get(..count).unwrap_or_default());
    reader.consume(count);
    Ok(count)
}

/// Hands one line on. A failure means that Codex is not doing what it was asked to.
fn take(line: &[u8], turn: &mut Turn<'_>, guard: &mut Guard, said: &mut Said) -> Option<Failure> {
    let activity = stream::parse(line)?;
    let mut stop = guard.objection(&activity);
    let mut ended = None;
    said.retrying = None;
    match &activity {
        Activity::ThreadStarted { thread } => {
            if let Some((wanted, _)) = turn.resume
                && wanted != thread
            {
                let message = format!("Codex was to continue thread {wanted} and began another one");
                stop = Some(Failure::new(Class::Protocol, message));
            }
            said.thread = Some(thread.clone());
        }
        Activity::Message { text } => said.answer = Some(text.clone()),
        Activity::CommandStarted { id, command } => {
            said.open.insert(id.clone());
            said.commands.push(Streamed { id: id.clone(), line: command.clone(), end: None });
        }
        Activity::PatchStarted { id, .. } | Activity::ToolStarted { id, .. } => {
            said.open.insert(id.clone());
        }
        Activity::CommandFinished { id, command, exit_code, .. } => {
            said.open.remove(id);
            let known = said.commands.iter().rposition(|known| known.id == *id && known.end.is_none());
            let at = known.unwrap_or(said.commands.len());
            if known.is_none() {
                said.commands.push(Streamed { id: id.clone(), line: command.clone(), end: None });
            }
            ended = Some((at, *exit_code));
        }
        Activity::PatchFinished { id, .. } | Activity::ToolFinished { id, .. } => {
            said.open.remove(id);
        }
        Activity::Retrying { message } => said.retrying = Some(message.clone()),
        Activity::TurnFinished { usage } => said.finished = Some(*usage),
        Activity::TurnFailed { message } => said.failed = Some(message.clone()),
        Activity::TurnStarted
        | Activity::Reasoning { .. }
        | Activity::Searched { .. }
        | Activity::SubAgent { .. }
        | Activity::Todos { .. }
        | Activity::Decided { .. }
        | Activity::Warning { .. }
        | Activity::Unknown { .. } => {}
    }
    if matches!(activity, Activity::TurnFinished { .. } | Activity::TurnFailed { .. }) {
        if let Some(earlier) = said.last.replace(activity) {
            (turn.sink)(earlier);
        }
    } else {
        (turn.sink)(activity);
    }
    // Not before it is recorded: what comes after it in Codex's own record has to come after it in ours.
    if let Some((at, exit_code)) = ended
        && let Some(command) = said.commands.get_mut(at)
    {
        command.end = Some((exit_code, Timestamp::now()));
    }
    stop
}

/// Resolves when the run is to stop; never if nobody can say so any more.
pub(in crate::runtime) async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Copies Codex's standard error into the run's directory and keeps its end, for the sentence of a failure.
pub(in crate::runtime) async fn keep_errors(
    stderr: Option<impl AsyncRead + Unpin>,
    log: &mut std::fs::File,
    end: &mut String,
) {
    let Some(mut stderr) = stderr else { return };
    let mut buffer = [0_u8; 4096];
    let mut room = STDERR_BYTES;
    let mut stream = secrets::Stream::default();
    let mut keep = |text: &str| {
        let kept = text::prefix_bytes(text, room);
        // A full disk must not end the turn: the sentence still has what was said last.
        log.write_all(kept.as_bytes()).ok();
        room -= kept.len();
    };
    // Codex may be killed before it closes its end: what is held back then is told by `end` alone.
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        let bytes = buffer.get(..count).unwrap_or_default();
        keep(&stream.push(bytes));
        end.push_str(&String::from_utf8_lossy(bytes));
        if end.len() > 64 * 1024 {
            let mut cut = end.len() - 32 * 1024;
            while !end.is_char_boundary(cut) {
                cut += 1;
            }
            end.drain(..cut);
        }
    }
    keep(&stream.finish());
}

/// Ends Codex and everything it started. Fails if something is left.
async fn end(child: &mut Child, family: Option<Family>, ending: &Ending) -> Result<Option<ExitStatus>, Failure> {
    let mut status = None;
    if let Some(family) = &family {
        let asks: &[(Option<Signal>, Duration)] = match ending {
            Ending::Closed => &[(None, FAREWELL), (Some(Signal::TERM), GRACE)],
            Ending::Stopped(_) => &[(Some(Signal::INT), GRACE), (Some(Signal::TERM), GRACE)],
        };
        for (signal, patience) in asks {
            if let Some(signal) = signal {
                family.signal(*signal);
            }
            if let Ok(Ok(ended)) = timeout(*patience, child.wait()).await {
                status = Some(ended);
                break;
            }
        }
    }
    if status.is_none() {
        child.start_kill().ok();
        status = timeout(LAST_DEADLINE, child.wait()).await.ok().and_then(Result::ok);
    }
    match family.map_or(0, |family| family.end(LAST_DEADLINE)) {
        0 => Ok(status),
        left => Err(Failure::new(Class::Internal, format!("{left} processes of Codex cannot be killed"))),
    }
}

fn conclude(
    turn: &Turn<'_>,
    said: Said,
    ending: Ending,
    status: Result<Option<ExitStatus>, Failure>,
    complaints: &str,
    config: &Config,
    rehearsed: bool,
) -> Result<Outcome, Failure> {
    let before = turn.resume.map_or_else(Usage::default, |(_, usage)| usage);
    // The stream tells the counter only when a turn succeeds.
    let thread_usage = said.finished.or(said.counted).unwrap_or(before);
    let usage = thread_usage.since(before);
    let failure = match (status, ending, said.failed, said.finished, said.answer) {
        (Err(failure), ..) | (_, Ending::Stopped(failure), ..) => failure,
        (_, Ending::Closed, Some(sentence), ..) => {
            let failure = turn_failed(&sentence);
            // What the sentence names itself is more exact.
            let fix = match &failure.fix {
                Some(fix) if failure.class == Class::Auth && fix == super::LOGIN => {
                    Some(config.login_fix(turn.environment))
                }
                fix => fix.clone(),
            };
            Failure { fix, ..failure }
        }
        (_, Ending::Closed, None, Some(_), answer) => {
            let answer = answer.unwrap_or_default();
            let model = if rehearsed { Some(REHEARSAL) } else { config.model() }.map(str::to_owned);
            return Ok(Outcome { thread: said.thread, answer, usage, thread_usage, model });
        }
        (Ok(status), Ending::Closed, None, None, _) => {
            let (code, signal) = (status.and_then(|s| s.code()), status.and_then(|s| s.signal()));
            died(code, signal, telling_line(complaints), said.retrying.as_deref())
        }
    };
    Err(Failure { thread: said.thread, usage, ..failure })
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(in crate::runtime) fn internal(error: Error) -> Failure {
    Failure::new(Class::Internal, error.chain())
}
