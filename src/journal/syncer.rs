//! The thread that waits for the disk, so that nobody else does.
//!
//! Takes jobs from the router's [`Journal`](super::Journal) in order, and tells by the router's
//! doorbell when a sync is through. Files that are not needed any more are removed here as well,
//! which a large one can take a while for.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::disk::{Disk, Job, Synced};
use crate::ring::{Doorbell, Mailbox, mailbox};

/// The thread, as the router sees it.
pub struct Syncer {
    jobs: Option<mpsc::Sender<Job>>,
    done: Mailbox<Synced>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread; `folder` is the journal's, `router` is rung when a sync is through.
    pub fn start(folder: File, router: Arc<Doorbell>) -> io::Result<Syncer> {
        let (jobs, to_do) = mpsc::channel::<Job>();
        let (tell, done) = mailbox(router);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                for job in to_do {
                    if let Some(synced) = job.run(&folder)
                        && !tell.send(synced)
                    {
                        log::debug!("the process ends, and nobody waits for the disk");
                    }
                }
            })?;
        Ok(Syncer {
            jobs: Some(jobs),
            done,
            thread: Some(thread),
        })
    }
}

impl Disk for Syncer {
    fn write(&self, mut file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        file.write_vectored(parts)
    }

    fn ask(&self, job: Job) {
        let is_taken = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        debug_assert!(is_taken, "the thread takes jobs until this is dropped");
    }

    fn try_take(&self) -> Option<Synced> {
        self.done.take()
    }

    fn wait(&self) -> Synced {
        self.done.wait().unwrap_or_else(|| Synced {
            result: Err(io::Error::other("the journal's thread ended")),
            took: Duration::ZERO,
        })
    }

    fn has_answer(&self) -> bool {
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
