//! Attacks, each beside clients who do nothing wrong: those must lose nothing and stay connected, the server's memory must
//! stay within bounds, and who comes with a good token must get in. How long events took before and meanwhile is told, one
//! line of a table for each attack, and judged by nobody: it depends on the machine.
//!
//! `make test` runs the short form among all tests; `make attack` has 1,000 clients, more time, a release build of the
//! server, one attack after the other, and prints the table.

mod crowd;
mod trial;
mod wire;

use std::collections::VecDeque;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::client;
use crate::harness::tls::Certificates;
use crate::harness::{Opening, Server, Setup, tokens, wait_until};
use trial::{Addresses, Ground, Trial};
use wire::{Answer, ask, close_code, dial, handshake, put_frame, put_header};

/// The server's memory may grow by so much where attackers can only make it answer: buffers and allocator.
const LITTLE_KIB: u64 = 24 * 1024;

/// A server that limits as it does by default.
fn setup(args: &[&str]) -> Setup {
    Setup::new(args).without("--connect-rate")
}

/// A connection with the answer to what is sent on it; `None`: it did not come to that.
fn answered(ground: &Ground, from: IpAddr, what: &[u8]) -> Option<(TcpStream, Answer)> {
    let asked = dial(from, ground.address).and_then(|mut stream| {
        let answer = ask(&mut stream, what)?;
        Ok((stream, answer))
    });
    match asked {
        Ok(answered) => {
            ground.count(1);
            Some(answered)
        }
        // No port is left for the moment, or no descriptor.
        Err(_) => {
            thread::sleep(Duration::from_millis(1));
            None
        }
    }
}

/// A WebSocket and what has come on it; `None`: it was refused, as it may be under attack.
fn websocket(ground: &Ground, from: IpAddr, lines: &str) -> Option<(TcpStream, Answer)> {
    let hello = handshake(ground.address, lines);
    let (stream, answer) = answered(ground, from, hello.as_bytes())?;
    match answer.status {
        101 => Some((stream, answer)),
        429 | 503 => None,
        other => panic!("a handshake was answered with {other}: {}", answer.head),
    }
}

/// Opens WebSockets and sends on each `first`, and then `again` until the server has had enough of it.
fn flood(ground: &Ground, attacker: u8, lines: &str, first: &[u8], again: &[u8]) {
    let mut addresses = Addresses::of(attacker);
    while ground.goes_on() {
        let Some((mut stream, _)) = websocket(ground, addresses.next(), lines) else {
            continue;
        };
        let mut is_open = stream.write_all(first).is_ok();
        while is_open && ground.goes_on() {
            is_open = stream.write_all(again).is_ok();
            ground.count(1);
        }
    }
}

