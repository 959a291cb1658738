//! The old side: a thread that waits for a successor and leads it through.
//!
//! It alone decides, after the router has sent everything, whether the successor has made it: so the
//! word is given once, and each side knows what the other does.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use super::link::Link;
use super::state::{FromNew, FromOld};
use super::{Hello, socket_beside};
use crate::ring::{Doorbell, Mailbox, Post, mailbox};
use crate::router::peer_is_operator;

/// A successor that is to be sent everything.
pub struct Request {
    /// The way to it.
    pub link: Link,
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

/// The private socket.
pub struct Host {
    listener: UnixListener,
    path: PathBuf,
    hello: Hello,
}

impl Host {
    /// Opens the private socket beside the ingest socket, for this user alone. One that is there
    /// belongs to a server that is gone, or that is being succeeded by this one.
    ///
    /// # Errors
    /// A sentence, if it cannot be opened.
    pub fn open(hello: Hello) -> Result<Host, String> {
        let path = socket_beside(&hello.place.socket);
        let open = || -> io::Result<UnixListener> {
            match fs::symlink_metadata(&path) {
                Ok(found) if !found.file_type().is_socket() => {
                    return Err(io::Error::other("it is there and is no socket"));
                }
                _ => {}
            }
            // Made under another name and moved there: the place is never empty, and two files that
            // are there at once have two inodes, by which each process knows its own.
            let mut new = path.clone().into_os_string();
            new.push(".new");
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&new)?;
            fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
            fs::rename(&new, &path)?;
            Ok(listener)
        };
        let listener = open().map_err(|error| {
            format!(
                "could not open the takeover socket {}: {error}",
                path.display()
            )
        })?;
        Ok(Host {
            listener,
            path,
            hello,
        })
    }

    /// Waits for successors on a thread of its own; `requests` leads to the router, which `router`
    /// wakes.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(self, requests: Post<Request>, router: Arc<Doorbell>) -> io::Result<Guard> {
        let guard = Guard::of(&self.path)?;
        std::thread::Builder::new()
            .name("takeover".to_owned())
            .spawn(move || {
                for stream in self.listener.incoming() {
                    let served = stream.and_then(|stream| self.serve(stream, &requests, &router));
                    match served {
                        Ok(Some(Outcome::Gone)) => return,
                        Ok(_) => {}
                        Err(error) => log::warn!("a takeover broke off: {error}"),
                    }
                }
            })?;
        Ok(guard)
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
        let hello: Hello = link.receive_line()?;
        link.send_line(&self.hello)?;
        if link.receive::<FromNew>()?.message != FromNew::Begin {
            return Err(io::Error::other("it did not say begin"));
        }
        log::info!("{} takes over", hello.program);
        let (sent, is_sent) = mpsc::channel();
        let (tell, outcome) = mailbox(Arc::clone(router));
        let request = Request {
            link: link.try_clone()?,
            sent,
            outcome,
        };
        if !requests.send(request) {
            return Ok(None);
        }
        let all = is_sent
            .recv()
            .unwrap_or_else(|_| Err("the server is ending".to_owned()));
        let outcome = match all {
            Ok(()) => match link.receive::<FromNew>() {
                Ok(received) if received.message == FromNew::Commit => Outcome::Gone,
                Ok(_) => Outcome::Stays,
                Err(error) => {
                    log::warn!("the successor did not make it ({error}): going on");
                    Outcome::Stays
                }
            },
            Err(reason) => {
                log::warn!("no takeover: {reason}");
                link.send(&FromOld::Stays(reason), &[], &[])?;
                return Ok(Some(Outcome::Stays));
            }
        };
        // The successor takes silence for our end, so it hears of our going on before we do.
        let word = match outcome {
            Outcome::Gone => FromOld::Go,
            Outcome::Stays => FromOld::Stays("it took too long".to_owned()),
        };
        if let Err(error) = link.send(&word, &[], &[]) {
            // One that is committed takes our end for the word; of any other nothing depends on it.
            log::debug!("the successor did not hear how it ended: {error}");
        }
        Ok(tell.send(outcome).then_some(outcome))
    }
}

/// Removes the private socket's file at a clean end, unless a successor has put its own there.
pub struct Guard {
    path: PathBuf,
    file: (u64, u64),
}

impl Guard {
    fn of(path: &Path) -> io::Result<Guard> {
        let found = fs::symlink_metadata(path)?;
        Ok(Guard {
            path: path.to_owned(),
            file: (found.dev(), found.ino()),
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.file);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("could not remove {}: {error}", self.path.display());
        }
    }
}
