//! An entry of the stream that hosts share: whatever stands in it, it is passed over with a sentence, or its events have the
//! numbers that it says, and are written back alike.

use std::time::Instant;

use shopwire::cluster::entry::{Entry, Found, Kind, Lexicons, Value, disconnect_body, put_events};
use shopwire::event::stored::Lexicon;
use shopwire::event::{Block, NameHasher};

/// The id in the first line, then `field=value` in lines, and behind `b=` the body up to the end.
pub fn holds(input: &[u8]) {
    let Some((id, fields)) = cut(input, b'\n') else {
        return;
    };
    let Ok(found) = Found::read(Value::Array(vec![text(id), Value::Array(values(fields))])) else {
        return;
    };
    let Ok(entry) = found.entry else {
        return;
    };
    let numbers = entry.receipt.first..=entry.number;
    assert!(!numbers.is_empty());
    let repeats = &entry.receipt.repeats;
    assert!(repeats.is_sorted_by(|one, next| one.0 < next.0));
    assert_eq!(entry.lost_to().is_some(), entry.kind == Some(Kind::Reset));
    check_selector(&entry);
    let Some(block) = block_of(&entry) else {
        return;
    };
    // What has been had with each of them: places rise, and are the batch's.
    let places = block.origin.iter().flat_map(|origin| {
        assert_eq!(origin.batch, entry.receipt.batch);
        (0..block.frames.len()).map(|index| origin.mark(index).place)
    });
    assert!(places.is_sorted_by(|one, next| one < next));
    // The events that are no repeats, one number after the other.
    let given: Vec<u64> = block.frames.iter().map(|frame| frame.id).collect();
    assert!(given.iter().copied().eq(numbers));
    for frame in &block.frames {
        let bytes = &block.bytes[frame.start as usize..frame.end as usize];
        let named = format!("{{\"id\":\"c1-{}\"", frame.id);
        assert!(
            bytes
                .windows(named.len())
                .any(|part| part == named.as_bytes())
        );
    }
    check_written_back(&entry, &block);
}

fn values(mut fields: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while let Some((name, behind)) = cut(fields, b'=') {
        let (value, rest) = match name {
            b"b" => (behind, &[][..]),
            _ => cut(behind, b'\n').unwrap_or((behind, &[])),
        };
        values.extend([text(name), text(value)]);
        fields = rest;
    }
    values
}

fn cut(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = bytes.iter().position(|&byte| byte == at)?;
    Some((&bytes[..place], &bytes[place + 1..]))
}

fn text(bytes: &[u8]) -> Value {
    Value::BulkString(bytes.to_vec())
}

fn block_of(entry: &Entry) -> Option<Block> {
    entry.lexicon().ok()?;
    let (lexicon, hasher) = (Lexicon::own(), NameHasher::fixed());
    entry.block(&lexicon, &hasher, Instant::now(), 0).ok()?
}

fn check_selector(entry: &Entry) {
    let Some(selector) = entry.selector() else {
        return;
    };
    let body = disconnect_body(&selector).unwrap();
    let again = Entry {
        body,
        ..blank(entry)
    };
    assert_eq!(again.selector(), Some(selector));
}

fn check_written_back(entry: &Entry, block: &Block) {
    let mut body = Vec::new();
    put_events(block, Lexicons::own().0, &mut body);
    let again = block_of(&Entry {
        body,
        ..blank(entry)
    })
    .unwrap();
    assert_eq!(again.bytes, block.bytes);
    assert_eq!(again.frames.len(), block.frames.len());
}

/// One with the same numbers, of which none is a repeat.
fn blank(entry: &Entry) -> Entry {
    let mut receipt = entry.receipt.clone();
    receipt.repeats.clear();
    Entry {
        number: entry.number,
        before: entry.before,
        kind: entry.kind,
        host: Vec::new(),
        receipt,
        online: None,
        body: Vec::new(),
    }
}
