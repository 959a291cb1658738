//! The command line: which scenarios there are and what can be said about them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Drives a real shopwire server over real sockets and measures it.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    /// The scenario to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The scenarios.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Many staff connections that all see every order, at a fixed rate
    ///
    /// Opens the connections, waits until all are subscribed, emits orders on a fixed schedule and
    /// accounts for every delivery. Exit code 1 if one was lost, repeated or out of order.
    #[command(after_help = "Example:\n  loadtest seed --connections 10000 --seconds 10")]
    Seed(SeedArguments),
}

/// What the `seed` scenario takes.
#[derive(Debug, Args)]
pub struct SeedArguments {
    /// Connections that subscribe to `orders`
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,

    /// Events a second; if left out, so many that --deliveries are reached
    #[arg(long, value_name = "EVENTS_PER_S", value_parser = positive)]
    pub rate: Option<f64>,

    /// Deliveries a second over all connections
    #[arg(long, value_name = "PER_S", default_value = "50000", value_parser = positive, conflicts_with = "rate")]
    pub deliveries: f64,

    /// How long to emit, in seconds
    #[arg(long, default_value = "10", value_parser = positive)]
    pub seconds: f64,

    /// How long to wait for deliveries after the last event, in seconds
    #[arg(long, default_value = "10", value_parser = positive)]
    pub grace: f64,

    /// The server program to start
    #[arg(long, value_name = "FILE", default_value = "target/release/shopwire")]
    pub server: PathBuf,

    /// Reactors of the started server; if left out, the server's own default
    #[arg(long)]
    pub workers: Option<u32>,

    /// Measure a server that is already running, at this ws:// address, instead of starting one
    #[arg(long, value_name = "URL", requires_all = ["socket", "secret_file"], conflicts_with_all = ["server", "workers"])]
    pub attach: Option<String>,

    /// Ingest socket of the attached server
    #[arg(long, value_name = "FILE", requires = "attach")]
    pub socket: Option<PathBuf>,

    /// File with the attached server's HS256 secret
    #[arg(long, value_name = "FILE", requires = "attach")]
    pub secret_file: Option<PathBuf>,

    /// Further arguments for the started server's `serve`, after `--`
    #[arg(last = true, conflicts_with = "attach")]
    pub server_arguments: Vec<String>,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("a number greater than 0 is needed".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound_and_the_defaults_are_the_founding_page() {
        Cli::command().debug_assert();
        let Command::Seed(arguments) = Cli::try_parse_from(["loadtest", "seed"]).unwrap().command;
        assert_eq!(arguments.connections, 10_000);
        assert_eq!(arguments.deliveries, 50_000.0);
    }

    #[test]
    fn wrong_values_are_refused() {
        for bad in [
            &["--rate", "0"][..],
            &["--seconds", "-1"],
            &["--seconds", "inf"],
            &["--connections", "0"],
            &["--rate", "1", "--deliveries", "1"],
            &["--attach", "ws://127.0.0.1:1/api/ws"],
            &["--socket", "a"],
        ] {
            let line = ["loadtest", "seed"].iter().chain(bad);
            assert!(Cli::try_parse_from(line).is_err(), "{bad:?}");
        }
    }
}
