//! What every thread of the process shares: read-only, or atomic.
//!
//! Made once by [`crate::server`]; the router and the reactors each hold it behind one Arc.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::admission::Admission;
use crate::auth::Verifier;
use crate::clock::WallClock;
use crate::config::Config;
use crate::event::{NameHasher, Runs};
use crate::http::info_body;
use crate::stats::Stats;

/// The shared parts.
pub struct Shared {
    /// The settings in force.
    pub config: Config,
    /// Judges tokens.
    pub verifier: Verifier,
    /// The gate.
    pub admission: Admission,
    /// Counters of all threads.
    pub stats: Stats,
    /// Hashes names alike in the router and in every reactor.
    pub hasher: NameHasher,
    /// The time of day.
    pub wall: WallClock,
    /// What event ids stand for.
    pub runs: Runs,
    newest: AtomicU64,
    /// The body of `GET /api/ws/info`, which does not change.
    pub info: String,
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
        let verifier = Verifier::new(&config.jwt)?;
        let info = info_body(&config);
        let stats = Stats::new(config.workers, config.tls.is_some(), now);
        let certificate_end = config.tls.as_ref().and_then(|tls| tls.identity.ends_at());
        stats
            .router
            .certificate_end
            .set(certificate_end.unwrap_or(0));
        Ok(Self {
            verifier,
            admission: Admission::new(config.max_connections, config.connect_rate),
            stats,
            hasher,
            wall: WallClock::System,
            newest: AtomicU64::new(runs.now().first - 1),
            runs,
            info,
            config,
        })
    }

    /// The number of the newest event that any client can have heard of; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// Tells the number of the newest event, before it is handed out. Only the router may call this.
    pub fn set_newest(&self, number: u64) {
        self.newest.store(number, Ordering::Release);
    }

    /// When a token that says it ends at `expires_at` is no longer accepted (both in ms).
    pub fn token_end(&self, expires_at: u64) -> u64 {
        let leeway = u64::try_from(self.verifier.leeway().as_millis()).unwrap_or(u64::MAX);
        expires_at.saturating_add(leeway)
    }
}
