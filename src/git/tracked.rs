//! What HEAD holds of a directory.

use super::Repository;

impl Repository {
    /// The names directly below `directory` in HEAD's tree; none where there is no such directory, or no commit.
    pub fn names_at_head(&self, directory: &str) -> Vec<String> {
        let names = || -> Result<Vec<String>, git2::Error> {
            let tree = self.inner.head()?.peel_to_tree()?;
            let entry = tree.get_name(directory).ok_or_else(|| git2::Error::from_str("not there"))?;
            // A link or a file in its place is as foreign as anything in it.
            let Ok(below) = entry.to_object(&self.inner)?.peel_to_tree() else { return Ok(vec![String::new()]) };
            Ok(below.iter().map(|entry| String::from_utf8_lossy(entry.name_bytes()).into_owned()).collect())
        };
        // Unborn HEAD, no such directory, or a repository that does not read: nothing is tracked as far as can be told.
        names().unwrap_or_default()
    }
}
