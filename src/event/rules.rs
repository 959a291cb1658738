//! Whether a JSON value keeps a catalogue rule, and the sentence that says what the rule allows.
//!
//! Called by the parser for every field of every event; `crate::schema` tells the sentences to
//! other languages.

use simd_json::{Node, StaticNode};

use super::catalogue::{ORDER_STATUSES, Rule};
use super::json::Document;
use crate::access::{Role, RoleMask};

/// The most Unicode scalar values of an id.
pub const ID_CHARS_MAX: usize = 128;
/// The most bytes of a named string, unescaped.
pub const TEXT_BYTES_MAX: usize = 4096;
/// The last millisecond of a timestamp: the largest integer that JavaScript counts to.
pub const TIMESTAMP_MAX: u64 = (1 << 53) - 1;

/// Whether `text` may be an id: an order's, a user's, a session's, an event's key.
pub fn is_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.is_empty() || bytes.len() > ID_CHARS_MAX * 4 {
        return false;
    }
    let is_printable = |byte: &u8| (b' '..=b'~').contains(byte);
    if bytes.len() <= ID_CHARS_MAX && bytes.iter().all(is_printable) {
        return true;
    }
    text.chars().nth(ID_CHARS_MAX).is_none() && !text.chars().any(char::is_control)
}

/// Whether the value at `at` keeps `rule`; `statuses` are the configuration's own order statuses.
pub(super) fn keeps(
    rule: Rule,
    document: Document<'_, '_>,
    at: usize,
    statuses: &[String],
) -> bool {
    let node = document.node(at);
    let text = match node {
        Node::String(text) => Some(text),
        _ => None,
    };
    match rule {
        Rule::Id => text.is_some_and(is_id),
        Rule::Text => text.is_some_and(|text| text.len() <= TEXT_BYTES_MAX),
        Rule::Number => number(node).is_some(),
        Rule::NonNegative => number(node).is_some_and(|number| number >= 0.0),
        Rule::PositiveInteger => {
            number(node).is_some_and(|number| number >= 1.0 && number.fract() == 0.0)
        }
        Rule::Timestamp => timestamp(node).is_some(),
        Rule::Boolean => matches!(node, Node::Static(StaticNode::Bool(_))),
        Rule::Constant(value) => node == Node::Static(StaticNode::Bool(value)),
        Rule::Object => matches!(node, Node::Object { .. }),
        Rule::OneOf(words) => text.is_some_and(|text| words.contains(&text)),
        Rule::OrderStatus => text.is_some_and(|text| {
            ORDER_STATUSES.contains(&text) || statuses.iter().any(|status| status == text)
        }),
        Rule::Roles => roles(document, at).is_some(),
        Rule::ActionUrl => text.is_some_and(is_action_url),
    }
}

/// What `rule` allows, as the rest of a sentence that begins with the field's name.
pub(crate) fn allowed(rule: Rule, statuses: &[String]) -> String {
    match rule {
        Rule::Id => format!(
            "must be a string of 1 to {ID_CHARS_MAX} characters, none of them a control character"
        ),
        Rule::Text => format!("must be a string of at most {TEXT_BYTES_MAX} bytes"),
        Rule::Number => "must be a number".to_owned(),
        Rule::NonNegative => "must be a number, 0 or more".to_owned(),
        Rule::PositiveInteger => "must be a number without a fraction, 1 or more".to_owned(),
        Rule::Timestamp => {
            format!("must be milliseconds since 1970 without a fraction, 0 to {TIMESTAMP_MAX}")
        }
        Rule::Boolean => "must be true or false".to_owned(),
        Rule::Constant(value) => format!("must be {value} for this event type"),
        Rule::Object => "must be an object".to_owned(),
        Rule::OneOf(words) => format!("must be one of {}", words.join(", ")),
        Rule::OrderStatus => {
            let mut words = ORDER_STATUSES.to_vec();
            words.extend(statuses.iter().map(String::as_str));
            format!("must be one of {}", words.join(", "))
        }
        Rule::Roles => {
            let names = Role::IN_TOKENS.map(Role::name);
            format!(
                "must be a non-empty list of roles out of {}",
                names.join(", ")
            )
        }
        Rule::ActionUrl => format!(
            "must start with one / or with http:// or https:// and a host, without control \
             characters, in at most {TEXT_BYTES_MAX} bytes"
        ),
    }
}

