//! Every shape a repository can have, from `install` to a commit that starts a run: the built binary and real git.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use orchestrator::rehearsal::{Scripted, Server};
use serde_json::Value;

use support::{PROGRAM, Scene, TESTER_ON_COMMIT, codex, text, wait_for};

/// A row for each kind of change. Nothing runs: the worker is told to wait.
const TABLE: &str = "\
version: 1
triggers:
  - name: sources
    on: [post-commit, post-merge, post-rewrite]
    when: { paths: [\"src/**\"] }
    role: tester
    coalesce: none
  - name: pushed
    on: pre-push
    when: { refs: [\"refs/heads/main\"], paths: [\"src/**\"] }
    role: architect
    coalesce: none
";

/// Directories below the scene's own, which is no repository any more.
struct Shape {
    scene: Scene,
    base: PathBuf,
}

impl Shape {
    fn new() -> Self {
        let scene = Scene::new();
        std::fs::remove_dir_all(scene.top.join(".git")).unwrap();
        let base = scene.top.clone();
        Self { scene, base }
    }

    fn git(&self, at: &Path, arguments: &[&str]) -> String {
        let ada = ["-c", "user.name=Ada", "-c", "user.email=ada@example.invalid", "-c", "protocol.file.allow=always"];
        self.scene.git_in(at, &[ada.as_slice(), arguments].concat()).trim_end().to_owned()
    }

    /// `git init` with these arguments; whether this git knows them.
    fn init(&self, at: &Path, arguments: &[&str]) -> bool {
        std::fs::create_dir_all(at).unwrap();
        let init = ["init", "--quiet", "--initial-branch=main"];
        let output = self.scene.command("git").current_dir(at).args(init).args(arguments).output().unwrap();
        if output.status.success() {
            self.identify(at);
        }
        output.status.success()
    }

    fn identify(&self, at: &Path) {
        self.git(at, &["config", "user.name", "Ada"]);
        self.git(at, &["config", "user.email", "ada@example.invalid"]);
    }

    fn run(&self, at: &Path, arguments: &[&str]) -> Output {
        self.scene.command(PROGRAM).current_dir(at).args(arguments).output().unwrap()
    }

    fn ok(&self, at: &Path, arguments: &[&str]) -> String {
        let output = self.run(at, arguments);
        assert!(output.status.success(), "{arguments:?} in {}: {}", at.display(), text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs a command at a terminal and accepts what it asks about.
    fn accept(&self, at: &Path, command: &str) {
        let said = self.scene.at_terminal(at, &[command], support::terminal::yes);
        assert_eq!(said.code, 0, "{command} in {}: {}", at.display(), said.text);
    }

    /// Installed, with the table and a worker that waits.
    fn install(&self, at: &Path) {
        write(&at.join("triggers.yaml"), TABLE.as_bytes());
        self.accept(at, "install");
        self.ok(at, &["pause"]);
    }

    /// Writes, commits, and returns what git and its hooks said.
    fn commit(&self, at: &Path, path: &[u8], content: &str, arguments: &[&str]) -> String {
        write(&at.join(OsStr::from_bytes(path)), content.as_bytes());
        self.git(at, &["add", "--all", "."]);
        self.said(at, &[&["commit", "--quiet", "-m", "change"], arguments].concat())
    }

    /// What git and its hooks said on standard error.
    fn said(&self, at: &Path, arguments: &[&str]) -> String {
        let output = self.scene.command("git").current_dir(at).args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?} in {}: {}", at.display(), text(&output.stderr));
        text(&output.stderr)
    }

    fn runs(&self, at: &Path) -> Vec<Value> {
        let status: Value = serde_json::from_str(&self.ok(at, &["status", "--json", "--limit", "100"])).unwrap();
        status["runs"].as_array().unwrap().clone()
    }

    fn head(&self, at: &Path) -> String {
        self.git(at, &["rev-parse", "HEAD"])
    }
}

fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    std::fs::write(path, content).unwrap();
}

/// What a person does in a day, in a worktree where [`Shape::install`] has been; `main` is checked out.
fn a_day_of_work(shape: &Shape, at: &Path) {
    let queued = |said: &str, role: &str| {
        let line = format!("git-orchestrator: {role} queued for {}", &shape.head(at)[..7]);
        let all_say_so = said.lines().all(|said| said.starts_with(&line));
        assert!(all_say_so && !said.is_empty(), "{}: `{said}`", at.display());
    };
    assert_eq!(shape.commit(at, b"README", "x", &[]), "", "a row for other paths");
    queued(&shape.commit(at, b"src/a b\n\xff\"", "1\n2\n3\n", &[]), "tester");
    queued(&shape.commit(at, b"src/a b\n\xff\"", "1\n2\n3\n4\n", &["--amend"]), "tester");
    // A rename out of the directory, and a change of type.
    shape.git(at, &["mv", "src", "other"]);
    queued(&shape.commit(at, b"x", "x", &[]), "tester");
    std::fs::remove_dir_all(at.join("other")).unwrap();
    std::os::unix::fs::symlink("nowhere", at.join("other")).unwrap();
    assert_eq!(shape.commit(at, b"y", "x", &[]), "");
    shape.git(at, &["switch", "--quiet", "-c", "topic"]);
    queued(&shape.commit(at, b"src/topic", "1", &[]), "tester");
    shape.git(at, &["switch", "--quiet", "main"]);
    queued(&shape.commit(at, b"src/main", "1", &[]), "tester");
    queued(&shape.said(at, &["merge", "--quiet", "--no-edit", "topic"]), "tester");
    shape.git(at, &["switch", "--quiet", "-c", "rebased", "topic"]);
    shape.commit(at, b"src/more", "1", &[]);
    let said = shape.said(at, &["rebase", "--quiet", "main"]);
    let line = said.lines().find(|line| line.starts_with("git-orchestrator")).unwrap_or_default();
    queued(line, "tester");
    shape.git(at, &["switch", "--quiet", "main"]);
    shape.git(at, &["merge", "--quiet", "--ff-only", "rebased"]);

    let newest = &shape.runs(at)[0];
    assert_eq!((&newest["commit"], &newest["branch"]), (&Value::from(shape.head(at)), &Value::from("main")));
    let explained = shape.ok(at, &["explain", "post-commit"]);
    assert!(explained.contains("yes paths    src/**"), "{explained}");
    let shown = shape.ok(at, &["show", &shape.head(at)[..9]]);
    assert!(shown.contains(&shape.head(at)[..7]), "{shown}");
}

/// A push to a bare repository of the same kind, twice.
fn a_push(shape: &Shape, at: &Path, init: &[&str]) {
    let other = shape.base.join("other side.git");
    assert!(shape.init(&other, &[&["--bare"], init].concat()));
    shape.git(at, &["remote", "add", "there", other.to_str().unwrap()]);
    let said = shape.said(at, &["push", "--quiet", "there", "main"]);
    assert!(said.contains(&format!("architect queued for {}", &shape.head(at)[..7])), "{said}");
    shape.commit(at, b"notes", "2", &[]);
    assert_eq!(shape.said(at, &["push", "--quiet", "there", "main"]), "", "what is new is no source");
    shape.commit(at, b"src/pushed", "2", &[]);
    let said = shape.said(at, &["push", "--quiet", "there", "main:main", "main:other"]);
    assert!(said.contains("architect queued"), "{said}");
}

/// The ways in which objects and refs can be kept.
const FORMATS: [&[&str]; 4] = [
    &[],
    &["--object-format=sha256"],
    &["--ref-format=reftable"],
    &["--object-format=sha256", "--ref-format=reftable"],
];

#[test]
fn every_format_works_in_main_and_linked_worktrees() {
    for format in FORMATS {
        let shape = Shape::new();
        let top = shape.base.join("it's a \"work\"\ntree");
        if !shape.init(&top, format) {
            continue; // This git is too old to make one.
        }
        shape.install(&top);
        a_day_of_work(&shape, &top);
        a_push(&shape, &top, format);

        // A linked worktree reports to the main one's home.
        let linked = shape.base.join("linked");
        shape.git(&top, &["worktree", "add", "--quiet", "-b", "aside", linked.to_str().unwrap()]);
        let said = shape.commit(&linked, b"src/linked", "1", &[]);
        assert!(said.contains("tester queued"), "{said}");
        assert_eq!(shape.runs(&top), shape.runs(&linked));
        assert_eq!(shape.runs(&top)[0]["branch"], "aside");
        assert!(!linked.join(".orchestrator").exists());
        wait_for("every process to end", || shape.scene.processes().is_empty().then_some(()));
        shape.ok(&top, &["uninstall", "--purge"]);
        assert_eq!(shape.commit(&linked, b"src/linked", "2", &[]), "");
    }
}

#[test]
fn bare_repositories_and_submodules_of_every_format() {
    for format in FORMATS {
        let shape = Shape::new();
        let bare = shape.base.join("bare");
        if !shape.init(&bare, &[&["--bare"], format].concat()) {
            continue;
        }
        // A worktree of a bare repository: the git directory is the home of all.
        let first = shape.base.join("first");
        let tree = shape.git(&bare, &["write-tree"]);
        let root = shape.git(&bare, &["commit-tree", "-m", "root", &tree]);
        shape.git(&bare, &["update-ref", "refs/heads/main", &root]);
        shape.git(&bare, &["worktree", "add", "--quiet", first.to_str().unwrap(), "main"]);
        shape.ok(&bare, &["install"]);
        shape.ok(&first, &["pause"]);
        assert!(bare.join(".orchestrator").is_dir() && bare.join("triggers.yaml").is_file());
        write(&first.join("triggers.yaml"), TABLE.as_bytes());
        shape.accept(&first, "trust");
        a_day_of_work(&shape, &first);
        assert!(!first.join(".orchestrator").exists());

        let outer = shape.base.join("outer");
        shape.init(&outer, format);
        shape.git(&outer, &["submodule", "--quiet", "add", "-b", "main", bare.to_str().unwrap(), "in ner"]);
        let inner = outer.join("in ner");
        shape.identify(&inner);
        shape.install(&inner);
        let said = shape.commit(&inner, b"src/submodule", "1", &[]);
        assert!(said.contains("tester queued"), "{said}");
        assert!(inner.join(".orchestrator").is_dir());
        shape.install(&outer);
        // The submodule's new commit is a path of the outer repository.
        assert_eq!(shape.commit(&outer, b"z", "1", &[]), "");
        write(&outer.join("triggers.yaml"), TABLE.replace("src/**", "in ner").as_bytes());
        shape.accept(&outer, "trust");
        shape.commit(&inner, b"src/submodule", "2", &[]);
        let said = shape.commit(&outer, b"z", "2", &[]);
        assert!(said.contains("tester queued"), "{said}");
    }
}

#[test]
fn a_git_directory_elsewhere_keeps_the_main_worktree_as_its_home() {
    for format in FORMATS {
        let shape = Shape::new();
        let (top, store) = (shape.base.join("work"), shape.base.join("store"));
        if !shape.init(&top, &[&["--separate-git-dir", store.to_str().unwrap()], format].concat()) {
            continue;
        }
        shape.install(&top);
        assert!(top.join(".orchestrator").is_dir() && !store.join(".orchestrator").exists());
        a_day_of_work(&shape, &top);
        let linked = shape.base.join("linked");
        shape.git(&top, &["worktree", "add", "--quiet", "-b", "aside", linked.to_str().unwrap()]);
        let said = shape.commit(&linked, b"src/linked", "1", &[]);
        assert!(said.contains("tester queued"), "{said}");
        assert_eq!(shape.runs(&linked), shape.runs(&top));

        // Named by the caller, as some tools do.
        write(&top.join("src/named"), b"1");
        let named = |arguments: &[&str]| {
            let mut command = shape.scene.command("git");
            command.env("GIT_DIR", &store).env("GIT_WORK_TREE", &top).current_dir(&shape.base).args(arguments);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
            text(&output.stderr)
        };
        named(&["add", "--all"]);
        let said = named(&["commit", "--quiet", "-m", "named"]);
        assert!(said.contains("tester queued"), "{said}");

        // What was written down goes with `uninstall`, which does not wait for a worker that only begins.
        wait_for("every process to end", || shape.scene.processes().is_empty().then_some(()));
        shape.ok(&top, &["uninstall", "--purge"]);
        assert!(!store.join("orchestrator").exists());
        // From a linked worktree nobody can tell, which is said.
        let said = shape.ok(&linked, &["install"]);
        assert!(said.contains("does not record the main worktree"), "{said}");
        assert!(store.join(".orchestrator").is_dir());
        let said = shape.ok(&top, &["install"]);
        assert!(said.contains("does not record the main worktree"), "what is there stays the home: {said}");
    }
}

#[test]
fn shallow_clones_and_borrowed_objects_of_every_format() {
    for format in FORMATS {
        let shape = Shape::new();
        let source = shape.base.join("source");
        if !shape.init(&source, format) {
            continue;
        }
        for n in ["1", "2", "3"] {
            shape.commit(&source, b"src/a", n, &[]);
        }
        let url = format!("file://{}", source.display());
        let reference = format.iter().find(|word| word.starts_with("--ref")).copied();
        for (name, how) in [("shallow", "--depth=1"), ("borrowed", "--shared")] {
            let from = if how == "--shared" { source.to_str().unwrap() } else { &url };
            let arguments: Vec<&str> =
                ["clone", "--quiet", how].into_iter().chain(reference).chain([from, name]).collect();
            shape.git(&shape.base, &arguments);
            let clone = shape.base.join(name);
            shape.identify(&clone);
            shape.install(&clone);
            let said = shape.commit(&clone, b"src/a", "4", &[]);
            assert!(said.contains("tester queued"), "{name}: {said}");
            // Against the edge: all its files are new.
            let explained = shape.ok(&clone, &["explain", "post-commit", "--commit", "HEAD^"]);
            assert!(explained.contains("yes paths    src/**"), "{name}: {explained}");
            if name == "shallow" {
                let output = shape.run(&clone, &["explain", "post-commit", "--commit", "HEAD~2"]);
                assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
            }
        }
    }
}

#[test]
fn a_partial_clone_fetches_nothing_and_says_what_is_not_here() {
    // As git once marked them, which libgit2 does not open, and as it does now.
    for marked in [false, true] {
        for format in [FORMATS[0], FORMATS[1]] {
            let shape = Shape::new();
            let source = shape.base.join("source");
            if !shape.init(&source, format) {
                continue;
            }
            for key in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
                shape.git(&source, &["config", key, "true"]);
            }
            shape.commit(&source, b"src/a", "old\n", &[]);
            let old = shape.git(&source, &["rev-parse", "HEAD:src/a"]);
            shape.commit(&source, b"src/a", "new\n", &[]);
            let url = format!("file://{}", source.display());
            shape.git(&shape.base, &["clone", "--quiet", "--filter=blob:none", &url, "clone"]);
            let clone = shape.base.join("clone");
            shape.identify(&clone);
            if marked {
                shape.git(&clone, &["config", "extensions.partialClone", "origin"]);
            }
            shape.install(&clone);
            // Trees are here: paths are known without a file.
            let said = shape.commit(&clone, b"src/b", "1", &[]);
            assert!(said.contains("tester queued"), "{said}");
            let explained = shape.ok(&clone, &["explain", "post-commit", "--commit", "HEAD^"]);
            assert!(explained.contains("yes paths    src/**"), "{explained}");
            let is_here = || {
                let mut command = shape.scene.command("git");
                command.env("GIT_NO_LAZY_FETCH", "1").current_dir(&clone).args(["cat-file", "-e", &old]);
                command.output().unwrap().status.success()
            };
            assert!(!is_here());

            // A run of what is not here ends with a sentence, and fetches nothing either.
            shape.ok(&clone, &["run", "tester", "--commit", "HEAD~2"]);
            shape.ok(&clone, &["resume"]);
            let ended = wait_for("the run to end", || {
                let run = shape.runs(&clone).into_iter().find(|run| run["trigger"] != "sources")?;
                ["failed", "succeeded", "inconclusive"].iter().any(|state| run["state"] == **state).then_some(run)
            });
            assert_eq!(ended["state"], "failed", "{ended}");
            assert!(ended["reason"].to_string().contains("partial clone"), "{ended}");
            assert!(!is_here(), "nothing was fetched");
            // Once it is here, so is the run's checkout.
            shape.git(&clone, &["fetch", "--quiet", "--refetch", "--no-filter", "origin"]);
            assert!(is_here());
            wait_for("every process to end", || shape.scene.processes().is_empty().then_some(()));
        }
    }
}

#[test]
fn where_trees_are_missing_the_changed_paths_are_an_error_and_not_an_empty_list() {
    for marked in [false, true] {
        let shape = Shape::new();
        let source = shape.base.join("source");
        shape.init(&source, &[]);
        shape.git(&source, &["config", "uploadpack.allowFilter", "true"]);
        shape.commit(&source, b"src/a", "old\n", &[]);
        shape.commit(&source, b"src/a", "new\n", &[]);
        let url = format!("file://{}", source.display());
        shape.git(&shape.base, &["clone", "--quiet", "--filter=tree:0", "--no-checkout", &url, "clone"]);
        let clone = shape.base.join("clone");
        shape.identify(&clone);
        if marked {
            shape.git(&clone, &["config", "extensions.partialClone", "origin"]);
        }
        shape.install(&clone);
        let output = shape.run(&clone, &["explain", "post-commit"]);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains("a partial clone leaves it with its remote"), "{said}");
        assert!(said.contains("git fetch --refetch --no-filter"), "{said}");
        // The hook says so too, and git goes on. The commit's own tree is here, and its parent's is not.
        let empty = shape.git(&clone, &["mktree"]);
        let commit = shape.git(&clone, &["commit-tree", "-p", "HEAD", "-m", "x", &empty]);
        shape.git(&clone, &["update-ref", "HEAD", &commit]);
        let said = shape.run(&clone, &["hook", "post-commit"]);
        assert!(said.status.success() && text(&said.stderr).contains("leaves it with its remote"), "{said:?}");
        assert_eq!(shape.runs(&clone).len(), 0);
    }
}

#[test]
fn a_commit_with_sha256_becomes_a_checked_artifact() {
    let Some(codex) = codex() else { return };
    let server = Server::in_background(Scripted::new()).unwrap();
    for format in &FORMATS[1..] {
        let mut shape = Shape::new();
        shape.scene = shape.scene.with_codex(&codex, server.url());
        let top = shape.base.clone();
        if !shape.init(&top, format) {
            continue;
        }
        write(&top.join("triggers.yaml"), TESTER_ON_COMMIT.as_bytes());
        write(&top.join("Makefile"), b"test:\n\t@echo one passed\n");
        shape.commit(&top, b"src/a", "1\n", &[]);
        shape.accept(&top, "install");
        shape.commit(&top, b"src/a", "needle\n", &[]);
        assert_eq!(shape.scene.wait(), 0, "{}", shape.scene.ok(&["status"]));
        let run = shape.scene.newest();
        let head = shape.head(&top);
        assert_eq!((&run["state"], &run["commit"]), (&Value::from("succeeded"), &Value::from(head.as_str())));
        let path = run["artifacts"][1].as_str().unwrap();
        assert_eq!(path, format!(".orchestrator/artifacts/{}/tester.json", &head[..12]));
        let artifact: Value = serde_json::from_str(&shape.scene.read(path)).unwrap();
        assert_eq!(artifact["envelope"]["commit"], *head);
        assert_eq!(artifact["envelope"]["tree"], *shape.git(&top, &["rev-parse", "HEAD^{tree}"]));
        let shown = shape.ok(&top, &["show", &head[..12]]);
        assert!(shown.contains(&head[..7]) && shown.contains("tester"), "{shown}");
        // Once more: the same workspace moves on.
        shape.commit(&top, b"src/b", "2\n", &[]);
        assert_eq!(shape.scene.wait(), 0, "{}", shape.scene.ok(&["status"]));
        wait_for("every process to end", || shape.scene.processes().is_empty().then_some(()));
    }
}
