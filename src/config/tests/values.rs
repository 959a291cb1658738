//! Precedence, every default, and what each setting may be.

use proptest::prelude::*;

use super::*;

#[test]
fn defaults_are_those_of_the_contract() {
    let config = Given::default().resolve().unwrap();
    assert_eq!(config.host.to_string(), "0.0.0.0");
    assert_eq!(config.port, 3001);
    assert!(config.workers >= 1);
    assert!(config.allowed_origins.is_none());
    assert!(config.jwt.issuer.is_none() && config.jwt.audience.is_none());
    assert_eq!(config.jwt.leeway, Duration::ZERO);
    assert!(!config.require_auth && !config.dev);
    assert_eq!(
        (config.max_connections, config.reserved_share),
        (10_000, 10)
    );
    assert_eq!(config.ping_interval, Duration::from_secs(30));
    assert_eq!(config.pong_timeout, Duration::from_secs(5));
    assert_eq!((config.message_rate, config.connect_rate), (100, 10));
    assert_eq!(
        (config.max_message, config.outbox_limit),
        (1_048_576, 1_048_576)
    );
    assert_eq!(config.outbox_budget, 256 << 20);
    assert_eq!(config.history, 64 << 20);
    assert_eq!(config.history_age, Duration::from_secs(600));
    assert!(config.trusted_proxies.is_empty() && config.order_statuses.is_empty());
    assert_eq!(config.forwarded_header, AddressHeader::XForwardedFor);
    assert_eq!(config.drain_timeout, Duration::from_secs(10));
    assert_eq!(config.canary, Duration::ZERO);
    assert_eq!(config.log_format, LogFormat::Text);
    assert_eq!(config.log_figures, Duration::from_secs(60));
}

#[test]
fn flag_wins_over_environment_over_file() {
    let mut given = Given {
        flags: vec![("port", "1")],
        env: vec![("WS_PORT", "2")],
        file: "port = 3",
        ..Given::default()
    };
    assert_eq!(given.resolve().unwrap().port, 1);
    given.flags.clear();
    assert_eq!(given.resolve().unwrap().port, 2);
    given.env.clear();
    assert_eq!(given.resolve().unwrap().port, 3);
}

#[test]
fn an_empty_variable_is_not_set() {
    assert_eq!(env("WS_PORT", "").resolve().unwrap().port, 3001);
}

#[test]
fn every_setting_has_the_same_parser_from_every_source() {
    for setting in settings::ALL {
        let text = "\u{1}not this";
        if matches!(
            setting.name,
            "socket" | "jwt-issuer" | "jwt-audience" | "allowed-origins"
        ) {
            continue;
        }
        let toml = match setting.shape {
            settings::Shape::List => format!("{} = [\"\\u0001not this\"]", setting.name),
            _ => format!("{} = \"\\u0001not this\"", setting.name),
        };
        assert_says(
            &flag(setting.name, text).error(),
            &[setting.name, &format!("--{}", setting.name)],
        );
        let from_env = Given {
            no_secret: setting.name == "jwt-secret-file",
            ..env(setting.env, text)
        };
        assert_says(&from_env.error(), &[setting.name, setting.env]);
        let from_file = Given {
            no_secret: setting.name == "jwt-secret-file",
            ..file(&toml)
        };
        assert_says(&from_file.error(), &[setting.name, "shop.toml"]);
    }
}

