//! What the journal does with what waits: writes it, has it made safe, and lets it go.
//!
//! Part of the journal. What could not be written or made safe stays where it is, and is tried again
//! after a while.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::body;
use super::disk::{Job, Synced};
use super::files::OpenSegment;
use super::record::{self, Kind};
use super::{Entry, Journal, SyncPolicy, Trouble};
use crate::clock::Now;
use crate::limits;

impl Journal {
    /// Writes what is not written yet, unless that has just failed.
    pub(super) fn write(&mut self, now: Instant) {
        let is_due = match &self.trouble {
            Some(trouble) => trouble.again <= now,
            None => self.written < self.waiting.len(),
        };
        if !is_due {
            return;
        }
        if let Err(error) = self.write_all(now) {
            return self.on_trouble(&error, now);
        }
        if self.trouble.take().is_some() {
            self.has_news = true;
            log::info!("the journal can be written again, and has what waited for it");
        }
        if self.policy == SyncPolicy::Never {
            self.unsynced.clear();
            self.inherited.clear();
            self.safe_up_to(self.written_to);
        }
    }

    fn write_all(&mut self, now: Instant) -> io::Result<()> {
        if self.segment.is_none() {
            self.begin_segment(now)?;
        }
        while self.written < self.waiting.len() {
            let is_full = |open: &OpenSegment| open.segment.len >= self.segment_bytes();
            if self.segment.as_ref().is_some_and(is_full) {
                self.finish_segment(now);
                self.begin_segment(now)?;
            }
            self.write_some(now)?;
        }
        Ok(())
    }

    /// Writes as many entries as one write takes.
    fn write_some(&mut self, now: Instant) -> io::Result<()> {
        let Some(open) = &mut self.segment else {
            return Err(io::Error::other("there is no file to write to"));
        };
        let end = self
            .waiting
            .len()
            .min(self.written + limits::SLICES_PER_WRITE / 2);
        let batch = self.waiting.range(self.written..end);
        let settled_to = self.safe_to.max(self.forgotten_to);
        let heads = lay_out_heads(batch.clone(), settled_to, &mut self.heads)?;
        let mut slices: Vec<IoSlice<'_>> = heads
            .into_iter()
            .zip(batch.clone())
            .flat_map(|(head, entry)| {
                [
                    IoSlice::new(&self.heads[head]),
                    IoSlice::new(&entry.block.bytes),
                ]
            })
            .collect();
        if let Err(error) = open.segment.append(&mut slices, &*self.disk) {
            // It may be this file alone that takes no more; but one with nothing in it is not left for
            // the next one, or a full disk would fill with them.
            if open.segment.is_torn || open.file.weight > 0 {
                self.finish_segment(now);
            }
            return Err(error);
        }
        for entry in batch {
            open.file.weight += entry.block.weight();
            open.file.newest_ms = open.file.newest_ms.max(entry.wall_ms);
            if !entry.keys.is_empty() {
                open.file.newest_key_ms = open.file.newest_key_ms.max(entry.wall_ms);
            }
            self.written_to = entry.block.last_id();
        }
        self.written = end;
        self.has_news = true;
        let file = &open.segment.file;
        if !self.unsynced.iter().any(|known| Arc::ptr_eq(known, file)) {
            self.unsynced.push(Arc::clone(file));
        }
        Ok(())
    }

    /// Has the disk make safe what is written, if it is time to.
    pub(super) fn begin_sync(&mut self, now: Instant) {
        let is_due = match self.policy {
            SyncPolicy::Batch => true,
            SyncPolicy::Interval(every) => now >= self.last_sync + every,
            SyncPolicy::Never => false,
        };
        // What has just failed is not tried again before the time.
        let is_wanted = !self.unsynced.is_empty() || self.trouble.is_none() && self.has_unsynced();
        if !is_due || self.syncing.is_some() || !is_wanted {
            return;
        }
        self.last_sync = now;
        self.ask_for_sync();
    }

    pub(super) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty() || !self.inherited.is_empty()
    }

    pub(super) fn ask_for_sync(&mut self) {
        self.syncing = Some(self.written_to);
        let mut files = self.inherited.clone();
        files.append(&mut self.unsynced);
        self.disk.ask(Job::Sync {
            files,
            is_new: std::mem::take(&mut self.has_new_file),
        });
    }

    pub(super) fn on_synced(&mut self, synced: Synced, now: Now) {
        let Some(number) = self.syncing.take() else {
            return;
        };
        match synced.result {
            Ok(()) => {
                self.inherited.clear();
                self.syncs += 1;
                self.sync_time = synced.took;
                self.safe_up_to(number);
                if self.is_retiring {
                    self.retire(now);
                }
            }
            Err(error) => {
                // What the kernel has of these files may be gone, and a second sync would not say so
                // (fsync(2)): all that is not safe is written anew, to another file. What earlier runs
                // have left is tried once more; there is nothing better to do for it.
                self.finish_segment(now.instant);
                let again = self.waiting.range(..self.written);
                let weight = again.map(|entry| entry.block.weight()).sum();
                self.shelf.discount(weight);
                self.unsynced.clear();
                self.written = 0;
                self.written_to = self.safe_to.max(self.inherited_to);
                self.has_new_file = true;
                self.on_trouble(&error, now.instant);
            }
        }
    }

    /// Everything up to this number is safe.
    fn safe_up_to(&mut self, number: u64) {
        self.safe_to = number;
        self.has_news = true;
        while let Some(entry) = self.waiting.front()
            && entry.block.last_id() <= number
        {
            self.forget_front();
        }
    }

    pub(super) fn forget_front(&mut self) {
        if let Some(entry) = self.waiting.pop_front() {
            self.waiting_weight -= entry.block.weight();
            self.written = self.written.saturating_sub(1);
        }
    }

    pub(super) fn on_trouble(&mut self, error: &io::Error, now: Instant) {
        if self.trouble.is_none() {
            log::error!(
                "the journal in {} cannot be written: {error}; events are delivered, emitters are \
                 told that they are not safe",
                self.folder.path().display()
            );
        }
        self.has_news = true;
        self.trouble = Some(Trouble {
            reason: error.to_string(),
            again: now + limits::JOURNAL_RETRY,
        });
    }
}

/// Lays out what comes before the frames of each entry, and returns where each of them lies.
fn lay_out_heads<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    settled_to: u64,
    out: &mut Vec<u8>,
) -> io::Result<Vec<Range<usize>>> {
    out.clear();
    let mut ranges = Vec::new();
    for entry in entries {
        let start = out.len();
        out.extend_from_slice(&[0; record::HEAD]);
        body::put_events(entry.wall_ms, settled_to, &entry.keys, &entry.block, out);
        let body = &out[start + record::HEAD..];
        let parts = [IoSlice::new(body), IoSlice::new(&entry.block.bytes)];
        let head = record::head(Kind::Block, &parts)
            .ok_or_else(|| io::Error::other("a block is too long for a record"))?;
        out[start..start + record::HEAD].copy_from_slice(&head);
        ranges.push(start..out.len());
    }
    Ok(ranges)
}
