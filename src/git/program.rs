//! The git program, for what libgit2 must not do (checking files out would run what a repository configures), for
//! configuration as git itself reads it, and for repositories that libgit2 cannot read.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Repository, neutral};
use crate::error::{Context as _, Error, Result};
use crate::process;
use crate::process::Environment;
use crate::text;

/// How long one git command may take. Checking out a very large tree on a slow disk takes minutes.
const GIT_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// How long git may take to say something about itself.
const SHORT_DEADLINE: Duration = Duration::from_secs(10);

/// One value of a setting, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The name, section and last word in lower case, as git prints it. Bytes that are no UTF-8 are escaped.
    pub key: String,
    /// The value as it is written; empty where there is only the name.
    pub value: Vec<u8>,
    /// Which of git's files: `system`, `global`, `local`, `worktree`, or `command` for a variable.
    pub scope: String,
    /// The file, where it is one.
    pub file: Option<PathBuf>,
}

/// The git program that is found first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where.
    pub path: PathBuf,
    /// What it calls its version: `2.47.3`, `2.39.5 (Apple Git-154)`.
    pub version: String,
}

impl Program {
    /// The git program in this environment.
    pub fn find(environment: &Environment) -> Result<Self> {
        let path = find(environment)?;
        let (arguments, root) = ([OsStr::new("--version")], Path::new("/"));
        let (_, output) = execute_within(SHORT_DEADLINE, &path, &arguments, root, environment.clone(), None, &[0])?;
        let line = text::bytes_line(output.trim_ascii());
        Ok(Self { path, version: line.strip_prefix("git version ").unwrap_or(&line).to_owned() })
    }

    /// Whether its version is at least this one. A version that does not read is taken for an old one.
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        let mut numbers = self.version.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse::<u32>().ok());
        let mut next = || numbers.next().flatten().unwrap_or(0);
        (next(), next()) >= (major, minor)
    }
}

impl Repository {
    /// The path in the setting `key`, as git itself reads it in `environment`: all files, conditional includes and
    /// variables, `~` expanded. `None` if it is not set.
    pub fn path_setting(&self, key: &str, environment: &Environment) -> Result<Option<PathBuf>> {
        let value = setting(environment, self.git_directory(), self.place(), &["--type=path", "--get", key])?;
        Ok(value.map(|value| PathBuf::from(OsString::from_vec(value))))
    }

    /// All settings whose name matches git's regular expression, with where each stands; the last of a name wins.
    pub fn settings(&self, names: &str, environment: &Environment) -> Result<Vec<Setting>> {
        let arguments = ["config", "--show-scope", "--show-origin", "-z", "--get-regexp", names];
        let (_, output) = self.ask(&arguments, environment)?;
        let mut out = Vec::new();
        let mut words = output.split(|byte| *byte == 0);
        while let (Some(scope), Some(origin), Some(entry)) = (words.next(), words.next(), words.next()) {
            let end = entry.iter().position(|byte| *byte == b'\n').unwrap_or(entry.len());
            let file = origin.strip_prefix(b"file:").map(|path| self.place().join(OsStr::from_bytes(path)));
            out.push(Setting {
                key: text::bytes_line(entry.get(..end).unwrap_or_default()),
                value: entry.get(end + 1..).unwrap_or_default().to_vec(),
                scope: text::bytes_line(scope),
                file,
            });
        }
        Ok(out)
    }

    /// The directory that git takes this worktree's hooks from, whatever sets it. It may be missing, or no directory.
    pub fn hooks_directory(&self, environment: &Environment) -> Result<PathBuf> {
        let (_, output) = self.ask(&["rev-parse", "--git-path", "hooks"], environment)?;
        let path = output.strip_suffix(b"\n").unwrap_or(&output).to_vec();
        // Set to nothing, the setting makes git look for `/NAME`.
        let path = if path.is_empty() { PathBuf::from("/") } else { PathBuf::from(OsString::from_vec(path)) };
        Ok(self.place().join(path))
    }

