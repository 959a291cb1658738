//! The receiving side of a run: all its connections, on one thread.
//!
//! Spends as little as it can on each frame, so that the server is what is measured: one large read
//! buffer, frames found by their headers, the event's number by one comparison. Every delivery of
//! every connection is accounted for.
//!
//! - [`connection`]: one connection from its handshake to its end
//! - [`frames`], [`dialect`]: WebSocket frames, and what is said in them
//! - [`recorder`], [`setup`]: what was received and how long it took
//! - [`address`]: local addresses, many of them

mod address;
pub mod connection;
pub mod dialect;
pub mod frames;
pub mod recorder;
mod setup;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::{Events, Interest, Poll, Token};

use crate::accounting::Faults;
use crate::interrupt;
use crate::progress::Progress;
use crate::server::Target;
use crate::tokens::Mint;
use crate::world::World;
use connection::{Common, Connection, Turn};
use dialect::Dialect;
use recorder::Recorder;
pub use setup::Setup;

/// Without any progress for so long while connecting, the run is given up.
const CONNECT_STALL: Duration = Duration::from_secs(20);

/// One read takes this much at most.
const SCRATCH: usize = 256 * 1024;

/// Readiness reports taken at once.
const EVENTS: usize = 4096;

/// The token under which a source beside the connections is watched.
const OTHER: Token = Token(usize::MAX);

/// All connections of a run.
pub struct Client {
    /// What was received and when.
    pub recorder: Recorder,
    /// How long setting up took.
    pub setup: Setup,
    /// Connections that ended without being told to, by the reason.
    pub ended: BTreeMap<String, u32>,
    /// Connections that left and came again.
    pub rejoined: u32,
    target: Target,
    world: Arc<World>,
    progress: Arc<Progress>,
    mint: Mint,
    dialect: Dialect,
    poll: Poll,
    events: Events,
    slots: Vec<Slot>,
    /// Slots with more to read than their last turn took.
    unfinished: Vec<usize>,
    /// Slots whose connections were made not to read.
    stalled: Vec<usize>,
    /// Connections opened so far, those that have left included.
    opened: u32,
    /// Faults of connections that have left.
    faults_of_left: Faults,
    scratch: Vec<u8>,
}

struct Slot {
    connection: Connection,
    state: State,
    /// Whether it came in the place of one that had left.
    is_rejoining: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Leaves; events before this number had to come.
    Leaving(u32),
    /// Does not read, as a browser whose machine sleeps.
    Stalled,
    Ended,
}

impl Client {
    /// A client without connections.
    ///
    /// # Errors
    /// Where the kernel gives no poll.
    pub fn new(
        target: &Target,
        world: &Arc<World>,
        run: &str,
        progress: &Arc<Progress>,
    ) -> Result<Self, String> {
        Ok(Self {
            recorder: Recorder::new(run),
            setup: Setup::new(),
            ended: BTreeMap::new(),
            rejoined: 0,
            target: target.clone(),
            world: Arc::clone(world),
            progress: Arc::clone(progress),
            mint: Mint::new(&target.secret),
            dialect: Dialect::of_path(&target.path),
            poll: Poll::new().map_err(|error| format!("cannot make a poll: {error}"))?,
            events: Events::with_capacity(EVENTS),
            slots: Vec::new(),
            unfinished: Vec::new(),
            stalled: Vec::new(),
            opened: 0,
            faults_of_left: Faults::default(),
            scratch: vec![0; SCRATCH],
        })
    }

    /// Opens `count` connections, at most `under_way` of them at once, and waits until each is
    /// subscribed. `tell` is told the number of those that are, now and then.
    ///
    /// # Errors
    /// The first connection's failure, or a standstill.
    pub fn open(
        &mut self,
        count: u32,
        under_way: u32,
        mut tell: impl FnMut(u32),
    ) -> Result<(), String> {
        let count = count as usize;
        let mut live = 0;
        let mut progress = Instant::now();
        self.slots.reserve_exact(count);
        while live < count {
            while self.slots.len() < count && self.slots.len() - live < under_way as usize {
                let connection = self.begin(self.slots.len())?;
                self.slots.push(Slot {
                    connection,
                    state: State::Open,
                    is_rejoining: false,
                });
            }
            let before = live;
            live += self.turn(Duration::from_millis(100))?;
            if let Some((reason, number)) = self.ended.first_key_value() {
                return Err(format!("{number} connections were not set up: {reason}"));
            }
            let now = Instant::now();
            if live > before {
                progress = now;
                tell(live as u32);
            } else if now - progress > CONNECT_STALL {
                return Err(format!(
                    "{live} of {count} connections are subscribed, and no more come"
                ));
            }
        }
        Ok(())
    }

