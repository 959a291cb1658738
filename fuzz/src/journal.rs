//! A journal's folder with anything in its files: reading it ends, what comes of it can be trusted, and
//! a journal that goes on with it loses nothing of what it writes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shopwire::clock::Now;
use shopwire::event::{Block, BlockBuilder, Epoch, Line, NameHasher, Parser, Run, Runs};
use shopwire::journal::{Disk, Folder, Job, Journal, Key, Past, Retention, SyncPolicy, Synced};

use super::judged::{LINE_MAX, rules};

/// When the seeds were written, in ms since 1970, and a little later.
const WRITTEN: u64 = 1_700_000_000_000;
const NOW: u64 = WRITTEN + 60_000;

const RETENTION: Retention = Retention {
    weight: 2000,
    age: Duration::from_secs(600),
    keys: Duration::from_secs(600),
};

/// What stands between two files.
pub const BETWEEN: &[u8] = b"\n%%\n";
/// The first byte of a file: one of keys, or one of events.
pub const OF_KEYS: u8 = b'k';
/// In the input's first byte: checksums are put right, since chance never would.
pub const MENDED: u8 = 1;
/// In the input's first byte: read long after it was written.
pub const LATE: u8 = 2;

/// Numbers from here on are nobody's: at a million events a second they are reached in 146,000 years.
const NUMBER_MAX: u64 = 1 << 62;

const EVENT: &str = r#"{"type":"product:deleted","data":{"productId":"p1"}}"#;

pub fn holds(input: &[u8]) {
    let Some((&how, files)) = input.split_first() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path(), files, how & MENDED != 0);
    let wall_ms = if how & LATE == 0 {
        NOW
    } else {
        NOW + 3_600_000
    };
    // What is old has to lie behind the monotonic clock's now.
    let now = Now {
        instant: Instant::now() + Duration::from_secs(7200),
        wall_ms,
    };
    let past = match read(folder.path(), now) {
        Ok(past) => past,
        Err(sentence) => {
            assert!(sentence.contains("newer shopwire"), "{sentence}");
            return;
        }
    };
    check(&past);
    let again = read(folder.path(), now).unwrap();
    assert_eq!(
        Told::of(&past),
        Told::of(&again),
        "reading has changed what is there"
    );
    if past.newest < NUMBER_MAX {
        go_on(folder.path(), again, now);
    }
}

fn read(folder: &Path, now: Now) -> Result<Past, String> {
    Past::read(folder, RETENTION, &NameHasher::fixed(), now)
}

/// Writes the files; with `mended` each record that is whole but for its checksum gets the right one.
fn lay_out(folder: &Path, mut input: &[u8], mended: bool) {
    for number in 1..=4 {
        let end = (input.windows(BETWEEN.len())).position(|bytes| bytes == BETWEEN);
        let (file, rest) = match end {
            Some(end) => (&input[..end], &input[end + BETWEEN.len()..]),
            None => (input, &[][..]),
        };
        let Some((kind, bytes)) = file.split_first() else {
            return;
        };
        let mut bytes = bytes.to_vec();
        if mended {
            mend(&mut bytes);
        }
        let kind = if *kind == OF_KEYS { "keys" } else { "events" };
        fs::write(folder.join(format!("{number:016}.{kind}")), bytes).unwrap();
        input = rest;
    }
}

/// docs/journal.md: mark, kind, length, CRC-32 of kind, length and body.
fn mend(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(record) = bytes.get_mut(at..) {
        let Some((head, rest)) = record.split_first_chunk_mut::<16>() else {
            return;
        };
        let len = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        if head[..4] != *b"\xF5sw\0" || len > rest.len() {
            at += 1;
            continue;
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head[4..12]);
        crc.update(&rest[..len]);
        head[12..].copy_from_slice(&crc.finalize().to_le_bytes());
        at += 16 + len;
    }
}

/// What is replayed has no hole, ends where new numbers begin, and can be sent.
fn check(past: &Past) {
    let mut next = None;
    for block in &past.blocks {
        assert!(next.is_none_or(|next| next == block.first_id()), "a hole");
        next = Some(block.last_id() + 1);
        check_block(block);
    }
    if let Some(next) = next {
        assert_eq!(next, past.newest + 1);
    }
    assert!(past.let_go() <= past.newest);
    assert!(past.keys.iter().all(|aged| aged.key.number <= past.newest));
    assert!(past.runs.iter().all(|run| run.first > 0));
}

fn check_block(block: &Block) {
    let mut start = 0;
    for (frame, id) in block.frames.iter().zip(block.first_id()..) {
        assert_eq!(frame.id, id);
        assert_eq!(frame.start, start);
        assert!(!block.bytes[frame.start as usize..frame.end as usize].is_empty());
        start = frame.end;
        let names = block.owners(frame).iter().chain(block.excluded(frame));
        let mut count = 0;
        for name in names.chain(block.session(frame)) {
            // Panics if it is not all there.
            block.text(name);
            count += 1;
        }
        assert_eq!(count, block.name_count(frame));
        assert!(block.users(frame).len() <= block.owners(frame).len());
    }
    assert_eq!(start as usize, block.bytes.len());
}

