//! The changed paths of an event, and what lists of patterns say of them.
//!
//! A hook asks one question of a list: does it take in a changed path? For that the paths are walked once for all lists
//! at hand, a directory that no undecided list can take anything from is left out, and the walk ends when all lists are
//! decided. Nothing is kept. Who shows paths to a person gets them all.

use std::ops::ControlFlow;

use super::glob::{Below, Patterns, Subject};
use crate::error::Result;
use crate::event::visit::{Collected, Visitor};

/// Tells a visitor the changed paths.
type Walk<'a> = dyn FnMut(&mut dyn Visitor) -> Result<()> + 'a;

/// The changed paths of an event: walked when somebody asks.
pub struct Paths<'a> {
    walk: Box<Walk<'a>>,
    known: Option<Vec<Vec<u8>>>,
}

impl<'a> Paths<'a> {
    /// Paths that `walk` tells: bytes relative to the top of the repository, both names of a renamed file.
    pub fn walked(walk: impl FnMut(&mut dyn Visitor) -> Result<()> + 'a) -> Self {
        Self { walk: Box::new(walk), known: None }
    }

    /// Paths that are known already.
    pub fn known(paths: Vec<Vec<u8>>) -> Self {
        Self { walk: Box::new(|_| Ok(())), known: Some(paths) }
    }

    /// All paths, sorted, kept from the first time on. The error is that of the walk.
    pub fn all(&mut self) -> Result<&[Vec<u8>]> {
        if self.known.is_none() {
            let mut all = Collected::default();
            (self.walk)(&mut all)?;
            self.known = Some(all.sorted());
        }
        Ok(self.known.as_deref().unwrap_or_default())
    }

    /// For each list, whether it takes in a path. The error is that of the walk, or of a pattern that cannot be used.
    pub fn decide(&mut self, lists: &[&[String]]) -> Result<Vec<bool>> {
        let mut questions = Questions::new(lists);
        if lists.is_empty() {
            return Ok(Vec::new());
        }
        match &self.known {
            Some(paths) => {
                // Known paths come without their directories: each is held against the lists as a whole.
                for path in paths {
                    if questions.visit(path).is_break() {
                        break;
                    }
                }
            }
            None => (self.walk)(&mut questions)?,
        }
        questions.answers()
    }
}

/// Lists that wait for a path they take in.
struct Questions<'t> {
    lists: Vec<Question<'t>>,
    open: usize,
}

struct Question<'t> {
    list: &'t [String],
    /// Compiled for the first path that the beginnings of the patterns do not rule out.
    patterns: Option<Result<Patterns>>,
    /// What the list says of the directory whose paths are being told.
    here: Below,
    is_answered: bool,
}

impl<'t> Questions<'t> {
    fn new(lists: &[&'t [String]]) -> Self {
        let lists: Vec<_> = lists
            .iter()
            .map(|list| Question { list, patterns: None, here: Below::of(list, b""), is_answered: false })
            .collect();
        Self { open: lists.len(), lists }
    }

    fn answers(self) -> Result<Vec<bool>> {
        let answer = |question: Question<'_>| match question.patterns {
            Some(Err(error)) => Err(error),
            _ => Ok(question.is_answered),
        };
        self.lists.into_iter().map(answer).collect()
    }
}

