//! Pairs of measurements, and what can be said of them.

use std::time::Duration;

use crate::Outcome;

/// Above the rows of pairs.
pub(crate) const HEAD: &str = "\
| what git does | files | pairs | A, ms | B, ms | added, ms (95 %) | promised |
|---|---:|---:|---:|---:|---:|---:|";

/// Above the rows of single calls.
pub(crate) const CALL_HEAD: &str = "\
| one call of the hook, without git and shell | files | calls | ms | peak memory, MiB | promised |
|---|---:|---:|---:|---:|---:|";

/// How often a disturbed row is measured.
const ATTEMPTS: usize = 4;

/// A row is disturbed if the median of A exceeds the time that a tenth of A kept below by this factor.
const DISTURBED: f64 = 1.3;

/// What was measured in turn.
#[derive(Default)]
pub(crate) struct Pairs {
    pairs: Vec<(f64, f64)>,
}

/// What the pairs say, in milliseconds.
pub(crate) struct Summary {
    pub(crate) count: usize,
    pub(crate) a: f64,
    /// Git by itself took much longer than it can: the machine was busy, and the figures say little.
    pub(crate) is_disturbed: bool,
    pub(crate) b: f64,
    /// The median of B - A within the pairs.
    pub(crate) added: f64,
    /// Between which values that median lies with a probability of 95 %, whatever the distribution.
    pub(crate) between: (f64, f64),
}

impl Pairs {
    /// Measures `count` pairs, and again, up to [`ATTEMPTS`] times, while other work of the machine disturbs them.
    pub(crate) fn measure(
        count: usize,
        mut a: impl FnMut(usize) -> Outcome<Duration>,
        mut b: impl FnMut(usize) -> Outcome<Duration>,
    ) -> Outcome<Self> {
        let mut pairs = Self::once(count, &mut a, &mut b)?;
        for _ in 1..ATTEMPTS {
            if !pairs.summary().is_disturbed {
                break;
            }
            pairs = Self::once(count, &mut a, &mut b)?;
        }
        Ok(pairs)
    }

    /// `count` pairs after one that does not count. Each closure does its part and says how long that took, and which
    /// of the two comes first alternates.
    fn once(
        count: usize,
        mut a: impl FnMut(usize) -> Outcome<Duration>,
        mut b: impl FnMut(usize) -> Outcome<Duration>,
    ) -> Outcome<Self> {
        let mut pairs = Self::default();
        for turn in 0..=count {
            let (one, two) = if turn.is_multiple_of(2) {
                let one = a(turn)?;
                (one, b(turn)?)
            } else {
                let two = b(turn)?;
                (a(turn)?, two)
            };
            if turn > 0 {
                pairs.pairs.push((millis(one), millis(two)));
            }
        }
        Ok(pairs)
    }

    pub(crate) fn summary(&self) -> Summary {
        let differences = sorted(self.pairs.iter().map(|(a, b)| b - a));
        let a = sorted(self.pairs.iter().map(|pair| pair.0));
        let fast = a.get(a.len() / 10).copied().unwrap_or(f64::NAN);
        Summary {
            count: self.pairs.len(),
            a: median(&a),
            is_disturbed: median(&a) > fast * DISTURBED,
            b: median(&sorted(self.pairs.iter().map(|pair| pair.1))),
            added: median(&differences),
            between: interval(&differences),
        }
    }
}

impl Summary {
    /// One row under [`HEAD`].
    pub(crate) fn row(&self, name: &str, files: usize, promised: Option<f64>) -> String {
        let Self { count, a, b, added, between: (low, high), is_disturbed } = self;
        let name = if *is_disturbed { format!("{name} (disturbed)") } else { name.to_owned() };
        let promised = promised.map_or_else(|| "-".to_owned(), |limit| verdict(limit, *added));
        format!("| {name} | {files} | {count} | {a:.2} | {b:.2} | {added:+.2} ({low:+.2} to {high:+.2}) | {promised} |")
    }
}

/// A limit, and whether the figure keeps it.
pub(crate) fn verdict(limit: f64, figure: f64) -> String {
    format!("{limit}{}", if figure <= limit { "" } else { ": **missed**" })
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
