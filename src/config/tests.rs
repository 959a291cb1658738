//! Precedence, every default, every kind of error: all without the process's environment.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::Write;

use proptest::prelude::*;
use tempfile::NamedTempFile;

use super::*;
use crate::access::{Access, Namespace, Role};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What is given in one test; there is a secret unless the test gives its own keys.
#[derive(Default)]
struct Given<'a> {
    dev: bool,
    flags: Vec<(&'a str, &'a str)>,
    env: Vec<(&'a str, &'a str)>,
    file: &'a str,
    no_secret: bool,
}

impl Given<'_> {
    fn resolve(&self) -> Result<Config, ConfigError> {
        let setting = |name: &str| {
            *settings::ALL
                .iter()
                .find(|setting| setting.name == name)
                .unwrap()
        };
        let flags = Flags {
            dev: self.dev,
            config: None,
            values: self
                .flags
                .iter()
                .map(|(name, text)| (setting(name), (*text).to_owned()))
                .collect(),
        };
        let mut env: HashMap<&str, &str> = self.env.iter().copied().collect();
        if !self.no_secret {
            env.insert("WS_JWT_SECRET", SECRET);
        }
        let file = match self.file {
            "" => None,
            text => Some(File::parse(Path::new("shop.toml"), text)?),
        };
        Config::resolve(
            &flags,
            &|name| env.get(name).map(|text| (*text).to_owned()),
            file.as_ref(),
        )
    }

    fn error(&self) -> String {
        self.resolve().unwrap_err().to_string()
    }
}

fn flag<'a>(name: &'a str, text: &'a str) -> Given<'a> {
    Given {
        flags: vec![(name, text)],
        ..Given::default()
    }
}

fn env<'a>(name: &'a str, text: &'a str) -> Given<'a> {
    Given {
        env: vec![(name, text)],
        ..Given::default()
    }
}

fn file(text: &str) -> Given<'_> {
    Given {
        file: text,
        ..Given::default()
    }
}

