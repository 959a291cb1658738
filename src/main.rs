//! The `shopwire` program: starts the command that was asked for.

use std::process::ExitCode;

fn main() -> ExitCode {
    shopwire::cli::main()
}
