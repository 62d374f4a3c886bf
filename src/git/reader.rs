//! What a repository is asked. Two readers answer: libgit2 in this process (`library`), and the git program where
//! libgit2 cannot (`plumbing`: SHA-256 ids, reftable, extensions it does not know). A test holds them to one answer.

use super::object::{Format, Id, Kind, Links, Object, Tip};
use super::{Commit, Head};
use crate::error::Result;
use crate::ids::Oid;

/// Reads objects as they were written and refs as they stand now. An object that is not here is `None`, never an
/// empty one; nothing is fetched to answer.
pub(super) trait Reader: Send {
    /// The ids this repository's objects have.
    fn format(&self) -> Format;

    /// Whether history was cut off by `--depth`.
    fn is_shallow(&self) -> bool;

    /// Where HEAD points.
    fn head(&self) -> Result<Head>;

    /// The commit that a person's `revision` names; `shown` is how to speak of it.
    fn resolve(&self, revision: &str, shown: &str) -> Result<Oid>;

    /// What a commit says. `None` for what is not here, or no commit.
    fn commit(&self, id: Id) -> Result<Option<Commit>>;

    /// A commit's parents and date; the parents end at the edge of a shallow clone.
    fn links(&self, id: Id) -> Option<Links>;

    /// The commits that `head` has and `base` has not, newest first; `None` where there are more than `max`. An error
    /// where a commit on the way is not here.
    fn range(&self, head: Id, base: Option<Id>, max: usize) -> Result<Option<Vec<Id>>>;

    /// The commit an object stands for: itself, or what a tag names.
    fn peeled(&self, id: Id) -> Option<Id>;

    /// An object's type and content.
    fn object(&self, id: Id) -> Result<Option<Object>>;

    /// An object's type and size in bytes.
    fn header(&self, id: Id) -> Result<Option<(Kind, u64)>>;

    /// The refs below `prefix`, which ends in a slash and holds no glob characters; looks at no more than `max`.
    fn tips(&self, prefix: &str, max: usize) -> Vec<Tip>;

    /// The commit in a pseudo-ref of this worktree.
    fn pseudo_ref(&self, name: &str) -> Option<Oid>;

    /// `user.name`, as the person at this repository has it.
    fn user_name(&self) -> Option<String>;
}
