//! The settings about TLS, and the files they name.

use super::error::ConfigError;
use super::settings::{TLS_CERT, TLS_KEY};
use super::sources::Sources;
use super::values;
use crate::tls::{Fault, Files, Identity};

/// The certificate that the port shows.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Where it is from, and read from again.
    pub files: Files,
    /// What was there at start.
    pub identity: Identity,
}

impl TlsSettings {
    /// What browsers will not like about the certificate's time, if so: a sentence with its file.
    pub fn untimely(&self, now_ms: u64) -> Option<String> {
        let what = self.identity.untimely(now_ms)?;
        Some(format!("{}: {what}", self.files.cert.display()))
    }
}

/// Reads and checks both files, if they are given.
pub(super) fn resolve(sources: &Sources<'_>) -> Result<Option<TlsSettings>, ConfigError> {
    let cert = sources.read(&TLS_CERT, values::file)?;
    let key = sources.read(&TLS_KEY, values::file)?;
    let half = |given, missing| Err(ConfigError::HalfTls { given, missing });
    let files = match (cert, key) {
        (None, None) => return Ok(None),
        (Some(_), None) => return half(TLS_CERT.name, TLS_KEY.name),
        (None, Some(_)) => return half(TLS_KEY.name, TLS_CERT.name),
        (Some(cert), Some(key)) => Files { cert, key },
    };
    let wrong = |setting, reason: String| sources.read(setting, |_| Err::<(), _>(reason.clone()));
    match Identity::load(&files) {
        Ok(identity) => Ok(Some(TlsSettings { files, identity })),
        Err(Fault::Cert(reason)) => wrong(&TLS_CERT, reason).map(|_| None),
        Err(Fault::Key(reason)) => wrong(&TLS_KEY, reason).map(|_| None),
    }
}
