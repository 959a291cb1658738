//! `ctl why`: what became of an event for a user or a connection, in words.

use std::process::ExitCode;

use serde_json::Value;

use super::show::{field, list, table, time};
use super::{FAILED, Reader, fail, print};
use crate::cli::terminal;

/// Prints the answer; where there is none that says anything, says why and fails.
pub(super) fn print_answer(result: &Value, reader: &Reader, as_json: bool) -> ExitCode {
    let unanswered = unanswered(result, reader);
    let printed = match (as_json, &unanswered) {
        (true, _) => print(&terminal::lines(&format!("{result}\n"))),
        (false, None) => print(&terminal::lines(&text(result))),
        (false, Some(_)) => ExitCode::SUCCESS,
    };
    match unanswered {
        Some(sentence) => fail(FAILED, sentence),
        None => printed,
    }
}

/// Why nothing can be said, if so.
fn unanswered(result: &Value, reader: &Reader) -> Option<String> {
    match result["missing"].as_str() {
        Some("let_go") => Some(
            "the event is not kept any more: history and history-age say how much is".to_owned(),
        ),
        Some(_) => Some(
            "no event of this server has this id: it is of an earlier run without a journal, of another \
             server, or no id"
                .to_owned(),
        ),
        None if list(&result["connections"]).next().is_none() => Some(nobody(reader)),
        None => None,
    }
}

fn nobody(reader: &Reader) -> String {
    let whose = match reader {
        Reader {
            user: Some(user), ..
        } => format!("{user:?} has no connection on this host now"),
        Reader { connection, .. } => format!(
            "no connection {:?} is open on this host now",
            connection.as_deref().unwrap_or_default()
        ),
    };
    format!(
        "{whose}, and what closed ones were sent is not kept: who comes back with since gets the event, as long \
         as it is kept"
    )
}

fn text(result: &Value) -> String {
    let event = &result["event"];
    let at = event["timestamp"].as_u64().map_or_else(String::new, time);
    let mut text = format!("{} {} {at}\n", field(event, "id"), field(event, "type"));
    if event["to"].as_object().is_some_and(|to| !to.is_empty()) {
        text.push_str(&format!("to {}\n", event["to"]));
    }
    let kind = field(event, "type");
    let rows = list(&result["connections"]).map(|row| {
        let outcome = field(row, "outcome");
        [
            field(row, "connectionId"),
            field(row, "worker"),
            field(row, "role"),
            field(row, "sessionId"),
            outcome.replace('_', " "),
            reason(row, &outcome, &kind),
        ]
    });
    let header = ["CONNECTION", "WORKER", "ROLE", "SESSION", "OUTCOME", "WHY"];
    text + &table(header, rows)
}

/// What there is to say of an outcome.
fn reason(row: &Value, outcome: &str, kind: &str) -> String {
    let waiting = field(row, "waitingBytes");
    let given_way = match row["conflates"].as_bool() {
        Some(true) => ", or has given way to a newer one, as it asked for (conflate)",
        _ => "",
    };
    match outcome {
        "sent" => {
            "its socket took it, in the turn in which it came or behind what it missed".to_owned()
        }
        "waiting" => {
            format!("{waiting} bytes wait for its socket, this event may be among them{given_way}")
        }
        "replaying" => "what it missed is on its way to it, this event in its place".to_owned(),
        "unknown" => {
            let now = row["rule"].as_str().map_or_else(
                || "as it is now it would get it".to_owned(),
                |rule| {
                    format!(
                        "as it is now it would not: {}",
                        rule_in_words(rule, row, kind)
                    )
                },
            );
            let because = match row["because"].as_str() {
                Some("came_over") => {
                    "it came over from the process before, which alone knows what it was sent"
                }
                Some("last") => {
                    "it came later and asked for the newest events (last): whether this was one is not known"
                }
                Some("local") => {
                    "the event was delivered on this host alone, and has no place among the others yet"
                }
                _ => "its role or what it is subscribed to has changed since the event",
            };
            format!("{because}; {now}")
        }
        _ => row["rule"]
            .as_str()
            .map_or_else(String::new, |rule| rule_in_words(rule, row, kind)),
    }
}

fn rule_in_words(rule: &str, row: &Value, kind: &str) -> String {
    let role = field(row, "role");
    match rule {
        "connected_later" => {
            "it connected after the event, and did not ask for it by since".to_owned()
        }
        "role" => format!("the access table gives {role} nothing of this namespace"),
        "not_subscribed" => "it is not subscribed to this namespace".to_owned(),
        "events" => format!("it is subscribed to other types, not to {kind} (events)"),
        "roles" => format!("the event is for other roles than {role} (to.roles)"),
        "own" => format!("a {role} sees its own alone, and he is no owner of the event"),
        "user_ids" => "the event is for other users (to.userIds)".to_owned(),
        "exclude_user_ids" => "the event leaves him out (to.excludeUserIds)".to_owned(),
        "exclude_session_id" => {
            "the event leaves this session out (to.excludeSessionId)".to_owned()
        }
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_outcome_is_said_in_words() {
        let row = |id: &str, outcome: &str, rule: Value| {
            json!({"connectionId": id, "worker": 0, "role": "customer", "outcome": outcome, "rule": rule,
                "waitingBytes": 7, "conflates": true})
        };
        let result = json!({
            "event": {"id": "a-9", "type": "order:created", "timestamp": 1_700_000_000_123_u64, "to": {"owners": ["c"]}},
            "connections": [row("c1", "sent", Value::Null), row("c2", "not_sent", json!("own")),
                row("c3", "unknown", json!("not_subscribed")), row("c4", "waiting", Value::Null)],
        });
        let ann = Reader {
            user: Some("ann".to_owned()),
            connection: None,
        };
        let text = text(&result);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "a-9 order:created 2023-11-14T22:13:20.123Z");
        assert_eq!(lines[1], "to {\"owners\":[\"c\"]}");
        assert!(lines[3].contains("sent") && lines[3].contains("its socket took it"));
        assert!(lines[4].contains("not sent") && lines[4].contains("no owner"));
        assert!(lines[5].contains("would not: it is not subscribed"));
        assert!(lines[6].contains("7 bytes wait") && lines[6].contains("given way"));
        assert_eq!(unanswered(&result, &ann), None);
        for (because, says) in [
            ("came_over", "came over from the process before"),
            ("last", "newest events (last)"),
            ("local", "on this host alone"),
            ("changed", "has changed since"),
        ] {
            let mut row = row("c5", "unknown", Value::Null);
            row["because"] = json!(because);
            let said = reason(&row, "unknown", "order:created");
            assert!(
                said.contains(says) && said.ends_with("it would get it"),
                "{said}"
            );
        }
        let none = json!({"event": {"id": "a-9"}, "connections": []});
        assert!(
            unanswered(&none, &ann)
                .unwrap()
                .contains("\"ann\" has no connection")
        );
        let guest = Reader {
            user: None,
            connection: Some("c1f".to_owned()),
        };
        assert!(
            unanswered(&none, &guest)
                .unwrap()
                .contains("no connection \"c1f\" is open")
        );
        for (word, says) in [
            ("let_go", "not kept any more"),
            ("unknown", "no event of this server"),
        ] {
            let missing = json!({"event": null, "missing": word, "connections": []});
            assert!(unanswered(&missing, &ann).unwrap().contains(says));
        }
    }
}
