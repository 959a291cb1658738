//! A line between a client and the server that a test can cut, and keep cut for a while.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Forwards connections to a server.
pub struct Relay {
    pub address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    open: Vec<TcpStream>,
}

impl Relay {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        let state = Arc::clone(&relay.state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let state = Arc::clone(&state);
                thread::spawn(move || forward(client, server, &state));
            }
        });
        relay
    }

    /// Ends all connections; new ones hear nothing before [`Relay::mend`].
    pub fn cut(&self) {
        let mut state = self.state.0.lock().unwrap();
        state.is_cut = true;
        for stream in state.open.drain(..) {
            // The other side may have ended it already.
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    pub fn mend(&self) {
        self.state.0.lock().unwrap().is_cut = false;
        self.state.1.notify_all();
    }
}

fn forward(client: TcpStream, server: SocketAddr, state: &(Mutex<State>, Condvar)) {
    let locked = state.0.lock().unwrap();
    let mut locked = state.1.wait_while(locked, |state| state.is_cut).unwrap();
    let server = TcpStream::connect(server).unwrap();
    for stream in [&client, &server] {
        locked.open.push(stream.try_clone().unwrap());
    }
    drop(locked);
    let (mut from_client, mut to_server) =
        (client.try_clone().unwrap(), server.try_clone().unwrap());
    // A copy ends with either of its sides, however that ends.
    thread::spawn(move || std::io::copy(&mut from_client, &mut to_server).ok());
    let (mut from_server, mut to_client) = (server, client);
    std::io::copy(&mut from_server, &mut to_client).ok();
}
