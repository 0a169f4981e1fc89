//! Rules that evaluate the loss several times in a step, over all parameters as one vector.

use std::ops::Range;
use std::sync::Arc;

use half::bf16;
use rappel_tensor::{ArenaLayout, DType, Grads, Params, Shape, Trained};

use crate::group::Group;
use crate::objective::Objective;
use crate::optimizer::Gradients;
use crate::vector::Vector;
use crate::{
    InvalidOption, MAX_NUMBERS, Now, OptimError, Optimizer, Recipe, StateDtype, StepReport,
};

/// Takes steps over one vector that holds all parameters.
pub trait Searching<A>: Send + Sync {
    /// Whether a step compares losses, so that gradients alone do not do.
    fn needs_loss(&self) -> bool;

    /// Takes a step.
    ///
    /// # Errors
    /// Those of `land`. Then the state is as it was.
    fn step(&mut self, now: &Now, land: &mut dyn Landscape<A>) -> Result<(), Halt>;

    /// The state.
    fn save(&self) -> SearchState<A>;

    /// Replaces the state by one of the same form.
    fn load(&mut self, state: SearchState<A>);
}

/// The loss over the vector of all parameters, and where they stand.
pub trait Landscape<A> {
    /// Where the parameters stand.
    fn read(&mut self) -> Result<Vector<A>, Halt>;

    /// Moves the parameters.
    fn go(&mut self, to: &[A]) -> Result<(), Halt>;

    /// The loss there, to make small, and its gradient, clipped already.
    fn evaluate(&mut self) -> Result<(f64, Vector<A>), Halt>;
}

/// Why a step was not taken.
pub enum Halt {
    /// The objective could not be evaluated; its own error tells.
    Objective,
    /// Loss or gradient is no number: a search may turn back.
    NotFinite(OptimError),
    /// Anything else.
    Error(OptimError),
}

impl<E: Into<OptimError>> From<E> for Halt {
    fn from(error: E) -> Self {
        match error.into() {
            error @ (OptimError::NonFiniteGradient { .. }
            | OptimError::NormOverflow { .. }
            | OptimError::NonFiniteLoss { .. }) => Self::NotFinite(error),
            error => Self::Error(error),
        }
    }
}

