//! What a configuration that was read again changes in one that is in force.
//!
//! Owns which settings take effect while the server runs, and which at a restart only. Called by the
//! router's reload.

use super::file::{ACCESS, EMITTERS};
use super::{Config, settings};
use crate::auth::SecretsFrom;

/// What comes of reading the settings again.
#[derive(Debug)]
pub struct Renewed {
    /// What is in force from now on: the new value of what can change, the old one of all else.
    pub config: Config,
    /// The settings that name files with keys; the files were read again.
    pub read: Vec<&'static str>,
    /// Other settings with a new value that is in force from now on.
    pub changed: Vec<&'static str>,
    /// Settings with a new value that only a restart, or a takeover, puts into force.
    pub waiting: Vec<&'static str>,
}

/// When a new value takes effect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// At once.
    Now,
    /// At a restart or a takeover.
    Later,
}

/// The place of the further order statuses in the file.
const STATUSES: &str = "orders.statuses";

impl Config {
    /// Compares with what was `read` again from the same sources.
    pub fn renewed(&self, read: Config) -> Renewed {
        let with = |wanted| -> Vec<&'static str> {
            let differing = comparison(self, &read).into_iter();
            differing
                .filter(|(_, effect, is_same)| *effect == wanted && !is_same)
                .map(|(name, ..)| name)
                .collect()
        };
        let (changed, mut waiting) = (with(Effect::Now), with(Effect::Later));
        let (mut jwt, mut tls) = (read.jwt, self.tls.clone());
        if jwt.secrets_from == SecretsFrom::ThisRun && self.jwt.secrets_from == jwt.secrets_from {
            jwt.secrets.clone_from(&self.jwt.secrets);
        }
        let mut files = Vec::new();
        if jwt.secrets_from == SecretsFrom::Files && !jwt.secrets.is_empty() {
            files.push(settings::JWT_SECRET_FILE.name);
        }
        if !jwt.public_keys.is_empty() {
            files.push(settings::JWT_PUBLIC_KEY.name);
        }
        if jwt.jwks.is_some() {
            files.push(settings::JWKS_FILE.name);
        }
        let names = [settings::TLS_CERT.name, settings::TLS_KEY.name];
        match (self.tls.is_some(), read.tls) {
            (true, Some(new)) => {
                tls = Some(new);
                files.extend(names);
            }
            (false, None) => {}
            // A port speaks TLS or does not.
            _ => waiting.extend(names),
        }
        let config = Config {
            jwt,
            emitters: read.emitters,
            tls,
            allowed_origins: read.allowed_origins,
            trusted_proxies: read.trusted_proxies,
            forwarded_header: read.forwarded_header,
            exposed: read.exposed,
            message_rate: read.message_rate,
            connect_rate: read.connect_rate,
            access: read.access,
            ..self.clone()
        };
        Renewed {
            config,
            read: files,
            changed,
            waiting,
        }
    }
}

