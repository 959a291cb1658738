//! What a run does: the scenarios differ in these values and in nothing else.

use std::time::{Duration, Instant};

use crate::report::expectation::Expectation;
use crate::schedule::Schedule;
use crate::server::Cluster;
use crate::world::World;
use crate::world::orders::Orders;
use crate::world::shop::{Kinds, Shop};

/// In a shorter run, in seconds, growth means nothing.
const GROWTH_SECONDS_MIN: f64 = 60.0;

/// A frame of an order is never shorter, in bytes, however little is asked for.
const FRAME_MIN: u32 = 256;

/// What is kept beside an order's frame, in bytes, and what the frame may be longer than asked for.
const BESIDE_FRAME: u32 = 128;

/// A scenario with all its values.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name.
    pub scenario: &'static str,
    /// Connections that subscribe.
    pub connections: u32,
    /// When each of them comes.
    pub arrivals: Arrivals,
    /// What is sent, and to whom.
    pub load: Load,
    /// How fast.
    pub drive: Drive,
    /// Time with load, but not measured, in seconds.
    pub warm_up: f64,
    /// Time measured, in seconds.
    pub seconds: f64,
    /// How long deliveries are waited for after the last event.
    pub grace: Duration,
    /// Connections a second that leave and come again.
    pub replaced_per_s: f64,
    /// In the second half of the measured time one in so many connections stops reading: with 2.5, two
    /// of five.
    pub stalled_nth: Option<f64>,
    /// The hosts that are one, where they are several; events enter at the first.
    pub cluster: Option<Cluster>,
    /// Who comes back meanwhile, and is sent what it has missed.
    pub comeback: Option<Comeback>,
    /// The client's receiving thread never sleeps.
    pub spins: bool,
    /// What the figures must be.
    pub expectations: Vec<Expectation>,
}

/// Connections that were here before, from the middle of the measured time on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comeback {
    /// How many.
    pub count: u32,
    /// The time between two of them; none: all come at once.
    pub every: Duration,
    /// Events that each of them has missed when the load begins.
    pub backlog: u32,
    /// Bytes a second that each of them reads, if not as fast as it can.
    pub pace: Option<f64>,
}

/// When connections come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// As soon as others are subscribed: so many are under way at once.
    UnderWay(u32),
    /// So many a second, come what may.
    Rate(f64),
}

/// What is sent, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Orders that every connection sees; bytes of their frames.
    Shared(u32),
    /// Orders that one connection each sees; bytes of their frames.
    Own(u32),
    /// A shop's events.
    Shop(Kinds),
}

/// How fast events are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Drive {
    /// Not at all.
    Hold,
    /// So many a second, come what may.
    Scheduled(f64),
    /// As fast as they are delivered, with so many under way.
    Flood(u32),
}

impl Plan {
    /// When what the plan sends by rate is sent, behind what was sent beforehand.
    pub fn schedule(&self, start: Instant, rate: f64) -> Schedule {
        let schedule = Schedule::new(start, rate, self.warm_up + self.seconds);
        // One event more than is missed: the last one that was seen.
        schedule.from(self.comeback.map_or(0, |comeback| 1 + comeback.backlog))
    }

    /// The first event that is measured.
    pub fn measured_from(&self, schedule: &Schedule) -> u32 {
        let share = self.warm_up / (self.warm_up + self.seconds);
        schedule.first() + (f64::from(schedule.events()) * share).round() as u32
    }

    /// The event in the middle of the measured time, with which a disturbance begins.
    pub fn halfway(&self, schedule: &Schedule) -> u32 {
        let share = self.warm_up / (self.warm_up + self.seconds);
        schedule.first() + (f64::from(schedule.events()) * (1.0 + share) / 2.0).round() as u32
    }

    /// Bytes of history that hold all events of this plan, where somebody comes back for them.
    pub fn history(&self) -> Option<u64> {
        let comeback = self.comeback?;
        let (Load::Shared(size) | Load::Own(size), Drive::Scheduled(rate)) =
            (self.load, self.drive)
        else {
            return None;
        };
        let scheduled = rate * (self.warm_up + self.seconds);
        let events = f64::from(1 + comeback.backlog) + scheduled.ceil();
        Some((events * f64::from(size.max(FRAME_MIN) + BESIDE_FRAME)) as u64)
    }

    /// Whether it lasts long enough for a leak to show.
    pub fn watches_growth(&self) -> bool {
        self.seconds >= GROWTH_SECONDS_MIN
    }

    /// Whether what it measures are connections that nothing comes to.
    pub fn measures_connections(&self) -> bool {
        self.drive == Drive::Hold && self.seconds > 0.0
    }

    /// The world of this plan in a run of this name.
    pub fn world(&self, run: &str) -> World {
        match self.load {
            Load::Shared(size) => World::Shared(Orders::new(run, self.connections, size as usize)),
            Load::Own(size) => World::Own(Orders::new(run, self.connections, size as usize)),
            Load::Shop(kinds) => World::Shop(Shop::new(run, self.connections, kinds)),
        }
    }
}
