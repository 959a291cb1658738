//! Deadlines of connections: a wheel of slab keys, one live entry a connection, no object a timer.
//!
//! Owned by the reactor. Pure: time comes in as ticks since the reactor's start. A connection
//! remembers the tick it is due at; entries that no longer match are passed over, so moving a
//! deadline later costs nothing. Deadlines beyond the wheel's horizon come round early, are found
//! not due by the connection, and go round again.

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
}

/// Which connection an entry is for: its slab key and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Slab key.
    pub key: u32,
    /// Tells the connection from an earlier one under the same key.
    pub generation: u32,
}

/// The wheel.
pub struct Wheel {
    slots: Vec<Vec<Entry>>,
    /// A bit for every slot that holds something.
    occupied: [u64; WHEEL_SLOTS / 64],
    /// Everything up to and including this tick has been taken.
    now: Tick,
}

const HORIZON: u32 = WHEEL_SLOTS as u32 - 1;

impl Wheel {
    /// An empty wheel at tick 0.
    pub fn new() -> Self {
        Self {
            slots: (0..WHEEL_SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; WHEEL_SLOTS / 64],
            now: Tick(0),
        }
    }

    /// Puts an entry at `due`, or at the horizon if that is nearer. A tick already gone is the
    /// next one. Returns where it was put.
    pub fn insert(&mut self, entry: Entry, due: Tick) -> Tick {
        let steps = if due.is_after(self.now) {
            due.0.wrapping_sub(self.now.0)
        } else {
            1
        };
        let at = self.now.plus(steps.min(HORIZON));
        let slot = at.0 as usize % WHEEL_SLOTS;
        self.slots[slot].push(entry);
        self.occupied[slot / 64] |= 1 << (slot % 64);
        at
    }

    /// Moves the wheel to `now` and the entries it passes, with their ticks, into `due`.
    pub fn advance(&mut self, now: Tick, due: &mut Vec<(Tick, Entry)>) {
        while now.is_after(self.now) {
            let Some(next) = self.next() else {
                self.now = now;
                return;
            };
            if next.is_after(now) {
                self.now = now;
                return;
            }
            self.now = next;
            let slot = next.0 as usize % WHEEL_SLOTS;
            self.occupied[slot / 64] &= !(1 << (slot % 64));
            due.extend(self.slots[slot].drain(..).map(|entry| (next, entry)));
            self.slots[slot].shrink_to(64);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u32) -> Entry {
        Entry { key, generation: 1 }
    }

    fn advance(wheel: &mut Wheel, now: u32) -> Vec<(u32, u32)> {
        let mut due = Vec::new();
        wheel.advance(Tick(now), &mut due);
        due.iter()
            .map(|(tick, entry)| (tick.0, entry.key))
            .collect()
    }

    #[test]
    fn entries_come_out_at_their_tick_and_in_order() {
        let mut wheel = Wheel::new();
        for (key, due) in [(1, 5), (2, 3), (3, 5), (4, 64), (5, 4000)] {
            wheel.insert(entry(key), Tick(due));
        }
        assert_eq!(wheel.next(), Some(Tick(3)));
        assert_eq!(advance(&mut wheel, 2), []);
        assert_eq!(advance(&mut wheel, 5), [(3, 2), (5, 1), (5, 3)]);
        assert_eq!(advance(&mut wheel, 5000), [(64, 4), (4000, 5)]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_deadline_that_is_gone_is_the_next_tick_and_one_too_far_comes_round_at_the_horizon() {
        let mut wheel = Wheel::new();
        advance(&mut wheel, 100);
        assert_eq!(wheel.insert(entry(1), Tick(7)), Tick(101));
        assert_eq!(wheel.insert(entry(2), Tick(1_000_000)), Tick(100 + HORIZON));
        assert_eq!(advance(&mut wheel, 101), [(101, 1)]);
        assert_eq!(wheel.next(), Some(Tick(100 + HORIZON)));
    }

    #[test]
    fn time_may_wrap() {
        let mut wheel = Wheel::new();
        wheel.now = Tick(u32::MAX - 2);
        assert_eq!(wheel.insert(entry(1), Tick(4)), Tick(4));
        assert_eq!(wheel.next(), Some(Tick(4)));
        assert_eq!(advance(&mut wheel, 3), []);
        assert_eq!(advance(&mut wheel, 4), [(4, 1)]);
    }

    #[test]
    fn every_slot_is_found_from_every_position() {
        let mut wheel = Wheel::new();
        for now in 0..(WHEEL_SLOTS as u32 * 2) {
            let ahead = 1 + (now * 37) % HORIZON;
            wheel.insert(entry(now), Tick(now + ahead));
            assert_eq!(wheel.next(), Some(Tick(now + ahead)));
            assert_eq!(advance(&mut wheel, now + ahead).len(), 1);
            wheel.now = Tick(now + 1);
        }
    }
}
