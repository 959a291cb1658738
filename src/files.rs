//! Reading what settings name: the configuration file, keys, certificates.
//!
//! Owns that such a file cannot hold up a thread for ever: what is no file on a disk is refused or read
//! without waiting. A disk that hangs (NFS) still can; so a thread notes which file it is reading, for
//! those who wait for it. Called by `config` and `tls`, at start and by the router's reload.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;

/// Which file a thread is reading.
#[derive(Clone, Default)]
pub struct Reading(Arc<Mutex<Option<PathBuf>>>);

thread_local! {
    /// Where this thread notes it.
    static NOTED: RefCell<Reading> = RefCell::default();
}

impl Reading {
    /// This thread notes what it reads here, from now on.
    pub fn note_here(&self) {
        NOTED.with_borrow_mut(|noted| *noted = self.clone());
    }

    /// The file that is being read, if one is.
    pub fn file(&self) -> Option<PathBuf> {
        let file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.clone()
    }

    fn set(&self, file: Option<&Path>) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = file.map(Path::to_owned);
    }
}

/// Reads a whole file.
///
/// # Errors
/// What the operating system says, or that it is none that can be read again at any time.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let noted = NOTED.with_borrow(Reading::clone);
    noted.set(Some(path));
    let bytes = read_at_once(path);
    noted.set(None);
    bytes
}

fn read_at_once(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for its other end.
    let mut file = File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let kind = file.metadata()?.file_type();
    let what = if kind.is_fifo() {
        Some("a pipe")
    } else if kind.is_dir() {
        Some("a folder")
    } else {
        None
    };
    if let Some(what) = what {
        return Err(io::Error::other(format!(
            "it is {what}, and must be a regular file, which can be read again at a reload"
        )));
    }
    let mut bytes = Vec::new();
    match file.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::Error::other(
            "nothing is there to be read; it must be a regular file",
        )),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_what_could_block_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "text").unwrap();
        let reading = Reading::default();
        reading.note_here();
        assert_eq!(read(&file).unwrap(), b"text");
        assert_eq!(reading.file(), None, "it is read");
        assert_eq!(read(Path::new("/dev/null")).unwrap(), b"");
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        for (path, word) in [(&*pipe, "a pipe"), (folder.path(), "a folder")] {
            let error = read(path).unwrap_err().to_string();
            assert!(
                error.contains(word) && error.contains("regular file"),
                "{error}"
            );
        }
        assert!(read(&folder.path().join("absent")).is_err());
    }
}
