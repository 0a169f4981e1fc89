use super::*;
use crate::random::Key;
use crate::{layer_norm, rms_norm};

const EPS: f64 = 1e-5;

/// A row normalised by the plain formula.
fn plain(x: &[f64], weight: &[f64], bias: &[f64], centred: bool) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = if centred { x.iter().sum::<f64>() / n } else { 0.0 };
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let scaled = |i: usize| (x[i] - mean) / (variance + EPS).sqrt() * weight[i];
    (0..x.len()).map(|i| scaled(i) + if centred { bias[i] } else { 0.0 }).collect()
}

fn inputs(rows: usize, width: usize, dtype: DType) -> [Tensor; 4] {
    let draw = |k, shape: &[usize]| Tensor::randn(shape, DType::F64, Key::new(k)).to_dtype(dtype);
    [draw(1, &[rows, width]), draw(2, &[width]), draw(3, &[width]), draw(4, &[rows, width])]
}

fn apply(centred: bool, [x, weight, bias, _]: &[Tensor; 4]) -> Tensor {
    if centred { layer_norm(x, weight, Some(bias), EPS) } else { rms_norm(x, weight, EPS) }
}

#[test]
fn every_type_and_width_follows_the_formula() {
    for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 1e-5), (DType::BF16, 4e-2)] {
        for width in [1, 2, 7, 8, 15, 16, 17, 33, 64, 131] {
            for centred in [true, false] {
                let inputs = inputs(35, width, dtype);
                let got = apply(centred, &inputs).to_f64_vec();
                let [x, weight, bias, _] = inputs.map(|x| x.to_f64_vec());
                for (got, x) in got.chunks(width).zip(x.chunks(width)) {
                    for (got, want) in got.iter().zip(plain(x, &weight, &bias, centred)) {
                        let error = (got - want).abs();
                        assert!(
                            error <= tolerance * want.abs().max(1.0),
                            "{dtype} {width}: {error}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn strided_input_is_read_where_it_lies() {
    let [x, weight, bias, _] = inputs(9, 21, DType::F32);
    let wide = Tensor::randn([9, 40], DType::F32, Key::new(8));
    let view = wide.narrow(1, 3, 21);
    let copy = Tensor::from_slice(&view.to_vec::<f32>(), [9, 21]);
    let of = |x: &Tensor| layer_norm(x, &weight, Some(&bias), EPS).to_vec::<f32>();
    assert_eq!(of(&view), of(&copy));
    assert_ne!(of(&view), of(&x));
}

#[test]
fn threads_do_not_change_a_bit() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let leaves = inputs(333, 75, DType::F32).map(|x| x.requires_grad());
            let y = apply(true, &leaves);
            let grads = (&y * &leaves[3].detach()).sum().backward();
            let mut bits = y.to_vec::<f32>();
            for leaf in &leaves[..3] {
                bits.extend(grads.of(leaf).unwrap().to_vec::<f32>());
            }
            bits.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        })
    };
    let one = run(1);
    for threads in [2, 3, 8] {
        assert!(run(threads) == one, "{threads} threads");
    }
}
