//! Orders, all of one size, written by filling in numbers: what a flood can afford.

use super::{NUMBER_DIGITS, NUMBER_FIELD, put_filler, put_number, user_name, write_number};

/// Bytes of the data's other fields and of the server's envelope: what [`Orders::new`] takes off
/// the wanted size to find the filler's. Near enough; the exact size is the server's.
const WITHOUT_FILLER: usize = 225;

/// A line in which event number and customer are filled in.
#[derive(Debug, Clone)]
pub struct Orders {
    line: Vec<u8>,
    number_at: usize,
    customer_at: usize,
    customers: u32,
    /// Event `n` is customer `n * step mod customers`'s: neighbours in time are none in the
    /// server's memory.
    step: u32,
    /// The inverse of `step`, which finds a customer's events.
    inverse: u32,
}

impl Orders {
    /// Orders of so many customers. `size`: bytes of the text frame that a server makes of one,
    /// about.
    pub fn new(run: &str, customers: u32, size: usize) -> Self {
        let customers = customers.max(1);
        let mut line = format!(r#"{{"type":"order:created","data":{{{NUMBER_FIELD}{run}-"#);
        let number_at = line.len();
        line.push_str(&"0".repeat(NUMBER_DIGITS));
        line.push_str(r#"","orderId":"ord-20817","customerId":""#);
        let customer_at = line.len() + "user-".len();
        line.push_str(&user_name(0));
        line.push_str(
            r#"","customerName":"Ada Example","total":129.95,"status":"pending","channel":"web""#,
        );
        let mut line = line.into_bytes();
        let filler = size.saturating_sub(WITHOUT_FILLER);
        if filler > 0 {
            line.extend_from_slice(br#","note":""#);
            put_filler(filler, &mut line);
            line.push(b'"');
        }
        line.extend_from_slice(b"}}\n");
        let (step, inverse) = coprime_step(customers);
        Self {
            line,
            number_at,
            customer_at,
            customers,
            step,
            inverse,
        }
    }

    /// Number of the customer whose event `number` is.
    #[inline]
    pub fn owner(&self, number: u32) -> u32 {
        times(number % self.customers, self.step, self.customers)
    }

    /// The first event from `from` on that is `customer`'s.
    #[inline]
    pub fn next_of(&self, customer: u32, from: u32) -> u32 {
        let phase = times(customer % self.customers, self.inverse, self.customers);
        let ahead = (phase + self.customers - from % self.customers) % self.customers;
        from.saturating_add(ahead)
    }

    /// Appends event `number` as a line.
    pub fn put_line(&self, number: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.line);
        let line = &mut out[start..];
        write_number(
            number,
            &mut line[self.number_at..self.number_at + NUMBER_DIGITS],
        );
        write_number(
            self.owner(number),
            &mut line[self.customer_at..self.customer_at + NUMBER_DIGITS],
        );
    }
}

/// What stands just before the number in every event of the run.
pub fn number_prefix(run: &str) -> String {
    format!("{NUMBER_FIELD}{run}-")
}

/// Appends the field that carries the event's number.
pub fn put_number_field(run: &str, number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(number_prefix(run).as_bytes());
    put_number(number, out);
    out.push(b'"');
}

/// A step through 0..n that meets every number once, and its inverse.
fn coprime_step(n: u32) -> (u32, u32) {
    let wanted = (f64::from(n) * 0.618) as u32;
    (wanted.max(1)..)
        .find_map(|step| inverse(step, n).map(|inverse| (step % n, inverse)))
        .unwrap_or((1, 1))
}

/// The inverse of `a` modulo `n`, if there is one (extended Euclid).
fn inverse(a: u32, n: u32) -> Option<u32> {
    let n = i64::from(n);
    let (mut r, mut next_r) = (n, i64::from(a) % n.max(1));
    let (mut t, mut next_t) = (0, 1);
    while next_r != 0 {
        let quotient = r / next_r;
        (r, next_r) = (next_r, r - quotient * next_r);
        (t, next_t) = (next_t, t - quotient * next_t);
    }
    (r == 1)
        .then(|| t.rem_euclid(n))
        .and_then(|inverse| u32::try_from(inverse).ok())
}

fn times(a: u32, b: u32, n: u32) -> u32 {
    (u64::from(a) * u64::from(b) % u64::from(n)) as u32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_customer_has_its_turn_and_finds_its_events() {
        for customers in [1, 2, 3, 7, 10, 100, 4999, 5000] {
            let orders = Orders::new("r", customers, 0);
            let owners: BTreeSet<u32> = (0..customers).map(|n| orders.owner(n)).collect();
            assert_eq!(owners.len(), customers as usize);
            for number in [0, 1, 17, 5003, 70_000] {
                let owner = orders.owner(number);
                assert_eq!(orders.next_of(owner, number), number, "{customers}");
                assert_eq!(orders.next_of(owner, number + 1), number + customers);
            }
        }
    }

    #[test]
    fn a_line_is_one_order_with_its_number_and_customer() {
        for size in [0, 250, 4096] {
            let orders = Orders::new("ab", 100, size);
            let mut out = Vec::new();
            orders.put_line(1234, &mut out);
            assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
            let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(line["type"], "order:created");
            assert_eq!(line["data"]["seq"], "ab-0000001234");
            assert_eq!(line["data"]["customerId"], user_name(orders.owner(1234)));
        }
    }
}
