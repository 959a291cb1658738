//! What was revoked, beside the journal's own files: so that a restart does not let anybody in again.
//!
//! One file, written whole each time: it is short, and rarely is something revoked. Written on a thread of
//! the router's, read once at start.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::whole_file;
use crate::auth::Revocation;

fn path_in(folder: &Path) -> PathBuf {
    folder.join("revoked.json")
}

/// Writes them all. They are safe when this returns.
///
/// # Errors
/// What the file system says.
pub fn write(folder: &Path, all: &[Revocation]) -> io::Result<()> {
    let bytes = serde_json::to_vec(all)?;
    whole_file::write(&path_in(folder), &[&bytes], &File::open(folder)?)
}

/// Reads what was written, if anything was.
///
/// # Errors
/// A sentence: not to know who was sent away is a reason not to start.
pub fn read(folder: &Path) -> Result<Vec<Revocation>, String> {
    let path = path_in(folder);
    let cannot = |error: io::Error| {
        format!(
            "the revoked tokens in {} cannot be read: {error}; to begin without them remove the file",
            path.display()
        )
    };
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| cannot(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(cannot(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Whom;

    #[test]
    fn what_was_written_is_read_and_what_is_broken_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), Ok(Vec::new()));
        let mut all = vec![Revocation {
            whom: Whom::User("ann\n\"ü".into()),
            at_ms: 1,
            until_ms: u64::MAX,
        }];
        write(folder.path(), &all).unwrap();
        all.push(Revocation {
            whom: Whom::Session("s".into()),
            at_ms: 2,
            until_ms: 3,
        });
        write(folder.path(), &all).unwrap();
        assert_eq!(read(folder.path()), Ok(all));
        fs::write(path_in(folder.path()), "[{").unwrap();
        let error = read(folder.path()).unwrap_err();
        assert!(error.contains("revoked.json"), "{error}");
        assert!(write(&folder.path().join("absent"), &[]).is_err());
    }
}
