//! The git program: there, new enough, and able to read this repository; and the repository itself.

use super::{Finding, Level, Place, Section};
use crate::error::Kind;
use crate::git::{Program, shown};
use crate::install::configured;

const SECTION: Section = Section::Git;

/// The oldest git that may be used: `GIT_CONFIG_COUNT` (2.31) and `GIT_CONFIG_GLOBAL` (2.32) are how everything is
/// switched off that configuration would execute in an agent's checkout. An older git ignores them.
const OLDEST: (u32, u32) = (2, 32);

/// Keeps refs in one binary table (`--ref-format=reftable`).
const REFTABLE: (u32, u32) = (2, 45);

pub(super) fn look(place: &Place<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match Program::find(place.environment) {
        Ok(program) => findings.extend(version(place, &program)),
        Err(error) => findings
            .push(Finding::of_error(SECTION, Level::Problem, "git-missing", &error).or_action("install git anew")),
    }
    match &place.repository {
        Ok(_) => {}
        Err(error) if error.kind() == Kind::NotFound => findings.push(
            Finding::new(
                SECTION,
                Level::Note,
                "no-repository",
                format!("{}: only git, Codex and the environment were looked at", error.chain()),
            )
            .action("go into a repository to have the rest looked at"),
        ),
        Err(error) => {
            let finding = Finding::of_error(SECTION, Level::Problem, "repository-unreadable", error);
            findings
                .push(finding.or_action(
                    "see whether `git status` works here; if it does, a newer git-orchestrator may read it",
                ));
        }
    }
    findings
}

fn version(place: &Place<'_>, program: &Program) -> Vec<Finding> {
    let (version, path) = (&program.version, shown(&program.path));
    let is_at_least = |(major, minor)| program.is_at_least(major, minor);
    if !is_at_least(OLDEST) {
        let (major, minor) = OLDEST;
        let message = format!("git {version} at {path} is too old: {major}.{minor} is the oldest that works");
        let finding = Finding::new(SECTION, Level::Problem, "git-too-old", message);
        return vec![finding.action(format!("install git {major}.{minor} or newer"))];
    }
    let hooks = if is_at_least(configured::SINCE) { ", runs hooks from configuration too" } else { "" };
    let message = format!("git {version} at {path}{hooks}");
    let mut findings = vec![Finding::new(SECTION, Level::Ok, "git-found", message)];
    if !is_at_least(REFTABLE) && keeps_reftable(place) {
        let (major, minor) = REFTABLE;
        let message = format!("this repository keeps its refs as reftable, which git {version} cannot read");
        let finding = Finding::new(SECTION, Level::Problem, "git-without-reftable", message);
        findings.push(finding.action(format!("install git {major}.{minor} or newer")));
    }
    findings
}

/// Whether the refs of the repository here lie in a `reftable` directory.
fn keeps_reftable(place: &Place<'_>) -> bool {
    match &place.repository {
        Ok(repository) => repository.common_directory().join("reftable").is_dir(),
        // What we cannot read ourselves may be just that.
        Err(_) => place.directory.ancestors().any(|top| top.join(".git/reftable").is_dir()),
    }
}
