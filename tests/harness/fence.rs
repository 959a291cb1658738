//! Proof that nothing (more) arrives: an event that everyone may see, emitted last. What has not come before it never will,
//! since every connection gets its events in the order of their acceptance.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{Client, Emitter};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// One fence. The clients it is to hold for must be subscribed to `product:deleted`.
pub struct Fence {
    product: String,
}

impl Fence {
    /// Emits it and waits until it is settled.
    pub fn raise(emitter: &mut Emitter) -> Self {
        let product = format!("fence-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        emitter.emit(&json!({"type": "product:deleted", "data": {"productId": product}}));
        Self { product }
    }

    /// All that comes to the client before the fence, but for the server's own news of who is online: those come from
    /// connections, which a test opens at any time. The tests of presence read them one by one.
    pub fn before<S: Read + Write>(&self, client: &mut Client<S>) -> Vec<Value> {
        let mut messages = Vec::new();
        loop {
            let message = client.next();
            if message["type"] == "product:deleted"
                && message["data"]["productId"] == self.product.as_str()
            {
                return messages;
            }
            if !is_servers_presence(&message) {
                messages.push(message);
            }
        }
    }

    /// Nothing may come to the client before the fence.
    pub fn nothing_before<S: Read + Write>(&self, client: &mut Client<S>) {
        let messages = self.before(client);
        assert!(
            messages.is_empty(),
            "nothing should have come, but: {messages:?}"
        );
    }
}

/// Told from an emitter's by its clock: the tests' own events are of 2023.
pub fn is_servers_presence(message: &Value) -> bool {
    let kind = message["type"].as_str().unwrap_or_default();
    let last_seen = message["data"]["lastSeen"].as_u64().unwrap_or(0);
    matches!(kind, "customer:online" | "customer:offline") && last_seen > 1_760_000_000_000
}
