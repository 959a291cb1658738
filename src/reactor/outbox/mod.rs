//! What a socket did not take yet: a queue of shared slices and own bytes.
//!
//! Exists only while a connection's socket is full. Long slices are shared with their block;
//! short ones are copied, so that what waits holds no more memory than about its own length.
//! It knows where frames begin, because the limit counts what waits *behind* the frame being
//! written: one single frame, however large, never makes a slow consumer.
//!
//! What it holds is counted by its reactor's [`Backlog`]. Where the client asked for it, a waiting
//! event of a product gives way to a newer one: see [`conflation`].

mod backlog;
mod conflation;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::ops::Range;

use bytes::Bytes;

use super::answers::put_conflated;
use crate::limits;
use crate::takeover::state::OutboxState;
pub use backlog::Backlog;
use conflation::{Conflation, Product, Waiting};

/// Bytes that wait for a socket; always whole frames, but for the first.
#[derive(Default)]
pub struct Outbox {
    /// The first one is never [`Piece::Gone`].
    pieces: VecDeque<Piece>,
    /// The number of the first piece; the others count on from it.
    first: u64,
    /// Bytes of the first piece that are written.
    written: usize,
    /// All bytes that wait.
    length: usize,
    /// Those of them that are the server's own frames.
    answers: usize,
    /// What is left of a frame that is partly written; 0 between frames.
    frame_left: usize,
    /// Bytes of memory that the pieces hold and share with nobody.
    own: usize,
    /// The memory of its own that the backlog has counted, in bytes.
    counted: usize,
    /// What is known of events that may give way; there is none before the first.
    conflation: Option<Box<Conflation>>,
}

enum Piece {
    /// A part of a source that others hold, too, and so many bytes from where that begins.
    Shared(Bytes, u32),
    Own(Vec<u8>),
    /// What the server says on its own account, which nobody else will be sent.
    Answer(Vec<u8>),
    /// One event that may give way.
    Product(Box<Waiting>),
    /// Says how many events gave way; it stands where the first of them stood.
    Notice {
        frame: Vec<u8>,
        dropped: u64,
    },
    /// An event that gave way.
    Gone,
}

impl Piece {
    /// The part of `source` that `range` covers, shared or copied, whichever holds less.
    fn of(source: &Bytes, range: Range<usize>, backlog: &mut Backlog) -> Self {
        match u32::try_from(range.start) {
            Ok(start) if is_worth_sharing(range.len(), source.len()) => {
                backlog.share(source);
                Self::Shared(source.slice(range), start)
            }
            _ => Self::Own(source[range].to_vec()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes, _) => bytes,
            Self::Own(bytes) | Self::Answer(bytes) | Self::Notice { frame: bytes, .. } => bytes,
            Self::Product(waiting) => waiting.frame.bytes(),
            Self::Gone => &[],
        }
    }

    /// Bytes of memory that it holds alone.
    fn own(&self) -> usize {
        match self {
            Self::Shared(..) | Self::Gone => 0,
            Self::Own(bytes) | Self::Answer(bytes) | Self::Notice { frame: bytes, .. } => {
                bytes.capacity()
            }
            Self::Product(waiting) => waiting.own() + waiting.frame.own(),
        }
    }

    /// Tells the backlog that what it shares has one holder less.
    fn let_go(&self, backlog: &mut Backlog) {
        match self {
            Self::Shared(bytes, start) => backlog.unshare(bytes.as_ptr().addr() - *start as usize),
            Self::Product(waiting) => waiting.frame.let_go(backlog),
            Self::Own(_) | Self::Answer(_) | Self::Notice { .. } | Self::Gone => {}
        }
    }
}

/// Whether to hold `source` bytes for the sake of `length` of them, rather than copy those.
fn is_worth_sharing(length: usize, source: usize) -> bool {
    length * 2 >= source
        || (length >= limits::SHARED_SLICE_MIN && length >= source / limits::SHARED_SOURCE_MAX)
}

