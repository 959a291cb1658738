//! Reading what settings name: the configuration file, keys, certificates.
//!
//! Owns that such a file cannot hold up a thread for ever or fill the memory: it is a regular file, of
//! a bounded size. A disk that hangs (NFS) still can; so a thread notes which file it is reading, for
//! those who wait for it. Called by `config` and `tls`, at start and by the router's reload.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;

/// The most bytes of a file that a setting names: many times what a chain of certificates has.
const BYTES_MAX: u64 = 1 << 20;

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
/// What the operating system says, that it is none that can be read again at any time, or that it has
/// more than 1 MiB.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let noted = NOTED.with_borrow(Reading::clone);
    noted.set(Some(path));
    let bytes = read_at_once(path);
    noted.set(None);
    bytes
}

fn read_at_once(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for its other end.
    let file = File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() {
        let what = match kind {
            kind if kind.is_fifo() => "a pipe",
            kind if kind.is_dir() => "a folder",
            _ => "a device",
        };
        return Err(io::Error::other(format!(
            "it is {what}, and must be a regular file, which can be read again at a reload"
        )));
    }
    let mut bytes = Vec::new();
    // Not the size that it says it has: files of /proc and /sys say 0, and one may be written to.
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!(
            "it has more than {BYTES_MAX} bytes (1 MiB), the most that is read"
        )));
    }
    Ok(bytes)
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
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).unwrap();
        for (path, word) in [
            (&*pipe, "a pipe"),
            (folder.path(), "a folder"),
            (Path::new("/dev/null"), "a device"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            let error = read(path).unwrap_err().to_string();
            assert!(
                error.contains(word) && error.contains("regular file"),
                "{error}"
            );
        }
        assert!(read(&folder.path().join("absent")).is_err());
    }

    #[test]
    fn a_file_has_at_most_1_mib() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::create(&path).unwrap();
        file.set_len(BYTES_MAX).unwrap();
        assert_eq!(read(&path).unwrap().len() as u64, BYTES_MAX);
        // As large as no memory is, and without a byte on the disk.
        for length in [BYTES_MAX + 1, 1 << 33] {
            file.set_len(length).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("1 MiB"), "{error}");
        }
    }
}
