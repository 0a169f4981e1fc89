//! What an optimizer takes of memory, counted before anything is allocated.

use rappel_tensor::{Entry, Params, Shape};

use super::group::group_of;
use crate::config::{OptimizerConfig, ParamGroup};
use crate::error::OptimError;

/// Elements whose copies a rule over whole tensors works on at a time; see `kernels::tensors`.
const TOGETHER: usize = 1 << 22;

/// Copies of them that such a rule makes at most, and of their state of other shapes.
const COPIES: usize = 16;
const STATE_COPIES: usize = 2;

/// Parameters of one shape that are taken to be there.
const ALIKE: usize = 8;

/// Vectors of all parameters that a search over them has beside its state: the points of a line search.
const POINTS: usize = 6;

/// Bytes that the optimizer of a config takes beside parameters and gradients.
///
/// ```
/// use rappel_optim::{AdamW, Footprint, OptimizerConfig};
/// use rappel_tensor::{Init, Params};
/// let mut params = Params::new(0);
/// params.scope("").add("w", [1000, 1000], Init::ONES);
/// let adamw = Footprint::of(&OptimizerConfig::new(AdamW::default()), &params)?;
/// assert_eq!(adamw, Footprint { state: 8_000_000, average: 0, working: 0 });
/// # Ok::<(), rappel_optim::OptimError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Footprint {
    /// State, exactly but for a search, whose history is counted full.
    pub state: usize,
    /// The average of the weights, and the parameters it stands in for during a validation.
    pub average: usize,
    /// What a step takes and gives back, at most.
    pub working: usize,
}

impl Footprint {
    /// That of the optimizer that [`Optimizer::new`](crate::Optimizer::new) would make. Allocates nothing.
    ///
    /// # Errors
    /// As there.
    pub fn of(config: &OptimizerConfig, params: &Params) -> Result<Self, OptimError> {
        config.check()?;
        let entries = params.entries();
        let group_of = group_of(&entries, &config.groups)?;
        let group = |of: usize| match of.checked_sub(1) {
            None => &config.default,
            Some(of) => &config.groups[of].1,
        };
        let trained = || entries.iter().zip(&group_of).filter(|(entry, _)| entry.trainable);
        let sum = |bytes: &dyn Fn(&ParamGroup, &Entry) -> usize| {
            trained().map(|(entry, of)| bytes(group(*of), entry)).fold(0, usize::saturating_add)
        };
        let copy = sum(&|_, entry| accumulated(entry.shape, entry));
        let copies = match &config.default {
            default if default.searches() => POINTS,
            // Parameters as they were before they went up, and the first gradients.
            _ if trained().any(|(_, of)| group(*of).wrappers.sam.is_some()) => 2,
            _ => 0,
        };
        let wholly = trained().map(|(entry, of)| working(group(*of), entry)).max().unwrap_or(0);
        let average = config.average.as_ref().map_or(0, |average| average.copies() + 1);
        Ok(Self {
            state: sum(&state),
            average: copy.saturating_mul(average),
            working: copy.saturating_mul(copies).saturating_add(wholly),
        })
    }
}

/// Bytes of one tensor of `shape` in the type that steps of a parameter are computed in.
fn accumulated(shape: Shape, entry: &Entry) -> usize {
    shape.count().saturating_mul(entry.dtype.accumulator().size())
}

/// Bytes of a parameter's state.
fn state(group: &ParamGroup, entry: &Entry) -> usize {
    let len = entry.shape.count();
    if group.searches() {
        return (len as f64 * group.stepper.state_bytes(entry.shape, entry.dtype)) as usize;
    }
    let slots: usize = group.kinds(entry.dtype, len).iter().map(|kind| kind.bytes(len)).sum();
    slots.saturating_add(of_other_shapes(group, entry))
}

/// Bytes of a parameter's state of other shapes, which only rules over whole tensors have.
fn of_other_shapes(group: &ParamGroup, entry: &Entry) -> usize {
    let tensors = group.stepper.tensors(entry.shape).into_iter();
    tensors.map(|(_, shape)| accumulated(shape, entry)).fold(0, usize::saturating_add)
}

/// Bytes that a rule over whole tensors computes with, where small ones of one shape go together.
fn working(group: &ParamGroup, entry: &Entry) -> usize {
    let state = of_other_shapes(group, entry);
    if state == 0 {
        return 0;
    }
    let len = entry.shape.count();
    let together = len.max(TOGETHER.min(len.saturating_mul(ALIKE)));
    let bytes = together.saturating_mul(entry.dtype.accumulator().size());
    COPIES.saturating_mul(bytes).saturating_add(STATE_COPIES.saturating_mul(state))
}
