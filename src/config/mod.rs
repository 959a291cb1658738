//! Settings: flag > environment > TOML file > default, into one validated [`Config`].
//!
//! Owns every rule about what may be configured. `cli` gathers the [`Flags`] and calls
//! [`Config::load`]; everything else only reads the finished [`Config`], which cannot be wrong.

mod error;
mod file;
mod keys;
mod renewal;
pub mod settings;
mod socket_path;
mod sources;
mod tables;
mod tls;
mod users;
mod values;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::access::{AccessTable, Namespace};
use crate::auth::{KeySettings, SecretsFrom};
use crate::cluster::Address;
use crate::emitters::Emitters;
use crate::files;
use crate::journal::SyncPolicy;
use crate::wire::client_address::AddressHeader;
use crate::wire::origin::OriginRule;

use settings::Setting;
use sources::{Given, Sources};

pub use error::ConfigError;
pub use file::File;
pub use renewal::Renewed;
pub use socket_path::{SocketFolder, default_socket, prepare_folder};
pub use tls::TlsSettings;
pub use users::Account;
pub use values::{LogFormat, RedisOutage, duration};

/// The default of `outbox-budget`, in bytes; a larger `outbox-limit` raises it.
const OUTBOX_BUDGET: usize = 256 << 20;

/// All settings of a server, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Made for trying things out: loopback only, a secret of its own.
    pub dev: bool,
    /// The address the WebSocket and HTTP port is bound to.
    pub host: IpAddr,
    /// The port; 0 is any free one.
    pub port: u16,
    /// The user to become, when started as root.
    pub user: Option<Account>,
    /// The ingest socket's path.
    pub socket: PathBuf,
    /// Who has to make the socket's folder.
    pub socket_folder: SocketFolder,
    /// Number of reactors, at least 1.
    pub workers: usize,
    /// The origins browsers may come from; `None` is the same host.
    pub allowed_origins: Option<Vec<OriginRule>>,
    /// The keys that sign tokens, and what tokens must say.
    pub jwt: KeySettings,
    /// No public connections.
    pub require_auth: bool,
    /// Serves the live page.
    pub page: bool,
    /// The most WebSockets at once.
    pub max_connections: usize,
    /// How much of that is kept for admin, manager and staff, in percent.
    pub reserved_share: u8,
    /// How many connections one customer may open; 0 is no limit.
    pub customer_connections: u32,
    /// How often a quiet connection is pinged.
    pub ping_interval: Duration,
    /// How long a sign of life may take after a ping.
    pub pong_timeout: Duration,
    /// Messages a minute from one client; 0 is no limit.
    pub message_rate: u32,
    /// Handshakes a minute from one client address; 0 is no limit.
    pub connect_rate: u32,
    /// The longest message or ingest line, in bytes.
    pub max_message: usize,
    /// The most that waits for a slow client behind the frame being written, in bytes.
    pub outbox_limit: usize,
    /// The most memory that all outboxes may hold together, in bytes; not less than `outbox_limit`.
    pub outbox_budget: usize,
    /// How much of the newest events is kept, in bytes; 0 is nothing.
    pub history: usize,
    /// How long events are kept; zero is not at all.
    pub history_age: Duration,
    /// The folder in which history survives the process.
    pub journal: Option<PathBuf>,
    /// When what is in it is made safe.
    pub journal_sync: SyncPolicy,
    /// The Redis through which several hosts act as one.
    pub redis_url: Option<Address>,
    /// What becomes of events while Redis is out of reach.
    pub redis_outage: RedisOutage,
    /// How long an event that follows another closely may wait for more.
    pub gather: Duration,
    /// The proxies whose word about a client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they give it.
    pub forwarded_header: AddressHeader,
    /// The certificate that the port shows, where it speaks TLS.
    pub tls: Option<TlsSettings>,
    /// The files with a secret or a key in them that every user of the machine may read.
    pub exposed: Vec<PathBuf>,
    /// The process may be dumped and looked into.
    pub core_dumps: bool,
    /// How long stopping may take.
    pub drain_timeout: Duration,
    /// How often the server tries its own delivery; zero is never.
    pub canary: Duration,
    /// How log lines look.
    pub log_format: LogFormat,
    /// How often there is one with figures; zero is never.
    pub log_figures: Duration,
    /// Who may see which namespace.
    pub access: AccessTable,
    /// Which local users may emit and command what; `None` is the usual rule.
    pub emitters: Option<Emitters>,
    /// Order statuses beside the five every shop has.
    pub order_statuses: Vec<String>,
}