/// What a start goes on with, to be compared.
#[derive(Debug, PartialEq)]
struct Told {
    blocks: Vec<(u64, Vec<u8>)>,
    keys: Vec<Key>,
    runs: Vec<Run>,
    newest: u64,
}

impl Told {
    fn of(past: &Past) -> Told {
        let blocks = past.blocks.iter();
        Told {
            blocks: blocks
                .map(|block| (block.first_id(), block.bytes.to_vec()))
                .collect(),
            keys: past.keys.iter().map(|aged| aged.key).collect(),
            runs: past.runs.clone(),
            newest: past.newest,
        }
    }
}

/// A server starts on what was read, takes an event and ends; the next one knows all of it.
fn go_on(path: &Path, past: Past, now: Now) {
    let before: Vec<u64> = past.blocks.iter().map(|block| block.first_id()).collect();
    let secret = past.secret;
    let Written { this, key, block } = write(path, past, &[EVENT], now);
    let next = read(path, now).unwrap();
    check(&next);
    assert_eq!(next.newest, this.first);
    assert_eq!(next.blocks.back().unwrap().bytes, block.bytes);
    assert!(next.keys.iter().any(|aged| aged.key == key));
    assert!(secret.is_none() || next.secret == secret);
    assert_eq!(next.runs.last(), Some(&this));
    // What could be replayed still can, but for the oldest that no longer fit.
    let kept: Vec<u64> = next.blocks.iter().map(|block| block.first_id()).collect();
    let earlier = &kept[..kept.len() - 1];
    assert!(before.ends_with(earlier), "{before:?} became {kept:?}");
    let weight: usize = next.blocks.iter().map(|block| block.weight()).sum();
    assert!(earlier.len() == before.len() || weight >= RETENTION.weight);
}

/// What a run has left behind.
struct Written {
    this: Run,
    key: Key,
    block: Arc<Block>,
}

/// A run that takes these lines, the first one with a key, and ends.
fn write(path: &Path, mut past: Past, lines: &[&str], now: Now) -> Written {
    let is_free = |epoch: &Epoch| past.runs.iter().all(|run| run.epoch != *epoch);
    let this = Run {
        epoch: (0xabc..).map(Epoch).find(is_free).unwrap(),
        first: past.newest + 1,
    };
    let runs = Runs::new(past.runs.clone(), this);
    let secret = past.secret.unwrap_or((1, 2));
    let folder = Folder::take(path).unwrap();
    let disk = Box::new(Direct {
        folder: folder.open().unwrap(),
        done: RefCell::default(),
    });
    let policy = SyncPolicy::Batch;
    let mut journal = Journal::start(folder, &mut past, &runs, secret, policy, disk, now);
    let key = Key {
        number: this.first,
        hash: 0xfeed,
    };
    let block = block_of(lines, this);
    journal.append(&[Arc::clone(&block)], &[key], now);
    while journal.has_news() {
        journal.turn(now);
    }
    assert_eq!(journal.trouble(), None);
    assert_eq!(journal.safe_to(), block.last_id());
    Written { this, key, block }
}

/// A whole run on what is in the folder, as the seeds have them.
pub fn run(path: &Path, lines: &[&str]) {
    let now = Now {
        instant: Instant::now(),
        wall_ms: WRITTEN,
    };
    let past = read(path, now).unwrap();
    write(path, past, lines, now);
}

/// A block of these lines, the first events of a run.
pub fn block_of(lines: &[&str], run: Run) -> Arc<Block> {
    let mut builder = BlockBuilder::new(run.epoch, NameHasher::fixed(), LINE_MAX);
    let mut parser = Parser::new(rules());
    for (line, number) in lines.iter().zip(run.first..) {
        match parser.parse(line.as_bytes()) {
            Ok(Line::Event(event)) => builder.push(&event, number, WRITTEN).unwrap(),
            other => panic!("{line}: {other:?}"),
        }
    }
    builder.finish(Instant::now(), 0)
}

/// A disk that does at once what it is asked for.
struct Direct {
    folder: File,
    done: RefCell<VecDeque<Synced>>,
}

impl Disk for Direct {
    fn write(&self, mut file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        file.write_vectored(parts)
    }

    /// But for waiting until it is safe: nobody pulls the plug here.
    fn ask(&self, job: Job) {
        let synced = match job {
            Job::Sync { .. } => Some(Synced {
                result: Ok(()),
                took: Duration::ZERO,
            }),
            other => other.run(&self.folder),
        };
        self.done.borrow_mut().extend(synced);
    }

    fn try_take(&self) -> Option<Synced> {
        self.done.borrow_mut().pop_front()
    }

    fn has_answer(&self) -> bool {
        !self.done.borrow().is_empty()
    }
}
