//! One run: everything that a seed decides, step by step, and then the proof that nothing is missing.
//!
//! A step is one thing that happens: the router turns, a reactor turns, a message is carried, some bytes
//! get through, the disk does a job, time passes, somebody is cut off, the server dies. Which of them is
//! next, chance decides, and with it how they lie to each other. After the last step the network heals,
//! everything runs until it is quiet, and everybody must have everything.

mod healing;
mod setting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tempfile::TempDir;

use crate::browser::{Browser, Context, Ending};
use crate::emitter::{Emitter, any_event};
use crate::log::{End, Last, Log};
use crate::server::{Ground, Server};
use crate::wire::Wire;
use setting::{EPOCH_MS, Mood};

/// What came of a run, to see that runs are about something.
pub type Tally = BTreeMap<&'static str, u64>;

/// What happens, for a reader or for comparison.
pub enum Trace {
    Off,
    /// Told as it happens.
    Told,
    Kept(Vec<String>),
}

/// A run.
pub struct World {
    seed: u64,
    random: Rng,
    mood: Mood,
    begun: Instant,
    elapsed: Duration,
    wall_ms: Arc<AtomicU64>,
    /// Its chance is of its own: what else a seed does is the same with a clock that goes right.
    clock: Rng,
    set_back_ms: u64,
    ground: Ground,
    log: Log,
    server: Option<Server>,
    last: Last,
    browsers: Vec<Browser>,
    emitters: Vec<Emitter>,
    /// Connections that nobody uses any more, and whose end the server has not heard of.
    ghosts: Vec<Wire>,
    tally: Tally,
    trace: Trace,
    _folder: TempDir,
}

/// Runs one seed; panics if anything is not as it must be.
pub fn run(seed: u64, trace: Trace) -> (Tally, Trace) {
    let mut world = World::new(seed, trace);
    world.start();
    for _ in 0..world.mood.steps {
        world.step();
    }
    world.heal();
    (
        std::mem::take(&mut world.tally),
        std::mem::replace(&mut world.trace, Trace::Off),
    )
}

impl World {
    fn now(&self) -> Instant {
        self.begun + self.elapsed
    }

    fn pass(&mut self, time: Duration) {
        self.elapsed += time;
        self.set_wall();
    }

    fn set_wall(&mut self) {
        let ms = u64::try_from(self.elapsed.as_millis()).unwrap();
        let wall_ms = EPOCH_MS + ms - self.set_back_ms;
        self.wall_ms.store(wall_ms, Ordering::Relaxed);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if matches!(self.trace, Trace::Off) {
            return;
        }
        let line = format!("{:>10.4} s  {}", self.elapsed.as_secs_f64(), what());
        match &mut self.trace {
            Trace::Off => {}
            Trace::Told => eprintln!("{line}"),
            Trace::Kept(lines) => lines.push(line),
        }
    }

    fn count(&mut self, what: &'static str, times: u64) {
        *self.tally.entry(what).or_default() += times;
    }

    /// Whether something happens that is meant to so many times in a thousand.
    fn happens(&mut self, times: u32) -> bool {
        self.random.u32(0..1000) < times
    }

    /// How much of something gets through.
    fn some(&mut self) -> usize {
        match self.random.u8(0..6) {
            0 => self.random.usize(1..20),
            1 => self.random.usize(1..300),
            2 => self.random.usize(1..5000),
            _ => usize::MAX,
        }
    }

    fn step(&mut self) {
        self.step_of_clock();
        if self.server.is_none() {
            self.step_without_server();
        } else {
            self.step_of_trouble();
            self.step_of_work();
        }
    }

    /// Now and then, somebody sets the wall clock back.
    fn step_of_clock(&mut self) {
        if self.clock.u32(0..1000) < self.mood.clock {
            let ms = *self.clock.choice(&[1, 5_000, 3_600_000]).unwrap();
            self.set_back_ms += ms;
            self.set_wall();
            self.note(|| format!("the wall clock is set back by {ms} ms"));
            self.count("clock set back", 1);
        }
    }

    fn step_without_server(&mut self) {
        match self.random.u8(0..6) {
            0 | 1 => self.start(),
            2 => self.wait(),
            3 if self.mood.ends > 0 => self.lose_power(),
            _ => {}
        }
    }

