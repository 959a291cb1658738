//! The journal on a real folder: written, killed, torn, damaged, full, and read back.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use mio::{Events, Poll, Token};

use super::segment::{EVENTS, KEYS, path_of};
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
fn a_torn_end_is_cut_wherever_it_was_torn_and_the_next_run_goes_on_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(folder.path(), 0xa, SyncPolicy::Batch, RETENTION);
    writer.append(2);
    let whole = fs::metadata(&files(folder.path(), EVENTS)[0])
        .unwrap()
        .len();
    writer.append(2);
    let end = fs::metadata(&files(folder.path(), EVENTS)[0])
        .unwrap()
        .len();
    for len in whole + 1..end {
        let killed = snapshot(folder.path());
        let path = files(killed.path(), EVENTS).remove(0);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(len)
            .unwrap();
        let mut writer = Writer::start(killed.path(), 0xb, SyncPolicy::Never, RETENTION);
        assert_eq!(fs::metadata(&path).unwrap().len(), whole, "cut at {len}");
        writer.append(1);
        drop(writer);
        let past = read(killed.path(), RETENTION, now());
        assert_eq!(numbers(&past), [1, 2, 3]);
        assert_eq!(past.runs.len(), 2);
    }
}

#[test]
fn a_file_that_was_just_being_made_is_as_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(folder.path(), 0xa, SyncPolicy::Batch, RETENTION);
    writer.append(2);
    drop(writer);
    for text in ["", "half a pre"] {
        fs::write(path_of(folder.path(), 9, EVENTS), text).unwrap();
        fs::write(folder.path().join("0000000000000001.unfinished"), "x").unwrap();
        let past = read(folder.path(), RETENTION, now());
        assert_eq!(numbers(&past), [1, 2]);
        assert_eq!(files(folder.path(), EVENTS).len(), 1);
        assert_eq!(files(folder.path(), "unfinished").len(), 0);
    }
}

#[test]
fn history_begins_behind_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(folder.path(), 0xa, SyncPolicy::Batch, RETENTION);
    writer.append(2);
    writer.make_safe();
    let path = files(folder.path(), EVENTS).remove(0);
    let at = fs::metadata(&path).unwrap().len() as usize + record::HEAD + 40;
    for _ in 0..2 {
        writer.append(2);
        writer.make_safe();
    }
    drop(writer);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let past = read(folder.path(), RETENTION, now());
    assert_eq!(numbers(&past), [5, 6]);
    assert_eq!(past.let_go(), 4);
    assert_eq!(past.keys.len(), 4, "those of the damaged record are gone");

    // The end of an earlier run's file.
    let mut writer = Writer::start(folder.path(), 0xb, SyncPolicy::Batch, RETENTION);
    writer.make_safe();
    writer.append(1);
    drop(writer);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let past = read(folder.path(), RETENTION, now());
    assert_eq!(numbers(&past), [7]);
    assert_eq!(past.newest, 7);

    // The whole of it.
    fs::write(&path, "nothing of a journal").unwrap();
    let past = read(folder.path(), RETENTION, now());
    assert_eq!(numbers(&past), [7]);
}

/// A power failure may take what was written first and leave what was written last.
#[test]
fn what_follows_a_hole_of_unsafe_events_is_not_kept() {
    for next_file in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let disk = Held::default();
        let held = |_, _| -> Box<dyn Disk> { Box::new(disk.clone()) };
        let batch = SyncPolicy::Batch;
        let mut writer = Writer::start_on(folder.path(), 0xa, batch, RETENTION, now(), held);
        let path = files(folder.path(), EVENTS).remove(0);
        let len = || fs::metadata(&path).unwrap().len();
        disk.sync(Ok(()));
        writer.journal.turn(writer.now);
        writer.append(3);
        disk.sync(Ok(()));
        writer.journal.turn(writer.now);
        assert_eq!(writer.journal.safe_to(), 3);
        let start = len();
        writer.append(2);
        let end = len();
        if next_file {
            writer.journal.finish_segment(writer.now.instant);
        }
        writer.append(2);
        let lost = snapshot(folder.path());
        let path = files(lost.path(), EVENTS).remove(0);
        let mut bytes = fs::read(&path).unwrap();
        bytes[start as usize..end as usize].fill(0);
        fs::write(&path, bytes).unwrap();
        let past = read(lost.path(), RETENTION, now());
        assert_eq!((numbers(&past), past.newest), (vec![1, 2, 3], 3));
        // And so it stays.
        let mut writer = Writer::start(lost.path(), 0xb, batch, RETENTION);
        writer.append(1);
        drop(writer);
        let past = read(lost.path(), RETENTION, now());
        assert_eq!(numbers(&past), [1, 2, 3, 4]);
    }
}

