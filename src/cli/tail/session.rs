//! What `tail` says and prints on one connection: messages in, steps out.
//!
//! Owns the choice of namespaces, the place to go on from, and the dropping of repeats. Pure: the
//! connection is [`super`]'s.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::access::Namespace;
use crate::cli::terminal;

/// How many ids are remembered to drop repeats.
const RECENT_MAX: usize = 10_000;

/// What the user wants to see.
pub(super) struct Wanted {
    /// `None`: all that the token may see.
    namespaces: Option<Vec<Namespace>>,
    events: Vec<String>,
    json: bool,
}

impl Wanted {
    pub(super) fn new(
        namespaces: Option<Vec<Namespace>>,
        events: Vec<String>,
        has_token: bool,
        json: bool,
    ) -> Wanted {
        let namespaces = match namespaces {
            Some(namespaces) => Some(namespaces),
            // Types name their namespaces themselves.
            None if !events.is_empty() => Some(
                Namespace::ALL
                    .into_iter()
                    .filter(|one| events.iter().any(|event| namespace_of(event) == Some(*one)))
                    .collect(),
            ),
            None if !has_token => Some(vec![Namespace::Products]),
            None => None,
        };
        Wanted {
            namespaces,
            events,
            json,
        }
    }
}

/// What is kept from one connection to the next.
pub(super) struct Progress {
    since: Option<String>,
    /// The namespaces that the server was found to allow, once that has been asked.
    allowed: Option<Vec<String>>,
    recent: VecDeque<String>,
    recent_set: HashSet<String>,
    subscribed: bool,
}

impl Progress {
    pub(super) fn new(since: Option<String>) -> Progress {
        Progress {
            since,
            allowed: None,
            recent: VecDeque::new(),
            recent_set: HashSet::new(),
            subscribed: false,
        }
    }

    /// Whether a subscription has been made since the last call.
    pub(super) fn take_subscribed(&mut self) -> bool {
        std::mem::take(&mut self.subscribed)
    }

    /// False if `id` was seen before.
    fn is_new(&mut self, id: &str) -> bool {
        if !self.recent_set.insert(id.to_owned()) {
            return false;
        }
        self.recent.push_back(id.to_owned());
        if self.recent.len() > RECENT_MAX
            && let Some(oldest) = self.recent.pop_front()
        {
            self.recent_set.remove(&oldest);
        }
        true
    }
}

/// What the connection is to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Send this message.
    Send(String),
    /// Print this line.
    Print(String),
    /// Tell the user, aside.
    Note(String),
    /// So long a silence means that the server is gone.
    Quiet(Duration),
    /// When this connection ends, wait so long before the next.
    ComeBack(Duration),
    /// End this connection and try again.
    Retry {
        after: Option<Duration>,
        why: String,
    },
    /// End for good.
    Refused(String),
}

/// One connection's conversation.
pub(super) struct Session<'a> {
    wanted: &'a Wanted,
    progress: &'a mut Progress,
    state: State,
}

enum State {
    Welcome,
    /// Each namespace is asked for alone, since one forbidden name refuses a whole message.
    Probing {
        answers_left: usize,
        allowed: Vec<String>,
    },
    /// The subscription that counts is asked for; what comes before its answer belongs to the probes.
    Subscribing,
    Live,
}

