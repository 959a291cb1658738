//! What this host delivers alone, while it is cut off from the others (`--redis-outage local`).
//!
//! Part of [`Cluster`]: what is delivered is given to Redis all the same, and is no longer waited for. Until
//! it is read back, or given up, the ids of all that is delivered here say that it was had
//! ([`crate::event::position`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Cluster, EPOCH};
use crate::config::RedisOutage;
use crate::event::renaming::{delivered_alone, with_marks};
use crate::event::{Block, Mark, Origin};

impl Cluster {
    /// Whether this host would deliver alone if Redis were out of reach. At the start it cannot: it does
    /// not know yet what its events come behind, nor whose tokens are refused.
    pub(super) fn may_be_alone(&self) -> bool {
        self.outage == RedisOutage::Local && self.status.has_begun()
    }

    /// Whether this host delivers alone what it is given.
    pub fn is_alone(&self) -> bool {
        self.may_be_alone() && !self.status.is_up()
    }

    /// Where this host judges by itself which keys were used before: of events behind this provisional
    /// number.
    pub fn judges_keys_behind(&self) -> Option<u64> {
        self.is_alone().then_some(self.lost_to)
    }

    /// What is to be delivered on this host alone, to those who are behind the event `behind`: all that is
    /// waited for while Redis is out of reach, and what has been waited for too long.
    pub fn take_alone(&mut self, behind: u64, now: Instant) -> Vec<Block> {
        if !self.may_be_alone()
            || (self.status.is_up() && !self.own.is_overdue(self.written(), now))
        {
            return Vec::new();
        }
        self.height = self.height.max(behind);
        let taken = self.own.deliver_alone(behind, self.height);
        let Some(&(newest, _)) = taken.last() else {
            return Vec::new();
        };
        self.progress.alone.store(newest, Ordering::Release);
        if self.alone == 0 {
            log::warn!("events are delivered on this host alone, until Redis takes them");
        }
        let name = |(batch, block): (u64, Arc<Block>)| {
            let origin = Origin::new(self.host, batch, []);
            let (block, height) = ((*block).clone(), &mut self.height);
            let mut alone = delivered_alone(block, EPOCH, behind, height, origin)
                .expect("a block of the sequencer has events that begin with their ids");
            alone.online = self.online;
            alone
        };
        let blocks: Vec<Block> = taken.into_iter().map(name).collect();
        self.alone += blocks
            .iter()
            .map(|block| block.frames.len() as u64)
            .sum::<u64>();
        blocks
    }

    /// The block for those who are connected here: while they have had events that other hosts are still to
    /// have, its ids say so.
    pub fn with_marks(&mut self, block: Block) -> Block {
        let mark = self.mark();
        if mark.is_none() && self.height < block.first_id() {
            return block;
        }
        with_marks(block, mark.as_slice(), &mut self.height)
            .expect("a block that was read has events that begin with their ids")
    }

    fn mark(&self) -> Option<Mark> {
        let (_, batch, place) = self.own.alone()?;
        let host = self.host;
        Some(Mark { host, batch, place })
    }

    /// Up to this batch, what was delivered alone has come back or never will.
    pub fn settled_alone(&self) -> u64 {
        self.own
            .alone()
            .map_or(self.batches, |(first, ..)| first - 1)
    }

    /// Gives up what was delivered alone, and Redis has lost. Returns up to which batch, if there is some.
    pub fn give_up_alone(&mut self, now: Instant) -> Option<u64> {
        self.own
            .give_up_unread(self.written(), self.status.is_up(), now)
    }

    /// So many events that were delivered alone are with the other hosts by now: once, when all are.
    pub fn take_reconciled(&mut self) -> Option<u64> {
        (self.alone > 0 && self.own.alone().is_none()).then(|| std::mem::take(&mut self.alone))
    }

    /// Events that were delivered on this host alone, and that it has not read back.
    pub fn alone_events(&self) -> u64 {
        self.own.alone_events()
    }
}
