//! Deadlines of connections: a wheel of slab keys, one place a connection, no object a timer.
//!
//! Owned by the reactor. Pure: time comes in as ticks since the reactor's start. Each step of the
//! wheel is a list of keys, linked through one table, so that a connection takes eight bytes here
//! and nothing else. Deadlines beyond the wheel's horizon come round early, are found not due by
//! the connection, and go round again.

use crate::limits::WHEEL_SLOTS;

/// A time in steps of [`crate::limits::TICK`]; wraps after 497 days, so compare with
/// [`Tick::is_after`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick(pub u32);

impl Tick {
    /// Whether this is later than `other` (the two are less than 248 days apart).
    pub fn is_after(self, other: Tick) -> bool {
        (self.0.wrapping_sub(other.0) as i32) > 0
    }

    /// So many steps later.
    pub fn plus(self, steps: u32) -> Tick {
        Tick(self.0.wrapping_add(steps))
    }

    /// The next tick, this one included, whose number `step` divides.
    pub fn round_up(self, step: u32) -> Tick {
        self.plus((step - self.0 % step) % step)
    }
}

/// The wheel.
pub struct Wheel {
    /// The first key of each step's list, or [`NONE`].
    heads: Box<[u32; WHEEL_SLOTS]>,
    /// By key: its neighbours in its list.
    links: Vec<Link>,
    /// A bit for every step that has a list.
    occupied: [u64; WHEEL_SLOTS / 64],
    /// Everything before this tick has been taken, and all that [`Wheel::pop`] has given out of it.
    now: Tick,
}

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    /// The key before it; [`IS_HEAD`] and the step for the first of a list; [`NONE`] if it stands
    /// nowhere.
    previous: u32,
}

/// No key: those are indexes of sockets, of which a process has far fewer.
const NONE: u32 = u32::MAX;
const IS_HEAD: u32 = 1 << 31;
const HORIZON: u32 = WHEEL_SLOTS as u32 - 1;

impl Wheel {
    /// An empty wheel at tick 0.
    pub fn new() -> Self {
        Self {
            heads: Box::new([NONE; WHEEL_SLOTS]),
            links: Vec::new(),
            occupied: [0; WHEEL_SLOTS / 64],
            now: Tick(0),
        }
    }

    /// Puts `key` at `due`, or at the horizon if that is nearer, and nowhere else. A tick already
    /// gone is the next one. Returns where it was put.
    pub fn insert(&mut self, key: u32, due: Tick) -> Tick {
        self.remove(key);
        let steps = if due.is_after(self.now) {
            due.0.wrapping_sub(self.now.0)
        } else {
            1
        };
        let at = self.now.plus(steps.min(HORIZON));
        let slot = slot(at);
        if self.links.len() <= key as usize {
            let nowhere = Link {
                next: NONE,
                previous: NONE,
            };
            self.links.resize(key as usize + 1, nowhere);
        }
        let next = std::mem::replace(&mut self.heads[slot], key);
        if next != NONE {
            self.links[next as usize].previous = key;
        }
        self.links[key as usize] = Link {
            next,
            previous: IS_HEAD | slot as u32,
        };
        self.occupied[slot / 64] |= 1 << (slot % 64);
        at
    }

