//! The router's part in a cluster: what it takes in goes to Redis, and what comes from there goes to
//! the reactors.
//!
//! Part of the router. Without Redis nothing here happens.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::question::Others;
use super::{Router, count_events, hand_out};
use crate::auth::Revocation;
use crate::clock::Now;
use crate::cluster::{Aside, Cluster, Message, ReadBack, Since};
use crate::event::{Block, EventType};
use crate::limits;
use crate::ring::{Beginning, Selector, ToReactor};
use crate::shared::Shared;

impl Router {
    /// Acts as one with other hosts from now on.
    ///
    /// Browsers wait to be accepted until Redis has told where history begins, but not for long: who is
    /// subscribed before that has to come back.
    pub fn join(&mut self, cluster: Cluster, now: Instant) {
        self.cluster = Some(cluster);
        self.lets_in_by = Some(now + limits::REDIS_PATIENCE);
    }

    /// Whether browsers are not let in yet.
    pub(super) fn awaits_beginning(&mut self, now: Instant) -> bool {
        let has_begun = self
            .shared
            .cluster
            .as_ref()
            .is_none_or(|status| status.has_begun());
        self.lets_in_by.take_if(|until| has_begun || now >= *until);
        self.lets_in_by.is_some()
    }

    /// Gives everything accepted to Redis. False: there is none.
    pub(super) fn share(&mut self, now: Now) -> bool {
        let Some(cluster) = &mut self.cluster else {
            return false;
        };
        let keys = self.sequencer.take_shared_keys();
        cluster.add(self.sequencer.take_blocks(), keys, now.instant);
        true
    }

