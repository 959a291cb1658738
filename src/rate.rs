//! An evenly refilled token bucket in eight bytes (the generic cell rate algorithm, ITU-T I.371).
//!
//! Pure: the caller keeps the one word of state and passes the time in. Used for the connect rate
//! of an address and for the message and control frame rates of a connection.

/// So many events a minute, evenly refilled; a bucket starts full.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Nanoseconds that refill one event; 0 = no limit.
    interval: u64,
    /// Nanoseconds that refill the whole bucket.
    burst: u64,
}

/// The state of one bucket: when it will be full again, in nanoseconds of the caller's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket(u64);

const MINUTE_NS: u64 = 60_000_000_000;

impl Rate {
    /// A rate of `events` a minute; 0 switches it off.
    pub fn per_minute(events: u32) -> Self {
        let interval = if events == 0 {
            0
        } else {
            MINUTE_NS / u64::from(events)
        };
        Self {
            interval,
            burst: interval * u64::from(events),
        }
    }

    /// Takes one event at `now_ns`; if there is none, says how many nanoseconds until there is.
    pub fn take(&self, bucket: &mut Bucket, now_ns: u64) -> Result<(), u64> {
        if self.interval == 0 {
            return Ok(());
        }
        let full_at = bucket.0.max(now_ns) + self.interval;
        let wait = full_at.saturating_sub(now_ns + self.burst);
        if wait > 0 {
            return Err(wait);
        }
        bucket.0 = full_at;
        Ok(())
    }

    /// Puts one taken event back.
    pub fn give_back(&self, bucket: &mut Bucket) {
        bucket.0 = bucket.0.saturating_sub(self.interval);
    }
}

impl Bucket {
    /// In how many nanoseconds it is full.
    pub fn full_in(&self, now_ns: u64) -> u64 {
        self.0.saturating_sub(now_ns)
    }

    /// One that is full so many nanoseconds after `now_ns`.
    pub fn filling(now_ns: u64, full_in: u64) -> Self {
        Self(now_ns.saturating_add(full_in))
    }

    /// Whether the bucket is full at `now_ns`, so that forgetting it changes nothing.
    pub fn is_full(&self, now_ns: u64) -> bool {
        self.0 <= now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_full_bucket_gives_its_size_at_once_and_then_refills_evenly() {
        let rate = Rate::per_minute(10);
        let mut bucket = Bucket::default();
        let now = 1_000 * SECOND;
        for _ in 0..10 {
            assert_eq!(rate.take(&mut bucket, now), Ok(()));
        }
        assert_eq!(rate.take(&mut bucket, now), Err(6 * SECOND));
        assert_eq!(rate.take(&mut bucket, now + 6 * SECOND), Ok(()));
        assert_eq!(rate.take(&mut bucket, now + 6 * SECOND), Err(6 * SECOND));
    }

    #[test]
    fn a_refused_attempt_costs_nothing_and_a_returned_one_counts_again() {
        let rate = Rate::per_minute(1);
        let mut bucket = Bucket::default();
        assert_eq!(rate.take(&mut bucket, SECOND), Ok(()));
        assert_eq!(rate.take(&mut bucket, 2 * SECOND), Err(59 * SECOND));
        rate.give_back(&mut bucket);
        assert_eq!(rate.take(&mut bucket, 2 * SECOND), Ok(()));
    }

    #[test]
    fn zero_means_no_limit() {
        let rate = Rate::per_minute(0);
        let mut bucket = Bucket::default();
        for _ in 0..1000 {
            assert_eq!(rate.take(&mut bucket, 0), Ok(()));
        }
        assert!(bucket.is_full(0));
    }
}
