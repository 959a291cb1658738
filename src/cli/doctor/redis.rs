//! What several hosts want of the Redis that they share.

use super::checks::{Finding, Verdict, finding};
use crate::cluster::{Address, Probe};

const ABOUT: &str = "Redis";
/// The first version that has all commands that are used.
const VERSION: [u32; 2] = [6, 2];

/// Asks the Redis at this address, and tries what it lets be done.
pub(super) fn check(address: &Address) -> Vec<Finding> {
    let shown = address.shown();
    match address.probe() {
        Ok(probe) => judge(&shown, address.user(), &probe),
        Err(error) => vec![
            wrong(format!("{shown}: {error}"))
                .with("start it, or put redis-url right: docs/cluster.md says how it is written"),
        ],
    }
}

fn wrong(what: String) -> Finding {
    finding(ABOUT, Verdict::Wrong, what)
}

/// All that is not as it should be; one finding that all is well, if it is.
fn judge(shown: &str, user: &str, probe: &Probe) -> Vec<Finding> {
    let mut findings = Vec::new();
    let info = probe.info.as_deref().unwrap_or_default();
    let told = |name: &str| {
        let mut lines = info.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim()
    };
    if !probe.forbidden.is_empty() {
        let what = format!(
            "{shown} does not let the user {user} use {}",
            probe.forbidden.join(", ")
        );
        let rules: Vec<String> = probe.forbidden.iter().map(|name| rule(name)).collect();
        let remedy = format!("redis-cli ACL SETUSER {user} {}", rules.join(" "));
        findings.push(wrong(what).with(remedy));
    }
    if !probe.keys_forbidden.is_empty() {
        let what = format!(
            "{shown} does not let the user {user} touch keys that begin with {{shopwire}}:, not with {}",
            probe.keys_forbidden.join(", ")
        );
        let remedy = format!("redis-cli ACL SETUSER {user} '~{{shopwire}}:*'");
        findings.push(wrong(what).with(remedy));
    }
    if probe.is_read_only || told("role") == "slave" {
        let what = format!("{shown} is a replica, which is to be read and not written");
        let remedy =
            "name the master in redis-url, or the sentinels that know it: redis+sentinel://";
        findings.push(wrong(what).with(remedy));
    }
    for words in &probe.others {
        let finding = wrong(format!("{shown} refuses {words}"));
        findings.push(if words.contains("OOM") {
            finding.with("redis-cli CONFIG SET maxmemory BYTES, more than it has now")
        } else {
            finding
        });
    }
    match &probe.info {
        Ok(_) => findings.extend(judge_info(shown, told)),
        Err(error) => {
            let what = format!("{shown} does not tell of its version, and what it keeps: {error}");
            let remedy = if error.contains("NOAUTH") {
                "put the password into redis-url: redis://:PASSWORD@host, or redis://USER:PASSWORD@host".to_owned()
            } else {
                format!("redis-cli ACL SETUSER {user} +info")
            };
            findings.push(finding(ABOUT, Verdict::Unknown, what).with(remedy));
        }
    }
    if findings.is_empty() {
        let version = told("redis_version");
        let what =
            format!("{shown} is of version {version}, takes all commands, and keeps what it has");
        findings.push(finding(ABOUT, Verdict::Good, what));
    }
    findings
}

/// How an ACL's rule names a command.
fn rule(command: &str) -> String {
    let rule = format!("+{}", command.to_ascii_lowercase());
    // To a shell the bar is one of its own.
    if rule.contains('|') {
        format!("'{rule}'")
    } else {
        rule
    }
}

/// What is wrong by what it tells of itself: values by their names.
fn judge_info<'t>(shown: &str, told: impl Fn(&str) -> &'t str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let version = told("redis_version");
    let mut parts = version.split('.').map_while(|part| part.parse().ok());
    let known = [parts.next().unwrap_or(0), parts.next().unwrap_or(0)];
    if known < VERSION {
        let [major, minor] = VERSION;
        let what = format!("{shown} is of version {version}, and {major}.{minor} is wanted");
        findings.push(wrong(what).with("update Redis, or take Valkey"));
    }
    let policy = told("maxmemory_policy");
    if told("maxmemory") != "0" && policy != "noeviction" {
        let what = format!("{shown} throws away what it likes when it is full ({policy})");
        findings.push(wrong(what).with("redis-cli CONFIG SET maxmemory-policy noeviction"));
    }
    if told("aof_enabled") == "0" {
        let what = format!("{shown} loses events when it is restarted");
        let remedy = "redis-cli CONFIG SET appendonly yes";
        findings.push(finding(ABOUT, Verdict::Change, what).with(remedy));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(version: &str, memory: &str, policy: &str, appends: &str) -> Probe {
        let info = format!(
            "# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\nmaxmemory:{memory}\r\n\
             maxmemory_human:0B\r\nmaxmemory_policy:{policy}\r\naof_enabled:{appends}\r\nrole:master\r\n"
        );
        Probe {
            info: Ok(info),
            forbidden: Vec::new(),
            keys_forbidden: Vec::new(),
            is_read_only: false,
            others: Vec::new(),
        }
    }

    fn found(probe: &Probe) -> Vec<(Verdict, String)> {
        let findings = judge("there", "shop", probe).into_iter();
        findings
            .map(|each| (each.verdict, each.remedy.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn it_wants_one_that_is_not_old_and_keeps_what_it_has() {
        for (probe, expected) in [
            (probe("7.0.15", "0", "noeviction", "1"), &[][..]),
            (probe("10.0", "0", "allkeys-lru", "1"), &[]),
            (probe("6.2.0", "100", "noeviction", "1"), &[]),
            (
                probe("6.0.16", "0", "noeviction", "1"),
                &[(Verdict::Wrong, "update")],
            ),
            (
                probe("7.2.0", "100", "allkeys-lru", "0"),
                &[
                    (Verdict::Wrong, "noeviction"),
                    (Verdict::Change, "appendonly yes"),
                ],
            ),
        ] {
            let found = found(&probe);
            if expected.is_empty() {
                assert_eq!(found, [(Verdict::Good, String::new())]);
                continue;
            }
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for ((verdict, remedy), (wanted, word)) in found.iter().zip(expected) {
                assert_eq!(verdict, wanted, "{found:?}");
                assert!(remedy.contains(word), "{found:?}");
            }
        }
    }

    #[test]
    fn all_that_it_does_not_let_be_done_is_told_with_the_command() {
        let good = || probe("7.0.15", "0", "noeviction", "1");
        let mut bad = good();
        bad.forbidden = vec!["SCRIPT|LOAD", "XREAD"];
        bad.keys_forbidden = vec!["HSET"];
        bad.is_read_only = true;
        bad.others = vec!["SET: OOM: no room".to_owned(), "GET: LOADING".to_owned()];
        let remedies: Vec<String> = found(&bad).into_iter().map(|(_, remedy)| remedy).collect();
        assert_eq!(
            remedies,
            [
                "redis-cli ACL SETUSER shop '+script|load' +xread",
                "redis-cli ACL SETUSER shop '~{shopwire}:*'",
                "name the master in redis-url, or the sentinels that know it: redis+sentinel://",
                "redis-cli CONFIG SET maxmemory BYTES, more than it has now",
                "",
            ]
        );
        let mut silent = good();
        silent.info = Err("NOPERM".to_owned());
        let unknown = (
            Verdict::Unknown,
            "redis-cli ACL SETUSER shop +info".to_owned(),
        );
        assert_eq!(found(&silent), [unknown]);
    }
}
