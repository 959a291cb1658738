//! The command line: which scenarios there are and what can be said about them.
//!
//! - [`values`]: which numbers are taken

mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::peers;
use crate::report::expectation::Expectation;
use values::{a_minute, not_negative, positive, share};

/// Drives a real shopwire server over real sockets and measures it.
///
/// Every scenario opens its connections, accounts for every delivery, and ends with a table; its
/// exit code is 0 if everything it judged holds, 1 if not, if it was cut short or if it could not be
/// run, 2 for a wrong command line or scenario file.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, args_override_self = true)]
pub struct Cli {
    /// The scenario to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The scenarios, and what is done with their reports.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Many staff connections that all see every order, at a fixed rate
    #[command(after_help = "Example:\n  loadtest fanout --connections 1000 --rate 50 --seconds 10")]
    Fanout(Fanout),
    /// The same as fast as it goes; with --connections 0, events that nobody listens to
    #[command(after_help = "Example:\n  loadtest flood --connections 100 --in-flight 512")]
    Flood(Flood),
    /// Events that concern one customer each
    #[command(
        mut_arg("in_flight", |in_flight| in_flight.requires("flood")),
        after_help = "Example:\n  loadtest unicast --connections 5000 --rate 20000\n  loadtest unicast --flood"
    )]
    Unicast(Unicast),
    /// A shop's day: roles, namespaces, types, sizes, targets, page changes
    #[command(after_help = "Example:\n  loadtest mixed --connections 2000 --rate 200")]
    Mixed(Mixed),
    /// A storm of connections: handshake, authentication, subscription
    #[command(
        after_help = "Example:\n  loadtest connect --connections 5000 --under-way 64\n  loadtest connect --connections 5000 --arrival-rate 2000"
    )]
    Connect(Connect),
    /// Connections that do nothing: memory, and the CPU of keeping them
    #[command(after_help = "Example:\n  loadtest idle --connections 10000 --seconds 60")]
    Idle(Idle),
    /// Half way through some readers stall; the others must not notice
    #[command(after_help = "Example:\n  loadtest slow --connections 500 --stalled 0.1")]
    Slow(Slow),
    /// Half way through some come back and are sent what they have missed; the others must not notice
    #[command(
        after_help = "Example:\n  loadtest resume --connections 500 --rate 20 --resuming 20 --backlog 50000"
    )]
    Resume(Resume),
    /// Several hosts that a Redis makes one: every event enters at the first and comes to all
    ///
    /// The same with --hosts 1, beside fanout or flood, shows what the way through Redis costs.
    #[command(after_help = "Example:\n  loadtest cluster --hosts 2 --connections 10 --rate 10000")]
    Cluster(Clustered),
    /// A shop's day for hours: nothing may be lost, nothing may grow
    #[command(after_help = "Example:\n  loadtest soak --seconds 7200 --html soak.html")]
    Soak(Soak),
    /// The founding document's page: 10,000 connections, 50,000 deliveries a second
    ///
    /// The connections have the roles of that page's example: a tenth is staff and sees every order,
    /// most are customers and see their own. With --broadcast, all are staff and see everything: the
    /// same deliveries in fewer, larger bursts.
    #[command(after_help = "Example:\n  loadtest seed")]
    Seed(Seed),
    /// A scenario from a TOML file, whose keys are the flags' names
    ///
    /// `scenario` names it, and `server-arguments` is what follows `--`.
    #[command(
        after_help = "Example:\n  loadtest run loadtest/scenarios/evening.toml --json evening.json"
    )]
    Run(RunFile),
    /// What the figures of a report are called and mean
    #[command(after_help = "Example:\n  loadtest figures")]
    Figures,
    /// The ratios between two reports
    #[command(after_help = "Example:\n  loadtest compare before.json after.json")]
    Compare(Compare),
    /// Measures several servers side by side and writes a page about it
    #[command(after_help = "Example:\n  loadtest peers --rounds 3 --markdown docs/benchmarks.md")]
    Peers(Peers),
}

/// What every scenario takes.
#[derive(Debug, Args)]
pub struct Common {
    /// The server to start: shopwire, floor, bun, ws, socketio, axum, or a build of shopwire by its path
    #[arg(long, value_name = "NAME|PROGRAM", default_value = "shopwire")]
    pub server: String,

    /// Reactors of the started server; if left out, the server's own default
    #[arg(long)]
    pub workers: Option<u32>,

    /// Where the server speaks TLS: PEM file with the authorities to trust
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Measure a server that is already running, at this ws:// or wss:// address, instead of starting one
    #[arg(long, value_name = "URL", requires_all = ["socket", "secret_file"], conflicts_with_all = ["server", "workers", "pin_server"])]
    pub attach: Option<String>,

    /// Ingest socket of the attached server
    #[arg(long, value_name = "FILE", requires = "attach")]
    pub socket: Option<PathBuf>,

    /// File with the attached server's HS256 secret
    #[arg(long, value_name = "FILE", requires = "attach")]
    pub secret_file: Option<PathBuf>,

