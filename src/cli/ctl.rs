//! `shopwire ctl`: asks a running server, over its ingest socket.
//!
//! Owns the command line; [`request`] makes the question of it and [`session`] waits for the answer, which
//! [`show`] makes readable. [`watch`] asks again and again, [`tap`] prints what comes, and [`why`] says what
//! became of an event.

mod request;
mod session;
mod show;
mod tap;
mod watch;
mod why;

use std::ops::RangeInclusive;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, value_parser};
use serde_json::Value;

use super::{FAILED, WRONG_USAGE, fail, print, terminal, unreachable_socket};
use crate::config;
use crate::limits::{self, LIST_MAX, TAP_COPIES_MAX};
use crate::logging::LEVELS;
use session::Session;

/// The most a server may take for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Ask a running server, as its own user or as root
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  shopwire ctl stats\n  shopwire ctl stats --watch\n  shopwire ctl connections --role customer\n  shopwire ctl why --event 18bcfe56800beef-42 --user c-42\n  shopwire ctl disconnect --user c-42\n  shopwire ctl revoke --user c-42\n  shopwire ctl log-level debug\n  shopwire ctl reload\n  shopwire ctl drain"
)]
pub(super) struct Arguments {
    /// The server's ingest socket [env: WS_SOCKET] [default: as for serve]
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,
    /// Print the server's answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Connections, events and latency
    #[command(after_help = "Examples:\n  shopwire ctl stats --json\n  shopwire ctl stats --watch")]
    Stats {
        /// Ask again and again, and show rates: full screen in a terminal, a line each time elsewhere; ^C ends it
        #[arg(long)]
        watch: bool,
        /// With --watch: how often
        #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = every, requires = "watch")]
        every: Duration,
    },
    /// Open connections, oldest first
    #[command(
        after_help = "Examples:\n  shopwire ctl connections --role customer --namespace orders\n  \
        shopwire ctl connections --slow\n  shopwire ctl connections --after c1f"
    )]
    Connections(Connections),
    /// The newest events that are kept for clients that come back
    #[command(
        after_help = "Examples:\n  shopwire ctl history --limit 20\n  shopwire ctl history --type order:created --data"
    )]
    History(History),
    /// Copies of events as they pass, each a line of JSON; ^C ends it, and so do --for and --limit
    #[command(
        after_help = "The server's log tells that it was used. How many there were, and how many were lost because they were read \
        too slowly, is told on stderr at the end.\n\n\
        Examples:\n  shopwire ctl tap --namespace orders --for 5m\n  shopwire ctl tap --user c-42 --limit 10"
    )]
    Tap(Tap),
    /// Whether an event was sent to a user, on each of his connections, or to one connection; if not, by which rule
    #[command(
        after_help = "The exit code is 1 where nothing can be said: the event is not kept any more, or there is no such connection \
        here.\n\n\
        Examples:\n  shopwire ctl why --event 18bcfe56800beef-42 --user c-42\n  \
        shopwire ctl why --event 18bcfe56800beef-42 --connection c1f"
    )]
    Why(Why),
    /// What a changed access table would open and close for those who are connected; nothing is changed
    #[command(
        after_help = "Whom it concerns: shopwire ctl connections --role staff --namespace orders\n\n\
        Example:\n  shopwire ctl access --try /etc/shopwire/shopwire.toml.new"
    )]
    Access {
        /// A configuration file, or a part of one, with its table of access
        #[arg(long = "try", value_name = "FILE")]
        tried: PathBuf,
    },
    /// Close the connections of a user, a session or a role, or one connection
    #[command(after_help = "Example:\n  shopwire ctl disconnect --user c-42")]
    Disconnect(Whom),
    /// Close the connections of a user or a session, and refuse the tokens that were made for it so far
    #[command(
        after_help = "A token that says when it was made (iat), and was made later, is taken as before.\n\n\
        Example:\n  shopwire ctl revoke --user c-42 --for 30d"
    )]
    Revoke(Revoked),
    /// Stop taking connections, bring out what is in hand, and end
    #[command(after_help = "Example:\n  shopwire ctl drain")]
    Drain,
    /// Change which lines are logged, until the server ends
    #[command(
        after_help = "Example:\n  shopwire ctl log-level debug\n  shopwire ctl log-level default"
    )]
    LogLevel {
        /// This level and what is graver; default is what RUST_LOG said at the start
        #[arg(value_name = "LEVEL", value_parser = LEVELS.map(|(name, _)| name))]
        level: String,
    },
    /// Read settings, keys and certificates again; open connections stay
    #[command(after_help = "Example:\n  shopwire ctl reload")]
    Reload,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// All connections of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// All connections of this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// This connection (the connectionId of its welcome)
    #[arg(long, value_name = "ID")]
    connection: Option<String>,
    /// All connections of this role: admin, manager, staff, customer, guest or public
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
}

