//! What a client sends as WebSocket frames: however it is cut, the same messages and the same end, and
//! those that RFC 6455 asks for.

use shopwire::wire::{Assembler, Incoming, Limits, PartialMessage};

/// Most bytes of a message, by the two lowest bits of the input's first byte. The next bit says whether
/// messages may be binary.
const LIMITS: [usize; 4] = [0, 20, 125, 1000];

/// What came out.
#[derive(Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    /// Ended with this code.
    Failed(u16),
}

/// The first byte chooses the limit, the second how the rest is cut; the rest is the stream.
pub fn holds(input: &[u8]) {
    let [limit, cuts, stream @ ..] = input else {
        return;
    };
    let limits = Limits {
        message: LIMITS[usize::from(*limit) % LIMITS.len()],
        binary: limit & 4 != 0,
    };
    let expected = reference(stream, limits);
    assert_eq!(feed([stream], limits, false), expected, "whole");
    assert_eq!(
        feed(stream.chunks(1), limits, false),
        expected,
        "byte by byte"
    );
    let sizes = [usize::from(cuts & 15) + 1, usize::from(cuts >> 4) + 1];
    let mut rest = stream;
    let mut turn = 0;
    let pieces = std::iter::from_fn(|| {
        turn += 1;
        let (piece, left) = rest.split_at(rest.len().min(sizes[turn % 2]));
        rest = left;
        (!piece.is_empty()).then_some(piece)
    });
    assert_eq!(
        feed(pieces, limits, true),
        expected,
        "cut, and taken over at each cut"
    );
}

/// What an assembler makes of these reads. With `moves`, what it keeps goes to another process after
/// each of them.
fn feed<'p>(pieces: impl IntoIterator<Item = &'p [u8]>, limits: Limits, moves: bool) -> Vec<Seen> {
    let mut assembler = Assembler::default();
    let mut seen = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut at = 0;
        loop {
            match assembler.next(&mut piece, &mut at, limits) {
                Ok(Some(Incoming::Text(text))) => seen.push(Seen::Text(text.into())),
                Ok(Some(Incoming::Binary(bytes))) => seen.push(Seen::Binary(bytes.into())),
                Ok(Some(Incoming::Ping(payload))) => seen.push(Seen::Ping(payload.into())),
                Ok(Some(Incoming::Pong(payload))) => seen.push(Seen::Pong(payload.into())),
                Ok(Some(Incoming::Close(code, reason))) => {
                    seen.push(Seen::Close(code, reason.into()));
                    return seen;
                }
                Ok(None) => break,
                Err(reason) => {
                    seen.push(Seen::Failed(reason.code()));
                    return seen;
                }
            }
        }
        assert_eq!(at, piece.len(), "something was left unread");
        // What a cut-off message costs is bounded by what its sender may send.
        assert!(assembler.held_bytes() <= 512 + limits.message);
        if moves {
            let kept = assembler.partial().map(|partial| {
                let bytes = postcard::to_stdvec(&partial).unwrap();
                postcard::from_bytes::<PartialMessage>(&bytes).unwrap()
            });
            assembler = kept.map(Assembler::go_on).unwrap_or_default();
        }
    }
    seen
}

/// RFC 6455, read frame by frame from the whole stream.
fn reference(mut stream: &[u8], limits: Limits) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut message: Option<Begun> = None;
    loop {
        match one_frame(&mut stream, &mut message, limits) {
            Ok(None) => return seen,
            Ok(Some(Frame::Part)) => {}
            Ok(Some(Frame::Whole(what))) => {
                let ends = matches!(what, Seen::Close(..));
                seen.push(what);
                if ends {
                    return seen;
                }
            }
            Err(code) => {
                seen.push(Seen::Failed(code));
                return seen;
            }
        }
    }
}

/// A message of which there is more to come.
#[derive(Default)]
struct Begun {
    is_binary: bool,
    payload: Vec<u8>,
}

enum Frame {
    Part,
    Whole(Seen),
}

/// Takes a frame off the stream. `None`: it is not all there, and nothing is wrong so far.
fn one_frame(
    stream: &mut &[u8],
    message: &mut Option<Begun>,
    limits: Limits,
) -> Result<Option<Frame>, u16> {
    let Some(&first) = stream.first() else {
        return Ok(None);
    };
    let (is_final, opcode) = (first & 0x80 != 0, first & 0x0F);
    let is_control = opcode & 8 != 0;
    match (opcode, &message) {
        _ if first & 0x70 != 0 => return Err(1002),
        (3..=7 | 11..=15, _) | (0, None) | (1 | 2, Some(_)) => return Err(1002),
        (2, None) if !limits.binary => return Err(1003),
        _ if is_control && !is_final => return Err(1002),
        _ => {}
    }
    let Some(&second) = stream.get(1) else {
        return Ok(None);
    };
    if second & 0x80 == 0 || (is_control && second & 0x7F > 125) {
        return Err(1002);
    }
    let extra = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some(digits) = stream.get(2..2 + extra) else {
        return Ok(None);
    };
    let number = digits
        .iter()
        .fold(0, |number, digit| number << 8 | u64::from(*digit));
    let (len, least) = match extra {
        0 => (u64::from(second & 0x7F), 0),
        2 => (number, 126),
        _ => (number, 65_536),
    };
    if len < least || len >= 1 << 63 {
        return Err(1002);
    }
    let Some(mask) = stream.get(2 + extra..6 + extra) else {
        return Ok(None);
    };
    let begun = message.as_ref().map_or(0, |begun| begun.payload.len());
    if !is_control && u128::from(len) + begun as u128 > limits.message as u128 {
        return Err(1009);
    }
    let rest = &stream[6 + extra..];
    let there = rest.len().min(usize::try_from(len).unwrap_or(usize::MAX));
    let payload: Vec<u8> = (rest[..there].iter().zip(mask.iter().cycle()))
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    *stream = &rest[there..];
    let is_whole = there as u64 == len;
    if is_control {
        return if is_whole {
            control(opcode, payload).map(|what| Some(Frame::Whole(what)))
        } else {
            Ok(None)
        };
    }
    let mut all = message.take().unwrap_or_default();
    all.is_binary |= opcode == 2;
    all.payload.extend(payload);
    if all.is_binary {
        return Ok(match (is_whole, is_final) {
            (false, _) => None,
            (true, true) => Some(Frame::Whole(Seen::Binary(all.payload))),
            (true, false) => {
                *message = Some(all);
                Some(Frame::Part)
            }
        });
    }
    match std::str::from_utf8(&all.payload) {
        Err(error) if error.error_len().is_some() => Err(1007),
        _ if !is_whole => Ok(None),
        Ok(whole) if is_final => Ok(Some(Frame::Whole(Seen::Text(whole.to_owned())))),
        Err(_) if is_final => Err(1007),
        _ => {
            *message = Some(all);
            Ok(Some(Frame::Part))
        }
    }
}

fn control(opcode: u8, payload: Vec<u8>) -> Result<Seen, u16> {
    match (opcode, &payload[..]) {
        (9, _) => Ok(Seen::Ping(payload)),
        (10, _) => Ok(Seen::Pong(payload)),
        (_, []) => Ok(Seen::Close(None, String::new())),
        (_, [_]) => Err(1002),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            // Section 7.4: those that mean something on the wire, and the ranges for everybody.
            if !matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999) {
                return Err(1002);
            }
            match std::str::from_utf8(reason) {
                Ok(reason) => Ok(Seen::Close(Some(code), reason.to_owned())),
                Err(_) => Err(1007),
            }
        }
    }
}
