//! The finished files of a journal, and which of them are not needed any more.
//!
//! Pure: sizes and times in, paths out. What is kept is what the history keeps (by size and by age),
//! rounded up to whole files; keys are kept for their window, however old or many the events are.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// At least so many bytes of events ...
    pub weight: usize,
    /// ... unless they are older than this.
    pub age: Duration,
    /// Keys for so long.
    pub keys: Duration,
}

impl Retention {
    /// Events from before this time are too old, in ms since 1970.
    pub fn oldest_event_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(ms(self.age))
    }

    /// Keys used before this time are forgotten, in ms since 1970.
    pub fn oldest_key_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(ms(self.keys))
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A finished file of events.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Events {
    /// Where it is.
    pub path: PathBuf,
    /// Its size on disk, in bytes.
    pub len: u64,
    /// What its events weigh in the history, in bytes.
    pub weight: usize,
    /// When the newest was written, in ms since 1970.
    pub newest_ms: u64,
    /// When the newest with a key was; 0 for none.
    pub newest_key_ms: u64,
}

/// A file of keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keys {
    /// Where it is.
    pub path: PathBuf,
    /// When the newest was used, in ms since 1970.
    pub newest_ms: u64,
}

/// What shall become of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Retired {
    /// Nothing in it is needed.
    Whole(PathBuf),
    /// Its keys are.
    ButKeys(PathBuf),
}

/// The files, oldest first.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Shelf {
    events: VecDeque<Events>,
    keys: VecDeque<Keys>,
    weight: usize,
    len: u64,
}

impl Shelf {
    /// Puts a file of events behind the others.
    pub fn add(&mut self, file: Events) {
        self.weight += file.weight;
        self.len += file.len;
        self.events.push_back(file);
    }

    /// Events of this weight, the last ones, are written once more: they are counted where that is.
    pub fn discount(&mut self, weight: usize) {
        let mut left = weight;
        for file in self.events.iter_mut().rev() {
            let part = left.min(file.weight);
            file.weight -= part;
            self.weight -= part;
            left -= part;
        }
    }

    /// Puts a file of keys behind the others.
    pub fn add_keys(&mut self, file: Keys) {
        self.keys.push_back(file);
    }

    /// Whether there is no file.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.keys.is_empty()
    }

    /// Bytes on disk, keys aside.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Takes out the oldest file that is not needed at `now_ms`, beside a file in use whose events
    /// weigh `in_use`. `keys_path` names the file of keys that is made of a file of events.
    pub fn retire(
        &mut self,
        retention: Retention,
        in_use: usize,
        now_ms: u64,
        keys_path: impl Fn(&PathBuf) -> PathBuf,
    ) -> Option<Retired> {
        let oldest_key = retention.oldest_key_ms(now_ms);
        if self
            .keys
            .front()
            .is_some_and(|file| file.newest_ms < oldest_key)
        {
            return self.keys.pop_front().map(|file| Retired::Whole(file.path));
        }
        let front = self.events.front()?;
        let is_too_much = self.weight - front.weight + in_use >= retention.weight;
        let is_too_old = front.newest_ms < retention.oldest_event_ms(now_ms);
        if !is_too_much && !is_too_old {
            return None;
        }
        let file = self.events.pop_front()?;
        self.weight -= file.weight;
        self.len -= file.len;
        if file.newest_key_ms == 0 || file.newest_key_ms < oldest_key {
            return Some(Retired::Whole(file.path));
        }
        self.keys.push_back(Keys {
            path: keys_path(&file.path),
            newest_ms: file.newest_key_ms,
        });
        Some(Retired::ButKeys(file.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Retention = Retention {
        weight: 100,
        age: Duration::from_millis(1_000),
        keys: Duration::from_millis(5_000),
    };

    fn file(name: &str, weight: usize, newest_ms: u64, newest_key_ms: u64) -> Events {
        Events {
            path: name.into(),
            len: 1,
            weight,
            newest_ms,
            newest_key_ms,
        }
    }

    fn retire_all(shelf: &mut Shelf, in_use: usize, now_ms: u64) -> Vec<Retired> {
        let keys_path = |path: &PathBuf| path.with_extension("keys");
        std::iter::from_fn(|| shelf.retire(RETENTION, in_use, now_ms, keys_path)).collect()
    }

    #[test]
    fn a_file_goes_when_the_rest_is_enough() {
        let mut shelf = Shelf::default();
        for name in ["a", "b", "c"] {
            shelf.add(file(name, 40, 9_000, 0));
        }
        assert_eq!(retire_all(&mut shelf, 0, 9_000), []);
        assert_eq!(retire_all(&mut shelf, 19, 9_000), []);
        assert_eq!(
            retire_all(&mut shelf, 20, 9_000),
            [Retired::Whole("a".into())]
        );
        assert_eq!(shelf.len(), 2);
    }

    #[test]
    fn a_file_goes_when_all_of_it_is_too_old_and_its_keys_stay_for_their_time() {
        let mut shelf = Shelf::default();
        shelf.add(file("a.events", 10, 9_000, 8_000));
        shelf.add(file("b.events", 10, 9_500, 0));
        assert_eq!(retire_all(&mut shelf, 0, 10_000), []);
        assert_eq!(
            retire_all(&mut shelf, 0, 10_001),
            [Retired::ButKeys("a.events".into())]
        );
        assert_eq!(
            retire_all(&mut shelf, 0, 13_000),
            [Retired::Whole("b.events".into())]
        );
        assert_eq!(
            retire_all(&mut shelf, 0, 13_001),
            [Retired::Whole("a.keys".into())]
        );
    }
}
