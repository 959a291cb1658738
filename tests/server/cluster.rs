//! Several hosts as one: what holds over all of them.

mod faults;
mod hopping;
mod kinds;
mod local;
mod revoking;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::redis::{Redis, free_port};
use crate::harness::tokens::with_session;
use crate::harness::{Client, DEADLINE, Emitter, Fence, Opening, Server, Setup, http, wait_until};

fn product(n: usize) -> Value {
    json!({"type": "product:deleted", "data": {"productId": n.to_string()}})
}

fn keyed(n: usize, key: &str) -> Value {
    let mut event = product(n);
    event["key"] = key.into();
    event
}

/// A Redis, another that follows it, and a sentinel that makes the other one the master when the first has gone.
struct Watched {
    main: Redis,
    other: Redis,
    _sentinel: Redis,
    url: String,
}

impl Watched {
    fn start() -> Watched {
        let [main_port, other_port, sentinel_port] = [free_port(), free_port(), free_port()];
        let main = Redis::with(&["--port", &main_port.to_string()]);
        let main_address = format!("127.0.0.1 {main_port}");
        let other = Redis::with(&[
            "--port",
            &other_port.to_string(),
            "--replicaof",
            &main_address,
        ]);
        wait_until("the replica follows", || {
            other
                .ask("INFO replication")
                .contains("master_link_status:up")
        });
        let sentinel = Redis::sentinel(sentinel_port, main_port);
        wait_until("the sentinel knows the replica", || {
            sentinel.ask("INFO sentinel").contains("slaves=1")
        });
        Watched {
            main,
            other,
            _sentinel: sentinel,
            url: format!("redis+sentinel://127.0.0.1:{sentinel_port}/shop"),
        }
    }

    /// With `redis-outage` as given.
    fn host(&self, outage: &str) -> Server {
        let args = ["--redis-url", &self.url, "--redis-outage", outage];
        let host = Setup::new(&args).start();
        host.await_ready();
        host
    }

    fn await_followed(&self) {
        wait_until("the replica has everything", || {
            let both = [&self.main, &self.other];
            let lasts = both.map(|redis| redis.ask("HGET {shopwire}:state last"));
            lasts[0] == lasts[1]
        });
    }
}

/// What the last event of all is about.
const THE_END: &str = "the end";

fn the_end() -> Value {
    json!({"type": "product:deleted", "data": {"productId": THE_END}})
}

/// What one has got who moved from host to host.
struct Hopped {
    /// The id and the product of each event, as they came.
    events: Vec<(String, String)>,
    hops: usize,
}

/// Listens behind `since` to so many events at the first of these hosts, and goes on at the next, until the end.
fn hop(hosts: impl Iterator<Item = SocketAddr>, events: usize, mut since: Value) -> Hopped {
    let mut hopped = Hopped {
        events: Vec::new(),
        hops: 0,
    };
    for address in hosts {
        let mut client = Client::try_connect(address, Opening::new()).unwrap();
        let data = json!({"namespaces": ["products"], "since": since});
        client.send(&json!({"type": "subscribe", "data": data}));
        let answer = client.expect("subscribed");
        assert_eq!(answer["data"]["recovered"], true, "{since}: {answer}");
        for _ in 0..events {
            let event = client.next();
            let product = event["data"]["productId"].as_str().expect("an event");
            if product == THE_END {
                return hopped;
            }
            since = event["id"].clone();
            hopped.events.push((id(&event), product.to_owned()));
        }
        hopped.hops += 1;
    }
    panic!("there is no host more");
}

fn watcher(host: &Server) -> (Client, Value) {
    let mut client = host.public();
    let answer = client.subscribe(&["products"]);
    (client, answer["position"].clone())
}

fn resume(host: &Server, since: &Value) -> (Client, Value) {
    let mut client = host.public();
    client
        .send(&json!({"type": "subscribe", "data": {"namespaces": ["products"], "since": since}}));
    let answer = client.expect("subscribed")["data"].clone();
    (client, answer)
}

