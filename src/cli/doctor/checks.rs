//! What a server wants of its machine and its settings, check by check.
//!
//! Pure: settings and a machine in, findings out. What a check wants it says with its numbers, and
//! where something is to be changed, with the command or the line of a file.

use std::time::Duration;

use super::machine::Machine;
use crate::config::Config;
use crate::limits;

/// What a check found.
#[derive(Debug)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) about: &'static str,
    pub(super) verdict: Verdict,
    /// How it is.
    pub(super) what: String,
    /// What to do.
    pub(super) remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Good,
    /// It cannot be seen.
    Unknown,
    /// It works, and would be better otherwise.
    Change,
    /// It will not work.
    Wrong,
}

/// What TCP's buffers take for one connection when all are busy, in bytes, at least.
const TCP_MEMORY: u64 = 16 << 10;
/// What the server and the kernel keep for an idle connection, in bytes: docs/tuning.md.
const CONNECTION_MEMORY: u64 = 5 << 10;
const DAY_MS: u64 = 24 * 3600 * 1000;
const CERTIFICATE_DAYS: u64 = 14;

/// All checks.
pub(super) fn all(
    config: &Config,
    machine: &Machine,
    proxy_timeout: Duration,
    now_ms: u64,
) -> Vec<Finding> {
    let mut findings = vec![
        files(config, machine),
        backlog(machine),
        send_buffer(machine),
        tcp_memory(config, machine),
        memory(config, machine),
        cores(config, machine),
        clock(machine),
        heartbeat(config, proxy_timeout),
    ];
    findings.extend(ports(config, machine));
    findings.extend(trust(config));
    findings.extend(secrets(config));
    findings.extend(ingest_socket(config));
    findings.extend(certificate(config, now_ms));
    findings.extend(journal(config, machine));
    findings
}

pub(super) fn finding(about: &'static str, verdict: Verdict, what: String) -> Finding {
    Finding {
        about,
        verdict,
        what,
        remedy: None,
    }
}

impl Finding {
    pub(super) fn with(self, remedy: impl Into<String>) -> Self {
        Self {
            remedy: Some(remedy.into()),
            ..self
        }
    }
}

fn unknown(about: &'static str) -> Finding {
    finding(about, Verdict::Unknown, "cannot be seen here".to_owned())
}

fn files(config: &Config, machine: &Machine) -> Finding {
    const ABOUT: &str = "open files";
    let connections = config.max_connections as u64;
    let wanted = limits::files_wanted(config.max_connections);
    let Some(most) = machine.files else {
        return unknown(ABOUT);
    };
    let what = format!("max-connections = {connections} wants {wanted}, and {most} are allowed");
    if most >= wanted {
        return finding(ABOUT, Verdict::Good, what);
    }
    let mut remedy =
        format!("in the unit: LimitNOFILE={wanted}   (elsewhere: ulimit -Hn {wanted})");
    if let Some(of_any) = machine.files_of_any
        && of_any < wanted
    {
        remedy.push_str(&sysctl("fs.nr_open", wanted));
    }
    finding(ABOUT, Verdict::Wrong, what).with(remedy)
}

fn backlog(machine: &Machine) -> Finding {
    const ABOUT: &str = "backlog";
    let wanted = limits::LISTEN_BACKLOG as u64;
    match machine.backlog {
        None => unknown(ABOUT),
        Some(most) if most >= wanted => finding(
            ABOUT,
            Verdict::Good,
            format!("{wanted} connections may wait to be accepted"),
        ),
        Some(most) => finding(
            ABOUT,
            Verdict::Change,
            format!(
                "{most} connections may wait to be accepted, not {wanted}: some are lost when all browsers come back at once"
            ),
        )
        .with(sysctl("net.core.somaxconn", wanted).trim_start().to_owned()),
    }
}

fn send_buffer(machine: &Machine) -> Finding {
    const ABOUT: &str = "send buffers";
    let wanted = limits::SEND_BUFFER as u64;
    match machine.send_buffer {
        None => unknown(ABOUT),
        Some(most) if most >= wanted => finding(
            ABOUT,
            Verdict::Good,
            format!("a socket may have the {wanted} bytes that are asked for"),
        ),
        Some(most) => finding(
            ABOUT,
            Verdict::Change,
            format!("a socket may have {most} bytes, not {wanted}: bursts wait in outboxes"),
        )
        .with(sysctl("net.core.wmem_max", wanted).trim_start().to_owned()),
    }
}

