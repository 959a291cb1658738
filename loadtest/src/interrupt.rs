//! SIGINT and SIGTERM. The first one asks for an early end: nothing more is sent, what is under way is
//! waited for, and the report tells what was measured until then. The second one ends the program at
//! once, and with it whatever it has started.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, process, thread};

use rustix::process::{Signal, pidfd_send_signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Whether an early end was asked for. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    is_asked_for: Arc<AtomicBool>,
    started: Arc<Mutex<Vec<Started>>>,
}

/// What must not outlive this program.
#[derive(Debug)]
struct Started {
    process: OwnedFd,
    folder: PathBuf,
}

impl Interrupt {
    /// From now on these signals are heeded instead of ending the process.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn watch(&self) -> Result<(), String> {
        let failed = |error| format!("cannot watch for signals: {error}");
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
        let interrupt = self.clone();
        let watch = move || {
            for signal in signals.forever() {
                if interrupt.is_asked_for() {
                    interrupt.end_at_once(signal);
                }
                interrupt.ask();
            }
        };
        let thread = thread::Builder::new().name("signals".into());
        thread.spawn(watch).map(drop).map_err(failed)
    }

    /// Whether an early end was asked for.
    pub fn is_asked_for(&self) -> bool {
        self.is_asked_for.load(Ordering::Relaxed)
    }

    /// Asks for an early end.
    pub fn ask(&self) {
        self.is_asked_for.store(true, Ordering::Relaxed);
    }

    /// A process that was started, and its folder: neither is left behind by an end at once.
    pub fn takes_along(&self, process: OwnedFd, folder: PathBuf) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.push(Started { process, folder });
    }

    fn end_at_once(&self, signal: i32) -> ! {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        for Started { process, folder } in started.drain(..) {
            // Either may be gone already.
            pidfd_send_signal(process, Signal::KILL).unwrap_or_default();
            fs::remove_dir_all(folder).unwrap_or_default();
        }
        process::exit(128 + signal)
    }
}
