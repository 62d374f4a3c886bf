//! What each hook reports, with the real git calling the hooks.
//!
//! The hooks of these repositories start this test binary again; the test `as_a_hook` then observes in the place, with
//! the environment and the state that git gives a hook, and writes down what came out.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checkouts;
mod commits;
mod merges;
mod paths;
mod pushes;
mod rebases;
#[path = "../repo/mod.rs"]
mod repo;
#[path = "../terminal/mod.rs"]
mod terminal;
mod surroundings;
mod table;

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use orchestrator::clock::Timestamp;
use orchestrator::event::{Detail, Event, Hook};
use orchestrator::git::Repository;
use orchestrator::ids::Oid;
use orchestrator::observe::{self, Parts, Report};

use crate::repo::{Fixture, git, try_git, write, write_program};

/// Where `as_a_hook` writes, which hook it is, and the file with its arguments.
pub(crate) const REPORTS: &str = "GIT_ORCHESTRATOR_TEST_REPORTS";
pub(crate) const NAME: &str = "GIT_ORCHESTRATOR_TEST_HOOK";
pub(crate) const ARGUMENTS: &str = "GIT_ORCHESTRATOR_TEST_ARGUMENTS";

/// One call of a hook.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Observation {
    hook: String,
    pub(crate) events: Vec<Event>,
    pub(crate) left_out: usize,
    pub(crate) error: Option<String>,
}

#[test]
fn as_a_hook() {
    let Some(reports) = std::env::var_os(REPORTS).map(PathBuf::from) else { return };
    let name = std::env::var(NAME).unwrap();
    let arguments = fs::read(std::env::var_os(ARGUMENTS).unwrap()).unwrap();
    let mut arguments: Vec<OsString> =
        arguments.split(|byte| *byte == 0).map(|bytes| OsString::from_vec(bytes.to_vec())).collect();
    arguments.pop();
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).unwrap();
    let observed = |millis: u64| -> orchestrator::error::Result<Parts> {
        let repository = Repository::discover(&std::env::current_dir().unwrap(), true)?;
        let hook = Hook::parse(&name).unwrap();
        let at = Timestamp::from_millis(millis);
        match observe::observe(hook, &arguments, &mut input.as_slice(), &repository, at)? {
            Report::Nothing => Ok(Parts::default()),
            Report::Event(event) => Ok(Parts { events: vec![*event], left_out: 0 }),
            Report::Push(push) => push.events(&repository),
        }
    };
    let (first, second) = (observed(1), observed(2));
    if let (Ok(first), Ok(second)) = (&first, &second) {
        let keys = |parts: &Parts| parts.events.iter().map(|event| event.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(first), keys(second), "a repeated observation is the same event");
    }
    let (parts, error) = match first {
        Ok(parts) => (parts, None),
        Err(error) => (Parts::default(), Some(error.chain())),
    };
    let number = fs::read_dir(&reports).unwrap().count();
    let report =
        serde_json::to_vec(&Observation { hook: name, events: parts.events, left_out: parts.left_out, error }).unwrap();
    write(&reports.join(format!("{number:04}")), report);
}

/// A hook that has `as_a_hook` write its report into `reports`. Says nothing while `GIVEN` is set.
pub(crate) fn recorder(scratch: &Path, reports: &Path) -> String {
    format!(
        "#!/bin/sh\n[ -z \"$GIVEN\" ] || exit 0\narguments=$(mktemp '{0}/arguments.XXXXXX')\n\
         for a; do printf '%s\\0' \"$a\"; done >\"$arguments\"\nname=${{0##*/}}\n\
         {REPORTS}='{1}' {NAME}=${{name%.before-orchestrator}} {ARGUMENTS}=$arguments \
         exec '{2}' --exact as_a_hook --nocapture --quiet >'{0}/log' 2>&1\n",
        scratch.display(),
        reports.display(),
        std::env::current_exe().unwrap().display(),
    )
}

