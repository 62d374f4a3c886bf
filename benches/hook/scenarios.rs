//! What is measured: a commit in repositories of two sizes, a commit of twenty thousand paths, a rebase, and the
//! program by itself.

use std::fmt::Write as _;

use crate::figures::{self, Pairs};
use crate::scene::{self, History, Scene, Side};
use crate::{Options, Outcome, peak, program};

/// Over an empty shell hook, in ms: a commit of which nothing starts.
const NOTHING_MS: f64 = 3.0;

/// Over an empty shell hook, in ms: a commit that makes a job durable.
const JOB_MS: f64 = 6.0;

/// Over empty shell hooks, in ms: a rebase of 100 commits.
const REBASE_MS: f64 = 600.0;

/// Of one call of the hook.
const PEAK_MIB: f64 = 8.0;

/// The table that `install` writes: most repositories have little more.
const STARTER: &str = include_str!("../../triggers.yaml");

/// No row listens to `post-commit`.
const OTHER_HOOK: &str = "version: 1\ntriggers:\n  - name: test\n    on: post-merge\n    role: tester\n";

/// A path below which no row of [`STARTER`] starts anything.
const DOCUMENT: &str = "docs/notes.md";

/// A path that starts the tester.
const CODE: &str = "src/d000/f00000.rs";

/// Fifty rows for `post-commit`, each with a pattern that nothing here matches.
fn large_table() -> String {
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
    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|word| name.contains(word))
    }

    /// How many pairs a row gets: fewer where git alone takes long.
    fn pairs(&self, files: usize) -> usize {
        match (files > 1_000, self.quick) {
            (false, false) => 200,
            (false, true) => 40,
            (true, false) => 80,
            (true, true) => 12,
        }
    }
}

/// One commit of one file after the other.
pub(crate) fn commits(options: &Options, files: usize) -> Outcome<()> {
    let scene = Scene::new()?;
    let history = History::of(files);
    let empty = scene.repository("empty", &history)?;
    let same = scene.repository("same", &history)?;
    let ours = scene.repository("ours", &history)?;
    let large = large_table();
    ours.install(STARTER)?;
    let count = options.pairs(files);
    // Content that no commit before had, whatever rows were run.
    let mut serial = 0;
    let mut content = move || {
        serial += 1;
        format!("change {serial}\n")
    };
    let mut pair = |name: &str, other: &Side<'_>, path: &str, promised, after: &dyn Fn(usize) -> Outcome<()>| {
        if !options.wants(name) {
            return Ok(());
        }
        let text = std::cell::RefCell::new(&mut content);
        let pairs = Pairs::measure(
            count,
            |_| {
                empty.stage(path, &(text.borrow_mut())())?;
                empty.commit()
            },
            |turn| {
                other.stage(path, &(text.borrow_mut())())?;
                let took = other.commit()?;
                after(turn)?;
                Ok(took)
            },
        )?;
        println!("{}", pairs.summary().row(name, files, promised));
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let nothing_queued = |_| match ours.spooled()? {
        0 => Ok(()),
        _ => Err("something was queued though nothing should match".into()),
    };

    pair("empty shell hook on both sides", &same, CODE, None, &|_| Ok(()))?;
    ours.table(OTHER_HOOK)?;
    pair("no row for the hook", &ours, CODE, Some(NOTHING_MS), &nothing_queued)?;
    ours.table(STARTER)?;
    pair("nothing matches", &ours, DOCUMENT, Some(NOTHING_MS), &nothing_queued)?;
    ours.table(&large)?;
    pair("nothing matches, 50 rows", &ours, CODE, Some(NOTHING_MS), &nothing_queued)?;
    ours.table(STARTER)?;
    pair("a job, and a worker starts", &ours, CODE, Some(JOB_MS), &|_| ours.wait_for_worker())?;
    let lock = ours.hold_worker_lock()?;
    let queued = |_| match ours.spooled()? {
        1 => ours.forget_spooled(),
        count => Err(format!("{count} events were queued instead of one").into()),
    };
    pair("a job, while a worker lives", &ours, CODE, Some(JOB_MS), &queued)?;
    drop(lock);
    Ok(())
}

