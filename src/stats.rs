//! Counters and histograms: one thread writes each, anyone reads.
//!
//! The router, every reactor and every loop own a set; `http`, `metrics`, `ctl stats` and the log's
//! line of figures sum them. A write is a relaxed load and store (no locked instruction), because
//! there is only one writer.

mod batches;
mod redis;
mod snapshot;
mod times;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::access::{Namespace, NamespaceMask, Role};
use crate::event::{Code, EventType};
use crate::journal::Report;
use crate::wire::CloseReason;
pub use batches::{BatchSizes, Delivered};
pub use redis::{Reach, RedisStats};
pub use snapshot::Snapshot;
pub use times::{Counts, Times};

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

/// Counters of one kind of thing, told apart by one word each.
pub struct Tally {
    words: Box<[&'static str]>,
    counters: Box<[Counter]>,
}

impl Tally {
    /// All at zero.
    fn of(words: impl IntoIterator<Item = &'static str>) -> Self {
        let words: Box<[_]> = words.into_iter().collect();
        Self {
            counters: words.iter().map(|_| Counter::default()).collect(),
            words,
        }
    }

    /// Counts one of `word`: see [`Tally::add`].
    pub fn count(&self, word: &str) {
        self.add(word, 1);
    }

    /// Counts `n` of `word`; the last word takes what none of them stands for. Only the owning thread
    /// may call this.
    pub fn add(&self, word: &str, n: u64) {
        let found = self.words.iter().position(|each| *each == word);
        let index = found.unwrap_or(self.words.len() - 1);
        self.at(index).add(n);
    }

    /// The counter of the word at this place.
    pub fn at(&self, index: usize) -> &Counter {
        &self.counters[index]
    }

    /// What `word` counts; 0 if there is none of that name.
    pub fn get(&self, word: &str) -> u64 {
        let mut all = self.iter();
        all.find(|(each, _)| *each == word)
            .map_or(0, |(_, count)| count)
    }

    /// All words, each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.counters.iter().map(Counter::get);
        self.words.iter().copied().zip(counts)
    }

    /// All counts together.
    pub fn sum(&self) -> u64 {
        self.counters.iter().map(Counter::get).sum()
    }
}

/// How handshakes end: the codes of their refusals. The last one takes what has no word here.
const HANDSHAKES: [&str; 17] = [
    "accepted",
    "malformed",
    "headers_too_large",
    "request_timeout",
    "tls_required",
    "method_not_allowed",
    "upgrade_required",
    "draining",
    "starting",
    "full",
    "overloaded",
    "rate_limited",
    "too_many_connections",
    "forbidden_origin",
    "unauthorized",
    "token_expired",
    "other",
];
/// How tokens are judged.
const AUTHENTICATIONS: [&str; 6] = [
    "accepted",
    "unauthorized",
    "token_expired",
    "revoked",
    "too_many_connections",
    "other",
];
/// How reloads end.
const RELOADS: [&str; 2] = ["done", "failed"];
/// The codes of refused client messages.
const MESSAGE_CODES: [&str; 9] = [
    "invalid_message",
    "unknown_type",
    "unauthorized",
    "forbidden",
    "rate_limited",
    "too_many_connections",
    "token_expired",
    "too_large",
    "other",
];

/// What the router counts.
pub struct RouterStats {
    /// Events accepted from all sources, by [`EventType`]; repeats by `key` are not counted.
    pub events_in: Tally,
    /// Lines that repeated a `key`.
    pub repeated: Counter,
    /// Lines refused on the ingest socket, by [`Code`].
    pub rejected: Tally,
    /// Emitters connected now.
    pub emitters: Counter,
    /// 1 while the ingest socket's file is not in its place.
    pub ingest_missing: Counter,
    /// 1 while emitters are not read, because a reactor, the disk or Redis is behind.
    pub held_up: Counter,
    /// When the certificate that new connections are shown ends, in seconds since 1970; 0 without one.
    pub certificate_end: Counter,
    /// Reloads by outcome.
    pub reloads: Tally,
}

impl Default for RouterStats {
    fn default() -> Self {
        Self {
            events_in: Tally::of(EventType::ALL.map(EventType::name)),
            repeated: Counter::default(),
            rejected: Tally::of(Code::ALL.map(Code::as_str)),
            emitters: Counter::default(),
            ingest_missing: Counter::default(),
            held_up: Counter::default(),
            certificate_end: Counter::default(),
            reloads: Tally::of(RELOADS),
        }
    }
}

/// What the router tells of the journal.
#[derive(Default)]
pub struct JournalStats {
    /// 1 where there is one.
    is_on: Counter,
    /// 1 while it cannot be written.
    is_failing: Counter,
    /// On disk.
    pub bytes: Counter,
    /// Syncs that went well, ...
    pub syncs: Counter,
    last_sync_micros: Counter,
    /// ... and what each took.
    pub sync_times: Times,
}

