//! A block as it is kept outside of this process: bytes that a later run reads back.
//!
//! ```text
//! number of the first event  u64     all numbers little-endian
//! frames, names, bytes of the names' text, bytes of the frames  u32 each
//! for each frame: its end, owners, users and excluded users  u32 each
//!                 type, roles, flags, zero                   u8 each
//! for each name: its length  u16
//! the names' text, then the frames as browsers get them
//! ```
//!
//! Types and roles are numbers of a [`Lexicon`], which is kept beside the blocks by name: a later
//! version may count them otherwise. Hashes are not kept, they belong to a run. Written and read by
//! the journal and between hosts. Pure; whatever the bytes are, reading them ends in a block or an error.

use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, TryGetError};

use super::block::{Block, Frame, Name, NameHasher, Naming};
use super::catalogue::EventType;
use crate::access::{Role, RoleMask};

const HEAD: usize = 24;
const FRAME: usize = 20;
const USERS_NARROW: u8 = 1;
const HAS_SESSION: u8 = 2;

/// Bytes that are no block, with what is wrong about them.
#[derive(Debug, PartialEq, Eq)]
pub struct NoBlock(pub &'static str);

impl From<TryGetError> for NoBlock {
    fn from(_: TryGetError) -> NoBlock {
        NoBlock("it ends too early")
    }
}

/// Which numbers stand for which event types and roles.
#[derive(Debug, PartialEq, Eq)]
pub struct Lexicon {
    types: Vec<Option<EventType>>,
    roles: Vec<Option<Role>>,
}

impl Lexicon {
    /// The one of somebody who counts these names; what this version does not know has no meaning.
    pub fn of<'a>(
        types: impl IntoIterator<Item = &'a str>,
        roles: impl IntoIterator<Item = &'a str>,
    ) -> Lexicon {
        let role = |name: &str| Role::ALL.into_iter().find(|role| role.name() == name);
        Lexicon {
            types: types.into_iter().map(EventType::from_name).collect(),
            roles: roles.into_iter().map(role).collect(),
        }
    }

    /// This version's own.
    pub fn own() -> Lexicon {
        Lexicon::of(
            EventType::ALL.map(EventType::name),
            Role::ALL.map(Role::name),
        )
    }

    fn event_type(&self, number: u8) -> Result<EventType, NoBlock> {
        let found = self.types.get(usize::from(number)).copied().flatten();
        found.ok_or(NoBlock(
            "it has an event type that this version does not know",
        ))
    }

    fn roles(&self, bits: u8) -> RoleMask {
        let mut mask = RoleMask::EMPTY;
        for (bit, role) in self.roles.iter().enumerate().take(8) {
            if let Some(role) = role
                && bits & (1 << bit) != 0
            {
                mask.insert(*role);
            }
        }
        mask
    }
}

/// Appends `block`, but for the frames themselves: [`Block::bytes`] must follow.
pub fn put_head(block: &Block, out: &mut Vec<u8>) {
    out.reserve(head_len(block));
    out.put_u64_le(block.first_id());
    // A block's parts are built with 32-bit ends, so their lengths fit.
    out.put_u32_le(block.frames.len() as u32);
    out.put_u32_le(block.names.len() as u32);
    out.put_u32_le(block.text.len() as u32);
    out.put_u32_le(block.bytes.len() as u32);
    for frame in &block.frames {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.put_u32_le(frame.end);
        out.put_u32_le(frame.users_start - frame.names_start);
        out.put_u32_le(frame.owners_end - frame.users_start);
        out.put_u32_le(frame.excluded_end - frame.owners_end);
        out.put_u8(frame.kind as u8);
        out.put_u8(frame.roles.bits());
        out.put_u8(flag(frame.users_narrow, USERS_NARROW) | flag(frame.has_session, HAS_SESSION));
        out.put_u8(0);
    }
    for name in &block.names {
        out.put_u16_le(name.len);
    }
    out.put_slice(block.text.as_bytes());
}

