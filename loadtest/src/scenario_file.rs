//! Scenarios in TOML: the keys are the names of the flags.
//!
//! A file becomes the command line that says the same, so that a value is read and checked by one
//! set of rules, and a flag given beside the file has the last word.
//!
//! ```toml
//! scenario = "fanout"
//! connections = 1000
//! rate = 50
//! expect = ["latency-p99-ms<10", "cpu-us-per-delivery<6"]
//! server-arguments = ["--history", "0"]
//! ```

use std::path::Path;

use toml::{Table, Value};

/// The key that names the scenario.
const SCENARIO: &str = "scenario";

/// The key of what follows `--`.
const SERVER_ARGUMENTS: &str = "server-arguments";

/// The command line, without the program's name, that runs the scenario in `file`, with the flags in
/// `more` behind it.
///
/// # Errors
/// Where the file cannot be read, is no TOML or names no scenario.
pub fn expand(file: &Path, more: &[String]) -> Result<Vec<String>, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    arguments(&text, more).map_err(|error| format!("{}: {error}", file.display()))
}

fn arguments(text: &str, more: &[String]) -> Result<Vec<String>, String> {
    let mut table: Table = text.parse().map_err(|error| format!("{error}"))?;
    let scenario = match table.remove(SCENARIO) {
        Some(Value::String(scenario)) => scenario,
        _ => return Err(format!("a line like {SCENARIO} = \"fanout\" is needed")),
    };
    let for_server = match table.remove(SERVER_ARGUMENTS) {
        None => Vec::new(),
        Some(Value::Array(values)) => values
            .iter()
            .map(|value| word(SERVER_ARGUMENTS, value))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(format!("{SERVER_ARGUMENTS} is a list of strings")),
    };
    let mut arguments = vec![scenario];
    for (key, value) in &table {
        match value {
            Value::Boolean(true) => arguments.push(format!("--{key}")),
            Value::Boolean(false) => {}
            Value::Array(values) => {
                for value in values {
                    arguments.push(format!("--{key}={}", word(key, value)?));
                }
            }
            value => arguments.push(format!("--{key}={}", word(key, value)?)),
        }
    }
    let separator = more.iter().position(|word| word == "--");
    let (flags, rest) = more.split_at(separator.unwrap_or(more.len()));
    arguments.extend_from_slice(flags);
    if !for_server.is_empty() || !rest.is_empty() {
        arguments.push("--".into());
        arguments.extend(for_server);
        arguments.extend(rest.iter().skip(1).cloned());
    }
    Ok(arguments)
}

fn word(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        _ => Err(format!("{key} is a number, a text or a list of such")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_become_flags_and_flags_come_last() {
        let text = r#"
            scenario = "fanout"
            connections = 100
            rate = 2.5
            quiet = true
            expect = ["lost<1", "latency-p99-ms<10"]
            server-arguments = ["--workers", "1"]
        "#;
        let more = ["--rate", "9", "--", "--history", "0"].map(String::from);
        assert_eq!(
            arguments(text, &more).unwrap(),
            [
                "fanout",
                "--connections=100",
                "--expect=lost<1",
                "--expect=latency-p99-ms<10",
                "--quiet",
                "--rate=2.5",
                "--rate",
                "9",
                "--",
                "--workers",
                "1",
                "--history",
                "0"
            ]
        );
    }

    #[test]
    fn what_is_no_scenario_is_refused() {
        for bad in [
            "connections = 1",
            "scenario = 1",
            "scenario = 'fanout'\nrate = {}",
            "scenario = 'fanout'\nserver-arguments = 'x'",
            "nonsense",
        ] {
            assert!(arguments(bad, &[]).is_err(), "{bad}");
        }
    }
}
