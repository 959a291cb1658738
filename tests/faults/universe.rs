//! Who is there and what is emitted: all of it follows from the seed.
//!
//! An event is one of about a thousand forms with a number put in, and who may see a form is asked of the reference model
//! once for each client. So what a client is due can be told for millions of events, and none has to be remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::harness::examples::{EXAMPLES, about, event};
use crate::harness::model::{ROLES, Viewer, namespace_of, open_to};
use crate::harness::{Opening, tokens};

pub const EMITTERS: usize = 3;
const FORMS: usize = 1024;
/// What every so many clients are.
const CREW: [&str; 25] = [
    "admin", "manager", "staff", "customer", "customer", "guest", "public", "customer", "customer",
    "customer", "guest", "customer", "customer", "public", "customer", "customer", "customer",
    "customer", "guest", "customer", "customer", "public", "customer", "customer", "customer",
];
/// Sent by the server itself.
const PRESENCE: [&str; 2] = ["customer:online", "customer:offline"];
/// Bytes of a receive buffer that is soon full.
const SMALL_BUFFER: usize = 8 * 1024;
const PLACE: &str = "@number@";

/// Which event: the `n`-th of an emitter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Serial {
    pub emitter: usize,
    pub n: u64,
}

impl Serial {
    /// The last event of a run, which everybody sees.
    pub const END: Serial = Serial {
        emitter: EMITTERS,
        n: 0,
    };

    /// As a number in an event's data.
    fn code(self) -> u64 {
        (self.emitter as u64) << 32 | self.n
    }

    pub fn from_code(code: u64) -> Serial {
        Serial {
            emitter: (code >> 32) as usize,
            n: code & 0xFFFF_FFFF,
        }
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.emitter, self.n)
    }
}

/// A client.
pub struct Person {
    pub viewer: Viewer,
    /// A receive buffer that is soon full, when it stops reading.
    pub has_small_buffer: bool,
}

impl Person {
    /// Its handshake, with a fresh token.
    pub fn opening(&self) -> Opening {
        let opening = match &self.viewer {
            Viewer { user: None, .. } => Opening::new(),
            Viewer {
                user: Some(user),
                role,
                session,
                ..
            } => Opening::new().bearer(&match session {
                Some(session) => tokens::with_session(user, role, session),
                None => tokens::of(user, role),
            }),
        };
        if self.has_small_buffer {
            opening.receive_buffer(SMALL_BUFFER)
        } else {
            opening
        }
    }

    /// The data of its `subscribe`.
    pub fn subscription(&self) -> Value {
        let subscriptions = &self.viewer.subscriptions;
        let mut data = json!({ "namespaces": subscriptions.keys().collect::<Vec<_>>() });
        let types: Vec<&String> = subscriptions.values().flatten().flatten().collect();
        if !types.is_empty() {
            data["events"] = json!(types);
        }
        data
    }

    /// Whether it is told by the server which customers come and go.
    pub fn watches_presence(&self) -> bool {
        self.viewer.subscriptions.get("customers") == Some(&None)
    }

    /// Whether it sees so much, with so little room, that it is soon too slow when it stops reading.
    pub fn may_lag(&self) -> bool {
        self.has_small_buffer && self.viewer.role == "admin"
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.viewer.role)?;
        self.viewer
            .user
            .iter()
            .try_for_each(|user| write!(f, " {user}"))?;
        write!(f, ", {}", self.subscription())
    }
}

/// What events look like: before the number and after it.
struct Form {
    before: String,
    after: String,
}

pub struct Universe {
    seed: u64,
    people: Vec<Person>,
    forms: Vec<Form>,
    /// For each person, whether it may see a form.
    sees: Vec<Vec<bool>>,
}

