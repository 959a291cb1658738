//! The committed seeds.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

use crate::folder;
use crate::properties::target;

/// The seeds of a target, by name.
pub fn of(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder().join("seeds").join(name)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

/// Replays the seeds of a target.
pub fn hold(name: &str) {
    let target = target(name);
    let seeds = of(name);
    assert!(!seeds.is_empty(), "{name} has no seeds");
    for (path, seed) in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.holds)(&seed))) {
            eprintln!("{name} does not hold for {}", path.display());
            resume_unwind(panic);
        }
    }
}
