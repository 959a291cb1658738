//! What a figure must be: `latency-p99-ms<10`.

use std::fmt;
use std::str::FromStr;

use super::figures::{self, Figures};

/// A bound on a figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// Whose words it puts into a number, if it is somebody's.
    promise: Option<&'static str>,
    key: String,
    is_upper: bool,
    bound: f64,
}

impl Expectation {
    /// The same, told as what it is a measure of.
    pub fn promised(self, words: &'static str) -> Self {
        Self {
            promise: Some(words),
            ..self
        }
    }

    /// What a reader is told: whether it holds, and in words.
    pub fn judge(&self, figures: &Figures) -> (bool, String) {
        match figures.get(&self.key) {
            Some(&value) => {
                let holds = if self.is_upper {
                    value < self.bound
                } else {
                    value > self.bound
                };
                (holds, format!("{self}: {}", super::number(value)))
            }
            None => (false, format!("{self}: this run has no such figure")),
        }
    }
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = text
            .find(['<', '>'])
            .ok_or("it is written like latency-p99-ms<10 or events-per-s>1000")?;
        let (key, bound) = (text[..at].trim(), text[at + 1..].trim());
        if figures::definition(key).is_none() {
            let keys: Vec<&str> = figures::ALL.iter().map(|figure| figure.key).collect();
            return Err(format!(
                "there is no figure `{key}`; the figures are {}",
                keys.join(", ")
            ));
        }
        let bound = bound
            .parse()
            .ok()
            .filter(|bound: &f64| bound.is_finite())
            .ok_or_else(|| format!("`{bound}` is no number"))?;
        Ok(Self {
            promise: None,
            key: key.to_string(),
            is_upper: text.as_bytes()[at] == b'<',
            bound,
        })
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_upper { '<' } else { '>' };
        match self.promise {
            Some(words) => write!(out, "{words}, that is {} {sign} {}", self.key, self.bound),
            None => write!(out, "{} {sign} {}", self.key, self.bound),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_bound_holds_or_does_not() {
        let figures = Figures::from([("latency-p99-ms".into(), 9.5)]);
        let judge = |text: &str| text.parse::<Expectation>().unwrap().judge(&figures).0;
        assert!(judge("latency-p99-ms<10"));
        assert!(!judge("latency-p99-ms < 9.5"));
        assert!(judge("latency-p99-ms>9"));
        assert!(!judge("lost<1"), "a figure that is not there");
    }

    #[test]
    fn what_is_no_bound_is_refused() {
        for bad in ["latency-p99-ms", "speed<1", "lost<x", "lost<inf", "<1"] {
            assert!(bad.parse::<Expectation>().is_err(), "{bad}");
        }
    }
}
