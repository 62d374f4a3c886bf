//! The table: what a person does with git, and the events and jobs that come of it.
//!
//! Each row runs in a repository of its own, with the hooks that `install` sets up, in front of a recorder that says what
//! was observed in that very place. The worker is kept away, so that what was queued stays queued.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use orchestrator::event::{Event, Hook, RefChange};
use orchestrator::ids::Oid;
use orchestrator::store::layout::Layout;
use orchestrator::worker::lock::WorkerLock;

use crate::repo::{self, git, write, write_program};
use crate::{Observation, recorder, terminal};

const PROGRAM: &str = env!("CARGO_BIN_EXE_git-orchestrator");

/// Where a row is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Main,
    Linked,
    Submodule,
    /// A worktree of a bare repository.
    OfBare,
}

/// One row: what is `given` (hooks are silent), what is done `when`, and what `then` was reported. Both are lines for
/// `sh -e`, in a repository with
///
/// ```text
/// root ── m            main, checked out
///    ├─── t1 ─ t2 ─ t3 topic
///    ├─── s            side
///    └─── m'           clash: another m
/// ```
///
/// where each commit adds the file of its name. An event reads `HOOK BASE..HEAD BRANCH REF…`: `-` is nothing, `none` no
/// change, a ref that moved other than from base to head is `NAME(OLD..NEW)`, and `in:DIRECTORY` says which worktree (or
/// bare repository) it is, where it is not the one that the row runs in.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    given: &'static str,
    when: &'static str,
    then: &'static [&'static str],
    /// Not in the main worktree alone.
    everywhere: bool,
}

/// A row for the main worktree.
pub(crate) const fn row(
    name: &'static str,
    given: &'static str,
    when: &'static str,
    then: &'static [&'static str],
) -> Row {
    Row { name, given, when, then, everywhere: false }
}

/// A row for every kind of worktree.
pub(crate) const fn everywhere(
    name: &'static str,
    given: &'static str,
    when: &'static str,
    then: &'static [&'static str],
) -> Row {
    Row { name, given, when, then, everywhere: true }
}

/// What every script can use.
const PRELUDE: &str = r#"
c() { printf '%s\n' "$1" >"$1" && git add -- "$1" && git commit -q -m "$1"; }
fails() { if "$@"; then echo "succeeded: $*" >&2; exit 9; fi; }
edited() { printf '#!/bin/sh\nsed -i -e "%s" "$1"\n' "$1" >"$BASE/editor" && chmod +x "$BASE/editor" && export GIT_SEQUENCE_EDITOR="$BASE/editor"; }
"#;

/// A row for each hook. `coalesce: none`: each event is a job.
pub(crate) fn generous() -> String {
    let mut table = "version: 1\ntriggers:\n".to_owned();
    for hook in Hook::INSTALLED {
        writeln!(table, "  - {{ name: on-{hook}, on: {hook}, role: tester, coalesce: none }}").unwrap();
    }
    table
}

