//! That a fault of the server's is noticed and named, whatever the scenario: one delivery in a million
//! that is dropped, repeated, swapped with its neighbour or sent to the wrong connection, one in a
//! thousand that is late, a customer that gets another's order, a page that comes again and misses
//! one.

mod comeback;

use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::accounting::Faults;
use crate::console::Console;
use crate::report::Report;
use crate::run::plan::{Arrivals, Drive, Load, Plan};
use crate::run::{Measured, run};
use crate::server::Target;
use crate::world::shop::Kinds;

const CLEAN: Faults = Faults {
    lost: 0,
    repeated: 0,
    disordered: 0,
    misdirected: 0,
    altered: 0,
};

const SOMEWHERE: Place = Place {
    event: 5,
    session: 1,
};

/// A server without a fault, those with one wrong delivery to a connection that sees all events, and what
/// each comes to.
const ONE_WRONG: [(Fault, Faults); 5] = [
    (Fault::None, CLEAN),
    (Fault::Drop, Faults { lost: 1, ..CLEAN }),
    (
        Fault::Repeat,
        Faults {
            repeated: 1,
            ..CLEAN
        },
    ),
    (
        Fault::Swap,
        Faults {
            disordered: 1,
            ..CLEAN
        },
    ),
    (
        Fault::Corrupt,
        Faults {
            lost: 1,
            misdirected: 1,
            ..CLEAN
        },
    ),
];

fn scheduled(connections: u32, rate: f64, seconds: f64) -> Plan {
    Plan {
        scenario: "test",
        connections,
        arrivals: Arrivals::UnderWay(8),
        load: Load::Shared(250),
        drive: Drive::Scheduled(rate),
        warm_up: 0.0,
        seconds,
        grace: Duration::from_secs(2),
        replaced_per_s: 0.0,
        stalled_nth: None,
        cluster: None,
        comeback: None,
        spins: false,
        expectations: Vec::new(),
    }
}

/// Runs `plan` against a server with `fault`.
fn outcome(plan: &Plan, fault: Fault, place: Place) -> (Measured, Report) {
    outcome_with_process(plan, fault, place, None)
}

/// The same, where the server is taken to be the process `pid`.
fn outcome_with_process(
    plan: &Plan,
    fault: Fault,
    place: Place,
    pid: Option<u32>,
) -> (Measured, Report) {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("ingest.sock");
    let emitters = UnixListener::bind(&socket).unwrap();
    let browsers = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/api/ws", browsers.local_addr().unwrap());
    let interrupt = Interrupt::default();
    let faulty = Arc::new(Faulty {
        world: plan.world("faulty00"),
        fault,
        place,
        has_stalled: plan.stalled_nth.is_some(),
        interrupt: interrupt.clone(),
        floor: Mutex::default(),
    });
    faulty.attend(browsers);
    // One emitter sends beforehand what is missed by those who come back.
    let emitter_count = 1 + usize::from(plan.comeback.is_some());
    let relay = thread::spawn(move || {
        for _ in 0..emitter_count {
            faulty.relay(emitters.accept().unwrap().0);
        }
    });
    let mut target = Target::new(&url, socket, SECRET.to_vec(), None).unwrap();
    target.pids.extend(pid);
    let measured = run(&target, plan, &Console::new(true), &interrupt).unwrap();
    relay.join().unwrap();
    let report = Report::new("faulty", "test".into(), plan, &measured);
    (measured, report)
}

/// The words of what did not hold.
fn failures(report: &Report) -> Vec<&str> {
    let failed = report.verdicts.iter().filter(|verdict| !verdict.passed);
    failed.map(|verdict| verdict.text.as_str()).collect()
}

/// A session that sees event `number`, or one that does not.
fn session(plan: &Plan, number: u32, sees: bool) -> u32 {
    let world = plan.world("faulty00");
    let mut sessions = 0..plan.connections;
    sessions
        .find(|&slot| {
            let member = world.member(slot);
            member.role != Role::Public && world.sees(&member, number) == sees
        })
        .unwrap()
}

#[test]
fn a_sound_server_passes() {
    let plan = scheduled(3, 100.0, 0.2);
    let (measured, report) = outcome(&plan, Fault::None, SOMEWHERE);
    assert!(report.has_passed(), "{:?}", report.verdicts);
    assert_eq!(measured.received, 3 * 20);
    assert_eq!(measured.latency.len(), measured.received);
    assert_eq!(measured.sent.settled, 20);
}

