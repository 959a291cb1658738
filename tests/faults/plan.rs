//! How long a run takes, with how much, and its seed: from the environment, each of them with a default.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::universe::EMITTERS;

/// What a run is asked to be.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What people, events and faults are drawn from.
    pub seed: u64,
    /// How long there are faults.
    pub time: Duration,
    /// Events of each emitter, emitted evenly over that time; and more, where faults take longer.
    pub events_each: u64,
    pub clients: usize,
    /// Whether a running server is also replaced by `serve --takeover`.
    pub takeover: bool,
}

const SECONDS: u64 = 12;
const EVENTS: u64 = 20_000;
const CLIENTS: u64 = 200;

impl Plan {
    /// # Errors
    /// A sentence that names the variable, its value and what is allowed.
    pub fn from_environment() -> Result<Plan, String> {
        Plan::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Plan, String> {
        let number = |name: &str, default: u64, allowed: RangeInclusive<u64>| match variable(name) {
            Some(text) if !text.is_empty() => text
                .parse()
                .ok()
                .filter(|value| allowed.contains(value))
                .ok_or_else(|| {
                    let (least, most) = allowed.into_inner();
                    format!("{name} is {text:?}, but must be a whole number from {least} to {most}")
                }),
            _ => Ok(default),
        };
        Ok(Plan {
            seed: number("FAULTS_SEED", fastrand::u64(..), 0..=u64::MAX)?,
            time: Duration::from_secs(number("FAULTS_SECONDS", SECONDS, 5..=86_400)?),
            events_each: number("FAULTS_EVENTS", EVENTS, 1_000..=100_000_000)?
                .div_ceil(EMITTERS as u64),
            clients: number("FAULTS_CLIENTS", CLIENTS, 25..=2_000)? as usize,
            takeover: number("FAULTS_TAKEOVER", 1, 0..=1)? == 1,
        })
    }

    /// No emitter emits more, however long the faults take.
    pub fn events_most(&self) -> u64 {
        self.events_each * 5
    }

    /// How long a client's connection lives on average before the client itself breaks it.
    pub fn life(&self) -> Duration {
        (self.time / 8).clamp(Duration::from_secs(1), Duration::from_secs(8))
    }

    /// The longest pause between two faults of the server.
    pub fn pause(&self) -> Duration {
        (self.time / 20).clamp(Duration::from_millis(100), Duration::from_secs(3))
    }
}

impl fmt::Display for Plan {
    /// As it is asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "FAULTS_SEED={} FAULTS_SECONDS={} FAULTS_EVENTS={} FAULTS_CLIENTS={} FAULTS_TAKEOVER={}",
            self.seed,
            self.time.as_secs(),
            self.events_each * EMITTERS as u64,
            self.clients,
            u8::from(self.takeover),
        )
    }
}

#[test]
fn a_plan_reads_back_and_a_wrong_value_is_named() {
    let variables = |text: &'static str| {
        move |name: &str| {
            let found = text
                .split(' ')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.map(str::to_owned)
        }
    };
    let text =
        "FAULTS_SEED=7 FAULTS_SECONDS=60 FAULTS_EVENTS=3000 FAULTS_CLIENTS=50 FAULTS_TAKEOVER=1";
    assert_eq!(Plan::read(variables(text)).unwrap().to_string(), text);
    assert_eq!(
        Plan::read(variables("FAULTS_CLIENTS=")).unwrap().clients,
        CLIENTS as usize
    );
    let error = Plan::read(variables("FAULTS_CLIENTS=many")).unwrap_err();
    assert_eq!(
        error,
        "FAULTS_CLIENTS is \"many\", but must be a whole number from 25 to 2000"
    );
}