fn tcp_memory(config: &Config, machine: &Machine) -> Finding {
    const ABOUT: &str = "socket memory";
    let wanted = (config.max_connections as u64).saturating_mul(TCP_MEMORY);
    let Some(most) = machine.tcp_memory else {
        return unknown(ABOUT);
    };
    let what = format!(
        "all TCP buffers together may take {}; {} connections that are busy want {}",
        mib(most),
        config.max_connections,
        mib(wanted)
    );
    if most >= wanted {
        return finding(ABOUT, Verdict::Good, what);
    }
    let pages = wanted.div_ceil(rustix::param::page_size() as u64);
    let (least, pressure) = (pages / 2, pages * 3 / 4);
    finding(ABOUT, Verdict::Change, what).with(format!(
        "sysctl -w net.ipv4.tcp_mem='{least} {pressure} {pages}'   (to keep it: /etc/sysctl.d/90-shopwire.conf)"
    ))
}

fn memory(config: &Config, machine: &Machine) -> Finding {
    const ABOUT: &str = "memory";
    let Some(all) = machine.memory else {
        return unknown(ABOUT);
    };
    // Twice: a batch of few events weighs in memory more than what counts of it.
    let history = (config.history as u64).saturating_mul(2);
    let connections = (config.max_connections as u64).saturating_mul(CONNECTION_MEMORY);
    let wanted = history
        .saturating_add(config.outbox_budget as u64)
        .saturating_add(connections);
    let what = format!(
        "history, outbox-budget and {} connections may take {} of {}",
        config.max_connections,
        mib(wanted),
        mib(all)
    );
    if wanted <= all / 10 * 8 {
        return finding(ABOUT, Verdict::Good, what);
    }
    finding(ABOUT, Verdict::Change, what)
        .with("lower history or outbox-budget, or give the machine more memory")
}

fn cores(config: &Config, machine: &Machine) -> Finding {
    const ABOUT: &str = "cores";
    let Some(cores) = machine.cores else {
        return unknown(ABOUT);
    };
    let what = format!("{} workers on {cores} cores", config.workers);
    if config.workers <= cores {
        return finding(ABOUT, Verdict::Good, what);
    }
    finding(ABOUT, Verdict::Change, what).with(format!("workers = {cores}"))
}

fn clock(machine: &Machine) -> Finding {
    const ABOUT: &str = "clock";
    match machine.clock_is_synchronized {
        None => unknown(ABOUT),
        Some(true) => finding(ABOUT, Verdict::Good, "it is put right by NTP".to_owned()),
        Some(false) => finding(
            ABOUT,
            Verdict::Change,
            "nobody puts it right: tokens will begin and end at the wrong time".to_owned(),
        )
        .with("timedatectl set-ntp true"),
    }
}

/// What is silent for too long is ended by what stands between.
fn heartbeat(config: &Config, proxy_timeout: Duration) -> Finding {
    const ABOUT: &str = "heartbeat";
    let ping = config.ping_interval;
    let what = format!(
        "a ping every {}; a proxy that ends silent connections does so after {}",
        humantime::format_duration(ping),
        humantime::format_duration(proxy_timeout)
    );
    if ping < proxy_timeout {
        return finding(ABOUT, Verdict::Good, what);
    }
    let half = humantime::format_duration(proxy_timeout / 2);
    finding(ABOUT, Verdict::Wrong, what).with(format!(
        "ping-interval = \"{half}\", or a longer timeout in the proxy (nginx: proxy_read_timeout, HAProxy: timeout tunnel)"
    ))
}

/// Of interest where a proxy on this host opens the connections.
fn ports(config: &Config, machine: &Machine) -> Option<Finding> {
    const ABOUT: &str = "ports of a proxy on this host";
    let is_here = config
        .trusted_proxies
        .iter()
        .any(|network| network.addr().is_loopback());
    if !is_here {
        return None;
    }
    let Some((first, last)) = machine.ports else {
        return Some(unknown(ABOUT));
    };
    let ports = (last + 1).saturating_sub(first);
    let what = format!(
        "from one address it can open {ports} connections; max-connections = {}",
        config.max_connections
    );
    if ports >= config.max_connections as u64 {
        return Some(finding(ABOUT, Verdict::Good, what));
    }
    let remedy = "sysctl -w net.ipv4.ip_local_port_range='1024 65535', and beyond that several addresses (nginx: proxy_bind)";
    Some(finding(ABOUT, Verdict::Change, what).with(remedy))
}

/// Of interest where it goes too far.
fn trust(config: &Config) -> Option<Finding> {
    let network = config.trusts_everybody()?;
    let what = format!("{network} is every address: anybody may say that he comes from any other");
    let finding = finding("trusted proxies", Verdict::Change, what);
    Some(finding.with("trusted-proxies = the addresses that the proxies connect from"))
}

/// Of interest where somebody else may read one.
fn secrets(config: &Config) -> Option<Finding> {
    let files: Vec<String> = config
        .exposed
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    if files.is_empty() {
        return None;
    }
    let files = files.join(" ");
    let what = format!("every user of this machine may read {files}");
    Some(finding("secrets", Verdict::Change, what).with(format!("chmod o-r {files}")))
}

