//! An ingest line as the contract judges it (sections 3 and 4), from a tree of its values: the
//! reference of the parser.

use shopwire::access::{Role, RoleMask};
use shopwire::event::catalogue::{ORDER_STATUSES, Rule};
use shopwire::event::{Code, EventType, Rules};

use super::strict_json::Tree;

/// The order status that the shop of the fuzz targets has beside the usual ones.
pub const OWN_STATUS: &str = "on_hold";
/// The longest line, in bytes.
pub const LINE_MAX: usize = 4096;

const TIMESTAMP_MAX: f64 = 9_007_199_254_740_991.0;

/// What the server's parser is told.
pub fn rules() -> Rules {
    Rules {
        order_statuses: vec![OWN_STATUS.to_owned()],
        max_message: LINE_MAX,
    }
}

/// What a line is.
pub enum Judged<'t> {
    Command,
    Event(Expected<'t>),
}

/// A good event.
pub struct Expected<'t> {
    pub kind: EventType,
    pub data: &'t Tree,
    pub timestamp: Option<u64>,
    pub key: Option<&'t str>,
    pub customer: Option<&'t str>,
    pub roles: RoleMask,
    pub owners: Vec<&'t str>,
    pub users: Option<Vec<&'t str>>,
    pub excluded: Vec<&'t str>,
    pub session: Option<&'t str>,
}

/// Judges a line that is good JSON.
pub fn judge(line: &Tree) -> Result<Judged<'_>, Code> {
    let members = line.members().ok_or(Code::InvalidJson)?;
    if line.get("command").is_some() {
        return Ok(Judged::Command);
    }
    let kind = line.get("type").and_then(Tree::text);
    let kind = kind
        .and_then(|name| EventType::ALL.into_iter().find(|kind| kind.name() == name))
        .ok_or(Code::UnknownType)?;
    let known = ["type", "data", "to", "timestamp", "namespace", "key"];
    let is_known = |(name, _): &(String, Tree)| known.contains(&name.as_str());
    let keeps_if_there = |name: &str, rule| line.get(name).is_none_or(|value| keeps(rule, value));
    let namespace = kind.namespace().name();
    let data = line.get("data").filter(|data| data.members().is_some());
    let (Some(data), true, true, true, true) = (
        data,
        members.iter().all(is_known),
        line.get("namespace")
            .is_none_or(|named| named.text() == Some(namespace)),
        keeps_if_there("timestamp", Rule::Timestamp),
        keeps_if_there("key", Rule::Id),
    ) else {
        return Err(Code::InvalidPayload);
    };
    judge_data(kind, data)?;
    let mut expected = Expected {
        kind,
        data,
        timestamp: line
            .get("timestamp")
            .and_then(Tree::number)
            .map(|at| at as u64),
        key: line.get("key").and_then(Tree::text),
        customer: customer(kind, data),
        roles: RoleMask::ALL,
        owners: Vec::new(),
        users: None,
        excluded: Vec::new(),
        session: None,
    };
    let has_roles = kind
        .fields()
        .iter()
        .any(|field| field.name == "targetRoles");
    if let Some(named) = data.get("targetRoles").filter(|_| has_roles) {
        expected.roles = roles(named).ok_or(Code::InvalidPayload)?;
    }
    if let Some(to) = line.get("to") {
        aim(&mut expected, to).ok_or(Code::InvalidTarget)?;
    }
    expected.owners.extend(expected.customer);
    expected.owners.extend(expected.users.iter().flatten());
    Ok(Judged::Event(expected))
}

fn judge_data(kind: EventType, data: &Tree) -> Result<(), Code> {
    let is_good = kind
        .fields()
        .iter()
        .all(|field| match data.get(field.name) {
            Some(value) => keeps(field.rule, value),
            None => !field.required,
        });
    if !is_good || (kind == EventType::InventoryUpdated && !difference_holds(data)) {
        return Err(Code::InvalidPayload);
    }
    Ok(())
}

fn customer(kind: EventType, data: &Tree) -> Option<&str> {
    let is_owned = kind.fields().iter().any(|field| field.name == "customerId");
    data.get("customerId")
        .and_then(Tree::text)
        .filter(|_| is_owned)
}

