//! The outbox against a socket that takes what it likes, and conflation against a plain model.

#![allow(clippy::unwrap_used)]

mod random;

use std::sync::Arc;

use super::*;
use crate::event::Block;
use crate::reactor::directory::tests::Bench;

/// A socket that takes so many bytes and then blocks.
#[derive(Default)]
struct Socket {
    room: usize,
    got: Vec<u8>,
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = bytes.len().min(self.room);
        self.room -= count;
        self.got.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Socket {
    /// Takes `room` bytes more.
    fn take(&mut self, room: usize, outbox: &mut Outbox, backlog: &mut Backlog) -> bool {
        self.room = room;
        outbox.flush(self, backlog).unwrap()
    }
}

fn frame(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    crate::wire::frame::put_frame(crate::wire::Opcode::Text, &vec![b'x'; length], &mut bytes);
    bytes
}

fn price(product: &str, pad: usize) -> String {
    let pad = "x".repeat(pad);
    format!(
        r#"{{"type":"product:price_changed","data":{{"pad":"{pad}","x":{{"productId":"not this"}},"productId":"{product}","productName":"","sku":"","oldPrice":1,"newPrice":2,"changePercentage":1}}}}"#
    )
}

fn stock(product: &str, pad: usize) -> String {
    let pad = "x".repeat(pad);
    format!(
        r#"{{"type":"inventory:updated","data":{{"productId":"{product}","productName":"{pad}","sku":"","oldStock":1,"newStock":1,"difference":0}}}}"#
    )
}

fn deleted(product: &str, pad: usize) -> String {
    let pad = "x".repeat(pad);
    format!(r#"{{"type":"product:deleted","data":{{"productId":"{product}","pad":"{pad}"}}}}"#)
}

/// The payloads of the frames in `bytes`.
fn payloads(bytes: &[u8]) -> Vec<serde_json::Value> {
    let mut rest = bytes;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (header, payload) = lengths(rest);
        found.push(serde_json::from_slice(&rest[header..header + payload]).unwrap());
        rest = &rest[header + payload..];
    }
    found
}

/// What a client reads, in short: an event's number, or how many were dropped, negative.
fn short(bytes: &[u8]) -> Vec<i64> {
    let number = |id: &str| id.rsplit_once('-').unwrap().1.parse().unwrap();
    payloads(bytes)
        .iter()
        .map(|message| match message["id"].as_str() {
            Some(id) => number(id),
            None => -message["data"]["dropped"].as_i64().unwrap(),
        })
        .collect()
}

/// An outbox in which events of these lines wait, conflated over `threshold` bytes.
fn waiting(lines: &[String], threshold: usize) -> (Outbox, Backlog, Arc<Block>) {
    let block = Bench::new().block(lines);
    let (mut outbox, mut backlog) = (Outbox::default(), Backlog::default());
    outbox.push_newest(&block.bytes, 0..block.bytes.len(), threshold, &mut backlog);
    (outbox, backlog, block)
}

/// All that is left, as the client reads it; afterwards nothing is held.
fn read_all(mut outbox: Outbox, mut backlog: Backlog) -> Vec<i64> {
    let mut socket = Socket::default();
    assert!(socket.take(usize::MAX, &mut outbox, &mut backlog));
    outbox.let_go(&mut backlog);
    assert_eq!(backlog.held(), 0);
    short(&socket.got)
}

/// `limits.rs` counts on it.
#[test]
fn a_piece_is_small() {
    assert!(size_of::<Piece>() <= 40, "{}", size_of::<Piece>());
}

#[test]
fn bytes_come_out_in_order_however_the_socket_takes_them() {
    let frames = [frame(5), frame(200), frame(70_000), frame(0), frame(126)];
    let whole: Vec<u8> = frames.concat();
    for room in [1, 2, 3, 7, 100, 1000, 100_000] {
        let (mut outbox, mut backlog) = (Outbox::default(), Backlog::default());
        for (index, bytes) in frames.iter().enumerate() {
            if index % 2 == 0 {
                let source = Bytes::from(bytes.clone());
                outbox.push(&source, 0..bytes.len(), &mut backlog);
            } else {
                outbox.push_answer(bytes, &mut backlog);
            }
        }
        let mut socket = Socket::default();
        while !socket.take(room, &mut outbox, &mut backlog) {
            assert_eq!(outbox.length, whole.len() - socket.got.len());
        }
        assert!(socket.got == whole, "{room}");
        assert_eq!(outbox.answers(), 0);
        outbox.let_go(&mut backlog);
        assert_eq!(backlog.held(), 0, "{room}");
    }
}

#[test]
fn only_what_is_behind_the_frame_being_written_counts() {
    let (mut outbox, mut backlog) = (Outbox::default(), Backlog::default());
    outbox.push_answer(&frame(70_000), &mut backlog);
    assert_eq!(outbox.waiting(), 0, "one single frame never counts");
    outbox.push_answer(&frame(100), &mut backlog);
    assert_eq!(outbox.waiting(), 102);
    let mut socket = Socket::default();
    socket.take(50_000, &mut outbox, &mut backlog);
    assert_eq!(
        outbox.waiting(),
        102,
        "the large one is still being written"
    );
    socket.take(20_010 + 1, &mut outbox, &mut backlog);
    assert_eq!(
        (outbox.length, outbox.waiting()),
        (101, 0),
        "now the small one is"
    );
}

#[test]
fn a_slice_does_not_hold_a_source_that_is_far_longer() {
    let block = Bytes::from(vec![0; 100_000]);
    let mut backlog = Backlog::default();
    let mut outbox = Outbox::default();
    outbox.push(&block, 10..200, &mut backlog);
    assert!(block.is_unique(), "it was copied");
    outbox.push(&block, 0..60_000, &mut backlog);
    assert!(!block.is_unique(), "it is shared");
    let long = Bytes::from(vec![0; 1_000_000]);
    outbox.push(&long, 0..20_000, &mut backlog);
    assert!(long.is_unique(), "it was copied");
}

#[test]
fn what_many_share_counts_once_and_what_each_copies_for_each() {
    let source = Bytes::from(frame(100_000));
    let mut backlog = Backlog::default();
    let mut boxes: Vec<Outbox> = (0..10).map(|_| Outbox::default()).collect();
    for outbox in &mut boxes {
        outbox.push(&source, 0..source.len(), &mut backlog);
        outbox.push(&source, 5..source.len(), &mut backlog);
    }
    let shared = backlog.held();
    assert!((100_000..110_000).contains(&shared), "{shared}");
    for outbox in &mut boxes {
        outbox.push(&source, 0..1000, &mut backlog);
    }
    assert!((10_000..12_000).contains(&(backlog.held() - shared)));
    let last = boxes.pop().unwrap();
    for outbox in boxes {
        outbox.let_go(&mut backlog);
    }
    assert!(
        (101_000..110_000).contains(&backlog.held()),
        "one still holds it"
    );
    assert_eq!(last.length(), 2 * source.len() - 5 + 1000);
    last.let_go(&mut backlog);
    assert_eq!(backlog.held(), 0);
    assert!(source.is_unique());
}

#[test]
fn who_is_always_a_little_behind_does_not_hold_more_and_more() {
    let (mut outbox, mut backlog) = (Outbox::default(), Backlog::default());
    let (one, mut socket) = (frame(300), Socket::default());
    let source = Bytes::from([frame(300), frame(10_000)].concat());
    outbox.push_answer(&frame(1000), &mut backlog);
    for _ in 0..10_000 {
        outbox.push(&source, 0..one.len(), &mut backlog);
        assert!(!socket.take(one.len(), &mut outbox, &mut backlog));
    }
    for _ in 0..10_000 {
        outbox.push_answer(&one, &mut backlog);
        assert!(!socket.take(one.len(), &mut outbox, &mut backlog));
    }
    assert!(outbox.length() < 2000);
    assert!(backlog.held() < 100_000, "{} bytes", backlog.held());
}

#[test]
fn newer_ones_of_a_product_take_the_place_of_older_ones_over_the_threshold_only() {
    let (a, b) = (price("a", 100), price("b", 100));
    let lines = [
        a.clone(),
        stock("a", 100),
        a.clone(),
        deleted("a", 100),
        b.clone(),
        a.clone(),
        stock("a", 100),
    ];
    let (outbox, backlog, _) = waiting(&lines, 1 << 20);
    assert_eq!(read_all(outbox, backlog), [1, 2, 3, 4, 5, 6, 7]);

    // All that wait give way to the newest of their product, and one notice tells of them.
    let (outbox, backlog, block) = waiting(&lines, 0);
    assert_eq!(backlog.conflated(), 3);
    assert_eq!(read_all(outbox, backlog), [-3, 4, 5, 6, 7]);

    // Behind the first wait three when the fifth comes: not yet too many.
    let three = block.frames[4].start - block.frames[1].start;
    let (outbox, backlog, _) = waiting(&lines, three as usize);
    assert_eq!(backlog.conflated(), 3);
    assert_eq!(read_all(outbox, backlog), [-3, 4, 5, 6, 7]);
}

#[test]
fn what_has_begun_to_be_written_stays_whole() {
    let lines = [price("a", 100), deleted("b", 100), price("a", 100)];
    let block = Bench::new().block(&lines);
    let end = |index: usize| block.frames[index].end as usize;
    for written in [0, 1, end(0) - 1, end(0), end(0) + 1] {
        let (mut outbox, mut backlog) = (Outbox::default(), Backlog::default());
        outbox.push_newest(&block.bytes, 0..end(1), 0, &mut backlog);
        let mut socket = Socket::default();
        socket.take(written, &mut outbox, &mut backlog);
        outbox.push_newest(&block.bytes, end(1)..end(2), 0, &mut backlog);
        socket.take(usize::MAX, &mut outbox, &mut backlog);
        let expected: &[i64] = match written {
            0 => &[-1, 2, 3],
            _ => &[1, 2, 3],
        };
        assert_eq!(short(&socket.got), expected, "{written} bytes were written");
    }
}

#[test]
fn an_outbox_may_begin_inside_a_frame() {
    let lines = [price("a", 500), price("a", 100), price("a", 100)];
    let block = Bench::new().block(&lines);
    let all = block.bytes.len();
    for written in 1..all {
        let (mut outbox, mut backlog) = (Outbox::default(), Backlog::default());
        outbox.begin_inside_frame(left_of_frame(&block.bytes, written, 0));
        outbox.push_newest(&block.bytes, written..all, 0, &mut backlog);
        let mut socket = Socket {
            got: block.bytes[..written].to_vec(),
            ..Socket::default()
        };
        assert!(socket.take(usize::MAX, &mut outbox, &mut backlog));
        let got = short(&socket.got);
        let whole = block.frames.iter().map(|each| each.end as usize);
        // Nothing waits behind the second when the third comes, unless the first is not yet whole.
        let expected: &[i64] = match whole.filter(|&end| end <= written).count() {
            0 => &[1, -1, 3],
            _ => &[1, 2, 3],
        };
        assert_eq!(got, expected, "{written} bytes were written");
    }
}

#[test]
fn a_notice_counts_until_it_is_being_written() {
    let a = |count| vec![price("a", 100); count];
    let block = Bench::new().block(&a(20));
    let (mut outbox, mut backlog) = (Outbox::default(), Backlog::default());
    let mut socket = Socket::default();
    let push = |range: Range<usize>, outbox: &mut Outbox, backlog: &mut Backlog| {
        let (first, last) = (&block.frames[range.start], &block.frames[range.end - 1]);
        let bytes = first.start as usize..last.end as usize;
        outbox.push_newest(&block.bytes, bytes, 0, backlog);
    };
    push(0..12, &mut outbox, &mut backlog);
    // The notice goes out, and a part of the event behind it.
    let written = block.frames[0].end as usize;
    socket.take(written, &mut outbox, &mut backlog);
    push(12..20, &mut outbox, &mut backlog);
    socket.take(usize::MAX, &mut outbox, &mut backlog);
    assert_eq!(short(&socket.got), [-11, 12, -7, 20]);
}

#[test]
fn a_stalled_reader_of_one_product_holds_little() {
    let block = Bench::new().block(&vec![stock("a", 100); 100]);
    let (mut outbox, mut backlog) = (Outbox::default(), Backlog::default());
    outbox.push_answer(&frame(5000), &mut backlog);
    for _ in 0..100 {
        let all = 0..block.bytes.len();
        outbox.push_newest(&block.bytes, all, 1000, &mut backlog);
    }
    assert!(outbox.length() < 7000, "{}", outbox.length());
    assert!(backlog.held() < 20_000, "{}", backlog.held());
    assert!(outbox.pieces.len() < 100, "gaps are swept up");
}

#[test]
fn a_product_is_what_the_payload_says_it_is() {
    let long = "p".repeat(100);
    let lines = [
        price("p-1", 0),
        stock("p-1", 0),
        price(r"p\u002d1", 0),
        price(&long, 0),
        deleted("p-1", 0),
        price("<", 0),
    ];
    let block = Bench::new().block(&lines);
    let products: Vec<Option<Product>> = block
        .frames
        .iter()
        .map(|each| Product::of(&block.bytes[each.start as usize..each.end as usize]))
        .collect();
    assert!(products[0].is_some() && products[0] == products[2]);
    assert_ne!(products[0], products[1], "stock and price are two things");
    assert!(products[3].is_some() && products[5].is_some());
    assert_eq!(products[4], None);
    assert_eq!(Product::of(&frame(50)), None);
    assert_eq!(Product::of(&[]), None);
}
