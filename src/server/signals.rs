//! SIGTERM and SIGINT: the first drains, the second ends at once. SIGHUP: settings, keys and certificates
//! are read again.
//! SIGXFSZ: a write fails.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::engine::Orders;
use crate::ring::Doorbell;

/// Watches for signals on a thread of its own, which sets `orders` and wakes the router.
pub fn watch(router: Arc<Doorbell>, orders: Arc<Orders>) -> Result<(), String> {
    let start = || -> io::Result<()> {
        // A journal over the process's file size limit is as one on a full disk: no reason to end.
        signal_hook::flag::register(SIGXFSZ, Arc::default())?;
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let mut asked = false;
                for signal in signals.forever() {
                    if signal == SIGHUP {
                        orders.reload.store(true, Ordering::Relaxed);
                        router.ring();
                        continue;
                    }
                    if std::mem::replace(&mut asked, true) {
                        log::warn!("a second signal: ending at once");
                        // 128 + signal is how shells tell an end by a signal.
                        std::process::exit(128 + signal);
                    }
                    orders.drain.store(true, Ordering::Relaxed);
                    router.ring();
                }
            })?;
        Ok(())
    };
    start().map_err(|error| format!("could not watch for signals: {error}"))
}
