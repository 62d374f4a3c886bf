//! Which Codex is called, and what its version can do.
//!
//! npm installs Codex as a script for node that starts the real program. The script is skipped: that saves node, a
//! tenth of a second and a process that would have to pass signals on. What it does that matters is repeated here.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process;
use crate::runtime::{Class, Environment, Failure};
use crate::text;

/// Names the program to call, as an absolute path, instead of the `codex` on `PATH`.
pub const PROGRAM_VARIABLE: &str = "GIT_ORCHESTRATOR_CODEX";

/// How long a call may take that only asks Codex about itself: a thousand times what it takes.
pub(in crate::runtime) const SHORT_CALL: Duration = Duration::from_secs(20);

/// The program and what its environment gets beside the run's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program to execute.
    pub path: PathBuf,
    additions: Vec<(OsString, OsString)>,
    path_prefix: Option<PathBuf>,
}

impl Program {
    /// Finds Codex in this environment.
    pub fn find(environment: &Environment) -> Result<Self, Failure> {
        if let Some(named) = environment.get(OsStr::new(PROGRAM_VARIABLE)).filter(|named| !named.is_empty()) {
            let named = Path::new(named);
            if named.is_absolute() && process::is_executable(named) {
                return Ok(Self::behind(named));
            }
            let shown = text::one_line(&named.display().to_string());
            return Err(Failure::new(
                Class::Missing,
                format!("{PROGRAM_VARIABLE} names `{shown}`, which is not the absolute path of a program"),
            )
            .fix(format!("unset {PROGRAM_VARIABLE}")));
        }
        let found = process::find_program("codex", environment)
            .ok_or_else(|| Failure::new(Class::Missing, "there is no `codex` on PATH").fix(super::INSTALL))?;
        Ok(Self::behind(&found))
    }

    /// The native program behind npm's script, or the program itself.
    fn behind(found: &Path) -> Self {
        let plain = Self { path: found.to_owned(), additions: Vec::new(), path_prefix: None };
        let Ok(script) = found.canonicalize() else { return plain };
        if script.file_name() != Some(OsStr::new("codex.js")) {
            return plain;
        }
        let (Some(package), Some((target, name))) = (script.parent().and_then(Path::parent), platform()) else {
            return plain;
        };
        // Beside the package (npm, pnpm), inside it (npm's global tree), or in it (before 0.100).
        let roots = [
            package.parent().map(|scope| scope.join(name)),
            Some(package.join("node_modules/@openai").join(name)),
            Some(package.to_owned()),
        ];
        for vendor in roots.into_iter().flatten().map(|root| root.join("vendor").join(target)) {
            let program = [vendor.join("bin/codex"), vendor.join("codex/codex")];
            if let Some(path) = program.into_iter().find(|path| process::is_executable(path)) {
                let tools = vendor.join("path");
                return Self {
                    path,
                    additions: vec![
                        ("CODEX_MANAGED_BY_NPM".into(), "1".into()),
                        ("CODEX_MANAGED_PACKAGE_ROOT".into(), package.into()),
                    ],
                    // Later versions add the directory of the bundled `rg` to PATH themselves.
                    path_prefix: tools.is_dir().then_some(tools),
                };
            }
        }
        plain
    }

    /// The environment to start it with.
    pub fn environment(&self, base: &Environment) -> Environment {
        let mut out = base.clone();
        out.extend(self.additions.iter().cloned());
        out.entry(process::RUN_MARKER.into()).or_insert_with(|| "1".into());
        if let Some(prefix) = &self.path_prefix {
            let old = out.get(OsStr::new("PATH")).cloned().unwrap_or_default();
            let all = std::iter::once(prefix.clone()).chain(std::env::split_paths(&old));
            if let Ok(path) = std::env::join_paths(all) {
                out.insert("PATH".into(), path);
            }
        }
        out
    }

    /// Asks for the version.
    pub async fn version(&self, environment: &Environment, directory: &Path) -> Result<Version, Failure> {
        let shown = text::one_line(&self.path.display().to_string());
        let answer = process::capture(&self.path, &["--version".into()], directory, environment, SHORT_CALL).await;
        let answer = answer.map_err(|error| {
            Failure::new(Class::Missing, format!("`{shown}` cannot be executed: {error}")).fix(super::INSTALL)
        })?;
        let said = String::from_utf8_lossy(&answer.stdout);
        let version = said.split_whitespace().find_map(Version::parse).filter(|_| answer.status.success());
        let version = version.ok_or_else(|| {
            let said = super::classify::shown(said.trim());
            Failure::new(Class::Missing, format!("`{shown} --version` does not answer like Codex: `{said}`"))
                .fix(super::INSTALL)
        })?;
        if version < Version::OLDEST {
            let oldest = Version::OLDEST;
            return Err(Failure::new(
                Class::Missing,
                format!("Codex {version} is too old: {oldest} is the oldest that works"),
            )
            .fix(super::INSTALL));
        }
        Ok(version)
    }
}

