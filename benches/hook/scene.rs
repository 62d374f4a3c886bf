//! Pairs of repositories with a history made for a scenario, and git in them without any configuration of a person.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts processes and writes files")]

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Outcome, managers, program};

/// How many files lie in one directory of a generated tree.
const FILES_IN_DIRECTORY: usize = 100;

/// The hooks that `install` writes: both sides have a script for each.
const HOOKS: [&str; 5] = ["post-commit", "post-merge", "post-rewrite", "post-applypatch", "pre-push"];

/// What is compared with: a hook that does nothing.
const EMPTY_HOOK: &str = "#!/bin/sh\nexit 0\n";

/// What a program says of itself on its standard output.
pub(crate) fn said(program: impl AsRef<OsStr>, arguments: &[&str]) -> Outcome<String> {
    let output = Command::new(program).args(arguments).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// How long a worker may take until it is gone.
const WORKER_DEADLINE: Duration = Duration::from_secs(60);

/// A directory for some repositories, with the environment of everything that runs in them.
pub(crate) struct Scene {
    directory: TempDir,
    environment: Vec<(OsString, OsString)>,
}

/// One repository.
pub(crate) struct Side<'a> {
    scene: &'a Scene,
    /// The top of its worktree.
    pub(crate) top: PathBuf,
}

/// A history for `git fast-import`: a commit of so many files, and then commits on branches of it.
pub(crate) struct History {
    stream: String,
    at: u64,
}

impl History {
    /// One commit on `main` with `files` files of some lines each, in directories below `src`.
    pub(crate) fn of(files: usize) -> Self {
        let mut history = Self { stream: String::new(), at: 1_700_000_000 };
        history.commit("refs/heads/main", None);
        for number in 0..files {
            history.file(&path(number), &format!("// file {number}\n{}", "let line = 1;\n".repeat(20)));
        }
        history
    }

    /// The next commit; its files follow. On top of `from`, or of the branch's own last commit.
    pub(crate) fn commit(&mut self, branch: &str, from: Option<&str>) {
        self.at += 1;
        let who = format!("Ada <ada@example.invalid> {} +0000", self.at);
        writeln!(self.stream, "commit {branch}\nauthor {who}\ncommitter {who}\ndata 4\nwork").ok();
        if let Some(from) = from {
            writeln!(self.stream, "from {from}").ok();
        }
    }

    /// A file of the last commit.
    pub(crate) fn file(&mut self, path: &str, content: &str) {
        writeln!(self.stream, "M 100644 inline {path}\ndata {}\n{content}", content.len()).ok();
    }
}

/// The path of a generated file.
pub(crate) fn path(number: usize) -> String {
    format!("src/d{:03}/f{number:05}.rs", number / FILES_IN_DIRECTORY)
}

