//! All connections of a run, on one thread: opened with a bounded number under way, then read from as
//! fast as the server sends.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::accounting::Faults;
use crate::connection::{Connection, Observed};
use crate::schedule::Schedule;
use crate::server_process::Target;
use crate::tokens::Mint;

/// Connections that may be under way at once until they are subscribed: a client farm, not a flood.
const UNDER_WAY_MAX: usize = 64;

/// Without any progress for so long while connecting, the run is given up.
const CONNECT_STALL: Duration = Duration::from_secs(20);

/// How long is listened on after the last expected delivery, for repeated ones.
const LINGER: Duration = Duration::from_millis(300);

/// One read takes this much at most.
const SCRATCH: usize = 256 * 1024;

/// Readiness reports taken at once.
const EVENTS: usize = 4096;

/// The receiving side of a run.
pub struct Client {
    /// What was received and when.
    pub observed: Observed,
    /// Connections that ended during the run, by the reason.
    pub ended: BTreeMap<String, u32>,
    poll: Poll,
    events: Events,
    connections: Vec<Slot>,
    scratch: Vec<u8>,
}

struct Slot {
    connection: Connection,
    is_open: bool,
}

impl Client {
    /// Opens `count` connections and waits until each is subscribed.
    ///
    /// # Errors
    /// The first connection's failure, or a standstill.
    pub fn open(target: &Target, count: u32, run: &str) -> Result<Self, String> {
        let mut client = Self {
            observed: Observed::new(run)?,
            ended: BTreeMap::new(),
            poll: Poll::new().map_err(|error| format!("cannot make a poll: {error}"))?,
            events: Events::with_capacity(EVENTS),
            connections: Vec::with_capacity(count as usize),
            scratch: vec![0; SCRATCH],
        };
        let mint = Mint::new(&target.secret);
        let mut live = 0;
        let mut progress = Instant::now();
        while live < count as usize {
            while client.connections.len() < count as usize
                && client.connections.len() - live < UNDER_WAY_MAX
            {
                client.begin(target, &mint)?;
            }
            let before = live;
            client.wait(Duration::from_millis(100))?;
            live += client.turn_all(|index, outcome, became_live| match outcome {
                Ok(()) => Ok(became_live),
                Err(reason) => Err(format!("connection {index}: {reason}")),
            })?;
            let now = Instant::now();
            if live > before {
                progress = now;
            } else if now - progress > CONNECT_STALL {
                return Err(format!(
                    "{live} of {count} connections are subscribed, and no more come"
                ));
            }
        }
        Ok(client)
    }

    /// Receives until every event of `schedule` has come on every connection, or `grace` has passed
    /// since the last was due, or no connection is left, or `keep_on`, asked now and then, says no.
    ///
    /// # Errors
    /// Where the poll fails.
    pub fn receive(
        &mut self,
        schedule: Schedule,
        grace: Duration,
        mut keep_on: impl FnMut() -> bool,
    ) -> Result<(), String> {
        self.observed.expect(schedule);
        let expected = u64::from(schedule.events()) * self.connections.len() as u64;
        let mut deadline = schedule.end() + grace;
        let mut lingering = false;
        while Instant::now() < deadline {
            self.wait(Duration::from_millis(50))?;
            let mut ended = std::mem::take(&mut self.ended);
            self.turn_all(|_, outcome, _| {
                if let Err(reason) = outcome {
                    *ended.entry(reason).or_default() += 1;
                }
                Ok(false)
            })?;
            self.ended = ended;
            if !keep_on() {
                break;
            }
            let nobody_left = self.connections.iter().all(|slot| !slot.is_open);
            if !lingering && (self.observed.received >= expected || nobody_left) {
                lingering = true;
                deadline = Instant::now() + LINGER;
            }
        }
        Ok(())
    }

    /// The faults of all connections, after `events` events.
    pub fn faults(&self, events: u32) -> Faults {
        let mut sum = Faults::default();
        for slot in &self.connections {
            sum += slot.connection.tally.faults(events);
        }
        sum
    }

    fn begin(&mut self, target: &Target, mint: &Mint) -> Result<(), String> {
        let index = self.connections.len();
        let mut connection = Connection::open(target, index as u32, &mint.token(index as u32)?)?;
        // Registered once: readiness is reported by edges, and each turn reads and writes dry.
        self.poll
            .registry()
            .register(
                &mut connection.stream,
                Token(index),
                Interest::READABLE | Interest::WRITABLE,
            )
            .map_err(|error| format!("cannot watch connection {index}: {error}"))?;
        self.connections.push(Slot {
            connection,
            is_open: true,
        });
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), String> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                Err(format!("waiting for the server failed: {error}"))
            }
            _ => Ok(()),
        }
    }

    /// Gives each connection that is ready its turn and `judge` the outcome: index, result, whether
    /// it just became live. Returns how often `judge` said yes.
    fn turn_all(
        &mut self,
        mut judge: impl FnMut(usize, Result<(), String>, bool) -> Result<bool, String>,
    ) -> Result<usize, String> {
        let mut count = 0;
        for event in &self.events {
            let Some(slot) = self
                .connections
                .get_mut(event.token().0)
                .filter(|slot| slot.is_open)
            else {
                continue;
            };
            let was_live = slot.connection.is_live();
            let at_end = event.is_read_closed() || event.is_error();
            let outcome = slot
                .connection
                .turn(at_end, &mut self.scratch, &mut self.observed);
            slot.is_open = outcome.is_ok();
            let became_live = !was_live && slot.connection.is_live();
            count += usize::from(judge(event.token().0, outcome, became_live)?);
        }
        Ok(count)
    }
}
