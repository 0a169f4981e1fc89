//! Which instructions multiply bfloat16 numbers on this machine.

use std::sync::OnceLock;

use crate::real::{Level, level};

/// How products of bfloat16 operands are computed: their bits depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bf16Kernel {
    /// Operands are rounded and widened again; the sums are those of single precision, on any machine.
    Widened,
    /// AVX512-BF16's `vdpbf16ps`, two products a lane.
    Avx512,
    /// AMX's tiles.
    Amx,
}

impl Bf16Kernel {
    /// The name, as `RAPPEL_BF16` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Widened => "widened",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }
}

/// How this process multiplies bfloat16 operands.
///
/// The fastest way of this machine, by what it is and not by the clock, so that it is the same in every
/// run: AMX where it exists and the system permits it; `vdpbf16ps` on AMD's processors, where it is twice
/// as fast as single precision; elsewhere single precision, since Intel's `vdpbf16ps` is slower than that.
/// The environment variable `RAPPEL_BF16` (`amx`, `avx512`, `widened`) names another, such as that of the
/// machine on which a run began: the bits are those of the instructions.
///
/// # Panics
/// Where [`check_bf16_kernel`] says what is wrong with the variable.
pub fn bf16_kernel() -> Bf16Kernel {
    check_bf16_kernel().unwrap_or_else(|reason| panic!("{reason}"))
}

/// [`bf16_kernel`], or what is wrong with `RAPPEL_BF16`.
///
/// # Errors
/// A name that is none of the three, or instructions that this machine lacks.
pub fn check_bf16_kernel() -> Result<Bf16Kernel, String> {
    static KERNEL: OnceLock<Result<Bf16Kernel, String>> = OnceLock::new();
    let found = KERNEL.get_or_init(|| choose(std::env::var("RAPPEL_BF16").ok().as_deref()));
    found.clone()
}

fn choose(wanted: Option<&str>) -> Result<Bf16Kernel, String> {
    let lacks = |what: &str, reason: String| {
        format!(
            "RAPPEL_BF16={what}: {reason}; leave it out, or name `widened`, which runs everywhere"
        )
    };
    match wanted {
        None | Some("") if amx().is_ok() => Ok(Bf16Kernel::Amx),
        None | Some("") if avx512().is_ok() && is_amd() => Ok(Bf16Kernel::Avx512),
        None | Some("" | "widened") => Ok(Bf16Kernel::Widened),
        Some("avx512") => avx512().map(|()| Bf16Kernel::Avx512).map_err(|why| lacks("avx512", why)),
        Some("amx") => amx().map(|()| Bf16Kernel::Amx).map_err(|why| lacks("amx", why)),
        Some(other) => {
            Err(format!("RAPPEL_BF16={other}: expected one of `amx`, `avx512`, `widened`"))
        }
    }
}

/// Whether `vdpbf16ps` and the conversions exist.
pub(super) fn avx512() -> Result<(), String> {
    if level() < Level::Avx512 {
        return Err("AVX-512 is not there, or RAPPEL_SIMD forbids it".to_owned());
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512bf16") {
        return Ok(());
    }
    Err("this processor has no AVX512-BF16".to_owned())
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) fn amx() -> Result<(), String> {
    avx512()?;
    super::amx::permission()
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(super) fn amx() -> Result<(), String> {
    Err("AMX needs an Intel processor and Linux".to_owned())
}

#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    let name = std::arch::x86_64::__cpuid(0);
    [name.ebx, name.edx, name.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_amd() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_can_be_named_and_a_wrong_name_is_an_error() {
        assert_eq!(choose(Some("widened")), Ok(Bf16Kernel::Widened));
        assert_eq!(choose(Some("")), choose(None));
        let wrong = choose(Some("avx")).unwrap_err();
        assert!(wrong.contains("expected one of `amx`, `avx512`, `widened`"), "{wrong}");
        for (name, there) in [("avx512", avx512()), ("amx", amx())] {
            let chosen = choose(Some(name));
            assert_eq!(chosen.is_ok(), there.is_ok());
            assert!(chosen.map_or_else(|why| why.contains(name), |kernel| kernel.name() == name));
        }
    }
}
