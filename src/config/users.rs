//! Users of this machine, by their names: for `[emitters]` and `user`.

use nix::unistd::{Uid, User};

use crate::emitters::UserId;

/// A user that is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name in the system's list of users.
    pub name: String,
    /// The user's number.
    pub uid: UserId,
    /// The number of the user's own group.
    pub gid: u32,
}

/// Looks a user up, by name or by number.
///
/// # Errors
/// A sentence, if there is no such user.
pub(super) fn find(text: &str) -> Result<Account, String> {
    let found = match text.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(text),
    };
    match found {
        Ok(Some(user)) => Ok(Account {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        }),
        Ok(None) => Err("there is no such user on this machine".into()),
        Err(error) => Err(format!(
            "the system's list of users cannot be read: {error}"
        )),
    }
}

/// The number of a user, who needs no entry in the list if given by number: as in a container.
///
/// # Errors
/// A sentence, if it is no number and there is no user of that name.
pub(super) fn number(text: &str) -> Result<UserId, String> {
    text.parse()
        .or_else(|_| find(text).map(|account| account.uid))
}
