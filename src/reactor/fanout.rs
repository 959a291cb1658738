//! From a turn's blocks to sockets: the hot path.
//!
//! Part of the reactor. A class that gets neighbouring frames of one block is sent the block's own
//! bytes; otherwise its frames are laid out once for all members. A member that nothing else
//! touched and whose socket is not full gets one write of those bytes. Touched connections follow,
//! each with a gather list of its own. Per event and connection there is no allocation, no lock,
//! no log line and no clock here.

use std::borrow::Cow;
use std::io::{self, IoSlice, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mio::net::TcpStream;

use super::Reactor;
use super::connection::Connection;
use super::directory::Slice;
use super::layer::{Layer, Secure, Writing};
use super::outbox::{Backlog, Outbox, left_of_frame};
use crate::event::Block;
use crate::limits;
use crate::stats::Delivered;
use crate::wire::CloseReason;

/// Buffers of the hot path, used again every turn.
#[derive(Default)]
pub struct Scratch {
    blocks: Vec<Arc<Block>>,
    slices: Vec<Slice>,
    frames: Vec<u32>,
    /// Connections whose socket failed or whose outbox is over its limit.
    doomed: Vec<(u32, CloseReason)>,
}

/// Which events are delivered decides what may wait of them.
#[derive(Clone, Copy)]
pub(super) enum Stream {
    /// As they come: so many bytes may wait, and where the client asked for it, older ones give way.
    Live { outbox_limit: usize },
    /// Replayed ones, paced by the socket: one part of them waits, whole.
    Past,
}

impl Stream {
    /// Lets a part of `bytes` wait in the outbox.
    fn queue(
        self,
        outbox: &mut Outbox,
        conflates: bool,
        bytes: &Bytes,
        range: Range<usize>,
        backlog: &mut Backlog,
    ) {
        match self {
            Self::Live { outbox_limit } if conflates => {
                let threshold = outbox_limit / limits::CONFLATION_PART;
                outbox.push_newest(bytes, range, threshold, backlog);
            }
            Self::Live { .. } | Self::Past => outbox.push(bytes, range, backlog),
        }
    }

    /// Whether so much may wait.
    fn allows(self, outbox: &Outbox) -> Result<(), CloseReason> {
        match self {
            Self::Live { outbox_limit } if outbox.waiting() > outbox_limit => {
                Err(CloseReason::SlowConsumer)
            }
            Self::Live { .. } | Self::Past => Ok(()),
        }
    }
}

impl Reactor {
    /// A block taken from the ring waits for the end of the drain.
    pub(super) fn collect(&mut self, block: Arc<Block>) {
        self.scratch.blocks.push(block);
    }

    /// Sends everything collected this turn to everybody who may see it.
    pub(super) fn fan_out(&mut self) {
        if self.scratch.blocks.is_empty() {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut plan = std::mem::take(&mut self.plan);
        self.directory.plan(&scratch.blocks, &mut plan);
        let stream = Stream::Live {
            outbox_limit: self.outbox_limit,
        };
        let mut delivered = Delivered::default();
        for &class in plan.classes() {
            let (members, frames) = self.directory.class(class);
            plan.slices(&scratch.blocks, frames, &mut scratch.slices);
            let (bytes, range) = lay_out(&scratch.blocks, &scratch.slices);
            let check_touched = plan.touched() > 0;
            let mut served = 0;
            for &key in members {
                if check_touched && self.directory.is_touched(key) {
                    continue;
                }
                let connection = &mut self.connections[key as usize];
                served += 1;
                let frames = Frames::Together(&bytes, range.start, range.end);
                let outcome = deliver(connection, frames, stream, &mut self.writing);
                if let Err(reason) = outcome {
                    scratch.doomed.push((key, reason));
                }
            }
            delivered.add(served, frames.len() as u64, range.len() as u64);
        }
        for index in 0..plan.touched() {
            let key = self.directory.touched(&plan, index, &mut scratch.frames);
            plan.slices(&scratch.blocks, &scratch.frames, &mut scratch.slices);
            let bytes: usize = scratch.slices.iter().map(|slice| range(slice).len()).sum();
            delivered.add(1, scratch.frames.len() as u64, bytes as u64);
            let connection = &mut self.connections[key as usize];
            let frames = Frames::Apart(&scratch.blocks, &scratch.slices);
            let outcome = deliver(connection, frames, stream, &mut self.writing);
            if let Err(reason) = outcome {
                scratch.doomed.push((key, reason));
            }
        }
        self.directory.clear(&mut plan);
        self.plan = plan;
        self.note(&scratch.blocks, &delivered);
        scratch.blocks.clear();
        for (key, reason) in scratch.doomed.drain(..) {
            self.close(key, reason);
        }
        self.scratch = scratch;
    }

    /// Where the stream of events now stands, and how long it took to get there.
    fn note(&mut self, blocks: &[Arc<Block>], delivered: &Delivered) {
        let stats = &self.shared.stats.reactors[self.index];
        let total: usize = blocks.iter().map(|block| block.frames.len()).sum();
        self.replays.news();
        let sent_at = Instant::now();
        for block in blocks {
            self.history.push(block);
            self.online = block.online;
            let micros = sent_at
                .saturating_duration_since(block.received)
                .as_micros();
            // Deliveries are counted a turn, not a block: each block has its share of frames.
            let share = delivered.events * block.frames.len() as u64 / total.max(1) as u64;
            stats
                .latency
                .record(u64::try_from(micros).unwrap_or(u64::MAX), share);
        }
        stats.delivered(delivered);
        self.tell_history();
    }
}

/// One contiguous range for a whole class: the block's own bytes where the frames lie side by
/// side, else a copy made once.
pub fn lay_out<'a>(blocks: &'a [Arc<Block>], slices: &[Slice]) -> (Cow<'a, Bytes>, Range<usize>) {
    if let [slice] = slices {
        let bytes = &blocks[slice.block as usize].bytes;
        return (Cow::Borrowed(bytes), range(slice));
    }
    let length = slices.iter().map(|slice| range(slice).len()).sum();
    let mut batch = Vec::with_capacity(length);
    for slice in slices {
        batch.extend_from_slice(&blocks[slice.block as usize].bytes[range(slice)]);
    }
    (Cow::Owned(batch.into()), 0..length)
}

fn range(slice: &Slice) -> Range<usize> {
    slice.start as usize..slice.end as usize
}

/// Whole frames on their way to one connection.
#[derive(Clone, Copy)]
pub(super) enum Frames<'a> {
    /// Side by side: from the first of these places to the second.
    Together(&'a Bytes, usize, usize),
    /// In several places.
    Apart(&'a [Arc<Block>], &'a [Slice]),
}

/// Writes frames to one connection, or queues what its socket does not take.
pub(super) fn deliver(
    connection: &mut Connection,
    frames: Frames<'_>,
    stream: Stream,
    writing: &mut Writing,
) -> Result<(), CloseReason> {
    let conflates = connection.conflates;
    if let Some(layer) = connection.layer.as_deref_mut() {
        return match layer {
            Layer::Waiting(outbox) => {
                frames.queue(outbox, stream, conflates, &mut writing.backlog);
                stream.allows(outbox)
            }
            Layer::Secure(secure) => {
                let socket = &mut connection.stream;
                deliver_sealed(secure, socket, frames, stream, conflates, writing)
            }
        };
    }
    let sent = frames.send(
        &mut connection.stream,
        stream,
        conflates,
        &mut writing.backlog,
    );
    match sent {
        Ok(None) => Ok(()),
        Ok(Some(outbox)) => {
            let fits = stream.allows(&outbox);
            connection.put_outbox(outbox);
            fits
        }
        Err(_) => Err(CloseReason::Gone),
    }
}

/// As [`deliver`], over TLS: the frames are sealed for this connection alone.
fn deliver_sealed(
    secure: &mut Secure,
    socket: &mut TcpStream,
    frames: Frames<'_>,
    stream: Stream,
    conflates: bool,
    writing: &mut Writing,
) -> Result<(), CloseReason> {
    if let Some(outbox) = secure.outbox() {
        frames.queue(outbox, stream, conflates, &mut writing.backlog);
        return stream.allows(outbox);
    }
    let sent = secure.with_socket(socket, writing, |socket, backlog| {
        frames.send(socket, stream, conflates, backlog)
    });
    match sent {
        Ok(None) => Ok(()),
        Ok(Some(outbox)) => stream.allows(secure.outbox().insert(Box::new(outbox))),
        Err(_) => Err(CloseReason::Gone),
    }
}

impl Frames<'_> {
    /// Writes them where nothing waits; what the socket does not take is an outbox.
    fn send(
        self,
        socket: &mut impl Write,
        stream: Stream,
        conflates: bool,
        backlog: &mut Backlog,
    ) -> io::Result<Option<Outbox>> {
        match self {
            Self::Together(bytes, start, end) => {
                let taken = write(socket, &bytes[start..end])?;
                if taken == end - start {
                    return Ok(None);
                }
                let mut outbox = Outbox::default();
                outbox.begin_inside_frame(left_of_frame(&bytes[start..end], taken, 0));
                stream.queue(&mut outbox, conflates, bytes, start + taken..end, backlog);
                Ok(Some(outbox))
            }
            Self::Apart(blocks, slices) => {
                send_slices(socket, blocks, slices, stream, conflates, backlog)
            }
        }
    }

    /// Lets them wait behind what does.
    fn queue(self, outbox: &mut Outbox, stream: Stream, conflates: bool, backlog: &mut Backlog) {
        match self {
            Self::Together(bytes, start, end) => {
                stream.queue(outbox, conflates, bytes, start..end, backlog);
            }
            Self::Apart(blocks, slices) => {
                for slice in slices {
                    let bytes = &blocks[slice.block as usize].bytes;
                    stream.queue(outbox, conflates, bytes, range(slice), backlog);
                }
            }
        }
    }
}

