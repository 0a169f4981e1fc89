//! Steps of rules that evaluate the loss themselves, over all parameters as one vector.

use std::sync::Arc;

use half::bf16;
use rappel_tensor::{DType, Grads, Params, Trained};

use super::core::{Gradients, Optimizer, StepReport};
use super::objective::Objective;
use super::search::{Place, Search};
use crate::context::StepContext;
use crate::error::OptimError;
use crate::kernels::vector::Vector;
use crate::kernels::{Engine, Halt, Landscape, Searching};

impl Search {
    fn step(&mut self, t: &StepContext, field: Field<'_, '_>) -> Result<Gradients, Halt> {
        fn run<P: Trained>(
            search: &mut dyn Searching<P::Acc>,
            t: &StepContext,
            field: Field<'_, '_>,
        ) -> Result<Gradients, Halt> {
            let mut land = Typed::<P> { field, params: std::marker::PhantomData };
            let start = land.read()?;
            if let Err(halt) = search.step(t, &mut land) {
                // The first error tells; this one could only be the same.
                let _ = land.go(&start);
                return Err(halt);
            }
            Ok(land.field.first.expect("a search evaluates"))
        }
        let field = Field { places: &self.places, ..field };
        match (&mut self.engine, self.dtype) {
            (Engine::F64(search), _) => run::<f64>(&mut **search, t, field),
            (Engine::F32(search), DType::BF16) => run::<bf16>(&mut **search, t, field),
            (Engine::F32(search), _) => run::<f32>(&mut **search, t, field),
        }
    }
}

/// An [`Objective`] whose errors are kept elsewhere.
trait Evaluate {
    fn params_mut(&mut self) -> &mut Params;
    fn evaluate(&mut self) -> Result<(f64, Grads), Halt>;
}

struct Kept<'a, O: Objective + ?Sized> {
    objective: &'a mut O,
    error: Option<O::Error>,
}

impl<O: Objective + ?Sized> Evaluate for Kept<'_, O> {
    fn params_mut(&mut self) -> &mut Params {
        self.objective.params_mut()
    }

    fn evaluate(&mut self) -> Result<(f64, Grads), Halt> {
        self.objective.evaluate().map_err(|error| {
            self.error = Some(error);
            Halt::Objective
        })
    }
}

/// Where loss and gradients come from.
pub(super) enum Source<'a> {
    #[allow(private_interfaces)]
    Objective(&'a mut dyn Evaluate),
    /// The same gradients wherever the parameters stand, and a loss of 0.
    Constant { params: &'a mut Params, grads: &'a Grads },
}

impl Source<'_> {
    /// What `step` makes of an objective.
    pub fn of<O: Objective + ?Sized>(
        objective: &mut O,
        step: impl FnOnce(Source<'_>) -> Result<StepReport, Halt>,
    ) -> Result<StepReport, O::Error> {
        let mut kept = Kept { objective, error: None };
        let stepped = step(Source::Objective(&mut kept));
        stepped.map_err(|halt| match (halt, kept.error) {
            (Halt::NotFinite(error) | Halt::Error(error), _) => error.into(),
            (Halt::Objective, error) => error.expect("kept before"),
        })
    }

    fn params_mut(&mut self) -> &mut Params {
        match self {
            Self::Objective(objective) => objective.params_mut(),
            Self::Constant { params, .. } => params,
        }
    }
}

/// The loss over the parameters of an optimizer.
struct Field<'a, 's> {
    source: Source<'s>,
    optimizer: &'a Optimizer,
    places: &'a [Place],
    step: u64,
    scale: f64,
    maximize: bool,
    /// The first evaluation.
    first: Option<Gradients>,
}

impl Field<'_, '_> {
    /// Numbers in all parameters.
    fn len(&self) -> usize {
        self.places.last().map_or(0, |place| place.vector.end)
    }
}

struct Typed<'a, 's, P> {
    field: Field<'a, 's>,
    params: std::marker::PhantomData<P>,
}

