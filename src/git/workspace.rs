//! The checkout a run works in: a detached worktree under the git common directory, one for each role, moved from
//! commit to commit so that what was built stays built. Never the user's tree.
//!
//! Whatever stands in a workspace was left by an agent and is hostile: its `.git` file is compared before anything
//! else, git is told where its directories are instead of looking for them, and a workspace that does not add up is
//! thrown away and made anew. The registration (`worktrees/<id>` in the common directory) is removed by hand, since
//! `git worktree prune` would also remove what belongs to the user.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::program::Git;
use super::{Repository, neutral, place, shown};
use crate::error::{Context as _, Error, Result};
use crate::files;
use crate::ids::Oid;
use crate::process;
use crate::process::Environment;
use crate::text;

/// How often files that an untracked `.gitignore` hides are looked for, each time below the last.
const UNHIDE_ROUNDS: usize = 16;

/// The largest log of a workspace's HEAD that is read, in bytes: each run adds a line or two.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// A checkout that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Its top.
    pub path: PathBuf,
    /// A temporary directory beside it, empty.
    pub temporary: PathBuf,
}

/// The directory that holds all workspaces.
pub fn directory(common_directory: &Path) -> PathBuf {
    common_directory.join("orchestrator")
}

/// Git configuration that keeps the repository's own configuration from executing anything, as the environment
/// variables `GIT_CONFIG_COUNT`, `GIT_CONFIG_KEY_n` and `GIT_CONFIG_VALUE_n`: for our git calls and for those of a run.
///
/// The person's and the system's configuration are left out altogether. What the repository's own defines (filters,
/// diff drivers, hooks) is overridden by name, as it reads in the repository and in each workspace: conditional includes
/// make a difference.
pub fn neutral_configuration(repository: &Repository) -> Result<Vec<(String, String)>> {
    let git = Git::new(&process::clean_environment())?;
    let mut directories = vec![repository.git_directory().to_path_buf(), repository.common_directory().to_path_buf()];
    directories.extend(registrations(repository.common_directory())?.into_iter().map(|(registration, _)| registration));
    let mut keys = BTreeSet::new();
    for directory in directories {
        keys.extend(git.configured_keys(&directory)?);
    }
    let text = |name: OsString| {
        name.into_string().map_err(|name| {
            let name = text::bytes_line(name.as_bytes());
            Error::refused(format!("the name of the setting `{name}` is not UTF-8, so that it cannot be overridden"))
                .hint("rename it in .git/config")
        })
    };
    neutral::variables(&keys).into_iter().map(|(name, value)| Ok((text(name)?, text(value)?))).collect()
}

/// Makes the workspace of `role` hold `commit` and nothing a former run left, ignored files excepted.
pub fn prepare(repository: &Repository, role: &str, commit: &Oid, environment: &Environment) -> Result<Workspace> {
    let plain = !role.is_empty() && role.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !plain || role.starts_with('-') {
        return Err(Error::failed(format!("`{}` cannot be the name of a workspace", text::one_line(role))));
    }
    // Says in a sentence of its own what is wrong with the commit, before git does.
    repository.commit(commit)?;
    let common = repository.common_directory();
    let root = directory(common);
    let path = root.join("worktrees").join(role);
    let temporary = root.join("tmp").join(role);
    for directory in [&root, &root.join("worktrees"), &root.join("tmp")] {
        create_own_directory(directory)?;
    }
    let git = Git::new(environment)?;
    check_out(&git, common, &path, commit).map_err(|error| {
        if !place::is_partial(common) {
            return error;
        }
        // Nobody asked for a download, and the person's way to log in is not ours to use.
        let sentence = "the files of this commit cannot be checked out; a partial clone leaves some with its remote, and \
                        nothing is fetched for a run";
        Error::failed(sentence).hint(place::PARTIAL_HINT).because(error)
    })?;
    remove_tree(&temporary)?;
    create_own_directory(&temporary)?;
    Ok(Workspace { path, temporary })
}

