//! The canary's connections: what it emits on one it waits for on all others, of which each worker has one.
//!
//! Blocking, with a time limit on each step; whatever fails ends all, and the next time is a new start.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};
use tungstenite::{ClientRequestBuilder, Error, HandshakeError, Message, WebSocket};

use super::Canary;
use crate::access::Namespace;
use crate::event::EventType;
use crate::http::WEBSOCKET_PATH;
use crate::limits;
use crate::live::Live;
use crate::tls::{Stream, only};

/// How long a token of the canary's is good. It connects anew when half of that is over, which shows now
/// and then that newcomers get in.
const TOKEN_TTL: Duration = Duration::from_secs(3600);

/// Answers of the ingest socket that are kept to tell why an event did not come.
const ANSWER_MAX: usize = 4096;

const KIND: EventType = EventType::SystemNotification;

/// How long reading what has come may wait for the rest of it.
const GLANCE: Duration = Duration::from_millis(1);

/// All connections, open.
pub(super) struct Flight {
    /// By their workers.
    sockets: Vec<WebSocket<Stream>>,
    emitter: UnixStream,
    user: String,
    opened: Instant,
}

impl Flight {
    /// Connects to each of so many workers, authenticates and subscribes, as a browser would, and connects as
    /// an emitter would.
    pub(super) fn open(
        canary: &Canary,
        address: SocketAddr,
        workers: usize,
        live: &Live,
        now_ms: u64,
    ) -> Result<Flight, String> {
        let opened = Instant::now();
        let role = live.config.access.back_office_for(Namespace::System);
        let role = role.ok_or("no role of the back office may see system")?;
        let token = canary.pass.token(role, TOKEN_TTL, now_ms)?;
        let sockets = (0..workers).map(|worker| {
            // The next one waits for it: by then this one is with its worker.
            let tcp = |address| dial_worker(canary, address, worker);
            subscribed(address, tcp, live, &token).map_err(of_worker(worker))
        });
        let sockets = sockets.collect::<Result<_, _>>()?;
        let emitter = dial(&live.config.socket)
            .map_err(|error| format!("the ingest socket cannot be connected to: {error}"))?;
        Ok(Flight {
            sockets,
            emitter,
            user: canary.pass.user().to_owned(),
            opened,
        })
    }

    /// Whether to connect anew.
    pub(super) fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) > TOKEN_TTL / 2
    }

    /// Emits the event with this number and waits until every worker has brought it; says how long that took.
    pub(super) fn send_off(&mut self, number: u64) -> Result<Duration, String> {
        let sign = number.to_string();
        let data = json!({"title": "canary", "message": sign, "severity": "info"});
        let to = json!({"userIds": [self.user]});
        let line = json!({"type": KIND.name(), "data": data, "to": to});
        let began = Instant::now();
        self.emitter
            .write_all(format!("{line}\n").as_bytes())
            .map_err(|error| format!("the ingest socket takes nothing: {error}"))?;
        let deadline = began + limits::CANARY_PATIENCE;
        for worker in 0..self.sockets.len() {
            let brought = await_sign(&mut self.sockets[worker], &sign, deadline);
            if !brought.map_err(of_worker(worker))? {
                return Err(self.say_late(worker));
            }
        }
        let took = began.elapsed();
        self.answers();
        Ok(took)
    }

    /// Why its event did not come from this worker.
    fn say_late(&mut self, worker: usize) -> String {
        let late = limits::CANARY_PATIENCE;
        let said = self.answers();
        let refused = said.lines().find(|line| line.contains("\"error\""));
        match refused {
            Some(answer) => format!("its event was refused: {answer}"),
            None => of_worker(worker)(format!("its event did not come within {late:?}")),
        }
    }

    /// Lives on as browsers would, pings answered, until then.
    pub(super) fn rest_until(&mut self, next: Instant) -> Result<(), String> {
        // What came with the last event waits in no socket that could tell of it.
        self.read_where(|_| true)?;
        loop {
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let told = self.wait(left).map_err(|error| broken(&error.into()))?;
            self.read_where(|worker| told[worker])?;
        }
    }

    /// Waits for so long at most; says of each socket whether something has come.
    fn wait(&self, most: Duration) -> io::Result<Vec<bool>> {
        let sockets = self.sockets.iter().map(|socket| socket.get_ref().socket());
        let mut all: Vec<PollFd<'_>> = sockets
            .map(|socket| PollFd::new(socket, PollFlags::IN))
            .collect();
        let most = Timespec::try_from(most).expect("an interval is an hour at most");
        match poll(&mut all, Some(&most)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(all.iter().map(|each| !each.revents().is_empty()).collect())
    }

    /// Takes what has come for these workers' connections.
    fn read_where(&mut self, has_come: impl Fn(usize) -> bool) -> Result<(), String> {
        for (worker, socket) in self.sockets.iter_mut().enumerate() {
            if has_come(worker) {
                let glance = Instant::now() + GLANCE;
                while read(socket, glance).map_err(of_worker(worker))?.is_some() {}
            }
        }
        Ok(())
    }

    /// What the ingest socket has answered by now: read, so that it never backs up.
    fn answers(&mut self) -> String {
        let mut kept = Vec::new();
        let mut buffer = [0; ANSWER_MAX];
        while let Ok(count @ 1..) = self.emitter.read(&mut buffer) {
            let room = ANSWER_MAX - kept.len();
            kept.extend_from_slice(&buffer[..count.min(room)]);
        }
        String::from_utf8_lossy(&kept).into_owned()
    }
}

/// Says whose connection it was that something happened to.
fn of_worker(worker: usize) -> impl Fn(String) -> String {
    move |what| format!("worker {worker}: {what}")
}