/// The number at a node, as the double it stands for.
pub(super) fn number(node: Node<'_>) -> Option<f64> {
    match node {
        Node::Static(StaticNode::U64(number)) => Some(number as f64),
        Node::Static(StaticNode::I64(number)) => Some(number as f64),
        Node::Static(StaticNode::F64(number)) => Some(number),
        _ => None,
    }
}

/// The timestamp at a node, in milliseconds since 1970; `2.0` is an integer too.
pub(super) fn timestamp(node: Node<'_>) -> Option<u64> {
    let millis = match node {
        Node::Static(StaticNode::U64(number)) => number,
        Node::Static(StaticNode::I64(number)) => u64::try_from(number).ok()?,
        Node::Static(StaticNode::F64(number))
            if number.fract() == 0.0 && (0.0..=TIMESTAMP_MAX as f64).contains(&number) =>
        {
            number as u64
        }
        _ => return None,
    };
    (millis <= TIMESTAMP_MAX).then_some(millis)
}

/// The roles in the list at `at`, if it is a list of one or more roles that tokens can carry.
pub(super) fn roles(document: Document<'_, '_>, at: usize) -> Option<RoleMask> {
    let mut mask = RoleMask::EMPTY;
    for element in document.elements(at)? {
        mask.insert(Role::from_token(document.string(element)?)?);
    }
    (!mask.is_empty()).then_some(mask)
}

/// Whether a browser that follows `url` stays on the shop's host or goes to an http(s) one: no
/// `//host`, no `/\host` (browsers read it alike), no `javascript:`.
fn is_action_url(url: &str) -> bool {
    if url.len() > TEXT_BYTES_MAX || url.chars().any(char::is_control) {
        return false;
    }
    if let Some(path) = url.strip_prefix('/') {
        return !path.starts_with(['/', '\\']);
    }
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(has_host)
}

