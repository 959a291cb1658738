//! What crosses from the old process to the new one.
//!
//! Times are told as what is left or has passed of them, in milliseconds: the processes share no
//! clock but the wall's. Whoever changes a type here counts [`super::FORMAT`] up.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut};
use serde::{Deserialize, Serialize};

use crate::access::{NamespaceMask, Role, TypeMask};
use crate::auth::Revocation;
use crate::event::stored::{self, Lexicon, NoBlock};
use crate::event::{Block, NameHasher, Naming, Origin, Run};
use crate::journal::JournalState;
use crate::reactor::ReplayState;
use crate::wire::PartialMessage;

/// From the old process.
#[derive(Serialize, Deserialize)]
pub enum FromOld {
    /// Kept events, oldest first, as [`put_block`] has them; beside it nothing.
    History,
    /// Connections; beside them, their sockets.
    Connections(Vec<ConnectionState>),
    /// Emitters; beside them, their sockets.
    Emitters(Vec<EmitterState>),
    /// What the router knows; beside it the port's listener, the ingest socket's, the private
    /// socket's, and the lock of the journal if there is one. The bytes are the keys in their window, by [`put_key`].
    Router(Box<RouterState>),
    /// Events that no reactor has been handed, as in `History`.
    Pending,
    /// That is all.
    Done,
    /// The new process may serve.
    Go,
    /// The old one goes on, for this reason.
    Stays(String),
}

/// From the new process.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromNew {
    /// Stand still and send.
    Begin,
    /// All is there and built.
    Commit,
    /// It has said that it is ready, and serves from now on.
    Serves,
}

/// What the router knows.
#[derive(Serialize, Deserialize)]
pub struct RouterState {
    /// The runs whose ids are known; the last one goes on.
    pub runs: Vec<Run>,
    /// The number of the newest event.
    pub newest: u64,
    /// Customers online.
    pub online: u32,
    /// The number of the newest connection.
    pub serial: u32,
    /// What keys are hashed with.
    pub secret: (u64, u64),
    /// Customers without a connection, and how long their absence is none yet, in ms.
    pub leaving: Vec<(String, u64)>,
    /// The ingest socket's file: path, device and inode.
    pub ingest: (PathBuf, u64, u64),
    /// The private socket's file: device and inode.
    pub door: (u64, u64),
    /// Where the journal stands.
    pub journal: Option<JournalState>,
    /// Whose tokens are refused.
    pub revoked: Vec<Revocation>,
    /// And it is not known yet which ones other hosts refuse.
    pub awaits_others: bool,
}

/// One emitter. All its lines so far are settled. Whose it is, its socket tells.
#[derive(Serialize, Deserialize)]
pub struct EmitterState {
    /// The beginning of a line.
    pub unread: Vec<u8>,
    /// That line was too long already.
    pub skipping: bool,
    /// Lines so far.
    pub lines: u64,
    /// Its newest event.
    pub newest: Option<u64>,
    /// Answers that its socket did not take yet.
    pub output: Vec<u8>,
}

