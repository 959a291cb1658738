//! What an operator asks to see: open connections (`ctl connections`), kept events (`ctl history`), what
//! another access table would change for those who are connected (`ctl access`), and why somebody was not
//! sent an event (`ctl why`).
//!
//! The router reads the question from a command and sends it down; each reactor answers for its own,
//! and the router puts the answers together. Every answer is bounded by [`limits::LIST_MAX`] rows, so
//! that a question costs a reactor a look at each of its connections and no more.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::access::{AccessTable, Namespace, NamespaceMask, Role};
use crate::event::EventType;
use crate::limits;
use crate::ring::Serial;

/// Which connections, and which of them first.
#[derive(Debug, PartialEq, Eq)]
pub struct ConnectionsWanted {
    /// Those of this role.
    pub role: Option<Role>,
    /// Those of this user.
    pub user: Option<String>,
    /// Those of this session.
    pub session: Option<String>,
    /// Those that are subscribed to it.
    pub namespace: Option<Namespace>,
    /// Which come first.
    pub order: Order,
    /// So many at most.
    pub limit: usize,
}

/// The order of connections in a list.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// As they came, behind the one with this number.
    Age {
        /// The last one of the page before.
        after: Option<Serial>,
    },
    /// Those for whom most waits; those for whom nothing does are left out.
    Slowness,
}

/// What a list says of a connection.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRow {
    /// Its number, by which pages are told apart.
    #[serde(skip)]
    pub serial: Serial,
    /// The `connectionId` of its welcome.
    pub connection_id: String,
    /// The reactor that has it.
    pub worker: usize,
    /// Its address, as a trusted proxy tells it.
    pub ip: IpAddr,
    /// The role of its token, or public.
    pub role: &'static str,
    /// Its user, once it has authenticated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Its session, if its token names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// What it is subscribed to.
    pub namespaces: Vec<&'static str>,
    /// Bytes that wait for its socket.
    pub waiting_bytes: usize,
    /// When its token ends, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Whether it speaks TLS to the server itself.
    pub tls: bool,
    /// Whether its past is being replayed.
    pub replaying: bool,
}

/// Connections, of one reactor or of several.
#[derive(Debug, Default, PartialEq)]
pub struct Connections {
    /// In the order that was asked for.
    pub rows: Vec<ConnectionRow>,
    /// How many there are, on other pages too.
    pub matching: usize,
    /// There are further ones behind these rows.
    pub more: bool,
}

impl Connections {
    /// Adds those of another reactor.
    pub fn add(&mut self, others: Connections, wanted: &ConnectionsWanted) {
        self.rows.extend(others.rows);
        match wanted.order {
            Order::Age { .. } => self.rows.sort_by_key(|row| row.serial),
            Order::Slowness => self
                .rows
                .sort_by_key(|row| (std::cmp::Reverse(row.waiting_bytes), row.serial)),
        }
        self.matching += others.matching;
        self.more |= others.more || self.rows.len() > wanted.limit;
        self.rows.truncate(wanted.limit);
    }

    /// The answer to the command.
    pub fn answer(&self, wanted: &ConnectionsWanted) -> Value {
        let mut answer = json!({ "matching": self.matching, "connections": self.rows });
        if let (true, Order::Age { .. }, Some(last)) = (self.more, &wanted.order, self.rows.last())
        {
            answer["next"] = last.connection_id.as_str().into();
        }
        answer
    }
}

/// How many connections there are of each role, and how many of them are subscribed to each namespace.
#[derive(Debug, Default, PartialEq)]
pub struct Subscribers {
    connections: [usize; Role::ALL.len()],
    subscribed: [[usize; Namespace::ALL.len()]; Role::ALL.len()],
}

impl Subscribers {
    /// Counts a connection.
    pub fn count(&mut self, role: Role, namespaces: NamespaceMask) {
        self.connections[role as usize] += 1;
        for namespace in namespaces.iter() {
            self.subscribed[role as usize][namespace as usize] += 1;
        }
    }

    /// Adds those of another reactor.
    pub fn add(&mut self, others: &Subscribers) {
        for (sum, count) in self.connections.iter_mut().zip(others.connections) {
            *sum += count;
        }
        let cells = self.subscribed.iter_mut().flatten();
        for (sum, count) in cells.zip(others.subscribed.iter().flatten()) {
            *sum += count;
        }
    }

