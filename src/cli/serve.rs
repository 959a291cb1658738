//! `shopwire serve`: from settings to a running server.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};

use super::dev_hints::dev_hints;
use super::server_flags::ServerFlags;
use super::{FAILED, WRONG_USAGE, demo, fail};
use crate::clock::wall_ms;
use crate::config::Config;
use crate::logging;
use crate::server::{self, Server};

/// Run the server
#[derive(clap::Args)]
#[command(
    after_help = "Settings: flag > environment > file > default. Durations are milliseconds, or like 30s, 5m; \
    sizes are bytes, or like 64KiB, 1MiB.\n\n\
    Examples:\n  shopwire serve --dev\n  shopwire serve --dev --demo\n  \
    shopwire serve --config /etc/shopwire.toml --jwt-secret-file /run/secrets/jwt --allowed-origins https://shop.example"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: ServerFlags,
    /// Take over from the server that runs with these settings: its sockets, its connections, its
    /// history; nobody is disconnected. Where that cannot be done it is drained; where none runs,
    /// this starts as usual
    #[arg(long, overrides_with = "takeover")]
    takeover: bool,
    /// Play a small invented shop through the ingest socket, as emit --demo does, for as long as this runs; with --dev
    #[arg(long, requires = "dev")]
    demo: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let config = match Config::load(&arguments.flags.0) {
        Ok(config) => config,
        Err(error) => return fail(WRONG_USAGE, error),
    };
    if let Err(error) = server::keep_memory_private(&config) {
        return fail(FAILED, format!("core dumps cannot be turned off: {error}"));
    }
    logging::start(config.log_format);
    for warning in config.warnings(wall_ms()) {
        log::warn!("{warning}");
    }
    serve(config, arguments).unwrap_or_else(|message| fail(FAILED, message))
}

fn serve(config: Config, arguments: &Arguments) -> Result<ExitCode, String> {
    let hinted = config.dev.then(|| config.clone());
    let server = Server::open(config, arguments.flags.0.clone(), arguments.takeover)?;
    let mut demo = None;
    if let Some(config) = hinted {
        if arguments.demo {
            demo = Some(Demo::start(&config, server.port())?);
        }
        let hints = dev_hints(&config, server.port(), &program(), wall_ms())?;
        // Whoever closed stderr does not want to read it.
        std::io::stderr().write_all(hints.as_bytes()).ok();
    }
    server.run()?;
    if let Some(demo) = demo {
        demo.end();
    }
    Ok(ExitCode::SUCCESS)
}

/// The demo shop, in a process of its own, as an API route would be. It ends with its standard input,
/// whose other end is here: with this process, however that ends.
struct Demo(Child);

impl Demo {
    fn start(config: &Config, port: u16) -> Result<Self, String> {
        let entrance = demo::entrance_line(&config.jwt, SocketAddr::new(config.host, port))?;
        let spawn = || {
            let mut child = Command::new(std::env::current_exe()?)
                .args(["emit", "--demo", "--entrance-from-stdin", "--socket"])
                .arg(&config.socket)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()?;
            // It fits into the pipe, and stays open with this process.
            if let Some(stdin) = &mut child.stdin {
                stdin.write_all(entrance.as_bytes())?;
            }
            Ok(child)
        };
        spawn()
            .map(Self)
            .map_err(|error: io::Error| format!("the demo shop cannot be started: {error}"))
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            log::debug!("the end of the demo shop cannot be waited for: {error}");
        }
    }
}

/// This program as another terminal can call it: by name if it was found by name, else by path.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    if !called.contains('/') {
        return called;
    }
    std::env::current_exe().map_or(called, |path| path.display().to_string())
}
