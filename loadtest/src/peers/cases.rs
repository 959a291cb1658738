//! What is measured: the cases, and the figures that are told of each.

use super::{FLOOR, SHOPWIRE};
use crate::cli::Peers;

/// Nice value of client and server, where it is allowed: other work on the machine waits.
const NICE: &str = "--nice=-15";

/// One case.
#[derive(Debug)]
pub struct Case {
    /// Names it on the command line and in file names.
    pub letter: &'static str,
    /// What it is.
    pub title: &'static str,
    /// The command line.
    line: &'static str,
    /// Whether `--seconds` means something in it.
    is_timed: bool,
    /// Seconds measured at least: in fewer its events would be too few to tell percentiles of.
    least_seconds: f64,
    /// The figure that decides: servers are ranked by it.
    pub decides: &'static str,
    /// The other figures told.
    pub tells: &'static [&'static str],
    /// Who is measured in it.
    who: Who,
    /// shopwire is to come so close to the floor that more rounds are needed to tell it from noise.
    is_close: bool,
    /// Reactors of a server that has such.
    workers: u32,
    /// What shopwire is started with, and the others, which have no such setting, are not.
    pub settings: &'static [&'static str],
    /// Server and client run on both cores, instead of on one each.
    pub shares_cores: bool,
    /// Events come so close that a server may send several at once: fewer sends than the floor's can
    /// cost less than the floor. Elsewhere nothing can.
    pub joins: bool,
}

/// Who is measured in a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Every server.
    All,
    /// Not the floor, which knows no roles and no targets.
    Peers,
    /// shopwire beside the floor.
    Floor,
    /// shopwire alone, beside itself in another case.
    Alone,
}

/// A command line: the load test's own words, and those for the server behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// The load test's.
    pub own: Vec<String>,
    /// The server's.
    pub server: &'static [&'static str],
}

const FANOUT: &[&str] = &[
    "latency-p50-ms",
    "latency-p99-ms",
    "latency-p999-ms",
    "client-busy",
];
const WORKERS: &[&str] = &[
    "latency-p50-ms",
    "latency-p999-ms",
    "cpu-us-per-delivery",
    "server-busy",
    "server-waited",
    "client-busy",
    "client-waited",
];
const FLOOD: &[&str] = &[
    "deliveries-per-s",
    "events-per-s",
    "frames-per-read",
    "latency-p50-ms",
    "latency-p99-ms",
    "server-busy",
    "client-busy",
];

/// What most cases have in common: a fan-out to everyone.
const BASE: Case = Case {
    letter: "",
    title: "",
    line: "",
    is_timed: true,
    least_seconds: 0.0,
    decides: "cpu-us-per-delivery",
    tells: FANOUT,
    who: Who::All,
    is_close: false,
    workers: 1,
    settings: &[],
    shares_cores: false,
    joins: false,
};

