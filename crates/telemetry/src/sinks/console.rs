//! A line a step, for eyes.

use std::fmt::{self, Write as _};
use std::io::Write;

use rappel_config::Entry;

use crate::{Build, Event, Moment, Sink, TelemetryError};

pub(crate) const ENTRY: Entry<Build> = Entry {
    name: "console",
    summary: "a line a step: `step 10  train/loss 4.2500  train/lr 3.000e-4`",
    reference: "numbers rounded to about five digits; the other sinks keep them whole",
    fields: &[],
    build: |_, opening| Ok(Box::new(Console::new((opening.console)()))),
};

/// Writes `step 10  train/loss 4.2500  train/lr 3.000e-4` and the like to a writer it is given.
///
/// Numbers are rounded to about five digits; those below 0.001 or from a million on are written with
/// an exponent, unless they are whole. What the writer refuses is dropped.
pub struct Console(Box<dyn Write + Send>);

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Console")
    }
}

impl Console {
    /// Lines go to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self(out)
    }
}

impl Sink for Console {
    fn log(&mut self, at: Moment, event: &Event) -> Result<(), TelemetryError> {
        let Some(values) = event.scalars() else { return Ok(()) };
        let mut line = format!("step {}", at.step);
        for (name, value) in values {
            // Writing to a `String` cannot fail.
            let _ = write!(line, "  {name} {}", short(value));
        }
        line.push('\n');
        // A reader that goes away, or a full disk under a log, is no reason to end a run.
        let _ = self.0.write_all(line.as_bytes());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), TelemetryError> {
        let _ = self.0.flush();
        Ok(())
    }
}

fn short(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || (value.fract() == 0.0 && size < 1e15) {
        value.to_string()
    } else if (1e-3..1e6).contains(&size) {
        let whole_digits = size.log10().floor().max(0.0) as usize;
        format!("{value:.*}", 4_usize.saturating_sub(whole_digits))
    } else {
        format!("{value:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_are_short_and_keep_their_size() {
        for (value, expected) in [
            (4.25, "4.2500"),
            (0.0, "0"),
            (128000.0, "128000"),
            (12345.678, "12346"),
            (123.456, "123.46"),
            (0.00299, "0.0030"),
            (3e-4, "3.000e-4"),
            (-1.5e9, "-1500000000"),
            (1234567.5, "1.235e6"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(short(value), expected);
        }
    }
}
