//! Reading a journal back at start: what earlier runs have left in the folder.
//!
//! Nothing that is wrong with a file stops the start, unless a newer shopwire wrote it: what is
//! damaged is told and passed over. The history begins behind the last hole, so that nobody is led
//! over one without a word.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::body::{self, AgedKey};
use super::record::{self, Found, Kind};
use super::segment::{EVENTS, FORMAT, KEYS, Preface, number_of};
use super::shelf::{self, Retention, Shelf};
use crate::clock::Now;
use crate::event::stored::{self, Lexicon};
use crate::event::{Block, NameHasher, Run};

/// What earlier runs have left.
pub struct Past {
    /// Events that are still kept, oldest first, without a hole.
    pub blocks: VecDeque<Arc<Block>>,
    /// Keys within their window, in the order of use.
    pub keys: VecDeque<AgedKey>,
    /// What the keys are hashed with, if there has been a run before.
    pub secret: Option<(u64, u64)>,
    /// The runs before this one, oldest first.
    pub runs: Vec<Run>,
    /// The number of the newest event; 0 before the first.
    pub newest: u64,
    /// The files.
    pub(super) shelf: Shelf,
    /// The files of events, open: a kill leaves what nobody has made safe.
    pub(super) files: Vec<Arc<File>>,
    /// The number of the newest file; 0 before the first.
    pub(super) newest_file: u64,
    weight: usize,
    /// All files of events.
    paths: Vec<PathBuf>,
    retention: Retention,
    now: Now,
}

/// How far a file could be read.
#[derive(PartialEq, Eq)]
enum Reached {
    /// To its end.
    End,
    /// To where events are missing that had not been made safe: nothing behind them had, either.
    Tear,
}

impl Past {
    /// Nothing.
    pub fn none(retention: Retention, now: Now) -> Past {
        Past {
            blocks: VecDeque::new(),
            keys: VecDeque::new(),
            secret: None,
            runs: Vec::new(),
            newest: 0,
            shelf: Shelf::default(),
            files: Vec::new(),
            newest_file: 0,
            weight: 0,
            paths: Vec::new(),
            retention,
            now,
        }
    }

    /// Reads the files in `folder`, and cuts a torn end off the last one.
    ///
    /// # Errors
    /// A sentence, if the folder cannot be read or was written by a newer version.
    pub fn read(
        folder: &Path,
        retention: Retention,
        hasher: &NameHasher,
        now: Now,
    ) -> Result<Past, String> {
        let mut past = Past::none(retention, now);
        let files = list(folder).map_err(|error| cannot_read(folder, &error))?;
        for path in &files.keys {
            past.read_keys(path)?;
        }
        past.paths.clone_from(&files.events);
        let mut paths = files.events.iter();
        while let Some(path) = paths.next() {
            if past.read_events(path, paths.len() == 0, hasher)? == Reached::Tear {
                break;
            }
        }
        for path in paths {
            log::warn!(
                "{} continued what was lost, and was removed",
                path.display()
            );
            fs::remove_file(path).map_err(|error| cannot_write(path, &error))?;
        }
        past.newest_file = files.newest;
        past.forget_lost_keys();
        past.sweep();
        Ok(past)
    }

    /// The number of the newest event that is kept no more.
    pub fn let_go(&self) -> u64 {
        self.blocks
            .front()
            .map_or(self.newest, |block| block.first_id() - 1)
    }

    /// How much is kept.
    pub(super) fn retention(&self) -> Retention {
        self.retention
    }

    fn read_keys(&mut self, path: &Path) -> Result<(), String> {
        let bytes = fs::read(path).map_err(|error| cannot_read(path, &error))?;
        let mut newest_ms = 0;
        if let Some(preface) = preface(path, &bytes)? {
            self.secret = preface.secret();
            for found in record::scan(&bytes) {
                match found {
                    Found::Record(Kind::Keys, body) => {
                        for key in body::keys(body) {
                            newest_ms = newest_ms.max(key.wall_ms);
                            self.remember(key);
                        }
                    }
                    Found::Record(..) => {}
                    Found::Damage { at, len } | Found::Tail { at, len } => {
                        tell_damage(path, at, len);
                    }
                }
            }
        }
        let path = path.to_owned();
        self.shelf.add_keys(shelf::Keys { path, newest_ms });
        Ok(())
    }

