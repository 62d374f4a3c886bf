//! The hooks: whether git finds ours and calls the right program, and who else has hooks here.

use std::path::{Path, PathBuf};

use super::{Finding, Level, Mend, Place, Section, count, quoted};
use crate::dispatch;
use crate::git::{Repository, shown};
use crate::install::survey::{self, HookSurvey, Place as Whose, Standing, State, Survey};
use crate::install::{self, Done, configured};
use crate::process;
use crate::store::layout::Layout;

const SECTION: Section = Section::Hooks;

const INSTALL: &str = "git orchestrator install";

/// What was found, and whether any hook of ours is here, in whatever state.
pub(super) fn look(place: &Place<'_>, repository: &Repository, layout: &Layout) -> (Vec<Finding>, bool) {
    let survey = match survey::survey(repository, place.own_program, place.environment) {
        Ok(survey) => survey,
        Err(error) => {
            let finding = Finding::of_error(SECTION, Level::Problem, "hooks-unreadable", &error);
            return (vec![finding.or_action("look at the hooks: ls -l \"$(git rev-parse --git-path hooks)\"")], true);
        }
    };
    let states: Vec<(&HookSurvey, State)> = survey.hooks.iter().map(|hook| (hook, hook.state())).collect();
    let is_ours = |state: &State| !matches!(state, State::Missing | State::Foreign);
    let has_hooks = states.iter().any(|(_, state)| is_ours(state));
    // `uninstall` takes the manifest along, and leaves runs and artifacts.
    if !has_hooks && !layout.state().join("install.json").exists() {
        let finding = Finding::new(SECTION, Level::Warning, "not-installed", "git-orchestrator is not installed here");
        return (vec![finding.command(INSTALL)], false);
    }
    let can_mend = can_mend(place, repository, &states);
    let mut findings = Vec::new();
    for group in groups(&states) {
        findings.extend(finding(&survey, &group, can_mend));
    }
    if survey.source.place == Whose::Missing || survey.source.place == Whose::NotADirectory {
        findings.extend(nowhere(&survey, &findings));
    }
    if let Err(error) = install::check_manifest(repository) {
        let finding = Finding::of_error(SECTION, Level::Problem, "manifest-unreadable", &error);
        let path = layout.state().join("install.json");
        findings.push(finding.or_action(format!("look at what it is: ls -l {}", quoted(&path))));
    }
    if findings.is_empty() {
        let others: Vec<&str> =
            survey.managers.iter().filter(|found| found.installed).map(|found| found.manager.as_str()).collect();
        let beside = if others.is_empty() { String::new() } else { format!(", beside {}", others.join(", ")) };
        let message = format!("{} call {}{beside}", count(states.len(), "hook"), shown(place.own_program));
        findings.push(Finding::new(SECTION, Level::Ok, "hooks-call", message));
    }
    (findings, true)
}

/// Whether `install` would only write what is ours, anew or again. A table, which starts agents, is for a person.
fn can_mend(place: &Place<'_>, repository: &Repository, states: &[(&HookSurvey, State)]) -> bool {
    let ours_alone = states.iter().all(|(hook, state)| match state {
        State::Current(_) | State::Missing | State::Older(_) | State::OtherProgram(_) | State::FromTemplate => true,
        State::NotExecutable => matches!(hook.standing, Standing::Shim(_)),
        State::Edited | State::Shadowed(_) | State::Bypassed(_) | State::Disabled | State::Broken | State::Foreign => {
            false
        }
    });
    let has_table = matches!(dispatch::table_bytes(repository), Ok(Some(_)));
    ours_alone
        && has_table
        && install::plan_install(repository, &super::install_request(place), place.environment).is_ok_and(|plan| {
            plan.report.actions.iter().all(|action| matches!(action.done, Done::Created | Done::Kept | Done::Updated))
        })
}

/// Hooks of which the same is to be said.
struct Group<'a> {
    hooks: Vec<&'a HookSurvey>,
    state: &'a State,
}

