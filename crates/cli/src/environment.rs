//! What comes from outside beside the config: arguments and variables, checked before anything is done.

use std::ffi::OsStr;

/// The most threads: beyond that a number is a slip.
pub const MOST_THREADS: u32 = 1024;

const THREADS: &str = "RAYON_NUM_THREADS";

/// What is wrong with the arguments or the variables.
///
/// # Errors
/// An argument that is not UTF-8, which a config and a record could not hold; variables that are not
/// what they must be.
pub fn check() -> Result<(), String> {
    std::env::args_os().try_for_each(|argument| check_text(&argument))?;
    if let Some(count) = std::env::var_os(THREADS) {
        check_threads(&count.to_string_lossy())?;
    }
    rappel_tensor::check_level().map(|_| ())
}

#[allow(clippy::unnecessary_debug_formatting, reason = "shows the bytes that are not text")]
fn check_text(argument: &OsStr) -> Result<(), String> {
    match argument.to_str() {
        Some(_) => Ok(()),
        None => Err(format!(
            "the argument {argument:?} is not UTF-8; rename the file, for no config or record could hold its name"
        )),
    }
}

/// 0 is rayon's word for one a core.
fn check_threads(count: &str) -> Result<(), String> {
    match count.parse::<u32>() {
        Ok(0..=MOST_THREADS) => Ok(()),
        _ => Err(format!(
            "{THREADS}={count:?} is not a number of threads; set it to 1 to {MOST_THREADS}, or unset it"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_threads_are_small_numbers() {
        for good in ["0", "1", "1024"] {
            assert_eq!(check_threads(good), Ok(()));
        }
        for bad in ["", "many", "-1", "2.5", "1025", "50000"] {
            assert!(check_threads(bad).unwrap_err().contains("set it to 1 to 1024"), "{bad}");
        }
    }
}
