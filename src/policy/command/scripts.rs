//! Tools whose arguments are a small language of their own: what of it only reads.
//!
//! Each function knows a part of its language and refuses the rest, so that a construct of a newer version, or one that
//! is read differently than it is written here, is not allowed.

use serde::Deserialize;

use super::line::Word;
use super::options::is_inside;
use super::schema::{Objection, outside};
use super::{awk, sed};

/// Which language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Check {
    /// `sed`: printing, deleting and replacing in the output.
    Sed,
    /// `awk`: programs that print.
    Awk,
    /// `jq`: any filter, but for the environment and modules.
    Jq,
    /// `find`: an expression of tests and `-print`.
    Find,
    /// `test` and `[`.
    Test,
    /// `printf`: text, no numbers, which one shell computes.
    Printf,
    /// `date`: showing it.
    Date,
    /// `cd`: one directory.
    Cd,
    /// `git config`: reading.
    GitConfig,
    /// `git branch`, `git tag`: listing.
    GitList,
    /// `command -v`, `type`, `which`: plain names.
    Names,
    /// `npm run test`: the one script.
    Exact,
    /// `yarn`: nothing without a subcommand that is known.
    Alone,
    /// Tools that run the files they are given: files below where the command runs.
    Inside,
    /// `set`: stopping at errors.
    Set,
    /// `exit`: a number.
    Status,
    /// `git stash show`: operands that no program behind it takes for options.
    Plain,
}

impl Check {
    /// Whether it reads options itself.
    pub(super) fn reads_all(self) -> bool {
        matches!(self, Self::Sed | Self::Awk | Self::Find | Self::Test | Self::Printf | Self::Cd | Self::Set)
    }

    /// Judges the operands (all words, where [`Check::reads_all`]); `seen` are the options that were given.
    pub(super) fn judge(self, operands: &[&Word], seen: &[String]) -> Result<(), Objection> {
        match self {
            Self::Sed => sed::sed(operands),
            Self::Awk => awk::awk(operands),
            Self::Jq => jq(operands, seen),
            Self::Find => find(operands),
            Self::Test => test(operands),
            Self::Printf => printf(operands),
            Self::Date => date(operands),
            Self::Cd => cd(operands),
            Self::GitConfig => git_config(operands, seen),
            Self::GitList => git_list(operands, seen),
            Self::Names => names(operands),
            Self::Inside => operands.iter().try_for_each(|word| runs_inside(word)),
            Self::Set => set(operands),
            Self::Status => status(operands),
            Self::Plain => operands.iter().try_for_each(|word| file(word)),
            Self::Exact => operands.first().map_or(Ok(()), |word| Err(unlisted("operands", word))),
            Self::Alone => Err(operands.first().map_or_else(
                || refused("writes", "by itself it installs packages"),
                |word| unlisted("operands", word),
            )),
        }
    }
}

pub(super) fn unlisted(rule: &'static str, word: &Word) -> Objection {
    Objection::Escalate(rule, format!("`{}` is not among what is known to be harmless", word.text))
}

pub(super) fn refused(rule: &'static str, why: &str) -> Objection {
    Objection::Deny(rule, why.to_owned())
}

/// A word whose text is certain.
pub(super) fn certain(word: &Word) -> Result<&str, Objection> {
    if word.open.is_some() {
        return Err(Objection::Deny("glob-as-option", format!("`{}` may become anything here", word.text)));
    }
    if word.home {
        return Err(outside(word));
    }
    Ok(&word.text)
}

/// A file's name: not an option, and none after the shell put in names.
pub(super) fn file(word: &Word) -> Result<(), Objection> {
    if word.home {
        return Err(outside(word));
    }
    match word.fixed().chars().next() {
        Some('-') if word.text.len() > 1 => Err(unlisted("option-not-listed", word)),
        None if word.open.is_some() => {
            Err(Objection::Deny("glob-as-option", format!("`{}` may become an option", word.text)))
        }
        _ => Ok(()),
    }
}

/// What brings something into a filter that is neither its text nor its input.
const JQ_OUTSIDE: &[&str] = &["env", "$ENV", "import", "include", "$__prog_args", "modulemeta", "get_search_list"];

