//! Sharpness-aware steps: gradients taken where the loss is worst close by.

use half::bf16;
use rappel_tensor::{Arenas, DType, Element, Grads, Params, Trained};
use rayon::prelude::*;

use super::core::Optimizer;
use super::group::{Group, Part};
use crate::error::OptimError;
use crate::kernels::Member;
use crate::kernels::vector::{PIECE, sum};
use crate::wrappers::Sam;

/// What keeps the norm from 0.
const EPS: f64 = 1e-12;

/// Parameters as they were before they went up.
pub(crate) struct Ascent {
    f32: Vec<f32>,
    f64: Vec<f64>,
    bf16: Vec<bf16>,
}

impl Ascent {
    fn of(arenas: &mut Arenas<'_>) -> Self {
        fn trained<T: Element>(arenas: &mut Arenas<'_>) -> Vec<T> {
            let len = arenas.layout().trainable_len(T::DTYPE);
            arenas.all::<T>()[..len].to_vec()
        }
        Self { f32: trained(arenas), f64: trained(arenas), bf16: trained(arenas) }
    }

    /// Brings the parameters back, bit for bit.
    pub fn undo(self, params: &mut Params) -> Result<(), OptimError> {
        params.update(|arenas| {
            arenas.all::<f32>()[..self.f32.len()].copy_from_slice(&self.f32);
            arenas.all::<f64>()[..self.f64.len()].copy_from_slice(&self.f64);
            arenas.all::<bf16>()[..self.bf16.len()].copy_from_slice(&self.bf16);
        })?;
        Ok(())
    }
}

impl Optimizer {
    /// Moves the parameters to where sharpness-aware groups want their gradients taken; `None` where
    /// no group does.
    pub(crate) fn ascend(
        &self,
        step: u64,
        params: &mut Params,
        grads: &Grads,
    ) -> Result<Option<Ascent>, OptimError> {
        if self.groups.iter().all(|group| group.wrappers.sam.is_none()) {
            return Ok(None);
        }
        if !std::sync::Arc::ptr_eq(&self.layout, &params.layout()) {
            return Err(OptimError::OtherParams);
        }
        self.gradients(step, grads, 1.0)?;
        let ascent = params.update(|arenas| {
            let before = Ascent::of(arenas);
            let square: f64 = self.sharp().map(|(g, sam)| g.square(sam, arenas, grads)).sum();
            let norm = square.sqrt() + EPS;
            for (group, sam) in self.sharp() {
                let rho =
                    if group.stepper.maximize() { -sam.rho.at(step) } else { sam.rho.at(step) };
                group.ascend(sam, rho / norm, arenas, grads);
            }
            before
        })?;
        Ok(Some(ascent))
    }

    fn sharp(&self) -> impl Iterator<Item = (&Group, &Sam)> {
        self.groups.iter().filter_map(|group| Some((group, group.wrappers.sam.as_ref()?)))
    }
}

/// Runs `$body` for each part of a group with `$P` standing for the type of its parameters.
macro_rules! each_part {
    ($group:expr, $part:ident, $P:ident => $body:expr) => {
        $group.parts.iter().map(|$part| match $part.dtype {
            DType::F32 => {
                type $P = f32;
                $body
            }
            DType::F64 => {
                type $P = f64;
                $body
            }
            _ => {
                type $P = bf16;
                $body
            }
        })
    };
}

impl Group {
    /// The square of the norm of the gradients, weighed by the parameters where `sam` is adaptive.
    fn square(&self, sam: &Sam, arenas: &mut Arenas<'_>, grads: &Grads) -> f64 {
        each_part!(self, part, P => part.square::<P>(sam, arenas, grads)).sum()
    }

    fn ascend(&self, sam: &Sam, scale: f64, arenas: &mut Arenas<'_>, grads: &Grads) {
        each_part!(self, part, P => part.ascend::<P>(sam, scale, arenas, grads)).for_each(drop);
    }
}

impl Part {
    /// The members with gradients.
    fn filled<'a>(
        &'a self,
        arenas: &Arenas<'_>,
        grads: &'a Grads,
    ) -> impl Iterator<Item = &'a Member> {
        let layout = arenas.layout();
        self.members.iter().filter(move |member| grads.is_filled(&layout, member.index))
    }

    fn square<P: Trained>(&self, sam: &Sam, arenas: &mut Arenas<'_>, grads: &Grads) -> f64 {
        let all = grads.all::<P::Acc>(&arenas.layout(), P::DTYPE);
        let weigh = |p: f64, g: f64| if sam.adaptive { p * g } else { g };
        let filled: Vec<_> = self.filled(arenas, grads).collect();
        let of = |member: &Member| {
            let range = member.run.param..member.run.param + member.run.len;
            sum(&arenas.all::<P>()[range.clone()], &all[range], |p, g| weigh(p, g).powi(2))
        };
        filled.into_iter().map(of).sum()
    }

    fn ascend<P: Trained>(&self, sam: &Sam, scale: f64, arenas: &mut Arenas<'_>, grads: &Grads) {
        let all = grads.all::<P::Acc>(&arenas.layout(), P::DTYPE);
        let filled: Vec<_> = self.filled(arenas, grads).collect();
        for member in filled {
            let range = member.run.param..member.run.param + member.run.len;
            let up = |(p, g): (&mut P, &P::Acc)| {
                let x = p.to_f64();
                let weight = if sam.adaptive { x * x } else { 1.0 };
                *p = P::from_f64(x + weight * g.to_f64() * scale);
            };
            let params = arenas.all::<P>()[range.clone()].par_iter_mut().with_min_len(PIECE);
            params.zip(&all[range]).for_each(up);
        }
    }
}
