//! `.orchestrator`: whether it is ours, can be written, lies on a disk that keeps locks, and holds what reads back.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::Access;

use super::{Finding, Level, Mend, Section, count, quoted};
use crate::error::Error;
use crate::git::{Repository, shown};
use crate::store::layout::{DIRECTORY, Layout};
use crate::store::ledger::Ledger;
use crate::store::ledger::health::Soundness;
use crate::store::{StoreError, spool};
use crate::text;

const SECTION: Section = Section::State;

/// How long the ledger may check itself; 100,000 runs take a tenth of that.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// Below this much free space a run's checkout may not fit, in bytes.
const SPACE_LOW: u64 = 200 << 20;

/// Below this much not even events are safe, in bytes.
const SPACE_NONE: u64 = 4 << 20;

/// What to do about what cannot be looked at.
const OWN: &str = "see who owns it and who may read it: ls -ld .orchestrator .orchestrator/state";

/// How many waiting events are read to see whether they do.
pub(super) const SPOOL_FILES_MAX: usize = 200;

pub(super) fn look(layout: &Layout, repository: &Repository) -> (Vec<Finding>, Option<Ledger>) {
    let mut findings = Vec::new();
    match layout.root().symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let message = format!("there is no {}: the next event makes it anew", shown(layout.root()));
            let finding = Finding::new(SECTION, Level::Note, "state-missing", message);
            return (vec![finding.command("git orchestrator install").mends(Mend::Directories)], None);
        }
        Err(error) => {
            let error = Error::failed(format!("cannot look at {}", shown(layout.root()))).because(error);
            let finding = Finding::of_error(SECTION, Level::Problem, "state-unreadable", &error);
            return (vec![finding.or_action(OWN)], None);
        }
        Ok(meta) if !meta.is_dir() && !meta.is_symlink() => return (vec![no_directory(layout.root())], None),
        Ok(_) => {}
    }
    // What may not be entered hides what lies below it: that comes first, and alone.
    let ours = [layout.root().to_owned(), layout.state(), layout.spool(), layout.runs(), layout.all_artifacts()];
    for path in &ours {
        let meta = path.symlink_metadata().ok().filter(std::fs::Metadata::is_dir);
        let found = meta.and_then(|meta| permissions(path, &meta));
        findings.extend(found.filter(|finding| finding.code == "state-permissions"));
    }
    if !findings.is_empty() {
        return (findings, None);
    }
    if let Err(error) = layout.refuse_links() {
        let (level, code) = (Level::Problem, if has_link(layout) { "state-link" } else { "state-unreadable" });
        return (vec![Finding::of_error(SECTION, level, code, &error).or_action(OWN)], None);
    }
    let main = Repository::discover(layout.home(), false);
    let tracked = main.as_ref().unwrap_or(repository).names_at_head(DIRECTORY);
    if let Err(error) = layout.refuse_tracked(&tracked) {
        return (vec![Finding::of_error(SECTION, Level::Problem, "state-tracked", &error)], None);
    }
    let mut usable = true;
    for path in ours {
        let Ok(meta) = path.symlink_metadata() else {
            // The first three are there from the first day; the others come with the first run.
            if path == layout.state() || path == layout.spool() {
                let message = format!("{} is missing: the next event makes it anew", shown(&path));
                let finding = Finding::new(SECTION, Level::Note, "state-missing", message);
                findings.push(finding.command("git orchestrator install").mends(Mend::Directories));
            }
            continue;
        };
        if !meta.is_dir() {
            usable = false;
            findings.push(no_directory(&path));
            continue;
        }
        findings.extend(permissions(&path, &meta));
    }
    let place = [layout.spool(), layout.state(), layout.root().to_owned()].into_iter().find(|path| path.is_dir());
    let place = place.unwrap_or_else(|| layout.root().to_owned());
    if usable && findings.iter().all(|finding| finding.level != Level::Problem) {
        findings.extend(writable(&place));
    }
    if let Some(system) = network_file_system(&place) {
        let message = format!("{} lies on {system}, where locks and the ledger are not safe", shown(layout.root()));
        findings.push(
            Finding::new(SECTION, Level::Warning, "state-on-network", message)
                .action("keep the repository on a disk of this machine"),
        );
    }
    let free = rustix::fs::statvfs(&place).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if let Ok(free) = free
        && free < SPACE_LOW
    {
        let level = if free < SPACE_NONE { Level::Problem } else { Level::Warning };
        let message = format!("only {} are free where {} lies", text::bytes(free), shown(layout.root()));
        findings.push(
            Finding::new(SECTION, level, "state-space", message)
                .action("make room; `artifacts.keep` in triggers.yaml says how long old runs are kept"),
        );
    }
    let ledger = ledger(layout, &mut findings);
    spooled(layout, &mut findings);
    if findings.is_empty() {
        let free = free.map_or_else(|_| String::new(), |free| format!(", {} free", text::bytes(free)));
        let sound = if ledger.is_some() { "the ledger is sound" } else { "no ledger yet" };
        findings.push(Finding::new(SECTION, Level::Ok, "state-sound", format!("{DIRECTORY}: {sound}{free}")));
    }
    (findings, ledger)
}

