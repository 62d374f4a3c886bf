//! Which directories a build needs that lie outside the system's own, and which files among them hold credentials.
//!
//! A permission profile hides everything that is not listed, the person's home included. Toolchains lie there, so they
//! are listed one by one; what a tool keeps to log in with is denied again where it lies in one of them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::config::{self, variable};
use crate::process::TOOLCHAIN_PLACES;
use crate::runtime::Environment;

/// Where they lie in a home without a variable. None of them is a place for credentials.
const IN_HOME: &[&str] = &[
    ".asdf",
    ".bun/bin",
    ".bun/install",
    ".cargo",
    ".deno/bin",
    ".dotnet",
    ".fnm",
    ".gradle/caches",
    ".gradle/wrapper",
    ".juliaup",
    ".local/bin",
    ".local/lib",
    ".local/share/fnm",
    ".local/share/mise",
    ".local/share/pipx",
    ".local/share/pnpm",
    ".local/share/uv",
    ".m2/repository",
    ".nuget/packages",
    ".nvm",
    ".pyenv",
    ".rbenv",
    ".rustup",
    ".rvm",
    ".sdkman",
    ".volta",
    "go",
];

/// Where credentials lie in a home. Hidden with the home; denied by name where a toolchain's place would show them, and
/// asked for by the preflight.
pub(super) const SECRET_IN_HOME: &[&str] = &[
    ".aws",
    ".azure",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".config/gcloud",
    ".config/gh",
    ".config/git/credentials",
    ".docker",
    ".git-credentials",
    ".gnupg",
    ".gradle/gradle.properties",
    ".kube",
    ".m2/settings.xml",
    ".netrc",
    ".npmrc",
    ".password-store",
    ".pypirc",
    ".ssh",
];

/// The same under a toolchain's own variable.
const SECRET_IN_TOOLCHAIN: &[(&str, &[&str])] = &[("CARGO_HOME", &["credentials", "credentials.toml"])];

/// Files of the whole machine that a program run as root could read.
const SECRET_IN_SYSTEM: &[&str] = &[
    "/etc/codex",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/krb5.keytab",
    "/etc/netrc",
    "/etc/npmrc",
    "/etc/pip.conf",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/sudoers",
    "/etc/sudoers.d",
];

/// What Codex's `:minimal` shows already (`LINUX_PLATFORM_DEFAULT_READ_ROOTS` there).
const SYSTEM: &[&str] = &["/bin", "/etc", "/lib", "/lib64", "/nix/store", "/run/current-system/sw", "/sbin", "/usr"];

/// What commands may read, and what of it they may not. Real paths that exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) readable: BTreeSet<PathBuf>,
    pub(super) denied: BTreeSet<PathBuf>,
    /// The person's credentials as far as they are there, whether a readable place holds them or not.
    pub(super) secrets: BTreeSet<PathBuf>,
}

impl Places {
    /// Looks around, for commands that work in `workspace`.
    pub(super) fn of(environment: &Environment, workspace: &Path) -> Self {
        let home = variable(environment, "HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let codex = config::home(environment);
        let guarded: Vec<PathBuf> =
            [home.as_deref(), codex.as_deref(), Some(workspace)].into_iter().flatten().filter_map(real).collect();
        let secrets: BTreeSet<PathBuf> = Self::secrets(environment, home.as_deref());
        let is_narrow = |place: &Path| {
            place.parent().is_some()
                && !guarded.iter().any(|guarded| guarded.starts_with(place))
                && !secrets.iter().any(|secret| place.starts_with(secret))
        };
        let named = TOOLCHAIN_PLACES.iter().filter_map(|name| variable(environment, name)).map(PathBuf::from);
        let usual = home.iter().flat_map(|home| IN_HOME.iter().map(|name| home.join(name)));
        let mut readable = BTreeSet::new();
        for place in named.chain(usual).filter(|place| place.is_absolute()) {
            if let Some(real) = real(&place).filter(|real| is_narrow(real)) {
                readable.extend([place, real]);
            }
        }
        let on_path = environment.get(OsStr::new("PATH")).cloned().unwrap_or_default();
        for directory in std::env::split_paths(&on_path).filter(|directory| directory.is_absolute()) {
            let Some(real_directory) = real(&directory).filter(|real| real.is_dir()) else { continue };
            // A program in `X/bin` has its libraries in `X`; but `X` may be a whole home.
            let is_bin = real_directory.file_name().is_some_and(|name| name == "bin" || name == "sbin");
            let above = real_directory.parent().filter(|above| is_bin && is_narrow(above));
            let in_home = home.as_deref().and_then(real).is_some_and(|home| real_directory.starts_with(home));
            match above.filter(|above| !in_home && above.parent().is_some()) {
                Some(above) => drop(readable.insert(above.to_path_buf())),
                None if is_narrow(&real_directory) => drop(readable.insert(real_directory)),
                None => continue,
            }
            if directory.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
                readable.insert(directory);
            }
        }
        readable.retain(|place| !SYSTEM.iter().any(|system| place.starts_with(system)));
        // Codex tells the model what it may read: no more lines than needed.
        let all = readable.clone();
        readable.retain(|place| !place.ancestors().skip(1).any(|above| all.contains(above)));
        let shown = |secret: &&PathBuf| readable.iter().any(|place| secret.starts_with(place));
        // What this user cannot read, its commands cannot either.
        let opens = |path: &&Path| std::fs::File::open(path).is_ok();
        let system = SECRET_IN_SYSTEM.iter().map(Path::new).filter(opens).map(Path::to_path_buf);
        let denied = secrets.iter().filter(shown).cloned().chain(system).collect();
        Self { readable, denied, secrets }
    }

    fn secrets(environment: &Environment, home: Option<&Path>) -> BTreeSet<PathBuf> {
        let in_home = home.into_iter().flat_map(|home| SECRET_IN_HOME.iter().map(|name| home.join(name)));
        let in_toolchain = SECRET_IN_TOOLCHAIN.iter().filter_map(|(name, files)| {
            let root = PathBuf::from(variable(environment, name)?);
            Some(files.iter().map(move |file| root.join(file)))
        });
        let all = in_home.chain(in_toolchain.flatten());
        all.filter(|path| path.is_absolute())
            .flat_map(|path| real(&path).into_iter().chain([path]))
            .filter(|path| path.exists())
            .collect()
    }
}

/// Links resolved; `None` where nothing is there.
pub(super) fn real(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}
