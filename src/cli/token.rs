//! `shopwire token`: a token from the configured secret.

use std::process::ExitCode;
use std::time::Duration;

use super::server_flags::KeyFlags;
use super::{WRONG_USAGE, fail, print};
use crate::access::Role;
use crate::auth::{Subject, mint};
use crate::clock::wall_ms;
use crate::config;

/// Make a token (JWT, HS256) with the configured secret
#[derive(clap::Args)]
#[command(
    after_help = "The secret is the server's: --jwt-secret-file, WS_JWT_SECRET or the file's jwt-secret-file; of several, \
    the first. \
    For a server under --dev without one, take the tokens it prints.\n\n\
    Example:\n  shopwire token --user c-42 --role customer --ttl 1h --jwt-secret-file /run/secrets/jwt"
)]
pub(super) struct Arguments {
    /// The user's id
    #[arg(long, value_name = "ID")]
    user: String,
    /// The user's role: admin, manager, staff, customer or guest
    #[arg(long, value_parser = role)]
    role: Role,
    /// The session's id
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// How long the token is good: 30s, 5m, 1h; a plain number is milliseconds
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = ttl)]
    ttl: Duration,
    #[command(flatten)]
    flags: KeyFlags,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let keys = match config::load_keys(&arguments.flags.0) {
        Ok(keys) if keys.secrets.is_empty() => return fail(WRONG_USAGE, NO_SECRET),
        Ok(keys) => keys,
        Err(error) => return fail(WRONG_USAGE, error),
    };
    let Arguments {
        user,
        role,
        session,
        ttl,
        ..
    } = arguments;
    let subject = Subject {
        user,
        role: *role,
        session: session.as_deref(),
    };
    match mint(&keys, subject, *ttl, wall_ms()) {
        Ok(token) => print(&format!("{token}\n")),
        Err(sentence) => fail(WRONG_USAGE, sentence),
    }
}

const NO_SECRET: &str = "jwt-secret-file is missing: there is no secret to make a token with. Give \
    --jwt-secret-file FILE, or set WS_JWT_SECRET or WS_JWT_SECRET_FILE; a server under --dev prints tokens";

fn role(name: &str) -> Result<Role, String> {
    Role::from_token(name).ok_or_else(|| {
        let names = Role::IN_TOKENS.map(Role::name).join(", ");
        format!("must be one of {names}")
    })
}

fn ttl(text: &str) -> Result<Duration, String> {
    match config::duration(text)? {
        Duration::ZERO => Err("must be more than 0".into()),
        ttl => Ok(ttl),
    }
}
