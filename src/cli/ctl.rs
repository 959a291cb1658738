//! `shopwire ctl`: asks a running server, over its ingest socket.
//!
//! Owns the questions and the waiting for their answers; [`show`] makes these readable, [`watch`] asks
//! again and again, [`tap`] prints what comes, and [`why`] says what became of an event.

mod show;
mod tap;
mod watch;
mod why;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Subcommand, value_parser};
use serde_json::{Map, Value, json};

use super::answers::{Answer, Answers, Next};
use super::{FAILED, WRONG_USAGE, fail, print, unreachable_socket};
use crate::access::{AccessTable, Namespace, Role};
use crate::config::{self, ConfigError, File};
use crate::limits::{self, LIST_MAX, TAP_COPIES_MAX};
use crate::logging::LEVELS;

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
        #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = every)]
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
    /// Whether a user was sent an event: for each of his connections, or by which rule it was not
    #[command(
        after_help = "The exit code is 1 where nothing can be said: the event is not kept any more, or the user has no connection \
        here.\n\n\
        Example:\n  shopwire ctl why --event 18bcfe56800beef-42 --user c-42"
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
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = config::duration)]
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
    /// The user's id
    #[arg(long, value_name = "ID")]
    user: String,
}

/// As the server takes it, which says so in milliseconds.
fn kept(text: &str) -> Result<Duration, String> {
    let allowed = limits::REVOKED_FOR_MIN..=limits::REVOKED_FOR_MAX;
    let kept = config::duration(text).ok();
    kept.filter(|kept| allowed.contains(kept)).ok_or_else(|| {
        "must be from 1s to 366d: with a unit, like 90s, 24h or 30d (a number alone is milliseconds)"
            .to_owned()
    })
}

