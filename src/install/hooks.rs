//! What has to change in a hooks directory: ours in, or ours out.
//!
//! A hook of somebody else keeps its name and place where it looks at them and is a script that can take our lines;
//! every other one is renamed to `NAME.before-orchestrator` in the same directory, and our shim runs it first.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::change::Change;
use super::managers::Manager;
use super::manifest::Manifest;
use super::script::is_served_by_a_link;
use super::shim::{self, Reach};
use super::survey::{Foreign, HookSurvey, OwnBlock, Standing, beside, hook_bytes, look};
use super::{BEFORE, Done, FILE_BYTES_MAX, Plan, block};
use crate::error::{Error, Result};
use crate::event::Hook;
use crate::files;
use crate::git::shown;

/// Where a hook that looks at its own name is run from: a link of that name, in a directory of this one.
const NAMED: &str = "before-orchestrator";

/// Plans ours into the directory that was surveyed.
pub(super) fn put_in(
    plan: &mut Plan,
    manifest: &mut Manifest,
    hooks: &[HookSurvey],
    program: &Path,
    reach: Reach,
) -> Result<()> {
    for survey in hooks {
        put_one_in(plan, manifest, survey, program, reach)?;
    }
    Ok(())
}

fn put_one_in(
    plan: &mut Plan,
    manifest: &mut Manifest,
    survey: &HookSurvey,
    program: &Path,
    reach: Reach,
) -> Result<()> {
    let (hook, path) = (survey.hook, &survey.path);
    let before = beside(path, BEFORE);
    let shim = shim::render(program, hook, reach);
    match &survey.standing {
        Standing::NoFile => {
            Err(Error::refused(format!("{} is a directory, or another thing that is no file", shown(path)))
                .hint("move it away and try again"))
        }
        Standing::EditedShim => Err(Error::refused(format!("{} was edited since it was installed", shown(path)))
            .hint(format!("keep what you added in {}, remove the hook and install again", shown(&before)))),
        Standing::Missing => {
            plan.changes.push(Change::Write { path: path.clone(), old: None, new: shim, mode: 0o755 });
            let note = survey.chained.as_ref().map(|_| format!("runs {hook}{BEFORE} first"));
            plan.report.add(Done::Created, path, note.as_deref());
            name_kept(plan, survey, &before)
        }
        Standing::Shim(own) => {
            let old = read(path)?;
            if own.reach == Reach::Template && reach == Reach::Repository && !manifest.from_template.contains(&hook) {
                manifest.from_template.push(hook);
            }
            if old == shim && own.is_executable {
                plan.report.add(Done::Kept, path, None);
            } else {
                plan.changes.push(Change::Write { path: path.clone(), old: Some(old), new: shim, mode: 0o755 });
                plan.report.add(Done::Updated, path, None);
            }
            name_kept(plan, survey, &before)
        }
        Standing::Foreign(foreign) => put_in_front(plan, survey, foreign, program, shim),
    }
}