/// What the command line gave, still as text.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--dev`
    pub dev: bool,
    /// `--config FILE`
    pub config: Option<PathBuf>,
    /// The settings given as flags, with their text.
    pub values: Vec<(&'static Setting, String)>,
}

impl Config {
    /// Reads the file that the flags name and the process's environment, and resolves them.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn load(flags: &Flags) -> Result<Config, ConfigError> {
        let file = flags.config.as_deref().map(File::read).transpose()?;
        Config::resolve(flags, &process_environment, file.as_ref())
    }

    /// Puts the sources together. Reads key files and certificates, and asks the file system which default socket path
    /// is there; nothing else.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn resolve(
        flags: &Flags,
        env: &dyn Fn(&str) -> Option<String>,
        file: Option<&File>,
    ) -> Result<Config, ConfigError> {
        let dev = flags.dev;
        let sources = Sources {
            flags: &flags.values,
            env,
            file,
        };

        let jwt = keys::resolve(&sources, dev)?;
        if jwt.is_empty() {
            return Err(ConfigError::NoKey);
        }
        let given_socket = sources.read(&settings::SOCKET, values::path)?;
        let (socket, socket_folder) = match given_socket {
            Some(path) => (path, SocketFolder::Given),
            None => default_socket(env),
        };
        let (access, emitters, order_statuses) = match file {
            Some(file) => (file.access()?, file.emitters()?, file.order_statuses()?),
            None => (AccessTable::default(), None, Vec::new()),
        };
        let tls = tls::resolve(&sources)?;
        let exposed = exposed(&sources, &jwt, tls.as_ref())?;
        let history = sources.read_or_default(&settings::HISTORY, values::history_size)?;
        let history_age = sources.read_or_default(&settings::HISTORY_AGE, values::history_age)?;
        let keeps_history = history > 0 && !history_age.is_zero();
        let connect_rate = sources.read(&settings::CONNECT_RATE, values::rate)?;
        let outbox_limit = sources.read_or_default(&settings::OUTBOX_LIMIT, values::outbox_size)?;
        let outbox_budget = sources.read(&settings::OUTBOX_BUDGET, |text| {
            values::outbox_budget(text, outbox_limit)
        })?;

        let workers = sources.read(&settings::WORKERS, values::workers)?;
        let workers = workers.unwrap_or_else(cores);
        let max_connections =
            sources.read_or_default(&settings::MAX_CONNECTIONS, values::connections)?;

        Ok(Config {
            dev,
            host: host(&sources, dev)?,
            port: sources.read_or_default(&settings::PORT, values::port)?,
            user: sources.read(&settings::USER, users::find)?,
            socket,
            socket_folder,
            workers,
            allowed_origins: sources.read_list(&settings::ALLOWED_ORIGINS, OriginRule::parse)?,
            jwt,
            require_auth: sources.read_or_default(&settings::REQUIRE_AUTH, values::switch)?,
            page: !sources.read_or_default(&settings::NO_PAGE, values::switch)?,
            max_connections,
            reserved_share: sources.read_or_default(&settings::RESERVED_SHARE, values::share)?,
            customer_connections: sources
                .read_or_default(&settings::CUSTOMER_CONNECTIONS, values::rate)?,
            ping_interval: sources.read_or_default(&settings::PING_INTERVAL, values::interval)?,
            pong_timeout: sources.read_or_default(&settings::PONG_TIMEOUT, values::interval)?,
            message_rate: sources.read_or_default(&settings::MESSAGE_RATE, values::rate)?,
            connect_rate: match connect_rate {
                Some(rate) => rate,
                None if dev => 0,
                None => sources.read_or_default(&settings::CONNECT_RATE, values::rate)?,
            },
            max_message: sources.read_or_default(&settings::MAX_MESSAGE, values::message_size)?,
            outbox_limit,
            outbox_budget: outbox_budget.unwrap_or(outbox_limit.max(OUTBOX_BUDGET)),
            history,
            history_age,
            journal: journal(&sources, keeps_history)?,
            redis_url: redis_url(&sources)?,
            redis_outage: sources.read_or_default(&settings::REDIS_OUTAGE, values::redis_outage)?,
            journal_sync: sources.read_or_default(&settings::JOURNAL_SYNC, values::journal_sync)?,
            gather: sources.read_or_default(&settings::GATHER, values::gather)?,
            trusted_proxies: sources
                .read_list(&settings::TRUSTED_PROXIES, values::network)?
                .unwrap_or_default(),
            forwarded_header: sources
                .read_or_default(&settings::FORWARDED_HEADER, values::forwarded_header)?,
            exposed,
            tls,
            core_dumps: sources
                .read(&settings::CORE_DUMPS, values::switch)?
                .unwrap_or(dev),
            drain_timeout: sources.read_or_default(&settings::DRAIN_TIMEOUT, values::timeout)?,
            canary: canary_interval(&sources, &access, (workers, max_connections))?,
            log_format: sources.read_or_default(&settings::LOG_FORMAT, values::log_format)?,
            log_figures: sources.read_or_default(&settings::LOG_FIGURES, values::log_figures)?,
            access,
            emitters,
            order_statuses,
        })
    }
}