/// Waits until then for the event that bears this sign. False: it has not come.
fn await_sign(
    socket: &mut WebSocket<Stream>,
    sign: &str,
    deadline: Instant,
) -> Result<bool, String> {
    while let Some(message) = read(socket, deadline)? {
        // One that was late comes later.
        if message["type"] == KIND.name() && message["data"]["message"] == sign {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A WebSocket on a connection that `tcp` makes, subscribed.
fn subscribed(
    address: SocketAddr,
    tcp: impl Fn(SocketAddr) -> io::Result<TcpStream>,
    live: &Live,
    token: &str,
) -> Result<WebSocket<Stream>, String> {
    let mut socket = connect(address, tcp, live, token)?;
    let subscribe = json!({
        "type": "subscribe",
        "data": {"namespaces": [Namespace::System.name()], "events": [KIND.name()]},
    });
    send(&mut socket, &subscribe)?;
    let deadline = Instant::now() + limits::CANARY_PATIENCE;
    loop {
        let answer = read(&mut socket, deadline)?.ok_or("no answer to its subscription")?;
        match answer["type"].as_str() {
            Some("subscribed") => return Ok(socket),
            Some("error") => return Err(format!("its subscription was refused: {answer}")),
            _ => {}
        }
    }
}

fn connect(
    address: SocketAddr,
    tcp: impl Fn(SocketAddr) -> io::Result<TcpStream>,
    live: &Live,
    token: &str,
) -> Result<WebSocket<Stream>, String> {
    let unconnected =
        |error: io::Error| format!("{address} cannot be connected to: {}", in_words(&error));
    let tcp = tcp(address).map_err(unconnected)?;
    tcp.set_read_timeout(Some(limits::CANARY_PATIENCE))
        .and_then(|()| tcp.set_write_timeout(Some(limits::CANARY_PATIENCE)))
        .map_err(unconnected)?;
    let (scheme, stream) = match &live.config.tls {
        None => ("ws", Stream::Plain(tcp)),
        Some(tls) => {
            let secured = Stream::secure(only(&tls.identity), address.ip().into(), tcp);
            let failed = |error| format!("its TLS handshake failed: {}", in_words(&error));
            ("wss", secured.map_err(failed)?)
        }
    };
    let uri = format!("{scheme}://{address}{WEBSOCKET_PATH}");
    let uri = uri
        .parse()
        .map_err(|error| format!("{uri} is no address: {error}"))?;
    let request = ClientRequestBuilder::new(uri)
        .with_sub_protocol("shopwire.v1")
        .with_sub_protocol(format!("token.{token}"));
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(Error::Http(response))) => {
            let body = response.body().as_deref().unwrap_or_default();
            let said = String::from_utf8_lossy(body).into_owned();
            Err(format!(
                "its handshake was refused: {}, {said}",
                response.status()
            ))
        }
        Err(HandshakeError::Failure(error)) => Err(format!("its handshake failed: {error}")),
        Err(HandshakeError::Interrupted(_)) => Err("no answer to its handshake".to_owned()),
    }
}

/// A connection to the port that the router gives to this worker.
fn dial_worker(canary: &Canary, address: SocketAddr, worker: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // It has to be known where it comes from before it does.
    socket.bind(&SocketAddr::new(address.ip(), 0).into())?;
    let own = socket.local_addr()?.as_socket();
    canary.send_to(worker, own.map_or(0, |own| own.port()));
    socket.connect_timeout(&address.into(), limits::CANARY_PATIENCE)?;
    Ok(socket.into())
}

/// What went wrong; a time limit by its name, and not by what the kernel calls it.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("no answer within {:?}", limits::CANARY_PATIENCE)
        }
        _ => error.to_string(),
    }
}

fn broken(error: &Error) -> String {
    match error {
        Error::Io(error) => format!("its connection broke: {}", in_words(error)),
        other => format!("its connection broke: {other}"),
    }
}

/// A connection to the ingest socket, which is not waited for where the server accepts none. Reading
/// takes what is there.
fn dial(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::from(OwnedFd::from(mio::net::UnixStream::connect(path)?));
    // One line is far less than what the kernel keeps for a server that reads.
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn send(socket: &mut WebSocket<Stream>, message: &Value) -> Result<(), String> {
    socket
        .send(Message::text(message.to_string()))
        .map_err(|error| broken(&error))
}

/// The next message; `None` where none has come until then.
fn read(socket: &mut WebSocket<Stream>, until: Instant) -> Result<Option<Value>, String> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket
            .get_ref()
            .socket()
            .set_read_timeout(Some(left))
            .map_err(|error| broken(&error.into()))?;
        match socket.read() {
            Ok(Message::Text(text)) => {
                let message = serde_json::from_str(&text);
                return message
                    .map(Some)
                    .map_err(|error| format!("it was sent what is no JSON: {error}"));
            }
            Ok(Message::Close(frame)) => {
                // The answer to it, so that nobody waits for that; who is gone does not miss it.
                socket.flush().ok();
                let why = frame.map_or_else(String::new, |frame| format!(": {frame}"));
                return Err(format!("its connection was closed{why}"));
            }
            Ok(_) => {}
            Err(Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(broken(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_is_called_one() {
        let late = io::Error::from(Errno::AGAIN);
        assert_eq!(in_words(&late), "no answer within 2s");
        assert_eq!(
            broken(&Error::Io(late)),
            "its connection broke: no answer within 2s"
        );
        let refused = io::Error::from(ErrorKind::ConnectionRefused);
        assert_eq!(in_words(&refused), "connection refused");
    }
}
