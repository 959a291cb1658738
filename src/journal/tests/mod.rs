//! The journal on a real folder: written, killed, torn, damaged, full, and read back.

use std::fs;
use std::io::{IoSlice, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use mio::{Events, Poll, Token};

use super::segment::{EVENTS, KEYS};
use super::*;
use crate::event::{BlockBuilder, Epoch, Line, NameHasher, Parser, Rules, Run};
use crate::ring::Doorbell;

const RETENTION: Retention = Retention {
    weight: 1 << 20,
    age: Duration::from_secs(600),
    keys: Duration::from_secs(600),
};
const SECRET: (u64, u64) = (1, 2);
const PATIENCE: Duration = Duration::from_secs(10);

/// A server's part in a journal.
struct Writer {
    journal: Journal,
    poll: Poll,
    builder: BlockBuilder,
    parser: Parser,
    next: u64,
    now: Now,
    doorbell: Arc<Doorbell>,
}

fn hasher() -> NameHasher {
    NameHasher::fixed()
}

fn read(folder: &Path, retention: Retention, now: Now) -> Past {
    Past::read(folder, retention, &hasher(), now).unwrap()
}

fn now() -> Now {
    Now::at(Instant::now())
}

fn later(now: Now, by: Duration) -> Now {
    Now {
        instant: now.instant + by,
        wall_ms: now.wall_ms + by.as_millis() as u64,
    }
}

fn key(number: u64) -> Key {
    Key {
        number,
        hash: u128::from(number) << 64 | 7,
    }
}

impl Writer {
    fn start(folder: &Path, epoch: u64, policy: SyncPolicy, retention: Retention) -> Writer {
        Writer::start_at(folder, epoch, policy, retention, now())
    }

    fn start_at(
        folder: &Path,
        epoch: u64,
        policy: SyncPolicy,
        retention: Retention,
        now: Now,
    ) -> Writer {
        let disk = |folder: File, bell| -> Box<dyn Disk> {
            Box::new(Syncer::start(folder, bell).unwrap())
        };
        Writer::start_on(folder, epoch, policy, retention, now, disk)
    }

    fn start_on(
        folder: &Path,
        epoch: u64,
        policy: SyncPolicy,
        retention: Retention,
        now: Now,
        disk: impl FnOnce(File, Arc<Doorbell>) -> Box<dyn Disk>,
    ) -> Writer {
        let mut past = read(folder, retention, now);
        let epoch = Epoch(epoch);
        let first = past.newest + 1;
        let runs = Runs::new(past.runs.clone(), Run { epoch, first });
        let poll = Poll::new().unwrap();
        let doorbell = Doorbell::new(poll.registry(), Token(0)).unwrap();
        let bell = Arc::clone(&doorbell);
        let folder = Folder::take(folder).unwrap();
        let disk = disk(folder.open().unwrap(), bell);
        let journal = Journal::start(folder, &mut past, &runs, SECRET, policy, disk, now);
        let rules = Rules {
            order_statuses: Vec::new(),
            max_message: 1 << 20,
        };
        Writer {
            journal,
            poll,
            builder: BlockBuilder::new(epoch, hasher(), 1 << 20),
            parser: Parser::new(rules),
            next: first,
            now,
            doorbell,
        }
    }

    /// Appends a block of so many events, each with a key.
    fn append(&mut self, events: u64) {
        let keys: Vec<Key> = (self.next..self.next + events).map(key).collect();
        for _ in 0..events {
            let line = br#"{"type":"order:deleted","data":{"orderId":"o","customerId":"c"}}"#;
            match self.parser.parse(line) {
                Ok(Line::Event(event)) => self.builder.push(&event, self.next, 1).unwrap(),
                _ => panic!("it is an event"),
            }
            self.next += 1;
        }
        let block = self.builder.finish(self.now.instant, 0);
        self.journal.append(&[block], &keys, self.now);
    }

    fn newest(&self) -> u64 {
        self.next - 1
    }

    /// Turns until `done`, woken by the journal's thread alone.
    fn turn_until(&mut self, done: impl Fn(&Journal) -> bool) {
        let begun = Instant::now();
        let mut events = Events::with_capacity(4);
        while !done(&self.journal) {
            assert!(begun.elapsed() < PATIENCE, "nothing happened");
            self.doorbell.about_to_sleep();
            self.journal.turn(self.now);
            if !done(&self.journal) {
                self.poll.poll(&mut events, Some(PATIENCE)).unwrap();
            }
            self.doorbell.awake();
            self.journal.turn(self.now);
        }
    }

    fn make_safe(&mut self) {
        let newest = self.newest();
        self.turn_until(|journal| journal.safe_to() == newest);
    }
}

/// A disk that is written to at once, and does jobs when it is told to.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<(VecDeque<Job>, VecDeque<Synced>)>>);

impl Held {
    /// Ends the oldest sync with this result. How many files it was of.
    fn sync(&self, result: io::Result<()>) -> usize {
        let (jobs, done) = &mut *self.0.lock().unwrap();
        let Some(Job::Sync { files, .. }) = jobs.pop_front() else {
            panic!("a sync was asked for");
        };
        let took = Duration::ZERO;
        done.push_back(Synced { result, took });
        files.len()
    }
}

impl Disk for Held {
    fn write(&self, mut file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        file.write_vectored(parts)
    }

    fn ask(&self, job: Job) {
        self.0.lock().unwrap().0.push_back(job);
    }

    fn try_take(&self) -> Option<Synced> {
        self.0.lock().unwrap().1.pop_front()
    }

    fn has_answer(&self) -> bool {
        !self.0.lock().unwrap().1.is_empty()
    }
}

fn numbers(past: &Past) -> Vec<u64> {
    let frames = past.blocks.iter().flat_map(|block| &block.frames);
    frames.map(|frame| frame.id).collect()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// What a kill at this moment leaves: the files as they are.
fn snapshot(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

#[test]
fn what_was_appended_is_there_after_a_kill_even_before_it_is_safe() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(folder.path(), 0xa, SyncPolicy::Batch, RETENTION);
    writer.append(3);
    writer.append(2);
    let killed = snapshot(folder.path());
    let past = read(killed.path(), RETENTION, now());
    assert_eq!(numbers(&past), [1, 2, 3, 4, 5]);
    assert_eq!(past.newest, 5);
    assert_eq!(past.let_go(), 0);
    assert_eq!(past.secret, Some(SECRET));
    let epoch = Epoch(0xa);
    assert_eq!(past.runs, [Run { epoch, first: 1 }]);
    let keys: Vec<Key> = past.keys.iter().map(|aged| aged.key).collect();
    assert_eq!(keys, (1..=5).map(key).collect::<Vec<_>>());
}

#[test]
fn acks_wait_for_the_sync_and_the_next_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(folder.path(), 0xa, SyncPolicy::Batch, RETENTION);
    writer.append(3);
    assert_eq!(writer.journal.written_to(), 3);
    writer.make_safe();
    assert!(writer.journal.take_news());
    assert!(!writer.journal.take_news());
    drop(writer);

    let mut writer = Writer::start(folder.path(), 0xb, SyncPolicy::Batch, RETENTION);
    assert_eq!(writer.next, 4);
    writer.append(2);
    writer.make_safe();
    drop(writer);
    let past = read(folder.path(), RETENTION, now());
    assert_eq!(numbers(&past), [1, 2, 3, 4, 5]);
    let epochs: Vec<_> = past
        .runs
        .iter()
        .map(|run| (run.epoch.0, run.first))
        .collect();
    assert_eq!(epochs, [(0xa, 1), (0xb, 4)]);
}

/// A kill leaves what nobody has made safe, and a power failure may still take it.
#[test]
fn what_was_found_is_safe_when_a_sync_has_covered_it() {
    let folder = tempfile::tempdir().unwrap();
    let held = |disk: &Held| {
        let disk: Box<dyn Disk> = Box::new(disk.clone());
        |_, _| disk
    };
    let disk = Held::default();
    let batch = SyncPolicy::Batch;
    let mut writer = Writer::start_on(folder.path(), 0xa, batch, RETENTION, now(), held(&disk));
    writer.append(3);
    let killed = snapshot(folder.path());

    let disk = Held::default();
    let mut writer = Writer::start_on(killed.path(), 0xb, batch, RETENTION, now(), held(&disk));
    assert_eq!(writer.journal.written_to(), 3);
    assert_eq!(writer.journal.safe_to(), 0);
    assert_eq!(disk.sync(Err(io::Error::other("broken"))), 2);
    writer.journal.turn(writer.now);
    assert_eq!(writer.journal.safe_to(), 0);
    writer.now = later(writer.now, limits::JOURNAL_RETRY);
    writer.journal.turn(writer.now);
    assert_eq!(disk.sync(Ok(())), 2, "the first run's file again");
    writer.journal.turn(writer.now);
    assert_eq!(writer.journal.safe_to(), 3);
}

#[test]
fn without_a_batch_acks_do_not_wait_and_an_interval_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let every = Duration::from_secs(5);
    let policy = SyncPolicy::Interval(every);
    let mut writer = Writer::start(folder.path(), 0xa, policy, RETENTION);
    writer.append(1);
    assert_eq!(writer.journal.safe_to(), 1);
    assert_eq!(writer.journal.report().syncs, 0);
    assert_eq!(writer.journal.deadline(), Some(writer.now.instant + every));
    writer.now = later(writer.now, every);
    writer.turn_until(|journal| journal.report().syncs == 1);
    drop(writer);

    let mut writer = Writer::start(folder.path(), 0xb, SyncPolicy::Never, RETENTION);
    writer.append(1);
    assert_eq!(writer.journal.safe_to(), 2);
    assert_eq!(writer.journal.waiting.len(), 0);
}

