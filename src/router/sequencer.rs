//! Gives every accepted event its place: checks the line, drops repeats by `key`, numbers the
//! event and lays its frame into the block under construction.
//!
//! Owned by the router, the only thread that numbers events; that is what makes one order of all.
//! Pure: lines and `now` in, blocks out.

use std::sync::Arc;
use std::time::Instant;

use super::keys::{self, Keys};
use crate::access::{Namespace, NamespaceMask};
use crate::clock::Now;
use crate::cluster::NamedKey;
use crate::event::{Block, BlockBuilder, Code, EventType, Line, Parser, Refusal};
use crate::journal::Key;
use crate::limits;

/// What became of a line that was not refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Settled {
    /// White space only.
    Blank,
    /// A `ctl` command: the caller's business.
    Command,
    /// Accepted under this number.
    Accepted(u64),
    /// Its key was used before, by the event with this number.
    Repeated(u64),
}

fn forbidden(namespace: Namespace) -> Refusal {
    let message = format!(
        "type is one of {}, which this user may not emit: [emitters] in the configuration says who may",
        namespace.name()
    );
    Refusal {
        code: Code::Forbidden,
        field: Some("type".to_owned()),
        message,
    }
}

const KEY_WINDOW_MS: u64 = limits::KEY_WINDOW.as_millis() as u64;

/// A secret to hash keys with.
pub fn random_secret() -> (u64, u64) {
    (fastrand::u64(..), fastrand::u64(..))
}

/// The one place where events get their order.
pub struct Sequencer {
    parser: Parser,
    keys: Keys,
    builder: BlockBuilder,
    last_id: u64,
    /// Keys of events that nobody has taken yet, for a journal.
    fresh_keys: Option<Vec<Key>>,
    /// The same for Redis, which then decides what is a repeat.
    shared_keys: Option<Vec<NamedKey>>,
    /// Keys are remembered here all the same, to be judged while Redis is out of reach: of events behind
    /// this number, and not yet where there is none.
    judges_behind: Option<u64>,
    /// Whether that may be.
    may_judge: bool,
    started: Instant,
    /// When the first event of the block under construction was read.
    received: Option<Instant>,
    /// Customers online after the events accepted so far.
    online: u32,
    finished: Vec<Arc<Block>>,
    /// Events in `finished` and under construction.
    waiting: usize,
}

impl Sequencer {
    /// A sequencer whose first event gets the number 1.
    pub fn new(parser: Parser, builder: BlockBuilder, started: Instant) -> Self {
        Self {
            parser,
            keys: Keys::new(KEY_WINDOW_MS, limits::KEYS_MAX, random_secret()),
            builder,
            last_id: 0,
            fresh_keys: None,
            shared_keys: None,
            judges_behind: None,
            may_judge: false,
            started,
            received: None,
            online: 0,
            finished: Vec::new(),
            waiting: 0,
        }
    }

    /// Goes on behind the event `newest` of another process or an earlier run, with the keys it knew,
    /// hashed with `secret`, and for how many milliseconds they are remembered yet.
    pub fn go_on(
        &mut self,
        newest: u64,
        secret: (u64, u64),
        keys: impl IntoIterator<Item = (Key, u64)>,
    ) {
        self.last_id = newest;
        self.keys = Keys::new(KEY_WINDOW_MS, limits::KEYS_MAX, secret);
        for (key, left_ms) in keys {
            self.keys.restore(key.hash, key.number, left_ms);
        }
    }

    /// Notes new keys from now on, for the journal.
    pub fn note_keys(&mut self) {
        self.fresh_keys = Some(Vec::new());
    }

    /// Leaves it to Redis from now on which keys were used before: no line is a repeat here. Where it
    /// `may_judge`, they are remembered for [`Sequencer::judge_keys`].
    pub fn share_keys(&mut self, may_judge: bool) {
        self.shared_keys = Some(Vec::new());
        self.may_judge = may_judge;
    }

    /// Judges by itself which keys were used before here, by events behind the number `behind`: or leaves
    /// that to Redis.
    pub fn judge_keys(&mut self, behind: Option<u64>) {
        self.judges_behind = behind.filter(|_| self.may_judge);
    }

    /// Goes on with so many customers online.
    pub fn set_online(&mut self, online: u32) {
        self.online = online;
    }

    /// The number of the newest event.
    pub fn newest(&self) -> u64 {
        self.last_id
    }

    /// What keys are hashed with.
    pub fn secret(&self) -> (u64, u64) {
        self.keys.secret()
    }

    /// The keys in their window, in the order of use: hash, number of the event, and for how many
    /// milliseconds they are remembered yet.
    pub fn keys(&self, now: Instant) -> impl Iterator<Item = (u128, u64, u64)> {
        self.keys.all(ms_between(self.started, now))
    }

