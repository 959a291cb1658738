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
//! The path of one event:
//! 1. [`router`] reads a line from an emitter's socket; [`event::Parser`] checks it.
//! 2. [`event::BlockBuilder`] lays its frame (WebSocket header included) behind those of the batch.
//! 3. The finished [`event::Block`] goes through one [`ring`] to every reactor.
//! 4. [`reactor`] plans who gets what: whole classes by role and interest, single connections by user.
//! 5. Each socket gets one write of shared bytes; what it does not take waits in its outbox.

pub mod access;
pub mod admission;
pub mod auth;
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
