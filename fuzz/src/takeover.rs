//! What a process is handed by the one before it: whatever the bytes are, reading them ends, and what
//! could be read is written back as it was.

use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shopwire::event::NameHasher;
use shopwire::event::stored::Lexicon;
use shopwire::takeover::Hello;
use shopwire::takeover::state::{FromNew, FromOld, put_block, put_key, read_blocks, read_keys};

/// The first byte chooses what the rest is.
pub fn holds(input: &[u8]) {
    match input {
        [b'o', message @ ..] => reads_back::<FromOld>(message),
        [b'n', message @ ..] => reads_back::<FromNew>(message),
        [b'b', blocks @ ..] => check_blocks(blocks),
        [b'k', keys @ ..] => {
            let mut written = Vec::new();
            read_keys(keys).for_each(|key| put_key(key, &mut written));
            assert_eq!(written, keys[..keys.len() / 32 * 32]);
        }
        [b'h', line @ ..] => check_hello(line),
        _ => {}
    }
}

fn reads_back<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(message) = postcard::from_bytes::<T>(bytes) else {
        return;
    };
    // The bytes themselves may be another way of writing the same: numbers have several.
    let written = postcard::to_stdvec(&message).unwrap();
    let again = postcard::from_bytes::<T>(&written).unwrap();
    assert_eq!(postcard::to_stdvec(&again).unwrap(), written);
}

fn check_blocks(bytes: &[u8]) {
    let now = Instant::now();
    let read = |bytes: &[u8]| read_blocks(bytes, &Lexicon::own(), &NameHasher::fixed(), now);
    let Ok(blocks) = read(bytes) else {
        return;
    };
    let mut written = Vec::new();
    for block in &blocks {
        put_block(block, now, &mut written);
    }
    let again = read(&written).unwrap();
    assert_eq!(again.len(), blocks.len());
    for (one, other) in blocks.iter().zip(&again) {
        assert_eq!(
            (one.first_id(), one.last_id()),
            (other.first_id(), other.last_id())
        );
        assert_eq!((one.online, &one.bytes), (other.online, &other.bytes));
    }
}

/// One whose masks may mean something else is never taken over from.
fn check_hello(line: &[u8]) {
    let Ok(theirs) = serde_json::from_slice::<Hello>(line) else {
        return;
    };
    let mine: Hello = serde_json::from_str(HELLO).unwrap();
    let is_alike = (theirs.takeover, &theirs.words) == (mine.takeover, &mine.words)
        && (&theirs.place.host, theirs.place.port) == (&mine.place.host, mine.place.port)
        && theirs.place.journal == mine.place.journal;
    assert_eq!(mine.obstacle(&theirs).is_none(), is_alike);
}

const HELLO: &str = r#"{"takeover":1,"program":"shopwire","words":["order:created","admin","orders"],"place":{"host":"::","port":0,"socket":"/s","journal":"/j"}}"#;
