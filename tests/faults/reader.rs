//! What one client has to get: every event that is due to it, once, in order, over all its connections.
//!
//! Remembers how far it is, and nothing else.

use crate::ledger::{Id, Ledger};
use crate::universe::{EMITTERS, Serial, Universe};

pub struct Reader<'a> {
    universe: &'a Universe,
    ledger: &'a Ledger,
    person: usize,
    /// Of each emitter, the first event that has not been judged.
    next: [u64; EMITTERS],
    /// The place of the newest event.
    newest: u64,
    /// Events of the server itself.
    presence: usize,
    has_ended: bool,
}

impl<'a> Reader<'a> {
    pub fn new(universe: &'a Universe, ledger: &'a Ledger, person: usize) -> Reader<'a> {
        Reader {
            universe,
            ledger,
            person,
            next: [0; EMITTERS],
            newest: 0,
            presence: 0,
            has_ended: false,
        }
    }

    /// The last event has come.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// It is told to begin behind this id.
    pub fn begin(&mut self, position: &str) -> Result<(), String> {
        self.newest = self.ledger.id(position)?.number();
        Ok(())
    }

    /// Judges the next event: its id, its type, and the number in it.
    pub fn take(&mut self, id: &str, kind: &str, code: Option<u64>) -> Result<(), String> {
        let place = self.ledger.id(id)?;
        if place.number() <= self.newest {
            let newest = self.newest;
            return Err(format!(
                "{id} ({kind}) came behind number {newest}: again, or out of order"
            ));
        }
        let judged = match code.map(Serial::from_code) {
            None => self.take_presence(kind, place),
            Some(Serial::END) => self.take_end(place),
            Some(serial) => self.take_next(serial, place),
        };
        judged.map_err(|fault| format!("{fault} (at {id}, {kind})"))?;
        self.newest = place.number();
        Ok(())
    }

    fn take_next(&mut self, serial: Serial, place: Id) -> Result<(), String> {
        self.ledger.note(serial, place)?;
        if serial.n < self.next[serial.emitter] {
            return Err(format!("event {serial} came again, or behind a later one"));
        }
        self.pass_over(serial.emitter, serial.n)?;
        if !self.universe.is_due(self.person, serial) {
            return Err(format!("event {serial} is none that this client may see"));
        }
        self.next[serial.emitter] = serial.n + 1;
        Ok(())
    }

    /// The events of an emitter before its `end`-th must not be due.
    fn pass_over(&mut self, emitter: usize, end: u64) -> Result<(), String> {
        for n in self.next[emitter]..end {
            let serial = Serial { emitter, n };
            if self.universe.is_due(self.person, serial) {
                return Err(format!("event {serial} never came"));
            }
        }
        self.next[emitter] = end;
        Ok(())
    }

    fn take_presence(&mut self, kind: &str, place: Id) -> Result<(), String> {
        let is_presence = matches!(kind, "customer:online" | "customer:offline");
        if !is_presence || !self.universe.person(self.person).watches_presence() {
            return Err("nobody emitted this event".to_owned());
        }
        self.ledger.note_presence(self.presence, place)?;
        self.presence += 1;
        Ok(())
    }

    fn take_end(&mut self, place: Id) -> Result<(), String> {
        self.ledger.note(Serial::END, place)?;
        let total = self
            .ledger
            .total()
            .ok_or("the last event came before it was emitted")?;
        for emitter in 0..EMITTERS {
            self.pass_over(emitter, total)?;
        }
        if self.universe.person(self.person).watches_presence() {
            self.ledger.end_presence(self.presence);
        }
        self.has_ended = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: u64 = 50;
    const PERSON: usize = 0;

    /// An event as a client gets it.
    type Event = (String, Serial);

    /// What a client is to be sent.
    fn due(universe: &Universe) -> Vec<Event> {
        let mut place = 0;
        let mut due = Vec::new();
        for n in 0..EACH {
            for emitter in 0..EMITTERS {
                place += 1;
                let serial = Serial { emitter, n };
                if universe.is_due(PERSON, serial) {
                    due.push((format!("a-{place}"), serial));
                }
            }
        }
        due.push((format!("b-{}", place + 1), Serial::END));
        due
    }

    fn judge(universe: &Universe, events: &[Event]) -> Result<bool, String> {
        let ledger = Ledger::new(EACH);
        ledger.settle_total(EACH);
        let mut reader = Reader::new(universe, &ledger, PERSON);
        for (id, serial) in events {
            let code = (serial.emitter as u64) << 32 | serial.n;
            reader.take(id, "order:created", Some(code))?;
        }
        Ok(reader.has_ended())
    }

    #[test]
    fn what_is_due_is_taken_and_everything_else_is_found() {
        let universe = Universe::new(3, 25);
        let good = due(&universe);
        assert!(good.len() > 20, "{}", good.len());
        assert_eq!(judge(&universe, &good), Ok(true));
        assert_eq!(judge(&universe, &good[..5]), Ok(false));
        let spoiled = |spoil: &dyn Fn(&mut Vec<Event>)| {
            let mut events = good.clone();
            spoil(&mut events);
            judge(&universe, &events).unwrap_err()
        };
        for at in 0..good.len() - 1 {
            let lost = spoiled(&|events| drop(events.remove(at)));
            assert!(lost.contains("never came"), "{lost}");
            let repeated = spoiled(&|events| events.insert(at, events[at].clone()));
            assert!(repeated.contains("again"), "{repeated}");
            let under_another_id = spoiled(&|events| {
                let place = EACH * EMITTERS as u64 + 10;
                let again = (format!("a-{place}"), events[at].1);
                events.insert(at + 1, again);
            });
            assert!(under_another_id.contains("elsewhere"), "{under_another_id}");
            let swapped = spoiled(&|events| events.swap(at, at + 1));
            assert!(!swapped.is_empty(), "{swapped}");
        }
        let is_due = |serial: &Serial| universe.is_due(PERSON, *serial);
        let mut serials = (0..EACH).map(|n| Serial { emitter: 0, n });
        let other = serials.find(|serial| !is_due(serial)).unwrap();
        let number = 1 + other.n * EMITTERS as u64;
        let foreign = spoiled(&|events| {
            let at = events
                .iter()
                .position(|(_, serial)| serial.n >= other.n)
                .unwrap();
            events.insert(at, (format!("a-{number}"), other));
        });
        assert!(foreign.contains("may see"), "{foreign}");
    }

    #[test]
    fn an_event_of_nobody_is_found() {
        let universe = Universe::new(3, 25);
        let ledger = Ledger::new(EACH);
        let mut admin = Reader::new(&universe, &ledger, 0);
        admin.begin("a-7").unwrap();
        assert!(
            admin.take("a-7", "customer:online", None).is_err(),
            "it begins behind it"
        );
        admin.take("a-8", "customer:online", None).unwrap();
        assert!(admin.take("a-9", "order:created", None).is_err());
        let public = universe
            .people_who(|person| person.viewer.user.is_none())
            .next()
            .unwrap();
        let mut public = Reader::new(&universe, &ledger, public);
        assert!(public.take("a-8", "customer:online", None).is_err());
    }
}
