//! How things stand: where git takes its hooks from, what lies there, and whether ours are called.
//!
//! One reading, for `install`, `uninstall`, their rehearsals and `doctor`. Nothing is changed and nothing is printed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::configured::{self, Configured};
use super::managers::{self, Found, Manager};
use super::script::{calls_us, husky_script, is_served_by_a_link, is_shell_script, looks_at_its_name};
use super::shim::{self, Reach};
use super::{BEFORE, FILE_BYTES_MAX, block};
use crate::error::{Error, Result};
use crate::event::Hook;
use crate::files;
use crate::git::{Program, Repository, Setting, shown};
use crate::process::{self, Environment};

/// The names that managers give a hook they find in their place, behind its own.
pub const MOVED: [&str; 2] = [".legacy", ".old"];

/// How things stand in one repository, seen from one worktree.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The git that would be used here. A graphical client may bring its own.
    pub git: Program,
    /// The program that ours have to call.
    pub own_program: PathBuf,
    /// Where git takes its hooks from.
    pub source: Source,
    /// One for each hook that `install` sets up, in that order.
    pub hooks: Vec<HookSurvey>,
    /// Every hook in the configuration, ours included. Git before 2.54 does not run them.
    pub configured: Vec<Configured>,
    /// The hook managers that are recognised.
    pub managers: Vec<Found>,
}

/// Where git takes its hooks from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The directory, for this worktree.
    pub directory: PathBuf,
    /// The directory that it would be without any setting: `hooks` in the common git directory.
    pub standard: PathBuf,
    /// `core.hooksPath`, where it is set: the value in force, with its scope and file. Relative values hold for each
    /// worktree by itself.
    pub setting: Option<Setting>,
    /// Whose that directory is.
    pub place: Place,
}

/// Whose a hooks directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The standard one of this repository. It may be missing: git makes no hooks directory where the template has none.
    Standard,
    /// Another one in the git directory.
    GitDirectory,
    /// In the worktree, ignored by git: written by a tool on this machine.
    Ignored,
    /// In the worktree, neither tracked nor ignored.
    Untracked,
    /// In the worktree and tracked: it belongs to everybody who works on the repository.
    Tracked,
    /// Outside of this repository.
    Outside,
    /// It does not exist: git runs no hook from it, and says nothing.
    Missing,
    /// It is no directory (`/dev/null`): git runs no hook from it, and says nothing.
    NotADirectory,
}

impl Place {
    /// Whether hooks may be put there without asking anybody.
    pub fn is_ours_to_write(self) -> bool {
        matches!(self, Self::Standard | Self::GitDirectory | Self::Ignored)
    }
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSurvey {
    /// Which.
    pub hook: Hook,
    /// Where git looks for it.
    pub path: PathBuf,
    /// What stands there.
    pub standing: Standing,
    /// The hook from before, where there is one: our shim runs it first.
    pub chained: Option<PathBuf>,
    /// Our shim under a name that a manager gave it.
    pub moved: Vec<Moved>,
    /// Our shim, or a hook of somebody else with our lines in it, in the standard directory while git looks into
    /// another.
    pub bypassed: Option<PathBuf>,
    /// Ours in the configuration.
    pub configured: Option<OwnConfigured>,
}

/// What stands in the place of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Missing,
    /// Our shim, as some version wrote it.
    Shim(OwnShim),
    /// Our shim, edited by somebody.
    EditedShim,
    /// A hook of somebody else.
    Foreign(Foreign),
    /// A directory, or something else that is no file.
    NoFile,
}

/// A shim of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnShim {
    /// The version it was written by.
    pub version: u32,
    /// The program it calls.
    pub program: Option<PathBuf>,
    /// Whether it came out of a template, and does nothing until somebody installs.
    pub reach: Reach,
    /// Whether it is byte for byte what would be written now.
    pub is_current: bool,
    /// Whether git may execute it.
    pub is_executable: bool,
}

