//! Parameters and their gradients, in flat arenas.
//!
//! All parameters of one type lie one after another in one buffer, trainable ones first, each on a
//! cache line's boundary. Gradients and optimizer state use the same positions, so that a step is
//! one walk over memory whatever the number of tensors.

mod apart;
mod form;
mod grads;
mod init;
mod layout;
mod low_rank;
#[allow(unsafe_code)]
mod open;
mod row_grad;
mod running;
mod scope;
mod stream;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::autograd::{Kind, Node, read_param};
use crate::device::Device;
use crate::dtype::DType;
use crate::memory::Buffer;
use crate::quantized::Weight;
use crate::random::Key;
use crate::shape::{Layout, Shape};
use crate::storage::{StorageError, TensorFile};
use crate::tensor::Tensor;
use crate::{WeightLayout, with_float};

pub use apart::MatrixUse;
use apart::{Apart, ChooseApart};
pub use form::Form;
use form::{Choose, Formed};
pub(crate) use grads::GradStore;
pub use grads::Grads;
pub use init::Init;
pub use layout::{ArenaLayout, Entry};
pub(crate) use layout::{FLOATS, Slot, float_index};
pub use low_rank::{Adapted, LowRank};
pub use open::{Arenas, OpenParam};
pub use running::Running;
pub use scope::Scope;
pub(crate) use stream::Streamed;

/// What can go wrong with a whole set of parameters.
#[derive(Debug, thiserror::Error)]
pub enum ParamsError {
    /// A step was asked for while tensors still read the parameters.
    #[error(
        "parameters are in use: drop every graph and every tensor made from them before the step"
    )]
    InUse,
    /// The set of parameters was changed after it was first read.
    #[error("parameter `{name}`: the set is fixed once a value was read; change it before")]
    Fixed {
        /// The parameter's name.
        name: String,
    },
    /// A file of tensors could not be read or written, or does not fit.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The parameters of a model: names, shapes, values.
///
/// Layers register theirs through a [`Scope`]; nothing is allocated until a value is first read,
/// and initial values are a pure function of the seed and each parameter's name.
///
/// ```
/// use rappel_tensor::{Init, Params};
/// let mut params = Params::new(42);
/// let weight = params.scope("net").add("weight", [2, 3], Init::Normal { std: 0.02 });
/// assert_eq!(weight.tensor().shape().to_string(), "[2, 3]");
/// assert_eq!(params.names(), ["net.weight"]);
/// ```
pub struct Params {
    shared: Arc<RwLock<State>>,
}

struct State {
    seed: u64,
    dtype: DType,
    device: Device,
    entries: Vec<Entry>,
    /// Which weights have a form, and those that have one.
    choose: Option<Choose>,
    /// Which weights of linear layers have one of a low rank.
    adapt: Option<Choose>,
    formed: Vec<Formed>,
    /// Which weights are kept apart, and those that are.
    apart: Option<ChooseApart>,
    kept_apart: Vec<Arc<Apart>>,
    /// Positions of numbers that passes move, and the moves that are to be made.
    running: Vec<(usize, running::Moves)>,
    built: Option<Built>,
}

struct Built {
    layout: Arc<ArenaLayout>,
    arenas: [Option<Arc<Buffer>>; FLOATS],
    /// Each parameter's part of its arena. All views of a parameter share its window, so that a
    /// window with one owner is a parameter that nobody reads.
    windows: Vec<Arc<Buffer>>,
    nodes: Vec<Arc<Node>>,
}

/// A layer's hold on one parameter. Cloning shares it, as tied weights do.
#[derive(Clone)]
pub struct Param {
    shared: Arc<RwLock<State>>,
    index: usize,
    /// What it is computed from, where it is not stored.
    formed: Option<Arc<Formed>>,
    /// Where it is, when it is kept apart.
    apart: Option<Arc<Apart>>,
}

