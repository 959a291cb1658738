//! What `serve --dev` prints on stderr when it is ready: addresses, tokens and commands to paste.

use std::time::Duration;

use crate::access::Role;
use crate::auth::{Subject, mint};
use crate::config::Config;

/// How long the printed tokens are good: a working day.
const TTL: Duration = Duration::from_secs(12 * 3600);

/// The text for a server that listens on `port`; `program` is how to call this program. Its lines ready for stderr.
///
/// # Errors
/// A sentence, if no token can be made.
pub fn dev_hints(config: &Config, port: u16, program: &str, now_ms: u64) -> Result<String, String> {
    let address = std::net::SocketAddr::new(config.host, port);
    let (http, ws, trust) = match &config.tls {
        None => ("http", "ws", String::new()),
        Some(tls) => {
            let file = quoted(&tls.files.cert.display().to_string());
            ("https", "wss", format!(" --ca {file}"))
        }
    };
    let program = quoted(program);
    let socket = quoted(&config.socket.display().to_string());
    let token = |user, role| {
        let subject = Subject {
            user,
            role,
            session: None,
        };
        mint(&config.jwt, subject, TTL, now_ms)
    };
    let admin = token("dev-admin", Role::Admin)?;
    let customer = token("dev-customer", Role::Customer)?;
    let page = match config.page {
        true => format!("  page:   {http}://{address}/\n"),
        false => String::new(),
    };
    Ok(format!(
        "shopwire is ready for trying out.\n\
         {page}\
         \x20 socket: {socket}\n\
         \n\
         Tokens (good for 12 hours, and for this run only unless you gave a secret):\n\
         \x20 admin    dev-admin:    {admin}\n\
         \x20 customer dev-customer: {customer}\n\
         \n\
         Watch, in a second terminal:\n\
         \x20 {program} tail --url {ws}://{address}/api/ws{trust} --namespaces orders --token {admin}\n\
         \n\
         Send, in a third:\n\
         \x20 echo '{EVENT}' | {program} emit - --socket {socket}\n\
         \n\
         In a browser's console:\n\
         \x20 ws = new WebSocket(\"{ws}://{address}/api/ws\", [\"shopwire.v1\", \"token.{admin}\"]); \
         ws.onmessage = m => console.log(m.data); \
         ws.onopen = () => ws.send('{SUBSCRIBE}')\n"
    ))
}

const EVENT: &str = r#"{"type":"order:created","data":{"orderId":"o-1","customerId":"dev-customer","customerName":"Ada","total":12.5,"status":"pending","channel":"web"}}"#;

const SUBSCRIBE: &str = r#"{"type":"subscribe","data":{"namespaces":["orders"]}}"#;

/// A path as one word of a shell.
fn quoted(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:,@%".contains(&byte);
    if !path.is_empty() && path.bytes().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::auth::Verifier;
    use crate::config::Flags;

    #[test]
    fn the_printed_tokens_are_good_and_the_secret_is_not_printed() {
        let flags = Flags {
            dev: true,
            ..Flags::default()
        };
        let secret = "0123456789abcdef0123456789abcdef";
        let env = |name: &str| (name == "WS_JWT_SECRET").then(|| secret.to_owned());
        let config = Config::resolve(&flags, &env, None).unwrap();
        let text = dev_hints(&config, 4711, "shopwire", 1_000).unwrap();
        assert!(text.contains("ws://127.0.0.1:4711/api/ws") && !text.contains(secret));
        let verifier = Verifier::new(&config.jwt).unwrap();
        for (user, role) in [
            ("dev-admin:", Role::Admin),
            ("dev-customer:", Role::Customer),
        ] {
            let line = text.lines().find(|line| line.contains(user)).unwrap();
            let token = line.rsplit(' ').next().unwrap();
            assert_eq!(verifier.verify(token, 2_000).unwrap().role, role);
        }
    }

    #[test]
    fn a_path_stays_one_word() {
        assert_eq!(
            quoted("/run/shopwire/shopwire.sock"),
            "/run/shopwire/shopwire.sock"
        );
        assert_eq!(quoted("/tmp/a b'c"), r"'/tmp/a b'\''c'");
    }
}