fn file_with(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn path_of(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// Every sentence holds each of these.
#[track_caller]
fn assert_says(sentence: &str, words: &[&str]) {
    for word in words {
        assert!(sentence.contains(word), "{word:?} is not in: {sentence}");
    }
}

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
    assert_eq!(config.max_connections, 10_000);
    assert_eq!(config.ping_interval, Duration::from_secs(30));
    assert_eq!(config.pong_timeout, Duration::from_secs(5));
    assert_eq!((config.message_rate, config.connect_rate), (100, 10));
    assert_eq!(
        (config.max_message, config.outbox_limit),
        (1_048_576, 1_048_576)
    );
    assert!(config.trusted_proxies.is_empty() && config.order_statuses.is_empty());
    assert_eq!(config.drain_timeout, Duration::from_secs(10));
    assert_eq!(config.log_format, LogFormat::Text);
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
    assert_says(&flag("require-auth", "maybe").error(), &["true or false"]);
    assert_says(
        &flag("trusted-proxies", "10.0.0.0/33").error(),
        &["10.0.0.0/33", "network"],
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
fn an_unknown_key_is_named_with_the_nearest() {
    assert_says(
        &file("max-mesage = 1").error(),
        &["shop.toml", "\"max-mesage\"", "mean \"max-message\""],
    );
    assert_says(&file("acess = 1").error(), &["mean \"access\""]);
    let error = file("colour = 1").error();
    assert_says(&error, &["\"colour\""]);
    assert!(!error.contains("did you mean"));
    assert_says(
        &file("[access]\norder = { admin = \"all\" }").error(),
        &["access.order", "mean \"access.orders\""],
    );
    assert_says(
        &file("[access]\norders = { amdin = \"all\" }").error(),
        &["access.orders.amdin", "access.orders.admin"],
    );
    assert_says(
        &file("[orders]\nstatus = []").error(),
        &["orders.status", "orders.statuses"],
    );
    assert_says(&file("[other]\nx = 1").error(), &["\"other\""]);
}

#[test]
fn a_broken_file_is_told_by_line_without_its_text() {
    let error = file("port = 1\n\njwt = top-secret-value\n").error();
    assert_says(&error, &["shop.toml", "line 3"]);
    assert!(!error.contains("top-secret-value"), "{error}");
    let missing = File::read(Path::new("/nonexistent/shop.toml"))
        .unwrap_err()
        .to_string();
    assert_says(&missing, &["/nonexistent/shop.toml", "cannot be read"]);
}

#[test]
fn dev_is_loopback_only_and_needs_nothing() {
    let dev = |flags: Vec<(&'static str, &'static str)>| Given {
        dev: true,
        flags,
        no_secret: true,
        ..Given::default()
    };
    let config = dev(vec![]).resolve().unwrap();
    assert!(config.dev);
    assert_eq!(config.host.to_string(), "127.0.0.1");
    assert_eq!(config.connect_rate, 0);
    let again = dev(vec![]).resolve().unwrap();
    assert_ne!(
        config.jwt.secret, again.jwt.secret,
        "a new secret for each run"
    );

    for host in ["127.0.0.2", "::1", "localhost"] {
        assert!(dev(vec![("host", host)]).resolve().is_ok(), "{host}");
    }
    for host in ["0.0.0.0", "::", "192.168.0.1"] {
        assert_says(
            &dev(vec![("host", host)]).error(),
            &["host", host, "--dev", "loopback"],
        );
    }
    let from_env = Given {
        dev: true,
        ..env("WS_HOST", "0.0.0.0")
    };
    assert_says(&from_env.error(), &["WS_HOST", "loopback"]);
    assert_eq!(
        dev(vec![("connect-rate", "7")])
            .resolve()
            .unwrap()
            .connect_rate,
        7
    );

    let own = Given {
        dev: true,
        ..Given::default()
    }
    .resolve()
    .unwrap();
    assert_eq!(
        own.jwt.secret,
        Given::default().resolve().unwrap().jwt.secret
    );
}

#[test]
fn without_dev_a_key_is_needed() {
    let error = Given {
        no_secret: true,
        ..Given::default()
    }
    .error();
    assert_says(
        &error,
        &[
            "jwt-secret-file",
            "WS_JWT_SECRET",
            "--jwt-public-key",
            "--jwks-file",
            "--dev",
        ],
    );
    let pem = file_with(include_bytes!("../auth/fixtures/ed.pub.pem"));
    let given = Given {
        no_secret: true,
        ..flag("jwt-public-key", path_of(&pem))
    };
    let config = given.resolve().unwrap();
    assert!(config.jwt.secret.is_none() && config.jwt.public_key_pem.is_some());
}

#[test]
fn a_secret_comes_from_one_place_and_loses_one_newline() {
    let expected = Given::default().resolve().unwrap().jwt.secret;
    for end in ["", "\n", "\r\n"] {
        let secret = file_with(format!("{SECRET}{end}").as_bytes());
        let path = path_of(&secret);
        let from_flag = Given {
            no_secret: true,
            ..flag("jwt-secret-file", path)
        };
        assert_eq!(from_flag.resolve().unwrap().jwt.secret, expected, "{end:?}");
        let from_env = Given {
            no_secret: true,
            ..env("WS_JWT_SECRET_FILE", path)
        };
        assert_eq!(from_env.resolve().unwrap().jwt.secret, expected);
        let toml = format!("jwt-secret-file = {path:?}");
        let from_file = Given {
            no_secret: true,
            ..file(&toml)
        };
        assert_eq!(from_file.resolve().unwrap().jwt.secret, expected);
    }
    let two_newlines = file_with(format!("{SECRET}\n\n").as_bytes());
    let other = Given {
        no_secret: true,
        ..flag("jwt-secret-file", path_of(&two_newlines))
    };
    assert_ne!(other.resolve().unwrap().jwt.secret, expected);
}

#[test]
fn the_secret_follows_precedence_and_twice_is_an_error() {
    let other = file_with(b"another secret of 32 bytes, no less");
    let value = Given::default().resolve().unwrap().jwt.secret;
    let flag_wins = flag("jwt-secret-file", path_of(&other)).resolve().unwrap();
    assert_ne!(flag_wins.jwt.secret, value);
    let toml = format!("jwt-secret-file = {:?}", path_of(&other));
    assert_eq!(
        file(&toml).resolve().unwrap().jwt.secret,
        value,
        "the environment wins"
    );
    assert_says(
        &env("WS_JWT_SECRET_FILE", path_of(&other)).error(),
        &["WS_JWT_SECRET", "WS_JWT_SECRET_FILE", "both"],
    );
}

#[test]
fn no_message_repeats_a_secret() {
    let short = Given {
        no_secret: true,
        ..env("WS_JWT_SECRET", "canary")
    }
    .error();
    assert_says(&short, &["WS_JWT_SECRET", "32 bytes"]);
    let misplaced = Given {
        no_secret: true,
        ..env("WS_JWT_SECRET_FILE", "canary")
    }
    .error();
    assert_says(&misplaced, &["WS_JWT_SECRET_FILE", "cannot be read"]);
    let in_file = file_with(b"canary");
    let from_file = Given {
        no_secret: true,
        ..flag("jwt-secret-file", path_of(&in_file))
    }
    .error();
    for message in [short, misplaced, from_file] {
        assert!(!message.contains("canary"), "{message}");
    }
    let config = Given::default().resolve().unwrap();
    assert!(!format!("{config:?}").contains(&SECRET[..16]));
}

#[test]
fn a_key_file_that_is_no_key_is_blamed_on_its_setting() {
    let junk = file_with(b"junk");
    assert_says(
        &flag("jwt-public-key", path_of(&junk)).error(),
        &["jwt-public-key", path_of(&junk), "PEM"],
    );
    assert_says(
        &flag("jwks-file", path_of(&junk)).error(),
        &["jwks-file", "JWK set"],
    );
    assert_says(
        &flag("jwks-file", "/nonexistent").error(),
        &["jwks-file", "/nonexistent", "cannot be read"],
    );
}

#[test]
fn an_access_row_replaces_the_default_row_whole() {
    let config =
        file("[access]\norders = { admin = \"all\", customer = \"own\", public = \"none\" }")
            .resolve()
            .unwrap();
    let access = |role| config.access.get(role, Namespace::Orders);
    assert_eq!(access(Role::Admin), Access::All);
    assert_eq!(access(Role::Customer), Access::Own);
    assert_eq!(access(Role::Manager), Access::None, "left out");
    assert_eq!(
        config.access.get(Role::Public, Namespace::Products),
        Access::All,
        "another row"
    );
}

#[test]
fn a_wrong_access_row_is_refused() {
    assert_says(
        &file("[access]\norders = { admin = \"some\" }").error(),
        &["access.orders.admin", "\"all\""],
    );
    assert_says(
        &file("[access]\norders = { admin = true }").error(),
        &["access.orders.admin"],
    );
    assert_says(
        &file("[access]\norders = \"all\"").error(),
        &["access.orders", "table"],
    );
    assert_says(&file("access = 1").error(), &["access", "table"]);
    for role in ["guest", "public"] {
        let toml = format!("[access]\norders = {{ {role} = \"own\" }}");
        assert_says(&file(&toml).error(), &["access.orders", "own"]);
    }
}

#[test]
fn order_statuses_are_strings_that_are_not_empty() {
    let config = file("[orders]\nstatuses = [\"on_hold\", \"ü\"]")
        .resolve()
        .unwrap();
    assert_eq!(config.order_statuses, ["on_hold", "ü"]);
    let long = format!("[orders]\nstatuses = [\"{}\"]", "x".repeat(4097));
    for toml in [
        "[orders]\nstatuses = [\"\"]",
        "[orders]\nstatuses = \"a\"",
        "[orders]\nstatuses = [1]",
        &long,
    ] {
        assert_says(&file(toml).error(), &["orders.statuses", "1 to 4096 bytes"]);
    }
    assert_says(&file("orders = 1").error(), &["orders", "table"]);
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