impl JournalStats {
    /// The state of the journal. Only the router may call this.
    pub fn set(&self, report: &Report) {
        let new = report.syncs.saturating_sub(self.syncs.get());
        if new > 0 {
            // One sync is on its way at a time, and the router looks after each.
            self.sync_times.record(report.sync_micros, new);
        }
        self.is_on.set(1);
        self.is_failing.set(report.is_failing.into());
        self.bytes.set(report.bytes);
        self.syncs.set(report.syncs);
        self.last_sync_micros.set(report.sync_micros);
    }

    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        self.is_on.get() != 0
    }

    /// Whether there is one that cannot be written now.
    pub fn is_failing(&self) -> bool {
        self.is_failing.get() != 0
    }
}

/// What one reactor counts.
pub struct ReactorStats {
    /// WebSockets open now ...
    pub connections: Counter,
    by_role: [Counter; Role::ALL.len()],
    by_namespace: [Counter; Namespace::ALL.len()],
    /// ... and those of them that speak TLS.
    pub secure: Counter,
    /// All its sockets, in whatever state, ...
    pub sockets: Counter,
    /// ... those between two plain HTTP requests, ...
    pub keep_alive: Counter,
    /// ... and those that are parting.
    pub parting: Counter,
    /// Handshakes by outcome.
    pub handshakes: Tally,
    /// Tokens judged, by outcome.
    pub authentications: Tally,
    /// WebSockets that ended, by [`CloseReason`].
    pub closed: Tally,
    /// Event frames handed to sockets or outboxes, ...
    pub deliveries: Counter,
    /// ... their bytes, ...
    pub delivered_bytes: Counter,
    /// ... and how many went to one connection at once.
    pub batches: BatchSizes,
    /// Client messages refused, by code.
    pub rejected: Tally,
    /// Pings and pongs over their rate, which have no answer.
    pub controls_refused: Counter,
    /// What its outboxes hold in memory now, in bytes.
    pub outbox_bytes: Counter,
    /// What is held of messages whose ends have not come, in bytes.
    pub unfinished_bytes: Counter,
    /// Waiting events that gave way to newer ones.
    pub conflated: Counter,
    /// Subscriptions with `since` that got everything after it.
    pub recovered: Counter,
    /// Those that could not.
    pub not_recovered: Counter,
    /// Connections whose past is being replayed now.
    pub replaying: Counter,
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
    /// 1 while its turns take so long that newcomers are sent away.
    pub lagging: Counter,
    /// Messages that lay in the ring from the router when the last turn began.
    pub ring_down: Counter,
    /// Messages from the router that wait behind a full ring; the router writes this one, ...
    pub backlog_down: Counter,
    /// ... and those to it.
    pub backlog_up: Counter,
    /// From the read on the ingest socket to the end of the sends.
    pub latency: Times,
}

impl Default for ReactorStats {
    fn default() -> Self {
        Self {
            connections: Counter::default(),
            by_role: Default::default(),
            by_namespace: Default::default(),
            secure: Counter::default(),
            sockets: Counter::default(),
            keep_alive: Counter::default(),
            parting: Counter::default(),
            handshakes: Tally::of(HANDSHAKES),
            authentications: Tally::of(AUTHENTICATIONS),
            closed: Tally::of(CloseReason::ALL.map(CloseReason::name)),
            deliveries: Counter::default(),
            delivered_bytes: Counter::default(),
            batches: BatchSizes::default(),
            rejected: Tally::of(MESSAGE_CODES),
            controls_refused: Counter::default(),
            outbox_bytes: Counter::default(),
            unfinished_bytes: Counter::default(),
            conflated: Counter::default(),
            recovered: Counter::default(),
            not_recovered: Counter::default(),
            replaying: Counter::default(),
            history_bytes: Counter::default(),
            history_events: Counter::default(),
            tls_handshakes: Counter::default(),
            tls_resumed: Counter::default(),
            tls_failed: Counter::default(),
            lagging: Counter::default(),
            ring_down: Counter::default(),
            backlog_down: Counter::default(),
            backlog_up: Counter::default(),
            latency: Times::default(),
        }
    }
}

impl ReactorStats {
    /// The connections of one role.
    pub fn role(&self, role: Role) -> &Counter {
        &self.by_role[role as usize]
    }

    /// The connections that are subscribed to a namespace.
    pub fn namespace(&self, namespace: Namespace) -> &Counter {
        &self.by_namespace[namespace as usize]
    }

    /// Connections closed with 4413.
    pub fn slow_consumers(&self) -> u64 {
        self.closed.at(CloseReason::SlowConsumer.index()).get()
    }

