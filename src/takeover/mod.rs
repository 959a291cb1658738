//! Updates without a dropped socket: a new process takes over from the running one.
//!
//! ```text
//!  old process                                        new process (serve --takeover)
//!      │ ◀─────────── hello: who are you? ───────────────▶ │ is it the same format, the same place?
//!      │ ◀─────────────────── begin ─────────────────────── │
//!  no emitter is read, no event handed down;
//!  each reactor stands still and sends what it has
//!      │ ── listeners, emitters, connections, history ────▶ │ builds everything anew around them,
//!      │ ─────────────────── done ───────────────────────▶ │ and touches none of them yet
//!      │ ◀────────────────── commit ─────────────────────── │
//!      │ ──────────────────── go ────────────────────────▶ │ prints the ready line
//!      │ ◀────────────────── serves ─────────────────────── │ serves
//!  ends
//! ```
//!
//! Until it has sent `go` the old process can go on as if nothing had happened, and does when the new
//! one fails, hangs or ends; from then until it hears `serves`, when the new one ends. The descriptors cross by SCM_RIGHTS (unix(7)): both processes have the
//! same sockets open, and neither reads or writes one while the other may.
//!
//! [`door`] is where they meet, [`link`] the wire, [`state`] what crosses it, [`host`] the old side's
//! thread, [`guest`] the new side. The router and the reactors pack their own state, in their `handover` modules.

pub mod door;
pub mod guest;
pub mod host;
pub mod link;
pub mod state;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::access::{Namespace, Role};
use crate::cluster::Address;
use crate::config::Config;
use crate::event::EventType;

/// The version of what crosses. Counted up when any type in [`state`] changes.
pub const FORMAT: u32 = 6;

/// How long either side waits for the other's next word.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How often to look whether what a process leaves behind that ends is free.
pub const LOOK: Duration = Duration::from_millis(10);

/// Why a server does not hand over that ends anyway: its place will be free.
pub const ENDING: &str = "the server is draining";

/// How long the old process waits for a first word, while others may be waiting behind.
pub const HELLO_PATIENCE: Duration = Duration::from_secs(1);

/// The first word of both sides, as a line of JSON, which all versions can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`FORMAT`].
    pub takeover: u32,
    /// For people.
    pub program: String,
    /// What numbers in masks stand for.
    pub words: Vec<String>,
    /// Where the server is.
    pub place: Place,
}

/// What cannot change from one process to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The address that was asked for.
    pub host: String,
    /// And the port; 0 was any.
    pub port: u16,
    /// The ingest socket.
    pub socket: PathBuf,
    /// The journal's folder.
    pub journal: Option<PathBuf>,
    /// The Redis that it shares with other hosts, as it is shown.
    #[serde(default)]
    pub redis: Option<String>,
}

impl Hello {
    /// This process's, with this configuration.
    pub fn of(config: &Config) -> Hello {
        let types = EventType::ALL.iter().map(|kind| kind.name());
        let roles = Role::ALL.iter().map(|role| role.name());
        let namespaces = Namespace::ALL.iter().map(|namespace| namespace.name());
        Hello {
            takeover: FORMAT,
            program: concat!("shopwire ", env!("CARGO_PKG_VERSION")).to_owned(),
            words: types
                .chain(roles)
                .chain(namespaces)
                .map(str::to_owned)
                .collect(),
            place: Place {
                host: config.host.to_string(),
                port: config.port,
                socket: absolute(&config.socket),
                journal: config.journal.as_deref().map(absolute),
                redis: config.redis_url.as_ref().map(Address::shown),
            },
        }
    }

    /// Why the process that says `other` cannot be taken over from, if so.
    pub fn obstacle(&self, other: &Hello) -> Option<String> {
        let (mine, theirs) = (&self.place, &other.place);
        let (me, you) = (&self.program, &other.program);
        if self.takeover != other.takeover {
            let (my, its) = (self.takeover, other.takeover);
            Some(format!(
                "{you} keeps its state in another form ({its}) than {me} ({my})"
            ))
        } else if self.words != other.words {
            Some(format!(
                "{you} knows other event types, roles or namespaces than {me}"
            ))
        } else if (&mine.host, mine.port) != (&theirs.host, theirs.port) {
            Some(format!(
                "it listens on {} port {}, and this one shall on {} port {}",
                theirs.host, theirs.port, mine.host, mine.port
            ))
        } else if mine.journal != theirs.journal {
            Some("it has another journal".to_owned())
        } else if mine.redis != theirs.redis {
            Some("it shares events with other hosts by another Redis, or none".to_owned())
        } else {
            None
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The private socket of the server with this ingest socket.
pub fn socket_beside(ingest: &Path) -> PathBuf {
    let mut name = ingest.as_os_str().to_owned();
    name.push(".takeover");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two builds may have one name, as two of a day's work have.
    #[test]
    fn what_is_in_the_way_of_a_takeover_is_told_apart() {
        let hello = |takeover, words: &[&str], port| Hello {
            takeover,
            program: "shopwire 1.0.0".to_owned(),
            words: words.iter().map(|&word| word.to_owned()).collect(),
            place: Place {
                host: "::1".to_owned(),
                port,
                socket: "/s".into(),
                journal: None,
                redis: None,
            },
        };
        let mine = hello(7, &["order:created"], 1);
        let told = |theirs: &Hello| mine.obstacle(theirs);
        assert_eq!(told(&hello(7, &["order:created"], 1)), None);
        let cases = [
            (
                hello(6, &["order:created"], 1),
                "shopwire 1.0.0 keeps its state in another form (6) than shopwire 1.0.0 (7)",
            ),
            (
                hello(7, &["order:deleted"], 1),
                "shopwire 1.0.0 knows other event types, roles or namespaces than shopwire 1.0.0",
            ),
            (
                hello(7, &["order:created"], 2),
                "it listens on ::1 port 2, and this one shall on ::1 port 1",
            ),
        ];
        for (theirs, reason) in cases {
            assert_eq!(told(&theirs).as_deref(), Some(reason));
        }
    }
}
