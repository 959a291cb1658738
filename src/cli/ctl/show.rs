//! The server's answers, for people.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

/// What was read again, what has changed, and what is not as it should be.
pub(super) fn reloaded(result: &Value) -> String {
    let words = |name: &str| -> Vec<String> {
        let all = result[name].as_array().into_iter().flatten();
        all.map(word).collect()
    };
    let files = match &words("reloaded")[..] {
        [] => "nothing to reload: no setting names a file with keys".to_owned(),
        some => format!("reloaded {}", some.join(", ")),
    };
    let list = |name: &str, what: &str| match &words(name)[..] {
        [] => None,
        some => Some(format!("{what} {}", some.join(", "))),
    };
    let warnings = words("warnings")
        .into_iter()
        .map(|warning| format!("warning: {warning}"));
    [files]
        .into_iter()
        .chain(list("changed", "changed"))
        .chain(list("afterRestart", "only a restart changes"))
        .chain(warnings)
        .map(|line| line + "\n")
        .collect()
}

/// How many were closed.
pub(super) fn disconnected(result: &Value) -> String {
    let nobody = match result["disconnected"].as_u64() {
        Some(0) => " (nobody was connected to this host)",
        _ => "",
    };
    format!("disconnected: {}{nobody}\n", word(&result["disconnected"]))
}

/// How many were closed, and until when it is remembered.
pub(super) fn revoked(result: &Value) -> String {
    let until = match result["until"].as_u64() {
        Some(ms) => time(ms),
        None => word(&result["until"]),
    };
    let lasting = match result["stored"].as_bool() {
        Some(true) => "yes",
        _ => "no",
    };
    let mut text = disconnected(result);
    text += &format!("remembered until: {until}\nover a restart: {lasting}\n");
    // Said only where there are other hosts.
    match result["everywhere"].as_bool() {
        None => {}
        Some(true) => text.push_str("in force on all hosts\n"),
        Some(false) => {
            text.push_str("in force on this host; the others follow when Redis is back\n");
        }
    }
    text
}

/// What a table would change, a cell a line, and what that is for those whom it concerns.
pub(super) fn access(result: &Value) -> String {
    let rows = list(&result["changes"]).map(|change| {
        let (now, then) = (field(change, "now"), field(change, "then"));
        let effect = match (now.as_str(), then.as_str()) {
            (_, "none") => format!("{} subscriptions end", field(change, "subscribed")),
            ("none", _) => "may subscribe".to_owned(),
            (_, "own") => "see their own alone".to_owned(),
            _ => "see all, not their own alone".to_owned(),
        };
        [
            field(change, "namespace"),
            field(change, "role"),
            now,
            then,
            field(change, "connections"),
            field(change, "subscribed"),
            effect,
        ]
    });
    let header = [
        "NAMESPACE",
        "ROLE",
        "NOW",
        "THEN",
        "CONNECTED",
        "SUBSCRIBED",
        "THESE",
    ];
    let warnings = list(&result["warnings"]).map(|warning| format!("warning: {}\n", word(warning)));
    let warnings: String = warnings.collect();
    match table(header, rows) {
        none if none.is_empty() => {
            "the table is the one in force: nothing would change\n".to_owned()
        }
        text => text + &warnings + "nothing has been changed: shopwire ctl reload does\n",
    }
}

