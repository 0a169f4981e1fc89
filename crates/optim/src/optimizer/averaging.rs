//! The average of the weights beside an optimizer: taken in after steps, handed out, saved.

use std::sync::Arc;

use rappel_tensor::{
    ArenaLayout, Arenas, DType, Memory, Params, ParamsError, Real, Run, Runs, Shape, StateArena,
    StateKind, StreamedTensor, Tensor, TensorFile, Update, update,
};

use super::group::TRAINED;
use super::saved::{read, write};
use crate::averaging::Averaging;

/// How many steps were taken in, among tensors of state.
const COUNT: &str = "n_averaged";

/// What tensors of the trained point are called, which are there while parameters are the average.
const HELD: &str = "held";

/// All trainable parameters once more: an arena for each type.
type Copies = [StateArena; TRAINED.len()];

/// An average of the weights.
pub(crate) struct WeightAverage {
    averaging: Box<dyn Averaging>,
    layout: Arc<ArenaLayout>,
    /// Steps taken in.
    count: u64,
    copies: Vec<Copies>,
    /// The trained point, while the parameters are the average.
    held: Option<Copies>,
}

impl WeightAverage {
    /// Of the trainable parameters of `layout`, nothing taken in yet.
    pub fn new(averaging: Box<dyn Averaging>, layout: Arc<ArenaLayout>) -> Self {
        let copies = (0..averaging.copies()).map(|_| zeros(&layout)).collect();
        Self { averaging, layout, count: 0, copies, held: None }
    }

    /// Takes in the parameters after `step` steps, if they are due.
    pub fn take(&mut self, step: u64, params: &mut Params) -> Result<(), ParamsError> {
        if !self.averaging.period().is_due(step) {
            return Ok(());
        }
        let (copy, share) = self.averaging.take(self.count);
        params.update(|arenas| take_in(arenas, &mut self.copies[copy], share))?;
        self.count += 1;
        Ok(())
    }

    /// Whether the parameters are the average.
    pub fn is_out(&self) -> bool {
        self.held.is_some()
    }

    /// Makes the parameters the average; nothing where nothing was taken in yet.
    pub fn hand_out(&mut self, params: &mut Params) -> Result<(), ParamsError> {
        if self.held.is_some() || self.count == 0 {
            return Ok(());
        }
        let mut held = zeros(&self.layout);
        let filled = self.copies.len().min(usize::try_from(self.count).unwrap_or(usize::MAX));
        let copies = &mut self.copies[..filled];
        params.update(|arenas| {
            take_in(arenas, &mut held, 1.0);
            match copies {
                [copy] => put_back(arenas, copy),
                copies => put_back(arenas, &mut mean(&arenas.layout(), copies)),
            }
        })?;
        self.held = Some(held);
        Ok(())
    }

    /// Makes the parameters the trained point again, to the bit.
    pub fn take_back(&mut self, params: &mut Params) -> Result<(), ParamsError> {
        let Some(held) = &mut self.held else { return Ok(()) };
        params.update(|arenas| put_back(arenas, held))?;
        self.held = None;
        Ok(())
    }

    /// Bytes beside the parameters.
    pub fn bytes(&self) -> usize {
        self.bytes_of_a_copy().saturating_mul(self.copies.len())
    }

    /// Bytes that a step moves, on average.
    pub fn bytes_moved(&self) -> usize {
        // The parameter is read, the copy read and written.
        3 * self.bytes_of_a_copy() / usize::try_from(self.averaging.period().every).unwrap_or(1)
    }

    fn bytes_of_a_copy(&self) -> usize {
        let entries = self.layout.entries().iter().filter(|entry| entry.trainable);
        entries.map(|entry| entry.shape.count() * entry.dtype.accumulator().size()).sum()
    }

    /// Name, shape and type of everything that [`save`](WeightAverage::save) gives; `held` where the
    /// parameters are the average.
    pub fn wanted(&self, held: bool) -> Vec<(String, Shape, DType)> {
        let mut wanted = vec![(COUNT.to_owned(), Shape::from(()), DType::I64)];
        for entry in self.layout.entries().iter().filter(|entry| entry.trainable) {
            let mut names: Vec<String> =
                (0..self.copies.len()).map(|copy| format!("average.{copy}")).collect();
            names.extend(held.then(|| HELD.to_owned()));
            for name in names {
                let name = format!("{name}.{}", entry.name);
                wanted.push((name, entry.shape, entry.dtype.accumulator()));
            }
        }
        wanted
    }

