//! The ingest socket and its file: opened at start, looked after while the server runs, removed at a clean end.
//!
//! Owned by the router; `server` opens it, or has it from the process before. A socket without its file lives
//! on for those who are connected, and nobody else finds it. So the router looks for the file now and then,
//! itself, because it alone knows when the file is another process's: a look is one `stat`, and the thread
//! that watches over the loops wakes it for that. Whether a path is free is decided here alone, at start and
//! later: what another living server has is left alone.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use mio::Interest;
use mio::net::{UnixListener, UnixStream};

use super::{INGEST, Router};
use crate::config::{SocketFolder, prepare_folder};
use crate::limits;

/// The socket file's mode: the server's user and group may emit, nobody else.
const SOCKET_MODE: u32 = 0o660;

/// The ingest socket, with its file.
pub struct Ingest {
    /// Where emitters come in.
    pub listener: UnixListener,
    /// The socket file, removed at a clean exit ...
    pub path: PathBuf,
    /// ... if it is still this one (device and inode): another server may have taken the path.
    pub file: (u64, u64),
}

/// What is known of the file.
#[derive(Default)]
pub(super) struct Lookout {
    next: Option<Instant>,
    /// Why it is missing, if it is and could not be put there again.
    fault: Option<String>,
}

impl Ingest {
    /// Opens it. A file left behind by a dead server is replaced; a live server's, or a file of another
    /// kind, is left alone.
    ///
    /// # Errors
    /// A sentence.
    pub fn open(path: &Path, folder: SocketFolder) -> Result<Ingest, String> {
        let shown = path.display();
        prepare_folder(path, folder).map_err(|error| {
            format!("could not prepare the folder of the socket {shown}: {error}")
        })?;
        remove_stale(path)?;
        let listener = UnixListener::bind(path)
            .map_err(|error| format!("could not open the ingest socket {shown}: {error}"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(|error| {
            format!("could not set the mode of the ingest socket {shown}: {error}")
        })?;
        let found = fs::symlink_metadata(path)
            .map_err(|error| format!("could not look at the ingest socket {shown}: {error}"))?;
        Ok(Ingest {
            listener,
            path: path.to_owned(),
            file: (found.dev(), found.ino()),
        })
    }

    /// Whether its file is where emitters look for it.
    fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file)
    }

    /// Removes its file, unless that is another's by now.
    pub(super) fn remove_file(&self) {
        if self.is_in_place()
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!(
                "could not remove the socket file {}: {error}",
                self.path.display()
            );
        }
    }
}

fn remove_stale(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("could not look at {shown}: {error}")),
    };
    if !kind.is_socket() {
        return Err(format!(
            "{shown} is there and is no socket; it was left alone"
        ));
    }
    // Not waited for: one that has no room for us now is alive, too.
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|error| format!("could not remove the stale socket {shown}: {error}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
            Err(format!("{shown} is a socket that may be in use: {error}"))
        }
        Ok(_) | Err(_) => Err(format!(
            "{shown} belongs to a server that is running; choose another --socket"
        )),
    }
}

impl Router {
    /// Looks whether emitters still find the socket, and puts it there again if they do not.
    pub(super) fn look_after_ingest(&mut self, now: Instant) {
        // Else the file may be another process's, or will be at the next moment.
        if self.is_guest || self.is_handing_over() {
            return;
        }
        let Some(ingest) = &self.ingest else { return };
        if self.lookout.next.is_some_and(|next| now < next) {
            return;
        }
        self.lookout.next = Some(now + limits::INGEST_LOOK);
        let fault = match ingest.is_in_place() {
            true => None,
            false => self.put_ingest_back(now).err(),
        };
        let missing = &self.shared.stats.router.ingest_missing;
        missing.set(fault.is_some().into());
        if fault == self.lookout.fault {
            return;
        }
        match &fault {
            Some(fault) => log::error!(
                "emitters do not find this server any more, so that /readyz says 503: its socket is gone, and {fault}"
            ),
            None => log::info!("emitters find this server again"),
        }
        self.lookout.fault = fault;
    }

    /// Opens it anew in its place. Who is connected stays.
    fn put_ingest_back(&mut self, now: Instant) -> Result<(), String> {
        let Some(old) = &self.ingest else {
            return Ok(());
        };
        let mut new = Ingest::open(&old.path, self.shared.config.socket_folder)?;
        let watched = self
            .registry
            .register(&mut new.listener, INGEST, Interest::READABLE);
        if let Err(error) = watched {
            new.remove_file();
            return Err(format!("a new one cannot be watched: {error}"));
        }
        // Who came before the file went is let in.
        self.emitters_waiting.ready();
        self.accept_emitters(now);
        self.emitters_waiting.ready();
        log::warn!(
            "somebody has removed the ingest socket {}; it is there again",
            new.path.display()
        );
        if let Some(mut old) = self.ingest.replace(new)
            && let Err(error) = self.registry.deregister(&mut old.listener)
        {
            log::debug!("deregistering the ingest socket failed: {error}");
        }
        Ok(())
    }
}
