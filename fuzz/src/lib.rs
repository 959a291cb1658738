//! What must hold whatever a stranger sends: one property for each way into shopwire.
//!
//! A property takes any bytes and panics if the server's answer to them is wrong, by a slow reference
//! that is written from the contract and shares no code with the server. It is called from two places:
//! `fuzz_targets/`, where libFuzzer looks for such bytes, and `tests/fuzzing` of shopwire, which replays
//! the committed seeds with the stable toolchain, and varies them at random.
//!
//! | file | what comes in |
//! |---|---|
//! | `ingest_line` | a line of an emitter, up to the frame and back from the journal's form |
//! | `published` | a customer's own event |
//! | `client_message` | a text message |
//! | `http_head` | a request head, up to the handshake, the origin and the client's address |
//! | `frames` | WebSocket frames, cut anywhere |
//! | `proxy_header` | a PROXY header |
//! | `token`, `claims` | tokens that nobody signed, and such as somebody did |
//! | `journal` | a journal's folder |
//! | `takeover` | what another process hands over |
//! | `cluster_entry` | an entry of the stream in Redis |
//! | `configuration` | a file and an environment |
//!
//! `strict_json` and `judged` are the references of more than one of them.

#![allow(clippy::unwrap_used)]

mod claims;
mod client_message;
mod cluster_entry;
mod configuration;
mod frames;
mod http_head;
mod ingest_line;
pub mod journal;
mod judged;
mod proxy_header;
mod published;
mod strict_json;
mod takeover;
mod token;

/// One way in.
pub struct Target {
    /// The name of its file, its folder of seeds and its dictionary.
    pub name: &'static str,
    /// Panics if something is wrong with how these bytes are taken.
    pub holds: fn(&[u8]),
    /// How many random inputs a bounded run takes: as many as a second or two lets it have.
    pub cases: u32,
}

macro_rules! targets {
    ($($name:ident $cases:literal;)*) => {
        /// All of them.
        pub const TARGETS: &[Target] = &[$(Target {
            name: stringify!($name),
            holds: $name::holds,
            cases: $cases,
        }),*];
    };
}

targets! {
    ingest_line 20_000;
    published 20_000;
    client_message 20_000;
    http_head 20_000;
    frames 20_000;
    proxy_header 20_000;
    token 10_000;
    claims 20_000;
    journal 1_000;
    takeover 20_000;
    cluster_entry 20_000;
    configuration 5_000;
}

/// The target of this name.
pub fn target(name: &str) -> &'static Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("there is no target {name}"))
}