/// State of a search, by name.
pub struct SearchState<A> {
    /// Single numbers.
    pub numbers: Vec<(&'static str, f64)>,
    /// A number for each entry of the history.
    pub lists: Vec<(&'static str, Vec<f64>)>,
    /// Vectors as long as all parameters.
    pub vectors: Vec<(&'static str, Arc<Vector<A>>)>,
    /// A vector for each entry of the history.
    pub histories: Vec<(&'static str, Vec<Arc<Vector<A>>>)>,
}

/// A search in the type that steps are computed in.
pub enum Engine {
    /// Single precision.
    F32(Box<dyn Searching<f32>>),
    /// Double precision.
    F64(Box<dyn Searching<f64>>),
}

/// A search and the parameters that it is over.
pub(crate) struct Search {
    pub engine: Engine,
    pub places: Vec<Place>,
    pub dtype: DType,
}

/// A parameter's place in its arena and in the vector.
pub(crate) struct Place {
    pub name: String,
    pub shape: Shape,
    index: usize,
    arena: Range<usize>,
    pub vector: Range<usize>,
}

/// What of a recipe cannot be beside a rule that searches.
pub(crate) fn check_alone(recipe: &Recipe) -> Result<(), InvalidOption> {
    let mut plans = std::iter::once(&recipe.default).chain(recipe.groups.iter().map(|(_, p)| p));
    if !plans.any(|plan| plan.stepper.search(DType::F32, 0).is_some()) {
        return Ok(());
    }
    let plan = &recipe.default;
    let wrong = [
        ("groups", !recipe.groups.is_empty()),
        ("state_dtype", plan.state_dtype != StateDtype::Full),
        ("stochastic_rounding", plan.stochastic_rounding),
    ];
    let wrong = wrong.into_iter().find_map(|(option, wrong)| wrong.then_some(option));
    if let Some(option) = wrong.or(plan.modifiers.first()) {
        let reason = "cannot be beside a rule that searches over all parameters as one vector; leave \
                      it out";
        return Err(InvalidOption::new(option, reason));
    }
    Ok(())
}

impl Search {
    /// The search of the only group, where its rule is one.
    pub fn new(layout: &ArenaLayout, groups: &[Group]) -> Result<Option<Self>, OptimError> {
        let [Group { stepper, parts, .. }] = groups else { return Ok(None) };
        let dtype = parts[0].dtype;
        let mut places = Vec::new();
        let mut end = 0;
        for (index, entry) in layout.entries().iter().enumerate().filter(|(_, e)| e.trainable) {
            let vector = end..end + entry.shape.count();
            end = vector.end;
            let (name, shape, arena) = (entry.name.clone(), entry.shape, entry.range());
            places.push(Place { name, shape, index, arena, vector });
        }
        let Some(engine) = stepper.search(dtype.accumulator(), end) else { return Ok(None) };
        if parts.len() > 1 {
            return Err(OptimError::Mixed { group: None });
        }
        Ok(Some(Self { engine, places, dtype }))
    }

    fn needs_loss(&self) -> bool {
        match &self.engine {
            Engine::F32(search) => search.needs_loss(),
            Engine::F64(search) => search.needs_loss(),
        }
    }

    fn step(&mut self, now: &Now, field: Field<'_, '_>) -> Result<Gradients, Halt> {
        fn run<P: Trained>(
            search: &mut dyn Searching<P::Acc>,
            now: &Now,
            field: Field<'_, '_>,
        ) -> Result<Gradients, Halt> {
            let mut land = Typed::<P> { field, params: std::marker::PhantomData };
            let start = land.read()?;
            if let Err(halt) = search.step(now, &mut land) {
                // The first error tells; this one could only be the same.
                let _ = land.go(&start);
                return Err(halt);
            }
            Ok(land.field.first.expect("a search evaluates"))
        }
        let field = Field { places: &self.places, ..field };
        match (&mut self.engine, self.dtype) {
            (Engine::F64(search), _) => run::<f64>(&mut **search, now, field),
            (Engine::F32(search), DType::BF16) => run::<bf16>(&mut **search, now, field),
            (Engine::F32(search), _) => run::<f32>(&mut **search, now, field),
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
pub(crate) enum Source<'a> {
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
        let prepare = found.prepare.turned(self.field.maximize);
        self.field.first.get_or_insert(Gradients { loss: Some(loss), ..found });
        let layout = &optimizer.layout;
        let all = grads.all::<P::Acc>(layout, P::DTYPE);
        let mut flat = Vector::zeros(self.field.len());
        for place in self.field.places.iter().filter(|p| grads.is_filled(layout, p.index)) {
            let from = &all[place.arena.clone()];
            let each = |(to, g): (&mut P::Acc, &P::Acc)| *to = prepare.gradient(*g);
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

    /// A step of a rule that searches.
    pub(crate) fn search(
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
            let lr_factor = self.lr_factor(step);
            let now = Now { step, count: 0, lr_factor, numbers: [0.0; MAX_NUMBERS] };
            let now = self.groups[0].own(now);
            let optimizer = &*self;
            let (places, first) = (&[][..], None);
            let field = Field { source, optimizer, places, step, scale, maximize, first };
            search.step(&now, field)
        };
        self.search = Some(search);
        let Gradients { grad_norm, clip_coef, loss, .. } = stepped?;
        let members =
            self.groups.iter_mut().flat_map(|g| &mut g.parts).flat_map(|p| &mut p.members);
        members.for_each(|member| member.count += 1);
        Ok(StepReport { grad_norm, clip_coef, lr: self.lr(step), loss })
    }
}
