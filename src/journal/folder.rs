//! The journal's folder, held by one process at a time.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// A folder that nobody else writes to while this lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Holds the lock, which the kernel takes back when the process ends, however it ends.
    lock: File,
}

impl Folder {
    /// Makes the folder if it is not there, for its owner alone, and takes it.
    ///
    /// # Errors
    /// A sentence, if it cannot be written or somebody else has it.
    pub fn take(path: &Path) -> Result<Folder, String> {
        let cannot = |error: io::Error| {
            format!(
                "the journal's folder {} cannot be used: {error}",
                path.display()
            )
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(cannot)?;
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(cannot)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Folder {
                path: path.to_owned(),
                lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(format!(
                "the journal's folder {} is in use by another shopwire",
                path.display()
            )),
            Err(error) => Err(cannot(error.into())),
        }
    }

    /// The folder of another process, whose lock this is.
    pub fn go_on(path: &Path, lock: OwnedFd) -> Folder {
        Folder {
            path: path.to_owned(),
            lock: File::from(lock),
        }
    }

    /// The lock, which is held as long as anybody has it open.
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder as a file, to make names in it safe.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_process_s_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = Folder::take(&path).unwrap();
        let error = Folder::take(&path).unwrap_err();
        assert!(error.contains("in use by another shopwire"), "{error}");
        drop(folder);
        Folder::take(&path).unwrap();
    }

    #[test]
    fn a_path_that_is_no_folder_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Folder::take(file.path()).unwrap_err();
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
    }
}
