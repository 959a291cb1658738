//! A text message of a client, and the id that it may show.

use shopwire::access::{Namespace, NamespaceMask, TypeMask};
use shopwire::event::{Epoch, EventType, Run, Runs};
use shopwire::reactor::message::{Fault, Request, Start, parse, type_of};

use super::strict_json::{self, Tree};

const LAST_MAX: u64 = 1000;
/// Types longer than this are not repeated.
const ECHO_MAX: usize = 40;
const NEWEST: u64 = 12;

pub fn holds(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let outcome = parse(text);
    if let Ok(Request::Subscribe(subscribe)) = &outcome
        && let Start::Since(id) = &subscribe.start
    {
        check_id(id);
    }
    // What is passed over unread may be such that a whole reading refuses it.
    let Ok(message) = strict_json::read_loosely(input) else {
        return;
    };
    let expected = judge(&message);
    match (&outcome, &expected) {
        (Ok(request), Ok(expected)) => assert_eq!(request, expected),
        (Err(Fault { code, request, .. }), Err(expected)) => {
            assert_eq!((*code, request.as_deref()), *expected, "{text}");
        }
        _ => panic!("{text}: {outcome:?}, and the reference says {expected:?}"),
    }
    let kind = envelope(&message).map(|(kind, _)| kind);
    let shown = kind.filter(|kind| kind.len() <= ECHO_MAX);
    assert_eq!(type_of(text).as_deref(), shown);
}

type Refused<'t> = (&'static str, Option<&'t str>);

/// The type and the data, where a message has the form of one.
fn envelope(message: &Tree) -> Option<(&str, Option<&Tree>)> {
    let kind = message.get("type").and_then(Tree::text)?;
    let is_once = message.count("type") == 1 && message.count("data") <= 1;
    let data = message.get("data").filter(|data| **data != Tree::Null);
    is_once.then_some((kind, data))
}

fn judge(message: &Tree) -> Result<Request<'_>, Refused<'_>> {
    let (kind, data) = envelope(message).ok_or(("invalid_message", None))?;
    let invalid = ("invalid_message", Some(kind));
    match kind {
        "ping" => Ok(Request::Ping),
        "auth" => {
            let data = data
                .filter(|data| data.count("token") == 1)
                .ok_or(invalid)?;
            let token = data.get("token").and_then(Tree::text).ok_or(invalid)?;
            Ok(Request::Auth(token.into()))
        }
        "subscribe" => subscribe(data.ok_or(invalid)?).ok_or(invalid),
        "unsubscribe" => {
            let data = data.filter(|data| has_shape(data)).ok_or(invalid)?;
            namespaces(data).map(Request::Unsubscribe).ok_or(invalid)
        }
        _ => match EventType::ALL
            .into_iter()
            .find(|event| event.name() == kind)
        {
            Some(event) => Ok(Request::Publish(event)),
            None => Err((
                "unknown_type",
                Some(kind).filter(|kind| kind.len() <= ECHO_MAX),
            )),
        },
    }
}

/// Whether each field that `subscribe` knows stands there once and is of its type.
fn has_shape(data: &Tree) -> bool {
    let is_good = |name: &str, is_type: fn(&Tree) -> bool| match data.count(name) {
        0 => true,
        1 => data.get(name).is_some_and(is_type),
        _ => false,
    };
    data.members().is_some()
        && is_good("namespaces", |value| texts(value).is_some())
        && is_good("namespace", |value| value.text().is_some())
        && is_good("events", |value| texts(value).is_some())
        && is_good("since", |value| value.text().is_some())
        && is_good("last", |value| whole(value).is_some())
        && is_good("conflate", |value| matches!(value, Tree::Bool(_)))
}

fn subscribe(data: &Tree) -> Option<Request<'_>> {
    if !has_shape(data) {
        return None;
    }
    let namespaces = namespaces(data)?;
    let mut events = TypeMask::default();
    for name in data.get("events").and_then(texts).unwrap_or_default() {
        let event = EventType::ALL
            .into_iter()
            .find(|event| event.name() == name)?;
        namespaces.contains(event.namespace()).then_some(())?;
        events.insert(event);
    }
    let since = data.get("since").and_then(Tree::text);
    let start = match (since, data.get("last").and_then(whole)) {
        (None, None) => Start::Now,
        (Some(id), None) => Start::Since(id.into()),
        (None, Some(last @ 1..=LAST_MAX)) => Start::Last(last as u32),
        _ => return None,
    };
    let conflate = match data.get("conflate") {
        Some(Tree::Bool(conflate)) => Some(*conflate),
        _ => None,
    };
    Some(Request::Subscribe(shopwire::reactor::message::Subscribe {
        namespaces,
        events,
        conflate,
        start,
    }))
}

fn namespaces(data: &Tree) -> Option<NamespaceMask> {
    let listed = data.get("namespaces").and_then(texts);
    if listed.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    let mut names = listed.unwrap_or_default();
    names.extend(data.get("namespace").and_then(Tree::text));
    let mut mask = NamespaceMask::default();
    for name in names {
        mask.insert(
            Namespace::ALL
                .into_iter()
                .find(|known| known.name() == name)?,
        );
    }
    (!mask.is_empty()).then_some(mask)
}

fn texts(list: &Tree) -> Option<Vec<&str>> {
    match list {
        Tree::Array(elements) => elements.iter().map(Tree::text).collect(),
        _ => None,
    }
}

fn whole(value: &Tree) -> Option<u64> {
    match value {
        Tree::Number(number) => number.as_u64(),
        _ => None,
    }
}

/// An id that is known is one that the server has given out, letter by letter.
fn check_id(id: &str) {
    let run = |epoch, first| Run {
        epoch: Epoch(epoch),
        first,
    };
    let runs = Runs::new(vec![run(0xabc, 1), run(0xabd, 6)], run(0xabe, 10));
    let known = |number: u64| {
        let (epoch, first_of_next) = match number {
            0..=5 => ("abc", 6),
            6..=9 => ("abd", 10),
            _ => ("abe", u64::MAX),
        };
        let at_the_end = number + 1 == first_of_next;
        let next = if epoch == "abc" { "abd" } else { "abe" };
        let begins = at_the_end.then(|| format!("{next}-{number}"));
        [Some(format!("{epoch}-{number}")), begins]
    };
    let expected = (0..=NEWEST).find(|&number| known(number).iter().flatten().any(|one| one == id));
    assert_eq!(runs.number(id, NEWEST), expected, "{id}");
}