fn send_slices(
    socket: &mut impl Write,
    blocks: &[Arc<Block>],
    slices: &[Slice],
    stream: Stream,
    conflates: bool,
    backlog: &mut Backlog,
) -> io::Result<Option<Outbox>> {
    let mut rest = slices;
    while !rest.is_empty() {
        if let [slice] = rest {
            let (bytes, range) = (&blocks[slice.block as usize].bytes, range(slice));
            let last = Frames::Together(bytes, range.start, range.end);
            return last.send(socket, stream, conflates, backlog);
        }
        let mut gather = [IoSlice::new(&[]); limits::SLICES_PER_WRITE];
        let mut length = 0;
        let count = rest.len().min(gather.len());
        for (part, slice) in gather.iter_mut().zip(rest) {
            let bytes = &blocks[slice.block as usize].bytes[range(slice)];
            length += bytes.len();
            *part = IoSlice::new(bytes);
        }
        let mut taken = write_vectored(socket, &gather[..count])?;
        if taken == length {
            rest = &rest[count..];
            continue;
        }
        while let Some((slice, after)) = rest.split_first() {
            let range = range(slice);
            if taken < range.len() {
                break;
            }
            taken -= range.len();
            rest = after;
        }
        let mut outbox = Outbox::default();
        if let Some((slice, after)) = rest.split_first() {
            let (bytes, range) = (&blocks[slice.block as usize].bytes, range(slice));
            outbox.begin_inside_frame(left_of_frame(&bytes[range.clone()], taken, 0));
            let unwritten = range.start + taken..range.end;
            stream.queue(&mut outbox, conflates, bytes, unwritten, backlog);
            Frames::Apart(blocks, after).queue(&mut outbox, stream, conflates, backlog);
        }
        return Ok(Some(outbox));
    }
    Ok(None)
}

/// Writes once; a full socket takes 0 bytes.
pub(super) fn write(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn write_vectored(socket: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    loop {
        match socket.write_vectored(slices) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
