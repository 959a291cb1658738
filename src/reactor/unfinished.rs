//! Messages whose ends have not come: what they hold together, and how long each may take.
//!
//! Part of the reactor. Whole messages, which nearly all are, pass by here without leaving a trace. Each reactor has a
//! bound of its own for all beginnings. While it is passed, whoever holds most of it altogether gives way: a user,
//! or the address of those whom nobody knows. So many small beginnings of one do not end the one message of
//! somebody else. And a message has to go on coming, or its connection ends.

use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::Reactor;
use crate::access::Role;
use crate::limits;
use crate::log_throttle::held_back;
use crate::wire::client_address::rate_key;
use crate::wire::{Assembler, CloseReason};

/// The beginnings that connections hold.
#[derive(Default)]
pub(super) struct Unfinished {
    /// Memory of all of them, in bytes.
    bytes: usize,
    /// When each began, by connection.
    began: HashMap<u32, Instant>,
    /// When it is next looked whether one takes too long; none while there are none.
    look: Option<Instant>,
}

impl Unfinished {
    /// What the connection holds is about to change, or to be gone: until it is kept again it does not count.
    pub(super) fn let_go(&mut self, assembler: &Assembler) {
        self.bytes -= assembler.unfinished();
    }

    /// The connection holds this from now on; it is another message than before if that one is `over`.
    pub(super) fn keep(&mut self, key: u32, assembler: &Assembler, over: bool, now: Instant) {
        self.bytes += assembler.unfinished();
        if !assembler.is_amid() {
            self.forget(key);
        } else if over {
            self.began.insert(key, now);
        } else {
            self.began.entry(key).or_insert(now);
        }
        if self.look.is_none() && !self.began.is_empty() {
            self.look = Some(now + limits::MESSAGE_LOOK);
        }
    }

    /// The connection holds nothing any more.
    pub(super) fn forget(&mut self, key: u32) {
        if !self.began.is_empty() {
            self.began.remove(&key);
        }
    }

    /// When it is next looked whether one takes too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.look
    }
}

/// How long a message may have been coming of which so many bytes are here.
fn patience(bytes: usize) -> Duration {
    let per_second = limits::MESSAGE_BYTES_PER_SECOND as f64;
    limits::MESSAGE_PATIENCE + Duration::from_secs_f64(bytes as f64 / per_second)
}

/// Whose a beginning is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Holder<'a> {
    User(&'a str),
    /// An address, or an IPv6 network: a token of a guest is anybody's.
    Address(u128),
}

/// What one holds.
#[derive(Default)]
struct Holding {
    bytes: usize,
    /// Bytes and connection of each.
    messages: Vec<(usize, u32)>,
}

/// Whose beginnings they are; what the back office holds is apart, and gives way last.
type Holdings<'a> = HashMap<(bool, Holder<'a>), Holding>;

/// The connections that give way until so many bytes are free: each time the longest message of whoever holds most.
fn giving_way(mut holdings: Holdings<'_>, mut too_much: usize) -> Vec<u32> {
    let mut keys = Vec::new();
    for holding in holdings.values_mut() {
        holding.messages.sort_unstable();
    }
    while too_much > 0 {
        let most = holdings
            .iter_mut()
            .max_by_key(|((is_storefront, _), holding)| {
                (!holding.messages.is_empty(), *is_storefront, holding.bytes)
            });
        let Some((bytes, key)) = most.and_then(|(_, holding)| {
            let longest = holding.messages.pop()?;
            holding.bytes -= longest.0;
            Some(longest)
        }) else {
            break;
        };
        too_much = too_much.saturating_sub(bytes);
        keys.push(key);
    }
    keys
}

impl Reactor {
    /// Closes whose messages give way until what is held of all is within its bound, and those that take too long.
    pub(super) fn keep_unfinished(&mut self) {
        let too_much = self.unfinished.bytes.saturating_sub(limits::UNFINISHED_MAX);
        if too_much > 0 {
            if let Some(held) = self.crowding.admit(self.now) {
                let (worker, bytes, held) = (self.index, self.unfinished.bytes, held_back(held));
                log::warn!(
                    worker;
                    "messages whose ends have not come hold {bytes} bytes, over the bound of {}: whoever holds most of it is closed{held}",
                    limits::UNFINISHED_MAX
                );
            }
            for key in giving_way(self.holdings(), too_much) {
                self.close(key, CloseReason::Unfinished);
            }
        }
        if self.unfinished.look.is_some_and(|at| at <= self.now) {
            self.end_slow_messages();
        }
        let stats = &self.shared.stats.reactors[self.index];
        stats.unfinished_bytes.set(self.unfinished.bytes as u64);
    }

