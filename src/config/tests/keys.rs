//! `--dev`, secrets and key files.

use super::*;

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
    let pem = file_with(include_bytes!("../../auth/fixtures/ed.pub.pem"));
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
