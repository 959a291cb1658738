//! The one table of settings: flags, environment names, file keys, defaults and help come from here.
//!
//! Owns names and texts; `values` owns what they may be. Read by `sources`, and by `cli` for `--help`.

/// One setting that has a flag, an environment variable and a file key.
#[derive(Debug)]
pub struct Setting {
    /// The flag without its dashes, and the key in the file.
    pub name: &'static str,
    /// The environment variable.
    pub env: &'static str,
    /// What `--help` calls the value.
    pub value_name: &'static str,
    /// The default in words or as a value.
    pub default: &'static str,
    /// One sentence for `--help`.
    pub help: &'static str,
    /// What sort of value the file holds.
    pub shape: Shape,
}

/// How a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    One,
    /// Comma-separated, or the flag several times; an array in the file.
    List,
    /// One path or several: the flag several times, comma-separated in the environment, a string or an
    /// array in the file.
    Files,
    /// True or false; as a flag the value may be left out.
    Switch,
}

impl Shape {
    /// Whether a flag may be given several times, and all of it counts.
    pub fn takes_several(self) -> bool {
        matches!(self, Shape::List | Shape::Files)
    }

    /// The items of a flag's text. A path is taken as it is, whatever is in it.
    pub(super) fn of_flag(self, text: &str) -> Vec<String> {
        match self {
            Shape::List => items(text),
            Shape::One | Shape::Switch | Shape::Files => vec![text.to_owned()],
        }
    }

    /// The items of an environment variable.
    pub(super) fn of_variable(self, text: &str) -> Vec<String> {
        match self {
            Shape::List | Shape::Files => items(text),
            Shape::One | Shape::Switch => vec![text.to_owned()],
        }
    }
}

fn items(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect()
}

macro_rules! settings {
    ($($constant:ident = $shape:ident $name:literal $env:literal <$value_name:literal> [$default:literal] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub static $constant: Setting = Setting {
                name: $name,
                env: $env,
                value_name: $value_name,
                default: $default,
                help: $help,
                shape: Shape::$shape,
            };
        )+

        /// Every setting, in the order of `--help`.
        pub static ALL: &[&Setting] = &[$(&$constant),+];
    };
}

