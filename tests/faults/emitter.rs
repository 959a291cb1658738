//! One emitter: it sends its events in order, and each of them again with the same key until it is acknowledged. Now and then
//! it breaks off in the middle of a line, with answers unread.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde::Deserialize;

use crate::STANDSTILL;
use crate::run::{Count, Run};
use crate::universe::{Serial, mix};

/// How long one waits before it tries again what failed.
const AGAIN: Duration = Duration::from_millis(20);
/// Lines that may wait for their ack.
const IN_FLIGHT: usize = 1_000;

/// Emits until all events are acknowledged, or the run is over.
pub fn emit(run: &Run, emitter: usize) {
    let mut rng = Rng::with_seed(mix(run.plan.seed, 10 + emitter as u64));
    let mut safe = 0;
    while run.ledger.total() != Some(safe) && !run.is_over() {
        // Between two servers there is nobody.
        let Ok(session) = Session::open(run, emitter, &mut rng, safe) else {
            thread::sleep(AGAIN);
            continue;
        };
        match session.last() {
            Ok(now_safe) => safe = now_safe,
            Err(fault) => run.fail(format!("emitter {emitter}: {fault}")),
        }
    }
}

/// One connection to the ingest socket.
struct Session<'a> {
    run: &'a Run,
    emitter: usize,
    rng: &'a mut Rng,
    stream: UnixStream,
    answers: BufReader<UnixStream>,
    /// Events before this one are acknowledged.
    safe: u64,
    /// The next one to send.
    next: u64,
    /// The events of the lines that are not settled, in order.
    in_flight: VecDeque<u64>,
    /// Lines settled.
    settled: u64,
    /// Lines that are not, and are not to be.
    refused: BTreeSet<u64>,
}

/// What a read came to.
#[derive(PartialEq, Eq)]
enum Heard {
    Answer,
    End,
}

/// A line of the server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer<'a> {
    ack: Option<u64>,
    id: Option<&'a str>,
    #[serde(borrow)]
    error: Option<Refusal<'a>>,
}

#[derive(Deserialize)]
struct Refusal<'a> {
    line: u64,
    code: &'a str,
}