fn put_in_front(plan: &mut Plan, survey: &HookSurvey, foreign: &Foreign, program: &Path, shim: Vec<u8>) -> Result<()> {
    let (hook, path) = (survey.hook, &survey.path);
    let before = beside(path, BEFORE);
    match foreign.block {
        Some(OwnBlock { is_intact: false, .. }) => {
            return Err(Error::refused(format!("our lines in {} were edited since they were installed", shown(path)))
                .hint("take them out, from `# >>> git-orchestrator >>>` to `# <<< git-orchestrator <<<`, and install again"));
        }
        Some(OwnBlock { is_current: true, .. }) => {
            plan.report.add(Done::Kept, path, Some("calls ours first"));
            return Ok(());
        }
        None if foreign.calls_us => {
            plan.report.add(Done::Kept, path, Some("calls ours by a line that was added by hand"));
            return Ok(());
        }
        Some(_) | None => {}
    }
    let keeps_its_place = foreign.block.is_some()
        || (foreign.is_executable && foreign.is_shell_script && foreign.looks_at_its_name && !foreign.is_link);
    if keeps_its_place {
        let old = read(path)?;
        let rest = block::find(&old).map_or_else(|| old.clone(), |found| block::without(&old, &found));
        let new = block::in_script(&rest, &block::lines(program, hook));
        plan.changes.push(Change::Write { path: path.clone(), old: Some(old), new, mode: mode(path)? });
        let done = if foreign.block.is_some() { Done::Updated } else { Done::Chained };
        let again = match foreign.manager {
            Some(Manager::Husky) => "; husky writes it anew at `npm install`: install again after that",
            _ => "",
        };
        plan.report.add(done, path, Some(&format!("looks at its own name: it keeps it, and calls ours first{again}")));
        return Ok(());
    }
    // What a manager moved aside was ours: whatever ours was put in front of has that name back.
    let mut chained = survey.chained.is_some();
    let is_stale = chained && is_superseded(&before, path);
    for moved in &survey.moved {
        if shim::kind(&read(&moved.path)?) == shim::Kind::Edited {
            return Err(Error::refused(format!("{} was edited since it was installed", shown(&moved.path)))
                .hint("keep what you added somewhere else, remove it and install again"));
        }
        if chained && !is_stale {
            plan.changes.push(Change::Rename { from: before.clone(), to: moved.path.clone() });
            plan.report.add(Done::Restored, &moved.path, None);
            chained = false;
        } else {
            plan.changes.push(Change::Remove(moved.path.clone()));
        }
    }
    if chained && is_stale {
        plan.changes.push(Change::Remove(before.clone()));
    } else if chained {
        return Err(Error::refused(format!(
            "{} belongs to somebody else, and so does {}: there is no name left for it",
            shown(path),
            shown(&before)
        ))
        .hint("join the two into one hook, or remove the one that is not needed, and install again"));
    }
    plan.changes.push(Change::Rename { from: path.clone(), to: before.clone() });
    plan.changes.push(Change::Write { path: path.clone(), old: None, new: shim, mode: 0o755 });
    let whose =
        foreign.manager.map_or_else(|| "the hook that was there".to_owned(), |manager| format!("{manager}'s hook"));
    let note = format!("{whose} runs first, as {hook}{BEFORE}");
    plan.report.add(Done::Chained, path, Some(&note));
    link_for(plan, survey, &before, foreign.is_executable && foreign.is_served_by_a_link)
}

/// The link by which a chained hook keeps its name, made or taken away as that hook needs it.
fn name_kept(plan: &mut Plan, survey: &HookSurvey, before: &Path) -> Result<()> {
    let needs = survey.chained.is_some() && hook_bytes(before).is_some_and(|bytes| is_served_by_a_link(&bytes));
    link_for(plan, survey, before, needs && crate::process::is_executable(before))
}

fn link_for(plan: &mut Plan, survey: &HookSurvey, before: &Path, needed: bool) -> Result<()> {
    let directory = named_directory(&survey.path);
    let link = directory.join(survey.hook.as_str());
    let there = look(&link)?.is_some();
    if !needed {
        if there && is_our_link(&link, survey.hook) {
            plan.changes.push(Change::Remove(link));
        }
        return Ok(());
    }
    if there {
        return if is_our_link(&link, survey.hook) {
            Ok(())
        } else {
            Err(Error::refused(format!("{} is in the way", shown(&link))).hint("move it away and install again"))
        };
    }
    let made = Change::MakeDirectory(directory.clone());
    if look(&directory)?.is_none() && !plan.changes.contains(&made) {
        plan.changes.push(made);
    }
    let target = Path::new("..").join(before.file_name().unwrap_or_default());
    plan.changes.push(Change::Link { path: link, target });
    Ok(())
}

fn named_directory(path: &Path) -> PathBuf {
    path.with_file_name(NAMED)
}

fn is_our_link(link: &Path, hook: Hook) -> bool {
    fs::read_link(link).is_ok_and(|target| target == Path::new("..").join(format!("{hook}{BEFORE}")))
}

/// Whether the hook at `newer` stands for the one at `older`: the same bytes, or written by the same manager.
fn is_superseded(older: &Path, newer: &Path) -> bool {
    let (Some(older), Some(newer)) = (hook_bytes(older), hook_bytes(newer)) else { return false };
    older == newer || Manager::of_hook(&older).is_some_and(|manager| Manager::of_hook(&newer) == Some(manager))
}

