//! A line of the ingest socket → an [`Event`]: the whole of the contract's sections 3 and 4 that
//! concerns one line.
//!
//! Owned by the router, one parser for all emitters, which also judges what clients publish
//! (`publish`). The payload is never rebuilt: an event points at its original bytes in the line.

use std::ops::Range;

use simd_json::Node;

use super::catalogue::{DIFFERENCE, Difference, EventType, Field, MAX_FIELDS, Rule};
use super::json::{Document, KeyFilter, Keys, Workspace};
use super::refusal::{Code, Refusal, shortened};
use super::rules::{allowed, keeps, number, roles, timestamp};
use super::target::Targets;
use crate::access::RoleMask;

/// What the configuration says about lines.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Order statuses of this shop, beside the five that all have.
    pub order_statuses: Vec<String>,
    /// The longest line in bytes, its newline not counted; exactly so many are allowed.
    pub max_message: usize,
}

/// Reads lines; its buffers are used again from line to line.
pub struct Parser {
    rules: Rules,
    workspace: Workspace,
    targets: Targets,
}

/// What a line is.
#[derive(Debug)]
pub enum Line<'a> {
    /// Nothing but spaces, tabs and carriage returns.
    Blank,
    /// A JSON object with a top-level `command`: not an event, the router reads it itself.
    Command,
    /// A valid event.
    Event(Event<'a>),
}

/// A valid event, borrowed from its line and its parser.
#[derive(Debug)]
pub struct Event<'a> {
    /// Its type.
    pub kind: EventType,
    /// The `data` object as it was written, not yet safe text.
    pub data: &'a [u8],
    /// Its own time in milliseconds since 1970; the server's clock otherwise.
    pub timestamp: Option<u64>,
    /// What repeats of it are known by.
    pub key: Option<&'a str>,
    /// `data.customerId`, unescaped, if its type has one and it was given.
    pub customer: Option<&'a str>,
    /// Whom it is for.
    pub targets: &'a Targets,
}

impl Parser {
    /// A parser that judges by `rules`.
    pub fn new(rules: Rules) -> Parser {
        Parser {
            rules,
            workspace: Workspace::new(),
            targets: Targets::default(),
        }
    }

