//! Gathering, joining, comparing and choosing, against plain code.

use rappel_tensor::{DType, Key, Tensor, concat, gated_silu, select, stack};
use rappel_testkit::{Golden, assert_close};

fn on_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

fn indices(shape: [usize; 3], below: usize, key: Key) -> Tensor {
    Tensor::rand(shape, 0.0, below as f64, DType::F64, key).to_dtype(DType::I64)
}

/// Place of `[i, j, k]` in row-major order.
fn flat(shape: [usize; 3], [i, j, k]: [usize; 3]) -> usize {
    (i * shape[1] + j) * shape[2] + k
}

fn places(shape: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..shape[0])
        .flat_map(move |i| (0..shape[1]).flat_map(move |j| (0..shape[2]).map(move |k| [i, j, k])))
}

#[test]
fn gather_and_scatter_agree_with_loops_on_views_and_any_number_of_threads() {
    let (whole, key) = ([7, 33, 129], Key::new(4));
    // A view whose memory order is another.
    let x = Tensor::randn([129, 7, 34], DType::F32, key).permute(&[1, 2, 0]).narrow(1, 1, 33);
    let values = x.to_vec::<f32>();
    for axis in 0..3 {
        let mut shape = [6, 33, 100];
        shape[axis] = 300;
        let ids = indices(shape, whole[axis], key.with(axis as u64));
        let numbers = ids.to_vec::<i64>();
        let at = |place: [usize; 3]| {
            let mut target = place;
            target[axis] = numbers[flat(shape, place)] as usize;
            flat(whole, target)
        };
        let want: Vec<f32> = places(shape).map(|place| values[at(place)]).collect();
        let src = Tensor::randn([shape[1], shape[0], shape[2]], DType::F32, key).transpose(0, 1);
        let added = src.to_vec::<f32>();
        let mut sums = values.clone();
        for (n, place) in places(shape).enumerate() {
            sums[at(place)] += added[n];
        }
        for threads in [1, 2, 3, 8] {
            let (gathered, scattered) =
                on_threads(threads, || (x.gather(axis, &ids), x.scatter_add(axis, &ids, &src)));
            assert_eq!(gathered.to_vec::<f32>(), want, "gather {axis}, {threads} threads");
            assert_eq!(scattered.to_vec::<f32>(), sums, "scatter_add {axis}, {threads} threads");
        }
    }
}

#[test]
fn index_select_takes_rows_and_adds_their_gradients_in_order() {
    let (whole, key) = ([5, 41, 77], Key::new(6));
    let x = Tensor::randn(whole, DType::F32, key);
    let values = x.to_vec::<f32>();
    for axis in 0..3 {
        let ids = indices([200, 1, 1], whole[axis], key.with(9)).reshape([200]);
        let numbers = ids.to_vec::<i64>();
        let mut shape = whole;
        shape[axis] = 200;
        let at = |mut place: [usize; 3]| {
            place[axis] = numbers[place[axis]] as usize;
            flat(whole, place)
        };
        let upstream = Tensor::randn(shape, DType::F32, key.with(1));
        let mut sums = vec![0.0_f32; values.len()];
        for (place, g) in places(shape).zip(upstream.to_vec::<f32>()) {
            sums[at(place)] += g;
        }
        for threads in [1, 2, 3, 8] {
            let leaf = x.requires_grad();
            let (y, grads) = on_threads(threads, || {
                let y = leaf.index_select(axis, &ids);
                let grads = (&y * &upstream).sum().backward();
                (y, grads)
            });
            let want: Vec<f32> = places(shape).map(|place| values[at(place)]).collect();
            assert_eq!(y.to_vec::<f32>(), want);
            let got = grads.of(&leaf).unwrap().to_vec::<f32>();
            assert_eq!(got, sums, "axis {axis}, {threads} threads");
        }
    }
}