/// Brings the worktree at `path` to the commit; one that does not add up is made anew.
fn check_out(git: &Git, common: &Path, path: &Path, commit: &Oid) -> Result<()> {
    match registration_of(common, path)? {
        Some(registration) if is_sound(git, path, &registration) => {
            // What cannot be cleaned (an unreadable directory, a damaged index) is thrown away.
            fill(git, path, &registration, commit).or_else(|error| {
                tracing::debug!(error = %error.chain(), "the workspace is made anew");
                make(git, common, path, commit)
            })
        }
        _ => make(git, common, path, commit),
    }
}

/// How many names each list of [`Changes`] holds.
pub const CHANGES_LISTED: usize = 200;

/// What stands in a checkout and not in the commit it was made for. Paths are escaped; a list that is too long ends
/// with how many more there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files of the commit that are different or gone.
    pub tracked: Vec<String>,
    /// What is new and not ignored; a new directory is one entry.
    pub new: Vec<String>,
}

/// What a run has changed in its checkout of `commit`. Nothing is written, the index included.
///
/// Submodules are left alone: git would run in them with whatever configuration was planted there.
pub fn changes(
    repository: &Repository,
    workspace: &Workspace,
    commit: &Oid,
    environment: &Environment,
) -> Result<Changes> {
    let path = &workspace.path;
    let git = Git::new(environment)?;
    let registration = registration_of(repository.common_directory(), path)?;
    let Some(registration) = registration.filter(|registration| is_sound(&git, path, registration)) else {
        return Ok(Changes { tracked: vec![".git".to_owned()], new: Vec::new() });
    };
    let keys = git.configured_keys(&registration)?;
    let arguments =
        ["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=normal", "--ignore-submodules=all"];
    let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    let listed = git.run(&registration, Some(path), &keys, &arguments)?;
    let mut changes = Changes::default();
    // What git compares with is HEAD, so that it has to be the commit still.
    if detached_head(&git, &registration)?.as_ref() != Some(commit) {
        changes.tracked.push("HEAD".to_owned());
    }
    // Two letters, a blank, the path.
    for entry in listed.split(|byte| *byte == 0) {
        match entry.split_at_checked(3) {
            Some((b"?? ", path)) => changes.new.push(text::bytes_line(path)),
            Some((_, path)) => changes.tracked.push(text::bytes_line(path)),
            None => {}
        }
    }
    for list in [&mut changes.tracked, &mut changes.new] {
        let more = list.len().saturating_sub(CHANGES_LISTED);
        if more > 0 {
            list.truncate(CHANGES_LISTED);
            list.push(format!("… and {more} more"));
        }
    }
    Ok(changes)
}

/// Removes every workspace of this repository, and what it was registered as.
pub fn remove_all(repository: &Repository, environment: &Environment) -> Result<()> {
    // No git program is needed for this; the parameter keeps the way open for one.
    let _ = environment;
    let common = repository.common_directory();
    for (registration, _) in registrations(common)? {
        remove_tree(&registration)?;
    }
    remove_tree(&directory(common))?;
    // As `git worktree remove` does; fails, rightly, while another worktree is registered.
    fs::remove_dir(common.join("worktrees")).ok();
    Ok(())
}

/// Makes the worktree from nothing.
fn make(git: &Git, common: &Path, path: &Path, commit: &Oid) -> Result<()> {
    remove_tree(path)?;
    if let Some(registration) = registration_of(common, path)? {
        remove_tree(&registration)?;
    }
    let arguments = ["worktree", "add", "--quiet", "--detach", "--no-checkout", "--force", "--"];
    let mut arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
    arguments.extend([path.as_os_str(), OsStr::new(commit.as_str())]);
    let keys = git.configured_keys(common)?;
    git.run(common, None, &keys, &arguments)?;
    let registration = registration_of(common, path)?
        .ok_or_else(|| Error::failed(format!("git made a worktree at {} and does not know it", shown(path))))?;
    fill(git, path, &registration, commit)
}

