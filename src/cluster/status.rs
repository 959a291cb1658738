//! Whether Redis is in reach: told by the two threads that talk to it, read by everybody.
//!
//! Part of what all threads share. One log line for each change, whichever thread notices it first.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits;

/// One of the two threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The one that writes to the stream.
    Writer,
    /// The one that reads it.
    Reader,
}

/// The state of the connection with Redis.
#[derive(Default)]
pub struct Status {
    is_up: AtomicBool,
    has_begun: AtomicBool,
    is_blocked: AtomicBool,
    sent_to: AtomicU64,
    ends: Mutex<Ends>,
    statistics: Mutex<Option<Arc<str>>>,
}

#[derive(Default)]
struct Ends {
    are_up: [bool; 2],
    /// Since when it is out of reach, if that was told.
    down_since: Option<Instant>,
    /// How often it was told.
    losses: u64,
    /// Why each of them is down.
    reasons: [String; 2],
    /// The reasons that were logged since, and when.
    told: Vec<(String, Instant)>,
}

/// Reasons of one outage that are remembered, so that they are not logged again and again.
const REASONS_MAX: usize = 16;
/// A reason that comes back after others is logged again after so long.
const REASON_AGAIN: Duration = Duration::from_secs(60);

impl Status {
    /// Whether both threads have a working connection, and the reactors know where history begins.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed) && self.has_begun()
    }

    /// Whether the reactors know where history begins.
    pub fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// The reactors have been told where history begins: who comes from now on comes behind that.
    pub fn begun(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    /// Whether Redis is well, and an id that is not ours keeps everything out of the stream.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    /// Tells so, or that it is over. Only the writer may call this.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    /// Up to which one of this host's batches any may have got to Redis, and to other hosts.
    pub fn sent_to(&self) -> u64 {
        self.sent_to.load(Ordering::SeqCst)
    }

    /// Tells so, before they are sent.
    pub fn set_sent_to(&self, batch: u64) {
        self.sent_to.fetch_max(batch, Ordering::SeqCst);
    }

    /// This thread has a working connection.
    pub fn up(&self, end: End, now: Instant) {
        let mut ends = lock(&self.ends);
        ends.are_up[end as usize] = true;
        if ends.are_up != [true; 2] || self.is_up.load(Ordering::Relaxed) {
            return;
        }
        self.is_up.store(true, Ordering::Relaxed);
        match ends.down_since.take() {
            None => log::info!("Redis is connected"),
            Some(since) => {
                ends.reasons = Default::default();
                ends.told.clear();
                let seconds = now.saturating_duration_since(since).as_secs_f64();
                log::info!("Redis is in reach again, after {seconds:.1} s");
            }
        }
    }

    /// This one has none, for this reason.
    pub fn down(&self, end: End, reason: &str, address: &str, now: Instant) {
        let mut ends = lock(&self.ends);
        // The other one's may be broken, too, and not have shown it yet.
        ends.are_up = [false; 2];
        self.is_up.store(false, Ordering::Relaxed);
        let what = if self.is_blocked() {
            "closed to new entries"
        } else {
            "out of reach"
        };
        if ends.down_since.is_none() {
            ends.down_since = Some(now);
            ends.losses += 1;
            ends.is_to_be_told(end, reason, now);
            log::error!(address, reason; "Redis is {what}, and is tried again");
        } else if ends.is_to_be_told(end, reason, now) {
            log::error!(address, reason; "Redis is still {what}, for another reason");
        }
    }

    /// Since when it is out of reach, if that was noticed.
    pub fn down_since(&self) -> Option<Instant> {
        lock(&self.ends).down_since
    }

    /// How often it went out of reach.
    pub fn losses(&self) -> u64 {
        lock(&self.ends).losses
    }

    /// The statistics of all hosts, as JSON; none before they were asked for the first time.
    pub fn statistics(&self) -> Option<Arc<str>> {
        lock(&self.statistics).clone()
    }

    /// Replaces them.
    pub fn set_statistics(&self, json: String) {
        *lock(&self.statistics) = Some(json.into());
    }
}

