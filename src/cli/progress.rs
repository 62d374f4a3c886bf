//! Following runs while they go: a live line on a terminal, plain lines in a pipe.
//!
//! Reads what everybody may read, the ledger and the runs' `events.jsonl`; a follower that is killed changes nothing.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::ui::{BOLD, CYAN, DIM, Ui, state_style};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::files;
use crate::ids::RunId;
use crate::policy::gatekeeper::Verdict;
use crate::policy::{Action, Decision};
use crate::run::State;
use crate::runtime::Activity;
use crate::runtime::activity::{Recorded, Status};
use crate::runtime::refusals::{described, is_by_a_person};
use crate::store::Run;
use crate::text;

/// How often a follower looks.
pub const INTERVAL: Duration = Duration::from_millis(120);

/// The most that is read of a record at once, in bytes; the rest comes with the next look.
const CHUNK_BYTES: u64 = 1 << 20;

/// How much of an action a line about a decision repeats, in characters.
const DECIDED_CHARS: usize = 120;

/// Waits for one interval.
#[expect(clippy::disallowed_methods, reason = "looks at what another process writes; nothing announces it")]
pub fn pause() {
    std::thread::sleep(INTERVAL);
}

/// Reads the lines of a growing `events.jsonl`.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    offset: u64,
    partial: Vec<u8>,
}

impl Tail {
    /// From the beginning.
    pub fn new(path: PathBuf) -> Self {
        Self { path, offset: 0, partial: Vec::new() }
    }

    /// What came since the last call; nothing while the file is not there.
    pub fn read(&mut self) -> Vec<Recorded> {
        let mut found = Vec::new();
        while let Some(bytes) = self.chunk() {
            self.partial.extend_from_slice(&bytes);
            while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.partial.drain(..=end).collect();
                // A line of another version, or a torn one: the next line is read all the same.
                found.extend(serde_json::from_slice(&line).ok());
            }
        }
        found
    }

    fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut file = files::open(&self.path).ok()??;
        file.seek(SeekFrom::Start(self.offset)).ok()?;
        let mut bytes = Vec::new();
        file.take(CHUNK_BYTES).read_to_end(&mut bytes).ok()?;
        self.offset += bytes.len() as u64;
        (!bytes.is_empty()).then_some(bytes)
    }
}

/// What is known of a run that is being followed.
struct Followed {
    tail: Tail,
    state: Option<State>,
    reason: String,
    live: LiveLine,
}

/// The line of a terminal that says what a run does right now, since when, and what it has used.
#[derive(Debug, Default)]
pub struct LiveLine {
    doing: String,
    tokens: u64,
    frame: usize,
}

impl LiveLine {
    /// Takes notice of what happened.
    pub fn learn(&mut self, recorded: &[Recorded]) {
        for recorded in recorded {
            if let Activity::TurnFinished { usage } = &recorded.activity {
                self.tokens = usage.total();
            }
            if let Some(line) = activity_line(&recorded.activity) {
                self.doing = line;
            }
        }
    }

    /// Draws the line anew.
    pub fn show(&mut self, ui: &mut Ui, run: &Run) {
        self.frame = (self.frame + 1) % FRAMES.len();
        let width = ui.width().unwrap_or(80).saturating_sub(1);
        let time = run.started_at.map_or(Duration::ZERO, |at| Timestamp::now().since(at));
        let doing = if self.doing.is_empty() { run.state.as_str() } else { &self.doing };
        let tokens = if self.tokens == 0 { String::new() } else { format!(" · {} tokens", text::count(self.tokens)) };
        let (frame, role, commit) = (FRAMES[self.frame], &run.job.row.role, run.job.change.head.short());
        let plain = format!("{frame} {role:<9} {commit}  {}{tokens} · {doing}", text::duration(time));
        ui.live(&format!("{CYAN}{}{CYAN:#}", text::clipped(&plain, width)));
    }

    /// Takes the line away.
    pub fn clear(&self, ui: &mut Ui) {
        ui.live("");
    }
}

/// Shows runs as they go.
pub struct Progress {
    runs: BTreeMap<RunId, Followed>,
    live: bool,
    says_ends: bool,
    begun: Instant,
    frame: usize,
}

/// A sign that something goes on; the words beside it say what.
const FRAMES: [char; 4] = ['-', '\\', '|', '/'];

