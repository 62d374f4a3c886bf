//! The commits of a change, as far as that is asked for.

use super::Repository;
use crate::error::Result;
use crate::event::Change;
use crate::ids::Oid;

impl Repository {
    /// The commits that `change.head` has and `change.base` has not, newest first; `None` where there are more than
    /// `max`.
    ///
    /// # Errors
    /// Where a commit of the history is not here: a shallow clone.
    pub fn commits_in(&self, change: &Change, max: usize) -> Result<Option<Vec<Oid>>> {
        let base = change.base.as_ref().map(|base| self.id(base)).transpose()?;
        let commits = self.reader.range(self.id(&change.head)?, base, max)?;
        commits.map(|commits| commits.into_iter().map(super::object::Id::oid).collect()).transpose()
    }
}