    fn holdings(&self) -> Holdings<'_> {
        let mut holdings = Holdings::new();
        for &key in self.unfinished.began.keys() {
            let bytes = self.connections[key as usize].assembler.unfinished();
            let holding = holdings
                .entry((!self.is_back_office(key), self.holder(key)))
                .or_default();
            holding.bytes += bytes;
            holding.messages.push((bytes, key));
        }
        holdings
    }

    fn holder(&self, key: u32) -> Holder<'_> {
        match self.directory.user(key) {
            Some(user) if self.directory.role(key) != Role::Guest => Holder::User(user),
            _ => Holder::Address(rate_key(self.connections[key as usize].ip)),
        }
    }

    fn end_slow_messages(&mut self) {
        let is_over = |(&key, &began): (&u32, &Instant)| {
            let bytes = self.connections[key as usize].assembler.begun();
            (self.now.saturating_duration_since(began) > patience(bytes)).then_some(key)
        };
        let over: Vec<u32> = self.unfinished.began.iter().filter_map(is_over).collect();
        for key in over {
            self.close(key, CloseReason::MessageTimeout);
        }
        let is_left = !self.unfinished.began.is_empty();
        self.unfinished.look = is_left.then(|| self.now + limits::MESSAGE_LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holdings<'a>(all: &[(bool, Holder<'a>, usize, u32)]) -> Holdings<'a> {
        let mut holdings = Holdings::new();
        for &(is_storefront, holder, bytes, key) in all {
            let holding = holdings.entry((is_storefront, holder)).or_default();
            holding.bytes += bytes;
            holding.messages.push((bytes, key));
        }
        holdings
    }

    #[test]
    fn whoever_holds_most_altogether_gives_way() {
        let (ann, bob, anybody) = (Holder::User("ann"), Holder::User("bob"), Holder::Address(7));
        let all = [
            (true, ann, 200, 0),
            (true, bob, 75, 1),
            (true, bob, 80, 2),
            (true, bob, 75, 3),
            (true, anybody, 90, 4),
            (true, anybody, 90, 5),
            (true, anybody, 90, 6),
            (false, Holder::User("root"), 1000, 7),
        ];
        // 270 and 230 are more than Ann's 200, though each of them is less.
        assert_eq!(giving_way(holdings(&all), 91).len(), 2);
        let first: Vec<u32> = giving_way(holdings(&all), 170);
        assert_eq!(first[1], 2);
        assert!((4..=6).contains(&first[0]), "{first:?}");
        // The back office comes last, and there is an end.
        let everybody = giving_way(holdings(&all), usize::MAX);
        assert_eq!((everybody.len(), everybody[7]), (8, 7));
        assert!(giving_way(holdings(&all), 0).is_empty());
    }

    #[test]
    fn a_slow_phone_has_time_for_a_long_message_and_a_silent_one_has_not() {
        assert_eq!(patience(0), limits::MESSAGE_PATIENCE);
        // 1 MiB at 50 kbit/s takes 168 s.
        for seconds in 1..168_u64 {
            let come = seconds as usize * 50_000 / 8;
            assert!(patience(come) > Duration::from_secs(seconds));
        }
        assert!(patience(75_000) < Duration::from_secs(30));
    }

    #[test]
    fn each_message_has_its_own_time() {
        let limits = crate::wire::Limits {
            message: 100,
            binary: false,
        };
        let (mut assembler, mut unfinished) = (Assembler::default(), Unfinished::default());
        let feed = |assembler: &mut Assembler, bytes: &[u8]| {
            let (mut bytes, mut at) = (bytes.to_vec(), 0);
            while assembler
                .next(&mut bytes, &mut at, limits)
                .unwrap()
                .is_some()
            {}
        };
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        feed(&mut assembler, &[0x01, 0x82, 0, 0, 0, 0, b'a', b'b']);
        unfinished.keep(3, &assembler, false, at(0));
        assert_eq!(unfinished.began[&3], at(0));
        assert!(unfinished.bytes >= 2 && unfinished.deadline().is_some());
        unfinished.let_go(&assembler);
        feed(&mut assembler, &[0x00, 0x81, 0, 0, 0, 0, b'c']);
        unfinished.keep(3, &assembler, false, at(1));
        assert_eq!(unfinished.began[&3], at(0));
        // Its end, and the beginning of the next.
        unfinished.let_go(&assembler);
        feed(&mut assembler, &[0x80, 0x80, 0, 0, 0, 0, 0x01, 0x81]);
        unfinished.keep(3, &assembler, true, at(2));
        assert_eq!((unfinished.began[&3], unfinished.bytes), (at(2), 0));
        feed(&mut assembler, &[0, 0, 0, 0, b'd', 0x80, 0x80, 0, 0, 0, 0]);
        unfinished.keep(3, &assembler, true, at(3));
        assert!(unfinished.began.is_empty());
    }
}
