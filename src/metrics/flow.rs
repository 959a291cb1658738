//! What passes through the server: events in, deliveries, the past, and the loops that do it all.

use super::Sheet;
use super::page::{Distribution, Family};
use crate::limits;
use crate::shared::Shared;
use crate::stats::{BatchSizes, Counts, Times};

/// Upper bounds of times, in microseconds.
const BOUNDS: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

impl Sheet<'_> {
    pub(super) fn put_events(&mut self) {
        let router = &self.stats.router;
        let mut family = self.page.counter(
            "shopwire_events_in_total",
            "Events accepted from all sources, by type; repeats by key are not counted. None for \
             long while the shop sells: the emitters are cut off.",
        );
        for (kind, count) in router.events_in.iter() {
            family = family.sample(&[("type", kind)], count as f64);
        }
        drop(family);
        self.page
            .counter(
                "shopwire_events_repeated_total",
                "Lines that repeated a key, acknowledged and not sent again: emitters that try \
                 again, as they should.",
            )
            .sample(&[], router.repeated.get() as f64);
        let mut family = self.page.counter(
            "shopwire_lines_rejected_total",
            "Lines refused on the ingest socket, by code. An emitter has a defect, and these \
             events are lost: the log names line and field. unavailable: the journal could not \
             keep it, or Redis was out of reach.",
        );
        for (code, count) in router.rejected.iter() {
            family = family.sample(&[("code", code)], count as f64);
        }
        drop(family);
        self.counters_by(
            "code",
            "shopwire_messages_rejected_total",
            "Client messages answered with an error, by code. A new version of a page that asks \
             for what it may not see shows here.",
            |reactor| reactor.rejected.iter(),
        );
        self.page
            .gauge(
                "shopwire_emitters_held_up",
                "1 while no emitter is read, because a reactor (shopwire_ring_backlog_messages), \
                 the disk (shopwire_journal_sync_seconds) or Redis \
                 (shopwire_redis_waiting_events) is behind. For moments that is \
                 back-pressure at work; for long, the host is too slow.",
            )
            .sample(&[], router.held_up.get() as f64);
    }

    pub(super) fn put_deliveries(&mut self) {
        self.counters(
            "shopwire_deliveries_total",
            "Events handed to sockets or outboxes, replayed ones included. Its rate is the \
             server's load.",
            |reactor| &reactor.deliveries,
        );
        self.counters(
            "shopwire_delivered_bytes_total",
            "Bytes of these events, WebSocket headers included and TLS not.",
            |reactor| &reactor.delivered_bytes,
        );
        let bounds = BatchSizes::BOUNDS.map(|bound| bound as f64);
        let mut family = self.page.histogram(
            "shopwire_batch_events",
            "Events that one connection was given at once, with one write: 1 when all is calm. \
             Large batches with a high latency: the server is busy, and saves writes.",
        );
        for (worker, reactor) in self.workers.iter().zip(&self.stats.reactors) {
            let counts = reactor.batches.counts();
            let up_to: Vec<u64> = (1..=bounds.len())
                .map(|end| counts[..end].iter().sum())
                .collect();
            let distribution = Distribution {
                bounds: &bounds,
                up_to: &up_to,
                count: counts.iter().sum(),
                sum: reactor.deliveries.get() as f64,
            };
            family = family.distribution(&[("worker", worker)], &distribution);
        }
        drop(family);
        let mut family = self.page.histogram(
            "shopwire_delivery_latency_seconds",
            "From the read on the ingest socket to the end of the sends, for live events; true to \
             about 3 %. If it grows: see shopwire_loop_turn_seconds, the host's other load, and \
             docs/tuning.md.",
        );
        for (worker, reactor) in self.workers.iter().zip(&self.stats.reactors) {
            family = with_times(family, &[("worker", worker)], &reactor.latency);
        }
    }

    pub(super) fn put_slowness(&mut self, shared: &Shared) {
        self.gauges(
            "shopwire_outbox_bytes",
            "Memory that is held now for connections that read slowly; at most \
             shopwire_outbox_budget_bytes for all workers together.",
            |reactor| &reactor.outbox_bytes,
        );
        self.page
            .gauge(
                "shopwire_outbox_budget_bytes",
                "What outbox-budget allows. Near it the connections for whom most waits are \
                 closed: raise it if there is memory, or look for who reads slowly with shopwire \
                 ctl connections.",
            )
            .sample(&[], shared.config.outbox_budget as f64);
        self.gauges(
            "shopwire_unfinished_bytes",
            "Memory that is held now for clients' messages whose ends have not come; at most \
             shopwire_unfinished_limit_bytes for each worker. Near it whoever holds most is closed: \
             somebody sends beginnings and no ends.",
            |reactor| &reactor.unfinished_bytes,
        );
        self.page
            .gauge(
                "shopwire_unfinished_limit_bytes",
                "The most that a worker holds of messages whose ends have not come.",
            )
            .sample(&[], limits::UNFINISHED_MAX as f64);
        let mut family = self.page.counter(
            "shopwire_slow_consumers_total",
            "WebSockets closed with 4413: over outbox-limit or the budget, or too slow for what \
             was replayed. They come back and resume; many at once is a network in trouble.",
        );
        for (worker, reactor) in self.workers.iter().zip(&self.stats.reactors) {
            family = family.sample(&[("worker", worker)], reactor.slow_consumers() as f64);
        }
        drop(family);
        self.counters(
            "shopwire_conflated_total",
            "Waiting events that gave way to newer ones, for connections that asked for it.",
            |reactor| &reactor.conflated,
        );
    }

    pub(super) fn put_past(&mut self, shared: &Shared) {
        self.counters_by(
            "outcome",
            "shopwire_resumes_total",
            "Subscriptions with since, by outcome: recovered (everything that was missed came), \
             lost (it is not kept any more, and the page loads its state anew). Many lost: raise \
             history and history-age, or keep a journal.",
            |reactor| {
                [
                    ("recovered", reactor.recovered.get()),
                    ("lost", reactor.not_recovered.get()),
                ]
            },
        );
        self.gauges(
            "shopwire_replays",
            "WebSockets that are being sent the past now; many behind a restart, few else.",
            |reactor| &reactor.replaying,
        );
        let stats = self.stats;
        let kept = [
            (
                "shopwire_history_bytes",
                "What is kept of the newest events, in memory.",
                stats.most(|reactor| &reactor.history_bytes),
            ),
            (
                "shopwire_history_events",
                "How many events that are.",
                stats.most(|reactor| &reactor.history_events),
            ),
            (
                "shopwire_history_limit_bytes",
                "How much the setting history keeps. If it is reached long before history-age, \
                 those who are away for longer lose events: raise it.",
                shared.config.history as u64,
            ),
        ];
        for (name, help, value) in kept {
            self.page.gauge(name, help).sample(&[], value as f64);
        }
        if stats.journal.is_on() {
            self.put_journal();
        }
    }

    fn put_journal(&mut self) {
        let journal = &self.stats.journal;
        self.page
            .gauge(
                "shopwire_journal_failing",
                "1 while the journal cannot be written: events are delivered, emitters are \
                 answered unavailable, /readyz says 503. The log has the reason: most often the \
                 disk is full.",
            )
            .sample(&[], f64::from(u8::from(journal.is_failing())));
        self.page
            .gauge(
                "shopwire_journal_bytes",
                "The journal's size on disk; somewhat more than history.",
            )
            .sample(&[], journal.bytes.get() as f64);
        let family = self.page.histogram(
            "shopwire_journal_sync_seconds",
            "What the disk took to make events safe. Acks wait for it, deliveries do not. If it \
             grows: another disk, or journal-sync interval:100ms.",
        );
        drop(with_times(family, &[], &journal.sync_times));
    }

    pub(super) fn put_loops(&mut self) {
        let loops = self.workers.len();
        let names = self.workers.iter().map(String::as_str).chain(["router"]);
        // One worker has the router in its own loop.
        let all: Vec<(&str, usize)> = names
            .zip(0..)
            .take(loops + usize::from(loops > 1))
            .collect();
        let mut family = self.page.histogram(
            "shopwire_loop_turn_seconds",
            "What each turn of an event loop took. Nothing else happens in it meanwhile: turns of \
             100 ms and more are felt by everybody on that worker.",
        );
        for &(worker, index) in &all {
            let turns = &self.stats.of_loop(index).turns;
            family = with_times(family, &[("worker", worker)], turns);
        }
        drop(family);
        let mut family = self.page.histogram(
            "shopwire_loop_lag_seconds",
            "How late an event loop came to what was due at a certain time; up to 1 ms is the \
             kernel's clock. More: turns are long, or other programs have the core.",
        );
        for &(worker, index) in &all {
            let lag = &self.stats.of_loop(index).lag;
            family = with_times(family, &[("worker", worker)], lag);
        }
        drop(family);
        let mut family = self.page.gauge(
            "shopwire_loop_hanging",
            "1 while an event loop has not come round for 4 s, though it was woken: what it has is not \
             served, new connections go to the other workers, and /readyz says 503. Restart: see \
             docs/operations.md#shopwireloophangs.",
        );
        for &(worker, index) in &all {
            let hangs = self.stats.of_loop(index).hangs.get();
            family = family.sample(&[("worker", worker)], hangs as f64);
        }
        drop(family);
        self.gauges(
            "shopwire_worker_lagging",
            "1 while a worker's turns take over 250 ms again and again: events are late, and \
             newcomers are answered 503 but for the back office. See shopwire_loop_turn_seconds.",
            |reactor| &reactor.lagging,
        );
        self.gauges(
            "shopwire_ring_messages",
            "Messages that lay in the ring from the router when the reactor's last turn began; it \
             takes up to 64 a turn.",
            |reactor| &reactor.ring_down,
        );
        self.gauges_by(
            "direction",
            "shopwire_ring_backlog_messages",
            "Messages that wait behind a full ring, by direction: down (the reactor is behind, \
             and emitters are held up), up (the router is, and clients are not read). More \
             workers, or fewer subscriptions each.",
            |reactor| {
                [
                    ("down", reactor.backlog_down.get()),
                    ("up", reactor.backlog_up.get()),
                ]
            },
        );
    }
}

pub(super) fn with_times<'p>(
    family: Family<'p>,
    labels: &[(&'static str, &str)],
    times: &Times,
) -> Family<'p> {
    let counts: Counts = [times].into_iter().collect();
    let distribution = Distribution {
        bounds: &BOUNDS.map(|micros| micros as f64 / 1e6),
        up_to: &counts.up_to(&BOUNDS),
        count: counts.total(),
        sum: counts.sum_micros() as f64 / 1e6,
    };
    family.distribution(labels, &distribution)
}
