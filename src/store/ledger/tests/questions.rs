//! Questions to a person: one answer, one use, by the holder of the claim only, and not for ever.

use super::*;
use crate::store::question::{EXPIRES_AFTER, Standing};

fn command(line: &str) -> Action {
    Action::Command { line: line.to_owned(), directory: Some(PathBuf::from("/w")) }
}

fn question(line: &str) -> Asked {
    Asked { action: command(line), rule: "not-listed".into(), why: "w".into(), said: "s".into(), times: 2 }
}

fn said(allowed: bool, at: Timestamp) -> Answer {
    Answer { allowed, who: "Ada".into(), why: "because".into(), at, expires_at: at.plus(Duration::from_secs(60)) }
}

/// A run that waits for an answer to these.
fn waiting(ledger: &mut Ledger, lines: &[&str]) -> Run {
    ledger.take_in(&plan_for(1, Hook::PostCommit, vec![row("test", Coalesce::None, Starts::Now)])).unwrap();
    let (claim, _) = claim_next(ledger).unwrap();
    happen(ledger, &claim, &[Happening::Prepared, Happening::Answered]);
    let asked: Vec<_> = lines.iter().map(|line| question(line)).collect();
    let state = ledger.ask(&claim, &asked, Transition::of(Happening::Questioned, "asks")).unwrap();
    assert_eq!(state, State::Waiting);
    ledger.run(claim.run).unwrap()
}

/// Goes on with the run up to where a turn begins.
fn running(ledger: &mut Ledger) -> Claim {
    let (claim, _) = claim_next(ledger).unwrap();
    happen(ledger, &claim, &[Happening::Prepared]);
    claim
}

#[test]
fn a_permission_holds_for_exactly_that_action_once_and_for_the_holder_of_the_claim() {
    let (dir, mut ledger) = ledger();
    let now = Timestamp::now();
    let run = waiting(&mut ledger, &["npm ci"]);
    let read = ledger.questions(run.id).unwrap();
    assert_eq!((read[0].number, &read[0].action, read[0].times, read[0].attempt), (1, &command("npm ci"), 2, 1));
    assert!(claim_next(&mut ledger).is_none(), "a waiting run is not begun");
    assert_eq!(ledger.answer(run.id, 1, &said(true, now)).unwrap(), State::Queued);
    let again = ledger.answer(run.id, 1, &said(false, now));
    assert!(matches!(again, Err(StoreError::NotOpen { standing: Standing::Allowed, .. })), "{again:?}");

    let stale = running(&mut ledger);
    assert_eq!(ledger.run(run.id).unwrap().tries(), 1, "an answer is no new try");
    let elsewhere = Action::Command { line: "npm ci".into(), directory: Some("/x".into()) };
    let unplaced = Action::Command { line: "npm ci".into(), directory: None };
    for other in [command("npm ci "), command("npm"), command("npm ci --x"), elsewhere, unplaced] {
        assert_eq!(ledger.redeem(&stale, &other, now).unwrap(), Word::None, "{other:?}");
    }
    ledger.recover().unwrap();
    let claim = running(&mut ledger);
    assert!(matches!(ledger.redeem(&stale, &command("npm ci"), now), Err(StoreError::StaleClaim { .. })));
    assert!(matches!(ledger.redeem(&claim, &command("npm ci"), now), Ok(Word::Allowed(_))));
    // Whoever opens the ledger after a crash finds it used.
    drop(ledger);
    let mut ledger = Ledger::open(&dir.path().join("ledger.db")).unwrap();
    assert_eq!(ledger.redeem(&claim, &command("npm ci"), now).unwrap(), Word::None);
    ledger.recover().unwrap();
    let next = running(&mut ledger);
    assert_eq!(ledger.redeem(&next, &command("npm ci"), now).unwrap(), Word::None);
    assert_eq!(ledger.questions(run.id).unwrap()[0].standing(State::Running, now), Standing::Used);
}

