//! What a browser says: requests, and what a customer publishes about itself.

use std::collections::BTreeSet;

use fastrand::Rng;
use serde_json::{Value, json};

use super::{Asked, Browser, Context, Memory, Stage};
use crate::emitter::MARKS;
use crate::frames::put_frame;
use crate::log::Log;
use crate::owed::Start;
use crate::reference::open_to;

impl Browser {
    pub(super) fn want(&mut self, namespace: &str, random: &mut Rng) {
        let filter = (namespace == "orders" && random.u8(0..3) == 0)
            .then(|| BTreeSet::from(["order:deleted".to_owned()]));
        self.wanted.insert(namespace.to_owned(), filter);
        self.places.insert(namespace.to_owned(), Start::Now);
    }

    /// Says something, if there is nothing that it waits for. Returns what.
    pub fn act(&mut self, random: &mut Rng, context: &mut Context<'_>) -> Option<&'static str> {
        let connection = self.connection.as_ref()?;
        if connection.stage != Stage::Open || !connection.asked.is_empty() {
            return None;
        }
        let reactor = connection.reactor;
        let said = match random.u8(0..8) {
            0 | 1 => {
                let more: Vec<&str> = open_to(self.role)
                    .into_iter()
                    .filter(|each| !self.wanted.contains_key(*each))
                    .collect();
                let namespace = *random.choice(&more)?;
                self.want(namespace, random);
                self.subscribe(vec![namespace.to_owned()], Start::Now, context);
                "subscribes to one more"
            }
            2 if self.wanted.len() > 1 => {
                let all: Vec<String> = self.wanted.keys().cloned().collect();
                let namespace = random.choice(&all)?.clone();
                self.wanted.remove(&namespace);
                self.places.remove(&namespace);
                let data = json!({ "namespaces": [&namespace] });
                self.ask("unsubscribe", &data, Asked::Unsubscription(vec![namespace]));
                "unsubscribes"
            }
            3 | 4 if self.memory == Memory::Each => {
                let all: Vec<String> = self.wanted.keys().cloned().collect();
                let namespace = random.choice(&all)?.clone();
                let start = match random.u8(0..3) {
                    0 => Start::Last(random.u32(1..8)),
                    1 => self.places[&namespace].clone(),
                    _ => {
                        let handed = context.progress(reactor).handed;
                        let some = random.u64(0..=handed);
                        let known = context.log.entries.get(&some);
                        Start::Since(known?.id.clone())
                    }
                };
                self.subscribe(vec![namespace], start, context);
                "subscribes again"
            }
            5 if self.role == "customer" => {
                self.publish(context.log);
                "publishes"
            }
            6 => {
                self.ask("ping", &Value::Null, Asked::Ping);
                "pings"
            }
            _ => return None,
        };
        Some(said)
    }

    fn publish(&mut self, log: &mut Log) {
        self.published += 1;
        let mark = (100 + self.number as u64) * MARKS + self.published;
        let data = json!({
            "customerId": self.user,
            "productId": "p-1",
            "productName": "Lamp",
            "quantity": 1,
            "mark": mark,
        });
        let event = json!({ "type": "customer:added_to_cart", "data": data });
        log.say(mark, &event, None);
        self.send(&event);
    }

    /// The first things said on a connection that is open.
    pub(super) fn begin(&mut self, context: &Context<'_>) {
        let all: Vec<String> = self.wanted.keys().cloned().collect();
        match self.memory {
            Memory::One => self.subscribe(all, self.place.clone(), context),
            Memory::Each => {
                for namespace in all {
                    let start = self.places[&namespace].clone();
                    self.subscribe(vec![namespace], start, context);
                }
            }
        }
    }

    fn subscribe(&mut self, namespaces: Vec<String>, start: Start, context: &Context<'_>) {
        let mut data = json!({ "namespaces": &namespaces });
        match &start {
            Start::Now => {}
            Start::Since(id) => data["since"] = id.as_str().into(),
            Start::Last(count) => data["last"] = (*count).into(),
        }
        let filters = namespaces
            .iter()
            .filter_map(|each| self.wanted[each].as_ref());
        let types: Vec<&String> = filters.flatten().collect();
        if !types.is_empty() {
            data["events"] = json!(types);
        }
        let reactor = self
            .connection
            .as_ref()
            .map_or(0, |connection| connection.reactor);
        let asked = Asked::Subscription {
            namespaces,
            start,
            taken: context.progress(reactor).taken,
        };
        self.ask("subscribe", &data, asked);
    }

    pub(super) fn ask(&mut self, kind: &str, data: &Value, asked: Asked) {
        self.send(&json!({ "type": kind, "data": data }));
        if let Some(connection) = &mut self.connection {
            connection.asked.push(asked);
        }
    }

    fn send(&mut self, message: &Value) {
        if let Some(connection) = &mut self.connection {
            put_frame(
                1,
                message.to_string().as_bytes(),
                &mut connection.wire.outgoing,
            );
        }
    }
}
