//! What HEAD holds of a directory.

use super::object::Id;
use super::{Repository, tree};
use crate::error::Result;

impl Repository {
    /// The names directly below `directory` in HEAD's tree; none where there is no such directory, or no commit.
    pub fn names_at_head(&self, directory: &str) -> Vec<String> {
        let names = || -> Result<Vec<String>> {
            let Some(head) = self.head()?.commit else { return Ok(Vec::new()) };
            let top = self.tree(Id::of(&self.commit(&head)?.tree)?)?;
            let format = self.reader.format();
            let Some(side) = tree::find(&top, format, directory.as_bytes())? else { return Ok(Vec::new()) };
            // A link or a file in its place is as foreign as anything in it.
            if !tree::is_tree(side.mode) {
                return Ok(vec![String::new()]);
            }
            let below = self.tree(side.id)?;
            let names = tree::names(&below, format)?;
            Ok(names.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect())
        };
        // Unborn HEAD, no such directory, or a repository that does not read: nothing is tracked as far as can be told.
        names().unwrap_or_default()
    }
}
