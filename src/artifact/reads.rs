//! What of a changed file the commands of a run showed to the model.
//!
//! Strict on purpose: only bare names of a few programs, only options that are known to leave the text as it is, only
//! the two commits that the run is about. What is not understood shows nothing, so that a command that merely names a
//! file, or another file of its name, makes nobody believe that it was read. Whether a line was read that the change
//! removes, only a patch tells.

use super::evidence::Executed;
use crate::context::IncludedFile;
use crate::event::Change;
use crate::git::Repository;
use crate::git::diff::Status;
use crate::ids::Oid;

/// The longest output that a model sees whole, in bytes: runtimes show about ten thousand tokens of one command, the
/// beginning and the end of what is longer.
const SEEN_WHOLE: u64 = 40_000;

/// The shortest abbreviation of a commit that is taken for one, in characters: git's own shortest.
const ABBREVIATED: usize = 7;

/// The two commits of a run, and how revisions may name them.
pub(super) struct Ends<'a> {
    head: &'a Oid,
    base: Option<&'a Oid>,
    /// The base is what `HEAD~1` names.
    base_is_parent: bool,
    /// `git show` of the head shows the change: it has no parent but the base.
    shown_alone: bool,
}

impl<'a> Ends<'a> {
    pub(super) fn of(change: &'a Change, repository: &Repository) -> Self {
        let (head, base) = (&change.head, change.base.as_ref());
        let parents = repository.commit(head).map(|commit| commit.parents);
        let first_is_base = parents.as_ref().is_ok_and(|parents| parents.first() == base);
        Self {
            head,
            base,
            base_is_parent: base.is_some() && first_is_base,
            shown_alone: first_is_base && parents.is_ok_and(|parents| parents.len() <= 1),
        }
    }

    fn is_head(&self, revision: &str) -> bool {
        matches!(revision, "HEAD" | "@") || abbreviates(revision, self.head)
    }

    fn is_base(&self, revision: &str) -> bool {
        let one_before = ["~1", "~", "^1", "^"].iter().find_map(|step| revision.strip_suffix(step));
        self.base.is_some_and(|base| abbreviates(revision, base))
            || (self.base_is_parent && one_before.is_some_and(|revision| self.is_head(revision)))
    }

    /// `BASE..HEAD`, of which the right side may be left out.
    fn is_range(&self, range: &str) -> bool {
        range.split_once("..").is_some_and(|(from, to)| self.is_base(from) && (to.is_empty() || self.is_head(to)))
    }
}

fn abbreviates(revision: &str, commit: &Oid) -> bool {
    revision.len() >= ABBREVIATED && commit.as_str().starts_with(revision)
}

/// Whether commands showed all that the prompt left out of this file's change.
pub(super) fn was_opened(file: &IncludedFile, executed: &[Executed], ends: &Ends<'_>) -> bool {
    let mut lines: Vec<(u32, u32)> = Vec::new();
    for command in executed.iter().filter(|command| command.exit_code == Some(0) && command.output_bytes <= SEEN_WHOLE)
    {
        match shows(command, file, ends) {
            Shown::Nothing => {}
            Shown::Patch => return true,
            Shown::Lines(first, last) => lines.push((first, last)),
        }
    }
    lines.sort_unstable();
    if file.left_out.is_empty() {
        // Generated, binary or too large: it is not known which lines the change removes, but for a new file.
        return file.status == Status::Added && is_covered((1, u32::MAX), &lines);
    }
    file.left_out.iter().all(|range| !file.removing.contains(range) && is_covered(*range, &lines))
}

/// Whether the ranges, sorted by their beginnings, leave no line of `range` out.
fn is_covered((first, last): (u32, u32), ranges: &[(u32, u32)]) -> bool {
    let mut next = first;
    for (from, to) in ranges {
        if *from <= next && *to >= next {
            if *to >= last {
                return true;
            }
            next = to.saturating_add(1);
        }
    }
    next > last
}

#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    /// All that the change adds and removes.
    Patch,
    /// These lines of the new file.
    Lines(u32, u32),
}

/// All lines. A file that is empty now has a hunk that begins at line 0.
const WHOLE: Shown = Shown::Lines(0, u32::MAX);