#[test]
fn files_go_by_size_and_by_age_and_keys_stay_for_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let retention = Retention {
        weight: 256 * 1024,
        ..RETENTION
    };
    let mut writer = Writer::start(folder.path(), 0xa, SyncPolicy::Batch, retention);
    for _ in 0..64 {
        writer.append(100);
    }
    writer.make_safe();
    let begun = writer.now;
    drop(writer);
    let bytes: u64 = files(folder.path(), EVENTS)
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    let most = (retention.weight * 2) as u64;
    assert!(bytes < most, "{bytes}");
    let past = read(folder.path(), retention, begun);
    let kept: usize = past.blocks.iter().map(|block| block.weight()).sum();
    assert!(kept >= retention.weight, "{kept}");
    assert_eq!(past.keys.len(), 6_400);
    assert_eq!(past.keys[0].key, key(1));
    assert_eq!(past.newest, 6_400);

    // Ten minutes later nothing of it is needed, but that its numbers are used.
    let at = later(begun, Duration::from_secs(601));
    let mut writer = Writer::start_at(folder.path(), 0xb, SyncPolicy::Batch, retention, at);
    writer.turn_until(|journal| journal.report().syncs == 1);
    drop(writer);
    assert_eq!(files(folder.path(), KEYS).len(), 0);
    let past = read(folder.path(), retention, at);
    assert!(numbers(&past).is_empty());
    assert_eq!(past.newest, 6_400);
    assert_eq!(past.keys.len(), 0);
}

