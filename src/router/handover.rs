//! How the router's part goes to another process, and comes from one.
//!
//! Part of the router; [`crate::takeover`] tells the whole story. When a successor asks, no emitter
//! is read and nothing accepted any more; once all that came before is handed down, safe and
//! acknowledged, the reactors send their parts one after the other, and then the router its own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use mio::net::UnixStream;

use super::drain::Drain;
use super::emitter::Emitter;
use super::{Router, accept, count_events, hand_out};
use crate::clock::Now;
use crate::journal::Journal;
use crate::limits;
use crate::ring::{Mailbox, ToReactor};
use crate::takeover::ENDING;
use crate::takeover::guest::Arrival;
use crate::takeover::host::{Outcome, Request};
use crate::takeover::link::FILES_MAX;
use crate::takeover::state::{EmitterState, FromOld, KeyState, RouterState, put_block, put_key};

/// How far a handover has come.
#[derive(Default)]
pub(super) enum Handover {
    #[default]
    No,
    /// What came before is being settled, until then at most.
    Settling(Box<Request>, Instant),
    /// The reactors send their parts; the one with this number is at it.
    Reactors(Box<Request>, usize),
    /// All is sent; the successor builds.
    Sent(Mailbox<Outcome>),
    /// The successor serves.
    Gone,
}

impl Handover {
    /// When to look again, though nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Handover::Settling(_, until) => Some(*until),
            _ => None,
        }
    }
}

impl Router {
    /// Whether nothing is taken in because a successor is taking over.
    pub(super) fn is_handing_over(&self) -> bool {
        !matches!(self.handover, Handover::No)
    }

    /// Whether reactors stand still, so that nothing can be handed down.
    pub(super) fn stands_still(&self) -> bool {
        matches!(self.handover, Handover::Reactors(..) | Handover::Sent(_))
    }

    /// Whether a successor serves: what comes from now on, from other hosts too, is for that one.
    pub(super) fn is_succeeded(&self) -> bool {
        matches!(self.handover, Handover::Gone)
    }

    /// Whether the next turn brings a handover further.
    pub(super) fn has_handover_work(&self) -> bool {
        match &self.handover {
            Handover::No => self.successors.as_ref().is_some_and(Mailbox::has_mail),
            Handover::Settling(..) => self.is_settled(),
            Handover::Sent(outcome) => outcome.has_mail(),
            Handover::Reactors(..) | Handover::Gone => false,
        }
    }

    /// Whether all that came in is handed down, safe and acknowledged.
    fn is_settled(&self) -> bool {
        !self.is_clogged()
            && self.sequencer.waiting() == 0
            && self.questions.is_empty()
            && self.is_shared_out()
            && !self.reload.is_under_way()
            && self.unacked.is_empty()
            && self.unsettled.is_empty()
            && self.journal.as_ref().is_none_or(Journal::is_settled)
    }

    pub(super) fn advance_handover(&mut self, now: Now) {
        if let Handover::No = self.handover
            && let Some(request) = self.successors.as_ref().and_then(Mailbox::take)
        {
            if matches!(self.drain, Drain::No) {
                let until = now.instant + limits::SETTLE_TIMEOUT;
                self.handover = Handover::Settling(Box::new(request), until);
                self.end_taps("takeover", now.instant);
            } else {
                refuse(&request, ENDING.to_owned());
            }
        }
        match std::mem::take(&mut self.handover) {
            Handover::Settling(request, until) => self.settle_for(request, until, now),
            Handover::Sent(outcome) => match outcome.take() {
                Some(Outcome::Gone) => self.depart(now),
                Some(Outcome::Stays) => self.stay(),
                None => self.handover = Handover::Sent(outcome),
            },
            other => self.handover = other,
        }
    }

    fn settle_for(&mut self, request: Box<Request>, until: Instant, now: Now) {
        self.hand_down(now);
        if self.is_settled() {
            self.handover = Handover::Reactors(request, 0);
            return self.ask_reactor();
        }
        if now.instant < until {
            self.handover = Handover::Settling(request, until);
            return;
        }
        let reason = match self.journal.as_ref().and_then(|journal| journal.trouble()) {
            Some(trouble) => format!("its journal cannot be written ({trouble})"),
            None if self.alone_events() > 0 => {
                "other hosts do not have all that was delivered on this one alone while Redis was out of reach"
                    .to_owned()
            }
            None => "it could not come to rest in time".to_owned(),
        };
        refuse(&request, reason);
    }

