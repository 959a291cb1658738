//! The journal: a folder in which history survives the process, and the machine's power.
//!
//! Owned by the router, the only one that writes. A block is written when it is handed down, before
//! any browser can see it: so whatever a client has seen, no kill of the process takes away. It is
//! *safe* when a sync is through, which a thread of its own waits for; emitters' acks wait with it,
//! deliveries do not. While one sync is on its way, the blocks that come share the next one.
//!
//! | file | what it answers |
//! |---|---|
//! | `record`, `body` | how bytes lie in a file |
//! | `segment`, `keys_file` | the files of events, and of keys alone |
//! | `writing` | what becomes of events that are not safe yet |
//! | `files`, `shelf` | which file is written to, and which are not needed any more |
//! | `recovery` | what earlier runs have left |
//! | `revoked_file` | whose tokens are refused |
//! | `whole_file` | how short files are written |
//! | `disk`, `syncer` | what can fail or take long, and the thread that waits for it |
//!
//! The format is documented in docs/journal.md. If the folder cannot be written, events are still
//! delivered; emitters are told `unavailable`, and what is not written waits in memory, as much as
//! the history keeps, until it can be.

mod body;
mod disk;
mod files;
mod folder;
mod keys_file;
mod record;
mod recovery;
pub mod revoked_file;
mod segment;
mod shelf;
mod syncer;
mod whole_file;
mod writing;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::clock::Now;
use crate::event::{Block, Runs};
use crate::limits;
pub use body::{AgedKey, Key};
pub use disk::{Disk, Job, Synced};
use files::OpenSegment;
pub use folder::Folder;
pub use recovery::Past;
pub use segment::Preface;
pub use shelf::Retention;
use shelf::Shelf;
pub use syncer::Syncer;

/// When what has been written is made safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// At once, many events at a time; acks wait for it.
    Batch,
    /// So often; acks do not wait.
    Interval(Duration),
    /// When the kernel sees fit; acks do not wait.
    Never,
}

/// What a journal does.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How much it keeps.
    pub retention: Retention,
    /// When it makes safe what has been written.
    pub policy: SyncPolicy,
}

/// Where a journal goes on.
pub struct Beginning {
    /// What its files begin with.
    pub preface: Preface,
    /// The number of the newest event that is in it.
    pub newest: u64,
}

/// The journal of a running server.
pub struct Journal {
    preface: Arc<Preface>,
    policy: SyncPolicy,
    retention: Retention,
    /// The file that is being appended to; the next append begins one if there is none.
    segment: Option<OpenSegment>,
    next_file: u64,
    shelf: Shelf,
    /// What is not safe yet, oldest first.
    waiting: VecDeque<Entry>,
    /// What it weighs, in bytes.
    waiting_weight: usize,
    /// Entries of it, the first ones, that are written.
    written: usize,
    /// The number up to which events were let go of unwritten: nobody waits for them.
    forgotten_to: u64,
    /// The number up to which events are written.
    written_to: u64,
    /// The number up to which they are safe.
    safe_to: u64,
    /// Files of earlier runs that no sync of this one has covered: whether what was found in them is
    /// safe, nobody knows yet ...
    inherited: Vec<Arc<File>>,
    /// ... and the number up to which their events go.
    inherited_to: u64,
    /// Files with something in them that was written since the last sync began.
    unsynced: Vec<Arc<File>>,
    /// One of them is new.
    has_new_file: bool,
    /// A sync is on its way, for events up to this number.
    syncing: Option<u64>,
    last_sync: Instant,
    disk: Box<dyn Disk>,
    trouble: Option<Trouble>,
    has_news: bool,
    heads: Vec<u8>,
    /// Syncs that went well.
    syncs: u64,
    sync_time: Duration,
    /// When to look for files that are not needed any more.
    next_tidy: Instant,
    /// There may be some, and they are to be removed when it is safe to.
    is_retiring: bool,
    /// Given back last of all: nobody else writes while the last sync is on its way.
    folder: Folder,
}

/// Events that are not safe yet.
struct Entry {
    block: Arc<Block>,
    keys: Vec<Key>,
    wall_ms: u64,
}

/// Why the journal does not work, and when it tries again.
struct Trouble {
    reason: String,
    again: Instant,
}

/// Where a journal stands, to be taken over by another process.
#[derive(Serialize, Deserialize)]
pub struct JournalState {
    next_file: u64,
    shelf: Shelf,
}

/// What there is to tell of a journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// It cannot be written.
    pub is_failing: bool,
    /// Bytes of events on disk.
    pub bytes: u64,
    /// Syncs so far.
    pub syncs: u64,
    /// What the last one took, in microseconds.
    pub sync_micros: u64,
}

impl Journal {
    /// Begins to write where `past` ended, in a file of this run's own.
    pub fn start(
        folder: Folder,
        past: &mut Past,
        runs: &Runs,
        secret: (u64, u64),
        policy: SyncPolicy,
        disk: Box<dyn Disk>,
        now: Now,
    ) -> Journal {
        let inherited = std::mem::take(&mut past.files);
        let state = JournalState {
            next_file: past.newest_file + 1,
            shelf: std::mem::take(&mut past.shelf),
        };
        let beginning = Beginning {
            preface: Preface::new(secret, runs),
            newest: runs.now().first - 1,
        };
        let terms = Terms {
            retention: past.retention(),
            policy,
        };
        let mut journal = Journal::go_on(folder, state, beginning, terms, disk, now);
        if !inherited.is_empty() {
            journal.inherited = inherited;
            journal.safe_to = 0;
        }
        // This run's ids must be known to the next one, whether there will be events or not.
        if let Err(error) = journal.begin_segment(now.instant) {
            journal.on_trouble(&error, now.instant);
        }
        journal.tidy(now);
        journal.begin_sync(now.instant);
        journal
    }

