//! The settings about tokens, and the key files they name.
//!
//! Owns where a secret may come from, and that no message ever repeats one.

use super::error::{ConfigError, Source};
use super::settings::{self, Setting};
use super::sources::{Given, Sources};
use super::values;
use crate::auth::{KeyFile, KeySettings, Secret, SecretsFrom, check_jwks, check_public_keys};
use crate::files;
use crate::limits;

/// The variable that holds the secret itself.
pub(super) const SECRET_ENV: &str = "WS_JWT_SECRET";

/// Reads and checks all key settings. Under `dev` there is always a secret.
pub(super) fn resolve(sources: &Sources<'_>, dev: bool) -> Result<KeySettings, ConfigError> {
    let (mut secrets, mut secrets_from) = secrets(sources)?;
    if secrets.is_empty() && dev {
        let random = Secret::random().map_err(|reason| {
            let source = Source::Flag("dev");
            ConfigError::hidden(&settings::JWT_SECRET_FILE, source, reason)
        })?;
        secrets.push(random);
        secrets_from = SecretsFrom::ThisRun;
    }
    Ok(KeySettings {
        public_keys: public_keys(sources)?,
        jwks: sources.read(&settings::JWKS_FILE, |path| {
            let file = read(path)?;
            check_jwks(&file)?;
            Ok(KeyFile::new(path.into(), file))
        })?,
        issuer: sources.read(&settings::JWT_ISSUER, values::text)?,
        audience: sources.read(&settings::JWT_AUDIENCE, values::text)?,
        leeway: sources.read_or_default(&settings::JWT_LEEWAY, values::timeout)?,
        secrets,
        secrets_from,
    })
}

/// The secrets from the flag's files, else the environment's value or files, else the file's files.
fn secrets(sources: &Sources<'_>) -> Result<(Vec<Secret>, SecretsFrom), ConfigError> {
    let setting = &settings::JWT_SECRET_FILE;
    let value = (sources.env)(SECRET_ENV).filter(|value| !value.is_empty());
    let files_in_env = (sources.env)(setting.env).filter(|path| !path.is_empty());
    if value.is_some() && files_in_env.is_some() {
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
    match (value, given) {
        (Some(value), _) if !from_flag => {
            let secret = Secret::new(value.into_bytes()).map_err(|reason| {
                ConfigError::hidden(setting, Source::Environment(SECRET_ENV), reason)
            })?;
            Ok((vec![secret], SecretsFrom::Environment))
        }
        (_, Some(Given { source, texts })) => {
            check_count(setting, &source, texts.len())?;
            let secret = |path: &String| secret_in(path, &source);
            let secrets = texts.iter().map(secret).collect::<Result<_, _>>()?;
            Ok((secrets, SecretsFrom::Files))
        }
        _ => Ok((Vec::new(), SecretsFrom::Files)),
    }
}

fn secret_in(path: &str, source: &Source) -> Result<Secret, ConfigError> {
    let setting = &settings::JWT_SECRET_FILE;
    let wrong = |reason: String| {
        // What has no slash may be a secret that was put into the wrong variable.
        if path.contains('/') {
            ConfigError::value(setting, source.clone(), path, reason)
        } else {
            ConfigError::hidden(setting, source.clone(), reason)
        }
    };
    let mut bytes = read(path).map_err(wrong)?;
    cut_newline(&mut bytes);
    Secret::new(bytes).map_err(wrong)
}

fn public_keys(sources: &Sources<'_>) -> Result<Vec<KeyFile>, ConfigError> {
    let setting = &settings::JWT_PUBLIC_KEY;
    let Some(Given { source, texts }) = sources.given(setting)? else {
        return Ok(Vec::new());
    };
    let mut count = 0;
    let file = |path: &String| -> Result<KeyFile, ConfigError> {
        let blame = |why| ConfigError::value(setting, source.clone(), path, why);
        let bytes = read(path).map_err(blame)?;
        count += check_public_keys(&bytes).map_err(blame)?;
        Ok(KeyFile::new(path.into(), bytes))
    };
    let files = texts.iter().map(file).collect::<Result<_, _>>()?;
    check_count(setting, &source, count)?;
    Ok(files)
}

/// Keys without a name are tried one after the other, so there are few of them; and a list that is
/// there is not empty.
fn check_count(setting: &Setting, source: &Source, count: usize) -> Result<(), ConfigError> {
    match count {
        0 => Err(ConfigError::empty_list(setting, source.clone())),
        _ if count <= limits::NAMELESS_KEYS_MAX => Ok(()),
        _ => {
            let reason = format!(
                "there are {count} keys, and at most {} may be valid at once",
                limits::NAMELESS_KEYS_MAX
            );
            Err(ConfigError::hidden(setting, source.clone(), reason))
        }
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    files::read(path.as_ref()).map_err(|error| format!("the file cannot be read: {error}"))
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
