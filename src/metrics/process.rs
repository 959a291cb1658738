//! What the kernel tells of this process, by the names that every Prometheus client uses.

use std::sync::OnceLock;

use procfs::process::Process;
use procfs::{ProcResult, boot_time_secs, page_size, ticks_per_second};
use rustix::process::{Resource, getrlimit};

use super::page::Page;
use crate::stats::ProcessStats;

/// What `/proc/self/stat` says.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Time on a CPU since the start, in seconds.
    pub cpu_seconds: f64,
    /// Memory in use, in bytes.
    pub resident_bytes: u64,
    virtual_bytes: u64,
    threads: i64,
    /// When it began, in seconds since 1970.
    started: f64,
}

impl Figures {
    /// Reads them now.
    ///
    /// # Errors
    /// Where there is no `/proc`, or this process may not read it.
    pub fn read() -> ProcResult<Self> {
        let stat = Process::myself()?.stat()?;
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second() as f64;
        // The kernel reckons from a clock that is put right now and then: another reading would be
        // another start.
        static STARTED: OnceLock<f64> = OnceLock::new();
        let started = boot_time_secs()? as f64 + seconds(stat.starttime);
        Ok(Self {
            cpu_seconds: seconds(stat.utime + stat.stime),
            resident_bytes: stat.rss * page_size(),
            virtual_bytes: stat.vsize,
            threads: stat.num_threads,
            started: *STARTED.get_or_init(|| started),
        })
    }
}

/// Files that are open now. To count many takes kernels before 6.2 milliseconds, so that no loop may do it.
///
/// # Errors
/// As [`Figures::read`].
pub fn open_files() -> ProcResult<u64> {
    Ok(Process::myself()?.fd_count()? as u64)
}

/// Adds them.
pub fn put(stats: &ProcessStats, page: &mut Page) {
    match Figures::read() {
        Ok(figures) => put_figures(figures, page),
        // Metrics of the server itself are worth having without.
        Err(error) => log::debug!("/proc/self cannot be read: {error}"),
    }
    page.gauge(
        "process_open_fds",
        "Files open, sockets included; looked at every 5 seconds. Near process_max_fds no \
         connection can be accepted: raise LimitNOFILE.",
    )
    .sample(&[], stats.open_files.get() as f64);
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.gauge(
            "process_max_fds",
            "The most files that may be open: LimitNOFILE in the unit.",
        )
        .sample(&[], most as f64);
    }
}

fn put_figures(figures: Figures, page: &mut Page) {
    page.counter(
        "process_cpu_seconds_total",
        "Time on a CPU. Near one second a second and worker, the server is at its limit: see \
         docs/tuning.md.",
    )
    .sample(&[], figures.cpu_seconds);
    page.gauge(
        "process_resident_memory_bytes",
        "Memory in use. Bounded by history, outbox-budget and the number of connections: lower \
         one of them if the host runs short.",
    )
    .sample(&[], figures.resident_bytes as f64);
    page.gauge(
        "process_virtual_memory_bytes",
        "Address space reserved; much more than what is used, and harmless.",
    )
    .sample(&[], figures.virtual_bytes as f64);
    page.gauge(
        "process_threads",
        "Threads: one a worker, the router's if there are several workers, and four that mostly sleep \
         (main, signals, observer, takeover); one for a journal, one for a canary, two for Redis. A \
         reload or a revocation has one more while it lasts.",
    )
    .sample(&[], figures.threads as f64);
    page.gauge(
        "process_start_time_seconds",
        "When this process began, since 1970. A change nobody asked for is a crash: read the log \
         before it.",
    )
    .sample(&[], figures.started);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_of_this_process() {
        let figures = Figures::read().unwrap();
        assert!(figures.resident_bytes > 500_000, "{figures:?}");
        assert!(figures.virtual_bytes > figures.resident_bytes);
        assert!(figures.threads >= 1);
        let now = crate::clock::wall_ms() as f64 / 1000.0;
        assert!((now - 3600.0..=now + 2.0).contains(&figures.started));
        // Standard streams at least.
        assert!(open_files().unwrap() >= 3);
    }
}
