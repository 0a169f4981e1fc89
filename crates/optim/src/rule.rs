//! What a rule is: the paper's line, once.

use rappel_tensor::Real;

use crate::{InvalidOption, OptionSet, Schedule, Stepper};

/// Which step it is, for the numbers that change with it.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The optimizer step, counted from 0: where schedules stand.
    pub step: u64,
    /// How many updates these elements have had, this one included: 1 at the first. It corrects
    /// the bias of averages that began at zero.
    pub count: u64,
    /// What the run's schedule multiplies the learning rate by.
    pub lr_factor: f64,
    /// The numbers that the rule keeps beside the state ([`Rule::NUMBERS`]), as the update before
    /// left them.
    pub numbers: [f64; MAX_NUMBERS],
}

/// The most numbers that a rule keeps beside the state.
pub const MAX_NUMBERS: usize = 6;

impl Now {
    /// A hyperparameter's value.
    pub fn value(&self, scalar: &Schedule) -> f64 {
        scalar.at(self.step)
    }

    /// The learning rate's value, with the run's schedule.
    pub fn lr(&self, lr: &Schedule) -> f64 {
        lr.at(self.step) * self.lr_factor
    }

    /// `1 - beta^count`: the weight that an average of decay `beta` has gathered since zero.
    pub fn bias_correction(&self, beta: f64) -> f64 {
        1.0 - beta.powf(self.count as f64)
    }
}

/// An optimizer's name, options and how its formula runs; one for each entry of
/// [`OPTIMIZERS`](crate::OPTIMIZERS).
pub trait Algorithm: OptionSet {
    /// What takes its steps: [`elementwise`](crate::elementwise) of the rule, with as many slots of
    /// state as the options need, [`two_pass`](crate::two_pass) or [`whole`](crate::whole).
    fn stepper(&self) -> Box<dyn Stepper>;

    /// Checks the options against each other.
    ///
    /// # Errors
    /// [`InvalidOption`] for what cannot be.
    fn check(&self) -> Result<(), InvalidOption> {
        Ok(())
    }
}

/// An update rule that looks at one element at a time, with `S` numbers of state beside it.
///
/// The formula is written once, over [`Real`]. In training it runs on vector registers in one pass
/// over memory, the hyperparameters computed once per step. A type may be a rule for several `S`,
/// where options add state.
pub trait Rule<const S: usize>: OptionSet {
    /// The names of the state, as in PyTorch's `state_dict`.
    const STATE: [&'static str; S];
    /// Which of the state may be below zero: eight-bit codes are finer where they know.
    const SIGNED: [bool; S] = [true; S];
    /// Which of the state keeps full precision: see [`Slot::exact`](crate::Slot::exact).
    const EXACT: [bool; S] = [false; S];
    /// Numbers kept beside the state, at most [`MAX_NUMBERS`]: names and first values. What is a
    /// function of the step needs none; a product of values of a schedule does.
    const NUMBERS: &'static [(&'static str, f64)] = &[];
    /// The numbers that the formula needs, declared with [`scalars!`](crate::scalars).
    type Scalars: Lift;

    /// Where the rule trains one point and hands out another, their average.
    const AVERAGE: Option<Average> = None;

    /// The names of the state, where options decide what a slot holds.
    fn names(&self) -> [&'static str; S] {
        Self::STATE
    }

    /// Moves [`Now::numbers`] on, before [`scalars`](Rule::scalars) reads them.
    fn advance(&self, _now: &mut Now) {}

    /// Moves [`Now::numbers`] on after [`scalars`](Rule::scalars) has read them, for the next update.
    fn settle(&self, _now: &mut Now) {}

    /// What decoupled weight decay leaves of a parameter at a step, if the rule has it: cautious
    /// masks leave it alone.
    fn keep(&self, _now: &Now) -> f64 {
        1.0
    }

    /// These numbers for a step, in double precision.
    fn scalars(&self, now: &Now) -> Self::Scalars;

    /// The parameter `p` and its state after a step with gradient `g`.
    fn update<R: Real>(
        &self,
        scalars: &Lifted<Self::Scalars, R>,
        p: R,
        g: R,
        state: [R; S],
    ) -> (R, [R; S]);
}

/// Where a rule keeps what leads from the point `y` that it trains to the average `x` that it hands
/// out: `y = beta x + (1 - beta) z`.
#[derive(Debug, Clone, Copy)]
pub struct Average {
    /// The slot of `z`.
    pub z: usize,
    /// The number that is 1 while parameters are the average, else 0.
    pub mode: usize,
    /// The number that is `beta` as of the last update.
    pub beta: usize,
}

/// Numbers that can be put in every lane of another number type.
pub trait Lift: Copy + Send + Sync {
    /// The same numbers as `R`.
    type Of<R: Real>: Copy;
    /// Converts them.
    fn lift<R: Real>(&self) -> Self::Of<R>;
}

impl Lift for () {
    type Of<R: Real> = ();
    #[inline(always)]
    fn lift<R: Real>(&self) {}
}

impl<A: Lift, B: Lift> Lift for (A, B) {
    type Of<R: Real> = (A::Of<R>, B::Of<R>);
    #[inline(always)]
    fn lift<R: Real>(&self) -> Self::Of<R> {
        (self.0.lift(), self.1.lift())
    }
}

/// The numbers `L` as `R`.
pub type Lifted<L, R> = <L as Lift>::Of<R>;

/// Declares the numbers that a rule's formula needs: a struct generic over the number type, that a
/// step fills in with `f64` and the formula reads in its own.
#[macro_export]
macro_rules! scalars {
    ($(#[$outer:meta])* pub struct $name:ident { $($(#[$doc:meta])* $field:ident,)* }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name<R = f64> {
            $($(#[$doc])* pub $field: R,)*
        }

        impl $crate::Lift for $name {
            type Of<R: ::rappel_tensor::Real> = $name<R>;
            #[inline(always)]
            fn lift<R: ::rappel_tensor::Real>(&self) -> $name<R> {
                $name { $($field: R::of(self.$field),)* }
            }
        }
    };
}

/// PyTorch's `lerp`: `a + w (b - a)` where `w < 1/2`, else `b - (1 - w)(b - a)`, so that a weight
/// of 1 gives `b` itself whatever `a` is.
#[inline(always)]
pub fn lerp<R: Real>(a: R, b: R, w: R) -> R {
    let d = b - a;
    R::select(w.lt(R::of(0.5)), w.mul_add(d, a), b - d * (R::of(1.0) - w))
}
