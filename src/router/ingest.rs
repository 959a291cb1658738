//! From emitters' sockets to settled lines, and back to their acks (CONTRACT section 4).
//!
//! Part of the router. An emitter is read a buffer at a time, in turn with the others, and not at
//! all while a reactor cannot follow: back-pressure instead of loss.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Instant;

use mio::net::UnixStream;
use mio::{Interest, Token};
use rustix::net::UCred;
use rustix::process::Pid;

use super::emitter::{Emitter, Next, refusal_line};
use super::sequencer::Settled;
use super::{ROUTER, Router, accept, command};
use crate::clock::Now;
use crate::emitters::{self, Rights, UserId, Verbs};
use crate::event::{Code, Refusal};
use crate::log_throttle::held_back;
use crate::shared::Shared;

impl Router {
    pub(super) fn accept_emitters(&mut self, now: Instant) {
        while self.emitters_waiting.begin(now) {
            let Some(ingest) = &self.ingest else { return };
            let stream = match ingest.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    self.emitters_waiting.failed(&error, now);
                    continue;
                }
            };
            let peer = accept::peer(stream.as_fd());
            // The canary has its place as root has.
            let user = match peer {
                Some(peer) if self.is_canary(Some(peer.pid)) => Some(0),
                peer => peer.map(|peer| peer.uid.as_raw()),
            };
            let (places, full) = emitters::places(user, accept::own_user());
            if self.emitters.len() >= places {
                self.turn_away(stream, peer, &full, now);
            } else if let Err(error) = self.add_emitter(stream, peer) {
                log::warn!("registering an emitter failed: {error}");
            }
        }
    }

    /// Closes a connection that there is no place for, and tells it so, as if its first line had been refused.
    fn turn_away(&mut self, mut stream: UnixStream, peer: Option<UCred>, why: &str, now: Instant) {
        let code = Code::Unavailable.as_str();
        let line = format!("{}\n", refusal_line(1, code, None, why));
        if let Err(error) = stream.write_all(line.as_bytes()) {
            log::debug!("an emitter that was turned away does not hear it: {error}");
        }
        if let Some(held) = self.turned_away.admit(now) {
            log::warn!(
                uid = peer.map(|peer| peer.uid.as_raw()),
                pid = peer.map(|peer| peer.pid.as_raw_nonzero().get());
                "an emitter was turned away: {why}{}", held_back(held)
            );
        }
    }

    /// Whether it is this process itself, as its canary.
    fn is_canary(&self, process: Option<Pid>) -> bool {
        self.shared.canary.is_some() && process == Some(rustix::process::getpid())
    }

    /// Gives an emitter its slot and has the poll watch it.
    pub(super) fn add_emitter(
        &mut self,
        mut stream: UnixStream,
        peer: Option<UCred>,
    ) -> io::Result<usize> {
        let user = peer.map(|peer| peer.uid.as_raw());
        let process = peer.map(|peer| peer.pid);
        let rights = self.rights_of(user, process);
        self.generation = (self.generation + 1) & 0x7FFF_FFFF;
        let entry = self.emitters.vacant_entry();
        let key = entry.key();
        let token = emitter_token(key, self.generation);
        self.registry
            .register(&mut stream, token, Interest::READABLE)?;
        let line_max = self.shared.config.max_message;
        let mut emitter = Emitter::new(stream, self.generation, user, rights, line_max);
        emitter.process = process;
        if let Some(peer) = peer {
            log::debug!(
                emitter = self.generation,
                uid = peer.uid.as_raw(),
                pid = peer.pid.as_raw_nonzero().get();
                "an emitter connects"
            );
        }
        if self.journal.is_some() {
            emitter.wait_for_journal();
        }
        if self.cluster.is_some() {
            emitter.wait_for_cluster();
        }
        entry.insert(emitter);
        self.ready.push(key);
        self.shared.stats.router.emitters.add(1);
        Ok(key)
    }

    /// What a user's process may do by the rules in force.
    fn rights_of(&self, user: Option<UserId>, process: Option<Pid>) -> Rights {
        if self.is_canary(process) {
            return Rights::CANARY;
        }
        let table = self.live.config.emitters.as_ref();
        emitters::rights(table, user, accept::own_user())
    }

    /// The rules may have changed: all emitters are held to those in force.
    pub(super) fn hold_emitters_to_rules(&mut self) {
        let emitters = self.emitters.iter();
        let rights: Vec<(usize, Rights)> = emitters
            .map(|(key, emitter)| (key, self.rights_of(emitter.user, emitter.process)))
            .collect();
        for (key, rights) in rights {
            self.emitters[key].rights = rights;
        }
    }

    pub(super) fn read_emitters(&mut self, now: Now) {
        // Those that are to be looked at again are put behind these.
        let count = self.ready.len();
        for index in 0..count {
            let key = self.ready[index];
            if self.is_held_up() {
                // A reactor, the disk or Redis cannot keep up: the emitters wait, and feel it in their sockets.
                self.ready.push(key);
                self.hear_operator(key, now);
            } else if self.emitters.contains(key) {
                self.read_emitter(key, now);
            }
        }
        self.ready.drain(..count);
        self.ready.sort_unstable();
        self.ready.dedup();
    }

    /// Takes an operator's commands while no emitter is read: most of all then they are wanted.
    fn hear_operator(&mut self, key: usize, now: Now) {
        let Some(emitter) = self.emitters.get(key) else {
            return;
        };
        // What is sent to a successor is not touched. Of the others a buffer full is taken: events in it, behind
        // a command, are no more than that.
        let may_command = emitter.rights.verbs != Verbs::default();
        if !self.is_handing_over() && may_command && emitter.has_command() {
            self.read_emitter(key, now);
        }
    }

    /// Reads one buffer full from an emitter and settles its lines.
    pub(super) fn read_emitter(&mut self, key: usize, now: Now) {
        let emitter = &mut self.emitters[key];
        match emitter.flush() {
            Ok(_) if emitter.awaits_answer => return,
            // One long answer is enough for that: when there is room for more of it, it is told.
            Ok(_) if emitter.is_deaf() => return self.unacked.push(key),
            Ok(_) => {}
            Err(error) => return self.drop_emitter(key, &error),
        }
        if emitter.readable && !emitter.ended {
            match emitter.read(&mut self.spare) {
                Ok(count) => self.sequencer.reserve(count + count / 2),
                Err(error) if is_passing(&error) => {}
                Err(error) => return self.drop_emitter(key, &error),
            }
        }
        self.settle_lines(key, now);
        let emitter = &mut self.emitters[key];
        if emitter.ended && !emitter.awaits_answer {
            self.settle_last_line(key, now);
        }
        let emitter = &mut self.emitters[key];
        emitter.release(&mut self.spare);
        if emitter.readable && !emitter.ended {
            self.ready.push(key);
        }
        self.unacked.push(key);
    }

    pub(super) fn settle_lines(&mut self, key: usize, now: Now) {
        loop {
            if self.emitters[key].awaits_answer {
                return;
            }
            let next = self.emitters[key].next_line();
            if matches!(next, Next::None) {
                return;
            }
            self.settle(key, next, now);
        }
    }

    /// A line that the emitter did not end with a newline counts if it is a whole object; an
    /// emitter that died in the middle of a line loses that line alone.
    pub(super) fn settle_last_line(&mut self, key: usize, now: Now) {
        let next = self.emitters[key].last_line();
        self.settle(key, next, now);
    }

    pub(super) fn settle(&mut self, key: usize, next: Next, now: Now) {
        let emitter = &mut self.emitters[key];
        let line = match next {
            Next::Line(line) => line,
            Next::TooLong => {
                let refusal = emitter.too_long();
                return self.refuse(key, &refusal, now.instant);
            }
            Next::None => return,
        };
        let namespaces = emitter.rights.namespaces;
        let bytes = emitter.bytes(line.clone());
        match self.sequencer.line_of(namespaces, bytes, now) {
            Ok(Settled::Blank) => {}
            Ok(Settled::Accepted(id)) => emitter.accepted(id),
            Ok(Settled::Repeated(id)) => {
                emitter.accepted(id);
                self.shared.stats.router.repeated.add(1);
            }
            Ok(Settled::Command) => {
                let command = command::parse(emitter.bytes(line));
                self.execute(key, command, now);
            }
            Err(refusal) => self.refuse(key, &refusal, now.instant),
        }
    }

    pub(super) fn refuse(&mut self, key: usize, refusal: &Refusal, now: Instant) {
        let emitter = &mut self.emitters[key];
        emitter.refuse(refusal);
        self.shared
            .stats
            .router
            .rejected
            .count(refusal.code.as_str());
        if let Some(held) = self.refusals.admit(now) {
            log::warn!(
                emitter = emitter.generation,
                uid = emitter.user,
                pid = emitter.process.map(|process| process.as_raw_nonzero().get()),
                line = emitter.line_number(),
                code = refusal.code.as_str(),
                field = refusal.field.as_deref().unwrap_or_default();
                "refused a line{}", held_back(held)
            );
        }
    }

    /// Once every reactor has all that was settled: tells the emitters, and lets go of those that are
    /// done. Comes after the sends of a reactor on the same thread, which browsers wait for.
    pub fn acknowledge(&mut self) {
        if self.is_clogged() {
            return self.flush_answers();
        }
        if self.sequencer.waiting() > 0 {
            return;
        }
        if let Some(journal) = &mut self.journal
            && journal.take_news()
        {
            self.recall_unsettled();
        }
        self.note_cluster_news();
        while let Some(key) = self.unacked.pop() {
            let Some(emitter) = self.emitters.get_mut(key) else {
                continue;
            };
            if !emitter.awaits_answer {
                emitter.ack(&self.shared.runs);
            }
            if let Some(journal) = &self.journal {
                let lost = journal.trouble().map(|why| (journal.written_to(), why));
                let given_up = emitter.settle(journal.safe_to(), lost, &self.shared.runs);
                count_given_up(&self.shared, given_up);
            }
            if let Some(cluster) = &self.cluster {
                let name = |provisional| cluster.name(provisional);
                let resolved_to = cluster.resolved_to();
                let given_up = emitter.settle_named(resolved_to, name, &self.shared.runs);
                count_given_up(&self.shared, given_up);
            }
            if emitter.is_settling() && !std::mem::replace(&mut emitter.is_unsettled, true) {
                self.unsettled.push(key);
            }
            match emitter.flush() {
                Ok(_) if emitter.ended && emitter.is_flushed() => self.remove_emitter(key),
                Ok(all) => self.await_room(key, !all),
                Err(error) => self.drop_emitter(key, &error),
            }
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.forget_names();
        }
    }

    /// What was answered does not wait for a reactor that is behind, as acks do.
    fn flush_answers(&mut self) {
        for index in 0..self.unacked.len() {
            let key = self.unacked[index];
            let emitter = self.emitters.get_mut(key);
            if let Some(emitter) = emitter.filter(|emitter| emitter.unwritten() > 0) {
                match emitter.flush() {
                    Ok(all) => self.await_room(key, !all),
                    Err(error) => self.drop_emitter(key, &error),
                }
            }
        }
    }

    /// The journal or Redis has news: those who wait for that are looked at again.
    pub(super) fn recall_unsettled(&mut self) {
        for &key in &self.unsettled {
            if let Some(emitter) = self.emitters.get_mut(key) {
                emitter.is_unsettled = false;
            }
        }
        self.unacked.append(&mut self.unsettled);
    }

    /// Has the poll tell when the emitter's socket has room, or no longer. Else every ack that an
    /// emitter reads would wake the router.
    fn await_room(&mut self, key: usize, wanted: bool) {
        let emitter = &mut self.emitters[key];
        if emitter.awaits_room == wanted {
            return;
        }
        let interest = if wanted {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        let token = emitter_token(key, emitter.generation);
        match self
            .registry
            .reregister(&mut emitter.stream, token, interest)
        {
            Ok(()) => emitter.awaits_room = wanted,
            Err(error) => self.drop_emitter(key, &error),
        }
    }

    pub(super) fn drop_emitter(&mut self, key: usize, error: &io::Error) {
        // Every API route that ends before its ack does this: nothing for an operator.
        let emitter = self.emitters[key].generation;
        log::debug!(emitter; "an emitter broke off: {error}");
        self.remove_emitter(key);
    }

    pub(super) fn remove_emitter(&mut self, key: usize) {
        let mut emitter = self.emitters.remove(key);
        if let Err(error) = self.registry.deregister(&mut emitter.stream) {
            log::debug!("deregistering an emitter failed: {error}");
        }
        self.shared.stats.router.emitters.sub(1);
    }
}

/// Counts lines whose events could not be kept, or did not get to the others.
fn count_given_up(shared: &Shared, lines: u64) {
    if lines > 0 {
        let rejected = &shared.stats.router.rejected;
        rejected.add(Code::Unavailable.as_str(), lines);
    }
}

fn emitter_token(key: usize, generation: u32) -> Token {
    Token(ROUTER | (generation as usize) << 32 | key)
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
