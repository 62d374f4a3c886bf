//! Who started this process, by the kernel's own table: nothing that a process says of itself.

use std::path::Path;

/// How many generations are looked at. A shell in a tool in a test in a build has some twenty.
const GENERATIONS_MAX: usize = 256;

/// Whether `pid` started this process, directly or through others, and `is_meant` is true of its directory in `/proc`.
/// Linux only; elsewhere nobody is known.
///
/// A process whose parent died is adopted by the worker, which collects orphans, so that it does not leave its ancestry
/// by that.
pub fn descends_from(pid: u32, is_meant: impl Fn(&Path) -> bool) -> bool {
    let mut of = "self".to_owned();
    for _ in 0..GENERATIONS_MAX {
        let stat = std::fs::read_to_string(format!("/proc/{of}/stat")).unwrap_or_default();
        // `pid (name) state ppid …`: the name may hold anything.
        let parent =
            stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(1)?.parse::<u32>().ok());
        match parent {
            Some(0) | None => return false,
            Some(parent) if parent == pid => return is_meant(&Path::new("/proc").join(parent.to_string())),
            Some(parent) => of = parent.to_string(),
        }
    }
    false
}