impl Progress {
    /// Follows on `ui`'s standard error; `says_ends`: and says on standard output what each run came to.
    pub fn new(ui: &Ui, says_ends: bool) -> Self {
        Self { runs: BTreeMap::new(), live: ui.err_is_terminal, says_ends, begun: Instant::now(), frame: 0 }
    }

    /// Shows what is new of these runs. `directory` finds a run's directory.
    pub fn show(&mut self, ui: &mut Ui, runs: &[Run], directory: impl Fn(&Run) -> PathBuf) -> Result<()> {
        for run in runs {
            let followed = self.runs.entry(run.id).or_insert_with(|| Followed {
                tail: Tail::new(directory(run).join("events.jsonl")),
                state: None,
                reason: String::new(),
                live: LiveLine::default(),
            });
            let recorded = followed.tail.read();
            followed.live.learn(&recorded);
            let lines: Vec<_> = recorded.iter().filter_map(|recorded| activity_line(&recorded.activity)).collect();
            let head = format!("{:<9} {}", run.job.row.role, run.job.change.head.short());
            // On a terminal the live line shows them; a pipe gets each.
            if !self.live {
                for line in lines {
                    ui.note(format!("{head}  {line}"));
                }
            }
            let changed = followed.state != Some(run.state) || followed.reason != run.reason;
            followed.state = Some(run.state);
            followed.reason.clone_from(&run.reason);
            if changed && ends(run.state) {
                // The end is data: it goes to standard output, unless the caller prints something else there.
                if self.live {
                    ui.live("");
                }
                if self.says_ends {
                    result(ui, run)?;
                }
            } else if changed && (!self.live || !run.reason.is_empty()) {
                let style = state_style(run.state);
                let reason = text::one_line(&super::status::summary(run));
                let reason = if run.state.is_active() { String::new() } else { reason };
                if self.live {
                    ui.live("");
                }
                ui.note(format!("{head}  {style}{}{style:#} {reason}", run.state).trim_end());
            }
        }
        if self.live {
            self.line(ui, runs);
        }
        Ok(())
    }

    fn line(&mut self, ui: &mut Ui, runs: &[Run]) {
        let active = runs.iter().find(|run| run.state.is_active());
        if let Some((run, followed)) = active.and_then(|run| Some((run, self.runs.get_mut(&run.id)?))) {
            followed.live.show(ui, run);
            return;
        }
        self.frame = (self.frame + 1) % FRAMES.len();
        let waiting = runs.iter().filter(|run| run.state == State::Queued).count();
        let plain = format!("{} {waiting} queued · {}", FRAMES[self.frame], text::duration(self.begun.elapsed()));
        ui.live(&format!("{DIM}{plain}{DIM:#}"));
    }

    /// Takes the live line away.
    pub fn end(&mut self, ui: &mut Ui) {
        if self.live {
            ui.live("");
        }
    }
}

/// Whether a run in this state does not move on by itself.
fn ends(state: State) -> bool {
    state.is_terminal() || matches!(state, State::Held | State::Waiting)
}

/// An activity in one line for people; `None` for what is of no interest while it goes.
pub fn activity_line(activity: &Activity) -> Option<String> {
    let line = match activity {
        Activity::CommandStarted { command, .. } => format!("$ {}", text::one_line(command)),
        Activity::CommandFinished { command, exit_code, status, output_bytes, .. } => {
            let end = match (status, exit_code) {
                (Status::Declined, _) => "declined".to_owned(),
                (_, Some(code)) => format!("exit {code}"),
                (_, None) => "ended".to_owned(),
            };
            format!("$ {} ({end}, {})", text::one_line(command), text::bytes(*output_bytes))
        }
        // The answer itself: the artifact shows it better.
        Activity::Message { text } if text.trim_start().starts_with('{') => "writes its answer".to_owned(),
        Activity::Message { text } => format!("says: {}", text::clipped(&text::one_line(text), 160)),
        Activity::Reasoning { text } => format!("thinks: {}", text::clipped(&text::one_line(text), 160)),
        Activity::PatchFinished { changes, status, .. } => {
            let paths: Vec<_> = changes.iter().map(|change| text::one_line(&change.path)).collect();
            let what = if *status == Status::Completed { "patched" } else { "could not patch" };
            format!("{what} {}", paths.join(", "))
        }
        Activity::ToolFinished { server, tool, status, .. } => {
            format!("tool {}/{} {}", text::one_line(server), text::one_line(tool), word(*status))
        }
        Activity::Searched { query, .. } => format!("searched the web for {}", text::one_line(query)),
        Activity::SubAgent { tool, .. } => format!("sub-agent: {}", text::one_line(tool)),
        Activity::Todos { items } => {
            let done = items.iter().filter(|item| item.completed).count();
            format!("to do: {done} of {} done", items.len())
        }
        Activity::Decided { action, decision } => return decision_line(action, decision),
        Activity::Warning { message } => format!("warning: {}", text::one_line(message)),
        Activity::Retrying { message } => format!("reconnects: {}", text::one_line(message)),
        Activity::TurnFailed { message } => format!("failed: {}", text::one_line(message)),
        Activity::TurnFinished { usage } => {
            format!("answered · {} in, {} out", text::count(usage.input_tokens), text::count(usage.output_tokens))
        }
        Activity::TurnStarted => "asks the model".to_owned(),
        Activity::ThreadStarted { .. }
        | Activity::PatchStarted { .. }
        | Activity::ToolStarted { .. }
        | Activity::Unknown { .. } => return None,
    };
    Some(line)
}

