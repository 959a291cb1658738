//! Clients that move from host to host, with an emitter on each, while Redis and hosts fail in one way after the other: each
//! has all events, once, in one order. Where some hosts deliver alone while they are cut off, those differ in the order.
//!
//! `make test` has some seconds of that. `make cluster-faults` has three hosts, 300 clients and ten minutes.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Hopped, hop, keyed, number, the_end, watcher};
use crate::harness::redis::Redis;
use crate::harness::{Emitter, Server, wait_until};

/// How many, and for how long: from the environment, for `make cluster-faults`.
struct Plan {
    hosts: u64,
    clients: u64,
    /// Between two events of an emitter.
    pace: Duration,
    lasts: Duration,
    /// So many of the hosts deliver alone while they are cut off.
    local: u64,
}

impl Plan {
    fn read() -> Plan {
        let number = |name, default| {
            std::env::var(name).map_or(default, |text: String| text.parse().unwrap())
        };
        Plan {
            hosts: number("CLUSTER_HOSTS", 2),
            clients: number("CLUSTER_CLIENTS", 8),
            pace: Duration::from_millis(number("CLUSTER_PACE_MS", 5)),
            lasts: Duration::from_secs(number("CLUSTER_SECONDS", 3)),
            local: number("CLUSTER_LOCAL", 0),
        }
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    RedisStandsStill,
    /// For longer than lines wait.
    RedisStandsStillForLong,
    RedisIsKilled,
    ConnectionsBreak,
    RedisIsFull,
    RedisRefuses,
    RedisIsSlow,
    HostStandsStill,
}

/// The first ones are what a short run has.
const FAULTS: [Fault; 8] = [
    Fault::RedisStandsStill,
    Fault::RedisIsKilled,
    Fault::ConnectionsBreak,
    Fault::HostStandsStill,
    Fault::RedisIsFull,
    Fault::RedisRefuses,
    Fault::RedisIsSlow,
    Fault::RedisStandsStillForLong,
];

impl Fault {
    fn strike(self, redis: &mut Redis, hosts: &[Server]) {
        let a_while = Duration::from_millis(fastrand::u64(100..800));
        match self {
            Fault::RedisStandsStill | Fault::RedisStandsStillForLong => {
                redis.stand_still();
                let is_long = matches!(self, Fault::RedisStandsStillForLong);
                thread::sleep(if is_long {
                    Duration::from_secs(6)
                } else {
                    a_while
                });
                redis.signal(Signal::CONT);
            }
            Fault::RedisIsKilled => {
                redis.kill();
                thread::sleep(a_while);
                redis.run();
            }
            Fault::ConnectionsBreak => {
                for _ in 0..10 {
                    redis.ask("CLIENT KILL TYPE normal");
                    thread::sleep(a_while / 10);
                }
            }
            Fault::RedisIsFull => {
                redis.ask("CONFIG SET maxmemory 1");
                thread::sleep(a_while);
                redis.ask("CONFIG SET maxmemory 0");
            }
            Fault::RedisRefuses => {
                redis.ask("ACL SETUSER default -evalsha -xread");
                thread::sleep(a_while);
                redis.ask("ACL SETUSER default +evalsha +xread");
            }
            Fault::RedisIsSlow => {
                redis.ask(&format!("CLIENT PAUSE {} ALL", a_while.as_millis()));
                thread::sleep(a_while);
            }
            Fault::HostStandsStill => {
                let host = &hosts[fastrand::usize(..hosts.len())];
                host.stand_still();
                thread::sleep(a_while);
                host.signal(Signal::CONT);
            }
        }
    }
}

#[test]
fn clients_that_hop_between_hosts_have_everything_once_whatever_happens() {
    run(&Plan::read());
}

#[test]
fn clients_that_hop_have_everything_once_also_where_a_host_delivers_alone() {
    let plan = Plan {
        local: 1,
        ..Plan::read()
    };
    run(&plan);
}

fn run(plan: &Plan) {
    // With `everysec` it may have told events to hosts that it has not written yet (docs/cluster.md).
    let mut redis = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let host = |at| {
        let outage = if at < plan.local { "local" } else { "hold" };
        let host = redis.setup(&["--redis-outage", outage]).start();
        host.await_ready();
        host
    };
    let hosts: Vec<Server> = (0..plan.hosts).map(host).collect();
    let start = watcher(&hosts[0]).1;
    let is_over = Arc::new(AtomicBool::new(false));
    let emitters: Vec<_> = (0..)
        .zip(&hosts)
        .map(|(at, host)| emit(host.emitter(), at, plan.pace, &is_over))
        .collect();
    let addresses: Vec<SocketAddr> = hosts.iter().map(|host| host.address).collect();
    let clients: Vec<_> = (0..plan.clients as usize)
        .map(|seed| {
            let first = seed % addresses.len();
            let hosts = addresses.clone().into_iter().cycle().skip(first);
            let start = start.clone();
            thread::spawn(move || hop(hosts, 20 + 13 * (seed % 20), start))
        })
        .collect();

    let begun = Instant::now();
    let mut struck = 0;
    for fault in FAULTS.into_iter().cycle() {
        if begun.elapsed() >= plan.lasts {
            break;
        }
        fault.strike(&mut redis, &hosts);
        struck += 1;
        hosts.iter().for_each(await_whole);
    }
    is_over.store(true, Ordering::Relaxed);
    let sent: usize = emitters.into_iter().map(|all| all.join().unwrap()).sum();
    hosts.iter().for_each(await_whole);
    hosts[0].emitter().emit(&the_end());
    let all: Vec<Hopped> = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .collect();
    let hops: usize = all.iter().map(|got| got.hops).sum();
    let numbers = |got: &Hopped| -> Vec<u64> {
        let ids = got.events.iter().map(|(id, _)| number(id));
        ids.collect()
    };
    let first_numbers = numbers(&all[0]);
    eprintln!(
        "{sent} events, {} clients, {hops} hops, {struck} faults in {:.0} s",
        all.len(),
        begun.elapsed().as_secs_f64()
    );
    for got in &all {
        let numbers = numbers(got);
        assert_eq!(numbers.len(), sent);
        assert!(numbers.is_sorted_by(|one, next| one < next));
        let products: HashSet<&str> = got.events.iter().map(|(_, product)| &**product).collect();
        assert_eq!(products.len(), sent, "some came twice");
        if plan.local == 0 {
            assert!(numbers == first_numbers, "another order");
        }
    }
}

/// Waits until Redis is in reach and the others have all that a host has delivered alone.
fn await_whole(host: &Server) {
    host.await_ready();
    wait_until("the host is no longer alone", || {
        let metrics = String::from_utf8(host.get("/metrics").body).unwrap();
        let says = |line: &str| metrics.lines().any(|each| each == line);
        says("shopwire_redis_connected 1") && says("shopwire_redis_local_events 0")
    });
}

/// Sends event after event, each with a key and until it is taken. Gives their number.
fn emit(
    mut emitter: Emitter,
    at: usize,
    pace: Duration,
    is_over: &Arc<AtomicBool>,
) -> JoinHandle<usize> {
    let is_over = Arc::clone(is_over);
    thread::spawn(move || {
        let mut sent = 0;
        while !is_over.load(Ordering::Relaxed) {
            let product = at * 1_000_000 + sent;
            let line = keyed(product, &format!("{at}-{sent}")).to_string();
            while let Err(refused) = emitter.try_emit(line.as_bytes()) {
                assert_eq!(refused.code, "unavailable");
            }
            sent += 1;
            thread::sleep(pace);
        }
        sent
    })
}