impl<P: Trained> Typed<'_, '_, P> {
    /// The gradients as the search sees them.
    fn flat(&mut self, loss: f64, grads: &Grads) -> Result<(f64, Vector<P::Acc>), Halt> {
        let Field { optimizer, step, scale, .. } = self.field;
        optimizer.check_loss(step, loss)?;
        let found = optimizer.gradients(step, grads, scale)?;
        let loss = if self.field.maximize { -loss } else { loss };
        let transform = found.transform.turned(self.field.maximize);
        self.field.first.get_or_insert(Gradients { loss: Some(loss), ..found });
        let layout = &optimizer.layout;
        let all = grads.all::<P::Acc>(layout, P::DTYPE);
        let mut flat = Vector::zeros(self.field.len());
        for place in self.field.places.iter().filter(|p| grads.is_filled(layout, p.index)) {
            let from = &all[place.arena.clone()];
            let each = |(to, g): (&mut P::Acc, &P::Acc)| *to = transform.of(*g);
            flat[place.vector.clone()].iter_mut().zip(from).for_each(each);
        }
        Ok((loss, flat))
    }
}

impl<P: Trained> Landscape<P::Acc> for Typed<'_, '_, P> {
    fn read(&mut self) -> Result<Vector<P::Acc>, Halt> {
        let places = self.field.places;
        let mut flat = Vector::zeros(self.field.len());
        self.field.source.params_mut().update(|arenas| {
            let all = arenas.all::<P>();
            for place in places {
                P::load(&all[place.arena.clone()], &mut flat[place.vector.clone()]);
            }
        })?;
        Ok(flat)
    }

    fn go(&mut self, to: &[P::Acc]) -> Result<(), Halt> {
        let places = self.field.places;
        self.field.source.params_mut().update(|arenas| {
            let all = arenas.all::<P>();
            for place in places {
                P::store(&to[place.vector.clone()], &mut all[place.arena.clone()], None, 0);
            }
        })?;
        Ok(())
    }

    fn evaluate(&mut self) -> Result<(f64, Vector<P::Acc>), Halt> {
        match &mut self.field.source {
            Source::Constant { grads, .. } => {
                let grads = *grads;
                self.flat(0.0, grads)
            }
            Source::Objective(objective) => {
                let (loss, grads) = objective.evaluate()?;
                self.flat(loss, &grads)
            }
        }
    }
}

impl Optimizer {
    /// Whether steps search, so that they evaluate the loss several times.
    pub fn searches(&self) -> bool {
        self.search.is_some()
    }

    /// A step of a rule that searches, with the same gradients wherever it looks.
    pub(super) fn search_constant(
        &mut self,
        step: u64,
        params: &mut Params,
        grads: &Grads,
        scale: f64,
    ) -> Result<StepReport, OptimError> {
        let source = Source::Constant { params: &mut *params, grads };
        let report = self.search(step, source, scale).map_err(|halt| match halt {
            Halt::NotFinite(error) | Halt::Error(error) => error,
            Halt::Objective => unreachable!("there is none"),
        })?;
        self.end_step(step, params)?;
        Ok(report)
    }

    /// A step of a rule that searches.
    pub(super) fn search(
        &mut self,
        step: u64,
        mut source: Source<'_>,
        scale: f64,
    ) -> Result<StepReport, Halt> {
        if !Arc::ptr_eq(&self.layout, &source.params_mut().layout()) {
            return Err(OptimError::OtherParams.into());
        }
        let mut search = self.search.take().expect("only called where there is one");
        let stepped = if matches!(source, Source::Constant { .. }) && search.needs_loss() {
            Err(OptimError::NeedsLoss { what: "a line search compares losses" }.into())
        } else {
            let maximize = self.groups[0].stepper.maximize();
            let context = self.groups[0].context(step);
            let optimizer = &*self;
            let (places, first) = (&[][..], None);
            let field = Field { source, optimizer, places, step, scale, maximize, first };
            search.step(&context, field)
        };
        self.search = Some(search);
        let Gradients { grad_norm, clip_coef, loss, .. } = stepped?;
        let members =
            self.groups.iter_mut().flat_map(|g| &mut g.parts).flat_map(|p| &mut p.members);
        members.for_each(|member| member.count += 1);
        Ok(StepReport { grad_norm, clip_coef, lr: self.lr(step), loss })
    }
}
