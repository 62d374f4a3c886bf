//! Which part of a change a prompt holds: by risk, within a budget, in whole hunks, with a list of what is left out.
//!
//! Code comes before tests, tests before documents; lock files, generated files and binary files are named only. Where
//! a class does not fit, its largest files are cut first: a cap is found under which everything fits, so that small
//! files stay whole. A hunk longer than [`PIECE_BYTES`] (a new file is one single hunk) is split at line ends.

use serde::{Deserialize, Serialize};

use super::fence::cleaned;
use super::{IncludedFile, Inclusion};
use crate::git::diff::{FileDiff, Hunk, Status};
use crate::text;

/// The largest piece in which a hunk is kept or cut: small enough that a cut falls near the budget, large enough that a
/// function is rarely torn.
pub const PIECE_BYTES: usize = 8 * 1024;

/// What a changed file is, in order of risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Anything that is executed, configures something or instructs an agent.
    Code,
    /// Tests and what they read.
    Test,
    /// Text for people.
    Document,
    /// Written by a tool: lock files, minified files, generated code.
    Generated,
    /// Not text.
    Binary,
}

impl Class {
    /// Whether its content is meant to be read, by a model as by a person.
    pub fn is_read(self) -> bool {
        matches!(self, Self::Code | Self::Test | Self::Document)
    }
}

/// Files of package managers that nobody writes by hand.
const LOCK_FILES: &[&str] = &[
    "bun.lock",
    "cargo.lock",
    "composer.lock",
    "deno.lock",
    "flake.lock",
    "gemfile.lock",
    "go.sum",
    "gradle.lockfile",
    "mix.lock",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "packages.lock.json",
    "pdm.lock",
    "pipfile.lock",
    "pnpm-lock.yaml",
    "podfile.lock",
    "poetry.lock",
    "pubspec.lock",
    "uv.lock",
    "yarn.lock",
];

/// Ends of names that only tools give. Directories such as `vendor` are not listed: code could hide there.
const GENERATED_ENDS: &[&str] = &[".min.js", ".min.css", ".js.map", ".css.map", ".pb.go", "_pb2.py", ".g.dart"];

/// Documents that tell agents or tools what to do.
const INSTRUCTIONS: &[&str] =
    &["agents.md", "agents.override.md", "claude.md", "gemini.md", "skill.md", "cmakelists.txt", "requirements.txt"];

/// Ends of names of what is executed, built, or tells a tool what to do.
const PROGRAM_ENDS: &[&str] = &[
    "a", "awk", "bash", "bat", "bzl", "c", "cc", "cfg", "cjs", "class", "clj", "cljs", "cmake", "cmd", "com", "conf",
    "cpp", "cs", "cts", "cxx", "dart", "dll", "dylib", "erl", "ex", "exe", "exs", "fish", "fs", "fsx", "go", "gradle",
    "groovy", "h", "hcl", "hh", "hpp", "hs", "htm", "html", "ini", "inl", "ipynb", "jar", "java", "jl", "js", "json",
    "jsx", "ksh", "kt", "kts", "lua", "m", "mjs", "mk", "ml", "mli", "mm", "mts", "nim", "nix", "node", "o", "php",
    "pl", "pm", "proto", "ps1", "psm1", "py", "pyc", "pyi", "pyw", "r", "rb", "rs", "s", "sbt", "scala", "service",
    "sh", "so", "sol", "sql", "svelte", "swift", "tcl", "tf", "toml", "ts", "tsx", "vb", "vbs", "vue", "war", "wasm",
    "xml", "yaml", "yml", "zig", "zsh",
];

/// Whether a name is one of a program: by its end, or because it has none, as scripts and build files often have.
pub fn is_program(path: &str) -> bool {
    let lower = path.to_lowercase();
    let name = lower.rsplit_once('/').map_or(lower.as_str(), |(_, name)| name);
    if LOCK_FILES.contains(&name) || name == ".ds_store" {
        return false;
    }
    match name.rsplit_once('.') {
        None | Some(("", _)) => true,
        Some((_, end)) => PROGRAM_ENDS.contains(&end) || INSTRUCTIONS.contains(&name),
    }
}

