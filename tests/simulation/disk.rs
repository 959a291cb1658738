//! A disk that is slow, full or broken when the simulation says so, and that forgets.
//!
//! It lies on real files. What was written is in them at once, as the kernel has it; what is *safe* is
//! kept beside: the length of each file at its last sync, and which names the folder's last sync has
//! covered. A power failure takes back what was not, as far as chance will have it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use shopwire::journal::{self, Job, Synced};

/// The disk; clones are the same one.
#[derive(Clone)]
pub struct Disk(Arc<Mutex<State>>);

struct State {
    /// The journal's folder, and a place for what was removed from it.
    folder: PathBuf,
    attic: PathBuf,
    /// Files whose removal is not safe: what they were called, and what they are called now.
    removed: Vec<(PathBuf, PathBuf)>,
    removals: u64,
    /// Bytes that are safe, by inode.
    safe: HashMap<u64, u64>,
    /// Files, by inode, whose name is safe.
    named: HashSet<u64>,
    jobs: VecDeque<Job>,
    done: VecDeque<Synced>,
    /// Bytes that it still has room for; `None`: enough.
    room: Option<usize>,
    /// The process that writes has been killed.
    is_cut_off: bool,
    /// Something has failed since the server began.
    has_failed: bool,
}

impl Disk {
    /// An empty one, below `parent`.
    pub fn new(parent: &Path) -> Disk {
        let (folder, attic) = (parent.join("journal"), parent.join("attic"));
        fs::create_dir(&attic).unwrap();
        Disk(Arc::new(Mutex::new(State {
            folder,
            attic,
            removed: Vec::new(),
            removals: 0,
            safe: HashMap::new(),
            named: HashSet::new(),
            jobs: VecDeque::new(),
            done: VecDeque::new(),
            room: None,
            is_cut_off: false,
            has_failed: false,
        })))
    }

    /// Where the journal lies.
    pub fn folder(&self) -> PathBuf {
        self.state().folder.clone()
    }

    /// Whether something has failed since the server began.
    pub fn has_failed(&self) -> bool {
        self.state().has_failed
    }

    /// From now on there is room for so many bytes; `None`: for all.
    pub fn set_room(&self, room: Option<usize>) {
        self.state().room = room;
    }

