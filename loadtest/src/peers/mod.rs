//! Several servers side by side: every case is taken with every server by turns, each time with a
//! fresh server and a fresh client, for some rounds; what is told are medians.
//!
//! Each measurement is a run of this program whose report is kept, so that a call that was cut off
//! goes on where it was, and every figure of the page can be looked up.
//!
//! - [`cases`]: what is measured
//! - [`kept`]: which earlier measurements still stand
//! - [`goals`]: what shopwire is to reach, and whether it did
//! - [`page`], [`values`], [`versions`]: what is told

mod cases;
mod goals;
mod kept;
mod page;
mod values;
mod versions;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cli::Peers;
use crate::report::Report;
use crate::server::launch;
use cases::{CASES, Case, Words};
use kept::Made;

/// The server that the others are compared with, ...
const SHOPWIRE: &str = "shopwire";

/// ... and the one that shows what no server can be below.
const FLOOR: &str = "floor";

/// CPU of other programs, in cores, over which a measurement is taken again ...
const FOREIGN_MAX: f64 = 0.1;

/// ... at most so often; the quietest counts.
const TRIES: u32 = 3;

/// A measurement that was taken or failed.
struct Outcome<'a> {
    /// The case.
    case: &'a Case,
    /// The server.
    server: String,
    /// Not every server was measured in this round.
    is_extra: bool,
    /// What came out.
    report: Result<Report, String>,
}

impl Outcome<'_> {
    /// Whether it was taken, and everything held that was judged in it.
    fn holds(&self) -> bool {
        self.report.as_ref().is_ok_and(Report::has_passed)
    }
}

/// Whether all runs of `server` in the case of this letter held: one that loses deliveries is cheaper
/// for it, so its figures prove nothing.
fn all_hold(outcomes: &[Outcome<'_>], letter: &str, server: &str) -> bool {
    let is_of = |outcome: &&Outcome<'_>| outcome.case.letter == letter && outcome.server == server;
    outcomes.iter().filter(is_of).all(Outcome::holds)
}

/// The servers that people would use instead.
fn peers() -> impl Iterator<Item = &'static str> {
    let names = launch::KNOWN.iter().map(|known| known.name);
    names.filter(|name| ![SHOPWIRE, FLOOR].contains(name))
}

/// The servers' names of the command line.
///
/// # Errors
/// Where there is no such server, with those there are, and where one is named twice.
pub fn server_names(text: &str) -> Result<Vec<String>, String> {
    names(text, "server", launch::KNOWN.iter().map(|known| known.name))
}

/// The cases' letters of the command line.
///
/// # Errors
/// Where there is no such case, with those there are, and where one is named twice.
pub fn case_letters(text: &str) -> Result<Vec<String>, String> {
    names(text, "case", CASES.iter().map(|case| case.letter))
}

fn names<'a>(
    text: &str,
    what: &str,
    all: impl Iterator<Item = &'a str>,
) -> Result<Vec<String>, String> {
    let all: Vec<&str> = all.collect();
    let mut names: Vec<String> = Vec::new();
    for name in text.split(',') {
        if !all.contains(&name) {
            let all = all.join(", ");
            return Err(format!("there is no {what} `{name}`; there are {all}"));
        }
        // Its reports would be counted twice.
        if names.iter().any(|earlier| earlier == name) {
            return Err(format!(
                "`{name}` is named twice; each {what} is measured once a round, --rounds says how often"
            ));
        }
        names.push(name.to_string());
    }
    Ok(names)
}

