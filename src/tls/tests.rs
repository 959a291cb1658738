#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, date_time_ymd};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;

use super::*;
use crate::limits;

struct Made {
    dir: TempDir,
    files: Files,
    roots: RootCertStore,
}

fn made(change: impl FnOnce(&mut CertificateParams)) -> Made {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    let cert = params.self_signed(&key).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let files = Files {
        cert: dir.path().join("cert.pem"),
        key: dir.path().join("key.pem"),
    };
    std::fs::write(&files.cert, cert.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    Made { dir, files, roots }
}

fn client(made: &Made, version: &'static SupportedProtocolVersion) -> ClientConnection {
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(made.roots.clone())
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// Both ends of one connection, and what each has been told.
struct Pair {
    client: ClientConnection,
    session: Session,
    heard: Vec<u8>,
    output: Output,
}

impl Pair {
    fn new(made: &Made, version: &'static SupportedProtocolVersion) -> Self {
        let identity = Identity::load(&made.files).unwrap();
        Self {
            client: client(made, version),
            session: Session::new(&acceptor(&identity).unwrap()).unwrap(),
            heard: Vec::new(),
            output: Output::default(),
        }
    }

    /// What the client has to send.
    fn sealed(&mut self) -> Vec<u8> {
        let mut sealed = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut sealed).unwrap();
        }
        sealed
    }

    fn receive(&mut self, sealed: &mut [u8]) -> Result<Received, rustls::Error> {
        self.session
            .receive(sealed, &mut self.heard, &mut self.output)
    }

    /// Brings what the session has written to the client.
    fn deliver(&mut self) {
        let mut bytes = self.output.bytes();
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).unwrap();
            self.client.process_new_packets().unwrap();
        }
        self.output.clear();
    }

    /// Passes everything on, in pieces of so many bytes, until nobody has more to say.
    fn exchange(&mut self, piece: usize) {
        loop {
            let mut sealed = self.sealed();
            if sealed.is_empty() {
                return;
            }
            for piece in sealed.chunks_mut(piece) {
                self.receive(piece).unwrap();
                self.deliver();
            }
        }
    }

    fn said(&mut self, length: usize) -> Vec<u8> {
        let mut said = vec![0; length];
        self.client.reader().read_exact(&mut said).unwrap();
        said
    }
}

#[test]
fn bytes_pass_both_ways_however_they_are_cut() {
    let made = made(|_| {});
    let long: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    for version in [&TLS12, &TLS13] {
        for piece in [1, 7, 1000, usize::MAX] {
            let mut pair = Pair::new(&made, version);
            pair.exchange(piece);
            assert!(!pair.session.is_handshaking() && !pair.session.is_resumed());
            let mut rest = &long[..];
            while !rest.is_empty() {
                let taken = pair.client.writer().write(rest).unwrap();
                rest = &rest[taken..];
                pair.exchange(piece);
            }
            assert_eq!(pair.heard, long);
            assert_eq!(pair.session.kept(), 0, "whole records leave nothing behind");
            for part in long.chunks(16 * 1024 + 1) {
                pair.session.seal(part, &mut pair.output).unwrap();
                pair.deliver();
                assert_eq!(pair.said(part.len()), part);
            }
        }
    }
}

/// The sum in `limits.rs` counts on it.
#[test]
fn a_session_is_small() {
    assert!(size_of::<Session>() <= 1200, "{}", size_of::<Session>());
}

#[test]
fn a_goodbye_is_said_and_heard() {
    let made = made(|_| {});
    let mut pair = Pair::new(&made, &TLS13);
    assert!(
        pair.session.say_goodbye(&mut pair.output).is_err(),
        "nobody is there yet"
    );
    pair.exchange(usize::MAX);
    pair.session.say_goodbye(&mut pair.output).unwrap();
    let mut bytes = pair.output.bytes();
    pair.client.read_tls(&mut bytes).unwrap();
    assert!(pair.client.process_new_packets().unwrap().peer_has_closed());

    pair.client.writer().write_all(b"last words").unwrap();
    pair.client.send_close_notify();
    let mut sealed = pair.sealed();
    sealed.extend_from_slice(&[0; 100_000]);
    assert!(pair.receive(&mut sealed).unwrap().closed);
    assert_eq!(pair.heard, b"last words");
}

