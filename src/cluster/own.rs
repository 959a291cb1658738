//! What this host has given to Redis and has not read back yet.
//!
//! Owned by the router's [`Cluster`](super::Cluster). Pure. Until an entry is read back its events
//! have provisional numbers, which only this process knows: emitters wait by them, and are told the
//! real ones. Where this host delivers alone while it is cut off, nobody waits; but it is still known of
//! each batch that it is to come.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::{Block, Mark};
use crate::limits;

/// What is read back of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Which of its host's batches it is.
    pub batch: u64,
    /// The number of its first event that is no repeat.
    pub first: u64,
    /// Events whose key was used before: their places in the batch, ascending, and the numbers of
    /// those that used it.
    pub repeats: Vec<(u32, u64)>,
    /// Of a revocation: Redis keeps it for hosts that come later.
    pub is_stored: bool,
}

/// Since when a batch is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// When its first line was read.
    pub received: Instant,
    /// When it was given to Redis.
    pub given: Instant,
}

/// What an event is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// Its number; of one that was delivered alone, that of the event which it follows.
    pub number: u64,
    /// It was delivered on this host alone: what is had with it, and what its id ends in.
    pub alone: Option<(Mark, u64)>,
}

/// What has become of a batch that was read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBack {
    /// It was waited for since then.
    Waited(Since),
    /// It was delivered on this host before.
    Delivered,
}

/// Events of one batch.
struct Batch {
    number: u64,
    /// Provisional numbers.
    events: RangeInclusive<u64>,
    weight: usize,
    since: Since,
    /// To be delivered alone, if it comes to that.
    block: Option<Arc<Block>>,
    fate: Fate,
}

enum Fate {
    Open,
    Read(Receipt),
    /// Delivered on this host alone.
    Alone(Behind),
    Lost,
}

/// Where those were to whom a batch was delivered on this host alone.
#[derive(Clone, Copy)]
struct Behind {
    /// Behind this event.
    number: u64,
    /// The id of the newest event ended in that.
    height: u64,
}

/// Events of a batch that was delivered on this host alone, and has not come back.
struct Alone {
    number: u64,
    events: RangeInclusive<u64>,
    weight: usize,
    behind: Behind,
}

/// Who knows the names of a batch's events.
enum Names {
    Read(Receipt),
    Alone(u64, Behind),
}

/// How long to wait for the batch with this number, since its first line came. Up to the batch `written` Redis has them.
pub fn patience(number: u64, written: u64) -> Duration {
    if number <= written {
        limits::CLUSTER_UNREAD
    } else {
        limits::CLUSTER_HOLD
    }
}

/// The batches on their way, oldest first.
#[derive(Default)]
pub struct OwnBatches {
    waiting: VecDeque<Batch>,
    /// What they weigh, in bytes, ...
    weight: usize,
    /// ... and how many events they have.
    events: u64,
    /// Up to this provisional number it is known what has become of events.
    resolved_to: u64,
    /// Batches that were delivered on this host alone, and have not come back, oldest first.
    alone: VecDeque<Alone>,
    /// Events in them.
    alone_events: u64,
    /// Redis has the first of them since then at least, and is in reach.
    unread_since: Option<Instant>,
    /// Batches resolved of late, whose events can be named.
    named: Vec<(RangeInclusive<u64>, Names)>,
    /// Events that emitters are to be told will not come.
    lost: Vec<RangeInclusive<u64>>,
    has_news: bool,
}

impl OwnBatches {
    /// None yet; events up to this provisional number are another process'.
    pub fn behind(resolved_to: u64) -> OwnBatches {
        OwnBatches {
            resolved_to,
            ..OwnBatches::default()
        }
    }

    /// Takes note of a batch that is given to Redis at `now`, with these provisional numbers. Where it may
    /// be delivered alone, `block` holds its events.
    pub fn give(
        &mut self,
        number: u64,
        events: RangeInclusive<u64>,
        (weight, block): (usize, Option<Arc<Block>>),
        received: Instant,
        now: Instant,
    ) {
        self.weight += weight;
        self.events += count(&events);
        self.waiting.push_back(Batch {
            number,
            events,
            weight,
            since: Since {
                received,
                given: now,
            },
            block,
            fate: Fate::Open,
        });
    }

