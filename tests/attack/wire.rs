//! HTTP and frames by hand: attackers break rules that no library lets them break.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::harness::client::tcp_from;

/// How long an attacker waits for an answer, or for room in a socket.
const PATIENCE: Duration = Duration::from_millis(500);

/// The head of a good handshake, with further header lines, each with its end.
pub fn handshake(address: SocketAddr, lines: &str) -> String {
    format!(
        "GET /api/ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{lines}\r\n"
    )
}

/// Appends a client's frame; its mask is zero, which nobody can see in the payload.
pub fn put_frame(opcode: u8, is_last: bool, payload: &[u8], out: &mut Vec<u8>) {
    put_header(opcode, is_last, payload.len() as u64, out);
    out.extend_from_slice(payload);
}

/// Appends the header of a client's frame, whatever follows it.
pub fn put_header(opcode: u8, is_last: bool, length: u64, out: &mut Vec<u8>) {
    out.push(u8::from(is_last) << 7 | opcode);
    match length {
        0..126 => out.push(0x80 | length as u8),
        126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
}

/// Takes a whole frame of the server's off the front, if there is one: its opcode and payload.
pub fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let [first, second] = *bytes.first_chunk()?;
    let (header, length) = match second {
        126 => {
            let length = bytes.get(2..4)?.try_into().unwrap();
            (4, usize::from(u16::from_be_bytes(length)))
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().unwrap();
            (10, usize::try_from(u64::from_be_bytes(length)).unwrap())
        }
        length => (2, usize::from(length)),
    };
    let payload = bytes.get(header..header + length)?.to_vec();
    bytes.drain(..header + length);
    Some((first & 0x0F, payload))
}

/// A connection of an attacker's.
pub fn dial(from: IpAddr, address: SocketAddr) -> io::Result<TcpStream> {
    let stream = tcp_from(from, address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// An HTTP answer.
pub struct Answer {
    pub status: u16,
    pub head: String,
    /// What came with it.
    pub rest: Vec<u8>,
}

/// Sends what an attacker has to say and reads the head of the answer.
pub fn ask(stream: &mut TcpStream, what: &[u8]) -> io::Result<Answer> {
    stream.write_all(what)?;
    let mut received = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => received.extend_from_slice(&buffer[..count]),
        }
        if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = received.split_off(end + 4);
            let head = String::from_utf8_lossy(&received).into_owned();
            let status = head.get(9..12).and_then(|digits| digits.parse().ok());
            let status = status.unwrap_or_else(|| panic!("no status: {head:?}"));
            return Ok(Answer { status, head, rest });
        }
    }
}

/// The code of the close frame that comes behind what `received` has; `None` if the connection ends without one, or lives
/// on.
pub fn close_code(stream: &mut TcpStream, mut received: Vec<u8>) -> Option<u16> {
    let mut buffer = [0; 4096];
    loop {
        while let Some((opcode, payload)) = take_frame(&mut received) {
            if opcode == 8 {
                return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => received.extend_from_slice(&buffer[..count]),
            _ => return None,
        }
    }
}
