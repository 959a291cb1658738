//! `ctl stats --watch`: the statistics again and again, as rates.
//!
//! In a terminal they fill the screen, as top does, and what was there comes back in the end, also
//! after ^C; elsewhere each time is a line. Owns the terminal while it runs.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, IsTerminal, StdoutLock, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::termios::tcgetwinsize;
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::session::Session;
use super::show::{redis, uptime};
use crate::stats::Counts;

/// Lines between two headings where there is no terminal.
const PAGE: usize = 30;

/// Asks until a signal comes or nobody reads any more.
pub(super) fn run(session: &mut Session, every: Duration, as_json: bool) -> Result<(), String> {
    let signals = signals().map_err(|error| format!("signals cannot be watched for: {error}"))?;
    let stdout = io::stdout();
    let is_screen = stdout.is_terminal() && !as_json;
    let mut view: Box<dyn View> = match (as_json, is_screen) {
        (true, _) => Box::new(Json),
        (false, true) => Box::new(Screen::enter(stdout.lock()).map_err(unwritten)?),
        (false, false) => Box::new(Lines::default()),
    };
    let mut before = None;
    loop {
        let mut request = json!({"command": "stats"});
        if !as_json {
            request["latencies"] = true.into();
        }
        let now = Sample::new(session.ask(&request)?, Instant::now());
        match view.show(before.as_ref(), &now, every) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(unwritten(error)),
        }
        before = Some(now);
        match signals.recv_timeout(every) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn unwritten(error: io::Error) -> String {
    format!("stdout: {error}")
}

/// Hears of the first signal that wants an end.
fn signals() -> io::Result<Receiver<()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (tell, told) = channel();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if signals.forever().next().is_some() {
                // Whoever does not listen any more has ended.
                tell.send(()).ok();
            }
        })?;
    Ok(told)
}

/// Where a sample goes.
trait View {
    fn show(&mut self, before: Option<&Sample>, now: &Sample, every: Duration) -> io::Result<()>;
}

/// The server's answer as it is, one a line.
struct Json;

impl View for Json {
    fn show(&mut self, _: Option<&Sample>, now: &Sample, _: Duration) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", now.stats)?;
        out.flush()
    }
}

/// A line a sample, with a heading now and then.
#[derive(Default)]
struct Lines {
    written: usize,
}

impl View for Lines {
    fn show(&mut self, before: Option<&Sample>, now: &Sample, _: Duration) -> io::Result<()> {
        let Some(before) = before else {
            // Rates need two.
            return Ok(());
        };
        let mut out = io::stdout().lock();
        if self.written.is_multiple_of(PAGE) {
            writeln!(out, "{}", heading())?;
        }
        self.written += 1;
        let trouble = trouble(&now.stats);
        writeln!(out, "{}{trouble}", line(&Rates::between(before, now)))?;
        out.flush()
    }
}

fn heading() -> String {
    format!(
        "{:>11}{:>10}{:>14}{:>12}{:>10}{:>10}{:>12}{:>8}{:>12}",
        "connections",
        "events/s",
        "deliveries/s",
        "bytes/s",
        "p50 ms",
        "p99 ms",
        "rejected/s",
        "slow/s",
        "outboxes"
    )
}

fn line(rates: &Rates) -> String {
    format!(
        "{:>11}{:>10.1}{:>14.1}{:>12}{:>10.2}{:>10.2}{:>12.1}{:>8.1}{:>12}",
        rates.connections,
        rates.events_in,
        rates.deliveries,
        bytes(rates.bytes),
        rates.p50_ms,
        rates.p99_ms,
        rates.rejected,
        rates.slow_consumers,
        bytes(rates.outbox_bytes)
    )
}

/// What stands behind a line while Redis is out of reach: no number tells it.
fn trouble(stats: &Value) -> String {
    match &stats["redis"] {
        told if told["connected"] == false => format!("  redis {}", redis(told)),
        _ => String::new(),
    }
}

/// The terminal's other screen, without a cursor; the first one comes back when this goes.
struct Screen {
    out: StdoutLock<'static>,
}

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

impl Screen {
    fn enter(mut out: StdoutLock<'static>) -> io::Result<Self> {
        out.write_all(ENTER.as_bytes())?;
        out.flush()?;
        Ok(Self { out })
    }
}

impl View for Screen {
    fn show(&mut self, before: Option<&Sample>, now: &Sample, every: Duration) -> io::Result<()> {
        // Asked each time: it may have been changed.
        let (width, height) = match tcgetwinsize(&self.out) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
            _ => (80, 24),
        };
        let text = page(before, now, every);
        let mut screen = String::from("\x1b[H");
        for (index, line) in fitting(&text, height.into()).iter().enumerate() {
            if index > 0 {
                screen.push_str("\r\n");
            }
            screen.extend(line.chars().take(usize::from(width)));
            // What was there before, to the right of it.
            screen.push_str("\x1b[K");
        }
        // And below.
        screen.push_str("\x1b[J");
        self.out.write_all(screen.as_bytes())?;
        self.out.flush()
    }
}

