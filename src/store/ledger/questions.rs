//! What runs ask a person for: asked in the transaction in which the run begins to wait, answered in the one in which it
//! goes on, used before whoever asked is told yes.

use rusqlite::{Connection, Row, Transaction, params};

use super::queue::apply;
use super::rows::{from_json, from_json_string, one_run, select_runs, signed, time_of, to_json};
use super::{Doing as _, Result};
use crate::clock::Timestamp;
use crate::ids::RunId;
use crate::policy::Action;
use crate::run::{Happening, State};
use crate::store::question::{Answer, Asked, EXPIRES_AFTER, QUESTIONS_MAX, Question, Standing, Word};
use crate::store::{Claim, Run, StoreError, Transition};

const COLUMNS: &str = "q.run, q.number, q.attempt, q.action, q.rule, q.why, q.said, q.times, q.asked_at, q.expires_at, \
                       a.allowed, a.who, a.why, a.at, a.expires_at, u.at";

/// The questions of a run, in order.
pub(super) fn of_run(connection: &Connection, run: RunId) -> Result<Vec<Question>> {
    let doing = "cannot read questions";
    let sql = format!(
        "SELECT {COLUMNS} FROM questions q LEFT JOIN answers a USING (run, number) LEFT JOIN uses u USING (run, number)
         WHERE q.run = ?1 ORDER BY q.number"
    );
    let mut statement = connection.prepare_cached(&sql).doing(doing)?;
    let rows = statement.query_map([run.to_string()], |row| Ok(read(row))).doing(doing)?;
    rows.map(|row| row.doing(doing)?).collect()
}

fn read(row: &Row<'_>) -> Result<Question> {
    let doing = "cannot read a question";
    let what = "a question";
    let run: String = row.get(0).doing(doing)?;
    let time =
        |column| -> Result<Option<Timestamp>> { Ok(row.get::<_, Option<i64>>(column).doing(doing)?.map(time_of)) };
    let wanted = |column| -> Result<Timestamp> { Ok(time_of(row.get(column).doing(doing)?)) };
    let answer = match row.get::<_, Option<bool>>(10).doing(doing)? {
        Some(allowed) => Some(Answer {
            allowed,
            who: row.get(11).doing(doing)?,
            why: row.get(12).doing(doing)?,
            at: wanted(13)?,
            expires_at: wanted(14)?,
        }),
        None => None,
    };
    Ok(Question {
        run: from_json_string(what, &run)?,
        number: row.get(1).doing(doing)?,
        attempt: row.get(2).doing(doing)?,
        action: from_json(what, &row.get::<_, String>(3).doing(doing)?)?,
        rule: row.get(4).doing(doing)?,
        why: row.get(5).doing(doing)?,
        said: row.get(6).doing(doing)?,
        times: row.get(7).doing(doing)?,
        asked_at: wanted(8)?,
        expires_at: wanted(9)?,
        answer,
        used_at: time(15)?,
    })
}

/// See [`Store::ask`](crate::store::Store::ask).
pub(super) fn ask(tx: &Transaction<'_>, run: &Run, asked: &[Asked], now: Timestamp) -> Result<()> {
    let known = of_run(tx, run.id)?;
    let before = known.last().map_or(0, |question| question.number);
    let mut number = before;
    for asked in asked.iter().take(QUESTIONS_MAX) {
        // A directory whose name is no text cannot be written down exactly: nobody is asked about it.
        let Ok(action) = to_json("an action", &asked.action) else { continue };
        number = number.saturating_add(1);
        tx.prepare_cached(
            "INSERT INTO questions (run, number, attempt, action, rule, why, said, times, asked_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                run.id.to_string(),
                number,
                run.attempt,
                action,
                asked.rule,
                asked.why,
                asked.said,
                asked.times,
                signed(now.millis()),
                signed(now.plus(EXPIRES_AFTER).millis()),
            ])
        })
        .doing("cannot record a question")?;
    }
    if number == before {
        return Err(StoreError::NothingToAsk(run.id));
    }
    Ok(())
}