fn id(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}

fn number(id: &str) -> u64 {
    id.rsplit('-').next().unwrap().parse().unwrap()
}

fn products(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["data"]["productId"].as_str().unwrap())
        .collect()
}

/// What comes before a fence that is raised now.
fn comes(emitter: &mut Emitter, client: &mut Client) -> Vec<Value> {
    Fence::raise(emitter).before(client)
}

#[test]
fn all_hosts_deliver_every_event_once_in_one_order() {
    const EVENTS: usize = 400;
    let redis = Redis::start();
    let hosts: Vec<Server> = (0..3).map(|_| redis.host()).collect();
    let mut clients: Vec<Client> = hosts.iter().map(|host| watcher(host).0).collect();
    let emitters: Vec<_> = hosts
        .iter()
        .enumerate()
        .map(|(at, host)| {
            let mut emitter = host.emitter();
            thread::spawn(move || {
                for n in 0..EVENTS {
                    emitter.send_line(product(at * EVENTS + n).to_string().as_bytes());
                    if n % 50 == 0 {
                        emitter.settle();
                    }
                }
                emitter.settle();
                assert!(emitter.refusals().is_empty());
                emitter.last_id().unwrap().to_owned()
            })
        })
        .collect();
    let newest: Vec<String> = emitters
        .into_iter()
        .map(|all| all.join().unwrap())
        .collect();
    let fence = Fence::raise(&mut hosts[0].emitter());
    let all: Vec<Vec<Value>> = clients
        .iter_mut()
        .map(|client| fence.before(client))
        .collect();
    assert_eq!(all[0].len(), 3 * EVENTS);
    let ids: Vec<String> = all[0].iter().map(id).collect();
    assert!(ids.is_sorted_by(|one, next| number(one) < number(next)));
    for other in &all[1..] {
        assert_eq!(&all[0], other, "one order");
    }
    for (at, newest) in newest.iter().enumerate() {
        let own: Vec<&Value> = all[0]
            .iter()
            .filter(|event| {
                let product: usize = event["data"]["productId"]
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap();
                product / EVENTS == at
            })
            .collect();
        assert_eq!(own.len(), EVENTS);
        assert_eq!(id(own[EVENTS - 1]), *newest, "the ack names the event");
        let expected = (at * EVENTS..(at + 1) * EVENTS).map(|n| n.to_string());
        assert!(
            own.iter()
                .map(|event| event["data"]["productId"].clone())
                .eq(expected)
        );
    }
    for host in hosts {
        host.stop();
    }
}

#[test]
fn a_client_goes_on_at_another_host_also_at_one_that_is_started_later() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let (mut client, position) = watcher(&a);
    let ids: Vec<String> = (0..10).map(|n| a.emitter().emit(&product(n))).collect();
    for id in &ids {
        assert_eq!(client.next()["id"], id.as_str());
    }
    let late = redis.host();
    for host in [&b, &late] {
        let (mut client, answer) = resume(host, &ids[3].clone().into());
        assert_eq!(answer["recovered"], true);
        assert_eq!(
            products(&comes(&mut a.emitter(), &mut client))[..6],
            ["4", "5", "6", "7", "8", "9"]
        );
    }
    // From the position that an empty cluster told.
    let (mut client, answer) = resume(&late, &position);
    assert_eq!(answer["recovered"], true);
    assert_eq!(
        products(&comes(&mut b.emitter(), &mut client))[..3],
        ["0", "1", "2"]
    );
    // What no host of this cluster has told.
    for unknown in ["c1-99999999999999999", "18bcfe56800beef-1", "c2-1"] {
        assert_eq!(
            resume(&b, &unknown.into()).1["recovered"],
            false,
            "{unknown}"
        );
    }
    // A host that is started when all others have gone has it from Redis.
    for host in [a, b, late] {
        host.kill();
    }
    let heir = redis.host();
    let (mut client, answer) = resume(&heir, &ids[8].clone().into());
    assert_eq!(answer["recovered"], true);
    assert_eq!(client.next()["id"], ids[9].as_str());
}

