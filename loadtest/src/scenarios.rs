//! The scenarios: from what the command line says to a [`Plan`].

use std::time::Duration;

use crate::cli::{
    Clustered, Command, Common, Connect, Fanout, Flood, Flooding, Idle, Mixed, Resume, Seed, Slow,
    Soak, Timing, Unicast,
};
use crate::client::stall;
use crate::report::expectation::Expectation;
use crate::run::plan::{Arrivals, Comeback, Drive, Load, Plan};
use crate::server::Cluster;
use crate::world::shop::Kinds;

/// Events under way in a flood, unless said otherwise.
const IN_FLIGHT: u32 = 512;

/// The same where nobody listens.
const IN_FLIGHT_UNHEARD: u32 = 30_000;

/// The lines of the founding document's page that speak of times, and their measure.
const SEED_TIMES: [(&str, &str); 3] = [
    ("connection setup < 100 ms", "upgrade-p99-ms<100"),
    ("authentication < 50 ms", "auth-p99-ms<50"),
    ("event latency < 10 ms", "latency-p99-ms<10"),
];

/// Of the deliveries that were asked for, so many must have come in the measured time: what is just
/// under way at its end is not counted.
const SEED_REACHED: f64 = 0.98;

/// A soak may end with so many times the memory of its first quarter.
const SOAK_GROWTH: &str = "memory-growth<1.15";

/// A soak may end with fewer than so many files more than it began with: connections on their way.
const SOAK_FILES: &str = "open-files-growth<50";

/// What stalled readers may do to the others' 99th percentile; half of it is the machine's noise.
const SLOW_RATIO: &str = "stall-p99-ratio<1.5";

/// Events from which the average audience is told.
const SAMPLED: u32 = 200;

/// The plan of a scenario, and what all of them take; `None` if the command is no scenario.
///
/// # Errors
/// Where it makes no sense.
pub fn plan(command: &Command) -> Result<Option<(Plan, &Common)>, String> {
    Ok(Some(match command {
        Command::Fanout(fanout) => (fan_out(fanout), &fanout.common),
        Command::Flood(flood) => (self::flood(flood), &flood.common),
        Command::Unicast(unicast) => (self::unicast(unicast), &unicast.common),
        Command::Mixed(mixed) => (self::mixed(mixed), &mixed.common),
        Command::Connect(connect) => (self::connect(connect), &connect.common),
        Command::Idle(idle) => (self::idle(idle), &idle.common),
        Command::Slow(slow) => (self::slow(slow)?, &slow.common),
        Command::Resume(resume) => (self::resume(resume)?, &resume.common),
        Command::Cluster(cluster) => (self::cluster(cluster)?, &cluster.common),
        Command::Soak(soak) => (self::soak(soak), &soak.common),
        Command::Seed(seed) => (self::seed(seed)?, &seed.common),
        Command::Run(_) | Command::Figures | Command::Compare(_) | Command::Peers(_) => {
            return Ok(None);
        }
    }))
}

fn fan_out(arguments: &Fanout) -> Plan {
    let rate = arguments
        .rate
        .unwrap_or(arguments.deliveries / f64::from(arguments.connections));
    let plan = base("fanout", arguments.connections, &arguments.common);
    Plan {
        load: Load::Shared(arguments.order.size),
        drive: Drive::Scheduled(rate),
        ..timed(plan, &arguments.timing)
    }
}

fn flood(arguments: &Flood) -> Plan {
    let plan = base("flood", arguments.connections, &arguments.common);
    Plan {
        load: Load::Shared(arguments.order.size),
        // What nobody waits for may fill the socket.
        drive: flooding(
            &arguments.flooding,
            if arguments.connections == 0 {
                IN_FLIGHT_UNHEARD
            } else {
                IN_FLIGHT
            },
        ),
        ..timed(plan, &arguments.timing)
    }
}

fn flooding(flooding: &Flooding, otherwise: u32) -> Drive {
    Drive::Flood(flooding.in_flight.unwrap_or(otherwise))
}

