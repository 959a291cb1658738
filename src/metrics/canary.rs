//! Whether delivery was seen to work, by the server's own canary.

use std::time::Instant;

use super::Sheet;
use super::flow::with_times;
use crate::canary::Canary;

impl Sheet<'_> {
    pub(super) fn put_canary(&mut self, canary: &Canary) {
        let now = Instant::now();
        self.page
            .gauge(
                "shopwire_canary_missing",
                "1 while the canary, an event of the server's own, has not come back for three times \
                 its interval and 2 s: nothing may be delivered although the process lives. /readyz \
                 says 503; the log says where it was lost.",
            )
            .sample(&[], f64::from(u8::from(canary.is_missing(now))));
        self.page
            .gauge(
                "shopwire_canary_age_seconds",
                "How long ago the canary came back last. It grows to the interval (canary) and falls; \
                 if it goes on growing, look at shopwire_canary_failures_total and the log.",
            )
            .sample(&[], canary.age(now).as_secs_f64());
        self.page
            .counter(
                "shopwire_canary_failures_total",
                "Times that the canary could not connect or was not back from every worker within 2 s. Single ones: \
                 the host is busy, or was being taken over.",
            )
            .sample(&[], canary.failures.get() as f64);
        let family = self.page.histogram(
            "shopwire_canary_round_trip_seconds",
            "From the canary's line on the ingest socket to its frame at the last of its WebSockets, one on \
             each worker: what a browser on this host would wait, Redis and TLS included. If it grows and \
             shopwire_delivery_latency_seconds does not: Redis, or the host's other load.",
        );
        drop(with_times(family, &[], &canary.round_trips));
    }
}
