//! One browser's connection: its socket and what the reactor has to remember of it.
//!
//! Owned by the reactor's slab; as small as it can be, because there are many and nearly all are
//! idle. Rarely needed state is boxed and exists only while it is needed. What the connection is
//! subscribed to stands in the directory, under the same key.

use std::net::IpAddr;

use mio::net::TcpStream;

use super::layer::Layer;
use super::ticks::Tick;
use crate::rate::Bucket;
use crate::wire::Assembler;

/// A slot of the slab.
pub struct Connection {
    pub(super) stream: TcpStream,
    /// Tells this connection from an earlier one in the same slot.
    pub(super) generation: u32,
    pub(super) stage: Stage,
    /// Whether a frame came since the last ping.
    pub(super) heard: bool,
    /// A ping is out and its answer awaited.
    pub(super) pinged: bool,
    /// `token:expiring` was sent for the token in force.
    pub(super) expiry_told: bool,
    /// The poll said that the client has shut down its side, or that the socket failed.
    pub(super) may_have_ended: bool,
    /// Waits in the list of connections to be read.
    pub(super) queued: bool,
    /// Asked that waiting events give way to newer ones.
    pub(super) conflates: bool,
    /// Messages refused for their rate in the minute that began at `refusals_since`.
    pub(super) refusals: u16,
    pub(super) refusals_since: Tick,
    /// The tick it stands at in the wheel.
    pub(super) due: Tick,
    /// When the next ping is due, or the last one's answer.
    pub(super) heartbeat: Tick,
    /// What the stage waits for: the request head, authentication, the end of lingering.
    pub(super) stage_due: Option<Tick>,
    pub(super) head: Option<Box<PartialHead>>,
    pub(super) assembler: Assembler,
    /// What stands between it and its bare socket, if anything does.
    pub(super) layer: Option<Box<Layer>>,
    pub(super) messages: Bucket,
    pub(super) controls: Bucket,
    /// When the token in force ends, in milliseconds of the wall clock; 0 without a token.
    pub(super) expires_at: u64,
    /// So many milliseconds before that the client is told.
    pub(super) expiry_notice: u16,
    /// The client's address: the peer's, or the one a trusted proxy tells.
    pub(super) ip: IpAddr,
}

/// Bytes of a cut-off request, or of the PROXY header before it.
pub struct PartialHead(pub(super) Vec<u8>);

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was seen; a trusted proxy's PROXY header may come first.
    Fresh,
    /// The TLS handshake is awaited, or under way.
    Securing,
    /// The request head is awaited.
    Head,
    /// As `Head`, after at least one answer on this connection.
    KeepAlive,
    /// A WebSocket.
    Open,
    /// Its last frames, or the rest of an answer, still have to leave the outbox; then it lingers.
    Leaving,
    /// Our side is shut down; what the client still sends is thrown away: so many bytes more.
    Lingering {
        /// Bytes that will still be read.
        left: u32,
    },
}

impl Connection {
    /// A connection just accepted from `ip`.
    pub fn new(stream: TcpStream, generation: u32, ip: IpAddr, head_due: Tick) -> Self {
        Self {
            stream,
            generation,
            stage: Stage::Fresh,
            heard: false,
            pinged: false,
            expiry_told: false,
            may_have_ended: false,
            queued: false,
            conflates: false,
            refusals: 0,
            refusals_since: Tick(0),
            due: head_due,
            heartbeat: Tick(0),
            stage_due: Some(head_due),
            head: None,
            assembler: Assembler::default(),
            layer: None,
            messages: Bucket::default(),
            controls: Bucket::default(),
            expires_at: 0,
            expiry_notice: 0,
            ip,
        }
    }

    /// Whether it counts as a WebSocket and has a seat in the directory.
    pub fn is_websocket(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// When to say that the token in force will end, in milliseconds of the wall clock.
    pub fn expiry_notice_at(&self) -> u64 {
        self.expires_at - u64::from(self.expiry_notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum in `limits.rs` counts on it.
    #[test]
    fn a_slot_is_small() {
        // Builds with debug assertions have mio's own in the stream, which is a descriptor else.
        let beside = size_of::<Connection>() - size_of::<TcpStream>();
        assert!(beside <= 112, "{beside}");
    }
}
