//! Reading repositories, against the real git.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod repo;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use orchestrator::error::Kind;
use orchestrator::event::Change;
use orchestrator::git::Repository;
use orchestrator::git::diff::{FileDiff, Status};
use orchestrator::ids::Oid;

use crate::repo::{Fixture, git, write};

fn oid(text: &str) -> Oid {
    text.parse().unwrap()
}

fn change(base: Option<&str>, head: &str) -> Change {
    Change { base: base.map(oid), head: oid(head) }
}

fn paths(repository: &Repository, change: &Change) -> Vec<String> {
    let paths = repository.changed_paths(change).unwrap();
    paths.into_iter().map(|path| String::from_utf8_lossy(&path).into_owned()).collect()
}

/// What `git` prints when it is given this input.
fn git_fed(directory: &Path, arguments: &[&str], input: impl Into<Vec<u8>>) -> String {
    duct::cmd("git", arguments)
        .dir(directory)
        .full_env(repo::environment())
        .stdin_bytes(input)
        .read()
        .unwrap_or_else(|error| panic!("git {arguments:?}: {error}"))
}

fn joined(numbers: impl Iterator<Item = u32>, line: impl Fn(u32) -> String) -> String {
    numbers.map(line).collect::<Vec<_>>().concat()
}

/// A commit of this tree, whatever the tree holds.
fn commit_of_tree(f: &Fixture, tree: &str) -> String {
    f.git(["commit-tree", "-m", "by hand", tree])
}

#[test]
fn every_kind_of_repository_knows_its_directories() {
    let f = Fixture::new();
    let top = f.directory.path().canonicalize().unwrap();
    f.commit("sub/a", "1");
    let repository = f.open();
    assert_eq!(repository.worktree(), Some(f.work.as_path()));
    assert_eq!((repository.git_directory(), repository.common_directory()), (&*f.path(".git"), &*f.path(".git")));
    assert_eq!(repository.home(), f.work);
    assert_eq!(Repository::discover(&f.path("sub"), false).unwrap().home(), f.work);

    f.git(["worktree", "add", "--quiet", "../linked"]);
    let check_linked = |linked: &Repository| {
        assert_eq!(linked.worktree(), Some(top.join("linked").as_path()));
        assert_eq!(linked.git_directory(), f.path(".git/worktrees/linked"));
        assert_eq!(linked.common_directory(), f.path(".git"));
        assert_eq!(linked.home(), f.work);
    };
    check_linked(&Repository::discover(&top.join("linked"), false).unwrap());
    let told = Some(f.path(".git/worktrees/linked").into_os_string());
    check_linked(&Repository::of_hook(&top.join("linked"), told, None).unwrap());

    git(&top, ["clone", "--quiet", "--bare", "work", "bare.git"]);
    for bare in [
        Repository::discover(&top.join("bare.git"), false).unwrap(),
        Repository::of_hook(&top.join("bare.git"), Some(".".into()), None).unwrap(),
    ] {
        assert_eq!((bare.worktree(), bare.place()), (None, &*top.join("bare.git")));
        assert_eq!(bare.home(), top.join("bare.git"));
    }
    git(&top.join("bare.git"), ["worktree", "add", "--quiet", "../of-bare"]);
    assert_eq!(Repository::discover(&top.join("of-bare"), false).unwrap().home(), top.join("bare.git"));

    f.git(["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../bare.git", "module"]);
    let module = Repository::discover(&f.path("module"), false).unwrap();
    assert_eq!((module.worktree(), module.home()), (Some(&*f.path("module")), f.path("module")));
    let told = Some(f.path(".git/modules/module").into_os_string());
    assert_eq!(Repository::of_hook(&f.path("module"), told, None).unwrap().home(), f.path("module"));

    // The worktree is where the git directory is named from, or where GIT_WORK_TREE says.
    let told = Some(f.path(".git").into_os_string());
    let named = Repository::of_hook(&top, told.clone(), None).unwrap();
    assert_eq!((named.worktree(), named.home()), (Some(&*top), f.work.clone()));
    let named = Repository::of_hook(&top, told, Some("linked".into())).unwrap();
    assert_eq!(named.worktree(), Some(&*top.join("linked")));

    // All worktrees of one whose git directory lies elsewhere agree on that directory.
    git(&top, ["init", "--quiet", "--separate-git-dir", "elsewhere", "separate"]);
    let separate = Repository::discover(&top.join("separate"), false).unwrap();
    assert_eq!((separate.worktree(), separate.home()), (Some(&*top.join("separate")), top.join("elsewhere")));
}

