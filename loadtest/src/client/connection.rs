//! One client connection: its handshake, its subscription, what it has received, its leaving.
//!
//! Owns the socket and the connection's [`Tally`]; what is common to all connections of a run is
//! handed in as [`Context`].

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use memchr::memmem;
use mio::net::TcpStream;

use super::dialect::{Answer, Dialect, SOCKET_IO_PONG};
use super::frames::{self, Scanner};
use super::pace::Pace;
use super::recorder::Recorder;
use super::seal::Seal;
use super::setup::{Setup, Step};
use crate::accounting::{Faults, Tally, View};
use crate::progress::Progress;
use crate::server::{Host, Target};
use crate::world::{Member, World};

/// Key and answer of the example in RFC 6455 section 1.3: every connection can use the same.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server must answer to [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Most bytes of the answer to a handshake.
const HEAD_MAX: usize = 16 * 1024;

/// Reads in one turn, before the other connections get theirs.
const READS_MAX: u32 = 4;

/// Of so many deliveries the content of one is looked at.
const CONTENT_SAMPLED: u32 = 1009;

/// Status code 1000, a normal closure.
const CLOSE_NORMAL: [u8; 2] = 1000u16.to_be_bytes();

/// One connection to the server.
pub struct Connection {
    /// Its socket, for registration.
    pub stream: TcpStream,
    /// Who it is.
    pub member: Member,
    phase: Phase,
    /// When setting up began, or was to begin, ...
    began: Instant,
    /// ... and when its present phase did.
    since: Instant,
    token: Option<String>,
    /// There if it was here before.
    resume: Option<Resume>,
    /// Whether it resumes and has not caught up.
    is_behind: bool,
    /// The stream is known to have ended behind what is still to be read.
    at_end: bool,
    /// There once the connection has subscribed.
    tally: Option<Tally>,
    /// Events that came after the server had confirmed that none will.
    misdirected: u64,
    /// Events, of those looked at, whose content was not what was sent.
    altered: u64,
    /// The answer to the handshake while it is cut off.
    head: Vec<u8>,
    scanner: Scanner,
    outgoing: Vec<u8>,
    /// Where TLS is spoken.
    seal: Option<Seal>,
}

/// Where a connection goes on that was here before, and how.
#[derive(Debug, Clone)]
pub struct Resume {
    /// The id of the last event that it has received.
    pub since: Arc<str>,
    /// The number of the next one.
    pub from: u32,
    /// How fast it reads, if not as fast as it can.
    pub pace: Option<Pace>,
}

/// What all connections of a run have in common.
pub struct Context<'a> {
    /// Who sees what.
    pub world: &'a World,
    /// The protocol spoken.
    pub dialect: Dialect,
    /// How far the sending side is.
    pub progress: &'a Progress,
    /// Where deliveries are recorded.
    pub recorder: &'a mut Recorder,
    /// Where the times of setting up are recorded.
    pub setup: &'a mut Setup,
}

/// What a turn has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing special.
    Waiting,
    /// There is more to read.
    Unfinished,
    /// There may be more to read, and it takes a break.
    Paused,
    /// The subscription has just been confirmed; there may be more to read.
    BecameLive,
    /// The connection has left as it wanted to.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Upgrading,
    /// Waits for the server's first frame.
    Greeting,
    Authenticating,
    Subscribing,
    Live,
    Unsubscribing,
    Closing,
    Gone,
}

