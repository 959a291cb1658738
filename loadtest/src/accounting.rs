//! Whether every delivery came, once and in order.

use std::ops::Range;

/// What one connection has received of a run's events, which are numbered from 0.
#[derive(Debug, Default)]
pub struct Tally {
    /// One more than the highest number received.
    next: u32,
    /// Numbers below `next` that have not come.
    missing: Vec<Range<u32>>,
    repeated: u32,
    disordered: u32,
}

/// Faults, of one connection or summed over many.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Events that never came.
    pub lost: u64,
    /// Events that came again.
    pub repeated: u64,
    /// Events that came after a later one.
    pub disordered: u64,
}

impl Tally {
    /// Counts event `number` as received now. Returns whether it is the first time.
    #[inline]
    pub fn receive(&mut self, number: u32) -> bool {
        if number == self.next {
            self.next += 1;
            return true;
        }
        self.receive_out_of_turn(number)
    }

    /// The faults of this connection, after `events` events were sent.
    pub fn faults(&self, events: u32) -> Faults {
        let within: u32 = self.missing.iter().map(|gap| gap.end - gap.start).sum();
        Faults {
            lost: u64::from(within) + u64::from(events.saturating_sub(self.next)),
            repeated: self.repeated.into(),
            disordered: self.disordered.into(),
        }
    }

    #[cold]
    fn receive_out_of_turn(&mut self, number: u32) -> bool {
        if number > self.next {
            self.missing.push(self.next..number);
            self.next = number + 1;
            return true;
        }
        let Some(at) = self.missing.iter().position(|gap| gap.contains(&number)) else {
            self.repeated += 1;
            return false;
        };
        let gap = self.missing.swap_remove(at);
        let parts = [gap.start..number, number + 1..gap.end];
        self.missing
            .extend(parts.into_iter().filter(|part| !part.is_empty()));
        self.disordered += 1;
        true
    }
}

impl Faults {
    /// Whether there are none.
    pub fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.disordered += other.disordered;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn faults(received: &[u32], events: u32) -> (u64, u64, u64) {
        let mut tally = Tally::default();
        for &number in received {
            tally.receive(number);
        }
        let Faults {
            lost,
            repeated,
            disordered,
        } = tally.faults(events);
        (lost, repeated, disordered)
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        assert_eq!(faults(&[0, 1, 2, 3], 4), (0, 0, 0));
        assert_eq!(faults(&[0, 1, 3], 4), (1, 0, 0), "lost within");
        assert_eq!(faults(&[1, 2, 3], 4), (1, 0, 0), "lost at the start");
        assert_eq!(faults(&[0, 1], 4), (2, 0, 0), "lost at the end");
        assert_eq!(faults(&[], 4), (4, 0, 0), "all lost");
        assert_eq!(faults(&[0, 1, 1, 2, 3], 4), (0, 1, 0), "repeated");
        assert_eq!(faults(&[0, 2, 1, 3], 4), (0, 0, 1), "swapped");
        assert_eq!(
            faults(&[0, 2, 1, 1, 3], 4),
            (0, 1, 1),
            "swapped and repeated"
        );
        assert_eq!(faults(&[3, 0, 2, 1], 4), (0, 0, 3), "reversed");
        assert_eq!(faults(&[5, 1, 3], 7), (4, 0, 2), "gaps are split");
    }

    proptest! {
        #[test]
        fn lost_and_repeated_agree_with_sets(received in prop::collection::vec(0u32..30, 0..60)) {
            let distinct: BTreeSet<u32> = received.iter().copied().collect();
            let (lost, repeated, _) = faults(&received, 30);
            prop_assert_eq!(lost, 30 - distinct.len() as u64);
            prop_assert_eq!(repeated, (received.len() - distinct.len()) as u64);
        }
    }
}
