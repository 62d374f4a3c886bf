//! What confines a run's commands, as Codex is told it.
//!
//! Where Codex knows permission profiles, a profile of our own lists what may be read and written, and everything else
//! is not there: the person's home, other repositories, Codex's own directory. Older versions get a plain mode, which
//! hides nothing; [`Confinement::described`] says which it is, for the record.
//!
//! Measured with 0.169.0 on Linux (`tests/sandbox/`): a profile named in `-c default_permissions` holds whatever
//! `sandbox_mode` or `default_permissions` the person's configuration has, while `-s` replaces it without a word, so that
//! `-s` is only given with a plain mode. `-c permissions.NAME` is laid over a table of that name in the person's
//! configuration: the name holds a digest of the profile, which no table of theirs has by chance.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::command_line::{path, quoted};
use super::places::{self, Places};
use super::program::{Program, Version};
use crate::ids::Digest;
use crate::policy::{SandboxMode, protected};
use crate::runtime::{Environment, Failure, SandboxProfile};

/// How much of the digest is in a profile's name.
const NAME_DIGITS: usize = 16;

/// What confines a run's commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::runtime) struct Confinement {
    settings: Vec<String>,
    kind: Kind,
    placeholders: Vec<PathBuf>,
    secrets: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A profile of this name.
    Profile(String),
    /// A mode of Codex's older kind.
    Plain(SandboxMode),
}

impl Confinement {
    /// The best that this version can do for commands that work in `workspace`.
    pub(in crate::runtime) fn of(
        version: Version,
        program: &Program,
        workspace: &Path,
        sandbox: &SandboxProfile,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        if !version.has_profiles() {
            return Self::plain(sandbox);
        }
        let places = Places::of(environment, workspace);
        let writes = sandbox.mode == SandboxMode::WorkspaceWrite;
        let mut entries: BTreeMap<PathBuf, &str> = BTreeMap::new();
        entries.extend(places.readable.iter().map(|place| (place.clone(), "read")));
        entries.extend(package(program).into_iter().map(|place| (place, "read")));
        entries.extend(sandbox.readable.iter().map(|place| (place.clone(), "read")));
        if sandbox.network {
            // Usually a link to where the system keeps it, which is not shown.
            let resolver = places::real(Path::new("/etc/resolv.conf")).filter(|real| !real.starts_with("/etc"));
            entries.extend(resolver.map(|place| (place, "read")));
        }
        if writes {
            entries.insert(sandbox.temporary.clone(), "write");
        }
        entries.extend(places.denied.iter().map(|place| (place.clone(), "deny")));
        // Without the denied root, a command that the sandbox stops is executed again outside of it once it was allowed
        // (see `codex_app_server::wall`).
        let mut filesystem = vec![
            format!("{}={}", quoted(":root"), quoted("deny")),
            format!("{}={}", quoted(":minimal"), quoted("read")),
        ];
        for (place, access) in &entries {
            filesystem.push(format!("{}={}", path(place)?, quoted(access)));
        }
        let protected = if writes { protected_in(workspace) } else { Vec::new() };
        let mut roots = vec![format!("\".\"={}", quoted(if writes { "write" } else { "read" }))];
        roots.extend(protected.iter().map(|name| format!("{}={}", quoted(name), quoted("read"))));
        filesystem.push(format!("{}={{{}}}", quoted(":workspace_roots"), roots.join(",")));
        let table = format!("{{filesystem={{{}}},network={{enabled={}}}}}", filesystem.join(","), sandbox.network);
        let digest = Digest::of(table.as_bytes()).to_string();
        let name =
            format!("orchestrator-{}", digest.rsplit(':').next().and_then(|d| d.get(..NAME_DIGITS)).unwrap_or("0"));
        // Codex looks after `.git` itself, and a directory in its place would be a repository to git.
        let placeholders = protected.iter().filter(|name| *name != ".git").map(|name| workspace.join(name));
        Ok(Self {
            settings: vec![format!("default_permissions={}", quoted(&name)), format!("permissions.{name}={table}")],
            placeholders: placeholders.filter(|place| place.symlink_metadata().is_err()).collect(),
            secrets: places.secrets,
            kind: Kind::Profile(name),
        })
    }

    fn plain(sandbox: &SandboxProfile) -> Result<Self, Failure> {
        let mut settings = Vec::new();
        if sandbox.mode == SandboxMode::WorkspaceWrite {
            settings.push("sandbox_workspace_write.exclude_slash_tmp=true".to_owned());
            settings.push("sandbox_workspace_write.exclude_tmpdir_env_var=true".to_owned());
            settings.push(format!("sandbox_workspace_write.writable_roots=[{}]", path(&sandbox.temporary)?));
            settings.push(format!("sandbox_workspace_write.network_access={}", sandbox.network));
        }
        Ok(Self { settings, kind: Kind::Plain(sandbox.mode), placeholders: Vec::new(), secrets: BTreeSet::new() })
    }

