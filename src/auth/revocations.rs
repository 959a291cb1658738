//! Whose tokens are refused although they are signed and have not ended: what `ctl revoke` withdrew.
//!
//! Owned by [`Shared`](crate::shared::Shared): the router adds to it, every [`Verifier`](super::Verifier)
//! asks it once for each token that is good else. That is why it may sit behind a lock, as the gate for
//! handshakes does; while nothing is revoked, which is nearly always, asking is one look at a counter.
//!
//! Where several hosts act as one, each has the whole table. What this one knows and the others do not is
//! marked as untold; [`crate::cluster`] tells it, and learns what they know.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::Identity;
use crate::limits;

/// Whose tokens are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whom {
    /// All of this user.
    User(String),
    /// All that name this session.
    Session(String),
}

/// One withdrawal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Whose tokens.
    pub whom: Whom,
    /// Those made up to then, in ms since the epoch; and those that do not say when they were made.
    pub at_ms: u64,
    /// It is forgotten then: no token that is meant lasts longer, as far as is known.
    pub until_ms: u64,
}

/// There is no room for another one.
#[derive(Debug, PartialEq, Eq)]
pub struct Full {
    /// When the first of those that are there is forgotten, in ms since the epoch.
    pub until_ms: u64,
}

/// All that is withdrawn. Bounded: [`limits::REVOCATIONS_MAX`].
pub struct Revocations {
    tables: Mutex<Tables>,
    /// How many there are; only hints that there are none.
    count: AtomicUsize,
    /// There may be some that other hosts do not know.
    has_untold: AtomicBool,
    /// What other hosts have withdrawn is not known yet.
    awaits_others: AtomicBool,
    most: usize,
}

#[derive(Default)]
struct Tables {
    users: HashMap<Box<str>, Entry>,
    sessions: HashMap<Box<str>, Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    at_ms: u64,
    until_ms: u64,
    /// Other hosts, where there are some, are to be told of it.
    is_untold: bool,
}

impl Entry {
    /// A token that is meant lasts until then. Other hosts may not have seen it.
    fn keep_until(&mut self, until_ms: u64, has_untold: &AtomicBool) {
        if self.until_ms < until_ms {
            self.until_ms = until_ms;
            self.is_untold = true;
            has_untold.store(true, Ordering::Release);
        }
    }
}

impl Default for Revocations {
    fn default() -> Self {
        Self::with_room_for(limits::REVOCATIONS_MAX)
    }
}

impl Revocations {
    fn with_room_for(most: usize) -> Self {
        Self {
            tables: Mutex::default(),
            count: AtomicUsize::new(0),
            has_untold: AtomicBool::new(false),
            awaits_others: AtomicBool::new(false),
            most,
        }
    }

    /// Adds one; what is there already for the same name is only ever widened. True: it concerns tokens
    /// that were good until now.
    ///
    /// # Errors
    /// If it would be one too many, not counting those that are over at `now_ms`.
    pub fn add(&self, revocation: &Revocation, now_ms: u64) -> Result<bool, Full> {
        self.add_to(&mut self.lock(), revocation, now_ms)
    }

    /// Adds one as [`Revocations::add`] does, that all hosts know.
    ///
    /// # Errors
    /// As there.
    pub fn learn(&self, told: &Revocation, now_ms: u64) -> Result<bool, Full> {
        let mut tables = self.lock();
        let is_news = self.add_to(&mut tables, told, now_ms)?;
        if let Some(entry) = tables.entry(&told.whom)
            && entry.at_ms <= told.at_ms
            && entry.until_ms <= told.until_ms
        {
            entry.is_untold = false;
        }
        Ok(is_news)
    }