/// A repository with hooks, and a bare one beside it to push to.
struct Observed {
    fixture: Fixture,
    reports: PathBuf,
    remote: PathBuf,
}

impl Observed {
    fn new() -> Self {
        let fixture = Fixture::new();
        let reports = fixture.directory.path().join("reports");
        let remote = fixture.directory.path().join("remote.git");
        fs::create_dir(&reports).unwrap();
        git(fixture.directory.path(), ["init", "--quiet", "--bare", "-b", "main", "remote.git"]);
        fixture.git(["remote", "add", "origin", "../remote.git"]);
        let this = Self { fixture, reports, remote };
        this.install(&this.fixture.path(".git/hooks"));
        this
    }

    fn install(&self, hooks: &Path) {
        let script = recorder(self.fixture.directory.path(), &self.reports);
        // Checkouts, which these tests do on the way, stand in the table.
        for hook in Hook::INSTALLED.into_iter().filter(|hook| *hook != Hook::PostCheckout) {
            write_program(&hooks.join(hook.as_str()), &script);
        }
    }

    /// What the hooks reported since the last call.
    fn reports(&self) -> Vec<Observation> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.reports).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let read = |file: PathBuf| {
            let report: Observation = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            fs::remove_file(file).unwrap();
            assert_eq!(report.error, None, "{}", report.hook);
            report
        };
        files.into_iter().map(read).collect()
    }

    /// The events among them.
    fn events(&self) -> Vec<Event> {
        self.reports().into_iter().flat_map(|report| report.events).collect()
    }

    /// The only event.
    fn event(&self) -> Event {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "{events:#?}");
        events.remove(0)
    }

    fn commit(&self, path: &str) -> String {
        self.fixture.commit(path, path)
    }

    fn git<const N: usize>(&self, arguments: [&str; N]) -> String {
        self.fixture.git(arguments)
    }

    fn rev(&self, revision: &str) -> String {
        self.git(["rev-parse", revision])
    }
}

fn id(oid: Option<&Oid>) -> &str {
    oid.map_or("-", Oid::as_str)
}

/// base, head
fn ends(event: &Event) -> (&str, &str) {
    event.change.as_ref().map_or(("none", "none"), |change| (id(change.base.as_ref()), change.head.as_str()))
}

/// name, old, new of the only ref
fn only_ref(event: &Event) -> (&str, &str, &str) {
    assert_eq!(event.refs.len(), 1, "{event:#?}");
    (&event.refs[0].name, id(event.refs[0].old.as_ref()), id(event.refs[0].new.as_ref()))
}

#[test]
fn commits_are_reported_against_their_first_parent() {
    let o = Observed::new();
    let one = o.commit("a");
    let event = o.event();
    assert_eq!((event.hook, ends(&event)), (Hook::PostCommit, ("-", one.as_str())));
    assert_eq!(only_ref(&event), ("refs/heads/main", "-", one.as_str()));
    assert_eq!(event.branch.as_deref(), Some("main"));
    assert_eq!(event.worktree, o.fixture.work);
    assert_eq!((event.subject(), event.author.line().as_str()), ("change a", "Ada <ada@example.org>"));
    assert_eq!(event.tree.unwrap().as_str(), o.rev("HEAD^{tree}"));

    fs::create_dir(o.fixture.path("sub")).unwrap();
    o.fixture.write("sub/x", "x");
    git(&o.fixture.path("sub"), ["add", "x"]);
    git(&o.fixture.path("sub"), ["commit", "--quiet", "-m", "two"]);
    let event = o.event();
    assert_eq!(ends(&event), (one.as_str(), o.rev("HEAD").as_str()));
    assert_eq!(event.worktree, o.fixture.work);
}

