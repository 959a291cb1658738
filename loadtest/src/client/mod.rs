//! The receiving side of a run: all its connections, on one thread.
//!
//! Spends as little as it can on each frame, so that the server is what is measured: one large read
//! buffer, frames found by their headers, the event's number by one comparison. Every delivery of
//! every connection is accounted for.
//!
//! - [`connection`]: one connection from its handshake to its end
//! - [`frames`], [`dialect`], [`seal`]: WebSocket frames, what is said in them, and TLS around it
//! - [`standing`]: how far the connections are, and what has not come to them
//! - [`recorder`], [`setup`]: what was received and how long it took
//! - [`stall`], [`pace`]: which connections are made not to read, or slowly
//! - [`address`], [`timer`]: local addresses, many of them; waking up on time

mod address;
pub mod connection;
pub mod dialect;
pub mod frames;
pub mod pace;
pub mod recorder;
mod seal;
mod setup;
pub mod stall;
mod standing;
mod timer;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::accounting::Faults;
use crate::interrupt::Interrupt;
use crate::process;
use crate::progress::Progress;
use crate::run::plan::Arrivals;
use crate::schedule::Schedule;
use crate::server::Target;
use crate::tokens::Mint;
use crate::world::World;
use connection::{Connection, Context, Resume, Turn};
use dialect::Dialect;
use recorder::Recorder;
pub use setup::Setup;
use timer::Timer;

/// Without any progress for so long while connecting, the run is given up.
const CONNECT_STALL: Duration = Duration::from_secs(20);

/// The longest wait for readiness while connecting, so that a standstill is seen.
const OPENING_WAIT_MAX: Duration = Duration::from_millis(100);

/// How soon one that takes a break is asked again.
const PAUSE: Duration = Duration::from_millis(2);

/// One read takes this much at most.
const SCRATCH: usize = 256 * 1024;

/// Readiness reports taken at once.
const EVENTS: usize = 4096;

/// The token under which a source is watched that only ends the waiting, ...
const OTHER: Token = Token(usize::MAX);

/// ... and the one of the server's process.
const SERVER: Token = Token(usize::MAX - 1);

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
    /// Instead of sleeping until something comes, [`turn`](Self::turn) asks again and again.
    pub spins: bool,
    /// Connections that [`open`](Self::open) has seen subscribed.
    pub subscribed: usize,
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
    /// Slots whose connections take a break.
    paused: Vec<usize>,
    /// Slots whose connections were made not to read.
    stalled: Vec<usize>,
    /// The member behind the first slot; the others follow.
    first_member: u32,
    /// Connections opened so far, those that have left included.
    opened: u32,
    /// Faults of connections that have left.
    faults_of_left: Faults,
    /// The server's processes, where they are known; kept open to be told of an end.
    _servers: Vec<OwnedFd>,
    has_server_ended: bool,
    /// CPU time that asking again and again has taken.
    spun: Duration,
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
    /// Has left, and nothing came in its place.
    Left,
    Ended,
}

impl Client {
    /// A client without connections, whose first one will be `first_member`'s, and which watches whether
    /// the server's process runs on.
    ///
    /// # Errors
    /// Where the kernel gives no poll, or the process is not there.
    pub fn new(
        target: &Target,
        world: &Arc<World>,
        run: &str,
        progress: &Arc<Progress>,
        first_member: u32,
    ) -> Result<Self, String> {
        let poll = Poll::new().map_err(|error| format!("cannot make a poll: {error}"))?;
        let watch = |pid| {
            let server = process::open(pid)?;
            let mut source = SourceFd(&server.as_raw_fd());
            let registry = poll.registry();
            registry.register(&mut source, SERVER, Interest::READABLE)?;
            Ok(server)
        };
        let servers: std::io::Result<_> = target.pids.iter().copied().map(watch).collect();
        let servers = servers.map_err(|error| format!("cannot watch the server: {error}"))?;
        Ok(Self {
            recorder: Recorder::new(run),
            setup: Setup::new(),
            ended: BTreeMap::new(),
            rejoined: 0,
            spins: false,
            subscribed: 0,
            target: target.clone(),
            world: Arc::clone(world),
            progress: Arc::clone(progress),
            mint: Mint::new(&target.secret),
            dialect: Dialect::of_path(&target.path),
            poll,
            events: Events::with_capacity(EVENTS),
            slots: Vec::new(),
            unfinished: Vec::new(),
            paused: Vec::new(),
            stalled: Vec::new(),
            first_member,
            opened: first_member,
            faults_of_left: Faults::default(),
            _servers: servers,
            has_server_ended: false,
            spun: Duration::ZERO,
            scratch: vec![0; SCRATCH],
        })
    }

