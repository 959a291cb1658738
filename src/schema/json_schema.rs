//! The catalogue as JSON Schema 2020-12: lines for the ingest socket, and events as they are sent.
//!
//! [`definitions`] are the AsyncAPI document's, too. They keep to keywords that draft 7 has as well,
//! and to patterns without look-around, which more regex engines take.

use serde_json::{Map, Value, json};

use super::{
    ID_ABOUT, KEY_ABOUT, TARGET, TARGET_ABOUT, TIMESTAMP_ABOUT, TargetShape, text, type_name,
};
use crate::access::{Namespace, Role};
use crate::event::EventType;
use crate::event::catalogue::{DIFFERENCE, Field, ORDER_STATUSES, Rule};
use crate::event::rules::{ID_CHARS_MAX, TEXT_BYTES_MAX, TIMESTAMP_MAX};

/// The document's text.
pub fn json_schema() -> String {
    text(&document())
}

/// What the server refuses and a schema cannot describe.
pub(super) fn beyond_schemas() -> String {
    format!(
        "What a schema cannot tell, and the server refuses: strings of more than {TEXT_BYTES_MAX} bytes of UTF-8 (a \
         schema counts characters); a {difference} of {kind} that is not {minuend} - {subtrahend} within 1e-9 of the \
         largest of the three; an order status that is neither one of the five nor of the server's [orders] statuses; \
         lines over --max-message; a key that stands twice in one object, lone surrogates, more than 32 levels of \
         nesting, numbers beyond a double's range.",
        difference = DIFFERENCE.field,
        kind = DIFFERENCE.kind.name(),
        minuend = DIFFERENCE.minuend,
        subtrahend = DIFFERENCE.subtrahend,
    )
}

fn document() -> Value {
    let refs = Refs("#/$defs/");
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "shopwire: lines and events",
        "description": format!(
            "A line for the ingest socket ({line}) or an event as the server sends it ({event}): refer to the one you \
             mean. {}",
            beyond_schemas(), line = refs.path(LINE), event = refs.path(EVENT),
        ),
        "anyOf": [refs.to(LINE), refs.to(EVENT)],
        "$defs": definitions(refs),
    })
}