#[test]
fn an_amend_is_a_commit_and_a_rewrite_with_the_same_change() {
    let o = Observed::new();
    let one = o.commit("a");
    let two = o.commit("b");
    o.events();
    o.git(["commit", "--quiet", "--amend", "-m", "better"]);
    let events = o.events();
    let new = o.rev("HEAD");
    assert_eq!(events.iter().map(|event| event.hook).collect::<Vec<_>>(), [Hook::PostCommit, Hook::PostRewrite]);
    for event in &events {
        assert_eq!(ends(event), (one.as_str(), new.as_str()));
    }
    assert_eq!(only_ref(&events[1]), ("refs/heads/main", two.as_str(), new.as_str()));
    assert!(
        matches!(&events[1].detail, Detail::Rewrite { command, rewritten } if command == "amend" && rewritten.len() == 1)
    );
}

#[test]
fn merges_are_reported_from_where_head_was() {
    let o = Observed::new();
    let base = o.commit("a");
    o.git(["switch", "--quiet", "-c", "topic"]);
    let one = o.commit("b");
    o.git(["switch", "--quiet", "-c", "side", &base]);
    o.commit("c");
    o.git(["switch", "--quiet", "topic"]);
    o.git(["merge", "--quiet", "--no-edit", "side"]);
    let merged = o.rev("HEAD");
    let event = o.events().pop().unwrap();
    assert_eq!((event.hook, ends(&event)), (Hook::PostMerge, (one.as_str(), merged.as_str())));

    // A fast-forward that ends at a merge commit.
    o.git(["switch", "--quiet", "main"]);
    o.git(["merge", "--quiet", "topic"]);
    let event = o.event();
    assert_eq!((event.hook, ends(&event)), (Hook::PostMerge, (base.as_str(), merged.as_str())));
    assert_eq!(only_ref(&event), ("refs/heads/main", base.as_str(), merged.as_str()));

    o.git(["switch", "--quiet", "-c", "squashed", &base]);
    o.git(["merge", "--quiet", "--squash", "topic"]);
    let event = o.event();
    assert_eq!((event.hook, event.change.as_ref(), event.refs.len()), (Hook::PostMerge, None, 0));
    assert_eq!(event.branch.as_deref(), Some("squashed"));
}

/// main: a - m; topic: a - 1 - 2 - 3, checked out.
fn forked() -> (Observed, String) {
    let o = Observed::new();
    o.commit("a");
    o.git(["switch", "--quiet", "-c", "topic"]);
    for path in ["1", "2", "3"] {
        o.commit(path);
    }
    o.git(["switch", "--quiet", "main"]);
    let onto = o.commit("m");
    o.git(["switch", "--quiet", "topic"]);
    o.events();
    (o, onto)
}

#[test]
fn a_rebase_is_one_event() {
    for backend in ["--merge", "--apply"] {
        let (o, onto) = forked();
        let old = o.rev("HEAD");
        o.git(["rebase", "--quiet", backend, "main"]);
        let reports = o.reports();
        assert!(reports.len() >= 4, "{backend}: {reports:?}");
        let events: Vec<Event> = reports.into_iter().flat_map(|report| report.events).collect();
        assert_eq!(events.len(), 1, "{backend}");
        let event = &events[0];
        let new = o.rev("topic");
        assert_eq!((event.hook, ends(event)), (Hook::PostRewrite, (onto.as_str(), new.as_str())), "{backend}");
        assert_eq!(only_ref(event), ("refs/heads/topic", old.as_str(), new.as_str()), "{backend}");
        assert_eq!(event.branch.as_deref(), Some("topic"), "{backend}");
        assert!(
            matches!(&event.detail, Detail::Rewrite { command, rewritten } if command == "rebase" && rewritten.len() == 3)
        );
    }
}

