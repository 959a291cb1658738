//! Other ids for the events of a block: a copy of its bytes, and not another serialization.
//!
//! Events of several hosts are numbered by Redis, so that they get their ids after their frames are made;
//! and where a host delivers alone ([`super::position`]), one event has several ids, by what its
//! receiver has had beside. Called by the cluster's reader, the router and replays. Pure.

use memchr::{memchr, memrchr};

use super::block::{Block, Frame, Name, Naming, Origin, text_frame_header};
use super::id::{Epoch, IdPrefix};
use super::position::{Mark, put_beside};
use super::stored::NoBlock;

/// The block with other ids: those of `epoch` from `first` on. Events whose place `is_left_out` are
/// left out and get none; if that is so of all there is no block.
///
/// # Errors
/// If a frame is not as a block builder lays it out.
pub fn renumber(
    block: Block,
    epoch: Epoch,
    first: u64,
    is_left_out: impl Fn(u32) -> bool,
) -> Result<Option<Block>, NoBlock> {
    let prefix = IdPrefix::new(epoch);
    rename(block, first, is_left_out, |number, _, out| {
        prefix.put_id(number, out);
    })
}

/// The block for those who have had these events beside the common order. `height` is what the id of the
/// event before ends in, and then that of its last one.
///
/// # Errors
/// As [`renumber`].
pub fn with_marks(block: Block, marks: &[Mark], height: &mut u64) -> Result<Block, NoBlock> {
    let first = block.first_id();
    let marked = rename(
        block,
        first,
        |_| false,
        |number, id, out| {
            *height = next_height(id, *height);
            put_marked(id, number, marks, *height, out);
        },
    )?;
    let block = marked.ok_or(NoBlock("it has no events"))?;
    Ok(Block {
        naming: Naming::Marked,
        ..block
    })
}

/// The block as this host delivers it alone, to those who are behind the event `behind` of the common
/// order; `height` as in [`with_marks`]. Its events are numbered by their places in the batch, from 1 on.
///
/// # Errors
/// As [`renumber`].
pub fn delivered_alone(
    block: Block,
    epoch: Epoch,
    behind: u64,
    height: &mut u64,
    origin: Origin,
) -> Result<Block, NoBlock> {
    let mut opening = Vec::new();
    IdPrefix::new(epoch).put_id(behind, &mut opening);
    let renamed = rename(
        block,
        1,
        |_| false,
        |number, _, out| {
            *height += 1;
            out.extend_from_slice(&opening);
            // A block has fewer than 2^32 frames.
            let own = origin.mark(number as usize - 1);
            put_beside(&[], Some(own), *height, out);
        },
    )?;
    let block = renamed.ok_or(NoBlock("it has no events"))?;
    Ok(Block {
        naming: Naming::Alone,
        origin: Some(origin),
        ..block
    })
}

/// What an event's id ends in for somebody who has had one that ended in `height`, from one of its ids.
pub fn next_height(id: &[u8], height: u64) -> u64 {
    height_of(id).max(height + 1)
}