/// Keeps connections open and sends on each `first`, and then a byte every now and then; the last of `bytes` again and again.
fn drip(ground: &Ground, attacker: u8, first: &[u8], bytes: &[u8]) {
    const AT_ONCE: usize = 150;
    let mut addresses = Addresses::of(attacker);
    let mut open: Vec<(TcpStream, usize)> = Vec::new();
    while ground.goes_on() {
        while open.len() < AT_ONCE
            && let Ok(mut stream) = dial(addresses.next(), ground.address)
            && stream.write_all(first).is_ok()
        {
            open.push((stream, 0));
        }
        open.retain_mut(|(stream, sent)| {
            let byte = bytes[(*sent).min(bytes.len() - 1)];
            *sent += 1;
            ground.count(1);
            stream.write_all(&[byte]).is_ok()
        });
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_flood_of_handshakes() {
    let server = setup(&[]).start();
    Trial::begin(&server).under("handshake flood", LITTLE_KIB, |ground, attacker| {
        let from = Addresses::of(attacker).next();
        while ground.goes_on() {
            websocket(ground, from, "");
        }
    });
}

#[test]
fn heads_that_come_slowly() {
    let server = setup(&[]).start();
    Trial::begin(&server).under("slow heads", LITTLE_KIB, |ground, attacker| {
        drip(
            ground,
            attacker,
            b"",
            b"GET /api/ws HTTP/1.1\r\nX-Header: xx",
        );
    });
}

#[test]
fn bodies_that_come_slowly() {
    // Nothing else of a server takes a body.
    let server = setup(&["--dev"]).start();
    let host = server.address;
    let head = format!(
        "POST /dev/events HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nContent-Length: 60000\r\n\r\n{{"
    );
    Trial::begin(&server).under("slow bodies", LITTLE_KIB, |ground, attacker| {
        drip(ground, attacker, head.as_bytes(), b" ");
    });
}

#[test]
fn connections_on_which_nothing_comes() {
    const AT_ONCE: usize = 500;
    let server = setup(&[]).start();
    Trial::begin(&server).under("half-open connections", LITTLE_KIB, |ground, attacker| {
        let mut addresses = Addresses::of(attacker);
        let mut open = VecDeque::new();
        while ground.goes_on() {
            if open.len() >= AT_ONCE {
                open.pop_front();
            }
            match dial(addresses.next(), ground.address) {
                Ok(stream) => open.push_back(stream),
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
            ground.count(1);
        }
    });
}

#[test]
fn tls_handshakes_that_are_slow_or_given_up() {
    let certificates = Certificates::new();
    let server = certificates.setup(&[]).without("--connect-rate").start();
    let browser = certificates.browser();
    let mut hello = Vec::new();
    browser.session().write_tls(&mut hello).unwrap();
    let crowd = Trial::secure(&server, &browser);
    let judge = || browser.public(&server).ping();
    crowd.judged(
        "TLS handshakes, slow and given up",
        LITTLE_KIB,
        |ground, attacker| match attacker {
            0 | 1 => drip(ground, attacker, b"", &hello),
            // The server has its costly part done when they go.
            _ => {
                let from = Addresses::of(attacker).next();
                let mut begun = VecDeque::new();
                while ground.goes_on() {
                    if let Ok(mut stream) = dial(from, ground.address)
                        && stream.write_all(&hello).is_ok()
                    {
                        ground.count(1);
                        begun.push_back(stream);
                    }
                    if begun.len() > 20 {
                        begun.pop_front();
                    }
                    // So many that a core is busy with them, and not so many that nothing else is seen.
                    thread::sleep(Duration::from_millis(2));
                }
            }
        },
        judge,
    );
}

#[test]
fn fragments_of_one_byte_and_of_none() {
    let server = setup(&[]).start();
    let mut tiny = Vec::new();
    put_frame(1, false, b"x", &mut tiny);
    for _ in 0..8000 {
        put_frame(0, false, b"x", &mut tiny);
    }
    let mut empty = Vec::new();
    for _ in 0..4000 {
        put_frame(0, false, b"", &mut empty);
    }
    Trial::begin(&server).under("tiny fragments", LITTLE_KIB, |ground, attacker| {
        flood(ground, attacker, "", &tiny, &empty);
    });
}

#[test]
fn pings_without_end() {
    let server = setup(&[]).start();
    let mut pings = Vec::new();
    for _ in 0..200 {
        put_frame(9, true, b"are you there?", &mut pings);
    }
    Trial::begin(&server).under("ping flood", LITTLE_KIB, |ground, attacker| {
        flood(ground, attacker, "", &[], &pings);
    });
}

#[test]
fn messages_without_end() {
    let server = setup(&[]).start();
    let mut messages = Vec::new();
    for _ in 0..100 {
        put_frame(1, true, br#"{"type":"ping"}"#, &mut messages);
    }
    Trial::begin(&server).under("message flood", LITTLE_KIB, |ground, attacker| {
        flood(ground, attacker, "", &[], &messages);
    });
}

#[test]
fn subscriptions_to_and_fro() {
    let server = setup(&[]).start();
    let data = json!({"namespaces": ["products", "orders"]});
    let mut messages = Vec::new();
    for kind in ["subscribe", "unsubscribe"].repeat(25) {
        let message = json!({"type": kind, "data": data}).to_string();
        put_frame(1, true, message.as_bytes(), &mut messages);
    }
    Trial::begin(&server).under("subscription churn", LITTLE_KIB, |ground, attacker| {
        // Customers, whom no connect rate stops.
        let token = tokens::of(&format!("restless-{attacker}"), "customer");
        let bearer = format!("Authorization: Bearer {token}\r\n");
        flood(ground, attacker, &bearer, &[], &messages);
    });
}

#[test]
fn lengths_that_are_announced_and_never_come() {
    const HELD: usize = 200;
    let server = setup(&[]).start();
    let (mut huge, mut large) = (Vec::new(), Vec::new());
    put_header(1, true, 1 << 62, &mut huge);
    put_header(1, true, 8192, &mut large);
    Trial::begin(&server).under("huge lengths announced", LITTLE_KIB, |ground, attacker| {
        let mut addresses = Addresses::of(attacker);
        let mut held = VecDeque::new();
        while ground.goes_on() {
            let Some((mut stream, answer)) = websocket(ground, addresses.next(), "") else {
                continue;
            };
            if attacker % 2 == 0 {
                // It may be gone already.
                stream.write_all(&huge).ok();
                let code = close_code(&mut stream, answer.rest);
                assert!(matches!(code, Some(1009) | None), "{code:?}");
            } else {
                stream.write_all(&large).ok();
                held.push_back(stream);
                if held.len() > HELD {
                    held.pop_front();
                }
            }
        }
    });
}

#[test]
fn compression_asked_for_and_used_unasked() {
    let server = setup(&[]).start();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let mut compressed = Vec::new();
    put_frame(1, true, b"\xaa\x56\x2a\x01\x00", &mut compressed);
    compressed[0] |= 0x40;
    Trial::begin(&server).under("compression", LITTLE_KIB, |ground, attacker| {
        let mut addresses = Addresses::of(attacker);
        while ground.goes_on() {
            let Some((mut stream, answer)) = websocket(ground, addresses.next(), offer) else {
                continue;
            };
            let head = answer.head.to_ascii_lowercase();
            assert!(!head.contains("sec-websocket-extensions"), "{head}");
            // It may be gone already.
            stream.write_all(&compressed).ok();
            let code = close_code(&mut stream, answer.rest);
            assert!(matches!(code, Some(1002) | None), "{code:?}");
        }
    });
}

#[test]
fn thousands_from_one_address_and_from_one_ipv6_network() {
    let proxy = Ipv4Addr::new(127, 2, 0, 1);
    let server = setup(&["--trusted-proxies", &proxy.to_string()]).start();
    Trial::begin(&server).under("one address, one /64", LITTLE_KIB, |ground, attacker| {
        let started = Instant::now();
        let mut held = Vec::new();
        let mut number = 0_u64;
        while ground.goes_on() {
            number += 1;
            let hello = handshake(ground.address, "");
            let (from, before) = if attacker % 2 == 0 {
                (Addresses::of(attacker).next(), Vec::new())
            } else {
                // Another address of the network each time, as a trusted proxy tells it.
                let network =
                    u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, attacker.into(), 0, 0, 0, 0));
                let client = Ipv6Addr::from(network | u128::from(number.rotate_left(17)));
                (proxy.into(), proxied(client))
            };
            let what = [&before, hello.as_bytes()].concat();
            match answered(ground, from, &what) {
                Some((stream, answer)) if answer.status == 101 => held.push(stream),
                Some((_, answer)) => assert_eq!(answer.status, 429, "{}", answer.head),
                None => {}
            }
            // Ten at once and one more each six seconds.
            let most = 11 + started.elapsed().as_secs() / 6;
            assert!(held.len() as u64 <= most, "{} were let in", held.len());
        }
    });
}

/// A PROXY header, version 2.
fn proxied(client: Ipv6Addr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24".to_vec();
    header.extend_from_slice(&client.octets());
    header.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
    header.extend_from_slice(&[0x12, 0x34, 0x0b, 0xb9]);
    header
}

#[test]
fn tokens_guessed() {
    let server = setup(&[]).start();
    Trial::begin(&server).under("tokens guessed", LITTLE_KIB, |ground, attacker| {
        let mut addresses = Addresses::of(attacker);
        let one = addresses.next();
        let mut guess = 0;
        while ground.goes_on() {
            guess += 1;
            let secret = format!("a secret that is guessed, the {guess}th of many");
            let claims =
                json!({"sub": "admin", "role": "admin", "exp": tokens::now_seconds() + 60});
            let token = tokens::signed_by(&claims, jsonwebtoken::Algorithm::HS256, &secret);
            if attacker % 2 == 0 {
                let bearer = format!("Authorization: Bearer {token}\r\n");
                let hello = handshake(ground.address, &bearer);
                if let Some((_, answer)) = answered(ground, one, hello.as_bytes()) {
                    assert!(matches!(answer.status, 401 | 429), "{}", answer.head);
                }
            } else if let Some((mut stream, answer)) = websocket(ground, addresses.next(), "") {
                let mut auth = Vec::new();
                let message = json!({"type": "auth", "data": {"token": token}});
                put_frame(1, true, message.to_string().as_bytes(), &mut auth);
                // It may be gone already.
                stream.write_all(&auth).ok();
                let code = close_code(&mut stream, answer.rest);
                assert!(matches!(code, Some(4401) | None), "{code:?}");
            }
        }
    });
}

/// Whether somebody with a good token gets in.
fn lets_in(server: &Server, role: &str) -> bool {
    let token = tokens::of("newcomer", role);
    // One that comes while no socket is left is cut off without an answer.
    client::dial(server.address, &Opening::new().bearer(&token)).is_ok()
}

#[test]
fn all_places_taken() {
    let places = Trial::clients() * 3 / 2;
    let server = setup(&["--max-connections", &places.to_string()]).start();
    // A tenth is not for customers, nor for attackers.
    let storefront = places - places / 10;
    let is_full = || {
        wait_until("every place of the storefront is taken", || {
            server.stats()["totalConnections"] == storefront
        });
        assert!(!lets_in(&server, "customer"));
        assert!(lets_in(&server, "staff"), "the back office has its own");
    };
    Trial::begin(&server).judged(
        "all places taken",
        LITTLE_KIB,
        |ground, attacker| {
            let mut addresses = Addresses::of(attacker);
            let mut held = Vec::new();
            while ground.goes_on() {
                held.extend(websocket(ground, addresses.next(), ""));
            }
        },
        is_full,
    );
    wait_until("newcomers are let in again", || {
        lets_in(&server, "customer")
    });
}

#[test]
fn files_run_out() {
    // Half of them for the crowd, the places beside its own and a few more, the other half for emitters and the server itself.
    let files = 2 * (u32::try_from(Trial::clients()).unwrap() * 5 / 4 + 100);
    let server = setup(&[]).open_files(files).start();
    Trial::begin(&server).judged(
        "files run out",
        LITTLE_KIB,
        |ground, attacker| {
            let mut addresses = Addresses::of(attacker);
            while ground.goes_on() {
                let dialled = (0..100).map(|_| dial(addresses.next(), ground.address));
                let held: Vec<TcpStream> = dialled.flatten().collect();
                ground.count(held.len());
                thread::sleep(Duration::from_millis(100));
            }
        },
        || {},
    );
    wait_until("newcomers are let in again", || {
        lets_in(&server, "customer")
    });
    let said = server.stderr();
    assert!(said.contains("few sockets are left"), "{said}");
    assert!(!said.contains("accepting failed"), "{said}");
}

#[test]
fn a_refusal_costs_little() {
    const REFUSALS: u32 = 2000;
    let server = setup(&["--workers", "1"]).start();
    let hello = handshake(server.address, "");
    let refused = |most: u32| {
        let mut refused = 0;
        for _ in 0..most {
            let mut stream = dial(Ipv4Addr::new(127, 3, 0, 1).into(), server.address).unwrap();
            let answer = ask(&mut stream, hello.as_bytes()).unwrap();
            refused += u32::from(answer.status == 429);
        }
        refused
    };
    assert_eq!(refused(20), 10, "ten a minute, and no more for a while");
    let (before, before_kib) = (cpu_seconds(&server), server.resident_kib());
    assert!(refused(REFUSALS) >= REFUSALS - 10);
    let cost = cpu_seconds(&server) - before;
    let grown_kib = server.resident_kib().saturating_sub(before_kib);
    eprintln!(
        "{:.0} refusals (429) for a second of one core",
        f64::from(REFUSALS) / cost
    );
    assert!(grown_kib < LITTLE_KIB, "{grown_kib} KiB");
}

/// What the process has used of the cores, all its threads together.
fn cpu_seconds(server: &Server) -> f64 {
    let tasks = format!("/proc/{}/task", server.id());
    let of_task = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap();
        let spent = text.split(' ').next().unwrap().parse::<u64>().unwrap();
        spent as f64 / 1e9
    };
    let tasks = std::fs::read_dir(tasks).unwrap();
    tasks.map(|task| of_task(task.unwrap())).sum()
}