#[derive(clap::Args)]
struct Revoked {
    #[command(flatten)]
    whose: Whose,
    /// Remember it for so long, at least: as long as the longest token may last
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = kept)]
    r#for: Duration,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// The tokens of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// The tokens of this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

#[derive(clap::Args)]
struct Connections {
    /// Only those of this role: admin, manager, staff, customer, guest, public
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Only those of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only those of this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only those that are subscribed to this namespace
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only those for whom something waits, most first
    #[arg(long, conflicts_with = "after")]
    slow: bool,
    /// Go on behind this connection, the last one of the page before
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = value_parser!(u64).range(1..=LIST_MAX as u64))]
    limit: u64,
}

#[derive(clap::Args)]
struct History {
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only those of this namespace
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// With what was sent, up to 1 MiB in all; the server's log tells that it was looked at
    #[arg(long)]
    data: bool,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u64).range(1..=LIST_MAX as u64))]
    limit: u64,
}

#[derive(clap::Args)]
struct Tap {
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only those of this namespace
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only those that name this user, as an owner or in to.userIds
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// For so long, at most 1h
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = tapped)]
    r#for: Duration,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u64).range(1..=TAP_COPIES_MAX as u64))]
    limit: u64,
}

#[derive(clap::Args)]
struct Why {
    /// The event's id, as ctl history, emit's ack and the browser have it
    #[arg(long, value_name = "ID")]
    event: String,
    #[command(flatten)]
    reader: Reader,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Reader {
    /// The user's id: all of his connections
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// This connection, a guest's too (the connectionId of its welcome)
    #[arg(long, value_name = "ID")]
    connection: Option<String>,
}

fn kept(text: &str) -> Result<Duration, String> {
    let allowed = limits::REVOKED_FOR_MIN..=limits::REVOKED_FOR_MAX;
    within(
        text,
        allowed,
        "from 1s to 366d: with a unit, like 90s, 24h or 30d",
    )
}

fn tapped(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_millis(1)..=limits::TAP_LASTS_MAX;
    within(
        text,
        allowed,
        "from 1ms to 1h: with a unit, like 90s or 15m",
    )
}

/// As the server takes it, which would say so in milliseconds.
fn within(
    text: &str,
    allowed: RangeInclusive<Duration>,
    in_words: &str,
) -> Result<Duration, String> {
    let given = config::duration(text).ok();
    given
        .filter(|given| allowed.contains(given))
        .ok_or_else(|| format!("must be {in_words} (a number alone is milliseconds)"))
}

fn every(text: &str) -> Result<Duration, String> {
    let every = config::duration(text)?;
    if every < Duration::from_millis(100) {
        return Err("must be at least 100ms".into());
    }
    Ok(every)
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let request = match request::of(&arguments.command) {
        Ok(request) => request,
        Err(error) => return fail(WRONG_USAGE, error),
    };
    let path = config::socket_to_talk_to(arguments.socket.as_deref());
    let socket = match UnixStream::connect(&path) {
        Ok(socket) => socket,
        Err(error) => return fail(FAILED, unreachable_socket(&path, &error)),
    };
    let answered = Session::new(socket, ANSWER_WITHIN).and_then(|mut session| {
        if let Command::Stats { watch: true, every } = &arguments.command {
            return watch::run(&mut session, *every, arguments.json).map(|()| None);
        }
        if let Command::Tap(wanted) = &arguments.command {
            return tap::run(&mut session, &request, wanted.r#for).map(|()| None);
        }
        session.ask(&request).map(Some)
    });
    match answered {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(result)) => match &arguments.command {
            Command::Why(wanted) => why::print_answer(&result, &wanted.reader, arguments.json),
            _ => print(&terminal::lines(&text_of(arguments, &result))),
        },
        Err(sentence) => fail(FAILED, sentence),
    }
}

fn text_of(arguments: &Arguments, result: &Value) -> String {
    match &arguments.command {
        _ if arguments.json => format!("{result}\n"),
        Command::Stats { .. } => show::stats(result),
        Command::Connections(_) => show::connections(result),
        Command::History(_) => show::events(result),
        Command::Reload => show::reloaded(result),
        Command::Disconnect(_) => show::disconnected(result),
        Command::Revoke(_) => show::revoked(result),
        Command::Access { .. } => show::access(result),
        _ => show::plain(result),
    }
}