    /// Follows a connection's subscriptions from `old` to `new`.
    pub fn resubscribed(&self, old: NamespaceMask, new: NamespaceMask) {
        for namespace in Namespace::ALL {
            let counter = self.namespace(namespace);
            match (old.contains(namespace), new.contains(namespace)) {
                (false, true) => counter.add(1),
                (true, false) => counter.sub(1),
                _ => {}
            }
        }
    }

    /// Adds what a turn has delivered.
    pub fn delivered(&self, delivered: &Delivered) {
        self.deliveries.add(delivered.events);
        self.delivered_bytes.add(delivered.bytes);
        self.batches.add(delivered);
    }
}

/// What one loop tells of its turns.
#[derive(Default)]
pub struct LoopStats {
    /// What each turn took, from the end of the poll.
    pub turns: Times,
    /// How late it came to what was due at a certain time.
    pub lag: Times,
    /// 1 while it does not come round; the thread that looks after the process writes this one.
    pub hangs: Counter,
}

/// What is told of the process as a whole; written by the thread that looks after it.
#[derive(Default)]
pub struct ProcessStats {
    /// Files open now, sockets included.
    pub open_files: Counter,
}

/// All counters of this process.
pub struct Stats {
    started: Instant,
    /// The router's.
    pub router: RouterStats,
    /// The journal's, which the router tells.
    pub journal: JournalStats,
    /// What is told of Redis.
    pub redis: RedisStats,
    /// Whether connections come over TLS.
    speaks_tls: bool,
    /// One set a reactor.
    pub reactors: Vec<ReactorStats>,
    /// One set a reactor's loop, and behind them that of the router's own.
    loops: Vec<LoopStats>,
    /// The process's.
    pub process: ProcessStats,
}

impl Stats {
    /// Counters at zero for so many reactors.
    pub fn new(reactors: usize, speaks_tls: bool, started: Instant) -> Self {
        Self {
            started,
            router: RouterStats::default(),
            journal: JournalStats::default(),
            redis: RedisStats::default(),
            speaks_tls,
            reactors: (0..reactors).map(|_| ReactorStats::default()).collect(),
            loops: (0..=reactors).map(|_| LoopStats::default()).collect(),
            process: ProcessStats::default(),
        }
    }

    /// Whether connections come over TLS.
    pub fn speaks_tls(&self) -> bool {
        self.speaks_tls
    }

    /// The loop of the reactor with this index; behind the last one, the router's own.
    pub fn of_loop(&self, index: usize) -> &LoopStats {
        &self.loops[index]
    }

    /// Whether that loop does not come round, as far as somebody has noticed.
    pub fn hangs(&self, index: usize) -> bool {
        self.of_loop(index).hangs.get() != 0
    }

    /// Whether any loop does not.
    pub fn any_hangs(&self) -> bool {
        (0..self.loops.len()).any(|index| self.hangs(index))
    }

    /// What the outboxes of all reactors hold now, in bytes.
    pub fn outbox_bytes(&self) -> u64 {
        self.sum(|reactor| reactor.outbox_bytes.get())
    }

    /// The latencies of all deliveries since the start.
    pub fn latency(&self) -> Counts {
        self.reactors
            .iter()
            .map(|reactor| &reactor.latency)
            .collect()
    }

    /// The sum over all reactors.
    pub fn sum(&self, pick: impl Fn(&ReactorStats) -> u64) -> u64 {
        self.reactors.iter().map(pick).sum()
    }

    /// The greatest of all reactors: for what each of them has the same of, but for a moment.
    pub fn most(&self, pick: fn(&ReactorStats) -> &Counter) -> u64 {
        let all = self.reactors.iter().map(|reactor| pick(reactor).get());
        all.max().unwrap_or(0)
    }

    /// How long this process has been serving.
    pub fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_nobody_foresaw_is_counted_all_the_same() {
        let tally = Tally::of(HANDSHAKES);
        for word in ["accepted", "full", "never heard of", "full"] {
            tally.count(word);
        }
        assert_eq!(tally.sum(), 4);
        assert_eq!(tally.get("full"), 2);
        assert_eq!(tally.get("other"), 1);
    }

    #[test]
    fn each_sync_is_timed_once() {
        let stats = JournalStats::default();
        for syncs in [1, 1, 2, 2, 2, 3] {
            stats.set(&Report {
                syncs,
                sync_micros: 100 * syncs,
                ..Report::default()
            });
        }
        let times: Counts = [&stats.sync_times].into_iter().collect();
        assert_eq!(times.total(), 3);
        assert_eq!(times.up_to(&[110, 250, 400]), [1, 2, 3]);
    }
}
