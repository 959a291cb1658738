//! Where Redis is, and how it is reached.
//!
//! Owned by the configuration, used by the two threads that talk to Redis. The URL may hold a
//! password, so nothing here ever shows it.

use std::error::Error;
use std::io::ErrorKind::{
    BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock,
};
use std::sync::Arc;

use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisError, Value,
};
use rustls::crypto::CryptoProvider;

use super::url::{self, Parts};
use crate::limits;

/// Where Redis is.
#[derive(Clone)]
pub struct Address {
    /// How its connections begin, and, without sentinels, where it is.
    redis: ConnectionInfo,
    /// Who knows where it is, and under which name.
    sentinels: Option<(Vec<ConnectionInfo>, String)>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Address({})", self.shown())
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Address) -> bool {
        fn parts(info: &ConnectionInfo) -> impl PartialEq {
            let settings = info.redis_settings();
            let login = [settings.username(), settings.password()];
            let is_over_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
            let login = login.map(|part| part.map(str::to_owned));
            (info.addr().to_string(), is_over_tls, settings.db(), login)
        }
        self.shown() == other.shown() && parts(&self.redis) == parts(&other.redis)
    }
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// A sentence that says which part is wrong and what is allowed, and repeats nothing of the URL.
    pub fn parse(text: &str) -> Result<Address, String> {
        match url::parts(text)? {
            Parts::Server | Parts::Unix => Ok(Address {
                redis: info(text)?,
                sentinels: None,
            }),
            Parts::Sentinels {
                scheme,
                login,
                hosts,
                name,
                database,
            } => {
                let sentinel = |host: &&str| {
                    let is_bare = !host.contains(':') || host.ends_with(']');
                    let port = if is_bare { ":26379" } else { "" };
                    info(&format!("{scheme}://{host}{port}"))
                };
                let sentinels = hosts.iter().map(sentinel).collect::<Result<_, _>>()?;
                // Its address is not known yet: this is for the login and the database.
                let redis = info(&format!("{scheme}://{login}localhost/{database}"))?;
                Ok(Address {
                    redis,
                    sentinels: Some((sentinels, name.to_owned())),
                })
            }
        }
    }

    /// Where it is, for people: without the login, and with the database, which is another shop's if it
    /// is another one.
    pub fn shown(&self) -> String {
        let mut shown = match &self.sentinels {
            None => self.redis.addr().to_string(),
            Some((sentinels, name)) => {
                let hosts: Vec<String> = sentinels
                    .iter()
                    .map(|each| each.addr().to_string())
                    .collect();
                format!("{name:?} of the sentinels {}", hosts.join(", "))
            }
        };
        let database = self.redis.redis_settings().db();
        if database != 0 {
            shown += &format!(", database {database}");
        }
        shown
    }

    /// Opens a connection, with time limits on it.
    ///
    /// # Errors
    /// Why there is none, without secrets.
    pub fn connect(&self) -> Result<Connection, RedisError> {
        // As TLS to browsers has it; another part of the process may have said so before.
        CryptoProvider::clone(&crate::tls::provider())
            .install_default()
            .ok();
        let Some((sentinels, name)) = &self.sentinels else {
            return dial(&self.redis);
        };
        let mut reason = None;
        for sentinel in sentinels {
            match self.ask(sentinel, name) {
                Ok(connection) => return Ok(connection),
                Err(error) => reason = Some(error),
            }
        }
        Err(reason.unwrap_or_else(|| fault("no sentinel is configured")))
    }

    /// Why Redis does not let this process in, where it says so. None also where it cannot be reached,
    /// which passes by itself.
    pub fn refusal(&self) -> Option<String> {
        let error = self.connect().err()?;
        (!error.is_io_error()).then(|| reason(&error))
    }

    /// The user of Redis' ACL that the URL names.
    pub(super) fn login(&self) -> Option<&str> {
        self.redis.redis_settings().username()
    }

    /// The connection to whom this sentinel takes for the master, if it takes itself for it, too.
    fn ask(&self, sentinel: &ConnectionInfo, name: &str) -> Result<Connection, RedisError> {
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let found: Option<(String, u16)> = question.query(&mut dial(sentinel)?)?;
        let (host, port) =
            found.ok_or_else(|| fault("the sentinels know no master of this name"))?;
        let address = match self.redis.addr() {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        let mut connection = dial(&self.redis.clone().set_addr(address))?;
        let role: Vec<Value> = redis::cmd("ROLE").query(&mut connection)?;
        match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(connection),
            _ => Err(fault(
                "the sentinels' master does not take itself for one yet",
            )),
        }
    }
}

