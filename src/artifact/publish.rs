//! Writing an artifact where people look: the third check, then two files that are there whole or not at all.

use super::{Artifact, Envelope, Evidence, Judgement, SCHEMA, page};
use crate::error::{Context as _, Error, Result};
use crate::files::Directory;
use crate::role::Role;
use crate::secrets::{self, Counts, redact_value};
use crate::store::layout::{DIRECTORY, Layout};
use crate::text;

/// The largest artifact file. An answer has half of it at most; the rest is evidence.
const ARTIFACT_BYTES: usize = 2 << 20;

/// Writes `<role>.md` and `<role>.json` for this commit, and returns their paths relative to `layout.home()`, the page
/// first. What has the shape of a secret is replaced on the way.
pub fn publish(layout: &Layout, envelope: &Envelope, judgement: &Judgement) -> Result<Vec<String>> {
    // The role's name becomes a file name: only ours do.
    let role = Role::find(&envelope.role)?;
    let commit = &envelope.commit;
    let mut counts = Counts::new();
    let judgement = redacted(judgement, &mut counts)?;
    let mut envelope = envelope_without_secrets(envelope, &mut counts);
    secrets::add(&mut envelope.redacted, &counts);
    let page = page::page(&envelope, &judgement)?;
    let artifact = Artifact {
        schema: SCHEMA,
        envelope,
        conclusion: judgement.conclusion,
        evidence: judgement.evidence,
        answer: judgement.answer,
    };
    let mut json = serde_json::to_vec_pretty(&artifact).context(|| "cannot write the artifact as JSON")?;
    json.push(b'\n');
    for (form, bytes) in [("page", page.len()), ("JSON", json.len())] {
        if bytes > ARTIFACT_BYTES {
            let (size, limit) = (text::bytes(bytes as u64), text::bytes(ARTIFACT_BYTES as u64));
            return Err(Error::failed(format!("the {}'s {form} has {size}; {limit} is the most", role.name)));
        }
    }
    let directory = layout.artifacts(commit);
    let below = directory.strip_prefix(layout.root()).context(|| "the artifacts lie outside .orchestrator")?;
    let directory = Directory::create(layout.root(), below)?;
    let mut paths = Vec::new();
    for (extension, bytes) in [("json", json.as_slice()), ("md", page.as_bytes())] {
        let name = format!("{}.{extension}", role.name);
        directory.write(&name, bytes)?;
        paths.insert(0, format!("{DIRECTORY}/artifacts/{}/{name}", commit.short12()));
    }
    Ok(paths)
}

/// The judgement without secrets, in every string a model or a repository may have put there.
fn redacted(judgement: &Judgement, counts: &mut Counts) -> Result<Judgement> {
    let failed = || "cannot write the evidence as JSON";
    let mut clean = judgement.clone();
    redact_value(&mut clean.answer, counts);
    let evidence = secrets::redacted_value(&clean.evidence, counts).context(failed)?;
    clean.evidence = serde_json::from_value::<Evidence>(evidence).context(failed)?;
    let conclusion = secrets::redacted_value(&clean.conclusion, counts).context(failed)?;
    clean.conclusion = serde_json::from_value(conclusion).context(failed)?;
    Ok(clean)
}

/// The envelope with names that hold no secret: a branch can be called anything.
fn envelope_without_secrets(envelope: &Envelope, counts: &mut Counts) -> Envelope {
    let mut out = envelope.clone();
    for name in [Some(&mut out.trigger), out.branch.as_mut(), out.model.as_mut()].into_iter().flatten() {
        *name = secrets::redact(name, counts).into_owned();
    }
    out
}