/// Measures and tells. `false`: in some run something did not hold.
///
/// # Errors
/// Where a file cannot be written, or the notes on goals cannot be read.
pub fn main(arguments: &Peers) -> Result<bool, String> {
    let is_chosen = |case: &&Case| {
        let letters = arguments.cases.as_ref();
        letters.is_none_or(|letters| letters.iter().any(|letter| letter == case.letter))
    };
    let cases: Vec<&Case> = CASES.iter().filter(is_chosen).collect();
    let notes = goals::notes(&Path::new(launch::PEERS).join("notes.toml"))?;
    fs::create_dir_all(&arguments.reports)
        .map_err(|error| format!("{}: {error}", arguments.reports.display()))?;
    // An hour's measurements are not to end with a page that cannot be written.
    if let Some(path) = &arguments.markdown {
        let opened = File::options().create(true).append(true).open(path);
        opened.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let shopwire = versions::shopwire();
    let tools = versions::tools();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for round in 1..=cases::close_rounds(arguments.rounds) {
        let is_extra = round > arguments.rounds;
        for case in &cases {
            // Nobody comes first in every round.
            let turn = round as usize % arguments.servers.len();
            let (later, first) = arguments.servers.split_at(turn);
            let servers = first.iter().chain(later);
            let rounds = |server: &str| case.rounds(arguments.rounds, server);
            for server in servers.filter(|server| round <= rounds(server)) {
                let of = rounds(server);
                eprintln!("round {round} of {of}: {}, {server}", case.title);
                let report = measure(arguments, case, server, round, &tools);
                if let Err(message) = &report {
                    eprintln!("  {message}");
                }
                outcomes.push(Outcome {
                    case,
                    server: server.clone(),
                    is_extra,
                    report,
                });
            }
        }
    }
    let text = page::write(arguments, &shopwire, &tools, &notes, &cases, &outcomes);
    if let Some(path) = &arguments.markdown {
        fs::write(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    crate::print(|out| out.write_all(text.as_bytes()))?;
    Ok(outcomes.iter().all(Outcome::holds))
}

/// The report of one measurement: the one that is kept, or a new one.
fn measure(
    arguments: &Peers,
    case: &Case,
    server: &str,
    round: u32,
    tools: &[String],
) -> Result<Report, String> {
    let folder = &arguments.reports;
    let path = folder.join(format!("{}-{server}-{round}.json", case.letter));
    let words = case.words(arguments, server);
    let made = Made::now(&words, server, tools)?;
    if let Some(report) = kept::read(&path, &made) {
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
    kept::write(&path, &report, &made)?;
    Ok(report)
}

/// One run of this program.
fn run(words: &Words, json: &Path) -> Result<Report, String> {
    let program = std::env::current_exe()
        .map_err(|error| format!("cannot tell where this program is: {error}"))?;
    if json.exists() {
        fs::remove_file(json).map_err(|error| format!("{}: {error}", json.display()))?;
    }
    let output = Command::new(program)
        .args(&words.own)
        .args(["--quiet", "--json"])
        .arg(json)
        .arg("--")
        .args(words.server)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start a run: {error}"))?;
    // A run that fails leaves an empty file, and says why.
    let said = String::from_utf8_lossy(&output.stderr);
    let mut report = Report::read(json).map_err(|_| said.trim().to_string())?;
    report.warnings.extend(remarks(&said));
    for verdict in report.verdicts.iter().filter(|verdict| !verdict.passed) {
        eprintln!("  FAIL: {}", verdict.text);
    }
    // The figures of a part stand beside none of a whole.
    match &report.cut_short {
        Some(reason) => Err(format!("the run was cut short: {reason}")),
        None => Ok(report),
    }
}

/// What a run has said beside its report, such as that it was not allowed to be nice. A kept report
/// has it among its warnings.
fn remarks(said: &str) -> impl Iterator<Item = String> {
    let lines = said.lines();
    lines.filter_map(|line| Some(line.strip_prefix("loadtest: ")?.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::cases::tests::arguments;
    use super::*;
    use crate::report::Verdict;
    use tempfile::TempDir;

    /// A made-up measurement of one figure.
    pub fn outcome(letter: &str, server: &str, key: &str, value: f64) -> Outcome<'static> {
        let mut report = crate::report::tests::report();
        report.figures.insert(key.into(), value);
        Outcome {
            case: CASES.iter().find(|case| case.letter == letter).unwrap(),
            server: server.into(),
            is_extra: false,
            report: Ok(report),
        }
    }

    /// The same, where something did not hold.
    pub fn faulty(mut outcome: Outcome<'static>) -> Outcome<'static> {
        if let Ok(report) = &mut outcome.report {
            report.verdicts.push(Verdict {
                passed: false,
                text: "every delivery comes: 1 lost".into(),
            });
        }
        outcome
    }

    #[test]
    fn names_that_there_are_not_or_that_stand_twice_are_refused() {
        assert_eq!(server_names("ws,floor").unwrap(), ["ws", "floor"]);
        let twice = server_names("shopwire,ws,shopwire").unwrap_err();
        assert!(twice.starts_with("`shopwire` is named twice"), "{twice}");
        let unknown = server_names("shopwire,nginx").unwrap_err();
        let expected = "there is no server `nginx`; there are shopwire, floor, bun";
        assert!(unknown.starts_with(expected), "{unknown}");
        let twice = case_letters("a,a").unwrap_err();
        assert!(twice.starts_with("`a` is named twice"), "{twice}");
        let empty = case_letters("a,").unwrap_err();
        assert!(empty.starts_with("there is no case ``"), "{empty}");
        assert_eq!(arguments("--cases b,a").cases.unwrap(), ["b", "a"]);
        assert_eq!(arguments("").cases, None);
    }

    #[test]
    fn what_a_run_says_beside_its_report_is_found() {
        let said = "loadtest: not allowed to be nice -15; running as usual\n\nother";
        let expected = ["not allowed to be nice -15; running as usual"];
        assert!(remarks(said).eq(expected));
    }

    #[test]
    fn a_page_that_cannot_be_written_is_told_before_anything_is_measured() {
        let folder = TempDir::new().unwrap();
        let page = folder.path().join("none/page.md");
        let reports = folder.path().join("reports");
        let line = format!(
            "--rounds 1 --cases a --markdown {} --reports {}",
            page.display(),
            reports.display()
        );
        let message = main(&arguments(&line)).unwrap_err();
        assert!(message.contains("none/page.md: No such file"), "{message}");
        assert_eq!(fs::read_dir(&reports).unwrap().count(), 0);
    }
}
