//! Carries out what an operator asks for on the ingest socket.
//!
//! Part of the router; [`super::command`] reads the line. What only reactors know is a
//! [question](super::question) to them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::Router;
use super::command::{Command, Fault};
use super::question::{Asked, Closed};
use super::reload::Asker;
use crate::auth::{Full, Revocation, Whom};
use crate::clock::Now;
use crate::emitters::Verbs;
use crate::limits;
use crate::listing::{Connections, EventsWanted, WhyWanted};
use crate::log_throttle::held_back;
use crate::logging;
use crate::ring::{Selector, ToReactor};

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
            if let Some(held) = self.refusals.admit(now.instant) {
                log::warn!(
                    emitter = emitter.generation,
                    uid = emitter.user,
                    pid = emitter.process.map(|process| process.as_raw_nonzero().get()),
                    command = command.as_ref().map_or("", |command| command.verb().name());
                    "refused a command{}", held_back(held)
                );
            }
            return emitter.refuse_as("forbidden", None, message);
        }
        match command {
            Err((field, message)) => emitter.refuse_as("invalid_command", Some(field), &message),
            Ok(Command::Stats { latencies }) => {
                let mut snapshot = self.shared.snapshot(now.instant);
                if latencies {
                    snapshot = snapshot.with_latencies(&self.shared.stats);
                }
                emitter.answer(&json!({ "result": snapshot }));
            }
            Ok(Command::LogLevel(level)) => {
                let name = level.map_or("default", |level| level.as_str());
                let name = name.to_ascii_lowercase();
                log::warn!(new_level = name.as_str(); "the operator sets the level of the log");
                logging::set_level(level);
                emitter.answer(&json!({ "result": { "level": name } }));
            }
            Ok(Command::Drain) => {
                let mut result = json!({ "draining": true });
                let cluster = self.cluster.as_ref();
                let owed = cluster.map_or(0, |cluster| cluster.alone_events());
                if owed > 0 {
                    result["localEvents"] = owed.into();
                }
                emitter.answer(&json!({ "result": result }));
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
            Ok(
                Command::Disconnect(_)
                | Command::Revoke(..)
                | Command::Connections(_)
                | Command::Access(_)
                | Command::Events(_)
                | Command::Why(_),
            ) if !self.questions.is_empty() => {
                let message = "another operator's question is under way; try again";
                emitter.refuse_as("unavailable", None, message);
            }
            Ok(Command::Disconnect(selector)) => self.disconnect(key, selector, None, now),
            Ok(Command::Revoke(whom, kept)) => self.revoke(key, whom, kept, now),
            Ok(Command::Connections(wanted)) => {
                let wanted = Arc::new(wanted);
                let asked = Asked::Connections(Arc::clone(&wanted), Connections::default());
                self.ask(key, asked, self.lanes.len());
                for lane in &mut self.lanes {
                    lane.down.send(ToReactor::Connections(Arc::clone(&wanted)));
                }
            }
            Ok(Command::Access(table)) => {
                let asked = Asked::Access(table, Box::default());
                self.ask(key, asked, self.lanes.len());
                for lane in &mut self.lanes {
                    lane.down.send(ToReactor::Subscribers);
                }
            }
            Ok(Command::Events(wanted)) => self.ask_for_events(key, wanted, now),
            Ok(Command::Why(wanted)) => self.ask_why(key, wanted, now),
            Ok(Command::Tap(wanted)) => self.begin_tap(key, wanted, now.instant),
        }
    }

    /// Refuses the tokens from now on, in all reactors, and then closes the connections that came by
    /// them: so nobody slips in between.
    fn revoke(&mut self, key: usize, whom: Whom, kept: Duration, now: Now) {
        let at_ms = now.wall_ms;
        let kept_ms = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
        let revocation = Revocation {
            whom,
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
        let selector = Selector::from(&revocation.whom);
        self.disconnect(key, selector, Some(revocation), now);
    }

    fn disconnect(
        &mut self,
        key: usize,
        selector: Selector,
        revocation: Option<Revocation>,
        now: Now,
    ) {
        let closed = Closed::of(revocation.as_ref().map(|each| each.whom.clone()));
        self.ask(key, Asked::Disconnect(closed), self.lanes.len());
        // What was accepted before still reaches those who are sent away.
        self.hand_down(now);
        match self.disconnect_everywhere(selector, revocation, now) {
            Some(selector) => self.disconnect_here(selector),
            None => self.ask_redis_first(),
        }
    }

    /// Closes connections of this host, for whoever asked for it here.
    pub(super) fn disconnect_here(&mut self, selector: Selector) {
        self.reactors_are_asked();
        let selector = Arc::new(selector);
        for lane in &mut self.lanes {
            lane.down.send(ToReactor::Disconnect(Arc::clone(&selector)));
        }
    }

    fn ask_for_events(&mut self, key: usize, wanted: EventsWanted, now: Now) {
        if wanted.data {
            log::warn!(limit = wanted.limit; "the operator looks at events with their data");
        }
        self.ask(key, Asked::Events(None), 1);
        // What was accepted before is kept by then.
        self.hand_down(now);
        if let Some(lane) = self.lanes.first_mut() {
            lane.down.send(ToReactor::Events(Arc::new(wanted)));
        }
    }

    fn ask_why(&mut self, key: usize, wanted: WhyWanted, now: Now) {
        self.ask(key, Asked::Why(Box::default()), self.lanes.len());
        // What was accepted before is kept by then.
        self.hand_down(now);
        let wanted = Arc::new(wanted);
        for lane in &mut self.lanes {
            lane.down.send(ToReactor::Why(Arc::clone(&wanted)));
        }
    }
}
