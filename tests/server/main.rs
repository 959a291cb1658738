//! The black-box tests: they start the real `shopwire` binary, speak to it as emitters and browsers do, and hold what it
//! does against the contract. Nothing here is imported from the crate, so a rule that is wrong in the code stays wrong
//! here too until a test says so.
//!
//! One binary, so that it links once. `harness` starts servers and clients; every other module tests one subject.

#![allow(clippy::unwrap_used)]

#[path = "../harness/mod.rs"]
mod harness;

#[path = "../attack/mod.rs"]
mod attack;

mod access;
mod auth;
mod backpressure;
mod bad_input;
mod bulkheads;
mod canary;
mod catalogue;
mod certificates;
mod cli;
mod cluster;
mod conflate;
mod ctl;
mod demo;
mod deploy;
mod doctor;
mod drain;
mod frames;
mod handshake;
mod hangs;
mod heartbeat;
mod hoarding;
mod hostile;
mod http;
mod ingest;
mod ingest_socket;
mod interop;
mod journal;
mod keys;
mod limits;
mod lines;
mod logs;
mod many;
mod metrics;
mod origin;
mod page;
mod presence;
mod privileges;
mod proxies;
mod proxy;
mod publish;
mod reload;
mod replay;
mod resume;
mod revoke;
mod schema;
mod secure_handshake;
mod settings;
mod slow_consumer;
mod startup;
mod subscribe;
mod takeover;
mod takeover_failing;
mod targets;
mod tls;
