//! Redis, where several hosts act as one through it.

use super::Sheet;
use super::flow::with_times;
use crate::cluster::Status;

impl Sheet<'_> {
    pub(super) fn put_redis(&mut self, status: &Status) {
        let redis = &self.stats.redis;
        self.page
            .gauge(
                "shopwire_redis_connected",
                "1 while Redis is in reach. At 0 nothing is delivered, lines wait up to 5 s and \
                 are then answered unavailable, and /readyz says 503; the log has the reason.",
            )
            .sample(&[], f64::from(u8::from(status.is_up())));
        self.page
            .counter(
                "shopwire_redis_losses_total",
                "How often Redis went out of reach. Now and then is a failover or a restart; \
                 often, the network between, or a Redis that is too slow.",
            )
            .sample(&[], status.losses() as f64);
        self.page
            .counter(
                "shopwire_redis_entries_total",
                "Entries of the stream, by direction: written (by this host), read (those of all \
                 hosts, its own too). All hosts read alike; one that reads less is behind.",
            )
            .sample(&[("direction", "written")], redis.written.get() as f64)
            .sample(&[("direction", "read")], redis.read.get() as f64);
        self.page
            .gauge(
                "shopwire_redis_waiting_events",
                "Events given to Redis that have not been read back; their acks wait. With 32 MiB \
                 of them emitters are held up.",
            )
            .sample(&[], redis.waiting.get() as f64);
        self.page
            .gauge(
                "shopwire_redis_local_events",
                "Events that were delivered on this host alone, with redis-outage = local, and that \
                 the other hosts are still to have. A host that ends before takes them with it.",
            )
            .sample(&[], redis.alone.get() as f64);
        self.page
            .gauge(
                "shopwire_redis_lag_seconds",
                "How old the newest entry was when it was read, by Redis' clock and this host's: \
                 clocks that differ show here. If it grows: this host or the network is too slow.",
            )
            .sample(&[], redis.lag_ms.get() as f64 / 1000.0);
        let family = self.page.histogram(
            "shopwire_redis_round_trip_seconds",
            "From giving a batch to Redis to having read it back, which every event of this host \
             waits for. If it grows: Redis (redis-cli --latency), its disk where appendfsync is \
             always, or the network.",
        );
        drop(with_times(family, &[], &redis.round_trips));
    }
}
