//! Which customers are online (CONTRACT section 5, "Presence").
//!
//! Owned by the router. Pure: arrivals, departures and `now` in, announcements out. A reactor
//! reports a customer's first and last connection on it; a customer is online while any reactor
//! has one, and for a grace time after, so that a page reload is no absence.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::limits::PRESENCE_GRACE;

/// All customers that are online or were a moment ago.
#[derive(Default)]
pub struct Presence {
    customers: HashMap<Box<str>, Customer>,
    /// Who may have to be announced as gone, and when, in the order of time.
    leaving: VecDeque<(Instant, Box<str>)>,
}

struct Customer {
    /// Reactors that have a connection of this customer.
    reactors: u32,
    /// When the grace ends, while no reactor has one.
    gone_at: Option<Instant>,
}

impl Presence {
    /// A reactor has the customer's first connection. True: announce `customer:online`.
    pub fn arrived(&mut self, user: &str) -> bool {
        if let Some(customer) = self.customers.get_mut(user) {
            customer.reactors += 1;
            customer.gone_at = None;
            return false;
        }
        self.customers.insert(
            user.into(),
            Customer {
                reactors: 1,
                gone_at: None,
            },
        );
        true
    }

    /// Those who are online here.
    pub fn customers(&self) -> impl Iterator<Item = &str> {
        self.customers.keys().map(|user| &**user)
    }

    /// Whether this customer is one of them.
    pub fn is_online(&self, user: &str) -> bool {
        self.customers.contains_key(user)
    }

    /// Who has no connection, and how long that is no absence yet.
    pub fn leaving(&self, now: Instant) -> impl Iterator<Item = (&str, Duration)> {
        self.leaving.iter().filter_map(move |(at, user)| {
            let customer = self.customers.get(user)?;
            let is_leaving = customer.gone_at == Some(*at);
            is_leaving.then(|| (&**user, at.saturating_duration_since(now)))
        })
    }

    /// As [`Presence::leaving`], if everybody's connections ended now and they took up to `spread` to
    /// come back.
    pub fn all_leaving(
        &self,
        now: Instant,
        spread: Duration,
    ) -> impl Iterator<Item = (&str, Duration)> {
        self.customers.iter().map(move |(user, customer)| {
            let left = match customer.gone_at {
                Some(at) => at.saturating_duration_since(now),
                None => spread + PRESENCE_GRACE,
            };
            (&**user, left)
        })
    }

    /// Takes over who was leaving in another process; those who are there have [arrived](Self::arrived)
    /// before, and are not.
    pub fn go_on(&mut self, leaving: impl IntoIterator<Item = (Box<str>, Duration)>, now: Instant) {
        for (user, left) in leaving {
            if self.customers.contains_key(&user) {
                continue;
            }
            let gone_at = now + left;
            let customer = Customer {
                reactors: 0,
                gone_at: Some(gone_at),
            };
            self.customers.insert(user.clone(), customer);
            self.await_return(user, gone_at);
        }
    }

    /// A reactor's last connection of the customer has closed.
    pub fn left(&mut self, user: Box<str>, now: Instant) {
        let Some(customer) = self.customers.get_mut(&user) else {
            return;
        };
        customer.reactors = customer.reactors.saturating_sub(1);
        if customer.reactors == 0 {
            let gone_at = now + PRESENCE_GRACE;
            customer.gone_at = Some(gone_at);
            self.await_return(user, gone_at);
        }
    }

    fn await_return(&mut self, user: Box<str>, gone_at: Instant) {
        // Nearly always the last one: only those from another process have other times.
        let place = self.leaving.partition_point(|(at, _)| *at <= gone_at);
        self.leaving.insert(place, (gone_at, user));
    }

    /// The next customer to announce as `customer:offline`, if one's grace has ended.
    #[inline]
    pub fn next_gone(&mut self, now: Instant) -> Option<Box<str>> {
        // Asked every turn, and nearly always nobody is leaving.
        if self.leaving.is_empty() {
            return None;
        }
        self.first_gone(now)
    }

    fn first_gone(&mut self, now: Instant) -> Option<Box<str>> {
        while self.leaving.front().is_some_and(|(at, _)| *at <= now) {
            let (at, user) = self.leaving.pop_front()?;
            // Someone who came back, or came back and left again, has another end of grace.
            if self
                .customers
                .get(&user)
                .is_some_and(|customer| customer.gone_at == Some(at))
            {
                self.customers.remove(&user);
                return Some(user);
            }
        }
        None
    }

    /// When [`Presence::next_gone`] has to be asked again.
    pub fn deadline(&self) -> Option<Instant> {
        self.leaving.front().map(|(at, _)| *at)
    }

    /// Customers whose last announcement was `customer:online`.
    pub fn online(&self) -> u32 {
        u32::try_from(self.customers.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_is_announced_once_over_all_reactors() {
        let mut presence = Presence::default();
        assert!(presence.arrived("c1"));
        assert!(!presence.arrived("c1"));
        assert_eq!(presence.online(), 1);
        let now = Instant::now();
        presence.left("c1".into(), now);
        assert_eq!(presence.next_gone(now + Duration::from_secs(60)), None);
        presence.left("c1".into(), now);
        assert_eq!(presence.next_gone(now + PRESENCE_GRACE), Some("c1".into()));
        assert_eq!(presence.online(), 0);
        assert!(presence.arrived("c1"));
    }

    #[test]
    fn a_reload_within_the_grace_is_no_absence() {
        let mut presence = Presence::default();
        let start = Instant::now();
        assert!(presence.arrived("c1"));
        presence.left("c1".into(), start);
        assert!(!presence.arrived("c1"));
        assert_eq!(presence.next_gone(start + PRESENCE_GRACE), None);
        // It leaves again: its grace counts from then on.
        presence.left("c1".into(), start + Duration::from_secs(3));
        assert_eq!(presence.next_gone(start + PRESENCE_GRACE), None);
        let end = start + Duration::from_secs(3) + PRESENCE_GRACE;
        assert_eq!(presence.deadline(), Some(end));
        assert_eq!(presence.next_gone(end), Some("c1".into()));
        assert_eq!(presence.deadline(), None);
    }
    #[test]
    fn who_has_to_come_back_to_another_process_is_not_away_and_holds_up_nobody() {
        let (mut old, mut new) = (Presence::default(), Presence::default());
        let now = Instant::now();
        for user in ["here", "coming", "gone"] {
            old.arrived(user);
        }
        old.left("gone".into(), now);
        let spread = Duration::from_secs(10);
        let mut leaving: Vec<_> = old.all_leaving(now, spread).collect();
        leaving.sort_unstable();
        let all = spread + PRESENCE_GRACE;
        assert_eq!(
            leaving,
            [("coming", all), ("gone", PRESENCE_GRACE), ("here", all)]
        );

        // One whose connection has crossed is there.
        new.arrived("here");
        let leaving = leaving.into_iter().map(|(user, left)| (user.into(), left));
        new.go_on(leaving.collect::<Vec<_>>(), now);
        assert_eq!(new.online(), 3);
        assert!(!new.arrived("coming"), "was never away");
        new.left("coming".into(), now);
        new.left("here".into(), now);
        let mut gone: Vec<_> = std::iter::from_fn(|| new.next_gone(now + PRESENCE_GRACE)).collect();
        gone.sort_unstable();
        assert_eq!(gone, ["coming", "gone", "here"].map(Box::<str>::from));
        assert_eq!(new.online(), 0);
    }
}
