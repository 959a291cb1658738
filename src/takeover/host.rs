//! The old side: a thread that waits for a successor and leads it through.
//!
//! It alone decides, after the router has sent everything, whether the successor has made it: so the
//! word is given once, and each side knows what the other does. The successor answers it when it has
//! said that it is ready, and touches nothing before: one that ends without an answer has not served.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::door::{Door, FileId, Guard, Passed};
use super::link::Link;
use super::state::{FromNew, FromOld};
use super::{ENDING, HELLO_PATIENCE, Hello, PATIENCE, socket_beside};
use crate::ring::{Doorbell, Mailbox, Post, mailbox};
use crate::router::peer_is_operator;

/// A successor that is to be sent everything.
pub struct Request {
    /// The way to it.
    pub link: Link,
    /// The private socket, which it goes on with.
    pub door: Passed,
    /// To be told when everything is sent, or why it was not.
    pub sent: mpsc::Sender<Result<(), String>>,
    /// Then tells how it went on.
    pub outcome: Mailbox<Outcome>,
}

/// How a takeover ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The successor serves.
    Gone,
    /// This process goes on.
    Stays,
}

/// How long to leave the private socket alone when nobody can be let in, for want of descriptors.
const RETRY: Duration = Duration::from_millis(100);

/// Lets successors in.
pub struct Host {
    door: Door,
    hello: Hello,
}

impl Host {
    /// With a private socket of its own, beside the ingest socket.
    ///
    /// # Errors
    /// A sentence, if it cannot be opened.
    pub fn open(hello: Hello) -> Result<Host, String> {
        let door = Door::open(socket_beside(&hello.place.socket))?;
        Ok(Host { door, hello })
    }

    /// With that of another process.
    ///
    /// # Errors
    /// A sentence, if the process has no descriptor left.
    pub fn go_on(hello: Hello, listener: OwnedFd, file: FileId) -> Result<Host, String> {
        let door = Door::go_on(socket_beside(&hello.place.socket), listener, file)
            .map_err(|error| format!("could not watch over the takeover socket: {error}"))?;
        Ok(Host { door, hello })
    }

    /// Waits for successors on a thread of its own, once `serving` is set; `requests` leads to the
    /// router, which `router` wakes.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        mut self,
        requests: Post<Request>,
        router: Arc<Doorbell>,
        serving: Arc<OnceLock<()>>,
    ) -> io::Result<Guard> {
        let guard = self.door.guard();
        std::thread::Builder::new()
            .name("takeover".to_owned())
            .spawn(move || {
                serving.wait();
                self.door.own();
                self.let_in(&requests, &router);
            })?;
        Ok(guard)
    }

    fn let_in(&mut self, requests: &Post<Request>, router: &Arc<Doorbell>) {
        loop {
            let stream = match self.door.accept() {
                Ok(stream) => stream,
                Err(error) => {
                    log::warn!("nobody can be let in to take over: {error}");
                    std::thread::sleep(RETRY);
                    continue;
                }
            };
            match self.serve(stream, requests, router) {
                Ok(Some(Outcome::Gone)) => return,
                Ok(_) => {}
                Err(error) => log::warn!("a takeover broke off: {error}"),
            }
        }
    }

    fn serve(
        &self,
        stream: UnixStream,
        requests: &Post<Request>,
        router: &Arc<Doorbell>,
    ) -> io::Result<Option<Outcome>> {
        if !peer_is_operator(stream.as_fd()) {
            return Err(io::Error::other("it was not the server's own user or root"));
        }
        let mut link = Link::new(stream)?;
        // Whoever says nothing keeps others waiting.
        link.wait_at_most(HELLO_PATIENCE)?;
        let hello: Hello = link.receive_line()?;
        link.send_line(&self.hello)?;
        if link.receive::<FromNew>()?.message != FromNew::Begin {
            return Err(io::Error::other("it did not say begin"));
        }
        link.wait_at_most(PATIENCE)?;
        log::info!("{} takes over", hello.program);
        let (sent, is_sent) = mpsc::channel();
        let (tell, outcome) = mailbox(Arc::clone(router));
        let request = Request {
            link: link.try_clone()?,
            door: self.door.pass()?,
            sent,
            outcome,
        };
        if !requests.send(request) {
            link.send(&FromOld::Stays(ENDING.to_owned()), &[], &[])?;
            return Ok(None);
        }
        let all = is_sent.recv().unwrap_or_else(|_| Err(ENDING.to_owned()));
        if let Err(reason) = all {
            log::warn!("no takeover: {reason}");
            link.send(&FromOld::Stays(reason), &[], &[])?;
            return Ok(Some(Outcome::Stays));
        }
        let outcome = match lead_through(&mut link) {
            Ok(()) => {
                self.door.give_away();
                Outcome::Gone
            }
            Err(error) => {
                log::warn!("the successor did not make it ({error}): going on");
                Outcome::Stays
            }
        };
        Ok(tell.send(outcome).then_some(outcome))
    }
}

/// Waits until the successor serves.
fn lead_through(link: &mut Link) -> io::Result<()> {
    let committed = link.receive::<FromNew>().and_then(|received| {
        let is_commit = received.message == FromNew::Commit;
        is_commit
            .then_some(())
            .ok_or_else(|| io::Error::other("it did not say commit"))
    });
    if let Err(error) = committed {
        // It takes silence for our end, so it hears of our going on before we do.
        let stays = FromOld::Stays("it took too long".to_owned());
        if let Err(error) = link.send(&stays, &[], &[]) {
            log::debug!("the successor did not hear how it ended: {error}");
        }
        return Err(error);
    }
    link.send(&FromOld::Go, &[], &[])?;
    log::info!("the successor has built everything: it may serve");
    loop {
        match link.receive::<FromNew>() {
            Ok(received) if received.message == FromNew::Serves => return Ok(()),
            Ok(_) => return Err(io::Error::other("it did not say that it serves")),
            // It may serve at any moment, so nothing can be done until it does or has ended.
            Err(error) if is_timeout(&error) => {
                log::warn!("the successor has everything, and does not say that it serves");
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
