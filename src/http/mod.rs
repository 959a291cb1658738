//! The plain HTTP endpoints beside the WebSocket (CONTRACT section 7).
//!
//! Called by a reactor with a whole request; appends the whole answer, but for the body of a page,
//! which is shared. Reads the shared statistics and owns nothing.

mod caller;
mod dev;
mod info;
mod page;

use std::borrow::Cow;

use bytes::Bytes;

use crate::access::Role;
use crate::auth::{Identity, TokenError};
use crate::metrics;
use crate::shared::Shared;
use crate::wire::handshake::{bearer, method_not_allowed, unauthorized};
use crate::wire::response::{self, put_response};
use crate::wire::{Refusal, Request, origin};
pub use caller::Caller;
use caller::is_on_this_host;
pub use dev::{Submit, takes_body};
pub use info::info_body;

/// Where browsers open their WebSocket.
pub const WEBSOCKET_PATH: &str = "/api/ws";

#[derive(Clone, Copy)]
enum Endpoint {
    Info,
    Stats,
    Metrics,
    Health,
    Ready,
}

/// What an endpoint says.
struct Answer<'a> {
    status: u16,
    content_type: &'static str,
    body: Cow<'a, str>,
}

impl<'a> Answer<'a> {
    fn json(status: u16, body: impl Into<Cow<'a, str>>) -> Self {
        Self {
            status,
            content_type: JSON,
            body: body.into(),
        }
    }
}

type Headers<'a> = Vec<(&'a str, &'a str)>;

const JSON: &str = "application/json";
/// Tells browsers to come over TLS only, for a year (RFC 6797); it counts for this host alone, not for
/// the names below it, and browsers take it from names only, not from addresses.
const HSTS: (&str, &str) = ("Strict-Transport-Security", "max-age=31536000");
/// What is answered may differ by who asks: to caches.
const VARY: (&str, &str) = ("Vary", "Origin");
const ALLOW: (&str, &str) = ("Allow", "GET, HEAD, OPTIONS");
/// How long a browser may remember the answer to a preflight, in seconds.
const PREFLIGHT_MAX_AGE: &str = "600";

/// What a request may lead to beside its answer.
pub struct Doors<'a> {
    /// Judges a token that is shown; an error is the answer.
    pub judge: Judge<'a>,
    /// Takes an event.
    pub submit: Submit<'a>,
}

/// Judges a token.
pub type Judge<'a> = &'a mut dyn FnMut(&str) -> Result<Result<Identity, TokenError>, Refusal>;

/// What was answered.
pub struct Given {
    /// What of the body is still to follow.
    pub rest: Bytes,
    /// Whether the client was told that the next request may follow on this connection.
    pub keep_alive: bool,
}

/// Appends the answer to a request for anything but the WebSocket. `body` is the request's, where
/// [`takes_body`] wanted it. Where `keep_alive` is asked for it is given, but for bad tokens: each costs
/// whoever guesses a connection.
pub fn respond(
    shared: &Shared,
    request: &Request<'_>,
    body: &[u8],
    caller: &Caller<'_>,
    keep_alive: bool,
    doors: Doors<'_>,
    out: &mut Vec<u8>,
) -> Given {
    let head_only = request.method() == "HEAD";
    let hsts = caller.hsts.then_some(HSTS);
    if shared.config.page
        && let Some(answer) = page::respond(request, hsts, keep_alive, out)
    {
        let rest = answer.unwrap_or_else(|refusal| {
            let headers: Headers = [VARY].into_iter().chain(hsts).collect();
            response::put_refusal(out, &refusal, &headers, keep_alive, head_only);
            Bytes::new()
        });
        return Given { rest, keep_alive };
    }
    if let Some(answer) = dev::answer(shared, request, body, caller, doors.submit) {
        let headers = [VARY, ("Cache-Control", "no-store")];
        match answer {
            Ok((status, answer)) => {
                let answer = answer.to_string();
                let bytes = answer.as_bytes();
                put_response(out, status, &headers, JSON, bytes, head_only, keep_alive);
            }
            Err(refusal) => {
                response::put_refusal(out, &refusal, &headers, keep_alive, head_only);
            }
        }
        return Given {
            rest: Bytes::new(),
            keep_alive,
        };
    }
    let keep_alive = respond_by_table(shared, request, caller, keep_alive, doors.judge, out);
    Given {
        rest: Bytes::new(),
        keep_alive,
    }
}

/// The endpoints that are always there, with CORS; gives whether the connection stays.
fn respond_by_table(
    shared: &Shared,
    request: &Request<'_>,
    caller: &Caller<'_>,
    keep_alive: bool,
    judge: Judge<'_>,
    out: &mut Vec<u8>,
) -> bool {
    let head_only = request.method() == "HEAD";
    let mut headers = cors_headers(caller, request);
    headers.extend(caller.hsts.then_some(HSTS));
    let answer = endpoint(request).and_then(|endpoint| match request.method() {
        "GET" | "HEAD" => answer(shared, request, caller, judge, endpoint),
        "OPTIONS" => Ok(Answer::json(204, "")),
        _ => Err(method_not_allowed(&[ALLOW])),
    });
    match answer {
        Ok(Answer { status: 204, .. }) => {
            add_preflight_headers(request, &mut headers);
            put_response(out, 204, &headers, JSON, b"", false, keep_alive);
        }
        Ok(answer) => {
            headers.push(("Cache-Control", "no-store"));
            put_response(
                out,
                answer.status,
                &headers,
                answer.content_type,
                answer.body.as_bytes(),
                head_only,
                keep_alive,
            );
        }
        Err(refusal) => {
            let keep_alive = keep_alive && !matches!(refusal.status, 401 | 429);
            response::put_refusal(out, &refusal, &headers, keep_alive, head_only);
            return keep_alive;
        }
    }
    keep_alive
}

