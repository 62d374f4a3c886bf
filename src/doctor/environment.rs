//! Variables that change what the hooks and runs do, and what only one system can do.

use std::env;
use std::ffi::OsStr;

use super::{Finding, Level, Place, Section};
use crate::process::{self, RUN_MARKER};
use crate::runtime::REHEARSAL_VARIABLE;

const SECTION: Section = Section::Environment;

pub(super) fn look(place: &Place<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, level, code, effect) in [
        ("GIT_ORCHESTRATOR_SKIP", Level::Warning, "skip-set", "the hooks do nothing, gates included"),
        (
            RUN_MARKER,
            Level::Warning,
            "run-marker-set",
            "this counts as the inside of a run: hooks start nothing, gates are closed",
        ),
        ("GIT_ORCHESTRATOR_QUIET", Level::Note, "quiet-set", "the hooks say nothing"),
    ] {
        if is_set(place, name) {
            let message = format!("{name} is set: {effect}");
            findings.push(Finding::new(SECTION, level, code, message).command(format!("unset {name}")));
        }
    }
    if place.environment.get(OsStr::new(REHEARSAL_VARIABLE)).is_some_and(|url| !url.is_empty()) {
        let message = format!("{REHEARSAL_VARIABLE} is set: runs ask a scripted model");
        let finding = Finding::new(SECTION, Level::Warning, "rehearsal-set", message);
        findings.push(finding.command(format!("unset {REHEARSAL_VARIABLE}")));
    }
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        if env::var_os(name).is_some_and(|value| !value.is_empty()) {
            let message = format!("{name} is set: git, and this command, take their repository from it");
            findings
                .push(Finding::new(SECTION, Level::Note, "git-variable-set", message).command(format!("unset {name}")));
        }
    }
    if process::find_program("git-orchestrator", place.environment).is_none() {
        let message = "`git orchestrator` is not found on PATH; the hooks call this program by its full path";
        let finding = Finding::new(SECTION, Level::Note, "not-on-path", message);
        findings.push(match place.own_program.parent() {
            Some(directory) => finding.action(format!("add {} to PATH", crate::git::shown(directory))),
            None => finding,
        });
    }
    if cfg!(target_os = "macos") {
        let message = "on macOS a run's processes are ended by their process group: one that leaves it stays";
        findings.push(Finding::new(SECTION, Level::Note, "macos", message));
    }
    if is_wsl() && place.directory.starts_with("/mnt") {
        let message = "this directory lies on a Windows drive, where WSL knows no locks and no permissions of Linux";
        findings.push(
            Finding::new(SECTION, Level::Warning, "wsl-drive", message)
                .action("keep the repository in the file system of Linux, for example below your home"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::new(SECTION, Level::Ok, "environment-plain", "no variable changes what the hooks do"));
    }
    findings
}

fn is_set(place: &Place<'_>, name: &str) -> bool {
    place.environment.get(OsStr::new(name)).is_some_and(|value| !value.is_empty() && value != "0")
}

fn is_wsl() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    cfg!(target_os = "linux") && release.to_ascii_lowercase().contains("microsoft")
}