    /// The answer to the command: each cell that would differ, with those whom it concerns.
    pub fn answer(&self, now: &AccessTable, then: &AccessTable) -> Value {
        let mut changes = Vec::new();
        for namespace in Namespace::ALL {
            for role in Role::ALL {
                let (old, new) = (now.get(role, namespace), then.get(role, namespace));
                if old != new {
                    changes.push(json!({
                        "namespace": namespace.name(),
                        "role": role.name(),
                        "now": old.name(),
                        "then": new.name(),
                        "connections": self.connections[role as usize],
                        "subscribed": self.subscribed[role as usize][namespace as usize],
                    }));
                }
            }
        }
        json!({ "changes": changes })
    }
}

/// Which of the kept events.
#[derive(Debug, PartialEq, Eq)]
pub struct EventsWanted {
    /// Those of this type.
    pub kind: Option<EventType>,
    /// Those of this namespace.
    pub namespace: Option<Namespace>,
    /// With their data, as far as [`limits::LIST_DATA_MAX`] goes.
    pub data: bool,
    /// So many at most, the newest ones.
    pub limit: usize,
}

impl EventsWanted {
    /// Whether an event of this type is wanted.
    pub fn wants(&self, kind: EventType) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind)
            && self
                .namespace
                .is_none_or(|wanted| wanted == kind.namespace())
    }
}

/// What a list says of an event.
#[derive(Debug, Serialize)]
pub struct EventRow {
    /// As clients have it.
    pub id: String,
    /// Its type's name.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    /// Of its frame.
    pub bytes: usize,
    /// Whether only named users get it.
    pub named: bool,
    /// As it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

/// Kept events.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Events {
    /// The newest first.
    pub events: Vec<EventRow>,
    /// How many are kept in all, ...
    pub kept_events: usize,
    /// ... and what they weigh, in bytes.
    pub kept_bytes: usize,
}

/// Whether who was sent which event.
#[derive(Debug, PartialEq, Eq)]
pub struct WhyWanted {
    /// The event's id.
    pub event: String,
    /// On which connections.
    pub whose: Whose,
}

/// Which connections are meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Whose {
    /// All of this user.
    User(String),
    /// This one, of a user or of nobody.
    Connection(Serial),
}

/// What one reactor, or all of them, know of that.
#[derive(Debug)]
pub struct Why {
    /// The event, or why nothing can be said of it.
    pub event: Result<Value, Unseen>,
    /// The connections that are meant, as they came.
    pub rows: Vec<WhyRow>,
}

/// Why nothing can be said of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// No event of this server can have the id.
    Unknown,
    /// It is not kept any more.
    LetGo,
}

/// What is known of one connection.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyRow {
    /// Its number.
    #[serde(skip)]
    pub serial: Serial,
    /// The `connectionId` of its welcome.
    pub connection_id: String,
    /// The reactor that has it.
    pub worker: usize,
    /// The role of its token.
    pub role: &'static str,
    /// Its session, if its token names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Whether it was sent the event: `sent`, `waiting`, `replaying`, `not_sent` or `unknown`.
    pub outcome: &'static str,
    /// By which rule it was not, or would not be as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    /// Why it is unknown, if it is: `came_over`, `last`, `local` or `changed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<&'static str>,
    /// Bytes that wait for its socket.
    pub waiting_bytes: usize,
    /// Waiting stock and price events give way to newer ones, as it asked for.
    pub conflates: bool,
}

impl Default for Why {
    /// Of no reactor yet.
    fn default() -> Self {
        Self {
            event: Ok(Value::Null),
            rows: Vec::new(),
        }
    }
}

impl Why {
    /// Adds what another reactor knows.
    pub fn add(&mut self, others: Why) {
        // All keep the same events, but for the oldest, which each lets go of by itself: then nothing
        // can be said of that one's connections.
        if self.event.is_ok() {
            self.event = others.event;
        }
        self.rows.extend(others.rows);
        self.rows.sort_by_key(|row| row.serial);
    }

    /// The answer to the command.
    pub fn answer(&self) -> Value {
        match &self.event {
            Ok(event) => json!({ "event": event, "connections": self.rows }),
            Err(unseen) => {
                let missing = match unseen {
                    Unseen::Unknown => "unknown",
                    Unseen::LetGo => "let_go",
                };
                json!({ "event": null, "missing": missing, "connections": [] })
            }
        }
    }
}

