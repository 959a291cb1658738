//! `GET /metrics`: what Prometheus reads, each number moved by what it counts.

mod connections;
mod deployed;
mod events;
mod kept;
pub mod scrape;

use crate::harness::examples::event;
use crate::harness::{Client, Server, tokens, wait_until};
use scrape::{Scrape, assert_promtool};

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
fn loops_tell_how_late_they_come_to_what_is_due() {
    let server = Server::with(&["--ping-interval", "100ms"]);
    let _clients: Vec<Client> = (0..10).map(|_| server.public()).collect();
    wait_until("pings were due", || {
        Scrape::of(&server).get("shopwire_loop_lag_seconds_count", "") >= 1.0
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
