//! Lines of one emitter whose events the journal, or Redis, does not have yet: their ack waits.
//!
//! Owned by the emitter, where there is one of them. Pure: numbers in, acks out. What was read at once
//! is one batch, and is acknowledged at once.

use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};

/// The batches that wait, and the one being read.
#[derive(Default)]
pub struct Settling {
    open: Batch,
    closed: VecDeque<Batch>,
}

/// Lines that were read together.
#[derive(Default)]
struct Batch {
    /// Numbers of the lines that have an event, in runs.
    events: Vec<Range<u64>>,
    /// The number of the first of these events; 0 while there is none.
    first: u64,
    /// All of these are safe when the event with this number is.
    needs: u64,
    /// One of them will not come.
    is_lost: bool,
    ack: Ack,
}

/// What an emitter is told when a batch is settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// Lines settled, from the first one on.
    pub lines: u64,
    /// The number of the newest event among them.
    pub newest: Option<u64>,
}

impl Settling {
    /// The line with this number was accepted as the event `id`, or repeats its key.
    pub fn accepted(&mut self, line: u64, id: u64) {
        if self.open.first == 0 {
            self.open.first = id;
        }
        self.open.needs = self.open.needs.max(id);
        match self.open.events.last_mut() {
            Some(run) if run.end == line => run.end += 1,
            _ => self.open.events.push(line..line + 1),
        }
    }

    /// All lines of the batch have been read, and their events handed down.
    pub fn close(&mut self, ack: Ack) {
        let mut batch = std::mem::take(&mut self.open);
        batch.ack = ack;
        self.closed.push_back(batch);
    }

    /// The ack that can go out when all events up to `safe_to` are safe, if one can.
    pub fn settle(&mut self, safe_to: u64) -> Option<Ack> {
        let mut ack = None;
        while let Some(batch) = self.closed.front()
            && batch.needs <= safe_to
            && !batch.is_lost
        {
            ack = Some(batch.ack);
            self.closed.pop_front();
        }
        ack
    }

    /// The next batch that has events beyond `written_to`, which will not become safe: its ack, and
    /// the numbers of its lines with events.
    pub fn give_up(&mut self, written_to: u64) -> Option<(Ack, Vec<Range<u64>>)> {
        // One that needs less settles by itself, and acks keep their order.
        self.closed
            .pop_front_if(|batch| batch.needs > written_to)
            .map(|batch| (batch.ack, batch.events))
    }

    /// These events will not come: the batches that have some of them are answered so, when it is
    /// known what has become of the others.
    pub fn lose(&mut self, events: &RangeInclusive<u64>) {
        for batch in self.closed.iter_mut().chain([&mut self.open]) {
            let has_events = batch.first > 0;
            batch.is_lost |=
                has_events && batch.first <= *events.end() && batch.needs >= *events.start();
        }
    }

    /// The next batch with lost events, of which all is known up to `known_to`: its ack, and the
    /// numbers of its lines with events.
    pub fn take_lost(&mut self, known_to: u64) -> Option<(Ack, Vec<Range<u64>>)> {
        self.closed
            .pop_front_if(|batch| batch.is_lost && batch.needs <= known_to)
            .map(|batch| (batch.ack, batch.events))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.events.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(lines: u64, newest: u64) -> Ack {
        Ack {
            lines,
            newest: Some(newest),
        }
    }

    #[test]
    fn acks_go_out_in_order_as_far_as_events_are_safe() {
        let mut settling = Settling::default();
        settling.accepted(1, 11);
        settling.accepted(2, 12);
        settling.close(ack(2, 12));
        // Refused lines need nothing, but their ack does not overtake.
        settling.close(ack(3, 12));
        settling.accepted(4, 20);
        settling.close(ack(4, 20));
        assert_eq!(settling.settle(11), None);
        assert_eq!(settling.settle(12), Some(ack(3, 12)));
        assert_eq!(settling.settle(19), None);
        assert_eq!(settling.settle(20), Some(ack(4, 20)));
        assert!(settling.is_empty());
    }

    #[test]
    fn what_is_lost_is_told_in_its_turn() {
        let mut settling = Settling::default();
        settling.accepted(1, 11);
        settling.close(ack(1, 11));
        settling.accepted(2, 12);
        settling.accepted(3, 13);
        settling.close(ack(3, 13));
        settling.accepted(4, 14);
        settling.lose(&(13..=13));
        settling.close(ack(5, 14));
        assert_eq!(settling.take_lost(13), None, "the first one comes first");
        assert_eq!(settling.settle(12), Some(ack(1, 11)));
        assert_eq!(settling.take_lost(12), None, "of one nobody knows yet");
        assert_eq!(settling.settle(13), None);
        let (told, lines) = settling.take_lost(13).unwrap();
        assert_eq!(told, ack(3, 13));
        assert!(lines.into_iter().flatten().eq([2, 3]));
        assert_eq!(settling.settle(14), Some(ack(5, 14)));
        assert!(settling.is_empty());
    }

    #[test]
    fn what_will_not_be_safe_is_given_up_line_by_line() {
        let mut settling = Settling::default();
        settling.accepted(1, 11);
        settling.close(ack(1, 11));
        settling.accepted(2, 12);
        settling.accepted(3, 13);
        settling.accepted(5, 14);
        settling.close(ack(5, 14));
        assert_eq!(settling.give_up(11), None, "the first one may yet be safe");
        assert_eq!(settling.settle(11), Some(ack(1, 11)));
        assert_eq!(settling.give_up(11), Some((ack(5, 14), vec![2..4, 5..6])));
        assert_eq!(settling.give_up(11), None);
    }
}
