//! A browser: tungstenite's blocking client, with a deadline on every read.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Response;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::{DEADLINE, Server};

/// The head of an opening handshake.
#[derive(Default, Clone)]
pub struct Opening {
    headers: Vec<(String, String)>,
    receive_buffer: Option<usize>,
}

impl Opening {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub fn subprotocol(self, token: &str) -> Self {
        self.header(
            "Sec-WebSocket-Protocol",
            &format!("shopwire.v1, token.{token}"),
        )
    }

    pub fn origin(self, origin: &str) -> Self {
        self.header("Origin", origin)
    }

    pub fn receives(&self) -> Option<usize> {
        self.receive_buffer
    }

    fn shows_token(&self) -> bool {
        self.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("authorization") || value.contains("token.")
        })
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A small kernel buffer, so that a client that stops reading is felt by the server soon.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// A close frame with this code.
    Closed(u16),
    /// The TCP connection ended without one.
    Cut,
}

/// One thing read from the connection.
#[derive(Debug)]
pub enum Incoming {
    Json(Value),
    Ping,
    Pong,
    End(Ending),
}

/// An open connection.
pub struct Client<S = TcpStream> {
    pub socket: WebSocket<S>,
    /// The server's answer to the handshake.
    pub response: Response,
    /// The `welcome` message.
    pub welcome: Value,
    /// The `authenticated` message, where the handshake brought a token.
    pub authenticated: Option<Value>,
    /// Events that came while an answer was waited for.
    early: VecDeque<Value>,
}

impl Client {
    /// Connects and takes `welcome` (and `authenticated`) in; panics when the handshake is refused.
    pub fn connect(server: &Server, opening: Opening) -> Self {
        match Self::try_connect(server.address, opening) {
            Ok(client) => client,
            Err(status) => panic!("the handshake was refused with {status}"),
        }
    }

    /// Connects, or gives the HTTP status of the refusal.
    pub fn try_connect(address: SocketAddr, opening: Opening) -> Result<Self, u16> {
        let shows_token = opening.shows_token();
        let mut client = Self::handshake(address, opening)?;
        client.take_welcome(shows_token);
        Ok(client)
    }

    /// The handshake alone: nothing has been read from the connection yet.
    pub fn handshake(address: SocketAddr, opening: Opening) -> Result<Self, u16> {
        match dial(address, &opening) {
            Ok(connected) => Ok(Self::new(connected)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("the handshake failed: {error}"),
        }
    }
}

impl<S: Read + Write> Client<S> {
    fn new((socket, response): (WebSocket<S>, Response)) -> Self {
        Self {
            socket,
            response,
            welcome: Value::Null,
            authenticated: None,
            early: VecDeque::new(),
        }
    }

