//! `shopwire doctor`: looks over a configuration and the machine it is to run on, and says what to
//! change, with the command.
//!
//! [`machine`] reads, [`checks`] judges: the one knows no rules, the other no files. [`redis`] asks Redis.

mod checks;
mod machine;
mod redis;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::server_flags::ServerFlags;
use super::{FAILED, WRONG_USAGE, fail, print};
use crate::clock::wall_ms;
use crate::config::{self, Config};
use checks::{Finding, Verdict};
use machine::Machine;

/// Look over settings and machine, and say what to change
#[derive(clap::Args)]
#[command(
    after_help = "Takes everything serve takes, and changes nothing. Exits with 1 if something will not work, with 2 if the \
    configuration is wrong. Run it as the server's user: limits of files are that user's, and a unit's LimitNOFILE comes \
    before them.\n\n\
    Examples:\n  shopwire doctor --config /etc/shopwire.toml\n  shopwire doctor --config /etc/shopwire.toml --proxy-timeout 100s"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    flags: ServerFlags,
    /// After how long the proxy in front ends a connection on which nothing comes (nginx: proxy_read_timeout)
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = config::duration)]
    proxy_timeout: Duration,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let config = match Config::load(&arguments.flags.0) {
        Ok(config) => config,
        Err(error) => return fail(WRONG_USAGE, error),
    };
    let machine = Machine::read(Path::new("/"), config.journal.as_deref());
    let mut findings = checks::all(&config, &machine, arguments.proxy_timeout, wall_ms());
    findings.extend(
        config
            .redis_url
            .as_ref()
            .map(redis::check)
            .into_iter()
            .flatten(),
    );
    let printed = print(&report(&findings));
    let is_wrong = |finding: &Finding| finding.verdict == Verdict::Wrong;
    if findings.iter().any(is_wrong) {
        return ExitCode::from(FAILED);
    }
    printed
}

/// The findings, one a line; what is to be changed comes below.
fn report(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = match finding.verdict {
            Verdict::Good => "ok",
            Verdict::Unknown => "?",
            Verdict::Change => "change",
            Verdict::Wrong => "WRONG",
        };
        writeln!(text, "{word:<8}{}: {}", finding.about, finding.what)
            .expect("a String takes everything");
        for line in finding.remedy.iter().flat_map(|remedy| remedy.lines()) {
            writeln!(text, "{:<8}  {line}", "").expect("a String takes everything");
        }
    }
    let count = |verdict: Verdict| {
        findings
            .iter()
            .filter(|each| each.verdict == verdict)
            .count()
    };
    let (wrong, change) = (count(Verdict::Wrong), count(Verdict::Change));
    match (wrong, change) {
        (0, 0) => text.push_str("all is well\n"),
        _ => writeln!(text, "{wrong} wrong, {change} better changed")
            .expect("a String takes everything"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_each_finding_and_below_it_what_to_do() {
        let finding = |verdict, remedy: Option<&str>| Finding {
            about: "files",
            verdict,
            what: "there are few".to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        let findings = [
            finding(Verdict::Good, None),
            finding(Verdict::Wrong, Some("do this\ndo that")),
        ];
        assert_eq!(
            report(&findings),
            "ok      files: there are few\nWRONG   files: there are few\n          do this\n          do that\n\
             1 wrong, 0 better changed\n"
        );
        assert!(report(&findings[..1]).ends_with("all is well\n"));
    }
}