    /// Whether the index of this worktree holds anything at `path` or below it. Nothing outside of it is tracked.
    pub fn is_tracked(&self, path: &Path, environment: &Environment) -> Result<bool> {
        let Some(below) = self.below_the_top(path) else { return Ok(false) };
        let arguments = [OsStr::new("--literal-pathspecs"), "ls-files".as_ref(), "-z".as_ref(), "--".as_ref()];
        let arguments: Vec<&OsStr> = arguments.into_iter().chain([below.as_os_str()]).collect();
        let (_, output) = self.ask_plainly(&arguments, environment, &[0])?;
        Ok(!output.is_empty())
    }

    /// Whether git ignores what lies at `path`. Nothing outside of the worktree is ignored by it.
    pub fn is_ignored(&self, path: &Path, environment: &Environment) -> Result<bool> {
        let Some(below) = self.below_the_top(path) else { return Ok(false) };
        let arguments = ["check-ignore", "--quiet", "--no-index", "--"].map(OsStr::new);
        let arguments: Vec<&OsStr> = arguments.into_iter().chain([below.as_os_str()]).collect();
        Ok(self.ask_plainly(&arguments, environment, &[0, 1])?.0 == 0)
    }

    /// The path from the top of the worktree, links in it resolved; the last component may be missing.
    fn below_the_top(&self, path: &Path) -> Option<PathBuf> {
        let top = self.worktree()?.canonicalize().ok()?;
        let path =
            path.canonicalize().ok().or_else(|| Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?)))?;
        path.strip_prefix(&top).ok().filter(|below| !below.as_os_str().is_empty()).map(Path::to_path_buf)
    }

    /// Asks git about this worktree under the person's own configuration. Exit code 1 means no.
    fn ask(&self, arguments: &[&str], environment: &Environment) -> Result<(i32, Vec<u8>)> {
        let program = find(environment)?;
        let mut environment = environment.clone();
        environment.insert("GIT_DIR".into(), self.git_directory().into());
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        execute(&program, &arguments, self.place(), environment, None, &[0, 1])
    }

    /// Asks git about this worktree with nothing that the configuration could have executed.
    fn ask_plainly(&self, arguments: &[&OsStr], environment: &Environment, good: &[i32]) -> Result<(i32, Vec<u8>)> {
        let git = Git::new(environment)?;
        let keys = git.configured_keys(self.git_directory())?;
        let mut environment = git.environment.clone();
        environment.extend(neutral::variables(&keys));
        environment.insert("GIT_DIR".into(), self.git_directory().into());
        if let Some(top) = self.worktree() {
            environment.insert("GIT_WORK_TREE".into(), top.into());
        }
        execute(&git.program, arguments, self.place(), environment, None, good)
    }
}

/// What `git config` prints for this question in the person's own environment; `None` if it is not set.
pub(super) fn setting(
    environment: &Environment,
    git_directory: &Path,
    directory: &Path,
    question: &[&str],
) -> Result<Option<Vec<u8>>> {
    let program = find(environment)?;
    let mut environment = environment.clone();
    environment.insert("GIT_DIR".into(), git_directory.into());
    let arguments: Vec<&OsStr> = ["config", "-z"].iter().chain(question).map(OsStr::new).collect();
    let (code, output) = execute(&program, &arguments, directory, environment, None, &[0, 1])?;
    Ok((code == 0).then(|| output.strip_suffix(b"\0").unwrap_or(&output).to_vec()))
}

/// The git directory as git finds it from `directory` in this environment, which may name it. Git refuses here what it
/// does not know or trust.
pub(super) fn git_directory(directory: &Path, mut environment: Environment) -> Result<PathBuf> {
    let program = find(&environment)?;
    environment.insert("LC_ALL".into(), "C".into());
    let arguments = ["rev-parse", "--absolute-git-dir"].map(OsStr::new);
    let (_, mut output) = execute(&program, &arguments, directory, environment, None, &[0])?;
    output.pop_if(|byte| *byte == b'\n');
    Ok(PathBuf::from(OsString::from_vec(output)))
}

