//! Several servers side by side: every case is taken with every server by turns, each time with a
//! fresh server and a fresh client, for some rounds; what is told are medians.
//!
//! Each measurement is a run of this program whose report is kept, so that a call that was cut off
//! goes on where it was, and every figure of the page can be looked up.
//!
//! - [`cases`]: what is measured
//! - [`page`]: what is told

mod cases;
mod page;
mod versions;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::Peers;
use crate::report::Report;
use crate::server::launch;
use cases::{CASES, Case};
use page::Outcome;

/// CPU of other programs, in cores, over which a measurement is taken again ...
const FOREIGN_MAX: f64 = 0.1;

/// ... at most so often; the quietest counts.
const TRIES: u32 = 3;

/// Nice value of client and server, where it is allowed: other work on the machine waits.
const NICE: &str = "--nice=-15";

/// A server's name of the command line.
///
/// # Errors
/// Where there is no such server, with those there are.
pub fn server_name(text: &str) -> Result<String, String> {
    known(text, "server", launch::KNOWN.iter().map(|known| known.name))
}

/// A case's letter of the command line.
///
/// # Errors
/// Where there is no such case, with those there are.
pub fn case_letter(text: &str) -> Result<String, String> {
    known(text, "case", CASES.iter().map(|case| case.letter))
}

fn known<'a>(
    text: &str,
    what: &str,
    all: impl Iterator<Item = &'a str> + Clone,
) -> Result<String, String> {
    if all.clone().any(|name| name == text) {
        return Ok(text.to_string());
    }
    let all: Vec<&str> = all.collect();
    Err(format!(
        "there is no such {what}; there are {}",
        all.join(", ")
    ))
}

/// Measures and tells. `false`: in some run something did not hold.
///
/// # Errors
/// Where a file cannot be written.
pub fn main(arguments: &Peers) -> Result<bool, String> {
    let letters = &arguments.cases;
    let is_chosen =
        |case: &&Case| letters.is_empty() || letters.iter().any(|letter| letter == case.letter);
    let cases: Vec<&Case> = CASES.iter().filter(is_chosen).collect();
    fs::create_dir_all(&arguments.reports)
        .map_err(|error| format!("{}: {error}", arguments.reports.display()))?;
    let rounds = arguments.rounds;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for round in 1..=rounds {
        for case in &cases {
            // Nobody comes first in every round.
            let turn = round as usize % arguments.servers.len();
            let (later, first) = arguments.servers.split_at(turn);
            let servers = first.iter().chain(later);
            for server in servers.filter(|server| case.suits(server)) {
                eprintln!("round {round} of {rounds}: {}, {server}", case.title);
                let report = measure(arguments, case, server, round);
                if let Err(message) = &report {
                    eprintln!("  {message}");
                }
                outcomes.push(Outcome {
                    case,
                    server: server.clone(),
                    report,
                });
            }
        }
    }
    let text = page::write(arguments, &cases, &outcomes);
    if let Some(path) = &arguments.markdown {
        fs::write(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    crate::print(|out| out.write_all(text.as_bytes()))?;
    let holds = |outcome: &Outcome| outcome.report.as_ref().is_ok_and(Report::has_passed);
    Ok(outcomes.iter().all(holds))
}

/// The report of one measurement: the one that is kept, or a new one.
fn measure(arguments: &Peers, case: &Case, server: &str, round: u32) -> Result<Report, String> {
    let folder = &arguments.reports;
    let kept = folder.join(format!("{}-{server}-{round}.json", case.letter));
    let words = words(arguments, case, server);
    // One that is cut off, or was taken another way, is none.
    if let Ok(report) = Report::read(&kept)
        && report.command.contains(&words.join(" "))
    {
        return Ok(report);
    }
    let mut quietest: Option<Report> = None;
    for _ in 0..TRIES {
        let trial = folder.join("trial.json");
        let report = run(&words, &trial)?;
        let foreign = |report: &Report| {
            let cores = report.figures.get("foreign-cores");
            cores.copied().unwrap_or(0.0)
        };
        let is_quiet = foreign(&report) <= FOREIGN_MAX;
        let is_quieter = |best: &Report| foreign(&report) < foreign(best);
        if quietest.as_ref().is_none_or(is_quieter) {
            quietest = Some(report);
        }
        if is_quiet {
            break;
        }
        eprintln!("  other programs were busy; once more");
    }
    let report = quietest.ok_or("nothing was measured")?;
    report.write(&kept)?;
    Ok(report)
}

/// The command line of a measurement.
fn words(arguments: &Peers, case: &Case, server: &str) -> Vec<String> {
    let mut words = case.arguments(arguments.seconds);
    words.extend(["--server", server, "--workers", "1", "--quiet", NICE].map(String::from));
    words.push(format!("--pin-server={}", arguments.pin_server));
    words.push(format!("--pin-client={}", arguments.pin_client));
    words
}

/// One run of this program.
fn run(words: &[String], json: &Path) -> Result<Report, String> {
    let program = std::env::current_exe()
        .map_err(|error| format!("cannot tell where this program is: {error}"))?;
    if json.exists() {
        fs::remove_file(json).map_err(|error| format!("{}: {error}", json.display()))?;
    }
    let output = Command::new(program)
        .args(words)
        .arg("--json")
        .arg(json)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start a run: {error}"))?;
    // A run that fails leaves an empty file, and says why.
    let said = String::from_utf8_lossy(&output.stderr);
    let report = Report::read(json).map_err(|_| said.trim().to_string())?;
    for verdict in report.verdicts.iter().filter(|verdict| !verdict.passed) {
        eprintln!("  FAIL: {}", verdict.text);
    }
    // The figures of a part stand beside none of a whole.
    match &report.cut_short {
        Some(reason) => Err(format!("the run was cut short: {reason}")),
        None => Ok(report),
    }
}
