//! From rows to values and back. A row that does not read back is damage and is named; nothing is guessed.

use rusqlite::{Connection, OptionalExtension as _, Row, params_from_iter};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Doing as _, Result};
use crate::clock::Timestamp;
use crate::ids::RunId;
use crate::runtime::Usage;
use crate::store::{Run, StoreError};

/// What stands in `cancel` before the id of the run that takes the place of this one; anything else is a person's word.
pub(super) const SUPERSEDED_BY: &str = "superseded by ";

/// The columns of a run, in the order [`read_run`] expects.
const RUN_COLUMNS: &str = "id, job, state, reason, attempt, not_before, cancel, created_at, started_at, finished_at, \
                           input_tokens, cached_tokens, output_tokens, artifacts, rehearsal, favourable, token, \
                           (SELECT count(*) FROM transitions
                            WHERE transitions.run = runs.id AND happening = 'resumed')";

pub(super) fn select_runs(
    connection: &Connection,
    tail: &str,
    parameters: &[&dyn rusqlite::ToSql],
) -> Result<Vec<Run>> {
    let doing = "cannot read runs";
    let mut statement = connection.prepare_cached(&format!("SELECT {RUN_COLUMNS} FROM runs {tail}")).doing(doing)?;
    let rows = statement.query_map(params_from_iter(parameters.iter()), |row| Ok(read_run(row))).doing(doing)?;
    rows.map(|row| row.doing(doing)?.map(|(run, _)| run)).collect()
}

pub(super) fn one_run(connection: &Connection, id: RunId) -> Result<(Run, u64)> {
    let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE id = ?1");
    connection
        .query_row(&sql, [id.to_string()], |row| Ok(read_run(row)))
        .optional()
        .doing("cannot read a run")?
        .ok_or_else(|| StoreError::NoSuchRun(id.to_string()))?
}

pub(super) fn read_run(row: &Row<'_>) -> Result<(Run, u64)> {
    let doing = "cannot read a run";
    let id: String = row.get(0).doing(doing)?;
    let what = format!("run {id}");
    let state: String = row.get(2).doing(doing)?;
    let time =
        |column| -> Result<Option<Timestamp>> { Ok(row.get::<_, Option<i64>>(column).doing(doing)?.map(time_of)) };
    let tokens = |column| -> Result<u64> { Ok(unsigned(row.get(column).doing(doing)?)) };
    let stop: Option<String> = row.get(6).doing(doing)?;
    let run = Run {
        id: from_json_string(&what, &id)?,
        job: from_json(&what, &row.get::<_, String>(1).doing(doing)?)?,
        state: from_json_string(&what, &state)?,
        reason: row.get(3).doing(doing)?,
        attempt: row.get(4).doing(doing)?,
        resumed: row.get(17).doing(doing)?,
        not_before: time(5)?,
        cancel_requested: stop.is_some(),
        superseded_by: stop.and_then(|by| by.strip_prefix(SUPERSEDED_BY)?.parse().ok()),
        created_at: time(7)?.unwrap_or_else(|| Timestamp::from_millis(0)),
        started_at: time(8)?,
        finished_at: time(9)?,
        usage: Usage { input_tokens: tokens(10)?, cached_input_tokens: tokens(11)?, output_tokens: tokens(12)? },
        artifacts: from_json(&what, &row.get::<_, String>(13).doing(doing)?)?,
        rehearsal: row.get(14).doing(doing)?,
        favourable: row.get(15).doing(doing)?,
    };
    Ok((run, tokens(16)?))
}

pub(super) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| StoreError::Damaged { what: what.to_owned(), source })
}

pub(super) fn from_json_string<T: DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_value(serde_json::Value::from(text))
        .map_err(|source| StoreError::Damaged { what: what.to_owned(), source })
}

pub(super) fn to_json<T: Serialize>(what: &str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|source| StoreError::Damaged { what: what.to_owned(), source })
}

/// The database's integers are signed; ours never reach the sign bit.
pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

pub(super) fn time_of(millis: i64) -> Timestamp {
    Timestamp::from_millis(unsigned(millis))
}
