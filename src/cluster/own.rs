//! What this host has given to Redis and has not read back yet.
//!
//! Owned by the router's [`Cluster`](super::Cluster). Pure. Until an entry is read back its events
//! have provisional numbers, which only this process knows: emitters wait by them, and are told the
//! real ones.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

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

/// Events of one batch.
struct Batch {
    number: u64,
    /// Provisional numbers.
    events: RangeInclusive<u64>,
    weight: usize,
    since: Since,
    fate: Fate,
}

enum Fate {
    Open,
    Read(Receipt),
    Lost,
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
    /// Batches resolved of late, whose events can be named.
    named: Vec<(RangeInclusive<u64>, Receipt)>,
    /// Events that emitters are to be told will not come.
    lost: Vec<RangeInclusive<u64>>,
    has_news: bool,
}

impl OwnBatches {
    /// Takes note of a batch that is given to Redis at `now`, with these provisional numbers.
    pub fn give(
        &mut self,
        number: u64,
        events: RangeInclusive<u64>,
        weight: usize,
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
            fate: Fate::Open,
        });
    }

    /// A batch was read back. Returns since when it was waited for, if somebody still waits for it.
    pub fn read(&mut self, receipt: Receipt) -> Option<Since> {
        let batch = self.open(receipt.batch)?;
        batch.fate = Fate::Read(receipt);
        let since = batch.since;
        self.resolve();
        Some(since)
    }

    fn open(&mut self, number: u64) -> Option<&mut Batch> {
        let at = self
            .waiting
            .binary_search_by_key(&number, |batch| batch.number);
        let batch = &mut self.waiting[at.ok()?];
        matches!(batch.fate, Fate::Open).then_some(batch)
    }

    /// Gives up what was not written in time, and what should have been read back long ago: Redis has
    /// lost it, or let go of it. Up to the batch `written` Redis has them.
    pub fn expire(&mut self, written: u64, now: Instant) {
        let mut has_lost = false;
        let waits_long = |batch: &&mut Batch| {
            now.saturating_duration_since(batch.since.received) >= limits::CLUSTER_HOLD
        };
        for batch in self.waiting.iter_mut().take_while(waits_long) {
            let is_over = now >= batch.since.received + patience(batch.number, written);
            if is_over && matches!(batch.fate, Fate::Open) {
                batch.fate = Fate::Lost;
                has_lost = true;
            }
        }
        if has_lost {
            self.resolve();
        }
    }

    /// When to look for those again.
    pub fn deadline(&self, written: u64) -> Option<Instant> {
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
            self.weight -= batch.weight;
            self.events -= count(&batch.events);
            self.resolved_to = *batch.events.end();
            self.has_news = true;
            match batch.fate {
                Fate::Read(receipt) => self.named.push((batch.events, receipt)),
                Fate::Lost => self.lost.push(batch.events),
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

    /// The number of the event with this provisional number, if it was resolved since the last
    /// [`OwnBatches::forget_names`].
    pub fn name(&self, provisional: u64) -> Option<u64> {
        let holds = |(events, _): &&(RangeInclusive<u64>, Receipt)| events.contains(&provisional);
        let (events, receipt) = self.named.iter().find(holds)?;
        let place = u32::try_from(provisional - events.start()).ok()?;
        let before = receipt.repeats.partition_point(|&(at, _)| at < place);
        match receipt.repeats.get(before) {
            Some(&(at, number)) if at == place => Some(number),
            _ => Some(receipt.first + u64::from(place) - before as u64),
        }
    }

    /// Every emitter has been told.
    pub fn forget_names(&mut self) {
        self.named.clear();
    }

    /// What is on its way weighs so many bytes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// So many events are on their way.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn count(events: &RangeInclusive<u64>) -> u64 {
    events.end() + 1 - events.start()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(batch: u64, first: u64, repeats: &[(u32, u64)]) -> Receipt {
        Receipt {
            batch,
            first,
            repeats: repeats.to_vec(),
            is_stored: false,
        }
    }

    fn given(batches: &[(u64, RangeInclusive<u64>)]) -> (OwnBatches, Instant) {
        let (mut own, now) = (OwnBatches::default(), Instant::now());
        for (number, events) in batches {
            own.give(*number, events.clone(), 100, now, now);
        }
        (own, now)
    }

    #[test]
    fn events_are_named_as_the_receipt_says() {
        let (mut own, now) = given(&[(1, 1..=4), (3, 6..=6)]);
        let since = Since {
            received: now,
            given: now,
        };
        assert_eq!(own.read(receipt(1, 1000, &[(1, 70), (2, 71)])), Some(since));
        assert_eq!(own.resolved_to(), 4);
        assert!(own.take_news() && !own.take_news());
        let names = [1, 2, 3, 4].map(|number| own.name(number));
        assert_eq!(names, [Some(1000), Some(70), Some(71), Some(1001)]);
        assert_eq!(own.name(6), None);
        own.forget_names();
        assert_eq!(own.name(1), None);
        assert_eq!((own.weight(), own.events()), (100, 1));
        assert_eq!(own.read(receipt(1, 1000, &[])), None, "once");
        assert_eq!(own.read(receipt(2, 1000, &[])), None, "of nobody");
    }

    const NOTHING: u64 = 0;

    #[test]
    fn what_is_lost_waits_for_what_came_before() {
        let (mut own, now) = given(&[(1, 1..=1), (2, 2..=3), (4, 5..=5)]);
        own.expire(1, now + limits::CLUSTER_HOLD);
        assert!(!own.take_news());
        own.read(receipt(1, 10, &[]));
        assert_eq!(own.resolved_to(), 5);
        assert_eq!(own.take_lost(), [2..=3, 5..=5]);
        assert!(own.take_lost().is_empty());
        assert_eq!(own.read(receipt(2, 11, &[])), None, "it has come after all");
        assert!(own.is_empty() && own.weight() == 0 && own.events() == 0);
    }

    #[test]
    fn what_is_not_written_in_time_is_given_up_and_what_is_written_waits_longer() {
        let (mut own, now) = given(&[(1, 1..=1), (2, 2..=2)]);
        assert_eq!(own.deadline(NOTHING), Some(now + limits::CLUSTER_HOLD));
        own.expire(
            NOTHING,
            now + limits::CLUSTER_HOLD - Duration::from_millis(1),
        );
        assert!(own.take_lost().is_empty());
        // The first one was written meanwhile.
        assert_eq!(own.deadline(1), Some(now + limits::CLUSTER_HOLD));
        own.expire(1, now + limits::CLUSTER_HOLD);
        assert!(own.take_lost().is_empty(), "they keep their order");
        assert_eq!(own.deadline(1), Some(now + limits::CLUSTER_UNREAD));
        own.expire(1, now + limits::CLUSTER_UNREAD);
        assert_eq!(own.take_lost(), [1..=1, 2..=2]);
        assert_eq!(own.deadline(NOTHING), None);
    }
}
