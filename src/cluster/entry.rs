//! What an entry of the stream holds, as it is written and as it is read (docs/cluster.md).
//!
//! Pure but for the answers' type, which is the `redis` crate's. A body of events is a block as the
//! journal keeps it ([`crate::event::stored`]), behind a byte for the format and the number of the
//! [`Lexicon`] that its types and roles are counted by.

use std::fmt;
use std::time::Instant;

use bytes::{Buf, BufMut};
use hashbrown::HashMap;
pub use redis::Value;
use serde::{Deserialize, Serialize};

use super::{EPOCH, Receipt};
use crate::access::Role;
use crate::event::renaming::renumber;
use crate::event::stored::{self, Lexicon, NoBlock};
use crate::event::{Block, EventType, NameHasher, Origin};
use crate::ring::Selector;

/// The version of bodies with events.
const FORMAT: u8 = 1;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Events.
    Events,
    /// A customer is the first time, or no more, on any host: one event.
    Online,
    /// The opposite.
    Offline,
    /// `ctl disconnect`.
    Disconnect,
    /// `ctl revoke`.
    Revoke,
    /// A host has seen events that Redis has lost: everybody begins anew.
    Reset,
}

impl Kind {
    const ALL: [Kind; 6] = [
        Kind::Events,
        Kind::Online,
        Kind::Offline,
        Kind::Disconnect,
        Kind::Revoke,
        Kind::Reset,
    ];

    /// Its name in the stream.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Events => "events",
            Kind::Online => "online",
            Kind::Offline => "offline",
            Kind::Disconnect => "disconnect",
            Kind::Revoke => "revoke",
            Kind::Reset => "reset",
        }
    }

    /// Whether its body holds events.
    pub fn has_events(self) -> bool {
        matches!(self, Kind::Events | Kind::Online | Kind::Offline)
    }
}

/// An entry as it was read, its body not looked into.
pub struct Entry {
    /// The number of its last event, which is its id.
    pub number: u64,
    /// The number of the entry before it; for the first of all, where numbers began.
    pub before: u64,
    /// What it is about; none that this version knows.
    pub kind: Option<Kind>,
    /// The host that wrote it.
    pub host: Vec<u8>,
    /// What that host is told of it.
    pub receipt: Receipt,
    /// Customers online after it, where that changed.
    pub online: Option<u32>,
    /// Its content.
    pub body: Vec<u8>,
}

/// The id of an entry of a stream. Those of ours have their number before the hyphen and 0 behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u64, u64);

impl StreamId {
    /// That of the entry with this number.
    pub fn of(number: u64) -> StreamId {
        StreamId(number, 0)
    }

