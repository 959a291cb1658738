//! A disk that is full, in the way or broken.

use super::*;
use crate::journal::segment::path_of;

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