impl Ends {
    /// Whether this is another reason than before, for this thread, and than the other one's.
    fn is_to_be_told(&mut self, end: End, reason: &str, now: Instant) -> bool {
        let is_known = self.reasons.iter().any(|known| known == reason);
        reason.clone_into(&mut self.reasons[end as usize]);
        if is_known {
            return false;
        }
        let pause = |at: Instant| now.saturating_duration_since(at);
        self.told.retain(|&(_, at)| pause(at) < REASON_AGAIN);
        if self.told.len() >= REASONS_MAX || self.told.iter().any(|(told, _)| told == reason) {
            return false;
        }
        self.told.push((reason.to_owned(), now));
        true
    }
}

/// What is in them is whole, whatever has happened to another thread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long to wait before the next try.
#[derive(Default)]
pub struct Backoff {
    tries: u32,
    has_passed_over: bool,
}

impl Backoff {
    /// Twice as long as before, and by chance up to half of that less: hosts shall not come all at once.
    pub fn wait(&mut self) -> Duration {
        let whole = limits::REDIS_RETRY_MIN
            .saturating_mul(1 << self.tries.min(16))
            .min(limits::REDIS_RETRY_MAX);
        self.tries += 1;
        whole.mul_f64(1.0 - fastrand::f64() / 2.0)
    }

    /// A failure that has nothing to do with Redis being well: whether it is to be tried again at once and
    /// without a word, which is so once before it has worked again.
    pub fn passes_over(&mut self) -> bool {
        !std::mem::replace(&mut self.has_passed_over, true)
    }

    /// It has worked.
    pub fn reset(&mut self) {
        *self = Backoff::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_up_while_both_ends_are() {
        let (status, now) = (Status::default(), Instant::now());
        status.up(End::Reader, now);
        status.begun();
        assert!(!status.is_up());
        status.up(End::Writer, now);
        assert!(status.is_up());
        // Whichever breaks first, both have to show that they work again.
        for [first, then] in [[End::Reader, End::Writer], [End::Writer, End::Reader]] {
            status.down(End::Reader, "it broke", "here", now);
            status.up(first, now);
            assert!(!status.is_up());
            assert_eq!(status.down_since(), Some(now));
            status.up(then, now);
            assert!(status.is_up());
            assert_eq!(status.down_since(), None);
        }
        assert_eq!(status.losses(), 2);
    }

    #[test]
    fn another_reason_is_told_once_and_again_only_after_a_while() {
        let (mut ends, start) = (Ends::default(), Instant::now());
        let mut is_told = |end, reason, seconds| {
            ends.is_to_be_told(end, reason, start + Duration::from_secs(seconds))
        };
        assert!(is_told(End::Writer, "refused", 0));
        assert!(!is_told(End::Reader, "refused", 0));
        assert!(!is_told(End::Writer, "refused", 100), "for hours");
        assert!(is_told(End::Writer, "password", 100));
        // Each of them has its own, by turns.
        for seconds in 101..400 {
            assert!(!is_told(End::Reader, "refused", seconds));
            assert!(!is_told(End::Writer, "password", seconds));
        }
        // One has two of them.
        assert!(!is_told(End::Reader, "password", 400));
        assert!(is_told(End::Reader, "loading", 401));
        assert!(!is_told(End::Writer, "loading", 401));
        assert!(is_told(End::Writer, "password", 402));
        assert!(!is_told(End::Reader, "password", 403));
        let many: Vec<String> = (0..REASONS_MAX * 2).map(|n| n.to_string()).collect();
        let told = many.iter().filter(|reason| {
            ends.is_to_be_told(End::Reader, reason, start + Duration::from_secs(404))
        });
        assert!(told.count() < REASONS_MAX);
    }

    #[test]
    fn what_passes_is_passed_over_once_until_it_works() {
        let mut backoff = Backoff::default();
        assert!(backoff.passes_over() && !backoff.passes_over());
        backoff.reset();
        assert!(backoff.passes_over());
    }

    #[test]
    fn tries_come_later_and_later_up_to_a_bound_and_never_at_once() {
        let mut backoff = Backoff::default();
        for whole in [50, 100, 200, 400, 800, 1600, 2000, 2000].map(Duration::from_millis) {
            let next = backoff.wait();
            assert!(whole / 2 <= next && next <= whole, "{next:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.wait() <= limits::REDIS_RETRY_MIN);
    }
}
