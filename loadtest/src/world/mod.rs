//! What is sent, to whom it is addressed, and who must therefore receive it.
//!
//! A run's events are numbered from 0, and everything about event `n` and about connection `k`
//! follows from those numbers alone: the sending side writes a line from it, the receiving side
//! knows without a message what has to come. Nothing here is taken from the server's code, so that
//! a mistake there is not repeated here.
//!
//! - [`orders`]: every connection is staff and sees every order, or every connection is a customer
//!   and sees its own
//! - [`shop`]: a shop's day: roles, namespaces, types, sizes and targets in realistic shares

pub mod orders;
pub mod roles;
pub mod shop;

use serde_json::Value;

use orders::Orders;
use roles::{Interest, Namespace, Role};
use shop::Shop;

/// The event numbers of a run begin, as the first field of each event's data, with this text; the
/// run's name, a dash and [`NUMBER_DIGITS`] digits follow.
pub const NUMBER_FIELD: &str = r#""seq":""#;

/// Digits of an event's or user's number, filled up with zeros: always in the same place, and read
/// without looking for their end.
pub const NUMBER_DIGITS: usize = 10;

/// Who a connection is and what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// What its token says; [`Role::Public`] has none.
    pub role: Role,
    /// Number of its user. Several connections may share one.
    pub user: u32,
    /// Number of its session; no two connections share one.
    pub session: u32,
    /// The event types it subscribes to.
    pub interest: Interest,
}

/// What is sent and who may see it.
#[derive(Debug, Clone)]
pub enum World {
    /// Orders that all see.
    Shared(Orders),
    /// Orders, each of one customer's.
    Own(Orders),
    /// A shop's day.
    Shop(Shop),
}

impl World {
    /// The user behind connection `slot` of a run.
    pub fn member(&self, slot: u32) -> Member {
        let orders = Interest::of(&[Namespace::Orders]);
        match self {
            World::Shared(_) => Member {
                role: match slot % 10 {
                    0 => Role::Admin,
                    1..=3 => Role::Manager,
                    _ => Role::Staff,
                },
                user: slot,
                session: slot,
                interest: orders,
            },
            World::Own(_) => Member {
                role: Role::Customer,
                user: slot,
                session: slot,
                interest: orders,
            },
            World::Shop(shop) => shop.member(slot),
        }
    }

    /// Appends event `number` as a line for the ingest socket.
    pub fn put_line(&self, number: u32, out: &mut Vec<u8>) {
        match self {
            World::Shared(orders) | World::Own(orders) => orders.put_line(number, out),
            World::Shop(shop) => shop.put_line(number, out),
        }
    }

    /// Whether a received frame's type and data are those of event `number`, as JSON.
    pub fn is_content(&self, number: u32, payload: &[u8]) -> bool {
        let mut line = Vec::new();
        self.put_line(number, &mut line);
        // Socket.IO wraps the object in an array.
        let start = payload.iter().position(|&byte| byte == b'{');
        let end = payload.iter().rposition(|&byte| byte == b'}');
        let (Some(start), Some(end)) = (start, end) else {
            return false;
        };
        let received: Result<Value, _> = serde_json::from_slice(&payload[start..=end]);
        let sent: Result<Value, _> = serde_json::from_slice(&line);
        received.is_ok_and(|received| {
            sent.is_ok_and(|sent| {
                received["type"] == sent["type"] && received["data"] == sent["data"]
            })
        })
    }

    /// Whether `member` must receive event `number` while it is subscribed.
    #[inline]
    pub fn sees(&self, member: &Member, number: u32) -> bool {
        match self {
            World::Shared(_) => true,
            World::Own(orders) => orders.owner(number) == member.user,
            World::Shop(shop) => shop.sees(member, number),
        }
    }

    /// The first event from number `from` on, but before `end`, that `member` must receive; `end`
    /// if there is none.
    #[inline]
    pub fn next_seen(&self, member: &Member, from: u32, end: u32) -> u32 {
        match self {
            World::Shared(_) => from.min(end),
            World::Own(orders) => orders.next_of(member.user, from).min(end),
            World::Shop(shop) => (from..end)
                .find(|&number| shop.sees(member, number))
                .unwrap_or(end),
        }
    }
}

/// Appends `number` with [`NUMBER_DIGITS`] digits.
pub fn put_number(number: u32, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + NUMBER_DIGITS, b'0');
    write_number(number, &mut out[start..]);
}

/// Writes `number` over [`NUMBER_DIGITS`] digits.
pub fn write_number(mut number: u32, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Reads [`NUMBER_DIGITS`] digits: eight at once, then two. It is done for every delivery.
#[inline]
pub fn read_number(digits: &[u8; NUMBER_DIGITS]) -> Option<u32> {
    let (high, low) = digits.split_first_chunk::<8>()?;
    let values = u64::from_le_bytes(*high) ^ 0x3030_3030_3030_3030;
    // A byte that was a digit is 0 to 9 now: adding 0x76 then leaves its highest bit clear.
    let above = values.wrapping_add(0x7676_7676_7676_7676) | values;
    if above & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    // Neighbours are joined: eight digits to four pairs, two quadruples, one number.
    let pairs = (values * 10 + (values >> 8)) & 0x00FF_00FF_00FF_00FF;
    let quadruples = (pairs * 100 + (pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    let number = (quadruples * 10_000 + (quadruples >> 32)) & 0xFFFF_FFFF;
    low.iter()
        .try_fold(number, |number, digit| {
            let value = digit.wrapping_sub(b'0');
            (value <= 9).then(|| number * 10 + u64::from(value))
        })
        .and_then(|number| u32::try_from(number).ok())
}

/// A user's name.
pub fn user_name(user: u32) -> String {
    format!("user-{user:0width$}", width = NUMBER_DIGITS)
}

/// A session's name.
pub fn session_name(session: u32) -> String {
    format!("session-{session}")
}

/// Appends filler: words of a shop, `length` bytes.
pub fn put_filler(length: usize, out: &mut Vec<u8>) {
    const WORDS: &[u8] = b"please leave the parcel with the neighbour at number twelve and ring twice, thank you very much; ";
    let words = WORDS.iter().cycle();
    out.extend(words.take(length));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were_written() {
        for number in [0, 7, 1234, 1_234_567_890, 4_098_765_432, u32::MAX] {
            let mut text = Vec::new();
            put_number(number, &mut text);
            assert_eq!(read_number(text[..].try_into().unwrap()), Some(number));
        }
        for bad in [
            b"00000x0000",
            b"9999999999",
            b"000000000-",
            b"0000000:00",
            b"/000000000",
            b"\xB0000000000",
        ] {
            assert_eq!(read_number(bad), None);
        }
    }

    #[test]
    fn the_next_seen_event_agrees_with_what_is_seen() {
        let shop = Shop::new("r", 200, shop::Kinds::Day);
        for world in [
            World::Shared(Orders::new("r", 1, 250)),
            World::Own(Orders::new("r", 7, 250)),
            World::Shop(shop),
        ] {
            for slot in 0..7 {
                let member = world.member(slot);
                let mut from = 0;
                for number in (0..300).filter(|&number| world.sees(&member, number)) {
                    assert_eq!(world.next_seen(&member, from, 300), number);
                    from = number + 1;
                }
                assert_eq!(world.next_seen(&member, from, 300), 300);
            }
        }
    }
}
