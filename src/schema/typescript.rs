//! The catalogue as a TypeScript module, which the client package and shops' API routes compile with.
//!
//! Besides types it holds one table and one function, `namespaceOf`. Strict compilers take it.

use std::fmt::Write;

use super::{ID_ABOUT, KEY_ABOUT, TARGET, TARGET_ABOUT, TIMESTAMP_ABOUT, TargetShape, type_name};
use crate::access::{Namespace, Role};
use crate::event::EventType;
use crate::event::catalogue::{Field, ORDER_STATUSES, Rule};
use crate::event::rules::allowed;

/// The module's text.
pub fn typescript() -> String {
    let mut out = String::from(
        "// Made by `shopwire schema --typescript` from the server's event catalogue. Do not edit it.\n",
    );
    names(&mut out);
    for kind in EventType::ALL {
        data(kind, &mut out);
    }
    catalogue(&mut out);
    envelopes(&mut out);
    out
}

const IN_MEMORY: &str = "a String takes every write";

/// Appends a line, formatted as by `format!`.
macro_rules! put {
    ($out:expr, $($text:tt)*) => { writeln!($out, $($text)*).expect(IN_MEMORY) };
}

fn names(out: &mut String) {
    let union = |names: &[&str]| {
        let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        quoted.join(" | ")
    };
    put!(
        out,
        "\n/** A role that a token can carry; a connection without a token is public. */"
    );
    put!(
        out,
        "export type Role = {};",
        union(&Role::IN_TOKENS.map(Role::name))
    );
    put!(
        out,
        "\n/** What a client subscribes to: a family of event types. */"
    );
    put!(
        out,
        "export type Namespace = {};",
        union(&Namespace::ALL.map(Namespace::name))
    );
    put!(
        out,
        "\n/** An order's status: one of those that every shop has, or of the server's `[orders] statuses`. */"
    );
    put!(
        out,
        "export type OrderStatus = {} | (string & {{}});",
        union(&ORDER_STATUSES)
    );
}

fn data(kind: EventType, out: &mut String) {
    put!(out, "\n/** `{}`: {} */", kind.name(), kind.about());
    put!(out, "export interface {} {{", type_name(kind));
    for field in kind.fields() {
        let mark = if field.required { "" } else { "?" };
        put!(out, "  /** {} */", comment(field));
        put!(out, "  {}{mark}: {};", field.name, type_of(field.rule));
    }
    put!(out, "}}");
}

/// What the field means, and what its rule asks for beyond its type.
fn comment(field: &Field) -> String {
    let Field { about, rule, .. } = field;
    match rule {
        Rule::Id
        | Rule::Text
        | Rule::NonNegative
        | Rule::PositiveInteger
        | Rule::Timestamp
        | Rule::Roles
        | Rule::ActionUrl => format!("{about}. It {}.", allowed(*rule, &[])),
        Rule::Number
        | Rule::Boolean
        | Rule::Constant(_)
        | Rule::Object
        | Rule::OneOf(_)
        | Rule::OrderStatus => format!("{about}."),
    }
}

fn type_of(rule: Rule) -> String {
    match rule {
        Rule::Id | Rule::Text | Rule::ActionUrl => "string".to_owned(),
        Rule::Number | Rule::NonNegative | Rule::PositiveInteger | Rule::Timestamp => {
            "number".to_owned()
        }
        Rule::Boolean => "boolean".to_owned(),
        Rule::Constant(value) => value.to_string(),
        Rule::Object => "Record<string, unknown>".to_owned(),
        Rule::OneOf(words) => {
            let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            quoted.join(" | ")
        }
        Rule::OrderStatus => "OrderStatus".to_owned(),
        Rule::Roles => "readonly Role[]".to_owned(),
    }
}

fn catalogue(out: &mut String) {
    put!(
        out,
        "\n/** Every event type with its data. Fields beyond these are passed on unread. */"
    );
    put!(out, "export interface EventData {{");
    for kind in EventType::ALL {
        put!(out, "  '{}': {};", kind.name(), type_name(kind));
    }
    put!(out, "}}");
    put!(out, "\n/** The name of an event type. */");
    put!(out, "export type EventType = keyof EventData;");
    namespace_of(out);
}

/// The namespace belongs to the first word of a type: a table of words is small enough for pages.
fn namespace_of(out: &mut String) {
    put!(out, "\nconst namespaces = {{");
    let mut told = "";
    for kind in EventType::ALL {
        let word = kind.name().split(':').next().unwrap_or_default();
        if word != told {
            put!(out, "  {word}: '{}',", kind.namespace().name());
            told = word;
        }
    }
    put!(out, "}} as const;");
    put!(out, "\n/** The namespace of an event type, as a type. */");
    put!(
        out,
        "export type NamespaceOf<T extends EventType> = T extends `${{infer Word}}:${{string}}`"
    );
    put!(out, "  ? Word extends keyof typeof namespaces");
    put!(out, "    ? (typeof namespaces)[Word]");
    put!(out, "    : never");
    put!(out, "  : never;");
    put!(
        out,
        "\n/** The namespace that events of this type come in. */"
    );
    put!(
        out,
        "export function namespaceOf<T extends EventType>(type: T): NamespaceOf<T> {{"
    );
    put!(
        out,
        "  const word = type.slice(0, type.indexOf(':')) as keyof typeof namespaces;"
    );
    put!(out, "  return namespaces[word] as NamespaceOf<T>;");
    put!(out, "}}");
}

/// What events come in, and what emitters send: one type for each event type, so that `type` tells
/// what `data` is.
fn envelopes(out: &mut String) {
    put!(
        out,
        "\n/** An event as it comes from the server. Its `type` tells what its `data` is. */"
    );
    put!(
        out,
        "export type ShopEvent<T extends EventType = EventType> = {{"
    );
    put!(out, "  [K in T]: {{");
    put!(out, "    /** {ID_ABOUT}. */");
    put!(out, "    id: string;");
    put!(out, "    type: K;");
    put!(out, "    namespace: NamespaceOf<K>;");
    put!(out, "    data: EventData[K];");
    put!(out, "    /** {TIMESTAMP_ABOUT}. */");
    put!(out, "    timestamp: number;");
    put!(out, "  }};");
    put!(out, "}}[T];");
    put!(out, "\n/** {TARGET_ABOUT}. */");
    put!(out, "export interface Target {{");
    for field in &TARGET {
        let list = match field.shape {
            TargetShape::Roles => "readonly Role[]",
            TargetShape::SomeIds | TargetShape::Ids => "readonly string[]",
            TargetShape::Id => "string",
        };
        put!(out, "  /** {}. */", field.about);
        put!(out, "  {}?: {list};", field.name);
    }
    put!(out, "}}");
    put!(out, "\n/** A line for the ingest socket. */");
    put!(
        out,
        "export type IngestLine<T extends EventType = EventType> = {{"
    );
    put!(out, "  [K in T]: {{");
    put!(out, "    type: K;");
    put!(out, "    data: EventData[K];");
    put!(out, "    to?: Target;");
    put!(out, "    /** {TIMESTAMP_ABOUT}. */");
    put!(out, "    timestamp?: number;");
    put!(out, "    namespace?: NamespaceOf<K>;");
    put!(out, "    /** {KEY_ABOUT}. */");
    put!(out, "    key?: string;");
    put!(out, "  }};");
    put!(out, "}}[T];");
}
