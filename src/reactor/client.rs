//! What a client's message does (CONTRACT section 5, "From the client").
//!
//! Part of the reactor: carries out what [`super::message`] has read, within the message rate, and
//! leaves the answers in `out`, in the order of the questions.

use super::Reactor;
use super::answers::ErrorAnswer;
use super::directory::{Refused, may_subscribe};
use super::handshake::{FULL_RETRY_SECONDS, TOO_MANY};
use super::message::{self, Fault, Request, Subscribe};
use super::resume::issued;
use super::ticks::Tick;
use super::timers::steps;
use crate::access::{Namespace, NamespaceMask, Role};
use crate::auth::Identity;
use crate::event::{EventType, PublishError};
use crate::limits;
use crate::log_throttle::held_back;
use crate::ring::ToRouter;
use crate::wire::CloseReason;

impl Reactor {
    /// A text message.
    pub(super) fn on_text(&mut self, key: u32, text: &str) -> Result<(), CloseReason> {
        let now_ns = self.now_ns();
        let connection = &mut self.connections[key as usize];
        if let Err(wait_ns) = self.rates.messages.take(&mut connection.messages, now_ns) {
            let request = message::type_of(text);
            return self.limit_rate(key, request.as_deref(), "too many messages", wait_ns);
        }
        match message::parse(text) {
            Ok(Request::Ping) => self.answers.pong(self.shared.wall.ms(), &mut self.out),
            Ok(Request::Auth(token)) => return self.authenticate(key, &token),
            Ok(Request::Subscribe(request)) => self.subscribe(key, &request),
            Ok(Request::Unsubscribe(namespaces)) => self.unsubscribe(key, namespaces),
            Ok(Request::Publish(kind)) => self.publish(key, kind, text),
            Err(Fault {
                code,
                message,
                request,
            }) => {
                let request = request.as_deref();
                let (field, retry_after_ms) = (None, None);
                let message = &message;
                self.answer_error(
                    key,
                    &ErrorAnswer {
                        code,
                        message,
                        request,
                        field,
                        retry_after_ms,
                    },
                );
            }
        }
        Ok(())
    }

    /// Counts a ping or pong. False: over the rate, and not answered.
    pub(super) fn take_control(&mut self, key: u32) -> Result<bool, CloseReason> {
        let now_ns = self.now_ns();
        let connection = &mut self.connections[key as usize];
        if self
            .rates
            .controls
            .take(&mut connection.controls, now_ns)
            .is_ok()
        {
            return Ok(true);
        }
        let stats = &self.shared.stats.reactors[self.index];
        stats.controls_refused.add(1);
        self.count_refusal(key).map(|()| false)
    }

    /// Answers that what was asked was too much; it may be asked again in so many nanoseconds.
    fn limit_rate(
        &mut self,
        key: u32,
        request: Option<&str>,
        message: &str,
        wait_ns: u64,
    ) -> Result<(), CloseReason> {
        self.answer_error(
            key,
            &ErrorAnswer {
                code: "rate_limited",
                message,
                request,
                field: None,
                retry_after_ms: Some(wait_ns.div_ceil(1_000_000)),
            },
        );
        self.count_refusal(key)
    }

