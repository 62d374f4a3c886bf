//! Other people's processes: what they inherit, and that none of them outlives its run.
//!
//! Children are never started with git's hook environment (a relative `GIT_INDEX_FILE` or a `GIT_DIR` makes every git
//! call of a child hit the wrong repository) nor with a descriptor of the caller (a pipe held open keeps `git push`
//! waiting). This module knows nothing of Codex or of the queue.

pub mod ancestry;
pub mod bounds;
mod cgroup;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::error::{Context as _, Error, Result};

/// What a child is started with, by name. Made once, at the program's border, by [`clean_environment`].
pub type Environment = BTreeMap<OsString, OsString>;

/// Set in everything we start: a hook that sees it does nothing, so that a run cannot start a run.
pub const RUN_MARKER: &str = "GIT_ORCHESTRATOR_RUN";

/// The variables that say where a toolchain lies, and hold no secret.
pub const TOOLCHAIN_PLACES: &[&str] = &[
    "ANDROID_HOME",
    "CARGO_HOME",
    "CONDA_PREFIX",
    "DOTNET_ROOT",
    "FNM_DIR",
    "GOPATH",
    "GOROOT",
    "JAVA_HOME",
    "NVM_DIR",
    "PYENV_ROOT",
    "RBENV_ROOT",
    "RUSTUP_HOME",
    "SDKMAN_DIR",
    "VIRTUAL_ENV",
    "VOLTA_HOME",
];

/// The variables of git that say how to reach a server or how to log in, and nothing of the repository at hand.
const GIT_VARIABLES_KEPT: &[&str] = &[
    "GIT_ASKPASS",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_PROXY_COMMAND",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_TERMINAL_PROMPT",
];

/// Our own variables, which begin as git's do and have to reach the worker.
const OWN_PREFIX: &str = "GIT_ORCHESTRATOR_";

/// The environment for what we start: that of this process without what git told its hook.
///
/// Git puts its own program directory in front of a hook's `PATH`: that is taken out too.
pub fn clean_environment() -> Environment {
    let mut environment: Environment = env::vars_os().filter(|(name, _)| is_passed_on(name)).collect();
    if let (Some(own), Some(path)) = (env::var_os("GIT_EXEC_PATH"), environment.get(OsStr::new("PATH")))
        && let Ok(path) = env::join_paths(env::split_paths(path).filter(|directory| directory.as_os_str() != own))
    {
        environment.insert("PATH".into(), path);
    }
    environment
}

fn is_passed_on(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    if name.starts_with(OWN_PREFIX) {
        return true;
    }
    // `GIT…` rather than `GIT_…`: a merge sets one `GITHEAD_<oid>` for each side.
    !name.starts_with("GIT") || GIT_VARIABLES_KEPT.contains(&name)
}

/// Starts `program` so that it shares nothing with the caller: no stream, no descriptor, no git variable. The child is
/// to call [`lead_session`] first thing.
pub fn start_detached(program: &Path, arguments: &[&OsStr], directory: &Path) -> Result<()> {
    // Descriptors that somebody opened without close-on-exec (a shell's `3>`, an editor's pipe).
    close_fds::set_fds_cloexec(3, &[]);
    #[expect(clippy::disallowed_methods, reason = "this is the module that starts processes")]
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .envs(clean_environment())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.spawn().context(|| format!("cannot start {}", program.display()))?;
    // Not waited for: this process is about to end, and the child belongs to init from then on.
    drop(child);
    Ok(())
}

/// Makes this process the leader of its own session, away from the caller's terminal and process group.
pub fn lead_session() {
    // Fails only where the process leads a group already: then it is as far away as it can be.
    rustix::process::setsid().ok();
}

/// Makes orphaned descendants of this process its children, so that [`end_descendants`] finds them. Linux only;
/// elsewhere the process group is all that is reached.
pub fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).ok();
}

/// The program that [`contained`] goes through, and its hidden command.
pub const CONTAIN_COMMAND: &str = "contain";

