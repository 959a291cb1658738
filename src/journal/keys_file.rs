//! What stays of a file of events when the events themselves are too old or too many: its keys.
//!
//! Emitters may repeat a key for ten minutes, however few of the events fit into the history. Called
//! by the syncer, on its thread.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::path::Path;

use super::body::{self, Events};
use super::record::{self, Found, Kind};
use super::segment::{EVENTS, KEYS, Preface, number_of, path_of};
use super::whole_file;

/// Writes the keys in the file of events at `path` that were used since `oldest_ms` (ms since
/// 1970) to a file of keys of the same number, if there are any. It is safe when this returns.
///
/// # Errors
/// What the file system says.
pub fn condense(path: &Path, preface: &Preface, oldest_ms: u64, folder: &File) -> io::Result<()> {
    let mut keys = Vec::new();
    for found in record::scan(&fs::read(path)?) {
        if let Found::Record(Kind::Block, body) = found
            && let Ok(events) = Events::read(body)
            && events.wall_ms >= oldest_ms
        {
            events.keys().for_each(|key| body::put_key(key, &mut keys));
        }
    }
    let (Some(parent), Some(number)) = (path.parent(), number_of(path, EVENTS)) else {
        return Err(io::Error::other("it is no file of events"));
    };
    if keys.is_empty() {
        return Ok(());
    }
    let head = record::head(Kind::Keys, &[IoSlice::new(&keys)])
        .ok_or_else(|| io::Error::other("there are too many keys for one record"))?;
    let path = path_of(parent, number, KEYS);
    whole_file::write(&path, &[&preface.record(), &head, &keys], folder)
}
