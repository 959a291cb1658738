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

use super::Reactor;
use super::connection::Connection;
use super::directory::Slice;
use super::outbox::{Backlog, Outbox, left_of_frame};
use crate::event::Block;
use crate::limits;
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
        let mut deliveries = 0;
        for &class in plan.classes() {
            let (members, frames) = self.directory.class(class);
            plan.slices(&scratch.blocks, frames, &mut scratch.slices);
            let (bytes, range) = lay_out(&scratch.blocks, &scratch.slices);
            let check_touched = plan.touched() > 0;
            for &key in members {
                if check_touched && self.directory.is_touched(key) {
                    continue;
                }
                let connection = &mut self.connections[key as usize];
                deliveries += frames.len() as u64;
                let outcome = deliver(connection, &bytes, range.clone(), stream, &mut self.backlog);
                if let Err(reason) = outcome {
                    scratch.doomed.push((key, reason));
                }
            }
        }
        for index in 0..plan.touched() {
            let key = self.directory.touched(&plan, index, &mut scratch.frames);
            plan.slices(&scratch.blocks, &scratch.frames, &mut scratch.slices);
            deliveries += scratch.frames.len() as u64;
            let connection = &mut self.connections[key as usize];
            let outcome = deliver_slices(
                connection,
                &scratch.blocks,
                &scratch.slices,
                stream,
                &mut self.backlog,
            );
            if let Err(reason) = outcome {
                scratch.doomed.push((key, reason));
            }
        }
        self.directory.clear(&mut plan);
        self.plan = plan;
        self.note(&scratch.blocks, deliveries);
        scratch.blocks.clear();
        for (key, reason) in scratch.doomed.drain(..) {
            self.close(key, reason);
        }
        self.scratch = scratch;
    }

    /// Where the stream of events now stands, and how long it took to get there.
    fn note(&mut self, blocks: &[Arc<Block>], deliveries: u64) {
        let stats = &self.shared.stats.reactors[self.index];
        let total: usize = blocks.iter().map(|block| block.frames.len()).sum();
        self.sent_at = Instant::now();
        for block in blocks {
            self.history.push(block);
            self.online = block.online;
            let micros = self
                .sent_at
                .saturating_duration_since(block.received)
                .as_micros();
            // Deliveries are counted a turn, not a block: each block has its share of frames.
            let share = deliveries * block.frames.len() as u64 / total.max(1) as u64;
            stats
                .latency
                .record(u64::try_from(micros).unwrap_or(u64::MAX), share);
        }
        stats.deliveries.add(deliveries);
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

/// Writes whole frames to one connection, or queues what its socket does not take.
fn deliver(
    connection: &mut Connection,
    bytes: &Bytes,
    range: Range<usize>,
    stream: Stream,
    backlog: &mut Backlog,
) -> Result<(), CloseReason> {
    let conflates = connection.conflates;
    if let Some(outbox) = &mut connection.outbox {
        stream.queue(outbox, conflates, bytes, range, backlog);
        return stream.allows(outbox);
    }
    let taken = match write(&mut connection.stream, &bytes[range.clone()]) {
        Ok(taken) if taken == range.len() => return Ok(()),
        Ok(taken) => taken,
        Err(_) => return Err(CloseReason::Gone),
    };
    let mut outbox = Outbox::default();
    outbox.begin_inside_frame(left_of_frame(&bytes[range.clone()], taken, 0));
    let rest = range.start + taken..range.end;
    stream.queue(&mut outbox, conflates, bytes, rest, backlog);
    let fits = stream.allows(&outbox);
    connection.outbox = Some(Box::new(outbox));
    fits
}

/// As [`deliver`], for frames that lie in several places.
pub(super) fn deliver_slices(
    connection: &mut Connection,
    blocks: &[Arc<Block>],
    slices: &[Slice],
    stream: Stream,
    backlog: &mut Backlog,
) -> Result<(), CloseReason> {
    let conflates = connection.conflates;
    let mut rest = slices;
    while connection.outbox.is_none() && !rest.is_empty() {
        if let [slice] = rest {
            let bytes = &blocks[slice.block as usize].bytes;
            return deliver(connection, bytes, range(slice), stream, backlog);
        }
        let mut gather = [IoSlice::new(&[]); limits::SLICES_PER_WRITE];
        let mut length = 0;
        let count = rest.len().min(gather.len());
        for (part, slice) in gather.iter_mut().zip(rest) {
            let bytes = &blocks[slice.block as usize].bytes[range(slice)];
            length += bytes.len();
            *part = IoSlice::new(bytes);
        }
        let mut taken = match write_vectored(&mut connection.stream, &gather[..count]) {
            Ok(taken) => taken,
            Err(_) => return Err(CloseReason::Gone),
        };
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
            rest = after;
        }
        connection.outbox = Some(Box::new(outbox));
    }
    let Some(outbox) = &mut connection.outbox else {
        return Ok(());
    };
    for slice in rest {
        let bytes = &blocks[slice.block as usize].bytes;
        stream.queue(outbox, conflates, bytes, range(slice), backlog);
    }
    stream.allows(outbox)
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