    /// Cores the server shall run on, comma-separated
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    pub pin_server: Option<Vec<usize>>,

    /// Cores this client shall run on, comma-separated
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    pub pin_client: Option<Vec<usize>>,

    /// Nice value for client and server; below 0 needs root
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    pub nice: Option<i32>,

    /// The receiving thread never sleeps but asks again and again: no send of the server's has to wake
    /// its core, which costs more or less by chance. It takes that core whole
    #[arg(long)]
    pub spin: bool,

    /// Connections that may be under way at once until they are subscribed
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub under_way: u32,

    /// What a figure must be, such as latency-p99-ms<10 (`loadtest figures` lists them); can be given several times
    #[arg(long, value_name = "FIGURE<NUMBER")]
    pub expect: Vec<Expectation>,

    /// Write the report as JSON, for `compare`
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write the report as a page with plots
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Tell nothing before the end
    #[arg(long)]
    pub quiet: bool,

    /// Further arguments for the started server, after `--`
    #[arg(last = true, conflicts_with = "attach")]
    pub server_arguments: Vec<String>,
}

/// For how long.
#[derive(Debug, Args)]
pub struct Timing {
    /// Time with load before measuring, in seconds
    #[arg(long, default_value = "1", value_parser = not_negative)]
    pub warm_up: f64,

    /// Time measured, in seconds
    #[arg(long, default_value = "10", value_parser = positive)]
    pub seconds: f64,

    /// How long to wait for deliveries after the last event, and, up to 15, for a server to end, in seconds
    #[arg(long, default_value = "10", value_parser = positive)]
    pub grace: f64,
}

/// What an event is.
#[derive(Debug, Args)]
pub struct Order {
    /// Bytes of an event's text frame, about
    #[arg(long, value_name = "BYTES", default_value_t = 250, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub size: u32,
}

/// As fast as it goes: how far ahead sending may be.
#[derive(Debug, Args)]
pub struct Flooding {
    /// Events that are sent before the first of them has come everywhere, or is settled where nobody
    /// listens; if left out 512, or 30,000 there
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u32).range(1..=30_000))]
    pub in_flight: Option<u32>,
}

/// `fanout`
#[derive(Debug, Args)]
pub struct Fanout {
    /// Connections that subscribe to orders
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Events a second; if left out, so many that --deliveries are reached
    #[arg(long, value_name = "EVENTS_PER_S", value_parser = positive, overrides_with = "deliveries")]
    pub rate: Option<f64>,
    /// Deliveries a second over all connections
    #[arg(long, value_name = "PER_S", default_value = "50000", value_parser = positive, overrides_with = "rate")]
    pub deliveries: f64,
    #[command(flatten)]
    pub order: Order,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub common: Common,
}

/// `flood`
#[derive(Debug, Args)]
pub struct Flood {
    /// Connections that subscribe to orders; 0 = nobody listens
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub connections: u32,
    #[command(flatten)]
    pub flooding: Flooding,
    #[command(flatten)]
    pub order: Order,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub common: Common,
}

/// `unicast`
#[derive(Debug, Args)]
pub struct Unicast {
    /// Customers, each with one connection
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Events a second
    #[arg(long, value_name = "EVENTS_PER_S", default_value = "20000", value_parser = positive)]
    pub rate: f64,
    /// As fast as it goes, with --in-flight events under way
    #[arg(long, conflicts_with = "rate")]
    pub flood: bool,
    #[command(flatten)]
    pub flooding: Flooding,
    #[command(flatten)]
    pub order: Order,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub common: Common,
}

/// `mixed`
#[derive(Debug, Args)]
pub struct Mixed {
    /// Connections, in the roles' shares
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Events a second
    #[arg(long, value_name = "EVENTS_PER_S", default_value = "100", value_parser = positive)]
    pub rate: f64,
    /// Connections a second that leave and come again
    #[arg(long, value_name = "PER_S", default_value = "20", value_parser = not_negative)]
    pub replaced: f64,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub common: Common,
}

/// `connect`
#[derive(Debug, Args)]
pub struct Connect {
    /// Connections to set up
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Connections a second that come, however many are under way: their times count from when they
    /// were to come
    #[arg(long, value_name = "PER_S", value_parser = positive, conflicts_with = "under_way")]
    pub arrival_rate: Option<f64>,
    #[command(flatten)]
    pub common: Common,
}

/// `idle`
#[derive(Debug, Args)]
pub struct Idle {
    /// Connections that subscribe to orders
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Time measured, in seconds; more than the server's ping interval shows the cost of heartbeats
    #[arg(long, default_value = "35", value_parser = positive)]
    pub seconds: f64,
    #[command(flatten)]
    pub common: Common,
}

/// `slow`
#[derive(Debug, Args)]
pub struct Slow {
    /// Connections that subscribe to orders
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub connections: u32,
    /// Share of them that stops reading half way through
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = share)]
    pub stalled: f64,
    /// Events a second
    #[arg(long, value_name = "EVENTS_PER_S", default_value = "50", value_parser = positive)]
    pub rate: f64,
    /// Bytes of an event's text frame, about: large enough that stalled readers fill up in time
    #[arg(long, value_name = "BYTES", default_value_t = 8192, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub size: u32,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub common: Common,
}