/// Of interest where somebody else may put one of his own there.
fn ingest_socket(config: &Config) -> Option<Finding> {
    let folder = config.loose_folder()?.display();
    let socket = config.socket.display();
    let what =
        format!("every user of this machine may put a socket of his own in the place of {socket}");
    Some(finding("ingest socket", Verdict::Change, what).with(format!("chmod o-w {folder}")))
}

fn certificate(config: &Config, now_ms: u64) -> Option<Finding> {
    const ABOUT: &str = "certificate";
    let tls = config.tls.as_ref()?;
    if let Some(untimely) = tls.identity.untimely(now_ms) {
        return Some(finding(ABOUT, Verdict::Wrong, untimely).with(RENEW));
    }
    let Some(ends) = tls.identity.ends_at() else {
        return Some(unknown(ABOUT));
    };
    let days = ends.saturating_mul(1000).saturating_sub(now_ms) / DAY_MS;
    let what = format!("it is good for {days} days");
    Some(if days >= CERTIFICATE_DAYS {
        finding(ABOUT, Verdict::Good, what)
    } else {
        finding(ABOUT, Verdict::Change, what).with(RENEW)
    })
}

const RENEW: &str = "renew it (certbot renew), then: shopwire ctl reload";

fn journal(config: &Config, machine: &Machine) -> Option<Finding> {
    const ABOUT: &str = "journal";
    let folder = config.journal.as_ref()?;
    let shown = folder.display();
    let Some(disk) = &machine.journal else {
        return Some(unknown(ABOUT));
    };
    if disk.is_memory {
        let what = format!("{shown} lies in memory: a power failure takes it all");
        let remedy = "journal = a folder on a disk, like /var/lib/shopwire";
        return Some(finding(ABOUT, Verdict::Wrong, what).with(remedy));
    }
    // What is kept, one file more, and as much for what waits to be removed.
    let wanted = (config.history as u64).saturating_mul(2) + limits::JOURNAL_SEGMENT_MAX as u64;
    let what = format!(
        "{} are free for {shown}, {} are wanted",
        mib(disk.free),
        mib(wanted)
    );
    Some(if disk.free >= wanted {
        finding(ABOUT, Verdict::Good, what)
    } else {
        finding(ABOUT, Verdict::Wrong, what).with("make room there, or lower history")
    })
}

