//! The ingest socket: NDJSON lines in, one answer a chunk out.

use std::cell::LazyCell;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::ws::Utf8Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::audience::{Audience, present};
use crate::contract::{EventType, Refusal};
use crate::hub::Hub;
use crate::ids::EventIds;

/// How much one read takes: about what the kernel holds of a Unix socket.
const READ_SIZE: usize = 256 * 1024;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, rename = "type", default)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    to: Option<&'a RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<&'a RawValue>,
}

/// Serves every emitter that connects.
pub async fn serve(
    listener: UnixListener,
    hub: Arc<Mutex<Hub>>,
    ids: Arc<EventIds>,
) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let emitter = Emitter {
            hub: Arc::clone(&hub),
            ids: Arc::clone(&ids),
            settled: 0,
            newest_id: None,
        };
        tokio::spawn(async move {
            // An emitter that leaves before its answer does not want it.
            emitter.serve(stream).await.unwrap_or_default();
        });
    }
}

struct Emitter {
    hub: Arc<Mutex<Hub>>,
    ids: Arc<EventIds>,
    settled: u64,
    newest_id: Option<String>,
}

impl Emitter {
    async fn serve(mut self, mut stream: UnixStream) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(READ_SIZE);
        loop {
            let seen = buffer.len();
            buffer.reserve(READ_SIZE);
            if stream.read_buf(&mut buffer).await? == 0 {
                break;
            }
            if let Some(newline) = memchr::memrchr(b'\n', &buffer[seen..]) {
                let end = seen + newline;
                let answer = self.settle(&buffer[..end]);
                buffer.drain(..=end);
                stream.write_all(answer.as_bytes()).await?;
            }
        }
        if !buffer.is_empty() {
            // The emitter has said all: a last line needs no newline.
            let answer = self.settle(&buffer);
            stream.write_all(answer.as_bytes()).await?;
        }
        stream.shutdown().await
    }

    /// Delivers whole lines, and says what is to be answered.
    fn settle(&mut self, lines: &[u8]) -> String {
        let mut answer = String::new();
        let hub = Arc::clone(&self.hub);
        let mut hub = hub.lock().unwrap_or_else(PoisonError::into_inner);
        let now = milliseconds_now();
        for line in lines.split(|byte| *byte == b'\n') {
            self.settled += 1;
            if let Err(Refusal { code, message }) = self.take(line, now, &mut hub) {
                let error =
                    json!({ "error": { "line": self.settled, "code": code, "message": message } });
                answer += &format!("{error}\n");
            }
        }
        hub.flush();
        let ack = match &self.newest_id {
            Some(id) => json!({ "ack": self.settled, "id": id }),
            None => json!({ "ack": self.settled }),
        };
        answer + &format!("{ack}\n")
    }

    fn take(&mut self, line: &[u8], now: u128, hub: &mut Hub) -> Result<(), Refusal> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        let line = read_line(line)?;
        let event_type = read_type(line.event_type)?;
        let data = line
            .data
            .filter(|data| data.get().starts_with('{'))
            .ok_or_else(|| Refusal::new("invalid_payload", "`data` is not an object"))?;
        let audience = Audience::read(event_type, line.to, data)?;
        let id = self.ids.next();
        let timestamp = line
            .timestamp
            .map_or_else(|| now.to_string(), |timestamp| timestamp.get().to_string());
        let frame = LazyCell::new(|| {
            Utf8Bytes::from(format!(
                r#"{{"id":"{id}","type":"{}","namespace":"{}","data":{data},"timestamp":{timestamp}}}"#,
                event_type.name,
                event_type.namespace.name(),
            ))
        });
        hub.deliver(event_type, &audience, &frame);
        self.newest_id = Some(id);
        Ok(())
    }
}

fn read_line(line: &[u8]) -> Result<Line<'_>, Refusal> {
    if !line.starts_with(b"{") {
        // Serde would take an array of the fields' values, too.
        return Err(Refusal::new("invalid_json", "the line is not an object"));
    }
    serde_json::from_slice(line).map_err(|error| Refusal::new("invalid_json", error.to_string()))
}

fn read_type(text: Option<&RawValue>) -> Result<EventType, Refusal> {
    let text = text.map_or("null", RawValue::get);
    serde_json::from_str::<String>(text)
        .ok()
        .and_then(|name| EventType::named(&name))
        .ok_or_else(|| Refusal::new("unknown_type", format!("{text} is no event type")))
}

pub fn milliseconds_now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_millis())
}
