//! What an event is: the catalogue of types, a line's way to an [`Event`], and an event's way to
//! the frame that browsers get.
//!
//! ```text
//! line ──Parser──▶ Event (borrows the line) ──BlockBuilder──▶ Block (frames, shared by Arc)
//! ```
//!
//! Called by the router (lines, blocks), the reactors (blocks, client-published events) and the
//! command line (the catalogue). Pure: no sockets, no clock.

mod audience;
pub mod block;
pub mod catalogue;
pub mod id;
mod json;
pub mod parse;
pub mod position;
pub mod publish;
pub mod refusal;
pub mod renaming;
pub mod rules;
pub mod runs;
pub mod safe_text;
pub mod stored;
pub mod target;

pub use block::{Block, BlockBuilder, Frame, Name, NameHasher, Naming, Origin, kind_of};
pub use catalogue::{EventType, types_of};
pub use id::{Epoch, format_id};
pub use parse::{Event, Line, Parser, Rules};
pub use position::{Mark, Position};
pub use publish::PublishError;
pub use refusal::{Code, Refusal};
pub use rules::is_id;
pub use runs::{Run, Runs};
pub use target::Targets;
