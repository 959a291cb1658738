//! What is told while a run goes on: one line on standard error, now and then.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time between two lines.
const EVERY: Duration = Duration::from_secs(1);

/// Tells how a run goes.
#[derive(Debug)]
pub struct Console {
    is_quiet: bool,
    is_terminal: bool,
    last: Cell<Option<Instant>>,
}

impl Console {
    /// A console that says nothing if `is_quiet`.
    pub fn new(is_quiet: bool) -> Self {
        Self {
            is_quiet,
            is_terminal: std::io::stderr().is_terminal(),
            last: Cell::new(None),
        }
    }

    /// Says a line, unless one was said just now. On a terminal it takes the last one's place.
    pub fn say(&self, line: impl FnOnce() -> String) {
        let is_due = self.last.get().is_none_or(|last| last.elapsed() >= EVERY);
        if self.is_quiet || !is_due {
            return;
        }
        self.last.set(Some(Instant::now()));
        if self.is_terminal {
            eprint!("\r\x1b[K{}", line());
            // A terminal that is gone needs no progress.
            std::io::stderr().flush().unwrap_or_default();
        } else {
            eprintln!("{}", line());
        }
    }

    /// Ends the line that is rewritten, so that what follows stands below it.
    pub fn end(&self) {
        if self.is_terminal && !self.is_quiet && self.last.get().is_some() {
            eprintln!();
        }
    }
}
