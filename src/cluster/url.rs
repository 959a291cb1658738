//! What is wrong with a `--redis-url`, part by part: sentences that repeat nothing of it, since it may hold
//! a password.
//!
//! Pure. The client's own library reads URLs, and says of all that it cannot read the same.

/// The schemes there are.
const SCHEMES: &str = "redis://host:6379, rediss://user:password@host (TLS), unix:///run/redis/redis.sock, \
                       redis+sentinel://host:26379,host/NAME or rediss+sentinel://";

/// A URL's parts.
pub(super) enum Parts<'a> {
    /// `redis://` and `rediss://`, to be read as a whole.
    Server,
    /// `unix://`, likewise.
    Unix,
    /// `redis+sentinel://` and `rediss+sentinel://`.
    Sentinels {
        /// The scheme of the servers.
        scheme: &'static str,
        /// `user:password@`, or nothing.
        login: &'a str,
        /// The sentinels, each with its port or without.
        hosts: Vec<&'a str>,
        /// What they call the master.
        name: &'a str,
        /// The database's number, or nothing.
        database: &'a str,
    },
}

/// Checks each part of a URL.
///
/// # Errors
/// A sentence about the first part that is wrong, and what is allowed.
pub(super) fn parts(url: &str) -> Result<Parts<'_>, String> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| format!("must begin with a scheme: {SCHEMES}"))?;
    match scheme {
        "redis" | "rediss" => server(rest).map(|()| Parts::Server),
        "unix" => unix(rest).map(|()| Parts::Unix),
        "redis+sentinel" => sentinels("redis", rest),
        "rediss+sentinel" => sentinels("rediss", rest),
        _ => Err(format!("has a scheme that is none of these: {SCHEMES}")),
    }
}

/// `[user:password@]host[:port][/database]`
fn server(rest: &str) -> Result<(), String> {
    let (login, place) = login_and_place(rest)?;
    check_login(login)?;
    let (host, database) = place.split_once('/').unwrap_or((place, ""));
    check_host(host, 6379)?;
    check_database(database)
}

/// `/path[?db=1&user=…&pass=…]`
fn unix(rest: &str) -> Result<(), String> {
    check_fragment(rest)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') || path.len() < 2 {
        return Err(
            "must name the socket by its whole path, with three slashes: unix:///run/redis/redis.sock"
                .to_owned(),
        );
    }
    check_escapes(path)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        check_escapes(value)?;
        match key {
            "db" => check_database(value)?,
            "user" | "pass" => {}
            _ => {
                return Err(
                    "has an unknown name behind the ?: with unix:// there are db, user and pass (and an & \
                     in a password is written %26)"
                        .to_owned(),
                );
            }
        }
    }
    Ok(())
}

/// `[user:password@]host[:port],host[:port]/NAME[/database]`
fn sentinels<'a>(scheme: &'static str, rest: &'a str) -> Result<Parts<'a>, String> {
    let (login, place) = login_and_place(rest)?;
    check_login(login)?;
    let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
    let hosts: Vec<&str> = hosts.split(',').collect();
    for host in &hosts {
        check_host(host, 26379)?;
    }
    let (name, database) = path.split_once('/').unwrap_or((path, ""));
    if name.is_empty() {
        return Err(
            "must say behind the sentinels what they call the master: redis+sentinel://host,host/NAME"
                .to_owned(),
        );
    }
    check_database(database)?;
    Ok(Parts::Sentinels {
        scheme,
        login: &rest[..rest.len() - place.len()],
        hosts,
        name,
        database,
    })
}

/// What stands before the last `@`, if there is one, and what behind it.
fn login_and_place(rest: &str) -> Result<(Option<&str>, &str), String> {
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, rest),
    };
    check_fragment(place)?;
    if place.contains('?') {
        return Err(
            "must have no ? but with unix://: a database is written /1, and a ? in a password %3F"
                .to_owned(),
        );
    }
    Ok((login, place))
}

fn check_fragment(text: &str) -> Result<(), String> {
    match text.split_once('#') {
        None => Ok(()),
        Some((_, "insecure")) => {
            Err("must not say #insecure: for an authority of your own set SSL_CERT_FILE".to_owned())
        }
        Some(_) => Err("must have no #: in a password it is written %23".to_owned()),
    }
}

fn check_login(login: Option<&str>) -> Result<(), String> {
    let Some(login) = login else {
        return Ok(());
    };
    for (reserved, escape) in [
        ('@', "%40"),
        ('/', "%2F"),
        ('?', "%3F"),
        ('#', "%23"),
        ('[', "%5B"),
        (']', "%5D"),
    ] {
        if login.contains(reserved) {
            return Err(format!(
                "has a {reserved} in its user or password, where it is written {escape}"
            ));
        }
    }
    if login.contains(char::is_whitespace) {
        return Err(
            "has white space in its user or password, where a space is written %20".to_owned(),
        );
    }
    check_escapes(login)
}