/// Each setting, but for those that name key files: when it takes effect, and whether it is the same.
fn comparison(old: &Config, new: &Config) -> Vec<(&'static str, Effect, bool)> {
    use Effect::{Later, Now};
    use settings as s;

    vec![
        (s::HOST.name, Later, old.host == new.host),
        (s::PORT.name, Later, old.port == new.port),
        (s::SOCKET.name, Later, old.socket == new.socket),
        (s::USER.name, Later, old.user == new.user),
        (s::WORKERS.name, Later, old.workers == new.workers),
        (
            s::ALLOWED_ORIGINS.name,
            Now,
            old.allowed_origins == new.allowed_origins,
        ),
        (s::JWT_ISSUER.name, Now, old.jwt.issuer == new.jwt.issuer),
        (
            s::JWT_AUDIENCE.name,
            Now,
            old.jwt.audience == new.jwt.audience,
        ),
        (s::JWT_LEEWAY.name, Now, old.jwt.leeway == new.jwt.leeway),
        (
            s::REQUIRE_AUTH.name,
            Later,
            old.require_auth == new.require_auth,
        ),
        (s::NO_PAGE.name, Later, old.page == new.page),
        (
            s::MAX_CONNECTIONS.name,
            Later,
            old.max_connections == new.max_connections,
        ),
        (
            s::RESERVED_SHARE.name,
            Later,
            old.reserved_share == new.reserved_share,
        ),
        (
            s::CUSTOMER_CONNECTIONS.name,
            Later,
            old.customer_connections == new.customer_connections,
        ),
        (
            s::PING_INTERVAL.name,
            Later,
            old.ping_interval == new.ping_interval,
        ),
        (
            s::PONG_TIMEOUT.name,
            Later,
            old.pong_timeout == new.pong_timeout,
        ),
        (
            s::MESSAGE_RATE.name,
            Now,
            old.message_rate == new.message_rate,
        ),
        (
            s::CONNECT_RATE.name,
            Now,
            old.connect_rate == new.connect_rate,
        ),
        (
            s::MAX_MESSAGE.name,
            Later,
            old.max_message == new.max_message,
        ),
        (
            s::OUTBOX_LIMIT.name,
            Later,
            old.outbox_limit == new.outbox_limit,
        ),
        (
            s::OUTBOX_BUDGET.name,
            Later,
            old.outbox_budget == new.outbox_budget,
        ),
        (s::HISTORY.name, Later, old.history == new.history),
        (
            s::HISTORY_AGE.name,
            Later,
            old.history_age == new.history_age,
        ),
        (s::JOURNAL.name, Later, old.journal == new.journal),
        (
            s::JOURNAL_SYNC.name,
            Later,
            old.journal_sync == new.journal_sync,
        ),
        (s::REDIS_URL.name, Later, old.redis_url == new.redis_url),
        (
            s::REDIS_OUTAGE.name,
            Later,
            old.redis_outage == new.redis_outage,
        ),
        (s::GATHER.name, Later, old.gather == new.gather),
        (
            s::TRUSTED_PROXIES.name,
            Now,
            old.trusted_proxies == new.trusted_proxies,
        ),
        (
            s::FORWARDED_HEADER.name,
            Now,
            old.forwarded_header == new.forwarded_header,
        ),
        (s::CORE_DUMPS.name, Later, old.core_dumps == new.core_dumps),
        (
            s::DRAIN_TIMEOUT.name,
            Later,
            old.drain_timeout == new.drain_timeout,
        ),
        (s::CANARY.name, Later, old.canary == new.canary),
        (s::LOG_FORMAT.name, Later, old.log_format == new.log_format),
        (
            s::LOG_FIGURES.name,
            Later,
            old.log_figures == new.log_figures,
        ),
        (ACCESS, Now, old.access == new.access),
        (EMITTERS, Now, old.emitters == new.emitters),
        (STATUSES, Later, old.order_statuses == new.order_statuses),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setting that is not compared would change unnoticed, or seem to.
    #[test]
    fn every_setting_is_compared_or_names_a_key_file() {
        let secret = |name: &str| (name == "WS_JWT_SECRET").then(|| "12345678".repeat(4));
        let config = Config::resolve(&Default::default(), &secret, None).unwrap();
        let compared: Vec<&str> = comparison(&config, &config)
            .into_iter()
            .inspect(|(name, _, is_same)| assert!(*is_same, "{name} differs from itself"))
            .map(|(name, ..)| name)
            .collect();
        let key_files = [
            settings::JWT_SECRET_FILE.name,
            settings::JWT_PUBLIC_KEY.name,
            settings::JWKS_FILE.name,
            settings::TLS_CERT.name,
            settings::TLS_KEY.name,
        ];
        for setting in settings::ALL {
            let name = setting.name;
            assert_ne!(
                compared.contains(&name),
                key_files.contains(&name),
                "{name}"
            );
        }
        for table in ["access", "emitters", "orders.statuses"] {
            assert!(compared.contains(&table), "{table}");
        }
    }
}
