//! The settings about tokens, and the key files they name.
//!
//! Owns where a secret may come from, and that no message ever repeats one.

use std::path::PathBuf;

use super::error::{ConfigError, Source};
use super::settings::{self, Setting};
use super::sources::{Given, Sources};
use super::values;
use crate::auth::{KeySettings, Secret, check_jwks, check_public_key};

/// The variable that holds the secret itself.
const SECRET_ENV: &str = "WS_JWT_SECRET";

/// Reads and checks all key settings. Under `dev` there is always a secret.
pub(super) fn resolve(sources: &Sources<'_>, dev: bool) -> Result<KeySettings, ConfigError> {
    let mut secret = secret(sources)?;
    if secret.is_none() && dev {
        let random = Secret::random().map_err(|reason| {
            let source = Source::Flag("dev");
            ConfigError::hidden(&settings::JWT_SECRET_FILE, source, reason)
        })?;
        secret = Some(random);
    }
    Ok(KeySettings {
        secret,
        public_key_pem: key_file(sources, &settings::JWT_PUBLIC_KEY, check_public_key)?,
        jwks: key_file(sources, &settings::JWKS_FILE, check_jwks)?,
        issuer: sources.read(&settings::JWT_ISSUER, values::text)?,
        audience: sources.read(&settings::JWT_AUDIENCE, values::text)?,
        leeway: sources.read_or_default(&settings::JWT_LEEWAY, values::timeout)?,
    })
}

/// The secret from the flag's file, else the environment's value or file, else the file's file.
fn secret(sources: &Sources<'_>) -> Result<Option<Secret>, ConfigError> {
    let setting = &settings::JWT_SECRET_FILE;
    let value = (sources.env)(SECRET_ENV).filter(|value| !value.is_empty());
    let file_in_env = (sources.env)(setting.env).filter(|path| !path.is_empty());
    if value.is_some() && file_in_env.is_some() {
        return Err(ConfigError::SecretTwice);
    }
    let given = sources.given(setting)?;
    let from_flag = matches!(
        given,
        Some(Given {
            source: Source::Flag(_),
            ..
        })
    );
    let (source, bytes) = match (value, given) {
        (Some(value), _) if !from_flag => (Source::Environment(SECRET_ENV), value.into_bytes()),
        (_, Some(Given { source, texts })) => {
            let path = texts.concat();
            let mut bytes = std::fs::read(&path).map_err(|error| {
                let reason = format!("the file cannot be read: {error}");
                // What has no slash may be a secret that was put into the wrong variable.
                if path.contains('/') {
                    ConfigError::value(setting, source.clone(), &path, reason)
                } else {
                    ConfigError::hidden(setting, source.clone(), reason)
                }
            })?;
            cut_newline(&mut bytes);
            (source, bytes)
        }
        _ => return Ok(None),
    };
    Secret::new(bytes)
        .map(Some)
        .map_err(|reason| ConfigError::hidden(setting, source, reason))
}

/// Editors end a file with a newline that is no part of the secret.
fn cut_newline(bytes: &mut Vec<u8>) {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
}

fn key_file(
    sources: &Sources<'_>,
    setting: &'static Setting,
    check: fn(&[u8]) -> Result<(), String>,
) -> Result<Option<(PathBuf, Vec<u8>)>, ConfigError> {
    sources.read(setting, |path| {
        let bytes =
            std::fs::read(path).map_err(|error| format!("the file cannot be read: {error}"))?;
        check(&bytes)?;
        Ok((PathBuf::from(path), bytes))
    })
}
