//! Who sits at this repository.

use super::Repository;

impl Repository {
    /// The name that a commit made here would carry; `None` where git knows none.
    pub fn committer_name(&self) -> Option<String> {
        self.reader.user_name().filter(|name| !name.trim().is_empty())
    }
}
