//! An echo server on shopwire's own connections, for suites that test how a server speaks WebSocket.
//!
//! Accepting, handshake, frames, fragments, limits, outboxes and closing are those of `shopwire serve`:
//! it is that server, with the one difference that every message, text or binary, is sent back. Listens
//! on loopback, at `/api/ws`, and prints the same ready line. `make conformance` runs the Autobahn cases
//! against it.

use std::process::ExitCode;

use clap::Parser;
use shopwire::config::{Config, Flags, settings};
use shopwire::server::Server;
use shopwire::wire::frame::put_frame;
use shopwire::wire::{Incoming, Opcode};

/// Sends every WebSocket message back
#[derive(Parser)]
#[command(after_help = "Example:\n  echo --port 9001 --max-message 16MiB")]
struct Arguments {
    /// Port to listen on; 0 is any free one
    #[arg(long, default_value = "0")]
    port: String,
    /// The longest message
    #[arg(long, default_value = "1MiB")]
    max_message: String,
    /// Reactors, each on a thread of its own
    #[arg(long, default_value = "2")]
    workers: String,
}

fn main() -> ExitCode {
    env_logger::init();
    match serve(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("echo: {message}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: Arguments) -> Result<(), String> {
    let folder = tempfile::tempdir()
        .map_err(|error| format!("no folder for its sockets could be made: {error}"))?;
    let socket = folder.path().join("echo.sock");
    let flags = Flags {
        dev: true,
        config: None,
        values: vec![
            (&settings::PORT, arguments.port),
            (&settings::SOCKET, socket.display().to_string()),
            (&settings::WORKERS, arguments.workers),
            (&settings::OUTBOX_LIMIT, arguments.max_message.clone()),
            (&settings::MAX_MESSAGE, arguments.max_message),
            // As many messages as a suite likes, and no ping in between, which it would have to expect.
            (&settings::MESSAGE_RATE, "0".to_owned()),
            (&settings::PING_INTERVAL, "1h".to_owned()),
        ],
    };
    let config = Config::resolve(&flags, &|_| None, None).map_err(|error| error.to_string())?;
    let mut server = Server::open(config, flags, false)?;
    server.speak(echo);
    server.run()
}

fn echo(message: &Incoming<'_>, out: &mut Vec<u8>) {
    match message {
        Incoming::Text(text) => put_frame(Opcode::Text, text.as_bytes(), out),
        Incoming::Binary(bytes) => put_frame(Opcode::Binary, bytes, out),
        // The connection answers these itself.
        Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Close(..) => {}
    }
}
