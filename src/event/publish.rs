//! What a customer's browser may publish: three event types, about that customer itself.
//!
//! Called by the reactors, which pass the line made here up to the router; there it is parsed like
//! an emitter's, so there is one set of rules.

use std::io::Write as _;
use std::ops::Range;

use simd_json::Node;

use super::block::check_frame;
use super::catalogue::{EventType, PUBLISHABLE};
use super::json::{Document, Keys};
use super::parse::{Line, Parser, Top, check_size, event_type};
use super::refusal::{Code, Refusal};

/// Why a client's event is not published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PublishError {
    /// A rule is broken (`invalid_message`), by `field` where one is at fault.
    Invalid {
        /// The field, as in [`Refusal::field`].
        field: Option<String>,
        /// One sentence: what was wrong and what is allowed.
        message: String,
    },
    /// No event type of the catalogue (`unknown_type`).
    UnknownType {
        /// One sentence.
        message: String,
    },
    /// Not this client's to say (`forbidden`).
    Forbidden {
        /// One sentence.
        message: String,
    },
    /// It, or the frame made from it, is over the limit, perhaps only by what was filled in (`too_large`).
    TooLarge {
        /// One sentence.
        message: String,
    },
}

impl From<Refusal> for PublishError {
    fn from(refusal: Refusal) -> PublishError {
        let Refusal {
            code,
            field,
            message,
        } = refusal;
        match code {
            Code::UnknownType => PublishError::UnknownType { message },
            Code::TooLarge => PublishError::TooLarge { message },
            Code::Forbidden => PublishError::Forbidden { message },
            Code::InvalidJson | Code::InvalidPayload | Code::InvalidTarget | Code::Unavailable => {
                PublishError::Invalid { field, message }
            }
        }
    }
}

impl Parser {
    /// Makes `out` the ingest line (no newline in it) of what the customer `user` published with
    /// `line`: its own bytes, with `data.customerId`, and `data.timestamp` where the type has it,
    /// filled in if absent. `now_ms` is in milliseconds since 1970.
    ///
    /// A line that comes out is one that [`Parser::parse`] takes as an event without `to` or `key`, and whose frame
    /// is not too large.
    ///
    /// # Errors
    /// As [`PublishError`] says; `out` is empty then.
    pub fn parse_published(
        &mut self,
        line: &[u8],
        user: &str,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), PublishError> {
        out.clear();
        let outcome = self.publish(line, user, now_ms, out);
        if outcome.is_err() {
            out.clear();
        }
        outcome
    }

    fn publish(
        &mut self,
        line: &[u8],
        user: &str,
        now_ms: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), PublishError> {
        let max_message = self.rules().max_message;
        check_size(line, self.rules())?;
        let filling = self.workspace().read(line, |document| {
            Ok((Filling::plan(document, user), Keys::Unchecked))
        })??;

        let (head, tail) = line.split_at(filling.data.start + 1);
        out.extend_from_slice(head);
        filling.write(user, now_ms, out);
        out.extend_from_slice(tail);
        // Outside of strings, which have it escaped, a newline is only white space.
        for byte in out.iter_mut() {
            if *byte == b'\n' {
                *byte = b' ';
            }
        }

        match self.parse(out)? {
            Line::Event(event) => Ok(check_frame(&event, max_message)?),
            Line::Blank | Line::Command => Err(invalid("command", "is not taken from a client")),
        }
    }
}

/// What is to be put into the data of a published event.
struct Filling {
    data: Range<usize>,
    customer: bool,
    timestamp: bool,
    data_is_empty: bool,
}

