//! The command line: one file a subcommand.
//!
//! Owns what stands on stdout and stderr, and the exit codes: 0 done, 1 what only running shows, 2 wrong
//! usage or configuration. Called by `main`; calls `config`, `auth` and the server.

mod answers;
mod check;
mod ctl;
mod demo;
mod dev_hints;
mod doctor;
mod emit;
mod schema;
mod serve;
mod server_flags;
mod tail;
mod terminal;
mod token;

use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use dev_hints::dev_hints;

/// What only running shows: a port, a socket, a peer, a refusal.
const FAILED: u8 = 1;
/// Wrong usage or configuration; also clap's own code.
const WRONG_USAGE: u8 = 2;

/// Pushes a shop's commerce events to exactly the browsers that may see them
#[derive(Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "Try it:\n  shopwire serve --dev\n\nThen, in other terminals, what it prints."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Emit(emit::Arguments),
    Tail(tail::Arguments),
    Token(token::Arguments),
    Ctl(ctl::Arguments),
    Check(check::Arguments),
    Doctor(doctor::Arguments),
    Schema(schema::Arguments),
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Emit(arguments) => emit::run(&arguments),
        Command::Tail(arguments) => tail::run(arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Ctl(arguments) => ctl::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
    }
}

/// Writes what the command is for on stdout, and gives its exit code.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, format!("stdout: {error}")),
    }
}

/// Says on stderr why the command ends, and gives its exit code.
fn fail(code: u8, reason: impl Display) -> ExitCode {
    // A server's refusal may repeat what somebody else has written.
    eprintln!("shopwire: {}", terminal::lines(&reason.to_string()));
    ExitCode::from(code)
}

/// Says on stderr what is probably not wanted.
fn warn(what: impl Display) {
    eprintln!("shopwire: warning: {what}");
}

/// Why the ingest socket cannot be talked to, and how to start a server there.
fn unreachable_socket(path: &Path, error: &std::io::Error) -> String {
    use std::io::ErrorKind;

    let path = path.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => format!(
            "no server listens on {path}; start one with `shopwire serve --dev`, or name its socket \
             with --socket"
        ),
        ErrorKind::PermissionDenied => {
            format!("this user may not use {path}: be of its owner's group, or run as its owner")
        }
        _ => format!("{path} cannot be connected to: {error}"),
    }
}