impl Config {
    /// What is allowed and probably not wanted: sentences.
    pub fn warnings(&self, now_ms: u64) -> Vec<String> {
        let untimely = self.tls.as_ref().and_then(|tls| tls.untimely(now_ms));
        let is_open = self.tls.is_none() && !self.host.is_loopback();
        let open = is_open.then(|| {
            format!(
                "listening on {} without TLS: give --tls-cert and --tls-key, put a proxy that ends TLS in \
                 front, or listen on 127.0.0.1",
                self.host
            )
        });
        let trust = self.trusts_everybody().map(|network| {
            format!(
                "trusted-proxies has {network}, which is every address: anybody may say that he comes from \
                 any other, and has no connect rate; name the proxies' own addresses"
            )
        });
        let exposed = self.exposed.iter().map(|file| {
            let file = file.display();
            format!("{file}: every user of this machine may read it (chmod o-r {file})")
        });
        let loose = self.loose_folder().map(|folder| {
            let (socket, folder) = (self.socket.display(), folder.display());
            format!(
                "{socket}: every user of this machine may put a socket of his own in its place, and be sent what \
                 emitters say (chmod o-w {folder})"
            )
        });
        let certain = untimely.into_iter().chain(open).chain(trust);
        certain.chain(exposed).chain(loose).collect()
    }

    /// The ingest socket's folder, if every user may put another socket there in its place.
    pub fn loose_folder(&self) -> Option<&Path> {
        let is_loose = files::is_replaceable_by_everybody(&self.socket);
        is_loose.then(|| files::folder_of(&self.socket))
    }

    /// The network among the trusted ones that has every address in it.
    pub fn trusts_everybody(&self) -> Option<&IpNet> {
        let mut networks = self.trusted_proxies.iter();
        networks.find(|network| network.prefix_len() == 0)
    }
}

/// The key settings alone, for a command that makes tokens and starts no server.
///
/// # Errors
/// The first setting that is wrong.
pub fn load_keys(flags: &Flags) -> Result<KeySettings, ConfigError> {
    let file = flags.config.as_deref().map(File::read).transpose()?;
    let sources = Sources {
        flags: &flags.values,
        env: &process_environment,
        file: file.as_ref(),
    };
    keys::resolve(&sources, false)
}