    /// Judges one line, without its newline.
    ///
    /// # Errors
    /// The first rule that the line breaks, in the order: size, JSON, type, top-level fields and
    /// data, `to`.
    pub fn parse<'a>(&'a mut self, line: &'a [u8]) -> Result<Line<'a>, Refusal> {
        let Parser {
            rules,
            workspace,
            targets,
        } = self;
        check_size(line, rules)?;
        if is_blank(line) {
            return Ok(Line::Blank);
        }
        let draft = workspace.read(line, |document| Draft::read(document, rules, targets))?;
        let Some(draft) = draft else {
            return Ok(Line::Command);
        };
        Ok(Line::Event(Event {
            kind: draft.kind,
            data: &line[draft.data],
            timestamp: draft.timestamp,
            key: draft.key,
            customer: draft.customer,
            targets,
        }))
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(super) fn workspace(&mut self) -> &mut Workspace {
        &mut self.workspace
    }
}

/// Refuses a line that is over the limit.
pub(super) fn check_size(line: &[u8], rules: &Rules) -> Result<(), Refusal> {
    if line.len() > rules.max_message {
        return Err(Refusal::too_large(
            "the line",
            line.len(),
            rules.max_message,
        ));
    }
    Ok(())
}

/// The type that a line's `type` (the index of its value, where the line has one) names.
pub(super) fn event_type(
    document: Document<'_, '_>,
    kind: Option<usize>,
) -> Result<EventType, Refusal> {
    let unknown = |message: String| Err(Refusal::whole(Code::UnknownType, message));
    let Some(at) = kind else {
        return unknown("the line has no \"type\", such as \"order:created\"".to_owned());
    };
    let Some(name) = document.string(at) else {
        return unknown("\"type\" must be a string, such as \"order:created\"".to_owned());
    };
    match EventType::from_name(name) {
        Some(kind) => Ok(kind),
        None => unknown(format!(
            "the event type \"{}\" is not in the catalogue",
            shortened(name)
        )),
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// An event before its line is borrowed for it.
struct Draft<'a> {
    kind: EventType,
    data: Range<usize>,
    timestamp: Option<u64>,
    key: Option<&'a str>,
    customer: Option<&'a str>,
}

impl<'a> Draft<'a> {
    /// The event in `document`, or nothing if it is a command.
    fn read(
        document: Document<'_, 'a>,
        rules: &Rules,
        targets: &mut Targets,
    ) -> Result<(Option<Draft<'a>>, Keys), Refusal> {
        let top = Top::read(document);
        if top.is_command {
            return Ok((None, Keys::Unchecked));
        }
        let kind = event_type(document, top.kind)?;
        if let Some(name) = top.unknown {
            return Err(Refusal::field(
                Code::InvalidPayload,
                shortened(name),
                "is unknown: type, data, to, timestamp, namespace and key are allowed",
            ));
        }
        top.check_namespace(document, kind)?;
        let timestamp = top
            .field(document, top.timestamp, "timestamp", Rule::Timestamp)?
            .and_then(|at| timestamp(document.node(at)));
        let key = top
            .field(document, top.key, "key", Rule::Id)?
            .and_then(|at| document.string(at));

        let Some(data) = top.data else {
            return Err(payload("data", "is missing: it must be an object"));
        };
        let payload = Payload::read(document, data.at, kind, rules)?;
        let keys = targets.fill(document, top.to, payload.customer, payload.roles)?;
        let draft = Draft {
            kind,
            data: document.object_span(data.key, data.following),
            timestamp,
            key,
            customer: payload.customer,
        };
        // Beside data and to, all values are now known to be strings and numbers.
        let keys = match [top.keys, payload.keys, keys] {
            [Keys::Distinct, Keys::Distinct, Keys::Distinct] => Keys::Distinct,
            _ => Keys::Unchecked,
        };
        Ok((Some(draft), keys))
    }
}

/// The fields of a line's outer object: indexes of values.
pub(super) struct Top<'a> {
    /// Whether each stands there once.
    keys: Keys,
    pub(super) is_command: bool,
    pub(super) kind: Option<usize>,
    pub(super) data: Option<Data<'a>>,
    pub(super) to: Option<usize>,
    timestamp: Option<usize>,
    namespace: Option<usize>,
    pub(super) key: Option<usize>,
    /// The first name that no line has.
    unknown: Option<&'a str>,
}

/// A line's `data`: its key, its value's index and the key after it.
#[derive(Clone, Copy)]
pub(super) struct Data<'a> {
    pub(super) key: &'a str,
    pub(super) at: usize,
    pub(super) following: Option<&'a str>,
}

impl<'a> Top<'a> {
    pub(super) fn read(document: Document<'_, 'a>) -> Top<'a> {
        let mut top = Top {
            keys: Keys::Distinct,
            is_command: false,
            kind: None,
            data: None,
            to: None,
            timestamp: None,
            namespace: None,
            key: None,
            unknown: None,
        };
        let mut members = document.members(Document::ROOT).peekable();
        while let Some((name, at)) = members.next() {
            let slot = match name {
                "type" => &mut top.kind,
                "data" => {
                    let data = Data {
                        key: name,
                        at,
                        following: members.peek().map(|&(key, _)| key),
                    };
                    if top.data.replace(data).is_some() {
                        top.keys = Keys::Unchecked;
                    }
                    continue;
                }
                "to" => &mut top.to,
                "timestamp" => &mut top.timestamp,
                "namespace" => &mut top.namespace,
                "key" => &mut top.key,
                "command" => {
                    top.is_command = true;
                    continue;
                }
                unknown => {
                    top.unknown.get_or_insert(unknown);
                    continue;
                }
            };
            if slot.replace(at).is_some() {
                top.keys = Keys::Unchecked;
            }
        }
        top
    }

    fn check_namespace(&self, document: Document<'_, '_>, kind: EventType) -> Result<(), Refusal> {
        match self.namespace {
            Some(at) if document.string(at) != Some(kind.namespace().name()) => Err(payload(
                "namespace",
                &format!(
                    "must be \"{}\" for {}, or be left out",
                    kind.namespace().name(),
                    kind.name()
                ),
            )),
            _ => Ok(()),
        }
    }

    fn field(
        &self,
        document: Document<'_, '_>,
        at: Option<usize>,
        name: &str,
        rule: Rule,
    ) -> Result<Option<usize>, Refusal> {
        match at {
            Some(value) if !keeps(rule, document, value, &[]) => {
                Err(payload(name, &allowed(rule, &[])))
            }
            _ => Ok(at),
        }
    }
}

