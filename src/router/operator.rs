//! Carries out what an operator asks for on the ingest socket.
//!
//! Part of the router; [`super::command`] reads the line.

use std::sync::Arc;
use std::time::Duration;

use super::Router;
use super::command::{Command, Fault};
use super::reload::Asker;
use crate::auth::{Full, Revocation, Whom};
use crate::clock::Now;
use crate::emitters::Verbs;
use crate::journal::revoked_file;
use crate::limits;
use crate::ring::{Mailbox, Post, Selector, ToReactor};

/// A `disconnect` or `revoke` on its way through the reactors, and then to the disk.
pub(super) struct PendingDisconnect {
    emitter: usize,
    generation: u32,
    reactors_left: usize,
    connections: usize,
    /// Whose tokens are revoked besides.
    revoked: Option<Whom>,
    /// When the last token ends of those who were closed.
    latest_end: u64,
}

/// Whether what was revoked is on disk, as a thread tells it.
pub type Stored = bool;

impl Router {
    pub(super) fn execute(&mut self, key: usize, command: Result<Command, Fault>, now: Now) {
        let has_table = self.live.config.emitters.is_some();
        let emitter = &mut self.emitters[key];
        let is_allowed = match &command {
            Ok(command) => emitter.rights.verbs.contains(command.verb()),
            // What is wrong with it is told to those who may say something.
            Err(_) => emitter.rights.verbs != Verbs::default(),
        };
        if !is_allowed {
            let message = if has_table {
                "this user may not give this command: [emitters] in the configuration says who may"
            } else {
                "commands are taken only from the server's own user or root"
            };
            return emitter.refuse_as("forbidden", None, message);
        }
        match command {
            Err((field, message)) => emitter.refuse_as("invalid_command", Some(field), &message),
            Ok(Command::Stats) => {
                let snapshot = self.shared.stats.snapshot(now.instant);
                emitter.answer(&serde_json::json!({ "result": snapshot }));
            }
            Ok(Command::Drain) => {
                emitter.answer(&serde_json::json!({ "result": { "draining": true } }));
                self.begin_drain(now.instant);
            }
            Ok(Command::Reload) if self.reload.is_under_way() => {
                let message = "another reload is under way; try again";
                emitter.refuse_as("unavailable", None, message);
            }
            Ok(Command::Reload) => {
                emitter.awaits_answer = true;
                let asker = Asker::Operator(key, emitter.generation);
                if let Err(error) = self.begin_reload(asker) {
                    let emitter = &mut self.emitters[key];
                    emitter.awaits_answer = false;
                    emitter.refuse_as("unavailable", None, &format!("reloading failed: {error}"));
                }
            }
            Ok(Command::Disconnect(_) | Command::Revoke(..)) if self.disconnect.is_some() => {
                let message = "another disconnect is under way; try again";
                emitter.refuse_as("unavailable", None, message);
            }
            Ok(Command::Disconnect(selector)) => self.begin_disconnect(key, selector, None, now),
            Ok(Command::Revoke(whom, kept)) => self.revoke(key, whom, kept, now),
        }
    }

    /// Refuses the tokens from now on, in all reactors, and then closes the connections that came by
    /// them: so nobody slips in between.
    fn revoke(&mut self, key: usize, whom: Whom, kept: Duration, now: Now) {
        let at_ms = now.wall_ms;
        let kept_ms = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
        let revocation = Revocation {
            whom: whom.clone(),
            at_ms,
            until_ms: at_ms.saturating_add(kept_ms),
        };
        if let Err(Full { until_ms }) = self.shared.revoked.add(&revocation, at_ms) {
            let message = format!(
                "{} users and sessions are revoked, the most there may be; the first of them is over in {} s",
                limits::REVOCATIONS_MAX,
                until_ms.saturating_sub(at_ms).div_ceil(1000)
            );
            return self.emitters[key].refuse_as("unavailable", None, &message);
        }
        let selector = match &whom {
            Whom::User(user) => Selector::User(user.clone()),
            Whom::Session(session) => Selector::Session(session.clone()),
        };
        self.begin_disconnect(key, selector, Some(whom), now);
    }

