//! What an operator is shown of a reactor's connections, and of the events that it keeps.
//!
//! Part of the reactor. What can be asked, and how answers are put together, is in
//! [`crate::listing`].

use serde_json::value::RawValue;

use super::Reactor;
use super::outbox::Outbox;
use crate::event::renaming::id_of;
use crate::event::{Block, Frame, Naming};
use crate::limits;
use crate::listing::{
    ConnectionRow, Connections, ConnectionsWanted, EventRow, Events, EventsWanted, Order,
    Subscribers, connection_id, keep_first,
};
use crate::ring::ToRouter;

impl Reactor {
    /// Tells of the open connections that are wanted.
    pub(super) fn list_connections(&mut self, wanted: &ConnectionsWanted) {
        let mut ranked = self.ranked(wanted);
        let matching = ranked.len();
        if let Order::Age { after: Some(after) } = wanted.order {
            ranked.retain(|(serial, _)| *serial > u64::from(after));
        }
        let more = keep_first(&mut ranked, wanted.limit);
        let rows = ranked.into_iter().map(|(_, key)| self.row(key)).collect();
        let connections = Connections {
            rows,
            matching,
            more,
        };
        self.uplink
            .send(ToRouter::Connections(Box::new(connections)));
    }

    /// The keys of those that match, each with what its place depends on: the least comes first.
    fn ranked(&self, wanted: &ConnectionsWanted) -> Vec<(u64, u32)> {
        let rank = |key: u32| -> Option<(u64, u32)> {
            let connection = self.connections.get(key as usize)?;
            let matches = connection.is_websocket()
                && wanted
                    .role
                    .is_none_or(|role| self.directory.role(key) == role)
                && wanted
                    .session
                    .as_deref()
                    .is_none_or(|session| self.directory.session(key) == Some(session))
                && wanted
                    .namespace
                    .is_none_or(|namespace| self.directory.subscribed(key).contains(namespace));
            if !matches {
                return None;
            }
            match wanted.order {
                Order::Age { .. } => Some((connection.generation.into(), key)),
                Order::Slowness => match self.waiting_bytes(key) {
                    0 => None,
                    waiting => Some((u64::MAX - waiting as u64, key)),
                },
            }
        };
        match &wanted.user {
            Some(user) => {
                let keys = self.directory.of_user(user);
                keys.iter().filter_map(|&key| rank(key)).collect()
            }
            None => {
                let keys = self.connections.iter().map(|(key, _)| key as u32);
                keys.filter_map(rank).collect()
            }
        }
    }

    fn row(&self, key: u32) -> ConnectionRow {
        let connection = &self.connections[key as usize];
        ConnectionRow {
            serial: connection.generation,
            connection_id: connection_id(connection.generation),
            worker: self.index,
            ip: connection.ip,
            role: self.directory.role(key).name(),
            user_id: self.directory.user(key).map(str::to_owned),
            session_id: self.directory.session(key).map(str::to_owned),
            namespaces: self
                .directory
                .subscribed(key)
                .iter()
                .map(|namespace| namespace.name())
                .collect(),
            waiting_bytes: self.waiting_bytes(key),
            expires_at: (connection.expires_at > 0).then_some(connection.expires_at),
            tls: connection.is_secure(),
            replaying: self.directory.is_held(key),
        }
    }

    /// What waits for the connection's socket, in bytes.
    pub(super) fn waiting_bytes(&self, key: u32) -> usize {
        let connection = &self.connections[key as usize];
        connection.outbox().map_or(0, Outbox::length) + connection.sealed_waiting()
    }

    /// Tells how many are subscribed to what, by role; the server's own canary is nobody.
    pub(super) fn count_subscribers(&mut self) {
        let mut subscribers = Subscribers::default();
        let canary = self.shared.canary.as_ref();
        let canary = canary.map(|canary| canary.pass().user());
        for key in self.open_ones(|key, _| canary.is_none() || self.directory.user(key) != canary) {
            subscribers.count(self.directory.role(key), self.directory.subscribed(key));
        }
        self.uplink
            .send(ToRouter::Subscribers(Box::new(subscribers)));
    }

    /// Tells of the kept events that are wanted, the newest first.
    pub(super) fn list_events(&mut self, wanted: &EventsWanted) {
        let newest_first = self
            .history
            .alone(0)
            .rev()
            .chain(self.history.before(u64::MAX))
            .flat_map(|block| {
                block
                    .frames
                    .iter()
                    .rev()
                    .map(move |frame| (&**block, frame))
            })
            .filter(|(_, frame)| wanted.wants(frame.kind))
            .take(wanted.limit);
        let mut data_left = if wanted.data {
            limits::LIST_DATA_MAX
        } else {
            0
        };
        let events = newest_first
            .map(|(block, frame)| self.event_row(block, frame, &mut data_left))
            .collect();
        let events = Events {
            events,
            kept_events: self.history.events(),
            kept_bytes: self.history.weight(),
        };
        self.uplink.send(ToRouter::Events(Box::new(events)));
    }

    pub(super) fn event_row(
        &self,
        block: &Block,
        frame: &Frame,
        data_left: &mut usize,
    ) -> EventRow {
        let (data, timestamp) = ending(block.payload(frame));
        let data = data.filter(|data| data.len() <= *data_left);
        *data_left -= data.map_or(0, <[u8]>::len);
        EventRow {
            id: self.id_of_event(block, frame),
            kind: frame.kind.name(),
            timestamp,
            bytes: (frame.end - frame.start) as usize,
            named: frame.users_narrow,
            data: data.and_then(|data| {
                let text = String::from_utf8(data.to_vec()).ok()?;
                RawValue::from_string(text).ok()
            }),
        }
    }

    /// What an event is called here.
    fn id_of_event(&self, block: &Block, frame: &Frame) -> String {
        if block.naming == Naming::Alone {
            // It has no number yet.
            let bytes = &block.bytes[frame.start as usize..frame.end as usize];
            return id_of(bytes).unwrap_or_default().to_owned();
        }
        let mut id = Vec::new();
        self.shared.runs.put_id(frame.id, &mut id);
        String::from_utf8_lossy(&id).into_owned()
    }
}

/// The data and the time of an event, from its payload: `{…,"data":…,"timestamp":…}`, as
/// [`crate::event::BlockBuilder`] lays it out.
fn ending(payload: &[u8]) -> (Option<&[u8]>, Option<u64>) {
    const DATA: &[u8] = b",\"data\":";
    const TIMESTAMP: &[u8] = b",\"timestamp\":";
    let Some(end) = memchr::memmem::rfind(payload, TIMESTAMP) else {
        return (None, None);
    };
    let digits = payload[end + TIMESTAMP.len()..].strip_suffix(b"}");
    let timestamp = digits
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok());
    // Nothing before it is longer than a type's name, and none of it holds these signs.
    let start = memchr::memmem::find(&payload[..end], DATA);
    (
        start.map(|start| &payload[start + DATA.len()..end]),
        timestamp,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_and_time_are_found_whatever_the_data_say() {
        let data = br#"{"a":",\"timestamp\":1","data":{"timestamp":2}}"#;
        let payload = [
            &br#"{"id":"e-1","type":"order:deleted","namespace":"orders","data":"#[..],
            data,
            br#","timestamp":1700000000000}"#,
        ]
        .concat();
        assert_eq!(ending(&payload), (Some(&data[..]), Some(1_700_000_000_000)));
        assert_eq!(ending(b"{}"), (None, None));
    }
}