/// The person's `init.templateDir`, `~` expanded, whatever file it stands in. Asked in `directory`, outside of any
/// repository.
pub fn template_setting(directory: &Path, environment: &Environment) -> Result<Option<PathBuf>> {
    let mut environment = environment.clone();
    environment.insert("GIT_CEILING_DIRECTORIES".into(), directory.parent().unwrap_or(Path::new("/")).into());
    let arguments = ["config", "--type=path", "-z", "--get", "init.templateDir"].map(OsStr::new);
    let (code, output) = execute(&find(&environment)?, &arguments, directory, environment, None, &[0, 1])?;
    let value = output.strip_suffix(b"\0").unwrap_or(&output).to_vec();
    Ok((code == 0 && !value.is_empty()).then(|| PathBuf::from(OsString::from_vec(value))))
}

/// Makes an empty bare repository with the template that git itself brings.
pub fn init_bare(directory: &Path, environment: &Environment) -> Result<()> {
    let mut environment = environment.clone();
    environment.retain(|name, _| !name.as_bytes().starts_with(b"GIT"));
    environment.insert("GIT_CONFIG_GLOBAL".into(), "/dev/null".into());
    environment.insert("GIT_CONFIG_NOSYSTEM".into(), "1".into());
    let arguments = ["init", "--quiet", "--bare", "."].map(OsStr::new);
    execute(&find(&environment)?, &arguments, directory, environment, None, &[0]).map(drop)
}

/// The git program, with an environment in which it executes nothing but itself.
pub(super) struct Git {
    program: PathBuf,
    environment: Environment,
    deadline: Duration,
}

impl Git {
    pub(super) fn new(environment: &Environment) -> Result<Self> {
        let program = find(environment)?;
        // No variable of git's own, whoever set it: the caller's list keeps some for agents that go online.
        let mut environment = environment.clone();
        environment.retain(|name, _| {
            !name.as_bytes().starts_with(b"GIT") || name.as_bytes().starts_with(b"GIT_ORCHESTRATOR_")
        });
        environment.insert("LC_ALL".into(), "C".into());
        // Nothing here goes online. An older git does not know `GIT_NO_LAZY_FETCH`, and every git knows this.
        environment.insert("GIT_ALLOW_PROTOCOL".into(), "".into());
        Ok(Self { program, environment, deadline: GIT_DEADLINE })
    }

    /// The same, with less patience.
    pub(super) fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The names of all settings that are in force for this git directory.
    pub(super) fn configured_keys(&self, git_directory: &Path) -> Result<BTreeSet<Vec<u8>>> {
        let arguments = ["config", "--list", "--name-only", "-z"].map(OsStr::new);
        let keys = self.run(git_directory, None, &BTreeSet::new(), &arguments)?;
        Ok(keys.split(|byte| *byte == 0).filter(|key| !key.is_empty()).map(<[u8]>::to_vec).collect())
    }

    pub(super) fn run(
        &self,
        git_directory: &Path,
        worktree: Option<&Path>,
        keys: &BTreeSet<Vec<u8>>,
        arguments: &[&OsStr],
    ) -> Result<Vec<u8>> {
        self.run_with(git_directory, worktree, keys, arguments, None, &[0])
    }

    /// Runs git on this directory and worktree, whatever stands in them, and returns what it printed.
    pub(super) fn run_with(
        &self,
        git_directory: &Path,
        worktree: Option<&Path>,
        keys: &BTreeSet<Vec<u8>>,
        arguments: &[&OsStr],
        input: Option<Vec<u8>>,
        good: &[i32],
    ) -> Result<Vec<u8>> {
        let mut environment = self.environment.clone();
        environment.extend(neutral::variables(keys));
        environment.insert("GIT_DIR".into(), git_directory.into());
        if let Some(worktree) = worktree {
            environment.insert("GIT_WORK_TREE".into(), worktree.into());
        }
        let directory = worktree.unwrap_or(git_directory);
        execute_within(self.deadline, &self.program, arguments, directory, environment, input, good)
            .map(|(_, output)| output)
    }
}