/// A handshake message may be cut in two by a client, after the handshake, too; that the server
/// sends meanwhile must not disturb what is kept of it.
#[test]
fn sending_while_a_record_is_cut_off_disturbs_nothing() {
    let made = made(|_| {});
    let mut pair = Pair::new(&made, &TLS13);
    pair.exchange(usize::MAX);
    pair.client.writer().write_all(b"hello").unwrap();
    pair.client.refresh_traffic_keys().unwrap();
    pair.client.writer().write_all(b" again").unwrap();
    let mut sealed = pair.sealed();
    for piece in sealed.chunks_mut(1) {
        pair.receive(piece).unwrap();
        pair.session.seal(b"x", &mut pair.output).unwrap();
        pair.deliver();
        assert_eq!(pair.said(1), b"x");
    }
    assert_eq!(pair.heard, b"hello again");
}

#[test]
fn garbage_is_an_error_with_an_alert() {
    let made = made(|_| {});
    let mut pair = Pair::new(&made, &TLS13);
    let mut garbage = *b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00";
    assert!(pair.receive(&mut garbage).is_err());
    assert_eq!(
        pair.output.bytes()[0],
        21,
        "an alert: {:?}",
        pair.output.bytes()
    );

    let mut pair = Pair::new(&made, &TLS12);
    pair.exchange(usize::MAX);
    let mut forged = [&[23, 3, 3, 0, 40][..], &[7; 40]].concat();
    assert!(pair.receive(&mut forged).is_err());
}

/// Whatever was begun when it failed, what follows is an error, and nothing worse.
#[test]
fn a_failed_session_is_left_alone() {
    let made = made(|_| {});
    // The beginning of a message, and then a record that must not come between.
    let begun = [&[22, 3, 1, 0, 8, 1, 0, 1, 0][..], &[0; 4]].concat();
    for between in [&[21, 3, 1, 0, 2, 2, 0][..], &[9, 9, 9, 9, 9, 9]] {
        let mut pair = Pair::new(&made, &TLS13);
        pair.receive(&mut begun.clone()).unwrap();
        assert!(pair.receive(&mut between.to_vec()).is_err());
        for _ in 0..2 {
            assert!(pair.receive(&mut begun.clone()).is_err());
            assert!(pair.session.seal(b"x", &mut pair.output).is_err());
            assert!(pair.session.say_goodbye(&mut pair.output).is_err());
        }
    }
    // After the handshake, too: a forged record.
    for version in [&TLS12, &TLS13] {
        let mut pair = Pair::new(&made, version);
        pair.exchange(usize::MAX);
        let mut forged = [&[23, 3, 3, 0, 40][..], &[7; 40]].concat();
        assert!(pair.receive(&mut forged).is_err());
        assert!(!pair.output.bytes().is_empty(), "an alert tells of it");
        assert!(pair.session.seal(b"x", &mut pair.output).is_err());
        assert!(pair.session.say_goodbye(&mut pair.output).is_err());
        assert!(pair.receive(&mut forged).is_err());
    }
}

/// The refusal of a protocol comes behind what was to be sent already.
#[test]
fn an_alert_comes_with_all_that_is_before_it() {
    let made = made(|_| {});
    for version in [&TLS12, &TLS13] {
        let mut pair = Pair::new(&made, version);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(made.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        pair.client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut sealed = pair.sealed();
        assert!(pair.receive(&mut sealed).is_err());
        let mut bytes = pair.output.bytes();
        let mut told = None;
        while !bytes.is_empty() && told.is_none() {
            pair.client.read_tls(&mut bytes).unwrap();
            told = pair.client.process_new_packets().err();
        }
        let expected =
            rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol);
        assert_eq!(told, Some(expected));
    }
}

