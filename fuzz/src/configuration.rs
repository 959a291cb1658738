//! A configuration file and an environment: a configuration that keeps the contract's bounds, or one
//! sentence that gives no secret away.

use std::path::Path;
use std::time::Duration;

use shopwire::access::{Access, Namespace, Role};
use shopwire::config::{Config, ConfigError, File, Flags, settings};

/// What stands between the file and the environment, of which each line is `NAME=value`.
const BETWEEN: &str = "\n===\n";

const SECRET: &str = "kanarienvogel-kanarienvogel-0123";

/// Settings that name files which are read at once: only such that are not there are named here.
const KEY_FILES: [&str; 3] = ["jwt-secret-file", "jwt-public-key", "jwks-file"];

pub fn holds(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (file, environment) = text.split_once(BETWEEN).unwrap_or((text, ""));
    let environment: Vec<(&str, &str)> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let env = |name: &str| match name {
        "WS_JWT_SECRET" => Some(SECRET.to_owned()),
        _ => {
            let given = environment.iter().rev().find(|(own, _)| *own == name);
            given.map(|(_, value)| (*value).to_owned())
        }
    };
    if names_a_file(file, &environment) {
        return;
    }
    let resolved = File::parse(Path::new("shop.toml"), file)
        .and_then(|file| Config::resolve(&Flags::default(), &env, Some(&file)));
    match resolved {
        Ok(config) => {
            check(&config);
            assert!(!format!("{config:?}").contains(SECRET));
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(!sentence.contains(SECRET) && !sentence.is_empty());
            assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
            check_place(&error, &environment);
        }
    }
}

/// The fuzzer is not to read `/dev/zero`.
fn names_a_file(file: &str, environment: &[(&str, &str)]) -> bool {
    let is_key_file = |name: &str| {
        let setting = settings::ALL.iter().find(|setting| setting.env == name);
        setting.is_some_and(|setting| KEY_FILES.contains(&setting.name))
    };
    let table = file.parse::<toml::Table>().unwrap_or_default();
    KEY_FILES.iter().any(|name| table.contains_key(*name))
        || environment.iter().any(|(name, _)| is_key_file(name))
}

/// The contract's table of settings.
fn check(config: &Config) {
    let seconds = Duration::from_secs;
    assert!(!config.dev && !config.jwt.is_empty());
    assert!((1..=1024).contains(&config.workers));
    assert!(config.max_connections >= 1 && config.reserved_share <= 90);
    assert!((256..=64 << 20).contains(&config.max_message));
    assert!(config.outbox_limit >= 1024 && config.outbox_budget >= config.outbox_limit);
    for (time, longest) in [
        (config.ping_interval, seconds(3600)),
        (config.pong_timeout, seconds(3600)),
        (config.drain_timeout, seconds(3600)),
        (config.jwt.leeway, seconds(3600)),
        (config.history_age, seconds(7 * 24 * 3600)),
        (config.gather, Duration::from_millis(100)),
    ] {
        assert!(time <= longest, "{time:?} is over {longest:?}");
    }
    assert!(config.ping_interval >= Duration::from_millis(100));
    let keeps_history = config.history > 0 && !config.history_age.is_zero();
    assert!(config.journal.is_none() || keeps_history);
    assert!(
        config
            .allowed_origins
            .as_ref()
            .is_none_or(|rules| !rules.is_empty())
    );
    for namespace in Namespace::ALL {
        for role in [Role::Guest, Role::Public] {
            assert_ne!(config.access.get(role, namespace), Access::Own);
        }
    }
}

/// Who is to blame is somebody who has said something.
fn check_place(error: &ConfigError, environment: &[(&str, &str)]) {
    let ConfigError::Value {
        setting, source, ..
    } = error
    else {
        return;
    };
    let source = source.to_string();
    let is_given = source == "shop.toml" || environment.iter().any(|(name, _)| *name == source);
    assert!(is_given, "{setting} is blamed on {source}");
}