/// What of a valid `data` the rest needs.
struct Payload<'a> {
    /// Whether `data` is flat and each of its keys stands there once.
    keys: Keys,
    customer: Option<&'a str>,
    roles: Option<RoleMask>,
}

impl<'a> Payload<'a> {
    fn read(
        document: Document<'_, 'a>,
        data: usize,
        kind: EventType,
        rules: &Rules,
    ) -> Result<Payload<'a>, Refusal> {
        if !matches!(document.node(data), Node::Object { .. }) {
            return Err(payload("data", "must be an object"));
        }
        let fields = kind.fields();
        // Indexes of the fields' values; 0 is the outer object's, so no field's.
        let mut found = [0usize; MAX_FIELDS];
        let mut others = KeyFilter::default();
        let mut is_distinct = document.is_flat(data);
        // Emitters mostly write fields in catalogue order, so the search begins after the last.
        let mut expected = 0;
        for (name, at) in document.members(data) {
            let number = (expected..fields.len())
                .chain(0..expected)
                .find(|&number| fields[number].name == name);
            let Some(number) = number else {
                is_distinct &= others.is_new(name);
                continue;
            };
            if !keeps(fields[number].rule, document, at, &rules.order_statuses) {
                return Err(refuse_field(fields[number], document, at, rules));
            }
            is_distinct &= found[number] == 0;
            found[number] = at;
            expected = number + 1;
        }
        for (field, at) in fields.iter().zip(found) {
            if field.required && at == 0 {
                return Err(refuse_absence(*field, rules));
            }
        }
        let value = |number: Option<usize>| Some(found[number?]).filter(|&at| at != 0);
        if kind == DIFFERENCE.kind {
            let number_of = |name: &str| fields.iter().position(|field| field.name == name);
            check_difference(|name| number(document.node(value(number_of(name))?)))?;
        }
        Ok(Payload {
            keys: if is_distinct {
                Keys::Distinct
            } else {
                Keys::Unchecked
            },
            customer: value(kind.customer_field()).and_then(|at| document.string(at)),
            roles: value(kind.roles_field()).and_then(|at| roles(document, at)),
        })
    }
}

/// `field` is there and breaks its rule.
#[cold]
fn refuse_field(field: Field, document: Document<'_, '_>, at: usize, rules: &Rules) -> Refusal {
    let mut fault = allowed(field.rule, &rules.order_statuses);
    if !field.required && is_null(document, at) {
        fault.push_str(", or be left out (null is not left out)");
    }
    payload(format!("data.{}", field.name), &fault)
}

#[cold]
fn refuse_absence(field: Field, rules: &Rules) -> Refusal {
    let fault = format!(
        "is missing: it {}",
        allowed(field.rule, &rules.order_statuses)
    );
    payload(format!("data.{}", field.name), &fault)
}

fn check_difference(value: impl Fn(&str) -> Option<f64>) -> Result<(), Refusal> {
    let numbers = (
        value(DIFFERENCE.minuend),
        value(DIFFERENCE.subtrahend),
        value(DIFFERENCE.field),
    );
    match numbers {
        (Some(minuend), Some(subtrahend), Some(difference))
            if !Difference::holds(minuend, subtrahend, difference) =>
        {
            Err(payload(
                format!("data.{}", DIFFERENCE.field),
                &format!("must be {} - {}", DIFFERENCE.minuend, DIFFERENCE.subtrahend),
            ))
        }
        _ => Ok(()),
    }
}

fn is_null(document: Document<'_, '_>, at: usize) -> bool {
    document.node(at) == Node::Static(simd_json::StaticNode::Null)
}

fn payload(field: impl Into<String>, fault: &str) -> Refusal {
    Refusal::field(Code::InvalidPayload, field, fault)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