impl Universe {
    pub fn new(seed: u64, clients: usize) -> Universe {
        let mut rng = Rng::with_seed(seed);
        let people: Vec<Person> = (0..clients).map(|index| person(index, &mut rng)).collect();
        let mut forms: Vec<Value> = (0..FORMS)
            .map(|index| form(index * 100 / FORMS, &people, &mut rng))
            .collect();
        forms.push(event("product:deleted"));
        let sees = people
            .iter()
            .map(|person| {
                forms
                    .iter()
                    .map(|form| person.viewer.receives(form))
                    .collect()
            })
            .collect();
        Universe {
            seed,
            people,
            forms: forms.into_iter().map(cut).collect(),
            sees,
        }
    }

    pub fn person(&self, index: usize) -> &Person {
        &self.people[index]
    }

    /// The clients for whom something holds.
    pub fn people_who(&self, holds: impl Fn(&Person) -> bool) -> impl Iterator<Item = usize> {
        (0..self.people.len()).filter(move |&index| holds(&self.people[index]))
    }

    /// Whether a client is to get an event.
    pub fn is_due(&self, person: usize, serial: Serial) -> bool {
        self.sees[person][self.form_of(serial)]
    }

    /// The line of an event, with its key, without a newline.
    pub fn line(&self, serial: Serial) -> Vec<u8> {
        let Form { before, after } = &self.forms[self.form_of(serial)];
        format!("{before}{}{after},\"key\":\"{serial}\"}}", serial.code()).into_bytes()
    }

    fn form_of(&self, serial: Serial) -> usize {
        if serial.emitter == EMITTERS {
            return FORMS;
        }
        (mix(self.seed, serial.code()) % FORMS as u64) as usize
    }
}

