//! The statistics of all hosts, added up: `GET /api/ws/stats?scope=cluster`.
//!
//! Pure. What hosts tell of themselves comes as JSON, also from other versions: so fields are added
//! by name, whatever they are.

use serde_json::{Map, Value, json};

/// What is not added up but the worst, or the best, of all.
const LARGEST: [&str; 2] = ["latencyMs", "historyBytes"];
const LEFT_OUT: [&str; 5] = [
    "workers",
    "uptimeSeconds",
    "latencyMs",
    "historyBytes",
    "historyEvents",
];

/// What is true of one host alone: whoever tells it is connected again, or about to be.
const OF_ONE: [&str; 3] = ["connected", "deliversAlone", "cutOffSeconds"];

/// The sum of what each host, known by its name, tells.
pub fn sum(hosts: &[(String, Value)]) -> Value {
    let mut total = Map::new();
    for (_, statistics) in hosts {
        if let Value::Object(statistics) = statistics {
            let counted = statistics
                .iter()
                .filter(|(name, _)| !LEFT_OUT.contains(&name.as_str()));
            for (name, value) in counted {
                merge(&mut total, name, value, |one, other| one + other);
            }
            for name in LARGEST {
                if let Some(value) = statistics.get(name) {
                    merge(&mut total, name, value, f64::max);
                }
            }
        }
    }
    let each: Vec<Value> = hosts
        .iter()
        .map(|(host, statistics)| json!({ "host": host, "statistics": statistics }))
        .collect();
    total.insert("hosts".to_owned(), each.into());
    total.into()
}

fn merge(total: &mut Map<String, Value>, name: &str, value: &Value, join: fn(f64, f64) -> f64) {
    match (total.get_mut(name), value) {
        (None, Value::Object(first)) => {
            let mut first = first.clone();
            first.retain(|name, _| !OF_ONE.contains(&name.as_str()));
            total.insert(name.to_owned(), first.into());
        }
        (None, _) => {
            total.insert(name.to_owned(), value.clone());
        }
        (Some(Value::Object(total)), Value::Object(more)) => {
            let counted = more
                .iter()
                .filter(|(name, _)| !OF_ONE.contains(&name.as_str()));
            for (name, value) in counted {
                merge(total, name, value, join);
            }
        }
        (Some(Value::Bool(total)), Value::Bool(more)) => *total |= more,
        (Some(total), _) => {
            if let (Some(one), Some(other)) = (total.as_f64(), value.as_f64()) {
                *total = number(join(one, other));
            }
        }
    }
}

/// A whole number where it is one: counters stay below 2^53.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value >= 0.0 {
        (value as u64).into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_added_and_latencies_are_the_worst() {
        let host = |total: u64, admins: u64, p50: f64| {
            json!({
                "totalConnections": total,
                "connectionsByRole": { "admin": admins },
                "latencyMs": { "p50": p50 },
                "redis": { "connected": true, "localEvents": admins },
                "workers": [{ "connections": total }],
            })
        };
        let sum = sum(&[
            ("a".to_owned(), host(3, 1, 0.5)),
            ("b".to_owned(), host(4, 2, 0.25)),
            ("c".to_owned(), Value::Null),
        ]);
        assert_eq!(sum["totalConnections"], 7);
        assert_eq!(sum["connectionsByRole"]["admin"], 3);
        assert_eq!(sum["latencyMs"]["p50"], 0.5);
        assert_eq!(sum["redis"], json!({ "localEvents": 3 }));
        assert!(sum.get("workers").is_none());
        assert_eq!(sum["hosts"][1]["host"], "b");
        assert_eq!(sum["hosts"][1]["statistics"]["totalConnections"], 4);
    }
}