/// All of them.
pub const CASES: [Case; 17] = [
    Case {
        letter: "a",
        title: "1,000 connections, 50 events/s to all",
        line: "fanout --connections 1000 --rate 50",
        is_close: true,
        ..BASE
    },
    Case {
        letter: "b",
        title: "100 connections, 500 events/s to all",
        line: "fanout --connections 100 --rate 500",
        is_close: true,
        ..BASE
    },
    Case {
        letter: "bg",
        title: "the same, with shopwire gathering events for 5 ms",
        line: "fanout --connections 100 --rate 500",
        settings: &["--gather", "5ms"],
        joins: true,
        ..BASE
    },
    Case {
        letter: "c",
        title: "5,000 connections, 10 events/s to all",
        line: "fanout --connections 5000 --rate 10",
        least_seconds: 3.0,
        is_close: true,
        ..BASE
    },
    Case {
        letter: "h",
        title: "10,000 connections, 5 events/s to all",
        line: "fanout --connections 10000 --rate 5",
        least_seconds: 5.0,
        is_close: true,
        ..BASE
    },
    Case {
        letter: "s19",
        title: "19,000 connections, 2 events/s to all",
        line: "fanout --connections 19000 --rate 2",
        least_seconds: 10.0,
        who: Who::Floor,
        is_close: true,
        ..BASE
    },
    Case {
        letter: "d1",
        title: "flood to 100 connections, 512 events in flight",
        line: "flood --connections 100 --in-flight 512",
        tells: FLOOD,
        joins: true,
        ..BASE
    },
    Case {
        letter: "d2",
        title: "flood to 1,000 connections, 128 events in flight",
        line: "flood --connections 1000 --in-flight 128",
        tells: FLOOD,
        joins: true,
        is_close: true,
        ..BASE
    },
    Case {
        letter: "n",
        title: "flood of events that nobody listens to",
        line: "flood --connections 0 --in-flight 30000",
        decides: "events-per-s",
        tells: &[
            "cpu-us-per-event",
            "server-user-share",
            "server-busy",
            "client-busy",
        ],
        joins: true,
        ..BASE
    },
    Case {
        letter: "e",
        title: "5,000 customers, 20,000 events/s, each for one of them",
        line: "unicast --connections 5000 --rate 20000",
        joins: true,
        ..BASE
    },
    Case {
        letter: "e2",
        title: "5,000 customers, flood of events for one each, 512 in flight",
        line: "unicast --connections 5000 --flood --in-flight 512",
        decides: "events-per-s",
        tells: &[
            "cpu-us-per-event",
            "latency-p50-ms",
            "latency-p99-ms",
            "server-busy",
            "client-busy",
        ],
        joins: true,
        ..BASE
    },
    Case {
        letter: "m",
        title: "a shop's day: 1,000 connections, 100 events/s, 20 page changes a second",
        line: "mixed --connections 1000 --rate 100 --replaced 20",
        who: Who::Peers,
        ..BASE
    },
    Case {
        letter: "w1",
        title: "10,000 connections, 5 events/s to all, one worker, client and server on both cores",
        line: "fanout --connections 10000 --rate 5",
        least_seconds: 5.0,
        decides: "latency-p99-ms",
        tells: WORKERS,
        who: Who::Alone,
        shares_cores: true,
        ..BASE
    },
    Case {
        letter: "w2",
        title: "the same with two workers",
        line: "fanout --connections 10000 --rate 5",
        least_seconds: 5.0,
        decides: "latency-p99-ms",
        tells: WORKERS,
        who: Who::Alone,
        workers: 2,
        shares_cores: true,
        ..BASE
    },
    Case {
        letter: "f",
        title: "10,000 idle connections",
        line: "idle --connections 10000 --seconds 2",
        is_timed: false,
        decides: "pss-per-connection",
        tells: &["rss-per-connection", "rss-empty-mib", "rss-full-mib"],
        ..BASE
    },
    Case {
        letter: "i",
        title: "10,000 idle connections for as long as shopwire takes to ping each",
        line: "idle --connections 10000 --seconds 30",
        is_timed: false,
        decides: "server-busy",
        tells: &["client-busy", "foreign-cores"],
        who: Who::Alone,
        ..BASE
    },
    Case {
        letter: "g",
        title: "5,000 connections set up, 64 under way at once",
        line: "connect --connections 5000 --under-way 64",
        is_timed: false,
        decides: "connect-cpu-us",
        tells: &[
            "connects-per-s",
            "upgrade-p50-ms",
            "upgrade-p99-ms",
            "auth-p50-ms",
            "auth-p99-ms",
            "subscribe-p50-ms",
            "subscribe-p99-ms",
            "client-busy",
        ],
        ..BASE
    },
];

/// Rounds of shopwire and the floor in cases where they are to be close, where every server has `all`.
pub const fn close_rounds(all: u32) -> u32 {
    2 * all + 1
}

impl Case {
    /// How often `server` is measured in it, where `all` rounds are asked for.
    pub fn rounds(&self, all: u32, server: &str) -> u32 {
        if !self.suits(server) {
            0
        } else if self.is_close && [SHOPWIRE, FLOOR].contains(&server) {
            close_rounds(all)
        } else {
            all
        }
    }

    /// Whether `server` is measured in it.
    pub fn suits(&self, server: &str) -> bool {
        match self.who {
            Who::All => true,
            Who::Peers => server != FLOOR,
            Who::Floor => [SHOPWIRE, FLOOR].contains(&server),
            Who::Alone => server == SHOPWIRE,
        }
    }

