//! What git is made to do: a commit in repositories of two sizes, a commit of twenty thousand paths, a push of ten
//! thousand commits, a rebase of a hundred.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::figures::{Act, Rounds};
use crate::managers::{self, Job, Manager};
use crate::scene::{self, History, Scene, Side};
use crate::{Options, Outcome};

/// Over an empty shell hook, in ms: a commit of which nothing starts.
const NOTHING_MS: f64 = 3.0;

/// Over an empty shell hook, in ms: a commit that makes a job durable.
const JOB_MS: f64 = 6.0;

/// Over empty shell hooks, in ms: a rebase of 100 commits.
const REBASE_MS: f64 = 600.0;

/// Of what another hook manager adds.
const PART: f64 = 0.5;

/// The table that `install` writes: most repositories have little more.
pub(crate) const STARTER: &str = include_str!("../../triggers.yaml");

/// No row listens to `post-commit`.
pub(crate) const OTHER_HOOK: &str = "version: 1\ntriggers:\n  - name: test\n    on: post-merge\n    role: tester\n";

/// Patterns that every path has to be held against, and that none matches.
pub(crate) const EVERY_PATH: &str = "version: 1\ntriggers:\n  - name: test\n    on: post-commit\n    \
    when: { paths: [\"**/*.none\", \"**/x*.rs\"] }\n    role: tester\n";

/// A row for pushes that nothing here matches.
const PUSH_OF_NOTHING: &str = "version: 1\ntriggers:\n  - name: test\n    on: pre-push\n    \
    when: { paths: [\"docs/tasks/**\"] }\n    role: tester\n";

/// A row for every push.
const PUSH: &str = "version: 1\ntriggers:\n  - name: test\n    on: pre-push\n    role: tester\n";

/// A path below which no row of [`STARTER`] starts anything.
pub(crate) const DOCUMENT: &str = "docs/notes.md";

/// A path that starts the tester.
pub(crate) const CODE: &str = "src/d000/f00000.rs";

/// Fifty rows for `post-commit`, each with a pattern that nothing here matches.
pub(crate) fn large_table() -> String {
    let mut table = "version: 1\ntriggers:\n".to_owned();
    for number in 0..50 {
        writeln!(
            table,
            "  - name: row-{number}\n    on: post-commit\n    when: {{ paths: [\"part-{number}/**/*.{{c,h}}\"] }}\n    \
             role: tester"
        )
        .ok();
    }
    table
}

impl Options {
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|word| name.contains(word))
    }

    /// How many rounds a row gets: fewer where git alone takes long, and where managers take part.
    pub(crate) fn rounds(&self, files: usize) -> usize {
        match (files > 1_000, self.quick) {
            (false, false) => 200,
            (false, true) => 40,
            (true, false) => 80,
            (true, true) => 12,
        }
    }
}

/// Repositories with the same history: with empty hooks, with ours, and with those of each manager.
struct Contest<'a> {
    options: &'a Options,
    empty: Side<'a>,
    ours: Side<'a>,
    managers: Vec<(Manager, Side<'a>)>,
}

/// What is measured, and what was promised of it.
struct Row<'a> {
    name: &'a str,
    files: usize,
    rounds: usize,
    promised: Option<f64>,
    /// What the managers have to do, where they take part.
    against: Option<Job>,
}

impl<'a> Contest<'a> {
    fn new(options: &'a Options, scene: &'a Scene, history: &History) -> Outcome<Self> {
        let empty = scene.repository("empty", history)?;
        let ours = scene.repository("ours", history)?;
        ours.install(STARTER)?;
        let mut managers = Vec::new();
        for manager in managers::found() {
            let side = scene.repository(manager.kind.name(), history)?;
            manager.install(&side)?;
            managers.push((manager, side));
        }
        Ok(Self { options, empty, ours, managers })
    }