/// Plans ours out of the directory that was surveyed. What somebody changed stays, and is reported.
pub(super) fn take_out(
    plan: &mut Plan,
    manifest: Option<&Manifest>,
    hooks: &[HookSurvey],
    program: &Path,
) -> Result<()> {
    for survey in hooks {
        take_one_out(plan, manifest, survey, program)?;
        let link = named_directory(&survey.path).join(survey.hook.as_str());
        if look(&link)?.is_some() && is_our_link(&link, survey.hook) {
            plan.changes.push(Change::Remove(link));
        }
    }
    // Also where no link is in it: an install that was killed may not have come that far.
    if let Some(directory) = hooks.first().map(|survey| named_directory(&survey.path))
        && look(&directory)?.is_some_and(|meta| meta.is_dir())
    {
        plan.changes.push(Change::RemoveDirectory(directory));
    }
    Ok(())
}

fn take_one_out(plan: &mut Plan, manifest: Option<&Manifest>, survey: &HookSurvey, program: &Path) -> Result<()> {
    let (hook, path) = (survey.hook, &survey.path);
    let before = beside(path, BEFORE);
    let chained = survey.chained.is_some();
    match &survey.standing {
        Standing::Shim(_) | Standing::Missing if chained => {
            plan.changes.push(Change::Rename { from: before, to: path.clone() });
            plan.report.add(Done::Restored, path, None);
        }
        Standing::Shim(_) if manifest.is_some_and(|manifest| manifest.from_template.contains(&hook)) => {
            let new = shim::render(program, hook, Reach::Template);
            plan.changes.push(Change::Write { path: path.clone(), old: Some(read(path)?), new, mode: 0o755 });
            plan.report.add(Done::Restored, path, Some("as the template had it"));
        }
        Standing::Shim(_) => {
            plan.changes.push(Change::Remove(path.clone()));
            plan.report.add(Done::Removed, path, None);
        }
        Standing::EditedShim => plan.report.add(Done::Kept, path, Some("it was edited since it was installed")),
        Standing::Missing | Standing::NoFile => {}
        Standing::Foreign(foreign) => {
            match foreign.block {
                Some(OwnBlock { is_intact: false, .. }) => {
                    plan.report.add(Done::Kept, path, Some("our lines in it were edited since they were installed"));
                }
                Some(_) => {
                    let old = read(path)?;
                    let new = block::find(&old).map_or_else(|| old.clone(), |found| block::without(&old, &found));
                    plan.changes.push(Change::Write { path: path.clone(), old: Some(old), new, mode: mode(path)? });
                    plan.report.add(Done::Restored, path, None);
                }
                None if foreign.calls_us => {
                    plan.report.add(
                        Done::Kept,
                        path,
                        Some("a line in it calls ours: it was added by hand, take it out"),
                    );
                }
                None => {}
            }
            take_moved_out(plan, survey, chained)?;
        }
    }
    Ok(())
}

/// Our shim under a manager's name for it gives that name to the hook it was in front of.
fn take_moved_out(plan: &mut Plan, survey: &HookSurvey, mut chained: bool) -> Result<()> {
    let before = beside(&survey.path, BEFORE);
    let is_stale = chained && is_superseded(&before, &survey.path);
    for moved in &survey.moved {
        if shim::kind(&read(&moved.path)?) == shim::Kind::Edited {
            plan.report.add(Done::Kept, &moved.path, Some("it was edited since it was installed"));
        } else if chained && !is_stale {
            plan.changes.push(Change::Rename { from: before.clone(), to: moved.path.clone() });
            plan.report.add(Done::Restored, &moved.path, None);
            chained = false;
        } else {
            plan.changes.push(Change::Remove(moved.path.clone()));
            plan.report.add(Done::Removed, &moved.path, None);
        }
    }
    if chained && is_stale {
        plan.changes.push(Change::Remove(before));
    } else if chained {
        let note = format!("it belongs to somebody else; the hook from before stays {}{BEFORE}", survey.hook);
        plan.report.add(Done::Kept, &survey.path, Some(&note));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    Ok(files::read(path, FILE_BYTES_MAX)?.unwrap_or_default())
}

fn mode(path: &Path) -> Result<u32> {
    Ok(look(path)?.map_or(0o755, |meta| meta.permissions().mode() & 0o7777))
}
