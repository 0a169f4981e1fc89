//! Training with parameters in a second memory, all work falling back to the processor: the same
//! bits, and each value carried once.

use std::sync::Arc;

use super::*;
use crate::memory::Echo;
use crate::ops::{OPERATIONS, Sampler};
use crate::{Form, WeightLayout, linear, write_tensors};

fn model(device: Device) -> (Params, [Param; 3]) {
    let mut params = Params::new(3).on(device);
    params.set_form(|name, _| (name == "b.weight").then_some(Form::SpectralNorm));
    let a = params.scope("a").add("weight", [5, 3], Init::Normal { std: 1.0 });
    let bias = params.scope("a").add("bias", [5], Init::Uniform { bound: 1.0 });
    let b = params.scope("b").add("weight", [2, 5], Init::Uniform { bound: 0.5 });
    (params, [a, bias, b])
}

fn loss([a, bias, b]: &[Param; 3]) -> Tensor {
    let x = Tensor::linspace(-1.0, 1.0, 12, DType::F32).reshape([4, 3]);
    let hidden = linear(&x, &a.tensor(), Some(&bias.tensor()), WeightLayout::OutIn).tanh();
    linear(&hidden, &b.tensor(), None, WeightLayout::OutIn).square().sum()
}

/// Three steps down the gradient, and what they leave.
fn train(device: Device) -> (Vec<f32>, Vec<f64>, Params) {
    let (mut params, held) = model(device);
    let layout = params.layout();
    let mut norms = Vec::new();
    for _ in 0..3 {
        let mut grads = loss(&held).backward();
        loss(&held).backward_into(&mut grads);
        norms.push(grads.norm(&layout));
        let len = layout.trainable_len(DType::F32);
        params
            .update(|arenas| {
                let grads = grads.all::<f32>(&layout, DType::F32);
                let values = &mut arenas.all::<f32>()[..len];
                values.iter_mut().zip(grads).for_each(|(p, g)| *p -= 0.01 * g);
            })
            .unwrap();
        params.update_one(1, |open| open.values::<f32>()[2] += 0.5).unwrap();
        params.refresh().unwrap();
    }
    let values = params.tensors().iter().flat_map(|(_, x)| x.to_vec::<f32>()).collect();
    (values, norms, params)
}

#[test]
fn a_second_memory_changes_no_bit() {
    let (device, echo) = Echo::device();
    let (values, norms, params) = train(device);
    let (want, wanted_norms, plain) = train(Device::Cpu);
    assert_eq!((values, norms), (want, wanted_norms));
    assert!(echo.copies()[0] > 0);

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("params.safetensors");
    write_tensors(&path, plain.tensors(), &std::collections::BTreeMap::new()).unwrap();
    let (mut fresh, held) = model(device);
    fresh.load(&TensorFile::open(&path).unwrap()).unwrap();
    assert_eq!(loss(&held).item(), loss(&model_of(&params)).item());
}

fn model_of(params: &Params) -> [Param; 3] {
    let formed = read(&params.shared).formed[0].clone();
    let b = Param {
        shared: params.shared.clone(),
        index: formed.parts[0],
        formed: Some(Arc::new(formed)),
        apart: None,
    };
    [params.get("a.weight").unwrap(), params.get("a.bias").unwrap(), b]
}

#[test]
fn parameters_are_carried_once_a_step_and_changes_once_back() {
    let (device, echo) = Echo::device();
    let (mut params, [a, bias, _]) = model(device);
    params.layout();
    echo.copies();
    let read = || a.tensor().sum() + a.tensor().square().sum() + bias.tensor().sum();
    let grads = read().backward();
    // Two parameters came; gradients were cleared there, and came to be written.
    assert_eq!(echo.copies(), [0, 3]);
    let _ = (read(), grads.norm(&params.layout()));
    assert_eq!(echo.copies(), [0, 0]);
    params
        .update(|arenas| {
            arenas.all::<f32>()[0] = 1.0;
            arenas.all::<f32>()[1] = 2.0;
        })
        .unwrap();
    assert_eq!(echo.copies(), [1, 1]);
    assert_eq!(a.tensor().to_vec::<f32>()[..2], [1.0, 2.0]);
    assert_eq!(bias.tensor().to_vec::<f32>().len(), 5);
    assert_eq!(echo.copies(), [0, 2]);
    params.update_one(a.index(), |open| open.values::<f32>()[0] = 3.0).unwrap();
    assert_eq!(echo.copies(), [1, 1]);
    // The bias was not opened: its copy still holds.
    assert_eq!((a.tensor().to_vec::<f32>()[0], bias.tensor().count()), (3.0, 5));
    let _ = bias.tensor().to_vec::<f32>();
    assert_eq!(echo.copies(), [0, 1]);
    drop((params, a, bias, grads));
}

/// A copy of a tensor that lies on a device alone.
fn sent(x: &Tensor, device: Device) -> Tensor {
    let mut x = x.copied();
    Arc::get_mut(&mut x.buffer).unwrap().on_mut(device);
    x
}

#[test]
fn every_operation_serves_operands_of_any_memory() {
    let (device, echo) = Echo::device();
    for operation in OPERATIONS {
        for sample in (operation.samples)(&mut Sampler::new(Key::new(1).with_name(operation.name)))
        {
            let what = format!("{} ({})", operation.name, sample.what);
            let run = |inputs: &[Tensor]| {
                let leaves: Vec<Tensor> = inputs.iter().map(Tensor::requires_grad).collect();
                let y = (sample.function)(&leaves);
                let grads = y.square().sum().backward();
                let grads = leaves.iter().map(|x| grads.of(x).map(Tensor::to_f64_vec));
                (y.to_f64_vec(), grads.collect::<Vec<_>>())
            };
            let there: Vec<Tensor> = sample.inputs.iter().map(|x| sent(x, device)).collect();
            echo.copies();
            let found = run(&there);
            // Once each, however often an operation reads them.
            assert_eq!(echo.copies(), [0, there.len()], "{what}");
            let same = |a: &[f64], b: &[f64]| {
                a.iter().map(|x| x.to_bits()).eq(b.iter().map(|x| x.to_bits()))
            };
            let want = run(&sample.inputs);
            assert!(same(&found.0, &want.0), "{what}");
            for (found, want) in found.1.iter().zip(&want.1) {
                let empty = Vec::new();
                let [found, want] = [found, want].map(|x| x.as_ref().unwrap_or(&empty));
                assert!(same(found, want), "{what}: gradient");
            }
        }
    }
}
