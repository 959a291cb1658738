//! What the tests of settings share: a configuration given in pieces, without the process's environment.

#![allow(clippy::unwrap_used)]

mod file;
mod keys;
mod renewal;
mod values;

use std::collections::HashMap;
use std::io::Write;

use tempfile::NamedTempFile;

use super::*;

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