/// What a file of keys tells of events that were lost with their own file.
#[test]
fn keys_of_lost_events_are_as_good_as_new() {
    let folder = tempfile::tempdir().unwrap();
    let preface = Preface::new(SECRET, &Runs::only(Epoch(0xa)));
    let mut keys = Vec::new();
    for number in [1, 2, 3] {
        let (key, wall_ms) = (key(number), now().wall_ms);
        body::put_key(AgedKey { key, wall_ms }, &mut keys);
    }
    let head = record::head(Kind::Keys, &[IoSlice::new(&keys)]).unwrap();
    let file = [&preface.record()[..], &head, &keys].concat();
    fs::write(path_of(folder.path(), 1, KEYS), file).unwrap();
    let file = preface.before(3).record();
    fs::write(path_of(folder.path(), 2, EVENTS), file).unwrap();
    let past = read(folder.path(), RETENTION, now());
    assert_eq!(past.newest, 2);
    let known: Vec<Key> = past.keys.iter().map(|aged| aged.key).collect();
    assert_eq!(known, [key(1), key(2)]);
}

#[test]
fn what_is_written_twice_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let retention = Retention {
        // Less than two blocks of a hundred events, and more than one.
        weight: 16_000,
        ..RETENTION
    };
    let disk = Held::default();
    let held = |_, _| -> Box<dyn Disk> { Box::new(disk.clone()) };
    let batch = SyncPolicy::Batch;
    let mut writer = Writer::start_on(folder.path(), 0xa, batch, retention, now(), held);
    writer.append(100);
    let weight = writer.journal.waiting_weight;
    assert!((8_001..16_000).contains(&weight), "{weight}");
    disk.sync(Ok(()));
    writer.journal.turn(writer.now);
    disk.sync(Ok(()));
    writer.journal.turn(writer.now);
    writer.append(100);
    disk.sync(Err(io::Error::other("broken")));
    writer.journal.turn(writer.now);
    writer.now = later(writer.now, limits::JOURNAL_RETRY);
    writer.journal.turn(writer.now);
    disk.sync(Ok(()));
    writer.journal.turn(writer.now);
    assert_eq!(writer.journal.safe_to(), 200);
    drop(writer);
    let past = read(folder.path(), retention, now());
    assert_eq!(past.let_go(), 0);
    let asked = &disk.0.lock().unwrap().0;
    assert!(asked.is_empty(), "no file was to be removed");
}

/// As a power failure leaves it: the name was there before what is in it.
#[test]
fn a_file_with_nothing_in_it_is_no_hole() {
    let folder = tempfile::tempdir().unwrap();
    for run in [0xa, 0xb] {
        let mut writer = Writer::start(folder.path(), run, SyncPolicy::Batch, RETENTION);
        writer.append(2);
        writer.make_safe();
    }
    let path = |number| path_of(folder.path(), number, EVENTS);
    fs::rename(path(2), path(3)).unwrap();
    fs::write(path(2), "").unwrap();
    let past = read(folder.path(), RETENTION, now());
    assert_eq!(numbers(&past), [1, 2, 3, 4]);
}