/// A hook of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them may go together")]
pub struct Foreign {
    /// Whether git runs it.
    pub is_executable: bool,
    /// Whether it is a symbolic link.
    pub is_link: bool,
    /// Whose it is, if that is a known manager's.
    pub manager: Option<Manager>,
    /// Our lines in it.
    pub block: Option<OwnBlock>,
    /// Whether a shell of the Bourne family runs it, by its first line.
    pub is_shell_script: bool,
    /// Whether it looks at its own name, and so must keep it.
    pub looks_at_its_name: bool,
    /// Whether a link of its name in another directory is enough for that.
    pub is_served_by_a_link: bool,
    /// Whether a line that somebody put there calls ours.
    pub calls_us: bool,
}

/// Our lines in a hook of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnBlock {
    /// Whether they are as some version wrote them.
    pub is_intact: bool,
    /// Whether they are what would be written now.
    pub is_current: bool,
}

/// Our shim under another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where.
    pub path: PathBuf,
    /// Whether the hook that took its place calls it, with all that it needs.
    pub is_called: bool,
}

/// Ours in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any of them may go together")]
pub struct OwnConfigured {
    /// Whether it is what would be written now.
    pub is_current: bool,
    /// Whether git runs it: enabled, for this event, with a command.
    pub is_enabled: bool,
    /// Whether it names the event without a command: git then stops with exit code 128.
    pub lacks_command: bool,
    /// Whether this git knows hooks from configuration at all.
    pub is_known_to_git: bool,
}

/// What it comes to, for one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Ours is called, and is what would be installed now.
    Current(Way),
    /// Ours is called, as an older version wrote it.
    Older(Way),
    /// Ours is called, but runs another program than the one at hand. `None`: which cannot be read.
    OtherProgram(Option<PathBuf>),
    /// Ours came out of the template: it does nothing until somebody installs.
    FromTemplate,
    /// Ours was edited by somebody.
    Edited,
    /// Ours is there, and git must not execute it.
    NotExecutable,
    /// Ours was moved aside, to this path, by the hook that took its place, and is not called any more.
    Shadowed(PathBuf),
    /// Ours lies at this path, in a directory that git does not look into.
    Bypassed(PathBuf),
    /// Ours stands in the configuration and is switched off there, or this git does not know such hooks.
    Disabled,
    /// An event without a command stands in the configuration: git fails with it.
    Broken,
    /// Only a hook of somebody else is there.
    Foreign,
    /// No hook is there.
    Missing,
}

/// How ours is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a shim in git's place for it.
    Shim,
    /// By lines in somebody else's script.
    Block,
    /// By a line that somebody put there by hand.
    ByHand,
    /// By the hook that moved our shim aside.
    Moved,
    /// From the configuration.
    Configured,
}

impl HookSurvey {
    /// The managers whose hooks were met, with the hook.
    fn managers(&self) -> Vec<(Manager, PathBuf)> {
        let standing = if let Standing::Foreign(Foreign { manager: Some(manager), .. }) = &self.standing {
            Some((*manager, self.path.clone()))
        } else {
            None
        };
        let chained = self
            .chained
            .as_ref()
            .and_then(|path| Some((hook_bytes(path).as_deref().and_then(Manager::of_hook)?, path.clone())));
        standing.into_iter().chain(chained).collect()
    }

    /// What it comes to.
    pub fn state(&self) -> State {
        if let Some(own) = self.configured {
            if own.lacks_command {
                return State::Broken;
            }
            if own.is_enabled && own.is_known_to_git {
                return if own.is_current { State::Current(Way::Configured) } else { State::Older(Way::Configured) };
            }
        }
        match &self.standing {
            Standing::Shim(shim) => return shim.state(),
            Standing::EditedShim => return State::Edited,
            Standing::Foreign(Foreign { block: Some(block), is_executable, .. }) => {
                return match block {
                    _ if !is_executable => State::NotExecutable,
                    OwnBlock { is_intact: false, .. } => State::Edited,
                    OwnBlock { is_current: true, .. } => State::Current(Way::Block),
                    OwnBlock { .. } => State::Older(Way::Block),
                };
            }
            Standing::Foreign(Foreign { calls_us: true, is_executable: true, .. }) => {
                return State::Current(Way::ByHand);
            }
            Standing::Foreign(_) | Standing::Missing | Standing::NoFile => {}
        }
        if self.moved.iter().any(|moved| moved.is_called) {
            return State::Current(Way::Moved);
        }
        if let Some(moved) = self.moved.first() {
            return State::Shadowed(moved.path.clone());
        }
        if let Some(path) = &self.bypassed {
            return State::Bypassed(path.clone());
        }
        if self.configured.is_some() {
            State::Disabled
        } else if self.standing == Standing::Missing {
            State::Missing
        } else {
            State::Foreign
        }
    }
}