fn jq(operands: &[&Word], seen: &[String]) -> Result<(), Objection> {
    let from_file = seen.iter().any(|name| name == "-f" || name == "--from-file");
    let Some((program, files)) = operands.split_first().filter(|_| !from_file) else {
        return Err(refused("jq-program", "a program in a file is not judged"));
    };
    // With `--arg NAME VALUE` it is one of several words that is the filter.
    let named = seen.iter().any(|name| name.starts_with("--arg"));
    for word in operands.iter().filter(|word| named && word.open.is_none()) {
        jq_filter(&word.text)?;
    }
    jq_filter(certain(program)?)?;
    files.iter().try_for_each(|word| if word.home { Err(outside(word)) } else { Ok(()) })
}

/// Whether a filter keeps to its input.
fn jq_filter(text: &str) -> Result<(), Objection> {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    for (at, name) in
        text.match_indices(letter).filter(|(at, _)| !text.get(..*at).is_some_and(|before| before.ends_with(letter)))
    {
        let length = text.get(at..).map_or(name.len(), |rest| rest.find(|c| !letter(c)).unwrap_or(rest.len()));
        let name = text.get(at..at + length).unwrap_or(name);
        // Behind one dot it is a field's name.
        let field = text.get(..at).is_some_and(|before| before.ends_with('.') && !before.ends_with(".."));
        if !field && JQ_OUTSIDE.contains(&name) {
            return Err(Objection::Escalate("jq-program", format!("the filter uses `{name}`")));
        }
    }
    Ok(())
}

/// Tests and actions of find that only read, with the number of words each takes.
const FIND: &[(&str, usize)] = &[
    ("-name", 1),
    ("-iname", 1),
    ("-path", 1),
    ("-ipath", 1),
    ("-wholename", 1),
    ("-regex", 1),
    ("-iregex", 1),
    ("-regextype", 1),
    ("-type", 1),
    ("-xtype", 1),
    ("-size", 1),
    ("-mtime", 1),
    ("-mmin", 1),
    ("-atime", 1),
    ("-amin", 1),
    ("-ctime", 1),
    ("-cmin", 1),
    ("-newer", 1),
    ("-anewer", 1),
    ("-cnewer", 1),
    ("-newermt", 1),
    ("-maxdepth", 1),
    ("-mindepth", 1),
    ("-perm", 1),
    ("-user", 1),
    ("-group", 1),
    ("-uid", 1),
    ("-gid", 1),
    ("-links", 1),
    ("-inum", 1),
    ("-samefile", 1),
    ("-lname", 1),
    ("-ilname", 1),
    ("-printf", 1),
    ("-fstype", 1),
    ("-empty", 0),
    ("-readable", 0),
    ("-writable", 0),
    ("-executable", 0),
    ("-true", 0),
    ("-false", 0),
    ("-print", 0),
    ("-print0", 0),
    ("-ls", 0),
    ("-prune", 0),
    ("-quit", 0),
    ("-depth", 0),
    ("-xdev", 0),
    ("-mount", 0),
    ("-follow", 0),
    ("-daystart", 0),
    ("-noleaf", 0),
    ("-not", 0),
    ("-and", 0),
    ("-or", 0),
    ("-a", 0),
    ("-o", 0),
    ("-H", 0),
    ("-L", 0),
    ("-P", 0),
    ("-nouser", 0),
    ("-nogroup", 0),
    ("-ignore_readdir_race", 0),
    ("-warn", 0),
    ("-nowarn", 0),
];

/// Those that write, remove or run.
const FIND_REFUSED: &[&str] =
    &["-exec", "-execdir", "-ok", "-okdir", "-delete", "-fprint", "-fprint0", "-fprintf", "-fls", "-files0-from"];

