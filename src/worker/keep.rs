//! How long things are kept: finished runs, and artifacts that git does not track (`artifacts.keep`).
//!
//! The ledger keeps its rows: what was run, when and with which result stays known. Directories are named by date and
//! by commit; nothing else is touched, and a date on which a run is still open is left alone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::clock::Timestamp;
use crate::error::{Context as _, Result};
use crate::store::layout::Layout;
use crate::triggers::ArtifactRules;

/// Removes what is older than the rules say. `open` are the days on which runs were queued that have not ended.
pub fn prune(layout: &Layout, rules: ArtifactRules, now: Timestamp, open: &BTreeSet<String>) -> Result<()> {
    let keep = Duration::from_secs(rules.keep_seconds);
    let oldest = Timestamp::from_millis(now.millis().saturating_sub(rules.keep_seconds.saturating_mul(1000)));
    let oldest_day = oldest.date();
    for_each_directory(&layout.runs(), |name, path| {
        // Dates in this form sort as text.
        let is_day = name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        if is_day && name < oldest_day.as_str() && !open.contains(name) { remove(path) } else { Ok(()) }
    })?;
    if rules.track {
        return Ok(());
    }
    for_each_directory(&layout.all_artifacts(), |name, path| {
        let is_commit = name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let age = path.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| age(at, now));
        if is_commit && age.is_some_and(|age| age > keep) { remove(path) } else { Ok(()) }
    })
}

fn age(modified: SystemTime, now: Timestamp) -> Option<Duration> {
    let modified = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Duration::from_millis(now.millis()).checked_sub(modified)
}

/// Calls `f` with each directory's name and path; links and files are passed over.
fn for_each_directory(parent: &Path, mut f: impl FnMut(&str, &Path) -> Result<()>) -> Result<()> {
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context(|| format!("cannot read {}", parent.display())),
    };
    for entry in entries {
        let entry = entry.context(|| format!("cannot read {}", parent.display()))?;
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if let Some(name) = entry.file_name().to_str().filter(|_| is_directory) {
            f(name, &entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    tracing::info!(path = %path.display(), "older than it is to be kept");
    fs::remove_dir_all(path).context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_days_go_and_open_ones_and_strangers_stay() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        for name in ["2026-01-01", "2026-01-02", "2026-02-20", "notes"] {
            fs::create_dir_all(layout.runs().join(name)).unwrap();
        }
        fs::create_dir_all(layout.all_artifacts().join("0123456789ab")).unwrap();
        let now = Timestamp::from_millis(1_772_000_000_000); // 2026-02-25
        let rules = ArtifactRules { track: false, keep_seconds: 30 * 24 * 3600 };
        prune(&layout, rules, now, &BTreeSet::from(["2026-01-02".to_owned()])).unwrap();
        let mut left: Vec<_> = fs::read_dir(layout.runs())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["2026-01-02", "2026-02-20", "notes"]);
        // Made just now, which by that clock lies in the future: not older than anything.
        assert!(layout.all_artifacts().join("0123456789ab").exists());
        let later = Timestamp::now().plus(Duration::from_secs(31 * 24 * 3600));
        prune(&layout, ArtifactRules { track: true, ..rules }, later, &BTreeSet::new()).unwrap();
        assert!(layout.all_artifacts().join("0123456789ab").exists(), "git tracks it");
        prune(&layout, rules, later, &BTreeSet::new()).unwrap();
        assert!(!layout.all_artifacts().join("0123456789ab").exists());
    }
}
