//! One parser for each sort of value, whatever source it is from.
//!
//! Owns what is allowed; an error is the sentence that says so.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::journal::SyncPolicy;
use crate::wire::client_address::AddressHeader;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What becomes of events while Redis is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisOutage {
    /// They wait for it.
    Hold,
    /// This host delivers them at once, alone; the others do when Redis is back.
    Local,
}

/// A duration: a plain integer is milliseconds; `250ms`, `30s`, `5m`, `1h` are taken too.
///
/// # Errors
/// A sentence that says so.
pub fn duration(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(ms) => Ok(Duration::from_millis(ms)),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "must be a duration: milliseconds, or like 250ms, 30s, 5m, 1h".into()),
    }
}

pub(super) fn host(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    text.parse()
        .map_err(|_| "must be an IP address like 0.0.0.0, 127.0.0.1 or ::1".into())
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    whole(text, 0..=u16::MAX)
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    // The kernel's sockaddr_un has room for 107 bytes and the end mark.
    match text.len() {
        1..=107 if !text.contains('\0') => Ok(text.into()),
        _ => Err("must be a path of 1 to 107 bytes, the most a Unix socket may have".into()),
    }
}

pub(super) fn workers(text: &str) -> Result<usize, String> {
    whole(text, 1..=1024)
}

pub(super) fn connections(text: &str) -> Result<usize, String> {
    whole(text, 1..=10_000_000)
}

/// A share in percent; something is always left for everybody.
pub(super) fn share(text: &str) -> Result<u8, String> {
    whole(text, 0..=90)
}

/// Per minute; 0 is off.
pub(super) fn rate(text: &str) -> Result<u32, String> {
    whole(text, 0..=1_000_000)
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    duration_in(
        text,
        Duration::from_millis(100)..=Duration::from_secs(3600),
        "100ms to 1h",
    )
}

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    duration_in(text, Duration::ZERO..=Duration::from_secs(3600), "0 to 1h")
}

pub(super) fn gather(text: &str) -> Result<Duration, String> {
    duration_in(
        text,
        Duration::ZERO..=Duration::from_millis(100),
        "0 to 100ms",
    )
}

pub(super) fn message_size(text: &str) -> Result<usize, String> {
    size_in(text, 256..=64 << 20, "256 bytes to 64MiB")
}

pub(super) fn outbox_size(text: &str) -> Result<usize, String> {
    size_in(text, 1024..=1 << 30, "1KiB to 1GiB")
}

/// At least what may wait for one client, else that could never be reached.
pub(super) fn outbox_budget(text: &str, outbox_limit: usize) -> Result<usize, String> {
    let budget = size_in(text, 1024..=1 << 40, "1KiB to 1024GiB")?;
    if budget < outbox_limit {
        return Err(format!(
            "must be at least outbox-limit, which is {outbox_limit} bytes: raise it, or lower that"
        ));
    }
    Ok(budget)
}

/// 0 is none.
pub(super) fn history_size(text: &str) -> Result<usize, String> {
    size_in(text, 0..=1 << 40, "0 to 1024GiB")
}

pub(super) fn folder(text: &str) -> Result<PathBuf, String> {
    path_of("a folder", text)
}

pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    path_of("a file", text)
}

fn path_of(what: &str, text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        Err(format!(
            "must be the path of {what}, without control characters"
        ))
    } else {
        Ok(text.into())
    }
}

pub(super) fn journal_sync(text: &str) -> Result<SyncPolicy, String> {
    const ALLOWED: &str = "must be batch, never, or interval: with a duration from 1ms to 1h, like \
                           interval:100ms";
    match text {
        "batch" => Ok(SyncPolicy::Batch),
        "never" => Ok(SyncPolicy::Never),
        _ => text
            .strip_prefix("interval:")
            .and_then(|every| duration(every).ok())
            .filter(|every| (Duration::from_millis(1)..=Duration::from_secs(3600)).contains(every))
            .map(SyncPolicy::Interval)
            .ok_or_else(|| ALLOWED.into()),
    }
}

pub(super) fn redis_outage(text: &str) -> Result<RedisOutage, String> {
    match text {
        "hold" => Ok(RedisOutage::Hold),
        "local" => Ok(RedisOutage::Local),
        _ => Err("must be hold or local".into()),
    }
}

/// 0 is none.
pub(super) fn history_age(text: &str) -> Result<Duration, String> {
    duration_in(
        text,
        Duration::ZERO..=Duration::from_secs(7 * 24 * 3600),
        "0 to 168h",
    )
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

/// A network, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse()
        .or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)))
        .map_err(|_| "must be a network like 10.0.0.0/8 or fd00::/8, or an address".into())
}

pub(super) fn forwarded_header(text: &str) -> Result<AddressHeader, String> {
    [AddressHeader::XForwardedFor, AddressHeader::Forwarded]
        .into_iter()
        .find(|header| header.name().eq_ignore_ascii_case(text))
        .ok_or_else(|| "must be x-forwarded-for or forwarded".into())
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".into()),
    }
}

/// 0 is never.
pub(super) fn log_figures(text: &str) -> Result<Duration, String> {
    duration(text)
        .ok()
        .filter(|every| every.is_zero() || *every >= Duration::from_millis(100))
        .filter(|every| *every <= Duration::from_secs(24 * 3600))
        .ok_or_else(|| {
            "must be 0 (never), or a duration from 100ms to 24h: milliseconds, or like 30s, 5m, 1h"
                .into()
        })
}

/// 0 is never.
pub(super) fn canary(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(every) if every.is_zero() => Ok(every),
        _ => duration_in(
            text,
            Duration::from_millis(100)..=Duration::from_secs(3600),
            "100ms to 1h, or 0 (never)",
        ),
    }
}

/// Any text that is not empty.
pub(super) fn text(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("must not be empty".into())
    } else {
        Ok(text.into())
    }
}

fn whole<T: FromStr + PartialOrd + Display>(
    text: &str,
    allowed: RangeInclusive<T>,
) -> Result<T, String> {
    text.parse()
        .ok()
        .filter(|number| allowed.contains(number))
        .ok_or_else(|| {
            format!(
                "must be a whole number from {} to {}",
                allowed.start(),
                allowed.end()
            )
        })
}

fn duration_in(
    text: &str,
    allowed: RangeInclusive<Duration>,
    words: &str,
) -> Result<Duration, String> {
    duration(text)
        .ok()
        .filter(|value| allowed.contains(value))
        .ok_or_else(|| {
            format!("must be a duration from {words}: milliseconds, or like 250ms, 30s, 5m, 1h")
        })
}

fn size_in(text: &str, allowed: RangeInclusive<usize>, words: &str) -> Result<usize, String> {
    size(text)
        .filter(|value| allowed.contains(value))
        .ok_or_else(|| format!("must be a size from {words}: bytes, or like 64KiB, 1MiB, 10MB"))
}

/// A whole number of bytes, with a binary (KiB) or decimal (kB) unit or none.
fn size(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: usize = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}