impl Scene {
    pub(crate) fn new() -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let base = directory.path().canonicalize()?;
        fs::create_dir(base.join("home"))?;
        // No Codex: whatever starts must not reach the one of this machine.
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::split_paths(&path).filter(|directory| !directory.join("codex").exists());
        // The managers' own scripts look for their programs there, and take longer where they do not find them.
        let managers = managers::found();
        let managers = managers.iter().filter_map(|manager| manager.program.parent()).map(Path::to_path_buf);
        let path = env::join_paths(path.chain(managers))?;
        let environment = [
            ("PATH", path),
            ("HOME", base.join("home").into()),
            ("CODEX_HOME", base.join("home").into()),
            ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("LC_ALL", "C".into()),
        ];
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Ok(Self { directory, environment })
    }

    /// A repository with this history, checked out, and an empty script for each hook.
    pub(crate) fn repository(&self, name: &str, history: &History) -> Outcome<Side<'_>> {
        let top = self.directory.path().canonicalize()?.join(name);
        fs::create_dir(&top)?;
        let side = Side { scene: self, top };
        side.git(&["init", "--quiet", "--initial-branch=main"])?;
        // What git does in the background after some thousand objects would hit one of the two.
        for (key, value) in [
            ("user.name", "Ada"),
            ("user.email", "ada@example.invalid"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
        ] {
            side.git(&["config", key, value])?;
        }
        let mut child = side.command("git", &["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn()?;
        child.stdin.take().ok_or("git has no input")?.write_all(history.stream.as_bytes())?;
        if !child.wait()?.success() {
            return Err("git fast-import refuses the history".into());
        }
        side.git(&["reset", "--quiet", "--hard"])?;
        for hook in HOOKS {
            let file = side.hook(hook);
            fs::create_dir_all(side.top.join(".git/hooks"))?;
            fs::write(&file, EMPTY_HOOK)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
        Ok(side)
    }
}

impl Side<'_> {
    /// `program` in this repository, without a stream of ours.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.top)
            .env_clear()
            .envs(self.scene.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Runs it and says how long it took, from before its start until it is gone.
    pub(crate) fn timed(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Outcome<Duration> {
        let mut command = self.command(program, arguments);
        let begun = Instant::now();
        let status = command.status()?;
        let took = begun.elapsed();
        if status.success() { Ok(took) } else { Err(format!("{command:?} ended with {status}").into()) }
    }

    /// Git, untimed.
    pub(crate) fn git(&self, arguments: &[&str]) -> Outcome<()> {
        self.timed("git", arguments).map(drop)
    }

    /// Our program, untimed.
    pub(crate) fn own(&self, arguments: &[&str]) -> Outcome<()> {
        self.timed(program(), arguments).map(drop)
    }

    /// Replaces the empty scripts by what `install` writes, with this table. Nothing is carried out: the queue is paused.
    pub(crate) fn install(&self, table: &str) -> Outcome<()> {
        self.remove_hooks(&HOOKS)?;
        self.own(&["install"])?;
        self.own(&["pause"])?;
        self.table(table)
    }

    /// Accepts what lies here. Benches have no terminal; this is the bench's own repository, and its own state directory.
    fn accept(&self) -> Outcome<()> {
        let environment: orchestrator::runtime::Environment = self.scene.environment.iter().cloned().collect();
        let home = environment.get(OsStr::new("HOME")).ok_or("no HOME")?;
        let repository = orchestrator::git::Repository::discover(&self.top, false)?;
        let store = orchestrator::trust::Store::below(&Path::new(home).join(".local/state"), &repository)?;
        orchestrator::install::accept::own(&repository, &store, Path::new(&program()), &environment, true)?;
        Ok(())
    }

    /// Leaves every file out of the worktree from now on, by a sparse checkout.
    pub(crate) fn check_nothing_out(&self) -> Outcome<()> {
        self.git(&["config", "core.sparseCheckout", "true"])?;
        fs::create_dir_all(self.top.join(".git/info"))?;
        Ok(fs::write(self.top.join(".git/info/sparse-checkout"), "/nothing\n")?)
    }

    /// The script of a hook.
    pub(crate) fn hook(&self, name: &str) -> PathBuf {
        self.top.join(".git/hooks").join(name)
    }

    /// Makes room for scripts that somebody installs.
    pub(crate) fn remove_hooks(&self, names: &[&str]) -> Outcome<()> {
        for name in names {
            fs::remove_file(self.hook(name))?;
        }
        Ok(())
    }

    /// No table.
    pub(crate) fn without_table(&self) -> Outcome<()> {
        Ok(fs::remove_file(self.top.join("triggers.yaml"))?)
    }

    /// A bare repository beside this one that has `main` as it is here; there is nothing else in it.
    pub(crate) fn fresh_remote(&self) -> Outcome<()> {
        let remote = self.remote();
        if remote.exists() {
            fs::remove_dir_all(&remote)?;
        }
        self.git(&["init", "--quiet", "--bare", "--template=", &remote.to_string_lossy()])?;
        self.git(&["push", "--quiet", "--no-verify", &remote.to_string_lossy(), "main"])
    }

    /// Pushes a branch there.
    pub(crate) fn push(&self, branch: &str) -> Outcome<Duration> {
        self.timed("git", &["push", "--quiet", &self.remote().to_string_lossy(), branch])
    }

    fn remote(&self) -> PathBuf {
        self.top.with_extension("git")
    }

    /// Another table.
    pub(crate) fn table(&self, table: &str) -> Outcome<()> {
        fs::write(self.top.join("triggers.yaml"), table)?;
        self.accept()
    }

    /// Changes a file and stages it.
    pub(crate) fn stage(&self, path: &str, content: &str) -> Outcome<()> {
        let file = self.top.join(path);
        fs::create_dir_all(file.parent().unwrap_or(&self.top))?;
        fs::write(&file, content)?;
        self.git(&["add", path])
    }

    /// A commit of what is staged.
    pub(crate) fn commit(&self) -> Outcome<Duration> {
        self.timed("git", &["commit", "--quiet", "-m", "work"])
    }

    fn state(&self) -> PathBuf {
        self.top.join(".orchestrator/state")
    }

    /// The lock of the worker, held: what a hook sees while a worker works.
    pub(crate) fn hold_worker_lock(&self) -> Outcome<File> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(self.lock_file())?;
        file.try_lock()?;
        Ok(file)
    }

    fn lock_file(&self) -> PathBuf {
        self.state().join("worker.lock")
    }

    /// Waits until the worker that a hook started has taken everything in and is gone.
    pub(crate) fn wait_for_worker(&self) -> Outcome<()> {
        let begun = Instant::now();
        let is_over = || -> Outcome<bool> {
            if self.spooled()? > 0 {
                return Ok(false);
            }
            // Made by the first hook that looks for a worker.
            let lock = self.lock_file();
            Ok(!lock.exists() || File::options().read(true).write(true).open(lock)?.try_lock_shared().is_ok())
        };
        while !is_over()? {
            if begun.elapsed() > WORKER_DEADLINE {
                return Err("the worker does not end".into());
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        Ok(())
    }

    /// How many events wait.
    pub(crate) fn spooled(&self) -> Outcome<usize> {
        Ok(fs::read_dir(self.state().join("spool"))?.count())
    }

    /// Forgets the events that wait.
    pub(crate) fn forget_spooled(&self) -> Outcome<()> {
        for entry in fs::read_dir(self.state().join("spool"))? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// Whether a path is there.
    pub(crate) fn has(&self, path: &str) -> bool {
        Path::new(&self.top).join(path).exists()
    }
}
