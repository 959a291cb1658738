//! Carries out what an operator asks for on the ingest socket.
//!
//! Part of the router; [`super::command`] reads the line. What only reactors know is a question to
//! them, one at a time, and its answer waits until all have answered.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Router;
use super::command::{Command, Fault};
use super::reload::Asker;
use crate::clock::Now;
use crate::listing::{Connections, ConnectionsWanted, Events, EventsWanted};
use crate::logging;
use crate::ring::{Selector, ToReactor};

/// A question on its way through the reactors.
pub(super) struct Question {
    emitter: usize,
    generation: u32,
    reactors_left: usize,
    asked: Asked,
}

/// What was asked, and what has been answered so far.
enum Asked {
    /// How many connections were closed.
    Disconnect(usize),
    Connections(Arc<ConnectionsWanted>, Connections),
    /// The first reactor keeps what all of them do.
    Events,
}

impl Router {
    pub(super) fn execute(&mut self, key: usize, command: Result<Command, Fault>, now: Now) {
        let emitter = &mut self.emitters[key];
        if !emitter.is_operator {
            let message = "commands are taken only from the server's own user or root";
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
            Ok(Command::Disconnect(_) | Command::Connections(_) | Command::Events(_))
                if self.question.is_some() =>
            {
                let message = "another operator's question is under way; try again";
                emitter.refuse_as("unavailable", None, message);
            }
            Ok(Command::Disconnect(selector)) => self.disconnect(key, selector, now),
            Ok(Command::Connections(wanted)) => {
                let wanted = Arc::new(wanted);
                let asked = Asked::Connections(Arc::clone(&wanted), Connections::default());
                self.ask(key, asked, self.lanes.len());
                for lane in &mut self.lanes {
                    lane.down.send(ToReactor::Connections(Arc::clone(&wanted)));
                }
            }
            Ok(Command::Events(wanted)) => self.ask_for_events(key, wanted, now),
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

    fn disconnect(&mut self, key: usize, selector: Selector, now: Now) {
        self.ask(key, Asked::Disconnect(0), self.lanes.len());
        let selector = Arc::new(selector);
        // What was accepted before still reaches those who are sent away.
        self.hand_down(now);
        for lane in &mut self.lanes {
            lane.down.send(ToReactor::Disconnect(Arc::clone(&selector)));
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

    pub(super) fn on_disconnected(&mut self, connections: usize) {
        if let Some(Question {
            asked: Asked::Disconnect(all),
            ..
        }) = &mut self.question
        {
            *all += connections;
            let total = *all;
            self.on_answer(|| {
                log::info!("the operator disconnected {total} connections");
                json!({ "disconnected": total })
            });
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
            self.on_answer(|| answer);
        }
    }

    pub(super) fn on_events(&mut self, events: &Events) {
        if let Some(Question {
            asked: Asked::Events,
            ..
        }) = &self.question
        {
            self.on_answer(|| json!(events));
        }
    }

    /// One more reactor has answered; the operator hears of it when all have.
    fn on_answer(&mut self, result: impl FnOnce() -> Value) {
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
            emitter.answer(&json!({ "result": result }));
            self.ready.push(key);
        }
    }
}
