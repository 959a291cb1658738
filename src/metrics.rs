//! `GET /metrics`: the statistics as Prometheus reads them, and what the kernel tells of the process.
//!
//! Owns names, labels and help texts; the numbers are those of [`crate::stats`], read and summed when
//! somebody asks. Called by a reactor, for whom a scrape is one request like another.
//!
//! What is the worker's own has the label `worker`, its number; the router's loop, where it has a
//! thread of its own, is the worker `router`. A HELP says what a number is, and what to do about it.
//! deploy/prometheus/alerts.yml and deploy/grafana/shopwire.json are written against these names.

mod canary;
mod flow;
mod page;
mod process;
mod redis;

use crate::access::{Namespace, Role};
use crate::limits;
use crate::shared::Shared;
use crate::stats::{Counter, ReactorStats, Stats};
use page::{Family, Page};
pub use process::{Figures, open_files};

/// The format's name, as HTTP has it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics as text.
pub fn text(shared: &Shared) -> String {
    let mut page = Page::default();
    let workers: Vec<String> = (0..shared.stats.reactors.len())
        .map(|index| index.to_string())
        .collect();
    let mut sheet = Sheet {
        page: &mut page,
        stats: &shared.stats,
        workers: &workers,
    };
    sheet.put_server(shared);
    sheet.put_connections(shared);
    sheet.put_ingest_socket();
    sheet.put_handshakes(shared);
    sheet.put_events();
    sheet.put_deliveries();
    sheet.put_slowness(shared);
    sheet.put_past(shared);
    if let Some(status) = &shared.cluster {
        sheet.put_redis(status);
    }
    if let Some(canary) = &shared.canary {
        sheet.put_canary(canary);
    }
    sheet.put_loops();
    process::put(&shared.stats.process, &mut page);
    page.text()
}

/// What the metrics are of, and where they go.
struct Sheet<'s> {
    page: &'s mut Page,
    stats: &'s Stats,
    /// The reactors' numbers.
    workers: &'s [String],
}

impl<'s> Sheet<'s> {
    fn put_server(&mut self, shared: &Shared) {
        let stats = self.stats;
        self.page
            .gauge("shopwire_build_info", "The version that runs; always 1.")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let is_ready = shared.obstacle().is_none();
        self.page
            .gauge(
                "shopwire_ready",
                "1 while /readyz says 200. At 0 the server drains, a loop hangs, its ingest socket is \
                 gone, its journal cannot be written, Redis is out of reach, it is overloaded, or its \
                 canary does not come back: see shopwire_draining, shopwire_loop_hanging, \
                 shopwire_ingest_socket_missing, shopwire_journal_failing, \
                 shopwire_redis_connected, shopwire_worker_lagging, shopwire_memory_scarce and \
                 shopwire_canary_missing.",
            )
            .sample(&[], f64::from(u8::from(is_ready)));
        self.page
            .gauge(
                "shopwire_memory_scarce",
                "1 while memory is about to run out and only the back office is let in: see what else \
                 the machine runs, or give it, or the server's control group, more.",
            )
            .sample(&[], f64::from(u8::from(shared.admission.memory_is_scarce())));
        self.page
            .gauge(
                "shopwire_draining",
                "1 while the server is on its way out and takes nobody in.",
            )
            .sample(&[], f64::from(u8::from(shared.admission.is_draining())));
        let mut family = self.page.counter(
            "shopwire_reloads_total",
            "Reloads by outcome: done, or failed, when nothing has changed because something is \
             wrong with the settings or a key; the log says what.",
        );
        for (outcome, count) in stats.router.reloads.iter() {
            family = family.sample(&[("outcome", outcome)], count as f64);
        }
        drop(family);
        let end = stats.router.certificate_end.get();
        if stats.speaks_tls() && end > 0 {
            self.page
                .gauge(
                    "shopwire_tls_certificate_end_seconds",
                    "When the certificate that new connections are shown ends, since 1970. Renew \
                     it before, then: shopwire ctl reload.",
                )
                .sample(&[], end as f64);
        }
    }

