//! The certificate and its key: files that are no good, and files that change while the server runs.

use std::path::Path;

use rcgen::date_time_ymd;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::server::text;
use crate::harness::tls::{Certificates, Stream, shown};
use crate::harness::{Setup, wait_until};

fn product(n: usize) -> Value {
    json!({"type": "product:deleted", "data": {"productId": n.to_string()}})
}

#[test]
fn files_that_are_no_good_are_told_before_anything_is_opened() {
    let certificates = Certificates::new();
    let stranger = Certificates::new();
    let empty = certificates.dir().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let absent = certificates.dir().join("absent.pem");
    let (cert, key) = (certificates.cert.as_path(), certificates.key.as_path());
    let said = |subcommand: &str, args: &[&str]| {
        let setup = Setup::new(args);
        let output = setup.command(subcommand).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
        text(&output)
    };
    let shown = |path: &Path| path.display().to_string();
    for (cert, key, named, word) in [
        (cert, absent.as_path(), "tls-key", "cannot be read"),
        (absent.as_path(), key, "tls-cert", "cannot be read"),
        (empty.as_path(), key, "tls-cert", "empty"),
        (cert, empty.as_path(), "tls-key", "empty"),
        (key, key, "tls-cert", "a key in it"),
        (cert, stranger.key.as_path(), "tls-key", "not the key of"),
    ] {
        let named_file = if named == "tls-cert" { cert } else { key };
        for subcommand in ["serve", "check"] {
            let said = said(
                subcommand,
                &["--tls-cert", &shown(cert), "--tls-key", &shown(key)],
            );
            for part in [named, &shown(named_file), word] {
                assert!(said.contains(part), "{part:?} in {said:?}");
            }
        }
    }
    let half = said("check", &["--tls-cert", &shown(cert)]);
    assert!(half.contains("tls-key is not"), "{half}");
    let half = said("check", &["--tls-key", &shown(key)]);
    assert!(half.contains("tls-cert is not"), "{half}");

    // One that has ended is the operator's to judge: it is told, and shown all the same.
    certificates.renew_with(|params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let output = certificates.setup(&[]).command("check").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output).contains("ended at 2002-01-01"),
        "{}",
        text(&output)
    );
    let server = certificates.serve(&[]);
    wait_until("the log tells it", || {
        server.stderr().contains("ended at 2002-01-01")
    });
    assert!(!server.stderr().contains("without TLS"));
}

#[test]
fn a_new_certificate_is_shown_to_those_who_come_and_nobody_is_disconnected() {
    let certificates = Certificates::new();
    let server = certificates.serve(&[]);
    let browser = certificates.browser();
    let mut emitter = server.emitter();
    let first = shown(&browser.dial(&server));
    let mut before = browser.public(&server);
    before.subscribe(&["products"]);

    // On a signal ...
    certificates.renew();
    server.signal(Signal::HUP);
    let is_renewed = |stream: Stream| shown(&stream) != first;
    wait_until("every reactor shows the new one", || {
        (0..8).all(|_| is_renewed(browser.dial(&server)))
    });
    assert!(
        server
            .stderr()
            .contains("reloaded: jwt-secret-file, tls-cert, tls-key")
    );
    // ... and when asked, with an answer.
    let second = shown(&browser.dial(&server));
    certificates.renew();
    let output = server.ctl(&["reload"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(
        text(&output),
        "reloaded jwt-secret-file, tls-cert, tls-key\n"
    );
    wait_until("every reactor shows the third one", || {
        (0..8).all(|_| shown(&browser.dial(&server)) != second)
    });

    // Whatever is wrong with the new files, the old ones stay in force, and the reason is told.
    let third = shown(&browser.dial(&server));
    let good = std::fs::read(&certificates.key).unwrap();
    let other = Certificates::new();
    for (bytes, word) in [
        (Vec::new(), "empty"),
        (
            std::fs::read(&certificates.cert).unwrap(),
            "certificate in it",
        ),
        (std::fs::read(&other.key).unwrap(), "not the key of"),
    ] {
        std::fs::write(&certificates.key, bytes).unwrap();
        let output = server.ctl(&["reload"]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        for part in [word, "tls-key", &certificates.key.display().to_string()] {
            assert!(
                text(&output).contains(part),
                "{part:?} in {}",
                text(&output)
            );
        }
    }
    assert!(
        server.stderr().contains("all stays as it was"),
        "{}",
        server.stderr()
    );
    assert_eq!(shown(&browser.dial(&server)), third);
    std::fs::write(&certificates.key, good).unwrap();

    emitter.emit(&product(1));
    assert_eq!(
        before.expect_event("product:deleted")["data"]["productId"],
        "1"
    );
    before.ping();
}
