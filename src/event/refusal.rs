//! Why a line is not an event: the code, the field and one sentence for whoever wrote it.
//!
//! Made by the parser and the block builder, sent by the router as an `error` line. Sentences may
//! be logged, so they never repeat a value, only names, and those shortened.

use std::fmt;

/// The most characters of input that a sentence or a field name repeats.
const ECHO_MAX: usize = 40;

/// The kind of a refusal, as the ingest protocol names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// Not one whole JSON object, or JSON that shopwire refuses on principle.
    InvalidJson,
    /// No event type, or one the catalogue does not have.
    UnknownType,
    /// A field of the line or of its `data` breaks a rule.
    InvalidPayload,
    /// A field of `to` breaks a rule.
    InvalidTarget,
    /// The line, or the frame made from it, is over its limit.
    TooLarge,
    /// The server cannot make the event safe now; the line may be sent again.
    Unavailable,
    /// Who sent the line may not.
    Forbidden,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 7] = [
        Code::InvalidJson,
        Code::UnknownType,
        Code::InvalidPayload,
        Code::InvalidTarget,
        Code::TooLarge,
        Code::Unavailable,
        Code::Forbidden,
    ];

    /// The code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidJson => "invalid_json",
            Code::UnknownType => "unknown_type",
            Code::InvalidPayload => "invalid_payload",
            Code::InvalidTarget => "invalid_target",
            Code::TooLarge => "too_large",
            Code::Unavailable => "unavailable",
            Code::Forbidden => "forbidden",
        }
    }
}

/// A line that was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The kind of fault.
    pub code: Code,
    /// The field at fault (`data.total`), where one is.
    pub field: Option<String>,
    /// One sentence: what was wrong and what is allowed.
    pub message: String,
}

impl Refusal {
    /// A refusal of the line as a whole.
    pub fn whole(code: Code, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            field: None,
            message: message.into(),
        }
    }

    /// A refusal of one field; `fault` continues a sentence that begins with the field's name.
    pub fn field(code: Code, field: impl Into<String>, fault: &str) -> Refusal {
        let field = field.into();
        let message = format!("{field} {fault}");
        Refusal {
            code,
            field: Some(field),
            message,
        }
    }

    /// A refusal of what is over `limit` bytes; `what` names it.
    pub fn too_large(what: &str, len: usize, limit: usize) -> Refusal {
        Refusal::whole(
            Code::TooLarge,
            format!("{what} has {len} bytes, at most {limit} are allowed"),
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Refusal {}

/// `name`, which the sender chose, made fit for a sentence or a log line: at most 40 characters,
/// and none that could break out of a line or turn its direction.
pub(super) fn shortened(name: &str) -> String {
    let mut short: String = name
        .chars()
        .take(ECHO_MAX)
        .map(|c| {
            let shown = c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ';
            if shown { c } else { '\u{fffd}' }
        })
        .collect();
    if name.chars().nth(ECHO_MAX).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shortened_and_tamed() {
        assert_eq!(shortened("data"), "data");
        assert_eq!(shortened(&"x".repeat(40)), "x".repeat(40));
        assert_eq!(shortened(&"x".repeat(41)), format!("{}…", "x".repeat(40)));
        assert_eq!(shortened("a\n\u{202e}b\u{0}"), "a\u{fffd}\u{fffd}b\u{fffd}");
    }

    #[test]
    fn a_field_refusal_begins_with_the_field() {
        let refusal = Refusal::field(Code::InvalidTarget, "to.roles", "is empty");
        assert_eq!(refusal.message, "to.roles is empty");
        assert_eq!(refusal.to_string(), "invalid_target: to.roles is empty");
    }
}
