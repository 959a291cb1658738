//! That a fault in what those who come back are sent is noticed and named.

use super::*;
use crate::run::plan::Comeback;

fn comeback(pace: Option<f64>) -> Plan {
    Plan {
        comeback: Some(Comeback {
            count: 3,
            every: Duration::from_millis(50),
            backlog: 2000,
            pace,
        }),
        ..scheduled(4, 100.0, 0.6)
    }
}

#[test]
fn who_comes_back_is_accounted_for_from_the_first_missed_event_on() {
    // Sessions 4 to 6 come back. Event 2,050 comes live, the others are missed.
    for (fault, event, expected) in [
        (Fault::None, 0, CLEAN),
        (Fault::Drop, 1, Faults { lost: 1, ..CLEAN }),
        (Fault::Drop, 2000, Faults { lost: 1, ..CLEAN }),
        (Fault::Drop, 2050, Faults { lost: 1, ..CLEAN }),
        (
            Fault::Repeat,
            700,
            Faults {
                repeated: 1,
                ..CLEAN
            },
        ),
        (
            Fault::Swap,
            700,
            Faults {
                disordered: 1,
                ..CLEAN
            },
        ),
        // What it has seen is sent again.
        (
            Fault::ReplayTooMuch,
            0,
            Faults {
                repeated: 3,
                ..CLEAN
            },
        ),
    ] {
        let place = Place { event, session: 5 };
        let (measured, report) = outcome(&comeback(None), fault, place);
        let returned = measured.returned.unwrap();
        assert_eq!(returned.faults, expected, "{fault:?} of {event}");
        assert_eq!(measured.faults, CLEAN, "{fault:?} of {event}");
        assert_eq!(returned.caught_up.len(), 3, "{fault:?} of {event}");
        let failed = failures(&report);
        match fault {
            Fault::None => assert!(failed.is_empty(), "{failed:?}"),
            _ => assert!(
                failed[0].starts_with("and gets all it has missed"),
                "{failed:?}"
            ),
        }
        assert_eq!(measured.sent.events, 2061);
        // The others were not there for what was sent beforehand.
        assert_eq!(measured.received, 4 * 60);
        // Timed are those before the first one came, and those until the last one had caught up.
        assert_eq!(measured.baseline.len(), 4 * 30);
        assert!(!measured.latency.is_empty() && measured.latency.len() <= 4 * 30);
        assert!(report.figures["replayed"] >= 3.0 * 1990.0, "{fault:?}");
    }
}

#[test]
fn a_server_that_has_let_go_of_what_was_missed_fails() {
    let (measured, report) = outcome(&comeback(None), Fault::LetGo, SOMEWHERE);
    let returned = measured.returned.unwrap();
    let endings: Vec<_> = returned.ended.into_iter().collect();
    let reason = "the server did not have all that came since".to_string();
    assert_eq!(endings, [(reason, 3)]);
    assert!(measured.replay.is_none());
    assert!(failures(&report)[0].starts_with("who comes back catches up: 0 of 3; 3: the server"));
}

#[test]
fn slow_readers_take_the_time_that_their_pace_takes() {
    // 2,000 events of some 200 bytes each.
    let (measured, report) = outcome(&comeback(Some(1e6)), Fault::None, SOMEWHERE);
    assert!(report.has_passed(), "{:?}", report.verdicts);
    let fastest = measured.returned.unwrap().caught_up.min();
    assert!(fastest >= 300_000, "{fastest} us");
}