    /// Opens `count` connections as `arrivals` says, and waits until each is subscribed, or `interrupt`
    /// asks for an early end. `tell` is told the number of those that are, now and then.
    ///
    /// # Errors
    /// The first connection's failure, or a standstill.
    pub fn open(
        &mut self,
        count: u32,
        arrivals: Arrivals,
        interrupt: &Interrupt,
        mut tell: impl FnMut(u32),
    ) -> Result<(), String> {
        let mut progress = Instant::now();
        let schedule = match arrivals {
            Arrivals::UnderWay(_) => None,
            Arrivals::Rate(rate) => Some(Schedule::new(progress, rate, f64::from(count) / rate)),
        };
        let mut timer = Timer::new()?;
        self.watch(&mut timer)?;
        let count = count as usize;
        self.slots.reserve_exact(count);
        while self.subscribed < count && !interrupt.is_asked_for() {
            let until = match (arrivals, &schedule) {
                (_, Some(schedule)) => schedule.due(Instant::now()) as usize,
                (Arrivals::UnderWay(limit), _) => self.subscribed + limit as usize,
                (Arrivals::Rate(_), None) => count,
            };
            while self.slots.len() < until.min(count) {
                let due = schedule.map(|schedule| schedule.intended(self.slots.len() as u32));
                self.come(due, None)?;
            }
            if let Some(schedule) = schedule
                && self.slots.len() < count
            {
                timer.ring_at(schedule.intended(self.slots.len() as u32))?;
            }
            let more = self.turn(OPENING_WAIT_MAX)?;
            self.subscribed += more;
            if let Some((reason, number)) = self.ended.first_key_value() {
                return Err(format!("{number} connections were not set up: {reason}"));
            }
            let now = Instant::now();
            if more > 0 || self.subscribed == self.slots.len() {
                progress = now;
                tell(self.subscribed as u32);
            } else if now - progress > CONNECT_STALL {
                return Err(format!(
                    "{} of {count} connections are subscribed, and no more come",
                    self.subscribed
                ));
            }
        }
        Ok(())
    }

