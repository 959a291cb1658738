//! Which versions were measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::FOLDER;

/// shopwire's version, with the commit where that is known.
pub fn shopwire() -> String {
    let version = concat!("shopwire ", env!("CARGO_PKG_VERSION"));
    match said_by("git", &["describe", "--always", "--dirty"]) {
        Some(commit) => format!("{version} at commit {commit}"),
        None => version.to_string(),
    }
}

/// Names and versions of what the servers are built and run with, as far as they are there.
pub fn tools() -> Vec<String> {
    let peers = Path::new(FOLDER);
    let mut versions = Vec::new();
    versions.extend(said_by("rustc", &["--version"]));
    versions.extend(said_by("node", &["--version"]).map(|version| format!("Node {version}")));
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
    Some(text.trim().to_string()).filter(|text| output.status.success() && !text.is_empty())
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
    use super::*;

    #[test]
    fn a_lock_file_tells_versions() {
        let lock = "version = 4\n[[package]]\nname = \"axum\"\nversion = \"0.8.9\"\n";
        assert_eq!(locked(lock, "axum").as_deref(), Some("0.8.9"));
        assert_eq!(locked(lock, "tokio"), None);
    }
}