/// A connection's `connectionId`.
pub fn connection_id(serial: Serial) -> String {
    format!("c{serial:x}")
}

/// The number behind a `connectionId`.
pub fn parse_connection_id(id: &str) -> Option<Serial> {
    let serial = Serial::from_str_radix(id.strip_prefix('c')?, 16).ok()?;
    // Written back and compared: signs, zeros in front and capitals are nobody's id.
    (connection_id(serial) == id).then_some(serial)
}

/// Sorts by rank and keeps the first so many, in their order. True: there were more.
pub fn keep_first(ranked: &mut Vec<(u64, u32)>, limit: usize) -> bool {
    let is_more = ranked.len() > limit;
    if is_more {
        ranked.select_nth_unstable(limit);
        ranked.truncate(limit);
    }
    ranked.sort_unstable();
    is_more
}

/// How many rows were asked for, if that may be.
pub fn limit(asked: u64) -> Option<usize> {
    let limit = usize::try_from(asked).ok()?;
    (1..=limits::LIST_MAX).contains(&limit).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(serial: Serial, waiting_bytes: usize) -> ConnectionRow {
        ConnectionRow {
            serial,
            connection_id: connection_id(serial),
            worker: 0,
            ip: IpAddr::from([192, 0, 2, 1]),
            role: "public",
            user_id: None,
            session_id: None,
            namespaces: Vec::new(),
            waiting_bytes,
            expires_at: None,
            tls: false,
            replaying: false,
        }
    }

    fn wanted(order: Order, limit: usize) -> ConnectionsWanted {
        ConnectionsWanted {
            role: None,
            user: None,
            session: None,
            namespace: None,
            order,
            limit,
        }
    }

    fn of(serials: &[Serial], more: bool) -> Connections {
        Connections {
            rows: serials.iter().map(|&serial| row(serial, 0)).collect(),
            matching: 10,
            more,
        }
    }

    #[test]
    fn pages_of_several_reactors_are_one_page() {
        let wanted = wanted(Order::Age { after: None }, 3);
        let mut all = Connections::default();
        all.add(of(&[3, 6], false), &wanted);
        assert_eq!(all.answer(&wanted).get("next"), None);
        all.add(of(&[1, 4, 5], true), &wanted);
        let serials: Vec<Serial> = all.rows.iter().map(|row| row.serial).collect();
        assert_eq!(serials, [1, 3, 4]);
        let answer = all.answer(&wanted);
        assert_eq!(
            (&answer["matching"], &answer["next"]),
            (&json!(20), &json!("c4"))
        );
    }

    #[test]
    fn the_slowest_of_all_reactors_come_first_and_have_no_next_page() {
        let wanted = wanted(Order::Slowness, 2);
        let mut all = Connections::default();
        for (serial, waiting) in [(1, 10), (2, 30), (3, 20)] {
            let one = Connections {
                rows: vec![row(serial, waiting)],
                matching: 1,
                more: false,
            };
            all.add(one, &wanted);
        }
        let answer = all.answer(&wanted);
        assert_eq!(answer["connections"][0]["waitingBytes"], 30);
        assert_eq!(answer["connections"][1]["waitingBytes"], 20);
        assert_eq!(answer.get("next"), None);
    }

    #[test]
    fn an_id_leads_back_to_its_number_and_nothing_else_does() {
        for serial in [0, 1, 0xabc, 0x7fff_ffff] {
            assert_eq!(parse_connection_id(&connection_id(serial)), Some(serial));
        }
        for id in ["", "c", "1f", "c01", "cA", "c+1", "c100000000", "x1"] {
            assert_eq!(parse_connection_id(id), None, "{id}");
        }
    }

    #[test]
    fn the_first_of_many_are_those_of_a_full_sort() {
        let mut random = fastrand::Rng::with_seed(1);
        for length in 0..40 {
            let all: Vec<(u64, u32)> = (0..length).map(|key| (random.u64(..50), key)).collect();
            for limit in [1, 5, 39, 100] {
                let mut first = all.clone();
                let is_more = keep_first(&mut first, limit);
                let mut sorted = all.clone();
                sorted.sort_unstable();
                assert_eq!(is_more, sorted.len() > limit);
                sorted.truncate(limit);
                assert_eq!(first, sorted);
            }
        }
    }
}
