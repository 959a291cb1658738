//! What a run has shown, and how it is told.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::accounting::Faults;
use crate::emitter::Sent;
use crate::process::{Cpu, Memory};
use crate::seed::Plan;

/// Share of one core from which on the client may have been what was measured.
const CLIENT_BUSY: f64 = 0.9;

/// The figures of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was run.
    pub plan: Plan,
    /// Events that were to be sent.
    pub events: u32,
    /// From the first connect until all connections were subscribed.
    pub setup: Duration,
    /// What did not come as it should.
    pub faults: Faults,
    /// Deliveries, each event once for each connection.
    pub received: u64,
    /// Text frames that were none of the run's events.
    pub other: u64,
    /// From the first event's time to the last delivery, or to the end of the schedule.
    pub delivered_in: Option<Duration>,
    /// Connections that ended during the run, by reason.
    pub ended: BTreeMap<String, u32>,
    /// From intended sending to reading, in microseconds.
    pub latency: Histogram<u64>,
    /// How the sending went.
    pub sent: Sent,
    /// The server before the first connection.
    pub memory_empty: Option<Memory>,
    /// The server with all connections subscribed.
    pub memory_subscribed: Option<Memory>,
    /// The server after the last event.
    pub memory_end: Option<Memory>,
    /// What the kernel holds for all TCP sockets, both ends.
    pub kernel_tcp: Option<u64>,
    /// CPU time of the server from the first event to the last.
    pub server_cpu: Option<Cpu>,
    /// CPU time of this client in the same time.
    pub client_cpu: Cpu,
    /// How long that was.
    pub measured: Duration,
}

impl Outcome {
    /// Whether every event was accepted and came everywhere, once and in order.
    pub fn has_passed(&self) -> bool {
        self.faults.is_clean()
            && self.ended.is_empty()
            && self.sent.refused == 0
            && self.sent.settled == self.events
    }
}

/// Writes the report as a table.
///
/// # Errors
/// Where writing fails.
pub fn write(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    for (name, value) in rows(outcome) {
        writeln!(out, "{name:<26} {value}")?;
    }
    if outcome.client_cpu.total().as_secs_f64() > CLIENT_BUSY * outcome.measured.as_secs_f64() {
        writeln!(
            out,
            "warning: this client was busy; the figures may be its own, not the server's"
        )?;
    }
    writeln!(
        out,
        "{}",
        if outcome.has_passed() { "PASS" } else { "FAIL" }
    )
}

fn rows(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let Outcome {
        plan,
        sent,
        faults,
        latency,
        ..
    } = outcome;
    let expected = u64::from(outcome.events) * u64::from(plan.connections);
    let mut rows = vec![
        (
            "connections",
            format!(
                "{} subscribed in {}",
                plan.connections,
                seconds(outcome.setup)
            ),
        ),
        (
            "events",
            format!(
                "{} at {:.2}/s; {} settled, {} refused",
                outcome.events, plan.rate, sent.settled, sent.refused
            ),
        ),
        (
            "emitter behind schedule",
            format!("{} at most", milliseconds(sent.behind)),
        ),
        ("deliveries", format!("{} of {expected}", outcome.received)),
    ];
    if let Some(time) = outcome.delivered_in {
        let per_second = outcome.received as f64 / time.as_secs_f64();
        rows.push(("deliveries a second", format!("{per_second:.0}")));
    }
    rows.push((
        "lost/repeated/disordered",
        format!(
            "{} / {} / {}",
            faults.lost, faults.repeated, faults.disordered
        ),
    ));
    rows.push(("other text frames", outcome.other.to_string()));
    rows.extend(
        sent.first_refusal
            .iter()
            .map(|line| ("first refusal", line.clone())),
    );
    rows.extend(
        outcome
            .ended
            .iter()
            .map(|(why, count)| ("ended connections", format!("{count}: {why}"))),
    );
    let at = |quantile| latency.value_at_quantile(quantile) as f64 / 1000.0;
    rows.push((
        "latency p50/p99/p99.9/max",
        format!(
            "{:.2} / {:.2} / {:.2} / {:.2} ms, from the intended time of sending",
            at(0.5),
            at(0.99),
            at(0.999),
            latency.max() as f64 / 1000.0
        ),
    ));
    rows.extend(memory_rows(outcome));
    rows.extend(cpu_rows(outcome));
    rows
}

fn memory_rows(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    for (name, memory) in [
        ("server memory, empty", outcome.memory_empty),
        ("server memory, subscribed", outcome.memory_subscribed),
        ("server memory, at the end", outcome.memory_end),
    ] {
        let value = match memory {
            Some(Memory { rss, pss }) => format!("RSS {}, PSS {}", mebibytes(rss), mebibytes(pss)),
            None => "not known".into(),
        };
        rows.push((name, value));
    }
    if let Some((before, after)) = outcome.memory_empty.zip(outcome.memory_subscribed) {
        let each = after.rss.saturating_sub(before.rss) / u64::from(outcome.plan.connections);
        rows.push(("server RSS a connection", format!("{each} bytes")));
    }
    let kernel = outcome
        .kernel_tcp
        .map(|bytes| ("kernel TCP memory", mebibytes(bytes)));
    rows.extend(kernel.map(|(name, value)| (name, format!("{value}, both ends"))));
    rows
}

fn cpu_rows(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let describe = |cpu: Cpu| {
        format!(
            "user {}, system {}, {:.0} % of a core, {:.2} us a delivery",
            seconds(cpu.user),
            seconds(cpu.system),
            100.0 * cpu.total().as_secs_f64() / outcome.measured.as_secs_f64(),
            cpu.total().as_secs_f64() * 1e6 / outcome.received.max(1) as f64
        )
    };
    let server = outcome.server_cpu.map_or("not known".into(), describe);
    vec![
        ("server CPU", server),
        ("client CPU", describe(outcome.client_cpu)),
    ]
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1000.0)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