    fn add_to(
        &self,
        tables: &mut Tables,
        revocation: &Revocation,
        now_ms: u64,
    ) -> Result<bool, Full> {
        let Revocation {
            whom,
            at_ms,
            until_ms,
        } = revocation;
        if let Some(entry) = tables.entry(whom) {
            let is_news = entry.at_ms < *at_ms;
            entry.at_ms = entry.at_ms.max(*at_ms);
            entry.until_ms = entry.until_ms.max(*until_ms);
            return Ok(is_news);
        }
        if *until_ms <= now_ms {
            return Ok(true);
        }
        if tables.len() >= self.most {
            tables.forget_those_over(now_ms);
            if tables.len() >= self.most {
                return Err(Full {
                    until_ms: tables.first_over(),
                });
            }
        }
        let entry = Entry {
            at_ms: *at_ms,
            until_ms: *until_ms,
            is_untold: false,
        };
        match whom {
            Whom::User(user) => tables.users.insert(user.as_str().into(), entry),
            Whom::Session(session) => tables.sessions.insert(session.as_str().into(), entry),
        };
        self.count.store(tables.len(), Ordering::Release);
        Ok(true)
    }

    /// Other hosts are to be told of this one.
    pub fn tell(&self, whom: &Whom) {
        if let Some(entry) = self.lock().entry(whom) {
            entry.is_untold = true;
            self.has_untold.store(true, Ordering::Release);
        }
    }

    /// Nobody may know any of them: other hosts are to be told of all that they do not turn out to know.
    pub fn tell_all(&self) {
        let mut tables = self.lock();
        let Tables { users, sessions } = &mut *tables;
        for entry in users.values_mut().chain(sessions.values_mut()) {
            entry.is_untold = true;
        }
        self.has_untold.store(true, Ordering::Release);
    }

    /// Those that other hosts are to be told of, once.
    pub fn take_untold(&self, now_ms: u64) -> Vec<Revocation> {
        if !self.has_untold.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        let mut tables = self.lock();
        let Tables { users, sessions } = &mut *tables;
        let users = users
            .iter_mut()
            .map(|(name, entry)| (Whom::User(name.to_string()), entry));
        let sessions = sessions
            .iter_mut()
            .map(|(name, entry)| (Whom::Session(name.to_string()), entry));
        users
            .chain(sessions)
            .filter_map(|(whom, entry)| {
                let is_untold = std::mem::take(&mut entry.is_untold);
                (is_untold && now_ms < entry.until_ms).then_some(Revocation {
                    whom,
                    at_ms: entry.at_ms,
                    until_ms: entry.until_ms,
                })
            })
            .collect()
    }

    /// From now on, until [`Revocations::know_others`], other hosts may have withdrawn what this one does
    /// not know of.
    pub fn await_others(&self) {
        self.awaits_others.store(true, Ordering::Release);
    }

    /// What other hosts have withdrawn is here.
    pub fn know_others(&self) {
        self.awaits_others.store(false, Ordering::Release);
    }

    /// Whether a token may have been withdrawn that would be taken for a good one.
    pub fn awaits_others(&self) -> bool {
        self.awaits_others.load(Ordering::Acquire)
    }

    /// A token that is meant lasts until `until_ms`: so long this one is kept. Returns until when that
    /// is, if it is there.
    pub fn keep_until(&self, whom: &Whom, until_ms: u64) -> Option<u64> {
        let mut tables = self.lock();
        let entry = tables.entry(whom)?;
        entry.keep_until(until_ms, &self.has_untold);
        Some(entry.until_ms)
    }

