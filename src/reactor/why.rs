//! Why a connection was sent an event, or was not.
//!
//! Part of the reactor. The judgement is [`super::directory`]'s own, by which the past is replayed and
//! which the tests hold against the live plan. It is made by what a connection is now, so it tells of
//! events since what it is now began; of earlier ones is said that this is not known, and why. What can be asked,
//! and how answers are put together, is in [`crate::listing`].

use serde_json::{Value, json};

use super::Reactor;
use super::directory::{Before, Known};
use super::message::{Start, Subscribe};
use super::resume::issued;
use crate::access::TypeMask;
use crate::event::{Block, Frame, Mark, Naming, Position, types_of};
use crate::listing::{Unseen, Whose, Why, WhyRow, WhyWanted, connection_id};
use crate::ring::ToRouter;

impl Reactor {
    /// Tells what became of an event on each of a user's connections, or on one.
    pub(super) fn tell_why(&mut self, wanted: &WhyWanted) {
        let keys = match &wanted.whose {
            Whose::User(user) => self.directory.of_user(user).to_vec(),
            Whose::Connection(serial) => {
                self.open_ones(|_, connection| connection.generation == *serial)
            }
        };
        let why = match self.kept(&wanted.event) {
            Ok((block, frame)) => Why {
                event: Ok(self.shown(block, frame)),
                rows: keys
                    .iter()
                    .map(|&key| self.why_row(key, block, frame))
                    .collect(),
            },
            Err(unseen) => Why {
                event: Err(unseen),
                rows: Vec::new(),
            },
        };
        self.uplink.send(ToRouter::Why(Box::new(why)));
    }

    /// The kept event with this id.
    fn kept(&self, id: &str) -> Result<(&Block, &Frame), Unseen> {
        let issued = issued(&self.shared);
        let newest = issued.newest.max(self.history.newest());
        let position = issued.read(id, newest).ok_or(Unseen::Unknown)?;
        if let Some(own) = own_mark(id, &position) {
            return self.delivered_alone(own).ok_or(Unseen::Unknown);
        }
        let number = position.number;
        let block = self.history.before(number.saturating_add(1)).next();
        let frame = block.and_then(|block| {
            let mut frames = block.frames.iter();
            Some((&**block, frames.find(|frame| frame.id == number)?))
        });
        frame.ok_or(if number <= self.history.let_go() {
            Unseen::LetGo
        } else {
            Unseen::Unknown
        })
    }

    /// The event that a host has delivered alone, wherever it stands by now.
    fn delivered_alone(&self, own: Mark) -> Option<(&Block, &Frame)> {
        let mut blocks = self
            .history
            .alone(0)
            .rev()
            .chain(self.history.before(u64::MAX));
        blocks.find_map(|block| {
            let origin = block.origin.as_ref()?;
            let mut frames = block.frames.iter().enumerate();
            let (_, frame) = frames.find(|&(index, _)| origin.mark(index) == own)?;
            Some((&**block, frame))
        })
    }

    fn shown(&self, block: &Block, frame: &Frame) -> Value {
        let row = self.event_row(block, frame, &mut 0);
        json!({
            "id": row.id,
            "type": row.kind,
            "timestamp": row.timestamp,
            "to": block.target(frame),
        })
    }

    fn why_row(&self, key: u32, block: &Block, frame: &Frame) -> WhyRow {
        let connection = &self.connections[key as usize];
        let known = self.directory.known(key);
        let judged = self.directory.view(key).judge(block, frame);
        let rule = judged.err().map(|hidden| hidden.word());
        let waiting_bytes = self.waiting_bytes(key);
        let (began, before) = known.began();
        let (outcome, rule, because) = if block.naming == Naming::Alone {
            // It has no number to hold against those of the connection.
            match rule {
                Some(_) => ("not_sent", rule, None),
                None => ("unknown", None, Some("local")),
            }
        } else if frame.id <= began.min(known.from) {
            match before {
                Before::NotThere => ("not_sent", Some("connected_later"), None),
                Before::CameOver => ("unknown", rule, Some("came_over")),
                Before::AskedForLast => ("unknown", rule, Some("last")),
            }
        } else if frame.id <= known.from {
            ("unknown", rule, Some("changed"))
        } else if rule.is_some() {
            ("not_sent", rule, None)
        } else if self.directory.is_held(key) {
            ("replaying", None, None)
        } else if waiting_bytes > 0 {
            ("waiting", None, None)
        } else {
            ("sent", None, None)
        };
        WhyRow {
            serial: connection.generation,
            connection_id: connection_id(connection.generation),
            worker: self.index,
            role: self.directory.role(key).name(),
            session_id: self.directory.session(key).map(str::to_owned),
            outcome,
            rule,
            because,
            waiting_bytes,
            conflates: connection.conflates,
        }
    }

    /// A connection has opened: what it is sent is known from here on.
    pub(super) fn know_from_now(&mut self, key: u32) {
        let known = Known::behind(self.history.newest(), Before::NotThere);
        self.directory.know(key, known);
    }

    /// What a connection sees has changed: what it was sent before is not to be told from it any more.
    pub(super) fn note_change(&mut self, key: u32) {
        let known = self.directory.known(key).seen_from(self.history.newest());
        self.directory.know(key, known);
    }

    /// A connection has come over from another process, which kept no account of it for this one.
    pub(super) fn know_nothing_of_before(&mut self, key: u32) {
        let known = Known::behind(self.history.newest(), Before::CameOver);
        self.directory.know(key, known);
    }

    /// A subscription was made, of types that were `wanted_before`; all behind `since` come, if so.
    pub(super) fn note_subscription(
        &mut self,
        key: u32,
        request: &Subscribe<'_>,
        wanted_before: TypeMask,
        is_recovered: bool,
    ) {
        let known = self.directory.known(key);
        match &request.start {
            Start::Now if self.directory.wanted(key) == wanted_before => {}
            Start::Since(id) if is_recovered => {
                let issued = issued(&self.shared);
                let newest = issued.newest.max(self.history.newest());
                let Some(since) = issued.read(id, newest).map(|since| since.number) else {
                    return self.note_change(key);
                };
                let of_request = request
                    .namespaces
                    .iter()
                    .fold(TypeMask::default(), |all, each| all.union(types_of(each)));
                let from = match wanted_before.without(of_request).is_empty() {
                    true => since,
                    // One number stands for all that it is subscribed to.
                    false => known.from.max(since),
                };
                let known = known.since(since).seen_from(from);
                self.directory.know(key, known);
            }
            Start::Last(_) => {
                self.directory.know(key, known.with_last());
                self.note_change(key);
            }
            Start::Now | Start::Since(_) => self.note_change(key),
        }
    }
}

/// The mark of the event that this id is of, if a host has delivered it alone.
fn own_mark(id: &str, position: &Position) -> Option<Mark> {
    let (_, own) = id.split_once('+')?;
    let host = own.split('.').next()?;
    let mut marks = position.marks.iter();
    marks
        .find(|mark| format!("{:x}", mark.host) == host)
        .copied()
}