/// The class of a file of this name. `path` may be escaped.
pub fn class_of(path: &str, binary: bool) -> Class {
    let lower = path.to_lowercase();
    let (directory, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    if LOCK_FILES.contains(&name) || GENERATED_ENDS.iter().any(|end| name.ends_with(end)) {
        return Class::Generated;
    }
    if binary {
        return Class::Binary;
    }
    if INSTRUCTIONS.contains(&name) {
        return Class::Code;
    }
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    if matches!(extension, "md" | "markdown" | "rst" | "adoc" | "txt" | "org") {
        return Class::Document;
    }
    let in_tests = directory.split('/').any(|part| {
        matches!(part, "test" | "tests" | "spec" | "specs" | "__tests__" | "testdata" | "fixtures" | "snapshots")
    });
    let is_test = in_tests
        || stem.starts_with("test_")
        || ["_test", ".test", ".spec", "_spec", "tests"].iter().any(|end| stem.ends_with(end));
    if is_test { Class::Test } else { Class::Code }
}

/// A change as the prompt holds it.
pub(super) struct Selection {
    /// In order of risk.
    pub files: Vec<IncludedFile>,
    /// Added and removed lines, in the same order.
    pub sizes: Vec<(u32, u32)>,
    /// The names before, of renamed files, in the same order.
    pub old_paths: Vec<Option<String>>,
    /// The diff.
    pub diff: String,
    /// How long the diff would be with everything that was at hand.
    pub uncut_bytes: usize,
}

/// A file on its way into the prompt.
struct Candidate {
    file: IncludedFile,
    size: (u32, u32),
    old_path: Option<String>,
    header: String,
    pieces: Vec<Piece>,
    /// How many of the pieces are taken, from the first.
    taken: usize,
    too_large: Option<u64>,
}

struct Piece {
    text: String,
    range: (u32, u32),
}

impl Piece {
    /// Whether it removes lines. Its first line is the `@@` line.
    fn removes(&self) -> bool {
        self.text.lines().any(|line| line.starts_with('-'))
    }
}

impl Candidate {
    fn new(diff: &FileDiff) -> Self {
        let path = text::bytes_line(&diff.path);
        let class = class_of(&path, diff.binary);
        let old_path = diff.old_path.as_deref().map(text::bytes_line);
        let header = header(&path, old_path.as_deref(), diff.status);
        let pieces = if class.is_read() { diff.hunks.iter().flat_map(pieces).collect() } else { Vec::new() };
        let file = IncludedFile {
            program: diff.status != Status::Deleted && (diff.program || is_program(&path)),
            path,
            class,
            status: diff.status,
            inclusion: Inclusion::Named,
            cut: None,
            hunks: Vec::new(),
            left_out: Vec::new(),
            removing: Vec::new(),
        };
        Self { file, size: (diff.added, diff.removed), old_path, header, pieces, taken: 0, too_large: diff.too_large }
    }

    fn bytes(&self, pieces: usize) -> usize {
        let text: usize = self.pieces.iter().take(pieces).map(|piece| piece.text.len()).sum();
        if pieces == 0 { 0 } else { self.header.len() + text }
    }

    fn all_bytes(&self) -> usize {
        self.bytes(self.pieces.len())
    }

    /// Takes as many pieces as `budget` holds and returns their size.
    fn take(&mut self, budget: usize) -> usize {
        let mut bytes = self.header.len();
        let fits = |piece: &&Piece| {
            bytes = bytes.saturating_add(piece.text.len());
            bytes <= budget
        };
        self.taken = self.pieces.iter().take_while(fits).count();
        self.bytes(self.taken)
    }

    fn finish(mut self, diff: &mut String) -> (IncludedFile, (u32, u32), Option<String>) {
        let (shown, left) = self.pieces.split_at(self.taken.min(self.pieces.len()));
        self.file.hunks = shown.iter().map(|piece| piece.range).collect();
        self.file.left_out = left.iter().map(|piece| piece.range).collect();
        self.file.removing = left.iter().filter(|piece| piece.removes()).map(|piece| piece.range).collect();
        let skipped = |word: &str| if self.file.program { format!("{word} code") } else { word.to_owned() };
        (self.file.inclusion, self.file.cut) = match (self.file.class, self.too_large) {
            (Class::Binary, _) => (Inclusion::Named, Some(skipped("binary"))),
            (Class::Generated, _) => (Inclusion::Named, Some(skipped("generated"))),
            (_, Some(bytes)) => (Inclusion::Named, Some(format!("too large: {}", text::bytes(bytes)))),
            _ if left.is_empty() => (Inclusion::Whole, None),
            _ if shown.is_empty() => (Inclusion::Named, Some("over the budget".to_owned())),
            _ => (Inclusion::Partial, Some("over the budget".to_owned())),
        };
        // A file without hunks (a rename, a mode, an empty file) is told by the list of files alone.
        if !shown.is_empty() {
            diff.push_str(&self.header);
            for piece in shown {
                diff.push_str(&piece.text);
            }
        }
        (self.file, self.size, self.old_path)
    }
}

/// Orders the files by risk and takes of their hunks what fits into `budget` bytes.
pub(super) fn select(files: &[FileDiff], budget: usize) -> Selection {
    let mut candidates: Vec<Candidate> = files.iter().map(Candidate::new).collect();
    candidates.sort_by(|a, b| {
        let lines = |c: &Candidate| u64::from(c.size.0) + u64::from(c.size.1);
        (a.file.class, lines(b), &a.file.path).cmp(&(b.file.class, lines(a), &b.file.path))
    });
    let uncut_bytes = candidates.iter().map(Candidate::all_bytes).sum();
    let mut left = budget;
    for class in [Class::Code, Class::Test, Class::Document] {
        let mut of_class: Vec<&mut Candidate> = candidates.iter_mut().filter(|c| c.file.class == class).collect();
        let cap = fair_cap(of_class.iter().map(|c| c.all_bytes()).collect(), left);
        for candidate in &mut of_class {
            left = left.saturating_sub(candidate.take(cap));
        }
        // What rounding to whole hunks left over goes to the riskiest file that can be made whole.
        for candidate in &mut of_class {
            let missing = candidate.all_bytes().saturating_sub(candidate.bytes(candidate.taken));
            if missing > 0 && missing <= left {
                candidate.take(usize::MAX);
                left -= missing;
            }
        }
    }
    let mut selection = Selection {
        files: Vec::with_capacity(candidates.len()),
        sizes: Vec::with_capacity(candidates.len()),
        old_paths: Vec::with_capacity(candidates.len()),
        diff: String::new(),
        uncut_bytes,
    };
    for candidate in candidates {
        let (file, size, old_path) = candidate.finish(&mut selection.diff);
        selection.files.push(file);
        selection.sizes.push(size);
        selection.old_paths.push(old_path);
    }
    selection
}

/// The largest cap for which the sizes, each cut at it, add up to at most `budget`.
fn fair_cap(mut sizes: Vec<usize>, budget: usize) -> usize {
    sizes.sort_unstable();
    let mut left = budget;
    let count = sizes.len();
    for (i, size) in sizes.into_iter().enumerate() {
        let share = left / (count - i);
        if size > share {
            return share;
        }
        left -= size;
    }
    usize::MAX
}

fn header(path: &str, old_path: Option<&str>, status: Status) -> String {
    let old = old_path.unwrap_or(path);
    let head = format!("diff --git a/{old} b/{path}\n");
    match status {
        Status::Added => format!("{head}new file\n--- /dev/null\n+++ b/{path}\n"),
        Status::Deleted => format!("{head}deleted file\n--- a/{path}\n+++ /dev/null\n"),
        Status::Renamed => format!("{head}rename from {old}\nrename to {path}\n--- a/{old}\n+++ b/{path}\n"),
        Status::TypeChanged => format!("{head}type changed\n--- a/{path}\n+++ b/{path}\n"),
        Status::Modified => format!("{head}--- a/{path}\n+++ b/{path}\n"),
    }
}

/// The hunk in pieces of at most about [`PIECE_BYTES`], each with its own `@@` line.
fn pieces(hunk: &Hunk) -> Vec<Piece> {
    let text = cleaned(&hunk.text);
    let range = |start: u32, lines: u32| (start, start.saturating_add(lines.saturating_sub(1)));
    if text.len() <= PIECE_BYTES {
        let mut text = text.into_owned();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        return vec![Piece { text, range: range(hunk.new_start, hunk.new_lines) }];
    }
    let mut out = Vec::new();
    let (mut old_at, mut new_at) = (hunk.old_start, hunk.new_start);
    let (mut body, mut old_lines, mut new_lines) = (String::new(), 0_u32, 0_u32);
    let mut close = |body: &mut String, old_at: &mut u32, new_at: &mut u32, old: &mut u32, new: &mut u32| {
        if body.is_empty() {
            return;
        }
        let text = format!("@@ -{old_at},{old} +{new_at},{new} @@\n{body}");
        out.push(Piece { text, range: range(*new_at, *new) });
        *old_at = old_at.saturating_add(*old);
        *new_at = new_at.saturating_add(*new);
        (*old, *new) = (0, 0);
        body.clear();
    };
    for line in text.split_inclusive('\n').skip(1) {
        let marker = line.as_bytes().first();
        // `\ No newline at end of file` belongs to the line before it.
        if body.len() + line.len() > PIECE_BYTES && marker != Some(&b'\\') {
            close(&mut body, &mut old_at, &mut new_at, &mut old_lines, &mut new_lines);
        }
        match marker {
            Some(b'+') => new_lines += 1,
            Some(b'-') => old_lines += 1,
            Some(b'\\') => {}
            _ => (old_lines, new_lines) = (old_lines + 1, new_lines + 1),
        }
        body.push_str(line);
        if !line.ends_with('\n') {
            body.push('\n');
        }
    }
    close(&mut body, &mut old_at, &mut new_at, &mut old_lines, &mut new_lines);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(path: &str, lines: u32, width: usize) -> FileDiff {
        let line = format!("+{}\n", "x".repeat(width));
        let text = format!("@@ -0,0 +1,{lines} @@\n{}", line.repeat(lines as usize));
        FileDiff {
            path: path.as_bytes().to_vec(),
            old_path: None,
            status: Status::Added,
            binary: false,
            program: false,
            added: lines,
            removed: 0,
            hunks: vec![Hunk { new_start: 1, new_lines: lines, old_start: 0, old_lines: 0, text }],
            too_large: None,
        }
    }

    fn inclusion(selection: &Selection, path: &str) -> Inclusion {
        selection.files.iter().find(|file| file.path == path).unwrap().inclusion
    }

    #[test]
    fn names_tell_the_class() {
        for (path, class) in [
            ("src/main.rs", Class::Code),
            ("vendor/x/evil.js", Class::Code),
            ("AGENTS.md", Class::Code),
            (".github/workflows/ci.yml", Class::Code),
            ("tests/cli.rs", Class::Test),
            ("pkg/parse_test.go", Class::Test),
            ("web/app.spec.ts", Class::Test),
            ("test_parse.py", Class::Test),
            ("contest/src.rs", Class::Code),
            ("README.md", Class::Document),
            ("docs/tasks/1.md", Class::Document),
            ("Cargo.lock", Class::Generated),
            ("web/app.min.js", Class::Generated),
        ] {
            assert_eq!(class_of(path, false), class, "{path}");
        }
        assert_eq!(class_of("logo.png", true), Class::Binary);
    }

    #[test]
    fn what_is_executed_is_told_from_what_lies_there() {
        for path in ["auth_pb2.py", "x.pb.go", "web/a.min.js", "install.sh", "Makefile", ".envrc", "AGENTS.md", "a.SO"]
        {
            assert!(is_program(path), "{path}");
        }
        for path in ["Cargo.lock", "package-lock.json", "pnpm-lock.yaml", "a.min.css", "a.js.map", "logo.png", "x.pdf"]
        {
            assert!(!is_program(path), "{path}");
        }
        let file = |path: &str, status, program| FileDiff { status, program, ..added(path, 1, 1) };
        let hidden = file("x.pb.go", Status::Modified, false);
        let gone = file("y.pb.go", Status::Deleted, false);
        let image = FileDiff { binary: true, ..file("logo.png", Status::Added, false) };
        let script = FileDiff { binary: true, ..file("logo.dat", Status::Added, true) };
        let selection = select(&[hidden, gone, image, script], 1_000);
        let told: Vec<(&str, bool, Option<&str>)> =
            selection.files.iter().map(|file| (&*file.path, file.program, file.cut.as_deref())).collect();
        assert_eq!(
            told,
            [
                ("x.pb.go", true, Some("generated code")),
                ("y.pb.go", false, Some("generated")),
                ("logo.dat", true, Some("binary code")),
                ("logo.png", false, Some("binary")),
            ]
        );
    }

    #[test]
    fn what_removes_lines_is_told_apart() {
        let mut file = added("a.rs", 3, 5);
        file.status = Status::Modified;
        let hunk =
            |text: &str, at| Hunk { new_start: at, new_lines: 1, old_start: at, old_lines: 1, text: text.into() };
        file.hunks = vec![hunk("@@ -1,0 +1 @@\n+x\n", 1), hunk("@@ -9 +9 @@\n-x\n+y\n", 9)];
        let selection = select(&[file], 0);
        assert_eq!(
            (&selection.files[0].left_out[..], &selection.files[0].removing[..]),
            (&[(1, 1), (9, 9)][..], &[(9, 9)][..])
        );
    }

    #[test]
    fn files_stand_in_the_order_of_risk() {
        let files = ["Cargo.lock", "README.md", "src/b.rs", "src/a.rs", "tests/t.rs"];
        let selection = select(&files.map(|path| added(path, 2, 10)), 100_000);
        let order: Vec<&str> = selection.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(order, ["src/a.rs", "src/b.rs", "tests/t.rs", "README.md", "Cargo.lock"]);
        assert_eq!(inclusion(&selection, "Cargo.lock"), Inclusion::Named);
        assert!(!selection.diff.contains("Cargo.lock"));
    }

    #[test]
    fn the_largest_file_is_cut_first_and_documents_before_code() {
        let files = [added("src/huge.rs", 4_000, 60), added("src/small.rs", 10, 60), added("NOTES.md", 10, 60)];
        let selection = select(&files, 60_000);
        assert!(selection.diff.len() <= 60_000 && selection.uncut_bytes > 240_000);
        assert_eq!(inclusion(&selection, "src/huge.rs"), Inclusion::Partial);
        assert_eq!(inclusion(&selection, "src/small.rs"), Inclusion::Whole);
        let huge = &selection.files[0];
        // Shown and left-out ranges lie one after another and cover the file.
        let ranges: Vec<(u32, u32)> = huge.hunks.iter().chain(&huge.left_out).copied().collect();
        assert_eq!(ranges.first().unwrap().0, 1);
        assert_eq!(ranges.last().unwrap().1, 4_000);
        assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
    }

    #[test]
    fn nothing_but_names_fits_into_no_budget() {
        let selection = select(&[added("a.rs", 3, 5)], 0);
        assert_eq!((inclusion(&selection, "a.rs"), selection.diff.as_str()), (Inclusion::Named, ""));
        assert_eq!(selection.files[0].left_out, [(1, 3)]);
    }

    #[test]
    fn a_cap_is_shared_fairly() {
        assert_eq!(fair_cap(vec![10, 20, 30], 60), usize::MAX);
        assert_eq!(fair_cap(vec![10, 20, 30], 50), 20);
        assert_eq!(fair_cap(vec![30, 30, 30], 30), 10);
        assert_eq!(fair_cap(vec![], 0), usize::MAX);
    }
}