#[test]
#[should_panic(expected = "gather: id -1 at position 1 is outside a dimension of 3")]
fn a_negative_index_is_named() {
    let ids = Tensor::from_slice(&[0_i64, -1], [2]);
    let _ = Tensor::zeros([3], DType::F32).gather(0, &ids);
}

#[test]
fn concat_and_stack_put_parts_in_order() {
    let (a, b) = (Tensor::arange(6, DType::I64).reshape([2, 3]), Tensor::zeros([2, 1], DType::I64));
    assert_eq!(concat(&[&a, &b], 1).to_vec::<i64>(), [0, 1, 2, 0, 3, 4, 5, 0]);
    assert_eq!(concat(&[&a.t(), &a.t()], 0).to_vec::<i64>(), [0, 3, 1, 4, 2, 5, 0, 3, 1, 4, 2, 5]);
    let x = Tensor::arange(2, DType::F32);
    let y = stack(&[&x, &(&x + 10.0)], 1);
    assert_eq!(y.to_vec::<f32>(), [0.0, 10.0, 1.0, 11.0]);
    let empty = Tensor::zeros([0, 3], DType::I64);
    assert_eq!(concat(&[&empty, &a], 0).to_vec::<i64>(), a.to_vec::<i64>());
}

#[test]
#[should_panic(expected = "concat: [2, 3] and [3, 3] differ in another dimension than 1")]
fn parts_that_do_not_fit_are_named() {
    let _ = concat(&[&Tensor::zeros([2, 3], DType::F32), &Tensor::zeros([3, 3], DType::F32)], 1);
}

#[test]
fn comparisons_are_those_of_ieee_numbers() {
    let nan = f32::NAN;
    let x = Tensor::from_slice(&[1.0_f32, 2.0, nan, -0.0, 5.0], [5]);
    let y = Tensor::from_slice(&[1.0_f32, 3.0, nan, 0.0, 4.0], [5]);
    assert_eq!(x.eq(&y).to_vec::<u8>(), [1, 0, 0, 1, 0]);
    assert_eq!(x.ne(&y).to_vec::<u8>(), [0, 1, 1, 0, 1]);
    assert_eq!(x.lt(&y).to_vec::<u8>(), [0, 1, 0, 0, 0]);
    assert_eq!(x.le(&y).to_vec::<u8>(), [1, 1, 0, 1, 0]);
    assert_eq!(x.gt(&y).to_vec::<u8>(), [0, 0, 0, 0, 1]);
    assert_eq!(x.ge(&y).to_vec::<u8>(), [1, 0, 0, 1, 1]);
    // A number is rounded to the tensor's type; integers are compared exactly.
    assert_eq!(Tensor::from_slice(&[0.1_f32], [1]).eq(0.1).to_vec::<u8>(), [1]);
    let ids = Tensor::from_slice(&[-1_i64, 0, 1], [3]);
    assert_eq!(ids.lt(0.5).to_vec::<u8>(), [1, 1, 0]);
    let grid = ids.reshape([3, 1]).ge(&Tensor::from_slice(&[0_i64, 1], [2]));
    assert_eq!(grid.to_vec::<u8>(), [0, 0, 1, 0, 1, 1]);
}

#[test]
fn select_never_lets_the_other_side_through() {
    let x = Tensor::from_slice(&[-1.0_f64, 0.0, 4.0], [3]).requires_grad();
    let y = select(&x.gt(0.0), &x.ln(), &Tensor::zeros((), DType::F64));
    assert_eq!(y.to_vec::<f64>(), [0.0, 0.0, 4.0_f64.ln()]);
    let filled = x.masked_fill(&x.lt(0.0), f64::NEG_INFINITY);
    assert_eq!(filled.to_vec::<f64>(), [f64::NEG_INFINITY, 0.0, 4.0]);
    let mask = x.ge(0.0);
    let grad = filled.masked_fill(&x.lt(0.0), 0.0).sum().backward();
    let want: Vec<f64> = mask.to_vec::<u8>().into_iter().map(f64::from).collect();
    assert_eq!(grad.of(&x).unwrap().to_vec::<f64>(), want);
}

