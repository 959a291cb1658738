//! How bytes lie in a journal's file: one record after the other, each with its checksum.
//!
//! ```text
//! mark  4 bytes   F5 's' 'w' 00: the first and the last never stand in text
//! kind  u32       all numbers little-endian
//! length of the body  u32
//! CRC-32 of kind, length and body  u32
//! body
//! ```
//!
//! Pure. [`scan`] finds the records of a file whatever has happened to it: what is damaged is told
//! with its place and passed over.

use std::io::IoSlice;

use bytes::{Buf, BufMut};
use memchr::memmem;

const MARK: [u8; 4] = [0xF5, b's', b'w', 0];

/// The length of what stands before a body, in bytes.
pub const HEAD: usize = 16;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// What the file is, and how to read it: JSON, always first.
    Preface = 1,
    /// Events.
    Block = 2,
    /// Keys alone, of events that are kept no more.
    Keys = 3,
}

impl Kind {
    fn of(number: u32) -> Option<Kind> {
        [Kind::Preface, Kind::Block, Kind::Keys]
            .into_iter()
            .find(|kind| *kind as u32 == number)
    }
}

/// The head of a record whose body is `body`, in parts. `None`: it is longer than a record can be.
pub fn head(kind: Kind, body: &[IoSlice<'_>]) -> Option<[u8; HEAD]> {
    let len = u32::try_from(body.iter().map(|part| part.len()).sum::<usize>()).ok()?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&(kind as u32).to_le_bytes());
    crc.update(&len.to_le_bytes());
    for part in body {
        crc.update(part);
    }
    let mut head = [0; HEAD];
    let mut out = &mut head[..];
    out.put_slice(&MARK);
    out.put_u32_le(kind as u32);
    out.put_u32_le(len);
    out.put_u32_le(crc.finalize());
    Some(head)
}

/// One thing found in a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A record.
    Record(Kind, &'a [u8]),
    /// So many bytes, from this place on, that are no record; whole ones follow.
    Damage { at: usize, len: usize },
    /// So many bytes, from this place on to the end of the file, that hold no record any more.
    Tail { at: usize, len: usize },
}

impl Found<'_> {
    /// How long it is in the file, in bytes.
    pub fn len(&self) -> usize {
        match self {
            Found::Record(_, body) => HEAD + body.len(),
            Found::Damage { len, .. } | Found::Tail { len, .. } => *len,
        }
    }
}

/// What is in a file with these bytes, from front to back.
pub fn scan(bytes: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at == bytes.len() {
            return None;
        }
        let start = at;
        if let Some((kind, body)) = record(&bytes[start..]) {
            at += HEAD + body.len();
            return Some(Found::Record(kind, body));
        }
        let is_record = |found: &usize| record(&bytes[start + 1 + found..]).is_some();
        match memmem::find_iter(&bytes[start + 1..], &MARK).find(is_record) {
            Some(found) => {
                at = start + 1 + found;
                let len = at - start;
                Some(Found::Damage { at: start, len })
            }
            None => {
                at = bytes.len();
                let len = at - start;
                Some(Found::Tail { at: start, len })
            }
        }
    })
}

/// The record that begins here, if it is whole and unharmed.
fn record(mut bytes: &[u8]) -> Option<(Kind, &[u8])> {
    if bytes.len() < HEAD || !bytes.starts_with(&MARK) {
        return None;
    }
    bytes.advance(MARK.len());
    let kind = Kind::of(bytes.get_u32_le())?;
    let len = bytes.get_u32_le() as usize;
    let crc = bytes.get_u32_le();
    let body = bytes.get(..len)?;
    let whole = head(kind, &[IoSlice::new(body)])?;
    (whole[HEAD - 4..] == crc.to_le_bytes()).then_some((kind, body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(kind: Kind, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&head(kind, &[IoSlice::new(body)]).unwrap());
        out.extend_from_slice(body);
    }

    fn file() -> Vec<u8> {
        let mut file = Vec::new();
        put(Kind::Preface, b"{}", &mut file);
        put(Kind::Block, b"one", &mut file);
        put(Kind::Keys, b"", &mut file);
        put(Kind::Block, b"two", &mut file);
        file
    }

    fn bodies<'a>(file: &'a [u8]) -> Vec<&'a [u8]> {
        let body = |found| match found {
            Found::Record(_, body) => Some(body),
            _ => None,
        };
        scan(file).filter_map(body).collect::<Vec<&'a [u8]>>()
    }

    #[test]
    fn records_are_found_as_they_were_put() {
        let file = file();
        let found: Vec<_> = scan(&file).collect();
        assert_eq!(
            found,
            [
                Found::Record(Kind::Preface, b"{}"),
                Found::Record(Kind::Block, b"one"),
                Found::Record(Kind::Keys, b""),
                Found::Record(Kind::Block, b"two"),
            ]
        );
        assert_eq!(scan(b"").count(), 0);
    }

    #[test]
    fn a_file_cut_anywhere_ends_in_a_tail() {
        let file = file();
        for end in 0..file.len() {
            let whole = bodies(&file[..end]);
            assert!(bodies(&file).starts_with(&whole));
            let used: usize = whole.iter().map(|body| HEAD + body.len()).sum();
            let last = scan(&file[..end]).last();
            if used == end {
                assert!(!matches!(last, Some(Found::Tail { .. })), "{end}");
            } else {
                let (at, len) = (used, end - used);
                assert_eq!(last, Some(Found::Tail { at, len }));
            }
        }
    }

    #[test]
    fn what_follows_a_damaged_record_is_found() {
        let file = file();
        let first = HEAD + 2;
        for at in first..first + HEAD + 3 {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            let len = HEAD + 3;
            let found: Vec<_> = scan(&damaged).collect();
            assert_eq!(found[1], Found::Damage { at: first, len }, "{at}");
            assert_eq!(bodies(&damaged), [&b"{}"[..], b"", b"two"]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_scanned_to_their_end(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
        ) {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, file());
            let len: usize = scan(&bytes).map(|found| found.len()).sum();
            prop_assert_eq!(len, bytes.len());
            prop_assert!(bodies(&bytes).contains(&&b"two"[..]));
        }
    }
}
