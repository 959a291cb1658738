//! A certificate chain and its key, from PEM files.
//!
//! Owns what such files may hold, and the sentences about those that don't. Called by `config` at
//! start and by the router's reload.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore};
use zeroize::Zeroizing;

use super::provider;
use crate::files;

/// Where the certificate chain and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The server's certificate first, then those that lead to its authority.
    pub cert: PathBuf,
    /// The key of the first one: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Which file is no good, and why: a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The certificate chain.
    Cert(String),
    /// The key.
    Key(String),
}

/// What the server shows to browsers, checked: the key belongs to the certificate.
#[derive(Clone)]
pub struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
}

impl Identity {
    /// Reads both files.
    ///
    /// # Errors
    /// The first file that is no good.
    pub fn load(files: &Files) -> Result<Identity, Fault> {
        let unreadable = |error: std::io::Error| format!("the file cannot be read: {error}");
        let cert = files::read(&files.cert).map_err(|error| Fault::Cert(unreadable(error)))?;
        let key = files::read(&files.key).map_err(|error| Fault::Key(unreadable(error)))?;
        let key = Zeroizing::new(key);
        let chain = chain(&cert).map_err(Fault::Cert)?;
        let key = private_key(&key).map_err(Fault::Key)?;
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(fault_of)?;
        Ok(Identity {
            certified: Arc::new(certified),
        })
    }

    /// What browsers will not like about the certificate's time, if so: a sentence.
    pub fn untimely(&self, now_ms: u64) -> Option<String> {
        match self.fault_at(Duration::from_millis(now_ms))? {
            CertificateError::ExpiredContext { not_after, .. } => {
                Some(format!("the certificate ended at {}", date(not_after)))
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                Some(format!("the certificate begins at {}", date(not_before)))
            }
            _ => None,
        }
    }

    /// When the certificate ends, in seconds since 1970.
    pub fn ends_at(&self) -> Option<u64> {
        // Seen from behind the last moment that a certificate can name, each has ended.
        match self.fault_at(YEAR_10000)? {
            CertificateError::ExpiredContext { not_after, .. } => Some(not_after.as_secs()),
            _ => None,
        }
    }

    /// What is wrong with the certificate at a moment, told by the time since 1970.
    fn fault_at(&self, since_1970: Duration) -> Option<CertificateError> {
        let (leaf, others) = self.certified.cert.split_first()?;
        let leaf = ParsedCertificate::try_from(leaf).ok()?;
        // Without an authority none is found good, but its time is looked at before that.
        let judged = verify_server_cert_signed_by_trust_anchor(
            &leaf,
            &RootCertStore::empty(),
            others,
            UnixTime::since_unix_epoch(since_1970),
            provider().signature_verification_algorithms.all,
        );
        match judged {
            Err(Error::InvalidCertificate(error)) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates)", self.certified.cert.len())
    }
}

/// Since 1970. A certificate's time has four digits for the year (RFC 5280 section 4.1.2.5).
const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);

/// The certificates of a PEM file, in its order.
fn chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(broken_pem)?;
    if chain.is_empty() {
        return Err(format!(
            "it holds no certificate; it must be a PEM file with the server's CERTIFICATE, and those that \
             lead to its authority behind it{}",
            found(bytes)
        ));
    }
    for (index, certificate) in chain.iter().enumerate() {
        ParsedCertificate::try_from(certificate)
            .map_err(|error| format!("its certificate {} cannot be read: {error}", index + 1))?;
    }
    Ok(chain)
}

/// The one key of a PEM file.
fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if has_label(bytes, "ENCRYPTED PRIVATE KEY") => Err(
            "its key is encrypted; take the password away (openssl pkey -in FILE -out FILE) and let only \
             the server's user read it"
                .into(),
        ),
        Err(pem::Error::NoItemsFound) => Err(format!(
            "it holds no key; it must be a PEM file with a PRIVATE KEY, an RSA PRIVATE KEY or an EC PRIVATE \
             KEY{}",
            found(bytes)
        )),
        Err(error) => Err(broken_pem(error)),
    }
}

fn broken_pem(error: pem::Error) -> String {
    format!("it is no good PEM file: {error}")
}

/// What is in the file instead, as far as that helps.
fn found(bytes: &[u8]) -> &'static str {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        "; it is empty"
    } else if has_label(bytes, "PRIVATE KEY") {
        "; there is a key in it"
    } else if has_label(bytes, "CERTIFICATE") {
        "; there is a certificate in it"
    } else {
        ""
    }
}

fn has_label(bytes: &[u8], label: &str) -> bool {
    let end = format!("{label}-----");
    memchr::memmem::find(bytes, end.as_bytes()).is_some()
}

/// Whose fault it is that the two make no identity.
fn fault_of(error: Error) -> Fault {
    match error {
        Error::InconsistentKeys(_) => Fault::Key(
            "it is not the key of the certificate in tls-cert; the server's own certificate must be \
             the first one there"
                .into(),
        ),
        Error::InvalidCertificate(error) => {
            Fault::Cert(format!("its first certificate cannot be used: {error}"))
        }
        _ => Fault::Key(
            "its key cannot be used; it must be an RSA key of 2048 to 8192 bits, an ECDSA key on P-256, \
             P-384 or P-521, or an Ed25519 key"
                .into(),
        ),
    }
}

fn date(time: UnixTime) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time.as_secs())).to_string()
}
