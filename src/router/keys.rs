//! The `key`s of accepted events (CONTRACT section 4): the same key again within ten minutes, for an
//! event of the same namespace, is answered with the first event's id and not sent again. Who may emit
//! the events of one namespace alone cannot use up keys of another.
//!
//! Owned by the sequencer. Pure: time comes in as milliseconds of a monotonic clock. A key is kept
//! as its 128-bit keyed hash, so that a million of them cost about 70 MB whatever their length, and
//! nobody without the hash's secret can make two collide.

use std::collections::VecDeque;
use std::hash::Hasher;

use hashbrown::HashMap;
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::access::Namespace;

/// The window of remembered keys.
pub struct Keys {
    secret: (u64, u64),
    window_ms: u64,
    most: usize,
    ids: HashMap<u128, u64>,
    /// In the order of acceptance: when a key is forgotten.
    forget: VecDeque<(u64, u128)>,
}

/// The parts of what a key is known by. No namespace has a colon, so no two are the same.
pub fn scoped(namespace: Namespace, key: &str) -> [&str; 3] {
    [namespace.name(), ":", key]
}

/// A key's place in the window.
#[derive(Clone, Copy)]
pub struct KeyHash(pub u128);

impl Keys {
    /// An empty window of `window_ms` and at most `most` keys; `secret` is random for this run.
    pub fn new(window_ms: u64, most: usize, secret: (u64, u64)) -> Self {
        let (ids, forget) = (HashMap::new(), VecDeque::new());
        Self {
            secret,
            window_ms,
            most,
            ids,
            forget,
        }
    }

    /// The hash under which the `key` of an event of this namespace is looked up and remembered.
    pub fn hash(&self, namespace: Namespace, key: &str) -> KeyHash {
        let mut hasher = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        for part in scoped(namespace, key) {
            hasher.write(part.as_bytes());
        }
        KeyHash(hasher.finish128().as_u128())
    }

    /// Takes a key over from another process or an earlier run, at the time 0 and in the order of use;
    /// it is remembered for `left_ms` yet.
    pub fn restore(&mut self, hash: u128, id: u64, left_ms: u64) {
        if left_ms == 0 || self.ids.contains_key(&hash) {
            return;
        }
        // The wall clock may have been set back in between: the window is sorted all the same.
        let last = self.forget.back().map_or(0, |&(at, _)| at);
        self.put(hash, id, left_ms.min(self.window_ms).max(last));
    }

    /// What keys are hashed with.
    pub fn secret(&self) -> (u64, u64) {
        self.secret
    }

    /// The keys in their window at `now_ms`, in the order of use: hash, id, and how long they are
    /// remembered yet, in ms.
    pub fn all(&self, now_ms: u64) -> impl Iterator<Item = (u128, u64, u64)> {
        self.forget.iter().filter_map(move |&(at, hash)| {
            let id = *self.ids.get(&hash)?;
            Some((hash, id, at.saturating_sub(now_ms)))
        })
    }

    /// The id of the event that used the key within the window.
    pub fn find(&mut self, key: KeyHash, now_ms: u64) -> Option<u64> {
        self.forget_old(now_ms);
        self.ids.get(&key.0).copied()
    }

    /// Remembers a key that [`Keys::find`] did not know, for the event just accepted.
    pub fn remember(&mut self, key: KeyHash, id: u64, now_ms: u64) {
        self.put(key.0, id, now_ms + self.window_ms);
    }

    fn put(&mut self, hash: u128, id: u64, forget_at: u64) {
        if self.forget.len() >= self.most
            && let Some((_, oldest)) = self.forget.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.ids.insert(hash, id);
        self.forget.push_back((forget_at, hash));
    }

    fn forget_old(&mut self, now_ms: u64) {
        while let Some(&(at, key)) = self.forget.front() {
            if at > now_ms {
                break;
            }
            self.forget.pop_front();
            self.ids.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Namespace::{Orders, Payments};

    #[test]
    fn a_key_is_known_for_its_window_and_new_after_it() {
        let mut keys = Keys::new(600_000, 10, (1, 2));
        let key = keys.hash(Orders, "ord-1-created");
        assert_eq!(keys.find(key, 0), None);
        keys.remember(key, 7, 0);
        assert_eq!(keys.find(key, 599_999), Some(7));
        assert_eq!(
            keys.find(keys.hash(Orders, "ord-1-created "), 599_999),
            None
        );
        assert_eq!(keys.find(key, 600_000), None);
        keys.remember(key, 9, 600_000);
        assert_eq!(keys.find(key, 600_001), Some(9));
    }

    #[test]
    fn a_key_of_an_earlier_run_is_known_for_the_rest_of_its_window() {
        let mut keys = Keys::new(600_000, 10, (1, 2));
        let [old, new, gone] = ["old", "new", "gone"].map(|key| keys.hash(Orders, key));
        keys.restore(gone.0, 6, 0);
        keys.restore(old.0, 7, 100_000);
        // The clock was set back between the two.
        keys.restore(new.0, 8, 50_000);
        keys.restore(old.0, 9, 600_000);
        assert_eq!(keys.find(gone, 0), None);
        assert_eq!(keys.find(old, 99_999), Some(7));
        assert_eq!(keys.find(new, 99_999), Some(8));
        assert_eq!(keys.find(old, 100_000), None);
        assert_eq!(keys.find(new, 100_000), None);
    }

    #[test]
    fn a_key_counts_within_its_namespace() {
        let mut keys = Keys::new(600_000, 10, (1, 2));
        let order = keys.hash(Orders, "pay-77-received");
        keys.remember(order, 7, 0);
        let payment = keys.hash(Payments, "pay-77-received");
        assert_eq!(keys.find(payment, 1), None);
        keys.remember(payment, 8, 1);
        assert_eq!(
            (keys.find(order, 2), keys.find(payment, 2)),
            (Some(7), Some(8))
        );
    }

    #[test]
    fn the_oldest_gives_way_when_the_window_is_full() {
        let mut keys = Keys::new(600_000, 3, (1, 2));
        for id in 0..4 {
            keys.remember(keys.hash(Orders, &id.to_string()), id, id);
        }
        assert_eq!(keys.find(keys.hash(Orders, "0"), 5), None);
        for id in 1..4 {
            assert_eq!(keys.find(keys.hash(Orders, &id.to_string()), 5), Some(id));
        }
    }
}
