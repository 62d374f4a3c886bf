//! A repository with everything a person has around it: a home, a Codex of their own, git without global configuration.
//!
//! Everything lies in one directory under the target directory (below the temporary one Codex's sandbox fails) and goes
//! with the value; the environment of every child is made here and nothing of the caller's leaks in.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stderr, reason = "this is a test's")]

pub(crate) mod person;
#[path = "../terminal/mod.rs"]
pub(crate) mod terminal;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long a test waits for something that takes a second: the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The built binary.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_git-orchestrator");

/// The real Codex CLI, or `None` with a word on how to get it. With CI=true a missing one fails.
pub(crate) fn codex() -> Option<PathBuf> {
    let pinned = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/codex/node_modules/.bin/codex");
    let named = std::env::var_os("GIT_ORCHESTRATOR_TEST_CODEX").map(PathBuf::from);
    let found = named.into_iter().chain([pinned]).find(|path| path.exists());
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "the pinned Codex CLI is missing: (cd .ci/codex && npm ci)"
        );
        eprintln!("SKIPPED: no Codex CLI; install the pinned one with `(cd .ci/codex && npm ci)`");
    }
    found
}

/// Waits until `condition` gives something, and fails with `what` if it does not in time.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "timed out waiting for: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A table with one row that starts the tester on every commit.
pub(crate) const TESTER_ON_COMMIT: &str = "\
version: 1
triggers:
  - name: test
    on: [post-commit, post-merge, post-rewrite, post-applypatch]
    role: tester
    debounce: 0s
policy:
  roles:
    tester:
      sandbox: workspace-write
      commands: [git show, ls, cat, make test]
      limits: { wall: 60s, idle: 20s, attempts: 1 }
";

/// A repository and its surroundings.
pub(crate) struct Scene {
    directory: TempDir,
    /// The top of the main worktree.
    pub(crate) top: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

impl Scene {
    /// An empty repository on branch `main`. Codex is not configured, and not found.
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("scene-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let base = directory.path().canonicalize().unwrap();
        let top = base.join("repo");
        for name in ["repo", "home", "codex", "bin"] {
            fs::create_dir(base.join(name)).unwrap();
        }
        let path = std::env::var_os("PATH").unwrap();
        // Whatever `codex` the machine has is not the one under test.
        let clean = std::env::split_paths(&path).filter(|dir| !dir.join("codex").exists());
        let path = std::env::join_paths(std::iter::once(base.join("bin")).chain(clean)).unwrap();
        let mut environment: Vec<(OsString, OsString)> = vec![("PATH".into(), path)];
        for (name, value) in [
            ("HOME", base.join("home").as_os_str()),
            ("CODEX_HOME", base.join("codex").as_os_str()),
            ("GIT_CONFIG_GLOBAL", OsStr::new("/dev/null")),
            ("GIT_CONFIG_NOSYSTEM", OsStr::new("1")),
            ("LC_ALL", OsStr::new("C")),
            ("NO_COLOR", OsStr::new("1")),
            ("SCRIPT_KEY", OsStr::new("not-a-secret")),
        ] {
            environment.push((name.into(), value.into()));
        }
        // The toolchain of the machine, for runs that test a Cargo project.
        for name in ["RUSTUP_HOME", "CARGO_HOME"] {
            let usual = std::env::var_os("HOME").map(|home| {
                Path::new(&home).join(if name == "CARGO_HOME" { ".cargo" } else { ".rustup" }).into_os_string()
            });
            if let Some(value) = std::env::var_os(name).or(usual) {
                environment.push((name.into(), value));
            }
        }
        let scene = Self { directory, top, environment };
        scene.git(&["init", "--quiet", "--initial-branch=main"]);
        scene.git(&["config", "user.name", "Ada"]);
        scene.git(&["config", "user.email", "ada@example.invalid"]);
        scene
    }

    /// [`Scene::new`], with this table and `install` done.
    pub(crate) fn installed(table: &str) -> Self {
        let scene = Self::new();
        scene.write("triggers.yaml", table);
        scene.install();
        scene
    }