    fn begin_disconnect(
        &mut self,
        key: usize,
        selector: Selector,
        revoked: Option<Whom>,
        now: Now,
    ) {
        let emitter = &mut self.emitters[key];
        emitter.awaits_answer = true;
        self.disconnect = Some(PendingDisconnect {
            emitter: key,
            generation: emitter.generation,
            reactors_left: self.lanes.len(),
            connections: 0,
            revoked,
            latest_end: 0,
        });
        let selector = Arc::new(selector);
        // What was accepted before still reaches those who are sent away.
        self.hand_down(now);
        for lane in &mut self.lanes {
            lane.down.send(ToReactor::Disconnect(Arc::clone(&selector)));
        }
    }

    pub(super) fn on_disconnected(&mut self, connections: usize, latest_end: u64) {
        let Some(pending) = &mut self.disconnect else {
            return;
        };
        pending.connections += connections;
        pending.latest_end = pending.latest_end.max(latest_end);
        pending.reactors_left -= 1;
        if pending.reactors_left > 0 {
            return;
        }
        let (latest_end, revoked) = (pending.latest_end, pending.revoked.clone());
        if let Some(whom) = revoked {
            // Their tokens may last longer than it would be remembered.
            self.shared.revoked.keep_until(&whom, latest_end);
            if self.begin_storing() {
                return;
            }
        }
        self.answer_disconnect(false);
    }

    /// Has what is revoked written beside the journal, on a thread of its own. False: there is no journal,
    /// or it cannot be.
    fn begin_storing(&mut self) -> bool {
        let Some((post, _)) = &self.stored else {
            return false;
        };
        let Some(folder) = self.shared.config.journal.clone() else {
            return false;
        };
        let (post, shared) = (post.clone(), Arc::clone(&self.shared));
        let store = move || {
            let all = shared.revoked.all(shared.wall.ms());
            let written = revoked_file::write(&folder, &all);
            if let Err(error) = &written {
                log::error!(
                    "what was revoked could not be stored, and a restart forgets it: {error}"
                );
            }
            post.send(written.is_ok())
        };
        let thread = std::thread::Builder::new().name("revoked".to_owned());
        match thread.spawn(store) {
            Ok(_) => true,
            Err(error) => {
                log::error!("what was revoked could not be stored: {error}");
                false
            }
        }
    }

    /// Makes it possible to store what is revoked: the thread's word comes through this letter box.
    pub fn expect_stored(&mut self, post: Post<Stored>, mailbox: Mailbox<Stored>) {
        self.stored = Some((post, mailbox));
    }

    /// Whether it is known whether something was stored.
    pub(super) fn has_stored(&self) -> bool {
        let stored = self.stored.as_ref();
        stored.is_some_and(|(_, mailbox)| mailbox.has_mail())
    }

    pub(super) fn advance_storing(&mut self) {
        let stored = self.stored.as_ref();
        if let Some(is_stored) = stored.and_then(|(_, mailbox)| mailbox.take()) {
            self.answer_disconnect(is_stored);
        }
    }

    fn answer_disconnect(&mut self, is_stored: bool) {
        let Some(done) = self.disconnect.take() else {
            return;
        };
        let result = self.note_disconnected(&done, is_stored);
        if let Some(emitter) = self.emitters.get_mut(done.emitter)
            && emitter.generation == done.generation
        {
            emitter.awaits_answer = false;
            emitter.answer(&serde_json::json!({ "result": result }));
            self.ready.push(done.emitter);
        }
    }

    /// Logs what was done, and gives the answer.
    fn note_disconnected(&self, done: &PendingDisconnect, is_stored: bool) -> serde_json::Value {
        let total = done.connections;
        let Some(whom) = &done.revoked else {
            log::info!("the operator disconnected {total} connections");
            return serde_json::json!({ "disconnected": total });
        };
        let whose = match whom {
            Whom::User(_) => "a user",
            Whom::Session(_) => "a session",
        };
        log::info!(
            "the operator revoked the tokens of {whose} and disconnected {total} connections"
        );
        serde_json::json!({
            "revoked": true,
            "disconnected": total,
            "until": self.shared.revoked.keep_until(whom, 0),
            "stored": is_stored,
        })
    }
}