fn check_escapes(text: &str) -> Result<(), String> {
    let is_hex = |digit: Option<u8>| digit.is_some_and(|digit| digit.is_ascii_hexdigit());
    let mut parts = text.split('%');
    // What stands before the first one.
    parts.next();
    for part in parts {
        let mut bytes = part.bytes();
        if !is_hex(bytes.next()) || !is_hex(bytes.next()) {
            return Err(
                "has a % that two hexadecimal digits do not follow: in a password % is written %25, \
                 and @ %40"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

fn check_host(text: &str, usual: u16) -> Result<(), String> {
    let is_bare = !text.contains(':') || text.ends_with(']');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !is_bare => (host, Some(port)),
        _ => (text, None),
    };
    if host.is_empty() {
        return Err(
            "must name a host behind the two slashes (and the @, if there is one)".to_owned(),
        );
    }
    if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
        return Err(
            "has more than one colon in its host: an IPv6 address stands in brackets, [::1], and a login \
             before an @"
                .to_owned(),
        );
    }
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    match port {
        Some(port) if !is_port(port) => Err(format!(
            "has a port that is none: it is a number from 1 to 65535, like {usual} (in a login \
             before it, / is written %2F)"
        )),
        _ => Ok(()),
    }
}

fn check_database(text: &str) -> Result<(), String> {
    let is_number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    match text.parse::<i64>() {
        Ok(_) if is_number(text) => Ok(()),
        _ if text.is_empty() => Ok(()),
        _ => Err(
            "has a database that is none: it is a number from 0, redis://host/1 or unix:///path?db=1"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_that_is_wrong_is_named_with_what_is_allowed_and_nothing_is_repeated() {
        for (url, words) in [
            ("", "must begin with a scheme"),
            ("hush", "redis://host:6379"),
            ("http://hush", "scheme that is none"),
            ("REDIS://hush", "scheme that is none"),
            ("redis://", "name a host"),
            ("redis://:hush@", "name a host"),
            ("redis://ann:hush@:6379", "name a host"),
            ("redis://hush:port", "1 to 65535"),
            ("redis://h:0", "1 to 65535"),
            ("redis://h:65536", "like 6379"),
            ("redis://:hush/hush@h", "%2F"),
            ("redis://:hush@hush@h", "%40"),
            ("redis://:hush?@h", "%3F"),
            ("redis://:hush#@h", "%23"),
            ("redis://:hu sh@h", "%20"),
            ("redis://:hush%@h", "%25"),
            ("redis://:hush%4@h", "%25"),
            ("redis://::1:6379", "brackets"),
            ("redis://:hush@h/x", "a number from 0"),
            ("redis://:hush@h/-1", "a number from 0"),
            ("redis://:hush@h/+1", "a number from 0"),
            ("redis://h/1/2", "a number from 0"),
            ("redis://h?db=1", "/1"),
            ("redis://h/1?protocol=resp3", "no ?"),
            ("rediss://h/#insecure", "SSL_CERT_FILE"),
            ("rediss://h/#x", "no #"),
            ("unix://run/redis.sock", "three slashes"),
            ("unix://", "three slashes"),
            ("unix:///run/redis.sock?database=1", "db, user and pass"),
            ("unix:///run/redis.sock?pass=hu&sh", "%26"),
            ("unix:///run/redis.sock?db=one", "a number from 0"),
            ("unix:///run/redis.sock?pass=hush%", "%25"),
            ("unix:///run/redis.sock?pass=hush#", "%23"),
            ("redis+sentinel://hush", "call the master"),
            ("redis+sentinel://hush/", "call the master"),
            ("redis+sentinel://a,,b/shop", "name a host"),
            ("redis+sentinel://a,b:x/shop", "like 26379"),
            ("redis+sentinel://a/shop/x", "a number from 0"),
            ("rediss+sentinel://u:hu@sh@a/shop", "%40"),
        ] {
            let Err(reason) = parts(url) else {
                panic!("{url} is taken");
            };
            assert!(reason.contains(words), "{url}: {reason}");
            assert!(!reason.contains("hush"), "{url}: {reason}");
        }
    }

    #[test]
    fn what_is_right_is_taken_apart() {
        for url in [
            "redis://127.0.0.1",
            "redis://:p%40ss:w%2Frd@[::1]:7000/3",
            "rediss://ann:hush@redis.example/",
            "unix:///run/redis.sock",
            "unix:///run/redis.sock?db=2&user=ann&pass=h%26h",
        ] {
            assert!(parts(url).is_ok(), "{url}: {:?}", parts(url).err());
        }
        let Ok(Parts::Sentinels {
            scheme,
            login,
            hosts,
            name,
            database,
        }) = parts("rediss+sentinel://ann:hush@a,b:5000/shop/2")
        else {
            panic!("it is not taken");
        };
        assert_eq!((scheme, login), ("rediss", "ann:hush@"));
        assert_eq!((hosts, name, database), (vec!["a", "b:5000"], "shop", "2"));
    }
}
