//! One client: it follows its events over one connection after the other, which it breaks off itself now and then, or which
//! the server ends. It resumes behind the last event it has seen.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde::Deserialize;
use serde_json::{Value, json};
use tungstenite::error::ProtocolError;
use tungstenite::{Error, Message, WebSocket};

use crate::harness::{DEADLINE, client::dial};
use crate::reader::Reader;
use crate::run::{Count, Run};
use crate::universe::{Person, mix};

type Line = WebSocket<TcpStream>;

/// How soon a client that hears nothing looks around.
const TICK: Duration = Duration::from_millis(50);
/// A connection so old has mostly nothing to be replayed any more: while it has, it is never too slow.
const SETTLED: Duration = Duration::from_millis(500);
/// How long the server may take to close a connection that the client has shut down or said goodbye on.
const PARTING: Duration = Duration::from_secs(2);
/// A text frame of 100 bytes that ends after three.
const HALF_A_FRAME: [u8; 9] = [0x81, 0x80 | 100, 1, 2, 3, 4, b'{', b'"', b't'];

/// Lives until the last event has come, or the run is over.
pub fn live(run: &Run, index: usize) {
    let person = run.universe.person(index);
    let mut client = Client {
        run,
        index,
        person,
        reader: Reader::new(&run.universe, &run.ledger, index),
        rng: Rng::with_seed(mix(run.plan.seed, 1_000 + index as u64)),
        since: None,
    };
    match client.follow_to_the_end() {
        Ok(true) => run.finish(),
        Ok(false) if run.has_given_up() => run.fail(format!(
            "client {index} ({person}) waits for more behind {:?}",
            client.since
        )),
        Ok(false) => {}
        Err(fault) => run.fail(format!("client {index} ({person}): {fault}")),
    }
}

struct Client<'a> {
    run: &'a Run,
    index: usize,
    person: &'a Person,
    reader: Reader<'a>,
    rng: Rng,
    /// The id of the last event, or what the first connection was told to begin behind.
    since: Option<String>,
}

/// What a read came to.
enum Heard {
    Event,
    Told(Value),
    Nothing,
    End,
}

/// A message of the server, as far as an event needs it.
#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: Option<&'a str>,
    #[serde(default)]
    data: Content,
}

#[derive(Deserialize, Default)]
struct Content {
    event: Option<u64>,
}

