//! How fast kernels are, over what the GPU was seen to do.

use super::Gpu;
use crate::device::{Device, DeviceError};
use crate::dtype::DType;
use crate::kernels::args::{Matrices, Norm, Problem, RowKind, Saved};
use crate::kernels::{attention, map, matmul, norm, softmax};
use crate::precision::MatmulPrecision;
use crate::random::Key;
use crate::real::Real;
use crate::tensor::Tensor;

/// What one kernel reached.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelRate {
    /// The kernel, and on what.
    pub name: String,
    /// Milliseconds of one call: the median of several.
    pub milliseconds: f64,
    /// Bytes a second, each operand once; 0 for products.
    pub bytes: f64,
    /// Floating-point operations a second; 0 for others.
    pub flops: f64,
}

#[derive(Clone, Copy)]
struct Identity;
impl crate::kernels::args::Formula<1> for Identity {
    fn eval<R: Real>(&self, [x]: [R; 1]) -> R {
        x
    }
}

#[derive(Clone, Copy)]
struct Gelu;
impl crate::kernels::args::Formula<1> for Gelu {
    fn eval<R: Real>(&self, [x]: [R; 1]) -> R {
        let half = R::of(0.5) * x;
        half.mul_add((x * R::of(std::f64::consts::FRAC_1_SQRT_2)).erf(), half)
    }
}

/// Times the kernels of a decoder's step on `device`, the first a copy, whose rate is the ceiling of those bound by memory, and
/// the second a square product. `scale` divides the sizes, for devices that are none.
pub fn kernel_rates(device: Device, scale: usize) -> Result<Vec<KernelRate>, DeviceError> {
    let Device::Cuda(index) = device else {
        return Err(DeviceError::new(format!(
            "{device} has no kernels to time; name a GPU, such as cuda:0"
        )));
    };
    let gpu = super::gpu(index)?;
    let there = |sizes: &[usize], dtype| {
        let x = Tensor::randn(sizes, DType::F32, Key::new(1)).to_dtype(dtype);
        let _ = x.buffer.on(device);
        x
    };
    let (rows, width) = (32_768 / scale, 768);
    let mut rates = Vec::new();
    let mut time = |name: &str, bytes: f64, flops: f64, work: &mut dyn FnMut()| {
        let seconds = median(gpu, work);
        let rate = |amount: f64| amount / (seconds / 1e3);
        rates.push(KernelRate {
            name: name.to_owned(),
            milliseconds: seconds,
            bytes: rate(bytes),
            flops: rate(flops),
        });
    };
    let large = there(&[1 << 26 >> scale.ilog2()], DType::F32);
    time("copy of f32", 2.0 * bytes(&large), 0.0, &mut || {
        drop(map::map("copy", [&large], Identity));
    });
    let n = (8192 / scale).max(64);
    let square = there(&[n, n], DType::BF16);
    let cube = 2.0 * (n as f64).powi(3);
    let precision = MatmulPrecision::Highest;
    time(&format!("product of bf16 {n}^3"), 0.0, cube, &mut || {
        drop(matmul::products(&Matrices::new(&square), &Matrices::new(&square), precision));
    });
    let x = there(&[rows, width], DType::BF16);
    let wide = there(&[width, 4 * width], DType::BF16);
    let flops = 2.0 * (rows * width * 4 * width) as f64;
    time(&format!("product of bf16 {rows} x {width} x {}", 4 * width), 0.0, flops, &mut || {
        drop(matmul::products(&Matrices::new(&x), &Matrices::new(&wide), precision));
    });
    time("gelu of bf16", 2.0 * bytes(&x), 0.0, &mut || drop(map::map("gelu", [&x], Gelu)));
    let weight = there(&[width], DType::BF16);
    let kind = Norm { name: "layer_norm", centred: true, eps: 1e-5, plus_one: false };
    time("layer_norm of bf16", 2.0 * bytes(&x), 0.0, &mut || {
        drop(norm::forward(kind, &x, &weight, Some(&weight)));
    });
    let (_, stats) = norm::forward(kind, &x, &weight, Some(&weight));
    time("layer_norm's gradient of bf16", 3.0 * bytes(&x), 0.0, &mut || {
        drop(norm::backward(kind, &x, &x, &weight, &stats, true));
    });
    let logits = there(&[8192 / scale, 50_264 / scale], DType::BF16);
    time("softmax of bf16", 2.0 * bytes(&logits), 0.0, &mut || {
        drop(softmax::rows("softmax", RowKind::Softmax, &logits, None));
    });
    let (batch, length, heads) = (32 / scale.min(32), 1024 / scale, 12);
    let q = there(&[batch, length, heads, 64], DType::BF16);
    let problem = Problem {
        batch,
        time: length,
        keys: length,
        heads,
        kv_heads: heads,
        dim: 64,
        scale: 0.125,
        causal: true,
        precision,
        key_padding: None,
        documents: None,
        starts: None,
        window: None,
        softcap: None,
        dropout: None,
    };
    let pairs = (batch * heads * length * length) as f64 * 64.0;
    time("attention of bf16", 0.0, 2.0 * pairs, &mut || {
        drop(attention::forward(&problem, &q, &q, &q));
    });
    let (out, lse) = attention::forward(&problem, &q, &q, &q);
    let saved = Saved { q: q.clone(), k: q.clone(), v: q.clone(), out, lse };
    time("attention's gradient of bf16", 0.0, 5.0 * pairs, &mut || {
        drop(attention::backward(&problem, &saved, &q));
    });
    Ok(rates)
}

fn bytes(x: &Tensor) -> f64 {
    (x.count() * x.dtype().size()) as f64
}

/// Milliseconds of one call.
fn median(gpu: &Gpu, work: &mut dyn FnMut()) -> f64 {
    // The first compiles.
    work();
    gpu.finish();
    let mut times: Vec<f64> = (0..5).map(|_| gpu.timed(work)).collect();
    times.sort_by(f64::total_cmp);
    times[2]
}
