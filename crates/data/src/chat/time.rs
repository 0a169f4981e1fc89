//! The date that templates ask for.

use std::fmt::Write;

use chrono::NaiveDateTime;
use minijinja::{Error, ErrorKind};

/// The function `strftime_now`: the local time, or the one that was set, in a format of C's `strftime`.
pub(super) fn strftime(now: Option<NaiveDateTime>, format: &str) -> Result<String, Error> {
    let now = now.unwrap_or_else(|| chrono::Local::now().naive_local());
    let mut out = String::new();
    // The only error of a formatter is a format that it does not know.
    write!(out, "{}", now.format(format)).map_err(|_| {
        let reason = format!("strftime_now: `{format}` is not a date format");
        Error::new(ErrorKind::InvalidOperation, reason)
    })?;
    Ok(out)
}
