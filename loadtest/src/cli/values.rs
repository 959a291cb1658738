//! Which numbers the command line takes.

/// The largest number taken: a hundred days in seconds, and more than any rate.
const NUMBER_MAX: f64 = 1e7;

/// A number greater than 0.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= NUMBER_MAX => Ok(number),
        _ => Err(format!(
            "a number greater than 0 and at most {NUMBER_MAX} is needed"
        )),
    }
}

/// Seconds, a minute at least.
pub fn a_minute(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (60.0..=NUMBER_MAX).contains(&number) => Ok(number),
        _ => Err(format!("a number from 60 to {NUMBER_MAX} is needed")),
    }
}

/// A number from 0 on.
pub fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=NUMBER_MAX).contains(&number) => Ok(number),
        _ => Err(format!("a number from 0 to {NUMBER_MAX} is needed")),
    }
}

/// A part of the whole: half of it at most.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 0.5 => Ok(number),
        _ => Err("a number greater than 0 and at most 0.5 is needed".into()),
    }
}
