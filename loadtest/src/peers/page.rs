//! The page about a comparison: goals, medians, ranges, ratios, and where shopwire is behind.

use std::fmt::Write;

use super::cases::{Case, close_rounds};
use super::goals::{GOALS, Notes, Verdict};
use super::values::{Values, better, times_worse};
use super::{FLOOR, Outcome, SHOPWIRE, all_hold, peers};
use crate::cli::Peers;
use crate::report::Report;
use crate::report::figures::Better;
use crate::report::machine::Machine;
use crate::report::number;
use crate::server::launch;

/// From this ratio on shopwire is said to be behind in a latency: rounds of the same program differ by
/// as much.
const BEHIND: f64 = 1.1;

/// The page.
pub fn write(
    arguments: &Peers,
    shopwire: &str,
    tools: &[String],
    notes: &Notes,
    cases: &[&Case],
    outcomes: &[Outcome<'_>],
) -> String {
    let mut page = String::new();
    // Writing to a String does not fail.
    put_page(
        arguments, shopwire, tools, notes, cases, outcomes, &mut page,
    )
    .unwrap_or_default();
    page
}

fn put_page(
    arguments: &Peers,
    shopwire: &str,
    tools: &[String],
    notes: &Notes,
    cases: &[&Case],
    outcomes: &[Outcome<'_>],
    page: &mut String,
) -> std::fmt::Result {
    writeln!(
        page,
        "# Benchmarks\n\nshopwire beside the servers people would use instead, and beside `floor`, the least that any server can do on this\n\
         kernel. Written by `make compare`; nothing here is edited by hand, and what shopwire loses stands here like what it wins.\n"
    )?;
    put_goals(notes, outcomes, page)?;
    put_conditions(arguments, shopwire, tools, outcomes, page)?;
    put_summary(cases, outcomes, page)?;
    for case in cases {
        put_case(arguments, case, outcomes, page)?;
    }
    put_failures(outcomes, page)
}

/// One line a goal: what was wanted, what it came to, whether that is it.
fn put_goals(notes: &Notes, outcomes: &[Outcome<'_>], page: &mut String) -> std::fmt::Result {
    let judged: Vec<_> = GOALS
        .iter()
        .map(|goal| (goal, goal.judge(outcomes)))
        .collect();
    let count = |is: fn(&Verdict) -> bool| {
        let verdicts = judged.iter().map(|(_, judged)| &judged.verdict);
        verdicts.filter(|verdict| is(verdict)).count()
    };
    writeln!(
        page,
        "## Goals\n\n{} met, {} not met, {} not measured. Latencies and figures that stand alone are held to the medians of the rounds,\n\
         ratios of CPU, memory and speed to the best rounds.\n\n\
         | case | figure | goal | came to | |\n|---|---|---|---|---|",
        count(|verdict| matches!(verdict, Verdict::Met)),
        count(|verdict| matches!(verdict, Verdict::Missed | Verdict::Faulty)),
        count(|verdict| matches!(verdict, Verdict::Unknown(_))),
    )?;
    for (goal, judged) in &judged {
        let verdict = match &judged.verdict {
            Verdict::Met => "met".to_string(),
            Verdict::Missed => match notes.get(&goal.key()) {
                Some(note) => format!("**not met**: {note}"),
                None => "**not met**".into(),
            },
            Verdict::Faulty => "**not met**: not every run of it held".into(),
            Verdict::Unknown(missing) => format!("**not measured**: {missing}"),
        };
        let came_to = match judged.came_to.as_str() {
            "" => "-",
            text => text,
        };
        writeln!(
            page,
            "| {} | {} | {} | {came_to} | {verdict} |",
            goal.case,
            goal.figure,
            goal.wanted()
        )?;
    }
    writeln!(page)
}

fn put_conditions(
    arguments: &Peers,
    shopwire: &str,
    tools: &[String],
    outcomes: &[Outcome<'_>],
    page: &mut String,
) -> std::fmt::Result {
    let machine = Machine::this();
    writeln!(page, "## Conditions\n")?;
    writeln!(
        page,
        "- {}, {} cores, {:.0} GiB, Linux {}; TCP over loopback with congestion control {}, no TLS (memory and time that it costs: [tuning](tuning.md#tls)), no compression.",
        machine.cpu, machine.cores, machine.memory_gib, machine.kernel, machine.congestion_control
    )?;
    let mut made_of = vec![shopwire.to_string()];
    made_of.extend_from_slice(tools);
    writeln!(page, "- {}.", made_of.join(", "))?;
    writeln!(
        page,
        "- `loadtest peers --rounds {} --seconds {} --servers {}`, {}.",
        arguments.rounds,
        arguments.seconds,
        arguments.servers.join(","),
        priority_held(outcomes)
    )?;
    writeln!(
        page,
        "- The server, with one worker, on core {}, the client on core {}; a fresh server and client for each measurement, 1 s of\n  \
         warming up, {} s measured, or as long as the case's line says, {} rounds with the servers by turns; {} for\n  \
         {SHOPWIRE} and {FLOOR} in cases where they are to be close, of which those that every server had count against the peers.\n  \
         Figures are medians, in brackets the least and the most.",
        arguments.pin_server,
        arguments.pin_client,
        arguments.seconds,
        arguments.rounds,
        close_rounds(arguments.rounds)
    )?;
    writeln!(
        page,
        "- CPU is the scheduler's run time of all the server's threads. On loopback a `send` also runs the receiver's TCP input\n  \
         and wakes the client, so a server with a real network card pays less. Latency counts from the intended time of sending.\n\
         - Two rounds of the same program differ by 10 to 20 % on a shared machine: read no smaller difference out of medians. The\n  \
         ratio of the best rounds is steadier, to about 3 %. Where a server comes out below the floor, that is such noise, because\n  \
         nothing costs less; but where events come so close that a server may join more of them in one send than the floor does, it\n  \
         may be that, and the line says so.\n\
         - **behind** stands where shopwire is behind the best peer, in a latency where it is over 10 % behind the floor or the best peer.\n\
         - The peers leave out checks that shopwire makes: see [their page](../loadtest/peers/README.md).\n"
    )?;
    writeln!(page, "| server | |\n|---|---|")?;
    for server in &arguments.servers {
        let about = launch::known(server).map_or("", |known| known.about);
        writeln!(page, "| {server} | {about} |")?;
    }
    writeln!(page)
}

/// Whether the runs were as urgent as they asked to be, which root may and others may not.
fn priority_held(outcomes: &[Outcome<'_>]) -> String {
    let reports = || {
        outcomes
            .iter()
            .filter_map(|outcome| outcome.report.as_ref().ok())
    };
    let was_refused = |report: &&Report| {
        let mut warnings = report.warnings.iter();
        warnings.any(|warning| warning.starts_with("not allowed to "))
    };
    match reports().filter(was_refused).count() {
        0 => "every run with the nice value and the real-time priority it asks for".into(),
        refused => format!(
            "**{refused} of {} runs without** the nice value or the real-time priority they ask for, which only root may have",
            reports().count()
        ),
    }
}

/// One line a case: shopwire's ratio to the floor and to the best peer.
fn put_summary(cases: &[&Case], outcomes: &[Outcome<'_>], page: &mut String) -> std::fmt::Result {
    writeln!(
        page,
        "## At a glance\n\n| case | figure | shopwire | x floor | x floor, best rounds | the best peer | x that peer |\n|---|---|---|---|---|---|---|"
    )?;
    let dash = || "-".to_string();
    for case in cases {
        let key = case.decides;
        let of = |server: &str| Values::of(outcomes, case.letter, server, key);
        let Some(shopwire) = of(SHOPWIRE) else {
            continue;
        };
        let (mine, floor) = (shopwire.median(), of(FLOOR));
        let best = best_peer(outcomes, case, key);
        let better = better(key);
        writeln!(
            page,
            "| {} | {key} | {} | {} | {} | {} | {} |",
            case.letter,
            number(mine),
            floor
                .as_ref()
                .map_or_else(dash, |floor| to_floor(case, key, mine, floor.median())),
            floor.as_ref().map_or_else(dash, |floor| {
                let (mine, floor) = (shopwire.best(better), floor.best(better));
                to_floor(case, key, mine, floor)
            }),
            best.map_or_else(dash, |(name, value)| format!("{name}, {}", number(value))),
            best.map_or_else(dash, |(_, value)| {
                let is_behind = times_worse(key, mine, value) > 1.0;
                let word = if is_behind { ", **behind**" } else { "" };
                format!("{:.2}{word}", mine / value)
            }),
        )?;
    }
    writeln!(page)
}

/// The peer with the best median, and that, of those whose runs all held.
fn best_peer(outcomes: &[Outcome<'_>], case: &Case, key: &str) -> Option<(&'static str, f64)> {
    let median = |peer| Some((peer, Values::of(outcomes, case.letter, peer, key)?.median()));
    let sound = peers().filter(|peer| all_hold(outcomes, case.letter, peer));
    sound.filter_map(median).min_by(|(_, a), (_, b)| {
        let order = a.total_cmp(b);
        match better(key) {
            Better::Higher => order.reverse(),
            _ => order,
        }
    })
}

/// The ratio to the floor, and where that is on the wrong side, why it can be.
fn to_floor(case: &Case, key: &str, value: f64, floor: f64) -> String {
    let ratio = format!("{:.2}", value / floor);
    match case.joins {
        _ if times_worse(key, value, floor) >= 1.0 => ratio,
        true => format!("{ratio}, below the floor: fuller sends, or noise"),
        false => format!("{ratio}, below the floor: noise"),
    }
}

fn put_case(
    arguments: &Peers,
    case: &Case,
    outcomes: &[Outcome<'_>],
    page: &mut String,
) -> std::fmt::Result {
    writeln!(page, "## {}: {}\n", case.letter, case.title)?;
    let words = case.words(arguments, "NAME");
    writeln!(page, "`loadtest {}`", words.own.join(" "))?;
    let settings = case.words(arguments, SHOPWIRE).server;
    if !settings.is_empty() {
        writeln!(
            page,
            "\nshopwire is started with `{}`, which the others have no like of.",
            settings.join(" ")
        )?;
    }
    if case.shares_cores {
        writeln!(
            page,
            "\nThe client has to share the two cores with the server: what it uses, the server's workers cannot, and latencies have both in them."
        )?;
    }
    write!(page, "\n| server | {} | x floor |", case.decides)?;
    for key in case.tells {
        write!(page, " {key} |")?;
    }
    writeln!(page, "\n|---|{}", "---|".repeat(case.tells.len() + 2))?;
    for server in arguments.servers.iter().filter(|server| case.suits(server)) {
        let values = |server: &str, key: &str| Values::of(outcomes, case.letter, server, key);
        let Some(decides) = values(server, case.decides) else {
            continue;
        };
        let ratio = values(FLOOR, case.decides).map_or_else(
            || "-".to_string(),
            |floor| to_floor(case, case.decides, decides.median(), floor.median()),
        );
        let faults = match all_hold(outcomes, case.letter, server) {
            true => "",
            false => ", **had faults**",
        };
        write!(
            page,
            "| {server}{faults} | {} | {ratio} |",
            decides.with_range()
        )?;
        for key in case.tells {
            let text = values(server, key).map_or_else(
                || "-".to_string(),
                |values| match is_latency(key) {
                    true if server == SHOPWIRE => {
                        format!(
                            "{}{}",
                            values.with_range(),
                            behind(outcomes, case, key, &values)
                        )
                    }
                    true => values.with_range(),
                    false => number(values.median()),
                },
            );
            write!(page, " {text} |")?;
        }
        writeln!(page)?;
    }
    writeln!(page)
}

fn is_latency(key: &str) -> bool {
    key.ends_with("-ms")
}

/// Says so where shopwire's latency is behind the floor's or the best peer's.
fn behind(outcomes: &[Outcome<'_>], case: &Case, key: &str, mine: &Values) -> &'static str {
    let floor = Values::of(outcomes, case.letter, FLOOR, key).map(|floor| floor.median());
    let peer = best_peer(outcomes, case, key).map(|(_, median)| median);
    let is_behind = |other: f64| times_worse(key, mine.median(), other) > BEHIND;
    if floor.into_iter().chain(peer).any(is_behind) {
        ", **behind**"
    } else {
        ""
    }
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
    #![allow(clippy::unwrap_used)]
    use super::super::cases::CASES;
    use super::super::cases::tests::arguments;
    use super::super::tests::{faulty, outcome};
    use super::*;

    const CPU: &str = "cpu-us-per-delivery";

    fn page(outcomes: &[Outcome<'_>]) -> String {
        let all: Vec<&Case> = CASES.iter().collect();
        let notes = Notes::from([("f pss-per-connection".into(), "holes in the heap".into())]);
        let tools = ["rustc 1".into()];
        write(&arguments(""), "shopwire 1", &tools, &notes, &all, outcomes)
    }

    /// The only line that begins so, in the section of this title.
    fn line<'p>(page: &'p str, section: &str, start: &str) -> &'p str {
        let (_, rest) = page.split_once(&format!("## {section}")).unwrap();
        let rest = rest.split("\n## ").next().unwrap();
        let found: Vec<&str> = rest
            .lines()
            .filter(|line| line.starts_with(start))
            .collect();
        assert_eq!(found.len(), 1, "{start} in {rest}");
        found[0]
    }

    #[test]
    fn goals_are_told_with_what_they_came_to() {
        let page = page(&[
            outcome("n", SHOPWIRE, "events-per-s", 1_600_000.0),
            outcome("f", SHOPWIRE, "pss-per-connection", 450.0),
            faulty(outcome("i", SHOPWIRE, "server-busy", 0.001)),
        ]);
        let goal = |start: &str| line(&page, "Goals", start);
        assert_eq!(
            goal("| n |"),
            "| n | events-per-s | at least 1,500,000 | 1,600,000 | met |"
        );
        let missed =
            "| f | pss-per-connection | at most 300 | 450 | **not met**: holes in the heap |";
        assert_eq!(goal("| f |"), missed);
        assert!(goal("| i |").contains("not every run of it held"));
        let unknown = "**not measured**: shopwire in e2 |";
        assert!(goal("| e2 |").ends_with(unknown), "{}", goal("| e2 |"));
        let rest = GOALS.len() - 3;
        let counts = format!("1 met, 2 not met, {rest} not measured.");
        line(&page, "Goals", &counts);
    }

    #[test]
    fn latencies_have_ranges_and_say_where_shopwire_is_behind() {
        let p99 = "latency-p99-ms";
        let mut outcomes = vec![
            outcome("a", FLOOR, p99, 10.0),
            outcome("a", "bun", p99, 9.0),
            outcome("a", SHOPWIRE, CPU, 6.0),
            outcome("a", FLOOR, CPU, 6.0),
            outcome("a", "bun", CPU, 9.0),
        ];
        for value in [9.5, 9.8, 10.5] {
            outcomes.push(outcome("a", SHOPWIRE, p99, value));
        }
        let section = "a: 1,000 connections";
        let told = page(&outcomes);
        let shopwire = line(&told, section, "| shopwire");
        assert!(shopwire.contains(" 9.80 (9.50-10.5) |"), "{shopwire}");
        outcomes.push(outcome("a", SHOPWIRE, p99, 10.4));
        let told = page(&outcomes);
        let shopwire = line(&told, section, "| shopwire");
        assert!(shopwire.contains("(9.50-10.5), **behind** |"), "{shopwire}");
        assert!(!line(&told, section, "| bun").contains("behind"));
    }

    #[test]
    fn below_the_floor_is_said_to_be_noise_unless_sends_can_be_joined() {
        let told = page(&[
            outcome("a", SHOPWIRE, CPU, 6.0),
            outcome("a", FLOOR, CPU, 8.0),
            outcome("bg", SHOPWIRE, CPU, 3.0),
            outcome("bg", FLOOR, CPU, 6.0),
            outcome("c", SHOPWIRE, CPU, 8.8),
            outcome("c", FLOOR, CPU, 8.0),
        ]);
        let glance = |start: &str| line(&told, "At a glance", start);
        let noise = "| 0.75, below the floor: noise |";
        assert!(glance("| a |").contains(noise), "{}", glance("| a |"));
        let joined = "| 0.50, below the floor: fuller sends, or noise |";
        assert!(glance("| bg |").contains(joined), "{}", glance("| bg |"));
        assert!(glance("| c |").contains("| 1.10 | 1.10 |"));
        let section = "a: 1,000 connections";
        assert!(line(&told, section, "| shopwire").contains(noise));
    }

    #[test]
    fn a_peer_with_faults_is_not_the_best_one_and_its_row_says_so() {
        let mut outcomes = vec![
            outcome("a", SHOPWIRE, CPU, 6.0),
            outcome("a", "bun", CPU, 8.0),
            outcome("a", "ws", CPU, 3.0),
        ];
        let glance = |page: &str| line(page, "At a glance", "| a |").to_string();
        let told = page(&outcomes);
        assert!(glance(&told).ends_with("| ws, 3 | 2.00, **behind** |"));
        outcomes.push(faulty(outcome("a", "ws", CPU, 3.0)));
        let told = page(&outcomes);
        assert!(glance(&told).ends_with("| bun, 8 | 0.75 |"));
        let row = line(&told, "a: 1,000 connections", "| ws");
        assert!(row.starts_with("| ws, **had faults** | 3 (3-3) |"), "{row}");
    }

    #[test]
    fn runs_that_were_less_urgent_than_they_asked_are_told() {
        let mut outcomes = vec![
            outcome("a", SHOPWIRE, CPU, 6.0),
            outcome("a", "bun", CPU, 8.0),
        ];
        let command = |page: &str| line(page, "Conditions", "- `loadtest peers").to_string();
        let told = command(&page(&outcomes));
        assert!(told.contains("`, every run with the nice value"), "{told}");
        if let Ok(report) = &mut outcomes[0].report {
            report.warnings.push("not allowed to be nice -15".into());
        }
        let told = command(&page(&outcomes));
        assert!(told.contains("**1 of 2 runs without** the nice"), "{told}");
    }

    #[test]
    fn what_is_special_about_a_case_stands_beside_it() {
        let told = page(&[]);
        let special = "shopwire is started with `--gather 5ms`";
        assert!(line(&told, "bg:", "shopwire").starts_with(special));
        line(&told, "w2:", "The client has to share");
        let (_, b) = told.split_once("## b:").unwrap();
        assert!(!b.split("\n## ").next().unwrap().contains("started with"));
    }
}