#[test]
fn a_rebase_with_a_conflict_a_squash_and_a_reword_is_one_event() {
    for backend in ["--merge", "--apply"] {
        let (o, _) = forked();
        o.git(["switch", "--quiet", "main"]);
        let onto = o.fixture.commit("2", "in the way");
        o.git(["switch", "--quiet", "topic"]);
        o.events();
        assert!(!try_git(&o.fixture.work, ["rebase", "--quiet", backend, "main"]).status.success());
        o.fixture.write("2", "solved");
        o.git(["add", "2"]);
        o.git(["rebase", "--continue"]);
        let event = o.event();
        assert_eq!(ends(&event), (onto.as_str(), o.rev("topic").as_str()), "{backend}");
    }
    let (o, onto) = forked();
    let editor = o.fixture.directory.path().join("editor");
    write_program(
        &editor,
        "#!/bin/sh\nsed -e '2s/^pick/squash/' -e '3s/^pick/reword/' \"$1\" >\"$1.new\" && mv \"$1.new\" \"$1\"\n",
    );
    let setting = format!("sequence.editor='{}'", editor.display());
    let mut environment = repo::environment();
    environment.remove(&OsString::from("GIT_SEQUENCE_EDITOR"));
    duct::cmd!("git", "-c", &setting, "rebase", "--quiet", "-i", "main")
        .dir(&o.fixture.work)
        .full_env(environment)
        .stdin_null()
        .stdout_capture()
        .stderr_capture()
        .run()
        .unwrap();
    let event = o.event();
    assert_eq!(o.git(["rev-list", "--count", "main..topic"]), "2");
    assert_eq!(ends(&event), (onto.as_str(), o.rev("topic").as_str()));
}

#[test]
fn a_series_of_patches_is_one_event() {
    let (o, onto) = forked();
    o.git(["format-patch", "--quiet", "-o", "../patches", "main..topic"]);
    o.git(["switch", "--quiet", "main"]);
    let patches = |count: usize| {
        let mut files: Vec<PathBuf> = fs::read_dir(o.fixture.directory.path().join("patches"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files.truncate(count);
        files
    };
    let am = |count: usize| {
        let mut arguments: Vec<OsString> = vec!["am".into(), "--quiet".into()];
        arguments.extend(patches(count).into_iter().map(OsString::from));
        git(&o.fixture.work, arguments)
    };
    am(3);
    let reports = o.reports();
    assert_eq!(reports.len(), 3);
    let events: Vec<Event> = reports.into_iter().flat_map(|report| report.events).collect();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].hook, ends(&events[0])), (Hook::PostApplypatch, (onto.as_str(), o.rev("HEAD").as_str())));
    o.git(["reset", "--quiet", "--hard", &onto]);
    am(1);
    assert_eq!(ends(&o.event()), (onto.as_str(), o.rev("HEAD").as_str()));
    // On a branch that has no commit yet.
    o.git(["switch", "--quiet", "--orphan", "fresh"]);
    am(2);
    assert_eq!(ends(&o.event()), ("-", o.rev("HEAD").as_str()));
}

