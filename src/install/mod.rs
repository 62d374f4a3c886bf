//! Setting a repository up, and taking everything back.
//!
//! Both first look at everything and refuse before anything is changed; what fails half-way is undone. Hooks of others
//! are kept and go on running. What was made is written down in a manifest, so that only that is removed. Nothing is
//! printed here: the caller gets a list of what was done.

pub mod block;
pub mod configured;
pub mod managers;
pub mod shim;
mod steps;
pub mod survey;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::shim::Reach;
use self::steps::Steps;
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

/// The version of the manifest's form.
const SCHEMA: u32 = 1;

/// The largest file that is looked into.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

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

/// What `install` made, in `.orchestrator/state/install.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    schema: u32,
    /// The directory of the hooks was made.
    made_hooks_directory: bool,
    /// The table was made, with these bytes.
    table: Option<Digest>,
}

/// Where everything lies.
struct Places {
    hooks: PathBuf,
    table: PathBuf,
    layout: Layout,
    manifest: PathBuf,
}

impl Places {
    fn of(repository: &Repository) -> Self {
        let home = repository.home();
        let layout = Layout::new(&home);
        Self {
            hooks: repository.common_directory().join("hooks"),
            table: home.join(TABLE),
            manifest: layout.state().join("install.json"),
            layout,
        }
    }

    fn hook(&self, hook: Hook) -> PathBuf {
        self.hooks.join(hook.as_str())
    }

    fn before(&self, hook: Hook) -> PathBuf {
        self.hooks.join(format!("{hook}{BEFORE}"))
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

    fn manifest(&self) -> Result<Option<Manifest>> {
        let Some(bytes) = files::read(&self.manifest, FILE_BYTES_MAX)? else { return Ok(None) };
        let manifest: Manifest =
            serde_json::from_slice(&bytes).context(|| format!("{} does not read", shown(&self.manifest)))?;
        if manifest.schema > SCHEMA {
            return Err(Error::failed(format!("{} was written by a newer version", shown(&self.manifest)))
                .hint("update git-orchestrator"));
        }
        Ok(Some(manifest))
    }
}

/// What stands at a path, links not followed.
fn look(path: &Path) -> Result<Option<fs::Metadata>> {
    match path.symlink_metadata() {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::failed(format!("cannot look at {}", shown(path))).because(error)),
    }
}

/// What stands in the place of a hook.
enum Standing {
    Nothing,
    Shim { bytes: Vec<u8> },
    Edited,
    Foreign,
}

fn standing(path: &Path) -> Result<Standing> {
    let Some(meta) = look(path)? else { return Ok(Standing::Nothing) };
    if meta.is_dir() {
        return Err(Error::refused(format!("{} is a directory", shown(path))).hint("move it away and try again"));
    }
    // A link, or something too large to be a script, is nothing we wrote.
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return Ok(Standing::Foreign);
    }
    let bytes = files::read(path, FILE_BYTES_MAX)?.unwrap_or_default();
    Ok(match shim::kind(&bytes) {
        shim::Kind::Ours { .. } => Standing::Shim { bytes },
        shim::Kind::Edited => Standing::Edited,
        shim::Kind::Foreign => Standing::Foreign,
    })
}

/// Sets the repository up: the hooks, the table (`starter`, where there is none) and `.orchestrator`. Doing it again
/// changes nothing, but for what is older than this program or calls it at another path.
pub fn install(
    repository: &Repository,
    own_program: &Path,
    starter: &[u8],
    environment: &Environment,
) -> Result<Report> {
    if !own_program.is_absolute() {
        return Err(Error::failed(format!("the path of the program, {}, is not absolute", shown(own_program))));
    }
    let places = Places::of(repository);
    places.check_own_directories()?;
    check_hooks_directory(repository, &places, own_program, environment)?;
    let plan = plan_hooks(&places, own_program)?;
    let earlier = places.manifest()?;

    let mut steps = Steps::default();
    let mut report = Report::default();
    let result = carry_out(&places, &plan, own_program, starter, earlier.as_ref(), &mut steps, &mut report);
    if let Err(error) = result {
        return Err(steps.undo(error));
    }
    Ok(report)
}

