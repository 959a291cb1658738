//! What a customer's browser publishes: the line that is made of it must say nothing but what that
//! customer may say about itself.

use shopwire::event::{Event, EventType, Line, Parser, PublishError};

use super::judged::{Judged, LINE_MAX, judge, rules};
use super::strict_json::{self, Tree};

const NOW: u64 = 1_700_000_000_123;

/// The first byte chooses the customer, the rest is the message.
const USERS: [&str; 4] = ["cust-1", "\"},\"to\":{\"", "ü\\u0041<", "x\u{2028}😀"];

pub fn holds(input: &[u8]) {
    let Some((&first, message)) = input.split_first() else {
        return;
    };
    let user = USERS[usize::from(first) % USERS.len()];
    let mut parser = Parser::new(rules());
    let mut line = b"what was there before".to_vec();
    let outcome = parser.parse_published(message, user, NOW, &mut line);
    let expected = expected_line(message, user);
    match outcome {
        Ok(()) => {
            assert!(!line.contains(&b'\n'));
            let tree = strict_json::read(&line).unwrap();
            let Ok(Line::Event(event)) = parser.parse(&line) else {
                panic!("a published line is no event: {tree:?}");
            };
            check(&event, user);
            assert_eq!(Some(sorted(tree)), expected.map(sorted));
        }
        Err(error) => {
            assert!(
                line.is_empty(),
                "something is left of a line that was refused"
            );
            // What was filled in may be what makes a line too long.
            let is_too_large = matches!(error, PublishError::TooLarge { .. });
            let expected = expected.filter(|_| !is_too_large);
            assert!(expected.is_none(), "refused by {error:?}: {expected:?}");
        }
    }
}

fn check(event: &Event<'_>, user: &str) {
    assert!(event.kind.is_publishable());
    assert_eq!(event.customer, Some(user));
    assert_eq!(event.key, None);
    let targets = event.targets;
    assert!(!targets.users_narrow && targets.session().is_none());
    assert_eq!(targets.excluded().count(), 0);
    assert!(targets.owners().eq([user]));
}

/// What the message stands for as an ingest line, if it may be published.
fn expected_line(message: &[u8], user: &str) -> Option<Tree> {
    let tree = strict_json::read(message).ok()?;
    if message.len() > LINE_MAX {
        return None;
    }
    let Tree::Object(mut members) = tree else {
        return None;
    };
    if members
        .iter()
        .any(|(name, _)| ["to", "key", "id", "command"].contains(&name.as_str()))
    {
        return None;
    }
    let kind = members.iter().find(|(name, _)| name == "type")?.1.text()?;
    let kind = EventType::from_name(kind).filter(|kind| kind.is_publishable())?;
    let (_, data) = members.iter_mut().find(|(name, _)| name == "data")?;
    let Tree::Object(data) = data else {
        return None;
    };
    let has = |data: &[(String, Tree)], name: &str| data.iter().any(|(key, _)| key == name);
    if !has(data, "customerId") {
        data.push(("customerId".to_owned(), Tree::String(user.to_owned())));
    }
    let has_time = kind.fields().iter().any(|field| field.name == "timestamp");
    if has_time && !has(data, "timestamp") {
        data.push(("timestamp".to_owned(), Tree::Number(NOW.into())));
    }
    let line = Tree::Object(members);
    match judge(&line) {
        Ok(Judged::Event(event)) if event.customer == Some(user) => {}
        _ => return None,
    }
    Some(line)
}

/// With the members of every object in the order of their names.
fn sorted(tree: Tree) -> Tree {
    match tree {
        Tree::Array(elements) => Tree::Array(elements.into_iter().map(sorted).collect()),
        Tree::Object(members) => {
            let mut members: Vec<_> = members
                .into_iter()
                .map(|(name, value)| (name, sorted(value)))
                .collect();
            members.sort_by(|one, other| one.0.cmp(&other.0));
            Tree::Object(members)
        }
        leaf => leaf,
    }
}