#[test]
fn a_client_that_spins_sees_the_same_and_tells_what_it_has_spun() {
    for spins in [false, true] {
        let plan = Plan {
            spins,
            ..scheduled(3, 100.0, 0.2)
        };
        let (measured, report) = outcome(&plan, Fault::None, SOMEWHERE);
        assert!(report.has_passed(), "{:?}", report.verdicts);
        assert_eq!(measured.received, 3 * 20);
        assert_eq!(!measured.load.unwrap().spun.is_zero(), spins);
    }
}

/// A million deliveries, one of them wrong.
#[test]
fn one_wrong_delivery_in_a_million_fails_and_is_named() {
    let plan = Plan {
        grace: Duration::from_secs(60),
        ..scheduled(100, 10_050.0, 1.0)
    };
    let place = Place {
        event: 6_000,
        session: 37,
    };
    for (fault, expected) in ONE_WRONG {
        let (measured, report) = outcome(&plan, fault, place);
        assert!(measured.received >= 1_000_000, "{}", measured.received);
        assert_eq!(measured.faults, expected, "{fault:?}");
        assert_eq!(report.has_passed(), fault == Fault::None, "{fault:?}");
    }
}

#[test]
fn a_connection_that_is_closed_fails_and_so_does_what_it_missed() {
    let plan = scheduled(3, 100.0, 0.2);
    let (measured, report) = outcome(&plan, Fault::Close, SOMEWHERE);
    assert!(!report.has_passed());
    let endings: Vec<_> = measured.ended.iter().collect();
    assert!(
        matches!(&endings[..], [(reason, 1)] if reason.contains("4413 slow")),
        "{endings:?}"
    );
    assert!(measured.faults.lost > 0);
}

#[test]
fn an_event_that_says_something_else_fails() {
    let plan = scheduled(3, 100.0, 0.2);
    // One of those whose content is looked at.
    let place = Place {
        event: 0,
        session: 0,
    };
    let (measured, report) = outcome(&plan, Fault::Alter, place);
    assert_eq!(measured.faults.altered, 1);
    assert!(!report.has_passed());
}

#[test]
fn a_refused_event_fails() {
    let plan = scheduled(3, 100.0, 0.2);
    let (measured, report) = outcome(&plan, Fault::Refuse, SOMEWHERE);
    assert!(!report.has_passed());
    assert_eq!(measured.sent.refused, 1);
    let refusal = measured.sent.first_refusal.unwrap();
    assert!(refusal.contains("invalid_payload"));
}

/// A thousand deliveries, one of them late, and with it those that waited behind it: a client that
/// only timed the way from sending to reading would have seen a single slow one.
#[test]
fn one_late_delivery_in_a_thousand_shows() {
    const DELAY: Duration = Duration::from_millis(400);
    let mut plan = scheduled(10, 100.0, 1.0);
    plan.expectations = vec!["latency-max-ms<300".parse().unwrap()];
    let place = Place {
        event: 50,
        session: 3,
    };
    let (measured, report) = outcome(&plan, Fault::Delay(DELAY), place);
    assert_eq!((measured.received, measured.faults), (1000, CLEAN));
    assert!(!report.has_passed());
    assert!(report.figures["latency-max-ms"] >= 395.0);
    // The last but one: of the same event where another connection waited behind this one, else of the
    // next event, due 10 ms later.
    assert!(report.figures["latency-p999-ms"] >= 385.0);
    // Events 51 to 80 were due while the server slept.
    let waited = measured.latency.count_between(100_000, 600_000_000);
    assert!(waited >= 200, "{waited}");
}

#[test]
fn in_unicast_one_order_that_goes_astray_fails_and_is_named() {
    let scheduled = Plan {
        load: Load::Own(250),
        ..scheduled(50, 500.0, 0.5)
    };
    let flood = Plan {
        drive: Drive::Flood(64),
        ..scheduled.clone()
    };
    for plan in [scheduled, flood] {
        for (fault, sees, expected) in [
            (Fault::None, true, CLEAN),
            (Fault::Drop, true, Faults { lost: 1, ..CLEAN }),
            (
                Fault::Repeat,
                true,
                Faults {
                    repeated: 1,
                    ..CLEAN
                },
            ),
            (
                Fault::Misdirect,
                false,
                Faults {
                    misdirected: 1,
                    ..CLEAN
                },
            ),
        ] {
            let place = Place {
                event: 100,
                session: session(&plan, 100, sees),
            };
            let (measured, report) = outcome(&plan, fault, place);
            assert_eq!(measured.faults, expected, "{fault:?}, {:?}", plan.drive);
            assert_eq!(report.has_passed(), fault == Fault::None, "{fault:?}");
            assert!(measured.sent.events > 200, "{}", measured.sent.events);
        }
    }
}

