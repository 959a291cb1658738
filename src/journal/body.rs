//! What the records of events and of keys hold.
//!
//! ```text
//! events: time of the wall clock in ms  u64   all numbers little-endian
//!         the number up to which no event was waited for any more: they were safe, or not kept  u64
//!         keys  u32
//!         for each key: the number of its event  u64, its hash  u128
//!         the block, as crate::event::stored has it
//! keys:   for each: the number of its event  u64, the time in ms  u64, its hash  u128
//! ```
//!
//! Pure. A key is kept as its keyed hash, as in memory.

use bytes::{Buf, BufMut};

use crate::event::Block;
use crate::event::stored::{self, NoBlock};

const KEY: usize = 24;
const AGED_KEY: usize = 32;

/// A key that an event came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The number of the event.
    pub number: u64,
    /// Its hash.
    pub hash: u128,
}

/// A key and when it was used, in ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgedKey {
    /// The key.
    pub key: Key,
    /// When.
    pub wall_ms: u64,
}

/// Appends the body of a record of events, but for the frames themselves: [`Block::bytes`] must
/// follow.
pub fn put_events(wall_ms: u64, settled_to: u64, keys: &[Key], block: &Block, out: &mut Vec<u8>) {
    out.put_u64_le(wall_ms);
    out.put_u64_le(settled_to);
    // There are at most as many as frames, which are counted with 32 bits.
    out.put_u32_le(keys.len() as u32);
    for key in keys {
        out.put_u64_le(key.number);
        out.put_u128_le(key.hash);
    }
    stored::put_head(block, out);
}

/// A record of events.
pub struct Events<'a> {
    /// When they were written, in ms since 1970.
    pub wall_ms: u64,
    /// The number up to which no event was waited for any more: they were safe, or not kept.
    pub settled_to: u64,
    keys: &'a [u8],
    /// What [`stored::read`] reads.
    pub block: &'a [u8],
}

impl<'a> Events<'a> {
    /// Reads the body of a record of events, down to the block.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(mut body: &'a [u8]) -> Result<Events<'a>, NoBlock> {
        let wall_ms = body.try_get_u64_le()?;
        let settled_to = body.try_get_u64_le()?;
        let len = (body.try_get_u32_le()? as usize).checked_mul(KEY);
        let parts = len.and_then(|len| body.split_at_checked(len));
        let (keys, block) = parts.ok_or(NoBlock("it has fewer keys than it says"))?;
        Ok(Events {
            wall_ms,
            settled_to,
            keys,
            block,
        })
    }

    /// The keys that the events came with, in order.
    pub fn keys(&self) -> impl Iterator<Item = AgedKey> + use<'a> {
        let wall_ms = self.wall_ms;
        self.keys.chunks_exact(KEY).map(move |mut bytes| AgedKey {
            key: Key {
                number: bytes.get_u64_le(),
                hash: bytes.get_u128_le(),
            },
            wall_ms,
        })
    }
}

/// Appends a key to the body of a record of keys.
pub fn put_key(key: AgedKey, out: &mut Vec<u8>) {
    out.put_u64_le(key.key.number);
    out.put_u64_le(key.wall_ms);
    out.put_u128_le(key.key.hash);
}

/// The keys of such a record; what is left of a cut one at its end is passed over.
pub fn keys(body: &[u8]) -> impl Iterator<Item = AgedKey> + '_ {
    body.chunks_exact(AGED_KEY).map(|mut bytes| {
        let number = bytes.get_u64_le();
        let wall_ms = bytes.get_u64_le();
        AgedKey {
            key: Key {
                number,
                hash: bytes.get_u128_le(),
            },
            wall_ms,
        }
    })
}
