//! From a connection's first bytes to a WebSocket, a plain HTTP answer, or a refusal.
//!
//! Part of the reactor. What a request must look like is `wire`'s business, what the plain
//! endpoints say is `http`'s; here stands the order in which a handshake is judged (CONTRACT
//! section 5, "HTTP answers to a handshake").

use std::net::IpAddr;

use super::Reactor;
use super::connection::{PartialHead, Stage};
use super::timers::steps;
use super::token_trials::rate_limited;
use crate::access::Role;
use crate::auth::{Identity, TokenError};
use crate::event::{self, Line, Parser};
use crate::http::{self, Caller};
use crate::limits;
use crate::log_throttle::held_back;
use crate::ring::ToRouter;
use crate::wire::handshake::{Upgrade, bearer, check_upgrade, unauthorized};
use crate::wire::proxy_header::{self, ProxyHeader};
use crate::wire::request::{Head, Request, malformed, parse};
use crate::wire::response::put_switching_protocols;
use crate::wire::{CloseReason, Refusal, client_address, origin};

/// Where a request comes from: its connection's other end, and the client that a trusted proxy tells of.
struct From {
    peer: IpAddr,
    ip: IpAddr,
}

/// What became of a request.
enum Outcome {
    /// It is a WebSocket now.
    Upgraded,
    /// Answered; the next request may follow.
    Answered,
    /// Answered; the connection ends.
    Ended,
}

impl Reactor {
    /// Takes the requests in `input`, everything that has come since the last one.
    pub(super) fn take_requests(&mut self, key: u32, input: &mut [u8]) {
        let Some(mut at) = self.skip_proxy_header(key, input) else {
            return;
        };
        let mut left = limits::HTTP_ANSWERS_PER_TURN;
        while at < input.len() {
            let outcome = match parse(&input[at..]) {
                Head::Partial => return self.keep_head(key, &input[at..]),
                Head::Refused(refusal) => return self.refuse(key, &refusal, false),
                Head::Complete { length, request } => {
                    let body = match self.body(key, &request, &input[at + length..]) {
                        Ok(Some(body)) => body,
                        Ok(None) => return self.keep_head(key, &input[at..]),
                        Err(refusal) => return self.refuse(key, &refusal, false),
                    };
                    at += length + body.len();
                    left -= 1;
                    self.answer(key, &request, body, left == 0)
                }
            };
            match outcome {
                Outcome::Upgraded => return self.take_frames(key, &mut input[at..]),
                Outcome::Answered => {}
                Outcome::Ended => return,
            }
        }
    }

    /// Where the request begins: behind the PROXY header that a trusted proxy may have sent.
    pub(super) fn skip_proxy_header(&mut self, key: u32, input: &[u8]) -> Option<usize> {
        let connection = &mut self.connections[key as usize];
        if connection.stage != Stage::Fresh {
            return Some(0);
        }
        let trusted = &self.live.config.trusted_proxies;
        if client_address::is_trusted(connection.ip, trusted) {
            match proxy_header::parse(input) {
                ProxyHeader::Partial => {
                    self.keep_head(key, input);
                    return None;
                }
                ProxyHeader::Broken => {
                    self.refuse(key, &malformed("the PROXY header is broken"), false);
                    return None;
                }
                ProxyHeader::NotProxy => {}
                ProxyHeader::Complete { length, source } => {
                    connection.stage = Stage::Head;
                    if let Some(source) = source {
                        self.set_address(key, source);
                    }
                    return Some(length);
                }
            }
        }
        connection.stage = Stage::Head;
        Some(0)
    }

    fn keep_head(&mut self, key: u32, rest: &[u8]) {
        let due = self.tick.plus(steps(limits::HEAD_TIMEOUT));
        let connection = &mut self.connections[key as usize];
        connection.head = Some(Box::new(PartialHead(rest.to_vec())));
        if connection.stage == Stage::KeepAlive {
            // The next request has begun; from now on its own time counts.
            self.keep_alive -= 1;
            connection.stage = Stage::Head;
            connection.stage_due = Some(due);
            self.arm(key);
        }
    }

