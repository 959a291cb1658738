//! Hosts with `--redis-outage local`, while they are cut off from Redis: they deliver alone at once, and every client has
//! each event once in the end.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::thread;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Watched, comes, hop, id, keyed, number, product, products, resume, the_end, watcher};
use crate::harness::redis::{Redis, free_port};
use crate::harness::{Client, DEADLINE, Emitter, Fence, Relay, Server, Setup, wait_until};

const LOCAL: [&str; 2] = ["--redis-outage", "local"];

/// A Redis, and a host whose way to it can be cut.
fn with_relay() -> (Redis, Relay, Server) {
    let port = free_port();
    let redis = Redis::with(&["--port", &port.to_string()]);
    let (relay, setup) = behind_relay(port);
    let host = setup.start();
    host.await_ready();
    (redis, relay, host)
}

fn behind_relay(port: u16) -> (Relay, Setup) {
    let relay = Relay::to(([127, 0, 0, 1], port).into());
    let url = format!("redis://{}", relay.address);
    let setup = Setup::new(&["--redis-url", &url, "--redis-outage", "local"]);
    (relay, setup)
}

fn await_alone(host: &Server) {
    wait_until("the host delivers alone", || {
        text(host, "/readyz").contains("delivering locally")
    });
}

fn await_reconciled(host: &Server) {
    wait_until("all hosts have everything", || {
        host.get("/readyz").json() == json!({"status": "ready"}) && alone_events(host) == 0.0
    });
}

fn text(host: &Server, path: &str) -> String {
    String::from_utf8(host.get(path).body).unwrap()
}

fn alone_events(host: &Server) -> f64 {
    let metrics = text(host, "/metrics");
    let name = "shopwire_redis_local_events ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().parse().unwrap()
}

/// What the statistics say of it.
fn way_to_redis(host: &Server, path: &str) -> Value {
    host.get(path).json()["redis"].clone()
}

/// Sends a line, and gives its ack.
fn ack_of(emitter: &mut Emitter, event: &Value) -> (String, bool) {
    let id = emitter.emit(event);
    (id, emitter.is_local())
}

fn next_product(client: &mut Client) -> (String, Value) {
    let event = client.next();
    let product = event["data"]["productId"].as_str().expect("an event");
    (product.to_owned(), event["id"].clone())
}

fn last(host: &Server, count: usize) -> Vec<Value> {
    let mut client = host.public();
    client.subscribe_with(json!({"namespaces": ["products"], "last": count}));
    (0..count).map(|_| client.next()).collect()
}

