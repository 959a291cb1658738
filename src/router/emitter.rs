//! One emitter's connection to the ingest socket: bytes to lines, answers to bytes.
//!
//! Owned by the router's slab. Knows lines, not events: what a line means is the sequencer's
//! business. The read buffer is lent by the router while there is something to read, so an idle
//! emitter keeps none.

mod acks;

use std::io::{self, Read, Write};
use std::ops::Range;

use mio::net::UnixStream;
use rustix::net::{RecvFlags, recv};
use rustix::process::Pid;
use serde_json::{Value, json};

use super::settling::Settling;
use crate::cluster::Called;
use crate::emitters::{Rights, UserId};
use crate::event::{Code, Refusal};
use crate::limits;
use crate::takeover::state::EmitterState;
use acks::Names;

/// A connected emitter.
pub struct Emitter {
    pub(super) stream: UnixStream,
    /// Tells this connection from an earlier one in the same slot.
    pub(super) generation: u32,
    /// Whose it is, if the kernel says so.
    pub(super) user: Option<UserId>,
    /// Which process connected, if the kernel says so.
    pub(super) process: Option<Pid>,
    /// What this user may do.
    pub(super) rights: Rights,
    input: Vec<u8>,
    /// What was read and not yet taken, in `input`.
    unread: Range<usize>,
    /// Where the search for the next newline goes on.
    searched: usize,
    /// The rest of a line that was too long is being thrown away.
    skipping: bool,
    line_max: usize,
    /// Lines counted so far; all of them are settled when `ack` is called.
    lines: u64,
    /// Lines whose events have been handed down.
    handed_down: u64,
    acked: u64,
    newest: Option<u64>,
    /// What waits for the journal or Redis, where there is one of them.
    settling: Option<Settling>,
    /// It stands on the router's list of those for whom something waits: once, however much it sends.
    pub(super) is_unsettled: bool,
    /// What events are called, where that is Redis' to say.
    names: Option<Names>,
    output: Vec<u8>,
    written: usize,
    /// The emitter will send no more.
    pub(super) ended: bool,
    /// Its socket may have bytes for us.
    pub(super) readable: bool,
    /// It has shut its side down: a read that finds little has not found all.
    pub(super) hung_up: bool,
    /// It has closed its socket, or ended: it reads no more either.
    pub(super) is_gone: bool,
    /// The poll tells when its socket has room for answers, which is asked for only while some wait.
    pub(super) awaits_room: bool,
    /// Bytes that were in its socket when the drain began and are still to be read.
    pub(super) drain_left: Option<u64>,
    /// A command waits for its answer; the lines after it wait with it.
    pub(super) awaits_answer: bool,
}

/// What [`Emitter::next_line`] found.
pub enum Next {
    /// A line, as a range of [`Emitter::bytes`], without its newline.
    Line(Range<usize>),
    /// A line over the limit was thrown away.
    TooLong,
    /// No whole line is there.
    None,
}

impl Emitter {
    /// A connection just accepted; lines of more than `line_max` bytes are refused.
    pub fn new(
        stream: UnixStream,
        generation: u32,
        user: Option<UserId>,
        rights: Rights,
        line_max: usize,
    ) -> Self {
        Self {
            stream,
            generation,
            user,
            process: None,
            rights,
            input: Vec::new(),
            unread: 0..0,
            searched: 0,
            skipping: false,
            line_max,
            lines: 0,
            handed_down: 0,
            acked: 0,
            newest: None,
            settling: None,
            is_unsettled: false,
            names: None,
            output: Vec::new(),
            written: 0,
            ended: false,
            readable: true,
            hung_up: false,
            is_gone: false,
            awaits_room: false,
            drain_left: None,
            awaits_answer: false,
        }
    }

