//! Setting a repository up, and taking everything back.
//!
//! Both begin with one reading of how things stand ([`survey`]), plan every change as a value ([`change`]), and refuse
//! before anything is changed; what fails half-way is undone. Hooks of others are kept and go on running. What was made
//! is written down in a manifest, so that only that is removed. Nothing is printed here: the caller gets what was done,
//! or what would be.

pub mod accept;
pub mod block;
pub mod change;
pub mod configured;
pub mod global;
mod hooks;
pub mod managers;
mod manifest;
mod script;
pub mod shim;
pub mod survey;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use self::change::Change;
use self::manifest::Manifest;
use self::shim::Reach;
use self::survey::{Place, Source, Standing, Survey, look};
use crate::error::{Context as _, Error, Result};
use crate::event::Hook;
use crate::files;
use crate::git::{Repository, shown, workspace};
use crate::ids::Digest;
use crate::process::Environment;
use crate::store::layout::{DIRECTORY, Layout};

/// The table that `install` writes where there is none.
pub const STARTER_TABLE: &[u8] = include_bytes!("../../triggers.yaml");

/// The table's name, at the top of the main worktree.
pub const TABLE: &str = "triggers.yaml";

/// What a hook that was there before is called, behind its own name.
pub const BEFORE: &str = ".before-orchestrator";

/// The largest file that is looked into.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What is installed, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The program that the hooks call.
    pub program: &'a Path,
    /// The table to write where there is none.
    pub starter: &'a [u8],
    /// Use git's hooks from configuration, wherever it takes hook files from.
    pub config_hooks: bool,
}

/// What was done with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// It was not there and is now.
    Created,
    /// It is as it was.
    Kept,
    /// A hook that was there now runs before ours, under another name.
    Chained,
    /// It was there, and holds lines of ours now.
    Configured,
    /// It was ours and is the newer one now.
    Updated,
    /// It was ours and is gone.
    Removed,
    /// The hook that was there before has its name back.
    Restored,
}

/// One thing and what was done with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Action {
    /// What.
    pub done: Done,
    /// With which file or directory.
    pub path: PathBuf,
    /// Why, where it is not plain.
    pub note: Option<String>,
}

/// What was done, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One for each thing.
    pub actions: Vec<Action>,
}

impl Report {
    fn add(&mut self, done: Done, path: &Path, note: Option<&str>) {
        self.actions.push(Action { done, path: path.to_path_buf(), note: note.map(str::to_owned) });
    }

    /// Whether anything is different now.
    pub fn changed(&self) -> bool {
        self.actions.iter().any(|action| action.done != Done::Kept)
    }
}

/// What is to be done: the changes to the disk, and what they come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// One line for each thing.
    pub report: Report,
}

/// Where everything of one repository lies.
struct Places {
    table: PathBuf,
    layout: Layout,
    manifest: PathBuf,
}

impl Places {
    fn of(repository: &Repository) -> Self {
        let home = repository.home();
        let layout = Layout::new(&home);
        Self { table: home.join(TABLE), manifest: layout.state().join("install.json"), layout }
    }

    /// Refuses a link or a file where our directories are to be: what is written there would land somewhere else.
    fn check_own_directories(&self) -> Result<()> {
        for path in [self.layout.root().to_path_buf(), self.layout.state(), self.layout.spool()] {
            if look(&path)?.is_some_and(|meta| !meta.is_dir()) {
                return Err(
                    Error::refused(format!("{} is not a directory", shown(&path))).hint("move it away and try again")
                );
            }
        }
        Ok(())
    }
}

/// Fails if the record of what `install` made does not read: `install` and `uninstall` would then fail too.
pub fn check_manifest(repository: &Repository) -> Result<()> {
    Manifest::read(&Places::of(repository).manifest).map(drop)
}

/// What an earlier one that was killed left half written.
fn left_behind(places: &Places, survey: &Survey) -> Result<Vec<Change>> {
    let state = places.layout.state();
    let home = places.table.parent();
    let source = &survey.source;
    let directories = [source.directory.as_path(), &source.standard, &state];
    change::left_behind(directories.into_iter().chain(home))
}

/// How ours come to be called in one repository.
enum Way {
    /// By files in the directory that git looks into.
    Directory,
    /// From the configuration.
    Configured,
}

/// Sets the repository up: the hooks, the table (where there is none) and `.orchestrator`. Doing it again changes
/// nothing, but for what is older than this program, calls it at another path, or was moved aside.
pub fn install(repository: &Repository, request: &Request<'_>, environment: &Environment) -> Result<Report> {
    let _alone = alone(repository)?;
    let plan = plan_install(repository, request, environment)?;
    change::apply(&plan.changes)?;
    Ok(plan.report)
}

