//! Tables in the documents that repeat what the code holds.

use std::collections::BTreeSet;

use serde_json::Value;
use shopwire::access::{Access, AccessTable, Namespace, Role};
use shopwire::event::EventType;
use shopwire::schema;
use shopwire::wire::CloseReason;

use crate::{Document, root};

/// The cells of the rows under a table's header, backticks left out.
fn rows(document: &Document, header: &str) -> Vec<Vec<String>> {
    let after = document.prose().skip_while(|line| *line != header).skip(2);
    let rows: Vec<Vec<String>> = after
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let inner = line.trim_matches('|');
            inner
                .split('|')
                .map(|cell| cell.trim().replace('`', ""))
                .collect()
        })
        .collect();
    assert!(
        !rows.is_empty(),
        "{} has no table {header}",
        document.name()
    );
    rows
}

fn protocol() -> Document {
    Document::read(&root().join("docs/protocol.md"))
}

/// Whoever is woken by an alert finds what it means, what is behind it, and what to do.
#[test]
fn every_alert_has_its_page() {
    let rules = std::fs::read_to_string(root().join("deploy/prometheus/alerts.yml")).unwrap();
    let values = |key: &str| -> Vec<String> {
        let lines = rules.lines().map(str::trim);
        let values = lines.filter_map(|line| line.strip_prefix(key));
        values
            .map(|value| value.trim_matches('"').to_owned())
            .collect()
    };
    let alerts = values("- alert: ");
    let operations = Document::read(&root().join("docs/operations.md"));
    let prose: Vec<&str> = operations.prose().collect();
    let pages: Vec<&str> = prose
        .iter()
        .filter_map(|line| line.strip_prefix("### Shopwire"))
        .collect();
    let expected: Vec<&str> = alerts
        .iter()
        .map(|alert| &alert["Shopwire".len()..])
        .collect();
    assert_eq!(pages, expected, "in the order of the rules");
    let links: Vec<String> = alerts
        .iter()
        .map(|alert| format!("docs/operations.md#{}", alert.to_lowercase()))
        .collect();
    assert_eq!(values("runbook_url: "), links);
    for alert in &alerts {
        let heading = format!("### {alert}");
        let at = prose.iter().position(|line| **line == heading).unwrap();
        let page = prose[at + 1..]
            .iter()
            .take_while(|line| !line.starts_with('#'));
        let page: String = page.copied().collect();
        for word in ["**Means** ", "**Causes"] {
            assert!(page.contains(word), "{alert} lacks {word}");
        }
        let says_what_to_do = page.contains("**Do**: ") || page.contains("what to do**");
        assert!(says_what_to_do, "{alert}");
    }
}

#[test]
fn the_event_table_has_every_type_with_its_fields() {
    let table = rows(&protocol(), "| type | namespace | fields of `data` |");
    let listed: Vec<(String, String, Vec<String>)> = table
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone(), field_names(&row[2])))
        .collect();
    let expected: Vec<(String, String, Vec<String>)> = EventType::ALL
        .into_iter()
        .map(|kind| {
            let fields = kind.fields().iter().map(|field| {
                let optional = if field.required { "" } else { "?" };
                format!("{}{optional}", field.name)
            });
            let namespace = kind.namespace().name().to_owned();
            (kind.name().to_owned(), namespace, fields.collect())
        })
        .collect();
    assert_eq!(listed, expected);
}

/// The first word of each item of a comma-separated list; what stands in parentheses is no item.
fn field_names(cell: &str) -> Vec<String> {
    let mut depth = 0;
    let outside: String = cell
        .chars()
        .filter(|&c| {
            depth += i32::from(c == '(');
            let keep = depth == 0;
            depth -= i32::from(c == ')');
            keep
        })
        .collect();
    let first = |item: &str| item.split_whitespace().next().unwrap().to_owned();
    outside.split(',').map(first).collect()
}

#[test]
fn the_access_table_is_the_default_one() {
    let header = "| | admin | manager | staff | customer | guest | public |";
    let access = AccessTable::default();
    let expected: Vec<Vec<String>> = Namespace::ALL
        .into_iter()
        .map(|namespace| {
            let cell = |role: Role| match access.get(role, namespace) {
                Access::All => "all",
                Access::Own => "own",
                Access::None => "–",
            };
            let mut row = vec![namespace.name().to_owned()];
            row.extend(Role::ALL.map(|role| cell(role).to_owned()));
            row
        })
        .collect();
    assert_eq!(rows(&protocol(), header), expected);
}

#[test]
fn the_close_codes_are_those_that_are_sent() {
    let table = rows(&protocol(), "| code | reason text | come back? |");
    let listed: Vec<(String, String)> = table
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();
    let expected: Vec<(String, String)> = CloseReason::ALL
        .into_iter()
        .filter(|reason| *reason != CloseReason::Gone)
        .map(|reason| match reason {
            // Its text says what the client did.
            CloseReason::Protocol(_) => (reason, "*what breaks RFC 6455*"),
            _ => (reason, reason.text()),
        })
        .map(|(reason, text)| (reason.code().to_string(), text.to_owned()))
        .collect();
    assert_eq!(listed, expected);
}

/// The words of a table's first column.
fn codes(header: &str) -> BTreeSet<String> {
    rows(&protocol(), header)
        .into_iter()
        .map(|row| row[0].clone())
        .collect()
}

/// The words that the AsyncAPI document allows at this place.
fn words_of_asyncapi(pointer: &str) -> BTreeSet<String> {
    let document: Value = serde_json::from_str(&schema::asyncapi()).unwrap();
    let words = document.pointer(pointer).and_then(Value::as_array);
    let words = words.unwrap_or_else(|| panic!("nothing at {pointer}"));
    words
        .iter()
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_error_codes_are_those_of_the_schemas() {
    assert_eq!(
        codes("| code | the line | `field` |"),
        words_of_asyncapi(
            "/channels/ingest/messages/refusal/payload/properties/error/properties/code/enum"
        )
    );
    assert_eq!(
        codes("| code | |"),
        words_of_asyncapi(
            "/channels/websocket/messages/error/payload/properties/data/properties/code/enum"
        )
    );
}