#[test]
fn a_client_that_knows_more_than_its_new_host_waits_for_it_and_hears_nothing_twice() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    a.emitter().emit(&product(0));
    // The reader of b is held up by its process standing still.
    b.stand_still();
    let seen = a.emitter().emit(&product(1));
    let after = a.emitter().emit(&product(2));
    b.signal(Signal::CONT);
    let (mut client, answer) = resume(&b, &seen.into());
    assert_eq!(answer["recovered"], true);
    assert_eq!(client.next()["id"], after.as_str());
    // Also one that is ahead of everything: by as much as clocks may differ.
    let ahead = format!("c1-{}", number(&after) + 1000);
    let (mut client, answer) = resume(&b, &ahead.clone().into());
    assert_eq!(
        (&answer["recovered"], &answer["position"]),
        (&json!(true), &json!(ahead))
    );
    let mut emitter = a.emitter();
    let next = loop {
        let next = emitter.emit(&product(3));
        if number(&next) > number(&ahead) {
            break next;
        }
    };
    assert_eq!(client.next()["id"], next.as_str());
}

#[test]
fn a_key_counts_on_all_hosts() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let (mut client, _) = watcher(&a);
    let first = a.emitter().emit(&keyed(1, "once"));
    assert_eq!(b.emitter().emit(&keyed(1, "once")), first);
    assert_eq!(a.emitter().emit(&keyed(1, "once")), first);
    // Twice in one batch, between others.
    let mut emitter = b.emitter();
    let lines = [
        product(2),
        keyed(3, "twice"),
        keyed(4, "once"),
        keyed(3, "twice"),
        product(5),
    ];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    emitter.send_raw(text.as_bytes());
    emitter.settle();
    let events = comes(&mut a.emitter(), &mut client);
    assert_eq!(products(&events), ["1", "2", "3", "5"]);
    assert_eq!(emitter.last_id(), events.last().unwrap()["id"].as_str());
    // A refused line uses no key up.
    let refused = r#"{"type":"product:deleted","data":{},"key":"free"}"#;
    a.emitter().emit_refused(refused);
    let id = b.emitter().emit(&keyed(6, "free"));
    assert_eq!(client.next()["id"], id.as_str());
    let accepted =
        a.stats()["eventsIn"].as_u64().unwrap() + b.stats()["eventsIn"].as_u64().unwrap();
    assert_eq!(accepted, 6, "five events and the fence");
}

/// A member of staff who watches customers come and go.
fn lookout(host: &Server) -> (Client, u64) {
    let mut staff = host.user("sam", "staff");
    let answer = staff.subscribe(&["customers"]);
    (staff, answer["online"].as_u64().unwrap())
}

fn expect_presence(staff: &mut Client, kind: &str, customer: &str) {
    let event = staff.expect_event(kind);
    assert_eq!(event["data"]["customerId"], customer, "{event}");
}

#[test]
fn a_customer_is_online_once_for_all_hosts() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let (mut staff, online) = lookout(&a);
    assert_eq!(online, 0);
    let on_a = a.user("ann", "customer");
    expect_presence(&mut staff, "customer:online", "ann");
    let on_b = b.user("ann", "customer");
    let _bob = b.user("bob", "customer");
    expect_presence(&mut staff, "customer:online", "bob");
    wait_until("the other host has read that", || lookout(&b).1 == 2);
    // A customer who moves to another host has not been away: zoe, who leaves later, is.
    let zoe = a.user("zoe", "customer");
    expect_presence(&mut staff, "customer:online", "zoe");
    let open = a.stats()["totalConnections"].as_u64().unwrap();
    drop(on_a);
    wait_until("ann has left that host", || {
        a.stats()["totalConnections"] == open - 1
    });
    drop(zoe);
    expect_presence(&mut staff, "customer:offline", "zoe");
    drop(on_b);
    expect_presence(&mut staff, "customer:offline", "ann");
    assert_eq!(lookout(&a).1, 1);
}