    /// Goes on with the journal of another process.
    pub fn go_on(
        folder: Folder,
        state: JournalState,
        beginning: Beginning,
        terms: Terms,
        disk: Box<dyn Disk>,
        now: Now,
    ) -> Journal {
        let Beginning { preface, newest } = beginning;
        let Terms { retention, policy } = terms;
        Journal {
            preface: Arc::new(preface),
            policy,
            retention,
            segment: None,
            next_file: state.next_file,
            shelf: state.shelf,
            waiting: VecDeque::new(),
            waiting_weight: 0,
            written: 0,
            forgotten_to: 0,
            written_to: newest,
            safe_to: newest,
            inherited: Vec::new(),
            inherited_to: newest,
            unsynced: Vec::new(),
            // The name of an inherited file may be as unsafe as what is in it.
            has_new_file: true,
            syncing: None,
            last_sync: now.instant,
            disk,
            trouble: None,
            has_news: false,
            heads: Vec::new(),
            syncs: 0,
            sync_time: Duration::ZERO,
            next_tidy: now.instant,
            is_retiring: false,
            folder,
        }
    }

    /// Whether all is written, and safe as far as the policy wants it to be.
    pub fn is_settled(&self) -> bool {
        self.trouble.is_none()
            && self.written == self.waiting.len()
            && self.safe_to() == self.written_to
            && self.syncing.is_none()
    }

    /// Makes everything safe and ends the file in use, so that another process can go on. So can this
    /// one, if it must.
    ///
    /// # Errors
    /// If something is not written, or cannot be made safe.
    pub fn hand_over(&mut self, now: Now) -> io::Result<JournalState> {
        while self.syncing.is_some() || (self.trouble.is_none() && self.has_unsynced()) {
            if self.syncing.is_none() {
                self.ask_for_sync();
            }
            let synced = self.disk.wait();
            self.on_synced(synced, now);
        }
        if let Some(trouble) = self.trouble() {
            return Err(io::Error::other(trouble.to_owned()));
        }
        self.finish_segment(now.instant);
        Ok(JournalState {
            next_file: self.next_file,
            shelf: self.shelf.clone(),
        })
    }

    /// What keeps others out of the folder.
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.folder.lock()
    }

    /// Another process has it: ends without touching a file.
    pub fn give_away(mut self) {
        self.waiting.clear();
        self.written = 0;
        self.unsynced.clear();
    }

    /// Writes blocks that are about to be handed down. `keys` are those of their events, in order.
    pub fn append(&mut self, blocks: &[Arc<Block>], keys: &[Key], now: Now) {
        let mut keys = keys;
        for block in blocks {
            let count = keys.partition_point(|key| key.number <= block.last_id());
            let (own, rest) = keys.split_at(count);
            keys = rest;
            self.waiting_weight += block.weight();
            self.waiting.push_back(Entry {
                block: Arc::clone(block),
                keys: own.to_vec(),
                wall_ms: now.wall_ms,
            });
        }
        self.write(now.instant);
        self.begin_sync(now.instant);
        // What waits for a journal in trouble is in memory anyway, as long as the history keeps it: by
        // the same rule.
        while self.trouble.is_some()
            && let Some(front) = self.waiting.front()
            && self.waiting_weight - front.block.weight() >= self.retention.weight
        {
            self.forgotten_to = front.block.last_id();
            self.forget_front();
        }
    }

    /// Takes note of what the disk has done, and does what is due.
    pub fn turn(&mut self, now: Now) {
        while let Some(synced) = self.disk.try_take() {
            self.on_synced(synced, now);
        }
        self.write(now.instant);
        self.begin_sync(now.instant);
        if now.instant >= self.next_tidy {
            self.tidy(now);
        }
    }

    /// Whether there is something to take note of at once.
    pub fn has_news(&self) -> bool {
        self.disk.has_answer()
    }

    /// When to turn, though nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        let retry = self.trouble.as_ref().map(|trouble| trouble.again);
        let sync = match self.policy {
            SyncPolicy::Interval(every) if !self.unsynced.is_empty() && self.syncing.is_none() => {
                Some(self.last_sync + every)
            }
            _ => None,
        };
        retry.into_iter().chain(sync).chain([self.next_tidy]).min()
    }

    /// The number up to which acks may go out.
    pub fn safe_to(&self) -> u64 {
        match self.policy {
            SyncPolicy::Batch => self.safe_to,
            SyncPolicy::Interval(_) | SyncPolicy::Never => self.written_to,
        }
    }

    /// Why events beyond [`Journal::written_to`] will not become safe for now, if so.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|trouble| trouble.reason.as_str())
    }

    /// The number up to which events are written.
    pub fn written_to(&self) -> u64 {
        self.written_to
    }

    /// Whether either has changed since the last time this was asked.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// Whether the disk is so far behind that no more events should be taken in.
    pub fn is_behind(&self) -> bool {
        self.trouble.is_none()
            && self.policy == SyncPolicy::Batch
            && self.waiting_weight > limits::JOURNAL_BEHIND_MAX
    }

    /// What there is to tell.
    pub fn report(&self) -> Report {
        Report {
            is_failing: self.trouble.is_some(),
            bytes: self.shelf.len() + self.segment.as_ref().map_or(0, |open| open.segment.len),
            syncs: self.syncs,
            sync_micros: u64::try_from(self.sync_time.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl Drop for Journal {
    /// At the end of the process, everything is safe that can be.
    fn drop(&mut self) {
        let now = Instant::now();
        self.trouble = None;
        self.write(now);
        if self.policy != SyncPolicy::Never && self.has_unsynced() {
            self.ask_for_sync();
        }
    }
}

#[cfg(test)]
mod tests;
