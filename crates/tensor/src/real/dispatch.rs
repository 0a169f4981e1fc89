//! Which instruction set a kernel runs on, decided once per process.

use std::fmt;
use std::sync::OnceLock;

use super::{Lanes, Lanes32, Plain};

/// The lanes of one instruction set.
pub trait Simd: 'static {
    /// Single precision (and bfloat16, widened).
    type F32: Lanes32;
    /// Double precision.
    type F64: Lanes<Scalar = f64>;
}

/// Work that can run on any instruction set.
///
/// `run` must be `#[inline(always)]`, and must do its own loops: a closure handed to another thread
/// from inside `run` would be compiled without the instruction set. Cut work into tasks first and
/// call [`dispatch`] inside each.
pub trait Kernel {
    /// What the work gives back.
    type Output;
    /// Does the work with the lanes of `S`.
    fn run<S: Simd>(self) -> Self::Output;
}

/// An instruction set that a process can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One number at a time.
    Plain,
    /// 128-bit registers of ARM.
    Neon,
    /// 256-bit registers with fused multiply-add.
    Avx2,
    /// 512-bit registers with masks.
    Avx512,
}

impl Level {
    /// All, by their names in `RAPPEL_SIMD`.
    const NAMED: [(&str, Self); 4] = [
        ("plain", Self::Plain),
        ("neon", Self::Neon),
        ("avx2", Self::Avx2),
        ("avx512", Self::Avx512),
    ];

    /// Whether a machine whose best is `best` has it.
    fn is_within(self, best: Self) -> bool {
        self == Self::Plain || self == best || (self, best) == (Self::Avx2, Self::Avx512)
    }
}

/// The name, as in `RAPPEL_SIMD`.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMED.iter().find(|(_, level)| level == self);
        f.write_str(named.map_or("", |(name, _)| name))
    }
}

/// The environment variable that asks for an instruction set.
const VARIABLE: &str = "RAPPEL_SIMD";

/// The best instruction set of this machine, or the lower one that the environment variable
/// `RAPPEL_SIMD` (`plain`, `avx2`, `avx512`, `neon`) asks for.
///
/// # Panics
/// Where the variable asks for what this machine has not; [`check_level`] tells before.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| check_level().unwrap_or_else(|reason| panic!("{reason}")))
}

/// As [`level`], but says what is wrong with `RAPPEL_SIMD`.
///
/// # Errors
/// A name that is none, or that of an instruction set which this machine has not.
pub fn check_level() -> Result<Level, String> {
    match std::env::var_os(VARIABLE) {
        None => Ok(detect()),
        Some(name) => choose(&name.to_string_lossy(), detect()),
    }
}

/// The level called `name`, on a machine whose best is `best`.
fn choose(name: &str, best: Level) -> Result<Level, String> {
    let names = |within: &dyn Fn(Level) -> bool| {
        let some = Level::NAMED.iter().filter(|(_, level)| within(*level));
        some.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    match Level::NAMED.iter().find(|(known, _)| *known == name) {
        Some((_, level)) if level.is_within(best) => Ok(*level),
        Some(_) => Err(format!(
            "{VARIABLE}={name}: this machine does not have it (it has {}); choose one of these, or unset \
             the variable",
            names(&|level| level.is_within(best))
        )),
        None => Err(format!(
            "{VARIABLE}={name:?}: no such instruction set (known: {}); choose one, or unset the variable",
            names(&|_| true)
        )),
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    if avx512 {
        Level::Avx512
    } else if avx2 {
        Level::Avx2
    } else {
        Level::Plain
    }
}

#[cfg(target_arch = "aarch64")]
fn detect() -> Level {
    Level::Neon
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> Level {
    Level::Plain
}

/// Runs `kernel` on the best instruction set of this machine.
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    dispatch_at(level(), kernel)
}

/// Runs `kernel` on `level`, which must not be above what [`level`] detected.
#[inline]
pub(crate) fn dispatch_at<K: Kernel>(level: Level, kernel: K) -> K::Output {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `level` was detected on this machine.
        Level::Avx512 => unsafe { run_avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `level` was detected on this machine.
        Level::Avx2 => unsafe { run_avx2(kernel) },
        #[cfg(target_arch = "aarch64")]
        Level::Neon => kernel.run::<super::neon::Neon>(),
        _ => kernel.run::<Plain>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<super::avx512::Avx512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<super::avx2::Avx2>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_the_machine_has() {
        for (name, best, expected) in [
            ("plain", Level::Avx512, Ok(Level::Plain)),
            ("avx2", Level::Avx512, Ok(Level::Avx2)),
            ("neon", Level::Neon, Ok(Level::Neon)),
            ("avx512", Level::Avx2, Err("does not have it (it has plain, avx2)")),
            ("neon", Level::Avx512, Err("does not have it (it has plain, avx2, avx512)")),
            ("avx2", Level::Neon, Err("does not have it (it has plain, neon)")),
            (
                "AVX",
                Level::Avx2,
                Err("RAPPEL_SIMD=\"AVX\": no such instruction set (known: plain,"),
            ),
            ("", Level::Avx2, Err("RAPPEL_SIMD=\"\": no such")),
        ] {
            match (choose(name, best), expected) {
                (Ok(level), Ok(expected)) => assert_eq!(level, expected),
                (Err(told), Err(expected)) => assert!(told.contains(expected), "{told}"),
                (chosen, _) => panic!("{name}: {chosen:?}"),
            }
        }
        assert_eq!(Level::Avx512.to_string(), "avx512");
    }
}