/// The target and the package that npm's script looks for (`bin/codex.js` of 0.169.0).
fn platform() -> Option<(&'static str, &'static str)> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some(("x86_64-unknown-linux-musl", "codex-linux-x64")),
        ("linux", "aarch64") => Some(("aarch64-unknown-linux-musl", "codex-linux-arm64")),
        ("macos", "x86_64") => Some(("x86_64-apple-darwin", "codex-darwin-x64")),
        ("macos", "aarch64") => Some(("aarch64-apple-darwin", "codex-darwin-arm64")),
        _ => None,
    }
}

/// A version of Codex. What changed between versions stands here, and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
}

impl Version {
    /// The oldest one that was measured and works: earlier ones start a new thread where one is to be continued.
    pub const OLDEST: Self = Self { major: 0, minor: 130, patch: 0 };

    /// The oldest one that can be held to a policy by its hooks: they tell in which directory a command would run from
    /// 0.166 on (0.165 does not), and input to a running process can be switched off (from 0.163 on).
    pub const OLDEST_GUARDED: Self = Self { major: 0, minor: 166, patch: 0 };

    /// The newest one that was measured. Later ones are used all the same.
    pub const NEWEST_MEASURED: Self = Self { major: 0, minor: 169, patch: 0 };

    /// `0.169.0`, also with something behind it as in `0.170.0-alpha.3`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(['-', '+']).next()?.split('.').map(|part| part.parse().ok());
        let version = Self { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(version)
    }

    /// Refuses a version whose hooks cannot hold it to a policy.
    pub(super) fn check_guarded(self) -> Result<(), Failure> {
        if self >= Self::OLDEST_GUARDED {
            return Ok(());
        }
        let oldest = Self::OLDEST_GUARDED;
        let message =
            format!("Codex {self} cannot be held to the policy by its hooks: {oldest} is the oldest that can");
        Err(Failure::new(Class::Missing, message).fix(super::INSTALL))
    }

    /// Whether it is of a later series than any that was measured; another patch of the newest one is not.
    pub fn is_unmeasured(self) -> bool {
        (self.major, self.minor) > (Self::NEWEST_MEASURED.major, Self::NEWEST_MEASURED.minor)
    }

    /// The words between `codex sandbox` and the command, in the order to try them. Measured: 0.130 wants the system's
    /// name, 0.163 and 0.169 take none; between them nobody looked, so both are tried there.
    pub fn sandbox_forms(self) -> &'static [&'static [&'static str]] {
        const SYSTEM: &[&str] = if cfg!(target_os = "macos") { &["macos"] } else { &["linux"] };
        match (self.major, self.minor) {
            (0, ..=130) => &[SYSTEM],
            (0, 131..=162) => &[&[], SYSTEM],
            _ => &[&[]],
        }
    }

    /// Whether permission profiles hold as they were measured: with 0.169.0, on Linux.
    pub fn has_profiles(self) -> bool {
        cfg!(target_os = "linux") && self >= Self { major: 0, minor: 169, patch: 0 }
    }

    /// Whether its app server asks before every command, and keeps an allowed one inside a sandbox that denies the root.
    /// Measured with 0.163 and 0.169; 0.130 executes what it takes for harmless without a question, and between them
    /// nobody looked.
    pub fn asks_for_every_command(self) -> bool {
        self >= Self { major: 0, minor: 163, patch: 0 }
    }

    /// Whether `-c agents.enabled=false` is understood: 0.130 ends with an error over it.
    pub fn has_agents_switch(self) -> bool {
        self >= Self { major: 0, minor: 163, patch: 0 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        let version = |text| Version::parse(text).unwrap();
        assert!(version("0.130.0") >= Version::OLDEST && version("0.99.9") < Version::OLDEST);
        assert_eq!(version("0.170.0-alpha.3").to_string(), "0.170.0");
        assert_eq!(version("1.0.0").sandbox_forms(), [&[] as &[&str]]);
        for wrong in ["codex-cli", "0.1", "0.1.2.3", "", "v0.1.2", "-1.0.0"] {
            assert_eq!(Version::parse(wrong), None, "{wrong}");
        }
    }
}
