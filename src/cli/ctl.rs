//! `shopwire ctl`: asks a running server, over its ingest socket.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::{Value, json};

use super::answers::{Answer, Answers, Next};
use super::{FAILED, fail, unreachable_socket};
use crate::config;

/// The most a server may take for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Ask a running server, as its own user or as root
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  shopwire ctl stats\n  shopwire ctl disconnect --user c-42\n  shopwire ctl drain"
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
    #[command(after_help = "Example:\n  shopwire ctl stats --json")]
    Stats,
    /// Close the connections of a user or a session, or one connection
    #[command(after_help = "Example:\n  shopwire ctl disconnect --user c-42")]
    Disconnect(Whom),
    /// Stop taking connections, bring out what is in hand, and end
    #[command(after_help = "Example:\n  shopwire ctl drain")]
    Drain,
    /// Read keys and certificates again
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
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let path = config::socket_to_talk_to(arguments.socket.as_deref());
    let socket = match UnixStream::connect(&path) {
        Ok(socket) => socket,
        Err(error) => return fail(FAILED, unreachable_socket(&path, &error)),
    };
    let result = match ask(socket, &request(&arguments.command), ANSWER_WITHIN) {
        Ok(result) => result,
        Err(sentence) => return fail(FAILED, sentence),
    };
    let text = match &arguments.command {
        _ if arguments.json => format!("{result}\n"),
        Command::Stats => stats(&result),
        _ => plain(&result),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, format!("stdout: {error}")),
    }
}

fn request(command: &Command) -> Value {
    match command {
        Command::Stats => json!({"command": "stats"}),
        Command::Drain => json!({"command": "drain"}),
        Command::Reload => json!({"command": "reload"}),
        Command::Disconnect(whom) => {
            let mut request = json!({"command": "disconnect"});
            let names = [
                ("user", &whom.user),
                ("session", &whom.session),
                ("connection", &whom.connection),
            ];
            for (name, id) in names {
                if let Some(id) = id {
                    request[name] = id.as_str().into();
                }
            }
            request
        }
    }
}

/// Sends one command and waits for its answer.
fn ask(mut socket: UnixStream, request: &Value, within: Duration) -> Result<Value, String> {
    let broken = |error: io::Error| format!("the server cannot be talked to: {error}");
    let started = Instant::now();
    socket.set_read_timeout(Some(within)).map_err(broken)?;
    socket
        .write_all(format!("{request}\n").as_bytes())
        .map_err(broken)?;
    let mut answers = Answers::new(socket);
    while started.elapsed() < within {
        match answers.next().map_err(broken)? {
            Next::Answer(Answer::Result { result }) => return Ok(result),
            Next::Answer(Answer::Error { error }) => return Err(error.to_string()),
            Next::Answer(Answer::Ack { .. }) => {}
            Next::Nothing => break,
            Next::End => return Err("the server closed the connection without an answer".into()),
        }
    }
    Err(format!("the server did not answer within {within:?}"))
}

/// An answer with no form of its own: a field a line, or that it is done.
fn plain(result: &Value) -> String {
    match result {
        Value::Object(fields) if !fields.is_empty() => fields
            .iter()
            .map(|(name, value)| format!("{name}: {}\n", word(value)))
            .collect(),
        Value::Null | Value::Object(_) => "done\n".into(),
        other => format!("{}\n", word(other)),
    }
}

/// The statistics for people. A field the server does not send is left out.
fn stats(result: &Value) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            writeln!(text, "{name:<16}{value}").expect("a String takes everything");
        }
    };
    let field = |name: &str| result.get(name).map(word);

    row("uptime", result["uptimeSeconds"].as_f64().map(uptime));
    row("connections", field("totalConnections"));
    row("  authenticated", field("authenticatedConnections"));
    row("  by role", counts(&result["connectionsByRole"]));
    row("  by namespace", counts(&result["connectionsByNamespace"]));
    row("events in", field("eventsIn"));
    row("deliveries", field("deliveries"));
    row("rejected", field("rejected"));
    row("slow consumers", field("slowConsumers"));
    row("latency (ms)", counts(&result["latencyMs"]));
    for (index, worker) in result["workers"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        row(&format!("worker {index}"), counts(worker));
    }
    text
}

/// `name value` pairs, joined by commas.
fn counts(object: &Value) -> Option<String> {
    let fields = object.as_object()?;
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name} {}", word(value)))
        .collect();
    Some(if pairs.is_empty() {
        "none".into()
    } else {
        pairs.join(", ")
    })
}

fn uptime(seconds: f64) -> String {
    humantime::format_duration(Duration::from_secs(seconds.max(0.0) as u64)).to_string()
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}