impl OwnShim {
    fn state(&self) -> State {
        if !self.is_executable {
            State::NotExecutable
        } else if self.is_current {
            State::Current(Way::Shim)
        } else if self.reach == Reach::Template {
            State::FromTemplate
        } else if self.version < shim::version() {
            State::Older(Way::Shim)
        } else {
            State::OtherProgram(self.program.clone())
        }
    }
}

/// Reads how things stand. `own_program` is what ours have to call.
pub fn survey(repository: &Repository, own_program: &Path, environment: &Environment) -> Result<Survey> {
    let git = Program::find(environment)?;
    let source = Source::read(repository, environment)?;
    let configured = configured::read(&repository.settings(r"^hook\.", environment)?);
    let knows_configured = git.is_at_least(configured::SINCE.0, configured::SINCE.1);
    let mut hooks = hooks_in(&source, own_program)?;
    for survey in &mut hooks {
        let own = configured.iter().find(|configured| configured.ours() == Some(survey.hook));
        survey.configured = own.map(|own| OwnConfigured {
            is_current: own.command.as_deref() == Some(&configured::command(own_program, survey.hook)),
            is_enabled: own.enabled
                && own.command.is_some()
                && own.events.iter().any(|name| name == survey.hook.as_str()),
            lacks_command: own.enabled && own.command.is_none() && !own.events.is_empty(),
            is_known_to_git: knows_configured,
        });
    }
    let met = hooks.iter().flat_map(HookSurvey::managers).collect();
    let managers = managers::find(met, &configured, repository.worktree());
    Ok(Survey { git, own_program: own_program.to_path_buf(), source, hooks, configured, managers })
}

/// What stands in the directory of this source. Nothing of the configuration.
pub(super) fn hooks_in(source: &Source, own_program: &Path) -> Result<Vec<HookSurvey>> {
    let one = |hook: Hook| {
        let path = source.directory.join(hook.as_str());
        let standing = standing(&path, hook, own_program)?;
        let chained = beside(&path, BEFORE);
        Ok(HookSurvey {
            hook,
            chained: look(&chained)?.map(|_| chained),
            moved: moved(&path, &standing, hook),
            bypassed: bypassed(source, hook, own_program)?,
            configured: None,
            path,
            standing,
        })
    };
    Hook::INSTALLED.into_iter().map(one).collect()
}

impl Source {
    /// A directory that is ours to write, whatever git looks into.
    pub(super) fn plain(directory: &Path) -> Self {
        let directory = directory.to_path_buf();
        Self { standard: directory.clone(), directory, setting: None, place: Place::Standard }
    }

    fn read(repository: &Repository, environment: &Environment) -> Result<Self> {
        let standard = repository.common_directory().join("hooks");
        let setting = repository.settings(r"^core\.hookspath$", environment)?.pop();
        let directory = if setting.is_some() { repository.hooks_directory(environment)? } else { standard.clone() };
        let place = place_of(repository, &directory, &standard, setting.is_some(), environment)?;
        Ok(Self { directory, standard, setting, place })
    }
}

fn place_of(
    repository: &Repository,
    directory: &Path,
    standard: &Path,
    is_set: bool,
    environment: &Environment,
) -> Result<Place> {
    // What git follows, we follow: a linked hooks directory is the one it leads to.
    let Ok(real) = directory.canonicalize() else {
        let nothing_there = look(directory)?.is_none();
        return Ok(if nothing_there && (!is_set || directory == standard) { Place::Standard } else { Place::Missing });
    };
    let common = repository.common_directory();
    let common = common.canonicalize().unwrap_or_else(|_| common.to_path_buf());
    Ok(if !real.is_dir() {
        Place::NotADirectory
    } else if real == common.join("hooks") {
        Place::Standard
    } else if real.starts_with(&common) {
        Place::GitDirectory
    } else if repository.is_tracked(&real, environment)? {
        Place::Tracked
    } else if repository.is_ignored(&real, environment)?
        || repository.is_ignored(&real.join("post-commit"), environment)?
    {
        Place::Ignored
    } else if repository.worktree().and_then(|top| top.canonicalize().ok()).is_some_and(|top| real.starts_with(top)) {
        Place::Untracked
    } else {
        Place::Outside
    })
}