    /// All of it as named tensors: `n_averaged`; `average.0.<parameter>` and so on, a copy each;
    /// `held.<parameter>`, the trained point, while the parameters are the average.
    pub fn save<'a>(&'a self, tensors: &mut Vec<StreamedTensor<'a>>) {
        let mut names = self.wanted(self.is_out()).into_iter().map(|(name, ..)| name);
        let mut next = || names.next().expect("a name for each");
        let count = Tensor::from_slice(&[self.count as i64], ());
        tensors.push((next(), count).into());
        for (arena, run, shape) in self.places() {
            for copy in self.copies.iter().chain(&self.held) {
                tensors.push(read(next(), &copy[arena], run, shape));
            }
        }
    }

    /// Whether parameters were the average when the state in `file` was saved.
    pub fn is_held_in(file: &TensorFile) -> bool {
        file.names()
            .iter()
            .any(|name| name.strip_prefix(HELD).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The way back from [`save`](WeightAverage::save), from values in its order.
    pub fn load(&mut self, held: bool, values: &mut impl Iterator<Item = Tensor>) {
        let mut next = || values.next().expect("as many as were checked");
        self.count = next().item() as u64;
        self.held = held.then(|| zeros(&self.layout));
        for (arena, run, _) in self.places() {
            for copy in self.copies.iter_mut().chain(&mut self.held) {
                write(&mut copy[arena], run, &next());
            }
        }
    }

    /// Where each trainable parameter lies: the arena, the place in it, the shape.
    fn places(&self) -> Vec<(usize, Run, Shape)> {
        let place = |dtype| TRAINED.iter().position(|other| *other == dtype);
        let entries = self.layout.entries().iter().filter(|entry| entry.trainable);
        entries
            .map(|entry| {
                let (param, len) = (entry.offset, entry.shape.count());
                let arena = place(entry.dtype).expect("a type that is trained");
                (arena, Run { param, state: param, len }, entry.shape)
            })
            .collect()
    }
}

fn zeros(layout: &ArenaLayout) -> Copies {
    TRAINED.map(|dtype| {
        StateArena::zeros(layout.trainable_len(dtype), StateKind::Number(dtype.accumulator()))
    })
}

/// All trainable parameters of a type, and the gaps between them.
fn all(layout: &ArenaLayout, dtype: DType) -> Runs {
    Runs::new(vec![Run { param: 0, state: 0, len: layout.trainable_len(dtype) }])
}

/// `copy <- copy + share (params - copy)`
fn take_in(arenas: &mut Arenas<'_>, copies: &mut Copies, share: f64) {
    for (dtype, copy) in TRAINED.into_iter().zip(copies) {
        let runs = all(&arenas.layout(), dtype);
        let mut memory = Memory::of_arenas(arenas, dtype, None, std::slice::from_mut(copy));
        update(&runs, &mut memory, None, &TakeIn(share));
    }
}

/// `params <- copy`
fn put_back(arenas: &mut Arenas<'_>, copies: &mut Copies) {
    for (dtype, copy) in TRAINED.into_iter().zip(copies) {
        let runs = all(&arenas.layout(), dtype);
        let mut memory = Memory::of_arenas(arenas, dtype, None, std::slice::from_mut(copy));
        update(&runs, &mut memory, None, &PutBack);
    }
}

/// The mean of copies.
fn mean(layout: &ArenaLayout, copies: &mut [Copies]) -> Copies {
    let mut mean = zeros(layout);
    for (i, copies) in copies.iter_mut().enumerate() {
        let share = 1.0 / (i + 1) as f64;
        for ((dtype, mean), copy) in TRAINED.into_iter().zip(&mut mean).zip(copies) {
            let mut memory = Memory::of_state(copy, std::slice::from_mut(mean));
            update(&all(layout, dtype), &mut memory, None, &TakeIn(share));
        }
    }
    mean
}

/// `copy <- copy + share (params - copy)`; a whole share is `params` to the bit.
struct TakeIn(f64);

impl Update<1> for TakeIn {
    const WRITES_PARAMS: bool = false;

    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        let (share, all) = (R::of(self.0), self.0 == 1.0);
        #[inline(always)]
        move |p, _, [copy]| (p, [if all { p } else { share.mul_add(p - copy, copy) }])
    }
}

struct PutBack;

impl Update<1> for PutBack {
    fn formula<R: Real>(&self) -> impl Fn(R, R, [R; 1]) -> (R, [R; 1]) {
        #[inline(always)]
        |_, _, [copy]| (copy, [copy])
    }
}