fn every(text: &str) -> Result<Duration, String> {
    let every = config::duration(text)?;
    if every < Duration::from_millis(100) {
        return Err("must be at least 100ms".into());
    }
    Ok(every)
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let request = match request(&arguments.command) {
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
            Command::Why(wanted) => why::print_answer(&result, &wanted.user, arguments.json),
            _ => print(&text_of(arguments, &result)),
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

fn request(command: &Command) -> Result<Value, ConfigError> {
    Ok(match command {
        Command::Stats { .. } => json!({"command": "stats"}),
        Command::Drain => json!({"command": "drain"}),
        Command::Reload => json!({"command": "reload"}),
        Command::LogLevel { level } => json!({"command": "log-level", "level": level}),
        Command::Tap(wanted) => with_given(
            json!({"command": "tap", "for": ms(wanted.r#for), "limit": wanted.limit}),
            [
                ("type", &wanted.kind),
                ("namespace", &wanted.namespace),
                ("user", &wanted.user),
            ],
        ),
        Command::Why(wanted) => {
            json!({"command": "why", "event": wanted.event, "user": wanted.user})
        }
        Command::Disconnect(whom) => {
            let request = json!({"command": "disconnect"});
            with_given(
                request,
                [
                    ("user", &whom.user),
                    ("session", &whom.session),
                    ("connection", &whom.connection),
                    ("role", &whom.role),
                ],
            )
        }
        Command::Revoke(Revoked { whose, r#for: kept }) => with_given(
            json!({"command": "revoke", "for": ms(*kept)}),
            [("user", &whose.user), ("session", &whose.session)],
        ),
        Command::Connections(wanted) => {
            let mut request = json!({"command": "connections", "limit": wanted.limit});
            if wanted.slow {
                request["slow"] = true.into();
            }
            with_given(
                request,
                [
                    ("role", &wanted.role),
                    ("user", &wanted.user),
                    ("session", &wanted.session),
                    ("namespace", &wanted.namespace),
                    ("after", &wanted.after),
                ],
            )
        }
        Command::History(wanted) => {
            let mut request = json!({"command": "history", "limit": wanted.limit});
            if wanted.data {
                request["data"] = true.into();
            }
            with_given(
                request,
                [("type", &wanted.kind), ("namespace", &wanted.namespace)],
            )
        }
        Command::Access { tried } => {
            json!({"command": "access", "try": rows(&File::read(tried)?.access_alone()?)})
        }
    })
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The table as the protocol has it.
fn rows(table: &AccessTable) -> Value {
    let row = |namespace: Namespace| -> Value {
        let cell = |role: Role| {
            (
                role.name().to_owned(),
                table.get(role, namespace).name().into(),
            )
        };
        Role::ALL
            .into_iter()
            .map(cell)
            .collect::<Map<_, Value>>()
            .into()
    };
    Namespace::ALL
        .into_iter()
        .map(|namespace| (namespace.name().to_owned(), row(namespace)))
        .collect::<Map<_, _>>()
        .into()
}

fn with_given<const N: usize>(
    mut request: Value,
    fields: [(&'static str, &Option<String>); N],
) -> Value {
    for (name, given) in fields {
        if let Some(given) = given {
            request[name] = given.as_str().into();
        }
    }
    request
}

/// A connection to the server.
struct Session {
    socket: UnixStream,
    answers: Answers,
    /// The most an answer may take.
    within: Duration,
}

impl Session {
    fn new(socket: UnixStream, within: Duration) -> Result<Self, String> {
        socket.set_read_timeout(Some(within)).map_err(broken)?;
        Ok(Self {
            answers: Answers::new(socket.try_clone().map_err(broken)?),
            socket,
            within,
        })
    }

    fn send(&mut self, request: &Value) -> Result<(), String> {
        let line = format!("{request}\n");
        self.socket.write_all(line.as_bytes()).map_err(broken)
    }

    /// Sends one command and waits for its answer.
    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let started = Instant::now();
        self.send(request)?;
        while started.elapsed() < self.within {
            match self.answers.next().map_err(broken)? {
                Next::Answer(Answer::Result { result }) => return Ok(result),
                Next::Answer(Answer::Error { error }) => return Err(error.to_string()),
                Next::Answer(Answer::Ack { .. } | Answer::Copy(_)) => {}
                Next::Nothing => break,
                Next::End => {
                    return Err("the server closed the connection without an answer".into());
                }
            }
        }
        Err(format!(
            "the server did not answer within {:?}",
            self.within
        ))
    }
}

fn broken(error: io::Error) -> String {
    format!("the server cannot be talked to: {error}")
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
        Ctl::try_parse_from(["ctl"].iter().chain(words))
            .map(|ctl| request(&ctl.arguments.command).unwrap())
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
        let mut session = Session::new(client, Duration::from_secs(5)).unwrap();
        let result = session.ask(&json!({"command": "stats"}));
        assert_eq!(server.join().unwrap(), "{\"command\":\"stats\"}\n");
        result
    }

    #[test]
    fn what_is_tapped_and_asked_is_narrowed() {
        assert_eq!(
            request_of(&["tap"]).unwrap(),
            json!({"command": "tap", "for": 60_000, "limit": 1000})
        );
        let words = [
            "tap",
            "--type",
            "t",
            "--namespace",
            "n",
            "--user",
            "u",
            "--for",
            "5m",
        ];
        assert_eq!(
            request_of(&words).unwrap(),
            json!({"command": "tap", "for": 300_000, "limit": 1000, "type": "t", "namespace": "n", "user": "u"})
        );
        assert_eq!(
            request_of(&["why", "--event", "e-1", "--user", "u"]).unwrap(),
            json!({"command": "why", "event": "e-1", "user": "u"})
        );
        for words in [
            &["tap", "--limit", "0"][..],
            &["tap", "--limit", "1000001"],
            &["why", "--event", "e-1"],
            &["why", "--user", "u"],
        ] {
            assert!(request_of(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn commands_are_those_of_the_protocol() {
        for word in ["stats", "drain", "reload"] {
            assert_eq!(request_of(&[word]).unwrap(), json!({"command": word}));
        }
        for whom in ["user", "session", "connection", "role"] {
            let request = request_of(&["disconnect", &format!("--{whom}"), "x"]).unwrap();
            assert_eq!(request, json!({"command": "disconnect", whom: "x"}));
        }
        for whom in ["user", "session"] {
            let request =
                request_of(&["revoke", &format!("--{whom}"), "x", "--for", "2h"]).unwrap();
            assert_eq!(
                request,
                json!({"command": "revoke", whom: "x", "for": 7_200_000})
            );
        }
        let request = request_of(&["revoke", "--user", "x"]).unwrap();
        assert_eq!(request["for"], 86_400_000);
        for words in [
            &["revoke"][..],
            &["revoke", "--for", "1h"],
            &["revoke", "--user", "x", "--session", "y"],
            &["revoke", "--user", "x", "--for", "soon"],
            &["revoke", "--user", "x", "--for", "0"],
            &["revoke", "--user", "x", "--for", "367d"],
        ] {
            assert!(request_of(words).is_err(), "{words:?}");
        }
        let request = request_of(&["log-level", "debug"]).unwrap();
        assert_eq!(request, json!({"command": "log-level", "level": "debug"}));
        assert!(request_of(&["log-level", "loud"]).is_err());
        let request = request_of(&["connections", "--role", "admin", "--slow"]).unwrap();
        assert_eq!(
            request,
            json!({"command": "connections", "limit": 100, "role": "admin", "slow": true})
        );
        assert!(request_of(&["connections", "--limit", "1001"]).is_err());
        assert!(request_of(&["connections", "--slow", "--after", "c1"]).is_err());
        let request = request_of(&["history", "--type", "order:created", "--data"]).unwrap();
        assert_eq!(
            request,
            json!({"command": "history", "limit": 20, "type": "order:created", "data": true})
        );
        assert!(request_of(&["stats", "--watch", "--every", "99ms"]).is_err());
        assert!(request_of(&["disconnect"]).is_err());
        assert!(request_of(&["disconnect", "--user", "x", "--session", "y"]).is_err());
    }

    #[test]
    fn a_table_to_try_is_read_from_a_file_and_sent_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new.toml");
        let words = ["access", "--try", file.to_str().unwrap()];
        std::fs::write(&file, "[access]\norders = { admin = \"all\" }\n").unwrap();
        let request = request_of(&words).unwrap();
        let row = |all: &str| json!({"admin": "all", "manager": all, "staff": all, "customer": "none", "guest": "none", "public": "none"});
        assert_eq!(request["try"]["orders"], row("none"));
        assert_eq!(request["try"]["inventory"], row("all"), "the default");
        std::fs::write(&file, "[access]\norders = { boss = \"all\" }\n").unwrap();
        let ctl = Ctl::try_parse_from(["ctl"].iter().chain(&words)).unwrap();
        let error = super::request(&ctl.arguments.command).unwrap_err();
        assert!(error.to_string().contains("access.orders.boss"), "{error}");
        // Rows without their table, one of which has the name of another table.
        for row in [
            "orders = { admin = \"all\" }\n",
            "[customers]\nadmin = \"all\"\n",
        ] {
            std::fs::write(&file, row).unwrap();
            let error = super::request(&ctl.arguments.command).unwrap_err();
            assert!(error.to_string().contains("under [access]"), "{error}");
        }
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
        let mut session = Session::new(client, Duration::from_millis(20)).unwrap();
        let result = session.ask(&json!({}));
        assert!(result.unwrap_err().contains("did not answer"));
    }
}
