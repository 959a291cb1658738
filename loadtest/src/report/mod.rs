//! What a run has shown: figures, verdicts, warnings; and how they are told.
//!
//! - [`figures`], [`expectation`]: what the figures are called, what they must be
//! - [`text`]: the table at the end of a run
//! - [`html`]: a page with plots
//! - [`compare`]: the ratios between two runs

pub mod compare;
pub mod expectation;
pub mod figures;
pub mod html;
pub mod machine;
pub mod text;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitStatus;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::accounting::Faults;
use crate::client::Setup;
use crate::run::Measured;
use crate::run::measure::Sample;
use crate::run::plan::{Drive, Plan};
use figures::Figures;
use machine::Machine;

/// Share of a core from which on the client may have been what was measured.
const CLIENT_BUSY: f64 = 0.9;

/// Delay of sending, in milliseconds, from which on latencies are the client's fault too.
const SEND_DELAY_MS: f64 = 5.0;

/// CPU of other programs, in cores, that disturbs a measurement.
const FOREIGN_CORES: f64 = 0.3;

/// Share of the time that the client's receiving thread, or the server's threads, may wait for a core.
const WAITED: f64 = 0.05;

/// CPU of other programs, in cores, from which on the server's waiting is laid to them: its threads
/// also wait for each other.
const FOREIGN_BESIDE_SERVER: f64 = 0.1;

/// The version of the JSON form.
const FORMAT: u32 = 1;

/// All that is told about a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The version of this form.
    pub format: u32,
    /// The scenario's name.
    pub scenario: String,
    /// The server's name.
    pub server: String,
    /// The command line.
    pub command: String,
    /// Why the run ended before its time, if it did: its figures are those of a shorter one.
    #[serde(default)]
    pub cut_short: Option<String>,
    /// Seconds since 1970 when the run ended.
    pub ended_at_s: u64,
    /// Where it ran.
    pub machine: Machine,
    /// The figures, by their keys.
    pub figures: Figures,
    /// What was judged.
    pub verdicts: Vec<Verdict>,
    /// What makes the figures doubtful.
    pub warnings: Vec<String>,
    /// Latency in milliseconds by share of the deliveries that took no longer.
    pub percentiles: Percentiles,
    /// The same of the steps of setting up, by their names and shares of the connections.
    #[serde(default)]
    pub setup: Vec<(String, Percentiles)>,
    /// How the figures went over time.
    pub timeline: Vec<Sample>,
}

/// Milliseconds by share of what took no longer.
pub type Percentiles = Vec<(f64, f64)>;

/// Something that holds or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether it holds.
    pub passed: bool,
    /// What.
    pub text: String,
}

impl Report {
    /// The report on what was measured of `server`.
    pub fn new(server: &str, command: String, plan: &Plan, measured: &Measured) -> Self {
        let figures = figures::of(plan, measured);
        Self {
            format: FORMAT,
            scenario: plan.scenario.to_string(),
            server: server.to_string(),
            command,
            cut_short: measured.cut.as_ref().map(|cut| cut.reason.clone()),
            ended_at_s: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            machine: Machine::this(),
            verdicts: verdicts(plan, measured, &figures),
            warnings: warnings(measured, &figures),
            percentiles: percentiles(&measured.latency),
            setup: setup(&measured.setup),
            timeline: measured.timeline.clone(),
            figures,
        }
    }

    /// Tells how a server ended that has cut the run short, and what it last said.
    pub fn tell_last_words(&mut self, status: Option<ExitStatus>, log: Option<&str>) {
        if let Some(status) = status {
            self.warnings
                .push(format!("the server has ended with {status}"));
        }
        let lines = log.unwrap_or_default().lines();
        self.warnings
            .extend(lines.map(|line| format!("the server's log: {line}")));
    }

    /// Whether everything holds that was judged.
    pub fn has_passed(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.passed)
    }

    /// Reads a report that [`write`](Self::write) has written.
    ///
    /// # Errors
    /// Where there is none.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text =
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let report: Self = serde_json::from_str(&text)
            .map_err(|error| format!("{} is no report: {error}", path.display()))?;
        if report.format == FORMAT {
            Ok(report)
        } else {
            Err(format!(
                "{} has form {}, and this program reads form {FORMAT}",
                path.display(),
                report.format
            ))
        }
    }

    /// Writes the report as JSON.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| format!("cannot make JSON of the report: {error}"))?;
        text.push('\n');
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

fn verdicts(plan: &Plan, measured: &Measured, figures: &Figures) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let mut judge = |passed, text| verdicts.push(Verdict { passed, text });
    if let Some(cut) = &measured.cut {
        let after = cut.after.as_secs_f64();
        let reason = &cut.reason;
        judge(
            false,
            format!("the run goes to its end: after {after:.1} s, {reason}"),
        );
    }
    if plan.drive != Drive::Hold {
        let sent = &measured.sent;
        let first = sent.first_refusal.as_deref().unwrap_or_default();
        judge(
            sent.refused == 0 && sent.settled == sent.events,
            format!(
                "every event is accepted: {} of {}, {} refused {first}",
                sent.settled, sent.events, sent.refused
            )
            .trim_end()
            .to_string(),
        );
        let faults = measured.faults;
        judge(
            faults.is_clean(),
            format!(
                "every delivery comes, once, in order, as it was sent, and to nobody else: {}",
                describe(faults)
            ),
        );
    }
    if let Some(stalled) = &measured.stalled {
        judge(
            stalled.faults.is_clean(),
            format!(
                "who stalled is ended or gets everything: of the others {}",
                describe(stalled.faults)
            ),
        );
    }
    if let Some(returned) = &measured.returned {
        let (count, caught_up) = (returned.count, returned.caught_up.len());
        judge(
            caught_up == u64::from(count) && returned.ended.is_empty(),
            format!(
                "who comes back catches up: {caught_up} of {count}{}",
                listed(&returned.ended)
            ),
        );
        judge(
            returned.faults.is_clean(),
            format!(
                "and gets all it has missed and all that follows, once, in order: {}",
                describe(returned.faults)
            ),
        );
    }
    judge(
        measured.ended.is_empty(),
        format!("every connection stays{}", listed(&measured.ended)),
    );
    for expectation in &plan.expectations {
        let (passed, text) = expectation.judge(figures);
        judge(passed, text);
    }
    verdicts
}

