//! ARCHITECTURE.md stays true: the direction of the modules, and the table of transitions.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(clippy::disallowed_methods, reason = "a test writes a page of the repository")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use orchestrator::run::{State, TRANSITIONS};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The modules as `lib.rs` lists them: the direction of the data.
fn modules() -> Vec<String> {
    let lib = read("src/lib.rs");
    lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect()
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The source without its comments and without its unit tests, which may use whatever they need.
fn code(path: &Path) -> String {
    if path.file_stem().is_some_and(|stem| stem == "tests") {
        return String::new();
    }
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap().to_owned();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The modules of this crate that the code names, in `crate::a::…`, `use crate::{a, b::…}` and `use crate::a as c`.
fn names(code: &str) -> BTreeSet<&str> {
    let word = |text: &'_ str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let mut found = BTreeSet::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(&rest[..word(rest)]);
            continue;
        };
        let mut depth = 0_i32;
        let mut begins = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                c if begins && !c.is_whitespace() => {
                    begins = false;
                    found.insert(&group[at..at + word(&group[at..])]);
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    let code = "use crate::a::b;\nuse crate::{c, d::{e, f}, g as h};\nfn x() { crate::i::y() }\nuse crate::j;";
    assert_eq!(names(code).into_iter().collect::<Vec<_>>(), ["a", "c", "d", "g", "i", "j"]);
}

#[test]
fn no_module_names_a_later_one() {
    let modules = modules();
    assert!(modules.len() > 15, "{modules:?}");
    let mut wrong = Vec::new();
    for (place, module) in modules.iter().enumerate() {
        let mut files = Vec::new();
        let directory = root().join("src").join(module);
        if directory.is_dir() {
            sources(&directory, &mut files);
        }
        let file = root().join("src").join(format!("{module}.rs"));
        if file.is_file() {
            files.push(file);
        }
        assert!(!files.is_empty(), "no source of {module}");
        for file in files {
            let code = code(&file);
            for later in &modules[place + 1..] {
                if names(&code).contains(later.as_str()) {
                    wrong.push(format!("{} names `{later}`", file.strip_prefix(root()).unwrap().display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_stands_on_the_map() {
    let page = read("ARCHITECTURE.md");
    for module in modules() {
        assert!(page.contains(&format!("`{module}`")), "ARCHITECTURE.md does not speak of `{module}`");
    }
}

/// One line for each state, with what leads out of it.
fn rendered() -> String {
    let mut page = String::from("| state | what can happen → state after it |\n|---|---|\n");
    for state in State::ALL {
        let ways: Vec<_> = TRANSITIONS
            .iter()
            .filter(|(from, _, _)| *from == state)
            .map(|(_, what, to)| format!("{} → {to}", what.as_str()))
            .collect();
        let ways = if ways.is_empty() { "nothing: it is over".to_owned() } else { ways.join(", ") };
        writeln!(page, "| {state} | {ways} |").unwrap();
    }
    page
}

#[test]
fn the_table_of_transitions_on_the_page_is_the_one_in_the_code() {
    const BEGIN: &str = "<!-- transitions: begin -->\n";
    const END: &str = "<!-- transitions: end -->";
    let page = read("ARCHITECTURE.md");
    let begin = page.find(BEGIN).unwrap() + BEGIN.len();
    let end = page.find(END).unwrap();
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        let page = format!("{}{}{}", &page[..begin], rendered(), &page[end..]);
        fs::write(root().join("ARCHITECTURE.md"), page).unwrap();
        return;
    }
    assert_eq!(&page[begin..end], rendered(), "run `UPDATE_SCHEMAS=1 cargo test --test architecture`");
}
