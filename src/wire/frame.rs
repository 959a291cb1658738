//! RFC 6455 frames: the headers both ways, and unmasking.
//!
//! Owns the layout of a frame and every check that a client's frame header alone can fail. Called
//! by [`message`](super::message) for what comes in and by whoever makes frames to go out.

use super::close::CloseReason;
use serde::{Deserialize, Serialize};

/// Most bytes a control frame carries (RFC 6455 section 5.5).
pub const CONTROL_PAYLOAD_MAX: usize = 125;

/// Most bytes of a frame header: two, a 64-bit length, a masking key.
pub const HEADER_MAX: usize = 14;

/// What a frame is (RFC 6455 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message that has begun.
    Continuation = 0,
    /// UTF-8 text.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The end of the connection.
    Close = 8,
    /// Asks for a pong with the same payload.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

impl Opcode {
    /// Whether this is a control frame, which may stand between the fragments of a message.
    pub const fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// What data frame may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The first one of a text message.
    Text,
    /// The first one of a message of either kind.
    Message,
    /// A further one of the message that has begun and is not complete.
    Continuation,
}

/// The header of a client's frame, already checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Whether this frame ends its message.
    pub last: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The masking key.
    pub mask: [u8; 4],
    /// Bytes of payload that the sender announces.
    pub payload: u64,
    /// Bytes of the header itself.
    pub len: usize,
}

/// Appends a whole, final, unmasked frame, as servers send them.
pub fn put_frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(HEADER_MAX + payload.len());
    put_header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends the header of a final, unmasked frame with `len` bytes of payload.
pub fn put_header(opcode: Opcode, len: usize, out: &mut Vec<u8>) {
    debug_assert!(!opcode.is_control() || len <= CONTROL_PAYLOAD_MAX);
    out.push(0x80 | opcode as u8);
    put_length(len, 0, out);
}

/// Reads the header of a client's frame. `None`: more bytes are needed.
///
/// Control frames may come whatever data frame is `expected`. Each rule is checked as soon as its
/// byte is there, so that the outcome does not depend on how the bytes were cut.
///
/// # Errors
/// [`CloseReason::Protocol`] for a header that a client must not send (RFC 6455 sections 5.1 to
/// 5.5); [`CloseReason::UnsupportedData`] for a binary message where text is expected.
pub fn parse_header(bytes: &[u8], expected: Expected) -> Result<Option<Header>, CloseReason> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    let last = first & 0x80 != 0;
    let opcode = opcode(first, last, expected)?;
    let Some(&second) = bytes.get(1) else {
        return Ok(None);
    };
    if second & 0x80 == 0 {
        return Err(CloseReason::Protocol("frames from a client must be masked"));
    }
    let short = second & 0x7F;
    if opcode.is_control() && usize::from(short) > CONTROL_PAYLOAD_MAX {
        return Err(CloseReason::Protocol(
            "a control frame is longer than 125 bytes",
        ));
    }
    let (payload, len) = match short {
        126 => match bytes.get(2..4) {
            Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 8),
            _ => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|eight| eight.try_into().ok()) {
            Some(eight) => (u64::from_be_bytes(eight), 14),
            None => return Ok(None),
        },
        short => (u64::from(short), 6),
    };
    if (len == 8 && payload < 126) || (len == 14 && payload <= u64::from(u16::MAX)) {
        return Err(CloseReason::Protocol(
            "a frame length is not written in the fewest bytes",
        ));
    }
    if payload >> 63 != 0 {
        return Err(CloseReason::Protocol(
            "the top bit of a 64-bit frame length is set",
        ));
    }
    match bytes
        .get(len - 4..len)
        .and_then(|four| four.try_into().ok())
    {
        Some(mask) => Ok(Some(Header {
            last,
            opcode,
            mask,
            payload,
            len,
        })),
        None => Ok(None),
    }
}

/// Takes the mask `key` off `bytes`, or puts it on, in place. `offset` is how many bytes of the
/// frame's payload came before these.
pub fn unmask(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    let mut turned = key;
    turned.rotate_left(offset % 4);
    let [a, b, c, d] = turned;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(turned.into_iter().cycle()) {
        *byte ^= key;
    }
}

fn opcode(first: u8, last: bool, expected: Expected) -> Result<Opcode, CloseReason> {
    if first & 0x70 != 0 {
        return Err(CloseReason::Protocol(
            "a reserved bit is set, no extension was agreed on",
        ));
    }
    let opcode = match first & 0x0F {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err(CloseReason::Protocol("an opcode is unknown")),
    };
    let continues = expected == Expected::Continuation;
    match opcode {
        Opcode::Continuation if !continues => Err(CloseReason::Protocol(
            "a continuation frame without a message to continue",
        )),
        Opcode::Text | Opcode::Binary if continues => Err(CloseReason::Protocol(
            "a new message before the last one was complete",
        )),
        Opcode::Binary if expected == Expected::Text => Err(CloseReason::UnsupportedData),
        Opcode::Close | Opcode::Ping | Opcode::Pong if !last => {
            Err(CloseReason::Protocol("a control frame is fragmented"))
        }
        opcode => Ok(opcode),
    }
}

