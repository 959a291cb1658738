//! What can be wrong with a configuration, each with the sentence the operator reads.

use std::fmt;
use std::path::PathBuf;

use super::settings::Setting;

/// The most characters of a wrong value that a message repeats.
const SHOWN_MAX_CHARS: usize = 80;

/// Why there is no [`Config`](super::Config).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A setting has a value it may not have.
    Value {
        /// The setting's name, or its place in the file (`access.orders`).
        setting: String,
        /// Where the value was given.
        source: Source,
        /// The value; left out where it could be a secret.
        value: Option<String>,
        /// What is wrong with it, or what is allowed.
        reason: String,
    },
    /// The file has a key that is no setting.
    UnknownKey {
        /// The file.
        file: PathBuf,
        /// The key, with its table.
        key: String,
        /// The key that was probably meant.
        nearest: Option<String>,
    },
    /// The file cannot be read, or is not TOML.
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// Both `WS_JWT_SECRET` and `WS_JWT_SECRET_FILE` are set.
    SecretTwice,
    /// Only one of `tls-cert` and `tls-key` is given.
    HalfTls {
        /// The one that is given.
        given: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// No key is configured, and `--dev` is not given.
    NoKey,
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// As a flag.
    Flag(&'static str),
    /// In this environment variable.
    Environment(&'static str),
    /// In this file.
    File(PathBuf),
}

impl ConfigError {
    /// A wrong value of `setting`; `value` is shown, so it must not be a secret.
    pub(super) fn value(setting: &Setting, source: Source, value: &str, reason: String) -> Self {
        let value = Some(value.to_owned());
        ConfigError::Value {
            setting: setting.name.into(),
            source,
            value,
            reason,
        }
    }

    /// A list without items, which says neither all nor none.
    pub(super) fn empty_list(setting: &Setting, source: Source) -> Self {
        let reason = "the list is empty; name at least one, or leave the setting out";
        ConfigError::hidden(setting, source, reason.into())
    }

    /// Like [`ConfigError::value`], without the value.
    pub(super) fn hidden(setting: &Setting, source: Source, reason: String) -> Self {
        ConfigError::Value {
            setting: setting.name.into(),
            source,
            value: None,
            reason,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Value {
                setting,
                source,
                value: Some(value),
                reason,
            } => {
                write!(f, "{setting} = {} (from {source}): {reason}", shown(value))
            }
            ConfigError::Value {
                setting,
                source,
                value: None,
                reason,
            } => {
                write!(f, "{setting} (from {source}): {reason}")
            }
            ConfigError::UnknownKey { file, key, nearest } => {
                write!(f, "{}: there is no setting {}", file.display(), shown(key))?;
                match nearest {
                    Some(nearest) => write!(f, "; did you mean {nearest:?}?"),
                    None => f.write_str("; `shopwire serve --help` lists them all"),
                }
            }
            ConfigError::File { file, reason } => write!(f, "{}: {reason}", file.display()),
            ConfigError::SecretTwice => f.write_str(
                "WS_JWT_SECRET and WS_JWT_SECRET_FILE are both set: only one of them is allowed",
            ),
            ConfigError::HalfTls { given, missing } => write!(
                f,
                "{given} is given and {missing} is not: TLS needs both, the certificate and its key"
            ),
            ConfigError::NoKey => f.write_str(
                "jwt-secret-file is missing: there is no key to check tokens with. Give \
                 --jwt-secret-file FILE (or set WS_JWT_SECRET_FILE, or WS_JWT_SECRET to the secret \
                 itself), --jwt-public-key FILE or --jwks-file FILE; or start with --dev to try \
                 things out",
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(name) => write!(f, "--{name}"),
            Source::Environment(name) => f.write_str(name),
            Source::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A value in quotes, with control characters escaped, cut if long.
fn shown(value: &str) -> String {
    match value.char_indices().nth(SHOWN_MAX_CHARS) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}
