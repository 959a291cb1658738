//! `shopwire check`: what `serve` would say about a configuration, without serving.

use std::process::ExitCode;

use super::server_flags::ServerFlags;
use super::{WRONG_USAGE, fail, print, warn};
use crate::clock::wall_ms;
use crate::config::Config;

/// Check a configuration: prints ok, or what serve would say
#[derive(clap::Args)]
#[command(
    after_help = "Takes everything serve takes. Exits with 2 if something is wrong.\n\n\
    Example:\n  shopwire check --config /etc/shopwire.toml"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: ServerFlags,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match Config::load(&arguments.flags.0) {
        Ok(config) => {
            for warning in config.warnings(wall_ms()) {
                warn(warning);
            }
            print("ok\n")
        }
        Err(error) => fail(WRONG_USAGE, error),
    }
}
