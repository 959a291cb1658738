//! One client connection: its handshake, its subscription, and what it has received.
//!
//! Owns the socket and the connection's [`Tally`]; what is common to all connections of a run
//! (the clock's reading, the latency histogram) is handed in as [`Observed`].

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use hdrhistogram::Histogram;
use memchr::memmem::{self, Finder};
use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::accounting::Tally;
use crate::frames::{self, Scanner};
use crate::schedule::Schedule;
use crate::server_process::Target;

/// Connections that share one local address, where the server is on this machine: well under the
/// number of ports that the kernel hands out for an address.
const CONNECTIONS_PER_ADDRESS: u32 = 4000;

/// Key and answer of the example in RFC 6455 section 1.3: every connection can use the same.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server must answer to [`KEY`].
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Most bytes of the answer to a handshake.
const HEAD_MAX: usize = 16 * 1024;

/// One connection to the server.
pub struct Connection {
    /// Its socket, for registration.
    pub stream: TcpStream,
    /// What it has received.
    pub tally: Tally,
    phase: Phase,
    /// The answer to the handshake while it is cut off.
    head: Vec<u8>,
    scanner: Scanner,
    outgoing: Vec<u8>,
}

/// What all connections of a run report to.
pub struct Observed {
    /// Finds the place just before an event's number.
    finder: Finder<'static>,
    schedule: Option<Schedule>,
    /// From the intended time of sending to that of reading, in microseconds.
    pub latency: Histogram<u64>,
    /// Deliveries, each event counted once for each connection.
    pub received: u64,
    /// Text frames that are none of the run's events.
    pub other: u64,
    /// When the last delivery was read.
    pub last: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Handshaking,
    Subscribing,
    Live,
}

