//! What every thread of the process shares: read-only, or atomic.
//!
//! Made once by [`crate::server`]; the router and the reactors each hold it behind one Arc.

use std::time::Instant;

use crate::admission::Admission;
use crate::auth::Verifier;
use crate::clock::wall_ms;
use crate::config::Config;
use crate::event::{Epoch, NameHasher};
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
    /// The part of event ids that belongs to this run.
    pub epoch: Epoch,
    /// The body of `GET /api/ws/info`, which does not change.
    pub info: String,
}

impl Shared {
    /// The shared parts for this configuration.
    ///
    /// # Errors
    /// A sentence, if a key of the configuration cannot be used.
    pub fn new(config: Config, now: Instant) -> Result<Self, String> {
        let verifier = Verifier::new(&config.jwt)?;
        let info = info_body(&config);
        Ok(Self {
            verifier,
            admission: Admission::new(config.max_connections, config.connect_rate),
            stats: Stats::new(config.workers, now),
            hasher: NameHasher::default(),
            epoch: Epoch::new(wall_ms(), fastrand::u16(..)),
            info,
            config,
        })
    }

    /// When a token that says it ends at `expires_at` is no longer accepted (both in ms).
    pub fn token_end(&self, expires_at: u64) -> u64 {
        let leeway = u64::try_from(self.verifier.leeway().as_millis()).unwrap_or(u64::MAX);
        expires_at.saturating_add(leeway)
    }
}
