//! A small server for tests that does what shopwire does, or one thing wrong on purpose; and, in
//! [`tests`], that the whole load test tells the difference.
//!
//! It knows who sees what from the same model as the load test: what is tried here is whether a
//! deviation from that is noticed, not whether the model is right.

#![allow(clippy::unwrap_used)]

mod tests;
mod wrong;

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use jsonwebtoken::{DecodingKey, Validation};
use rustix::net::{SendFlags, send};
use socket2::SockRef;

use crate::client::connection::ACCEPT;
use crate::client::dialect::Dialect;
use crate::client::frames::{self, put_server_frame};
use crate::interrupt::Interrupt;
use crate::world::roles::Role;
use crate::world::{Member, World, session_name};
use wrong::{Fault, Place, frames_of, number_of, wrong_frames};

/// What signs the tokens.
const SECRET: &[u8] = b"a secret of thirty-two bytes ....";

/// What the kernel keeps for a connection that does not read, where readers stall: little, so that it
/// shows soon.
const SEND_BUFFER: usize = 64 * 1024;

/// The server.
struct Faulty {
    world: World,
    fault: Fault,
    place: Place,
    /// Whether some readers stall, and must not hold up the others.
    has_stalled: bool,
    /// What a signal would be told to.
    interrupt: Interrupt,
    floor: Mutex<Floor>,
}

/// The connections.
#[derive(Default)]
struct Floor {
    seats: Vec<Seat>,
    /// Sessions that have been subscribed.
    known: BTreeSet<u32>,
    /// The newest event.
    newest: Vec<u8>,
    /// All events, as lines.
    history: Vec<Vec<u8>>,
}

/// A connection that is subscribed.
struct Seat {
    stream: TcpStream,
    member: Member,
    /// Whether it is left out of the next event.
    misses_next: bool,
    /// Whether it is sent nothing any more.
    is_starved: bool,
}

impl Faulty {
    /// Lets connections come and go, for as long as the test's process lasts.
    fn attend(self: &Arc<Self>, browsers: TcpListener) {
        let faulty = Arc::clone(self);
        thread::spawn(move || {
            for stream in browsers.incoming().map_while(Result::ok) {
                let faulty = Arc::clone(&faulty);
                // A browser that hangs up ends its thread with an error.
                thread::spawn(move || faulty.wait_on(stream).unwrap_or_default());
            }
        });
    }

