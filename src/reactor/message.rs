//! What a client says: a text message to a [`Request`] (CONTRACT section 5, "From the client").
//!
//! Pure; called by the reactor for every text message within the rate. Messages are tiny and may
//! be hostile: strings are borrowed where they can be, and nothing is kept.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::access::{Namespace, NamespaceMask, TypeMask};
use crate::event::EventType;
use crate::limits;

/// A message that makes sense.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Shows a token.
    Auth(Cow<'a, str>),
    /// Asks for namespaces.
    Subscribe(Subscribe<'a>),
    /// No longer wants these.
    Unsubscribe(NamespaceMask),
    /// Wants a `pong`.
    Ping,
    /// Carries an event; its payload is checked by [`crate::event::Parser`].
    Publish(EventType),
}

/// A `subscribe`.
#[derive(Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// The namespaces asked for, at least one.
    pub namespaces: NamespaceMask,
    /// The types named by `events`, all within the namespaces.
    pub events: TypeMask,
    /// Whether waiting events may give way to newer ones from now on; where it is not said, that stays
    /// as it is.
    pub conflate: Option<bool>,
    /// Where they begin.
    pub start: Start<'a>,
}

/// Where a subscription begins.
#[derive(Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// Now.
    Now,
    /// Behind the event with this id, as the client wrote it.
    Since(Cow<'a, str>),
    /// With the newest so many.
    Last(u32),
}

/// Why a message makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// `invalid_message` or `unknown_type`.
    pub code: &'static str,
    /// What is wrong and what is allowed.
    pub message: String,
    /// The message's type, where it could be read.
    pub request: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct AuthData<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
}

#[derive(Deserialize)]
struct SubscribeData<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    namespaces: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, deserialize_with = "present")]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    events: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default, deserialize_with = "present")]
    since: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "present")]
    last: Option<u64>,
    #[serde(default, deserialize_with = "present")]
    conflate: Option<bool>,
}

/// A field that is there must have its type: `null` is not absent.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Longest type that an error repeats.
const ECHO_MAX: usize = 40;

/// The type of a message that is not carried out, if it can be read and is not too long to repeat.
pub fn type_of(text: &str) -> Option<String> {
    let envelope = envelope(text).ok()?;
    (envelope.kind.len() <= ECHO_MAX).then(|| envelope.kind.into_owned())
}

/// Reads one text message.
///
/// # Errors
/// What is wrong with it, as the client is to be told.
pub fn parse(text: &str) -> Result<Request<'_>, Fault> {
    let envelope = envelope(text).map_err(|error| {
        unreadable(if error.is_data() {
            "a message must be a JSON object with one string \"type\""
        } else {
            "the message is not valid JSON"
        })
    })?;
    let kind = envelope.kind.as_ref();
    match kind {
        "ping" => Ok(Request::Ping),
        "auth" => {
            let data: AuthData<'_> = parse_data(
                kind,
                envelope.data,
                "data.token must be the token, a string",
            )?;
            Ok(Request::Auth(data.token))
        }
        "subscribe" => subscribe(kind, envelope.data).map(Request::Subscribe),
        "unsubscribe" => {
            let data: SubscribeData<'_> = parse_data(kind, envelope.data, SHAPE_OF_UNSUBSCRIBE)?;
            namespaces(kind, &data).map(Request::Unsubscribe)
        }
        _ => match EventType::from_name(kind) {
            Some(event) => Ok(Request::Publish(event)),
            None => Err(Fault {
                code: "unknown_type",
                message: "the type is unknown; there are auth, subscribe, unsubscribe, ping and \
                          the customer events that a customer may publish"
                    .to_owned(),
                request: (kind.len() <= ECHO_MAX).then(|| kind.to_owned()),
            }),
        },
    }
}

fn envelope(text: &str) -> Result<Envelope<'_>, serde_json::Error> {
    // serde would also take a list of the fields' values.
    if text.trim_start().starts_with('[') {
        return Err(serde::de::Error::custom("a list is no message"));
    }
    serde_json::from_str(text)
}