#[test]
fn what_is_kept_of_a_handshake_is_bounded() {
    let made = made(|_| {});
    let mut pair = Pair::new(&made, &TLS13);
    // A ClientHello that says it is 60,000 bytes long, in records of 1,000.
    let mut sent = 0;
    let mut record = [&[22, 3, 1, 3, 232, 1, 0, 234, 96][..], &[0; 996]].concat();
    while pair.receive(&mut record).is_ok() {
        sent += record.len();
        assert!(sent <= limits::TLS_HANDSHAKE_MAX);
        record = [&[22, 3, 1, 3, 232][..], &[0; 1000]].concat();
    }
    assert!(sent > limits::TLS_HANDSHAKE_MAX / 2, "{sent}");
}

#[test]
fn files_that_are_no_good_are_named_with_what_is_wrong() {
    let one = made(|_| {});
    let other = made(|_| {});
    let (cert, key) = (one.files.cert.clone(), one.files.key.clone());
    let empty = one.dir.path().join("empty.pem");
    std::fs::write(&empty, "\n").unwrap();
    let cut = one.dir.path().join("cut.pem");
    let text = std::fs::read_to_string(&cert).unwrap();
    std::fs::write(&cut, &text[..text.len() / 2]).unwrap();
    let scrambled = one.dir.path().join("scrambled.pem");
    std::fs::write(&scrambled, text.replacen("MII", "AAA", 1)).unwrap();
    let locked = one.dir.path().join("locked.pem");
    let text = std::fs::read_to_string(&key).unwrap();
    std::fs::write(
        &locked,
        text.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
    )
    .unwrap();
    let absent = one.dir.path().join("absent.pem");

    let fault = |cert: &std::path::Path, key: &std::path::Path| {
        let files = Files {
            cert: cert.into(),
            key: key.into(),
        };
        match Identity::load(&files).unwrap_err() {
            Fault::Cert(sentence) => format!("cert: {sentence}"),
            Fault::Key(sentence) => format!("key: {sentence}"),
        }
    };
    for (found, words) in [
        (fault(&absent, &key), ["cert: ", "cannot be read"]),
        (fault(&cert, &absent), ["key: ", "cannot be read"]),
        (fault(&empty, &key), ["cert: ", "it is empty"]),
        (fault(&cert, &empty), ["key: ", "it is empty"]),
        (fault(&key, &key), ["cert: ", "there is a key in it"]),
        (
            fault(&cert, &cert),
            ["key: ", "there is a certificate in it"],
        ),
        (fault(&cut, &key), ["cert: ", "no good PEM"]),
        (fault(&scrambled, &key), ["cert: ", "cannot be"]),
        (fault(&cert, &locked), ["key: ", "key is encrypted"]),
        (fault(&cert, &other.files.key), ["key: ", "not the key of"]),
    ] {
        for word in words {
            assert!(found.contains(word), "{word:?} in {found:?}");
        }
    }
}

#[test]
fn a_certificate_out_of_its_time_is_told() {
    let at = |year| (date_time_ymd(year, 1, 1).unix_timestamp() * 1000) as u64;
    for is_authority in [false, true] {
        let made = made(|params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
            if is_authority {
                params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            }
        });
        let identity = Identity::load(&made.files).unwrap();
        let ended = identity.untimely(at(2003)).unwrap_or_default();
        assert!(ended.contains("ended at 2002-01-01T00:00:00Z"), "{ended:?}");
        let begins = identity.untimely(at(2000)).unwrap_or_default();
        assert!(
            begins.contains("begins at 2001-01-01T00:00:00Z"),
            "{begins:?}"
        );
    }
    let good = made(|params| params.not_before = date_time_ymd(2001, 1, 1));
    assert_eq!(
        Identity::load(&good.files).unwrap().untimely(at(2003)),
        None
    );
}

#[test]
fn keys_of_all_three_forms_are_taken() {
    let made = made(|_| {});
    for text in [
        include_str!("fixtures/rsa-pkcs1.pem").to_owned(),
        include_str!("fixtures/ec-sec1.pem").to_owned(),
        KeyPair::generate_for(&PKCS_ED25519)
            .unwrap()
            .serialize_pem(),
    ] {
        let key = KeyPair::from_pem(&text).unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let cert = params.self_signed(&key).unwrap();
        std::fs::write(&made.files.cert, cert.pem()).unwrap();
        std::fs::write(&made.files.key, &text).unwrap();
        Identity::load(&made.files).unwrap();
    }
}
