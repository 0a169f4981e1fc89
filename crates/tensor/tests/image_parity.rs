//! Operations on images against PyTorch, forward and backward.

use rappel_tensor::{
    Conv2dOptions, Interpolation, Pool2dOptions, Tensor, adaptive_avg_pool2d, avg_pool2d,
    batch_norm, batch_norm_training, conv_transpose2d, conv2d, group_norm, interpolate, max_pool2d,
};
use rappel_testkit::{Golden, assert_close};

mod parity;
use parity::{Function, argument, tensor};

fn check(op: &str, inputs: &[&str], outputs: &[&str], function: &Function) {
    parity::check("ops_images", op, inputs, outputs, function);
}

/// A pair of numbers of a case.
fn pair(golden: &Golden, case: &str, name: &str) -> [usize; 2] {
    [0, 1].map(|i| argument(golden, case, &format!("{name}{i}")).unwrap() as usize)
}

fn flag(golden: &Golden, case: &str, name: &str) -> bool {
    argument(golden, case, name) == Some(1.0)
}

fn conv_options(golden: &Golden, case: &str) -> Conv2dOptions {
    let of = |name| pair(golden, case, name);
    Conv2dOptions {
        stride: of("stride"),
        padding: of("padding"),
        dilation: of("dilation"),
        groups: argument(golden, case, "groups").unwrap() as usize,
    }
}

fn pool_options(golden: &Golden, case: &str) -> Pool2dOptions {
    let of = |name| pair(golden, case, name);
    Pool2dOptions {
        kernel: of("kernel"),
        stride: of("stride"),
        padding: of("padding"),
        dilation: of("dilation"),
        ceil_mode: flag(golden, case, "ceil_mode"),
        count_include_pad: flag(golden, case, "count_include_pad"),
    }
}

#[test]
fn conv2d_agrees() {
    check("conv2d", &["x", "weight", "bias"], &["y"], &|golden, case, x| {
        vec![conv2d(&x[0], &x[1], x.get(2), &conv_options(golden, case))]
    });
}

#[test]
fn conv_transpose2d_agrees() {
    check("conv_transpose2d", &["x", "weight", "bias"], &["y"], &|golden, case, x| {
        let extra = pair(golden, case, "output_padding");
        vec![conv_transpose2d(&x[0], &x[1], x.get(2), &conv_options(golden, case), extra)]
    });
}

#[test]
fn max_pool2d_agrees() {
    check("max_pool2d", &["x"], &["y"], &|golden, case, x| {
        vec![max_pool2d(&x[0], &pool_options(golden, case))]
    });
}

#[test]
fn avg_pool2d_agrees() {
    check("avg_pool2d", &["x"], &["y"], &|golden, case, x| {
        vec![avg_pool2d(&x[0], &pool_options(golden, case))]
    });
    check("adaptive_avg_pool2d", &["x"], &["y"], &|golden, case, x| {
        vec![adaptive_avg_pool2d(&x[0], pair(golden, case, "size"))]
    });
}

#[test]
fn batch_norm_agrees() {
    check("batch_norm", &["x", "weight", "bias"], &["y"], &|golden, case, x| {
        let eps = argument(golden, case, "eps").unwrap();
        if !flag(golden, case, "training") {
            let [mean, var] =
                ["mean", "var"].map(|name| tensor(golden, &format!("{case}/{name}"), x[0].dtype()));
            return vec![batch_norm(&x[0], &mean, &var, x.get(1), x.get(2), eps)];
        }
        let (y, moments) = batch_norm_training(&x[0], x.get(1), x.get(2), eps);
        // PyTorch's running statistics with a momentum of one: the variance divided by one less.
        let correction = moments.count as f64 / (moments.count - 1) as f64;
        let unbiased: Vec<f64> = moments.variance.iter().map(|v| v * correction).collect();
        for (found, name) in [(&moments.mean, "mean"), (&unbiased, "var")] {
            let (_, want) = golden.f64(&format!("{case}/{name}"));
            let rtol = if x[0].dtype() == rappel_tensor::DType::F64 { 1e-10 } else { 1e-4 };
            assert_close(found, &want, rtol, &format!("{case} {name}"));
        }
        vec![y]
    });
}

#[test]
fn group_norm_agrees() {
    check("group_norm", &["x", "weight", "bias"], &["y"], &|golden, case, x| {
        let groups = argument(golden, case, "groups").unwrap() as usize;
        vec![group_norm(&x[0], groups, &x[1], &x[2], argument(golden, case, "eps").unwrap())]
    });
}

#[test]
fn interpolate_agrees() {
    check("interpolate", &["x"], &["y"], &|golden, case, x: &[Tensor]| {
        let antialias = flag(golden, case, "antialias");
        let kind = match (argument(golden, case, "kind").unwrap() as usize, antialias) {
            (0, _) => Interpolation::Nearest,
            (1, false) => Interpolation::Bilinear,
            (1, true) => Interpolation::BilinearAntialiased,
            (_, false) => Interpolation::Bicubic,
            (_, true) => Interpolation::BicubicAntialiased,
        };
        let aligned = flag(golden, case, "align_corners");
        vec![interpolate(&x[0], pair(golden, case, "size"), kind, aligned)]
    });
}
