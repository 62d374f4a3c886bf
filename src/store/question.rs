//! What a run asks a person for, and what the person says to it.
//!
//! A question is about one exact action of one run. It is written once; what becomes of it is added beside it and never
//! changed. A word for it holds in that run alone, for that action alone, once, and for a limited time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Run;
use crate::clock::Timestamp;
use crate::ids::RunId;
use crate::policy::Action;
use crate::run::State;

/// How long a question waits for an answer, and how long a permission waits for its use.
pub const EXPIRES_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// How many questions one attempt may ask: a person reads each of them.
pub const QUESTIONS_MAX: usize = 20;

/// What a run asks for, before it has a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What it would do.
    pub action: Action,
    /// The rule that refused it.
    pub rule: String,
    /// Why the rule did, as a sentence.
    pub why: String,
    /// What the agent said about it; empty if nothing. Foreign text.
    pub said: String,
    /// How often it tried.
    pub times: u32,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The run.
    pub run: RunId,
    /// Its place among the questions of the run, from 1.
    pub number: u32,
    /// The attempt that asked.
    pub attempt: u32,
    /// What it would do: exactly this, nothing like it.
    pub action: Action,
    /// The rule that refused it.
    pub rule: String,
    /// Why the rule did, as a sentence.
    pub why: String,
    /// What the agent said about it. Foreign text.
    pub said: String,
    /// How often it tried.
    pub times: u32,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Until when it may be answered.
    pub expires_at: Timestamp,
    /// What a person said.
    pub answer: Option<Answer>,
    /// When the permission was used up.
    pub used_at: Option<Timestamp>,
}

/// What a person said to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Allowed, once; or not.
    pub allowed: bool,
    /// Who.
    pub who: String,
    /// Why, if they said. The agent reads it.
    pub why: String,
    /// When.
    pub at: Timestamp,
    /// Until when a permission may be used.
    pub expires_at: Timestamp,
}

/// How a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It waits for a person.
    Open,
    /// Nobody answered in time.
    Expired,
    /// Its run no longer waits, and nobody answered.
    Closed,
    /// Allowed, and not used yet.
    Allowed,
    /// Allowed and used.
    Used,
    /// Refused by a person.
    Rejected,
}

impl Question {
    /// What a person types: the run's last digits and the question's number.
    pub fn id(&self) -> String {
        format!("{}.{}", self.run.short(), self.number)
    }

    /// How it stands at `now`, if its run is in this state.
    pub fn standing(&self, run: State, now: Timestamp) -> Standing {
        match &self.answer {
            Some(answer) if !answer.allowed => Standing::Rejected,
            Some(_) if self.used_at.is_some() => Standing::Used,
            Some(answer) if answer.expires_at <= now => Standing::Expired,
            Some(_) if run.is_terminal() => Standing::Closed,
            Some(_) => Standing::Allowed,
            None if self.expires_at <= now => Standing::Expired,
            None if run != State::Waiting => Standing::Closed,
            None => Standing::Open,
        }
    }

    /// Whether it waits for a person at `now`.
    pub fn is_open(&self, run: &Run, now: Timestamp) -> bool {
        self.standing(run.state, now) == Standing::Open
    }
}

/// What persons said about an action that a run is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Nothing that holds.
    None,
    /// It may, this once: the permission is used up by now.
    Allowed(Box<Question>),
    /// It may not.
    Rejected(Box<Question>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_open_only_while_its_run_waits_and_its_time_is_not_over() {
        let at = Timestamp::from_millis;
        let question = Question {
            run: RunId::new(),
            number: 1,
            attempt: 1,
            action: Action::Command { line: "npm ci".into(), directory: None },
            rule: String::new(),
            why: String::new(),
            said: String::new(),
            times: 1,
            asked_at: at(10),
            expires_at: at(20),
            answer: None,
            used_at: None,
        };
        assert_eq!(question.standing(State::Waiting, at(19)), Standing::Open);
        assert_eq!(question.standing(State::Waiting, at(20)), Standing::Expired);
        assert_eq!(question.standing(State::Cancelled, at(19)), Standing::Closed);
        let answer = |allowed| Answer { allowed, who: "A".into(), why: String::new(), at: at(15), expires_at: at(30) };
        let answered = |allowed| Question { answer: Some(answer(allowed)), ..question.clone() };
        assert_eq!(answered(false).standing(State::Running, at(40)), Standing::Rejected);
        assert_eq!(answered(true).standing(State::Running, at(29)), Standing::Allowed);
        assert_eq!(answered(true).standing(State::Running, at(30)), Standing::Expired);
        assert_eq!(answered(true).standing(State::Failed, at(29)), Standing::Closed);
        let used = Question { used_at: Some(at(16)), ..answered(true) };
        assert_eq!(used.standing(State::Running, at(17)), Standing::Used);
    }
}
