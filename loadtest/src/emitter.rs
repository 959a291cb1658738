//! The sending side: events into the ingest socket, and the acknowledgements back.
//!
//! [`Emitter`] is the socket with what waits on both sides of it, and never blocks. [`Scheduled`]
//! drives one on a thread of its own, so that events go out on time however busy the receiving side
//! is; a flood drives it from the receiving side's loop.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use rustix::event::{PollFd, PollFlags};

use crate::priority;
use crate::progress::Progress;
use crate::schedule::Schedule;
use crate::world::World;

/// How long the server may take no lines and give no answers while some are owed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes that are made ready at once, before the socket is tried.
const CHUNK: usize = 256 * 1024;

/// A connection to the ingest socket.
pub struct Emitter {
    /// The socket, for watching.
    pub stream: UnixStream,
    world: Arc<World>,
    progress: Arc<Progress>,
    /// Events before this one are another emitter's.
    first: u32,
    /// The next event to be made a line.
    next: u32,
    lines: Vec<u8>,
    written: usize,
    answers: Vec<u8>,
    /// The id of the newest event, as the server last told it.
    id: Option<String>,
    sent: Sent,
}

/// How the sending went.
#[derive(Debug, Default, Clone)]
pub struct Sent {
    /// Events given to the server, those of earlier emitters included.
    pub events: u32,
    /// Lines the server has settled, those of earlier emitters included.
    pub settled: u32,
    /// Lines among them that it refused.
    pub refused: u32,
    /// The first refusal, as the server wrote it.
    pub first_refusal: Option<String>,
    /// The furthest that a write began behind its intended time.
    pub behind: Duration,
    /// Times that the server did not take what was there to be written.
    pub held_back: u32,
    /// Why sending, or the settling of what was sent, ended before its end.
    pub broke_off: Option<String>,
}

impl Emitter {
    /// Connects to `socket`, to send the events from number `first` on; those before it are settled.
    ///
    /// # Errors
    /// Where the socket does not answer.
    pub fn connect(
        socket: &Path,
        world: &Arc<World>,
        progress: &Arc<Progress>,
        first: u32,
    ) -> Result<Self, String> {
        let stream = UnixStream::connect(socket)
            .map_err(|error| format!("ingest socket {}: {error}", socket.display()))?;
        Ok(Self {
            stream,
            world: Arc::clone(world),
            progress: Arc::clone(progress),
            first,
            next: first,
            lines: Vec::with_capacity(CHUNK),
            written: 0,
            answers: Vec::new(),
            id: None,
            sent: Sent {
                events: first,
                settled: first,
                ..Sent::default()
            },
        })
    }

    /// How the sending goes.
    pub fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Makes lines of the events before number `until`, as many as fit, and writes what the socket
    /// takes. Reads the answers that are there. Returns the events made lines by this call: none once
    /// sending has broken off, because the server has closed the socket or speaks no JSON.
    pub fn pump(&mut self, until: u32) -> std::ops::Range<u32> {
        let first = self.next;
        if self.has_broken_off() {
            return first..first;
        }
        while self.next < until && self.lines.len() < CHUNK {
            self.world.put_line(self.next, &mut self.lines);
            self.next += 1;
        }
        self.progress.announce(self.next);
        self.sent.events = self.next;
        // What the server has settled counts, also where it takes no more.
        let (written, read) = (self.write(), self.read());
        self.sent.broke_off = written.and(read).err();
        first..self.next
    }

    /// Whether nothing more can be sent.
    pub fn has_broken_off(&self) -> bool {
        self.sent.broke_off.is_some()
    }

    /// Whether everything made ready is written.
    pub fn is_flushed(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether the server has settled everything that was sent.
    pub fn is_settled(&self) -> bool {
        self.is_flushed() && self.sent.settled == self.sent.events
    }

    /// Sends the events before number `until` as fast as the server takes them, and waits until it has
    /// settled them. Returns the id of the newest one.
    ///
    /// # Errors
    /// Where it refuses one, or sending breaks off.
    pub fn send_until(&mut self, until: u32) -> Result<String, String> {
        loop {
            self.pump(until);
            let failure = self.sent.broke_off.take();
            if let Some(reason) = failure.or_else(|| self.sent.first_refusal.take()) {
                return Err(reason);
            }
            let is_all_made = self.next >= until;
            if is_all_made && self.is_settled() {
                break;
            }
            if is_all_made || !self.is_flushed() {
                self.wait()?;
            }
        }
        let id = self.id.clone();
        id.ok_or_else(|| "the server has settled events and told no id".into())
    }

    /// Says that no more events come, and waits for the last answer.
    pub fn finish(mut self) -> Sent {
        if !self.has_broken_off() {
            self.sent.broke_off = self.settle().err();
        }
        self.sent
    }

    fn settle(&mut self) -> Result<(), String> {
        while !self.is_flushed() {
            self.wait()?;
            self.write()?;
            self.read()?;
        }
        self.stream
            .shutdown(Shutdown::Write)
            .map_err(|error| format!("ending the writing side of the ingest socket: {error}"))?;
        while self.sent.settled < self.sent.events {
            self.wait()?;
            self.read()?;
        }
        Ok(())
    }

    /// Waits until the socket takes what waits to be written, or has an answer.
    fn wait(&mut self) -> Result<(), String> {
        let mut flags = PollFlags::IN;
        if !self.is_flushed() {
            flags |= PollFlags::OUT;
        }
        let timeout = rustix::event::Timespec {
            tv_sec: ANSWER_TIMEOUT.as_secs() as i64,
            tv_nsec: 0,
        };
        let mut polled = [PollFd::new(&self.stream, flags)];
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(0) => Err(format!(
                "the ingest socket has been silent for {} s, with {} of {} lines settled",
                ANSWER_TIMEOUT.as_secs(),
                self.sent.settled,
                self.sent.events
            )),
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(format!("waiting for the ingest socket: {error}")),
        }
    }

