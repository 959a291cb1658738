//! What an emitter is told of its lines: acks, at once or when the journal or Redis has their events,
//! and what did not get there.
//!
//! Part of [`Emitter`]; which acks wait is [`Settling`]'s business.

use std::ops::RangeInclusive;

use super::Emitter;
use crate::event::{Code, Runs};
use crate::router::settling::{Ack, Settling};

/// The numbers that Redis gave events. Until then they have provisional ones.
#[derive(Default)]
pub(super) struct Names {
    /// That of the newest event that was acknowledged.
    pub(super) acked: Option<u64>,
    /// The newest provisional one that has a number, and that.
    newest: Option<(u64, u64)>,
}

impl Names {
    /// Remembers the number of the event with this provisional one, if it is known by now.
    fn note(&mut self, provisional: u64, name: impl Fn(u64) -> Option<u64>) {
        if let Some(number) = name(provisional) {
            self.newest = Some((provisional, number));
        }
    }

    /// The number of the newest event when this ack is out.
    fn after(&mut self, ack: Ack, name: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let named = ack.newest.and_then(|provisional| {
            let remembered = self.newest.filter(|&(newest, _)| newest == provisional);
            name(provisional).or(remembered.map(|(_, number)| number))
        });
        // Where no event is new, the newest is that of the ack before.
        self.acked = named.or(self.acked);
        self.acked
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
            None => self.put_ack(ack, runs),
        }
    }

    /// Acknowledges what waited for the journal, as far as it has the events up to `safe_to`. If it
    /// is in trouble, answers every line with an event beyond `lost.0` with the reason, `lost.1`; gives
    /// how many these were.
    pub fn settle(&mut self, safe_to: u64, lost: Option<(u64, &str)>, runs: &Runs) -> u64 {
        let mut given_up = 0;
        while let Some(settling) = &mut self.settling {
            if let Some(ack) = settling.settle(safe_to) {
                self.put_ack(ack, runs);
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
                self.put_ack(ack, runs);
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
    /// provisional number `known_to`. `name` tells the number of one that was read back of late. Gives
    /// how many lines were answered that their events did not get there.
    pub fn settle_named(
        &mut self,
        known_to: u64,
        name: impl Fn(u64) -> Option<u64>,
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
            let newest = names.after(ack, &name);
            for line in lost.into_iter().flatten() {
                let message = "Redis could not be reached in time, so the event may not have been \
                               delivered: send it again with the same key";
                self.put_error(line, Code::Unavailable.as_str(), None, message);
                given_up += 1;
            }
            let lines = ack.lines;
            self.put_ack(Ack { lines, newest }, runs);
        }
        given_up
    }

    /// Whether lines wait for the journal or Redis.
    pub fn is_settling(&self) -> bool {
        self.settling
            .as_ref()
            .is_some_and(|settling| !settling.is_empty())
    }

    fn put_ack(&mut self, ack: Ack, runs: &Runs) {
        self.acked = ack.lines;
        let mut digits = itoa::Buffer::new();
        self.output.extend_from_slice(b"{\"ack\":");
        self.output
            .extend_from_slice(digits.format(self.acked).as_bytes());
        if let Some(newest) = ack.newest {
            self.output.extend_from_slice(b",\"id\":\"");
            runs.put_id(newest, &mut self.output);
            self.output.push(b'"');
        }
        self.output.extend_from_slice(b"}\n");
    }
}
