//! The fault test: nothing is lost, repeated or out of order, whatever happens.
//!
//! A recorder of 200 clients of all roles, each of which resumes where it was, and three emitters, which repeat every line
//! with its `key` until it is acknowledged, while clients and emitters break off, the server is killed, restarted and
//! stopped, and its disk is full. In the end every client has exactly the events that the reference model says, each once,
//! in the one order that all of them agree on.
//!
//! | module | |
//! |---|---|
//! | `plan` | how long, how much, with how many: from the environment |
//! | `universe` | who is there and what is emitted, all of it from the seed |
//! | `ledger`, `reader` | what all clients have to agree on, and what one of them has to get |
//! | `client`, `emitter` | a thread each, with their own faults |
//! | `faults` | what is done to the server |
//! | `run` | what they share |
//!
//! The short form belongs to all tests; `make faults` is the long one. A failing run prints its seed, and
//! `FAULTS_SEED=<n>` replays it: the same people and events, and the same faults as far as timing allows.

#![allow(clippy::unwrap_used)]

// The black-box tests use all of it.
#[allow(dead_code, unused_imports)]
#[path = "../harness/mod.rs"]
mod harness;

mod client;
mod emitter;
mod faults;
mod ledger;
mod plan;
mod reader;
mod run;
mod universe;

use std::thread;
use std::time::{Duration, Instant};

use faults::Stage;
use plan::Plan;
use run::{Count, Run};
use universe::{EMITTERS, Serial};

/// The longest that nothing may come to a client that waits, or be acknowledged to an emitter that repeats.
const STANDSTILL: Duration = Duration::from_secs(30);

#[test]
fn every_client_gets_exactly_its_events_once_in_one_order_whatever_happens() {
    let plan = Plan::from_environment().unwrap_or_else(|error| panic!("{error}"));
    eprintln!("{plan}");
    let mut stage = Stage::set(&plan);
    let run = Run::new(plan, stage.address, stage.socket.clone());
    play(&run, &mut stage);
    let mut faults = run.failures();
    faults.extend(run.ledger.verdict());
    eprintln!("{}", run.counts);
    assert!(
        faults.is_empty(),
        "{plan}\n{} faults, the first of them:\n{}\n\nwhat the servers before the last one logged:\n{}",
        faults.len(),
        faults[..faults.len().min(10)].join("\n"),
        stage.past_words(),
    );
    stage.end();
    for (count, what) in Count::FAULTS {
        let is_off = count == Count::Takeovers && !plan.takeover;
        assert!(
            is_off || run.counts.get(count) > 0,
            "{plan}\nno {what}: give the run more time, and more events a second"
        );
    }
}

/// The whole story, up to the last event at the last client.
fn play(run: &Run, stage: &mut Stage) {
    thread::scope(|scope| {
        // However this ends, the threads do.
        let _stop = StopAtEnd(run);
        // Who watches customers come and go is there before the first of them.
        for is_watcher in [true, false] {
            for index in run
                .universe
                .people_who(|person| person.watches_presence() == is_watcher)
            {
                scope.spawn(move || client::live(run, index));
            }
            let expected = if is_watcher {
                run.universe
                    .people_who(|person| person.watches_presence())
                    .count()
            } else {
                run.plan.clients
            };
            wait("all clients have subscribed", run, || {
                (run.joined() == expected, run.joined() as u64)
            });
        }
        run.begin();
        let emitters: Vec<_> = (0..EMITTERS)
            .map(|emitter| scope.spawn(move || emitter::emit(run, emitter)))
            .collect();
        stage.play(run);
        run.settle_total();
        wait("all events are acknowledged", run, || {
            let is_done = emitters.iter().all(|emitter| emitter.is_finished());
            (is_done, run.acknowledged())
        });
        if run.is_over() {
            return;
        }
        run.counts.add(Count::Events, run.acknowledged());
        let id = stage
            .server()
            .emitter()
            .try_emit(&run.universe.line(Serial::END));
        let noted = id
            .map_err(|refused| format!("the last event was refused: {refused:?}"))
            .and_then(|id| run.ledger.id(&id))
            .and_then(|id| run.ledger.note(Serial::END, id));
        if let Err(fault) = noted {
            return run.fail(fault);
        }
        wait("all clients have come to the last event", run, || {
            let progress = run.counts.get(Count::Deliveries) + run.finished() as u64;
            (run.finished() == run.plan.clients, progress)
        });
    });
}

/// Waits until the first part of `look` is true, as long as the second goes on changing.
fn wait(what: &str, run: &Run, look: impl Fn() -> (bool, u64)) {
    let mut moved = Instant::now();
    let (mut is_there, mut before) = look();
    while !is_there && !run.is_over() {
        thread::sleep(Duration::from_millis(5));
        let (now_there, now) = look();
        if now != before {
            moved = Instant::now();
        } else if moved.elapsed() > STANDSTILL {
            run.give_up(&format!("nothing moves any more, and not yet so: {what}"));
        }
        (is_there, before) = (now_there, now);
    }
}

struct StopAtEnd<'a>(&'a Run);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
        if thread::panicking() {
            eprintln!("{}", self.0.plan);
        }
    }
}
