//! What one connection is owed: the reference for what comes, in which order, and what never may.
//!
//! Written from docs/protocol.md, "Coming back". There is one cursor, behind which nothing is owed any
//! more, and for each namespace the number behind which it begins. Every event that comes must be owed,
//! lie behind the cursor, and leave none out that is owed between the two.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::Value;

use crate::log::{Entry, Log};
use crate::reference::{Viewer, namespace_of};

/// The types that a namespace is narrowed to; `None`: all.
pub type Filter = Option<BTreeSet<String>>;

/// Where a subscription begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Now.
    Now,
    /// Behind the event with this id.
    Since(String),
    /// With the newest so many.
    Last(u32),
}

/// What a connection is owed.
pub struct Owed {
    viewer: Viewer,
    begins: BTreeMap<String, u64>,
    /// Namespaces that began with the newest few, and the newest event then: what of those is let go of
    /// before it was sent is not owed.
    few: BTreeMap<String, u64>,
    cursor: u64,
}

impl Owed {
    /// Nothing, to this user.
    pub fn new(user: Option<String>, role: &'static str, session: Option<String>) -> Owed {
        let subscriptions = BTreeMap::new();
        Owed {
            viewer: Viewer {
                user,
                role,
                session,
                subscriptions,
            },
            begins: BTreeMap::new(),
            few: BTreeMap::new(),
            cursor: 0,
        }
    }

    /// Whether it is subscribed to nothing.
    pub fn is_empty(&self) -> bool {
        self.viewer.subscriptions.is_empty()
    }

    /// These were subscribed to, and the server said that they begin behind `position`, or that it is
    /// what the past goes to.
    pub fn subscribed(
        &mut self,
        filters: Vec<(String, Filter)>,
        start: &Start,
        position: u64,
        log: &Log,
    ) {
        let is_first = self.is_empty();
        let names: Vec<String> = filters.iter().map(|(name, _)| name.clone()).collect();
        self.viewer.subscriptions.extend(filters);
        match start {
            Start::Now => self.begin(&names, position),
            Start::Since(id) => self.rewind(&names, crate::log::number_of(id)),
            Start::Last(count) => {
                let is_of_these = |entry: &Entry| {
                    let kind = entry.event["type"].as_str().unwrap();
                    names.iter().any(|name| name == namespace_of(kind))
                        && self.viewer.receives(&entry.event)
                };
                let newest = log.entries.range(..=position).rev();
                let first = newest
                    .filter(|(_, entry)| is_of_these(entry))
                    .map(|(number, _)| *number)
                    .nth(*count as usize - 1);
                self.rewind(&names, first.map_or(0, |first| first - 1));
                self.few
                    .extend(names.into_iter().map(|name| (name, position)));
            }
        }
        if is_first {
            self.cursor = self.begins.values().copied().min().unwrap_or(0);
        }
    }

    fn begin(&mut self, names: &[String], behind: u64) {
        for name in names {
            self.begins.insert(name.clone(), behind);
            self.few.remove(name);
        }
    }

    /// All others go on where they were.
    fn rewind(&mut self, names: &[String], behind: u64) {
        for begins in self.begins.values_mut() {
            *begins = self.cursor.max(*begins);
        }
        self.begin(names, behind);
        self.cursor = self.cursor.min(behind);
    }

    /// These were unsubscribed from.
    pub fn unsubscribed(&mut self, names: &[String]) {
        for name in names {
            self.viewer.subscriptions.remove(name);
            self.begins.remove(name);
            self.few.remove(name);
        }
    }

    /// The server's list of what it is subscribed to.
    pub fn check_names(&self, told: &Value) {
        let told: BTreeSet<&str> = told
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let own: BTreeSet<&str> = self
            .viewer
            .subscriptions
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(told, own, "the subscriptions that it is told");
    }

    fn is_owed(&self, number: u64, entry: &Entry) -> bool {
        let namespace = namespace_of(entry.event["type"].as_str().unwrap());
        self.begins
            .get(namespace)
            .is_some_and(|begins| number > *begins)
            && self.viewer.receives(&entry.event)
    }

    /// It is sent the event with this number.
    ///
    /// # Errors
    /// What is wrong with that.
    pub fn take(
        &mut self,
        number: u64,
        log: &Log,
        handed: u64,
        now: Instant,
    ) -> Result<(), String> {
        if number <= self.cursor {
            return Err(format!(
                "it was dealt with, and so was all up to {}",
                self.cursor
            ));
        }
        if !self.is_owed(number, &log.entries[&number]) {
            return Err(format!(
                "it is not owed to {:?} behind {:?}",
                self.viewer, self.begins
            ));
        }
        if let Some(missing) = self.missing(number - 1, log, handed, now) {
            return Err(format!("{missing} is owed before"));
        }
        self.cursor = number;
        Ok(())
    }

    /// The first event that has still to come.
    pub fn lacks(&self, log: &Log, handed: u64, now: Instant) -> Option<u64> {
        self.missing(log.newest, log, handed, now)
    }

    fn missing(&self, upto: u64, log: &Log, handed: u64, now: Instant) -> Option<u64> {
        if upto <= self.cursor {
            return None;
        }
        let gone = log.may_let_go(handed, now);
        let is_excused = |number: u64, entry: &Entry| {
            let namespace = namespace_of(entry.event["type"].as_str().unwrap());
            number <= gone
                && self
                    .few
                    .get(namespace)
                    .is_some_and(|newest| number <= *newest)
        };
        log.entries
            .range(self.cursor + 1..=upto)
            .find(|(number, entry)| self.is_owed(**number, entry) && !is_excused(**number, entry))
            .map(|(number, _)| *number)
    }
}