/// The program, if it is named as one: `./cat` and `tools/cat` are somebody else's.
fn program(word: &str) -> Option<&str> {
    let name = word.strip_prefix("/usr/bin/").or_else(|| word.strip_prefix("/bin/")).unwrap_or(word);
    (!name.contains('/')).then_some(name)
}

/// What of `file` the output of this command showed.
fn shows(command: &Executed, file: &IncludedFile, ends: &Ends<'_>) -> Shown {
    let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
    let Some((first, arguments)) = words.split_first() else { return Shown::Nothing };
    let is_file = |word: &str| word.strip_prefix("./").unwrap_or(word) == file.path;
    let here = |word: &str, lines: Option<Shown>| lines.filter(|_| is_file(word)).unwrap_or(Shown::Nothing);
    match (program(first), arguments) {
        (Some("git"), ["show", rest @ ..]) => git_show(rest, &command.output, file, ends),
        (Some("git"), ["diff", rest @ ..]) => git_diff(rest, &command.output, file, ends),
        _ if file.status == Status::Deleted || command.output_bytes == 0 => Shown::Nothing,
        (Some("cat"), rest) => whole(rest, &["-n", "--number", "-b", "-v", "-e", "-t", "-A", "-E", "-T"], is_file),
        (Some("nl"), rest) => whole(rest, &["-ba"], is_file),
        (Some("head"), [name]) => here(name, Some(Shown::Lines(1, 10))),
        (Some("head"), ["-n", count, name]) => here(name, first_lines(count)),
        (Some("head"), [count, name]) => {
            let count = count.strip_prefix("-n").or_else(|| count.strip_prefix('-'));
            here(name, count.and_then(first_lines))
        }
        (Some("tail"), ["-n", from, name]) => here(name, lines_from(from)),
        (Some("tail"), [from, name]) => here(name, from.strip_prefix("-n").and_then(lines_from)),
        (Some("sed"), ["-n", script, name]) => here(name, sed_lines(script)),
        _ => Shown::Nothing,
    }
}

/// A program that prints its files one after another.
fn whole(arguments: &[&str], options: &[&str], is_file: impl Fn(&str) -> bool) -> Shown {
    let known = arguments.iter().all(|word| !word.starts_with('-') || options.contains(word));
    if known && arguments.iter().any(|word| is_file(word)) { WHOLE } else { Shown::Nothing }
}

fn first_lines(count: &str) -> Option<Shown> {
    Some(Shown::Lines(1, count.parse().ok()?))
}

/// `+20`: from line 20 to the end.
fn lines_from(from: &str) -> Option<Shown> {
    Some(Shown::Lines(from.strip_prefix('+')?.parse().ok()?, u32::MAX))
}

/// `10,20p`, `10,$p` or `10p`.
fn sed_lines(script: &str) -> Option<Shown> {
    let range = script.strip_suffix('p')?;
    let (first, last) = range.split_once(',').unwrap_or((range, range));
    Some(Shown::Lines(first.parse().ok()?, if last == "$" { u32::MAX } else { last.parse().ok()? }))
}

/// Options of `git show` and `git diff` that leave out nothing of a patch, and with which every line of content has a
/// marker before it, so that no content can pose as a header.
const PLAIN_PATCH: &[&str] = &[
    "-p",
    "-u",
    "--patch",
    "--stat",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
    "-M",
    "-a",
    "--text",
];

/// The operands before `--` but for the file itself; none if an option is not known.
fn operands<'w>(words: &[&'w str], file: &IncludedFile) -> Option<Vec<&'w str>> {
    let mut out = Vec::new();
    for word in words.iter().take_while(|word| **word != "--") {
        if word.starts_with('-') {
            let context = word.strip_prefix("-U").or_else(|| word.strip_prefix("--unified="));
            let is_context = context.is_some_and(|lines| lines.parse::<u32>().is_ok());
            if !is_context && !PLAIN_PATCH.contains(word) {
                return None;
            }
        } else if *word != file.path {
            out.push(*word);
        }
    }
    Some(out)
}

