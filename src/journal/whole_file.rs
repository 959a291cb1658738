//! A file that is there whole or not at all, whenever the process or its machine ends.
//!
//! Written under another name, which [`super::recovery`] knows for what was left behind. Called by those who
//! write short files beside the events.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How a file is called that is being written: its extension.
pub const UNFINISHED: &str = "unfinished";

/// Writes a file, these parts behind each other, in the place of what is there of that name. It is safe when
/// this returns. `folder` is the one it lies in.
///
/// # Errors
/// What the file system says.
pub fn write(path: &Path, parts: &[&[u8]], folder: &File) -> io::Result<()> {
    let unfinished = path.with_extension(UNFINISHED);
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_data()?;
    fs::rename(&unfinished, path)?;
    folder.sync_all()
}
