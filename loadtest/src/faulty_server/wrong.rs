//! What the [faulty server](super) does wrong, and how.

#![allow(clippy::unwrap_used)]

use std::thread;
use std::time::Duration;

use crate::client::frames::{self, put_server_frame};
use crate::world::orders::number_prefix;
use crate::world::{NUMBER_DIGITS, read_number};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    // With one event, on one connection:
    Drop,
    Repeat,
    Swap,
    /// One byte of the number differs: an event that this connection is never sent.
    Corrupt,
    /// The number is right, but not the rest.
    Alter,
    /// It comes, though the connection must not see it.
    Misdirect,
    Delay(Duration),
    Close,
    // With one event:
    Refuse,
    /// Every connection is cut, and the ingest socket.
    HangUp,
    /// The load test gets a signal: nothing of the server's.
    Interrupt,
    // With those that leave and come again:
    /// The first event after a subscription that is not the session's first one is not sent.
    ForgetJoin,
    /// An event is sent after the subscription's end was confirmed.
    SendToLeft,
    /// That it should end is not answered.
    NeverLetGo,
    // With those that come back for what they have missed:
    /// They are sent the last event, too, that they have seen.
    ReplayTooMuch,
    /// What they have missed is not there any more.
    LetGo,
    // With those that do not read:
    /// They are sent nothing any more, but not ended.
    Starve,
    /// All others wait until they are ended.
    WaitForSlow(Duration),
}

/// The event and the session it happens to.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub event: u32,
    pub session: u32,
}

/// The frames of a chunk of `lines`, of which the connection sees `seen`, with the fault among them.
/// `late` is an event that comes one place later, across chunks if need be.
pub fn wrong_frames(
    lines: &[&[u8]],
    seen: &[&[u8]],
    fault: Fault,
    place: Place,
    late: &mut Option<Vec<u8>>,
) -> Vec<u8> {
    let is_it = |line: &&&[u8]| number_of(line) == place.event;
    let mut wrong: Vec<Vec<u8>> = seen.iter().map(|line| line.to_vec()).collect();
    if !wrong.is_empty()
        && let Some(late) = late.take()
    {
        wrong.insert(1, late);
    } else if let Some(line) = lines.iter().find(is_it) {
        let at = seen.iter().position(|line| number_of(line) == place.event);
        match (fault, at) {
            (Fault::Misdirect, _) => wrong.push(line.to_vec()),
            (Fault::Drop, Some(at)) => drop(wrong.remove(at)),
            (Fault::Repeat, Some(at)) => wrong.insert(at, line.to_vec()),
            (Fault::Swap, Some(at)) if at + 1 < wrong.len() => wrong.swap(at, at + 1),
            (Fault::Swap, Some(_)) => *late = wrong.pop(),
            (Fault::Corrupt, Some(at)) => {
                let digits = number_at(line);
                wrong[at][digits] = b'4';
            }
            (Fault::Alter, Some(at)) => {
                let text = String::from_utf8_lossy(line);
                wrong[at] = text.replace("129.95", "129.96").into_bytes();
            }
            (Fault::Delay(delay), _) => thread::sleep(delay),
            _ => {}
        }
    }
    let mut bytes = frames_of(&wrong);
    if fault == Fault::Close && lines.iter().any(|line| is_it(&line)) {
        put_server_frame(frames::CLOSE, b"\x11\x3Dslow", &mut bytes);
    }
    bytes
}

/// The frames of these lines.
pub fn frames_of(lines: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        put_server_frame(frames::TEXT, line.as_ref(), &mut bytes);
    }
    bytes
}

/// Where an event's number begins: behind the run's name, which has eight digits.
fn number_at(line: &[u8]) -> usize {
    let field = number_prefix("01234567");
    let start = memchr::memmem::find(line, &field.as_bytes()[..7]).unwrap();
    start + field.len()
}

/// The number of the event in this line.
pub fn number_of(line: &[u8]) -> u32 {
    let at = number_at(line);
    read_number(line[at..at + NUMBER_DIGITS].try_into().unwrap()).unwrap()
}
