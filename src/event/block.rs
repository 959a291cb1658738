//! Events → frames: each event becomes one whole WebSocket frame, and the frames of a batch lie end
//! to end in one block.
//!
//! The router builds blocks; the reactors share them by `Arc`, send their bytes as they lie, keep
//! them as history, and decide by each frame's masks and names who gets it. Nothing is serialized
//! or copied again after this.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use foldhash::fast::SeedableRandomState;
use memchr::memchr;

use super::catalogue::EventType;
use super::id::Epoch;
use super::parse::Event;
use super::position::Mark;
use super::refusal::Refusal;
use super::renaming::{height_of, id_of};
use super::safe_text;
use crate::access::RoleMask;

/// How much larger than the largest line a frame's payload may be, in bytes: what the server adds.
pub const FRAME_EXTRA_MAX: usize = 1024;

/// At most so many bytes of a frame's payload are not the event's data: id, type, namespace and time.
const AROUND_DATA_MAX: usize = 256;

/// Holds the frame of an event against what may be, before it has an id.
///
/// # Errors
/// `too_large`, as [`BlockBuilder::push`], and for those that are so close to it that their id decides.
pub fn check_frame(event: &Event<'_>, max_message: usize) -> Result<(), Refusal> {
    let payload_len = safe_text::escaped_len(event.data).saturating_add(AROUND_DATA_MAX);
    let payload_max = max_message.saturating_add(FRAME_EXTRA_MAX);
    if payload_len > payload_max {
        let what = "the frame made from the message";
        return Err(Refusal::too_large(what, payload_len, payload_max));
    }
    Ok(())
}

/// The frames of one batch of events, immutable.
#[derive(Clone, Debug)]
pub struct Block {
    /// When its first line was read, for latencies.
    pub received: Instant,
    /// Customers online once all its events have happened.
    pub online: u32,
    /// Whose batch it was, where several hosts act as one.
    pub origin: Option<Origin>,
    /// What its frames' ids are made of.
    pub naming: Naming,
    /// The frames, end to end.
    pub bytes: Bytes,
    /// What is known of each, in order of id.
    pub frames: Box<[Frame]>,
    pub(super) names: Box<[Name]>,
    pub(super) text: Box<str>,
}

/// What the ids in a block's frames are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// Their numbers alone.
    #[default]
    Plain,
    /// Their numbers, and what those it is for have had beside the common order.
    Marked,
    /// They have no place in the common order yet: their numbers are their places in the batch, from 1 on.
    Alone,
}

/// Which batch of which host a block was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The host.
    pub host: u64,
    /// The number of the batch among its host's.
    pub batch: u64,
    /// Places of its events that the block does not have, ascending.
    left_out: Box<[u32]>,
}

impl Origin {
    /// This batch of this host, without the events at these places, which are ascending.
    pub fn new(host: u64, batch: u64, left_out: impl Into<Box<[u32]>>) -> Origin {
        Origin {
            host,
            batch,
            left_out: left_out.into(),
        }
    }

    /// What has been had with the block's frame `index`.
    pub fn mark(&self, index: usize) -> Mark {
        let mut place = index as u32;
        for &left_out in &self.left_out {
            place += u32::from(left_out <= place);
        }
        Mark {
            host: self.host,
            batch: self.batch,
            place: place + 1,
        }
    }

    /// Places of its events that the block does not have, ascending.
    pub fn left_out(&self) -> &[u32] {
        &self.left_out
    }
}

/// One event in a block.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Its sequence number.
    pub id: u64,
    /// Where its WebSocket frame, header included, starts in [`Block::bytes`].
    pub start: u32,
    /// Where it ends.
    pub end: u32,
    pub(super) names_start: u32,
    pub(super) users_start: u32,
    pub(super) owners_end: u32,
    pub(super) excluded_end: u32,
    /// Its type.
    pub kind: EventType,
    /// The roles that it is for, of those that the access table lets see it.
    pub roles: RoleMask,
    /// Whether it is only for [`Block::users`].
    pub users_narrow: bool,
    pub(super) has_session: bool,
}

/// A user's or a session's id in a block, hashed once.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// Its hash by the [`NameHasher`] of this run.
    pub hash: u64,
    pub(super) start: u32,
    pub(super) len: u16,
}

impl Block {
    /// Frames alone, of events that are known from elsewhere.
    pub fn of_frames(bytes: Vec<u8>, received: Instant) -> Block {
        Block {
            received,
            online: 0,
            origin: None,
            naming: Naming::Plain,
            bytes: bytes.into(),
            frames: Box::default(),
            names: Box::default(),
            text: Box::default(),
        }
    }