/// `resume`
#[derive(Debug, Args)]
pub struct Resume {
    /// Connections that subscribe to orders and stay
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Events a second
    #[arg(long, value_name = "EVENTS_PER_S", default_value = "20", value_parser = positive)]
    pub rate: f64,
    /// Connections that come half way through, with a `since` from before the backlog
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub resuming: u32,
    /// Events that each of them has missed: sent before the first connection comes. A started server is
    /// given a --history that holds them; one that is attached to needs that, too
    #[arg(long, value_name = "EVENTS", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub backlog: u32,
    /// Seconds between two of them; if left out, all come at once
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = not_negative)]
    pub every: f64,
    /// They read no more than so many MiB a second each; if left out, as fast as they can
    #[arg(long, value_name = "MIB_PER_S", value_parser = positive)]
    pub slow_readers: Option<f64>,
    /// Bytes of an event's text frame, about
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub size: u32,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub common: Common,
}

/// `cluster`
#[derive(Debug, Args)]
pub struct Clustered {
    /// Hosts, all on this machine
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub hosts: u32,
    /// Connections that subscribe to orders, to one host after the other; 0 = nobody listens
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub connections: u32,
    /// Events a second
    #[arg(long, value_name = "EVENTS_PER_S", default_value = "1000", value_parser = positive)]
    pub rate: f64,
    /// As fast as it goes, with --in-flight events under way
    #[arg(long, conflicts_with = "rate")]
    pub flood: bool,
    /// The program of the Redis to start
    #[arg(long, value_name = "PROGRAM", default_value = "redis-server")]
    pub redis: PathBuf,
    /// Cores that Redis shall run on, comma-separated
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    pub pin_redis: Option<Vec<usize>>,
    #[command(flatten)]
    pub flooding: Flooding,
    #[command(flatten)]
    pub order: Order,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub common: Common,
}

/// `soak`
#[derive(Debug, Args)]
pub struct Soak {
    /// Connections, in the roles' shares
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Events a second
    #[arg(long, value_name = "EVENTS_PER_S", default_value = "50", value_parser = positive)]
    pub rate: f64,
    /// Connections a second that leave and come again
    #[arg(long, value_name = "PER_S", default_value = "10", value_parser = not_negative)]
    pub replaced: f64,
    /// Time measured, in seconds; a minute at least, so that growth can be told from noise
    #[arg(long, default_value = "3600", value_parser = a_minute)]
    pub seconds: f64,
    #[command(flatten)]
    pub common: Common,
}

/// `seed`
#[derive(Debug, Args)]
pub struct Seed {
    /// Connections
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub connections: u32,
    /// Deliveries a second over all connections
    #[arg(long, value_name = "PER_S", default_value = "50000", value_parser = positive)]
    pub deliveries: f64,
    /// All connections are staff and see every event
    #[arg(long)]
    pub broadcast: bool,
    #[command(flatten)]
    pub timing: Timing,
    #[command(flatten)]
    pub common: Common,
}

/// `run`
#[derive(Debug, Args)]
pub struct RunFile {
    /// The TOML file
    pub file: PathBuf,
    /// Flags of its scenario: each replaces the file's, and what in the file excludes it; --expect and
    /// what follows -- come on top of the file's
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "FLAGS"
    )]
    pub flags: Vec<String>,
}

/// `compare`
#[derive(Debug, Args)]
pub struct Compare {
    /// The report to compare with
    pub a: PathBuf,
    /// The report to compare
    pub b: PathBuf,
}

/// `peers`
#[derive(Debug, Args)]
pub struct Peers {
    /// Servers to measure, comma-separated
    // A `Vec` by another name is one value to clap: only the whole list shows what stands twice.
    #[arg(
        long,
        value_parser = peers::server_names,
        default_value = "floor,shopwire,bun,ws,socketio,axum"
    )]
    pub servers: std::vec::Vec<String>,
    /// Measurements to take, by their letters, comma-separated; if left out, all
    #[arg(long, value_parser = peers::case_letters)]
    pub cases: Option<std::vec::Vec<String>>,
    /// How often each is taken, the servers by turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Time measured each, in seconds; raised in cases of few events a second (c to 3, h, w1 and w2 to 5, s19 to 10), so that
    /// percentiles are of 20 events at least
    #[arg(long, default_value = "4", value_parser = positive)]
    pub seconds: f64,
    /// Core of the server
    #[arg(long, default_value_t = 0)]
    pub pin_server: usize,
    /// Core of the client
    #[arg(long, default_value_t = 1)]
    pub pin_client: usize,
    /// Where the reports are kept; those that are there and were made the same way, with the same programs, are taken again
    #[arg(long, value_name = "FOLDER", default_value = "target/peers")]
    pub reports: PathBuf,
    /// Write the page, as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}
