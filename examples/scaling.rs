//! What several hosts and one Redis carry, on paper: docs/scaling.md is written from this.
//!
//! Nothing here talks to a server. Unit costs were measured with `loadtest cluster` (docs/scaling.md says how); the tables
//! follow from them, and a small simulation of hosts that queue for one Redis tells the time that events take through it.
//! `cargo run --release --example scaling` prints them; a test holds the document to that.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};

/// CPU of Redis for an entry of the stream, in microseconds: the script and its answer, ...
const REDIS_ENTRY: f64 = 60.0;
/// ... and for each host that reads it, together with others.
const REDIS_ENTRY_HOST: f64 = 5.0;
/// What an entry costs more that finds Redis asleep: to wake it, ...
const REDIS_WAKING: f64 = 60.0;
/// ... and for each host that is waiting to read it, and reads it alone.
const REDIS_WAKING_HOST: f64 = 15.0;
/// CPU of Redis for each event of an entry, in microseconds, ...
const REDIS_EVENT: f64 = 0.84;
/// ... and for each host that reads it.
const REDIS_EVENT_HOST: f64 = 0.163;
/// CPU of the host that an event enters at, in microseconds, beside ...
const HOST_TAKES: f64 = 0.99;
/// ... what each host has with an event that it reads and sends to nobody.
const HOST_READS: f64 = 0.62;
/// CPU of one delivery among many of the same event, in microseconds (docs/benchmarks.md, case c).
const DELIVERY: f64 = 13.1;
/// Bytes of an event with a frame of 256, on its way to Redis and from there to each host.
const BYTES: f64 = 340.0;
/// The most events in an entry: a block of 128 KiB.
const ENTRY_MOST: usize = 385;
/// One way between a host and Redis, in microseconds.
const WAY: f64 = 50.0;

/// Cores of a host; one of them takes in and reads.
const CORES: f64 = 8.0;
/// What the network of a host, and of Redis, carries: 10 Gbit/s, in bytes a second.
const NETWORK: f64 = 1.25e9;

/// Numbers of hosts that are looked at.
const HOSTS: [u32; 3] = [2, 10, 100];

/// How long is simulated, in microseconds.
const SIMULATED: f64 = 300_000.0;

fn main() -> io::Result<()> {
    let tables = [walls(), audiences(), queues()].join("\n");
    io::stdout().write_all(tables.as_bytes())
}

/// A table of Markdown with these heads.
fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(heads.len()));
    line(&heads) + &rule + &rows.map(|row| line(&row)).collect::<String>()
}

/// Where the way through Redis ends, whoever sees the events.
fn walls() -> String {
    let heads = [
        "hosts",
        "a core of Redis is full at",
        "its network is full at",
        "events/s, the first wall",
        "each host reads",
        "of one of its cores",
    ];
    let row = |hosts: u32| {
        let (redis, network) = (redis_most(hosts), network_most(hosts));
        let most = redis.min(network);
        let wall = if redis < network { "Redis" } else { "network" };
        let core = most * (HOST_READS + HOST_TAKES / f64::from(hosts)) / 1e4;
        vec![
            hosts.to_string(),
            rounded(redis),
            rounded(network),
            format!("{}, {wall}", rounded(most)),
            format!("{:.2} Gbit/s", most * BYTES * 8.0 / 1e9),
            format!("{core:.0} %"),
        ]
    };
    table(&heads, HOSTS.into_iter().map(row))
}

/// Where the cores of the hosts are full, if that is first.
fn audiences() -> String {
    let heads = [
        "who sees an event, over all hosts",
        "2 hosts",
        "10 hosts",
        "100 hosts",
    ];
    let most = |audience: f64, hosts: u32| {
        let deliveries = (CORES - 1.0) * 1e6 / DELIVERY * f64::from(hosts) / audience;
        let shared = redis_most(hosts).min(network_most(hosts));
        let wall = if deliveries < shared {
            "hosts"
        } else {
            "the way through Redis"
        };
        format!("{}, {wall}", rounded(deliveries.min(shared)))
    };
    let row = |audience: f64| {
        let cells = HOSTS.map(|hosts| most(audience, hosts));
        [vec![rounded(audience)], cells.to_vec()].concat()
    };
    table(&heads, [1.0, 10.0, 1_000.0, 100_000.0].into_iter().map(row))
}