    fn ask_reactor(&mut self) {
        let Handover::Reactors(request, number) = &self.handover else {
            return;
        };
        let number = *number;
        match request.link.try_clone() {
            Ok(link) => {
                let order = ToReactor::HandOver(Box::new(link), number == 0);
                self.lanes[number].down.send(order);
                self.make_room();
            }
            Err(error) => self.give_up(format!("no descriptor is left: {error}")),
        }
    }

    /// A reactor has sent its part, or could not.
    pub(super) fn on_handed_over(&mut self, sent: Result<(), String>, now: Now) {
        if let Err(reason) = sent {
            return self.give_up(reason);
        }
        let Handover::Reactors(_, number) = &mut self.handover else {
            return;
        };
        *number += 1;
        if *number < self.lanes.len() {
            return self.ask_reactor();
        }
        if let Handover::Reactors(mut request, _) = std::mem::take(&mut self.handover) {
            match self.send_own_part(&mut request, now) {
                Ok(()) => {
                    request.sent.send(Ok(())).ok();
                    self.handover = Handover::Sent(request.outcome);
                }
                Err(error) => {
                    refuse(
                        &request,
                        format!("sending the router's part failed: {error}"),
                    );
                    self.stay();
                }
            }
        }
    }

    fn give_up(&mut self, reason: String) {
        if let Handover::Reactors(request, _) = std::mem::take(&mut self.handover) {
            refuse(&request, reason);
        }
        self.stay();
    }

    fn send_own_part(&mut self, request: &mut Request, now: Now) -> io::Result<()> {
        let link = &mut request.link;
        let emitters: Vec<&Emitter> = self.emitters.iter().map(|(_, emitter)| emitter).collect();
        for some in emitters.chunks(FILES_MAX) {
            let states = some.iter().map(|emitter| emitter.state()).collect();
            let files: Vec<BorrowedFd<'_>> =
                some.iter().map(|emitter| emitter.stream.as_fd()).collect();
            link.send(&FromOld::Emitters(states), &[], &files)?;
        }

        // What clients and presence caused while the reactors came to rest.
        if !self.share(now) {
            let keys = self.sequencer.take_keys();
            let blocks = self.sequencer.take_blocks();
            count_events(&self.shared, blocks.as_slice());
            if let Some(journal) = &mut self.journal {
                journal.append(blocks.as_slice(), &keys, now);
            }
            self.pending.extend(blocks);
        }
        let mut pending = Vec::new();
        for block in &self.pending {
            put_block(block, now.instant, &mut pending);
        }
        link.send(&FromOld::Pending, &pending, &[])?;

        let mut keys = Vec::new();
        for (hash, number, left_ms) in self.sequencer.keys(now.instant) {
            let key = KeyState {
                hash,
                number,
                left_ms,
            };
            put_key(key, &mut keys);
        }
        let ms = |left: Duration| u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let Some(ingest) = &self.ingest else {
            return Err(io::Error::other("the ingest socket is closed"));
        };
        let (device, inode) = ingest.file;
        let leaving: Vec<(&str, Duration)> = if self.shared.config.tls.is_some() {
            // Their connections do not cross: they come back when they are told to.
            let spread = Duration::from_millis(self.shared.admission.reconnect_spread_ms());
            self.presence.all_leaving(now.instant, spread).collect()
        } else {
            self.presence.leaving(now.instant).collect()
        };
        let state = RouterState {
            runs: self.shared.runs.all().collect(),
            newest: match &self.cluster {
                // All hosts count together.
                Some(cluster) => cluster.newest(),
                None => self.sequencer.newest(),
            },
            online: match &self.cluster {
                Some(cluster) => cluster.online,
                None => self.presence.online(),
            },
            serial: self.accepting.serial,
            secret: self.sequencer.secret(),
            leaving: leaving
                .into_iter()
                .map(|(user, left)| (user.to_owned(), ms(left)))
                .collect(),
            ingest: (ingest.path.clone(), device, inode),
            door: request.door.file,
            journal: match &mut self.journal {
                Some(journal) => Some(journal.hand_over(now)?),
                None => None,
            },
            revoked: self.shared.revoked.all(now.wall_ms),
            awaits_others: self.shared.revoked.awaits_others(),
        };
        let lock = self.journal.as_ref().map(Journal::lock);
        let (port, ingest, door) = (&self.listener, &ingest.listener, &request.door);
        let files: Vec<BorrowedFd<'_>> = [port.as_fd(), ingest.as_fd(), door.as_fd()]
            .into_iter()
            .chain(lock)
            .collect();
        link.send(&FromOld::Router(Box::new(state)), &keys, &files)?;
        link.send(&FromOld::Done, &[], &[])
    }

