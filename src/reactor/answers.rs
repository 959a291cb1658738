//! What the server says on its own account: every frame that is not an event (CONTRACT section 5,
//! "From the server").
//!
//! Pure: values in, whole frames appended to a buffer out. Text passes the same escaping as
//! events do, so these frames are as safe inside a page as those.

use serde_json::{Value, json};

use crate::access::NamespaceMask;
use crate::auth::Identity;
use crate::event::safe_text::escape_into;
use crate::wire::Opcode;
use crate::wire::frame::put_frame;

/// Appends frames to a buffer; keeps a scratch buffer for escaping.
#[derive(Default)]
pub struct Answers {
    safe: Vec<u8>,
}

/// An `error` frame's content.
pub struct ErrorAnswer<'a> {
    /// One word for machines.
    pub code: &'a str,
    /// A sentence.
    pub message: &'a str,
    /// The type of the message at fault, if it could be read.
    pub request: Option<&'a str>,
    /// The field at fault.
    pub field: Option<&'a str>,
    /// Milliseconds until it may be tried again.
    pub retry_after_ms: Option<u64>,
}

impl<'a> ErrorAnswer<'a> {
    /// An answer to a request of this type.
    pub fn to(request: &'a str, code: &'a str, message: &'a str) -> Self {
        Self {
            code,
            message,
            request: Some(request),
            field: None,
            retry_after_ms: None,
        }
    }
}

impl Answers {
    /// `welcome`: the first frame of every connection.
    pub fn welcome(&mut self, connection_id: &str, ping_interval_ms: u64, out: &mut Vec<u8>) {
        let server = concat!("shopwire/", env!("CARGO_PKG_VERSION"));
        self.put(
            "welcome",
            json!({
                "connectionId": connection_id, "server": server, "pingInterval": ping_interval_ms,
            }),
            out,
        );
    }

    /// `authenticated`.
    pub fn authenticated(&mut self, identity: &Identity, out: &mut Vec<u8>) {
        self.put(
            "authenticated",
            json!({
                "userId": identity.user,
                "role": identity.role.name(),
                "sessionId": identity.session,
                "expiresAt": identity.expires_at,
            }),
            out,
        );
    }

    /// `subscribed`: to `namespaces` from `position` on.
    pub fn subscribed(
        &mut self,
        namespaces: NamespaceMask,
        position: &str,
        recovered: Option<bool>,
        online: Option<u32>,
        out: &mut Vec<u8>,
    ) {
        let mut data = json!({ "namespaces": names(namespaces), "position": position });
        if let Some(recovered) = recovered {
            data["recovered"] = recovered.into();
        }
        if let Some(online) = online {
            data["online"] = online.into();
        }
        self.put("subscribed", data, out);
    }

    /// `unsubscribed`: what is left.
    pub fn unsubscribed(&mut self, namespaces: NamespaceMask, out: &mut Vec<u8>) {
        self.put(
            "unsubscribed",
            json!({ "namespaces": names(namespaces) }),
            out,
        );
    }

    /// `pong`.
    pub fn pong(&mut self, now_ms: u64, out: &mut Vec<u8>) {
        self.put_text(&format!(r#"{{"type":"pong","timestamp":{now_ms}}}"#), out);
    }

    /// `error`.
    pub fn error(&mut self, error: &ErrorAnswer<'_>, out: &mut Vec<u8>) {
        let mut data = json!({ "code": error.code, "message": error.message });
        if let Some(request) = error.request {
            data["request"] = request.into();
        }
        if let Some(field) = error.field {
            data["field"] = field.into();
        }
        if let Some(retry_after) = error.retry_after_ms {
            data["retryAfter"] = retry_after.into();
        }
        self.put("error", data, out);
    }

    /// `token:expiring`.
    pub fn token_expiring(&mut self, expires_at: u64, out: &mut Vec<u8>) {
        self.put("token:expiring", json!({ "expiresAt": expires_at }), out);
    }

    /// `reconnect`: come back after so many milliseconds.
    pub fn reconnect(&mut self, after_ms: u64, out: &mut Vec<u8>) {
        self.put("reconnect", json!({ "after": after_ms }), out);
    }

    fn put(&mut self, kind: &str, data: Value, out: &mut Vec<u8>) {
        self.put_text(&format!(r#"{{"type":"{kind}","data":{data}}}"#), out);
    }

    fn put_text(&mut self, message: &str, out: &mut Vec<u8>) {
        self.safe.clear();
        escape_into(message.as_bytes(), &mut self.safe);
        put_frame(Opcode::Text, &self.safe, out);
    }
}

fn names(namespaces: NamespaceMask) -> Vec<&'static str> {
    namespaces.iter().map(|each| each.name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Namespace, Role};

    fn text(frame: &[u8]) -> Value {
        assert_eq!(frame[0], 0x81, "a whole text frame");
        let header = if frame[1] < 126 { 2 } else { 4 };
        serde_json::from_slice(&frame[header..]).unwrap()
    }

    #[test]
    fn optional_fields_are_there_only_when_they_mean_something() {
        let (mut answers, mut out) = (Answers::default(), Vec::new());
        let mut namespaces = NamespaceMask::default();
        namespaces.insert(Namespace::Customers);
        answers.subscribed(namespaces, "a-1", None, None, &mut out);
        let expected = json!({ "namespaces": ["customers"], "position": "a-1" });
        assert_eq!(
            text(&out),
            json!({ "type": "subscribed", "data": expected })
        );
        out.clear();
        answers.subscribed(namespaces, "a-1", Some(false), Some(3), &mut out);
        assert_eq!(text(&out)["data"]["recovered"], json!(false));
        assert_eq!(text(&out)["data"]["online"], json!(3));
    }

    #[test]
    fn a_frame_may_stand_in_a_page() {
        let (mut answers, mut out) = (Answers::default(), Vec::new());
        let identity = Identity {
            user: "</script>".to_owned(),
            role: Role::Admin,
            session: None,
            expires_at: 5,
        };
        answers.authenticated(&identity, &mut out);
        assert!(!out[2..].contains(&b'<'));
        assert_eq!(text(&out)["data"]["userId"], "</script>");
        assert_eq!(text(&out)["data"]["sessionId"], Value::Null);
    }
}