    /// Whether this token is withdrawn. It ends at `ends_ms`, and clocks may differ by `leeway_ms`.
    pub(super) fn refuses(
        &self,
        identity: &Identity,
        ends_ms: u64,
        leeway_ms: u64,
        now_ms: u64,
    ) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut tables = self.lock();
        let Tables { users, sessions } = &mut *tables;
        let user = users.get_mut(identity.user.as_str());
        let session = identity.session.as_deref();
        let session = session.and_then(|session| sessions.get_mut(session));
        let mut is_refused = false;
        for entry in user.into_iter().chain(session) {
            let latest = entry.at_ms.saturating_add(leeway_ms);
            let is_meant = identity.issued_at.is_none_or(|made| made <= latest);
            if is_meant && now_ms < entry.until_ms {
                // As long as somebody has it, it is not forgotten.
                entry.keep_until(ends_ms, &self.has_untold);
                is_refused = true;
            }
        }
        is_refused
    }

    /// How many there are; some may be over.
    pub fn held(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Those that are not over at `now_ms`.
    pub fn all(&self, now_ms: u64) -> Vec<Revocation> {
        let tables = self.lock();
        let users = tables.users.iter();
        let users = users.map(|(name, entry)| (Whom::User(name.to_string()), entry));
        let sessions = tables.sessions.iter();
        let sessions = sessions.map(|(name, entry)| (Whom::Session(name.to_string()), entry));
        users
            .chain(sessions)
            .filter(|(_, entry)| now_ms < entry.until_ms)
            .map(|(whom, entry)| Revocation {
                whom,
                at_ms: entry.at_ms,
                until_ms: entry.until_ms,
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // An entry is put in whole: a panic elsewhere cannot leave the tables half-written.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn len(&self) -> usize {
        self.users.len() + self.sessions.len()
    }

    fn entry(&mut self, whom: &Whom) -> Option<&mut Entry> {
        match whom {
            Whom::User(user) => self.users.get_mut(user.as_str()),
            Whom::Session(session) => self.sessions.get_mut(session.as_str()),
        }
    }

    fn forget_those_over(&mut self, now_ms: u64) {
        self.users.retain(|_, entry| now_ms < entry.until_ms);
        self.sessions.retain(|_, entry| now_ms < entry.until_ms);
    }

    fn first_over(&self) -> u64 {
        let all = self.users.values().chain(self.sessions.values());
        all.map(|entry| entry.until_ms).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;

    const HOUR: u64 = 3_600_000;

    fn token(user: &str, session: Option<&str>, issued_at: Option<u64>) -> Identity {
        Identity {
            user: user.to_owned(),
            role: Role::Customer,
            session: session.map(str::to_owned),
            issued_at,
            expires_at: 2 * HOUR,
        }
    }

    fn user(name: &str, at_ms: u64, until_ms: u64) -> Revocation {
        Revocation {
            whom: Whom::User(name.to_owned()),
            at_ms,
            until_ms,
        }
    }

    fn session(name: &str, at_ms: u64, until_ms: u64) -> Revocation {
        Revocation {
            whom: Whom::Session(name.to_owned()),
            ..user("", at_ms, until_ms)
        }
    }

    #[test]
    fn what_was_made_before_is_refused_and_what_was_made_after_is_not() {
        let revoked = Revocations::default();
        let refuses = |token: &Identity| revoked.refuses(token, 2 * HOUR, 0, 5000);
        assert!(!refuses(&token("ann", None, None)), "nothing is revoked");
        revoked.add(&user("ann", 4000, HOUR), 4000).unwrap();
        for made in [None, Some(0), Some(3999), Some(4000)] {
            assert!(refuses(&token("ann", Some("s"), made)), "{made:?}");
        }
        assert!(!refuses(&token("ann", None, Some(4001))));
        assert!(!refuses(&token("bob", None, None)));
        assert!(!refuses(&token("bob", Some("ann"), None)), "no session");
        revoked.add(&session("s-1", 4500, HOUR), 4500).unwrap();
        assert!(refuses(&token("bob", Some("s-1"), Some(4500))));
        assert!(!refuses(&token("bob", Some("s-2"), Some(4500))));
        assert!(!refuses(&token("s-1", None, None)), "no user");
        // Who makes tokens may be ahead by as much as clocks may differ.
        let ahead = token("ann", None, Some(4900));
        assert!(!revoked.refuses(&ahead, 2 * HOUR, 800, 5000));
        assert!(revoked.refuses(&ahead, 2 * HOUR, 900, 5000));
    }

    #[test]
    fn it_is_kept_until_the_last_token_that_was_seen_has_ended() {
        let revoked = Revocations::default();
        let old = token("ann", None, Some(1));
        revoked.add(&user("ann", 10, HOUR), 10).unwrap();
        assert!(!revoked.refuses(&old, 2 * HOUR, 0, HOUR), "it is over");
        assert_eq!(revoked.all(HOUR), []);
        assert!(revoked.refuses(&old, 2 * HOUR, 0, HOUR - 1));
        assert!(revoked.refuses(&old, 2 * HOUR, 0, 2 * HOUR - 1));
        assert_eq!(revoked.all(HOUR), [user("ann", 10, 2 * HOUR)]);
        let whom = Whom::User("ann".into());
        assert_eq!(revoked.keep_until(&whom, 3 * HOUR), Some(3 * HOUR));
        assert_eq!(revoked.keep_until(&whom, 0), Some(3 * HOUR));
        assert_eq!(revoked.keep_until(&Whom::User("bob".into()), 9), None);
        // One that is over already is not even added: its connections are closed.
        assert_eq!(revoked.add(&user("eve", 1, 5), 5), Ok(true));
        assert_eq!(revoked.all(0).len(), 1);
        // Again: it counts from then on, and is never shortened.
        revoked.add(&user("ann", 20, HOUR), 20).unwrap();
        assert_eq!(revoked.all(HOUR), [user("ann", 20, 3 * HOUR)]);
    }

    #[test]
    fn what_other_hosts_do_not_know_is_told_once_and_what_they_know_is_not() {
        let revoked = Revocations::default();
        assert_eq!(revoked.add(&user("ann", 10, HOUR), 10), Ok(true));
        assert_eq!(revoked.take_untold(10), [], "who adds it tells it");
        // A token was seen that lasts longer.
        assert!(revoked.refuses(&token("ann", None, None), 2 * HOUR, 0, 20));
        assert_eq!(revoked.take_untold(20), [user("ann", 10, 2 * HOUR)]);
        assert_eq!(revoked.take_untold(20), []);
        revoked.keep_until(&Whom::User("ann".into()), 3 * HOUR);
        // They know less than this, and then as much.
        assert_eq!(revoked.learn(&user("ann", 10, 2 * HOUR), 20), Ok(false));
        revoked.learn(&user("ann", 10, 3 * HOUR), 20).unwrap();
        assert_eq!(revoked.take_untold(20), []);
        // It was said to several that they shall be out: news is what closes connections.
        assert_eq!(revoked.learn(&user("ann", 11, HOUR), 20), Ok(true));
        assert_eq!(revoked.learn(&session("s", 5, HOUR), 20), Ok(true));
        assert_eq!(revoked.learn(&session("s", 5, HOUR), 20), Ok(false));
        // Redis has forgotten everything but one of them.
        revoked.tell_all();
        revoked.learn(&session("s", 5, HOUR), 20).unwrap();
        assert_eq!(revoked.take_untold(20), [user("ann", 11, 3 * HOUR)]);
        revoked.tell(&Whom::Session("s".into()));
        assert_eq!(revoked.take_untold(HOUR), [], "it is over");
    }

    #[test]
    fn there_is_room_for_so_many_and_those_over_make_room() {
        let revoked = Revocations::with_room_for(2);
        revoked.add(&user("a", 1, 100), 1).unwrap();
        revoked.add(&session("b", 1, 200), 1).unwrap();
        let full = Err(Full { until_ms: 100 });
        assert_eq!(revoked.add(&user("c", 1, 300), 99), full);
        // A name that is there needs no room.
        revoked.add(&session("b", 2, 200), 99).unwrap();
        revoked.add(&user("c", 100, 300), 100).unwrap();
        assert!(
            !revoked.refuses(&token("a", None, None), 0, 0, 50),
            "forgotten"
        );
        assert!(revoked.refuses(&token("c", None, None), 0, 0, 150));
        assert_eq!(revoked.all(100).len(), 2);
    }
}
