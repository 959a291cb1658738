//! The way out (CONTRACT section 6): emitters' whole lines are settled, then the reactors say goodbye.
//!
//! Part of the router.

use std::os::fd::AsFd;
use std::time::Instant;

use super::emitter::Emitter;
use super::{Router, accept};
use crate::clock::Now;
use crate::cluster::Cluster;
use crate::ring::ToReactor;

/// How far the way out is gone.
pub(super) enum Drain {
    No,
    /// Whole lines already in the emitters' sockets are being settled.
    Emitters {
        until: Instant,
        /// So long Redis is waited for where others are owed events of this host.
        owes_until: Option<Instant>,
    },
    /// The reactors say goodbye.
    Reactors {
        until: Instant,
        left: usize,
    },
    Done,
}

impl Router {
    /// Begins the way out: no new emitters, no new WebSockets; what is in, is delivered.
    pub fn begin_drain(&mut self, now: Instant) {
        if !matches!(self.drain, Drain::No) {
            return;
        }
        self.drain_after_handover = self.is_handing_over();
        if self.drain_after_handover {
            // What would be taken down may be the successor's at the next moment.
            return;
        }
        log::info!(
            "draining: {} WebSockets are open",
            self.shared.admission.websockets()
        );
        self.shared.admission.begin_drain();
        self.end_taps("drain", now);
        self.remove_ingest_socket();
        for (key, emitter) in &mut self.emitters {
            let waiting = rustix::io::ioctl_fionread(emitter.stream.as_fd()).unwrap_or(0);
            emitter.drain_left = Some(waiting);
            emitter.readable = true;
            self.ready.push(key);
        }
        let timeout = self.shared.config.drain_timeout;
        // The other half is for the connections.
        let patience = timeout / 2;
        let events = self.alone_events();
        if events > 0 {
            log::warn!(
                events, patience_ms = patience.as_millis() as u64;
                "Redis is waited for: other hosts do not have all that was delivered on this one alone"
            );
        }
        self.drain = Drain::Emitters {
            until: now + timeout,
            owes_until: Some(now + patience),
        };
    }

    fn remove_ingest_socket(&mut self) {
        self.emitters_waiting = accept::Waiting::default();
        if let Some(mut ingest) = self.ingest.take() {
            if let Err(error) = self.registry.deregister(&mut ingest.listener) {
                log::debug!("deregistering the ingest socket failed: {error}");
            }
            if !self.is_guest {
                ingest.remove_file();
            }
        }
    }

    pub(super) fn advance_drain(&mut self, now: Now) {
        match self.drain {
            Drain::No | Drain::Done => {}
            Drain::Emitters { until, owes_until } => {
                let unread = |emitter: &Emitter| {
                    !emitter.ended && emitter.drain_left.is_some_and(|left| left > 0)
                };
                let all_read = !self.emitters.iter().any(|(_, emitter)| unread(emitter));
                let owes_until = owes_until.filter(|owes_until| now.instant < *owes_until);
                self.drain = Drain::Emitters { until, owes_until };
                let owes = owes_until.is_some() && self.alone_events() > 0;
                // A Redis that is out of reach need not be waited for: browsers have the events.
                let is_alone = self.cluster.as_ref().is_some_and(Cluster::is_alone)
                    && self.sequencer.waiting() == 0
                    && !owes;
                let is_idle = self.questions.is_empty()
                    && !self.reload.is_under_way()
                    && (self.is_shared_out() || is_alone);
                if (all_read && is_idle) || now.instant >= until {
                    // Behind the last blocks in the same rings: nobody misses one.
                    self.hand_down(now);
                    for lane in &mut self.lanes {
                        lane.down.send(ToReactor::Drain);
                    }
                    self.drain = Drain::Reactors {
                        until,
                        left: self.lanes.len(),
                    };
                }
            }
            Drain::Reactors { until, left } => {
                let flushed = self
                    .emitters
                    .iter()
                    .all(|(_, emitter)| emitter.is_flushed());
                if (left == 0 && flushed) || now.instant >= until {
                    if left > 0 {
                        log::warn!("the drain timeout is over; connections that were slow are cut");
                    }
                    for lane in &mut self.lanes {
                        lane.down.send(ToReactor::Stop);
                    }
                    self.hand_down(now);
                    self.drain = Drain::Done;
                }
            }
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.remove_ingest_socket();
    }
}
