//! What is measured from outside while a run goes on: CPU, memory, and the timeline.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::process::{self, Cpu};
use crate::server::Target;

/// Samples of the timeline at most; when there are more, every other one is dropped.
const SAMPLES_MAX: usize = 600;

/// The readings at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot {
    /// The moment.
    pub at: Instant,
    /// CPU time of the server so far, of all its hosts, where their processes are known.
    pub server: Option<Cpu>,
    /// CPU time so far of the Redis that joins them.
    pub redis: Option<Cpu>,
    /// CPU time of this client so far, but for what it has spun.
    pub client: Duration,
    /// CPU time of this client so far that went into asking again and again whether anything had come.
    pub spun: Duration,
    /// What the receiving thread has waited for a core so far, where the kernel says.
    pub client_waited: Option<Duration>,
    /// Time that the machine's cores have idled so far, where the kernel says.
    pub idle: Option<Duration>,
    /// Deliveries so far.
    pub received: u64,
    /// Events settled so far.
    pub settled: u32,
    /// Reads so far.
    pub reads: u64,
}

impl Snapshot {
    /// The readings now.
    pub fn take(target: &Target, client: &Client, settled: u32) -> Self {
        Self {
            at: Instant::now(),
            server: process::together(&target.pids, process::cpu),
            redis: target.redis.and_then(|pid| process::cpu(pid).ok()),
            client: process::own_cpu().saturating_sub(client.spun()),
            spun: client.spun(),
            client_waited: process::own_wait(),
            idle: process::idle(),
            received: client.recorder.received,
            settled,
            reads: client.recorder.reads,
        }
    }

    /// Whether the server ran on from `earlier` to this one. The threads of one that has ended, or is
    /// just ending, are gone, and with them what they had run.
    pub fn is_after(&self, earlier: &Snapshot) -> bool {
        match (&earlier.server, &self.server) {
            (Some(earlier), Some(server)) => server.run >= earlier.run,
            (earlier, _) => earlier.is_none(),
        }
    }
}

/// What happened between two snapshots.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// How long it was.
    pub time: Duration,
    /// CPU time of the server, of all its hosts.
    pub server: Option<Cpu>,
    /// CPU time of the Redis that joins them.
    pub redis: Option<Cpu>,
    /// CPU time of this client, but for what it has spun.
    pub client: Duration,
    /// What it has spun.
    pub spun: Duration,
    /// What its receiving thread has waited for a core.
    pub client_waited: Option<Duration>,
    /// Time that the machine's cores have idled.
    pub idle: Option<Duration>,
    /// Deliveries.
    pub received: u64,
    /// Events settled.
    pub settled: u32,
    /// Reads.
    pub reads: u64,
}

impl Window {
    /// From `from` to `to`.
    pub fn between(from: &Snapshot, to: &Snapshot) -> Self {
        Self {
            time: to.at.saturating_duration_since(from.at),
            server: to
                .server
                .zip(from.server)
                .filter(|_| to.is_after(from))
                .map(|(to, from)| to - from),
            redis: to.redis.zip(from.redis).map(|(to, from)| to - from),
            client: to.client.saturating_sub(from.client),
            spun: to.spun.saturating_sub(from.spun),
            client_waited: passed(from.client_waited, to.client_waited),
            idle: passed(from.idle, to.idle),
            received: to.received - from.received,
            settled: to.settled.saturating_sub(from.settled),
            reads: to.reads - from.reads,
        }
    }
}

fn passed(from: Option<Duration>, to: Option<Duration>) -> Option<Duration> {
    to.zip(from).map(|(to, from)| to.saturating_sub(from))
}

/// One point of the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds from the last subscription, at the end of what is summed up here.
    pub at_s: f64,
    /// Deliveries a second.
    pub deliveries_per_s: f64,
    /// 99th percentile of the latency, in milliseconds; 0 where nothing came.
    pub latency_p99_ms: f64,
    /// CPU of the server, in cores.
    pub server_cores: f64,
    /// CPU of the client, in cores.
    pub client_cores: f64,
    /// Resident memory of the server, in MiB.
    pub server_rss_mib: f64,
}

/// How the figures go over time.
#[derive(Debug)]
pub struct Timeline {
    /// The points.
    pub samples: Vec<Sample>,
    /// The most memory that was seen.
    pub rss_max: u64,
    every: Duration,
    began: Instant,
    previous: Snapshot,
}

impl Timeline {
    /// A timeline that begins with `first`, for a run of so many seconds.
    pub fn new(first: Snapshot, seconds: f64) -> Self {
        let every = Duration::from_secs_f64((seconds / 40.0).clamp(0.1, 1.0));
        Self {
            samples: Vec::new(),
            rss_max: 0,
            every,
            began: first.at,
            previous: first,
        }
    }

    /// How long ago it began.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The latest readings.
    pub fn latest(&self) -> &Snapshot {
        &self.previous
    }

    /// Whether the next point is due at `now`.
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.previous.at + self.every
    }

    /// Adds a point, and returns it. `rss`: resident memory of the server, in bytes.
    pub fn add(&mut self, now: Snapshot, rss: u64, client: &mut Client) -> Sample {
        let window = Window::between(&self.previous, &now);
        let seconds = window.time.as_secs_f64().max(f64::EPSILON);
        let interval = &mut client.recorder.interval;
        let sample = Sample {
            at_s: (now.at - self.began).as_secs_f64(),
            deliveries_per_s: window.received as f64 / seconds,
            latency_p99_ms: if interval.is_empty() {
                0.0
            } else {
                interval.value_at_quantile(0.99) as f64 / 1000.0
            },
            server_cores: window
                .server
                .map_or(0.0, |cpu| cpu.run.as_secs_f64() / seconds),
            client_cores: window.client.as_secs_f64() / seconds,
            server_rss_mib: rss as f64 / f64::from(1 << 20),
        };
        interval.reset();
        self.rss_max = self.rss_max.max(rss);
        self.previous = now;
        self.samples.push(sample);
        if self.samples.len() > SAMPLES_MAX {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            self.every *= 2;
        }
        sample
    }
}
