//! The reference for what the server owes: one plain list of the events that it has put in order.
//!
//! The events are taken from the blocks on their way from the router to the reactors, and held against
//! what emitters have said. Everything else (what is kept, which ids are known, what a restart may have
//! lost) is reckoned here from the documents, as slowly and obviously as possible.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shopwire::event::{Block, Run};

/// One event in the server's order.
pub struct Entry {
    /// Its id, as clients see it.
    pub id: String,
    /// The whole message, as clients see it.
    pub text: String,
    /// The event as it was emitted, with `to`.
    pub event: Value,
    mark: Option<u64>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to, and did.
    Drained,
    /// Its process was killed.
    Killed,
    /// So was the machine's power.
    PowerLost,
}

/// A block that the history may keep.
struct Kept {
    weight: usize,
    last: u64,
    received: Instant,
}

/// What somebody has said by an event.
pub struct Said {
    /// The event, with `to`.
    event: Value,
    /// By whom: they keep their order. Browsers may come back by another way and do not.
    emitter: Option<usize>,
}

/// The list.
pub struct Log {
    /// By number.
    pub entries: BTreeMap<u64, Entry>,
    /// The number of the newest event that was seen on its way to a reactor.
    pub newest: u64,
    /// All that was ever said, by its mark.
    said: HashMap<u64, Said>,
    /// The numbers of the events with these marks.
    numbers: HashMap<u64, u64>,
    /// The newest mark of each emitter since the server began.
    latest: HashMap<usize, u64>,
    /// Marks that were acknowledged ...
    acked: HashSet<u64>,
    /// ... and those of them that were before the server began.
    safe: HashSet<u64>,
    /// Events that were written, never came by, and were too old when the next server began: whose they
    /// were, only the server's keys tell.
    unseen: usize,
    /// Acks whose event has not come by yet: the id in the ack, and the mark it must be of.
    unproven: Vec<(String, u64)>,
    /// What was on its way since the server began, and what it found of the past.
    kept: Vec<Kept>,
    /// The newest event that was not kept any more when it began.
    floor: u64,
    runs: Vec<Run>,
    /// How much is kept, in bytes ...
    weight: usize,
    /// ... and for how long.
    age: Duration,
}

impl Log {
    /// An empty one, for a server that keeps so much.
    pub fn new(weight: usize, age: Duration) -> Log {
        Log {
            entries: BTreeMap::new(),
            newest: 0,
            said: HashMap::new(),
            numbers: HashMap::new(),
            latest: HashMap::new(),
            acked: HashSet::new(),
            safe: HashSet::new(),
            unseen: 0,
            unproven: Vec::new(),
            kept: Vec::new(),
            floor: 0,
            runs: Vec::new(),
            weight,
            age,
        }
    }

    /// Somebody is about to say this.
    pub fn say(&mut self, mark: u64, event: &Value, emitter: Option<usize>) {
        let event = event.clone();
        self.said.insert(mark, Said { event, emitter });
    }

    /// A block comes by on its way to a reactor that was handed everything up to `handed`. Returns what
    /// it has been handed with this one.
    pub fn pass(&mut self, block: &Block, handed: u64) -> u64 {
        assert_eq!(
            block.first_id(),
            handed + 1,
            "a reactor was handed a block out of order"
        );
        for (number, text) in messages(block) {
            if number <= self.newest {
                assert_eq!(
                    self.entries[&number].text, text,
                    "reactors are handed the same"
                );
            } else {
                assert_eq!(number, self.newest + 1, "numbers follow each other");
                self.add(number, text);
            }
        }
        if self
            .kept
            .last()
            .is_none_or(|last| last.last < block.last_id())
        {
            self.keep(block);
        }
        block.last_id()
    }

    fn keep(&mut self, block: &Block) {
        self.kept.push(Kept {
            weight: block.weight(),
            last: block.last_id(),
            received: block.received,
        });
    }

