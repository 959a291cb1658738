//! SIGINT and SIGTERM: a run ends with an error, so that the server it has started is ended, too, and
//! its folder removed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};

static IS_INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on these signals are noted instead of ending the process.
///
/// # Errors
/// Where the kernel refuses.
pub fn watch() -> Result<(), String> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&IS_INTERRUPTED))
            .map_err(|error| format!("cannot watch for signals: {error}"))?;
    }
    Ok(())
}

/// To be asked once a turn.
///
/// # Errors
/// Where a signal has come.
pub fn check() -> Result<(), String> {
    if IS_INTERRUPTED.load(Ordering::Relaxed) {
        return Err("ended by a signal".into());
    }
    Ok(())
}