#[test]
fn a_wrong_value_is_named_with_what_is_allowed() {
    assert_says(
        &flag("port", "70000").error(),
        &["port", "\"70000\"", "--port", "0 to 65535"],
    );
    assert_says(
        &env("WS_WORKERS", "0").error(),
        &["workers", "\"0\"", "WS_WORKERS", "1 to 1024"],
    );
    assert_says(
        &file("max-message = 10").error(),
        &["max-message", "\"10\"", "256 bytes to 64MiB"],
    );
    assert_says(&flag("ping-interval", "99").error(), &["100ms to 1h"]);
    assert_says(&flag("host", "example.org").error(), &["IP address"]);
    assert_says(&flag("log-format", "xml").error(), &["text or json"]);
    assert_says(&flag("log-figures", "99ms").error(), &["100ms to 24h"]);
    assert_says(
        &flag("canary", "99ms").error(),
        &["canary", "\"99ms\"", "100ms to 1h, or 0 (never)"],
    );
    assert_says(
        &file("canary = \"1s\"\nworkers = 3\nmax-connections = 2").error(),
        &["canary", "each of 3 workers", "max-connections is 2"],
    );
    assert_says(&flag("require-auth", "maybe").error(), &["true or false"]);
    assert_says(
        &flag("trusted-proxies", "10.0.0.0/33").error(),
        &["10.0.0.0/33", "network"],
    );
    assert_says(
        &flag("forwarded-header", "x-real-ip").error(),
        &[
            "forwarded-header",
            "x-real-ip",
            "x-forwarded-for or forwarded",
        ],
    );
    assert_says(&flag("socket", &"x".repeat(108)).error(), &["107 bytes"]);
    assert_says(&file("port = 1.5").error(), &["port", "whole number"]);
    assert_says(&file("port = true").error(), &["port"]);
    assert_says(
        &file("require-auth = 1").error(),
        &["require-auth", "true or false"],
    );
    assert_says(
        &file("allowed-origins = \"*\"").error(),
        &["allowed-origins", "array"],
    );
    assert_says(
        &file("trusted-proxies = [1]").error(),
        &["trusted-proxies", "array of strings"],
    );
    let long = "9".repeat(10_000);
    assert!(flag("port", &long).error().len() < 300);
}

#[test]
fn durations_and_sizes_have_units() {
    let duration = |text: &str| {
        flag("drain-timeout", text)
            .resolve()
            .map(|c| c.drain_timeout)
    };
    for (text, ms) in [
        ("1500", 1500),
        ("250ms", 250),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("0", 0),
    ] {
        assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
    }
    for text in ["-1", "1.5", "s", "5x", "2h", " ", "99999999999999999999"] {
        assert!(duration(text).is_err(), "{text}");
    }
    let size = |text: &str| flag("max-message", text).resolve().map(|c| c.max_message);
    for (text, bytes) in [
        ("4096", 4096),
        ("64KiB", 65_536),
        ("1MiB", 1 << 20),
        ("2 mb", 2_000_000),
        ("300B", 300),
    ] {
        assert_eq!(size(text).unwrap(), bytes, "{text}");
    }
    for text in [
        "-1",
        "KiB",
        "1.5MiB",
        "1XB",
        "255",
        "65MiB",
        "99999999999999999999GiB",
    ] {
        assert!(size(text).is_err(), "{text}");
    }
}

#[test]
fn the_budget_of_all_outboxes_is_not_below_the_limit_of_one() {
    let with = |limit, budget: Option<&'static str>| {
        let mut given = flag("outbox-limit", limit);
        given.env = budget
            .map(|text| ("WS_OUTBOX_BUDGET", text))
            .into_iter()
            .collect();
        given
    };
    let budget = |limit, budget| with(limit, budget).resolve().unwrap().outbox_budget;
    assert_eq!(budget("1MiB", None), 256 << 20);
    assert_eq!(budget("512MiB", None), 512 << 20);
    assert_eq!(budget("1MiB", Some("1MiB")), 1 << 20);
    assert_eq!(budget("512MiB", Some("2GiB")), 2 << 30);
    assert_says(
        &with("2MiB", Some("2097151")).error(),
        &[
            "outbox-budget",
            "\"2097151\"",
            "WS_OUTBOX_BUDGET",
            "at least outbox-limit, which is 2097152 bytes",
        ],
    );
    assert_says(&flag("outbox-budget", "1").error(), &["1KiB to 1024GiB"]);
}