    fn read_events(
        &mut self,
        path: &Path,
        is_last: bool,
        hasher: &NameHasher,
    ) -> Result<Reached, String> {
        let open = || -> io::Result<(File, Vec<u8>)> {
            let (mut file, mut bytes) = (File::open(path)?, Vec::new());
            file.read_to_end(&mut bytes)?;
            Ok((file, bytes))
        };
        let (file, bytes) = open().map_err(|error| cannot_read(path, &error))?;
        self.files.push(Arc::new(file));
        let mut file = shelf::Events {
            path: path.to_owned(),
            len: bytes.len() as u64,
            ..shelf::Events::default()
        };
        let Some(preface) = preface(path, &bytes)? else {
            let is_record = |found| matches!(found, Found::Record(..));
            if record::scan(&bytes).any(is_record) {
                self.pass_over(&bytes);
            } else if is_last {
                // The process ended while it was being made.
                fs::remove_file(path).map_err(|error| cannot_write(path, &error))?;
                return Ok(Reached::End);
            }
            // Else the power ended while it was being made, and nothing that followed was safe.
            file.newest_ms = self.now.wall_ms;
            self.shelf.add(file);
            return Ok(Reached::End);
        };
        let next = preface.next();
        if self.is_tear(next) {
            self.tell_tear(next);
            fs::remove_file(path).map_err(|error| cannot_write(path, &error))?;
            return Ok(Reached::Tear);
        }
        self.secret = preface.secret();
        self.runs = preface.runs().collect();
        self.expect(next);
        let lexicon = preface.lexicon();
        // Where the last record that counts ends.
        let (mut at, mut end) = (0, 0);
        for found in record::scan(&bytes) {
            at += found.len();
            match found {
                Found::Record(Kind::Block, body) => {
                    let block = self.read_block(path, body, &lexicon, hasher);
                    if block.is_none() {
                        self.expect_behind(body);
                    }
                    if let Some((_, block)) = &block
                        && self.is_tear(block.first_id())
                    {
                        self.tell_tear(block.first_id());
                        cut(path, end).map_err(|error| cannot_write(path, &error))?;
                        file.len = end as u64;
                        self.shelf.add(file);
                        return Ok(Reached::Tear);
                    }
                    if let Some((events, block)) = block {
                        self.take(&events, block, &mut file);
                    }
                    end = at;
                }
                Found::Record(..) => end = at,
                // A last record that is damaged looks like one that was not finished. Taken for a hole,
                // every torn end would cost the whole history, which begins behind the last hole.
                Found::Tail { at, len } if is_last => {
                    log::warn!(
                        "{} ended in {len} bytes of an unfinished write, which were cut off",
                        path.display()
                    );
                    cut(path, at).map_err(|error| cannot_write(path, &error))?;
                    file.len = at as u64;
                }
                Found::Damage { at, len } | Found::Tail { at, len } => tell_damage(path, at, len),
            }
        }
        self.shelf.add(file);
        Ok(Reached::End)
    }

    /// The block in a record, if it is one that is new.
    fn read_block<'a>(
        &self,
        path: &Path,
        body: &'a [u8],
        lexicon: &Lexicon,
        hasher: &NameHasher,
    ) -> Option<(body::Events<'a>, Block)> {
        let read = body::Events::read(body).and_then(|events| {
            let age = self.now.wall_ms.saturating_sub(events.wall_ms);
            let received = self.received(Duration::from_millis(age));
            let block = stored::read(events.block, lexicon, hasher, received)?;
            Ok((events, block))
        });
        match read {
            // Written again, when nobody could know whether it was safe the first time.
            Ok((_, block)) if block.last_id() <= self.newest && !self.blocks.is_empty() => None,
            Ok(read) => Some(read),
            Err(fault) => {
                log::warn!("{}: a record is no block: {}", path.display(), fault.0);
                None
            }
        }
    }

    /// A file whose numbers stand for nobody knows what: its events are lost.
    fn pass_over(&mut self, bytes: &[u8]) {
        self.forget_events();
        for found in record::scan(bytes) {
            if let Found::Record(Kind::Block, body) = found {
                self.expect_behind(body);
            }
        }
    }

    /// The events in this record cannot be read, or are known: their numbers are not given anew, and
    /// nobody is led over them.
    fn expect_behind(&mut self, body: &[u8]) {
        let events = body::Events::read(body);
        if let Ok(last) = events.and_then(|events| stored::last_id(events.block)) {
            self.expect(last + 1);
        }
    }

    fn take(&mut self, events: &body::Events<'_>, block: Block, file: &mut shelf::Events) {
        self.expect(block.first_id());
        file.weight += block.weight();
        file.newest_ms = file.newest_ms.max(events.wall_ms);
        for key in events.keys() {
            file.newest_key_ms = file.newest_key_ms.max(key.wall_ms);
            self.remember(key);
        }
        self.newest = block.last_id();
        self.weight += block.weight();
        self.blocks.push_back(Arc::new(block));
        while let Some(front) = self.blocks.front()
            && self.weight - front.weight() >= self.retention.weight
        {
            self.let_go_of_front();
        }
    }

    /// Whether this number cannot follow because events before it were never made safe: a power failure
    /// took them, and left what was written later. Nothing of that was acknowledged.
    fn is_tear(&self, number: u64) -> bool {
        number > self.newest + 1 && !self.blocks.is_empty() && number - 1 > settled_to(&self.paths)
    }

    fn tell_tear(&self, number: u64) {
        log::warn!(
            "the events {} to {} were written and not made safe, and are lost; so is what follows \
             them",
            self.newest + 1,
            number - 1
        );
    }

    /// When a block of this age was received; of one that is too old, that it is.
    fn received(&self, age: Duration) -> Instant {
        let enough = self.retention.age + Duration::from_secs(1);
        let now = self.now.instant;
        now.checked_sub(age.min(enough)).unwrap_or(now)
    }

    fn remember(&mut self, key: AgedKey) {
        if key.wall_ms >= self.retention.oldest_key_ms(self.now.wall_ms) {
            self.keys.push_back(key);
        }
    }

    /// The event with this number comes next, or later: if others should have come before, they
    /// were lost.
    fn expect(&mut self, number: u64) {
        if number <= self.newest + 1 {
            return;
        }
        // The first file that is left of a longer journal begins somewhere.
        if !self.blocks.is_empty() {
            log::warn!(
                "the journal has a hole between its events {} and {number}: what is before it \
                 cannot be replayed",
                self.newest
            );
            self.forget_events();
        }
        self.newest = number - 1;
    }

    /// A key of an event that was lost before it was safe is as good as new: its number is given anew.
    fn forget_lost_keys(&mut self) {
        let newest = self.newest;
        self.keys.retain(|aged| aged.key.number <= newest);
    }

    fn forget_events(&mut self) {
        self.blocks.clear();
        self.weight = 0;
    }

    fn let_go_of_front(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            self.weight -= block.weight();
        }
    }

    /// Lets go of what is too old.
    fn sweep(&mut self) {
        let now = self.now.instant;
        while let Some(front) = self.blocks.front()
            && now.saturating_duration_since(front.received) > self.retention.age
        {
            self.let_go_of_front();
        }
        let (let_go, oldest_key) = (
            self.let_go(),
            self.retention.oldest_key_ms(self.now.wall_ms),
        );
        // A run is known as long as an id of it can be asked for: by who has seen all of it, or by
        // who repeats a key.
        let is_needed = |index: usize| match self.runs.get(index + 1) {
            Some(next) => next.first > let_go || next.epoch.began_ms() >= oldest_key,
            None => true,
        };
        let first = (0..self.runs.len()).find(|&index| is_needed(index));
        self.runs.drain(..first.unwrap_or(0));
    }
}

