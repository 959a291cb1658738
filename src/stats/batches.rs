//! What is delivered at once, to how many.
//!
//! A turn counts in a [`Delivered`] of its own, and adds it to what others read once, in the end.

use super::Counter;

/// How many batches had how many events: 1, up to 2, up to 4, and so on; the last one takes all that
/// have more.
#[derive(Default)]
pub struct BatchSizes([Counter; BATCH_SIZES]);

/// Up to 1,024 events, by powers of two, and more.
const BATCH_SIZES: usize = 12;

impl BatchSizes {
    /// The most events of each size but the last.
    pub const BOUNDS: [u64; BATCH_SIZES - 1] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

    /// Adds what a turn has delivered. Only the owning thread may call this.
    pub fn add(&self, delivered: &Delivered) {
        for (counter, &n) in self.0.iter().zip(&delivered.batches) {
            if n > 0 {
                counter.add(n);
            }
        }
    }

    /// Batches of each size, the last ones included.
    pub fn counts(&self) -> [u64; BATCH_SIZES] {
        std::array::from_fn(|size| self.0[size].get())
    }
}

/// What one turn delivers, counted without touching what others read.
#[derive(Default)]
pub struct Delivered {
    /// Event frames.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    batches: [u64; BATCH_SIZES],
}

impl Delivered {
    /// Each of so many connections was given so many events, in so many bytes.
    pub fn add(&mut self, connections: u64, events: u64, bytes: u64) {
        self.events += connections * events;
        self.bytes += connections * bytes;
        if events > 0 {
            let size = events.next_power_of_two().trailing_zeros() as usize;
            self.batches[size.min(BATCH_SIZES - 1)] += connections;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::ReactorStats;

    #[test]
    fn batches_fall_into_the_size_that_holds_them() {
        let stats = ReactorStats::default();
        let mut delivered = Delivered::default();
        for events in [1, 2, 3, 4, 5, 1024, 1025, 100_000] {
            delivered.add(2, events, 10 * events);
        }
        delivered.add(5, 0, 0);
        stats.delivered(&delivered);
        let expected = [2, 2, 4, 2, 0, 0, 0, 0, 0, 0, 2, 4];
        assert_eq!(stats.batches.counts(), expected);
        assert_eq!(stats.deliveries.get(), 2 * (15 + 1024 + 1025 + 100_000));
        assert_eq!(stats.delivered_bytes.get(), 10 * stats.deliveries.get());
    }
}