/// An answer with no form of its own: a field a line, or that it is done.
pub(super) fn plain(result: &Value) -> String {
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
pub(super) fn stats(result: &Value) -> String {
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
    row("redis", result.get("redis").map(redis));
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

/// How it is with Redis, where several hosts act as one: what is wrong stands first, and in capitals.
pub(super) fn redis(redis: &Value) -> String {
    let is = |name: &str| redis[name] == true;
    let mut text = if is("connected") {
        "connected".to_owned()
    } else {
        let mut text = "CUT OFF".to_owned();
        if let Some(seconds) = redis["cutOffSeconds"].as_f64() {
            text += &format!(" for {}", uptime(seconds));
        }
        text + if is("deliversAlone") {
            ", DELIVERS ALONE"
        } else {
            ", delivers nothing"
        }
    };
    let local = redis["localEvents"].as_u64().unwrap_or(0);
    if local > 0 {
        text += &format!("; {local} events that the others are still to have");
    }
    text + &format!("; {} events wait for it", word(&redis["waitingEvents"]))
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

pub(super) fn uptime(seconds: f64) -> String {
    humantime::format_duration(Duration::from_secs(seconds.max(0.0) as u64)).to_string()
}

pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

/// Open connections, one a line; a field the server does not send is left empty.
pub(super) fn connections(result: &Value) -> String {
    let rows = list(&result["connections"]).map(|row| {
        let names = list(&row["namespaces"]).map(word);
        let namespaces: Vec<String> = names.collect();
        let mut notes = Vec::new();
        if row["tls"] == true {
            notes.push("tls");
        }
        if row["replaying"] == true {
            notes.push("replaying");
        }
        [
            field(row, "connectionId"),
            field(row, "worker"),
            field(row, "role"),
            field(row, "userId"),
            field(row, "sessionId"),
            field(row, "ip"),
            namespaces.join(","),
            field(row, "waitingBytes"),
            row["expiresAt"].as_u64().map(time).unwrap_or_default(),
            notes.join(","),
        ]
    });
    let mut text = table(
        [
            "CONNECTION",
            "WORKER",
            "ROLE",
            "USER",
            "SESSION",
            "ADDRESS",
            "NAMESPACES",
            "WAITING",
            "TOKEN ENDS",
            "",
        ],
        rows,
    );
    let shown = list(&result["connections"]).count();
    let matching = field(result, "matching");
    writeln!(text, "{shown} of {matching}").expect("a String takes everything");
    if let Some(next) = result["next"].as_str() {
        writeln!(text, "the next ones: --after {next}").expect("a String takes everything");
    }
    text
}

/// Kept events, one a line.
pub(super) fn events(result: &Value) -> String {
    let rows = list(&result["events"]).map(|row| {
        let named = if row["named"] == true {
            "named users"
        } else {
            ""
        };
        [
            row["timestamp"].as_u64().map(time).unwrap_or_default(),
            field(row, "id"),
            field(row, "type"),
            field(row, "bytes"),
            named.to_owned(),
            field(row, "data"),
        ]
    });
    let mut text = table(["TIME", "ID", "TYPE", "BYTES", "FOR", "DATA"], rows);
    let shown = list(&result["events"]).count();
    let (events, bytes) = (field(result, "keptEvents"), field(result, "keptBytes"));
    writeln!(text, "{shown} of {events} kept events, {bytes} bytes")
        .expect("a String takes everything");
    text
}

pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub(super) fn field(row: &Value, name: &str) -> String {
    row.get(name).map(word).unwrap_or_default()
}

/// A time, in ms since 1970; a token may end after the last date that can be written, in 9999.
pub(super) fn time(ms: u64) -> String {
    let mut text = String::new();
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms));
    match time.map(|time| write!(text, "{}", humantime::format_rfc3339_millis(time))) {
        Some(Ok(())) => text,
        _ => ms.to_string(),
    }
}

/// Columns as wide as what is in them; one that is empty in every row is left out.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let rows: Vec<[String; N]> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        match cells.max().unwrap_or(0) {
            0 => 0,
            widest => widest.max(header[column].len()),
        }
    });
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (cell, width) in cells.into_iter().zip(widths) {
            if width > 0 {
                write!(line, "{cell:<width$}  ").expect("a String takes everything");
            }
        }
        line.trim_end().to_owned() + "\n"
    };
    let body = rows
        .iter()
        .map(|row| line(row.each_ref().map(String::as_str)));
    [line(header)].into_iter().chain(body).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
    fn a_reload_tells_what_it_did() {
        let text = reloaded(
            &json!({"reloaded": ["tls-cert", "jwt-secret-file"], "changed": ["access"],
            "afterRestart": ["port", "workers"], "keys": 2, "warnings": ["mind this"]}),
        );
        assert_eq!(
            text,
            "reloaded tls-cert, jwt-secret-file\nchanged access\nonly a restart changes port, workers\n\
             warning: mind this\n"
        );
        assert!(reloaded(&json!({"reloaded": []})).starts_with("nothing to reload"));
    }

    #[test]
    fn a_revocation_tells_until_when_it_holds() {
        let answer =
            json!({"revoked": true, "disconnected": 2, "until": 86_400_500, "stored": true});
        assert_eq!(
            revoked(&answer),
            "disconnected: 2\nremembered until: 1970-01-02T00:00:00.500Z\nover a restart: yes\n"
        );
        let mut answer = answer;
        for (everywhere, line) in [
            (true, "in force on all hosts\n"),
            (
                false,
                "in force on this host; the others follow when Redis is back\n",
            ),
        ] {
            answer["everywhere"] = everywhere.into();
            assert!(revoked(&answer).ends_with(line), "{}", revoked(&answer));
        }
        assert_eq!(time(9_007_199_254_740_991), "9007199254740991");
    }

    #[test]
    fn closing_nobody_is_told_in_words() {
        let text = |count: u64| disconnected(&json!({ "disconnected": count }));
        assert_eq!(text(2), "disconnected: 2\n");
        assert_eq!(
            text(0),
            "disconnected: 0 (nobody was connected to this host)\n"
        );
    }

    #[test]
    fn other_answers_are_a_field_a_line() {
        assert_eq!(plain(&json!({"level": "debug"})), "level: debug\n");
        assert_eq!(plain(&json!("draining")), "draining\n");
        assert_eq!(plain(&json!({})), "done\n");
    }

    #[test]
    fn connections_are_a_table_without_empty_columns() {
        let row = |id: &str, user: &str| {
            json!({"connectionId": id, "worker": 0, "role": "customer", "userId": user, "ip": "192.0.2.1",
                "namespaces": ["orders", "products"], "waitingBytes": 0, "tls": false})
        };
        let mut result =
            json!({"matching": 7, "connections": [row("c1", "ann"), row("c10", "bo")]});
        result["next"] = "c10".into();
        assert_eq!(
            connections(&result),
            "CONNECTION  WORKER  ROLE      USER  ADDRESS    NAMESPACES       WAITING\n\
             c1          0       customer  ann   192.0.2.1  orders,products  0\n\
             c10         0       customer  bo    192.0.2.1  orders,products  0\n\
             2 of 7\nthe next ones: --after c10\n"
        );
        let none = json!({"matching": 0, "connections": []});
        assert_eq!(connections(&none), "0 of 0\n");
    }

    #[test]
    fn a_host_that_is_cut_off_is_seen_at_once() {
        let connected = json!({"connected": true, "deliversAlone": false, "waitingEvents": 2, "localEvents": 0});
        let alone = json!({"connected": false, "deliversAlone": true, "cutOffSeconds": 65, "waitingEvents": 0,
            "localEvents": 3});
        let begins = json!({"connected": false, "deliversAlone": false, "waitingEvents": 0, "localEvents": 0});
        let cases = [
            (connected, "connected; 2 events wait for it"),
            (
                alone,
                "CUT OFF for 1m 5s, DELIVERS ALONE; 3 events that the others are still to have; 0 events wait for it",
            ),
            (begins, "CUT OFF, delivers nothing; 0 events wait for it"),
        ];
        for (told, text) in cases {
            assert_eq!(redis(&told), text);
            let page = stats(&json!({ "redis": told }));
            assert!(
                page.contains(&format!("redis           {text}\n")),
                "{page}"
            );
        }
        assert!(!stats(&json!({})).contains("redis"));
    }

    #[test]
    fn a_tried_table_tells_what_would_happen_to_whom() {
        let change = |role: &str, now: &str, then: &str, subscribed: u64| {
            json!({"namespace": "orders", "role": role, "now": now, "then": then, "connections": 12,
                "subscribed": subscribed})
        };
        let changes = json!({"changes": [change("staff", "all", "none", 9), change("guest", "none", "all", 0),
            change("customer", "own", "all", 11), change("manager", "all", "own", 3)]});
        assert_eq!(
            access(&changes),
            "NAMESPACE  ROLE      NOW   THEN  CONNECTED  SUBSCRIBED  THESE\n\
             orders     staff     all   none  12         9           9 subscriptions end\n\
             orders     guest     none  all   12         0           may subscribe\n\
             orders     customer  own   all   12         11          see all, not their own alone\n\
             orders     manager   all   own   12         3           see their own alone\n\
             nothing has been changed: shopwire ctl reload does\n"
        );
        let none = json!({"changes": []});
        assert!(access(&none).contains("nothing would change"));
    }

    #[test]
    fn events_are_a_table_with_their_time() {
        let result = json!({"keptEvents": 9, "keptBytes": 900, "events": [
            {"id": "a-9", "type": "order:deleted", "timestamp": 1_700_000_000_123_u64, "bytes": 100, "named": true,
             "data": {"orderId": "o"}}]});
        assert_eq!(
            events(&result),
            "TIME                      ID   TYPE           BYTES  FOR          DATA\n\
             2023-11-14T22:13:20.123Z  a-9  order:deleted  100    named users  {\"orderId\":\"o\"}\n\
             1 of 9 kept events, 900 bytes\n"
        );
    }
}