/// `git show REV:PATH`, or the patch of the head where that is the change.
fn git_show(words: &[&str], output: &str, file: &IncludedFile, ends: &Ends<'_>) -> Shown {
    let Some(operands) = operands(words, file) else { return Shown::Nothing };
    let blobs: Vec<(&str, &str)> = operands.iter().filter_map(|word| word.split_once(':')).collect();
    if !blobs.is_empty() {
        let mut same = blobs.iter().filter(|(_, path)| *path == file.path);
        return if file.status == Status::Deleted {
            if same.any(|(revision, _)| ends.is_base(revision)) { Shown::Patch } else { Shown::Nothing }
        } else if same.any(|(revision, _)| ends.is_head(revision)) {
            WHOLE
        } else {
            Shown::Nothing
        };
    }
    let about_the_head = match operands.as_slice() {
        [] => true,
        [revision] => ends.is_head(revision),
        _ => false,
    };
    if about_the_head && ends.shown_alone && patch_holds(output, file) { Shown::Patch } else { Shown::Nothing }
}

/// The patch between the two commits of the run. With one revision, git compares with the files of the checkout.
fn git_diff(words: &[&str], output: &str, file: &IncludedFile, ends: &Ends<'_>) -> Shown {
    let of_the_run = match operands(words, file).as_deref() {
        Some([range]) => ends.is_range(range),
        Some([from, to]) => ends.is_base(from) && ends.is_head(to),
        _ => false,
    };
    if of_the_run && patch_holds(output, file) { Shown::Patch } else { Shown::Nothing }
}

