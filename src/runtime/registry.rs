//! The runtimes by the names that a table uses. A new one is a module and a line here.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::built_in::BuiltIn;
use super::codex_exec::{CodexExec, Program};
use super::{Environment, REHEARSAL_VARIABLE, Runtime};
use crate::error::{Error, Result};

/// The names, the default first.
pub const NAMES: &[&str] = &[CodexExec::NAME, BuiltIn::NAME];

/// The runtime of this name. `own_program` is this project's binary, which some runtimes start children through.
pub fn find(name: &str, own_program: &Path) -> Result<Box<dyn Runtime>> {
    match name {
        CodexExec::NAME => Ok(Box::new(CodexExec::new(own_program.to_owned()))),
        BuiltIn::NAME => Ok(Box::new(BuiltIn)),
        _ => Err(Error::failed(format!("there is no runtime `{}`", crate::text::one_line(name)))
            .hint(format!("the runtimes are {}", NAMES.join(", ")))),
    }
}

/// The programs that runtimes start and that are here, links as they are found: what they do is what a run does.
pub fn programs(environment: &Environment) -> Vec<PathBuf> {
    Program::find(environment).into_iter().map(|program| program.path).collect()
}

/// Whether what runtimes say in this environment comes from a script.
pub fn is_rehearsal(environment: &Environment) -> bool {
    environment.get(OsStr::new(REHEARSAL_VARIABLE)).is_some_and(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_for_a_runtime_of_that_name() {
        for name in NAMES {
            assert_eq!(find(name, Path::new("/x")).unwrap().name(), *name);
        }
        assert!(find("codex", Path::new("/x")).is_err());
    }
}
