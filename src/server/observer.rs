//! A thread that looks after the process itself, so that no loop has to: it sleeps, looks, and sleeps.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::metrics::open_files;
use crate::shared::Shared;

/// How often open files are counted.
const EVERY: Duration = Duration::from_secs(5);

/// Starts it; it ends with the process.
pub fn start(shared: Arc<Shared>) -> io::Result<()> {
    std::thread::Builder::new()
        .name("observer".to_owned())
        .spawn(move || {
            loop {
                count_files(&shared);
                std::thread::sleep(EVERY);
            }
        })
        .map(drop)
}

fn count_files(shared: &Shared) {
    match open_files() {
        Ok(count) => shared.stats.process.open_files.set(count),
        Err(error) => log::debug!("the open files cannot be counted: {error}"),
    }
}