impl Filling {
    fn plan(document: Document<'_, '_>, user: &str) -> Result<Filling, PublishError> {
        let top = Top::read(document);
        let kind = event_type(document, top.kind)?;
        if !PUBLISHABLE.contains(&kind) {
            return Err(PublishError::Forbidden {
                message: format!(
                    "clients may not publish {}, only {}",
                    kind.name(),
                    PUBLISHABLE.map(EventType::name).join(", ")
                ),
            });
        }
        for (name, _) in document.members(Document::ROOT) {
            if matches!(name, "to" | "key" | "id" | "command") {
                return Err(invalid(name, "is not taken from a client"));
            }
        }
        let Some(data) = top.data else {
            return Err(invalid("data", "is missing: it must be an object"));
        };
        if !matches!(document.node(data.at), Node::Object { .. }) {
            return Err(invalid("data", "must be an object"));
        }

        let mut filling = Filling {
            data: document.object_span(data.key, data.following),
            customer: true,
            timestamp: kind.fields().iter().any(|field| field.name == "timestamp"),
            data_is_empty: true,
        };
        for (name, at) in document.members(data.at) {
            filling.data_is_empty = false;
            match name {
                "customerId" => {
                    filling.customer = false;
                    // What is no string breaks a rule, and is told so by the parser.
                    if document.string(at).is_some_and(|customer| customer != user) {
                        return Err(PublishError::Forbidden {
                            message: "data.customerId must be your own id, or be left out"
                                .to_owned(),
                        });
                    }
                }
                "timestamp" => filling.timestamp = false,
                _ => {}
            }
        }
        Ok(filling)
    }

    /// Writes the missing members, to stand behind the opening brace of data.
    fn write(&self, user: &str, now_ms: u64, out: &mut Vec<u8>) {
        const IN_MEMORY: &str = "a Vec takes every write";
        if self.customer {
            out.extend_from_slice(b"\"customerId\":");
            serde_json::to_writer(&mut *out, user).expect(IN_MEMORY);
        }
        if self.timestamp {
            let comma = if self.customer { "," } else { "" };
            write!(out, "{comma}\"timestamp\":{now_ms}").expect(IN_MEMORY);
        }
        if (self.customer || self.timestamp) && !self.data_is_empty {
            out.push(b',');
        }
    }
}

