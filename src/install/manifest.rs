//! What `install` made, in `.orchestrator/state/install.json`: only that is removed again.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::FILE_BYTES_MAX;
use crate::error::{Context as _, Error, Result};
use crate::event::Hook;
use crate::files;
use crate::git::shown;
use crate::ids::Digest;

/// The version of the manifest's form.
const SCHEMA: u32 = 1;

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    schema: u32,
    /// The directory of the hooks was made.
    pub(super) made_hooks_directory: bool,
    /// The table was made, with these bytes.
    pub(super) table: Option<Digest>,
    /// The hooks in whose place a shim out of the template stood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) from_template: Vec<Hook>,
}

impl Manifest {
    /// Nothing was made so far.
    pub(super) fn empty() -> Self {
        Self { schema: SCHEMA, made_hooks_directory: false, table: None, from_template: Vec::new() }
    }

    /// The manifest at `path`, if there is one.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let Some(bytes) = files::read(path, FILE_BYTES_MAX)? else { return Ok(None) };
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|error| {
            // Without it, what it records (a table, a hooks directory) is left standing by `uninstall`.
            Error::failed(format!("{} does not read", shown(path)))
                .because(error)
                .hint(format!("move it aside, then `git orchestrator install` writes it anew: {}", shown(path)))
        })?;
        if manifest.schema > SCHEMA {
            return Err(Error::failed(format!("{} was written by a newer version", shown(path)))
                .hint("update git-orchestrator"));
        }
        Ok(Some(manifest))
    }

    /// As it is written.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).context(|| "cannot write the manifest")?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