fn unicast(arguments: &Unicast) -> Plan {
    let plan = base("unicast", arguments.connections, &arguments.common);
    Plan {
        load: Load::Own(arguments.order.size),
        drive: if arguments.flood {
            flooding(&arguments.flooding, IN_FLIGHT)
        } else {
            Drive::Scheduled(arguments.rate)
        },
        ..timed(plan, &arguments.timing)
    }
}

fn mixed(arguments: &Mixed) -> Plan {
    let plan = base("mixed", arguments.connections, &arguments.common);
    Plan {
        load: Load::Shop(Kinds::Day),
        drive: Drive::Scheduled(arguments.rate),
        replaced_per_s: arguments.replaced,
        ..timed(plan, &arguments.timing)
    }
}

fn connect(arguments: &Connect) -> Plan {
    let mut plan = base("connect", arguments.connections, &arguments.common);
    if let Some(rate) = arguments.arrival_rate {
        plan.arrivals = Arrivals::Rate(rate);
    }
    plan
}

fn idle(arguments: &Idle) -> Plan {
    Plan {
        seconds: arguments.seconds,
        ..base("idle", arguments.connections, &arguments.common)
    }
}

fn slow(arguments: &Slow) -> Result<Plan, String> {
    let (connections, nth) = (arguments.connections, 1.0 / arguments.stalled);
    if stall::count(connections as usize, nth) == 0 {
        return Err(format!(
            "with --stalled {} of {connections} connections nobody stalls; take more of either",
            arguments.stalled
        ));
    }
    let mut plan = base("slow", arguments.connections, &arguments.common);
    plan.expectations.extend(expect(&[SLOW_RATIO]));
    Ok(Plan {
        load: Load::Shared(arguments.size),
        drive: Drive::Scheduled(arguments.rate),
        stalled_nth: Some(nth),
        ..timed(plan, &arguments.timing)
    })
}

fn resume(arguments: &Resume) -> Result<Plan, String> {
    let (count, half) = (arguments.resuming, arguments.timing.seconds / 2.0);
    let last = f64::from(count - 1) * arguments.every;
    if last > half {
        return Err(format!(
            "of --resuming {count} with --every {} the last one comes {last} s after the first, and there are {half} s left from the middle of --seconds {}; take more seconds, or fewer of the others",
            arguments.every, arguments.timing.seconds
        ));
    }
    let plan = base("resume", arguments.connections, &arguments.common);
    Ok(Plan {
        load: Load::Shared(arguments.size),
        drive: Drive::Scheduled(arguments.rate),
        comeback: Some(Comeback {
            count,
            every: Duration::from_secs_f64(arguments.every),
            backlog: arguments.backlog,
            pace: arguments.slow_readers.map(|mib| mib * f64::from(1 << 20)),
        }),
        ..timed(plan, &arguments.timing)
    })
}

fn cluster(arguments: &Clustered) -> Result<Plan, String> {
    if arguments.common.attach.is_some() {
        return Err("cluster starts its hosts and their Redis itself; leave --attach out".into());
    }
    let plan = base("cluster", arguments.connections, &arguments.common);
    Ok(Plan {
        load: Load::Shared(arguments.order.size),
        drive: match (arguments.flood, arguments.connections) {
            (false, _) => Drive::Scheduled(arguments.rate),
            (true, 0) => flooding(&arguments.flooding, IN_FLIGHT_UNHEARD),
            (true, _) => flooding(&arguments.flooding, IN_FLIGHT),
        },
        cluster: Some(Cluster {
            hosts: arguments.hosts,
            redis: arguments.redis.clone(),
            redis_cores: arguments.pin_redis.clone(),
        }),
        ..timed(plan, &arguments.timing)
    })
}

fn soak(arguments: &Soak) -> Plan {
    let mut plan = base("soak", arguments.connections, &arguments.common);
    plan.expectations.extend(expect(&[SOAK_GROWTH, SOAK_FILES]));
    Plan {
        load: Load::Shop(Kinds::Day),
        drive: Drive::Scheduled(arguments.rate),
        replaced_per_s: arguments.replaced,
        warm_up: 5.0,
        seconds: arguments.seconds,
        ..plan
    }
}

