//! The disk as the journal sees it: what can fail there, or take long.
//!
//! Owned by the [`Journal`](super::Journal). A server has the [`Syncer`](super::Syncer), whose thread
//! does what takes long; a simulation has one that is slow, full or broken when it is told to be.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::keys_file;
use super::segment::Preface;

/// Where a journal lies.
pub trait Disk: Send {
    /// Appends to a file, not necessarily all of it; returns how many bytes.
    ///
    /// # Errors
    /// What the file system says.
    fn write(&self, file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Has a job done, behind those asked for before.
    fn ask(&self, job: Job);

    /// The answer to the oldest [`Job::Sync`] that has not been taken, if it is there.
    fn try_take(&self) -> Option<Synced>;

    /// Waits for it. A disk without a thread has it, or never will.
    fn wait(&self) -> Synced {
        self.try_take().unwrap_or_else(|| Synced {
            result: Err(io::Error::other("the disk does not answer")),
            took: Duration::ZERO,
        })
    }

    /// Whether it may be there: to be asked before the router sleeps.
    fn has_answer(&self) -> bool;
}

/// What takes long.
pub enum Job {
    /// Make what has been written safe; answered by one [`Synced`].
    Sync {
        /// Where it was written.
        files: Vec<Arc<File>>,
        /// One of them is new: it is safe when its name is, too.
        is_new: bool,
    },
    /// Remove a file.
    Remove(PathBuf),
    /// Remove a file of events, and keep the keys in it that are not older than `oldest_ms`, a time
    /// of the wall clock.
    Condense {
        /// The file.
        path: PathBuf,
        /// The preface of the file of keys.
        preface: Arc<Preface>,
        /// In ms since 1970.
        oldest_ms: u64,
    },
}

/// How a sync ended.
pub struct Synced {
    /// What the file system said.
    pub result: io::Result<()>,
    /// How long it took.
    pub took: Duration,
}

impl Job {
    /// Does it; `folder` is the journal's. The answer, if it has one.
    pub fn run(self, folder: &File) -> Option<Synced> {
        let (path, condensed) = match self {
            Job::Sync { files, is_new } => return Some(sync(&files, is_new.then_some(folder))),
            Job::Remove(path) => (path, Ok(())),
            Job::Condense {
                path,
                preface,
                oldest_ms,
            } => {
                let condensed = keys_file::condense(&path, &preface, oldest_ms, folder);
                (path, condensed)
            }
        };
        if let Err(error) = condensed {
            // It goes all the same: room for events comes before the memory of keys.
            log::warn!(
                "the keys in {} could not be kept, and would be new ones after a restart: {error}",
                path.display()
            );
        }
        if let Err(error) = std::fs::remove_file(&path) {
            log::warn!("could not remove {}: {error}", path.display());
        }
        None
    }
}

fn sync(files: &[Arc<File>], folder: Option<&File>) -> Synced {
    let begun = Instant::now();
    let data = files.iter().try_for_each(|file| file.sync_data());
    Synced {
        result: data.and_then(|()| folder.map_or(Ok(()), File::sync_all)),
        took: begun.elapsed(),
    }
}
