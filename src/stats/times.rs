//! A histogram of times with one writer, and what can be read out of it.
//!
//! Each power of two of microseconds in 32 equal steps, so that whatever is read out is true to about
//! 3 %. A loop records in its [`Times`]; readers take [`Counts`] of them, add those of several loops,
//! and take earlier ones off to see a stretch of time alone.

use super::Counter;

const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;
/// Values from 2^36 µs (19 hours) on share the last bucket.
const VALUE_BITS: u32 = 36;
const BUCKETS: usize = (VALUE_BITS - STEP_BITS + 1) as usize * STEPS;

/// How often which time was taken.
pub struct Times {
    buckets: Box<[Counter]>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Counter::default()).collect(),
        }
    }
}

impl Times {
    /// Counts `n` that took `micros` microseconds each. Only the owning thread may call this.
    pub fn record(&self, micros: u64, n: u64) {
        self.buckets[bucket_of(micros)].add(n);
    }

    /// How many there are by now.
    pub fn total(&self) -> u64 {
        self.buckets.iter().map(Counter::get).sum()
    }
}

/// What was in one or several [`Times`] at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counts(Box<[u64]>);

impl Default for Counts {
    fn default() -> Self {
        Self(vec![0; BUCKETS].into())
    }
}

impl<'a> FromIterator<&'a Times> for Counts {
    fn from_iter<I: IntoIterator<Item = &'a Times>>(all: I) -> Self {
        let mut sum = Self::default();
        for times in all {
            for (count, bucket) in sum.0.iter_mut().zip(&times.buckets) {
                *count += bucket.get();
            }
        }
        sum
    }
}

impl Counts {
    /// What came after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Counts) -> Counts {
        let both = self.0.iter().zip(&earlier.0);
        Counts(both.map(|(now, then)| now.saturating_sub(*then)).collect())
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time in milliseconds that the part `q` of them (0 to 1) did not take longer than; 0 where
    /// there are none.
    pub fn quantile_ms(&self, q: f64) -> f64 {
        let rank = ((self.total() as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.0.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return top_of(bucket) as f64 / 1000.0;
            }
        }
        0.0
    }

    /// How many took at most so many microseconds, for each of `bounds`, which ascend. One that is
    /// within 3 % of a bound may be counted with the next.
    pub fn up_to(&self, bounds: &[u64]) -> Vec<u64> {
        let (mut bucket, mut seen) = (0, 0);
        let mut counts = Vec::with_capacity(bounds.len());
        for &bound in bounds {
            while bucket < BUCKETS && top_of(bucket) <= bound {
                seen += self.0[bucket];
                bucket += 1;
            }
            counts.push(seen);
        }
        counts
    }

    /// What all of them took together, in microseconds.
    pub fn sum_micros(&self) -> u64 {
        let each = self.0.iter().enumerate();
        each.map(|(bucket, count)| top_of(bucket) * count).sum()
    }

    /// The buckets that are not empty: the longest time that falls into each, in microseconds, and how
    /// many did.
    pub fn occupied(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let all = self.0.iter().enumerate().filter(|(_, count)| **count > 0);
        all.map(|(bucket, count)| (top_of(bucket), *count))
    }

    /// Adds `n` that took `micros` microseconds each: what [`Counts::occupied`] gave elsewhere.
    pub fn add(&mut self, micros: u64, n: u64) {
        let count = &mut self.0[bucket_of(micros)];
        *count = count.saturating_add(n);
    }
}

fn bucket_of(value: u64) -> usize {
    let value = value.min((1 << VALUE_BITS) - 1);
    if value < STEPS as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    (shift as usize + 1) * STEPS + ((value >> shift) as usize - STEPS)
}

/// The largest value that falls into a bucket.
fn top_of(bucket: usize) -> u64 {
    let (row, step) = (bucket / STEPS, bucket % STEPS);
    if row == 0 {
        return step as u64;
    }
    let shift = row - 1;
    ((((STEPS + step) as u64) + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_holds_it_to_three_percent() {
        for value in (0..100_000u64).chain((0..36).map(|bit| (1 << bit) + 1)) {
            let bucket = bucket_of(value);
            assert!(value <= top_of(bucket), "{value}");
            assert!(bucket == 0 || value > top_of(bucket - 1), "{value}");
            assert!(
                top_of(bucket) as f64 <= value as f64 * 1.0325 + 0.5,
                "{value}"
            );
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    fn counts(values: &[(u64, u64)]) -> Counts {
        let times = Times::default();
        for &(micros, n) in values {
            times.record(micros, n);
        }
        [&times].into_iter().collect()
    }

    #[test]
    fn quantiles_are_those_of_all_together() {
        let (one, other) = (Times::default(), Times::default());
        one.record(1_000, 99);
        other.record(50_000, 1);
        let both: Counts = [&one, &other].into_iter().collect();
        assert_eq!(both.total(), 100);
        let (p50, p99, p999) = (
            both.quantile_ms(0.5),
            both.quantile_ms(0.99),
            both.quantile_ms(0.999),
        );
        assert!((1.0..1.05).contains(&p50), "{p50}");
        assert!((1.0..1.05).contains(&p99), "{p99}");
        assert!((50.0..52.0).contains(&p999), "{p999}");
        assert_eq!(counts(&[]).quantile_ms(0.5), 0.0, "there are none");
    }

    #[test]
    fn what_came_since_is_seen_alone() {
        let early = counts(&[(10, 1_000), (5_000, 2)]);
        let late = counts(&[(10, 1_000), (5_000, 5), (90_000, 1)]);
        let between = late.since(&early);
        assert_eq!(between.total(), 4);
        assert!((5.0..5.2).contains(&between.quantile_ms(0.5)));
        let mut rebuilt = Counts::default();
        for (micros, n) in between.occupied() {
            rebuilt.add(micros, n);
        }
        assert_eq!(rebuilt, between);
    }

    #[test]
    fn counts_up_to_a_bound_ascend_and_leave_nobody_out() {
        let counts = counts(&[(3, 1), (900, 2), (1_500, 4), (2_000_000, 8)]);
        assert_eq!(
            counts.up_to(&[1, 10, 1_000, 2_500, 1_000_000, u64::MAX]),
            [0, 1, 3, 7, 7, 15]
        );
        let sum = counts.sum_micros() as f64;
        let exact = (3 + 2 * 900 + 4 * 1_500 + 8 * 2_000_000) as f64;
        assert!((exact..exact * 1.0325).contains(&sum), "{sum}");
    }
}
