//! The person's own ceiling, from `~/.config/git-orchestrator/policy.yaml`: read by whoever resolves a plan, once
//! something matched. Where there is none, that is one file that does not open.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files;
use crate::policy::ceiling::Ceiling;
use crate::triggers::plan::Plan;
use crate::triggers::{Vocabulary, load};

/// The largest ceiling, in bytes.
const BYTES_MAX: u64 = 64 << 10;

/// Where a person's ceiling lies: below `XDG_CONFIG_HOME`, else `~/.config`. `None`: there is no home directory.
pub fn path() -> Option<PathBuf> {
    let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    let configuration = env::var_os("XDG_CONFIG_HOME").and_then(absolute);
    // Graphical clients and `env -i` may set neither: then it is what the system says of the user.
    let home = || env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".config"));
    Some(configuration.or_else(home)?.join("git-orchestrator/policy.yaml"))
}

/// A ceiling that was read, and where each of its keys stands.
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub ceiling: Ceiling,
    bytes: Vec<u8>,
}

impl Found {
    /// The lines of its keys: see [`load::places`].
    pub fn places(&self) -> BTreeMap<String, usize> {
        load::places(&self.bytes)
    }
}

/// The person's ceiling; `None`: they have none.
///
/// # Errors
/// It cannot be read, or it is wrong somewhere. Then nothing is known of what the person allows.
pub fn read(vocabulary: &Vocabulary<'_>) -> Result<Option<Found>> {
    let Some(path) = path() else {
        return Err(Error::failed("nobody can tell where it lies: there is no home directory").hint("set HOME"));
    };
    read_at(path, vocabulary)
}

fn read_at(path: PathBuf, vocabulary: &Vocabulary<'_>) -> Result<Option<Found>> {
    let Some(bytes) = files::read(&path, BYTES_MAX)? else { return Ok(None) };
    let ceiling = load::ceiling(&bytes, &name(&path), vocabulary)?;
    Ok(Some(Found { path, ceiling, bytes }))
}

fn name(path: &Path) -> String {
    crate::text::one_line(&path.to_string_lossy())
}

/// Narrows plans to what the person's ceiling allows. Where it cannot be read their runs are held: git goes on. `asked`:
/// the person asked for it by name.
pub fn apply(plans: &mut [Plan], vocabulary: &Vocabulary<'_>, asked: bool) {
    match limits(vocabulary) {
        Ok(None) => {}
        Ok(Some(ceiling)) => plans.iter_mut().for_each(|plan| plan.narrow(&ceiling, asked)),
        Err(reason) => plans.iter_mut().for_each(|plan| plan.disarm(&reason)),
    }
}

/// What the person lets any repository have; `None`: they set no limits.
///
/// # Errors
/// Why nothing may begin, as a sentence: what they allow is not known.
pub fn limits(vocabulary: &Vocabulary<'_>) -> Result<Option<Ceiling>, String> {
    match read(vocabulary) {
        Ok(found) => Ok(found.map(|found| found.ceiling)),
        Err(error) => {
            let place = path().map_or_else(|| "policy.yaml".to_owned(), |path| name(&path));
            Err(format!("your own ceiling, {place}, cannot be used: {error} · correct or remove it"))
        }
    }
}
