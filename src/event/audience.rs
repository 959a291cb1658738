//! Whom an event is for, as an emitter would say it: what an operator is shown of it.

use serde_json::{Map, Value};

use super::block::{Block, Frame, Name};
use crate::access::{Role, RoleMask};

impl Block {
    /// The frame's target, as it stands in an ingest line's `to`, with what the event's data say of it:
    /// a customer is an owner, and `targetRoles` narrow the roles.
    pub fn target(&self, frame: &Frame) -> Map<String, Value> {
        let mut to = Map::new();
        if frame.roles != RoleMask::ALL {
            let roles = Role::ALL.into_iter();
            let roles = roles.filter(|role| frame.roles.contains(*role));
            to.insert("roles".into(), roles.map(Role::name).collect());
        }
        let (owners, users) = (self.owners(frame), self.users(frame));
        let texts =
            |names: &[Name]| -> Value { names.iter().map(|name| self.text(name)).collect() };
        for (field, names) in [
            // Whom `userIds` name is an owner, too, and stands behind the others.
            ("owners", &owners[..owners.len() - users.len()]),
            ("userIds", users),
            ("excludeUserIds", self.excluded(frame)),
        ] {
            if !names.is_empty() {
                to.insert(field.into(), texts(names));
            }
        }
        if let Some(session) = self.session(frame) {
            to.insert("excludeSessionId".into(), self.text(session).into());
        }
        to
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::event::{BlockBuilder, Epoch, Line, NameHasher, Parser, Rules};

    #[test]
    fn a_target_is_shown_as_it_was_given_with_what_the_data_add() {
        let mut parser = Parser::new(Rules {
            order_statuses: Vec::new(),
            max_message: 1 << 20,
        });
        let mut builder = BlockBuilder::new(Epoch(1), NameHasher::default(), 1 << 20);
        let data = json!({"orderId": "o", "customerId": "ann"});
        let mut shown = |kind: &str, data: Value, to: Value| {
            let line = json!({"type": kind, "data": data, "to": to}).to_string();
            let Ok(Line::Event(event)) = parser.parse(line.as_bytes()) else {
                panic!("{line}");
            };
            builder.push(&event, 1, 0).unwrap();
            let block = builder.finish(Instant::now(), 0);
            let payload: Value = serde_json::from_slice(block.payload(&block.frames[0])).unwrap();
            assert_eq!(payload["data"], data);
            Value::Object(block.target(&block.frames[0]))
        };
        assert_eq!(
            shown("product:deleted", json!({"productId": "p"}), json!({})),
            json!({})
        );
        assert_eq!(
            shown("order:deleted", data.clone(), json!({})),
            json!({"owners": ["ann"]})
        );
        let all = json!({"roles": ["admin", "customer"], "userIds": ["bob", "cid"], "owners": ["dan"],
            "excludeUserIds": ["eve"], "excludeSessionId": "s"});
        let mut expected = all.clone();
        expected["owners"] = json!(["dan", "ann"]);
        assert_eq!(shown("order:deleted", data, all), expected);
        // Headers of all three lengths.
        for pad in [10, 1000, 100_000] {
            let long = json!({"productId": "p", "pad": "x".repeat(pad)});
            assert_eq!(shown("product:deleted", long, json!({})), json!({}));
        }
        let notice = json!({"title": "t", "message": "m", "severity": "info", "targetRoles": ["staff", "admin"]});
        assert_eq!(
            shown(
                "system:notification",
                notice,
                json!({"roles": ["admin", "guest"]})
            ),
            json!({"roles": ["admin"]})
        );
    }
}
