//! A tree of files, byte for byte, so that two states of it can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What stands at each path: its kind, its mode, and its bytes or where it leads.
pub(crate) type Snapshot = BTreeMap<PathBuf, String>;

/// The tree below `root`, without what `skip` names by its path from there.
pub(crate) fn snapshot(root: &Path, skip: &dyn Fn(&Path) -> bool) -> Snapshot {
    let mut found = Snapshot::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if skip(&name) {
                continue;
            }
            let metadata = path.symlink_metadata().unwrap();
            let mode = metadata.permissions().mode();
            let what = if metadata.is_dir() {
                open.push(path);
                format!("directory {mode:o}")
            } else if metadata.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap().display())
            } else if metadata.is_file() {
                format!("file {mode:o} {}", String::from_utf8_lossy(&fs::read(&path).unwrap()))
            } else {
                format!("something else {mode:o}")
            };
            found.insert(name, what);
        }
    }
    found
}

/// Fails with the paths that are not as they were.
#[track_caller]
pub(crate) fn assert_same(before: &Snapshot, after: &Snapshot, what: &str) {
    let changed: Vec<_> = before
        .keys()
        .chain(after.keys())
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| format!("{}: {:?} -> {:?}", path.display(), before.get(path), after.get(path)))
        .collect();
    assert!(changed.is_empty(), "{what} changed: {changed:#?}");
}
