//! Where a client stands: behind which event of the common order, and what it has had beside that.
//!
//! Where several hosts act as one, a host that is cut off from the others may deliver its own events
//! alone (docs/cluster.md). Who has had them before they have a place in the common order has a
//! [`Mark`] until they have one. An id tells all of it, so that any host can go on from there:
//!
//! ```text
//! c1-1838796390400000                         behind this event
//! c1-1838796390400000~9f3a.12.3-1838796390400003
//!                                             and of host 9f3a's batch 12 the first 3, and all its earlier ones
//! c1-1838796390400000~9f3a.12.3+77b0.4.1-1838796390400004
//!                                             the id of an event that host 77b0 has delivered alone
//! ```
//!
//! Whatever an id tells, it ends in a number that rises from event to event on one connection, its
//! *height*. Where nothing is had beside, that is the event's own number. Else it is one more than that of
//! the event before, or the event's own if that is higher: so it never gets further ahead than by as many
//! as were had beside, and these have numbers, too, when they come.
//!
//! Pure. Made by the router and by replays, read from a client's `since`.

use serde::{Deserialize, Serialize};

/// The most marks an id may have: one for each host that was cut off while a client was there, and whose
/// events the client still waits to find in the common order.
pub const MARKS_MAX: usize = 8;

/// Of this host's events some were had: all of its batches before this one, and the first ones of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// The host.
    pub host: u64,
    /// Which of its batches.
    pub batch: u64,
    /// So many events of that.
    pub place: u32,
}

impl Mark {
    /// Whether whoever has this one has had the other one's events, too.
    pub fn covers(&self, other: &Mark) -> bool {
        self.host == other.host && (self.batch, self.place) >= (other.batch, other.place)
    }

    fn put(&self, sign: u8, out: &mut Vec<u8>) {
        let Mark { host, batch, place } = self;
        out.push(sign);
        out.extend_from_slice(format!("{host:x}.{batch}.{place}").as_bytes());
    }

    fn parse(text: &str) -> Option<Mark> {
        let (host, rest) = text.split_once('.')?;
        let (batch, place) = rest.split_once('.')?;
        Some(Mark {
            host: u64::from_str_radix(host, 16).ok()?,
            batch: batch.parse().ok()?,
            place: place.parse().ok()?,
        })
    }
}

/// Where somebody stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Behind the event with this number.
    pub number: u64,
    /// What was had beside: one for a host, ordered by host.
    pub marks: Vec<Mark>,
    /// What the id of the newest event ended in.
    pub height: u64,
}

impl Position {
    /// Behind this event, and nothing beside.
    pub fn of(number: u64) -> Position {
        Position {
            number,
            marks: Vec::new(),
            height: number,
        }
    }

    /// Whether the number tells all of it.
    pub fn is_plain(&self) -> bool {
        self.marks.is_empty() && self.height == self.number
    }

    /// Whether whoever stands here may be sent what those are who stand `there`.
    pub fn joins(&self, there: &Position) -> bool {
        self.number == there.number && self.marks == there.marks && self.height <= there.height
    }

    /// What was had by this mark was had, too.
    pub fn add(&mut self, mark: Mark) {
        match self
            .marks
            .binary_search_by_key(&mark.host, |known| known.host)
        {
            Ok(at) if self.marks[at].covers(&mark) => {}
            Ok(at) => self.marks[at] = mark,
            Err(at) => self.marks.insert(at, mark),
        }
    }
}

/// Where the part of an id ends that is epoch and number.
fn plain_len(id: &str) -> usize {
    let beside = id.find(['~', '+']).unwrap_or(id.len());
    let mut hyphens = id[..beside].match_indices('-').skip(1);
    hyphens.next().map_or(beside, |(at, _)| at)
}

/// The id without what was had beside, and this: marks, and the height if it is told. None if they are not
/// as [`put_beside`] writes them.
pub(super) fn parse_beside(id: &str) -> Option<(&str, Vec<Mark>, Option<u64>)> {
    let (plain, text) = id.split_at(plain_len(id));
    if text.is_empty() {
        return Some((plain, Vec::new(), None));
    }
    let (signs, height) = text.rsplit_once('-')?;
    let height = height.parse().ok()?;
    let (beside, own) = match signs.split_once('+') {
        Some((beside, own)) => (beside, Some(Mark::parse(own)?)),
        None => (signs, None),
    };
    let mut marks = Vec::new();
    for part in beside.split('~').skip(1) {
        if marks.len() == MARKS_MAX {
            return None;
        }
        marks.push(Mark::parse(part)?);
    }
    // Written back and compared, as all of an id is.
    let mut written = Vec::new();
    put_beside(&marks, own, height, &mut written);
    let is_one_a_host = marks.is_sorted_by(|one, next| one.host < next.host);
    if written != text.as_bytes() || !is_one_a_host {
        return None;
    }
    let mut position = Position {
        marks,
        ..Position::default()
    };
    if let Some(own) = own {
        position.add(own);
    }
    Some((plain, position.marks, Some(height)))
}

