//! Carries out what an operator asks for on the ingest socket.
//!
//! Part of the router; [`super::command`] reads the line.

use std::sync::Arc;

use super::Router;
use super::command::{Command, Fault};
use super::reload::Asker;
use crate::clock::Now;
use crate::logging;
use crate::ring::ToReactor;

/// A `disconnect` on its way through the reactors.
pub(super) struct PendingDisconnect {
    emitter: usize,
    generation: u32,
    reactors_left: usize,
    connections: usize,
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
            Ok(Command::Stats) => {
                let snapshot = self.shared.stats.snapshot(now.instant);
                emitter.answer(&serde_json::json!({ "result": snapshot }));
            }
            Ok(Command::LogLevel(level)) => {
                let name = level.map_or("default", |level| level.as_str());
                let name = name.to_ascii_lowercase();
                log::warn!(new_level = name.as_str(); "the operator sets the level of the log");
                logging::set_level(level);
                emitter.answer(&serde_json::json!({ "result": { "level": name } }));
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
            Ok(Command::Disconnect(_)) if self.disconnect.is_some() => {
                let message = "another disconnect is under way; try again";
                emitter.refuse_as("unavailable", None, message);
            }
            Ok(Command::Disconnect(selector)) => {
                emitter.awaits_answer = true;
                self.disconnect = Some(PendingDisconnect {
                    emitter: key,
                    generation: emitter.generation,
                    reactors_left: self.lanes.len(),
                    connections: 0,
                });
                let selector = Arc::new(selector);
                // What was accepted before still reaches those who are sent away.
                self.hand_down(now);
                for lane in &mut self.lanes {
                    lane.down.send(ToReactor::Disconnect(Arc::clone(&selector)));
                }
            }
        }
    }

    pub(super) fn on_disconnected(&mut self, connections: usize) {
        let Some(pending) = &mut self.disconnect else {
            return;
        };
        pending.connections += connections;
        pending.reactors_left -= 1;
        if pending.reactors_left > 0 {
            return;
        }
        let (key, generation, total) = (pending.emitter, pending.generation, pending.connections);
        self.disconnect = None;
        log::info!("the operator disconnected {total} connections");
        if let Some(emitter) = self.emitters.get_mut(key)
            && emitter.generation == generation
        {
            emitter.awaits_answer = false;
            emitter.answer(&serde_json::json!({ "result": { "disconnected": total } }));
            self.ready.push(key);
        }
    }
}