    /// The settings, as `key=value` with the value in TOML: for `codex exec`, `codex sandbox` and `codex app-server`.
    pub(in crate::runtime) fn settings(&self) -> &[String] {
        &self.settings
    }

    /// The plain mode to name, as `-s` or `sandbox_mode`. Nothing where a profile holds: naming one would replace it.
    pub(in crate::runtime) fn mode(&self) -> Option<SandboxMode> {
        match self.kind {
            Kind::Profile(_) => None,
            Kind::Plain(mode) => Some(mode),
        }
    }

    /// The profile's name, as Codex writes it into its record of a turn (`active_permission_profile`).
    pub(in crate::runtime) fn profile(&self) -> Option<&str> {
        match &self.kind {
            Kind::Profile(name) => Some(name),
            Kind::Plain(_) => None,
        }
    }

    /// What is confined and what is not, in a few words.
    pub(in crate::runtime) fn described(&self, mode: SandboxMode) -> String {
        match self.kind {
            Kind::Profile(_) => {
                format!("Codex's own, {} with a permission profile: only listed files are there", mode.as_str())
            }
            Kind::Plain(_) => {
                format!(
                    "Codex's own, plain {}: commands can read every file that the person can, keys and Codex's login included",
                    mode.as_str()
                )
            }
        }
    }

    /// The person's credentials that commands must not be able to read; none where nothing is hidden.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Path> {
        self.secrets.iter().map(PathBuf::as_path)
    }

    /// Makes empty directories of the protected names that are not there, for the time of a turn. Codex would put an
    /// empty file in each place for each command, which `git status` then shows to the model; git sees no empty
    /// directory.
    pub(in crate::runtime) fn hold_places(&self) -> Placeholders {
        let made = self.placeholders.iter().filter(|place| std::fs::create_dir(place).is_ok()).cloned().collect();
        Placeholders { made }
    }
}

/// Directories that keep a run from creating something under a protected name; removed with the value.
#[derive(Debug)]
pub(in crate::runtime) struct Placeholders {
    made: Vec<PathBuf>,
}

impl Drop for Placeholders {
    fn drop(&mut self) {
        for place in &self.made {
            std::fs::remove_dir(place).ok();
        }
    }
}

/// The protected names, a link's own name left out: Codex refuses to work where one stands in a protected place. What
/// such a link leads to inside the workspace is protected instead.
fn protected_in(workspace: &Path) -> Vec<String> {
    let mut out = BTreeSet::new();
    let there = |name: &&&str| workspace.join(name).symlink_metadata().is_ok();
    for name in protected::ALWAYS.iter().chain(protected::WHERE_THERE.iter().filter(there)) {
        let place = workspace.join(name);
        if !place.is_symlink() {
            out.insert((*name).to_owned());
            continue;
        }
        let target = places::real(&place).zip(places::real(workspace));
        let below = target.and_then(|(target, top)| target.strip_prefix(top).ok().map(Path::to_path_buf));
        out.extend(below.and_then(|below| below.to_str().map(str::to_owned)).filter(|below| !below.is_empty()));
    }
    out.into_iter().collect()
}

/// What of Codex itself its sandbox has to show: it starts itself again inside, and brings `rg`.
fn package(program: &Program) -> BTreeSet<PathBuf> {
    let learned = learned().get(&program.path).cloned();
    let of = |executable: PathBuf| {
        let package = executable.parent().and_then(Path::parent).filter(|top| top.join("codex-package.json").is_file());
        package.map_or(executable.clone(), Path::to_path_buf)
    };
    [places::real(&program.path), learned].into_iter().flatten().map(of).collect()
}

/// Programs that turned out to start another one: a version manager's shim, a wrapper.
static LEARNED: Mutex<BTreeMap<PathBuf, PathBuf>> = Mutex::new(BTreeMap::new());

/// The map is whole between any two operations.
fn learned() -> std::sync::MutexGuard<'static, BTreeMap<PathBuf, PathBuf>> {
    LEARNED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers what Codex's sandbox said it could not start, if that is a program. Returns whether that is news.
pub(super) fn learn(program: &Program, said: &str) -> bool {
    let named =
        said.lines().find_map(|line| line.strip_prefix("bwrap: execvp ")?.strip_suffix(": No such file or directory"));
    let native = named.map(Path::new).filter(|path| path.is_absolute() && crate::process::is_executable(path));
    native.is_some_and(|native| learned().insert(program.path.clone(), native.to_path_buf()).as_deref() != Some(native))
}