    /// Takes what has come from Redis, as far as the reactors can follow.
    pub(super) fn take_from_cluster(&mut self, now: Now) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        cluster.expire(now.instant);
        self.sequencer.judge_keys(cluster.judges_keys_behind());
        let given_up = cluster.give_up_alone(now.instant);
        if let Some(selector) = cluster.take_overdue_disconnect(now.instant) {
            self.disconnect_here_alone(selector);
        }
        if let Some(batch) = given_up {
            log::error!(
                "Redis has lost events that were delivered on this host alone: the others never have them"
            );
            self.settle_alone(None, batch);
        }
        // No more a turn than the reader may be ahead: others want their turn, too.
        for _ in 0..limits::CLUSTER_UNTAKEN {
            if self.is_clogged() {
                return;
            }
            let Some(message) = self.cluster.as_mut().and_then(Cluster::take) else {
                return;
            };
            match message {
                Message::Entry(_, block, aside) => self.on_entry(block, aside, now),
                Message::Began(beginning, asides) => {
                    for aside in asides {
                        self.settle_aside(aside, now);
                    }
                    self.begin_anew(beginning);
                    self.tell_reconciled();
                }
                Message::Members(members) => self.set_members_right(&members, now),
                Message::Revoked(all) => {
                    all.iter().for_each(|whom| self.disconnect_too(whom.into()))
                }
                // What that changes is looked at in every turn.
                Message::OutOfReach => {}
            }
        }
    }

    /// Whether there is something to take.
    pub(super) fn has_cluster_news(&self) -> bool {
        !self.is_clogged() && self.cluster.as_ref().is_some_and(Cluster::has_mail)
    }

    /// Whether nothing that came in here is on its way through Redis.
    pub(super) fn is_shared_out(&self) -> bool {
        self.cluster.as_ref().is_none_or(Cluster::is_settled)
            && (self.cluster.is_none() || self.sequencer.waiting() == 0)
    }

    /// Events that were delivered on this host alone, and are still to come from Redis.
    pub(super) fn alone_events(&self) -> u64 {
        self.cluster.as_ref().map_or(0, Cluster::alone_events)
    }

    fn on_entry(&mut self, block: Option<Block>, aside: Aside, now: Now) {
        let own = aside.receipt.as_ref().map(|receipt| receipt.batch);
        let read_back = self.settle_aside(aside, now);
        if let (Some(batch), Some(ReadBack::Delivered)) = (own, read_back) {
            return self.settle_alone(block, batch);
        }
        let Some(mut block) = block else {
            return;
        };
        if let Some(ReadBack::Waited(Since { received, .. })) = read_back {
            block.received = received;
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.online = block.online;
            block = cluster.with_marks(block);
        }
        let block = Arc::new(block);
        if own.is_some() {
            count_events(&self.shared, std::slice::from_ref(&block));
        }
        let blocks = [block].into_iter();
        hand_out(blocks, &self.shared, &mut self.lanes, &mut self.taps);
    }

    /// Delivers on this host alone what Redis cannot be given, where that is wanted.
    pub(super) fn deliver_alone(&mut self, now: Now) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let blocks = cluster.take_alone(self.shared.newest(), now.instant);
        if blocks.is_empty() {
            return;
        }
        let blocks: Vec<Arc<Block>> = blocks.into_iter().map(Arc::new).collect();
        count_events(&self.shared, &blocks);
        let blocks = blocks.into_iter();
        hand_out(blocks, &self.shared, &mut self.lanes, &mut self.taps);
        self.make_room();
    }

    /// What this host has delivered alone has come from Redis, up to this batch, or never will: it takes
    /// its place among the rest.
    fn settle_alone(&mut self, block: Option<Block>, batch: u64) {
        let block = block.map(Arc::new);
        if let Some(block) = &block {
            self.shared.set_newest(block.last_id());
            if let Some(cluster) = &mut self.cluster {
                cluster.online = block.online;
            }
        }
        for lane in &mut self.lanes {
            let settled = ToReactor::SettleAlone(block.clone(), batch);
            lane.down.send(settled);
        }
        self.tell_reconciled();
    }

    fn tell_reconciled(&mut self) {
        let cluster = self.cluster.as_mut();
        if let Some(events) = cluster.and_then(Cluster::take_reconciled) {
            log::info!(
                events;
                "nothing that was delivered on this host alone is missing on the others any more"
            );
        }
    }

    /// Does what an entry wants beside. Returns what had become of it, if it is this host's own.
    fn settle_aside(&mut self, aside: Aside, now: Now) -> Option<ReadBack> {
        let cluster = self.cluster.as_mut()?;
        let (mut read_back, mut asked, mut is_stored) = (None, None, false);
        if let Some(receipt) = aside.receipt {
            asked = cluster.take_disconnect(receipt.batch);
            is_stored = receipt.is_stored;
            let stats = &self.shared.stats;
            stats.router.repeated.add(receipt.repeats.len() as u64);
            read_back = cluster.read_back(receipt);
            if let Some(ReadBack::Waited(Since { given, .. })) = read_back {
                let micros = now.instant.saturating_duration_since(given).as_micros();
                let micros = u64::try_from(micros).unwrap_or(u64::MAX);
                stats.redis.round_trips.record(micros, 1);
            }
        }
        // First the tokens, then the connections.
        let news = aside.revoke.filter(|revocation| self.heed(revocation));
        if let Some(selector) = asked {
            self.note_others(Others::Told { is_stored });
            self.disconnect_here(selector);
        } else if let Some(revocation) = news {
            self.disconnect_too(Selector::from(&revocation.whom));
        } else if let Some(selector) = aside.disconnect {
            self.disconnect_too(selector);
        }
        read_back
    }

    /// Refuses tokens that were revoked on another host. True: it was not known here.
    fn heed(&self, revocation: &Revocation) -> bool {
        let learned = self.shared.revoked.learn(revocation, self.shared.wall.ms());
        learned.unwrap_or_else(|_| {
            log::error!("there is no room for what another host has revoked");
            true
        })
    }

    /// Closes connections of this host, for somebody on another one.
    fn disconnect_too(&mut self, selector: Selector) {
        let selector = Arc::new(selector);
        for lane in &mut self.lanes {
            let order = ToReactor::DisconnectToo(Arc::clone(&selector));
            lane.down.send(order);
        }
    }

    fn begin_anew(&mut self, mut beginning: Beginning) {
        self.shared.set_newest(beginning.newest);
        if let Some(cluster) = &mut self.cluster {
            cluster.online = beginning.online;
            beginning.settled = cluster.settled_alone();
        }
        let beginning = Arc::new(beginning);
        for lane in &mut self.lanes {
            lane.down.send(ToReactor::Begin(Arc::clone(&beginning)));
        }
        if let Some(status) = &self.shared.cluster {
            status.begun();
        }
    }

    /// To send somebody away must be possible though Redis is out of reach.
    fn disconnect_here_alone(&mut self, selector: Selector) {
        if let Some(whom) = self.note_others(Others::NotYet) {
            self.shared.revoked.tell(&whom);
        }
        self.disconnect_here(selector);
    }

    /// Has all hosts close these connections, this one too when it reads so, and refuse the tokens that
    /// are revoked, if some are. Gives the selector back if it is this host's to begin.
    pub(super) fn disconnect_everywhere(
        &mut self,
        selector: Selector,
        revocation: Option<Revocation>,
        now: Now,
    ) -> Option<Selector> {
        let Some(cluster) = &mut self.cluster else {
            return Some(selector);
        };
        match revocation {
            None => cluster.disconnect(selector, now.instant),
            Some(revocation) if is_in_reach(&self.shared) => {
                cluster.revoke(revocation, now.instant);
                None
            }
            // There is nothing to wait for: the others will be told when it is.
            Some(revocation) => {
                self.note_others(Others::NotYet);
                self.shared.revoked.tell(&revocation.whom);
                Some(selector)
            }
        }
    }

    /// A customer has come or gone, as far as this host knows: whether that is so of all, Redis tells.
    pub(super) fn announce_to_cluster(&mut self, kind: EventType, user: &str, now: Now) {
        // In the order of acceptance, also with what came before.
        self.share(now);
        self.sequencer.announce(kind, user, 0, now);
        let blocks: Vec<_> = self.sequencer.take_blocks().collect();
        if let Some(cluster) = &mut self.cluster {
            for block in blocks {
                cluster.announce(block, user, kind == EventType::CustomerOnline, now.instant);
            }
        }
    }

    /// Compares the customers that Redis takes for this host's with those that it has.
    fn set_members_right(&mut self, members: &[String], now: Now) {
        let known: HashSet<&str> = members.iter().map(String::as_str).collect();
        let here: Vec<Box<str>> = self.presence.customers().map(Box::from).collect();
        let gone: Vec<&str> = members
            .iter()
            .map(String::as_str)
            .filter(|user| !self.presence.is_online(user))
            .collect();
        for user in gone {
            self.announce_to_cluster(EventType::CustomerOffline, user, now);
        }
        for user in here.iter().filter(|user| !known.contains(&***user)) {
            self.announce_to_cluster(EventType::CustomerOnline, user, now);
        }
    }

    /// Tells emitters what has become of their lines, as far as that is known.
    pub(super) fn note_cluster_news(&mut self) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        if !cluster.take_news() {
            return;
        }
        for lost in cluster.take_lost() {
            for (_, emitter) in &mut self.emitters {
                emitter.lose(&lost);
            }
        }
        self.recall_unsettled();
    }
}

fn is_in_reach(shared: &Shared) -> bool {
    shared.cluster.as_ref().is_some_and(|redis| redis.is_up())
}