    /// The text of a frame, its WebSocket header left out.
    pub fn payload(&self, frame: &Frame) -> &[u8] {
        let bytes = &self.bytes[frame.start as usize..frame.end as usize];
        let header = match bytes.get(1) {
            Some(126) => 4,
            Some(127) => 10,
            _ => 2,
        };
        bytes.get(header..).unwrap_or_default()
    }

    /// Users that own the event: its customer, `to.owners`, `to.userIds`; some perhaps twice.
    pub fn owners(&self, frame: &Frame) -> &[Name] {
        &self.names[frame.names_start as usize..frame.owners_end as usize]
    }

    /// The users of `to.userIds`.
    pub fn users(&self, frame: &Frame) -> &[Name] {
        &self.names[frame.users_start as usize..frame.owners_end as usize]
    }

    /// The users of `to.excludeUserIds`.
    pub fn excluded(&self, frame: &Frame) -> &[Name] {
        &self.names[frame.owners_end as usize..frame.excluded_end as usize]
    }

    /// The session of `to.excludeSessionId`.
    pub fn session(&self, frame: &Frame) -> Option<&Name> {
        frame
            .has_session
            .then(|| &self.names[frame.excluded_end as usize])
    }

    /// The text of one of this block's names.
    pub fn text(&self, name: &Name) -> &str {
        let start = name.start as usize;
        &self.text[start..start + usize::from(name.len)]
    }

    /// How many names its receivers are told by.
    pub fn name_count(&self, frame: &Frame) -> usize {
        (frame.excluded_end - frame.names_start) as usize + usize::from(frame.has_session)
    }

    /// What counts towards the length of history, in bytes: the frames and the names in them.
    pub fn weight(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.names) + self.text.len()
    }

    /// The sequence number of its first event; 0 if it has none.
    pub fn first_id(&self) -> u64 {
        self.frames.first().map_or(0, |frame| frame.id)
    }

    /// What has been had with its last event, where several hosts act as one.
    pub fn last_mark(&self) -> Option<Mark> {
        let last = self.frames.len().checked_sub(1)?;
        Some(self.origin.as_ref()?.mark(last))
    }

    /// What the id of its last event ends in.
    pub fn height(&self) -> u64 {
        match (self.naming, self.frames.last()) {
            (_, None) => 0,
            (Naming::Plain, Some(frame)) => frame.id,
            (_, Some(frame)) => {
                let bytes = &self.bytes[frame.start as usize..frame.end as usize];
                id_of(bytes).map_or(frame.id, |id| height_of(id.as_bytes()))
            }
        }
    }

    /// The sequence number of its last event; 0 if it has none.
    pub fn last_id(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.id)
    }
}

/// Hashes users' and sessions' ids, with a seed of its own for each run, so that nobody can choose
/// ids that collide. Clones hash alike: the router and the reactors share one.
#[derive(Clone, Debug, Default)]
pub struct NameHasher(SeedableRandomState);

impl NameHasher {
    /// One that hashes alike in every run, for benchmarks: their counts must not depend on luck. A
    /// server takes a random one, [`NameHasher::default`].
    pub fn fixed() -> Self {
        Self(SeedableRandomState::fixed())
    }

    /// The hash of `name`.
    pub fn hash(&self, name: &str) -> u64 {
        self.0.hash_one(name)
    }
}

/// Builds blocks; its buffers are used again from block to block.
pub struct BlockBuilder {
    hasher: NameHasher,
    payload_max: usize,
    /// What a payload begins with, up to the sequence number.
    opening: Box<[u8]>,
    /// What stands between sequence number and data, by type.
    middles: [Box<[u8]>; EventType::ALL.len()],
    bytes: Vec<u8>,
    frames: Vec<Frame>,
    names: Vec<Name>,
    text: String,
}

impl BlockBuilder {
    /// A builder for the events of one run; `max_message` is the longest line in bytes.
    pub fn new(epoch: Epoch, hasher: NameHasher, max_message: usize) -> BlockBuilder {
        let middle = |kind: EventType| {
            format!(
                "\",\"type\":\"{}\",\"namespace\":\"{}\",\"data\":",
                kind.name(),
                kind.namespace().name()
            )
        };
        BlockBuilder {
            hasher,
            payload_max: max_message.saturating_add(FRAME_EXTRA_MAX),
            opening: format!("{{\"id\":\"{epoch}-").into_bytes().into(),
            middles: EventType::ALL.map(|kind| middle(kind).into_bytes().into()),
            bytes: Vec::new(),
            frames: Vec::new(),
            names: Vec::new(),
            text: String::new(),
        }
    }

