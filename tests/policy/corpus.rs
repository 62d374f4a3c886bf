//! The command policy against the corpus in `tests/policy/corpus/`: every line is judged, and run for real in a throw-away
//! sandbox, so that what the corpus says about a line is true too.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use orchestrator::policy::command::Commands;
use orchestrator::policy::gatekeeper::Verdict;

/// What a list that lets an agent read and test usually holds. `*` in the corpus.
const USUAL: &[&str] = &[
    "git log",
    "git diff",
    "git show",
    "git status",
    "git branch",
    "git tag",
    "git remote",
    "git blame",
    "git grep",
    "git config",
    "git stash list",
    "git stash show",
    "git reflog",
    "git rev-parse",
    "git rev-list",
    "git describe",
    "git ls-files",
    "git ls-tree",
    "git cat-file",
    "git for-each-ref",
    "git shortlog",
    "git merge-base",
    "git show-ref",
    "git worktree list",
    "rg",
    "grep",
    "find",
    "fd",
    "fdfind",
    "ls",
    "cat",
    "head",
    "tail",
    "wc",
    "sort",
    "uniq",
    "cut",
    "tr",
    "nl",
    "sed",
    "awk",
    "gawk",
    "diff",
    "jq",
    "tree",
    "stat",
    "file",
    "echo",
    "printf",
    "test",
    "[",
    "true",
    "pwd",
    "date",
    "basename",
    "dirname",
    "cargo test",
    "cargo check",
    "cargo clippy",
    "cargo fmt --check",
    "cargo fmt",
    "cargo build",
    "cargo metadata",
    "cargo tree",
    "npm test",
    "node --test",
    "pytest",
    "python -m pytest",
    "python3 -m pytest",
    "go test",
    "go vet",
    "go build",
    "make test",
    "just test",
    "just --list",
    "xargs",
    "timeout",
    "env",
    "nice",
    "bash",
    "sh",
    "python3",
    "which",
    "command -v",
    "type",
];

/// The share of the benign lines that may be refused.
const REFUSED_MAX: f64 = 0.015;

struct Row {
    verdict: String,
    effect: String,
    allow: Vec<String>,
    line: String,
    reason: String,
}

impl Row {
    fn judged(&self) -> String {
        format!("{:?}", Commands::new(&self.allow).judge(&self.line).verdict).to_lowercase()
    }
}

fn corpus(name: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy/corpus").join(name);
    let text = fs::read_to_string(path).expect("the corpus is there");
    let rows = text.lines().filter(|line| line.contains('\t'));
    rows.map(|row| {
        let columns: Vec<&str> = row.split('\t').collect();
        let [verdict, effect, allow, line, reason] = columns[..] else { panic!("not five columns: {row}") };
        let allow = match allow {
            "*" => USUAL.iter().map(|entry| (*entry).to_owned()).collect(),
            entries => entries.split(',').filter(|entry| !entry.is_empty()).map(str::to_owned).collect(),
        };
        assert!(!reason.is_empty(), "every line has its reason: {row}");
        Row {
            verdict: verdict.to_owned(),
            effect: effect.to_owned(),
            allow,
            line: unescaped(line),
            reason: reason.to_owned(),
        }
    })
    .collect()
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (letter, behind) = rest[at + 1..].split_at(1);
        rest = behind;
        match letter {
            "n" => out.push('\n'),
            "t" => out.push('\t'),
            "\\" => out.push('\\'),
            "u" => {
                let (digits, behind) = rest.split_at(4);
                let code = u32::from_str_radix(digits, 16).expect("four digits");
                out.push(char::from_u32(code).expect("a character"));
                rest = behind;
            }
            _ => panic!("no such escape in {text}"),
        }
    }
    out + rest
}