/// Brings a sound worktree to the commit and removes what does not belong to it.
fn fill(git: &Git, path: &Path, registration: &Path, commit: &Oid) -> Result<()> {
    // Left by a git that was killed; the worktree is ours and one run at a time works in it.
    for lock in ["index.lock", "HEAD.lock", "reftable/tables.list.lock"] {
        match fs::remove_file(registration.join(lock)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::failed(format!("cannot remove {lock} in {}", shown(registration))).because(error));
            }
            _ => {}
        }
    }
    let keys = git.configured_keys(registration)?;
    let run = |arguments: &[&str]| {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        git.run(registration, Some(path), &keys, &arguments)
    };
    run(&["reset", "--hard", "--quiet", commit.as_str(), "--"])?;
    let listed = run(&["ls-files", "-z"])?;
    let tracked: BTreeSet<&[u8]> = listed.split(|byte| *byte == 0).filter(|path| !path.is_empty()).collect();
    empty_submodules(&tracked, path)?;
    remove_unseen(&tracked, path)?;
    for _ in 0..UNHIDE_ROUNDS {
        if !remove_untracked_rules(git, path, registration, &keys, &tracked)? {
            break;
        }
    }
    run(&["clean", "-ffd", "--quiet"])?;
    Ok(())
}

/// Empties the places of submodules: what is tracked and a directory. Git leaves alone what lies there, and would go into
/// a repository that a former run has put into one.
fn empty_submodules(tracked: &BTreeSet<&[u8]>, path: &Path) -> Result<()> {
    for place in tracked.iter().map(|name| path.join(OsStr::from_bytes(name))) {
        let is_empty = || fs::read_dir(&place).is_ok_and(|mut entries| entries.next().is_none());
        if place.symlink_metadata().is_ok_and(|meta| meta.is_dir()) && !is_empty() {
            remove_tree(&place)?;
            fs::create_dir(&place).context(|| format!("cannot create {}", shown(&place)))?;
        }
    }
    Ok(())
}

/// The places of submodules in the commit that a workspace holds, relative to its top.
pub fn submodules(repository: &Repository, workspace: &Workspace, environment: &Environment) -> Result<Vec<PathBuf>> {
    let git = Git::new(environment)?;
    let path = &workspace.path;
    let Some(registration) = registration_of(repository.common_directory(), path)? else { return Ok(Vec::new()) };
    let keys = git.configured_keys(&registration)?;
    let arguments = ["ls-files", "--stage", "-z"].map(OsStr::new);
    let listed = git.run(&registration, Some(path), &keys, &arguments)?;
    // Mode, id and stage, a tab, the path.
    let submodules = listed.split(|byte| *byte == 0).filter(|entry| entry.starts_with(b"160000 "));
    let path = |entry: &[u8]| entry.splitn(2, |byte| *byte == b'\t').nth(1).map(OsStr::from_bytes).map(PathBuf::from);
    Ok(submodules.filter_map(path).collect())
}

/// Removes from tracked directories what `git clean` never looks at: `.git`, since a repository planted there would
/// answer for ours to whoever runs git in it, and what is neither file, link nor directory.
fn remove_unseen(tracked: &BTreeSet<&[u8]>, path: &Path) -> Result<()> {
    let mut directories = BTreeSet::from([b"".as_slice()]);
    for file in tracked {
        let mut end = file.len();
        while let Some(slash) = file.get(..end).and_then(|head| head.iter().rposition(|byte| *byte == b'/')) {
            end = slash;
            if !directories.insert(&file[..end]) {
                break;
            }
        }
    }
    for directory in directories {
        let is_top = directory.is_empty();
        // No link is followed: the checkout has replaced one that stood in the way of a tracked file.
        let directory = path.join(OsStr::from_bytes(directory));
        let failed = || format!("cannot list {}", shown(&directory));
        for entry in fs::read_dir(&directory).context(failed)? {
            let entry = entry.context(failed)?;
            let kind = entry.file_type().context(failed)?;
            let ordinary = kind.is_file() || kind.is_dir() || kind.is_symlink();
            if !ordinary || (!is_top && entry.file_name().eq_ignore_ascii_case(".git")) {
                remove_tree(&entry.path())?;
            }
        }
    }
    Ok(())
}

