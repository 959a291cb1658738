//! `ctl tap`: copies of what passes, for whoever looks for a fault.
//!
//! Part of the router. A tap is an operator's connection to the ingest socket whose answer is not one
//! line but many: each event that is handed to the reactors, as far as it is wanted, and at the end what
//! there was. It ends by itself, at its time or its limit, and with a drain or a takeover. Events never
//! wait for it: what its reader is too slow for is left out and counted. Where nobody taps, a block costs
//! one look at an empty list.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Router;
use crate::access::Namespace;
use crate::event::{Block, EventType, Frame};
use crate::limits;

/// What of all that passes.
#[derive(Debug, PartialEq, Eq)]
pub struct TapWanted {
    /// Those of this type.
    pub kind: Option<EventType>,
    /// Those of this namespace.
    pub namespace: Option<Namespace>,
    /// Those that name this user: as an owner, or in `to.userIds`.
    pub user: Option<String>,
    /// For so long.
    pub lasts: Duration,
    /// So many copies, and no more.
    pub limit: usize,
}

/// Those who tap.
#[derive(Default)]
pub(super) struct Taps(Vec<Tap>);

/// One of them.
struct Tap {
    emitter: usize,
    generation: u32,
    wanted: TapWanted,
    began: Instant,
    /// Copies that its connection has not been given yet.
    copied: Vec<u8>,
    /// Bytes that its connection has been given and not written.
    unwritten: usize,
    copies: usize,
    lost: usize,
}

impl Taps {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When the next one ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(Tap::until).min()
    }

    /// Copies the events of a block that is handed to the reactors.
    pub(super) fn copy(&mut self, block: &Block) {
        if self.is_empty() {
            return;
        }
        for tap in &mut self.0 {
            for frame in &block.frames {
                tap.copy(block, frame);
            }
        }
    }
}

impl Tap {
    fn until(&self) -> Instant {
        self.began + self.wanted.lasts
    }

    fn copy(&mut self, block: &Block, frame: &Frame) {
        if self.copies == self.wanted.limit || !self.wanted.wants(block, frame) {
            return;
        }
        if self.unwritten + self.copied.len() > limits::TAP_BACKLOG_MAX {
            self.lost += 1;
            return;
        }
        self.copies += 1;
        self.copied.extend_from_slice(b"{\"event\":");
        self.copied.extend_from_slice(block.payload(frame));
        let to = Value::Object(block.target(frame)).to_string();
        self.copied.extend_from_slice(b",\"to\":");
        self.copied.extend_from_slice(to.as_bytes());
        self.copied.extend_from_slice(b"}\n");
    }

    /// Why it is over, if it is.
    fn ending(&self, now: Instant) -> Option<&'static str> {
        if self.copies == self.wanted.limit {
            Some("limit")
        } else {
            (now >= self.until()).then_some("time")
        }
    }
}

impl TapWanted {
    fn wants(&self, block: &Block, frame: &Frame) -> bool {
        let names = |user: &String| {
            let mut owners = block.owners(frame).iter();
            owners.any(|name| block.text(name) == user)
        };
        self.kind.is_none_or(|kind| kind == frame.kind)
            && self
                .namespace
                .is_none_or(|namespace| namespace == frame.kind.namespace())
            && self.user.as_ref().is_none_or(names)
    }
}

impl Router {
    /// Begins to copy for an operator.
    pub(super) fn begin_tap(&mut self, key: usize, wanted: TapWanted, now: Instant) {
        if self.is_on_its_way_out() {
            let message = "the server is on its way out, or is being taken over; try again";
            return self.emitters[key].refuse_as("unavailable", None, message);
        }
        if self.taps.0.len() == limits::TAPS_MAX {
            let message = format!(
                "{} operators tap already, the most there may be",
                limits::TAPS_MAX
            );
            return self.emitters[key].refuse_as("unavailable", None, &message);
        }
        let emitter = &mut self.emitters[key];
        emitter.awaits_answer = true;
        let user = wanted.user.as_deref();
        let user = user.map(|user| format!("{:016x}", self.shared.hasher.hash(user)));
        log::warn!(
            emitter = emitter.generation,
            uid = emitter.user,
            pid = emitter.process.map(|process| process.as_raw_nonzero().get()),
            namespace = wanted.namespace.map_or("", Namespace::name),
            event_type = wanted.kind.map_or("", EventType::name),
            user = user.unwrap_or_default().as_str(),
            for_s = wanted.lasts.as_secs(),
            limit = wanted.limit;
            "the operator taps events with their data"
        );
        self.taps.0.push(Tap {
            emitter: key,
            generation: emitter.generation,
            wanted,
            began: now,
            copied: Vec::new(),
            unwritten: 0,
            copies: 0,
            lost: 0,
        });
    }

    /// Gives those who tap what was copied for them, and ends what is over.
    pub(super) fn serve_taps(&mut self, now: Instant) {
        if self.taps.is_empty() {
            return;
        }
        let mut going_on = Vec::new();
        for mut tap in std::mem::take(&mut self.taps.0) {
            let emitter = self.emitters.get_mut(tap.emitter);
            match emitter.filter(|emitter| emitter.generation == tap.generation) {
                Some(emitter) if !emitter.is_gone => {
                    if !tap.copied.is_empty() {
                        emitter.put(&tap.copied);
                        tap.copied.clear();
                        self.unacked.push(tap.emitter);
                    }
                    tap.unwritten = emitter.unwritten();
                    match tap.ending(now) {
                        Some(why) => self.end_tap(&tap, why, now),
                        None => going_on.push(tap),
                    }
                }
                _ => self.end_tap(&tap, "reader", now),
            }
        }
        self.taps.0 = going_on;
    }

    /// Ends all of them, for this reason.
    pub(super) fn end_taps(&mut self, why: &'static str, now: Instant) {
        self.serve_taps(now);
        for tap in std::mem::take(&mut self.taps.0) {
            self.end_tap(&tap, why, now);
        }
    }

    fn end_tap(&mut self, tap: &Tap, why: &'static str, now: Instant) {
        let (copies, lost) = (tap.copies, tap.lost);
        let lasted_ms = now.saturating_duration_since(tap.began).as_millis();
        log::warn!(
            emitter = tap.generation,
            copies,
            lost,
            lasted_ms = u64::try_from(lasted_ms).unwrap_or(u64::MAX),
            why;
            "a tap ends"
        );
        let emitter = self.emitters.get_mut(tap.emitter);
        if let Some(emitter) = emitter.filter(|emitter| emitter.generation == tap.generation) {
            emitter.awaits_answer = false;
            let result = json!({ "copies": copies, "lost": lost, "ended": why });
            emitter.answer(&json!({ "result": result }));
            self.ready.push(tap.emitter);
            self.unacked.push(tap.emitter);
        }
    }

    fn is_on_its_way_out(&self) -> bool {
        self.is_handing_over() || self.shared.admission.is_draining()
    }
}
