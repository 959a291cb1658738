//! Sorts a turn's frames: what each class gets as a whole, and which single connections get more
//! or less than their class.
//!
//! The rules are CONTRACT section 2's. A frame that names no users goes to whole classes by role
//! and interest; owners, named users and exclusions **touch** single connections through the user
//! and session index. A touched connection takes the general path: its class's frames and its own
//! marks, merged in order.

use std::sync::Arc;

use super::sight::Reach;
use super::{Directory, NONE};
use crate::access::RoleMask;
use crate::event::{Block, EventType, Frame};

/// A turn's frames sorted; kept by the reactor and used again every turn.
#[derive(Default)]
pub struct Plan {
    /// Every frame of the turn, in order: its block and its place in it.
    frames: Vec<(u32, u32)>,
    /// Classes that get something.
    classes: Vec<u32>,
    touched: Vec<Touched>,
    marks: Vec<Mark>,
}

/// A connection with marks of its own.
struct Touched {
    key: u32,
    first_mark: u32,
    last_mark: u32,
}

/// A frame that one connection gets although its class does not, or the other way round.
struct Mark {
    frame: u32,
    includes: bool,
    next: u32,
}

impl Plan {
    /// Numbers (indices into the turn's frames) of classes that get something.
    pub fn classes(&self) -> &[u32] {
        &self.classes
    }

    /// How many connections take the general path.
    pub fn touched(&self) -> usize {
        self.touched.len()
    }

    /// The byte ranges, by block, that `frames` cover; neighbours are joined.
    pub fn slices(&self, blocks: &[Arc<Block>], frames: &[u32], slices: &mut Vec<Slice>) {
        slices.clear();
        for &index in frames {
            let (block, frame) = self.frames[index as usize];
            let frame = &blocks[block as usize].frames[frame as usize];
            match slices.last_mut() {
                Some(last) if last.block == block && last.end == frame.start => {
                    last.end = frame.end
                }
                _ => slices.push(Slice {
                    block,
                    start: frame.start,
                    end: frame.end,
                }),
            }
        }
    }

    fn mark(&mut self, directory: &mut Directory, key: u32, frame: u32, includes: bool) {
        let mark = self.marks.len() as u32;
        let seat = &mut directory.seats[key as usize];
        if seat.touched == NONE {
            seat.touched = self.touched.len() as u32;
            self.touched.push(Touched {
                key,
                first_mark: mark,
                last_mark: mark,
            });
        } else {
            let touched = &mut self.touched[seat.touched as usize];
            let last = &mut self.marks[touched.last_mark as usize];
            if last.frame == frame {
                // Named twice, say as a user and as an owner: once is enough.
                return;
            }
            last.next = mark;
            touched.last_mark = mark;
        }
        self.marks.push(Mark {
            frame,
            includes,
            next: NONE,
        });
    }
}

