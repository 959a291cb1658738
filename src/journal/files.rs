//! Which file the journal writes to, and which of its files go.
//!
//! Part of the journal. A file is followed by the next one when it is full or old, so that whole files
//! can be let go of; there is always one that tells where numbers are.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::Job;
use super::segment::{EVENTS, KEYS, Segment, number_of, path_of};
use super::shelf::{self, Retired};
use super::{Journal, SyncPolicy};
use crate::clock::Now;
use crate::limits;

/// The segment in use, with what the shelf will want to know of it.
pub(super) struct OpenSegment {
    pub(super) segment: Segment,
    pub(super) file: shelf::Events,
    opened: Instant,
}

impl Journal {
    pub(super) fn begin_segment(&mut self, now: Instant) -> io::Result<()> {
        // Each number is tried once: where one is taken already, the next will do.
        let number = self.next_file;
        self.next_file += 1;
        let path = path_of(self.folder.path(), number, EVENTS);
        let next = match self.waiting.get(self.written) {
            Some(entry) => entry.block.first_id(),
            None => self.written_to + 1,
        };
        let preface = self.preface.before(next).record();
        let segment = Segment::create(path.clone(), &preface, &*self.disk)?;
        self.unsynced.push(Arc::clone(&segment.file));
        self.has_new_file = true;
        self.segment = Some(OpenSegment {
            segment,
            file: shelf::Events {
                path,
                ..shelf::Events::default()
            },
            opened: now,
        });
        Ok(())
    }

    pub(super) fn finish_segment(&mut self, now: Instant) {
        if let Some(OpenSegment {
            segment, mut file, ..
        }) = self.segment.take()
        {
            file.len = segment.len;
            self.shelf.add(file);
            // There may be too much on it now.
            self.next_tidy = now;
        }
    }

    /// Begins a new file in time for the old one to be let go of, and removes what is not needed.
    pub(super) fn tidy(&mut self, now: Now) {
        let is_aged = |open: &OpenSegment| {
            open.file.weight > 0 && now.instant >= open.opened + self.segment_age()
        };
        if self.segment.as_ref().is_some_and(is_aged) {
            self.finish_segment(now.instant);
        }
        if self.segment.is_none() && self.trouble.is_none() {
            // There is always one, to tell where numbers are.
            if let Err(error) = self.begin_segment(now.instant) {
                self.on_trouble(&error, now.instant);
            }
            self.begin_sync(now.instant);
        }
        self.next_tidy = now.instant + self.segment_age();
        self.retire(now);
    }

    /// Removes files that are not needed: when the one that tells where numbers are is safe.
    pub(super) fn retire(&mut self, now: Now) {
        let is_safe = self.segment.is_some() && !self.has_new_file && self.syncing.is_none();
        self.is_retiring = !is_safe && self.policy != SyncPolicy::Never;
        if self.is_retiring {
            return;
        }
        let in_use = self.segment.as_ref().map_or(0, |open| open.file.weight);
        let folder = self.folder.path();
        let keys_path = |path: &PathBuf| {
            let number = number_of(path, EVENTS).unwrap_or(0);
            path_of(folder, number, KEYS)
        };
        while let Some(retired) = self
            .shelf
            .retire(self.retention, in_use, now.wall_ms, keys_path)
        {
            self.disk.ask(match retired {
                Retired::Whole(path) => Job::Remove(path),
                Retired::ButKeys(path) => Job::Condense {
                    path,
                    preface: Arc::clone(&self.preface),
                    oldest_ms: self.retention.oldest_key_ms(now.wall_ms),
                },
            });
        }
    }

    /// A file is full with so many bytes: a part of what is kept, so that little more is.
    pub(super) fn segment_bytes(&self) -> u64 {
        let part = self.retention.weight / limits::JOURNAL_PARTS;
        part.clamp(limits::JOURNAL_SEGMENT_MIN, limits::JOURNAL_SEGMENT_MAX) as u64
    }

    /// And after so long.
    fn segment_age(&self) -> Duration {
        (self.retention.age / limits::JOURNAL_PARTS as u32).max(Duration::from_secs(1))
    }
}
