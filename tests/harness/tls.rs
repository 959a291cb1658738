//! TLS as browsers speak it: an authority of the test's own, the certificates that it signs, and
//! clients that trust it alone.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use tempfile::TempDir;

use super::client::tcp;
use super::http::{Connection, Response};
use super::{Client, Opening, Server, Setup};

/// A TLS connection of a client.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// An authority, and the files with the certificate that a server shows.
pub struct Certificates {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    dir: TempDir,
    pub cert: PathBuf,
    pub key: PathBuf,
    /// The authority's own certificate.
    pub authority: PathBuf,
}

impl Certificates {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let authority = dir.path().join("authority.pem");
        std::fs::write(&authority, root.pem()).unwrap();
        let made = Self {
            root: root.der().clone(),
            issuer: Issuer::new(params, key),
            cert: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
            authority,
            dir,
        };
        made.renew();
        made
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Puts a new certificate, with a new key, in the files' place.
    pub fn renew(&self) {
        self.renew_with(|_| {});
    }

    pub fn renew_with(&self, change: impl FnOnce(&mut CertificateParams)) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(&self.cert, cert.pem()).unwrap();
        std::fs::write(&self.key, key.serialize_pem()).unwrap();
    }

    /// A server's settings with this certificate and these arguments.
    pub fn setup(&self, args: &[&str]) -> Setup {
        let (cert, key) = (self.cert.display(), self.key.display());
        let own = [format!("--tls-cert={cert}"), format!("--tls-key={key}")];
        let own = own.iter().map(String::as_str);
        Setup::new(&own.chain(args.iter().copied()).collect::<Vec<_>>())
    }

    pub fn serve(&self, args: &[&str]) -> Server {
        self.setup(args).start()
    }

    /// A browser: it resumes where it has been before.
    pub fn browser(&self) -> Browser {
        self.browser_of(&[&TLS13, &TLS12], &["http/1.1"])
    }

    pub fn browser_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Browser {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Browser(Arc::new(config))
    }
}

/// A client that trusts the authority, and remembers its sessions.
pub struct Browser(Arc<ClientConfig>);

impl Browser {
    /// A client's side that has not said anything.
    pub fn session(&self) -> ClientConnection {
        let name = ServerName::try_from("localhost").unwrap();
        ClientConnection::new(Arc::clone(&self.0), name).unwrap()
    }

    /// The handshake on this connection.
    pub fn secure(&self, mut tcp: TcpStream) -> std::io::Result<Stream> {
        let mut session = self.session();
        while session.is_handshaking() {
            session.complete_io(&mut tcp)?;
        }
        Ok(StreamOwned::new(session, tcp))
    }

    /// A connection whose handshake is done.
    pub fn dial(&self, server: &Server) -> Stream {
        self.secure(tcp(server.address, None)).unwrap()
    }

    /// A WebSocket, welcomed.
    pub fn connect(&self, server: &Server, opening: Opening) -> Client<Stream> {
        let stream = self
            .secure(tcp(server.address, opening.receives()))
            .unwrap();
        Client::over(stream, server.address, opening).unwrap()
    }

    pub fn public(&self, server: &Server) -> Client<Stream> {
        self.connect(server, Opening::new())
    }

    pub fn get(&self, server: &Server, path: &str, headers: &[&str]) -> Response {
        let mut connection = Connection::over(self.dial(server));
        let more: String = headers.iter().map(|line| format!("\r\n{line}")).collect();
        let host = server.address;
        connection.send(
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close{more}\r\n\r\n")
                .as_bytes(),
        );
        connection.response(false)
    }

    pub fn stats(&self, server: &Server) -> serde_json::Value {
        self.get(server, "/api/ws/stats", &[]).json()
    }
}

/// The certificate that the server has shown.
pub fn shown(stream: &Stream) -> CertificateDer<'static> {
    stream.conn.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}
