//! `ctl revoke` where several hosts act as one.

use rustix::process::Signal;
use serde_json::json;

use crate::harness::redis::Redis;
use crate::harness::server::text;
use crate::harness::tokens::{newer, now_ms, now_seconds, signed};
use crate::harness::{Client, Opening, Server, wait_until};

/// A token that was made some seconds ago and says nothing of it.
fn timeless(user: &str) -> String {
    signed(&json!({"sub": user, "role": "customer", "exp": now_seconds() + 600}))
}

fn of_session(session: &str) -> String {
    signed(&json!({"sub": "bob", "role": "customer", "sid": session, "exp": now_seconds() + 600}))
}

fn status(host: &Server, token: &str) -> Option<u16> {
    Client::try_connect(host.address, Opening::new().bearer(token)).err()
}

fn connect(host: &Server, token: &str) -> Client {
    Client::connect(host, Opening::new().bearer(token))
}

fn assert_out(host: &Server, token: &str) {
    assert_eq!(status(host, token), Some(401));
}

#[test]
fn what_is_revoked_on_one_host_is_refused_by_all_and_by_those_that_come_later() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let (ann, session) = (timeless("ann"), of_session("s-1"));
    let mut clients = [connect(&a, &ann), connect(&b, &ann), connect(&b, &session)];
    let mut emitter = a.emitter();
    let answer = emitter.command(&json!({"command": "revoke", "user": "ann"}));
    assert_eq!(answer["disconnected"], 1, "of the host that was asked");
    assert_eq!(
        (&answer["everywhere"], &answer["stored"]),
        (&json!(true), &json!(true)),
        "{answer}"
    );
    let told = text(&a.ctl(&["revoke", "--session", "s-1"]));
    assert!(
        told.contains("over a restart: yes\nin force on all hosts\n"),
        "{told}"
    );
    for client in &mut clients {
        // Its connection is closed when its tokens are refused, not before.
        client.expect_close(4403);
    }
    let is_out = |host: &Server| {
        assert_out(host, &ann);
        assert_out(host, &session);
        assert_eq!(status(host, &newer("ann", None)), None);
        assert_eq!(status(host, &of_session("s-2")), None);
    };
    for host in [&a, &b, &redis.host()] {
        is_out(host);
    }
    // A reload and a takeover keep it, and so does Redis when all hosts have gone.
    b.emitter().command(&json!({"command": "reload"}));
    is_out(&b);
    let b = b.succeed(&["--workers", "1"]);
    is_out(&b);
    a.kill();
    b.kill();
    is_out(&redis.host());
}

#[test]
fn while_redis_is_away_it_holds_here_and_the_others_follow() {
    let mut redis = Redis::with(&["--appendonly", "yes"]);
    let (a, b) = (redis.host(), redis.host());
    let ann = timeless("ann");
    let (mut on_a, mut on_b) = (connect(&a, &ann), connect(&b, &ann));
    redis.kill();
    a.await_unready();
    let told = a.ctl(&["revoke", "--user", "ann"]);
    assert_eq!(told.status.code(), Some(0), "{}", text(&told));
    let told = text(&told);
    assert!(
        told.contains("in force on this host; the others follow when Redis is back"),
        "{told}"
    );
    assert!(told.contains("over a restart: no"), "{told}");
    on_a.expect_close(4403);
    assert_out(&a, &ann);
    on_b.ping();
    // The process that takes over meanwhile does not forget to tell.
    let a = a.succeed(&["--workers", "1"]);
    redis.run();
    a.await_ready();
    on_b.expect_close(4403);
    assert_out(&b, &ann);
    wait_until("Redis has it", || {
        redis.ask("HLEN {shopwire}:revoked") == ":1"
    });
    assert_out(&redis.host(), &ann);
}

#[test]
fn a_redis_that_stands_still_is_waited_for_and_then_told() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let ann = timeless("ann");
    let mut on_b = connect(&b, &ann);
    redis.stand_still();
    let mut emitter = a.emitter();
    let answer = emitter.command(&json!({"command": "revoke", "user": "ann"}));
    assert_eq!(answer["everywhere"], false, "{answer}");
    assert_out(&a, &ann);
    redis.signal(Signal::CONT);
    on_b.expect_close(4403);
    assert_out(&b, &ann);
}

#[test]
fn a_redis_that_has_lost_everything_hears_again_what_is_revoked() {
    let mut redis = Redis::start();
    let host = redis.host();
    let ann = timeless("ann");
    host.emitter()
        .command(&json!({"command": "revoke", "user": "ann"}));
    // Who has signed in again since stays.
    let mut again = connect(&host, &newer("ann", None));
    redis.kill();
    host.await_unready();
    redis.run();
    host.await_ready();
    wait_until("Redis has it", || {
        redis.ask("HLEN {shopwire}:revoked") == ":1"
    });
    assert_out(&redis.host(), &ann);
    again.ping();
}

#[test]
fn a_token_that_lasts_longer_is_remembered_by_all_hosts_wherever_it_was_seen() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let exp = now_seconds() + 90 * 24 * 3600;
    let long = signed(&json!({"sub": "ann", "role": "customer", "exp": exp}));
    let mut on_b = connect(&b, &long);
    let answer = a
        .emitter()
        .command(&json!({"command": "revoke", "user": "ann", "for": 1000}));
    on_b.expect_close(4403);
    let until = answer["until"].as_u64().unwrap();
    wait_until("it would be over", || now_ms() > until);
    let end = (exp * 1000).to_string();
    wait_until("Redis knows how long", || {
        redis
            .ask("HGET {shopwire}:revoked user:ann")
            .ends_with(&end)
    });
    assert_out(&a, &long);
    assert_out(&redis.host(), &long);
    // What is over is removed.
    a.emitter()
        .command(&json!({"command": "revoke", "user": "eve", "for": 1000}));
    wait_until("it is forgotten", || {
        redis.ask("HEXISTS {shopwire}:revoked user:eve") == ":0"
    });
    assert_eq!(redis.ask("ZCARD {shopwire}:revoked:ends"), ":1");
}

#[test]
fn a_host_lets_nobody_in_before_it_knows_who_is_out() {
    let mut redis = Redis::stopped(&[]);
    let host = redis.setup(&[]).start();
    assert_eq!(status(&host, &timeless("ann")), Some(503));
    assert_eq!(
        Client::try_connect(host.address, Opening::new()).err(),
        Some(503)
    );
    assert_eq!(host.get("/healthz").status, 200);
    redis.run();
    host.await_ready();
    connect(&host, &timeless("ann")).ping();
}