#[test]
fn of_many_who_use_a_permission_at_once_one_is_told_yes() {
    let (dir, mut ledger) = ledger();
    let now = Timestamp::now();
    let run = waiting(&mut ledger, &["npm ci"]);
    ledger.answer(run.id, 1, &said(true, now)).unwrap();
    let claim = running(&mut ledger);
    let path = dir.path().join("ledger.db");
    let use_it = || Ledger::open(&path).unwrap().redeem(&claim, &command("npm ci"), now).unwrap() != Word::None;
    let yes = std::thread::scope(|threads| {
        let all: Vec<_> = (0..8).map(|_| threads.spawn(use_it)).collect();
        all.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
    });
    assert_eq!(yes, 1);
}

#[test]
fn what_was_refused_or_is_too_old_or_belongs_to_a_run_that_is_to_stop_is_not_allowed() {
    let (_dir, mut ledger) = ledger();
    let now = Timestamp::now();
    let run = waiting(&mut ledger, &["one", "two", "three"]);
    assert_eq!(ledger.answer(run.id, 1, &said(false, now)).unwrap(), State::Waiting, "two more are open");
    assert_eq!(ledger.answer(run.id, 2, &said(true, now)).unwrap(), State::Waiting);
    assert!(matches!(ledger.answer(run.id, 4, &said(true, now)), Err(StoreError::NoSuchQuestion(_))));
    assert_eq!(ledger.answer(run.id, 3, &said(true, now)).unwrap(), State::Queued);
    let claim = running(&mut ledger);
    let Word::Rejected(question) = ledger.redeem(&claim, &command("one"), now).unwrap() else { panic!("refused") };
    assert_eq!(question.answer.unwrap().why, "because");
    let late = now.plus(Duration::from_secs(60));
    assert_eq!(ledger.redeem(&claim, &command("two"), late).unwrap(), Word::None, "it is too old");
    ledger.request_cancel(run.id, "a person").unwrap();
    assert_eq!(ledger.redeem(&claim, &command("three"), now).unwrap(), Word::None, "the run is to stop");
}

#[test]
fn a_question_that_nobody_answers_ends_its_run_and_one_answer_lets_it_go_on() {
    for answered in [false, true] {
        let (_dir, mut ledger) = ledger();
        let run = waiting(&mut ledger, &["one", "two"]);
        let now = Timestamp::now();
        if answered {
            ledger.answer(run.id, 1, &said(false, now)).unwrap();
        }
        assert_eq!(ledger.expire_questions(now).unwrap(), 0);
        let later = now.plus(EXPIRES_AFTER);
        let late = ledger.answer(run.id, 2, &said(true, later));
        assert!(matches!(late, Err(StoreError::NotOpen { standing: Standing::Expired, .. })), "{late:?}");
        assert_eq!(ledger.expire_questions(later).unwrap(), 1);
        let run = ledger.run(run.id).unwrap();
        if answered {
            assert_eq!(run.state, State::Queued);
            assert!(run.reason.contains("refused 1, 1 not answered"), "{}", run.reason);
        } else {
            assert_eq!(run.state, State::Cancelled);
            assert!(run.reason.contains("git orchestrator retry"), "{}", run.reason);
        }
        assert_eq!(ledger.expire_questions(later).unwrap(), 0);
    }
}

#[test]
fn a_run_that_is_over_takes_no_answer() {
    let (_dir, mut ledger) = ledger();
    let now = Timestamp::now();
    let run = waiting(&mut ledger, &["one"]);
    ledger.decide(run.id, Transition::of(Happening::Superseded, "a newer one")).unwrap();
    let late = ledger.answer(run.id, 1, &said(true, now));
    assert!(matches!(late, Err(StoreError::NotOpen { standing: Standing::Closed, .. })), "{late:?}");
}

#[test]
fn a_ledger_of_the_first_format_is_brought_up_to_date_and_can_be_looked_at_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(FORMATS[0].1).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    let read = Ledger::open_to_read(&path).unwrap().unwrap();
    assert!(read.runs(&Filter::default()).unwrap().is_empty());
    drop(read);
    let mut ledger = Ledger::open(&path).unwrap();
    waiting(&mut ledger, &["one"]);
    drop(ledger);
    assert_eq!(Ledger::open(&path).unwrap().counts().unwrap()[&State::Waiting], 1);
}
