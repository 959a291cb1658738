//! Log lines: how they look, and which are written.
//!
//! Started by `cli::serve`; the level is changed by the router, on an operator's word. Lines go to
//! stderr. What one is about stands in *fields* (`connection`, `worker`, `ip`, …), by the same names in
//! every line, and the message says what happened. No line holds a token, a payload, a user's id or
//! anything else of a person but an address: a `user` is a hash that leads nobody back.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use env_logger::fmt::Formatter;
use env_logger::{Builder, Env, Logger};
use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use serde_json::{Map, json};

use crate::config::LogFormat;

/// Names that an operator gives levels, and what they are; the last is how the server was started.
pub const LEVELS: [(&str, Option<LevelFilter>); 6] = [
    ("off", Some(LevelFilter::Off)),
    ("error", Some(LevelFilter::Error)),
    ("warn", Some(LevelFilter::Warn)),
    ("info", Some(LevelFilter::Info)),
    ("debug", Some(LevelFilter::Debug)),
    ("default", None),
];

/// The level that an operator has set; [`AS_STARTED`] while none has.
static LEVEL: AtomicUsize = AtomicUsize::new(AS_STARTED);
const AS_STARTED: usize = usize::MAX;

/// The process's logger, once it is started.
static SWITCH: OnceLock<Switch> = OnceLock::new();

/// Writes what RUST_LOG wants, or what the operator does.
struct Switch {
    as_started: Logger,
    /// Leaves nothing out.
    everything: Logger,
}

/// Begins to log: RUST_LOG says what, `info` and up by default.
pub fn start(format: LogFormat) {
    let switch = SWITCH.get_or_init(|| Switch {
        as_started: logger(
            format,
            Builder::from_env(Env::default().default_filter_or("info")),
        ),
        everything: logger(format, {
            let mut builder = Builder::new();
            builder.filter_level(LevelFilter::Trace);
            builder
        }),
    });
    if log::set_logger(switch).is_ok() {
        log::set_max_level(switch.as_started.filter());
    }
}

/// From now on lines of this level and above are written, whatever RUST_LOG says; `None`: what it says.
pub fn set_level(level: Option<LevelFilter>) {
    LEVEL.store(
        level.map_or(AS_STARTED, |level| level as usize),
        Ordering::Relaxed,
    );
    let as_started = || {
        SWITCH
            .get()
            .map_or(LevelFilter::Info, |it| it.as_started.filter())
    };
    log::set_max_level(level.unwrap_or_else(as_started));
}

impl Switch {
    fn now(&self) -> &Logger {
        match LEVEL.load(Ordering::Relaxed) {
            AS_STARTED => &self.as_started,
            // `log` itself looks at the level before it comes here.
            _ => &self.everything,
        }
    }
}

impl Log for Switch {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && self.now().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.now().log(record);
        }
    }

    fn flush(&self) {
        self.now().flush();
    }
}

fn logger(format: LogFormat, mut builder: Builder) -> Logger {
    match format {
        LogFormat::Text => builder.format_key_values(|out, fields| {
            fields.visit(&mut Text(out)).map_err(io::Error::other)
        }),
        LogFormat::Json => builder.format(|out, record| {
            let time = out.timestamp_millis().to_string();
            writeln!(out, "{}", json_line(&time, record))
        }),
    };
    builder.build()
}

/// A line as one JSON object.
fn json_line(time: &str, record: &Record<'_>) -> serde_json::Value {
    let mut line = Map::new();
    // A value that cannot be shown is no reason to lose the line.
    record.key_values().visit(&mut Json(&mut line)).ok();
    let own = [
        ("time", json!(time)),
        ("level", json!(record.level().as_str().to_ascii_lowercase())),
        ("target", json!(record.target())),
        ("message", json!(record.args().to_string())),
    ];
    for (name, value) in own {
        let before = line.insert(name.to_owned(), value);
        debug_assert!(before.is_none(), "{name} is a line's own");
    }
    line.into()
}

/// Fields behind a text line: ` name=value`; what has spaces or signs in quotes.
struct Text<'f>(&'f mut Formatter);

impl<'kvs> VisitSource<'kvs> for Text<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let value = value.to_string();
        if is_absent(&value) {
            return Ok(());
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/[]".contains(c);
        if value.chars().all(is_plain) {
            write!(self.0, " {key}={value}")?;
        } else {
            write!(self.0, " {key}={value:?}")?;
        }
        Ok(())
    }
}

/// Fields into a JSON object: numbers and truths as such, all else as text.
struct Json<'m>(&'m mut Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Json<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let json = if let Some(number) = value.to_u64() {
            number.into()
        } else if let Some(number) = value.to_i64() {
            number.into()
        } else if let Some(number) = value.to_f64() {
            number.into()
        } else if let Some(truth) = value.to_bool() {
            truth.into()
        } else {
            let text = value.to_string();
            if is_absent(&text) {
                return Ok(());
            }
            text.into()
        };
        self.0.insert(key.to_string(), json);
        Ok(())
    }
}

/// A field that a line does not have this time is given empty.
fn is_absent(value: &str) -> bool {
    value.is_empty()
}

/// A figure as it stands in a line: to three digits behind the point.
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_line_has_its_fields_beside_what_every_line_has() {
        let fields = [
            ("connection", Value::from("c1")),
            ("worker", Value::from(2_usize)),
            ("p99_ms", Value::from(0.25)),
            ("field", Value::from("")),
            ("odd", Value::from("a \"b\"\n")),
        ];
        let record = Record::builder()
            .args(format_args!("something \"happened\""))
            .level(log::Level::Warn)
            .target("shopwire::here")
            .key_values(&fields)
            .build();
        let expected = json!({
            "time": "now", "level": "warn", "target": "shopwire::here",
            "message": "something \"happened\"",
            "connection": "c1", "worker": 2, "p99_ms": 0.25, "odd": "a \"b\"\n",
        });
        assert_eq!(json_line("now", &record), expected);
    }

    #[test]
    fn levels_have_names_of_their_own() {
        let mut names = LEVELS.map(|(name, _)| name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
        for (name, level) in LEVELS {
            if let Some(level) = level {
                assert_eq!(level.as_str().to_ascii_lowercase(), name);
            }
        }
    }
}