    /// A batch was read back: what had become of it, if it was not given up.
    pub fn read(&mut self, receipt: Receipt) -> Option<ReadBack> {
        if self.settle_alone(receipt.batch) {
            return Some(ReadBack::Delivered);
        }
        let batch = self.open(receipt.batch)?;
        batch.fate = Fate::Read(receipt);
        let since = batch.since;
        self.resolve();
        Some(ReadBack::Waited(since))
    }

    /// Up to this batch, those that were delivered alone have come back or never will. Whether it is one
    /// of them.
    fn settle_alone(&mut self, batch: u64) -> bool {
        let mut is_one = false;
        while let Some(alone) = self.alone.pop_front_if(|alone| alone.number <= batch) {
            is_one = alone.number == batch;
            self.weight -= alone.weight;
            self.alone_events -= count(&alone.events);
            self.unread_since = None;
        }
        is_one
    }

    /// Takes all that is waited for, to be delivered on this host alone, to those who are behind the event
    /// with this number and have had an id that ends in `height`: batches by their numbers, oldest first.
    pub fn deliver_alone(&mut self, number: u64, mut height: u64) -> Vec<(u64, Arc<Block>)> {
        let mut taken = Vec::new();
        for batch in &mut self.waiting {
            if let (Fate::Open, Some(block)) = (&batch.fate, batch.block.take()) {
                batch.fate = Fate::Alone(Behind { number, height });
                height += count(&batch.events);
                taken.push((batch.number, block));
            }
        }
        if !taken.is_empty() {
            self.resolve();
        }
        taken
    }

    /// Whether one is waited for as long as [`OwnBatches::expire`] lets it.
    pub fn is_overdue(&self, written: u64, now: Instant) -> bool {
        self.deadline_of_waiting(written)
            .is_some_and(|deadline| now >= deadline)
    }

    /// Gives up what was delivered alone, and Redis has had and lost: up to the batch `written` it was
    /// given them. Returns up to which one, if there are some.
    pub fn give_up_unread(&mut self, written: u64, is_in_reach: bool, now: Instant) -> Option<u64> {
        let is_written = self
            .alone
            .front()
            .is_some_and(|alone| alone.number <= written);
        if !is_written || !is_in_reach {
            self.unread_since = None;
            return None;
        }
        let since = *self.unread_since.get_or_insert(now);
        if now.saturating_duration_since(since) < limits::CLUSTER_UNREAD {
            return None;
        }
        self.settle_alone(written);
        Some(written)
    }

    fn open(&mut self, number: u64) -> Option<&mut Batch> {
        let at = self
            .waiting
            .binary_search_by_key(&number, |batch| batch.number);
        let batch = &mut self.waiting[at.ok()?];
        matches!(batch.fate, Fate::Open).then_some(batch)
    }

    /// Gives up what was not written in time, and what should have been read back long ago: Redis has
    /// lost it, or let go of it. Up to the batch `written` Redis has them. Returns the newest that was
    /// given up, and the last of its provisional numbers.
    pub fn expire(&mut self, written: u64, now: Instant) -> Option<(u64, u64)> {
        let mut lost = None;
        let waits_long = |batch: &&mut Batch| {
            now.saturating_duration_since(batch.since.received) >= limits::CLUSTER_HOLD
        };
        for batch in self.waiting.iter_mut().take_while(waits_long) {
            let is_over = now >= batch.since.received + patience(batch.number, written);
            if is_over && matches!(batch.fate, Fate::Open) {
                batch.fate = Fate::Lost;
                lost = Some((batch.number, *batch.events.end()));
            }
        }
        if lost.is_some() {
            self.resolve();
        }
        lost
    }

    /// When to look for those again, or for those that were delivered alone.
    pub fn deadline(&self, written: u64) -> Option<Instant> {
        let unread = self
            .unread_since
            .map(|since| since + limits::CLUSTER_UNREAD);
        let waiting = self.deadline_of_waiting(written);
        [unread, waiting].into_iter().flatten().min()
    }