    /// Makes room for about `bytes` bytes of frames, so that a block grows at once, not by steps.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Adds `event` with the sequence number `id`, larger than those before; `now_ms` is the time
    /// of an event that has none of its own, in milliseconds since 1970.
    ///
    /// # Errors
    /// `too_large`, if the payload is more than 1024 bytes over the longest line, which safe text
    /// can make of a shorter one; nothing is left in the block then.
    pub fn push(&mut self, event: &Event<'_>, id: u64, now_ms: u64) -> Result<(), Refusal> {
        const TIMESTAMP: &[u8] = b",\"timestamp\":";
        let (mut id_digits, mut time_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        let id_digits = id_digits.format(id);
        let time_digits = time_digits.format(event.timestamp.unwrap_or(now_ms));
        let middle = &self.middles[event.kind as usize];
        let data_len = safe_text::escaped_len(event.data);
        let payload_len = self.opening.len()
            + id_digits.len()
            + middle.len()
            + data_len
            + TIMESTAMP.len()
            + time_digits.len()
            + 1;
        if payload_len > self.payload_max {
            return Err(Refusal::too_large(
                "the frame made from the line",
                payload_len,
                self.payload_max,
            ));
        }
        let (header, header_len) = text_frame_header(payload_len);
        let (Ok(start), Ok(end)) = (
            u32::try_from(self.bytes.len()),
            u32::try_from(self.bytes.len() + header_len + payload_len),
        ) else {
            return Err(Refusal::too_large(
                "the block of frames",
                self.bytes.len() + header_len + payload_len,
                u32::MAX as usize,
            ));
        };

        let out = &mut self.bytes;
        out.reserve(header_len + payload_len);
        out.extend_from_slice(&header[..header_len]);
        out.extend_from_slice(&self.opening);
        out.extend_from_slice(id_digits.as_bytes());
        out.extend_from_slice(middle);
        safe_text::copy(event.data, data_len, out);
        out.extend_from_slice(TIMESTAMP);
        out.extend_from_slice(time_digits.as_bytes());
        out.push(b'}');
        debug_assert_eq!(out.len(), end as usize);

        let names_start = self.names.len();
        self.push_names(event);
        let [users_start, owners_end, excluded_end] = event
            .targets
            .bounds()
            .map(|bound| (names_start + bound) as u32);
        self.frames.push(Frame {
            id,
            start,
            end,
            names_start: names_start as u32,
            users_start,
            owners_end,
            excluded_end,
            kind: event.kind,
            roles: event.targets.roles,
            users_narrow: event.targets.users_narrow,
            has_session: self.names.len() > excluded_end as usize,
        });
        Ok(())
    }

    /// Bytes of the frames so far.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no frame yet.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The block of what was pushed; the builder is empty again. `received` is when its first line
    /// was read, `online` how many customers are online after it.
    pub fn finish(&mut self, received: Instant, online: u32) -> Arc<Block> {
        // Copied to the exact size: history keeps blocks for long, and the builder's buffers, warm
        // in the cache, serve the next one.
        let block = Block {
            received,
            online,
            origin: None,
            naming: Naming::Plain,
            bytes: Bytes::copy_from_slice(&self.bytes),
            frames: self.frames.as_slice().into(),
            names: self.names.as_slice().into(),
            text: self.text.as_str().into(),
        };
        self.bytes.clear();
        self.frames.clear();
        self.names.clear();
        self.text.clear();
        Arc::new(block)
    }

    fn push_names(&mut self, event: &Event<'_>) {
        for name in event.targets.all_names() {
            // An id has at most 128 characters, so 512 bytes, and names are shorter than their
            // lines.
            self.names.push(Name {
                hash: self.hasher.hash(name),
                start: self.text.len() as u32,
                len: name.len() as u16,
            });
            self.text.push_str(name);
        }
    }
}

/// The type of the event whose frame has this payload, as [`BlockBuilder::push`] lays it out: id
/// first, then type.
pub fn kind_of(payload: &[u8]) -> Option<EventType> {
    let id = payload.strip_prefix(b"{\"id\":\"")?;
    let after_id = &id[memchr(b'"', id)?..];
    let name = after_id.strip_prefix(b"\",\"type\":\"")?;
    let name = &name[..memchr(b'"', name)?];
    EventType::from_name(std::str::from_utf8(name).ok()?)
}

/// The header of an unmasked, final text frame (RFC 6455, section 5.2) and its length.
pub(super) fn text_frame_header(payload_len: usize) -> ([u8; 10], usize) {
    const FINAL_TEXT: u8 = 0x81;
    let mut header = [FINAL_TEXT, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    if payload_len < 126 {
        header[1] = payload_len as u8;
        (header, 2)
    } else if let Ok(len) = u16::try_from(payload_len) {
        header[1] = 126;
        header[2..4].copy_from_slice(&len.to_be_bytes());
        (header, 4)
    } else {
        header[1] = 127;
        header[2..].copy_from_slice(&(payload_len as u64).to_be_bytes());
        (header, 10)
    }
}

#[cfg(test)]
#[path = "block_tests.rs"]
pub(super) mod tests;