/// See [`Store::answer`](crate::store::Store::answer).
pub(super) fn answer(tx: &Transaction<'_>, run: &Run, number: u32, answer: &Answer) -> Result<State> {
    let questions = of_run(tx, run.id)?;
    let question = questions
        .iter()
        .find(|question| question.number == number)
        .ok_or_else(|| StoreError::NoSuchQuestion(format!("{}.{number}", run.id.short())))?;
    let standing = question.standing(run.state, answer.at);
    if standing != Standing::Open {
        return Err(StoreError::NotOpen { question: Box::new(question.clone()), standing, state: run.state });
    }
    tx.execute(
        "INSERT INTO answers (run, number, allowed, who, why, at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            run.id.to_string(),
            number,
            answer.allowed,
            answer.who,
            answer.why,
            signed(answer.at.millis()),
            signed(answer.expires_at.millis()),
        ],
    )
    .doing("cannot record an answer")?;
    go_on(tx, run, answer.at)
}

/// Puts a waiting run back into the queue if none of its questions is open any more and one was answered.
fn go_on(tx: &Transaction<'_>, run: &Run, now: Timestamp) -> Result<State> {
    let questions = of_run(tx, run.id)?;
    let of_this_wait = questions.iter().filter(|question| question.attempt == run.attempt);
    let (mut allowed, mut rejected, mut expired) = (0, 0, 0);
    for question in of_this_wait {
        match question.standing(run.state, now) {
            Standing::Open => return Ok(run.state),
            Standing::Rejected => rejected += 1,
            Standing::Allowed | Standing::Used => allowed += 1,
            Standing::Expired | Standing::Closed => expired += 1,
        }
    }
    let transition = if allowed + rejected > 0 {
        let expired = if expired > 0 { format!(", {expired} not answered") } else { String::new() };
        Transition::of(Happening::Resumed, format!("a person allowed {allowed} and refused {rejected}{expired}"))
    } else {
        let next = format!("git orchestrator retry {}", run.id.short());
        Transition::of(Happening::Cancelled, format!("nobody answered its questions in time · {next}"))
    };
    apply(tx, run, &transition, now)
}

/// See [`Store::expire_questions`](crate::store::Store::expire_questions).
pub(super) fn expire(tx: &Transaction<'_>, now: Timestamp) -> Result<usize> {
    let mut moved = 0;
    for run in expirable(tx, now)? {
        if go_on(tx, &run, now)? != State::Waiting {
            moved += 1;
        }
    }
    Ok(moved)
}

/// Waiting runs none of whose questions is open any more.
pub(super) fn expirable(connection: &Connection, now: Timestamp) -> Result<Vec<Run>> {
    select_runs(
        connection,
        "WHERE state = 'waiting' AND EXISTS (SELECT 1 FROM questions q WHERE q.run = runs.id) AND NOT EXISTS (
             SELECT 1 FROM questions q LEFT JOIN answers a USING (run, number)
             WHERE q.run = runs.id AND a.at IS NULL AND q.expires_at > ?1)",
        &[&signed(now.millis())],
    )
}

/// See [`Store::redeem`](crate::store::Store::redeem).
pub(super) fn redeem(tx: &Transaction<'_>, claim: &Claim, action: &Action, now: Timestamp) -> Result<Word> {
    let (run, token) = one_run(tx, claim.run)?;
    if token != claim.token {
        return Err(StoreError::StaleClaim { run: claim.run });
    }
    // A person who stops the run takes back what was allowed.
    if run.state != State::Running || run.cancel_requested {
        return Ok(Word::None);
    }
    let mut rejected = None;
    for mut question in of_run(tx, run.id)? {
        // Exactly this action: nothing that begins, ends or reads like it.
        if question.action != *action {
            continue;
        }
        match question.standing(run.state, now) {
            Standing::Allowed => {
                tx.execute(
                    "INSERT INTO uses (run, number, attempt, at) VALUES (?1, ?2, ?3, ?4)",
                    params![run.id.to_string(), question.number, run.attempt, signed(now.millis())],
                )
                .doing("cannot record that a permission is used")?;
                question.used_at = Some(now);
                return Ok(Word::Allowed(Box::new(question)));
            }
            Standing::Rejected => rejected = Some(question),
            Standing::Open | Standing::Expired | Standing::Closed | Standing::Used => {}
        }
    }
    Ok(rejected.map_or(Word::None, |question| Word::Rejected(Box::new(question))))
}