fn has_host(after_scheme: &str) -> bool {
    let authority = after_scheme
        .split(['/', '\\', '?', '#'])
        .next()
        .unwrap_or_default();
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    let host = match host_and_port.strip_prefix('[') {
        Some(ipv6) => ipv6.split_once(']').map_or("", |(address, _)| address),
        None => host_and_port.split(':').next().unwrap_or_default(),
    };
    !host.is_empty() && !host.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::json::{Keys, Workspace};
    use super::*;

    fn judge(rule: Rule, value: &str) -> bool {
        let line = format!("{{\"a\":{value}}}");
        let own = ["on_hold".to_owned()];
        Workspace::new()
            .read(line.as_bytes(), |document| {
                Ok((keeps(rule, document, 2, &own), Keys::Unchecked))
            })
            .unwrap()
    }

    fn check(rule: Rule, good: &[&str], bad: &[&str]) {
        for value in good {
            assert!(judge(rule, value), "{rule:?} takes {value}");
        }
        for value in bad {
            assert!(!judge(rule, value), "{rule:?} refuses {value}");
        }
        assert!(!judge(rule, "null"), "{rule:?} refuses null");
        assert!(allowed(rule, &[]).starts_with("must "));
    }

    fn quoted(text: &str) -> String {
        serde_json::to_string(text).unwrap()
    }

    #[test]
    fn ids() {
        let longest = quoted(&"😀".repeat(128));
        let escaped = format!("\"{}\"", r"\u00e9".repeat(128));
        let too_long = quoted(&"a".repeat(129));
        let too_long_wide = quoted(&"é".repeat(129));
        check(
            Rule::Id,
            &[r#""a""#, r#"" ""#, r#""a b:c/é""#, &longest, &escaped],
            &[
                r#""""#,
                "1",
                "[]",
                r#""a\u0000""#,
                r#""\u007f""#,
                r#""é\u0085""#,
                r#""\n""#,
                &too_long,
                &too_long_wide,
            ],
        );
    }

    #[test]
    fn texts() {
        let longest = quoted(&"é".repeat(2048));
        let too_long = quoted(&format!("{}a", "é".repeat(2048)));
        check(
            Rule::Text,
            &[r#""""#, r#""\u0000\n""#, &longest],
            &["1", "{}", &too_long],
        );
    }

    #[test]
    fn numbers() {
        check(
            Rule::Number,
            &["0", "-1.5", "1e300", "99999999999999999999"],
            &[r#""1""#, "true", "[1]"],
        );
        check(
            Rule::NonNegative,
            &["0", "-0", "-0.0", "0.01", "1e300"],
            &["-1", "-0.01", r#""1""#],
        );
        check(
            Rule::PositiveInteger,
            &["1", "2.0", "1e3"],
            &["0", "-1", "1.5", "0.9", r#""1""#],
        );
        check(
            Rule::Timestamp,
            &[
                "0",
                "-0",
                "-0.0",
                "9007199254740991",
                "1700000000000.0",
                "1.7e12",
                "9007199254740991.0",
            ],
            &[
                "-1",
                "0.5",
                "9007199254740992",
                "9007199254740992.0",
                "1e300",
                "99999999999999999999",
                r#""1""#,
            ],
        );
    }

    #[test]
    fn booleans_and_objects() {
        check(Rule::Boolean, &["true", "false"], &["1", r#""true""#]);
        check(Rule::Constant(true), &["true"], &["false", "1"]);
        check(Rule::Constant(false), &["false"], &["true", "0"]);
        check(Rule::Object, &["{}", r#"{"a":1}"#], &["[]", r#""{}""#]);
    }

    #[test]
    fn words() {
        check(
            Rule::OneOf(&["low", "critical"]),
            &[r#""low""#, r#""l\u006fw""#],
            &[r#""Low""#, r#""""#, "1"],
        );
        check(
            Rule::OrderStatus,
            &[r#""pending""#, r#""cancelled""#, r#""on_hold""#],
            &[r#""lost""#, r#""""#, "[]"],
        );
        assert!(allowed(Rule::OrderStatus, &["on_hold".to_owned()]).contains("cancelled, on_hold"));
    }

    #[test]
    fn role_lists() {
        check(
            Rule::Roles,
            &[r#"["admin"]"#, r#"["guest","staff","guest"]"#],
            &[
                "[]",
                r#""admin""#,
                r#"["public"]"#,
                r#"["Admin"]"#,
                r#"["admin",1]"#,
                r#"["admin",["staff"]]"#,
                "{}",
            ],
        );
    }

    #[test]
    fn action_urls() {
        let good = [
            "/",
            "/orders/1?x=1#y",
            "/a//b",
            "https://shop.example",
            "http://h:80/x",
            "https://u@h/",
            "http://[::1]:3000/",
        ];
        let bad = [
            "",
            "//evil.example",
            "/\\evil.example",
            " /x",
            "x",
            "javascript:alert(1)",
            "https://",
            "https:///x",
            "http://?x",
            "http://#",
            "http://:80",
            "http://u@",
            "ftp://h",
            "HTTPS:/h",
            "https:\\\\h",
            "/a\u{1}",
            "/\t/evil",
            "https://\\h",
            "http:// h",
            "http://[]",
        ];
        let good: Vec<String> = good.into_iter().map(quoted).collect();
        let long = format!("/{}", "a".repeat(TEXT_BYTES_MAX));
        let bad: Vec<String> = bad.into_iter().chain([long.as_str()]).map(quoted).collect();
        check(
            Rule::ActionUrl,
            &good.iter().map(String::as_str).collect::<Vec<_>>(),
            &bad.iter().map(String::as_str).collect::<Vec<_>>(),
        );
    }
}
