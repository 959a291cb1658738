//! `GET /api/ws/info`: what this server offers, for clients that look before they connect.
//!
//! Generated from the catalogue and the configuration, at start and when that is read again.

use serde_json::{Map, Value, json};

use crate::access::{Namespace, Role};
use crate::config::Config;
use crate::event::EventType;

/// The body, for these settings.
pub fn info_body(config: &Config) -> String {
    let event_types: Map<String, Value> = Namespace::ALL
        .into_iter()
        .map(|namespace| {
            let types = EventType::ALL
                .into_iter()
                .filter(|each| each.namespace() == namespace);
            let names: Vec<_> = types.map(EventType::name).collect();
            (namespace.name().to_owned(), names.into())
        })
        .collect();
    let mut info = json!({
        "status": "operational",
        "version": env!("CARGO_PKG_VERSION"),
        "features": {
            "namespaces": Namespace::ALL.map(Namespace::name),
            "eventTypes": event_types,
            "roles": Role::IN_TOKENS.map(Role::name),
            "limits": {
                "maxConnections": config.max_connections,
                "messageRate": config.message_rate,
                "connectRate": config.connect_rate,
                "maxMessage": config.max_message,
            },
            "auth": ["header", "subprotocol", "message"],
        },
    });
    // The live page signs itself in where this is so.
    if config.dev {
        info["features"]["dev"] = true.into();
    }
    info.to_string()
}