/// Whether a patch holds hunks of the file. Lines before the first hunk of a file are headers; after it, a line that
/// begins like one has a marker before it.
fn patch_holds(patch: &str, file: &IncludedFile) -> bool {
    let (mut in_header, mut old_is_file, mut found) = (false, false, false);
    for line in patch.lines() {
        // Git ends a name that has a blank in it with a tab.
        let is_file =
            |name: Option<&str>| name.is_some_and(|name| name.strip_suffix('\t').unwrap_or(name) == file.path);
        if line.starts_with("diff --git ") {
            (in_header, old_is_file, found) = (true, false, false);
        } else if in_header && line.starts_with("@@ ") {
            if found {
                return true;
            }
            in_header = false;
        } else if in_header && line.starts_with("--- ") {
            old_is_file = is_file(line.strip_prefix("--- a/"));
        } else if in_header && line.starts_with("+++ ") {
            found = is_file(line.strip_prefix("+++ b/"))
                || (file.status == Status::Deleted && old_is_file && line == "+++ /dev/null");
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Inclusion, class_of};

    const HEAD: &str = "0123456789abcdef0123456789abcdef01234567";
    const BASE: &str = "89abcdef0123456789abcdef0123456789abcdef";
    const PATCH: &str =
        "diff --git a/src/a.rs b/src/a.rs\nindex 1..2 100644\n--- a/src/a.rs\n+++ b/src/a.rs\n@@ -1 +1 @@\n-x\n+y\n";

    fn file(path: &str, left_out: &[(u32, u32)], removing: &[(u32, u32)]) -> IncludedFile {
        IncludedFile {
            path: path.into(),
            class: class_of(path, false),
            status: Status::Modified,
            program: true,
            inclusion: Inclusion::Partial,
            cut: Some("over the budget".into()),
            hunks: Vec::new(),
            left_out: left_out.to_vec(),
            removing: removing.to_vec(),
        }
    }

    /// Whether these commands opened the file, in a run whose base is the parent of its head, or lies further back.
    fn opened_in(file: &IncludedFile, commands: &[(&str, &str)], base_is_parent: bool) -> bool {
        let (head, base): (Oid, Oid) = (HEAD.parse().unwrap(), BASE.parse().unwrap());
        let ends = Ends { head: &head, base: Some(&base), base_is_parent, shown_alone: base_is_parent };
        let executed: Vec<Executed> = commands.iter().map(|(line, output)| Executed::plain(line, 0, output)).collect();
        was_opened(file, &executed, &ends)
    }

    fn opened(lines: &[&str]) -> bool {
        let commands: Vec<(&str, &str)> = lines.iter().map(|line| (*line, "text\n")).collect();
        opened_in(&file("src/a.rs", &[(10, 20), (50, 60)], &[]), &commands, true)
    }

    #[test]
    fn a_file_is_read_once_commands_showed_what_the_prompt_left_out() {
        for lines in [
            &["cat src/a.rs"][..],
            &["cat -n ./src/a.rs"],
            &["/bin/cat ./src/a.rs"],
            &["/usr/bin/nl -ba src/a.rs"],
            &["git show HEAD:src/a.rs"],
            &["git show 0123456789ab:src/a.rs"],
            &["sed -n 1,60p src/a.rs"],
            &["sed -n '10,$p' src/a.rs"],
            &["head -n 30 src/a.rs", "sed -n 31,70p src/a.rs"],
            &["head -60 src/a.rs"],
            &["tail -n +10 src/a.rs"],
            &["tail -n+10 src/a.rs"],
        ] {
            assert!(opened(lines), "{lines:?}");
        }
        for lines in [
            &["cat src/b.rs"][..],
            &["ls src/a.rs"],
            &["rg x src/a.rs"],
            &["head src/a.rs"],
            &["head -n 30 src/a.rs", "sed -n 32,49p src/a.rs"],
            &["git show HEAD~1:src/a.rs"],
            &["git show 0123:src/a.rs"],
            // Relative to wherever the command was executed.
            &["git show HEAD:./src/a.rs"],
            &["cat src/a.rs > /dev/null"],
            &["cat src/a.rs | head -1"],
            &["echo src/a.rs"],
        ] {
            assert!(!opened(lines), "{lines:?}");
        }
    }

    #[test]
    fn another_program_of_the_same_name_shows_nothing() {
        for line in ["./tools/cat src/a.rs", "./cat src/a.rs", "tools/sed -n 1,60p src/a.rs", "/tmp/bin/cat src/a.rs"] {
            assert!(!opened(&[line]), "{line}");
        }
        for line in ["./git show HEAD", "/bin/../tmp/git show HEAD"] {
            assert!(!opened_in(&file("src/a.rs", &[(1, 2)], &[]), &[(line, PATCH)], true), "{line}");
        }
    }

    #[test]
    fn an_option_that_is_not_known_shows_nothing() {
        for line in [
            "cat --help src/a.rs",
            "cat --version src/a.rs",
            "cat -s src/a.rs",
            "nl -d xx src/a.rs",
            "head -c 9000 src/a.rs",
            "head -n -5 src/a.rs",
            "head -n 60 -q src/a.rs",
            "tail -n 60 src/a.rs",
            "sed --help -n 1,60p src/a.rs",
            "sed -n 1,60p --debug src/a.rs",
            "sed -n 1,60w/dev/null src/a.rs",
            "sed -n '1,60{s/x/y/p}' src/a.rs",
        ] {
            assert!(!opened(&[line]), "{line}");
        }
    }

    #[test]
    fn lines_are_those_of_one_file() {
        // With two files, sed counts through: these are the lines of the first.
        for line in ["sed -n 1,60p src/other.rs src/a.rs", "head -n 60 src/other.rs src/a.rs", "tail -n +1 b src/a.rs"]
        {
            assert!(!opened(&[line]), "{line}");
        }
    }

    #[test]
    fn only_the_two_commits_of_the_run_are_compared() {
        let target = file("src/a.rs", &[(1, 2)], &[(1, 2)]);
        let one = |line: &str, parent| opened_in(&target, &[(line, PATCH)], parent);
        for line in [
            format!("git diff {BASE} HEAD -- src/a.rs"),
            format!("git diff -U0 {BASE}..{HEAD} src/a.rs"),
            format!("git diff {}..", &BASE[..12]),
        ] {
            assert!(one(&line, true) && one(&line, false), "{line}");
        }
        for line in [
            "git show",
            "git show HEAD",
            "git show -p @ -- src/a.rs",
            "git show src/a.rs",
            "git diff HEAD~1 HEAD",
            "git diff HEAD^..HEAD",
        ] {
            assert!(one(line, true), "{line}");
            assert!(!one(line, false), "{line} of a change of several commits");
        }
        for line in [
            "git diff".to_owned(),
            "git diff HEAD".to_owned(),
            "git diff --cached HEAD".to_owned(),
            format!("git diff {BASE}"),
            format!("git diff HEAD {BASE}"),
            format!("git diff {BASE}...HEAD"),
            format!("git diff {BASE} HEAD~1"),
            format!("git show {BASE}"),
            "git show HEAD main".to_owned(),
            "git show HEAD~3".to_owned(),
            "git diff HEAD~2 HEAD".to_owned(),
            "git diff main HEAD".to_owned(),
            "git log -p".to_owned(),
        ] {
            assert!(!one(&line, true), "{line}");
        }
    }

    #[test]
    fn removed_lines_are_seen_in_a_patch_alone() {
        let target = file("src/a.rs", &[(10, 20), (50, 60)], &[(50, 60)]);
        for line in ["cat src/a.rs", "git show HEAD:src/a.rs", "sed -n 1,70p src/a.rs"] {
            assert!(!opened_in(&target, &[(line, "text\n")], true), "{line}");
        }
        assert!(opened_in(&target, &[("git show HEAD", PATCH)], true));
        let mut gone = file("src/a.rs", &[(0, 0)], &[(0, 0)]);
        gone.status = Status::Deleted;
        assert!(!opened_in(&gone, &[("git show HEAD:src/a.rs", "text\n")], true));
        assert!(opened_in(&gone, &[("git show HEAD~1:src/a.rs", "text\n")], true));
        let patch = "diff --git a/src/a.rs b/src/a.rs\ndeleted file mode 100644\n--- a/src/a.rs\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n";
        assert!(opened_in(&gone, &[("git show HEAD", patch)], true));
    }

    #[test]
    fn of_a_file_whose_lines_are_not_known_all_has_to_be_seen() {
        let mut target = file("a.pb.go", &[], &[]);
        assert!(!opened_in(&target, &[("cat a.pb.go", "text\n")], true), "what was removed is not known");
        target.status = Status::Added;
        assert!(opened_in(&target, &[("cat a.pb.go", "text\n")], true));
        assert!(opened_in(&target, &[("head -n 99 a.pb.go", "x"), ("sed -n '100,$p' a.pb.go", "x")], true));
        assert!(!opened_in(&target, &[("head -n 99 a.pb.go", "x"), ("tail -n +101 a.pb.go", "x")], true));
        let hidden = "diff --git a/a.pb.go b/a.pb.go\nBinary files a/a.pb.go and b/a.pb.go differ\n";
        assert!(!opened_in(&target, &[("git show HEAD", hidden)], true));
    }

    #[test]
    fn a_failed_or_endless_output_shows_nothing() {
        let (head, base): (Oid, Oid) = (HEAD.parse().unwrap(), BASE.parse().unwrap());
        let ends = Ends { head: &head, base: Some(&base), base_is_parent: true, shown_alone: true };
        let target = file("a.rs", &[(1, 2)], &[]);
        assert!(!was_opened(&target, &[Executed::plain("cat a.rs", 1, "x")], &ends));
        assert!(!was_opened(&target, &[Executed::plain("cat a.rs", 0, "")], &ends));
        let mut long = Executed::plain("cat a.rs", 0, "x");
        long.output_bytes = SEEN_WHOLE + 1;
        assert!(!was_opened(&target, &[long], &ends));
    }

    #[test]
    fn a_patch_shows_the_files_in_its_headers_and_content_cannot_pose_as_one() {
        let target = file("src/a.rs", &[(1, 2)], &[]);
        let shown = |line: &str, patch: &str| opened_in(&target, &[(line, patch)], true);
        assert!(shown("git show", PATCH));
        let message = PATCH.replace('\n', "\n    ");
        assert!(!shown(
            "git show HEAD",
            &format!("commit 1\n\n    {message}\n\ndiff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1 +1 @@\n+x\n")
        ));
        // A line that was added and reads `++ b/src/a.rs`.
        let posing = "diff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1 +1,2 @@\n+++ b/src/a.rs\n+@@ \n";
        assert!(!shown("git show HEAD", posing));
        // A file whose name ends like a header.
        let named =
            "diff --git a/x b/src/a.rs b/x b/src/a.rs\n--- a/x b/src/a.rs\t\n+++ b/x b/src/a.rs\t\n@@ -1 +1 @@\n+x\n";
        assert!(!shown("git show HEAD", named));
        for line in
            ["git show --word-diff HEAD", "git show --format=%B HEAD", "git show -w HEAD", "git show --stat=9 HEAD"]
        {
            assert!(!shown(line, PATCH), "{line}");
        }
    }
}