/// As many lines as a terminal of this height has; the last one says what is left out.
fn fitting(text: &str, height: usize) -> Vec<Cow<'_, str>> {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= height {
        return lines.into_iter().map(Cow::from).collect();
    }
    let (shown, left_out) = lines.split_at(height.saturating_sub(1));
    let more = format!(
        "and {} more lines: the terminal is too short",
        left_out.len()
    );
    let shown = shown.iter().copied().map(Cow::from);
    shown.chain([Cow::from(more)]).collect()
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        self.out.write_all(LEAVE.as_bytes()).ok();
        self.out.flush().ok();
    }
}

/// What the server said at a moment.
struct Sample {
    stats: Value,
    at: Instant,
    latencies: Counts,
}

impl Sample {
    fn new(stats: Value, at: Instant) -> Self {
        let mut latencies = Counts::default();
        for each in stats["latencies"].as_array().into_iter().flatten() {
            if let (Some(micros), Some(count)) = (each[0].as_u64(), each[1].as_u64()) {
                latencies.add(micros, count);
            }
        }
        Self {
            stats,
            at,
            latencies,
        }
    }

    fn number(&self, pointer: &str) -> f64 {
        self.stats
            .pointer(pointer)
            .and_then(Value::as_f64)
            .unwrap_or(0.0)
    }
}

/// What happened between two samples, a second.
struct Rates {
    connections: f64,
    events_in: f64,
    deliveries: f64,
    bytes: f64,
    rejected: f64,
    slow_consumers: f64,
    conflated: f64,
    recovered: f64,
    lost: f64,
    outbox_bytes: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    workers: Vec<f64>,
}

impl Rates {
    fn between(before: &Sample, now: &Sample) -> Self {
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
        let rate = |pointer: &str| {
            // A counter that fell is of another run of the server.
            let grown = (now.number(pointer) - before.number(pointer)).max(0.0);
            grown / seconds.max(0.001)
        };
        let workers = now.stats["workers"].as_array().map_or(0, Vec::len);
        let latencies = now.latencies.since(&before.latencies);
        Self {
            connections: now.number("/totalConnections"),
            events_in: rate("/eventsIn"),
            deliveries: rate("/deliveries"),
            bytes: rate("/deliveredBytes"),
            rejected: rate("/rejected"),
            slow_consumers: rate("/slowConsumers"),
            conflated: rate("/conflated"),
            recovered: rate("/recovered"),
            lost: rate("/notRecovered"),
            outbox_bytes: now.number("/outboxBytes"),
            p50_ms: latencies.quantile_ms(0.5),
            p99_ms: latencies.quantile_ms(0.99),
            p999_ms: latencies.quantile_ms(0.999),
            workers: (0..workers)
                .map(|index| rate(&format!("/workers/{index}/deliveries")))
                .collect(),
        }
    }
}

/// The whole picture. Before there are two samples, rates are 0.
fn page(before: Option<&Sample>, now: &Sample, every: Duration) -> String {
    let rates = Rates::between(before.unwrap_or(now), now);
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        writeln!(text, "{name:<16}{value}").expect("a String takes everything");
    };
    let up = uptime(now.number("/uptimeSeconds"));
    let each = humantime::format_duration(every);
    row("shopwire", format!("up {up}, asked every {each}; ^C ends"));
    row("", String::new());
    let by = |pointer: &str| {
        let names = now.stats[pointer].as_object().into_iter().flatten();
        let some = names.filter(|(_, count)| count.as_u64() != Some(0));
        let each: Vec<String> = some
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        each.join(", ")
    };
    row("connections", format!("{}", rates.connections));
    row("  by role", by("connectionsByRole"));
    row("  subscribed", by("connectionsByNamespace"));
    row(
        "events in",
        format!(
            "{:.1}/s, {} in all",
            rates.events_in,
            now.number("/eventsIn")
        ),
    );
    row(
        "deliveries",
        format!(
            "{:.1}/s, {}/s, {} in all",
            rates.deliveries,
            bytes(rates.bytes),
            now.number("/deliveries")
        ),
    );
    row(
        "latency",
        format!(
            "p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
            rates.p50_ms, rates.p99_ms, rates.p999_ms
        ),
    );
    row(
        "refused",
        format!(
            "{:.1}/s, {} in all",
            rates.rejected,
            now.number("/rejected")
        ),
    );
    row(
        "slow readers",
        format!(
            "{:.1}/s closed, {} in all; {} wait, {:.1}/s conflated",
            rates.slow_consumers,
            now.number("/slowConsumers"),
            bytes(rates.outbox_bytes),
            rates.conflated
        ),
    );
    row(
        "resumes",
        format!(
            "{:.1}/s recovered, {:.1}/s lost",
            rates.recovered, rates.lost
        ),
    );
    row(
        "history",
        format!(
            "{} events, {}",
            now.number("/historyEvents"),
            bytes(now.number("/historyBytes"))
        ),
    );
    if now.stats.get("journal").is_some() {
        let failing = now.stats["journal"]["failing"] == true;
        let state = if failing { "CANNOT BE WRITTEN" } else { "safe" };
        row(
            "journal",
            format!(
                "{state}, {}, last sync {:.1} ms",
                bytes(now.number("/journal/bytes")),
                now.number("/journal/lastSyncMs")
            ),
        );
    }
    if let Some(told) = now.stats.get("redis") {
        row("redis", redis(told));
    }
    row("", String::new());
    row(
        "worker",
        format!(
            "{:>12}{:>14}{:>12}{:>8}",
            "connections", "deliveries/s", "outboxes", "slow"
        ),
    );
    for (index, deliveries) in rates.workers.iter().enumerate() {
        let of = |name: &str| now.number(&format!("/workers/{index}/{name}"));
        row(
            &index.to_string(),
            format!(
                "{:>12}{deliveries:>14.1}{:>12}{:>8}",
                of("connections"),
                bytes(of("outboxBytes")),
                of("slowConsumers")
            ),
        );
    }
    text
}

