//! How the changed paths of an event are told: one after the other, to somebody who may have heard enough.
//!
//! Whoever walks over a change and whoever asks about its paths know nothing of each other but this. It lets a hook
//! leave out what cannot matter and end at the first path that decides.

use std::ops::ControlFlow;

/// Somebody who is told changed paths: bytes, from the top of the repository.
pub trait Visitor {
    /// Whether a path below `directory` can matter; it ends in `/`. Asked before the paths that lie directly in it are
    /// told, which follow without another directory's between them. What is not wanted is not told.
    fn wants(&mut self, directory: &[u8]) -> bool;

    /// A changed path; [`ControlFlow::Break`] ends the walk.
    fn visit(&mut self, path: &[u8]) -> ControlFlow<()>;
}

/// Keeps every path.
#[derive(Debug, Default)]
pub struct Collected {
    paths: Vec<Vec<u8>>,
}

impl Collected {
    /// The paths that were told, sorted, each once.
    pub fn sorted(mut self) -> Vec<Vec<u8>> {
        self.paths.sort_unstable();
        self.paths.dedup();
        self.paths
    }
}

impl Visitor for Collected {
    fn wants(&mut self, _directory: &[u8]) -> bool {
        true
    }

    fn visit(&mut self, path: &[u8]) -> ControlFlow<()> {
        self.paths.push(path.to_vec());
        ControlFlow::Continue(())
    }
}
