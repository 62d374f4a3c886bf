//! One control group for each family: memory and processes held together, and everything in it killed at once.
//!
//! Version 2 is used where a directory above this process is delegated to its user (a systemd user session) and gives
//! its children the controllers; version 1 where this user may write to the hierarchies (root in older containers).
//! Nothing is asked of systemd, and no process is moved but the family's own. Whoever makes a group keeps its directory
//! locked: what a killed worker left is known by that, and killed and removed by the next one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::Access;
use rustix::process::{Pid, Signal};
use uuid::Uuid;

use super::bounds::Bounds;

/// How the name of each group begins.
const PREFIX: &str = "git-orchestrator-";

/// Whether a process in these groups (a file `/proc/ID/cgroup`) belongs to a family: no process leaves its group by itself.
#[cfg(any(target_os = "linux", test))]
pub(super) fn names_a_family(groups: &str) -> bool {
    let is_ours = |name: &str| {
        let digits = name.strip_prefix(PREFIX).unwrap_or_default();
        digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|path| path.split('/').any(is_ours))
}

/// A directory that is younger may not be locked yet by who made it.
const SETTLED: Duration = Duration::from_secs(60);

/// A group, in one or two hierarchies.
#[derive(Debug)]
pub struct Group {
    directories: Vec<(PathBuf, File)>,
    holds_processes: bool,
}

/// A directory in which a group can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parent {
    directory: PathBuf,
    memory: bool,
    processes: bool,
    is_version_2: bool,
}

/// Whether memory and processes can be held here: whether a group can be made, not only whether one should be.
pub(super) fn available() -> (bool, bool) {
    let name = format!("{PREFIX}{}", Uuid::now_v7().simple());
    let takes_groups = |parent: &Parent| {
        let directory = parent.directory.join(&name);
        fs::create_dir(&directory).is_ok() && fs::remove_dir(&directory).is_ok()
    };
    let parents: Vec<Parent> = parents().into_iter().filter(takes_groups).collect();
    (parents.iter().any(|parent| parent.memory), parents.iter().any(|parent| parent.processes))
}

impl Group {
    /// Makes a group with these limits; `None` where none can be made.
    pub(super) fn make(bounds: &Bounds) -> Option<Self> {
        let name = format!("{PREFIX}{}", Uuid::now_v7().simple());
        let mut group = Self { directories: Vec::new(), holds_processes: false };
        for parent in parents() {
            remove_stale(&parent.directory);
            let directory = parent.directory.join(&name);
            if fs::create_dir(&directory).is_err() {
                continue;
            }
            // Half a group would be taken for a whole one: dropping it removes what there is.
            let lock = File::open(&directory).and_then(|file| file.lock().map(|()| file));
            let limited = limit(&directory, &parent, bounds);
            let Ok(lock) = lock else {
                fs::remove_dir(&directory).ok();
                return None;
            };
            group.directories.push((directory, lock));
            limited.ok()?;
            group.holds_processes |= parent.processes;
        }
        (!group.directories.is_empty()).then_some(group)
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().map(|(directory, _)| directory.as_path())
    }

    pub(super) fn holds_processes(&self) -> bool {
        self.holds_processes
    }

    /// Kills everything in it.
    pub(super) fn kill(&self) {
        self.directories().for_each(kill);
    }

    /// Kills what is left, and removes it when it is empty, after at most `deadline`.
    pub(super) fn remove(self, deadline: Duration) {
        let until = Instant::now() + deadline;
        let is_left = |directory: &Path| fs::remove_dir(directory).is_err_and(|e| e.kind() != io::ErrorKind::NotFound);
        // Each of them, not up to the first that is busy.
        while self.directories().filter(|directory| is_left(directory)).count() > 0 && Instant::now() < until {
            self.kill();
            // The kernel tells nobody when the last one is gone.
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for directory in self.directories() {
            kill(directory);
            fs::remove_dir(directory).ok();
        }
    }
}

fn limit(directory: &Path, parent: &Parent, bounds: &Bounds) -> io::Result<()> {
    let set = |file: &str, value: u64| write(&directory.join(file), &value.to_string());
    if parent.processes {
        set("pids.max", bounds.processes)?;
    }
    if parent.memory && parent.is_version_2 {
        set("memory.max", bounds.memory_bytes)?;
        // Swap would only make a hog slow. The file is missing where swap is not counted.
        set("memory.swap.max", 0).ok();
    } else if parent.memory {
        set("memory.limit_in_bytes", bounds.memory_bytes)?;
        set("memory.memsw.limit_in_bytes", bounds.memory_bytes).ok();
    }
    Ok(())
}

fn kill(directory: &Path) {
    if write(&directory.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    // Before the look: what forks while it is being killed would be found for ever.
    write(&directory.join("pids.max"), "0").ok();
    let members = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        rustix::process::kill_process(pid, Signal::KILL).ok();
    }
}

/// Removes what a worker left that was killed.
fn remove_stale(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let age = || path.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_ours
            && age().is_some_and(|age| age > SETTLED)
            && File::open(&path).is_ok_and(|directory| directory.try_lock().is_ok())
        {
            kill(&path);
            fs::remove_dir(&path).ok();
        }
    }
}

/// Not through [`crate::files`]: this is the kernel's interface, no file to be kept.
pub(super) fn write(path: &Path, value: &str) -> io::Result<()> {
    use std::io::Write as _;
    fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

fn parents() -> Vec<Parent> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    parents_of(&mounts, &own, &|file| rustix::fs::access(file, Access::WRITE_OK).is_ok())
}

