//! The seeded simulation: router, reactors, history, journal, sessions and clients in one thread, in
//! virtual time, over a network and a disk that delay, split, cut and fail as a seed has it.
//!
//! `make simulate SEEDS=100000` runs many, `make simulate SEED=7` tells one of them step by step.
//!
//! | file | what it answers |
//! |---|---|
//! | `world` | what happens, and in which order |
//! | `server` | how the real server is put together, and turned by hand |
//! | `disk`, `wire` | what lies under it |
//! | `browser`, `frames`, `emitter` | who talks to it |
//! | `log`, `owed` | what it owes them: the reference |

#![allow(clippy::unwrap_used)]

mod browser;
mod disk;
mod emitter;
mod frames;
mod log;
mod owed;
#[path = "../harness/model.rs"]
mod reference;
mod server;
mod wire;
mod world;

use std::ops::Range;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use world::{Tally, Trace, run};

/// Seeds that are run where nobody asks for others.
const SEEDS: u64 = 4000;

/// Seeds that found a fault, with what it was.
const REGRESSIONS: [(u64, &str); 10] = [
    (34, "what an earlier run had not synced was taken for safe"),
    (37, "a journal in trouble let go of more than the history"),
    (6, "emitters waited for ever for what it had let go of"),
    (
        672,
        "a journal that had let go of everything forgot its numbers",
    ),
    (734, "an empty file was taken for a hole"),
    (1593, "what was acknowledged was given up for what was not"),
    (6150, "keys of events that were lost were known"),
    (
        11016,
        "keys of events that were lost were known, and nothing was safe behind them",
    ),
    (
        11050,
        "what was written again counted twice, and old events were removed too early",
    ),
    (12372, "keys of events that were lost stood for others"),
];

/// After so many that failed no more are run.
const ENOUGH: usize = 10;

/// One seed, told step by step.
const SEED: &str = "SHOPWIRE_SEED";
/// So many seeds from 0 on, or a range of them: `5000..6000`.
const MANY: &str = "SHOPWIRE_SEEDS";

#[test]
fn whatever_happens_all_get_what_they_are_owed() {
    if let Some(seed) = variable(SEED) {
        env_logger::builder()
            .filter_level(::log::LevelFilter::Debug)
            .init();
        run(
            seed.parse()
                .unwrap_or_else(|_| panic!("{SEED} must be a number, not {seed}")),
            Trace::Told,
        );
        return;
    }
    let seeds = variable(MANY).map_or(0..SEEDS, |text| range(&text));
    let (next, failed) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || {
        let mut all = Tally::new();
        while let Some(seed) = take(&next, seeds.end) {
            match catch_unwind(|| run(seed, Trace::Off)) {
                Ok((tally, _)) => add(&tally, &mut all),
                Err(_) => failed.lock().unwrap().push(seed),
            }
            if failed.lock().unwrap().len() >= ENOUGH {
                break;
            }
        }
        all
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut all = Tally::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            add(&worker.join().unwrap(), &mut all);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "failed: {failed:?}; make simulate SEED={} tells why",
        failed[0]
    );
    eprintln!("{} seeds: {all:?}", seeds.end - seeds.start);
    for what in [
        "events",
        "recovered",
        "not recovered",
        "kills",
        "drains",
        "power failures",
        "clock set back",
        "slow consumers",
        "closed with 4408",
    ] {
        let is_seen = all.get(what).is_some_and(|times| *times > 0);
        assert!(
            is_seen || seeds.end - seeds.start < SEEDS,
            "no {what} in {all:?}"
        );
    }
}

#[test]
fn what_was_mended_stays_so() {
    for (seed, fault) in REGRESSIONS {
        let is_mended = catch_unwind(|| run(seed, Trace::Off)).is_ok();
        assert!(is_mended, "seed {seed}: {fault}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let [first, second] = [(); 2].map(|()| match run(seed, Trace::Kept(Vec::new())).1 {
            Trace::Kept(lines) => lines,
            Trace::Off | Trace::Told => unreachable!("it was asked to be kept"),
        });
        let differs = first
            .iter()
            .zip(&second)
            .find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

fn add(tally: &Tally, all: &mut Tally) {
    for (what, times) in tally {
        *all.entry(what).or_default() += times;
    }
}

fn take(next: &AtomicU64, end: u64) -> Option<u64> {
    let seed = next.fetch_add(1, Ordering::Relaxed);
    (seed < end).then_some(seed)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn range(text: &str) -> Range<u64> {
    let parsed = match text.split_once("..") {
        Some((start, end)) => start.parse().ok().zip(end.parse().ok()),
        None => text.parse().ok().map(|count| (0, count)),
    };
    let (start, end) =
        parsed.unwrap_or_else(|| panic!("{MANY} must be a count or a range like 5..9, not {text}"));
    start..end
}
