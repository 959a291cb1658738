//! Scenarios in TOML: the keys are the names of the flags.
//!
//! A file becomes the command line that says the same, so that a value is read and checked by one
//! set of rules. A flag given beside the file has the last word: it replaces the file's, and what in
//! the file excludes it. Those that can be given several times add to the file's.
//!
//! ```toml
//! scenario = "fanout"
//! connections = 1000
//! rate = 50
//! expect = ["latency-p99-ms<10", "cpu-us-per-delivery<6"]
//! server-arguments = ["--history", "0"]
//! ```

use std::path::Path;

use clap::{Arg, Command, CommandFactory, Parser};
use toml::{Table, Value};

use crate::cli::Cli;

/// The key that names the scenario.
const SCENARIO: &str = "scenario";

/// The key of what follows `--`.
const SERVER_ARGUMENTS: &str = "server-arguments";

/// Commands that are no scenarios.
const NO_SCENARIOS: [&str; 4] = ["run", "figures", "compare", "peers"];

/// What the scenario in `file`, with the flags in `more` behind it, asks `program` for, and the
/// command line that says the same.
///
/// # Errors
/// Where the file cannot be read, is no TOML, names no scenario, or asks for what there is not.
pub fn parse(file: &Path, more: &[String], program: &str) -> Result<(Cli, Vec<String>), String> {
    let failed = |error: String| format!("{}: {error}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let mut words = vec![program.to_string()];
    words.extend(arguments(&text, more).map_err(failed)?);
    match Cli::try_parse_from(&words) {
        Ok(cli) => Ok((cli, words)),
        // The flags behind the file asked for help.
        Err(help) if !help.use_stderr() => help.exit(),
        Err(error) => {
            let message = error.to_string();
            let message = message.strip_prefix("error: ").unwrap_or(&message);
            Err(failed(message.trim_end().to_string()))
        }
    }
}

/// The command line, without the program's name, that runs the scenario in `text`, with the flags in
/// `more` behind it.
fn arguments(text: &str, more: &[String]) -> Result<Vec<String>, String> {
    let mut table: Table = text.parse().map_err(|error| format!("{error}"))?;
    let scenario = match table.remove(SCENARIO) {
        Some(Value::String(scenario)) => scenario,
        _ => return Err(format!("a line like {SCENARIO} = \"fanout\" is needed")),
    };
    let mut for_server = match table.remove(SERVER_ARGUMENTS) {
        None => Vec::new(),
        Some(Value::Array(values)) => values
            .iter()
            .map(|value| word(SERVER_ARGUMENTS, value))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(format!("{SERVER_ARGUMENTS} is a list of strings")),
    };
    let command = command(&scenario)?;
    let known = keys(&command);
    if let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(format!(
            "there is no key `{key}` in {scenario}; its keys are {SCENARIO}, {}",
            known.join(", ")
        ));
    }
    let separator = more.iter().position(|word| word == "--");
    let (flags, rest) = more.split_at(separator.unwrap_or(more.len()));
    let excluded = excluded(&command, flags);
    table.retain(|key, _| !excluded.contains(&key));
    if excluded.contains(&SERVER_ARGUMENTS) {
        for_server.clear();
    }
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
    arguments.extend_from_slice(flags);
    if !for_server.is_empty() || !rest.is_empty() {
        arguments.push("--".into());
        arguments.extend(for_server);
        arguments.extend(rest.iter().skip(1).cloned());
    }
    Ok(arguments)
}

/// The command of a scenario.
fn command(scenario: &str) -> Result<Command, String> {
    let cli = Cli::command();
    let is_scenario = |command: &&Command| !NO_SCENARIOS.contains(&command.get_name());
    let scenarios = || cli.get_subcommands().filter(is_scenario);
    let found = scenarios().find(|command| command.get_name() == scenario);
    found.cloned().ok_or_else(|| {
        let names: Vec<&str> = scenarios().map(Command::get_name).collect();
        format!(
            "there is no scenario `{scenario}`; the scenarios are {}",
            names.join(", ")
        )
    })
}

/// The keys of a scenario beside [`SCENARIO`].
fn keys(command: &Command) -> Vec<&str> {
    command.get_arguments().map(key).collect()
}

/// The key of an argument: the name of its flag.
fn key(argument: &Arg) -> &str {
    // What follows `--` has none.
    argument.get_long().unwrap_or(SERVER_ARGUMENTS)
}

/// The keys of what cannot stand on one command line with any of these flags.
fn excluded<'a>(command: &'a Command, flags: &[String]) -> Vec<&'a str> {
    let is_given = |argument: &Arg| {
        let names = flags.iter().filter_map(|word| word.strip_prefix("--"));
        let mut names = names.map(|word| word.split('=').next().unwrap_or(word));
        names.any(|name| argument.get_long() == Some(name))
    };
    let mut excluded = Vec::new();
    for argument in command.get_arguments() {
        let others = command.get_arg_conflicts_with(argument);
        if is_given(argument) {
            excluded.extend(others.into_iter().map(key));
        } else if others.into_iter().any(is_given) {
            excluded.push(key(argument));
        }
    }
    excluded
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
    fn a_flag_replaces_what_excludes_it() {
        let text = "scenario = 'unicast'\nconnections = 5\nflood = true";
        let beside = |text, more: &[&str]| {
            let more: Vec<String> = more.iter().map(ToString::to_string).collect();
            arguments(text, &more).unwrap().join(" ")
        };
        let rate = "unicast --connections=5 --rate 5";
        assert_eq!(beside(text, &["--rate", "5"]), rate);
        let text = "scenario = 'unicast'\nconnections = 5\nrate = 5";
        let flood = "unicast --connections=5 --flood";
        assert_eq!(beside(text, &["--flood"]), flood);
        let text = "scenario = 'idle'\nserver = 'ws'\nworkers = 2\nserver-arguments = ['a']";
        let attached = "idle --attach=x -- b";
        assert_eq!(beside(text, &["--attach=x", "--", "b"]), attached);
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

    #[test]
    fn what_there_is_not_is_named_with_what_there_is() {
        for (text, named, allowed) in [
            ("scenario = 'fan'", "`fan`", "fanout, flood, unicast"),
            ("scenario = 'run'", "`run`", "fanout, flood, unicast"),
            (
                "scenario = 'fanout'\nconections = 5",
                "`conections`",
                "its keys are scenario, connections, rate, deliveries",
            ),
            (
                "scenario = 'fanout'\nserver-argument = ['-v']",
                "`server-argument`",
                "server-arguments",
            ),
            (
                "scenario = 'fanout'\nrate = 'fast'",
                "'fast' for '--rate",
                "a number greater than 0",
            ),
            (
                "scenario = 'fanout'\nexpect = ['speed<1']",
                "`speed`",
                "latency-p99-ms",
            ),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let message = parse(file.path(), &[], "loadtest").unwrap_err();
            assert!(
                message.starts_with(&*file.path().to_string_lossy()),
                "{message}"
            );
            assert!(message.contains(named), "{message}");
            assert!(message.contains(allowed), "{message}");
        }
    }
}