/// The length of what [`put_head`] appends, in bytes.
pub fn head_len(block: &Block) -> usize {
    HEAD + block.frames.len() * FRAME + block.names.len() * 2 + block.text.len()
}

/// Reads a whole block; it counts as received at `received`, when nobody was online.
///
/// # Errors
/// If it is not what [`put_head`] and the frames make.
pub fn read(
    mut stored: &[u8],
    lexicon: &Lexicon,
    hasher: &NameHasher,
    received: Instant,
) -> Result<Block, NoBlock> {
    let stored = &mut stored;
    let (first, frame_count) = read_numbers(stored)?;
    let name_count = stored.try_get_u32_le()? as usize;
    let text_len = stored.try_get_u32_le()? as usize;
    let bytes_len = stored.try_get_u32_le()? as usize;
    let announced = [frame_count * FRAME, name_count * 2, text_len, bytes_len];
    if announced.iter().sum::<usize>() != stored.remaining() {
        return Err(NoBlock("its parts are not as long as it says"));
    }

    let mut frames = Vec::with_capacity(frame_count);
    let (mut start, mut names_start) = (0, 0);
    for id in (first..).take(frame_count) {
        let frame = read_frame(stored, lexicon, id, start, names_start)?;
        start = frame.end;
        names_start = frame.excluded_end + u32::from(frame.has_session);
        frames.push(frame);
    }
    if start as usize != bytes_len || names_start as usize != name_count {
        return Err(NoBlock("its frames are not all there"));
    }

    let (mut lengths, rest) = stored.split_at(name_count * 2);
    let (text, bytes) = rest.split_at(text_len);
    let text = std::str::from_utf8(text).map_err(|_| NoBlock("a name is not UTF-8"))?;
    let mut names = Vec::with_capacity(name_count);
    let mut at = 0;
    for _ in 0..name_count {
        let len = lengths.try_get_u16_le()?;
        let end = at + usize::from(len);
        let name = text.get(at..end).ok_or(NoBlock("a name is cut"))?;
        names.push(Name {
            hash: hasher.hash(name),
            start: at as u32,
            len,
        });
        at = end;
    }
    if at != text_len {
        return Err(NoBlock("the names are not all there"));
    }
    Ok(Block {
        received,
        online: 0,
        origin: None,
        naming: Naming::Plain,
        bytes: Bytes::copy_from_slice(bytes),
        frames: frames.into(),
        names: names.into(),
        text: text.into(),
    })
}

/// The number of the last event of a block, which [`read`] may not be able to read.
///
/// # Errors
/// If its head is none of a block.
pub fn last_id(mut stored: &[u8]) -> Result<u64, NoBlock> {
    let (first, frame_count) = read_numbers(&mut stored)?;
    Ok(first + frame_count as u64 - 1)
}

/// The number of the first event, and how many there are.
fn read_numbers(stored: &mut &[u8]) -> Result<(u64, usize), NoBlock> {
    let first = stored.try_get_u64_le()?;
    let frame_count = stored.try_get_u32_le()?;
    if frame_count == 0 || first == 0 || first.checked_add(frame_count.into()).is_none() {
        return Err(NoBlock("it has no events"));
    }
    Ok((first, frame_count as usize))
}