#[test]
fn a_host_that_is_cut_off_delivers_alone_and_each_client_has_all_once_in_the_end() {
    let (redis, relay, a) = with_relay();
    let b = redis.host();
    let ((mut on_a, _), (mut on_b, _)) = (watcher(&a), watcher(&b));
    let (mut to_a, mut to_b) = (a.emitter(), b.emitter());
    let first = ack_of(&mut to_a, &product(0));
    assert!(!first.1, "Redis has it");
    for client in [&mut on_a, &mut on_b] {
        assert_eq!(id(&client.next()), first.0);
    }

    relay.cut();
    await_alone(&a);
    let mut alone = Vec::new();
    for n in 1..4 {
        let (id, is_local) = ack_of(&mut to_a, &product(n));
        assert!(is_local);
        assert_eq!(next_product(&mut on_a), (n.to_string(), id.clone().into()));
        alone.push(id);
    }
    assert_eq!(alone_events(&a), 3.0);
    let told = way_to_redis(&a, "/api/ws/stats");
    assert!(told["cutOffSeconds"].is_u64(), "{told}");
    let facts = ["connected", "deliversAlone", "waitingEvents", "localEvents"];
    let facts = facts.map(|fact| told[fact].clone());
    assert_eq!(facts, [json!(false), json!(true), json!(0), json!(3)]);
    let page = String::from_utf8(a.ctl(&["stats"]).stdout).unwrap();
    assert!(
        page.contains("CUT OFF") && page.contains("; 3 events that"),
        "{page}"
    );
    assert_eq!(a.get("/api/ws/stats?scope=cluster").status, 503);
    assert_eq!(products(&comes(&mut to_b, &mut on_b)), [""; 0]);
    // One who has had the first two there goes where they have not come, and back.
    let (mut hopper, answer) = resume(&b, &alone[1].clone().into());
    assert_eq!(answer["recovered"], true);
    to_b.emit(&product(10));
    let fence = next_product(&mut hopper);
    assert!(fence.0.starts_with("fence"), "{fence:?}");
    let (seen, since) = next_product(&mut hopper);
    assert_eq!(seen, "10");
    let (mut back, answer) = resume(&a, &since);
    assert_eq!(answer["recovered"], true);
    let (seen, _) = next_product(&mut back);
    assert_eq!(seen, "3", "it waits for nothing that is here");
    // Who asks for the newest here gets these, too.
    let kept = last(&a, 4);
    assert_eq!(products(&kept), ["0", "1", "2", "3"]);

    relay.mend();
    await_reconciled(&a);
    // Those that came meanwhile come to each: what he has not had of them.
    let fence = Fence::raise(&mut to_b);
    let of_others = |events: Vec<Value>| {
        let all = events
            .iter()
            .map(|event| event["data"]["productId"].clone());
        all.filter(|product| !product.as_str().unwrap().starts_with("fence"))
            .collect::<Vec<_>>()
    };
    assert_eq!(of_others(fence.before(&mut on_a)), ["10"]);
    assert_eq!(of_others(fence.before(&mut on_b)), ["10", "1", "2", "3"]);
    assert_eq!(of_others(fence.before(&mut hopper)), ["3"]);
    assert_eq!(of_others(fence.before(&mut back)), [""; 0]);
    let in_reach =
        json!({"connected": true, "deliversAlone": false, "waitingEvents": 0, "localEvents": 0});
    assert_eq!(way_to_redis(&a, "/api/ws/stats"), in_reach);
    wait_until("the hosts have told each other so", || {
        let all = way_to_redis(&b, "/api/ws/stats?scope=cluster");
        all == json!({"waitingEvents": 0, "localEvents": 0})
    });
    // By now all have one order again, and ids that are numbers alone.
    let [here, there] = [&a, &b].map(|host| last(host, 7));
    assert_eq!(here, there);
    for event in &here {
        assert!(
            id(event).starts_with("c1-") && number(&id(event)) > 0,
            "{event}"
        );
    }
    // An id from before leads to the same, also on a host that was not there.
    let late = redis.host();
    for host in [&a, &b, &late] {
        let (mut client, answer) = resume(host, &alone[0].clone().into());
        assert_eq!(answer["recovered"], true);
        let events = of_others(fence.before(&mut client));
        assert_eq!(events, ["10", "2", "3"]);
    }
    let told = a.stderr();
    for line in [
        "delivered on this host alone, until",
        "is missing on the others any more",
    ] {
        assert_eq!(told.matches(line).count(), 1, "{told}");
    }
    let ack = ack_of(&mut to_a, &product(5));
    assert!(!ack.1);
    assert_eq!(next_product(&mut on_b), ("5".to_owned(), ack.0.into()));
}

#[test]
fn what_waited_for_a_redis_that_has_stopped_is_delivered_once_though_it_may_have_got_there() {
    let redis = Redis::start();
    let host = |args| {
        let host = redis.setup(args).start();
        host.await_ready();
        host
    };
    let (a, b) = (host(&LOCAL), host(&LOCAL));
    let mut clients = [&a, &b].map(|host| watcher(host).0);
    let mut emitters = [&a, &b].map(Server::emitter);
    emitters[0].emit(&product(0));
    redis.stand_still();
    // These are on their way.
    for (at, emitter) in emitters.iter_mut().enumerate() {
        for n in 1..4 {
            emitter.send_line(product(10 * at + n).to_string().as_bytes());
        }
    }
    for (at, emitter) in emitters.iter_mut().enumerate() {
        emitter.settle();
        assert!(emitter.is_local() && emitter.refusals().is_empty());
        emitter.emit(&product(10 * at + 4));
    }
    redis.signal(Signal::CONT);
    for host in [&a, &b] {
        await_reconciled(host);
    }
    let fence = Fence::raise(&mut emitters[0]);
    let expected: BTreeSet<String> = [0, 1, 2, 3, 4, 11, 12, 13, 14]
        .map(|n: u32| n.to_string())
        .into();
    for client in &mut clients {
        let events = fence.before(client);
        assert_eq!(events.len(), expected.len(), "{events:?}");
        let got = products(&events).into_iter().map(str::to_owned).collect();
        assert_eq!(expected, got);
    }
    assert_eq!(last(&a, 9), last(&b, 9));
}

