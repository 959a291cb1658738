//! The event catalogue and the protocol for other languages: TypeScript, JSON Schema, AsyncAPI; and the
//! settings for the documents.
//!
//! Owns no rule: each document is made from [`crate::event::catalogue`], [`crate::access`],
//! [`crate::config::settings`] and the server's lists of codes when it is asked for. What those do not hold, the messages of section 5
//! of the contract, is described in `messages` and `ingest`, and the tests hold it against a running server.
//! Called by `cli::schema` and by the tests that compare the files checked in. Pure.

mod asyncapi;
mod ingest;
mod json_schema;
mod messages;
mod settings;
mod typescript;

pub use asyncapi::asyncapi;
pub use json_schema::json_schema;
pub use settings::settings_table;
pub use typescript::typescript;

use serde_json::Value;

use crate::event::EventType;

/// What an event's `timestamp` is, on a line and in an event.
const TIMESTAMP_ABOUT: &str =
    "When it happened, in ms since 1970; the server's clock where the line has none";
/// What a line's `key` is.
const KEY_ABOUT: &str = "The same key again within 10 minutes, for an event of the same namespace, is acknowledged with the first one's id and not sent again";
/// What an event's `id` is.
const ID_ABOUT: &str = "Opaque, and never used twice; where to go on from after a lost connection";

/// A field of a line's `to`, whom an event is for. The parser's own list is in `event::target`; a
/// test holds the two against each other.
struct TargetField {
    name: &'static str,
    about: &'static str,
    shape: TargetShape,
}

/// What the value of a [`TargetField`] is.
#[derive(Clone, Copy)]
enum TargetShape {
    /// Roles, at least one.
    Roles,
    /// Ids, at least one.
    SomeIds,
    /// Ids, perhaps none.
    Ids,
    /// One id.
    Id,
}

const TARGET_ABOUT: &str = "Whom an event is for, within what the server's access table allows. \
    Absent or {}: everyone it allows";

const TARGET: [TargetField; 5] = [
    TargetField {
        name: "roles",
        about: "Only these roles get it; at least one",
        shape: TargetShape::Roles,
    },
    TargetField {
        name: "userIds",
        about: "Only these users get it, also of those who may see all, and they own it; at least one",
        shape: TargetShape::SomeIds,
    },
    TargetField {
        name: "owners",
        about: "These users own it, beside data.customerId; at least one",
        shape: TargetShape::SomeIds,
    },
    TargetField {
        name: "excludeUserIds",
        about: "These users do not get it",
        shape: TargetShape::Ids,
    },
    TargetField {
        name: "excludeSessionId",
        about: "This session does not get it",
        shape: TargetShape::Id,
    },
];

/// The name of the type of an event's data: `OrderStatusChanged`.
fn type_name(kind: EventType) -> String {
    pascal_case(kind.name())
}

/// A name on the wire as languages write types: `TokenExpiring` for `token:expiring`.
fn pascal_case(name: &str) -> String {
    let words = name.split([':', '_', '-']);
    words
        .map(|word| with_first(word, char::to_ascii_uppercase))
        .collect()
}

/// A name on the wire as languages write values: `tokenExpiring` for `token:expiring`.
fn camel_case(name: &str) -> String {
    with_first(&pascal_case(name), char::to_ascii_lowercase)
}

/// `word` with its first letter changed.
fn with_first(word: &str, change: fn(&char) -> char) -> String {
    let mut letters = word.chars();
    letters.next().iter().map(change).chain(letters).collect()
}

/// A document as text: indented, and in ASCII, so that the invisible characters which patterns
/// name can be seen.
fn text(document: &Value) -> String {
    let mut out = String::new();
    for char in format!("{document:#}\n").chars() {
        if char.is_ascii() {
            out.push(char);
        } else {
            // Beyond ASCII there are only strings.
            for unit in char.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_those_of_types_and_values() {
        assert_eq!(pascal_case("token:expiring"), "TokenExpiring");
        assert_eq!(camel_case("token:expiring"), "tokenExpiring");
        assert_eq!(camel_case("welcome"), "welcome");
        for kind in EventType::ALL {
            assert_eq!(type_name(kind), format!("{kind:?}"));
        }
    }

    #[test]
    fn text_is_ascii_and_reads_back() {
        let document = json!({"é": ["\u{2028}", "😀", "\u{7f}\n\\"]});
        let text = text(&document);
        assert!(text.is_ascii() && text.ends_with("}\n"));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
    }

    /// Sentences are put into comments and end with a period there.
    #[test]
    fn what_is_told_fits_into_a_comment() {
        let fields = EventType::ALL.into_iter().flat_map(EventType::fields);
        let abouts = fields
            .map(|field| field.about)
            .chain(TARGET.iter().map(|field| field.about))
            .chain([TARGET_ABOUT, TIMESTAMP_ABOUT, KEY_ABOUT, ID_ABOUT]);
        for about in abouts {
            assert!(!about.is_empty() && !about.ends_with('.'), "{about}");
            assert!(!about.contains("*/") && !about.contains('\n'), "{about}");
        }
        for kind in EventType::ALL {
            let about = kind.about();
            assert!(about.ends_with('.') && !about.starts_with(' '), "{about}");
        }
    }
}
