//! Whose tokens all hosts refuse, as it is written: in an entry of the stream, and in the table that
//! hosts read when they come.
//!
//! Pure. Names are those of users and sessions, so the two are told apart by what stands before them.

use serde::{Deserialize, Serialize};

use crate::auth::{Revocation, Whom};

/// The body of an entry: `{"user":"ann","at":1,"until":2}`, or `session`; times in ms since 1970.
#[derive(Serialize, Deserialize)]
struct Body {
    #[serde(flatten)]
    whose: Whose,
    at: u64,
    until: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Whose {
    User(String),
    Session(String),
}

/// The body of an entry that says so.
pub fn body(revocation: &Revocation) -> Vec<u8> {
    let body = Body {
        whose: match &revocation.whom {
            Whom::User(user) => Whose::User(user.clone()),
            Whom::Session(session) => Whose::Session(session.clone()),
        },
        at: revocation.at_ms,
        until: revocation.until_ms,
    };
    serde_json::to_vec(&body).expect("a string and two numbers serialize")
}

/// Reads what [`body`] makes; none if it is something else.
pub fn read_body(body: &[u8]) -> Option<Revocation> {
    let Body { whose, at, until } = serde_json::from_slice(body).ok()?;
    Some(Revocation {
        whom: match whose {
            Whose::User(user) => Whom::User(user),
            Whose::Session(session) => Whom::Session(session),
        },
        at_ms: at,
        until_ms: until,
    })
}

const USER: &str = "user:";
const SESSION: &str = "session:";

/// What it is called in the table.
pub fn name(whom: &Whom) -> String {
    match whom {
        Whom::User(user) => format!("{USER}{user}"),
        Whom::Session(session) => format!("{SESSION}{session}"),
    }
}

/// Reads a row of the table: the name, and `AT UNTIL`; none if it is something else.
pub fn read_row(name: &[u8], times: &[u8]) -> Option<Revocation> {
    let name = std::str::from_utf8(name).ok()?;
    let whom = match (name.strip_prefix(USER), name.strip_prefix(SESSION)) {
        (Some(user), _) => Whom::User(user.to_owned()),
        (_, Some(session)) => Whom::Session(session.to_owned()),
        _ => return None,
    };
    let (at, until) = std::str::from_utf8(times).ok()?.split_once(' ')?;
    Some(Revocation {
        whom,
        at_ms: at.parse().ok()?,
        until_ms: until.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_anything_else_is_none() {
        for whom in [
            Whom::User("session:\"ü".to_owned()),
            Whom::Session("ann".to_owned()),
        ] {
            let revocation = Revocation {
                whom,
                at_ms: 1,
                until_ms: u64::MAX,
            };
            let read = read_body(&body(&revocation));
            assert_eq!(read.as_ref(), Some(&revocation));
            let row = format!("1 {}", u64::MAX);
            let read = read_row(name(&revocation.whom).as_bytes(), row.as_bytes());
            assert_eq!(read.as_ref(), Some(&revocation));
        }
        assert_eq!(read_body(b"{\"user\":\"ann\"}"), None);
        assert_eq!(
            read_body(b"{\"role\":\"guest\",\"at\":1,\"until\":2}"),
            None
        );
        for (name, times) in [("ann", "1 2"), ("user:ann", "1"), ("user:ann", "1 x")] {
            assert_eq!(read_row(name.as_bytes(), times.as_bytes()), None);
        }
    }
}
