//! Callers who take what others need: sockets, places, memory, checks of signatures.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::client::{Ending, Incoming, assert_error, tcp, tcp_from};
use crate::harness::examples::event;
use crate::harness::head::Head;
use crate::harness::http::{Connection, get_with};
use crate::harness::server::text;
use crate::harness::{Client, Opening, Server, Setup, tokens, wait_until};
use crate::metrics::scrape::Scrape;

fn status(server: &Server, user: &str, role: &str) -> Option<u16> {
    let opening = Opening::new().bearer(&tokens::of(user, role));
    Client::try_connect(server.address, opening).err()
}

#[test]
fn those_who_only_hold_sockets_give_way_to_newcomers() {
    let setup = Setup::new(&["--workers", "1"]).open_files(96);
    let server = setup.start();
    let mut watcher = server.user("root", "admin");
    watcher.subscribe(&["products"]);
    // More than it can have. They stay while the rest happens.
    let mut crowd: Vec<TcpStream> = (0..200).map(|_| tcp(server.address, None)).collect();
    for half in crowd.iter_mut().step_by(2) {
        // Those that gave way already may say so.
        half.write_all(b"GET /api/ws HTTP/1.1\r\nX-").ok();
    }
    wait_until("somebody has given way", || {
        server.stderr().contains("few sockets are left")
    });
    for role in ["admin", "customer", "staff"] {
        assert_eq!(status(&server, "ann", role), None, "{role}");
    }
    server.public().ping();
    // Nor do they take the files of emitters, or of what the server opens itself.
    for _ in 0..3 {
        let id = server.emitter().emit(&event("product:created"));
        assert_eq!(watcher.expect_event("product:created")["id"], id.as_str());
    }
    let output = server.ctl(&["reload"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let log = server.stderr();
    assert!(!log.contains("accepting failed"), "{log}");
    assert!(log.lines().count() < 100, "{log}");
}

#[test]
fn a_flood_from_one_address_pushes_out_itself_and_nobody_who_is_slow() {
    let setup = Setup::new(&["--workers", "1"]).open_files(96);
    let server = setup.start();
    let from = |last: u8| tcp_from(IpAddr::from([127, 0, 0, last]), server.address).unwrap();
    let head = format!("{}\r\n\r\n", Head::new(&server).text()).into_bytes();
    let mut slow = from(5);
    slow.write_all(&head[..40]).unwrap();
    // As many as there is room for, and then each in the place of another: who came first would be the first to go.
    let mut flood: Vec<TcpStream> = (0..40).map(|_| from(66)).collect();
    assert_eq!(server.get("/healthz").status, 200, "all of them are known");
    for newest in 0..30_usize {
        flood.push(from(66));
        if let Some(oldest) = newest.checked_sub(4) {
            let cut = flood[oldest].read(&mut [0; 64]);
            assert!(matches!(cut, Ok(0) | Err(_)), "{oldest}: {cut:?}");
        }
    }
    slow.write_all(&head[40..]).unwrap();
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
}

#[test]
fn places_of_the_back_office_are_there_where_files_are_few() {
    let setup = Setup::new(&["--workers", "1"]).open_files(96);
    let server = setup.start();
    let mut crowd = Vec::new();
    let refused = loop {
        match Client::try_connect(server.address, Opening::new()) {
            Ok(client) => crowd.push(client),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, 503, "an answer, and no socket that is cut off");
    assert!(crowd.len() > 20, "{}", crowd.len());
    assert_eq!(status(&server, "root", "admin"), None);
}

#[test]
fn one_customer_takes_only_so_many_places() {
    let server = Server::with(&["--workers", "1", "--customer-connections", "12"]);
    let many: Vec<Client> = (0..12).map(|_| server.user("ann", "customer")).collect();
    let token = format!("Bearer {}", tokens::of("ann", "customer"));
    let refused = Head::new(&server)
        .with("Authorization", &token)
        .refused(&server, 429);
    assert_eq!(refused.json()["error"]["code"], "too_many_connections");
    assert!(refused.header("Retry-After").is_some());
    assert_eq!(status(&server, "bob", "customer"), None);
    // Tills and dashboards may share a name.
    let _staff: Vec<Client> = (0..20).map(|_| server.user("shop", "staff")).collect();
    drop(many);
    wait_until("there is room again", || {
        status(&server, "ann", "customer").is_none()
    });
}

#[test]
fn a_token_shown_later_takes_a_place_as_one_shown_at_once() {
    let server = Server::with(&["--workers", "1", "--customer-connections", "12"]);
    let token = tokens::of("ann", "customer");
    let auth = json!({"type": "auth", "data": {"token": &token}});
    let mut guests: Vec<Client> = (0..3).map(|_| server.user("ann", "guest")).collect();
    let by_message = |count: usize| -> Vec<Client> {
        let connect = |_| {
            let mut client = server.public();
            assert_eq!(client.auth(&token)["type"], "authenticated");
            client
        };
        (0..count).map(connect).collect()
    };
    let _many = by_message(11);
    assert_eq!(guests[0].auth(&token)["data"]["role"], "customer");
    // Neither a stranger nor a guest becomes one too many; they stay what they were.
    let mut stranger = server.public();
    let error = stranger.ask_refused(&auth, "too_many_connections");
    assert!(error["retryAfter"].as_u64() > Some(0), "{error}");
    let subscribe = json!({"type": "subscribe", "data": {"namespace": "orders"}});
    stranger.ask_refused(&subscribe, "unauthorized");
    guests[1].ask_refused(&auth, "too_many_connections");
    guests[1].ask_refused(&subscribe, "forbidden");
    assert_eq!(status(&server, "ann", "customer"), Some(429));
    // Who is one already may refresh.
    assert_eq!(guests[0].auth(&token)["data"]["role"], "customer");
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    let counted = r#"shopwire_authentications_total{worker="0",outcome="too_many_connections"} 2"#;
    assert!(metrics.contains(counted), "{metrics}");
    // One who is no customer any more takes no place of theirs.
    let as_guest = tokens::of("ann", "guest");
    assert_eq!(guests[0].auth(&as_guest)["data"]["role"], "guest");
    assert_eq!(stranger.auth(&token)["data"]["role"], "customer");
}

#[test]
fn one_who_is_refused_a_place_has_spent_an_attempt() {
    let arguments = ["--workers", "1", "--customer-connections", "8"];
    let server = Server::with(&[&arguments[..], &["--connect-rate", "2"]].concat());
    let _many: Vec<Client> = (0..8).map(|_| server.user("ann", "customer")).collect();
    let auth = json!({"type": "auth", "data": {"token": tokens::of("ann", "customer")}});
    let mut strangers = [server.public(), server.public()];
    for stranger in &mut strangers {
        stranger.ask_refused(&auth, "too_many_connections");
    }
    let refused = Client::try_connect(server.address, Opening::new()).err();
    assert_eq!(refused, Some(429), "and nothing was given back");
}

#[test]
fn tokens_guessed_by_refreshing_count_as_those_of_handshakes() {
    let arguments = ["--workers", "1", "--connect-rate", "3"];
    let server = Server::with(&[&arguments[..], &["--message-rate", "0"]].concat());
    let mut ann = server.user("ann", "customer");
    let bad = json!({"type": "auth", "data": {"token": "nonsense"}});
    let expired =
        json!({"type": "auth", "data": {"token": tokens::ending_in("ann", "customer", -60)}});
    for _ in 0..2 {
        ann.ask_refused(&bad, "unauthorized");
    }
    // One that has ended is told so, over the rate too, and the next good one counts.
    for _ in 0..2 {
        ann.ask_refused(&expired, "token_expired");
    }
    let stranger = Client::try_connect(server.address, Opening::new()).err();
    assert_eq!(stranger, Some(429));
    assert_eq!(
        ann.auth(&tokens::of("ann", "customer"))["type"],
        "authenticated"
    );
    assert_eq!(status(&server, "ann", "customer"), None);
    // Those that pour in are not looked at any more, and end the connection.
    let mut codes: HashMap<String, u32> = HashMap::new();
    let ending = loop {
        ann.send(&bad);
        match ann.read() {
            Incoming::Json(answer) => {
                let code = answer["data"]["code"].as_str().unwrap();
                *codes.entry(code.to_owned()).or_default() += 1;
                assert!(codes.get("unauthorized") < Some(&20_000), "{codes:?}");
            }
            Incoming::Ping | Incoming::Pong => {}
            Incoming::End(ending) => break ending,
        }
    };
    assert_eq!(ending, Ending::Closed(4429), "{codes:?}");
    assert!(codes["rate_limited"] >= 20, "{codes:?}");
}

#[test]
fn messages_that_never_end_are_bounded_together() {
    let server = Server::with(&["--workers", "1"]);
    let before = server.resident_kib();
    let mut good = server.user("ann", "customer");
    // Each announces 1 MiB and sends all but the end of it.
    let mut frame = announce(1 << 20);
    frame.extend_from_slice(&vec![b' '; (1 << 20) - 100]);
    let mut hoarders: Vec<Client> = (0..80)
        .map(|number| server.user(&format!("hoarder-{number}"), "customer"))
        .collect();
    for hoarder in &mut hoarders {
        // Some are closed meanwhile.
        hoarder.try_send_raw(&frame).ok();
    }
    wait_until("most of them are closed", || {
        server.stats()["totalConnections"].as_u64() <= Some(40)
    });
    let grown = server.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB");
    good.ping();
}

/// The beginning of a text frame that announces so many bytes, with a key that masks nothing.
fn announce(bytes: usize) -> Vec<u8> {
    let mut frame = vec![0x81, 0xff];
    frame.extend_from_slice(&(bytes as u64).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame
}

fn ended(server: &Server, reason: &str) -> f64 {
    let labels = format!("worker=0,reason={reason}");
    Scrape::of(server).get("shopwire_connections_closed_total", &labels)
}

#[test]
fn many_beginnings_of_one_user_do_not_end_the_message_of_another() {
    let server = Server::with(&["--workers", "1"]);
    // Longer than each single one of the others.
    let question = format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(900_000));
    let mut good = server.user("ann", "customer");
    good.send_raw(&announce(question.len()));
    let (most, end) = question.as_bytes().split_at(850_000);
    good.send_raw(most);
    wait_until("it is on its way", || {
        Scrape::of(&server).get("shopwire_unfinished_bytes", "worker=0") >= 850_000.0
    });
    let mut hoarders: Vec<Client> = (0..60).map(|_| server.user("bob", "customer")).collect();
    for hoarder in &mut hoarders {
        hoarder.try_send_raw(&announce(700_001)).ok();
        hoarder.try_send_raw(&vec![b' '; 700_000]).ok();
    }
    wait_until("there is too much", || ended(&server, "unfinished") >= 5.0);
    good.send_raw(end);
    assert_eq!(good.answer()["type"], "pong");
    // Those that were closed know why; the others are heard.
    let mut endings = 0;
    for hoarder in &mut hoarders {
        hoarder.try_send_raw(b" ").ok();
        match hoarder.read() {
            Incoming::Json(error) => assert_error(&error, "invalid_message", "only spaces"),
            Incoming::End(Ending::Closed(code)) => {
                assert_eq!(code, 1013);
                endings += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(endings >= 5, "{endings}");
    let scrape = Scrape::of(&server);
    let limit = scrape.get("shopwire_unfinished_limit_bytes", "");
    assert!(scrape.get("shopwire_unfinished_bytes", "worker=0") <= limit);
}

#[test]
fn a_message_has_to_go_on_coming_and_may_be_slow() {
    // Whose frame takes longer than this gives no other sign of life.
    let often = ["--ping-interval", "2000", "--pong-timeout", "2000"];
    let seldom = ["--ping-interval", "60000", "--pong-timeout", "30000"];
    let servers = [&often, &seldom]
        .map(|pings| Server::with(&[&["--workers", "1"][..], &pings[..]].concat()));
    let mut silent = servers[1].user("bob", "customer");
    silent.send_raw(&announce(100_000));
    silent.send_raw(b"{");
    let question = format!(r#"{{"type":"ping","x":"{}"}}"#, "x".repeat(300_000));
    let mut pieces = question.as_bytes().chunks(2000);
    let mut slow = servers.each_ref().map(|server| {
        let mut client = server.user("ann", "customer");
        client.send_raw(&announce(question.len()));
        client
    });
    // 8 KB a second, for as long as the other's beginning is waited for.
    while ended(&servers[1], "message_timeout") < 1.0 {
        let piece = pieces.next().expect("37 s are more than 10 s");
        for client in &mut slow {
            client.send_raw(piece);
        }
        thread::sleep(Duration::from_millis(250));
    }
    silent.expect_close(4408);
    for piece in pieces {
        for client in &mut slow {
            client.send_raw(piece);
        }
    }
    for client in &mut slow {
        assert_eq!(client.answer()["type"], "pong");
    }
}

#[test]
fn bad_tokens_at_the_operators_doors_are_counted_and_cost_the_connection() {
    let server = Server::with(&["--connect-rate", "3"]);
    let get = |token: &str| {
        let header = format!("Authorization: Bearer {token}");
        get_with(server.address, "/api/ws/stats", &[&header])
    };
    let request = |token: &str| {
        format!(
            "GET /metrics HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
            server.address
        )
    };
    // All in one go, on a connection that would stay open: one answer.
    let mut connection = Connection::open(server.address);
    connection.send(request("nonsense").repeat(20).as_bytes());
    let response = connection.response(false);
    response.assert_refusal(401, "the first");
    assert_eq!(response.header("Connection"), Some("close"));
    connection.expect_end();
    for _ in 0..2 {
        get("nonsense").assert_refusal(401, "within the rate");
    }
    let refused = get("nonsense");
    refused.assert_refusal(429, "over it");
    assert!(refused.header("Retry-After").is_some());
    // The same bucket as that of handshakes, and a good token still gets in.
    let opening = Opening::new();
    assert_eq!(
        Client::try_connect(server.address, opening).err(),
        Some(429)
    );
    for _ in 0..5 {
        assert_eq!(get(&tokens::of("root", "admin")).status, 200);
    }
}

#[test]
fn who_asks_without_end_and_reads_nothing_in_between_is_let_go() {
    let server = Server::start();
    let mut connection = Connection::open(server.address);
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    connection.send(request.repeat(1000).as_bytes());
    let mut answers = 1;
    while connection.response(false).header("Connection") != Some("close") {
        answers += 1;
    }
    assert!((16..1000).contains(&answers), "{answers}");
    connection.expect_end();
}