/// What an id ends in.
pub fn height_of(id: &[u8]) -> u64 {
    let digits = memrchr(b'-', id).map_or(id, |hyphen| &id[hyphen + 1..]);
    let digits = std::str::from_utf8(digits).ok();
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Appends the id of the event of the common order with this number, with what was had beside it, from one
/// of its ids.
pub fn put_marked(id: &[u8], number: u64, marks: &[Mark], height: u64, out: &mut Vec<u8>) {
    put_number(id, number, out);
    if !marks.is_empty() || height != number {
        put_beside(marks, None, height, out);
    }
}

/// Appends the id of an event that a host delivers alone, `own`, for somebody who is behind `number` and
/// has had these beside, from one of its ids.
pub fn put_alone(
    id: &[u8],
    number: u64,
    marks: &[Mark],
    own: Mark,
    height: u64,
    out: &mut Vec<u8>,
) {
    put_number(id, number, out);
    put_beside(marks, Some(own), height, out);
}

/// Appends epoch and number; the epoch is this id's.
fn put_number(id: &[u8], number: u64, out: &mut Vec<u8>) {
    let epoch = memchr(b'-', id).map_or(0, |hyphen| hyphen + 1);
    out.extend_from_slice(&id[..epoch]);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a frame with another id, which is made of the one that it has. False: it is not as a block
/// builder lays it out, and nothing was appended.
pub fn put_renamed(
    frame: &[u8],
    put_id: impl FnOnce(&[u8], &mut Vec<u8>),
    out: &mut Vec<u8>,
) -> bool {
    let Some((id, rest)) = split(frame) else {
        return false;
    };
    // The header depends on the length: its room is made when that is known.
    let start = out.len();
    out.extend_from_slice(OPENING);
    put_id(id, out);
    out.extend_from_slice(rest);
    let (header, header_len) = text_frame_header(out.len() - start);
    out.splice(start..start, header[..header_len].iter().copied());
    true
}

/// The id in a frame; none if it is not as a block builder lays it out.
pub fn id_of(frame: &[u8]) -> Option<&str> {
    let (id, _) = split(frame)?;
    std::str::from_utf8(id).ok()
}

fn rename(
    block: Block,
    first: u64,
    is_left_out: impl Fn(u32) -> bool,
    mut put_id: impl FnMut(u64, &[u8], &mut Vec<u8>),
) -> Result<Option<Block>, NoBlock> {
    // Every id may be longer than the one it takes the place of: sixteen digits against one.
    let mut bytes = Vec::with_capacity(block.bytes.len() + block.frames.len() * 16);
    let mut frames = Vec::with_capacity(block.frames.len());
    let mut opening = Vec::new();
    for (place, frame) in (0..).zip(&block.frames) {
        if is_left_out(place) {
            continue;
        }
        let id = first + frames.len() as u64;
        let (old_id, rest) = split(&block.bytes[frame.start as usize..frame.end as usize])
            .ok_or(NoBlock("a frame does not begin with its id"))?;
        opening.clear();
        opening.extend_from_slice(OPENING);
        put_id(id, old_id, &mut opening);
        let (header, header_len) = text_frame_header(opening.len() + rest.len());
        let start = bytes.len() as u32;
        bytes.extend_from_slice(&header[..header_len]);
        bytes.extend_from_slice(&opening);
        bytes.extend_from_slice(rest);
        let end = u32::try_from(bytes.len()).map_err(|_| NoBlock("it is too long"))?;
        frames.push(Frame {
            id,
            start,
            end,
            ..*frame
        });
    }
    if frames.is_empty() {
        return Ok(None);
    }
    let is_whole = frames.len() == block.frames.len();
    let (names, text) = if is_whole {
        (block.names, block.text)
    } else {
        names_of(&mut frames, &block.names, &block.text)
    };
    Ok(Some(Block {
        bytes: bytes.into(),
        frames: frames.into(),
        names,
        text,
        ..block
    }))
}

/// The names of these frames alone, out of those of all. A block that is read has no others.
fn names_of(frames: &mut [Frame], names: &[Name], text: &str) -> (Box<[Name]>, Box<str>) {
    let (mut kept, mut kept_text) = (Vec::new(), String::new());
    for frame in frames {
        let names_start = kept.len() as u32;
        let end = frame.excluded_end + u32::from(frame.has_session);
        for name in &names[frame.names_start as usize..end as usize] {
            let start = kept_text.len() as u32;
            kept_text.push_str(&text[name.start as usize..][..usize::from(name.len)]);
            kept.push(Name { start, ..*name });
        }
        let moved = |place: u32| place - frame.names_start + names_start;
        *frame = Frame {
            users_start: moved(frame.users_start),
            owners_end: moved(frame.owners_end),
            excluded_end: moved(frame.excluded_end),
            names_start,
            ..*frame
        };
    }
    (kept.into(), kept_text.into())
}

/// What a payload begins with, before its id.
const OPENING: &[u8] = b"{\"id\":\"";

/// The id in a frame, and what follows it.
fn split(frame: &[u8]) -> Option<(&[u8], &[u8])> {
    let header_len = match *frame.get(1)? {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let id = frame.get(header_len..)?.strip_prefix(OPENING)?;
    Some(id.split_at(memchr(b'"', id)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::block::tests::block_of;

    const PLAIN: &str = r#"{"type":"product:deleted","data":{"productId":"p1"}}"#;

    fn long() -> String {
        format!(
            r#"{{"type":"product:deleted","data":{{"productId":"p2","x":"{}"}}}}"#,
            "y".repeat(70_000)
        )
    }

    fn payload(block: &Block, frame: &Frame) -> serde_json::Value {
        let sent = &block.bytes[frame.start as usize..frame.end as usize];
        payload_of(sent)
    }

    fn payload_of(sent: &[u8]) -> serde_json::Value {
        let header = match sent[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let (expected, len) = text_frame_header(sent.len() - header);
        assert_eq!(sent[..header], expected[..len]);
        serde_json::from_slice(&sent[header..]).unwrap()
    }

    #[test]
    fn other_ids_make_other_frames_that_say_the_same() {
        let long = long();
        let lines = [PLAIN, &long, PLAIN, PLAIN];
        let left_out = |place| place == 2;
        let first = 1_800_000_000_000_000;
        let block = renumber(
            Arc::into_inner(block_of(&lines)).unwrap(),
            Epoch(0xc1),
            first,
            left_out,
        );
        let block = block.unwrap().unwrap();
        assert_eq!(block.frames.len(), 3);
        assert_eq!(block.last_id(), first + 2);
        for (frame, line) in block.frames.iter().zip([PLAIN, &long, PLAIN]) {
            let payload = payload(&block, frame);
            assert_eq!(payload["id"], format!("c1-{}", frame.id));
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(payload["data"], line["data"]);
        }
        let none = renumber(block, Epoch(0xc1), 1, |_| true).unwrap();
        assert!(none.is_none());
    }

    #[test]
    fn ids_tell_what_was_had_beside() {
        let (long, host) = (long(), 0x9f);
        let lines = [PLAIN, &long];
        let plain = Arc::into_inner(block_of(&lines)).unwrap();
        let plain = renumber(plain, Epoch(0xc1), 70, |_| false)
            .unwrap()
            .unwrap();
        let origin = Origin::new(host, 5, []);
        let mut height = 69;
        let alone = delivered_alone(plain.clone(), Epoch(0xc1), 69, &mut height, origin).unwrap();
        let ids = |block: &Block| -> Vec<String> {
            let ids = block
                .frames
                .iter()
                .map(|frame| payload(block, frame)["id"].clone());
            ids.map(|id| id.as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(ids(&alone), ["c1-69+9f.5.1-70", "c1-69+9f.5.2-71"]);
        assert_eq!((height, alone.height()), (71, 71));
        let mark = alone.last_mark().unwrap();
        let marked = with_marks(plain, &[mark], &mut height).unwrap();
        assert_eq!(ids(&marked), ["c1-70~9f.5.2-72", "c1-71~9f.5.2-73"]);
        assert_eq!((marked.first_id(), marked.height()), (70, 73));
        // For one who has had others.
        let other = Mark {
            host: 0xab,
            batch: 1,
            place: 1,
        };
        let renamed = |block: &Block, put: &dyn Fn(&[u8], &mut Vec<u8>)| {
            let (frame, mut sent) = (&block.frames[1], Vec::new());
            let frame = &block.bytes[frame.start as usize..frame.end as usize];
            assert!(put_renamed(frame, put, &mut sent));
            payload_of(&sent)["id"].clone()
        };
        let put =
            |id: &[u8], out: &mut Vec<u8>| put_marked(id, 71, &[other], next_height(id, 80), out);
        assert_eq!(renamed(&marked, &put), "c1-71~ab.1.1-81");
        let put = |id: &[u8], out: &mut Vec<u8>| put_marked(id, 71, &[], 71, out);
        assert_eq!(renamed(&marked, &put), "c1-71");
        let put = |id: &[u8], out: &mut Vec<u8>| {
            put_alone(id, 80, &[other], mark, next_height(id, 5), out);
        };
        assert_eq!(renamed(&alone, &put), "c1-80~ab.1.1+9f.5.2-71");
        assert!(!put_renamed(b"\x81\x02{}", |_, _| {}, &mut Vec::new()));
    }
}
