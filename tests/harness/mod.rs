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
pub mod model;
pub mod relay;
pub mod server;
pub mod tls;
pub mod tokens;

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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
