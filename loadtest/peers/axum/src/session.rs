//! One connection: its task, and the protocol it speaks with the client.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::select;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;
use uuid::Uuid;

use crate::contract::{Access, EventType, Namespace, Refusal, Role, Types};
use crate::hub::{Backlog, Hub, Identity, Outgoing};
use crate::ids::EventIds;
use crate::ingest::milliseconds_now;
use crate::tokens::Tokens;

/// How often connections are pinged; one that has not given a sign of life by the next ping is closed.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);

const CLOSE_TOKEN_REFUSED: u16 = 4401;

/// How long a client has to answer our close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How many chunks a connection takes up before it writes them out.
const CHUNKS_PER_WRITE: usize = 64;

/// What all connections share.
pub struct Shared {
    pub hub: Arc<Mutex<Hub>>,
    pub tokens: Tokens,
    pub ids: Arc<EventIds>,
}

impl Shared {
    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct ClientMessage {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Option<Value>,
}

#[derive(Deserialize)]
struct Authentication {
    token: String,
}

#[derive(Deserialize)]
struct Subscription {
    namespaces: Vec<String>,
    #[serde(default)]
    events: Vec<String>,
}

/// Serves a connection until it ends.
pub async fn run(socket: WebSocket, shared: Arc<Shared>) {
    let backlog = Arc::new(Backlog::default());
    let (outbox, queue) = mpsc::unbounded_channel();
    let key = shared.hub().add(outbox, Arc::clone(&backlog));
    let mut session = Session {
        socket,
        queue,
        shared: Arc::clone(&shared),
        backlog: Arc::clone(&backlog),
        key,
    };
    session.welcome();
    select! {
        ended = session.serve() => {
            // A connection that breaks off needs no words: its client will be back.
            ended.unwrap_or_default();
        }
        () = backlog.overflow.notified() => eprintln!("connection {key} does not read: closed"),
    }
    shared.hub().remove(key);
}

struct Session {
    socket: WebSocket,
    queue: UnboundedReceiver<Outgoing>,
    shared: Arc<Shared>,
    backlog: Arc<Backlog>,
    key: usize,
}

impl Session {
    fn welcome(&self) {
        self.answer(&json!({ "type": "welcome", "data": {
            "connectionId": Uuid::new_v4().to_string(), "server": "axum", "pingInterval": PING_INTERVAL.as_millis(),
        }}));
    }

    async fn serve(&mut self) -> Result<(), axum::Error> {
        let mut outgoing = Vec::new();
        let mut alive = true;
        loop {
            select! {
                biased;
                _ = self.queue.recv_many(&mut outgoing, CHUNKS_PER_WRITE) => {
                    if outgoing.iter().any(|what| matches!(what, Outgoing::Ping)) {
                        if !alive {
                            return Ok(());
                        }
                        alive = false;
                        self.socket.feed(Message::Ping(Default::default())).await?;
                    }
                    self.write(&mut outgoing).await?;
                }
                message = self.socket.recv() => {
                    alive = true;
                    match message.transpose()? {
                        Some(Message::Text(text)) => {
                            if self.perform(&text).is_break() {
                                return self.refuse().await;
                            }
                        }
                        Some(Message::Binary(_)) => self.complain(None, &invalid_message("binary messages are not understood")),
                        Some(Message::Ping(_) | Message::Pong(_)) => {}
                        Some(Message::Close(_)) | None => return Ok(()),
                    }
                }
            }
        }
    }