fn find(words: &[&Word]) -> Result<(), Objection> {
    let mut rest = words.iter();
    let mut begun = false;
    while let Some(word) = rest.next() {
        if !begun && !word.fixed().starts_with(['-', '(', '!']) {
            file(word)?;
            continue;
        }
        let text = certain(word)?;
        if matches!(text, "(" | ")" | "!" | ",") {
            begun = true;
            continue;
        }
        if FIND_REFUSED.contains(&text) {
            return Err(refused("refused-option", &format!("find {text} changes files or runs a program")));
        }
        let Some((_, takes)) = FIND.iter().find(|(name, _)| *name == text) else {
            return Err(unlisted("option-not-listed", word));
        };
        begun = begun || !matches!(text, "-H" | "-L" | "-P");
        for _ in 0..*takes {
            certain(rest.next().ok_or_else(|| unlisted("option-not-listed", word))?)?;
        }
    }
    Ok(())
}

/// The expressions of `test` that look at files and compare. `-v` and comparing what is no number make some shells
/// compute, which can run commands.
fn test(words: &[&Word]) -> Result<(), Objection> {
    const UNARY: &[&str] = &[
        "-e", "-f", "-d", "-r", "-w", "-x", "-s", "-L", "-h", "-p", "-S", "-b", "-c", "-u", "-g", "-k", "-n", "-z",
        "-O", "-G", "-N",
    ];
    const TEXT: &[&str] = &["=", "==", "!="];
    const NUMBERS: &[&str] = &["-eq", "-ne", "-lt", "-le", "-gt", "-ge"];
    const FILES: &[&str] = &["-nt", "-ot", "-ef"];
    let number = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.len() < 19 && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let texts = words.iter().map(|word| certain(word)).collect::<Result<Vec<_>, _>>()?;
    let texts = texts.strip_suffix(&["]"]).unwrap_or(&texts);
    let texts = texts.strip_prefix(&["!"]).unwrap_or(texts);
    let right = match texts {
        [] => true,
        [one] => !one.starts_with('-'),
        [_, _, _, ..] if texts.iter().any(|text| matches!(*text, "-a" | "-o")) => {
            texts.split(|text| matches!(*text, "-a" | "-o")).all(|part| matches!(part, [operator, file] if UNARY.contains(operator) && !file.starts_with(['-', '(', '!'])))
        }
        ["-t", descriptor] => number(descriptor),
        [operator, _] => UNARY.contains(operator),
        [_, operator, _] if TEXT.contains(operator) || FILES.contains(operator) => true,
        [one, operator, other] if NUMBERS.contains(operator) => number(one) && number(other),
        _ => false,
    };
    if right {
        Ok(())
    } else {
        Err(refused("test-expression", "only simple tests of files, texts and numbers are judged"))
    }
}

fn printf(words: &[&Word]) -> Result<(), Objection> {
    let marked = words.first().is_some_and(|word| word.is("--"));
    let Some((format, rest)) = words.get(usize::from(marked)..).and_then(<[_]>::split_first) else { return Ok(()) };
    let format = certain(format)?;
    if format.starts_with('-') && !marked {
        return Err(refused("refused-option", "printf -v sets a variable, which can run a command"));
    }
    // Which of the arguments are read as numbers: the format is used again until there are none left.
    let mut numbers = Vec::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            continue;
        }
        let conversion = letters.find(|c| !(c.is_ascii_digit() || matches!(c, '-' | '.' | ' ' | '+' | '#' | '\'')));
        match conversion {
            Some('%') => {}
            Some('s' | 'b' | 'q' | 'c') => numbers.push(false),
            Some('d' | 'i' | 'u' | 'x' | 'X' | 'o' | 'f' | 'F' | 'g' | 'e') => numbers.push(true),
            _ => return Err(refused("printf-format", "this conversion is not among those that only print")),
        }
    }
    let counts = numbers.contains(&true);
    rest.iter().zip(numbers.iter().cycle()).try_for_each(|(word, number)| {
        if word.home {
            return Err(outside(word));
        }
        // What is open can be several, and moves those behind it.
        if counts && word.open.is_some() {
            return certain(word).map(|_| ());
        }
        // zsh takes a name for an expression, and an expression can run a command.
        let is_number = word.text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
        if *number && !is_number {
            return Err(refused("printf-format", "a shell may compute what printf takes for a number"));
        }
        Ok(())
    })
}

fn date(operands: &[&Word]) -> Result<(), Objection> {
    match operands.iter().find(|word| !word.fixed().starts_with('+')) {
        Some(_) => Err(refused("operands", "date with a time sets the clock")),
        None => Ok(()),
    }
}

