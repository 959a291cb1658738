//! The page about a comparison: medians, ranges, ratios, and where shopwire is behind.

use std::fmt::Write;

use super::cases::Case;
use super::versions;
use crate::cli::Peers;
use crate::report::figures::{Better, definition};
use crate::report::machine::Machine;
use crate::report::{Report, number};
use crate::server::launch;

/// A measurement that was taken or failed.
pub struct Outcome<'a> {
    /// The case.
    pub case: &'a Case,
    /// The server.
    pub server: String,
    /// What came out.
    pub report: Result<Report, String>,
}

/// The values of one figure over the rounds.
#[derive(Debug, Clone, PartialEq)]
struct Values(Vec<f64>);

impl Values {
    fn of(outcomes: &[Outcome<'_>], case: &Case, server: &str, key: &str) -> Option<Self> {
        let mut values: Vec<f64> = outcomes
            .iter()
            .filter(|outcome| outcome.case.letter == case.letter && outcome.server == server)
            .filter_map(|outcome| outcome.report.as_ref().ok()?.figures.get(key).copied())
            .collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self(values))
    }

    fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 {
            self.0[middle]
        } else {
            f64::midpoint(self.0[middle - 1], self.0[middle])
        }
    }

    fn least(&self) -> f64 {
        self.0[0]
    }

    fn most(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// The best of the rounds: what noise has disturbed least.
    fn best(&self, better: Better) -> f64 {
        if better == Better::Higher {
            self.most()
        } else {
            self.least()
        }
    }

    fn with_range(&self) -> String {
        let median = number(self.median());
        if self.0.len() == 1 {
            return median;
        }
        format!(
            "{median} ({}-{})",
            number(self.least()),
            number(self.most())
        )
    }
}