settings! {
    HOST = One "host" "WS_HOST" <"ADDRESS"> ["0.0.0.0"]
        "Address to listen on for WebSockets and HTTP; --dev takes loopback addresses only, 127.0.0.1 by default";
    PORT = One "port" "WS_PORT" <"PORT"> ["3001"]
        "Port to listen on; 0 is any free one";
    SOCKET = One "socket" "WS_SOCKET" <"PATH"> ["$XDG_RUNTIME_DIR/shopwire.sock, else /run/shopwire/shopwire.sock, else a private folder under the temp dir"]
        "Unix socket that takes events";
    USER = One "user" "WS_USER" <"NAME"> ["none"]
        "User to become when started as root, once the port is open and keys are read";
    WORKERS = One "workers" "WS_WORKERS" <"N"> ["number of cores"]
        "Reactors, each on a thread of its own";
    ALLOWED_ORIGINS = List "allowed-origins" "ALLOWED_ORIGINS" <"ORIGINS"> ["same host"]
        "Origins browsers may come from, comma-separated: https://shop.example, https://*.shop.example, or *";
    JWT_SECRET_FILE = Files "jwt-secret-file" "WS_JWT_SECRET_FILE" <"FILE"> ["none"]
        "File with a secret for HS256, HS384 and HS512 tokens, at least 32 bytes; may be given several times, and new tokens are signed with the first; read again on reload; or the secret itself in WS_JWT_SECRET";
    JWT_PUBLIC_KEY = Files "jwt-public-key" "WS_JWT_PUBLIC_KEY" <"FILE"> ["none"]
        "PEM file with one or more public keys for RS*, PS*, ES256, ES384 or EdDSA tokens; may be given several times; read again on reload";
    JWKS_FILE = One "jwks-file" "WS_JWKS_FILE" <"FILE"> ["none"]
        "JWK set with the keys for tokens, picked by kid; read again on reload";
    JWT_ISSUER = One "jwt-issuer" "WS_JWT_ISSUER" <"TEXT"> ["unchecked"]
        "What a token's iss must be";
    JWT_AUDIENCE = One "jwt-audience" "WS_JWT_AUDIENCE" <"TEXT"> ["unchecked"]
        "What a token's aud must be or contain";
    JWT_LEEWAY = One "jwt-leeway" "WS_JWT_LEEWAY" <"DURATION"> ["0s"]
        "How far clocks may differ when a token's exp, nbf and iat are checked";
    REQUIRE_AUTH = Switch "require-auth" "WS_REQUIRE_AUTH" <"BOOL"> ["false"]
        "Take no public connections: without a token within 10 s they are closed";
    NO_PAGE = Switch "no-page" "WS_NO_PAGE" <"BOOL"> ["false"]
        "Serve no live page at /";
    MAX_CONNECTIONS = One "max-connections" "WS_MAX_CONNECTIONS" <"N"> ["10000"]
        "The most WebSockets at once";
    RESERVED_SHARE = One "reserved-share" "WS_RESERVED_SHARE" <"PERCENT"> ["10"]
        "How much of max-connections is kept for admin, manager and staff, in percent; 0 is nothing";
    CUSTOMER_CONNECTIONS = One "customer-connections" "WS_CUSTOMER_CONNECTIONS" <"N"> ["100"]
        "How many connections one customer may open, about: each worker allows its share, and at least 8; 0 is no limit";
    PING_INTERVAL = One "ping-interval" "WS_PING_INTERVAL" <"DURATION"> ["30000"]
        "How often a quiet connection is pinged";
    PONG_TIMEOUT = One "pong-timeout" "WS_PONG_TIMEOUT" <"DURATION"> ["5000"]
        "How long a sign of life may take after a ping";
    MESSAGE_RATE = One "message-rate" "WS_MESSAGE_RATE" <"N"> ["100"]
        "Messages a minute that one client may send; 0 is no limit";
    CONNECT_RATE = One "connect-rate" "WS_CONNECT_RATE" <"N"> ["10"]
        "Handshakes a minute that one client address may try; 0 is no limit, as under --dev unless given";
    MAX_MESSAGE = One "max-message" "WS_MAX_MESSAGE" <"SIZE"> ["1048576"]
        "The longest message from a client or line on the ingest socket";
    OUTBOX_LIMIT = One "outbox-limit" "WS_OUTBOX_LIMIT" <"SIZE"> ["1048576"]
        "The most that may wait for a slow client before it is closed";
    OUTBOX_BUDGET = One "outbox-budget" "WS_OUTBOX_BUDGET" <"SIZE"> ["256MiB, or outbox-limit if that is more"]
        "The most memory that may be held for all slow clients together; over it those are closed first for whom most waits";
    HISTORY = One "history" "WS_HISTORY" <"SIZE"> ["64MiB"]
        "How much of the newest events is kept for clients that come back; 0 is nothing";
    HISTORY_AGE = One "history-age" "WS_HISTORY_AGE" <"DURATION"> ["10m"]
        "How long events are kept for clients that come back; 0 is not at all";
    JOURNAL = One "journal" "WS_JOURNAL" <"FOLDER"> ["none"]
        "Folder in which history survives a restart, a crash and a power failure";
    JOURNAL_SYNC = One "journal-sync" "WS_JOURNAL_SYNC" <"WHEN"> ["batch"]
        "When the journal is made safe from a power failure: batch (acks wait for it), interval:100ms, or never";
    REDIS_URL = One "redis-url" "WS_REDIS_URL" <"URL"> ["none"]
        "Redis through which several hosts act as one: redis://host:6379, rediss://user:password@host, unix:///path, redis+sentinel://host,host/NAME; not with a journal";
    REDIS_OUTAGE = One "redis-outage" "WS_REDIS_OUTAGE" <"HOW"> ["hold"]
        "What becomes of events while Redis is out of reach: hold (they wait for it), or local (this host delivers them at once, the others when Redis is back)";
    GATHER = One "gather" "WS_GATHER" <"DURATION"> ["200us"]
        "How long an event that follows another closely may wait for more, to share their sends; 0 is not at all";
    TRUSTED_PROXIES = List "trusted-proxies" "WS_TRUSTED_PROXIES" <"CIDRS"> ["none"]
        "Networks of proxies whose word about a client's address is taken, comma-separated";
    FORWARDED_HEADER = One "forwarded-header" "WS_FORWARDED_HEADER" <"NAME"> ["x-forwarded-for"]
        "The header in which they give it: x-forwarded-for, or forwarded (RFC 7239); the other one is not read, since a client may have written it";
    TLS_CERT = One "tls-cert" "WS_TLS_CERT" <"FILE"> ["none"]
        "PEM file with the server's certificate and those that lead to its authority: the port then speaks TLS alone (wss, https); read again on reload";
    TLS_KEY = One "tls-key" "WS_TLS_KEY" <"FILE"> ["none"]
        "PEM file with the certificate's key (PKCS#8, PKCS#1 or SEC1), not encrypted; read again on reload";
    CORE_DUMPS = Switch "core-dumps" "WS_CORE_DUMPS" <"BOOL"> ["false, but under --dev"]
        "Let the process be dumped and looked into, with the secrets in its memory: for debugging";
    DRAIN_TIMEOUT = One "drain-timeout" "WS_DRAIN_TIMEOUT" <"DURATION"> ["10000"]
        "How long stopping may take";
    CANARY = One "canary" "WS_CANARY" <"DURATION"> ["0"]
        "How often an event of the server's own goes from the ingest socket to WebSockets of its own, one on each worker, to show that delivery works; 0 is never";
    LOG_FORMAT = One "log-format" "WS_LOG_FORMAT" <"FORMAT"> ["text"]
        "Log lines as text or json; their level is set by RUST_LOG, and by ctl log-level while the server runs";
    LOG_FIGURES = One "log-figures" "WS_LOG_FIGURES" <"DURATION"> ["60s"]
        "How often the log has a line of figures: connections, rates, latency, memory; 0 is never";
}
