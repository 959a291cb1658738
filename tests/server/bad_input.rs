//! Wrong settings: exit 2, and a sentence that names the setting and says what is allowed. `check` says the same as `serve`.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use crate::harness::Setup;
use crate::harness::server::plain_command;
use crate::harness::tokens::SECRET;

fn run(setup: &Setup, subcommand: &str) -> (Option<i32>, String) {
    let mut child = setup
        .command(subcommand)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(5) {
            child.kill().unwrap();
            panic!("{subcommand} started though its settings are wrong");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    assert!(
        stdout.is_empty(),
        "nothing on stdout: {}",
        String::from_utf8_lossy(&stdout)
    );
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[track_caller]
fn wrong(setup: Setup, mentions: &[&str]) {
    let (code, text) = run(&setup, "serve");
    assert_eq!(code, Some(2), "{mentions:?}: {text}");
    for mention in mentions {
        assert!(text.contains(mention), "{mention:?} should be in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert!(!text.contains(SECRET), "a secret is never shown: {text}");
    let (code, of_check) = run(&setup, "check");
    assert_eq!(code, Some(2), "check: {of_check}");
    assert_eq!(of_check, text, "check says what serve says");
}

#[test]
fn wrong_flags_are_named_with_their_value() {
    for (flag, value) in [
        ("--host", "nowhere.example."),
        ("--port", "65536"),
        ("--port", "http"),
        ("--port", "-1"),
        ("--user", "nobody-of-this-name"),
        ("--workers", "0"),
        ("--workers", "many"),
        ("--allowed-origins", "shop.example"),
        ("--allowed-origins", "https://shop.example/path"),
        ("--allowed-origins", "https://*.*.example"),
        ("--allowed-origins", "ftp://shop.example"),
        ("--jwt-leeway", "soon"),
        ("--max-connections", "0"),
        ("--reserved-share", "91"),
        ("--reserved-share", "10%"),
        ("--ping-interval", "0"),
        ("--ping-interval", "5 parsecs"),
        ("--pong-timeout", "0"),
        ("--message-rate", "-1"),
        ("--message-rate", "1.5"),
        ("--connect-rate", "x"),
        ("--max-message", "0"),
        ("--max-message", "12parsecs"),
        ("--max-message", "1MiBB"),
        ("--outbox-limit", "big"),
        ("--outbox-budget", "1MiB-1"),
        ("--outbox-budget", "1048575"),
        ("--history", "64 million"),
        ("--history-age", "169h"),
        ("--gather", "101ms"),
        ("--trusted-proxies", "10.0.0.0/33"),
        ("--trusted-proxies", "proxy.example"),
        ("--forwarded-header", "x-real-ip"),
        ("--drain-timeout", "x"),
        ("--canary", "61m"),
        ("--log-format", "xml"),
        ("--log-figures", "25h"),
    ] {
        let name = flag.trim_start_matches("--");
        let joined = format!("{flag}={value}");
        wrong(Setup::new(&[&joined]).without(flag), &[name, value]);
    }
}

#[test]
fn wrong_environment_values_are_named() {
    for (name, flag, value) in [
        ("WS_PORT", "--port", "99999"),
        ("WS_WORKERS", "--workers", "none"),
        ("WS_CONNECT_RATE", "--connect-rate", "fast"),
        ("WS_REQUIRE_AUTH", "--require-auth", "perhaps"),
        ("ALLOWED_ORIGINS", "--allowed-origins", "nonsense"),
        ("WS_PING_INTERVAL", "--ping-interval", "never"),
    ] {
        wrong(
            Setup::new(&[]).without(flag).env(name, value),
            &[name, value],
        );
    }
}

#[test]
fn wrong_file_keys_and_values_are_named() {
    for (toml, mentions) in [
        ("porte = 1", vec!["porte"]),
        ("workers = 0", vec!["workers", "0"]),
        ("workers = \"x\"", vec!["workers", "x"]),
        ("max-message = []", vec!["max-message"]),
        ("max_message = 5", vec!["max_message"]),
        ("workers = ", vec!["shopwire.toml"]),
        ("[access]\nshelves = { admin = \"all\" }", vec!["shelves"]),
        ("[access]\norders = { king = \"all\" }", vec!["king"]),
        ("[access]\norders = { admin = \"some\" }", vec!["some"]),
        (
            "[access]\norders = { guest = \"own\" }",
            vec!["guest", "own"],
        ),
        (
            "[access]\norders = { public = \"own\" }",
            vec!["public", "own"],
        ),
        ("[access]\norders = \"all\"", vec!["orders"]),
        ("[orders]\nstatuses = \"on_hold\"", vec!["statuses"]),
        ("[orders]\nstatuses = [7]", vec!["statuses"]),
        ("[orders]\nstatuses = [\"\"]", vec!["statuses"]),
        ("[orders]\nstates = [\"on_hold\"]", vec!["states"]),
        ("emitters = 1", vec!["emitters"]),
        (
            "[emitters]\nnobody-of-this-name = {}",
            vec!["nobody-of-this-name", "no such user"],
        ),
        ("[emitters]\n7 = 1", vec!["emitters.7", "table"]),
        (
            "[emitters]\n7 = { namespace = \"all\" }",
            vec!["emitters.7.namespace", "namespaces"],
        ),
        (
            "[emitters]\n7 = { namespaces = \"orders\" }",
            vec!["emitters.7.namespaces", "all"],
        ),
        (
            "[emitters]\n7 = { namespaces = [\"order\"] }",
            vec!["emitters.7.namespaces.order", "orders"],
        ),
        (
            "[emitters]\n7 = { commands = [\"drop\"] }",
            vec!["emitters.7.commands.drop"],
        ),
        (
            "[emitters]\nroot = {}\n0 = {}",
            vec!["emitters", "another row"],
        ),
        ("[shelf]\nx = 1", vec!["shelf"]),
    ] {
        wrong(Setup::new(&[]).without("--workers").file(toml), &mentions);
    }
    wrong(
        Setup::new(&["--config", "/nonexistent/shopwire.toml"]),
        &["/nonexistent/shopwire.toml"],
    );
}

#[test]
fn keys_are_checked_and_never_shown() {
    let without_key = || Setup::new(&[]).without("--jwt-secret-file");
    wrong(without_key(), &["jwt-secret-file"]);
    wrong(
        without_key().env("WS_JWT_SECRET", "too-short-secret-0123456789"),
        &["WS_JWT_SECRET", "32"],
    );
    let (_, text) = run(
        &without_key().env("WS_JWT_SECRET", "too-short-secret-0123456789"),
        "serve",
    );
    assert!(!text.contains("too-short-secret"), "{text}");
    wrong(
        Setup::new(&["--jwt-secret-file", "/nonexistent/secret"]),
        &["/nonexistent/secret"],
    );
    let setup = without_key();
    let file = setup.dir().join("the-file");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let both = setup
        .env("WS_JWT_SECRET", SECRET)
        .env("WS_JWT_SECRET_FILE", file.to_str().unwrap());
    wrong(both, &["WS_JWT_SECRET", "WS_JWT_SECRET_FILE"]);
    // 31 bytes and the newline that is cut.
    let setup = Setup::new(&[]).without("--jwt-secret-file");
    let file = setup.dir().join("short");
    std::fs::write(&file, format!("{}\n", &SECRET_OF_32[..31])).unwrap();
    let path = file.display().to_string();
    wrong(setup.env("WS_JWT_SECRET_FILE", &path), &["32"]);
    let setup = Setup::new(&[]).without("--jwt-secret-file");
    let file = setup.dir().join("zeros");
    std::fs::write(&file, [0; 64]).unwrap();
    let path = file.display().to_string();
    let zeros = setup.env("WS_JWT_SECRET_FILE", &path);
    wrong(zeros, &["8 different", "/dev/urandom"]);
    let setup = Setup::new(&[]);
    let file = setup.dir().join("no.pem");
    std::fs::write(&file, "not a key").unwrap();
    let path = file.display().to_string();
    wrong(
        Setup::new(&["--jwt-public-key", &path]),
        &["jwt-public-key"],
    );
    std::fs::write(&file, "{}").unwrap();
    wrong(Setup::new(&["--jwks-file", &path]), &["jwks-file"]);
}

const SECRET_OF_32: &str = "a secret of 32 bytes and no more";

#[test]
fn a_secret_of_32_bytes_with_a_newline_is_enough() {
    let setup = Setup::new(&[]).without("--jwt-secret-file");
    let file = setup.dir().join("exact");
    std::fs::write(&file, format!("{}\n", SECRET_OF_32)).unwrap();
    let path = file.display().to_string();
    let output = setup
        .env("WS_JWT_SECRET_FILE", &path)
        .command("check")
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "ok");
}

#[test]
fn unknown_usage_is_2() {
    for args in [
        vec![],
        vec!["dance"],
        vec!["serve", "--colour", "red"],
        vec!["serve", "--port"],
        vec!["emit", "--data"],
        vec!["ctl"],
        vec!["ctl", "dance"],
    ] {
        let output = plain_command()
            .args(&args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{args:?}"
        );
    }
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let workers = |setup: Setup| setup.start().field("workers");
    assert_eq!(
        workers(Setup::new(&[]).without("--workers").file("workers = 3")),
        "3"
    );
    assert_eq!(
        workers(
            Setup::new(&[])
                .without("--workers")
                .file("workers = 3")
                .env("WS_WORKERS", "4")
        ),
        "4"
    );
    assert_eq!(
        workers(
            Setup::new(&["--workers", "5"])
                .file("workers = 3")
                .env("WS_WORKERS", "4")
        ),
        "5"
    );
    let cores = std::thread::available_parallelism().unwrap().to_string();
    assert_eq!(workers(Setup::new(&[]).without("--workers")), cores);
}

#[test]
fn durations_and_sizes_may_have_units_everywhere() {
    let server = Setup::new(&["--ping-interval", "45s"])
        .without("--pong-timeout")
        .file("max-message = \"64KiB\"\nallowed-origins = [\"https://a.example\", \"https://b.example\"]\n").env("WS_PONG_TIMEOUT", "2500").start();
    assert_eq!(server.public().welcome["data"]["pingInterval"], 45_000);
    assert_eq!(
        server.get("/api/ws/info").json()["features"]["limits"]["maxMessage"],
        65_536
    );
    for origin in ["https://a.example", "https://b.example"] {
        assert!(
            crate::harness::Client::try_connect(
                server.address,
                crate::harness::Opening::new().origin(origin)
            )
            .is_ok()
        );
    }
}