/// What is gathered and how long it takes, where Redis is asked by several at once.
fn queues() -> String {
    let heads = [
        "hosts",
        "events/s",
        "events an entry",
        "Redis busy",
        "through Redis, p50",
        "p99",
    ];
    let cases = [
        (1, [1_000.0, 10_000.0, 100_000.0]),
        (2, [1_000.0, 10_000.0, 100_000.0]),
        (10, [1_000.0, 10_000.0, 100_000.0]),
        (100, [1_000.0, 10_000.0, 30_000.0]),
    ];
    let row = |(hosts, rate): (u32, f64)| {
        let outcome = simulate(hosts, rate);
        vec![
            hosts.to_string(),
            rounded(rate),
            format!("{:.1}", outcome.events_an_entry),
            format!("{:.0} %", outcome.busy * 100.0),
            format!("{:.1} ms", outcome.p50 / 1000.0),
            format!("{:.1} ms", outcome.p99 / 1000.0),
        ]
    };
    let cases = cases
        .into_iter()
        .flat_map(|(hosts, rates)| rates.map(|rate| (hosts, rate)));
    table(&heads, cases.map(row))
}

/// Events a second that fill the network of Redis, which sends each to every host.
fn network_most(hosts: u32) -> f64 {
    NETWORK / (BYTES * f64::from(hosts))
}

/// Events a second that fill a core of Redis, all entries being full.
fn redis_most(hosts: u32) -> f64 {
    let hosts = f64::from(hosts);
    let entry = (REDIS_ENTRY + REDIS_ENTRY_HOST * hosts) / ENTRY_MOST as f64;
    1e6 / (REDIS_EVENT + REDIS_EVENT_HOST * hosts + entry)
}

/// What a simulation has shown; times in microseconds.
struct Outcome {
    events_an_entry: f64,
    /// The share of the time that Redis worked.
    busy: f64,
    p50: f64,
    p99: f64,
}

/// Something that happens, at a time in nanoseconds.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// An event enters at this host.
    Enters(usize),
    /// This host's entry has come to Redis.
    Asks(usize),
    /// The answer to its entry has come to this host.
    Answered(usize),
}

struct Host {
    /// When the events came that wait for the next entry.
    waiting: Vec<u64>,
    /// Those of the entry that is on its way.
    asked: Vec<u64>,
    is_asking: bool,
}

/// Hosts at which `rate` events a second enter, at random; each has one entry on its way, and meanwhile gathers for the next.
/// Redis serves one after the other.
fn simulate(hosts: u32, rate: f64) -> Outcome {
    let mut random = fastrand::Rng::with_seed(7);
    let pause = f64::from(hosts) * 1e9 / rate;
    let mut next = |now: u64| now + (-pause * (1.0 - random.f64()).ln()) as u64;
    let end = (SIMULATED * 1e3) as u64;
    let mut agenda = BinaryHeap::new();
    for host in 0..hosts as usize {
        agenda.push(Reverse((next(0), Happening::Enters(host))));
    }
    let new_host = || Host {
        waiting: Vec::new(),
        asked: Vec::new(),
        is_asking: false,
    };
    let mut all: Vec<Host> = (0..hosts).map(|_| new_host()).collect();
    let mut redis_free_at = 0;
    let (mut worked, mut entries, mut took) = (0.0, 0, Vec::new());
    while let Some(Reverse((now, happening))) = agenda.pop() {
        if now > end {
            break;
        }
        let (Happening::Enters(index) | Happening::Asks(index) | Happening::Answered(index)) =
            happening;
        let host = &mut all[index];
        match happening {
            Happening::Enters(_) => {
                host.waiting.push(now);
                agenda.push(Reverse((next(now), Happening::Enters(index))));
            }
            Happening::Asks(_) => {
                let (events, readers) = (host.asked.len() as f64, f64::from(hosts));
                let each = REDIS_EVENT + REDIS_EVENT_HOST * readers;
                let mut work = REDIS_ENTRY + REDIS_ENTRY_HOST * readers + events * each;
                if now > redis_free_at {
                    work += REDIS_WAKING + REDIS_WAKING_HOST * readers;
                }
                redis_free_at = now.max(redis_free_at) + (work * 1e3) as u64;
                worked += work;
                entries += 1;
                let back = redis_free_at + (WAY * 1e3) as u64;
                took.extend(host.asked.iter().map(|came| back - came));
                agenda.push(Reverse((back, Happening::Answered(index))));
            }
            Happening::Answered(_) => host.is_asking = false,
        }
        if !host.is_asking && !host.waiting.is_empty() {
            let most = host.waiting.len().min(ENTRY_MOST);
            host.asked = host.waiting.drain(..most).collect();
            host.is_asking = true;
            let there = now + (WAY * 1e3) as u64;
            agenda.push(Reverse((there, Happening::Asks(index))));
        }
    }
    took.sort_unstable();
    let quantile = |share: f64| took[((took.len() - 1) as f64 * share) as usize] as f64 / 1e3;
    Outcome {
        events_an_entry: took.len() as f64 / f64::from(entries),
        busy: (worked / SIMULATED).min(1.0),
        p50: quantile(0.5),
        p99: quantile(0.99),
    }
}

/// Two digits that count, and commas.
fn rounded(number: f64) -> String {
    let scale = 10_f64.powf(number.log10().floor() - 1.0).max(1.0);
    let digits = ((number / scale).round() * scale).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