    /// Room for the frames of so many bytes of lines, before the first of them.
    pub fn reserve(&mut self, bytes: usize) {
        if self.builder.is_empty() {
            self.builder.reserve(bytes.min(limits::BLOCK_BYTES));
        }
    }

    /// Settles one line (without its newline) of somebody who may emit everything.
    pub fn line(&mut self, line: &[u8], now: Now) -> Result<Settled, Refusal> {
        self.line_of(NamespaceMask::ALL, line, now)
    }

    /// Settles one line (without its newline) of somebody who may emit events of these namespaces.
    pub fn line_of(
        &mut self,
        namespaces: NamespaceMask,
        line: &[u8],
        now: Now,
    ) -> Result<Settled, Refusal> {
        let event = match self.parser.parse(line)? {
            Line::Blank => return Ok(Settled::Blank),
            Line::Command => return Ok(Settled::Command),
            Line::Event(event) => event,
        };
        let namespace = event.kind.namespace();
        if !namespaces.contains(namespace) {
            return Err(forbidden(namespace));
        }
        let monotonic_ms = ms_between(self.started, now.instant);
        let is_shared = self.shared_keys.is_some();
        let own_key = event.key.filter(|_| !is_shared || self.may_judge);
        let mut key = own_key.map(|key| self.keys.hash(namespace, key));
        if let Some(hash) = key
            && let Some(first) = self.keys.find(hash, monotonic_ms)
        {
            let behind = if is_shared {
                self.judges_behind
            } else {
                Some(0)
            };
            if behind.is_some_and(|behind| first > behind) {
                return Ok(Settled::Repeated(first));
            }
            // Redis judges; the first use is remembered, unless it was given up.
            key = key.filter(|_| behind.is_some());
        }
        let id = self.last_id + 1;
        self.builder.push(&event, id, now.wall_ms)?;
        self.last_id = id;
        self.waiting += 1;
        if let Some(key) = key {
            self.keys.remember(key, id, monotonic_ms);
            if let Some(fresh) = &mut self.fresh_keys {
                let hash = key.0;
                fresh.push(Key { number: id, hash });
            }
        }
        if let (Some(shared), Some(key)) = (&mut self.shared_keys, event.key) {
            let key = keys::scoped(namespace, key).concat().into();
            shared.push(NamedKey { number: id, key });
        }
        self.received.get_or_insert(now.instant);
        if self.builder.len_bytes() >= limits::BLOCK_BYTES {
            self.finish();
        }
        Ok(Settled::Accepted(id))
    }

    /// The server's own word that a customer came or went; `online` customers are there now.
    pub fn announce(&mut self, kind: EventType, customer: &str, online: u32, now: Now) {
        let line = serde_json::json!({
            "type": kind.name(),
            "data": {
                "customerId": customer,
                "isOnline": kind == EventType::CustomerOnline,
                "lastSeen": now.wall_ms,
            },
        })
        .to_string();
        // A block tells how many are online after all of its events, this one included.
        self.online = online;
        if let Err(refusal) = self.line(line.as_bytes(), now) {
            log::error!(
                "an announcement of presence was refused: {}",
                refusal.message
            );
        }
    }

    /// Events accepted that nobody has taken yet.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether blocks are finished: there is enough for a batch.
    pub fn has_full_block(&self) -> bool {
        !self.finished.is_empty()
    }

    /// Takes the keys of the events that nobody has taken yet, in order; none without a journal.
    pub fn take_keys(&mut self) -> Vec<Key> {
        self.fresh_keys
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// As [`Sequencer::take_keys`], for Redis.
    pub fn take_shared_keys(&mut self) -> Vec<NamedKey> {
        self.shared_keys
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Closes the block under construction and hands over all finished ones, oldest first.
    pub fn take_blocks(&mut self) -> std::vec::Drain<'_, Arc<Block>> {
        self.finish();
        self.waiting = 0;
        self.finished.drain(..)
    }

    fn finish(&mut self) {
        if let Some(received) = self.received.take() {
            self.finished
                .push(self.builder.finish(received, self.online));
        }
    }
}

fn ms_between(earlier: Instant, later: Instant) -> u64 {
    let between = later.saturating_duration_since(earlier).as_millis();
    u64::try_from(between).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Epoch, NameHasher, Rules};

    fn sequencer() -> Sequencer {
        let rules = Rules {
            order_statuses: Vec::new(),
            max_message: 1 << 20,
        };
        let builder = BlockBuilder::new(Epoch::new(1, 2), NameHasher::default(), 1 << 20);
        Sequencer::new(Parser::new(rules), builder, Instant::now())
    }

