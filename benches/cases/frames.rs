//! From a client's bytes to its messages: headers, unmasking, and putting messages together.
//!
//! Unmasking changes the bytes in place, so each work begins by copying them anew, as a read would.

use std::hint::black_box;

use shopwire::wire::frame::{self, Expected, Opcode};
use shopwire::wire::{Assembler, Incoming, Limits};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::Work;

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
const LIMITS: Limits = Limits {
    message: 1 << 20,
    binary: false,
};
const MESSAGE: &str = r#"{"type":"subscribe","id":7,"data":{"namespaces":["orders","products","inventory"],"events":["order:created"]}}"#;

/// Reads one header.
pub fn header() -> Work {
    let bytes = masked(OpCode::Data(Data::Text), true, &"x".repeat(300));
    let header = frame::parse_header(&bytes, Expected::Text);
    assert!(header.is_ok_and(|header| header.is_some_and(|header| {
        (header.opcode, header.payload, header.mask) == (Opcode::Text, 300, MASK)
    })));
    Box::new(move || {
        black_box(&frame::parse_header(black_box(&bytes), Expected::Text));
    })
}

/// Unmasks so many bytes.
pub fn unmask(length: usize) -> Work {
    let mut bytes = vec![b'x'; length];
    frame::unmask(&mut bytes, MASK, 0);
    assert_eq!(bytes[length - 1], b'x' ^ MASK[(length - 1) % 4]);
    Box::new(move || frame::unmask(black_box(&mut bytes), MASK, 0))
}

/// Takes a message that came whole, in one read.
pub fn message() -> Work {
    reading(vec![masked(OpCode::Data(Data::Text), true, MESSAGE)], 1)
}

/// Takes a message in three fragments with a ping between them, in one read.
pub fn fragments() -> Work {
    let (first, rest) = MESSAGE.split_at(40);
    let (second, third) = rest.split_at(40);
    let read = [
        masked(OpCode::Data(Data::Text), false, first),
        masked(OpCode::Data(Data::Continue), false, second),
        masked(OpCode::Control(Control::Ping), true, "are you there"),
        masked(OpCode::Data(Data::Continue), true, third),
    ];
    reading(vec![read.concat()], 2)
}

/// Takes a message of which the second half comes with a later read.
pub fn two_reads() -> Work {
    let whole = masked(OpCode::Data(Data::Text), true, MESSAGE);
    let (first, second) = whole.split_at(whole.len() / 2);
    reading(vec![first.to_vec(), second.to_vec()], 1)
}

/// The work of taking all messages out of these reads; the last of `messages` is [`MESSAGE`].
fn reading(reads: Vec<Vec<u8>>, messages: usize) -> Work {
    let mut assembler = Assembler::default();
    let mut buffer = vec![0; reads.iter().map(Vec::len).max().unwrap_or_default()];
    let mut work = move |last: &mut String| {
        let mut found = 0;
        for read in &reads {
            let input = &mut buffer[..read.len()];
            input.copy_from_slice(black_box(read));
            let mut consumed = 0;
            while let Some(incoming) = assembler
                .next(input, &mut consumed, LIMITS)
                .expect("a client's own frames are good")
            {
                found += 1;
                if let Incoming::Text(text) = incoming {
                    last.clear();
                    last.push_str(text);
                }
            }
        }
        found
    };
    let mut last = String::new();
    assert_eq!(work(&mut last), messages);
    assert_eq!(last, MESSAGE);
    Box::new(move || {
        black_box(work(&mut last));
    })
}

/// A frame as a client sends it.
fn masked(opcode: OpCode, is_final: bool, payload: &str) -> Vec<u8> {
    let mut frame = Frame::message(payload.to_owned(), opcode, is_final);
    frame.header_mut().mask = Some(MASK);
    let mut bytes = Vec::new();
    frame.format(&mut bytes).expect("a Vec takes every write");
    bytes
}
