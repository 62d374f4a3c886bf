//! stub until merged
use super::{Environment, Runtime};
use crate::error::{Error, Result};
use std::path::Path;
/// names
pub const NAMES: &[&str] = &["codex-exec"];
/// find
pub fn find(_n: &str, _o: &Path, _e: &Environment) -> Result<Box<dyn Runtime>> {
    Err(Error::failed("stub"))
}
/// rehearsal
pub fn is_rehearsal(e: &Environment) -> bool {
    e.contains_key(std::ffi::OsStr::new("GIT_ORCHESTRATOR_REHEARSAL"))
}
