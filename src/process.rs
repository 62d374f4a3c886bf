//! Other people's processes: what they inherit, and that none of them outlives its run.
//!
//! Children are never started with git's hook environment (a relative `GIT_INDEX_FILE` or a `GIT_DIR` makes every git
//! call of a child hit the wrong repository) nor with a descriptor of the caller (a pipe held open keeps `git push`
//! waiting). This module knows nothing of Codex or of the queue.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::error::{Context as _, Error, Result};
use crate::runtime::Environment;

/// Set in everything we start: a hook that sees it does nothing, so that a run cannot start a run.
pub const RUN_MARKER: &str = "GIT_ORCHESTRATOR_RUN";

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
/// Git prepends its own program directory to a hook's `PATH`; it is harmless and stays.
pub fn clean_environment() -> Environment {
    env::vars_os().filter(|(name, _)| is_passed_on(name)).collect()
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
    let parent = rustix::process::getpid().as_raw_nonzero().to_string();
    let mut out: Vec<OsString> = vec![own_program.into(), CONTAIN_COMMAND.into(), parent.into(), "--".into()];
    out.extend(argv.iter().cloned());
    out
}

/// The body of the hidden command. Returns only if `argv` cannot be executed.
pub fn contain(parent: i32, argv: &[OsString]) -> Error {
    lead_session();
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).ok();
    // The parent may have died before the request was in force.
    let alive = rustix::process::getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == parent);
    if !alive {
        return Error::failed("the process that started this one is gone");
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

/// Kills every descendant of this process and waits until none is left, at most `deadline` long. Returns how many are
/// left. With [`adopt_orphans`] this reaches processes that left their session and lost their parent.
#[cfg(target_os = "linux")]
pub fn end_descendants(deadline: Duration) -> usize {
    let until = Instant::now() + deadline;
    loop {
        let left = descendants();
        if left.is_empty() {
            return 0;
        }
        for pid in &left {
            if let Some(pid) = Pid::from_raw(*pid) {
                rustix::process::kill_process(pid, Signal::KILL).ok();
            }
        }
        // Reaps what has died; a child that tokio waits for is reaped by tokio.
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
        if Instant::now() > until {
            return descendants().len();
        }
        std::thread::yield_now();
    }
}

/// Elsewhere the process group is all that is reached.
#[cfg(not(target_os = "linux"))]
pub fn end_descendants(_deadline: Duration) -> usize {
    0
}

/// The living descendants of this process, by `/proc`.
#[cfg(target_os = "linux")]
fn descendants() -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // `pid (name) state ppid …`; the name may hold spaces and brackets, so the fields begin after the last one.
        let Some((_, fields)) = stat.rsplit_once(')') else { continue };
        let mut fields = fields.split_whitespace();
        let state = fields.next();
        let Some(parent) = fields.next().and_then(|field| field.parse::<i32>().ok()) else { continue };
        if state != Some("Z") {
            children.entry(parent).or_default().push(pid);
        }
    }
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let mut found = Vec::new();
    let mut open = vec![own];
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            found.push(*child);
            open.push(*child);
        }
    }
    found
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
}