/// What the gatekeeper said; `None` for what it allowed by its list, which is told by what became of it.
fn decision_line(action: &Action, decision: &Decision) -> Option<String> {
    let rule = text::one_line(&decision.rule);
    let what = text::one_line(&described(action));
    let what = text::clipped(&what, DECIDED_CHARS);
    match decision.verdict {
        Verdict::Allow if is_by_a_person(decision) => Some(format!("{rule}: {what}")),
        Verdict::Allow => None,
        Verdict::Deny => Some(format!("refused: {what} ({rule}: {})", text::one_line(&decision.reason))),
        Verdict::Escalate => Some(format!("refused for now: {what} ({rule}: {})", text::one_line(&decision.reason))),
    }
}

/// [`activity_line`], and what the gatekeeper allowed by its list.
pub fn verbose_line(activity: &Activity) -> Option<String> {
    if let Activity::Decided { action, decision } = activity
        && decision.verdict == Verdict::Allow
        && !is_by_a_person(decision)
    {
        let what = text::one_line(&described(action));
        return Some(format!("allowed: {} ({})", text::clipped(&what, DECIDED_CHARS), text::one_line(&decision.rule)));
    }
    activity_line(activity)
}

fn word(status: Status) -> &'static str {
    match status {
        Status::InProgress => "began",
        Status::Completed => "done",
        Status::Failed => "failed",
        Status::Declined => "declined",
    }
}

/// The last word on a run: what it came to and where to read it. One line in a pipe; on a terminal the result is cut to
/// the width and the page stands on a line of its own, where it can be clicked.
pub fn result(ui: &mut Ui, run: &Run) -> Result<()> {
    let style = state_style(run.state);
    let (role, commit) = (&run.job.row.role, run.job.change.head.short());
    let head = format!("{role} {commit} {}", run.state);
    let styled = format!("{BOLD}{role}{BOLD:#} {commit} {style}{}{style:#}", run.state);
    let page = run.artifact("md").map(text::one_line);
    let summary = text::one_line(&super::status::summary(run));
    let summary = if summary.is_empty() { summary } else { format!(" · {summary}") };
    let Some(width) = ui.width() else {
        let page = page.map_or_else(String::new, |page| format!(" · {page}"));
        ui.line(format!("{styled}{summary}{page}"))?;
        return Ok(());
    };
    // What failed is told in full: the end of the sentence is what to type.
    if run.state == State::Succeeded {
        let room = width.saturating_sub(head.chars().count());
        ui.line(format!("{styled}{}", text::clipped(&summary, room)))?;
    } else {
        ui.line(styled)?;
        ui.prose(&format!("  {}", summary.trim_start_matches(" · ")))?;
    }
    if let Some(page) = page {
        ui.line(format!("  {DIM}{page}{DIM:#}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_tail_returns_whole_lines_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut tail = Tail::new(path.clone());
        assert!(tail.read().is_empty());
        let line = r#"{"at":"2026-01-01T00:00:00.000Z","attempt":1,"activity":{"type":"turn-started"}}"#;
        let mut file = File::create(&path).unwrap();
        write!(file, "{line}\nnot json\n{}", &line[..10]).unwrap();
        assert_eq!(tail.read().len(), 1);
        assert!(tail.read().is_empty());
        writeln!(file, "{}", &line[10..]).unwrap();
        assert_eq!(tail.read().len(), 1);
    }
}
