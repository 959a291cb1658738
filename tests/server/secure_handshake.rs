//! TLS handshakes that are slow, broken or given up, and many of them at once.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::client::tcp;
use crate::harness::tls::Certificates;
use crate::harness::{DEADLINE, Server, wait_until};

fn product(n: usize) -> Value {
    json!({"type": "product:deleted", "data": {"productId": n.to_string()}})
}

/// Descriptors that the process has open.
fn files_of(server: &Server) -> usize {
    let dir = format!("/proc/{}/fd", server.id());
    std::fs::read_dir(dir).unwrap().count()
}

/// The server stops reading when the time is over; what a client sees is the end of the connection.
#[test]
fn handshakes_that_are_slow_broken_or_given_up_end_and_leave_nothing() {
    let certificates = Certificates::new();
    let server = certificates.serve(&[]);
    let browser = certificates.browser();
    let mut good = browser.public(&server);
    let before = files_of(&server);

    let ends = |mut stream: TcpStream| {
        let started = Instant::now();
        let mut rest = Vec::new();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        match stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
            _ => started.elapsed(),
        }
    };
    let mut hello = Vec::new();
    browser.session().write_tls(&mut hello).unwrap();
    let begun = |bytes: &[u8]| {
        let mut stream = tcp(server.address, None);
        stream.write_all(bytes).unwrap();
        stream
    };
    // Silent, in the middle of a ClientHello, behind it, and one byte at a time.
    let slow = [
        begun(b""),
        begun(&hello[..1]),
        begun(&hello[..100]),
        begun(&hello),
    ];
    let mut dripping = begun(&hello[..10]);
    let waiting: Vec<_> = slow
        .into_iter()
        .map(|stream| thread::spawn(move || ends(stream)))
        .collect();
    let bytes = hello.clone();
    let dripped = thread::spawn(move || {
        let started = Instant::now();
        for byte in &bytes[10..] {
            thread::sleep(Duration::from_millis(50));
            if dripping.write_all(&[*byte]).is_err() {
                break;
            }
        }
        started.elapsed()
    });
    // What is no TLS at all is refused at once.
    for garbage in [
        &b"\x16\x03\x01\x40\x00"[..],
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        b"\x16nonsense that is no record at all",
        b"\x00\x01\x02\x03",
    ] {
        let mut stream = begun(garbage);
        if garbage.len() == 5 {
            // A record that is announced and never comes to its end, and more than is kept of one.
            stream.write_all(&[1; 16 * 1024]).unwrap();
        }
        let ended = ends(stream);
        assert!(
            ended < Duration::from_secs(4),
            "{garbage:?} after {ended:?}"
        );
    }
    // Given up by the client.
    for length in [1, 50, hello.len()] {
        for _ in 0..20 {
            begun(&hello[..length]);
        }
    }
    for ended in waiting {
        let ended = ended.join().unwrap();
        assert!(ended < Duration::from_secs(8), "{ended:?}");
    }
    let dripped = dripped.join().unwrap();
    assert!(dripped < Duration::from_secs(8), "{dripped:?}");
    wait_until("every socket is closed", || files_of(&server) == before);
    good.ping();
    let stats = browser.stats(&server);
    assert_eq!(stats["totalConnections"], 1, "{stats}");
    assert!(stats["tls"]["failed"].as_u64().unwrap() >= 5, "{stats}");
}

#[test]
fn a_storm_of_handshakes_holds_up_nobody_for_good() {
    let certificates = Certificates::new();
    let server = certificates.serve(&["--workers", "1"]);
    let browser = certificates.browser();
    let mut client = browser.public(&server);
    client.subscribe(&["products"]);
    let mut hello = Vec::new();
    browser.session().write_tls(&mut hello).unwrap();
    let storm: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = tcp(server.address, None);
            stream.write_all(&hello).unwrap();
            stream
        })
        .collect();
    let mut emitter = server.emitter();
    for n in 0..20 {
        emitter.emit(&product(n));
        let event = client.expect_event("product:deleted");
        assert_eq!(event["data"]["productId"], n.to_string());
    }
    // Each of them is answered, however many came at once.
    for mut stream in storm {
        let mut record = [0; 5];
        stream.read_exact(&mut record).unwrap();
        assert_eq!(record[0], 22, "a handshake record: {record:?}");
    }
    browser.public(&server).ping();
}
