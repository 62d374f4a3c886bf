//! The program by itself: how long one call of a hook takes from its start to its end, how much memory it has at most,
//! and what it costs to look at every path of a change.

use crate::figures::{self, Act, Rounds};
use crate::scenarios::{CODE, DOCUMENT, EVERY_PATH, OTHER_HOOK, STARTER, large_table};
use crate::scene::{self, History, Scene};
use crate::{Options, Outcome, peak, program};

/// Of one call of the hook.
const PEAK_MIB: f64 = 8.0;

/// Of what `git diff --name-only` takes.
const LISTING: f64 = 1.1;

const CALL: [&str; 2] = ["hook", "post-commit"];

/// Branches with a commit each on top of `main`: of one document, of one file of code, of every file.
fn history(files: usize) -> History {
    let mut history = History::of(files);
    for path in [DOCUMENT, CODE] {
        history.commit(&format!("refs/heads/{}", &path[..3]), Some("refs/heads/main"));
        history.file(path, "changed\n");
    }
    history.commit("refs/heads/all", Some("refs/heads/main"));
    for number in 0..files {
        history.file(&scene::path(number), "changed\n");
    }
    history
}

/// Time and memory of single calls.
pub(crate) fn calls(options: &Options, files: usize) -> Outcome<()> {
    let scene = Scene::new()?;
    let ours = scene.repository("ours", &history(files))?;
    ours.install(STARTER)?;
    let lock = ours.hold_worker_lock()?;
    let walked = format!("nothing matches, each of {files} paths looked at");
    let every = format!("a job of {files} paths");
    let large = large_table();
    for (name, branch, table) in [
        ("no table", "src", None),
        ("no row for the hook", "src", Some(OTHER_HOOK)),
        ("nothing matches", "doc", Some(STARTER)),
        ("nothing matches, 50 rows", "src", Some(large.as_str())),
        (walked.as_str(), "all", Some(EVERY_PATH)),
        ("a job", "src", Some(STARTER)),
        (every.as_str(), "all", Some(STARTER)),
    ] {
        if !options.wants(name) {
            continue;
        }
        match table {
            Some(table) => ours.table(table)?,
            None => ours.without_table()?,
        }
        ours.git(&["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")])?;
        let count = options.rounds(0);
        let mut times = Vec::with_capacity(count);
        let mut peaks = Vec::new();
        for turn in 0..=count {
            let took = ours.timed(program(), &CALL)?;
            if turn > 0 {
                times.push(figures::millis(took));
            }
            if turn % 20 == 0 {
                peaks.push(mebibytes(peak::of(&ours.command(program(), &CALL))?));
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

/// Whole processes: git lists the paths of a change, the hook holds each of them against patterns that none matches.
pub(crate) fn listing(options: &Options) -> Outcome<()> {
    const PATHS: usize = 20_000;
    let name = "every path of a commit";
    if !options.wants(name) {
        return Ok(());
    }
    let scene = Scene::new()?;
    let ours = scene.repository("ours", &history(PATHS))?;
    ours.install(EVERY_PATH)?;
    ours.git(&["symbolic-ref", "HEAD", "refs/heads/all"])?;
    let sides: Vec<Act<'_>> = vec![
        Box::new(|_| ours.timed("git", &["diff", "--name-only", "HEAD~1", "HEAD"])),
        Box::new(|_| ours.timed(program(), &CALL)),
    ];
    let rounds = Rounds::measure(options.rounds(0), sides)?;
    println!("{}", rounds.listing_row(name, PATHS, LISTING));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
