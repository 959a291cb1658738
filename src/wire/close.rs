//! The one list of reasons a WebSocket connection ends.
//!
//! Owns, for each reason, the close code and text the client reads, the name counters and logs use,
//! and whether coming back makes sense. Whoever ends a connection (protocol checks, session, ticks,
//! outbox, operator, drain) picks a reason from here; only this file turns it into bytes.

use super::frame::{self, CONTROL_PAYLOAD_MAX, Opcode};

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Both sides agreed to end, on the client's wish.
    Normal,
    /// The server is draining.
    Draining,
    /// The client broke RFC 6455; the text says how (at most 123 bytes).
    Protocol(&'static str),
    /// A binary message, which this protocol does not use.
    UnsupportedData,
    /// A text message or close reason that is not UTF-8.
    InvalidUtf8,
    /// A message over the limit that holds for this connection.
    TooBig,
    /// What all clients' messages whose ends have not come hold is too much, and this client, or its user, has most of it.
    Unfinished,
    /// A message began and did not go on.
    MessageTimeout,
    /// The first token shown by message was refused.
    TokenRefused,
    /// The token that was in force ran out.
    TokenEnded,
    /// Authentication is required and did not come in time.
    AuthTimeout,
    /// The operator ended it.
    Disconnected,
    /// No frame of any kind arrived by ping interval + pong timeout.
    NoSignOfLife,
    /// More was waiting to be written than the outbox limit allows, or history let go of what was
    /// still to be replayed.
    SlowConsumer,
    /// Too many refusals for messages over the rate.
    Flooding,
    /// The peer vanished or the socket failed: nothing can be sent any more.
    Gone,
}

impl CloseReason {
    /// Every reason once, at its [`index`](Self::index), for counters.
    pub const ALL: [CloseReason; 16] = [
        Self::Normal,
        Self::Draining,
        Self::Protocol("the frames break RFC 6455"),
        Self::UnsupportedData,
        Self::InvalidUtf8,
        Self::TooBig,
        Self::TokenRefused,
        Self::TokenEnded,
        Self::AuthTimeout,
        Self::Disconnected,
        Self::NoSignOfLife,
        Self::SlowConsumer,
        Self::Flooding,
        Self::Unfinished,
        Self::MessageTimeout,
        Self::Gone,
    ];

    /// Close code of RFC 6455 section 7.4, or of this protocol's own range (4xxx).
    /// [`Gone`](Self::Gone) has 1006, which is never sent.
    pub const fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Draining => 1001,
            Self::Protocol(_) => 1002,
            Self::UnsupportedData => 1003,
            Self::Gone => 1006,
            Self::InvalidUtf8 => 1007,
            Self::TooBig => 1009,
            Self::TokenRefused | Self::TokenEnded | Self::AuthTimeout => 4401,
            Self::Disconnected => 4403,
            // Registered as "try again later" with IANA.
            Self::Unfinished => 1013,
            Self::NoSignOfLife | Self::MessageTimeout => 4408,
            Self::SlowConsumer => 4413,
            Self::Flooding => 4429,
        }
    }

    /// The sentence the client reads in the close frame.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Normal => "bye",
            Self::Draining => "the server is going away, come back",
            Self::Protocol(what) => what,
            Self::UnsupportedData => "binary messages are not taken, send JSON as text",
            Self::InvalidUtf8 => "text that is not valid UTF-8",
            Self::TooBig => "the message is larger than allowed",
            Self::TokenRefused => "the token was refused",
            Self::TokenEnded => "the token has ended, come back with a new one",
            Self::AuthTimeout => "no authentication in time",
            Self::Disconnected => "disconnected by the operator",
            Self::NoSignOfLife => "no sign of life",
            Self::SlowConsumer => "reading too slowly, come back and resume",
            Self::Flooding => "too many messages over the rate",
            Self::Unfinished => {
                "too much is unfinished on this server, come back and send whole messages"
            }
            Self::MessageTimeout => "the message did not go on coming",
            Self::Gone => "the connection was lost",
        }
    }

    /// Whether a client does well to reconnect with what it has (after its back-off). Where a new
    /// token or a change of behaviour is needed first, it does not.
    pub const fn client_should_return(self) -> bool {
        matches!(
            self,
            Self::Draining
                | Self::NoSignOfLife
                | Self::SlowConsumer
                | Self::Unfinished
                | Self::MessageTimeout
                | Self::Gone
        )
    }

    /// One word for counters and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Draining => "draining",
            Self::Protocol(_) => "protocol",
            Self::UnsupportedData => "unsupported_data",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::TooBig => "too_big",
            Self::TokenRefused => "token_refused",
            Self::TokenEnded => "token_ended",
            Self::AuthTimeout => "auth_timeout",
            Self::Disconnected => "disconnected",
            Self::NoSignOfLife => "no_sign_of_life",
            Self::SlowConsumer => "slow_consumer",
            Self::Flooding => "flooding",
            Self::Unfinished => "unfinished",
            Self::MessageTimeout => "message_timeout",
            Self::Gone => "gone",
        }
    }

    /// Place of this reason in [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        match self {
            Self::Normal => 0,
            Self::Draining => 1,
            Self::Protocol(_) => 2,
            Self::UnsupportedData => 3,
            Self::InvalidUtf8 => 4,
            Self::TooBig => 5,
            Self::TokenRefused => 6,
            Self::TokenEnded => 7,
            Self::AuthTimeout => 8,
            Self::Disconnected => 9,
            Self::NoSignOfLife => 10,
            Self::SlowConsumer => 11,
            Self::Flooding => 12,
            Self::Unfinished => 13,
            Self::MessageTimeout => 14,
            Self::Gone => 15,
        }
    }
}