/// The page.
pub fn write(arguments: &Peers, cases: &[&Case], outcomes: &[Outcome<'_>]) -> String {
    let mut page = String::new();
    // Writing to a String does not fail.
    put_page(arguments, cases, outcomes, &mut page).unwrap_or_default();
    page
}

fn put_page(
    arguments: &Peers,
    cases: &[&Case],
    outcomes: &[Outcome<'_>],
    page: &mut String,
) -> std::fmt::Result {
    writeln!(
        page,
        "# Benchmarks\n\nshopwire beside the servers people would use instead, and beside `floor`, the least that any server can do on this\n\
         kernel. Written by `make compare`; nothing here is edited by hand, and what shopwire loses stands here like what it wins.\n"
    )?;
    put_conditions(arguments, page)?;
    put_summary(cases, outcomes, page)?;
    for case in cases {
        put_case(arguments, case, outcomes, page)?;
    }
    put_failures(outcomes, page)
}

fn put_conditions(arguments: &Peers, page: &mut String) -> std::fmt::Result {
    let machine = Machine::this();
    writeln!(page, "## Conditions\n")?;
    writeln!(
        page,
        "- {}, {} cores, {:.0} GiB, Linux {}; TCP over loopback with congestion control {}, no TLS, no compression.",
        machine.cpu, machine.cores, machine.memory_gib, machine.kernel, machine.congestion_control
    )?;
    writeln!(page, "- {}.", versions::all().join(", "))?;
    writeln!(
        page,
        "- `loadtest peers --rounds {} --seconds {} --servers {}`, as root.",
        arguments.rounds,
        arguments.seconds,
        arguments.servers.join(",")
    )?;
    writeln!(
        page,
        "- The server, with one worker, on core {}, the client on core {}; a fresh server and client for each measurement, 1 s of\n  \
         warming up, {} s measured, {} rounds with the servers by turns. Figures are medians, in brackets the least and the most.",
        arguments.pin_server, arguments.pin_client, arguments.seconds, arguments.rounds
    )?;
    writeln!(
        page,
        "- CPU is the scheduler's run time of all the server's threads. On loopback a `send` also runs the receiver's TCP input\n  \
         and wakes the client, so a server with a real network card pays less. Latency counts from the intended time of sending.\n\
         - Two rounds of the same program differ by 10 to 20 % on a shared machine: read no smaller difference out of medians. The\n  \
         ratio of the best rounds is steadier, to about 3 %. A ratio to the floor below 1 is such noise: nothing costs less.\n\
         - The peers leave out checks that shopwire makes: see [their page](../loadtest/peers/README.md).\n"
    )?;
    writeln!(page, "| server | |\n|---|---|")?;
    for server in &arguments.servers {
        let about = launch::known(server).map_or("", |known| known.about);
        writeln!(page, "| {server} | {about} |")?;
    }
    writeln!(page)
}

/// One line a case: shopwire's ratio to the floor and to the best peer.
fn put_summary(cases: &[&Case], outcomes: &[Outcome<'_>], page: &mut String) -> std::fmt::Result {
    writeln!(
        page,
        "## At a glance\n\n| case | figure | shopwire | x floor | x floor, best rounds | the best peer | x that peer |\n|---|---|---|---|---|---|---|"
    )?;
    for case in cases {
        let better = definition(case.decides).map_or(Better::Neither, |figure| figure.better);
        let of = |server: &str| Values::of(outcomes, case, server, case.decides);
        let Some(shopwire) = of("shopwire") else {
            continue;
        };
        let floor = of("floor");
        let peers = launch::KNOWN
            .iter()
            .map(|known| known.name)
            .filter(|name| !["shopwire", "floor"].contains(name));
        let best = peers
            .filter_map(|name| Some((name, of(name)?.median())))
            .min_by(|(_, a), (_, b)| {
                let order = a.total_cmp(b);
                if better == Better::Higher {
                    order.reverse()
                } else {
                    order
                }
            });
        let ratio = |other: f64| format!("{:.2}", shopwire.median() / other);
        let dash = || "-".to_string();
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} |",
            case.letter,
            case.decides,
            number(shopwire.median()),
            floor
                .as_ref()
                .map_or_else(dash, |floor| ratio(floor.median())),
            floor.as_ref().map_or_else(dash, |floor| {
                format!("{:.2}", shopwire.best(better) / floor.best(better))
            }),
            best.map_or_else(dash, |(name, value)| format!("{name}, {}", number(value))),
            best.map_or_else(dash, |(_, value)| {
                let is_behind = match better {
                    Better::Higher => shopwire.median() < value,
                    _ => shopwire.median() > value,
                };
                format!(
                    "{}{}",
                    ratio(value),
                    if is_behind { ", **behind**" } else { "" }
                )
            }),
        )?;
    }
    writeln!(page)
}

fn put_case(
    arguments: &Peers,
    case: &Case,
    outcomes: &[Outcome<'_>],
    page: &mut String,
) -> std::fmt::Result {
    writeln!(page, "## {}: {}\n", case.letter, case.title)?;
    writeln!(
        page,
        "`loadtest {} --server NAME --workers 1 --nice=-15 --pin-server={} --pin-client={}`\n",
        case.arguments(arguments.seconds).join(" "),
        arguments.pin_server,
        arguments.pin_client
    )?;
    write!(page, "| server | {} | x floor |", case.decides)?;
    for key in case.tells {
        write!(page, " {key} |")?;
    }
    writeln!(page, "\n|---|{}", "---|".repeat(case.tells.len() + 2))?;
    let floor = Values::of(outcomes, case, "floor", case.decides);
    for server in arguments.servers.iter().filter(|server| case.suits(server)) {
        let cell = |key: &str| Values::of(outcomes, case, server, key);
        let Some(decides) = cell(case.decides) else {
            continue;
        };
        let ratio = floor.as_ref().map_or_else(
            || "-".to_string(),
            |floor| format!("{:.2}", decides.median() / floor.median()),
        );
        write!(page, "| {server} | {} | {ratio} |", decides.with_range())?;
        for key in case.tells {
            let text = cell(key).map_or_else(|| "-".to_string(), |values| number(values.median()));
            write!(page, " {text} |")?;
        }
        writeln!(page)?;
    }
    writeln!(page)
}

/// What did not hold, and what was doubtful.
fn put_failures(outcomes: &[Outcome<'_>], page: &mut String) -> std::fmt::Result {
    writeln!(page, "## Faults and doubts\n")?;
    let mut faulty = 0;
    for outcome in outcomes {
        let lines: Vec<String> = match &outcome.report {
            Err(message) => vec![message.lines().next().unwrap_or_default().to_string()],
            Ok(report) => {
                let failed = report.verdicts.iter().filter(|verdict| !verdict.passed);
                failed.map(|verdict| verdict.text.clone()).collect()
            }
        };
        faulty += u32::from(!lines.is_empty());
        for line in lines {
            writeln!(
                page,
                "- {}, {}: {line}",
                outcome.case.letter, outcome.server
            )?;
        }
    }
    let reports = || {
        outcomes
            .iter()
            .filter_map(|outcome| outcome.report.as_ref().ok())
    };
    let busy = reports()
        .filter(|report| {
            report
                .figures
                .get("foreign-cores")
                .is_some_and(|&cores| cores > super::FOREIGN_MAX)
        })
        .count();
    writeln!(
        page,
        "- {} measurements, {faulty} with a fault: a delivery lost, repeated, out of order or to the wrong connection, an event refused, a\n  \
         connection ended. Other programs used more than {} of a core in {busy} of them, also when they were taken again.\n\
         - Where `client-busy` is near 1 the client was the limit: compare the CPU there, not the speed.",
        outcomes.len(),
        super::FOREIGN_MAX
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranges() {
        let odd = Values(vec![1.0, 2.0, 9.0]);
        assert_eq!(odd.with_range(), "2 (1-9)");
        assert_eq!(odd.best(Better::Lower), 1.0);
        assert_eq!(odd.best(Better::Higher), 9.0);
        assert_eq!(Values(vec![1.0, 2.0]).median(), 1.5);
        assert_eq!(Values(vec![4.0]).with_range(), "4");
    }
}
