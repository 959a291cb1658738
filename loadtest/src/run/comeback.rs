//! Those who come back during a run and are sent what they have missed: a client of their own, on a
//! thread of its own.
//!
//! The other connections are what is measured meanwhile: reading hundreds of megabytes must not hold up
//! reading theirs. So this thread is nicer than the other, by which it is let in wherever it wakes up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::plan::Comeback;
use super::session::LINGER;
use crate::accounting::Faults;
use crate::client::Client;
use crate::client::connection::Resume;
use crate::client::pace::Pace;
use crate::priority;
use crate::progress::Progress;

/// So much nicer than the thread that reads the others.
const NICER: i32 = 10;

/// The longest wait for readiness, so that the next one comes on time.
const WAIT_MAX: Duration = Duration::from_millis(10);

/// Those who come back, while they do.
pub struct Returning {
    thread: JoinHandle<Result<Returned, String>>,
    first_due: Instant,
    count: u32,
    caught_up: Arc<AtomicU32>,
}

/// What became of those who came back.
#[derive(Debug)]
pub struct Returned {
    /// How many came.
    pub count: u32,
    /// From when each was to come until it had all that there was, in microseconds.
    pub caught_up: Histogram<u64>,
    /// Events they were sent before that.
    pub replayed: u64,
    /// Bytes of the payloads of these.
    pub replayed_bytes: u64,
    /// What did not come as it should.
    pub faults: Faults,
    /// Those that ended without being told to, by reason.
    pub ended: BTreeMap<String, u32>,
}

/// What is asked for, and by whom.
struct Task {
    client: Client,
    comeback: Comeback,
    resume: Resume,
    first_due: Instant,
    progress: Arc<Progress>,
    grace: Duration,
    caught_up: Arc<AtomicU32>,
}

impl Returning {
    /// Lets connections of `client` come as `comeback` says, from `first_due` on, behind the event whose
    /// id is `since`. When sending has ended, what is missing is waited for no longer than `grace`.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub fn start(
        client: Client,
        comeback: Comeback,
        since: &str,
        first_due: Instant,
        progress: &Arc<Progress>,
        grace: Duration,
    ) -> Result<Self, String> {
        let caught_up = Arc::new(AtomicU32::new(0));
        let task = Task {
            client,
            comeback,
            resume: Resume {
                since: since.into(),
                from: 1,
                pace: comeback.pace.map(Pace::new),
            },
            first_due,
            progress: Arc::clone(progress),
            grace,
            caught_up: Arc::clone(&caught_up),
        };
        let thread = thread::Builder::new()
            .name("comeback".into())
            .spawn(move || {
                priority::be_nicer(NICER);
                task.attend()
            })
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Self {
            thread,
            first_due,
            count: comeback.count,
            caught_up,
        })
    }

    /// When the first one is to come.
    pub fn first_due(&self) -> Instant {
        self.first_due
    }

    /// Whether all of them have come and have caught up.
    pub fn have_caught_up(&self) -> bool {
        self.caught_up.load(Ordering::Relaxed) == self.count
    }

    /// Whether there is nothing more to wait for.
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until there is nothing more to wait for.
    ///
    /// # Errors
    /// Where a connection could not be begun, or the poll failed.
    pub fn join(self) -> Result<Returned, String> {
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Task {
    fn attend(mut self) -> Result<Returned, String> {
        let mut come = 0;
        // From the end of sending on.
        let mut deadline: Option<Instant> = None;
        let mut lingers = false;
        loop {
            let now = Instant::now();
            if self.progress.has_ended() {
                deadline.get_or_insert(now + self.grace);
            }
            // A run that is cut short ends before they are due.
            while deadline.is_none() && come < self.comeback.count && now >= self.due(come) {
                self.client
                    .come(Some(self.due(come)), Some(self.resume.clone()))?;
                come += 1;
            }
            if let Some(end) = &mut deadline {
                if !lingers && self.has_nothing_to_wait_for() {
                    lingers = true;
                    *end = now + LINGER;
                }
                if now >= *end {
                    return Ok(self.outcome(come));
                }
            }
            self.client.turn(WAIT_MAX)?;
            let caught_up = self.client.recorder.caught_up.len();
            self.caught_up.store(caught_up as u32, Ordering::Relaxed);
        }
    }

    fn due(&self, number: u32) -> Instant {
        self.first_due + self.comeback.every * number
    }

    fn has_nothing_to_wait_for(&self) -> bool {
        self.client.has_everything() || self.client.has_server_ended()
    }

    fn outcome(mut self, come: u32) -> Returned {
        self.client.give_up_on_hanging();
        let faults = self.client.faults(self.progress.settled());
        let Client {
            recorder, ended, ..
        } = self.client;
        Returned {
            count: come,
            replayed: recorder.replayed,
            replayed_bytes: recorder.replayed_bytes,
            caught_up: recorder.caught_up,
            faults,
            ended,
        }
    }
}
