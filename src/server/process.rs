//! What the process gives up before it serves: core dumps, more rights than it has, and root.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Uid, initgroups, setgid, setuid};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, geteuid, set_dumpable_behavior, setrlimit,
};
use rustix::thread::set_no_new_privs;

use crate::config::{Account, Config};

/// Keeps what is in memory there: no core dump holds secrets and customers' data, no other process of the
/// same user may look in, and nothing that is started gets more rights; unless the configuration leaves
/// that to debuggers and profilers.
///
/// # Errors
/// If the system refuses.
pub fn keep_memory_private(config: &Config) -> io::Result<()> {
    if config.core_dumps {
        return Ok(());
    }
    // Where cores go through a pipe the limit does not count (core(5)), and the other one does.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_no_new_privs(true)?;
    Ok(())
}

/// Becomes the user that is configured, for good; does nothing if there is none, or is that one already.
///
/// # Errors
/// A sentence: the process is not root, or the system refuses.
pub fn drop_root(config: &Config) -> Result<(), String> {
    let Some(user) = &config.user else {
        return Ok(());
    };
    let own = geteuid();
    if own.as_raw() == user.uid {
        return Ok(());
    }
    if !own.is_root() {
        return Err(format!(
            "user = {:?}: only root can become another user, and this process runs as number {}",
            user.name,
            own.as_raw()
        ));
    }
    become_user(user)
        // The kernel forgets it with the change (prctl(2), PR_SET_DUMPABLE).
        .and_then(|()| keep_memory_private(config))
        .map_err(|error| format!("could not become the user {}: {error}", user.name))
}

/// All of the process's threads, and every user and group id that it has.
fn become_user(user: &Account) -> io::Result<()> {
    let name = CString::new(user.name.as_str())?;
    let group = Gid::from_raw(user.gid);
    initgroups(&name, group)?;
    setgid(group)?;
    setuid(Uid::from_raw(user.uid))?;
    Ok(())
}
