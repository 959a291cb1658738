//! A browser: speaks the protocol of docs/protocol.md, and knows at every message whether it is the one
//! that had to come.
//!
//! [`Browser`] is what stays over connections: who it is, what it wants to see, and from where it goes
//! on. What it says is in `speaking`, what one connection is owed in [`crate::owed`].

mod speaking;

use std::collections::BTreeMap;
use std::time::Instant;

use fastrand::Rng;
use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;

use crate::frames::{put_frame, take_frame};
use crate::log::{Log, number_of};
use crate::owed::{Filter, Owed, Start};
use crate::reference::{namespace_of, open_to};
use crate::server::{Progress, Server};
use crate::wire::Wire;
use crate::world::Tally;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// How a browser remembers from where to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// One place for all its namespaces, which it asks for in one message.
    One,
    /// A place for each, asked for one by one; they may begin at different places.
    Each,
}

/// One browser.
pub struct Browser {
    number: usize,
    user: Option<&'static str>,
    pub role: &'static str,
    session: Option<String>,
    token: Option<String>,
    /// Shows its token by message, not in the handshake.
    authenticates_later: bool,
    memory: Memory,
    /// What it wants to see.
    wanted: BTreeMap<String, Filter>,
    /// From where it goes on, where it remembers one place.
    place: Start,
    /// And where it remembers one for each.
    places: BTreeMap<String, Start>,
    published: u64,
    connection: Option<Connection>,
    /// Does not read for now.
    pub is_stalled: bool,
}

struct Connection {
    wire: Wire,
    reactor: usize,
    stage: Stage,
    /// Requests that are not answered, oldest first.
    asked: Vec<Asked>,
    owed: Owed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The handshake is not answered.
    Shaking,
    Welcome,
    /// A token was shown.
    Authenticated,
    Open,
}

enum Asked {
    Authentication,
    Subscription {
        namespaces: Vec<String>,
        start: Start,
        /// How far the reactor certainly was then.
        taken: u64,
    },
    Unsubscription(Vec<String>),
    Ping,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By a close with this code.
    Closed(u16),
    /// Without one.
    Cut,
    /// The handshake was refused, because the server is draining or it took too long.
    Refused { is_draining: bool },
}

/// What a browser's exchange needs of the world.
pub struct Context<'a> {
    pub log: &'a mut Log,
    pub server: Option<&'a Server>,
    /// The server was asked to end.
    pub is_draining: bool,
    pub now: Instant,
    pub tally: &'a mut Tally,
}

impl Context<'_> {
    fn progress(&self, reactor: usize) -> Progress {
        let nothing = Progress {
            handed: self.log.newest,
            taken: 0,
        };
        self.server
            .map_or(nothing, |server| server.progress(reactor))
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// The newest event that the server can have told anybody of.
    fn newest(&self) -> u64 {
        self.server
            .map_or(self.log.newest, |server| server.shared.newest())
    }
}