/// The path with something behind its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}

/// What stands at a path, links not followed.
pub(super) fn look(path: &Path) -> Result<Option<fs::Metadata>> {
    match path.symlink_metadata() {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::failed(format!("cannot look at {}", shown(path))).because(error)),
    }
}

/// What a hook holds, as far as it can be read as a file; links are followed, as git does.
pub(super) fn hook_bytes(path: &Path) -> Option<Vec<u8>> {
    files::read(&path.canonicalize().ok()?, FILE_BYTES_MAX).ok()?
}

fn standing(path: &Path, hook: Hook, own_program: &Path) -> Result<Standing> {
    let Some(meta) = look(path)? else { return Ok(Standing::Missing) };
    if !meta.is_file() && !meta.is_symlink() {
        return Ok(Standing::NoFile);
    }
    let is_link = meta.is_symlink();
    let is_executable = process::is_executable(path);
    let bytes = hook_bytes(path).unwrap_or_default();
    // A link is nothing we made, wherever it leads.
    let kind = if is_link { shim::Kind::Foreign } else { shim::kind(&bytes) };
    Ok(match kind {
        shim::Kind::Ours { version, program, reach } => Standing::Shim(OwnShim {
            version,
            program,
            reach,
            is_current: bytes == shim::render(own_program, hook, Reach::Repository),
            is_executable,
        }),
        shim::Kind::Edited => Standing::EditedShim,
        shim::Kind::Foreign => Standing::Foreign(Foreign {
            is_executable,
            is_link,
            manager: Manager::of_hook(&bytes),
            block: block::find(&bytes).filter(|_| !is_link).map(|found| OwnBlock {
                is_intact: found.is_intact,
                is_current: found.is_intact && found.body == block::lines(own_program, hook),
            }),
            is_shell_script: is_shell_script(&bytes),
            looks_at_its_name: looks_at_its_name(&bytes),
            is_served_by_a_link: is_served_by_a_link(&bytes),
            calls_us: calls_us(&bytes, hook, own_program)
                || husky_script(path, &bytes).is_some_and(|bytes| calls_us(&bytes, hook, own_program)),
        }),
    })
}

/// Our shim under the names that managers give what they find.
fn moved(path: &Path, standing: &Standing, hook: Hook) -> Vec<Moved> {
    let manager = match standing {
        Standing::Foreign(Foreign { manager, is_executable: true, .. }) => *manager,
        Standing::Foreign(_) | Standing::Missing | Standing::Shim(_) | Standing::EditedShim | Standing::NoFile => None,
    };
    let ours = |path: &Path| {
        let bytes = files::read(path, FILE_BYTES_MAX).ok().flatten();
        bytes.is_some_and(|bytes| shim::kind(&bytes) != shim::Kind::Foreign)
    };
    MOVED
        .into_iter()
        .map(|suffix| (suffix, beside(path, suffix)))
        .filter(|(_, path)| ours(path))
        .map(|(suffix, path)| Moved {
            // These two call it, and hand the input of a push on, but no other.
            is_called: suffix == ".legacy"
                && matches!(manager, Some(Manager::PreCommit | Manager::Prek))
                && (!block::reads_input(hook) || hook == Hook::PrePush)
                && process::is_executable(&path),
            path,
        })
        .collect()
}

/// What is ours in the standard directory, where git does not look into that.
fn bypassed(source: &Source, hook: Hook, own_program: &Path) -> Result<Option<PathBuf>> {
    if source.place == Place::Standard {
        return Ok(None);
    }
    let path = source.standard.join(hook.as_str());
    // A linked standard directory is the one git looks into.
    if source.standard.canonicalize().is_ok_and(|real| source.directory.canonicalize().is_ok_and(|used| used == real)) {
        return Ok(None);
    }
    Ok(match standing(&path, hook, own_program)? {
        Standing::Shim(_) | Standing::EditedShim | Standing::Foreign(Foreign { block: Some(_), .. }) => Some(path),
        Standing::Foreign(_) | Standing::Missing | Standing::NoFile => None,
    })
}
