//! What a scrape says, read line by line; and Prometheus' own tool to judge it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::Server;

/// One scrape.
pub struct Scrape {
    pub text: String,
    /// By family: its type and its help.
    pub families: BTreeMap<String, (String, String)>,
    pub samples: Vec<Sample>,
}

pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Scrape {
    pub fn of(server: &Server) -> Scrape {
        let response = server.get("/metrics");
        assert_eq!(response.status, 200);
        assert_eq!(
            response.header("Content-Type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        Scrape::read(String::from_utf8(response.body).unwrap())
    }

    pub fn read(text: String) -> Scrape {
        let mut families = BTreeMap::new();
        let mut samples = Vec::new();
        let mut help = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                help = rest.split_once(' ').unwrap().1.to_owned();
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                let family = (kind.to_owned(), std::mem::take(&mut help));
                let before = families.insert(name.to_owned(), family);
                assert!(before.is_none(), "{name} is there twice");
            } else {
                samples.push(Sample::read(line));
            }
        }
        Scrape {
            text,
            families,
            samples,
        }
    }

    /// The sum of the samples of this name that have all of these labels, `name=value,…`.
    pub fn get(&self, name: &str, labels: &str) -> f64 {
        let wanted: Vec<(&str, &str)> = labels
            .split(',')
            .filter(|label| !label.is_empty())
            .map(|label| label.split_once('=').unwrap())
            .collect();
        let is_meant = |sample: &&Sample| {
            sample.name == name
                && wanted
                    .iter()
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|is| is == value))
        };
        let found: Vec<f64> = self
            .samples
            .iter()
            .filter(is_meant)
            .map(|sample| sample.value)
            .collect();
        assert!(!found.is_empty(), "no {name}{{{labels}}} in\n{}", self.text);
        found.iter().sum()
    }

    pub fn names(&self) -> BTreeSet<&str> {
        self.samples
            .iter()
            .map(|sample| sample.name.as_str())
            .collect()
    }
}

impl Sample {
    pub fn read(line: &str) -> Sample {
        let (head, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = head.split_once('{').unwrap_or((head, "}"));
        let labels = labels.strip_suffix('}').unwrap();
        // No label's value here has a comma or a quote in it.
        let labels = labels
            .split(',')
            .filter(|label| !label.is_empty())
            .map(|label| {
                let (name, value) = label.split_once('=').unwrap();
                (name.to_owned(), value.trim_matches('"').to_owned())
            })
            .collect();
        Sample {
            name: name.to_owned(),
            labels,
            value: value
                .parse()
                .unwrap_or_else(|error| panic!("{error}: {line}")),
        }
    }
}

/// Has promtool judge this text. `make test` names one in PROMTOOL.
pub fn assert_promtool(args: &[&str], text: &str) {
    let named = std::env::var_os("PROMTOOL");
    let spawned = Command::new(named.as_deref().unwrap_or(OsStr::new("promtool")))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
            eprintln!("not run: there is no promtool");
            return;
        }
        Err(error) => panic!("promtool: {error}"),
    };
    // It may not want all of it.
    child.stdin.take().unwrap().write_all(text.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "promtool {args:?}: {said}");
}
