//! The statistics at a moment, as `GET /api/ws/stats` and `ctl stats` tell them (CONTRACT section 7).

use std::time::Instant;

use serde::Serialize;
use serde_json::{Map, Value};

use super::redis::RedisSnapshot;
use super::{Counts, JournalStats, Reach, ReactorStats, Stats};
use crate::access::{Namespace, Role};

/// `GET /api/ws/stats` and `ctl stats`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    total_connections: u64,
    authenticated_connections: u64,
    connections_by_role: Map<String, Value>,
    connections_by_namespace: Map<String, Value>,
    events_in: u64,
    deliveries: u64,
    delivered_bytes: u64,
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
    redis: Option<RedisSnapshot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsSnapshot>,
    latency_ms: LatencyMs,
    /// Only where it is asked for: see [`Snapshot::with_latencies`].
    #[serde(skip_serializing_if = "Option::is_none")]
    latencies: Option<Vec<(u64, u64)>>,
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
    outbox_bytes: u64,
    lagging: bool,
    hanging: bool,
}

impl Stats {
    /// The sums at this moment; with several hosts, `reach` is what is known of Redis.
    pub fn snapshot(&self, now: Instant, reach: Option<Reach>) -> Snapshot {
        let role = |role: Role| self.sum(|reactor| reactor.role(role).get());
        let total = self.sum(|reactor| reactor.connections.get());
        Snapshot {
            total_connections: total,
            authenticated_connections: Role::IN_TOKENS.into_iter().map(role).sum(),
            connections_by_role: Role::IN_TOKENS
                .into_iter()
                .map(|each| (each.name().to_owned(), role(each).into()))
                .collect(),
            connections_by_namespace: Namespace::ALL
                .into_iter()
                .map(|each| {
                    let subscribed = self.sum(|reactor| reactor.namespace(each).get());
                    (each.name().to_owned(), subscribed.into())
                })
                .collect(),
            events_in: self.router.events_in.sum(),
            deliveries: self.sum(|reactor| reactor.deliveries.get()),
            delivered_bytes: self.sum(|reactor| reactor.delivered_bytes.get()),
            rejected: self.router.rejected.sum() + self.sum(|reactor| reactor.rejected.sum()),
            slow_consumers: self.sum(ReactorStats::slow_consumers),
            outbox_bytes: self.outbox_bytes(),
            conflated: self.sum(|reactor| reactor.conflated.get()),
            recovered: self.sum(|reactor| reactor.recovered.get()),
            not_recovered: self.sum(|reactor| reactor.not_recovered.get()),
            history_bytes: self.most(|reactor| &reactor.history_bytes),
            history_events: self.most(|reactor| &reactor.history_events),
            journal: self.journal.snapshot(),
            redis: reach.map(|reach| self.redis.snapshot(&reach)),
            tls: self.speaks_tls().then(|| TlsSnapshot {
                handshakes: self.sum(|reactor| reactor.tls_handshakes.get()),
                resumed: self.sum(|reactor| reactor.tls_resumed.get()),
                failed: self.sum(|reactor| reactor.tls_failed.get()),
            }),
            latency_ms: LatencyMs::of(&self.latency()),
            latencies: None,
            uptime_seconds: self.uptime(now).as_secs(),
            workers: (0..self.reactors.len())
                .map(|index| WorkerSnapshot::of(&self.reactors[index], self.hangs(index)))
                .collect(),
        }
    }
}

impl Snapshot {
    /// With all latencies since the start as `[longest in µs, deliveries]`, for those who look again
    /// later and want to know of the time between.
    #[must_use]
    pub fn with_latencies(self, stats: &Stats) -> Snapshot {
        Snapshot {
            latencies: Some(stats.latency().occupied().collect()),
            ..self
        }
    }
}

impl LatencyMs {
    fn of(counts: &Counts) -> Self {
        Self {
            p50: counts.quantile_ms(0.5),
            p99: counts.quantile_ms(0.99),
            p999: counts.quantile_ms(0.999),
        }
    }
}

impl WorkerSnapshot {
    fn of(reactor: &ReactorStats, hanging: bool) -> Self {
        Self {
            connections: reactor.connections.get(),
            deliveries: reactor.deliveries.get(),
            rejected: reactor.rejected.sum(),
            slow_consumers: reactor.slow_consumers(),
            outbox_bytes: reactor.outbox_bytes.get(),
            lagging: reactor.lagging.get() != 0,
            hanging,
        }
    }
}

impl JournalStats {
    fn snapshot(&self) -> Option<JournalSnapshot> {
        self.is_on().then(|| JournalSnapshot {
            failing: self.is_failing(),
            bytes: self.bytes.get(),
            syncs: self.syncs.get(),
            last_sync_ms: self.last_sync_micros.get() as f64 / 1000.0,
        })
    }
}
