//! What is kept: in memory, on disk, in Redis; and how connections end and come back.

use serde_json::{Value, json};
use tungstenite::Message;

use super::expect_growth;
use super::scrape::{Scrape, assert_promtool};
use crate::harness::examples::event;
use crate::harness::redis::Redis;
use crate::harness::{Client, Server, wait_until};

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