#[test]
fn what_cannot_be_opened_is_said_in_one_line() {
    let top = tempfile::tempdir().unwrap();
    let error = Repository::discover(top.path(), false).err().unwrap();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().ends_with("is not in a git repository"), "{error}");
    // What libgit2 does not know, git is asked about: its own sentence is shown, on one line.
    git(top.path(), ["init", "--quiet", "odd"]);
    let odd = top.path().join("odd");
    git(&odd, ["config", "core.repositoryFormatVersion", "1"]);
    git(&odd, ["config", "extensions.unheardOf", "true"]);
    let error = Repository::discover(&odd, false).err().unwrap();
    assert!(error.chain().contains("cannot open the repository at"), "{}", error.chain());
    assert!(error.chain().contains("unheardof"), "{}", error.chain());
    assert_eq!(error.chain().lines().count(), 1);
    git(&odd, ["config", "--file", ".git/config", "--unset", "extensions.unheardOf"]);
    fs::remove_dir_all(odd.join(".git/objects")).unwrap();
    assert!(Repository::discover(&odd, false).is_err());
}

#[test]
fn heads_and_revisions() {
    Fixture::of_every_format().iter().for_each(check_heads_and_revisions);
}

fn check_heads_and_revisions(f: &Fixture) {
    let repository = f.open();
    let head = repository.head().unwrap();
    assert_eq!((head.branch.as_deref(), head.commit), (Some("main"), None));
    assert!(repository.resolve("HEAD").is_err());
    let one = f.commit("a", "1");
    assert_eq!(repository.head().unwrap().commit, Some(oid(&one)));
    f.git(["tag", "-a", "v1", "-m", "x"]);
    for name in ["HEAD", "main", "v1", &one[..7], "@{0}", ":/change"] {
        assert_eq!(repository.resolve(name).unwrap().as_str(), one, "{name}");
    }
    assert_eq!(repository.resolve("nope").unwrap_err().kind(), Kind::NotFound);
    for name in ["", "HEAD:a", "HEAD^{tree}", "--all", "a\0b", "HEAD^9\u{1b}[31m", "@{u}"] {
        let error = repository.resolve(name).unwrap_err();
        assert!(!error.chain().contains('\u{1b}'), "{error}");
    }
    f.git(["switch", "--quiet", "--detach"]);
    assert_eq!(repository.head().unwrap().branch, None);
    write(&f.path(".git/HEAD"), "nonsense");
    let nonsense = Repository::discover(&f.work, false).and_then(|repository| repository.head());
    assert!(nonsense.is_err());
}

#[test]
fn commits_and_files_are_read_as_they_are() {
    Fixture::of_every_format().iter().for_each(check_commits_and_files_are_read_as_they_are);
}

fn check_commits_and_files_are_read_as_they_are(f: &Fixture) {
    symlink("target", f.path("link")).unwrap();
    f.write("d/run", "x");
    fs::set_permissions(f.path("d/run"), fs::Permissions::from_mode(0o755)).unwrap();
    f.write("long", "l".repeat(100));
    f.write("message", "ü".repeat(100_000));
    f.git(["add", "--all"]);
    f.git(["commit", "--quiet", "-F", "message"]);
    let repository = f.open();
    let id = repository.resolve("HEAD").unwrap();
    let commit = repository.commit(&id).unwrap();
    assert!(commit.message.len() <= 64 * 1024 && commit.message.starts_with('ü'));
    assert_eq!((commit.author.line().as_str(), commit.parents.len()), ("Ada <ada@example.org>", 0));
    assert_eq!(commit.tree.as_str(), f.git(["rev-parse", "HEAD^{tree}"]));
    let blob = |path: &str| repository.blob_at(&id, path.as_bytes(), 50).unwrap();
    assert_eq!(blob("d/run").unwrap(), b"x");
    for none in ["link", "d", "d/run/x", "long", "nope", "", "/d/run", "d//run", "./d/run", "../work/d/run", "d/\0"] {
        assert_eq!(blob(none), None, "{none:?}");
    }
    // Of ids with another length, the first digits may be those of an object.
    let (own, other) = if id.as_str().len() == 40 { (40, 64) } else { (64, 40) };
    assert_eq!(repository.commit(&oid(&"1".repeat(own))).unwrap_err().kind(), Kind::NotFound);
    let foreign = oid(&format!("{}{}", &id.as_str()[..40], "0".repeat(24))[..other]);
    assert_eq!(repository.commit(&foreign).unwrap_err().kind(), Kind::Failed);
    assert!(!repository.has_commit(&foreign) && repository.commit_of(&foreign).is_none());
    assert!(repository.commit(&commit.tree).is_err());
}

