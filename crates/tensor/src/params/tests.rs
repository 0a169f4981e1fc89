use super::*;
use crate::autograd::checkpoint;
use crate::{linear, no_grad, ops::WeightLayout, write_tensors};

fn two_layers() -> (Params, Param, Param) {
    let mut params = Params::new(7);
    let mut scope = params.scope("net");
    let a = scope.scope("a").add("weight", [5, 3], Init::Normal { std: 1.0 });
    let b = scope.scope("b").add("weight", [2, 5], Init::Uniform { bound: 0.5 });
    (params, a, b)
}

fn loss(a: &Param, b: &Param) -> Tensor {
    let x = Tensor::ones([4, 3], DType::F32);
    let hidden = linear(&x, &a.tensor(), None, WeightLayout::OutIn).tanh();
    linear(&hidden, &b.tensor(), None, WeightLayout::OutIn).square().sum()
}

#[test]
fn parameters_lie_on_cache_lines_under_their_names() {
    let (params, ..) = two_layers();
    assert_eq!(params.names(), ["net.a.weight", "net.b.weight"]);
    let layout = params.layout();
    assert!(layout.entries().iter().all(|entry| entry.offset * 4 % 64 == 0));
    assert_eq!((params.count(), layout.len(DType::F32)), (25, 32));
}

#[test]
fn initial_values_depend_on_seed_and_name_only() {
    let (_p, a, _) = two_layers();
    let mut other = Params::new(7);
    other.scope("first").add("x", [100], Init::ONES);
    let again = other.scope("net").scope("a").add("weight", [5, 3], Init::Normal { std: 1.0 });
    assert_eq!(a.tensor().to_vec::<f32>(), again.tensor().to_vec::<f32>());
    let mut other = Params::new(8);
    let differs = other.scope("net").scope("a").add("weight", [5, 3], Init::Normal { std: 1.0 });
    assert_ne!(a.tensor().to_vec::<f32>(), differs.tensor().to_vec::<f32>());
}

#[test]
fn a_step_is_refused_while_a_graph_reads_the_parameters() {
    let (mut params, a, b) = two_layers();
    let pending = loss(&a, &b);
    assert!(matches!(params.update(|_| ()), Err(ParamsError::InUse)));
    let grads = pending.backward();
    params.update(|arenas| arenas.all::<f32>()[0] = 9.0).unwrap();
    assert_eq!(a.tensor().to_vec::<f32>()[0], 9.0);
    drop(grads);
}

#[test]
fn a_second_backward_adds_up() {
    let (_params, a, b) = two_layers();
    let once = loss(&a, &b).backward().param(&a).unwrap();
    let mut twice = loss(&a, &b).backward();
    loss(&a, &b).backward_into(&mut twice);
    let doubled: Vec<f32> = once.to_vec::<f32>().iter().map(|g| 2.0 * g).collect();
    assert_eq!(twice.param(&a).unwrap().to_vec::<f32>(), doubled);
}

#[test]
fn frozen_parameters_get_no_gradient_and_missing_ones_are_named() {
    let (mut params, a, b) = two_layers();
    params.freeze(|name| name.starts_with("net.a")).unwrap();
    let layout = params.layout();
    assert_eq!(layout.trainable_len(DType::F32), 16);
    let grads = loss(&a, &b).backward();
    assert!(grads.param(&a).is_none() && grads.param(&b).is_some());
    assert!(grads.missing(&layout).is_empty());
    assert_eq!(Grads::default().missing(&layout), ["net.b.weight"]);
    assert!(matches!(params.freeze(|_| true), Err(ParamsError::Fixed { .. })));
}

#[test]
fn streamed_gradients_are_those_of_the_arena_each_once() {
    let (params, a, b) = two_layers();
    let tied = |a: &Param, b: &Param| loss(a, b) + loss(a, b) * a.tensor().sum();
    let whole = tied(&a, &b).backward();
    let mut seen = Vec::new();
    tied(&a, &b).backward_each(&mut |index, grad| {
        let want = whole.tensor(&params.layout(), index).unwrap();
        assert_eq!(grad.to_vec::<f32>(), want.to_vec::<f32>());
        seen.push(index);
    });
    // The last layer is whole first.
    assert_eq!(seen, [b.index(), a.index()]);
}

#[test]
fn a_recomputed_block_gives_the_same_bits() {
    let (params, a, b) = two_layers();
    let plain = loss(&a, &b).backward();
    let (c, d) = (a.clone(), b.clone());
    let x = Tensor::ones([], DType::F32);
    let recomputed = || {
        let (c, d) = (c.clone(), d.clone());
        checkpoint(&[&x], move |_| loss(&c, &d))
    };
    let grads = recomputed().backward();
    let mut order = Vec::new();
    recomputed().backward_each(&mut |index, _| order.push(index));
    // A block hands its parameters out together, in the order that it read them.
    assert_eq!(order, [0, 1]);
    for index in [a.index(), b.index()] {
        let of = |g: &Grads| g.tensor(&params.layout(), index).unwrap().to_vec::<f32>();
        assert_eq!(of(&grads), of(&plain));
    }
}

