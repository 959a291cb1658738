//! What only `serve --dev` has: tokens to sign in with, and events from the page's form.
//!
//! For the live page of the same server and nobody else: on any other server these paths are not
//! there, and here only a request that was made on this machine, by a page of this very origin, is
//! heard. A page of another origin, or one whose name was bound to this machine (DNS rebinding), is
//! not; nor is CORS spoken.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::caller::{Caller, is_on_this_host};
use crate::access::{Access, AccessTable, Namespace, Role};
use crate::auth::{Subject, mint};
use crate::event;
use crate::shared::Shared;
use crate::wire::handshake::method_not_allowed;
use crate::wire::{Refusal, Request, origin};

/// How long a token is good where the page does not say.
const TTL_SECONDS: u64 = 300;
const TTL_SECONDS_MAX: u64 = 600;

#[derive(Clone, Copy)]
enum Endpoint {
    Token,
    Events,
}

fn endpoint(request: &Request<'_>) -> Option<Endpoint> {
    match request.path() {
        "/dev/token" => Some(Endpoint::Token),
        "/dev/events" => Some(Endpoint::Events),
        _ => None,
    }
}

/// Whether the body of this request is worth waiting for: all others are answered without.
pub fn takes_body(shared: &Shared, request: &Request<'_>, ip: IpAddr) -> bool {
    shared.config.dev && endpoint(request).is_some() && admit(request, ip).is_ok()
}

/// Judges the request's event line, and sends it on if it is good.
pub type Submit<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), event::Refusal>;

/// The answer to a request with its whole body, if it is for one of these; status and JSON.
pub fn answer(
    shared: &Shared,
    request: &Request<'_>,
    body: &[u8],
    caller: &Caller<'_>,
    submit: Submit<'_>,
) -> Option<Result<(u16, Value), Refusal>> {
    let endpoint = endpoint(request).filter(|_| shared.config.dev)?;
    let answer = admit(request, caller.ip).and_then(|()| match endpoint {
        Endpoint::Token => token(caller, body).map(|answer| (200, answer)),
        Endpoint::Events => Ok(match submit(body) {
            Ok(()) => (202, json!({ "accepted": true })),
            Err(refusal) => (400, refused(&refusal)),
        }),
    });
    Some(answer)
}

fn admit(request: &Request<'_>, ip: IpAddr) -> Result<(), Refusal> {
    if request.method() != "POST" {
        return Err(method_not_allowed(&[("Allow", "POST")]));
    }
    if !is_on_this_host(request, ip) {
        let message = "this is for callers on this host, at a loopback address";
        return Err(Refusal::new(403, "forbidden", message));
    }
    // A browser tells both; a request without an origin is no page's.
    let from = request.single("origin")?;
    let is_own = from.is_some() && origin::allowed(None, from, request.host());
    let site = request.single("sec-fetch-site")?;
    if !is_own || site.is_some_and(|site| site != "same-origin") {
        let message = "this is for the page that this server itself serves";
        return Err(Refusal::new(403, "forbidden_origin", message));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Wanted<'a> {
    role: &'a str,
    user: Option<String>,
    ttl_seconds: Option<u64>,
}

fn token(caller: &Caller<'_>, body: &[u8]) -> Result<Value, Refusal> {
    let wrong = |message: &str| Refusal::new(400, "invalid_request", message.to_owned());
    let wanted: Wanted<'_> = serde_json::from_slice(body).map_err(|_| {
        wrong("the body must be a JSON object with role, and if wanted user and ttlSeconds")
    })?;
    let role = Role::from_token(wanted.role).ok_or_else(|| {
        let names = Role::IN_TOKENS.map(Role::name).join(", ");
        wrong(&format!("role must be one of {names}"))
    })?;
    let ttl_seconds = wanted.ttl_seconds.unwrap_or(TTL_SECONDS);
    if !(1..=TTL_SECONDS_MAX).contains(&ttl_seconds) {
        return Err(wrong(&format!(
            "ttlSeconds must be from 1 to {TTL_SECONDS_MAX}"
        )));
    }
    let user = wanted
        .user
        .unwrap_or_else(|| format!("dev-{}", role.name()));
    let subject = Subject {
        user: &user,
        role,
        session: None,
    };
    let ttl = Duration::from_secs(ttl_seconds);
    let (config, now_ms) = (&caller.live.config, caller.now_ms);
    let token = mint(&config.jwt, subject, ttl, now_ms).map_err(|why| wrong(&why))?;
    Ok(json!({
        "token": token,
        "user": user,
        "role": role.name(),
        "expiresAt": now_ms + ttl_seconds * 1000,
        "access": access(&config.access, role),
    }))
}

/// What the role may see, by namespace.
fn access(table: &AccessTable, role: Role) -> Map<String, Value> {
    let cell = |namespace| match table.get(role, namespace) {
        Access::All => "all",
        Access::Own => "own",
        Access::None => "none",
    };
    Namespace::ALL
        .into_iter()
        .map(|namespace| (namespace.name().to_owned(), cell(namespace).into()))
        .collect()
}

fn refused(refusal: &event::Refusal) -> Value {
    let mut error = json!({"code": refusal.code.as_str(), "message": refusal.message});
    if let Some(field) = &refusal.field {
        error["field"] = field.as_str().into();
    }
    json!({ "error": error })
}