impl Visitor for Questions<'_> {
    fn wants(&mut self, directory: &[u8]) -> bool {
        let mut wanted = false;
        for question in self.lists.iter_mut().filter(|question| !question.is_answered) {
            question.here = Below::of(question.list, directory);
            wanted |= question.here != Below::Nothing;
        }
        wanted
    }

    fn visit(&mut self, path: &[u8]) -> ControlFlow<()> {
        for question in self.lists.iter_mut().filter(|question| !question.is_answered) {
            if question.takes_in(path) {
                question.is_answered = true;
                self.open -= 1;
            }
        }
        if self.open == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Question<'_> {
    /// Whether the list takes this in; also where its patterns cannot be used, so that nothing more is asked.
    fn takes_in(&mut self, path: &[u8]) -> bool {
        match self.here {
            Below::Nothing => false,
            Below::Everything => true,
            Below::Some if self.patterns.is_none() && !super::glob::may_take_in(self.list, path) => false,
            Below::Some => match self.patterns.get_or_insert_with(|| Patterns::compile(self.list, Subject::Path)) {
                Ok(patterns) => patterns.take_in(path),
                Err(_) => true,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::triggers::glob;

    /// What a walk over these paths tells a visitor: directory by directory, as the trees are walked.
    fn walk(paths: &[Vec<u8>], visitor: &mut dyn Visitor, told: &mut usize) {
        let mut by_directory: BTreeMap<&[u8], Vec<&[u8]>> = BTreeMap::new();
        for path in paths {
            let end = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
            by_directory.entry(&path[..end]).or_default().push(path);
        }
        for (directory, paths) in by_directory {
            // A directory that is not wanted is not entered: neither are those below it.
            let mut above =
                directory.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &directory[..=at]);
            if !above.all(|directory| visitor.wants(directory)) {
                continue;
            }
            for path in paths {
                *told += 1;
                if visitor.visit(path).is_break() {
                    return;
                }
            }
        }
    }

    fn decided(lists: &[Vec<String>], paths: &[Vec<u8>]) -> (Vec<bool>, usize) {
        let mut told = 0;
        let lists: Vec<&[String]> = lists.iter().map(Vec::as_slice).collect();
        let answers = Paths::walked(|visitor| {
            walk(paths, visitor, &mut told);
            Ok(())
        })
        .decide(&lists)
        .unwrap();
        (answers, told)
    }

    fn list(patterns: &[&str]) -> Vec<String> {
        patterns.iter().map(|pattern| (*pattern).to_owned()).collect()
    }

    #[test]
    fn the_walk_ends_when_every_list_is_decided_and_leaves_out_what_none_can_take_in() {
        let paths = |directory: &str| (0..100).map(|n| format!("{directory}/f{n}.rs").into_bytes()).collect::<Vec<_>>();
        let starter = list(&["**", "!**/*.md", "!docs/**", "!.orchestrator/**"]);
        assert_eq!(decided(std::slice::from_ref(&starter), &paths("docs/a")), (vec![false], 0));
        assert_eq!(decided(std::slice::from_ref(&starter), &paths("src/a")), (vec![true], 1));
        let both = [starter, list(&["src/b/*.c"])];
        assert_eq!(decided(&both, &paths("src/a")), (vec![true, false], 100));
        assert_eq!(decided(&both, &paths("src/b")), (vec![true, false], 100));
    }

    #[test]
    fn the_error_of_the_walk_is_told() {
        let failing = || Paths::walked(|_| Err(crate::error::Error::failed("no such tree")));
        assert!(failing().decide(&[&list(&["a"])]).is_err());
        assert!(failing().all().is_err());
        assert!(failing().decide(&[]).unwrap().is_empty());
    }

    proptest::proptest! {
        /// The rule of this module: what is left out would not have changed the answer.
        #[test]
        fn a_lazy_walk_decides_as_all_paths_do(
            lists in proptest::collection::vec(
                proptest::collection::vec("!?([ab]|/|\\*|\\*\\*|\\*\\*/|/\\*\\*|\\?|\\{a,b\\}|[.]b|\\[ab\\]){1,5}/?", 1..5),
                1..4,
            ),
            paths in proptest::collection::vec("[ab.\n]{1,2}(/[ab.]{1,2}){0,3}", 0..8),
        ) {
            let sound = |list: &Vec<String>| list.iter().all(|one| glob::check(one, Subject::Path).is_ok());
            let lists: Vec<_> = lists.into_iter().filter(sound).collect();
            let paths: Vec<_> = paths.into_iter().map(String::into_bytes).collect();
            let full: Vec<bool> = lists
                .iter()
                .map(|list| {
                    let patterns = glob::tests::plainly_compiled(list, Subject::Path);
                    paths.iter().any(|path| patterns(path))
                })
                .collect();
            proptest::prop_assert_eq!(&decided(&lists, &paths).0, &full);
            let lists: Vec<&[String]> = lists.iter().map(Vec::as_slice).collect();
            proptest::prop_assert_eq!(&Paths::known(paths).decide(&lists).unwrap(), &full);
        }
    }
}