impl<'a> Session<'a> {
    fn open(run: &'a Run, emitter: usize, rng: &'a mut Rng, safe: u64) -> io::Result<Session<'a>> {
        let stream = UnixStream::connect(&run.socket)?;
        stream.set_read_timeout(Some(STANDSTILL))?;
        stream.set_write_timeout(Some(STANDSTILL))?;
        let answers = BufReader::new(stream.try_clone()?);
        Ok(Session {
            run,
            emitter,
            rng,
            stream,
            answers,
            safe,
            next: safe,
            in_flight: VecDeque::new(),
            settled: 0,
            refused: BTreeSet::new(),
        })
    }

    /// Emits until the connection ends. Gives the number of events that are acknowledged.
    fn last(mut self) -> Result<u64, String> {
        let breaks_off = Instant::now() + self.run.plan.life().mul_f64(self.rng.f64());
        while self.run.ledger.total() != Some(self.safe) && !self.run.is_over() {
            let lines = self.burst();
            if !self.send(&lines)? {
                break;
            }
            if breaks_off <= Instant::now() {
                self.break_off();
                break;
            }
            let waits_for = match self.rng.u8(..4) {
                0 => self.rng.usize(..IN_FLIGHT / 2),
                _ => 0,
            };
            while self.in_flight.len() > waits_for {
                if self.hear()? == Heard::End {
                    return Ok(self.safe);
                }
            }
            self.rest(lines.is_empty());
        }
        Ok(self.safe)
    }

    /// The next lines that there may be.
    fn burst(&mut self) -> Vec<u8> {
        let most = match self.rng.u8(..10) {
            0 => self.rng.u64(1..=300),
            1..5 => self.rng.u64(1..=30),
            _ => self.rng.u64(1..=3),
        };
        let room = (IN_FLIGHT - self.in_flight.len()) as u64;
        let end = self.run.allowance().min(self.next + most.min(room));
        let mut lines = Vec::new();
        for n in self.next..end {
            lines.extend_from_slice(&self.line(n));
            lines.push(b'\n');
            self.in_flight.push_back(n);
        }
        let count = end.saturating_sub(self.next);
        self.run.counts.add(Count::Lines, count);
        self.next += count;
        lines
    }

    fn line(&self, n: u64) -> Vec<u8> {
        self.run.universe.line(Serial {
            emitter: self.emitter,
            n,
        })
    }

    /// False: the server is gone.
    fn send(&mut self, lines: &[u8]) -> Result<bool, String> {
        match self.stream.write_all(lines) {
            Ok(()) => Ok(true),
            Err(error) if is_timeout(&error) => {
                Err(format!("the server has taken no lines for {STANDSTILL:?}"))
            }
            Err(_) => Ok(false),
        }
    }

    /// Ends in the middle of a line, or before its newline; it is sent again over the next connection.
    fn break_off(&mut self) {
        // What was sent already may come again as well.
        let line = self.line(self.next.min(self.run.allowance().saturating_sub(1)));
        let most = self.rng.usize(1..=line.len());
        // If the server has gone first, that is as good an end.
        self.stream.write_all(&line[..most]).ok();
        self.run.counts.add(Count::EmitterCuts, 1);
    }

    /// Now and then nothing is emitted for a moment, and then more at once.
    fn rest(&mut self, is_idle: bool) {
        if self.rng.u8(..100) == 0 {
            thread::sleep(Duration::from_millis(self.rng.u64(..200)));
        } else if is_idle {
            thread::sleep(Duration::from_millis(self.rng.u64(1..5)));
        }
    }

    fn hear(&mut self) -> Result<Heard, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(_) if !line.ends_with('\n') => return Ok(Heard::End),
            Ok(_) => {}
            Err(error) if is_timeout(&error) => {
                return Err(format!(
                    "{} lines have had no answer for {STANDSTILL:?}",
                    self.in_flight.len()
                ));
            }
            Err(_) => return Ok(Heard::End),
        }
        let answer: Answer<'_> =
            serde_json::from_str(&line).map_err(|error| format!("{error} in {line}"))?;
        match answer {
            Answer {
                error: Some(refusal),
                ..
            } if refusal.code == "unavailable" => {
                self.refused.insert(refusal.line);
                self.run.counts.add(Count::Unavailable, 1);
            }
            Answer {
                ack: Some(lines),
                id: Some(id),
                ..
            } => self.settle(lines, id)?,
            Answer { .. } => return Err(format!("the server answered {line}")),
        }
        Ok(Heard::Answer)
    }

    /// The first so many lines are settled, and `id` is that of the last one.
    fn settle(&mut self, lines: u64, id: &str) -> Result<(), String> {
        let mut last = None;
        let mut has_trouble = false;
        while self.settled < lines {
            let n = self.in_flight.pop_front().ok_or_else(|| {
                format!(
                    "an ack for {lines} lines, of {} that were sent",
                    self.settled
                )
            })?;
            self.settled += 1;
            last = Some(n);
            if self.refused.remove(&self.settled) {
                // It goes on from there; what follows will be repeated, too.
                self.next = self.next.min(n);
                has_trouble = true;
            } else if n == self.safe {
                self.safe += 1;
            }
        }
        self.run.acknowledge(self.emitter, self.safe);
        let n = last.ok_or_else(|| format!("an ack for {lines} lines came again"))?;
        let serial = Serial {
            emitter: self.emitter,
            n,
        };
        let ledger = &self.run.ledger;
        ledger.id(id).and_then(|id| ledger.note(serial, id))?;
        if has_trouble {
            thread::sleep(AGAIN);
        }
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
