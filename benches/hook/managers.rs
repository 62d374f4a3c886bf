//! Hook managers that are measured beside ours: lefthook and prek, installed on the same repository by themselves.
//!
//! Each gets the hooks that ours has, as far as it knows them, with one job that has nothing to do but to be there. A
//! manager whose program is not found is left out, and the report says so.

#![expect(clippy::disallowed_methods, reason = "a benchmark writes files")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::scene::{Side, said};

/// A manager with its program.
#[derive(Clone, Debug)]
pub(crate) struct Manager {
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Lefthook,
    Prek,
}

/// What the one job of a manager is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// For paths that no commit here touches: it is looked at and left out.
    Filtered,
    /// `true`, which is carried out.
    Runs,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Lefthook, Self::Prek];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lefthook => "lefthook",
            Self::Prek => "prek",
        }
    }

    /// The variable that names the program.
    fn variable(self) -> &'static str {
        match self {
            Self::Lefthook => "GIT_ORCHESTRATOR_BENCH_LEFTHOOK",
            Self::Prek => "GIT_ORCHESTRATOR_BENCH_PREK",
        }
    }

    /// The programs themselves in what npm installs, without the script that starts them through Node: at their best.
    fn in_node_modules(self) -> &'static [&'static str] {
        match self {
            Self::Lefthook => &["lefthook-linux-x64/bin/lefthook", "lefthook-linux-arm64/bin/lefthook"],
            Self::Prek => &["@j178/prek-linux-x64-gnu/prek", "@j178/prek-linux-arm64-gnu/prek"],
        }
    }

    fn find(self) -> Option<PathBuf> {
        if let Some(named) = env::var_os(self.variable()) {
            return Some(named.into()).filter(|path: &PathBuf| path.is_file());
        }
        let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/managers/node_modules");
        let installed = self.in_node_modules().iter().map(|path| modules.join(path));
        let path = env::var_os("PATH").unwrap_or_default();
        let on_path: Vec<PathBuf> = env::split_paths(&path).map(|directory| directory.join(self.name())).collect();
        installed.chain(on_path).find(|path| path.is_file())
    }
}

/// The managers that are here.
pub(crate) fn found() -> Vec<Manager> {
    let found = |kind: Kind| Some(Manager { kind, program: kind.find()?.canonicalize().ok()? });
    Kind::ALL.into_iter().filter_map(found).collect()
}

/// Says which managers take part, and how to let the others.
pub(crate) fn print() -> Outcome<()> {
    for kind in Kind::ALL {
        match found().into_iter().find(|manager| manager.kind == kind) {
            Some(manager) => println!("{}", said(&manager.program, &["--version"])?),
            None => println!(
                "{}: not found, its columns are left out; `{}` may name its program, or npm puts it into \
                 .ci/managers/node_modules",
                kind.name(),
                kind.variable()
            ),
        }
    }
    Ok(())
}

impl Manager {
    /// Replaces the empty scripts by what the manager installs.
    pub(crate) fn install(&self, side: &Side<'_>) -> Outcome<()> {
        self.configure(side, Job::Filtered)?;
        let arguments: &[&str] = match self.kind {
            Kind::Lefthook => &["install"],
            Kind::Prek => &[
                "install",
                "--overwrite",
                "-t",
                "post-commit",
                "-t",
                "post-merge",
                "-t",
                "post-rewrite",
                "-t",
                "pre-push",
            ],
        };
        let hooks = ["post-commit", "post-merge", "post-rewrite", "pre-push"];
        side.remove_hooks(&hooks)?;
        side.timed(&self.program, arguments)?;
        for hook in hooks {
            let script = fs::read_to_string(side.hook(hook))?;
            if !script.contains(self.kind.name()) {
                return Err(format!("{} did not install {hook}", self.kind.name()).into());
            }
        }
        Ok(())
    }

    /// Sets the one job.
    pub(crate) fn configure(&self, side: &Side<'_>, job: Job) -> Outcome<()> {
        let (file, text) = match (self.kind, job) {
            // Behind a commit lefthook filters by what this command lists; before a push it lists by itself.
            (Kind::Lefthook, Job::Filtered) => ("lefthook.yml", {
                let listing = "  files: git diff-tree -r --root --no-commit-id --name-only HEAD\n";
                let job = "  commands:\n    job: { glob: \"no/such/**\", run: \"true\" }\n";
                format!(
                    "post-commit:\n{listing}{job}post-merge:\n{listing}{job}post-rewrite:\n{listing}{job}pre-push:\n{job}"
                )
            }),
            (Kind::Lefthook, Job::Runs) => ("lefthook.yml", {
                let job = "  commands:\n    job: { run: \"true\" }\n";
                format!("post-commit:\n{job}post-merge:\n{job}post-rewrite:\n{job}pre-push:\n{job}")
            }),
            // Behind a commit prek knows of no files: what asks for some is left out.
            (Kind::Prek, job) => (".pre-commit-config.yaml", {
                let filter = if job == Job::Filtered { "files: ^no/such/" } else { "always_run: true" };
                format!(
                    "repos:\n  - repo: local\n    hooks:\n      - {{ id: job, name: job, language: system, entry: \"true\", \
                     pass_filenames: false, {filter}, stages: [post-commit, post-merge, post-rewrite, pre-push] }}\n"
                )
            }),
        };
        Ok(fs::write(side.top.join(file), text)?)
    }
}