impl<'a> Session<'a> {
    pub(super) fn new(wanted: &'a Wanted, progress: &'a mut Progress) -> Session<'a> {
        Session {
            wanted,
            progress,
            state: State::Welcome,
        }
    }

    /// What a message from the server asks for.
    pub(super) fn on_message(&mut self, text: &str) -> Vec<Step> {
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            return vec![Step::Note(
                "the server sent something that is not JSON".into(),
            )];
        };
        let data = &message["data"];
        match message["type"].as_str().unwrap_or_default() {
            _ if message["id"].is_string() => self.on_event(text, &message),
            "welcome" => self.on_welcome(data),
            "subscribed" => self.on_subscribed(data),
            "error" => self.on_error(data),
            "reconnect" => vec![Step::ComeBack(ms(&data["after"]).unwrap_or_default())],
            "token:expiring" => vec![Step::Note("the token is about to end".into())],
            "unsubscribed" => {
                let still = names(&data["namespaces"]).join(", ");
                vec![Step::Note(format!("the subscription is now: {still}"))]
            }
            _ => Vec::new(),
        }
    }

    fn on_welcome(&mut self, data: &Value) -> Vec<Step> {
        let mut steps = Vec::new();
        if let Some(interval) = ms(&data["pingInterval"]) {
            // A ping may be late, but not by a whole interval.
            steps.push(Step::Quiet(interval * 2 + Duration::from_secs(5)));
        }
        match (&self.wanted.namespaces, &self.progress.allowed) {
            (Some(namespaces), _) => {
                let names = namespaces.iter().map(|one| one.name().to_owned()).collect();
                steps.push(self.subscribe(names));
            }
            (None, Some(allowed)) => {
                let names = allowed.clone();
                steps.push(self.subscribe(names));
            }
            (None, None) => {
                let all = Namespace::ALL.map(Namespace::name);
                steps.extend(all.map(|name| {
                    Step::Send(
                        json!({"type": "subscribe", "data": {"namespaces": [name]}}).to_string(),
                    )
                }));
                self.state = State::Probing {
                    answers_left: all.len(),
                    allowed: Vec::new(),
                };
            }
        }
        steps
    }

    fn on_subscribed(&mut self, data: &Value) -> Vec<Step> {
        if let State::Probing { allowed, .. } = &mut self.state {
            *allowed = names(&data["namespaces"]);
            return self.probed();
        }
        self.state = State::Live;
        self.progress.subscribed = true;
        let names = names(&data["namespaces"]).join(", ");
        let mut steps = vec![Step::Note(format!("connected, subscribed to {names}"))];
        let recovered = data["recovered"].as_bool();
        if recovered == Some(false) {
            steps.push(Step::Note(
                "the server no longer has all events since the last one seen: some are missing"
                    .into(),
            ));
        }
        // While missed events are still to come, the place to go on from is the last one seen.
        if recovered != Some(true)
            && let Some(position) = data["position"].as_str()
        {
            self.progress.since = Some(position.to_owned());
        }
        steps
    }

    fn on_error(&mut self, data: &Value) -> Vec<Step> {
        let code = data["code"].as_str().unwrap_or("error");
        let sentence = format!(
            "{code}: {}",
            data["message"].as_str().unwrap_or("no reason given")
        );
        let about_subscribe = data["request"] == "subscribe";
        match &self.state {
            State::Live => vec![Step::Note(sentence)],
            _ if code == "rate_limited" => {
                vec![Step::Retry {
                    after: ms(&data["retryAfter"]),
                    why: sentence,
                }]
            }
            State::Probing { .. } if about_subscribe => self.probed(),
            _ if about_subscribe => vec![Step::Refused(sentence)],
            _ => vec![Step::Note(sentence)],
        }
    }

    /// After the answer to one probe: the last one leads to the real subscription.
    fn probed(&mut self) -> Vec<Step> {
        let State::Probing {
            answers_left,
            allowed,
        } = &mut self.state
        else {
            return Vec::new();
        };
        *answers_left -= 1;
        if *answers_left > 0 {
            return Vec::new();
        }
        if allowed.is_empty() {
            return vec![Step::Refused(
                "forbidden: the token may see no namespace at all".into(),
            )];
        }
        let names = std::mem::take(allowed);
        self.progress.allowed = Some(names.clone());
        vec![self.subscribe(names)]
    }

    fn subscribe(&mut self, namespaces: Vec<String>) -> Step {
        self.state = State::Subscribing;
        let mut data = json!({"namespaces": namespaces});
        if !self.wanted.events.is_empty() {
            data["events"] = self.wanted.events.clone().into();
        }
        if let Some(since) = &self.progress.since {
            data["since"] = since.as_str().into();
        }
        Step::Send(json!({"type": "subscribe", "data": data}).to_string())
    }

    fn on_event(&mut self, text: &str, message: &Value) -> Vec<Step> {
        if !matches!(self.state, State::Live) {
            return Vec::new();
        }
        let id = message["id"].as_str().unwrap_or_default();
        self.progress.since = Some(id.to_owned());
        if !self.progress.is_new(id) {
            return Vec::new();
        }
        let line = if self.wanted.json {
            text.to_owned()
        } else {
            readable(message)
        };
        // JSON escapes only some of the characters that could steer a terminal.
        vec![Step::Print(terminal::line(&line).into_owned())]
    }
}

/// The namespace of an event type: its first word, or the plural of it.
pub(super) fn namespace_of(event: &str) -> Option<Namespace> {
    let (word, rest) = event.split_once(':')?;
    let found = Namespace::parse(word).or_else(|| Namespace::parse(&format!("{word}s")));
    found.filter(|_| !rest.is_empty())
}

/// Time, type, id and data of an event on one line.
fn readable(event: &Value) -> String {
    let time = ms(&event["timestamp"])
        .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
        .filter(|time| *time < SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800))
        .map_or_else(
            || "-".into(),
            |time| humantime::format_rfc3339_millis(time).to_string(),
        );
    let kind = event["type"].as_str().unwrap_or_default();
    let id = event["id"].as_str().unwrap_or_default();
    format!("{time}  {kind:<24}  {id}  {}", event["data"])
}

fn names(list: &Value) -> Vec<String> {
    let names = list.as_array().into_iter().flatten();
    names
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

fn ms(value: &Value) -> Option<Duration> {
    value.as_u64().map(Duration::from_millis)
}