fn no_directory(path: &Path) -> Finding {
    let message = format!("{} is not a directory", shown(path));
    let finding = Finding::new(SECTION, Level::Problem, "state-not-directory", message);
    finding.action(format!("look at what it is, then move it away: ls -l {}", quoted(path)))
}

fn has_link(layout: &Layout) -> bool {
    [layout.root().to_owned(), layout.state(), layout.spool(), layout.runs(), layout.all_artifacts()]
        .iter()
        .any(|path| path.is_symlink())
}

fn permissions(path: &Path, meta: &std::fs::Metadata) -> Option<Finding> {
    let mode = meta.permissions().mode() & 0o7777;
    let own = rustix::process::geteuid().as_raw();
    if meta.uid() != own && own != 0 {
        let message = format!("{} belongs to another user ({})", shown(path), meta.uid());
        let finding = Finding::new(SECTION, Level::Warning, "state-owner", message);
        return Some(finding.command(format!("sudo chown -R \"$(id -u)\" {}", quoted(path))));
    }
    if mode & 0o700 != 0o700 {
        let message = format!("{} has mode {mode:03o}, so that its owner cannot read, write and enter it", shown(path));
        let finding = Finding::new(SECTION, Level::Problem, "state-permissions", message);
        return Some(
            finding
                .command(format!("chmod u+rwx {}", quoted(path)))
                .mends(Mend::Permissions(path.to_owned(), mode | 0o700)),
        );
    }
    if mode & 0o002 != 0 {
        let message = format!("anybody on this machine may write to {}", shown(path));
        let finding = Finding::new(SECTION, Level::Problem, "state-open", message);
        return Some(
            finding
                .command(format!("chmod o-w {}", quoted(path)))
                .mends(Mend::Permissions(path.to_owned(), mode & !0o002)),
        );
    }
    None
}

fn writable(place: &Path) -> Option<Finding> {
    let error = rustix::fs::access(place, Access::WRITE_OK | Access::EXEC_OK).err()?;
    let message = format!("nothing can be written to {}: {}", shown(place), io::Error::from(error));
    Some(
        Finding::new(SECTION, Level::Problem, "state-read-only", message)
            .action("make the directory and its file system writable; until then events are lost"),
    )
}