    /// Everything is as it was before the successor asked.
    fn stay(&mut self) {
        self.handover = Handover::No;
        for lane in &mut self.lanes {
            lane.down.send(ToReactor::Stay);
        }
        let pending = self.pending.drain(..);
        hand_out(pending, &self.shared, &mut self.lanes, &mut self.taps);
        self.make_room();
    }

    /// The successor serves: nothing that it has is touched any more, and what is parting parts.
    fn depart(&mut self, now: Now) {
        log::info!("the successor serves; this process ends");
        self.handover = Handover::Gone;
        self.shared.admission.begin_drain();
        self.accepting.waiting = accept::Waiting::default();
        self.emitters_waiting = accept::Waiting::default();
        // The sockets live on elsewhere, so that the poll must be told.
        let registry = &self.registry;
        let mut gone: Vec<io::Result<()>> = self
            .emitters
            .drain()
            .map(|mut emitter| registry.deregister(&mut emitter.stream))
            .collect();
        gone.push(registry.deregister(&mut self.listener));
        if let Some(mut ingest) = self.ingest.take() {
            // And its file stays where it is.
            gone.push(registry.deregister(&mut ingest.listener));
        }
        for error in gone.into_iter().filter_map(Result::err) {
            log::debug!("deregistering a socket failed: {error}");
        }
        if let Some(journal) = self.journal.take() {
            journal.give_away();
        }
        for lane in &mut self.lanes {
            lane.down.send(ToReactor::Depart);
        }
        // Those over TLS are sent what waits for them before they are sent away.
        let patience = match &self.shared.config.tls {
            Some(_) => self.shared.config.drain_timeout,
            None => Duration::ZERO,
        };
        let patience = patience.max(limits::LINGER_TIME * 2);
        self.drain = Drain::Reactors {
            until: now.instant + patience,
            left: self.lanes.len(),
        };
        self.make_room();
    }

    /// Takes over what another process's router has sent; `customers` are those who have a
    /// connection, once for each reactor.
    pub fn board(
        &mut self,
        arrival: &mut Arrival,
        customers: Vec<Box<str>>,
        now: Now,
    ) -> io::Result<()> {
        self.is_guest = true;
        for user in customers {
            self.presence.arrived(&user);
        }
        let leaving = arrival.router.leaving.drain(..);
        let leaving = leaving.map(|(user, ms)| (user.into(), Duration::from_millis(ms)));
        self.presence.go_on(leaving, now.instant);
        self.accepting.serial = arrival.router.serial;
        if let Some(cluster) = &mut self.cluster {
            cluster.online = arrival.router.online;
            self.shared.set_newest(arrival.router.newest);
        }
        for (state, stream) in arrival.emitters.drain(..) {
            self.board_emitter(state, UnixStream::from_std(stream))?;
        }
        let pending = arrival.pending.drain(..);
        hand_out(pending, &self.shared, &mut self.lanes, &mut self.taps);
        // Connections may wait since the other process stood still.
        self.accepting.waiting.ready();
        self.emitters_waiting.ready();
        Ok(())
    }

    fn board_emitter(&mut self, state: EmitterState, stream: UnixStream) -> io::Result<()> {
        let peer = accept::peer(stream.as_fd());
        let key = self.add_emitter(stream, peer)?;
        self.emitters[key].go_on(state);
        Ok(())
    }
}

fn refuse(request: &Request, reason: String) {
    // A thread that does not listen any more has ended with its successor.
    request.sent.send(Err(reason)).ok();
}
