//! `shopwire emit`: sends events over the ingest socket and waits until they are settled.
//!
//! - [`mod@exchange`]: how lines go out and answers come in

mod exchange;

use std::io::{self, Cursor, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{FAILED, WRONG_USAGE, demo, fail, terminal, unreachable_socket};
use crate::config;
use exchange::{Outcome, exchange};

/// Send an event, or a stream of them from stdin
#[derive(clap::Args)]
#[command(
    after_help = "With - the input is NDJSON: one {\"type\":…,\"data\":{…}} a line, with to, timestamp and key as wanted. \
    Prints the id of a single event; refusals go to stderr with their line. Exits with 1 if any was refused.\n\
    With --demo a small invented shop is played, for trying out, until it is interrupted.\n\n\
    Examples:\n  \
    shopwire emit product:deleted --data '{\"productId\":\"p-1\"}'\n  \
    shopwire emit system:notification --data '{\"title\":\"Hi\",\"message\":\"Stocktaking at six\",\"severity\":\"info\"}' --to-roles admin,staff\n  \
    shopwire emit - < events.ndjson\n  \
    shopwire emit --demo --demo-rate 5"
)]
pub(super) struct Arguments {
    /// The event's type, like order:created; or - for NDJSON from stdin
    #[arg(value_name = "TYPE", required_unless_present = "demo")]
    kind: Option<String>,
    /// The event's data, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    data: String,
    /// Only to these roles
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    to_roles: Option<Vec<String>>,
    /// Only to these users
    #[arg(long, value_name = "USERS", value_delimiter = ',')]
    to_users: Option<Vec<String>>,
    /// These users own the event
    #[arg(long, value_name = "USERS", value_delimiter = ',')]
    to_owners: Option<Vec<String>>,
    /// Not to these users
    #[arg(long, value_name = "USERS", value_delimiter = ',')]
    exclude_users: Option<Vec<String>>,
    /// Not to this session
    #[arg(long, value_name = "SESSION")]
    exclude_session: Option<String>,
    /// The same key again within 10 minutes is not sent again
    #[arg(long)]
    key: Option<String>,
    /// The server's ingest socket [env: WS_SOCKET] [default: as for serve]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    demo: demo::Arguments,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.demo.demo {
        return demo::run(&arguments.demo, arguments.socket.as_deref());
    }
    let line = match line(arguments) {
        Ok(line) => line,
        Err(sentence) => return fail(WRONG_USAGE, sentence),
    };
    let path = config::socket_to_talk_to(arguments.socket.as_deref());
    let socket = match UnixStream::connect(&path) {
        Ok(socket) => socket,
        Err(error) => return fail(FAILED, unreachable_socket(&path, &error)),
    };
    let single = line.is_some();
    let outcome = match line {
        Some(line) => exchange(Cursor::new(line), socket, |_, why| {
            eprintln!("shopwire: {}", terminal::line(&why.to_string()))
        }),
        None => exchange(io::stdin(), socket, |line, why| {
            eprintln!("line {line}: {}", terminal::line(&why.to_string()))
        }),
    };
    match outcome {
        Ok(outcome) => report(&outcome, single),
        Err(error) => fail(FAILED, error),
    }
}

fn report(outcome: &Outcome, single: bool) -> ExitCode {
    let unsettled = outcome.sent - outcome.settled;
    if !single {
        eprintln!(
            "accepted {}, refused {}",
            outcome.accepted(),
            outcome.refused
        );
    } else if let Some(id) = outcome.newest_id.as_ref().filter(|_| outcome.refused == 0)
        && let Err(error) = writeln!(io::stdout(), "{id}")
    {
        return fail(
            FAILED,
            format!("the event {id} was accepted, but stdout: {error}"),
        );
    }
    if let Some(error) = &outcome.input_error {
        return fail(FAILED, format!("stdin cannot be read on: {error}"));
    }
    if outcome.broken {
        return fail(
            FAILED,
            format!(
                "the server closed the connection: {unsettled} {} sent and not known to be settled, \
                 the input after them was not sent",
                if unsettled == 1 {
                    "line was"
                } else {
                    "lines were"
                }
            ),
        );
    }
    if outcome.refused > 0 {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    }
}

