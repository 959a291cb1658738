//! What a starting server takes over from the runs before it, if it has a journal.
//!
//! Called while the server is assembled: the journal is read before anything that needs to know
//! where numbers go on, and begins to be written when the router's doorbell is there.

use std::io;
use std::sync::Arc;

use crate::clock::Now;
use crate::config::Config;
use crate::event::{Block, Epoch, NameHasher, Run, Runs};
use crate::journal::{self, Folder, Journal, Retention};
use crate::limits;
use crate::ring::Doorbell;
use crate::router::{Sequencer, random_secret};
use crate::shared::Shared;

/// The past of this run.
pub struct Past {
    folder: Option<Folder>,
    read: journal::Past,
}

impl Past {
    /// Takes the journal's folder and reads what is in it, if one is configured.
    ///
    /// # Errors
    /// A sentence, if it cannot be used.
    pub fn of(config: &Config, hasher: &NameHasher, now: Now) -> Result<Past, String> {
        let retention = Retention {
            weight: config.history,
            age: config.history_age,
            keys: limits::KEY_WINDOW,
        };
        let Some(path) = &config.journal else {
            return Ok(Past {
                folder: None,
                read: journal::Past::none(retention, now),
            });
        };
        let folder = Folder::take(path)?;
        let read = journal::Past::read(folder.path(), retention, hasher, now)?;
        log::info!(
            "the journal in {} goes on behind event {}: {} events can be replayed, {} keys are known",
            path.display(),
            read.newest,
            read.blocks
                .iter()
                .map(|block| block.frames.len())
                .sum::<usize>(),
            read.keys.len()
        );
        Ok(Past {
            folder: Some(folder),
            read,
        })
    }

    /// The runs, with one that begins at `now_ms`.
    pub fn runs(&self, now_ms: u64) -> Runs {
        let past = &self.read.runs;
        let epoch = std::iter::repeat_with(|| Epoch::new(now_ms, fastrand::u16(..)))
            .find(|epoch| past.iter().all(|run| run.epoch != *epoch))
            .expect("the sequence has no end");
        let first = self.read.newest + 1;
        Runs::new(past.clone(), Run { epoch, first })
    }

    /// The number of the newest event so far.
    pub fn newest(&self) -> u64 {
        self.read.newest
    }

    /// The events that are still kept, oldest first.
    pub fn blocks(&self) -> impl Iterator<Item = Arc<Block>> + '_ {
        self.read.blocks.iter().cloned()
    }

    /// Lets `sequencer` go on where the past ended; the journal, if there is one, is ready for what
    /// comes.
    pub fn go_on(
        &mut self,
        sequencer: &mut Sequencer,
        shared: &Shared,
        doorbell: Arc<Doorbell>,
        now: Now,
    ) -> io::Result<Option<Journal>> {
        let Some(folder) = self.folder.take() else {
            return Ok(None);
        };
        let secret = self.read.secret.unwrap_or_else(random_secret);
        sequencer.go_on(
            self.read.newest,
            secret,
            self.read.keys.drain(..),
            now.wall_ms,
        );
        let policy = shared.config.journal_sync;
        let past = &mut self.read;
        Journal::start(folder, past, &shared.runs, secret, policy, doorbell, now).map(Some)
    }
}