    /// Watches one more source; its readiness ends [`turn`](Self::turn)'s waiting.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn watch(&mut self, source: &mut impl Source) -> Result<(), String> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(source, OTHER, interest)
            .map_err(|error| format!("cannot watch the ingest socket: {error}"))
    }

    /// Waits, no longer than `timeout`, and gives each connection that is ready its turn. Returns
    /// how many became live.
    ///
    /// # Errors
    /// Where the poll fails or a connection cannot come again.
    pub fn turn(&mut self, timeout: Duration) -> Result<usize, String> {
        interrupt::check()?;
        let timeout = if self.unfinished.is_empty() {
            timeout
        } else {
            Duration::ZERO
        };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(format!("waiting for the server failed: {error}"));
            }
            _ => {}
        }
        let mut live = 0;
        let mut left = Vec::new();
        let unfinished = std::mem::take(&mut self.unfinished);
        let Self {
            events,
            slots,
            recorder,
            setup,
            scratch,
            world,
            progress,
            ended,
            ..
        } = self;
        let mut common = Common {
            world,
            dialect: self.dialect,
            progress,
            recorder,
            setup,
        };
        let ready = events.iter().map(|event| {
            let at_end = event.is_read_closed() || event.is_error();
            (event.token().0, at_end)
        });
        for (index, at_end) in ready.chain(unfinished.into_iter().map(|index| (index, false))) {
            let Some(slot) = slots.get_mut(index) else {
                continue;
            };
            if matches!(slot.state, State::Stalled | State::Ended) {
                continue;
            }
            match slot.connection.turn(at_end, scratch, &mut common) {
                Ok(Turn::Waiting) => {}
                Ok(Turn::Unfinished) => self.unfinished.push(index),
                Ok(Turn::BecameLive) => {
                    live += 1;
                    self.rejoined += u32::from(slot.is_rejoining);
                    self.unfinished.push(index);
                }
                Ok(Turn::Gone) => left.push(index),
                Err(reason) => {
                    slot.state = State::Ended;
                    *ended.entry(reason).or_default() += 1;
                }
            }
        }
        for index in left {
            self.rejoin(index)?;
        }
        Ok(live)
    }

    /// Lets a connection leave and come again, as a page that is left for another one. `draw`
    /// chooses; if the one it meets is on its way already, nothing happens.
    pub fn replace_one(&mut self, draw: u32) {
        let Some(index) = draw.checked_rem(self.slots.len() as u32) else {
            return;
        };
        let slot = &mut self.slots[index as usize];
        if slot.state == State::Open && slot.connection.is_live() {
            slot.state = State::Leaving(self.progress.settled());
            if let Err(reason) = slot.connection.leave(self.dialect) {
                slot.state = State::Ended;
                *self.ended.entry(reason).or_default() += 1;
            }
        }
    }

    /// From now on every `nth` connection does not read.
    pub fn stall(&mut self, nth: usize) {
        for (index, slot) in self.slots.iter_mut().enumerate().step_by(nth.max(1)) {
            if slot.state == State::Open {
                slot.state = State::Stalled;
                self.stalled.push(index);
            }
        }
    }

    /// The stalled ones read again what there is, and end as the server has ended them. Returns how
    /// many there were. From now on [`faults`](Self::faults) has what they missed in it.
    pub fn wake_stalled(&mut self) -> usize {
        for &index in &self.stalled {
            self.slots[index].state = State::Open;
            self.unfinished.push(index);
        }
        self.stalled.len()
    }

    /// The faults of those that were stalled and that the server has not ended: they must have got
    /// everything after all.
    pub fn faults_of_woken(&self) -> Faults {
        let events = self.progress.events();
        let slots = self.stalled.iter().map(|&index| &self.slots[index]);
        let mut sum = Faults::default();
        for slot in slots.filter(|slot| slot.state == State::Open) {
            sum += slot.connection.faults(events, &self.world, events);
        }
        sum
    }

    /// Counts as ended what was left hanging: connections that came and were never subscribed, and
    /// those that asked to leave and were never let go.
    pub fn give_up_on_hanging(&mut self) {
        for slot in &mut self.slots {
            let reason = match slot.state {
                State::Open if !slot.connection.is_live() => "was not subscribed until the end",
                State::Leaving(_) => "asked to leave and was not let go until the end",
                _ => continue,
            };
            *self.ended.entry(reason.into()).or_default() += 1;
        }
    }

    /// Whether every event has come to every connection that reads and is still there, and none is
    /// on its way in or out.
    pub fn has_everything(&self) -> bool {
        let events = self.progress.events();
        self.reading().all(|connection| {
            let has_all = connection.expected().is_some_and(|next| next >= events);
            has_all && connection.is_live()
        })
    }

    /// The event that the connection furthest behind waits for, of those that read.
    pub fn furthest_behind(&self) -> Option<u32> {
        self.reading().filter_map(Connection::expected).min()
    }

    /// Connections that are subscribed and read.
    pub fn live(&self) -> usize {
        self.reading()
            .filter(|connection| connection.is_live())
            .count()
    }

    /// The faults of all connections that were to read.
    pub fn faults(&self) -> Faults {
        let events = self.progress.events();
        let mut sum = self.faults_of_left;
        for slot in &self.slots {
            let until = match slot.state {
                State::Leaving(until) => until,
                State::Stalled => continue,
                State::Open | State::Ended => events,
            };
            sum += slot.connection.faults(until, &self.world, events);
        }
        sum
    }

    fn reading(&self) -> impl Iterator<Item = &Connection> {
        self.slots
            .iter()
            .filter(|slot| matches!(slot.state, State::Open | State::Leaving(_)))
            .map(|slot| &slot.connection)
    }

    fn begin(&mut self, index: usize) -> Result<Connection, String> {
        let member = self.world.member(index as u32);
        let token = self.mint.token(&member)?;
        let stream = address::connect(self.target.address, self.opened)
            .map_err(|error| format!("connection {index}: {error}"))?;
        self.opened += 1;
        let mut connection = Connection::new(stream, &self.target, member, token);
        // Registered once: readiness is reported by edges, and each turn reads and writes dry.
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut connection.stream, Token(index), interest)
            .map_err(|error| format!("cannot watch connection {index}: {error}"))?;
        Ok(connection)
    }

    fn rejoin(&mut self, index: usize) -> Result<(), String> {
        let connection = self.begin(index)?;
        let slot = &mut self.slots[index];
        if let State::Leaving(until) = slot.state {
            let events = self.progress.events();
            self.faults_of_left += slot.connection.faults(until, &self.world, events);
        }
        *slot = Slot {
            connection,
            state: State::Open,
            is_rejoining: true,
        };
        Ok(())
    }
}
