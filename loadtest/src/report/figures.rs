//! The figures of a run: each has a key, by which reports, comparisons and expectations name it.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::machine;
use crate::process::Memory;
use crate::run::Measured;
use crate::run::comeback::Returned;
use crate::run::measure::Window;
use crate::run::plan::Plan;

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Less is better.
    Lower,
    /// More is better.
    Higher,
    /// It describes, and does not judge.
    Neither,
}

/// What a figure is.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Names it in JSON, comparisons and expectations; ends with the unit if it has one.
    pub key: &'static str,
    /// What it says, in words.
    pub about: &'static str,
    /// Which way it is better.
    pub better: Better,
}

/// Values by key.
pub type Figures = BTreeMap<String, f64>;

const fn lower(key: &'static str, about: &'static str) -> Definition {
    Definition {
        key,
        about,
        better: Better::Lower,
    }
}

const fn higher(key: &'static str, about: &'static str) -> Definition {
    Definition {
        key,
        about,
        better: Better::Higher,
    }
}

const fn plain(key: &'static str, about: &'static str) -> Definition {
    Definition {
        key,
        about,
        better: Better::Neither,
    }
}

/// All figures there are, in the order in which they are told. A run has those that mean something
/// in it.
pub const ALL: &[Definition] = &[
    plain("connections", "connections subscribed"),
    higher("connects-per-s", "connections set up a second"),
    lower("connect-cpu-us", "server CPU to set up one connection"),
    lower(
        "upgrade-p50-ms",
        "connect(), or with --arrival-rate when it was due, to the handshake's answer, median",
    ),
    lower("upgrade-p99-ms", "the same, 99th percentile"),
    lower("upgrade-p999-ms", "the same, 99.9th percentile"),
    lower("auth-p50-ms", "token sent to token accepted, median"),
    lower("auth-p99-ms", "the same, 99th percentile"),
    lower("auth-p999-ms", "the same, 99.9th percentile"),
    lower(
        "subscribe-p50-ms",
        "subscription asked for to confirmed, median",
    ),
    lower("subscribe-p99-ms", "the same, 99th percentile"),
    lower("subscribe-p999-ms", "the same, 99.9th percentile"),
    lower(
        "setup-p50-ms",
        "from the same to the subscription's confirmation, median",
    ),
    lower("setup-p99-ms", "the same, 99th percentile"),
    lower("setup-p999-ms", "the same, 99.9th percentile"),
    plain("rejoined", "connections that left and came again"),
    lower("ended", "connections that ended without being told to"),
    plain("stalled", "connections made not to read"),
    plain(
        "stalled-ended",
        "of those, connections the server has ended",
    ),
    plain(
        "resuming",
        "connections that came back for what they had missed",
    ),
    higher("caught-up", "of those, connections that had all there was"),
    lower(
        "caught-up-p50-ms",
        "when it was to come back, to having all there was, median",
    ),
    lower("caught-up-p99-ms", "the same, 99th percentile"),
    plain("replayed", "events sent to them until then"),
    higher(
        "replayed-per-s",
        "the same a second, from the first one's coming until all had caught up",
    ),
    higher("replayed-mib-per-s", "payload of these, in MiB a second"),
    lower(
        "cpu-us-per-replayed",
        "server CPU a replayed event: what it used in that time over what it used before",
    ),
    plain("events", "events sent"),
    higher("events-per-s", "events settled a second while measured"),
    lower("refused", "events the server refused"),
    lower(
        "send-delay-max-ms",
        "the furthest that sending fell behind its schedule, also where the server held it back",
    ),
    plain(
        "held-back",
        "times the server took no more lines for a while",
    ),
    plain("deliveries", "deliveries"),
    higher("deliveries-per-s", "deliveries a second while measured"),
    lower(
        "lost",
        "deliveries that did not come within the time of grace",
    ),
    lower("repeated", "deliveries that came again"),
    lower("disordered", "deliveries that came after a later one"),
    lower(
        "misdirected",
        "deliveries to connections that must not see them",
    ),
    lower(
        "altered",
        "deliveries, of one in 1,009 looked at, whose content was not what was sent",
    ),
    plain("other-frames", "text frames that are no event of the run"),
    plain(
        "frames-per-read",
        "deliveries that one read of the client brought",
    ),
    lower("latency-p50-ms", "intended sending to reading, median"),
    lower("latency-p90-ms", "the same, 90th percentile"),
    lower("latency-p99-ms", "the same, 99th percentile"),
    lower("latency-p999-ms", "the same, 99.9th percentile"),
    lower("latency-p9999-ms", "the same, 99.99th percentile"),
    lower("latency-max-ms", "the same, the longest"),
    lower(
        "baseline-p50-ms",
        "latency before some readers stalled or others came back, median",
    ),
    lower("baseline-p99-ms", "the same, 99th percentile"),
    lower("baseline-p999-ms", "the same, 99.9th percentile"),
    lower(
        "stall-p99-ratio",
        "99th percentile with stalled readers, over that before",
    ),
    lower(
        "replay-p99-ratio",
        "99th percentile until those who came back had caught up, over that before",
    ),
    lower("cpu-us-per-delivery", "server CPU a delivery"),
    lower("cpu-us-per-event", "server CPU an event"),
    lower("redis-cpu-us-per-event", "CPU of Redis an event"),
    plain("redis-busy", "CPU of Redis, in cores"),
    plain("server-busy", "server CPU, in cores"),
    plain(
        "server-user-share",
        "share of it spent in the server's own code",
    ),
    plain("client-busy", "client CPU, in cores"),
    plain("client-us-per-delivery", "client CPU a delivery"),
    plain(
        "client-waited",
        "what the client's receiving thread waited for a core, as a share of the time",
    ),
    plain(
        "server-waited",
        "what the server's threads waited for a core, as a share of the time",
    ),
    plain(
        "foreign-cores",
        "CPU of other programs, the kernel's threads and the hypervisor, in cores",
    ),
    lower("rss-empty-mib", "server memory without connections, RSS"),
    lower("rss-full-mib", "the same with all of them"),
    lower("rss-max-mib", "the most it had under load"),
    lower("rss-per-connection", "RSS each connection added, in bytes"),
    lower("pss-per-connection", "PSS each connection added, in bytes"),
    lower(
        "memory-growth",
        "PSS at the end over that after a quarter of the time",
    ),
    lower(
        "open-files-growth",
        "open files at the end, more than at the beginning",
    ),
    plain(
        "kernel-tcp-mib",
        "memory of all the kernel's TCP sockets, both ends",
    ),
];

