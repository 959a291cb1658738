//! `shopwire tail`: subscribes as a browser would, prints what comes, and comes back when cut off.
//!
//! Owns the connection and the waiting between two of them; what a message means is in [`session`].

mod session;
mod trust;

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tungstenite::http::{Response, Uri};
use tungstenite::protocol::CloseFrame;
use tungstenite::{ClientRequestBuilder, Error, HandshakeError, Message, WebSocket};

use super::{FAILED, WRONG_USAGE, fail, terminal};
use crate::access::Namespace;
use crate::tls::Stream;
use session::{Progress, Session, Step, Wanted};
use trust::{Trust, certificate_fault};

/// For connecting, for the handshake, and for the first word of the server.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits between attempts double from the first to the second of these.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The longest wait that a server may ask for.
const ASKED_MAX: Duration = Duration::from_secs(60);

/// Watch events as they come
#[derive(clap::Args)]
#[command(
    after_help = "Without --namespaces: all that the token may see, or products without a token. Notes about the \
    connection go to stderr.\n\n\
    Examples:\n  \
    shopwire tail\n  \
    shopwire tail --namespaces orders,inventory --token $TOKEN\n  \
    shopwire tail --url wss://shop.example/api/ws --token $TOKEN\n  \
    shopwire tail --events order:created --token $TOKEN --json"
)]
pub(super) struct Arguments {
    /// The server's WebSocket address
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:3001/api/ws")]
    url: String,
    /// For wss:// addresses: a PEM file with the authorities to trust instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The token to show
    #[arg(
        long,
        value_name = "JWT",
        env = "SHOPWIRE_TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
    /// Namespaces to subscribe to: orders, customers, products, inventory, payments, system
    #[arg(long, value_name = "NAMESPACES", value_delimiter = ',', value_parser = namespace)]
    namespaces: Option<Vec<Namespace>>,
    /// Only events of these types
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = event_type)]
    events: Option<Vec<String>>,
    /// Start after the event with this id
    #[arg(long, value_name = "ID")]
    since: Option<String>,
    /// Print each event as the server sends it
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Arguments) -> ExitCode {
    // An empty SHOPWIRE_TOKEN is no token.
    let token = arguments.token.filter(|token| !token.is_empty());
    let server = match Server::new(&arguments.url, token.as_deref(), arguments.ca.as_deref()) {
        Ok(server) => server,
        Err(sentence) => return fail(WRONG_USAGE, sentence),
    };
    let wanted = Wanted::new(
        arguments.namespaces,
        arguments.events.unwrap_or_default(),
        token.is_some(),
        arguments.json,
    );
    let mut progress = Progress::new(arguments.since);
    let out = &mut io::stdout();
    let mut failures = 0;
    loop {
        let session = Session::new(&wanted, &mut progress);
        let (after, why) = match watch(&server, session, out) {
            Ended::Cut { after, why } => (after, why),
            Ended::Refused(sentence) => return fail(FAILED, sentence),
            Ended::NobodyReads => return ExitCode::SUCCESS,
        };
        failures = if progress.take_subscribed() {
            0
        } else {
            failures + 1
        };
        let wait = after.map_or_else(|| backoff(failures), |after| after.min(ASKED_MAX));
        note(format_args!(
            "{why}; reconnecting in {} ms",
            wait.as_millis()
        ));
        thread::sleep(wait);
    }
}

/// How a connection ended.
#[derive(Debug)]
enum Ended {
    /// It may go better next time; `after` is when the server wants it.
    Cut {
        after: Option<Duration>,
        why: String,
    },
    /// It never will.
    Refused(String),
    /// Stdout is closed: the reader has seen enough.
    NobodyReads,
}

impl Ended {
    fn cut(why: impl Display) -> Ended {
        Ended::Cut {
            after: None,
            why: why.to_string(),
        }
    }
}

/// Where to connect, and with what.
struct Server {
    uri: Uri,
    host: String,
    port: u16,
    token: Option<String>,
    /// How TLS is spoken to it, where it is.
    trust: Option<Trust>,
}

impl Server {
    fn new(url: &str, token: Option<&str>, ca: Option<&Path>) -> Result<Server, String> {
        let wrong = |what: &str| format!("--url {url:?}: {what}, like ws://127.0.0.1:3001/api/ws");
        let uri: Uri = url
            .parse()
            .map_err(|_| wrong("must be a WebSocket address"))?;
        let is_secure = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            _ => return Err(wrong("must begin with ws:// or wss://")),
        };
        if ca.is_some() && !is_secure {
            return Err("--ca is for addresses that begin with wss://".into());
        }
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| wrong("must name a host"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let trust = is_secure.then(|| Trust::new(&host, ca)).transpose()?;
        // Anything else could not stand in the header that brings the token.
        let in_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if token.is_some_and(|token| !token.bytes().all(in_token)) {
            return Err(
                "--token is not a JWT: three parts of letters, digits, - and _, joined by dots"
                    .into(),
            );
        }
        Ok(Server {
            uri,
            host,
            port,
            token: token.map(str::to_owned),
            trust,
        })
    }

