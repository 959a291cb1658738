//! What every thread of the process shares: read-only, or atomic.
//!
//! Made once by [`crate::server`]; the router and the reactors each hold it behind one Arc.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::admission::Admission;
use crate::auth::Revocations;
use crate::canary::Canary;
use crate::clock::WallClock;
use crate::cluster;
use crate::config::{Config, RedisOutage};
use crate::event::{NameHasher, Runs};
use crate::live::Live;
use crate::stats::{Reach, Snapshot, Stats};

/// The shared parts.
pub struct Shared {
    /// The settings at start. Those of them that may change are to be read from [`Live::config`].
    pub config: Arc<Config>,
    /// What router and reactors begin with, and replace after a reload.
    pub at_start: Arc<Live>,
    /// The gate.
    pub admission: Admission,
    /// Whose tokens are refused.
    pub revoked: Arc<Revocations>,
    /// Counters of all threads.
    pub stats: Stats,
    /// Hashes names alike in the router and in every reactor.
    pub hasher: NameHasher,
    /// Whether Redis is in reach, where there is one.
    pub cluster: Option<Arc<cluster::Status>>,
    /// What shows that delivery works, where it is wanted.
    pub canary: Option<Canary>,
    /// The time of day.
    pub wall: WallClock,
    /// What event ids stand for.
    pub runs: Runs,
    newest: AtomicU64,
}

impl Shared {
    /// The shared parts for this configuration and this run.
    ///
    /// # Errors
    /// A sentence, if a key of the configuration cannot be used.
    pub fn new(
        config: Config,
        hasher: NameHasher,
        runs: Runs,
        now: Instant,
    ) -> Result<Self, String> {
        let (config, revoked) = (Arc::new(config), Arc::<Revocations>::default());
        if config.redis_url.is_some() {
            revoked.await_others();
        }
        let canary = (!config.canary.is_zero())
            .then(|| Canary::new(config.canary))
            .transpose()?;
        let own_pass = canary.as_ref().map(Canary::pass);
        let at_start = Arc::new(Live::new(Arc::clone(&config), &revoked, own_pass)?);
        if let Some(canary) = &canary {
            canary.renew(Arc::clone(&at_start));
        }
        let stats = Stats::new(config.workers, config.tls.is_some(), now);
        stats.router.certificate_end.set(at_start.certificate_end());
        Ok(Self {
            at_start,
            revoked,
            admission: Admission::new(
                config.max_connections,
                config.reserved_share,
                config.connect_rate,
            ),
            stats,
            hasher,
            canary,
            cluster: config.redis_url.is_some().then(Arc::default),
            wall: WallClock::System,
            newest: AtomicU64::new(runs.now().first - 1),
            runs,
            config,
        })
    }

    /// Why a load balancer does best to send newcomers elsewhere, if so: `/readyz` says it.
    pub fn obstacle(&self) -> Option<&'static str> {
        if self.admission.is_draining() {
            return Some("draining");
        }
        // Some of its browsers get nothing, and soon nobody does: what one loop does not take holds up all.
        if self.stats.any_hangs() {
            return Some("worker hangs");
        }
        // Nobody new can emit here.
        if self.stats.router.ingest_missing.get() != 0 {
            return Some("ingest socket missing");
        }
        // Events are delivered, but emitters are told that they are not safe.
        if self.stats.journal.is_failing() {
            return Some("journal unavailable");
        }
        if self.is_cut_off() && !self.delivers_alone() {
            return Some(if self.is_blocked() {
                "Redis stream blocked"
            } else {
                "Redis unavailable"
            });
        }
        if self.admission.is_overloaded() {
            return Some("overloaded");
        }
        // Last: what stands above explains it.
        let canary = self.canary.as_ref();
        canary
            .is_some_and(|canary| canary.is_missing(Instant::now()))
            .then_some("canary missing")
    }

    /// The statistics at this moment.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let reach = self.cluster.as_ref().map(|redis| Reach {
            is_connected: redis.is_up(),
            delivers_alone: self.delivers_alone(),
            down_for: redis
                .down_since()
                .map(|since| now.saturating_duration_since(since)),
        });
        self.stats.snapshot(now, reach)
    }

    fn is_cut_off(&self) -> bool {
        self.cluster.as_ref().is_some_and(|redis| !redis.is_up())
    }

    /// Whether it is only that somebody else has written to the stream what keeps everything out of it.
    pub fn is_blocked(&self) -> bool {
        let is_blocked = |redis: &Arc<cluster::Status>| redis.is_blocked();
        self.cluster.as_ref().is_some_and(is_blocked)
    }

    /// Whether Redis is out of reach, and this host delivers its own events alone.
    pub fn delivers_alone(&self) -> bool {
        let has_begun = |redis: &Arc<cluster::Status>| redis.has_begun();
        self.config.redis_outage == RedisOutage::Local
            && self.is_cut_off()
            && self.cluster.as_ref().is_some_and(has_begun)
    }

    /// The number of the newest event that any client can have heard of; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// Tells the number of the newest event, before it is handed out. Only the router may call this.
    pub fn set_newest(&self, number: u64) {
        self.newest.store(number, Ordering::Release);
    }
}
