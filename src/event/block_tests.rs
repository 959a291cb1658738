//! Tests of blocks: bytes, ranges, limits and sizes.
#![allow(clippy::unwrap_used)]

use std::io::Cursor;

use proptest::prelude::*;
use serde_json::{Value, json};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::super::parse::{Line, Parser, Rules};
use super::super::refusal::Code;
use super::super::target::Targets;

use super::*;

const NOW: u64 = 1_700_000_000_123;
const EPOCH: Epoch = Epoch(0xabc);

fn builder(max_message: usize) -> BlockBuilder {
    BlockBuilder::new(EPOCH, NameHasher::default(), max_message)
}

fn push(builder: &mut BlockBuilder, line: &str, id: u64) -> Result<(), Refusal> {
    let mut parser = Parser::new(Rules {
        order_statuses: Vec::new(),
        max_message: usize::MAX,
    });
    match parser.parse(line.as_bytes()) {
        Ok(Line::Event(event)) => builder.push(&event, id, NOW),
        other => panic!("{line}: {other:?}"),
    }
}

/// A block of these lines, with ids from 41 on, for who is about what can be done with one.
pub(in crate::event) fn block_of(lines: &[&str]) -> Arc<Block> {
    let mut builder = builder(1 << 20);
    for (line, id) in lines.iter().zip(41..) {
        push(&mut builder, line, id).unwrap();
    }
    builder.finish(Instant::now(), 3)
}

fn finish(builder: &mut BlockBuilder) -> Arc<Block> {
    builder.finish(Instant::now(), 0)
}

/// The payload of a frame, its header checked by tungstenite.
fn payload<'b>(block: &'b Block, frame: &Frame) -> &'b [u8] {
    let bytes = &block.bytes[frame.start as usize..frame.end as usize];
    let mut cursor = Cursor::new(bytes);
    let (header, len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
    assert!(header.is_final && header.mask.is_none());
    assert!(!header.rsv1 && !header.rsv2 && !header.rsv3);
    assert_eq!(header.opcode, OpCode::Data(Data::Text));
    let payload = &bytes[cursor.position() as usize..];
    assert_eq!(payload.len() as u64, len);
    // RFC 6455 asks for the shortest form of the length.
    let header_len = bytes.len() - payload.len();
    let shortest = match len {
        0..=125 => 2,
        126..=65535 => 4,
        _ => 10,
    };
    assert_eq!(header_len, shortest);
    payload
}

fn product(more: &str) -> String {
    format!(r#"{{"type":"product:deleted","data":{{"productId":"p"{more}}}}}"#)
}

fn product_of(data_len: usize) -> String {
    product(&format!(
        r#","x":"{}""#,
        "y".repeat(data_len - product_data_len())
    ))
}

fn product_data_len() -> usize {
    r#"{"productId":"p","x":""}"#.len()
}

fn texts<'b>(block: &'b Block, names: &[Name]) -> Vec<&'b str> {
    names.iter().map(|name| block.text(name)).collect()
}

#[test]
fn a_frame_is_exactly_the_contracts() {
    let mut builder = builder(1000);
    push(
        &mut builder,
        r#"{"type":"order:deleted","data":{ "orderId":"<1>","n":2.50 },"timestamp":5}"#,
        7,
    )
    .unwrap();
    push(&mut builder, &product(""), 18_446_744_073_709_551_615).unwrap();
    let block = finish(&mut builder);
    assert_eq!(
        std::str::from_utf8(payload(&block, &block.frames[0])).unwrap(),
        r#"{"id":"abc-7","type":"order:deleted","namespace":"orders","data":{ "orderId":"\u003c1\u003e","n":2.50 },"timestamp":5}"#
    );
    assert_eq!(
        std::str::from_utf8(payload(&block, &block.frames[1])).unwrap(),
        r#"{"id":"abc-18446744073709551615","type":"product:deleted","namespace":"products","data":{"productId":"p"},"timestamp":1700000000123}"#
    );
    assert_eq!((block.first_id(), block.last_id()), (7, u64::MAX));
}

