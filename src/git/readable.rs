//! Which files of a repository a run's commands have to read for `git log`, `git diff` and `git show` in its checkout.
//!
//! Listed one by one, because a git directory also holds what is no history: other runs' workspaces, submodules with
//! their own configuration, credential files of tools, and the repository's configuration, in which people keep tokens
//! (in the URL of a remote, in an extra header). The configuration is among them only if every setting in it is known to
//! hold none; without it git reads an ordinary repository all the same.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::Repository;
use super::program::Git;
use super::workspace::{Workspace, registration_of};
use crate::error::{Context as _, Error, Result};
use crate::files;
use crate::process::Environment;

/// What of the common directory is history, beside the configuration.
const COMMON: &[&str] = &["HEAD", "info", "objects", "packed-refs", "refs", "reftable", "shallow"];

/// The file that names further object directories, and how many of them are followed.
const ALTERNATES: (&str, u64, usize) = ("info/alternates", 64 * 1024, 32);

/// Sections whose settings hold no secret.
const PLAIN_SECTIONS: &[&str] = &[
    "branch",
    "color",
    "commit",
    "core",
    "diff",
    "extensions",
    "fetch",
    "gc",
    "index",
    "init",
    "log",
    "maintenance",
    "merge",
    "pack",
    "pull",
    "push",
    "rebase",
    "receive",
    "rerere",
    "status",
    "tag",
    "user",
];

/// Sections with an address in them, whose other settings hold no secret.
const ADDRESS_SECTIONS: &[&str] = &["remote", "submodule"];

/// The files and directories, as far as they are there. Real paths.
pub fn readable(repository: &Repository, workspace: &Workspace, environment: &Environment) -> Result<Vec<PathBuf>> {
    let common = repository.common_directory();
    let git = Git::new(environment)?;
    let mut out: BTreeSet<PathBuf> = COMMON.iter().map(|name| common.join(name)).collect();
    out.extend(alternates(&common.join("objects"))?);
    out.extend(plain_configuration(&git, &common.join("config"))?);
    if let Some(registration) = registration_of(common, &workspace.path)? {
        let own = registration.join("config.worktree");
        if !own.exists() || plain_configuration(&git, &own)?.is_some() {
            out.insert(registration);
        } else {
            let failed = || format!("cannot list {}", super::shown(&registration));
            for entry in std::fs::read_dir(&registration).context(failed)? {
                out.insert(entry.context(failed)?.path());
            }
            out.remove(&own);
        }
    }
    Ok(out.iter().filter_map(|path| path.canonicalize().ok()).collect())
}

/// The directories that git reads objects from beside this one.
fn alternates(objects: &Path) -> Result<BTreeSet<PathBuf>> {
    let (file, bytes_max, count_max) = ALTERNATES;
    let mut found = BTreeSet::new();
    let mut open = vec![objects.to_path_buf()];
    while let Some(directory) = open.pop() {
        let Some(list) = files::read(&directory.join(file), bytes_max)? else { continue };
        let lines = list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#"));
        for line in lines {
            let path = directory.join(OsStr::from_bytes(line));
            // A directory of objects, and nothing else that somebody wrote into the list.
            let is_objects = path.join("pack").is_dir() && path.join("info").is_dir();
            if is_objects && found.len() < count_max && found.insert(path.clone()) {
                open.push(path);
            }
        }
    }
    Ok(found)
}

/// The file, if it is there and no setting in it may be a secret.
fn plain_configuration(git: &Git, file: &Path) -> Result<Option<PathBuf>> {
    if !file.is_file() {
        return Ok(None);
    }
    let arguments = ["config", "--no-includes", "-z", "--list", "--file"].map(OsStr::new);
    let arguments: Vec<&OsStr> = arguments.into_iter().chain([file.as_os_str()]).collect();
    let directory = file.parent().ok_or_else(|| Error::failed("a configuration file lies nowhere"))?;
    let listed = git.run(directory, None, &BTreeSet::new(), &arguments)?;
    let mut settings = listed.split(|byte| *byte == 0).filter(|setting| !setting.is_empty());
    Ok(settings.all(is_plain).then(|| file.to_path_buf()))
}

/// `section.name` or `section.subsection.name`, and the value in the next line.
fn is_plain(setting: &[u8]) -> bool {
    let setting = String::from_utf8_lossy(setting);
    let (key, value) = setting.split_once('\n').unwrap_or((&setting, ""));
    let section = key.split_once('.').map_or(key, |(section, _)| section);
    let name = key.rsplit_once('.').map_or(key, |(_, name)| name);
    // A command line may have a token among its words.
    let runs = name.ends_with("command") || name == "gitproxy" || name == "askpass";
    let is_open = |value: &str| !value.contains("://") || is_open_address(value);
    match section {
        _ if runs => false,
        section if PLAIN_SECTIONS.contains(&section) => is_open(value),
        section if ADDRESS_SECTIONS.contains(&section) => is_open(value) && is_open(key),
        _ => false,
    }
}

/// Whether an address has neither a password nor, over HTTP, a user (who may be a token), nor a query.
fn is_open_address(address: &str) -> bool {
    let Some((scheme, rest)) = address.split_once("://") else { return true };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    let names_user = user.is_some_and(|user| user.contains(':') || scheme.contains("http"));
    !names_user && !rest.contains('?')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_may_hold_a_secret_hides_the_file() {
        for plain in [
            "core.bare\nfalse",
            "core.repositoryformatversion\n0",
            "extensions.objectformat\nsha256",
            "user.email\nada@example.invalid",
            "remote.origin.url\nhttps://example.invalid/x.git",
            "remote.origin.url\nssh://git@example.invalid/x.git",
            "remote.origin.url\ngit@example.invalid:x.git",
            "remote.origin.fetch\n+refs/heads/*:refs/remotes/origin/*",
            "branch.main.merge\nrefs/heads/main",
            "core.bare",
        ] {
            assert!(is_plain(plain.as_bytes()), "{plain}");
        }
        for secret in [
            "remote.origin.url\nhttps://token@example.invalid/x.git",
            concat!("remote.origin.url\nhttps://user:", "word@example.invalid/x.git"),
            concat!("remote.origin.url\nssh://user:", "word@example.invalid/x.git"),
            "remote.origin.url\nhttps://example.invalid/x.git?access=word",
            "remote.https://t@example.invalid/.url\nx",
            "http.https://example.invalid/.extraheader\nAuthorization: word",
            "url.https://t@example.invalid/.insteadof\nhttps://example.invalid/",
            "credential.helper\nstore",
            "core.sshcommand\nssh -i key",
            "alias.x\n!curl -u word",
            "sendemail.smtppass\nword",
            "nothing",
        ] {
            assert!(!is_plain(secret.as_bytes()), "{secret}");
        }
    }
}