/// One connection.
#[derive(Serialize, Deserialize)]
pub struct ConnectionState {
    /// What its id is made of.
    pub serial: u32,
    /// How far it has come.
    pub stage: StageState,
    /// What the stage waits for is due in so long.
    pub stage_due_ms: Option<u64>,
    /// The client's address.
    pub ip: IpAddr,
    /// The beginning of a request head.
    pub head: Option<Vec<u8>>,
    /// The beginning of a message.
    pub partial: Option<PartialMessage>,
    /// What its socket did not take yet.
    pub outbox: Option<OutboxState>,
    /// What it has as a WebSocket.
    pub socket: Option<SocketState>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StageState {
    /// Nothing was read.
    Fresh,
    /// The request head is awaited.
    Head,
    /// The next request is.
    KeepAlive,
    /// It is a WebSocket.
    Open,
}

/// A WebSocket's own.
#[derive(Serialize, Deserialize)]
pub struct SocketState {
    /// Its user, once it has authenticated.
    pub user: Option<String>,
    /// Its session.
    pub session: Option<String>,
    /// Its role.
    pub role: Role,
    /// When its token ends, in ms since 1970; 0 without one.
    pub expires_at: u64,
    /// So many milliseconds before that it is told.
    pub expiry_notice: u16,
    /// It was told.
    pub expiry_told: bool,
    /// What it is subscribed to.
    pub subscribed: NamespaceMask,
    /// The event types it asked for.
    pub wanted: TypeMask,
    /// Where it stands in the past, if that is being replayed.
    pub replay: Option<ReplayState>,
    /// Waiting events may give way to newer ones.
    pub conflates: bool,
    /// The heartbeat is due in so long.
    pub heartbeat_ms: u64,
    /// Its ping awaits an answer.
    pub pinged: bool,
    /// A frame came since the last ping.
    pub heard: bool,
    /// Its message and control buckets are full in so many nanoseconds.
    pub buckets: [u64; 2],
    /// Refusals in the minute that began so long ago.
    pub refusals: (u16, u64),
}

/// What a socket did not take yet.
#[derive(Serialize, Deserialize)]
pub struct OutboxState {
    /// Pieces, and whether they are the server's own frames.
    pub pieces: Vec<(bool, Vec<u8>)>,
    /// What is left of a frame that is partly written.
    pub frame_left: usize,
}

/// Appends a block, with what [`stored`] leaves out.
pub fn put_block(block: &Block, now: Instant, out: &mut Vec<u8>) {
    let age = now.saturating_duration_since(block.received).as_millis();
    out.put_u64_le(u64::try_from(age).unwrap_or(u64::MAX));
    out.put_u32_le(block.online);
    put_origin(block, out);
    out.put_u64_le((stored::head_len(block) + block.bytes.len()) as u64);
    stored::put_head(block, out);
    out.put_slice(&block.bytes);
}

/// A batch has a number of its own, from 1 on: 0 is none. What a host has delivered alone does not cross.
fn put_origin(block: &Block, out: &mut Vec<u8>) {
    out.put_u8((block.naming == Naming::Marked).into());
    let (host, batch, left_out) = match &block.origin {
        Some(origin) => (origin.host, origin.batch, origin.left_out()),
        None => (0, 0, &[][..]),
    };
    out.put_u64_le(host);
    out.put_u64_le(batch);
    // Places in a block, which has fewer than 2^32.
    out.put_u32_le(left_out.len() as u32);
    left_out.iter().for_each(|&place| out.put_u32_le(place));
}

fn read_origin(bytes: &mut &[u8]) -> Result<(Naming, Option<Origin>), NoBlock> {
    let naming = match bytes.try_get_u8()? {
        0 => Naming::Plain,
        _ => Naming::Marked,
    };
    let (host, batch) = (bytes.try_get_u64_le()?, bytes.try_get_u64_le()?);
    let count = bytes.try_get_u32_le()?;
    let left_out: Result<Vec<u32>, _> = (0..count).map(|_| bytes.try_get_u32_le()).collect();
    let origin = Origin::new(host, batch, left_out?);
    Ok((naming, (batch > 0).then_some(origin)))
}

/// Reads the blocks that [`put_block`] put one behind the other.
///
/// # Errors
/// If they are none.
pub fn read_blocks(
    mut bytes: &[u8],
    lexicon: &Lexicon,
    hasher: &NameHasher,
    now: Instant,
) -> Result<Vec<Arc<Block>>, NoBlock> {
    let mut blocks = Vec::new();
    while !bytes.is_empty() {
        let age = Duration::from_millis(bytes.try_get_u64_le()?);
        let online = bytes.try_get_u32_le()?;
        let (naming, origin) = read_origin(&mut bytes)?;
        let len = bytes.try_get_u64_le()?;
        let (stored, rest) = usize::try_from(len)
            .ok()
            .and_then(|len| bytes.split_at_checked(len))
            .ok_or(NoBlock("it is cut"))?;
        bytes = rest;
        let received = now.checked_sub(age).unwrap_or(now);
        let mut block = stored::read(stored, lexicon, hasher, received)?;
        block.online = online;
        (block.naming, block.origin) = (naming, origin);
        blocks.push(Arc::new(block));
    }
    Ok(blocks)
}

/// A key in its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// Its hash.
    pub hash: u128,
    /// The number of its event.
    pub number: u64,
    /// It is forgotten in so long.
    pub left_ms: u64,
}

/// Appends a key.
pub fn put_key(key: KeyState, out: &mut Vec<u8>) {
    out.put_u128_le(key.hash);
    out.put_u64_le(key.number);
    out.put_u64_le(key.left_ms);
}

/// Reads the keys that [`put_key`] put one behind the other.
pub fn read_keys(bytes: &[u8]) -> impl Iterator<Item = KeyState> + '_ {
    bytes.chunks_exact(32).map(|mut bytes| KeyState {
        hash: bytes.get_u128_le(),
        number: bytes.get_u64_le(),
        left_ms: bytes.get_u64_le(),
    })
}
