//! A run's life: the states, what can happen to it, and the one table that says what follows from what.
//!
//! The ledger stores what happened; the state is what those happenings fold to, by [`fold`] and nothing else, live and
//! in recovery alike. This module does no I/O and knows neither git nor runtimes.

use serde::{Deserialize, Serialize};

use self::Happening as H;
use self::State as S;

/// Where a run stands. The words are the ones `status` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    // Variants in the order `status` counts them.
    /// Waits for the worker.
    Queued,
    /// Waits for a person to release it: trust, budget or autonomy.
    Held,
    /// Its workspace and its package are being made.
    Preparing,
    /// A runtime carries it out.
    Running,
    /// Waits for a person's answer.
    Waiting,
    /// The answer is being checked.
    Validating,
    /// The artifact is being written.
    Publishing,
    /// Done, with a checked artifact.
    Succeeded,
    /// Done, but what was seen or said is not enough for a verdict. Not a pass.
    Inconclusive,
    /// Ended without an artifact.
    Failed,
    /// A person ended it.
    Cancelled,
    /// A newer job took its place, or earlier ones did its work.
    Superseded,
}

impl State {
    /// All states, in the order they are shown.
    pub const ALL: [Self; 12] = [
        S::Queued,
        S::Held,
        S::Preparing,
        S::Running,
        S::Waiting,
        S::Validating,
        S::Publishing,
        S::Succeeded,
        S::Inconclusive,
        S::Failed,
        S::Cancelled,
        S::Superseded,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            S::Queued => "queued",
            S::Held => "held",
            S::Preparing => "preparing",
            S::Running => "running",
            S::Waiting => "waiting",
            S::Validating => "validating",
            S::Publishing => "publishing",
            S::Succeeded => "succeeded",
            S::Inconclusive => "inconclusive",
            S::Failed => "failed",
            S::Cancelled => "cancelled",
            S::Superseded => "superseded",
        }
    }

    /// The state of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Nothing can happen to the run any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, S::Succeeded | S::Inconclusive | S::Failed | S::Cancelled | S::Superseded)
    }

    /// The worker is on it right now.
    pub fn is_active(self) -> bool {
        matches!(self, S::Preparing | S::Running | S::Validating | S::Publishing)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What can happen to a run, in the past tense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happening {
    /// A newer event of the same kind was taken up before the run had begun.
    Absorbed,
    /// Something in the repository has to end before it may begin, or has ended: the reason says which.
    Deferred,
    /// Trust, budget or autonomy forbade it for now.
    Held,
    /// A person released it.
    Released,
    /// A person accepted the rules for want of which it was held. Whether those rules admit it is asked as of any other.
    Accepted,
    /// The worker took it.
    Claimed,
    /// Workspace and package are ready.
    Prepared,
    /// The runtime answered.
    Answered,
    /// The runtime, or its answer, asked for a person.
    Questioned,
    /// The person answered.
    Resumed,
    /// The answer did not fit and is asked for once more, on the same thread.
    Repaired,
    /// The answer was checked.
    Validated,
    /// The artifact lies where people look.
    Published,
    /// The check found too little to stand on; the artifact says so.
    PublishedInconclusive,
    /// The answer does not fit, and asking once more did not help: there is no artifact.
    Rejected,
    /// The attempt failed in a way that another attempt may mend.
    AttemptFailed,
    /// The worker died over it; the next one takes it up.
    Recovered,
    /// It failed for good.
    Failed,
    /// A person cancelled it.
    Cancelled,
    /// A newer job took its place, or earlier ones did its work.
    Superseded,
}

impl Happening {
    /// Everything that can happen.
    pub const ALL: [Self; 20] = [
        H::Absorbed,
        H::Deferred,
        H::Held,
        H::Released,
        H::Accepted,
        H::Claimed,
        H::Prepared,
        H::Answered,
        H::Questioned,
        H::Resumed,
        H::Repaired,
        H::Validated,
        H::Published,
        H::PublishedInconclusive,
        H::Rejected,
        H::AttemptFailed,
        H::Recovered,
        H::Failed,
        H::Cancelled,
        H::Superseded,
    ];

    /// The word for it, as the ledger stores it.
    pub fn as_str(self) -> &'static str {
        match self {
            H::Absorbed => "absorbed",
            H::Deferred => "deferred",
            H::Held => "held",
            H::Released => "released",
            H::Accepted => "accepted",
            H::Claimed => "claimed",
            H::Prepared => "prepared",
            H::Answered => "answered",
            H::Questioned => "questioned",
            H::Resumed => "resumed",
            H::Repaired => "repaired",
            H::Validated => "validated",
            H::Published => "published",
            H::PublishedInconclusive => "published-inconclusive",
            H::Rejected => "rejected",
            H::AttemptFailed => "attempt-failed",
            H::Recovered => "recovered",
            H::Failed => "failed",
            H::Cancelled => "cancelled",
            H::Superseded => "superseded",
        }
    }

    /// The happening of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|happening| happening.as_str() == text)
    }
}

