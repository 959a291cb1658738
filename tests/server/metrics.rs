//! `GET /metrics`: what Prometheus reads, each number moved by what it counts.

mod deployed;
pub mod scrape;

use serde_json::{Value, json};
use tungstenite::Message;

use crate::harness::client::tcp;
use crate::harness::examples::{about, event};
use crate::harness::http::request;
use crate::harness::redis::Redis;
use crate::harness::tls::Certificates;
use crate::harness::{Client, Ending, Opening, Server, tokens, wait_until};
use scrape::{Sample, Scrape, assert_promtool};

/// Waits until a metric has grown by `by` since `before`, and no more.
fn expect_growth(server: &Server, before: &Scrape, name: &str, labels: &str, by: f64) {
    let mut grown = f64::NAN;
    let started = std::time::Instant::now();
    while started.elapsed() < crate::harness::DEADLINE {
        grown = Scrape::of(server).get(name, labels) - before.get(name, labels);
        if grown == by {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{name}{{{labels}}} grew by {grown}, not by {by}");
}

#[test]
fn names_and_helps_are_as_prometheus_wants_them() {
    for workers in ["1", "3"] {
        let server = Server::with(&["--workers", workers]);
        let mut client = server.public();
        client.subscribe(&["products"]);
        server.emitter().emit(&event("product:created"));
        client.expect_event("product:created");
        let scrape = Scrape::of(&server);
        for (name, (kind, help)) in &scrape.families {
            assert!(
                name.starts_with("shopwire_") || name.starts_with("process_"),
                "{name}"
            );
            assert!(help.len() > 20, "{name} says what it is: {help}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name} {kind}");
            let is_short = |word: &str| ["ms", "us", "sec", "kb", "mb"].contains(&word);
            assert!(
                !name.split('_').any(is_short),
                "{name}: units are whole words"
            );
        }
        for sample in &scrape.samples {
            assert!(
                sample.value.is_finite() && sample.value >= 0.0,
                "{}",
                sample.name
            );
        }
        let mut loops: Vec<&str> = scrape
            .samples
            .iter()
            .filter(|sample| sample.name == "shopwire_loop_turn_seconds_count")
            .map(|sample| sample.labels["worker"].as_str())
            .collect();
        loops.sort_unstable();
        let expected: &[&str] = match workers {
            "1" => &["0"],
            _ => &["0", "1", "2", "router"],
        };
        assert_eq!(loops, expected);
        assert_promtool(&["check", "metrics"], &scrape.text);
    }
}

#[test]
fn histograms_are_cumulative_and_agree_with_the_counters() {
    let server = Server::start();
    let mut client = server.public();
    client.subscribe(&["products"]);
    let mut emitter = server.emitter();
    for _ in 0..20 {
        emitter.emit(&event("product:created"));
        client.expect_event("product:created");
    }
    wait_until("all are counted", || {
        Scrape::of(&server).get("shopwire_delivery_latency_seconds_count", "") == 20.0
    });
    let scrape = Scrape::of(&server);
    let families = scrape.families.iter();
    for (name, _) in families.filter(|(_, (kind, _))| kind == "histogram") {
        for count in &scrape.samples {
            if count.name != format!("{name}_count") {
                continue;
            }
            let buckets: Vec<&Sample> = scrape
                .samples
                .iter()
                .filter(|sample| sample.name == format!("{name}_bucket"))
                .filter(|sample| sample.labels.get("worker") == count.labels.get("worker"))
                .collect();
            assert!(
                buckets.is_sorted_by(|one, other| one.value <= other.value),
                "{name}"
            );
            let last = buckets.last().unwrap();
            assert_eq!(last.labels["le"], "+Inf", "{name}");
            assert_eq!(last.value, count.value, "{name}");
        }
    }
    assert_eq!(scrape.get("shopwire_deliveries_total", ""), 20.0);
    assert_eq!(scrape.get("shopwire_batch_events_sum", ""), 20.0);
    assert!((1.0..=20.0).contains(&scrape.get("shopwire_batch_events_count", "")));
    assert!(scrape.get("shopwire_delivery_latency_seconds_sum", "") > 0.0);
    assert!(scrape.get("shopwire_loop_turn_seconds_count", "") >= 20.0);
}

#[test]
fn loops_tell_how_late_they_come_to_what_is_due() {
    let server = Server::with(&["--ping-interval", "100ms"]);
    let _clients: Vec<Client> = (0..10).map(|_| server.public()).collect();
    wait_until("pings were due", || {
        Scrape::of(&server).get("shopwire_loop_lag_seconds_count", "") >= 1.0
    });
}

#[test]
fn connections_are_counted_by_role_namespace_and_state() {
    let server = Server::start();
    let before = Scrape::of(&server);
    let mut admin = server.user("root", "admin");
    admin.subscribe(&["orders", "products"]);
    let mut customer = server.user("ann", "customer");
    customer.subscribe(&["orders"]);
    let public = server.public();
    let silent = tcp(server.address, None);
    for (name, labels, by) in [
        ("shopwire_connections", "role=admin", 1.0),
        ("shopwire_connections", "role=customer", 1.0),
        ("shopwire_connections", "role=public", 1.0),
        ("shopwire_connections", "", 3.0),
        ("shopwire_subscriptions", "namespace=orders", 2.0),
        ("shopwire_subscriptions", "namespace=products", 1.0),
        ("shopwire_sockets", "state=open", 3.0),
        ("shopwire_tls_connections", "", 0.0),
    ] {
        expect_growth(&server, &before, name, labels, by);
    }
    // The scrape's own socket is one of those that are in the middle of a request, or parting.
    wait_until("who says nothing is seen", || {
        Scrape::of(&server).get("shopwire_sockets", "state=handshake") >= 1.0
    });
    assert_eq!(before.get("shopwire_connections_limit", ""), 10_000.0);
    drop((admin, customer, public, silent));
    expect_growth(&server, &before, "shopwire_connections", "", 0.0);
    expect_growth(&server, &before, "shopwire_subscriptions", "", 0.0);
    expect_growth(
        &server,
        &before,
        "shopwire_connections_closed_total",
        "",
        3.0,
    );
}

#[test]
fn every_outcome_of_a_handshake_has_its_counter() {
    let allowed = ["--allowed-origins", "https://shop.example"];
    let server = Server::with(&[&allowed[..], &["--max-connections", "2"]].concat());
    let before = Scrape::of(&server);
    let refused = |opening: Opening, status: u16| {
        assert_eq!(
            Client::try_connect(server.address, opening).err(),
            Some(status)
        );
    };
    let first = server.user("ann", "customer");
    refused(Opening::new().origin("https://other.example"), 403);
    refused(Opening::new().bearer("nonsense"), 401);
    refused(
        Opening::new().bearer(&tokens::ending_in("ann", "customer", -5)),
        401,
    );
    let second = server.public();
    refused(Opening::new(), 503);
    let long = format!("GET /api/ws HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(9000));
    for (head, status) in [
        ("GET /api/ws HTTP/1.1\r\nHost: localhost", 426),
        ("POST /api/ws HTTP/1.1\r\nHost: localhost", 405),
        ("nonsense", 400),
        (long.as_str(), 431),
    ] {
        assert_eq!(request(server.address, head).status, status, "{head}");
    }
    for (outcome, by) in [
        ("accepted", 2.0),
        ("forbidden_origin", 1.0),
        ("unauthorized", 1.0),
        ("token_expired", 1.0),
        ("full", 1.0),
        ("upgrade_required", 1.0),
        ("method_not_allowed", 1.0),
        ("malformed", 1.0),
        ("headers_too_large", 1.0),
        ("other", 0.0),
    ] {
        let labels = format!("outcome={outcome}");
        expect_growth(&server, &before, "shopwire_handshakes_total", &labels, by);
    }
    for (outcome, by) in [
        ("accepted", 1.0),
        ("unauthorized", 1.0),
        ("token_expired", 1.0),
    ] {
        let labels = format!("outcome={outcome}");
        expect_growth(
            &server,
            &before,
            "shopwire_authentications_total",
            &labels,
            by,
        );
    }
    drop((first, second));
}

#[test]
fn every_limit_of_rate_has_its_counter() {
    let server = Server::with(&["--connect-rate", "2", "--message-rate", "2"]);
    let before = Scrape::of(&server);
    let mut clients = [server.public(), server.public()];
    assert_eq!(
        Client::try_connect(server.address, Opening::new()).err(),
        Some(429)
    );
    let client = &mut clients[0];
    client.ping();
    client.ping();
    client.ask_refused(&json!({"type": "ping"}), "rate_limited");
    // Twenty control frames a minute may come.
    for _ in 0..22 {
        client.socket.send(Message::Ping("x".into())).unwrap();
    }
    wait_until("those over it are counted", || {
        Scrape::of(&server).get("shopwire_rate_limited_total", "limit=controls") >= 1.0
    });
    expect_growth(
        &server,
        &before,
        "shopwire_rate_limited_total",
        "limit=connects",
        1.0,
    );
    expect_growth(
        &server,
        &before,
        "shopwire_rate_limited_total",
        "limit=messages",
        1.0,
    );
    let refused = "shopwire_messages_rejected_total";
    expect_growth(&server, &before, refused, "code=rate_limited", 1.0);
    let flooding = "reason=flooding";
    let closed = "shopwire_connections_closed_total";
    expect_growth(&server, &before, closed, flooding, 0.0);
    for _ in 0..40 {
        // The server may close while this is still being sent.
        if client.socket.send(Message::text("x")).is_err() {
            break;
        }
    }
    expect_growth(&server, &before, closed, flooding, 1.0);
}

#[test]
fn events_are_counted_by_type_and_refusals_by_code() {
    let server = Server::start();
    let before = Scrape::of(&server);
    let mut admin = server.user("root", "admin");
    admin.subscribe(&["orders", "products"]);
    let mut emitter = server.emitter();
    emitter.emit(&about("order:created", "ann"));
    emitter.emit(&about("order:created", "bob"));
    let mut keyed = event("product:created");
    keyed["key"] = "k".into();
    emitter.emit(&keyed);
    emitter.emit(&keyed);
    let mut wrong = event("order:created");
    wrong["data"]["total"] = (-1).into();
    for line in [
        "{",
        r#"{"type":"no:such","data":{}}"#,
        &wrong.to_string(),
        r#"{"type":"product:deleted","data":{"productId":"p"},"to":{"roles":[]}}"#,
    ] {
        emitter.emit_refused(line);
    }
    admin.ask_refused(&json!({"type": "nonsense"}), "unknown_type");
    admin.send_text("[");
    assert_eq!(admin.answer()["data"]["code"], "invalid_message");
    server.public().ask_refused(
        &json!({"type": "subscribe", "data": {"namespaces": ["orders"]}}),
        "unauthorized",
    );
    for (name, labels, by) in [
        ("shopwire_events_in_total", "type=order:created", 2.0),
        ("shopwire_events_in_total", "type=product:created", 1.0),
        ("shopwire_events_in_total", "", 3.0),
        ("shopwire_events_repeated_total", "", 1.0),
        ("shopwire_lines_rejected_total", "code=invalid_json", 1.0),
        ("shopwire_lines_rejected_total", "code=unknown_type", 1.0),
        ("shopwire_lines_rejected_total", "code=invalid_payload", 1.0),
        ("shopwire_lines_rejected_total", "code=invalid_target", 1.0),
        ("shopwire_messages_rejected_total", "code=unknown_type", 1.0),
        (
            "shopwire_messages_rejected_total",
            "code=invalid_message",
            1.0,
        ),
        ("shopwire_messages_rejected_total", "code=unauthorized", 1.0),
        ("shopwire_deliveries_total", "", 3.0),
        ("shopwire_emitters", "", 1.0),
    ] {
        expect_growth(&server, &before, name, labels, by);
    }
}

/// What three kinds of receivers are sent, to the byte: a whole class, touched ones, one who resumes.
#[test]
fn delivered_bytes_are_those_on_the_wire() {
    let server = Server::start();
    let before = Scrape::of(&server);
    let mut clients: Vec<Client> = vec![server.public(), server.user("ann", "customer")];
    clients[0].subscribe(&["products"]);
    let position = clients[1].subscribe(&["products", "orders"])["position"].clone();
    let mut emitter = server.emitter();
    emitter.emit(&event("product:created"));
    emitter.emit(&about("order:created", "ann"));
    let mut sizes = 0;
    let mut read = |client: &mut Client, events: usize| {
        for _ in 0..events {
            let text = loop {
                match client.socket.read().unwrap() {
                    Message::Text(text) => break text,
                    Message::Ping(_) => {}
                    other => panic!("an event was expected, not {other:?}"),
                }
            };
            // A header of four bytes, as 126 to 65,535 bytes have.
            assert!(text.len() >= 126, "{text}");
            sizes += text.len() + 4;
        }
    };
    read(&mut clients[0], 1);
    read(&mut clients[1], 2);
    let mut back = server.user("ann", "customer");
    back.subscribe_with(json!({"namespaces": ["products", "orders"], "since": position}));
    read(&mut back, 2);
    expect_growth(&server, &before, "shopwire_deliveries_total", "", 5.0);
    let bytes = "shopwire_delivered_bytes_total";
    expect_growth(&server, &before, bytes, "", sizes as f64);
}

#[test]
fn resumes_history_and_endings_are_counted() {
    let server = Server::start();
    let before = Scrape::of(&server);
    let mut client = server.public();
    let position = client.subscribe(&["products"])["position"].clone();
    server.emitter().emit(&event("product:created"));
    let since = |client: &mut Client, since: &Value| {
        let answer = client.subscribe_with(json!({"namespaces": ["products"], "since": since}));
        answer["recovered"].clone()
    };
    assert_eq!(since(&mut client, &position), true);
    assert_eq!(since(&mut client, &json!("1-1")), false);
    expect_growth(
        &server,
        &before,
        "shopwire_resumes_total",
        "outcome=recovered",
        1.0,
    );
    expect_growth(
        &server,
        &before,
        "shopwire_resumes_total",
        "outcome=lost",
        1.0,
    );
    expect_growth(&server, &before, "shopwire_history_events", "", 1.0);
    assert!(Scrape::of(&server).get("shopwire_history_bytes", "") > 100.0);
    assert_eq!(
        before.get("shopwire_history_limit_bytes", ""),
        f64::from(64 << 20)
    );

    let mut bob = server.user("bob", "customer");
    let mut emitter = server.emitter();
    emitter.command(&json!({"command": "disconnect", "user": "bob"}));
    bob.expect_close(4403);
    let mut binary = server.public();
    binary.socket.send(Message::binary(vec![1])).unwrap();
    binary.expect_close(1003);
    client.socket.close(None).unwrap();
    client.read_to_end();
    for (reason, by) in [
        ("disconnected", 1.0),
        ("unsupported_data", 1.0),
        ("normal", 1.0),
    ] {
        let labels = format!("reason={reason}");
        expect_growth(
            &server,
            &before,
            "shopwire_connections_closed_total",
            &labels,
            by,
        );
    }
}

#[test]
fn a_slow_consumer_shows_in_its_outbox_and_at_its_end() {
    let server = Server::with(&["--outbox-limit", "64KiB", "--outbox-budget", "1MiB"]);
    let before = Scrape::of(&server);
    let mut slow = Client::connect(&server, Opening::new().receive_buffer(4096));
    slow.subscribe(&["products"]);
    let mut emitter = server.emitter();
    let pad = "x".repeat(3000);
    let mut most: f64 = 0.0;
    let closed = "shopwire_slow_consumers_total";
    while Scrape::of(&server).get(closed, "") == 0.0 {
        for n in 0..5 {
            let data = json!({"productId": n.to_string(), "pad": pad});
            emitter.emit(&json!({"type": "product:deleted", "data": data}));
        }
        most = most.max(Scrape::of(&server).get("shopwire_outbox_bytes", ""));
    }
    assert!(most > 0.0, "what waited was seen");
    expect_growth(&server, &before, closed, "", 1.0);
    expect_growth(&server, &before, "shopwire_outbox_bytes", "", 0.0);
    let reason = "reason=slow_consumer";
    expect_growth(
        &server,
        &before,
        "shopwire_connections_closed_total",
        reason,
        1.0,
    );
    assert_eq!(
        before.get("shopwire_outbox_budget_bytes", ""),
        f64::from(1 << 20)
    );
    let (ending, _) = slow.read_to_end();
    assert!(
        matches!(ending, Ending::Closed(4413) | Ending::Cut),
        "{ending:?}"
    );
}

#[test]
fn the_journal_tells_its_size_its_syncs_and_its_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let server = Server::with(&["--journal", path.to_str().unwrap()]);
    let before = Scrape::of(&server);
    let mut emitter = server.emitter();
    emitter.emit(&event("product:created"));
    wait_until("the sync is timed", || {
        let scrape = Scrape::of(&server);
        let syncs = "shopwire_journal_sync_seconds_count";
        scrape.get(syncs, "") > before.get(syncs, "")
            && scrape.get("shopwire_journal_bytes", "") > before.get("shopwire_journal_bytes", "")
    });
    assert_eq!(before.get("shopwire_journal_failing", ""), 0.0);
    assert_eq!(before.get("shopwire_ready", ""), 1.0);
    assert_eq!(before.get("shopwire_draining", ""), 0.0);
    server.limit_files(Some(1));
    assert_eq!(
        emitter
            .emit_refused(&event("product:created").to_string())
            .code,
        "unavailable"
    );
    let scrape = Scrape::of(&server);
    assert_eq!(scrape.get("shopwire_journal_failing", ""), 1.0);
    assert_eq!(scrape.get("shopwire_ready", ""), 0.0);
    let unavailable = "code=unavailable";
    expect_growth(
        &server,
        &before,
        "shopwire_lines_rejected_total",
        unavailable,
        1.0,
    );
    server.limit_files(None);
    wait_until("it can be written again", || {
        Scrape::of(&server).get("shopwire_ready", "") == 1.0
    });
}

#[test]
fn tls_is_counted_and_the_certificate_s_end_is_told_anew_on_reload() {
    let certificates = Certificates::new();
    certificates.renew_with(|params| params.not_after = rcgen::date_time_ymd(2040, 1, 1));
    let server = certificates.serve(&[]);
    let browser = certificates.browser();
    let scrape = || {
        let response = browser.get(&server, "/metrics", &[]);
        assert_eq!(response.status, 200);
        Scrape::read(String::from_utf8(response.body).unwrap())
    };
    let end = "shopwire_tls_certificate_end_seconds";
    assert_eq!(scrape().get(end, ""), 2_208_988_800.0);
    let client = browser.public(&server);
    wait_until("it is counted", || {
        let scrape = scrape();
        scrape.get("shopwire_tls_connections", "") == 1.0
            && scrape.get("shopwire_tls_handshakes_total", "outcome=full") >= 1.0
    });
    drop(client);
    certificates.renew_with(|params| params.not_after = rcgen::date_time_ymd(2041, 1, 1));
    server.emitter().command(&json!({"command": "reload"}));
    assert_eq!(scrape().get(end, ""), 2_240_611_200.0);
    wait_until("who left is not counted", || {
        scrape().get("shopwire_tls_connections", "") == 0.0
    });
}

#[test]
fn the_process_is_this_one() {
    let server = Server::start();
    let _clients: Vec<Client> = (0..20).map(|_| server.public()).collect();
    wait_until("open files are looked at", || {
        Scrape::of(&server).get("process_open_fds", "") >= 10.0
    });
    let scrape = Scrape::of(&server);
    let resident = scrape.get("process_resident_memory_bytes", "");
    let seen = server.resident_kib() as f64 * 1024.0;
    assert!((resident / seen - 1.0).abs() < 0.5, "{resident} and {seen}");
    let started = scrape.get("process_start_time_seconds", "");
    let now = tokens::now_seconds() as f64;
    assert!(
        (now - 120.0..=now + 1.0).contains(&started),
        "{started}, {now}"
    );
    assert_eq!(
        Scrape::of(&server).get("process_start_time_seconds", ""),
        started
    );
    assert!(scrape.get("process_max_fds", "") >= 20.0);
    assert!(scrape.get("process_cpu_seconds_total", "") >= 0.0);
}

#[test]
fn redis_is_told_of_while_it_is_in_reach_and_while_it_is_not() {
    let mut redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let before = Scrape::of(&a);
    assert_eq!(before.get("shopwire_redis_connected", ""), 1.0);
    assert_eq!(before.get("shopwire_redis_losses_total", ""), 0.0);
    let mut keyed = event("product:created");
    keyed["key"] = "once".into();
    a.emitter().emit(&keyed);
    b.emitter().emit(&event("product:created"));
    a.emitter().emit(&keyed);
    // The first, the other host's, and the repeat, which is an entry without an event.
    let entries = "shopwire_redis_entries_total";
    expect_growth(&a, &before, entries, "direction=read", 3.0);
    expect_growth(&a, &before, entries, "direction=written", 2.0);
    let after = Scrape::of(&a);
    let round_trips = "shopwire_redis_round_trip_seconds_count";
    assert_eq!(after.get(round_trips, ""), 2.0);
    assert_eq!(after.get("shopwire_redis_waiting_events", ""), 0.0);
    assert!(after.get("shopwire_redis_lag_seconds", "") < 10.0);
    // Each host counts its own events, and repeats apart.
    assert_eq!(after.get("shopwire_events_in_total", ""), 1.0);
    assert_eq!(after.get("shopwire_events_repeated_total", ""), 1.0);
    assert_promtool(&["check", "metrics"], &after.text);
    redis.kill();
    wait_until("that Redis has gone is told", || {
        let scrape = Scrape::of(&a);
        scrape.get("shopwire_redis_connected", "") == 0.0
            && scrape.get("shopwire_redis_losses_total", "") == 1.0
    });
    let mut emitter = a.emitter();
    emitter.send_line(event("product:created").to_string().as_bytes());
    wait_until("that a line waits is told", || {
        Scrape::of(&a).get("shopwire_redis_waiting_events", "") == 1.0
    });
    assert_eq!(Scrape::of(&a).get("shopwire_ready", ""), 0.0);
    emitter.settle();
    assert_eq!(emitter.refusals()[0].code, "unavailable");
    let rejected = "shopwire_lines_rejected_total";
    expect_growth(&a, &after, rejected, "code=unavailable", 1.0);
}
