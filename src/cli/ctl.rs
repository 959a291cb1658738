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
use super::{FAILED, fail, print, unreachable_socket};
use crate::config;
use crate::logging::LEVELS;

/// The most a server may take for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Ask a running server, as its own user or as root
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  shopwire ctl stats\n  shopwire ctl disconnect --user c-42\n  shopwire ctl log-level debug\n  shopwire ctl reload\n  shopwire ctl drain"
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
    /// Change which lines are logged, until the server ends
    #[command(
        after_help = "Example:\n  shopwire ctl log-level debug\n  shopwire ctl log-level default"
    )]
    LogLevel {
        /// This level and what is graver; default is what RUST_LOG said at the start
        #[arg(value_name = "LEVEL", value_parser = LEVELS.map(|(name, _)| name))]
        level: String,
    },
    /// Read the certificate and its key again; open connections stay
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
        Command::Reload => reloaded(&result),
        _ => plain(&result),
    };
    print(&text)
}

fn request(command: &Command) -> Value {
    match command {
        Command::Stats => json!({"command": "stats"}),
        Command::Drain => json!({"command": "drain"}),
        Command::Reload => json!({"command": "reload"}),
        Command::LogLevel { level } => json!({"command": "log-level", "level": level}),
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

/// What was read again, and what is not as it should be.
fn reloaded(result: &Value) -> String {
    let words = |name: &str| -> Vec<String> {
        let all = result[name].as_array().into_iter().flatten();
        all.map(word).collect()
    };
    let settings = match &words("reloaded")[..] {
        [] => "nothing to read again: no setting names a certificate".to_owned(),
        some => format!("reloaded {}", some.join(", ")),
    };
    let warnings = words("warnings")
        .into_iter()
        .map(|warning| format!("warning: {warning}"));
    [settings]
        .into_iter()
        .chain(warnings)
        .map(|line| line + "\n")
        .collect()
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
    row("outbox bytes", field("outboxBytes"));
    row("conflated", field("conflated"));
    row("recovered", field("recovered"));
    row("not recovered", field("notRecovered"));
    row("history bytes", field("historyBytes"));
    row("history events", field("historyEvents"));
    row("journal", result.get("journal").and_then(counts));
    row("tls", result.get("tls").and_then(counts));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{BufRead, BufReader};
    use std::thread;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Ctl {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn request_of(words: &[&str]) -> Result<Value, clap::Error> {
        Ctl::try_parse_from(["ctl"].iter().chain(words)).map(|ctl| request(&ctl.arguments.command))
    }

    /// What `ask` makes of a server's words.
    fn asked(answer: &'static str) -> Result<Value, String> {
        let (server, client) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            let mut line = String::new();
            BufReader::new(&server).read_line(&mut line).unwrap();
            (&server).write_all(answer.as_bytes()).unwrap();
            line
        });
        let result = ask(client, &json!({"command": "stats"}), Duration::from_secs(5));
        assert_eq!(server.join().unwrap(), "{\"command\":\"stats\"}\n");
        result
    }

    #[test]
    fn commands_are_those_of_the_protocol() {
        for word in ["stats", "drain", "reload"] {
            assert_eq!(request_of(&[word]).unwrap(), json!({"command": word}));
        }
        for whom in ["user", "session", "connection"] {
            let request = request_of(&["disconnect", &format!("--{whom}"), "x"]).unwrap();
            assert_eq!(request, json!({"command": "disconnect", whom: "x"}));
        }
        let request = request_of(&["log-level", "debug"]).unwrap();
        assert_eq!(request, json!({"command": "log-level", "level": "debug"}));
        assert!(request_of(&["log-level", "loud"]).is_err());
        assert!(request_of(&["disconnect"]).is_err());
        assert!(request_of(&["disconnect", "--user", "x", "--session", "y"]).is_err());
    }

    #[test]
    fn the_answer_may_come_before_or_after_an_ack() {
        assert_eq!(
            asked("{\"result\":{\"a\":1}}\n{\"ack\":1}\n"),
            Ok(json!({"a": 1}))
        );
        assert_eq!(
            asked("{\"ack\":1}\n{\"result\":{\"a\":1}}\n"),
            Ok(json!({"a": 1}))
        );
    }

    #[test]
    fn a_refusal_and_a_silent_end_are_told() {
        let refused =
            asked("{\"error\":{\"line\":1,\"code\":\"forbidden\",\"message\":\"not you\"}}\n");
        assert_eq!(refused, Err("forbidden: not you".into()));
        assert!(asked("").unwrap_err().contains("closed the connection"));
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up() {
        let (_server, client) = UnixStream::pair().unwrap();
        let result = ask(client, &json!({}), Duration::from_millis(20));
        assert!(result.unwrap_err().contains("did not answer"));
    }

    #[test]
    fn statistics_are_readable_and_unknown_ones_left_out() {
        let text = stats(
            &json!({"totalConnections": 3, "connectionsByRole": {"admin": 1, "staff": 2},
            "connectionsByNamespace": {}, "uptimeSeconds": 3_725, "latencyMs": {"p50": 0.2, "p99": null},
            "workers": [{"connections": 3}]}),
        );
        assert_eq!(
            text,
            "uptime          1h 2m 5s\nconnections     3\n  by role       admin 1, staff 2\n\
             \x20 by namespace  none\nlatency (ms)    p50 0.2, p99 -\nworker 0        connections 3\n"
        );
        assert_eq!(stats(&Value::Null), "");
    }

    #[test]
    fn other_answers_are_a_field_a_line() {
        assert_eq!(plain(&json!({"disconnected": 2})), "disconnected: 2\n");
        assert_eq!(plain(&json!("draining")), "draining\n");
        assert_eq!(plain(&json!({})), "done\n");
    }
}