    /// Measures one row, prints it, and keeps what it says of the managers in `theirs`. `after` looks at what ours did.
    fn row(
        &self,
        row: &Row<'_>,
        theirs: &mut Vec<String>,
        act: &dyn Fn(&Side<'_>, usize) -> Outcome<Duration>,
        after: &dyn Fn(&Side<'_>) -> Outcome<()>,
    ) -> Outcome<()> {
        if !self.options.wants(row.name) {
            return Ok(());
        }
        let mut sides: Vec<Act<'_>> = vec![
            Box::new(|turn| act(&self.empty, turn)),
            Box::new(|turn| {
                let took = act(&self.ours, turn)?;
                after(&self.ours)?;
                Ok(took)
            }),
        ];
        let mut rounds = row.rounds;
        if let Some(job) = row.against.filter(|_| !self.managers.is_empty()) {
            for (manager, side) in &self.managers {
                manager.configure(side, job)?;
                sides.push(Box::new(move |turn| act(side, turn)));
            }
            // The others take several times as long, and what they add is far from the limit.
            rounds = rounds.div_ceil(2);
        }
        let count = sides.len();
        let rounds = Rounds::measure(rounds, sides)?;
        println!("{}", rounds.row(row.name, row.files, row.promised));
        if count > 2 {
            theirs.push(rounds.theirs_row(row.name, row.files, count - 2, PART));
        }
        Ok(())
    }
}

fn nothing_queued(ours: &Side<'_>) -> Outcome<()> {
    match ours.spooled()? {
        0 => Ok(()),
        _ => Err("something was queued though nothing should match".into()),
    }
}

fn one_queued(ours: &Side<'_>) -> Outcome<()> {
    match ours.spooled()? {
        1 => ours.forget_spooled(),
        count => Err(format!("{count} events were queued instead of one").into()),
    }
}

fn taken_in(ours: &Side<'_>) -> Outcome<()> {
    ours.wait_for_worker()
}

/// One commit of one file after the other.
pub(crate) fn commits(options: &Options, files: usize, theirs: &mut Vec<String>) -> Outcome<()> {
    let names = [
        "empty shell hook on both sides",
        "no table",
        "no row for the hook",
        "nothing matches",
        "nothing matches, 50 rows",
        "a job, and a worker starts",
        "a job, while a worker lives",
    ];
    if !names.iter().any(|name| options.wants(name)) {
        return Ok(());
    }
    let [same_name, no_table, no_row, nothing_matches, large, job_and_start, job_and_worker] = names;
    let scene = Scene::new()?;
    let history = History::of(files);
    let contest = Contest::new(options, &scene, &history)?;
    let ours = &contest.ours;
    // Content that no commit before had, whatever rows were run.
    let serial = Cell::new(0);
    let commit = |side: &Side<'_>, path: &str| {
        serial.set(serial.get() + 1);
        side.stage(path, &format!("change {}\n", serial.get()))?;
        side.commit()
    };
    let row = |name, promised, against| Row { name, files, rounds: options.rounds(files), promised, against };
    let nothing = |name, against| row(name, Some(NOTHING_MS), against);
    let job = |name, against| row(name, Some(JOB_MS), against);
    let code = |side: &Side<'_>, _| commit(side, CODE);
    let document = |side: &Side<'_>, _| commit(side, DOCUMENT);

    if options.wants(same_name) {
        let same = scene.repository("same", &history)?;
        let sides: Vec<Act<'_>> = vec![Box::new(|turn| code(&contest.empty, turn)), Box::new(|turn| code(&same, turn))];
        println!("{}", Rounds::measure(options.rounds(files), sides)?.row(same_name, files, None));
    }
    ours.without_table()?;
    contest.row(&nothing(no_table, None), theirs, &code, &nothing_queued)?;
    ours.table(OTHER_HOOK)?;
    contest.row(&nothing(no_row, None), theirs, &code, &nothing_queued)?;
    ours.table(STARTER)?;
    contest.row(&nothing(nothing_matches, Some(Job::Filtered)), theirs, &document, &nothing_queued)?;
    ours.table(&large_table())?;
    contest.row(&nothing(large, None), theirs, &code, &nothing_queued)?;
    ours.table(STARTER)?;
    contest.row(&job(job_and_start, Some(Job::Runs)), theirs, &code, &taken_in)?;
    let lock = ours.hold_worker_lock()?;
    contest.row(&job(job_and_worker, None), theirs, &code, &one_queued)?;
    drop(lock);
    Ok(())
}