#[test]
fn whoever_trusts_everybody_is_warned() {
    let warned = |networks| {
        let config = flag("trusted-proxies", networks).resolve().unwrap();
        let all = config.warnings(0).into_iter();
        all.filter(|warning| warning.contains("every address"))
            .count()
    };
    assert_eq!(warned("10.0.0.0/8,0.0.0.0/0"), 1);
    assert_eq!(warned("::/0"), 1);
    assert_eq!(warned("10.0.0.0/8"), 0);
}

#[test]
fn lists_are_comma_separated_or_arrays() {
    let proxies = |given: Given<'_>| given.resolve().unwrap().trusted_proxies;
    let two: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    assert_eq!(proxies(flag("trusted-proxies", "10.0.0.0/8, ::1")), two);
    assert_eq!(proxies(env("WS_TRUSTED_PROXIES", "10.0.0.0/8,::1,")), two);
    assert_eq!(
        proxies(file("trusted-proxies = [\"10.0.0.0/8\", \"::1\"]")),
        two
    );
    let origins = flag("allowed-origins", "https://a.example,https://b.example")
        .resolve()
        .unwrap();
    assert_eq!(origins.allowed_origins.unwrap().len(), 2);
    assert_says(
        &flag("allowed-origins", " , ").error(),
        &["allowed-origins", "empty"],
    );
    assert_says(
        &file("allowed-origins = []").error(),
        &["allowed-origins", "empty"],
    );
    assert_says(
        &flag("allowed-origins", "https://a.example,nonsense").error(),
        &["\"nonsense\""],
    );
}

#[test]
fn redis_is_a_url_that_is_never_repeated_and_excludes_a_journal() {
    let url = "redis://:hush@10.0.0.1:7000/2";
    for given in [flag("redis-url", url), env("WS_REDIS_URL", url)] {
        let address = given.resolve().unwrap().redis_url.unwrap();
        assert_eq!(address.shown(), "10.0.0.1:7000, database 2");
    }
    assert!(flag("port", "1").resolve().unwrap().redis_url.is_none());
    let error = flag("redis-url", "http://hush").error();
    assert_says(&error, &["redis-url", "redis://host:6379"]);
    assert!(!error.contains("hush"), "{error}");
    let both = Given {
        flags: vec![("redis-url", url), ("journal", "/tmp/journal")],
        ..Given::default()
    };
    let error = both.error();
    assert_says(&error, &["redis-url", "journal", "not both"]);
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn what_becomes_of_events_without_redis_is_one_of_two() {
    let outage = |given: Given| given.resolve().unwrap().redis_outage;
    assert_eq!(outage(Given::default()), RedisOutage::Hold);
    assert_eq!(outage(flag("redis-outage", "hold")), RedisOutage::Hold);
    assert_eq!(outage(env("WS_REDIS_OUTAGE", "local")), RedisOutage::Local);
    let error = flag("redis-outage", "drop").error();
    assert_says(
        &error,
        &["redis-outage", "\"drop\"", "must be hold or local"],
    );
}

#[test]
fn names_in_the_table_are_unique_and_well_formed() {
    let mut seen = std::collections::HashSet::new();
    for setting in settings::ALL {
        assert!(
            seen.insert(setting.name) && seen.insert(setting.env),
            "{}",
            setting.name
        );
        assert!(
            setting
                .name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b == b'-')
        );
        assert!(
            setting
                .env
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b == b'_')
        );
        assert!(!setting.help.is_empty() && !setting.default.is_empty());
    }
}

proptest! {
    #[test]
    fn any_text_for_any_setting_gives_a_config_or_a_sentence(index in 0..settings::ALL.len(), text in ".{0,40}") {
        let result = flag(settings::ALL[index].name, &text).resolve();
        prop_assert!(result.is_ok() || !result.unwrap_err().to_string().is_empty());
    }

    #[test]
    fn any_file_gives_a_config_or_a_sentence(text in "[a-z\\-]{0,12}( = )?[\\[\\]{}\"a-z0-9.,]{0,20}\n?.{0,20}") {
        let result = File::parse(Path::new("x.toml"), &text);
        prop_assert!(result.is_ok() || !result.unwrap_err().to_string().is_empty());
    }
}
