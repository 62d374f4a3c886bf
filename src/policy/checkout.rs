//! Whether git would work in another repository than the one that a run's checkout belongs to.
//!
//! A run's commands find a configuration in their environment that overrides what the checkout's repository names:
//! filters, diff drivers, hooks. What another repository names below the checkout, nobody has looked at, and git executes
//! it: a clone that a build has put there, a submodule that somebody has filled. Bare ones git does not look for
//! (`safe.bareRepository`). This is the one rule that looks at the disk, since a path does not tell.

use std::path::{Path, PathBuf};

use super::command::paths::{behind, resolved};

/// A run's checkout.
#[derive(Clone, Debug)]
pub struct Checkout {
    root: PathBuf,
    submodules: Vec<PathBuf>,
}

impl Checkout {
    /// The checkout at `root`, whose commit has submodules at these paths, relative to it. None of them is filled by us.
    pub fn new(root: &Path, submodules: Vec<PathBuf>) -> Self {
        Self { root: root.to_owned(), submodules }
    }

    /// The place, as a path from the top, of another repository in which git would work or which it would look into, if
    /// it is called with these arguments in one of these directories, absolute.
    pub(super) fn other_repository(&self, directories: &[String], arguments: &[&str]) -> Option<String> {
        // Git goes into each submodule that is filled, from wherever it is asked for the state of the whole.
        let mut submodules = self.submodules.iter().filter(|place| is_repository(&self.root.join(place)));
        if let Some(place) = submodules.next() {
            return Some(place.display().to_string());
        }
        directories.iter().find_map(|directory| self.around(directory, arguments))
    }

    fn around(&self, directory: &str, arguments: &[&str]) -> Option<String> {
        let mut base = directory.to_owned();
        let mut rest = arguments.iter();
        let mut others = Vec::new();
        while let Some(argument) = rest.next() {
            let named = match argument.strip_prefix("-C") {
                Some("") => rest.next().copied(),
                Some(attached) if others.is_empty() => Some(attached),
                _ => None,
            };
            match named {
                // Behind the subcommand it is an option of its own that finds copies: then this looks at one place more.
                Some(named) => base = resolved(&base, named)?,
                None => others.push(*argument),
            }
        }
        let files = others.iter().filter_map(|argument| resolved(&base, argument));
        let found = std::iter::once(base.clone()).chain(files).find_map(|place| self.above(Path::new(&place)));
        found.or_else(|| self.behind_links(Path::new(&base)))
    }

    /// The nearest repository that holds this place, below the top.
    fn above(&self, place: &Path) -> Option<String> {
        let mut inside = place.ancestors().take_while(|above| *above != self.root && above.starts_with(&self.root));
        inside.find(|above| is_repository(above)).map(|above| self.shown(above))
    }

    /// The same for where the directory really lies.
    fn behind_links(&self, directory: &Path) -> Option<String> {
        let (root, real) = (self.root.canonicalize().ok()?, directory.canonicalize().ok()?);
        if real == root {
            return None;
        }
        if !real.starts_with(&root) {
            return Some(self.shown(directory));
        }
        let mut inside = real.ancestors().take_while(|above| *above != root);
        inside.find(|above| is_repository(above)).map(|_| self.shown(directory))
    }

    fn shown(&self, place: &Path) -> String {
        let (root, place) = (self.root.to_string_lossy(), place.to_string_lossy());
        behind(&root, &place).unwrap_or(&place).to_owned()
    }
}

/// Whether git would take this directory for the top of a worktree: by a directory or by a file.
fn is_repository(directory: &Path) -> bool {
    directory.join(".git").symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_repository_below_the_checkout_is_another_one() {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().canonicalize().unwrap();
        for directory in [".git", "src/deep", "vendor/x/.git", "vendor/x/lib", "module", "outside"] {
            std::fs::create_dir_all(root.join("checkout").join(directory)).unwrap();
        }
        let root = root.join("checkout");
        symlink("vendor/x/lib", root.join("link")).unwrap();
        symlink(top.path(), root.join("out")).unwrap();
        let checkout = Checkout::new(&root, vec!["module".into()]);
        let other = |directory: &str, arguments: &[&str]| {
            let directory = root.join(directory).display().to_string();
            checkout.other_repository(&[directory], arguments)
        };
        for (directory, arguments) in [
            ("", ["status"].as_slice()),
            ("src/deep", &["log", "-1"]),
            ("", &["-C", "src", "diff", "-C", "HEAD", "--", "vendor"]),
            ("", &["show", "HEAD:vendor/x/lib"]),
            ("nowhere", &["status"]),
        ] {
            assert_eq!(other(directory, arguments), None, "{directory} {arguments:?}");
        }
        for (directory, arguments) in [
            ("vendor/x", ["status"].as_slice()),
            ("vendor/x/lib", &["log"]),
            ("vendor/x/lib/nowhere", &["log"]),
            ("", &["-C", "vendor/x", "status"]),
            ("", &["-Cvendor/x/lib", "status"]),
            ("", &["-C", "vendor", "-C", "x", "status"]),
            ("src", &["-C", "../vendor/x", "status"]),
            ("", &["diff", "--", "vendor/x"]),
            ("link", &["status"]),
            ("", &["-C", "link", "status"]),
            ("out", &["status"]),
        ] {
            assert!(other(directory, arguments).is_some(), "{directory} {arguments:?}");
        }
        assert_eq!(other("vendor/x/lib", &["log"]).as_deref(), Some("vendor/x"));
        crate::files::write(&root.join("module/.git"), b"gitdir: ../vendor/x/.git\n").unwrap();
        assert_eq!(other("", &["status"]).as_deref(), Some("module"));
    }
}