/// Waits until no other install or uninstall of this repository is at work, and keeps them waiting until it is dropped:
/// two at once would plan from what the other is changing. The lock is on the git directory itself, so it leaves nothing
/// behind, and ends with the process.
fn alone(repository: &Repository) -> Result<fs::File> {
    let directory = repository.common_directory();
    let file = fs::File::open(directory).context(|| format!("cannot open {}", shown(directory)))?;
    match file.lock() {
        // Where there are no locks, two at once are as before.
        Err(error) if error.kind() != io::ErrorKind::Unsupported => {
            Err(Error::failed(format!("cannot lock {}", shown(directory))).because(error))
        }
        _ => Ok(file),
    }
}

/// What [`install`] would do.
pub fn plan_install(repository: &Repository, request: &Request<'_>, environment: &Environment) -> Result<Plan> {
    if !request.program.is_absolute() {
        return Err(Error::failed(format!("the path of the program, {}, is not absolute", shown(request.program))));
    }
    let places = Places::of(repository);
    places.check_own_directories()?;
    let survey = survey::survey(repository, request.program, environment)?;
    let way = way(&survey, request)?;
    let earlier = Manifest::read(&places.manifest)?;
    let mut manifest = earlier.clone().unwrap_or_else(Manifest::empty);

    let mut hooks = Plan::default();
    match way {
        Way::Directory => {
            let directory = &survey.source.directory;
            if look(directory)?.is_none() {
                hooks.changes.push(Change::MakeDirectory(directory.clone()));
                manifest.made_hooks_directory = true;
            }
            take_bypassed_out(&mut hooks, Some(&manifest), &survey)?;
            configuration(&mut hooks, repository, None)?;
            hooks::put_in(&mut hooks, &mut manifest, &survey.hooks, request.program, Reach::Repository)?;
        }
        Way::Configured => {
            configuration(&mut hooks, repository, Some(request.program))?;
            take_bypassed_out(&mut hooks, Some(&manifest), &survey)?;
            hooks::take_out(&mut hooks, Some(&manifest), &survey.hooks, request.program)?;
            // What others have there is none of our business on this way.
            hooks.report.actions.retain(|action| action.done != Done::Kept || action.path.ends_with("config"));
        }
    }

    let mut plan = Plan { changes: left_behind(&places, &survey)?, ..Plan::default() };
    let new = look(places.layout.root())?.is_none();
    // Also where it is there: something in it may be missing.
    plan.changes.push(Change::OwnDirectory(places.layout.clone()));
    plan.report.add(if new { Done::Created } else { Done::Kept }, places.layout.root(), None);
    let has_table = look(&places.table)?.is_some();
    if !has_table {
        manifest.table = Some(Digest::of(request.starter));
    }
    // Before anything of it is made: what is not written down would not be taken back.
    if earlier.as_ref() != Some(&manifest) {
        let old = files::read(&places.manifest, FILE_BYTES_MAX)?;
        plan.changes.push(Change::Write { path: places.manifest.clone(), old, new: manifest.bytes()?, mode: 0o600 });
    }
    if has_table {
        plan.report.add(Done::Kept, &places.table, None);
    } else {
        let new = request.starter.to_vec();
        plan.changes.push(Change::Write { path: places.table.clone(), old: None, new, mode: 0o644 });
        plan.report.add(Done::Created, &places.table, None);
    }
    plan.changes.append(&mut hooks.changes);
    plan.report.actions.append(&mut hooks.report.actions);
    Ok(plan)
}

/// Chooses how ours come to be called, or refuses with the lines to add by hand.
fn way(survey: &Survey, request: &Request<'_>) -> Result<Way> {
    let (major, minor) = configured::SINCE;
    let knows_configured = survey.git.is_at_least(major, minor);
    if request.config_hooks && !knows_configured {
        return Err(Error::refused(format!(
            "git {} does not run hooks from its configuration; {major}.{minor} is the first that does",
            survey.git.version
        ))
        .hint("leave out --config-hooks, or update git"));
    }
    let is_configured = survey.hooks.iter().any(|hook| hook.configured.is_some());
    let source = &survey.source;
    // A tool that ignores its own directory writes it anew whenever it likes; the configuration stays.
    let is_lasting = matches!(source.place, Place::Standard | Place::GitDirectory);
    if knows_configured && (request.config_hooks || is_configured || !is_lasting) {
        return Ok(Way::Configured);
    }
    let by_hand =
        survey.hooks.iter().all(|hook| matches!(&hook.standing, Standing::Foreign(f) if f.calls_us && f.is_executable));
    if source.place.is_ours_to_write() || by_hand {
        return Ok(Way::Directory);
    }
    Err(refusal(survey, request.program))
}