/// The places by proc(5)'s mountinfo and cgroup: for version 2 the nearest directory that gives children the most, for
/// version 1 the own directory of each controller that version 2 does not have.
fn parents_of(mounts: &str, own: &str, may_write: &dyn Fn(&Path) -> bool) -> Vec<Parent> {
    let mut found = Vec::new();
    let mut open: BTreeSet<&str> = BTreeSet::from(["memory", "pids"]);
    for mount in mounts.lines().filter_map(Mount::parse).filter(|mount| mount.kind == "cgroup2") {
        let Some(here) = own.lines().find_map(|line| mount.place(line.strip_prefix("0::")?)) else { continue };
        let mut best: Option<(usize, Parent)> = None;
        for directory in here.ancestors().take_while(|directory| directory.starts_with(mount.at)) {
            let given = fs::read_to_string(directory.join("cgroup.subtree_control")).unwrap_or_default();
            let given: BTreeSet<&str> = given.split_whitespace().filter(|name| open.contains(name)).collect();
            // To move a process, the directory above both places has to be ours too.
            let is_ours = may_write(directory) && may_write(&directory.join("cgroup.procs"));
            if is_ours && given.len() > best.as_ref().map_or(0, |(count, _)| *count) {
                let (memory, processes) = (given.contains("memory"), given.contains("pids"));
                let directory = directory.to_path_buf();
                best = Some((given.len(), Parent { directory, memory, processes, is_version_2: true }));
            }
        }
        if let Some((_, parent)) = best {
            let taken = |name: &str| name == "memory" && parent.memory || name == "pids" && parent.processes;
            open.retain(|name| !taken(name));
            found.push(parent);
        }
    }
    for mount in mounts.lines().filter_map(Mount::parse).filter(|mount| mount.kind == "cgroup") {
        let here = own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let wanted = controllers.split(',').find(|name| open.contains(name))?;
            let is_here = mount.options.split(',').any(|option| option == wanted);
            Some((mount.place(path).filter(|_| is_here)?, wanted == "memory"))
        });
        if let Some((directory, memory)) = here.filter(|(directory, _)| may_write(directory)) {
            open.remove(if memory { "memory" } else { "pids" });
            found.push(Parent { directory, memory, processes: !memory, is_version_2: false });
        }
    }
    found
}

/// One line of mountinfo.
struct Mount<'a> {
    root: &'a str,
    at: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (head, tail) = line.split_once(" - ")?;
        let mut head = head.split(' ').skip(3);
        let mut tail = tail.split(' ');
        Some(Self { root: head.next()?, at: head.next()?, kind: tail.next()?, options: tail.nth(1)? })
    }

    /// Where the group with this path is seen.
    fn place(&self, path: &str) -> Option<PathBuf> {
        let below = Path::new(path).strip_prefix(self.root).ok()?;
        let at = Path::new(self.at);
        Some(if below.as_os_str().is_empty() { at.to_path_buf() } else { at.join(below) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_a_family_is_told_by_its_groups() {
        let id = "0190a0b1c2d3e4f50190a0b1c2d3e4f5";
        for inside in
            [format!("0::/user.slice/app.slice/{PREFIX}{id}\n"), format!("8:pids:/\n4:memory:/{PREFIX}{id}/a:b\n")]
        {
            assert!(names_a_family(&inside), "{inside}");
        }
        for outside in
            ["", "0::/\n", "0::/app.slice/git-orchestrator-worker.service\n", "0::/x/git-orchestrator-0.2.scope\n"]
        {
            assert!(!names_a_family(outside), "{outside}");
        }
    }

    #[test]
    fn a_hybrid_system_has_its_controllers_in_the_older_hierarchies() {
        let mounts = "32 31 0:29 / /c/cpu rw - cgroup cgroup rw,cpu\n\
                      35 31 0:32 / /c/memory rw - cgroup cgroup rw,memory\n\
                      39 31 0:36 / /c/pids rw - cgroup cgroup rw,pids\n41 31 0:38 / /c/unified rw - cgroup2 cgroup2 rw\n";
        let own = "9:name=systemd:/\n8:pids:/\n4:memory:/a/b\n1:cpu:/\n0::/\n";
        let found = parents_of(mounts, own, &|_| true);
        let places: Vec<_> = found.iter().map(|p| (p.directory.to_str().unwrap(), p.memory, p.processes)).collect();
        assert_eq!(places, [("/c/memory/a/b", true, false), ("/c/pids", false, true)]);
        assert_eq!(parents_of(mounts, own, &|_| false), []);
    }

    #[test]
    fn the_nearest_delegated_directory_that_gives_both_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().canonicalize().unwrap();
        let user = "user.slice/user@1.service";
        for (directory, given) in [
            (String::new(), "cpu memory pids"),
            (user.to_owned(), "memory pids"),
            (format!("{user}/app.slice"), "memory pids"),
            (format!("{user}/app.slice/app.scope"), ""),
        ] {
            fs::create_dir_all(at.join(&directory)).unwrap();
            crate::files::write(&at.join(directory).join("cgroup.subtree_control"), given.as_bytes()).unwrap();
        }
        let mounts = format!("41 31 0:38 / {} rw - cgroup2 cgroup2 rw\n", at.display());
        let own = format!("0::/{user}/app.slice/app.scope\n");
        let delegated = at.join(user);
        let found = parents_of(&mounts, &own, &|file| file.starts_with(&delegated));
        let directory = delegated.join("app.slice");
        assert_eq!(found, [Parent { directory, memory: true, processes: true, is_version_2: true }]);
        // A login over SSH: nothing above it is the user's.
        assert_eq!(parents_of(&mounts, &own, &|_| false), []);
    }
}