/// Up to which number these files say that events were safe.
fn settled_to(paths: &[PathBuf]) -> u64 {
    let in_file = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        let records = record::scan(&bytes).filter_map(|found| match found {
            Found::Record(Kind::Block, body) => body::Events::read(body).ok(),
            _ => None,
        });
        records.map(|events| events.settled_to).max()
    };
    paths.iter().filter_map(in_file).max().unwrap_or(0)
}

/// The files of a journal by kind, oldest first.
#[derive(Default)]
struct Files {
    events: Vec<PathBuf>,
    keys: Vec<PathBuf>,
    newest: u64,
}

fn list(folder: &Path) -> io::Result<Files> {
    let mut files = Files::default();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let (events, keys) = (number_of(&path, EVENTS), number_of(&path, KEYS));
        files.newest = files.newest.max(events.or(keys).unwrap_or(0));
        let is_ours = events.or(keys).is_some();
        if is_ours && !fs::metadata(&path).is_ok_and(|found| found.is_file()) {
            // Read, a pipe would keep us waiting.
            log::warn!("{} is no file, and is passed over", path.display());
        } else if events.is_some() {
            files.events.push(path);
        } else if keys.is_some() {
            files.keys.push(path);
        } else if path
            .extension()
            .is_some_and(|end| end == super::whole_file::UNFINISHED)
        {
            fs::remove_file(path)?;
        }
    }
    files.events.sort();
    files.keys.sort();
    Ok(files)
}

/// What every version's preface begins with.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// The preface of a file; `None` if it has none that can be read.
fn preface(path: &Path, bytes: &[u8]) -> Result<Option<Preface>, String> {
    let Some(Found::Record(Kind::Preface, body)) = record::scan(bytes).next() else {
        log::warn!(
            "{} does not begin as a file of a journal does; nothing in it was read",
            path.display()
        );
        return Ok(None);
    };
    if let Ok(Version { format }) = serde_json::from_slice(body)
        && format > FORMAT
    {
        return Err(format!(
            "{} was written by a newer shopwire (format {format}, this one knows {FORMAT}): start \
             that one, or name another folder",
            path.display()
        ));
    }
    match serde_json::from_slice(body) {
        Ok(preface) => Ok(Some(preface)),
        Err(error) => {
            log::warn!("{}: its preface cannot be read: {error}", path.display());
            Ok(None)
        }
    }
}

fn tell_damage(path: &Path, at: usize, len: usize) {
    log::warn!(
        "{} is damaged: {len} bytes from byte {at} on were passed over",
        path.display()
    );
}

fn cut(path: &Path, len: usize) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_len(len as u64)?;
    file.sync_all()
}

fn cannot_read(path: &Path, error: &io::Error) -> String {
    format!("the journal {} cannot be read: {error}", path.display())
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("the journal {} cannot be written: {error}", path.display())
}