    fn step_of_work(&mut self) {
        match self.random.u8(0..40) {
            0..9 => {
                self.turn_router();
            }
            9..16 => {
                let reactor = self.some_reactor();
                self.turn_reactor(reactor);
            }
            16..21 => {
                let (reactor, most) = (self.some_reactor(), self.some());
                self.carry(reactor, most);
            }
            21..24 => {
                let emitter = self.random.usize(0..self.emitters.len());
                for _ in 0..self.random.usize(1..8) {
                    let event = any_event(&mut self.random, self.mood.padding);
                    self.emitters[emitter].say(event, &mut self.log);
                }
                self.note(|| format!("emitter {emitter} says more"));
            }
            24..28 => {
                let emitter = self.random.usize(0..self.emitters.len());
                if self.random.u8(0..4) == 0 {
                    self.emitters[emitter].repeat();
                }
                let (out, incoming) = (self.some(), self.some());
                self.serve_emitter(emitter, out, incoming);
            }
            28..34 => {
                let browser = self.random.usize(0..self.browsers.len());
                let (out, incoming) = (self.some(), self.some());
                self.serve_browser(browser, out, incoming);
            }
            34 | 35 => self.act(),
            36 | 37 => {
                let fails = self.happens(self.mood.troubles);
                self.work_disk(fails);
            }
            _ => self.wait(),
        }
    }

    /// Now and then, something goes wrong.
    fn step_of_trouble(&mut self) {
        if self.happens(self.mood.cuts) {
            let browser = self.random.usize(0..self.browsers.len());
            if let Some(wire) = self.browsers[browser].cut() {
                let is_heard_of = self.random.bool();
                self.note(|| format!("browser {browser} is cut off, heard of: {is_heard_of}"));
                if !is_heard_of {
                    self.ghosts.push(wire);
                }
            }
        }
        if self.happens(self.mood.cuts) {
            let emitter = self.random.usize(0..self.emitters.len());
            self.emitters[emitter].cut();
            self.note(|| format!("emitter {emitter} is cut off"));
        }
        if self.happens(self.mood.stalls) {
            let browser = self.random.usize(0..self.browsers.len());
            let is_stalled = !self.browsers[browser].is_stalled;
            self.browsers[browser].is_stalled = is_stalled;
            self.note(|| format!("browser {browser} is stalled: {is_stalled}"));
        }
        if self.happens(self.mood.troubles / 10) {
            let room = self.random.bool().then(|| self.random.usize(0..3000));
            self.ground.disk.set_room(room);
            self.note(|| format!("the disk has room for {room:?} bytes"));
        }
        if self.happens(self.mood.ends) {
            match self.random.u8(0..3) {
                0 => self.begin_drain(),
                1 => self.end(End::Killed),
                _ => {
                    self.end(End::Killed);
                    self.lose_power();
                }
            }
        }
    }

    fn some_reactor(&mut self) -> usize {
        self.random.usize(0..self.ground.config.workers)
    }

    fn start(&mut self) {
        let now = self.now();
        self.note(|| "the server starts".to_owned());
        self.server = Some(Server::start(&self.ground, &mut self.log, &self.last, now));
        self.count("starts", 1);
    }

    fn begin_drain(&mut self) {
        let now = self.now();
        if let Some(server) = &mut self.server {
            server.begin_drain(now);
            self.note(|| "the server is asked to end".to_owned());
        }
    }

    fn end(&mut self, end: End) {
        let Some(server) = self.server.take() else {
            return;
        };
        self.note(|| format!("the server ends: {end:?}"));
        let disk = self.ground.disk.clone();
        if end == End::Killed {
            disk.cut_off();
        }
        let was_draining = server.is_draining();
        self.count("slow consumers", server.slow_consumers());
        server.end(&mut self.log);
        if end == End::Drained {
            while disk.work(false).is_some() {}
        }
        self.last.end = Some(end);
        self.last.has_failed = disk.has_failed();
        // What is on its way to somebody gets there, or does not.
        for browser in 0..self.browsers.len() {
            if self.random.bool() {
                self.exchange_with_browser(browser, 0, usize::MAX, was_draining);
            }
            self.browsers[browser].cut();
        }
        for emitter in 0..self.emitters.len() {
            if self.random.bool() {
                self.emitters[emitter].exchange(0, usize::MAX, &mut self.log, self.last.has_failed);
            }
            self.emitters[emitter].cut();
        }
        self.ghosts.clear();
        self.count(
            if end == End::Drained {
                "drains"
            } else {
                "kills"
            },
            1,
        );
    }

    fn lose_power(&mut self) {
        if !self.last.has_journal {
            return;
        }
        self.ground.disk.lose_power(&mut self.random);
        self.last.end = Some(End::PowerLost);
        self.note(|| "the power is lost".to_owned());
        self.count("power failures", 1);
    }

