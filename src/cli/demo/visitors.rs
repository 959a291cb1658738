//! The demo shop's customers as connections: whoever is in the shop is online, as the server counts.
//!
//! Owns one WebSocket for each of them, with a token that the server's own process handed over. They
//! say nothing and listen to nothing; pings are answered.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tungstenite::http::Uri;
use tungstenite::{ClientRequestBuilder, Error, WebSocket};

/// For connecting and for the handshake.
const SETUP_TIMEOUT: Duration = Duration::from_secs(2);

/// How customers get in: one line of JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct Entrance {
    /// Address of the server, host and port.
    pub(crate) address: String,
    /// A token for each customer, by id.
    pub(crate) tokens: BTreeMap<String, String>,
}

/// Those who are in the shop.
pub(super) struct Visitors {
    entrance: Option<Entrance>,
    there: HashMap<&'static str, WebSocket<TcpStream>>,
}

impl Visitors {
    /// Nobody yet. Without an entrance it stays so.
    pub(super) fn new(entrance: Option<Entrance>) -> Self {
        Self {
            entrance,
            there: HashMap::new(),
        }
    }

    /// Connects those of `expected` who are not there, and lets the others go. One that cannot connect
    /// is tried again with the next call.
    pub(super) fn follow(&mut self, expected: &[&'static str]) {
        let Some(entrance) = &self.entrance else {
            return;
        };
        self.there.retain(|id, socket| {
            let stays = expected.contains(id);
            if !stays {
                // The server notices the end of the connection, too.
                socket.close(None).ok();
                socket.flush().ok();
            }
            stays
        });
        for &id in expected {
            if !self.there.contains_key(id)
                && let Some(socket) = entrance.connect(id)
            {
                self.there.insert(id, socket);
            }
        }
    }

    /// Answers pings. To be called more often than a ping may wait.
    pub(super) fn keep(&mut self) {
        self.there.retain(|_, socket| {
            loop {
                match socket.read() {
                    Ok(_) => {}
                    Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                        // The answer was written by the last read, but for a full socket.
                        return !matches!(socket.flush(), Err(error) if !is_full(&error));
                    }
                    Err(_) => return false,
                }
            }
        });
    }
}

impl Entrance {
    fn connect(&self, customer: &str) -> Option<WebSocket<TcpStream>> {
        let token = self.tokens.get(customer)?;
        let stream = TcpStream::connect_timeout(&self.address.parse().ok()?, SETUP_TIMEOUT).ok()?;
        stream.set_read_timeout(Some(SETUP_TIMEOUT)).ok()?;
        let uri: Uri = format!("ws://{}/api/ws", self.address).parse().ok()?;
        let request = ClientRequestBuilder::new(uri)
            .with_sub_protocol("shopwire.v1")
            .with_sub_protocol(format!("token.{token}"));
        let (socket, _) = tungstenite::client(request, stream).ok()?;
        socket.get_ref().set_nonblocking(true).ok()?;
        Some(socket)
    }
}

fn is_full(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock)
}
