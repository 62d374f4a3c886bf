//! The runtimes by the names that a table uses. A new one is a module and a line here.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::built_in::BuiltIn;
use super::codex_app_server::CodexAppServer;
use super::codex_exec::{CodexExec, Program};
use super::{Capabilities, Class, Environment, Failure, REHEARSAL_VARIABLE, Runtime, SandboxProfile};
use crate::error::{self, Error};

/// The names, the default first.
pub const NAMES: &[&str] = &[CODEX, CodexAppServer::NAME, CodexExec::NAME, BuiltIn::NAME];

/// Stands for the Codex CLI by whichever of its runtimes is the safer one here: which that is, only a look at the
/// installed version tells, so the table and the hook leave it open and the worker decides with each run.
pub const CODEX: &str = "codex";

/// A runtime that works here.
pub struct Chosen {
    /// The runtime.
    pub runtime: Box<dyn Runtime>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The ones that were preferred and cannot be used here, with the reason.
    pub passed_over: BTreeMap<&'static str, String>,
}

/// The first of these that works here. One that fails with [`Class::Missing`] needs something that this installation
/// lacks, and the next one may not; any other failure is the answer.
pub async fn choose(
    candidates: Vec<Box<dyn Runtime>>,
    environment: &Environment,
    sandbox: &SandboxProfile,
    directory: &Path,
) -> Result<Chosen, Failure> {
    let mut passed_over = BTreeMap::new();
    let mut candidates = candidates.into_iter().peekable();
    while let Some(runtime) = candidates.next() {
        match runtime.probe(environment, sandbox, directory).await {
            Ok(capabilities) => return Ok(Chosen { runtime, capabilities, passed_over }),
            Err(failure) if failure.class == Class::Missing && candidates.peek().is_some() => {
                passed_over.insert(runtime.name(), failure.message);
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::new(Class::Internal, "no runtime is left to try"))
}

/// The runtimes that this name may stand for, the one to prefer first: see [`choose`].
pub fn candidates(name: &str, own_program: &Path) -> error::Result<Vec<Box<dyn Runtime>>> {
    let names = if name == CODEX { &[CodexAppServer::NAME, CodexExec::NAME][..] } else { &[name][..] };
    names.iter().map(|name| find(name, own_program)).collect()
}

/// The runtime of this name. `own_program` is this project's binary, which some runtimes start children through.
pub fn find(name: &str, own_program: &Path) -> error::Result<Box<dyn Runtime>> {
    match name {
        CodexAppServer::NAME => Ok(Box::new(CodexAppServer::new(own_program.to_owned()))),
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

/// What the runtimes know of a person's secrets here: their logins and keys. Nothing of it may be written anywhere.
pub fn secrets(environment: &Environment) -> Vec<String> {
    super::codex_exec::secrets::known(environment)
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
        for name in NAMES.iter().filter(|name| **name != CODEX) {
            assert_eq!(find(name, Path::new("/x")).unwrap().name(), *name);
            let candidates = candidates(name, Path::new("/x")).unwrap();
            assert_eq!(candidates.iter().map(|runtime| runtime.name()).collect::<Vec<_>>(), [*name]);
        }
        let candidates = super::candidates(CODEX, Path::new("/x")).unwrap();
        let names: Vec<_> = candidates.iter().map(|runtime| runtime.name()).collect();
        assert_eq!(names, ["codex-app-server", "codex-exec"]);
        assert!(super::candidates("codecs", Path::new("/x")).is_err());
    }
}
