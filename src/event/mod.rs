//! What an event is: the catalogue of types, a line's way to an [`Event`], and an event's way to
//! the frame that browsers get.
//!
//! ```text
//! line ──Parser──▶ Event (borrows the line) ──BlockBuilder──▶ Block (frames, shared by Arc)
//! ```
//!
//! Called by the router (lines, blocks), the reactors (blocks, client-published events) and the
//! command line (the catalogue). Pure: no sockets, no clock.

pub mod catalogue;
