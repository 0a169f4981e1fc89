//! Weights that are functions of other parameters.

use std::sync::Arc;

use super::apart::Apart;
use super::{Arenas, Built, Init, LowRank, Params, ParamsError, read, running, write};
use crate::autograd::no_grad;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// How a weight is computed from what is trained in its place.
///
/// The layer that registers the weight need not know: its [`Param::tensor`](super::Param::tensor) is the weight, and
/// gradients flow on. What stands in the weight's place has the names that PyTorch's
/// `torch.nn.utils.parametrizations` give it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// `w = g v / ||v||`, over each row (all but the first dimension), or each column (all but the
    /// last); `g` begins as the norms, so that `w` begins as it would without
    /// (Salimans and Kingma, 2016, <https://arxiv.org/abs/1602.07868>).
    ///
    /// In the place of `weight`: `parametrizations.weight.original0`, `g`, and `.original1`, `v`.
    WeightNorm {
        /// Whether norms are over columns.
        columns: bool,
    },
    /// `w = v / sigma` with the largest singular value `sigma = a^T v b` of `v` as a matrix of its
    /// first dimension against all others. The vectors `a` and `b` are constants, which a step of
    /// power iteration moves at each [`Params::refresh`]
    /// (Miyato et al., 2018, <https://arxiv.org/abs/1802.05957>).
    ///
    /// In the place of `weight`: `parametrizations.weight.original`, `v`, and
    /// `parametrizations.weight.0._u` and `._v`, `a` and `b`.
    SpectralNorm,
    /// `w = w0 + scale b a`, of which `w0` is a constant; see [`LowRank`].
    LowRank(LowRank),
}

/// Which weights have a form: asked with the name and the shape of each as it is registered.
pub(super) type Choose = Box<dyn Fn(&str, Shape) -> Option<Form> + Send + Sync>;

/// A weight with a form.
#[derive(Debug, Clone)]
pub(super) struct Formed {
    pub name: String,
    pub form: Form,
    /// Positions of its parts: of `g` and `v`; of `v`, `a` and `b`; or of `w0`, `a`, `b` and the magnitudes.
    pub parts: [usize; 4],
    /// `w0`, where it is kept apart; its position is then [`APART`].
    pub apart: Option<Arc<Apart>>,
}

/// The position of what is kept apart.
pub(super) const APART: usize = usize::MAX;

/// Steps of power iteration before the first value is read, as in PyTorch.
const FIRST_ITERATIONS: usize = 15;
/// What keeps a vector of zeros from being divided by 0.
const EPS: f64 = 1e-12;

impl Form {
    /// What stands in the place of a weight.
    pub(super) fn parts(self, last: &str, shape: Shape, init: Init) -> Vec<Part> {
        let named = |name: &str| format!("parametrizations.{last}.{name}");
        let weight = |name| Part { name: named(name), shape, init, trained: true, is_weight: true };
        match self {
            Self::WeightNorm { columns } => {
                let mut norms = shape;
                let last = shape.rank() - 1;
                if columns {
                    norms[..last].fill(1);
                } else {
                    norms[1..].fill(1);
                }
                let g = Part {
                    shape: norms,
                    init: Init::ZEROS,
                    is_weight: false,
                    ..weight("original0")
                };
                vec![g, weight("original1")]
            }
            Self::SpectralNorm => {
                let vector = |name, n: usize| Part {
                    name: named(name),
                    shape: Shape::from([n]),
                    init: Init::Normal { std: 1.0 },
                    trained: false,
                    is_weight: false,
                };
                let (rows, columns) = (shape[0], shape.count() / shape[0].max(1));
                vec![weight("original"), vector("0._u", rows), vector("0._v", columns)]
            }
            Self::LowRank(form) => form.parts(last, shape, init),
        }
    }
}

/// A parameter that stands in the place of a weight.
pub(super) struct Part {
    /// The end of its name, within the layer.
    pub name: String,
    pub shape: Shape,
    pub init: Init,
    pub trained: bool,
    /// Whether it begins as the weight would.
    pub is_weight: bool,
}

/// The norms of the rows or columns of `v`, broadcasting to it; 1 where they are 0.
fn norms(v: &Tensor, columns: bool) -> Tensor {
    let shape = v.shape();
    let (rank, count) = (shape.rank(), v.count());
    let mut sizes = shape;
    let squares = if columns {
        let width = shape[rank - 1];
        sizes[..rank - 1].fill(1);
        v.square().reshape([count / width.max(1), width]).sum_axis(0)
    } else {
        sizes[1..].fill(1);
        v.square().reshape([shape[0], count / shape[0].max(1)]).sum_axis(1)
    };
    let zero = squares.eq(0.0);
    squares.masked_fill(&zero, 1.0).sqrt().reshape(sizes)
}