/// The ingest socket a command talks to: the one it was given, else where `serve` would put it.
pub fn socket_to_talk_to(given: Option<&Path>) -> PathBuf {
    match given {
        Some(path) => path.to_owned(),
        None => match process_environment(settings::SOCKET.env) {
            Some(path) if !path.is_empty() => path.into(),
            _ => default_socket(&process_environment).0,
        },
    }
}

/// Of the files that hold a secret, those that every user of the machine may read.
fn exposed(
    sources: &Sources<'_>,
    jwt: &KeySettings,
    tls: Option<&TlsSettings>,
) -> Result<Vec<PathBuf>, ConfigError> {
    let mut secret: Vec<PathBuf> = Vec::new();
    if jwt.secrets_from == SecretsFrom::Files
        && let Some(given) = sources.given(&settings::JWT_SECRET_FILE)?
    {
        secret.extend(given.texts.iter().map(PathBuf::from));
    }
    secret.extend(tls.map(|tls| tls.files.key.clone()));
    secret.retain(|file| files::is_for_everybody(file));
    Ok(secret)
}

fn host(sources: &Sources<'_>, dev: bool) -> Result<IpAddr, ConfigError> {
    if !dev {
        return sources.read_or_default(&settings::HOST, values::host);
    }
    let loopback = |text: &str| match values::host(text)? {
        host if host.is_loopback() => Ok(host),
        _ => Err("under --dev only a loopback address (127.0.0.1, ::1)".to_string()),
    };
    Ok(sources
        .read(&settings::HOST, loopback)?
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)))
}

fn journal(sources: &Sources<'_>, keeps_history: bool) -> Result<Option<PathBuf>, ConfigError> {
    sources.read(&settings::JOURNAL, |text| match values::folder(text)? {
        folder if keeps_history => Ok(folder),
        _ => Err(
            "a journal keeps what history keeps, so history and history-age must not be 0".into(),
        ),
    })
}

/// Said of an access table under which nobody could be the canary.
pub const CANARY_NEEDS_SYSTEM: &str = "the canary needs admin, manager or staff to see system: give one of \
    them all or own in [access], or leave the canary out";

/// Its events are of the namespace `system`, so somebody of the back office must see that; and it has a
/// connection on each worker.
fn canary_interval(
    sources: &Sources<'_>,
    access: &AccessTable,
    (workers, max_connections): (usize, usize),
) -> Result<Duration, ConfigError> {
    sources.read_or_default(&settings::CANARY, |text| {
        let every = values::canary(text)?;
        if !every.is_zero() && access.back_office_for(Namespace::System).is_none() {
            return Err(CANARY_NEEDS_SYSTEM.into());
        }
        if !every.is_zero() && max_connections < workers {
            return Err(format!(
                "the canary has a connection on each of {workers} workers, and max-connections is \
                 {max_connections}: raise it, or leave the canary out"
            ));
        }
        Ok(every)
    })
}

/// The URL may hold a password: it is never repeated.
fn redis_url(sources: &Sources<'_>) -> Result<Option<Address>, ConfigError> {
    let setting = &settings::REDIS_URL;
    let Some(Given { source, texts }) = sources.given(setting)? else {
        return Ok(None);
    };
    let hidden = |reason| ConfigError::hidden(setting, source.clone(), reason);
    let address = Address::parse(&texts.concat()).map_err(hidden)?;
    if sources.given(&settings::JOURNAL)?.is_some() {
        let reason = "hosts that act as one share their history in Redis, and a journal is one host's \
                      own: give redis-url or journal, not both";
        return Err(hidden(reason.to_owned()));
    }
    Ok(Some(address))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// A variable that is not UTF-8 is taken with replacement characters, so that it is refused by its
/// setting's parser instead of being passed over.
fn process_environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