/// Where definitions stand in a document.
#[derive(Clone, Copy)]
pub(super) struct Refs(pub(super) &'static str);

impl Refs {
    fn path(self, name: &str) -> String {
        format!("{}{name}", self.0)
    }

    /// A schema that is the one of that name.
    pub(super) fn to(self, name: &str) -> Value {
        json!({ "$ref": self.path(name) })
    }
}

/// The definition of any line for the ingest socket.
const LINE: &str = "IngestLine";
/// The definition of any event as it is sent.
const EVENT: &str = "Event";

/// The name of the definition of lines of one type.
pub(super) fn line_name(kind: EventType) -> String {
    type_name(kind) + "Line"
}

/// The name of the definition of events of one type, as they are sent.
pub(super) fn event_name(kind: EventType) -> String {
    type_name(kind) + "Event"
}

/// All schemas by name.
pub(super) fn definitions(refs: Refs) -> Map<String, Value> {
    let any_of_types = |about: &str, name: fn(EventType) -> String| {
        let each = EventType::ALL.map(|kind| refs.to(&name(kind)));
        json!({ "description": about, "oneOf": each })
    };
    let mut definitions = Map::new();
    let mut add = |name: String, schema: Value| {
        definitions.insert(name, schema);
    };
    add(
        "Role".into(),
        json!({ "enum": Role::IN_TOKENS.map(Role::name) }),
    );
    add(
        "Namespace".into(),
        json!({ "enum": Namespace::ALL.map(Namespace::name) }),
    );
    add(
        "EventType".into(),
        json!({ "enum": EventType::ALL.map(EventType::name) }),
    );
    add("Target".into(), target(refs));
    for kind in EventType::ALL {
        add(type_name(kind), data(kind, refs, &[]));
        add(line_name(kind), line(kind, refs));
        add(event_name(kind), event(kind, refs));
    }
    add(
        LINE.into(),
        any_of_types("A line for the ingest socket.", line_name),
    );
    add(
        EVENT.into(),
        any_of_types("An event as the server sends it.", event_name),
    );
    definitions
}

/// The data of a type. The fields `filled_in` may be left out, because the server fills them in.
pub(super) fn data(kind: EventType, refs: Refs, filled_in: &[&str]) -> Value {
    let fields = kind.fields();
    let properties: Map<String, Value> = fields
        .iter()
        .map(|each| (each.name.to_owned(), field(kind, each, refs)))
        .collect();
    let required: Vec<&str> = fields
        .iter()
        .filter(|each| each.required && !filled_in.contains(&each.name))
        .map(|each| each.name)
        .collect();
    json!({
        "description": kind.about(),
        "type": "object",
        "properties": properties,
        "required": required,
    })
}

fn field(kind: EventType, field: &Field, refs: Refs) -> Value {
    let beyond = match field.rule {
        _ if kind == DIFFERENCE.kind && field.name == DIFFERENCE.field => {
            ". A schema cannot tell that, the server checks it."
        }
        Rule::OrderStatus => {
            ". One of those listed, or of the server's [orders] statuses, which a schema cannot tell."
        }
        _ => ".",
    };
    about(
        &format!("{}{beyond}", field.about),
        of_rule(field.rule, refs),
    )
}

fn line(kind: EventType, refs: Refs) -> Value {
    json!({
        "description": format!("A line for the ingest socket: {}", kind.about()),
        "type": "object",
        "properties": {
            "type": { "const": kind.name() },
            "data": refs.to(&type_name(kind)),
            "to": refs.to("Target"),
            "timestamp": about(&format!("{TIMESTAMP_ABOUT}."), of_rule(Rule::Timestamp, refs)),
            "namespace": { "const": kind.namespace().name() },
            "key": about(&format!("{KEY_ABOUT}."), of_rule(Rule::Id, refs)),
        },
        "required": ["type", "data"],
        // A typo never becomes a broadcast.
        "additionalProperties": false,
    })
}

fn event(kind: EventType, refs: Refs) -> Value {
    json!({
        "description": format!("An event as the server sends it: {}", kind.about()),
        "type": "object",
        "properties": {
            "id": { "description": format!("{ID_ABOUT}."), "type": "string" },
            "type": { "const": kind.name() },
            "namespace": { "const": kind.namespace().name() },
            "data": refs.to(&type_name(kind)),
            "timestamp": about(&format!("{TIMESTAMP_ABOUT}."), of_rule(Rule::Timestamp, refs)),
        },
        "required": ["id", "type", "namespace", "data", "timestamp"],
    })
}

fn target(refs: Refs) -> Value {
    let field = |shape: TargetShape| {
        let ids = json!({ "type": "array", "items": of_rule(Rule::Id, refs) });
        match shape {
            TargetShape::Roles => of_rule(Rule::Roles, refs),
            TargetShape::SomeIds => with("minItems", 1.into(), ids),
            TargetShape::Ids => ids,
            TargetShape::Id => of_rule(Rule::Id, refs),
        }
    };
    let properties: Map<String, Value> = TARGET
        .iter()
        .map(|each| {
            let schema = about(&format!("{}.", each.about), field(each.shape));
            (each.name.to_owned(), schema)
        })
        .collect();
    json!({
        "description": format!("{TARGET_ABOUT}."),
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

/// The schema of the values that keep `rule`.
pub(super) fn of_rule(rule: Rule, refs: Refs) -> Value {
    match rule {
        Rule::Id => json!({
            "type": "string",
            "minLength": 1,
            "maxLength": ID_CHARS_MAX,
            "pattern": format!("^[^{CONTROL}]*$"),
        }),
        Rule::Text => json!({ "type": "string", "maxLength": TEXT_BYTES_MAX }),
        Rule::Number => json!({ "type": "number" }),
        Rule::NonNegative => json!({ "type": "number", "minimum": 0 }),
        Rule::PositiveInteger => json!({ "type": "integer", "minimum": 1 }),
        Rule::Timestamp => json!({ "type": "integer", "minimum": 0, "maximum": TIMESTAMP_MAX }),
        Rule::Boolean => json!({ "type": "boolean" }),
        Rule::Constant(value) => json!({ "const": value }),
        Rule::Object => json!({ "type": "object" }),
        Rule::OneOf(words) => json!({ "enum": words }),
        // The second is what the configuration may add; the first is for those who look for words.
        Rule::OrderStatus => json!({
            "anyOf": [{ "enum": ORDER_STATUSES }, { "type": "string", "maxLength": TEXT_BYTES_MAX }],
        }),
        Rule::Roles => json!({ "type": "array", "items": refs.to("Role"), "minItems": 1 }),
        Rule::ActionUrl => json!({
            "type": "string",
            "maxLength": TEXT_BYTES_MAX,
            "pattern": action_url(),
        }),
    }
}

/// Control characters, within brackets.
const CONTROL: &str = r"\x00-\x1f\x7f-\x9f";

/// White space that is no control character, within brackets: as it is, because engines differ in
/// how they escape it.
const SPACE: &str = " \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";

/// The pattern of what `event::rules` takes for an `actionUrl`.
fn action_url() -> String {
    let path = format!(r"/(?:[^/\\{CONTROL}][^{CONTROL}]*)?");
    let user = format!(r"(?:[^/\\?#{CONTROL}]*@)?");
    let port = format!(r"[^/\\?#@{CONTROL}]*");
    let ipv6 = format!(r"\[[^\]/\\?#@{CONTROL}{SPACE}]+\]{port}");
    let name = format!(r"[^/\\?#@:\[{CONTROL}{SPACE}][^/\\?#@:{CONTROL}{SPACE}]*(?::{port})?");
    let rest = format!(r"(?:[/\\?#][^{CONTROL}]*)?");
    format!("^(?:{path}|https?://{user}(?:{ipv6}|{name}){rest})$")
}

/// `schema` with a description.
pub(super) fn about(description: &str, schema: Value) -> Value {
    with("description", description.into(), schema)
}

/// `schema`, an object, with one more keyword.
fn with(keyword: &str, value: Value, mut schema: Value) -> Value {
    schema[keyword] = value;
    schema
}

#[cfg(test)]
#[path = "json_schema_tests.rs"]
mod tests;