/// Why nothing is put where git looks, and what a person can add there.
fn refusal(survey: &Survey, program: &Path) -> Error {
    let source = &survey.source;
    let whose = match source.place {
        Place::Tracked => "which is tracked: it belongs to everybody who works on this repository",
        Place::Untracked => "which is a person's own directory in the worktree",
        Place::Missing => "which does not exist: git runs no hook at all",
        Place::NotADirectory => "which is no directory: git runs no hook at all",
        Place::Standard | Place::GitDirectory | Place::Ignored | Place::Outside => {
            "which is outside of this repository"
        }
    };
    let directory = shown(&source.directory);
    let sentence = match &source.setting {
        Some(setting) => {
            let file = setting.file.as_ref().map_or_else(String::new, |file| format!(" in {}", shown(file)));
            format!("core.hooksPath is set ({}{file}): git takes its hooks from {directory}, {whose}", setting.scope)
        }
        None => format!("git takes its hooks from {directory}, {whose}"),
    };
    let mut error = Error::refused(sentence).hint(
        "put each of these lines below the first line of its hook (a new hook begins with `#!/bin/sh` and is made \
         executable), or unset core.hooksPath and install again",
    );
    // Husky's own files are not for people: theirs lie beside them.
    let is_husky = source.directory.ends_with(".husky/_");
    let place = if is_husky { source.directory.parent() } else { None }.unwrap_or(&source.directory);
    for hook in survey.hooks.iter().filter(|hook| !matches!(&hook.standing, Standing::Foreign(f) if f.calls_us)) {
        let line = block::line_by_hand(program, hook.hook);
        let path = place.join(hook.hook.as_str());
        error = error.hint(format!("{}: {}", shown(&path), String::from_utf8_lossy(&line)));
    }
    let (major, minor) = configured::SINCE;
    error.hint(format!(
        "git {major}.{minor} and later need none of this: they run hooks from the configuration (this is {})",
        survey.git.version
    ))
}

/// Ours out of the standard directory, where git looks into another one.
fn take_bypassed_out(plan: &mut Plan, manifest: Option<&Manifest>, survey: &Survey) -> Result<()> {
    if survey.hooks.iter().all(|hook| hook.bypassed.is_none()) {
        return Ok(());
    }
    let left = survey::hooks_in(&Source::plain(&survey.source.standard), &survey.own_program)?;
    hooks::take_out(plan, manifest, &left, &survey.own_program)
}

/// Ours in the repository's configuration: for this program, or none of it.
fn configuration(plan: &mut Plan, repository: &Repository, program: Option<&Path>) -> Result<()> {
    let path = repository.common_directory().join("config");
    // Git follows a linked configuration file too.
    let path = path.canonicalize().unwrap_or(path);
    let lines = program.map(|program| configured::lines(program, &Hook::INSTALLED));
    let note = "hooks from the configuration; a git before 2.54, as some graphical clients bring, does not run them";
    marked_lines(plan, &path, lines.as_deref(), note)
}

/// Our marked lines in a configuration file: these, or none.
fn marked_lines(plan: &mut Plan, path: &Path, lines: Option<&[u8]>, note: &str) -> Result<()> {
    let old = files::read(path, FILE_BYTES_MAX)?;
    let text = old.clone().unwrap_or_default();
    let found = block::find(&text);
    if found.as_ref().is_some_and(|found| !found.is_intact) {
        if lines.is_none() {
            plan.report.add(Done::Kept, path, Some("our lines in it were edited since they were installed"));
            return Ok(());
        }
        return Err(Error::refused(format!("our lines in {} were edited since they were installed", shown(path)))
            .hint(
                "take them out, from `# >>> git-orchestrator >>>` to `# <<< git-orchestrator <<<`, and install again",
            ));
    }
    let rest = found.as_ref().map_or_else(|| text.clone(), |found| block::without(&text, found));
    let done = match (&found, lines) {
        (None, None) => return Ok(()),
        (Some(found), Some(lines)) if found.body == lines => {
            plan.report.add(Done::Kept, path, Some(note));
            return Ok(());
        }
        (None, Some(_)) => Done::Configured,
        (Some(_), Some(_)) => Done::Updated,
        (Some(_), None) => Done::Restored,
    };
    let new = lines.map_or_else(|| rest.clone(), |lines| block::in_configuration(&rest, lines));
    plan.changes.push(Change::Configure { path: path.to_path_buf(), old, new });
    plan.report.add(done, path, lines.map(|_| note));
    Ok(())
}

