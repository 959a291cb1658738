//! A thread that looks after the process itself, so that no loop has to: it counts open files for the
//! metrics, looks whether memory runs out, writes the log's line of figures, and has the [`Watchdog`] look at
//! the loops. It sleeps, looks, and sleeps.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::memory;
use super::watchdog::{self, Watchdog};
use crate::logging::rounded;
use crate::metrics::{self, open_files};
use crate::shared::Shared;
use crate::stats::{Counts, Stats};

/// How often open files are counted.
const EVERY: Duration = Duration::from_secs(5);

/// Starts it; it ends with the process.
pub(super) fn start(shared: Arc<Shared>, watchdog: Watchdog) -> io::Result<()> {
    std::thread::Builder::new()
        .name("observer".to_owned())
        .spawn(move || observe(&shared, watchdog))
        .map(drop)
}

fn observe(shared: &Shared, mut watchdog: Watchdog) {
    let every = Some(shared.config.log_figures).filter(|every| !every.is_zero());
    let mut before = Reading::of(&shared.stats, Instant::now());
    let mut next_count = before.at;
    let mut next_look = before.at + watchdog::EVERY;
    loop {
        let now = Instant::now();
        if now >= next_look {
            watchdog.look(&shared.stats);
            look_at_memory(shared);
            next_look = now + watchdog::EVERY;
        }
        if now >= next_count {
            count_files(shared);
            next_count = now + EVERY;
        }
        let mut next = next_count.min(next_look);
        if let Some(every) = every {
            if now >= before.at + every {
                let reading = Reading::of(&shared.stats, now);
                Figures::between(&before, &reading).log(&shared.stats);
                before = reading;
            }
            next = next.min(before.at + every);
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn look_at_memory(shared: &Shared) {
    let was_scarce = shared.admission.memory_is_scarce();
    let is_scarce = memory::is_scarce(Path::new("/"), was_scarce);
    if is_scarce == was_scarce {
        return;
    }
    shared.admission.set_memory_is_scarce(is_scarce);
    if is_scarce {
        log::warn!("memory is about to run out: only the back office is let in");
    } else {
        log::info!("there is memory again");
    }
}

fn count_files(shared: &Shared) {
    match open_files() {
        Ok(count) => shared.stats.process.open_files.set(count),
        Err(error) => log::debug!("the open files cannot be counted: {error}"),
    }
}

/// What has been counted up to a moment.
struct Reading {
    at: Instant,
    events_in: u64,
    deliveries: u64,
    delivered_bytes: u64,
    rejected: u64,
    slow_consumers: u64,
    latency: Counts,
    process: Option<metrics::Figures>,
}

impl Reading {
    fn of(stats: &Stats, at: Instant) -> Self {
        Self {
            at,
            events_in: stats.router.events_in.sum(),
            deliveries: stats.sum(|reactor| reactor.deliveries.get()),
            delivered_bytes: stats.sum(|reactor| reactor.delivered_bytes.get()),
            rejected: stats.router.rejected.sum() + stats.sum(|reactor| reactor.rejected.sum()),
            slow_consumers: stats.sum(|reactor| reactor.slow_consumers()),
            latency: stats.latency(),
            process: metrics::Figures::read().ok(),
        }
    }
}

/// What has happened between two moments.
#[derive(Debug, PartialEq)]
struct Figures {
    events_per_s: f64,
    deliveries_per_s: f64,
    bytes_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    rejected: u64,
    slow_consumers: u64,
    /// Cores in use.
    cpu: f64,
    resident_bytes: u64,
}

impl Figures {
    fn between(before: &Reading, now: &Reading) -> Self {
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
        let per_second = |before: f64, now: f64| rounded((now - before) / seconds.max(0.001));
        let rate = |count: fn(&Reading) -> u64| per_second(count(before) as f64, count(now) as f64);
        let latency = now.latency.since(&before.latency);
        let cpu = |reading: &Reading| reading.process.map_or(0.0, |process| process.cpu_seconds);
        Self {
            events_per_s: rate(|reading| reading.events_in),
            deliveries_per_s: rate(|reading| reading.deliveries),
            bytes_per_s: rate(|reading| reading.delivered_bytes),
            p50_ms: latency.quantile_ms(0.5),
            p99_ms: latency.quantile_ms(0.99),
            rejected: now.rejected - before.rejected,
            slow_consumers: now.slow_consumers - before.slow_consumers,
            cpu: per_second(cpu(before), cpu(now)),
            resident_bytes: now.process.map_or(0, |process| process.resident_bytes),
        }
    }

    fn log(&self, stats: &Stats) {
        let connections = stats.sum(|reactor| reactor.connections.get());
        log::info!(
            connections,
            emitters = stats.router.emitters.get(),
            events_per_s = self.events_per_s,
            deliveries_per_s = self.deliveries_per_s,
            bytes_per_s = self.bytes_per_s,
            p50_ms = self.p50_ms,
            p99_ms = self.p99_ms,
            rejected = self.rejected,
            slow_consumers = self.slow_consumers,
            outbox_bytes = stats.outbox_bytes(),
            cpu = self.cpu,
            resident_bytes = self.resident_bytes;
            "figures"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_time_between_two_readings() {
        let stats = Stats::new(2, false, Instant::now());
        let start = Instant::now();
        let count = |events: u64, micros: u64| {
            stats.router.events_in.at(0).add(events);
            let reactor = &stats.reactors[1];
            reactor.deliveries.add(10 * events);
            reactor.delivered_bytes.add(1000 * events);
            reactor.latency.record(micros, 10 * events);
            reactor.rejected.count("forbidden");
        };
        // What was before does not matter.
        count(1_000_000, 900_000);
        let before = Reading::of(&stats, start);
        count(60, 1_000);
        let now = Reading::of(&stats, start + Duration::from_secs(60));
        let figures = Figures::between(&before, &now);
        assert_eq!(figures.events_per_s, 1.0);
        assert_eq!(figures.deliveries_per_s, 10.0);
        assert_eq!(figures.bytes_per_s, 1000.0);
        assert!((1.0..1.05).contains(&figures.p99_ms), "{figures:?}");
        assert_eq!((figures.rejected, figures.slow_consumers), (1, 0));
        let still = Figures::between(&now, &Reading::of(&stats, now.at));
        assert_eq!((still.events_per_s, still.p99_ms), (0.0, 0.0));
    }
}
