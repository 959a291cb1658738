//! `loadtest`: drives a real shopwire server over real sockets and says what it saw.
//!
//! The client spends as little as it can on each frame, so that the server is what is measured: one
//! thread, one large read buffer, frames found by their headers, the event's number found by a
//! search for a fixed text. Every delivery of every connection is accounted for.
//!
//! - [`cli`]: what can be asked for
//! - [`seed`]: the scenario: connect, subscribe, emit on schedule, account
//! - [`server_process`]: the server under test, started here or already running
//! - [`client`], [`connection`], [`frames`]: the receiving side
//! - [`emitter`], [`schedule`]: the sending side
//! - [`accounting`], [`process`], [`report`]: what is measured and how it is told

mod accounting;
mod cli;
mod client;
mod connection;
mod emitter;
#[cfg(test)]
mod faulty_server;
mod frames;
mod process;
mod report;
mod schedule;
mod seed;
mod server_process;
mod tokens;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let outcome = match cli::Cli::parse().command {
        cli::Command::Seed(arguments) => seed::main(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("loadtest: {message}");
            ExitCode::FAILURE
        }
    }
}
