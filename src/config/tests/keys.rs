//! `--dev`, secrets and key files.

use super::*;
use crate::auth::SecretsFrom;

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
        config.jwt.secrets, again.jwt.secrets,
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
        own.jwt.secrets,
        Given::default().resolve().unwrap().jwt.secrets
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
    assert!(config.jwt.secrets.is_empty() && config.jwt.public_keys.len() == 1);
}

#[test]
fn a_secret_comes_from_one_place_and_loses_one_newline() {
    let expected = Given::default().resolve().unwrap().jwt.secrets;
    for end in ["", "\n", "\r\n"] {
        let secret = file_with(format!("{SECRET}{end}").as_bytes());
        let path = path_of(&secret);
        let from_flag = Given {
            no_secret: true,
            ..flag("jwt-secret-file", path)
        };
        assert_eq!(
            from_flag.resolve().unwrap().jwt.secrets,
            expected,
            "{end:?}"
        );
        let from_env = Given {
            no_secret: true,
            ..env("WS_JWT_SECRET_FILE", path)
        };
        assert_eq!(from_env.resolve().unwrap().jwt.secrets, expected);
        let toml = format!("jwt-secret-file = {path:?}");
        let from_file = Given {
            no_secret: true,
            ..file(&toml)
        };
        assert_eq!(from_file.resolve().unwrap().jwt.secrets, expected);
    }
    let two_newlines = file_with(format!("{SECRET}\n\n").as_bytes());
    let other = Given {
        no_secret: true,
        ..flag("jwt-secret-file", path_of(&two_newlines))
    };
    assert_ne!(other.resolve().unwrap().jwt.secrets, expected);
}

#[test]
fn whose_secret_every_user_may_read_is_warned() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let [open, closed] = [("open", 0o644), ("closed", 0o640)].map(|(name, mode)| {
        let path = folder.path().join(name);
        std::fs::write(&path, SECRET).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let given = Given {
        no_secret: true,
        flags: vec![("jwt-secret-file", &open), ("jwt-secret-file", &closed)],
        ..Given::default()
    };
    let warnings = given.resolve().unwrap().warnings(0);
    let told = |path: &str| warnings.iter().any(|warning| warning.contains(path));
    assert!(told(&open) && !told(&closed), "{warnings:?}");
}

#[test]
fn several_secrets_are_valid_at_once_wherever_they_are_named() {
    let old = file_with(SECRET.as_bytes());
    let new = file_with(b"the next secret of 32 bytes, no less");
    let (old, new) = (path_of(&old), path_of(&new));
    let bare = |given: Given<'_>| {
        Given {
            no_secret: true,
            ..given
        }
        .resolve()
        .unwrap()
        .jwt
    };
    let by_flags = bare(Given {
        flags: vec![("jwt-secret-file", new), ("jwt-secret-file", old)],
        ..Given::default()
    });
    assert_eq!(by_flags.secrets.len(), 2);
    assert_eq!(by_flags.secrets_from, SecretsFrom::Files);
    assert_eq!(
        by_flags.secrets[1..],
        Given::default().resolve().unwrap().jwt.secrets
    );
    let both = format!("{new}, {old}");
    assert_eq!(bare(env("WS_JWT_SECRET_FILE", &both)), by_flags);
    let array = format!("jwt-secret-file = [{new:?}, {old:?}]");
    assert_eq!(bare(file(&array)), by_flags);

    let own = Given::default().resolve().unwrap().jwt;
    assert_eq!(own.secrets_from, SecretsFrom::Environment);
    for toml in ["jwt-secret-file = []", "jwt-public-key = []"] {
        let given = Given {
            no_secret: true,
            ..file(toml)
        };
        assert_says(&given.error(), &["the list is empty"]);
    }
    assert_says(
        &file("jwt-secret-file = 7").error(),
        &["jwt-secret-file", "a string, or an array of strings"],
    );
}

#[test]
fn public_keys_may_share_a_file_and_are_few() {
    let pem = include_bytes!("../../auth/fixtures/ed.pub.pem");
    let (one, other) = (file_with(&pem.repeat(2)), file_with(pem));
    let given = Given {
        flags: vec![
            ("jwt-public-key", path_of(&one)),
            ("jwt-public-key", path_of(&other)),
        ],
        ..Given::default()
    };
    let jwt = given.resolve().unwrap().jwt;
    assert_eq!(jwt.public_keys.len(), 2);
    let many = file_with(&pem.repeat(17));
    assert_says(
        &flag("jwt-public-key", path_of(&many)).error(),
        &["jwt-public-key", "17 keys", "at most 16"],
    );
    let broken = file_with(&[&pem[..], b"-----BEGIN PUBLIC KEY-----\n"].concat());
    assert_says(
        &flag("jwt-public-key", path_of(&broken)).error(),
        &["jwt-public-key", path_of(&broken), "block 2 has no end"],
    );
}

#[test]
fn the_secret_follows_precedence_and_twice_is_an_error() {
    let other = file_with(b"another secret of 32 bytes, no less");
    let value = Given::default().resolve().unwrap().jwt.secrets;
    let flag_wins = flag("jwt-secret-file", path_of(&other)).resolve().unwrap();
    assert_ne!(flag_wins.jwt.secrets, value);
    let toml = format!("jwt-secret-file = {:?}", path_of(&other));
    assert_eq!(
        file(&toml).resolve().unwrap().jwt.secrets,
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
