//! Seeds that are no text: what this version writes, for a reader to be fed with.
//!
//! Committed, and not made for each run: they are worth more as they were written once, since a later
//! version has to do something sensible with them, too.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use shopwire::access::{NamespaceMask, Role, TypeMask};
use shopwire::auth::{Revocation, Whom};
use shopwire::cluster::entry::{Lexicons, disconnect_body, put_events};
use shopwire::event::{Epoch, Run};
use shopwire::ring::Selector;
use shopwire::takeover::state::{
    ConnectionState, EmitterState, FromNew, FromOld, KeyState, OutboxState, RouterState,
    SocketState, StageState, put_block, put_key,
};
use shopwire::wire::{Assembler, Limits};

use crate::folder;
use crate::properties::journal::{self, block_of};

const LINES: [&str; 3] = [
    r#"{"type":"product:deleted","data":{"productId":"p1"}}"#,
    r#"{"type":"order:deleted","data":{"orderId":"o","customerId":"cüst"},"to":{"userIds":["u1","u2"],"owners":["o1"],"excludeUserIds":["x"],"excludeSessionId":"s","roles":["admin","customer"]}}"#,
    r#"{"type":"order:deleted","data":{"orderId":"o"},"to":{"excludeSessionId":"s2"}}"#,
];

/// Writes them all.
#[test]
#[ignore = "writes into the source tree: for when the formats have changed"]
fn are_written_anew() {
    for (name, seed) in journals() {
        put("journal", name, &seed);
    }
    for (name, seed) in handed_over() {
        put("takeover", name, &seed);
    }
    for (name, seed) in entries() {
        put("cluster_entry", name, &seed);
    }
}

fn put(target: &str, name: &str, seed: &[u8]) {
    let folder = folder().join("seeds").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), seed).unwrap();
}

/// A journal's folder as one run leaves it, and the next, and the one after that.
fn journals() -> Vec<(&'static str, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let runs = [
        ("one_run", &LINES[..1]),
        ("two_runs", &LINES),
        ("three_runs", &LINES[1..]),
    ];
    let left = runs.map(|(name, lines)| {
        journal::run(folder.path(), lines);
        (name, packed(folder.path()))
    });
    left.into()
}

/// A folder in the form that the target takes.
fn packed(folder: &Path) -> Vec<u8> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some());
    paths.sort();
    let files = paths.iter().map(|path| {
        let is_of_keys = path.extension().is_some_and(|end| end == "keys");
        let kind = if is_of_keys { journal::OF_KEYS } else { b'e' };
        [&[kind], &fs::read(path).unwrap()[..]].concat()
    });
    let files: Vec<Vec<u8>> = files.collect();
    [vec![journal::MENDED], files.join(journal::BETWEEN)].concat()
}

fn handed_over() -> Vec<(&'static str, Vec<u8>)> {
    let run = Run {
        epoch: Epoch(0xabc),
        first: 1,
    };
    let (mut blocks, mut keys) = (vec![b'b'], vec![b'k']);
    for _ in 0..2 {
        put_block(&block_of(&LINES, run), Instant::now(), &mut blocks);
    }
    for number in 1..3 {
        let key = KeyState {
            hash: u128::from(number) << 100 | 7,
            number,
            left_ms: 5000,
        };
        put_key(key, &mut keys);
    }
    let router = RouterState {
        runs: vec![run],
        newest: 3,
        online: 1,
        serial: 9,
        secret: (1, 2),
        leaving: vec![("cust-1".to_owned(), 4000)],
        ingest: ("/run/shopwire/shopwire.sock".into(), 1, 2),
        door: (1, 3),
        journal: None,
        revoked: vec![Revocation {
            whom: Whom::User("cust-1".to_owned()),
            at_ms: 1_700_000_000_000,
            until_ms: 1_700_086_400_000,
        }],
        awaits_others: true,
    };
    vec![
        (
            "connections",
            message(b'o', &FromOld::Connections(vec![connection()])),
        ),
        (
            "emitters",
            message(b'o', &FromOld::Emitters(vec![emitter()])),
        ),
        ("router", message(b'o', &FromOld::Router(Box::new(router)))),
        (
            "stays",
            message(b'o', &FromOld::Stays("a reason".to_owned())),
        ),
        ("commit", message(b'n', &FromNew::Commit)),
        ("blocks", blocks),
        ("keys", keys),
    ]
}

/// Entries of the stream that hosts share, in the form that the target takes.
fn entries() -> Vec<(&'static str, Vec<u8>)> {
    let run = Run {
        epoch: Epoch(0xabc),
        first: 1,
    };
    let mut events = Vec::new();
    put_events(&block_of(&LINES, run), Lexicons::own().0, &mut events);
    let user = disconnect_body(&Selector::User("cust-1".to_owned())).unwrap();
    let role = disconnect_body(&Selector::Role(Role::Staff)).unwrap();
    let entry = |fields: &str, body: &[u8]| {
        let head = format!(
            "1838796390400002-0\nh=00ff00ff00ff00ff\nn=7\np=1838796390399999\n{fields}\nb="
        );
        [head.as_bytes(), body].concat()
    };
    vec![
        ("events", entry("f=1838796390400000\nk=events", &events)),
        (
            "repeats",
            entry(
                "f=1838796390400001\nk=events\nr=1:1838796390300000",
                &events,
            ),
        ),
        (
            "online",
            entry("f=1838796390400002\nk=online\no=3", &events),
        ),
        (
            "reset",
            entry("f=1838796390400002\nk=reset", b"1838796390399000"),
        ),
        (
            "disconnect",
            entry("f=1838796390400002\nk=disconnect", &user),
        ),
        ("role", entry("f=1838796390400002\nk=disconnect\ns=", &role)),
    ]
}

fn message(kind: u8, message: &impl Serialize) -> Vec<u8> {
    [vec![kind], postcard::to_stdvec(message).unwrap()].concat()
}

fn emitter() -> EmitterState {
    EmitterState {
        unread: b"{\"type\":".to_vec(),
        skipping: false,
        lines: 7,
        newest: Some(3),
        output: b"{\"ok\":1}\n".to_vec(),
    }
}

/// One that is in the middle of everything.
fn connection() -> ConnectionState {
    let mut assembler = Assembler::default();
    let mut begun = *b"\x01\x83\0\0\0\0abc\x80\x85\0\0\0\0de";
    let limits = Limits {
        message: 100,
        binary: false,
    };
    let taken = assembler.next(&mut begun, &mut 0, limits);
    assert_eq!(taken, Ok(None));
    let mut subscribed = NamespaceMask::default();
    subscribed.insert(shopwire::access::Namespace::Orders);
    ConnectionState {
        serial: 5,
        stage: StageState::Open,
        stage_due_ms: Some(100),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        head: Some(b"GET / HTTP/1.1\r\n".to_vec()),
        partial: assembler.partial(),
        outbox: Some(OutboxState {
            pieces: vec![(true, b"\x81\x02{}".to_vec())],
            frame_left: 2,
        }),
        socket: Some(SocketState {
            user: Some("cust-1".to_owned()),
            session: None,
            role: Role::Customer,
            expires_at: 1_700_000_000_000,
            expiry_notice: 60_000,
            expiry_told: false,
            subscribed,
            wanted: TypeMask(15),
            replay: None,
            conflates: true,
            heartbeat_ms: 30_000,
            pinged: false,
            heard: true,
            buckets: [1, 2],
            refusals: (3, 4),
        }),
    }
}
