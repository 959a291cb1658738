//! Carries out what an operator asks for on the ingest socket.
//!
//! Part of the router; [`super::command`] reads the line. What only reactors know is a question to
//! them, one at a time, and its answer waits until all have answered.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Router;
use super::command::{Command, Fault};
use super::reload::Asker;
use crate::access::AccessTable;
use crate::auth::{Full, Revocation, Revocations, Whom};
use crate::clock::Now;
use crate::emitters::Verbs;
use crate::journal::revoked_file;
use crate::limits;
use crate::listing::{
    Connections, ConnectionsWanted, Events, EventsWanted, Subscribers, Why, WhyWanted,
};
use crate::log_throttle::held_back;
use crate::logging;
use crate::ring::{Mailbox, Post, Selector, ToReactor};

/// A question on its way through the reactors.
pub(super) struct Question {
    emitter: usize,
    generation: u32,
    /// So many reactors have not answered; the last one's answer may have to wait for the disk.
    reactors_left: usize,
    asked: Asked,
}

/// What was asked, and what has been answered so far.
enum Asked {
    Disconnect(Closed),
    Connections(Arc<ConnectionsWanted>, Connections),
    /// What would this table change?
    Access(AccessTable, Box<Subscribers>),
    /// The first reactor keeps what all of them do.
    Events,
    Why(Box<Why>),
}

/// What a `disconnect` or `revoke` has done.
#[derive(Clone)]
struct Closed {
    /// Whose tokens are revoked besides.
    revoked: Option<Whom>,
    connections: usize,
    /// When the last token ends of those who were closed.
    latest_end: u64,
    /// What other hosts know of it; none: there are none, or it does not concern them.
    others: Option<Others>,
}

/// What other hosts know of a `disconnect` or `revoke`.
#[derive(Clone, Copy)]
pub(super) enum Others {
    /// They have been told, and so will those that come later, if it is stored.
    Told { is_stored: bool },
    /// Redis is out of reach.
    NotYet,
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
                let stats = &self.shared.stats;
                let mut snapshot = stats.snapshot(now.instant);
                if latencies {
                    snapshot = snapshot.with_latencies(stats);
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
                emitter.answer(&json!({ "result": { "draining": true } }));
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
            ) if self.question.is_some() => {
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

    /// Lets the operator wait until so many reactors have answered.
    fn ask(&mut self, key: usize, asked: Asked, reactors: usize) {
        let emitter = &mut self.emitters[key];
        emitter.awaits_answer = true;
        self.question = Some(Question {
            emitter: key,
            generation: emitter.generation,
            reactors_left: reactors,
            asked,
        });
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
        let closed = Closed {
            revoked: revocation.as_ref().map(|each| each.whom.clone()),
            connections: 0,
            latest_end: 0,
            others: None,
        };
        self.ask(key, Asked::Disconnect(closed), self.lanes.len());
        // What was accepted before still reaches those who are sent away.
        self.hand_down(now);
        if let Some(selector) = self.disconnect_everywhere(selector, revocation, now) {
            self.disconnect_here(selector);
        }
    }

    /// Closes connections of this host, for whoever asked for it here.
    pub(super) fn disconnect_here(&mut self, selector: Selector) {
        let selector = Arc::new(selector);
        for lane in &mut self.lanes {
            lane.down.send(ToReactor::Disconnect(Arc::clone(&selector)));
        }
    }

    /// What other hosts know of the `disconnect` that is under way. Returns whose tokens it revokes, if it
    /// does.
    pub(super) fn note_others(&mut self, others: Others) -> Option<Whom> {
        match &mut self.question {
            Some(Question {
                asked: Asked::Disconnect(closed),
                ..
            }) => {
                closed.others = Some(others);
                closed.revoked.clone()
            }
            _ => None,
        }
    }

    fn ask_for_events(&mut self, key: usize, wanted: EventsWanted, now: Now) {
        if wanted.data {
            log::warn!(limit = wanted.limit; "the operator looks at events with their data");
        }
        self.ask(key, Asked::Events, 1);
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

    pub(super) fn on_disconnected(&mut self, connections: usize, latest_end: u64) {
        let Some(Question {
            asked: Asked::Disconnect(closed),
            reactors_left,
            ..
        }) = &mut self.question
        else {
            return;
        };
        closed.connections += connections;
        closed.latest_end = closed.latest_end.max(latest_end);
        if *reactors_left == 1
            && let Some(whom) = &closed.revoked
        {
            // Their tokens may last longer than it would be remembered.
            self.shared.revoked.keep_until(whom, closed.latest_end);
            if self.begin_storing() {
                return;
            }
        }
        self.answer_disconnect(false);
    }

    /// Has what is revoked written beside the journal, on a thread of its own. False: there is no journal,
    /// or it cannot be.
    fn begin_storing(&self) -> bool {
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
                log::error!(
                    "what was revoked could not be stored, and a restart forgets it: {error}"
                );
                false
            }
        }
    }