/// A number that looks random and follows from two others (the finalizer of SplitMix64).
pub fn mix(seed: u64, salt: u64) -> u64 {
    let z = seed.wrapping_add(salt.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

fn person(index: usize, rng: &mut Rng) -> Person {
    let role = CREW[index % CREW.len()];
    let user = match role {
        "public" => None,
        // Some customers have two windows open.
        "customer" if index % 4 == 3 => Some(format!("customer-{}", index - 1)),
        _ => Some(format!("{role}-{index}")),
    };
    let session = (user.is_some() && rng.bool()).then(|| format!("session-{index}"));
    Person {
        viewer: Viewer {
            user,
            role,
            session,
            subscriptions: subscriptions(role, rng),
        },
        has_small_buffer: index.is_multiple_of(2),
    }
}

/// Everything for admins; of what others may see, sometimes a part, and sometimes some types only.
fn subscriptions(role: &str, rng: &mut Rng) -> BTreeMap<String, Option<BTreeSet<String>>> {
    let mut subscriptions = BTreeMap::new();
    for namespace in open_to(role) {
        let is_all = role == "admin" || rng.u8(..100) < 65;
        if is_all {
            subscriptions.insert(namespace.to_owned(), None);
        } else if namespace == "products" || rng.bool() {
            let mut types: BTreeSet<String> = EXAMPLES
                .iter()
                .map(|(kind, _)| *kind)
                .filter(|kind| namespace_of(kind) == namespace && !PRESENCE.contains(kind))
                .filter(|_| rng.bool())
                .map(str::to_owned)
                .collect();
            if namespace == "products" {
                // The last event is one of these.
                types.insert("product:deleted".to_owned());
            }
            if !types.is_empty() {
                subscriptions.insert(namespace.to_owned(), Some(types));
            }
        }
    }
    subscriptions
}

/// A random event; `percent` says of which sort, so that every sort has its share.
fn form(percent: usize, people: &[Person], rng: &mut Rng) -> Value {
    let customer = name_of(people, rng, |person| person.viewer.role == "customer");
    let mut form = match percent {
        // For the customer alone.
        0..60 => {
            let mut own = about(kind_of(&["orders", "payments"], rng), &customer);
            own["to"] = if rng.bool() {
                json!({ "roles": ["customer"] })
            } else {
                json!({ "userIds": [customer] })
            };
            own
        }
        60..77 => about(kind_of(&["orders", "payments"], rng), &customer),
        77..81 => about(kind_of(&["customers"], rng), &customer),
        81..85 => event(kind_of(&["inventory"], rng)),
        85..89 => event(kind_of(&["products"], rng)),
        89..90 => event(kind_of(&["system"], rng)),
        // For one of whatever role, and mostly for nobody.
        _ => {
            let namespaces = [
                "orders",
                "customers",
                "products",
                "inventory",
                "payments",
                "system",
            ];
            let mut narrow = event(kind_of(&namespaces, rng));
            narrow["to"] = json!({ "userIds": [name_of(people, rng, |_| true)] });
            narrow
        }
    };
    if percent >= 60 {
        aim(&mut form["to"], people, rng);
    }
    if rng.u8(..4) == 0 {
        form["data"]["pad"] = "x".repeat(rng.usize(1..1500)).into();
    }
    form
}

/// Adds some targets.
fn aim(to: &mut Value, people: &[Person], rng: &mut Rng) {
    if rng.u8(..100) < 10 {
        let mut roles = ROLES[..5].to_vec();
        rng.shuffle(&mut roles);
        roles.truncate(rng.usize(2..5));
        to["roles"] = json!(roles);
    }
    for (target, percent) in [("owners", 15), ("excludeUserIds", 20)] {
        if rng.u8(..100) < percent {
            let names: Vec<String> = (0..rng.usize(1..4))
                .map(|_| name_of(people, rng, |_| true))
                .collect();
            to[target] = json!(names);
        }
    }
    if rng.u8(..100) < 20 {
        let sessions = people
            .iter()
            .filter_map(|person| person.viewer.session.as_ref());
        let excluded = rng.choice(sessions.collect::<Vec<_>>());
        to["excludeSessionId"] = json!(excluded.expect("half of the users have one"));
    }
}

/// A random user among those for whom something holds.
fn name_of(people: &[Person], rng: &mut Rng, holds: impl Fn(&Person) -> bool) -> String {
    let users = people
        .iter()
        .filter(|person| holds(person))
        .filter_map(|person| person.viewer.user.as_ref());
    rng.choice(users.collect::<Vec<_>>())
        .expect("every crew has one")
        .clone()
}

/// A random type of these namespaces that emitters emit.
fn kind_of(namespaces: &[&str], rng: &mut Rng) -> &'static str {
    let kinds = EXAMPLES
        .iter()
        .map(|(kind, _)| *kind)
        .filter(|kind| namespaces.contains(&namespace_of(kind)) && !PRESENCE.contains(kind));
    rng.choice(kinds.collect::<Vec<_>>())
        .expect("every namespace has types")
}

fn cut(mut form: Value) -> Form {
    form["data"]["event"] = PLACE.into();
    if form["to"].is_null() {
        form.as_object_mut().unwrap().remove("to");
    }
    let text = form.to_string();
    let (before, after) = text.split_once(&format!("\"{PLACE}\"")).unwrap();
    Form {
        before: before.to_owned(),
        after: after.strip_suffix('}').unwrap().to_owned(),
    }
}

#[test]
fn a_seed_is_a_world_and_everybody_in_it_is_due_something() {
    let [one, same, other] = [7, 7, 8].map(|seed| Universe::new(seed, 100));
    let all = |universe: &Universe| -> Vec<Vec<u8>> {
        (0..1000)
            .map(|n| universe.line(Serial { emitter: 1, n }))
            .collect()
    };
    assert_eq!(all(&one), all(&same));
    assert_ne!(all(&one), all(&other));
    for person in 0..100 {
        let due = (0..1000)
            .filter(|&n| one.is_due(person, Serial { emitter: 1, n }))
            .count();
        assert!(
            (1..900).contains(&due),
            "{due} events for {}",
            one.person(person)
        );
        assert!(one.is_due(person, Serial::END));
    }
    let serial = Serial { emitter: 2, n: 999 };
    let line: Value = serde_json::from_slice(&one.line(serial)).unwrap();
    assert_eq!(
        Serial::from_code(line["data"]["event"].as_u64().unwrap()),
        serial
    );
    assert_eq!(line["key"], "2-999");
}