    /// A connection from its handshake to its end, as the contract has it.
    fn wait_on(&self, mut stream: TcpStream) -> io::Result<()> {
        upgrade(&mut stream)?;
        let (session, asked) = authenticate(&mut stream)?;
        let member = self.member(session, &asked);
        stream.set_nodelay(true)?;
        if self.has_stalled {
            SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER)?;
        }
        self.take_in(&mut stream, member, asked.contains(r#""since":"x""#))?;
        loop {
            let Ok((opcode, message)) = read_frame(&mut stream) else {
                self.let_go(member.session);
                return Ok(());
            };
            if opcode == frames::CLOSE {
                return say(&mut stream, frames::CLOSE, message.as_bytes());
            }
            assert!(message.contains("unsubscribe"), "{message}");
            if self.fault == Fault::NeverLetGo {
                continue;
            }
            let newest = self.let_go(member.session);
            say(&mut stream, frames::TEXT, br#"{"type":"unsubscribed"}"#)?;
            if self.fault == Fault::SendToLeft {
                stream.write_all(&newest)?;
            }
        }
    }

    /// Who it is. One that is public is like every other that asks for the same.
    fn member(&self, session: Option<u32>, asked: &str) -> Member {
        let is_meant = |member: &Member| {
            let interest = Dialect::Shopwire.subscribe(member.interest, None);
            interest == asked && member.role == Role::Public
        };
        match session {
            Some(session) => self.world.member(session),
            None => (0..)
                .map(|slot| self.world.member(slot))
                .find(is_meant)
                .unwrap(),
        }
    }

    /// Subscribes: no event comes before the confirmation, none is missed after it. One that `resumes` has
    /// seen the first event, and is sent the others.
    fn take_in(&self, stream: &mut TcpStream, member: Member, resumes: bool) -> io::Result<()> {
        let mut floor = self.floor.lock().unwrap();
        let mut subscribed = Vec::new();
        let is_recovered = self.fault != Fault::LetGo;
        let answer = format!(r#"{{"type":"subscribed","data":{{"recovered":{is_recovered}}}}}"#);
        put_server_frame(frames::TEXT, answer.as_bytes(), &mut subscribed);
        if resumes {
            subscribed.extend(self.replay(&floor.history, member.session));
        }
        // In two pieces, which the client must put together.
        stream.write_all(&subscribed[..7])?;
        stream.write_all(&subscribed[7..])?;
        let is_new = floor.known.insert(member.session);
        floor.seats.push(Seat {
            stream: stream.try_clone()?,
            member,
            misses_next: self.fault == Fault::ForgetJoin && !is_new,
            is_starved: false,
        });
        Ok(())
    }

    /// What one that has seen the first event has missed, but for what goes wrong.
    fn replay(&self, history: &[Vec<u8>], session: u32) -> Vec<u8> {
        let seen = usize::from(self.fault != Fault::ReplayTooMuch);
        let lines: Vec<&[u8]> = history[seen..].iter().map(Vec::as_slice).collect();
        if session == self.place.session {
            wrong_frames(&lines, &lines, self.fault, self.place, &mut None)
        } else {
            frames_of(&lines)
        }
    }

    /// Ends a subscription. Returns the newest event.
    fn let_go(&self, session: u32) -> Vec<u8> {
        let mut floor = self.floor.lock().unwrap();
        floor.seats.retain(|seat| seat.member.session != session);
        floor.newest.clone()
    }

    /// Sends each chunk of lines to those who see them, in one write each, but for what goes wrong.
    fn relay(&self, mut emitter: UnixStream) {
        let mut chunk = vec![0; 256 * 1024];
        let mut held = Vec::new();
        let mut late = None;
        let mut settled = 0;
        loop {
            let length = emitter.read(&mut chunk).unwrap();
            if length == 0 {
                return;
            }
            held.extend_from_slice(&chunk[..length]);
            let newline = held.iter().rposition(|&byte| byte == b'\n');
            let whole: Vec<u8> = held.drain(..newline.map_or(0, |end| end + 1)).collect();
            let lines = whole.split(|&byte| byte == b'\n');
            let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
            self.deliver(&lines, &mut late);
            settled += lines.len();
            let mut answer = format!("{{\"ack\":{settled},\"id\":\"x\"}}\n");
            if lines.iter().any(|line| number_of(line) == self.place.event) {
                match self.fault {
                    Fault::Refuse => {
                        answer.insert_str(
                            0,
                            "{\"error\":{\"line\":6,\"code\":\"invalid_payload\"}}\n",
                        );
                    }
                    Fault::Interrupt => self.interrupt.ask(),
                    Fault::HangUp => return self.hang_up(),
                    _ => {}
                }
            }
            emitter.write_all(answer.as_bytes()).unwrap();
        }
    }

    fn deliver(&self, lines: &[&[u8]], late: &mut Option<Vec<u8>>) {
        let everybody = matches!(self.world, World::Shared(_)).then(|| frames_of(lines));
        let mut floor = self.floor.lock().unwrap();
        if let Some(newest) = lines.last() {
            floor.newest = frames_of(&[newest]);
        }
        floor.history.extend(lines.iter().map(|line| line.to_vec()));
        floor.seats.retain_mut(|seat| {
            let is_here = seat.member.session == self.place.session;
            if !is_here
                && !seat.misses_next
                && let Some(frames) = &everybody
            {
                return self.send(seat, frames);
            }
            let mut seen: Vec<&[u8]> = lines.to_vec();
            seen.retain(|line| self.world.sees(&seat.member, number_of(line)));
            if seat.misses_next && !seen.is_empty() {
                seat.misses_next = false;
                seen.remove(0);
            }
            if is_here {
                let frames = wrong_frames(lines, &seen, self.fault, self.place, late);
                self.send(seat, &frames)
            } else {
                self.send(seat, &frames_of(&seen))
            }
        });
    }

    /// Whether the connection stays.
    fn send(&self, seat: &mut Seat, bytes: &[u8]) -> bool {
        if bytes.is_empty() || seat.is_starved {
            return true;
        }
        if !self.has_stalled {
            // A client that was told to go may be gone.
            seat.stream.write_all(bytes).unwrap_or_default();
            return true;
        }
        let is_taken = if let Fault::WaitForSlow(time) = self.fault {
            seat.stream.set_write_timeout(Some(time)).unwrap();
            seat.stream.write_all(bytes).is_ok()
        } else {
            let sent = send(&seat.stream, bytes, SendFlags::DONTWAIT);
            sent.is_ok_and(|sent| sent == bytes.len())
        };
        if !is_taken && self.fault == Fault::Starve {
            seat.is_starved = true;
        } else if !is_taken {
            seat.stream.shutdown(Shutdown::Both).unwrap();
        }
        is_taken || seat.is_starved
    }

    fn hang_up(&self) {
        for seat in self.floor.lock().unwrap().seats.drain(..) {
            seat.stream.shutdown(Shutdown::Both).unwrap();
        }
    }
}

fn upgrade(stream: &mut TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    assert!(request.starts_with(b"GET /api/ws HTTP/1.1\r\n"));
    let mut out = format!("HTTP/1.1 101 Go\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n").into_bytes();
    put_server_frame(frames::TEXT, br#"{"type":"welcome","data":{}}"#, &mut out);
    stream.write_all(&out)
}

/// The session in the token, unless the connection is public, and the subscription that follows.
fn authenticate(stream: &mut TcpStream) -> io::Result<(Option<u32>, String)> {
    let (_, first) = read_frame(stream)?;
    let Some((_, token)) = first.split_once(r#""type":"auth","data":{"token":""#) else {
        return Ok((None, first));
    };
    let (token, _) = token.split_once('"').unwrap();
    let key = DecodingKey::from_secret(SECRET);
    let token = jsonwebtoken::decode::<serde_json::Value>(token, &key, &Validation::default());
    let claims = token.unwrap().claims;
    let session = claims["sid"].as_str().unwrap();
    let number = session.trim_start_matches(&session_name(0)[.."session-".len()]);
    // A ping must be answered.
    let mut out = Vec::new();
    put_server_frame(frames::PING, b"alive?", &mut out);
    put_server_frame(frames::TEXT, br#"{"type":"authenticated"}"#, &mut out);
    stream.write_all(&out)?;
    let pong = read_frame(stream)?;
    assert_eq!(pong, (frames::PONG, "alive?".into()));
    let (_, subscription) = read_frame(stream)?;
    Ok((Some(number.parse().unwrap()), subscription))
}

fn say(stream: &mut TcpStream, opcode: u8, payload: &[u8]) -> io::Result<()> {
    let mut out = Vec::new();
    put_server_frame(opcode, payload, &mut out);
    stream.write_all(&out)
}

/// Reads a frame of the client's, whose mask is zero.
fn read_frame(stream: &mut TcpStream) -> io::Result<(u8, String)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let length = match head[1] & 0x7F {
        126 => {
            let mut long = [0; 2];
            stream.read_exact(&mut long)?;
            u16::from_be_bytes(long).into()
        }
        short => usize::from(short),
    };
    let mut rest = vec![0; 4 + length];
    stream.read_exact(&mut rest)?;
    let payload = String::from_utf8_lossy(&rest[4..]).into_owned();
    Ok((head[0] & 0x0F, payload))
}
