//! The ratios between two runs.

use std::io::{self, Write};

use super::figures::{ALL, Better};
use super::{Report, number};

/// From this ratio on, either way, a difference is pointed out: below it, two runs of the same
/// program differ as much (docs/tuning.md).
const NOTABLE: f64 = 1.1;

/// Writes every figure that both reports have, and the ratio of the second to the first.
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
    writeln!(out, "\n{:<24} {:>14} {:>14} {:>8}", "", "A", "B", "B/A")?;
    for definition in ALL {
        let (Some(&before), Some(&after)) =
            (a.figures.get(definition.key), b.figures.get(definition.key))
        else {
            continue;
        };
        let ratio = after / before;
        let shown = if ratio.is_finite() {
            format!("{ratio:.3}")
        } else {
            "-".into()
        };
        let word = verdict(definition.better, before, after, ratio);
        let line = format!(
            "{:<24} {:>14} {:>14} {shown:>8}  {word}",
            definition.key,
            number(before),
            number(after)
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
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
    use super::*;

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
