//! Quantized weights against bitsandbytes, byte for byte, and their products against plain sums.

use std::path::Path;

use super::BlockFormat::{Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
use super::*;
use crate::ops::{CrossEntropy, WeightLayout};
use crate::random::Key;
use crate::storage::TensorFile;
use crate::{bf16, with_matmul_precision};

fn golden() -> TensorFile {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/quantized");
    TensorFile::open(path.join("weights.safetensors")).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// The values of a case, of large ones every 13th row.
fn assert_values(file: &TensorFile, case: &str, found: &Quantized, dtype: DType) {
    let wanted = file.tensor(&format!("{case}.values")).unwrap();
    let found = found.dequantize(dtype).to_dtype(DType::F32);
    let step = if found.size(0) == wanted.size(0) { 1 } else { 13 };
    for (i, row) in wanted.to_vec::<f32>().chunks(wanted.size(1)).enumerate() {
        let found = found.narrow(0, i * step, 1).to_vec::<f32>();
        assert_eq!(bits(&found), bits(row), "{case}, row {i}");
    }
}

#[test]
fn four_bits_are_those_of_bitsandbytes() {
    let file = golden();
    let mut cases = 0;
    for (size, dtype) in ["7x33", "70x300"]
        .into_iter()
        .flat_map(|size| [DType::F32, DType::BF16].into_iter().map(move |dtype| (size, dtype)))
    {
        let name = if dtype == DType::F32 { "float32" } else { "bfloat16" };
        let weight = file.tensor(&format!("{size}.{name}.weight")).unwrap().to_dtype(dtype);
        for (book, nested) in [CodeBook::Nf4, CodeBook::Fp4]
            .into_iter()
            .flat_map(|book| [(book, false), (book, true)])
        {
            let case =
                format!("{size}.{name}.{}{}", book.name(), if nested { ".nested" } else { "" });
            let part = |what: &str| file.tensor(&format!("{case}.{what}")).unwrap();
            let found = Quantized::four_bits(&weight, book, nested);
            assert_eq!(found.bytes().to_vec::<u8>(), part("packed").to_vec::<u8>(), "{case}");
            assert_eq!(bits(book.values()), bits(&part("quant_map").to_vec()), "{case}");
            let QuantizedForm::Codes { scales, block: 64, .. } = found.form() else {
                panic!("{case}: {:?}", found.form());
            };
            match scales {
                Scales::Plain(scales) => {
                    assert_eq!(bits(scales), bits(&part("absmax").to_vec()), "{case}");
                }
                Scales::Nested { codes, map, maxima, block, offset } => {
                    assert_eq!(*block, 256);
                    assert_eq!(
                        offset.to_bits(),
                        (part("offset").item() as f32).to_bits(),
                        "{case}"
                    );
                    let wanted = part("nested_absmax").to_vec();
                    assert_eq!(bits(maxima), bits(&wanted), "{case}");
                    let wanted = part("nested_quant_map").to_vec();
                    assert_eq!(bits(map), bits(&wanted), "{case}");
                    assert_eq!(codes[..], part("absmax").to_vec::<u8>()[..], "{case}");
                }
            }
            assert_values(&file, &case, &found, dtype);
            cases += 1;
        }
    }
    assert_eq!(cases, 16);
}

#[test]
fn eight_bits_are_those_of_bitsandbytes() {
    let file = golden();
    for size in ["7x33", "70x300"] {
        let part = |what: &str| file.tensor(&format!("{size}.int8.{what}")).unwrap();
        let found = Quantized::eight_bits(&part("weight"));
        assert_eq!(found.bytes().to_vec::<u8>(), part("packed").to_vec::<u8>(), "{size}");
        let QuantizedForm::Rows { scales } = found.form() else { panic!("{:?}", found.form()) };
        assert_eq!(bits(scales), bits(&part("absmax").to_vec()), "{size}");
        assert_values(&file, &format!("{size}.int8"), &found, DType::F32);
    }
}

/// A matrix of every form that can have these sizes.
fn forms([rows, cols]: [usize; 2], key: Key) -> Vec<Quantized> {
    let weight = Tensor::randn([rows, cols], DType::F32, key);
    let mut forms = vec![
        Quantized::four_bits(&weight, CodeBook::Nf4, true),
        Quantized::four_bits(&weight, CodeBook::Fp4, false),
        Quantized::eight_bits(&weight),
    ];
    for format in [Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4K, Q5K, Q6K] {
        if cols % format.block() > 0 {
            continue;
        }
        let count = rows * cols / format.block();
        let draws = Tensor::rand([count, format.bytes()], 0.0, 256.0, DType::F32, key.with(1));
        let mut bytes: Vec<u8> = draws.to_vec::<f32>().into_iter().map(|x| x as u8).collect();
        // Scales of sizes that are met.
        for block in bytes.chunks_exact_mut(format.bytes()) {
            let halves: &[usize] = match format {
                Q8_0 | Q4_0 | Q5_0 => &[0],
                Q4_1 | Q5_1 | Q4K | Q5K => &[0, 2],
                Q6K => &[208],
            };
            for at in halves {
                block[at + 1] = 0x20 | block[at + 1] & 0x83;
            }
        }
        let bytes = Tensor::from_slice(&bytes, [bytes.len()]);
        forms.push(Quantized::new([rows, cols], QuantizedForm::Blocks(format), &bytes).unwrap());
    }
    forms
}

/// `x w^T` by plain sums in double precision.
fn plain(x: &[f64], w: &[f64], [m, n, k]: [usize; 3]) -> Vec<f64> {
    let dot = |i: usize, j: usize| (0..k).map(|p| x[i * k + p] * w[j * k + p]).sum();
    (0..m * n).map(|at| dot(at / n, at % n)).collect()
}

#[track_caller]
fn assert_near(found: &Tensor, wanted: &[f64], tolerance: f64, what: &str) {
    let largest = wanted.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    for (i, (found, wanted)) in found.to_f64_vec().iter().zip(wanted).enumerate() {
        assert!(
            (found - wanted).abs() <= tolerance * largest,
            "{what}, number {i}: {found}, not {wanted}"
        );
    }
}

#[test]
fn products_and_gradients_are_plain_sums_of_the_numbers() {
    let sizes = [[1, 1], [3, 5], [13, 33], [70, 300], [37, 512], [900, 320], [2, 1500]];
    for (case, [rows, cols]) in sizes.into_iter().enumerate() {
        for quantized in forms([rows, cols], Key::new(case as u64)) {
            let numbers = quantized.dequantize(DType::F64);
            let w = numbers.to_vec::<f64>();
            for (m, dtype) in [
                (1, DType::F32),
                (3, DType::BF16),
                (8, DType::F32),
                (11, DType::F32),
                (40, DType::BF16),
                (2, DType::F64),
            ] {
                let what = format!("{m} x {rows} x {cols}, {:?} {dtype}", quantized.form());
                let what = &what[..what.len().min(90)];
                let tolerance = match dtype {
                    DType::F64 => 1e-12,
                    DType::F32 => 1e-5,
                    _ => 1e-2,
                };
                let x = Tensor::randn([m, cols], dtype, Key::new(91)).requires_grad();
                let weight = Weight::Quantized(Arc::new(quantized.clone()), dtype);
                let y = weight.linear(&x, None, WeightLayout::OutIn);
                assert_near(&y, &plain(&x.to_f64_vec(), &w, [m, rows, cols]), tolerance, what);
                let slopes = Tensor::randn([m, rows], dtype, Key::new(92));
                let grads = (y * &slopes).sum().backward();
                let t = numbers.t().to_vec::<f64>();
                let wanted = plain(&slopes.to_f64_vec(), &t, [m, cols, rows]);
                assert_near(grads.of(&x).unwrap(), &wanted, tolerance, what);
                // The transposed matrix of the same bytes, which lies the other way.
                let turned = Weight::Quantized(Arc::new(quantized.t()), dtype);
                let y = weight.linear(&x, None, WeightLayout::OutIn);
                let again = turned.linear(&x, None, WeightLayout::InOut);
                assert_eq!(again.to_f64_vec(), y.to_f64_vec(), "{what}");
            }
        }
    }
}

#[test]
fn every_instruction_set_reads_the_same_numbers() {
    for (case, size) in [[3, 512], [5, 64], [2, 1024], [4, 96]].into_iter().enumerate() {
        for quantized in forms(size, Key::new(case as u64)) {
            let found = quantized.dequantize(DType::F32).to_vec::<f32>();
            let mut wanted = vec![0.0_f32; size[0] * size[1]];
            for (row, out) in wanted.chunks_exact_mut(size[1]).enumerate() {
                quantized.read(row, 0, out);
            }
            assert_eq!(bits(&found), bits(&wanted), "{:?}", quantized.form());
        }
    }
}

#[test]
fn results_are_the_same_bits_on_any_number_of_threads() {
    let quantized = &forms([900, 512], Key::new(4))[..];
    let pools = [1, 2, 5]
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    for quantized in quantized {
        for (m, dtype) in [(1, DType::F32), (6, DType::BF16), (40, DType::F32), (40, DType::BF16)] {
            let x = Tensor::randn([m, 512], dtype, Key::new(7));
            let found = pools.each_ref().map(|pool| {
                pool.install(|| {
                    let x = x.requires_grad();
                    let weight = Weight::Quantized(Arc::new(quantized.clone()), dtype);
                    let y = weight.linear(&x, None, WeightLayout::OutIn);
                    let grads = y.square().sum().backward();
                    (y.to_f64_vec(), grads.of(&x).unwrap().to_f64_vec())
                })
            });
            assert!(found.iter().all(|other| *other == found[0]), "{:?}", quantized.form());
        }
    }
}

#[test]
fn a_head_and_a_table_in_few_bits_are_those_of_their_numbers() {
    for quantized in forms([90, 256], Key::new(5)) {
        let dense = Weight::Dense(quantized.dequantize(DType::F64));
        let weight = Weight::Quantized(Arc::new(quantized), DType::F64);
        let ids = Tensor::from_slice(&[3_i64, 89, 3, 0], [2, 2]);
        let rows = weight.embedding(&ids).to_vec::<f64>();
        assert_eq!(rows, dense.embedding(&ids).to_vec::<f64>());
        let hidden = Tensor::randn([2, 2, 256], DType::F64, Key::new(6)) * 0.01;
        let losses = [weight, dense].map(|weight| {
            let hidden = hidden.requires_grad();
            let loss = weight.cross_entropy(&hidden, &ids, &CrossEntropy::default());
            let slopes = loss.backward().of(&hidden).unwrap().to_vec::<f64>();
            (loss.item(), slopes)
        });
        assert!((losses[0].0 - losses[1].0).abs() < 1e-12 * losses[1].0);
        let [few, all] = losses.map(|loss| Tensor::from_slice(&loss.1, [1024]));
        assert_near(&few, &all.to_f64_vec(), 1e-12, "slopes");
    }
}

#[test]
fn rounded_products_round_the_numbers_as_well() {
    let quantized = &forms([40, 64], Key::new(8))[0];
    let x = Tensor::randn([20, 64], DType::F32, Key::new(9));
    let weight = Weight::Quantized(Arc::new(quantized.clone()), DType::F32);
    let found = with_matmul_precision(crate::MatmulPrecision::Medium, || {
        weight.linear(&x, None, WeightLayout::OutIn)
    });
    let rounded = |x: &Tensor| -> Vec<f64> {
        let round = |x: f32| f64::from(bf16::from_f32(x).to_f32());
        x.to_vec::<f32>().into_iter().map(round).collect()
    };
    let wanted = plain(&rounded(&x), &rounded(&quantized.dequantize(DType::F32)), [20, 40, 64]);
    assert_near(&found, &wanted, 1e-6, "medium");
}

#[test]
fn what_is_not_finite_is_found() {
    for mut quantized in forms([5, 256], Key::new(3)) {
        assert_eq!(quantized.first_non_finite(), None, "{:?}", quantized.form());
        if let QuantizedForm::Rows { .. } = quantized.form {
            quantized.form = QuantizedForm::Rows { scales: [1.0, 2.0, f32::NAN, 3.0, 4.0].into() };
            assert_eq!(quantized.first_non_finite(), Some(2 * 256));
        }
    }
}

#[test]
fn parts_that_do_not_fit_are_told() {
    let bytes = |count: usize| Tensor::zeros([count], DType::U8);
    let told = Quantized::new([2, 40], QuantizedForm::Blocks(BlockFormat::Q8_0), &bytes(80));
    assert!(told.unwrap_err().contains("rows of 40 are not whole blocks of 32"));
    let told = Quantized::new([2, 64], QuantizedForm::Blocks(BlockFormat::Q8_0), &bytes(80));
    assert!(told.unwrap_err().contains("80 bytes for [2, 64], which takes 136"));
    let scales = Scales::Plain([1.0].into());
    let form = QuantizedForm::Codes { book: CodeBook::Nf4, block: 64, scales };
    let told = Quantized::new([2, 64], form, &bytes(64)).unwrap_err();
    assert!(told.contains("1 scales for [2, 64], which takes 2"), "{told}");
}