    /// `install` by a person at a terminal, who accepts what lies there.
    pub(crate) fn install(&self) {
        let said = self.at_terminal(&self.top, &["install"], terminal::yes);
        assert!(said.code == 0 && !said.text.contains("error"), "{}", said.text);
    }

    /// `trust` by a person at a terminal, who accepts what lies there now.
    pub(crate) fn trust(&self) {
        let said = self.at_terminal(&self.top, &["trust"], terminal::yes);
        assert_eq!(said.code, 0, "{}", said.text);
    }

    /// Runs the program on a terminal of its own: see [`terminal::on_terminal`].
    pub(crate) fn at_terminal(
        &self,
        directory: &Path,
        arguments: &[&str],
        answer: impl FnMut(&str, &str) -> String,
    ) -> terminal::Said {
        terminal::on_terminal(Path::new(PROGRAM), arguments, directory, self.environment.iter().cloned(), answer)
    }

    /// Puts the real Codex on PATH, configured by its own config.toml to ask the server at `url`.
    pub(crate) fn with_codex(mut self, codex: &Path, url: &str) -> Self {
        self.set("GIT_ORCHESTRATOR_CODEX", codex.canonicalize().unwrap());
        self.provider(url);
        self
    }

    /// Codex's config.toml: a provider of its own, with as few retries as there can be.
    pub(crate) fn provider(&self, url: &str) {
        let config = format!(
            "model = \"script-1\"\nmodel_provider = \"script\"\n\n[model_providers.script]\nname = \"script\"\n\
             base_url = \"{url}\"\nwire_api = \"responses\"\nenv_key = \"SCRIPT_KEY\"\n\
             request_max_retries = 0\nstream_max_retries = 0\n"
        );
        fs::write(self.path("codex").join("config.toml"), config).unwrap();
    }

    /// A directory beside the repository.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    /// Sets a variable for every later child.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.unset(name);
        self.environment.push((name.into(), value.into()));
    }

    /// Removes a variable.
    pub(crate) fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// A command in the repository, with the scene's environment and nothing else.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.top).env_clear().envs(self.environment.iter().cloned());
        command.stdin(std::process::Stdio::null());
        command
    }

    /// Runs git and returns its standard output.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.git_in(&self.top, arguments)
    }

    /// [`Scene::git`], in another directory.
    pub(crate) fn git_in(&self, directory: &Path, arguments: &[&str]) -> String {
        let output = self.command("git").current_dir(directory).args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the program.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(PROGRAM).args(arguments).output().unwrap()
    }

    /// Runs the program, which has to succeed, and returns its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?} ended with {:?}\n{out}{err}", output.status.code());
        out
    }

    /// `status --json`.
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.ok(&["status", "--json", "--limit", "100"])).unwrap()
    }

    /// The newest run of `status --json`.
    pub(crate) fn newest(&self) -> Value {
        self.status()["runs"][0].clone()
    }

    /// Waits for everything and returns the exit code.
    pub(crate) fn wait(&self) -> i32 {
        self.run(&["wait", "--timeout", "120s"]).status.code().unwrap()
    }

    /// Writes a file of the repository.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.top.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Reads a file of the repository.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.top.join(path)).unwrap()
    }

    /// Writes a file, commits it, and returns the commit and what git and its hooks said on standard error.
    pub(crate) fn commit(&self, path: &str, content: &str, message: &str) -> (String, String) {
        self.write(path, content);
        self.git(&["add", path]);
        let output = self.command("git").args(["commit", "--quiet", "-m", message]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        (self.git(&["rev-parse", "HEAD"]).trim().to_owned(), text(&output.stderr))
    }

    /// Writes an executable script.
    pub(crate) fn script(path: &Path, content: &str) {
        fs::write(path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The processes that have this scene's home, by `/proc`: the worker, Codex, and its commands.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mark = format!("HOME={}", self.path("home").display());
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| {
                fs::read(format!("/proc/{pid}/environ"))
                    .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes()))
            })
            .collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // A test that failed may leave a worker: these are ours, by the mark in their environment.
        for pid in self.processes() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
        }
    }
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
