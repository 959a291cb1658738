//! The canary's two connections: it emits on one what it waits for on the other.
//!
//! Blocking, with a time limit on each step; whatever fails ends both, and the next time is a new start.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{ClientRequestBuilder, Error, HandshakeError, Message, WebSocket};

use crate::access::Namespace;
use crate::auth::OwnPass;
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

/// Both connections, open.
pub(super) struct Flight {
    socket: WebSocket<Stream>,
    emitter: UnixStream,
    user: String,
    opened: Instant,
}

impl Flight {
    /// Connects, authenticates and subscribes, as a browser would, and connects as an emitter would.
    pub(super) fn open(
        address: SocketAddr,
        live: &Live,
        pass: &OwnPass,
        now_ms: u64,
    ) -> Result<Flight, String> {
        let opened = Instant::now();
        let role = live.config.access.back_office_for(Namespace::System);
        let role = role.ok_or("no role of the back office may see system")?;
        let token = pass.token(role, TOKEN_TTL, now_ms)?;
        let mut socket = connect(address, live, &token)?;
        let subscribe = json!({
            "type": "subscribe",
            "data": {"namespaces": [Namespace::System.name()], "events": [KIND.name()]},
        });
        send(&mut socket, &subscribe)?;
        let deadline = opened + limits::CANARY_PATIENCE;
        loop {
            let answer = read(&mut socket, deadline)?.ok_or("no answer to its subscription")?;
            match answer["type"].as_str() {
                Some("subscribed") => break,
                Some("error") => return Err(format!("its subscription was refused: {answer}")),
                _ => {}
            }
        }
        let emitter = dial(&live.config.socket)
            .map_err(|error| format!("the ingest socket cannot be connected to: {error}"))?;
        Ok(Flight {
            socket,
            emitter,
            user: pass.user().to_owned(),
            opened,
        })
    }

    /// Whether to connect anew.
    pub(super) fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) > TOKEN_TTL / 2
    }

    /// Emits the event with this number and waits for it; says how long it was on its way.
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
        while let Some(message) = read(&mut self.socket, deadline)? {
            // One that was late comes later.
            if message["type"] == KIND.name() && message["data"]["message"] == sign.as_str() {
                let took = began.elapsed();
                self.answers();
                return Ok(took);
            }
        }
        let late = limits::CANARY_PATIENCE;
        let said = self.answers();
        let refused = said.lines().find(|line| line.contains("\"error\""));
        Err(match refused {
            Some(answer) => format!("its event was refused: {answer}"),
            None => format!("its event did not come within {late:?}"),
        })
    }

    /// Lives on as a browser would, pings answered, until then.
    pub(super) fn rest_until(&mut self, next: Instant) -> Result<(), String> {
        while read(&mut self.socket, next)?.is_some() {}
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

fn connect(address: SocketAddr, live: &Live, token: &str) -> Result<WebSocket<Stream>, String> {
    let broken = |error: io::Error| format!("{address} cannot be connected to: {error}");
    let tcp = TcpStream::connect_timeout(&address, limits::CANARY_PATIENCE).map_err(broken)?;
    tcp.set_read_timeout(Some(limits::CANARY_PATIENCE))
        .and_then(|()| tcp.set_write_timeout(Some(limits::CANARY_PATIENCE)))
        .map_err(broken)?;
    let (scheme, stream) = match &live.config.tls {
        None => ("ws", Stream::Plain(tcp)),
        Some(tls) => {
            let secured = Stream::secure(only(&tls.identity), address.ip().into(), tcp);
            ("wss", secured.map_err(broken)?)
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
        .map_err(|error| format!("its connection broke: {error}"))
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
            .map_err(|error| format!("its socket cannot be waited on: {error}"))?;
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
            Err(error) => return Err(format!("its connection broke: {error}")),
        }
    }
}