fn seed(arguments: &Seed) -> Result<Plan, String> {
    let mut plan = timed(
        base("seed", arguments.connections, &arguments.common),
        &arguments.timing,
    );
    plan.load = if arguments.broadcast {
        Load::Shared(250)
    } else {
        Load::Shop(Kinds::Orders)
    };
    let audience = audience(&plan);
    if audience < 1.0 {
        return Err(format!(
            "with {} connections nobody sees an order; take more",
            arguments.connections
        ));
    }
    plan.drive = Drive::Scheduled(arguments.deliveries / audience);
    let mut promise = |words, measure: &str| {
        let promised = expect(&[measure]).into_iter();
        let promised = promised.map(|expectation| expectation.promised(words));
        plan.expectations.extend(promised);
    };
    let connected = format!("connections>{}", arguments.connections - 1);
    promise("connections at once", &connected);
    let reached = arguments.deliveries * SEED_REACHED;
    promise(
        "events delivered a second",
        &format!("deliveries-per-s>{reached:.0}"),
    );
    for (words, measure) in SEED_TIMES {
        promise(words, measure);
    }
    Ok(plan)
}

/// How many connections see an event, on the average.
fn audience(plan: &Plan) -> f64 {
    let world = plan.world("");
    let members: Vec<_> = (0..plan.connections)
        .map(|slot| world.member(slot))
        .collect();
    let seen: usize = (0..SAMPLED)
        .map(|number| {
            members
                .iter()
                .filter(|member| world.sees(member, number))
                .count()
        })
        .sum();
    seen as f64 / f64::from(SAMPLED)
}

fn base(scenario: &'static str, connections: u32, common: &Common) -> Plan {
    Plan {
        scenario,
        connections,
        arrivals: Arrivals::UnderWay(common.under_way),
        load: Load::Shared(0),
        drive: Drive::Hold,
        warm_up: 0.0,
        seconds: 0.0,
        grace: Duration::from_secs(10),
        replaced_per_s: 0.0,
        stalled_nth: None,
        cluster: None,
        comeback: None,
        spins: common.spin,
        expectations: common.expect.clone(),
    }
}

fn timed(plan: Plan, timing: &Timing) -> Plan {
    Plan {
        warm_up: timing.warm_up,
        seconds: timing.seconds,
        grace: Duration::from_secs_f64(timing.grace),
        ..plan
    }
}