fn ledger(layout: &Layout, findings: &mut Vec<Finding>) -> Option<Ledger> {
    let path = layout.ledger();
    let aside = format!("move {} and its `-wal` and `-shm` aside: a new one begins", shown(&path));
    let ledger = match Ledger::open_to_read(&path) {
        Ok(ledger) => ledger?,
        Err(error) => {
            let code = if matches!(error, StoreError::Newer { .. }) { "ledger-newer" } else { "ledger-unreadable" };
            findings.push(Finding::of_error(SECTION, Level::Problem, code, &error.into()).or_action(aside));
            return None;
        }
    };
    match ledger.soundness(CHECK_LIMIT) {
        Ok(Soundness::Sound) => return Some(ledger),
        Ok(Soundness::Unknown) => {
            let message = format!("the ledger is too large to be checked within {}", text::duration(CHECK_LIMIT));
            findings.push(
                Finding::new(SECTION, Level::Note, "ledger-unchecked", message).command("git orchestrator status"),
            );
            return Some(ledger);
        }
        Ok(Soundness::Damaged(said)) => {
            let message = format!("{} is damaged: {said}", shown(&path));
            findings.push(Finding::new(SECTION, Level::Problem, "ledger-unreadable", message).action(aside));
        }
        Err(error) => {
            let finding = Finding::of_error(SECTION, Level::Problem, "ledger-unreadable", &error.into());
            findings.push(finding.or_action(aside));
        }
    }
    None
}

fn spooled(layout: &Layout, findings: &mut Vec<Finding>) {
    match spool::look(layout, SPOOL_FILES_MAX) {
        Ok(waiting) => {
            for (path, error) in waiting.unreadable {
                let message = format!("an event does not read: {}", error.chain());
                findings.push(
                    Finding::new(SECTION, Level::Warning, "spool-unreadable", message)
                        .action(format!("the next command sets it aside; look at it: {}", quoted(&path)))
                        .mends(Mend::Work),
                );
            }
        }
        Err(error) => {
            findings.push(Finding::of_error(SECTION, Level::Problem, "spool-unreadable", &error).or_action(OWN));
        }
    }
    let aside = spool::set_aside_count(layout);
    if aside > 0 {
        let message = format!("{} could not be read and {} set aside", count(aside, "event"), was(aside));
        findings.push(
            Finding::new(SECTION, Level::Warning, "spool-set-aside", message)
                .action(format!("look at them, then remove them: ls {}/*.damaged", quoted(&layout.spool()))),
        );
    }
}

fn was(n: usize) -> &'static str {
    if n == 1 { "was" } else { "were" }
}

/// The name of the network or foreign file system that a path lies on, by statfs(2): magic numbers of
/// `linux/magic.h`, and of the modules that carry their own.
#[cfg(target_os = "linux")]
fn network_file_system(path: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(path).ok()?.f_type;
    // The field's type differs between architectures; the numbers have 32 bits.
    by_magic(u32::try_from(i128::from(kind) & 0xffff_ffff).unwrap_or(0))
}

#[cfg(target_os = "linux")]
fn by_magic(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("an SMB share"),
        0x0102_1997 => Some("a 9P share"),
        0x6573_5546 => Some("FUSE"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x00c3_6400 => Some("Ceph"),
        0x7375_7245 => Some("Coda"),
        0x0bd0_0bd0 => Some("Lustre"),
        0x786f_4256 => Some("a shared folder of VirtualBox"),
        _ => None,
    }
}

/// On macOS the kernel says it by name.
#[cfg(target_os = "macos")]
fn network_file_system(path: &Path) -> Option<&'static str> {
    let disk = rustix::fs::statfs(path).ok()?;
    let name: Vec<u8> =
        disk.f_fstypename.iter().take_while(|byte| **byte != 0).map(|byte| byte.cast_unsigned()).collect();
    match name.as_slice() {
        b"nfs" => Some("NFS"),
        b"smbfs" | b"cifs" => Some("an SMB share"),
        b"afpfs" => Some("an AFP share"),
        b"webdav" => Some("WebDAV"),
        b"osxfuse" | b"macfuse" | b"fuse" => Some("FUSE"),
        _ => None,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn network_file_system(_path: &Path) -> Option<&'static str> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn disks_of_this_machine_are_none() {
        // ext4, XFS, btrfs, tmpfs, overlayfs, ZFS.
        for magic in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0x2fc1_2fc1] {
            assert_eq!(by_magic(magic), None, "{magic:x}");
        }
        assert_eq!(by_magic(0x6969), Some("NFS"));
        assert_eq!(by_magic(0xfe53_4d42), Some("an SMB share"));
        assert_eq!(network_file_system(Path::new("/proc")), None);
    }
}
