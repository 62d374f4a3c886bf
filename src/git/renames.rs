//! Which of the added files are deleted ones under another name.
//!
//! Libgit2 decides, in a repository that exists in memory and holds these files alone: so that the answer does not
//! depend on who reads the real one.

use std::collections::BTreeMap;

use git2::{Delta, DiffFindOptions, DiffOptions, ObjectType, Odb};

use super::Repository;
use super::diff::{RENAME_BYTES_MAX, RENAME_PAIRS_MAX};
use super::object::Kind;
use super::tree::{self, Difference, Side};
use crate::error::{Context as _, Error, Result};

/// The new names of renamed files, with the old ones.
pub(super) fn find(repository: &Repository, differences: &[Difference]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    // Added or deleted; by their number, which sorts as their paths do.
    let mut ends: Vec<(usize, bool, Side)> = Vec::new();
    let mut bytes = 0_u64;
    for (number, difference) in differences.iter().enumerate() {
        let (is_new, side) = match (difference.old, difference.new) {
            (None, Some(side)) => (true, side),
            (Some(side), None) => (false, side),
            _ => continue,
        };
        ends.push((number, is_new, side));
        if !tree::is_submodule(side.mode) {
            bytes = bytes.saturating_add(repository.reader.header(side.id)?.map_or(u64::MAX, |(_, size)| size));
        }
    }
    let added = ends.iter().filter(|(_, is_new, _)| *is_new).count();
    let pairs = added.saturating_mul(ends.len() - added);
    if pairs == 0 || pairs > RENAME_PAIRS_MAX {
        return Ok(BTreeMap::new());
    }
    let exact = bytes > RENAME_BYTES_MAX;

    let failed = || "cannot compare the files";
    let database = Odb::new().context(failed)?;
    database.add_new_mempack_backend(1).context(failed)?;
    let memory = git2::Repository::from_odb(database).context(failed)?;
    let mut trees = [Vec::new(), Vec::new()];
    for (number, is_new, side) in &ends {
        let mode = match side.mode & 0o170_000 {
            0o100_000 => "100644",
            0o120_000 => "120000",
            // A submodule is never found again under another name.
            _ => continue,
        };
        let content = if exact {
            // What is one object stays one.
            side.id.as_bytes().to_vec()
        } else {
            let object = repository.reader.object(side.id)?.filter(|object| object.kind == Kind::Blob);
            object.ok_or_else(|| repository.missing(side.id))?.bytes
        };
        let id = memory.odb().context(failed)?.write(ObjectType::Blob, &content).context(failed)?;
        let tree = &mut trees[usize::from(*is_new)];
        tree.extend_from_slice(format!("{mode} {number:09}\0").as_bytes());
        tree.extend_from_slice(id.as_bytes());
    }
    let read = |bytes: &[u8]| -> Result<git2::Tree<'_>> {
        let id = memory.odb().context(failed)?.write(ObjectType::Tree, bytes).context(failed)?;
        memory.find_tree(id).context(failed)
    };
    let (old, new) = (read(&trees[0])?, read(&trees[1])?);
    let mut options = DiffOptions::new();
    options.include_typechange(true).skip_binary_check(true);
    let mut diff = memory.diff_tree_to_tree(Some(&old), Some(&new), Some(&mut options)).context(failed)?;
    let mut options = DiffFindOptions::new();
    options.renames(true).rename_limit(RENAME_PAIRS_MAX).exact_match_only(exact);
    diff.find_similar(Some(&mut options)).context(failed)?;

    let path = |name: Option<&[u8]>| {
        let number: usize = std::str::from_utf8(name?).ok()?.parse().ok()?;
        Some(differences.get(number)?.path.clone())
    };
    let mut found = BTreeMap::new();
    for delta in diff.deltas().filter(|delta| delta.status() == Delta::Renamed) {
        let (new, old) = (path(delta.new_file().path_bytes()), path(delta.old_file().path_bytes()));
        let (Some(new), Some(old)) = (new, old) else { return Err(Error::failed("a rename has no name")) };
        found.insert(new, old);
    }
    Ok(found)
}