/// Refuses where git would not look into the directory that hooks are put into.
fn check_hooks_directory(
    repository: &Repository,
    places: &Places,
    own_program: &Path,
    environment: &Environment,
) -> Result<()> {
    let elsewhere = match repository.path_setting("core.hooksPath", environment)? {
        Some(path) => {
            let path = repository.place().join(path);
            let same = path.canonicalize().is_ok_and(|path| places.hooks.canonicalize().is_ok_and(|own| own == path));
            (!same).then(|| (format!("core.hooksPath is set: git takes its hooks from {}", shown(&path)), path))
        }
        None => match look(&places.hooks)? {
            Some(meta) if !meta.is_dir() => {
                Some((format!("{} is not a directory of this repository", shown(&places.hooks)), places.hooks.clone()))
            }
            _ => None,
        },
    };
    let Some((sentence, directory)) = elsewhere else { return Ok(()) };
    let mut error = Error::refused(sentence)
        .hint("add one line to each of these hooks, as their first command, or unset core.hooksPath and install again");
    let program = shlex::bytes::try_quote(own_program.as_os_str().as_encoded_bytes())
        .context(|| "the path of the program cannot be written in a script")?;
    let program = String::from_utf8_lossy(&program);
    for hook in Hook::INSTALLED {
        // What a gate refuses must not be pushed; no other hook may stop anything.
        let end = if hook == Hook::PrePush { "|| exit" } else { "|| :" };
        error = error.hint(format!("{}: {program} hook {hook} \"$@\" {end}", shown(&directory.join(hook.as_str()))));
    }
    Err(error)
}

/// What is to be done with each hook; refuses before anything is done.
fn plan_hooks(places: &Places, own_program: &Path) -> Result<Vec<(Hook, Done)>> {
    let mut plan = Vec::new();
    for hook in Hook::INSTALLED {
        let (path, before) = (places.hook(hook), places.before(hook));
        let done = match standing(&path)? {
            Standing::Nothing => Done::Created,
            Standing::Shim { bytes }
                if bytes == shim::render(own_program, hook, Reach::Repository)
                    && crate::process::is_executable(&path) =>
            {
                Done::Kept
            }
            Standing::Shim { .. } => Done::Updated,
            Standing::Edited => {
                return Err(Error::refused(format!("{} was edited since it was installed", shown(&path)))
                    .hint(format!("keep what you added in {}, remove the hook and install again", shown(&before))));
            }
            Standing::Foreign if look(&before)?.is_some() => {
                return Err(Error::refused(format!(
                    "{} belongs to somebody else, and so does {}: there is no name left for it",
                    shown(&path),
                    shown(&before)
                ))
                .hint("join the two into one hook, or remove the one that is not needed, and install again"));
            }
            Standing::Foreign => Done::Chained,
        };
        plan.push((hook, done));
    }
    Ok(plan)
}

