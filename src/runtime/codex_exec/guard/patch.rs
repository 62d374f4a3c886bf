//! Which files a patch would change.
//!
//! The form is Codex's own: `*** Add File:`, `*** Update File:` (with `*** Move to:`), `*** Delete File:`. Codex takes a
//! line for a heading whatever stands around it, so every line that looks like one counts, also where it may be content:
//! a patch is then said to change more than it does, never less.

use std::path::{Component, Path, PathBuf};

/// What a heading begins with.
const HEADINGS: &[&str] = &["*** Add File:", "*** Update File:", "*** Delete File:", "*** Move to:"];

/// The paths, absolute, those that a link makes of them included, as [`Top::named`] has them. `None` if none is named, or
/// there are more than one could look through.
pub(super) fn paths(patch: &str, directory: &Path, top: &Top) -> Option<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    let lines = patch.lines().map(str::trim);
    for named in lines.filter_map(|line| HEADINGS.iter().find_map(|heading| line.strip_prefix(heading))) {
        let written = absolute(Path::new(named.trim()), directory);
        for file in [real(&written), Some(written)].into_iter().flatten() {
            let file = top.named(&file);
            let file = file.to_str()?;
            if !found.iter().any(|known| known == file) {
                found.push(file.to_owned());
            }
        }
        if found.len() > PATHS_MAX {
            return None;
        }
    }
    (!found.is_empty()).then_some(found)
}

/// More files in one patch than a person would look through.
const PATHS_MAX: usize = 1_000;

/// The workspace, which may be called by a name that leads through links.
#[derive(Clone, Debug)]
pub(super) struct Top {
    pub(super) name: PathBuf,
    real: PathBuf,
}

impl Top {
    /// Of this workspace.
    pub(super) fn of(workspace: &Path) -> Self {
        let real = workspace.canonicalize().unwrap_or_else(|_| workspace.to_owned());
        Self { name: workspace.to_owned(), real }
    }

    /// A path below the workspace under the name that the gatekeeper knows, whichever of the two it came by.
    pub(super) fn named(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.real) {
            // Joined with nothing, a path would get a slash at its end.
            Ok(rest) if rest.as_os_str().is_empty() => self.name.clone(),
            Ok(rest) => self.name.join(rest),
            Err(_) => path.to_owned(),
        }
    }
}

/// The path without `.` and `..`, from `directory` if it is relative.
pub(super) fn absolute(path: &Path, directory: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in directory.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => out.push(component),
        }
    }
    out
}

/// Where writing to this path would end up, by the links that are there now.
fn real(path: &Path) -> Option<PathBuf> {
    let mut missing = Vec::new();
    let mut existing = path;
    loop {
        if let Ok(real) = existing.canonicalize() {
            return Some(missing.iter().rev().fold(real, |path, name| path.join(name)));
        }
        // A link that leads nowhere: what is written through it is created there.
        if let Ok(target) = existing.read_link() {
            let target = absolute(&target, existing.parent()?);
            return Some(missing.iter().rev().fold(target, |path, name| path.join(name)));
        }
        missing.push(existing.file_name()?);
        existing = existing.parent()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_heading_counts() {
        let patch = "*** Begin Patch\n*** Add File: a/./b\n+*** Delete File: kept\n  *** Update File:  ../c \n*** Move \
                     to: /etc/d\n*** Delete File: e\r\n*** End Patch";
        let top = Top::of(Path::new("/nowhere/w"));
        let found = paths(patch, Path::new("/nowhere/w"), &top).unwrap();
        assert_eq!(found, ["/nowhere/w/a/b", "/nowhere/c", "/etc/d", "/nowhere/w/e"]);
        assert_eq!(paths("*** Begin Patch\n*** End Patch", Path::new("/w"), &top), None);
        assert_eq!(paths("", Path::new("/w"), &top), None);
    }

    #[test]
    fn where_a_link_leads_counts_too() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let workspace = root.join("w");
        std::fs::create_dir(&workspace).unwrap();
        std::os::unix::fs::symlink(&root, workspace.join("up")).unwrap();
        std::os::unix::fs::symlink("../hanging", workspace.join("gone")).unwrap();
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let patch = "*** Add File: up/new/x\n*** Add File: gone";
        let found = paths(patch, &workspace, &Top::of(&workspace)).unwrap();
        let expected =
            [root.join("new/x"), workspace.join("up/new/x"), root.join("hanging"), workspace.join("gone")].map(text);
        assert_eq!(found, expected);

        // A workspace by another name is the same one.
        let alias = root.join("alias");
        std::os::unix::fs::symlink(&workspace, &alias).unwrap();
        let top = Top::of(&alias);
        for directory in [&workspace, &alias] {
            let found = paths("*** Add File: new/x", directory, &top).unwrap();
            assert_eq!(found, [text(alias.join("new/x"))]);
        }
        assert_eq!(top.named(&workspace), alias);
    }
}