fn invalid(field: &str, fault: &str) -> PublishError {
    Refusal::field(Code::InvalidPayload, field, fault).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::super::parse::Rules;
    use super::*;

    const NOW: u64 = 1_700_000_000_123;

    fn publish(line: &str, user: &str) -> Result<String, PublishError> {
        let mut parser = Parser::new(Rules {
            order_statuses: Vec::new(),
            max_message: 1000,
        });
        let mut out = b"left over".to_vec();
        let outcome = parser.parse_published(line.as_bytes(), user, NOW, &mut out);
        if outcome.is_err() {
            assert!(out.is_empty());
        }
        outcome.map(|()| String::from_utf8(out).unwrap())
    }

    fn fault(line: &str) -> Option<String> {
        match publish(line, "u1").unwrap_err() {
            PublishError::Invalid { field, message } => {
                assert!(!message.is_empty());
                field
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    const VIEW: &str =
        r#"{"type":"customer:viewing_product","data":{"productId":"p","productName":"n"}}"#;

    #[test]
    fn what_is_absent_is_filled_in() {
        assert_eq!(
            publish(VIEW, "u\"\\é").unwrap(),
            r#"{"type":"customer:viewing_product","data":{"customerId":"u\"\\é","productId":"p","productName":"n"}}"#
        );
        assert_eq!(
            publish(
                r#"{"data":{"action":"viewing"},"type":"customer:activity"}"#,
                "u1"
            )
            .unwrap(),
            r#"{"data":{"customerId":"u1","timestamp":1700000000123,"action":"viewing"},"type":"customer:activity"}"#
        );
        assert_eq!(
            publish(
                r#"{"type":"customer:activity","data":{"action":"viewing","customerId":"u1"}}"#,
                "u1"
            )
            .unwrap(),
            r#"{"type":"customer:activity","data":{"timestamp":1700000000123,"action":"viewing","customerId":"u1"}}"#
        );
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let line = r#" {"timestamp":5,"type":"customer:added_to_cart","data":{ "customerId":"u1","productId":"p","productName":"<","quantity":2.0,"x":[] } }"#;
        assert_eq!(publish(line, "u1").unwrap(), line);
        let broken_into_lines = VIEW.replace(',', ",\n");
        assert!(!publish(&broken_into_lines, "u1").unwrap().contains('\n'));
    }

    #[test]
    fn not_what_would_be_too_large_for_its_readers() {
        let of = |text: &str| VIEW.replace(r#""n""#, &format!(r#""{text}""#));
        assert!(publish(&of(&"<".repeat(200)), "u1").is_ok());
        let grows = publish(&of(&"<".repeat(400)), "u1");
        assert!(
            matches!(grows, Err(PublishError::TooLarge { message }) if message.contains("frame"))
        );
    }

    #[test]
    fn only_about_oneself() {
        for customer in [r#""u2""#, r#""""#] {
            let line = VIEW.replace(
                r#""productId""#,
                &format!(r#""customerId":{customer},"productId""#),
            );
            assert!(
                matches!(publish(&line, "u1"), Err(PublishError::Forbidden { .. })),
                "{customer}"
            );
        }
        for customer in ["null", "1"] {
            let line = VIEW.replace(
                r#""productId""#,
                &format!(r#""customerId":{customer},"productId""#),
            );
            assert_eq!(fault(&line).as_deref(), Some("data.customerId"));
        }
    }

    #[test]
    fn only_three_types() {
        for kind in EventType::ALL {
            let line = format!(r#"{{"type":"{}","data":{{}}}}"#, kind.name());
            let forbidden = matches!(publish(&line, "u1"), Err(PublishError::Forbidden { .. }));
            assert_eq!(forbidden, !PUBLISHABLE.contains(&kind), "{kind:?}");
        }
        for line in ["{}", r#"{"type":1}"#, r#"{"type":"customer:x"}"#] {
            assert!(
                matches!(publish(line, "u1"), Err(PublishError::UnknownType { .. })),
                "{line}"
            );
        }
    }

    #[test]
    fn rules_hold_and_name_their_field() {
        for name in ["to", "key", "id", "command", "colour"] {
            let line = VIEW.replacen('{', &format!(r#"{{"{name}":"x","#), 1);
            assert_eq!(fault(&line).as_deref(), Some(name));
        }
        let view = |data: &str| format!(r#"{{"type":"customer:viewing_product","data":{data}}}"#);
        assert_eq!(fault(&view("[]")).as_deref(), Some("data"));
        assert_eq!(
            fault(r#"{"type":"customer:activity"}"#).as_deref(),
            Some("data")
        );
        assert_eq!(fault(&view("{}")).as_deref(), Some("data.productId"));
        assert_eq!(fault(&view("{ }")).as_deref(), Some("data.productId"));
        let activity =
            r#"{"type":"customer:activity","data":{"action":"viewing","timestamp":null}}"#;
        assert_eq!(fault(activity).as_deref(), Some("data.timestamp"));
        for line in [
            "",
            "  ",
            "[]",
            r#"{"type":"#,
            r#"{"type":"customer:activity","type":"customer:activity"}"#,
        ] {
            assert_eq!(fault(line), None, "{line}");
        }
    }

    #[test]
    fn the_limit_holds_with_what_is_filled_in() {
        let padded = |len: usize| {
            let line = VIEW.replace(r#""n""#, r#""n","x":"""#);
            line.replace(
                r#""x":"""#,
                &format!(r#""x":"{}""#, "y".repeat(len - line.len())),
            )
        };
        assert!(publish(&padded(900), "u1").is_ok());
        for line in [padded(1001), padded(999)] {
            assert!(matches!(
                publish(&line, "u1"),
                Err(PublishError::TooLarge { .. })
            ));
        }
    }

    proptest! {
        #[test]
        fn a_line_that_comes_out_is_an_event(
            user in "[^\\p{Cc}]{1,40}", name in ".{0,20}", extra in ".{0,20}", own: bool, stamped: bool,
        ) {
            let mut data = serde_json::json!({"productName": name, "action": "viewing", extra.clone(): 1});
            if extra == "action" || extra == "productName" || extra == "customerName" || extra == "productId" {
                return Ok(());
            }
            if own { data["customerId"] = user.clone().into(); }
            if stamped { data["timestamp"] = 5.into(); }
            let line = serde_json::json!({"type": "customer:activity", "data": data}).to_string();
            let out = publish(&line, &user).unwrap();
            let mut parser = Parser::new(Rules { order_statuses: Vec::new(), max_message: 1000 });
            match parser.parse(out.as_bytes()).unwrap() {
                Line::Event(event) => prop_assert_eq!(event.customer, Some(user.as_str())),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
