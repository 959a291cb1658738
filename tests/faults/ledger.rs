//! What all clients and emitters have to agree on: every event has one id, and ids are one order.
//!
//! Whoever learns an event's id first writes it down; everybody else is compared with that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::universe::{EMITTERS, Serial};

/// An event's id: a run of the server, and a number that counts on from run to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Id(u64);

const NUMBER_BITS: u32 = 48;

impl Id {
    fn new(run: usize, number: u64) -> Id {
        Id((run as u64) << NUMBER_BITS | number)
    }

    /// Its place in the order of all events.
    pub fn number(self) -> u64 {
        self.0 & ((1 << NUMBER_BITS) - 1)
    }
}

pub struct Ledger {
    /// The id of each emitter's events, the last event behind them; 0 while nobody knows it.
    ids: Vec<Vec<AtomicU64>>,
    /// What ids of each known run begin with; run 0 is none.
    runs: Mutex<Vec<String>>,
    /// The server's own events, of customers who come and go: nobody can tell beforehand which there
    /// will be, but those who watch them must have seen the same ones.
    presence: Mutex<Vec<Id>>,
    /// How many of them each of those has seen before the last event.
    watched: Mutex<Vec<usize>>,
    /// Events of each emitter, once it is settled.
    total: OnceLock<u64>,
}

impl Ledger {
    /// For so many events of each emitter at most.
    pub fn new(events_each: u64) -> Ledger {
        let unknown = |count: u64| (0..count).map(|_| AtomicU64::new(0)).collect();
        let mut ids: Vec<Vec<AtomicU64>> = (0..EMITTERS).map(|_| unknown(events_each)).collect();
        ids.push(unknown(1));
        Ledger {
            ids,
            runs: Mutex::new(vec![String::new()]),
            presence: Mutex::default(),
            watched: Mutex::default(),
            total: OnceLock::new(),
        }
    }

    /// There will be so many events of each emitter, before the last event of all.
    pub fn settle_total(&self, events_each: u64) {
        self.total.get_or_init(|| events_each);
    }

    pub fn total(&self) -> Option<u64> {
        self.total.get().copied()
    }

    /// An id as it was read.
    pub fn id(&self, text: &str) -> Result<Id, String> {
        let parts = text.rsplit_once('-');
        let (run, number) = parts
            .and_then(|(run, number)| Some((run, number.parse().ok()?)))
            .filter(|&(_, number): &(&str, u64)| number < 1 << NUMBER_BITS)
            .ok_or_else(|| format!("{text:?} is no id"))?;
        let mut runs = self.runs.lock().unwrap();
        // Most are of the newest run.
        let known = runs.iter().rposition(|known| known == run);
        let index = known.unwrap_or_else(|| {
            runs.push(run.to_owned());
            runs.len() - 1
        });
        Ok(Id::new(index, number))
    }

    /// Somebody has learnt an event's id.
    pub fn note(&self, serial: Serial, id: Id) -> Result<(), String> {
        let place = self
            .ids
            .get(serial.emitter)
            .and_then(|ids| ids.get(serial.n as usize))
            .ok_or_else(|| format!("nobody emits an event {serial}"))?;
        match place.compare_exchange(0, id.0, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            Err(known) if known == id.0 => Ok(()),
            Err(known) => Err(format!(
                "event {serial} has the id {} here and {} elsewhere",
                self.show(id),
                self.show(Id(known))
            )),
        }
    }

    /// A watcher has seen an event of the server itself, after `seen` others of them.
    pub fn note_presence(&self, seen: usize, id: Id) -> Result<(), String> {
        let mut presence = self.presence.lock().unwrap();
        match presence.get(seen).copied() {
            None => presence.push(id),
            Some(first) if first == id => {}
            Some(first) => {
                return Err(format!(
                    "the server's own event number {seen} is {} here and {} elsewhere",
                    self.show(id),
                    self.show(first)
                ));
            }
        }
        Ok(())
    }

    /// A watcher has come to the last event, after so many of the server's own.
    pub fn end_presence(&self, seen: usize) {
        self.watched.lock().unwrap().push(seen);
    }

