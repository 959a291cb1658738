//! Which connections are made not to read: so many as were asked for, spread evenly over all of them.
//!
//! [`Client`](super::Client) asks when the time has come, and the scenario beforehand how many that is.

/// What makes up for floating point, where a product is a half but for its last digits.
const ROUNDING: f64 = 1e-9;

/// How many of `connections` stall, where one in `nth` is to.
pub fn count(connections: usize, nth: f64) -> usize {
    ((connections as f64 / nth + ROUNDING).round() as usize).min(connections)
}

/// Their indices, in ascending order.
pub fn chosen(connections: usize, nth: f64) -> impl Iterator<Item = usize> {
    let count = count(connections, nth);
    let begun = move |index: usize| index * count / connections;
    (0..connections).filter(move |&index| begun(index + 1) > begun(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_stall_as_were_asked_for() {
        for connections in 0..300 {
            for percent in 1..=50 {
                let share = f64::from(percent) / 100.0;
                let asked_for = (connections * percent as usize + 50) / 100;
                let stalled = chosen(connections, 1.0 / share).count();
                assert_eq!(stalled, asked_for, "{share} of {connections}");
            }
        }
    }

    #[test]
    fn they_are_spread_evenly() {
        let stalled: Vec<usize> = chosen(20, 2.5).collect();
        assert_eq!(stalled, [2, 4, 7, 9, 12, 14, 17, 19]);
        assert_eq!(chosen(8, 4.0).collect::<Vec<_>>(), [3, 7]);
    }
}
