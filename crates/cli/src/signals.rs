//! Signals: those that ask to stop, and those that must not end the process in their own way.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGABRT, SIGINT, SIGTERM};
use signal_hook::flag;

/// What a shell adds to a signal's number for its exit code.
const OF_SIGNALS: i32 = 128;

/// The last signal that came.
pub struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on. The first asks to stop; a second SIGINT or SIGTERM
    /// exits at once. SIGHUP stays ignored where it was when the program began, as under `nohup`.
    pub fn catch() -> io::Result<Self> {
        let (caught, which) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first one to come finds nothing caught yet.
            flag::register_conditional_shutdown(signal, OF_SIGNALS + signal, caught.clone())?;
            flag::register(signal, caught.clone())?;
            flag::register_usize(signal, which.clone(), signal as usize)?;
        }
        // A terminal that closes may send it twice, and a session that ends sends it with SIGTERM: it
        // counts neither as a first nor as a second one.
        #[cfg(unix)]
        if hangup_ends() {
            use signal_hook::consts::SIGHUP;
            flag::register_usize(SIGHUP, which.clone(), SIGHUP as usize)?;
        }
        Ok(Self(which))
    }

    /// Whether one came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// The exit code of the one that came; success where none did.
    pub fn exit_code(&self) -> ExitCode {
        match self.0.load(Ordering::Relaxed) {
            0 => ExitCode::SUCCESS,
            signal => ExitCode::from((OF_SIGNALS as usize + signal) as u8),
        }
    }
}

/// Ctrl-C in a talk: it ends what is being computed; where nothing is, or for the second time, it exits.
pub struct Interrupts {
    /// Whether the next one exits.
    exits: Arc<AtomicBool>,
}

impl Interrupts {
    /// Catches SIGINT from now on.
    pub fn catch() -> io::Result<Self> {
        let exits = Arc::new(AtomicBool::new(true));
        flag::register_conditional_shutdown(SIGINT, OF_SIGNALS + SIGINT, exits.clone())?;
        flag::register(SIGINT, exits.clone())?;
        Ok(Self { exits })
    }

    /// Computes something that a first one ends; it asks whether one came.
    pub fn during<T>(&self, compute: impl FnOnce(&dyn Fn() -> bool) -> T) -> T {
        self.exits.store(false, Ordering::Relaxed);
        let result = compute(&|| self.exits.load(Ordering::Relaxed));
        self.exits.store(true, Ordering::Relaxed);
        result
    }
}

/// Makes errors of what the system would end the process for: a file beyond the limit on sizes is a write
/// that fails, and memory that the system refuses is a failure (exit code 1), after its message.
pub fn tame() -> io::Result<()> {
    #[cfg(unix)]
    flag::register(signal_hook::consts::SIGXFSZ, Arc::default())?;
    flag::register_conditional_shutdown(SIGABRT, 1, Arc::new(AtomicBool::new(true)))?;
    Ok(())
}

/// Whether SIGHUP is not ignored. Only Linux has a file that says so; elsewhere SIGHUP is left alone.
#[cfg(unix)]
fn hangup_ends() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 0)
}