const SHAPE_OF_SUBSCRIBE: &str = "data must be an object with namespaces (a list of names) or \
     namespace (one name), and if wanted events (a list of event types), conflate (true or false) \
     and either since (an id) or last (a whole number)";
const SHAPE_OF_UNSUBSCRIBE: &str =
    "data must be an object with namespaces (a list of names) or namespace (one name)";

fn subscribe<'a>(kind: &str, data: Option<&'a RawValue>) -> Result<Subscribe<'a>, Fault> {
    let data: SubscribeData<'a> = parse_data(kind, data, SHAPE_OF_SUBSCRIBE)?;
    let namespaces = namespaces(kind, &data)?;
    let mut events = TypeMask::default();
    for name in data.events.iter().flatten() {
        let event = EventType::from_name(name)
            .ok_or_else(|| invalid(kind, "events names a type that does not exist".to_owned()))?;
        if !namespaces.contains(event.namespace()) {
            let message = format!(
                "events names {}, which is in none of the namespaces",
                event.name()
            );
            return Err(invalid(kind, message));
        }
        events.insert(event);
    }
    let start = match (data.since, data.last) {
        (None, None) => Start::Now,
        (Some(since), None) => Start::Since(since),
        (None, Some(last)) => match u32::try_from(last) {
            Ok(last @ 1..=limits::LAST_MAX) => Start::Last(last),
            _ => {
                let message = format!("last must be from 1 to {}", limits::LAST_MAX);
                return Err(invalid(kind, message));
            }
        },
        (Some(_), Some(_)) => {
            let message = "since and last exclude each other".to_owned();
            return Err(invalid(kind, message));
        }
    };
    Ok(Subscribe {
        namespaces,
        events,
        conflate: data.conflate,
        start,
    })
}

fn namespaces(kind: &str, data: &SubscribeData<'_>) -> Result<NamespaceMask, Fault> {
    let mut mask = NamespaceMask::default();
    for name in data.namespaces.iter().flatten().chain(&data.namespace) {
        let namespace = Namespace::parse(name).ok_or_else(|| {
            let known = Namespace::ALL.map(Namespace::name).join(", ");
            invalid(kind, format!("a namespace is unknown; there are {known}"))
        })?;
        mask.insert(namespace);
    }
    if mask.is_empty() || data.namespaces.as_ref().is_some_and(Vec::is_empty) {
        let message = "at least one namespace must be named, and a list must not be empty";
        return Err(invalid(kind, message.to_owned()));
    }
    Ok(mask)
}

fn parse_data<'a, T: Deserialize<'a>>(
    kind: &str,
    data: Option<&'a RawValue>,
    shape: &str,
) -> Result<T, Fault> {
    let data = data.filter(|raw| raw.get().starts_with('{'));
    data.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .ok_or_else(|| invalid(kind, shape.to_owned()))
}

fn invalid(kind: &str, message: String) -> Fault {
    Fault {
        code: "invalid_message",
        message,
        request: Some(kind.to_owned()),
    }
}

