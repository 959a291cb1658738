//! Counters and histograms: one thread writes each, anyone reads.
//!
//! The router and every reactor own a set; `http` and `ctl stats` sum them. A write is a relaxed
//! load and store (no locked instruction), because there is only one writer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::access::{Namespace, NamespaceMask, Role};
use crate::journal::Report;

/// A number with one writer.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning thread may call this.
    pub fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` off. Only the owning thread may call this.
    pub fn sub(&self, n: u64) {
        self.0.store(self.get().wrapping_sub(n), Ordering::Relaxed);
    }

    /// Makes it `n`. Only the owning thread may call this.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The present value; any thread may ask.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the router counts.
#[derive(Default)]
pub struct RouterStats {
    /// Events accepted from all sources; repeats by `key` are not counted.
    pub events_in: Counter,
    /// Lines refused on the ingest socket.
    pub rejected: Counter,
    /// Emitters connected now.
    pub emitters: Counter,
}

/// What the router tells of the journal.
#[derive(Default)]
pub struct JournalStats {
    /// 1 where there is one.
    is_on: Counter,
    /// 1 while it cannot be written.
    is_failing: Counter,
    bytes: Counter,
    syncs: Counter,
    sync_micros: Counter,
}

impl JournalStats {
    /// The state of the journal. Only the router may call this.
    pub fn set(&self, report: &Report) {
        self.is_on.set(1);
        self.is_failing.set(report.is_failing.into());
        self.bytes.set(report.bytes);
        self.syncs.set(report.syncs);
        self.sync_micros.set(report.sync_micros);
    }

    /// Whether there is one that cannot be written now.
    pub fn is_failing(&self) -> bool {
        self.is_failing.get() != 0
    }

    fn snapshot(&self) -> Option<JournalSnapshot> {
        (self.is_on.get() != 0).then(|| JournalSnapshot {
            failing: self.is_failing(),
            bytes: self.bytes.get(),
            syncs: self.syncs.get(),
            last_sync_ms: self.sync_micros.get() as f64 / 1000.0,
        })
    }
}

/// What one reactor counts.
#[derive(Default)]
pub struct ReactorStats {
    /// WebSockets open now.
    pub connections: Counter,
    by_role: [Counter; Role::ALL.len()],
    by_namespace: [Counter; Namespace::ALL.len()],
    /// Event frames handed to sockets or outboxes.
    pub deliveries: Counter,
    /// Client messages refused.
    pub rejected: Counter,
    /// Connections closed with 4413.
    pub slow_consumers: Counter,
    /// What its outboxes hold in memory now, in bytes.
    pub outbox_bytes: Counter,
    /// Waiting events that gave way to newer ones.
    pub conflated: Counter,
    /// Subscriptions with `since` that got everything after it.
    pub recovered: Counter,
    /// Those that could not.
    pub not_recovered: Counter,
    /// What is kept of the newest events, in bytes ...
    pub history_bytes: Counter,
    /// ... and in events.
    pub history_events: Counter,
    /// TLS handshakes brought to their end, ...
    pub tls_handshakes: Counter,
    /// ... those of them that went on with an earlier session, ...
    pub tls_resumed: Counter,
    /// ... and those that failed or were not complete in time.
    pub tls_failed: Counter,
    /// From the read on the ingest socket to the end of the sends, in microseconds.
    pub latency: Latency,
}

impl ReactorStats {
    /// The connections of one role.
    pub fn role(&self, role: Role) -> &Counter {
        &self.by_role[role as usize]
    }

    /// Follows a connection's subscriptions from `old` to `new`.
    pub fn resubscribed(&self, old: NamespaceMask, new: NamespaceMask) {
        for namespace in Namespace::ALL {
            let counter = &self.by_namespace[namespace as usize];
            match (old.contains(namespace), new.contains(namespace)) {
                (false, true) => counter.add(1),
                (true, false) => counter.sub(1),
                _ => {}
            }
        }
    }
}

/// A histogram of microseconds with one writer: each power of two in 32 equal steps, so a
/// quantile is true to about 3 %.
pub struct Latency {
    buckets: Box<[Counter]>,
}

const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;
/// Values from 2^36 µs (19 hours) on share the last bucket.
const VALUE_BITS: u32 = 36;
const BUCKETS: usize = (VALUE_BITS - STEP_BITS + 1) as usize * STEPS;

impl Default for Latency {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Counter::default()).collect(),
        }
    }
}

impl Latency {
    /// Counts `n` deliveries that took `micros` each.
    pub fn record(&self, micros: u64, n: u64) {
        self.buckets[bucket_of(micros)].add(n);
    }

    fn add_to(&self, sum: &mut Histogram<u64>) {
        for (index, bucket) in self.buckets.iter().enumerate() {
            let count = bucket.get();
            if count > 0 {
                sum.saturating_record_n(top_of(index), count);
            }
        }
    }
}

fn bucket_of(value: u64) -> usize {
    let value = value.min((1 << VALUE_BITS) - 1);
    if value < STEPS as u64 {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    (shift as usize + 1) * STEPS + ((value >> shift) as usize - STEPS)
}

/// The largest value that falls into a bucket.
fn top_of(bucket: usize) -> u64 {
    let (row, step) = (bucket / STEPS, bucket % STEPS);
    if row == 0 {
        return step as u64;
    }
    let shift = row - 1;
    ((((STEPS + step) as u64) + 1) << shift) - 1
}

/// All counters of this process.
pub struct Stats {
    started: Instant,
    /// The router's.
    pub router: RouterStats,
    /// The journal's, which the router tells.
    pub journal: JournalStats,
    /// Whether connections come over TLS.
    speaks_tls: bool,
    /// One set a reactor.
    pub reactors: Vec<ReactorStats>,
}

/// `GET /api/ws/stats` and `ctl stats` (CONTRACT section 7).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    total_connections: u64,
    authenticated_connections: u64,
    connections_by_role: Map<String, Value>,
    connections_by_namespace: Map<String, Value>,
    events_in: u64,
    deliveries: u64,
    rejected: u64,
    slow_consumers: u64,
    outbox_bytes: u64,
    conflated: u64,
    recovered: u64,
    not_recovered: u64,
    history_bytes: u64,
    history_events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<JournalSnapshot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsSnapshot>,
    latency_ms: LatencyMs,
    uptime_seconds: u64,
    workers: Vec<WorkerSnapshot>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JournalSnapshot {
    failing: bool,
    bytes: u64,
    syncs: u64,
    last_sync_ms: f64,
}

#[derive(Serialize)]
struct TlsSnapshot {
    handshakes: u64,
    resumed: u64,
    failed: u64,
}

#[derive(Serialize)]
struct LatencyMs {
    p50: f64,
    p99: f64,
    p999: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkerSnapshot {
    connections: u64,
    deliveries: u64,
    rejected: u64,
    slow_consumers: u64,
}

impl Stats {
    /// Counters at zero for so many reactors.
    pub fn new(reactors: usize, speaks_tls: bool, started: Instant) -> Self {
        Self {
            started,
            router: RouterStats::default(),
            journal: JournalStats::default(),
            speaks_tls,
            reactors: (0..reactors).map(|_| ReactorStats::default()).collect(),
        }
    }

    /// What the outboxes of all reactors hold now, in bytes.
    pub fn outbox_bytes(&self) -> u64 {
        self.reactors
            .iter()
            .map(|reactor| reactor.outbox_bytes.get())
            .sum()
    }

    /// The sums at this moment.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let sum = |pick: fn(&ReactorStats) -> &Counter| -> u64 {
            self.reactors
                .iter()
                .map(|reactor| pick(reactor).get())
                .sum()
        };
        // All reactors keep the same blocks: one of them may be behind for a moment.
        let most = |pick: fn(&ReactorStats) -> &Counter| -> u64 {
            let all = self.reactors.iter().map(|reactor| pick(reactor).get());
            all.max().unwrap_or(0)
        };
        let total = sum(|reactor| &reactor.connections);
        let role = |role: Role| -> u64 { self.reactors.iter().map(|r| r.role(role).get()).sum() };
        let namespace = |index: usize| -> u64 {
            self.reactors
                .iter()
                .map(|reactor| reactor.by_namespace[index].get())
                .sum()
        };
        Snapshot {
            total_connections: total,
            authenticated_connections: Role::IN_TOKENS.into_iter().map(role).sum(),
            connections_by_role: Role::IN_TOKENS
                .into_iter()
                .map(|each| (each.name().to_owned(), role(each).into()))
                .collect(),
            connections_by_namespace: Namespace::ALL
                .into_iter()
                .map(|each| (each.name().to_owned(), namespace(each as usize).into()))
                .collect(),
            events_in: self.router.events_in.get(),
            deliveries: sum(|reactor| &reactor.deliveries),
            rejected: self.router.rejected.get() + sum(|reactor| &reactor.rejected),
            slow_consumers: sum(|reactor| &reactor.slow_consumers),
            outbox_bytes: self.outbox_bytes(),
            conflated: sum(|reactor| &reactor.conflated),
            recovered: sum(|reactor| &reactor.recovered),
            not_recovered: sum(|reactor| &reactor.not_recovered),
            history_bytes: most(|reactor| &reactor.history_bytes),
            history_events: most(|reactor| &reactor.history_events),
            journal: self.journal.snapshot(),
            tls: self.speaks_tls.then(|| TlsSnapshot {
                handshakes: sum(|reactor| &reactor.tls_handshakes),
                resumed: sum(|reactor| &reactor.tls_resumed),
                failed: sum(|reactor| &reactor.tls_failed),
            }),
            latency_ms: self.latency(),
            uptime_seconds: now.saturating_duration_since(self.started).as_secs(),
            workers: self.reactors.iter().map(WorkerSnapshot::of).collect(),
        }
    }

    fn latency(&self) -> LatencyMs {
        let mut sum = Histogram::new_with_bounds(1, 1 << VALUE_BITS, 2)
            .expect("the bounds are constants that the histogram takes");
        for reactor in &self.reactors {
            reactor.latency.add_to(&mut sum);
        }
        let quantile = |q: f64| sum.value_at_quantile(q) as f64 / 1000.0;
        LatencyMs {
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
        }
    }
}

impl WorkerSnapshot {
    fn of(reactor: &ReactorStats) -> Self {
        Self {
            connections: reactor.connections.get(),
            deliveries: reactor.deliveries.get(),
            rejected: reactor.rejected.get(),
            slow_consumers: reactor.slow_consumers.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_holds_it_to_three_percent() {
        for value in (0..100_000u64).chain((0..36).map(|bit| (1 << bit) + 1)) {
            let bucket = bucket_of(value);
            assert!(value <= top_of(bucket), "{value}");
            assert!(bucket == 0 || value > top_of(bucket - 1), "{value}");
            assert!(
                top_of(bucket) as f64 <= value as f64 * 1.0325 + 0.5,
                "{value}"
            );
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_all_reactors_together() {
        let stats = Stats::new(2, false, Instant::now());
        stats.reactors[0].latency.record(1_000, 99);
        stats.reactors[1].latency.record(50_000, 1);
        let latency = stats.snapshot(Instant::now()).latency_ms;
        assert!((0.99..1.05).contains(&latency.p50), "{}", latency.p50);
        assert!((49.0..52.0).contains(&latency.p999), "{}", latency.p999);
    }
}
