//! Rules of [`super`], one by one, and the outcome under every way of cutting the stream.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::wire::frame::put_masked_frame;
use proptest::prelude::*;

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const LIMITS: Limits = at_most(1000);
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;

const fn at_most(message: usize) -> Limits {
    Limits {
        message,
        binary: false,
    }
}

/// What came out, owned.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Failed(u16),
}

fn frames(list: &[(bool, u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (last, opcode, payload) in list {
        put_masked_frame(*last, *opcode, KEY, payload, &mut out);
    }
    out
}

/// Feeds `pieces` as reads would bring them, until the end, a close or a failure.
fn feed<'p>(
    assembler: &mut Assembler,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    limits: Limits,
) -> Vec<Seen> {
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
                Ok(None) => {
                    assert_eq!(at, piece.len());
                    break;
                }
                Err(reason) => {
                    seen.push(Seen::Failed(reason.code()));
                    return seen;
                }
            }
        }
    }
    seen
}

fn outcome(bytes: &[u8]) -> Vec<Seen> {
    let whole = feed(&mut Assembler::default(), [bytes], LIMITS);
    let single = feed(&mut Assembler::default(), bytes.chunks(1), LIMITS);
    assert_eq!(whole, single, "byte by byte");
    whole
}

fn text(text: &str) -> Seen {
    Seen::Text(text.into())
}

#[test]
fn an_empty_assembler_is_a_pointer_and_whole_messages_keep_nothing() {
    assert_eq!(size_of::<Assembler>(), size_of::<usize>());
    let bytes = frames(&[(true, TEXT, b"a"), (true, PING, b"b"), (true, TEXT, b"")]);
    let mut assembler = Assembler::default();
    let seen = feed(&mut assembler, [&bytes[..]], LIMITS);
    assert_eq!(seen, [text("a"), Seen::Ping(b"b".into()), text("")]);
    assert_eq!(assembler.held_bytes(), 0);
}

#[test]
fn the_rfcs_masked_hello() {
    let bytes = [
        0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58,
    ];
    assert_eq!(outcome(&bytes), [text("Hello")]);
}

#[test]
fn fragments_with_control_frames_between() {
    let bytes = frames(&[
        (false, TEXT, "gr\u{fc}".as_bytes().split_at(3).0),
        (true, PING, b"?"),
        (false, CONTINUATION, b""),
        (true, 10, b"!"),
        (
            true,
            CONTINUATION,
            "gr\u{fc}\u{df}e".as_bytes().split_at(3).1,
        ),
        (true, TEXT, b"next"),
    ]);
    assert_eq!(
        outcome(&bytes),
        [
            Seen::Ping(b"?".into()),
            Seen::Pong(b"!".into()),
            text("gr\u{fc}\u{df}e"),
            text("next")
        ]
    );
}

#[test]
fn what_is_held_is_freed_after_the_message() {
    let bytes = frames(&[(false, TEXT, b"ab"), (true, CONTINUATION, b"cd")]);
    let mut assembler = Assembler::default();
    assert_eq!(feed(&mut assembler, [&bytes[..9]], LIMITS), []);
    assert!(assembler.held_bytes() > 0);
    assert_eq!(feed(&mut assembler, [&bytes[9..]], LIMITS), [text("abcd")]);
    assert_eq!(assembler.held_bytes(), 0);
}

#[test]
fn the_limit_is_for_the_whole_message_and_exact() {
    let max = vec![b'x'; LIMITS.message];
    assert_eq!(
        outcome(&frames(&[(true, TEXT, &max)])),
        [text(&"x".repeat(LIMITS.message))]
    );
    let over = [&max[..], b"x"].concat();
    assert_eq!(
        outcome(&frames(&[(true, TEXT, &over)])),
        [Seen::Failed(1009)]
    );
    // Decided by the header, before a byte of payload.
    assert_eq!(
        outcome(&frames(&[(true, TEXT, &over)])[..8]),
        [Seen::Failed(1009)]
    );
    let fragments = frames(&[
        (false, TEXT, &max),
        (false, CONTINUATION, b""),
        (true, CONTINUATION, b"x"),
    ]);
    assert_eq!(outcome(&fragments), [Seen::Failed(1009)]);
    let huge = [
        0x81, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4,
    ];
    assert_eq!(outcome(&huge), [Seen::Failed(1009)]);
}