#[test]
fn the_norm_is_that_of_all_gradients_together() {
    let (params, a, b) = two_layers();
    let grads = loss(&a, &b).backward();
    let all = [&a, &b].map(|p| grads.param(p).unwrap().to_f64_vec()).concat();
    let want = all.iter().map(|g| g * g).sum::<f64>().sqrt();
    assert!((grads.norm(&params.layout()) / want - 1.0).abs() < 1e-6);
}

#[test]
fn bfloat16_parameters_get_single_precision_gradients() {
    let mut params = Params::with_dtype(1, DType::BF16);
    let w = params.scope("").add("w", [3, 4], Init::Normal { std: 1.0 });
    let x = Tensor::ones([2, 4], DType::BF16);
    let grads = linear(&x, &w.tensor(), None, WeightLayout::OutIn).sum().backward();
    let grad = grads.param(&w).unwrap();
    assert_eq!((grad.dtype(), grad.to_vec::<f32>()), (DType::F32, vec![2.0; 12]));
}

#[test]
fn values_round_trip_through_a_file_and_misfits_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("params.safetensors");
    let (params, a, _) = two_layers();
    let want = a.tensor().to_vec::<f32>();
    write_tensors(&path, params.tensors(), &std::collections::BTreeMap::new()).unwrap();
    let (mut fresh, c, _) = two_layers();
    fresh.update(|arenas| arenas.all::<f32>().fill(0.0)).unwrap();
    fresh.load(&TensorFile::open(&path).unwrap()).unwrap();
    assert_eq!(c.tensor().to_vec::<f32>(), want);

    let mut tensors = params.tensors();
    tensors.pop();
    write_tensors(&path, tensors, &std::collections::BTreeMap::new()).unwrap();
    let error = fresh.load(&TensorFile::open(&path).unwrap()).unwrap_err().to_string();
    assert!(error.contains("lacks tensor `net.b.weight`"), "{error}");
    assert_eq!(c.tensor().to_vec::<f32>(), want);
}

#[test]
fn nothing_is_recorded_without_gradients() {
    let (_params, a, b) = two_layers();
    assert!(!no_grad(|| loss(&a, &b)).needs_grad());
}

#[test]
fn parameters_may_all_be_empty() {
    let mut params = Params::with_dtype(0, DType::F64);
    let empty = params.scope("").add("empty", [0, 3], Init::ONES);
    assert!(empty.tensor().to_vec::<f64>().is_empty());
    let grads = empty.tensor().sum().backward();
    assert!(grads.missing(&params.layout()).is_empty());
}

#[test]
fn one_parameter_opens_as_soon_as_nothing_views_it() {
    let (mut params, a, b) = two_layers();
    let (held, kept) = (a.tensor().detach().t(), b.tensor().to_vec::<f32>());
    assert!(matches!(params.update_one(a.index(), |_| ()), Err(ParamsError::InUse)));
    params.update_one(b.index(), |open| open.values::<f32>().fill(2.0)).unwrap();
    assert_eq!(b.tensor().to_vec::<f32>(), [2.0; 10]);
    assert_ne!(kept, [2.0; 10]);
    // All of them only together.
    assert!(matches!(params.update(|_| ()), Err(ParamsError::InUse)));
    let before = held.to_vec::<f32>();
    drop((params, a, b));
    assert_eq!(held.to_vec::<f32>(), before);
}

#[test]
fn neighbours_in_the_arena_keep_their_values() {
    let (mut params, a, b) = two_layers();
    let before = a.tensor().to_vec::<f32>();
    params.update_one(b.index(), |open| open.values::<f32>().fill(-1.0)).unwrap();
    assert_eq!(a.tensor().to_vec::<f32>(), before);
    let layout = params.layout();
    let ranges = layout.entries().iter().map(Entry::range);
    let lies: Vec<Vec<f32>> =
        params.update(|all| ranges.map(|r| all.all::<f32>()[r].to_vec()).collect()).unwrap();
    assert_eq!(lies, [before, vec![-1.0; 10]]);
}

#[test]
fn gradients_of_one_set_come_without_those_of_others() {
    let (params, a, b) = two_layers();
    let (other, c, d) = two_layers();
    let both = || loss(&a, &b) * loss(&c, &d);
    assert_eq!(both().reads(&params.layout()), [true, true]);
    assert_eq!(loss(&c, &d).reads(&params.layout()), [false, false]);
    assert_eq!((a.tensor() * c.tensor()).sum().reads(&other.layout()), [true, false]);
    let whole = both().backward();
    let mut seen = Vec::new();
    both().backward_each_of(&params.layout(), &mut |index, grad| {
        let want = whole.tensor(&params.layout(), index).unwrap();
        assert_eq!(grad.as_slice::<f32>(), want.to_vec::<f32>());
        seen.push(index);
    });
    assert_eq!(seen, [b.index(), a.index()]);
}

#[test]
fn a_parameter_is_free_when_its_gradient_comes() {
    let (mut params, a, b) = two_layers();
    let (layout, loss) = (params.layout(), loss(&a, &b));
    let mut opened = 0;
    loss.backward_each_of(&layout, &mut |index, _| {
        params.update_one(index, |_| opened += 1).unwrap();
    });
    assert_eq!(opened, 2);
}