impl Group<'_> {
    fn names(&self) -> String {
        self.hooks.iter().map(|hook| hook.hook.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// `is` or `are`, as the names want it.
    fn are(&self) -> &'static str {
        if self.hooks.len() == 1 { "is" } else { "are" }
    }

    fn paths(&self, of: impl Fn(&HookSurvey) -> PathBuf) -> String {
        self.hooks.iter().map(|hook| quoted(&of(hook))).collect::<Vec<_>>().join(" ")
    }

    fn directory(&self) -> String {
        self.hooks.first().and_then(|hook| hook.path.parent()).map(shown).unwrap_or_default()
    }
}

fn groups<'a>(states: &'a [(&'a HookSurvey, State)]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (hook, state) in states {
        let like = |group: &&mut Group<'_>| match (group.state, state) {
            // Where each lies differs with its name only.
            (State::Shadowed(_), State::Shadowed(_)) | (State::Bypassed(_), State::Bypassed(_)) => true,
            (State::Foreign, State::Foreign) => {
                let is_none = |hook: &HookSurvey| hook.standing == Standing::NoFile;
                group.hooks.first().is_some_and(|first| is_none(first) == is_none(hook))
            }
            (known, state) => known == state,
        };
        match groups.iter_mut().find(like) {
            Some(group) => group.hooks.push(hook),
            None => groups.push(Group { hooks: vec![hook], state }),
        }
    }
    groups
}

fn finding(survey: &Survey, group: &Group<'_>, can_mend: bool) -> Option<Finding> {
    let (names, are) = (group.names(), group.are());
    let install = |level, code, message: String| {
        let finding = Finding::new(SECTION, level, code, message).command(INSTALL);
        if can_mend { finding.mends(Mend::Install) } else { finding }
    };
    let own = shown(&survey.own_program);
    Some(match group.state {
        State::Current(_) => return None,
        State::Missing => {
            let directory = group.directory();
            install(Level::Problem, "hook-missing", format!("{names} {are} missing in {directory}"))
        }
        State::Older(_) => install(Level::Warning, "hook-older", format!("{names} {are} of an older version")),
        State::FromTemplate => {
            let message = format!("{names} came with git's template, and {are} off until somebody installs here");
            Finding::new(SECTION, Level::Warning, "hook-from-template", message).command(INSTALL)
        }
        State::NotExecutable => {
            let message = format!("{names} {are} not executable: git passes over it in silence");
            let finding = Finding::new(SECTION, Level::Problem, "hook-not-executable", message)
                .command(format!("chmod +x {}", group.paths(|hook| hook.path.clone())));
            if can_mend { finding.mends(Mend::Install) } else { finding }
        }
        State::OtherProgram(Some(program)) if !process::is_executable(program) => {
            let program = shown(program);
            let message = format!("{names} {} {program}, which is no program any more", call(group));
            install(Level::Problem, "hook-program-missing", message)
        }
        State::OtherProgram(program) => {
            let program = program.as_deref().map_or_else(|| "a program that cannot be read from it".to_owned(), shown);
            let message = format!("{names} {} {program}; this is {own}", call(group));
            Finding::new(SECTION, Level::Note, "hook-other-program", message).command(INSTALL)
        }
        State::Edited => {
            let message =
                format!("{names} {are} ours and edited since: nobody knows whether events still come through");
            Finding::new(SECTION, Level::Warning, "hook-edited", message).action(format!(
                "keep what was added elsewhere, remove the file, then `{INSTALL}`: {}",
                group.paths(|hook| hook.path.clone())
            ))
        }
        State::Shadowed(_) => shadowed(group),
        State::Bypassed(_) => {
            let setting = setting(survey);
            let message =
                format!("{names} {are} in {}, where git does not look: {setting}", shown(&survey.source.standard));
            Finding::new(SECTION, Level::Problem, "hook-bypassed", message).command(INSTALL)
        }
        State::Disabled
            if group
                .hooks
                .iter()
                .all(|hook| hook.configured.is_some_and(|own| own.is_enabled && !own.is_known_to_git)) =>
        {
            let message = format!(
                "{names} {are} in git's configuration, from which git {} runs no hooks: that begins with {}.{}",
                survey.git.version,
                configured::SINCE.0,
                configured::SINCE.1
            );
            Finding::new(SECTION, Level::Problem, "hook-disabled", message).command(INSTALL)
        }
        State::Disabled => {
            let message = format!("{names} {are} switched off in git's configuration");
            let first = group.hooks.first().map_or("NAME", |hook| hook.hook.as_str());
            Finding::new(SECTION, Level::Problem, "hook-disabled", message).action(format!(
                "look at `git config --show-origin --get-regexp '^hook\\.git-orchestrator-{first}'`, or `{INSTALL}`"
            ))
        }
        State::Broken => {
            let message = format!("{names} {are} in git's configuration without a command: git fails with it");
            let sections = group
                .hooks
                .iter()
                .map(|hook| format!("git config --remove-section hook.git-orchestrator-{}", hook.hook));
            Finding::new(SECTION, Level::Problem, "hook-broken", message)
                .command(sections.collect::<Vec<_>>().join(" && "))
        }
        State::Foreign if group.hooks.iter().all(|hook| hook.standing == Standing::NoFile) => {
            let message = format!("{names} {are} no file: a directory, or another thing that git cannot run");
            Finding::new(SECTION, Level::Problem, "hook-foreign", message).action(format!(
                "look at what it is and move it away, then `{INSTALL}`: ls -ld {}",
                group.paths(|hook| hook.path.clone())
            ))
        }
        State::Foreign => {
            let whose = group.hooks.iter().find_map(|hook| match &hook.standing {
                Standing::Foreign(foreign) => foreign.manager,
                Standing::Missing | Standing::Shim(_) | Standing::EditedShim | Standing::NoFile => None,
            });
            let whose = whose.map_or_else(|| "somebody else".to_owned(), |manager| manager.to_string());
            let message = format!("{names} {are} of {whose} alone: ours is not called");
            Finding::new(SECTION, Level::Problem, "hook-foreign", message).command(INSTALL)
        }
    })
}

