//! Whether every delivery came to whom it had to, once and in order, and none to anybody else.

use std::ops::Range;

use crate::world::{Member, World};

/// What one connection has received of a run's events, which are numbered from 0.
#[derive(Debug)]
pub struct Tally {
    /// The next event that must come.
    expected: u32,
    /// The first event received, once there was one.
    first: Option<u32>,
    /// Events between what has come; those that concern the connection are missing.
    gaps: Vec<Range<u32>>,
    repeated: u32,
    disordered: u32,
    misdirected: u32,
}

/// What a connection may see and how many events there are: what its [`Tally`] is held against.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Who sees what.
    pub world: &'a World,
    /// Whose connection it is.
    pub member: &'a Member,
    /// One more than the highest number there will be.
    pub events: u32,
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
    /// Events that came to a connection which must not see them.
    pub misdirected: u64,
    /// Events, of those looked at, whose content was not what was sent.
    pub altered: u64,
}

impl View<'_> {
    fn sees(&self, number: u32) -> bool {
        number < self.events && self.world.sees(self.member, number)
    }

    fn next_seen(&self, from: u32) -> u32 {
        self.world.next_seen(self.member, from, self.events)
    }

    fn count(&self, range: &Range<u32>) -> u64 {
        let end = range.end.min(self.events);
        let mut count = 0;
        let mut number = self.next_seen(range.start);
        while number < end {
            count += 1;
            number = self.next_seen(number + 1);
        }
        count
    }
}

impl Tally {
    /// For a connection to which event `from` and all later ones must come. Some before it may come
    /// too: it subscribed while events were under way.
    pub fn new(from: u32, view: View<'_>) -> Self {
        Self {
            expected: view.next_seen(from),
            first: (from == 0).then_some(0),
            gaps: Vec::new(),
            repeated: 0,
            disordered: 0,
            misdirected: 0,
        }
    }

    /// For a connection that has received the events before number `from` earlier, and must be sent
    /// none of them again.
    pub fn resumed(from: u32, view: View<'_>) -> Self {
        Self {
            first: Some(0),
            ..Self::new(from, view)
        }
    }

    /// Counts event `number` as received now. Returns whether it is the first time and rightly so.
    #[inline]
    pub fn receive(&mut self, number: u32, view: View<'_>) -> bool {
        if number == self.expected && number < view.events {
            self.first.get_or_insert(number);
            self.expected = view.next_seen(number + 1);
            return true;
        }
        self.receive_out_of_turn(number, view)
    }

    /// The next event that must come, or the number of events if there is none.
    pub fn expected(&self) -> u32 {
        self.expected
    }

    /// The faults of this connection, to which all events before number `until` had to come.
    pub fn faults(&self, until: u32, view: View<'_>) -> Faults {
        let within: u64 = self.gaps.iter().map(|gap| view.count(gap)).sum();
        Faults {
            lost: within + view.count(&(self.expected..until)),
            repeated: self.repeated.into(),
            disordered: self.disordered.into(),
            misdirected: self.misdirected.into(),
            altered: 0,
        }
    }