/// Every transition there is. A pair that is not listed does not happen: [`after`] refuses it.
pub const TRANSITIONS: &[(State, Happening, State)] = &[
    (S::Queued, H::Absorbed, S::Queued),
    (S::Queued, H::Deferred, S::Queued),
    (S::Queued, H::Held, S::Held),
    (S::Queued, H::Claimed, S::Preparing),
    (S::Queued, H::Cancelled, S::Cancelled),
    (S::Queued, H::Superseded, S::Superseded),
    (S::Queued, H::Failed, S::Failed),
    (S::Held, H::Absorbed, S::Held),
    (S::Held, H::Released, S::Queued),
    (S::Held, H::Accepted, S::Queued),
    (S::Held, H::Cancelled, S::Cancelled),
    (S::Held, H::Superseded, S::Superseded),
    (S::Preparing, H::Prepared, S::Running),
    (S::Preparing, H::AttemptFailed, S::Queued),
    (S::Preparing, H::Recovered, S::Queued),
    (S::Preparing, H::Failed, S::Failed),
    (S::Preparing, H::Cancelled, S::Cancelled),
    (S::Preparing, H::Superseded, S::Superseded),
    (S::Running, H::Answered, S::Validating),
    (S::Running, H::Questioned, S::Waiting),
    (S::Running, H::AttemptFailed, S::Queued),
    (S::Running, H::Recovered, S::Queued),
    (S::Running, H::Failed, S::Failed),
    (S::Running, H::Cancelled, S::Cancelled),
    (S::Running, H::Superseded, S::Superseded),
    (S::Waiting, H::Resumed, S::Queued),
    (S::Waiting, H::Cancelled, S::Cancelled),
    (S::Waiting, H::Superseded, S::Superseded),
    (S::Waiting, H::Failed, S::Failed),
    (S::Validating, H::Repaired, S::Running),
    (S::Validating, H::Validated, S::Publishing),
    (S::Validating, H::Rejected, S::Inconclusive),
    (S::Validating, H::Questioned, S::Waiting),
    (S::Validating, H::AttemptFailed, S::Queued),
    (S::Validating, H::Recovered, S::Queued),
    (S::Validating, H::Failed, S::Failed),
    (S::Validating, H::Cancelled, S::Cancelled),
    (S::Validating, H::Superseded, S::Superseded),
    (S::Publishing, H::Published, S::Succeeded),
    (S::Publishing, H::PublishedInconclusive, S::Inconclusive),
    (S::Publishing, H::Recovered, S::Queued),
    (S::Publishing, H::Failed, S::Failed),
    (S::Publishing, H::Cancelled, S::Cancelled),
    (S::Publishing, H::Superseded, S::Superseded),
];

/// The state after `happening`, or `None` if that cannot happen in `state`.
pub fn after(state: State, happening: Happening) -> Option<State> {
    TRANSITIONS.iter().find(|(from, what, _)| *from == state && *what == happening).map(|(_, _, to)| *to)
}

/// The state that a history folds to, from `Queued`. `Err` names the first happening that cannot have happened.
pub fn fold(history: impl IntoIterator<Item = Happening>) -> Result<State, (State, Happening)> {
    history.into_iter().try_fold(S::Queued, |state, happening| after(state, happening).ok_or((state, happening)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_deterministic_and_nothing_leaves_a_terminal_state() {
        for (i, (from, what, _)) in TRANSITIONS.iter().enumerate() {
            assert!(!from.is_terminal(), "{from} is terminal");
            assert!(TRANSITIONS[i + 1..].iter().all(|(f, w, _)| (f, w) != (from, what)), "{from} {what:?} twice");
        }
    }

    #[test]
    fn every_state_can_be_reached_and_every_state_can_end() {
        let mut reached = vec![S::Queued];
        while let Some((_, _, to)) =
            TRANSITIONS.iter().find(|(from, _, to)| reached.contains(from) && !reached.contains(to))
        {
            reached.push(*to);
        }
        for state in State::ALL {
            assert!(reached.contains(&state), "{state} cannot be reached");
            assert!(state.is_terminal() || after(state, H::Cancelled) == Some(S::Cancelled), "{state} cannot end");
        }
        for happening in Happening::ALL {
            assert!(TRANSITIONS.iter().any(|(_, what, _)| *what == happening), "{happening:?} never happens");
        }
    }

    #[test]
    fn success_needs_a_claim_an_answer_and_a_check() {
        let way = [H::Claimed, H::Prepared, H::Answered, H::Validated, H::Published];
        assert_eq!(fold(way), Ok(S::Succeeded));
        for left_out in 0..way.len() - 1 {
            let shorter = way.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, h)| *h);
            assert!(fold(shorter).is_err(), "without {:?}", way[left_out]);
        }
        assert!(fold([H::Held, H::Claimed]).is_err(), "a held run is not executed");
    }

    #[test]
    fn names_round_trip() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for happening in Happening::ALL {
            assert_eq!(Happening::parse(happening.as_str()), Some(happening));
            assert_eq!(serde_json::to_value(happening).unwrap(), happening.as_str());
        }
    }
}