    fn connect(&self) -> Result<WebSocket<Stream>, Ended> {
        let stream = self
            .dial()
            .map_err(|error| Ended::cut(format_args!("{}:{}: {error}", self.host, self.port)))?;
        let stream = match &self.trust {
            None => Stream::Plain(stream),
            Some(trust) => {
                trust
                    .secure(stream)
                    .map_err(|error| match certificate_fault(&error) {
                        Some(fault) => {
                            Ended::Refused(format!("{} is not trusted: {fault}", self.host))
                        }
                        None => Ended::cut(error),
                    })?
            }
        };
        let mut request =
            ClientRequestBuilder::new(self.uri.clone()).with_sub_protocol("shopwire.v1");
        if let Some(token) = &self.token {
            request = request.with_sub_protocol(format!("token.{token}"));
        }
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(socket),
            Err(HandshakeError::Interrupted(_)) => Err(Ended::cut("no answer to the handshake")),
            Err(HandshakeError::Failure(Error::Http(response))) => Err(refusal(&response)),
            Err(HandshakeError::Failure(error)) => Err(Ended::cut(error)),
        }
    }

    fn dial(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, SETUP_TIMEOUT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(SETUP_TIMEOUT))?;
                    stream.set_write_timeout(Some(SETUP_TIMEOUT))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// One connection, from its handshake to its end.
fn watch(server: &Server, mut session: Session<'_>, out: &mut impl Write) -> Ended {
    let mut socket = match server.connect() {
        Ok(socket) => socket,
        Err(ended) => return ended,
    };
    let mut after = None;
    loop {
        let text = match socket.read() {
            Ok(Message::Text(text)) => text,
            Ok(Message::Close(frame)) => {
                // The answer to the close frame; a peer that is gone already does not miss it.
                socket.flush().ok();
                return closed(frame.as_ref(), after);
            }
            Ok(_) => continue,
            Err(Error::Io(error)) if is_timeout(&error) => {
                return Ended::cut("the server gave no sign of life");
            }
            Err(error) => {
                return Ended::Cut {
                    after,
                    why: error.to_string(),
                };
            }
        };
        for step in session.on_message(&text) {
            let done = match step {
                Step::Send(text) => socket.send(Message::text(text)).map_err(Ended::cut),
                Step::Print(line) => print(out, &line),
                Step::Note(sentence) => {
                    note(sentence);
                    Ok(())
                }
                Step::Quiet(silence) => socket
                    .get_ref()
                    .socket()
                    .set_read_timeout(Some(silence))
                    .map_err(Ended::cut),
                Step::ComeBack(wait) => {
                    after = Some(wait);
                    Ok(())
                }
                Step::Retry { after, why } => Err(Ended::Cut { after, why }),
                Step::Refused(sentence) => Err(Ended::Refused(sentence)),
            };
            if let Err(ended) = done {
                return ended;
            }
        }
    }
}

fn print(out: &mut impl Write, line: &str) -> Result<(), Ended> {
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Ended::NobodyReads,
        _ => Ended::Refused(format!("stdout: {error}")),
    })
}

/// What a close frame means: a token that was refused or an operator's word will not heal by itself.
fn closed(frame: Option<&CloseFrame>, after: Option<Duration>) -> Ended {
    let Some(frame) = frame else {
        return Ended::Cut {
            after,
            why: "the server closed the connection".into(),
        };
    };
    let code = u16::from(frame.code);
    let why = format!("closed by the server: {code} {}", frame.reason);
    match code {
        4401 | 4403 => Ended::Refused(why),
        _ => Ended::Cut { after, why },
    }
}

/// What an HTTP refusal of the handshake means. Timeouts, rates and 5xx pass; the rest does not.
fn refusal(response: &Response<Option<Vec<u8>>>) -> Ended {
    let body = response.body().as_deref().unwrap_or_default();
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let status = response.status();
    let why = match body["error"]["message"].as_str() {
        Some(message) => format!("refused by the server: {} {message}", status.as_u16()),
        None => format!("refused by the server: {status}"),
    };
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        let header = response
            .headers()
            .get("Retry-After")
            .and_then(|value| value.to_str().ok());
        let asked = header
            .and_then(|value| value.parse().ok())
            .map(Duration::from_secs);
        // Spread, because everybody was told the same.
        let after = asked.map(|after| after.min(ASKED_MAX) + up_to(Duration::from_secs(1)));
        Ended::Cut { after, why }
    } else {
        Ended::Refused(why)
    }
}

/// A random wait that grows with the number of failures in a row.
fn backoff(failures: u32) -> Duration {
    let ceiling = BACKOFF_FIRST
        .saturating_mul(1 << failures.min(16))
        .min(BACKOFF_MAX);
    BACKOFF_FIRST / 5 + up_to(ceiling)
}

fn up_to(ceiling: Duration) -> Duration {
    ceiling.mul_f64(fastrand::f64())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn note(sentence: impl Display) {
    eprintln!("tail: {}", terminal::lines(&sentence.to_string()));
}

fn namespace(name: &str) -> Result<Namespace, String> {
    Namespace::parse(name).ok_or_else(|| {
        format!(
            "there is no such namespace; there are {}",
            Namespace::ALL.map(Namespace::name).join(", ")
        )
    })
}

fn event_type(name: &str) -> Result<String, String> {
    match session::namespace_of(name) {
        Some(_) => Ok(name.to_owned()),
        None => Err("must be an event type like order:created".into()),
    }
}

#[cfg(test)]
mod tests;