/// Appends to an id what was had beside, and its height: `own` is the event itself, of a host that delivers
/// it alone.
pub fn put_beside(marks: &[Mark], own: Option<Mark>, height: u64, out: &mut Vec<u8>) {
    // Too many cannot be: the first ones are left out, and their events may come again.
    let marks = &marks[marks.len().saturating_sub(MARKS_MAX)..];
    let is_beside = |mark: &&Mark| own.is_none_or(|own| own.host != mark.host);
    for mark in marks.iter().filter(is_beside) {
        mark.put(b'~', out);
    }
    if let Some(own) = own {
        own.put(b'+', out);
    }
    out.push(b'-');
    out.extend_from_slice(itoa::Buffer::new().format(height).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(host: u64, batch: u64, place: u32) -> Mark {
        Mark { host, batch, place }
    }

    fn text(marks: &[Mark], own: Option<Mark>) -> String {
        let mut text = b"c1-7".to_vec();
        put_beside(marks, own, 9, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn marks_stand_behind_the_number_and_the_height_comes_last() {
        let beside = [mark(0xab, 12, 3), mark(0xcd, 1, 1)];
        assert_eq!(text(&beside, None), "c1-7~ab.12.3~cd.1.1-9");
        let own = mark(0xab, 12, 4);
        assert_eq!(text(&beside, Some(own)), "c1-7~cd.1.1+ab.12.4-9");
        assert_eq!(
            parse_beside("c1-7~cd.1.1+ab.12.4-9"),
            Some(("c1-7", vec![own, mark(0xcd, 1, 1)], Some(9)))
        );
        assert_eq!(parse_beside("c1-7"), Some(("c1-7", Vec::new(), None)));
        assert_eq!(parse_beside("c1-7-9"), Some(("c1-7", Vec::new(), Some(9))));
    }

    #[test]
    fn only_marks_as_written_are_read() {
        for id in [
            "c1-7~-9",
            "c1-7+-9",
            "c1-7~ab-9",
            "c1-7~ab.1-9",
            "c1-7~ab.1.1",
            "c1-7~ab.1.1-",
            "c1-7~ab.1.1-09",
            "c1-7~ab.1.1-x",
            "c1-7~ab.1.1-9-9",
            "c1-7~ab.1.1.1-9",
            "c1-7~AB.1.1-9",
            "c1-7~0ab.1.1-9",
            "c1-7~ab.01.1-9",
            "c1-7~ab.1.+1-9",
            "c1-7~ab.1.-1-9",
            "c1-7+ab.1.1~cd.1.1-9",
            "c1-7+ab.1.1+cd.1.1-9",
            "c1-7~cd.1.1~ab.1.1-9",
            "c1-7~ab.1.1~ab.1.2-9",
            "c1-7~ab.1.1+ab.1.2-9",
            "c1-7~x.1.1-9",
            "c1-7~ab.1.4294967296-9",
            "c1-7~10000000000000000.1.1-9",
        ] {
            assert_eq!(parse_beside(id), None, "{id}");
        }
        let nine: Vec<Mark> = (1..=9).map(|host| mark(host, 1, 1)).collect();
        assert_eq!(parse_beside(&text(&nine[1..], None)).unwrap().1.len(), 8);
        let long: String = nine
            .iter()
            .map(|mark| format!("~{:x}.1.1", mark.host))
            .collect();
        assert_eq!(parse_beside(&format!("c1-7{long}-9")), None);
        assert_eq!(text(&nine, None), text(&nine[1..], None));
    }

    proptest! {
        #[test]
        fn marks_read_back(hosts: [u64; 3], batch: u64, place: u32, is_own: bool) {
            let mut position = Position::of(7);
            for host in hosts {
                position.add(mark(host, batch, place));
            }
            let own = is_own.then(|| position.marks[0]);
            let text = text(&position.marks, own);
            prop_assert_eq!(parse_beside(&text), Some(("c1-7", position.marks, Some(9))));
        }

        #[test]
        fn whatever_an_id_is_reading_it_ends(id in "[c1~+.a-f0-9-]{0,60}") {
            if let Some((plain, marks, _)) = parse_beside(&id) {
                prop_assert!(id.starts_with(plain));
                prop_assert!(marks.len() <= MARKS_MAX + 1);
            }
        }
    }
}
