//! Conflation: which waiting events give way to newer ones, where a client asked for it.
//!
//! Part of the outbox. Of a product's stock and of its price the newest is what counts: whoever
//! reads too slowly to see each of them is better off without those that are out of date. What an
//! event is about is read from its frame, and only for those who asked and have fallen behind; so
//! events cost nobody else anything for it.

use std::borrow::Cow;

use compact_str::CompactString;
use hashbrown::HashMap;
use serde::Deserialize;

use super::{Piece, lengths};
use crate::event::{EventType, kind_of};

/// What events that replace each other have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Product {
    kind: EventType,
    /// `data.productId`, unescaped.
    id: CompactString,
}

/// A waiting event that may give way: a frame of its own.
pub(super) struct Waiting {
    pub(super) frame: Piece,
    pub(super) product: Product,
    /// The number of the one of the same product that waits before it.
    pub(super) older: Option<u64>,
}

/// What an outbox knows of its waiting events that may give way.
#[derive(Default)]
pub(super) struct Conflation {
    /// The number of each product's newest one.
    pub(super) newest: HashMap<Product, u64>,
    /// Pieces that are gone but still have their place.
    pub(super) gaps: usize,
    /// The number of the last notice.
    pub(super) notice: Option<u64>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, rename = "productId")]
    product_id: Cow<'a, str>,
}

impl Product {
    /// What the event of this whole frame is about, if it is one that may give way.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let payload = frame.get(lengths(frame).0..)?;
        let kind = kind_of(payload).filter(|kind| kind.gives_way())?;
        let Payload { data } = serde_json::from_slice(payload).ok()?;
        let id = CompactString::from(data.product_id);
        Some(Self { kind, id })
    }

    /// Bytes of memory beside its own size.
    fn spilled(&self) -> usize {
        if self.id.is_heap_allocated() {
            self.id.capacity()
        } else {
            0
        }
    }
}

impl Waiting {
    /// Bytes of memory that it takes, its frame aside; with the index's copy of a long id.
    pub(super) fn own(&self) -> usize {
        size_of::<Self>() + 2 * self.product.spilled()
    }
}

impl Conflation {
    /// Event `number` of this product no longer waits.
    pub(super) fn forget(&mut self, product: &Product, number: u64) {
        if self.newest.get(product) == Some(&number) {
            self.newest.remove(product);
        }
    }

    /// Bytes of memory that it takes, long ids aside.
    pub(super) fn own(&self) -> usize {
        // The table has a byte of its own for each place.
        size_of::<Self>() + self.newest.capacity() * (size_of::<(Product, u64)>() + 1)
    }
}
