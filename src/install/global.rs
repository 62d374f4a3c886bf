//! The template for new repositories: every `git init` and `git clone` of this person gets our hooks.
//!
//! Such a hook starts nothing: a clone of a stranger's repository must not run what its table says. Where there is a
//! table it names the command that a person would have to type. The hook of `install` takes its place.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::change::{self, Change};
use super::manifest::Manifest;
use super::shim::Reach;
use super::survey::{self, Source, Standing, look};
use super::{Done, Plan, Report, configured, hooks, marked_lines};
use crate::error::{Context as _, Error, Result};
use crate::files;
use crate::git::{self, shown};
use crate::process::Environment;

/// What the template is for, behind its line of the report.
const NOTE: &str = "new repositories and clones get their hooks from the template";

/// Where things lie for this person.
struct Places {
    /// The directory that is copied into new repositories.
    template: PathBuf,
    /// Whether that is ours alone, and not a template that was there.
    is_own: bool,
    /// The configuration file that git writes to with `--global`.
    configuration: PathBuf,
}

/// Puts our hooks into the template, which is made and configured where there is none.
pub fn install(program: &Path, environment: &Environment) -> Result<Report> {
    let plan = plan_install(program, environment)?;
    change::apply(&plan.changes)?;
    Ok(plan.report)
}

/// What [`install`] would do.
pub fn plan_install(program: &Path, environment: &Environment) -> Result<Plan> {
    let places = Places::find(environment)?;
    let mut plan = Plan::default();
    if places.is_own {
        if look(&places.template)?.is_none() {
            make_template(&mut plan, &places.template, environment)?;
            plan.report.add(Done::Created, &places.template, None);
        } else {
            plan.report.add(Done::Kept, &places.template, None);
        }
    } else {
        check_is_ours_to_write(&places.template)?;
        plan.report.add(Done::Kept, &places.template, Some("init.templateDir names it"));
    }
    let directory = places.template.join("hooks");
    let made = Change::MakeDirectory(directory.clone());
    if look(&directory)?.is_none() && !plan.changes.contains(&made) {
        plan.changes.push(made);
    }
    let found = survey::hooks_in(&Source::plain(&directory), program)?;
    hooks::put_in(&mut plan, &mut Manifest::empty(), &found, program, Reach::Template)?;
    if places.is_own {
        let value = configured::value(places.template.as_os_str().as_encoded_bytes());
        let lines = [b"[init]\n\ttemplateDir = ".as_slice(), &value, b"\n"].concat();
        marked_lines(&mut plan, &places.configuration, Some(&lines), NOTE)?;
    }
    Ok(plan)
}

/// Takes back what [`install`] did. Repositories that were made since keep their hooks, which start nothing.
pub fn uninstall(program: &Path, environment: &Environment) -> Result<Report> {
    let plan = plan_uninstall(program, environment)?;
    change::apply(&plan.changes)?;
    Ok(plan.report)
}

/// What [`uninstall`] would do.
pub fn plan_uninstall(program: &Path, environment: &Environment) -> Result<Plan> {
    let places = Places::find(environment)?;
    let mut plan = Plan::default();
    marked_lines(&mut plan, &places.configuration, None, "")?;
    let directory = places.template.join("hooks");
    let found = survey::hooks_in(&Source::plain(&directory), program)?;
    hooks::take_out(&mut plan, None, &found, program)?;
    if places.is_own && look(&places.template)?.is_some() {
        // What the template was made of goes where nobody changed it.
        let mut made = Plan::default();
        make_template(&mut made, &places.template, environment)?;
        let mut directories = Vec::new();
        for change in made.changes {
            match change {
                Change::Write { path, new, .. } if read(&path)?.as_ref() == Some(&new) => {
                    plan.changes.push(Change::Remove(path));
                }
                Change::MakeDirectory(path) => directories.push(path),
                Change::Write { .. }
                | Change::OwnDirectory(_)
                | Change::Configure { .. }
                | Change::Rename { .. }
                | Change::Link { .. }
                | Change::Remove(_)
                | Change::RemoveDirectory(_) => {}
            }
        }
        let parent = places.template.parent().map(Path::to_path_buf);
        plan.changes.extend(directories.into_iter().rev().chain(parent).map(Change::RemoveDirectory));
        plan.report.add(Done::Removed, &places.template, Some("but for what others put there"));
    }
    let ours = |standing: &Standing| matches!(standing, Standing::Shim(_));
    if plan.changes.is_empty() && !found.iter().any(|hook| ours(&hook.standing)) {
        plan.report = Report::default();
    }
    Ok(plan)
}

