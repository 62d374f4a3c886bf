//! How often the search for secrets is wrong, on sources in which there are none.
//!
//! The number in ARCHITECTURE.md comes from the test that is not run by itself; the other one looks at what this project
//! itself consists of.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use orchestrator::secrets::{Counts, redact};

/// What a look at many files came to.
#[derive(Default)]
struct Tally {
    files: usize,
    touched: usize,
    bytes: usize,
    lines: usize,
    kinds: BTreeMap<String, u32>,
    /// Some of the lines, by kind.
    examples: BTreeMap<String, Vec<String>>,
}

impl Tally {
    fn look(&mut self, path: &Path, examples: usize) {
        let Ok(text) = fs::read_to_string(path) else { return };
        if text.len() > 1 << 20 {
            return;
        }
        self.files += 1;
        self.bytes += text.len();
        self.lines += text.lines().count();
        let mut counts = Counts::new();
        let clean = redact(&text, &mut counts);
        if counts.is_empty() {
            return;
        }
        self.touched += 1;
        for (before, after) in text.lines().zip(clean.lines()).filter(|(before, after)| before != after) {
            let kind = after.split("[redacted: ").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or("?");
            let list = self.examples.entry(kind.to_owned()).or_default();
            if list.len() < examples {
                list.push(format!("{}: {before:.200}", path.display()));
            }
        }
        for (kind, count) in counts {
            *self.kinds.entry(kind).or_default() += count;
        }
    }
}

fn walk(directory: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            walk(&entry.path(), out);
        } else if kind.is_file() {
            out.push(entry.path());
        }
    }
}

#[test]
fn this_projects_own_text_holds_no_secret() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("Cargo.lock"), root.join("ARCHITECTURE.md"), root.join("README.md")];
    for directory in ["src", "hooks", "skills", "docs", "benches"] {
        walk(&root.join(directory), &mut files);
    }
    // What looks for secrets speaks of them.
    files.retain(|file| !file.starts_with(root.join("src/secrets")) && !file.ends_with("src/observe/lines.rs"));
    let mut tally = Tally::default();
    for file in &files {
        tally.look(file, 3);
    }
    assert!(tally.files > 150, "{}", tally.files);
    assert!(tally.kinds.is_empty(), "{:#?}", tally.examples);
}

#[test]
#[ignore = "a measurement: SOURCES=DIRECTORY cargo test --test hostile -- --ignored --nocapture measure"]
#[expect(clippy::print_stdout, reason = "it is run for what it prints")]
fn measure() {
    let directory = std::env::var_os("SOURCES").expect("SOURCES names a directory");
    let examples = std::env::var("EXAMPLES").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut files = Vec::new();
    walk(Path::new(&directory), &mut files);
    let mut tally = Tally::default();
    let begun = std::time::Instant::now();
    for file in &files {
        tally.look(file, examples);
    }
    let Tally { files, touched, bytes, lines, kinds, examples } = tally;
    println!("{files} files, {} MiB, {lines} lines; {touched} files touched; {:?}", bytes >> 20, begun.elapsed());
    println!("{} in all: {kinds:#?}", kinds.values().sum::<u32>());
    println!("{examples:#?}");
}
