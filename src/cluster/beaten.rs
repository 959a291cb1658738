//! What Redis answers to a sign of life (`scripts/beat.lua`).
//!
//! Pure but for the answer's type, which is the `redis` crate's. Read by the writer.

use redis::Value;

/// The answer to a sign of life.
pub(super) struct Beaten {
    /// This host was not known before.
    pub(super) is_new: bool,
    /// It has adopted customers.
    pub(super) has_adopted: bool,
    /// The statistics of all hosts, by their names.
    pub(super) hosts: Vec<(String, serde_json::Value)>,
}

impl Beaten {
    /// None if it is another answer.
    pub(super) fn read(answer: Value) -> Option<Beaten> {
        let Value::Array(parts) = answer else {
            return None;
        };
        let mut parts = parts.into_iter();
        let (Value::Int(is_new), Value::Int(adopted)) = (parts.next()?, parts.next()?) else {
            return None;
        };
        let mut hosts = Vec::new();
        while let (Some(Value::BulkString(host)), Some(Value::BulkString(told))) =
            (parts.next(), parts.next())
        {
            let told = serde_json::from_slice(&told).unwrap_or_default();
            hosts.push((String::from_utf8_lossy(&host).into_owned(), told));
        }
        Some(Beaten {
            is_new: is_new != 0,
            has_adopted: adopted != 0,
            hosts,
        })
    }
}