#[test]
fn keys_count_on_the_host_that_is_cut_off() {
    let (redis, relay, a) = with_relay();
    let b = redis.host();
    let ((mut on_a, _), (mut on_b, _)) = (watcher(&a), watcher(&b));
    let (mut to_a, mut to_b) = (a.emitter(), b.emitter());
    to_a.emit(&keyed(1, "before"));
    on_a.next();
    relay.cut();
    await_alone(&a);
    let id = to_a.emit(&keyed(2, "once"));
    assert_eq!(ack_of(&mut to_a, &keyed(2, "once")), (id.clone(), true));
    assert_eq!(ack_of(&mut a.emitter(), &keyed(2, "once")), (id, true));
    // Used before the cut, and not sent again.
    to_a.emit(&keyed(1, "before"));
    // What other hosts have used is not known.
    to_a.emit(&keyed(3, "twice"));
    to_b.emit(&keyed(3, "twice"));
    relay.mend();
    await_reconciled(&a);
    let fence = Fence::raise(&mut to_b);
    assert_eq!(products(&fence.before(&mut on_a)), ["2", "3", "3"]);
    assert_eq!(products(&fence.before(&mut on_b)), ["1", "3", "2", "3"]);
    // And are known by all since.
    let known = to_a.emit(&keyed(2, "once"));
    assert_eq!(to_b.emit(&keyed(2, "once")), known);
    assert!(!to_a.is_local());
}

#[test]
fn what_was_delivered_alone_outlives_a_redis_that_has_lost_everything() {
    let mut redis = Redis::start();
    let host = || {
        let host = redis.setup(&LOCAL).start();
        host.await_ready();
        host
    };
    let (a, b) = (host(), host());
    let ((mut on_a, _), (mut on_b, _)) = (watcher(&a), watcher(&b));
    a.emitter().emit(&product(0));
    for client in [&mut on_a, &mut on_b] {
        client.next();
    }
    redis.kill();
    await_alone(&a);
    let id = a.emitter().emit(&product(1));
    assert_eq!(next_product(&mut on_a).0, "1");
    redis.run();
    for client in [&mut on_a, &mut on_b] {
        let messages = client.expect_close(1001);
        assert_eq!(messages.last().unwrap()["type"], "reconnect");
    }
    await_reconciled(&a);
    await_reconciled(&b);
    // It begins anew behind what is lost, and has all behind that.
    let (_, answer) = resume(&b, &id.into());
    assert_eq!(answer["recovered"], false);
    wait_until("the other host has it", || {
        let mut client = b.public();
        // Also behind what each look adds.
        client.subscribe_with(json!({"namespaces": ["products"], "last": 1000}));
        let events = comes(&mut b.emitter(), &mut client);
        products(&events).first() == Some(&"1")
    });
}

#[test]
fn a_host_that_has_more_than_the_others_is_not_succeeded_before_they_have_it() {
    let port = free_port();
    let _redis = Redis::with(&["--port", &port.to_string()]);
    let (relay, setup) = behind_relay(port);
    let a = setup.start();
    a.await_ready();
    let (mut client, _) = watcher(&a);
    relay.cut();
    await_alone(&a);
    a.emitter().emit(&product(1));
    client.next();
    let mut command = setup.command("serve");
    command.arg("--takeover");
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let refused = command.output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("other hosts do not have all"), "{said}");
    // Nor is it drained for one that could not have taken over anyway.
    let url = format!("redis://{}", relay.address);
    let mut elsewhere = Setup::new(&["--redis-url", &url, "--host", "127.0.0.2"]);
    elsewhere.same_place_as(&setup);
    let mut command = elsewhere.command("serve");
    command.arg("--takeover");
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let refused = command.output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("so it was left alone"), "{said}");
    client.ping();
    relay.mend();
    await_reconciled(&a);
    let a = a.succeed(&[]);
    a.await_ready();
    let second = a.emitter().emit(&product(2));
    assert_eq!(id(&client.next()), second);
}

#[test]
fn a_host_that_drains_waits_for_redis_while_the_others_are_owed_events() {
    let port = free_port();
    let redis = Redis::with(&["--port", &port.to_string()]);
    let (relay, setup) = behind_relay(port);
    let (mut a, b) = (setup.env("WS_DRAIN_TIMEOUT", "60s").start(), redis.host());
    a.await_ready();
    b.await_ready();
    let (mut on_b, _) = watcher(&b);
    relay.cut();
    await_alone(&a);
    a.emitter().emit(&product(1));
    let told = String::from_utf8(a.ctl(&["drain"]).stdout).unwrap();
    assert!(told.contains("localEvents: 1"), "{told}");
    wait_until("it waits", || a.stderr().contains("Redis is waited for"));
    relay.mend();
    assert_eq!(next_product(&mut on_b).0, "1");
    let (status, _) = a.exit_within(DEADLINE);
    assert_eq!(status.code(), Some(0));
}

