//! Which instruction set a kernel runs on, decided once per process.

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

/// The best instruction set of this machine, or the lower one that the environment variable
/// `RAPPEL_SIMD` (`plain`, `avx2`, `avx512`, `neon`) asks for.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let best = detect();
        match std::env::var("RAPPEL_SIMD").as_deref() {
            Ok("plain") => Level::Plain,
            Ok("avx2") => best.min(Level::Avx2),
            _ => best,
        }
    })
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