    fn deadline_of_waiting(&self, written: u64) -> Option<Instant> {
        let is_open = |batch: &&Batch| matches!(batch.fate, Fate::Open);
        let due = |batch: &Batch| batch.since.received + patience(batch.number, written);
        // The oldest one, and the oldest of those that are not written, which are given up sooner.
        let split = self
            .waiting
            .partition_point(|batch| batch.number <= written);
        let oldest = self.waiting.iter().find(is_open);
        let unwritten = self.waiting.range(split..).find(is_open);
        [oldest, unwritten].into_iter().flatten().map(due).min()
    }

    /// Acks keep the order of lines: so what is resolved is what lies before the first open batch.
    fn resolve(&mut self) {
        while let Some(batch) = self
            .waiting
            .pop_front_if(|batch| !matches!(batch.fate, Fate::Open))
        {
            let Batch {
                number,
                events,
                weight,
                ..
            } = batch;
            self.weight -= weight;
            self.events -= count(&events);
            self.resolved_to = *events.end();
            self.has_news = true;
            match batch.fate {
                Fate::Read(receipt) => self.named.push((events, Names::Read(receipt))),
                Fate::Lost => self.lost.push(events),
                Fate::Alone(behind) => {
                    self.weight += weight;
                    self.alone_events += count(&events);
                    let names = Names::Alone(number, behind);
                    self.named.push((events.clone(), names));
                    self.alone.push_back(Alone {
                        number,
                        events,
                        weight,
                        behind,
                    });
                }
                Fate::Open => {}
            }
        }
    }

    /// Up to this provisional number it is known what has become of events.
    pub fn resolved_to(&self) -> u64 {
        self.resolved_to
    }

    /// Whether that has changed since the last time this was asked.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Events that will not come, once each.
    pub fn take_lost(&mut self) -> Vec<RangeInclusive<u64>> {
        std::mem::take(&mut self.lost)
    }

    /// What the event with this provisional number is called, if it was resolved since the last
    /// [`OwnBatches::forget_names`], or was delivered alone and has not come back; `host` is this one.
    pub fn name(&self, provisional: u64, host: u64) -> Option<Called> {
        let place_in =
            |events: &RangeInclusive<u64>| u32::try_from(provisional - events.start()).ok();
        let alone = |place: u32, batch, behind: Behind| {
            let place = place + 1;
            let mark = Mark { host, batch, place };
            Called {
                number: behind.number,
                alone: Some((mark, behind.height + u64::from(place))),
            }
        };
        let holds = |(events, _): &&(RangeInclusive<u64>, Names)| events.contains(&provisional);
        let Some((events, names)) = self.named.iter().find(holds) else {
            let is_before = |each: &Alone| *each.events.end() < provisional;
            let each = self.alone.get(self.alone.partition_point(is_before))?;
            if !each.events.contains(&provisional) {
                return None;
            }
            return Some(alone(place_in(&each.events)?, each.number, each.behind));
        };
        let place = place_in(events)?;
        let receipt = match names {
            Names::Read(receipt) => receipt,
            Names::Alone(batch, behind) => return Some(alone(place, *batch, *behind)),
        };
        let before = receipt.repeats.partition_point(|&(at, _)| at < place);
        let number = match receipt.repeats.get(before) {
            Some(&(at, number)) if at == place => number,
            _ => receipt.first + u64::from(place) - before as u64,
        };
        let alone = None;
        Some(Called { number, alone })
    }

    /// Every emitter has been told.
    pub fn forget_names(&mut self) {
        self.named.clear();
    }

    /// What is on its way weighs so many bytes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// So many events are on their way that somebody waits for.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// So many were delivered alone, and have not come back.
    pub fn alone_events(&self) -> u64 {
        self.alone_events
    }

    /// The first and the last batch that were delivered alone and have not come back, and how many events
    /// the last one has.
    pub fn alone(&self) -> Option<(u64, u64, u32)> {
        let (first, last) = (self.alone.front()?, self.alone.back()?);
        // A block has fewer than 2^32 frames.
        Some((first.number, last.number, count(&last.events) as u32))
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.alone.is_empty()
    }
}

fn count(events: &RangeInclusive<u64>) -> u64 {
    events.end() + 1 - events.start()
}

#[cfg(test)]
#[path = "own_tests.rs"]
mod tests;
