//! Where the ingest socket is if nobody says so, and the folder it needs.
//!
//! Owns the rule that `serve`, `emit` and `ctl` share; `serve` calls [`prepare_folder`] before it binds.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "shopwire.sock";
const SYSTEM_FOLDER: &str = "/run/shopwire";

/// Who has to make the folder the socket is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketFolder {
    /// The operator: the path was given, or its folder is one of the system's.
    Given,
    /// The server: it is the user's private folder, or `/run/shopwire` when started by root.
    Own,
}

/// `$XDG_RUNTIME_DIR/shopwire.sock`, else `/run/shopwire/shopwire.sock`, else a private folder of the
/// user's under the temp dir. A folder counts if it is there; root may also make `/run/shopwire`.
pub fn default_socket(env: &dyn Fn(&str) -> Option<String>) -> (PathBuf, SocketFolder) {
    let user = rustix::process::geteuid().as_raw();
    choose(env, user, &|path| path.is_dir())
}

/// Makes the folder of a default socket path if it is missing, for its owner only where it is under
/// the temp dir. Does nothing for [`SocketFolder::Given`].
///
/// # Errors
/// The folder cannot be made; or somebody else could put a socket of their own into it.
pub fn prepare_folder(socket: &Path, folder: SocketFolder) -> io::Result<()> {
    let parent = match (folder, socket.parent()) {
        (SocketFolder::Own, Some(parent)) => parent,
        _ => return Ok(()),
    };
    // Emitters of other users reach the system's folder; its socket's own mode keeps strangers out.
    let mode = if parent == Path::new(SYSTEM_FOLDER) {
        0o755
    } else {
        0o700
    };
    match DirBuilder::new().mode(mode).create(parent) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(parent)?;
    let own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if !own || found.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{} is not a folder that only this user can write to",
                parent.display()
            ),
        ));
    }
    Ok(())
}

fn choose(
    env: &dyn Fn(&str) -> Option<String>,
    user: u32,
    is_folder: &dyn Fn(&Path) -> bool,
) -> (PathBuf, SocketFolder) {
    let folder_in = |name| {
        env(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if let Some(runtime) = folder_in("XDG_RUNTIME_DIR").filter(|path| is_folder(path)) {
        return (runtime.join(FILE_NAME), SocketFolder::Given);
    }
    let system = Path::new(SYSTEM_FOLDER);
    if is_folder(system) {
        return (system.join(FILE_NAME), SocketFolder::Given);
    }
    if user == 0 && system.parent().is_some_and(is_folder) {
        return (system.join(FILE_NAME), SocketFolder::Own);
    }
    let temp = folder_in("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp"));
    (
        temp.join(format!("shopwire-{user}")).join(FILE_NAME),
        SocketFolder::Own,
    )
}
