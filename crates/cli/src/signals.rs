//! SIGINT and SIGTERM: the first asks to stop, the second exits at once.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What a shell adds to a signal's number for its exit code.
const OF_SIGNALS: i32 = 128;

/// The first signal that came.
pub struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// Catches both signals from now on.
    pub fn catch() -> io::Result<Self> {
        let (caught, which) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first one to come finds nothing caught yet.
            flag::register_conditional_shutdown(signal, OF_SIGNALS + signal, caught.clone())?;
            flag::register(signal, caught.clone())?;
            flag::register_usize(signal, which.clone(), signal as usize)?;
        }
        Ok(Self(which))
    }

    /// Whether one came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// The exit code that tells of the one that came; success where none did.
    pub fn exit_code(&self) -> ExitCode {
        match self.0.load(Ordering::Relaxed) {
            0 => ExitCode::SUCCESS,
            signal => ExitCode::from((OF_SIGNALS as usize + signal) as u8),
        }
    }
}