impl Browser {
    /// The browser with this number; `mint` makes a token for a user, a role and a session.
    pub fn new(
        number: usize,
        random: &mut Rng,
        mint: impl FnOnce(&str, &str, Option<&str>) -> String,
    ) -> Browser {
        const WHO: [(Option<&str>, &str); 7] = [
            (Some("ann"), "customer"),
            (Some("bob"), "customer"),
            (Some("sam"), "staff"),
            (Some("mia"), "manager"),
            (Some("root"), "admin"),
            (Some("gus"), "guest"),
            (None, "public"),
        ];
        let (user, role) = *random.choice(&WHO).unwrap();
        let session = (user.is_some() && random.bool()).then(|| format!("s-{number}"));
        let token = user.map(|user| mint(user, role, session.as_deref()));
        let memory = if random.bool() {
            Memory::One
        } else {
            Memory::Each
        };
        let mut browser = Browser {
            number,
            user,
            role,
            session,
            token,
            authenticates_later: random.bool(),
            memory,
            wanted: BTreeMap::new(),
            place: Start::Now,
            places: BTreeMap::new(),
            published: 0,
            connection: None,
            is_stalled: false,
        };
        while browser.wanted.is_empty() {
            for namespace in open_to(role) {
                if random.bool() {
                    browser.want(namespace, random);
                }
            }
        }
        if random.u8(0..4) == 0 {
            browser.place = Start::Last(random.u32(1..8));
        }
        browser
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Connects to one of the reactors.
    pub fn connect(&mut self, server: &mut Server, reactor: usize) {
        let mut wire = Wire::new(server.connect(reactor));
        let mut head = format!(
            "GET /api/ws HTTP/1.1\r\nHost: shop.example\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
        );
        if let Some(token) = &self.token
            && !self.authenticates_later
        {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        head += "\r\n";
        wire.outgoing.extend_from_slice(head.as_bytes());
        let owed = Owed::new(
            self.user.map(str::to_owned),
            self.role,
            self.session.clone(),
        );
        self.connection = Some(Connection {
            wire,
            reactor,
            stage: Stage::Shaking,
            asked: Vec::new(),
            owed,
        });
    }

    /// Loses its connection; the socket, if it shall look alive to the server.
    pub fn cut(&mut self) -> Option<Wire> {
        self.is_stalled = false;
        self.connection.take().map(|connection| connection.wire)
    }

    /// Whether everything has come that it is owed, and all it asked is answered.
    pub fn is_served(&self, context: &Context<'_>) -> bool {
        let Some(connection) = &self.connection else {
            return false;
        };
        let handed = context.progress(connection.reactor).handed;
        connection.stage == Stage::Open
            && connection.asked.is_empty()
            && connection.wire.outgoing.is_empty()
            && handed == context.log.newest
            && connection
                .owed
                .lacks(context.log, handed, context.now)
                .is_none()
    }

    /// What it lacks, for whoever reads a failure.
    pub fn state(&self, context: &Context<'_>) -> String {
        let Some(connection) = &self.connection else {
            return format!("browser {} is not connected", self.number);
        };
        let progress = context.progress(connection.reactor);
        format!(
            "browser {} ({}) at reactor {}, {} of {} handed to it: {} answers are due, {} bytes to go out, event {:?} is owed",
            self.number,
            self.role,
            connection.reactor,
            progress.handed,
            context.log.newest,
            connection.asked.len(),
            connection.wire.outgoing.len(),
            connection
                .owed
                .lacks(context.log, progress.handed, context.now)
        )
    }

    /// Lets up to so many bytes out and in. Returns whether any moved, and how the connection ended, if
    /// it did.
    pub fn exchange(
        &mut self,
        out: usize,
        incoming: usize,
        context: &mut Context<'_>,
    ) -> (bool, Option<Ending>) {
        let Some(connection) = &mut self.connection else {
            return (false, None);
        };
        let mut moved = connection.wire.push(out);
        if !self.is_stalled {
            moved += connection.wire.pull(incoming);
        }
        let ending = self.take(context);
        if ending.is_some() {
            self.cut();
        }
        (moved > 0, ending)
    }

    /// Takes what has arrived.
    fn take(&mut self, context: &mut Context<'_>) -> Option<Ending> {
        if let Some(ending) = self.finish_handshake() {
            return Some(ending);
        }
        loop {
            let connection = self.connection.as_mut()?;
            if connection.stage == Stage::Shaking {
                break;
            }
            let Some((opcode, payload)) = take_frame(&mut connection.wire.incoming) else {
                break;
            };
            match opcode {
                1 => {
                    let text = String::from_utf8(payload).unwrap();
                    self.take_message(&text, context);
                }
                8 => {
                    let code = [payload[0], payload[1]];
                    return Some(Ending::Closed(u16::from_be_bytes(code)));
                }
                9 => put_frame(10, &payload, &mut connection.wire.outgoing),
                other => panic!("an opcode that is not used: {other}"),
            }
        }
        let has_ended = self.connection.as_ref()?.wire.has_ended;
        has_ended.then_some(Ending::Cut)
    }

    fn finish_handshake(&mut self) -> Option<Ending> {
        let connection = self.connection.as_mut()?;
        if connection.stage != Stage::Shaking {
            return None;
        }
        let incoming = &mut connection.wire.incoming;
        let end = incoming.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head: Vec<u8> = incoming.drain(..end + 4).collect();
        let head = String::from_utf8(head).unwrap();
        if let Some(status @ ("408" | "503")) = head.split(' ').nth(1) {
            return Some(Ending::Refused {
                is_draining: status == "503",
            });
        }
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let accepted = format!(
            "\r\nSec-WebSocket-Accept: {}\r\n",
            derive_accept_key(KEY.as_bytes())
        );
        assert!(head.contains(&accepted), "{head}");
        connection.stage = Stage::Welcome;
        None
    }

    fn take_message(&mut self, text: &str, context: &mut Context<'_>) {
        let message: Value = serde_json::from_str(text).unwrap();
        if message.get("id").is_some() {
            return self.take_event(text, &message, context);
        }
        let number = self.number;
        let Some(connection) = &mut self.connection else {
            return;
        };
        let kind = message["type"].as_str().unwrap();
        let stage = connection.stage;
        match kind {
            "welcome" => {
                assert!(stage == Stage::Welcome, "to {number}: {text}");
                match &self.token {
                    None => self.open(context),
                    Some(token) if self.authenticates_later => {
                        connection.stage = Stage::Authenticated;
                        let data = json!({ "token": token });
                        self.ask("auth", &data, Asked::Authentication);
                        self.open(context);
                    }
                    Some(_) => connection.stage = Stage::Authenticated,
                }
            }
            "authenticated" => {
                assert_eq!(message["data"]["userId"].as_str(), self.user);
                if stage == Stage::Authenticated {
                    self.open(context);
                } else {
                    let asked = connection.asked.remove(0);
                    assert!(
                        matches!(asked, Asked::Authentication),
                        "to {number}: {text}"
                    );
                }
            }
            "reconnect" => {
                assert!(context.is_draining, "to {number}: {text}");
            }
            "pong" => {
                let asked = connection.asked.remove(0);
                assert!(matches!(asked, Asked::Ping), "to {number}: {text}");
            }
            "unsubscribed" => {
                let Asked::Unsubscription(namespaces) = connection.asked.remove(0) else {
                    panic!("to {number}: {text}");
                };
                connection.owed.unsubscribed(&namespaces);
                connection.owed.check_names(&message["data"]["namespaces"]);
            }
            "subscribed" => self.take_subscribed(&message["data"], context),
            _ => panic!("to {number} ({}): {text}", self.role),
        }
    }

    fn open(&mut self, context: &Context<'_>) {
        if let Some(connection) = &mut self.connection {
            connection.stage = Stage::Open;
        }
        self.begin(context);
    }

    fn take_subscribed(&mut self, data: &Value, context: &mut Context<'_>) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let number = self.number;
        let Asked::Subscription {
            namespaces,
            start,
            taken,
        } = connection.asked.remove(0)
        else {
            panic!("to {number}: {data}");
        };
        let progress = context.progress(connection.reactor);
        let position = data["position"].as_str().unwrap();
        let behind = context.log.known(position, context.newest());
        let behind =
            behind.unwrap_or_else(|| panic!("{number} is told an unknown position: {data}"));
        let recovered = data["recovered"].as_bool();
        assert_eq!(
            recovered.is_some(),
            matches!(start, Start::Since(_)),
            "to {number}: {data}"
        );
        let (mut least, mut most) = (taken, progress.handed);
        if let Start::Since(id) = &start {
            let since = context.log.known(id, context.newest());
            let surely_gone = context.log.let_go(taken);
            let maybe_gone = context.log.may_let_go(progress.handed, context.now);
            let must = since.is_some_and(|since| since >= maybe_gone);
            let can = since.is_some_and(|since| since >= surely_gone);
            let recovered = recovered == Some(true);
            context.count(if recovered {
                "recovered"
            } else {
                "not recovered"
            });
            assert!(
                recovered || !must,
                "{number} can be led on from {id}, and is told {data}"
            );
            assert!(
                can || !recovered,
                "{number} cannot be led on from {id}, and is told {data}"
            );
            if recovered {
                (least, most) = (least.max(since.unwrap_or(0)), most.max(since.unwrap_or(0)));
            }
        }
        assert!(
            (least..=most).contains(&behind),
            "to {number}, {least} to {most}: {data}"
        );
        // From where it goes on if nothing else comes.
        let place = match (&start, recovered) {
            (Start::Now, _) | (_, Some(false)) => Start::Since(position.to_owned()),
            (same, _) => same.clone(),
        };
        let is_first = connection.owed.is_empty();
        for namespace in &namespaces {
            self.places.insert(namespace.clone(), place.clone());
        }
        if is_first {
            self.place = place;
        }
        let filters = namespaces
            .iter()
            .map(|each| (each.clone(), self.wanted[each].clone()))
            .collect();
        let start = match (start, recovered) {
            (Start::Since(_), Some(false)) => Start::Now,
            (start, _) => start,
        };
        connection
            .owed
            .subscribed(filters, &start, behind, context.log);
        connection.owed.check_names(&data["namespaces"]);
    }

    fn take_event(&mut self, text: &str, message: &Value, context: &mut Context<'_>) {
        let number = self.number;
        let Some(connection) = &mut self.connection else {
            return;
        };
        let id = message["id"].as_str().unwrap();
        let entry = context.log.entries.get(&number_of(id));
        assert!(
            entry.is_some_and(|entry| entry.text == text),
            "{number} is sent what is no event: {text}"
        );
        let handed = context.progress(connection.reactor).handed;
        if let Err(fault) = connection
            .owed
            .take(number_of(id), context.log, handed, context.now)
        {
            panic!("{number} ({}) is sent {text}: {fault}", self.role);
        }
        context.count("events");
        let place = Start::Since(id.to_owned());
        let namespace = namespace_of(message["type"].as_str().unwrap());
        self.places.insert(namespace.to_owned(), place.clone());
        self.place = place;
    }
}