/// Commits that change every one of 20,000 paths. The files lie in the index alone: writing them takes seconds, and no
/// hook looks at them.
pub(crate) fn many_paths(options: &Options) -> Outcome<()> {
    const PATHS: usize = 20_000;
    let names = ["nothing matches, 20,000 paths", "a job of 20,000 paths, and a worker starts"];
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
    let empty = scene.repository("empty", &history)?;
    let ours = scene.repository("ours", &history)?;
    ours.install(STARTER)?;
    let commit = |side: &Side<'_>, directory: &str, turn: usize| {
        side.git(&["read-tree", &format!("{directory}-{}", if turn.is_multiple_of(2) { "one" } else { "two" })])?;
        side.commit()
    };
    for (name, directory, promised) in [(names[0], "docs", NOTHING_MS), (names[1], "src", JOB_MS)] {
        if !options.wants(name) {
            continue;
        }
        let pairs = Pairs::measure(
            options.pairs(PATHS),
            |turn| commit(&empty, directory, turn),
            |turn| {
                let took = commit(&ours, directory, turn)?;
                ours.wait_for_worker()?;
                Ok(took)
            },
        )?;
        println!("{}", pairs.summary().row(name, PATHS, Some(promised)));
    }
    Ok(())
}

/// A rebase of 100 commits by the merge backend, onto a commit beside them.
pub(crate) fn rebase(options: &Options) -> Outcome<()> {
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
    let empty = scene.repository("empty", &history)?;
    let ours = scene.repository("ours", &history)?;
    ours.install(STARTER)?;
    let rebase = |side: &Side<'_>| {
        side.git(&["checkout", "--quiet", "-B", "work", "topic"])?;
        let took = side.timed("git", &["rebase", "--quiet", "--merge", "onto"])?;
        if side.has("src/onto.rs") { Ok(took) } else { Err("the rebase did nothing".into()) }
    };
    let pairs = Pairs::measure(
        if options.quick { 3 } else { 20 },
        |_| rebase(&empty),
        |_| {
            let took = rebase(&ours)?;
            ours.wait_for_worker()?;
            Ok(took)
        },
    )?;
    println!("{}", pairs.summary().row(name, FILES, Some(REBASE_MS)));
    Ok(())
}

/// The program by itself: how long from its start to its end, and how much memory it has at most.
pub(crate) fn calls(options: &Options, files: usize) -> Outcome<()> {
    let scene = Scene::new()?;
    let mut history = History::of(files);
    for path in [DOCUMENT, CODE] {
        history.commit(&format!("refs/heads/{}", &path[..3]), Some("refs/heads/main"));
        history.file(path, "changed\n");
    }
    history.commit("refs/heads/all", Some("refs/heads/main"));
    for number in 0..files {
        history.file(&scene::path(number), "changed\n");
    }
    let ours = scene.repository("ours", &history)?;
    ours.install(STARTER)?;
    let lock = ours.hold_worker_lock()?;
    let every = format!("a job of {files} paths");
    let large = large_table();
    for (name, branch, table) in [
        ("no row for the hook", "src", OTHER_HOOK),
        ("nothing matches", "doc", STARTER),
        ("nothing matches, 50 rows", "src", large.as_str()),
        ("a job", "src", STARTER),
        (every.as_str(), "all", STARTER),
    ] {
        if !options.wants(name) {
            continue;
        }
        ours.table(table)?;
        ours.git(&["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")])?;
        let count = options.pairs(0);
        let mut times = Vec::with_capacity(count);
        let mut peaks = Vec::new();
        for turn in 0..=count {
            let took = ours.timed(program(), &["hook", "post-commit"])?;
            if turn > 0 {
                times.push(figures::millis(took));
            }
            if turn % 20 == 0 {
                peaks.push(mebibytes(peak::of(&ours.command(program(), &["hook", "post-commit"]))?));
            }
            ours.forget_spooled()?;
        }
        let time = figures::median(&figures::sorted(times.into_iter()));
        // The highest, not the median: memory is promised for every call.
        let peak = figures::sorted(peaks.into_iter()).last().copied().unwrap_or(f64::NAN);
        let promised = figures::verdict(PEAK_MIB, peak);
        println!("| {name} | {files} | {count} | {time:.2} | {peak:.1} | {promised} |");
    }
    drop(lock);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