/// Why something has failed, for people and without secrets.
pub fn reason(error: &RedisError) -> String {
    match io_kind(error) {
        // The kernel says only that it would have to wait on.
        Some(WouldBlock | TimedOut) => {
            format!("no answer in {} s", limits::REDIS_PATIENCE.as_secs())
        }
        // Which of them it is depends on who was about to do what.
        Some(UnexpectedEof | BrokenPipe | ConnectionReset | ConnectionAborted) => {
            "the connection was closed".to_owned()
        }
        _ => tls_fault(error).unwrap_or_else(|| error.to_string()),
    }
}

/// What the operating system said, if it was that.
pub fn io_kind(error: &RedisError) -> Option<std::io::ErrorKind> {
    io_error(error).map(std::io::Error::kind)
}

fn io_error(error: &RedisError) -> Option<&std::io::Error> {
    let source: &Arc<dyn Error + Send + Sync> = error.source()?.downcast_ref()?;
    source.downcast_ref()
}

/// Why there is no TLS between the two, if that is so.
fn tls_fault(error: &RedisError) -> Option<String> {
    use rustls::{AlertDescription, CertificateError, Error};

    Some(match io_error(error)?.get_ref()?.downcast_ref()? {
        // Another authority of the same name, too.
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => {
            "its certificate is of an authority that is not trusted here: SSL_CERT_FILE names a file \
             with those that are"
                .to_owned()
        }
        Error::InvalidCertificate(fault) => format!("its certificate is not good: {fault}"),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a certificate of its clients, and shopwire has none: tls-auth-clients no in \
             redis.conf"
                .to_owned()
        }
        fault => fault.to_string(),
    })
}

fn fault(what: &str) -> RedisError {
    std::io::Error::other(what.to_owned()).into()
}

fn info(url: &str) -> Result<ConnectionInfo, String> {
    // What it says may repeat parts of the URL.
    let info = url.into_connection_info().map_err(|_| {
        "must be a URL whose host is a name or the address of one host, and whose login is UTF-8".to_owned()
    })?;
    let settings = info.redis_settings().clone();
    // Telling Redis of the library's name is one more command that a user would have to be allowed.
    let settings = settings
        .set_protocol(ProtocolVersion::RESP2)
        .set_skip_set_lib_name();
    Ok(info.set_redis_settings(settings))
}

fn dial(info: &ConnectionInfo) -> Result<Connection, RedisError> {
    let client = Client::open(info.clone())?;
    let connection = client.get_connection_with_timeout(limits::REDIS_PATIENCE)?;
    connection.set_read_timeout(Some(limits::REDIS_PATIENCE))?;
    connection.set_write_timeout(Some(limits::REDIS_PATIENCE))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_without_their_secrets() {
        for (url, shown) in [
            ("redis://127.0.0.1", "127.0.0.1:6379"),
            ("redis://:hush@10.0.0.1:7000/3", "10.0.0.1:7000, database 3"),
            ("rediss://ann:hush@redis.example", "redis.example:6379"),
            (
                "unix:///run/redis.sock?db=2&pass=hush",
                "/run/redis.sock, database 2",
            ),
            (
                "redis+sentinel://ann:hush@a,b:5000/shop/2",
                "\"shop\" of the sentinels a:26379, b:5000, database 2",
            ),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.shown(), shown);
            assert!(!format!("{address:?}").contains("hush"));
        }
        let same = |one: &str, other: &str| Address::parse(one) == Address::parse(other);
        assert!(same("redis://:hush@h/3", "redis://:hush@h:6379/3"));
        for other in [
            "redis://:other@h/3",
            "redis://:hush@h/4",
            "rediss://:hush@h/3",
        ] {
            assert!(!same("redis://:hush@h/3", other), "{other}");
        }
        let address = Address::parse("redis+sentinel://ann:hush@a/shop/2").unwrap();
        assert_eq!(address.redis.redis_settings().db(), 2);
        assert_eq!(address.redis.redis_settings().username(), Some("ann"));
    }

    #[test]
    fn what_the_library_refuses_is_not_repeated() {
        for url in [
            "redis://:hush@h h",
            "redis://:hush@0.0.0.0",
            "redis://:hush%ff@h",
        ] {
            let reason = Address::parse(url).unwrap_err();
            assert!(reason.contains("must be a URL"), "{url}: {reason}");
        }
    }
}