/// A size as people read it.
fn bytes(count: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{value:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, deliveries: u64, latencies: &Value) -> Sample {
        let stats = json!({
            "totalConnections": 3, "connectionsByRole": {"admin": 1, "guest": 0}, "eventsIn": deliveries / 10,
            "deliveries": deliveries, "deliveredBytes": deliveries * 2048, "latencies": latencies, "uptimeSeconds": 61,
            "workers": [{"connections": 2, "deliveries": deliveries}, {"connections": 1, "deliveries": 0}]
        });
        Sample::new(stats, at)
    }

    #[test]
    fn rates_and_latencies_are_of_the_time_between() {
        let start = Instant::now();
        let before = sample(start, 1000, &json!([[900_000, 1000]]));
        let now = sample(
            start + Duration::from_secs(2),
            1200,
            &json!([[900_000, 1000], [1000, 200]]),
        );
        let rates = Rates::between(&before, &now);
        assert_eq!((rates.deliveries, rates.events_in), (100.0, 10.0));
        assert_eq!(rates.workers, [100.0, 0.0]);
        assert!((1.0..1.1).contains(&rates.p99_ms), "{}", rates.p99_ms);
        // Another run of the server, whose counters began anew.
        let again = Rates::between(&now, &sample(start + Duration::from_secs(4), 5, &json!([])));
        assert_eq!((again.deliveries, again.p99_ms), (0.0, 0.0));
    }

    #[test]
    fn the_page_says_what_there_is() {
        let start = Instant::now();
        let before = sample(start, 0, &json!([]));
        let mut now = sample(start + Duration::from_secs(1), 500, &json!([[2000, 500]]));
        now.stats["redis"] = json!({"connected": false, "deliversAlone": true, "cutOffSeconds": 65,
            "localEvents": 3, "waitingEvents": 0});
        let text = page(Some(&before), &now, Duration::from_secs(1));
        for part in [
            "up 1m 1s, asked every 1s; ^C ends",
            "  by role       admin 1\n",
            "deliveries      500.0/s, 1000.0 KiB/s, 500 in all\n",
            "0                          2         500.0         0 B       0\n",
            "redis           CUT OFF for 1m 5s, DELIVERS ALONE; 3 events",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
        assert!(
            !text.contains("guest") && !text.contains("journal"),
            "{text}"
        );
    }

    #[test]
    fn what_a_short_terminal_leaves_out_is_told() {
        assert_eq!(fitting("a\nb\nc\n", 3), ["a", "b", "c"]);
        assert_eq!(
            fitting("a\nb\nc\n", 2),
            ["a", "and 2 more lines: the terminal is too short"]
        );
        assert_eq!(fitting("a\nb\n", 1).len(), 1);
    }

    #[test]
    fn lines_stand_under_their_heading() {
        let start = Instant::now();
        let before = sample(start, 0, &json!([]));
        let now = sample(start + Duration::from_secs(1), 500, &json!([[2000, 500]]));
        let line = line(&Rates::between(&before, &now));
        assert_eq!(line.chars().count(), heading().chars().count());
    }

    #[test]
    fn a_line_has_no_more_than_numbers_while_redis_is_in_reach() {
        let with =
            |is_connected: bool| json!({"redis": {"connected": is_connected, "waitingEvents": 0}});
        assert_eq!(trouble(&json!({})), "");
        assert_eq!(trouble(&with(true)), "");
        assert!(trouble(&with(false)).starts_with("  redis CUT OFF"));
    }

    #[test]
    fn sizes_are_readable() {
        let sizes = [0.0, 1023.0, 1024.0, 1536.0 * 1024.0, 1e18].map(bytes);
        assert_eq!(
            sizes,
            ["0 B", "1023 B", "1.0 KiB", "1.5 MiB", "909494.7 TiB"]
        );
    }
}