impl Client<'_> {
    /// True: the last event has come.
    fn follow_to_the_end(&mut self) -> Result<bool, String> {
        while !self.reader.has_ended() {
            if self.run.is_over() {
                return Ok(false);
            }
            match self.connect()? {
                Some(line) => self.follow(line)?,
                // Nobody is there: between two servers.
                None => thread::sleep(Duration::from_millis(self.rng.u64(10..40))),
            }
        }
        Ok(true)
    }

    /// A connection that has resumed; none if it came to nothing.
    fn connect(&mut self) -> Result<Option<Line>, String> {
        let mut line = match dial(self.run.address, &self.person.opening()) {
            Ok((line, _)) => line,
            Err(Error::Http(response)) if response.status() == 503 => return Ok(None),
            Err(error) if is_cut(&error) => return Ok(None),
            Err(error) => return Err(format!("the handshake failed: {error}")),
        };
        line.get_mut()
            .set_read_timeout(Some(TICK))
            .map_err(|error| format!("no read timeout: {error}"))?;
        let mut data = self.person.subscription();
        if let Some(since) = &self.since {
            data["since"] = since.as_str().into();
        }
        let question = json!({"type": "subscribe", "data": data}).to_string();
        match line.send(Message::text(question)) {
            Ok(()) => {}
            Err(error) if is_cut(&error) => return Ok(None),
            Err(error) => return Err(format!("subscribing failed: {error}")),
        }
        let asked = Instant::now();
        loop {
            match self.hear(&mut line)? {
                Heard::Told(message) if message["type"] == "subscribed" => {
                    self.check_answer(&message["data"])?;
                    return Ok(Some(line));
                }
                Heard::Told(message)
                    if matches!(
                        message["type"].as_str(),
                        Some("welcome" | "authenticated" | "reconnect")
                    ) => {}
                Heard::Told(message) => return Err(format!("the answer to subscribe: {message}")),
                Heard::Event => return Err("an event came before the answer to subscribe".into()),
                Heard::End => return Ok(None),
                Heard::Nothing if asked.elapsed() > DEADLINE => {
                    return Err(format!("no answer to subscribe within {DEADLINE:?}"));
                }
                Heard::Nothing => {}
            }
        }
    }

    fn check_answer(&mut self, answer: &Value) -> Result<(), String> {
        if self.since.is_some() {
            self.run.counts.add(Count::Resumes, 1);
            return match answer["recovered"].as_bool() {
                Some(true) => Ok(()),
                _ => Err(format!(
                    "since {:?} was not recovered: {answer}",
                    self.since
                )),
            };
        }
        let position = answer["position"]
            .as_str()
            .ok_or_else(|| format!("an answer without a position: {answer}"))?;
        self.reader.begin(position)?;
        self.since = Some(position.to_owned());
        self.run.join();
        Ok(())
    }

    /// Reads until the connection ends, one way or the other.
    fn follow(&mut self, mut line: Line) -> Result<(), String> {
        let began = Instant::now();
        let life = self.run.plan.life();
        let ends = began + life.mul_f64(-(1.0 - self.rng.f64()).ln());
        let mut stalls = (self.rng.u8(..3) == 0).then(|| began + life.mul_f64(self.rng.f64()));
        loop {
            match self.hear(&mut line)? {
                Heard::Event if self.reader.has_ended() => return Ok(()),
                Heard::Event | Heard::Nothing => {}
                Heard::Told(message) if message["type"] == "reconnect" => {}
                Heard::Told(message) => return Err(format!("nobody asked for {message}")),
                Heard::End => return Ok(()),
            }
            if self.run.is_over() {
                return Ok(());
            }
            while self.run.is_laggard(self.index)
                && began.elapsed() > SETTLED
                && !self.run.is_over()
            {
                thread::sleep(TICK);
            }
            let now = Instant::now();
            if stalls.take_if(|stalls| *stalls <= now).is_some() {
                self.run.counts.add(Count::Stalls, 1);
                thread::sleep(Duration::from_millis(self.rng.u64(20..1_000)));
            }
            if ends <= now && !self.run.is_laggard(self.index) {
                self.run.counts.add(Count::ClientCuts, 1);
                self.cut(line);
                return Ok(());
            }
        }
    }

    fn hear(&mut self, line: &mut Line) -> Result<Heard, String> {
        match line.read() {
            Ok(Message::Text(text)) => self.understand(&text),
            Ok(Message::Ping(_) | Message::Pong(_)) => Ok(Heard::Nothing),
            Ok(Message::Close(frame)) => {
                let code = frame.map_or(1005, |frame| frame.code.into());
                self.run.counts.add(
                    match code {
                        1001 => Count::Drained,
                        4413 => Count::Cut,
                        _ => return Err(format!("the server closed with {code}")),
                    },
                    1,
                );
                Ok(Heard::End)
            }
            Ok(other) => Err(format!("unexpected: {other:?}")),
            Err(Error::Io(error))
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                Ok(Heard::Nothing)
            }
            Err(error) if is_cut(&error) => {
                self.run.counts.add(Count::Cut, 1);
                Ok(Heard::End)
            }
            Err(error) => Err(format!("what the server sent is no WebSocket: {error}")),
        }
    }

    fn understand(&mut self, text: &str) -> Result<Heard, String> {
        let bad = |error| format!("{error} in {text}");
        let message: Incoming<'_> = serde_json::from_str(text).map_err(bad)?;
        let Some(id) = message.id else {
            return Ok(Heard::Told(serde_json::from_str(text).map_err(bad)?));
        };
        self.reader.take(id, message.kind, message.data.event)?;
        self.run.counts.add(Count::Deliveries, 1);
        let since = self.since.get_or_insert_default();
        since.clear();
        since.push_str(id);
        Ok(Heard::Event)
    }

    /// Breaks off, mostly in the middle of something. What the server has sent by now and was not
    /// read above has not been seen. Whatever fails here: the connection is over.
    fn cut(&mut self, mut line: Line) {
        let stream = line.get_mut();
        if self.rng.bool() {
            // Into a frame.
            let most = self.rng.u64(1..100);
            io::copy(&mut Read::by_ref(stream).take(most), &mut io::sink()).ok();
        }
        match self.rng.u8(..5) {
            0 => reset(stream),
            1 => {
                stream.write_all(&HALF_A_FRAME).ok();
                reset(stream);
            }
            2 => {
                stream.write_all(&HALF_A_FRAME).ok();
                shut_down(stream);
            }
            3 => shut_down(stream),
            _ => {
                line.close(None).ok();
                line.flush().ok();
                shut_down(line.get_mut());
            }
        }
    }
}

/// Its end is a reset.
fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .ok();
}

/// An orderly end: what still comes is read.
fn shut_down(stream: &mut TcpStream) {
    stream.shutdown(Shutdown::Write).ok();
    stream.set_read_timeout(Some(PARTING)).ok();
    io::copy(stream, &mut io::sink()).ok();
}

/// Whether a connection is over, or none came about, because the other side is gone.
fn is_cut(error: &Error) -> bool {
    matches!(
        error,
        Error::Io(_)
            | Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(
                ProtocolError::HandshakeIncomplete | ProtocolError::ResetWithoutClosingHandshake
            )
    )
}