    fn now() -> Now {
        Now::at(Instant::now())
    }

    const DELETED: &[u8] = br#"{"type":"product:deleted","data":{"productId":"p1"},"key":"k"}"#;

    #[test]
    fn numbers_follow_acceptance_and_a_refused_line_uses_none() {
        let (mut sequencer, now) = (sequencer(), now());
        let plain = br#"{"type":"product:deleted","data":{"productId":"p1"}}"#;
        assert_eq!(sequencer.line(plain, now).unwrap(), Settled::Accepted(1));
        assert!(sequencer.line(b"{}", now).is_err());
        assert_eq!(sequencer.line(b"  \r", now).unwrap(), Settled::Blank);
        assert_eq!(sequencer.line(plain, now).unwrap(), Settled::Accepted(2));
        let blocks: Vec<_> = sequencer.take_blocks().collect();
        assert_eq!(blocks.len(), 1);
        assert_eq!(blocks[0].frames.len(), 2);
        assert_eq!(sequencer.take_blocks().count(), 0, "no empty blocks");
    }

    #[test]
    fn a_repeated_key_makes_no_second_event_and_a_refused_one_is_not_used_up() {
        let (mut sequencer, now) = (sequencer(), now());
        let refused = br#"{"type":"product:deleted","data":{},"key":"k"}"#;
        assert!(sequencer.line(refused, now).is_err());
        assert_eq!(sequencer.line(DELETED, now).unwrap(), Settled::Accepted(1));
        assert_eq!(sequencer.line(DELETED, now).unwrap(), Settled::Repeated(1));
        assert_eq!(
            sequencer
                .take_blocks()
                .map(|block| block.frames.len())
                .sum::<usize>(),
            1
        );
    }

    /// Who may emit orders only cannot take the key of a payment that somebody else will emit.
    #[test]
    fn a_key_of_one_namespace_is_none_of_another() {
        let (mut sequencer, now) = (sequencer(), now());
        let order = br#"{"type":"order:deleted","data":{"orderId":"o"},"key":"k"}"#;
        assert_eq!(sequencer.line(order, now).unwrap(), Settled::Accepted(1));
        assert_eq!(sequencer.line(DELETED, now).unwrap(), Settled::Accepted(2));
        assert_eq!(sequencer.line(order, now).unwrap(), Settled::Repeated(1));
        assert_eq!(sequencer.line(DELETED, now).unwrap(), Settled::Repeated(2));
    }

    #[test]
    fn shared_keys_are_noted_and_judged_elsewhere() {
        let (mut sequencer, now) = (sequencer(), now());
        sequencer.share_keys(false);
        sequencer.judge_keys(Some(0));
        assert_eq!(sequencer.line(DELETED, now).unwrap(), Settled::Accepted(1));
        assert_eq!(sequencer.line(DELETED, now).unwrap(), Settled::Accepted(2));
        let keys = sequencer.take_shared_keys();
        let keys: Vec<_> = keys.iter().map(|key| (key.number, &*key.key)).collect();
        assert_eq!(keys, [(1, "products:k"), (2, "products:k")]);
        assert!(sequencer.take_shared_keys().is_empty());
    }

    #[test]
    fn shared_keys_are_judged_here_while_nobody_else_can() {
        let (mut sequencer, now) = (sequencer(), now());
        sequencer.share_keys(true);
        assert_eq!(sequencer.line(DELETED, now).unwrap(), Settled::Accepted(1));
        assert_eq!(sequencer.line(DELETED, now).unwrap(), Settled::Accepted(2));
        sequencer.judge_keys(Some(0));
        assert_eq!(sequencer.line(DELETED, now).unwrap(), Settled::Repeated(1));
        // The first one was given up: whoever sends it again means it.
        sequencer.judge_keys(Some(1));
        assert_eq!(sequencer.line(DELETED, now).unwrap(), Settled::Accepted(3));
        assert_eq!(sequencer.line(DELETED, now).unwrap(), Settled::Repeated(3));
        sequencer.judge_keys(None);
        assert_eq!(sequencer.line(DELETED, now).unwrap(), Settled::Accepted(4));
        assert_eq!(sequencer.take_shared_keys().len(), 4);
    }

    #[test]
    fn an_announcement_is_an_event_like_any_other() {
        let (mut sequencer, now) = (sequencer(), now());
        sequencer.announce(EventType::CustomerOnline, "c\"1", 1, now);
        let blocks: Vec<_> = sequencer.take_blocks().collect();
        assert_eq!(blocks[0].online, 1);
        assert_eq!(blocks[0].frames[0].kind, EventType::CustomerOnline);
    }
}
