//! A flag beside a loop's poll, so that whoever has something for the loop makes a syscall only if it
//! sleeps.

use super::primitives::{Arc, AtomicBool, Ordering, Waker, fence};

/// Wakes one loop's poll, by a syscall only if that loop sleeps.
pub struct Doorbell {
    asleep: AtomicBool,
    waker: Waker,
}

impl Doorbell {
    /// A doorbell of the loop that `waker` wakes.
    pub fn on(waker: Waker) -> Arc<Self> {
        Arc::new(Self {
            asleep: AtomicBool::new(false),
            waker,
        })
    }

    /// Wakes the loop if it sleeps, or is about to. Call after what it shall see is in place.
    pub fn ring(&self) {
        // Pairs with the fence in `about_to_sleep`: either the sleeper sees our message when it
        // looks once more, or we see that it sleeps.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed)
            && self.asleep.swap(false, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            // An eventfd write fails only if the descriptor is gone, that is, at exit.
            log::debug!("waking a loop failed: {error}");
        }
    }

    /// The loop is about to block; it must look at its rings once more after this.
    pub fn about_to_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The loop runs again.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}
