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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn chosen(env: &[(&str, &str)], user: u32, folders: &[&str]) -> (String, SocketFolder) {
        let env = |name: &str| {
            env.iter()
                .find(|(one, _)| *one == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let (path, folder) = choose(&env, user, &|path| {
            folders.iter().any(|one| path == Path::new(one))
        });
        (path.display().to_string(), folder)
    }

    #[test]
    fn the_first_folder_that_is_there_is_chosen() {
        use SocketFolder::{Given, Own};
        let runtime = [("XDG_RUNTIME_DIR", "/run/user/7")];
        let all = ["/run/user/7", "/run/shopwire", "/run"];
        assert_eq!(
            chosen(&runtime, 7, &all),
            ("/run/user/7/shopwire.sock".into(), Given)
        );
        assert_eq!(
            chosen(&runtime, 7, &all[1..]),
            ("/run/shopwire/shopwire.sock".into(), Given)
        );
        assert_eq!(
            chosen(&[], 7, &all),
            ("/run/shopwire/shopwire.sock".into(), Given)
        );
        assert_eq!(
            chosen(&[], 0, &["/run"]),
            ("/run/shopwire/shopwire.sock".into(), Own)
        );
        assert_eq!(
            chosen(&[], 7, &["/run"]),
            ("/tmp/shopwire-7/shopwire.sock".into(), Own)
        );
        assert_eq!(
            chosen(&[("TMPDIR", "/t")], 7, &[]),
            ("/t/shopwire-7/shopwire.sock".into(), Own)
        );
        assert_eq!(
            chosen(&[("XDG_RUNTIME_DIR", "x")], 7, &["x"]).1,
            Own,
            "relative"
        );
    }

    #[test]
    fn the_private_folder_is_made_for_its_owner_alone() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("shopwire-7");
        prepare_folder(&folder.join("s"), SocketFolder::Given).unwrap();
        assert!(!folder.exists());
        prepare_folder(&folder.join("s"), SocketFolder::Own).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        prepare_folder(&folder.join("s"), SocketFolder::Own).unwrap();
    }

    #[test]
    fn a_folder_others_could_have_prepared_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let open = temp.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        prepare_folder(&open.join("s"), SocketFolder::Own).unwrap_err();
        let link = temp.path().join("link");
        symlink(temp.path(), &link).unwrap();
        prepare_folder(&link.join("s"), SocketFolder::Own).unwrap_err();
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        prepare_folder(&file.join("s"), SocketFolder::Own).unwrap_err();
    }
}
