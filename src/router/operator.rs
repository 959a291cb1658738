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
use crate::limits;
use crate::ring::{Selector, ToReactor};

/// A `disconnect` or `revoke` on its way through the reactors.
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
        let Some(done) = self.disconnect.take() else {
            return;
        };
        let result = self.note_disconnected(&done);
        if let Some(emitter) = self.emitters.get_mut(done.emitter)
            && emitter.generation == done.generation
        {
            emitter.awaits_answer = false;
            emitter.answer(&serde_json::json!({ "result": result }));
            self.ready.push(done.emitter);
        }
    }

    /// Logs what was done, and gives the answer.
    fn note_disconnected(&self, done: &PendingDisconnect) -> serde_json::Value {
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
        // Their tokens may last longer than it would be remembered.
        let until = self.shared.revoked.keep_until(whom, done.latest_end);
        serde_json::json!({ "revoked": true, "disconnected": total, "until": until })
    }
}