fn expect(texts: &[&str]) -> Vec<Expectation> {
    #[expect(
        clippy::expect_used,
        reason = "written in this file; a test parses them all"
    )]
    let parse = |text: &&str| text.parse().expect("a known figure");
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::Cli;
    use clap::{CommandFactory, Parser};

    fn of(line: &str) -> Plan {
        let words = ["loadtest"].into_iter().chain(line.split(' '));
        let cli = Cli::try_parse_from(words).unwrap();
        plan(&cli.command).unwrap().unwrap().0
    }

    #[test]
    fn the_definition_is_sound_and_every_scenario_has_a_plan() {
        Cli::command().debug_assert();
        for name in [
            "fanout", "flood", "unicast", "mixed", "connect", "idle", "slow", "resume", "cluster",
            "soak", "seed",
        ] {
            assert_eq!(of(name).scenario, name);
        }
    }

    #[test]
    fn the_files_that_come_along_are_scenarios() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let (cli, _) = crate::scenario_file::parse(&path, &[], "loadtest").unwrap();
            assert!(plan(&cli.command).unwrap().is_some());
            count += 1;
        }
        assert!(count >= 2);
    }

    #[test]
    fn rates_follow_from_deliveries() {
        let plan = of("fanout --connections 500 --deliveries 1000");
        assert_eq!(plan.drive, Drive::Scheduled(2.0));
        let plan = of("seed --broadcast");
        assert_eq!(plan.drive, Drive::Scheduled(5.0));
        let Drive::Scheduled(rate) = of("seed").drive else {
            panic!("seed has a rate")
        };
        assert!((40.0..60.0).contains(&rate), "{rate}");
    }

    #[test]
    fn a_flood_has_as_many_under_way_as_suit_it() {
        for (line, in_flight) in [
            ("flood", 512),
            ("flood --connections 0", 30_000),
            ("flood --connections 0 --in-flight 7", 7),
            ("unicast --flood", 512),
            ("unicast --flood --in-flight 7", 7),
        ] {
            assert_eq!(of(line).drive, Drive::Flood(in_flight), "{line}");
        }
    }

    #[test]
    fn connections_come_by_rate_or_as_others_are_done() {
        assert_eq!(of("connect").arrivals, Arrivals::UnderWay(64));
        let plan = of("connect --arrival-rate 250");
        assert_eq!(plan.arrivals, Arrivals::Rate(250.0));
    }

    #[test]
    fn a_flag_said_twice_counts_the_second_time() {
        let plan = of("fanout --connections 10 --rate 1 --deliveries 50");
        assert_eq!(plan.drive, Drive::Scheduled(5.0));
        let plan = of("fanout --connections 10 --deliveries 50 --rate 1");
        assert_eq!(plan.drive, Drive::Scheduled(1.0));
        assert_eq!(of("fanout --connections 5 --connections 6").connections, 6);
    }

    #[test]
    fn of_a_few_connections_one_stalls_at_least() {
        let nth = of("slow --connections 20 --stalled 0.4").stalled_nth;
        assert_eq!(nth.map(|nth| stall::count(20, nth)), Some(8));
        let few = ["loadtest", "slow", "--connections", "4"];
        let message = plan(&Cli::try_parse_from(few).unwrap().command).unwrap_err();
        assert!(message.contains("0.1 of 4"), "{message}");
    }

    #[test]
    fn who_comes_back_comes_in_time_and_finds_what_it_has_missed() {
        let comeback = of("resume --resuming 6 --every 1 --slow-readers 2").comeback;
        let expected = Comeback {
            count: 6,
            every: Duration::from_secs(1),
            backlog: 50_000,
            pace: Some(2_097_152.0),
        };
        assert_eq!(comeback, Some(expected));
        let late = ["loadtest", "resume", "--resuming", "7", "--every", "1"];
        let message = plan(&Cli::try_parse_from(late).unwrap().command).unwrap_err();
        assert!(message.contains("6 s after the first"), "{message}");
        // Events 0 to 50,000 come before, 20 a second for 11 s then.
        let plan = of("resume");
        let schedule = plan.schedule(std::time::Instant::now(), 20.0);
        assert_eq!((schedule.first(), schedule.end()), (50_001, 50_221));
        assert_eq!(plan.measured_from(&schedule), 50_021);
        assert_eq!(plan.halfway(&schedule), 50_121);
        assert!(plan.history().unwrap() > 50_221 * 1024);
        assert_eq!(of("slow").history(), None);
    }

    #[test]
    fn a_cluster_has_hosts_and_a_redis_of_its_own() {
        let plan = of("cluster --hosts 3 --redis /opt/redis-server --pin-redis 1");
        let expected = Cluster {
            hosts: 3,
            redis: "/opt/redis-server".into(),
            redis_cores: Some(vec![1]),
        };
        assert_eq!(plan.cluster, Some(expected));
        let attached = "loadtest cluster --attach ws://a --socket b --secret-file c";
        let cli = Cli::try_parse_from(attached.split(' ')).unwrap();
        let message = super::plan(&cli.command).unwrap_err();
        assert!(message.contains("leave --attach out"), "{message}");
    }

    #[test]
    fn wrong_values_are_refused() {
        for bad in [
            "fanout --rate 0",
            "fanout --seconds -1",
            "fanout --seconds inf",
            "fanout --connections 0",
            "fanout --grace 1e300",
            "soak --seconds 2",
            "fanout --attach ws://127.0.0.1:1/api/ws",
            "fanout --socket a",
            "fanout --expect speed<1",
            "slow --stalled 0.9",
            "resume --resuming 0",
            "resume --backlog 0",
            "resume --slow-readers 0",
            "cluster --hosts 0",
            "cluster --flood --rate 5",
            "unicast --flood --rate 5",
            "unicast --in-flight 5",
            "connect --arrival-rate 0",
            "connect --arrival-rate 5 --under-way 5",
            "peers --servers nginx",
            "peers --cases a,z",
        ] {
            let words = ["loadtest"].into_iter().chain(bad.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{bad}");
        }
    }
}