    /// The request's body, if it is one whose body is taken: the beginning of `rest`. `None`: there is
    /// more of it to come.
    fn body<'b>(
        &self,
        key: u32,
        request: &Request<'_>,
        rest: &'b [u8],
    ) -> Result<Option<&'b [u8]>, Refusal> {
        let ip = self.connections[key as usize].ip;
        if http::takes_body(&self.shared, request, ip) {
            request.body(rest, limits::DEV_BODY_MAX)
        } else {
            Ok(Some(&[]))
        }
    }

    fn answer(&mut self, key: u32, request: &Request<'_>, body: &[u8], is_last: bool) -> Outcome {
        let peer = self.connections[key as usize].ip;
        let config = &self.live.config;
        let header = config.forwarded_header;
        let lines = request.values(header.name());
        let ip = client_address::client_ip(peer, &config.trusted_proxies, header, lines);
        if request.path() != http::WEBSOCKET_PATH {
            let from = From { peer, ip };
            return self.answer_http(key, request, body, from, is_last);
        }
        self.set_address(key, ip);
        match self.judge(ip, request) {
            Ok((upgrade, identity)) => {
                self.upgrade(key, &upgrade, identity.as_ref());
                Outcome::Upgraded
            }
            Err(refusal) => {
                self.refuse(key, &refusal, request.method() == "HEAD");
                Outcome::Ended
            }
        }
    }

    fn answer_http(
        &mut self,
        key: u32,
        request: &Request<'_>,
        body: &[u8],
        from: From,
        is_last: bool,
    ) -> Outcome {
        let has_room = self.connections[key as usize].stage == Stage::KeepAlive
            || self.keep_alive < limits::KEEP_ALIVE_CONNECTIONS_MAX;
        let is_read = !request.has_body() || !body.is_empty();
        let keep_alive = has_room && request.keep_alive() && is_read && !is_last;
        let now_ns = self.now_ns();
        let caller = Caller {
            live: &self.live,
            ip: from.peer,
            now: self.now,
            now_ms: self.shared.wall.ms(),
            hsts: self.shows_hsts(key),
        };
        let (parser, uplink) = (&mut self.parser, &mut self.uplink);
        let (shared, trials) = (&self.shared, &mut self.token_trials);
        let mut judge =
            |token: &str| trials.judge_request(shared, &self.live, token, from.ip, now_ns);
        let mut submit = |line: &[u8]| {
            let line = checked(parser, line)?;
            uplink.send(ToRouter::Published(line));
            Ok(())
        };
        let given = http::respond(
            &self.shared,
            request,
            body,
            &caller,
            keep_alive,
            http::Doors {
                judge: &mut judge,
                submit: &mut submit,
            },
            &mut self.out,
        );
        self.out_is_http = true;
        self.send_out(key);
        self.send_shared(key, &given.rest);
        let Some(connection) = self.connections.get_mut(key as usize) else {
            return Outcome::Ended;
        };
        if connection.is_waiting() {
            self.finish_answer(key);
            return Outcome::Ended;
        }
        if !given.keep_alive {
            self.part(key);
            return Outcome::Ended;
        }
        if connection.stage != Stage::KeepAlive {
            self.keep_alive += 1;
        }
        connection.stage = Stage::KeepAlive;
        connection.stage_due = Some(self.tick.plus(steps(limits::KEEP_ALIVE_IDLE)));
        Outcome::Answered
    }

    /// Everything a handshake has to pass, in the contract's order.
    fn judge<'a>(
        &mut self,
        ip: IpAddr,
        request: &Request<'a>,
    ) -> Result<(Upgrade<'a>, Option<Identity>), Refusal> {
        let upgrade = check_upgrade(request)?;
        let now_ns = self.now_ns();
        let (shared, live) = (&self.shared, &self.live);
        let within_rate = shared.admission.take_handshake(ip, now_ns);
        if shared.admission.is_draining() {
            let refusal = Refusal::new(503, "draining", "the server is going away, come back");
            return Err(refusal.with_retry_after(1));
        }
        if shared.revoked.awaits_others() {
            let message = "the server does not know yet whom it may let in: it waits for Redis";
            let refusal = Refusal::new(503, "starting", message);
            return Err(refusal.with_retry_after(STARTING_RETRY_SECONDS));
        }
        if shared.admission.is_full() {
            return Err(full());
        }
        let bearer = bearer(request);
        let token = match &bearer {
            Ok(Some(token)) => Some(*token),
            Ok(None) => upgrade.subprotocol_token,
            Err(_) => None,
        };
        // Nobody authenticates in another dialect.
        let token = token.filter(|_| self.dialect.is_none());
        let trials = &mut self.token_trials;
        let identity = token
            .map(|token| trials.judge(shared, live, token, within_rate, now_ns))
            .transpose()
            .map_err(rate_limited)?;
        if let Some(judged) = &identity {
            let outcome = judged
                .as_ref()
                .map_or_else(TokenError::outcome, |_| "accepted");
            shared.stats.reactors[self.index]
                .authentications
                .count(outcome);
        }
        let role = match &identity {
            Some(Ok(identity)) => identity.role,
            _ => Role::Public,
        };
        if let Some(refusal) = self.storefront_refusal()
            && !role.is_back_office()
        {
            return Err(refusal);
        }
        if let Err(wait_ns) = within_rate
            && !matches!(identity, Some(Ok(_)))
        {
            return Err(rate_limited(wait_ns));
        }
        let origins = live.config.allowed_origins.as_deref();
        if !origin::allowed(origins, request.single("origin")?, request.host()) {
            let message = "this origin is not among the allowed ones";
            return Err(Refusal::new(403, "forbidden_origin", message));
        }
        bearer?;
        let identity = identity.transpose().map_err(|error| {
            let refusal = unauthorized(error.message().to_owned());
            Refusal {
                code: error.code(),
                ..refusal
            }
        })?;
        if let Some(identity) = &identity
            && self.has_enough(identity)
        {
            let refusal = Refusal::new(429, TOO_MANY.0, TOO_MANY.1);
            return Err(refusal.with_retry_after(FULL_RETRY_SECONDS));
        }
        // Another reactor may have taken the last place meanwhile.
        if !shared.admission.enter_websocket(role) {
            return Err(full());
        }
        if identity.is_some() && within_rate.is_ok() {
            shared.admission.give_back_handshake(ip);
        }
        Ok((upgrade, identity))
    }

    /// Whether a customer has so many connections that others' places would be at stake: those count that have
    /// this role now, whether they came with it or showed their token later.
    pub(super) fn has_enough(&self, identity: &Identity) -> bool {
        let (config, stats) = (&self.shared.config, &self.shared.stats);
        let share = config.customer_connections as usize / stats.reactors.len();
        config.customer_connections > 0
            && identity.role == Role::Customer
            && self.directory.customers_of(&identity.user) >= share.max(limits::CUSTOMER_SHARE_MIN)
    }

    /// Why nobody is let in now but the back office, if so.
    fn storefront_refusal(&self) -> Option<Refusal> {
        let gate = &self.shared.admission;
        if gate.is_overloaded() {
            let message = "the server has too much to do to take another connection";
            let refusal = Refusal::new(503, "overloaded", message);
            return Some(refusal.with_retry_after(FULL_RETRY_SECONDS));
        }
        gate.is_storefront_full().then(full)
    }

    fn upgrade(&mut self, key: u32, upgrade: &Upgrade<'_>, identity: Option<&Identity>) {
        put_switching_protocols(&mut self.out, upgrade.key, upgrade.protocol);
        self.out_is_http = true;
        self.forget_newcomer(key);
        let stats = &self.shared.stats.reactors[self.index];
        stats.handshakes.count("accepted");
        stats.connections.add(1);
        let is_secure = self.connections[key as usize].is_secure();
        stats.secure.add(is_secure.into());
        stats.role(Role::Public).add(1);
        self.directory.enter(key);
        self.know_from_now(key);
        let heartbeat = self.first_heartbeat();
        let auth_due = (self.shared.config.require_auth && identity.is_none())
            .then(|| self.tick.plus(steps(limits::AUTH_TIMEOUT)));
        let connection = &mut self.connections[key as usize];
        if connection.stage == Stage::KeepAlive {
            self.keep_alive -= 1;
        }
        connection.stage = Stage::Open;
        connection.stage_due = auth_due;
        connection.heartbeat = heartbeat;
        let id = Self::id_of(&self.connections[key as usize]);
        let (worker, ip) = (self.index, self.connections[key as usize].ip);
        log::debug!(connection = id.as_str(), worker, ip:% = ip; "a connection opens");
        if self.dialect.is_some() {
            return self.arm(key);
        }
        let interval = self.shared.config.ping_interval.as_millis();
        let interval = u64::try_from(interval).unwrap_or(u64::MAX);
        self.answers.welcome(&id, interval, &mut self.out);
        if let Some(identity) = identity {
            self.accept_identity(key, identity);
        }
        self.arm(key);
    }

    /// Answers with an HTTP refusal and ends the connection.
    pub(super) fn refuse(&mut self, key: u32, refusal: &Refusal, head_only: bool) {
        let stats = &self.shared.stats.reactors[self.index];
        stats.handshakes.count(refusal.code);
        if let Some(held) = self.refusals.admit(self.now) {
            let (status, code) = (refusal.status, refusal.code);
            let (worker, ip) = (self.index, self.connections[key as usize].ip);
            let held = held_back(held);
            log::info!(worker, ip:% = ip, status, code; "refused a request{held}");
        }
        http::put_refusal(refusal, head_only, self.shows_hsts(key), &mut self.out);
        self.out_is_http = true;
        self.part(key);
    }

    /// Sends what is in `out` and ends a connection that is no WebSocket.
    pub(super) fn part(&mut self, key: u32) {
        self.send_out(key);
        let Some(connection) = self.connections.get(key as usize) else {
            return;
        };
        if connection.is_waiting() {
            self.remove(key, CloseReason::Gone);
        } else {
            self.linger(key);
        }
    }
}

