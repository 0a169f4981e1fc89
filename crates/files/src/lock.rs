//! Locks that end with their process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;

use crate::error::FileError;

/// A process signs a lock within this time of taking it, even on a machine that is busy.
const SIGNING: Duration = Duration::from_secs(2);

/// A lock on a file, held until it is dropped or the process ends in any way, a kill included.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock lasts as long as the open file")] File);

/// Why a lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process has it.
    #[error("locked by {0}")]
    Held(Holder),
    /// The file system knows no locks.
    #[error("the file system knows no locks")]
    Unsupported,
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Who has a lock, in words: the process, the machine, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Holder(String);

impl Lock {
    /// Takes the lock of the file at `path`, which is made if there is none, without waiting.
    ///
    /// # Errors
    /// [`LockError::Held`] where another process has it; the system's refusals.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let refused = |error| FileError::new("lock", path)(error);
        // Not truncated on opening: the name of the holder stays readable.
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(refused)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder(path))),
            Err(TryLockError::Error(error)) if is_unsupported(&error) => {
                return Err(LockError::Unsupported);
            }
            Err(TryLockError::Error(error)) => return Err(refused(error).into()),
        }
        let mut sign = || {
            file.set_len(0)?;
            let (process, host) = (std::process::id(), host());
            writeln!(file, "process {process} on {host}, since {}", utc(SystemTime::now()))
        };
        sign().map_err(refused)?;
        Ok(Self(file))
    }
}

/// ENOLCK, from network file systems without a lock server, has no kind of its own.
fn is_unsupported(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::Unsupported || error.raw_os_error() == Some(37)
}

/// Who holds the lock, as its file says: a holder signs right after it took the lock, so that a file
/// which is still empty, or whose line is not complete, is read again for a while.
fn holder(path: &Path) -> Holder {
    let since = Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if let Some((name, _)) = text.split_once('\n') {
            return Holder(name.to_owned());
        }
        if since.elapsed() > SIGNING {
            return Holder("another process".to_owned());
        }
        sleep(Duration::from_millis(1));
    }
}

/// The machine's name, or `localhost` where the system has no file with it.
pub fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| fs::read_to_string("/etc/hostname"))
        .unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = name.trim().chars().map(plain).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// A time as `2026-01-31 23:59:59 UTC`.
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (mut day, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let days = |month: u64| match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let mut month = 1;
    while day >= days(month) {
        day -= days(month);
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC", day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::take(&path).unwrap();
        let told = Lock::take(&path).unwrap_err().to_string();
        assert!(told.starts_with(&format!("locked by process {} on ", std::process::id())));
        assert!(told.contains(", since 20") && told.ends_with(" UTC"), "{told}");
        drop(first);
        Lock::take(&path).unwrap();
    }

    #[test]
    fn a_holder_that_has_not_signed_yet_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let mut held = File::create(&path).unwrap();
        held.try_lock().unwrap();
        let signing = std::thread::spawn(move || {
            for part in ["process 7 on ", "here, since then\n"] {
                sleep(Duration::from_millis(30));
                held.write_all(part.as_bytes()).unwrap();
            }
            held
        });
        let told = Lock::take(&path).unwrap_err().to_string();
        assert_eq!(told, "locked by process 7 on here, since then");
        drop(signing.join().unwrap());
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_827_696, "2000-02-29 12:34:56 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_767_225_600, "2026-01-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }
}