#[test]
fn what_a_newer_version_wrote_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let preface = br#"{"format":2,"something":"new"}"#;
    let head = record::head(Kind::Preface, &[IoSlice::new(preface)]).unwrap();
    let path = path_of(folder.path(), 1, EVENTS);
    fs::write(&path, [&head[..], preface].concat()).unwrap();
    let error = Past::read(folder.path(), RETENTION, &hasher(), now())
        .err()
        .unwrap();
    assert!(error.contains("newer shopwire (format 2"), "{error}");
    assert!(path.exists());
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
fn a_full_disk_is_told_and_gone_round_when_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(folder.path(), 0xa, SyncPolicy::Batch, RETENTION);
    writer.append(1);
    writer.make_safe();
    let full = File::options().write(true).open("/dev/full").unwrap();
    writer.journal.segment.as_mut().unwrap().segment.file = Arc::new(full);
    writer.append(2);
    let trouble = writer.journal.trouble().unwrap();
    assert!(trouble.contains("No space left on device"), "{trouble}");
    assert_eq!(writer.journal.written_to(), 1);
    assert!(writer.journal.report().is_failing);
    // It is not tried again with every block.
    writer.append(1);
    assert_eq!(writer.journal.written_to(), 1);
    writer.now = later(writer.now, limits::JOURNAL_RETRY);
    assert!(writer.journal.deadline().unwrap() <= writer.now.instant);
    writer.journal.turn(writer.now);
    assert_eq!(writer.journal.trouble(), None);
    writer.make_safe();
    drop(writer);
    let past = read(folder.path(), RETENTION, now());
    assert_eq!(numbers(&past), [1, 2, 3, 4]);
}

#[test]
fn a_file_that_stands_in_the_way_is_gone_round() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(folder.path(), 0xa, SyncPolicy::Batch, RETENTION);
    writer.append(1);
    writer.make_safe();
    let next = path_of(folder.path(), writer.journal.next_file, EVENTS);
    fs::write(&next, "somebody else's").unwrap();
    writer.journal.finish_segment(writer.now.instant);
    writer.append(1);
    assert!(writer.journal.trouble().is_some());
    writer.now = later(writer.now, limits::JOURNAL_RETRY);
    writer.journal.turn(writer.now);
    writer.make_safe();
    drop(writer);
    assert_eq!(fs::read(&next).unwrap(), b"somebody else's");
    fs::remove_file(&next).unwrap();
    assert_eq!(numbers(&read(folder.path(), RETENTION, now())), [1, 2]);
}

#[test]
fn what_a_failed_sync_leaves_in_doubt_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(folder.path(), 0xa, SyncPolicy::Batch, RETENTION);
    writer.append(1);
    writer.make_safe();
    // A pipe takes all that is written and cannot be synced.
    let (_reader, pipe) = io::pipe().unwrap();
    let pipe = File::from(std::os::fd::OwnedFd::from(pipe));
    writer.journal.segment.as_mut().unwrap().segment.file = Arc::new(pipe);
    writer.append(2);
    assert_eq!(writer.journal.written_to(), 3);
    writer.turn_until(|journal| journal.trouble().is_some());
    assert_eq!(writer.journal.safe_to(), 1);
    assert_eq!(writer.journal.written_to(), 1);
    writer.now = later(writer.now, limits::JOURNAL_RETRY);
    writer.journal.turn(writer.now);
    writer.make_safe();
    drop(writer);
    assert_eq!(numbers(&read(folder.path(), RETENTION, now())), [1, 2, 3]);
}

#[test]
fn a_journal_in_trouble_holds_what_the_history_does() {
    let folder = tempfile::tempdir().unwrap();
    let retention = Retention {
        weight: 20_000,
        ..RETENTION
    };
    let mut writer = Writer::start(folder.path(), 0xa, SyncPolicy::Batch, retention);
    writer.append(1);
    writer.make_safe();
    let full = File::options().write(true).open("/dev/full").unwrap();
    writer.journal.segment.as_mut().unwrap().segment.file = Arc::new(full);
    for _ in 0..100 {
        writer.append(10);
        let front = writer.journal.waiting.front().unwrap().block.weight();
        assert!(writer.journal.waiting_weight - front < retention.weight);
    }
    writer.now = later(writer.now, limits::JOURNAL_RETRY);
    writer.journal.turn(writer.now);
    writer.make_safe();
    drop(writer);
    let past = read(folder.path(), retention, now());
    assert_eq!(past.newest, 1_001);
    assert!(past.let_go() > 1, "there is a hole behind the first event");
    let kept: usize = past.blocks.iter().map(|block| block.weight()).sum();
    assert!(kept >= retention.weight, "{kept}");
}

/// Blocks, syncs, kills and torn ends in any order: what was safe is there, and numbers never go back.
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
