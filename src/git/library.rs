//! The reader of ordinary repositories: libgit2, in this process.

use git2::{ErrorCode, ObjectType};

use super::object::{Format, Id, Kind, Links, Object, Tip};
use super::reader::Reader;
use super::{Commit, Head, MESSAGE_BYTES_MAX};
use crate::error::{Context as _, Error, Result};
use crate::event::Actor;
use crate::ids::Oid;
use crate::text;

pub(super) struct Library(pub(super) git2::Repository);

/// Our id as libgit2's.
fn to_git(id: Id) -> Result<git2::Oid> {
    git2::Oid::from_bytes(id.as_bytes())
        .map_err(|error| Error::failed(format!("`{id}` is no object id of this repository")).because(error))
}

/// Libgit2's id as ours.
fn from_git(id: git2::Oid) -> Result<Id> {
    Id::from_bytes(id.as_bytes()).ok_or_else(|| Error::failed(format!("`{id}` is no object id")))
}

fn kind(kind: ObjectType) -> Result<Kind> {
    match kind {
        ObjectType::Commit => Ok(Kind::Commit),
        ObjectType::Tree => Ok(Kind::Tree),
        ObjectType::Blob => Ok(Kind::Blob),
        ObjectType::Tag => Ok(Kind::Tag),
        ObjectType::Any => Err(Error::failed("an object has no type")),
    }
}

/// What is not here is no error.
fn found<T>(result: Result<T, git2::Error>) -> Result<Option<T>, git2::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Reader for Library {
    fn format(&self) -> Format {
        // Another is an extension, with which libgit2 does not open a repository.
        Format::Sha1
    }

    fn is_shallow(&self) -> bool {
        self.0.is_shallow()
    }

    fn head(&self) -> Result<Head> {
        let failed = || "cannot read HEAD".to_owned();
        let head = self.0.find_reference("HEAD").context(failed)?;
        let branch = head.symbolic_target_bytes().map(|name| {
            let short = name.strip_prefix(b"refs/heads/".as_slice()).unwrap_or(name);
            text::bytes_line(short)
        });
        let commit = match found(head.resolve()).context(failed)? {
            Some(reference) => Some(from_git(reference.peel_to_commit().context(failed)?.id())?.oid()?),
            None => None,
        };
        Ok(Head { branch, commit })
    }

    fn resolve(&self, revision: &str, shown: &str) -> Result<Oid> {
        let object = self.0.revparse_single(revision).map_err(|error| {
            if error.code() == ErrorCode::NotFound {
                super::no_revision(shown)
            } else if error.code() == ErrorCode::Ambiguous {
                super::ambiguous_revision(shown)
            } else {
                Error::usage(format!("`{shown}` is no revision")).because(error)
            }
        })?;
        let commit = object.peel_to_commit().map_err(|error| super::names_no_commit(shown).because(error))?;
        from_git(commit.id())?.oid()
    }

    fn commit(&self, id: Id) -> Result<Option<Commit>> {
        let failed = || format!("cannot read commit {id}");
        let Some(commit) = found(self.0.find_commit(to_git(id)?)).context(failed)? else { return Ok(None) };
        let author = commit.author();
        let message = commit.message_raw_bytes();
        // Cut before decoding: a replaced byte takes three.
        let cut = &message[..message.len().min(MESSAGE_BYTES_MAX)];
        let message = String::from_utf8_lossy(cut);
        let oid = |id: git2::Oid| from_git(id)?.oid();
        Ok(Some(Commit {
            id: id.oid()?,
            tree: oid(commit.tree_id())?,
            parents: commit.parent_ids().map(oid).collect::<Result<_>>()?,
            author: Actor {
                name: String::from_utf8_lossy(author.name_bytes()).into_owned(),
                email: String::from_utf8_lossy(author.email_bytes()).into_owned(),
            },
            message: text::prefix_bytes(&message, MESSAGE_BYTES_MAX).to_owned(),
        }))
    }

    fn links(&self, id: Id) -> Option<Links> {
        let commit = self.0.find_commit(to_git(id).ok()?).ok()?;
        let parents = commit.parent_ids().filter_map(|parent| from_git(parent).ok()).collect();
        Some(Links { time: commit.time().seconds(), parents })
    }

    fn range(&self, head: Id, base: Option<Id>, max: usize) -> Result<Option<Vec<Id>>> {
        let failed = || format!("cannot list the commits up to {head}");
        let mut walk = self.0.revwalk().context(failed)?;
        walk.push(to_git(head)?).context(failed)?;
        if let Some(base) = base {
            walk.hide(to_git(base)?).context(failed)?;
        }
        let mut commits = Vec::new();
        for id in walk {
            if commits.len() == max {
                return Ok(None);
            }
            commits.push(from_git(id.context(failed)?)?);
        }
        Ok(Some(commits))
    }

    fn peeled(&self, id: Id) -> Option<Id> {
        let object = self.0.find_object(to_git(id).ok()?, None).ok()?;
        from_git(object.peel_to_commit().ok()?.id()).ok()
    }

    fn object(&self, id: Id) -> Result<Option<Object>> {
        let failed = || format!("cannot read the object {id}");
        let database = self.0.odb().context(|| "cannot open the object database")?;
        let Some(object) = found(database.read(to_git(id)?)).context(failed)? else { return Ok(None) };
        Ok(Some(Object { kind: kind(object.kind())?, bytes: object.data().to_vec() }))
    }

    fn header(&self, id: Id) -> Result<Option<(Kind, u64)>> {
        let failed = || format!("cannot read the object {id}");
        let database = self.0.odb().context(|| "cannot open the object database")?;
        let Some((size, type_)) = found(database.read_header(to_git(id)?)).context(failed)? else { return Ok(None) };
        Ok(Some((kind(type_)?, size as u64)))
    }

    fn tips(&self, prefix: &str, max: usize) -> Vec<Tip> {
        let Ok(references) = self.0.references_glob(&format!("{prefix}*")) else { return Vec::new() };
        let tip = |reference: git2::Reference<'_>| {
            Some(Tip { name: reference.name_bytes().to_vec(), id: from_git(reference.target()?).ok()? })
        };
        references.flatten().take(max).filter_map(tip).collect()
    }

    fn pseudo_ref(&self, name: &str) -> Option<Oid> {
        from_git(self.0.find_reference(name).ok()?.peel_to_commit().ok()?.id()).ok()?.oid().ok()
    }

    fn user_name(&self) -> Option<String> {
        let signature = self.0.signature().ok()?;
        Some(String::from_utf8_lossy(signature.name_bytes()).into_owned())
    }
}