    #[cold]
    fn receive_out_of_turn(&mut self, number: u32, view: View<'_>) -> bool {
        if !view.sees(number) {
            self.misdirected += 1;
            return false;
        }
        if number > self.expected || self.first.is_none() {
            if number > self.expected {
                self.gaps.push(self.expected..number);
            }
            self.first.get_or_insert(number);
            self.expected = view.next_seen(number + 1);
            return true;
        }
        if self.first.is_some_and(|first| number < first) {
            self.disordered += 1;
            return true;
        }
        let Some(at) = self.gaps.iter().position(|gap| gap.contains(&number)) else {
            self.repeated += 1;
            return false;
        };
        let gap = self.gaps.swap_remove(at);
        let parts = [gap.start..number, number + 1..gap.end];
        self.gaps
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
        self.misdirected += other.misdirected;
        self.altered += other.altered;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::orders::Orders;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn faults_in(world: &World, slot: u32, from: u32, received: &[u32], events: u32) -> Faults {
        let member = world.member(slot);
        let view = View {
            world,
            member: &member,
            events,
        };
        let mut tally = Tally::new(from, view);
        for &number in received {
            tally.receive(number, view);
        }
        tally.faults(events, view)
    }

    fn faults(received: &[u32], events: u32) -> (u64, u64, u64) {
        let world = World::Shared(Orders::new("r", 1, 0));
        let faults = faults_in(&world, 0, 0, received, events);
        assert_eq!(faults.misdirected, 0);
        (faults.lost, faults.repeated, faults.disordered)
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        assert_eq!(faults(&[0, 1, 2, 3], 4), (0, 0, 0));
        assert_eq!(faults(&[0, 1, 3], 4), (1, 0, 0), "lost within");
        assert_eq!(faults(&[1, 2, 3], 4), (1, 0, 0), "lost at the start");
        assert_eq!(faults(&[0, 1], 4), (2, 0, 0), "lost at the end");
        assert_eq!(faults(&[], 4), (4, 0, 0), "all lost");
        assert_eq!(faults(&[0, 1, 1, 2, 3], 4), (0, 1, 0), "repeated");
        assert_eq!(faults(&[0, 0, 1, 2, 3], 4), (0, 1, 0), "the first again");
        assert_eq!(faults(&[0, 1, 2, 3, 3], 4), (0, 1, 0), "the last again");
        assert_eq!(faults(&[0, 2, 1, 3], 4), (0, 0, 1), "swapped");
        assert_eq!(
            faults(&[0, 2, 1, 1, 3], 4),
            (0, 1, 1),
            "swapped and repeated"
        );
        assert_eq!(faults(&[3, 0, 2, 1], 4), (0, 0, 3), "reversed");
        assert_eq!(faults(&[5, 1, 3], 7), (4, 0, 2), "gaps are split");
    }

    #[test]
    fn a_customer_must_get_its_own_events_and_no_others() {
        let orders = Orders::new("r", 5, 0);
        let own: Vec<u32> = (0..20).filter(|&n| orders.owner(n) == 2).collect();
        let other = (0..20).find(|&n| orders.owner(n) == 3).unwrap_or_default();
        let world = World::Own(orders);
        let check = |received: &[u32]| faults_in(&world, 2, 0, received, 20);
        assert!(check(&own).is_clean());
        assert_eq!(check(&own[1..]).lost, 1);
        let with_other: Vec<u32> = own.iter().copied().chain([other]).collect();
        let expected = Faults {
            misdirected: 1,
            ..Faults::default()
        };
        assert_eq!(check(&with_other), expected);
        assert_eq!(check(&[1000]).misdirected, 1, "an event that never was");
    }

    #[test]
    fn who_resumes_gets_nothing_that_it_has_and_everything_behind_it() {
        let world = World::Shared(Orders::new("r", 1, 0));
        let member = world.member(0);
        let view = View {
            world: &world,
            member: &member,
            events: 8,
        };
        let check = |received: &[u32]| {
            let mut tally = Tally::resumed(5, view);
            for &number in received {
                tally.receive(number, view);
            }
            tally.faults(8, view)
        };
        assert!(check(&[5, 6, 7]).is_clean());
        assert_eq!(check(&[4, 5, 6, 7]).repeated, 1);
        assert_eq!(check(&[0, 5, 6, 7]).repeated, 1);
        assert_eq!(check(&[6, 7]).lost, 1, "the first that must come");
        assert_eq!(check(&[6, 5, 7]).disordered, 1);
    }

    #[test]
    fn who_joins_late_may_see_a_little_more_but_nothing_in_between_may_be_missing() {
        let world = World::Shared(Orders::new("r", 1, 0));
        let check = |received: &[u32]| faults_in(&world, 0, 5, received, 8);
        assert!(check(&[5, 6, 7]).is_clean());
        assert!(check(&[3, 4, 5, 6, 7]).is_clean());
        assert_eq!(check(&[3, 5, 6, 7]).lost, 1, "a hole before the bound");
        assert_eq!(check(&[6, 7]).lost, 1, "the first that must come");
        assert_eq!(check(&[4, 3, 5, 6, 7]).disordered, 1);
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