    /// Reads once. `spare` is the router's buffer, swapped in if the emitter has none.
    /// Returns the bytes read; sets `ended` at the end of the stream, and clears `readable` when
    /// the socket is empty.
    pub fn read(&mut self, spare: &mut Vec<u8>) -> io::Result<usize> {
        if self.input.is_empty() {
            std::mem::swap(&mut self.input, spare);
        }
        self.make_room();
        let most = self.drain_left.map_or(usize::MAX, |left| {
            usize::try_from(left).unwrap_or(usize::MAX)
        });
        let end = self.input.len().min(self.unread.end.saturating_add(most));
        let room = end - self.unread.end;
        let count = match self.stream.read(&mut self.input[self.unread.end..end]) {
            Ok(count) => count,
            Err(error) => {
                self.readable = error.kind() != io::ErrorKind::WouldBlock;
                return Err(error);
            }
        };
        // A read that does not fill its room has emptied the socket (epoll(7)), and what comes
        // later makes a new event; only an end of stream must be looked for.
        self.readable = count > 0 && (count == room || self.hung_up);
        self.unread.end += count;
        if let Some(left) = &mut self.drain_left {
            *left -= count as u64;
        }
        if count == 0 && most > 0 {
            self.ended = true;
        }
        Ok(count)
    }

    /// Whether the next line is a command, as `ctl` writes it: looked at where it lies, and not read.
    pub fn has_command(&self) -> bool {
        const COMMAND: &[u8] = b"{\"command\"";
        if !self.unread.is_empty() {
            return self.input[self.unread.clone()].starts_with(COMMAND);
        }
        let mut begin = [0; COMMAND.len()];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let seen = recv(&self.stream, &mut begin, flags);
        seen.is_ok_and(|(count, _)| begin[..count] == *COMMAND)
    }

    /// Room for at least as much as is there: moves what is unread to the front, or grows.
    fn make_room(&mut self) {
        if self.unread.end < self.input.len() {
            return;
        }
        let unread = self.unread.clone();
        if unread.start > 0 {
            self.input.copy_within(unread.clone(), 0);
            self.searched = self.searched.saturating_sub(unread.start);
            self.unread = 0..unread.len();
        }
        if self.unread.end * 2 >= self.input.len() {
            self.input
                .resize((self.input.len() * 2).max(limits::INGEST_READ), 0);
        }
    }

    /// The next whole line; counts it.
    pub fn next_line(&mut self) -> Next {
        let from = self.searched.max(self.unread.start);
        let Some(found) = memchr::memchr(b'\n', &self.input[from..self.unread.end]) else {
            self.searched = self.unread.end;
            if self.unread.len() > self.line_max {
                self.skipping = true;
                self.unread.start = self.unread.end;
            }
            return Next::None;
        };
        let line = self.unread.start..from + found;
        self.unread.start = line.end + 1;
        self.lines += 1;
        if std::mem::take(&mut self.skipping) || line.len() > self.line_max {
            return Next::TooLong;
        }
        Next::Line(line)
    }

    /// What is left when the stream has ended without a newline; counts it as a line.
    pub fn last_line(&mut self) -> Next {
        if std::mem::take(&mut self.skipping) {
            self.lines += 1;
            return Next::TooLong;
        }
        if self.unread.is_empty() {
            return Next::None;
        }
        let line = self.unread.clone();
        self.unread.start = self.unread.end;
        self.lines += 1;
        if line.len() > self.line_max {
            Next::TooLong
        } else {
            Next::Line(line)
        }
    }

    /// The bytes behind a [`Next::Line`].
    pub fn bytes(&self, line: Range<usize>) -> &[u8] {
        &self.input[line]
    }

    /// Gives the buffer back as `spare` if all of it is taken; keeps little for little.
    pub fn release(&mut self, spare: &mut Vec<u8>) {
        if !self.unread.is_empty() {
            if self.unread.len() * 4 < self.input.len() && self.input.len() >= limits::INGEST_READ {
                let kept = self.input[self.unread.clone()].to_vec();
                self.searched = self.searched.saturating_sub(self.unread.start);
                self.unread = 0..kept.len();
                let lent = std::mem::replace(&mut self.input, kept);
                keep_spare(spare, lent);
            }
            return;
        }
        self.unread = 0..0;
        self.searched = 0;
        keep_spare(spare, std::mem::take(&mut self.input));
    }

