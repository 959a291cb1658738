//! One figure over the rounds.

use super::Outcome;
use crate::report::figures::{Better, definition};
use crate::report::number;

/// The values of one figure over the rounds, from the least to the most; there is at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Values(Vec<f64>);

impl Values {
    /// What `server` came to in the case of this letter; none where nothing was measured.
    pub fn of<'a, 'c: 'a>(
        outcomes: impl IntoIterator<Item = &'a Outcome<'c>>,
        letter: &str,
        server: &str,
        key: &str,
    ) -> Option<Self> {
        let mut values: Vec<f64> = outcomes
            .into_iter()
            .filter(|outcome| outcome.case.letter == letter && outcome.server == server)
            .filter_map(|outcome| outcome.report.as_ref().ok()?.figures.get(key).copied())
            .collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self(values))
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 {
            self.0[middle]
        } else {
            f64::midpoint(self.0[middle - 1], self.0[middle])
        }
    }

    /// The best of the rounds: what noise has disturbed least.
    pub fn best(&self, better: Better) -> f64 {
        if better == Better::Higher {
            self.0[self.0.len() - 1]
        } else {
            self.0[0]
        }
    }

    /// The median, and where there are several rounds the least and the most.
    pub fn with_range(&self) -> String {
        let median = number(self.median());
        let (least, most) = (self.0[0], self.0[self.0.len() - 1]);
        if self.0.len() == 1 {
            return median;
        }
        format!("{median} ({}-{})", number(least), number(most))
    }
}

/// Which way the figure `key` is better. Of two that only describe, such as cores used, the lower one
/// is taken for better.
pub fn better(key: &str) -> Better {
    match definition(key).map(|definition| definition.better) {
        Some(Better::Higher) => Better::Higher,
        _ => Better::Lower,
    }
}

/// How many times worse `value` is than `other`: above 1 it is worse, whichever way is better.
pub fn times_worse(key: &str, value: f64, other: f64) -> f64 {
    match better(key) {
        Better::Higher => other / value,
        _ => value / other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranges() {
        let odd = Values(vec![1.0, 2.0, 9.0]);
        assert_eq!(odd.with_range(), "2 (1-9)");
        assert_eq!(odd.best(Better::Lower), 1.0);
        assert_eq!(odd.best(Better::Higher), 9.0);
        assert_eq!(Values(vec![1.0, 2.0]).median(), 1.5);
        assert_eq!(Values(vec![4.0]).with_range(), "4");
    }

    #[test]
    fn worse_is_above_one_whichever_way_is_better() {
        assert_eq!(times_worse("latency-p99-ms", 3.0, 2.0), 1.5);
        assert_eq!(times_worse("events-per-s", 2.0, 3.0), 1.5);
    }
}
