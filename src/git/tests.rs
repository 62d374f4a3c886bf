//! Both readers, asked the same of the same repositories: random histories of random trees, as fast-import makes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::event::Change;

/// Names that sort apart as files and as directories, that need quoting, and that are no text.
const PATHS: [&[u8]; 9] =
    [b"a", b"a.txt", b"a/b", b"a/b/c", b"a-b", b"d/x y", b"d/new\nline", b"d/\"quoted\"", b"caf\xe9"];

/// What one step does to one path.
#[derive(Clone, Debug)]
enum Edit {
    File { text: u8, edited: bool, mode: &'static str },
    Link(u8),
    Submodule(u8),
    Delete,
}

#[derive(Clone, Debug)]
struct Step {
    edits: Vec<(usize, Edit)>,
    /// How far back each parent is; one that is before the beginning is none.
    parents: Vec<usize>,
    time: u32,
    author: usize,
    message: &'static [u8],
}

const AUTHORS: [&[u8]; 4] = [b"Ada <ada@example.org>", b"J\xf6rg <j@example.org>", b" Z  <>", b"A. <a b@c>"];
const MESSAGES: [&[u8]; 4] = [b"", b"one line", b"\n\nlate\n\nbody\n", b"caf\xe9\0 and more"];

fn edit() -> impl Strategy<Value = Edit> {
    let mode = prop_oneof![Just("100644"), Just("100755")];
    prop_oneof![
        6 => (0..4_u8, any::<bool>(), mode).prop_map(|(text, edited, mode)| Edit::File { text, edited, mode }),
        1 => (0..3_u8).prop_map(Edit::Link),
        1 => (1..3_u8).prop_map(Edit::Submodule),
        3 => Just(Edit::Delete),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let edits = prop::collection::vec((0..PATHS.len(), edit()), 1..5);
    let parents = prop_oneof![1 => Just(vec![]), 6 => Just(vec![1]), 3 => prop::collection::vec(1..5_usize, 1..4)];
    let message = prop::sample::select(MESSAGES.to_vec());
    (edits, parents, 0..4_u32, 0..AUTHORS.len(), message).prop_map(|(edits, parents, time, author, message)| Step {
        edits,
        parents,
        time,
        author,
        message,
    })
}

/// The content of a file: similar enough to be found again when it is edited, unless it is another one.
fn content(text: u8, edited: bool) -> Vec<u8> {
    if text == 3 {
        return vec![0, 1, u8::from(edited)];
    }
    let mut out = String::new();
    for line in 0..20 {
        writeln!(out, "text {text} line {line}").unwrap();
    }
    if edited {
        out = out.replace("line 7\n", "line seven\n");
        out.push_str("and no line break");
    }
    out.into_bytes()
}

fn run(directory: &Path, arguments: &[&str], input: Vec<u8>) -> String {
    let mut environment = process::clean_environment();
    environment.insert("GIT_CONFIG_GLOBAL".into(), "/dev/null".into());
    environment.insert("GIT_CONFIG_NOSYSTEM".into(), "1".into());
    let output = duct::cmd("git", arguments).dir(directory).full_env(environment).stdin_bytes(input).stderr_capture();
    output.read().unwrap_or_else(|error| panic!("git {arguments:?}: {error}"))
}

/// Makes the repository and returns its commits.
fn imported(directory: &Path, steps: &[Step]) -> Vec<Oid> {
    let quoted = |path: &[u8]| {
        path.iter().fold(String::from("\""), |mut out, byte| {
            write!(out, "\\{byte:03o}").unwrap();
            out
        }) + "\""
    };
    let mut stream = Vec::new();
    let mut say = |bytes: &[u8]| stream.extend_from_slice(bytes);
    let data = |bytes: &[u8]| [format!("data {}\n", bytes.len()).as_bytes(), bytes, b"\n"].concat();
    for (number, step) in steps.iter().enumerate() {
        say(format!("commit refs/heads/n{number}\nmark :{}\nauthor ", number + 1).as_bytes());
        say(AUTHORS[step.author]);
        say(format!(" 1700000000 +0100\ncommitter C <c@example.org> {} +0000\n", 1_700_000_000 + step.time).as_bytes());
        say(&data(step.message));
        let mut parents: Vec<usize> = step.parents.iter().filter_map(|back| number.checked_sub(*back)).collect();
        parents.sort_unstable_by(|one, two| two.cmp(one));
        parents.dedup();
        for (place, parent) in parents.iter().enumerate() {
            say(format!("{} :{}\n", if place == 0 { "from" } else { "merge" }, parent + 1).as_bytes());
        }
        for (path, edit) in &step.edits {
            let path = quoted(PATHS[*path]);
            match edit {
                Edit::Delete => say(format!("D {path}\n").as_bytes()),
                Edit::Submodule(id) => {
                    say(format!("M 160000 {} {path}\n", format!("{id}").repeat(40)).as_bytes());
                }
                Edit::Link(to) => {
                    say(format!("M 120000 inline {path}\n").as_bytes());
                    say(&data(format!("target {to}").as_bytes()));
                }
                Edit::File { text, edited, mode } => {
                    say(format!("M {mode} inline {path}\n").as_bytes());
                    say(&data(&content(*text, *edited)));
                }
            }
        }
    }
    run(directory, &["init", "--quiet", "-b", "n0"], Vec::new());
    run(directory, &["fast-import", "--quiet"], stream);
    let names: Vec<String> = (0..steps.len()).map(|number| format!("n{number}")).collect();
    let mut arguments = vec!["rev-parse"];
    arguments.extend(names.iter().map(String::as_str));
    run(directory, &arguments, Vec::new()).lines().map(|line| line.parse().unwrap()).collect()
}

fn both(directory: &Path) -> [Repository; 2] {
    let surroundings = Surroundings { git_directory: None, worktree: None, ceilings: OsString::new() };
    [
        Repository::discover(directory, false).unwrap(),
        Repository::find_with_git(&directory.canonicalize().unwrap(), &surroundings).unwrap(),
    ]
}

/// Everything that is asked of a repository with these commits.
fn answers(repository: &Repository, commits: &[Oid], others: &[Oid]) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut note = |question: String, answer: String| {
        out.insert(question, answer);
    };
    note("head".into(), format!("{:?}", repository.head().unwrap()));
    note("tracked".into(), format!("{:?}", repository.names_at_head("a")));
    note("remote".into(), format!("{:?}", repository.tracking_branches("origin")));
    for revision in ["HEAD", "n0", "v1", "v1^{}", "HEAD~1", "nope", "@{0}", "HEAD:a", "HEAD^{tree}", "", "--all"] {
        let found = repository.resolve(revision).map_err(|error| error.chain());
        note(format!("resolve {revision}"), format!("{:?}", found.ok()));
    }
    for id in commits.iter().chain(others) {
        note(format!("commit {id}"), format!("{:?}", repository.commit(id).ok()));
        note(format!("has {id}"), format!("{} {:?}", repository.has_commit(id), repository.commit_of(id)));
        note(format!("branches {id}"), format!("{:?}", repository.branches_at(id)));
    }
    for (number, commit) in commits.iter().enumerate() {
        note(format!("parent {number}"), format!("{:?}", repository.first_parent(commit).unwrap()));
        for path in PATHS {
            let blob = repository.blob_at(commit, path, 400).unwrap();
            note(format!("blob {number} {}", text::bytes_line(path)), format!("{blob:?}"));
        }
        for base in [None, commits.first(), commits.last(), commits.get(number.wrapping_sub(1))] {
            let change = Change { base: base.cloned(), head: commit.clone() };
            let listed: Vec<_> =
                repository.changed_paths(&change).unwrap().iter().map(|path| text::bytes_line(path)).collect();
            note(format!("paths {number} {base:?}"), format!("{listed:?}"));
            // In any order: commits of one second have none.
            let range =
                |max| repository.commits_in(&change, max).unwrap().map(|ids| ids.into_iter().collect::<BTreeSet<_>>());
            note(format!("range {number} {base:?}"), format!("{:?} {:?}", range(1000), range(1).is_some()));
            note(format!("diff {number} {base:?}"), format!("{:#?}", repository.diff(&change, 1 << 20).unwrap()));
            if let Some(base) = base {
                let common = repository.common_ancestor(commit, std::slice::from_ref(base));
                note(
                    format!("ancestor {number} {base}"),
                    format!("{common:?} {:?}", repository.is_ancestor(base, commit)),
                );
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_readers_say_the_same(steps in prop::collection::vec(step(), 2..8)) {
        let directory = tempfile::tempdir().unwrap();
        let commits = imported(directory.path(), &steps);
        let git = |arguments: &[&str]| run(directory.path(), arguments, Vec::new());
        let ada = ["-c", "user.name=A", "-c", "user.email=a@b"];
        git(&[ada.as_slice(), &["tag", "-a", "-m", "x", "v1", "n1"]].concat());
        git(&[ada.as_slice(), &["tag", "-a", "-m", "x", "v2", "v1"]].concat());
        git(&["update-ref", "refs/remotes/origin/main", "n1"]);
        let others: Vec<Oid> = ["v1", "v2", "n0^{tree}"].map(|name| git(&["rev-parse", name]).parse().unwrap()).into();
        let missing: Oid = "12".repeat(20).parse().unwrap();
        let others = [others, vec![missing]].concat();
        let [library, plumbing] = both(directory.path());
        let (one, two) = (answers(&library, &commits, &others), answers(&plumbing, &commits, &others));
        for (question, answer) in &one {
            prop_assert_eq!(answer, &two[question], "{}", question);
        }
        // And so does a repository with replaced and grafted commits, which have no say.
        if commits[0] != commits[1] {
            git(&["replace", "--force", commits[1].as_str(), commits[0].as_str()]);
            let [library, plumbing] = both(directory.path());
            prop_assert_eq!(library.commit(&commits[1]).unwrap(), plumbing.commit(&commits[1]).unwrap());
        }
        for (one, two) in [(library.worktree(), plumbing.worktree()), (Some(library.place()), Some(plumbing.place()))] {
            prop_assert_eq!(one, two);
        }
        prop_assert_eq!(library.home(), plumbing.home());
    }
}
