//! What the tests drive the server with: the process itself, browsers, emitters, plain HTTP, tokens, golden events, and the
//! reference model of who may see what. Shared by the binaries `server` and `faults`.
//!
//! Every wait has a generous deadline and ends as soon as what it waits for is there. That something does *not* arrive is
//! proven by a later event that does: see `Fence`.

pub mod client;
pub mod emitter;
pub mod examples;
pub mod fence;
pub mod head;
pub mod http;
pub mod hung;
pub mod model;
pub mod redis;
pub mod relay;
pub mod server;
pub mod tls;
pub mod tokens;

use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

pub use client::{Client, Ending, Opening};
pub use emitter::Emitter;
pub use fence::Fence;
pub use relay::Relay;
pub use server::{Server, Setup};

/// The longest any test waits for something that should come at once.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Asks `condition` until it holds; panics with `what` when it does not within the deadline.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Stops a process, and waits until none of its threads does anything any more: that takes its time.
pub fn stand_still(process: &Child) {
    kill_process(Pid::from_child(process), Signal::STOP).unwrap();
    let threads = format!("/proc/{}/task", process.id());
    wait_until("the process stands still", || {
        std::fs::read_dir(&threads).unwrap().all(|thread| {
            let stat =
                std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default();
            // The state follows the name, which is in parentheses.
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('T'))
        })
    });
}

/// Raises this process' own limit: a client is a file, too.
pub fn allow_files(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|now| now >= wanted) {
        return;
    }
    let new = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, new)
        .unwrap_or_else(|error| panic!("this test needs {wanted} open files (ulimit -n): {error}"));
}