fn unreadable(message: &str) -> Fault {
    Fault {
        code: "invalid_message",
        message: message.to_owned(),
        request: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(namespaces: &[Namespace]) -> NamespaceMask {
        let mut mask = NamespaceMask::default();
        namespaces.iter().for_each(|&each| mask.insert(each));
        mask
    }

    #[test]
    fn every_request_is_read() {
        let token = r#"{"type":"auth","data":{"token":"a\u002eb"}}"#;
        assert_eq!(parse(token), Ok(Request::Auth("a.b".into())));
        assert_eq!(parse(r#" {"x":[1],"type":"ping"} "#), Ok(Request::Ping));
        let one = r#"{"type":"unsubscribe","data":{"namespace":"orders"}}"#;
        assert_eq!(
            parse(one),
            Ok(Request::Unsubscribe(mask(&[Namespace::Orders])))
        );
        let event = r#"{"type":"customer:activity","data":{}}"#;
        assert_eq!(
            parse(event),
            Ok(Request::Publish(EventType::CustomerActivity))
        );
        let subscribe = r#"{"type":"subscribe","data":{"namespaces":["orders","products"],
            "namespace":"system","events":["order:created"],"since":"a-1"}}"#;
        let mut events = TypeMask::default();
        events.insert(EventType::OrderCreated);
        let all = mask(&[Namespace::Orders, Namespace::Products, Namespace::System]);
        let expected = Subscribe {
            namespaces: all,
            events,
            conflate: None,
            start: Start::Since("a-1".into()),
        };
        assert_eq!(parse(subscribe), Ok(Request::Subscribe(expected)));
        let last = r#"{"type":"subscribe","data":{"namespace":"orders","last":1000}}"#;
        let expected = Subscribe {
            namespaces: mask(&[Namespace::Orders]),
            events: TypeMask::default(),
            conflate: None,
            start: Start::Last(1000),
        };
        assert_eq!(parse(last), Ok(Request::Subscribe(expected)));
        for conflate in [true, false] {
            let text = format!(
                r#"{{"type":"subscribe","data":{{"namespace":"products","conflate":{conflate}}}}}"#
            );
            let expected = Subscribe {
                namespaces: mask(&[Namespace::Products]),
                events: TypeMask::default(),
                conflate: Some(conflate),
                start: Start::Now,
            };
            assert_eq!(parse(&text), Ok(Request::Subscribe(expected)));
        }
    }

    #[test]
    fn what_cannot_be_read_says_so_without_naming_a_request() {
        for text in [
            "",
            "x",
            "[]",
            "7",
            "{}",
            r#"{"type":7}"#,
            r#"{"type":"a","type":"b"}"#,
            r#"["ping"]"#,
            r#" ["auth",{"token":"a"}]"#,
        ] {
            let fault = parse(text).unwrap_err();
            assert_eq!(
                (fault.code, fault.request),
                ("invalid_message", None),
                "{text}"
            );
        }
        let deep = "[".repeat(100_000);
        assert!(parse(&format!("{{\"type\":\"ping\",\"data\":{deep}")).is_err());
    }

    #[test]
    fn a_wrong_shape_names_the_request() {
        for data in [
            r#"null"#,
            r#"[]"#,
            r#"{}"#,
            r#"{"namespaces":[]}"#,
            r#"{"namespaces":[],"namespace":"orders"}"#,
            r#"{"namespaces":"orders"}"#,
            r#"{"namespaces":null,"namespace":"orders"}"#,
            r#"{"namespaces":["Orders"]}"#,
            r#"{"namespace":"orders","events":null}"#,
            r#"{"namespace":"orders","events":["product:created"]}"#,
            r#"{"namespace":"orders","events":["order:lost"]}"#,
            r#"{"namespace":"orders","since":7}"#,
            r#"{"namespace":"orders","conflate":1}"#,
            r#"{"namespace":"orders","conflate":"true"}"#,
            r#"{"namespace":"orders","conflate":null}"#,
            r#"{"namespace":"orders","last":0}"#,
            r#"{"namespace":"orders","last":1001}"#,
            r#"{"namespace":"orders","last":1.5}"#,
            r#"{"namespace":"orders","last":1,"since":"a-1"}"#,
        ] {
            let text = format!(r#"{{"type":"subscribe","data":{data}}}"#);
            let fault = parse(&text).unwrap_err();
            assert_eq!(fault.code, "invalid_message", "{data}");
            assert_eq!(fault.request.as_deref(), Some("subscribe"), "{data}");
        }
        let fault = parse(r#"{"type":"auth"}"#).unwrap_err();
        assert_eq!(fault.request.as_deref(), Some("auth"));
    }

    #[test]
    fn an_unknown_type_is_told_and_not_repeated_at_length() {
        let fault = parse(r#"{"type":"shout"}"#).unwrap_err();
        assert_eq!(
            (fault.code, fault.request.as_deref()),
            ("unknown_type", Some("shout"))
        );
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(1000));
        assert_eq!(parse(&long).unwrap_err().request, None);
    }
}
