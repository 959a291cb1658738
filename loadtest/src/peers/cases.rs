//! What is measured: the cases, and the figures that are told of each.

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
    /// The figure that decides: servers are ranked by it.
    pub decides: &'static str,
    /// The other figures told.
    pub tells: &'static [&'static str],
    /// Whether the floor can do it: it knows no roles, and no targets.
    floor: bool,
}

const FANOUT: &[&str] = &[
    "latency-p50-ms",
    "latency-p99-ms",
    "latency-p999-ms",
    "client-busy",
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

/// All of them.
pub const CASES: [Case; 12] = [
    Case {
        letter: "a",
        title: "1,000 connections, 50 events/s to all",
        line: "fanout --connections 1000 --rate 50",
        is_timed: true,
        decides: "cpu-us-per-delivery",
        tells: FANOUT,
        floor: true,
    },
    Case {
        letter: "b",
        title: "100 connections, 500 events/s to all",
        line: "fanout --connections 100 --rate 500",
        is_timed: true,
        decides: "cpu-us-per-delivery",
        tells: FANOUT,
        floor: true,
    },
    Case {
        letter: "c",
        title: "5,000 connections, 10 events/s to all",
        line: "fanout --connections 5000 --rate 10",
        is_timed: true,
        decides: "cpu-us-per-delivery",
        tells: FANOUT,
        floor: true,
    },
    Case {
        letter: "h",
        title: "10,000 connections, 5 events/s to all",
        line: "fanout --connections 10000 --rate 5",
        is_timed: true,
        decides: "cpu-us-per-delivery",
        tells: FANOUT,
        floor: true,
    },
    Case {
        letter: "d1",
        title: "flood to 100 connections, 512 events in flight",
        line: "flood --connections 100 --in-flight 512",
        is_timed: true,
        decides: "cpu-us-per-delivery",
        tells: FLOOD,
        floor: true,
    },
    Case {
        letter: "d2",
        title: "flood to 1,000 connections, 128 events in flight",
        line: "flood --connections 1000 --in-flight 128",
        is_timed: true,
        decides: "cpu-us-per-delivery",
        tells: FLOOD,
        floor: true,
    },
    Case {
        letter: "n",
        title: "flood of events that nobody listens to",
        line: "flood --connections 0 --in-flight 30000",
        is_timed: true,
        decides: "events-per-s",
        tells: &[
            "cpu-us-per-event",
            "server-user-share",
            "server-busy",
            "client-busy",
        ],
        floor: true,
    },
    Case {
        letter: "e",
        title: "5,000 customers, 20,000 events/s, each for one of them",
        line: "unicast --connections 5000 --rate 20000",
        is_timed: true,
        decides: "cpu-us-per-delivery",
        tells: FANOUT,
        floor: true,
    },
    Case {
        letter: "e2",
        title: "5,000 customers, flood of events for one each, 512 in flight",
        line: "unicast --connections 5000 --flood --in-flight 512",
        is_timed: true,
        decides: "events-per-s",
        tells: &[
            "cpu-us-per-event",
            "latency-p50-ms",
            "latency-p99-ms",
            "server-busy",
            "client-busy",
        ],
        floor: true,
    },
    Case {
        letter: "m",
        title: "a shop's day: 1,000 connections, 100 events/s, 20 page changes a second",
        line: "mixed --connections 1000 --rate 100 --replaced 20",
        is_timed: true,
        decides: "cpu-us-per-delivery",
        tells: FANOUT,
        floor: false,
    },
    Case {
        letter: "f",
        title: "10,000 idle connections",
        line: "idle --connections 10000 --seconds 2",
        is_timed: false,
        decides: "pss-per-connection",
        tells: &["rss-per-connection", "rss-empty-mib", "rss-full-mib"],
        floor: true,
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
        floor: true,
    },
];

impl Case {
    /// Whether `server` can be measured in it.
    pub fn suits(&self, server: &str) -> bool {
        self.floor || server != "floor"
    }

    /// The command line's words, measuring for `seconds` where that means something.
    pub fn arguments(&self, seconds: f64) -> Vec<String> {
        let mut words: Vec<String> = self.line.split(' ').map(String::from).collect();
        if self.is_timed {
            words.push(format!("--seconds={seconds}"));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::Cli;
    use crate::report::figures::definition;
    use clap::Parser;

    #[test]
    fn every_case_is_a_command_line_and_tells_figures_that_there_are() {
        for case in &CASES {
            let words = ["loadtest".to_string()].into_iter();
            Cli::try_parse_from(words.chain(case.arguments(4.0))).unwrap();
            for key in case.tells.iter().chain([&case.decides]) {
                assert!(definition(key).is_some(), "{key}");
            }
        }
    }
}
