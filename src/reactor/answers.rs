//! What the server says on its own account: every frame that is not an event (CONTRACT section 5,
//! "From the server").
//!
//! Pure: values in, whole frames appended to a buffer out. Text passes the same escaping as
//! events do, so these frames are as safe inside a page as those.

use serde::{Serialize, Serializer};

use crate::access::NamespaceMask;
use crate::auth::Identity;
use crate::event::safe_text::escape_into;
use crate::wire::Opcode;
use crate::wire::frame::put_frame;

/// Appends frames to a buffer; keeps scratch buffers for them.
#[derive(Default)]
pub struct Answers {
    text: Vec<u8>,
    safe: Vec<u8>,
}

/// An `error` frame's content.
#[derive(Serialize)]
pub struct ErrorAnswer<'a> {
    /// One word for machines.
    pub code: &'a str,
    /// A sentence.
    pub message: &'a str,
    /// The type of the message at fault, if it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<&'a str>,
    /// The field at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'a str>,
    /// Milliseconds until it may be tried again.
    #[serde(rename = "retryAfter", skip_serializing_if = "Option::is_none")]
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
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Welcome<'a> {
            connection_id: &'a str,
            server: &'static str,
            ping_interval: u64,
        }
        let data = Welcome {
            connection_id,
            server: concat!("shopwire/", env!("CARGO_PKG_VERSION")),
            ping_interval: ping_interval_ms,
        };
        self.put("welcome", &data, out);
    }

    /// `authenticated`.
    pub fn authenticated(&mut self, identity: &Identity, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Authenticated<'a> {
            user_id: &'a str,
            role: &'static str,
            session_id: Option<&'a str>,
            expires_at: u64,
        }
        let data = Authenticated {
            user_id: &identity.user,
            role: identity.role.name(),
            session_id: identity.session.as_deref(),
            expires_at: identity.expires_at,
        };
        self.put("authenticated", &data, out);
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
        #[derive(Serialize)]
        struct Subscribed<'a> {
            namespaces: Names,
            position: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            recovered: Option<bool>,
            #[serde(skip_serializing_if = "Option::is_none")]
            online: Option<u32>,
        }
        let data = Subscribed {
            namespaces: Names(namespaces),
            position,
            recovered,
            online,
        };
        self.put("subscribed", &data, out);
    }

    /// `unsubscribed`: what is left.
    pub fn unsubscribed(&mut self, namespaces: NamespaceMask, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Unsubscribed {
            namespaces: Names,
        }
        let namespaces = Names(namespaces);
        self.put("unsubscribed", &Unsubscribed { namespaces }, out);
    }

    /// `pong`.
    pub fn pong(&mut self, now_ms: u64, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        #[serde(tag = "type", rename = "pong")]
        struct Pong {
            timestamp: u64,
        }
        self.put_message(&Pong { timestamp: now_ms }, out);
    }

    /// `error`.
    pub fn error(&mut self, error: &ErrorAnswer<'_>, out: &mut Vec<u8>) {
        self.put("error", error, out);
    }

    /// `token:expiring`.
    pub fn token_expiring(&mut self, expires_at: u64, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct TokenExpiring {
            expires_at: u64,
        }
        self.put("token:expiring", &TokenExpiring { expires_at }, out);
    }

    /// `reconnect`: come back after so many milliseconds.
    pub fn reconnect(&mut self, after_ms: u64, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Reconnect {
            after: u64,
        }
        self.put("reconnect", &Reconnect { after: after_ms }, out);
    }

    fn put<T: Serialize>(&mut self, kind: &'static str, data: &T, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Message<'a, T> {
            #[serde(rename = "type")]
            kind: &'static str,
            data: &'a T,
        }
        self.put_message(&Message { kind, data }, out);
    }

    fn put_message<T: Serialize>(&mut self, message: &T, out: &mut Vec<u8>) {
        self.text.clear();
        serde_json::to_writer(&mut self.text, message)
            .expect("a Vec takes every write, and the keys are names");
        self.safe.clear();
        escape_into(&self.text, &mut self.safe);
        put_frame(Opcode::Text, &self.safe, out);
    }
}

/// Appends `conflated`: so many waiting events gave way to newer ones. It is written anew for each of
/// them, so it is put together by hand; a number needs no escapes.
pub fn put_conflated(dropped: u64, out: &mut Vec<u8>) {
    let text = format!(r#"{{"type":"conflated","data":{{"dropped":{dropped}}}}}"#);
    put_frame(Opcode::Text, text.as_bytes(), out);
}

/// The namespaces of a mask as a list of their names.
struct Names(NamespaceMask);

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|each| each.name()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
    fn conflated_has_the_shape_of_the_others() {
        let mut out = Vec::new();
        put_conflated(12, &mut out);
        let expected = json!({ "type": "conflated", "data": { "dropped": 12 } });
        assert_eq!(text(&out), expected);
    }

    #[test]
    fn a_frame_may_stand_in_a_page() {
        let (mut answers, mut out) = (Answers::default(), Vec::new());
        let identity = Identity {
            user: "</script>".to_owned(),
            role: Role::Admin,
            session: None,
            issued_at: None,
            expires_at: 5,
        };
        answers.authenticated(&identity, &mut out);
        assert!(!out[2..].contains(&b'<'));
        assert_eq!(text(&out)["data"]["userId"], "</script>");
        assert_eq!(text(&out)["data"]["sessionId"], Value::Null);
    }
}
