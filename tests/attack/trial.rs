//! One attack, with what it does to those who do nothing wrong.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use serde_json::json;

use super::crowd::{Crowd, Phase};
use crate::harness::tls::Browser;
use crate::harness::{Client, Emitter, Opening, Server, allow_files, tokens};

/// Threads that attack.
const ATTACKERS: u8 = 4;

/// From one event to the next.
const PACE: Duration = Duration::from_millis(50);

/// How many suffer it, and for how long each half is measured: from the environment, for `make attack`.
struct Plan {
    clients: usize,
    window: Duration,
}

impl Plan {
    fn read() -> Plan {
        let number = |name, default| {
            std::env::var(name).map_or(default, |text: String| text.parse().unwrap())
        };
        Plan {
            clients: number("ATTACK_CLIENTS", 300),
            window: Duration::from_secs(number("ATTACK_SECONDS", 1) as u64),
        }
    }
}

/// Where an attack is made.
pub struct Ground {
    pub address: SocketAddr,
    is_over: AtomicBool,
    tries: AtomicU64,
}

impl Ground {
    pub fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    /// Something was tried once more: a connection, a message, whatever the attack is made of.
    pub fn count(&self, tries: usize) {
        self.tries.fetch_add(tries as u64, Ordering::Relaxed);
    }
}

/// Addresses of an attacker who has many, one after the other.
pub struct Addresses {
    attacker: u8,
    given: u16,
}

impl Addresses {
    pub fn of(attacker: u8) -> Addresses {
        Addresses { attacker, given: 0 }
    }

    pub fn next(&mut self) -> IpAddr {
        self.given = self.given.wrapping_add(1);
        let [high, low] = self.given.to_be_bytes();
        Ipv4Addr::new(127, 100 + self.attacker, high, low).into()
    }
}

/// A server, and those who are connected to it.
pub struct Trial<'a> {
    server: &'a Server,
    crowd: Crowd,
    emitter: Emitter,
    window: Duration,
}

impl<'a> Trial<'a> {
    pub fn begin(server: &'a Server) -> Trial<'a> {
        Self::with(server, None)
    }

    /// They are connected over TLS.
    pub fn secure(server: &'a Server, browser: &Browser) -> Trial<'a> {
        Self::with(server, Some(browser))
    }

    fn with(server: &'a Server, browser: Option<&Browser>) -> Trial<'a> {
        // A client is a file, too, and other trials may run beside this one.
        allow_files(8192);
        let plan = Plan::read();
        Trial {
            server,
            crowd: Crowd::gather(server, browser, plan.clients),
            emitter: server.emitter(),
            window: plan.window,
        }
    }

    /// How many clients there are to suffer it.
    pub fn clients() -> usize {
        Plan::read().clients
    }

    /// Attacks, and tells what that did. `most_kib` is how much more memory the server may have meanwhile. Who comes with a
    /// good token during it is let in.
    pub fn under(self, name: &str, most_kib: u64, attack: impl Fn(&Ground, u8) + Sync) {
        let server = self.server;
        self.judged(name, most_kib, attack, || {
            let token = tokens::of("newcomer", "customer");
            match Client::try_connect(server.address, Opening::new().bearer(&token)) {
                Ok(mut client) => client.ping(),
                Err(status) => panic!("{name}: a good token was refused with {status}"),
            }
        });
    }

    /// As [`Trial::under`], with another judgement in the middle of it.
    pub fn judged(
        mut self,
        name: &str,
        most_kib: u64,
        attack: impl Fn(&Ground, u8) + Sync,
        judge: impl Fn(),
    ) {
        let ground = Ground {
            address: self.server.address,
            is_over: AtomicBool::new(false),
            tries: AtomicU64::new(0),
        };
        self.emit(Phase::Before);
        let before_kib = self.server.resident_kib();
        let mut grown_kib = 0;
        thread::scope(|scope| {
            // However this ends, they end.
            let _ends = EndsWith(&ground.is_over);
            for attacker in 0..ATTACKERS {
                let (ground, attack) = (&ground, &attack);
                scope.spawn(move || {
                    // They are on other machines: what they cost themselves is not to be felt here. Of the calling thread
                    // alone (setpriority(2), "C library/kernel differences").
                    setpriority_process(None, 19).unwrap();
                    attack(ground, attacker);
                });
            }
            grown_kib = self.emit(Phase::During).saturating_sub(before_kib);
            judge();
        });
        let last = self.crowd.send(Phase::After);
        self.emitter.emit(&event(last));
        let latencies = self.crowd.end();
        let p99 = |of: &hdrhistogram::Histogram<u64>| of.value_at_quantile(0.99) as f64 / 1000.0;
        let (before, during) = (p99(&latencies.before), p99(&latencies.during));
        let tries = ground.tries.load(Ordering::Relaxed);
        eprintln!(
            "| {name} | {tries} | {before:.2} | {during:.2} | {:.1} | {grown_kib} |",
            during / before
        );
        assert!(tries > 0, "{name}: nobody attacked");
        assert!(
            grown_kib < most_kib,
            "{name}: the server has {grown_kib} KiB more"
        );
    }

    /// Sends events for a while; gives the most memory that the server had, in KiB.
    fn emit(&mut self, phase: Phase) -> u64 {
        let until = Instant::now() + self.window;
        let mut most = 0;
        while Instant::now() < until {
            let number = self.crowd.send(phase);
            self.emitter.emit(&event(number));
            most = most.max(self.server.resident_kib());
            thread::sleep(PACE);
        }
        most
    }
}

fn event(number: usize) -> serde_json::Value {
    json!({"type": "product:deleted", "data": {"productId": number.to_string()}})
}

struct EndsWith<'a>(&'a AtomicBool);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