/// Another Redis becomes the master meanwhile.
#[test]
fn what_is_delivered_alone_until_sentinels_have_another_master_is_with_all_then() {
    let mut redis = Watched::start();
    let (a, b) = (redis.host("local"), redis.host("hold"));
    let ((mut on_a, _), (mut on_b, _)) = (watcher(&a), watcher(&b));
    let (mut to_a, mut to_b) = (a.emitter(), b.emitter());
    let first = to_a.emit(&keyed(0, "first"));
    for client in [&mut on_a, &mut on_b] {
        assert_eq!(id(&client.next()), first);
    }
    redis.await_followed();
    redis.main.kill();
    await_alone(&a);
    b.await_unready();
    let (id, is_local) = ack_of(&mut to_a, &keyed(1, "alone"));
    assert!(is_local);
    assert_eq!(next_product(&mut on_a), ("1".to_owned(), id.into()));
    b.await_ready();
    await_reconciled(&a);
    let fence = Fence::raise(&mut to_b);
    assert_eq!(products(&fence.before(&mut on_b)), ["1"]);
    assert_eq!(products(&fence.before(&mut on_a)), [""; 0]);
    assert_eq!(last(&a, 3), last(&b, 3));
    // The new one knows the keys of both times.
    assert_eq!(to_b.emit(&keyed(0, "first")), first);
    let known = to_a.emit(&keyed(1, "alone"));
    assert_eq!(to_b.emit(&keyed(1, "alone")), known);
    for host in [&a, &b] {
        let told = host.stderr();
        assert_eq!(told.matches("is in reach again").count(), 1, "{told}");
    }
}

/// In each round one of them is cut off, while all are sent events and a client moves on at any moment.
#[test]
fn clients_that_hop_while_hosts_are_cut_off_by_turns_have_everything_once() {
    const ROUNDS: usize = 4;
    let port = free_port();
    let _redis = Redis::with(&["--port", &port.to_string()]);
    let ways = [(); 2].map(|()| behind_relay(port));
    let hosts = ways.each_ref().map(|(_, setup)| setup.start());
    hosts.iter().for_each(Server::await_ready);
    let start = watcher(&hosts[0]).1;
    let addresses = hosts.each_ref().map(|host| host.address);
    let hoppers: Vec<_> = (0..6)
        .map(|seed| {
            let start = start.clone();
            let hosts = addresses.into_iter().cycle().skip(seed);
            thread::spawn(move || hop(hosts, 3 + 5 * (seed % 7), start))
        })
        .collect();
    let mut emitters = hosts.each_ref().map(Server::emitter);
    let mut sent = 0;
    let mut send = |emitters: &mut [Emitter]| {
        for _ in 0..40 {
            for emitter in &mut *emitters {
                emitter.emit(&product(sent));
                sent += 1;
            }
        }
    };
    for round in 0..ROUNDS {
        send(&mut emitters);
        let cut_off = round % hosts.len();
        ways[cut_off].0.cut();
        await_alone(&hosts[cut_off]);
        send(&mut emitters);
        ways[cut_off].0.mend();
        send(&mut emitters);
        await_reconciled(&hosts[cut_off]);
    }
    emitters[0].emit(&the_end());
    let expected: BTreeSet<String> = (0..sent).map(|n| n.to_string()).collect();
    for hopper in hoppers {
        let got = hopper.join().unwrap().events;
        let count = got.len();
        let all: BTreeSet<String> = got.into_iter().map(|(_, product)| product).collect();
        assert_eq!(all.len(), count, "some came twice");
        assert!(all == expected, "lacks {:?}", expected.difference(&all));
    }
    // In one order. What a host's ids say beside an event's place is what it had delivered when that came.
    let order = |host| last(host, 500).iter().map(place_of).collect::<Vec<_>>();
    assert_eq!(order(&hosts[0]), order(&hosts[1]));
}

/// Where an event stands in the common order.
fn place_of(event: &Value) -> String {
    let id = event["id"].as_str().unwrap();
    let (epoch, rest) = id.split_once('-').unwrap();
    let place = rest.split(['~', '-']).next().unwrap();
    format!("{epoch}-{place}")
}
