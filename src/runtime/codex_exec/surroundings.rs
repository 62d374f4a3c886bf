//! The environment that Codex itself is started with: an allow-list.
//!
//! A worker has whatever the person's shell had when a commit was made, and that is full of tokens that a run has no use
//! for. What is listed says where things are, how the network is reached, and how this provider is logged in to; commands
//! get still less (`command_line`), and never the model's key.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::config::Config;
use crate::runtime::Environment;

/// Names that are passed on.
const NAMES: &[&str] = &[
    // Who and where.
    "HOME",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    // Codex's own place and login, and the keyring that may hold it.
    "CODEX_ACCESS_TOKEN",
    "CODEX_API_KEY",
    "CODEX_CA_CERTIFICATE",
    "CODEX_HOME",
    "CODEX_MANAGED_BY_NPM",
    "CODEX_MANAGED_PACKAGE_ROOT",
    "CODEX_SQLITE_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "OPENAI_BASE_URL",
    "OPENAI_ORGANIZATION",
    "OPENAI_PROJECT",
    "XDG_RUNTIME_DIR",
    // How the network is reached, and whom to believe there.
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "NO_PROXY",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    // Where toolchains lie, and the shims of version managers that Codex may have been installed with.
    "ANDROID_HOME",
    "ASDF_DATA_DIR",
    "ASDF_DIR",
    "CARGO_HOME",
    "CONDA_PREFIX",
    "DOTNET_ROOT",
    "FNM_DIR",
    "FNM_MULTISHELL_PATH",
    "GOPATH",
    "GOROOT",
    "JAVA_HOME",
    "MISE_CONFIG_DIR",
    "MISE_DATA_DIR",
    "NVM_DIR",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "RBENV_ROOT",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SDKMAN_DIR",
    "VIRTUAL_ENV",
    "VOLTA_HOME",
];

/// Beginnings of names that are passed on: the locale, and our own.
const PREFIXES: &[&str] = &["GIT_ORCHESTRATOR_", "LC_"];

/// The provider whose login is the cloud's, with the beginning of its variables.
const CLOUD: (&str, &str) = ("amazon-bedrock", "AWS_");

/// What of `environment` Codex gets to talk to the provider in `config`; without one, what it needs to speak of itself.
pub(in crate::runtime) fn allowed(environment: &Environment, config: Option<&Config>) -> Environment {
    let named = config.map(Config::variables).unwrap_or_default();
    let is_cloud = config.is_some_and(|config| config.provider() == CLOUD.0);
    let is_allowed = |name: &OsStr| {
        let begins = |prefix: &str| name.as_bytes().starts_with(prefix.as_bytes());
        NAMES.iter().any(|known| name == *known)
            || PREFIXES.iter().any(|prefix| begins(prefix))
            || named.iter().any(|known| name == *known)
            || is_cloud && begins(CLOUD.1)
    };
    environment.iter().filter(|(name, _)| is_allowed(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