#[test]
fn a_shallow_clone_ends_at_its_edge() {
    Fixture::of_every_format().iter().for_each(check_a_shallow_clone_ends_at_its_edge);
}

fn check_a_shallow_clone_ends_at_its_edge(f: &Fixture) {
    f.commit("a", "1");
    f.commit("b", "2");
    let url = format!("file://{}", f.work.display());
    git(f.directory.path(), ["clone", "--quiet", "--depth=1", &url, "shallow"]);
    let repository = Repository::discover(&f.directory.path().join("shallow"), false).unwrap();
    let head = repository.head().unwrap().commit.unwrap();
    assert!(repository.is_shallow());
    assert_eq!(repository.first_parent(&head).unwrap(), None);
    assert_eq!(paths(&repository, &Change { base: None, head: head.clone() }), ["a", "b"]);
    let older = oid(&f.git(["rev-parse", "HEAD^"]));
    assert!(repository.commit(&older).unwrap_err().to_string().contains("shallow"));
}

#[test]
fn histories_meet_where_git_says() {
    Fixture::of_every_format().iter().for_each(check_histories_meet_where_git_says);
}

fn check_histories_meet_where_git_says(f: &Fixture) {
    let base = f.commit("a", "1");
    f.git(["switch", "--quiet", "-c", "topic"]);
    for n in 0..20 {
        f.commit("t", n.to_string());
    }
    f.git(["switch", "--quiet", "main"]);
    f.commit("m", "1");
    f.git(["merge", "--quiet", "--no-edit", "topic~10"]);
    f.commit("m", "2");
    let repository = f.open();
    let rev = |name: &str| oid(&f.git(["rev-parse", name]));
    // All of one second, so that dates tell nothing.
    for (one, other) in [("main", "topic"), ("topic", "main"), ("topic", "topic~5"), ("main~2", "topic")] {
        let expected = f.git(["merge-base", one, other]);
        assert_eq!(repository.common_ancestor(&rev(one), &[rev(other)]).unwrap().as_str(), expected, "{one} {other}");
    }
    assert_eq!(repository.common_ancestor(&rev("topic"), &[rev("main~2"), rev("topic~3")]), Some(rev("topic~3")));
    assert_eq!(repository.is_ancestor(&oid(&base), &rev("main")), Some(true));
    assert_eq!(repository.is_ancestor(&rev("main"), &oid(&base)), Some(false));
    f.git(["switch", "--quiet", "--orphan", "unrelated"]);
    f.commit("u", "1");
    assert_eq!(repository.common_ancestor(&rev("main"), &[rev("unrelated")]), None);
}

#[test]
fn changed_paths_are_those_of_git() {
    Fixture::of_every_format().iter().for_each(check_changed_paths_are_those_of_git);
}

fn check_changed_paths_are_those_of_git(f: &Fixture) {
    f.write("a/b/c.txt", "1");
    f.write("a.txt", "1");
    f.write("kept/x", "1");
    f.write("moved", "long enough to be found again\n");
    let one = f.commit("file-then-directory", "1");
    fs::remove_file(f.path("file-then-directory")).unwrap();
    f.write("file-then-directory/inner", "1");
    f.write("a/b/c.txt", "2");
    f.git(["mv", "moved", "elsewhere"]);
    symlink("a.txt", f.path("link")).unwrap();
    fs::set_permissions(f.path("kept/x"), fs::Permissions::from_mode(0o755)).unwrap();
    let two = f.commit("ünï", "1");
    let repository = f.open();
    for (base, head) in [(&one, &two), (&two, &one)] {
        let listed = f.git(["diff-tree", "-r", "--no-renames", "--name-only", "-z", base, head]);
        let mut listed: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
        listed.sort_unstable();
        assert_eq!(paths(&repository, &change(Some(base), head)), listed);
    }
    let all = ["a.txt", "a/b/c.txt", "file-then-directory", "kept/x", "moved"];
    assert_eq!(paths(&repository, &change(None, &one)), all);
    assert!(paths(&repository, &change(Some(&one), &one)).is_empty());
}

fn file<'a>(files: &'a [FileDiff], path: &str) -> &'a FileDiff {
    files.iter().find(|file| file.path == path.as_bytes()).unwrap_or_else(|| panic!("{path}: {files:#?}"))
}

#[test]
fn a_diff_reads_as_git_prints_it() {
    Fixture::of_every_format().iter().for_each(check_a_diff_reads_as_git_prints_it);
}