/// Appends a refusal after which the connection ends.
pub fn put_refusal(refusal: &Refusal, head_only: bool, hsts: bool, out: &mut Vec<u8>) {
    const HEADERS: [(&str, &str); 2] = [VARY, HSTS];
    let headers = if hsts { &HEADERS } else { &HEADERS[..1] };
    response::put_refusal(out, refusal, headers, false, head_only);
}

fn endpoint(request: &Request<'_>) -> Result<Endpoint, Refusal> {
    match request.path() {
        "/api/ws/info" => Ok(Endpoint::Info),
        "/api/ws/stats" => Ok(Endpoint::Stats),
        "/metrics" => Ok(Endpoint::Metrics),
        "/healthz" => Ok(Endpoint::Health),
        "/readyz" => Ok(Endpoint::Ready),
        _ => Err(Refusal::new(
            404,
            "not_found",
            "there is nothing here; the WebSocket is at /api/ws",
        )),
    }
}

fn answer<'a>(
    shared: &'a Shared,
    request: &Request<'_>,
    caller: &'a Caller<'_>,
    judge: Judge<'_>,
    endpoint: Endpoint,
) -> Result<Answer<'a>, Refusal> {
    match endpoint {
        Endpoint::Info => Ok(Answer::json(200, &caller.live.info)),
        Endpoint::Health => Ok(Answer::json(200, r#"{"status":"alive"}"#)),
        Endpoint::Ready => Ok(match shared.obstacle() {
            Some(obstacle) => Answer::json(503, format!(r#"{{"status":"{obstacle}"}}"#)),
            // Who comes is served, though not with what comes in on other hosts.
            None if shared.delivers_alone() => {
                let why = if shared.is_blocked() {
                    ", stream blocked"
                } else {
                    ""
                };
                let body =
                    format!(r#"{{"status":"ready","redis":"cut off{why}, delivering locally"}}"#);
                Answer::json(200, body)
            }
            None => Answer::json(200, r#"{"status":"ready"}"#),
        }),
        Endpoint::Stats => {
            check_operator(request, caller, judge)?;
            if wants_all_hosts(request)? {
                return all_hosts(shared);
            }
            let snapshot = shared.snapshot(caller.now);
            let body = serde_json::to_string(&snapshot)
                .expect("a snapshot is numbers and names, which serialize");
            Ok(Answer::json(200, body))
        }
        Endpoint::Metrics => {
            check_operator(request, caller, judge)?;
            Ok(Answer {
                status: 200,
                content_type: metrics::CONTENT_TYPE,
                body: metrics::text(shared).into(),
            })
        }
    }
}

/// What `scope` asks for: this host's statistics, or those of all.
fn wants_all_hosts(request: &Request<'_>) -> Result<bool, Refusal> {
    let mut scope = "host";
    for pair in request.query().unwrap_or_default().split('&') {
        if let Some(value) = pair.strip_prefix("scope=") {
            scope = value;
        }
    }
    match scope {
        "host" => Ok(false),
        "cluster" => Ok(true),
        _ => Err(Refusal::new(
            400,
            "bad_request",
            "scope must be host or cluster",
        )),
    }
}

/// What all hosts have told each other of late.
fn all_hosts<'a>(shared: &Shared) -> Result<Answer<'a>, Refusal> {
    let Some(redis) = &shared.cluster else {
        let message = "there is no cluster: this server runs without --redis-url";
        return Err(Refusal::new(404, "not_found", message));
    };
    let statistics = redis.statistics().filter(|_| redis.is_up());
    let statistics = statistics.ok_or_else(|| {
        let message = "Redis, where hosts tell their statistics, is out of reach; those of this host \
                       alone are to be had without scope";
        Refusal::new(503, "unavailable", message)
    })?;
    Ok(Answer::json(200, statistics.to_string()))
}

/// Statistics and metrics are for a caller on this host, or one with an admin's token; a token that is shown
/// is always judged.
fn check_operator(
    request: &Request<'_>,
    caller: &Caller<'_>,
    judge: Judge<'_>,
) -> Result<(), Refusal> {
    if let Some(token) = bearer(request)? {
        return match judge(token)? {
            Ok(identity) if identity.role == Role::Admin => Ok(()),
            Ok(_) => Err(unauthorized("statistics and metrics need an admin's token")),
            Err(error) => Err(Refusal {
                code: error.code(),
                ..unauthorized(error.message().to_owned())
            }),
        };
    }
    if is_on_this_host(request, caller.ip) {
        return Ok(());
    }
    Err(unauthorized(
        "statistics and metrics are for callers on this host, or with an admin's token",
    ))
}

fn cors_headers<'a>(caller: &Caller<'_>, request: &Request<'a>) -> Headers<'a> {
    let mut headers = vec![VARY];
    let rules = caller.live.config.allowed_origins.as_deref();
    if let Ok(Some(from)) = request.single("origin")
        && origin::allowed(rules, Some(from), request.host())
    {
        headers.push(("Access-Control-Allow-Origin", from));
    }
    headers
}

fn add_preflight_headers(request: &Request<'_>, headers: &mut Headers<'_>) {
    let is_allowed = headers
        .iter()
        .any(|(name, _)| *name == "Access-Control-Allow-Origin");
    if is_allowed && request.has("access-control-request-method") {
        headers.push(("Access-Control-Allow-Methods", "GET, HEAD"));
        headers.push(("Access-Control-Allow-Headers", "Authorization"));
        headers.push(("Access-Control-Max-Age", PREFLIGHT_MAX_AGE));
    } else {
        headers.push(ALLOW);
    }
}
