//! RFC 6455 and HTTP/1.1 without sockets: bytes in, values out.
//!
//! This room knows how the two protocols look on the wire and what in them is an error, and nothing
//! about who is connected, which tokens are good or what a message says. It has no socket and no
//! clock, so that every rule here is tested on plain bytes. The reactor calls it for each chunk it
//! reads; the router uses the close reasons and the client address; the configuration parses
//! origins with it.
//!
//! One connection passes through the files in this order: [`proxy_header`] (only from trusted
//! proxies), [`request`], [`client_address`] with [`forwarded`], [`handshake`] and [`origin`], [`response`], and then
//! [`message`] inwards and [`frame`] outwards until it ends for one of the reasons in [`close`].

pub mod client_address;
pub mod close;
mod forwarded;
pub mod frame;
pub mod handshake;
pub mod message;
pub mod origin;
pub mod proxy_header;
pub mod request;
pub mod response;

pub use close::CloseReason;
pub use frame::Opcode;
pub use message::{Assembler, Incoming, Limits, PartialMessage};
pub use origin::OriginRule;
pub use request::{Head, Request};
pub use response::Refusal;
