//! From a line to its frame: parsing and validating, and laying out blocks.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use shopwire::event::{
    Block, BlockBuilder, Epoch, Event, EventType, Line, NameHasher, Parser, Rules,
};

use super::{Work, lines};

const MAX_MESSAGE: usize = 1 << 20;
const NOW_MS: u64 = 1_700_000_000_000;

/// Parses and validates one line of this type.
pub fn parse(kind: EventType) -> Work {
    let line = lines::of(kind).as_bytes();
    let mut parser = parser();
    let event = event(&mut parser, line);
    assert_eq!(event.kind, kind);
    for field in kind.fields() {
        let data = String::from_utf8_lossy(event.data);
        assert!(data.contains(field.name), "{kind:?} lacks {}", field.name);
    }
    Box::new(move || {
        black_box(&parser.parse(black_box(line)));
    })
}

/// Makes a block of `events` orders that are parsed already.
pub fn encode(events: usize) -> Work {
    let parsed = parsed(orders(events));
    let mut builder = builder();
    let received = Instant::now();
    let mut work = move || {
        for (event, id) in black_box(&parsed).iter().zip(1..) {
            assert!(builder.push(event, id, NOW_MS).is_ok());
        }
        builder.finish(received, 0)
    };
    check_orders(&work(), events);
    Box::new(move || {
        black_box(work());
    })
}

/// Parses `events` lines and makes them a block: the router's part of a batch.
pub fn ingest(events: usize) -> Work {
    let lines = orders(events);
    let (mut parser, mut builder) = (parser(), builder());
    let received = Instant::now();
    let mut work = move || push_all(&mut parser, &mut builder, black_box(&lines), received);
    check_orders(&work(), events);
    Box::new(move || {
        black_box(work());
    })
}

/// The block of these lines.
pub fn block(lines: &[String]) -> Arc<Block> {
    push_all(&mut parser(), &mut builder(), lines, Instant::now())
}

/// A stream of so many blocks, each of these lines anew.
pub fn stream(lines: &[String], blocks: u64) -> Vec<Arc<Block>> {
    let parsed = parsed(lines.to_vec());
    let mut builder = builder();
    let received = Instant::now();
    let mut ids = 1..;
    let block = |_| {
        for (event, id) in parsed.iter().zip(&mut ids) {
            assert!(builder.push(event, id, NOW_MS).is_ok());
        }
        builder.finish(received, 0)
    };
    (0..blocks).map(block).collect()
}

/// The event of a line that is one.
pub fn event<'a>(parser: &'a mut Parser, line: &'a [u8]) -> Event<'a> {
    match parser.parse(line) {
        Ok(Line::Event(event)) => event,
        other => panic!("a benchmark's own line is no event: {other:?}"),
    }
}

/// A parser with the default rules.
pub fn parser() -> Parser {
    Parser::new(Rules {
        order_statuses: Vec::new(),
        max_message: MAX_MESSAGE,
    })
}

/// A builder that hashes names as the cases' directories do.
pub fn builder() -> BlockBuilder {
    BlockBuilder::new(Epoch::new(NOW_MS, 1), NameHasher::fixed(), MAX_MESSAGE)
}

/// The events of these lines.
fn parsed(lines: Vec<String>) -> Vec<Event<'static>> {
    // What an event borrows has to outlive it, and a benchmark's process is soon over.
    let leaked = |line: String| event(Box::leak(Box::new(parser())), line.leak().as_bytes());
    lines.into_iter().map(leaked).collect()
}

fn orders(events: usize) -> Vec<String> {
    (0..events)
        .map(|number| lines::order(number, number))
        .collect()
}

fn push_all(
    parser: &mut Parser,
    builder: &mut BlockBuilder,
    lines: &[String],
    received: Instant,
) -> Arc<Block> {
    for (line, id) in lines.iter().zip(1..) {
        let event = event(parser, line.as_bytes());
        assert!(builder.push(&event, id, NOW_MS).is_ok());
    }
    builder.finish(received, 0)
}

fn check_orders(block: &Block, events: usize) {
    assert_eq!(block.frames.len(), events);
    let last = &block.frames[events - 1];
    assert_eq!(last.end as usize, block.bytes.len());
    let frame = String::from_utf8_lossy(&block.bytes[last.start as usize..last.end as usize]);
    assert!(frame.contains(&format!("\"orderId\":\"ord-{}\"", events - 1)));
    let owner = &block.owners(last)[0];
    assert_eq!(block.text(owner), format!("cus-{}", events - 1));
}