    pub(super) fn now_ns(&self) -> u64 {
        let since = self.now.saturating_duration_since(self.started).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    /// Too many refusals within a minute end the connection.
    fn count_refusal(&mut self, key: u32) -> Result<(), CloseReason> {
        let minute = steps(std::time::Duration::from_secs(60));
        let connection = &mut self.connections[key as usize];
        let window: Tick = connection.refusals_since;
        if connection.refusals == 0 || self.tick.is_after(window.plus(minute)) {
            connection.refusals = 0;
            connection.refusals_since = self.tick;
        }
        connection.refusals = connection.refusals.saturating_add(1);
        if u32::from(connection.refusals) >= self.rates.refusals_max.min(u32::from(u16::MAX)) {
            return Err(CloseReason::Flooding);
        }
        Ok(())
    }

    fn answer_error(&mut self, key: u32, error: &ErrorAnswer<'_>) {
        let stats = &self.shared.stats.reactors[self.index];
        stats.rejected.count(error.code);
        if let Some(held) = self.refusals.admit(self.now) {
            let id = Self::id_of(&self.connections[key as usize]);
            let (worker, user) = (self.index, self.user_hash(key));
            let (code, held) = (error.code, held_back(held));
            log::info!(
                connection = id.as_str(), worker, user = user.as_str(), code;
                "refused a message{held}"
            );
        }
        self.answers.error(error, &mut self.out);
    }

    fn authenticate(&mut self, key: u32, token: &str) -> Result<(), CloseReason> {
        let is_first = self.directory.user(key).is_none();
        let judged = if is_first {
            // Its attempt was counted when the connection came.
            self.live.verifier.verify(token, self.shared.wall.ms())
        } else {
            let (ip, now_ns) = (self.connections[key as usize].ip, self.now_ns());
            let trials = &mut self.token_trials;
            match trials.judge_refresh(&self.shared, &self.live, token, ip, now_ns) {
                Ok(judged) => judged,
                Err(wait_ns) => {
                    let message = "too many bad tokens from this address";
                    return self.limit_rate(key, Some("auth"), message, wait_ns);
                }
            }
        };
        let identity = match judged {
            Ok(identity) => identity,
            Err(error) => {
                self.count_authentication(error.outcome());
                self.answer_error(key, &ErrorAnswer::to("auth", error.code(), error.message()));
                return if is_first {
                    Err(CloseReason::TokenRefused)
                } else {
                    Ok(())
                };
            }
        };
        if self
            .directory
            .user(key)
            .is_some_and(|user| user != identity.user)
        {
            self.count_authentication("unauthorized");
            let message = "a refresh must be for the same user";
            self.answer_error(key, &ErrorAnswer::to("auth", "unauthorized", message));
            return Ok(());
        }
        let old_role = self.directory.role(key);
        if old_role != Role::Customer && self.has_enough(&identity) {
            self.count_authentication(TOO_MANY.0);
            let answer = ErrorAnswer::to("auth", TOO_MANY.0, TOO_MANY.1);
            let retry_after_ms = Some(u64::from(FULL_RETRY_SECONDS) * 1000);
            self.answer_error(
                key,
                &ErrorAnswer {
                    retry_after_ms,
                    ..answer
                },
            );
            // It stays what it was, and has taken a place of its address's connect rate.
            return Ok(());
        }
        self.count_authentication("accepted");
        if is_first {
            let ip = self.connections[key as usize].ip;
            self.shared.admission.give_back_handshake(ip);
        }
        self.shared.admission.change_role(old_role, identity.role);
        self.accept_identity(key, &identity);
        self.arm(key);
        Ok(())
    }

    /// What stands in the log for the connection's user: nothing for a public one.
    pub(super) fn user_hash(&self, key: u32) -> String {
        let user = self.directory.user(key);
        user.map(|user| format!("{:016x}", self.shared.hasher.hash(user)))
            .unwrap_or_default()
    }

    fn count_authentication(&self, outcome: &str) {
        let stats = &self.shared.stats.reactors[self.index];
        stats.authentications.count(outcome);
    }

    /// A token was accepted: it is in force from now on.
    pub(super) fn accept_identity(&mut self, key: u32, identity: &Identity) {
        let now_ms = self.shared.wall.ms();
        let connection = &mut self.connections[key as usize];
        let left = identity.expires_at.saturating_sub(now_ms);
        connection.expires_at = identity.expires_at;
        connection.expiry_told = false;
        connection.expiry_notice = u16::try_from(left / 2)
            .unwrap_or(u16::MAX)
            .min(limits::EXPIRY_NOTICE_MS);
        connection.stage_due = None;

        let (old_role, old) = (self.directory.role(key), self.directory.subscribed(key));
        let is_same =
            old_role == identity.role && self.directory.session(key) == identity.session.as_deref();
        let identified = self.directory.identify(key, identity);
        if !is_same {
            self.note_change(key);
        }
        let stats = &self.shared.stats.reactors[self.index];
        stats.role(old_role).sub(1);
        stats.role(identity.role).add(1);
        stats.resubscribed(old, self.directory.subscribed(key));
        self.answers.authenticated(identity, &mut self.out);
        if !identified.dropped.is_empty() {
            self.answers
                .unsubscribed(self.directory.subscribed(key), &mut self.out);
        }
        self.tell_presence(identified.presence);
        if log::log_enabled!(log::Level::Debug) {
            let id = Self::id_of(&self.connections[key as usize]);
            let (worker, user) = (self.index, self.user_hash(key));
            let role = identity.role.name();
            log::debug!(
                connection = id.as_str(), worker, user = user.as_str(), role;
                "a connection authenticates"
            );
        }
    }

    fn subscribe(&mut self, key: u32, request: &Subscribe<'_>) {
        if let Err((code, message)) = self.may_subscribe_all(key, request.namespaces) {
            return self.answer_error(key, &ErrorAnswer::to("subscribe", code, &message));
        }
        if let Some(conflate) = request.conflate {
            self.connections[key as usize].conflates = conflate;
        }
        let (old, wanted) = (self.directory.subscribed(key), self.directory.wanted(key));
        self.sweep_history();
        let issued = issued(&self.shared);
        let answer =
            self.replays
                .subscribe(key, request, &mut self.directory, &self.history, issued);
        self.note_subscription(key, request, wanted, answer.recovered == Some(true));
        let now = self.directory.subscribed(key);
        let stats = &self.shared.stats.reactors[self.index];
        stats.resubscribed(old, now);
        match answer.recovered {
            Some(true) => stats.recovered.add(1),
            Some(false) => stats.not_recovered.add(1),
            None => {}
        }
        let online = request
            .namespaces
            .contains(Namespace::Customers)
            .then_some(self.online);
        let position = self.shared.runs.position(&answer.position);
        self.answers
            .subscribed(now, &position, answer.recovered, online, &mut self.out);
    }

    fn may_subscribe_all(
        &self,
        key: u32,
        namespaces: NamespaceMask,
    ) -> Result<(), (&'static str, String)> {
        let role = self.directory.role(key);
        if role == Role::Public && self.shared.config.require_auth {
            return Err(("unauthorized", "this server wants a token first".to_owned()));
        }
        for namespace in namespaces.iter() {
            let name = namespace.name();
            match may_subscribe(self.directory.access(), role, namespace) {
                Ok(()) => {}
                Err(Refused::Unauthorized) => {
                    return Err(("unauthorized", format!("{name} needs a token")));
                }
                Err(Refused::Forbidden) => {
                    let role = role.name();
                    return Err(("forbidden", format!("the role {role} may not see {name}")));
                }
            }
        }
        Ok(())
    }

    fn unsubscribe(&mut self, key: u32, namespaces: NamespaceMask) {
        let (old, wanted) = (self.directory.subscribed(key), self.directory.wanted(key));
        self.directory.unsubscribe(key, namespaces);
        if self.directory.wanted(key) != wanted {
            self.note_change(key);
        }
        let now = self.directory.subscribed(key);
        self.shared.stats.reactors[self.index].resubscribed(old, now);
        self.answers.unsubscribed(now, &mut self.out);
    }

    /// A customer's event about itself goes up to the router, to become an event like any other.
    fn publish(&mut self, key: u32, kind: EventType, text: &str) {
        let name = kind.name();
        if !kind.is_publishable() {
            let message = "clients may publish customer:activity, customer:viewing_product and \
                           customer:added_to_cart only";
            return self.answer_error(key, &ErrorAnswer::to(name, "forbidden", message));
        }
        let Some(user) = self.directory.user(key) else {
            let message = "publishing needs a customer's token";
            return self.answer_error(key, &ErrorAnswer::to(name, "unauthorized", message));
        };
        if self.directory.role(key) != Role::Customer {
            let message = "only customers publish, each about itself";
            return self.answer_error(key, &ErrorAnswer::to(name, "forbidden", message));
        }
        let mut line = Vec::with_capacity(text.len() + 128);
        let now_ms = self.shared.wall.ms();
        match self
            .parser
            .parse_published(text.as_bytes(), user, now_ms, &mut line)
        {
            Ok(()) => self.uplink.send(ToRouter::Published(line.into())),
            Err(PublishError::Forbidden { message }) => {
                self.answer_error(key, &ErrorAnswer::to(name, "forbidden", &message));
            }
            Err(PublishError::TooLarge { message }) => {
                self.answer_error(key, &ErrorAnswer::to(name, "too_large", &message));
            }
            Err(PublishError::UnknownType { message }) => {
                self.answer_error(key, &ErrorAnswer::to(name, "unknown_type", &message));
            }
            Err(PublishError::Invalid { field, message }) => {
                let field = field.as_deref();
                let answer = ErrorAnswer::to(name, "invalid_message", &message);
                self.answer_error(key, &ErrorAnswer { field, ..answer });
            }
        }
    }
}