    fn turn_router(&mut self) -> bool {
        let now = self.now();
        let Some(server) = &mut self.server else {
            return false;
        };
        let had_work = server.turn_router(now);
        let is_done = server.is_done();
        self.note(|| format!("the router turns, had work: {had_work}"));
        if is_done {
            self.end(End::Drained);
        }
        had_work
    }

    fn turn_reactor(&mut self, reactor: usize) -> bool {
        let now = self.now();
        let Some(server) = &mut self.server else {
            return false;
        };
        let had_work = server.turn_reactor(reactor, now);
        self.note(|| format!("reactor {reactor} turns, had work: {had_work}"));
        had_work
    }

    fn carry(&mut self, reactor: usize, most: usize) -> bool {
        let Some(server) = &mut self.server else {
            return false;
        };
        let carried = server.carry(reactor, most, &mut self.log);
        let handed = server.progress(reactor).handed;
        if carried > 0 {
            self.note(|| {
                format!("reactor {reactor} gets {carried} messages, up to event {handed}")
            });
        }
        carried > 0
    }

    fn serve_emitter(&mut self, number: usize, out: usize, incoming: usize) -> bool {
        let emitter = &mut self.emitters[number];
        if !emitter.is_connected() {
            let is_connected = self.server.is_some() && emitter.connect(&self.ground.socket);
            self.note(|| format!("emitter {number} connects: {is_connected}"));
            return is_connected;
        }
        let may_fail = self.ground.disk.has_failed();
        let moved = emitter.exchange(out, incoming, &mut self.log, may_fail);
        if moved {
            self.note(|| format!("emitter {number} exchanges bytes"));
        }
        moved
    }

    fn serve_browser(&mut self, number: usize, out: usize, incoming: usize) -> bool {
        if !self.browsers[number].is_connected() {
            let reactor = self.some_reactor();
            let Some(server) = &mut self.server else {
                return false;
            };
            self.browsers[number].connect(server, reactor);
            self.note(|| format!("browser {number} connects to reactor {reactor}"));
            self.count("connections", 1);
            return true;
        }
        let is_draining = self.server.as_ref().is_some_and(Server::is_draining);
        self.exchange_with_browser(number, out, incoming, is_draining)
    }

    fn exchange_with_browser(
        &mut self,
        number: usize,
        out: usize,
        incoming: usize,
        is_draining: bool,
    ) -> bool {
        let mut context = Context {
            log: &mut self.log,
            server: self.server.as_ref(),
            is_draining,
            now: self.begun + self.elapsed,
            tally: &mut self.tally,
        };
        let (moved, ending) = self.browsers[number].exchange(out, incoming, &mut context);
        if moved {
            self.note(|| format!("browser {number} exchanges bytes"));
        }
        let Some(ending) = ending else {
            return moved;
        };
        self.note(|| format!("browser {number}'s connection ends: {ending:?}"));
        let what = match ending {
            Ending::Refused { is_draining: true } => "refused for drain",
            Ending::Refused { is_draining: false } => "refused for time",
            Ending::Cut => "ended without a close",
            Ending::Closed(1001) => "closed with 1001",
            Ending::Closed(4408) => "closed with 4408",
            Ending::Closed(4413) => "closed with 4413",
            Ending::Closed(code) => panic!("browser {number} is closed with {code}"),
        };
        let is_for_drain = matches!(
            ending,
            Ending::Refused { is_draining: true } | Ending::Closed(1001)
        );
        assert!(!is_for_drain || is_draining, "browser {number}: {what}");
        self.count(what, 1);
        true
    }

    fn act(&mut self) {
        let number = self.random.usize(0..self.browsers.len());
        let mut context = Context {
            log: &mut self.log,
            server: self.server.as_ref(),
            is_draining: false,
            now: self.begun + self.elapsed,
            tally: &mut self.tally,
        };
        if let Some(said) = self.browsers[number].act(&mut self.random, &mut context) {
            self.note(|| format!("browser {number} {said}"));
            self.count(said, 1);
        }
    }

    fn work_disk(&mut self, fails: bool) -> bool {
        let Some(done) = self.ground.disk.work(fails) else {
            return false;
        };
        self.note(|| format!("the disk {done}"));
        self.count(done, 1);
        true
    }

    fn wait(&mut self) {
        let most = self.mood.pause;
        let scale: f64 = *self.random.choice(&[1.0, 10.0, 100.0, 1000.0]).unwrap();
        let time = most.mul_f64(self.random.f64() / scale);
        self.pass(time);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.seed;
            eprintln!("that was seed {seed}");
        }
    }
}
