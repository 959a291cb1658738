//! How one speaks to a server: shopwire's protocol, or Socket.IO's, which wraps the same content in
//! packets of its own.

use memchr::memmem;

use crate::world::roles::Interest;

/// The protocol spoken over the WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The contract's section 5.
    Shopwire,
    /// Socket.IO protocol 5 in Engine.IO protocol 4, text packets.
    SocketIo,
}

/// The answer to [`Answer::Ping`].
pub const SOCKET_IO_PONG: &str = "3";

/// What a text frame means while a connection is set up or taken down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The server is ready to talk.
    Welcome,
    /// The token was accepted, or being public was.
    Authenticated,
    /// The subscription stands.
    Subscribed,
    /// It stands no longer.
    Unsubscribed,
    /// The server said no.
    Refused,
    /// Socket.IO asks for a sign of life, in a text frame; [`SOCKET_IO_PONG`] is one.
    Ping,
    /// Anything else.
    Other,
}

impl Dialect {
    /// The dialect of the server at this path.
    pub fn of_path(path: &str) -> Self {
        if path.starts_with("/socket.io/") {
            Dialect::SocketIo
        } else {
            Dialect::Shopwire
        }
    }

    /// What the client says to authenticate; nothing where a connection without a token is public
    /// without a word.
    pub fn authenticate(self, token: Option<&str>) -> Option<String> {
        match (self, token) {
            (Dialect::Shopwire, Some(token)) => {
                Some(format!(r#"{{"type":"auth","data":{{"token":"{token}"}}}}"#))
            }
            (Dialect::Shopwire, None) => None,
            (Dialect::SocketIo, Some(token)) => Some(format!(r#"40{{"token":"{token}"}}"#)),
            (Dialect::SocketIo, None) => Some("40".into()),
        }
    }

    /// What the client says to subscribe to the event types of `interest`; with `since`, to get first what
    /// came after the event of that id.
    pub fn subscribe(self, interest: Interest, since: Option<&str>) -> String {
        let filter = interest.filter();
        let mut data = format!(r#"{{"namespaces":{}"#, namespaces(interest));
        if !filter.is_empty() {
            let names: Vec<String> = filter
                .iter()
                .map(|kind| format!("\"{}\"", kind.name()))
                .collect();
            data.push_str(&format!(r#","events":[{}]"#, names.join(",")));
        }
        if let Some(id) = since {
            data.push_str(&format!(r#","since":"{id}""#));
        }
        data.push('}');
        self.wrap("subscribe", &data)
    }

    /// What the client says to hear no more.
    pub fn unsubscribe(self, interest: Interest) -> String {
        let data = format!(r#"{{"namespaces":{}}}"#, namespaces(interest));
        self.wrap("unsubscribe", &data)
    }

    /// Whether an [`Answer::Subscribed`] says that everything after `since` comes.
    pub fn is_recovered(self, payload: &[u8]) -> bool {
        memmem::find(payload, br#""recovered":true"#).is_some()
    }

    /// What a text frame means that is none of the run's events.
    pub fn read(self, payload: &[u8]) -> Answer {
        match self {
            Dialect::Shopwire => read_typed(payload, br#""type":""#),
            Dialect::SocketIo => match payload {
                [b'0', ..] => Answer::Welcome,
                [b'2', ..] => Answer::Ping,
                [b'4', b'0', ..] => Answer::Authenticated,
                [b'4', b'4', ..] => Answer::Refused,
                [b'4', b'2', ..] => read_typed(payload, b"[\""),
                _ => Answer::Other,
            },
        }
    }

    fn wrap(self, name: &str, data: &str) -> String {
        match self {
            Dialect::Shopwire => format!(r#"{{"type":"{name}","data":{data}}}"#),
            Dialect::SocketIo => format!(r#"42["{name}",{data}]"#),
        }
    }
}

fn namespaces(interest: Interest) -> String {
    let names: Vec<String> = interest
        .namespaces()
        .iter()
        .map(|namespace| format!("\"{}\"", namespace.name()))
        .collect();
    format!("[{}]", names.join(","))
}

fn read_typed(payload: &[u8], before: &[u8]) -> Answer {
    let Some(at) = memmem::find(payload, before) else {
        return Answer::Other;
    };
    let name = &payload[at + before.len()..];
    match &name[..name.iter().position(|&byte| byte == b'"').unwrap_or(0)] {
        b"welcome" => Answer::Welcome,
        b"authenticated" => Answer::Authenticated,
        b"subscribed" => Answer::Subscribed,
        b"unsubscribed" => Answer::Unsubscribed,
        b"error" => Answer::Refused,
        _ => Answer::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::roles::{Kind, Namespace};

    #[test]
    fn both_dialects_are_spoken_and_understood() {
        let interest = Interest::of_kinds(&[
            Kind::OrderCreated,
            Kind::ProductPriceChanged,
            Kind::ProductUpdated,
        ]);
        let shopwire = Dialect::of_path("/api/ws");
        assert_eq!(
            shopwire.subscribe(interest, None),
            r#"{"type":"subscribe","data":{"namespaces":["orders","products"],"events":["order:created"]}}"#
        );
        let orders = Interest::of(&[Namespace::Orders]);
        assert_eq!(
            shopwire.subscribe(orders, Some("e-7")),
            r#"{"type":"subscribe","data":{"namespaces":["orders"],"since":"e-7"}}"#
        );
        assert_eq!(shopwire.authenticate(None), None);
        for (text, answer) in [
            (r#"{"type":"welcome","data":{}}"#, Answer::Welcome),
            (r#"{"type":"authenticated"}"#, Answer::Authenticated),
            (r#"{"type":"unsubscribed"}"#, Answer::Unsubscribed),
            (r#"{"type":"error","data":{}}"#, Answer::Refused),
            (r#"{"type":"customer:online"}"#, Answer::Other),
            ("", Answer::Other),
        ] {
            assert_eq!(shopwire.read(text.as_bytes()), answer, "{text}");
        }
        let socket_io = Dialect::of_path("/socket.io/?EIO=4&transport=websocket");
        assert_eq!(
            socket_io.unsubscribe(orders),
            r#"42["unsubscribe",{"namespaces":["orders"]}]"#
        );
        assert_eq!(
            socket_io.authenticate(Some("t")),
            Some(r#"40{"token":"t"}"#.into())
        );
        for (text, answer) in [
            (r#"0{"sid":"a"}"#, Answer::Welcome),
            ("2", Answer::Ping),
            (r#"40{"sid":"a"}"#, Answer::Authenticated),
            (r#"44{"message":"no"}"#, Answer::Refused),
            (r#"42["subscribed",{}]"#, Answer::Subscribed),
            (r#"42["error",{}]"#, Answer::Refused),
            ("6", Answer::Other),
        ] {
            assert_eq!(socket_io.read(text.as_bytes()), answer, "{text}");
        }
    }
}