#[test]
fn pushes_are_reported_against_what_the_remote_has() {
    let o = Observed::new();
    let one = o.commit("a");
    o.events();
    o.git(["push", "--quiet", "origin", "main"]);
    let event = o.event();
    assert_eq!((event.hook, ends(&event)), (Hook::PrePush, ("-", one.as_str())));
    assert_eq!(only_ref(&event), ("refs/heads/main", "-", one.as_str()));
    assert_eq!(event.detail, Detail::Push { remote: "origin".to_owned(), url: "../remote.git".to_owned() });

    let two = o.commit("b");
    o.events();
    o.git(["push", "--quiet", "origin", "HEAD:main"]);
    assert_eq!(ends(&o.event()), (one.as_str(), two.as_str()));

    // Nothing to push.
    o.git(["push", "--quiet", "origin", "main"]);
    let reports = o.reports();
    assert_eq!((reports.len(), reports[0].events.is_empty()), (1, true));

    // A new branch, with a side branch that the remote has too.
    o.git(["switch", "--quiet", "-c", "topic"]);
    o.commit("c");
    let four = o.commit("d");
    o.events();
    o.git(["push", "--quiet", "origin", "topic"]);
    let event = o.event();
    assert_eq!((ends(&event), event.branch.as_deref()), ((two.as_str(), four.as_str()), Some("topic")));

    // Forced: what both sides have in common.
    o.git(["reset", "--quiet", "--hard", &two]);
    let five = o.commit("e");
    o.events();
    o.git(["push", "--quiet", "--force", "origin", "topic"]);
    let event = o.event();
    assert_eq!(ends(&event), (two.as_str(), five.as_str()));
    assert_eq!(only_ref(&event), ("refs/heads/topic", four.as_str(), five.as_str()));

    // Forced over something that was never fetched.
    let elsewhere = o.fixture.directory.path().join("elsewhere");
    git(o.fixture.directory.path(), ["clone", "--quiet", "-b", "topic", "remote.git", "elsewhere"]);
    write(&elsewhere.join("f"), "f");
    git(&elsewhere, ["add", "f"]);
    git(&elsewhere, ["commit", "--quiet", "-m", "f"]);
    git(&elsewhere, ["push", "--quiet", "origin", "topic"]);
    let foreign = git(&elsewhere, ["rev-parse", "HEAD"]);
    let six = o.commit("g");
    o.events();
    o.git(["push", "--quiet", "--force", "origin", "topic"]);
    let event = o.event();
    assert_eq!(only_ref(&event), ("refs/heads/topic", foreign.as_str(), six.as_str()));
    assert_eq!(ends(&event), (five.as_str(), six.as_str()));

    o.git(["push", "--quiet", "origin", "--delete", "topic"]);
    assert!(o.events().is_empty());

    // Several at once: a deletion, a tag and a branch.
    o.git(["push", "--quiet", "origin", "main:old"]);
    o.git(["tag", "-a", "v1", "-m", "one", &two]);
    o.events();
    o.git(["push", "--quiet", "origin", ":old", "v1", "topic:new"]);
    let events = o.events();
    let seen: Vec<_> = events.iter().map(|event| (only_ref(event).0, ends(event), event.branch.as_deref())).collect();
    let expected = [
        ("refs/heads/new", (two.as_str(), six.as_str()), Some("new")),
        ("refs/tags/v1", (two.as_str(), two.as_str()), None),
    ];
    assert_eq!(seen, expected);

    // A tag alone: the commit it names. To a URL, of which nothing is known.
    o.git(["tag", "-a", "v2", "-m", "two", &two]);
    o.git(["push", "--quiet", o.remote.to_str().unwrap(), "v2"]);
    let event = o.event();
    assert_eq!((ends(&event), event.branch.as_deref()), (("-", two.as_str()), None));
}

#[test]
fn linked_worktrees_and_detached_heads_report_their_own() {
    let o = Observed::new();
    let one = o.commit("a");
    o.git(["worktree", "add", "--quiet", "-b", "other", "../linked"]);
    let linked = o.fixture.directory.path().join("linked").canonicalize().unwrap();
    o.events();
    write(&linked.join("b"), "b");
    git(&linked, ["add", "b"]);
    git(&linked, ["commit", "--quiet", "-m", "b"]);
    let event = o.event();
    assert_eq!((event.branch.as_deref(), &event.worktree), (Some("other"), &linked));
    assert_eq!(ends(&event), (one.as_str(), o.rev("other").as_str()));

    // The same commit made in two worktrees is two events.
    o.git(["switch", "--quiet", "--detach"]);
    let here = o.commit("c");
    let event = o.event();
    assert_eq!((event.branch.as_deref(), only_ref(&event)), (None, ("HEAD", one.as_str(), here.as_str())));
    git(&linked, ["switch", "--quiet", "--detach", &one]);
    write(&linked.join("c"), "c");
    git(&linked, ["add", "c"]);
    git(&linked, ["commit", "--quiet", "-m", "change c"]);
    let there = o.event();
    assert_eq!(there.change, event.change);
    assert_ne!(there.key, event.key);
}