/// What they are, not their values.
impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let state = read(&self.shared);
        f.debug_struct("Params")
            .field("seed", &state.seed)
            .field("dtype", &state.dtype)
            .field("device", &state.device)
            .field("entries", &state.entries)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Built {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Built").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (name, shape) = (self.name(), self.shape());
        f.debug_struct("Param").field("name", &name).field("shape", &shape).finish_non_exhaustive()
    }
}

/// What a layer uses a parameter for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The matrix of a linear layer.
    Linear(WeightLayout),
    /// Rows that are looked up.
    Table,
    /// Anything else.
    Other,
}

fn read(shared: &RwLock<State>) -> RwLockReadGuard<'_, State> {
    shared.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shared: &RwLock<State>) -> RwLockWriteGuard<'_, State> {
    shared.write().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Lays the arenas out and fills them with initial values, once.
    fn build(&mut self) -> &mut Built {
        if self.built.is_none() {
            let layout = Arc::new(ArenaLayout::new(std::mem::take(&mut self.entries), self.device));
            let arenas = std::array::from_fn(|i| {
                let dtype = layout::dtype_of(i);
                let bytes = layout.arena_len(i) * dtype.size();
                let some = layout.entries().iter().any(|entry| entry.dtype == dtype);
                some.then(|| Arc::new(Buffer::zeroed(bytes)))
            });
            let slot = |index| Slot { layout: layout.clone(), index };
            let nodes = (0..layout.entries().len()).map(|i| Node::new(Kind::Param(slot(i))));
            let mut built = Built { nodes: nodes.collect(), layout, arenas, windows: Vec::new() };
            built.initialise(self.seed);
            built.move_to(self.device);
            built.windows = open::windows(&built.layout, &built.arenas);
            self.formed.iter().for_each(|formed| formed.complete(&mut built));
            self.built = Some(built);
        }
        self.built.as_mut().expect("just built")
    }

    fn entries(&self) -> &[Entry] {
        self.built.as_ref().map_or(&self.entries, |built| built.layout.entries())
    }
}

impl Built {
    fn initialise(&mut self, seed: u64) {
        for entry in self.layout.entries() {
            let key = Key::new(seed).with_name("init").with_name(&entry.drawn_as);
            let arena = self.arenas[float_index(entry.dtype)].as_mut().expect("holds the entry");
            let buffer = Arc::get_mut(arena).expect("nobody read it yet");
            with_float!(entry.dtype, "init", T => {
                let all = buffer.as_slice_mut::<T>();
                entry.init.fill(&mut all[entry.range()], key);
            });
        }
    }

    fn move_to(&mut self, device: Device) {
        for arena in self.arenas.iter_mut().flatten() {
            Arc::get_mut(arena).expect("nobody read it yet").on_mut(device);
        }
    }

    fn view(&self, index: usize) -> Tensor {
        let entry = &self.layout.entries()[index];
        let (buffer, layout) = (self.windows[index].clone(), Layout::contiguous(entry.shape));
        Tensor { buffer, layout, dtype: entry.dtype, node: None }
    }
}

impl Param {
    /// The value, as a view that must be gone before the next step. Gradients flow to it where the
    /// parameter is trainable.
    pub fn tensor(&self) -> Tensor {
        if let Some(formed) = &self.formed {
            return formed.weight(|index| self.part(formed, index).tensor());
        }
        if let Some(apart) = &self.apart {
            return apart.weight().tensor();
        }
        let state = read(&self.shared);
        let Some(built) = &state.built else {
            drop(state);
            write(&self.shared).build();
            return self.tensor();
        };
        let node = built.layout.entries()[self.index].trainable;
        let node = if node { read_param(&built.nodes[self.index]) } else { None };
        Tensor { node, ..built.view(self.index) }
    }

    /// The parts of a weight that has the form of a low rank, for a layer that multiplies by them one after another.
    pub fn adapted(&self) -> Option<Adapted> {
        let formed = self.formed.as_ref()?;
        let Form::LowRank(form) = formed.form else { return None };
        let part = |index| self.part(formed, index).tensor();
        let [weight, a, b, magnitude] = formed.parts;
        let magnitude = form.magnitude.then(|| part(magnitude));
        let weight = self.part(formed, weight).weight();
        Some(Adapted { form, weight, a: part(a), b: part(b), magnitude })
    }