#[test]
fn the_customers_of_a_host_that_dies_go_offline_but_those_who_came_back_elsewhere() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let (mut staff, _) = lookout(&a);
    let customers = ["ann", "bob"].map(|user| {
        let client = b.user(user, "customer");
        expect_presence(&mut staff, "customer:online", user);
        client
    });
    b.kill();
    drop(customers);
    let _back = a.user("bob", "customer");
    let since = Instant::now();
    let event = loop {
        // Its lease is ten seconds, as long as a client waits for something here.
        staff.send(&json!({"type": "ping"}));
        let message = staff.next();
        if message["type"] != "pong" {
            break message;
        }
        assert!(since.elapsed() < 3 * DEADLINE, "ann is still online");
        thread::sleep(Duration::from_millis(700));
    };
    assert_eq!(event["type"], "customer:offline");
    assert_eq!(event["data"]["customerId"], "ann");
    assert_eq!(lookout(&a).1, 1);
}

/// All leases are over then: nobody may take that for the end of the others.
#[test]
fn a_redis_that_stands_still_for_longer_than_a_lease_confuses_no_customers() {
    const LEASE: Duration = Duration::from_secs(10);
    let redis = Redis::start();
    let hosts = [redis.host(), redis.host(), redis.host()];
    let mut customers: Vec<Client> = Vec::new();
    for (host, user) in hosts.iter().zip(["ann", "bob", "zoe"]) {
        customers.push(host.user(user, "customer"));
    }
    wait_until("all are online", || lookout(&hosts[0]).1 == 3);
    // As long as a host has to be alive before it judges others, and as a lease lasts.
    thread::sleep(LEASE + Duration::from_secs(1));
    redis.stand_still();
    drop(customers.remove(1));
    thread::sleep(LEASE + Duration::from_secs(2));
    redis.signal(Signal::CONT);
    for host in &hosts {
        host.await_ready();
    }
    wait_until("bob is offline for all", || {
        hosts.iter().all(|host| lookout(host).1 == 2)
    });
    // And so it stays, and who comes back is announced.
    let (mut staff, _) = lookout(&hosts[0]);
    let _back = hosts[1].user("bob", "customer");
    expect_presence(&mut staff, "customer:online", "bob");
    drop(customers.remove(1));
    expect_presence(&mut staff, "customer:offline", "zoe");
    wait_until("bob is back, and zoe gone, for all", || {
        hosts.iter().all(|host| lookout(host).1 == 2)
    });
}

#[test]
fn disconnect_reaches_every_host() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let connect = |host: &Server, user: &str| {
        let token = with_session(user, "customer", &format!("s-{user}"));
        Client::connect(host, Opening::new().bearer(&token))
    };
    let (mut ann_a, mut ann_b) = (connect(&a, "ann"), connect(&b, "ann"));
    let (mut bob_a, mut bob_b) = (connect(&a, "bob"), connect(&b, "bob"));
    let mut emitter = a.emitter();
    let answer = emitter.command(&json!({"command": "disconnect", "user": "ann"}));
    assert_eq!(
        answer["disconnected"], 1,
        "those of the host that was asked"
    );
    ann_a.expect_close(4403);
    ann_b.expect_close(4403);
    bob_b.ping();
    emitter.command(&json!({"command": "disconnect", "session": "s-bob"}));
    bob_a.expect_close(4403);
    bob_b.expect_close(4403);
    // Hosts may call a connection alike: only the one that is asked means its own.
    let serial = |client: &Client| u32::from_str_radix(&client.connection_id()[1..], 16).unwrap();
    let (mut here, mut there) = (connect(&a, "eve"), connect(&b, "eve"));
    while serial(&here) != serial(&there) {
        if serial(&here) < serial(&there) {
            here = connect(&a, "eve");
        } else {
            there = connect(&b, "eve");
        }
    }
    let connection = here.connection_id();
    emitter.command(&json!({"command": "disconnect", "connection": connection}));
    here.expect_close(4403);
    there.ping();
    // When Redis is out of reach it is done here, and said that it is not elsewhere.
    redis.stand_still();
    let mut eve = connect(&a, "eve");
    let line = json!({"command": "disconnect", "user": "eve"}).to_string();
    let refused = emitter.try_emit(line.as_bytes()).unwrap_err();
    assert_eq!(refused.code, "unavailable");
    assert!(
        refused.message.contains("1 connection of this host was"),
        "{refused:?}"
    );
    eve.expect_close(4403);
}

