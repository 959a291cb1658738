//! The thread that waits for the disk, so that nobody else does.
//!
//! Takes jobs from the router's [`Journal`](super::Journal) in order, and tells by the router's
//! doorbell when a sync is through. Files that are not needed any more are removed here as well,
//! which a large one can take a while for.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::keys_file;
use super::segment::Preface;
use crate::ring::{Doorbell, Mailbox, mailbox};

/// What the thread is asked to do.
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

/// The thread, as the router sees it.
pub struct Syncer {
    jobs: Option<mpsc::Sender<Job>>,
    done: Mailbox<Synced>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread; `folder` is the journal's, `router` is rung when a sync is through.
    pub fn start(folder: File, router: Arc<Doorbell>) -> io::Result<Syncer> {
        let (jobs, to_do) = mpsc::channel();
        let (tell, done) = mailbox(router);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                for job in to_do {
                    if let Job::Sync { files, is_new } = job {
                        let synced = sync(&files, is_new.then_some(&folder));
                        if !tell.send(synced) {
                            log::debug!("the process ends, and nobody waits for the disk");
                        }
                    } else {
                        tidy(&folder, job);
                    }
                }
            })?;
        Ok(Syncer {
            jobs: Some(jobs),
            done,
            thread: Some(thread),
        })
    }

    /// Hands over a job.
    pub fn ask(&self, job: Job) {
        let is_taken = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        debug_assert!(is_taken, "the thread takes jobs until this is dropped");
    }

    /// Waits for the answer to a [`Job::Sync`].
    pub fn take(&self) -> Synced {
        self.done.wait().unwrap_or_else(|| Synced {
            result: Err(io::Error::other("the journal's thread ended")),
            took: Duration::ZERO,
        })
    }

    /// The answer to a [`Job::Sync`], if it is there.
    pub fn try_take(&self) -> Option<Synced> {
        self.done.take()
    }

    /// Whether one may be there.
    pub fn has_answer(&self) -> bool {
        self.done.has_mail()
    }
}

impl Drop for Syncer {
    /// Waits until everything that was asked for is done.
    fn drop(&mut self) {
        self.jobs = None;
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            log::error!("the journal's thread ended by a defect");
        }
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

fn tidy(folder: &File, job: Job) {
    let (path, condensed) = match job {
        Job::Sync { .. } => return,
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
}