/// A command line that runs `argv` so that it dies with the process that starts it: through a hidden command of this
/// program, which leads a session, asks the kernel for a signal when its parent dies, and then becomes `argv`.
///
/// The detour replaces `pre_exec`, which needs `unsafe`.
pub fn contained(own_program: &Path, argv: &[OsString]) -> Vec<OsString> {
    contained_with(own_program, &[], argv)
}

fn contained_with(own_program: &Path, options: &[OsString], argv: &[OsString]) -> Vec<OsString> {
    // Before anything is started: an orphan that went to init once does not come back.
    adopt_orphans();
    let parent = rustix::process::getpid().as_raw_nonzero().to_string();
    let mut out: Vec<OsString> = vec![own_program.into(), CONTAIN_COMMAND.into()];
    out.extend(options.iter().cloned());
    out.extend([parent.into(), "--".into()]);
    out.extend(argv.iter().cloned());
    out
}

/// The body of the hidden command. Returns only if `argv` cannot be executed.
pub fn contain(parent: i32, restrictions: &bounds::Restrictions, argv: &[OsString]) -> Error {
    lead_session();
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).ok();
    // The parent may have died before the request was in force.
    let alive = rustix::process::getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == parent);
    if !alive {
        return Error::failed("the process that started this one is gone");
    }
    if let Err(error) = restrictions.impose() {
        return error;
    }
    close_fds::set_fds_cloexec(3, &[]);
    let Some((program, arguments)) = argv.split_first() else {
        return Error::usage("nothing to execute");
    };
    #[expect(clippy::disallowed_methods, reason = "this is the module that starts processes")]
    let error = Command::new(program).args(arguments).exec();
    Error::failed(format!("cannot execute {}", Path::new(program).display())).because(error)
}

/// Sends `signal` to the process group (and session) that `leader` leads. A group that is gone is no error.
pub fn signal_group(leader: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        rustix::process::kill_process_group(pid, signal).ok();
    }
}

/// The children of this process whose families are spoken for: [`end_descendants`] leaves them alone.
static LEADERS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// A child that was started through [`contained`], with everything it starts. Dropping it kills them all.
#[derive(Debug)]
pub struct Family {
    leader: u32,
    group: Option<bounds::Group>,
}

impl Family {
    /// Takes charge of the session that the child with this process id leads.
    pub fn of(leader: u32) -> Self {
        Self::within(leader, None)
    }

    /// The same for a child that [`bounds::confined`] made a control group for.
    pub fn within(leader: u32, group: Option<bounds::Group>) -> Self {
        leaders().insert(leader);
        Self { leader, group }
    }

    /// Starts a child through [`contained`] and takes charge of it. No end of another family falls between the two: until
    /// it is known whose the child is, it looks like anybody's. `group`: see [`Self::within`].
    pub fn start(
        command: &mut tokio::process::Command,
        group: Option<bounds::Group>,
    ) -> io::Result<(tokio::process::Child, Option<Self>)> {
        let mut leaders = leaders();
        let child = command.spawn()?;
        let family = child.id().map(|leader| {
            leaders.insert(leader);
            Self { leader, group }
        });
        Ok((child, family))
    }

    /// Sends `signal` to the group that the leader leads; its commands may have groups of their own.
    pub fn signal(&self, signal: Signal) {
        signal_group(self.leader, signal);
    }

    /// Kills the whole family and waits until it is gone, at most `deadline` long. Returns how many are left.
    pub fn end(mut self, deadline: Duration) -> usize {
        leaders().remove(&self.leader);
        self.end_now(deadline)
    }

    fn end_now(&mut self, deadline: Duration) -> usize {
        self.signal(Signal::KILL);
        // The group first: it kills all at once, so that nothing can fork faster than it is found.
        let group = self.group.take();
        if let Some(group) = &group {
            group.kill();
        }
        let left = end_descendants(deadline);
        if let Some(group) = group {
            group.remove(deadline);
        }
        left
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // `end` has removed it; what is dropped without it (a cancelled future) still takes its children along.
        if leaders().remove(&self.leader) {
            self.end_now(Duration::from_secs(2));
        }
    }
}

/// The set is whole between any two operations, so a panic elsewhere cannot have broken it.
fn leaders() -> MutexGuard<'static, BTreeSet<u32>> {
    LEADERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills every descendant of this process that lives in another session, but for living [`Family`]s, and waits until