/// The definition of a key.
pub fn definition(key: &str) -> Option<&'static Definition> {
    ALL.iter().find(|definition| definition.key == key)
}

/// The figures of what was measured.
pub fn of(plan: &Plan, measured: &Measured) -> Figures {
    let mut figures = Figures::new();
    let mut put = |key: &str, value: Option<f64>| {
        debug_assert!(definition(key).is_some(), "{key} is not defined");
        if let Some(value) = value.filter(|value| value.is_finite()) {
            figures.insert(key.to_string(), value);
        }
    };
    put_connections(plan, measured, &mut put);
    put_memory(measured, &mut put);
    // Where nothing is to be measured afterwards, setting up is what was.
    let is_all = plan.seconds == 0.0;
    let window = is_all.then_some(&measured.opening);
    if let Some(window) = window.or(measured.load.as_ref()) {
        put_cpu(window, &mut put);
        // With a replay in it, what the server used was not all for these.
        if measured.returned.is_none() {
            put_cpu_each(window, &mut put);
        }
    }
    if let Some(returned) = &measured.returned {
        put_replay(measured, returned, &mut put);
    }
    if measured.sent.events > 0 {
        put_events(measured, &mut put);
    }
    if measured.received > 0 {
        put_latency(plan, measured, &mut put);
    }
    figures
}

type Put<'a> = dyn FnMut(&str, Option<f64>) + 'a;