#[test]
fn no_hostile_line_is_allowed() {
    let rows = corpus("hostile.tsv");
    assert!(rows.len() >= 300, "several hundred");
    let mut wrong = Vec::new();
    for row in &rows {
        let judged = row.judged();
        assert_ne!(row.verdict, "allow", "{}", row.line);
        if judged != row.verdict {
            wrong.push(format!("{judged}, not {}: {:?} ({})", row.verdict, row.line, row.reason));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_agents_type_every_day_is_allowed() {
    let rows = corpus("benign.tsv");
    assert!(rows.len() >= 250, "enough to tell one percent");
    let mut wrong = Vec::new();
    let mut refused = 0_u32;
    for row in &rows {
        let judged = row.judged();
        refused += u32::from(judged != "allow");
        if judged != row.verdict {
            wrong.push(format!("{judged}, not {}: {:?} ({})", row.verdict, row.line, row.reason));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all = u32::try_from(rows.len()).expect("a small number");
    let share = f64::from(refused) / f64::from(all);
    assert!(share <= REFUSED_MAX, "{refused} of {all} are refused");
}

/// Where the workspace is known, paths out of it are refused too, and patterns look like paths.
#[test]
fn a_known_workspace_costs_few_of_them() {
    let rows = corpus("benign.tsv");
    let refused: Vec<_> = rows
        .iter()
        .filter(|row| row.verdict == "allow")
        .filter(|row| Commands::new(&row.allow).within("/s/w/repo").judge(&row.line).verdict != Verdict::Allow)
        .map(|row| &row.line)
        .collect();
    let share = f64::from(u32::try_from(refused.len()).expect("a small number"))
        / f64::from(u32::try_from(rows.len()).expect("a small number"));
    assert!(share <= REFUSED_MAX, "{refused:#?}");
    for row in corpus("hostile.tsv") {
        let verdict = Commands::new(&row.allow).within("/s/w/repo").judge(&row.line).verdict;
        assert_ne!(verdict, Verdict::Allow, "{}", row.line);
    }
}

#[test]
fn what_is_said_to_change_something_does() {
    let rows: Vec<Row> = corpus("hostile.tsv").into_iter().filter(|row| row.effect == "changes").collect();
    let Some(outcome) = execute(&rows, &["bash", "dash", "zsh"]) else { return };
    let mut wrong = Vec::new();
    for (row, changed) in rows.iter().zip(&outcome.changed) {
        let lacks = outcome.missing.iter().any(|program| words(&row.line).any(|word| word == program));
        if !changed && !lacks && !outcome.only_here(&row.line) {
            wrong.push(&row.line);
        }
    }
    assert!(wrong.is_empty(), "these changed nothing: {wrong:#?}");
}

#[test]
fn what_is_allowed_to_read_changes_nothing() {
    let rows: Vec<Row> =
        corpus("benign.tsv").into_iter().filter(|row| row.verdict == "allow" && row.effect == "reads").collect();
    let Some(outcome) = execute(&rows, &["bash", "dash", "zsh"]) else { return };
    let wrong: Vec<_> =
        rows.iter().zip(&outcome.changed).filter(|(_, changed)| **changed).map(|(row, _)| &row.line).collect();
    assert!(wrong.is_empty(), "these changed something: {wrong:#?}");
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')))
}

/// What became of the lines.
struct Outcome {
    changed: Vec<bool>,
    /// Programs that the sandbox lacks.
    missing: Vec<String>,
}

impl Outcome {
    /// Whether it takes one of the shells that is missing to change something: `dash` reads `&>` otherwise than bash.
    fn only_here(&self, line: &str) -> bool {
        let lacks = |shell: &str| self.missing.iter().any(|missing| missing == shell);
        (lacks("dash") && ["&>", "{x}>", "alias "].iter().any(|part| line.contains(part)))
            || (lacks("zsh") && ["repeat", "noglob", "emulate"].iter().any(|word| line.starts_with(word)))
    }
}

/// Runs every line in a sandbox of its own. `None`, and loudly so: there is none here.
#[expect(clippy::print_stderr, reason = "what was not run has to be seen")]
fn execute(rows: &[Row], shells: &[&str]) -> Option<Outcome> {
    let input = tempfile::tempdir().expect("a directory for the lines");
    let mut lines = Vec::new();
    for row in rows {
        assert!(!row.line.contains('\0'), "a line with a NUL cannot be run");
        lines.extend(row.line.bytes().chain([0]));
    }
    fs::write(input.path().join("lines"), lines).expect("the lines are written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy/corpus/execute.sh");
    fs::copy(script, input.path().join("execute.sh")).expect("the script is there");
    let Some(mut sandbox) = sandbox(input.path()) else {
        eprintln!("SKIPPED: neither bwrap nor unshare makes a sandbox here, so no line of the corpus was run");
        return None;
    };
    let output = sandbox.args(["/bin/bash", "/in/execute.sh"]).args(shells).output().expect("the sandbox starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut missing = Vec::new();
    let mut changed = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["missing", program] => missing.push(program.to_owned()),
            [number, result, _, _] => {
                changed.insert(number.parse::<usize>().expect("a number"), result == "changed");
            }
            _ => panic!("{line}"),
        }
    }
    assert!(changed.keys().copied().eq(0..rows.len()), "every line was run once");
    Some(Outcome { changed: changed.into_values().collect(), missing })
}

/// A command that runs another one where it sees the system read-only, `input` at `/in`, and nothing else of this machine.
fn sandbox(input: &Path) -> Option<Command> {
    [bubblewrap(input), unshare(input)].into_iter().find_map(|make| {
        let works = make().args(["/bin/bash", "-c", "test -w /s"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        works.is_ok_and(|status| status.success()).then(&make)
    })
}

type Make = Box<dyn Fn() -> Command>;

/// More programs, in a tree with a `usr/bin`: named by `CORPUS_TOOLS`.
fn tools() -> Option<PathBuf> {
    std::env::var_os("CORPUS_TOOLS").map(PathBuf::from)
}

fn bubblewrap(input: &Path) -> Make {
    let input = input.to_owned();
    Box::new(move || {
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--die-with-parent", "--clearenv", "--proc", "/proc", "--dev", "/dev"]);
        command.args(["--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc", "--tmpfs", "/tmp", "--tmpfs", "/s"]);
        for name in ["bin", "sbin", "lib", "lib64"] {
            command.args(["--symlink", &format!("usr/{name}"), &format!("/{name}")]);
        }
        command.arg("--ro-bind").arg(&input).arg("/in");
        if let Some(tools) = tools() {
            command.arg("--ro-bind").arg(tools).arg("/tools");
        }
        command
    })
}

/// A root of its own in memory, with the system's programs in it and nothing that could be written.
const UNSHARE: &str = r#"
set -e
root=$1 input=$2 tools=$3
shift 3
mount -t tmpfs none "$root"
mkdir "$root/usr" "$root/etc" "$root/proc" "$root/dev" "$root/tmp" "$root/s" "$root/in" "$root/tools"
bind() { mount --rbind "$1" "$2"; mount -o remount,bind,ro,nosuid,nodev "$2"; }
bind /usr "$root/usr"
bind /etc "$root/etc"
bind "$input" "$root/in"
if [ -n "$tools" ]; then bind "$tools" "$root/tools"; fi
for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
mount -t proc proc "$root/proc"
for name in null zero urandom random; do
  : > "$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
PATH=$PATH:/usr/sbin:/sbin exec chroot "$root" /usr/bin/env -i "$@"
"#;

fn unshare(input: &Path) -> Make {
    let input = input.to_owned();
    Box::new(move || {
        // The root is mounted over a directory that is empty everywhere, in a namespace that nobody else sees.
        let mut command = Command::new("unshare");
        command.args([
            "--user",
            "--map-root-user",
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            UNSHARE,
            "sh",
        ]);
        command.arg("/mnt").arg(&input).arg(tools().unwrap_or_default());
        command
    })
}
