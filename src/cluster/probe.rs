//! Whether a Redis lets this program do all that it needs to: each command is tried, on keys that are
//! removed behind it.
//!
//! Called by `shopwire doctor`. Trying tells what asking does not: what an ACL allows, whether a replica
//! takes what is written, whether there is room. `ACL DRYRUN` would say it only to administrators.

use redis::{Cmd, Connection, ErrorKind, RedisError, ServerErrorKind, cmd};

use super::address::{Address, reason};

/// What has come of it.
pub struct Probe {
    /// What Redis tells of itself, as its command INFO has it, or why it does not.
    pub info: Result<String, String>,
    /// The commands that this user may not use, in the order of their use.
    pub forbidden: Vec<&'static str>,
    /// The commands for which some key was refused to this user.
    pub keys_forbidden: Vec<&'static str>,
    /// It is a replica, and takes nothing.
    pub is_read_only: bool,
    /// Other words of Redis', once each, behind the command that they came with.
    pub others: Vec<String>,
}

/// The keys that are tried, by what is in them: a string, a hash, sets, a sorted set, a stream.
struct Keys([String; 7]);

impl Keys {
    fn new() -> Keys {
        let trial = fastrand::u64(..);
        let names = [
            "string", "hash", "set", "union", "sorted", "stream", "renamed",
        ];
        Keys(names.map(|name| format!("{{shopwire}}:doctor:{trial:016x}:{name}")))
    }
}

/// A command with its arguments.
type Trial = (&'static str, Cmd);

/// All commands that the two threads and the scripts use.
fn trials(keys: &Keys) -> Vec<Trial> {
    let Keys([string, hash, set, union, sorted, stream, renamed]) = keys;
    let mut trials: Vec<Trial> = Vec::new();
    let mut add = |name: &'static str, args: &[&str]| {
        let mut trial = match name.split_once('|') {
            None => cmd(name),
            Some((name, more)) => {
                let mut trial = cmd(name);
                trial.arg(more);
                trial
            }
        };
        trial.arg(args);
        trials.push((name, trial));
    };
    add("SCRIPT|LOAD", &["return 1"]);
    // Whether there is one of that name is not asked.
    add(
        "EVALSHA",
        &["0000000000000000000000000000000000000000", "0"],
    );
    add("TIME", &[]);
    add("SET", &[string, "1", "EX", "60"]);
    add("GET", &[string]);
    add("EXISTS", &[string]);
    add("HSET", &[hash, "a", "1"]);
    add("HSETNX", &[hash, "b", "1"]);
    add("HINCRBY", &[hash, "a", "1"]);
    add("HGET", &[hash, "a"]);
    add("HMGET", &[hash, "a", "b"]);
    add("HLEN", &[hash]);
    add("HSCAN", &[hash, "0"]);
    add("HDEL", &[hash, "b"]);
    add("SADD", &[set, "a"]);
    add("SISMEMBER", &[set, "a"]);
    add("SMEMBERS", &[set]);
    add("SCARD", &[set]);
    add("SUNIONSTORE", &[union, set]);
    add("SREM", &[set, "a"]);
    add("ZADD", &[sorted, "1", "a"]);
    add("ZSCORE", &[sorted, "a"]);
    add("ZRANGE", &[sorted, "0", "-1"]);
    add("ZRANGEBYSCORE", &[sorted, "-inf", "0"]);
    add("ZREM", &[sorted, "a"]);
    add("XADD", &[stream, "1-0", "a", "1"]);
    add("XREAD", &["COUNT", "1", "STREAMS", stream, "0-0"]);
    add("XREVRANGE", &[stream, "+", "-", "COUNT", "1"]);
    add("XINFO|STREAM", &[stream]);
    add("XTRIM", &[stream, "MAXLEN", "0"]);
    add("EXPIRE", &[stream, "60"]);
    add("PEXPIRE", &[hash, "60000"]);
    add("RENAME", &[hash, renamed]);
    add(
        "UNLINK",
        &[string, hash, set, union, sorted, stream, renamed],
    );
    add("DEL", &[string]);
    trials
}

impl Address {
    /// Tries what Redis lets this program do.
    ///
    /// # Errors
    /// Why it cannot be reached, or lets nobody in, without secrets.
    pub fn probe(&self) -> Result<Probe, String> {
        let mut redis = self.connect().map_err(|error| reason(&error))?;
        let info = cmd("INFO").query(&mut redis);
        let mut probe = Probe {
            info: info.map_err(|error| reason(&error)),
            forbidden: Vec::new(),
            keys_forbidden: Vec::new(),
            is_read_only: false,
            others: Vec::new(),
        };
        let keys = Keys::new();
        for (name, trial) in trials(&keys) {
            if let Err(error) = trial.exec(&mut redis) {
                if error.is_io_error() {
                    return Err(reason(&error));
                }
                probe.note(name, &error);
            }
        }
        tidy_up(&keys, &mut redis);
        Ok(probe)
    }

    /// Who it is that asks Redis.
    pub fn user(&self) -> &str {
        self.login().unwrap_or("default")
    }
}

/// Where UNLINK is not allowed, DEL may be; and where neither is, what was written goes by itself in a
/// minute, as far as EXPIRE is allowed.
fn tidy_up(Keys(names): &Keys, redis: &mut Connection) {
    if let Err(error) = cmd("DEL").arg(&names[..]).exec(redis) {
        log::debug!("the keys of the trial stay for a while: {error}");
    }
}

impl Probe {
    fn note(&mut self, name: &'static str, error: &RedisError) {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoScript) => {}
            ErrorKind::Server(ServerErrorKind::ReadOnly) => self.is_read_only = true,
            ErrorKind::Server(ServerErrorKind::NoPerm) => {
                // It says either that it must not be run, or which key must not be touched.
                let is_command = error.detail().is_some_and(|words| words.contains("to run"));
                if is_command {
                    self.forbidden.push(name);
                } else {
                    self.keys_forbidden.push(name);
                }
            }
            // What could not be written before cannot be renamed now.
            _ if name == "RENAME" => {}
            _ => {
                let words = reason(error);
                if !self.others.iter().any(|other| other.ends_with(&words)) {
                    self.others.push(format!("{name}: {words}"));
                }
            }
        }
    }
}
