//! A connection as the simulation has it: what one side has said waits here until chance lets a part of
//! it through.
//!
//! Below it lies a pair of the kernel's sockets, which is exact in one thread: what is written is there,
//! and what does not fit is refused.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

/// One end of a connection.
pub struct Wire {
    socket: UnixStream,
    /// Said, and not let through yet.
    pub outgoing: Vec<u8>,
    /// Arrived, and not taken yet.
    pub incoming: Vec<u8>,
    /// The other side has ended.
    pub has_ended: bool,
}

impl Wire {
    /// On this socket, which does not block.
    pub fn new(socket: UnixStream) -> Wire {
        Wire {
            socket,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            has_ended: false,
        }
    }

    /// Lets up to `most` bytes out. Returns how many went.
    pub fn push(&mut self, most: usize) -> usize {
        let mut pushed = 0;
        while pushed < most && !self.outgoing.is_empty() {
            let part = &self.outgoing[..self.outgoing.len().min(most - pushed)];
            match self.socket.write(part) {
                Ok(count) => {
                    self.outgoing.drain(..count);
                    pushed += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    // What the other side has said before it ended can still be read.
                    self.outgoing.clear();
                    break;
                }
            }
        }
        pushed
    }

    /// Lets up to `most` bytes in. Returns how many came.
    pub fn pull(&mut self, most: usize) -> usize {
        let mut pulled = 0;
        let mut part = [0; 4096];
        while pulled < most && !self.has_ended {
            let room = part.len().min(most - pulled);
            match self.socket.read(&mut part[..room]) {
                Ok(0) => self.has_ended = true,
                Ok(count) => {
                    self.incoming.extend_from_slice(&part[..count]);
                    pulled += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.has_ended = true,
            }
        }
        pulled
    }
}
