//! A step that must not be taken says which tensor is at fault.

use std::path::Path;

use rappel_data::{Drawing, Order};
use rappel_optim::{Objective, Optimizer, Sgd};
use rappel_regularize::ActsOn;
use rappel_tensor::{DType, Grads, Init, Param, Tensor};

use super::*;
use crate::{Baseline, Metric, Observer, Pass, Show};

/// `mean(scale * weight)`, and a bias that the loss may leave out.
struct Toy {
    params: Params,
    weight: Param,
    bias: Param,
    scale: f64,
    with_bias: bool,
    order: Order,
}

impl Toy {
    fn new(scale: f64, with_bias: bool) -> Self {
        let mut params = Params::with_dtype(0, DType::F32);
        let weight = params.scope("net").add("weight", [3], Init::ONES);
        let bias = params.scope("net").add("bias", [3], Init::ONES);
        let drawing = Drawing { shuffle: false, ..Drawing::default() };
        let order = Order::new(300, 20.into(), drawing).unwrap();
        Self { params, weight, bias, scale, with_bias, order }
    }

    fn put(&mut self, index: usize, value: f32) {
        self.params.update(|arenas| arenas.all::<f32>()[index] = value).unwrap();
    }

    fn step(&mut self, step: u64, grads: &Grads) -> Result<(), TrainError> {
        let mut sgd = Optimizer::new(Sgd { lr: 0.1.into(), ..Sgd::default() }, &self.params)?;
        let stepped = sgd.step(step, &mut self.params, grads);
        stepped.map(|_| ()).map_err(|error| self.explain(step, error.into()))
    }

    /// A step that evaluates the loss itself.
    fn descend(&mut self, step: u64) -> Result<(), TrainError> {
        let mut sgd = Optimizer::new(Sgd { lr: 0.1.into(), ..Sgd::default() }, &self.params)?;
        let stepped = sgd.descend(step, self);
        stepped.map(|_| ()).map_err(|error| self.explain(step, error))
    }

    fn explain(&self, step: u64, error: TrainError) -> TrainError {
        let pass = |_| Pass::evaluation();
        explain(error, self, &StepBatch::new(self, &self.order, step, 1, pass))
    }

    fn grads(&self) -> (f64, Grads) {
        let loss = self.loss(&[], 3.0, &Pass::evaluation());
        (loss.item(), loss.backward())
    }
}

impl Objective for Toy {
    type Error = TrainError;

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }
    fn evaluate(&mut self) -> Result<(f64, Grads), TrainError> {
        Ok(self.grads())
    }
}

impl Task for Toy {
    fn params(&self) -> &Params {
        &self.params
    }
    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }
    fn samples(&self) -> usize {
        self.order.len()
    }
    fn fingerprint(&self) -> String {
        String::new()
    }
    fn describe(&self) -> String {
        String::new()
    }
    fn unit(&self) -> &'static str {
        "numbers"
    }
    fn units(&self, _: &mut dyn ExactSizeIterator<Item = usize>) -> usize {
        3
    }
    fn weight(&self, _: &mut dyn ExactSizeIterator<Item = usize>) -> f64 {
        3.0
    }
    fn honours(&self, _: ActsOn) -> Result<(), &'static str> {
        Ok(())
    }
    fn activation_bytes(&self, _: usize, _: bool) -> usize {
        0
    }
    fn loss(&self, _: &[usize], _: f64, _: &Pass) -> Tensor {
        let scaled = &self.weight.tensor() * self.scale;
        let bias = if self.with_bias { &scaled + &self.bias.tensor() } else { scaled };
        bias.mean()
    }
    fn metrics(&self) -> &'static [Metric] {
        &[]
    }
    fn validates(&self) -> bool {
        false
    }
    fn validate(&self) -> Option<Vec<f64>> {
        None
    }
    fn first_non_finite_activation(&self, _: &[usize], _: &Pass) -> Option<String> {
        let place = (&self.weight.tensor() * self.scale).first_non_finite()?;
        Some(format!("the product, at {place}"))
    }
    fn test(&self) -> Option<Vec<f64>> {
        None
    }

    fn protocol(&self) -> Option<String> {
        None
    }

    fn show(&self, _: &mut Show) -> Result<(), TrainError> {
        Ok(())
    }
    fn save(&self, _: &Path) -> Result<(), TrainError> {
        Ok(())
    }
    fn baseline(&self, _: &mut dyn Observer) -> Result<Option<Baseline>, TrainError> {
        Ok(None)
    }
    fn sample(&self, _: &mut dyn Observer) -> Result<Option<String>, TrainError> {
        Ok(None)
    }
}

const SAMPLES: &str = "the batch has the samples 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, \
     50, 51, 52, 53, 54, 55 and 4 more; lower the learning rate, or look at those samples";

#[test]
fn sound_steps_pass() {
    let mut toy = Toy::new(2.0, true);
    let (loss, grads) = toy.grads();
    assert_eq!(loss, 3.0);
    toy.step(0, &grads).unwrap();
    toy.descend(1).unwrap();
}

#[test]
fn parameters_without_a_gradient_are_named() {
    let mut toy = Toy::new(2.0, false);
    let grads = toy.grads().1;
    assert_eq!(
        toy.step(6, &grads).unwrap_err().to_string(),
        "step 7: no gradient came to the parameter net.bias; each trainable tensor must take part in \
         the loss: freeze what must not, or mend the model"
    );
}

#[test]
fn frozen_parameters_need_none() {
    let mut toy = Toy::new(2.0, false);
    toy.params.freeze(|name| name == "net.bias").unwrap();
    let grads = toy.grads().1;
    toy.step(0, &grads).unwrap();
}

#[test]
fn of_a_loss_that_is_no_number_the_first_cause_is_named() {
    let mut toy = Toy::new(f64::INFINITY, true);
    let message = |toy: &mut Toy| toy.descend(2).unwrap_err().to_string();
    assert_eq!(
        message(&mut toy),
        format!(
            "step 3: the loss is inf; the first non-finite tensor is the product, at 0; {SAMPLES}"
        )
    );
    let bias = toy.params.layout().entries()[1].offset;
    toy.put(bias + 2, f32::NAN);
    let told = message(&mut toy);
    assert!(told.contains("tensor is the parameter net.bias, at 2;"), "{told}");
}

#[test]
fn of_a_gradient_that_is_no_number_the_first_tensor_is_named() {
    let mut toy = Toy::new(2.0, true);
    let layout = toy.params.layout();
    let (_, mut grads) = toy.grads();
    let bias = layout.entries()[1].offset;
    grads.all_mut::<f32>(&layout, DType::F32)[bias + 1] = f32::NEG_INFINITY;
    assert_eq!(
        toy.step(2, &grads).unwrap_err().to_string(),
        format!(
            "step 3: the gradient is not finite; the first non-finite tensor is the gradient of \
             net.bias, -inf at 1; {SAMPLES}"
        )
    );
    let values: Vec<f32> = toy.weight.tensor().to_vec();
    assert_eq!(values, [1.0; 3], "the step was not taken");
}