    /// The number of the line last counted.
    pub fn line_number(&self) -> u64 {
        self.lines
    }

    /// What there is of it, to be taken over by another process. All its lines are acknowledged.
    pub fn state(&self) -> EmitterState {
        EmitterState {
            unread: self.input[self.unread.clone()].to_vec(),
            skipping: self.skipping,
            lines: self.lines,
            newest: match &self.names {
                // Another process does not know what this one has delivered alone.
                Some(names) => names
                    .acked
                    .filter(|called| called.alone.is_none())
                    .map(|called| called.number),
                None => self.newest,
            },
            output: self.output[self.written..].to_vec(),
        }
    }

    /// Goes on where it was in another process.
    pub fn go_on(&mut self, state: EmitterState) {
        self.unread = 0..state.unread.len();
        self.input = state.unread;
        self.skipping = state.skipping;
        (self.lines, self.handed_down, self.acked) = (state.lines, state.lines, state.lines);
        match &mut self.names {
            Some(names) => {
                names.acked = state.newest.map(|number| Called {
                    number,
                    alone: None,
                });
            }
            None => self.newest = state.newest,
        }
        self.output = state.output;
    }

    /// The line last counted has this event (or repeats its key).
    pub fn accepted(&mut self, id: u64) {
        self.newest = Some(id);
        if let Some(settling) = &mut self.settling {
            settling.accepted(self.lines, id);
        }
    }

    /// Answers the line last counted with its refusal.
    pub fn refuse(&mut self, refusal: &Refusal) {
        self.refuse_as(
            refusal.code.as_str(),
            refusal.field.as_deref(),
            &refusal.message,
        );
    }

    /// As [`Emitter::refuse`], for codes that only commands have.
    pub fn refuse_as(&mut self, code: &str, field: Option<&str>, message: &str) {
        self.put_error(self.lines, code, field, message);
    }

    fn put_error(&mut self, line: u64, code: &str, field: Option<&str>, message: &str) {
        self.answer(&refusal_line(line, code, field, message));
    }

    /// Answers a command.
    pub fn answer(&mut self, answer: &Value) {
        self.output.extend_from_slice(answer.to_string().as_bytes());
        self.output.push(b'\n');
    }

    /// Adds whole lines to what it is sent.
    pub fn put(&mut self, lines: &[u8]) {
        if self.written > self.output.len() / 2 {
            // A reader that is always a little behind never lets all of it go.
            self.output.drain(..self.written);
            self.written = 0;
        }
        self.output.extend_from_slice(lines);
    }

    /// Bytes that its socket has not taken.
    pub fn unwritten(&self) -> usize {
        self.output.len() - self.written
    }

    /// Writes answers as far as the socket takes them. True: nothing is left.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.output.shrink_to(4096);
        self.written = 0;
        Ok(true)
    }

    /// Whether it leaves so many answers unread that it is not read for now.
    pub fn is_deaf(&self) -> bool {
        self.unwritten() > limits::EMITTER_OUT_MAX
    }

    /// Whether all answers are written.
    pub fn is_flushed(&self) -> bool {
        self.output.is_empty() && self.acked == self.lines
    }

    /// The answer to a line that was thrown away for its length.
    pub fn too_long(&self) -> Refusal {
        Refusal {
            code: Code::TooLarge,
            field: None,
            message: format!(
                "the line is longer than {} bytes, the most that max-message allows",
                self.line_max
            ),
        }
    }
}

/// Why a line was refused, as it is told.
pub(super) fn refusal_line(line: u64, code: &str, field: Option<&str>, message: &str) -> Value {
    let mut error = json!({ "line": line, "code": code, "message": message });
    if let Some(field) = field {
        error["field"] = field.into();
    }
    json!({ "error": error })
}

