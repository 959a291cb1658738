//! What a socket did not take yet: a queue of shared slices and own bytes.
//!
//! Exists only while a connection's socket is full. Long slices are shared with their block;
//! short ones are copied, so that what waits holds no more memory than about its own length.
//! It knows where frames begin, because the limit counts what waits *behind* the frame being
//! written: one single frame, however large, never makes a slow consumer.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::ops::Range;

use bytes::Bytes;

use crate::limits;

/// Bytes that wait for a socket; always whole frames, but for the first.
#[derive(Default)]
pub struct Outbox {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are written.
    written: usize,
    /// All bytes that wait.
    length: usize,
    /// Those of them that are the server's own frames.
    answers: usize,
    /// What is left of a frame that is partly written; 0 between frames.
    frame_left: usize,
}

enum Piece {
    Shared(Bytes),
    Own(Vec<u8>),
    /// What the server says on its own account, which nobody else will be sent.
    Answer(Vec<u8>),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) | Self::Answer(bytes) => bytes,
        }
    }
}

impl Outbox {
    /// Adds the part of `source` that `range` covers, shared or copied, whichever holds less.
    pub fn push(&mut self, source: &Bytes, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        if range.len() >= limits::SHARED_SLICE_MIN || range.len() * 2 >= source.len() {
            self.length += range.len();
            self.pieces.push_back(Piece::Shared(source.slice(range)));
        } else {
            self.length += range.len();
            if let Some(Piece::Own(last)) = self.pieces.back_mut() {
                last.extend_from_slice(&source[range]);
            } else {
                self.pieces.push_back(Piece::Own(source[range].to_vec()));
            }
        }
    }

    /// Adds a copy of the server's own frames.
    pub fn push_answer(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.answers += bytes.len();
        if let Some(Piece::Answer(last)) = self.pieces.back_mut() {
            last.extend_from_slice(bytes);
        } else {
            self.pieces.push_back(Piece::Answer(bytes.to_vec()));
        }
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
    pub fn flush(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        while self.length > 0 {
            let mut slices = [IoSlice::new(&[]); limits::SLICES_PER_WRITE];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                let from = if count == 0 { self.written } else { 0 };
                *slice = IoSlice::new(&piece.bytes()[from..]);
                count += 1;
            }
            match socket.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => self.advance(taken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn advance(&mut self, mut taken: usize) {
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
                self.pieces.pop_front();
                self.written = 0;
            }
        }
    }
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

/// The length of the server's own (unmasked) frame at the start of `bytes`, header included
/// (RFC 6455 section 5.2).
fn frame_length(bytes: &[u8]) -> usize {
    match bytes {
        [_, 126, a, b, ..] => 4 + usize::from(u16::from_be_bytes([*a, *b])),
        [_, 127, rest @ ..] if rest.len() >= 8 => {
            let mut length = [0; 8];
            length.copy_from_slice(&rest[..8]);
            // Our own frames are far below 2^32 bytes.
            10 + u64::from_be_bytes(length) as usize
        }
        [_, length, ..] => 2 + usize::from(*length),
        // Only whole frames are put in, so a header is never cut.
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket that takes so many bytes and then blocks.
    struct Socket {
        room: usize,
        got: Vec<u8>,
    }

    impl Write for Socket {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(self.room);
            self.room -= count;
            self.got.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        crate::wire::frame::put_frame(crate::wire::Opcode::Text, &vec![b'x'; length], &mut bytes);
        bytes
    }

    #[test]
    fn bytes_come_out_in_order_however_the_socket_takes_them() {
        let frames = [frame(5), frame(200), frame(70_000), frame(0), frame(126)];
        let whole: Vec<u8> = frames.concat();
        for room in [1, 2, 3, 7, 100, 1000, 100_000] {
            let mut outbox = Outbox::default();
            for (index, bytes) in frames.iter().enumerate() {
                if index % 2 == 0 {
                    outbox.push(&Bytes::from(bytes.clone()), 0..bytes.len());
                } else {
                    outbox.push_answer(bytes);
                }
            }
            let mut socket = Socket {
                room,
                got: Vec::new(),
            };
            while !outbox.flush(&mut socket).unwrap() {
                assert_eq!(outbox.length, whole.len() - socket.got.len());
                socket.room = room;
            }
            assert!(socket.got == whole, "{room}");
        }
    }

    #[test]
    fn only_what_is_behind_the_frame_being_written_counts() {
        let mut outbox = Outbox::default();
        outbox.push_answer(&frame(70_000));
        assert_eq!(outbox.waiting(), 0, "one single frame never counts");
        outbox.push_answer(&frame(100));
        assert_eq!(outbox.waiting(), 102);
        let mut socket = Socket {
            room: 50_000,
            got: Vec::new(),
        };
        outbox.flush(&mut socket).unwrap();
        assert_eq!(
            outbox.waiting(),
            102,
            "the large one is still being written"
        );
        socket.room = 20_010 + 1;
        outbox.flush(&mut socket).unwrap();
        assert_eq!(
            (outbox.length, outbox.waiting()),
            (101, 0),
            "now the small one is"
        );
    }

    #[test]
    fn a_short_slice_does_not_hold_its_block() {
        let block = Bytes::from(vec![0; 100_000]);
        let mut outbox = Outbox::default();
        outbox.push(&block, 10..200);
        assert!(block.is_unique(), "it was copied");
        outbox.push(&block, 0..60_000);
        assert!(!block.is_unique(), "it is shared");
    }
}