#[test]
fn in_a_flood_one_wrong_delivery_fails_and_is_named() {
    let plan = Plan {
        drive: Drive::Flood(128),
        ..scheduled(20, 0.0, 0.5)
    };
    let place = Place {
        event: 1000,
        session: 7,
    };
    for (fault, expected) in ONE_WRONG {
        let (measured, report) = outcome(&plan, fault, place);
        assert!(measured.sent.events > 2000, "{}", measured.sent.events);
        assert_eq!(measured.faults, expected, "{fault:?}");
        assert_eq!(report.has_passed(), fault == Fault::None, "{fault:?}");
    }
}

/// More is under way than the socket takes, so that lines wait when the flood ends.
#[test]
fn what_a_flood_has_not_written_at_its_end_is_written_then_and_not_lost() {
    let plan = Plan {
        load: Load::Own(250),
        drive: Drive::Flood(20_000),
        ..scheduled(50, 0.0, 0.2)
    };
    let (measured, report) = outcome(&plan, Fault::None, SOMEWHERE);
    assert!(measured.sent.held_back > 0);
    assert_eq!(measured.faults, CLEAN);
    assert_eq!(measured.received, u64::from(measured.sent.events));
    assert!(report.has_passed(), "{:?}", failures(&report));
}

fn mixed() -> Plan {
    Plan {
        load: Load::Shop(Kinds::Day),
        replaced_per_s: 40.0,
        ..scheduled(60, 200.0, 1.0)
    }
}

#[test]
fn in_a_shops_day_one_wrong_delivery_fails_and_is_named() {
    let plan = mixed();
    // With nobody leaving, what goes wrong is exact.
    let staying = Plan {
        replaced_per_s: 0.0,
        ..plan.clone()
    };
    let (measured, report) = outcome(&plan, Fault::None, SOMEWHERE);
    assert!(report.has_passed(), "{:?}", report.verdicts);
    assert!(measured.rejoined > 10, "{}", measured.rejoined);
    for (fault, sees, expected) in [
        (Fault::Drop, true, Faults { lost: 1, ..CLEAN }),
        (
            Fault::Repeat,
            true,
            Faults {
                repeated: 1,
                ..CLEAN
            },
        ),
        (
            Fault::Misdirect,
            false,
            Faults {
                misdirected: 1,
                ..CLEAN
            },
        ),
    ] {
        let place = Place {
            event: 100,
            session: session(&staying, 100, sees),
        };
        let (measured, report) = outcome(&staying, fault, place);
        assert_eq!(measured.faults, expected, "{fault:?}");
        assert!(!report.has_passed(), "{fault:?}");
    }
}

#[test]
fn who_leaves_and_comes_again_is_watched_too() {
    let (measured, report) = outcome(&mixed(), Fault::ForgetJoin, SOMEWHERE);
    assert!(measured.faults.lost > 0);
    assert!(failures(&report)[0].contains("every delivery comes"));

    let (measured, report) = outcome(&mixed(), Fault::SendToLeft, SOMEWHERE);
    assert!(measured.faults.misdirected > 10, "{:?}", measured.faults);
    assert!(failures(&report)[0].contains("every delivery comes"));

    let (measured, report) = outcome(&mixed(), Fault::NeverLetGo, SOMEWHERE);
    assert_eq!(measured.rejoined, 0);
    let endings = measured.ended.keys();
    let endings: Vec<&str> = endings.map(String::as_str).collect();
    assert_eq!(endings, ["asked to leave and was not let go until the end"]);
    assert!(failures(&report)[0].contains("every connection stays"));
}

