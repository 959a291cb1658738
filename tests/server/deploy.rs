//! The files of `deploy/` that no proxy reads: the unit, the sample of settings, the Dockerfile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::server::{binary, plain_command, text};
use crate::harness::tokens::SECRET;
use crate::harness::{Setup, wait_until};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A line of the unit, without its name.
fn value<'u>(unit: &'u str, name: &str) -> &'u str {
    let found = unit
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("the unit has no {name}"))
}

#[test]
fn the_unit_is_good_and_confined() {
    let analyze = |folder: &Path, args: &[&str]| -> Option<Output> {
        let mut command = Command::new("systemd-analyze");
        command.args(args).arg(folder.join("shopwire.service"));
        match command.output() {
            Ok(output) => Some(output),
            Err(_) => {
                eprintln!("skipped: there is no systemd-analyze here");
                None
            }
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let drop_ins = folder.path().join("shopwire.service.d");
    fs::create_dir(&drop_ins).unwrap();
    let put = |from: &str, to: PathBuf| {
        let text = read(from).replace("/usr/bin/shopwire", &binary());
        fs::write(to, text).unwrap();
    };
    put(
        "deploy/systemd/shopwire.service",
        folder.path().join("shopwire.service"),
    );
    let verify = ["verify", "--man=no"];
    let confined = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    for args in [&verify[..], &confined, &verify] {
        let Some(output) = analyze(folder.path(), args) else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {output:?}");
        assert!(args[0] != "verify" || said.is_empty(), "{said}");
        // The last time with what makes a reload a takeover.
        put(
            "deploy/systemd/takeover.conf",
            drop_ins.join("takeover.conf"),
        );
    }
}

/// What the unit starts takes its settings: from the sample, and the secret from where the unit puts it.
#[test]
fn the_unit_starts_a_server_with_the_sample_of_settings() {
    let unit = read("deploy/systemd/shopwire.service");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    fs::write(at("jwt-secret"), SECRET).unwrap();
    let sample = read("deploy/shopwire.toml");
    let journal = at("journal").display().to_string();
    assert!(sample.contains("/var/lib/shopwire/journal"), "{sample}");
    let sample = sample.replace("/var/lib/shopwire/journal", &journal);
    fs::write(at("shopwire.toml"), sample).unwrap();
    let start = value(&unit, "ExecStart").replace("/etc/shopwire", &at("").display().to_string());
    let (program, args) = start.split_once(" serve ").unwrap();
    assert_eq!(program, "/usr/bin/shopwire");
    let environment = value(&unit, "Environment").replace("%d", &at("").display().to_string());
    let (name, secret) = environment.split_once('=').unwrap();
    let credential = value(&unit, "LoadCredential").split(':').next().unwrap();
    assert!(secret.ends_with(&format!("/{credential}")), "{secret}");
    let output = plain_command()
        .arg("check")
        .args(args.split(' '))
        .env(name, secret)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The server warns, and doctor asks, for as many as the unit and the documents say.
#[test]
fn all_want_as_many_open_files() {
    let output = Setup::new(&["--max-connections=100"])
        .command("doctor")
        .output()
        .unwrap();
    let said = text(&output);
    let wanted = said.split("max-connections = 100 wants ").nth(1).unwrap();
    let wanted: u32 = wanted.split(',').next().unwrap().parse().unwrap();
    let beside = wanted - 100;
    let written = format!("{},{:03}", beside / 1000, beside % 1000);
    for path in ["deploy/systemd/shopwire.service", "docs/operations.md"] {
        assert!(
            read(path).contains(&written),
            "{path} does not say {written}"
        );
    }
    let server = Setup::new(&["--max-connections=100"])
        .open_files(512)
        .start();
    wait_until("it says how many it wants", || {
        server.stderr().contains(&format!("to at least {wanted}"))
    });
}

#[test]
fn the_container_is_built_by_the_version_of_rust_that_is_asked_for() {
    let wanted = read("Cargo.toml");
    let wanted = wanted
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .unwrap();
    let image = format!("FROM rust:{}-", wanted.trim_matches('"'));
    let dockerfile = read("deploy/docker/Dockerfile");
    assert!(dockerfile.contains(&image), "{image}");
}