fn cd(words: &[&Word]) -> Result<(), Objection> {
    match words {
        [word] if !word.fixed().starts_with(['-', '+']) && word.open.is_none() => certain(word).map(|_| ()),
        [mark, word] if mark.is("--") && word.open.is_none() => certain(word).map(|_| ()),
        [] => Err(Objection::Escalate("outside", "`cd` alone goes to the home directory".to_owned())),
        _ => Err(refused("operands", "`cd` takes one directory that is spelled out")),
    }
}

fn git_config(operands: &[&Word], seen: &[String]) -> Result<(), Objection> {
    let reads = |name: &String| {
        ["--get", "--get-all", "--get-regexp", "--get-urlmatch", "--list", "-l"].contains(&name.as_str())
    };
    let words = operands.iter().map(|word| certain(word)).collect::<Result<Vec<_>, _>>()?;
    // Behind a name it would be text that is compared, and nobody means that.
    let dashed = words.iter().any(|word| word.starts_with('-'));
    let right = !dashed
        && if seen.iter().any(reads) {
            words.len() <= 2
        } else {
            match words.as_slice() {
                ["list"] | ["get", _] => true,
                // A name has a dot, a subcommand has none.
                [name] => name.contains('.'),
                _ => false,
            }
        };
    if right {
        Ok(())
    } else {
        Err(refused("writes", "`git config` changes the configuration, but with --get and --list"))
    }
}

fn git_list(operands: &[&Word], seen: &[String]) -> Result<(), Objection> {
    const LISTS: &[&str] = &[
        "--list",
        "-l",
        "-a",
        "--all",
        "-r",
        "--remotes",
        "--show-current",
        "--contains",
        "--no-contains",
        "--merged",
        "--no-merged",
        "--points-at",
        "-n",
    ];
    let lists = seen.iter().any(|name| LISTS.contains(&name.as_str()));
    // An operand is the name of what is created, unless the listing was asked for by name.
    let patterns = seen.iter().any(|name| matches!(name.as_str(), "--list" | "-l"));
    if operands.is_empty() || (lists && patterns) {
        return Ok(());
    }
    Err(refused("writes", "with a name this creates it; `--list` lists"))
}

fn names(operands: &[&Word]) -> Result<(), Objection> {
    operands.iter().try_for_each(|word| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
        if certain(word)?.chars().all(plain) { Ok(()) } else { Err(unlisted("operands", word)) }
    })
}

/// A file that will be run, or a directory with such files.
fn runs_inside(word: &Word) -> Result<(), Objection> {
    if word.fixed().starts_with('@') {
        return Err(refused("operands", "`@` names a file with options that nobody sees"));
    }
    if !is_inside(word.fixed()) || word.text.contains("..") && !is_inside(&word.text) {
        return Err(Objection::Escalate(
            "outside",
            format!("`{}` may lie outside the workspace, and would be run", word.text),
        ));
    }
    Ok(())
}

/// `set -euo pipefail`: the line stops at errors, and nothing else changes.
fn set(words: &[&Word]) -> Result<(), Objection> {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let letters = certain(word)?.strip_prefix('-').unwrap_or_default();
        let plain = !letters.is_empty() && letters.bytes().all(|letter| matches!(letter, b'e' | b'u'));
        let named = letters
            .strip_suffix('o')
            .is_some_and(|letters| letters.bytes().all(|letter| matches!(letter, b'e' | b'u')));
        let known = |word: &&Word| word.is("pipefail") || word.is("errexit") || word.is("nounset");
        if !(plain || named && rest.next().is_some_and(known)) {
            return Err(refused("shell-state", "`set` may only make the line stop at errors"));
        }
    }
    if words.is_empty() { Err(refused("shell-state", "`set` alone shows every variable")) } else { Ok(()) }
}

/// At most one number: zsh computes what is none.
fn status(words: &[&Word]) -> Result<(), Objection> {
    let digits = |word: &Word| word.open.is_none() && word.text.bytes().all(|byte| byte.is_ascii_digit());
    match words {
        [] => Ok(()),
        [word] if digits(word) => Ok(()),
        _ => Err(refused("operands", "`exit` takes a number")),
    }
}