#[test]
fn statistics_of_all_hosts_are_added_up() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let _clients = [a.user("root", "admin"), b.user("sam", "staff"), b.public()];
    wait_until("both hosts have told", || {
        let response = a.get("/api/ws/stats?scope=cluster");
        response.status == 200 && response.json()["totalConnections"] == 3
    });
    let all = a.get("/api/ws/stats?scope=cluster").json();
    assert_eq!(all["connectionsByRole"]["staff"], 1);
    assert_eq!(all["hosts"].as_array().unwrap().len(), 2);
    assert_eq!(
        a.get("/api/ws/stats?scope=host").json()["totalConnections"],
        1
    );
    a.get("/api/ws/stats?scope=world")
        .assert_refusal(400, "an unknown scope");
    let alone = Server::start();
    alone
        .get("/api/ws/stats?scope=cluster")
        .assert_refusal(404, "without Redis");
    let address = a.address;
    let proxied = http::get_with(address, "/api/ws/stats?scope=cluster", &["Via: 1.1 proxy"]);
    proxied.assert_refusal(401, "from elsewhere");
}

#[test]
fn a_new_process_takes_over_and_goes_on_with_the_others() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let (mut client, _) = watcher(&a);
    let (mut staff, _) = lookout(&a);
    let _ann = a.user("ann", "customer");
    expect_presence(&mut staff, "customer:online", "ann");
    let mut emitter = a.emitter();
    let first = emitter.emit(&keyed(0, "first"));
    assert_eq!(client.next()["id"], first.as_str());
    let a = a.succeed(&[]);
    a.await_ready();
    let second = emitter.emit(&product(1));
    let third = b.emitter().emit(&product(2));
    for id in [&second, &third] {
        assert_eq!(client.next()["id"], id.as_str());
    }
    assert_eq!(emitter.emit(&keyed(0, "first")), first);
    let (mut back, answer) = resume(&a, &first.into());
    assert_eq!(answer["recovered"], true);
    assert_eq!(back.next()["id"], second.as_str());
    // She has not been away.
    let _bob = b.user("bob", "customer");
    expect_presence(&mut staff, "customer:online", "bob");
}

#[test]
fn a_process_is_succeeded_and_ends_well_while_others_emit() {
    let redis = Redis::start();
    let (a, b) = (redis.host(), redis.host());
    let mut clients: Vec<Client> = (0..20).map(|_| watcher(&a).0).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let emitting = {
        let (mut emitter, is_over) = (b.emitter(), Arc::clone(&is_over));
        thread::spawn(move || {
            let mut ids = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                ids.push(emitter.emit(&product(ids.len())));
            }
            ids
        })
    };
    // That each one before ends well, is held there.
    let a = (0..3).fold(a, |a, _| {
        clients[0].next();
        let a = a.succeed(&[]);
        a.await_ready();
        a
    });
    is_over.store(true, Ordering::Relaxed);
    let mut ids = emitting.join().unwrap();
    ids.push(a.emitter().emit(&product(ids.len())));
    for (index, client) in clients.iter_mut().enumerate() {
        // The first one has been shown some.
        let seen = if index == 0 { 3 } else { 0 };
        for id in &ids[seen..] {
            assert_eq!(client.next()["id"], id.as_str());
        }
    }
}