/// An ingest line that came as a request's body, judged as one from an emitter.
fn checked(parser: &mut Parser, line: &[u8]) -> Result<Box<[u8]>, event::Refusal> {
    // Outside of strings, which have it escaped, a line end is only white space.
    let line: Box<[u8]> = line
        .iter()
        .map(|&byte| match byte {
            b'\n' | b'\r' => b' ',
            byte => byte,
        })
        .collect();
    match parser.parse(&line)? {
        Line::Event(_) => Ok(line),
        Line::Blank | Line::Command => Err(event::Refusal::whole(
            event::Code::InvalidJson,
            "this takes one event: a JSON object with type and data",
        )),
    }
}

fn full() -> Refusal {
    let message = "the server has no place for a further connection of this role";
    Refusal::new(503, "full", message).with_retry_after(FULL_RETRY_SECONDS)
}

/// What a customer is told who [has enough](Reactor::has_enough) connections: code and sentence.
pub(super) const TOO_MANY: (&str, &str) = (
    "too_many_connections",
    "this customer has as many connections as one may have",
);
/// When a client does well to try again that came before the server knew whose tokens are revoked.
const STARTING_RETRY_SECONDS: u32 = 1;
/// When a client that found the server full or overloaded does well to try again.
pub(super) const FULL_RETRY_SECONDS: u32 = 5;