/// A line that sets a setting of the kernel, behind others.
fn sysctl(name: &str, value: u64) -> String {
    format!("\nsysctl -w {name}={value}   (to keep it: /etc/sysctl.d/90-shopwire.conf)")
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::doctor::machine::Disk;
    use crate::config::{Flags, settings};

    const NOW_MS: u64 = 1_800_000_000_000;
    const MINUTE: Duration = Duration::from_secs(60);

    fn config(given: &[(&'static settings::Setting, &str)]) -> Config {
        let mut values: Vec<_> = given
            .iter()
            .map(|(setting, text)| (*setting, (*text).to_owned()))
            .collect();
        if !given
            .iter()
            .any(|(setting, _)| setting.name == settings::WORKERS.name)
        {
            values.push((&settings::WORKERS, "2".to_owned()));
        }
        let flags = Flags {
            dev: true,
            config: None,
            values,
        };
        Config::resolve(&flags, &|_| None, None).unwrap()
    }

    fn machine() -> Machine {
        Machine {
            files: Some(65_536),
            files_of_any: Some(1 << 20),
            backlog: Some(4096),
            send_buffer: Some(212_992),
            tcp_memory: Some(1 << 30),
            ports: Some((32_768, 60_999)),
            memory: Some(8 << 30),
            cores: Some(2),
            clock_is_synchronized: Some(true),
            journal: None,
        }
    }

    fn judged(config: &Config, machine: &Machine) -> Vec<Finding> {
        all(config, machine, MINUTE, NOW_MS)
    }

    #[test]
    fn nothing_is_said_of_a_machine_that_suits() {
        for finding in judged(&config(&[]), &machine()) {
            assert_eq!(finding.verdict, Verdict::Good, "{finding:?}");
            assert!(finding.remedy.is_none(), "{finding:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_no_fault() {
        for finding in judged(&config(&[]), &Machine::default()) {
            let expected = match finding.about {
                "heartbeat" => Verdict::Good,
                _ => Verdict::Unknown,
            };
            assert_eq!(finding.verdict, expected, "{finding:?}");
        }
    }

    /// Each thing that can be amiss, alone: what is said of it, and what helps.
    #[test]
    fn each_thing_amiss_is_found_and_comes_with_what_to_do() {
        type Change = fn(&mut Machine);
        let cases: [(Change, &str, Verdict, &str); 7] = [
            (
                |it| it.files = Some(1024),
                "open files",
                Verdict::Wrong,
                "LimitNOFILE=11088",
            ),
            (
                |it| (it.files, it.files_of_any) = (Some(1024), Some(4096)),
                "open files",
                Verdict::Wrong,
                "sysctl -w fs.nr_open=11088",
            ),
            (
                |it| it.backlog = Some(128),
                "backlog",
                Verdict::Change,
                "sysctl -w net.core.somaxconn=4096",
            ),
            (
                |it| it.send_buffer = Some(4096),
                "send buffers",
                Verdict::Change,
                "sysctl -w net.core.wmem_max=65536",
            ),
            (
                |it| it.tcp_memory = Some(1 << 20),
                "socket memory",
                Verdict::Change,
                "sysctl -w net.ipv4.tcp_mem='",
            ),
            (
                |it| it.memory = Some(256 << 20),
                "memory",
                Verdict::Change,
                "outbox-budget",
            ),
            (
                |it| it.clock_is_synchronized = Some(false),
                "clock",
                Verdict::Change,
                "timedatectl set-ntp true",
            ),
        ];
        for (change, about, verdict, remedy) in cases {
            let mut machine = machine();
            change(&mut machine);
            let amiss: Vec<Finding> = judged(&config(&[]), &machine)
                .into_iter()
                .filter(|finding| finding.verdict != Verdict::Good)
                .collect();
            let [finding] = &amiss[..] else {
                panic!("{about}: {amiss:?}");
            };
            assert_eq!((finding.about, finding.verdict), (about, verdict));
            let told = finding.remedy.as_deref().unwrap();
            assert!(told.contains(remedy), "{told}");
        }
    }

    #[test]
    fn settings_are_judged_beside_the_machine() {
        let of = |config: &Config, about: &str| {
            let mut all = judged(config, &machine()).into_iter();
            all.find(|finding| finding.about == about)
        };
        let quiet = config(&[(&settings::PING_INTERVAL, "60s")]);
        let heartbeat = of(&quiet, "heartbeat").unwrap();
        assert_eq!(heartbeat.verdict, Verdict::Wrong);
        assert!(
            heartbeat
                .remedy
                .unwrap()
                .contains("ping-interval = \"30s\"")
        );
        let crowded = config(&[(&settings::WORKERS, "3")]);
        assert_eq!(of(&crowded, "cores").unwrap().verdict, Verdict::Change);
        let proxied = config(&[
            (&settings::TRUSTED_PROXIES, "127.0.0.1"),
            (&settings::MAX_CONNECTIONS, "30000"),
        ]);
        let ports = of(&proxied, "ports of a proxy on this host").unwrap();
        assert_eq!(ports.verdict, Verdict::Change);
        assert!(of(&config(&[]), "ports of a proxy on this host").is_none());
        assert!(of(&proxied, "trusted proxies").is_none());
        let trusting = config(&[(&settings::TRUSTED_PROXIES, "0.0.0.0/0")]);
        let trust = of(&trusting, "trusted proxies").unwrap();
        assert_eq!(trust.verdict, Verdict::Change);
        assert!(of(&trusting, "secrets").is_none());
        let exposed = Config {
            exposed: vec!["/etc/shopwire/secret".into()],
            ..trusting
        };
        let secrets = of(&exposed, "secrets").unwrap();
        assert_eq!(secrets.remedy.unwrap(), "chmod o-r /etc/shopwire/secret");
        assert!(of(&exposed, "ingest socket").is_none());
        let folder = tempfile::tempdir().unwrap();
        set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let loose = Config {
            socket: folder.path().join("shopwire.sock"),
            ..exposed
        };
        let socket = of(&loose, "ingest socket").unwrap();
        let remedy = format!("chmod o-w {}", folder.path().display());
        assert_eq!(socket.remedy.unwrap(), remedy);
        let warnings = loose.warnings(0);
        assert!(
            warnings.iter().any(|one| one.contains(&remedy)),
            "{warnings:?}"
        );
    }

    #[test]
    fn a_journal_wants_a_disk_with_room() {
        let config = config(&[(&settings::JOURNAL, "/var/lib/shopwire")]);
        let verdict = |free, is_memory| {
            let journal = Some(Disk { free, is_memory });
            let machine = Machine {
                journal,
                ..machine()
            };
            let mut all = judged(&config, &machine).into_iter();
            all.find(|finding| finding.about == "journal")
                .unwrap()
                .verdict
        };
        assert_eq!(verdict(1 << 30, false), Verdict::Good);
        assert_eq!(verdict(1 << 30, true), Verdict::Wrong);
        assert_eq!(verdict(64 << 20, false), Verdict::Wrong);
    }
}