#[test]
fn frames_lie_end_to_end() {
    let mut builder = builder(1 << 20);
    let sizes = [
        30, 125, 126, 127, 200, 65_400, 65_420, 65_436, 65_440, 65_536, 70_000,
    ];
    for (id, size) in sizes.into_iter().enumerate() {
        push(&mut builder, &product_of(size), id as u64).unwrap();
    }
    let len = builder.len_bytes();
    let block = finish(&mut builder);
    let mut end = 0;
    for frame in &block.frames {
        assert_eq!(frame.start, end);
        end = frame.end;
        serde_json::from_slice::<Value>(payload(&block, frame)).unwrap();
    }
    assert_eq!((end as usize, block.bytes.len()), (len, len));
}

#[test]
fn header_lengths_change_where_the_rfc_says() {
    for (len, header_len) in [
        (0, 2),
        (125, 2),
        (126, 4),
        (65_535, 4),
        (65_536, 10),
        (1 << 20, 10),
    ] {
        let (header, written) = text_frame_header(len);
        let mut cursor = Cursor::new(&header[..written]);
        let parsed = FrameHeader::parse(&mut cursor).unwrap().unwrap();
        assert_eq!((written, parsed.1), (header_len, len as u64));
    }
}

#[test]
fn a_frame_may_be_one_kib_over_the_longest_line() {
    let empty_payload = {
        let mut builder = builder(10_000);
        push(&mut builder, &product(r#","x":"""#), 1).unwrap();
        let block = finish(&mut builder);
        payload(&block, &block.frames[0]).len()
    };
    let mut builder = builder(1000);
    push(&mut builder, &product("").replace(r#""p""#, r#""q""#), 1).unwrap();
    let before = builder.len_bytes();
    let line = |payload_len: usize| {
        product(&format!(
            r#","x":"{}""#,
            "y".repeat(payload_len - empty_payload)
        ))
    };
    let refusal = push(&mut builder, &line(2025), 2).unwrap_err();
    assert_eq!((refusal.code, refusal.field), (Code::TooLarge, None));
    // Escapes count as they are sent.
    let growing = product(&format!(r#","x":"{}""#, "<".repeat(400)));
    assert_eq!(
        push(&mut builder, &growing, 2).unwrap_err().code,
        Code::TooLarge
    );
    assert_eq!(builder.len_bytes(), before);
    push(&mut builder, &line(2024), 2).unwrap();
    let block = finish(&mut builder);
    assert_eq!(block.frames.len(), 2);
    assert_eq!(payload(&block, &block.frames[1]).len(), 2024);
}

#[test]
fn what_is_around_the_data_is_no_more_than_is_reckoned_with() {
    let mut builder = BlockBuilder::new(Epoch(u64::MAX), NameHasher::default(), 1000);
    for kind in EventType::ALL {
        let event = Event {
            kind,
            data: b"{}",
            timestamp: Some(u64::MAX),
            key: None,
            customer: None,
            targets: &Targets::default(),
        };
        builder.push(&event, u64::MAX, NOW).unwrap();
    }
    let block = finish(&mut builder);
    for frame in &block.frames {
        assert!(payload(&block, frame).len() <= b"{}".len() + AROUND_DATA_MAX);
    }
}

#[test]
fn names_belong_to_their_frames() {
    let hasher = NameHasher::default();
    let mut builder = BlockBuilder::new(EPOCH, hasher.clone(), 1000);
    let line = |to: &str| {
        format!(r#"{{"type":"order:deleted","data":{{"orderId":"1","customerId":"c"}},"to":{to}}}"#)
    };
    push(
        &mut builder,
        &line(
            r#"{"owners":["o"],"userIds":["u","v"],"excludeUserIds":["x"],"excludeSessionId":"s"}"#,
        ),
        1,
    )
    .unwrap();
    push(&mut builder, &product(""), 2).unwrap();
    push(
        &mut builder,
        &line(r#"{"excludeUserIds":["é","y"],"roles":["admin"]}"#),
        3,
    )
    .unwrap();
    let block = finish(&mut builder);
    let [full, plain, other] = &block.frames[..] else {
        panic!("three frames");
    };
    assert_eq!(texts(&block, block.owners(full)), ["o", "c", "u", "v"]);
    assert_eq!(texts(&block, block.users(full)), ["u", "v"]);
    assert_eq!(texts(&block, block.excluded(full)), ["x"]);
    let session = block.session(full).unwrap();
    assert_eq!((block.text(session), session.hash), ("s", hasher.hash("s")));
    assert!(full.users_narrow);

    assert!(block.owners(plain).is_empty() && block.users(plain).is_empty());
    assert!(block.excluded(plain).is_empty() && block.session(plain).is_none());
    assert_eq!(
        (plain.roles, plain.users_narrow, plain.kind),
        (RoleMask::ALL, false, EventType::ProductDeleted)
    );

    assert_eq!(texts(&block, block.owners(other)), ["c"]);
    assert_eq!(texts(&block, block.excluded(other)), ["é", "y"]);
    assert!(block.session(other).is_none() && !other.users_narrow);
    assert_eq!(block.excluded(other)[0].hash, hasher.hash("é"));
    assert_ne!(hasher.hash("é"), hasher.hash("e"));
}

#[test]
fn a_builder_begins_anew_after_each_block() {
    let mut builder = builder(1000);
    assert!(builder.is_empty());
    builder.reserve(500);
    push(&mut builder, &product(""), 1).unwrap();
    assert!(!builder.is_empty());
    let received = Instant::now();
    let first = builder.finish(received, 3);
    assert_eq!((first.received, first.online), (received, 3));
    assert!(builder.is_empty() && builder.len_bytes() == 0);
    push(&mut builder, &product(""), 2).unwrap();
    let second = finish(&mut builder);
    assert_eq!(
        (first.frames.len(), second.frames.len(), second.first_id()),
        (1, 1, 2)
    );
    let named = r#"{"type":"order:deleted","data":{"orderId":"1","customerId":"c"}}"#;
    for id in [3, 4] {
        push(&mut builder, named, id).unwrap();
        let block = finish(&mut builder);
        assert_eq!((block.names.len(), &*block.text), (1, "c"));
    }
    let empty = finish(&mut builder);
    assert_eq!(
        (empty.first_id(), empty.last_id(), empty.bytes.len()),
        (0, 0, 0)
    );
}

#[test]
fn hot_types_stay_small() {
    assert_eq!(size_of::<Frame>(), 40);
    assert_eq!(size_of::<Name>(), 16);
}

proptest! {
    #[test]
    fn any_event_arrives_as_it_was_sent(
        texts in prop::collection::vec(("[a-z<&]{1,8}", "([<>&\u{2028}\u{2029}\"é]|.){0,200}"), 0..5),
        timestamp in prop::option::of(0u64..1 << 53), id: u64,
    ) {
        let mut data = json!({"productId": "p"});
        for (name, text) in &texts {
            data[name] = json!(text);
        }
        data["productId"] = json!("p");
        let mut line = json!({"type": "product:deleted", "data": data});
        if let Some(timestamp) = timestamp {
            line["timestamp"] = json!(timestamp);
        }
        let mut builder = builder(1 << 20);
        push(&mut builder, &line.to_string(), id).unwrap();
        let block = finish(&mut builder);
        let text = std::str::from_utf8(payload(&block, &block.frames[0])).unwrap();
        let unsafe_left = text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']);
        prop_assert!(!unsafe_left);
        let expected = json!({
            "id": super::super::id::format_id(EPOCH, id), "type": "product:deleted", "namespace": "products",
            "data": data, "timestamp": timestamp.unwrap_or(NOW),
        });
        prop_assert_eq!(serde_json::from_str::<Value>(text).unwrap(), expected);
    }
}