/// Takes back what [`install`] did. What somebody changed since is kept and reported. Artifacts and runs are kept, with
/// the directory that holds them, unless `purge` is set.
pub fn uninstall(repository: &Repository, program: &Path, purge: bool, environment: &Environment) -> Result<Report> {
    let _alone = alone(repository)?;
    let plan = plan_uninstall(repository, program, environment)?;
    change::apply(&plan.changes)?;
    let mut report = plan.report;
    let made = report.actions.iter().position(|action| action.note.as_deref() == Some(IF_EMPTY));
    if let Some(made) = made {
        let path = report.actions.remove(made).path;
        if look(&path)?.is_none() {
            report.add(Done::Removed, &path, None);
        }
    }
    workspace::remove_all(repository, environment)?;
    remove_own_directory(&Places::of(repository), purge, &mut report)?;
    Ok(report)
}

/// Of a directory that goes only if nothing else is in it by then.
const IF_EMPTY: &str = "if it is empty";

/// What [`uninstall`] would do, but for `.orchestrator` and the checkouts of runs.
pub fn plan_uninstall(repository: &Repository, program: &Path, environment: &Environment) -> Result<Plan> {
    let places = Places::of(repository);
    places.check_own_directories()?;
    let manifest = Manifest::read(&places.manifest)?;
    let survey = survey::survey(repository, program, environment)?;
    let mut plan = Plan { changes: left_behind(&places, &survey)?, ..Plan::default() };
    hooks::take_out(&mut plan, manifest.as_ref(), &survey.hooks, program)?;
    take_bypassed_out(&mut plan, manifest.as_ref(), &survey)?;
    configuration(&mut plan, repository, None)?;
    if manifest.as_ref().is_some_and(|manifest| manifest.made_hooks_directory) {
        plan.changes.push(Change::RemoveDirectory(survey.source.standard.clone()));
        plan.report.add(Done::Removed, &survey.source.standard, Some(IF_EMPTY));
    }
    if let Some(digest) = manifest.as_ref().and_then(|manifest| manifest.table.as_ref()) {
        match files::read(&places.table, FILE_BYTES_MAX) {
            Ok(None) => {}
            _ if is_committed(repository) => plan.report.add(Done::Kept, &places.table, Some("it is committed")),
            Ok(Some(bytes)) if Digest::of(&bytes) == *digest => {
                plan.changes.push(Change::Remove(places.table.clone()));
                plan.report.add(Done::Removed, &places.table, None);
            }
            _ => plan.report.add(Done::Kept, &places.table, Some("it was changed since it was installed")),
        }
    }
    Ok(plan)
}

fn remove_own_directory(places: &Places, purge: bool, report: &mut Report) -> Result<()> {
    let root = places.layout.root();
    if look(root)?.is_none() {
        return Ok(());
    }
    let holds = |name: &str| fs::read_dir(root.join(name)).is_ok_and(|mut entries| entries.next().is_some());
    if !purge && (holds("runs") || holds("artifacts")) {
        match fs::remove_file(&places.manifest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::failed(format!("cannot remove {}", shown(&places.manifest))).because(error));
            }
            _ => {}
        }
        let note = format!("it holds runs and artifacts; `git orchestrator uninstall --purge` removes {DIRECTORY} too");
        report.add(Done::Kept, root, Some(&note));
        return Ok(());
    }
    for own in OWN_ENTRIES {
        let path = root.join(own);
        let removed =
            if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::failed(format!("cannot remove {}", shown(&path))).because(error));
            }
            _ => {}
        }
    }
    // What a process that was killed was writing there.
    for left in change::left_behind([root])? {
        change::apply(&[left])?;
    }
    if fs::remove_dir(root).is_ok() {
        report.add(Done::Removed, root, None);
    } else {
        report.add(Done::Kept, root, Some("it holds files that are not ours"));
    }
    Ok(())
}

/// What we make below `.orchestrator`.
const OWN_ENTRIES: &[&str] = &["artifacts", "runs", "state", "INBOX.md", ".gitignore"];

/// Whether the table is part of the history: then it is not ours to remove any more.
fn is_committed(repository: &Repository) -> bool {
    let head = repository.head().ok().and_then(|head| head.commit);
    head.is_some_and(|head| {
        repository.blob_at(&head, TABLE.as_bytes(), FILE_BYTES_MAX).is_ok_and(|blob| blob.is_some())
    })
}
