//! `ctl tap`: copies of events as they come.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::session::{Session, broken};
use crate::cli::answers::{Answer, Next};
use crate::cli::terminal;

/// Prints copies until the server ends it or nobody reads any more; then says on stderr how many there
/// were.
pub(super) fn run(session: &mut Session, request: &Value, lasts: Duration) -> Result<(), String> {
    session.send(request)?;
    // The server keeps the time; this is for one that is gone without a word.
    let give_up = Instant::now() + lasts + session.within;
    let mut out = io::stdout().lock();
    while Instant::now() < give_up {
        match session.answers.next().map_err(broken)? {
            Next::Answer(Answer::Copy(line)) => {
                let line = terminal::lines(&line);
                let printed = out.write_all(line.as_bytes()).and_then(|()| out.flush());
                match printed {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                    Err(error) => return Err(format!("stdout: {error}")),
                }
            }
            Next::Answer(Answer::Result { result }) => {
                eprintln!("tap: {}", summary(&result));
                return Ok(());
            }
            Next::Answer(Answer::Error { error }) => return Err(error.to_string()),
            Next::Answer(Answer::Ack { .. }) | Next::Nothing => {}
            Next::End => return Err("the server closed the connection".into()),
        }
    }
    Err("the server has not ended it in time".into())
}

fn summary(result: &Value) -> String {
    let ended = match result["ended"].as_str() {
        Some("time") => "the time is over",
        Some("limit") => "the limit is reached",
        Some("drain") => "the server drains",
        Some("takeover") => "another process takes over: tap again",
        _ => "it has ended",
    };
    let lost = match result["lost"].as_u64() {
        None | Some(0) => String::new(),
        Some(lost) => format!(", {lost} more were lost: they were read too slowly"),
    };
    format!("{} events{lost}; {ended}", result["copies"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_end_says_what_there_was() {
        let end =
            |lost: u64, ended: &str| summary(&json!({"copies": 3, "lost": lost, "ended": ended}));
        assert_eq!(end(0, "time"), "3 events; the time is over");
        assert_eq!(
            end(2, "limit"),
            "3 events, 2 more were lost: they were read too slowly; the limit is reached"
        );
    }
}
