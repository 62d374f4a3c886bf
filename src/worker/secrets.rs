//! Which values this process knows to be secret, gathered before anything is written.

use crate::error::Result;
use crate::git::Repository;
use crate::process::Environment;
use crate::runtime::registry;
use crate::secrets;

/// Learns what the environment and the runtimes' own configuration hold.
pub fn learn(environment: &Environment) {
    secrets::learn(secrets::in_environment(environment));
    secrets::learn(registry::secrets(environment));
}

/// [`learn`], and what git's configuration for this repository holds.
pub fn learn_all(repository: &Repository, environment: &Environment) -> Result<()> {
    learn(environment);
    secrets::learn(repository.logins(environment)?);
    Ok(())
}