    fn parse(id: &[u8]) -> Option<StreamId> {
        let (before, behind) = std::str::from_utf8(id).ok()?.split_once('-')?;
        Some(StreamId(before.parse().ok()?, behind.parse().ok()?))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// What was found in the stream: one of our entries, or a sentence about why it is none.
pub struct Found {
    /// Where.
    pub id: StreamId,
    /// What.
    pub entry: Result<Entry, String>,
}

impl Found {
    /// Reads one entry of a stream: its id, and its fields and values by turns.
    ///
    /// # Errors
    /// A sentence, if it is no entry of a stream.
    pub fn read(value: Value) -> Result<Found, String> {
        let none = || "Redis has answered with something else than entries".to_owned();
        let Value::Array(parts) = value else {
            return Err(none());
        };
        let mut parts = parts.into_iter();
        let (Some(Value::BulkString(id)), Some(Value::Array(fields))) =
            (parts.next(), parts.next())
        else {
            return Err(none());
        };
        let id = StreamId::parse(&id).ok_or_else(none)?;
        Ok(Found {
            id,
            entry: Entry::read(id, fields),
        })
    }
}

impl Entry {
    fn read(id: StreamId, fields: Vec<Value>) -> Result<Entry, String> {
        let StreamId(number, 0) = id else {
            return Err(format!("its id {id} does not end in -0"));
        };
        let mut entry = Entry {
            number,
            before: 0,
            kind: None,
            host: Vec::new(),
            receipt: Receipt::default(),
            online: None,
            body: Vec::new(),
        };
        let mut fields = fields.into_iter();
        while let (Some(Value::BulkString(name)), Some(Value::BulkString(value))) =
            (fields.next(), fields.next())
        {
            entry.take(&name, value).ok_or_else(|| {
                format!(
                    "the field {:?} of {id} is wrong",
                    String::from_utf8_lossy(&name)
                )
            })?;
        }
        match entry.receipt.first {
            0 => Err(format!("{id} does not say which numbers it has"))?,
            first if first > number => Err(format!("{id} has numbers behind its own"))?,
            _ => {}
        }
        Ok(entry)
    }

    fn take(&mut self, name: &[u8], value: Vec<u8>) -> Option<()> {
        match name {
            b"h" => self.host = value,
            b"n" => self.receipt.batch = number(&value)?,
            b"p" => self.before = number(&value)?,
            b"f" => self.receipt.first = number(&value)?,
            b"k" => {
                let is_it = |kind: &Kind| kind.name().as_bytes() == value;
                self.kind = Kind::ALL.into_iter().find(is_it);
            }
            b"b" => self.body = value,
            b"s" => self.receipt.is_stored = true,
            b"r" => self.receipt.repeats = repeats(&value)?,
            b"o" => self.online = u32::try_from(number(&value)?).ok(),
            // A later version may say more.
            _ => {}
        }
        Some(())
    }

    /// The block of its events, with the numbers that they have here; none if all are repeats.
    ///
    /// # Errors
    /// If the body is not what [`put_events`] makes, or has other events than the entry has numbers for.
    pub fn block(
        &self,
        lexicon: &Lexicon,
        hasher: &NameHasher,
        received: Instant,
        online: u32,
    ) -> Result<Option<Block>, NoBlock> {
        let stored = self.body.get(HEAD..).unwrap_or_default();
        let mut block = stored::read(stored, lexicon, hasher, received)?;
        block.online = online;
        let repeats = &self.receipt.repeats;
        let is_repeat = |place| repeats.binary_search_by_key(&place, |&(at, _)| at).is_ok();
        let fresh = (0..).take(block.frames.len());
        let fresh = fresh.filter(|&place| !is_repeat(place)).count() as u64;
        if fresh > 0 && self.number - self.receipt.first != fresh - 1 {
            return Err(NoBlock("its events are not as many as its numbers"));
        }
        let mut numbered = renumber(block, EPOCH, self.receipt.first, is_repeat)?;
        if let Some(block) = &mut numbered {
            block.origin = self.origin();
        }
        Ok(numbered)
    }

    /// Whose batch it is; none where the host is not named as this version names hosts.
    fn origin(&self) -> Option<Origin> {
        let host = std::str::from_utf8(&self.host).ok()?;
        let host = u64::from_str_radix(host, 16).ok()?;
        let repeats = self.receipt.repeats.iter();
        let left_out: Vec<u32> = repeats.map(|&(place, _)| place).collect();
        let batch = self.receipt.batch;
        (batch > 0).then(|| Origin::new(host, batch, left_out))
    }

    /// The number of the lexicon of its body.
    ///
    /// # Errors
    /// If a later version has written it.
    pub fn lexicon(&self) -> Result<u32, NoBlock> {
        let mut body = &self.body[..];
        match body.try_get_u8()? {
            FORMAT => Ok(body.try_get_u32_le()?),
            _ => Err(NoBlock("it is of a format that this version does not know")),
        }
    }

    /// Up to which number a `reset` tells that entries are lost: with none, all before it.
    pub fn lost_to(&self) -> Option<u64> {
        let is_reset = self.kind == Some(Kind::Reset);
        is_reset.then(|| number(&self.body).unwrap_or(self.number))
    }

    /// Whom a `disconnect` means.
    pub fn selector(&self) -> Option<Selector> {
        match serde_json::from_slice(&self.body).ok()? {
            Whom::User(user) => Some(Selector::User(user)),
            Whom::Session(session) => Some(Selector::Session(session)),
            Whom::Role(name) => {
                let mut roles = Role::ALL.into_iter();
                roles.find(|role| role.name() == name).map(Selector::Role)
            }
        }
    }
}

/// Bytes before a block.
const HEAD: usize = 5;

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `place:number place:number`, places ascending.
fn repeats(text: &[u8]) -> Option<Vec<(u32, u64)>> {
    let pair = |pair: &str| {
        let (place, number) = pair.split_once(':')?;
        Some((place.parse().ok()?, number.parse().ok()?))
    };
    let text = std::str::from_utf8(text).ok()?;
    let all: Vec<(u32, u64)> = text.split(' ').map(pair).collect::<Option<_>>()?;
    all.is_sorted_by(|one, next| one.0 < next.0).then_some(all)
}

/// Appends the body of an entry with this block's events.
pub fn put_events(block: &Block, lexicon: u32, out: &mut Vec<u8>) {
    out.put_u8(FORMAT);
    out.put_u32_le(lexicon);
    stored::put_head(block, out);
    out.put_slice(&block.bytes);
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Whom {
    User(String),
    Session(String),
    Role(String),
}

/// The body of a `disconnect`; none for a connection, which only its own host knows.
pub fn disconnect_body(selector: &Selector) -> Option<Vec<u8>> {
    let whom = match selector {
        Selector::User(user) => Whom::User(user.clone()),
        Selector::Session(session) => Whom::Session(session.clone()),
        Selector::Role(role) => Whom::Role(role.name().to_owned()),
        Selector::Connection(_) => return None,
    };
    Some(serde_json::to_vec(&whom).expect("two strings serialize"))
}

/// The lexicons of all hosts, by number.
pub struct Lexicons {
    known: HashMap<u32, Lexicon>,
}

#[derive(Serialize, Deserialize)]
struct Words<'a> {
    #[serde(borrow)]
    types: Vec<&'a str>,
    #[serde(borrow)]
    roles: Vec<&'a str>,
}

impl Default for Lexicons {
    /// This version's own alone.
    fn default() -> Lexicons {
        Lexicons {
            known: HashMap::from([(Self::own().0, Lexicon::own())]),
        }
    }
}

impl Lexicons {
    /// This version's number, and its words as they are kept in Redis for others.
    pub fn own() -> (u32, Vec<u8>) {
        let words = Words {
            types: EventType::ALL.map(EventType::name).to_vec(),
            roles: Role::ALL.map(Role::name).to_vec(),
        };
        let words = serde_json::to_vec(&words).expect("names serialize");
        (crc32fast::hash(&words), words)
    }

    /// The one of this number, if it is known.
    pub fn get(&self, number: u32) -> Option<&Lexicon> {
        self.known.get(&number)
    }

    /// Learns one from the words that Redis keeps.
    pub fn learn(&mut self, number: u32, words: &[u8]) {
        if let Ok(Words { types, roles }) = serde_json::from_slice(words) {
            self.known.insert(number, Lexicon::of(types, roles));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BlockBuilder, Epoch, Line, Parser, Rules};

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn entry(fields: &[(&str, Value)]) -> Value {
        let fields = fields
            .iter()
            .flat_map(|(name, value)| [text(name), value.clone()])
            .collect();
        Value::Array(vec![text("2050-0"), Value::Array(fields)])
    }

    fn read(value: Value) -> Result<Entry, String> {
        Found::read(value)?.entry
    }

    fn block(products: &[&str]) -> std::sync::Arc<Block> {
        let mut builder = BlockBuilder::new(Epoch(0xfff), NameHasher::default(), 1 << 20);
        let mut parser = Parser::new(Rules {
            order_statuses: Vec::new(),
            max_message: 1 << 20,
        });
        for (product, id) in products.iter().zip(7..) {
            let line = format!(
                r#"{{"type":"product:deleted","data":{{"productId":"{product}"}},"to":{{"owners":["{product}"]}}}}"#
            );
            match parser.parse(line.as_bytes()) {
                Ok(Line::Event(event)) => builder.push(&event, id, 5).unwrap(),
                _ => panic!("{line}"),
            }
        }
        builder.finish(Instant::now(), 0)
    }

    #[test]
    fn what_is_written_reads_back_with_its_numbers_and_without_repeats() {
        let mut body = Vec::new();
        put_events(&block(&["a", "b", "c", "d"]), Lexicons::own().0, &mut body);
        let read = read(entry(&[
            ("h", text("00000000000000ab")),
            ("n", text("3")),
            ("p", text("2000")),
            ("f", text("2049")),
            ("k", text("events")),
            ("b", Value::BulkString(body)),
            ("r", text("0:1100 2:1101")),
            ("later", text("?")),
        ]))
        .unwrap();
        assert_eq!((read.number, read.before), (2050, 2000));
        assert_eq!(read.kind, Some(Kind::Events));
        let lexicons = Lexicons::default();
        let lexicon = lexicons.get(read.lexicon().unwrap()).unwrap();
        let hasher = NameHasher::default();
        let block = read
            .block(lexicon, &hasher, Instant::now(), 9)
            .unwrap()
            .unwrap();
        assert_eq!(block.online, 9);
        let origin = block.origin.as_ref().unwrap();
        assert_eq!((origin.host, origin.batch), (0xab, 3));
        // Counted from 1, with those that are left out.
        assert_eq!([0, 1].map(|index| origin.mark(index).place), [2, 4]);
        let ids: Vec<u64> = block.frames.iter().map(|frame| frame.id).collect();
        assert_eq!(ids, [2049, 2050]);
        for (frame, product) in block.frames.iter().zip(["b", "d"]) {
            let sent = &block.bytes[frame.start as usize..frame.end as usize];
            let payload: serde_json::Value = serde_json::from_slice(&sent[2..]).unwrap();
            assert_eq!(payload["id"], format!("{EPOCH}-{}", frame.id));
            assert_eq!(payload["data"]["productId"], product);
            assert_eq!(
                sent[1] as usize,
                sent.len() - 2,
                "the header tells the new length"
            );
            assert_eq!(block.text(&block.owners(frame)[0]), product);
        }
    }

    #[test]
    fn what_is_not_ours_is_an_error_and_no_panic() {
        let good = [("f", text("2050")), ("k", text("events"))];
        assert!(read(entry(&good)).is_ok());
        for (name, value) in [
            ("f", "x"),
            ("p", "-1"),
            ("r", "1:2 1:3"),
            ("r", "1"),
            ("n", ""),
        ] {
            let fields = [("f", text("2050")), (name, text(value))];
            assert!(read(entry(&fields)).is_err(), "{name} {value}");
        }
        assert!(read(entry(&[])).is_err());
        assert!(read(Value::Nil).is_err());
        let foreign = Value::Array(vec![text("7-1"), Value::Array(Vec::new())]);
        let found = Found::read(foreign).unwrap();
        assert_eq!(found.id.to_string(), "7-1");
        assert!(found.id > StreamId::of(7) && found.id < StreamId::of(8));
        assert!(found.entry.is_err());
        let empty = read(entry(&good)).unwrap();
        assert!(empty.lexicon().is_err());
        let (lexicon, hasher) = (Lexicon::own(), NameHasher::default());
        assert!(empty.block(&lexicon, &hasher, Instant::now(), 0).is_err());
    }

    #[test]
    fn other_hosts_words_are_learned() {
        let mut lexicons = Lexicons::default();
        let (number, words) = Lexicons::own();
        lexicons.learn(number + 1, &words);
        assert_eq!(lexicons.get(number + 1), Some(&Lexicon::own()));
        lexicons.learn(number + 2, b"{}");
        assert!(lexicons.get(number + 2).is_none());
    }

    #[test]
    fn a_disconnect_says_whom_it_means_and_a_connection_stays_at_home() {
        for selector in [
            Selector::User("u\"1".to_owned()),
            Selector::Session("s".to_owned()),
            Selector::Role(Role::Guest),
        ] {
            let body = disconnect_body(&selector).unwrap();
            let fields = [("f", text("2050")), ("b", Value::BulkString(body))];
            let read = read(entry(&fields)).unwrap();
            assert_eq!(read.selector(), Some(selector));
        }
        assert!(disconnect_body(&Selector::Connection("c1".to_owned())).is_none());
    }
}