    /// What is wrong with the order as a whole.
    pub fn verdict(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut all: Vec<Id> = self.presence.lock().unwrap().clone();
        for (emitter, ids) in self.ids.iter().enumerate() {
            let known: Vec<(usize, Id)> = ids
                .iter()
                .map(|id| Id(id.load(Ordering::Relaxed)))
                .enumerate()
                .filter(|(_, id)| id.number() > 0)
                .collect();
            for pair in known.windows(2) {
                let [(before, first), (after, second)] = pair else {
                    continue;
                };
                if first.number() >= second.number() {
                    wrong.push(format!(
                        "the ids of emitter {emitter} go back: {} for its event {before}, {} for {after}",
                        self.show(*first),
                        self.show(*second)
                    ));
                }
            }
            all.extend(known.iter().map(|&(_, id)| id));
        }
        all.sort_unstable_by_key(|id| id.number());
        let twice = all
            .windows(2)
            .filter(|pair| pair[0].number() == pair[1].number());
        wrong.extend(twice.map(|pair| {
            format!(
                "two events have one place: {} and {}",
                self.show(pair[0]),
                self.show(pair[1])
            )
        }));
        let watched = self.watched.lock().unwrap();
        if watched.iter().any(|seen| *seen != watched[0]) {
            wrong.push(format!(
                "not everybody has seen the same events of the server itself: {watched:?}"
            ));
        }
        wrong
    }

    fn show(&self, id: Id) -> String {
        let run = (id.0 >> NUMBER_BITS) as usize;
        format!("{}-{}", self.runs.lock().unwrap()[run], id.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(ids: &[(usize, u64, &str)]) -> (Ledger, Vec<String>) {
        let ledger = Ledger::new(10);
        let mut wrong = Vec::new();
        for &(emitter, n, id) in ids {
            let id = ledger.id(id).unwrap();
            wrong.extend(ledger.note(Serial { emitter, n }, id).err());
        }
        wrong.extend(ledger.verdict());
        (ledger, wrong)
    }

    #[test]
    fn one_order_over_several_runs_is_good() {
        let (ledger, wrong) = noted(&[
            (0, 5, "b-9"),
            (0, 0, "a-1"),
            (1, 0, "a-2"),
            (0, 1, "a-3"),
            (0, 1, "a-3"),
            (3, 0, "b-10"),
        ]);
        assert_eq!(wrong, [""; 0]);
        let ids = ["a-4", "b-8"].map(|id| ledger.id(id).unwrap());
        for _ in 0..2 {
            for (seen, id) in ids.into_iter().enumerate() {
                ledger.note_presence(seen, id).unwrap();
            }
            ledger.end_presence(2);
        }
        assert_eq!(ledger.verdict(), [""; 0]);
    }

    #[test]
    fn whatever_breaks_the_order_is_found() {
        for (ids, says) in [
            (
                vec![(0, 1, "a-3"), (0, 1, "a-4")],
                "the id a-4 here and a-3 elsewhere",
            ),
            (
                vec![(0, 1, "a-3"), (0, 1, "b-3")],
                "the id b-3 here and a-3 elsewhere",
            ),
            (vec![(2, 1, "a-5"), (2, 2, "b-4")], "go back"),
            (
                vec![(1, 1, "a-5"), (2, 2, "b-5")],
                "two events have one place",
            ),
            (vec![(1, 10, "a-5")], "nobody emits an event 1-10"),
            (vec![(4, 0, "a-5")], "nobody emits an event 4-0"),
        ] {
            let (_, wrong) = noted(&ids);
            assert_eq!(wrong.len(), 1, "{wrong:?}");
            assert!(wrong[0].contains(says), "{wrong:?}");
        }
        for text in ["", "5", "a-", "a-x", "a-281474976710656"] {
            assert!(Ledger::new(1).id(text).is_err(), "{text}");
        }
    }

    #[test]
    fn watchers_who_have_seen_different_things_are_found() {
        let ledger = Ledger::new(1);
        let [one, two] = ["a-1", "a-2"].map(|id| ledger.id(id).unwrap());
        ledger.note_presence(0, one).unwrap();
        assert!(ledger.note_presence(0, two).is_err());
        ledger.note_presence(1, two).unwrap();
        ledger.end_presence(2);
        ledger.end_presence(1);
        assert!(ledger.verdict()[0].contains("[2, 1]"));
    }
}