    /// Does the oldest job; a sync that `fails` makes nothing safe.
    pub fn work(&self, fails: bool) -> Option<&'static str> {
        let mut state = self.state();
        let job = state.jobs.pop_front()?;
        Some(state.work(job, fails))
    }

    /// A process begins to write.
    pub fn begin(&self) {
        let mut state = self.state();
        state.is_cut_off = false;
        state.has_failed = false;
        state.forget_removed();
    }

    /// The process that writes is killed: it does no more, and what it had asked for is not done.
    pub fn cut_off(&self) {
        let mut state = self.state();
        state.is_cut_off = true;
        state.jobs.clear();
        state.done.clear();
    }

    /// The power fails: what was not safe may be gone.
    pub fn lose_power(&self, random: &mut Rng) {
        self.state().lose_power(random);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl journal::Disk for Disk {
    fn write(&self, mut file: &File, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state();
        if state.is_cut_off {
            return Ok(parts.iter().map(|part| part.len()).sum());
        }
        let Some(room) = state.room else {
            return file.write_vectored(parts);
        };
        if room == 0 {
            state.has_failed = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let part = parts.iter().find(|part| !part.is_empty());
        let part: &[u8] = part.map_or(&[], |part| part);
        let written = file.write(&part[..part.len().min(room)])?;
        state.room = Some(room - written);
        Ok(written)
    }

    fn ask(&self, job: Job) {
        let mut state = self.state();
        if !state.is_cut_off {
            state.jobs.push_back(job);
        }
    }

    fn try_take(&self) -> Option<Synced> {
        self.state().done.pop_front()
    }

    fn has_answer(&self) -> bool {
        !self.state().done.is_empty()
    }
}

impl State {
    fn work(&mut self, job: Job, fails: bool) -> &'static str {
        match job {
            Job::Sync { .. } if fails => {
                self.has_failed = true;
                self.answer(Err(io::Error::other("the disk is broken")));
                "fails to sync"
            }
            Job::Sync { files, is_new } => {
                for file in files {
                    let found = file.metadata().unwrap();
                    self.safe.insert(found.ino(), found.len());
                }
                if is_new {
                    self.sync_names();
                }
                self.answer(Ok(()));
                "syncs"
            }
            Job::Remove(path) => {
                self.put_away(&path);
                "removes a file"
            }
            Job::Condense { ref path, .. } => {
                // It is removed behind the folder's sync, and may be there again.
                let kept = self.attic_path();
                fs::hard_link(path, &kept).unwrap();
                let removed = (path.clone(), kept);
                let folder = File::open(&self.folder).unwrap();
                assert!(job.run(&folder).is_none(), "it has no answer");
                self.sync_names();
                for (path, found) in self.files() {
                    if path.extension().is_some_and(|end| end == "keys") {
                        self.safe.insert(found.ino(), found.len());
                    }
                }
                self.removed.push(removed);
                "condenses a file"
            }
        }
    }

    fn answer(&mut self, result: io::Result<()>) {
        let took = Duration::ZERO;
        self.done.push_back(Synced { result, took });
    }

    fn put_away(&mut self, path: &Path) {
        let kept = self.attic_path();
        fs::rename(path, &kept).unwrap();
        self.removed.push((path.to_owned(), kept));
    }

    fn attic_path(&mut self) -> PathBuf {
        self.removals += 1;
        self.attic.join(self.removals.to_string())
    }

    /// Every name and every removal so far is safe.
    fn sync_names(&mut self) {
        self.named = self.files().map(|(_, found)| found.ino()).collect();
        for (_, kept) in self.removed.drain(..) {
            fs::remove_file(kept).unwrap();
        }
    }

    /// The files of the journal, in the order of their names.
    fn files(&self) -> impl Iterator<Item = (PathBuf, fs::Metadata)> + use<> {
        let entries = fs::read_dir(&self.folder).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some());
        paths.sort();
        paths.into_iter().map(|path| {
            let found = fs::metadata(&path).unwrap();
            (path, found)
        })
    }

    fn lose_power(&mut self, random: &mut Rng) {
        if !self.folder.exists() {
            return;
        }
        for (path, kept) in std::mem::take(&mut self.removed) {
            if random.bool() {
                fs::rename(kept, path).unwrap();
            } else {
                fs::remove_file(kept).unwrap();
            }
        }
        for (path, found) in self.files() {
            let safe = self.safe.get(&found.ino()).copied().unwrap_or(0);
            // A server that starts may have cut it.
            let safe = safe.min(found.len());
            if !self.named.contains(&found.ino()) && random.bool() {
                fs::remove_file(path).unwrap();
                continue;
            }
            let len = match random.u8(0..4) {
                0 => safe,
                1 => found.len(),
                _ => random.u64(safe..=found.len()),
            };
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(len).unwrap();
            if random.u8(0..4) == 0 {
                // The file was made longer, and its bytes did not get there.
                file.set_len(random.u64(len..=found.len())).unwrap();
            }
        }
        self.settle();
    }

    /// An inode's number may be another file's before long.
    fn forget_removed(&mut self) {
        if self.folder.exists() {
            let mut there: HashSet<u64> = self.files().map(|(_, found)| found.ino()).collect();
            for (_, kept) in &self.removed {
                there.insert(fs::metadata(kept).unwrap().ino());
            }
            self.safe.retain(|inode, _| there.contains(inode));
            self.named.retain(|inode| there.contains(inode));
        }
    }

    /// What is on the disk now is what there is.
    fn settle(&mut self) {
        self.safe = self
            .files()
            .map(|(_, found)| (found.ino(), found.len()))
            .collect();
        self.named = self.safe.keys().copied().collect();
    }
}