fn check_a_diff_reads_as_git_prints_it(f: &Fixture) {
    let lines: String = joined(1..=40, |n| format!("line {n}\n"));
    f.write("text", &lines);
    f.write("moved", &lines);
    f.write("gone", "1\n2\n");
    f.write("becomes-link", "x");
    f.write("binary", b"\0\x01".as_slice());
    f.write("large", "l".repeat(2000));
    f.write("latin", b"caf\xe9\n".as_slice());
    // Says that it need not be looked at.
    f.write(".gitattributes", "hidden -diff\ntext binary\n");
    f.write("mode", "x");
    let one = f.commit("hidden", "before\n");
    f.write("text", lines.replace("line 3\n", "line three\n").replace("line 30\n", ""));
    fs::remove_file(f.path("moved")).unwrap();
    f.write("sub/new name", format!("{lines}more\n"));
    fs::remove_file(f.path("gone")).unwrap();
    fs::remove_file(f.path("becomes-link")).unwrap();
    symlink("text", f.path("becomes-link")).unwrap();
    f.write("binary", b"\0\x02".as_slice());
    f.write("script", "#!/bin/sh\n# \0\n");
    f.write("large", "m".repeat(2000));
    f.write("latin", b"caf\xe9 \xff".as_slice());
    fs::set_permissions(f.path("mode"), fs::Permissions::from_mode(0o755)).unwrap();
    f.git(["add", "--all"]);
    f.git(["update-index", "--add", "--cacheinfo", &format!("160000,{one},module")]);
    f.write("hidden", "after\n");
    f.git(["add", "hidden"]);
    f.git(["commit", "--quiet", "-m", "two"]);
    let two = f.git(["rev-parse", "HEAD"]);

    let repository = f.open();
    let files = repository.diff(&change(Some(&one), &two), 3000).unwrap();
    assert!(files.is_sorted_by(|one, two| one.path < two.path));
    let text = file(&files, "text");
    assert_eq!((text.status, text.added, text.removed, text.hunks.len()), (Status::Modified, 1, 2, 2));
    let hunk = &text.hunks[0];
    assert_eq!((hunk.old_start, hunk.old_lines, hunk.new_start, hunk.new_lines), (1, 6, 1, 6));
    let printed = f.git(["diff", "--text", &one, &two, "--", "text"]);
    let printed = printed[printed.find("@@").unwrap()..].trim_end();
    let ours: String = text.hunks.iter().map(|hunk| hunk.text.as_str()).collect();
    assert_eq!(ours.trim_end(), printed);

    // By its mode, or by its first line, even where a NUL makes it binary.
    assert!(file(&files, "mode").program && file(&files, "script").program && file(&files, "script").binary);
    assert!(!text.program && !file(&files, "becomes-link").program);

    let moved = file(&files, "sub/new name");
    assert_eq!((moved.status, moved.old_path.as_deref(), moved.added), (Status::Renamed, Some(b"moved".as_slice()), 1));
    assert!(!files.iter().any(|file| file.path == b"moved"));
    let gone = file(&files, "gone");
    assert_eq!((gone.status, gone.removed, gone.hunks[0].new_start), (Status::Deleted, 2, 0));
    assert_eq!(file(&files, "becomes-link").status, Status::TypeChanged);
    assert!(file(&files, "binary").binary && file(&files, "binary").hunks.is_empty());
    assert_eq!((file(&files, "large").too_large, file(&files, "large").hunks.len()), (Some(4000), 0));
    assert!(file(&files, "latin").hunks[0].text.ends_with("\\ No newline at end of file\n"));
    assert_eq!((file(&files, "mode").status, file(&files, "mode").hunks.len()), (Status::Modified, 0));
    assert_eq!((file(&files, "module").status, file(&files, "module").added), (Status::Added, 1));
    assert_eq!(file(&files, "hidden").hunks.len(), 1);

    let all = repository.diff(&change(None, &one), 3000).unwrap();
    assert!(all.iter().all(|file| file.status == Status::Added));
    assert_eq!(file(&all, "text").hunks[0].old_start, 0);
}

#[test]
fn hostile_trees_are_read_or_refused_and_never_panic() {
    // How refs are kept makes no difference here.
    Fixture::of_every_format().iter().step_by(3).for_each(check_hostile_trees_are_read_or_refused_and_never_panic);
}