fn carry_out(
    places: &Places,
    plan: &[(Hook, Done)],
    own_program: &Path,
    starter: &[u8],
    earlier: Option<&Manifest>,
    steps: &mut Steps,
    report: &mut Report,
) -> Result<()> {
    let mut manifest =
        earlier.cloned().unwrap_or(Manifest { schema: SCHEMA, made_hooks_directory: false, table: None });

    let root = places.layout.root();
    let new = look(root)?.is_none();
    if new {
        steps.on_undo(root, |path| fs::remove_dir_all(path));
    }
    places.layout.create()?;
    report.add(if new { Done::Created } else { Done::Kept }, root, None);

    if look(&places.table)?.is_none() {
        steps.create(&places.table, starter, 0o644)?;
        manifest.table = Some(Digest::of(starter));
        report.add(Done::Created, &places.table, None);
    } else {
        report.add(Done::Kept, &places.table, None);
    }

    if look(&places.hooks)?.is_none() {
        steps.create_directory(&places.hooks)?;
        manifest.made_hooks_directory = true;
    }
    // Before the first hook is touched: what is not written down would not be taken back.
    if earlier != Some(&manifest) {
        let bytes = serde_json::to_vec_pretty(&manifest).context(|| "cannot write the manifest")?;
        steps.replace(&places.manifest, &bytes, 0o600)?;
    }
    for (hook, done) in plan {
        let (path, before) = (places.hook(*hook), places.before(*hook));
        let shim = &shim::render(own_program, *hook, Reach::Repository);
        let mut note = None;
        match done {
            Done::Created => {
                steps.create(&path, shim, 0o755)?;
                note = look(&before)?.map(|_| format!("runs {hook}{BEFORE} first"));
            }
            Done::Updated => steps.replace(&path, shim, 0o755)?,
            Done::Chained => {
                steps.put_in_front(&path, &before, shim)?;
                note = Some(format!("the hook that was there runs first, as {hook}{BEFORE}"));
            }
            Done::Kept | Done::Removed | Done::Restored => {}
        }
        report.add(*done, &path, note.as_deref());
    }
    Ok(())
}

/// Takes back what [`install`] did. What somebody changed since is kept and reported. Artifacts and runs are kept, with
/// the directory that holds them, unless `purge` is set.
pub fn uninstall(repository: &Repository, purge: bool, environment: &Environment) -> Result<Report> {
    let places = Places::of(repository);
    places.check_own_directories()?;
    let manifest = places.manifest()?;
    let mut report = Report::default();

    let mut standings = Vec::new();
    for hook in Hook::INSTALLED {
        standings.push((hook, standing(&places.hook(hook))?));
    }
    for (hook, standing) in standings {
        remove_hook(&places, hook, &standing, &mut report)?;
    }
    if manifest.as_ref().is_some_and(|manifest| manifest.made_hooks_directory) {
        // Fails, rightly, if somebody put a hook there.
        if fs::remove_dir(&places.hooks).is_ok() {
            report.add(Done::Removed, &places.hooks, None);
        }
    }
    if let Some(digest) = manifest.as_ref().and_then(|manifest| manifest.table.as_ref()) {
        match files::read(&places.table, FILE_BYTES_MAX) {
            Ok(None) => {}
            _ if is_committed(repository) => report.add(Done::Kept, &places.table, Some("it is committed")),
            Ok(Some(bytes)) if Digest::of(&bytes) == *digest => {
                fs::remove_file(&places.table).context(|| format!("cannot remove {}", shown(&places.table)))?;
                report.add(Done::Removed, &places.table, None);
            }
            _ => report.add(Done::Kept, &places.table, Some("it was changed since it was installed")),
        }
    }
    workspace::remove_all(repository, environment)?;
    remove_own_directory(&places, purge, &mut report)?;
    Ok(report)
}

fn remove_hook(places: &Places, hook: Hook, standing: &Standing, report: &mut Report) -> Result<()> {
    let (path, before) = (places.hook(hook), places.before(hook));
    let chained = look(&before)?.is_some();
    match standing {
        Standing::Shim { .. } | Standing::Nothing if chained => {
            fs::rename(&before, &path).context(|| format!("cannot give {} its name back", shown(&before)))?;
            report.add(Done::Restored, &path, None);
        }
        Standing::Shim { .. } => {
            fs::remove_file(&path).context(|| format!("cannot remove {}", shown(&path)))?;
            report.add(Done::Removed, &path, None);
        }
        Standing::Edited => report.add(Done::Kept, &path, Some("it was edited since it was installed")),
        Standing::Foreign if chained => {
            let note = format!("it belongs to somebody else; the hook from before stays {hook}{BEFORE}");
            report.add(Done::Kept, &path, Some(&note));
        }
        Standing::Foreign | Standing::Nothing => {}
    }
    Ok(())
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