#[test]
fn names_and_messages_need_not_be_text() {
    let o = Observed::new();
    o.commit("a");
    let branch = OsString::from_vec(b"caf\xe9".to_vec());
    let arguments: [OsString; 4] = ["switch".into(), "--quiet".into(), "-c".into(), branch];
    git(&o.fixture.work, arguments);
    o.events();
    o.fixture.write("b", "b");
    o.git(["add", "b"]);
    let message = o.fixture.directory.path().join("message");
    write(&message, b"caf\xe9\x1b[31m\n".as_slice());
    o.git(["-c", "i18n.commitEncoding=latin-1", "commit", "--quiet", "-F", message.to_str().unwrap()]);
    let event = o.event();
    assert_eq!(event.branch.as_deref(), Some("caf\\xe9"));
    assert_eq!(event.subject(), "caf\u{fffd}\u{1b}[31m");
}

#[test]
fn a_persons_request_names_a_commit() {
    let f = Fixture::new();
    let one = f.commit("a", "1");
    let two = f.commit("a", "2");
    let repository = f.open();
    let at = Timestamp::from_millis(1);
    let ask = |commit: &str, request: &str| {
        observe::manual(&repository, &commit.parse().unwrap(), None, request, at).unwrap()
    };
    let event = ask(&two, "1");
    assert_eq!((ends(&event), event.branch.as_deref()), ((one.as_str(), two.as_str()), Some("main")));
    assert_eq!(ask(&one, "1").branch, None);
    assert_ne!(ask(&two, "2").key, event.key);
    assert_eq!(ask(&two, "1").key, event.key);
    assert!(observe::manual(&repository, &"1".repeat(40).parse().unwrap(), None, "1", at).is_err());
}

#[test]
fn a_hook_called_by_hand_says_what_is_wrong() {
    let f = Fixture::new();
    f.commit("a", "1");
    let repository = f.open();
    let call = |hook: Hook, arguments: &[&str], input: &[u8]| {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        observe::observe(hook, &arguments, &mut &*input, &repository, Timestamp::from_millis(1))
    };
    assert!(call(Hook::PostCommit, &["x"], b"").is_err());
    assert!(call(Hook::PostMerge, &[], b"").is_err());
    assert!(call(Hook::PostMerge, &["2"], b"").is_err());
    assert!(call(Hook::PrePush, &["origin"], b"").is_err());
    assert!(call(Hook::PrePush, &["origin", "url"], b"a b c\n").is_err());
    assert!(matches!(call(Hook::PrePush, &["origin", "url"], b""), Ok(Report::Nothing)));
    assert!(call(Hook::PostRewrite, &["amend"], b"x y\n").is_err());
    assert!(call(Hook::PostCheckout, &["a", "b"], b"").is_err());
    assert!(call(Hook::PostCheckout, &["a", "b", "1"], b"").is_err());
    assert!(call(Hook::PostReceive, &["x"], b"").is_err());
    assert!(call(Hook::PostReceive, &[], b"a b c\n").is_err());
    assert!(matches!(call(Hook::PreMergeCommit, &[], b""), Ok(Report::Nothing)), "no merge is under way");
    assert!(call(Hook::Manual, &[], b"").is_err());
    let mut endless = std::io::repeat(b'a');
    let arguments = [OsString::from("amend")];
    let error = observe::observe(Hook::PostRewrite, &arguments, &mut endless, &repository, Timestamp::from_millis(1));
    assert!(error.unwrap_err().to_string().contains("16.0 MiB"));
    // A branch without a commit.
    f.git(["switch", "--quiet", "--orphan", "fresh"]);
    assert!(matches!(call(Hook::PostCommit, &[], b""), Ok(Report::Nothing)));
}
