//! The new side: asks the running server for everything, and builds on it.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::link::{Link, Received};
use super::state::{
    ConnectionState, EmitterState, FromNew, FromOld, KeyState, RouterState, read_blocks, read_keys,
};
use super::{ENDING, Hello, LOOK, Place, socket_beside};
use crate::event::stored::{Lexicon, NoBlock};
use crate::event::{Block, NameHasher};

/// A process that ends closes its sockets one after the other: how long it may take for the last of
/// them.
const ENDING_MAX: Duration = Duration::from_secs(2);

/// What asking led to.
pub enum Asked {
    /// No server runs there.
    Nobody,
    /// One runs there, in another form or place, or ends, for this reason.
    Another(String, Box<Place>),
    /// One runs, and goes on, for this reason.
    Refused(String),
    /// Everything is here.
    Arrived(Box<Arrival>),
}

/// What a running server has sent. It stands still until [`Arrival::commit`], and goes on if this is
/// dropped.
pub struct Arrival {
    link: Link,
    /// What the router knew.
    pub router: RouterState,
    /// The keys in their window, in the order of use.
    pub keys: Vec<KeyState>,
    /// Kept events, oldest first.
    pub history: Vec<Arc<Block>>,
    /// Events that no reactor has had.
    pub pending: Vec<Arc<Block>>,
    /// Emitters with their sockets.
    pub emitters: Vec<(EmitterState, UnixStream)>,
    /// Connections with theirs.
    pub connections: Vec<(ConnectionState, TcpStream)>,
    /// The port, the ingest socket, the private socket, and the lock of the journal if there is one.
    pub files: Vec<OwnedFd>,
}

/// Asks the server that runs where `hello` says for everything. If it ends meanwhile, the answer is
/// what there is after it.
///
/// # Errors
/// A sentence, if it does not answer as one.
pub fn ask(hello: &Hello, hasher: &NameHasher) -> Result<Asked, String> {
    let path = socket_beside(&hello.place.socket);
    let until = Instant::now() + ENDING_MAX;
    loop {
        let stream = match UnixStream::connect(&path) {
            Ok(stream) => stream,
            Err(error) if is_nobody(&error) => return Ok(Asked::Nobody),
            Err(error) => return Err(format!("could not ask {}: {error}", path.display())),
        };
        match converse(stream, hello, hasher) {
            Ok(asked) => return Ok(asked),
            Err(error) if has_hung_up(&error) && Instant::now() < until => thread::sleep(LOOK),
            Err(error) => {
                let path = path.display();
                return Err(format!("the takeover through {path} failed: {error}"));
            }
        }
    }
}

fn converse(stream: UnixStream, hello: &Hello, hasher: &NameHasher) -> io::Result<Asked> {
    let mut link = Link::new(stream)?;
    link.send_line(hello)?;
    let theirs: Hello = link.receive_line()?;
    if let Some(obstacle) = hello.obstacle(&theirs) {
        return Ok(Asked::Another(obstacle, Box::new(theirs.place)));
    }
    link.send(&FromNew::Begin, &[], &[])?;
    match receive_all(link, hasher)? {
        Asked::Refused(reason) if reason == ENDING => {
            Ok(Asked::Another(reason, Box::new(theirs.place)))
        }
        asked => Ok(asked),
    }
}

/// A server that lives says why it does not go on.
fn has_hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn receive_all(mut link: Link, hasher: &NameHasher) -> io::Result<Asked> {
    let (lexicon, now) = (Lexicon::own(), Instant::now());
    let blocks = |bytes: &[u8]| {
        read_blocks(bytes, &lexicon, hasher, now).map_err(|NoBlock(fault)| io::Error::other(fault))
    };
    let (mut history, mut pending) = (Vec::new(), Vec::new());
    let (mut emitters, mut connections) = (Vec::new(), Vec::new());
    let mut router = None;
    loop {
        let Received {
            message,
            body,
            files,
        } = link.receive::<FromOld>()?;
        match message {
            FromOld::History => history.extend(blocks(&body)?),
            FromOld::Pending => pending.extend(blocks(&body)?),
            FromOld::Connections(states) => {
                connections.extend(
                    states
                        .into_iter()
                        .zip(files.into_iter().map(TcpStream::from)),
                );
            }
            FromOld::Emitters(states) => {
                emitters.extend(
                    states
                        .into_iter()
                        .zip(files.into_iter().map(UnixStream::from)),
                );
            }
            FromOld::Router(state) => router = Some((state, read_keys(&body).collect(), files)),
            FromOld::Done => break,
            FromOld::Stays(reason) => return Ok(Asked::Refused(reason)),
            FromOld::Go => return Err(io::Error::other("it went before it was asked to")),
        }
    }
    let (state, keys, files) = router.ok_or_else(|| io::Error::other("its router is missing"))?;
    Ok(Asked::Arrived(Box::new(Arrival {
        link,
        router: *state,
        keys,
        history,
        pending,
        emitters,
        connections,
        files,
    })))
}

/// The end of a takeover that is still open.
pub struct Commit(Link);

impl Arrival {
    /// What is left to do when everything else is used.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn commit(&self) -> io::Result<Commit> {
        self.link.try_clone().map(Commit)
    }
}

impl Commit {
    /// Tells the old server that everything is built, and waits for its word.
    ///
    /// # Errors
    /// A sentence, if the old one goes on: then this process must not serve.
    pub fn finish(&mut self) -> Result<(), String> {
        let committed = self.0.send(&FromNew::Commit, &[], &[]);
        committed.map_err(|error| format!("the old server did not wait: {error}"))?;
        match self.0.receive::<FromOld>() {
            Ok(Received {
                message: FromOld::Stays(reason),
                ..
            }) => Err(format!("the old server goes on: {reason}")),
            Ok(_) => Ok(()),
            // It would have told us if it went on: so it is gone.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(format!("the old server did not answer: {error}")),
        }
    }

    /// Tells the old server that this process is ready, and serves: its end.
    pub fn serves(mut self) {
        if let Err(error) = self.0.send(&FromNew::Serves, &[], &[]) {
            log::debug!("the old server has ended already: {error}");
        }
    }
}
