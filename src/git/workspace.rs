//! The checkout a run works in: a detached worktree under the git common directory, one for each role, moved from
//! commit to commit so that what was built stays built. Never the user's tree.

use std::path::{Path, PathBuf};

use super::Repository;
use crate::error::{Error, Result};
use crate::ids::Oid;
use crate::runtime::Environment;

/// A checkout that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Its top.
    pub path: PathBuf,
    /// A temporary directory beside it, empty.
    pub temporary: PathBuf,
}

/// Git configuration that keeps the repository's own configuration from executing anything, as the environment
/// variables `GIT_CONFIG_COUNT`, `GIT_CONFIG_KEY_n` and `GIT_CONFIG_VALUE_n`: for our git calls and for those of a run.
pub fn neutral_configuration(repository: &Repository) -> Result<Vec<(String, String)>> {
    let _ = repository;
    Err(Error::failed("stub"))
}

/// Makes the workspace of `role` hold `commit` and nothing a former run left, ignored files excepted.
pub fn prepare(repository: &Repository, role: &str, commit: &Oid, environment: &Environment) -> Result<Workspace> {
    let _ = (repository, role, commit, environment);
    Err(Error::failed("stub"))
}

/// Removes every workspace of this repository.
pub fn remove_all(repository: &Repository, environment: &Environment) -> Result<()> {
    let _ = (repository, environment);
    Err(Error::failed("stub"))
}

/// The directory that holds all workspaces.
pub fn directory(common_directory: &Path) -> PathBuf {
    common_directory.join("orchestrator")
}
