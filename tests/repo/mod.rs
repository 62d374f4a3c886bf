//! Real repositories in temporary directories, driven by the real git with nothing of the machine's configuration.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use orchestrator::git::Repository;
use orchestrator::runtime::Environment;

/// A directory with a repository `work` in it, gone at the end.
pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) work: PathBuf,
}

/// The environment of every git that a test starts.
pub(crate) fn environment() -> Environment {
    let mut out: Environment =
        std::env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("GIT")).collect();
    for (name, value) in [
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "Ada"),
        ("GIT_AUTHOR_EMAIL", "ada@example.org"),
        ("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z"),
        ("GIT_COMMITTER_NAME", "Ada"),
        ("GIT_COMMITTER_EMAIL", "ada@example.org"),
        ("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z"),
        ("GIT_EDITOR", "true"),
        ("GIT_SEQUENCE_EDITOR", "true"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("LC_ALL", "C"),
    ] {
        out.insert(name.into(), value.into());
    }
    out
}

/// Runs git in `directory`, whatever its exit code.
pub(crate) fn try_git<I: IntoIterator<Item: Into<OsString>>>(directory: &Path, arguments: I) -> Output {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    duct::cmd("git", &arguments)
        .dir(directory)
        .full_env(environment())
        .stdin_null()
        .stdout_capture()
        .stderr_capture()
        .unchecked()
        .run()
        .unwrap()
}

/// Runs git in `directory`; what it printed, without the last line break.
pub(crate) fn git<I: IntoIterator<Item: Into<OsString>>>(directory: &Path, arguments: I) -> String {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let output = try_git(directory, &arguments);
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

impl Fixture {
    /// An empty repository on `main`.
    pub(crate) fn new() -> Self {
        Self::named("work")
    }

    /// One of each kind that objects and refs are kept in, as far as this git can make them; the ordinary one first.
    pub(crate) fn of_every_format() -> Vec<Self> {
        let sha256 = ["--object-format=sha256"].as_slice();
        let reftable = ["--ref-format=reftable"].as_slice();
        let formats = [&[], sha256, reftable, &["--object-format=sha256", "--ref-format=reftable"]];
        let is_known = |format: &&[&str]| {
            let directory = tempfile::tempdir().unwrap();
            let arguments = ["init", "--quiet"].iter().chain(*format).chain([&"try"]);
            try_git(directory.path(), arguments).status.success()
        };
        formats.into_iter().filter(is_known).map(|format| Self::made("work", format)).collect()
    }

    /// The same under another name.
    pub(crate) fn named(name: &str) -> Self {
        Self::made(name, &[])
    }

    fn made(name: &str, format: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let work = directory.path().join(name);
        fs::create_dir_all(&work).unwrap();
        let work = work.canonicalize().unwrap();
        git(&work, ["init", "--quiet", "-b", "main"].iter().chain(format));
        Self { directory, work }
    }

    pub(crate) fn git<const N: usize>(&self, arguments: [&str; N]) -> String {
        git(&self.work, arguments)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        write(&self.work.join(path), content);
    }

    /// Writes a file and commits everything; the new commit.
    pub(crate) fn commit(&self, path: &str, content: impl AsRef<[u8]>) -> String {
        self.write(path, content);
        self.git(["add", "--all"]);
        self.git(["commit", "--quiet", "-m", &format!("change {path}")]);
        self.git(["rev-parse", "HEAD"])
    }

    pub(crate) fn open(&self) -> Repository {
        Repository::discover(&self.work, false).unwrap()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.work.join(path)
    }
}

/// Writes a file whose directory may be missing.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    fs::write(path, content).unwrap();
}

/// Writes a program.
pub(crate) fn write_program(path: &Path, content: &str) {
    write(path, content);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Everything below a directory: the relative path with what stands there (mode and bytes, link target, `dir`).
pub(crate) fn snapshot(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut out = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(current) = open.pop() {
        for entry in fs::read_dir(&current).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let what = if meta.is_symlink() {
                format!("link {}", path.read_link().unwrap().display())
            } else if meta.is_dir() {
                open.push(path.clone());
                "dir".to_owned()
            } else if meta.is_file() {
                let digest = orchestrator::ids::Digest::of(&fs::read(&path).unwrap());
                format!("file {:o} {digest}", meta.permissions().mode())
            } else {
                "special".to_owned()
            };
            out.insert(path.strip_prefix(directory).unwrap().to_path_buf(), what);
        }
    }
    out
}