/// Removes `.gitignore` files that the commit does not hold: with one, a former run could keep its files from being
/// cleaned away. Returns whether there were any; below them there may be more.
fn remove_untracked_rules(
    git: &Git,
    path: &Path,
    registration: &Path,
    keys: &BTreeSet<Vec<u8>>,
    tracked: &BTreeSet<&[u8]>,
) -> Result<bool> {
    let run = |arguments: &[&str], input: Option<Vec<u8>>| {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        git.run_with(registration, Some(path), keys, &arguments, input, &[0, 1])
    };
    let list = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory", "--no-empty-directory"];
    let ignored = run(&list, None)?;
    // With `./` in front, none can be taken for a pattern.
    let asked: Vec<u8> =
        ignored.split_inclusive(|byte| *byte == 0).flat_map(|path| b"./".iter().chain(path)).copied().collect();
    if asked.is_empty() {
        return Ok(false);
    }
    let rules = run(&["check-ignore", "-z", "--stdin", "--verbose", "--non-matching", "--no-index"], Some(asked))?;
    // Four fields for each path: the file of the rule, its line, the pattern, the path. Without the first three, it is a
    // directory that is ignored because rules inside it ignore all it holds.
    let mut removed = false;
    let mut fields = rules.split(|byte| *byte == 0);
    while let (Some(source), Some(_), Some(_), Some(name)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    {
        let name = name.strip_prefix(b"./").unwrap_or(name);
        if source.is_empty() {
            removed |= remove_rules_below(&path.join(OsStr::from_bytes(name)))?;
        }
        // Rules of `info/exclude` come with the path of a file outside the worktree.
        let is_inside = source == b".gitignore" || (source.ends_with(b"/.gitignore") && !source.starts_with(b"/"));
        if is_inside && !tracked.contains(source) {
            remove_tree(&path.join(OsStr::from_bytes(source)))?;
            removed = true;
        }
    }
    Ok(removed)
}

/// Removes every `.gitignore` below an untracked directory. Returns whether there were any.
fn remove_rules_below(top: &Path) -> Result<bool> {
    let mut removed = false;
    let mut open = vec![top.to_path_buf()];
    while let Some(directory) = open.pop() {
        let failed = || format!("cannot list {}", shown(&directory));
        if !directory.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            continue;
        }
        for entry in fs::read_dir(&directory).context(failed)? {
            let entry = entry.context(failed)?;
            if entry.file_name() == ".gitignore" {
                remove_tree(&entry.path())?;
                removed = true;
            } else if entry.file_type().context(failed)?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(removed)
}

/// Our worktrees that git knows: the registration's directory and the worktree's top.
fn registrations(common: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let ours = directory(common);
    let failed = || format!("cannot list the worktrees in {}", shown(common));
    let entries = match fs::read_dir(common.join("worktrees")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::failed(failed()).because(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let registration = entry.context(failed)?.path();
        // One that does not read is none of ours, or no longer.
        let Ok(Some(link)) = files::read(&registration.join("gitdir"), 64 * 1024) else { continue };
        let link = registration.join(OsStr::from_bytes(link.trim_ascii_end()));
        let Some(top) = link.parent() else { continue };
        let top = top.canonicalize().unwrap_or_else(|_| lexically_resolved(top));
        if top.starts_with(&ours) {
            found.push((registration, top));
        }
    }
    Ok(found)
}

/// The commits that were made in workspaces, as the logs of their HEADs tell. We only ever reset a workspace, so that
/// whatever else moved it was a run's doing; what only moved it to a commit that was there made none. Where refs are not
/// kept in files, nothing is told.
pub fn commits_made(repository: &Repository) -> Result<BTreeSet<Oid>> {
    let mut made = BTreeSet::new();
    for (registration, _) in registrations(repository.common_directory())? {
        let log = files::read(&registration.join("logs/HEAD"), LOG_BYTES_MAX)?.unwrap_or_default();
        made.extend(log.split(|byte| *byte == b'\n').filter_map(made_by));
    }
    Ok(made)
}

/// The commit that an entry of a log (`old new who when<TAB>what`) says was made.
fn made_by(entry: &[u8]) -> Option<Oid> {
    let tab = entry.iter().position(|byte| *byte == b'\t')?;
    let (ids, what) = (entry.get(..tab)?, entry.get(tab + 1..)?);
    let what = String::from_utf8_lossy(what);
    let (action, rest) = what.split_once(':')?;
    let is_made = match action.split(' ').next()? {
        "commit" | "revert" | "am" => true,
        "cherry-pick" => rest.trim() != "fast-forward",
        "merge" | "pull" => {
            what.contains(": Merge made by the '") || action.ends_with(')') && !rest.contains("-forward")
        }
        "rebase" => !action.ends_with("(start)") && !action.ends_with("(finish)") && !rest.contains("-forward"),
        _ => false,
    };
    let new = ids.split(|byte| *byte == b' ').nth(1).filter(|_| is_made)?;
    Oid::parse(std::str::from_utf8(new).ok()?).ok().flatten()
}

pub(super) fn registration_of(common: &Path, path: &Path) -> Result<Option<PathBuf>> {
    Ok(registrations(common)?.into_iter().find(|(_, top)| top == path).map(|(registration, _)| registration))
}

/// Without `..`, which `worktree.useRelativePaths` puts into a link; for a path that does not exist.
fn lexically_resolved(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        if component == std::path::Component::ParentDir {
            out.pop();
        } else {
            out.push(component);
        }
    }
    out
}

/// Whether the worktree's `.git` still leads to its registration, and its HEAD is detached: if it were on a branch,
/// moving it would move the branch.
fn is_sound(git: &Git, path: &Path, registration: &Path) -> bool {
    let is_directory = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let leads_back = place::linked_directory(path).is_some_and(|target| place::is_same(&target, registration));
    is_directory(path) && leads_back && detached_head(git, registration).is_ok_and(|head| head.is_some())
}

/// What stands in the file `HEAD` where refs are kept elsewhere (reftable): a name that no branch can have.
const HEAD_IS_ELSEWHERE: &[u8] = b"ref: refs/heads/.invalid";

/// The commit that a worktree's HEAD names by itself; `None` where it names a branch, or nothing.
fn detached_head(git: &Git, registration: &Path) -> Result<Option<Oid>> {
    let Some(head) = files::read(&registration.join("HEAD"), 4096)? else { return Ok(None) };
    let parse = |head: &[u8]| std::str::from_utf8(head).ok().and_then(|head| Oid::parse(head.trim()).ok().flatten());
    if head.trim_ascii() != HEAD_IS_ELSEWHERE {
        return Ok(parse(&head));
    }
    let ask = |arguments: &[&str]| {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        git.run_with(registration, None, &BTreeSet::new(), &arguments, None, &[0, 1])
    };
    if !ask(&["symbolic-ref", "--quiet", "HEAD"])?.is_empty() {
        return Ok(None);
    }
    Ok(parse(&ask(&["rev-parse", "--verify", "--quiet", "HEAD"])?))
}

/// Creates a directory only we can enter, if it is not there. A link or a file in its place is replaced.
pub(super) fn create_own_directory(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => return Ok(()),
        Ok(_) => remove_tree(path)?,
        Err(_) => {}
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).context(|| format!("cannot create {}", shown(path)))
}

/// Removes whatever stands at `path`, directories without permissions included. No error if there is nothing.
fn remove_tree(path: &Path) -> Result<()> {
    let failed = || format!("cannot remove {}", shown(path));
    let is_directory = match path.symlink_metadata() {
        Ok(meta) => meta.is_dir(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::failed(failed()).because(error)),
    };
    if !is_directory {
        return fs::remove_file(path).context(failed);
    }
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    // An agent may have taken the permissions that removing needs.
    let mut open = vec![path.to_path_buf()];
    while let Some(directory) = open.pop() {
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).context(failed)?;
        for entry in fs::read_dir(&directory).context(failed)? {
            let entry = entry.context(failed)?;
            if entry.file_type().context(failed)?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(path).context(failed)
}
