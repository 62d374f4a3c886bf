//! Whether this process is the inside of a run: what only a person may do (approve, trust) is refused there.
//!
//! Three witnesses, each of which is enough. The environment carries [`RUN_MARKER`] into everything that a run starts;
//! a run can remove it from what it starts itself, but not from its ancestors: their first environment and their
//! command lines are the kernel's to tell. An ancestor that is a worker, or the child that a worker contains, says the
//! same. A process whose parent died does not get away by that: the worker adopts it (Linux). Where the worker died too,
//! the control group of the run is left, if runs have one here. Where the ancestors cannot be told, the answer is yes: what cannot be asked is a no to whoever wants to decide.
//!
//! It is no sandbox. What the system runs on a run's behalf (a service manager, `at`) has other ancestors: the sandbox
//! and the policy keep a run from asking for that.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::process::{CONTAIN_COMMAND, Environment, RUN_MARKER, is_in_a_family};

/// What the program's file is called; a copy of a release may carry more (`git-orchestrator-0.2`).
const PROGRAM: &str = "git-orchestrator";

/// The command of the worker, as it is started by a hook.
const WORKER_COMMAND: &str = "worker";

/// How many ancestors are looked at: more than any real chain has, so that a table that changes meanwhile cannot hold us.
const ANCESTORS_MAX: usize = 512;

/// How often the ancestors are looked at until two looks in a row agree.
const LOOKS_MAX: usize = 100;

/// One process above this one.
#[derive(Clone, Debug, Default)]
struct Ancestor {
    id: u32,
    parent: u32,
    /// Its program's file, where it may be told.
    program: Option<OsString>,
    /// Its command line.
    arguments: Vec<OsString>,
    /// Whether it was started with the marker, where it may be told.
    is_marked: bool,
}

/// Why this process counts as the inside of a run, as a sentence; `None` if it does not. `environment` is that of the
/// caller, as it was before anything was taken out of it.
pub fn inside_a_run(environment: &Environment) -> Option<String> {
    if environment.contains_key(OsStr::new(RUN_MARKER)) {
        return Some(format!("this is the inside of a run ({RUN_MARKER} is set)"));
    }
    if is_in_a_family() {
        return Some("this is the inside of a run (its control group is a run's)".to_owned());
    }
    match ancestors() {
        Ok(ancestors) => ancestors.iter().find_map(witness),
        Err(why) => Some(format!("whether this is the inside of a run cannot be told: {why}")),
    }
}

/// What this ancestor says, if it belongs to a run.
fn witness(ancestor: &Ancestor) -> Option<String> {
    let id = ancestor.id;
    if ancestor.is_marked {
        return Some(format!("this is the inside of a run (process {id} above it was started with {RUN_MARKER})"));
    }
    let words = ancestor.arguments.get(1).map(OsString::as_os_str);
    let is_command = words.is_some_and(|word| word == WORKER_COMMAND || word == CONTAIN_COMMAND);
    let names = [ancestor.program.as_deref(), ancestor.arguments.first().map(OsString::as_os_str)];
    let is_this = ancestor.program.is_some() && ancestor.program == std::env::current_exe().ok().map(Into::into);
    let is_ours = is_this || names.into_iter().flatten().any(is_our_program);
    (is_command && is_ours).then(|| format!("this is the inside of a run (process {id} above it is a worker)"))
}

/// By name: a worker goes on after its file was replaced by a newer one, and then has another.
fn is_our_program(program: &OsStr) -> bool {
    Path::new(program).file_name().is_some_and(|name| name.as_bytes().starts_with(PROGRAM.as_bytes()))
}

/// The processes above this one, nearest first.
#[cfg(target_os = "linux")]
fn ancestors() -> Result<Vec<Ancestor>, String> {
    chain(parent_of_this, |id| {
        let directory = Path::new("/proc").join(id.to_string());
        let read = |name: &str| std::fs::read(directory.join(name));
        let stat = read("stat").ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The name before the fields may hold anything, brackets too.
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        let strings = |bytes: Vec<u8>| -> Vec<OsString> {
            bytes.split(|byte| *byte == 0).map(|part| OsStr::from_bytes(part).to_owned()).collect()
        };
        // Other people's processes do not tell; those of a run are of this person.
        let variables = read("environ").map(strings).unwrap_or_default();
        let is_marked = variables.iter().any(|variable| {
            variable.as_bytes().strip_prefix(RUN_MARKER.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
        });
        Some(Ancestor {
            id,
            parent,
            program: std::fs::read_link(directory.join("exe")).ok().map(Into::into),
            arguments: read("cmdline").map(strings).unwrap_or_default(),
            is_marked,
        })
    })
}

/// The processes above this one, nearest first, as ps(1) tells them. It tells no environment that could be relied on.
#[cfg(not(target_os = "linux"))]
fn ancestors() -> Result<Vec<Ancestor>, String> {
    #[expect(clippy::disallowed_methods, reason = "one fixed program, which gets nothing of ours")]
    let ps = std::process::Command::new("/bin/ps")
        .args(["-A", "-ww", "-o", "pid=,ppid=,args="])
        .env_clear()
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| format!("/bin/ps does not run: {error}"))?;
    if !ps.status.success() {
        return Err(format!("/bin/ps failed: {}", ps.status));
    }
    let table: Vec<Ancestor> = ps.stdout.split(|byte| *byte == b'\n').filter_map(line_of_ps).collect();
    chain(parent_of_this, |id| table.iter().find(|process| process.id == id).cloned())
}

