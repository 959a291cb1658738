//! What the threads of a run share: the world, the ledger, how far everybody is, and what went wrong.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::universe::{EMITTERS, Universe};

pub struct Run {
    pub plan: Plan,
    pub universe: Universe,
    pub ledger: Ledger,
    pub counts: Counts,
    /// Where the server listens, whichever it is.
    pub address: SocketAddr,
    /// Its ingest socket.
    pub socket: PathBuf,
    /// The client that does not read for now.
    laggard: AtomicUsize,
    joined: AtomicUsize,
    finished: AtomicUsize,
    acknowledged: [AtomicU64; EMITTERS],
    began: OnceLock<Instant>,
    /// Events of each emitter, once it is settled.
    total: Mutex<Option<u64>>,
    is_over: AtomicBool,
    has_given_up: AtomicBool,
    failures: Mutex<Vec<String>>,
}

impl Run {
    pub fn new(plan: Plan, address: SocketAddr, socket: PathBuf) -> Run {
        Run {
            plan,
            universe: Universe::new(plan.seed, plan.clients),
            ledger: Ledger::new(plan.events_most()),
            counts: Counts::default(),
            address,
            socket,
            laggard: AtomicUsize::new(usize::MAX),
            joined: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            acknowledged: Default::default(),
            began: OnceLock::new(),
            total: Mutex::default(),
            is_over: AtomicBool::new(false),
            has_given_up: AtomicBool::new(false),
            failures: Mutex::default(),
        }
    }

    /// Emitters may begin.
    pub fn begin(&self) {
        self.began.get_or_init(Instant::now);
    }

    /// When they did.
    pub fn began(&self) -> Instant {
        *self.began.get_or_init(Instant::now)
    }

    /// Events that each emitter may have emitted by now: by the time, or all there will be.
    pub fn allowance(&self) -> u64 {
        let total = self.total.lock().unwrap();
        total.unwrap_or_else(|| self.due_by_now())
    }

    /// There are to be no more events than are due by now, and as many as were asked for.
    pub fn settle_total(&self) {
        // Locked, so that no emitter is further.
        let mut total = self.total.lock().unwrap();
        let events = self.due_by_now().max(self.plan.events_each);
        self.ledger.settle_total(events);
        *total = Some(events);
    }

    fn due_by_now(&self) -> u64 {
        let share = self.began().elapsed().div_duration_f64(self.plan.time);
        ((self.plan.events_each as f64 * share) as u64).min(self.plan.events_most())
    }

    /// Something is as it must not be: the run is over.
    pub fn fail(&self, fault: String) {
        self.failures.lock().unwrap().push(fault);
        self.stop();
    }

    /// Nothing moves any more: the run is over, and who is not done says where he stands.
    pub fn give_up(&self, what: &str) {
        self.has_given_up.store(true, Ordering::Relaxed);
        self.fail(what.to_owned());
    }

    pub fn has_given_up(&self) -> bool {
        self.has_given_up.load(Ordering::Relaxed)
    }

    pub fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    pub fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    /// A client has subscribed for the first time.
    pub fn join(&self) {
        self.joined.fetch_add(1, Ordering::Relaxed);
    }

    pub fn joined(&self) -> usize {
        self.joined.load(Ordering::Relaxed)
    }

    /// A client has come to the last event.
    pub fn finish(&self) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    pub fn finished(&self) -> usize {
        self.finished.load(Ordering::Relaxed)
    }

    /// So many events of an emitter, the first ones, are acknowledged.
    pub fn acknowledge(&self, emitter: usize, events: u64) {
        self.acknowledged[emitter].store(events, Ordering::Relaxed);
    }

    /// Events that are acknowledged, of all emitters.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
            .iter()
            .map(|events| events.load(Ordering::Relaxed))
            .sum()
    }

    /// Lets a client stop reading, or nobody.
    pub fn set_laggard(&self, client: Option<usize>) {
        self.laggard
            .store(client.unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    pub fn is_laggard(&self, client: usize) -> bool {
        self.laggard.load(Ordering::Relaxed) == client
    }
}

macro_rules! counts {
    ($($name:ident $what:literal,)+) => {
        /// What is counted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Count {
            $($name,)+
        }

        impl Count {
            const ALL: &[(Count, &str)] = &[$((Count::$name, $what),)+];
        }
    };
}

counts! {
    Events "events acknowledged",
    Lines "lines sent, repeats included",
    Unavailable "lines answered with unavailable",
    EmitterCuts "emitters broken off in the middle of a line",
    Deliveries "deliveries",
    Resumes "connections that resumed",
    ClientCuts "connections that the client broke off",
    Stalls "times that a client did not read for a moment",
    Drained "connections closed with 1001",
    Cut "connections cut by a kill, or with 4413",
    Kills "times the server was killed",
    Stops "times the server was stopped",
    FullDisks "times the disk was full",
    TornWrites "times a write was cut off in the middle",
    Laggards "times a client did not read until the server closed one",
    Takeovers "times a server took over from another",
}

impl Count {
    /// What has to happen in every run, or it has shown nothing.
    pub const FAULTS: [(Count, &str); 9] = [
        (Count::Unavailable, "line was answered with unavailable"),
        (Count::EmitterCuts, "emitter broke off"),
        (Count::ClientCuts, "client broke off"),
        (Count::Kills, "server was killed"),
        (Count::Stops, "server was stopped"),
        (Count::FullDisks, "disk was full"),
        (Count::TornWrites, "write was cut off"),
        (Count::Laggards, "client was too slow"),
        (Count::Takeovers, "server took over"),
    ];
}

/// How often.
#[derive(Default)]
pub struct Counts([AtomicU64; Count::ALL.len()]);

impl Counts {
    pub fn add(&self, count: Count, by: u64) {
        self.0[count as usize].fetch_add(by, Ordering::Relaxed);
    }

    pub fn get(&self, count: Count) -> u64 {
        self.0[count as usize].load(Ordering::Relaxed)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, what) in Count::ALL {
            writeln!(f, "{:>12} {what}", self.get(*count))?;
        }
        Ok(())
    }
}