    fn put_connections(&mut self, shared: &Shared) {
        self.gauges_by(
            "role",
            "shopwire_connections",
            "WebSockets open now, by the role of their token (public: none). A sudden fall is the \
             proxy in front, the network, or browsers that cannot come back: see \
             shopwire_connections_closed_total and shopwire_handshakes_total.",
            |reactor| Role::ALL.map(|role| (role.name(), reactor.role(role).get())),
        );
        self.gauges_by(
            "namespace",
            "shopwire_subscriptions",
            "WebSockets that are subscribed to a namespace. Far fewer than connections: pages \
             connect and ask for nothing.",
            |reactor| Namespace::ALL.map(|each| (each.name(), reactor.namespace(each).get())),
        );
        self.gauges_by(
            "state",
            "shopwire_sockets",
            "Sockets on the port by state: handshake (nothing, TLS or a request is awaited), \
             keep_alive (between two plain HTTP requests), open (a WebSocket), parting. Many in \
             handshake that stay: somebody connects and says nothing.",
            sockets,
        );
        self.gauges(
            "shopwire_tls_connections",
            "WebSockets open now that speak TLS to this server itself.",
            |reactor| &reactor.secure,
        );
        self.page
            .gauge(
                "shopwire_connections_limit",
                "The most WebSockets at once (max-connections). Near it browsers are answered \
                 503: raise it, with LimitNOFILE.",
            )
            .sample(&[], shared.config.max_connections as f64);
        self.page
            .gauge(
                "shopwire_storefront_connections_limit",
                "The most WebSockets of public, guest and customer at once: max-connections without \
                 reserved-share, which is kept for the back office.",
            )
            .sample(&[], shared.admission.storefront_max() as f64);
        self.counters_by(
            "reason",
            "shopwire_connections_closed_total",
            "WebSockets that ended, by reason. slow_consumer, no_sign_of_life and gone are the \
             network's or the browser's doing; flooding, protocol and the other faults a client's \
             defect.",
            |reactor| reactor.closed.iter(),
        );
        self.page
            .gauge(
                "shopwire_emitters",
                "Emitters connected to the ingest socket now; at most 1,024, the last 16 of them for root \
                 and the server's own user. One that grows without end is a leak in an API route.",
            )
            .sample(&[], self.stats.router.emitters.get() as f64);
        self.page
            .gauge(
                "shopwire_emitters_limit",
                "The most emitters at once; further ones are turned away.",
            )
            .sample(&[], limits::EMITTERS_MAX as f64);
    }

    fn put_ingest_socket(&mut self) {
        self.page
            .gauge(
                "shopwire_ingest_socket_missing",
                "1 while the ingest socket's file is gone, or another's, and cannot be put there again: \
                 emitters that connect fail, those that are connected go on. The log says why.",
            )
            .sample(&[], self.stats.router.ingest_missing.get() as f64);
    }

    fn put_handshakes(&mut self, shared: &Shared) {
        self.counters_by(
            "outcome",
            "shopwire_handshakes_total",
            "Opening handshakes by outcome: accepted, or the code of the refusal. rate_limited: \
             an address over connect-rate, or all of them behind a proxy that trusted-proxies \
             does not name. too_many_connections: a customer over customer-connections. \
             forbidden_origin: a page that allowed-origins lacks. full: raise max-connections. \
             overloaded: see shopwire_worker_lagging.",
            |reactor| reactor.handshakes.iter(),
        );
        self.counters_by(
            "outcome",
            "shopwire_authentications_total",
            "Tokens judged, in handshakes and messages, by outcome. Many unauthorized: the shop \
             signs with another key, issuer or audience. Many token_expired: pages do not \
             refresh, or a clock is wrong. revoked: somebody goes on with a token that shopwire ctl \
             revoke has withdrawn. too_many_connections: a good one, in a message, of a customer over \
             customer-connections; in a handshake shopwire_handshakes_total has it.",
            |reactor| reactor.authentications.iter(),
        );
        self.page
            .gauge(
                "shopwire_revocations",
                "Users and sessions whose tokens are refused after shopwire ctl revoke; those that \
                 are over are let go of when there is no more room.",
            )
            .sample(&[], shared.revoked.held() as f64);
        self.page
            .gauge(
                "shopwire_revocations_limit",
                "The most of them; beyond it shopwire ctl revoke is refused: withdraw the key.",
            )
            .sample(&[], limits::REVOCATIONS_MAX as f64);
        if self.stats.speaks_tls() {
            self.counters_by(
                "outcome",
                "shopwire_tls_handshakes_total",
                "TLS handshakes by outcome: full (costs some 0.3 ms of a core), resumed (cheap), \
                 failed (not TLS, no common version, or not complete in 5 s).",
                |reactor| {
                    let resumed = reactor.tls_resumed.get();
                    let full = reactor.tls_handshakes.get().saturating_sub(resumed);
                    [
                        ("full", full),
                        ("resumed", resumed),
                        ("failed", reactor.tls_failed.get()),
                    ]
                },
            );
        }
        self.counters_by(
            "limit",
            "shopwire_rate_limited_total",
            "What was refused for its rate, by limit: connects (connect-rate, HTTP 429), messages \
             (message-rate, answered rate_limited), controls (pings and pongs, not answered). A \
             page in a loop, or an attack; shopwire ctl connections shows who is there.",
            |reactor| {
                [
                    ("connects", reactor.handshakes.get("rate_limited")),
                    ("messages", reactor.rejected.get("rate_limited")),
                    ("controls", reactor.controls_refused.get()),
                ]
            },
        );
    }

