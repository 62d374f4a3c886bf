//! How much a runtime and everything it starts may use.
//!
//! A control group holds memory and processes together, however a family spreads (Linux, version 2 where it is delegated
//! to this user, version 1 where this user may write to it). Without one, the number of processes is held by the
//! kernel's limit for each user: it counts all that the user has, so it is set to what there is plus what is allowed,
//! and memory is not limited; [`Holders::described`] says so. File size and core dumps are limits of each process and
//! hold everywhere.
//!
//! Address space is not limited: node, Java and web assembly reserve far more than they use.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use super::cgroup::Group;
use super::{cgroup, contained_with};
use crate::error::{Context as _, Error, Result};

/// What a family may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Memory of all together, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads of all together.
    pub processes: u64,
    /// The largest file that one of them may write, in bytes.
    pub file_bytes: u64,
}

/// Who holds the limits here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holders {
    /// Whether a control group holds memory.
    pub memory: bool,
    /// Whether a control group holds the number of processes.
    pub processes: bool,
}

impl Holders {
    /// In a few words, for the record.
    pub fn described(self) -> String {
        let processes = match self.processes {
            true => "processes by control group",
            false if counts_users() => "processes by the user's count",
            false => "processes not limited",
        };
        let memory = if self.memory { "memory by control group" } else { "memory not limited" };
        format!("{memory}, {processes}")
    }
}

/// Who would hold the limits of a family started here.
pub fn holders() -> Holders {
    let (memory, processes) = cgroup::available();
    Holders { memory, processes }
}

/// A command line as of [`super::contained`], with these limits, and the control group made for it. The group goes to
/// the [`super::Family`] of the child.
pub fn confined(own_program: &Path, argv: &[OsString], bounds: &Bounds) -> (Vec<OsString>, Option<Group>) {
    let group = Group::make(bounds);
    let mut options: Vec<OsString> = vec!["--file-size".into(), bounds.file_bytes.to_string().into()];
    for directory in group.iter().flat_map(Group::directories) {
        options.extend(["--group".into(), directory.into()]);
    }
    if !group.as_ref().is_some_and(Group::holds_processes) && counts_users() {
        options.extend(["--processes".into(), bounds.processes.to_string().into()]);
    }
    (contained_with(own_program, &options, argv), group)
}

/// Whether the kernel's limit for each user holds this one: root is exempt from it.
fn counts_users() -> bool {
    cfg!(target_os = "linux") && !rustix::process::geteuid().is_root()
}

/// What the hidden command imposes on itself before it becomes the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// The control groups to join.
    pub groups: Vec<PathBuf>,
    /// The largest file, in bytes.
    pub file_bytes: Option<u64>,
    /// How many processes and threads more than the user has now.
    pub processes: Option<u64>,
}

impl Restrictions {
    /// Imposes them; what cannot be imposed is an error, and the program is not to start.
    pub(super) fn impose(&self) -> Result<()> {
        for group in &self.groups {
            // The kernel takes 0 for the process that writes.
            cgroup::write(&group.join("cgroup.procs"), "0")
                .context(|| format!("cannot join the control group {}", group.display()))?;
        }
        lower(Resource::Core, 0)?;
        if let Some(bytes) = self.file_bytes {
            lower(Resource::Fsize, bytes)?;
        }
        if let Some(more) = self.processes {
            limit_processes(more)?;
        }
        Ok(())
    }
}

/// Lowers a limit for good; one that is lower already stays.
fn lower(resource: Resource, to: u64) -> Result<()> {
    let to = getrlimit(resource).maximum.map_or(to, |maximum| maximum.min(to));
    setrlimit(resource, Rlimit { current: Some(to), maximum: Some(to) })
        .map_err(|error| Error::failed("cannot set a resource limit").because(error))
}

/// Allows so many processes and threads beside those that the user has. Where that leaves no room even for one (the
/// user has others in a container that this process does not see), nothing is limited.
fn limit_processes(more: u64) -> Result<()> {
    let before = getrlimit(Resource::Nproc);
    let allowed = tasks_of_user().saturating_add(more);
    let allowed = before.maximum.map_or(allowed, |maximum| maximum.min(allowed));
    let set = |current, maximum| {
        setrlimit(Resource::Nproc, Rlimit { current, maximum })
            .map_err(|error| Error::failed("cannot limit the number of processes").because(error))
    };
    set(Some(allowed), before.maximum)?;
    match std::thread::Builder::new().spawn(|| ()) {
        Ok(thread) => {
            thread.join().ok();
            set(Some(allowed), Some(allowed))
        }
        Err(_) => set(before.current, before.maximum),
    }
}

/// How many processes and threads this user has, as far as `/proc` shows them.
fn tasks_of_user() -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let user = rustix::process::geteuid().as_raw();
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let own = entries.flatten().filter(|entry| entry.metadata().is_ok_and(|meta| meta.uid() == user));
    own.filter_map(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The 20th field of proc(5), the 18th after the name.
        stat.rsplit_once(')')?.1.split_whitespace().nth(17)?.parse::<u64>().ok()
    })
    .sum()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_users_threads_are_counted() {
        let held: Vec<_> = std::iter::repeat_with(|| {
            let (hold, wait) = mpsc::channel::<()>();
            (hold, std::thread::spawn(move || wait.recv().ok()))
        })
        .take(3)
        .collect();
        assert!(tasks_of_user() >= 4);
        for (hold, thread) in held {
            drop(hold);
            thread.join().unwrap();
        }
    }
}