    fn write(&mut self) -> Result<(), String> {
        while self.written < self.lines.len() {
            match self.stream.write(&self.lines[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.sent.held_back += 1;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("writing to the ingest socket: {error}")),
            }
        }
        self.lines.clear();
        self.written = 0;
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        let mut scratch = [0; 8192];
        let mut is_closed = false;
        while !is_closed {
            match self.stream.read(&mut scratch) {
                Ok(0) => is_closed = true,
                Ok(length) => self.answers.extend_from_slice(&scratch[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("reading the ingest socket: {error}")),
            }
        }
        while let Some(end) = memchr::memchr(b'\n', &self.answers) {
            let line: Vec<u8> = self.answers.drain(..=end).collect();
            self.take_answer(&line)?;
        }
        if is_closed && self.sent.settled < self.sent.events {
            return Err(format!(
                "the server has closed the ingest socket with {} of {} lines settled",
                self.sent.settled, self.sent.events
            ));
        }
        Ok(())
    }

    fn take_answer(&mut self, line: &[u8]) -> Result<(), String> {
        let value: serde_json::Value = serde_json::from_slice(line)
            .map_err(|error| format!("an answer on the ingest socket is no JSON: {error}"))?;
        if let Some(settled) = value.get("ack").and_then(serde_json::Value::as_u64) {
            let settled = u32::try_from(settled).unwrap_or(u32::MAX);
            self.sent.settled = self.first.saturating_add(settled);
            self.progress.settle(self.sent.settled);
            if let Some(id) = value.get("id").and_then(serde_json::Value::as_str) {
                self.id = Some(id.to_string());
            }
        } else if value.get("error").is_some() {
            self.sent.refused += 1;
            let text = || String::from_utf8_lossy(line).trim().to_string();
            self.sent.first_refusal.get_or_insert_with(text);
        }
        Ok(())
    }
}

/// An emitter that sends by schedule, on its own thread.
pub struct Scheduled {
    thread: JoinHandle<Sent>,
    progress: Arc<Progress>,
}

impl Scheduled {
    /// Connects to `socket` and sends the events of `world` by `schedule`.
    ///
    /// # Errors
    /// Where the socket does not answer.
    pub fn start(
        socket: &Path,
        world: &Arc<World>,
        progress: &Arc<Progress>,
        schedule: Schedule,
    ) -> Result<Self, String> {
        let emitter = Emitter::connect(socket, world, progress, schedule.first())?;
        let thread = thread::Builder::new()
            .name("emitter".into())
            .spawn(move || {
                priority::be_punctual();
                send(emitter, schedule)
            })
            .map_err(|error| format!("cannot start the emitter's thread: {error}"))?;
        Ok(Self {
            thread,
            progress: Arc::clone(progress),
        })
    }

    /// Ends the schedule now: what is sent is the whole run.
    pub fn stop(&self) {
        self.progress.stop();
        self.thread.thread().unpark();
    }

    /// Waits for the last answer.
    pub fn join(self) -> Sent {
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn send(mut emitter: Emitter, schedule: Schedule) -> Sent {
    let progress = Arc::clone(&emitter.progress);
    while !emitter.has_broken_off() {
        let now = Instant::now();
        let due = if progress.is_stopping() {
            emitter.next
        } else {
            schedule.due(now)
        };
        if !emitter.is_flushed() {
            if let Err(reason) = emitter.wait() {
                emitter.sent.broke_off = Some(reason);
            }
        } else if due > emitter.next {
            let behind = now.saturating_duration_since(schedule.intended(emitter.next));
            emitter.sent.behind = emitter.sent.behind.max(behind);
        } else if due == schedule.end() || progress.is_stopping() {
            break;
        } else {
            // As a sleep, but that it ends when the schedule does.
            thread::park_timeout(schedule.intended(due).saturating_duration_since(now));
            continue;
        }
        emitter.pump(due);
    }
    // Where sending has ended early, what was sent is all there is to come.
    progress.set_events(emitter.next);
    let sent = emitter.finish();
    progress.end();
    sent
}