/// In the type that sums are computed in.
fn wide(tensor: &Tensor) -> Tensor {
    tensor.to_dtype(tensor.dtype().accumulator())
}

fn matrix(v: &Tensor) -> Tensor {
    v.reshape([v.size(0), v.count() / v.size(0).max(1)])
}

/// The arenas, while no view is out.
fn open(built: &mut Built) -> Arenas<'_> {
    Arenas::open(built).expect("what was read to compute a form is dropped before it is written")
}

/// `m x / |m x|` for a matrix and a vector.
fn direction(m: &Tensor, x: &Tensor) -> Tensor {
    let y = m.matmul(&x.unsqueeze(1)).squeeze(1);
    let norm = y.square().sum().item().sqrt();
    y / norm.max(EPS)
}

impl Formed {
    /// The weight, from its parts.
    pub(super) fn weight(&self, part: impl Fn(usize) -> Tensor) -> Tensor {
        let [first, second, third, fourth] = self.parts;
        let wide = |index: usize| wide(&part(index));
        match self.form {
            Form::WeightNorm { columns } => {
                let (dtype, g, v) = (part(second).dtype(), wide(first), wide(second));
                let factor = g / norms(&v, columns);
                (v * factor).to_dtype(dtype)
            }
            Form::SpectralNorm => {
                let (dtype, v, a, b) =
                    (part(first).dtype(), wide(first), wide(second), wide(third));
                let sigma = (matrix(&v).matmul(&b.unsqueeze(1)).squeeze(1) * a).sum();
                (v / sigma).to_dtype(dtype)
            }
            Form::LowRank(form) => {
                let magnitude = form.magnitude.then(|| part(fourth));
                form.weight(&part(first), &part(second), &part(third), magnitude.as_ref())
            }
        }
    }
}

impl Params {
    /// Gives the weights of linear layers that are registered from now on the form of a low rank that `choose` says, if
    /// any, by name and shape.
    pub fn adapt(
        &mut self,
        choose: impl Fn(&str, Shape) -> Option<LowRank> + Send + Sync + 'static,
    ) {
        let choose = move |name: &str, shape| choose(name, shape).map(Form::LowRank);
        write(&self.shared).adapt = Some(Box::new(choose));
    }

    /// The names of what forms of a low rank train beside their weights, in the order of registration.
    pub fn adapters(&self) -> Vec<String> {
        let state = read(&self.shared);
        let low_rank = state.formed.iter().filter(|formed| matches!(formed.form, Form::LowRank(_)));
        let mut parts: Vec<usize> = low_rank
            .flat_map(|formed| formed.parts.into_iter().filter(|part| formed.has(*part)).skip(1))
            .collect();
        parts.sort_unstable();
        parts.into_iter().map(|part| state.entries()[part].name.clone()).collect()
    }

    /// The form of a low rank that the weight of this name has, if it has one.
    pub fn low_rank(&self, name: &str) -> Option<LowRank> {
        let state = read(&self.shared);
        let formed = state.formed.iter().find(|formed| formed.name == name)?;
        match formed.form {
            Form::LowRank(form) => Some(form),
            _ => None,
        }
    }

    /// Fills the magnitudes of low-rank forms from their weights, for whoever read those after they were built.
    ///
    /// # Errors
    /// [`ParamsError::InUse`] while a tensor made from a parameter is alive.
    pub fn complete(&mut self) -> Result<(), ParamsError> {
        let formed = read(&self.shared).formed.clone();
        self.update(|arenas| {
            let low_rank = formed.iter().filter(|formed| matches!(formed.form, Form::LowRank(_)));
            low_rank.for_each(|formed| formed.complete(arenas.built));
        })
    }

    /// Gives weights that are registered from now on the form that `choose` says, if any, by name and
    /// shape. A weight of less than two dimensions has none.
    ///
    /// ```
    /// use rappel_tensor::{Form, Init, Params};
    /// let mut params = Params::new(0);
    /// params.set_form(|name, _| {
    ///     name.ends_with("weight").then_some(Form::WeightNorm { columns: false })
    /// });
    /// let weight = params.scope("net").add("weight", [2, 3], Init::Constant(2.0));
    /// assert_eq!(weight.tensor().to_vec::<f32>(), [2.0; 6]);
    /// assert_eq!(
    ///     params.names(),
    ///     ["net.parametrizations.weight.original0", "net.parametrizations.weight.original1"]
    /// );
    /// assert_eq!(params.merged()[0].0, "net.weight");
    /// ```
    pub fn set_form(
        &mut self,
        choose: impl Fn(&str, Shape) -> Option<Form> + Send + Sync + 'static,
    ) {
        write(&self.shared).choose = Some(Box::new(choose));
    }

