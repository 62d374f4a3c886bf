//! Rounds of measurements, and what can be said of them.

use std::fmt::Write as _;
use std::time::Duration;

use crate::Outcome;

/// Above the rows of pairs.
pub(crate) const HEAD: &str = "\
| what git does | files | rounds | A, ms | B, ms | added, ms (95 %) | promised |
|---|---:|---:|---:|---:|---:|---:|";

/// Above the rows of single calls.
pub(crate) const CALL_HEAD: &str = "\
| one call of the hook, without git and shell | files | calls | ms | peak memory, MiB | promised |
|---|---:|---:|---:|---:|---:|";

/// Above the rows of listings.
pub(crate) const LISTING_HEAD: &str = "\
| listing what a commit changes | paths | rounds | `git diff --name-only`, ms | the hook, ms | part (95 %) | promised |
|---|---:|---:|---:|---:|---:|---:|";

/// How often a disturbed row is measured.
const ATTEMPTS: usize = 4;

/// A row is disturbed if the median of the first side exceeds the time that a tenth of it kept below by this factor.
const DISTURBED: f64 = 1.3;

/// How long one side took in one turn.
pub(crate) type Act<'a> = Box<dyn FnMut(usize) -> Outcome<Duration> + 'a>;

/// What several sides took, in milliseconds: one list for each round, in the order of the sides.
#[derive(Default)]
pub(crate) struct Rounds {
    rounds: Vec<Vec<f64>>,
}

/// A median, and between which values it lies with a probability of 95 %, whatever the distribution.
#[derive(Clone, Copy)]
pub(crate) struct Middle {
    pub(crate) value: f64,
    pub(crate) between: (f64, f64),
}

impl Rounds {
    /// Measures `count` rounds, and again, up to [`ATTEMPTS`] times, while other work of the machine disturbs them.
    pub(crate) fn measure(count: usize, mut sides: Vec<Act<'_>>) -> Outcome<Self> {
        let mut rounds = Self::once(count, &mut sides)?;
        for _ in 1..ATTEMPTS {
            if !rounds.is_disturbed() {
                break;
            }
            rounds = Self::once(count, &mut sides)?;
        }
        Ok(rounds)
    }

    /// `count` rounds after one that does not count. Each side does its part and says how long that took; which of them
    /// comes first goes round.
    fn once(count: usize, sides: &mut [Act<'_>]) -> Outcome<Self> {
        let mut rounds = Self::default();
        for turn in 0..=count {
            let mut round = vec![f64::NAN; sides.len()];
            for place in 0..sides.len() {
                let side = (place + turn) % sides.len();
                if let (Some(act), Some(took)) = (sides.get_mut(side), round.get_mut(side)) {
                    *took = millis(act(turn)?);
                }
            }
            if turn > 0 {
                rounds.rounds.push(round);
            }
        }
        Ok(rounds)
    }

    fn of(&self, side: usize) -> Vec<f64> {
        sorted(self.rounds.iter().filter_map(|round| round.get(side).copied()))
    }

    /// The median of one side.
    pub(crate) fn time(&self, side: usize) -> f64 {
        median(&self.of(side))
    }

    /// Git by itself took much longer than it can: the machine was busy, and the figures say little.
    fn is_disturbed(&self) -> bool {
        let first = self.of(0);
        median(&first) > first.get(first.len() / 10).copied().unwrap_or(f64::NAN) * DISTURBED
    }

    /// What `of` makes of the first side and this one within the rounds.
    fn within(&self, side: usize, of: impl Fn(f64, f64) -> f64) -> Middle {
        let pairs = self.rounds.iter().filter_map(|round| Some((*round.first()?, *round.get(side)?)));
        let values = sorted(pairs.map(|(first, other)| of(first, other)));
        Middle { value: median(&values), between: interval(&values) }
    }

    /// What a side takes longer than the first one.
    pub(crate) fn added(&self, side: usize) -> Middle {
        self.within(side, |first, other| other - first)
    }

    /// One row under [`HEAD`]: the first side and the second.
    pub(crate) fn row(&self, name: &str, files: usize, promised: Option<f64>) -> String {
        let Middle { value: added, between: (low, high) } = self.added(1);
        let promised = promised.map_or_else(|| "-".to_owned(), |limit| verdict(limit, added));
        format!(
            "| {} | {files} | {} | {:.2} | {:.2} | {added:+.2} ({low:+.2} to {high:+.2}) | {promised} |",
            self.named(name),
            self.rounds.len(),
            self.time(0),
            self.time(1)
        )
    }

    /// One row under [`LISTING_HEAD`].
    pub(crate) fn listing_row(&self, name: &str, paths: usize, promised: f64) -> String {
        let Middle { value: part, between: (low, high) } = self.within(1, |first, other| other / first);
        format!(
            "| {} | {paths} | {} | {:.2} | {:.2} | {part:.2} ({low:.2} to {high:.2}) | {} |",
            self.named(name),
            self.rounds.len(),
            self.time(0),
            self.time(1),
            verdict(promised, part)
        )
    }

    /// One row under [`theirs_head`]: what ours adds, and what each manager does. Ours is the second side, they follow.
    pub(crate) fn theirs_row(&self, name: &str, files: usize, managers: usize, promised: f64) -> String {
        let ours = self.added(1).value;
        let mut row = format!("| {} | {files} | {ours:+.2} |", self.named(name));
        for manager in 0..managers {
            let theirs = self.added(manager + 2).value;
            // A part of nothing is none: git's own time varied by more than what was added.
            let part = if ours > 0.0 && theirs > 0.0 {
                let part = ours / theirs;
                verdict_of(&format!("{part:.2}"), promised, part)
            } else {
                "lost in the noise".to_owned()
            };
            write!(row, " {theirs:+.2} | {part} |").ok();
        }
        row
    }

    fn named(&self, name: &str) -> String {
        if self.is_disturbed() { format!("{name} (disturbed)") } else { name.to_owned() }
    }
}

/// Above the rows that compare with hook managers of these names.
pub(crate) fn theirs_head(names: &[&str]) -> String {
    let mut head = "| what git does | files | ours adds, ms |".to_owned();
    let mut rule = "|---|---:|---:|".to_owned();
    for name in names {
        write!(head, " {name} adds, ms | ours as a part of it |").ok();
        rule.push_str("---:|---:|");
    }
    format!("{head}\n{rule}")
}

/// A limit, and whether the figure keeps it.
pub(crate) fn verdict(limit: f64, figure: f64) -> String {
    verdict_of(&limit.to_string(), limit, figure)
}

fn verdict_of(shown: &str, limit: f64, figure: f64) -> String {
    format!("{shown}{}", if figure <= limit { "" } else { ": **missed**" })
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

pub(crate) fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle of sorted values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.wrapping_sub(1)), at(half)) }
}

/// The order statistics between which the median lies in 95 of 100 cases: the sign test, by its normal approximation
/// (n/2 ± 0.98 √n). Fewer than six values say nothing that sure, and all of them are returned.
fn interval(values: &[f64]) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "some hundred values")]
    let n = values.len() as f64;
    let away = 0.98 * n.sqrt();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped, and small")]
    let rank = (n / 2.0 - away).floor().max(0.0) as usize;
    let low = values.get(rank).or(values.first()).copied().unwrap_or(f64::NAN);
    let high = values.get(values.len().saturating_sub(rank + 1)).or(values.last()).copied().unwrap_or(f64::NAN);
    (low, high)
}