fn put_connections(plan: &Plan, measured: &Measured, put: &mut Put<'_>) {
    let each = f64::from(measured.connections);
    put("connections", Some(each));
    if measured.connections > 0 {
        let opening = &measured.opening;
        put("connects-per-s", Some(each / opening.time.as_secs_f64()));
        let cpu = opening.server.map(|cpu| cpu.run.as_secs_f64() * 1e6 / each);
        put("connect-cpu-us", cpu);
        let setup = &measured.setup;
        for (step, histogram) in [
            ("upgrade", &setup.upgrade),
            ("auth", &setup.authenticate),
            ("subscribe", &setup.subscribe),
            ("setup", &setup.whole),
        ] {
            put_percentiles(
                step,
                histogram,
                &[("p50", 0.5), ("p99", 0.99), ("p999", 0.999)],
                put,
            );
        }
    }
    if plan.replaced_per_s > 0.0 {
        put("rejoined", Some(f64::from(measured.rejoined)));
    }
    put("ended", Some(f64::from(sum(&measured.ended))));
    if let Some(stalled) = &measured.stalled {
        put("stalled", Some(stalled.count as f64));
        put("stalled-ended", Some(f64::from(sum(&stalled.ended))));
    }
}

fn put_events(measured: &Measured, put: &mut Put<'_>) {
    let sent = &measured.sent;
    put("events", Some(f64::from(sent.events)));
    put("refused", Some(f64::from(sent.refused)));
    put("send-delay-max-ms", Some(sent.behind.as_secs_f64() * 1e3));
    put("held-back", Some(f64::from(sent.held_back)));
    put("deliveries", Some(measured.received as f64));
    let faults = &measured.faults;
    put("lost", Some(faults.lost as f64));
    put("repeated", Some(faults.repeated as f64));
    put("disordered", Some(faults.disordered as f64));
    put("misdirected", Some(faults.misdirected as f64));
    put("altered", Some(faults.altered as f64));
    put("other-frames", Some(measured.other as f64));
}

fn put_cpu(load: &Window, put: &mut Put<'_>) {
    let seconds = load.time.as_secs_f64();
    let (received, settled) = (load.received as f64, f64::from(load.settled));
    put(
        "deliveries-per-s",
        (received > 0.0).then_some(received / seconds),
    );
    put("events-per-s", (settled > 0.0).then_some(settled / seconds));
    put(
        "frames-per-read",
        (received > 0.0).then_some(received / load.reads as f64),
    );
    if let Some(server) = load.server {
        let run = server.run.as_secs_f64();
        put("server-busy", Some(run / seconds));
        let (user, system) = (server.user.as_secs_f64(), server.system.as_secs_f64());
        put("server-user-share", Some(user / (user + system)));
        put("server-waited", Some(server.waited.as_secs_f64() / seconds));
    }
    let redis = load.redis.map(|cpu| cpu.run.as_secs_f64());
    put("redis-busy", redis.map(|run| run / seconds));
    let client = load.client.as_secs_f64();
    put("client-busy", Some(client / seconds));
    let waited = load.client_waited.map(|waited| waited.as_secs_f64());
    put("client-waited", waited.map(|waited| waited / seconds));
    let foreign = load.idle.zip(load.server).map(|(idle, server)| {
        let busy = machine::cores() as f64 * seconds - idle.as_secs_f64();
        (busy - server.run.as_secs_f64() - redis.unwrap_or(0.0) - client - load.spun.as_secs_f64())
            .max(0.0)
            / seconds
    });
    put("foreign-cores", foreign);
}

fn put_cpu_each(load: &Window, put: &mut Put<'_>) {
    let each = |cpu: Duration, count: f64| (count > 0.0).then_some(cpu.as_secs_f64() * 1e6 / count);
    let (received, settled) = (load.received as f64, f64::from(load.settled));
    if let Some(server) = load.server {
        put("cpu-us-per-delivery", each(server.run, received));
        put("cpu-us-per-event", each(server.run, settled));
    }
    if let Some(redis) = load.redis {
        put("redis-cpu-us-per-event", each(redis.run, settled));
    }
    put("client-us-per-delivery", each(load.client, received));
}

