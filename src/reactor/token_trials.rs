//! Judging the tokens that handshakes, requests and refreshes show, so that bad ones cost little.
//!
//! Part of the reactor. A good token is let in from any address: who shares one with an attacker is not to suffer
//! for it. So a token is checked although its address is over its connect rate, but only while few of those were
//! bad of late: a check of a signature costs far more than a refusal.

use std::net::IpAddr;

use crate::auth::{Identity, TokenError};
use crate::limits;
use crate::live::Live;
use crate::rate::{Bucket, Rate};
use crate::shared::Shared;
use crate::wire::Refusal;

/// How many bad ones came of late from addresses that were over their rate.
#[derive(Default)]
pub(super) struct TokenTrials {
    bad: Bucket,
}

impl TokenTrials {
    /// Judges `token`; `within_rate` is whether its address still may try, or in how many nanoseconds it may again.
    ///
    /// # Errors
    /// In how many nanoseconds the address may try again: the token was not looked at.
    pub(super) fn judge(
        &mut self,
        shared: &Shared,
        live: &Live,
        token: &str,
        within_rate: Result<(), u64>,
        now_ns: u64,
    ) -> Result<Result<Identity, TokenError>, u64> {
        let rate = Rate::per_minute(limits::BAD_TOKENS_PER_MINUTE);
        if let Err(wait_ns) = within_rate
            && rate.take(&mut self.bad, now_ns).is_err()
        {
            return Err(wait_ns);
        }
        let judged = live.verifier.verify(token, shared.wall.ms());
        if within_rate.is_err() && judged.is_ok() {
            rate.give_back(&mut self.bad);
        }
        Ok(judged)
    }

    /// Judges the token of a request that is no handshake: it takes from what its address may try, unless it is good.
    ///
    /// # Errors
    /// 429, without a look at the token; also for a bad one, once its address is over its rate.
    pub(super) fn judge_request(
        &mut self,
        shared: &Shared,
        live: &Live,
        token: &str,
        ip: IpAddr,
        now_ns: u64,
    ) -> Result<Result<Identity, TokenError>, Refusal> {
        let within_rate = shared.admission.take_handshake(ip, now_ns);
        let judged = self.judge_counted(shared, live, token, ip, within_rate, now_ns);
        match (within_rate, judged.map_err(rate_limited)?) {
            (Err(wait_ns), Err(_)) => Err(rate_limited(wait_ns)),
            (_, judged) => Ok(judged),
        }
    }

    /// Judges the token that a connection shows to refresh the one in force; it counts as one of a request does. Who
    /// is connected hears what is wrong with it also over the rate, as by its first one: a page whose token has ended
    /// has to know that it needs another.
    ///
    /// # Errors
    /// As [`TokenTrials::judge`].
    pub(super) fn judge_refresh(
        &mut self,
        shared: &Shared,
        live: &Live,
        token: &str,
        ip: IpAddr,
        now_ns: u64,
    ) -> Result<Result<Identity, TokenError>, u64> {
        let within_rate = shared.admission.take_handshake(ip, now_ns);
        self.judge_counted(shared, live, token, ip, within_rate, now_ns)
    }

    /// Judges a token for which a place of the address's rate was taken, and gives that back if it is good.
    fn judge_counted(
        &mut self,
        shared: &Shared,
        live: &Live,
        token: &str,
        ip: IpAddr,
        within_rate: Result<(), u64>,
        now_ns: u64,
    ) -> Result<Result<Identity, TokenError>, u64> {
        let judged = self.judge(shared, live, token, within_rate, now_ns)?;
        if within_rate.is_ok() && judged.is_ok() {
            shared.admission.give_back_handshake(ip);
        }
        Ok(judged)
    }
}

/// 429: this address may try again in so many nanoseconds.
pub(super) fn rate_limited(wait_ns: u64) -> Refusal {
    let refusal = Refusal::new(429, "rate_limited", "too many attempts from this address");
    let seconds = u32::try_from(wait_ns.div_ceil(1_000_000_000)).unwrap_or(u32::MAX);
    refusal.with_retry_after(seconds)
}
