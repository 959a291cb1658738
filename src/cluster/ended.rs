//! Why a connection to Redis is given up, and whether that is worth a word.
//!
//! Pure. Made of the library's errors by both threads.

use std::io;
use std::ops::ControlFlow;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::STREAM;
use super::address::{io_kind, reason};
use super::status::Backoff;

/// Why a connection is no use any more.
pub(super) enum Ended {
    /// Redis or the way to it has failed, for this reason.
    Failed(String),
    /// Redis is well, but an id that is not ours keeps everything out of the stream, as this says.
    Blocked(String),
    /// Redis answers, and does not let this host add to the stream, for this reason.
    Refused(String),
    /// Nothing is wrong with them, for this reason, and another connection will do.
    Passing(String),
    /// The router has gone, and the process goes.
    Router,
}

impl Ended {
    /// Why it is to be told that Redis is out of reach; none if it is to be tried again at once, or not
    /// any more.
    pub(super) fn trouble(self, backoff: &mut Backoff) -> ControlFlow<(), Option<String>> {
        match self {
            Ended::Router => ControlFlow::Break(()),
            Ended::Passing(reason) if backoff.passes_over() => {
                log::debug!("another connection to Redis is made: {reason}");
                ControlFlow::Continue(None)
            }
            Ended::Passing(reason)
            | Ended::Failed(reason)
            | Ended::Blocked(reason)
            | Ended::Refused(reason) => ControlFlow::Continue(Some(reason)),
        }
    }
}

impl From<RedisError> for Ended {
    fn from(error: RedisError) -> Ended {
        if let Some(reason) = blocked(&error) {
            return Ended::Blocked(reason);
        }
        let reason = reason(&error);
        // A process that is stopped and goes on finds its calls interrupted (signal(7)). Redis forgets
        // scripts when it is told to, or when another one has become the master.
        let is_interrupted = io_kind(&error) == Some(io::ErrorKind::Interrupted);
        let has_no_script = error.kind() == ErrorKind::Server(ServerErrorKind::NoScript);
        if is_interrupted || has_no_script {
            Ended::Passing(reason)
        } else {
            Ended::Failed(reason)
        }
    }
}

/// What keeps everything out of the stream, if that is what a script has answered, and how to mend it.
fn blocked(error: &RedisError) -> Option<String> {
    if error.code() != Some("BLOCKED") {
        return None;
    }
    let (id, last) = error.detail()?.split_once(' ')?;
    Some(format!(
        "somebody else has written an entry with the id {id}, ahead of the clock, and nothing can be added \
         behind it; to mend it: redis-cli XDEL '{STREAM}' {id}; redis-cli XSETID '{STREAM}' {last}-0"
    ))
}