    /// The value as a layer multiplies by it: of a weight that is kept apart, how it is stored.
    pub fn weight(&self) -> Weight {
        match (&self.formed, &self.apart) {
            (None, Some(apart)) => apart.weight(),
            _ => Weight::Dense(self.tensor()),
        }
    }

    /// A part of what this is computed from.
    fn part(&self, formed: &Formed, index: usize) -> Self {
        let apart = formed.apart.clone().filter(|_| index == form::APART);
        Self { shared: self.shared.clone(), index, formed: None, apart }
    }

    /// The sizes of the dimensions.
    pub fn shape(&self) -> Shape {
        match &self.apart {
            Some(apart) => apart.shape,
            None => read(&self.shared).entries()[self.index].shape,
        }
    }

    /// The position in the [`Params`]; of what is computed from several, that of one of them.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The full name.
    pub fn name(&self) -> String {
        match &self.apart {
            Some(apart) => apart.name.clone(),
            None => read(&self.shared).entries()[self.index].name.clone(),
        }
    }
}

impl Params {
    /// An empty set of single-precision parameters, initialised from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with_dtype(seed, DType::F32)
    }

    /// An empty set whose parameters are of `dtype` unless a scope says otherwise.
    ///
    /// # Panics
    /// Where `dtype` is not a floating-point type.
    #[track_caller]
    pub fn with_dtype(seed: u64, dtype: DType) -> Self {
        assert!(dtype.is_float(), "params: {dtype} cannot be trained");
        let state = State {
            seed,
            dtype,
            device: Device::default(),
            entries: Vec::new(),
            choose: None,
            adapt: None,
            formed: Vec::new(),
            apart: None,
            kept_apart: Vec::new(),
            running: Vec::new(),
            built: None,
        };
        Self { shared: Arc::new(RwLock::new(state)) }
    }

    /// The same set, whose values will lie on `device`, and with them gradients and whatever is
    /// computed from both. Initial values do not depend on it.
    ///
    /// ```
    /// use rappel_tensor::{Device, Init, Params};
    /// let mut params = Params::new(0).on(Device::Cpu);
    /// let w = params.scope("").add("w", [2], Init::ONES);
    /// assert_eq!(w.tensor().to_vec::<f32>(), [1.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// Once a value was read.
    #[track_caller]
    #[must_use]
    pub fn on(self, device: Device) -> Self {
        let mut state = write(&self.shared);
        assert!(state.built.is_none(), "params: the device comes after a value was read");
        state.device = device;
        drop(state);
        self
    }

    /// Where the parameters of the layer `name` are registered; `""` for the top.
    pub fn scope(&mut self, name: &str) -> Scope<'_> {
        let dtype = read(&self.shared).dtype;
        Scope::new(self, name.to_owned(), dtype)
    }

    #[track_caller]
    fn register(&mut self, entry: Entry, role: Role) -> Param {
        let mut state = write(&self.shared);
        assert!(state.built.is_none(), "params: `{}` comes after a value was read", entry.name);
        let taken = state.entries.iter().any(|other| other.name == entry.name)
            || state.formed.iter().any(|other| other.name == entry.name)
            || state.kept_apart.iter().any(|other| other.name == entry.name);
        assert!(!taken, "params: `{}` is registered already", entry.name);
        let used = match role {
            Role::Linear(_) => Some(MatrixUse::Linear),
            Role::Table => Some(MatrixUse::Table),
            Role::Other => None,
        };
        let is_apart =
            state.apart.as_ref().zip(used).is_some_and(|(choose, used)| choose(&entry.name, used));
        let apart =
            is_apart.then(|| Arc::new(Apart::new(entry.name.clone(), entry.shape, entry.dtype)));
        state.kept_apart.extend(apart.clone());
        let ask = |choose: &Choose| choose(&entry.name, entry.shape);
        let has_form = entry.shape.rank() >= 2 && !is_apart;
        let form = state.choose.as_ref().filter(|_| has_form).and_then(ask);
        let form = form.or_else(|| {
            let Role::Linear(layout) = role else { return None };
            match ask(state.adapt.as_ref()?)? {
                Form::LowRank(form) => Some(Form::LowRank(LowRank { layout, ..form })),
                other => Some(other),
            }
        });
        let shared = self.shared.clone();
        let Some(form) = form else {
            if apart.is_some() {
                return Param { shared, index: form::APART, formed: None, apart };
            }
            state.entries.push(entry);
            let index = state.entries.len() - 1;
            return Param { shared, index, formed: None, apart };
        };
        let (scope, last) = entry.name.rsplit_once('.').unwrap_or(("", &entry.name));
        let scope = if scope.is_empty() { String::new() } else { format!("{scope}.") };
        let (mut parts, mut index) = ([0; 4], None);
        for (i, part) in form.parts(last, entry.shape, entry.init).into_iter().enumerate() {
            if part.is_weight && is_apart {
                parts[i] = form::APART;
                continue;
            }
            let name = format!("{scope}{}", part.name);
            // What is added to weights of half precision is small: it is trained in single.
            let dtype = if part.is_weight { entry.dtype } else { form.dtype(entry.dtype) };
            let mut of_part = Entry::new(name, part.shape, dtype, part.init);
            of_part.trainable = part.trained;
            parts[i] = state.entries.len();
            if part.is_weight {
                of_part.drawn_as.clone_from(&entry.name);
            }
            if part.is_weight || (is_apart && index.is_none()) {
                index = Some(parts[i]);
            }
            state.entries.push(of_part);
        }
        let formed = Formed { name: entry.name, form, parts, apart };
        state.formed.push(formed.clone());
        let index = index.expect("a form has parts");
        Param { shared, index, formed: Some(Arc::new(formed)), apart: None }
    }

    /// Makes the parameters for which `frozen` holds constants: no gradient, no optimizer state.
    ///
    /// # Errors
    /// [`ParamsError::Fixed`] once a value was read.
    pub fn freeze(&mut self, frozen: impl Fn(&str) -> bool) -> Result<(), ParamsError> {
        let mut state = write(&self.shared);
        let fixed = state.built.is_some();
        if let Some(entry) = state.entries().iter().find(|e| fixed && frozen(&e.name)) {
            return Err(ParamsError::Fixed { name: entry.name.clone() });
        }
        for entry in &mut state.entries {
            entry.trainable &= !frozen(&entry.name);
        }
        Ok(())
    }

    /// The full names, in the order of registration.
    pub fn names(&self) -> Vec<String> {
        read(&self.shared).entries().iter().map(|entry| entry.name.clone()).collect()
    }

    /// The parameters in the order of registration. Where each lies is only known from
    /// [`layout`](Params::layout), which this does not make: nothing is allocated.
    pub fn entries(&self) -> Vec<Entry> {
        read(&self.shared).entries().to_vec()
    }

    /// How many numbers can be trained.
    pub fn trainable_count(&self) -> usize {
        let state = read(&self.shared);
        state.entries().iter().filter(|e| e.trainable).map(|e| e.shape.count()).sum()
    }

    /// How many numbers there are.
    pub fn count(&self) -> usize {
        let state = read(&self.shared);
        let apart = state.kept_apart.iter().map(|apart| apart.shape.count());
        apart.chain(state.entries().iter().map(|entry| entry.shape.count())).sum()
    }

    /// Where each parameter lies; fixes the set.
    pub fn layout(&self) -> Arc<ArenaLayout> {
        write(&self.shared).build().layout.clone()
    }

    /// The hold on the parameter called `name`.
    pub fn get(&self, name: &str) -> Option<Param> {
        let index = read(&self.shared).entries().iter().position(|entry| entry.name == name)?;
        Some(Param { shared: self.shared.clone(), index, formed: None, apart: None })
    }

    /// All parameters by name, in order, without gradients.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut state = write(&self.shared);
        let built = state.build();
        let names = built.layout.entries().iter().map(|entry| entry.name.clone());
        names.enumerate().map(|(i, name)| (name, built.view(i))).collect()
    }

    /// Replaces the value of `param`, converted to its type.
    ///
    /// # Errors
    /// [`ParamsError::InUse`] while a tensor made from a parameter is alive.
    ///
    /// # Panics
    /// Where the shape is another.
    #[track_caller]
    pub fn set(&mut self, param: &Param, value: &Tensor) -> Result<(), ParamsError> {
        let (shape, found) = (param.shape(), value.shape());
        assert!(shape == found, "parameter `{}` is {shape}, got {found}", param.name());
        let index = param.index();
        self.update(|arenas| arenas.put(index, value))
    }

    /// The arenas, to change.
    ///
    /// # Errors
    /// [`ParamsError::InUse`] while a tensor made from a parameter is alive.
    pub fn update<R>(&mut self, f: impl FnOnce(&mut Arenas<'_>) -> R) -> Result<R, ParamsError> {
        let mut state = write(&self.shared);
        let built = state.build();
        Ok(f(&mut Arenas::open(built).ok_or(ParamsError::InUse)?))
    }

    /// Parameter `index`, to change, whether or not others are in use.
    ///
    /// ```
    /// use rappel_tensor::{Init, Params};
    /// let mut params = Params::new(0);
    /// let [a, b] = ["a", "b"].map(|name| params.scope("").add(name, [2], Init::ONES));
    /// let held = a.tensor();
    /// assert!(params.update_one(a.index(), |_| ()).is_err());
    /// params.update_one(b.index(), |open| open.values::<f32>()[1] = 3.0)?;
    /// assert_eq!(b.tensor().to_vec::<f32>(), [1.0, 3.0]);
    /// # Ok::<(), rappel_tensor::ParamsError>(())
    /// ```
    ///
    /// # Errors
    /// [`ParamsError::InUse`] while a tensor made from this parameter is alive.
    pub fn update_one<R>(
        &mut self,
        index: usize,
        f: impl FnOnce(&mut OpenParam<'_>) -> R,
    ) -> Result<R, ParamsError> {
        let mut state = write(&self.shared);
        let built = state.build();
        Ok(f(&mut OpenParam::open(built, index).ok_or(ParamsError::InUse)?))
    }

    /// Replaces every value by that of the tensor of the same name in `file`, converted to the
    /// parameter's type.
    ///
    /// # Errors
    /// A name that only one side has, or a shape that differs; then nothing was changed, nor
    /// allocated.
    pub fn load(&mut self, file: &TensorFile) -> Result<(), ParamsError> {
        self.load_without(file, &|_| false)
    }

    /// [`load`](Self::load) of a file that may lack the parameters whose names are `known`: these stay as they are.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_without(
        &mut self,
        file: &TensorFile,
        known: &dyn Fn(&str) -> bool,
    ) -> Result<(), ParamsError> {
        let stored: BTreeSet<String> = file.names().into_iter().collect();
        let stays = |name: &String| known(name) && !stored.contains(name);
        let of = |entry: &Entry| (entry.name.clone(), entry.shape);
        let mut wanted: Vec<_> = read(&self.shared).entries().iter().map(of).collect();
        wanted.retain(|(name, _)| !stays(name));
        file.check_exactly(wanted.iter().map(|(name, shape)| (name.as_str(), *shape)))?;
        let layout = self.layout();
        self.update(|arenas| {
            for (index, entry) in layout.entries().iter().enumerate() {
                if !stays(&entry.name) {
                    arenas.put(index, &file.tensor(&entry.name)?);
                }
            }
            Ok(())
        })?
    }
}

#[cfg(test)]
mod device_tests;
#[cfg(test)]
mod tests;
