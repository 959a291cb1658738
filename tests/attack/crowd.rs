//! Clients who do nothing wrong: each is subscribed to products and reads what comes at once. A thread of their own reads
//! for all of them, and holds each to having every event once, in order, and to being let alone.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;

use super::wire::{handshake, put_frame, take_frame};
use crate::harness::client::tcp;
use crate::harness::tls::{Browser, Stream};
use crate::harness::{Server, tokens, wait_until};

/// The most events of one trial.
const EVENTS_MAX: usize = 10_000;

/// When an event was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nobody attacks.
    Before,
    /// Somebody does.
    During,
    /// The last one, which shows that nothing is missing.
    After,
}

/// How long deliveries took, in microseconds.
pub struct Latencies {
    pub before: Histogram<u64>,
    pub during: Histogram<u64>,
}

/// What the emitter and the readers share.
struct Book {
    started: Instant,
    /// By the event's number: when it was sent, in nanoseconds since `started`, and in which phase.
    sent: Vec<(AtomicU64, AtomicU8)>,
    count: AtomicUsize,
    subscribed: AtomicUsize,
    delivered: AtomicUsize,
    is_over: AtomicBool,
    /// What was not as it must be.
    faults: Mutex<Vec<String>>,
}

/// All of them.
pub struct Crowd {
    size: usize,
    book: Arc<Book>,
    reader: JoinHandle<Latencies>,
}

impl Crowd {
    /// So many customers, on connections of their own; over TLS where there is a browser.
    pub fn gather(server: &Server, browser: Option<&Browser>, size: usize) -> Crowd {
        let book = Arc::new(Book {
            started: Instant::now(),
            sent: std::iter::repeat_with(Default::default)
                .take(EVENTS_MAX)
                .collect(),
            count: AtomicUsize::new(0),
            subscribed: AtomicUsize::new(0),
            delivered: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            faults: Mutex::default(),
        });
        let seats: Vec<Seat> = (0..size)
            .map(|number| Seat::take(server, browser, number))
            .collect();
        let poll = Poll::new().unwrap();
        for (number, seat) in seats.iter().enumerate() {
            let registry = poll.registry();
            registry
                .register(&mut SourceFd(&seat.fd), Token(number), Interest::READABLE)
                .unwrap();
        }
        let readers_book = Arc::clone(&book);
        let reader = std::thread::spawn(move || read(seats, poll, &readers_book));
        let crowd = Crowd { size, book, reader };
        wait_until("the crowd is subscribed", || {
            crowd.book.subscribed.load(Ordering::Acquire) == size || crowd.is_harmed()
        });
        crowd
    }

    /// The number of the event that is sent now.
    pub fn send(&self, phase: Phase) -> usize {
        let number = self.book.count.load(Ordering::Relaxed);
        let (at, in_phase) = &self.book.sent[number];
        let now = u64::try_from(self.book.started.elapsed().as_nanos()).unwrap();
        at.store(now, Ordering::Relaxed);
        in_phase.store(phase as u8, Ordering::Relaxed);
        self.book.count.store(number + 1, Ordering::Release);
        number
    }

    fn is_harmed(&self) -> bool {
        !self.book.faults.lock().unwrap().is_empty()
    }

    /// Waits until each of them has all that was sent. Panics if one has lost something, or was disconnected.
    pub fn end(self) -> Latencies {
        let owed = self.size * self.book.count.load(Ordering::Acquire);
        wait_until("everybody has every event", || {
            self.book.delivered.load(Ordering::Acquire) >= owed || self.is_harmed()
        });
        self.book.is_over.store(true, Ordering::Release);
        let latencies = self.reader.join().unwrap();
        let faults = self.book.faults.lock().unwrap();
        assert!(
            faults.is_empty(),
            "{} faults: {:?}",
            faults.len(),
            &faults[..faults.len().min(5)]
        );
        latencies
    }
}

/// What one of them reads and writes.
trait Line: Read + Write + Send {}

impl<T: Read + Write + Send> Line for T {}

/// One of them.
struct Seat {
    stream: Box<dyn Line>,
    fd: RawFd,
    received: Vec<u8>,
    /// The server's answer to the handshake has come.
    is_open: bool,
    /// The number of the event that comes next.
    next: usize,
    has_ended: bool,
}

