//! `shopwire doctor`: what it says of settings that cannot work on this machine, and of such that can.

use std::process::Output;

use crate::harness::Setup;
use crate::harness::redis::{Redis, free_port};
use crate::harness::tls::Certificates;

fn doctor(setup: &Setup) -> (Option<i32>, String) {
    let Output { status, stdout, .. } = setup.command("doctor").output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}

/// The line about it, and what stands below.
fn about<'t>(text: &'t str, subject: &str) -> Vec<&'t str> {
    let is_about = |line: &&str| line.get(8..).is_some_and(|rest| rest.starts_with(subject));
    let mut lines = text.lines().skip_while(|line| !is_about(line));
    let first = lines
        .next()
        .unwrap_or_else(|| panic!("nothing of {subject} in\n{text}"));
    let below = lines.take_while(|line| line.starts_with("         "));
    [first].into_iter().chain(below).collect()
}

#[test]
fn too_few_files_are_wrong_and_the_limit_is_named() {
    let setup = Setup::new(&["--max-connections", "5000"]).open_files(512);
    let (code, text) = doctor(&setup);
    assert_eq!(code, Some(1), "{text}");
    let files = about(&text, "open files");
    assert!(files[0].starts_with("WRONG"), "{text}");
    assert!(
        files[0].contains("512") && files[1].contains("LimitNOFILE=6088"),
        "{text}"
    );
}

#[test]
fn a_heartbeat_slower_than_the_proxy_is_wrong() {
    let setup = Setup::new(&["--max-connections", "100", "--ping-interval", "100s"]);
    let (code, text) = doctor(&setup);
    assert_eq!(code, Some(1), "{text}");
    assert!(about(&text, "heartbeat")[1].contains("30s"), "{text}");
    let patient = [
        "--max-connections",
        "100",
        "--ping-interval",
        "100s",
        "--proxy-timeout",
        "1h",
    ];
    let (_, text) = doctor(&Setup::new(&patient));
    assert!(about(&text, "heartbeat")[0].starts_with("ok"), "{text}");
}

#[test]
fn a_certificate_that_ends_soon_or_has_ended_is_seen() {
    let certificates = Certificates::new();
    let said = |certificates: &Certificates| {
        let (_, text) = doctor(&certificates.setup(&["--max-connections", "100"]));
        about(&text, "certificate").join("\n")
    };
    assert!(
        said(&certificates).starts_with("ok"),
        "{}",
        said(&certificates)
    );
    certificates.renew_with(|params| params.not_after = rcgen::date_time_ymd(2002, 1, 1));
    let ended = said(&certificates);
    assert!(
        ended.starts_with("WRONG") && ended.contains("2002-01-01"),
        "{ended}"
    );
    assert!(ended.contains("ctl reload"), "{ended}");
}

#[test]
fn the_redis_of_several_hosts_is_asked() {
    let mut redis = Redis::start();
    let said = |redis: &Redis| {
        let (code, text) = doctor(&redis.setup(&["--max-connections", "100"]));
        (code, about(&text, "Redis").join("\n"))
    };
    let (_, forgetful) = said(&redis);
    assert!(forgetful.starts_with("change"), "{forgetful}");
    redis.ask("CONFIG SET appendonly yes");
    let (_, good) = said(&redis);
    assert!(good.starts_with("ok"), "{good}");
    redis.kill();
    let (code, gone) = said(&redis);
    assert_eq!(code, Some(1), "{gone}");
    assert!(gone.starts_with("WRONG"), "{gone}");
}

/// The line of the documentation that makes a user of Redis' own, with a password.
fn documented_user(password: &str) -> Vec<String> {
    let page = std::fs::read_to_string("docs/cluster.md").unwrap();
    let mut lines = page.lines();
    let line = lines.find_map(|line| line.strip_prefix("redis-cli "));
    let line = line
        .expect("docs/cluster.md has the line")
        .replace('\'', "");
    let words = line.replace("PASSWORD", password);
    words.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_redis_that_does_not_let_be_done_what_is_needed_is_told_with_every_command() {
    let redis = Redis::with(&["--appendonly", "yes"]);
    let user = documented_user("hush");
    assert_eq!(redis.ask(&user.join(" ")), "+OK");
    let url = format!("{}?user=shopwire&pass=hush", redis.url());
    let setup = Setup::new(&["--redis-url", &url, "--max-connections", "100"]);
    let said = || about(&doctor(&setup).1, "Redis").join("\n");
    assert!(said().starts_with("ok"), "{}", said());
    assert_eq!(redis.ask("KEYS {shopwire}:*"), "*0", "nothing is left");

    // Each of them is needed, and each that is missing is told. Databases and sentinels are not in use here.
    let commands = user.iter().filter_map(|rule| rule.strip_prefix('+'));
    let here = commands.filter(|name| !["select", "role"].contains(name));
    let here: Vec<&str> = here.collect();
    assert!(here.len() > 30, "{user:?}");
    for command in &here {
        redis.ask(&format!("ACL SETUSER shopwire -{command}"));
        let told = said();
        assert!(!told.starts_with("ok"), "{command}: {told}");
        assert!(told.contains(&format!("+{command}")), "{command}: {told}");
        redis.ask(&format!("ACL SETUSER shopwire +{command}"));
    }
    redis.ask("ACL SETUSER shopwire -xread -hset");
    let told = said();
    assert!(
        told.contains("does not let the user shopwire use HSET, XREAD"),
        "{told}"
    );
    redis.ask("ACL SETUSER shopwire +xread +hset resetkeys ~{shop}:*");
    assert!(
        said().contains("ACL SETUSER shopwire '~{shopwire}:*'"),
        "{}",
        said()
    );
}

#[test]
fn a_replica_and_a_full_redis_and_every_other_fault_are_told() {
    let port = free_port();
    let main = Redis::with(&["--port", &port.to_string()]);
    let replica = Redis::with(&["--replicaof", &format!("127.0.0.1 {port}")]);
    let said = |redis: &Redis| {
        let (code, text) = doctor(&redis.setup(&["--max-connections", "100"]));
        assert_eq!(code, Some(1), "{text}");
        text
    };
    let told = said(&replica);
    assert!(told.contains("is a replica"), "{told}");
    assert!(told.contains("appendonly yes"), "{told}");
    main.ask("CONFIG SET maxmemory 1");
    main.ask("CONFIG SET maxmemory-policy noeviction");
    let told = said(&main);
    assert!(
        told.contains("OOM") && told.contains("CONFIG SET maxmemory BYTES"),
        "{told}"
    );
    main.ask("CONFIG SET maxmemory-policy allkeys-lru");
    main.ask("CONFIG SET maxmemory 1gb");
    let told = said(&main);
    assert!(
        told.contains("maxmemory-policy noeviction") && told.contains("appendonly yes"),
        "{told}"
    );
}

#[test]
fn a_wrong_configuration_is_no_business_of_the_doctor_s() {
    let output = Setup::new(&["--workers", "none"])
        .command("doctor")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("workers"));
}