fn call(group: &Group<'_>) -> &'static str {
    if group.hooks.len() == 1 { "calls" } else { "call" }
}

/// Ours was moved aside by the hook that took its place.
fn shadowed(group: &Group<'_>) -> Finding {
    let names = group.names();
    let manager = group.hooks.iter().find_map(|hook| match &hook.standing {
        Standing::Foreign(foreign) => foreign.manager,
        Standing::Missing | Standing::Shim(_) | Standing::EditedShim | Standing::NoFile => None,
    });
    let who = manager.map_or_else(|| "another hook".to_owned(), |manager| manager.to_string());
    let moved = group.hooks.iter().filter_map(|hook| hook.moved.first()).map(|moved| shown(&moved.path));
    let message = format!(
        "{names}: {who} took the place and moved ours to {}, which nothing calls",
        moved.collect::<Vec<_>>().join(", ")
    );
    Finding::new(SECTION, Level::Problem, "hook-shadowed", message).command(INSTALL)
}

/// What sends git elsewhere.
fn setting(survey: &Survey) -> String {
    match &survey.source.setting {
        Some(setting) => {
            let value = crate::text::bytes_line(&setting.value);
            let file = setting.file.as_deref().map_or_else(|| setting.scope.clone(), shown);
            format!("core.hooksPath is `{value}` ({file})")
        }
        None => format!("it looks into {}", shown(&survey.source.directory)),
    }
}

/// Git looks where no hooks can be. Said once, unless a finding about a hook has said it.
fn nowhere(survey: &Survey, findings: &[Finding]) -> Option<Finding> {
    if findings.is_empty() || findings.iter().any(|finding| finding.code == "hook-bypassed") {
        return None;
    }
    let directory: &Path = &survey.source.directory;
    let message = format!("git looks for hooks in {}, which is no directory: {}", shown(directory), setting(survey));
    let finding = Finding::new(SECTION, Level::Problem, "hooks-path-missing", message);
    Some(finding.action("make that directory, or unset core.hooksPath"))
}
