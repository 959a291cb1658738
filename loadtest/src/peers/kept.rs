//! Reports that are kept, so that a comparison that was cut off goes on where it was.
//!
//! A report stands for a new measurement only if that would be made the same way: by the same words,
//! with the same programs, of the same versions, on the same kernel. Its file is a report like any other with one field
//! more, so `loadtest compare` reads it.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cases::Words;
use crate::report::Report;
use crate::report::machine::Machine;
use crate::server::launch;

/// How a report was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The load test's words and the server's.
    words: Vec<String>,
    /// A hash of each file that took part: this program and what the server is made of.
    files: BTreeMap<PathBuf, u64>,
    /// What these were built and run with.
    tools: Vec<String>,
    /// The kernel's release, and TCP's congestion control: most of what is measured is theirs.
    kernel: [String; 2],
}

#[derive(Deserialize)]
struct Kept {
    made: Made,
}

#[derive(Serialize)]
struct Keeping<'a> {
    #[serde(flatten)]
    report: &'a Report,
    made: &'a Made,
}

impl Made {
    /// How a report by these words would be made of `server` now.
    ///
    /// # Errors
    /// Where a program is not there, with what builds it.
    pub fn now(words: &Words, server: &str, tools: &[String]) -> Result<Self, String> {
        let program = std::env::current_exe()
            .map_err(|error| format!("cannot tell where this program is: {error}"))?;
        let mut paths = launch::files(server)
            .map_err(|error| format!("cannot read what {server} is made of: {error}"))?;
        paths.push(program);
        let (_, remedy) = launch::command(server);
        let mut files = BTreeMap::new();
        for path in paths {
            let hash =
                hash(&path).map_err(|error| format!("{}: {error}; {remedy}", path.display()))?;
            files.insert(path, hash);
        }
        let mut all = words.own.clone();
        all.extend(words.server.iter().map(ToString::to_string));
        let machine = Machine::this();
        Ok(Self {
            words: all,
            files,
            tools: tools.to_vec(),
            kernel: [machine.kernel, machine.congestion_control],
        })
    }
}

/// The report in `path`, if it was made as `made` says.
pub fn read(path: &Path, made: &Made) -> Option<Report> {
    let kept: Kept = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    (kept.made == *made).then(|| Report::read(path).ok())?
}

/// Keeps a report that was made as `made` says.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(path: &Path, report: &Report, made: &Made) -> Result<(), String> {
    let text = serde_json::to_string_pretty(&Keeping { report, made })
        .map_err(|error| format!("cannot make JSON of the report: {error}"))?;
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Tells a file from one with other content.
fn hash(path: &Path) -> std::io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    hasher.write(&fs::read(path)?);
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::tests::report;
    use tempfile::TempDir;

    fn made(seconds: &str, hash: u64) -> Made {
        Made {
            words: vec!["fanout".into(), format!("--seconds={seconds}")],
            files: BTreeMap::from([("shopwire".into(), hash)]),
            tools: vec!["rustc 1".into()],
            kernel: ["6.1", "cubic"].map(String::from),
        }
    }

    #[test]
    fn a_report_is_taken_again_only_if_it_was_made_the_same_way() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("a.json");
        let mut kept = report();
        kept.figures.insert("cpu-us-per-delivery".into(), 6.5);
        assert!(read(&path, &made("3", 1)).is_none(), "there is none");
        write(&path, &kept, &made("3", 1)).unwrap();
        let again = read(&path, &made("3", 1)).unwrap();
        assert_eq!(again.figures, kept.figures);
        assert!(read(&path, &made("3.5", 1)).is_none(), "another time");
        assert!(read(&path, &made("3", 2)).is_none(), "another program");
        let other_tools = Made {
            tools: vec!["rustc 2".into()],
            ..made("3", 1)
        };
        assert!(read(&path, &other_tools).is_none());
        let other_kernel = Made {
            kernel: ["6.1", "bbr"].map(String::from),
            ..made("3", 1)
        };
        assert!(read(&path, &other_kernel).is_none());
        assert!(Report::read(&path).is_ok(), "`compare` reads it");
        kept.write(&path).unwrap();
        assert!(read(&path, &made("3", 1)).is_none(), "nobody knows how");
    }

    #[test]
    fn other_server_arguments_and_other_content_are_another_way() {
        let folder = TempDir::new().unwrap();
        let program = folder.path().join("server");
        fs::write(&program, "one").unwrap();
        let server = program.to_str().unwrap();
        let mut words = Words {
            own: vec!["fanout".into()],
            server: &[],
        };
        let first = Made::now(&words, server, &[]).unwrap();
        assert_eq!(Made::now(&words, server, &[]).unwrap(), first);
        words.server = &["--gather", "5ms"];
        assert_ne!(Made::now(&words, server, &[]).unwrap(), first);
        words.server = &[];
        fs::write(&program, "two").unwrap();
        assert_ne!(Made::now(&words, server, &[]).unwrap(), first);
        fs::remove_file(&program).unwrap();
        let message = Made::now(&words, server, &[]).unwrap_err();
        assert!(message.contains(server), "{message}");
    }
}
