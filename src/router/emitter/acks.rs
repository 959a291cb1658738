//! What an emitter is told of its lines: acks, at once or when the journal or Redis has their events,
//! and what did not get there.
//!
//! Part of [`Emitter`]; which acks wait is [`Settling`]'s business.

use std::ops::RangeInclusive;

use super::Emitter;
use crate::cluster::Called;
use crate::event::position::put_beside;
use crate::event::{Code, Runs};
use crate::router::settling::{Ack, Settling};

/// What Redis calls events, or this host while it delivers alone. Until then they have provisional numbers.
#[derive(Default)]
pub(super) struct Names {
    /// The newest event that was acknowledged.
    pub(super) acked: Option<Called>,
    /// The newest provisional number that is called something, and what.
    newest: Option<(u64, Called)>,
}

impl Names {
    /// Remembers what the event with this provisional number is called, if that is known by now.
    fn note(&mut self, provisional: u64, name: impl Fn(u64) -> Option<Called>) {
        if let Some(called) = name(provisional) {
            self.newest = Some((provisional, called));
        }
    }

    /// The newest event when this ack is out, and whether this host alone has delivered it so far.
    fn after(&mut self, ack: Ack, name: impl Fn(u64) -> Option<Called>) -> (Option<Called>, bool) {
        let known = ack.newest.and_then(name);
        let named = ack.newest.and_then(|provisional| {
            let remembered = self.newest.filter(|&(newest, _)| newest == provisional);
            known.or(remembered.map(|(_, called)| called))
        });
        // Where no event is new, the newest is that of the ack before.
        self.acked = named.or(self.acked);
        (
            self.acked,
            known.is_some_and(|called| called.alone.is_some()),
        )
    }
}

impl Emitter {
    /// Its acks wait for the journal.
    pub fn wait_for_journal(&mut self) {
        self.settling = Some(Settling::default());
    }

    /// Its acks wait for Redis, which gives events their numbers.
    pub fn wait_for_cluster(&mut self) {
        self.settling = Some(Settling::default());
        self.names = Some(Names::default());
    }

    /// Every line counted so far has been handed down: acknowledges them if one is new, or lets them
    /// wait for the journal or Redis. `runs` names events.
    pub fn ack(&mut self, runs: &Runs) {
        let ack = Ack {
            lines: self.lines,
            newest: self.newest,
        };
        if ack.lines == self.handed_down {
            return;
        }
        self.handed_down = ack.lines;
        match &mut self.settling {
            Some(settling) => settling.close(ack),
            None => self.put_own_ack(ack, runs),
        }
    }

    /// Acknowledges what waited for the journal, as far as it has the events up to `safe_to`. If it
    /// is in trouble, answers every line with an event beyond `lost.0` with the reason, `lost.1`; gives
    /// how many these were.
    pub fn settle(&mut self, safe_to: u64, lost: Option<(u64, &str)>, runs: &Runs) -> u64 {
        let mut given_up = 0;
        while let Some(settling) = &mut self.settling {
            if let Some(ack) = settling.settle(safe_to) {
                self.put_own_ack(ack, runs);
            } else if let Some((written_to, reason)) = lost
                && let Some((ack, lines)) = settling.give_up(written_to)
            {
                let message = format!(
                    "the event was delivered, but the journal could not keep it ({reason}): send \
                     it again with the same key"
                );
                for line in lines.into_iter().flatten() {
                    self.put_error(line, Code::Unavailable.as_str(), None, &message);
                    given_up += 1;
                }
                self.put_own_ack(ack, runs);
            } else {
                break;
            }
        }
        given_up
    }

    /// These events, by their provisional numbers, will not come.
    pub fn lose(&mut self, events: &RangeInclusive<u64>) {
        if let Some(settling) = &mut self.settling {
            settling.lose(events);
        }
    }

    /// Acknowledges what waited for Redis, as far as it is known what has become of events: up to the
    /// provisional number `known_to`. `name` tells what one is called that was resolved of late. Gives
    /// how many lines were answered that their events did not get there.
    pub fn settle_named(
        &mut self,
        known_to: u64,
        name: impl Fn(u64) -> Option<Called>,
        runs: &Runs,
    ) -> u64 {
        let mut given_up = 0;
        while let (Some(settling), Some(names)) = (&mut self.settling, &mut self.names) {
            if let Some(newest) = self.newest {
                names.note(newest, &name);
            }
            let (ack, lost) = match settling.settle(known_to) {
                Some(ack) => (ack, Vec::new()),
                None => match settling.take_lost(known_to) {
                    Some(lost) => lost,
                    None => break,
                },
            };
            let (newest, is_alone) = names.after(ack, &name);
            for line in lost.into_iter().flatten() {
                let message = "Redis could not be reached in time, so the event may not have been \
                               delivered: send it again with the same key";
                self.put_error(line, Code::Unavailable.as_str(), None, message);
                given_up += 1;
            }
            self.put_ack(ack.lines, newest, is_alone, runs);
        }
        given_up
    }

    /// Whether lines wait for the journal or Redis.
    pub fn is_settling(&self) -> bool {
        self.settling
            .as_ref()
            .is_some_and(|settling| !settling.is_empty())
    }

    /// An ack where events have the numbers that this host gives them.
    fn put_own_ack(&mut self, ack: Ack, runs: &Runs) {
        let newest = ack.newest.map(|number| Called {
            number,
            alone: None,
        });
        self.put_ack(ack.lines, newest, false, runs);
    }

    fn put_ack(&mut self, lines: u64, newest: Option<Called>, is_alone: bool, runs: &Runs) {
        self.acked = lines;
        let mut digits = itoa::Buffer::new();
        self.output.extend_from_slice(b"{\"ack\":");
        self.output
            .extend_from_slice(digits.format(self.acked).as_bytes());
        if let Some(Called { number, alone }) = newest {
            self.output.extend_from_slice(b",\"id\":\"");
            runs.put_id(number, &mut self.output);
            if let Some((mark, height)) = alone {
                put_beside(&[], Some(mark), height, &mut self.output);
            }
            self.output.push(b'"');
        }
        if is_alone {
            self.output.extend_from_slice(b",\"local\":true");
        }
        self.output.extend_from_slice(b"}\n");
    }
}