    fn add(&mut self, number: u64, text: &str) {
        let message: Value = serde_json::from_str(text).unwrap();
        let id = message["id"].as_str().unwrap().to_owned();
        let mark = message["data"]["mark"].as_u64();
        let (kind, data) = (&message["type"], &message["data"]);
        let event = match mark {
            None => {
                let name = kind.as_str().unwrap();
                assert!(
                    matches!(name, "customer:online" | "customer:offline"),
                    "nobody has said {text}"
                );
                json!({ "type": kind, "data": data })
            }
            Some(mark) => {
                let said = &self.said[&mark];
                assert_eq!(*kind, said.event["type"], "the type is as it was said");
                assert_eq!(*data, said.event["data"], "the data are as they were said");
                if let Some(emitter) = said.emitter {
                    let latest = self.latest.insert(emitter, mark).unwrap_or(0);
                    assert!(
                        mark > latest,
                        "an emitter's {mark} comes behind its {latest}"
                    );
                }
                let event = said.event.clone();
                if let Some(first) = self.numbers.insert(mark, number) {
                    // Only what nobody was told is safe may have been forgotten.
                    let is_forgotten = first <= self.floor && !self.safe.contains(&mark);
                    assert!(is_forgotten, "{mark} is the event {first} and {number}");
                }
                event
            }
        };
        self.newest = number;
        let text = text.to_owned();
        let entry = Entry {
            id,
            text,
            event,
            mark,
        };
        self.entries.insert(number, entry);
        self.prove_acks(false);
    }

    /// An emitter was told that what it said by `mark` is settled; where the ack names an event, that
    /// must be the one of `last`.
    pub fn ack(&mut self, mark: u64) {
        self.acked.insert(mark);
    }

    /// An ack named this event as the one of this mark.
    pub fn name(&mut self, id: &str, mark: u64) {
        self.unproven.push((id.to_owned(), mark));
        self.prove_acks(false);
    }

    fn prove_acks(&mut self, all: bool) {
        let (newest, entries) = (self.newest, &self.entries);
        self.unproven.retain(|(id, mark)| {
            let number = number_of(id);
            if number > newest {
                assert!(
                    !all,
                    "the ack for {mark} names {id}, which no reactor was handed"
                );
                return true;
            }
            if let Some(entry) = entries.get(&number) {
                assert_eq!(entry.mark, Some(*mark), "the ack for {mark} names {id}");
            }
            false
        });
    }

    /// The number that an id stands for, if it is one that the server must know: `newest` is the
    /// newest one that it has handed out.
    pub fn known(&self, id: &str, newest: u64) -> Option<u64> {
        let (epoch, number) = id.split_once('-')?;
        let index = self
            .runs
            .iter()
            .position(|run| run.epoch.to_string() == epoch)?;
        let number = number.parse().ok()?;
        let next = self.runs.get(index + 1);
        let end = next.map_or(newest, |next| next.first - 1);
        (self.runs[index].first - 1..=end)
            .contains(&number)
            .then_some(number)
    }

    /// The newest event that must have been let go of by who has been handed everything up to
    /// `handed`.
    pub fn let_go(&self, handed: u64) -> u64 {
        let mut weight = 0;
        for kept in self.kept.iter().rev().filter(|kept| kept.last <= handed) {
            if weight >= self.weight {
                return kept.last;
            }
            weight += kept.weight;
        }
        if self.weight == 0 { handed } else { self.floor }
    }

    /// The newest event that may have been let go of at `now`.
    pub fn may_let_go(&self, handed: u64, now: Instant) -> u64 {
        let is_old = |kept: &&Kept| now.saturating_duration_since(kept.received) > self.age;
        let old = self.kept.iter().filter(is_old).map(|kept| kept.last).max();
        self.let_go(handed).max(old.unwrap_or(0).min(handed))
    }