impl Seat {
    fn take(server: &Server, browser: Option<&Browser>, number: usize) -> Seat {
        let token = tokens::of(&format!("good-{number}"), "customer");
        let bearer = format!("Authorization: Bearer {token}\r\n");
        let mut hello = handshake(server.address, &bearer).into_bytes();
        let subscribe = json!({"type": "subscribe", "data": {"namespaces": ["products"]}});
        put_frame(1, true, subscribe.to_string().as_bytes(), &mut hello);
        let tcp = tcp(server.address, None);
        let fd = tcp.as_raw_fd();
        let stream: Box<dyn Line> = match browser {
            None => Box::new(greet(tcp, &hello)),
            Some(browser) => Box::new(greet_securely(browser.secure(tcp).unwrap(), &hello)),
        };
        Seat {
            stream,
            fd,
            received: Vec::new(),
            is_open: false,
            next: 0,
            has_ended: false,
        }
    }
}

fn greet(mut tcp: TcpStream, hello: &[u8]) -> TcpStream {
    tcp.write_all(hello).unwrap();
    tcp.set_nonblocking(true).unwrap();
    tcp
}

fn greet_securely(mut stream: Stream, hello: &[u8]) -> Stream {
    stream.write_all(hello).unwrap();
    stream.flush().unwrap();
    stream.sock.set_nonblocking(true).unwrap();
    stream
}

fn read(mut seats: Vec<Seat>, mut poll: Poll, book: &Book) -> Latencies {
    let empty = || Histogram::new_with_bounds(1, 60_000_000, 3).unwrap();
    let mut latencies = Latencies {
        before: empty(),
        during: empty(),
    };
    let mut events = Events::with_capacity(1024);
    // What has come before the poll watched makes no event.
    for seat in &mut seats {
        seat.read(book, &mut latencies);
    }
    while !book.is_over.load(Ordering::Acquire) {
        poll.poll(&mut events, Some(Duration::from_millis(20)))
            .unwrap();
        for event in &events {
            seats[event.token().0].read(book, &mut latencies);
        }
    }
    latencies
}

impl Seat {
    fn read(&mut self, book: &Book, latencies: &mut Latencies) {
        let mut buffer = [0; 16 * 1024];
        while !self.has_ended {
            match self.stream.read(&mut buffer) {
                Ok(count @ 1..) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                ended => self.fail(book, format!("the connection ended: {ended:?}")),
            }
        }
        if let Err(fault) = self.take_messages(book, latencies) {
            self.fail(book, fault);
        }
    }

    fn fail(&mut self, book: &Book, fault: String) {
        self.has_ended = true;
        book.faults.lock().unwrap().push(fault);
    }

    fn take_messages(&mut self, book: &Book, latencies: &mut Latencies) -> Result<(), String> {
        if !self.is_open {
            let end = self
                .received
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            let Some(end) = end else {
                return Ok(());
            };
            let head: Vec<u8> = self.received.drain(..end + 4).collect();
            if !head.starts_with(b"HTTP/1.1 101 ") {
                return Err(String::from_utf8_lossy(&head).into_owned());
            }
            self.is_open = true;
        }
        while let Some((opcode, payload)) = take_frame(&mut self.received) {
            let text = String::from_utf8_lossy(&payload);
            if opcode == 9 {
                let mut pong = Vec::new();
                put_frame(10, true, &payload, &mut pong);
                let sent = self.stream.write_all(&pong);
                sent.and_then(|()| self.stream.flush())
                    .map_err(|error| format!("a pong could not be sent: {error}"))?;
                continue;
            }
            if opcode != 1 {
                return Err(format!("a frame with opcode {opcode}: {text}"));
            }
            match text.split_once("\"productId\":\"") {
                Some((_, rest)) => {
                    let number = rest.split('"').next().unwrap_or_default().parse();
                    self.take_event(number.map_err(|_| text.into_owned())?, book, latencies)?;
                }
                None if text.contains("\"type\":\"subscribed\"") => {
                    book.subscribed.fetch_add(1, Ordering::Release);
                }
                None if text.contains("\"type\":\"error\"") => return Err(text.into_owned()),
                None => {}
            }
        }
        Ok(())
    }

    fn take_event(
        &mut self,
        number: usize,
        book: &Book,
        latencies: &mut Latencies,
    ) -> Result<(), String> {
        if number != self.next {
            return Err(format!("event {number} came where {} is next", self.next));
        }
        self.next += 1;
        let (sent, phase) = &book.sent[number];
        let now = u64::try_from(book.started.elapsed().as_nanos()).unwrap();
        let took = (now - sent.load(Ordering::Relaxed)) / 1000;
        let phase = phase.load(Ordering::Relaxed);
        if phase == Phase::Before as u8 {
            latencies.before.saturating_record(took);
        } else if phase == Phase::During as u8 {
            latencies.during.saturating_record(took);
        }
        book.delivered.fetch_add(1, Ordering::Release);
        Ok(())
    }
}
