//! What happens by time: heartbeat, the end of tokens, the limits of every stage.
//!
//! Part of the reactor. A connection stands on the wheel once, at the earliest of its deadlines or
//! before; what is due is decided when it comes up.

use std::time::Duration;

use super::Reactor;
use super::connection::{Connection, Stage};
use super::ticks::Tick;
use crate::limits;
use crate::wire::frame::put_frame;
use crate::wire::{CloseReason, Opcode, Refusal};

/// Steps of the wheel between two beats, which are when pings are sent and answers to them are due:
/// [`limits::BEAT`], and less where heartbeats are so quick that this would be late.
pub fn steps_between_beats(ping_interval: Duration, pong_timeout: Duration) -> u32 {
    let late = ping_interval.min(pong_timeout) / limits::BEATS_MIN;
    steps(late.min(limits::BEAT))
}

/// So many steps of the wheel; at least one, and never early.
pub fn steps(duration: Duration) -> u32 {
    let steps = duration.as_nanos().div_ceil(limits::TICK.as_nanos());
    // Half the range of ticks, about 248 days, is the furthest that can be compared.
    u32::try_from(steps)
        .unwrap_or(u32::MAX)
        .clamp(1, i32::MAX as u32)
}

impl Reactor {
    /// Serves every connection that is due.
    pub(super) fn run_timers(&mut self) {
        while let Some(key) = self.wheel.pop(self.tick) {
            self.on_due(key);
        }
    }

    fn on_due(&mut self, key: u32) {
        let connection = &self.connections[key as usize];
        let stage_over = connection
            .stage_due
            .is_some_and(|due| !due.is_after(self.tick));
        match connection.stage {
            Stage::Fresh if stage_over && self.live.acceptor.is_some() => {
                self.give_up_securing(key)
            }
            Stage::Securing if stage_over => self.give_up_securing(key),
            Stage::Fresh | Stage::Head if stage_over => {
                let message = "the request was not complete in 5 s";
                self.refuse(key, &Refusal::new(408, "request_timeout", message), false);
            }
            Stage::KeepAlive | Stage::Leaving | Stage::Lingering { .. } if stage_over => {
                self.remove(key, CloseReason::Gone);
            }
            Stage::Open if stage_over => self.close(key, CloseReason::AuthTimeout),
            Stage::Open => {
                self.check_token(key);
                self.beat(key);
            }
            _ => {}
        }
        self.send_out(key);
        if self.connections.contains(key as usize) {
            self.insert(key);
        }
    }

    fn check_token(&mut self, key: u32) {
        let connection = &mut self.connections[key as usize];
        if connection.expires_at == 0 {
            return;
        }
        let now = self.shared.wall.ms();
        if now >= self.live.verifier.token_end(connection.expires_at) {
            self.close(key, CloseReason::TokenEnded);
        } else if !connection.expiry_told && now >= connection.expiry_notice_at() {
            connection.expiry_told = true;
            self.answers
                .token_expiring(connection.expires_at, &mut self.out);
        }
    }

    /// Sends the ping that is due, or looks whether the last one was answered.
    fn beat(&mut self, key: u32) {
        let config = &self.shared.config;
        let answer_due = self.beat_after(steps(config.pong_timeout));
        let rest = config.ping_interval.saturating_sub(config.pong_timeout);
        let next_due = self.beat_after(steps(rest));
        // The end of its token may just have removed it.
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return;
        };
        if connection.stage != Stage::Open || connection.heartbeat.is_after(self.tick) {
            return;
        }
        if !connection.pinged {
            (connection.pinged, connection.heard) = (true, false);
            connection.heartbeat = answer_due;
            put_frame(Opcode::Ping, b"", &mut self.out);
        } else if connection.heard {
            connection.pinged = false;
            connection.heartbeat = next_due;
        } else {
            self.close(key, CloseReason::NoSignOfLife);
        }
    }

    /// When the first ping of a new WebSocket is due: anywhere within the interval, so that the
    /// pings of connections that came together do not go out together. Who holds another dialect
    /// against a suite has no use for one in the middle of a case.
    pub(super) fn first_heartbeat(&self) -> Tick {
        let interval = steps(self.shared.config.ping_interval);
        self.beat_after(match self.dialect {
            None => fastrand::u32(1..=interval),
            Some(_) => interval,
        })
    }

    /// The beat in so many steps, or soon after it. Connections share their beats: a few pings at a
    /// time, and their answers, cost one wake-up each, not one for every connection.
    pub(super) fn beat_after(&self, steps: u32) -> Tick {
        self.tick.plus(steps).round_up(self.beat)
    }

    /// Makes sure that the connection comes up at its earliest deadline.
    pub(super) fn arm(&mut self, key: u32) {
        let connection = &self.connections[key as usize];
        if connection.due.is_after(self.next_due(connection)) {
            self.insert(key);
        }
    }

    fn insert(&mut self, key: u32) {
        let due = self.next_due(&self.connections[key as usize]);
        self.connections[key as usize].due = self.wheel.insert(key, due);
    }

    fn next_due(&self, connection: &Connection) -> Tick {
        // Nothing due: look again when the wheel comes round.
        let mut next = self.tick.plus(limits::WHEEL_SLOTS as u32);
        let mut consider = |tick: Tick| {
            if next.is_after(tick) {
                next = tick;
            }
        };
        connection.stage_due.into_iter().for_each(&mut consider);
        if connection.stage == Stage::Open {
            consider(connection.heartbeat);
            if connection.expires_at > 0 {
                let now = self.shared.wall.ms();
                let mut at = self.live.verifier.token_end(connection.expires_at);
                if !connection.expiry_told {
                    at = at.min(connection.expiry_notice_at());
                }
                let left = Duration::from_millis(at.saturating_sub(now));
                consider(self.tick.plus(steps(left)));
            }
        }
        next
    }
}