    /// A gauge with a sample a worker.
    fn gauges(&mut self, name: &str, help: &str, pick: fn(&ReactorStats) -> &Counter) {
        let (workers, stats) = (self.workers, self.stats);
        each_worker(workers, stats, self.page.gauge(name, help), pick);
    }

    /// A counter with a sample a worker.
    fn counters(&mut self, name: &str, help: &str, pick: fn(&ReactorStats) -> &Counter) {
        let (workers, stats) = (self.workers, self.stats);
        each_worker(workers, stats, self.page.counter(name, help), pick);
    }

    /// A gauge with a sample a worker and word, which stands in `label`.
    fn gauges_by<I>(
        &mut self,
        label: &'static str,
        name: &str,
        help: &str,
        pick: impl Fn(&'s ReactorStats) -> I,
    ) where
        I: IntoIterator<Item = (&'static str, u64)>,
    {
        let (workers, stats) = (self.workers, self.stats);
        each_word(workers, stats, label, self.page.gauge(name, help), pick);
    }

    /// A counter with a sample a worker and word, which stands in `label`.
    fn counters_by<I>(
        &mut self,
        label: &'static str,
        name: &str,
        help: &str,
        pick: impl Fn(&'s ReactorStats) -> I,
    ) where
        I: IntoIterator<Item = (&'static str, u64)>,
    {
        let (workers, stats) = (self.workers, self.stats);
        each_word(workers, stats, label, self.page.counter(name, help), pick);
    }
}

fn each_worker(
    workers: &[String],
    stats: &Stats,
    mut family: Family<'_>,
    pick: fn(&ReactorStats) -> &Counter,
) {
    for (worker, reactor) in workers.iter().zip(&stats.reactors) {
        family = family.sample(&[("worker", worker)], pick(reactor).get() as f64);
    }
}

fn each_word<'s, I>(
    workers: &[String],
    stats: &'s Stats,
    label: &'static str,
    mut family: Family<'_>,
    pick: impl Fn(&'s ReactorStats) -> I,
) where
    I: IntoIterator<Item = (&'static str, u64)>,
{
    for (worker, reactor) in workers.iter().zip(&stats.reactors) {
        for (word, count) in pick(reactor) {
            let labels = [("worker", worker.as_str()), (label, word)];
            family = family.sample(&labels, count as f64);
        }
    }
}

/// A reactor's sockets by state. The numbers are not of one moment, so that a difference may be off by
/// a few.
fn sockets(reactor: &ReactorStats) -> [(&'static str, u64); 4] {
    let open = reactor.connections.get();
    let (keep_alive, parting) = (reactor.keep_alive.get(), reactor.parting.get());
    let others = open + keep_alive + parting;
    [
        ("handshake", reactor.sockets.get().saturating_sub(others)),
        ("keep_alive", keep_alive),
        ("open", open),
        ("parting", parting),
    ]
}
