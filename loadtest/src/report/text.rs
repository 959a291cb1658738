//! The table at the end of a run.

use std::io::{self, Write};

use super::{Report, figures, number};

/// Rows of the table: a title, and what stands in it with its key. A row stands if any of its
/// figures is there.
const ROWS: &[(&str, &[(&str, &str)])] = &[
    (
        "connections",
        &[
            ("subscribed", "connections"),
            ("a second", "connects-per-s"),
            ("us server CPU each", "connect-cpu-us"),
            ("ended", "ended"),
            ("left and came again", "rejoined"),
        ],
    ),
    (
        "handshake, ms",
        &[
            ("p50", "upgrade-p50-ms"),
            ("p99", "upgrade-p99-ms"),
            ("p99.9", "upgrade-p999-ms"),
        ],
    ),
    (
        "authentication, ms",
        &[
            ("p50", "auth-p50-ms"),
            ("p99", "auth-p99-ms"),
            ("p99.9", "auth-p999-ms"),
        ],
    ),
    (
        "subscription, ms",
        &[
            ("p50", "subscribe-p50-ms"),
            ("p99", "subscribe-p99-ms"),
            ("p99.9", "subscribe-p999-ms"),
        ],
    ),
    (
        "set up in all, ms",
        &[
            ("p50", "setup-p50-ms"),
            ("p99", "setup-p99-ms"),
            ("p99.9", "setup-p999-ms"),
        ],
    ),
    (
        "events",
        &[
            ("sent", "events"),
            ("a second", "events-per-s"),
            ("refused", "refused"),
            ("ms late at most", "send-delay-max-ms"),
            ("times held back", "held-back"),
        ],
    ),
    (
        "deliveries",
        &[
            ("in all", "deliveries"),
            ("a second", "deliveries-per-s"),
            ("a read", "frames-per-read"),
            ("other frames", "other-frames"),
        ],
    ),
    (
        "faults",
        &[
            ("lost", "lost"),
            ("repeated", "repeated"),
            ("disordered", "disordered"),
            ("misdirected", "misdirected"),
            ("altered", "altered"),
        ],
    ),
    (
        "latency, ms",
        &[
            ("p50", "latency-p50-ms"),
            ("p90", "latency-p90-ms"),
            ("p99", "latency-p99-ms"),
            ("p99.9", "latency-p999-ms"),
            ("p99.99", "latency-p9999-ms"),
            ("max", "latency-max-ms"),
        ],
    ),
    (
        "undisturbed, ms",
        &[
            ("p50", "baseline-p50-ms"),
            ("p99", "baseline-p99-ms"),
            ("p99.9", "baseline-p999-ms"),
        ],
    ),
    (
        "stalled readers",
        &[
            ("in all", "stalled"),
            ("ended by the server", "stalled-ended"),
            ("x the others' p99 before", "stall-p99-ratio"),
        ],
    ),
    (
        "coming back",
        &[
            ("in all", "resuming"),
            ("caught up", "caught-up"),
            ("ms p50", "caught-up-p50-ms"),
            ("ms p99", "caught-up-p99-ms"),
        ],
    ),
    (
        "replay",
        &[
            ("events", "replayed"),
            ("a second", "replayed-per-s"),
            ("MiB a second", "replayed-mib-per-s"),
            ("us server CPU each", "cpu-us-per-replayed"),
            ("x the others' p99 before", "replay-p99-ratio"),
        ],
    ),
    (
        "server CPU",
        &[
            ("us a delivery", "cpu-us-per-delivery"),
            ("us an event", "cpu-us-per-event"),
            ("cores", "server-busy"),
            ("of it in user mode", "server-user-share"),
            ("of the time waiting for a core", "server-waited"),
        ],
    ),
    (
        "Redis CPU",
        &[
            ("us an event", "redis-cpu-us-per-event"),
            ("cores", "redis-busy"),
        ],
    ),
    (
        "client CPU",
        &[
            ("us a delivery", "client-us-per-delivery"),
            ("cores", "client-busy"),
            ("of the time waiting for a core", "client-waited"),
            ("cores of other programs", "foreign-cores"),
        ],
    ),
    (
        "server memory",
        &[
            ("MiB empty", "rss-empty-mib"),
            ("MiB full", "rss-full-mib"),
            ("MiB at most", "rss-max-mib"),
            ("bytes a connection", "rss-per-connection"),
            ("bytes (PSS)", "pss-per-connection"),
        ],
    ),
    (
        "over time",
        &[
            ("x memory", "memory-growth"),
            ("more open files", "open-files-growth"),
        ],
    ),
    ("kernel TCP memory", &[("MiB, both ends", "kernel-tcp-mib")]),
];

/// Writes the report as a table.
///
/// # Errors
/// Where writing fails.
pub fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let machine = &report.machine;
    writeln!(
        out,
        "{} against {} on {} ({} cores, Linux {})",
        report.scenario, report.server, machine.cpu, machine.cores, machine.kernel
    )?;
    for (title, cells) in ROWS {
        let cells: Vec<String> = cells
            .iter()
            .filter_map(|(name, key)| {
                let value = report.figures.get(*key)?;
                Some(format!("{} {name}", number(*value)))
            })
            .collect();
        if !cells.is_empty() {
            writeln!(out, "  {title:<21} {}", cells.join("  "))?;
        }
    }
    for warning in &report.warnings {
        writeln!(out, "note: {warning}")?;
    }
    for verdict in &report.verdicts {
        let word = if verdict.passed { "pass" } else { "FAIL" };
        writeln!(out, "{word}: {}", verdict.text)?;
    }
    writeln!(out, "{}", if report.has_passed() { "PASS" } else { "FAIL" })
}

/// Writes what the figures are called and mean.
///
/// # Errors
/// Where writing fails.
pub fn write_figures(out: &mut impl Write) -> io::Result<()> {
    for figure in figures::ALL {
        writeln!(out, "{:<24} {}", figure.key, figure.about)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_its_place_in_the_table() {
        for definition in figures::ALL {
            let is_shown = ROWS
                .iter()
                .any(|(_, cells)| cells.iter().any(|(_, key)| *key == definition.key));
            assert!(is_shown, "{}", definition.key);
        }
        for (_, key) in ROWS.iter().flat_map(|(_, cells)| cells.iter()) {
            assert!(figures::definition(key).is_some(), "{key}");
        }
    }
}