#[test]
fn the_limit_may_grow_between_reads() {
    let bytes = frames(&[(true, TEXT, b"four")]);
    let mut assembler = Assembler::default();
    assert_eq!(
        feed(&mut assembler, [&bytes[..]], at_most(4)),
        [text("four")]
    );
    assert_eq!(
        feed(&mut Assembler::default(), [&bytes[..]], at_most(3)),
        [Seen::Failed(1009)]
    );
    assert_eq!(
        feed(&mut assembler, [&bytes[..]], at_most(40)),
        [text("four")]
    );
}

#[test]
fn memory_follows_what_came_and_not_what_was_announced() {
    // Under Miri a mebibyte takes an hour.
    const SIZE: usize = if cfg!(miri) { 1 << 14 } else { 1 << 20 };
    let limits = at_most(SIZE);
    let bytes = frames(&[(true, TEXT, &vec![b'x'; SIZE])]);
    let mut assembler = Assembler::default();
    assert_eq!(feed(&mut assembler, [&bytes[..100]], limits), []);
    assert!(assembler.held_bytes() < 600, "{}", assembler.held_bytes());
    let rest = bytes[100..bytes.len() - 1].chunks(1000);
    assert_eq!(feed(&mut assembler, rest, limits), []);
    assert!(
        assembler.held_bytes() <= SIZE + 600,
        "{}",
        assembler.held_bytes()
    );
}

#[test]
fn empty_fragments_cost_no_memory() {
    let mut assembler = Assembler::default();
    feed(&mut assembler, [&frames(&[(false, TEXT, b"")])[..]], LIMITS);
    let held = assembler.held_bytes();
    let flood = frames(&[(false, CONTINUATION, &b""[..]); 1000]);
    assert_eq!(feed(&mut assembler, [&flood[..]], LIMITS), []);
    assert_eq!(assembler.held_bytes(), held);
}

#[test]
fn text_that_is_not_utf8_fails_as_soon_as_that_is_certain() {
    assert_eq!(
        outcome(&frames(&[(true, TEXT, b"a\xFF")])),
        [Seen::Failed(1007)]
    );
    assert_eq!(
        outcome(&frames(&[(true, TEXT, b"\xED\xA0\x80")])),
        [Seen::Failed(1007)]
    );
    assert_eq!(
        outcome(&frames(&[(true, TEXT, b"\xE2\x82")])),
        [Seen::Failed(1007)]
    );
    // The message is not complete, but nothing can mend it.
    assert_eq!(
        outcome(&frames(&[(false, TEXT, b"\xC0")])),
        [Seen::Failed(1007)]
    );
    let cut = frames(&[(true, TEXT, b"\xFFabc")]);
    assert_eq!(outcome(&cut[..cut.len() - 2]), [Seen::Failed(1007)]);
    let over_two = [(false, TEXT, &b"\xE2\x82"[..]), (true, CONTINUATION, b"")];
    assert_eq!(outcome(&frames(&over_two)), [Seen::Failed(1007)]);
}

#[test]
fn frames_out_of_order() {
    assert_eq!(
        outcome(&frames(&[(true, CONTINUATION, b"")])),
        [Seen::Failed(1002)]
    );
    let twice = frames(&[(false, TEXT, b"a"), (true, TEXT, b"b")]);
    assert_eq!(outcome(&twice), [Seen::Failed(1002)]);
    let ended = frames(&[(false, TEXT, b"a"), (true, 0, b""), (true, 0, b"")]);
    assert_eq!(outcome(&ended), [text("a"), Seen::Failed(1002)]);
    assert_eq!(outcome(&frames(&[(true, 2, b"")])), [Seen::Failed(1003)]);
}

#[test]
fn binary_messages_are_taken_where_the_limits_let_them_come() {
    let limits = Limits {
        binary: true,
        ..LIMITS
    };
    let bytes = frames(&[
        (true, BINARY, b"\xFF\x00"),
        (false, BINARY, b"\xE2"),
        (true, PING, b"?"),
        (true, CONTINUATION, b"\x82"),
        (false, TEXT, b"a"),
        (true, CONTINUATION, b"b"),
        (false, TEXT, b"\xFF"),
    ]);
    let expected = [
        Seen::Binary(b"\xFF\x00".into()),
        Seen::Ping(b"?".into()),
        Seen::Binary(b"\xE2\x82".into()),
        text("ab"),
        // What came before does not make the next message binary.
        Seen::Failed(1007),
    ];
    let whole = feed(&mut Assembler::default(), [&bytes[..]], limits);
    let single = feed(&mut Assembler::default(), bytes.chunks(1), limits);
    assert_eq!(whole, expected);
    assert_eq!(single, expected);
}