impl Connection {
    /// Begins to connect connection number `index`, to authenticate with `token`.
    ///
    /// # Errors
    /// Where the kernel refuses at once.
    pub fn open(target: &Target, index: u32, token: &str) -> Result<Self, String> {
        let describe = |error| format!("connection {index}: {error}");
        let stream = connect(target.address, index).map_err(describe)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
             Sec-WebSocket-Protocol: shopwire.v1, token.{token}\r\n\r\n",
            target.path, target.host
        );
        Ok(Self {
            stream,
            tally: Tally::default(),
            phase: Phase::Connecting,
            head: Vec::new(),
            scanner: Scanner::default(),
            outgoing: request.into_bytes(),
        })
    }

    /// Whether the server has confirmed the subscription.
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Writes what waits and reads what is there.
    ///
    /// # Errors
    /// Why the connection has ended.
    pub fn turn(
        &mut self,
        at_end: bool,
        scratch: &mut [u8],
        observed: &mut Observed,
    ) -> Result<(), String> {
        if self.phase == Phase::Connecting && !self.is_connected()? {
            return Ok(());
        }
        self.flush()?;
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err("ended by the server without a close frame".into()),
                Ok(length) => {
                    self.take(&scratch[..length], Instant::now(), observed)?;
                    self.flush()?;
                    // A short read has emptied the socket: what comes later is told anew. Only the
                    // end of the stream must be read to be seen.
                    if length < scratch.len() && !at_end {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("reading failed: {error}")),
            }
        }
    }

    fn is_connected(&mut self) -> Result<bool, String> {
        let failed = |error| format!("connecting failed: {error}");
        if let Some(error) = self.stream.take_error().map_err(failed)? {
            return Err(failed(error));
        }
        match self.stream.peer_addr() {
            Ok(_) => {
                self.phase = Phase::Handshaking;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    fn flush(&mut self) -> Result<(), String> {
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

    fn take(&mut self, bytes: &[u8], now: Instant, observed: &mut Observed) -> Result<(), String> {
        if matches!(self.phase, Phase::Connecting | Phase::Handshaking) {
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
            self.phase = Phase::Subscribing;
            let subscribe = br#"{"type":"subscribe","data":{"namespaces":["orders"]}}"#;
            frames::put_client_frame(frames::TEXT, subscribe, &mut self.outgoing);
            return self.take_frames(&head[end + 4..], now, observed);
        }
        self.take_frames(bytes, now, observed)
    }

    fn take_frames(
        &mut self,
        bytes: &[u8],
        now: Instant,
        observed: &mut Observed,
    ) -> Result<(), String> {
        let Self {
            scanner,
            phase,
            outgoing,
            tally,
            ..
        } = self;
        scanner.feed(bytes, |opcode, payload| match opcode {
            frames::TEXT if *phase == Phase::Live => {
                observed.count(payload, now, tally);
                Ok(())
            }
            frames::TEXT => {
                if memmem::find(payload, br#""type":"subscribed""#).is_some() {
                    *phase = Phase::Live;
                } else if memmem::find(payload, br#""type":"error""#).is_some() {
                    return Err(format!("refused: {}", String::from_utf8_lossy(payload)));
                }
                Ok(())
            }
            frames::PING => {
                frames::put_client_frame(frames::PONG, payload, outgoing);
                Ok(())
            }
            frames::CLOSE => Err(describe_close(payload)),
            _ => Ok(()),
        })
    }
}

impl Observed {
    /// Ready for the events whose ids begin with `run`.
    ///
    /// # Errors
    /// None for the bounds written here.
    pub fn new(run: &str) -> Result<Self, String> {
        // Up to a minute, three digits.
        let latency = Histogram::new_with_bounds(1, 60_000_000, 3)
            .map_err(|error| format!("cannot make a histogram: {error}"))?;
        let finder = Finder::new(&order_id_prefix(run)).into_owned();
        Ok(Self {
            finder,
            schedule: None,
            latency,
            received: 0,
            other: 0,
            last: None,
        })
    }

    /// From now on events are expected by this schedule.
    pub fn expect(&mut self, schedule: Schedule) {
        self.schedule = Some(schedule);
    }

    #[inline]
    fn count(&mut self, payload: &[u8], now: Instant, tally: &mut Tally) {
        let Some((number, schedule)) = self.number_in(payload).zip(self.schedule) else {
            self.other += 1;
            return;
        };
        if number >= schedule.events() {
            self.other += 1;
        } else if tally.receive(number) {
            self.received += 1;
            self.last = Some(now);
            let latency = now.saturating_duration_since(schedule.intended(number));
            self.latency
                .saturating_record(latency.as_micros().max(1) as u64);
        }
    }

    /// The event's number, found behind a fixed text; the frame is not parsed.
    #[inline]
    fn number_in(&self, payload: &[u8]) -> Option<u32> {
        let start = self.finder.find(payload)? + self.finder.needle().len();
        let mut number: u32 = 0;
        for &byte in &payload[start..] {
            match byte {
                b'0'..=b'9' => {
                    number = number
                        .checked_mul(10)?
                        .checked_add(u32::from(byte - b'0'))?;
                }
                b'"' => return Some(number),
                _ => return None,
            }
        }
        None
    }
}

/// What stands in an event's data just before its number.
pub fn order_id_prefix(run: &str) -> String {
    format!(r#""orderId":"{run}-"#)
}

fn connect(address: SocketAddr, index: u32) -> std::io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv4() && address.ip().is_loopback() {
        // 127.0.0.2 and up: one address alone runs out of ports.
        let host = u32::from(Ipv4Addr::new(127, 0, 0, 2)) + index / CONNECTIONS_PER_ADDRESS;
        socket.bind(&SocketAddr::from((Ipv4Addr::from(host), 0)).into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
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
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_number_is_found_only_in_this_runs_events() {
        let observed = Observed::new("ab12").unwrap();
        let number = |text: &str| observed.number_in(text.as_bytes());
        let event = r#"{"id":"x","type":"order:created","data":{"orderId":"ab12-307","total":1}}"#;
        assert_eq!(number(event), Some(307));
        assert_eq!(number(&event.replace("ab12", "ab13")), None);
        assert_eq!(number(&event.replace("307", "3x7")), None);
        assert_eq!(number(&event.replace("307", "99999999999")), None);
        assert_eq!(number(r#"{"orderId":"ab12-30"#), None);
        assert_eq!(number(""), None);
    }

    #[test]
    fn latency_counts_from_the_intended_time_and_once_for_each_event() {
        let mut observed = Observed::new("r").unwrap();
        let start = Instant::now();
        observed.expect(Schedule::new(start, 10.0, 1.0));
        let mut tally = Tally::default();
        let read_at = start + std::time::Duration::from_millis(250);
        observed.count(br#"{"orderId":"r-1"}"#, read_at, &mut tally);
        observed.count(br#"{"orderId":"r-1"}"#, read_at, &mut tally);
        observed.count(br#"{"orderId":"r-10"}"#, read_at, &mut tally);
        assert_eq!((observed.received, observed.other), (1, 1));
        assert_eq!(observed.latency.len(), 1);
        assert!(observed.latency.value_at_quantile(0.5).abs_diff(150_000) < 200);
    }

    #[test]
    fn close_frames_in_words() {
        assert_eq!(
            describe_close(b"\x11\x3Dslow"),
            "closed by the server: 4413 slow"
        );
        assert_eq!(describe_close(b""), "closed by the server without a code");
    }
}