impl Connection {
    /// Begins the handshake on a socket that is connecting. Its times count from `since`.
    ///
    /// # Errors
    /// Where TLS cannot begin.
    pub fn new(
        stream: TcpStream,
        target: &Target,
        host: &Host,
        member: Member,
        token: Option<String>,
        resume: Option<Resume>,
        since: Instant,
    ) -> Result<Self, String> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
            target.path, host.name
        );
        Ok(Self {
            stream,
            member,
            phase: Phase::Connecting,
            began: since,
            since,
            token,
            is_behind: resume.is_some(),
            resume,
            at_end: false,
            tally: None,
            misdirected: 0,
            altered: 0,
            head: Vec::new(),
            scanner: Scanner::default(),
            outgoing: request.into_bytes(),
            seal: Seal::new(target)?,
        })
    }

    /// Whether the subscription stands.
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// The next event that must come, once subscribed.
    pub fn expected(&self) -> Option<u32> {
        self.tally.as_ref().map(Tally::expected)
    }

    /// The faults so far of a connection to which all events before number `until` had to come.
    pub fn faults(&self, until: u32, world: &World, events: u32) -> Faults {
        let view = View {
            world,
            member: &self.member,
            events,
        };
        let mut faults = self
            .tally
            .as_ref()
            .map_or(Faults::default(), |tally| tally.faults(until, view));
        faults.misdirected += self.misdirected;
        faults.altered = self.altered;
        faults
    }

    /// Begins to leave: unsubscribes, then closes.
    pub fn leave(&mut self, dialect: Dialect) -> Result<(), String> {
        debug_assert_eq!(self.phase, Phase::Live);
        self.phase = Phase::Unsubscribing;
        self.say(&dialect.unsubscribe(self.member.interest));
        self.flush()
    }

    /// Writes what waits and reads what is there.
    ///
    /// # Errors
    /// Why the connection has ended.
    pub fn turn(
        &mut self,
        at_end: bool,
        scratch: &mut [u8],
        context: &mut Context<'_>,
    ) -> Result<Turn, String> {
        if self.phase == Phase::Connecting && !self.is_connected()? {
            return Ok(Turn::Waiting);
        }
        self.flush()?;
        self.at_end |= at_end;
        let was_live = self.is_live();
        let mut outcome = Turn::Unfinished;
        for _ in 0..READS_MAX {
            let room = self.room(scratch.len());
            if room == 0 {
                outcome = Turn::Paused;
                break;
            }
            match self.stream.read(&mut scratch[..room]) {
                Ok(0) if self.phase == Phase::Closing => self.phase = Phase::Gone,
                Ok(0) => return Err("ended by the server without a close frame".into()),
                Ok(length) => {
                    match &mut self.seal {
                        None => self.take(&scratch[..length], context)?,
                        Some(seal) => match &seal.read(&scratch[..length])?[..] {
                            [] => {}
                            plain => self.take(plain, context)?,
                        },
                    }
                    self.flush()?;
                    // A short read has emptied the socket: what comes later is told anew. Only the
                    // end of the stream must be read to be seen.
                    if length < room && !self.at_end {
                        outcome = Turn::Waiting;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => outcome = Turn::Waiting,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("reading failed: {error}")),
            }
            if self.phase == Phase::Gone {
                return Ok(Turn::Gone);
            }
            if outcome == Turn::Waiting {
                break;
            }
        }
        Ok(if !was_live && self.is_live() {
            Turn::BecameLive
        } else {
            outcome
        })
    }

    /// How much may be read now, `most` at most.
    fn room(&mut self, most: usize) -> usize {
        let pace = self.resume.as_mut().and_then(|resume| resume.pace.as_mut());
        pace.map_or(most, |pace| pace.room(Instant::now()).min(most))
    }

    fn is_connected(&mut self) -> Result<bool, String> {
        let failed = |error| format!("connecting failed: {error}");
        if let Some(error) = self.stream.take_error().map_err(failed)? {
            return Err(failed(error));
        }
        match self.stream.peer_addr() {
            Ok(_) => {
                self.phase = Phase::Upgrading;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    fn say(&mut self, text: &str) {
        frames::put_client_frame(frames::TEXT, text.as_bytes(), &mut self.outgoing);
    }

    fn flush(&mut self) -> Result<(), String> {
        if let Some(seal) = &mut self.seal {
            let written = seal.write(&mut self.outgoing, &mut self.stream);
            return written.map_err(|error| format!("writing failed: {error}"));
        }
        if self.outgoing.is_empty() {
            return Ok(());
        }
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(length) => drop(self.outgoing.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("writing failed: {error}")),
            }
        }
        // Thousands of connections should not each keep the buffer of their handshake.
        self.outgoing = Vec::new();
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], context: &mut Context<'_>) -> Result<(), String> {
        context.recorder.begin_read(Instant::now(), bytes.len());
        if let Some(Resume {
            pace: Some(pace), ..
        }) = &mut self.resume
        {
            pace.took(bytes.len());
        }
        if self.phase != Phase::Upgrading {
            self.take_frames(bytes, context)?;
            self.see_whether_caught_up(context);
            return Ok(());
        }
        self.head.extend_from_slice(bytes);
        let Some(end) = memmem::find(&self.head, b"\r\n\r\n") else {
            return if self.head.len() < HEAD_MAX {
                Ok(())
            } else {
                Err("the answer to the handshake does not end".into())
            };
        };
        let head = std::mem::take(&mut self.head);
        if !head.starts_with(b"HTTP/1.1 101 ")
            || memmem::find(&head[..end], ACCEPT.as_bytes()).is_none()
        {
            return Err(format!(
                "handshake refused: {}",
                String::from_utf8_lossy(&head).trim()
            ));
        }
        self.enter(Phase::Greeting, Some(Step::Upgrade), context.setup);
        self.take_frames(&head[end + 4..], context)
    }

    /// Whoever has everything that the server has settled has caught up.
    fn see_whether_caught_up(&mut self, context: &mut Context<'_>) {
        let has_all = |next: u32| next >= context.progress.settled();
        if self.is_behind && self.expected().is_some_and(has_all) {
            self.is_behind = false;
            context.recorder.has_caught_up(self.began);
        }
    }

    fn take_frames(&mut self, bytes: &[u8], context: &mut Context<'_>) -> Result<(), String> {
        let mut scanner = std::mem::take(&mut self.scanner);
        let outcome = scanner.feed(bytes, |opcode, payload| match opcode {
            frames::TEXT => self.take_text(payload, context),
            frames::PING => {
                frames::put_client_frame(frames::PONG, payload, &mut self.outgoing);
                Ok(())
            }
            frames::CLOSE if self.phase == Phase::Closing => {
                self.phase = Phase::Gone;
                Ok(())
            }
            frames::CLOSE => Err(describe_close(payload)),
            frames::PONG => Ok(()),
            other => Err(format!("the server sent a frame of opcode {other}")),
        });
        self.scanner = scanner;
        outcome
    }

    #[inline]
    fn take_text(&mut self, payload: &[u8], context: &mut Context<'_>) -> Result<(), String> {
        match context.recorder.number_in(payload) {
            Some(number) => {
                self.take_event(number, payload.len(), context);
                self.altered += u64::from(self.is_altered(number, payload, context));
                Ok(())
            }
            None => self.take_answer(payload, context),
        }
    }

    /// Whether an event's content is not what was sent. Looked at now and then: it means to parse.
    #[inline]
    fn is_altered(&self, number: u32, payload: &[u8], context: &Context<'_>) -> bool {
        let is_sampled = number
            .wrapping_add(self.member.session)
            .is_multiple_of(CONTENT_SAMPLED);
        is_sampled && !context.world.is_content(number, payload)
    }

    #[inline]
    fn take_event(&mut self, number: u32, length: usize, context: &mut Context<'_>) {
        let view = View {
            world: context.world,
            member: &self.member,
            events: context.progress.events(),
        };
        match &mut self.tally {
            // An event that was not sent yet is none of the run's, whatever it says.
            _ if number >= context.progress.announced() => self.misdirected += 1,
            Some(tally) if self.phase != Phase::Closing => {
                if tally.receive(number, view) {
                    match self.is_behind {
                        true => context.recorder.count_replayed(length),
                        false => context.recorder.count(number),
                    }
                }
            }
            _ => self.misdirected += 1,
        }
    }

    fn take_answer(&mut self, payload: &[u8], context: &mut Context<'_>) -> Result<(), String> {
        let dialect = context.dialect;
        match (self.phase, dialect.read(payload)) {
            (_, Answer::Ping) => self.say(SOCKET_IO_PONG),
            (_, Answer::Refused) => {
                return Err(format!("refused: {}", String::from_utf8_lossy(payload)));
            }
            (Phase::Greeting, Answer::Welcome) => {
                match dialect.authenticate(self.token.take().as_deref()) {
                    Some(text) => {
                        self.say(&text);
                        self.enter(Phase::Authenticating, None, context.setup);
                    }
                    None => self.subscribe(None, context),
                }
            }
            (Phase::Authenticating, Answer::Authenticated) => {
                self.subscribe(Some(Step::Authenticate), context);
            }
            (Phase::Subscribing, Answer::Subscribed) => {
                let view = View {
                    world: context.world,
                    member: &self.member,
                    events: context.progress.events(),
                };
                self.tally = Some(match &self.resume {
                    Some(_) if !dialect.is_recovered(payload) => {
                        return Err("the server did not have all that came since".into());
                    }
                    Some(resume) => Tally::resumed(resume.from, view),
                    // What is announced from now on is written after the server had subscribed us.
                    None => Tally::new(context.progress.announced(), view),
                });
                self.enter(Phase::Live, Some(Step::Subscribe), context.setup);
            }
            (Phase::Unsubscribing, Answer::Unsubscribed) => {
                frames::put_client_frame(frames::CLOSE, &CLOSE_NORMAL, &mut self.outgoing);
                self.phase = Phase::Closing;
            }
            _ => context.recorder.other += 1,
        }
        Ok(())
    }

    fn subscribe(&mut self, done: Option<Step>, context: &mut Context<'_>) {
        let since = self.resume.as_ref().map(|resume| &*resume.since);
        let text = context.dialect.subscribe(self.member.interest, since);
        self.say(&text);
        self.enter(Phase::Subscribing, done, context.setup);
    }

    /// Goes on to `phase`; `done` is the step that was waited for until now.
    fn enter(&mut self, phase: Phase, done: Option<Step>, setup: &mut Setup) {
        let now = Instant::now();
        if let Some(done) = done {
            setup.record(done, now - self.since);
        }
        if phase == Phase::Live {
            setup.record(Step::Whole, now - self.began);
        }
        self.since = now;
        self.phase = phase;
    }
}

fn describe_close(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => format!(
            "closed by the server: {} {}",
            u16::from_be_bytes([*high, *low]),
            String::from_utf8_lossy(reason)
        ),
        _ => "closed by the server without a code".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_frames_in_words() {
        assert_eq!(
            describe_close(b"\x11\x3Dslow"),
            "closed by the server: 4413 slow"
        );
        assert_eq!(describe_close(b""), "closed by the server without a code");
    }
}