    /// A server begins with what it has found of the past; `last` is how the one before ended.
    pub fn restart(&mut self, found: &Found, last: &Last, now: Instant) {
        self.prove_acks(true);
        self.latest.clear();
        self.runs.clone_from(&found.runs);
        if !last.has_journal {
            assert!(found.blocks.is_empty() && found.newest == 0);
            return self.forget_all();
        }
        let lost_power = last.end == Some(End::PowerLost);
        let is_owed = !lost_power || last.acks_wait;
        let owed = if !is_owed {
            0
        } else if lost_power || last.has_failed {
            self.newest_acked()
        } else {
            self.newest
        };
        let (newest, seen) = (found.newest, self.newest);
        assert!(
            newest >= owed,
            "{owed} is owed, and the next server goes on behind {newest}"
        );
        // What was written, and lay before a full ring, has a part in what is not kept any more.
        for block in &found.blocks {
            if block.last_id() > self.newest {
                self.keep(block);
            }
        }
        let first = found.blocks.first().map(|block| block.first_id());
        let floor = first.map_or(newest, |first| first - 1);
        if is_owed {
            // A time of the wall clock is a little less exact.
            let bound = self.may_let_go(u64::MAX, now + Duration::from_millis(20));
            let lost: Vec<u64> = (bound + 1..=floor.min(owed)).collect();
            assert!(
                lost.is_empty(),
                "{lost:?} are lost, only up to {bound} is not kept any more"
            );
        }
        self.entries.retain(|number, _| *number <= newest);
        let numbers = self.entries.iter();
        self.numbers = numbers
            .filter_map(|(number, entry)| Some((entry.mark?, *number)))
            .collect();
        self.newest = self.newest.min(newest);
        self.floor = floor;
        self.kept.clear();
        let mut expected = floor + 1;
        for block in &found.blocks {
            for (number, text) in messages(block) {
                assert_eq!(number, expected, "what was found has a hole");
                expected += 1;
                match self.entries.get(&number) {
                    Some(entry) => assert_eq!(entry.text, text, "what was found is what there was"),
                    // It was written, and no reactor was handed it yet.
                    None => self.add(number, text),
                }
            }
            self.keep(block);
        }
        self.newest = newest;
        let is_unseen = |number: &u64| !self.entries.contains_key(number);
        self.unseen += (seen + 1..=newest).filter(is_unseen).count();
        self.latest.clear();
        if is_owed {
            let lost = |mark: &&u64| !self.numbers.contains_key(*mark);
            let lost: Vec<&u64> = self.acked.iter().filter(lost).collect();
            let is_known = lost.len() <= self.unseen;
            assert!(is_known, "{lost:?} were acknowledged and are lost");
        } else {
            let numbers = &self.numbers;
            self.acked
                .retain(|mark| numbers.get(mark).is_some_and(|number| *number > floor));
        }
        self.safe.clone_from(&self.acked);
    }

    fn newest_acked(&self) -> u64 {
        let number = |mark: &u64| self.numbers.get(mark).copied();
        self.acked.iter().filter_map(number).max().unwrap_or(0)
    }

    fn forget_all(&mut self) {
        self.acked.clear();
        self.safe.clear();
        self.unseen = 0;
        self.entries.clear();
        self.numbers.clear();
        self.kept.clear();
        self.newest = 0;
        self.floor = 0;
    }
}

/// The last server, as far as it matters for what it owes.
pub struct Last {
    /// How it ended, if there was one.
    pub end: Option<End>,
    /// It had a journal.
    pub has_journal: bool,
    /// Acks waited for the disk.
    pub acks_wait: bool,
    /// The disk failed it at least once.
    pub has_failed: bool,
}

/// What a server has found of the past when it began.
pub struct Found {
    /// The newest number.
    pub newest: u64,
    /// The events that are kept.
    pub blocks: Vec<Arc<Block>>,
    /// The known runs, this one the last.
    pub runs: Vec<Run>,
}

/// The number in an id.
pub fn number_of(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

/// The messages of a block, with their numbers.
fn messages(block: &Block) -> impl Iterator<Item = (u64, &str)> {
    block.frames.iter().map(|frame| {
        let bytes = &block.bytes[frame.start as usize..frame.end as usize];
        let header = match bytes[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        (frame.id, std::str::from_utf8(&bytes[header..]).unwrap())
    })
}