impl Outbox {
    /// Adds the part of `source` that `range` covers, shared or copied, whichever holds less.
    pub fn push(&mut self, source: &Bytes, range: Range<usize>, backlog: &mut Backlog) {
        self.append(source, range, backlog);
        self.recount(backlog);
    }

    /// As [`Outbox::push`] for events of one who asked for conflation: while over `threshold` bytes
    /// wait, a waiting event gives way to a newer one of the same type and product.
    pub fn push_newest(
        &mut self,
        source: &Bytes,
        range: Range<usize>,
        threshold: usize,
        backlog: &mut Backlog,
    ) {
        // An outbox may begin inside a frame.
        let rest = match self.length {
            0 => self.frame_left.min(range.len()),
            _ => 0,
        };
        let mut at = range.start + rest;
        let mut others = range.start..at;
        while at < range.end {
            let start = at;
            at = range
                .end
                .min(start + frame_length(&source[start..range.end]));
            match Product::of(&source[start..at]) {
                None => others.end = at,
                Some(product) => {
                    self.append(source, others, backlog);
                    if self.waiting() > threshold {
                        self.give_way(&product, backlog);
                    }
                    self.append_product(source, start..at, product, backlog);
                    others = at..at;
                }
            }
        }
        self.append(source, others, backlog);
        self.recount(backlog);
    }

    /// Adds a copy of the server's own frames.
    pub fn push_answer(&mut self, bytes: &[u8], backlog: &mut Backlog) {
        self.length += bytes.len();
        self.answers += bytes.len();
        match self.pieces.back_mut() {
            Some(Piece::Answer(last)) if last.len() < limits::OUTBOX_PIECE => {
                self.own += extend(last, bytes);
            }
            _ => self.put(Piece::Answer(bytes.to_vec())),
        }
        self.recount(backlog);
    }

    /// What waits, to be taken over by another process.
    pub fn state(&self) -> OutboxState {
        let mut from = self.written;
        let mut pieces = Vec::new();
        for piece in &self.pieces {
            let bytes = &piece.bytes()[std::mem::take(&mut from)..];
            if !bytes.is_empty() {
                pieces.push((matches!(piece, Piece::Answer(_)), bytes.to_vec()));
            }
        }
        OutboxState {
            pieces,
            frame_left: self.frame_left,
        }
    }

    /// One that goes on with what waits in another process. Events in it give way no more.
    pub fn go_on(state: OutboxState, backlog: &mut Backlog) -> Self {
        let mut outbox = Self::default();
        for (is_answer, bytes) in state.pieces {
            if is_answer {
                outbox.push_answer(&bytes, backlog);
            } else {
                outbox.length += bytes.len();
                outbox.put(Piece::Own(bytes));
            }
        }
        outbox.frame_left = state.frame_left;
        outbox.recount(backlog);
        outbox
    }

    /// All bytes that wait.
    pub fn length(&self) -> usize {
        self.length
    }

    /// How much of what waits are the server's own frames, in bytes.
    pub fn answers(&self) -> usize {
        self.answers
    }

    /// Tells that a first frame is partly written already: `left` bytes of it are still to come.
    pub fn begin_inside_frame(&mut self, left: usize) {
        self.frame_left = left;
    }

    /// The bytes behind the frame being written, which the outbox limit counts.
    pub fn waiting(&self) -> usize {
        self.length - self.first_frame()
    }

    /// What is left of the frame being written, or the whole of the one that is next.
    fn first_frame(&self) -> usize {
        if self.frame_left > 0 {
            return self.frame_left;
        }
        self.pieces
            .front()
            .map_or(0, |piece| frame_length(&piece.bytes()[self.written..]))
    }

    /// Writes as far as the socket takes it. True: nothing is left.
    pub fn flush(&mut self, socket: &mut impl Write, backlog: &mut Backlog) -> io::Result<bool> {
        let flushed = self.write(socket, backlog);
        self.recount(backlog);
        flushed
    }

