//! What it costs to make a batch of events safe on disk: appended to a file as shopwire's journal
//! does, to one whose room was set aside before, and by a storage engine.
//!
//! `cargo run --release --manifest-path benches/disk/Cargo.toml -- FOLDER [ROUNDS]`, on the disk that
//! is asked about. The ways take turns in each round; printed are the medians of all their syncs, and
//! the 99th percentiles.

use std::error::Error;
use std::fs::{self, File};
use std::io::{IoSlice, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate};

/// Bytes of a batch: about ten orders.
const BATCH: usize = 3000;
/// Batches made safe one after the other, by each way in each round.
const BATCHES: usize = 300;
const ROUNDS: usize = 10;

/// Makes a batch safe, and returns when it is.
type Append = Box<dyn FnMut(&[u8]) -> Result<(), Box<dyn Error>>>;

/// A way to do it: its name, and how it begins in a new file or folder at the path.
type Way = (&'static str, fn(&Path) -> Result<Append, Box<dyn Error>>);

const WAYS: [Way; 4] = [
    ("appended", |path| Ok(synced(File::create_new(path)?))),
    ("appended to room set aside", |path| {
        let file = File::create_new(path)?;
        fallocate(&file, FallocateFlags::KEEP_SIZE, 0, room())?;
        Ok(synced(file))
    }),
    ("written over zeros", |path| {
        fs::write(path, vec![0; room() as usize])?;
        let file = File::options().write(true).open(path)?;
        file.sync_all()?;
        Ok(synced(file))
    }),
    ("fjall", |path| {
        let database = fjall::Database::builder(path).open()?;
        let events = database.keyspace("events", fjall::KeyspaceCreateOptions::default)?;
        let mut number = 0u64;
        Ok(Box::new(move |batch| {
            number += 1;
            events.insert(number.to_be_bytes(), batch)?;
            Ok(database.persist(fjall::PersistMode::SyncData)?)
        }))
    }),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("which folder? It is made, and removed")?);
    let rounds = arguments.next().map_or(Ok(ROUNDS), |text| text.parse())?;
    fs::create_dir(&folder)?;
    let mut times = WAYS.map(|_| Vec::new());
    for round in 0..rounds {
        for ((name, begin), times) in WAYS.iter().zip(&mut times) {
            times.extend(time(*begin, &folder.join(format!("{round} {name}")))?);
        }
    }
    fs::remove_dir_all(&folder)?;
    for ((name, _), times) in WAYS.iter().zip(&mut times) {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 100].as_micros();
        println!("{name}: {} us, p99 {} us", at(50), at(99));
    }
    Ok(())
}

fn time(
    begin: fn(&Path) -> Result<Append, Box<dyn Error>>,
    path: &Path,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let batch = vec![b'x'; BATCH];
    let mut append = begin(path)?;
    append(&batch)?;
    let mut times = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        let begun = Instant::now();
        append(&batch)?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// A record as the journal writes it, and a sync.
fn synced(mut file: File) -> Append {
    Box::new(move |batch| {
        let mut head = [0; 16];
        head[12..].copy_from_slice(&crc32fast::hash(batch).to_le_bytes());
        let written = file.write_vectored(&[IoSlice::new(&head), IoSlice::new(batch)])?;
        if written != head.len() + batch.len() {
            return Err("the disk took only a part".into());
        }
        Ok(file.sync_data()?)
    })
}

fn room() -> u64 {
    ((BATCHES + 1) * (BATCH + 16)) as u64
}
