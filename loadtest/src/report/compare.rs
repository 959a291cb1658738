//! The ratios between two runs.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::figures::{ALL, Better, definition};
use super::{Report, number};

/// From this ratio on, either way, a difference is pointed out: below it, two runs of the same
/// program differ as much (docs/tuning.md).
const NOTABLE: f64 = 1.1;

/// Writes every figure that either report has, and the ratio of the second to the first.
///
/// # Errors
/// Where writing fails.
pub fn write(a: &Report, b: &Report, out: &mut impl Write) -> io::Result<()> {
    for (name, report) in [("A", a), ("B", b)] {
        let machine = &report.machine;
        writeln!(
            out,
            "{name}: {} against {} on {} ({} cores, Linux {})\n   {}",
            report.scenario,
            report.server,
            machine.cpu,
            machine.cores,
            machine.kernel,
            report.command
        )?;
    }
    for (name, report) in [("A", a), ("B", b)] {
        for verdict in report.verdicts.iter().filter(|verdict| !verdict.passed) {
            writeln!(out, "note: {name} failed: {}", verdict.text)?;
        }
    }
    if a.scenario != b.scenario {
        writeln!(out, "note: these are different scenarios")?;
    }
    writeln!(out, "\n{}", row("", "A", "B", "B/A", "").trim_end())?;
    // A report of another version of this program may have figures that this one does not know.
    let known: Vec<&str> = ALL.iter().map(|definition| definition.key).collect();
    let both = || a.figures.keys().chain(b.figures.keys()).map(String::as_str);
    let unknown: BTreeSet<&str> = both().filter(|key| !known.contains(key)).collect();
    for key in known.into_iter().chain(unknown) {
        let line = match (a.figures.get(key), b.figures.get(key)) {
            (Some(&before), Some(&after)) => {
                let ratio = after / before;
                let shown = if ratio.is_finite() {
                    format!("{ratio:.3}")
                } else {
                    "-".into()
                };
                let better = definition(key).map_or(Better::Neither, |figure| figure.better);
                let word = verdict(better, before, after, ratio);
                row(key, &number(before), &number(after), &shown, word)
            }
            (Some(&before), None) => row(key, &number(before), "-", "-", "only in A"),
            (None, Some(&after)) => row(key, "-", &number(after), "-", "only in B"),
            (None, None) => continue,
        };
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn row(key: &str, before: &str, after: &str, ratio: &str, word: &str) -> String {
    format!("{key:<24} {before:>14} {after:>14} {ratio:>8}  {word}")
}

fn verdict(better: Better, before: f64, after: f64, ratio: f64) -> &'static str {
    let has_grown = after > before && (before == 0.0 || ratio >= NOTABLE);
    let has_shrunk = after < before && ratio <= 1.0 / NOTABLE;
    match (better, has_grown, has_shrunk) {
        (Better::Lower, true, _) | (Better::Higher, _, true) => "worse",
        (Better::Lower, _, true) | (Better::Higher, true, _) => "better",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn a_figure_of_one_report_alone_is_told() {
        let with = |figures: &[(&str, f64)]| {
            let figures = figures.iter().map(|(key, value)| (key.to_string(), *value));
            Report {
                figures: figures.collect(),
                ..report()
            }
        };
        let a = with(&[("lost", 1.0), ("memory-growth", 1.1), ("deliveries", 10.0)]);
        let b = with(&[("deliveries", 20.0), ("ended", 0.0), ("of-tomorrow", 3.0)]);
        let mut out = Vec::new();
        write(&a, &b, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let words = |key: &str| -> Vec<&str> {
            let line = text.lines().find(|line| line.starts_with(key));
            line.unwrap_or_default()
                .split_whitespace()
                .skip(1)
                .collect()
        };
        assert_eq!(words("deliveries "), ["10", "20", "2.000"]);
        assert_eq!(
            words("memory-growth"),
            ["1.10", "-", "-", "only", "in", "A"]
        );
        assert_eq!(words("lost"), ["1", "-", "-", "only", "in", "A"]);
        assert_eq!(words("ended"), ["-", "0", "-", "only", "in", "B"]);
        assert_eq!(words("of-tomorrow"), ["-", "3", "-", "only", "in", "B"]);
        assert!(!text.contains("auth-p50-ms"), "in neither");
    }

    #[test]
    fn a_difference_is_named_for_what_it_is() {
        let judge =
            |better, before: f64, after: f64| verdict(better, before, after, after / before);
        assert_eq!(judge(Better::Lower, 1.0, 1.05), "");
        assert_eq!(judge(Better::Lower, 1.0, 1.2), "worse");
        assert_eq!(judge(Better::Lower, 1.0, 0.8), "better");
        assert_eq!(judge(Better::Higher, 1.0, 1.2), "better");
        assert_eq!(judge(Better::Higher, 1.0, 0.0), "worse");
        assert_eq!(
            judge(Better::Lower, 0.0, 1.0),
            "worse",
            "faults where there were none"
        );
        assert_eq!(judge(Better::Neither, 1.0, 2.0), "");
    }
}