#[test]
fn extrema_find_the_first_and_see_nan() {
    let x = Tensor::from_slice(&[3_i64, 9, 9, 1, 1, 2], [2, 3]);
    assert_eq!(x.argmax(1).to_vec::<i64>(), [1, 2]);
    assert_eq!(x.min_axis(0).0.to_vec::<i64>(), [1, 1, 2]);
    let x = Tensor::from_slice(&[1.0_f32, f32::NAN, 7.0, f32::NAN], [4]);
    assert_eq!((x.argmax(0).item(), x.argmin(0).item()), (1.0, 1.0));
    assert!(x.max().item().is_nan());
    // Long enough for several pieces, with the same largest value in two of them.
    let mut long = vec![0.0_f32; 100_003];
    (long[40_000], long[90_000], long[100_002]) = (2.0, 2.0, -2.0);
    let long = Tensor::from_slice(&long, [100_003]).requires_grad();
    for threads in [1, 3] {
        let (top, low) = on_threads(threads, || (long.argmax(0), long.min()));
        assert_eq!((top.item(), low.item()), (40_000.0, -2.0));
    }
    let grads = long.max().backward();
    let grad = grads.of(&long).unwrap();
    assert_eq!((grad.argmax(0).item(), grad.sum().item()), (40_000.0, 1.0));
    // Along every dimension of a larger one, against plain code.
    let shape = [4, 30, 70];
    let x = Tensor::randn(shape, DType::F64, Key::new(1));
    let values = x.to_vec::<f64>();
    for axis in 0..3 {
        let got = x.max_axis(axis).0.to_vec::<f64>();
        let mut want = std::collections::BTreeMap::new();
        for mut place in places(shape) {
            let value = values[flat(shape, place)];
            place[axis] = 0;
            let top = want.entry(place).or_insert(value);
            *top = value.max(*top);
        }
        assert_eq!(got, want.into_values().collect::<Vec<f64>>());
    }
}

#[test]
fn gated_silu_agrees_with_pytorch() {
    let golden = Golden::load("ops_torch");
    let name = "gated_silu/plain";
    for (dtype, rtol) in [(DType::F64, 1e-10), (DType::F32, 1e-5), (DType::BF16, 0.05)] {
        let tensor = |key: &str| {
            let (shape, values) = golden.f64(&format!("{name}/{key}"));
            Tensor::from_slice(&values, &shape[..]).to_dtype(dtype)
        };
        let (gate, up) = (tensor("in/gate").requires_grad(), tensor("in/up").requires_grad());
        let y = gated_silu(&gate, &up);
        assert_close(&y.to_f64_vec(), &golden.f64(&format!("{name}/out/y")).1, rtol, "y");
        let grads = (y * tensor("grad_out/y")).sum().backward();
        for (leaf, key) in [(&gate, "gate"), (&up, "up")] {
            let want = golden.f64(&format!("{name}/grad_in/{key}")).1;
            assert_close(&grads.of(leaf).unwrap().to_f64_vec(), &want, rtol, key);
        }
    }
}

#[test]
fn integers_have_arithmetic() {
    let a = Tensor::from_slice(&[1_i64, -2, 3], [3]);
    let b = Tensor::from_slice(&[10_i64], [1]);
    assert_eq!((&a + &b).to_vec::<i64>(), [11, 8, 13]);
    assert_eq!((&a - &b).to_vec::<i64>(), [-9, -12, -7]);
    assert_eq!((&a * &b).to_vec::<i64>(), [10, -20, 30]);
    assert_eq!((-&a * 3.0 + 1.0).to_vec::<i64>(), [-2, 7, -8]);
}

#[test]
#[should_panic(expected = "0.5 is not a whole number")]
fn integers_refuse_fractions() {
    let _ = Tensor::from_slice(&[1_i64], [1]) * 0.5;
}