/// The line of a single event; `None` for a stream from stdin.
fn line(arguments: &Arguments) -> Result<Option<Vec<u8>>, String> {
    let to = target(arguments);
    let kind = arguments.kind.as_deref();
    let kind = kind.expect("clap asks for a type where there is no --demo");
    if kind == "-" {
        if arguments.data != "{}" || !to.is_empty() || arguments.key.is_some() {
            return Err(
                "with - every line says its own data, to and key: leave those flags out".into(),
            );
        }
        return Ok(None);
    }
    serde_json::from_str::<IgnoredAny>(&arguments.data)
        .map_err(|error| format!("--data is not JSON: {error}"))?;
    // The data goes out as it was typed, so that its numbers do; only line ends, which in JSON stand
    // between tokens alone, would cut the line.
    let data = arguments.data.replace(['\n', '\r'], " ");
    let mut line = format!("{{\"type\":{},\"data\":{data}", Value::from(kind));
    if !to.is_empty() {
        line += &format!(",\"to\":{}", Value::Object(to));
    }
    if let Some(key) = &arguments.key {
        line += &format!(",\"key\":{}", Value::from(key.as_str()));
    }
    line.push('}');
    Ok(Some(line.into_bytes()))
}

fn target(arguments: &Arguments) -> Map<String, Value> {
    let lists = [
        ("roles", &arguments.to_roles),
        ("userIds", &arguments.to_users),
        ("owners", &arguments.to_owners),
        ("excludeUserIds", &arguments.exclude_users),
    ];
    let mut to = Map::new();
    for (name, list) in lists {
        if let Some(list) = list {
            to.insert(name.into(), list.clone().into());
        }
    }
    if let Some(session) = &arguments.exclude_session {
        to.insert("excludeSessionId".into(), session.as_str().into());
    }
    to
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Emit {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn line_of(arguments: &[&str]) -> Result<Option<String>, String> {
        let words = ["emit"].iter().chain(arguments);
        let line = line(
            &Emit::try_parse_from(words)
                .map_err(|e| e.to_string())?
                .arguments,
        )?;
        Ok(line.map(|line| String::from_utf8(line).unwrap()))
    }

    #[test]
    fn flags_become_one_line() {
        let line = line_of(&[
            "a:b",
            "--data",
            "{\"n\":1e2,\n\"m\":12345678901234567890123}",
        ])
        .unwrap();
        assert_eq!(
            line.unwrap(),
            r#"{"type":"a:b","data":{"n":1e2, "m":12345678901234567890123}}"#
        );
        let line = line_of(&[
            "a:b",
            "--to-roles",
            "admin,staff",
            "--to-users",
            "u",
            "--to-owners",
            "o",
            "--exclude-users",
            "x,y",
            "--exclude-session",
            "s",
            "--key",
            "k\"",
        ]);
        let value: Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
        let to = serde_json::json!({"roles": ["admin", "staff"], "userIds": ["u"], "owners": ["o"],
            "excludeUserIds": ["x", "y"], "excludeSessionId": "s"});
        assert_eq!(
            value,
            serde_json::json!({"type": "a:b", "data": {}, "to": to, "key": "k\""})
        );
    }

    #[test]
    fn an_empty_list_stays_a_list_that_the_server_refuses() {
        let line = line_of(&["a:b", "--to-users", ""]).unwrap().unwrap();
        assert!(
            line.contains("userIds"),
            "a typo must not become a broadcast: {line}"
        );
    }

    #[test]
    fn wrong_usage_is_told() {
        assert!(
            line_of(&["a:b", "--data", "{"])
                .unwrap_err()
                .contains("--data")
        );
        assert!(
            line_of(&["-", "--key", "k"])
                .unwrap_err()
                .contains("leave those flags out")
        );
        assert!(line_of(&[]).unwrap_err().contains("TYPE"));
        assert_eq!(line_of(&["-"]).unwrap(), None);
    }
}
