//! The TOML file: read, checked for keys that are no settings, and asked for texts.
//!
//! Owns the file's form; what its tables mean is in `tables`.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::error::{ConfigError, Source};
use super::settings::{self, Setting, Shape};
use crate::access::Namespace;
use crate::files;

/// The tables beside the settings.
pub(super) const ACCESS: &str = "access";
pub(super) const ORDERS: &str = "orders";
pub(super) const EMITTERS: &str = "emitters";

/// A configuration file whose keys are all known.
#[derive(Clone, Debug)]
pub struct File {
    pub(super) path: PathBuf,
    pub(super) table: Table,
}

impl File {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// It cannot be read, is not TOML, or has a key that is no setting.
    pub fn read(path: &Path) -> Result<File, ConfigError> {
        let unreadable = |error: &dyn Display| ConfigError::File {
            file: path.to_owned(),
            reason: format!("the configuration file cannot be read: {error}"),
        };
        let bytes = files::read(path).map_err(|error| unreadable(&error))?;
        let text = String::from_utf8(bytes).map_err(|_| unreadable(&"it is not UTF-8"))?;
        File::parse(path, &text)
    }

    /// Parses a file's text; `path` is for messages.
    ///
    /// # Errors
    /// It is not TOML, or has a key that is no setting.
    pub fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
        // The library's own message repeats the line, and a misplaced secret with it.
        let table = text.parse::<Table>().map_err(|error| {
            let before = error
                .span()
                .and_then(|span| text.get(..span.start))
                .unwrap_or("");
            let line = before.matches('\n').count() + 1;
            let reason = format!("line {line} is not valid TOML: {}", error.message());
            ConfigError::File {
                file: path.to_owned(),
                reason,
            }
        })?;
        let file = File {
            path: path.to_owned(),
            table,
        };
        let names = settings::ALL.iter().map(|setting| setting.name);
        let known: Vec<&str> = names.chain([ACCESS, EMITTERS, ORDERS]).collect();
        match file.table.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) if Namespace::parse(key).is_some() => Err(file.stray_row(key)),
            Some(key) => Err(file.unknown_key("", key, &known)),
            None => Ok(file),
        }
    }

    /// The texts of a setting's value: one, or as many as the list has.
    pub(super) fn texts(&self, setting: &Setting) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(value) = self.table.get(setting.name) else {
            return Ok(None);
        };
        let wrong = |expected: &str| {
            let source = Source::File(self.path.clone());
            ConfigError::hidden(setting, source, format!("must be {expected}"))
        };
        let strings = |items: &[Value]| -> Option<Vec<String>> {
            let string = |item: &Value| item.as_str().map(str::to_owned);
            items.iter().map(string).collect()
        };
        match (setting.shape, value) {
            (Shape::List, Value::Array(items)) => strings(items)
                .map(Some)
                .ok_or_else(|| wrong("an array of strings")),
            (Shape::List, _) => Err(wrong("an array of strings")),
            (Shape::Files, Value::String(path)) => Ok(Some(vec![path.clone()])),
            (Shape::Files, Value::Array(items)) => strings(items)
                .map(Some)
                .ok_or_else(|| wrong("a string, or an array of strings")),
            (Shape::Files, _) => Err(wrong("a string, or an array of strings")),
            (Shape::Switch, Value::Boolean(on)) => Ok(Some(vec![on.to_string()])),
            (Shape::Switch, _) => Err(wrong("true or false")),
            (Shape::One, Value::String(text)) => Ok(Some(vec![text.clone()])),
            (Shape::One, Value::Integer(number)) => Ok(Some(vec![number.to_string()])),
            (Shape::One, _) => Err(wrong("a string or a whole number")),
        }
    }

    /// The error for a key that is none of `known`, with the one that was probably meant.
    pub(super) fn unknown_key(&self, table: &str, key: &str, known: &[&str]) -> ConfigError {
        let in_table = |key: &str| match table {
            "" => key.to_owned(),
            table => format!("{table}.{key}"),
        };
        let nearest = known
            .iter()
            .map(|name| (strsim::damerau_levenshtein(key, name), *name))
            .filter(|(distance, name)| distance * 3 <= name.len())
            .min()
            .map(|(_, name)| in_table(name));
        ConfigError::UnknownKey {
            file: self.path.clone(),
            key: in_table(key),
            nearest,
        }
    }
}
