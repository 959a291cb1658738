//! What the server is asked: from the command line to the protocol's commands.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Command, Revoked};
use crate::access::{AccessTable, Namespace, Role};
use crate::config::{ConfigError, File};

/// The command as it is sent.
///
/// # Errors
/// If a file that it names cannot be read.
pub(super) fn of(command: &Command) -> Result<Value, ConfigError> {
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
        Command::Why(wanted) => with_given(
            json!({"command": "why", "event": wanted.event}),
            [
                ("user", &wanted.reader.user),
                ("connection", &wanted.reader.connection),
            ],
        ),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::super::Arguments;
    use super::*;

    #[derive(Parser)]
    struct Ctl {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn request_of(words: &[&str]) -> Result<Value, clap::Error> {
        Ctl::try_parse_from(["ctl"].iter().chain(words))
            .map(|ctl| of(&ctl.arguments.command).unwrap())
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
        assert_eq!(
            request_of(&["why", "--event", "e-1", "--connection", "c1f"]).unwrap(),
            json!({"command": "why", "event": "e-1", "connection": "c1f"})
        );
        for words in [
            &["tap", "--limit", "0"][..],
            &["tap", "--limit", "1000001"],
            &["tap", "--for", "2h"],
            &["tap", "--for", "0"],
            &["stats", "--every", "5s"],
            &["why", "--event", "e-1"],
            &["why", "--user", "u"],
            &["why", "--event", "e-1", "--user", "u", "--connection", "c1"],
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
        let error = of(&ctl.arguments.command).unwrap_err();
        assert!(error.to_string().contains("access.orders.boss"), "{error}");
        // Rows without their table, one of which has the name of another table.
        for row in [
            "orders = { admin = \"all\" }\n",
            "[customers]\nadmin = \"all\"\n",
        ] {
            std::fs::write(&file, row).unwrap();
            let error = of(&ctl.arguments.command).unwrap_err();
            assert!(error.to_string().contains("under [access]"), "{error}");
        }
    }
}
