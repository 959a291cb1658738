//! Event ids: the server run they belong to, and a sequence number in it.
//!
//! Written into frames by the block builder, shown as `position`, read back from a client's
//! `since`. To clients an id is opaque.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The part of ids that names one run of the server, so that no id is used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of a run that began at `now_ms`, in milliseconds since 1970; `random` tells runs
    /// apart that began together.
    pub fn new(now_ms: u64, random: u16) -> Epoch {
        Epoch(now_ms << 16 | u64::from(random))
    }

    /// When the run began, in milliseconds since 1970.
    pub fn began_ms(self) -> u64 {
        self.0 >> 16
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// The id of the event with the sequence number `sequence`.
pub fn format_id(epoch: Epoch, sequence: u64) -> String {
    format!("{epoch}-{sequence}")
}

/// What all ids of one run begin with, written once: two ids are written for every event.
pub struct IdPrefix(Box<str>);

impl IdPrefix {
    /// The beginning of the ids of `epoch`.
    pub fn new(epoch: Epoch) -> IdPrefix {
        IdPrefix(format!("{epoch}-").into())
    }

    /// Appends the id with the sequence number `sequence`, as [`format_id`] has it.
    pub fn put_id(&self, sequence: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
        out.extend_from_slice(itoa::Buffer::new().format(sequence).as_bytes());
    }
}

/// The epoch and sequence number of an id, if it is exactly as [`format_id`] writes it.
pub fn parse_id(id: &str) -> Option<(Epoch, u64)> {
    let (epoch, sequence) = id.split_once('-')?;
    // Written back and compared: leading zeros, signs and capitals are nobody's id.
    let epoch = Epoch(u64::from_str_radix(epoch, 16).ok()?);
    let sequence = sequence.parse().ok()?;
    (format_id(epoch, sequence) == id).then_some((epoch, sequence))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_ids_as_written_are_read() {
        let epoch = Epoch::new(1_700_000_000_000, 0xbeef);
        assert_eq!(format_id(epoch, 42), "18bcfe56800beef-42");
        assert_eq!(parse_id("18bcfe56800beef-42"), Some((epoch, 42)));
        for id in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "+1-1",
            "1-+1",
            "01-1",
            "1-01",
            "A-1",
            "g-1",
            "1-1-1",
            "1-a",
            " 1-1",
            "1-1 ",
            "10000000000000000-1",
            "1-18446744073709551616",
        ] {
            assert_eq!(parse_id(id), None, "{id}");
        }
    }

    #[test]
    fn epochs_differ_by_time_and_by_chance() {
        assert_ne!(Epoch::new(1, 2), Epoch::new(2, 2));
        assert_ne!(Epoch::new(1, 2), Epoch::new(1, 3));
    }

    proptest! {
        #[test]
        fn ids_read_back(epoch: u64, sequence: u64) {
            let id = format_id(Epoch(epoch), sequence);
            prop_assert_eq!(parse_id(&id), Some((Epoch(epoch), sequence)));
            let mut put = Vec::new();
            IdPrefix::new(Epoch(epoch)).put_id(sequence, &mut put);
            prop_assert_eq!(put, id.as_bytes());
        }
    }
}