/// Appends the length in its fewest bytes; `mask_bit` is 0x80 where a masking key follows.
fn put_length(len: usize, mask_bit: u8, out: &mut Vec<u8>) {
    match len {
        0..=125 => out.push(mask_bit | len as u8),
        126..=0xFFFF => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Appends a frame as a client sends it: the reference encoder for tests.
#[cfg(test)]
pub(crate) fn put_masked_frame(
    last: bool,
    opcode: u8,
    key: [u8; 4],
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    out.push(if last { 0x80 } else { 0 } | opcode);
    put_length(payload.len(), 0x80, out);
    out.extend_from_slice(&key);
    out.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;
    use tungstenite::protocol::frame::FrameHeader;

    fn refusal(bytes: &[u8], expected: Expected) -> Option<u16> {
        parse_header(bytes, expected).err().map(CloseReason::code)
    }

    #[test]
    fn lengths_are_written_in_the_fewest_bytes_and_read_back() {
        for len in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, 0x1_0001] {
            if cfg!(miri) && len > 127 {
                // Minutes for each.
                continue;
            }
            let mut out = Vec::new();
            put_header(Opcode::Text, len, &mut out);
            let (header, payload) = FrameHeader::parse(&mut Cursor::new(&out)).unwrap().unwrap();
            assert_eq!(payload, len as u64);
            assert!(header.is_final && header.mask.is_none());
            assert_eq!(out.len(), header.len(payload));

            let mut out = Vec::new();
            put_masked_frame(true, 1, [1, 2, 3, 4], &vec![0; len], &mut out);
            let header = parse_header(&out, Expected::Text).unwrap().unwrap();
            assert_eq!(header.payload, len as u64);
            assert_eq!(header.len, out.len() - len);
            assert_eq!(header.mask, [1, 2, 3, 4]);
        }
    }

    #[test]
    fn headers_that_a_client_must_not_send() {
        for (what, bytes, continuing) in [
            ("unmasked", &[0x81, 0x00][..], false),
            ("RSV1", &[0xC1], false),
            ("RSV2", &[0xA1], false),
            ("RSV3", &[0x91], false),
            ("opcode 3", &[0x83], false),
            ("opcode 7", &[0x87], false),
            ("opcode 11", &[0x8B], false),
            ("opcode 15", &[0x8F], false),
            ("continuation of nothing", &[0x80], false),
            ("text within a message", &[0x81], true),
            ("binary within a message", &[0x82], true),
            ("fragmented ping", &[0x09], false),
            ("fragmented close", &[0x08], true),
            ("ping of 126 bytes", &[0x89, 0xFE], false),
            ("close with a 64-bit length", &[0x88, 0xFF], false),
            ("125 in 16 bits", &[0x81, 0xFE, 0, 125], false),
            (
                "65535 in 64 bits",
                &[0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
                false,
            ),
            ("top bit", &[0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], false),
        ] {
            let starts = [Expected::Text, Expected::Message];
            let expected = if continuing {
                &[Expected::Continuation]
            } else {
                &starts[..]
            };
            for &expected in expected {
                assert_eq!(refusal(bytes, expected), Some(1002), "{what}");
            }
        }
        for first in [0x82, 0x02] {
            assert_eq!(refusal(&[first], Expected::Text), Some(1003));
            assert_eq!(refusal(&[first], Expected::Message), None);
        }
    }

    #[test]
    fn a_cut_off_header_asks_for_more() {
        let mut whole = Vec::new();
        put_masked_frame(false, 1, [9, 8, 7, 6], &vec![0; 70_000], &mut whole);
        for cut in 0..HEADER_MAX {
            assert_eq!(
                parse_header(&whole[..cut], Expected::Text),
                Ok(None),
                "{cut}"
            );
        }
        assert!(
            parse_header(&whole[..HEADER_MAX], Expected::Text)
                .unwrap()
                .is_some()
        );
    }

    proptest! {
        #[test]
        fn unmasking_in_pieces_is_unmasking_byte_by_byte(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            key in any::<[u8; 4]>(),
            cut in 0usize..100,
        ) {
            let expected: Vec<u8> =
                bytes.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
            let mut bytes = bytes;
            let cut = cut.min(bytes.len());
            unmask(&mut bytes[..cut], key, 0);
            unmask(&mut bytes[cut..], key, cut);
            prop_assert_eq!(bytes, expected);
        }

        #[test]
        fn headers_agree_with_tungstenite(bytes in prop::collection::vec(any::<u8>(), 0..16)) {
            if let Ok(Some(header)) = parse_header(&bytes, Expected::Text) {
                let mut cursor = Cursor::new(&bytes);
                let (theirs, payload) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
                prop_assert_eq!(payload, header.payload);
                prop_assert_eq!(cursor.position(), header.len as u64);
                prop_assert_eq!(theirs.mask, Some(header.mask));
                prop_assert_eq!(theirs.is_final, header.last);
                prop_assert_eq!(u8::from(theirs.opcode), header.opcode as u8);
            }
        }
    }
}