    /// A reactor has closed connections; or, if what is revoked had to be stored, the disk has answered
    /// for the last one.
    fn answer_disconnect(&mut self, is_stored: bool) {
        if let Some(Question {
            asked: Asked::Disconnect(closed),
            ..
        }) = &self.question
        {
            let (closed, revoked) = (closed.clone(), Arc::clone(&self.shared.revoked));
            self.on_answer(|| closed.answer(&revoked, is_stored));
        }
    }

    pub(super) fn on_connections(&mut self, connections: Connections) {
        if let Some(Question {
            asked: Asked::Connections(wanted, all),
            ..
        }) = &mut self.question
        {
            all.add(connections, wanted);
            let answer = all.answer(wanted);
            self.on_answer(|| Ok(answer));
        }
    }

    pub(super) fn on_subscribers(&mut self, subscribers: &Subscribers) {
        if let Some(Question {
            asked: Asked::Access(then, all),
            ..
        }) = &mut self.question
        {
            all.add(subscribers);
            let answer = all.answer(&self.live.config.access, then);
            self.on_answer(|| Ok(answer));
        }
    }

    pub(super) fn on_events(&mut self, events: &Events) {
        if let Some(Question {
            asked: Asked::Events,
            ..
        }) = &self.question
        {
            self.on_answer(|| Ok(json!(events)));
        }
    }

    pub(super) fn on_why(&mut self, why: Why) {
        if let Some(Question {
            asked: Asked::Why(all),
            ..
        }) = &mut self.question
        {
            all.add(why);
            let answer = all.answer();
            self.on_answer(|| Ok(answer));
        }
    }

    /// One more reactor has answered; the operator hears of it when all have: the result, or why it is
    /// not all that was asked for.
    fn on_answer(&mut self, result: impl FnOnce() -> Result<Value, String>) {
        let Some(question) = &mut self.question else {
            return;
        };
        question.reactors_left -= 1;
        if question.reactors_left > 0 {
            return;
        }
        let (key, generation) = (question.emitter, question.generation);
        self.question = None;
        let result = result();
        if let Some(emitter) = self.emitters.get_mut(key)
            && emitter.generation == generation
        {
            emitter.awaits_answer = false;
            match result {
                Ok(result) => emitter.answer(&json!({ "result": result })),
                Err(message) => emitter.refuse_as("unavailable", None, &message),
            }
            self.ready.push(key);
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
}

impl Closed {
    /// Logs what was done, and gives the answer.
    fn answer(&self, revoked: &Revocations, is_on_disk: bool) -> Result<Value, String> {
        let connections = self.connections;
        let Some(whom) = &self.revoked else {
            log::info!(connections; "the operator disconnected connections");
            return match self.others {
                Some(Others::NotYet) => {
                    let were = match connections {
                        1 => "connection of this host was",
                        _ => "connections of this host were",
                    };
                    Err(format!(
                        "{connections} {were} closed; Redis is out of reach, so the other hosts could \
                         not be told: try again"
                    ))
                }
                _ => Ok(json!({ "disconnected": connections })),
            };
        };
        let whose = match whom {
            Whom::User(_) => "user",
            Whom::Session(_) => "session",
        };
        log::info!(connections, whose; "the operator revoked tokens");
        let is_in_redis = matches!(self.others, Some(Others::Told { is_stored: true }));
        let mut answer = json!({
            "revoked": true,
            "disconnected": connections,
            "until": revoked.keep_until(whom, 0),
            "stored": is_on_disk || is_in_redis,
        });
        if let Some(others) = self.others {
            answer["everywhere"] = matches!(others, Others::Told { .. }).into();
        }
        Ok(answer)
    }
}
