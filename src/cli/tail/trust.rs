//! Whom `tail` trusts.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::tls::{Stream, provider};

/// How TLS connections are made, and to whom.
pub(super) struct Trust {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    /// Trusts servers that show a certificate for `host` of an authority in the file `ca`, or of one
    /// that this system trusts.
    ///
    /// # Errors
    /// A sentence, if there is no authority, or the host can have no certificate.
    pub(super) fn new(host: &str, ca: Option<&Path>) -> Result<Trust, String> {
        let roots = match ca {
            Some(path) => of_file(path).map_err(|why| format!("--ca {}: {why}", path.display()))?,
            None => of_system()?,
        };
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is no name that a certificate can be for"))?;
        Ok(Trust {
            config: Arc::new(config),
            name,
        })
    }

    /// The handshake on a connection just made.
    ///
    /// # Errors
    /// If it fails; [`certificate_fault`] tells whether by the certificate.
    pub(super) fn secure(&self, socket: TcpStream) -> io::Result<Stream> {
        Stream::secure(Arc::clone(&self.config), self.name.clone(), socket)
    }
}

/// What is wrong with the certificate that the server has shown, if that is what failed.
pub(super) fn certificate_fault(error: &io::Error) -> Option<&rustls::Error> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    matches!(error, rustls::Error::InvalidCertificate(_)).then_some(error)
}

fn of_file(path: &Path) -> Result<RootCertStore, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("the file cannot be read: {error}"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate =
            certificate.map_err(|error| format!("it is no good PEM file: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("a certificate in it cannot be used: {error}"))?;
    }
    if roots.is_empty() {
        return Err("it holds no certificate; it must be a PEM file with those to trust".into());
    }
    Ok(roots)
}

fn of_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // One that is no good leaves the others as good as they are.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})"));
        return Err(format!(
            "this system has no certificates to trust{}; name a file of them with --ca",
            why.unwrap_or_default()
        ));
    }
    Ok(roots)
}