    /// As [`Client::try_connect`], over a stream that is there already.
    pub fn over(stream: S, address: SocketAddr, opening: Opening) -> Result<Self, u16> {
        match open(stream, address, &opening) {
            Ok(connected) => {
                let mut client = Self::new(connected);
                client.take_welcome(opening.shows_token());
                Ok(client)
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("the handshake failed: {error}"),
        }
    }

    fn take_welcome(&mut self, shows_token: bool) {
        self.welcome = self.expect("welcome");
        if shows_token {
            self.authenticated = Some(self.expect("authenticated"));
        }
    }

    pub fn connection_id(&self) -> String {
        self.welcome["data"]["connectionId"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    pub fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    /// Puts bytes on the wire that no well-behaved client would.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.try_send_raw(bytes).unwrap();
    }

    /// As [`Client::send_raw`], where the server may have closed already.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.get_mut().write_all(bytes)
    }

    /// The next message, control frames included.
    pub fn read(&mut self) -> Incoming {
        if let Some(event) = self.early.pop_front() {
            return Incoming::Json(event);
        }
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let json = serde_json::from_str(&text);
                    return Incoming::Json(
                        json.unwrap_or_else(|error| panic!("not JSON: {error}: {text}")),
                    );
                }
                Ok(Message::Ping(_)) => return Incoming::Ping,
                Ok(Message::Pong(_)) => return Incoming::Pong,
                Ok(Message::Close(frame)) => {
                    let code = frame.map_or(1005, |frame| frame.code.into());
                    return Incoming::End(Ending::Closed(code));
                }
                Ok(other) => panic!("unexpected message {other:?}"),
                Err(Error::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    panic!("nothing came from the server within {DEADLINE:?}")
                }
                Err(_) => return Incoming::End(Ending::Cut),
            }
        }
    }

    /// The next JSON message.
    pub fn next(&mut self) -> Value {
        loop {
            match self.read() {
                Incoming::Json(message) => return message,
                Incoming::Ping | Incoming::Pong => {}
                Incoming::End(ending) => {
                    panic!("a message was expected, but the connection ended: {ending:?}")
                }
            }
        }
    }

    /// The next JSON message, which must be of this type.
    pub fn expect(&mut self, kind: &str) -> Value {
        let message = self.next();
        assert_eq!(message["type"], kind, "the next message: {message}");
        message
    }

    /// The next event, which must be of this type.
    pub fn expect_event(&mut self, kind: &str) -> Value {
        let message = self.expect(kind);
        assert!(message["id"].is_string(), "an event has an id: {message}");
        message
    }

    /// Sends a question and gives its answer; events that come before it are kept for later reads.
    pub fn ask(&mut self, question: &Value) -> Value {
        self.send(question);
        self.answer()
    }

    /// The next message that is not an event.
    pub fn answer(&mut self) -> Value {
        let mut events = VecDeque::new();
        let answer = loop {
            let message = self.next();
            if message.get("id").is_none() {
                break message;
            }
            events.push_back(message);
        };
        events.append(&mut self.early);
        self.early = events;
        answer
    }

    /// Asks, and expects an `error` with this code.
    pub fn ask_refused(&mut self, question: &Value, code: &str) -> Value {
        let answer = self.ask(question);
        assert_error(&answer, code, &question.to_string());
        answer["data"].clone()
    }

    /// Subscribes and gives the data of the `subscribed` answer.
    pub fn subscribe(&mut self, namespaces: &[&str]) -> Value {
        self.subscribe_with(json!({ "namespaces": namespaces }))
    }

    pub fn subscribe_with(&mut self, data: Value) -> Value {
        let answer = self.ask(&json!({"type": "subscribe", "data": data}));
        assert_eq!(
            answer["type"], "subscribed",
            "the answer to subscribe {data}: {answer}"
        );
        answer["data"].clone()
    }

    pub fn auth(&mut self, token: &str) -> Value {
        self.ask(&json!({"type": "auth", "data": {"token": token}}))
    }

    /// A question and its answer: all that was sent before is dealt with.
    pub fn ping(&mut self) {
        let answer = self.ask(&json!({"type": "ping"}));
        assert_eq!(answer["type"], "pong", "the answer to ping: {answer}");
    }

    /// Reads to the end of the connection: how it ended, and what came before.
    pub fn read_to_end(&mut self) -> (Ending, Vec<Value>) {
        let mut messages = Vec::new();
        loop {
            match self.read() {
                Incoming::Json(message) => messages.push(message),
                Incoming::Ping | Incoming::Pong => {}
                Incoming::End(ending) => return (ending, messages),
            }
        }
    }

    /// The connection must end with this close code; gives what came before.
    pub fn expect_close(&mut self, code: u16) -> Vec<Value> {
        let (ending, messages) = self.read_to_end();
        assert_eq!(ending, Ending::Closed(code), "after {messages:?}");
        messages
    }
}

/// Checks the shape of an `error` message.
pub fn assert_error(message: &Value, code: &str, context: &str) {
    assert_eq!(message["type"], "error", "{context} -> {message}");
    assert_eq!(message["data"]["code"], code, "{context} -> {message}");
    let sentence = message["data"]["message"].as_str().unwrap_or_default();
    assert!(
        sentence.len() >= 10,
        "the error should say what was wrong: {context} -> {message}"
    );
}

/// The handshake, whatever comes of it.
pub fn dial(
    address: SocketAddr,
    opening: &Opening,
) -> Result<(WebSocket<TcpStream>, Response), Error> {
    let stream = try_tcp(None, address, opening.receive_buffer)?;
    open(stream, address, opening)
}

fn open<S: Read + Write>(
    stream: S,
    address: SocketAddr,
    opening: &Opening,
) -> Result<(WebSocket<S>, Response), Error> {
    let mut request = format!("ws://{address}/api/ws").into_client_request()?;
    for (name, value) in &opening.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request
            .headers_mut()
            .append(name, HeaderValue::from_str(value).unwrap());
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_frame_size(None)
        .max_message_size(None);
    match tungstenite::client::client_with_config(request, stream, Some(config)) {
        Ok(connected) => Ok(connected),
        Err(HandshakeError::Failure(error)) => Err(error),
        Err(HandshakeError::Interrupted(_)) => Err(io::Error::from(ErrorKind::TimedOut).into()),
    }
}

/// A TCP connection with the harness' deadlines.
pub fn tcp(address: SocketAddr, receive_buffer: Option<usize>) -> TcpStream {
    try_tcp(None, address, receive_buffer).unwrap()
}

/// The same from this address: all of 127.0.0.0/8 is ours.
pub fn tcp_from(source: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    try_tcp(Some(source), address, None)
}

fn try_tcp(
    source: Option<IpAddr>,
    address: SocketAddr,
    receive_buffer: Option<usize>,
) -> io::Result<TcpStream> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.connect_timeout(&address.into(), DEADLINE)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}
