//! Reading what settings name: the configuration file, keys, certificates.
//!
//! Owns that such a file cannot hold up a thread for ever or fill the memory: it is a regular file, of
//! a bounded size. A disk that hangs (NFS) still can; so a thread notes which file it is reading, for
//! those who wait for it. Called by `config` and `tls`, at start and by the router's reload.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
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

/// Whether every user of this machine may read the file, as far as it and its folder say.
pub fn is_for_everybody(path: &Path) -> bool {
    mode(path) & OTHERS_READ != 0 && mode(folder_of(path)) & OTHERS_ENTER != 0
}

/// Whether every user of this machine may put a file of his own in the place of this one, as far as its folder says.
pub fn is_replaceable_by_everybody(path: &Path) -> bool {
    let everything = OTHERS_WRITE | OTHERS_ENTER;
    let folder = mode(folder_of(path));
    folder & everything == everything && folder & STICKY == 0
}

/// The folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().map_or(0, |found| found.mode())
}

/// The bits of a mode that let others read a file, and write to and enter a folder; and the one by which only a file's
/// owner may take it away (inode(7)).
const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;
const OTHERS_ENTER: u32 = 0o001;
const STICKY: u32 = 0o1000;

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
    fn who_may_read_a_file_is_said_by_it_and_its_folder() {
        use std::fs::{Permissions, set_permissions};
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "text").unwrap();
        for (of_folder, of_file, expected) in [
            (0o755, 0o644, true),
            (0o711, 0o604, true),
            (0o755, 0o640, false),
            (0o755, 0o600, false),
            (0o750, 0o644, false),
        ] {
            set_permissions(folder.path(), Permissions::from_mode(of_folder)).unwrap();
            set_permissions(&file, Permissions::from_mode(of_file)).unwrap();
            let found = is_for_everybody(&file);
            assert_eq!(found, expected, "{of_folder:o} {of_file:o}");
        }
        assert!(!is_for_everybody(&folder.path().join("absent")));
    }

    #[test]
    fn who_may_replace_a_file_is_said_by_its_folder() {
        use std::fs::{Permissions, set_permissions};
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("socket");
        for (of_folder, expected) in [
            (0o777, true),
            (0o703, true),
            (0o1777, false),
            (0o775, false),
            (0o755, false),
            (0o776, false),
        ] {
            set_permissions(folder.path(), Permissions::from_mode(of_folder)).unwrap();
            let found = is_replaceable_by_everybody(&file);
            assert_eq!(found, expected, "{of_folder:o}");
        }
        assert_eq!(folder_of(Path::new("socket")), Path::new("."));
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