fn read_frame(
    stored: &mut &[u8],
    lexicon: &Lexicon,
    id: u64,
    start: u32,
    names_start: u32,
) -> Result<Frame, NoBlock> {
    let end = stored.try_get_u32_le()?;
    let mut bounds = [names_start; 3];
    let mut bound = names_start;
    for each in &mut bounds {
        let count = stored.try_get_u32_le()?;
        bound = bound
            .checked_add(count)
            .ok_or(NoBlock("it has more names than it says"))?;
        *each = bound;
    }
    let [users_start, owners_end, excluded_end] = bounds;
    let kind = lexicon.event_type(stored.try_get_u8()?)?;
    let roles = lexicon.roles(stored.try_get_u8()?);
    let flags = stored.try_get_u8()?;
    stored.try_get_u8()?;
    if end <= start || excluded_end == u32::MAX {
        return Err(NoBlock("a frame has no bytes"));
    }
    Ok(Frame {
        id,
        start,
        end,
        names_start,
        users_start,
        owners_end,
        excluded_end,
        kind,
        roles,
        users_narrow: flags & USERS_NARROW != 0,
        has_session: flags & HAS_SESSION != 0,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::event::block::tests::block_of;

    fn some_block() -> Arc<Block> {
        block_of(&[
            r#"{"type":"product:deleted","data":{"productId":"p1"}}"#,
            r#"{"type":"order:deleted","data":{"orderId":"o","customerId":"cüst"},"to":{"userIds":["u1","u2"],"owners":["o1"],"excludeUserIds":["x"],"excludeSessionId":"s","roles":["admin","customer"]}}"#,
            r#"{"type":"order:deleted","data":{"orderId":"o"},"to":{"excludeSessionId":"s2"}}"#,
        ])
    }

    fn store(block: &Block) -> Vec<u8> {
        let mut stored = Vec::new();
        put_head(block, &mut stored);
        assert_eq!(stored.len(), head_len(block));
        stored.extend_from_slice(&block.bytes);
        stored
    }

    fn texts<'a>(block: &'a Block, names: &[Name]) -> Vec<&'a str> {
        names.iter().map(|name| block.text(name)).collect()
    }

    #[test]
    fn a_block_reads_back_whole_with_hashes_of_the_reader_s() {
        let (block, hasher) = (some_block(), NameHasher::default());
        let read = read(&store(&block), &Lexicon::own(), &hasher, Instant::now()).unwrap();
        assert_eq!(read.bytes, block.bytes);
        assert_eq!(read.online, 0);
        assert_eq!(read.frames.len(), 3);
        for (there, here) in block.frames.iter().zip(&read.frames) {
            assert_eq!(
                (there.id, there.start, there.end, there.kind, there.roles),
                (here.id, here.start, here.end, here.kind, here.roles)
            );
            assert_eq!(there.users_narrow, here.users_narrow);
            for pick in [Block::owners, Block::users, Block::excluded] {
                let here = pick(&read, here);
                assert_eq!(texts(&block, pick(&block, there)), texts(&read, here));
                for name in here {
                    assert_eq!(name.hash, hasher.hash(read.text(name)));
                }
            }
            let session = |block: &Block, frame: &Frame| {
                block.session(frame).map(|name| block.text(name).to_owned())
            };
            assert_eq!(session(&block, there), session(&read, here));
        }
    }

    #[test]
    fn numbers_mean_what_the_writer_s_names_say() {
        let block = some_block();
        let mut types: Vec<&str> = EventType::ALL.map(EventType::name).to_vec();
        types.reverse();
        let mirrored = Lexicon::of(types.clone(), Role::ALL.map(Role::name));
        let hasher = NameHasher::default();
        let back = read(&store(&block), &mirrored, &hasher, Instant::now()).unwrap();
        let number = block.frames[0].kind as usize;
        assert_eq!(back.frames[0].kind.name(), types[number]);
        let unknown = Lexicon::of(["order:invented"; 30], Role::ALL.map(Role::name));
        assert_eq!(
            read(&store(&block), &unknown, &hasher, Instant::now()).unwrap_err(),
            NoBlock("it has an event type that this version does not know")
        );
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_reading_ends(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            let mut stored = store(&some_block());
            for (at, byte) in flips {
                let at = at.index(stored.len());
                stored[at] = byte;
            }
            if is_cut {
                stored.truncate(cut.index(stored.len()));
            }
            if let Ok(block) = read(&stored, &Lexicon::own(), &NameHasher::default(), Instant::now()) {
                for frame in &block.frames {
                    for name in block.owners(frame).iter().chain(block.excluded(frame)).chain(block.session(frame)) {
                        block.text(name);
                    }
                    prop_assert!(block.bytes.get(frame.start as usize..frame.end as usize).is_some());
                }
            }
        }
    }
}