#[test]
fn what_stalled_readers_must_not_do_fails_and_is_named() {
    let plan = Plan {
        load: Load::Shared(20_000),
        stalled_nth: Some(4.0),
        expectations: vec!["latency-p99-ms<250".parse().unwrap()],
        ..scheduled(8, 100.0, 2.0)
    };
    let (measured, report) = outcome(&plan, Fault::None, SOMEWHERE);
    assert!(report.has_passed(), "{:?}", report.verdicts);
    let stalled = measured.stalled.unwrap();
    assert_eq!((stalled.count, stalled.ended.values().sum()), (2, 2));
    assert!(!notes_roomy_buffers(&report), "{:?}", report.warnings);

    let (measured, report) = outcome(&plan, Fault::Starve, SOMEWHERE);
    let stalled = measured.stalled.unwrap();
    assert!(stalled.ended.is_empty() && stalled.faults.lost > 0);
    let failures_of_starving = failures(&report);
    assert_eq!(failures_of_starving.len(), 1, "{failures_of_starving:?}");
    assert!(failures_of_starving[0].starts_with("who stalled is ended or gets everything"));

    assert!(!notes_roomy_buffers(&report), "{:?}", report.warnings);

    let wait = Fault::WaitForSlow(Duration::from_millis(300));
    let (_, report) = outcome(&plan, wait, SOMEWHERE);
    assert!(report.figures["stall-p99-ratio"] > 10.0);
    let failures_of_waiting = failures(&report);
    assert_eq!(failures_of_waiting.len(), 1, "{failures_of_waiting:?}");
    assert!(failures_of_waiting[0].starts_with("latency-p99-ms"));
}

#[test]
fn a_stall_that_fills_no_buffer_is_noted() {
    let plan = Plan {
        stalled_nth: Some(4.0),
        ..scheduled(8, 100.0, 0.2)
    };
    let (measured, report) = outcome(&plan, Fault::None, SOMEWHERE);
    assert!(report.has_passed(), "{:?}", report.verdicts);
    assert!(measured.stalled.unwrap().ended.is_empty());
    assert!(notes_roomy_buffers(&report), "{:?}", report.warnings);
}

/// Whether it is noted that no stalled reader's buffers have filled.
fn notes_roomy_buffers(report: &Report) -> bool {
    let mut notes = report.warnings.iter();
    notes.any(|note| note.starts_with("none of the 2 stalled readers was ended"))
}

#[test]
fn a_server_that_hangs_up_ends_the_run_with_a_report() {
    let flood = Plan {
        drive: Drive::Flood(128),
        ..scheduled(3, 0.0, 30.0)
    };
    for plan in [scheduled(3, 100.0, 30.0), flood] {
        let place = Place {
            event: 50,
            session: 1,
        };
        let (measured, report) = outcome(&plan, Fault::HangUp, place);
        let cut = measured.cut.unwrap();
        assert!(cut.reason.contains("ingest socket"), "{}", cut.reason);
        assert!(!cut.is_asked_for && cut.after < Duration::from_secs(10));
        assert!(measured.received >= 3 * 50, "{}", measured.received);
        assert_eq!(measured.ended.values().sum::<u32>(), 3);
        assert!(failures(&report)[0].starts_with("the run goes to its end"));
    }
}

#[test]
fn a_server_that_dies_ends_the_run_with_a_report() {
    let mut process = Command::new("sleep").arg("0.9").spawn().unwrap();
    let plan = scheduled(3, 100.0, 30.0);
    let pid = Some(process.id());
    let (measured, report) = outcome_with_process(&plan, Fault::None, SOMEWHERE, pid);
    process.wait().unwrap();
    assert_eq!(measured.cut.unwrap().reason, "the server has ended");
    assert!(measured.load.is_some() && measured.received > 0);
    assert!(failures(&report)[0].contains("the server has ended"));
    assert_eq!(report.cut_short.unwrap(), "the server has ended");
}

#[test]
fn a_run_that_is_interrupted_accounts_for_what_was_sent() {
    let flood = Plan {
        drive: Drive::Flood(128),
        ..scheduled(3, 0.0, 30.0)
    };
    let day = Plan {
        seconds: 30.0,
        ..mixed()
    };
    for plan in [scheduled(3, 100.0, 30.0), flood, day] {
        let place = Place {
            event: 50,
            session: 1,
        };
        let (measured, report) = outcome(&plan, Fault::Interrupt, place);
        let cut = measured.cut.unwrap();
        assert!(cut.is_asked_for && cut.after < Duration::from_secs(10));
        assert_eq!(measured.faults, CLEAN);
        assert!(measured.sent.events > 50);
        assert_eq!(measured.sent.settled, measured.sent.events);
        assert!(measured.ended.is_empty(), "{:?}", measured.ended);
        let failed = failures(&report);
        assert_eq!(failed.len(), 1, "{failed:?}");
        assert!(failed[0].contains("interrupted by a signal"));
    }
}
