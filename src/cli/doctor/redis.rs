//! What several hosts want of the Redis that they share.

use super::checks::{Finding, Verdict, finding};
use crate::cluster::Address;

const ABOUT: &str = "Redis";
/// The first version that has all commands that are used.
const VERSION: [u32; 2] = [6, 2];

/// Asks the Redis at this address.
pub(super) fn check(address: &Address) -> Finding {
    let shown = address.shown();
    match address.info() {
        Ok(info) => judge(&shown, &info),
        Err(error) => finding(ABOUT, Verdict::Wrong, format!("{shown}: {error}"))
            .with("start it, or put redis-url right: docs/cluster.md says how it is written"),
    }
}

/// Judges what it tells of itself: lines of `name:value`.
fn judge(shown: &str, info: &str) -> Finding {
    let told = |name: &str| {
        let mut lines = info.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim()
    };
    let version = told("redis_version");
    let mut parts = version.split('.').map_while(|part| part.parse().ok());
    let known = [parts.next().unwrap_or(0), parts.next().unwrap_or(0)];
    if known < VERSION {
        let [major, minor] = VERSION;
        let what = format!("{shown} is of version {version}, and {major}.{minor} is wanted");
        return finding(ABOUT, Verdict::Wrong, what).with("update Redis, or take Valkey");
    }
    let policy = told("maxmemory_policy");
    if told("maxmemory") != "0" && policy != "noeviction" {
        let what = format!("{shown} throws away what it likes when it is full ({policy})");
        return finding(ABOUT, Verdict::Wrong, what).with("CONFIG SET maxmemory-policy noeviction");
    }
    if told("aof_enabled") == "0" {
        let what = format!("{shown} loses events when it is restarted");
        return finding(ABOUT, Verdict::Change, what).with("CONFIG SET appendonly yes");
    }
    let what = format!("{shown} is of version {version}, and keeps what it has");
    finding(ABOUT, Verdict::Good, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, memory: &str, policy: &str, appends: &str) -> String {
        format!(
            "# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\nmaxmemory:{memory}\r\n\
             maxmemory_human:0B\r\nmaxmemory_policy:{policy}\r\naof_enabled:{appends}\r\n"
        )
    }

    #[test]
    fn it_wants_one_that_is_not_old_and_keeps_what_it_has() {
        for (info, verdict, remedy) in [
            (info("7.0.15", "0", "noeviction", "1"), Verdict::Good, ""),
            (info("10.0", "0", "allkeys-lru", "1"), Verdict::Good, ""),
            (info("6.2.0", "100", "noeviction", "1"), Verdict::Good, ""),
            (
                info("6.0.16", "0", "noeviction", "1"),
                Verdict::Wrong,
                "update",
            ),
            (String::new(), Verdict::Wrong, "update"),
            (
                info("7.2.0", "100", "allkeys-lru", "1"),
                Verdict::Wrong,
                "noeviction",
            ),
            (
                info("7.2.0", "0", "noeviction", "0"),
                Verdict::Change,
                "appendonly yes",
            ),
        ] {
            let found = judge("there", &info);
            assert_eq!(found.verdict, verdict, "{info}: {found:?}");
            assert!(found.remedy.unwrap_or_default().contains(remedy), "{info}");
        }
    }
}