    /// Opens one more connection, whose times count from when it was `due`, or from now.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn come(&mut self, due: Option<Instant>, resume: Option<Resume>) -> Result<(), String> {
        let connection = self.begin(self.slots.len(), due, resume)?;
        self.slots.push(Slot {
            connection,
            state: State::Open,
            is_rejoining: false,
        });
        Ok(())
    }

    /// Gives the connections their turns for so long.
    ///
    /// # Errors
    /// Where the poll fails.
    pub fn listen_for(&mut self, time: Duration) -> Result<(), String> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(end.saturating_duration_since(Instant::now()))?;
        }
        Ok(())
    }

    /// CPU time that asking again and again has taken so far.
    pub fn spun(&self) -> Duration {
        self.spun
    }

    /// Whether the server's process has ended, or one host's.
    pub fn has_server_ended(&self) -> bool {
        self.has_server_ended
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
            .map_err(|error| format!("cannot watch a socket or timer: {error}"))
    }

    /// Waits, no longer than `timeout`, and gives each connection that is ready its turn. Returns
    /// how many became live.
    ///
    /// # Errors
    /// Where the poll fails.
    pub fn turn(&mut self, timeout: Duration) -> Result<usize, String> {
        let timeout = match (self.unfinished.is_empty(), self.paused.is_empty()) {
            (false, _) => Duration::ZERO,
            (true, false) => timeout.min(PAUSE),
            (true, true) => timeout,
        };
        self.wait(timeout)?;
        let mut live = 0;
        let mut left = Vec::new();
        let mut waiting = std::mem::take(&mut self.unfinished);
        waiting.append(&mut self.paused);
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
        let mut context = Context {
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
        for (index, at_end) in ready.chain(waiting.into_iter().map(|index| (index, false))) {
            let Some(slot) = slots.get_mut(index) else {
                self.has_server_ended |= index == SERVER.0;
                continue;
            };
            if matches!(slot.state, State::Stalled | State::Left | State::Ended) {
                continue;
            }
            match slot.connection.turn(at_end, scratch, &mut context) {
                Ok(Turn::Waiting) => {}
                Ok(Turn::Unfinished) => self.unfinished.push(index),
                Ok(Turn::Paused) => self.paused.push(index),
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
        // One that was told to be readable in its break had two turns.
        self.paused.sort_unstable();
        self.paused.dedup();
        for index in left {
            if let Err(reason) = self.rejoin(index) {
                *self.ended.entry(reason).or_default() += 1;
            }
        }
        Ok(live)
    }

    /// Waits, no longer than `timeout`, until something is ready.
    fn wait(&mut self, timeout: Duration) -> Result<(), String> {
        if !self.spins {
            return self.ask(timeout);
        }
        self.ask(Duration::ZERO)?;
        if self.events.is_empty() && !timeout.is_zero() {
            let (began, cpu) = (Instant::now(), process::own_thread_cpu());
            while self.events.is_empty() && began.elapsed() < timeout {
                self.ask(Duration::ZERO)?;
            }
            self.spun += process::own_thread_cpu() - cpu;
        }
        Ok(())
    }

    fn ask(&mut self, timeout: Duration) -> Result<(), String> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                Err(format!("waiting for the server failed: {error}"))
            }
            _ => Ok(()),
        }
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

    /// From now on one in `nth` connections does not read.
    pub fn stall(&mut self, nth: f64) {
        for index in stall::chosen(self.slots.len(), nth) {
            let slot = &mut self.slots[index];
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

    /// Begins connection `index`, whose times count from when it was `due`, or from now.
    fn begin(
        &mut self,
        index: usize,
        due: Option<Instant>,
        resume: Option<Resume>,
    ) -> Result<Connection, String> {
        let since = due.unwrap_or_else(Instant::now);
        let member = self.world.member(self.first_member + index as u32);
        let token = self.mint.token(&member)?;
        let (target, host) = (&self.target, self.target.host(self.opened));
        let stream = address::connect(host.address, self.opened)
            .map_err(|error| format!("connection {index}: {error}"))?;
        self.opened += 1;
        let mut connection = Connection::new(stream, target, host, member, token, resume, since)?;
        // Registered once: readiness is reported by edges, and each turn reads and writes dry.
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut connection.stream, Token(index), interest)
            .map_err(|error| format!("cannot watch connection {index}: {error}"))?;
        Ok(connection)
    }

    fn rejoin(&mut self, index: usize) -> Result<(), String> {
        let slot = &mut self.slots[index];
        if let State::Leaving(until) = slot.state {
            let events = self.progress.events();
            self.faults_of_left += slot.connection.faults(until, &self.world, events);
        }
        slot.state = State::Left;
        let connection = self.begin(index, None, None)?;
        self.slots[index] = Slot {
            connection,
            state: State::Open,
            is_rejoining: true,
        };
        Ok(())
    }
}