/// Runs rows in one place, and says all that is wrong at once.
pub(crate) fn run(rows: &[Row], place: Place) {
    let mut wrong = String::new();
    for row in rows.iter().filter(|row| place == Place::Main || row.everywhere) {
        let mut ground = Ground::new(place, &generous());
        if row.given.contains("server") || row.when.contains("server") {
            ground = ground.with_server(&generous());
        }
        if let Some(what) = ground.carry_out(row) {
            writeln!(wrong, "\n{} ({place:?})\n  when {}{what}", row.name, row.when).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A repository with hooks, and a bare one on the other side.
pub(crate) struct Ground {
    directory: tempfile::TempDir,
    base: PathBuf,
    /// The worktree.
    pub(crate) top: PathBuf,
    reports: PathBuf,
    /// Kept, so that no worker starts: one for each repository that is watched.
    locks: Vec<WorkerLock>,
}

impl Ground {
    pub(crate) fn new(place: Place, table: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("events-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let base = directory.path().canonicalize().unwrap();
        for name in ["reports", "home", "empty"] {
            fs::create_dir(base.join(name)).unwrap();
        }
        let template = ["init", "--quiet", "-b", "main", "--template", "../empty"];
        let init = |name: &str, more: &[&str]| {
            fs::create_dir(base.join(name)).unwrap();
            git(&base.join(name), template.iter().chain(more).copied());
        };
        let (top, home) = match place {
            Place::Main => {
                init("work", &[]);
                history(&base.join("work"));
                git(&base.join("work"), ["reset", "--quiet", "--hard"]);
                (base.join("work"), base.join("work"))
            }
            Place::Linked => {
                init("parked", &[]);
                history(&base.join("parked"));
                git(&base.join("parked"), ["checkout", "--quiet", "--force", "--detach", "main"]);
                git(&base.join("parked"), ["worktree", "add", "--quiet", "../work", "main"]);
                (base.join("work"), base.join("parked"))
            }
            Place::OfBare => {
                init("bare.git", &["--bare"]);
                history(&base.join("bare.git"));
                git(&base.join("bare.git"), ["worktree", "add", "--quiet", "../work", "main"]);
                (base.join("work"), base.join("bare.git"))
            }
            Place::Submodule => {
                init("source", &[]);
                history(&base.join("source"));
                init("super", &[]);
                let source = base.join("source");
                let source = source.to_str().unwrap();
                let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", source, "work"];
                git(&base.join("super"), add);
                let fetch = ["fetch", "--quiet", "--update-head-ok", "origin", "refs/heads/*:refs/heads/*"];
                git(&base.join("super/work"), fetch);
                git(&base.join("super/work"), ["remote", "remove", "origin"]);
                (base.join("super/work"), base.join("super/work"))
            }
        };
        git(&top, ["tag", "root", "main~1"]);
        let mut this = Self { reports: base.join("reports"), base, top, directory, locks: Vec::new() };
        this.watch(&this.top.clone(), &home, table);
        this
    }

    /// Puts a bare repository on the other side, as the remote `server`, with hooks of its own.
    pub(crate) fn with_server(mut self, table: &str) -> Self {
        let server = self.server();
        fs::create_dir(&server).unwrap();
        git(&server, ["init", "--quiet", "-b", "main", "--template", "../empty", "--bare"]);
        git(&self.top, ["remote", "add", "server", server.to_str().unwrap()]);
        self.watch(&server, &server, table);
        self
    }

    fn server(&self) -> PathBuf {
        self.base.join("server.git")
    }

    /// Puts recorders into a repository, installs before them, and keeps its worker away.
    fn watch(&mut self, top: &Path, home: &Path, table: &str) {
        let common = PathBuf::from(git(top, ["rev-parse", "--path-format=absolute", "--git-common-dir"]));
        write(&common.join("info/exclude"), "/triggers.yaml\n/.orchestrator/\n");
        write(&home.join("triggers.yaml"), table);
        let script = recorder(self.directory.path(), &self.reports);
        for hook in Hook::INSTALLED {
            write_program(&common.join("hooks").join(hook.as_str()), &script);
        }
        let said = terminal::on_terminal(Path::new(PROGRAM), &["install"], top, self.environment(), terminal::yes);
        assert_eq!(said.code, 0, "{}", said.text);
        self.locks.push(WorkerLock::acquire(&Layout::new(home)).unwrap().unwrap());
    }

    /// What a person's shell holds: nothing that git sets.
    fn environment(&self) -> orchestrator::runtime::Environment {
        let mut out = repo::environment();
        for name in ["GIT_SEQUENCE_EDITOR", "GIT_ORCHESTRATOR_SKIP"] {
            out.remove(&OsString::from(name));
        }
        out.insert("BASE".into(), self.base.clone().into());
        out.insert("HOME".into(), self.base.join("home").into());
        out.insert("GIT_CONFIG_COUNT".into(), "1".into());
        out.insert("GIT_CONFIG_KEY_0".into(), "protocol.file.allow".into());
        out.insert("GIT_CONFIG_VALUE_0".into(), "always".into());
        out
    }

    fn ok(&self, directory: &Path, arguments: &[&str]) -> String {
        let output = duct::cmd(PROGRAM, arguments)
            .dir(directory)
            .full_env(self.environment())
            .stdin_null()
            .stdout_capture()
            .stderr_capture()
            .unchecked()
            .run()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs lines of a script in the worktree. With `silent` hooks do nothing.
    pub(crate) fn script(&self, lines: &str, silent: bool) -> Output {
        let mut environment = self.environment();
        if silent {
            environment.insert("GIVEN".into(), "1".into());
            environment.insert("GIT_ORCHESTRATOR_SKIP".into(), "1".into());
        }
        let output = duct::cmd!("sh", "-e", "-c", format!("{PRELUDE}{lines}"))
            .dir(&self.top)
            .full_env(environment)
            .stdin_null()
            .stdout_capture()
            .stderr_capture()
            .unchecked()
            .run()
            .unwrap();
        assert!(output.status.success(), "{lines}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// What the hooks observed, in order.
    pub(crate) fn observations(&self) -> Vec<Observation> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.reports).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let read = |file: PathBuf| serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        files.into_iter().map(read).collect()
    }

    /// What waits in the queue of the repository at `directory`: row, commit, branch.
    pub(crate) fn jobs(&self, directory: &Path) -> Vec<(String, String, String)> {
        let status: serde_json::Value =
            serde_json::from_str(&self.ok(directory, &["status", "--json", "--limit", "100"])).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
        let job = |run: &serde_json::Value| (text(&run["trigger"]), text(&run["commit"]), text(&run["branch"]));
        let mut jobs: Vec<_> = status["runs"].as_array().unwrap().iter().map(job).collect();
        jobs.sort();
        jobs
    }

    /// What is wrong with a row; `None` if nothing is.
    fn carry_out(&self, row: &Row) -> Option<String> {
        self.script(row.given, true);
        let said = self.script(row.when, false);
        let observations = self.observations();
        let errors: Vec<_> = observations.iter().filter_map(|report| report.error.as_ref()).collect();
        if !errors.is_empty() {
            return Some(format!("\n  errors {errors:?}"));
        }
        let events: Vec<Event> = observations.into_iter().flat_map(|report| report.events).collect();
        let ids = self.ids(row.then);
        let expected: Vec<String> = row.then.iter().map(|event| resolved(event, &ids)).collect();
        let seen: Vec<String> = events.iter().map(|event| self.shown(event)).collect();
        if seen != expected {
            let names: BTreeMap<&str, &str> = ids.iter().map(|(name, id)| (id.as_str(), name.as_str())).collect();
            let with_names = |events: &[String]| {
                let mut text = events.join("\n       ");
                for (id, name) in &names {
                    text = text.replace(id, name);
                }
                text
            };
            return Some(format!("\n  then {}\n  but  {}", with_names(&expected), with_names(&seen)));
        }
        // Each event that changes something is a job, in the queue of its repository.
        let server = self.server();
        for directory in [&self.top, &server].into_iter().filter(|directory| directory.exists()) {
            let here = |event: &&Event| {
                let elsewhere = ["cloned", "nonbare", "shallow", "super"]
                    .iter()
                    .any(|name| event.worktree.starts_with(self.base.join(name)));
                let elsewhere = elsewhere && event.worktree != self.top;
                (event.worktree == server) == (*directory == server) && !elsewhere
            };
            let job = |event: &Event| {
                let branch = event.branch.clone().unwrap_or_else(|| "-".to_owned());
                event.commit().map(|commit| (format!("on-{}", event.hook), commit.to_string(), branch))
            };
            let mut expected: Vec<_> = events.iter().filter(here).filter_map(job).collect();
            expected.sort();
            let queued = self.jobs(directory);
            if queued != expected {
                return Some(format!("\n  jobs {expected:?}\n  but  {queued:?} in {}", directory.display()));
            }
        }
        // At most a line from each hook, and none where nothing was queued.
        let stderr = String::from_utf8_lossy(&said.stderr).into_owned();
        let lines = stderr.lines().filter(|line| line.contains("git-orchestrator: ")).count();
        let hooks = events.iter().filter(|event| event.change.is_some()).map(|event| (event.hook, &event.worktree));
        let hooks = hooks.count();
        (lines > hooks).then(|| format!("\n  said {stderr}"))
    }

    /// The ids of the revisions that these events name.
    fn ids(&self, events: &[&str]) -> BTreeMap<String, String> {
        let words = events.iter().flat_map(|event| event.split([' ', '(', ')', ',']));
        let names =
            words.filter(|word| word.contains("..") && !word.starts_with("in:")).flat_map(|range| range.split(".."));
        let mut ids = BTreeMap::new();
        for name in names.filter(|name| *name != "-") {
            if !ids.contains_key(name) {
                ids.insert(name.to_owned(), git(&self.top, ["rev-parse", "--verify", name]));
            }
        }
        ids
    }

    fn shown(&self, event: &Event) -> String {
        let id = |id: Option<&Oid>| id.map_or("-".to_owned(), Oid::to_string);
        let change = event.change.as_ref();
        let ends = change.map(|change| format!("{}..{}", id(change.base.as_ref()), change.head));
        let range = |moved: &RefChange| format!("{}..{}", id(moved.old.as_ref()), id(moved.new.as_ref()));
        let moved = |moved: &RefChange| match &ends {
            Some(ends) if *ends == range(moved) => moved.name.clone(),
            _ => format!("{}({})", moved.name, range(moved)),
        };
        let refs: Vec<String> = event.refs.iter().map(moved).collect();
        let place = event.worktree.strip_prefix(&self.base).unwrap().display().to_string();
        let place = if event.worktree == self.top { String::new() } else { format!(" in:{place}") };
        format!(
            "{} {} {} {}{place}",
            event.hook,
            ends.as_deref().unwrap_or("none"),
            event.branch.as_deref().unwrap_or("-"),
            if refs.is_empty() { "-".to_owned() } else { refs.join(",") },
        )
    }
}

/// The event with ids in the place of revisions.
fn resolved(event: &str, ids: &BTreeMap<String, String>) -> String {
    let range = |text: &str| {
        let (old, new) = text.split_once("..").unwrap();
        let id = |name: &str| ids.get(name).cloned().unwrap_or_else(|| name.to_owned());
        format!("{}..{}", id(old), id(new))
    };
    let reference = |text: &str| match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        Some((name, moved)) => format!("{name}({})", range(moved)),
        None => text.to_owned(),
    };
    let words = event.split(' ').enumerate().map(|(at, word)| match at {
        1 if word != "none" => range(word),
        3 => word.split(',').map(reference).collect::<Vec<_>>().join(","),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The history that every row begins with.
fn history(repository: &Path) {
    let mut stream = String::new();
    let mut commit = |mark: usize, branch: &str, from: Option<usize>, path: &str, content: &str| {
        let who = format!("Ada <ada@example.org> {} +0000", 1_700_000_000 + mark);
        writeln!(stream, "commit refs/heads/{branch}\nmark :{mark}\ncommitter {who}\ndata {}\n{path}", path.len())
            .unwrap();
        if let Some(from) = from {
            writeln!(stream, "from :{from}").unwrap();
        }
        writeln!(stream, "M 100644 inline {path}\ndata {}\n{content}\n", content.len()).unwrap();
    };
    commit(1, "main", None, "root", "root");
    commit(2, "main", Some(1), "m", "m");
    commit(3, "topic", Some(1), "t1", "t1");
    commit(4, "topic", Some(3), "t2", "t2");
    commit(5, "topic", Some(4), "t3", "t3");
    commit(6, "side", Some(1), "s", "s");
    commit(7, "clash", Some(1), "m", "another m");
    duct::cmd!("git", "fast-import", "--quiet", "--force")
        .dir(repository)
        .full_env(repo::environment())
        .stdin_bytes(stream)
        .run()
        .unwrap();
}
