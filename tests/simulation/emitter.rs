//! An API route: says events, each with a key, and says again what was not acknowledged.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::path::Path;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::log::Log;
use crate::wire::Wire;

/// Marks of one source lie within this range.
pub const MARKS: u64 = 1_000_000;

/// One emitter.
pub struct Emitter {
    source: usize,
    /// What it has ever said, in order: the line, and whether it is settled.
    lines: Vec<(String, bool)>,
    connection: Option<Connection>,
}

struct Connection {
    wire: Wire,
    /// What was said on it, by index.
    said: Vec<usize>,
    /// So many lines of it are settled.
    acked: usize,
    /// Of those that are not, these were answered `unavailable`.
    unavailable: BTreeSet<usize>,
}

impl Emitter {
    /// The emitter with this number.
    pub fn new(source: usize) -> Emitter {
        Emitter {
            source,
            lines: Vec::new(),
            connection: None,
        }
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether all that it has said is settled.
    pub fn is_settled(&self) -> bool {
        self.lines.iter().all(|(_, is_settled)| *is_settled)
    }

    /// Connects, and says everything again that is not settled. False: nobody listens.
    pub fn connect(&mut self, socket: &Path) -> bool {
        let Ok(stream) = UnixStream::connect(socket) else {
            return false;
        };
        stream.set_nonblocking(true).unwrap();
        self.connection = Some(Connection {
            wire: Wire::new(stream),
            said: Vec::new(),
            acked: 0,
            unavailable: BTreeSet::new(),
        });
        self.repeat();
        true
    }

    /// Loses its connection.
    pub fn cut(&mut self) {
        self.connection = None;
    }

    /// Says one more event.
    pub fn say(&mut self, mut event: Value, log: &mut Log) {
        let index = self.lines.len();
        let mark = self.mark(index);
        event["data"]["mark"] = mark.into();
        log.say(mark, &event, Some(self.source));
        event["key"] = format!("key-{mark}").into();
        self.lines.push((format!("{event}\n"), false));
        if let Some(connection) = &mut self.connection {
            connection.say(index, &self.lines);
        }
    }

    fn mark(&self, index: usize) -> u64 {
        self.source as u64 * MARKS + index as u64 + 1
    }

    /// Says again what is not settled and not on its way.
    pub fn repeat(&mut self) -> usize {
        let Some(connection) = &mut self.connection else {
            return 0;
        };
        let on_its_way: BTreeSet<usize> = connection.said[connection.acked..]
            .iter()
            .copied()
            .collect();
        let mut count = 0;
        for index in 0..self.lines.len() {
            if !self.lines[index].1 && !on_its_way.contains(&index) {
                connection.say(index, &self.lines);
                count += 1;
            }
        }
        count
    }

    /// Lets up to so many bytes out and in. Returns whether any moved. `may_fail`: the disk has.
    pub fn exchange(&mut self, out: usize, incoming: usize, log: &mut Log, may_fail: bool) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        let moved = connection.wire.push(out) + connection.wire.pull(incoming) > 0;
        let mut answers = Vec::new();
        let text = &mut connection.wire.incoming;
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            answers.push(serde_json::from_slice(&line).unwrap());
        }
        let has_ended = connection.wire.has_ended;
        for answer in answers {
            self.take(&answer, log, may_fail);
        }
        if has_ended {
            self.connection = None;
        }
        moved
    }

    fn take(&mut self, answer: &Value, log: &mut Log, may_fail: bool) {
        let source = self.source;
        let Some(connection) = &mut self.connection else {
            return;
        };
        if let Some(error) = answer.get("error") {
            assert!(
                may_fail && error["code"] == "unavailable",
                "to {source}: {answer}"
            );
            let line = error["line"].as_u64().unwrap() as usize;
            let range = connection.acked + 1..=connection.said.len();
            assert!(range.contains(&line), "to {source} in {range:?}: {answer}");
            assert!(
                connection.unavailable.insert(line),
                "to {source} twice: {answer}"
            );
            return;
        }
        let count = answer["ack"].as_u64().unwrap() as usize;
        let range = connection.acked + 1..=connection.said.len();
        assert!(range.contains(&count), "to {source} in {range:?}: {answer}");
        let mut settled = Vec::new();
        for line in range.take_while(|line| *line <= count) {
            if !connection.unavailable.remove(&line) {
                settled.push(connection.said[line - 1]);
            }
        }
        let last = connection.said[count - 1];
        connection.acked = count;
        for index in settled {
            self.lines[index].1 = true;
            log.ack(self.mark(index));
        }
        log.name(answer["id"].as_str().unwrap(), self.mark(last));
    }
}

impl Connection {
    fn say(&mut self, index: usize, lines: &[(String, bool)]) {
        self.wire
            .outgoing
            .extend_from_slice(lines[index].0.as_bytes());
        self.said.push(index);
    }
}

/// Users and sessions that events are about and browsers have.
pub const CUSTOMERS: [&str; 2] = ["ann", "bob"];
const USERS: [&str; 5] = ["ann", "bob", "sam", "mia", "root"];

/// Some event with up to `padding` bytes of ballast.
pub fn any_event(random: &mut Rng, padding: usize) -> Value {
    let customer = *random.choice(&CUSTOMERS).unwrap();
    let product = json!({ "productId": "p-1", "productName": "Lamp", "sku": "LMP-1" });
    let (kind, mut data) = match random.u8(0..8) {
        0 | 1 => (
            "order:deleted",
            json!({ "orderId": "o-1", "customerId": customer }),
        ),
        2 => ("order:deleted", json!({ "orderId": "o-2" })),
        3 => (
            "order:updated",
            json!({ "orderId": "o-3", "customerId": customer, "changes": {} }),
        ),
        4 => ("product:deleted", json!({ "productId": "p-1" })),
        5 => ("inventory:out_of_stock", product),
        6 => (
            "payment:refunded",
            json!({ "paymentId": "pay-1", "orderId": "o-1", "customerId": customer, "amount": 5 }),
        ),
        _ => ("system:maintenance", json!({ "message": "soon" })),
    };
    if padding > 0 {
        data["pad"] = "x".repeat(random.usize(0..padding)).into();
    }
    let mut to = json!({});
    if random.u8(0..6) == 0 {
        to["roles"] = json!([random
            .choice(&["admin", "staff", "customer", "guest"])
            .unwrap()]);
    }
    for name in ["userIds", "owners", "excludeUserIds"] {
        if random.u8(0..8) == 0 {
            to[name] = json!([random.choice(&USERS).unwrap()]);
        }
    }
    if random.u8(0..8) == 0 {
        to["excludeSessionId"] = format!("s-{}", random.u8(0..8)).into();
    }
    json!({ "type": kind, "data": data, "to": to })
}
