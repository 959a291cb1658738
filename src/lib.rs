//! shopwire pushes a shop's commerce events to exactly the browsers that may see them.
//!
//! ```text
//!  API routes                                             browsers
//!      │ NDJSON over a Unix socket                            │ WebSocket, HTTP
//!      ▼                                                      ▼
//! ┌───────────────────────── router (one loop) ──────────────────────────┐
//! │ ingest: lines, checks, keys · sequence: one order · accept · presence │
//! └──────┬──────────────▲───────────────┬──────────────▲─────────────────┘
//!  blocks, sockets   presence,      (SPSC rings)    client events
//!        ▼           client events      ▼
//! ┌─ reactor 0 ──────────┐        ┌─ reactor n ──────────┐
//! │ drain → send → read  │        │ connections, classes │
//! └──────────────────────┘        └──────────────────────┘
//! ```
//!
//! # The path of one event
//!
//! 1. [`router`] reads a line from an emitter's socket; [`event::Parser`] checks it.
//! 2. [`event::BlockBuilder`] lays its frame (WebSocket header included) behind those of the batch.
//! 3. With a [`journal`] the finished [`event::Block`] is written to disk as it goes on, with Redis
//!    ([`cluster`]) it takes the way through there, so that all hosts have one order.
//! 4. It goes through one [`ring`] to every reactor.
//! 5. [`reactor`] plans who gets what, by the table in [`access`]: whole classes by role and interest,
//!    single connections by user.
//! 6. Each socket gets one write of shared bytes, sealed by [`tls`] where that is spoken; what it does not
//!    take waits in its outbox.
//!
//! Data flows one way. What flows back, presence and what customers publish, has rings of its own, and what
//! waits anywhere holds back who sends: rings, then the router, then the emitters' sockets.
//!
//! # Threads
//!
//! [`server`] puts everything together and starts them; [`engine`] is the loop that each of the first two
//! runs.
//!
//! | thread | what it does |
//! |---|---|
//! | `router` | all that needs one order or one place: emitters, ids, keys, presence, accepting. With one worker it shares `reactor-0` |
//! | `reactor-0` … | a core's connections: drain the ring, send, read, replay the past, time |
//! | `journal` | waits for the disk, where there is a journal |
//! | `redis-writer`, `redis-reader` | wait for Redis, with several hosts |
//! | `canary` | sends an event to itself, with `--canary` |
//! | `observer`, `signals` | look after the process |
//! | `reload`, `revoked` | read or write files, for a moment |
//!
//! No thread touches another's state. Messages cross in rings and letter boxes, counters ([`stats`]) are
//! atomics with one writer, and what all read ([`shared`], [`live`]) does not change, or is replaced whole.
//!
//! # The rooms
//!
//! Those further down know those above them, and not the other way round; [`router`] and [`reactor`] do not
//! know each other.
//!
//! | | |
//! |---|---|
//! | [`access`], [`event`] | who may see what; what an event is, and its way from a line to a frame |
//! | [`wire`], [`tls`], [`auth`] | bytes to requests and messages; certificates; tokens to identities. No sockets |
//! | [`limits`], [`rate`], [`clock`] | every bound with its reason; rates; time |
//! | [`config`], [`live`], [`emitters`] | settings, what of them is in force, who may do what on the socket |
//! | [`ring`], [`journal`], [`cluster`] | between threads, to disk, between hosts |
//! | [`admission`], [`shared`], [`stats`], [`listing`] | the gate, what all threads share, what is counted and told |
//! | [`router`], [`reactor`], [`http`] | the two loops; what is answered beside WebSockets |
//! | [`takeover`], [`canary`], [`metrics`], [`logging`] | to the next process; what shows that it works |
//! | [`engine`], [`server`], [`cli`] | drive it, put it together, and the commands |
//! | [`schema`] | the catalogue and the protocol for other languages |
//!
//! What can be pure is pure: bytes, events and `now` in, bytes and actions out. Why it is so, and each part
//! in more words: docs/architecture.md. `cargo doc --open --document-private-items` opens here.

pub mod access;
pub mod admission;
pub mod auth;
pub mod canary;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod emitters;
pub mod engine;
pub mod event;
pub mod files;
pub mod http;
pub mod journal;
pub mod limits;
pub mod listing;
pub mod live;
pub mod log_throttle;
pub mod logging;
pub mod metrics;
pub mod rate;
pub mod reactor;
pub mod ring;
pub mod router;
pub mod schema;
pub mod server;
pub mod shared;
pub mod stats;
pub mod takeover;
pub mod tls;
pub mod wire;
