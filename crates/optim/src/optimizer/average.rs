//! Rules that train one point and hand out another, the average: between the two.

use std::sync::Arc;

use rappel_tensor::{Arenas, Key, Memory, Params};

use super::averaging::WeightAverage;
use super::core::Optimizer;
use super::group::{Part, merged};
use crate::context::StepContext;
use crate::error::OptimError;
use crate::kernels::{GradTransform, Mode, StepArgs, Stepper};

impl Optimizer {
    /// Makes parameters the average: the config's, or that of rules such as Schedule-Free: to
    /// evaluate, and to keep. Nothing happens where there is none, nor a second time.
    ///
    /// A rule's own average is computed from parameters and state, so there and back leaves rounding
    /// in the parameters, and nothing else; the config's leaves nothing. State that is saved meanwhile says so, and a step is an error
    /// until [`train`](Optimizer::train).
    ///
    /// # Errors
    /// [`ParamsError::InUse`](rappel_tensor::ParamsError::InUse) while a graph holds parameters,
    /// [`OptimError::OtherParams`]. Then parameters and state are unchanged.
    pub fn eval(&mut self, params: &mut Params) -> Result<(), OptimError> {
        self.turn(params, Mode::Eval)
    }

    /// Makes parameters the point again that is trained: the way back from
    /// [`eval`](Optimizer::eval).
    ///
    /// # Errors
    /// As [`eval`](Optimizer::eval).
    pub fn train(&mut self, params: &mut Params) -> Result<(), OptimError> {
        self.turn(params, Mode::Train)
    }

    /// Whether parameters are an average: what [`eval`](Optimizer::eval) makes of them where a rule
    /// has one.
    pub fn evaluates(&self) -> bool {
        self.average.as_ref().is_some_and(WeightAverage::is_out)
            || self.groups.iter().any(|group| {
                let averaged = |number: usize| {
                    let mut members = group.parts.iter().flat_map(|part| &part.members);
                    members.any(|member| member.numbers[number] != 0.0)
                };
                group.stepper.mode().is_some_and(averaged)
            })
    }

    fn turn(&mut self, params: &mut Params, to: Mode) -> Result<(), OptimError> {
        if !Arc::ptr_eq(&self.layout, &params.layout()) {
            return Err(OptimError::OtherParams);
        }
        match (&mut self.average, to) {
            (Some(average), Mode::Eval) => average.hand_out(params)?,
            (Some(average), Mode::Train) => average.take_back(params)?,
            (None, _) => {}
        }
        if self.groups.iter().all(|group| group.stepper.mode().is_none()) {
            return Ok(());
        }
        let key = Key::new(self.seed).with_name("turn");
        params.update(|arenas| {
            for (i, group) in self.groups.iter_mut().enumerate() {
                let Some(number) = group.stepper.mode() else { continue };
                for (k, part) in group.parts.iter_mut().enumerate() {
                    let key = key.with(i as u64).with(k as u64).with(u64::from(to == Mode::Eval));
                    let rounding = group.stochastic_rounding.then_some(key);
                    part.turn(&*group.stepper, (number, to), arenas, rounding);
                }
            }
        })?;
        Ok(())
    }
}

impl Part {
    /// Moves the members that are not there yet, those of one history together.
    fn turn(
        &mut self,
        stepper: &dyn Stepper,
        (number, to): (usize, Mode),
        arenas: &mut Arenas<'_>,
        rounding: Option<Key>,
    ) {
        let wanted = if to == Mode::Eval { 1.0 } else { 0.0 };
        let mut clusters: Vec<Vec<usize>> = Vec::new();
        for (k, member) in self.members.iter().enumerate() {
            if member.numbers[number] == wanted {
                continue;
            }
            let alike = |c: &&mut Vec<usize>| {
                let other = &self.members[c[0]];
                member.count == other.count && member.numbers == other.numbers
            };
            match clusters.iter_mut().find(alike) {
                Some(cluster) => cluster.push(k),
                None => clusters.push(vec![k]),
            }
        }
        for picked in clusters {
            for k in &picked {
                self.members[*k].numbers[number] = wanted;
            }
            let first = &self.members[picked[0]];
            let context = StepContext {
                count: first.count,
                numbers: first.numbers,
                ..StepContext::new(0, 1.0)
            };
            // What has had no update is its own average.
            if context.count > 0 {
                let runs = merged(&self.members, picked.iter().copied());
                let memory = Memory::of_arenas(arenas, self.dtype, None, &mut self.state);
                let (members, picked) = (&mut self.members[..], &picked[..]);
                let rounding = rounding.map(|key| key.with(context.count));
                let (grads, runs) = (GradTransform::NOTHING, &runs);
                let args = StepArgs { context, grads, rounding, memory, runs, members, picked };
                stepper.turn(args, to);
            }
        }
    }
}
