//! When the server cannot keep up, emitters wait; nothing is lost and memory stays bounded.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Client, Server};

const LINES: usize = 40_000;

fn line(n: usize) -> String {
    let event = json!({"type": "product:deleted", "data": {"productId": n.to_string(), "pad": "x".repeat(150)}});
    format!("{event}\n")
}

fn readers(server: &Server, count: usize, lines: usize) -> Vec<thread::JoinHandle<()>> {
    (0..count)
        .map(|_| {
            let mut client: Client = server.public();
            client.subscribe(&["products"]);
            thread::spawn(move || {
                for n in 0..lines {
                    assert_eq!(
                        client.expect_event("product:deleted")["data"]["productId"],
                        n.to_string()
                    );
                }
            })
        })
        .collect()
}

/// The process is stopped in the middle of the stream, as a stalled machine would: emitters feel it as a socket that takes no
/// more, and when it goes on nothing is missing.
#[test]
fn a_stalled_server_takes_no_more_and_then_loses_nothing() {
    for workers in ["1", "2"] {
        let server = Server::with(&["--workers", workers, "--outbox-limit", "256MiB"]);
        let readers = readers(&server, 4, LINES);
        let mut emitter = server.emitter();
        let mut writer = emitter.writer();
        writer
            .set_write_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let block: Vec<u8> = (0..LINES).flat_map(|n| line(n).into_bytes()).collect();
        let mut sent = 0;
        while sent < block.len() / 4 {
            sent += writer
                .write(&block[sent..block.len().min(sent + 65536)])
                .unwrap();
        }
        server.signal(Signal::STOP);
        let felt = loop {
            match writer.write(&block[sent..]) {
                Ok(0) => panic!("the socket was closed"),
                Ok(n) => sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
                Err(error) => panic!("{error}"),
            }
            if sent == block.len() {
                break false;
            }
        };
        server.signal(Signal::CONT);
        assert!(felt, "the emitter should have felt the stall");
        writer
            .set_write_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let writing = thread::spawn(move || writer.write_all(&block[sent..]).unwrap());
        emitter.count_sent(LINES as u64);
        emitter.settle();
        writing.join().unwrap();
        assert_eq!(emitter.refusals(), []);
        for reader in readers {
            reader.join().unwrap();
        }
    }
}

/// More deliveries than two cores can make as fast as the lines can be read: 60 subscribers each.
#[test]
fn a_flood_is_slowed_down_and_memory_stays_bounded() {
    const LINES: usize = 8_000;
    let server = Server::with(&["--workers", "2", "--outbox-limit", "64MiB"]);
    let readers = readers(&server, 60, LINES);
    let mut emitter = server.emitter();
    let mut writer = emitter.writer();
    writer
        .set_write_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let writing = thread::spawn(move || {
        for n in 0..LINES {
            writer.write_all(line(n).as_bytes()).unwrap();
        }
    });
    emitter.count_sent(LINES as u64);
    emitter.settle();
    writing.join().unwrap();
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(server.stats()["slowConsumers"], 0);
    assert_eq!(emitter.refusals(), []);
}