#[test]
fn tiny_fragments_do_not_each_move_what_came_before() {
    let mut assembler = Assembler::default();
    let mut begun = frames(&[(false, TEXT, b"a")]);
    begun.extend(frames(&[(false, CONTINUATION, &b"b"[..]); 999]));
    let mut grown = 0;
    let mut held = 0;
    for read in begun.chunks(7) {
        assert_eq!(feed(&mut assembler, [read], LIMITS), []);
        grown += u32::from(assembler.held_bytes() != held);
        held = assembler.held_bytes();
    }
    assert!(grown < 20, "{grown} times for 1,000 fragments");
    assert!(held <= LIMITS.message + size_of::<Held>());
}

#[test]
fn close_frames() {
    let close = |payload: &[u8]| outcome(&frames(&[(true, CLOSE, payload)]));
    assert_eq!(close(b""), [Seen::Close(None, String::new())]);
    assert_eq!(
        close(b"\x03\xE8bye"),
        [Seen::Close(Some(1000), "bye".into())]
    );
    assert_eq!(close(b"\x03"), [Seen::Failed(1002)]);
    assert_eq!(close(b"\x03\xE8\xFF"), [Seen::Failed(1007)]);
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999,
    ] {
        assert_eq!(
            close(&u16::to_be_bytes(code)),
            [Seen::Close(Some(code), String::new())]
        );
    }
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535,
    ] {
        assert_eq!(
            close(&u16::to_be_bytes(code)),
            [Seen::Failed(1002)],
            "{code}"
        );
    }
}

#[test]
fn a_close_between_fragments_ends_it() {
    let bytes = frames(&[
        (false, TEXT, b"a"),
        (true, CLOSE, b"\x03\xE9"),
        (true, 0, b"b"),
    ]);
    assert_eq!(outcome(&bytes), [Seen::Close(Some(1001), String::new())]);
}

/// Frames that are mostly in order, with all kinds of payload and a few faults.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        4 => "[a-z\u{fc}\u{20ac}\u{1f600}]{0,40}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..10),
        1 => Just(vec![b'x'; 400]),
    ];
    let opcode = prop_oneof![
        4 => Just(TEXT),
        3 => Just(CONTINUATION),
        2 => Just(PING),
        1 => Just(10),
        1 => 0u8..16,
    ];
    let frame = (prop::bool::weighted(0.7), opcode, any::<[u8; 4]>(), payload);
    (
        prop::collection::vec(frame, 0..12),
        prop::collection::vec(any::<u8>(), 0..4),
    )
        .prop_map(|(frames, rest)| {
            let mut out = Vec::new();
            for (last, opcode, key, payload) in frames {
                put_masked_frame(last || opcode >= 8, opcode, key, &payload, &mut out);
            }
            out.extend(rest);
            out
        })
}

/// The plainest reading of the rules for streams without faults: everything at once, by copying.
fn reference(messages: &[(String, usize, bool)]) -> (Vec<u8>, Vec<Seen>) {
    let (mut bytes, mut seen) = (Vec::new(), Vec::new());
    for (message, parts, ping) in messages {
        let size = message.len().div_ceil(*parts).max(1);
        let mut pieces: Vec<&[u8]> = message.as_bytes().chunks(size).collect();
        if pieces.is_empty() {
            pieces.push(b"");
        }
        for (at, piece) in pieces.iter().enumerate() {
            let opcode = if at == 0 { TEXT } else { CONTINUATION };
            put_masked_frame(at + 1 == pieces.len(), opcode, KEY, piece, &mut bytes);
            if *ping && at + 1 < pieces.len() {
                put_masked_frame(true, PING, KEY, b"ping", &mut bytes);
                seen.push(Seen::Ping(b"ping".into()));
            }
        }
        seen.push(text(message));
    }
    (bytes, seen)
}

fn cut(bytes: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
    cuts.iter_mut().for_each(|at| *at %= bytes.len() + 1);
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_outcome(
        bytes in stream(),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let whole = outcome(&bytes);
        let mut assembler = Assembler::default();
        let pieces = feed(&mut assembler, cut(&bytes, cuts), LIMITS);
        prop_assert_eq!(whole, pieces);
        prop_assert!(assembler.held_bytes() <= LIMITS.message + size_of::<Held>());
    }

    #[test]
    fn what_was_sent_arrives(
        messages in prop::collection::vec(("\\PC{0,60}", 1usize..5, any::<bool>()), 0..6),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let (bytes, expected) = reference(&messages);
        let mut assembler = Assembler::default();
        prop_assert_eq!(feed(&mut assembler, cut(&bytes, cuts), LIMITS), expected);
        prop_assert_eq!(assembler.held_bytes(), 0);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = outcome(&bytes);
    }
}