/// How connections ended, by reason, behind what is said of them.
fn listed(ended: &BTreeMap<String, u32>) -> String {
    let endings = ended.iter();
    endings
        .map(|(reason, count)| format!("; {count}: {reason}"))
        .collect()
}

fn describe(faults: Faults) -> String {
    let Faults {
        lost,
        repeated,
        disordered,
        misdirected,
        altered,
    } = faults;
    format!(
        "{lost} lost, {repeated} repeated, {disordered} disordered, {misdirected} misdirected, {altered} altered"
    )
}

fn warnings(measured: &Measured, figures: &Figures) -> Vec<String> {
    let mut warnings = Vec::new();
    let figure = |key: &str| figures.get(key).copied().unwrap_or(0.0);
    if figure("client-busy") > CLIENT_BUSY {
        warnings.push(format!(
            "this client used {:.0} % of a core: it may have been the bottleneck, and speed and latency its own",
            100.0 * figure("client-busy")
        ));
    }
    if figure("send-delay-max-ms") > SEND_DELAY_MS {
        warnings.push(format!(
            "sending fell behind its schedule by up to {:.1} ms{}; the latencies have this in them",
            figure("send-delay-max-ms"),
            if measured.sent.held_back > 0 {
                ", where the server took no more lines"
            } else {
                ""
            }
        ));
    }
    if figure("foreign-cores") > FOREIGN_CORES {
        warnings.push(format!(
            "other programs used {:.2} cores meanwhile: measure again",
            figure("foreign-cores")
        ));
    }
    if figure("client-waited") > WAITED {
        warnings.push(format!(
            "this client's receiving thread waited for a core {:.0} % of the time, and the latencies have this in them: another program, the server or its own sending ran there (--pin-server and --pin-client keep the two apart)",
            100.0 * figure("client-waited")
        ));
    }
    if figure("server-waited") > WAITED && figure("foreign-cores") > FOREIGN_BESIDE_SERVER {
        warnings.push(format!(
            "the server's threads waited for a core {:.0} % of the time, while other programs ran: measure again",
            100.0 * figure("server-waited")
        ));
    }
    if measured.opening.server.is_none() {
        warnings.push("the server's process is not known: its CPU and memory are missing".into());
    }
    if let Some(stalled) = &measured.stalled {
        let each = stalled
            .ended
            .iter()
            .map(|(reason, count)| format!("stalled readers, {count}: {reason}"));
        warnings.extend(each);
        // Where something was lost besides, the verdict on that says more.
        if stalled.ended.is_empty() && stalled.faults.is_clean() {
            warnings.push(format!(
                "none of the {} stalled readers was ended: all that they left unread found room in the buffers on its way, so that this run does not show what full ones do to the others; more --seconds, --rate or --size fill them",
                stalled.count
            ));
        }
    }
    warnings
}

fn setup(setup: &Setup) -> Vec<(String, Percentiles)> {
    let steps = [
        ("handshake", &setup.upgrade),
        ("authentication", &setup.authenticate),
        ("subscription", &setup.subscribe),
    ];
    steps
        .map(|(name, times)| (name.to_string(), percentiles(times)))
        .into_iter()
        .filter(|(_, percentiles)| !percentiles.is_empty())
        .collect()
}

/// The percentiles of times in microseconds.
fn percentiles(times: &Histogram<u64>) -> Percentiles {
    if times.is_empty() {
        return Vec::new();
    }
    times
        .iter_quantiles(5)
        .map(|value| {
            let milliseconds = value.value_iterated_to() as f64 / 1000.0;
            (value.quantile_iterated_to(), milliseconds)
        })
        .collect()
}

/// A number with as many digits as are worth reading.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1000.0 {
        let digits = format!("{:.0}", magnitude);
        let groups: Vec<&str> = digits
            .as_bytes()
            .rchunks(3)
            .rev()
            .filter_map(|group| std::str::from_utf8(group).ok())
            .collect();
        let sign = if value < 0.0 { "-" } else { "" };
        format!("{sign}{}", groups.join(","))
    } else if value.fract() == 0.0 || magnitude >= 100.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else if magnitude >= 1.0 {
        format!("{value:.2}")
    } else if magnitude >= 0.01 {
        format!("{value:.3}")
    } else {
        format!("{value:.5}")
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A report without figures.
    pub fn report() -> Report {
        Report {
            format: FORMAT,
            scenario: "fanout".into(),
            server: "shopwire".into(),
            command: "loadtest fanout".into(),
            cut_short: None,
            ended_at_s: 0,
            machine: Machine::this(),
            figures: Figures::new(),
            verdicts: Vec::new(),
            warnings: Vec::new(),
            percentiles: Vec::new(),
            setup: Vec::new(),
            timeline: Vec::new(),
        }
    }

    #[test]
    fn numbers_are_written_to_be_read() {
        for (value, text) in [
            (0.0, "0"),
            (3.0, "3"),
            (0.0284, "0.028"),
            (0.0026, "0.00260"),
            (4.567, "4.57"),
            (45.67, "45.7"),
            (456.7, "457"),
            (1000.4, "1,000"),
            (29_200_000.0, "29,200,000"),
            (-12_345.0, "-12,345"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