    /// The names of the weights with a form of [`set_form`](Self::set_form), in the order of registration.
    pub fn formed(&self) -> Vec<String> {
        let state = read(&self.shared);
        let others = state.formed.iter().filter(|formed| !matches!(formed.form, Form::LowRank(_)));
        others.map(|formed| formed.name.clone()).collect()
    }

    /// All weights by the names that layers registered them under, without gradients: what a model's files hold. Those
    /// that are kept apart are at the end.
    pub fn merged(&self) -> Vec<(String, Tensor)> {
        let mut all = self.merged_dense();
        for (name, _) in self.quantized() {
            let apart = self.apart(&name).expect("it was named");
            let formed =
                read(&self.shared).formed.iter().find(|formed| formed.name == name).cloned();
            let tensors = self.tensors();
            let value = formed.map_or_else(
                || apart.weight().tensor(),
                |formed| {
                    let part = |part: usize| match part {
                        APART => apart.weight().tensor(),
                        part => tensors[part].1.clone(),
                    };
                    no_grad(|| formed.weight(part))
                },
            );
            all.push((name, value));
        }
        all
    }

    /// The weights of [`merged`](Self::merged) but those that are kept apart, in the order of registration.
    pub fn merged_dense(&self) -> Vec<(String, Tensor)> {
        let formed = read(&self.shared).formed.clone();
        let all = self.tensors();
        let of_part = |index: usize| formed.iter().find(|formed| formed.has(index));
        let merge = |index: usize| match of_part(index) {
            None => Some(all[index].clone()),
            Some(formed) if formed.parts[0] == index => {
                let weight = no_grad(|| formed.weight(|part| all[part].1.clone()));
                Some((formed.name.clone(), weight))
            }
            Some(_) => None,
        };
        (0..all.len()).filter_map(merge).collect()
    }

    /// Moves what forms keep beside what is trained after that has changed: a step of power iteration
    /// for each spectral norm, and the moves of [`Running`](crate::Running) numbers. For a training loop to call after each step.
    ///
    /// # Errors
    /// [`ParamsError::InUse`] while a tensor made from a parameter is alive.
    pub fn refresh(&mut self) -> Result<(), ParamsError> {
        let formed = read(&self.shared).formed.clone();
        let mut iterated =
            formed.iter().filter(|formed| formed.form == Form::SpectralNorm).peekable();
        let moved = self.take_moves();
        if iterated.peek().is_none() && moved.is_empty() {
            return Ok(());
        }
        self.update(|arenas| {
            iterated.for_each(|formed| formed.iterate(arenas.built, 1));
            for (index, moves) in &moved {
                running::make(arenas, *index, moves);
            }
        })
    }
}

impl Formed {
    /// Fills what depends on the initial values of other parts.
    pub(super) fn complete(&self, built: &mut Built) {
        match self.form {
            Form::WeightNorm { columns } => {
                let norms = norms(&wide(&built.view(self.parts[1])), columns);
                open(built).put(self.parts[0], &norms);
            }
            Form::SpectralNorm => self.iterate(built, FIRST_ITERATIONS),
            Form::LowRank(form) if form.magnitude => {
                let [weight, a, b, magnitude] = self.parts;
                let weight = match &self.apart {
                    Some(apart) if !apart.is_set() => return,
                    Some(apart) => apart.weight().tensor(),
                    None => built.view(weight),
                };
                let norms = no_grad(|| form.norms(&weight, &built.view(a), &built.view(b)));
                drop(weight);
                open(built).put(magnitude, &norms);
            }
            Form::LowRank(_) => {}
        }
    }

    /// Steps of power iteration: `a <- v b / |v b|`, then `b <- v^T a / |v^T a|`.
    fn iterate(&self, built: &mut Built, iterations: usize) {
        let [v, a, b, _] = self.parts;
        let [to_a, to_b] = {
            let m = matrix(&wide(&built.view(v)));
            let mut to_b = wide(&built.view(b));
            let mut to_a = wide(&built.view(a));
            for _ in 0..iterations {
                to_a = direction(&m, &to_b);
                to_b = direction(&m.t(), &to_a);
            }
            [to_a, to_b]
        };
        open(built).put(a, &to_a);
        open(built).put(b, &to_b);
    }

    fn has(&self, index: usize) -> bool {
        let count = match self.form {
            Form::WeightNorm { .. } => 2,
            Form::LowRank(form) if form.magnitude => 4,
            Form::SpectralNorm | Form::LowRank(_) => 3,
        };
        self.parts[..count].contains(&index)
    }
}