    /// The command line with which `server` is measured as `arguments` say.
    pub fn words(&self, arguments: &Peers, server: &str) -> Words {
        let (on_server, on_client) = (arguments.pin_server, arguments.pin_client);
        let (server_cores, client_cores) = if self.shares_cores {
            let both = format!("{on_server},{on_client}");
            (both.clone(), both)
        } else {
            (on_server.to_string(), on_client.to_string())
        };
        let mut own: Vec<String> = self.line.split(' ').map(String::from).collect();
        if self.is_timed {
            let seconds = arguments.seconds.max(self.least_seconds);
            own.push(format!("--seconds={seconds}"));
        }
        own.extend(["--server", server].map(String::from));
        own.push(format!("--workers={}", self.workers));
        own.push(NICE.into());
        own.push(format!("--pin-server={server_cores}"));
        own.push(format!("--pin-client={client_cores}"));
        let is_set = server == SHOPWIRE;
        Words {
            own,
            server: if is_set { self.settings } else { &[] },
        }
    }
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::report::figures::definition;
    use clap::Parser;
    use std::collections::BTreeSet;

    /// What `peers` with these words asks for.
    pub fn arguments(line: &str) -> Peers {
        let words = ["loadtest", "peers"].into_iter();
        match Cli::try_parse_from(words.chain(line.split_whitespace())) {
            Ok(Cli {
                command: Command::Peers(arguments),
            }) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_case_is_a_command_line_and_tells_figures_that_there_are() {
        for case in &CASES {
            let words = case.words(&arguments(""), SHOPWIRE);
            let line = ["loadtest".to_string()].into_iter().chain(words.own);
            let line = line.chain(["--".to_string()]);
            let line = line.chain(words.server.iter().map(ToString::to_string));
            Cli::try_parse_from(line).unwrap();
            for key in case.tells.iter().chain([&case.decides]) {
                assert!(definition(key).is_some(), "{key}");
            }
        }
        let letters: BTreeSet<&str> = CASES.iter().map(|case| case.letter).collect();
        assert_eq!(letters.len(), CASES.len());
    }

    #[test]
    fn few_seconds_are_raised_where_events_are_few() {
        let seconds = |case: &Case, asked: &str| {
            let words = case.words(&arguments(asked), SHOPWIRE).own;
            let of = |word: &String| word.strip_prefix("--seconds=")?.parse::<f64>().ok();
            words.iter().find_map(of)
        };
        let mut raised = BTreeSet::new();
        for case in CASES.iter().filter(|case| case.is_timed) {
            let one = seconds(case, "--seconds 1").unwrap();
            if one > 1.0 {
                raised.insert(case.letter);
            }
            if let Some((_, rate)) = case.line.split_once("--rate ") {
                let rate: f64 = rate.split(' ').next().unwrap().parse().unwrap();
                assert!(rate * one >= 20.0, "{} has too few events", case.letter);
            }
            assert_eq!(seconds(case, "--seconds 60"), Some(60.0));
        }
        assert_eq!(raised, BTreeSet::from(["c", "h", "s19", "w1", "w2"]));
    }

    #[test]
    fn settings_are_for_shopwire_alone_and_cores_are_apart_unless_said() {
        let case = |letter| CASES.iter().find(|case| case.letter == letter).unwrap();
        let arguments = arguments("--pin-server 3 --pin-client 4 --seconds 2");
        let gathering = case("bg").words(&arguments, SHOPWIRE);
        assert_eq!(gathering.server, ["--gather", "5ms"]);
        assert!(gathering.own.contains(&"--pin-server=3".to_string()));
        assert!(gathering.own.contains(&"--seconds=2".to_string()));
        let floor = case("bg").words(&arguments, "floor");
        assert!(floor.server.is_empty());
        let two = case("w2").words(&arguments, SHOPWIRE);
        for word in ["--workers=2", "--pin-server=3,4", "--pin-client=3,4"] {
            assert!(two.own.contains(&word.to_string()), "{word}");
        }
    }

    #[test]
    fn rounds_are_for_those_a_case_suits_and_more_where_the_floor_is_close() {
        let rounds = |letter, server| {
            let case = CASES.iter().find(|case| case.letter == letter).unwrap();
            case.rounds(3, server)
        };
        assert_eq!((rounds("w2", FLOOR), rounds("w2", SHOPWIRE)), (0, 3));
        assert_eq!((rounds("s19", "ws"), rounds("m", FLOOR)), (0, 0));
        assert_eq!((rounds("a", "bun"), rounds("a", FLOOR)), (3, 7));
        assert_eq!((rounds("s19", SHOPWIRE), rounds("d1", SHOPWIRE)), (7, 3));
    }
}