/// none is left, at most `deadline` long. Returns how many are left.
///
/// With [`adopt_orphans`] this reaches processes that left their session and lost their parent. Children in this
/// process's own session are somebody else's short calls and stay, with all below them. An orphan that left its session could be anybody's:
/// where two families live in one process, the end of one takes such orphans of the other along.
#[cfg(target_os = "linux")]
pub fn end_descendants(deadline: Duration) -> usize {
    let until = Instant::now() + deadline;
    loop {
        let left = strays();
        for stray in &left {
            if let Some(pid) = Pid::from_raw(stray.id) {
                if stray.state != 'Z' {
                    rustix::process::kill_process(pid, Signal::KILL).ok();
                } else if stray.adopted {
                    // Only what was adopted: a child that somebody here started is theirs to wait for.
                    rustix::process::waitpid(Some(pid), WaitOptions::NOHANG).ok();
                }
            }
        }
        let living = left.iter().filter(|stray| stray.state != 'Z').count();
        if living == 0 || Instant::now() > until {
            return living;
        }
        // The kernel tells nobody but the parent when a process is gone, and these are grandchildren.
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Elsewhere the process group is all that is reached.
#[cfg(not(target_os = "linux"))]
pub fn end_descendants(_deadline: Duration) -> usize {
    0
}

/// One line of the process table.
#[cfg(target_os = "linux")]
#[derive(Clone, Debug)]
struct Process {
    id: i32,
    parent: i32,
    session: i32,
    state: char,
    /// It leads neither a group nor a session of ours: its own parent died, and it came to us.
    adopted: bool,
}

/// What [`end_descendants`] is about, by `/proc`.
#[cfg(target_os = "linux")]
fn strays() -> Vec<Process> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    // By the same table as the children's. It is 0 where the session was begun outside this process's namespace
    // (`docker exec`, `unshare --pid`), which `getsid` has no value for.
    let own_session = own_stat().map_or(0, |stat| stat.session);
    // Held until the table is read: a family that is being started is in both or in neither.
    let leaders = leaders();
    let others: BTreeSet<i32> = leaders.iter().filter_map(|leader| i32::try_from(*leader).ok()).collect();
    let mut children: BTreeMap<i32, Vec<Process>> = BTreeMap::new();
    for process in processes() {
        children.entry(process.parent).or_default().push(process);
    }
    drop(leaders);
    let mut found = Vec::new();
    let mut open = vec![own];
    while let Some(parent) = open.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            // What lives below a child in our own session is that child's to end.
            if others.contains(&child.id) || others.contains(&child.session) || child.session == own_session {
                continue;
            }
            open.push(child.id);
            let adopted = child.parent == own && child.session != child.id;
            found.push(Process { adopted, ..child.clone() });
        }
    }
    found
}

#[cfg(target_os = "linux")]
fn own_stat() -> Option<Process> {
    parse_stat(rustix::process::getpid().as_raw_nonzero().get(), &std::fs::read_to_string("/proc/self/stat").ok()?)
}

#[cfg(target_os = "linux")]
fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            parse_stat(id, &std::fs::read_to_string(entry.path().join("stat")).ok()?)
        })
        .collect()
}

/// `pid (name) state ppid pgrp session …`, as proc(5) has it; the name may hold spaces and brackets, so the fields
/// begin after the last one.
#[cfg(target_os = "linux")]
fn parse_stat(id: i32, stat: &str) -> Option<Process> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Process { id, parent, session, state, adopted: false })
}

/// Whether this process is in the control group of a run, where runs have one. Linux only; elsewhere it is in none.
#[cfg(target_os = "linux")]
pub fn is_in_a_family() -> bool {
    std::fs::read_to_string("/proc/self/cgroup").is_ok_and(|groups| cgroup::names_a_family(&groups))
}

/// See the one for Linux.
#[cfg(not(target_os = "linux"))]
pub fn is_in_a_family() -> bool {
    false
}

/// What a short call left.
#[derive(Debug)]
pub struct Captured {
    /// How it ended.
    pub status: ExitStatus,
    /// The first [`CAPTURED_BYTES`] of its standard output.
    pub stdout: Vec<u8>,
    /// The first [`CAPTURED_BYTES`] of its standard error.
    pub stderr: Vec<u8>,
}

