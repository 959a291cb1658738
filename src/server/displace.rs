//! The place of a server that cannot be taken over from: it is drained, and what it held is waited for.
//!
//! It is drained only when all that can be known beforehand is known to be good, because nothing
//! brings it back. Called while a server is assembled.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use serde_json::Value;

use super::listen;
use super::past::Past;
use crate::clock::Now;
use crate::config::Config;
use crate::event::NameHasher;
use crate::journal::Folder;
use crate::takeover::{LOOK, Place};

/// Drains the server that runs in `theirs`, for this reason, so that one with this configuration can
/// start in `ours`. Returns what it starts with that the other did not have: its port, and a journal of its own.
///
/// # Errors
/// A sentence, if this one could not start, or the other does not end.
pub fn displace(
    config: &Config,
    (ours, theirs): (&Place, &Place),
    reason: &str,
    hasher: &NameHasher,
    now: Now,
) -> Result<(Past, Option<TcpListener>), String> {
    let takes_port = ours.port == theirs.port && ours.port != 0;
    let port = if takes_port {
        listen::check_host(config.host)?;
        None
    } else {
        Some(listen::websockets(config)?)
    };
    let mut past = Past::Nothing;
    let takes_journal = ours.journal == theirs.journal;
    if !takes_journal {
        past.add_journal(config, hasher, now)?;
    }
    let until = drain(config, reason)?;
    if takes_port {
        let address = SocketAddr::new(config.host, config.port);
        wait_for(until, || {
            std::net::TcpListener::bind(address)
                .map_err(|error| format!("{address} did not become free: {error}"))
        })?;
    }
    if let (true, Some(path)) = (takes_journal, &config.journal) {
        wait_for(until, || Folder::take(path))?;
    }
    Ok((past, port))
}

/// Asks it to drain, and waits until it says no more. Returns until when to wait for the rest.
fn drain(config: &Config, reason: &str) -> Result<Instant, String> {
    let shown = config.socket.display();
    let failed = |error: io::Error| format!("the server on {shown} could not be drained: {error}");
    let patience = config.drain_timeout + Duration::from_secs(5);
    let until = Instant::now() + patience;
    let mut socket = match UnixStream::connect(&config.socket) {
        Ok(socket) => socket,
        // It is being drained already.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(until),
        Err(error) => return Err(failed(error)),
    };
    socket.set_read_timeout(Some(patience)).map_err(failed)?;
    let mut answers = BufReader::new(socket.try_clone().map_err(failed)?);
    let mut answer = String::new();
    socket
        .write_all(b"{\"command\":\"stats\"}\n")
        .and_then(|()| answers.read_line(&mut answer))
        .map_err(failed)?;
    let stats: Value = serde_json::from_str(&answer).unwrap_or_default();
    if stats["result"]["journal"]["failing"] == true {
        // Drained, it would take with it what is not written.
        return Err(format!(
            "the journal of the server on {shown} cannot be written, so it was left alone: put that \
             right, or stop it"
        ));
    }
    if stats["result"]["redis"]["localEvents"]
        .as_u64()
        .is_some_and(|events| events > 0)
    {
        return Err(format!(
            "other hosts do not have all that the server on {shown} has delivered alone while Redis was out of \
             reach, so it was left alone: put that right, or stop it"
        ));
    }
    log::warn!("the running server cannot be taken over from, and is drained: {reason}");
    socket
        .write_all(b"{\"command\":\"drain\"}\n")
        .map_err(failed)?;
    // It answers, and closes when it ends.
    io::copy(&mut answers, &mut io::sink()).map_err(failed)?;
    Ok(until)
}

fn wait_for<T>(until: Instant, take: impl Fn() -> Result<T, String>) -> Result<(), String> {
    loop {
        match take() {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}
