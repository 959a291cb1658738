//! A line of an emitter: what the parser says of it, the frame that is made of it, and that frame as
//! the journal keeps it.

use std::time::Instant;

use shopwire::event::stored::{self, Lexicon};
use shopwire::event::{
    Block, BlockBuilder, Code, Epoch, Event, Frame, Line, Name, NameHasher, Parser,
};

use super::judged::{Expected, Judged, LINE_MAX, judge, rules};
use super::strict_json::{self, Tree};

const NOW: u64 = 1_700_000_000_123;
/// What the server may add to a line.
const FRAME_EXTRA_MAX: usize = 1024;

/// What an emitter has sent before: nothing of it may be left.
const EARLIER: &str = r#"{"type":"order:deleted","data":{"orderId":"]}\"","customerId":"c","x":[{"a":[1,2]}]},"to":{"roles":["admin"],"userIds":["u"],"excludeSessionId":"s"},"key":"k","timestamp":1}"#;

pub fn holds(line: &[u8]) {
    let mut parser = Parser::new(rules());
    assert!(matches!(
        parser.parse(EARLIER.as_bytes()),
        Ok(Line::Event(_))
    ));
    let outcome = parser.parse(line);
    if line.len() > LINE_MAX {
        assert_eq!(outcome.unwrap_err().code, Code::TooLarge);
        return;
    }
    if line.iter().all(|byte| b" \t\r".contains(byte)) {
        assert!(matches!(outcome, Ok(Line::Blank)));
        return;
    }
    let read = strict_json::read(line);
    let judged = match &read {
        Ok(tree) => judge(tree),
        Err(_) => Err(Code::InvalidJson),
    };
    match (outcome, judged) {
        (Ok(Line::Event(event)), Ok(Judged::Event(expected))) => check_event(&event, &expected),
        (Ok(Line::Command), Ok(Judged::Command)) => {}
        (Err(refusal), Err(code)) => {
            assert_eq!(refusal.code, code, "{}: {read:?}", refusal.message);
            // It is shown to people, and logged.
            assert!(!refusal.message.chars().any(char::is_control), "{refusal}");
        }
        (outcome, judged) => panic!(
            "the parser says {outcome:?}, and the reference {:?} of {read:?}",
            judged.map(|_| "good")
        ),
    }
}

fn check_event(event: &Event<'_>, expected: &Expected<'_>) {
    assert_eq!(event.kind, expected.kind);
    assert_eq!(event.timestamp, expected.timestamp);
    assert_eq!(event.key, expected.key);
    assert_eq!(event.customer, expected.customer);
    assert_eq!(strict_json::read(event.data).unwrap(), *expected.data);
    let targets = event.targets;
    assert_eq!(targets.roles, expected.roles);
    assert_eq!(targets.users_narrow, expected.users.is_some());
    assert!(targets.owners().eq(expected.owners.iter().copied()));
    assert!(targets.users().eq(expected.users.iter().flatten().copied()));
    assert!(targets.excluded().eq(expected.excluded.iter().copied()));
    assert_eq!(targets.session(), expected.session);

    let hasher = NameHasher::fixed();
    let mut builder = BlockBuilder::new(Epoch(0xabc), hasher.clone(), LINE_MAX);
    let payload = payload_of(event, expected);
    let pushed = builder.push(event, 7, NOW);
    if payload.len() > LINE_MAX + FRAME_EXTRA_MAX {
        assert_eq!(pushed.unwrap_err().code, Code::TooLarge);
        assert!(builder.is_empty() && builder.len_bytes() == 0);
        return;
    }
    pushed.unwrap();
    // A second one, whose ranges begin behind those of the first.
    builder.push(event, 8, NOW).unwrap();
    let block = builder.finish(Instant::now(), 0);
    check_frame(&block, 0, &payload, expected);

    let mut kept = Vec::new();
    stored::put_head(&block, &mut kept);
    assert_eq!(kept.len(), stored::head_len(&block));
    kept.extend_from_slice(&block.bytes);
    let read = stored::read(&kept, &Lexicon::own(), &hasher, Instant::now()).unwrap();
    assert_eq!(read.bytes, block.bytes);
    assert_eq!(read.frames.len(), 2);
    for (number, payload) in [(0, payload.clone()), (1, payload.replace("abc-7", "abc-8"))] {
        check_frame(&read, number, &payload, expected);
    }
}

/// The payload as it has to be, written slowly.
fn payload_of(event: &Event<'_>, expected: &Expected<'_>) -> String {
    let mut data = std::str::from_utf8(event.data).unwrap().to_owned();
    for unsafe_char in ['<', '>', '&', '\u{2028}', '\u{2029}'] {
        data = data.replace(unsafe_char, &format!("\\u{:04x}", unsafe_char as u32));
    }
    format!(
        r#"{{"id":"abc-7","type":"{}","namespace":"{}","data":{data},"timestamp":{}}}"#,
        expected.kind.name(),
        expected.kind.namespace().name(),
        expected.timestamp.unwrap_or(NOW)
    )
}

fn check_frame(block: &Block, number: usize, payload: &str, expected: &Expected<'_>) {
    let frame: &Frame = &block.frames[number];
    assert_eq!(frame.id, 7 + number as u64);
    assert_eq!((frame.kind, frame.roles), (expected.kind, expected.roles));
    let bytes = &block.bytes[frame.start as usize..frame.end as usize];
    let text = unframed(bytes);
    assert_eq!(text, payload);
    assert!(!text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']));
    let tree = strict_json::read(text.as_bytes()).unwrap();
    assert_eq!(tree.get("data"), Some(expected.data));
    assert_eq!(
        tree.get("timestamp").and_then(Tree::number),
        Some(expected.timestamp.unwrap_or(NOW) as f64)
    );
    assert_eq!(
        shopwire::event::kind_of(text.as_bytes()),
        Some(expected.kind)
    );
    let texts = |names: &[Name]| -> Vec<String> {
        names
            .iter()
            .map(|name| block.text(name).to_owned())
            .collect()
    };
    assert_eq!(texts(block.owners(frame)), expected.owners);
    assert_eq!(frame.users_narrow, expected.users.is_some());
    assert_eq!(
        texts(block.users(frame)),
        expected.users.clone().unwrap_or_default()
    );
    assert_eq!(texts(block.excluded(frame)), expected.excluded);
    assert_eq!(
        block.session(frame).map(|name| block.text(name)),
        expected.session
    );
}

/// The text of a whole, final, unmasked text frame (RFC 6455 section 5.2).
fn unframed(frame: &[u8]) -> &str {
    let (len, payload) = match frame {
        [0x81, 127, rest @ ..] => {
            let (len, rest) = rest.split_first_chunk().unwrap();
            (u64::from_be_bytes(*len), rest)
        }
        [0x81, 126, rest @ ..] => {
            let (len, rest) = rest.split_first_chunk().unwrap();
            (u16::from_be_bytes(*len).into(), rest)
        }
        [0x81, len, rest @ ..] => ((*len).into(), rest),
        _ => panic!("no text frame: {frame:x?}"),
    };
    assert_eq!(payload.len() as u64, len);
    std::str::from_utf8(payload).unwrap()
}
