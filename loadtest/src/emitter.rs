//! The sending side: events into the ingest socket, on schedule, and the acknowledgements back.

use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::connection::order_id_prefix;
use crate::schedule::Schedule;

/// How long an answer on the ingest socket may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Two threads, one writing events and one reading answers.
pub struct Emitter {
    schedule: Schedule,
    writer: JoinHandle<Result<Duration, String>>,
    reader: JoinHandle<Result<Answers, String>>,
}

/// How the sending went.
#[derive(Debug, Default)]
pub struct Sent {
    /// Lines the server has settled.
    pub settled: u32,
    /// Lines among them that it refused.
    pub refused: u32,
    /// The first refusal, as the server wrote it.
    pub first_refusal: Option<String>,
    /// The furthest that a write began behind its intended time.
    pub behind: Duration,
}

#[derive(Debug, Default)]
struct Answers {
    settled: u32,
    refused: u32,
    first_refusal: Option<String>,
}

impl Emitter {
    /// Connects to `socket` and starts to send the events of `run` by `schedule`.
    ///
    /// # Errors
    /// Where the socket does not answer.
    pub fn start(socket: &Path, run: &str, schedule: Schedule) -> Result<Self, String> {
        let describe = |error| format!("ingest socket {}: {error}", socket.display());
        let stream = UnixStream::connect(socket).map_err(describe)?;
        stream
            .set_read_timeout(Some(ANSWER_TIMEOUT))
            .map_err(describe)?;
        stream
            .set_write_timeout(Some(ANSWER_TIMEOUT))
            .map_err(describe)?;
        let answers = stream.try_clone().map_err(describe)?;
        let prefix = order_id_prefix(run);
        Ok(Self {
            schedule,
            writer: thread::spawn(move || write_events(stream, &prefix, schedule)),
            reader: thread::spawn(move || read_answers(answers, schedule)),
        })
    }

    /// Whether sending ended before the last event was due, which is a failure that
    /// [`join`](Self::join) tells.
    pub fn has_failed(&self) -> bool {
        let last = self.schedule.intended(self.schedule.events() - 1);
        self.writer.is_finished() && Instant::now() < last
    }

    /// Waits for the last answer.
    ///
    /// # Errors
    /// Why not all events could be sent, or not all answers read.
    pub fn join(self) -> Result<Sent, String> {
        let behind = self
            .writer
            .join()
            .map_err(|_| "the writing thread panicked")??;
        let Answers {
            settled,
            refused,
            first_refusal,
        } = self
            .reader
            .join()
            .map_err(|_| "the answers' thread panicked")??;
        Ok(Sent {
            settled,
            refused,
            first_refusal,
            behind,
        })
    }
}

fn write_events(
    mut stream: UnixStream,
    prefix: &str,
    schedule: Schedule,
) -> Result<Duration, String> {
    let mut behind = Duration::ZERO;
    let mut lines = Vec::new();
    let mut sent = 0;
    while sent < schedule.events() {
        let now = Instant::now();
        let due = schedule.due(now);
        if due == sent {
            thread::sleep(schedule.intended(sent).saturating_duration_since(now));
            continue;
        }
        behind = behind.max(now.saturating_duration_since(schedule.intended(sent)));
        lines.clear();
        for number in sent..due {
            put_line(prefix, number, &mut lines);
        }
        stream
            .write_all(&lines)
            .map_err(|error| format!("writing event {sent} to the ingest socket: {error}"))?;
        sent = due;
    }
    stream
        .shutdown(Shutdown::Write)
        .map_err(|error| format!("ending the writing side of the ingest socket: {error}"))?;
    Ok(behind)
}

fn put_line(prefix: &str, number: u32, out: &mut Vec<u8>) {
    let line = format!(
        "{{\"type\":\"order:created\",\"data\":{{{prefix}{number}\",\"customerId\":\"customer-{}\",\
         \"customerName\":\"Ada Example\",\"total\":{}.95,\"status\":\"pending\",\
         \"channel\":\"web\"}}}}\n",
        number % 1000,
        10 + number % 200
    );
    out.extend_from_slice(line.as_bytes());
}

fn read_answers(stream: UnixStream, schedule: Schedule) -> Result<Answers, String> {
    // The first answer cannot come before the first event.
    thread::sleep(schedule.start().saturating_duration_since(Instant::now()));
    let mut answers = Answers::default();
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(|error| {
            let settled = answers.settled;
            format!("waiting for answers on the ingest socket after {settled} lines: {error}")
        })?;
        let value: serde_json::Value = serde_json::from_str(&line)
            .map_err(|error| format!("an answer on the ingest socket is no JSON: {error}"))?;
        if let Some(settled) = value.get("ack").and_then(serde_json::Value::as_u64) {
            answers.settled = u32::try_from(settled).unwrap_or(u32::MAX);
        } else if value.get("error").is_some() {
            answers.refused += 1;
            answers.first_refusal.get_or_insert(line);
        }
        if answers.settled >= schedule.events() {
            break;
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_is_one_order_with_its_number() {
        let mut out = Vec::new();
        put_line(&order_id_prefix("r"), 1234, &mut out);
        assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(line["type"], "order:created");
        assert_eq!(line["data"]["orderId"], "r-1234");
        assert!(line["data"]["total"].as_f64().unwrap() > 0.0);
    }
}