/// `pid ppid program arguments…`. The words of a path with a space in it are parted: the last part of the program's path
/// is then no longer the first word, so the command is looked for behind whichever word is our program's name.
#[cfg(any(not(target_os = "linux"), test))]
fn line_of_ps(line: &[u8]) -> Option<Ancestor> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut number = || std::str::from_utf8(words.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let words: Vec<OsString> = words.map(|word| OsStr::from_bytes(word).to_owned()).collect();
    let first = words.iter().position(|word| is_our_program(word)).unwrap_or(0);
    Some(Ancestor { id, parent, arguments: words.into_iter().skip(first).collect(), ..Ancestor::default() })
}

fn parent_of_this() -> u32 {
    std::os::unix::process::parent_id()
}

/// Follows the parents from the first one up. Below a process of another namespace, or that `look` cannot see, the chain
/// ends; but the first one is there, or nothing can be told.
///
/// A process that dies just when it is looked at would hide all above it: what it leaves has another parent from then
/// on, so a chain counts only if a second look finds the same one.
fn chain(first: impl Fn() -> u32, look: impl Fn(u32) -> Option<Ancestor>) -> Result<Vec<Ancestor>, String> {
    let mut before = None;
    for _ in 0..LOOKS_MAX {
        let mut found = Vec::new();
        let mut next = first();
        let mut ids = vec![next];
        // 0 is the kernel, or a parent in another pid namespace.
        while next != 0 && found.len() < ANCESTORS_MAX {
            let Some(ancestor) = look(next) else { break };
            next = ancestor.parent;
            ids.push(next);
            found.push(ancestor);
        }
        if ids[0] != 0 && found.is_empty() {
            return Err("the process table cannot be read".to_owned());
        }
        if before.as_ref() == Some(&ids) {
            return Ok(found);
        }
        before = Some(ids);
    }
    Err("the processes above this one keep changing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ancestor(arguments: &[&str]) -> Ancestor {
        Ancestor { id: 7, arguments: arguments.iter().map(OsString::from).collect(), ..Ancestor::default() }
    }

    #[test]
    fn a_worker_and_what_it_contains_are_known_and_a_person_s_commands_are_not() {
        for inside in [
            &["/usr/bin/git-orchestrator", "worker", "--home", "/x"][..],
            &["git-orchestrator-0.2", "contain", "12", "--", "codex"],
        ] {
            assert!(witness(&ancestor(inside)).is_some(), "{inside:?}");
        }
        for outside in [
            &["/usr/bin/git-orchestrator", "approve"][..],
            &["/usr/bin/git-orchestrator", "run", "worker"],
            &["worker", "worker"],
            &["/bin/sh", "worker"],
            &["git-orchestrator"],
            &[],
        ] {
            assert!(witness(&ancestor(outside)).is_none(), "{outside:?}");
        }
        let replaced = Ancestor {
            program: Some("/opt/git-orchestrator (deleted)".into()),
            ..ancestor(&["renamed", "worker", "--home", "/x"])
        };
        assert!(witness(&replaced).is_some());
        assert!(witness(&Ancestor { is_marked: true, ..ancestor(&["/bin/sh"]) }).is_some());
    }

    #[test]
    fn the_chain_of_this_process_is_read_and_an_unreadable_one_is_no_answer() {
        assert!(ancestors().is_ok_and(|found| parent_of_this() == 0 || found[0].id == parent_of_this()));
        assert!(chain(|| 7, |_| None).is_err());
        let circle = |id| Some(Ancestor { id, parent: id, ..Ancestor::default() });
        assert_eq!(chain(|| 7, circle).unwrap().len(), ANCESTORS_MAX);
    }

    #[test]
    fn a_parent_that_dies_under_the_look_hides_nobody() {
        // 7 → 6 → 1; 6 is gone when it is looked at, and 7 belongs to the worker (5) from then on.
        let is_gone = std::cell::Cell::new(false);
        let found = chain(
            || 7,
            |id| match id {
                7 => Some(Ancestor { id, parent: if is_gone.get() { 5 } else { 6 }, ..Ancestor::default() }),
                6 => {
                    is_gone.set(true);
                    None
                }
                5 => Some(Ancestor { id, parent: 1, ..ancestor(&["git-orchestrator", "worker"]) }),
                _ => Some(Ancestor { id, ..Ancestor::default() }),
            },
        );
        assert_eq!(found.unwrap().iter().filter_map(witness).count(), 1);
        let changing = std::cell::Cell::new(10);
        let never_the_same = |id| {
            changing.set(changing.get() + 1);
            (id == 7).then(|| Ancestor { id, parent: changing.get(), ..Ancestor::default() })
        };
        assert!(chain(|| 7, never_the_same).is_err());
    }

    #[test]
    fn a_line_of_ps_is_read_though_its_path_has_a_space() {
        let line = b"  12     7 /Applications/My Tools/git-orchestrator worker --home /Users/a b";
        let found = line_of_ps(line).unwrap();
        assert_eq!((found.id, found.parent), (12, 7));
        assert!(witness(&found).is_some());
        assert!(witness(&line_of_ps(b"1 0 /sbin/launchd").unwrap()).is_none());
        assert!(line_of_ps(b"").is_none());
    }

    #[test]
    fn the_marker_alone_is_enough() {
        let environment = Environment::from([(OsString::from(RUN_MARKER), OsString::new())]);
        assert!(inside_a_run(&environment).is_some());
    }
}