    fn write(&mut self, socket: &mut impl Write, backlog: &mut Backlog) -> io::Result<bool> {
        while self.length > 0 {
            let mut slices = [IoSlice::new(&[]); limits::SLICES_PER_WRITE];
            let mut count = 0;
            let waiting = self.pieces.iter().map(Piece::bytes);
            for (slice, bytes) in slices.iter_mut().zip(waiting.filter(|it| !it.is_empty())) {
                let from = if count == 0 { self.written } else { 0 };
                *slice = IoSlice::new(&bytes[from..]);
                count += 1;
            }
            match socket.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => self.advance(taken, backlog),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Ends it, written to the end or not: nothing of it is held any more.
    pub fn let_go(self, backlog: &mut Backlog) {
        for piece in &self.pieces {
            piece.let_go(backlog);
        }
        backlog.recount(self.counted, 0);
    }

    fn append(&mut self, source: &Bytes, range: Range<usize>, backlog: &mut Backlog) {
        if range.is_empty() {
            return;
        }
        self.length += range.len();
        match self.pieces.back_mut() {
            Some(Piece::Own(last))
                if last.len() < limits::OUTBOX_PIECE
                    && !is_worth_sharing(range.len(), source.len()) =>
            {
                self.own += extend(last, &source[range]);
            }
            _ => self.put(Piece::of(source, range, backlog)),
        }
    }

    fn append_product(
        &mut self,
        source: &Bytes,
        range: Range<usize>,
        product: Product,
        backlog: &mut Backlog,
    ) {
        self.length += range.len();
        let number = self.first + self.pieces.len() as u64;
        let conflation = self.conflation.get_or_insert_default();
        let older = conflation.newest.insert(product.clone(), number);
        let frame = Piece::of(source, range, backlog);
        let waiting = Waiting {
            frame,
            product,
            older,
        };
        self.put(Piece::Product(Box::new(waiting)));
    }

    fn put(&mut self, piece: Piece) {
        self.own += piece.own();
        self.pieces.push_back(piece);
    }

    /// Takes out what waits of `product`, but for a frame that is being written.
    fn give_way(&mut self, product: &Product, backlog: &mut Backlog) {
        let Some(conflation) = &mut self.conflation else {
            return;
        };
        let mut next = conflation.newest.remove(product);
        let (mut place, mut dropped) = (None, 0);
        while let Some(index) = next.and_then(|number| number.checked_sub(self.first)) {
            let index = index as usize;
            if index == 0 && self.written > 0 {
                break;
            }
            let piece = std::mem::replace(&mut self.pieces[index], Piece::Gone);
            self.length -= piece.bytes().len();
            self.own -= piece.own();
            piece.let_go(backlog);
            next = match piece {
                Piece::Product(waiting) => waiting.older,
                _ => None,
            };
            place = Some(index);
            dropped += 1;
        }
        if let Some(place) = place {
            conflation.gaps += dropped;
            backlog.count_conflated(dropped);
            self.tell_dropped(dropped as u64, place);
            self.skip_gaps();
            self.close_gaps();
        }
    }

    /// Adds to the notice that waits; where there is none, or it is being written, a new one takes
    /// the gap at `place`.
    fn tell_dropped(&mut self, count: u64, place: usize) {
        let Some(conflation) = &mut self.conflation else {
            return;
        };
        let open = conflation
            .notice
            .and_then(|number| number.checked_sub(self.first))
            .map(|index| index as usize)
            .filter(|&index| index > 0 || self.written == 0);
        let place = open.unwrap_or_else(|| {
            conflation.gaps -= 1;
            conflation.notice = Some(self.first + place as u64);
            self.pieces[place] = Piece::Notice {
                frame: Vec::new(),
                dropped: 0,
            };
            place
        });
        if let Piece::Notice { frame, dropped } = &mut self.pieces[place] {
            *dropped += count;
            self.length -= frame.len();
            self.own -= frame.capacity();
            frame.clear();
            put_conflated(*dropped, frame);
            self.length += frame.len();
            self.own += frame.capacity();
        }
    }

    fn skip_gaps(&mut self) {
        while let Some(Piece::Gone) = self.pieces.front() {
            self.pieces.pop_front();
            self.first += 1;
            if let Some(conflation) = &mut self.conflation {
                conflation.gaps -= 1;
            }
        }
    }

    /// Closes the gaps once they are the most of it, so that a stalled reader's queue is no longer
    /// than twice what waits in it. All behind the first piece are numbered anew.
    fn close_gaps(&mut self) {
        let Some(conflation) = &mut self.conflation else {
            return;
        };
        if conflation.gaps < limits::OUTBOX_GAPS_MIN || conflation.gaps * 2 < self.pieces.len() {
            return;
        }
        self.pieces.retain(|piece| !matches!(piece, Piece::Gone));
        conflation.gaps = 0;
        conflation.newest.clear();
        for (number, piece) in (self.first..).zip(&mut self.pieces) {
            match piece {
                Piece::Product(waiting) => {
                    waiting.older = conflation.newest.insert(waiting.product.clone(), number);
                }
                Piece::Notice { .. } => conflation.notice = Some(number),
                Piece::Shared(..) | Piece::Own(_) | Piece::Answer(_) | Piece::Gone => {}
            }
        }
    }

    fn advance(&mut self, mut taken: usize, backlog: &mut Backlog) {
        self.length -= taken;
        while taken > 0 {
            let Some(piece) = self.pieces.front() else {
                return;
            };
            let bytes = &piece.bytes()[self.written..];
            let step = taken.min(bytes.len());
            self.frame_left = left_of_frame(bytes, step, self.frame_left);
            if let Piece::Answer(_) = piece {
                self.answers -= step;
            }
            taken -= step;
            self.written += step;
            if step == bytes.len() {
                self.pop(backlog);
            }
        }
    }

    /// The first piece is written.
    fn pop(&mut self, backlog: &mut Backlog) {
        let Some(piece) = self.pieces.pop_front() else {
            return;
        };
        self.own -= piece.own();
        piece.let_go(backlog);
        if let (Piece::Product(waiting), Some(conflation)) = (&piece, &mut self.conflation) {
            conflation.forget(&waiting.product, self.first);
        }
        self.first += 1;
        self.written = 0;
        self.skip_gaps();
    }

    /// Tells the backlog what the outbox holds now.
    fn recount(&mut self, backlog: &mut Backlog) {
        let own = size_of::<Self>()
            + self.own
            + self.pieces.capacity() * size_of::<Piece>()
            + self.conflation.as_ref().map_or(0, |it| it.own());
        backlog.recount(self.counted, own);
        self.counted = own;
    }
}

/// Appends `more`; returns by how many bytes the vector's memory grew.
fn extend(bytes: &mut Vec<u8>, more: &[u8]) -> usize {
    let before = bytes.capacity();
    bytes.extend_from_slice(more);
    bytes.capacity() - before
}

/// What is left of the frame in progress after `taken` of `bytes`, which begin with the last
/// `left` bytes of a frame (0: with a frame).
pub fn left_of_frame(bytes: &[u8], taken: usize, left: usize) -> usize {
    let mut at = left;
    while at < taken {
        at += frame_length(&bytes[at..]);
    }
    at - taken
}

/// The length of the server's own frame at the start of `bytes`, header included.
fn frame_length(bytes: &[u8]) -> usize {
    let (header, payload) = lengths(bytes);
    header + payload
}

/// The lengths of header and payload of the server's own (unmasked) frame at the start of `bytes`
/// (RFC 6455 section 5.2).
fn lengths(bytes: &[u8]) -> (usize, usize) {
    match bytes {
        [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        [_, 127, rest @ ..] if rest.len() >= 8 => {
            let mut length = [0; 8];
            length.copy_from_slice(&rest[..8]);
            // Our own frames are far below 2^32 bytes.
            (10, u64::from_be_bytes(length) as usize)
        }
        [_, length, ..] => (2, usize::from(*length)),
        // Only whole frames are put in, so a header is never cut.
        _ => (0, bytes.len()),
    }
}