/// Git, where it only reads one repository's objects and refs: no command of the repository's configuration is called
/// for that, so that its keys need not be listed first.
pub(super) struct Reading {
    program: PathBuf,
    environment: Environment,
    git_directory: PathBuf,
}

impl Reading {
    pub(super) fn new(environment: &Environment, git_directory: &Path) -> Result<Self> {
        let Git { program, mut environment, .. } = Git::new(environment)?;
        environment.extend(neutral::variables(&BTreeSet::new()));
        environment.insert("GIT_DIR".into(), git_directory.into());
        // A file that cannot be there: an empty one would make git speak.
        environment.insert("GIT_GRAFT_FILE".into(), "/dev/null/none".into());
        Ok(Self { program, environment, git_directory: git_directory.to_path_buf() })
    }

    pub(super) fn git_directory(&self) -> &Path {
        &self.git_directory
    }

    /// One of the `good` exit codes and what git printed.
    pub(super) fn ask(&self, arguments: &[&OsStr], good: &[i32]) -> Result<(i32, Vec<u8>)> {
        execute(&self.program, arguments, &self.git_directory, self.environment.clone(), None, good)
    }

    /// The command, to be given its streams.
    pub(super) fn command(&self, arguments: &[&OsStr]) -> duct::Expression {
        duct::cmd(&self.program, arguments).dir(&self.git_directory).full_env(&self.environment)
    }
}

fn find(environment: &Environment) -> Result<PathBuf> {
    // A hook's git may be on no PATH but the one it made for its hooks.
    let beside_hooks = || {
        let program = PathBuf::from(std::env::var_os("GIT_EXEC_PATH")?).join("git");
        Some(program).filter(|program| program.is_absolute() && process::is_executable(program))
    };
    process::find_program("git", environment)
        .or_else(beside_hooks)
        .ok_or_else(|| Error::failed("there is no `git` on PATH").hint("install git, or add its directory to PATH"))
}

/// Runs git to its end; one of the `good` exit codes and what it printed.
fn execute(
    program: &Path,
    arguments: &[&OsStr],
    directory: &Path,
    environment: Environment,
    input: Option<Vec<u8>>,
    good: &[i32],
) -> Result<(i32, Vec<u8>)> {
    execute_within(GIT_DEADLINE, program, arguments, directory, environment, input, good)
}

/// [`execute`], for at most so long.
fn execute_within(
    deadline: Duration,
    program: &Path,
    arguments: &[&OsStr],
    directory: &Path,
    environment: Environment,
    input: Option<Vec<u8>>,
    good: &[i32],
) -> Result<(i32, Vec<u8>)> {
    let name = arguments.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let failed = || format!("cannot run `git {name}`");
    let expression = duct::cmd(program, arguments)
        .dir(directory)
        .full_env(environment)
        .stdout_capture()
        .stderr_capture()
        .unchecked();
    let expression = match input {
        Some(bytes) => expression.stdin_bytes(bytes),
        None => expression.stdin_null(),
    };
    let handle = expression.start().context(failed)?;
    if handle.wait_timeout(deadline).context(failed)?.is_none() {
        handle.kill().context(failed)?;
        return Err(Error::timed_out(format!("`git {name}` took longer than {}", text::duration(deadline))));
    }
    let output = handle.into_output().context(failed)?;
    if let Some(code) = output.status.code().filter(|code| good.contains(code)) {
        return Ok((code, output.stdout));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = text::one_line(text::prefix_bytes(said.trim(), 1000));
    Err(Error::failed(format!("`git {name}` failed ({}): {said}", output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let git = |version: &str| Program { path: PathBuf::new(), version: version.to_owned() };
        for yes in ["2.54.0", "2.54.0.rc1", "2.100.1", "3.0.0"] {
            assert!(git(yes).is_at_least(2, 54), "{yes}");
        }
        for no in ["2.53.9", "2.39.5 (Apple Git-154)", "1.99", "", "unknown"] {
            assert!(!git(no).is_at_least(2, 54), "{no}");
        }
    }
}