/// Commits that change every one of 20,000 paths. The files lie in the index alone, since writing them takes seconds; a
/// sparse checkout says so, or a manager that looks at the worktree would find them all deleted.
pub(crate) fn many_paths(options: &Options, theirs: &mut Vec<String>) -> Outcome<()> {
    const PATHS: usize = 20_000;
    let names = [
        "nothing matches, 20,000 paths",
        "nothing matches, 20,000 paths, each looked at",
        "a job of 20,000 paths, and a worker starts",
    ];
    if !names.iter().any(|name| options.wants(name)) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut history = History::of(0);
    for (number, tree) in ["one", "two"].into_iter().enumerate() {
        // Below `docs`, where the starter's rows do not look, and below `src`, where they do.
        for directory in ["docs", "src"] {
            history.commit(&format!("refs/heads/{directory}-{tree}"), None);
            for file in 0..PATHS {
                let path = scene::path(file);
                let path = path.strip_prefix("src/").unwrap_or(&path);
                history.file(&format!("{directory}/{path}"), &format!("{number} {file}\n"));
            }
        }
    }
    let contest = Contest::new(options, &scene, &history)?;
    for side in [&contest.empty, &contest.ours].into_iter().chain(contest.managers.iter().map(|(_, side)| side)) {
        side.check_nothing_out()?;
    }
    // Each side goes from one tree to the other, also from one row to the next and where a row is measured again.
    let turns: RefCell<BTreeMap<PathBuf, usize>> = RefCell::default();
    let turns = &turns;
    let commit = |directory: &'static str| {
        move |side: &Side<'_>, _: usize| {
            let mut turns = turns.borrow_mut();
            let turn = turns.entry(side.top.clone()).or_default();
            *turn += 1;
            let tree = if turn.is_multiple_of(2) { "one" } else { "two" };
            side.git(&["read-tree", "-m", "-u", &format!("{directory}-{tree}")])?;
            side.commit()
        }
    };
    let row = |name, promised, against| Row {
        name,
        files: PATHS,
        rounds: options.rounds(PATHS),
        promised: Some(promised),
        against,
    };
    let [pruned, walked, job] = names;
    let filtered = Some(Job::Filtered);
    contest.row(&row(pruned, NOTHING_MS, filtered), theirs, &commit("docs"), &nothing_queued)?;
    contest.ours.table(EVERY_PATH)?;
    contest.row(&row(walked, NOTHING_MS, filtered), theirs, &commit("src"), &nothing_queued)?;
    contest.ours.table(STARTER)?;
    contest.row(&row(job, JOB_MS, Some(Job::Runs)), theirs, &commit("src"), &taken_in)?;
    Ok(())
}

/// A push of 10,000 commits into a repository beside it that has the one below them.
pub(crate) fn push(options: &Options, theirs: &mut Vec<String>) -> Outcome<()> {
    const COMMITS: usize = 10_000;
    const FILES: usize = 50;
    let names = ["push of 10,000 commits, nothing matches", "push of 10,000 commits, a job, and a worker starts"];
    if !names.iter().any(|name| options.wants(name)) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut history = History::of(FILES);
    for number in 0..COMMITS {
        history.commit("refs/heads/long", (number == 0).then_some("refs/heads/main"));
        history.file(&scene::path(number % FILES), &format!("change {number}\n"));
    }
    let contest = Contest::new(options, &scene, &history)?;
    // A name that was not pushed before: the same push twice would be the same event.
    let serial = Cell::new(0);
    let push = |side: &Side<'_>, _| {
        side.fresh_remote()?;
        serial.set(serial.get() + 1);
        side.push(&format!("long:refs/heads/long-{}", serial.get()))
    };
    // Git's own second and more varies by more than what a limit in milliseconds could be held against.
    let row = |name, against| Row {
        name,
        files: FILES,
        rounds: if options.quick { 4 } else { 30 },
        promised: None,
        against: Some(against),
    };
    contest.ours.table(PUSH_OF_NOTHING)?;
    contest.row(&row(names[0], Job::Filtered), theirs, &push, &nothing_queued)?;
    contest.ours.table(PUSH)?;
    contest.row(&row(names[1], Job::Runs), theirs, &push, &taken_in)
}

/// A rebase of 100 commits by the merge backend, onto a commit beside them.
pub(crate) fn rebase(options: &Options, theirs: &mut Vec<String>) -> Outcome<()> {
    const COMMITS: usize = 100;
    const FILES: usize = 50;
    let name = "rebase of 100 commits, and a worker starts";
    if !options.wants(name) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let mut history = History::of(FILES);
    for number in 0..COMMITS {
        history.commit("refs/heads/topic", (number == 0).then_some("refs/heads/main"));
        history.file(&format!("src/topic/f{number}.rs"), "let line = 2;\n");
    }
    history.commit("refs/heads/onto", Some("refs/heads/main"));
    history.file("src/onto.rs", "let line = 3;\n");
    let contest = Contest::new(options, &scene, &history)?;
    let rebase = |side: &Side<'_>, _| {
        side.git(&["checkout", "--quiet", "-B", "work", "topic"])?;
        let took = side.timed("git", &["rebase", "--quiet", "--merge", "onto"])?;
        if side.has("src/onto.rs") { Ok(took) } else { Err("the rebase did nothing".into()) }
    };
    let row = Row {
        name,
        files: FILES,
        rounds: if options.quick { 4 } else { 20 },
        promised: Some(REBASE_MS),
        against: Some(Job::Filtered),
    };
    contest.row(&row, theirs, &rebase, &taken_in)
}
