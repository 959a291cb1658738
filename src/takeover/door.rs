//! The private socket: a listener, and the file that leads to it.
//!
//! The listener goes from process to process; the file stays, and belongs to whichever of them
//! serves. That one puts it there again when somebody has removed it, and removes it at a clean end.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::io::{Errno, retry_on_intr};

/// Which file it is: device and inode.
pub type FileId = (u64, u64);

/// The private socket.
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
    file: FileId,
    /// Tells that the file may be gone.
    watch: OwnedFd,
    owned: Owned,
}

/// The file, if it is this process's to put there and to remove.
type Owned = Arc<Mutex<Option<FileId>>>;

/// What a successor needs of the private socket.
pub struct Passed {
    listener: UnixListener,
    /// Where its file is.
    pub file: FileId,
}

impl AsFd for Passed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Door {
    /// Opens it at this path, for this user alone. A socket that is there belongs to a server that is
    /// gone.
    ///
    /// # Errors
    /// A sentence, if it cannot be opened.
    pub fn open(path: PathBuf) -> Result<Door, String> {
        let opened = bind(&path).and_then(|(listener, file)| {
            let door = Door::of(listener, path.clone(), file)?;
            *lock(&door.owned) = Some(file);
            Ok(door)
        });
        opened.map_err(|error| {
            format!(
                "could not open the takeover socket {}: {error}",
                path.display()
            )
        })
    }

    /// That of another process, whose file it is until this one [owns](Door::own) it.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn go_on(path: PathBuf, listener: OwnedFd, file: FileId) -> io::Result<Door> {
        Door::of(UnixListener::from(listener), path, file)
    }

    fn of(listener: UnixListener, path: PathBuf, file: FileId) -> io::Result<Door> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Door {
            listener,
            path,
            file,
            watch: inotify::init(flags)?,
            owned: Owned::default(),
        })
    }

    /// From now on the file is this process's.
    pub fn own(&mut self) {
        *lock(&self.owned) = Some(self.file);
        self.look_after_file();
    }

    /// From now on it is another's.
    pub fn give_away(&self) {
        *lock(&self.owned) = None;
    }

    /// What a successor needs.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn pass(&self) -> io::Result<Passed> {
        Ok(Passed {
            listener: self.listener.try_clone()?,
            file: self.file,
        })
    }

    /// Removes the file at the end of the process, if it is this process's then.
    pub fn guard(&self) -> Guard {
        Guard {
            path: self.path.clone(),
            owned: Arc::clone(&self.owned),
        }
    }

    /// Waits for a caller.
    ///
    /// # Errors
    /// What the system says.
    pub fn accept(&mut self) -> io::Result<UnixStream> {
        loop {
            let mut both = [
                PollFd::new(&self.listener, PollFlags::IN),
                PollFd::new(&self.watch, PollFlags::IN),
            ];
            retry_on_intr(|| poll(&mut both, None))?;
            let [is_called, is_told] = both.each_ref().map(|each| !each.revents().is_empty());
            if is_told {
                self.forget_news()?;
                self.look_after_file();
            }
            if is_called {
                return self.listener.accept().map(|(stream, _)| stream);
            }
        }
    }

    fn forget_news(&self) -> io::Result<()> {
        let mut news = [0; 4096];
        loop {
            match retry_on_intr(|| rustix::io::read(&self.watch, &mut news)) {
                Ok(_) => {}
                Err(Errno::WOULDBLOCK) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Puts the file there again if it is gone, and has its end told.
    fn look_after_file(&mut self) {
        let mut owned = lock(&self.owned);
        if owned.is_none() {
            return;
        }
        let shown = self.path.display();
        match file_at(&self.path) {
            Ok(file) if file == self.file => {}
            Ok(_) => {
                log::warn!("{shown} is another's now: no process will be able to take over");
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match bind(&self.path) {
                Ok((listener, file)) => {
                    log::warn!("somebody has removed {shown}; it is there again");
                    (self.listener, self.file) = (listener, file);
                    *owned = Some(file);
                }
                Err(error) => {
                    log::warn!(
                        "somebody has removed {shown}, and it cannot be opened again ({error}): no \
                         process will be able to take over"
                    );
                    return;
                }
            },
            Err(error) => return log::warn!("could not look at {shown}: {error}"),
        }
        // A socket's inode outlives its name, which then is one link less.
        let ends = inotify::WatchFlags::ATTRIB
            | inotify::WatchFlags::MOVE_SELF
            | inotify::WatchFlags::DELETE_SELF;
        if let Err(error) = inotify::add_watch(&self.watch, &self.path, ends) {
            log::warn!("{shown} is not watched over: {error}");
        }
    }
}

/// Made under another name and moved there, so that the file has its mode when it is seen.
fn bind(path: &Path) -> io::Result<(UnixListener, FileId)> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::other("it is there and is no socket"));
        }
        _ => {}
    }
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
    fs::rename(&new, path)?;
    Ok((listener, file_at(path)?))
}

fn file_at(path: &Path) -> io::Result<FileId> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Whoever panicked with it has left one number or none.
fn lock(owned: &Owned) -> MutexGuard<'_, Option<FileId>> {
    owned.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the private socket's file at a clean end, unless it is a successor's by then.
pub struct Guard {
    path: PathBuf,
    owned: Owned,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Taken out, so that nobody puts the file there again.
        let owned = lock(&self.owned).take();
        let is_ours = owned.is_some_and(|own| file_at(&self.path).is_ok_and(|file| file == own));
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("could not remove {}: {error}", self.path.display());
        }
    }
}
