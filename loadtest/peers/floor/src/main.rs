//! `floor`: the least any server can do on this kernel.
//!
//! One thread, one poll. For each chunk read from the ingest socket it sends one buffer to each
//! subscribed connection, with one `send`, and writes one ack: no token is checked, no line parsed,
//! nobody filtered. What it costs is what the kernel costs; how far another server is above it is
//! that server's own doing. With `FLOOR_UNICAST` set, each line goes to the one connection whose user
//! its `customerId` names.
//!
//! It speaks just enough of the protocol for the load test to be served, with frames as long as
//! shopwire's, and is started like the other peers (`loadtest/peers/README.md`). It is no server for
//! anything else: it trusts everyone.

mod browser;
mod ingest;

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use mio::net::{TcpListener, UnixListener};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use browser::Browser;
use ingest::{Batch, Emitter};

const BROWSERS: Token = Token(usize::MAX);
const EMITTERS: Token = Token(usize::MAX - 1);
/// Emitters' tokens begin here, browsers' at 0.
const FIRST_EMITTER: usize = 1 << 32;

/// Connections not yet accepted that the kernel keeps.
const BACKLOG: i32 = 4096;

/// One read takes this much at most, and what it brings is one batch.
const READ: usize = 256 * 1024;

fn main() -> Result<(), String> {
    Floor::open()
        .map_err(|error| format!("cannot start: {error}"))?
        .serve()
        .map_err(|error| format!("cannot go on: {error}"))
}

struct Floor {
    poll: Poll,
    browsers: TcpListener,
    emitters: UnixListener,
    connections: Slab<Browser>,
    ingest: Slab<Emitter>,
    /// Where each line goes to one user: the user's connection, by the user's name.
    users: Option<HashMap<Vec<u8>, usize>>,
    batch: Batch,
    scratch: Vec<u8>,
}

impl Floor {
    fn open() -> io::Result<Self> {
        let poll = Poll::new()?;
        let port = std::env::var("WS_PORT").ok();
        let port = port.and_then(|port| port.parse().ok()).unwrap_or(0);
        let mut browsers = listen(port)?;
        let path = PathBuf::from(std::env::var_os("WS_SOCKET").unwrap_or("floor.sock".into()));
        let mut emitters = UnixListener::bind(&path)?;
        poll.registry()
            .register(&mut browsers, BROWSERS, Interest::READABLE)?;
        poll.registry()
            .register(&mut emitters, EMITTERS, Interest::READABLE)?;
        announce(browsers.local_addr()?, &path);
        Ok(Self {
            poll,
            browsers,
            emitters,
            connections: Slab::new(),
            ingest: Slab::new(),
            users: std::env::var_os("FLOOR_UNICAST").map(|_| HashMap::new()),
            batch: Batch::default(),
            scratch: vec![0; READ],
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(4096);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                let at_end = event.is_read_closed() || event.is_error();
                match event.token() {
                    BROWSERS => self.accept_browsers()?,
                    EMITTERS => self.accept_emitters()?,
                    Token(token) if token >= FIRST_EMITTER => {
                        self.ingest(token - FIRST_EMITTER, at_end);
                    }
                    Token(key) => self.hear(key, at_end),
                }
            }
        }
    }

    fn accept_browsers(&mut self) -> io::Result<()> {
        loop {
            let (mut stream, _) = match self.browsers.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let slot = self.connections.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(slot.key()), interest)?;
            slot.insert(Browser::new(stream));
        }
    }

    fn accept_emitters(&mut self) -> io::Result<()> {
        loop {
            let (mut stream, _) = match self.emitters.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let slot = self.ingest.vacant_entry();
            let token = Token(FIRST_EMITTER + slot.key());
            self.poll
                .registry()
                .register(&mut stream, token, Interest::READABLE)?;
            slot.insert(Emitter::new(stream));
        }
    }

    /// Reads what a browser says; it is dropped when it has gone, which `at_end` makes it look for.
    fn hear(&mut self, key: usize, at_end: bool) {
        let Some(browser) = self.connections.get_mut(key) else {
            return;
        };
        match browser.turn(at_end, self.users.is_some(), &mut self.scratch) {
            Ok(Some(user)) => {
                if let Some(users) = &mut self.users {
                    users.insert(user, key);
                }
            }
            Ok(None) => {}
            Err(_) => drop(self.connections.remove(key)),
        }
    }

    /// Reads an emitter's chunks, sends each on, and acknowledges it. A chunk that leaves room has
    /// emptied the socket, and what comes later is told anew: only `at_end` the end itself has to be
    /// read to be seen.
    fn ingest(&mut self, key: usize, at_end: bool) {
        loop {
            let Some(emitter) = self.ingest.get_mut(key) else {
                return;
            };
            let length = match emitter.read(&mut self.scratch, &mut self.batch) {
                Ok(0) => return,
                Ok(length) => length,
                Err(_) => return drop(self.ingest.remove(key)),
            };
            match &self.users {
                None => {
                    for (_, browser) in &mut self.connections {
                        browser.send_if_subscribed(self.batch.bytes());
                    }
                }
                Some(users) => {
                    for (user, frame) in self.batch.addressed() {
                        let browser = users
                            .get(user)
                            .and_then(|key| self.connections.get_mut(*key));
                        if let Some(browser) = browser {
                            browser.send_if_subscribed(frame);
                        }
                    }
                }
            }
            self.batch.clear();
            if let Some(emitter) = self.ingest.get_mut(key)
                && emitter.acknowledge().is_err()
            {
                return drop(self.ingest.remove(key));
            }
            if length < READ && !at_end {
                return;
            }
        }
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port).into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

#[expect(
    clippy::print_stdout,
    reason = "the ready line is what standard output is for"
)]
fn announce(address: SocketAddr, socket: &std::path::Path) {
    println!(
        "floor ready ws=ws://{address}/api/ws ingest={}",
        socket.display()
    );
}