/// A byte range of one of the turn's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Index of the block among the turn's.
    pub block: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Directory {
    /// Sorts the frames of `blocks` into `plan`. [`Directory::clear`] must follow before the next.
    pub fn plan(&mut self, blocks: &[Arc<Block>], plan: &mut Plan) {
        for (block_index, block) in blocks.iter().enumerate() {
            for (frame_index, frame) in block.frames.iter().enumerate() {
                let number = plan.frames.len() as u32;
                plan.frames.push((block_index as u32, frame_index as u32));
                self.plan_frame(block, frame, number, plan);
            }
        }
    }

    fn plan_frame(&mut self, block: &Block, frame: &Frame, number: u32, plan: &mut Plan) {
        let reach = Reach::of(&self.access, block, frame);
        self.stamp_excluded(block, frame);
        if !reach.everyone.is_empty() && self.plan_classes(frame.kind, reach.everyone, number, plan)
        {
            self.plan_exclusions(block, frame, number, reach.everyone, plan);
        }
        if !reach.named.is_empty() {
            for user in reach.names {
                self.plan_user(
                    block.text(user),
                    user.hash,
                    frame,
                    number,
                    reach.named,
                    block,
                    plan,
                );
            }
        }
    }

    fn plan_classes(
        &mut self,
        kind: EventType,
        roles: RoleMask,
        number: u32,
        plan: &mut Plan,
    ) -> bool {
        let mut any = false;
        for (index, class) in self.classes.iter_mut().enumerate() {
            if class.interest.contains(kind)
                && roles.contains(class.role)
                && !class.members.is_empty()
            {
                if class.frames.is_empty() {
                    plan.classes.push(index as u32);
                }
                class.frames.push(number);
                any = true;
            }
        }
        any
    }

    /// Marks the connections of one user that may see the frame, in any of `roles`.
    #[allow(clippy::too_many_arguments)]
    fn plan_user(
        &mut self,
        user: &str,
        hash: u64,
        frame: &Frame,
        number: u32,
        roles: RoleMask,
        block: &Block,
        plan: &mut Plan,
    ) {
        let Some(name) = self.users.find(user, hash) else {
            return;
        };
        if self.users.is_excluded(name) {
            return;
        }
        let session = block.session(frame);
        let excluded_session =
            session.and_then(|name| self.sessions.find(block.text(name), name.hash));
        for position in 0..self.users.members(name).len() {
            let key = self.users.members(name)[position];
            let seat = &self.seats[key as usize];
            let may = roles.contains(seat.role)
                && seat.interest.contains(frame.kind)
                && excluded_session.is_none_or(|session| session != seat.session);
            if may {
                plan.mark(self, key, number, true);
            }
        }
    }

    /// Marks the connections that their class's frame must leave out.
    fn plan_exclusions(
        &mut self,
        block: &Block,
        frame: &Frame,
        number: u32,
        roles: RoleMask,
        plan: &mut Plan,
    ) {
        for user in block.excluded(frame) {
            if let Some(name) = self.users.find(block.text(user), user.hash) {
                for position in 0..self.users.members(name).len() {
                    let key = self.users.members(name)[position];
                    self.exclude(key, frame.kind, number, roles, plan);
                }
            }
        }
        if let Some(session) = block.session(frame)
            && let Some(name) = self.sessions.find(block.text(session), session.hash)
        {
            for position in 0..self.sessions.members(name).len() {
                let key = self.sessions.members(name)[position];
                self.exclude(key, frame.kind, number, roles, plan);
            }
        }
    }

    fn exclude(
        &mut self,
        key: u32,
        kind: EventType,
        number: u32,
        roles: RoleMask,
        plan: &mut Plan,
    ) {
        let seat = &self.seats[key as usize];
        if roles.contains(seat.role) && seat.interest.contains(kind) {
            plan.mark(self, key, number, false);
        }
    }

    fn stamp_excluded(&mut self, block: &Block, frame: &Frame) {
        self.users.begin_frame();
        for user in block.excluded(frame) {
            if let Some(name) = self.users.find(block.text(user), user.hash) {
                self.users.exclude(name);
            }
        }
    }

    /// The members of a planned class and the frames they all get.
    pub fn class(&self, number: u32) -> (&[u32], &[u32]) {
        let class = &self.classes[number as usize];
        (&class.members, &class.frames)
    }

    /// Whether a connection takes the general path this turn.
    pub fn is_touched(&self, key: u32) -> bool {
        self.seats[key as usize].touched != NONE
    }

    /// The `index`th touched connection and, in `frames`, all it gets this turn, in order.
    pub fn touched(&self, plan: &Plan, index: usize, frames: &mut Vec<u32>) -> u32 {
        let touched = &plan.touched[index];
        let class = self.seats[touched.key as usize].class;
        let of_class: &[u32] = if class == NONE {
            &[]
        } else {
            &self.classes[class as usize].frames
        };
        frames.clear();
        let mut of_class = of_class.iter().copied().peekable();
        let mut mark = touched.first_mark;
        while mark != NONE {
            let Mark {
                frame,
                includes,
                next,
            } = plan.marks[mark as usize];
            while let Some(before) = of_class.next_if(|&other| other < frame) {
                frames.push(before);
            }
            if includes {
                frames.push(frame);
            }
            of_class.next_if_eq(&frame);
            mark = next;
        }
        frames.extend(of_class);
        touched.key
    }

    /// Makes plan and directory ready for the next turn.
    pub fn clear(&mut self, plan: &mut Plan) {
        for class in plan.classes.drain(..) {
            self.classes[class as usize].frames.clear();
        }
        for touched in plan.touched.drain(..) {
            self.seats[touched.key as usize].touched = NONE;
        }
        plan.marks.clear();
        plan.frames.clear();
    }
}
