//! What is read back of files that are torn, damaged, empty or not ours.

use super::*;

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

/// What cannot be read was seen by browsers all the same: its numbers are used.
#[test]
fn the_newest_events_count_though_nobody_can_read_them() {
    let damage_preface = |bytes: &mut Vec<u8>| bytes[record::HEAD] ^= 1;
    // A type that this version does not know, as after a step back to an older one.
    let rename_types = |bytes: &mut Vec<u8>| {
        let len = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
        let preface = std::str::from_utf8(&bytes[record::HEAD..record::HEAD + len]).unwrap();
        let renamed = preface.replace("order:deleted", "order:vanished");
        let body = [IoSlice::new(renamed.as_bytes())];
        let head = record::head(record::Kind::Preface, &body).unwrap();
        let rest = bytes.split_off(record::HEAD + len);
        *bytes = [&head[..], renamed.as_bytes(), &rest].concat();
    };
    let damages: [&dyn Fn(&mut Vec<u8>); 2] = [&damage_preface, &rename_types];
    for damage in damages {
        let folder = tempfile::tempdir().unwrap();
        for epoch in [0xa, 0xb] {
            let mut writer = Writer::start(folder.path(), epoch, SyncPolicy::Batch, RETENTION);
            writer.append(3);
            writer.make_safe();
        }
        let path = files(folder.path(), EVENTS).remove(1);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        for _ in 0..2 {
            let past = read(folder.path(), RETENTION, now());
            assert_eq!(numbers(&past), [0u64; 0]);
            assert_eq!((past.newest, past.let_go()), (6, 6));
        }
        Writer::start(folder.path(), 0xc, SyncPolicy::Batch, RETENTION).append(1);
        let past = read(folder.path(), RETENTION, now());
        assert_eq!(numbers(&past), [7]);
    }
}

#[test]
fn what_is_named_like_a_file_of_the_journal_and_is_none_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    Writer::start(folder.path(), 0xa, SyncPolicy::Batch, RETENTION).append(2);
    let mode = rustix::fs::Mode::RWXU;
    let pipe = path_of(folder.path(), 0, EVENTS);
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
    fs::create_dir(path_of(folder.path(), 7, EVENTS)).unwrap();
    fs::create_dir(path_of(folder.path(), 8, KEYS)).unwrap();
    let past = read(folder.path(), RETENTION, now());
    assert_eq!(numbers(&past), [1, 2]);
    Writer::start(folder.path(), 0xb, SyncPolicy::Batch, RETENTION).append(1);
    assert_eq!(numbers(&read(folder.path(), RETENTION, now())), [1, 2, 3]);
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