/// How much [`capture`] keeps of each stream, in bytes.
pub const CAPTURED_BYTES: u64 = 64 * 1024;

/// Runs a short call to its end, without input, and kills its group when `limit` is over: then the error is
/// [`io::ErrorKind::TimedOut`].
pub async fn capture(
    program: &Path,
    arguments: &[OsString],
    directory: &Path,
    environment: &Environment,
    limit: Duration,
) -> io::Result<Captured> {
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let leader = child.id();
    // What the call starts may lead sessions of its own, and is no stray while the call lasts.
    let _call = leader.map(Call::of);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let all = async { tokio::join!(child.wait(), first_bytes(stdout), first_bytes(stderr)) };
    let Ok((status, stdout, stderr)) = tokio::time::timeout(limit, all).await else {
        if let Some(leader) = leader {
            signal_group(leader, Signal::KILL);
        }
        return Err(io::ErrorKind::TimedOut.into());
    };
    Ok(Captured { status: status?, stdout: stdout?, stderr: stderr? })
}

/// A short call that is under way, in [`LEADERS`].
struct Call(u32);

impl Call {
    fn of(leader: u32) -> Self {
        leaders().insert(leader);
        Self(leader)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        leaders().remove(&self.0);
    }
}

/// Reads to the end and keeps the beginning, so that the writer never waits for us.
async fn first_bytes(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        (&mut stream).take(CAPTURED_BYTES).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

/// The path of `name` on this `PATH`, if it is an executable file.
pub fn find_program(name: &str, environment: &Environment) -> Option<PathBuf> {
    let path = environment.get(OsStr::new("PATH"))?;
    env::split_paths(path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

/// Whether `file` is a regular file that may be executed.
pub fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_tells_its_hook_is_not_passed_on() {
        for name in [
            "GIT_DIR",
            "GIT_INDEX_FILE",
            "GIT_WORK_TREE",
            "GIT_AUTHOR_NAME",
            "GIT_EDITOR",
            "GIT_PREFIX",
            "GIT_REFLOG_ACTION",
            "GIT_QUARANTINE_PATH",
            "GIT_CONFIG_PARAMETERS",
            "GIT_CONFIG_COUNT",
            "GIT_EXEC_PATH",
            "GITHEAD_0123",
            "GIT_PUSH_OPTION_0",
        ] {
            assert!(!is_passed_on(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "HOME", "GIT_SSH_COMMAND", "GIT_ORCHESTRATOR_RUN", "MY_MODEL_KEY"] {
            assert!(is_passed_on(OsStr::new(name)), "{name}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_table_is_read_whatever_a_process_calls_itself() {
        let odd = parse_stat(7, "7 (a) S 1 (b) R 3 4 5 6 0").unwrap();
        assert_eq!((odd.id, odd.state, odd.parent, odd.session), (7, 'R', 3, 5));
        assert!(parse_stat(7, "7 (cut").is_none());
        let own = processes().into_iter().find(|p| u32::try_from(p.id) == Ok(std::process::id()));
        assert!(own.is_some());
    }

    #[tokio::test]
    async fn a_short_call_is_cut_off_with_what_it_started() {
        let environment = clean_environment();
        let sh = |line: &str| ["-c".into(), line.into()];
        let (shell, here) = (Path::new("/bin/sh"), Path::new("/"));
        let speaks = sh("echo a; echo b >&2; exit 3");
        let answer = capture(shell, &speaks, here, &environment, Duration::from_secs(60)).await.unwrap();
        assert_eq!(
            (answer.status.code(), answer.stdout.as_slice(), answer.stderr.as_slice()),
            (Some(3), &b"a\n"[..], &b"b\n"[..])
        );

        let much = sh("head -c 200000 /dev/zero");
        let answer = capture(shell, &much, here, &environment, Duration::from_secs(60)).await.unwrap();
        assert_eq!(answer.stdout.len() as u64, CAPTURED_BYTES);

        let hangs = sh("sleep 1000 & sleep 1000");
        let error = capture(shell, &hangs, here, &environment, Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