    /// Writes all that is there, joined by one flush.
    async fn write(&mut self, outgoing: &mut Vec<Outgoing>) -> Result<(), axum::Error> {
        let mut bytes = 0;
        for what in outgoing.drain(..) {
            if let Outgoing::Frames(batch) = what {
                for frame in &batch.frames {
                    self.socket.feed(Message::Text(frame.clone())).await?;
                }
                bytes += batch.bytes;
            }
        }
        self.socket.flush().await?;
        self.backlog.waiting.fetch_sub(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Says what is still to be said, and closes.
    async fn refuse(&mut self) -> Result<(), axum::Error> {
        let mut outgoing = Vec::new();
        while let Ok(what) = self.queue.try_recv() {
            outgoing.push(what);
        }
        self.write(&mut outgoing).await?;
        let frame = CloseFrame {
            code: CLOSE_TOKEN_REFUSED,
            reason: Utf8Bytes::from_static("token refused"),
        };
        self.socket.send(Message::Close(Some(frame))).await?;
        let answered = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        // Whoever does not answer is left all the same.
        timeout(CLOSE_TIMEOUT, answered).await.unwrap_or_default();
        Ok(())
    }

    /// Answers one message of the client; breaks where the connection has to end.
    fn perform(&self, text: &str) -> ControlFlow<()> {
        let message = match read_message(text) {
            Ok(message) => message,
            Err(refusal) => {
                self.complain(None, &refusal);
                return ControlFlow::Continue(());
            }
        };
        let data = message.data.unwrap_or_else(|| json!({}));
        let done = match message.kind.as_str() {
            "auth" => self.authenticate(data),
            "subscribe" => self.subscribe(data),
            "unsubscribe" => self.unsubscribe(data),
            "ping" => {
                self.answer(&json!({ "type": "pong", "timestamp": milliseconds_now() }));
                Ok(())
            }
            unknown => Err(Refusal::new(
                "unknown_type",
                format!("`{unknown}` is no message of a client"),
            )),
        };
        if let Err(refusal) = done {
            self.complain(Some(&message.kind), &refusal);
            if message.kind == "auth" && self.shared.hub().user(self.key).is_none() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn authenticate(&self, data: Value) -> Result<(), Refusal> {
        let Authentication { token } =
            read(data).map_err(|refusal| Refusal::new("unauthorized", refusal.message))?;
        let claims = self.shared.tokens.verify(&token)?;
        let mut hub = self.shared.hub();
        if hub.user(self.key).is_some_and(|user| user != claims.sub) {
            return Err(Refusal::new("unauthorized", "the token is another user's"));
        }
        let answer = json!({ "type": "authenticated", "data": {
            "userId": claims.sub, "role": claims.role, "sessionId": claims.sid, "expiresAt": claims.exp.saturating_mul(1000),
        }});
        hub.identify(
            self.key,
            Identity {
                user: claims.sub,
                role: claims.role,
                session: claims.sid,
            },
        );
        hub.answer(self.key, answer.to_string().into());
        Ok(())
    }

    /// All or nothing.
    fn subscribe(&self, data: Value) -> Result<(), Refusal> {
        let Subscription { namespaces, events } = read(data)?;
        let namespaces = read_namespaces(&namespaces)?;
        let named = read_events(&events, &namespaces)?;
        let mut hub = self.shared.hub();
        let role = hub.role(self.key);
        if let Some(forbidden) = namespaces
            .iter()
            .find(|namespace| role.access(**namespace) == Access::None)
        {
            let code = if role == Role::Public {
                "unauthorized"
            } else {
                "forbidden"
            };
            return Err(Refusal::new(
                code,
                format!("this role may not subscribe to {}", forbidden.name()),
            ));
        }
        let types = namespaces
            .iter()
            .fold(hub.subscribed(self.key), |types, namespace| {
                let all = namespace.types();
                let asked = if named & all == 0 { all } else { named & all };
                (types & !all) | asked
            });
        hub.subscribe(self.key, types);
        let position = self.shared.ids.newest();
        let answer = json!({ "type": "subscribed", "data": { "namespaces": names_of(types), "position": position } });
        hub.answer(self.key, answer.to_string().into());
        Ok(())
    }

    fn unsubscribe(&self, data: Value) -> Result<(), Refusal> {
        let Subscription { namespaces, .. } = read(data)?;
        let namespaces = read_namespaces(&namespaces)?;
        let mut hub = self.shared.hub();
        let types = namespaces
            .iter()
            .fold(hub.subscribed(self.key), |types, namespace| {
                types & !namespace.types()
            });
        hub.subscribe(self.key, types);
        let answer = json!({ "type": "unsubscribed", "data": { "namespaces": names_of(types) } });
        hub.answer(self.key, answer.to_string().into());
        Ok(())
    }

    fn complain(&self, request: Option<&str>, refusal: &Refusal) {
        let mut data = json!({ "code": refusal.code, "message": refusal.message });
        if let Some(request) = request {
            data["request"] = json!(request);
        }
        self.answer(&json!({ "type": "error", "data": data }));
    }

    fn answer(&self, message: &Value) {
        self.shared
            .hub()
            .answer(self.key, message.to_string().into());
    }
}

fn read_message(text: &str) -> Result<ClientMessage, Refusal> {
    serde_json::from_str(text).map_err(|error| invalid_message(&error.to_string()))
}

fn read<T: for<'de> Deserialize<'de>>(data: Value) -> Result<T, Refusal> {
    if !data.is_object() {
        return Err(invalid_message("`data` is not an object"));
    }
    serde_json::from_value(data).map_err(|error| invalid_message(&error.to_string()))
}

fn read_namespaces(names: &[String]) -> Result<Vec<Namespace>, Refusal> {
    if names.is_empty() {
        return Err(invalid_message("`namespaces` is empty"));
    }
    names
        .iter()
        .map(|name| {
            Namespace::named(name)
                .ok_or_else(|| invalid_message(&format!("`{name}` is no namespace")))
        })
        .collect()
}

fn read_events(names: &[String], namespaces: &[Namespace]) -> Result<Types, Refusal> {
    names.iter().try_fold(0, |types, name| {
        EventType::named(name)
            .filter(|event_type| namespaces.contains(&event_type.namespace))
            .map(|event_type| types | event_type.bit)
            .ok_or_else(|| {
                invalid_message(&format!("`{name}` is no event type of these namespaces"))
            })
    })
}

fn names_of(types: Types) -> Vec<&'static str> {
    Namespace::all()
        .filter(|namespace| namespace.types() & types != 0)
        .map(Namespace::name)
        .collect()
}

fn invalid_message(message: &str) -> Refusal {
    Refusal::new("invalid_message", message)
}