fn put_replay(measured: &Measured, returned: &Returned, put: &mut Put<'_>) {
    put("resuming", Some(f64::from(returned.count)));
    put("caught-up", Some(returned.caught_up.len() as f64));
    let quantiles = [("p50", 0.5), ("p99", 0.99)];
    put_percentiles("caught-up", &returned.caught_up, &quantiles, put);
    let replayed = returned.replayed as f64;
    put("replayed", Some(replayed));
    let Some(replay) = &measured.replay else {
        return;
    };
    let seconds = replay.time.as_secs_f64();
    put("replayed-per-s", Some(replayed / seconds));
    let bytes = returned.replayed_bytes as f64;
    put(
        "replayed-mib-per-s",
        Some(bytes / f64::from(1 << 20) / seconds),
    );
    let before = measured.before_replay.as_ref();
    let cores = before
        .and_then(|before| Some(before.server?.run.as_secs_f64() / before.time.as_secs_f64()));
    let more = cores
        .zip(replay.server)
        .map(|(cores, server)| server.run.as_secs_f64() - cores * seconds);
    put(
        "cpu-us-per-replayed",
        more.map(|more| more.max(0.0) * 1e6 / replayed),
    );
}

fn put_latency(plan: &Plan, measured: &Measured, put: &mut Put<'_>) {
    let latency = &measured.latency;
    let quantiles = [
        ("p50", 0.5),
        ("p90", 0.9),
        ("p99", 0.99),
        ("p999", 0.999),
        ("p9999", 0.9999),
        ("max", 1.0),
    ];
    put_percentiles("latency", latency, &quantiles, put);
    let baseline = &measured.baseline;
    if !baseline.is_empty() {
        put_percentiles(
            "baseline",
            baseline,
            &[("p50", 0.5), ("p99", 0.99), ("p999", 0.999)],
            put,
        );
        let p99 = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.99) as f64;
        let ratio = (!latency.is_empty()).then(|| p99(latency) / p99(baseline));
        let key = match plan.comeback {
            Some(_) => "replay-p99-ratio",
            None => "stall-p99-ratio",
        };
        put(key, ratio);
    }
}

fn put_percentiles(
    what: &str,
    histogram: &Histogram<u64>,
    quantiles: &[(&str, f64)],
    put: &mut Put<'_>,
) {
    if histogram.is_empty() {
        return;
    }
    for (name, quantile) in quantiles {
        let value = histogram.value_at_quantile(*quantile) as f64 / 1000.0;
        put(&format!("{what}-{name}-ms"), Some(value));
    }
}

fn put_memory(measured: &Measured, put: &mut Put<'_>) {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (empty, full) = (measured.memory_empty, measured.memory_full);
    put("rss-empty-mib", empty.map(|memory| mebibytes(memory.rss)));
    put("rss-full-mib", full.map(|memory| mebibytes(memory.rss)));
    let most = (measured.rss_max > 0).then(|| mebibytes(measured.rss_max));
    put("rss-max-mib", most);
    let each = |of: fn(Memory) -> u64| {
        let (before, connections) = match measured.memory_first {
            Some(first) if measured.connections > 1 => (first, measured.connections - 1),
            _ => (empty?, measured.connections),
        };
        let more = of(full?).saturating_sub(of(before)) as f64;
        Some(more / f64::from(connections))
    };
    put("rss-per-connection", each(|memory| memory.rss));
    put("pss-per-connection", each(|memory| memory.pss));
    let growth = measured.memory_early.zip(measured.memory_end);
    put(
        "memory-growth",
        growth.map(|(early, end)| end.pss as f64 / early.pss as f64),
    );
    put(
        "open-files-growth",
        measured
            .open_files
            .map(|(from, to)| to as f64 - from as f64),
    );
    put("kernel-tcp-mib", measured.kernel_tcp.map(mebibytes));
}

fn sum(endings: &BTreeMap<String, u32>) -> u32 {
    endings.values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_guide_explains_figures_that_there_are() {
        let guide = include_str!("../../../docs/measuring.md");
        let (_, table) = guide.split_once("\n| figure |").unwrap_or_default();
        let cells = table
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        let keys: Vec<&str> = cells
            .flat_map(|cell| cell.split('`').step_by(2))
            .filter(|key| !key.is_empty())
            .collect();
        assert!(keys.len() > 10, "{keys:?}");
        for key in keys {
            assert!(definition(key).is_some(), "{key}");
        }
    }

    #[test]
    fn keys_are_distinct() {
        let keys: BTreeSet<&str> = ALL.iter().map(|definition| definition.key).collect();
        assert_eq!(keys.len(), ALL.len());
    }
}