fn check_hostile_trees_are_read_or_refused_and_never_panic(f: &Fixture) {
    let one = f.commit("a", "1");
    let blob = f.git(["rev-parse", "HEAD:a"]);
    let raw = |entries: &[(&str, &[u8], &str)]| {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(mode.as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend((0..id.len() / 2).map(|at| u8::from_str_radix(&id[at * 2..at * 2 + 2], 16).unwrap()));
        }
        git_fed(&f.work, &["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], bytes)
    };
    let missing = "1".repeat(blob.len());
    let trees = [
        raw(&[("100664", b"old mode", &blob), ("100666", b"z", &blob)]),
        raw(&[("777", b"no mode", &blob)]),
        raw(&[("0", b"zero", &blob), ("177777", b"all", &blob)]),
        raw(&[("100644", b"twice", &blob), ("100644", b"twice", &blob)]),
        raw(&[("100644", b"z", &blob), ("100644", b"a", &blob), ("40000", b"b", &missing)]),
        raw(&[("100644", b"..", &blob), ("100644", b".git", &blob), ("100644", b"a/b", &blob)]),
        raw(&[("100644", b"caf\xe9\x1b[31m\n", &blob)]),
        raw(&[("40000", b"blob as tree", &blob)]),
        raw(&[("100644", b"gone", &missing)]),
        raw(&[]),
    ];
    let repository = f.open();
    for tree in &trees {
        let commit = commit_of_tree(f, tree);
        for change in [change(None, &commit), change(Some(&one), &commit), change(Some(&commit), &one)] {
            let listed = repository.changed_paths(&change);
            let compared = repository.diff(&change, 1000);
            if let (Ok(listed), Ok(compared)) = (&listed, &compared) {
                assert!(compared.len() <= listed.len());
            }
            for error in [listed.err(), compared.err()].into_iter().flatten() {
                assert!(!error.chain().contains(['\u{1b}', '\n']), "{error}");
            }
        }
        repository.blob_at(&oid(&commit), b"twice", 10).ok();
        repository.blob_at(&oid(&commit), b"blob as tree/x", 10).ok();
    }

    // Eight levels of sixteen names for the same subtree: four thousand million files.
    let mut tree = raw(&[("100644", b"f", &blob)]);
    for _ in 0..8 {
        let names: Vec<String> = (0..16).map(|n| format!("d{n:02}")).collect();
        let entries: Vec<(&str, &[u8], &str)> =
            names.iter().map(|name| ("40000", name.as_bytes(), tree.as_str())).collect();
        tree = raw(&entries);
    }
    let bomb = commit_of_tree(f, &tree);
    let error = repository.diff(&change(None, &bomb), 1000).unwrap_err();
    assert!(error.chain().contains("more than"), "{}", error.chain());
}

#[test]
fn many_files_are_compared_without_looking_for_renames() {
    let f = Fixture::new();
    let blob = |content: &str| git_fed(&f.work, &["hash-object", "-w", "--stdin"], content);
    let (one, two) = (blob("1\n"), blob("2\n"));
    let tree = |id: &str, prefix: &str| {
        let lines: String = joined(0..2000, |n| format!("100644 blob {id}\t{prefix}{n}\n"));
        let inner = git_fed(&f.work, &["mktree"], lines);
        let outer: String = joined(0..10, |n| format!("040000 tree {inner}\t{n}\n"));
        git_fed(&f.work, &["mktree"], outer)
    };
    let (old, new) = (commit_of_tree(&f, &tree(&one, "a")), commit_of_tree(&f, &tree(&two, "b")));
    let files = f.open().diff(&change(Some(&old), &new), 1000).unwrap();
    assert_eq!(files.len(), 40_000);
    assert!(files.iter().all(|file| matches!(file.status, Status::Added | Status::Deleted)));
}

#[test]
fn branches_and_paths_need_not_be_text() {
    Fixture::of_every_format().iter().for_each(check_branches_and_paths_need_not_be_text);
}

fn check_branches_and_paths_need_not_be_text(f: &Fixture) {
    let name = OsStr::from_bytes(b"caf\xe9");
    write(&f.work.join(name), "x");
    let one = f.commit("a", "1");
    f.git(["update-ref", "refs/remotes/origin/main", &one]);
    let repository = f.open();
    assert!(repository.changed_paths(&change(None, &one)).unwrap().contains(&b"caf\xe9".to_vec()));
    assert_eq!(repository.tracking_branches("origin"), [oid(&one)]);
    for none in ["", "*", "../main", "https://example.org/a.git", "nope"] {
        assert!(repository.tracking_branches(none).is_empty(), "{none}");
    }
    assert_eq!(repository.branches_at(&oid(&one)), ["main"]);
    let directory = f.directory.path().join(name);
    fs::create_dir(&directory).unwrap();
    git(&directory, ["init", "--quiet"]);
    assert_eq!(Repository::discover(&directory, false).unwrap().home(), directory.canonicalize().unwrap());
}
