//! What one step of a replay sends: frames as they lie in their blocks, and such as are copied because their
//! ids are for one connection alone.
//!
//! Filled by [`super::replay`], written by the reactor's `resume`.

use std::sync::Arc;
use std::time::Instant;

use crate::event::renaming::put_renamed;
use crate::event::{Block, Frame};
use crate::reactor::directory::Slice;

/// Frames to be sent, as ranges of blocks; its buffers are used again.
#[derive(Default)]
pub struct Batch {
    /// The blocks that the slices are of.
    pub blocks: Vec<Arc<Block>>,
    /// Ranges of their bytes, in order; neighbours are joined.
    pub slices: Vec<Slice>,
    /// Frames in the slices.
    pub frames: u64,
    /// Frames with ids for this connection alone, behind those in the slices, ...
    renamed: Vec<u8>,
    /// ... and when the block of the first of them was received.
    renamed_since: Option<Instant>,
}

impl Batch {
    /// Makes it empty.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.slices.clear();
        self.frames = 0;
        self.renamed.clear();
        self.renamed_since = None;
    }

    /// Adds a frame as it is.
    pub(super) fn add(&mut self, block: &Arc<Block>, start: u32, end: u32) {
        self.frames += 1;
        if self.renamed_since.is_some() {
            self.close();
        }
        self.put(block, start, end);
    }

    /// Adds a frame with the id that is made of its own.
    pub(super) fn add_renamed(
        &mut self,
        block: &Arc<Block>,
        frame: &Frame,
        put_id: impl FnOnce(&[u8], &mut Vec<u8>),
    ) {
        let bytes = &block.bytes[frame.start as usize..frame.end as usize];
        if put_renamed(bytes, put_id, &mut self.renamed) {
            self.frames += 1;
            self.renamed_since.get_or_insert(block.received);
        } else {
            debug_assert!(false, "all frames are as a block builder lays them out");
            self.add(block, frame.start, frame.end);
        }
    }

    /// Makes a block of the renamed frames: to be called when all are added.
    pub(super) fn close(&mut self) {
        let Some(received) = self.renamed_since.take() else {
            return;
        };
        let bytes = std::mem::take(&mut self.renamed);
        // A share of a replay, and one frame: far from 2^32 bytes.
        let end = bytes.len() as u32;
        self.put(&Arc::new(Block::of_frames(bytes, received)), 0, end);
    }

    // Once for each frame of a replay: the call would be a tenth of what a frame costs.
    #[inline(always)]
    fn put(&mut self, block: &Arc<Block>, start: u32, end: u32) {
        let is_last = |last: &Arc<Block>| Arc::ptr_eq(last, block);
        if !self.blocks.last().is_some_and(is_last) {
            self.blocks.push(Arc::clone(block));
        }
        let number = self.blocks.len() as u32 - 1;
        match self.slices.last_mut() {
            Some(last) if last.block == number && last.end == start => last.end = end,
            _ => self.slices.push(Slice {
                block: number,
                start,
                end,
            }),
        }
    }
}