    /// Takes `key` off the wheel, if it is there.
    pub fn remove(&mut self, key: u32) {
        let Some(link) = self.links.get_mut(key as usize) else {
            return;
        };
        let Link { next, previous } = *link;
        link.previous = NONE;
        if previous == NONE {
            return;
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        if previous & IS_HEAD == 0 {
            self.links[previous as usize].next = next;
            return;
        }
        let slot = (previous & !IS_HEAD) as usize;
        self.heads[slot] = next;
        if next == NONE {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
        }
    }

    /// Moves the wheel towards `now` and takes off the next key that it passes.
    pub fn pop(&mut self, now: Tick) -> Option<u32> {
        loop {
            let key = self.heads[slot(self.now)];
            if key != NONE {
                self.remove(key);
                return Some(key);
            }
            if !now.is_after(self.now) {
                return None;
            }
            self.now = self
                .next()
                .filter(|next| !next.is_after(now))
                .unwrap_or(now);
        }
    }

    /// The next tick at which something is due.
    pub fn next(&self) -> Option<Tick> {
        let first = (self.now.0 as usize + 1) % WHEEL_SLOTS;
        let word = |index: usize| self.occupied[index % self.occupied.len()];
        let masked = word(first / 64) & (u64::MAX << (first % 64));
        let mut index = first / 64;
        let mut bits = masked;
        for _ in 0..=self.occupied.len() {
            if bits != 0 {
                let slot = (index % self.occupied.len()) * 64 + bits.trailing_zeros() as usize;
                let steps = (slot + WHEEL_SLOTS - first) % WHEEL_SLOTS + 1;
                return Some(self.now.plus(steps as u32));
            }
            index += 1;
            bits = word(index);
        }
        None
    }
}

fn slot(tick: Tick) -> usize {
    tick.0 as usize % WHEEL_SLOTS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn advance(wheel: &mut Wheel, now: u32) -> Vec<(u32, u32)> {
        std::iter::from_fn(|| wheel.pop(Tick(now)).map(|key| (wheel.now.0, key))).collect()
    }

    #[test]
    fn entries_come_out_at_their_tick_and_in_order() {
        let mut wheel = Wheel::new();
        for (key, due) in [(1, 5), (2, 3), (3, 5), (4, 64), (5, 4000)] {
            wheel.insert(key, Tick(due));
        }
        assert_eq!(wheel.next(), Some(Tick(3)));
        assert_eq!(advance(&mut wheel, 2), []);
        assert_eq!(advance(&mut wheel, 5), [(3, 2), (5, 3), (5, 1)]);
        assert_eq!(advance(&mut wheel, 5000), [(64, 4), (4000, 5)]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_deadline_that_is_gone_is_the_next_tick_and_one_too_far_comes_round_at_the_horizon() {
        let mut wheel = Wheel::new();
        advance(&mut wheel, 100);
        assert_eq!(wheel.insert(1, Tick(7)), Tick(101));
        assert_eq!(wheel.insert(2, Tick(1_000_000)), Tick(100 + HORIZON));
        assert_eq!(advance(&mut wheel, 101), [(101, 1)]);
        assert_eq!(wheel.next(), Some(Tick(100 + HORIZON)));
    }

    #[test]
    fn rounding_goes_up_and_leaves_what_is_round() {
        let round = |tick, step| Tick(tick).round_up(step).0;
        assert_eq!([round(0, 10), round(1, 10), round(10, 10)], [0, 10, 10]);
        assert_eq!([round(7, 1), round(u32::MAX, 1)], [7, u32::MAX]);
        assert!(Tick(u32::MAX).round_up(10).is_after(Tick(u32::MAX)));
    }

    #[test]
    fn time_may_wrap() {
        let mut wheel = Wheel::new();
        wheel.now = Tick(u32::MAX - 2);
        assert_eq!(wheel.insert(1, Tick(4)), Tick(4));
        assert_eq!(wheel.next(), Some(Tick(4)));
        assert_eq!(advance(&mut wheel, 3), []);
        assert_eq!(advance(&mut wheel, 4), [(4, 1)]);
    }

    #[test]
    fn every_slot_is_found_from_every_position() {
        let mut wheel = Wheel::new();
        for now in 0..(WHEEL_SLOTS as u32 * 2) {
            let ahead = 1 + (now * 37) % HORIZON;
            wheel.insert(0, Tick(now + ahead));
            assert_eq!(wheel.next(), Some(Tick(now + ahead)));
            assert_eq!(advance(&mut wheel, now + ahead).len(), 1);
            wheel.now = Tick(now + 1);
        }
    }

    proptest! {
        #[test]
        fn every_key_stands_in_one_place_and_comes_when_it_is_due(
            steps in prop::collection::vec((0u32..20, 1u32..6000, 0u8..4), 1..200),
        ) {
            let mut wheel = Wheel::new();
            let mut model = std::collections::BTreeMap::new();
            let mut now = 0;
            for (key, ahead, step) in steps {
                match step {
                    0 => {
                        wheel.remove(key);
                        model.remove(&key);
                    }
                    1 => {
                        now += ahead / 4;
                        let mut due: Vec<_> = advance(&mut wheel, now);
                        let mut expected: Vec<_> = model.iter().map(|(&key, &at)| (at, key)).collect();
                        expected.retain(|&(at, _)| at <= now);
                        model.retain(|_, at| *at > now);
                        due.sort_unstable();
                        expected.sort_unstable();
                        prop_assert_eq!(due, expected);
                    }
                    _ => {
                        model.insert(key, wheel.insert(key, Tick(now + ahead)).0);
                    }
                }
                let next = model.values().min().map(|&at| Tick(at));
                prop_assert_eq!(wheel.next(), next);
            }
        }
    }
}
