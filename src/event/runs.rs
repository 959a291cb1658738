//! The runs of the server whose ids are still known, and what those ids stand for.
//!
//! Sequence numbers count on from run to run where a journal keeps them, and every run has an
//! [`Epoch`] of its own: so an id is never used twice, not even where the end of a run was lost, and
//! one number line holds the events of all runs. Without a journal there is one run, from 1 on.
//! Made at start, read by the router (acks) and the reactors (`since`, `position`).

use serde::{Deserialize, Serialize};

use super::id::{Epoch, IdPrefix, parse_id};
use super::position::{Position, parse_beside, put_beside};

/// One run of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// What its ids begin with.
    pub epoch: Epoch,
    /// The number of its first event, whether there was one or not.
    pub first: u64,
}

/// The known runs, oldest first; the last one is now.
pub struct Runs {
    past: Box<[Run]>,
    now: Run,
    prefix: IdPrefix,
}

impl Runs {
    /// A run now, after those of `past`, whose numbers end where this one's begin.
    pub fn new(past: Vec<Run>, now: Run) -> Runs {
        Runs {
            past: past.into(),
            now,
            prefix: IdPrefix::new(now.epoch),
        }
    }

    /// The first run of all.
    pub fn only(epoch: Epoch) -> Runs {
        Runs::new(Vec::new(), Run { epoch, first: 1 })
    }

    /// The run now.
    pub fn now(&self) -> Run {
        self.now
    }

    /// All of them, oldest first.
    pub fn all(&self) -> impl Iterator<Item = Run> + '_ {
        self.past.iter().copied().chain([self.now])
    }

    /// The number of the event that `id` names, or that it says to be behind of: known are those of
    /// this run up to `newest`, and of earlier runs up to their ends.
    pub fn number(&self, id: &str, newest: u64) -> Option<u64> {
        let (epoch, number) = parse_id(id)?;
        let index = self.all().position(|run| run.epoch == epoch)?;
        let run = self.all().nth(index)?;
        let end = self
            .all()
            .nth(index + 1)
            .map_or(newest, |next| next.first - 1);
        // Before its first event a run's position is the number before that.
        (run.first - 1..=end).contains(&number).then_some(number)
    }

    /// Appends the id of the event with this number.
    pub fn put_id(&self, number: u64, out: &mut Vec<u8>) {
        if number >= self.now.first {
            return self.prefix.put_id(number, out);
        }
        // A number before all known runs is named by the oldest one, and known to nobody.
        let after = self.past.partition_point(|run| run.first <= number);
        let run = self.past.get(after.saturating_sub(1)).unwrap_or(&self.now);
        IdPrefix::new(run.epoch).put_id(number, out);
    }

    /// Where whoever tells this id stands: as [`Runs::number`], with what he has had beside.
    pub fn read(&self, id: &str, newest: u64) -> Option<Position> {
        let (plain, marks, height) = parse_beside(id)?;
        let number = self.number(plain, newest)?;
        let is_told = height.is_some();
        let position = Position {
            number,
            marks,
            height: height.unwrap_or(number),
        };
        (position.height >= number && is_told != position.is_plain()).then_some(position)
    }

    /// What to be told to stand there: the event's id, or where this run begins.
    pub fn position(&self, position: &Position) -> String {
        let (number, mut id) = (position.number, Vec::new());
        if number + 1 == self.now.first {
            self.prefix.put_id(number, &mut id);
        } else {
            self.put_id(number, &mut id);
        }
        if !position.is_plain() {
            put_beside(&position.marks, None, position.height, &mut id);
        }
        String::from_utf8(id).expect("an id is made of digits, letters and signs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs() -> Runs {
        let run = |epoch, first| Run {
            epoch: Epoch(epoch),
            first,
        };
        // The second run accepted nothing.
        Runs::new(vec![run(0xa, 1), run(0xb, 11)], run(0xc, 11))
    }

    #[test]
    fn every_number_has_an_id_that_leads_back_to_it() {
        let id = |number| {
            let mut id = Vec::new();
            runs().put_id(number, &mut id);
            String::from_utf8(id).unwrap()
        };
        for number in 0..30 {
            for id in [id(number), runs().position(&Position::of(number))] {
                assert_eq!(runs().number(&id, 30), Some(number), "{id}");
            }
        }
        assert_eq!([9, 10, 11].map(id), ["a-9", "a-10", "c-11"]);
        assert_eq!(runs().position(&Position::of(9)), "a-9");
        assert_eq!(
            runs().position(&Position::of(10)),
            "c-10",
            "where this run begins"
        );
        assert_eq!(runs().position(&Position::of(11)), "c-11");
    }

    #[test]
    fn a_position_reads_back_with_what_was_had_beside() {
        let position = |id| runs().read(id, 20);
        for id in ["c-15", "c-15-16", "c-15~ab.1.2-15", "c-15~ab.1.2~cd.1.1-17"] {
            assert_eq!(runs().position(&position(id).unwrap()), id);
        }
        let own = position("c-15~ab.1.2+cd.1.1-17");
        assert_eq!(own, position("c-15~ab.1.2~cd.1.1-17"));
        // A height below the number, one that tells nothing, and a number that is not known.
        for id in ["c-15-14", "c-15-15", "c-15~ab.1.2-14", "c-21~ab.1.2-22"] {
            assert_eq!(position(id), None, "{id}");
        }
    }

    #[test]
    fn an_id_is_known_within_its_run_only() {
        for (id, number) in [
            ("a-0", Some(0)),
            ("a-10", Some(10)),
            ("a-11", None),
            ("b-9", None),
            ("b-10", Some(10)),
            ("b-11", None),
            ("c-9", None),
            ("c-10", Some(10)),
            ("c-20", Some(20)),
            ("c-21", None),
            ("d-5", None),
            ("c-", None),
            ("", None),
        ] {
            assert_eq!(runs().number(id, 20), number, "{id}");
        }
    }
}