/// Within 1e-9 of the largest of the three. Halved, so that nothing overflows.
fn difference_holds(data: &Tree) -> bool {
    let half = |name: &str| {
        data.get(name)
            .and_then(Tree::number)
            .map(|number| number / 2.0)
    };
    let numbers = (half("oldStock"), half("newStock"), half("difference"));
    let (Some(old), Some(new), Some(difference)) = numbers else {
        return false;
    };
    let largest = [old, new, difference]
        .map(f64::abs)
        .into_iter()
        .fold(0.0, f64::max);
    (new - old - difference).abs() <= largest * 1e-9
}

/// Takes what `to` says; `None` if it may not be said.
fn aim<'t>(expected: &mut Expected<'t>, to: &'t Tree) -> Option<()> {
    for (name, value) in to.members()? {
        match name.as_str() {
            "roles" => expected.roles = expected.roles.intersect(roles(value)?),
            "owners" => expected.owners = ids(value).filter(|ids| !ids.is_empty())?,
            "userIds" => expected.users = Some(ids(value).filter(|ids| !ids.is_empty())?),
            "excludeUserIds" => expected.excluded = ids(value)?,
            "excludeSessionId" => expected.session = Some(id(value)?),
            _ => return None,
        }
    }
    Some(())
}

fn ids(list: &Tree) -> Option<Vec<&str>> {
    match list {
        Tree::Array(elements) => elements.iter().map(id).collect(),
        _ => None,
    }
}

/// 1 to 128 Unicode scalar values, none of them a control character.
pub fn id(value: &Tree) -> Option<&str> {
    let text = value.text()?;
    ((1..=128).contains(&text.chars().count()) && !text.chars().any(char::is_control))
        .then_some(text)
}

fn roles(list: &Tree) -> Option<RoleMask> {
    let Tree::Array(names) = list else {
        return None;
    };
    let mut mask = RoleMask::EMPTY;
    for name in names {
        let name = name.text().filter(|name| *name != Role::Public.name())?;
        mask.insert(Role::ALL.into_iter().find(|role| role.name() == name)?);
    }
    (!mask.is_empty()).then_some(mask)
}

fn keeps(rule: Rule, value: &Tree) -> bool {
    let text = value.text();
    let number = value.number();
    match rule {
        Rule::Id => id(value).is_some(),
        Rule::Text => text.is_some_and(|text| text.len() <= 4096),
        Rule::Number => number.is_some(),
        Rule::NonNegative => number.is_some_and(|number| number >= 0.0),
        Rule::PositiveInteger => {
            number.is_some_and(|number| number >= 1.0 && number.trunc() == number)
        }
        Rule::Timestamp => number.is_some_and(|number| {
            (0.0..=TIMESTAMP_MAX).contains(&number) && number.trunc() == number
        }),
        Rule::Boolean => matches!(value, Tree::Bool(_)),
        Rule::Constant(constant) => *value == Tree::Bool(constant),
        Rule::Object => value.members().is_some(),
        Rule::OneOf(words) => text.is_some_and(|text| words.contains(&text)),
        Rule::OrderStatus => {
            text.is_some_and(|text| text == OWN_STATUS || ORDER_STATUSES.contains(&text))
        }
        Rule::Roles => roles(value).is_some(),
        Rule::ActionUrl => text.is_some_and(leads_somewhere_harmless),
    }
}

/// One `/` and no second one nor `\`, or http(s) with a host.
fn leads_somewhere_harmless(url: &str) -> bool {
    let has_host = |rest: &str| {
        let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
        let authority = &rest[..end];
        let host = authority
            .rfind('@')
            .map_or(authority, |at| &authority[at + 1..]);
        let host = match host.strip_prefix('[') {
            Some(address) => match address.find(']') {
                Some(close) => &address[..close],
                None => "",
            },
            None => &host[..host.find(':').unwrap_or(host.len())],
        };
        !host.is_empty() && !host.chars().any(char::is_whitespace)
    };
    if url.len() > 4096 || url.chars().any(char::is_control) {
        return false;
    }
    match url.as_bytes() {
        [b'/', b'/' | b'\\', ..] => false,
        [b'/', ..] => true,
        _ => ["http://", "https://"]
            .iter()
            .any(|scheme| url.strip_prefix(scheme).is_some_and(has_host)),
    }
}