fn keep_spare(spare: &mut Vec<u8>, returned: Vec<u8>) {
    // A buffer that grew for one long line is not kept for everybody.
    if returned.len() == limits::INGEST_READ {
        *spare = returned;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Epoch, Runs};

    const LINE_MAX: usize = 1000;

    fn pair() -> (Emitter, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (
            Emitter::new(
                UnixStream::from_std(ours),
                0,
                None,
                Rights::EVENTS,
                LINE_MAX,
            ),
            theirs,
        )
    }

    fn lines(emitter: &mut Emitter) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            match emitter.next_line() {
                Next::Line(line) => {
                    found.push(String::from_utf8(emitter.bytes(line).to_vec()).unwrap());
                }
                Next::TooLong => found.push("too long".into()),
                Next::None => return found,
            }
        }
    }

    #[test]
    fn lines_are_whole_however_they_are_cut() {
        let (mut emitter, mut peer) = pair();
        let mut spare = Vec::new();
        let mut seen = Vec::new();
        for piece in ["on", "e\ntwo\nth", "", "ree", "\n\nfi", "ve\n"] {
            peer.write_all(piece.as_bytes()).unwrap();
            if !piece.is_empty() {
                emitter.read(&mut spare).unwrap();
            }
            seen.extend(lines(&mut emitter));
            emitter.release(&mut spare);
        }
        assert_eq!(seen, ["one", "two", "three", "", "five"]);
        assert_eq!(emitter.line_number(), 5);
        assert!(emitter.unread.is_empty());
    }

    #[test]
    fn a_line_of_exactly_the_limit_passes_and_one_more_byte_is_thrown_away() {
        let (mut emitter, mut peer) = pair();
        let mut spare = Vec::new();
        let mut text = "a".repeat(LINE_MAX) + "\n" + &"b".repeat(LINE_MAX + 1);
        peer.write_all(text.as_bytes()).unwrap();
        emitter.read(&mut spare).unwrap();
        assert_eq!(lines(&mut emitter), ["a".repeat(LINE_MAX)]);
        emitter.release(&mut spare);
        text = "b".repeat(5000) + "\nnext\n";
        peer.write_all(text.as_bytes()).unwrap();
        emitter.read(&mut spare).unwrap();
        assert_eq!(lines(&mut emitter), ["too long", "next"]);
    }

    #[test]
    fn the_end_without_a_newline_leaves_a_last_line() {
        let (mut emitter, mut peer) = pair();
        let mut spare = Vec::new();
        peer.write_all(b"one\ntwo").unwrap();
        drop(peer);
        emitter.read(&mut spare).unwrap();
        assert_eq!(lines(&mut emitter), ["one"]);
        assert_eq!(emitter.read(&mut spare).unwrap(), 0);
        assert!(emitter.ended);
        assert!(
            matches!(emitter.last_line(), Next::Line(line) if emitter.bytes(line.clone()) == b"two")
        );
        assert!(matches!(emitter.last_line(), Next::None));
    }

    #[test]
    fn an_ack_covers_all_lines_and_is_not_repeated() {
        let (mut emitter, mut peer) = pair();
        let mut spare = Vec::new();
        peer.write_all(b"\n\n").unwrap();
        emitter.read(&mut spare).unwrap();
        lines(&mut emitter);
        let runs = Runs::only(Epoch(0xe));
        emitter.ack(&runs);
        emitter.accepted(7);
        emitter.ack(&runs);
        peer.write_all(b"\n").unwrap();
        emitter.read(&mut spare).unwrap();
        lines(&mut emitter);
        emitter.ack(&runs);
        assert!(emitter.flush().unwrap());
        let mut answers = [0; 100];
        let count = peer.read(&mut answers).unwrap();
        let text = std::str::from_utf8(&answers[..count]).unwrap();
        assert_eq!(text, "{\"ack\":2}\n{\"ack\":3,\"id\":\"e-7\"}\n");
    }
}
