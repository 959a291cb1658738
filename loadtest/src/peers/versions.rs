//! Which versions were measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::SHOPWIRE;
use crate::server::launch;

/// shopwire's version, with the commit where its program is known to be built of that.
pub fn shopwire() -> String {
    let version = concat!("shopwire ", env!("CARGO_PKG_VERSION"));
    let (command, _) = launch::command(SHOPWIRE);
    match commit(Path::new(command.get_program())) {
        Some(commit) => format!("{version} at commit {commit}"),
        None => version.to_string(),
    }
}

/// The commit that `program` was built of: none where one of its sources is newer than it, or is not
/// as it was committed.
fn commit(program: &Path) -> Option<String> {
    let changed = |path: &Path| fs::metadata(path).ok()?.modified().ok();
    // Cargo lists a program's sources in a file beside it, which begins with the program.
    let listed = fs::read_to_string(program.with_extension("d")).ok()?;
    let mut sources: Vec<&str> = listed.split_whitespace().skip(1).collect();
    // What it does not list decides, too.
    sources.extend([
        concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"),
        concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"),
    ]);
    let built = changed(program)?;
    for source in &sources {
        if changed(Path::new(source))? > built {
            return None;
        }
    }
    let mut status = vec!["status", "--porcelain", "--"];
    status.extend(sources);
    let is_as_committed = git(&status)?.is_empty();
    is_as_committed.then(|| git(&["rev-parse", "--short", "HEAD"]))?
}

/// What git says of the folder that the sources are in.
fn git(words: &[&str]) -> Option<String> {
    said_by(
        "git",
        &[&["-C", env!("CARGO_MANIFEST_DIR")], words].concat(),
    )
}

/// Names and versions of what the servers are built and run with, as far as they are there.
pub fn tools() -> Vec<String> {
    let peers = Path::new(launch::PEERS);
    let mut versions = Vec::new();
    let version_of = |program| said_by(program, &["--version"]).filter(|said| !said.is_empty());
    versions.extend(version_of("rustc"));
    versions.extend(version_of("node").map(|version| format!("Node {version}")));
    for package in ["bun", "ws", "socket.io"] {
        let path = peers
            .join("node_modules")
            .join(package)
            .join("package.json");
        versions.extend(npm_version(&path).map(|version| format!("{package} {version}")));
    }
    let lock = fs::read_to_string(peers.join("axum/Cargo.lock")).unwrap_or_default();
    for package in ["axum", "tokio"] {
        versions.extend(locked(&lock, package).map(|version| format!("{package} {version}")));
    }
    versions
}

fn said_by(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

fn npm_version(path: &Path) -> Option<String> {
    let package: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    Some(package["version"].as_str()?.to_string())
}

/// The version of `package` in the text of a Cargo.lock.
fn locked(lock: &str, package: &str) -> Option<String> {
    let lock: toml::Table = lock.parse().ok()?;
    let packages = lock.get("package")?.as_array()?;
    let found = packages
        .iter()
        .find(|found| found.get("name").and_then(toml::Value::as_str) == Some(package))?;
    Some(found.get("version")?.as_str()?.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::SystemTime;
    use tempfile::TempDir;

    #[test]
    fn a_program_whose_sources_are_not_all_known_is_of_no_commit() {
        let folder = TempDir::new().unwrap();
        let program = folder.path().join("shopwire");
        fs::write(&program, "").unwrap();
        assert_eq!(commit(&program), None, "no list of sources");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/main.rs");
        let list = |source: &str| {
            let text = format!("{}: {source}\n", program.display());
            fs::write(program.with_extension("d"), text).unwrap();
        };
        list("/nowhere/main.rs");
        assert_eq!(commit(&program), None, "a source that is gone");
        list(source);
        let file = fs::File::open(&program).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(commit(&program), None, "built before its source");
    }

    #[test]
    fn a_lock_file_tells_versions() {
        let lock = "version = 4\n[[package]]\nname = \"axum\"\nversion = \"0.8.9\"\n";
        assert_eq!(locked(lock, "axum").as_deref(), Some("0.8.9"));
        assert_eq!(locked(lock, "tokio"), None);
    }
}