/// Appends the close frame for `reason` (RFC 6455 section 5.5.1). Nothing for
/// [`CloseReason::Gone`]: its code must not appear on the wire.
pub fn put_close_frame(reason: CloseReason, out: &mut Vec<u8>) {
    if reason == CloseReason::Gone {
        return;
    }
    let text = reason.text();
    let text = &text[..text.floor_char_boundary(CONTROL_PAYLOAD_MAX - 2)];
    frame::put_header(Opcode::Close, 2 + text.len(), out);
    out.extend_from_slice(&reason.code().to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Appends the answer to a client's close frame: its own code back, or none where it gave none.
pub fn put_close_reply(code: Option<u16>, out: &mut Vec<u8>) {
    match code {
        Some(code) => frame::put_frame(Opcode::Close, &code.to_be_bytes(), out),
        None => frame::put_frame(Opcode::Close, &[], out),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tungstenite::protocol::frame::coding::CloseCode;

    #[test]
    fn every_reason_stands_at_its_index_with_a_name_of_its_own() {
        for (at, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), at, "{reason:?}");
        }
        let mut names: Vec<_> = CloseReason::ALL
            .into_iter()
            .map(CloseReason::name)
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CloseReason::ALL.len());
    }

    #[test]
    fn codes_may_be_sent_and_texts_fit_into_a_close_frame() {
        for reason in CloseReason::ALL {
            let mut out = Vec::new();
            put_close_frame(reason, &mut out);
            if reason == CloseReason::Gone {
                assert!(out.is_empty());
                continue;
            }
            assert!(CloseCode::from(reason.code()).is_allowed(), "{reason:?}");
            assert!(
                !reason.text().is_empty() && reason.text().len() <= 123,
                "{reason:?}"
            );
            assert_eq!(out[0], 0x88);
            assert_eq!(usize::from(out[1]), out.len() - 2);
            assert_eq!(out[2..4], reason.code().to_be_bytes());
            assert_eq!(&out[4..], reason.text().as_bytes());
        }
    }

    #[test]
    fn the_contracts_codes() {
        let code = |name: &str| {
            CloseReason::ALL
                .into_iter()
                .find(|reason| reason.name() == name)
                .unwrap()
                .code()
        };
        let expected = [
            ("normal", 1000),
            ("draining", 1001),
            ("protocol", 1002),
            ("unsupported_data", 1003),
            ("invalid_utf8", 1007),
            ("too_big", 1009),
            ("token_refused", 4401),
            ("token_ended", 4401),
            ("auth_timeout", 4401),
            ("disconnected", 4403),
            ("no_sign_of_life", 4408),
            ("slow_consumer", 4413),
            ("flooding", 4429),
            ("unfinished", 1013),
            ("message_timeout", 4408),
        ];
        for (name, want) in expected {
            assert_eq!(code(name), want, "{name}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters() {
        const LONG: &str = "ééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé";
        let mut out = Vec::new();
        put_close_frame(CloseReason::Protocol(LONG), &mut out);
        assert_eq!(out[1], 124);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }

    #[test]
    fn a_reply_gives_the_code_back() {
        let mut out = Vec::new();
        put_close_reply(Some(1001), &mut out);
        put_close_reply(None, &mut out);
        assert_eq!(out, [0x88, 2, 0x03, 0xE9, 0x88, 0]);
    }
}
