//! How long the command policy takes for ten thousand decisions, over the corpus of `tests/policy`: the promise is less
//! than a second. `cargo bench --bench policy`.

#![expect(clippy::print_stdout, reason = "a report is what this program is for")]

use std::process::ExitCode;
use std::time::Instant;

use orchestrator::policy::Commands;
use orchestrator::policy::gatekeeper::Verdict;

const CORPORA: [(&str, &str); 2] = [
    ("hostile", include_str!("../../tests/policy/corpus/hostile.tsv")),
    ("benign", include_str!("../../tests/policy/corpus/benign.tsv")),
];

const DECISIONS: usize = 10_000;

fn main() -> ExitCode {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let begin = Instant::now();
    let commands = Commands::new(["git log", "git diff", "git show", "git status", "rg", "ls", "cat", "sed", "find"]);
    commands.judge("ls");
    println!("the first decision, with all that is read once: {:.1} ms", begin.elapsed().as_secs_f64() * 1000.0);
    for (name, corpus) in CORPORA {
        let lines: Vec<&str> = corpus.lines().filter_map(|row| row.split('\t').nth(3)).collect();
        let begin = Instant::now();
        let allowed =
            lines.iter().cycle().take(DECISIONS).filter(|line| commands.judge(line).verdict == Verdict::Allow).count();
        println!("{DECISIONS} decisions, {name}: {:.0} ms ({allowed} allowed)", begin.elapsed().as_secs_f64() * 1000.0);
    }
    ExitCode::SUCCESS
}
