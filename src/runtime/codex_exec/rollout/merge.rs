//! Which commands of the record the stream did not report, and what is to be said of them.
//!
//! The stream numbers its items and the record has the model's call ids; what both have is the line and, at the end, the
//! exit code. So commands are paired by these two, the surest pairs first. That the same line was executed several
//! times, with different ends, is the usual case of a test that is run again, and parallel calls start in one order and
//! end in another: only the number of pairs with the same line and end decides, never a position.

use std::collections::HashMap;
use std::time::Duration;

use super::lines::{Call, End, Told, shown};
use crate::clock::Timestamp;
use crate::runtime::activity::{Activity, Ran, Status};
use crate::text;

/// How many scripts are told of that came to nothing.
const SCRIPTS_TOLD: usize = 100;

/// A command as the stream had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::runtime) struct Streamed {
    /// Its item.
    pub(in crate::runtime) id: String,
    /// Its line.
    pub(in crate::runtime) line: String,
    /// Its exit code and when the end was recorded; `None` while it runs.
    pub(in crate::runtime) end: Option<(Option<i32>, Timestamp)>,
}

/// What the stream lacks, in the order in which it ended.
pub(super) fn missing(told: Told, streamed: &[Streamed]) -> Vec<Activity> {
    let Told { calls, mut warnings, scripted, scripts, .. } = told;
    let pairs = Pairs::of(&calls, streamed);
    let mut found: Vec<(usize, Activity)> = Vec::new();
    let mut order: Vec<usize> = (0..calls.len()).collect();
    order.sort_by_key(|index| calls.get(*index).map_or(usize::MAX, place));
    // A command ends no earlier than those that Codex noted before it: the stream's clock is ours, the record's is not.
    let mut not_before = Timestamp::from_millis(0);
    for index in order {
        let Some(call) = calls.get(index) else { continue };
        let item = pairs.of_call.get(&index).and_then(|at| streamed.get(*at));
        if let Some((_, seen)) = item.and_then(|item| item.end) {
            not_before = not_before.max(seen.plus(Duration::from_millis(1)));
            continue;
        }
        if call.end == End::Patch {
            continue;
        }
        let id = item.map_or_else(|| format!("rollout_{index}"), |item| item.id.clone());
        if item.is_none() {
            found.push((place(call), Activity::CommandStarted { id: id.clone(), command: call.line.clone() }));
        }
        let (exit_code, status) = match call.end {
            End::Exited(code) => (Some(code), if code == 0 { Status::Completed } else { Status::Failed }),
            End::Refused if item.is_none() => (None, Status::Declined),
            // It ended with the turn, or was interrupted.
            End::Refused | End::Unknown | End::Running | End::Patch => (None, Status::Failed),
        };
        let ended = call.ended.and_then(|(_, at)| at);
        let ran = call.asked.zip(ended).map(|(asked, ended)| Ran { began: asked, ended: ended.max(not_before) });
        let finished = Activity::CommandFinished {
            id,
            command: call.line.clone(),
            exit_code,
            status,
            output: call.output.clone(),
            output_bytes: call.output_bytes,
            ran,
        };
        found.push((place(call), finished));
    }
    if let Some(message) = unknown(&pairs, streamed, scripted) {
        warnings.push((usize::MAX, message));
        let untold = scripts.iter().filter(|script| !streamed.iter().any(|item| names(script, &item.line)));
        warnings.extend(
            untold
                .take(SCRIPTS_TOLD)
                .map(|script| (usize::MAX, format!("a script of whose commands nothing was told: {}", shown(script)))),
        );
    }
    found.extend(warnings.into_iter().map(|(place, message)| (place, Activity::Warning { message })));
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, activity)| activity).collect()
}

/// Whether the script holds this line as a string of JavaScript.
fn names(script: &str, line: &str) -> bool {
    let plain = ["'", "\"", "`"].iter().any(|quote| script.contains(&format!("{quote}{line}{quote}")));
    plain || script.contains(&serde_json::Value::from(line).to_string())
}

fn place(call: &Call) -> usize {
    call.ended.map_or(usize::MAX, |(line, _)| line)
}

/// What is known to be missing and cannot be told.
fn unknown(pairs: &Pairs, streamed: &[Streamed], scripted: usize) -> Option<String> {
    let unpaired =
        || streamed.iter().enumerate().filter(|(at, _)| !pairs.is_streamed_paired(*at)).map(|(_, item)| item);
    let mut open = unpaired().filter(|item| item.end.is_none());
    if let Some(first) = open.next() {
        let line = text::clipped(&first.line, 80).into_owned();
        let more = match open.count() {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        return Some(format!("Codex did not say how `{line}`{more} ended: the record may be incomplete"));
    }
    let executed = unpaired().count();
    (executed < scripted).then(|| {
        format!(
            "scripts of the model's name commands {scripted} times and Codex told of {executed}: \
             the record may be incomplete"
        )
    })
}

/// Which item of the stream is which call.
struct Pairs {
    of_call: HashMap<usize, usize>,
    streamed: Vec<bool>,
}

impl Pairs {
    fn of(calls: &[Call], streamed: &[Streamed]) -> Self {
        let mut by_line: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, call) in calls.iter().enumerate().filter(|(_, call)| call.end != End::Patch) {
            by_line.entry(call.line.as_str()).or_default().push(index);
        }
        let mut pairs = Self { of_call: HashMap::new(), streamed: vec![false; streamed.len()] };
        let known = |call: &Call| match call.end {
            End::Exited(code) => Some(code),
            End::Unknown | End::Running | End::Refused | End::Patch => None,
        };
        // What ended: first those that Codex noted with this end, then those that ended so, then those of which only one
        // side says how they ended.
        pairs.join(streamed, &by_line, |item, index| {
            calls.get(index).is_some_and(|call| item.end.is_some_and(|(code, _)| code.is_some() && call.noted == code))
        });
        pairs.join(streamed, &by_line, |item, index| {
            calls.get(index).is_some_and(|call| item.end.is_some_and(|(code, _)| code.is_some() && known(call) == code))
        });
        pairs.join(streamed, &by_line, |item, index| {
            calls
                .get(index)
                .is_some_and(|call| item.end.is_some_and(|(code, _)| code.is_none() || known(call).is_none()))
        });
        // What has begun and has no end in the stream: whatever is left of its line, if it was executed rather.
        pairs.join(streamed, &by_line, |item, index| {
            calls.get(index).is_some_and(|call| item.end.is_none() && call.end != End::Refused)
        });
        pairs.join(streamed, &by_line, |item, _| item.end.is_none());
        pairs
    }

    /// Pairs each item that has no call yet with the first call of its line that has no item and fits.
    fn join(
        &mut self,
        streamed: &[Streamed],
        by_line: &HashMap<&str, Vec<usize>>,
        fits: impl Fn(&Streamed, usize) -> bool,
    ) {
        for (at, item) in streamed.iter().enumerate() {
            if self.is_streamed_paired(at) {
                continue;
            }
            let mut same_line = by_line.get(item.line.as_str()).into_iter().flatten().copied();
            if let Some(index) = same_line.find(|index| !self.of_call.contains_key(index) && fits(item, *index)) {
                self.of_call.insert(index, at);
                if let Some(paired) = self.streamed.get_mut(at) {
                    *paired = true;
                }
            }
        }
    }

    fn is_streamed_paired(&self, at: usize) -> bool {
        self.streamed.get(at).copied().unwrap_or(true)
    }
}