#[test]
fn an_idle_journal_lets_go_of_what_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(folder.path(), 0xa, SyncPolicy::Batch, RETENTION);
    let begun = writer.now;
    writer.append(1);
    writer.make_safe();
    while writer.now.instant < begun.instant + RETENTION.age * 2 {
        let due = writer.journal.deadline().unwrap();
        assert!(due > writer.now.instant, "it would turn without end");
        writer.now = later(writer.now, due - writer.now.instant);
        writer.journal.turn(writer.now);
    }
    writer.turn_until(|journal| journal.shelf.is_empty());
    let end = writer.now;
    drop(writer);
    assert_eq!(files(folder.path(), EVENTS).len(), 1);
    assert_eq!(files(folder.path(), KEYS).len(), 0);
    let past = read(folder.path(), RETENTION, end);
    assert_eq!(past.newest, 1, "numbers go on");
    assert!(past.blocks.is_empty() && past.keys.is_empty());
}

#[test]
fn whatever_happens_what_was_safe_is_there() {
    let retention = Retention {
        weight: 64 * 1024,
        ..RETENTION
    };
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut folder = tempfile::tempdir().unwrap();
        let mut safe = 0;
        for run in 1..4 {
            let mut writer = Writer::start(folder.path(), run, SyncPolicy::Batch, retention);
            assert!(writer.newest() >= safe, "seed {seed}");
            for _ in 0..random.usize(0..30) {
                match random.u8(0..4) {
                    0 => writer.journal.turn(writer.now),
                    1 => writer.make_safe(),
                    _ => writer.append(random.u64(1..40)),
                }
            }
            safe = writer.journal.safe_to();
            let written = writer.newest();
            let killed = snapshot(folder.path());
            drop(writer);
            let past = read(killed.path(), retention, now());
            assert_eq!(past.newest, written, "seed {seed}");
            let found = numbers(&past);
            let expected: Vec<u64> = (past.let_go() + 1..=past.newest).collect();
            assert_eq!(found, expected, "seed {seed}");
            folder = killed;
        }
    }
}