impl Places {
    fn find(environment: &Environment) -> Result<Self> {
        let variable =
            |name: &str| environment.get(OsStr::new(name)).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = variable("HOME").filter(|home| home.is_absolute());
        let home = home.ok_or_else(|| Error::failed("HOME is not set").hint("set it to your home directory"))?;
        let own =
            variable("XDG_DATA_HOME").filter(|path| path.is_absolute()).unwrap_or_else(|| home.join(".local/share"));
        let own = own.join("git-orchestrator/template");
        let configuration = variable("GIT_CONFIG_GLOBAL").unwrap_or_else(|| {
            let xdg = variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("git/config");
            let usual = home.join(".gitconfig");
            // As git chooses: the second only where it exists and the first does not.
            if !usual.exists() && xdg.exists() { xdg } else { usual }
        });
        let configuration = configuration.canonicalize().unwrap_or(configuration);
        if look(&configuration)?.is_some_and(|meta| !meta.is_file()) {
            return Err(Error::refused(format!(
                "git's global configuration is {}, which is no file",
                shown(&configuration)
            ))
            .hint("unset GIT_CONFIG_GLOBAL, or let it name a file"));
        }
        let template = git::template_setting(&home, environment)?.filter(|path| *path != own);
        Ok(Self { is_own: template.is_none(), template: template.unwrap_or(own), configuration })
    }
}

/// Refuses a template that somebody else has made, or that is not there.
fn check_is_ours_to_write(template: &Path) -> Result<()> {
    let refused = |why: &str| {
        Error::refused(format!("init.templateDir names {}, {why}", shown(template)))
            .hint("name a directory of your own: git config --global init.templateDir ~/.git-template")
    };
    let meta = fs::metadata(template).map_err(|error| refused("which cannot be looked into").because(error))?;
    if !meta.is_dir() {
        return Err(refused("which is no directory"));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused("which belongs to another user"));
    }
    let in_a_repository = git::Repository::discover(template, false).is_ok();
    if in_a_repository {
        return Err(refused("which lies in a git repository: its hooks are that repository's"));
    }
    Ok(())
}

/// Git's own template, as `git init` copies it: a configured one replaces it whole.
fn make_template(plan: &mut Plan, template: &Path, environment: &Environment) -> Result<()> {
    let mut missing: Vec<&Path> = template.ancestors().take_while(|path| !path.exists()).collect();
    missing.reverse();
    if missing.is_empty() {
        missing.push(template);
    }
    plan.changes.extend(missing.into_iter().map(|path| Change::MakeDirectory(path.to_path_buf())));
    let sample = tempfile::tempdir().context(|| "cannot make a temporary directory")?;
    git::init_bare(sample.path(), environment)?;
    for (directory, name) in [("", "description"), ("info", "exclude")] {
        let from = sample.path().join(directory).join(name);
        if let Some(new) = read(&from)? {
            if !directory.is_empty() {
                plan.changes.push(Change::MakeDirectory(template.join(directory)));
            }
            let path = template.join(directory).join(name);
            plan.changes.push(Change::Write { path, old: None, new, mode: 0o644 });
        }
    }
    plan.changes.push(Change::MakeDirectory(template.join("hooks")));
    let samples = match fs::read_dir(sample.path().join("hooks")) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>().context(|| "cannot read git's template")?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::failed("cannot read git's template").because(error)),
    };
    for entry in samples {
        if let Some(new) = read(&entry.path())? {
            let path = template.join("hooks").join(entry.file_name());
            plan.changes.push(Change::Write { path, old: None, new, mode: 0o755 });
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    files::read(path, super::FILE_BYTES_MAX)
}
